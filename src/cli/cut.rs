//! `zbundle cut`: fix what a peer lacks in a sealed bundle.

use super::halt::Halt;
use super::units;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle cut --to punakha-hub --out /media/stick
  zbundle cut --to punakha-hub --out /media/stick --max-size 64MiB
  zbundle cut --to punakha-hub --out . --dry-run     only say how much it would be

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
    /// The most bytes it may take; urgent lanes go first
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    max_size: Option<u64>,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
