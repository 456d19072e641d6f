//! Couriers that cannot read: what a machine without any key carries on, what it drops when it is full, what it never spoils.

use crate::stick::{CLINICS, HUB, domain};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::Lane;
use zbundle::carry::stick::PlaceKind;
use zbundle::node::relaying::{RelayOrder, Relayed, relay};

fn carry(world: &World, place: &str, quota: u64) -> Relayed {
    let (place, store) = (world.path(place), world.path("post"));
    let relayed = relay(world.ports(), &RelayOrder { place: &place, store: &store, quota, lock_wait_ms: 0 }).unwrap();
    assert!(relayed.safe && relayed.trouble.is_none(), "{:?}", relayed.trouble);
    relayed
}

/// R10.12-i.
#[test]
fn a_post_office_without_keys_carries_both_ways_and_comes_to_rest() {
    let world = World::new();
    domain(&world);
    for place in ["valley", "road"] {
        world.prepare(place, PlaceKind::Folder);
    }
    world.push(CLINICS[0], &["a1", "a2"]);
    world.exchange(CLINICS[0], "valley");
    assert_eq!((carry(&world, "valley", 1 << 20).taken, carry(&world, "road", 1 << 20).given), (1, 1));
    world.exchange(HUB, "road");
    assert_eq!(world.payloads(HUB), ["a1", "a2"]);
    for round in 0..6 {
        carry(&world, "road", 1 << 20);
        carry(&world, "valley", 1 << 20);
        let clinic = world.exchange(CLINICS[0], "valley");
        world.exchange(HUB, "road");
        assert!(round < 4 || clinic.cut.files.iter().all(|file| file.already_there), "round {round}: two settled nodes fall silent");
    }
    let status = world.view(CLINICS[0]).status().unwrap();
    assert_eq!(status.peers.iter().map(|peer| peer.acknowledged).max(), Some(2), "the receipt came back the same way");
    carry(&world, "road", 1 << 20);
    let again = carry(&world, "road", 1 << 20);
    assert_eq!((again.taken, again.given), (0, 0), "where a bundle has been it is not brought again");
}

/// R10.12-i.
#[test]
fn a_full_store_keeps_what_is_urgent_and_says_what_found_no_room() {
    let world = World::new();
    let [hub, ..] = domain(&world);
    world.prepare("valley", PlaceKind::Folder);
    world.prepare("road", PlaceKind::Folder);
    world.push_to(CLINICS[1], Lane::Bulk, &[], &["an image"]);
    world.cut(CLINICS[1], &[hub], "valley");
    let first = carry(&world, "valley", 700);
    assert_eq!((first.taken, first.no_room), (1, 0));
    world.push_to(CLINICS[0], Lane::Urgent, &[], &["an allergy"]);
    world.cut(CLINICS[0], &[hub], "valley");
    let urgent = carry(&world, "valley", 700);
    assert_eq!((urgent.taken, urgent.put_out, urgent.stored.0), (1, 1, 1), "the image waits on the stick");
    let third = carry(&world, "valley", 700);
    assert_eq!((third.taken, third.no_room, third.put_out), (0, 1, 0), "bulk does not put out what is urgent");
    assert_eq!(carry(&world, "road", 700).given, 1);
    world.ingest(HUB, "road");
    assert_eq!(world.payloads(HUB), ["an allergy"]);
}

/// R10.12-i: what is not whole goes nowhere; a store whose index is gone or damaged is read again.
#[test]
fn what_is_not_whole_is_left_and_a_store_finds_its_bundles_without_its_index() {
    let world = World::new();
    domain(&world);
    let valley = world.prepare("valley", PlaceKind::Folder);
    world.prepare("road", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1"]);
    world.exchange(CLINICS[0], "valley");
    let whole = std::fs::read(valley.join(&world.lying("valley")[0].0)).unwrap();
    std::fs::write(valley.join("half.zb"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(valley.join("holiday.zb"), b"not a bundle").unwrap();
    let taken = carry(&world, "valley", 1 << 20);
    assert_eq!((taken.taken, taken.faulty.len(), taken.faulty[0].1), (1, 1, Code::Z212));
    std::fs::write(world.path("post").join("index"), b"rot").unwrap();
    assert_eq!(carry(&world, "road", 1 << 20).given, 1);
    world.exchange(HUB, "road");
    assert_eq!(world.payloads(HUB), ["a1"]);
}

/// A courier said that all is in the folder while a bundle lay deeper than is looked, there or in the store.
#[test]
fn what_lies_too_deep_is_told() {
    let world = World::new();
    domain(&world);
    for (name, at) in [("there", "valley"), ("in the store", "post")] {
        let place = world.prepare(&format!("valley-{name}"), PlaceKind::Folder);
        let deep = if at == "valley" { place.join("1/2/3/4") } else { world.path("post").join("1/2/3/4") };
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("deep.zb"), b"whatever").unwrap();
        let relayed = carry(&world, &format!("valley-{name}"), 1 << 20);
        assert_eq!((relayed.unseen.deeper, relayed.taken), (1, 0), "{name}");
        assert!(!relayed.is_all(), "{name}");
        std::fs::remove_dir_all(&deep).unwrap();
    }
}
