//! The power goes while a node is being made, or while it answers what rotted: the next command makes it whole. Nobody has to tidy up first.

use crate::damage::frames;
use bundle_format::event::Event;
use bundle_format::ids::{Incarnation, Lane, Name};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use zbundle::keys::{Policy, Secret};
use zbundle::node::{Node, Opening, View};
use zbundle::ports::clock::FakeClock;
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::local::Nobody;
use zbundle::ports::store::Log;
use zbundle::ports::{Disk as _, MemoryDisk, MemoryNetwork, Ports};
use zbundle::push::Fields;

fn ports(disk: &MemoryDisk, seed: u64) -> Ports {
    Ports {
        disk: Rc::new(disk.clone()),
        clock: Rc::new(FakeClock(Cell::new(1_800_000_000_000))),
        entropy: Rc::new(SeededEntropy(Cell::new(seed))),
        net: Rc::new(MemoryNetwork::default()),
        local: Rc::new(Nobody),
    }
}

/// As the command line does it: the key file first, then the node.
fn init(disk: &MemoryDisk, seed: u64, authority: bool) -> Result<Node, String> {
    let ports = ports(disk, seed);
    let secret = Secret::make_key_file(disk, Path::new("/n.key"), &*ports.entropy).map_err(|error| error.to_string())?;
    let opening = Opening { data_dir: Path::new("/n"), secret: &secret, lock_wait_ms: 0 };
    Node::init(&ports, &opening, &Name::new("ada").unwrap(), authority).map_err(|error| error.to_string())
}

fn open(disk: &MemoryDisk, seed: u64) -> Result<Node, String> {
    let secret = Secret::read_key_file(disk, Path::new("/n.key")).map_err(|error| error.to_string())?;
    let opening = Opening { data_dir: Path::new("/n"), secret: &secret, lock_wait_ms: 0 };
    Node::open(&ports(disk, seed), &opening).map_err(|error| error.to_string())
}

/// Cut the power at every operation of `init`, keep any part of what was not synced, go on as a person would.
fn broken_off_anywhere(authority: bool) {
    for seed in 0..12 {
        for nth in 1.. {
            let disk = MemoryDisk::new();
            disk.lose_power(nth);
            let made = init(&disk, seed, authority);
            if !disk.has_struck() {
                made.unwrap();
                assert!(nth > 20, "init does more than {nth} things");
                break;
            }
            drop(made);
            disk.crash(seed * 1000 + nth);
            disk.heal();
            let node = match init(&disk, seed + 100, authority) {
                Ok(node) => node,
                Err(refused) => open(&disk, seed + 200).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {refused}; {error}")),
            };
            drop(node);
            let mut node = open(&disk, seed + 300).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            if authority {
                let request = self::request(seed);
                node.sign(&request, Policy::Own, None, false).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            }
        }
    }
}

fn request(seed: u64) -> Vec<u8> {
    let disk = MemoryDisk::new();
    let secret = Secret::Key([7; 32].into());
    let opening = Opening { data_dir: Path::new("/c"), secret: &secret, lock_wait_ms: 0 };
    Node::init(&ports(&disk, seed + 400), &opening, &Name::new("clinic").unwrap(), false).unwrap().request(false).unwrap()
}

#[test]
fn an_init_that_was_broken_off_is_finished_by_the_next() {
    broken_off_anywhere(false);
}

#[test]
fn an_authority_whose_init_was_broken_off_signs_members_all_the_same() {
    broken_off_anywhere(true);
}

/// Found by the simulator as life 0x5074: the event stood in the roster unsigned, `sign` said that it was there already, and no join file ever held it.
#[test]
fn new_keys_of_the_authority_arrive_though_the_power_went_while_they_were_signed() {
    for seed in 0..6 {
        for nth in 1.. {
            let disk = MemoryDisk::new();
            let mut node = init(&disk, seed, true).unwrap();
            let request = node.request(true).unwrap();
            disk.lose_power(nth);
            let signed = node.sign(&request, Policy::All, Some(node.keyring().node()), false);
            drop(node);
            if !disk.has_struck() {
                signed.unwrap();
                assert!(nth > 3, "signing does more than {nth} things");
                break;
            }
            disk.crash(seed * 1000 + nth);
            disk.heal();
            let mut node = open(&disk, seed + 200).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            let signed = node
                .sign(&request, Policy::All, Some(node.keyring().node()), false)
                .unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            let offer = node.consider(&signed.join).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            node.join(&offer).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            node.sign(&self::request(seed), Policy::Own, None, false).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
        }
    }
}

/// Found on a hub whose disk was full: opening it again could not write its ledger, a cache, and so failed, and went on failing after there was room.
#[test]
fn a_node_on_a_full_disk_opens_again_after_a_torn_write_and_without_its_ledger() {
    let disk = MemoryDisk::new();
    drop(init(&disk, 1, true).unwrap());
    let segment = Path::new("/n/log/00000001.seg");
    disk.edit(segment, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes[end..(end + 300).next_multiple_of(512)].fill(7); // a frame that was being written
    });
    disk.set_space(Some(0));
    let node = open(&disk, 2).unwrap();
    assert!(!node.findings().is_empty(), "what was torn off is told");
    assert!(disk.bytes(Path::new("/n/ledger")).is_none());
}

