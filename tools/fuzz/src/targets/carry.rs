//! Bundles of two clinics in any order, twice, cut short or damaged: what a hub holds is a function of what reached it whole (SPEC §6.2, §6.3).

use crate::hand::Hand;
use bundle_format::ids::{Lane, Name, NodeId};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zbundle::keys::{Policy, Secret};
use zbundle::node::cutting::CutOrder;
use zbundle::node::{Node, NodeError, Opening};
use zbundle::ports::clock::FakeClock;
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::local::Nobody;
use zbundle::ports::{Disk as _, MemoryDisk, MemoryNetwork, Ports, disk};
use zbundle::push::Fields;

/// Every event a hub holds but its own.
type Held = BTreeSet<(NodeId, u64, Vec<u8>)>;

fn ports(disk: &MemoryDisk, seed: u64) -> Ports {
    Ports {
        disk: Rc::new(disk.clone()),
        clock: Rc::new(FakeClock(Cell::new(1_800_000_000_000))),
        entropy: Rc::new(SeededEntropy(Cell::new(seed))),
        net: Rc::new(MemoryNetwork::default()),
        local: Rc::new(Nobody),
    }
}

fn secret() -> Secret {
    Secret::Key([7; 32].into())
}

fn open(disk: &MemoryDisk, name: &str, seed: u64) -> Result<Node, NodeError> {
    Node::open(&ports(disk, seed), &Opening { data_dir: &Path::new("/").join(name), secret: &secret(), lock_wait_ms: 0 })
}

fn init(disk: &MemoryDisk, name: &str, authority: bool, seed: u64) -> Node {
    let opening = Opening { data_dir: &Path::new("/").join(name), secret: &secret(), lock_wait_ms: 0 };
    Node::init(&ports(disk, seed), &opening, &Name::new(name).expect("a name"), authority).expect("a disk in memory takes a node")
}

/// A domain as it stood before anything was carried, and what was cut then.
struct Pool {
    /// The hub that has taken in nothing.
    before: MemoryDisk,
    bundles: Vec<Vec<u8>>,
    all: Held,
}

impl Pool {
    /// Two clinics that cut three times each; a hub somewhere else answered, so each file begins where the one before ended.
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let mut hub = init(&disk, "hub", true, 1);
        let clinics = ["ada", "bea"];
        for (clinic, seed) in clinics.iter().zip(2..) {
            let mut node = init(&disk, clinic, false, seed);
            let request = node.request(false).expect("a request");
            let signed = hub.sign(&request, Policy::OwnAndHubs, None, false).expect("a name nobody has");
            let offer = node.consider(&signed.join).expect("an answer");
            node.join(&offer).expect("the answer to what was asked");
        }
        drop(hub);
        let before = disk.image();
        let mut bundles = Vec::new();
        for round in 0..3 {
            for (clinic, seed) in clinics.iter().zip(10..) {
                push(&disk, clinic, round, seed + u64::from(round));
                bundles.extend(cut(&disk, clinic, "hub", seed + 30));
            }
            take(&disk, "hub", &bundles, 50).expect("whole bundles are taken");
            for clinic in clinics {
                let answers = cut(&disk, "hub", clinic, 60);
                take(&disk, clinic, &answers, 70).expect("whole bundles are taken");
            }
        }
        let all = held(&disk, "hub");
        assert_eq!(bundles.len(), 6);
        Self { before, bundles, all }
    }
}

