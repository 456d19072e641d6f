//! The edges of what the log promises: where it goes on, where it stops, how much it tells.

use super::damage::{faults, frames, log};
use super::*;
use crate::ports::Disk as _;
use crate::ports::store::{Finding, Rotten, Spot};
use crate::wal::frame::{self, Kind};
use crate::wal::fsck::{Fault, Flaw};

/// Every event from a spot on, and where it stands.
fn scanned(log: &dyn Log, from: Spot) -> Vec<(Stream, u64, Spot)> {
    let (mut scan, mut all) = (log.scan_from(from).unwrap(), Vec::new());
    while let Some((stream, seq, bytes)) = scan.next().unwrap() {
        assert_eq!(bytes, event(&stream, seq));
        all.push((stream, seq, scan.spot()));
    }
    all
}

/// Frames of a kind in a segment.
fn count_of(disk: &MemoryDisk, number: u32, kind: Kind) -> usize {
    frames(disk, &segment(number)).iter().filter(|(_, head, _)| head.kind == kind).count()
}

/// What a reader remembers as its place is where the feed goes on: with that event, then all behind it, and none before.
#[test]
fn the_feed_goes_on_from_any_spot() {
    let disk = log(4000, 30);
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    push(&mut wal, &stream(1), 40, true).unwrap(); // many events to a frame
    wal.sync().unwrap();
    let reader = read(&disk).unwrap();
    for log in [&wal as &dyn Log, &reader] {
        let all = scanned(log, Spot::default());
        assert!(all.len() > 200 && all.last().unwrap().2.segment > 3);
        for (place, (.., spot)) in all.iter().enumerate() {
            assert_eq!(scanned(log, *spot), all[place..], "from {spot:?}");
        }
        let (.., last) = *all.last().unwrap();
        assert!(scanned(log, Spot { segment: last.segment + 1, ..Spot::default() }).is_empty());
    }
}

/// R10.4-f: how much stands behind the last mark is not forgotten between two writers, so no opening has more to read than that.
#[test]
fn marks_are_due_by_frames_and_by_bytes_whoever_wrote_them() {
    for (first, second, events, marks) in
        [(400, 400, 1, 0), (600, 600, 1, 1), (1100, 400, 1, 1), (1100, 1100, 1, 2), (35, 10, 100, 0), (35, 35, 100, 1)]
    {
        let disk = MemoryDisk::new();
        for (seed, rounds) in [(1, first), (2, second)] {
            let mut wal = open_small(&disk, seed, 1 << 24).unwrap();
            for _ in 0..rounds {
                push(&mut wal, &stream(1), events, false).unwrap();
            }
            wal.sync().unwrap();
        }
        assert_eq!(count_of(&disk, 1, Kind::Mark), marks, "{first} and {second} frames of {events} events");
        check(&open_small(&disk, 3, 1 << 24).unwrap());
    }
}

/// R10.4-a: a writer may have been killed before its sync. What the next opening shows, to whom it may be told, stays.
#[test]
fn what_an_opening_shows_outlives_a_power_cut() {
    let disk = log(1 << 20, 2);
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    for _ in 0..20 {
        push(&mut wal, &stream(1), 60, true).unwrap(); // more than is kept in memory before it is written
    }
    drop(wal);
    let shown = check(&open_small(&disk, 3, 1 << 20).unwrap());
    assert!(shown[0].1 > 100, "written and not synced: {shown:?}");
    for seed in 0..20 {
        let disk = disk.image_of_synced();
        disk.crash(seed);
        assert_eq!(check(&open_small(&disk, 4, 1 << 20).unwrap()), shown);
    }
    disk.crash(1);
    assert_eq!(check(&open_small(&disk, 4, 1 << 20).unwrap()), shown);
}

