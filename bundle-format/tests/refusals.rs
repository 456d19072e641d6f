//! One fault each: what a second writer, sharing no code with the crate, writes wrongly on purpose must be refused, with its own code (SPEC §6.1).

mod world;

use bundle_format::chain::Run;
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::{Codec, Compressor, Level};
use bundle_format::ids::Lane;
use bundle_format::limits::{MANIFEST_LEN_MAX, RANGE_DATA_LEN_MAX};
use bundle_format::manifest::Manifest;
use bundle_format::open::{OpenError, SealedBundle};
use bundle_format::range::{Coding, Range};
use bundle_format::seal::SealingKey;
use ciborium::Value;
use std::io::Cursor;
use world::raw::{self, Map, bytes, set, uint, unset};
use world::{World, log, roster, signing_key};

fn open(world: &World, file: &[u8]) -> Result<Manifest, OpenError> {
    let unsealed = SealedBundle::read(Cursor::new(file))?.unseal(&[&world.hub])?;
    let mut verified = unsealed.verify(&mut world.trust())?;
    while verified.next_range()?.is_some() {}
    verified.finish()
}

/// `"good"`, or the code of the refusal.
fn verdict(world: &World, file: &[u8]) -> String {
    open(world, file).map_or_else(|error| error.code().to_string(), |_| "good".to_owned())
}

#[track_caller]
fn check(claim: &str, expected: &str, file: &[u8]) {
    let world = World::new();
    let found = open(&world, file);
    let code = found.as_ref().map_or_else(|error| error.code().to_string(), |_| "good".to_owned());
    assert_eq!(code, expected, "{claim}: {found:?}");
}

fn good_ranges(world: &World) -> [Range; 2] {
    [world.range(&roster(), 0..2, Coding::Stored), world.range(&log(1, Lane::Routine, 40), 0..40, Coding::Zstd)]
}

#[track_caller]
fn check_header(claim: &str, expected: &str, edit: impl FnOnce(&mut Map)) {
    let world = World::new();
    let mut header = raw::header(&world);
    edit(&mut header);
    check(claim, expected, &raw::file(&world, header, &raw::inner(&good_ranges(&world))));
}

#[track_caller]
fn check_inner(claim: &str, expected: &str, inner: &[u8]) {
    let world = World::new();
    check(claim, expected, &raw::file(&world, raw::header(&world), inner));
}

/// A bundle whose one range is `edit`ed.
#[track_caller]
fn check_range(claim: &str, expected: &str, coding: Coding, edit: impl FnOnce(&mut Map)) {
    let world = World::new();
    let ranges = [world.range(&log(1, Lane::Routine, 40), 0..40, coding)];
    let mut range = raw::range(&raw::nodes(&ranges), &ranges[0]);
    edit(&mut range);
    check_inner(claim, expected, &[raw::map(raw::manifest(&ranges)), raw::map(range)].concat());
}

/// A bundle whose one range holds `events`, however wrong, under a good checkpoint.
#[track_caller]
fn check_events(claim: &str, expected: &str, events: &[Vec<u8>]) {
    let world = World::new();
    let mut log = log(1, Lane::Routine, 0);
    log.events = events.to_vec();
    let range = world.range(&log, 0..events.len(), Coding::Stored);
    check_inner(claim, expected, &raw::inner(&[range]));
}

#[test]
fn what_the_second_writer_writes_well_opens() {
    let world = World::new();
    let ranges = good_ranges(&world);
    check("two ranges", "good", &raw::file(&world, raw::header(&world), &raw::inner(&ranges)));
    check_inner("no range", "good", &raw::inner(&[]));
    check_inner("a pad", "good", &[raw::inner(&ranges), raw::cbor(&bytes(vec![0; 70_000]))].concat());
    check_inner("a pad of nothing", "good", &[raw::inner(&ranges), vec![0x40]].concat());
    let pad_to_border = 65_536 - raw::inner(&ranges).len() - 3;
    check_inner("a full last chunk", "good", &[raw::inner(&ranges), raw::cbor(&bytes(vec![0; pad_to_border]))].concat());
}

