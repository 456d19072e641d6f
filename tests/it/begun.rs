//! The power goes while a node is being made: `init` again, or the next command, makes it whole. Nobody has to tidy up first.

use bundle_format::ids::Name;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use zbundle::keys::{Policy, Secret};
use zbundle::node::{Node, Opening};
use zbundle::ports::clock::FakeClock;
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::local::Nobody;
use zbundle::ports::{MemoryDisk, MemoryNetwork, Ports};

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
            let signed = node.sign(&request, Policy::All, None, false);
            drop(node);
            if !disk.has_struck() {
                signed.unwrap();
                assert!(nth > 3, "signing does more than {nth} things");
                break;
            }
            disk.crash(seed * 1000 + nth);
            disk.heal();
            let mut node = open(&disk, seed + 200).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            let signed = node.sign(&request, Policy::All, None, false).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            let offer = node.consider(&signed.join).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            node.join(&offer).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
            node.sign(&self::request(seed), Policy::Own, None, false).unwrap_or_else(|error| panic!("operation {nth}, seed {seed}: {error}"));
        }
    }
}
