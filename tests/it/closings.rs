//! What members say is closed: who is heeded, and in how much.

use crate::world::World;
use bundle_format::ids::NodeId;
use zbundle::keys::Policy;

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
