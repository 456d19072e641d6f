//! `zbundle log`: what the log holds.

use super::halt::Halt;
use super::{Context, Finished};
use bundle_format::ids::Lane;

const EXAMPLES: &str = "\
Examples:
  zbundle log
  zbundle log --origin lunana-bhu --lane urgent --since 2026-11-01
  zbundle log --key Patient/BT-0042 --format json
  zbundle log --since lunana-bhu~7f3a91c2/routine:41     what was stored after that event
  zbundle log --key scan-7 --payload > scan.jpg          payloads as they were pushed

One payload comes out exactly; of several, each that does not end in a newline gets one.
Notes of the nodes themselves are in the control lane and shown only by --lane control.";

/// How to show events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line to read.
    #[default]
    Text,
    /// One JSON object per line, payload included.
    Json,
    /// A table with a header, payload included.
    Csv,
}

/// Show the events that are held, in the order they were stored
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this node or origin: lunana-bhu, lunana-bhu/urgent, lunana-bhu~7f3a91c2/routine
    #[arg(long)]
    origin: Option<String>,
    /// Only this lane: control, urgent, routine or bulk
    #[arg(long, value_parser = lane)]
    lane: Option<Lane>,
    /// Only what was stored after this event, or stamped at or after this date (UTC)
    #[arg(long, value_name = "ID|DATE")]
    since: Option<String>,
    /// Only this record
    #[arg(long)]
    key: Option<String>,
    /// How to show them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only the payloads, as they were pushed
    #[arg(long)]
    payload: bool,
}

fn lane(text: &str) -> Result<Lane, String> {
    Lane::from_name(text).ok_or_else(|| "control, urgent, routine or bulk".to_owned())
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
