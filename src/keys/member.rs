//! A member of the domain and what everyone is sure of about its authority. SPEC §8.1.

use super::policy::Policy;
use super::standing::{KeyEnd, Standing};
use bundle_format::ids::{DomainId, Incarnation, Lane, Name, NodeId, Origin};
use bundle_format::seal::SealingPublic;
use bundle_format::sign::VerifyingKey;

/// What a member is sure of from the day it joined: the authority's first signing key and in which life it writes the roster (R8.1-b).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The authority's first signing key.
    pub authority_key: VerifyingKey,
    /// The authority's first incarnation.
    pub incarnation: Incarnation,
}

impl Pin {
    /// The domain's id.
    pub fn domain(&self) -> DomainId {
        self.authority_key.domain_id()
    }

    /// The authority.
    pub fn node(&self) -> NodeId {
        self.authority_key.node_id()
    }

    /// The history that is the roster, for ever (R8.1-d).
    pub fn roster_origin(&self) -> Origin {
        Origin { node: self.node(), incarnation: self.incarnation, lane: Lane::Control, audience: None }
    }
}

/// One of a member's key pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberKey {
    /// 1 at enrolment, one more with each rekey.
    pub number: u64,
    /// Signs.
    pub signing: VerifyingKey,
    /// Is sealed to.
    pub sealing: SealingPublic,
    /// How it ended; `None` while it is current.
    pub end: Option<KeyEnd>,
}

impl MemberKey {
    /// What it is worth now.
    pub fn standing(&self) -> Standing {
        self.end.as_ref().map_or(Standing::Current, |end| if end.revoked { Standing::Revoked } else { Standing::Outgoing })
    }
}

/// A node of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Its name, for ever.
    pub name: Name,
    /// What it may see.
    pub policy: Policy,
    /// All its keys, key number 1 first; never empty.
    pub keys: Vec<MemberKey>,
    /// Position of its enrolment in the roster: what it is sent of the roster begins no later than here.
    pub enrolled: u64,
}

impl Member {
    /// Its present key; `None` while it is revoked.
    pub fn current(&self) -> Option<&MemberKey> {
        self.keys.last().filter(|key| key.end.is_none())
    }

    /// The key of this number.
    pub fn key(&self, number: u64) -> Option<&MemberKey> {
        self.keys.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    /// Whether it has no present key.
    pub fn is_revoked(&self) -> bool {
        self.current().is_none()
    }

    /// The number its next key will have.
    pub fn next_key_number(&self) -> u64 {
        self.keys.len() as u64 + 1
    }
}