#[test]
fn keys_to_come_are_skipped_when_odd_and_refused_when_even() {
    let odd = || Value::Array(vec![Value::Map(vec![(uint(0), Value::Text("später".into()))]), Value::Integer((-7).into())]);
    check_header("an odd key", "good", |header| set(header, 9, odd()));
    check_header("an even key", "Z223", |header| set(header, 10, uint(1)));
    check_header("a key below 0", "Z223", |header| header.push((Value::Integer((-1).into()), uint(1))));
    check_header("an odd key with a float", "Z217", |header| set(header, 9, Value::Float(1.5)));
    check_header("an odd key with a null", "Z217", |header| set(header, 9, Value::Null));
    check_range("an odd key", "good", Coding::Zstd, |range| set(range, 15, odd()));
    check_range("an even key", "Z223", Coding::Zstd, |range| set(range, 16, uint(1)));
    check_range("a key below 0", "Z223", Coding::Zstd, |range| range.push((Value::Integer((-2).into()), uint(1))));
    for (key, expected) in [(7, "good"), (2, "Z223")] {
        let mut manifest = raw::manifest(&[]);
        set(&mut manifest, key, odd());
        check_inner("a manifest", expected, &raw::map(manifest));
    }
    let event = |key: i64| {
        raw::cbor(&Value::Array(vec![uint(1), Value::Text("t".into()), bytes("p"), Value::Map(vec![(Value::Integer(key.into()), odd())])]))
    };
    check_events("an odd ext", "good", &[event(99)]);
    check_events("an even ext", "Z223", &[event(98)]);
    check_events("an ext below 0", "Z223", &[event(-1)]);
}

#[test]
fn a_header_must_be_as_the_grammar_says() {
    let recipient = |world: &World| raw::recipient(&world.hub.public().0);
    let world = World::new();
    check_header("version 2", "Z216", |header| set(header, 0, uint(2)));
    check_header("version 2 with keys of its own", "Z216", |header| {
        set(header, 0, uint(2));
        set(header, 12, uint(2));
        unset(header, 4);
    });
    check_header("no version", "Z217", |header| unset(header, 0));
    check_header("a version that is no number", "Z217", |header| set(header, 0, bytes("1")));
    check_header("no domain", "Z217", |header| unset(header, 2));
    check_header("no sender", "Z217", |header| unset(header, 4));
    check_header("no key", "Z217", |header| unset(header, 6));
    check_header("no recipients", "Z217", |header| unset(header, 8));
    check_header("nobody", "Z217", |header| set(header, 8, Value::Array(vec![])));
    check_header("64 recipients", "good", |header| set(header, 8, Value::Array(vec![recipient(&world); 64])));
    check_header("65 recipients", "Z218", |header| set(header, 8, Value::Array(vec![recipient(&world); 65])));
    check_header("beyond 8 KiB", "Z218", |header| set(header, 9, bytes([0; 9000])));
    check_header("lane 4", "Z217", |header| set(header, 3, uint(4)));
    check_header("a date that is a text", "Z217", |header| set(header, 1, Value::Text("2026".into())));
    check_header("a short hint", "Z217", |header| set(header, 2, bytes([0; 3])));
    check_header("a weak key", "Z217", |header| set(header, 6, bytes([0; 32])));
    check_header("keys out of order", "Z217", |header| header.swap(1, 2));
    check_header("a key twice", "Z217", |header| header.insert(1, (uint(2), bytes([0; 4]))));
    check_header("another domain", "Z613", |header| set(header, 2, bytes([1, 2, 3, 4])));
    let stranger = SealingKey::from_bytes([3; 32]);
    check_header("for somebody else", "Z611", |header| set(header, 8, Value::Array(vec![raw::recipient(&stranger.public().0)])));
    check_header("for us among others", "good", |header| {
        set(header, 8, Value::Array(vec![raw::recipient(&stranger.public().0), recipient(&world)]));
    });
    check_header("a sealed key that does not open", "Z611", |header| {
        let Value::Array(mut recipient) = recipient(&world) else { unreachable!() };
        recipient[1].as_bytes_mut().unwrap()[79] ^= 1;
        set(header, 8, Value::Array(vec![Value::Array(recipient)]));
    });
}

