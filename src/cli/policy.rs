//! `zbundle policy`: what a member may see.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, members, summary};

const EXAMPLES: &str = "\
Examples:
  zbundle policy lunana-bhu own                  only its own records and those directed to it
  zbundle policy lunana-bhu own,hub              also what the hubs write for everybody
  zbundle policy punakha-hub-2 all               makes it a hub: it sees and carries everything
  zbundle policy laya-bhu lunana-bhu,gasa-bhu    also these nodes' records";

/// At the authority: change what a member may see
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The member
    node: String,
    /// own; own,hub; all; or names of nodes, comma between
    policy: String,
    /// Sign although the roster may have lost its newest events
    #[arg(long)]
    i_am_sure: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        let (member, policy) = (members::node_id(&node, &self.node)?, members::policy(&node, &self.policy)?);
        node.set_policy(member, policy, self.i_am_sure)?;
        let name = node.naming().node(&member);
        context
            .console
            .result(&format!("{name} may see: {}", self.policy), || Object::of("policy").with("name", &name).with("policy", &self.policy))?;
        Ok(Finished::done(summary("policy").with("name", name).with("policy", self.policy)))
    }
}
