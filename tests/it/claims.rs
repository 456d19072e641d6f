//! A member that says in each file that another has lost a part of its past: it is believed so often, and records come to no harm (R6.6-p).

use crate::hostile::{Forge, Tell};
use crate::world::World;
use bundle_format::ids::{Lane, NodeId, Origin};
use bundle_format::limits::{LOSS_WORDS_A_DAY, LOSS_WORDS_MAX};
use std::collections::BTreeSet;
use zbundle::keys::Policy;
use zbundle::node::alarm::alarms;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// An authority, a clinic with two records, and the liar's place.
fn domain() -> (World, NodeId) {
    let world = World::quick();
    world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["a1", "a2"]);
    (world, clinic)
}

/// The clinic takes in files of `liar`, each of which tells more of its present life than there is. How many new lives that makes.
fn lie(world: &World, (liar, clinic): (&str, NodeId), numbers: std::ops::Range<u64>) -> u64 {
    let mut lives = 0;
    for number in numbers {
        let incarnation = world.view("clinic").keyring().incarnation();
        let told = Origin { node: clinic, incarnation, lane: Lane::Routine, audience: None };
        let folder = format!("lie{number}");
        Forge::at(world, liar).roster(false).only(NodeId([0; 8])).tell(told, 9, Tell::Wrong, number).seal(world, clinic, &folder);
        let ingested = world.ingest("clinic", &folder);
        assert_eq!(ingested.files.len(), 1);
        let is_new = world.view("clinic").keyring().incarnation() != incarnation;
        assert_eq!(ingested.new_life, is_new, "what is told is what was done");
        lives += u64::from(is_new);
    }
    lives
}

#[test]
fn who_says_again_and_again_that_records_are_lost_is_believed_so_often_and_named() {
    let (world, clinic) = domain();
    world.join("rogue", "hub", Policy::Own);
    world.carry("hub", "clinic", "roster");
    let liar = ("rogue", clinic);
    let disbelieved = || world.view("clinic").status().unwrap().domain.unwrap().disbelieved;
    assert_eq!(lie(&world, liar, 1000..1000 + LOSS_WORDS_MAX), LOSS_WORDS_MAX);
    world.clock.set(world.clock.get() + DAY_MS);
    assert_eq!(lie(&world, liar, 2000..2003), 3);
    assert_eq!(disbelieved(), [""; 0], "tomorrow it may be true");
    assert_eq!(lie(&world, liar, 3000..3020), LOSS_WORDS_A_DAY - 3);
    assert_eq!(disbelieved(), ["rogue"]);
    let is_told =
        |kind: &str| alarms(&world.view("clinic").status().unwrap(), None).iter().any(|alarm| (alarm.kind, &*alarm.about) == (kind, "rogue"));
    assert!(is_told("disbelieved"));
    world.push("clinic", &["a3"]);
    assert_eq!(world.carry("clinic", "hub", "up").counts.new, 3);
    assert_eq!(world.payloads("hub"), ["a1", "a2", "a3"]);
}

#[test]
fn who_is_not_believed_and_brings_the_proof_is_heeded() {
    let (world, clinic) = domain();
    world.carry("clinic", "hub", "first");
    assert_eq!(lie(&world, ("hub", clinic), 1000..1000 + LOSS_WORDS_MAX), LOSS_WORDS_MAX);
    world.push("clinic", &["a3"]);
    world.carry("clinic", "hub", "second");
    world.image("clinic", "image");
    world.push("clinic", &["b1"]);
    world.carry("clinic", "hub", "third");
    world.restore("image", "clinic");
    let life = world.view("clinic").keyring().incarnation();
    // The hub goes by what the clinic told before; it sends what is lacking when it hears that it is.
    let rounds = (0..5).take_while(|round| {
        world.push("clinic", &[&format!("c{round}")]);
        world.carry("clinic", "hub", &format!("up{round}"));
        !world.carry("hub", "clinic", &format!("down{round}")).new_life
    });
    assert!(rounds.count() < 5, "its own signature on what it does not hold");
    assert_ne!(world.view("clinic").keyring().incarnation(), life);
    world.carry("clinic", "hub", "last");
    let held: BTreeSet<_> = world.payloads("clinic").into_iter().collect();
    assert!(["a1", "a2", "a3", "b1", "c0"].iter().all(|payload| held.contains(*payload)), "{held:?}");
    assert_eq!(world.payloads("hub").into_iter().collect::<BTreeSet<_>>(), held);
}
