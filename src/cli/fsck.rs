//! `zbundle fsck`: is the log whole.

use super::halt::Halt;
use super::object::Object;
use super::opening::short;
use super::progress::Progress;
use super::{Context, Finished, summary, units};
use crate::ports::store::Finding;
use bundle_format::error::{Code, Exit};

const EXAMPLES: &str = "\
Examples:
  zbundle fsck
  zbundle fsck --json";

/// Read the whole log and check every byte of it; repairs nothing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

impl Args {
    /// Run it.
    #[expect(clippy::unused_self, reason = "every command is run alike")]
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let view = context.view()?;
        let mut progress = Progress::start(&context.console, context.ports.clock.clone(), "reading", Some(view.log_len()?));
        let checked = view.fsck(&mut |bytes, events| progress.reach(&mut context.console, bytes, events))?;
        progress.end();
        let console = &mut context.console;
        for finding in &checked.findings {
            let (code, text) = match finding {
                Finding::TornTail { bytes } => (Code::Z304, format!("unfinished write at the end: {bytes} bytes, never acknowledged")),
                Finding::Hole { segment, offset, bytes, .. } => (Code::Z301, format!("log/{segment:08}.seg at byte {offset}: {bytes} damaged bytes")),
                Finding::Short { segment, offset } => (Code::Z301, short(*segment, *offset)),
                Finding::Index { segment } => (Code::Z301, format!("log/{segment:08}.seg: its index is damaged; nothing is missing for it")),
            };
            console.result(&text, || Object::of("finding").with("code", code.as_str()).with("what", &text))?;
        }
        context.note_rot(&view)?;
        context.tell_rotted()?;
        let console = &mut context.console;
        let naming = view.naming();
        for fault in &checked.faults {
            let id = fault.event.map(|(stream, seq)| format!("{}:{seq}", naming.origin(&stream.origin)));
            let text = id.as_ref().map_or_else(|| fault.what.clone(), |id| format!("{id}: {}", fault.what));
            console.result(&text, || Object::of("fault").with("code", Code::Z301.as_str()).with_some("id", id.as_ref()).with("what", &fault.what))?;
        }
        for text in &checked.mended {
            console.result(text, || Object::of("mended").with("what", text))?;
        }
        let whole = checked.is_whole();
        let read = format!(
            "{}, {}, {} in {}",
            units::count(checked.events, "event"),
            units::size(checked.bytes),
            units::count(checked.checkpoints, "checkpoint"),
            units::count_of(checked.streams, "history", "histories")
        );
        console.line(&format!("{read}: {}", if whole { "all good" } else { "DAMAGED" }))?;
        let summary = summary("fsck").with("whole", whole).with("histories", checked.streams).with("events", checked.events);
        let summary = summary.with("bytes", checked.bytes).with("checkpoints", checked.checkpoints).with("faults", checked.fault_count);
        if !whole {
            console.refuse(Code::Z301, "")?;
        }
        Ok(Finished { exit: if whole { Exit::Done } else { Exit::LogDamaged }, summary })
    }
}
