//! Indexes that rot together with what they tell of: what is not hit is read all the same, what was cut off stays void, and nobody takes the one for the
//! other (R10.8-f, R10.8-h).

use super::damage::{frames, log};
use super::*;
use crate::ports::Disk as _;
use crate::ports::store::Finding;
use crate::wal::frame::{self, Kind};
use crate::wal::fsck::Flaw;
use crate::wal::tables::HEADER_LEN;
use std::collections::BTreeMap;

type Listing = BTreeMap<Stream, Vec<u64>>;

const SEGMENT_LEN: u64 = 4000;

/// What can be read of each stream, whatever lies in between.
fn readable(log: &dyn Log) -> Listing {
    let mut listing = Listing::new();
    for (stream, head) in log.streams() {
        let lost = log.lost(&stream, head.base.seq + 1, head.end.seq).unwrap();
        let is_lost = |seq: &u64| lost.iter().any(|(first, last)| (first..=last).contains(&seq));
        let held: Vec<_> = (head.base.seq + 1..=head.end.seq).filter(|seq| !is_lost(seq)).collect();
        for seq in &held {
            assert_eq!(log.events(&stream, *seq).unwrap().next().unwrap(), Some((*seq, &*event(&stream, *seq))));
        }
        listing.insert(stream, held);
    }
    listing
}

/// The events that frames of a segment hold, of those that `hit` names by where they stand.
fn events_in(disk: &MemoryDisk, number: u32, hit: impl Fn(usize) -> bool) -> Vec<(Stream, u64)> {
    let frames = frames(disk, &segment(number)).into_iter().filter(|(at, head, _)| head.kind == Kind::Events && hit(*at));
    let events = |(_, head, _): (usize, frame::Head, usize)| {
        let of = stream(u8::try_from(head.stream).unwrap());
        (head.first..head.first + u64::from(head.count)).map(move |seq| (of, seq))
    };
    frames.flat_map(events).collect()
}

fn without(whole: &Listing, lost: &[(Stream, u64)]) -> Listing {
    let left = |(stream, held): (&Stream, &Vec<u64>)| (*stream, held.iter().copied().filter(|seq| !lost.contains(&(*stream, *seq))).collect());
    whole.iter().map(left).collect()
}

/// What cannot be read.
fn lost(log: &dyn Log) -> Vec<(Stream, u64)> {
    let lost =
        |(stream, _)| log.lost(&stream, 1, u64::MAX).unwrap().into_iter().flat_map(move |(first, last)| (first..=last).map(move |seq| (stream, seq)));
    log.streams().into_iter().flat_map(lost).collect()
}

/// How many checkpoints can be read.
fn signed(log: &dyn Log) -> usize {
    log.streams().iter().map(|(stream, _)| log.checkpoints(stream, 1, u64::MAX).unwrap().len()).sum()
}

/// The index of a segment rots.
fn lose_index(disk: &MemoryDisk, number: u32) {
    disk.edit(&segment(number), |bytes| *bytes.last_mut().unwrap() ^= 1);
}

/// The places of events frames in a segment.
fn places(disk: &MemoryDisk, number: u32) -> Vec<usize> {
    frames(disk, &segment(number)).into_iter().filter(|(_, head, _)| head.kind == Kind::Events).map(|(at, ..)| at).collect()
}

/// R10.8-h. What rots in an old segment costs itself, also when its index went with it, and the index of the one behind it.
#[test]
fn what_an_old_index_told_of_is_read_without_it() {
    let good = log(SEGMENT_LEN, 60);
    let disk = &good;
    let whole = readable(&read(disk).unwrap());
    let checkpoints = signed(&read(disk).unwrap());
    let at = places(disk, 2);
    for hit in [&at[..1], &at[1..2], &at[3..5], &at[at.len() - 1..]] {
        for indexes in [&[2][..], &[2, 3], &[3, 4], &[1, 2, 3, 4]] {
            let disk = disk.image();
            disk.edit(&segment(2), |bytes| hit.iter().for_each(|at| bytes[at + 40] ^= 4));
            for number in indexes {
                lose_index(&disk, *number);
            }
            let expected = without(&whole, &events_in(&good, 2, |at| hit.contains(&at)));
            assert_eq!(readable(&read(&disk).unwrap()), expected, "frames at {hit:?}, indexes of {indexes:?}");
            assert_eq!(signed(&read(&disk).unwrap()), checkpoints, "frames at {hit:?}, indexes of {indexes:?}");
            let wal = open_small(&disk, 5, SEGMENT_LEN).unwrap();
            assert_eq!(readable(&wal), expected, "frames at {hit:?}, indexes of {indexes:?}: to a writer");
            assert!(wal.findings().is_empty());
        }
    }
}

