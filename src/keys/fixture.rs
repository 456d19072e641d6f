//! A small domain for the tests of this room: an authority `hub` and nodes by number, with a roster lane that can be written and forked.

use super::branches::Entry;
use super::member::Pin;
use super::policy::Policy;
use super::roster::{Roster, RosterError};
use super::roster_event::{Keep, RosterEvent};
use bundle_format::chain::{Position, digest};
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Hash, Incarnation, Lane, NodeId, Origin};
use bundle_format::seal::{SealingKey, SealingPublic};
use bundle_format::sign::{SigningKey, VerifyingKey};
use std::sync::OnceLock;

/// The signing key of node `n`; above 100, its later ones.
pub fn secret(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub fn signing(n: u8) -> VerifyingKey {
    static ONCE: [OnceLock<VerifyingKey>; 256] = [const { OnceLock::new() }; 256]; // curves are slow without optimisation
    *ONCE[usize::from(n)].get_or_init(|| secret(n).verifying_key())
}

pub fn sealing(n: u8) -> SealingPublic {
    static ONCE: [OnceLock<SealingPublic>; 256] = [const { OnceLock::new() }; 256];
    *ONCE[usize::from(n)].get_or_init(|| SealingKey::from_bytes([n; 32]).public())
}

pub fn node(n: u8) -> NodeId {
    signing(n).node_id()
}

/// The authority is node 1.
pub fn pin() -> Pin {
    Pin { authority_key: signing(1), incarnation: Incarnation([1; 4]) }
}

pub fn origin(n: u8, lane: Lane, audience: Option<u8>) -> Origin {
    Origin { node: node(n), incarnation: Incarnation([n; 4]), lane, audience: audience.map(node) }
}

pub fn at(seq: u64, branch: u8) -> Position {
    Position { seq, hash: Hash([branch; 32]) }
}

pub fn keep(n: u8, lane: Lane, seq: u64, branch: u8) -> Keep {
    Keep::new(&origin(n, lane, None), at(seq, branch))
}

pub fn enrol(n: u8, name: &str, policy: Policy) -> RosterEvent {
    RosterEvent::Enrol { node: node(n), name: name.into(), signing: signing(n), sealing: sealing(n), policy }
}

pub fn found() -> RosterEvent {
    enrol(1, "hub", Policy::All)
}

pub fn rekey(n: u8, key_number: u64, new: u8, keep: Vec<Keep>) -> RosterEvent {
    RosterEvent::Rekey { node: node(n), key_number, signing: signing(new), sealing: sealing(new), keep }
}

pub fn revoke(n: u8, key_number: u64, keep: Vec<Keep>) -> RosterEvent {
    RosterEvent::Revoke { node: node(n), key_number, keep }
}

/// A roster lane being written: positions and the bytes of payloads.
#[derive(Clone, Default)]
pub struct Written(pub Vec<(Position, &'static str, Vec<u8>)>);

impl Written {
    pub fn head(&self) -> Position {
        self.0.last().map_or(Position::start(&pin().roster_origin()), |last| last.0)
    }

    pub fn then(mut self, event: &RosterEvent) -> Self {
        let payload = event.payload();
        self.0.push((self.head().then(&digest(&payload)), event.kind(), payload));
        self
    }

    pub fn entries(&self) -> Vec<Entry<'_>> {
        self.0.iter().map(|(position, kind, payload)| Entry { position: *position, event: plain(kind, payload), key_numbers: vec![] }).collect()
    }

    /// The plain fold, and what each event answered.
    pub fn fold(&self) -> (Roster, Vec<Result<(), RosterError>>) {
        let mut roster = Roster::new(pin());
        let answers = self.entries().iter().map(|entry| roster.apply(entry.position, &entry.event)).collect();
        (roster, answers)
    }

    pub fn roster(&self) -> Roster {
        self.fold().0
    }
}

pub fn written(events: &[RosterEvent]) -> Written {
    events.iter().fold(Written::default(), Written::then)
}

pub fn plain<'a>(kind: &'a str, payload: &'a [u8]) -> Event<'a> {
    Event { hlc: Hlc(1), kind, payload, ext: Ext::default() }
}
