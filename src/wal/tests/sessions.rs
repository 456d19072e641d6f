//! R10.3-g: a session leans on nothing before it, so what rots costs itself and, where it was the beginning of a session, what that one wrote.

use super::damage::frames;
use super::*;
use crate::wal::frame::{self, Kind};
use std::collections::BTreeSet;

/// Events a frame holds.
fn held_in(head: &frame::Head) -> impl Iterator<Item = (u32, u64)> {
    let (stream, first) = (head.stream, head.first);
    (first..first + u64::from(head.count)).map(move |seq| (stream, seq))
}

/// Every event that is listed, or given back to be written again.
fn readable(wal: &Wal) -> BTreeSet<(u32, u64)> {
    let mut found = BTreeSet::new();
    for n in 1..=3 {
        let of = stream(n);
        let mut keep = |seq, bytes: &[u8]| {
            assert_eq!(bytes, event(&of, seq));
            assert!(found.insert((u32::from(n), seq)), "{seq} of {n} is there twice");
        };
        wal.orphans(&of).unwrap().iter().for_each(|(seq, bytes)| keep(*seq, bytes));
        let Some(mut events) = wal.head(&of).map(|_| wal.events(&of, 0).unwrap()) else { continue };
        while let Some((seq, bytes)) = events.next().unwrap() {
            keep(seq, bytes);
        }
    }
    found
}

/// A byte that rotted in what the first writer wrote took with it what the next ones wrote, for only it had said what the numbers of the streams stand for.
#[test]
fn what_rots_in_one_session_costs_no_other() {
    let disk = MemoryDisk::new();
    for seed in 1..=6 {
        let mut wal = open_small(&disk, seed, 1 << 20).unwrap();
        for n in 1..=3 {
            push(&mut wal, &stream(n), 2, true).unwrap();
            push(&mut wal, &stream(n), 1, false).unwrap();
        }
        wal.sync().unwrap();
    }
    let all = frames(&disk, &segment(1));
    let sessions: Vec<usize> = all.iter().enumerate().filter(|(_, (_, head, _))| head.kind == Kind::Session).map(|(index, _)| index).collect();
    assert_eq!(sessions.len(), 6);
    for (index, (at, rotten, len)) in all[..sessions[5]].iter().enumerate() {
        let end = *sessions.iter().find(|session| **session > index).unwrap();
        let is_lost = |head: &frame::Head| match rotten.kind {
            Kind::Session => true,
            // the others have said it too, but those before it only if there are any
            Kind::Stream => index < sessions[1] && head.stream == rotten.stream,
            _ => false,
        };
        let behind = all[index..end].iter().filter(|(_, head, _)| head.kind == Kind::Events && is_lost(head));
        let lost: BTreeSet<_> = behind.chain((rotten.kind == Kind::Events).then_some(&all[index])).flat_map(|(_, head, _)| held_in(head)).collect();
        let disk = disk.image();
        disk.edit(&segment(1), |bytes| bytes[at + len - 3] ^= 0x10);
        let found = readable(&open_small(&disk, 9, 1 << 20).unwrap());
        let want: BTreeSet<_> = all.iter().filter(|(_, head, _)| head.kind == Kind::Events).flat_map(|(_, head, _)| held_in(head)).collect();
        assert_eq!(found, &want - &lost, "frame {index}, {:?} of {}", rotten.kind, rotten.stream);
        assert_eq!(readable(&open_small(&disk, 10, 1 << 20).unwrap()), found, "and so it stays");
    }
}

/// R10.3-a: one process may stay for months.
#[test]
fn a_session_is_64_kib_at_most_and_what_reaches_beyond() {
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, 1 << 20).unwrap();
    for round in 0..500 {
        push(&mut wal, &stream(1), 9, round % 7 == 0).unwrap();
        push(&mut wal, &stream(2), 1 + round % 50, true).unwrap();
        wal.sync().unwrap();
    }
    let all: Vec<_> = (1..=wal.view.active.number).flat_map(|number| frames(&disk, &segment(number))).collect();
    assert!(wal.view.active.number > 1);
    let (mut began, mut defined, mut sessions) = (0, BTreeSet::new(), 0);
    for (index, (at, head, len)) in all.iter().enumerate() {
        let is_first = index == 0 || *at < all[index - 1].0;
        match head.kind {
            Kind::Session => {
                assert!(is_first || at - began >= 64 * 1024, "one that is not full goes on");
                (began, sessions) = (*at, sessions + 1);
                defined.clear();
            }
            Kind::Stream => assert!(defined.insert(head.stream), "each once"),
            Kind::Events | Kind::Checkpoints => assert!(defined.contains(&head.stream), "{head:?}"),
            _ => {}
        }
        let definition = if all[index.saturating_sub(1)].1.kind == Kind::Stream { all[index - 1].2 } else { 0 };
        assert!(head.kind == Kind::Heads || at - began < 64 * 1024 + definition, "{at} of {len} bytes in the session at {began}");
    }
    assert!(sessions > 16, "{sessions}");
    check(&wal);
}
