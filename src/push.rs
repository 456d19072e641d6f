//! Push: local events in.
//!
//! In: payloads and what their writer says about them. Out: their ids, once they are durable.
//! Invariants: nothing is acknowledged before the sync that covers it (R10.4-a); payload bytes are stored as they came; a payload is one event or one
//! unbroken run of parts (R3.2-e); stamps grow along a node whatever the clock does (R3.3-a). Not here: who may be written to (`node`), signing (`cut`).

pub mod json;
pub mod lines;
pub mod schema;
pub mod spool;
pub mod utf8;

use crate::ports::Clock;
use crate::ports::store::{Log, Store, StoreError, Stream};
use bundle_format::chain::{Position, Run};
use bundle_format::error::Code;
use bundle_format::event::{Event, EventError, Ext, Op, Part};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Lane, NodeId};
use bundle_format::limits::{CLOCK_AHEAD_MS_MAX, PART_LEN, PAYLOAD_LEN_MAX};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::rc::Rc;

/// Encoded events that wait for one append: some frames of the log, and little memory.
const PENDING_LEN_MAX: usize = 64 * 1024;
/// Types that belong to zbundle itself (R3.2-h).
const RESERVED: &str = "zb/";

/// What a writer says about an event beside its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// What kind; the application's word.
    pub kind: String,
    /// The record it is about.
    pub record_key: Option<String>,
    /// What the writer had seen of the record; `None` is its own previous event, empty is nothing.
    pub base: Option<Vec<EventId>>,
    /// `None` is `application/json`.
    pub content_type: Option<String>,
    /// The same key and content push the same event only once.
    pub idempotency_key: Option<String>,
    /// The person who wrote it.
    pub author: Option<String>,
    /// What it does to its record.
    pub op: Op,
}

impl Fields {
    fn event<'a>(&'a self, hlc: Hlc, payload: &'a [u8], part: Option<Part>) -> Event<'a> {
        let ext = match part {
            Some(Part { index: 1.., .. }) => Ext { part, ..Ext::default() },
            _ => Ext {
                record_key: self.record_key.as_deref(),
                part,
                base: self.base.clone(),
                content_type: self.content_type.as_deref(),
                idempotency_key: self.idempotency_key.as_deref(),
                author: self.author.as_deref(),
                op: self.op,
                ..Ext::default()
            },
        };
        Event { hlc, kind: &self.kind, payload, ext }
    }

    /// Whether these fields can stand in an event. Asked before a payload is read.
    ///
    /// # Errors
    /// [`PushError::Field`] or [`PushError::Reserved`].
    pub fn check(&self) -> Result<(), PushError> {
        if self.kind.starts_with(RESERVED) {
            return Err(PushError::Reserved);
        }
        self.event(Hlc(0), b"", None).to_bytes()?;
        Ok(())
    }

    /// Whether a payload of so many bytes may be what these say it is: nothing at all is no JSON.
    ///
    /// # Errors
    /// [`PushError::Empty`].
    pub fn check_len(&self, len: u64) -> Result<(), PushError> {
        if len == 0 && json::is_json_type(self.content_type.as_deref()) { Err(PushError::Empty) } else { Ok(()) }
    }
}

/// Why something was not pushed. What was acknowledged before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// A field is empty, too long or malformed.
    #[error(transparent)]
    Field(#[from] EventError),
    /// A type of zbundle's own.
    #[error("types that begin with {RESERVED} belong to zbundle itself")]
    Reserved,
    /// Larger than a payload may be.
    #[error("a payload holds at most {PAYLOAD_LEN_MAX} bytes; this has {}", .len.map_or("more".to_owned(), |len| len.to_string()))]
    TooLarge {
        /// How large, when it was read to its end.
        len: Option<u64>,
    },
    /// No payload at all, and JSON was to come.
    #[error("it is empty")]
    Empty,
    /// The payload could not be read.
    #[error("the input cannot be read: {0}")]
    Input(#[source] io::Error),
    /// The payload ended before the length it had when we began.
    #[error("the file changed while it was read")]
    Changed,
    /// A large payload could not wait on the disk.
    #[error("a large payload cannot be set down in the data directory: {0}")]
    Spool(#[source] io::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// The process that keeps the node did not take it, or ended.
    #[error("{detail}")]
    Kept {
        /// Its row.
        code: Code,
        /// What makes it concrete.
        detail: String,
    },
}

impl PushError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Field(_) | Self::Reserved => Code::Z404,
            Self::TooLarge { .. } => Code::Z401,
            Self::Empty => Code::Z431,
            Self::Input(_) | Self::Changed => Code::Z201,
            Self::Spool(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Code::Z203,
            Self::Spool(_) => Code::Z202,
            Self::Log(error) => error.code(),
            Self::Kept { code, .. } => *code,
        }
    }
}

