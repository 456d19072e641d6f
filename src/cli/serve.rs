//! `zbundle serve`: a node that others reach over the network.

use super::alarm::Teller;
use super::halt::Halt;
use super::object::Object;
use super::standing::Stay;
use super::{Confined, Context, Finished, Talks, http, peer, schema, summary, units, watch};
use crate::link::Ended;
use crate::node::serving::{Served, Server};
use crate::push::schema::Schema;
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use std::path::PathBuf;
use std::rc::Rc;
use tokio::sync::mpsc;

const EXAMPLES: &str = "\
Examples:
  zbundle serve --listen 0.0.0.0:7070
  zbundle serve --listen [::]:7070 --json        one object per session, for a log
  zbundle serve --listen 0.0.0.0:7070 --watch /srv/drop
  zbundle serve --http                           events in and out by HTTP, through a socket of our own user
  zbundle serve --http --alarm /usr/local/bin/tell-me        runs it when a clinic falls silent, a bundle is refused, a history forks, records conflict

It stays until it is told to end (TERM, INT): then it finishes what is on its way, acknowledges it, and closes. All other commands work beside it
on the same directory. Only members of the roster are talked to; a stranger learns nothing.";

/// Let other nodes sync with this one over the network
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("where").required(true).multiple(true).args(["listen", "http"])))]
pub struct Args {
    /// HOST:PORT to listen at; port 0 takes any free one; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Offer HTTP to this machine: unix (http.sock in the data directory), unix:PATH, or 127.0.0.1:PORT (needs the token in http.token)
    #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = "unix", value_parser = http::address)]
    http: Vec<http::Address>,
    /// A JSON Schema that each payload pushed by HTTP must fit; what comes from other nodes is not held against it
    #[arg(long, value_name = "FILE", requires = "http")]
    schema: Option<PathBuf>,
    /// A prepared folder to take bundles in from, as `zbundle watch` does; may be given several times
    #[arg(long, value_name = "DIR")]
    watch: Vec<PathBuf>,
    /// A program to run when something new needs a person; it gets the lines of `status --check --exec` on stdin
    #[arg(long, value_name = "PROGRAM")]
    alarm: Option<PathBuf>,
    /// How often to look whether something does
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "alarm", value_parser = units::parse_duration_ms)]
    alarm_every: u64,
    #[command(flatten)]
    pace: watch::PaceArgs,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        self.listen.iter().try_for_each(|address| peer::check_address(address))?;
        self.watch.iter().try_for_each(|folder| watch::refuse_wrong(context, folder))?;
        let schema = schema::read(context, self.schema.as_deref())?;
        let sockets = self.http.iter().filter_map(http::folder).collect();
        // Before programs are given up: the process that still may run this one.
        let teller = self.alarm.as_deref().map(|program| Teller::start(context, program, self.alarm_every)).transpose()?;
        let confined = watch::confine_watching(context, (&self.watch, &self.pace), sockets, Talks::ByNetwork);
        let standing = context.standing()?;
        context.stay(standing, async |context, stay| self.serve(context, stay, confined, schema, teller).await)
    }

    async fn serve(
        &self,
        context: &mut Context,
        stay: &Stay,
        confined: Confined,
        schema: Option<Schema>,
        teller: Option<Teller>,
    ) -> Result<Finished, Halt> {
        let (told, mut happened) = mpsc::unbounded_channel();
        let tell = Box::new(move |served| told.send(served).unwrap_or(())); // nobody reads any more: the end is near
        let mut listening = Vec::new();
        let server = if self.listen.is_empty() {
            None // who only offers HTTP need not have joined yet
        } else {
            Some(Server::new(Rc::clone(&stay.standing), &context.ports, Rc::clone(&stay.workshop), tell).await?)
        };
        for (address, server) in self.listen.iter().flat_map(|address| server.iter().map(move |server| (address, server))) {
            let listener = context.ports.net.listen(address).await;
            let listener = listener.map_err(|error| Halt::new(Code::Z501, format!("cannot listen at {address}: {error}")))?;
            let at = listener.address().map_err(|error| Halt::new(Code::Z501, format!("{address}: {error}")))?;
            let told = || Object::of("listening").with("address", &at).with("confined", confined.files.word()).with("filtered", confined.calls);
            context.console.result(&format!("listening at {at}"), told)?;
            let (server, stop) = (Rc::clone(server), stay.stop.clone());
            listening.push(tokio::task::spawn_local(async move { server.listen(listener, stop).await }));
        }
        listening.extend(http::listen(context, stay, &self.http, schema).await?);
        context.console.flush()?;
        let (mut watcher, mut seen) = watch::watcher(context, stay, &self.pace, &self.watch);
        let stop = stay.stop.clone();
        listening.push(tokio::task::spawn_local(async move { watcher.run(stop).await }));
        let (alarmed, mut alarms) = mpsc::unbounded_channel();
        let program = teller.as_ref().map(Teller::program).unwrap_or_default();
        listening.extend(teller.map(|teller| tokio::task::spawn_local(teller.watch(stay.clone(), alarmed))));
        let (mut tally, mut watched) = (Tally::default(), watch::Tally::default());
        let all = async {
            for listener in listening {
                listener.await.unwrap_or(()); // its panic has been told
            }
        };
        let mut all = std::pin::pin!(all);
        loop {
            tokio::select! {
                biased;
                Some(served) = happened.recv() => tally.tell(context, stay, &served).await?,
                Some(word) = seen.recv() => watched.tell(context, stay, word).await?,
                Some(word) = alarms.recv() => word.tell(context, &program)?,
                () = &mut all => break,
            }
        }
        while let Ok(served) = happened.try_recv() {
            tally.tell(context, stay, &served).await?;
        }
        while let Ok(word) = seen.try_recv() {
            watched.tell(context, stay, word).await?;
        }
        while let Ok(word) = alarms.try_recv() {
            word.tell(context, &program)?;
        }
        let summary = summary("serve").with("sessions", tally.sessions).with("refused", tally.refused).with("new", tally.new);
        Ok(Finished::done(if self.watch.is_empty() {
            summary
        } else {
            summary.with("watched_files", watched.files).with("watched_new", watched.new)
        }))
    }
}

