//! Power cuts, torn writes, failing disks.

use super::*;
use crate::ports::Disk as _;
use crate::ports::disk::Open;
use crate::ports::memory_disk::{Fault, Operation};
use crate::ports::store::Finding;
use crate::wal::keys::NONCES;
use std::collections::BTreeMap;
use std::io::ErrorKind;

/// A small deterministic die.
struct Die(SeededEntropy);

impl Die {
    fn new(seed: u64) -> Self {
        Self(SeededEntropy(Cell::new(seed)))
    }

    fn roll(&self, below: u64) -> u64 {
        u64::from_be_bytes(crate::ports::entropy::random(&self.0)) % below
    }
}

/// How far each stream is known to be durable, and how far it ever went.
#[derive(Default)]
struct Oracle {
    synced: BTreeMap<Stream, u64>,
    appended: BTreeMap<Stream, u64>,
}

impl Oracle {
    fn synced(&mut self, log: &dyn Log) {
        self.synced = log.streams().into_iter().map(|(stream, head)| (stream, head.end.seq)).collect();
    }

    /// Nothing acknowledged is lost, nothing is there that was never appended.
    fn check(&self, log: &dyn Log, why: &str) {
        let held: BTreeMap<_, _> = check(log).into_iter().collect();
        for (stream, seq) in &self.synced {
            assert!(held.get(stream).is_some_and(|held| held >= seq), "{why}: {stream:?} lost events, {held:?} of {seq}");
        }
        for (stream, seq) in &held {
            assert!(self.appended.get(stream).is_some_and(|appended| appended >= seq), "{why}: {stream:?} holds invented events");
        }
    }
}

/// Some steps of a writer's life; ends early at an error.
fn live(wal: &mut Wal, die: &Die, steps: u64, oracle: &mut Oracle) -> Result<(), StoreError> {
    for _ in 0..steps {
        if die.roll(4) == 0 {
            wal.sync()?;
            oracle.synced(wal);
            continue;
        }
        let stream = stream(u8::try_from(1 + die.roll(3)).unwrap());
        let count = [1, 1, 3, 30][usize::try_from(die.roll(4)).unwrap()];
        // said before it is done: a failed append may have stored a part
        let appended = oracle.appended.entry(stream).or_default();
        *appended = (*appended).max(head(wal, &stream).seq + count);
        push(wal, &stream, count, die.roll(3) == 0)?;
    }
    Ok(())
}

fn crashes(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        NONCES.set(Some(std::collections::HashSet::new()));
        let die = Die::new(seed);
        let disk = MemoryDisk::new();
        let mut oracle = Oracle::default();
        for life in 0..4 {
            let mut wal = open_small(&disk, seed * 10 + life, 3000).unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
            oracle.check(&wal, &format!("seed {seed} life {life}"));
            oracle.synced(&wal); // what was shown must stay
            live(&mut wal, &die, die.roll(12), &mut oracle).unwrap();
            drop(wal);
            if die.roll(4) > 0 {
                disk.crash(die.roll(u64::MAX));
            }
            if die.roll(4) == 0 {
                let reader = read(&disk).unwrap();
                oracle.check(&reader, &format!("seed {seed} reader in life {life}"));
                oracle.synced(&reader);
                disk.crash(die.roll(u64::MAX));
            }
        }
        let wal = open_small(&disk, seed * 10 + 9, 3000).unwrap();
        oracle.check(&wal, &format!("seed {seed} at the end"));
    }
    NONCES.set(None);
}

#[test]
fn no_crash_loses_what_was_synced_or_invents_anything_or_repeats_a_nonce() {
    crashes(0..100 * effort());
}

/// What a torn write leaves behind a cut.
#[derive(Clone, Copy, Debug)]
enum Tail {
    Gone,
    Zeros,
    Garbage,
}

