//! Whole payloads, as people pushed them: parts put together again, piece by piece, in memory that does not grow with them. SPEC §3.2.

use crate::ports::store::{Log, StoreError, Stream};
use crate::push::utf8::Utf8;
use bundle_format::event::{Event, Part};
use bundle_format::ids::{Hash, Lane};
use sha2::{Digest as _, Sha256};

/// What can be said of a payload after reading it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes.
    pub len: u64,
    /// SHA-256 of the payload.
    pub sha256: Hash,
    /// It is UTF-8.
    pub is_text: bool,
}

/// Whether an event is where a payload begins: not a part behind the first.
pub fn begins(event: &Event<'_>) -> bool {
    event.ext.part.is_none_or(|part| part.index == 0)
}

/// Payloads that end in `ranges` of our log, by lane; control events are counted each. Who is told "records" is told payloads, not their parts.
///
/// # Errors
/// What the log says.
pub fn count(log: &dyn Log, ranges: &[(Stream, u64, u64)]) -> Result<[u64; 4], StoreError> {
    let mut counts = [0; 4];
    for (stream, first, last) in ranges {
        let count = &mut counts[stream.origin.lane as usize];
        if stream.origin.lane == Lane::Control {
            *count += last + 1 - first;
            continue;
        }
        let mut events = log.events(stream, *first)?;
        while let Some((seq, bytes)) = events.next()?.filter(|(seq, _)| seq <= last) {
            *count += u64::from(Event::from_bytes(bytes).is_ok_and(|event| event.ends_payload()));
            if seq == *last {
                break;
            }
        }
    }
    Ok(counts)
}

/// Of the payloads that stand whole behind `after` the one of the fewest events, the last of these: where it begins, and how many they are.
///
/// # Errors
/// What the log says.
pub fn shortest(log: &dyn Log, stream: &Stream, after: u64) -> Result<Option<(u64, u64)>, StoreError> {
    let (mut shortest, mut first): (Option<(u64, u64)>, Option<u64>) = (None, None);
    let mut events = log.events(stream, after + 1)?;
    while let Some((seq, bytes)) = events.next()? {
        let Ok(event) = Event::from_bytes(bytes) else { continue };
        let (index, count) = event.ext.part.map_or((0, 1), |part| (part.index, part.count));
        first = if index == 0 { Some(seq) } else { first.filter(|first| first + index == seq) };
        if let Some(first) = first.filter(|_| event.ends_payload() && shortest.is_none_or(|(_, least)| count <= least)) {
            shortest = Some((first, count));
        }
    }
    Ok(shortest)
}

/// Read the payload that begins with `first` at `seq` of `stream`. `None` when a part of it is not there: the run is void, or not here yet.
///
/// # Errors
/// What the log says.
pub fn facts(log: &dyn Log, stream: &Stream, seq: u64, first: &Event<'_>) -> Result<Option<Facts>, StoreError> {
    let (mut sha, mut text, mut len) = (Sha256::new(), Utf8::default(), 0);
    let whole = each_piece(log, stream, seq, first, |piece| {
        sha.update(piece);
        text.feed(piece);
        len += piece.len() as u64;
        Ok::<_, StoreError>(())
    })?;
    Ok(whole.then(|| Facts { len, sha256: Hash(sha.finalize().into()), is_text: text.is_whole() }))
}

