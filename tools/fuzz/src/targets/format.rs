//! Values of the format by themselves: CBOR, events, manifests, ranges, messages.

use crate::domain::{DOMAIN, fixture_files, unhex, unseal_inner};
use bundle_format::cbor::Reader;
use bundle_format::chain::{Position, digest, log_id};
use bundle_format::event::Event;
use bundle_format::limits::{CBOR_DEPTH_MAX, RANGE_RAW_LEN_MAX};
use bundle_format::logs::{LogTable, Logs};
use bundle_format::manifest::{Manifest, NodeTable};
use bundle_format::message::{Message, frame_len};
use bundle_format::mix;
use bundle_format::range::Range;

/// R2.1-a to g: one value, one spelling.
pub fn cbor(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(lent) = reader.any() else {
        return assert!(Reader::new(bytes).item().is_err() || bytes.contains(&0xf6), "`item` allows null, and nothing else, beyond `any`");
    };
    assert_eq!(lent, &bytes[..reader.position()], "what is lent is what was walked");
    let mut rest = lent;
    let value: ciborium::Value = ciborium::from_reader(&mut rest).expect("ciborium reads what we accept");
    assert!(rest.is_empty() && depth(&value) <= CBOR_DEPTH_MAX);
    let mut written = Vec::new();
    ciborium::into_writer(&value, &mut written).expect("a Vec takes every write");
    assert_eq!(written, lent, "one value has one spelling (R2.1-a)");
}

fn depth(value: &ciborium::Value) -> usize {
    let below = match value {
        ciborium::Value::Array(items) => items.iter().map(depth).max(),
        ciborium::Value::Map(entries) => entries.iter().map(|(_, value)| depth(value)).max(),
        _ => None,
    };
    1 + below.unwrap_or(0)
}

pub fn cbor_seeds() -> Vec<Vec<u8>> {
    let written =
        ["83010203", "a3000101820304206161", "818181818181811bffffffffffffffff", "4401020304", "6449455446", "f5", "f6", "3bffffffffffffffff"];
    written.iter().map(|text| unhex(text)).chain(DOMAIN.roster_events.clone()).chain(event_seeds()).collect()
}

/// What was read is written again in the same bytes, unless something of it was skipped (R2.1-h): then in fewer.
fn written_again(what: &str, read: &[u8], written: &[u8]) {
    assert!(written == read || written.len() < read.len(), "{what}: one value has one spelling");
}

/// SPEC §3.2.
pub fn event(bytes: &[u8]) {
    let Ok(event) = Event::from_bytes(bytes) else { return };
    let again = event.to_bytes().expect("what was read can be written");
    assert_eq!(Event::from_bytes(&again).as_ref(), Ok(&event));
    written_again("an event", bytes, &again);
}

pub fn event_seeds() -> Vec<Vec<u8>> {
    let texts = fixture_files("events/accept", "hex").into_iter().chain(fixture_files("events/reject", "hex"));
    texts.map(|text| unhex(&String::from_utf8_lossy(&text))).filter(|event| event.len() <= 2048).collect()
}

/// SPEC §4.2.
pub fn manifest(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let Ok(manifest) = Manifest::read(&mut reader) else { return };
    let again = manifest.to_bytes().expect("its table names every node in it");
    assert_eq!(Manifest::read(&mut Reader::new(&again)).as_ref(), Ok(&manifest));
    written_again("a manifest", &bytes[..reader.position()], &again);
}

pub fn manifest_seeds() -> Vec<Vec<u8>> {
    inners().into_iter().map(|(manifest, _)| manifest).collect()
}

/// SPEC §4.3, §4.4. The first byte chooses how histories are named.
pub fn range(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let mut numbered = LogTable::default();
    DOMAIN.writers.iter().for_each(|origin| numbered.push(*origin));
    let places = NodeTable::of(DOMAIN.writers.iter().copied());
    let logs: &dyn Logs = if choice % 2 == 0 { &places } else { &numbered };
    let mut reader = Reader::new(bytes);
    let Ok(range) = Range::read(&mut reader, logs) else { return };
    let again = range.to_bytes(logs).expect("what was named can be named");
    assert_eq!(again.len() as u64, range.wire_len(logs).expect("as above"), "the length is known before");
    assert_eq!(Range::read(&mut Reader::new(&again), logs).as_ref(), Ok(&range));
    if choice % 2 == 0 {
        written_again("a range", &bytes[..reader.position()], &again); // on a link a history may be named in full or by its number
    }
    unpacks_to_what_it_claims(range, choice / 2 % 2 == 1);
}

