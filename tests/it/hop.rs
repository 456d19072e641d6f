//! Two nodes on a link that breaks, is slow, or is both: everything arrives once, whatever happens on the way (R7.4).

use crate::lab::{Contents, Cut, Lab, Line, Luck, Serving, count, payloads, push, run};
use crate::world::World;
use bundle_format::ids::{Lane, NodeId};
use bundle_format::vector::Salt;
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use zbundle::keys::Policy;
use zbundle::node::session::Session;
use zbundle::node::standing::Standing;
use zbundle::node::syncing::{Step, SyncEnd, SyncOrder};

/// Every byte instead of some of them: `ZBUNDLE_EVERY_BYTE=1`.
fn step(usual: u64) -> u64 {
    if std::env::var_os("ZBUNDLE_EVERY_BYTE").is_some() { 1 } else { usual }
}

pub fn hub_and_clinic() -> (Lab, NodeId, NodeId) {
    let world = World::quick();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    (Lab::new(world), hub, clinic)
}

pub async fn both(lab: &Lab) -> (Serving, Rc<Standing>) {
    let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
    lab.complete(&clinic, "hub").await;
    hub.quiet().await;
    lab.cable.passed();
    (hub, clinic)
}

/// What the two hold is the same, but for what the clinic may not see.
fn assert_same(lab: &Lab, what: &str) -> Contents {
    let (hub, clinic) = (lab.contents("hub"), lab.contents("clinic"));
    let clinic_id = lab.world.view("clinic").keyring().node();
    let seen: Contents = hub.into_iter().filter(|(stream, _)| stream.origin.node == clinic_id || stream.origin.audience == Some(clinic_id)).collect();
    assert!(seen == clinic, "{what}: the hub holds {:?}, the clinic {:?}", lens(&seen), lens(&clinic));
    clinic
}

fn lens(contents: &Contents) -> Vec<(String, usize)> {
    contents.iter().map(|(stream, events)| (format!("{stream:?}"), events.len())).collect()
}

async fn heads(standing: &Standing) -> Vec<(zbundle::ports::store::Stream, u64)> {
    let heads = standing.with(|node| {
        Ok(node
            .log()
            .streams()
            .into_iter()
            .filter(|(stream, _)| stream.origin.lane != Lane::Control)
            .map(|(stream, head)| (stream, head.end.seq))
            .collect())
    });
    heads.await.unwrap()
}

/// Cut after so many bytes, in one direction.
type Where = fn(u64) -> Cut;
const DIRECTIONS: [(&str, Where); 3] = [
    ("up", |at| Cut { up: Some(at), ..Cut::default() }),
    ("down", |at| Cut { down: Some(at), ..Cut::default() }),
    ("both", |at| Cut { both: Some(at), ..Cut::default() }),
];

#[test]
fn a_link_cut_after_any_byte_delivers_everything_once() {
    for (name, cut) in DIRECTIONS {
        run(async {
            let (lab, ..) = hub_and_clinic();
            let (hub, clinic) = both(&lab).await;
            let mut pushed = Vec::new();
            let mut at = 0;
            loop {
                for (lane, word) in [("urgent", "u"), ("routine", "r"), ("bulk", "b")] {
                    let payload = |side: &str| vec![format!("{side} {word} {at}").into_bytes()];
                    push(&clinic, lane, &[], &payload("clinic")).await;
                    push(&hub.standing, lane, &["clinic"], &payload("hub")).await;
                    pushed.extend([payload("clinic"), payload("hub")].concat());
                }
                lab.cable.cut_next(cut(at));
                let synced = lab.sync(&clinic, "hub").await;
                assert!(synced.is_complete(), "{name} {at}: {synced:?}");
                assert!(synced.dials <= 2, "{name} {at}: {synced:?}");
                hub.quiet().await;
                assert_eq!(heads(&clinic).await, heads(&hub.standing).await, "{name} {at}");
                if synced.dials == 1 {
                    break; // it was not cut any more
                }
                at += step(23);
            }
            assert!(at > 600, "{name}: an exchange is longer than {at} bytes");
            hub.end().await;
            clinic.close().await.unwrap();
            pushed.sort();
            assert_eq!(payloads(&assert_same(&lab, name)), pushed);
        });
    }
}

