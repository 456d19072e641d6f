//! Rot, wrong keys, and hands that should not be there.

use super::*;
use crate::ports::Disk as _;
use crate::ports::memory_disk::{self, Operation};
use crate::ports::store::Finding;
use crate::wal::frame::{self, Kind, Look};
use crate::wal::fsck::{Fault, Flaw};
use crate::wal::tables::{TRAILER_LEN, Trailer};
use std::path::PathBuf;

/// A log of several segments: streams 1, 2 and 3, the last segment not sealed.
pub(super) fn log(segment_len: u64, rounds: u64) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, segment_len).unwrap();
    for round in 0..rounds {
        push(&mut wal, &stream(1), 1, false).unwrap();
        push(&mut wal, &stream(2), 1 + round % 9, true).unwrap();
        push(&mut wal, &stream(3), 2, false).unwrap();
        wal.sync().unwrap();
    }
    drop(wal);
    disk
}

/// The frames of a segment: offset, head, length.
pub(super) fn frames(disk: &MemoryDisk, path: &Path) -> Vec<(usize, frame::Head, usize)> {
    let bytes = disk.bytes(path).unwrap();
    let (mut at, mut found) = (64, Vec::new());
    while let Look::Frame(head, len) = frame::look(&bytes[at..]) {
        found.push((at, head, len));
        at += len;
    }
    found
}

fn all_bytes(disk: &MemoryDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    disk.list(Path::new(FOLDER)).unwrap().into_iter().map(|entry| (entry.path.clone(), disk.bytes(&entry.path))).collect()
}

pub(super) fn faults(log: &WalReader) -> Vec<Fault> {
    let mut faults = Vec::new();
    let verified = log.verify(&mut |fault| faults.push(fault), &mut |_, _| {}).unwrap();
    assert_eq!(verified.fault_count, faults.iter().filter(|fault| !fault.flaw.is_harmless()).count() as u64);
    faults
}

#[test]
fn a_good_log_verifies() {
    let disk = log(4000, 60);
    let reader = read(&disk).unwrap();
    let held = check(&reader);
    let mut none = |fault: Fault| panic!("{fault:?}");
    let verified = reader.verify(&mut none, &mut |_, _| {}).unwrap();
    assert_eq!(verified.event_count, held.iter().map(|(_, count)| count).sum::<u64>());
    assert_eq!(verified.checkpoint_count, 60);
    assert!(verified.segment_count > 5);
}

/// R10.8-b.
#[test]
fn another_key_or_a_forged_frame_stops_everything_and_touches_nothing() {
    for segment_len in [4000, 1 << 20] {
        let disk = log(segment_len, 40);
        let newest = disk.list(Path::new(FOLDER)).unwrap().pop().unwrap().path;
        let torn = disk.image();
        torn.edit(&newest, |bytes| {
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            bytes[end] ^= 1; // a torn tail that the right key would cut off
        });
        for disk in [&disk, &torn] {
            let before = all_bytes(disk);
            for wrong in [DataKeys::new(1, [8; 32]), DataKeys::new(2, [7; 32])] {
                let ports = ports(disk, 5);
                let options = Options { segment_len, sync_at_open: true };
                let writer = Wal::open_with(ports.disk.clone(), Path::new(FOLDER), &wrong, ports.entropy, ports.clock, options);
                assert!(matches!(writer.err(), Some(StoreError::Tampered { .. })));
                assert!(matches!(WalReader::open(ports.disk, Path::new(FOLDER), &wrong).err(), Some(StoreError::Tampered { .. })));
            }
            assert_eq!(all_bytes(disk), before);
        }
    }
    // one frame changed by somebody who knows how checksums are made
    let disk = log(1 << 20, 20);
    let file = segment(1);
    let (at, _, len) = *frames(&disk, &file).iter().rfind(|(_, head, _)| head.kind == Kind::Events).unwrap();
    disk.edit(&file, |bytes| {
        bytes[at + 40] ^= 1;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[at..at + 4]);
        crc.update(&bytes[at + 8..at + len]);
        let crc = crc.finalize();
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
    });
    let before = all_bytes(&disk);
    assert!(matches!(open_small(&disk, 5, 1 << 20).err(), Some(StoreError::Tampered { segment: 1, offset }) if offset == at as u64));
    assert_eq!(all_bytes(&disk), before);
}