/// The log had put the hole aside and would not tell of it again; the node had not begun its new life yet, or not written again what stands behind the
/// hole. It went on under the numbers of before, and what was readable was shown to nobody any more.
#[test]
fn a_node_that_was_broken_off_while_it_answered_a_hole_goes_on_with_it() {
    let mut whole = [0, 0];
    for (seed, has_state) in [(0, true), (1, true), (2, true), (3, true), (4, false), (5, false)] {
        for nth in 1.. {
            let disk = MemoryDisk::new();
            drop(init(&disk, seed, true).unwrap());
            for payload in ["before", "rotten", "behind"] {
                push(&disk, seed, payload).unwrap();
            }
            disk.edit(Path::new("/n/log/00000001.seg"), |bytes| {
                let events: Vec<_> = frames(bytes).into_iter().filter(|(_, kind)| *kind == 1).collect();
                bytes[events[events.len() - 2].0 + 40] ^= 0x10;
            });
            if !has_state {
                disk.remove(Path::new("/n/state")).unwrap(); // as a file of an earlier version, it tells of no hole
            }
            disk.lose_power(nth);
            drop(open(&disk, seed + 100));
            let struck = disk.has_struck();
            disk.crash(seed * 1000 + nth);
            disk.heal();
            let is_whole = is_whole(&disk, seed + 150);
            whole[usize::from(is_whole)] += 1;
            push(&disk, seed + 200, "after").unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            let shown = shown(&disk, seed + 300);
            assert_eq!(
                shown.iter().map(|(payload, _)| payload.as_str()).collect::<Vec<_>>(),
                ["after", "before", "behind"],
                "operation {nth}, seed {seed}"
            );
            let life = |payload: &str| shown.iter().find(|one| one.0 == payload).map(|one| one.1);
            assert!(life("behind") != life("before") && life("after") != life("before"), "operation {nth}, seed {seed}: {shown:?}");
            if !struck {
                assert!(nth > 10, "answering does more than {nth} things");
                assert!(is_whole);
                break;
            }
        }
    }
    assert!(whole[0] > 10 && whole[1] > 3, "{whole:?}");
}

/// What `fsck` says, which calls damage that was put aside no fault only when what stands behind it is shown again (R10.8-d).
fn is_whole(disk: &MemoryDisk, seed: u64) -> bool {
    let secret = Secret::read_key_file(disk, Path::new("/n.key")).unwrap();
    let view = View::open(&ports(disk, seed), Path::new("/n"), &secret).unwrap();
    let is_whole = view.fsck(&mut |_, _| {}).unwrap().is_whole();
    assert!(!is_whole || listed(view.log()).iter().any(|(payload, _)| payload == "behind"), "whole, and not all is shown");
    is_whole
}

fn push(disk: &MemoryDisk, seed: u64, payload: &str) -> Result<(), String> {
    let mut node = open(disk, seed)?;
    let streams = node.push_streams(Lane::Routine, &[]).map_err(|error| error.to_string())?;
    let fields = Fields { kind: "note".into(), ..Fields::default() };
    let pushed = node.with_pusher(&streams, |pusher| {
        pusher.push(&fields, payload.len() as u64, &mut payload.as_bytes())?;
        pusher.sync()
    });
    pushed.map_err(|error| error.to_string())
}

/// Different payloads, and under which life of the node they stand.
fn shown(disk: &MemoryDisk, seed: u64) -> BTreeSet<(String, Incarnation)> {
    listed(open(disk, seed).unwrap().log())
}

fn listed(log: &dyn Log) -> BTreeSet<(String, Incarnation)> {
    let mut shown = BTreeSet::new();
    for (stream, head) in log.streams().into_iter().filter(|(stream, _)| stream.origin.lane == Lane::Routine) {
        let mut events = log.events(&stream, head.base.seq + 1).unwrap();
        while let Some((_, bytes)) = events.next().unwrap() {
            let payload = String::from_utf8(Event::from_bytes(bytes).unwrap().payload.to_vec()).unwrap();
            shown.insert((payload, stream.origin.incarnation));
        }
    }
    shown
}

/// The rot took every definition of the only stream, so that no stream was known to have lost anything: the next push took its first number again.
#[test]
fn no_number_is_written_twice_though_nothing_tells_of_the_stream_any_more() {
    let disk = MemoryDisk::new();
    drop(init(&disk, 1, true).unwrap());
    push(&disk, 2, "forgotten").unwrap();
    let before = shown(&disk, 3);
    push(&disk, 4, "forgotten").unwrap();
    disk.edit(Path::new("/n/log/00000001.seg"), |bytes| {
        let number = |at: usize| [bytes[at + 9], bytes[at + 10]];
        let defined: Vec<usize> = frames(bytes).into_iter().filter(|(_, kind)| *kind == 3).map(|(at, _)| at).collect();
        let of_the_last: Vec<usize> = defined.iter().copied().filter(|at| number(*at) == number(*defined.last().unwrap())).collect();
        assert_eq!(of_the_last.len(), 2, "each process has said it");
        for at in of_the_last {
            bytes[at + 20] ^= 1;
        }
    });
    push(&disk, 5, "after").unwrap();
    let after = shown(&disk, 6);
    assert!(after.iter().any(|(payload, _)| payload == "after"), "{after:?}");
    assert!(after.iter().all(|(_, life)| before.iter().all(|(_, old)| life != old)), "{before:?} {after:?}");
}
