//! `zbundle sync`: exchange with a peer over the network, as far as time and bytes allow.

use super::console::Console;
use super::halt::Halt;
use super::object::Object;
use super::standing::Stay;
use super::{Context, Finished, peer, summary, units};
use crate::node::session::ByLane;
use crate::node::syncing::{BUDGET_MIN, Step, SyncEnd, SyncOrder, Synced, Syncer};
use bundle_format::error::{Code, Exit};
use bundle_format::ids::{Lane, NodeId};
use std::rc::Rc;
use tokio::sync::mpsc;

const EXAMPLES: &str = "\
Examples:
  zbundle sync hub.example.bt:7070               until both sides have everything
  zbundle sync punakha-hub                       at the address that `zbundle peer` remembers
  zbundle sync punakha-hub --dry-run             how many bytes, how long
  zbundle sync punakha-hub --budget 200K --deadline 10m
  zbundle sync punakha-hub --budget 2M/day --every 15m

Whatever the link does, nothing is lost and nothing counts twice; the next run goes on where this one stopped. \"sent\" means that the other side
has it safe. Urgent events go first. Exit 0: everything is there, or a budget or deadline of yours ended it (\"complete\": false); 16: the link failed.";

/// Exchange with a member over the network; dials again whenever the link dies
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// HOST:PORT, or the name of a member whose address is known
    #[arg(value_name = "ADDR|NODE")]
    peer: String,
    /// Bytes the link may carry, both ways; with /day that many a day, over all runs
    #[arg(long, value_name = "N[/day]", value_parser = parse_budget)]
    budget: Option<Budget>,
    /// End after this long, whatever the other side does
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    deadline: Option<u64>,
    /// Send no faster than so many bytes a second
    #[arg(long, value_name = "N", value_parser = units::parse_size)]
    rate: Option<u64>,
    /// Only say how much would go and how long it would take
    #[arg(long)]
    dry_run: bool,
    /// Stay: send what is pushed at once while the link lives, dial again this long after it is lost
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    every: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Budget {
    Run(u64),
    Day(u64),
}

fn parse_budget(text: &str) -> Result<Budget, String> {
    let (number, daily) = text.strip_suffix("/day").map_or((text, false), |number| (number, true));
    let bytes = units::parse_size(number)?;
    if bytes < BUDGET_MIN {
        return Err(format!("a handshake alone needs some 1 KB: at least {}", units::size(BUDGET_MIN)));
    }
    Ok(if daily { Budget::Day(bytes) } else { Budget::Run(bytes) })
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        if self.dry_run {
            return self.foretell(context);
        }
        context.stay(async |context, stay| self.sync(context, stay).await)
    }

    async fn sync(&self, context: &mut Context, stay: &Stay) -> Result<Finished, Halt> {
        let order = self.order(context, stay).await?;
        let total = match order.expected {
            Some(peer) => stay.standing.with(|node| node.lacking(&peer)).await?,
            None => [0; 4],
        };
        let (told, mut steps) = mpsc::unbounded_channel();
        let watcher = Rc::new(move |step| told.send(step).unwrap_or(()));
        let ports = context.ports.clone();
        let syncer = Syncer::new(Rc::clone(&stay.standing), &ports, Rc::clone(&stay.workshop), order, stay.stop.clone(), watcher);
        let mut running = std::pin::pin!(syncer.run());
        let mut shown = Shown::new(total);
        let synced = loop {
            tokio::select! {
                biased;
                step = steps.recv() => if let Some(step) = step { shown.step(&mut context.console, &step)? },
                synced = &mut running => break synced,
            }
        };
        let name = match synced.peer {
            Some(peer) => Some(stay.standing.with(|node| Ok(node.naming().node(&peer))).await?),
            None => None,
        };
        finish(context, name.as_deref(), &synced)
    }

    async fn order(&self, context: &Context, stay: &Stay) -> Result<SyncOrder, Halt> {
        let (address, expected) = self.target(stay).await?;
        let (budget, daily_budget) = match self.budget {
            None => (None, None),
            Some(Budget::Run(bytes)) => (Some(bytes), None),
            Some(Budget::Day(bytes)) => (None, Some(bytes)),
        };
        let deadline_ms = self.deadline.map(|deadline| context.ports.clock.monotonic_ms() + deadline);
        Ok(SyncOrder { address, expected, budget, daily_budget, deadline_ms, rate: self.rate, every_ms: self.every })
    }

    /// An address, or a member whose address is known.
    async fn target(&self, stay: &Stay) -> Result<(String, Option<NodeId>), Halt> {
        if self.peer.contains(':') {
            peer::check_address(&self.peer)?;
            let expected = stay.standing.with(|node| node.peer_at(&self.peer)).await?;
            return Ok((self.peer.clone(), expected));
        }
        let found = stay.standing.with(|node| {
            let id = node.naming().parse_node(&self.peer).map_err(|error| crate::node::NodeError::refused(error.code(), error.to_string()))?;
            Ok((id, node.peer(&id)?.link.address))
        });
        match found.await? {
            (id, Some(address)) => Ok((address, Some(id))),
            (_, None) => Err(Halt::new(Code::Z101, format!("no address of {0} is known: `zbundle peer {0} HOST:PORT`", self.peer))),
        }
    }

    fn foretell(&self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = context;
        Err(Halt::new(Code::Z101, "not yet"))
    }
}

