//! A log that rot, a hand or a crash has been at: opened, written to, opened again. The input is a list of changes to a good log of a few segments,
//! because bytes from nowhere never get past a checksum.

use crate::hand::Hand;
use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use bundle_format::sign::Signature;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zbundle::ports::clock::FakeClock;
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::store::{Checkpointed, Log, Store as _, StoreError, Stream};
use zbundle::ports::{Disk as _, MemoryDisk};
use zbundle::wal::{DataKeys, Options, Wal, WalReader};

const FOLDER: &str = "/n/log";
/// Small segments, so that sealed ones, marks and the active one are all within reach of a few changes.
const OPTIONS: Options = Options { segment_len: 6 * 1024, sync_at_open: true };
const FRAME_HEAD_LEN: usize = 31;
const TAG_LEN: usize = 16;

/// Events of each stream, in order.
type Listing = BTreeMap<Stream, Vec<(u64, Vec<u8>)>>;

fn keys() -> DataKeys {
    DataKeys::new(1, [7; 32])
}

fn open(disk: &MemoryDisk, seed: u64) -> Result<Wal, StoreError> {
    let entropy = Rc::new(SeededEntropy(Cell::new(seed)));
    Wal::open_with(Rc::new(disk.clone()), Path::new(FOLDER), &keys(), entropy, Rc::new(FakeClock::default()), OPTIONS)
}

fn stream(number: u8) -> Stream {
    let origin = Origin { node: NodeId([number; 8]), incarnation: Incarnation([number; 4]), lane: Lane::Routine, audience: None };
    Stream { origin, branch: (number == 3).then_some([3; 8]) }
}

fn event(stream: &Stream, seq: u64, story: u8) -> Vec<u8> {
    let mut event = [&stream.origin.node.0[..], &seq.to_be_bytes(), &[story]].concat();
    event.resize(40 + usize::try_from(seq * 37 % 200).unwrap_or(0), story);
    event
}

fn push(wal: &mut Wal, stream: &Stream, count: u64, story: u8) -> Result<(), StoreError> {
    let start = wal.head(stream).map_or(Position::start(&stream.origin), |head| head.end);
    let events: Vec<_> = (1..=count).map(|n| event(stream, start.seq + n, story)).collect();
    let run = Run::link(start, events.iter().map(Vec::as_slice).collect());
    let checkpoint = Checkpoint { key_number: 1, signature: Signature([1; 64]) };
    wal.append(stream, &run, Hlc(run.end().seq), &[Checkpointed { position: run.end(), checkpoint }])?;
    wal.sync()
}

/// The good log, its events, and the paths of its segments.
fn good() -> (MemoryDisk, Listing, Vec<PathBuf>) {
    let disk = MemoryDisk::new();
    let mut wal = open(&disk, 1).expect("a new log opens");
    for round in 0..9 {
        for number in 1..=3 {
            push(&mut wal, &stream(number), 3 + round % 3, number).expect("a disk in memory takes it");
        }
    }
    drop(wal);
    let wal = open(&disk, 2).expect("it opens again");
    let (listing, unread) = listed(&wal);
    assert!(unread == 0 && listing.len() == 3);
    drop(wal);
    let paths = disk.list(Path::new(FOLDER)).expect("the folder is there").into_iter().map(|entry| entry.path).collect();
    (disk, listing, paths)
}

/// What can be read of each stream, and how many streams end in damage.
fn listed(log: &dyn Log) -> (Listing, usize) {
    let (mut listing, mut unread) = (Listing::new(), 0);
    for (stream, head) in log.streams() {
        let held = listing.entry(stream).or_default();
        let Ok(mut events) = log.events(&stream, 0) else {
            unread += 1;
            continue;
        };
        loop {
            match events.next() {
                Ok(Some((seq, bytes))) => {
                    assert_eq!(seq, head.base.seq + 1 + held.len() as u64, "no history has a hole (R3.2-a)");
                    held.push((seq, bytes.to_vec()));
                }
                Ok(None) => break assert_eq!(head.base.seq + held.len() as u64, head.end.seq, "a history is shown up to its head"),
                Err(_) => break unread += 1,
            }
        }
    }
    (listing, unread)
}

/// Change `bytes` as the hand says. Some changes put the checksum right again, so that the seal has to notice.
fn change(bytes: &mut Vec<u8>, hand: &mut Hand<'_>) {
    let at = hand.below(bytes.len());
    match hand.byte() % 9 {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (hand.byte() % 8)),
        1 => hand.piece().iter().zip(bytes.iter_mut().skip(at)).for_each(|(from, to)| *to = *from),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, hand.piece().iter().copied())),
        4 => bytes.iter_mut().skip(at).take(hand.below(4096)).for_each(|byte| *byte = 0),
        5 => {
            let from = hand.below(bytes.len());
            let piece = bytes[from..(from + hand.below(2048)).min(bytes.len())].to_vec();
            piece.iter().zip(bytes.iter_mut().skip(at)).for_each(|(from, to)| *to = *from);
        }
        6 => bytes.resize(bytes.len() + hand.below(8192), hand.byte()),
        7 => {
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = byte.wrapping_add(hand.byte()));
            mend_checksums(bytes);
        }
        _ => {
            let piece = hand.piece().to_vec();
            piece.iter().zip(bytes.iter_mut().skip(at)).for_each(|(from, to)| *to = *from);
            mend_checksums(bytes);
        }
    }
}

