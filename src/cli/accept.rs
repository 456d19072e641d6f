//! `zbundle accept`: let records count that came after a revocation.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, members, summary};

const EXAMPLES: &str = "\
Examples:
  zbundle accept lunana-bhu                      all that is held of it now counts";

/// At the authority: accept what a member wrote under keys that were replaced or revoked
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The member
    node: String,
    /// Sign although the roster may have lost its newest events
    #[arg(long)]
    i_am_sure: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        let member = members::node_id(&node, &self.node)?;
        node.accept(member, self.i_am_sure)?;
        let name = node.naming().node(&member);
        context.console.result(&format!("{name} is accepted with all that is held of it"), || Object::of("accept").with("name", &name))?;
        Ok(Finished::done(summary("accept").with("name", name)))
    }
}
