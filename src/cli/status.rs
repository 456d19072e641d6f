//! `zbundle status`: how the node and its peers stand.

use super::escape::{plain, plain_path};
use super::halt::Halt;
use super::object::Object;
use super::opening::short;
use super::{Context, Finished, open_tables, run_program, summary, units};
use crate::keys::Refused as Void;
use crate::node::alarm::{self, Alarm, alarms};
use crate::node::kept::Crowd;
use crate::node::layout::Layout;
use crate::node::status::{OpenLife, OriginStatus, PeerStatus, Status, Stock};
use crate::node::{NodeError, View};
use crate::ports::store::Finding;
use bundle_format::error::{Code, Exit};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a program that is told of trouble may take.
const EXEC_WAIT: Duration = Duration::from_mins(1);

/// How long the tables are waited for while another program writes into them.
const PATIENCE: Duration = Duration::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  zbundle status
  zbundle status --check && echo all well        exit 17 when a fork or a conflict is open, 18 when a peer is silent,
                                                 3 when config.toml or index.db cannot be used, a clock is wrong, or a member is not believed
  zbundle status --check --quiet --exec /usr/local/bin/tell-me     from cron or a timer

The program of --exec is run without a shell and without arguments; on its stdin it finds one JSON object per thing that needs a person:
  {\"type\":\"alarm\",\"kind\":\"silent\",\"about\":\"lunana-bhu\",\"ms\":604800000}
kinds: damaged, roster_forked, fork, silent, clock_ahead, stamps_ahead, disbelieved, config, quarantine, unknown_sender, conflicts, tables

Conflicts are counted once `conflicts`, `project` or `serve --http` has made the tables (index.db); with --json, \"tables\" in the summary says whether they are
in_step, behind, none, or which error keeps them from it.";

/// Show the node, what it holds, its peers, and what needs a person
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Exit 3, 17, 18 or 19 when something needs a person
    #[arg(long)]
    check: bool,
    /// How long a peer may be unheard before it counts as silent [default: learned from how often it is heard; 7d until that is known]
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration_ms)]
    silent_after: Option<u64>,
    /// A program to run, once, when something needs a person; it gets the lines of `--json` on stdin
    #[arg(long, value_name = "PROGRAM", requires = "check")]
    exec: Option<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let view = context.view()?;
        let (status, counted) = (view.status()?, Counted::look(context, &view));
        let silent: Vec<_> = status.peers.iter().filter(|peer| self.is_silent(peer, status.now_ms)).collect();
        tell_node(context, &status)?;
        for origin in &status.origins {
            tell_origin(context, origin, status.now_ms)?;
        }
        for peer in &status.peers {
            tell_peer(context, peer, status.now_ms, silent.iter().any(|silent| silent.node == peer.node))?;
        }
        tell_trouble(context, &status)?;
        if counted.conflicts > 0 {
            context.console.line(&format!("  in conflict: {}; `zbundle conflicts list`", units::count(counted.conflicts, "record")))?;
        }
        let mut alarms = alarms(&status, self.silent_after);
        alarms.extend(alarm::conflicts(counted.conflicts));
        alarms.extend(counted.trouble.map(|code| alarm::tables(Some(code))));
        tell_unusable(context, &alarms)?;
        if let Some(program) = &self.exec {
            tell(context, program, &alarms)?;
        }
        let open_forks = status.open_forks().count();
        let forked = open_forks > 0 || status.domain.as_ref().is_some_and(|domain| domain.forked);
        let exit = match () {
            () if !self.check => Exit::Done,
            () if status.is_damaged() => Exit::LogDamaged,
            () if forked => Exit::Conflict,
            () if !silent.is_empty() => Exit::Silent,
            () if counted.conflicts > 0 => Exit::Conflict,
            () if alarms.iter().any(|alarm| is_unusable(alarm) || alarm.kind == "disbelieved") => Exit::Partial,
            () => Exit::Done,
        };
        let held: u64 = status.origins.iter().map(|origin| origin.held).sum();
        let summary = summary("status").with("name", &status.name).with("node", status.node.to_string()).with("events", held);
        let summary = summary.with("open_forks", open_forks).with("held", status.held.count + status.unknown.count);
        let summary =
            summary.with("conflicts", counted.tables.is_some().then_some(counted.conflicts)).with("tables", counted.tables.unwrap_or("none"));
        Ok(Finished {
            exit,
            summary: summary.with("quarantined", status.quarantine.count).with("silent", silent.len()).with("damaged", status.is_damaged()),
        })
    }

    fn is_silent(&self, peer: &PeerStatus, now_ms: u64) -> bool {
        peer.is_silent_after(now_ms, self.silent_after.unwrap_or(peer.silent_after_ms))
    }
}

