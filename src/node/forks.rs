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
    pub origins: Vec<(Origin, u64)>,
    /// Forks a person closed: origin, position, and how many events of both branches we held then.
    pub forks: Vec<(Origin, u64, u64)>,
}

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
        let by_origin = closed.origins.iter().any(|(origin, end)| *origin == stream.origin && ends.contains(end));
        let by_person = closed.forks.iter().any(|(origin, at, held)| (origin, *at) == (&stream.origin, seq) && ends[0] + ends[1] <= *held);
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
                    Some(event) => found.learn(log, stream.origin.node, &event),
                    None => {}
                }
                seq < heeded
            })?;
        }
        Ok(found)
    }

    /// Take over from `known` how far the fork was held that a `zb/fork-closed` names.
    fn keep_forks(&mut self, known: &Self, payload: &[u8]) {
        let Ok((origin, seq)) = read_fork_closed(payload) else { return };
        for fork in known.forks.iter().filter(|(of, at, _)| (of, *at) == (&origin, seq)) {
            push_new(&mut self.forks, *fork);
        }
    }

    /// Lives of `node` of which it closed a history: they are over.
    pub fn lives_of(&self, node: NodeId) -> impl Iterator<Item = Incarnation> {
        self.origins.iter().filter(move |(origin, _)| origin.node == node).map(|(origin, _)| origin.incarnation)
    }

    /// Learn from a control event of `node`'s own lane. One that cannot be read settles nothing.
    pub fn learn(&mut self, log: &dyn Log, node: NodeId, event: &Event<'_>) {
        let held = |origin: &Origin| log.branches(origin).iter().map(|(_, head)| head.end.seq).sum();
        if event.kind == control::CLOSE
            && let Ok(closed) = read_close(node, event.payload)
        {
            push_new(&mut self.origins, closed);
        }
        if event.kind == control::FORK_CLOSED
            && let Ok((origin, seq)) = read_fork_closed(event.payload)
        {
            push_new(&mut self.forks, (origin, seq, held(&origin)));
        }
    }
}

fn push_new<T: PartialEq>(all: &mut Vec<T>, new: T) {
    if !all.contains(&new) {
        all.push(new);
    }
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
            let (closed, log) = (&mut self.state.closed, &self.wal);
            each_readable(log, &stream, after, &mut |seq, bytes| {
                if let Some(event) = Event::from_bytes(bytes).ok().filter(|_| seq <= heeded) {
                    closed.learn(log, origin.node, &event);
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

    /// Settle a fork by hand: a control event says so, to everyone who may see our control lane (R6.4-g).
    ///
    /// # Errors
    /// Z407 when there is no such fork; what the log says.
    pub fn close_fork(&mut self, id: &str) -> Result<Fork, NodeError> {
        let all = forks(&self.wal, &self.state.closed, &self.naming())?;
        let fork = all.into_iter().find(|fork| fork.id == id).ok_or_else(|| NodeError::refused(Code::Z407, format!("no fork {id} is held here")))?;
        if !fork.closed {
            self.note_control(&control::fork_closed(&fork.origin, fork.seq))?;
            self.state.closed.forks.push((fork.origin, fork.seq, fork.ends[0] + fork.ends[1]));
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