/// The same where nothing before it tells of a history, and what told in it what its number stands for has rotted: the heads behind it tell.
#[test]
fn what_a_number_stands_for_is_told_behind_it_too() {
    let disk = log(SEGMENT_LEN, 30);
    let mut wal = open_small(&disk, 2, SEGMENT_LEN).unwrap();
    let number = wal.view.active.number;
    push(&mut wal, &stream(104), 2, true).unwrap();
    for round in 0..30 {
        push(&mut wal, &stream(1 + round % 3), 4, true).unwrap();
    }
    wal.sync().unwrap();
    drop(wal);
    let checkpoints = signed(&read(&disk).unwrap());
    let definition = frames(&disk, &segment(number)).into_iter().rfind(|(_, head, _)| (head.kind, head.stream) == (Kind::Stream, 4)).unwrap().0;
    assert!(events_in(&disk, number, |at| at > definition).contains(&(stream(4), 1)));
    disk.edit(&segment(number), |bytes| bytes[definition + 40] ^= 4);
    for index in [number, number - 1] {
        lose_index(&disk, index);
        let log = read(&disk).unwrap();
        assert_eq!((lost(&log), signed(&log)), (Vec::new(), checkpoints));
        assert_eq!(log.events(&stream(104), 1).unwrap().next().unwrap(), Some((1, &*event(&stream(104), 1))));
    }
}

/// A hand has changed where a frame says that it belongs, its kind too, and put its checksum right; with the index gone nobody asks the seal before it is
/// read. No position makes the reader stumble, and all else is read.
#[test]
fn a_place_that_cannot_be_is_passed_over() {
    let good = log(SEGMENT_LEN, 60);
    let at = places(&good, 2)[1];
    let hit = events_in(&good, 2, |place| place == at);
    for (first, count) in [(0, 1), (0, 0), (1, 0), (u64::MAX, 1), (u64::MAX, u16::MAX), (1 << 63, 2)] {
        for kind in [Kind::Events as u8, Kind::Mended as u8] {
            let disk = good.image();
            forge(&disk, 2, at, |frame| {
                frame[8] = kind;
                frame[13..21].copy_from_slice(&first.to_le_bytes());
                frame[21..23].copy_from_slice(&count.to_le_bytes());
            });
            assert!(frames(&disk, &segment(2)).iter().any(|(place, head, _)| (*place, head.first, head.count) == (at, first, count)));
            lose_index(&disk, 2);
            assert_eq!(lost(&read(&disk).unwrap()), hit, "{first}, {count}, {kind}");
        }
    }
}

/// The same of checkpoints in the open segment: what was sealed with their frame had a table in which nothing could be found any more.
#[test]
fn checkpoints_that_can_stand_nowhere_are_passed_over() {
    let good = log(1 << 20, 12);
    let (at, head, _) = frames(&good, &segment(1)).into_iter().find(|(_, head, _)| head.kind == Kind::Checkpoints).unwrap();
    let of = stream(u8::try_from(head.stream).unwrap());
    let whole = read(&good).unwrap().checkpoints(&of, 1, u64::MAX).unwrap().len();
    for (first, last) in [(head.hlc + 1, head.hlc), (u64::MAX, 1), (1, 1 << 63), (u64::MAX, u64::MAX)] {
        let disk = good.image();
        forge(&disk, 1, at, |frame| {
            frame[13..21].copy_from_slice(&first.to_le_bytes());
            frame[23..31].copy_from_slice(&last.to_le_bytes());
        });
        assert!(frames(&disk, &segment(1)).iter().any(|(place, head, _)| (*place, head.first, head.hlc) == (at, first, last)));
        let mut wal = open_small(&disk, 2, 1).unwrap();
        push(&mut wal, &stream(101), 1, true).unwrap(); // seals
        wal.sync().unwrap();
        assert_eq!(wal.checkpoints(&of, 1, u64::MAX).unwrap().len(), whole - usize::from(head.count), "{first} to {last}");
        assert_eq!(check(&read(&disk).unwrap()), check(&wal));
    }
}

