//! Forks a node holds: an origin that used its numbers twice. Both branches are kept until the origin or a person closes the fork. SPEC §6.4.
//! (R6.4-a)

use super::counting::Counting;
use super::error::NodeError;
use super::naming::Naming;
use super::rot::each_readable;
use super::state::State;
use super::{Node, View, control};
use crate::keys::{MemberKey, Roster};
use crate::ports::store::{Head, Log, Stream};
use bundle_format::cbor::{CborError, Reader};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use bundle_format::range::VerifiedRange;
use std::collections::{BTreeMap, BTreeSet};

/// One fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// How a person names it: the first position where the branches differ, and the other branch's digest.
    pub id: String,
    /// Whose history.
    pub origin: Origin,
    /// The first position where the branches differ.
    pub seq: u64,
    /// How far each branch is held.
    pub ends: [u64; 2],
    /// Settled by its origin or by a person, and not grown since (R6.2-h).
    pub closed: bool,
}

/// What settles forks, remembered beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Histories whose origin closed them, and where it saw one of their branches end.
    pub origins: BTreeSet<(Origin, u64)>,
    /// Forks a person closed, by origin and position: how many events of both branches we held then.
    pub forks: BTreeMap<(Origin, u64), u64>,
}

/// What is heeded of others in all. The file `state` is shorter than a small file may be, whoever lies.
const CLOSED_COUNT_MAX: usize = 131_072;

/// Every fork in `log`.
///
/// # Errors
/// What the log says.
pub fn forks(log: &dyn Log, closed: &Closed, naming: &Naming<'_>) -> Result<Vec<Fork>, NodeError> {
    let mut found = Vec::new();
    for (stream, head) in log.streams() {
        let Some(theirs) = stream.branch else { continue };
        let seq = head.base.seq + 1;
        let main = Stream::main(stream.origin);
        let ends = [log.head(&main).map_or(0, |head| head.end.seq), head.end.seq];
        let by_origin = ends.iter().any(|end| closed.origins.contains(&(stream.origin, *end)));
        let by_person = closed.forks.get(&(stream.origin, seq)).is_some_and(|held| ends[0] + ends[1] <= *held);
        found.push(Fork {
            id: control::fork_id(&naming.origin(&stream.origin), seq, &theirs),
            origin: stream.origin,
            seq,
            ends,
            closed: by_origin || by_person,
        });
    }
    Ok(found)
}

impl Closed {
    /// What the control events of the log say that `state` heeds: who closed which history, and where. Of the forks that persons closed those are kept that
    /// are known, for it counts only as far as both branches were held then: the others are shown once more.
    ///
    /// # Errors
    /// What the log says.
    pub fn found_again(&self, counting: Counting<'_>, state: &State) -> Result<Self, NodeError> {
        let (mut found, log) = (Self::default(), counting.log);
        for (stream, head) in log.streams().into_iter().filter(|(stream, _)| stream.origin.lane == Lane::Control) {
            let heeded = state.heeds_to(counting, &stream)?;
            each_readable(log, &stream, head.base.seq, &mut |seq, bytes| {
                let event = Event::from_bytes(bytes).ok().filter(|_| seq <= heeded);
                match event {
                    Some(event) if event.kind == control::FORK_CLOSED => found.keep_forks(self, event.payload),
                    Some(event) => found.learn(counting, stream.origin.node, &event),
                    None => {}
                }
                seq < heeded
            })?;
        }
        Ok(found)
    }

    /// Take over from `known` how far the fork was held that a `zb/fork-closed` names.
    fn keep_forks(&mut self, known: &Self, payload: &[u8]) {
        self.forks.extend(read_fork_closed(payload).ok().and_then(|fork| known.forks.get_key_value(&fork)));
    }

    /// Lives of `node` of which it closed a history: they are over.
    pub fn lives_of(&self, node: NodeId) -> impl Iterator<Item = Incarnation> {
        let first = Origin { node, incarnation: Incarnation([0; 4]), lane: Lane::Control, audience: None };
        self.origins.range((first, 0)..).take_while(move |(origin, _)| origin.node == node).map(|(origin, _)| origin.incarnation)
    }

