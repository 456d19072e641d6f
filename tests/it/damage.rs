//! Disks that rot, directories of another version, wrong keys, two writers at once, clocks that are wrong.

use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::{Lane, NodeId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zbundle::keys::{Policy, Secret};
use zbundle::node::alarm::alarms;
use zbundle::node::taking::Outcome;
use zbundle::node::{Node, Opening, View};
use zbundle::ports::store::Finding;
use zbundle::push::Skew;

fn hub_and_clinic() -> (World, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    (world, hub)
}

/// Every file below a folder and the digest of its bytes.
fn digests(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(digests(&path));
        } else {
            all.insert(path.clone(), Sha256::digest(std::fs::read(&path).unwrap()).to_vec());
        }
    }
    all
}

fn open(world: &World, name: &str, secret: &Secret) -> Result<Node, zbundle::node::NodeError> {
    Node::open(world.ports(), &Opening { data_dir: &world.path(name), secret, lock_wait_ms: 0 })
}

fn key(world: &World, name: &str) -> Secret {
    Secret::read_key_file(&*world.ports().disk, &world.path(&format!("{name}.key"))).unwrap()
}

#[test]
fn a_wrong_key_changes_no_byte() {
    let (world, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    let wrong = key(&world, "hub");
    let before = digests(&world.path("clinic"));
    assert_eq!(open(&world, "clinic", &wrong).err().unwrap().code(), Code::Z601);
    assert_eq!(View::open(world.ports(), &world.path("clinic"), &wrong).err().unwrap().code(), Code::Z601);
    assert_eq!(digests(&world.path("clinic")), before);
    let missing = Secret::read_key_file(&*world.ports().disk, &world.path("no.key")).err().unwrap();
    assert_eq!(missing.code(), Code::Z602);
}

#[test]
fn a_second_node_in_one_place_and_none_at_all_are_refused() {
    let (world, _) = hub_and_clinic();
    let secret = key(&world, "clinic");
    let before = digests(&world.path("clinic"));
    let opening = Opening { data_dir: &world.path("clinic"), secret: &secret, lock_wait_ms: 0 };
    let name = bundle_format::ids::Name::new("again").unwrap();
    assert_eq!(Node::init(world.ports(), &opening, &name, false).err().unwrap().code(), Code::Z103);
    assert_eq!(digests(&world.path("clinic")), before);
    assert_eq!(open(&world, "nowhere", &secret).err().unwrap().code(), Code::Z102);
    assert!(!world.path("nowhere").exists());
}

#[test]
fn the_second_writer_waits_outside_and_readers_do_not() {
    let (world, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    let writer = world.open("clinic");
    assert_eq!(open(&world, "clinic", &key(&world, "clinic")).err().unwrap().code(), Code::Z104);
    assert_eq!(world.payloads("clinic"), ["one"]);
    drop(writer);
    world.push("clinic", &["two"]);
}

pub fn segments(world: &World, name: &str) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(world.path(name).join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    all.sort();
    all
}

pub fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_of_another_version_stops_everybody_and_changes_nothing() {
    let (world, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    change(&segments(&world, "clinic")[0], |bytes| {
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..60]).to_le_bytes();
        bytes[60..64].copy_from_slice(&crc);
    });
    let before = digests(&world.path("clinic"));
    assert_eq!(open(&world, "clinic", &key(&world, "clinic")).err().unwrap().code(), Code::Z105);
    assert_eq!(View::open(world.ports(), &world.path("clinic"), &key(&world, "clinic")).err().unwrap().code(), Code::Z105);
    assert_eq!(digests(&world.path("clinic")), before);
}

#[test]
fn a_keyring_that_cannot_be_read_is_told_and_not_made_anew() {
    let (world, _) = hub_and_clinic();
    let path = world.path("clinic").join("keyring");
    let good = std::fs::read(&path).unwrap();
    change(&path, |bytes| *bytes.last_mut().unwrap() ^= 1);
    let before = digests(&world.path("clinic"));
    assert_eq!(open(&world, "clinic", &key(&world, "clinic")).err().unwrap().code(), Code::Z307);
    assert_eq!(digests(&world.path("clinic")), before, "as it was found");
    std::fs::write(&path, good).unwrap();
    world.push("clinic", &["two"]);
}

/// Where the frames of a segment begin, and of which kind each is.
pub fn frames(bytes: &[u8]) -> Vec<(usize, u8)> {
    let (mut at, mut all) = (64, Vec::new());
    while let Some(len) = bytes.get(at..at + 4).map(|len| u32::from_le_bytes(len.try_into().unwrap()) as usize).filter(|len| *len > 0) {
        all.push((at, bytes[at + 8]));
        at += 8 + len;
    }
    all
}

/// Events of streams that are no control lane were pushed last: the `from_end`th events frame from the end.
pub fn rot_events_frame(path: &Path, from_end: usize) {
    change(path, |bytes| {
        let events: Vec<_> = frames(bytes).into_iter().filter(|(_, kind)| *kind == 1).collect();
        let (at, _) = events[events.len() - 1 - from_end];
        bytes[at + 40] ^= 0x10;
    });
}

fn is_hole(finding: &Finding) -> bool {
    matches!(finding, Finding::Hole { .. })
}

#[test]
fn an_unfinished_write_at_the_end_is_cut_off_and_nothing_acknowledged_is_lost() {
    let (world, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    world.push("clinic", &["two"]);
    let path = segments(&world, "clinic").pop().unwrap();
    change(&path, |bytes| {
        let (last, _) = frames(bytes).pop().unwrap();
        let len = 8 + u32::from_le_bytes(bytes[last..last + 4].try_into().unwrap()) as usize;
        let (end, written) = (last + len, (last + len + 600).next_multiple_of(512)); // as a longer write of which some sectors were written
        bytes[end..written].fill(0x55);
        bytes[end..end + 4].copy_from_slice(&9000_u32.to_le_bytes());
    });
    assert_eq!(world.payloads("clinic"), ["one", "two"], "a reader ignores it");
    let node = world.open("clinic");
    assert!(node.findings().iter().any(|finding| matches!(finding, Finding::TornTail { .. })), "{:?}", node.findings());
    drop(node);
    world.push("clinic", &["three"]);
    assert_eq!(world.payloads("clinic"), ["one", "three", "two"]);
    assert!(world.open("clinic").findings().is_empty());
}

#[test]
fn a_hole_in_our_own_history_begins_a_new_life_and_the_rest_comes_back() {
    let (world, hub) = hub_and_clinic();
    world.push("clinic", &["one"]);
    world.push("clinic", &["two"]);
    world.carry("clinic", "hub", "up");
    let clinic = world.view("clinic").keyring().node();
    world.push("clinic", &["three"]); // nobody else has this one
    rot_events_frame(segments(&world, "clinic").last().unwrap(), 1);
    let node = world.open("clinic");
    assert!(node.findings().iter().any(is_hole), "{:?}", node.findings());
    drop(node);
    assert_eq!(world.view("clinic").keyring().earlier_incarnations().len(), 1);
    assert_eq!(world.payloads("clinic"), ["one", "three"], "what stands behind the hole was written again");
    world.push("clinic", &["four"]);
    for round in 0..3 {
        world.carry("clinic", "hub", &format!("up{round}"));
        world.carry("hub", "clinic", &format!("down{round}"));
    }
    assert_eq!(world.payloads("hub"), ["four", "one", "three", "two"]);
    assert_eq!(world.payloads("clinic"), ["four", "one", "three", "two"]);
    assert_eq!(world.view("hub").forks().unwrap(), [], "{hub} {clinic}");
}

#[test]
fn a_hole_in_a_foreign_history_is_asked_for_again() {
    let (world, _) = hub_and_clinic();
    for payload in ["one", "two", "three"] {
        world.push("clinic", &[payload]);
        world.carry("clinic", "hub", payload);
    }
    world.carry("hub", "clinic", "receipt");
    rot_events_frame(segments(&world, "hub").last().unwrap(), 1);
    let node = world.open("hub");
    assert!(node.findings().iter().any(is_hole), "{:?}", node.findings());
    drop(node);
    assert!(world.payloads("hub").len() < 3);
    world.push("clinic", &["four"]);
    for round in 0..4 {
        world.carry("clinic", "hub", &format!("up{round}"));
        world.carry("hub", "clinic", &format!("down{round}"));
    }
    assert_eq!(world.payloads("hub"), ["four", "one", "three", "two"]);
    assert_eq!(world.payloads("clinic"), ["four", "one", "three", "two"]);
    assert_eq!(world.view("hub").held().unwrap(), []);
}

#[test]
fn a_clock_at_1970_or_2100_spoils_neither_order_nor_delivery() {
    let (world, _) = hub_and_clinic();
    let good = world.clock.get();
    for (round, now) in [0, good, 4_102_444_800_000, good + 60_000].into_iter().enumerate() {
        world.clock.set(now);
        world.push("clinic", &[&format!("p{round}")]);
        let taken = world.carry("clinic", "hub", &format!("up{round}"));
        assert_eq!(taken.counts.new, 1, "clock at {now}: {taken:?}");
        world.carry("hub", "clinic", &format!("down{round}"));
    }
    assert_eq!(world.payloads("hub"), ["p0", "p1", "p2", "p3"]);
    let view = world.view("hub");
    let (stream, _) = view.log().streams().into_iter().find(|(stream, _)| stream.origin.lane == Lane::Routine).unwrap();
    let mut events = view.log().events(&stream, 1).unwrap();
    let mut last = bundle_format::hlc::Hlc(0);
    while let Some((seq, bytes)) = events.next().unwrap() {
        let event = bundle_format::event::Event::from_bytes(bytes).unwrap();
        assert!(event.hlc > last, "stamps grow along a history");
        assert_eq!(event.payload, format!("p{}", seq - 1).as_bytes());
        last = event.hlc;
    }
}

#[test]
fn a_clock_that_jumps_ahead_is_told_and_nothing_is_refused() {
    let (world, _) = hub_and_clinic();
    let good = world.clock.get();
    let ahead = 4_102_444_800_000;
    let told_of = [None, Some(Skew::Ahead(good)), None, Some(Skew::Jumped), Some(Skew::Ahead(ahead - good)), Some(Skew::Ahead(ahead - good))];
    for (now, skew) in [good, 0, good + 3_600_000, ahead, good, good].into_iter().zip(told_of) {
        world.clock.set(now);
        let mut node = world.open("clinic");
        let streams = node.push_streams(Lane::Routine, &[]).unwrap();
        let fields = zbundle::push::Fields { kind: "record".into(), ..zbundle::push::Fields::default() };
        let told = node.with_pusher(&streams, |pusher| {
            pusher.push(&fields, 1, &mut &b"x"[..]).unwrap();
            pusher.sync().unwrap();
            pusher.skew()
        });
        assert_eq!(told, skew, "at {now}");
        drop(node);
        let is_alarm = alarms(&world.view("clinic").status().unwrap(), None).iter().any(|alarm| alarm.kind == "stamps_ahead");
        assert_eq!(is_alarm, matches!(skew, Some(Skew::Ahead(_))), "at {now}");
    }
}

#[test]
fn what_is_named_like_a_bundle_and_is_no_file_is_told_and_passed_by() {
    let (world, hub) = hub_and_clinic();
    world.push("clinic", &["one"]);
    let cut = world.cut("clinic", &[hub], "stick");
    let stick = world.path("stick");
    std::fs::create_dir(stick.join("folder.zb")).unwrap();
    std::os::unix::fs::symlink(&cut.files[0].path, stick.join("link.zb")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, stick.join("pipe.ZB"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    std::fs::write(stick.join("empty.zb"), b"").unwrap();
    std::fs::write(stick.join("text.zb"), b"good morning").unwrap();
    std::fs::write(stick.join(".hidden.zb"), b"good morning").unwrap();
    let before = std::fs::read_dir(&stick).unwrap().count();
    let taken = world.ingest("hub", "stick");
    let outcome = |name: &str| taken.files.iter().find(|file| file.path.ends_with(name)).map(|file| file.outcome.clone());
    for name in ["folder.zb", "link.zb", "pipe.ZB"] {
        assert_eq!(outcome(name), Some(Outcome::Foreign(Code::Z229)), "{name}: {taken:?}");
    }
    assert_eq!(outcome("empty.zb"), Some(Outcome::Incomplete));
    assert_eq!(outcome("text.zb"), Some(Outcome::Foreign(Code::Z211)));
    assert_eq!(outcome(".hidden.zb"), None);
    assert_eq!(taken.counts.new, 1);
    assert_eq!(std::fs::read_dir(&stick).unwrap().count(), before, "nothing was moved or removed");
    // Named one by one they are what they are.
    for name in ["folder.zb", "link.zb", "pipe.ZB"] {
        let taken = world.open("hub").ingest(&[stick.join(name)], &mut |_| {});
        let taken = taken.unwrap();
        assert!(taken.files.iter().all(|file| file.outcome == Outcome::Foreign(Code::Z229)), "{name}: {taken:?}");
    }
}