/// Records in conflict, as far as the tables tell.
#[derive(Default)]
struct Counted {
    conflicts: u64,
    /// How the tables stand; `None`: there are none, and asking how the node stands makes none.
    tables: Option<&'static str>,
    /// Why they cannot be read.
    trouble: Option<Code>,
}

impl Counted {
    /// Tables that cannot be read, or that are far behind, do not hide the rest.
    fn look(context: &Context, view: &View) -> Self {
        let path = Layout::new(&context.data_dir()).index();
        if !context.ports.disk.look(&path).is_ok_and(|found| found.is_some()) {
            return Self::default();
        }
        let counted = || -> Result<Self, NodeError> {
            let mut tables = open_tables(&path, false, PATIENCE)?;
            let done = view.project_on(&mut *tables)?;
            Ok(Self { conflicts: view.count_conflicts(&mut *tables)?.0, tables: Some(if done.paused { "behind" } else { "in_step" }), trouble: None })
        };
        counted().unwrap_or_else(|error| Self { conflicts: 0, tables: Some(error.code().as_str()), trouble: Some(error.code()) })
    }
}

/// What holds up nothing and is not as it should be: nothing else of the status shows it.
fn is_unusable(alarm: &Alarm) -> bool {
    matches!(alarm.kind, "config" | "tables" | "clock_ahead" | "stamps_ahead")
}

fn tell_unusable(context: &mut Context, alarms: &[Alarm]) -> Result<(), Halt> {
    for alarm in alarms.iter().filter(|alarm| is_unusable(alarm)) {
        match alarm.code {
            Some(code) if alarm.kind == "stamps_ahead" => context.console.warn(code, &stamps_ahead(alarm.ms))?,
            Some(code) => context.console.warn(code, &alarm.about)?,
            None => context.console.line(&format!("  the clock of {} is {} ahead", plain(&alarm.about), units::span(alarm.ms)))?,
        }
    }
    Ok(())
}

/// This node's stamps run ahead of its clock, and what to do.
pub fn stamps_ahead(ms: u64) -> String {
    let ahead = units::span(ms);
    format!(
        "the stamps of this node run {ahead} ahead of its clock; set the clock, or, if it is right, read \"The clock is wrong\" in docs/operations.md"
    )
}

/// What happens to the program is told, and changes nothing of what the status is (R10.14-b).
fn tell(context: &mut Context, program: &Path, alarms: &[Alarm]) -> Result<(), Halt> {
    if alarms.is_empty() {
        return Ok(());
    }
    let lines: String = alarms.iter().map(|alarm| object(alarm).into_line() + "\n").collect();
    run_hook(program, &lines).or_else(|why| context.console.warn(Code::Z440, &format!("{}: {why}", plain_path(program))))
}

