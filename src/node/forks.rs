//! Forks a node holds: an origin that used its numbers twice. Both branches are kept until the origin or a person closes the fork. SPEC §6.4.
//! (R6.4-a)

use super::error::NodeError;
use super::naming::Naming;
use super::rot::each_readable;
use super::{Node, View, control};
use crate::ports::store::{Log, Stream};
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
    /// What the control events of `log` say: who closed which history, and where. Which forks persons closed is not found again, for it counts only as far
    /// as both branches were held then: those are shown once more.
    ///
    /// # Errors
    /// What the log says.
    pub fn found_again(log: &dyn Log) -> Result<Self, NodeError> {
        let mut closed = Self::default();
        for (stream, head) in log.streams().into_iter().filter(|(stream, _)| stream.origin.lane == Lane::Control) {
            each_readable(log, &stream, head.base.seq, &mut |_, bytes| {
                if let Some(event) = Event::from_bytes(bytes).ok().filter(|event| event.kind == control::CLOSE) {
                    closed.learn(log, stream.origin.node, &event);
                }
                true
            })?;
        }
        Ok(closed)
    }

    /// Lives of `node` of which it closed a history: they are over.
    pub fn lives_of(&self, node: NodeId) -> impl Iterator<Item = Incarnation> {
        self.origins.iter().filter(move |(origin, _)| origin.node == node).map(|(origin, _)| origin.incarnation)
    }

    /// Learn from a control event of `node`'s own lane. Returns whether it said something new.
    pub fn learn(&mut self, log: &dyn Log, node: NodeId, event: &Event<'_>) -> bool {
        let held = |origin: &Origin| log.streams().iter().filter(|(stream, _)| stream.origin == *origin).map(|(_, head)| head.end.seq).sum();
        let learnt = match event.kind {
            control::CLOSE => read_close(node, event.payload).map(|closed| push_new(&mut self.origins, closed)),
            control::FORK_CLOSED => read_fork_closed(event.payload).map(|(origin, seq)| push_new(&mut self.forks, (origin, seq, held(&origin)))),
            _ => Ok(false),
        };
        learnt.unwrap_or(false) // a control event that cannot be read settles nothing
    }
}

fn push_new<T: PartialEq>(all: &mut Vec<T>, new: T) -> bool {
    let is_new = !all.contains(&new);
    if is_new {
        all.push(new);
    }
    is_new
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

impl Node {
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