#[test]
fn a_hole_is_kept_aside_and_the_streams_go_on_before_it() {
    let disk = log(1 << 20, 10);
    let file = segment(1);
    let wanted = |(_, head, _): &&(usize, frame::Head, usize)| head.kind == Kind::Events && head.stream == 2 && head.first > 10;
    let (at, head, len) = *frames(&disk, &file).iter().find(wanted).unwrap();
    disk.edit(&file, |bytes| bytes[at + 50] ^= 4);
    let before_the_hole: Vec<_> = [(stream(1), 10), (stream(2), head.first - 1), (stream(3), 20)].into();
    let hole = Finding::Hole { segment: 1, offset: at as u64, bytes: len as u64, cut_back: vec![stream(2)] };

    let before = all_bytes(&disk);
    let reader = read(&disk).unwrap();
    assert_eq!(reader.findings(), std::slice::from_ref(&hole));
    assert!(reader.orphans(&stream(2)).unwrap().iter().all(|(seq, bytes)| *bytes == event(&stream(2), *seq)));
    assert!(faults(&reader).iter().any(|fault| fault.flaw == Flaw::Damaged && fault.offset == at as u64));
    assert_eq!(all_bytes(&disk), before, "a reader mends nothing");

    for crash in [None, Some(3), Some(4)] {
        let disk = disk.image();
        if let Some(nth) = crash {
            // the writer dies while it mends
            let fault = crate::ports::memory_disk::Fault {
                operation: crate::ports::memory_disk::Operation::Write,
                nth,
                error: std::io::ErrorKind::Other,
                sticky: true,
            };
            disk.fail(fault);
            assert!(open_small(&disk, 7, 1 << 20).is_err());
            disk.crash(nth);
        }
        let mut wal = open_small(&disk, 8, 1 << 20).unwrap();
        assert!(wal.findings().iter().any(|finding| matches!(finding, Finding::Hole { offset, .. } if *offset == at as u64)));
        assert_eq!(check(&wal), before_the_hole);
        let orphans = wal.orphans(&stream(2)).unwrap();
        let first = head.first + u64::from(head.count);
        assert_eq!(orphans.first().map(|(seq, _)| *seq), Some(first));
        assert!(orphans.iter().zip(first..).all(|((seq, bytes), wanted)| *seq == wanted && *bytes == event(&stream(2), *seq)));
        assert!(wal.orphans(&stream(1)).unwrap().is_empty());
        let kept = disk.bytes(&Path::new(FOLDER).join(format!("00000001.hole-{at}"))).unwrap();
        assert_eq!(kept, disk.bytes(&file).unwrap()[at..at + len]);
        push(&mut wal, &stream(2), 30, true).unwrap();
        wal.sync().unwrap();
        drop(wal);
        let wal = open_small(&disk, 9, 1 << 20).unwrap();
        assert!(wal.findings().is_empty(), "told once: {:?}", wal.findings());
        assert_eq!(check(&wal)[1], (stream(2), head.first - 1 + 30));
        assert_eq!(wal.orphans(&stream(2)).unwrap(), orphans);
        let faults = faults(&read(&disk).unwrap());
        assert!(faults.iter().all(|fault| fault.flaw == Flaw::KnownHole), "{faults:?}");
    }
}

#[test]
fn a_damaged_index_is_made_again_from_the_frames() {
    let disk = log(4000, 60);
    let whole = check(&read(&disk).unwrap());
    let segments = u32::try_from(disk.list(Path::new(FOLDER)).unwrap().len()).unwrap();
    for back in [1, 2] {
        for from_end in [1, 60, 100, 2000] {
            let disk = disk.image();
            let number = segments - back;
            disk.edit(&segment(number), |bytes| {
                let at = bytes.len().saturating_sub(from_end).max(64);
                bytes[at] ^= 0x10;
            });
            let mut wal = open_small(&disk, 5, 4000).unwrap();
            let told = wal.findings().contains(&Finding::Index { segment: number });
            assert!(faults(&read(&disk).unwrap()).iter().all(|fault| fault.segment == number));
            assert!(!faults(&read(&disk).unwrap()).is_empty());
            if from_end < 2000 {
                let faults = faults(&read(&disk).unwrap());
                assert!(faults.iter().all(|fault| fault.flaw == Flaw::Index), "R10.8-e: nothing is missing for it: {faults:?}");
                assert_eq!(check(&wal), whole, "index of {number} damaged at {from_end} from its end");
                assert!(told || back > 1);
            }
            push(&mut wal, &stream(1), 2, true).unwrap();
            wal.sync().unwrap();
        }
    }
}