/// Run `program` with `lines` on its stdin; why it did not do its work.
pub fn run_hook(program: &Path, lines: &str) -> Result<(), String> {
    match run_program(program, lines.as_bytes(), EXEC_WAIT) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it says that it failed".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An alarm as the program finds it.
pub fn object(alarm: &Alarm) -> Object {
    let object = Object::of("alarm").with("kind", alarm.kind).with_some("code", alarm.code.map(Code::as_str)).with("about", &alarm.about);
    object.with_some("ms", Some(alarm.ms).filter(|ms| *ms > 0))
}

fn tell_node(context: &mut Context, status: &Status) -> Result<(), Halt> {
    let console = &mut context.console;
    if console.json() {
        let object = Object::of("node").with("name", &status.name).with("node", status.node.to_string());
        let object = object.with("incarnation", status.incarnation.to_string()).with("joined", status.domain.is_some());
        let object = object.with_some("authority", status.domain.as_ref().map(|domain| &domain.authority));
        let object = object.with_some("members", status.domain.as_ref().map(|domain| domain.member_count));
        let object = object.with_some("roster_seq", status.domain.as_ref().map(|domain| domain.roster_seq));
        let roster_time = status.domain.as_ref().filter(|domain| domain.roster_seq > 0).and_then(|domain| units::date(domain.roster_hlc.ms()));
        return console.object(object.with_some("roster_time", roster_time));
    }
    console.line(&format!("{}  @{}~{}", console.strong(&status.name), status.node, status.incarnation))?;
    match &status.domain {
        None => console.line("  has not joined a domain yet: `zbundle request`"),
        Some(domain) if domain.roster_seq == 0 => {
            console.line(&format!("  domain of {}; its roster is not here, so nothing is known of any peer: join again", domain.authority))
        }
        Some(domain) => {
            let age = units::span(status.now_ms.saturating_sub(domain.roster_hlc.ms()));
            let members = units::count(domain.member_count as u64, "member");
            console.line(&format!("  domain of {}, {members}, roster {} from {age} ago", domain.authority, domain.roster_seq))
        }
    }
}

fn tell_origin(context: &mut Context, origin: &OriginStatus, now_ms: u64) -> Result<(), Halt> {
    let last = units::span(now_ms.saturating_sub(origin.hlc.ms()));
    let flag =
        if origin.after_revoke > 0 { format!("  {} OF AN ENDED KEY, NOT USED", units::count(origin.after_revoke, "event")) } else { String::new() };
    context.console.result(&format!("  {:<44} {:>8}   last {last} ago{flag}", origin.name, origin.held), || {
        let object = Object::of("origin").with("origin", &origin.name).with("held", origin.held).with("hlc", origin.hlc.0);
        object.with("time", units::date(origin.hlc.ms())).with("after_revoke", origin.after_revoke)
    })
}

fn tell_peer(context: &mut Context, peer: &PeerStatus, now_ms: u64, silent: bool) -> Result<(), Halt> {
    let heard = if peer.heard_ms == 0 {
        "never heard".to_owned()
    } else {
        format!("heard {} ago by {}", units::span(now_ms.saturating_sub(peer.heard_ms)), plain(peer.heard_by()))
    };
    let (state, word) = match () {
        () if silent => ("silent", "SILENT"),
        () if peer.lacking > 0 || peer.unacknowledged > 0 => ("behind", "behind"),
        () if !peer.is_known => ("unknown", "unknown"),
        () => ("level", "up to date"),
    };
    let answer = if peer.answer_due { ", is still to be sent a receipt" } else { "" };
    let link = link(peer, now_ms);
    let lacking = if peer.lacking > 0 { format!("; {} of its own are not here", units::count(peer.lacking, "event")) } else { String::new() };
    let line = format!(
        "  peer {:<24} {heard}; has {} of our events, lacks {}{lacking}{answer}{link}   {word}",
        peer.name, peer.acknowledged, peer.unacknowledged
    );
    context.console.result(&line, || {
        let object = Object::of("peer").with("name", &peer.name).with("node", peer.node.to_string()).with("state", state);
        let object = object.with("heard", (peer.heard_ms > 0).then(|| units::date(peer.heard_ms)).flatten());
        let object = object
            .with("path", peer.path.name())
            .with_some("via", Some(&peer.via).filter(|via| !via.is_empty()))
            .with("silent_after_ms", peer.silent_after_ms)
            .with("lacking", peer.lacking);
        let object = object.with("acknowledged", peer.acknowledged).with("unacknowledged", peer.unacknowledged).with("answer_due", peer.answer_due);
        let settled = (peer.link.settled_ms > 0).then(|| units::date(peer.link.settled_ms)).flatten();
        let object = object.with_some("address", peer.link.address.as_ref()).with_some("settled", settled).with_some("rate", peer.link.rate);
        let round_trip_ms = Some(peer.link.round_trip_ms).filter(|round_trip_ms| *round_trip_ms > 0);
        object.with_some("round_trip_ms", round_trip_ms).with_some("link_bytes_today", peer.link.today_bytes).with_some("mixing", peer.link.mixing)
    })
}

/// What the link record knows, in a few words. "Up to date by link" is a moment of the past, not a claim about what was pushed since.
fn link(peer: &PeerStatus, now_ms: u64) -> String {
    let mut words = Vec::new();
    words.extend(peer.link.address.as_ref().map(|address| format!("at {address}")));
    if peer.link.settled_ms > 0 {
        words.push(format!("up to date by link {} ago", units::span(now_ms.saturating_sub(peer.link.settled_ms))));
    }
    words.extend(peer.link.rate.map(|rate| format!("{}/s", units::size(rate))));
    if words.is_empty() { String::new() } else { format!("; {}", words.join(", ")) }
}

/// Roster events without effect: the authority meant something by them, or somebody else has its key.
fn tell_void(context: &mut Context, void: &[Void]) -> Result<(), Halt> {
    let Some(Void { position, why }) = void.iter().min_by_key(|void| void.position.seq) else { return Ok(()) };
    let (count, seq, why) = (units::count(void.len() as u64, "roster event"), position.seq, plain(&why.to_string()).to_string());
    let line =
        format!("  without effect: {count}, the first at {seq}: {why}; ask the authority whether it wrote that: if not, its key is in other hands");
    context.console.result(&line, || Object::of("void").with("count", void.len()).with("seq", seq).with("why", &why))
}

/// A member that begins histories without end: what it writes in others is not taken any more.
fn tell_crowd(context: &mut Context, crowd: &Crowd) -> Result<(), Halt> {
    let Crowd { name, histories } = crowd;
    let line = format!(
        "  too many histories: {name} has begun {histories}, all that others take of it; what it begins now goes nowhere: revoke it, and let its people join under another name"
    );
    context.console.result(&line, || Object::of("crowd").with("name", name).with("histories", *histories))
}

/// A member whose word costs lives of this node.
fn tell_disbelieved(context: &mut Context, name: &str) -> Result<(), Halt> {
    let line = format!(
        "  not believed: {name} says again and again that this node has lost records, and shows none of them; either a copy of this node's card or keys is at work elsewhere (stop one of the two), or {name} says what is not true (ask its people); no record is in danger"
    );
    context.console.result(&line, || Object::of("disbelieved").with("name", name))
}

/// What needs a person, or soon will.
fn tell_trouble(context: &mut Context, status: &Status) -> Result<(), Halt> {
    let stock = |stock: &Stock| format!("{}, {}", units::count(stock.count, "bundle"), units::size(stock.bytes));
    for (what, kept) in
        [("held, waiting for what is missing", &status.held), ("held, of unknown senders", &status.unknown), ("in quarantine", &status.quarantine)]
    {
        if kept.count > 0 {
            context.console.line(&format!("  {what}: {}", stock(kept)))?;
        }
    }
    for fork in status.open_forks() {
        context.console.result(&format!("  FORK {}  Z228 {}", fork.id, Code::Z228.row().title), || {
            Object::of("fork").with("id", &fork.id).with("seq", fork.seq).with("ends", fork.ends).with("closed", false)
        })?;
    }
    for OpenLife { life, awaited } in &status.open_lives {
        let waits = if awaited.is_empty() { String::new() } else { format!(" from {}", awaited.join(", ")) };
        context
            .console
            .result(&format!("  an earlier life of this node, ~{life}, is not settled yet: what others hold of it comes back{waits}"), || {
                Object::of("life").with("life", life.to_string()).with("awaited", awaited.clone())
            })?;
    }
    if let Some(domain) = &status.domain {
        if domain.forked {
            context.console.warn(Code::Z617, "")?;
        }
        if let Some(why) = &domain.doubt {
            context.console.warn(Code::Z610, why)?;
        }
        tell_void(context, &domain.void)?;
        domain.crowds.iter().try_for_each(|crowd| tell_crowd(context, crowd))?;
        domain.disbelieved.iter().try_for_each(|name| tell_disbelieved(context, name))?;
    }
    for finding in &status.findings {
        match finding {
            Finding::TornTail { .. } => {}
            Finding::Hole { segment, offset, bytes, .. } => {
                context.console.warn(Code::Z301, &format!("segment {segment}: {bytes} bytes at {offset}"))?;
            }
            Finding::Short { segment, offset } => context.console.warn(Code::Z301, &short(*segment, *offset))?,
            Finding::Index { segment } => context.console.warn(Code::Z301, &format!("the index of segment {segment}"))?,
        }
    }
    for (name, rotten) in status.rotten.iter().filter(|(_, rotten)| rotten.events) {
        context.console.warn(Code::Z301, &format!("{name}:{} to {} cannot be read here", rotten.first, rotten.last))?;
    }
    Ok(())
}
