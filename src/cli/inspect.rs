//! `zbundle inspect`: what is in a bundle.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle inspect a.zb                           without any key: sender, size, signature
  zbundle inspect /media/stick --json
  zbundle --data-dir /var/lib/zbundle inspect a.zb --events

Nothing is written, neither here nor beside the file.";

/// Say what can be seen of a bundle; with the recipient's keys also what is inside
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundles, or folders of bundles
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// List the events inside (needs the recipient's data directory)
    #[arg(long)]
    events: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
