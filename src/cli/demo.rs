//! `zbundle demo`: the whole walk on your own disk.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle demo
  zbundle demo --keep /tmp/walk                  leaves the folders to play with";

/// Show the whole walk on real files: two clinics, a hub, a stick, and the proof that nothing was lost
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Leave the folders here
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
