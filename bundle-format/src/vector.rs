//! Version vector: how far each origin's history is held, with no gap below, and a tag that shows at once when two histories differ. SPEC §3.6.

use crate::chain::{self, Position};
use crate::ids::{Hash, Origin};

/// `SHA-256(salt ‖ h_seq)[0..4]`. The salt is fresh for each telling, so nobody can prepare a collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 4]);

/// What the tags of one telling are salted with: SHA-256(header) in a file, the TLS exporter on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl Tag {
    /// The tag of chain hash `hash` under `salt`.
    pub fn of(salt: &Salt, hash: &Hash) -> Self {
        Self(chain::hash(&[], &[&salt.0, &hash.0]).first())
    }
}

/// One entry of a vector as it is told: everything of `origin` up to `seq` is held. Vectors ascend in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// Whose history. The same origin stands twice when the teller holds both branches of a fork.
    pub origin: Origin,
    /// The highest position held with no gap below; at least 1.
    pub seq: u64,
    /// Of `h_seq`.
    pub tag: Tag,
}

impl Told {
    /// Tell `position` of `origin`.
    pub fn new(salt: &Salt, origin: Origin, position: &Position) -> Self {
        Self { origin, seq: position.seq, tag: Tag::of(salt, &position.hash) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_differ_with_history_and_with_salt() {
        let of = |salt: u8, hash: u8| Tag::of(&Salt([salt; 32]), &Hash([hash; 32]));
        assert_eq!(of(1, 2), of(1, 2));
        assert_ne!(of(1, 2), of(1, 3));
        assert_ne!(of(1, 2), of(2, 2));
    }
}