/// Power fails between sealing a segment and making the next: nothing is missing, and the next writer makes it (R10.4-e).
#[test]
fn a_segment_that_was_not_made_yet_is_no_fault() {
    let disk = log(4000, 30);
    let newest = read(&disk).unwrap().view.active.number;
    disk.remove(&segment(newest)).unwrap();
    let reader = read(&disk).unwrap();
    let held = check(&reader);
    let verified = reader.verify(&mut |fault| panic!("{fault:?}"), &mut |_, _| {}).unwrap();
    assert_eq!((verified.segment_count, verified.event_count), (u64::from(newest) - 1, held.iter().map(|(_, count)| count).sum()));
    let mut wal = open_small(&disk, 2, 4000).unwrap();
    assert!(wal.findings().is_empty());
    push(&mut wal, &stream(1), 3, true).unwrap();
    wal.sync().unwrap();
    disk.crash(3);
    let reader = read(&disk).unwrap();
    assert_eq!(reader.head(&stream(1)).unwrap().end.seq, held[0].1 + 3);
    reader.verify(&mut |fault| panic!("{fault:?}"), &mut |_, _| {}).unwrap();
}

/// Whoever waits for `fsck` sees that it gets on, and how far it has still to go.
#[test]
fn fsck_tells_how_far_it_is() {
    let disk = log(4000, 60);
    let mut told = Vec::new();
    let verified = read(&disk).unwrap().verify(&mut |fault| panic!("{fault:?}"), &mut |bytes, events| told.push((bytes, events))).unwrap();
    assert!(told.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 <= two[1].1), "it only gets on");
    assert_eq!(told.last(), Some(&(verified.byte_count, verified.event_count)));
    let len: u64 = disk.list(Path::new(FOLDER)).unwrap().iter().map(|entry| disk.bytes(&entry.path).unwrap().len() as u64).sum();
    assert!(verified.byte_count > len / 2 && verified.byte_count < len);
}

