//! Who may speak on a link, and what each may hear: the roster decides, also while it changes (R7.5, R8.7).

use crate::lab::{Hand, Lab, count, payloads, push, run};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::Lane;
use bundle_format::message::Message;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::sleep;
use zbundle::keys::Policy;
use zbundle::node::standing::Standing;
use zbundle::node::syncing::{SyncEnd, SyncOrder, Synced};

fn text(payload: &str) -> Vec<Vec<u8>> {
    vec![payload.as_bytes().to_vec()]
}

fn failed(synced: &Synced) -> (&'static str, &str) {
    if let SyncEnd::Failed(code, why) = &synced.end { (code.as_str(), why.as_str()) } else { panic!("{synced:?}") }
}

#[test]
fn a_link_carries_to_each_what_its_policy_lets_it_see() {
    let world = World::quick();
    world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.join("other", "hub", Policy::OwnAndHubs);
    world.join("third", "hub", Policy::Nodes(vec![clinic]));
    run(async {
        let lab = Lab::new(world);
        let hub = lab.serve("hub").await;
        let (clinic, other, third) = (lab.stay("clinic"), lab.stay("other"), lab.stay("third"));
        for node in [&clinic, &other, &third] {
            lab.complete(node, "hub").await;
        }
        push(&clinic, "routine", &[], &text("of the clinic")).await;
        push(&clinic, "urgent", &["other"], &text("clinic for other")).await;
        push(&other, "routine", &[], &text("of the other")).await;
        push(&third, "bulk", &[], &text("of the third")).await;
        push(&hub.standing, "routine", &[], &text("of the hub")).await;
        push(&hub.standing, "routine", &["clinic", "third"], &text("hub for two")).await;
        for _ in 0..2 {
            for node in [&clinic, &other, &third] {
                lab.complete(node, "hub").await;
            }
        }
        hub.end().await;
        for node in [clinic, other, third] {
            node.close().await.unwrap();
        }
        for (name, sees) in [
            ("clinic", &["clinic for other", "hub for two", "of the clinic"][..]),
            ("other", &["clinic for other", "of the hub", "of the other"]),
            ("third", &["hub for two", "of the clinic", "of the third"]),
            ("hub", &["clinic for other", "hub for two", "hub for two", "of the clinic", "of the hub", "of the other", "of the third"]),
        ] {
            let held = payloads(&lab.contents(name));
            assert_eq!(held, sees.iter().map(|payload| payload.as_bytes().to_vec()).collect::<Vec<_>>(), "{name}");
        }
    });
}

#[test]
fn not_a_byte_of_another_clinic_is_said_to_one_that_sees_only_its_own() {
    let world = World::quick();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.join("other", "hub", Policy::Own);
    world.push("other", &["a secret of the other"]);
    run(async {
        let lab = Lab::new(world);
        let (hub, other) = (lab.serve("hub").await, lab.stay("other"));
        lab.complete(&other, "hub").await;
        let life = lab.world.view("clinic").keyring().incarnation();
        let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
        hand.greet(Vec::new(), (life, 1)).await;
        hand.say(&Message::Done(0)).await;
        while !matches!(hand.hear().await, Some(Message::Done(_))) {}
        let other_life = lab.world.view("other").keyring().incarnation();
        let says = |bytes: &[u8]| hand.heard.windows(bytes.len()).any(|window| window == bytes);
        assert!(!says(b"secret"), "no event");
        assert!(!says(&other_life.0), "and no history named");
        drop(hub);
    });
}

fn keeps_on(lab: &Rc<Lab>, node: &Rc<Standing>) -> tokio::task::JoinHandle<Synced> {
    let (lab, node) = (lab.clone(), node.clone());
    spawn_local(async move { lab.sync_as(&node, "hub", SyncOrder { every_ms: Some(5000), ..SyncOrder::default() }, |_| {}).await })
}

#[test]
fn a_change_of_policy_counts_in_the_session_that_runs() {
    let world = World::quick();
    let hub_id = world.init("hub", true);
    let clinic_id = world.join("clinic", "hub", Policy::Own);
    run(async {
        let lab = Rc::new(Lab::new(world));
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        push(&hub.standing, "routine", &[], &text("before")).await;
        let session = keeps_on(&lab, &clinic);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(count(&clinic, hub_id, Lane::Routine).await, 0);
        for (policy, held) in [(Policy::OwnAndHubs, 2), (Policy::Own, 2), (Policy::All, 4)] {
            hub.standing.with(|node| node.set_policy(clinic_id, policy.clone(), false).map(drop)).await.unwrap();
            hub.standing.durable().await.unwrap();
            push(&hub.standing, "routine", &[], &text("after")).await;
            sleep(Duration::from_secs(2)).await;
            assert_eq!(count(&clinic, hub_id, Lane::Routine).await, held, "{policy:?}");
        }
        assert_eq!((hub.server.session_count(), lab.cable.passed().len()), (1, 1), "on one connection");
        session.abort();
    });
}