#[test]
fn a_cut_costs_no_more_than_what_was_on_its_way() {
    let line = Line { rate: 8000, delay_ms: 150 };
    // Two seconds and the round trip of the line, and one range; a handshake, hello, acknowledgements and record heads.
    let allowance = 8000 * 23 / 10 + 8000 + 4000;
    let most = 2 * allowance;
    for (name, cut) in DIRECTIONS {
        run(async {
            let (lab, ..) = hub_and_clinic();
            let (hub, clinic) = both(&lab).await;
            lab.cable.slow(line);
            let mut luck = Luck(7);
            let mut whole = 0;
            let mut at = 0;
            loop {
                let payload: Vec<_> = (0..100).map(|_| luck.bytes(1000)).collect();
                push(&clinic, "routine", &[], &payload).await;
                push(&hub.standing, "routine", &["clinic"], &payload).await;
                if at > 0 {
                    lab.cable.cut_next(cut(at));
                }
                let synced = lab.sync(&clinic, "hub").await;
                assert!(synced.is_complete() && synced.dials <= 2, "{name} {at}: {synced:?}");
                hub.quiet().await;
                let bytes = synced.bytes.0 + synced.bytes.1;
                if at == 0 {
                    whole = bytes;
                    assert!((200_000..225_000).contains(&whole), "{name}: {whole} bytes for 200 000");
                } else if synced.dials == 1 {
                    break;
                }
                // A third of what it would cost to send all of it twice: so this can fail.
                assert!(3 * most < whole && bytes <= whole + most, "{name} {at}: {bytes} bytes instead of {whole}");
                at += step(401) * 37;
            }
            hub.end().await;
            clinic.close().await.unwrap();
            assert_same(&lab, name);
        });
    }
}

fn clinic_events() -> Vec<Vec<u8>> {
    let lines = std::fs::read_to_string("fixtures/clinic/clinic_1000.ndjson").unwrap();
    lines.lines().map(|line| line.as_bytes().to_vec()).collect()
}

/// `ahead`: some of it was signed at wide distances, by a cut to a file, before the link was tried.
fn a_link_that_dies_early(ahead: bool, fast_before: bool, attached: usize) {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let mut luck = Luck(15);
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        if fast_before {
            push(&clinic, "bulk", &[], &[luck.bytes(500_000)]).await;
            push(&hub.standing, "bulk", &["clinic"], &[luck.bytes(500_000)]).await;
            lab.complete(&clinic, "hub").await; // a fast link is remembered
        }
        for _ in 0..2 {
            push(&clinic, "routine", &[], &clinic_events()).await;
        }
        let noise: Vec<_> = (0..40).map(|_| luck.bytes(4000)).collect();
        push(&clinic, "routine", &[], &noise).await;
        push(&clinic, "bulk", &[], &[luck.bytes(attached)]).await;
        push(&hub.standing, "routine", &["clinic"], &noise).await;
        hub.end().await;
        clinic.close().await.unwrap();
        if ahead {
            lab.world.cut("clinic", &[hub_id], "never-carried");
        }
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.cable.passed();
        lab.cable.cut_always(Cut { both: Some(15_000), ..Cut::default() });
        let synced = lab.sync(&clinic, "hub").await;
        assert!(synced.is_complete(), "{synced:?}");
        let whole: u64 = lab.cable.passed().iter().map(|passed| passed.up.get() + passed.down.get()).sum();
        assert!(whole < 1_400_000 + 2 * attached as u64, "it gets on with most of what it sends: {whole} bytes, {synced:?}");
        let sent = synced.delivered[Lane::Routine as usize] + synced.delivered[Lane::Bulk as usize];
        assert_eq!(sent, 2000 + 40 + attached.div_ceil(4096) as u64, "what arrived is said, whether or not its acknowledgement was lost: {synced:?}");
        hub.end().await;
        clinic.close().await.unwrap();
        assert_same(&lab, "after it all");
    });
}