/// The stamp the next event of `node` must exceed: its own last one, or a foreign one not more than a day ahead of our floor (R3.3-a, -c).
pub fn last_stamp(log: &dyn Log, node: &NodeId, now_ms: u64) -> Hlc {
    let streams = log.streams();
    let newest = |wanted: &dyn Fn(&Stream, Hlc) -> bool| {
        let stamps = streams.iter().filter(|(stream, head)| wanted(stream, head.hlc)).map(|(_, head)| head.hlc);
        stamps.max().unwrap_or_default()
    };
    let own = newest(&|stream, _| stream.origin.node == *node);
    let floor_ms = own.ms().max(now_ms);
    own.max(newest(&|_, hlc| hlc.ms() <= floor_ms.saturating_add(CLOCK_AHEAD_MS_MAX)))
}

/// How our clock and our stamps stand apart by more than a day: worth telling (Z305).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Skew {
    /// The clock stands past our last stamp: it may have jumped ahead.
    Jumped,
    /// Our stamps run so many milliseconds ahead of the clock: it was ahead when one was written, or is behind now.
    Ahead(u64),
}

impl Skew {
    /// Between our last stamp and our clock, if there is any (R3.3-c). A node's first event has nothing to be held against.
    pub fn between(last: Hlc, now_ms: u64) -> Option<Self> {
        let ahead_ms = last.ms().saturating_sub(now_ms);
        if ahead_ms > CLOCK_AHEAD_MS_MAX {
            return Some(Self::Ahead(ahead_ms));
        }
        (last != Hlc::default() && now_ms > last.ms().saturating_add(CLOCK_AHEAD_MS_MAX)).then_some(Self::Jumped)
    }
}

/// Where payloads go: into the log, or to the process that keeps it.
pub trait Taker {
    /// How it names an event.
    type Event;
    /// Take one payload of exactly `len` bytes. What became of it is told by [`Taker::settle`].
    ///
    /// # Errors
    /// [`PushError`].
    fn take(&mut self, fields: &Fields, len: u64, payload: &mut dyn Read) -> Result<(), PushError>;
    /// Bytes taken since the last settling.
    fn unsettled_len(&self) -> u64;
    /// Make durable what was taken, and tell of each payload, in order, which events it is: one per audience.
    ///
    /// # Errors
    /// [`PushError`]: what was told before is durable, and nothing more may be acknowledged.
    fn settle(&mut self, stored: &mut dyn FnMut(Vec<Self::Event>)) -> Result<(), PushError>;
    /// All is settled, and nobody knows when more comes: what others may need is let go of until then.
    fn rest(&mut self) {}
}

/// Appends payloads to our own streams: the same payload to each (one per audience), one sync for many.
pub struct Pusher<'a> {
    store: &'a mut dyn Store,
    clock: Rc<dyn Clock>,
    last: Hlc,
    skew: Option<Skew>,
    tails: Vec<Tail>,
    unsynced_len: u64,
    taken: Vec<Vec<Pushed>>,
}

/// One stream, and encoded events that wait to be appended to it.
struct Tail {
    stream: Stream,
    end: Position,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    hlc: Hlc,
}

/// A pushed event: where it stands. Its id once [`Pusher::sync`] returned.
pub type Pushed = (Stream, u64);

impl<'a> Pusher<'a> {
    /// Push to `streams`, which are `node`'s own, of its present life, and not of the control lane.
    ///
    /// # Panics
    /// When one is of the control lane.
    pub fn new(store: &'a mut dyn Store, clock: Rc<dyn Clock>, node: &NodeId, streams: &[Stream]) -> Self {
        assert!(streams.iter().all(|stream| stream.origin.lane != Lane::Control), "the control lane holds no payloads of people");
        let now_ms = clock.now_ms();
        let last = last_stamp(store, node, now_ms);
        let tail = |stream: &Stream| {
            let end = store.head(stream).map_or_else(|| Position::start(&stream.origin), |head| head.end);
            Tail { stream: *stream, end, bytes: Vec::new(), ends: Vec::new(), hlc: Hlc::default() }
        };
        let tails = streams.iter().map(tail).collect();
        Self { store, clock, last, skew: Skew::between(last, now_ms), tails, unsynced_len: 0, taken: Vec::new() }
    }

