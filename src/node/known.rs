//! How far a peer is known to hold a history of ours: its receipt held against our own chain. SPEC §4.6, §6.5.

use super::peers::Peer;
use crate::ports::store::{Head, Log, StoreError, Stream};
use bundle_format::chain::Position;
use bundle_format::ids::{NodeId, Origin};
use bundle_format::vector::{Tag, Told};

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
pub fn send_after(log: &dyn Log, node: &NodeId, peer: &Peer, stream: &Stream, siblings: &[(Stream, Head)]) -> Result<Option<u64>, StoreError> {
    let Some(head) = log.head(stream) else { return Ok(None) };
    let after = match word(log, peer, stream)? {
        // Its own history goes back to it only when its receipt shows that it lacks it.
        Word::Silent if stream.origin.node == *node && peer.receipt.is_none() => return Ok(None),
        Word::Silent => head.base.seq,
        Word::Holds(seq) => seq,
        // Ahead by number alone: all it told is on branches that we hold too, so it lacks this one. Truly ahead: there is nothing to add.
        Word::Ahead(_) if holds_all_told(log, peer, &stream.origin)? => return shared_with_sibling(log, peer, stream, siblings),
        Word::Ahead(_) => return Ok(None),
        Word::Differs(_) => shared_with_sibling(log, peer, stream, siblings)?.unwrap_or(head.base.seq),
    };
    Ok(Some(after.max(head.base.seq)))
}

/// When the peer holds another branch that we hold too: how far that branch is the same as `stream`.
fn shared_with_sibling(log: &dyn Log, peer: &Peer, stream: &Stream, siblings: &[(Stream, Head)]) -> Result<Option<u64>, StoreError> {
    let mut shared = None;
    for (sibling, head) in siblings.iter().filter(|(sibling, _)| sibling.origin == stream.origin && sibling != stream) {
        if let Word::Holds(seq) = word(log, peer, sibling)? {
            let fork = if sibling.branch.is_some() { head.base.seq } else { log.head(stream).map_or(0, |head| head.base.seq) };
            shared = shared.max(Some(seq.min(fork)));
        }
    }
    Ok(shared)
}

/// Whether everything `peer` tells of `origin` is held here, on whichever branch.
///
/// # Errors
/// What the log says.
pub fn holds_all_told(log: &dyn Log, peer: &Peer, origin: &Origin) -> Result<bool, StoreError> {
    let streams: Vec<_> = log.streams().into_iter().filter(|(stream, _)| stream.origin == *origin).collect();
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