fn unpacks_to_what_it_claims(range: Range, primed: bool) {
    let (raw_len, count, first, origin) = (range.raw_len, range.count, range.first, range.origin);
    let base = if first == 1 { log_id(&origin) } else { range.base.unwrap_or(log_id(&origin)) };
    let prefix: Vec<u8> = DOMAIN.roster_events.concat();
    let Ok(verified) = range.verify(base, &DOMAIN.roster, primed.then_some(&prefix)) else { return };
    assert!(raw_len <= RANGE_RAW_LEN_MAX && verified.raw().len() == raw_len && verified.count() as u64 == count);
    let start = Position { seq: first - 1, hash: base };
    let end = verified.events().fold(start, |position, (_, event)| position.then(&digest(event)));
    assert_eq!((verified.start(), verified.end()), (start, end));
}

/// SPEC §4.8. The first bytes choose how long the output is claimed to be, and whether there is a prefix.
pub fn mixed(bytes: &[u8]) {
    let Some(([high, low, choice], data)) = bytes.split_first_chunk::<3>() else { return };
    let raw_len = usize::from(*high % 16) << 8 | usize::from(*low);
    let prefix = if choice % 2 == 1 { DOMAIN.roster_events.concat() } else { Vec::new() };
    let Ok(raw) = mix::decode(&prefix, data, raw_len) else { return };
    assert_eq!(raw.len(), raw_len);
    let again = mix::encode(&prefix, &raw, u32::from(data[0])).expect("what was unpacked can be packed");
    assert_eq!(again, data, "one range of bytes has one spelling");
}

pub fn mixed_seeds() -> Vec<Vec<u8>> {
    let prefix = DOMAIN.roster_events.concat();
    let mut seeds = Vec::new();
    for raw in event_seeds().iter().filter(|event| (1..600).contains(&event.len())).step_by(5) {
        for (choice, prefix) in [(0, &[][..]), (1, &prefix[..])] {
            let data = mix::encode(prefix, raw, mix::SLOTS_LOG_MIN).expect("it is short");
            let len = u16::try_from(raw.len()).expect("it is short").to_be_bytes();
            seeds.push([&len[..], &[choice], &data].concat());
        }
    }
    seeds
}

/// Ranges of the fixtures' files, named by places in the table of all who write, and by numbers.
pub fn range_seeds() -> Vec<Vec<u8>> {
    let places = NodeTable::of(DOMAIN.writers.iter().copied());
    let ranges: Vec<Range> = inners().into_iter().flat_map(|(_, ranges)| ranges).filter(|range| range.data.len() < 16_384).collect();
    let placed = ranges.iter().filter_map(|range| Some([&[0][..], &range.to_bytes(&places)?].concat()));
    let numbered = ranges.iter().filter_map(|range| Some([&[3][..], &range.to_bytes(&LogTable::default())?].concat()));
    placed.chain(numbered).collect()
}

/// Manifest and ranges of every good file that is small.
fn inners() -> Vec<(Vec<u8>, Vec<Range>)> {
    let files = fixture_files("bundles/accept", "zb");
    let inside = |file: &Vec<u8>| {
        let inner = unseal_inner(file)?;
        let mut reader = Reader::new(&inner);
        let manifest = Manifest::read(&mut reader).ok()?;
        let read = inner[..reader.position()].to_vec();
        let mut ranges = Vec::new();
        while let Ok(range) = Range::read(&mut reader, &manifest.nodes) {
            ranges.push(range);
        }
        Some((read, ranges))
    };
    files.iter().filter(|file| file.len() <= 16_384).filter_map(inside).collect()
}

/// SPEC §7.2: one end's words, one after the other, as they come from a link.
pub fn message(bytes: &[u8]) {
    let (mut logs, mut rest) = (LogTable::default(), bytes);
    while let Ok(Some((head, len))) = frame_len(rest) {
        let Some(body) = rest.get(head..head + len) else { return };
        rest = &rest[head + len..];
        let Ok(message) = Message::read(body, &logs) else { continue };
        let again = message.to_bytes(&logs);
        let (head, len) = frame_len(&again).expect("what we say has a length").expect("and it is there");
        assert_eq!(again.len(), head + len);
        assert_eq!(Message::read(&again[head..], &logs).as_ref(), Ok(&message), "what is said is heard");
        match message {
            Message::Hello(hello) => hello.manifest.vector.iter().for_each(|told| logs.push(told.origin)),
            Message::Range(range) => logs.named(range.origin),
            _ => {}
        }
    }
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    let said = fixture_files("messages/accept", "bin").into_iter().chain(fixture_files("messages/reject", "bin"));
    said.filter(|bytes| bytes.len() <= 16_384).collect()
}