    /// How our clock and our stamps stood apart when we began, if that is worth telling.
    pub fn skew(&self) -> Option<Skew> {
        self.skew
    }

    /// Append one payload of exactly `len` bytes. Durable only after [`Pusher::sync`] (R3.2-g).
    ///
    /// # Errors
    /// [`PushError`]. When it comes in the middle of a large payload, the parts appended so far are void (R3.2-f).
    pub fn push(&mut self, fields: &Fields, len: u64, payload: &mut dyn Read) -> Result<Vec<Pushed>, PushError> {
        let len = usize::try_from(len).ok().filter(|len| *len <= PAYLOAD_LEN_MAX).ok_or(PushError::TooLarge { len: Some(len) })?;
        fields.check()?;
        let pushed = self.tails.iter().map(|tail| (tail.stream, tail.end.seq + tail.ends.len() as u64 + 1)).collect();
        let part_count = len.div_ceil(PART_LEN).max(1) as u64;
        let mut piece = [0; PART_LEN];
        let mut left = len;
        for index in 0..part_count {
            let piece = &mut piece[..left.min(PART_LEN)];
            left -= piece.len();
            payload.read_exact(piece).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => PushError::Changed,
                _ => PushError::Input(error),
            })?;
            let part = (part_count > 1).then_some(Part { index, count: part_count });
            self.append(fields, piece, part)?;
        }
        Ok(pushed)
    }

    fn append(&mut self, fields: &Fields, payload: &[u8], part: Option<Part>) -> Result<(), PushError> {
        for index in 0..self.tails.len() {
            self.last = self.last.tick(self.clock.now_ms());
            let event = fields.event(self.last, payload, part).to_bytes()?;
            self.unsynced_len += event.len() as u64;
            let tail = &mut self.tails[index];
            tail.bytes.extend_from_slice(&event);
            tail.ends.push(tail.bytes.len());
            tail.hlc = self.last;
            if tail.bytes.len() >= PENDING_LEN_MAX {
                tail.flush(self.store)?;
            }
        }
        Ok(())
    }

    /// Append what waits, and leave making it durable to whoever syncs the store for many.
    ///
    /// # Errors
    /// [`PushError::Log`].
    pub fn flush(&mut self) -> Result<(), PushError> {
        Ok(self.tails.iter_mut().try_for_each(|tail| tail.flush(self.store))?)
    }

    /// Make everything pushed so far durable, with one sync.
    ///
    /// # Errors
    /// [`PushError::Log`]: then nothing since the last sync may be acknowledged.
    pub fn sync(&mut self) -> Result<(), PushError> {
        self.flush()?;
        if self.unsynced_len > 0 {
            self.store.sync()?;
            self.unsynced_len = 0;
        }
        Ok(())
    }
}

impl Taker for Pusher<'_> {
    type Event = Pushed;

    fn take(&mut self, fields: &Fields, len: u64, payload: &mut dyn Read) -> Result<(), PushError> {
        let pushed = self.push(fields, len, payload)?;
        self.taken.push(pushed);
        Ok(())
    }

    fn unsettled_len(&self) -> u64 {
        self.unsynced_len
    }

    fn settle(&mut self, stored: &mut dyn FnMut(Vec<Pushed>)) -> Result<(), PushError> {
        self.sync()?;
        self.taken.drain(..).for_each(stored);
        Ok(())
    }
}

