//! Where the log ends: what the power cut off there is cut off, and what rotted there is not taken for it (R10.8-g).

use super::damage::{faults, frames, log};
use super::*;
use crate::ports::Disk as _;
use crate::ports::store::Finding;
use crate::wal::frame::Kind;
use crate::wal::fsck::Flaw;

/// The place of the last frame that is of a kind, all behind it being gone as if it had never been.
fn ending_with(kind: Kind) -> (MemoryDisk, usize, usize) {
    let disk = log(1 << 20, 6);
    let (at, _, len) = frames(&disk, &segment(1)).into_iter().rfind(|(_, head, _)| head.kind == kind).unwrap();
    disk.edit(&segment(1), |bytes| bytes[at + len..].fill(0));
    (disk, at, len)
}

/// The youngest record is the likeliest to rot. It was called an unfinished write that nobody had been promised, and cut off.
#[test]
fn what_rots_at_the_very_end_is_told_and_kept_aside() {
    for kind in [Kind::Session, Kind::Stream, Kind::Events, Kind::Checkpoints] {
        let (disk, at, len) = ending_with(kind);
        for bit in 0..len * 8 {
            let why = format!("{kind:?}, bit {bit}");
            let disk = disk.image();
            disk.edit(&segment(1), |bytes| bytes[at + bit / 8] ^= 1 << (bit % 8));
            let told = faults(&read(&disk).unwrap());
            assert!(matches!(told[..], [fault] if fault.flaw == Flaw::Damaged && fault.offset == at as u64), "{why}: {told:?}");
            let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
            assert!(
                matches!(wal.findings(), [Finding::Hole { segment: 1, offset, bytes, .. }] if *offset == at as u64 && [len, len - 1].contains(&usize::try_from(*bytes).unwrap())),
                "{why}: {:?}",
                wal.findings()
            );
            assert!(disk.bytes(&Path::new(FOLDER).join(format!("00000001.hole-{at}"))).unwrap().len() >= len - 1, "{why}");
            if bit % 37 == 0 {
                push(&mut wal, &stream(1), 2, true).unwrap();
                wal.sync().unwrap();
                let held = check(&wal);
                drop(wal);
                let wal = open_small(&disk, 3, 1 << 20).unwrap();
                assert_eq!((check(&wal), wal.findings()), (held, &[][..]), "{why}: once");
            }
        }
    }
}

/// A power cut leaves some of the sectors that were being written.
#[test]
fn what_was_never_whole_is_cut_off_and_costs_no_life() {
    let disk = log(1 << 20, 6);
    let before = check(&read(&disk).unwrap());
    let end = usize::try_from(read(&disk).unwrap().view.active.end).unwrap();
    let mut wal = open_small(&disk, 2, 1 << 20).unwrap();
    let start = head(&wal, &stream(1));
    let large = vec![b'x'; 5000];
    wal.append(&stream(1), &Run::link(start, vec![&large]), Hlc(9), &[]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    let all = frames(&disk, &segment(1));
    let (at, _, len) = *all.last().unwrap();
    let sectors: Vec<usize> = (end / 512..=(at + len - 1) / 512).collect();
    for missing in 1..1_u32 << sectors.len() {
        let disk = disk.image();
        disk.edit(&segment(1), |bytes| {
            for (index, sector) in sectors.iter().enumerate().filter(|(index, _)| missing >> index & 1 == 1) {
                let from = (sector * 512).max(end);
                assert!(index > 0 || from == end, "what was durable stays");
                bytes[from..(sector + 1) * 512].fill(0);
            }
        });
        let whole = frames(&disk, &segment(1)).last().map(|(at, _, len)| at + len).unwrap();
        let torn = disk.bytes(&segment(1)).unwrap()[whole..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        let wal = open_small(&disk, 3, 1 << 20).unwrap();
        let told = [Finding::TornTail { bytes: torn }];
        assert_eq!(wal.findings(), &told[..usize::from(torn > 0)], "{missing:b}");
        assert_eq!(check(&wal), before, "{missing:b}");
    }
}

/// Only the index tells where frames end that rotted; it must not be taken for a part of the last one.
#[test]
fn an_index_that_rots_alone_costs_no_life() {
    let disk = log(4000, 30);
    let before = check(&read(&disk).unwrap());
    let newest = read(&disk).unwrap().view.active.number;
    disk.remove(&segment(newest)).unwrap();
    let (at, _, len) = *frames(&disk, &segment(newest - 1)).iter().find(|(_, head, _)| head.kind == Kind::Heads).unwrap();
    let whole = check(&read(&disk).unwrap());
    assert!(whole.len() == before.len());
    for byte in at..at + len {
        let disk = disk.image();
        disk.edit(&segment(newest - 1), |bytes| bytes[byte] ^= 8);
        let wal = open_small(&disk, 3, 4000).unwrap();
        assert_eq!((wal.findings(), check(&wal)), (&[Finding::Index { segment: newest - 1 }][..], whole.clone()), "{byte}");
    }
}
