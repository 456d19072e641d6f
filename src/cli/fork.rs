//! `zbundle fork`: settle a history that has forked.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, summary};

const EXAMPLES: &str = "\
Examples:
  zbundle fork close lunana-bhu~7f3a91c2/routine:42.d0011223344556677

A fork means that one history was continued twice: a card was cloned, or an old image restored. Both branches are kept. Find the device first; closing only says that people know.";

/// Settle a history that has forked
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say that a fork is known and dealt with; it leaves `status --check`
    Close {
        /// The fork, as `zbundle status` names it
        id: String,
    },
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let Action::Close { id } = self.action;
        let fork = context.node()?.close_fork(&id)?;
        context
            .console
            .result(&format!("closed {}; both branches stay", fork.id), || Object::of("fork").with("id", &fork.id).with("closed", true))?;
        Ok(Finished::done(summary("fork").with("id", fork.id)))
    }
}
