//! Own records rot that nobody gives back. What is whole behind them gets to the others, once, whatever befell the node before and whatever befalls it since.

use crate::damage::{rot_events_frame, segments};
use crate::lab::Luck;
use crate::mend::{is_routine, rot, seal};
use crate::rot::say;
use crate::rotted::rot as rot_file;
use crate::world::World;
use bundle_format::event::Event;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use zbundle::keys::Policy;
use zbundle::node::payload::{begins, facts};

fn hub_and_clinic() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    (world, hub, clinic)
}

/// Each takes in what the other has for it, until both have heard what the other holds.
fn go_between(world: &World, folder: &str) {
    for round in 0..3 {
        world.carry("clinic", "hub", &format!("{folder}-up{round}"));
        world.carry("hub", "clinic", &format!("{folder}-down{round}"));
    }
}

fn is_bulk(origin: &Origin) -> bool {
    origin.lane == Lane::Bulk
}

/// A payload in the bulk lane of so many letters, which hardly get shorter.
fn push_bulk(world: &World, len: usize) {
    let text: String = Luck(len as u64).bytes(len).into_iter().map(|byte| char::from(b'0' + byte % 64)).collect();
    world.push_to("clinic", Lane::Bulk, &[], &[&text]);
}

/// Lengths of the payloads that a node holds whole in bulk lanes, each as often as it does.
fn whole(world: &World, name: &str) -> Vec<u64> {
    let view = world.view(name);
    let mut lens = Vec::new();
    for (stream, _) in view.log().streams().into_iter().filter(|(stream, _)| is_bulk(&stream.origin)) {
        let mut events = view.log().events(&stream, 1).unwrap();
        while let Some((seq, bytes)) = events.next().unwrap() {
            let event = Event::from_bytes(bytes).unwrap();
            if begins(&event) {
                lens.extend(facts(view.log(), &stream, seq, &event).unwrap().map(|facts| facts.len));
            }
        }
    }
    lens.sort_unstable();
    lens
}

/// How many events of a lane the clinic has written in later lives than that one.
fn again(world: &World, lane: impl Fn(&Origin) -> bool, life: Incarnation) -> u64 {
    let clinic = world.view("clinic");
    let is_later = |origin: &Origin| origin.node == clinic.keyring().node() && origin.incarnation != life;
    let streams = clinic.log().streams().into_iter().filter(|(stream, _)| lane(&stream.origin) && is_later(&stream.origin));
    streams.map(|(_, head)| head.end.seq).sum()
}

/// R6.6-m: the one that holds them was revoked. It is sent nothing and brings nothing back, and the clinic waited for it.
#[test]
fn what_only_a_revoked_member_is_known_to_hold_stops_nothing_behind_it() {
    let world = World::new();
    world.init("auth", true);
    let oldhub = world.join("oldhub", "auth", Policy::All);
    world.join("clinic", "auth", Policy::Own);
    world.carry("auth", "clinic", "members");
    for payload in ["p1", "p2", "p3", "p4"] {
        world.push("clinic", &[payload]);
    }
    world.carry("clinic", "oldhub", "there");
    world.carry("oldhub", "clinic", "and-back");
    seal(&world, "clinic");
    world.open("auth").revoke(oldhub, false).unwrap();
    world.carry("auth", "clinic", "revoked");
    rot(&world, "clinic", is_routine, &[3]);
    world.push("clinic", &["p5"]);
    for round in 0..3 {
        world.carry("clinic", "auth", &format!("up{round}"));
        world.carry("auth", "clinic", &format!("down{round}"));
    }
    assert_eq!(world.payloads("auth"), ["p1", "p2", "p4", "p5"]);
}

/// R6.6-d: parts of it that can still be read were written again in each life that followed, without end.
#[test]
fn of_a_payload_that_rot_tore_nothing_is_written_again() {
    let (world, ..) = hub_and_clinic();
    for len in [50, 20_000, 300_000, 200_000] {
        push_bulk(&world, len);
    }
    seal(&world, "clinic");
    let life = world.view("clinic").keyring().incarnation();
    rot(&world, "clinic", is_bulk, &[1, 7]); // the first, and where the third begins
    assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
    drop(world.open("clinic"));
    let whole_parts = 5 + 49;
    assert_eq!(again(&world, is_bulk, life), whole_parts);
    for round in 0..2 {
        rot_file(&world.path("clinic").join("state"));
        go_between(&world, &format!("life{round}"));
        assert_eq!(again(&world, is_bulk, life), whole_parts);
    }
    assert_eq!(whole(&world, "hub"), [20_000, 200_000]);
}

