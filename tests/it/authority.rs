//! An authority restored from an old card: it signs nothing it could have signed differently before, and what it did sign anyway is healed.

use crate::world::World;
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::NodeId;
use zbundle::keys::Policy;

fn domain() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    exchange(&world, "start", 2);
    (world, hub, clinic)
}

fn exchange(world: &World, tag: &str, rounds: usize) {
    for round in 0..rounds {
        world.carry("clinic", "hub", &format!("{tag}-up{round}"));
        world.carry("hub", "clinic", &format!("{tag}-down{round}"));
    }
}

fn in_doubt(world: &World) -> bool {
    world.view("hub").status().unwrap().domain.unwrap().doubt.is_some()
}

#[test]
fn a_restored_authority_signs_nothing_until_it_has_fetched_its_roster_back() {
    let (world, _, clinic) = domain();
    world.image("hub", "image");
    let other = world.join("other", "hub", Policy::Own);
    world.carry("hub", "clinic", "news"); // the clinic knows the newer roster now
    world.restore("image", "hub");
    assert!(world.view("hub").roster().member(&other).is_none(), "the image is older");
    world.push("clinic", &["c1"]);
    world.carry("clinic", "hub", "ahead");
    assert!(in_doubt(&world), "a receipt is ahead of the roster");
    let refused = world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap_err();
    assert!(refused.code() == Code::Z610 && refused.to_string().contains("the receipt of clinic is ahead"), "{refused}");
    exchange(&world, "fetch", 4);
    assert!(!in_doubt(&world));
    assert!(world.view("hub").roster().member(&other).is_some(), "fetched back");
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
    exchange(&world, "after", 3);
    assert!(!world.view("clinic").roster().is_forked());
    assert_eq!(world.view("clinic").roster().member(&clinic).unwrap().policy, Policy::OwnAndHubs);
    world.push("hub", &["h2"]);
    exchange(&world, "last", 3);
    assert_eq!(world.payloads("clinic"), ["c1", "h2"], "and it writes on in a new life");
}

#[test]
fn a_roster_signed_twice_forks_and_both_branches_restrict_until_it_is_healed() {
    let (world, _, clinic) = domain();
    let x = world.join("x", "hub", Policy::Own);
    let y = world.join("y", "hub", Policy::Own);
    exchange(&world, "members", 2);
    world.image("hub", "image");
    world.open("hub").revoke(x, false).unwrap();
    exchange(&world, "x-revoked", 2);
    world.restore("image", "hub");
    // It has heard of nothing, so nothing speaks against signing: the fork happens.
    world.open("hub").revoke(y, false).unwrap();
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
    exchange(&world, "fork", 4);
    for name in ["hub", "clinic"] {
        let view = world.view(name);
        assert!(view.roster().is_forked(), "{name}");
        assert!(view.roster().member(&x).unwrap().is_revoked(), "{name}: one branch revoked x");
        assert!(view.roster().member(&y).unwrap().is_revoked(), "{name}: the other revoked y");
        assert_eq!(view.roster().member(&clinic).unwrap().policy, Policy::Own, "{name}: what is disputed is not granted");
    }
    // Data goes on.
    world.push("clinic", &["c1"]);
    exchange(&world, "data", 2);
    assert_eq!(world.payloads("hub"), ["c1"]);
    assert_eq!(world.open("hub").set_policy(clinic, Policy::All, false).unwrap_err().code(), Code::Z610);
    assert_eq!(world.open("hub").said_by_branches().unwrap(), [["x is revoked"]], "whoever heals reads first what will count");
    world.open("hub").heal().unwrap();
    assert!(world.open("hub").said_by_branches().unwrap().is_empty());
    exchange(&world, "healed", 3);
    for name in ["hub", "clinic"] {
        let view = world.view(name);
        assert!(!view.roster().is_forked(), "{name}");
        assert!(view.roster().member(&x).unwrap().is_revoked() && view.roster().member(&y).unwrap().is_revoked(), "{name}");
        assert_eq!(view.roster().member(&clinic).unwrap().policy, Policy::OwnAndHubs, "{name}");
    }
    assert!(!in_doubt(&world));
    world.open("hub").set_policy(clinic, Policy::Own, false).unwrap();
    world.join("z", "hub", Policy::Own);
    exchange(&world, "on", 3);
    assert_eq!(world.view("clinic").roster().member(&clinic).unwrap().policy, Policy::Own);
    assert_eq!(world.open("hub").heal().unwrap_err().code(), Code::Z616, "there is nothing left to heal");
}

#[test]
fn somebody_who_is_sure_may_sign_in_doubt() {
    let (world, _, clinic) = domain();
    world.image("hub", "image");
    world.join("other", "hub", Policy::Own);
    world.carry("hub", "clinic", "news");
    world.restore("image", "hub");
    world.push("clinic", &["c1"]);
    world.carry("clinic", "hub", "ahead");
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, true).unwrap();
    exchange(&world, "fork", 4);
    assert!(world.view("clinic").roster().is_forked());
    world.open("hub").heal().unwrap();
    exchange(&world, "healed", 3);
    assert!(!world.view("clinic").roster().is_forked());
    assert_eq!(world.view("clinic").roster().member(&clinic).unwrap().policy, Policy::OwnAndHubs);
}