#[test]
fn a_link_that_dies_after_15_000_bytes_still_finishes() {
    a_link_that_dies_early(false, false, 2_000_000);
}

#[test]
fn a_link_that_dies_early_finishes_what_a_cut_has_signed_widely() {
    a_link_that_dies_early(true, false, 200_000);
}

#[test]
fn a_link_that_was_fast_and_dies_early_now_still_finishes() {
    a_link_that_dies_early(false, true, 200_000);
}

#[test]
fn both_directions_share_the_time_and_the_urgent_overtakes_the_bulk() {
    run(async {
        let (lab, _, clinic_id) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        let (rate, mut luck) = (8000, Luck(3));
        lab.cable.slow(Line { rate, delay_ms: 150 });
        let payload: Vec<_> = (0..100).map(|_| luck.bytes(2000)).collect();
        push(&clinic, "bulk", &[], &payload).await;
        push(&hub.standing, "bulk", &["clinic"], &payload).await;
        let syncing = spawn_local({
            let (lab, clinic) = (lab.ports().clone(), clinic.clone());
            async move {
                let workshop = Rc::new(RefCell::new(zbundle::node::workshop::Workshop::new().unwrap()));
                let (_stop, stopped) = tokio::sync::watch::channel(false);
                let order = SyncOrder { address: "hub:1".into(), ..SyncOrder::default() };
                zbundle::node::syncing::Syncer::new(clinic, &lab, workshop, order, stopped, Rc::new(|_: Step| {})).run().await
            }
        });
        sleep(Duration::from_secs(8)).await;
        push(&clinic, "urgent", &[], &[b"fever".to_vec()]).await;
        let before = count(&hub.standing, clinic_id, Lane::Bulk).await;
        assert!((5..60).contains(&before), "in the middle of it: {before}");
        while count(&hub.standing, clinic_id, Lane::Urgent).await == 0 {
            sleep(Duration::from_millis(10)).await;
            assert!(!syncing.is_finished());
        }
        let between = (count(&hub.standing, clinic_id, Lane::Bulk).await - before) * 2000;
        // What was on its way, and a range.
        assert!(between <= rate * 23 / 10 + rate, "{between} bytes of bulk came before it");
        let hub_id = hub.standing.with(|node| Ok(node.keyring().node())).await.unwrap();
        let synced = syncing.await.unwrap();
        assert!(synced.is_complete(), "{synced:?}");
        // 26 s of line each way. Acknowledgements queue behind what a socket has taken already, so the two do not share it perfectly yet; one after
        // the other would take 52.
        assert!(synced.took_ms < 41_000, "200 kB each way at once at 8 kB/s: {synced:?}");
        assert!(count(&clinic, hub_id, Lane::Bulk).await == 100);
    });
}

#[test]
fn whatever_await_a_sync_is_killed_at_nothing_is_lost_or_doubled() {
    run(async {
        let (lab, ..) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        let mut luck = Luck(0x0dd5);
        let mut pushed = Vec::new();
        for round in 0..300 {
            let payloads: Vec<_> = (0..luck.below(4)).map(|number| [format!("{round}.{number} ").as_bytes(), &luck.bytes(700)].concat()).collect();
            push(&clinic, "routine", &[], &payloads).await;
            push(&hub.standing, "urgent", &["clinic"], &payloads).await;
            pushed.extend([payloads.clone(), payloads].concat());
            let mut polls = luck.below(60);
            let mut syncing = pin!(lab.sync(&clinic, "hub"));
            let killed = poll_fn(|context| {
                if polls == 0 {
                    return Poll::Ready(true);
                }
                polls -= 1;
                syncing.as_mut().poll(context).map(|_| false) // each poll is one await further
            });
            killed.await;
        }
        lab.complete(&clinic, "hub").await;
        hub.end().await;
        clinic.close().await.unwrap();
        pushed.sort();
        assert_eq!(payloads(&assert_same(&lab, "after 300 kills")), pushed);
    });
}

