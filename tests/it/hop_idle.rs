//! Links on which nothing happens for long, or on which an end cannot go on: what comes then is not held up by what was before.

use crate::hop::{both, hub_and_clinic};
use crate::lab::{Lab, Luck, count, push, run};
use bundle_format::ids::{Lane, NodeId};
use bundle_format::vector::Salt;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};
use zbundle::node::session::Session;
use zbundle::node::standing::Standing;
use zbundle::node::syncing::{Step, SyncEnd, SyncOrder, Synced, Syncer};
use zbundle::node::workshop::Workshop;

/// Stay, and dial again every quarter of an hour.
fn staying(hub_id: NodeId) -> SyncOrder {
    SyncOrder { expected: Some(hub_id), every_ms: Some(900_000), ..SyncOrder::default() }
}

/// Until `at` holds something urgent of `of`.
async fn arrives(at: &Standing, of: NodeId) {
    let held = count(at, of, Lane::Urgent).await;
    let arrived = async {
        while count(at, of, Lane::Urgent).await == held {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), arrived).await.expect("it goes at once");
}

/// Push something urgent, and see it at `to` in a moment.
async fn urgent(from: &Standing, audience: &[&str], to: &Standing) {
    let of = from.with(|node| Ok(node.keyring().node())).await.unwrap();
    tokio::join!(arrives(to, of), async {
        sleep(Duration::from_millis(1)).await;
        push(from, "urgent", audience, &[b"fever".to_vec()]).await;
    });
}

/// R7.6-d: the first thing that was due after minutes of silence broke the link, for the silence was counted from when nothing was.
#[test]
fn what_is_pushed_on_a_link_that_was_idle_for_long_goes_at_once_both_ways() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        let dials = Rc::new(Cell::new(0));
        let told = dials.clone();
        let syncing = lab.sync_as(&clinic, "hub", staying(hub_id), move |step| {
            if let Step::Dialling(nth) = step {
                told.set(nth);
            }
        });
        let days = async {
            for idle_s in [200, 7200] {
                sleep(Duration::from_secs(idle_s)).await;
                urgent(&clinic, &[], &hub.standing).await;
                sleep(Duration::from_secs(130)).await;
                urgent(&hub.standing, &["clinic"], &clinic).await;
            }
        };
        tokio::select! {
            _ = syncing => panic!("it stays"),
            () = days => {}
        }
        assert_eq!((dials.get(), hub.codes().len()), (1, 0));
    });
}

/// R7.6-e: a connection that had stood for hours counted as hours without progress, and the next attempt came a quarter of an hour after it.
#[test]
fn who_was_settled_for_long_dials_again_at_once_when_the_hub_begins_anew() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        let syncing = lab.sync_as(&clinic, "hub", staying(hub_id), |_| {});
        let day = async {
            sleep(Duration::from_hours(3)).await;
            hub.end().await;
            let hub = lab.serve("hub").await;
            urgent(&clinic, &[], &hub.standing).await;
        };
        tokio::select! {
            _ = syncing => panic!("it stays"),
            () = day => {}
        }
    });
}

/// R7.6-g: what is remembered said that nothing has time, so nothing went, and what is remembered stayed as it was.
#[test]
fn a_rate_that_is_remembered_wrongly_ends_no_sync_before_its_deadline() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (_hub, clinic) = both(&lab).await;
        push(&clinic, "routine", &[], &(0..60).map(|number| Luck(number).bytes(1000)).collect::<Vec<_>>()).await;
        let slow = clinic.with(|node| {
            let mut session = Session::begin(node, hub_id, Salt([5; 32]))?;
            session.record_mut().link.rate = Some(3);
            session.save(node)
        });
        slow.await.unwrap();
        let deadline_ms = Some(lab.ports().clock.monotonic_ms() + 60_000);
        let synced = lab.sync_as(&clinic, "hub", SyncOrder { deadline_ms, expected: Some(hub_id), ..SyncOrder::default() }, |_| {}).await;
        assert!(synced.is_complete() && synced.delivered[Lane::Routine as usize] == 60, "{synced:?}");
        assert!(synced.rate > Some(1000), "{synced:?}");
    });
}

/// A sync of `clinic` that stays, and the word that ends it.
fn stoppable(lab: &Lab, clinic: &Rc<Standing>, hub_id: NodeId) -> (JoinHandle<Synced>, watch::Sender<bool>) {
    let (ports, clinic) = (lab.ports().clone(), clinic.clone());
    let (stop, stopped) = watch::channel(false);
    let syncing = spawn_local(async move {
        let workshop = Rc::new(RefCell::new(Workshop::new().unwrap()));
        let order = SyncOrder { address: "hub:1".into(), ..staying(hub_id) };
        Syncer::new(clinic, &ports, workshop, order, stopped, Rc::new(|_| {})).run().await
    });
    (syncing, stop)
}

/// R7.8-f: "busy" kept it alive for as long as the other node was away, and its own it waited for without an end.
#[test]
fn who_is_asked_to_stop_ends_within_ten_seconds_whichever_node_is_lent() {
    for is_own in [false, true] {
        run(async {
            let (lab, hub_id, _) = hub_and_clinic();
            let (hub, clinic) = both(&lab).await;
            let (syncing, stop) = stoppable(&lab, &clinic, hub_id);
            sleep(Duration::from_secs(5)).await;
            let (pushes, audience, lent) = if is_own { (&hub.standing, &["clinic"][..], &clinic) } else { (&clinic, &[][..], &hub.standing) };
            let lease = lent.lend().await.unwrap();
            push(pushes, "urgent", audience, &[b"fever".to_vec()]).await;
            sleep(Duration::from_secs(20)).await;
            let asked = Instant::now();
            stop.send_replace(true);
            let synced = timeout(Duration::from_mins(1), syncing).await.expect("it ends").unwrap();
            assert_eq!(synced.end, SyncEnd::Stopped, "{is_own}");
            assert!(asked.elapsed() < Duration::from_millis(10_100), "{is_own}: {:?}", asked.elapsed());
            drop(lease);
            let booked = clinic.with(|node| Ok(node.peer(&hub_id)?.link.day_bytes)).await.unwrap();
            assert!(is_own || booked >= synced.bytes.0 + synced.bytes.1, "what it cost is in the books: {booked}, {synced:?}");
        });
    }
}