/// The trailer of segment 2.
fn trailer(bytes: &[u8]) -> Trailer {
    Trailer::read(bytes.last_chunk::<TRAILER_LEN>().unwrap(), 2, bytes.len() as u64).unwrap()
}

/// Make its checksum fit tables that were changed.
fn fit_tables(bytes: &mut Vec<u8>) {
    let mut trailer = trailer(bytes);
    let end = usize::try_from(trailer.tables_end()).unwrap();
    trailer.tables_crc = crc32fast::hash(&bytes[trailer.tables_offset as usize..end]);
    bytes.truncate(end);
    bytes.extend(trailer.to_bytes());
}

/// Tables are believed when their checksum fits, and a hand can make it fit: whatever numbers stand there, nothing is shown that was not written, and nothing
/// adds up to more than there can be.
#[test]
fn tables_of_any_numbers_show_nothing_that_was_not_written() {
    let whole = log(4000, 60);
    let mut tables = 0..0;
    whole.edit(&segment(2), |bytes| tables = trailer(bytes).tables_offset as usize..usize::try_from(trailer(bytes).tables_end()).unwrap());
    for (word, value) in tables.step_by(4).flat_map(|word| [u32::MAX, 1 << 31, 0].map(|value| (word, value))) {
        let disk = whole.image();
        disk.edit(&segment(2), |bytes| {
            bytes[word..word + 4].copy_from_slice(&value.to_le_bytes());
            fit_tables(bytes);
        });
        let reader = read(&disk).unwrap();
        for (of, head) in reader.streams() {
            drop(reader.checkpoints(&of, 1, head.end.seq));
            drop(reader.orphan_span(&of, 0));
            let Ok(mut events) = reader.events(&of, 1) else { continue };
            while let Ok(Some((seq, bytes))) = events.next() {
                assert_eq!(bytes, event(&of, seq), "word {word} is {value:#x}");
            }
        }
        let mut scan = reader.scan().unwrap();
        while let Ok(Some((of, seq, bytes))) = scan.next() {
            assert_eq!(bytes, event(&of, seq), "word {word} is {value:#x}");
        }
        drop(reader.verify(&mut |_| {}, &mut |_, _| {}));
    }
}

/// R10.8-e. A lost index is told and no fault; tables that fit their checksum and not the sealed hash were changed by a hand, and that is one.
#[test]
fn a_lost_index_is_no_fault_and_a_forged_one_is() {
    let count_of = |edit: &dyn Fn(&mut Vec<u8>)| {
        let disk = log(4000, 60);
        disk.edit(&segment(2), edit);
        let mut flaws = Vec::new();
        let verified = read(&disk).unwrap().verify(&mut |fault| flaws.push(fault.flaw), &mut |_, _| {}).unwrap();
        (verified.fault_count, flaws)
    };
    assert_eq!(count_of(&|bytes| bytes[20] ^= 1), (0, vec![Flaw::Index]), "header");
    assert_eq!(count_of(&|bytes| *bytes.last_mut().unwrap() ^= 1), (0, vec![Flaw::Index]), "trailer");
    let tables = |bytes: &mut Vec<u8>| {
        let at = usize::try_from(trailer(bytes).tables_end()).unwrap() - 1;
        bytes[at] ^= 1;
    };
    assert_eq!(count_of(&tables), (0, vec![Flaw::Index]), "tables");
    let heads = |bytes: &mut Vec<u8>| {
        let at = trailer(bytes).heads_offset as usize + frame::HEAD_LEN;
        bytes[at] ^= 1;
    };
    assert_eq!(count_of(&heads), (0, vec![Flaw::Index]), "heads");
    let forged = |bytes: &mut Vec<u8>| {
        tables(bytes);
        fit_tables(bytes);
    };
    assert_eq!(count_of(&forged), (1, vec![Flaw::Tampered]), "forged");
}