#[test]
fn the_frame_of_a_file_must_be_whole() {
    let world = World::new();
    let header = raw::map(raw::header(&world));
    let chunks = raw::chunks(&header, &[raw::inner(&good_ranges(&world)), raw::cbor(&bytes(vec![0; 140_000]))].concat());
    assert_eq!(chunks.len(), 3);
    let sign = |chunks: &[Vec<u8>]| raw::signed(&world.authority, raw::body(&header, chunks));
    let file = sign(&chunks);
    check("three chunks", "good", &file);
    check("no magic", "Z211", b"PK\x03\x04 an archive");
    check("one byte, not ours", "Z211", b"x");
    check("nothing", "Z212", b"");
    check("one byte, ours", "Z212", &raw::MAGIC[..1]);
    check("a byte more", "Z219", &[file.as_slice(), &[0]].concat());
    check("a file behind the file", "Z219", &[file.as_slice(), &file].concat());
    check("a rotten byte in a chunk", "Z213", &flipped(&file, header.len() + 1000));
    check("a rotten checksum", "Z213", &flipped(&file, file.len() - 1));
    check("another's signature", "Z215", &raw::signed(&signing_key(4), raw::body(&header, &chunks)));
    check("chunks swapped", "Z221", &sign(&[chunks[1].clone(), chunks[0].clone(), chunks[2].clone()]));
    check("the last chunk gone", "Z221", &sign(&chunks[..2]));
    check("the first chunk gone", "Z221", &sign(&chunks[1..]));
    check("a chunk twice", "Z221", &sign(&[chunks[0].clone(), chunks[0].clone(), chunks[1].clone(), chunks[2].clone()]));
    let mut flipped_tag = chunks.clone();
    *flipped_tag[1].last_mut().unwrap() ^= 0x80;
    check("a tag flipped", "Z221", &sign(&flipped_tag));
    check("no chunk at all", "Z213", &sign(&[]));
    check("a short chunk before the last", "Z213", &sign(&[chunks[0][..500].to_vec(), chunks[1].clone()]));
    check("a chunk of a tag alone", "Z213", &sign(&[chunks[0][..16].to_vec()]));
    check("a chunk too long", "Z213", &sign(&[vec![0; 65_553]]));
    check("an empty chunk", "Z213", &sign(&[vec![]]));
    let small = [raw::MAGIC.as_slice(), &header, &[0x58, 17], &[0; 17]].concat();
    check("a long head", "Z213", &raw::signed(&world.authority, small));
    check("a trailer with another head", "Z213", &raw::with_crc([raw::body(&header, &chunks), vec![0x83, 0x58, 64], vec![0; 64]].concat()));
}

fn flipped(file: &[u8], at: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at] ^= 1;
    file
}

#[test]
fn the_inside_must_be_as_the_grammar_says() {
    let world = World::new();
    let ranges = good_ranges(&world);
    let [roster_range, range] = &ranges;
    let nodes = raw::nodes(&ranges);
    let item = |range: &Range| raw::map(raw::range(&nodes, range));
    let manifest = raw::map(raw::manifest(&ranges));
    let pad = |byte: u8| raw::cbor(&bytes([byte; 100]));
    check_inner("a range before the manifest", "Z222", &item(range));
    check_inner("a manifest twice", "Z222", &[manifest.clone(), manifest.clone()].concat());
    check_inner("the roster behind another", "Z222", &[manifest.clone(), item(range), item(roster_range)].concat());
    check_inner("a pad that says something", "Z222", &[manifest.clone(), pad(1)].concat());
    check_inner("two pads", "Z222", &[manifest.clone(), pad(0), pad(0)].concat());
    check_inner("a range behind the pad", "Z222", &[manifest.clone(), pad(0), item(range)].concat());
    check_inner("a pad that is cut", "Z222", &[manifest.clone(), pad(0)[..50].to_vec()].concat());
    check_inner("a range that is cut", "Z222", &[manifest.clone(), item(range)[..150].to_vec()].concat());
    check_inner("a manifest that is cut", "Z222", &manifest[..manifest.len() - 1]);
    check_inner("a text behind the ranges", "Z222", &[manifest.clone(), raw::cbor(&Value::Text("hello".into()))].concat());
    check_inner("an array of ranges", "Z222", &[manifest, raw::cbor(&Value::Array(vec![]))].concat());
    let edited = |edit: &dyn Fn(&mut Map)| {
        let mut manifest = raw::manifest(&ranges);
        edit(&mut manifest);
        raw::map(manifest)
    };
    let told = |node: u64, lane: u64, seq: u64| Value::Array(vec![uint(node), bytes([1; 4]), uint(lane), Value::Null, uint(seq), bytes([0; 4])]);
    let check_told =
        |claim: &str, expected: &str, value: Value| check_inner(claim, expected, &edited(&|map| set(map, 1, Value::Array(vec![value.clone()]))));
    check_told("a vector", "good", told(1, 2, 7));
    check_told("a node beyond the table", "Z222", told(2, 2, 7));
    check_told("lane 4", "Z222", told(0, 4, 7));
    check_told("nothing held", "Z222", told(0, 2, 0));
    check_told("a position beyond 2^63", "Z222", told(0, 2, 1 << 63));
    check_told("an entry too short", "Z222", Value::Array(vec![uint(0)]));
    check_inner("no node table", "Z222", &edited(&|map| unset(map, 0)));
    check_inner("no vector", "Z222", &edited(&|map| unset(map, 1)));
    check_inner("a table out of order", "Z222", &edited(&|map| set(map, 0, Value::Array(vec![bytes([2; 8]), bytes([1; 8])]))));
    check_inner("a table with a node twice", "Z222", &edited(&|map| set(map, 0, Value::Array(vec![bytes([2; 8]), bytes([2; 8])]))));
    check_inner("a receipt without a number", "Z222", &edited(&|map| set(map, 3, Value::Array(vec![bytes([0; 4])]))));
    let notice = |low: u8, high: u8| {
        let log = Value::Array(vec![uint(0), bytes([1; 4]), uint(2), Value::Null]);
        Value::Array(vec![Value::Array(vec![log, uint(5), bytes([low; 8]), bytes([high; 8])])])
    };
    check_inner("a fork notice", "good", &edited(&|map| set(map, 5, notice(1, 2))));
    check_inner("a fork notice the wrong way round", "Z222", &edited(&|map| set(map, 5, notice(2, 1))));
    check_inner("a manifest beyond 1 MiB", "Z218", &edited(&|map| set(map, 11, bytes(vec![0; MANIFEST_LEN_MAX]))));
    check_inner("a claim beyond everything", "Z218", &[edited(&|_| ()), vec![0xa1, 9, 0x5b, 0, 0, 0, 9, 0, 0, 0, 0], vec![0; 2 << 20]].concat());
}

