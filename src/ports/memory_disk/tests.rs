//! The tests' disk loses what was not synced, and only that.

use super::*;
use crate::ports::disk::{read_small, replace};

const FILE: &str = "/d/f";

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("/d")).unwrap();
    disk
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = disk();
        let file = disk.open(Path::new(FILE), Open::New).unwrap();
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder(Path::new("/d")).unwrap();
        file.write_at(&[2; 1024], 512).unwrap();
        disk.crash(seed);
        let bytes = disk.bytes(Path::new(FILE)).unwrap();
        assert_eq!(bytes[..512], [1; 512], "what was synced and not written since stays");
        outcomes.insert((bytes.len() == 1536, bytes[512], bytes.get(1535).copied()));
    }
    assert!(outcomes.len() >= 5, "{outcomes:?}");
}

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one_after_every_crash() {
    for seed in 0..200 {
        let disk = disk();
        replace(&disk, Path::new(FILE), b"old").unwrap();
        for (nth, operation) in (1..5).flat_map(|nth| [(nth, Operation::Write), (nth, Operation::Sync), (nth, Operation::Name)]) {
            let copy = disk.image();
            copy.fail(Fault { operation, nth, error: io::ErrorKind::Other, sticky: true });
            let replaced = replace(&copy, Path::new(FILE), b"new").is_ok();
            copy.crash(seed);
            let found = read_small(&copy, Path::new(FILE), 9).unwrap().unwrap();
            assert!(found == b"new" || (!replaced && found == b"old"), "{operation:?} {nth}: {found:?}");
        }
    }
}

#[test]
fn a_failed_sync_loses_what_it_should_have_stored() {
    let disk = disk();
    let file = disk.open(Path::new(FILE), Open::New).unwrap();
    disk.sync_folder(Path::new("/d")).unwrap();
    file.write_at(&[1; 600], 0).unwrap();
    disk.fail(Fault { operation: Operation::Sync, nth: 1, error: io::ErrorKind::Other, sticky: false });
    assert!(file.sync().is_err());
    assert!(file.sync().is_ok(), "and a second one lies");
    file.drop_cache().unwrap();
    let mut bytes = [9; 600];
    file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [0; 600], "who asks the medium sees it");
    disk.crash(1);
    assert_eq!(disk.bytes(Path::new(FILE)).unwrap(), [0; 600]);
}