impl Tail {
    fn flush(&mut self, store: &mut dyn Store) -> Result<(), StoreError> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let events = starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]).collect();
        let run = Run::link(self.end, events);
        store.append(&self.stream, &run, self.hlc, &[])?;
        self.end = run.end();
        self.bytes.clear();
        self.ends.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory_store::MemoryStore;
    use bundle_format::ids::{Incarnation, Origin};

    pub(crate) fn stream(audience: Option<u8>) -> Stream {
        let audience = audience.map(|byte| NodeId([byte; 8]));
        Stream::main(Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Routine, audience })
    }

    pub(super) fn clock() -> Rc<dyn Clock> {
        Rc::new(crate::ports::clock::FakeClock::default())
    }

    pub(super) fn fields() -> Fields {
        Fields { kind: "record".into(), record_key: Some("Patient/1".into()), ..Fields::default() }
    }

    fn events(store: &MemoryStore, stream: &Stream) -> Vec<Vec<u8>> {
        let mut events = store.events(stream, 1).unwrap();
        let mut all = Vec::new();
        while let Some((_, event)) = events.next().unwrap() {
            all.push(event.to_vec());
        }
        all
    }

    #[test]
    fn a_payload_is_one_event_up_to_4_kib_and_full_parts_above() {
        for (len, parts) in [(0, 1), (1, 1), (4096, 1), (4097, 2), (8192, 2), (8193, 3), (PAYLOAD_LEN_MAX, 4096)] {
            let mut store = MemoryStore::default();
            let payload: Vec<u8> = (0..=250).cycle().take(len).collect();
            let mut pusher = Pusher::new(&mut store, clock(), &NodeId([1; 8]), &[stream(None)]);
            assert_eq!(pusher.push(&fields(), len as u64, &mut payload.as_slice()).unwrap(), [(stream(None), 1)]);
            pusher.sync().unwrap();
            let stored = events(&store, &stream(None));
            let stored: Vec<_> = stored.iter().map(|bytes| Event::from_bytes(bytes).unwrap()).collect();
            assert_eq!(stored.len(), parts, "{len}");
            assert_eq!(stored.iter().flat_map(|event| event.payload).copied().collect::<Vec<u8>>(), payload);
            assert!(stored.windows(2).all(|pair| pair[0].hlc < pair[1].hlc));
            assert_eq!(stored[0].ext.record_key, Some("Patient/1"));
            assert_eq!(store.syncs, [parts]);
        }
    }

    #[test]
    fn what_cannot_be_an_event_is_refused_before_anything_is_stored() {
        let kind = |kind: &str| Fields { kind: kind.into(), ..Fields::default() };
        let long = Fields { author: Some("a".repeat(201)), ..kind("record") };
        for (fields, len, code) in [
            (kind("record"), PAYLOAD_LEN_MAX as u64 + 1, Code::Z401),
            (kind(""), 1, Code::Z404),
            (kind("zb/enrol"), 1, Code::Z404),
            (long, 1, Code::Z404),
        ] {
            let mut store = MemoryStore::default();
            let mut pusher = Pusher::new(&mut store, clock(), &NodeId([1; 8]), &[stream(None)]);
            assert_eq!(pusher.push(&fields, len, &mut io::repeat(0)).unwrap_err().code(), code);
            pusher.sync().unwrap();
            assert!(store.streams().is_empty() && store.syncs.is_empty());
        }
    }

    #[test]
    fn one_push_to_several_nodes_stands_once_in_each_history() {
        let (ada, bob) = (stream(Some(3)), stream(Some(4)));
        let mut store = MemoryStore::default();
        let mut pusher = Pusher::new(&mut store, clock(), &NodeId([1; 8]), &[ada, bob]);
        assert_eq!(pusher.push(&fields(), 5000, &mut io::repeat(9)).unwrap(), [(ada, 1), (bob, 1)]);
        assert_eq!(pusher.push(&fields(), 1, &mut io::repeat(9)).unwrap(), [(ada, 3), (bob, 3)]);
        pusher.sync().unwrap();
        assert_eq!((events(&store, &ada).len(), events(&store, &bob).len(), store.syncs.len()), (3, 3, 1));
    }

    #[test]
    fn stamps_follow_own_and_near_foreign_ones_never_far_ones() {
        let day = CLOCK_AHEAD_MS_MAX;
        let foreign = Stream::main(Origin { node: NodeId([9; 8]), ..stream(None).origin });
        for (own_ms, foreign_ms, now_ms, want_ms) in [
            (5, 0, 3, 5),              // the clock stepped back
            (5, 9, 3, 9),              // a foreign stamp a little ahead
            (5, 6 + day, 3, 5),        // too far ahead of our last stamp and of the clock
            (5, 6 + day, 20, 6 + day), // within a day of the clock
        ] {
            let mut store = MemoryStore::default();
            for (stream, ms) in [(stream(None), own_ms), (foreign, foreign_ms)] {
                let run = Run::link(Position::start(&stream.origin), vec![b"event"]);
                store.append(&stream, &run, Hlc(ms << 16), &[]).unwrap();
            }
            assert_eq!(last_stamp(&store, &NodeId([1; 8]), now_ms).ms(), want_ms);
        }
        for (last_ms, now_ms, want) in
            [(0, day * 9, None), (1, day, None), (1, day + 2, Some(Skew::Jumped)), (day, 0, None), (day + 1, 0, Some(Skew::Ahead(day + 1)))]
        {
            assert_eq!(Skew::between(Hlc(last_ms << 16), now_ms), want, "{last_ms} {now_ms}");
        }
    }
}
