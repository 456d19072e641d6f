//! Names for people, as this node knows them.

use super::counting::Counting;
use crate::keys::naming::{self, EventRef, Names, NamingError};
use crate::keys::{Keyring, Roster};
use crate::ports::store::Log;
use bundle_format::ids::{EventId, Incarnation, Lane, Name, NodeId, Origin};

/// Who is called what here, and which histories there are.
pub struct Naming<'a> {
    pub(super) keyring: &'a Keyring,
    pub(super) roster: &'a Roster,
    pub(super) log: &'a dyn Log,
}

impl<'a> Naming<'a> {
    /// What tells of the same nodes up to where their events count.
    pub fn counting(&self) -> Counting<'a> {
        Counting { log: self.log, roster: self.roster, keyring: self.keyring }
    }
}

impl Naming<'_> {
    /// A node's name, or `@` and its id.
    pub fn node(&self, node: &NodeId) -> String {
        naming::node(node, self)
    }

    /// Full form.
    pub fn origin(&self, origin: &Origin) -> String {
        naming::origin(origin, self)
    }

    /// Short form where it is unique.
    pub fn short_origin(&self, origin: &Origin) -> String {
        naming::short_origin(origin, self)
    }

    /// Full form; with its digest when the origin has forked.
    pub fn event(&self, id: &EventId) -> String {
        naming::event(id, self.is_forked(&id.origin), self)
    }

    /// Whether both branches of a fork of `origin` are held.
    pub fn is_forked(&self, origin: &Origin) -> bool {
        self.log.branches(origin).iter().any(|(stream, _)| stream.branch.is_some())
    }

    /// The node a person names.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn parse_node(&self, text: &str) -> Result<NodeId, NamingError> {
        naming::parse_node(text, self)
    }

    /// The origin a person names.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn parse_origin(&self, text: &str) -> Result<Origin, NamingError> {
        naming::parse_origin(text, self)
    }

    /// The event a person names.
    ///
    /// # Errors
    /// [`NamingError`].
    pub fn parse_event(&self, text: &str) -> Result<EventRef, NamingError> {
        naming::parse_event(text, self)
    }
}

impl Names for Naming<'_> {
    fn name_of(&self, node: &NodeId) -> Option<&Name> {
        let ours = (*node == self.keyring.node()).then(|| self.keyring.name());
        self.roster.member(node).map(|member| &member.name).or(ours)
    }

    fn node_of(&self, name: &Name) -> Option<NodeId> {
        let ours = (name == self.keyring.name()).then(|| self.keyring.node());
        self.roster.by_name(name).map(|member| member.node).or(ours)
    }

    fn incarnations(&self, node: &NodeId, lane: Lane, audience: Option<&NodeId>) -> Vec<Incarnation> {
        let fits = |origin: &Origin| origin.node == *node && origin.lane == lane && origin.audience.as_ref() == audience;
        let mut lives: Vec<_> = self.log.streams().iter().map(|(stream, _)| stream.origin).filter(fits).map(|origin| origin.incarnation).collect();
        lives.sort_unstable();
        lives.dedup();
        lives
    }
}
