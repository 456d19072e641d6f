//! The authority's key was stolen and replaced: what the thief signs with the old one counts nowhere, wherever he puts it (R8.3-l, R8.3-m, R8.4-f).

use crate::hostile::Forge;
use crate::world::World;
use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::NodeId;
use bundle_format::range::{Coding, Range};
use bundle_format::seal::SealingKey;
use bundle_format::sign::SigningKey;
use zbundle::keys::{Policy, Refused, RosterError, RosterEvent};
use zbundle::ports::store::Stream;

/// `thief` is the hub as it was: its files, its old key.
fn stolen() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    exchange(&world, "start");
    world.image("hub", "thief");
    std::fs::copy(world.path("hub.key"), world.path("thief.key")).unwrap();
    (world, hub, clinic)
}

fn exchange(world: &World, tag: &str) {
    for round in 0..2 {
        world.carry("clinic", "hub", &format!("{tag}-up{round}"));
        world.carry("hub", "clinic", &format!("{tag}-down{round}"));
    }
}

fn is_as_the_authority_says(world: &World, hub: NodeId, known: usize) {
    for name in ["hub", "clinic"] {
        let view = world.view(name);
        assert!(!view.roster().is_forked(), "{name}: what a replaced key says makes no branch");
        assert_eq!(view.roster().members().count(), known, "{name}");
        assert_eq!(view.roster().member(&hub).unwrap().current().map(|key| key.number), Some(2), "{name}");
    }
    assert!(world.view("hub").status().unwrap().domain.unwrap().doubt.is_none(), "and nobody is held up by it");
}

#[test]
fn who_has_a_replaced_key_of_the_authority_enrols_nobody_below_its_replacement() {
    let (world, hub, clinic) = stolen();
    world.rekey("hub", "hub");
    exchange(&world, "rekeyed");
    world.join("evil", "thief", Policy::All);
    world.cut("thief", &[clinic], "forged");
    world.ingest("clinic", "forged");
    exchange(&world, "forged-home");
    let streams = world.view("hub").log().streams();
    assert!(streams.iter().any(|(stream, _)| stream.branch.is_some()), "the hub has heard what the thief says");
    is_as_the_authority_says(&world, hub, 2);
    let void = world.view("clinic").status().unwrap().domain.unwrap().void;
    assert!(matches!(&void[..], [Refused { why: RosterError::EndedKey, .. }]), "and status says so: {void:?}");
    world.join("other", "hub", Policy::Own);
    exchange(&world, "on");
    is_as_the_authority_says(&world, hub, 3);
}

/// He was here first: what he says was believed until the replacement came, and not longer.
#[test]
fn what_a_stolen_key_said_before_its_replacement_came_is_taken_back() {
    let (world, hub, clinic) = stolen();
    let evil = world.join("evil", "thief", Policy::All);
    world.cut("thief", &[clinic], "forged");
    world.ingest("clinic", "forged");
    assert!(world.view("clinic").roster().member(&evil).is_some(), "nothing speaks against it yet");
    world.rekey("hub", "hub");
    world.join("other", "hub", Policy::Own);
    exchange(&world, "rekeyed");
    is_as_the_authority_says(&world, hub, 3);
}

#[test]
fn a_rival_replacement_that_comes_second_replaces_nothing() {
    let (world, hub, clinic) = stolen();
    world.rekey("hub", "hub");
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
    exchange(&world, "rekeyed");
    let mut thief = world.open("thief");
    let request = thief.request(true).unwrap();
    thief.sign(&request, Policy::All, Some(hub), false).unwrap();
    drop(thief);
    world.cut("thief", &[clinic], "rival");
    world.ingest("clinic", "rival");
    exchange(&world, "rival-home");
    assert!(world.view("clinic").log().streams().iter().any(|(stream, _)| stream.branch.is_some()), "the clinic has heard of it");
    is_as_the_authority_says(&world, hub, 2);
    world.push("clinic", &["c1"]);
    world.push("hub", &["h1"]);
    exchange(&world, "data");
    assert_eq!((world.payloads("hub"), world.payloads("clinic")), (vec!["c1".into(), "h1".into()], vec!["c1".into(), "h1".into()]));
}

/// Nothing parts here: the thief goes on from the newest event there is, and waits for the authority to sign behind him.
#[test]
fn the_authority_never_signs_over_what_its_replaced_key_has_added() {
    let (world, hub, clinic) = stolen();
    world.rekey("hub", "hub");
    exchange(&world, "rekeyed");
    let mut forged = Forge::at(&world, "thief");
    forged.ranges.clear();
    forged.roster = vec![enrolment_behind(&world, "hub", "thief")];
    for name in ["hub", "clinic"] {
        let node = world.view(name).keyring().node();
        forged.seal(&world, node, &format!("forged-{name}"));
        world.ingest(name, &format!("forged-{name}"));
    }
    is_as_the_authority_says(&world, hub, 2);
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
    exchange(&world, "signed");
    is_as_the_authority_says(&world, hub, 2);
    assert_eq!(world.view("clinic").roster().member(&clinic).unwrap().policy, Policy::OwnAndHubs);
}

/// An enrolment right behind the roster as `at` holds it, signed with the present key of `by`.
fn enrolment_behind(world: &World, at: &str, by: &str) -> Range {
    let (view, by) = (world.view(at), world.view(by));
    let origin = view.roster().pin().roster_origin();
    let head: Position = view.log().head(&Stream::main(origin)).unwrap().end;
    let (signing, sealing) = (SigningKey::from_seed(&[66; 32]).verifying_key(), SealingKey::from_bytes([66; 32]).public());
    let enrol = RosterEvent::Enrol { node: signing.node_id(), name: "evil".into(), signing, sealing, policy: Policy::All };
    let bytes = Event { hlc: Hlc(1), kind: enrol.kind(), payload: &enrol.payload(), ext: Ext::default() }.to_bytes().unwrap();
    let run = Run::link(head, vec![&bytes]);
    let (key, number) = by.keyring().signing();
    let checkpoint = Checkpoint::sign(key, &view.roster().domain(), &origin, number, &run.end());
    Range::build(origin, &run, &[(1, checkpoint)], Coding::Stored, &mut Compressor::new().unwrap()).unwrap()
}