#[test]
fn rot_in_a_sealed_segment_costs_one_run_and_is_told() {
    let disk = log(4000, 60);
    let file = segment(2);
    let (at, head, _) = *frames(&disk, &file).iter().find(|(_, head, _)| head.kind == Kind::Events && head.stream == 2).unwrap();
    disk.edit(&file, |bytes| bytes[at + 50] ^= 4);
    let reader = read(&disk).unwrap();
    let mut events = reader.events(&stream(2), head.first).unwrap();
    let told = Some((stream(2), head.first));
    assert!(matches!(events.next(), Err(StoreError::Damaged { segment: 2, offset, stream }) if offset == at as u64 && stream == told));
    assert!(events.next().unwrap().is_none());
    assert!(reader.events(&stream(2), head.first + u64::from(head.count)).unwrap().next().unwrap().is_some());
    let (mut count, mut errors) = (0, 0);
    let mut scan = reader.scan().unwrap();
    loop {
        match scan.next() {
            Ok(Some(_)) => count += 1,
            Ok(None) => break,
            Err(_) => errors += 1,
        }
    }
    let all: u64 = reader.streams().iter().map(|(_, head)| head.end.seq).sum();
    assert_eq!((count, errors), (all - u64::from(head.count), 1));
}

/// What was said of one flipped bit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Where it is.
    Here,
    /// Something, of another place.
    Elsewhere,
    /// Nothing; nothing is lost either.
    Harmless,
}

/// Flip one bit; it must be told or change nothing, and nothing may be invented.
fn flip(disk: &MemoryDisk, path: &Path, bit: usize, segment_len: u64, whole: &[(Stream, u64)]) -> Told {
    let why = format!("{} bit {bit}", path.display());
    let number: u32 = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).unwrap();
    let disk = disk.image();
    disk.edit(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    let is_here = |finding: &Finding| match finding {
        Finding::TornTail { .. } => true, // of the newest segment, and no other is changed at its end
        Finding::Hole { segment, .. } | Finding::Index { segment } | Finding::Short { segment, .. } => *segment == number,
    };
    let said_here =
        |error: &StoreError| matches!(error, StoreError::Damaged { segment, .. } | StoreError::Tampered { segment, .. } if *segment == number);
    let (mut told, mut here) = (false, false);
    let told_by_verify = match read(&disk) {
        Ok(reader) => {
            let faults = faults(&reader);
            here |= faults.iter().any(|fault| fault.segment == number);
            !faults.is_empty()
        }
        Err(error) => {
            here |= said_here(&error);
            true
        }
    };
    let wal = match open_small(&disk, 9, segment_len) {
        Ok(wal) => wal,
        Err(error) => return if here || said_here(&error) { Told::Here } else { Told::Elsewhere },
    };
    here |= wal.findings().iter().any(is_here);
    told |= !wal.findings().is_empty();
    let mut held = Vec::new();
    for (of, head) in wal.streams() {
        let mut count = 0;
        let opened = wal.events(&of, 0);
        told |= opened.is_err();
        let Ok(mut events) = opened else { continue };
        loop {
            match events.next() {
                Ok(Some((seq, bytes))) => {
                    assert_eq!(bytes, &*event(&of, seq), "{why}: invented");
                    count += 1;
                }
                Ok(None) => break,
                Err(error) => {
                    here |= said_here(&error);
                    told = true;
                    break;
                }
            }
        }
        assert!(count <= head.end.seq);
        held.push((of, count));
    }
    assert!(told || held == whole, "{why}: silent loss");
    match (here, told || told_by_verify) {
        (true, _) => Told::Here,
        (false, true) => Told::Elsewhere,
        (false, false) => Told::Harmless,
    }
}

/// Flip some of all bits.
fn flips(disk: &MemoryDisk, segment_len: u64, every: usize) {
    let whole = check(&read(disk).unwrap());
    for entry in disk.list(Path::new(FOLDER)).unwrap() {
        let bytes = disk.bytes(&entry.path).unwrap();
        let padding = bytes.iter().rposition(|byte| *byte != 0).unwrap() * 8 + 400; // all alike: a few of its bits stand for the rest
        for bit in (0..padding.min(bytes.len() * 8)).step_by(every).chain((padding..bytes.len() * 8).step_by(40_009)) {
            flip(disk, &entry.path, bit, segment_len, &whole);
        }
    }
}

