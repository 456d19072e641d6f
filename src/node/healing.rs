//! What the branches of a forked roster say, for who is about to heal it. SPEC §8.4.

use super::Node;
use super::error::NodeError;
use crate::keys::RosterEvent;
use crate::ports::store::{Log as _, Stream};
use bundle_format::chain::Position;
use bundle_format::event::Event;

impl Node {
    /// For each branch that a heal would bring in: what it says, a sentence for each event. A payload in parts is not told.
    ///
    /// # Errors
    /// What the log says.
    pub fn said_by_branches(&self) -> Result<Vec<Vec<String>>, NodeError> {
        self.branches_to_heal()?.iter().map(|end| self.said_up_to(end)).collect()
    }

    fn said_up_to(&self, end: &Position) -> Result<Vec<String>, NodeError> {
        let mut said = Vec::new();
        for (stream, head) in self.wal.branches(&self.roster.pin().roster_origin()) {
            if stream.branch.is_some() && self.wal.position(&stream, end.seq)? == Some(*end) {
                said.extend(self.said_by(&stream, head.base.seq, end.seq)?);
            }
        }
        Ok(said)
    }

    fn said_by(&self, stream: &Stream, after: u64, to: u64) -> Result<Vec<String>, NodeError> {
        let mut said = Vec::new();
        let mut events = self.wal.events(stream, after + 1)?;
        while let Some((_, bytes)) = events.next()?.filter(|(seq, _)| *seq <= to) {
            let Ok(event) = Event::from_bytes(bytes) else { break };
            if let Ok(Some(event)) = RosterEvent::read(event.kind, event.payload) {
                said.extend(self.sentence(&event));
            }
        }
        Ok(said)
    }

    fn sentence(&self, event: &RosterEvent) -> Option<String> {
        let naming = self.naming();
        let sees = |policy: &crate::keys::Policy| policy.text(|node| naming.node(node));
        Some(match event {
            RosterEvent::Enrol { node, name, policy, .. } => format!("{name} (@{node}) becomes a member and sees {}", sees(policy)),
            RosterEvent::Rekey { node, .. } => format!("{} has new keys", naming.node(node)),
            RosterEvent::Revoke { node, .. } => format!("{} is revoked", naming.node(node)),
            RosterEvent::Policy { node, policy } => format!("{} sees {}", naming.node(node), sees(policy)),
            RosterEvent::Accept { node, .. } => format!("what {} wrote under ended keys is accepted", naming.node(node)),
            RosterEvent::Heal { .. } => return None,
        })
    }
}
