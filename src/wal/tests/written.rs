//! Logs of which every byte is known: those that another program wrote from SPEC §10.3 are opened here, and it reads those that are written here.
#![allow(clippy::disallowed_methods, reason = "fixtures are files of the repository")]

use super::*;
use crate::ports::Disk as _;
use crate::ports::disk;
use bundle_format::chain::digest;
use bundle_format::ids::{from_hex, hex};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    /// What it is about, or what is wrong with it.
    #[serde(rename = "story", alias = "why")]
    about: String,
    rules: Vec<String>,
    /// Number and key in hex.
    keys: Vec<String>,
    expect: Option<String>,
    #[serde(default)]
    stream: Vec<Row>,
}

/// What a story tells of a stream.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    origin: String,
    branch: String,
    base: u64,
    last: u64,
    h: String,
    checkpoints: Vec<u64>,
    hlc: u64,
}

/// The streams of a log in the order they came, read to their ends.
fn rows(reader: &WalReader) -> Vec<Row> {
    let numbered = reader.view.streams.numbered().map(|(_, state)| state.stream).collect::<Vec<_>>();
    let row = |stream: Stream| {
        let (log, head) = (reader as &dyn Log, reader.head(&stream).unwrap());
        let (mut end, mut events) = (head.base, log.events(&stream, 0).unwrap());
        while let Some((seq, event)) = events.next().unwrap() {
            assert_eq!(seq, end.seq + 1);
            end = end.then(&digest(event));
        }
        assert_eq!(end, head.end, "the events lead to the head");
        let signed: Vec<_> = log.checkpoints(&stream, 0, u64::MAX).unwrap().iter().map(|signed| signed.position.seq).collect();
        assert_eq!(signed.last().copied().unwrap_or(0), head.checkpoint_seq);
        let Head { base, end, hlc, .. } = head;
        let branch = stream.branch.map(|branch| hex(&branch)).unwrap_or_default();
        Row { origin: format!("{:?}", stream.origin), branch, base: base.seq, last: end.seq, h: hex(&end.hash.0), checkpoints: signed, hlc: hlc.0 }
    };
    numbered.into_iter().map(row).collect()
}

struct Fixture {
    name: String,
    story: Story,
    keys: DataKeys,
    disk: MemoryDisk,
}

fn fixtures(of: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/logs").join(of);
    let mut stories: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let fixture = |path: PathBuf| {
        let story: Story = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(!story.about.is_empty() && !story.rules.is_empty(), "{}", path.display());
        let disk = MemoryDisk::new();
        disk.create_folder(Path::new(FOLDER)).unwrap();
        for segment in std::fs::read_dir(path.with_extension("")).unwrap().map(|entry| entry.unwrap().path()) {
            disk::replace(&disk, &Path::new(FOLDER).join(segment.file_name().unwrap()), &std::fs::read(&segment).unwrap()).unwrap();
        }
        let key = |text: &String| {
            let (number, key) = text.split_once(' ').unwrap();
            (number.parse().unwrap(), from_hex::<32>(key).unwrap())
        };
        let mut all = story.keys.iter().rev().map(key); // the newest is the one new sessions use
        let (number, newest) = all.next().unwrap();
        let keys = all.fold(DataKeys::new(number, newest), |keys, (number, key)| keys.with_old(number, key));
        Fixture { name: path.file_stem().unwrap().to_string_lossy().into_owned(), story, keys, disk }
    };
    stories.into_iter().map(fixture).collect()
}

/// R10.3-a to R10.3-f: what a program wrote that knows the page alone is opened, is without fault, and is gone on with.
#[test]
fn a_log_that_another_program_wrote_is_opened_and_gone_on_with() {
    let all = fixtures("accept");
    assert!(all.len() >= 6, "{} are too few", all.len());
    for Fixture { name, story, keys, disk } in all {
        let read = || WalReader::open(Rc::new(disk.clone()), Path::new(FOLDER), &keys).unwrap();
        let reader = read();
        assert_eq!(rows(&reader), story.stream, "{name}");
        let verified = reader.verify(&mut |fault| panic!("{name}: {fault:?}"), &mut |_, _| {}).unwrap();
        assert_eq!(verified.event_count, story.stream.iter().map(|row| row.last - row.base).sum::<u64>(), "{name}");
        assert_eq!(verified.checkpoint_count, story.stream.iter().map(|row| row.checkpoints.len() as u64).sum::<u64>(), "{name}");
        let ports = ports(&disk, 3);
        let mut wal = Wal::open_with(ports.disk, Path::new(FOLDER), &keys, ports.entropy, ports.clock, small()).unwrap();
        assert!(wal.findings().is_empty(), "{name}: {:?}", wal.findings());
        push(&mut wal, &stream(1), 5, true).unwrap();
        wal.sync().unwrap();
        drop(wal);
        let reader = read();
        assert_eq!(rows(&reader)[..story.stream.len()], story.stream, "{name}");
        assert_eq!(head(&reader, &stream(1)).seq, 5, "{name}");
        reader.verify(&mut |fault| panic!("{name}, gone on with: {fault:?}"), &mut |_, _| {}).unwrap();
    }
}

