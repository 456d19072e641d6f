//! `zbundle ingest`: take bundles in.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle ingest /media/stick
  zbundle ingest a.zb b.zb
  ssh clinic cat out.zb | zbundle ingest -

Nothing is taken from a bundle that is cut short, damaged, forged or from a stranger. What comes too early is kept and taken when the gap is filled.";

/// Check bundles and take in what is new; each event exactly once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundles, folders of bundles, or - for stdin
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