/// Give header, every frame that can be walked to, tables and trailer the checksums of what they hold now (SPEC §10.3).
fn mend_checksums(bytes: &mut [u8]) {
    const SEAL_LEN: usize = 64;
    let number = |bytes: &[u8], at: usize| bytes[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    if bytes.len() < SEAL_LEN {
        return;
    }
    put(bytes, 60, crc32fast::hash(&bytes[..60]));
    let mut at = SEAL_LEN;
    while at + FRAME_HEAD_LEN <= bytes.len() {
        let end = at + 8 + number(bytes, at);
        if end < at + FRAME_HEAD_LEN + TAG_LEN || end > bytes.len() {
            break;
        }
        put(bytes, at + 4, checksum(&bytes[at..end]));
        at = end;
    }
    let start = bytes.len() - SEAL_LEN;
    if start >= SEAL_LEN && bytes[start..].starts_with(b"zblogend") {
        let tables = number(bytes, start + 16).min(start);
        put(bytes, start + 20, crc32fast::hash(&bytes[tables..start]));
        put(bytes, start + 60, crc32fast::hash(&bytes[start..start + 60]));
    }
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

/// Of a frame: over its length, and what stands behind the checksum.
fn checksum(frame: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&frame[..4]);
    crc.update(&frame[8..]);
    crc.finalize()
}

thread_local! {
    static GOOD: (MemoryDisk, Listing, Vec<PathBuf>) = good();
}

pub fn segment(bytes: &[u8]) {
    GOOD.with(|(image, before, paths)| {
        let (disk, mut hand) = (image.image(), Hand::new(bytes));
        while !hand.is_empty() {
            let path = &paths[usize::from(hand.byte()) % paths.len()];
            disk.edit(path, |segment| change(segment, &mut hand));
        }
        goes_on(&disk, before);
    });
}

/// A peer who has everything gives back what rotted in old segments (R10.8-e): from then on it is read.
fn refill(wal: &mut Wal, before: &Listing) {
    for (stream, head) in wal.streams() {
        let Some(held) = before.get(&stream) else { continue };
        let Ok(lost) = wal.lost(&stream, head.base.seq + 1, head.end.seq) else { continue };
        for (first, last) in &lost {
            let again: Vec<_> = held.iter().filter(|(seq, _)| (first..=last).contains(&seq)).map(|(_, event)| event.as_slice()).collect();
            assert_eq!(again.len() as u64, last + 1 - first, "only what was written can be lost");
            wal.mend(&stream, *first, &again).expect("a disk in memory takes it");
        }
        wal.sync().expect("and stores it");
        assert!(wal.lost(&stream, head.base.seq + 1, head.end.seq).is_ok_and(|lost| lost.is_empty()), "what is here again is read");
    }
}

/// SPEC §10.8: it opens or says why not, nothing is invented, what is written from now on stays.
fn goes_on(disk: &MemoryDisk, before: &Listing) {
    let invented = |listing: &Listing| {
        let known =
            |stream: &Stream, held: &Vec<(u64, Vec<u8>)>| before.get(stream).is_some_and(|good| held.iter().all(|event| good.contains(event)));
        listing.iter().find(|(stream, held)| !held.is_empty() && !known(stream, held)).map(|(stream, _)| *stream)
    };
    if let Ok(reader) = WalReader::open(Rc::new(disk.clone()), Path::new(FOLDER), &keys()) {
        assert_eq!(invented(&listed(&reader).0), None, "a reader shows only what was written");
        let mut scan = reader.scan().expect("a scan begins");
        for _ in 0..10_000 {
            match scan.next() {
                Ok(None) => break,
                Ok(Some((stream, seq, bytes))) => assert!(before.get(&stream).is_some_and(|good| good.contains(&(seq, bytes.to_vec())))),
                Err(_) => {}
            }
        }
        let _ = reader.verify(&mut |_| {}, &mut |_, _| {});
    }
    let untouched = disk.image();
    let mut wal = match open(disk, 3) {
        Ok(wal) => wal,
        Err(error) => {
            let is_same = |path: &PathBuf| disk.bytes(path) == untouched.bytes(path);
            let entries = disk.list(Path::new(FOLDER)).expect("the folder is there");
            let must_not_touch = matches!(error, StoreError::Tampered { .. } | StoreError::Version(_));
            return assert!(!must_not_touch || entries.iter().all(|entry| is_same(&entry.path)), "stop, change nothing: {error}");
        }
    };
    assert_eq!(invented(&listed(&wal).0), None, "a writer's log holds only what was written");
    refill(&mut wal, before);
    let (mended, unread) = listed(&wal);
    assert_eq!(invented(&mended), None, "nor does what is here again invent anything");
    let heads = wal.streams();
    for number in [1, 3, 9] {
        push(&mut wal, &stream(number), 2, 200).expect("a log that opened takes more");
    }
    drop(wal);
    let wal = open(&disk.image_of_synced(), 4).expect("what was synced opens again");
    let (after, unread_after) = listed(&wal);
    assert!(unread_after <= unread, "nothing more is lost by writing");
    for (stream, held) in &mended {
        assert_eq!(after[stream][..held.len()], held[..], "what was there is there");
    }
    for number in [1, 3, 9] {
        let stream = stream(number);
        let start = heads.iter().find(|(other, _)| *other == stream).map_or(0, |(_, head)| head.end.seq);
        assert_eq!(wal.head(&stream).map(|head| head.end.seq), Some(start + 2), "and what was acknowledged since");
        let mut events = wal.events(&stream, start + 1).expect("it can be read");
        for seq in [start + 1, start + 2] {
            let (at, bytes) = events.next().expect("whole").expect("there");
            assert_eq!((at, bytes), (seq, &event(&stream, seq, 200)[..]));
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for segment in 0..4u8 {
        for what in 0..9u8 {
            seeds.push(vec![segment, 3 * what, 77, what, 3, 9, 8, 7]);
            seeds.push(vec![segment, 0, 70, what, 40, 1, segment + 1, 23, 5, what, 200, 100]);
        }
    }
    seeds
}