/// Of what rotted a part may come first: the rest goes on being told, exactly.
#[test]
fn what_is_still_missing_is_told_exactly() {
    let disk = log(4000, 60);
    let at = |first: u64, last: u64| Rotten { stream: stream(2), first, last, events: true };
    let long = |number: u32| {
        let found = frames(&disk, &segment(number)).into_iter().find(|(_, head, _)| head.kind == Kind::Events && head.stream == 2 && head.count > 6);
        found.map(|found| (number, found))
    };
    let (number, (offset, head, _)) = (1..5).find_map(long).unwrap();
    disk.edit(&segment(number), |bytes| bytes[offset + 40] ^= 4);
    let (first, last) = (head.first, head.first + u64::from(head.count) - 1);
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    assert_eq!(wal.lost(&stream(2), 1, u64::MAX).unwrap(), [(first, last)]);
    let again = |wal: &mut Wal, from: u64, to: u64| {
        let events: Vec<_> = (from..=to).map(|seq| event(&stream(2), seq)).collect();
        wal.mend(&stream(2), from, &events.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    };
    again(&mut wal, first + 2, first + 3);
    assert_eq!(wal.rotten(), [at(first, first + 1), at(first + 4, last)]);
    again(&mut wal, first, first + 1);
    assert_eq!(wal.rotten(), [at(first + 4, last)]);
    wal.sync().unwrap();
    let reader = read(&disk).unwrap();
    for view in [&wal.view, &reader.view] {
        assert_eq!(view.lost(&stream(2), 1, u64::MAX).unwrap(), [(first + 4, last)]);
        assert_eq!(view.lost(&stream(2), first + 5, last - 1).unwrap(), [(first + 5, last - 1)]);
        assert_eq!(view.lost(&stream(2), 1, first + 3).unwrap(), []);
        assert_eq!(view.lost(&stream(2), last + 1, u64::MAX).unwrap(), []);
    }
    again(&mut wal, first + 4, last);
    assert!(wal.rotten().is_empty());
    wal.sync().unwrap();
    check(&read(&disk).unwrap());
}

/// What rotted may be longer than a frame: each of its frames is found, and what rots of them again is told as whose it is.
#[test]
fn what_comes_again_in_many_frames_is_read_from_any_event_on() {
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, 40_000).unwrap();
    push(&mut wal, &stream(1), 300, false).unwrap(); // some 50 KB
    push(&mut wal, &stream(2), 1, true).unwrap(); // in the next segment
    wal.sync().unwrap();
    drop(wal);
    let held = check(&read(&disk).unwrap());
    let end = frames(&disk, &segment(1)).iter().rfind(|(_, head, _)| head.kind == Kind::Events).map(|(at, _, len)| at + len).unwrap();
    disk.edit(&segment(1), |bytes| bytes[400..end].iter_mut().for_each(|byte| *byte ^= 0x55));
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    let lost = wal.lost(&stream(1), 1, u64::MAX).unwrap();
    assert_eq!(lost, [(1, 300)]);
    let events: Vec<_> = (1..=300).map(|seq| event(&stream(1), seq)).collect();
    wal.mend(&stream(1), 1, &events.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    wal.sync().unwrap();
    let number = wal.view.active.number;
    assert!(count_of(&disk, number, Kind::Mended) > 2);
    drop(wal);
    let reader = read(&disk).unwrap();
    assert_eq!(check(&reader), held);
    for from in 1..=300 {
        assert_eq!(reader.events(&stream(1), from).unwrap().next().unwrap(), Some((from, &*event(&stream(1), from))));
    }
    // Sealed, and one frame of it rots again.
    let mut wal = open_small(&disk, 3, 1).unwrap();
    push(&mut wal, &stream(2), 1, true).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let mended: Vec<_> = frames(&disk, &segment(number)).into_iter().filter(|(_, head, _)| head.kind == Kind::Mended).collect();
    let (at, head, len) = mended[1];
    disk.edit(&segment(number), |bytes| bytes[at + len - 1] ^= 1);
    let reader = read(&disk).unwrap();
    let stretch = (head.first, head.first + u64::from(head.count) - 1);
    assert_eq!(reader.lost(&stream(1), 1, u64::MAX).unwrap(), [stretch]);
    let told: Vec<_> = faults(&reader).into_iter().filter(|fault| fault.flaw == Flaw::Damaged && fault.segment == number).collect();
    assert!(told.len() == 1 && told[0].offset == at as u64 && told[0].stream == Some((stream(1), head.first)), "{told:?}");
}

/// A hole costs what is in it and what of its streams stands behind it; the rest is held, counted, and goes on (R10.8-a).
#[test]
fn a_hole_costs_its_streams_and_no_other_and_is_told_once() {
    let disk = log(1 << 20, 10);
    let behind = |(_, head, _): &&(usize, frame::Head, usize)| head.kind == Kind::Events && head.stream == 2 && head.first > 10;
    let (at, head, len) = *frames(&disk, &segment(1)).iter().find(behind).unwrap();
    let last = read(&disk).unwrap().head(&stream(2)).unwrap().end.seq;
    disk.edit(&segment(1), |bytes| bytes[at + 50] ^= 4);
    let reader = read(&disk).unwrap();
    let at_the_hole: Vec<_> = faults(&reader).into_iter().filter(|fault| fault.offset == at as u64).collect();
    let told = Fault { flaw: Flaw::Damaged, segment: 1, offset: at as u64, stream: None };
    assert_eq!(at_the_hole, [told], "one place, one fault");
    assert_eq!(
        Wal::open(Rc::new(disk.image()), Path::new(FOLDER), &keys(), ports(&disk, 2).entropy, ports(&disk, 2).clock).unwrap().holes_aside(),
        1
    );

    let mut wal = open_small(&disk, 3, 1 << 20).unwrap();
    let hole = Finding::Hole { segment: 1, offset: at as u64, bytes: len as u64, cut_back: vec![stream(2)] };
    assert_eq!(wal.findings(), [hole]);
    push(&mut wal, &stream(1), 5, true).unwrap();
    wal.sync().unwrap();
    let orphans = (head.first + u64::from(head.count), last);
    let reader = read(&disk).unwrap();
    for (of, after, want) in [(2, 0, Some(orphans)), (2, orphans.0 - 1, Some(orphans)), (2, last, None), (1, 0, None), (9, 0, None)] {
        assert_eq!(reader.orphan_span(&stream(of), after).unwrap(), want, "stream {of} behind {after}");
    }
    let held = check(&reader);
    let mut known = 0;
    let verified = reader.verify(&mut |fault| known += u64::from(fault.flaw == Flaw::KnownHole), &mut |_, _| {}).unwrap();
    assert_eq!((verified.event_count, verified.fault_count, known), (held.iter().map(|(_, count)| count).sum(), 1, 1));
}

/// What a session sealed whose beginning is in the hole can be read by nobody: it is a part of the damage, and nobody is accused of tampering.
#[test]
fn a_hole_that_took_a_session_took_what_it_sealed() {
    let disk = log(1 << 20, 3);
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    push(&mut wal, &stream(1), 4, true).unwrap();
    push(&mut wal, &stream(3), 4, true).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let (at, ..) = *frames(&disk, &segment(1)).iter().rfind(|(_, head, _)| head.kind == Kind::Session).unwrap();
    disk.edit(&segment(1), |bytes| bytes[at + 35] ^= 4);
    let reader = read(&disk).unwrap();
    let told = faults(&reader);
    assert!(told.len() == 1 && told[0].flaw == Flaw::Damaged && told[0].offset == at as u64, "{told:?}");
    let mut scan = reader.scan().unwrap();
    let (mut shown, mut damage) = (0, Vec::new());
    loop {
        match scan.next() {
            Ok(Some(_)) => shown += 1,
            Ok(None) => break,
            Err(error) => damage.push(error.code()),
        }
    }
    assert_eq!((shown, damage.as_slice()), (15, &[bundle_format::error::Code::Z301][..]), "damage, once, and what stands before it");
    let mut wal = open_small(&disk, 3, 1 << 20).unwrap();
    assert!(matches!(wal.findings(), [Finding::Hole { offset, .. }] if *offset == at as u64), "{:?}", wal.findings());
    push(&mut wal, &stream(1), 4, true).unwrap();
    wal.sync().unwrap();
    assert_eq!(check(&read(&disk).unwrap())[0], (stream(1), 7));
}

/// Nor does a hole hide what rots behind it later.
#[test]
fn what_rots_behind_a_hole_is_told_where_it_is() {
    let disk = log(1 << 20, 10);
    let events: Vec<_> = frames(&disk, &segment(1)).into_iter().filter(|(_, head, _)| head.kind == Kind::Events && head.stream != 2).collect();
    disk.edit(&segment(1), |bytes| bytes[events[3].0 + 50] ^= 4);
    drop(open_small(&disk, 2, 1 << 20).unwrap());
    assert!(faults(&read(&disk).unwrap()).iter().all(|fault| fault.flaw == Flaw::KnownHole));
    let of = events[3].1.stream;
    let (at, head, _) = *events.iter().rfind(|(_, head, _)| head.stream != of).unwrap();
    disk.edit(&segment(1), |bytes| bytes[at + 40] ^= 4);
    let told: Vec<_> = faults(&read(&disk).unwrap()).into_iter().filter(|fault| fault.flaw == Flaw::Damaged).collect();
    let whose = stream(u8::try_from(head.stream).unwrap());
    assert_eq!(told, [Fault { flaw: Flaw::Damaged, segment: 1, offset: at as u64, stream: Some((whose, head.first)) }]);
}

/// R10.8-f. Two places rot in the newest sealed segment: events, and the index that told how far their histories went. Nothing tells that any more; what stood
/// behind them was void at every opening, and nobody was told: its writer went on under numbers that it had used, and what it had not sent yet was never sent.
#[test]
fn events_that_rotted_with_the_heads_that_told_of_them_are_a_hole_in_an_older_segment() {
    let disk = log(4000, 30);
    let before = check(&read(&disk).unwrap());
    let newest = read(&disk).unwrap().view.active.number;
    let number = newest - 1;
    let all = frames(&disk, &segment(number));
    let heads = *all.iter().find(|(_, head, _)| head.kind == Kind::Heads).unwrap();
    let events: Vec<_> = all.into_iter().filter(|(_, head, _)| head.kind == Kind::Events).collect();
    let last = events.len() - 1;
    for (which, is_next_made, rotten) in [
        (0, true, "trailer"),
        (last / 2, true, "trailer"),
        (last, true, "trailer"),
        (last, true, "both"),
        (last / 2, true, "heads"),
        (last, true, "heads"),
        (1, false, "heads"),
        (last, false, "heads"),
    ] {
        let why = format!("frame {which} of {last}, {rotten}, next made: {is_next_made}");
        let disk = disk.image();
        let (at, head, len) = events[which];
        let of = stream(u8::try_from(head.stream).unwrap());
        disk.edit(&segment(number), |bytes| {
            bytes[at + 40] ^= 4;
            if rotten != "heads" {
                *bytes.last_mut().unwrap() ^= 1;
            }
            if rotten != "trailer" {
                bytes[heads.0 + 40] ^= 1;
            }
        });
        if !is_next_made {
            disk.remove(&segment(newest)).unwrap();
        }
        let damaged = disk.bytes(&segment(number)).unwrap();
        let reader = read(&disk).unwrap();
        let told = |finding: &&Finding| matches!(finding, Finding::Hole { segment, offset, .. } if (*segment, *offset) == (number, at as u64));
        let hole = reader.findings().iter().find(told).unwrap_or_else(|| panic!("{why}: {:?}", reader.findings())).clone();
        assert!(faults(&reader).iter().any(|fault| (fault.segment, fault.offset) == (number, at as u64)), "{why}: {:?}", faults(&reader));
        let mut wal = open_small(&disk, 5, 4000).unwrap();
        assert!(wal.findings().contains(&hole), "{why}: {:?}", wal.findings());
        let aside = disk.bytes(&Path::new(FOLDER).join(format!("{number:08}.hole-{at}"))).unwrap();
        assert_eq!(aside[..len], damaged[at..at + len], "{why}: kept aside");
        assert_eq!(wal.head(&of).unwrap().end.seq, head.first - 1, "{why}: goes on before it");
        let here =
            events.iter().filter(|(_, event, _)| event.stream == head.stream).map(|(_, event, _)| event.first + u64::from(event.count) - 1).max();
        let end = if is_next_made { before.iter().find(|(stream, _)| *stream == of).unwrap().1 } else { here.unwrap() };
        let readable: Vec<u64> = wal.orphans(&of).unwrap().iter().map(|(seq, _)| *seq).collect();
        assert_eq!(readable, (head.first + u64::from(head.count)..=end).collect::<Vec<_>>(), "{why}: what stands behind it is given back");
        for n in 1..=3 {
            push(&mut wal, &stream(n), 3, true).unwrap();
        }
        wal.sync().unwrap();
        let held = check(&wal);
        drop(wal);
        for seed in 6..9 {
            let wal = open_small(&disk, seed, 4000).unwrap();
            assert!(!wal.findings().iter().any(|finding| matches!(finding, Finding::Hole { .. })), "{why}: told once: {:?}", wal.findings());
            assert_eq!(check(&wal), held, "{why}: what was pushed since is there");
        }
        assert_eq!(check(&read(&disk).unwrap()), held, "{why}");
    }
}

/// What costs no event, a signature, is told once too.
#[test]
fn a_hole_that_cost_no_event_is_told_once() {
    let disk = log(1 << 20, 9);
    let (at, ..) = frames(&disk, &segment(1)).into_iter().rfind(|(_, head, _)| head.kind == Kind::Checkpoints).unwrap();
    let before = check(&read(&disk).unwrap());
    disk.edit(&segment(1), |bytes| bytes[at + 40] ^= 4);
    let wal = open_small(&disk, 2, 4000).unwrap();
    assert!(matches!(wal.findings(), [Finding::Hole { cut_back, .. }] if cut_back.is_empty()), "{:?}", wal.findings());
    drop(wal);
    for seed in 3..6 {
        let wal = open_small(&disk, seed, 4000).unwrap();
        assert_eq!((wal.findings(), wal.holes_aside(), check(&wal)), (&[][..], 1, before.clone()));
    }
    assert_eq!(faults(&read(&disk).unwrap()).iter().map(|fault| fault.flaw).collect::<Vec<_>>(), [Flaw::KnownHole]);
}

/// A hole right before an index that was only begun, or rotted with it: the index is cut off, the hole is kept.
#[test]
fn a_hole_before_a_broken_index_is_kept_aside() {
    let disk = log(4000, 30);
    let newest = read(&disk).unwrap().view.active.number;
    disk.remove(&segment(newest)).unwrap();
    let number = newest - 1;
    let (at, _, len) = *frames(&disk, &segment(number)).iter().rfind(|(_, head, _)| head.kind != Kind::Heads).unwrap();
    disk.edit(&segment(number), |bytes| {
        bytes[at + 40] ^= 4;
        *bytes.last_mut().unwrap() ^= 1;
    });
    let damaged = disk.bytes(&segment(number)).unwrap();
    assert!(faults(&read(&disk).unwrap()).iter().any(|fault| fault.flaw == Flaw::Damaged && fault.offset == at as u64));
    drop(open_small(&disk, 5, 4000).unwrap());
    assert_eq!(disk.bytes(&Path::new(FOLDER).join(format!("{number:08}.hole-{at}"))).unwrap(), damaged[at..at + len]);
}

/// Cut at every write, sync and name while such a hole is closed: the next opening does it, and whoever must answer it hears of it.
#[test]
fn closing_a_hole_in_an_older_segment_may_be_cut_short() {
    use crate::ports::memory_disk::{Fault as DiskFault, Operation};
    let disk = log(4000, 30);
    let number = read(&disk).unwrap().view.active.number - 1;
    let (at, head, _) = *frames(&disk, &segment(number)).iter().find(|(_, head, _)| head.kind == Kind::Events && head.stream == 2).unwrap();
    disk.edit(&segment(number), |bytes| {
        bytes[at + 40] ^= 4;
        *bytes.last_mut().unwrap() ^= 1;
    });
    let whole = open_small(&disk.image(), 5, 4000).unwrap();
    let (held, readable) = (check(&whole), whole.orphans(&stream(2)).unwrap());
    assert!(held[1].1 == head.first - 1 && !readable.is_empty());
    for operation in [Operation::Write, Operation::Sync, Operation::Name] {
        for nth in 1.. {
            let disk = disk.image();
            disk.fail(DiskFault { operation, nth, error: std::io::ErrorKind::Other, sticky: true });
            let is_done = open_small(&disk, 6, 4000).is_ok();
            disk.crash(nth);
            disk.heal();
            let wal = open_small(&disk, 7, 4000).unwrap();
            // Told again, or put aside before it was closed: either way the node hears of it (R6.6-f).
            assert_eq!((check(&wal), wal.holes_aside()), (held.clone(), 1), "{operation:?} {nth}");
            assert_eq!(wal.orphans(&stream(2)).unwrap(), readable, "{operation:?} {nth}");
            if is_done {
                assert!(nth > 1, "{operation:?} is needed for it");
                break;
            }
        }
    }
}

/// R10.4-c: small writes find room made ahead; a long one makes none.
#[test]
fn a_small_write_makes_room_ahead() {
    const ROOM: usize = 64 * 1024;
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, 1 << 24).unwrap();
    let len = || disk.bytes(&segment(1)).unwrap().len();
    push(&mut wal, &stream(1), 1, true).unwrap();
    wal.sync().unwrap();
    assert_eq!(len(), ROOM);
    while wal.end().1 < ROOM as u64 {
        assert_eq!(len(), ROOM, "the room is used first");
        push(&mut wal, &stream(1), 5, false).unwrap();
        wal.sync().unwrap();
    }
    assert_eq!(len(), 2 * ROOM);
    push(&mut wal, &stream(1), 600, false).unwrap();
    wal.sync().unwrap();
    assert_eq!(len() as u64, wal.end().1);
    check(&read(&disk).unwrap());
}

