//! `zbundle sync`: exchange with a peer over the network, as far as time and bytes allow.

use super::console::Console;
use super::halt::Halt;
use super::object::Object;
use super::standing::Stay;
use super::{Context, Finished, Talks, confine, members, peer, summary, units};
use crate::node::NodeError;
use crate::node::foretelling::Foretold;
use crate::node::local::{Lines, Reached};
use crate::node::session::ByLane;
use crate::node::standing::Standing;
use crate::node::syncing::{BUDGET_MIN, Step, SyncEnd, SyncOrder, Synced, Syncer};
use crate::node::workshop::Workshop;
use bundle_format::error::{Code, Exit};
use bundle_format::ids::{Lane, NodeId};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};

const EXAMPLES: &str = "\
Examples:
  zbundle sync hub.example.bt:7070               until both sides have everything
  zbundle sync punakha-hub                       at the address that `zbundle peer` remembers
  zbundle sync punakha-hub --dry-run             how many bytes, how long
  zbundle sync punakha-hub --budget 200K --deadline 10m
  zbundle sync punakha-hub --budget 2M/day --every 15m

Whatever the link does, nothing is lost and nothing counts twice; the next run goes on where this one stopped. \"sent\" means that the other side
has it safe. Urgent events go first. Exit 0: everything is there, or a budget or deadline of yours ended it (\"complete\": false); 3: some could not go; 16: the link failed.";

/// Between two lines where nobody watches a bar.
const QUIET_INTERVAL: Duration = Duration::from_secs(30);
/// Words that wait for one who does not read.
const WORD_COUNT_MAX: usize = 64;
/// What a handshake, two hellos and the goodbye take.
const OVERHEAD_LEN: u64 = 980;
/// Round trips before the first event leaves, and after the last until it is acknowledged.
const ROUND_TRIPS: u64 = 3;
/// Bytes a second of 2G, where nothing was measured yet.
const RATE_2G: u64 = 2875;
/// Slower than this, what is sent is mostly heads of records.
const RATE_MIN: u64 = 100;

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
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Only say how much would go and how long it would take
    #[arg(long, conflicts_with_all = ["budget", "deadline", "every"])]
    dry_run: bool,
    /// Stay: send what is pushed at once while the link lives, dial again this long after it is lost
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    every: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Budget {
    Run(u64),
    Day(u64),
}

fn parse_budget(text: &str) -> Result<Budget, String> {
    let (number, daily) = text.strip_suffix("/day").map_or((text, false), |number| (number, true));
    let bytes = units::parse_size(number)?;
    if bytes < BUDGET_MIN {
        return Err(format!("the handshake and one range take some 4 KB: at least {}", units::size(BUDGET_MIN)));
    }
    Ok(if daily { Budget::Day(bytes) } else { Budget::Run(bytes) })
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let rate = units::parse_size(text)?;
    if rate < RATE_MIN { Err(format!("each record on the link has 22 bytes of its own: at least {RATE_MIN}")) } else { Ok(rate) }
}

/// What was asked for, as it goes to the process that keeps the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wish {
    peer: String,
    budget: Option<Budget>,
    deadline_ms: Option<u64>,
    rate: Option<u64>,
    every_ms: Option<u64>,
}

