//! How far a peer is known to hold a history of ours: its receipt held against our own chain. SPEC §4.6, §6.5.

use super::peers::Peer;
use crate::ports::store::{Log, StoreError, Stream};
use bundle_format::chain::Position;
use bundle_format::ids::{NodeId, Origin};
use bundle_format::vector::{Tag, Told};
use std::collections::{BTreeMap, BTreeSet};

/// A peer's word about one of our streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It told nothing of this origin.
    Silent,
    /// It holds this very history up to here.
    Holds(u64),
    /// It holds more of the origin than we do.
    Ahead(u64),
    /// It holds another history under this name: its tag differs at this position.
    Differs(u64),
}

/// Hold one told position against one of our streams.
///
/// # Errors
/// What the log says.
pub fn compare(log: &dyn Log, stream: &Stream, salt: &bundle_format::vector::Salt, told: &Told) -> Result<Word, StoreError> {
    let Some(head) = log.head(stream) else { return Ok(Word::Ahead(told.seq)) };
    if told.seq > head.end.seq {
        return Ok(Word::Ahead(told.seq));
    }
    let position = match log.position(stream, told.seq) {
        Err(StoreError::Damaged { .. }) => return Ok(Word::Holds(told.seq)), // ours rotted; nothing says that it differs
        position => position?,
    };
    let same = position.is_some_and(|position| Tag::of(salt, &position.hash) == told.tag);
    Ok(if same { Word::Holds(told.seq) } else { Word::Differs(told.seq) })
}

/// The chain at `seq` of a stream; `None` also where what leads there has rotted.
///
/// # Errors
/// What the log says.
pub fn position(log: &dyn Log, stream: &Stream, seq: u64) -> Result<Option<Position>, StoreError> {
    match log.position(stream, seq) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        position => position,
    }
}

/// The best word `peer` has on `stream`: what it holds of it, before what differs.
///
/// # Errors
/// What the log says.
pub fn word(log: &dyn Log, peer: &Peer, stream: &Stream) -> Result<Word, StoreError> {
    let mut best = Word::Silent;
    for (salt, told) in peer.told(&stream.origin) {
        best = match (best, compare(log, stream, salt, told)?) {
            (Word::Holds(a), Word::Holds(b)) => Word::Holds(a.max(b)),
            (Word::Holds(a), _) => Word::Holds(a),
            (_, better) => better,
        };
    }
    Ok(best)
}

/// Nodes of which `peer` tells as many histories as it takes, `takes(node)`: what would begin one more it leaves out (R6.2-j).
pub fn filled(peer: &Peer, takes: &dyn Fn(&NodeId) -> usize) -> BTreeSet<NodeId> {
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    for told in peer.receipt.iter().flat_map(|receipt| &receipt.vector) {
        *counts.entry(told.origin.node).or_default() += 1;
    }
    counts.into_iter().filter(|(node, count)| *count >= takes(node)).map(|(node, _)| node).collect()
}

/// How far some peer holds a history of ours.
///
/// # Errors
/// What the log says.
pub fn held_by_any(log: &dyn Log, peers: &[(NodeId, Peer)], stream: &Stream) -> Result<u64, StoreError> {
    let mut held = 0;
    for (_, peer) in peers {
        if let Word::Holds(seq) = word(log, peer, stream)? {
            held = held.max(seq);
        }
    }
    Ok(held)
}

/// From where `stream` must be sent to `node`; `None` when nothing of it may help (R4.6-d, R4.6-e).
///
/// # Errors
/// What the log says.
pub fn send_after(log: &dyn Log, node: &NodeId, peer: &Peer, stream: &Stream) -> Result<Option<u64>, StoreError> {
    let Some(head) = log.head(stream) else { return Ok(None) };
    let after = match word(log, peer, stream)? {
        // Its own history goes back to it only when its receipt shows that it lacks it.
        Word::Silent if stream.origin.node == *node && peer.receipt.is_none() => return Ok(None),
        Word::Silent => head.base.seq,
        Word::Holds(seq) => seq,
        // Ahead by number alone: all it told is on branches that we hold too, so it lacks this one. Truly ahead: there is nothing to add.
        Word::Ahead(_) if holds_all_told(log, peer, &stream.origin)? => return shared_with_sibling(log, peer, stream),
        Word::Ahead(_) => return Ok(None),
        Word::Differs(_) => shared_with_sibling(log, peer, stream)?.unwrap_or(head.base.seq),
    };
    Ok(Some(after.max(head.base.seq)))
}

/// When the peer holds another branch that we hold too: how far that branch is the same as `stream`.
fn shared_with_sibling(log: &dyn Log, peer: &Peer, stream: &Stream) -> Result<Option<u64>, StoreError> {
    let siblings: Vec<Stream> = log.branches(&stream.origin).into_iter().map(|(sibling, _)| sibling).collect();
    let mut shared = None;
    for sibling in siblings.iter().filter(|sibling| *sibling != stream) {
        if let Word::Holds(seq) = word(log, peer, sibling)? {
            shared = shared.max(Some(seq.min(parting(log, stream, sibling, &siblings)?)));
        }
    }
    Ok(shared)
}