#[test]
fn events_go_over_three_hops_and_receipts_come_back() {
    let world = World::quick();
    let national = world.init("national", true);
    let district = world.join("district", "national", Policy::All);
    let clinic = world.join("clinic", "national", Policy::OwnAndHubs);
    run(async {
        let lab = Lab::new(world);
        let (top, middle, edge) = (lab.serve("national").await, lab.serve("district").await, lab.stay("clinic"));
        lab.complete(&middle.standing, "national").await; // who the clinic is
        push(&edge, "routine", &[], &clinic_events()).await;
        push(&edge, "bulk", &[], &[Luck(1).bytes(100_000)]).await;
        push(&top.standing, "urgent", &["clinic"], &[b"result".to_vec()]).await;
        push(&top.standing, "routine", &[], &[b"to all".to_vec()]).await;
        for _ in 0..3 {
            // The third time brings the daily sign of life that follows what came the second time.
            lab.complete(&edge, "district").await;
            lab.complete(&middle.standing, "national").await;
        }
        let synced = lab.complete(&edge, "district").await;
        assert_eq!(synced.delivered.iter().sum::<u64>(), 0, "nothing is left to say");
        assert_eq!(count(&top.standing, clinic, Lane::Routine).await, 1000);
        assert_eq!(count(&edge, national, Lane::Urgent).await + count(&edge, national, Lane::Routine).await, 2);
        top.end().await;
        middle.end().await;
        edge.close().await.unwrap();
        let all = lab.contents("national");
        assert!(all == lab.contents("district") && all == lab.contents("clinic"));
        let status = lab.world.view("clinic").status().unwrap();
        assert!(status.peers.iter().any(|peer| peer.node == district && peer.unacknowledged == 0), "{:?}", status.peers);
    });
}

#[test]
fn a_sync_stops_at_its_deadline_and_its_budget_and_says_what_is_left() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        lab.cable.slow(Line { rate: 8000, delay_ms: 150 });
        let payload: Vec<_> = (0..100).map(|number| Luck(number).bytes(2000)).collect();
        push(&clinic, "routine", &[], &payload).await;
        let order = SyncOrder { budget: Some(60_000), expected: Some(hub_id), ..SyncOrder::default() };
        let synced = lab.sync_as(&clinic, "hub", order, |_| {}).await;
        assert_eq!(synced.end, SyncEnd::Budget, "{synced:?}");
        assert!(synced.bytes.0 + synced.bytes.1 <= 60_000 && synced.delivered[2] >= 20, "{synced:?}");
        assert_eq!(synced.remaining.unwrap()[2] + synced.delivered[2], 100, "{synced:?}");
        hub.quiet().await;
        let order = SyncOrder { deadline_ms: Some(lab.ports().clock.monotonic_ms() + 10_000), ..SyncOrder::default() };
        let second = lab.sync_as(&clinic, "hub", order, |_| {}).await;
        assert_eq!(second.end, SyncEnd::Deadline, "{second:?}");
        assert!(second.took_ms <= 13_000 && second.delivered[2] >= 20, "{second:?}");
        let third = lab.complete(&clinic, "hub").await;
        assert_eq!(synced.delivered[2] + second.delivered[2] + third.delivered[2], 100);
        drop(hub);
    });
}

/// R7.6-e
#[test]
fn who_reaches_nobody_gives_up_when_it_says() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let clinic = lab.stay("clinic");
        let synced = lab.sync_as(&clinic, "hub", SyncOrder { expected: Some(hub_id), ..SyncOrder::default() }, |_| {}).await;
        assert!(matches!(synced.end, SyncEnd::Failed(..)) && (20_000..20_100).contains(&synced.took_ms), "{synced:?}");
        assert!(synced.dials > 4 && !synced.met, "{synced:?}");
    });
}