/// R6.6-f: the same of what a hole tore.
#[test]
fn of_a_payload_that_a_hole_tore_nothing_is_written_again() {
    let (world, ..) = hub_and_clinic();
    for len in [300_000, 20_000] {
        push_bulk(&world, len);
    }
    let life = world.view("clinic").keyring().incarnation();
    rot_events_frame(segments(&world, "clinic").last().unwrap(), 4);
    drop(world.open("clinic"));
    assert_eq!(again(&world, is_bulk, life), 5);
    go_between(&world, "rest");
    assert_eq!(whole(&world, "hub"), [20_000]);
}

/// R6.6-d: a hub holds a part of a payload, and its history is closed there. The rest came in another, and nobody can put the two together.
#[test]
fn a_payload_of_which_a_peer_holds_a_part_is_written_again_whole() {
    let (world, hub, _) = hub_and_clinic();
    for len in [50, 300_000, 60, 70] {
        push_bulk(&world, len);
    }
    let files = world.cut_sized("clinic", &[hub], "up", 150_000).files;
    assert!(files.len() > 1);
    world.open("hub").ingest(&[files[0].path.clone()], &mut |_| {}).unwrap();
    world.carry("hub", "clinic", "down");
    let held = world.view("hub").log().streams().into_iter().find(|(stream, _)| is_bulk(&stream.origin)).unwrap().1.end.seq;
    assert!((2..75).contains(&held), "{held}");
    seal(&world, "clinic");
    rot(&world, "clinic", is_bulk, &[1, 76]); // the first, and the one behind the large one
    assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
    go_between(&world, "rest");
    assert_eq!(whole(&world, "hub"), [50, 70, 300_000]);
}

/// R6.6-m, R6.6-o: a life was over, and closed at its end, when the third of six rotted in it; nobody had any. The place further on where it had been closed hid the
/// newer one: what had been written again was lost with its file, or the clinic was behind for ever.
#[test]
fn what_rots_in_a_life_that_was_closed_at_its_end_stops_nothing_behind_it() {
    for is_lost in [true, false] {
        let (world, hub, clinic) = hub_and_clinic();
        for payload in ["p1", "p2", "p3", "p4", "p5", "p6"] {
            world.push("clinic", &[payload]);
        }
        seal(&world, "clinic");
        rot_file(&world.path("clinic").join("state"));
        let life = world.view("clinic").keyring().incarnation();
        drop(world.open("clinic"));
        world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
        world.carry("hub", "clinic", "news");
        assert!(world.view("clinic").open_lives().is_empty());
        seal(&world, "clinic");
        rot(&world, "clinic", is_routine, &[3]);
        assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
        world.push("clinic", &["later"]);
        assert_eq!(again(&world, is_routine, life), 4);
        drop(world.open("clinic"));
        if is_lost {
            std::fs::remove_file(segments(&world, "clinic").last().unwrap()).unwrap();
            world.push("clinic", &["again"]);
        }
        go_between(&world, "rest");
        let last = if is_lost { "again" } else { "later" };
        assert_eq!(world.payloads("hub"), [last, "p1", "p2", "p4", "p5", "p6"]);
        let status = world.view("clinic").status().unwrap();
        assert_eq!(status.peers.iter().map(|peer| (peer.node, peer.unacknowledged)).collect::<Vec<_>>(), [(hub, 0)]);
    }
}

/// R6.6-m: behind rot that was answered, and then before it.
#[test]
fn what_rots_before_a_place_where_a_life_was_closed_for_rot_stops_nothing_either() {
    let (world, ..) = hub_and_clinic();
    for payload in ["p1", "p2", "p3", "p4", "p5", "p6"] {
        world.push("clinic", &[payload]);
    }
    seal(&world, "clinic");
    let life = world.view("clinic").keyring().incarnation();
    for seq in [5, 2] {
        rot(&world, "clinic", |origin| is_routine(origin) && origin.incarnation == life, &[seq]);
        assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
        drop(world.open("clinic"));
    }
    go_between(&world, "rest");
    assert_eq!(world.payloads("hub"), ["p1", "p3", "p4", "p6"]);
}