#[test]
fn a_fresh_clinic_gets_through_to_a_hub_that_has_not_heard_of_it() {
    let world = World::quick();
    world.init("national", true);
    world.join("district", "national", Policy::All);
    world.join("clinic", "national", Policy::Own);
    world.push("clinic", &["c1"]);
    run(async {
        let lab = Lab::new(world);
        let (district, clinic) = (lab.serve("district").await, lab.stay("clinic"));
        let synced = lab.complete(&clinic, "district").await;
        assert_eq!((synced.delivered[2], synced.dials), (1, 1), "{synced:?}");
        lab.complete(&clinic, "district").await;
        assert_eq!(district.codes(), Vec::<&str>::new());
    });
}

#[test]
fn a_hub_with_new_keys_gets_through_to_a_clinic_that_does_not_know_them() {
    let world = World::quick();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.rekey("hub", "hub");
    world.push("clinic", &["c1"]);
    run(async {
        let lab = Lab::new(world);
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        let synced = lab.complete(&clinic, "hub").await;
        assert_eq!((synced.delivered[2], synced.dials), (1, 1), "{synced:?}");
        assert_eq!(hub.codes(), Vec::<&str>::new());
    });
}

#[test]
fn a_node_that_shows_a_replaced_key_is_told_so_whoever_dials() {
    let world = World::quick();
    world.init("national", true);
    let district = world.join("district", "national", Policy::All);
    let clinic = world.join("clinic", "national", Policy::Own);
    world.carry("national", "district", "d");
    run(async {
        let lab = Lab::new(world);
        let (national, clinic_node) = (lab.stay("national"), lab.stay("clinic"));
        // The district's new keys are signed; it has not joined with them yet. The clinic has heard of it.
        let request = lab.world.open("district").request(true).unwrap();
        national.with(|node| node.sign(&request, Policy::All, Some(district), false).map(drop)).await.unwrap();
        national.close().await.unwrap();
        clinic_node.close().await.unwrap();
        lab.world.carry("national", "clinic", "c");
        let (district_serves, clinic_node) = (lab.serve("district").await, lab.stay("clinic"));
        let synced = lab.sync(&clinic_node, "district").await;
        assert_eq!(failed(&synced).0, "Z614", "{synced:?}");
        district_serves.quiet().await;
        assert_eq!(district_serves.codes(), ["Z622"], "the one with the old key hears why, and that it is its own");
        let _ = (district, clinic);
    });
}

/// R7.4-j: whoever listens only while the peer is silent would never hear that its key has ended.
#[test]
fn a_session_under_a_replaced_key_ends_though_its_peer_talks_without_pause() {
    let world = World::quick();
    world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::All);
    run(async {
        let lab = Lab::new(world);
        let request = lab.world.open("clinic").request(true).unwrap();
        let life = lab.world.view("clinic").keyring().incarnation();
        let hub = lab.serve("hub").await;
        let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
        hand.greet(Vec::new(), (life, 1)).await;
        hand.say(&Message::Done(0)).await;
        while !matches!(hand.hear().await, Some(Message::Done(_))) {}
        let busy = Message::Busy.to_bytes(&hand.ours).repeat(1000);
        let talking = spawn_local(async move { while hand.say_bytes(&busy).await {} });
        let begun = std::time::Instant::now(); // the other clock stands while somebody talks without pause
        hub.standing.with(|node| node.sign(&request, Policy::All, Some(clinic), false).map(drop)).await.unwrap();
        hub.standing.durable().await.unwrap();
        push(&hub.standing, "routine", &[], &text("not for who found the old key")).await;
        while hub.server.session_count() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "the session lives on");
            tokio::task::yield_now().await;
        }
        assert_eq!(hub.codes(), ["Z614"]);
        talking.await.unwrap();
        hub.end().await;
    });
}