/// What a member tells of the roster may be a lie: the authority is held up by it until it has revoked the liar, and no longer (R8.4-a).
#[test]
fn who_is_revoked_holds_up_nobody() {
    let (world, _, clinic) = domain();
    let other = world.join("other", "hub", Policy::Own);
    world.image("hub", "image");
    world.join("third", "hub", Policy::Own);
    world.carry("hub", "clinic", "news");
    world.restore("image", "hub");
    world.push("clinic", &["c1"]);
    world.carry("clinic", "hub", "ahead"); // for this hub it tells of a roster that never was
    assert_eq!(world.open("hub").set_policy(other, Policy::OwnAndHubs, false).unwrap_err().code(), Code::Z610);
    world.open("hub").revoke(clinic, true).unwrap();
    assert!(!in_doubt(&world));
    world.open("hub").set_policy(other, Policy::OwnAndHubs, false).unwrap();
}

#[test]
fn a_notice_of_a_fork_rides_home_on_any_bundle_and_the_clone_goes_on_in_a_new_life() {
    let (world, hub, clinic) = domain();
    world.image("clinic", "image");
    world.push("clinic", &["b1", "b2"]);
    world.cut("clinic", &[hub], "one-way1");
    world.ingest("hub", "one-way1");
    world.restore("image", "clinic");
    world.push("clinic", &["c1"]);
    world.cut("clinic", &[hub], "one-way2");
    let taken = world.ingest("hub", "one-way2");
    assert_eq!(taken.files[0].forks.len(), 1, "{taken:?}");
    let forks = world.view("hub").forks().unwrap();
    assert_eq!((forks.len(), forks[0].closed), (1, false));
    let told = world.carry("hub", "clinic", "home");
    assert!(told.new_life, "{told:?}");
    world.push("clinic", &["d1"]);
    exchange(&world, "after", 4);
    let held = world.payloads("hub");
    assert!(["b1", "b2", "c1", "d1"].iter().all(|payload| held.iter().any(|held| held == payload)), "{held:?}");
    assert!(world.view("clinic").open_lives().is_empty());
    assert!(world.view("hub").forks().unwrap().iter().all(|fork| fork.closed), "its origin has closed it: {clinic}");
}

#[test]
fn a_person_closes_a_fork_and_it_opens_again_when_it_grows() {
    let (world, hub, _) = domain();
    world.image("clinic", "image");
    world.push("clinic", &["b1"]);
    world.cut("clinic", &[hub], "first");
    world.ingest("hub", "first");
    world.image("clinic", "first-clone");
    world.restore("image", "clinic");
    world.push("clinic", &["c1"]);
    world.cut("clinic", &[hub], "second");
    world.ingest("hub", "second");
    let fork = world.view("hub").forks().unwrap().remove(0);
    assert_eq!(world.open("hub").close_fork("no such fork").unwrap_err().code(), Code::Z407);
    assert!(world.open("hub").close_fork(&fork.id).unwrap().closed);
    assert_eq!(world.view("hub").status().unwrap().open_forks().count(), 0);
    world.restore("first-clone", "clinic");
    world.push("clinic", &["b2"]);
    world.cut("clinic", &[hub], "third");
    world.ingest("hub", "third");
    assert_eq!(world.payloads("hub"), ["b1", "b2", "c1"]);
    assert_eq!(world.view("hub").status().unwrap().open_forks().count(), 1, "somebody still writes it");
}

/// R6.4-g: every member reads a hub's control lane. What was said there of a fork held two digests, against which a guess at a payload could be tried.
#[test]
fn what_is_said_of_a_closed_fork_tells_nothing_of_what_stands_there() {
    let (world, hub, _) = domain();
    world.join("reader", "hub", Policy::Own);
    world.image("clinic", "image");
    for (payload, folder) in [("b1", "first"), ("c1", "second")] {
        world.restore("image", "clinic");
        world.push("clinic", &[payload]);
        world.cut("clinic", &[hub], folder);
        world.ingest("hub", folder);
    }
    let fork = world.view("hub").forks().unwrap().remove(0);
    let view = world.view("hub");
    let streams = view.log().branches(&fork.origin).into_iter().map(|(stream, _)| stream);
    let guesses: Vec<_> = streams.map(|stream| digest(view.log().events(&stream, fork.seq).unwrap().next().unwrap().unwrap().1)).collect();
    drop(view);
    assert!(guesses.len() == 2 && world.open("hub").close_fork(&fork.id).unwrap().closed);
    world.carry("hub", "reader", "news");
    let view = world.view("reader");
    let (mut scan, mut said) = (view.log().scan().unwrap(), Vec::new());
    while let Some((_, _, bytes)) = scan.next().unwrap() {
        said.extend(Event::from_bytes(bytes).ok().filter(|event| event.kind == "zb/fork-closed").map(|event| event.payload.to_vec()));
    }
    assert_eq!(said.len(), 1, "it is told that somebody has looked at it");
    for guess in guesses {
        assert!(!said[0].windows(4).any(|told| told == &guess.0[..4]), "{said:?}");
    }
}
