//! `zbundle cut`: fix what a peer lacks in a sealed bundle.

use super::halt::Halt;
use super::object::Object;
use super::progress::Progress;
use super::{Context, Finished, escape, members, summary, units};
use crate::node::Node;
use crate::node::cutting::{CutFile, CutOrder, CutReport};
use bundle_format::error::Exit;
use bundle_format::ids::Lane;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle cut --to punakha-hub --out /media/stick
  zbundle cut --to punakha-hub --out /media/stick --max-size 64MiB
  zbundle cut --to punakha-hub --out . --dry-run     only say how much it would be
  zbundle cut --to punakha-hub --out . --small       for mail or radio: fewer bytes, much more work

Nothing new, nothing written. A stick that is lost costs nothing: the next cut begins at the peer's last receipt.";

/// Write what a peer lacks into a sealed bundle that only it can open
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// For whom; may be given several times
    #[arg(long, required = true, value_name = "NODE")]
    to: Vec<String>,
    /// Where to write it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The largest file; a larger delta becomes several, urgent lanes first
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::parse_size)]
    max_size: u64,
    /// The fewest bytes there are: takes a second for each half megabyte of events to write, and again to read
    #[arg(long)]
    small: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        let to = self.to.iter().map(|name| members::node_id(&node, name)).collect::<Result<Vec<_>, _>>()?;
        let order = CutOrder { to: &to, out: &self.out, max_size: self.max_size, small: self.small, dry_run: self.dry_run };
        let mut progress = Progress::start(&context.console, context.ports.clock.clone(), "cutting", None);
        let (mut done, mut bytes) = (0, 0);
        let report = node.cut(&order, &mut |events, raw_len, total| {
            (done, bytes) = (done + events, bytes + raw_len);
            progress.expect(bytes / done.max(1) * total.max(done)); // what is left is taken to be like what went
            progress.reach(&mut context.console, bytes, done);
        })?;
        progress.end();
        self.tell(context, &node, &report)
    }

    fn tell(&self, context: &mut Context, node: &Node, report: &CutReport) -> Result<Finished, Halt> {
        let naming = node.naming();
        for file in &report.files {
            let to: Vec<_> = file.recipients.iter().map(|node| naming.node(node)).collect();
            context.console.result(&line(file, &to, self.dry_run), || object(file, &to, self.dry_run))?;
        }
        for level in &report.level {
            let name = naming.node(level);
            context.console.result(&format!("nothing new for {name}"), || Object::of("level").with("node", &name))?;
        }
        let left: u64 = report.left.iter().sum();
        let is_partial = left > 0 || report.full;
        if is_partial {
            let what = if report.full { "there is no room; use another stick for the rest" } else { "use a larger --max-size" };
            context.console.remark(&format!("{} not written ({}): {what}", units::count(left, "record"), lanes(&report.left)));
        }
        if report.kept_back > 0 {
            context.console.remark(&kept_back(report.kept_back));
        }
        let (events, bytes) =
            report.files.iter().fold((0, 0), |(events, bytes), file| (events + file.events.iter().sum::<u64>(), bytes + file.bytes));
        let summary = summary("cut").with("files", report.files.len()).with("events", events).with("bytes", bytes);
        let summary =
            summary.with("left", left).with_some("kept_back", Some(report.kept_back).filter(|count| *count > 0)).with("dry_run", self.dry_run);
        Ok(Finished { exit: if is_partial || report.kept_back > 0 { Exit::Partial } else { Exit::Done }, summary })
    }
}

/// That not all goes, and why.
pub(super) fn kept_back(count: usize) -> String {
    format!(
        "{} kept back: more were begun than others take, or than one file can tell of; see `zbundle status`",
        units::count_of(count as u64, "history", "histories")
    )
}

pub(super) fn line(file: &CutFile, to: &[String], dry_run: bool) -> String {
    let did = match () {
        () if dry_run => "would write",
        () if file.already_there => "already there:",
        () => "wrote",
    };
    let holds = if file.events.iter().all(|count| *count == 0) { "a receipt".to_owned() } else { lanes(&file.events) };
    format!("{did} {}  {}  for {}: {holds}", escape::plain_path(&file.path), units::size(file.bytes), to.join(", "))
}

pub(super) fn object(file: &CutFile, to: &[String], dry_run: bool) -> Object {
    let mut events = Object::empty();
    for (lane, count) in Lane::ALL.iter().zip(file.events) {
        events = events.with(lane.name(), count);
    }
    let object =
        Object::of("bundle").with("file", file.path.to_string_lossy()).with("bytes", file.bytes).with("to", to).with_object("events", events);
    object.with("raw_bytes", file.raw_len).with("already_there", file.already_there).with("dry_run", dry_run)
}

/// `urgent 3, routine 209`.
pub(super) fn lanes(events: &[u64; 4]) -> String {
    let some = Lane::ALL.iter().zip(events).filter(|(_, count)| **count > 0);
    some.map(|(lane, count)| format!("{} {count}", lane.name())).collect::<Vec<_>>().join(", ")
}