#[test]
fn a_range_must_be_as_the_grammar_says() {
    use Coding::{Stored, Zstd};
    for key in [0, 2, 4, 6, 8, 10, 12] {
        check_range("a key is missing", "Z222", Zstd, |range| unset(range, key));
    }
    check_range("a node beyond the table", "Z222", Zstd, |range| set(range, 0, Value::Array(vec![uint(9), bytes([1; 4]), uint(2), Value::Null])));
    check_range("from 0", "Z222", Zstd, |range| set(range, 2, uint(0)));
    check_range("beyond 2^63", "Z222", Zstd, |range| set(range, 2, uint((1 << 63) - 5)));
    check_range("no events", "Z222", Zstd, |range| set(range, 4, uint(0)));
    check_range("4097 events", "Z218", Zstd, |range| set(range, 4, uint(4097)));
    check_range("a codec to come", "Z223", Zstd, |range| set(range, 6, Value::Array(vec![uint(4), uint(9)])));
    check_range("more than 1 MiB raw", "Z218", Zstd, |range| set(range, 6, Value::Array(vec![uint(1), uint((1 << 20) + 1)])));
    check_range("more data than a range may have", "Z218", Zstd, |range| set(range, 8, bytes(vec![0; RANGE_DATA_LEN_MAX + 1])));
    check_range("a prefix nobody needs", "Z222", Zstd, |range| set(range, 14, Value::Array(vec![uint(1), uint(1)])));
    check_range("a short base", "Z222", Zstd, |range| set(range, 12, bytes([0; 31])));
    check_range("no checkpoint", "Z222", Zstd, |range| set(range, 10, Value::Array(vec![])));
    let at = |offset: u64| Value::Array(vec![uint(offset), Value::Array(vec![uint(1), bytes([0; 64])])]);
    check_range("a checkpoint before the first", "Z222", Zstd, |range| set(range, 10, Value::Array(vec![at(0), at(40)])));
    check_range("no checkpoint at the end", "Z222", Zstd, |range| set(range, 10, Value::Array(vec![at(39)])));
    check_range("a checkpoint behind the end", "Z222", Zstd, |range| set(range, 10, Value::Array(vec![at(41)])));
    check_range("a checkpoint twice", "Z222", Zstd, |range| set(range, 10, Value::Array(vec![at(40), at(40)])));
    check_range("fewer raw bytes than claimed", "Z224", Stored, |range| set(range, 6, Value::Array(vec![uint(0), uint(9)])));
    check_range("fewer events than claimed", "Z226", Stored, |range| {
        set(range, 4, uint(41));
        set(range, 10, Value::Array(vec![at(41)]));
    });
    check_range("more events than claimed", "Z226", Stored, |range| {
        set(range, 4, uint(39));
        set(range, 10, Value::Array(vec![at(39)]));
    });
    check_range("another's signature", "Z225", Zstd, |range| set(range, 10, Value::Array(vec![at(40)])));
    check_range("a key the roster lacks", "Z615", Zstd, |range| {
        let checkpoint = Value::Array(vec![uint(40), Value::Array(vec![uint(2), bytes([0; 64])])]);
        set(range, 10, Value::Array(vec![checkpoint]));
    });
    check_range("a base that is not the start", "Z225", Zstd, |range| set(range, 12, bytes([0; 32])));
    check_range("moved to another place", "Z225", Zstd, |range| set(range, 2, uint(2)));
}

