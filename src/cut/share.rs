//! Which histories are kept back from a peer where there are more than a vector holds. Pure. SPEC R6.2-k.
//!
//! A member may begin as many histories as others take of it (R6.2-j), and a dozen that do so together are more than one vector holds. So everybody gets
//! room for one history, then for a second, and so on: who writes as people do does not notice.

use crate::ports::store::{Head, Stream};
use bundle_format::ids::{Incarnation, NodeId};
use bundle_format::limits::{HISTORY_COUNT_MAX, MANIFEST_LEN_MAX};
use bundle_format::manifest::{ForkNotice, Manifest};
use bundle_format::vector::{Tag, Told};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a manifest's vector and fork notices; the rest is for what else stands in it.
const VECTOR_LEN_MAX: usize = MANIFEST_LEN_MAX - 4096;
/// Histories of a vector: of the 65 536 that one end of a link may name (R7.3-c), these; the others are named by ranges, before they are told.
const VECTOR_COUNT_MAX: usize = 60_000;
/// No entry of a vector adds more than this, with both of its nodes in the table and its fork notice.
const ENTRY_LEN_MAX: usize = 96;

/// Those of `streams`, all that a peer may be told, that it is not told. `takes(node)`: how many histories of it others take. `is_due(stream)`: it is told
/// whatever else there is.
pub fn kept_back(streams: &[(Stream, Head)], takes: &dyn Fn(&NodeId) -> usize, is_due: &dyn Fn(&Stream) -> bool) -> BTreeSet<Stream> {
    if streams.len() * ENTRY_LEN_MAX <= VECTOR_LEN_MAX || fits(streams) {
        return BTreeSet::new();
    }
    let ordered = in_turn(streams, takes, is_due);
    let (mut told, mut too_many) = (0, ordered.len());
    while told + 1 < too_many {
        let middle = told.midpoint(too_many);
        *(if fits(&ordered[..middle]) { &mut told } else { &mut too_many }) = middle;
    }
    ordered[told..].iter().map(|(stream, _)| *stream).collect()
}

/// What is due, then the newest history of each writer, then the second of each, and so on: of one of whom others take four times as many, four at a time.
fn in_turn(streams: &[(Stream, Head)], takes: &dyn Fn(&NodeId) -> usize, is_due: &dyn Fn(&Stream) -> bool) -> Vec<(Stream, Head)> {
    let mut newest_first: Vec<_> = streams.to_vec();
    newest_first.sort_by_key(|(_, head)| std::cmp::Reverse(head.hlc));
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut turn = |(stream, head): (Stream, Head)| {
        let count = counts.entry(stream.origin.node).or_default();
        *count += 1;
        let turn = *count * HISTORY_COUNT_MAX / takes(&stream.origin.node).max(1);
        ((!is_due(&stream), turn, stream), (stream, head))
    };
    let mut ordered: Vec<_> = newest_first.into_iter().map(&mut turn).collect();
    ordered.sort_by_key(|(turn, _)| *turn);
    ordered.into_iter().map(|(_, told)| told).collect()
}

