//! Cards restored and cloned, met again on a link: nothing is lost, nothing silently merged, and the two fall silent (R6.6-j).

use crate::lab::{Lab, Luck, count, run};
use crate::world::World;
use bundle_format::ids::Lane;
use bundle_format::limits::FORK_BRANCH_LEN_MAX;
use std::rc::Rc;
use zbundle::keys::Policy;
use zbundle::node::syncing::{SyncEnd, SyncOrder};

fn domain() -> Rc<World> {
    let world = Rc::new(World::quick());
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["a1", "a2"]);
    sync(&world, 1);
    world
}

/// The clinic dials the hub so often. Returns whether anybody began a new life, and how many bytes the last one cost.
fn sync(world: &Rc<World>, times: usize) -> (bool, u64) {
    run(async {
        let lab = Lab::new(world.clone());
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        let (mut new_life, mut bytes) = (false, 0);
        for _ in 0..times {
            let synced = lab.complete(&clinic, "hub").await;
            new_life |= synced.new_life;
            bytes = synced.bytes.0 + synced.bytes.1;
            hub.quiet().await;
        }
        let broken = hub.codes();
        assert!(broken.is_empty(), "{broken:?}");
        hub.end().await;
        clinic.close().await.unwrap();
        (new_life, bytes)
    })
}

fn settled(world: &Rc<World>) -> bool {
    let (new_life, bytes) = sync(world, 4);
    assert!(bytes < 1500, "two that have everything still said {bytes} bytes");
    new_life
}

fn holds(world: &Rc<World>, name: &str, payloads: &[&str]) {
    let held = world.payloads(name);
    assert!(payloads.iter().all(|payload| held.iter().any(|held| held == payload)), "{name} holds {held:?}");
}

#[test]
fn a_card_restored_and_silent_fetches_its_own_past_back() {
    let world = domain();
    world.image("clinic", "image");
    world.push("clinic", &["b1", "b2"]);
    sync(&world, 1);
    world.restore("image", "clinic");
    assert!(settled(&world), "it is said");
    assert_eq!(world.payloads("clinic"), ["a1", "a2", "b1", "b2"]);
    assert_eq!(world.payloads("hub"), ["a1", "a2", "b1", "b2"]);
    assert_eq!(world.view("clinic").keyring().earlier_incarnations().len(), 1);
    assert!(world.view("clinic").open_lives().is_empty());
    world.push("clinic", &["c1"]);
    assert!(!settled(&world));
    assert_eq!(world.payloads("hub"), ["a1", "a2", "b1", "b2", "c1"]);
    assert_eq!(world.view("hub").forks().unwrap(), []);
}

#[test]
fn a_card_restored_that_wrote_on_loses_neither_branch() {
    for more in [&["c1"][..], &["c1", "c2"], &["c1", "c2", "c3", "c4"]] {
        let world = domain();
        world.image("clinic", "image");
        world.push("clinic", &["b1", "b2"]);
        sync(&world, 1);
        world.restore("image", "clinic");
        world.push("clinic", more);
        assert!(settled(&world), "it is said");
        for name in ["hub", "clinic"] {
            holds(&world, name, &[&["a1", "a2", "b1", "b2"], more].concat());
        }
        assert!(world.view("clinic").open_lives().is_empty());
    }
}

#[test]
fn a_card_restored_beyond_what_was_acknowledged_shows_by_its_receipt_number() {
    let world = domain();
    world.image("clinic", "image");
    sync(&world, 70); // receipt numbers are durable some dozens ahead
    world.restore("image", "clinic");
    assert!(settled(&world), "the hub knew a higher number");
    world.push("clinic", &["c1"]);
    assert!(!settled(&world));
    assert_eq!(world.payloads("hub"), ["a1", "a2", "c1"]);
}

#[test]
fn a_restored_hub_gets_back_what_it_lost() {
    let world = domain();
    world.image("hub", "image");
    world.push("clinic", &["b1"]);
    sync(&world, 1);
    assert_eq!(world.payloads("hub"), ["a1", "a2", "b1"]);
    world.restore("image", "hub");
    assert_eq!(world.payloads("hub"), ["a1", "a2"]);
    world.push("clinic", &["c1"]);
    settled(&world);
    world.push("clinic", &["d1"]);
    settled(&world);
    assert_eq!(world.payloads("hub"), ["a1", "a2", "b1", "c1", "d1"]);
    assert_eq!(world.payloads("clinic"), ["a1", "a2", "b1", "c1", "d1"]);
}

