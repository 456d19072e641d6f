//! Heads worked out one event at a time are those of all events together (R11.2-c, R11.2-i).

use bundle_format::event::Op;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Hash, Incarnation, Lane, NodeId, Origin};
use proptest::prelude::*;
use zbundle::adapters::SqliteProjection;
use zbundle::node::folding::Folding;
use zbundle::ports::projection::{Content, Folded, Projection as _, Row, State, Version};
use zbundle::ports::store::Stream;
use zbundle::project::fold::fold;

const KEYS: [&str; 2] = ["Patient/1", "Patient/2"];

#[derive(Clone, Debug)]
struct Written {
    key: Option<&'static str>,
    version: Version,
    counts: bool,
}

fn id(node: u8, life: u8, seq: u64) -> EventId {
    let origin = Origin { node: NodeId([node; 8]), incarnation: Incarnation([life; 4]), lane: Lane::Routine, audience: None };
    EventId { origin, seq, digest: seq.to_be_bytes() }
}

fn put(folding: &mut Folding, tables: &mut SqliteProjection, written: &Written) {
    let Version { id, orig, base, hlc, kind, op, sha256, .. } = written.version.clone();
    let row = Row {
        stream: Stream::main(id.origin),
        id,
        hlc,
        kind: &kind,
        record_key: written.key,
        base,
        op,
        orig,
        content_type: None,
        author: None,
        idempotency_key: None,
        len: 0,
        sha256,
        content: Content::Elsewhere,
        counts: written.counts,
    };
    folding.put(tables, &row).unwrap();
}

fn wanted(all: &[Written], key: &str) -> Option<Folded> {
    let versions: Vec<Version> = all.iter().filter(|one| one.key == Some(key) && one.counts).map(|one| one.version.clone()).collect();
    fold(&versions, |id| all.iter().any(|one| one.version.id == *id))
}

/// Put all in `order`, a batch of `batch` at a time; after each batch the tables say what the fold of all says.
fn check(all: &[Written], order: &[usize], batch: usize) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut tables = SqliteProjection::open(&folder.path().join("a.db"), false).unwrap();
    let (mut folding, mut here) = (Folding::default(), Vec::new());
    for part in order.chunks(batch) {
        tables.begin().unwrap();
        for written in part.iter().map(|at| &all[*at]) {
            put(&mut folding, &mut tables, written);
            here.push(written.clone());
        }
        folding.finish(&mut tables).unwrap();
        tables.commit().unwrap();
        for key in KEYS {
            assert_eq!(tables.record(key).unwrap(), wanted(&here, key), "{key} after {} of {order:?}, {batch} at a time: {all:#?}", here.len());
        }
    }
}

/// What three nodes write: each event sees some of the earlier ones, now and then one that is of another record or was never written; some are repeated
/// in another life, and some of those say so falsely.
fn histories() -> impl Strategy<Value = Vec<Written>> {
    proptest::collection::vec((1u8..4, any::<u16>(), 0u8..3, 0u8..8, 0u8..12), 1..16).prop_map(|writes| {
        let mut all: Vec<Written> = Vec::new();
        for (at, (node, sees, content, place, trick)) in writes.into_iter().enumerate() {
            let seq = at as u64 + 1;
            let mut base: Vec<EventId> = all.iter().enumerate().filter(|(at, _)| sees >> at & 1 == 1).map(|(_, one)| one.version.id).collect();
            if trick == 1 {
                base.push(id(3, 9, 200 + seq)); // nobody ever brings it
            }
            let op = if trick == 2 { Op::Delete } else { Op::Put };
            let version = Version {
                id: id(node, 1, seq),
                orig: None,
                base: Some(base),
                hlc: Hlc(seq << 16),
                kind: "t".into(),
                op,
                sha256: Hash([content; 32]),
                author: None,
            };
            let key = match place {
                0 => None,
                1 | 2 => Some(KEYS[1]),
                _ => Some(KEYS[0]),
            };
            let earlier = all.get(usize::from(sees) % (at + 1)).cloned();
            all.push(match (trick, earlier) {
                (3 | 4, Some(earlier)) => {
                    let (own, first) = (id(earlier.version.id.origin.node.0[0], 2, seq), earlier.version.id);
                    let silent = Version { id: own, orig: Some(first), base: (trick == 3).then(Vec::new), ..earlier.version.clone() };
                    Written { version: silent, ..earlier }
                }
                (5, Some(earlier)) => Written { key, version: Version { orig: Some(earlier.version.id), base: None, ..version }, counts: true },
                (6, _) => Written { key, version, counts: false },
                _ => Written { key, version, counts: true },
            });
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// In any order, in any batches, whatever part of it is here.
    #[test]
    fn an_event_at_a_time_comes_to_what_all_together_come_to(all in histories(), seed in any::<u64>(), batch in 1usize..6) {
        let mut order: Vec<usize> = (0..all.len()).collect();
        let mut state = seed | 1;
        for at in (1..order.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        check(&all, &order, batch);
    }
}

/// A version builds on an event that comes later, and under another key: until now the tables went on waiting for it until they were made anew.
#[test]
fn an_ancestor_that_comes_under_another_key_is_waited_for_no_longer() {
    let version = |node, seq, base: &[EventId]| Version {
        id: id(node, 1, seq),
        orig: None,
        base: Some(base.to_vec()),
        hlc: Hlc(seq << 16),
        kind: "t".into(),
        op: Op::Put,
        sha256: Hash([seq.to_be_bytes()[7]; 32]),
        author: None,
    };
    let ancestor = Written { key: Some(KEYS[1]), version: version(1, 1, &[]), counts: true };
    let builds = Written { key: Some(KEYS[0]), version: version(2, 2, &[ancestor.version.id]), counts: true };
    let other = Written { key: Some(KEYS[0]), version: version(3, 3, &[]), counts: true };
    assert_eq!(wanted(&[builds.clone(), other.clone()], KEYS[0]).unwrap().state, State::Pending);
    assert_eq!(wanted(&[builds.clone(), other.clone(), ancestor.clone()], KEYS[0]).unwrap().state, State::Conflict);
    check(&[builds, other, ancestor], &[0, 1, 2], 1);
}

/// R11.2-i: one key with very many versions and heads. Were each worked out from all, this would be fifty million rows and take minutes.
#[test]
fn a_record_of_ten_thousand_versions_is_followed_event_by_event() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let mut tables = SqliteProjection::open(&folder.path().join("a.db"), false).unwrap();
    let mut folding = Folding::default();
    tables.begin().unwrap();
    for seq in 1..=10_000u64 {
        let version = Version {
            id: id(1, 1, seq),
            orig: None,
            base: Some(if seq % 2 == 0 { vec![id(1, 1, seq - 1)] } else { vec![] }),
            hlc: Hlc(seq << 16),
            kind: "t".into(),
            op: Op::Put,
            sha256: Hash([(seq % 251) as u8; 32]),
            author: None,
        };
        put(&mut folding, &mut tables, &Written { key: Some(KEYS[0]), version, counts: true });
        folding.finish(&mut tables).unwrap();
    }
    tables.commit().unwrap();
    let folded = tables.record(KEYS[0]).unwrap().unwrap();
    assert_eq!((folded.heads.len(), folded.heads[0], folded.state), (5_000, id(1, 1, 10_000), State::Conflict));
}
