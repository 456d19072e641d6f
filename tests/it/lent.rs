//! A hub whose node another process has borrowed: who dials meanwhile is heard (R7.4-i, R7.8-f).

use crate::lab::{Hand, Lab, push, run};
use crate::world::World;
use bundle_format::message::Message;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};
use zbundle::keys::Policy;

/// A second longer than it may take until busy is said.
const BUSY: Duration = Duration::from_secs(4);

fn hub_and_clinic() -> Lab {
    let world = World::quick();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    Lab::new(world)
}

/// R7.4-i: it said nothing until the node was home, so each dialer hung up after 6 s, dialled again, and left a session behind that waited on.
#[test]
fn who_dials_while_the_node_is_lent_hears_that_the_hub_lives() {
    run(async {
        let lab = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        push(&clinic, "routine", &[], &[b"one".to_vec()]).await;
        let lease = hub.standing.lend().await.unwrap();
        let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
        assert_eq!(timeout(BUSY, hand.hear()).await, Ok(Some(Message::Busy)));
        drop(hand);
        spawn_local(async move {
            sleep(Duration::from_secs(20)).await;
            drop(lease);
        });
        let synced = lab.complete(&clinic, "hub").await;
        assert!(synced.dials == 1 && synced.took_ms > 19_000, "{synced:?}");
        hub.quiet().await;
        hub.end().await;
    });
}

/// R7.8-f: with two borrowers behind one another the end of the first lease made the listener itself wait for the second.
#[test]
fn a_hub_whose_node_is_lent_twice_accepts_and_ends_in_time() {
    run(async {
        let lab = hub_and_clinic();
        let mut hub = lab.serve("hub").await;
        let first = hub.standing.lend().await.unwrap();
        let standing = Rc::clone(&hub.standing);
        let second = spawn_local(async move { standing.lend().await.unwrap() });
        sleep(Duration::from_secs(1)).await;
        drop(first);
        let lease = second.await.unwrap();
        sleep(Duration::from_secs(1)).await; // the roster is looked at
        let mut hand = timeout(BUSY, Hand::dial(&lab, "clinic", "hub")).await.expect("somebody accepts").unwrap();
        assert_eq!(timeout(BUSY, hand.hear()).await, Ok(Some(Message::Busy)));
        let asked = Instant::now();
        hub.stop().await;
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
        assert!(matches!(hand.hear_all().await[..], [.., Message::Bye(None)]), "it says bye");
        drop(lease);
    });
}