/// Each of the 524 288 bits of 64 KiB of log, by `cargo xtask rot`; one in ten thousand every day. Shared among threads, each with the same log.
#[test]
fn every_flipped_bit_of_64_kib_is_told_where_it_is() {
    const LEN: usize = 64 * 1024;
    let every = usize::try_from(1 + 10_000 / effort()).unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let len = |disk: &MemoryDisk| disk.list(Path::new(FOLDER)).unwrap().iter().map(|entry| disk.bytes(&entry.path).unwrap().len()).sum::<usize>();
    let rounds = (10..).step_by(10).find(|rounds| len(&log(12_000, *rounds)) >= LEN).unwrap();
    let shard = |shard: usize| {
        let disk = log(12_000, rounds);
        let whole = check(&read(&disk).unwrap());
        let files = disk.list(Path::new(FOLDER)).unwrap().into_iter().map(|entry| (disk.bytes(&entry.path).unwrap().len(), entry.path));
        let mut places =
            files.flat_map(|(len, path)| (0..len * 8).map(move |bit| (path.clone(), bit))).take(LEN * 8).step_by(every).skip(shard).step_by(threads);
        let mut told = [0_u64; 3];
        for (done, (path, bit)) in (1..).zip(&mut places) {
            told[flip(&disk, &path, bit, 12_000, &whole) as usize] += 1;
            if shard == 0 && done % 10_000 == 0 {
                println!("{} of {}", done * threads, LEN * 8 / every);
            }
        }
        told
    };
    let told = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|number| scope.spawn(move || shard(number))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .fold([0; 3], |sum: [u64; 3], told| std::array::from_fn(|index| sum[index] + told[index]))
    });
    let [here, elsewhere, harmless] = told;
    println!(
        "{} bits flipped: {here} told where they are, {elsewhere} told of another place, {harmless} in bytes that say nothing",
        told.iter().sum::<u64>()
    );
    assert_eq!([elsewhere, harmless], [0, 0], "of {here}");
    assert_eq!(here, (LEN * 8).div_ceil(every) as u64, "the log is long enough");
}

/// R10.1-c: rot is found, and never handed out as data.
/// One rotten stretch took a young log whole, header and all: it was taken for one that had never been begun, and nobody was told.
#[test]
fn a_log_that_rotted_whole_is_told_and_not_taken_for_a_new_one() {
    let disk = log(1 << 20, 1);
    disk.edit(&segment(1), |bytes| bytes.iter_mut().filter(|byte| **byte != 0).for_each(|byte| *byte ^= 1));
    let damaged = disk.bytes(&segment(1)).unwrap();
    let wal = open_small(&disk, 2, 1 << 20).unwrap();
    assert!(matches!(wal.findings(), [Finding::Index { .. }, Finding::Hole { offset: 64, .. }]), "{:?}", wal.findings());
    let aside = disk.bytes(&Path::new(FOLDER).join("00000001.hole-64")).unwrap();
    let (kept, rest) = damaged[64..].split_at(aside.len());
    assert!(aside == kept && rest.iter().all(|byte| *byte == 0), "all of it is kept");
}

/// After a failed sync the system shows what no medium has. The next process read that, and told others that it is held.
#[test]
fn what_a_failed_sync_did_not_store_is_not_shown_to_the_next_process() {
    let disk = log(1 << 20, 1);
    let stored = head(&read(&disk).unwrap(), &stream(1));
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    push(&mut wal, &stream(1), 3, true).unwrap();
    let fault = memory_disk::Fault { operation: Operation::Sync, nth: 1, error: std::io::ErrorKind::Other, sticky: false };
    disk.fail(fault);
    assert!(wal.sync().is_err());
    drop(wal);
    assert_eq!(head(&read(&disk).unwrap(), &stream(1)), stored, "a reader beside it");
    assert_eq!(head(&open_small(&disk, 3, 1 << 20).unwrap(), &stream(1)), stored, "the next writer");
}

#[test]
fn every_flipped_bit_is_told_or_harmless() {
    let every = usize::try_from(1 + 210 / effort()).unwrap();
    flips(&log(3000, 12), 3000, every);
    if effort() > 1 {
        flips(&log(12_000, 110), 12_000, every);
    }
}
