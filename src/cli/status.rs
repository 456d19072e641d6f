//! `zbundle status`: how the node and its peers stand.

use super::halt::Halt;
use super::{Context, Finished};

const EXAMPLES: &str = "\
Examples:
  zbundle status
  zbundle status --check && echo all well        exit 17 when a fork is open, 18 when a peer is silent";

/// Show the node, what it holds, its peers, and what needs a person
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Exit 17 or 18 when something needs a person
    #[arg(long)]
    check: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
