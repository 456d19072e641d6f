//! Reading the log for people: which events, in the order they were stored, each with its whole payload (R6.4-b).

use super::payload::{self, Facts};
use crate::keys::naming::EventRef;
use crate::ports::store::{Events, Head, Log, Scan, StoreError, Stored, Stream};
use bundle_format::chain::digest;
use bundle_format::event::Event;
use bundle_format::ids::{EventId, Lane, Origin};
use std::collections::BTreeSet;

/// Which events are wanted; by default all but the nodes' own notes.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these histories, all their branches.
    pub origins: Option<BTreeSet<Origin>>,
    /// Only this lane; none means all but control.
    pub lane: Option<Lane>,
    /// From where.
    pub since: Since,
    /// Only this record.
    pub record_key: Option<String>,
}

/// Where a reading begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// At the first event.
    #[default]
    Start,
    /// With what was stored after this event.
    After(Stream, u64),
    /// With stamps from this time on, milliseconds since 1970.
    Date(u64),
}

/// One event with its payload's facts.
pub struct Shown<'a> {
    /// In which history.
    pub stream: Stream,
    /// Where in it.
    pub seq: u64,
    /// Its bytes: the first part's, if there are several.
    pub bytes: &'a [u8],
    /// Read from them.
    pub event: Event<'a>,
    /// Of the whole payload.
    pub payload: Facts,
}

/// What was read over.
#[derive(Debug, Default)]
pub struct Read {
    /// Events shown.
    pub shown: u64,
    /// Where the log could not be read.
    pub damage: Vec<StoreError>,
}

/// The events that a person may mean: one, or one in each branch of a fork. One that stands on several branches is one (R6.4-h).
///
/// # Errors
/// What the log says.
pub fn find_event(log: &dyn Log, reference: &EventRef) -> Result<Vec<(Stream, EventId)>, StoreError> {
    let holds = |head: &Head| head.base.seq < reference.seq && reference.seq <= head.end.seq;
    let mut found = Vec::new();
    for (stream, _) in log.streams().into_iter().filter(|(stream, head)| stream.origin == reference.origin && holds(head)) {
        if let Some((_, bytes)) = log.events(&stream, reference.seq)?.next()? {
            found.push((stream, EventId::new(stream.origin, reference.seq, &digest(bytes))));
        }
    }
    let mut ids = BTreeSet::new();
    found.retain(|(_, id)| reference.digest.is_none_or(|digest| digest == id.digest) && ids.insert(*id));
    Ok(found)
}

