//! `zbundle heal`: join the two branches of a forked roster.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, summary};

const EXAMPLES: &str = "\
Examples:
  zbundle heal";

/// At the authority: settle a roster that has forked (after a restored backup)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let Self {} = self;
        context.node()?.heal()?;
        context.console.result("the roster is one again; what both branches say now counts", || Object::of("healed"))?;
        Ok(Finished::done(summary("heal")))
    }
}