#[test]
fn compressed_data_must_be_what_it_claims() {
    use Coding::Zstd;
    let log = log(1, Lane::Routine, 40);
    let raw = log.events.concat();
    let codec = |raw_len: usize| Value::Array(vec![uint(1), uint(raw_len as u64)]);
    let frame = |raw: &[u8]| Compressor::new().unwrap().compress(raw, Level::SMALL).unwrap();
    let with_data = |claim: &str, expected: &str, data: Vec<u8>| check_range(claim, expected, Zstd, |range| set(range, 8, bytes(data)));
    with_data("the same", "good", frame(&raw));
    with_data("nothing", "Z224", vec![]);
    with_data("noise", "Z224", vec![0x5a; 300]);
    with_data("a frame cut", "Z224", frame(&raw)[..100].to_vec());
    with_data("two frames", "Z224", frame(&raw).repeat(2));
    with_data("a byte behind the frame", "Z224", [frame(&raw), vec![0]].concat());
    with_data("with its magic", "Z224", [vec![0x28, 0xb5, 0x2f, 0xfd], frame(&raw)].concat());
    with_data("more than claimed", "Z224", frame(&[raw.clone(), raw.clone()].concat()));
    with_data("less than claimed", "Z224", frame(&raw[..raw.len() - 1]));
    with_data("another window", "good", large_window(&raw, 20));
    with_data("too large a window", "Z224", large_window(&raw, 21));
    check_range("a bomb", "Z224", Zstd, |range| {
        set(range, 6, codec(1000));
        set(range, 8, bytes(frame(&vec![0; 1 << 20])));
    });
}

/// A frame of stored blocks with a window descriptor of its own (RFC 8878 §3.1.1): no content size, no checksum.
fn large_window(raw: &[u8], window_log: u8) -> Vec<u8> {
    let block_head = u32::try_from(raw.len()).unwrap() << 3 | 1; // last block, raw
    [&[0x00, (window_log - 10) << 3], &block_head.to_le_bytes()[..3], raw].concat()
}