    /// Where its node saw the longest branch of `origin` end that it closed.
    pub fn end_of(&self, origin: &Origin) -> Option<u64> {
        self.origins.range((*origin, 0)..=(*origin, u64::MAX)).next_back().map(|(_, end)| *end)
    }

    /// Learn from a control event of `node`'s own lane. One that cannot be read settles nothing, nor does one too many (R6.2-m).
    pub fn learn(&mut self, counting: Counting<'_>, node: NodeId, event: &Event<'_>) {
        if event.kind == control::CLOSE
            && let Ok(closed) = read_close(node, event.payload)
            && (self.origins.contains(&closed) || self.has_room(counting, node))
        {
            self.origins.insert(closed);
        }
        if event.kind == control::FORK_CLOSED
            && let Ok((origin, seq)) = read_fork_closed(event.payload)
            && let Some(held) = held_of(counting.log, &origin, seq)
            && self.count() < CLOSED_COUNT_MAX
        {
            self.close_fork(&origin, seq, held);
        }
    }

    /// A person has seen that fork as so many events of it were held: of several that part there, of the longest.
    pub fn close_fork(&mut self, origin: &Origin, seq: u64, held: u64) {
        let known = self.forks.entry((*origin, seq)).or_default();
        *known = held.max(*known);
    }

    /// Whether one more closed history of `node` is heeded: of others as many as histories of theirs are taken (R6.2-m).
    fn has_room(&self, counting: Counting<'_>, node: NodeId) -> bool {
        let is_within = || self.lives_of(node).count() < counting.roster.history_count_max(&node);
        node == counting.keyring.node() || (self.count() < CLOSED_COUNT_MAX && is_within())
    }

    fn count(&self) -> usize {
        self.origins.len() + self.forks.len()
    }
}

/// How many events of both branches are held of a fork, of the longer one where several part there; `None` where none does.
pub(super) fn held_of(log: &dyn Log, origin: &Origin, seq: u64) -> Option<u64> {
    let streams = log.branches(origin);
    let main: u64 = streams.iter().filter(|(stream, _)| stream.branch.is_none()).map(|(_, head)| head.end.seq).sum();
    let parted = streams.iter().filter(|(stream, head)| stream.branch.is_some() && head.base.seq.checked_add(1) == Some(seq));
    parted.map(|(_, head)| main + head.end.seq).max()
}

fn read_close(node: NodeId, payload: &[u8]) -> Result<(Origin, u64), CborError> {
    let reader = &mut Reader::new(payload);
    let mut keys = reader.map()?;
    if keys.next(reader)? != Some(0) {
        return Err(CborError::MissingKey(0));
    }
    reader.array_exact(5)?;
    let incarnation = Incarnation(reader.bytes_exact()?);
    let lane = Lane::from_number(reader.uint()?).ok_or(CborError::Shape)?;
    let audience = if reader.null()? { None } else { Some(NodeId(reader.bytes_exact()?)) };
    Ok((Origin { node, incarnation, lane, audience }, reader.uint()?))
}

fn read_fork_closed(payload: &[u8]) -> Result<(Origin, u64), CborError> {
    let reader = &mut Reader::new(payload);
    let mut keys = reader.map()?;
    if keys.next(reader)? != Some(0) {
        return Err(CborError::MissingKey(0));
    }
    let origin = Origin::read(reader)?;
    if keys.next(reader)? != Some(2) {
        return Err(CborError::MissingKey(2));
    }
    Ok((origin, reader.uint()?))
}

/// What is known of the keys of those of whom one has ended.
fn ended_keys(roster: &Roster) -> impl Iterator<Item = (NodeId, &[MemberKey])> {
    let members = roster.members().map(|member| (member.node, &*member.keys));
    members.filter(|(_, keys)| keys.iter().any(|key| key.end.is_some()))
}

