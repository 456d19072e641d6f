//! `zbundle heal`: join the two branches of a forked roster.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, ask, escape, summary};
use bundle_format::error::Code;

const EXAMPLES: &str = "\
Examples:
  zbundle heal                                   shows what each branch says, and asks whether it may count
  zbundle heal --yes

A branch may be what a thief of the authority's key has signed: read it first.";

/// At the authority: settle a roster that has forked (after a restored backup)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Let all that is shown count, without being asked
    #[arg(long)]
    yes: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        if node.keyring().is_authority() && !node.roster().is_forked() {
            context.console.result("the roster has not forked: there is nothing to heal", || Object::of("nothing"))?;
            return Ok(Finished::done(summary("heal")));
        }
        let branches = node.said_by_branches()?;
        for (said, number) in branches.iter().zip(1..) {
            context.console.remark(&format!("branch {number}:"));
            for sentence in said {
                context.console.remark(&format!("  {}", escape::plain(sentence)));
            }
        }
        if !branches.is_empty() && !self.yes && !ask::yes("Is all of this yours, and may it count?", "--yes")? {
            return Err(Halt::new(Code::Z616, "the roster was not healed"));
        }
        node.heal()?;
        context.console.result("the roster is one again; what both branches say now counts", || Object::of("healed"))?;
        Ok(Finished::done(summary("heal")))
    }
}
