//! Which histories are kept back where there are more than a vector holds. Pure. SPEC R6.2-k.
//!
//! A member may begin as many histories as others take of it (R6.2-j), and a dozen that do so together are more than one vector holds. Who has used most
//! of what it may have is cut back first, so nobody who writes as people do notices.

use crate::ports::store::{Head, Stream};
use bundle_format::ids::{Lane, NodeId, Origin};
use bundle_format::limits::MANIFEST_LEN_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a vector, as [`entry_len`] counts them: room is left for the rest of a manifest, and for what the pages of a hello say again.
const VECTOR_LEN_MAX: usize = MANIFEST_LEN_MAX - MANIFEST_LEN_MAX / 16;
/// An array of a node, an incarnation, a lane, no audience and a tag.
const ENTRY_LEN: usize = 16;
/// A node in the table.
const NODE_LEN: usize = 9;
/// A fork notice: an origin, a position and two digests.
const NOTICE_LEN: usize = 41;
/// Parts of what a node may have.
const SHARES: usize = 1024;

/// Those of `streams` that are neither told nor sent. `takes(node)`: how many histories of it others take. The roster is always told.
pub fn kept_back(streams: &[(Stream, Head)], roster: &Origin, takes: &dyn Fn(&NodeId) -> usize) -> BTreeSet<Stream> {
    let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
    for (stream, head) in streams.iter().filter(|(stream, _)| stream.origin != *roster) {
        nodes.entry(stream.origin.node).or_default().add(stream, head);
    }
    let share_len = |share: usize| nodes.iter().map(|(node, of)| of.len_of(takes(node) * share / SHARES)).sum::<usize>();
    if nodes.values().map(|of| of.len_of(usize::MAX)).sum::<usize>() <= VECTOR_LEN_MAX {
        return BTreeSet::new();
    }
    let share = (0..=SHARES).rev().find(|share| share_len(*share) <= VECTOR_LEN_MAX).unwrap_or(0);
    let beyond = |(node, of): (&NodeId, &Node)| of.streams.iter().skip(takes(node) * share / SHARES).copied().collect::<Vec<_>>();
    nodes.iter().flat_map(beyond).collect()
}

/// Histories of one node, and how long a vector is with the first of them.
#[derive(Default)]
struct Node {
    streams: Vec<Stream>,
    lens: Vec<usize>,
    lanes: BTreeSet<Lane>,
}

impl Node {
    fn add(&mut self, stream: &Stream, head: &Head) {
        let first_len = if self.lanes.insert(stream.origin.lane) { NODE_LEN } else { 0 };
        self.lens.push(self.len_of(usize::MAX) + entry_len(stream, head.end.seq) + first_len);
        self.streams.push(*stream);
    }

    fn len_of(&self, count: usize) -> usize {
        count.min(self.lens.len()).checked_sub(1).and_then(|last| self.lens.get(last)).copied().unwrap_or(0)
    }
}

