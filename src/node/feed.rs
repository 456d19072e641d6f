//! The log as a feed: whole payloads in the order they became whole, each with a cursor from which a reader goes on.
//!
//! In: a log, how much of it is durable, where a reader stands. Out: the next whole event and the cursor behind it. Invariants: an event stands in
//! the feed where its last part is stored, so a reader who has passed a place has seen all that ever stands before it (R10.13-c); a cursor proves
//! itself by the digest of the event it stands on, so one of another log is refused and never answered with a gap (R10.13-d). Not here: JSON, HTTP.

use super::NodeError;
use super::payload::{self, Facts};
use crate::ports::store::{Log, Spot, StoreError, Stream};
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::event::{Event, Part};
use bundle_format::ids::{Lane, hex};

/// Where a reader stands: behind one event, or before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(Option<(Spot, [u8; 4])>);

impl Cursor {
    /// From its text.
    ///
    /// # Errors
    /// Z430.
    pub fn parse(text: &str) -> Result<Self, NodeError> {
        if text == "0" {
            return Ok(Self(None));
        }
        read(text).map(|at| Self(Some(at))).ok_or_else(|| refused(text))
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            None => f.write_str("0"),
            Some((spot, proof)) => write!(f, "{}.{}.{}.{}", spot.segment, spot.offset, spot.index, hex(proof)),
        }
    }
}

fn read(text: &str) -> Option<(Spot, [u8; 4])> {
    let mut parts = text.split('.');
    let spot = Spot { segment: parts.next()?.parse().ok()?, offset: parts.next()?.parse().ok()?, index: parts.next()?.parse().ok()? };
    let proof = bundle_format::ids::from_hex(parts.next()?)?;
    (parts.next().is_none() && spot.segment > 0).then_some((spot, proof))
}

fn refused(text: &str) -> NodeError {
    NodeError::refused(Code::Z430, format!("{text:?}"))
}

fn proof(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = digest(bytes).0;
    [a, b, c, d]
}

/// Which events a reader wants; the cursor passes over the others.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only this lane; none means all but control.
    pub lane: Option<Lane>,
    /// Only this record.
    pub record_key: Option<String>,
}

impl Wanted {
    fn lane(&self, stream: &Stream) -> bool {
        self.lane.map_or(stream.origin.lane != Lane::Control, |lane| stream.origin.lane == lane)
    }

    fn key(&self, event: &Event<'_>) -> bool {
        self.record_key.as_deref().is_none_or(|key| event.ext.record_key == Some(key))
    }
}

/// A whole event of the feed.
#[derive(Clone, Debug)]
pub struct Whole {
    /// In which history.
    pub stream: Stream,
    /// Where its first part stands.
    pub seq: u64,
    /// The first part's bytes, which hold its fields.
    pub bytes: Vec<u8>,
    /// Of its payload.
    pub facts: Facts,
    /// Behind it.
    pub cursor: Cursor,
}

/// What reading on brought.
#[derive(Debug)]
pub enum Step {
    /// An event.
    Whole(Box<Whole>),
    /// None among those looked at; there may be more behind the cursor.
    Passed(Cursor),
    /// All that is durable has been read.
    End(Cursor),
}