/// Show every event that `filter` wants.
///
/// # Errors
/// What `show` says; [`StoreError`] other than damage, which is counted and read past.
pub fn each_event<E: From<StoreError>>(log: &dyn Log, filter: &Filter, mut show: impl FnMut(&Shown<'_>) -> Result<(), E>) -> Result<Read, E> {
    let mut read = Read::default();
    let mut walk = Walk::new(log, filter)?;
    let mut passed = !matches!(walk, Walk::All(_)) || !matches!(filter.since, Since::After(..));
    // Of the one history that is followed by its index: what need not be read again.
    let mut read_to = if let (Walk::One(..), Since::After(_, seq)) = (&walk, filter.since) { seq } else { 0 };
    loop {
        let by_index = matches!(walk, Walk::One(..));
        let (stream, seq, bytes) = match walk.next() {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(read),
            Err(error @ StoreError::Damaged { .. }) => {
                if by_index {
                    walk = Walk::All(log.scan()?); // the index does not lead past damage; frame by frame the rest is readable
                } else {
                    read.damage.push(error);
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if !passed {
            passed = filter.since == Since::After(stream, seq);
            continue;
        }
        if !filter.wants_stream(&stream) || seq <= read_to {
            continue;
        }
        if by_index {
            read_to = seq;
        }
        // Stored events have been read once before they were let in; what does not read now is damage the checksum missed.
        let Ok(event) = Event::from_bytes(bytes) else { continue };
        if !payload::begins(&event) || !filter.wants(&event) {
            continue;
        }
        match payload::facts(log, &stream, seq, &event) {
            Ok(Some(_)) if stands_before(log, &stream, seq, bytes)? => {}
            Ok(Some(payload)) => {
                show(&Shown { stream, seq, bytes, event, payload })?;
                read.shown += 1;
            }
            Ok(None) => {}
            Err(error @ StoreError::Damaged { .. }) => read.damage.push(error),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the same event stands on a branch that sorts before this one: it is one event, and shown there (R6.4-h).
fn stands_before(log: &dyn Log, stream: &Stream, seq: u64, bytes: &[u8]) -> Result<bool, StoreError> {
    if stream.branch.is_none() {
        return Ok(false);
    }
    let holds = |(other, head): &(Stream, Head)| other < stream && head.base.seq < seq && seq <= head.end.seq;
    for (other, _) in log.branches(&stream.origin).into_iter().filter(holds) {
        match log.events(&other, seq).and_then(|mut events| Ok(events.next()?.is_some_and(|(_, there)| there == bytes))) {
            Ok(false) | Err(StoreError::Damaged { .. }) => {} // shown where it can be read
            same => return same,
        }
    }
    Ok(false)
}

impl Filter {
    fn wants_stream(&self, stream: &Stream) -> bool {
        let lane = self.lane.map_or(stream.origin.lane != Lane::Control, |lane| stream.origin.lane == lane);
        lane && self.origins.as_ref().is_none_or(|origins| origins.contains(&stream.origin))
    }

    fn wants(&self, event: &Event<'_>) -> bool {
        let late = match self.since {
            Since::Date(ms) => event.hlc.ms() >= ms,
            Since::Start | Since::After(..) => true,
        };
        late && self.record_key.as_ref().is_none_or(|key| event.ext.record_key == Some(key))
    }
}

/// All histories in the order they were stored, or one by its index.
enum Walk<'a> {
    All(Box<dyn Scan + 'a>),
    One(Stream, Box<dyn Events + 'a>),
}

impl<'a> Walk<'a> {
    fn new(log: &'a dyn Log, filter: &Filter) -> Result<Self, StoreError> {
        let streams = log.streams();
        let mut wanted = streams.iter().map(|(stream, _)| *stream).filter(|stream| filter.wants_stream(stream));
        match (wanted.next(), wanted.next(), filter.since) {
            (Some(only), None, Since::After(stream, seq)) if only == stream => Ok(Self::One(only, log.events(&only, seq + 1)?)),
            (Some(only), None, Since::Start | Since::Date(_)) => Ok(Self::One(only, log.events(&only, 1)?)),
            _ => Ok(Self::All(log.scan()?)),
        }
    }

    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError> {
        match self {
            Self::All(scan) => scan.next(),
            Self::One(stream, events) => Ok(events.next()?.map(|(seq, bytes)| (*stream, seq, bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::FakeClock;
    use crate::ports::memory_store::MemoryStore;
    use crate::push::{Fields, Pusher};
    use bundle_format::ids::{Incarnation, NodeId};
    use std::cell::Cell;
    use std::rc::Rc;

    fn stream(node: u8, lane: Lane) -> Stream {
        Stream::main(Origin { node: NodeId([node; 8]), incarnation: Incarnation([2; 4]), lane, audience: None })
    }

    /// Node 1 writes 1, 2 (5000 bytes, two parts), 3; node 2 writes 4, urgent, of record `r`, an hour later.
    fn log() -> MemoryStore {
        let mut store = MemoryStore::default();
        let fields = |key: Option<&str>| Fields { kind: "t".into(), record_key: key.map(str::to_owned), ..Fields::default() };
        let mut pusher = Pusher::new(&mut store, Rc::new(FakeClock(Cell::new(1000))), &NodeId([1; 8]), &[stream(1, Lane::Routine)]);
        for len in [1, 5000, 3] {
            pusher.push(&fields(None), len, &mut std::io::repeat(b'x')).unwrap();
        }
        pusher.sync().unwrap();
        let mut pusher = Pusher::new(&mut store, Rc::new(FakeClock(Cell::new(3_601_000))), &NodeId([2; 8]), &[stream(2, Lane::Urgent)]);
        pusher.push(&fields(Some("r")), 4, &mut std::io::repeat(b'x')).unwrap();
        pusher.sync().unwrap();
        store
    }

    #[test]
    fn filters_choose_wholes() {
        let one = stream(1, Lane::Routine);
        let only = |origin: Origin| Filter { origins: Some([origin].into()), ..Filter::default() };
        let since = |since| Filter { since, ..Filter::default() };
        for (filter, lens) in [
            (Filter::default(), &[1, 5000, 3, 4][..]),
            (only(one.origin), &[1, 5000, 3]),
            (Filter { lane: Some(Lane::Urgent), ..Filter::default() }, &[4]),
            (Filter { lane: Some(Lane::Control), ..Filter::default() }, &[]),
            (Filter { record_key: Some("r".into()), ..Filter::default() }, &[4]),
            (since(Since::Date(2000)), &[4]),
            (since(Since::After(one, 1)), &[5000, 3, 4]),
            (since(Since::After(one, 2)), &[3, 4]),
            (Filter { since: Since::After(one, 3), ..only(one.origin) }, &[3]),
            (Filter { since: Since::After(one, 1), ..only(stream(2, Lane::Urgent).origin) }, &[4]),
        ] {
            let mut told = Vec::new();
            let read = each_event(&log(), &filter, |shown| {
                told.push(shown.payload.len);
                Ok::<_, StoreError>(())
            });
            assert_eq!((told.as_slice(), read.unwrap().shown), (lens, lens.len() as u64), "{filter:?}");
        }
    }
}
