//! What a peer lacks, decided on paper: our streams, its receipt, the policy. Pure.

use crate::ports::store::Stream;
use bundle_format::ids::{Lane, Origin};

/// A stretch of one stream that a peer lacks: everything after `after`, up to the checkpoint at `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Which history.
    pub stream: Stream,
    /// The peer holds this far.
    pub after: u64,
    /// We can prove this far.
    pub to: u64,
}

/// Everything visible that the peer lacks: the roster first, then by lane, then by stream.
///
/// `ours`: each stream with its first position's predecessor and its newest checkpoint. `known(stream)`: how far the peer is known to hold that
/// very history, `None` when nothing of it is to be sent at all. `visible(origin)`: the roster's word.
pub fn plan(
    ours: &[(Stream, u64, u64)],
    roster: &Origin,
    visible: &dyn Fn(&Origin) -> bool,
    known: &mut dyn FnMut(&Stream) -> Option<u64>,
) -> Vec<Lack> {
    let mut lacks: Vec<Lack> = Vec::new();
    for &(stream, base, to) in ours.iter().filter(|(stream, ..)| visible(&stream.origin)) {
        if let Some(after) = known(&stream).map(|seq| seq.max(base)).filter(|after| *after < to) {
            lacks.push(Lack { stream, after, to });
        }
    }
    lacks.sort_by_key(|lack| (lack.stream.origin != *roster, lack.stream.origin.lane, lack.stream));
    lacks
}

/// What of `lacks` is left behind `ranges` (stream, first, last, in any order) that are on their way already (R10.12-c).
pub fn behind(lacks: &[Lack], ranges: &[(Stream, u64, u64)]) -> Vec<Lack> {
    let mut left = lacks.to_vec();
    for lack in &mut left {
        let mut after = lack.after;
        let goes_on = |after: u64, (stream, first, last): &(Stream, u64, u64)| *stream == lack.stream && *first <= after + 1 && *last > after;
        while let Some((.., last)) = ranges.iter().find(|range| goes_on(after, range)) {
            after = *last;
        }
        lack.after = after;
    }
    left.retain(|lack| lack.after < lack.to);
    left
}

/// The most urgent lane of what is sent, for the courier's sorting; the roster counts as control.
pub fn best_lane(lacks: &[Lack]) -> Option<Lane> {
    lacks.iter().map(|lack| lack.stream.origin.lane).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::ids::{Incarnation, NodeId};

    fn stream(node: u8, lane: Lane) -> Stream {
        Stream::main(Origin { node: NodeId([node; 8]), incarnation: Incarnation([node; 4]), lane, audience: None })
    }

    /// `have`, `peer` as (node, newest) pairs in lane routine; `want` as (node, after, to).
    fn check(have: &[(u8, u64)], peer: &[(u8, u64)], want: &[(u8, u64, u64)]) {
        let ours: Vec<_> = have.iter().map(|&(node, to)| (stream(node, Lane::Routine), 0, to)).collect();
        let mut known = |stream: &Stream| Some(peer.iter().find(|(node, _)| stream.origin.node.0[0] == *node).map_or(0, |(_, seq)| *seq));
        let got: Vec<_> = plan(&ours, &stream(99, Lane::Control).origin, &|_| true, &mut known)
            .iter()
            .map(|lack| (lack.stream.origin.node.0[0], lack.after, lack.to))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_delta_starts_right_after_what_the_peer_holds() {
        check(&[(1, 5), (2, 2)], &[(1, 3)], &[(1, 3, 5), (2, 0, 2)]);
        check(&[(1, 5)], &[(1, 5)], &[]);
        check(&[(1, 5)], &[(1, 9)], &[]);
        check(&[], &[(1, 9)], &[]);
    }

    /// R10.12-c.
    #[test]
    fn what_is_on_its_way_is_not_sent_again_but_a_gap_is() {
        let (a, b) = (stream(1, Lane::Routine), stream(2, Lane::Routine));
        let lack = |stream, after, to| Lack { stream, after, to };
        let cases = [
            (vec![lack(a, 3, 9)], vec![], vec![lack(a, 3, 9)]),
            (vec![lack(a, 3, 9)], vec![(a, 4, 6)], vec![lack(a, 6, 9)]),
            (vec![lack(a, 3, 9)], vec![(a, 7, 9), (a, 2, 6)], vec![]),
            (vec![lack(a, 3, 9)], vec![(a, 5, 9)], vec![lack(a, 3, 9)]),
            (vec![lack(a, 3, 9), lack(b, 0, 2)], vec![(b, 1, 12), (a, 1, 3)], vec![lack(a, 3, 9)]),
        ];
        for (lacks, ranges, want) in cases {
            assert_eq!(behind(&lacks, &ranges), want, "{ranges:?}");
        }
    }

    #[test]
    fn the_roster_goes_first_then_the_urgent_then_the_rest() {
        let roster = stream(9, Lane::Control);
        let lanes = [stream(1, Lane::Bulk), stream(1, Lane::Control), stream(1, Lane::Urgent), roster];
        let ours: Vec<_> = lanes.iter().map(|stream| (*stream, 0, 1)).collect();
        let order: Vec<_> = plan(&ours, &roster.origin, &|_| true, &mut |_| Some(0)).iter().map(|lack| lack.stream).collect();
        assert_eq!(order, [roster, lanes[1], lanes[2], lanes[0]]);
    }

    #[test]
    fn what_the_policy_hides_is_not_planned() {
        let ours = [(stream(1, Lane::Routine), 0, 5), (stream(2, Lane::Routine), 0, 5)];
        let lacks = plan(&ours, &stream(9, Lane::Control).origin, &|origin| origin.node.0[0] == 2, &mut |_| Some(0));
        assert_eq!(lacks.iter().map(|lack| lack.stream.origin.node.0[0]).collect::<Vec<_>>(), [2]);
    }
}
