//! What members say is closed: who is heeded, and in how much.

use crate::world::World;
use bundle_format::ids::NodeId;
use std::path::Path;
use std::rc::Rc;
use zbundle::keys::{Policy, Secret};
use zbundle::node::{Node, Opening};
use zbundle::ports::disk::{Disk, replace};
use zbundle::ports::{MemoryDisk, Ports};

/// A hub and a clinic that are level.
fn domain() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::OwnAndHubs);
    world.push("clinic", &["a1", "a2"]);
    world.carry("clinic", "hub", "a");
    world.carry("hub", "clinic", "a-back");
    (world, hub, clinic)
}

/// Whether each fork that the hub holds is closed.
fn closed_forks(world: &World) -> Vec<bool> {
    world.view("hub").forks().unwrap().iter().map(|fork| fork.closed).collect()
}

/// R6.2-l: a copy of the card, or a spare one that was put back, begins a life and closes that which the real device lives. Nobody believed the receipts of
/// the real one from then on, and it was sent everything again with each file.
#[test]
fn what_a_replaced_key_closes_is_not_over() {
    let (world, hub, clinic) = domain();
    world.image("clinic", "thief");
    std::fs::copy(world.path("clinic.key"), world.path("thief.key")).unwrap();
    world.rekey("clinic", "hub");
    world.carry("clinic", "hub", "b");
    world.carry("hub", "clinic", "b-back");
    std::fs::remove_file(world.path("thief").join("state")).unwrap();
    world.push("thief", &["thief"]);
    world.ingest("thief", "a-back");
    world.cut("thief", &[hub], "stolen");
    let taken = world.ingest("hub", "stolen");
    assert!(taken.counts.control > 0 && taken.files[0].detail.as_deref().is_some_and(|detail| detail.starts_with("Z614")), "{taken:?}");
    for round in 0..2 {
        world.push("clinic", &["c"]);
        world.push("hub", &["h"]);
        world.carry("hub", "clinic", &format!("down{round}"));
        world.carry("clinic", "hub", &format!("up{round}"));
    }
    let status = world.view("hub").status().unwrap();
    let peer = status.peers.iter().find(|peer| peer.node == clinic).unwrap();
    assert_eq!(peer.unacknowledged, 0, "its receipts count");
    std::fs::remove_file(world.path("hub").join("state")).unwrap();
    world.push("hub", &["anew"]);
    world.carry("hub", "clinic", "anew");
    world.carry("clinic", "hub", "anew-back");
    let status = world.view("hub").status().unwrap();
    let peer = status.peers.iter().find(|peer| peer.node == clinic).unwrap();
    assert_eq!(peer.unacknowledged, 0, "also where what was closed is found again");
}

/// R6.2-l: what a restored card closed before it got new keys is not heeded behind their end, but from when on it counts.
#[test]
fn what_is_closed_is_heeded_from_when_on_it_counts() {
    for is_accepted in [true, false] {
        let (world, hub, clinic) = domain();
        world.image("clinic", "image");
        world.push("clinic", &["b1", "b2"]);
        world.carry("clinic", "hub", "b");
        world.restore("image", "clinic");
        world.push("clinic", &["c1"]);
        for round in 0..3 {
            world.carry("clinic", "hub", &format!("up{round}"));
            world.carry("hub", "clinic", &format!("down{round}"));
            let view = world.view("clinic");
            if !view.keyring().earlier_incarnations().is_empty() && view.open_lives().is_empty() {
                break; // it has closed its old life, and nobody knows yet
            }
        }
        world.cut("clinic", &[hub], "late");
        world.rekey("clinic", "hub");
        world.ingest("hub", "late");
        assert_eq!(closed_forks(&world), [false], "said under a key that has ended");
        if is_accepted {
            world.open("hub").accept(clinic, false).unwrap();
        } else {
            world.push("clinic", &["d1"]);
            world.carry("clinic", "hub", "d");
        }
        assert_eq!(closed_forks(&world), [true], "accepted {is_accepted}");
    }
}

/// The hub as it stood before a file of the clinic closed the fork, and the folder with that file.
fn before_the_fork_is_closed(world: &World, hub: NodeId, clinic: NodeId) -> (String, String) {
    world.image("clinic", "card");
    world.push("clinic", &["b1"]);
    world.carry("clinic", "hub", "b");
    world.restore("card", "clinic");
    world.push("clinic", &["c1"]);
    for round in 0..6 {
        let (up, image) = (format!("up{round}"), format!("hub{round}"));
        world.cut("clinic", &[hub], &up);
        world.image("hub", &image);
        if world.path(&up).exists() {
            world.ingest("hub", &up);
        }
        if closed_forks(world) == [true] {
            return (image, up);
        }
        world.cut("hub", &[clinic], &format!("down{round}"));
        world.ingest("clinic", &format!("down{round}"));
    }
    panic!("six rounds, and the fork is open");
}

fn copy(from: &Path, disk: &MemoryDisk, to: &Path) {
    disk.create_folder(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), disk, &target),
            kind if kind.is_file() => replace(disk, &target, &std::fs::read(entry.path()).unwrap()).unwrap(),
            _ => {}
        }
    }
}

/// R6.2-n: the log had the event that closes, the power went, and nobody learned it from there any more: the fork stayed open at that hub for ever.
#[test]
fn what_is_closed_is_learned_wherever_the_power_goes() {
    let (world, hub, clinic) = domain();
    let (image, folder) = before_the_fork_is_closed(&world, hub, clinic);
    let mut struck = 0;
    for nth in 1.. {
        let disk = MemoryDisk::new();
        copy(&world.path(&image), &disk, Path::new("/hub"));
        copy(&world.path(&folder), &disk, Path::new("/up"));
        replace(&disk, Path::new("/key"), &std::fs::read(world.path("hub.key")).unwrap()).unwrap();
        let ports = Ports { disk: Rc::new(disk.clone()), ..world.ports().clone() };
        let secret = Secret::read_key_file(&disk, Path::new("/key")).unwrap();
        let opening = Opening { data_dir: Path::new("/hub"), secret: &secret, lock_wait_ms: 0 };
        let ingest = || Node::open(&ports, &opening).and_then(|mut node| node.ingest(&["/up".into()], &mut |_| {}));
        disk.lose_power(nth);
        let done = ingest();
        if !disk.has_struck() {
            done.unwrap();
            break;
        }
        struck += 1;
        disk.crash(nth);
        disk.heal();
        ingest().unwrap_or_else(|error| panic!("operation {nth}: {error}"));
        let forks = zbundle::node::View::open(&ports, Path::new("/hub"), &secret).unwrap().forks().unwrap();
        assert!(!forks.is_empty() && forks.iter().all(|fork| fork.closed), "operation {nth}: {forks:?}");
    }
    assert!(struck > 10, "an ingest does more than {struck} things");
}
