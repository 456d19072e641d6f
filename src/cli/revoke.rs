//! `zbundle revoke`: a member's keys stop counting.

use super::halt::Halt;
use super::{Context, Finished};

const EXAMPLES: &str = "\
Examples:
  zbundle revoke lunana-bhu                      its device was lost or stolen

It may come back with new keys: `zbundle request --new-keys` there, `zbundle sign F --rekey lunana-bhu` here.";

/// At the authority: revoke a member's keys; what it wrote so far keeps counting
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The member
    node: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Sign although the roster may have lost its newest events
    #[arg(long)]
    i_am_sure: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