#[test]
fn an_event_must_be_as_the_grammar_says() {
    let event = |kind: &str, payload: Value| vec![uint(7 << 16), Value::Text(kind.into()), payload];
    let cbor = |fields: Vec<Value>| raw::cbor(&Value::Array(fields));
    let with_ext = |ext: Map| cbor([event("t", bytes("p")), vec![Value::Map(ext)]].concat());
    let origin = Value::Array(vec![bytes([0; 8]), bytes([0; 4]), uint(2), Value::Null]);
    let id = |seq: u64| Value::Array(vec![origin.clone(), uint(seq), bytes([0; 8])]);
    let text = |len: usize| Value::Text("x".repeat(len));
    check_events("a small one", "good", &[cbor(event("t", bytes("")))]);
    check_events("4 KiB", "good", &[cbor(event("t", bytes([0; 4096])))]);
    check_events("4 KiB and a byte", "Z226", &[cbor(event("t", bytes([0; 4097])))]);
    check_events("no type", "Z226", &[cbor(event("", bytes("")))]);
    check_events("a type of 129 bytes", "Z226", &[cbor(event(&"x".repeat(129), bytes("")))]);
    check_events("a payload that is a text", "Z226", &[cbor(event("t", text(3)))]);
    check_events("two fields", "Z226", &[cbor(event("t", bytes(""))[..2].to_vec())]);
    check_events("five fields", "Z226", &[cbor([event("t", bytes("")), vec![uint(1), uint(1)]].concat())]);
    check_events("an empty ext", "Z226", &[with_ext(vec![])]);
    check_events("ids", "good", &[with_ext(vec![(uint(3), Value::Array(vec![id(1); 64])), (uint(13), id(5))])]);
    check_events("65 ids", "Z226", &[with_ext(vec![(uint(3), Value::Array(vec![id(1); 65]))])]);
    check_events("an id of position 0", "Z226", &[with_ext(vec![(uint(13), id(0))])]);
    check_events("op 0", "Z226", &[with_ext(vec![(uint(5), uint(0))])]);
    check_events("op 3", "Z226", &[with_ext(vec![(uint(5), uint(3))])]);
    for key in [1, 7, 9, 11] {
        check_events("200 bytes", "good", &[with_ext(vec![(uint(key), text(200))])]);
        check_events("201 bytes", "Z226", &[with_ext(vec![(uint(key), text(201))])]);
        check_events("an empty text", "Z226", &[with_ext(vec![(uint(key), text(0))])]);
    }
    let part = |index: u64, count: u64, len: usize, ext: Map| {
        let place = (uint(2), Value::Array(vec![uint(index), uint(count)]));
        cbor(vec![uint(1), Value::Text("t".into()), bytes(vec![0; len]), Value::Map([ext, vec![place]].concat())])
    };
    let keyed = || vec![(uint(1), Value::Text("k".into()))];
    check_events("two parts", "good", &[part(0, 2, 4096, keyed()), part(1, 2, 1, vec![])]);
    check_events("half a payload", "good", &[part(0, 2, 4096, vec![])]);
    check_events("a part that is not full", "Z226", &[part(0, 2, 4095, vec![])]);
    check_events("an empty last part", "Z226", &[part(1, 2, 0, vec![])]);
    check_events("a last part that says more", "Z226", &[part(1, 2, 5, keyed())]);
    check_events("one part of one", "Z226", &[part(0, 1, 5, vec![])]);
    check_events("part 2 of 2", "Z226", &[part(2, 2, 5, vec![])]);
    check_events("4097 parts", "Z226", &[part(0, 4097, 4096, vec![])]);
    let mut deep = uint(1);
    for _ in 0..7 {
        deep = Value::Array(vec![deep]);
    }
    check_events("8 levels", "good", &[with_ext(vec![(uint(99), deep.clone())])]);
    check_events("9 levels", "Z226", &[with_ext(vec![(uint(99), Value::Array(vec![deep]))])]);
    check_events("a deep bomb", "Z226", &[[vec![0x84, 1, 0x61, b't', 0x40, 0xa1, 0x18, 99], vec![0x81; 9000]].concat()]);
    check_events("not UTF-8", "Z226", &[vec![0x83, 1, 0x61, 0xff, 0x40]]);
    check_events("a long head", "Z226", &[vec![0x83, 0x18, 1, 0x61, b't', 0x40]]);
    check_events("an indefinite payload", "Z226", &[vec![0x83, 1, 0x61, b't', 0x5f, 0xff]]);
}

#[test]
fn trust_decides_and_nothing_is_unpacked_for_a_stranger() {
    let world = World::new();
    let sealed_by = |number: u8, ranges: &[Range]| {
        let key = signing_key(number).verifying_key();
        let mut header = raw::header(&world);
        set(&mut header, 4, bytes(key.node_id().0));
        set(&mut header, 6, bytes(key.as_bytes()));
        let header = raw::map(header);
        raw::signed(&signing_key(number), raw::body(&header, &raw::chunks(&header, &raw::inner(ranges))))
    };
    let [roster_range, mut range] = good_ranges(&world);
    check("a member", "good", &sealed_by(3, &[roster_range.clone(), range.clone()]));
    check("a stranger", "Z612", &sealed_by(30, &[roster_range.clone(), range.clone()]));
    check("a stranger with nothing", "Z612", &sealed_by(30, &[]));
    range.data = vec![0x5a; 300];
    check("a stranger with noise", "Z612", &sealed_by(30, &[roster_range.clone(), range]));
    let foreign = log(30, Lane::Routine, 3);
    check("a stranger's events", "Z615", &sealed_by(3, &[world.range(&foreign, 0..3, Coding::Stored)]));
    check("a compressed roster", "Z222", &sealed_by(3, &[world.range(&log(0, Lane::Control, 50), 0..50, Coding::Zstd)]));
    let mut forged = world.range(&log(1, Lane::Routine, 3), 0..3, Coding::Stored);
    forged.checkpoints[0].1 = world.checkpoint(&log(2, Lane::Routine, 3), 3);
    check("an origin that did not sign", "Z225", &sealed_by(3, &[forged]));
}