impl Node {
    /// How far each branch of `origin`, a control history, is heeded in what it says is closed (R6.2-l).
    pub(super) fn heeded(&self, origin: &Origin) -> Result<Vec<(Stream, u64)>, NodeError> {
        let to = |(stream, head): (Stream, Head)| Ok((stream, self.state.heeds_to(self.naming().counting(), &stream)?.min(head.end.seq)));
        self.wal.branches(origin).into_iter().map(to).collect()
    }

    /// Learn what `origin` says in what is heeded of it now and was not `before`: it has come, or a key that counts has signed it since.
    pub(super) fn learn_closings(&mut self, origin: &Origin, before: &[(Stream, u64)]) -> Result<(), NodeError> {
        for (stream, heeded) in self.heeded(origin)? {
            let known = before.iter().find(|(known, _)| *known == stream).map(|(_, heeded)| *heeded);
            let after = known.or_else(|| self.wal.head(&stream).map(|head| head.base.seq)).unwrap_or(heeded);
            if after >= heeded {
                continue;
            }
            let counting = Counting { log: &self.wal, roster: &self.roster, keyring: &self.keyring };
            let closed = &mut self.state.closed;
            each_readable(&self.wal, &stream, after, &mut |seq, bytes| {
                if let Some(event) = Event::from_bytes(bytes).ok().filter(|_| seq <= heeded) {
                    closed.learn(counting, origin.node, &event);
                }
                seq < heeded
            })?;
        }
        Ok(())
    }

    /// The roster is another than `before`: where it says otherwise which keys have ended, and up to where they vouch, other events count (R6.2-l).
    pub(super) fn weigh_closings(&mut self, before: &Roster) -> Result<(), NodeError> {
        if !ended_keys(before).eq(ended_keys(&self.roster)) {
            self.state.closed = self.state.closed.found_again(self.naming().counting(), &self.state)?;
            self.save_state()?;
        }
        Ok(())
    }

    /// What `range` says of closings, or of keys that have ended, is learned when the log has it; that it is still to be learned is durable before (R6.2-n).
    pub(super) fn note_unlearned(&mut self, range: &VerifiedRange) -> Result<(), NodeError> {
        let (origin, run) = (range.origin(), range.run());
        let closes = |bytes: &&[u8]| Event::from_bytes(bytes).is_ok_and(|event| matches!(event.kind, control::CLOSE | control::FORK_CLOSED));
        let tells = origin.lane == Lane::Control && (self.roster.is_roster(&origin) || run.events().iter().any(closes));
        if tells { self.be_about_to_learn() } else { Ok(()) }
    }

    /// The same of what this node is about to write or take itself.
    pub(super) fn be_about_to_learn(&mut self) -> Result<(), NodeError> {
        self.state.unlearned = true;
        self.save_state()
    }

    /// All that the log holds is durable and learned from.
    pub(super) fn note_learned(&mut self) -> Result<(), NodeError> {
        self.state.unlearned = false;
        self.save_state()
    }

    /// Learn from the log what the process before did not come to.
    pub(super) fn learn_missed(&mut self) -> Result<(), NodeError> {
        if self.state.unlearned {
            self.state.closed = self.state.closed.found_again(self.naming().counting(), &self.state)?;
            self.note_learned()?;
        }
        Ok(())
    }

    /// Settle a fork by hand: a control event says so, to everyone who may see our control lane (R6.4-g).
    ///
    /// # Errors
    /// Z407 when there is no such fork; what the log says.
    pub fn close_fork(&mut self, id: &str) -> Result<Fork, NodeError> {
        let all = forks(&self.wal, &self.state.closed, &self.naming())?;
        let fork = all.into_iter().find(|fork| fork.id == id).ok_or_else(|| NodeError::refused(Code::Z407, format!("no fork {id} is held here")))?;
        if !fork.closed {
            self.note_control(&control::fork_closed(&fork.origin, fork.seq))?;
            self.state.closed.close_fork(&fork.origin, fork.seq, fork.ends[0] + fork.ends[1]);
            self.save_state()?;
        }
        Ok(Fork { closed: true, ..fork })
    }
}