#[test]
fn every_cut_of_the_last_frames_leaves_the_whole_frames_before_it() {
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, 1 << 20).unwrap();
    let (ours, big) = (stream(1), stream(2));
    push(&mut wal, &ours, 5, true).unwrap();
    wal.sync().unwrap();
    let mut ends = vec![wal.view.active.end];
    for count in [1, 30, 2] {
        push(&mut wal, &ours, count, false).unwrap();
        wal.sync().unwrap();
        ends.push(wal.view.active.end);
    }
    drop(wal);
    let seqs = [5, 6, 36, 38];
    let file = segment(1);
    for cut in ends[0]..ends[3] {
        let step = if (ends[1] + 40..ends[2] - 40).contains(&cut) { 1 + 396 / effort() } else { 1 };
        if cut % step != 0 {
            continue;
        }
        for tail in [Tail::Gone, Tail::Zeros, Tail::Garbage] {
            let (before, disk) = (disk.bytes(&file).unwrap(), disk.image());
            let at = usize::try_from(cut).unwrap();
            disk.edit(&file, |bytes| match tail {
                Tail::Gone => bytes.truncate(at),
                Tail::Zeros => bytes[at..].fill(0),
                Tail::Garbage => {
                    bytes.truncate(at);
                    let die = Die::new(cut);
                    bytes.extend((0..700).map(|_| u8::try_from(die.roll(256)).unwrap()));
                }
            });
            let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
            let why = format!("cut at {cut}, {tail:?}");
            let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
            assert_eq!(check(&wal), [(ours, seqs[whole])], "{why}");
            let whole_frames_only = ends.contains(&cut) && !matches!(tail, Tail::Garbage);
            match (tail, wal.findings()) {
                (_, [Finding::TornTail { .. }]) => assert!(!whole_frames_only, "{why}"),
                // a tag may end with a zero; garbage may have been a frame
                (Tail::Zeros, [Finding::Hole { .. }]) => assert!(ends.contains(&(cut + 1)), "{why}"),
                // nothing of the frame had a byte that says something
                (Tail::Zeros, []) => assert!(before[usize::try_from(ends[whole]).unwrap()..at].iter().all(|byte| *byte == 0), "{why}"),
                (Tail::Garbage, [Finding::Hole { .. }]) => {}
                (_, found) => assert!(whole_frames_only && found.is_empty(), "{why}: {found:?}"),
            }
            push(&mut wal, &ours, 2, false).unwrap();
            push(&mut wal, &big, 3, false).unwrap();
            wal.sync().unwrap();
            drop(wal);
            disk.crash(cut);
            let wal = open_small(&disk, 3, 1 << 20).unwrap();
            assert_eq!(check(&wal), [(ours, seqs[whole] + 2), (big, 3)], "{why}");
            assert!(wal.findings().is_empty(), "{why}: said once");
        }
    }
}

/// One life of a log, from nothing through rotations and a reopening, as far as the disk lets it.
fn script(disk: &MemoryDisk, oracle: &mut Oracle) -> Result<(), StoreError> {
    for life in 0..2 {
        let mut wal = open_small(disk, 100 + life, 4000)?;
        for _ in 0..3 {
            for (n, count) in [(1, 1), (2, 20), (1, 3)] {
                let stream = stream(n);
                let appended = oracle.appended.entry(stream).or_default();
                *appended = (*appended).max(head(&wal, &stream).seq + count);
                if let Err(error) = push(&mut wal, &stream, count, true) {
                    assert!(matches!(wal.sync(), Err(StoreError::Poisoned(_))), "a failed writer takes nothing more");
                    return Err(error);
                }
            }
            if let Err(error) = wal.sync() {
                let again = [wal.sync(), push(&mut wal, &stream(1), 1, false), wal.sync()];
                assert!(again.iter().all(|again| matches!(again, Err(StoreError::Poisoned(_)))), "{again:?}");
                return Err(error);
            }
            oracle.synced(&wal);
        }
    }
    Ok(())
}

#[test]
fn a_fault_at_any_operation_loses_nothing_and_passes_when_the_disk_is_well() {
    std::thread::scope(|scope| {
        for operation in [Operation::Write, Operation::Sync, Operation::Name, Operation::Read] {
            scope.spawn(move || {
                for sticky in [false, true] {
                    every_fault_passes(operation, ErrorKind::Other, sticky);
                    if operation != Operation::Read {
                        every_fault_passes(operation, ErrorKind::StorageFull, sticky);
                    }
                }
            });
        }
    });
}