/// What comes back, line by line.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Word {
    /// Events that lie here for the peer, by lane.
    Total(ByLane),
    Step(Step),
    Done(Box<Synced>),
    Refused(String, String),
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        if self.dry_run {
            return self.foretell(context);
        }
        let wish = Wish { peer: self.peer.clone(), budget: self.budget, deadline_ms: self.deadline, rate: self.rate, every_ms: self.every };
        if wish.peer.contains(':') {
            peer::check_address(&wish.peer)?;
        }
        confine(&[context.data_dir()], Talks::ByNetwork);
        let mut shown = Shown::new(&context.console);
        let synced = match context.reach()? {
            (Reached::Node(node), secret) => {
                let standing = Standing::new(context.ports.clone(), context.data_dir(), secret, *node);
                context.stay(standing, async |context, stay| {
                    let (told, mut words) = mpsc::unbounded_channel();
                    let tell = move |word| told.send(word).unwrap_or(()); // read to the end, below
                    let mut running = std::pin::pin!(run(stay.clone(), wish, tell));
                    loop {
                        tokio::select! {
                            biased;
                            word = words.recv() => if let Some(word) = word { shown.word(&mut context.console, &word) },
                            synced = &mut running => return synced,
                        }
                    }
                })?
            }
            (Reached::Line(mut line), _) => {
                context.console.note("through the process that keeps the node");
                let command = serde_json::to_string(&wish).map_err(|error| Halt::new(Code::Z100, error.to_string()))?;
                let mut ended = None;
                line.run(command, |text| {
                    match serde_json::from_str(text).map_err(|error| Halt::new(Code::Z100, error.to_string()))? {
                        Word::Done(synced) => ended = Some(Ok(*synced)),
                        Word::Refused(code, why) => ended = Some(Err(Halt::new(Code::from_name(&code).unwrap_or(Code::Z100), why))),
                        word => shown.word(&mut context.console, &word),
                    }
                    Ok::<_, Halt>(())
                })?;
                ended.unwrap_or_else(|| Err(Halt::new(Code::Z110, "it was told to end")))?
            }
        };
        shown.end();
        finish(context, &synced)
    }

    fn foretell(&self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        let peer = if self.peer.contains(':') {
            let unknown = || Halt::new(Code::Z406, format!("who listens at {} is not known; name the member", self.peer));
            node.peer_at(&self.peer)?.ok_or_else(unknown)?
        } else {
            members::node_id(&node, &self.peer)?
        };
        let link = node.peer(&peer)?.link;
        let foretold = node.foretell(&peer, &mut Workshop::new()?, self.rate.or(link.rate))?;
        let name = node.naming().node(&peer);
        let (rate, measured) = match (self.rate, link.rate) {
            (Some(rate), None) => (rate, false),
            (Some(limit), Some(rate)) => (rate.min(limit), true),
            (None, rate) => (rate.unwrap_or(RATE_2G), rate.is_some()),
        };
        let bytes = foretold.bytes.iter().sum::<u64>() + OVERHEAD_LEN;
        let took_ms = bytes * 1000 / rate.max(1) + ROUND_TRIPS * link.round_trip_ms;
        for (lane, (events, bytes)) in Lane::ALL.iter().zip(foretold.events.iter().zip(foretold.bytes)) {
            if *events > 0 {
                context.console.line(&format!("{:<8} {:>7}  {}", lane.name(), units::count(*events, "event"), units::size(bytes)))?;
            }
        }
        let at = if measured { "as last measured" } else { "of 2G; nothing was measured yet" };
        let text = format!("{name}: {} in about {}, at {}/s {at}", units::size(bytes), units::span(took_ms), units::size(rate));
        context.console.line(&text)?;
        let Foretold { events, bytes: by_lane } = foretold;
        let summary = summary("sync").with("dry_run", true).with("peer", name).with("events", events.iter().sum::<u64>());
        let summary = summary.with_object("events_by_lane", lanes(&events)).with_object("bytes_by_lane", lanes(&by_lane));
        Ok(Finished::done(summary.with("bytes", bytes).with("took_ms", took_ms).with("rate", rate).with("rate_measured", measured)))
    }
}

/// A sync that another command asks for.
pub async fn forwarded(stay: Stay, command: String, lines: Lines) -> u8 {
    let Ok(wish) = serde_json::from_str(&command) else { return Exit::Usage as u8 };
    let words = Rc::<Words>::default();
    let (gone, stop) = watch::channel(false);
    let (gone, base) = (Rc::new(gone), stay.stop.clone());
    let either = Rc::clone(&gone);
    tokio::task::spawn_local(async move {
        let mut base = base;
        if base.wait_for(|stop| *stop).await.is_ok() {
            either.send_replace(true);
        }
    });
    let writing = async {
        loop {
            let word = words.next().await;
            let is_last = matches!(word, Word::Done(_) | Word::Refused(..));
            if let Ok(line) = serde_json::to_string(&word)
                && !lines.tell(line).await
            {
                gone.send_replace(true); // nobody waits for it any more
            }
            if is_last {
                return;
            }
        }
    };
    let working = async {
        let teller = Rc::clone(&words);
        words.tell(match run(Stay { stop, ..stay }, wish, move |word| teller.tell(word)).await {
            Ok(synced) => Word::Done(Box::new(synced)),
            Err(Halt::Refused { code, why }) => Word::Refused(code.as_str().to_owned(), why),
            Err(Halt::PipeClosed) => Word::Refused(Code::Z100.as_str().to_owned(), String::new()),
        });
    };
    tokio::join!(working, writing);
    Exit::Done as u8
}

/// Words on their way to whoever asked: a terminal that stands still takes none, for days perhaps, and the sync goes on.
#[derive(Default)]
struct Words {
    waiting: RefCell<VecDeque<Word>>,
    come: Notify,
}

impl Words {
    /// Of how far it is, the newest is enough; of what happens, the newest few.
    fn tell(&self, word: Word) {
        let is_progress = |word: &Word| matches!(word, Word::Step(Step::Moved(_)));
        let mut waiting = self.waiting.borrow_mut();
        if is_progress(&word) && waiting.back().is_some_and(is_progress) {
            waiting.pop_back();
        }
        if waiting.len() >= WORD_COUNT_MAX {
            waiting.pop_front();
        }
        waiting.push_back(word);
        self.come.notify_one();
    }