impl View {
    /// Every fork held here.
    ///
    /// # Errors
    /// What the log says.
    pub fn forks(&self) -> Result<Vec<Fork>, NodeError> {
        forks(&self.log, &self.state.closed, &self.naming())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Keyring, Pin};
    use crate::ports::entropy::SeededEntropy;
    use crate::ports::memory_store::MemoryStore;
    use crate::ports::store::Store as _;
    use bundle_format::chain::{Position, Run, digest};
    use bundle_format::event::Ext;
    use bundle_format::hlc::Hlc;
    use bundle_format::ids::Name;
    use bundle_format::limits::HISTORY_COUNT_MAX;
    use std::cell::Cell;

    fn origin(node: NodeId, life: u32) -> Origin {
        Origin { node, incarnation: Incarnation(life.to_be_bytes()), lane: Lane::Routine, audience: None }
    }

    /// Learn from a control event that `by` has written.
    fn learn(closed: &mut Closed, log: &dyn Log, keyring: &Keyring, by: NodeId, note: &control::Note) {
        let pin = Pin { authority_key: keyring.current().signing.verifying_key(), incarnation: Incarnation([0; 4]) };
        let roster = Roster::from_log(pin, log, false).unwrap();
        let event = Event { hlc: Hlc(1), kind: note.kind, payload: &note.payload, ext: Ext::default() };
        closed.learn(Counting { log, roster: &roster, keyring }, by, &event);
    }

    /// R6.2-m: a member wrote a few hundred thousand of them, each of another life, and `state` was longer than such a file can be: no command of a hub that
    /// had taken them ran any more.
    #[test]
    fn of_one_member_so_many_closed_histories_are_heeded_and_no_more() {
        let (log, keyring) = (MemoryStore::default(), Keyring::generate(Name::new("hub").unwrap(), &SeededEntropy(Cell::new(7))));
        let (liar, other, me) = (NodeId([1; 8]), NodeId([2; 8]), keyring.node());
        let mut closed = Closed::default();
        for life in (0_u32..).take(HISTORY_COUNT_MAX + 100) {
            for node in [liar, me] {
                let history = origin(node, life);
                learn(&mut closed, &log, &keyring, node, &control::close(&history, &Position::start(&history)));
            }
        }
        assert_eq!((closed.lives_of(liar).count(), closed.lives_of(me).count()), (HISTORY_COUNT_MAX, HISTORY_COUNT_MAX + 100), "of our own, all");
        let history = origin(other, 1);
        learn(&mut closed, &log, &keyring, other, &control::close(&history, &Position::start(&history)));
        assert_eq!(closed.lives_of(other).count(), 1, "nobody takes the place of another");
        assert_eq!(closed.end_of(&history), Some(0));
    }

    /// R6.2-m
    #[test]
    fn of_closed_forks_those_are_heeded_that_are_held() {
        let (mut log, keyring) = (MemoryStore::default(), Keyring::generate(Name::new("hub").unwrap(), &SeededEntropy(Cell::new(7))));
        let (history, by) = (origin(NodeId([1; 8]), 1), NodeId([2; 8]));
        let digests = |letters: &str| letters.bytes().map(|letter| vec![letter]).collect::<Vec<_>>();
        let (first, second) = (digests("abcd"), digests("XY"));
        log.append(&Stream::main(history), &Run::link(Position::start(&history), first.iter().map(Vec::as_slice).collect()), Hlc(1), &[]).unwrap();
        let parting = Position::start(&history).then(&digest(b"a"));
        let branch = Stream { origin: history, branch: Some([9; 8]) };
        log.append(&branch, &Run::link(parting, second.iter().map(Vec::as_slice).collect()), Hlc(1), &[]).unwrap();
        let mut closed = Closed::default();
        for (of, seq) in [(history, 1), (history, 3), (history, u64::MAX), (origin(by, 1), 2), (history, 2), (history, 2)] {
            learn(&mut closed, &log, &keyring, by, &control::fork_closed(&of, seq));
        }
        assert_eq!(Vec::from_iter(closed.forks), [((history, 2), 4 + 3)]);
    }
}