#[test]
fn a_stranger_learns_nothing_and_is_told_so() {
    let world = World::quick();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.init("stranger", true);
    world.push("stranger", &["s1"]);
    run(async {
        let lab = Lab::new(world);
        let (hub, stranger) = (lab.serve("hub").await, lab.stay("stranger"));
        let synced = lab.sync(&stranger, "hub").await;
        assert_eq!(failed(&synced).0, "Z620", "{synced:?}");
        hub.quiet().await;
        assert_eq!(hub.codes(), ["Z620"]);
        stranger.close().await.unwrap();
        // By hand: whatever it says, it hears who and bye.
        let life = lab.world.view("stranger").keyring().incarnation();
        let roster = crate::hostile::Forge::at(&lab.world, "stranger").roster.remove(0);
        let ours = crate::hostile::Forge::at(&lab.world, "hub").roster.remove(0);
        for (introduction, code) in [(None, Code::Z620), (Some(vec![]), Code::Z620), (Some(vec![roster]), Code::Z620), (Some(vec![ours]), Code::Z620)]
        {
            let mut hand = Hand::dial(&lab, "stranger", "hub").await.unwrap();
            hand.greet(Vec::new(), (life, 1)).await;
            if let Some(ranges) = &introduction {
                hand.say(&Message::Introduction(ranges.clone())).await;
            }
            assert_eq!(hand.hear_all().await, [Message::Who, Message::Bye(Some(code))], "{introduction:?}");
        }
        // It talks and talks.
        let mut hand = Hand::dial(&lab, "stranger", "hub").await.unwrap();
        let busy = Message::Busy.to_bytes(&hand.ours);
        while hand.say_bytes(&busy.repeat(100)).await {}
        hub.quiet().await;
        assert_eq!(hub.codes(), ["Z620"; 5]);
        drop(hub);
    });
}

#[test]
fn who_is_too_far_behind_for_an_introduction_is_told_to_bring_the_roster() {
    let world = World::quick();
    world.init("national", true);
    world.join("district", "national", Policy::All);
    let clinic = world.join("clinic", "national", Policy::Own);
    {
        let mut national = world.open("national");
        for _ in 0..40 {
            national.set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
            national.set_policy(clinic, Policy::Own, false).unwrap();
        }
    }
    world.join("late", "national", Policy::Own);
    run(async {
        let lab = Lab::new(world);
        let (district, late) = (lab.serve("district").await, lab.stay("late"));
        let synced = lab.sync(&late, "district").await;
        let (code, why) = failed(&synced);
        assert_eq!((code, why), ("Z621", "the other side's roster is too old to know this node"));
        district.quiet().await;
        assert_eq!(district.codes(), ["Z621"]);
        district.end().await;
        lab.world.carry("national", "district", "roster");
        let district = lab.serve("district").await;
        lab.complete(&late, "district").await;
        drop(district);
    });
}

#[test]
fn a_revoked_key_is_refused_in_the_handshake_and_both_sides_say_so() {
    let world = World::quick();
    world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.open("hub").revoke(clinic, false).unwrap();
    world.push("clinic", &["c1"]);
    run(async {
        let lab = Lab::new(world);
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        let synced = lab.sync(&clinic, "hub").await;
        assert_eq!(failed(&synced).0, "Z622", "{synced:?}");
        hub.quiet().await;
        assert_eq!(hub.codes(), ["Z614"]);
    });
}

#[test]
fn a_key_that_ends_while_it_talks_ends_the_session() {
    for revoked in [true, false] {
        let world = World::quick();
        world.init("hub", true);
        let clinic_id = world.join("clinic", "hub", Policy::Own);
        run(async {
            let lab = Rc::new(Lab::new(world));
            let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
            let session = keeps_on(&lab, &clinic);
            sleep(Duration::from_secs(2)).await;
            let request = clinic.with(|node| node.request(true)).await.unwrap();
            let ended = hub.standing.with(|node| {
                if revoked { node.revoke(clinic_id, false).map(drop) } else { node.sign(&request, Policy::Own, Some(clinic_id), false).map(drop) }
            });
            ended.await.unwrap();
            hub.standing.durable().await.unwrap();
            sleep(Duration::from_secs(2)).await;
            assert_eq!(hub.server.session_count(), 0, "revoked: {revoked}");
            assert_eq!(hub.codes()[0], "Z614");
            let synced = session.await.unwrap();
            assert_eq!(failed(&synced).0, "Z622", "{synced:?}");
        });
    }
}