fn push(disk: &MemoryDisk, clinic: &str, round: u8, seed: u64) {
    let mut node = open(disk, clinic, seed).expect("it opens");
    let streams = node.push_streams(Lane::Routine, &[]).expect("its own");
    let fields = Fields { kind: "vitals".into(), ..Fields::default() };
    node.with_pusher(&streams, |pusher| {
        for number in 0..3 {
            let payload = format!(r#"{{"of":"{clinic}","round":{round},"number":{number}}}"#);
            pusher.push(&fields, payload.len() as u64, &mut payload.as_bytes()).expect("it is taken");
        }
        pusher.sync().expect("a disk in memory syncs");
    });
}

fn cut(disk: &MemoryDisk, from: &str, to: &str, seed: u64) -> Vec<Vec<u8>> {
    let out = Path::new("/stick");
    let mut node = open(disk, from, seed).expect("it opens");
    let to = node.roster().by_name(&Name::new(to).expect("a name")).expect("a member").node;
    let order = CutOrder { to: &[to], out, max_size: 64 << 20, dry_run: false, small: false };
    let report = node.cut(&order, &mut |_, _, _| {}).expect("there is room");
    report.files.iter().map(|file| disk.bytes(&file.path).expect("it was written")).collect()
}

/// Take files in, as one command.
fn take(disk: &MemoryDisk, to: &str, files: &[Vec<u8>], seed: u64) -> Result<(), NodeError> {
    let folder = Path::new("/in");
    disk.create_folder(folder).expect("a disk in memory takes it");
    let paths: Vec<PathBuf> = (0..files.len()).map(|number| folder.join(format!("{number}.zb"))).collect();
    for (path, file) in paths.iter().zip(files) {
        disk::replace(disk, path, file).expect("a disk in memory takes it");
    }
    let mut node = open(disk, to, seed)?;
    node.ingest(&paths, &mut |_| {}).map(drop)
}

fn held(disk: &MemoryDisk, name: &str) -> Held {
    let node = open(disk, name, 99).expect("it opens");
    let own = node.keyring().node();
    let mut scan = node.log().scan().expect("it can be read");
    let (mut held, mut last) = (Held::new(), BTreeMap::new());
    while let Some((stream, seq, bytes)) = scan.next().expect("it can be read") {
        assert_eq!(last.insert(stream, seq).map_or(1, |last| last + 1), seq, "no history has a hole (R3.2-a)");
        if stream.origin.node != own {
            assert!(held.insert((stream.origin.node, seq, bytes.to_vec())), "each event once");
        }
    }
    held
}

thread_local! {
    static POOL: Pool = Pool::new();
}

pub fn carry(bytes: &[u8]) {
    POOL.with(|pool| {
        let (disk, mut hand, mut seed) = (pool.before.image(), Hand::new(bytes), 200);
        let mut steps = 0;
        while !hand.is_empty() && steps < 6 {
            (steps, seed) = (steps + 1, seed + 1);
            let count = hand.byte() % 3 + 1;
            let files: Vec<_> = (0..count).map(|_| chosen(&pool.bundles, &mut hand)).collect();
            take(&disk, "hub", &files, seed).expect("a faulty bundle stops no command");
            assert!(held(&disk, "hub").is_subset(&pool.all), "nothing is invented");
        }
        let order = usize::from(hand.byte());
        let rest: Vec<_> = (0..pool.bundles.len()).map(|at| pool.bundles[(at * 5 + order) % pool.bundles.len()].clone()).collect();
        take(&disk, "hub", &rest, 300).expect("whole bundles are taken");
        assert_eq!(held(&disk, "hub"), pool.all, "all that came whole is there, whatever came before and in which order");
    });
}

/// A bundle, whole or not.
fn chosen(bundles: &[Vec<u8>], hand: &mut Hand<'_>) -> Vec<u8> {
    let mut file = bundles[usize::from(hand.byte()) % bundles.len()].clone();
    match hand.byte() % 4 {
        0 => file.truncate(hand.below(file.len())),
        1 => {
            let at = hand.below(file.len());
            file[at] ^= hand.byte();
        }
        _ => {}
    }
    file
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![Vec::new()];
    for first in 0..6u8 {
        seeds.push(vec![1, first, 2, 5 - first, 3, 1, first, 0, 1, 7, 2, first, 1, 0, 90, 8, first, 2]);
    }
    seeds
}
