//! `zbundle revoke`: a member's keys stop counting.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, members, summary};

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
    /// Sign although the roster may have lost its newest events
    #[arg(long)]
    i_am_sure: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        let member = members::node_id(&node, &self.node)?;
        node.revoke(member, self.i_am_sure)?;
        let name = node.naming().node(&member);
        context
            .console
            .result(&format!("{name} is revoked; what it wrote up to here keeps counting"), || Object::of("revoke").with("name", &name))?;
        Ok(Finished::done(summary("revoke").with("name", name)))
    }
}
