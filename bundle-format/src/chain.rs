//! The hash chain of an origin: what makes a history one history. SPEC §3.4.
//!
//! `L = SHA-256("zbundle/1 log" 00 ‖ cbor([node, incarnation, lane, audience]))`, `h_0 = L`, `d_i = SHA-256(00 ‖ event_i)`,
//! `h_i = SHA-256(01 ‖ h_{i−1} ‖ u64be(i) ‖ d_i)`.

use crate::cbor;
use crate::ids::{Hash, Origin};
use sha2::{Digest as _, Sha256};

/// `h_0` of an origin.
pub fn log_id(origin: &Origin) -> Hash {
    hash(b"zbundle/1 log\0", &[&cbor::to_vec(origin)])
}

/// `d_i`: the digest of one event's bytes.
pub fn digest(event: &[u8]) -> Hash {
    hash(&[0], &[event])
}

/// `h_i` from `h_{i−1}`, the position and `d_i`.
pub fn link(previous: &Hash, seq: u64, digest: &Hash) -> Hash {
    hash(&[1], &[&previous.0, &seq.to_be_bytes(), &digest.0])
}

/// SHA-256 of a prefix and parts, one after the other.
pub fn hash(prefix: &[u8], parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    sha.update(prefix);
    for part in parts {
        sha.update(part);
    }
    Hash(sha.finalize().into())
}

/// A place in an origin's chain: how many events, and the chain hash over them. `seq` 0 stands before the first event (R3.2-a).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// How many events; the position of the last of them.
    pub seq: u64,
    /// `h_seq`.
    pub hash: Hash,
}

impl Position {
    /// Before the first event of `origin`.
    pub fn start(origin: &Origin) -> Self {
        Self { seq: 0, hash: log_id(origin) }
    }

    /// After one more event.
    #[must_use]
    pub fn then(self, digest: &Hash) -> Self {
        let seq = self.seq.saturating_add(1);
        Self { seq, hash: link(&self.hash, seq, digest) }
    }
}

/// Consecutive events of one history and where they lead. The only way to make one is to hash every event, so `end` is always true.
#[derive(Clone)]
pub struct Run<'a> {
    start: Position,
    end: Position,
    events: Vec<&'a [u8]>,
}

impl std::fmt::Debug for Run<'_> {
    /// Without its events: they are people's records and belong into no message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({}..={})", self.start.seq.saturating_add(1), self.end.seq)
    }
}

impl<'a> Run<'a> {
    /// The events right after `start`, each the exact bytes of one event.
    pub fn link(start: Position, events: Vec<&'a [u8]>) -> Self {
        let end = events.iter().fold(start, |position, event| position.then(&digest(event)));
        Self { start, end, events }
    }

    /// A run whose end was found by hashing every event already.
    pub(crate) fn proved(start: Position, end: Position, events: Vec<&'a [u8]>) -> Self {
        Self { start, end, events }
    }

    /// Right before the first event.
    pub fn start(&self) -> Position {
        self.start
    }

    /// At the last event.
    pub fn end(&self) -> Position {
        self.end
    }

    /// The events' bytes, in order.
    pub fn events(&self) -> &[&'a [u8]] {
        &self.events
    }
}