/// A frame says something else, and its checksum fits.
fn forge(disk: &MemoryDisk, number: u32, at: usize, change: impl Fn(&mut [u8])) {
    let len = frames(disk, &segment(number)).into_iter().find(|(place, ..)| *place == at).unwrap().2;
    disk.edit(&segment(number), |bytes| {
        let frame = &mut bytes[at..at + len];
        change(frame);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&frame[..4]);
        crc.update(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
    });
}

/// The same where marks stand in the segment, which say where histories were.
#[test]
fn marks_do_not_lean_on_what_rotted_before_them() {
    let good = log(500_000, 1100);
    let mark = frames(&good, &segment(2)).into_iter().find(|(_, head, _)| head.kind == Kind::Mark).unwrap().0;
    assert!(read(&good).unwrap().view.active.number > 2, "it is sealed");
    let (checkpoints, at) = (signed(&read(&good).unwrap()), places(&good, 2));
    let before = *at.iter().rfind(|at| **at < mark).unwrap();
    for hit in [at[0], before, *at.last().unwrap()] {
        let disk = good.image();
        disk.edit(&segment(2), |bytes| bytes[hit + 40] ^= 4);
        for number in [2, 1] {
            lose_index(&disk, number);
            let log = read(&disk).unwrap();
            assert_eq!((lost(&log), signed(&log)), (events_in(&good, 2, |at| at == hit), checkpoints));
        }
    }
}