/// Up to where two branches of `all` are the same. Both may have parted from a third, at different places; or one from a branch.
pub(super) fn parting(log: &dyn Log, one: &Stream, other: &Stream, all: &[Stream]) -> Result<u64, StoreError> {
    let base = |stream: &Stream| log.head(stream).map_or(Position::start(&stream.origin), |head| head.base);
    let (early, late) = if base(one).seq <= base(other).seq { (one, other) } else { (other, one) };
    let from = base(late);
    let passes = |stream: &Stream| Ok::<_, StoreError>(base(stream).seq <= from.seq && position(log, stream, from.seq)? == Some(from));
    if passes(early)? {
        return Ok(from.seq);
    }
    for stem in all.iter().filter(|stem| base(stem).seq < from.seq) {
        if passes(stem)? {
            return parting(log, stem, early, all);
        }
    }
    Ok(base(early).seq) // what leads to it has rotted: no more is known
}

/// Whether everything `peer` tells of `origin` is held here, on whichever branch.
///
/// # Errors
/// What the log says.
pub fn holds_all_told(log: &dyn Log, peer: &Peer, origin: &Origin) -> Result<bool, StoreError> {
    let streams = log.branches(origin);
    for (salt, told) in peer.told(origin) {
        let mut held = false;
        for (stream, _) in &streams {
            held |= compare(log, stream, salt, told)? == Word::Holds(told.seq);
        }
        if !held {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether some peer's receipt proves that `origin`, one of our own, reached further than our log does, or differs from it: we lost state.
///
/// # Errors
/// What the log says.
pub fn proves_loss(log: &dyn Log, peer: &Peer, origin: &Origin) -> Result<bool, StoreError> {
    let main = Stream::main(*origin);
    for (salt, told) in peer.told(origin) {
        if !matches!(compare(log, &main, salt, told)?, Word::Holds(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::peers::Receipt;
    use super::*;
    use crate::ports::memory_store::MemoryStore;
    use crate::ports::store::Store as _;
    use bundle_format::chain::{Run, digest};
    use bundle_format::hlc::Hlc;
    use bundle_format::ids::{Incarnation, Lane};
    use bundle_format::vector::Salt;

    const ORIGIN: Origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Control, audience: None };

    /// A letter is an event.
    fn end(history: &str) -> Position {
        history.bytes().fold(Position::start(&ORIGIN), |position, letter| position.then(&digest(&[letter])))
    }

    /// Histories that part from one before them: the first is the one that was here first, the others are branches in their order.
    fn log(histories: &[&str]) -> MemoryStore {
        let mut store = MemoryStore::default();
        for (index, history) in histories.iter().enumerate() {
            let common = |other: &&str| history.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
            let base = histories[..index].iter().map(common).max().unwrap_or(0);
            let letters: Vec<[u8; 1]> = history.bytes().skip(base).map(|letter| [letter]).collect();
            let run = Run::link(end(&history[..base]), letters.iter().map(<[u8; 1]>::as_slice).collect());
            store.append(&stream(index), &run, Hlc(1), &[]).unwrap();
        }
        store
    }

    fn stream(index: usize) -> Stream {
        Stream { origin: ORIGIN, branch: (index > 0).then(|| [u8::try_from(index).unwrap(); 8]) }
    }

    /// What we hold, what the peer holds, and behind what each of ours is sent.
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a [Option<u64>]);

    /// With three branches, what the first and the last share is not what the second and the last do. A member of a roster that had forked twice was
    /// never sent the branch with another's new keys.
    #[test]
    fn a_peer_is_sent_each_branch_from_where_it_parts_from_what_the_peer_holds() {
        let salt = Salt([7; 32]);
        let cases: [Case<'_>; 7] = [
            (&["abcdef", "abcX", "abcdY"], &["abcdef", "abcdY"], &[Some(6), Some(3), Some(5)]),
            (&["abcX", "abcdef", "abcdY"], &["abcdef", "abcdY"], &[Some(3), Some(6), Some(5)]),
            (&["abcX", "abcdef", "abcdY"], &["abcdY"], &[Some(3), Some(4), Some(5)]),
            (&["abcX", "abcdef", "abcdY"], &["abcX"], &[Some(4), Some(3), Some(4)]),
            (&["abcdef", "abX", "abcY"], &["abX"], &[Some(2), Some(3), Some(3)]),
            (&["abc", "aX"], &["ab"], &[Some(2), Some(1)]),
            (&["abc", "aX"], &["abcdZ"], &[None, None]),
        ];
        for (ours, held, want) in cases {
            let log = log(ours);
            let vector = held.iter().map(|history| Told::new(&salt, ORIGIN, &end(history))).collect();
            let peer = Peer { receipt: Some(Receipt { incarnation: Incarnation([2; 4]), number: 1, salt, vector }), ..Peer::default() };
            let got: Vec<_> = (0..ours.len()).map(|index| send_after(&log, &NodeId([2; 8]), &peer, &stream(index)).unwrap()).collect();
            assert_eq!(got, want, "of {ours:?} to who holds {held:?}");
        }
    }
}
