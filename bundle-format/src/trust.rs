//! What opening a bundle must be told from outside: who may sign. The roster answers, a pure fold over control events that live above this crate.

use crate::ids::{DomainId, NodeId, Origin};
use crate::range::VerifiedRange;
use crate::sign::VerifyingKey;

/// Who may sign what. Implemented by the roster; opening teaches a copy of it the roster events the bundle itself brings.
pub trait Trust {
    /// Our domain.
    fn domain(&self) -> DomainId;
    /// The key of this number of this node, whether it is in force or not: what a checkpoint under an outgoing key is worth is not decided here.
    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey>;
    /// Whether `key` is or ever was a signing key of `node`.
    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool;
    /// Whether `origin` is the roster: the authority's control lane of its first incarnation.
    fn is_roster(&self, origin: &Origin) -> bool;
    /// Take in a verified range of the roster. What does not continue what is known is ignored.
    fn learn(&mut self, range: &VerifiedRange);
}