#[test]
fn a_relay_cannot_alter_reorder_or_leave_out() {
    let world = World::new();
    let honest = log(1, Lane::Routine, 10);
    let lie = |claim: &str, part: std::ops::Range<usize>, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut log = log(1, Lane::Routine, 10);
        change(&mut log.events);
        let run = Run::link(honest.position(part.start as u64), log.events[part.clone()].iter().map(Vec::as_slice).collect());
        let signed: Checkpoint = world.checkpoint(&honest, part.end as u64);
        let mut compressor = Compressor::new().unwrap();
        let range = Range::build(honest.origin, &run, &[(part.len() as u64, signed)], Coding::Zstd, &mut compressor).unwrap();
        let expected = if claim == "nothing" { "good" } else { "Z225" };
        check(claim, expected, &raw::file(&world, raw::header(&world), &raw::inner(&[range])));
    };
    lie("nothing", 0..10, &|_| ());
    lie("nothing", 4..7, &|_| ());
    lie("a byte altered", 0..10, &|events| *events[4].last_mut().unwrap() ^= 1);
    lie("two swapped", 4..10, &|events| events.swap(5, 6));
    lie("one repeated for another", 0..10, &|events| events[5] = events[4].clone());
    lie("one from later", 0..5, &|events| events[0] = events[7].clone());
}

#[test]
fn raw_bytes_are_counted_before_they_are_unpacked() {
    let world = World::new();
    let zeros = |index: u8| raw::cbor(&Value::Array(vec![uint(index.into()), Value::Text("t".into()), bytes([0; 4000])]));
    let mut log = log(1, Lane::Routine, 0);
    log.events = (0..250).map(zeros).collect();
    let range = world.range(&log, 0..250, Coding::Zstd);
    assert!(range.codec == Codec::Zstd && range.data.len() * 200 < range.raw_len, "{} of {}", range.data.len(), range.raw_len);
    check("one", "good", &raw::file(&world, raw::header(&world), &raw::inner(std::slice::from_ref(&range))));
    check("five", "Z218", &raw::file(&world, raw::header(&world), &raw::inner(&vec![range.clone(); 5])));
    let mut bundle = world.sealer(1);
    bundle.manifest(&world::manifest(std::slice::from_ref(&range))).unwrap();
    let written = (0..5).map_while(|_| bundle.range(&range).ok()).count();
    assert!((1..5).contains(&written), "the writer stops before the reader would refuse: {written}");
    let (file, _) = bundle.finish().unwrap();
    assert_eq!(verdict(&world, &file), "good");
}

#[test]
fn no_byte_inside_can_be_changed_by_the_sender_without_being_found_out() {
    let world = World::new();
    for coding in [Coding::Stored, Coding::Zstd] {
        let ranges = [world.range(&roster(), 0..2, Coding::Stored), world.range(&log(1, Lane::Routine, 8), 0..8, coding)];
        let events: Vec<Vec<u8>> = [roster().events, log(1, Lane::Routine, 8).events].concat();
        let inner = raw::inner(&ranges);
        let manifest_len = raw::map(raw::manifest(&ranges)).len();
        let read = |inner: &[u8]| {
            let file = raw::file(&world, raw::header(&world), inner);
            let unsealed = SealedBundle::read(Cursor::new(file))?.unseal(&[&world.hub])?;
            let mut verified = unsealed.verify(&mut world.trust())?;
            let mut found = Vec::new();
            while let Some(range) = verified.next_range()? {
                found.extend(range.events().map(|(_, event)| event.to_vec()));
            }
            Ok::<_, OpenError>(found)
        };
        assert_eq!(read(&inner).unwrap(), events);
        for at in 0..inner.len() {
            for mask in [0x01, 0x10, 0x80] {
                let mut inner = inner.clone();
                inner[at] ^= mask;
                match read(&inner) {
                    Ok(found) => assert_eq!(found, events, "byte {at}"), // a tag of the vector, or a bit that zstd does not use
                    Err(error) if at >= manifest_len => {
                        assert!(error.code().as_str() < "Z227" || error.code().as_str() == "Z615", "byte {at}: {error}");
                    }
                    Err(_) => {}
                }
            }
        }
    }
}