/// R7.6-g: events that nothing makes shorter come out longer than a first range aims at, and there was no time for that.
#[test]
fn what_has_time_before_a_deadline_goes_though_the_range_that_was_aimed_at_has_none() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (_hub, clinic) = both(&lab).await;
        lab.cable.slow(Line { rate: 8000, delay_ms: 50 });
        push(&clinic, "routine", &[], &(0..60).map(|number| Luck(number).bytes(300)).collect::<Vec<_>>()).await;
        let deadline_ms = Some(lab.ports().clock.monotonic_ms() + 6000);
        let order = SyncOrder { deadline_ms, rate: Some(400), expected: Some(hub_id), ..SyncOrder::default() };
        let synced = lab.sync_as(&clinic, "hub", order, |_| {}).await;
        assert!(synced.end == SyncEnd::Deadline && synced.took_ms <= 6500, "{synced:?}");
        assert!((2..=6).contains(&synced.delivered[Lane::Routine as usize]), "{synced:?}");
        lab.complete(&clinic, "hub").await;
    });
}

/// R7.6-f
#[test]
fn who_has_no_budget_left_today_is_told_what_waits_and_until_when() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (_hub, clinic) = both(&lab).await;
        push(&clinic, "routine", &[], &(0..100).map(|number| Luck(number).bytes(2000)).collect::<Vec<_>>()).await;
        let order = SyncOrder { daily_budget: Some(30_000), expected: Some(hub_id), ..SyncOrder::default() };
        let (today, began_ms) = (lab.ports().clock.now_ms() / DAY_MS, lab.world.clock.get());
        let mut delivered = 0;
        // It is right, then ahead, then right again: what was spent on the wrong day holds up one day and not all until then.
        for (days_ahead, goes_on, is_new) in [(0, 1, true), (10, 11, true), (0, 1, false), (1, 2, true)] {
            lab.world.clock.set(began_ms + days_ahead * DAY_MS);
            let before = delivered;
            let last = loop {
                let synced = lab.sync_as(&clinic, "hub", order.clone(), |_| {}).await;
                delivered += synced.delivered[Lane::Routine as usize];
                assert_eq!((&synced.end, synced.goes_on_ms), (&SyncEnd::Budget, Some((today + goes_on) * DAY_MS)), "{synced:?}");
                if synced.dials == 0 {
                    break synced;
                }
            };
            assert_eq!(last.remaining.unwrap()[Lane::Routine as usize], 100 - delivered, "{days_ahead}");
            assert_eq!(delivered > before, is_new, "{days_ahead}");
        }
    });
}

/// R7.6-f: the service of a clinic has a budget for each day. It ended in order with the first that was used up, and nothing started it again.
#[test]
fn who_stays_goes_on_with_the_next_days_budget() {
    run(async {
        let (lab, hub_id, clinic_id) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        push(&clinic, "routine", &[], &(0..100).map(|number| Luck(number).bytes(2000)).collect::<Vec<_>>()).await;
        let order = SyncOrder { daily_budget: Some(40_000), expected: Some(hub_id), every_ms: Some(900_000), ..SyncOrder::default() };
        let used_up = Rc::<RefCell<Vec<u64>>>::default();
        let told = used_up.clone();
        let watcher = move |step| {
            if let Step::UsedUp(ms) = step {
                told.borrow_mut().push(ms);
            }
        };
        let staying = lab.sync_as(&clinic, "hub", order, watcher);
        assert!(timeout(Duration::from_hours(8 * 24), staying).await.is_err(), "it stays");
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 100);
        let mut days = used_up.borrow().clone();
        days.dedup();
        assert!((4..=7).contains(&days.len()) && days.windows(2).all(|pair| pair[1] - pair[0] == 24 * 3600 * 1000), "{days:?}");
    });
}