#[test]
fn a_log_that_is_not_as_the_page_says_is_refused_and_not_touched() {
    let all = fixtures("reject");
    assert!(all.len() >= 4, "{} are too few", all.len());
    for Fixture { name, story, keys, disk } in all {
        let bytes = |disk: &MemoryDisk| disk.paths().iter().map(|path| disk.bytes(path)).collect::<Vec<_>>();
        let before = bytes(&disk);
        let ports = ports(&disk, 3);
        let writer = Wal::open_with(ports.disk, Path::new(FOLDER), &keys, ports.entropy, ports.clock, small()).err();
        let reader = WalReader::open(Rc::new(disk.clone()), Path::new(FOLDER), &keys).err();
        for error in [writer, reader] {
            assert_eq!(error.map(|error| error.code().to_string()), story.expect, "{name}: {}", story.about);
        }
        assert_eq!(bytes(&disk), before, "{name}");
    }
}

/// The story of a log that is laid out.
#[derive(Serialize)]
struct Told {
    keys: Vec<String>,
    stream: Vec<Row>,
}

/// Lay a log where the other reader finds it, if one waits for it.
fn lay_out(name: &str, disk: &MemoryDisk) {
    let reader = read(disk).unwrap();
    reader.verify(&mut |fault| panic!("{name}: {fault:?}"), &mut |_, _| {}).unwrap();
    let Some(folder) = std::env::var_os("ZBUNDLE_LOGS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(folder.join(name)).unwrap();
    for entry in disk.list(Path::new(FOLDER)).unwrap() {
        std::fs::write(folder.join(name).join(entry.path.file_name().unwrap()), disk.bytes(&entry.path).unwrap()).unwrap();
    }
    let told = Told { keys: vec![format!("1 {}", hex(&[7; 32]))], stream: rows(&reader) };
    std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec(&told).unwrap()).unwrap();
}

/// What is written here, `cargo xtask vectors` has read by the other program: every frame and every index of it.
#[test]
fn what_is_written_here_is_as_the_page_says() {
    lay_out("many_segments", &damage::log(4000, 60));
    lay_out("one_segment", &damage::log(1 << 20, 300)); // 1 024 frames and a mark

    // Runs longer than one entry tells, frames of one large event, more streams than a frame of heads holds, a stream that rests, a branch.
    let disk = MemoryDisk::new();
    let mut wal = open_small(&disk, 1, 300_000).unwrap();
    push(&mut wal, &stream(101), 3, false).unwrap();
    push(&mut wal, &stream(1), 2000, true).unwrap();
    let start = head(&wal, &stream(2));
    let large: Vec<_> = [1, 16_384, 65_535, 9000, 9000].map(|len| vec![b'x'; len]).into();
    wal.append(&stream(2), &Run::link(start, large.iter().map(Vec::as_slice).collect()), Hlc(9), &[]).unwrap();
    for n in 0..1100_u16 {
        let mut many = stream(3);
        many.origin.node.0[..2].copy_from_slice(&n.to_be_bytes());
        many.origin.audience = (n % 2 == 0).then_some(NodeId([9; 8]));
        push(&mut wal, &many, 1, n % 3 == 0).unwrap();
    }
    wal.sync().unwrap();
    drop(wal);
    for seed in 2..5 {
        let mut wal = open_small(&disk, seed, 300_000).unwrap();
        push(&mut wal, &stream(1), 900, true).unwrap();
        push(&mut wal, &stream(101), 1, true).unwrap();
        wal.sync().unwrap();
    }
    assert!(read(&disk).unwrap().view.active.number > 2);
    lay_out("many_streams", &disk);
}