/// How much longer a manifest becomes by this entry, at most.
fn entry_len(stream: &Stream, seq: u64) -> usize {
    let seq_len = match seq {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    };
    let audience_len = if stream.origin.audience.is_some() { NODE_LEN + 2 } else { 0 };
    let notice_len = if stream.branch.is_some() { NOTICE_LEN } else { 0 };
    ENTRY_LEN + seq_len + audience_len + notice_len
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::chain::{Position, digest};
    use bundle_format::hlc::Hlc;
    use bundle_format::ids::Incarnation;
    use bundle_format::limits::{HISTORY_COUNT_MAX, HUB_HISTORY_COUNT_MAX};
    use bundle_format::manifest::{ForkNotice, Manifest};
    use bundle_format::message;
    use bundle_format::vector::{Salt, Told};

    const HUB: u16 = 0;
    const ROSTER: Origin = Origin { node: NodeId([0; 8]), incarnation: Incarnation([0; 4]), lane: Lane::Control, audience: None };

    fn node(number: u16) -> NodeId {
        let mut bytes = [0x5a; 8];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        NodeId(if number == HUB { [0; 8] } else { bytes })
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
            let origin = Origin { node: node(writer), incarnation: Incarnation(number.to_be_bytes()), lane: Lane::Routine, audience: None };
            let (origin, branch, seq) = match shape {
                Shape::Lives => (origin, None, 1),
                Shape::Directed => {
                    (Origin { incarnation: Incarnation([1; 4]), audience: Some(node(10_000 + u16::try_from(number).unwrap())), ..origin }, None, 7)
                }
                Shape::Long => (origin, None, u64::from(u32::MAX)),
                Shape::Branches => {
                    (Origin { incarnation: Incarnation([1; 4]), ..origin }, Some([[9; 4], number.to_be_bytes()].concat().try_into().unwrap()), 300)
                }
            };
            let end = Position { seq, hash: digest(&number.to_be_bytes()) };
            (Stream { origin, branch }, Head { base: Position::start(&origin), end, checkpoint_seq: seq, hlc: Hlc(1) })
        };
        (0..count).map(history).collect()
    }

    /// Bytes of a file's manifest that tells of `streams`, and of all pages of a hello.
    fn lens(streams: &[(Stream, Head)]) -> (usize, usize) {
        let salt = Salt([3; 32]);
        let vector = streams.iter().map(|(stream, head)| Told::new(&salt, stream.origin, &head.end)).collect();
        let branches = streams.iter().filter_map(|(stream, head)| Some((stream.origin, head.end.seq, stream.branch?)));
        let forks = branches.map(|(origin, seq, branch)| ForkNotice { origin, seq, digests: [[0; 8], branch] }).collect();
        let manifest = Manifest::new(vector, Some((Incarnation([1; 4]), 900)), forks, []);
        let file_len = manifest.to_bytes().unwrap().len();
        let hello = |manifest| message::Message::Hello(message::Hello { more: true, window: 262_144, take: Some(1 << 30), manifest });
        (file_len, message::pages(manifest).into_iter().map(|page| hello(page).to_bytes(&bundle_format::logs::LogTable::default()).len()).sum())
    }

    /// A district as it is, beside `liars` that have begun all that others take of them.
    fn district(liars: u16, shape: Shape) -> Vec<(Stream, Head)> {
        let mut streams = vec![(Stream::main(ROSTER), histories(HUB, 1, Shape::Lives)[0].1)];
        streams.extend(histories(HUB, 2000, Shape::Directed));
        streams.extend((100..300).flat_map(|clinic| histories(clinic, 8, Shape::Lives)));
        streams.extend((1000..1000 + liars).flat_map(|liar| histories(liar, HISTORY_COUNT_MAX, shape)));
        streams
    }

    #[test]
    fn what_a_vector_holds_is_told_whole() {
        for (liars, shape) in [(0, Shape::Lives), (11, Shape::Lives), (7, Shape::Directed), (2, Shape::Branches)] {
            assert_eq!(kept_back(&district(liars, shape), &ROSTER, &takes), BTreeSet::new(), "{liars} {shape:?}");
        }
    }

    /// A dozen members that lie together, or three hubs, made every cut for a hub and every hello impossible.
    #[test]
    fn what_no_vector_holds_is_kept_back_of_whoever_has_used_most_of_its_share() {
        for (liars, shape) in [(14, Shape::Lives), (60, Shape::Lives), (12, Shape::Long), (10, Shape::Directed), (6, Shape::Branches)] {
            let streams = district(liars, shape);
            let kept = kept_back(&streams, &ROSTER, &takes);
            let told: Vec<_> = streams.into_iter().filter(|(stream, _)| !kept.contains(stream)).collect();
            let (file, hello) = lens(&told);
            assert!(file <= MANIFEST_LEN_MAX && hello <= MANIFEST_LEN_MAX, "{liars} {shape:?}: {file} B in a file, {hello} B in a hello");
            assert!(file.max(hello) > MANIFEST_LEN_MAX * 3 / 4, "{liars} {shape:?}: no more than need be, {file} B and {hello} B");
            let liars: BTreeSet<NodeId> = (1000..1000 + liars).map(node).collect();
            assert!(kept.iter().all(|stream| liars.contains(&stream.origin.node)), "{shape:?}: nobody else");
            let counts: BTreeSet<usize> = liars.iter().map(|liar| kept.iter().filter(|stream| stream.origin.node == *liar).count()).collect();
            assert_eq!(counts.len(), 1, "{shape:?}: of each of them alike");
        }
    }

    #[test]
    fn the_roster_is_told_whatever_else_its_writer_begins() {
        let mut streams = vec![(Stream::main(ROSTER), histories(HUB, 1, Shape::Lives)[0].1)];
        streams.extend((0..80).flat_map(|liar| histories(liar, takes(&node(liar)), Shape::Long)));
        let kept = kept_back(&streams, &ROSTER, &takes);
        assert!(!kept.is_empty() && !kept.contains(&Stream::main(ROSTER)));
    }
}
