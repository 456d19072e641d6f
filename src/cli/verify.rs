//! `zbundle verify`: is a bundle whole and signed.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle verify a.zb && echo good
  zbundle verify /media/stick

Exit 0 when all are good, 14 when one is cut short, damaged or forged, 2 when a file never was a bundle.";

/// Check that bundles are whole and signed; needs no key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundles, or folders of bundles
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
