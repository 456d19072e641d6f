//! What comes while a session runs: from a stick, from another session with the same peer, from a clock that goes on.

use crate::world::World;
use bundle_format::ids::NodeId;
use bundle_format::vector::Salt;
use zbundle::carry::exchange::Heard;
use zbundle::keys::Policy;
use zbundle::node::session::Session;

fn hub_and_clinic() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    (world, hub, clinic)
}

/// R7.6-f: a process that stays and a sync that it does for a command each spent a day's budget on their own copy: 306 KB were carried, 161 KB booked.
#[test]
fn two_sessions_with_one_peer_spend_one_budget() {
    let (world, hub, _) = hub_and_clinic();
    let mut node = world.open("clinic");
    let mut sessions = [5, 6].map(|salt| Session::begin(&mut node, hub, Salt([salt; 32])).unwrap());
    for _ in 0..2 {
        for session in &mut sessions {
            session.spend(50);
            session.save(&node).unwrap();
        }
    }
    assert_eq!(node.peer(&hub).unwrap().link.day_bytes, 200);
}

/// R7.4-k, R6.5-g: a session answers what came before its hello. What it kept at its end took back what a stick had brought meanwhile.
#[test]
fn what_a_stick_brings_during_a_session_stays() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["by stick"]);
    world.cut("clinic", &[hub], "stick");
    let life = world.view("clinic").keyring().incarnation();
    let mut node = world.open("hub");
    let mut session = Session::begin(&mut node, clinic, Salt([5; 32])).unwrap();
    session.hello(&mut node).unwrap();
    session.hear(&mut node, Heard { receipt: Some((life, 0)), ..Heard::default() }).unwrap();
    world.clock.set(world.clock.get() + 60_000);
    node.ingest(&[world.path("stick")], &mut |_| {}).unwrap();
    let brought = node.peer(&clinic).unwrap();
    for _ in 0..2 {
        session.spend(1);
        session.save(&node).unwrap();
        let kept = node.peer(&clinic).unwrap();
        assert!(kept.answer_due && kept.receipt.as_ref().is_some_and(|receipt| receipt.number > 0), "{kept:?}");
        assert_eq!((kept.receipt, kept.heard_ms, kept.via), (brought.receipt.clone(), brought.heard_ms, brought.via.clone()));
    }
    // Its answer is written while the session goes on, and is not due again.
    drop(node);
    assert_eq!(world.cut("hub", &[clinic], "answer").files.len(), 1);
    let node = world.open("hub");
    session.spend(1);
    session.save(&node).unwrap();
    assert!(!node.peer(&clinic).unwrap().answer_due);
}
