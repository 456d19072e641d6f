//! `zbundle members`: who belongs to the domain.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, summary, units};
use crate::keys::{Member, Policy};
use crate::node::Node;
use crate::node::naming::Naming;
use bundle_format::error::Code;
use bundle_format::ids::NodeId;

const EXAMPLES: &str = "\
Examples:
  zbundle members
  zbundle members --json";

/// List the members of the domain
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

impl Args {
    /// Run it.
    #[expect(clippy::unused_self, reason = "every command is run alike")]
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let view = context.view()?;
        if view.keyring().pin().is_none() {
            return Err(Halt::new(Code::Z604, view.keyring().name().as_str()));
        }
        let (roster, naming) = (view.roster(), view.naming());
        let mut members: Vec<_> = roster.members().collect();
        members.sort_by_key(|member| (member.node != roster.authority(), !roster.is_hub(&member.node), &member.name));
        for member in &members {
            let role = match () {
                () if member.node == roster.authority() => "authority",
                () if roster.is_hub(&member.node) => "hub",
                () => "member",
            };
            tell(context, member, role, &naming)?;
        }
        let (updated_ms, now_ms) = (roster.updated().ms(), context.ports.clock.now_ms());
        let age = units::span(now_ms.saturating_sub(updated_ms));
        context.console.line(&format!("roster {} from {age} ago, as it is known here", roster.head().seq))?;
        if roster.is_forked() {
            context.console.warn(Code::Z617, "")?;
        }
        let summary = summary("members").with("members", members.len()).with("forked", roster.is_forked());
        Ok(Finished::done(summary.with("roster_seq", roster.head().seq).with("roster_time", units::date(updated_ms))))
    }
}

fn tell(context: &mut Context, member: &Member, role: &str, naming: &Naming<'_>) -> Result<(), Halt> {
    let policy = member.policy.text(|node| naming.node(node));
    let key = member.keys.last().map_or(0, |key| key.number);
    let revoked = if member.is_revoked() { "  REVOKED" } else { "" };
    let line = format!("{:<32}  @{}  {role:<9}  sees {policy}  key {key}{revoked}", member.name, member.node);
    context.console.result(&line, || {
        let object = Object::of("member").with("name", member.name.as_str()).with("node", member.node.to_string()).with("role", role);
        object.with("policy", &policy).with("key", key).with("revoked", member.is_revoked())
    })
}

/// The member a person names.
pub fn node_id(node: &Node, name: &str) -> Result<NodeId, Halt> {
    node.naming().parse_node(name).map_err(|error| Halt::by(error.code(), &error))
}

/// What a person writes for a policy.
pub fn policy(node: &Node, text: &str) -> Result<Policy, Halt> {
    let naming = node.naming();
    Policy::parse(text, |name| naming.parse_node(name).ok())
        .map_err(|name| Halt::new(Code::Z406, format!("{name:?}; a policy is own, own,hub, all, or names of members")))
}
