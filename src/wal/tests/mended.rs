//! What rotted in a sealed segment is stored again, and read in the place of what rotted.

use super::damage::{faults, frames, log};
use super::*;
use crate::ports::Disk as _;
use crate::ports::memory_disk::{Fault, Operation};
use crate::ports::store::Rotten;
use crate::wal::frame::{self, Kind};
use crate::wal::fsck::Flaw;
use bundle_format::chain::digest;
use std::collections::BTreeMap;

const SEGMENT_LEN: u64 = 4000;

/// What a peer holds who has everything: heads and checkpoints; events are those of [`event`].
struct Peer(Vec<(Stream, u64)>, BTreeMap<Stream, Vec<Checkpointed>>);

impl Peer {
    fn of(log: &dyn Log) -> Self {
        let held = check(log);
        let checkpoints = held.iter().map(|(stream, _)| (*stream, log.checkpoints(stream, 0, u64::MAX).unwrap())).collect();
        Self(held, checkpoints)
    }

    /// Give back what is missing. How many events and checkpoints.
    fn refill(&self, wal: &mut Wal) -> Result<(u64, u64), StoreError> {
        let (mut events, mut checkpoints) = (0, 0);
        for (stream, end) in &self.0 {
            for (first, last) in wal.lost(stream, 1, *end)? {
                let again: Vec<_> = (first..=last).map(|seq| event(stream, seq)).collect();
                wal.mend(stream, first, &again.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                events += last + 1 - first;
            }
            let lost: Vec<_> = self.1[stream].iter().copied().filter(|at| wal.lacks_checkpoint(stream, at.position.seq)).collect();
            wal.append_checkpoints(stream, &lost)?;
            checkpoints += lost.len() as u64;
        }
        wal.sync()?;
        Ok((events, checkpoints))
    }

    /// Everything is there, by every way of reading, and nothing is missing to `fsck`.
    fn check(&self, log: &dyn Log, reader: &WalReader, why: &str) {
        assert_eq!(check(log), self.0, "{why}");
        for (stream, checkpoints) in &self.1 {
            assert_eq!(log.checkpoints(stream, 0, u64::MAX).unwrap(), *checkpoints, "{why}: {stream:?}");
            for at in checkpoints {
                assert_eq!(log.checkpoint_below(stream, at.position.seq).unwrap().as_ref(), Some(at), "{why}");
            }
            let end = log.head(stream).unwrap().end.seq;
            for from in (1..=end).step_by(7) {
                let mut events = log.events(stream, from).unwrap();
                assert_eq!(events.next().unwrap(), Some((from, &*event(stream, from))), "{why}");
            }
        }
        assert!(log.rotten().is_empty(), "{why}: {:?}", log.rotten());
        let faults = faults(reader);
        assert!(faults.iter().all(|fault| matches!(fault.flaw, Flaw::Mended | Flaw::Index)), "{why}: {faults:?}");
    }
}

/// Rot `disk`, refill from a peer, and look at everything, now, after opening again, and after the log has grown.
fn mends(disk: &MemoryDisk, why: &str, rot: impl FnOnce(&MemoryDisk)) -> (u64, u64) {
    let peer = Peer::of(&read(disk).unwrap());
    let disk = disk.image();
    rot(&disk);
    let mut wal = open_small(&disk, 21, SEGMENT_LEN).unwrap();
    let refilled = peer.refill(&mut wal).unwrap();
    peer.check(&wal, &read(&disk).unwrap(), why);
    assert_eq!(peer.refill(&mut wal).unwrap(), (0, 0), "{why}: nothing is stored twice");
    drop(wal);
    let mut wal = open_small(&disk, 22, SEGMENT_LEN).unwrap();
    peer.check(&wal, &read(&disk).unwrap(), why);
    for _ in 0..4 {
        push(&mut wal, &stream(2), 20, true).unwrap();
    }
    wal.sync().unwrap();
    drop(wal);
    let reader = read(&disk).unwrap();
    assert!(reader.view.active.number > 3);
    Peer::of(&reader).check(&reader, &read(&disk).unwrap(), why);
    refilled
}

fn flip(disk: &MemoryDisk, number: u32, at: usize) {
    disk.edit(&segment(number), |bytes| bytes[at] ^= 4);
}

/// Events frames of a segment: offset, first, count, stream.
fn events_of(disk: &MemoryDisk, number: u32) -> Vec<(usize, u64, u64, u32)> {
    let frames = frames(disk, &segment(number)).into_iter().filter(|(_, head, _)| head.kind == Kind::Events);
    frames.map(|(at, head, _)| (at, head.first, u64::from(head.count), head.stream)).collect()
}

/// R10.8-e.
#[test]
fn what_rotted_in_a_sealed_segment_is_read_where_it_is_stored_again() {
    let disk = log(SEGMENT_LEN, 60);
    let events = events_of(&disk, 2);
    for &(at, first, count, number) in &events {
        let rotten = disk.image();
        flip(&rotten, 2, at + 40);
        let reader = read(&rotten).unwrap();
        let of = stream(u8::try_from(number).unwrap());
        assert_eq!(reader.lost(&of, 1, u64::MAX).unwrap(), [(first, first + count - 1)]);
        assert_eq!(reader.rotten(), [Rotten { stream: of, first, last: first + count - 1, events: true }]);
        let told: Vec<_> = faults(&reader).into_iter().filter(|fault| fault.flaw == Flaw::Damaged).collect();
        assert!(told.len() == 1 && told[0].offset == at as u64 && told[0].stream == Some((of, first)), "{told:?}");
        assert_eq!(mends(&disk, &format!("{of:?}:{first}"), |disk| flip(disk, 2, at + 40)), (count, 0));
    }
}

#[test]
fn damage_of_any_shape_is_mended_and_a_checkpoint_too() {
    let disk = log(SEGMENT_LEN, 60);
    let events = events_of(&disk, 2);
    let count = |range: std::ops::Range<usize>| events[range].iter().map(|(.., count, _)| count).sum::<u64>();
    assert_eq!(mends(&disk, "two beside each other", |disk| [0, 1].into_iter().for_each(|n| flip(disk, 2, events[n].0 + 40))), (count(0..2), 0));
    let last = events.len() - 1;
    let ends = |disk: &MemoryDisk| [0, last].into_iter().for_each(|n| flip(disk, 2, events[n].0 + 9));
    assert_eq!(mends(&disk, "the first and the last", ends), (count(0..1) + count(last..last + 1), 0));
    let (first, ..) = events[1];
    let zeros = |disk: &MemoryDisk| disk.edit(&segment(2), |bytes| bytes[first..first + 2000].fill(0));
    assert!(mends(&disk, "a block of zeros", zeros).0 > 5);
    let all = |disk: &MemoryDisk| disk.edit(&segment(2), |bytes| bytes[64..events[last].0 + 40].fill(0));
    assert_eq!(mends(&disk, "all events of a segment", all).0, count(0..events.len()));
    let checkpoints: Vec<_> = frames(&disk, &segment(2)).into_iter().filter(|(_, head, _)| head.kind == Kind::Checkpoints).collect();
    let (at, head, _) = checkpoints[1];
    assert_eq!(mends(&disk, "a checkpoint", |disk| flip(disk, 2, at + 40)), (0, u64::from(head.count)));
}

/// Nothing tells any more what stood in the damage; each history is whole again all the same.
#[test]
fn an_index_that_rotted_with_what_it_tells_of_is_no_obstacle() {
    let disk = log(SEGMENT_LEN, 60);
    let peer = Peer::of(&read(&disk).unwrap());
    let events = events_of(&disk, 2);
    for at in [70, events[3].0 + 40] {
        let disk = disk.image();
        flip(&disk, 2, at);
        disk.edit(&segment(2), |bytes| *bytes.last_mut().unwrap() ^= 1);
        let mut wal = open_small(&disk, 80, SEGMENT_LEN).unwrap();
        assert!(peer.refill(&mut wal).unwrap().0 > 0);
        assert_eq!(peer.refill(&mut wal).unwrap().0, 0);
        let refilled: Vec<_> = peer.0.iter().map(|(stream, end)| (*stream, wal.lost(stream, 1, *end).unwrap())).collect();
        assert!(refilled.iter().all(|(_, lost)| lost.is_empty()), "{refilled:?}");
        for (stream, end) in &peer.0 {
            let mut events = wal.events(stream, 1).unwrap();
            for seq in 1..=*end {
                assert_eq!(events.next().unwrap(), Some((seq, &*event(stream, seq))));
            }
        }
    }
}

/// Frames and index of an old segment, all of it: also of the first, where histories begin.
#[test]
fn a_segment_that_rotted_whole_comes_again() {
    let disk = log(SEGMENT_LEN, 60);
    let peer = Peer::of(&read(&disk).unwrap());
    let newest = read(&disk).unwrap().view.active.number - 1;
    for number in 1..newest {
        let stood: u64 = events_of(&disk, number).iter().map(|(.., count, _)| count).sum();
        let disk = disk.image();
        disk.edit(&segment(number), |bytes| bytes[64..].fill(0));
        let mut wal = open_small(&disk, 90, SEGMENT_LEN).unwrap();
        assert_eq!(peer.refill(&mut wal).unwrap().0, stood);
        drop(wal);
        let reader = read(&disk).unwrap();
        assert_eq!(check(&reader), peer.0, "segment {number}");
        for (stream, checkpoints) in &peer.1 {
            let newest = checkpoints.last().map(|at| at.position);
            assert_eq!(reader.checkpoint_below(stream, u64::MAX).unwrap().map(|at| at.position), newest, "segment {number}: {stream:?}");
        }
    }
}

#[test]
fn what_is_here_again_may_rot_again() {
    let disk = log(SEGMENT_LEN, 60);
    let peer = Peer::of(&read(&disk).unwrap());
    let (at, _, count, _) = events_of(&disk, 2)[1];
    flip(&disk, 2, at + 40);
    for life in 0..3 {
        let mut wal = open_small(&disk, 30 + life, 800).unwrap();
        assert_eq!(peer.refill(&mut wal).unwrap(), (count, 0));
        let number = wal.view.active.number;
        let mut wal = {
            drop(wal);
            open_small(&disk, 40 + life, 1).unwrap()
        };
        push(&mut wal, &stream(103), 1, true).unwrap(); // seals what is here again
        wal.sync().unwrap();
        let mended: Vec<_> = frames(&disk, &segment(number)).into_iter().filter(|(_, head, _)| head.kind == Kind::Mended).collect();
        assert_eq!(mended.len(), 1);
        flip(&disk, number, mended[0].0 + 40);
        drop(wal);
        let reader = read(&disk).unwrap();
        assert!(faults(&reader).iter().any(|fault| fault.flaw == Flaw::Damaged && fault.segment == number));
        assert_eq!(reader.rotten().len(), 1);
    }
    let mut wal = open_small(&disk, 50, 800).unwrap();
    peer.refill(&mut wal).unwrap();
    assert!(wal.rotten().is_empty());
    check(&wal);
}

/// R10.8-e. What is here again outlives the place where it stood: a hole took that, with the index that told of it, and its history ends before it by now. It
/// is void, also when it has come once more: the log listed it, and its history did not have it, or listed it twice.
#[test]
fn what_a_hole_cut_off_is_not_here_again() {
    let disk = log(SEGMENT_LEN, 30);
    let peer = Peer::of(&read(&disk).unwrap());
    let newest = read(&disk).unwrap().view.active.number - 1;
    let (at, first, _, number) = *events_of(&disk, newest).last().unwrap();
    flip(&disk, newest, at + 40);
    let mut wal = open_small(&disk, 30, SEGMENT_LEN).unwrap();
    assert!(peer.refill(&mut wal).unwrap().0 > 0);
    drop(wal);
    let mut wal = open_small(&disk, 31, 1).unwrap();
    push(&mut wal, &stream(103), 1, true).unwrap(); // seals what is here again
    wal.sync().unwrap();
    let behind = newest + 2..=wal.view.active.number;
    drop(wal);
    behind.for_each(|number| disk.remove(&segment(number)).unwrap());
    for number in [newest, newest + 1] {
        disk.edit(&segment(number), |bytes| *bytes.last_mut().unwrap() ^= 1);
    }
    let of = stream(u8::try_from(number).unwrap());
    assert_eq!(read(&disk).unwrap().head(&of).unwrap().end.seq, first - 1);
    for round in 0..40 {
        let mut wal = open_small(&disk, 40 + round, SEGMENT_LEN).unwrap();
        check(&wal);
        push(&mut wal, &of, 4, true).unwrap(); // the same again, and more
        wal.sync().unwrap();
        check(&wal);
    }
    disk.edit(&segment(newest + 1), |bytes| *bytes.last_mut().unwrap() ^= 1); // back as it was: its index tells of what is void
    let reader = read(&disk).unwrap();
    let peer = Peer::of(&reader);
    let sealed = newest + 2..reader.view.active.number;
    let (number, at) = sealed.rev().find_map(|at| Some((at, events_of(&disk, at).into_iter().find(|(.., stream)| *stream == number)?.0))).unwrap();
    flip(&disk, number, at + 40); // what came instead rots too, and is here again
    let mut wal = open_small(&disk, 90, SEGMENT_LEN).unwrap();
    assert!(peer.refill(&mut wal).unwrap().0 > 0);
    assert!(check(&wal) == peer.0 && check(&read(&disk).unwrap()) == peer.0);
}

/// Any bytes changed in sealed segments, and a peer who has everything.
#[test]
fn whatever_rots_in_sealed_segments_comes_back() {
    let disk = log(SEGMENT_LEN, 40);
    let sealed = read(&disk).unwrap().view.active.number - 1;
    for seed in 0..30 * effort() {
        let die = SeededEntropy(Cell::new(seed));
        let roll = |below: usize| usize::try_from(u64::from_be_bytes(crate::ports::entropy::random(&die))).unwrap() % below;
        let why = format!("seed {seed}");
        mends(&disk, &why, |disk| {
            for _ in 0..=roll(5) {
                let number = u32::try_from(1 + roll(usize::try_from(sealed).unwrap())).unwrap();
                disk.edit(&segment(number), |bytes| {
                    let heads = frame::u32_at(bytes, bytes.len() - 64 + 12) as usize; // the index is another test's
                    let at = 64 + roll(heads - 64);
                    let len = [1, 1, 40, 700][roll(4)].min(heads - at);
                    bytes[at..at + len].iter_mut().for_each(|byte| *byte = byte.wrapping_add(u8::try_from(1 + roll(255)).unwrap()));
                });
            }
        });
    }
}

/// Cut at every write and sync: what was lost is still lost or here again, and nothing else has changed.
#[test]
fn a_mend_that_is_cut_short_is_done_again() {
    let disk = log(SEGMENT_LEN, 60);
    let peer = Peer::of(&read(&disk).unwrap());
    for (at, ..) in events_of(&disk, 2).into_iter().step_by(2) {
        flip(&disk, 2, at + 40);
    }
    for operation in [Operation::Write, Operation::Sync, Operation::Name] {
        for nth in 1.. {
            let disk = disk.image();
            disk.fail(Fault { operation, nth, error: std::io::ErrorKind::Other, sticky: true });
            let done = open_small(&disk, 60, 800).and_then(|mut wal| peer.refill(&mut wal));
            disk.crash(nth);
            disk.heal();
            let mut wal = open_small(&disk, 61, 800).unwrap();
            for (stream, end) in &peer.0 {
                let mut events = wal.events(stream, 1).unwrap();
                while let Ok(Some((seq, bytes))) = events.next() {
                    assert!(seq <= *end && bytes == event(stream, seq));
                }
            }
            let left = peer.refill(&mut wal).unwrap();
            assert!(done.is_err() || left == (0, 0), "what was synced is there");
            peer.check(&wal, &read(&disk).unwrap(), &format!("{operation:?} {nth}"));
            if done.is_ok() {
                break;
            }
        }
    }
}

/// A mended event proves nothing by itself: callers have held it against the chain, and the seal keeps it.
#[test]
fn the_chain_leads_through_what_is_here_again() {
    let disk = log(SEGMENT_LEN, 60);
    let (at, first, count, number) = events_of(&disk, 2)[1];
    flip(&disk, 2, at + 40);
    let mut wal = open_small(&disk, 70, SEGMENT_LEN).unwrap();
    let of = stream(u8::try_from(number).unwrap());
    let wrong: Vec<_> = (0..count).map(|_| b"not what stood here".as_slice()).collect();
    wal.mend(&of, first, &wrong).unwrap();
    wal.sync().unwrap();
    drop(wal);
    assert!(faults(&read(&disk).unwrap()).iter().any(|fault| fault.flaw == Flaw::Chain), "fsck follows the chain through it");
    let mut position = Position::start(&of.origin);
    let reader = read(&disk).unwrap();
    let mut events = reader.events(&of, 1).unwrap();
    while let Some((_, bytes)) = events.next().unwrap() {
        position = position.then(&digest(bytes));
    }
    assert_ne!(position, reader.head(&of).unwrap().end);
}
