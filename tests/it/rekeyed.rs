//! A member that gets new keys while it goes on working: what it sent under the old ones, after the authority had signed, counts everywhere (R8.3-i).

use crate::lab::{Lab, run};
use crate::world::World;
use bundle_format::ids::{Lane, NodeId};
use zbundle::keys::Policy;

const PART_LEN: usize = bundle_format::limits::PART_LEN;

/// An authority, a district that hears of the clinic from it, and the clinic.
fn domain() -> (World, NodeId, NodeId) {
    let world = World::quick();
    let hub = world.init("hub", true);
    world.join("district", "hub", Policy::All);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["a1"]);
    world.carry("clinic", "hub", "a");
    world.carry("hub", "district", "a-on");
    (world, hub, clinic)
}

/// The clinic asks and the authority signs; the answer takes a while, and the clinic does not wait.
fn rekey_around(world: &World, meanwhile: impl FnOnce()) {
    let request = world.open("clinic").request(true).unwrap();
    let member = world.view("clinic").keyring().node();
    let signed = world.open("hub").sign(&request, Policy::Own, Some(member), false).unwrap();
    meanwhile();
    let mut node = world.open("clinic");
    let offer = node.consider(&signed.join).unwrap();
    node.join(&offer).unwrap();
}

fn unused(world: &World, clinic: NodeId) -> [u64; 3] {
    ["clinic", "hub", "district"].map(|name| world.after_revoke(name, clinic))
}

#[test]
fn what_is_sent_between_request_and_join_counts_everywhere_afterwards() {
    let (world, hub, clinic) = domain();
    let large = "x".repeat(2 * PART_LEN + 1);
    rekey_around(&world, || {
        world.push("clinic", &["b1", &large]);
        world.push_to("clinic", Lane::Urgent, &[], &["b2"]);
        world.push_to("clinic", Lane::Routine, &[hub], &[&large]);
        world.carry("clinic", "hub", "b");
        world.carry("hub", "district", "b-on");
    });
    assert_eq!(unused(&world, clinic)[1], 8, "four and one, and three of a payload for the hub alone");
    for round in 0..2 {
        world.carry("hub", "clinic", &format!("down{round}"));
        world.carry("clinic", "hub", &format!("up{round}"));
        world.carry("hub", "district", &format!("on{round}"));
    }
    assert_eq!(unused(&world, clinic), [0; 3]);
    let told = world.payloads("hub").into_iter().filter(|payload| payload.len() == 2).collect::<Vec<_>>();
    assert_eq!(told, ["a1", "b1", "b1", "b2", "b2"], "a short one of each history stands there twice");
    world.carry("clinic", "hub", "last");
    assert!(world.cut("clinic", &[hub], "again").files.is_empty(), "and then they are silent");
    assert_eq!(world.payloads("clinic"), world.payloads("hub"));
}

#[test]
fn what_nobody_has_yet_is_not_written_again() {
    let (world, hub, clinic) = domain();
    rekey_around(&world, || world.push("clinic", &["b1"]));
    world.carry("clinic", "hub", "b");
    assert_eq!(world.payloads("hub"), ["a1", "b1"]);
    assert_eq!(unused(&world, clinic)[..2], [0; 2]);
    world.carry("hub", "clinic", "down");
    world.carry("clinic", "hub", "c");
    assert_eq!(world.payloads("hub"), ["a1", "b1"]);
    assert!(world.cut("clinic", &[hub], "again").files.is_empty());
}

#[test]
fn it_counts_after_a_session_too() {
    run(async {
        let (world, _, clinic) = domain();
        rekey_around(&world, || {
            world.push("clinic", &["b1"]);
            world.carry("clinic", "hub", "b");
        });
        assert_eq!(world.after_revoke("hub", clinic), 1);
        let lab = Lab::new(world);
        let (hub, node) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.complete(&node, "hub").await;
        hub.quiet().await;
        assert_eq!(lab.world.view("hub").status().unwrap().origins.iter().map(|origin| origin.after_revoke).sum::<u64>(), 0);
    });
}