    async fn next(&self) -> Word {
        loop {
            if let Some(word) = self.waiting.borrow_mut().pop_front() {
                return word;
            }
            self.come.notified().await;
        }
    }
}

/// Sync as wished, on the node of this process; what happens goes to `tell`.
async fn run(stay: Stay, wish: Wish, tell: impl Fn(Word) + 'static) -> Result<Synced, Halt> {
    let (address, expected) = target(&stay, &wish.peer).await?;
    let (budget, daily_budget) = match wish.budget {
        None => (None, None),
        Some(Budget::Run(bytes)) => (Some(bytes), None),
        Some(Budget::Day(bytes)) => (None, Some(bytes)),
    };
    let deadline_ms = wish.deadline_ms.map(|deadline_ms| stay.ports.clock.monotonic_ms() + deadline_ms);
    let order = SyncOrder { address, expected, budget, daily_budget, deadline_ms, rate: wish.rate, every_ms: wish.every_ms };
    if let Some(peer) = expected {
        tell(Word::Total(stay.standing.with(|node| node.lacking(&peer)).await?));
    }
    let watcher = Rc::new(move |step| tell(Word::Step(step)));
    let syncer = Syncer::new(Rc::clone(&stay.standing), &stay.ports, Rc::clone(&stay.workshop), order, stay.stop.clone(), watcher);
    Ok(syncer.run().await)
}

/// An address, or a member whose address is known.
async fn target(stay: &Stay, named: &str) -> Result<(String, Option<NodeId>), Halt> {
    if named.contains(':') {
        let expected = stay.standing.with(|node| node.peer_at(named)).await?;
        return Ok((named.to_owned(), expected));
    }
    let found = stay.standing.with(|node| {
        let id = node.naming().parse_node(named).map_err(|error| NodeError::refused(error.code(), error.to_string()))?;
        Ok((id, node.peer(&id)?.link.address))
    });
    match found.await? {
        (id, Some(address)) => Ok((address, Some(id))),
        (_, None) => Err(Halt::new(Code::Z101, format!("no address of {named} is known: `zbundle peer {named} HOST:PORT`"))),
    }
}

/// What people watch: how far which lane is, how fast, how long still.
struct Shown {
    draws: bool,
    tells: bool,
    total: ByLane,
    rate: Cell<u64>,
    bar: Option<ProgressBar>,
    told: Option<std::time::Duration>,
    since: indicatif::ProgressBar,
}

impl Shown {
    fn new(console: &Console) -> Self {
        let since = ProgressBar::hidden(); // only for its clock
        Self { draws: console.draws_progress(), tells: console.tells_progress(), total: [0; 4], rate: Cell::new(0), bar: None, told: None, since }
    }

    fn word(&mut self, console: &mut Console, word: &Word) {
        match word {
            Word::Total(total) => self.total = *total,
            Word::Step(step) => self.step(console, step),
            Word::Done(_) | Word::Refused(..) => {}
        }
    }

    fn step(&mut self, console: &mut Console, step: &Step) {
        match step {
            Step::Dialling(1) | Step::Settled => {}
            Step::UsedUp(ms) => console.note(&used_up(*ms)),
            Step::Dialling(nth) => console.note(&format!("dialling again ({nth})")),
            Step::Connected(round_trip_ms) => console.note(&format!("connected, round trip {round_trip_ms} ms")),
            Step::Again(code, why, wait_ms) => console.note(&format!("{code} {why}; again in {}", units::span(*wait_ms))),
            Step::Moved(moved) => {
                let (done, total): (u64, u64) = (moved.delivered.iter().sum(), self.total.iter().sum());
                let lane = Lane::ALL.iter().zip(moved.delivered.iter().zip(self.total)).find(|(_, (done, total))| *done < total);
                let lane = lane.map_or("", |(lane, _)| lane.name());
                self.rate.set(moved.rate.unwrap_or(0));
                self.show(console, lane, done, total.max(done));
            }
        }
    }