#[test]
fn two_clones_that_write_at_once_are_both_kept_and_the_two_fall_silent() {
    let world = domain();
    world.image("clinic", "image");
    world.push("clinic", &["b1"]);
    sync(&world, 1);
    world.push("clinic", &["b2"]);
    world.image("clinic", "first");
    world.restore("image", "clinic");
    world.push("clinic", &["c1", "c2"]);
    assert!(settled(&world));
    world.image("clinic", "second");
    world.restore("first", "clinic");
    settled(&world);
    world.push("clinic", &["d1"]);
    settled(&world);
    holds(&world, "hub", &["a1", "a2", "b1", "b2", "c1", "c2", "d1"]);
    holds(&world, "clinic", &["a1", "a2", "b1", "b2", "c1", "c2", "d1"]);
}

#[test]
fn both_branches_of_a_fork_go_over_a_link_and_are_sent_once() {
    let world = Rc::new(World::quick());
    let national = world.init("national", true);
    world.join("hub", "national", Policy::All);
    world.join("clinic", "national", Policy::Own);
    world.carry("national", "hub", "roster");
    world.push("clinic", &["a1"]);
    world.image("clinic", "image");
    world.push("clinic", &["b1", "b2"]);
    let hub = world.view("hub").keyring().node();
    world.cut("clinic", &[hub], "b");
    world.restore("image", "clinic");
    world.push("clinic", &["c1", "c2", "c3"]);
    world.cut("clinic", &[hub], "c");
    world.ingest("hub", "b");
    world.ingest("hub", "c");
    assert_eq!(world.view("hub").forks().unwrap().len(), 1);
    run(async {
        let lab = Lab::new(world.clone());
        let (top, middle) = (lab.serve("national").await, lab.stay("hub"));
        let first = lab.complete(&middle, "national").await;
        assert!(first.delivered[2] >= 6, "{first:?}");
        for _ in 0..2 {
            let again = lab.complete(&middle, "national").await;
            assert_eq!(again.delivered[2], 0, "{again:?}");
            assert!(again.bytes.0 + again.bytes.1 < 1800, "{again:?}");
        }
        top.end().await;
        middle.close().await.unwrap();
    });
    assert_eq!(world.payloads("national"), ["a1", "b1", "b2", "c1", "c2", "c3"]);
    assert_eq!(world.view("national").forks().unwrap().len(), 1);
    let _ = national;
}

/// Text that says nothing twice, as long as a payload of one part may be.
fn noise(luck: &mut Luck, count: usize) -> Vec<String> {
    (0..count).map(|_| luck.bytes(2000).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))).collect()
}

/// R6.4-c, R7.4-d, R7.4-e: what a full branch leaves out was acknowledged, and then all of the branch went again, without end.
#[test]
fn what_a_full_branch_leaves_out_is_not_acknowledged_and_the_link_ends() {
    let world = domain();
    let clinic = world.view("clinic").keyring().node();
    world.join("gasa", "hub", Policy::All);
    sync(&world, 1);
    world.image("clinic", "image");
    world.push("clinic", &["b1"]);
    sync(&world, 1);
    world.restore("image", "clinic");
    let texts = noise(&mut Luck(3), usize::try_from(FORK_BRANCH_LEN_MAX).unwrap() / 4000);
    let (most, rest) = texts.split_at(texts.len() - 200);
    for (texts, folder) in [(most, "most"), (rest, "rest")] {
        world.push("clinic", &texts.iter().map(String::as_str).collect::<Vec<_>>());
        world.carry("clinic", "gasa", folder); // who knows one branch only, and bounds none
        if texts == most {
            world.carry("gasa", "hub", "on"); // by a file, which is faster
        }
    }
    run(async {
        let lab = Lab::new(world.clone());
        let (hub, gasa) = (lab.serve("hub").await, lab.stay("gasa"));
        for round in 0..3 {
            let before = count(&hub.standing, clinic, Lane::Routine).await;
            let order = SyncOrder { budget: Some(FORK_BRANCH_LEN_MAX), ..SyncOrder::default() };
            let synced = lab.sync_as(&gasa, "hub", order, |_| {}).await;
            hub.quiet().await;
            let stored = count(&hub.standing, clinic, Lane::Routine).await - before;
            assert!(matches!(synced.end, SyncEnd::Left) && synced.left == 1, "round {round}: {synced:?}");
            assert_eq!(synced.delivered[Lane::Routine as usize], stored, "round {round}: {synced:?}");
            assert!(synced.bytes.0 < 1_000_000 && (round == 0) == (stored > 0), "round {round}: {stored} stored, {synced:?}");
        }
        let writer = lab.stay("clinic");
        for most in [FORK_BRANCH_LEN_MAX, 1_000_000, 1_000_000] {
            let synced = lab.sync(&writer, "hub").await;
            hub.quiet().await;
            assert!(matches!(synced.end, SyncEnd::Left) && synced.bytes.0 < most, "it learns by the first that the hub holds a fork: {synced:?}");
        }
        hub.end().await;
        gasa.close().await.unwrap();
        writer.close().await.unwrap();
    });
}
