//! Without faults.

use super::*;

#[test]
fn what_is_appended_is_read_back_by_the_writer_a_reader_and_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let (ports, folder) = (os_ports(), dir.path().join("a/log"));
    let mut wal = open(&ports, &folder, small()).unwrap();
    assert!(check(&wal).is_empty());
    for round in 0..60 {
        for n in [1, 2, 3, 101] {
            push(&mut wal, &stream(n), u64::from(n % 100) + round % 7 * 10, round % 3 == 0).unwrap();
        }
        if round % 5 != 0 {
            continue;
        }
        let unsynced = check(&wal);
        if round % 2 == 0 {
            wal.sync().unwrap();
            let reader = WalReader::open(ports.disk.clone(), &folder, &keys()).unwrap();
            assert_eq!(check(&reader), unsynced);
            assert!(reader.findings().is_empty());
        }
        if round % 15 == 0 {
            wal.sync().unwrap();
            drop(wal);
            wal = open(&ports, &folder, small()).unwrap();
            assert_eq!(check(&wal), unsynced);
            assert!(wal.findings().is_empty());
        }
    }
    assert!(ports.disk.list(&folder).unwrap().len() > 5, "the log was rotated");
    for n in [1, 2, 3, 101] {
        let stream = stream(n);
        let of_it = |(other, _): &(Stream, Head)| other.origin == stream.origin;
        assert_eq!(wal.branches(&stream.origin), wal.streams().into_iter().filter(of_it).collect::<Vec<_>>());
        let head = wal.head(&stream).unwrap();
        let checkpoints = wal.checkpoints(&stream, 0, u64::MAX).unwrap();
        assert_eq!(checkpoints.len(), 20);
        assert_eq!(head.checkpoint_seq, checkpoints.last().unwrap().position.seq);
        let mut position = head.base;
        let mut events = wal.events(&stream, 1).unwrap();
        while let Some((seq, bytes)) = events.next().unwrap() {
            position = position.then(&bundle_format::chain::digest(bytes));
            if seq % 29 != 0 {
                continue;
            }
            assert_eq!(wal.position(&stream, seq).unwrap(), Some(position));
            let below = checkpoints.iter().rfind(|checkpointed| checkpointed.position.seq <= seq);
            assert_eq!(wal.checkpoint_below(&stream, seq).unwrap().as_ref(), below);
        }
        for from in (1..head.end.seq).step_by(97) {
            let mut events = wal.events(&stream, from).unwrap();
            assert_eq!(events.next().unwrap(), Some((from, &*event(&stream, from))));
        }
        assert!(wal.events(&stream, head.end.seq + 1).unwrap().next().unwrap().is_none());
    }
}
