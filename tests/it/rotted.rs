//! One bit of a small file beside the log rots. It is a memory: what it held is found again, or asked for again, and no command stops for it (R10.2-j).

use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use std::path::{Path, PathBuf};
use zbundle::keys::Policy;
use zbundle::node::{Node, Opening};

const DAY_MS: u64 = 24 * 3600 * 1000;

fn hub_and_clinic() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    (world, hub, clinic)
}

/// The bytes with one bit changed.
pub fn rot(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, &bytes).unwrap();
    bytes
}

fn peer_file(world: &World, name: &str, peer: NodeId) -> PathBuf {
    world.path(name).join("peers").join(peer.to_string())
}

/// Until nobody has anything to say.
fn settle(world: &World, hub: NodeId, clinic: NodeId) {
    for round in 0..8 {
        world.carry("clinic", "hub", &format!("up{round}"));
        world.carry("hub", "clinic", &format!("down{round}"));
        for folder in [format!("up{round}"), format!("down{round}")] {
            std::fs::remove_dir_all(world.path(&folder)).unwrap_or(());
        }
    }
    for (from, to) in [("clinic", hub), ("hub", clinic)] {
        assert!(world.cut(from, &[to], "nothing").files.is_empty(), "{from} has fallen silent");
    }
}

#[test]
fn a_rotten_file_of_a_peer_stops_nothing_and_is_made_anew() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["one"]);
    settle(&world, hub, clinic);
    let path = peer_file(&world, "clinic", hub);
    let rotten = rot(&path);
    let view = world.view("clinic");
    view.status().unwrap();
    view.fsck(&mut |_, _| {}).unwrap();
    assert_eq!(Vec::from_iter(view.rotted().take()), std::slice::from_ref(&path));
    assert_eq!(std::fs::read(&path).unwrap(), rotten, "a reader changes nothing");
    let node = world.open("clinic");
    let peer = node.peer(&hub).unwrap();
    assert!(peer.answer_due && peer.receipt.is_none(), "{peer:?}");
    let today = world.clock.get() / DAY_MS;
    assert_eq!((peer.link.known_on(today), peer.link.known_on(today + 1)), (None, Some(0)), "no budget is given twice, and a day costs one");
    assert_eq!(node.rotted().take().len(), 1);
    drop(node);
    assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), rotten);
    let node = world.open("clinic");
    node.peer(&hub).unwrap();
    assert!(node.rotted().take().is_empty(), "it is said once");
    drop(node);
    world.push("clinic", &["two"]);
    settle(&world, hub, clinic);
    assert_eq!((world.payloads("hub"), world.payloads("clinic")), (vec!["one".into(), "two".into()], vec!["one".into(), "two".into()]));
}

/// The hub had forgotten which lives of the clinic are over. A stick that was lost for a year would have brought an old truth back, for ever.
#[test]
fn a_receipt_of_a_life_that_its_holder_closed_counts_for_nobody_who_forgot_it() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["one"]);
    world.cut("clinic", &[hub], "lost");
    settle(&world, hub, clinic);
    std::fs::remove_file(world.path("clinic").join("state")).unwrap();
    world.push("clinic", &["two"]);
    settle(&world, hub, clinic);
    rot(&peer_file(&world, "hub", clinic));
    world.push("clinic", &["three"]);
    settle(&world, hub, clinic);
    world.ingest("hub", "lost");
    let receipt = world.open("hub").peer(&clinic).unwrap().receipt.unwrap();
    assert_eq!(receipt.incarnation, world.view("clinic").keyring().incarnation());
}

/// Lives that had ended were forgotten, with what was settled of them: they are open again, and come out as they were, with nothing said a second time.
#[test]
fn a_rotten_state_costs_a_life_and_what_it_held_is_found_again() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["one"]);
    settle(&world, hub, clinic);
    world.image("clinic", "card");
    world.push("clinic", &["two"]);
    world.carry("clinic", "hub", "before");
    world.restore("card", "clinic");
    world.push("clinic", &["three"]);
    settle(&world, hub, clinic);
    let lives = world.view("clinic").keyring().earlier_incarnations().len();
    let (at_hub, at_clinic) = (world.payloads("hub"), world.payloads("clinic"));
    assert!(lives > 0 && world.view("hub").forks().unwrap().iter().chain(&world.view("clinic").forks().unwrap()).all(|fork| fork.closed));
    let path = world.path("clinic").join("state");
    let rotten = rot(&path);
    let view = world.view("clinic");
    assert!(view.forks().unwrap().iter().all(|fork| fork.closed), "who closed what stands in the log");
    assert_eq!(view.open_lives().len(), lives);
    assert_eq!(Vec::from_iter(view.rotted().take()), std::slice::from_ref(&path));
    let node = world.open("clinic");
    assert_eq!((node.rotted().take().len(), node.keyring().earlier_incarnations().len()), (1, lives + 1), "which receipts were told is not known");
    drop(node);
    assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), rotten);
    assert!(world.open("clinic").rotted().take().is_empty(), "it is said once");
    settle(&world, hub, clinic);
    assert_eq!((world.payloads("hub"), world.payloads("clinic")), (at_hub, at_clinic), "nothing is written again that had been");
    assert_eq!((world.view("clinic").open_lives().len(), world.view("hub").forks().unwrap().iter().filter(|fork| !fork.closed).count()), (0, 0));
    assert!(world.view("clinic").forks().unwrap().iter().all(|fork| fork.closed));
    world.push("clinic", &["four"]);
    settle(&world, hub, clinic);
    assert_eq!(world.payloads("hub").iter().filter(|payload| *payload == "four").count(), 1);
}

/// What a later version wrote has not rotted: it is refused, and stays as it is.
#[test]
fn a_memory_of_another_form_is_refused_and_not_made_anew() {
    let (world, hub, _) = hub_and_clinic();
    let form = [0x81_u8, 0x00]; // an array of one number
    let bytes = [&form[..], &crc32fast::hash(&form).to_be_bytes()].concat();
    let path = peer_file(&world, "clinic", hub);
    std::fs::write(&path, &bytes).unwrap();
    let opening = Opening { data_dir: &world.path("clinic"), secret: &world.secret("clinic"), lock_wait_ms: 30_000 };
    let refused = Node::open(world.ports(), &opening).and_then(|node| node.peer(&hub).map(drop)).unwrap_err();
    assert_eq!(refused.code(), Code::Z307);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