    fn show(&mut self, console: &mut Console, lane: &str, done: u64, total: u64) {
        let rate = units::size(self.rate.get());
        if self.draws && total > 0 {
            let bar = self.bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("{prefix:<8} {bar:24} {pos}/{len}  {msg}  {eta} left");
                let bar = ProgressBar::new(total);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            bar.set_prefix(lane.to_owned());
            bar.set_message(format!("{rate}/s"));
            bar.set_position(done);
            return;
        }
        let now = self.since.elapsed();
        if self.tells && total > 0 && now.saturating_sub(self.told.unwrap_or_default()) >= QUIET_INTERVAL {
            self.told = Some(now);
            let left_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).saturating_mul(total - done) / done.max(1);
            console.note(&format!("{lane}: {done} of {total}, {rate}/s, about {} left", units::span(left_ms)));
        }
    }

    fn end(self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn lanes(counts: &ByLane) -> Object {
    Lane::ALL.iter().zip(counts).fold(Object::empty(), |object, (lane, count)| object.with(lane.name(), count))
}

fn finish(context: &mut Context, synced: &Synced) -> Result<Finished, Halt> {
    let sent: u64 = synced.delivered.iter().sum();
    let remaining: Option<u64> = synced.remaining.as_ref().map(|remaining| remaining.iter().sum());
    let reason = match &synced.end {
        SyncEnd::Complete => "complete",
        SyncEnd::Left => "left",
        SyncEnd::Budget => "budget",
        SyncEnd::Deadline => "deadline",
        SyncEnd::Stopped => "stopped",
        SyncEnd::Failed(..) => "failed",
    };
    let summary = summary("sync").with("complete", synced.is_complete()).with("reason", reason).with_some("peer", synced.name.as_ref());
    let summary = summary.with("sent", sent).with_object("sent_by_lane", lanes(&synced.delivered)).with_some("remaining", remaining);
    let summary = match &synced.remaining {
        Some(remaining) => summary.with_object("remaining_by_lane", lanes(remaining)),
        None => summary,
    };
    let summary = summary.with("new", synced.taken.0).with("duplicate", synced.taken.1).with("forks", synced.forks);
    let summary = summary.with("bytes_sent", synced.bytes.0).with("bytes_received", synced.bytes.1).with("dials", synced.dials);
    let summary = summary.with("took_ms", synced.took_ms).with_some("rate", synced.rate);
    let mixed = synced.mixed;
    let summary = summary.with("mixed_ranges", mixed.ranges).with("mixed_bytes", mixed.bytes).with("mixed_saved", mixed.saved);
    if synced.new_life {
        context.console.warn(Code::Z306, "")?;
    }
    let left = remaining.filter(|left| *left > 0).map(|left| format!("; {} still to send", units::count(left, "event"))).unwrap_or_default();
    let bytes = units::size(synced.bytes.0 + synced.bytes.1);
    let (name, new, took) =
        (synced.name.as_deref().unwrap_or(if synced.met { "the other side" } else { "nobody reached" }), synced.taken.0, units::span(synced.took_ms));
    context.console.line(&format!("{name}: {sent} sent, {new} new{left}; {bytes} in {took}"))?;
    if let Some(goes_on_ms) = synced.goes_on_ms {
        context.console.line(&used_up(goes_on_ms))?;
    }
    let summary = summary.with_some("goes_on", synced.goes_on_ms.and_then(units::date));
    let exit = match &synced.end {
        SyncEnd::Failed(code, why) => {
            context.console.refuse(*code, why)?;
            exit_of(*code)
        }
        SyncEnd::Left => {
            context.console.note("what is left is too long for this link, has rotted here, or cannot be placed there: see `zbundle status`");
            Exit::Partial
        }
        _ if synced.left > 0 => Exit::Partial,
        _ => Exit::Done,
    };
    let summary = if let SyncEnd::Failed(code, _) = &synced.end { summary.with("code", code.as_str()) } else { summary };
    Ok(Finished { exit, summary })
}

/// The budget of a day, and when the next one begins.
fn used_up(goes_on_ms: u64) -> String {
    let goes_on = units::date(goes_on_ms).unwrap_or_else(|| "the clock has been set".into());
    format!("the budget of the day is used up; it goes on after {goes_on}")
}

/// Trust and damage exit as everywhere; whatever else the other side cannot do, it may later.
fn exit_of(code: Code) -> Exit {
    match code.row().exit {
        exit @ (Exit::NotTrusted | Exit::Damaged | Exit::NoSpace | Exit::LogDamaged | Exit::InUse) => exit,
        _ => Exit::Link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::hop::Moved;

    #[test]
    fn who_does_not_read_is_told_the_newest_and_how_it_ended() {
        let words = Words::default();
        for number in 0..1000 {
            words.tell(Word::Step(Step::Dialling(number)));
            words.tell(Word::Step(Step::Moved(Moved { taken: 1, ..Moved::default() })));
            words.tell(Word::Step(Step::Moved(Moved { taken: number, ..Moved::default() })));
        }
        words.tell(Word::Refused("Z100".to_owned(), String::new()));
        let waiting = words.waiting.take();
        assert_eq!(waiting.len(), WORD_COUNT_MAX);
        let last: Vec<_> = waiting.iter().rev().take(3).rev().collect();
        assert!(
            matches!(last[..], [Word::Step(Step::Dialling(999)), Word::Step(Step::Moved(Moved { taken: 999, .. })), Word::Refused(..)]),
            "{last:?}"
        );
    }
}