/// A checkpoint that stands on another chain than ours is told; nobody else looks at what stands under its seal.
#[test]
fn a_checkpoint_of_another_chain_is_told() {
    let disk = log(1 << 20, 3);
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    let (end, other) = (head(&wal, &stream(1)), head(&wal, &stream(3)));
    wal.append_checkpoints(&stream(1), &[checkpoint(end), checkpoint(Position { seq: 2, ..other })]).unwrap();
    wal.sync().unwrap();
    let told = faults(&read(&disk).unwrap());
    assert!(matches!(told[..], [Fault { flaw: Flaw::Checkpoint, segment: 1, stream: Some((_, 2)), .. }]), "{told:?}");
}
/// Two stretches side by side rotted, and one is here again: each place is told as what it is.
#[test]
fn each_place_that_rotted_is_told_as_what_it_is() {
    let disk = log(4000, 60);
    let events: Vec<_> = frames(&disk, &segment(2)).into_iter().filter(|(_, head, _)| head.kind == Kind::Events && head.stream == 1).collect();
    let behind =
        *frames(&disk, &segment(2)).iter().find(|(at, head, _)| *at > events[1].0 && (head.kind == Kind::Heads || head.stream == 1)).unwrap();
    let signed: Vec<_> = frames(&disk, &segment(3)).into_iter().filter(|(_, head, _)| head.kind == Kind::Checkpoints).collect();
    for (at, ..) in &events[..2] {
        disk.edit(&segment(2), |bytes| bytes[at + 40] ^= 4);
    }
    for (at, ..) in &signed[..2] {
        disk.edit(&segment(3), |bytes| bytes[at + 40] ^= 4);
    }
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    let first = events[0].1.first;
    assert_eq!(wal.lost(&stream(1), 1, u64::MAX).unwrap(), [(first, first + 1)]);
    wal.mend(&stream(1), first, &[&event(&stream(1), first)]).unwrap();
    wal.sync().unwrap();
    let told: Vec<_> = faults(&read(&disk).unwrap()).into_iter().map(|fault| (fault.flaw, fault.segment, fault.offset, fault.stream)).collect();
    let checkpoint_of = |index: usize| Some((stream(2), signed[index].1.hlc));
    assert_eq!(
        told,
        [
            (Flaw::Mended, 2, events[0].0 as u64, None),
            (Flaw::Damaged, 2, events[1].0 as u64, Some((stream(1), first + 1))),
            (Flaw::Missing, 2, behind.0 as u64, Some((stream(1), first + 1))),
            (Flaw::Damaged, 3, signed[0].0 as u64, checkpoint_of(0)),
            (Flaw::Damaged, 3, signed[1].0 as u64, checkpoint_of(1)),
        ]
    );
}

/// A file that is gone is damage like any other, not an error of the disk: what others hold of it comes again.
#[test]
fn a_segment_that_is_gone_is_damage() {
    let disk = log(4000, 60);
    let whole = check(&read(&disk).unwrap());
    disk.remove(&segment(2)).unwrap();
    let reader = read(&disk).unwrap();
    assert!(faults(&reader).iter().any(|fault| (fault.flaw, fault.segment) == (Flaw::Damaged, 2)));
    let wal = open_small(&disk, 2, 1 << 20).unwrap();
    assert_eq!(wal.streams().iter().map(|(stream, head)| (*stream, head.end.seq)).collect::<Vec<_>>(), whole, "heads do not depend on it");
    let mut error = None;
    match wal.events(&stream(2), 1) {
        Ok(mut events) => while error.is_none() && !matches!(events.next().map_err(|told| error = Some(told)), Ok(None)) {},
        Err(told) => error = Some(told),
    }
    assert!(matches!(error, Some(StoreError::Damaged { segment: 2, .. })), "{error:?}");
}