/// R7.6-f: what attempts cost that came to no session was in no day's books, and so it was of each: nobody dialled any more, on no day.
#[test]
fn a_day_of_vain_attempts_costs_that_days_budget_alone() {
    for is_known in [true, false] {
        run(async {
            let (lab, hub_id, _) = hub_and_clinic();
            let (_hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
            lab.cable.cut_always(Cut { both: Some(150), ..Cut::default() });
            let order = SyncOrder { daily_budget: Some(4300), expected: is_known.then_some(hub_id), every_ms: Some(1000), ..SyncOrder::default() };
            let told = Rc::<RefCell<Vec<Step>>>::default();
            let steps = told.clone();
            let staying = lab.sync_as(&clinic, "hub", order, move |step| steps.borrow_mut().push(step));
            assert!(timeout(Duration::from_hours(3 * 24), staying).await.is_err(), "it stays");
            let count = |of: fn(&Step) -> bool| told.borrow().iter().filter(|step| of(step)).count();
            let (dials, days) = (count(|step| matches!(step, Step::Dialling(_))), count(|step| matches!(step, Step::UsedUp(_))));
            assert!((3..=4).contains(&days) && (2 * days..=4 * days).contains(&dials), "{is_known}: {dials} dials, {days} days");
        });
    }
}

/// R7.6-f: it said that the budget was used up, and dialled again at once until it was.
#[test]
fn where_what_comes_next_does_not_fit_into_the_rest_of_a_day_nobody_dials_at_once() {
    let world = World::quick();
    let hub_id = world.init("hub", true);
    let relay = world.join("relay", "hub", Policy::All);
    world.join("clinic", "hub", Policy::Own);
    let payloads: Vec<_> = (0..60).map(|number| bundle_format::ids::hex(&Luck(number).bytes(500))).collect();
    world.push("clinic", &payloads.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(world.cut("clinic", &[relay], "c").files.len(), 1);
    world.ingest("relay", "c");
    run(async {
        let lab = Lab::new(world);
        let (_hub, relay) = (lab.serve("hub").await, lab.stay("relay"));
        let told = Rc::<RefCell<Vec<Step>>>::default();
        let steps = told.clone();
        let order = SyncOrder { daily_budget: Some(25_000), expected: Some(hub_id), every_ms: Some(900_000), ..SyncOrder::default() };
        let staying = lab.sync_as(&relay, "hub", order.clone(), move |step| steps.borrow_mut().push(step));
        assert!(timeout(Duration::from_mins(40), staying).await.is_err(), "it stays");
        let dials = told.borrow().iter().filter(|step| matches!(step, Step::Dialling(_))).count();
        assert!(dials == 3 && !told.borrow().iter().any(|step| matches!(step, Step::UsedUp(_))), "{:?}", told.borrow());
        let deadline_ms = Some(lab.ports().clock.monotonic_ms() + 600_000);
        let ended = lab.sync_as(&relay, "hub", SyncOrder { deadline_ms, ..order }, |_| {}).await;
        assert_eq!(ended.end, SyncEnd::Deadline);
    });
}

/// What could not be read counted as a budget that is used up, and was not told: who stays would have waited for it day after day.
#[test]
fn a_budget_that_cannot_be_looked_at_is_a_failure_and_told() {
    run(async {
        let (lab, hub_id, _) = hub_and_clinic();
        let (_hub, clinic) = both(&lab).await;
        push(&clinic, "routine", &[], &[b"p".to_vec()]).await;
        let order = |every_ms| SyncOrder { daily_budget: Some(1000), expected: Some(hub_id), every_ms, ..SyncOrder::default() };
        assert_eq!(lab.sync_as(&clinic, "hub", order(None), |_| {}).await.end, SyncEnd::Budget);
        let of_a_later_version = [0x80];
        let record = [&of_a_later_version[..], &crc32fast::hash(&of_a_later_version).to_be_bytes()].concat();
        std::fs::write(lab.world.path("clinic").join("peers").join(hub_id.to_string()), record).unwrap();
        for every_ms in [None, Some(900_000)] {
            let ended = timeout(Duration::from_hours(24), lab.sync_as(&clinic, "hub", order(every_ms), |_| {})).await;
            let end = ended.expect("it ends").end;
            assert!(matches!(end, SyncEnd::Failed(bundle_format::error::Code::Z307, _)), "{end:?}");
        }
    });
}

/// R7.7-d: a session may last for days, and its process be killed.
#[test]
fn what_was_acknowledged_is_remembered_before_the_session_ends() {
    run(async {
        let (lab, hub_id, clinic_id) = hub_and_clinic();
        let (hub, clinic) = both(&lab).await;
        lab.cable.slow(Line { rate: 2000, delay_ms: 150 });
        let payload: Vec<_> = (0..300).map(|number| Luck(number).bytes(2000)).collect();
        push(&clinic, "routine", &[], &payload).await;
        let syncing = lab.sync_as(&clinic, "hub", SyncOrder { expected: Some(hub_id), ..SyncOrder::default() }, |_| {});
        assert!(timeout(Duration::from_mins(2), syncing).await.is_err(), "it is killed");
        let held = count(&hub.standing, clinic_id, Lane::Routine).await;
        let waiting = clinic.with(|node| node.lacking(&hub_id)).await.unwrap()[Lane::Routine as usize];
        let again = held.checked_sub(300 - waiting).expect("nothing is taken for acknowledged that is not there");
        assert!(
            (100..=120).contains(&held) && again <= 36,
            "{held} are there, {again} of them would be sent again: those of 30 s, and what was on its way"
        );
        drop(hub);
    });
}

/// What a person says while a session runs counts, also when the session keeps what it has learned.
#[test]
fn an_address_that_is_set_during_a_session_stays() {
    let world = World::new();
    let hub = world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    let mut node = world.open("clinic");
    let mut session = Session::begin(&mut node, hub, Salt([5; 32])).unwrap();
    node.set_peer_address(&hub, Some("10.9.8.7:7070")).unwrap();
    session.record_mut().heard_ms = 7;
    session.save(&node).unwrap();
    let peer = node.peer(&hub).unwrap();
    assert_eq!((peer.heard_ms, peer.link.address.as_deref()), (7, Some("10.9.8.7:7070")));
}

/// R10.2-g: what a line costs is the same at both its ends.
#[test]
fn both_ends_of_a_line_count_what_it_carried_that_day() {
    run(async {
        let (lab, hub_id, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        let mut carried = 0;
        for _ in 0..2 {
            push(&clinic, "routine", &[], &[Luck(1).bytes(3000)]).await;
            let synced = lab.complete(&clinic, "hub").await;
            hub.quiet().await;
            carried += synced.bytes.0 + synced.bytes.1;
        }
        let at_hub = hub.standing.with(|node| Ok(node.peer(&clinic_id)?.link.day_bytes)).await.unwrap();
        let at_clinic = clinic.with(|node| Ok(node.peer(&hub_id)?.link.day_bytes)).await.unwrap();
        assert_eq!((at_hub, at_clinic), (carried, carried));
        drop(hub);
    });
}

/// R10.2-g: the other end of the line is told on both sides.
#[test]
fn each_end_tells_by_which_line_it_heard_the_other() {
    run(async {
        let (lab, hub, clinic) = hub_and_clinic();
        let (serving, _standing) = both(&lab).await;
        serving.end().await;
        for (at, of) in [("hub", clinic), ("clinic", hub)] {
            let status = lab.world.view(at).status().unwrap();
            let peer = status.peers.iter().find(|peer| peer.node == of).unwrap();
            assert!(peer.heard_by().starts_with("line ") && peer.heard_by().len() > 5, "{at}: {:?}", peer.heard_by());
        }
    });
}