/// Read on from `cursor` to the next event wanted, looking at no more than `look_max` and at nothing from `end` on.
///
/// # Errors
/// Z430 when the cursor stands on no event of this log; what the log says.
pub fn next(log: &dyn Log, end: (u32, u64), cursor: Cursor, wanted: &Wanted, look_max: u32) -> Result<Step, NodeError> {
    let mut scan = log.scan_from(cursor.0.map(|(spot, _)| spot).unwrap_or_default())?;
    if let Some((spot, proven)) = cursor.0 {
        let stands = (spot.segment, spot.offset) < end && matches!(scan.next(), Ok(Some((_, _, bytes))) if proof(bytes) == proven);
        if !stands || scan.spot() != spot {
            return Err(refused(&cursor.to_string()));
        }
    }
    let (mut at, mut back, mut looked) = (cursor, None, 0);
    while looked < look_max || back.is_some() {
        let (stream, seq, last) = match scan.next() {
            Ok(Some((stream, seq, bytes))) => (stream, seq, bytes.to_vec()),
            Ok(None) => return ended(log, wanted, back, Step::End(at)),
            Err(StoreError::Damaged { .. }) => continue, // told by status and fsck; no cursor stands there; what is lost comes again at another place
            Err(error) => return Err(error.into()),
        };
        looked += 1;
        let spot = scan.spot();
        if (spot.segment, spot.offset) >= end {
            return ended(log, wanted, back, Step::End(at));
        }
        if let Some(back) = back.take_if(|back: &mut Back| !(scan.is_again() && (back.stream, back.seq + 1) == (stream, seq)))
            && let Some(whole) = back.whole(log, wanted)?
        {
            return Ok(whole);
        }
        at = Cursor(Some((spot, proof(&last))));
        if !wanted.lane(&stream) {
            continue;
        }
        if scan.is_again() && !Event::from_bytes(&last).is_ok_and(|event| event.ends_payload()) {
            back = Some(Back { stream, seq, bytes: last, cursor: at });
        } else if let Some((seq, bytes, facts)) = whole(log, &stream, seq, last, wanted)? {
            return Ok(Step::Whole(Box::new(Whole { stream, seq, bytes, facts, cursor: at })));
        }
    }
    ended(log, wanted, back, Step::Passed(at))
}

/// The last of a payload's parts that are here again, one after the other. Where the payload's end did not rot, who read past that has not been told of it.
struct Back {
    stream: Stream,
    seq: u64,
    bytes: Vec<u8>,
    /// Behind it.
    cursor: Cursor,
}

impl Back {
    /// The payload, if all of it can be read.
    fn whole(self, log: &dyn Log, wanted: &Wanted) -> Result<Option<Step>, NodeError> {
        let Some(part) = Event::from_bytes(&self.bytes).ok().and_then(|event| event.ext.part) else { return Ok(None) };
        let whole = whole_of(log, &self.stream, self.seq, part, wanted)?;
        let (stream, cursor) = (self.stream, self.cursor);
        Ok(whole.map(|(seq, bytes, facts)| Step::Whole(Box::new(Whole { stream, seq, bytes, facts, cursor }))))
    }
}

/// `step`, unless there is something to tell of first.
fn ended(log: &dyn Log, wanted: &Wanted, back: Option<Back>, step: Step) -> Result<Step, NodeError> {
    let whole = match back {
        Some(back) => back.whole(log, wanted)?,
        None => None,
    };
    Ok(whole.unwrap_or(step))
}

/// The whole that ends with the event `last` at `seq`, if one does and it is wanted.
fn whole(log: &dyn Log, stream: &Stream, seq: u64, last: Vec<u8>, wanted: &Wanted) -> Result<Option<(u64, Vec<u8>, Facts)>, NodeError> {
    let Ok(event) = Event::from_bytes(&last) else { return Ok(None) };
    match event.ext.part {
        None => told(log, stream, seq, last, wanted),
        Some(part) if part.index + 1 == part.count => whole_of(log, stream, seq, part, wanted),
        Some(_) => Ok(None),
    }
}

