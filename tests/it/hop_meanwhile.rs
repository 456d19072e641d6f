//! What comes while a session runs: from a stick, from another session with the same peer, from a clock that goes on.

use crate::hostile::range_of;
use crate::lab::{Hand, Lab, run};
use crate::watch_ledger::hub_and_clinic;
use bundle_format::ids::{Lane, Origin};
use bundle_format::message::Message;
use bundle_format::vector::{Salt, Told};
use std::time::Duration;
use tokio::time::sleep;
use zbundle::carry::exchange::Heard;
use zbundle::node::session::Session;
use zbundle::ports::store::{Head, Stream as Log};

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

/// R10.14-a: only the hello counted as a word from who is on a link. A clinic whose connection had stood for three hours had a clock that was three hours
/// ahead, once it pushed, and was silent at a hub that expects it every two.
#[test]
fn who_stays_connected_is_neither_silent_nor_ahead() {
    const HOUR_MS: u64 = 3_600_000;
    let (world, hub_id, clinic) = hub_and_clinic();
    world.carry("hub", "clinic", "roster");
    let life = world.view("clinic").keyring().incarnation();
    let origin = Origin { node: clinic, incarnation: life, lane: Lane::Routine, audience: None };
    run(async {
        let lab = Lab::new(world);
        let hub = lab.serve("hub").await;
        let peer = async || {
            let status = hub.standing.with(|node| node.status()).await.unwrap();
            let now_ms = status.now_ms;
            (status.peers.into_iter().find(|peer| peer.node == clinic).unwrap(), now_ms)
        };
        let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
        let view = lab.world.view("clinic");
        let holds =
            |(stream, head): &(Log, Head)| Told::new(&hand.salt, stream.origin, &view.log().position(stream, head.checkpoint_seq).unwrap().unwrap());
        hand.greet(view.log().streams().iter().map(holds).collect(), (life, 1)).await;
        hand.say(&Message::Done(0)).await;
        sleep(Duration::from_secs(100)).await;
        lab.world.clock.set(lab.world.clock.get() + 3 * HOUR_MS); // no time passes but by this clock: what the range says is seen, not that it stands
        lab.world.push("clinic", &["after three hours"]);
        lab.world.cut("clinic", &[hub_id], "signed");
        hand.say(&Message::Range(range_of(&lab.world.view("clinic"), &Log::main(origin)).unwrap())).await;
        hand.say(&Message::Done(0)).await;
        sleep(Duration::from_secs(10)).await;
        let (seen, now_ms) = peer().await;
        assert!(seen.held == 1 && seen.ahead_ms < HOUR_MS && !seen.is_silent_after(now_ms, 2 * HOUR_MS), "{seen:?}");
        sleep(Duration::from_hours(5)).await;
        let (seen, now_ms) = peer().await;
        assert!(!seen.is_silent_after(now_ms, HOUR_MS) && seen.silent_after_ms == 7 * 24 * HOUR_MS, "nothing to say for five hours: {seen:?}");
    });
}

/// R10.14-a: who was heard while the clock was ahead was not silent until that date. A clock that begins in 1970 teaches nothing.
#[test]
fn who_was_heard_while_the_clock_was_ahead_is_silent_in_time() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["by stick"]);
    world.cut("clinic", &[hub], "stick");
    let right_ms = world.clock.get();
    world.clock.set(right_ms + 365 * DAY_MS);
    world.ingest("hub", "stick");
    let node = world.open("hub");
    let seen = |now_ms: u64| {
        world.clock.set(now_ms);
        let status = node.status().unwrap();
        let peer = status.peers.iter().find(|peer| peer.node == clinic).unwrap();
        (peer.heard_ms, peer.is_silent(now_ms))
    };
    assert_eq!(seen(DAY_MS), (right_ms + 365 * DAY_MS, false), "a clock that begins in 1970");
    assert_eq!(seen(right_ms + DAY_MS), (right_ms + DAY_MS, false), "the clock is right again");
    assert_eq!([7, 9].map(|days| seen(right_ms + days * DAY_MS)), [(right_ms + DAY_MS, false), (right_ms + DAY_MS, true)]);
}