/// What people watch.
struct Shown {
    total: ByLane,
}

impl Shown {
    fn new(total: ByLane) -> Self {
        Self { total }
    }

    fn step(&mut self, console: &mut Console, step: &Step) -> Result<(), Halt> {
        match step {
            Step::Dialling(1) | Step::Moved(_) | Step::Settled => {}
            Step::Dialling(nth) => console.note(&format!("dialling, {nth}. time")),
            Step::Connected(round_trip_ms) => console.note(&format!("connected, round trip {round_trip_ms} ms")),
            Step::Again(code, why, wait_ms) => console.note(&format!("{code} {why}; again in {}", units::span(*wait_ms))),
        }
        let _ = self.total;
        Ok(())
    }
}

fn lanes(counts: &ByLane) -> Object {
    Lane::ALL.iter().zip(counts).fold(Object::empty(), |object, (lane, count)| object.with(lane.name(), count))
}

fn finish(context: &mut Context, name: Option<&str>, synced: &Synced) -> Result<Finished, Halt> {
    let sent: u64 = synced.delivered.iter().sum();
    let remaining: Option<u64> = synced.remaining.as_ref().map(|remaining| remaining.iter().sum());
    let reason = match &synced.end {
        SyncEnd::Complete => "complete",
        SyncEnd::Budget => "budget",
        SyncEnd::Deadline => "deadline",
        SyncEnd::Stopped => "stopped",
        SyncEnd::Failed(..) => "failed",
    };
    let summary = summary("sync").with("complete", synced.is_complete()).with("reason", reason).with_some("peer", name);
    let summary = summary.with("sent", sent).with_object("sent_by_lane", lanes(&synced.delivered)).with_some("remaining", remaining);
    let summary = match &synced.remaining {
        Some(remaining) => summary.with_object("remaining_by_lane", lanes(remaining)),
        None => summary,
    };
    let summary = summary.with("new", synced.taken.0).with("duplicate", synced.taken.1).with("forks", synced.forks);
    let summary = summary.with("bytes_sent", synced.bytes.0).with("bytes_received", synced.bytes.1).with("dials", synced.dials);
    let summary = summary.with("took_ms", synced.took_ms).with_some("rate", synced.rate);
    let words = format!(
        "{}: {sent} sent, {} new; {} in {}",
        name.unwrap_or("nobody"),
        synced.taken.0,
        units::size(synced.bytes.0 + synced.bytes.1),
        units::span(synced.took_ms)
    );
    if synced.new_life {
        context.console.warn(Code::Z306, "")?;
    }
    let left = remaining.filter(|left| *left > 0).map(|left| format!("; {} not sent yet", units::count(left, "event"))).unwrap_or_default();
    context.console.line(&format!("{words}{left}"))?;
    let exit = match &synced.end {
        SyncEnd::Failed(code, why) => {
            let exit = match code.row().exit {
                exit @ (Exit::NotTrusted | Exit::Damaged | Exit::NoSpace | Exit::LogDamaged) => exit,
                _ => Exit::Link,
            };
            context.console.refuse(*code, why)?;
            exit
        }
        _ if synced.left > 0 => Exit::Partial,
        _ => Exit::Done,
    };
    let summary = if let SyncEnd::Failed(code, _) = &synced.end { summary.with("code", code.as_str()) } else { summary };
    Ok(Finished { exit, summary })
}
