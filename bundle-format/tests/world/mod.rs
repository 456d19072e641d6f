//! A small domain with fixed keys: an authority, a few nodes, their logs, and a roster that knows them all.
#![allow(dead_code, reason = "each test binary uses its own part of the world")]

pub mod raw;

use bundle_format::chain::{Position, Run, digest};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{DomainId, Incarnation, Lane, NodeId, Origin};
use bundle_format::manifest::Manifest;
use bundle_format::range::{Coding, Range, VerifiedRange};
use bundle_format::seal::{HeaderPlan, Sealed, Sealer, SealingKey};
use bundle_format::sign::{SigningKey, VerifyingKey};
use bundle_format::trust::Trust;
use std::sync::LazyLock;

pub struct World {
    pub authority: SigningKey,
    pub hub: SealingKey,
}

/// A history with its events, to cut ranges from.
#[derive(Debug)]
pub struct Log {
    pub origin: Origin,
    pub key: SigningKey,
    pub events: Vec<Vec<u8>>,
}

impl Log {
    pub fn position(&self, seq: u64) -> Position {
        let events = &self.events[..usize::try_from(seq).unwrap()];
        events.iter().fold(Position::start(&self.origin), |position, event| position.then(&digest(event)))
    }

    pub fn run(&self, range: std::ops::Range<usize>) -> Run<'_> {
        Run::link(self.position(range.start as u64), self.events[range].iter().map(Vec::as_slice).collect())
    }
}

/// Key of node `number`; 0 is the authority.
pub fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 1; 32])
}

pub fn origin(number: u8, lane: Lane) -> Origin {
    let node = signing_key(number).verifying_key().node_id();
    Origin { node, incarnation: Incarnation([number; 4]), lane, audience: None }
}

/// The first `count` events of a node's history.
pub fn log(number: u8, lane: Lane, count: usize) -> Log {
    let event = |index: usize| {
        let payload = format!(r#"{{"patient":"P-{}","temp":{}.{}}}"#, index * 7 % 50, 35 + index % 5, index % 10);
        let ext = Ext { record_key: Some("Patient/1"), ..Ext::default() };
        Event { hlc: Hlc((1_700_000_000_000 + index as u64) << 16), kind: "vitals", payload: payload.as_bytes(), ext }.to_bytes().unwrap()
    };
    Log { origin: origin(number, lane), key: signing_key(number), events: (0..count).map(event).collect() }
}

/// `count` events of 100 bytes each.
pub fn bulk(count: usize) -> Log {
    let event = Event { hlc: Hlc(1), kind: "scan", payload: &[7; 84], ext: Ext::default() }.to_bytes().unwrap();
    Log { events: vec![event; count], ..log(2, Lane::Bulk, 0) }
}

/// The roster's first two events. Their content means nothing here.
pub fn roster() -> Log {
    log(0, Lane::Control, 2)
}

pub fn manifest(ranges: &[Range]) -> Manifest {
    Manifest::new(Vec::new(), Some((Incarnation([9; 4]), 7)), Vec::new(), ranges.iter().map(|range| range.origin))
}

/// Not random at all: equal seeds give equal files.
pub fn random(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed | 1;
    move |bytes| {
        for byte in bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[4];
        }
    }
}

impl World {
    pub fn new() -> Self {
        Self { authority: signing_key(0), hub: SealingKey::from_bytes([77; 32]) }
    }

    pub fn domain(&self) -> DomainId {
        self.authority.verifying_key().domain_id()
    }

    pub fn checkpoint(&self, log: &Log, seq: u64) -> Checkpoint {
        Checkpoint::sign(&log.key, &self.domain(), &log.origin, 1, &log.position(seq))
    }

    pub fn range(&self, log: &Log, part: std::ops::Range<usize>, coding: Coding) -> Range {
        let last = self.checkpoint(log, part.end as u64);
        let count = part.len() as u64;
        Range::build(log.origin, &log.run(part), &[(count, last)], coding, &mut Compressor::new().unwrap()).unwrap()
    }

    pub fn plan(&self) -> HeaderPlan<'_> {
        HeaderPlan {
            domain: self.domain(),
            sender: self.authority.verifying_key().node_id(),
            signing_key: &self.authority,
            recipients: vec![self.hub.public()],
            created: Some(1_700_000_000),
            best_lane: Some(Lane::Control),
        }
    }

    pub fn sealer(&self, seed: u64) -> Sealer<'_, Vec<u8>> {
        Sealer::new(Vec::new(), &self.plan(), &mut random(seed)).unwrap()
    }

    pub fn seal(&self, ranges: &[Range]) -> (Vec<u8>, Sealed) {
        self.seal_with(42, ranges)
    }

    pub fn seal_with(&self, seed: u64, ranges: &[Range]) -> (Vec<u8>, Sealed) {
        let mut bundle = self.sealer(seed);
        bundle.manifest(&manifest(ranges)).unwrap();
        for range in ranges {
            bundle.range(range).unwrap();
        }
        let len = bundle.len_if_finished();
        let (file, sealed) = bundle.finish().unwrap();
        assert_eq!((file.len() as u64, sealed.len), (len, len), "the length was known before the end");
        (file, sealed)
    }

    pub fn trust(&self) -> Known {
        Known { domain: self.domain(), roster: origin(0, Lane::Control), learnt: 0 }
    }
}

/// A roster that knows nodes 0 to 9, each by its first key.
#[derive(Clone)]
pub struct Known {
    pub domain: DomainId,
    pub roster: Origin,
    pub learnt: usize,
}

impl Known {
    fn key(node: NodeId) -> Option<VerifyingKey> {
        static KEYS: LazyLock<Vec<(NodeId, VerifyingKey)>> =
            LazyLock::new(|| (0..10).map(|number| signing_key(number).verifying_key()).map(|key| (key.node_id(), key)).collect());
        KEYS.iter().find(|(other, _)| *other == node).map(|(_, key)| *key)
    }
}

impl Trust for Known {
    fn domain(&self) -> DomainId {
        self.domain
    }
    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        Self::key(*node).filter(|_| key_number == 1)
    }
    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool {
        Self::key(*node) == Some(*key)
    }
    fn is_roster(&self, origin: &Origin) -> bool {
        *origin == self.roster
    }
    fn learn(&mut self, _: &VerifiedRange) {
        self.learnt += 1;
    }
}
