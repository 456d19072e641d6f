//! `zbundle request`: ask to be taken into a domain.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle request                                writes NAME.request here
  zbundle request --out /media/stick/lunana.request
  zbundle request --new-keys --out F             the same node with new keys (rotation, or after a loss)

Compare the six words it prints with those that `zbundle sign` prints at the authority.";

/// Write a request to join a domain, for the authority to sign
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Ask for new keys for this node instead of joining
    #[arg(long)]
    new_keys: bool,
    /// Where to write it [default: NAME.request]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
