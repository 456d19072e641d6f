//! A life that ended by loss: fetch it back, write again what others lack, close it. SPEC §6.6.
//!
//! A node learns that it lost state when a peer's receipt is ahead of its own log or differs from it, or when its own news come back to it.
//! It draws a new incarnation at once (`Node::begin_new_life`), so that nothing is ever written twice under one number. What is left to do comes
//! with the bundles of others, and is done here after each ingest until every history of the old life is settled.

use super::error::NodeError;
use super::known;
use super::peers::Peer;
use super::rot::each_readable;
use super::taking::Ingested;
use super::{Node, appending, control, payload};
use crate::keys::Roster;
use crate::ports::store::{Log, Store as _, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Incarnation, Lane, NodeId, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// Settle what can be settled of every open life.
///
/// # Errors
/// What the log or the records beside it say.
pub fn settle(node: &mut Node, ingested: &mut Ingested) -> Result<(), NodeError> {
    if node.state.open_lives.is_empty() {
        return Ok(());
    }
    let mut peers = node.peers.all(&*node.ports.disk)?;
    peers.retain(|(peer, _)| !is_revoked(&node.roster, peer)); // who is sent nothing brings nothing back
    if node.keyring.is_authority() && !who_tells_more(&node.wal, &peers, &[node.roster.pin().roster_origin()])?.is_empty() {
        return Ok(()); // the life goes on being open, so that the roster's loss is answered once
    }
    for life in node.state.open_lives.clone() {
        let origins = own_origins(&node.wal, &node.roster, node.keyring.node(), &peers, life);
        let open = !who_tells_more(&node.wal, &peers, &origins)?.is_empty();
        // Where nothing of that life is known, somebody must have said so: a node that wrote nothing in it has nothing to settle (R6.6-l).
        let unheard = origins.is_empty() && !peers.iter().any(|(_, peer)| peer.receipt.is_some());
        if open || unheard {
            continue; // what is missing comes with a later bundle
        }
        let mut settled = true;
        for origin in &origins {
            match settle_origin(node, &peers, origin)? {
                Some(count) => ingested.reappended += count,
                None => settled = false,
            }
        }
        if settled {
            ingested.reappended += write_lost_repeats_again(node)?;
        }
        node.wal.sync()?;
        if !settled {
            continue;
        }
        node.state.open_lives.retain(|open| *open != life);
        node.save_state()?;
    }
    Ok(())
}

/// Who says that it holds something of a life of ours, `me`, that is not here: what that life waits for. Revoked members do not count.
///
/// # Errors
/// What the log says.
pub fn awaited(log: &dyn Log, roster: &Roster, me: NodeId, mut peers: Vec<(NodeId, Peer)>, life: Incarnation) -> Result<Vec<NodeId>, NodeError> {
    peers.retain(|(peer, _)| !is_revoked(roster, peer));
    let origins = own_origins(log, roster, me, &peers, life);
    who_tells_more(log, &peers, &origins)
}

pub(super) fn is_revoked(roster: &Roster, node: &NodeId) -> bool {
    roster.member(node).is_some_and(crate::keys::Member::is_revoked)
}

/// Histories of that life of ours, in our log or in others' receipts. The roster lane is no part of any life: it is continued in place.
fn own_origins(log: &dyn Log, roster: &Roster, me: NodeId, peers: &[(NodeId, Peer)], life: Incarnation) -> Vec<Origin> {
    let roster = roster.pin().roster_origin();
    let told = peers.iter().filter_map(|(_, peer)| peer.receipt.as_ref()).flat_map(|receipt| receipt.vector.iter().map(|told| told.origin));
    let held = log.streams().into_iter().map(|(stream, _)| stream.origin);
    let mut origins: Vec<_> = told.chain(held).filter(|origin| origin.node == me && origin.incarnation == life && *origin != roster).collect();
    origins.sort_unstable();
    origins.dedup();
    origins
}

/// Whose receipt tells of something in `origins` that we do not hold (R6.6-c).
pub(super) fn who_tells_more(log: &dyn Log, peers: &[(NodeId, Peer)], origins: &[Origin]) -> Result<Vec<NodeId>, NodeError> {
    let mut who = Vec::new();
    for (node, peer) in peers {
        let mut more = false;
        for origin in origins {
            more = more || !known::holds_all_told(log, peer, origin)?;
        }
        who.extend(more.then_some(*node));
    }
    Ok(who)
}

/// Write again what of our own branch no peer holds (R6.6-d), or what stands behind events that rotted and no peer holds (R6.6-m), then close the history
/// where the others' ends. Returns how many events were written again; nothing when it cannot be said yet where that is.
fn settle_origin(node: &mut Node, peers: &[(NodeId, Peer)], origin: &Origin) -> Result<Option<u64>, NodeError> {
    let main = Stream::main(*origin);
    let branches: Vec<_> = node.wal.streams().into_iter().filter(|(stream, _)| stream.origin == *origin && stream.branch.is_some()).collect();
    let fork = branches.iter().map(|(_, head)| head.base.seq).min();
    let rotten = node.wal.rotten().into_iter().filter(|rotten| rotten.events && rotten.stream == main).map(|rotten| rotten.first - 1).min();
    let Some(parting) = fork.or(rotten) else {
        let Some(head) = node.wal.head(&main) else { return Ok(Some(0)) };
        return close(node, origin, head.end).map(|()| Some(0));
    };
    let held = known::held_by_any(&node.wal, peers, &main)?.max(parting);
    if fork.is_none() {
        let at = match known::position(&node.wal, &main, held)? {
            None => known::position(&node.wal, &main, parting)?, // the chain there has rotted
            at => at,
        };
        let Some(at) = at else { return Ok(None) };
        node.sign_before_rot()?; // else what stands between the last checkpoint and the rot is closed in, and goes to nobody
        let count = write_again(node, &main, held)?;
        node.state.note_repeated(origin, Some(held)); // where it was closed further on before, that says nothing any more
        return close(node, origin, at).map(|()| Some(count));
    }
    let count = write_again(node, &main, held)?;
    let end = node.wal.head(&main).map_or(0, |head| head.end.seq);
    let is_all_ours = held.max(ours_to(node, &main)?) >= end;
    node.state.note_repeated(origin, is_all_ours.then_some(held)); // else it goes on its way under its old numbers
    for (_, head) in branches {
        close(node, origin, head.end)?;
    }
    Ok(Some(count))
}

/// A peer cannot place what we send of a life that is over: where it parts from another history of that life has rotted there. It is written again, once
/// (R6.6-n).
pub(super) fn write_unplaced_again(node: &mut Node, stream: &Stream, held: u64) -> Result<(), NodeError> {
    let is_due = node.is_settled_life(&stream.origin) && !was_written_again_behind(node, &stream.origin, held);
    if stream.branch.is_some() || stream.origin.lane == Lane::Control || !is_due {
        return Ok(());
    }
    write_again(node, stream, held)?;
    node.wal.sync()?;
    node.state.note_repeated(&stream.origin, Some(held));
    node.save_state()
}

/// Whether what stands behind `seq` of a life of ours that is over goes on its way in a later one; where that history has parted, from where it did.
pub(super) fn was_written_again_behind(node: &Node, origin: &Origin, seq: u64) -> bool {
    let has_parted = || node.wal.streams().iter().any(|(stream, _)| stream.origin == *origin && stream.branch.is_some());
    node.was_written_again(origin) && (node.state.repeated.iter().any(|(of, behind)| of == origin && *behind <= seq) || has_parted())
}

/// Say in our new life where a history of the old one ends (R6.6-h).
fn close(node: &mut Node, origin: &Origin, at: Position) -> Result<(), NodeError> {
    if node.state.closed.origins.contains(&(*origin, at.seq)) {
        return Ok(()); // said before, while another history of that life could not be settled yet
    }
    node.note_control(&control::close(origin, &at))?;
    node.state.closed.origins.insert((*origin, at.seq));
    Ok(())
}

/// Up to where an ended life is ours to write again: what this node had written when it ended, and what counts. What came since and does not may be the work of
/// whoever has an old key of ours, and would count under our new one (R6.6-d). What stands on a branch others sent.
pub(super) fn ours_to(node: &Node, stream: &Stream) -> Result<u64, NodeError> {
    let is_of_this_device = node.keyring.earlier_incarnations().contains(&stream.origin.incarnation);
    let unknown = if is_of_this_device { u64::MAX } else { 0 };
    let written = if stream.branch.is_some() { 0 } else { node.state.written_to(&stream.origin).unwrap_or(unknown) };
    Ok(node.naming().counting().counted(stream)?.max(written))
}

/// Append the payloads of `stream` that end behind `after` and are ours again, whole, in our new life, each event naming the one it was (ext 13). Control
/// events of the old life are not repeated: they spoke of that life.
fn write_again(node: &mut Node, stream: &Stream, after: u64) -> Result<u64, NodeError> {
    if stream.origin.lane == Lane::Control {
        return Ok(0);
    }
    let target = Stream::main(Origin { incarnation: node.keyring.incarnation(), ..stream.origin });
    let mut repeats = Repeats::of(node, &stream.origin)?;
    let (last, mut after) = (ours_to(node, stream)?, before_payload(node, stream, after)?);
    each_readable(&node.wal, stream, after, &mut |seq, bytes| {
        if seq <= last {
            repeats.see(seq, bytes);
        }
        seq < last
    })?;
    let mut count = 0;
    while let Some((seq, bytes)) = readable_behind(node, stream, after)?.filter(|(seq, _)| *seq <= last) {
        after = seq;
        let id = EventId::new(stream.origin, seq, &digest(&bytes));
        if !repeats.are_due(id, &bytes) {
            continue;
        }
        appending::again(&mut node.wal, &*node.ports.clock, &target, &bytes, id)?;
        count += u64::from(Event::from_bytes(&bytes).is_ok_and(|event| event.ends_payload()));
    }
    Ok(count)
}

/// What a lost life had written again of earlier ones may be lost with it. Those are closed, and nobody is sent what stands behind their ends: it is written
/// again once more, as far as it can be read (R6.6-o).
fn write_lost_repeats_again(node: &mut Node) -> Result<u64, NodeError> {
    let (me, present) = (node.keyring.node(), node.keyring.incarnation());
    let streams = node.wal.streams();
    let has_parted = |origin: &Origin| streams.iter().any(|(stream, _)| stream.origin == *origin && stream.branch.is_some());
    let mut count = 0;
    for (stream, head) in &streams {
        let origin = &stream.origin;
        if origin.node != me || origin.incarnation == present || stream.branch.is_some() {
            continue;
        }
        let from = |told: &[(Origin, u64)]| told.iter().filter(|(of, _)| of == origin).map(|(_, from)| *from).max();
        let closed_at = || node.state.closed.end_of(origin).filter(|_| !has_parted(origin));
        if let Some(from) = from(&node.state.repeated).or_else(closed_at).filter(|from| *from < head.end.seq) {
            count += write_again(node, stream, from)?;
        }
    }
    Ok(count)
}

/// The end of the payload before the one of which a part stands first behind `after`: nobody puts together parts of two histories.
fn before_payload(node: &Node, stream: &Stream, after: u64) -> Result<u64, NodeError> {
    let Some((seq, bytes)) = readable_behind(node, stream, after)? else { return Ok(after) };
    let index = Event::from_bytes(&bytes).ok().map_or(0, |event| index_of(&event));
    Ok(after.min(seq.saturating_sub(index + 1)))
}

/// Which part of its payload an event is, from 0.
fn index_of(event: &Event<'_>) -> u64 {
    event.ext.part.map_or(0, |part| part.index)
}

/// Payloads of a history whose parts come by, one after the other.
#[derive(Default)]
struct Joining {
    /// Place and number of the part that would come next.
    next: Option<(u64, u64)>,
}

impl Joining {
    /// Where the payload begins that ends with this event; nothing when it goes on, or a part before it is missing.
    fn ends(&mut self, seq: u64, event: &Event<'_>) -> Option<u64> {
        let index = index_of(event);
        let leads_on = index == 0 || self.next == Some((seq, index));
        self.next = leads_on.then_some((seq + 1, index + 1));
        (leads_on && event.ends_payload()).then(|| seq - index)
    }
}

/// Which payloads of a lane are written again: those that are whole, and were not since, whole. A life is settled a second time when a branch of it comes
/// late, and a process may be broken off at it.
pub(super) struct Repeats {
    /// What was written again, and when last.
    latest: BTreeMap<EventId, Hlc>,
    seen: Joining,
    /// Where payloads begin that were seen to their ends.
    whole: BTreeSet<u64>,
    /// Whether the payload that was asked about last was not written again since: the answer for its first part is that for the others.
    is_missing: bool,
}

impl Repeats {
    /// Those that stand in any life of ours, in the lane and for the audience of `origin`.
    ///
    /// # Errors
    /// What the log says.
    pub(super) fn of(node: &Node, origin: &Origin) -> Result<Self, NodeError> {
        let is_alike = |other: &Origin| (other.node, other.lane, other.audience) == (origin.node, origin.lane, origin.audience);
        let mut latest = BTreeMap::new();
        for (stream, head) in node.wal.streams().into_iter().filter(|(stream, _)| is_alike(&stream.origin)) {
            let (mut joining, mut orig) = (Joining::default(), None); // of the payload that comes by: what it repeats
            each_readable(&node.wal, &stream, head.base.seq, &mut |seq, bytes| {
                let Ok(event) = Event::from_bytes(bytes) else { return true };
                if payload::begins(&event) {
                    orig = event.ext.orig;
                }
                if let Some(orig) = joining.ends(seq, &event).and(orig) {
                    let at = latest.entry(orig).or_insert(event.hlc);
                    *at = event.hlc.max(*at);
                }
                true
            })?;
        }
        Ok(Self { latest, seen: Joining::default(), whole: BTreeSet::new(), is_missing: false })
    }

    /// An event that may be written again, in its place among the others: of a payload nothing is before all of it was seen.
    fn see(&mut self, seq: u64, bytes: &[u8]) {
        self.whole.extend(Event::from_bytes(bytes).ok().and_then(|event| self.seen.ends(seq, &event)));
    }

    /// The same of all of `events`, in their order.
    pub(super) fn among(mut self, events: &[(u64, Vec<u8>)]) -> Self {
        for (seq, bytes) in events {
            self.see(*seq, bytes);
        }
        self
    }

    /// Whether `bytes`, the event of that id, are to be written again. What was written again twice names where it was written first.
    pub(super) fn are_due(&mut self, id: EventId, bytes: &[u8]) -> bool {
        let Ok(event) = Event::from_bytes(bytes) else { return false };
        if payload::begins(&event) {
            self.is_missing = self.latest.get(&event.ext.orig.unwrap_or(id)).is_none_or(|at| *at <= event.hlc);
        }
        self.is_missing && id.seq.checked_sub(index_of(&event)).is_some_and(|begin| self.whole.contains(&begin))
    }
}

/// The first event behind a position that can be read.
fn readable_behind(node: &Node, stream: &Stream, after: u64) -> Result<Option<(u64, Vec<u8>)>, NodeError> {
    let mut found = None;
    each_readable(&node.wal, stream, after, &mut |seq, bytes| {
        found = Some((seq, bytes.to_vec()));
        false
    })?;
    Ok(found)
}

/// A join made us another node: our events go on under its id. Done in order, so that a crash half-way goes on where it stopped (R8.5-i).
///
/// # Errors
/// What the log says.
pub fn move_into(node: &mut Node, id: NodeId) -> Result<(), NodeError> {
    let me = node.keyring.node();
    for (stream, _) in node.wal.streams() {
        let moves = stream.origin.node == me && stream.branch.is_none() && stream.origin.lane != Lane::Control;
        if !moves {
            continue;
        }
        let target = Stream::main(Origin { node: id, ..stream.origin });
        let mut after = 0;
        if let Some(moved) = node.wal.head(&target) {
            each_readable(&node.wal, &target, moved.base.seq, &mut |_, bytes| {
                let orig = Event::from_bytes(bytes).ok().and_then(|event| event.ext.orig);
                after = orig.filter(|orig| orig.origin == stream.origin).map_or(after, |orig| orig.seq.max(after));
                true
            })?;
        }
        while let Some((seq, bytes)) = readable_behind(node, &stream, after)? {
            after = seq;
            appending::again(&mut node.wal, &*node.ports.clock, &target, &bytes, EventId::new(stream.origin, seq, &digest(&bytes)))?;
        }
    }
    Ok(())
}
