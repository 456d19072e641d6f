//! `zbundle demo`: the whole walk on your own disk.

mod link;
mod proof;
mod readers;
mod story;
mod valley;

use super::halt::Halt;
use super::{Context, Finished, escape, summary};
use bundle_format::error::{Code, Exit};
use link::LinkTotals;
use std::path::PathBuf;
use std::time::Duration;
use story::Story;

const EXAMPLES: &str = "\
Examples:
  zbundle demo
  zbundle demo --keep /tmp/walk                  leaves the folders to play with
  zbundle demo --sticks-only                     without the 2G link: a second instead of a quarter of a minute";

/// Show the whole walk on real files: two clinics, a hub, a stick, a 2G link that dies, and the proof that nothing was lost
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Leave the folders here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Only the first act: no simulated link
    #[arg(long)]
    sticks_only: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let temporary = tempfile::tempdir().map_err(|error| Halt::new(Code::Z202, format!("no temporary folder: {error}")))?;
        let root = self.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
        if self.keep.is_some() && !is_free(context, &root)? {
            return Err(Halt::new(Code::Z109, format!("{} is not empty", escape::plain_path(&root))));
        }
        let started = context.ports.clock.monotonic_ms();
        let mut story = Story::new(context, &root, !self.sticks_only);
        story.tell()?;
        let over_link = if self.sticks_only { LinkTotals::default() } else { second_act(&mut story)? };
        let verdict = proof::prove(&story)?;
        let (bundles, bytes) = story.totals();
        proof::tell(context, &verdict)?;
        let seconds = Duration::from_millis(context.ports.clock.monotonic_ms() - started).as_secs_f64();
        if self.keep.is_some() {
            readers::export(context, &root)?;
            try_next(context, &root)?;
        }
        context.console.line(&format!("\n{} in {seconds:.1} s", if verdict.holds() { "Proved" } else { "NOT proved" }))?;
        let summary = summary("demo").with("pushed", verdict.pushed).with("at_hub", verdict.at_hub).with("identical", verdict.identical);
        let summary = summary.with("missing", verdict.missing).with("twice", verdict.twice).with("bundles", bundles).with("bytes", bytes);
        let summary = summary.with("link_bytes", over_link.bytes).with("link_dials", over_link.dials);
        let exit = if verdict.holds() { Exit::Done } else { Exit::Internal };
        Ok(Finished { exit, summary: summary.with("seconds", seconds).with("proved", verdict.holds()) })
    }
}

fn second_act(story: &mut Story<'_>) -> Result<LinkTotals, Halt> {
    let round_trip = 2 * valley::DELAY.as_millis();
    story.say(&format!("\nA mast comes into sight: {} B/s, {round_trip} ms there and back (simulated; everything else is real)", valley::RATE))?;
    story.push_rest()?;
    link::play(story)
}

fn is_free(context: &Context, root: &std::path::Path) -> Result<bool, Halt> {
    let failed = |error: std::io::Error| Halt::new(Code::Z201, format!("{}: {error}", escape::plain_path(root)));
    Ok(context.ports.disk.look(root).map_err(failed)?.is_none() || context.ports.disk.list(root).map_err(failed)?.is_empty())
}

fn try_next(context: &mut Context, root: &std::path::Path) -> Result<(), Halt> {
    let root = escape::plain_path(root);
    let lines = [
        format!("\nThe folders are in {root}. Try:"),
        format!("  zbundle --data-dir {root}/punakha-hub status"),
        format!("  zbundle --data-dir {root}/punakha-hub log --origin lunana-bhu | head"),
        format!("  zbundle inspect {root}/stick                           what a finder of the stick can see"),
        format!("  zbundle --data-dir {root}/lunana-bhu push '{{\"pulse\":72}}' --type vitals --key Patient/BT-1"),
        format!("  zbundle --data-dir {root}/lunana-bhu exchange {root}/stick"),
        format!("  zbundle --data-dir {root}/punakha-hub inspect {root}/stick --events | head"),
        format!("  zbundle --data-dir {root}/punakha-hub exchange {root}/stick"),
    ];
    lines.iter().try_for_each(|line| context.console.line(line))
}