/// The script, with the first operation of that kind failing, then the second, and so on until it has no more of them.
fn every_fault_passes(operation: Operation, error: ErrorKind, sticky: bool) {
    let mut nth = 1;
    loop {
        let why = format!("{operation:?} {nth} {error:?} sticky {sticky}");
        let disk = MemoryDisk::new();
        disk.fail(Fault { operation, nth, error, sticky });
        let mut oracle = Oracle::default();
        let ended = script(&disk, &mut oracle);
        if ended.is_ok() {
            break;
        }
        for power_cut in [false, true] {
            let disk = disk.image_or_crashed(power_cut, nth);
            let wal = open_small(&disk, 300, 4000).unwrap_or_else(|error| panic!("{why}, power cut {power_cut}: {error}"));
            oracle.check(&wal, &why);
            drop(wal);
            let mut again = Oracle { synced: oracle.synced.clone(), appended: oracle.appended.clone() };
            script(&disk, &mut again).unwrap();
            again.check(&read(&disk).unwrap(), &why);
        }
        nth += 1;
    }
    assert!(nth > 2, "{operation:?} was met");
}

impl MemoryDisk {
    /// A well disk: as the process left it, or as a power cut did.
    fn image_or_crashed(&self, power_cut: bool, seed: u64) -> Self {
        if power_cut {
            self.crash(seed);
        }
        self.heal();
        self.image()
    }
}

/// R10.4-b.
#[test]
fn a_push_is_one_write_and_one_sync_and_a_full_disk_is_refused() {
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, 1 << 20).unwrap();
    push(&mut wal, &stream(1), 1, false).unwrap();
    wal.sync().unwrap();
    let before = disk.counts();
    for _ in 0..500 {
        push(&mut wal, &stream(1), 1, false).unwrap();
        wal.sync().unwrap();
    }
    let after = disk.counts();
    assert_eq!((after.writes - before.writes, after.syncs - before.syncs, after.folder_syncs), (500, 500, before.folder_syncs));
    disk.set_space(Some(disk.bytes(&segment(1)).unwrap().len() as u64));
    let refused = std::iter::repeat_with(|| push(&mut wal, &stream(1), 1, false).and_then(|()| wal.sync())).take(1000).find_map(Result::err);
    assert_eq!(refused.unwrap().code(), bundle_format::error::Code::Z203);
    drop(wal);
    disk.set_space(None);
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    assert!(check(&wal)[0].1 > 501);
    push(&mut wal, &stream(1), 1, false).unwrap();
    wal.sync().unwrap();
}

/// R10.4-d: a disk takes what fits, which may be all of a frame and only some of the zeros behind it.
#[test]
fn what_is_refused_because_the_disk_is_full_is_not_there_afterwards() {
    for room in (0..1000).chain((1000..70_000).step_by(997)) {
        let disk = MemoryDisk::new();
        let mut wal = open_small(&disk, 1, 1 << 20).unwrap();
        disk.set_space(Some(disk.used() + room));
        let pushed = push(&mut wal, &stream(1), 1, false).and_then(|()| wal.sync());
        drop(wal);
        disk.set_space(None);
        let held = check(&open_small(&disk, 2, 1 << 20).unwrap());
        assert_eq!(held.first().map_or(0, |(_, seq)| *seq), u64::from(pushed.is_ok()), "room for {room}: {pushed:?}");
    }
}

#[test]
fn a_reader_shows_only_what_stays() {
    for seed in 0..100 * effort() {
        let disk = MemoryDisk::new();
        let mut wal = open_small(&disk, seed, 5000).unwrap();
        let die = Die::new(seed);
        let mut oracle = Oracle::default();
        live(&mut wal, &die, 1 + die.roll(20), &mut oracle).unwrap();
        let reader = read(&disk).unwrap();
        let before = disk.image();
        let shown = check(&reader);
        assert_eq!(disk.bytes(&segment(1)), before.bytes(&segment(1)));
        drop((reader, wal));
        disk.crash(seed);
        let held: BTreeMap<_, _> = check(&read(&disk).unwrap()).into_iter().collect();
        assert!(shown.iter().all(|(stream, seq)| held.get(stream).is_some_and(|held| held >= seq)), "seed {seed}");
    }
}

#[test]
fn an_image_put_back_and_written_on_repeats_no_nonce() {
    NONCES.set(Some(std::collections::HashSet::new()));
    let disk = MemoryDisk::new();
    for round in 0..20 {
        let image = disk.image();
        for (life, disk) in [image.image(), image, disk.clone()].into_iter().enumerate() {
            let mut wal = open_small(&disk, round * 10 + life as u64, 4000).unwrap();
            push(&mut wal, &stream(1), 3, true).unwrap();
            wal.sync().unwrap();
        }
    }
    NONCES.set(None);
    assert!(disk.open(&segment(1), Open::Read).unwrap().len().unwrap() > 0);
}