/// Whether a manifest and a hello hold these.
fn fits(streams: &[(Stream, Head)]) -> bool {
    let vector = streams.iter().map(|(stream, head)| Told { origin: stream.origin, seq: head.checkpoint_seq, tag: Tag([0; 4]) }).collect();
    let notice =
        |(stream, head): &(Stream, Head)| Some(ForkNotice { origin: stream.origin, seq: head.base.seq + 1, digests: [[0; 8], stream.branch?] });
    let forks = streams.iter().filter_map(notice).collect();
    let manifest = Manifest::new(vector, Some((Incarnation([0; 4]), u64::MAX)), forks, []);
    streams.len() <= VECTOR_COUNT_MAX && manifest.to_bytes().is_some_and(|bytes| bytes.len() <= VECTOR_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::chain::{Position, digest};
    use bundle_format::hlc::Hlc;
    use bundle_format::ids::{Lane, Origin};
    use bundle_format::limits::HUB_HISTORY_COUNT_MAX;

    const HUB: u16 = 0;

    fn node(number: u16) -> NodeId {
        let mut bytes = [0x5a; 8];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        NodeId(bytes)
    }

    fn takes(of: &NodeId) -> usize {
        if *of == node(HUB) { HUB_HISTORY_COUNT_MAX } else { HISTORY_COUNT_MAX }
    }

    /// How the histories of one writer look.
    #[derive(Clone, Copy, Debug)]
    enum Shape {
        Lives,
        Directed,
        Long,
        Branches,
    }

    fn histories(writer: u16, count: usize, shape: Shape) -> Vec<(Stream, Head)> {
        let history = |number: usize| {
            let number = u32::try_from(number).unwrap();
            let life = Incarnation([1; 4]);
            let origin = Origin { node: node(writer), incarnation: Incarnation(number.to_be_bytes()), lane: Lane::Routine, audience: None };
            let (origin, branch, seq) = match shape {
                Shape::Lives => (origin, None, 300),
                Shape::Directed => (Origin { incarnation: life, audience: Some(node(10_000 + u16::try_from(number).unwrap())), ..origin }, None, 7),
                Shape::Long => (origin, None, u64::from(u32::MAX)),
                Shape::Branches => (
                    Origin { incarnation: life, ..origin },
                    Some([[9; 4], number.to_be_bytes()].concat().try_into().unwrap()),
                    300 + u64::from(number),
                ),
            };
            let (base, end) = (Position::start(&origin), Position { seq, hash: digest(&number.to_be_bytes()) });
            (Stream { origin, branch }, Head { base, end, checkpoint_seq: seq, hlc: Hlc(u64::from(number)) })
        };
        (0..count).map(history).collect()
    }

    /// A district as it is, beside `liars` that have begun all that others take of them.
    fn district(liars: u16, shape: Shape) -> Vec<(Stream, Head)> {
        let mut streams = histories(HUB, 2000, Shape::Directed);
        streams.extend((100..300).flat_map(|clinic| histories(clinic, 8, Shape::Lives)));
        streams.extend((1000..1000 + liars).flat_map(|liar| histories(liar, HISTORY_COUNT_MAX, shape)));
        streams
    }

    fn told(streams: &[(Stream, Head)], kept: &BTreeSet<Stream>) -> Vec<(Stream, Head)> {
        streams.iter().filter(|(stream, _)| !kept.contains(stream)).copied().collect()
    }

    /// As large as a domain may be without anybody being kept from anybody.
    #[test]
    fn what_a_vector_holds_is_told_whole() {
        let clinics = |count: u16, each| (0..count).flat_map(|clinic| histories(clinic + 1, each, Shape::Lives)).collect();
        let domains =
            [(0, Shape::Lives), (11, Shape::Lives), (7, Shape::Directed), (2, Shape::Branches)].map(|(liars, shape)| district(liars, shape));
        for streams in domains.into_iter().chain([clinics(3750, 12), clinics(2900, 16), clinics(2400, 20)]) {
            assert_eq!(kept_back(&streams, &takes, &|_| false), BTreeSet::new(), "of {}", streams.len());
        }
    }

    /// A dozen members that lie together, or three hubs, made every cut for a hub and every hello impossible.
    #[test]
    fn what_no_vector_holds_is_kept_back_of_whoever_has_most() {
        for (liars, shape) in [(16, Shape::Lives), (60, Shape::Lives), (12, Shape::Long), (14, Shape::Directed), (6, Shape::Branches)] {
            let streams = district(liars, shape);
            let kept = kept_back(&streams, &takes, &|_| false);
            let told = told(&streams, &kept);
            assert!(fits(&told) && !kept.is_empty(), "{liars} {shape:?}");
            let one_more = streams.iter().find(|(stream, _)| kept.contains(stream)).unwrap();
            assert!(!fits(&[told, vec![*one_more; 3]].concat()), "{liars} {shape:?}: no more than need be");
            let liars: BTreeSet<NodeId> = (1000..1000 + liars).map(node).collect();
            assert!(kept.iter().all(|stream| liars.contains(&stream.origin.node)), "{shape:?}: nobody else");
            let counts: BTreeSet<usize> = liars.iter().map(|liar| kept.iter().filter(|stream| stream.origin.node == *liar).count()).collect();
            assert!(counts.last().unwrap() - counts.first().unwrap() <= 1, "{shape:?}: of each of them alike, {counts:?}");
        }
    }

    #[test]
    fn of_each_writer_the_newest_is_told_and_what_is_due_is_told_whatever_else_there_is() {
        let streams: Vec<_> = (0..4000).flat_map(|clinic| histories(clinic, 16, Shape::Lives)).collect();
        let due = histories(77, 16, Shape::Lives);
        let kept = kept_back(&streams, &takes, &|stream| stream.origin.node == node(77));
        assert!(!kept.is_empty() && due.iter().all(|(stream, _)| !kept.contains(stream)));
        let newest = |stream: &&Stream| stream.origin.incarnation == Incarnation(15_u32.to_be_bytes());
        assert_eq!(kept.iter().find(newest), None);
    }
}