/// The same where the file before it is gone: that costs what stood in it, until it is here again.
#[test]
fn an_old_segment_is_read_without_the_file_before_it() {
    let disk = log(SEGMENT_LEN, 60);
    let whole = readable(&read(&disk).unwrap());
    let checkpoint_count = signed(&read(&disk).unwrap());
    for number in 2..5 {
        let disk = disk.image();
        let expected = without(&whole, &events_in(&disk, number, |_| true));
        let stood = frames(&disk, &segment(number)).into_iter().filter(|(_, head, _)| head.kind == Kind::Checkpoints);
        let stood: usize = stood.map(|(_, head, _)| usize::from(head.count)).sum();
        disk.remove(&segment(number)).unwrap();
        lose_index(&disk, number + 1);
        let reader = read(&disk).unwrap();
        assert_eq!(readable(&reader), expected, "without segment {number}");
        assert_eq!(signed(&reader) + stood, checkpoint_count, "without segment {number}");
        let mut wal = open_small(&disk, 5, SEGMENT_LEN).unwrap();
        for of in whole.keys() {
            for (first, last) in wal.lost(of, 1, u64::MAX).unwrap() {
                let again: Vec<_> = (first..=last).map(|seq| event(of, seq)).collect();
                wal.mend(of, first, &again.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            }
        }
        wal.sync().unwrap();
        assert_eq!(readable(&wal), whole, "segment {number} is here again");
    }
}

/// Without the file before the open segment nothing tells where histories end that are not in it: the log is refused, and not a byte of it changes.
#[test]
fn heads_are_not_guessed() {
    let disk = log(SEGMENT_LEN, 30);
    let newest = read(&disk).unwrap().view.active.number;
    drop(open_small(&disk, 2, 1).map(|mut wal| push(&mut wal, &stream(101), 1, false).and_then(|()| wal.sync())).unwrap());
    assert_eq!(events_in(&disk, newest + 1, |_| true), [(stream(4), 1)], "the fourth stream, and no other");
    disk.remove(&segment(newest)).unwrap();
    let before: Vec<_> = disk.paths().iter().map(|path| disk.bytes(path)).collect();
    let told = |error: Option<StoreError>| assert!(matches!(error, Some(StoreError::Damaged { segment, .. }) if segment == newest), "{error:?}");
    told(read(&disk).err());
    told(open_small(&disk, 3, SEGMENT_LEN).err());
    assert_eq!(disk.paths().iter().map(|path| disk.bytes(path)).collect::<Vec<_>>(), before);
}

/// What is here again is found without the index that told of it, behind an old segment that rotted too.
#[test]
fn what_is_here_again_is_found_without_its_index() {
    let disk = log(SEGMENT_LEN, 60);
    let whole = readable(&read(&disk).unwrap());
    let at = places(&disk, 2)[0];
    let lost = events_in(&disk, 2, |place| place == at);
    disk.edit(&segment(2), |bytes| bytes[at + 40] ^= 4);
    let mut wal = open_small(&disk, 5, SEGMENT_LEN).unwrap();
    let (of, first) = lost[0];
    let again: Vec<_> = lost.iter().map(|(stream, seq)| event(stream, *seq)).collect();
    wal.mend(&of, first, &again.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    wal.sync().unwrap();
    let number = wal.view.active.number;
    drop(wal);
    for round in 0..9 {
        drop(open_small(&disk, 6 + round, 1).map(|mut wal| push(&mut wal, &stream(101), 1, true).and_then(|()| wal.sync())).unwrap()); // seals
    }
    let other = *places(&disk, number - 1).last().unwrap();
    let mut expected = without(&whole, &events_in(&disk, number - 1, |place| place == other));
    disk.edit(&segment(number - 1), |bytes| bytes[other + 40] ^= 4);
    lose_index(&disk, number - 1);
    lose_index(&disk, number);
    let reader = read(&disk).unwrap();
    expected.insert(stream(101), (1..=9).collect());
    assert_eq!(readable(&reader), expected);
}

/// The tables of an old segment are good; its heads have rotted, and the beginning of its session. The index of the next one, made again, is not to pass it by:
/// who read a history did not find what stood there, and `fsck`, which reads frames, had nothing to tell.
#[test]
fn tables_are_asked_where_the_heads_beside_them_rotted() {
    let good = log(SEGMENT_LEN, 60);
    let whole = readable(&read(&good).unwrap());
    for number in 2..read(&good).unwrap().view.active.number - 2 {
        let disk = good.image();
        let heads = frames(&disk, &segment(number)).into_iter().find(|(_, head, _)| head.kind == Kind::Heads).unwrap().0;
        disk.edit(&segment(number), |bytes| [HEADER_LEN + 20, heads + 40].into_iter().for_each(|at| bytes[at] ^= 1));
        lose_index(&disk, number + 1);
        assert_eq!(readable(&read(&disk).unwrap()), whole, "{number}");
    }
}

/// R10.8-f. The newest sealed segment has lost its heads and kept its tables; the one before, all that told how far histories went. What stands in the
/// newest is void then, and its tables do not know: it was shown, and what came later was hidden behind it.
#[test]
fn tables_that_outlive_their_heads_know_nothing_of_a_hole_before_them() {
    let disk = log(SEGMENT_LEN, 30);
    let newest = read(&disk).unwrap().view.active.number - 1;
    disk.remove(&segment(newest + 1)).unwrap();
    let heads = frames(&disk, &segment(newest)).into_iter().find(|(_, head, _)| head.kind == Kind::Heads).unwrap().0;
    let behind = events_in(&disk, newest, |_| true);
    disk.edit(&segment(newest), |bytes| bytes[heads + 40] ^= 1);
    disk.edit(&segment(newest - 1), |bytes| bytes.truncate(500));
    let reader = read(&disk).unwrap();
    assert!(reader.findings().iter().any(|finding| matches!(finding, Finding::Hole { .. })), "{:?}", reader.findings());
    let before = check(&reader);
    let mut wal = open_small(&disk, 5, SEGMENT_LEN).unwrap();
    assert_eq!(check(&wal), before);
    for (stream, _) in &before {
        let behind: Vec<_> = behind.iter().filter(|(of, _)| of == stream).map(|(_, seq)| (*seq, event(stream, *seq))).collect();
        assert_eq!(wal.orphans(stream).unwrap(), behind, "what stands behind the hole can be written again");
    }
    // Cut back, told and answered: also where the newest segment has a hole of its own when both are found.
    for round in 0..40 {
        push(&mut wal, &stream(1 + round % 3), 4, true).unwrap();
        wal.sync().unwrap();
        let held = check(&wal);
        assert_eq!(check(&read(&disk).unwrap()), held);
        drop(wal);
        wal = open_small(&disk, 6 + u64::from(round), SEGMENT_LEN).unwrap();
        assert!(wal.findings().is_empty(), "told once: {:?}", wal.findings());
        assert_eq!(check(&wal), held);
    }
}

/// The same with a hole in the open segment too: what answers both is told apart from what answers only its own.
#[test]
fn two_holes_that_are_found_at_once_are_answered_at_once() {
    let disk = log(SEGMENT_LEN, 30);
    let newest = read(&disk).unwrap().view.active.number - 1;
    let heads = frames(&disk, &segment(newest)).into_iter().find(|(_, head, _)| head.kind == Kind::Heads).unwrap().0;
    assert!(places(&disk, newest + 1).len() > 2);
    let at = places(&disk, newest + 1)[1];
    disk.edit(&segment(newest + 1), |bytes| bytes[at + 40] ^= 1);
    disk.edit(&segment(newest), |bytes| bytes[heads + 40] ^= 1);
    disk.edit(&segment(newest - 1), |bytes| bytes.truncate(500));
    let mut wal = open_small(&disk, 5, SEGMENT_LEN).unwrap();
    assert_eq!(wal.holes_aside(), 2);
    let mut held = check(&wal);
    for round in 0..40 {
        push(&mut wal, &stream(1 + round % 3), 4, true).unwrap();
        wal.sync().unwrap();
        held = check(&wal);
    }
    drop(wal);
    each_index_may_rot(&disk, &held, newest + 1);
}

/// A sealed segment that has a hole of its own, answered when it was still written, loses its heads and more events later: the one hole is answered in it,
/// the other is not.
#[test]
fn two_holes_of_one_segment_are_answered_where_they_were_found() {
    let disk = log(1 << 20, 12);
    let at = places(&disk, 1);
    disk.edit(&segment(1), |bytes| bytes[at[20] + 40] ^= 4);
    drop(open_small(&disk, 2, SEGMENT_LEN).unwrap());
    disk.remove(&segment(2)).unwrap();
    let heads = frames_behind(&disk, 1).into_iter().find(|(_, head, _)| head.kind == Kind::Heads).unwrap().0;
    disk.edit(&segment(1), |bytes| [at[9] + 40, heads + 40].into_iter().for_each(|at| bytes[at] ^= 4));
    let mut wal = open_small(&disk, 3, SEGMENT_LEN).unwrap();
    assert_eq!(wal.holes_aside(), 2);
    let before = check(&wal);
    for round in 0..40 {
        push(&mut wal, &stream(1 + round % 3), 4, true).unwrap();
        wal.sync().unwrap();
    }
    let held = check(&wal);
    assert!(before.iter().zip(&held).all(|(before, held)| before.1 < held.1));
    drop(wal);
    each_index_may_rot(&disk, &held, 2);
}

/// Damage that was put aside and answered grows, and the index goes with it: the rest is a hole of its own, and what stands behind it is void for it.
#[test]
fn damage_that_grows_is_told_again() {
    let good = log(1 << 20, 12);
    let all = frames(&good, &segment(1));
    let first = all.iter().position(|(at, ..)| *at == places(&good, 1)[10]).unwrap();
    for more in 1..6 {
        let disk = good.image();
        disk.edit(&segment(1), |bytes| bytes[all[first].0 + 40] ^= 4);
        drop(open_small(&disk, 2, SEGMENT_LEN).unwrap());
        disk.remove(&segment(2)).unwrap();
        disk.edit(&segment(1), |bytes| all[first + 1..=first + more].iter().for_each(|(at, ..)| bytes[at + 40] ^= 4));
        lose_index(&disk, 1);
        let mut wal = open_small(&disk, 3, SEGMENT_LEN).unwrap();
        let told =
            wal.findings().iter().filter(|finding| matches!(finding, Finding::Hole { offset, .. } if *offset == all[first + 1].0 as u64)).count();
        assert_eq!((told, wal.holes_aside()), (1, 2), "{more}: {:?}", wal.findings());
        for round in 0..40 {
            push(&mut wal, &stream(1 + round % 3), 4, true).unwrap();
            wal.sync().unwrap();
        }
        let held = check(&wal);
        drop(wal);
        let reader = read(&disk).unwrap();
        assert_eq!((check(&reader), lost(&reader)), (held.clone(), Vec::new()), "{more}");
        let faults = super::damage::faults(&reader);
        assert!(faults.iter().all(|fault| [crate::wal::Flaw::KnownHole, crate::wal::Flaw::Index].contains(&fault.flaw)), "{more}: {faults:?}");
    }
}

/// A hole in what was the open segment, put aside and answered: also without the index of any segment what was void is void, and nothing else.
#[test]
fn what_is_void_stays_void_without_the_index_that_says_so() {
    let good = log(1 << 20, 12);
    let (signed, ..) = frames(&good, &segment(1)).into_iter().rfind(|(_, head, _)| head.kind == Kind::Checkpoints).unwrap();
    for hit in [places(&good, 1)[20], signed] {
        let disk = good.image();
        disk.edit(&segment(1), |bytes| bytes[hit + 40] ^= 4);
        let mut wal = open_small(&disk, 2, SEGMENT_LEN).unwrap();
        for round in 0..40 {
            push(&mut wal, &stream(1 + round % 3), 4, true).unwrap();
            wal.sync().unwrap();
        }
        let held = check(&wal);
        drop(wal);
        each_index_may_rot(&disk, &held, 1);
    }
}

/// Any index of a log rots, or two side by side, or heads instead: it shows what it held. Behind the last answer of a hole also a frame: it costs itself.
fn each_index_may_rot(disk: &MemoryDisk, held: &[(Stream, u64)], answer: u32) {
    let sealed = read(disk).unwrap().view.active.number - 1;
    let orphans = |log: &WalReader| held.iter().map(|(stream, _)| log.orphans(stream).unwrap()).collect::<Vec<_>>();
    let (void, checkpoints) = (orphans(&read(disk).unwrap()), signed(&read(disk).unwrap()));
    // Without heads and trailer nothing tells where frames end, and what stands there is told as damage.
    let has_heads = |number: &u32| frames_behind(disk, *number).iter().any(|(_, head, _)| head.kind == Kind::Heads);
    for number in (1..sealed).filter(|number| has_heads(number) && has_heads(&(number + 1))) {
        for (indexes, heads) in [(1, false), (2, false), (0, true)] {
            let why = format!("{indexes} indexes from {number} on, heads {heads}");
            let disk = disk.image();
            for number in number..(number + indexes).min(sealed) {
                lose_index(&disk, number);
            }
            if heads && let Some((at, ..)) = frames_behind(&disk, number).into_iter().find(|(_, head, _)| head.kind == Kind::Heads) {
                disk.edit(&segment(number), |bytes| bytes[at + 40] ^= 1);
            }
            let reader = read(&disk).unwrap();
            assert_eq!(check(&reader), held, "{why}");
            assert_eq!((orphans(&reader), signed(&reader)), (void.clone(), checkpoints), "{why}");
            assert_eq!(check(&open_small(&disk, 6, SEGMENT_LEN).unwrap()), held, "{why}: to a writer");
        }
    }
    for number in answer + 1..sealed {
        let hit = places(disk, number)[0];
        let expected = events_in(disk, number, |at| at == hit);
        let disk = disk.image();
        disk.edit(&segment(number), |bytes| bytes[hit + 40] ^= 4);
        lose_index(&disk, number);
        for more in [answer..answer, answer..number] {
            for number in more {
                lose_index(&disk, number);
            }
            let log = read(&disk).unwrap();
            let lost =
                log.streams().into_iter().flat_map(|(stream, _)| log.lost(&stream, 1, u64::MAX).unwrap().into_iter().map(move |lost| (stream, lost)));
            let lost: Vec<_> = lost.flat_map(|(stream, (first, last))| (first..=last).map(move |seq| (stream, seq))).collect();
            assert_eq!(lost, expected, "an event and the index of {number}");
        }
    }
}

/// The frames of a segment, also behind damage.
fn frames_behind(disk: &MemoryDisk, number: u32) -> Vec<(usize, frame::Head, usize)> {
    let bytes = disk.bytes(&segment(number)).unwrap();
    let (mut at, mut found) = (64, Vec::new());
    while at < bytes.len() {
        match frame::look(&bytes[at..]) {
            frame::Look::Frame(head, len) => {
                found.push((at, head, len));
                at += len;
            }
            _ => at += 1,
        }
    }
    found
}

/// What a session of an old segment sealed can be read by nobody when its beginning rots, and the index that would tell what it was: that is damage, and
/// nobody is accused of tampering. It stopped every reading of the whole log.
#[test]
fn a_session_that_rotted_with_its_index_costs_what_it_sealed() {
    let disk = log(SEGMENT_LEN, 60);
    disk.edit(&segment(2), |bytes| {
        bytes[HEADER_LEN + 20] ^= 1;
        *bytes.last_mut().unwrap() ^= 1;
    });
    let reader = read(&disk).unwrap();
    let (mut scan, mut events, mut damage) = (reader.scan().unwrap(), 0, 0);
    loop {
        match scan.next() {
            Ok(Some((of, seq, bytes))) => {
                assert_eq!(bytes, event(&of, seq));
                events += 1;
            }
            Ok(None) => break,
            Err(StoreError::Damaged { segment: 2, .. }) => damage += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(damage > 0 && events > 100, "{damage} {events}");
    let mut flaws = Vec::new();
    reader.verify(&mut |fault| flaws.push(fault.flaw), &mut |_, _| {}).unwrap();
    assert!(flaws.contains(&Flaw::Damaged) && !flaws.contains(&Flaw::Tampered), "{flaws:?}");
}