#[derive(Default)]
struct Tally {
    sessions: u64,
    refused: u64,
    new: u64,
}

impl Tally {
    async fn tell(&mut self, context: &mut Context, stay: &Stay, served: &Served) -> Result<(), Halt> {
        match served {
            Served::Ended { peer, how, moved, bytes } => {
                self.sessions += 1;
                self.new += moved.taken;
                let name = name(stay, peer).await;
                let sent: u64 = moved.delivered.iter().sum();
                let how = match how {
                    Ended::Settled | Ended::ByPeer => "ended",
                    Ended::Bound => "stopped",
                };
                let text = format!("{name}: {} in, {} out, {} over the link", moved.taken, sent, units::size(bytes.0 + bytes.1));
                context.console.result(&text, || {
                    let object = Object::of("session").with("peer", &name).with("how", how).with("new", moved.taken).with("delivered", sent);
                    object.with("bytes_in", bytes.0).with("bytes_out", bytes.1)
                })?;
            }
            Served::Broken { peer, address, code, why, moved } => {
                self.refused += 1;
                self.new += moved.taken;
                let name = match peer {
                    Some(peer) => name(stay, peer).await,
                    None => address.to_string(),
                };
                let text = format!("{name}: {code} {why}");
                context.console.result(&text, || {
                    Object::of("broken").with("peer", &name).with("code", code.as_str()).with("why", why).with("new", moved.taken)
                })?;
            }
            Served::Deaf { why } => context.console.warn(Code::Z501, &format!("nobody can be heard now: {why}; it is tried again"))?,
            Served::TurnedAway { address } => {
                self.refused += 1;
                context.console.result(&format!("{address}: {} turned away, too many at once", Code::Z506), || {
                    Object::of("turned_away").with("peer", address.to_string()).with("code", Code::Z506.as_str())
                })?;
            }
        }
        context.console.flush()
    }
}

/// A peer as people call it; by its id while the node is away.
async fn name(stay: &Stay, peer: &NodeId) -> String {
    stay.standing.with(|node| Ok(node.naming().node(peer))).await.unwrap_or_else(|_| format!("@{peer}"))
}