/// The whole of which `part` stands at `seq`.
fn whole_of(log: &dyn Log, stream: &Stream, seq: u64, part: Part, wanted: &Wanted) -> Result<Option<(u64, Vec<u8>, Facts)>, NodeError> {
    let Some(first) = seq.checked_sub(part.index).filter(|first| *first > 0) else { return Ok(None) };
    let mut events = log.events(stream, first)?;
    match events.next() {
        Ok(Some((at, bytes))) if at == first => {
            let bytes = bytes.to_vec();
            told(log, stream, first, bytes, wanted)
        }
        Ok(_) | Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The payload that the event `bytes` at `seq` begins, if it does, all of it can be read, and it is wanted.
fn told(log: &dyn Log, stream: &Stream, seq: u64, bytes: Vec<u8>, wanted: &Wanted) -> Result<Option<(u64, Vec<u8>, Facts)>, NodeError> {
    let Ok(event) = Event::from_bytes(&bytes) else { return Ok(None) };
    if !payload::begins(&event) || !wanted.key(&event) {
        return Ok(None);
    }
    match payload::facts(log, stream, seq, &event) {
        Ok(facts) => Ok(facts.map(|facts| (seq, bytes, facts))),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::FakeClock;
    use crate::ports::memory_store::MemoryStore;
    use crate::push::{Fields, Pusher};
    use bundle_format::ids::{Incarnation, NodeId, Origin};
    use std::rc::Rc;

    const ALL: (u32, u64) = (u32::MAX, 0);

    fn push(store: &mut MemoryStore, lens: &[u64]) {
        let stream = Stream::main(Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Routine, audience: None });
        let fields = Fields { kind: "t".into(), ..Fields::default() };
        let mut pusher = Pusher::new(store, Rc::new(FakeClock::default()), &NodeId([1; 8]), &[stream]);
        for len in lens {
            pusher.push(&fields, *len, &mut std::io::repeat(b'x')).unwrap();
        }
        pusher.sync().unwrap();
    }

    fn read(store: &MemoryStore, mut cursor: Cursor, look_max: u32) -> (Vec<u64>, Cursor) {
        let mut lens = Vec::new();
        loop {
            match next(store, ALL, cursor, &Wanted::default(), look_max).unwrap() {
                Step::Whole(whole) => {
                    lens.push(whole.facts.len);
                    cursor = whole.cursor;
                }
                Step::Passed(at) => cursor = at,
                Step::End(at) => return (lens, at),
            }
        }
    }

    #[test]
    fn a_reader_sees_every_whole_once_however_little_it_reads_at_a_time() {
        let mut store = MemoryStore::default();
        push(&mut store, &[1, 9000, 0, 3]);
        for look_max in [1, 2, 100] {
            assert_eq!(read(&store, Cursor::default(), look_max).0, [1, 9000, 0, 3]);
        }
        let (_, end) = read(&store, Cursor::default(), 100);
        push(&mut store, &[7]);
        assert_eq!(read(&store, end, 100).0, [7]);
    }

    #[test]
    fn a_payload_whose_last_part_comes_later_is_not_passed_over() {
        let (mut whole, mut store) = (MemoryStore::default(), MemoryStore::default());
        push(&mut whole, &[9000]);
        let mut events = whole.scan().unwrap();
        let mut cursor = Cursor::default();
        while let Some((stream, seq, bytes)) = events.next().unwrap() {
            use crate::ports::store::Store as _;
            let end = store.head(&stream).map_or_else(|| bundle_format::chain::Position::start(&stream.origin), |head| head.end);
            store.append(&stream, &bundle_format::chain::Run::link(end, vec![bytes]), bundle_format::hlc::Hlc(1), &[]).unwrap();
            let (lens, at) = read(&store, cursor, 100);
            cursor = at;
            assert_eq!(lens, if seq == 3 { vec![9000] } else { vec![] });
        }
    }

    #[test]
    fn a_cursor_of_another_log_is_refused() {
        let (mut ours, mut theirs) = (MemoryStore::default(), MemoryStore::default());
        push(&mut ours, &[1, 2]);
        push(&mut theirs, &[5, 6, 7]);
        let code = |cursor| next(&ours, ALL, cursor, &Wanted::default(), 9).unwrap_err().code();
        let Step::Whole(first) = next(&theirs, ALL, Cursor::default(), &Wanted::default(), 9).unwrap() else { panic!("an event") };
        assert_eq!(code(first.cursor), Code::Z430);
        assert_eq!(code(read(&theirs, Cursor::default(), 9).1), Code::Z430);
    }

    #[test]
    fn a_cursor_reads_back_from_its_text_and_nothing_else_does() {
        for text in ["0", "1.64.0.00ff12ab", "4294967295.18446744073709551615.65535.ffffffff"] {
            assert_eq!(Cursor::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "1", "1.2.3", "1.2.3.4", "1.2.3.00ff12ab.5", "-1.2.3.00ff12ab", "0.2.3.00ff12ab", "1.2.99999.00ff12ab", "1.2.3.zz"] {
            assert_eq!(Cursor::parse(text).unwrap_err().code(), Code::Z430, "{text}");
        }
    }
}
