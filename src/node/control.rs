//! What a node writes into its own control lane. Payloads: SPEC §8.2.

use bundle_format::cbor::{self, Bytes};
use bundle_format::chain::Position;
use bundle_format::ids::{Origin, hex};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Type of the event that closes a history of a lost life.
pub const CLOSE: &str = "zb/close";
/// Type of the daily sign of life.
pub const ALIVE: &str = "zb/alive";
/// Type of the event by which a person settles a fork.
pub const FORK_CLOSED: &str = "zb/fork-closed";

/// A control event to be written: its type and payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Begins with `zb/`.
    pub kind: &'static str,
    /// Deterministic CBOR.
    pub payload: Vec<u8>,
}

/// `zb/close {0: [incarnation, lane, audience, seq, h]}`.
pub fn close(origin: &Origin, at: &Position) -> Note {
    let audience = origin.audience.as_ref().map(|node| Bytes(&node.0));
    let history = (Bytes(&origin.incarnation.0), origin.lane as u8, audience, at.seq, Bytes(&at.hash.0));
    Note { kind: CLOSE, payload: cbor::to_vec(&OneKey(&history)) }
}

/// `zb/alive {}`.
pub fn alive() -> Note {
    Note { kind: ALIVE, payload: vec![0xa0] }
}

/// `zb/fork-closed {0: origin, 2: fork seq}`. No digest of what stands there: this lane is read by members who may not see that history.
pub fn fork_closed(origin: &Origin, seq: u64) -> Note {
    Note { kind: FORK_CLOSED, payload: cbor::to_vec(&ForkClosed { origin: *origin, seq }) }
}

/// How a fork is named for people: the first position where the branches differ, and a branch's digest.
pub fn fork_id(origin: &str, seq: u64, branch: &[u8; 8]) -> String {
    format!("{origin}:{seq}.d{}", hex(branch))
}

struct OneKey<'a, T>(&'a T);

impl<T: Serialize> Serialize for OneKey<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&0, self.0)?;
        map.end()
    }
}

struct ForkClosed {
    origin: Origin,
    seq: u64,
}

impl Serialize for ForkClosed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(&0, &self.origin)?;
        map.serialize_entry(&2, &self.seq)?;
        map.end()
    }
}