/// Lend the payload that begins with `first` piece by piece. False when it ends before its last part; [`facts`] says so beforehand.
///
/// # Errors
/// What the log or `take` says.
pub fn each_piece<E: From<StoreError>>(
    log: &dyn Log,
    stream: &Stream,
    seq: u64,
    first: &Event<'_>,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<bool, E> {
    let Some(Part { count, .. }) = first.ext.part else { return take(first.payload).map(|()| true) };
    take(first.payload)?;
    let mut events = log.events(stream, seq + 1)?;
    for index in 1..count {
        let Some((at, bytes)) = events.next()? else { return Ok(false) };
        let part = Event::from_bytes(bytes).ok();
        let next = part.filter(|part| at == seq + index && part.ext.part == Some(Part { index, count }) && part.kind == first.kind);
        let Some(part) = next else { return Ok(false) };
        take(part.payload)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::FakeClock;
    use crate::ports::memory_store::MemoryStore;
    use crate::ports::store::{Head, Store as _};
    use crate::push::{Fields, Pusher};
    use bundle_format::chain::Run;
    use bundle_format::hlc::Hlc;
    use bundle_format::ids::{Incarnation, NodeId, Origin};
    use std::rc::Rc;

    fn stream() -> Stream {
        Stream::main(Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Bulk, audience: None })
    }

    fn pushed(payload: &[u8]) -> MemoryStore {
        let mut store = MemoryStore::default();
        let fields = Fields { kind: "scan".into(), ..Fields::default() };
        let mut pusher = Pusher::new(&mut store, Rc::new(FakeClock::default()), &NodeId([1; 8]), &[stream()]);
        pusher.push(&fields, payload.len() as u64, &mut &*payload).unwrap();
        pusher.sync().unwrap();
        store
    }

    fn first(store: &MemoryStore) -> Vec<u8> {
        let mut events = store.events(&stream(), 1).unwrap();
        events.next().unwrap().unwrap().1.to_vec()
    }

    #[test]
    fn a_payload_comes_out_as_it_went_in() {
        let snowmen = "☃".repeat(5000); // characters lie across the ends of parts
        for (payload, is_text) in
            [(&b""[..], true), (b"{}", true), (b"\xff", false), (snowmen.as_bytes(), true), (&snowmen.as_bytes()[..14_999], false)]
        {
            let store = pushed(payload);
            let bytes = first(&store);
            let event = Event::from_bytes(&bytes).unwrap();
            let mut out = Vec::new();
            let take = |piece: &[u8]| {
                out.extend_from_slice(piece);
                Ok::<_, StoreError>(())
            };
            assert!(each_piece(&store, &stream(), 1, &event, take).unwrap());
            assert_eq!(out, payload);
            let facts = facts(&store, &stream(), 1, &event).unwrap().unwrap();
            assert_eq!((facts.len, facts.is_text), (payload.len() as u64, is_text));
            assert_eq!(facts.sha256.0, <[u8; 32]>::from(Sha256::digest(payload)));
        }
    }

    /// Three parts, of which the last stands at 3.
    #[test]
    fn a_payload_in_parts_is_one_record_with_its_last_part() {
        let store = pushed(&[7; 10_000]);
        for (first, last, want) in [(1, 3, 1), (1, 2, 0), (3, 3, 1), (2, 3, 1)] {
            assert_eq!(count(&store, &[(stream(), first, last)]).unwrap(), [0, 0, 0, want], "{first}-{last}");
        }
    }

    #[test]
    fn a_run_that_does_not_reach_its_last_part_is_void() {
        let whole = pushed(&[7; 10_000]);
        let mut parts = Vec::new();
        let mut events = whole.events(&stream(), 1).unwrap();
        while let Some((_, bytes)) = events.next().unwrap() {
            parts.push(bytes.to_vec());
        }
        for (order, there) in [(&[0, 1, 2][..], true), (&[0, 1], false), (&[0, 2, 1], false), (&[0, 0, 1, 2], false), (&[0, 1, 2, 2], true)] {
            let mut store = MemoryStore::default();
            let run = Run::link(bundle_format::chain::Position::start(&stream().origin), order.iter().map(|part| parts[*part].as_slice()).collect());
            store.append(&stream(), &run, Hlc(1), &[]).unwrap();
            let Head { base, .. } = store.head(&stream()).unwrap();
            assert_eq!(base.seq, 0);
            let event = Event::from_bytes(&parts[0]).unwrap();
            assert_eq!(facts(&store, &stream(), 1, &event).unwrap().is_some(), there, "{order:?}");
        }
    }
}
