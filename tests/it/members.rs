//! Keys that end, cards that are lost, policies that change: who is believed, who sees what, from when on.

use crate::damage::{rot_events_frame, segments};
use crate::hostile::Forge;
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::{Lane, Name, NodeId};
use zbundle::keys::Policy;
use zbundle::node::local::About;
use zbundle::node::taking::Outcome;

fn hub_and_clinic() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["a1", "a2"]);
    world.carry("clinic", "hub", "a");
    world.carry("hub", "clinic", "a-back");
    (world, hub, clinic)
}

fn unacknowledged(world: &World, name: &str) -> u64 {
    world.view(name).status().unwrap().peers[0].unacknowledged
}

#[test]
fn what_a_revoked_node_wrote_before_counts_and_what_it_wrote_after_waits_for_the_authority() {
    let (world, _, clinic) = hub_and_clinic();
    world.open("hub").revoke(clinic, false).unwrap();
    assert_eq!(world.after_revoke("hub", clinic), 0, "what the authority held when it revoked stays good");

    world.push("clinic", &["b1", "b2"]);
    let taken = world.carry("clinic", "hub", "b");
    assert_eq!((&taken.files[0].outcome, taken.counts.new), (&Outcome::Taken, 2), "stored all the same: {taken:?}");
    assert!(taken.files[0].detail.as_deref().is_some_and(|detail| detail.starts_with("Z614")), "{taken:?}");
    assert_eq!(world.after_revoke("hub", clinic), 2);
    assert_eq!(world.payloads("hub"), ["a1", "a2", "b1", "b2"]);

    world.open("hub").accept(clinic, false).unwrap();
    assert_eq!(world.after_revoke("hub", clinic), 0, "the authority has accepted them");
}

#[test]
fn nothing_is_cut_for_a_revoked_node_nor_pushed_to_it() {
    let (world, _, clinic) = hub_and_clinic();
    world.open("hub").revoke(clinic, false).unwrap();
    world.push("hub", &["news"]);
    let order =
        zbundle::node::cutting::CutOrder { to: &[clinic], out: &world.path("out"), max_size: crate::world::MAX_SIZE, dry_run: false, small: false };
    let refused = world.open("hub").cut(&order, &mut |_, _, _| {}).unwrap_err();
    assert_eq!(refused.code(), Code::Z616);
    assert!(!world.path("out").exists(), "not even the folder");
    let about = About { lane: "routine".into(), audiences: vec!["clinic".into()], kind: "record".into(), ..About::default() };
    assert_eq!(world.open("hub").intend(&about).err().map(|error| error.code()), Some(Code::Z616), "it would be stored, and never leave");
    assert_eq!(world.open("hub").revoke(clinic, false).unwrap_err().code(), Code::Z616, "once is enough");
}

#[test]
fn the_receipt_of_a_node_under_an_outgoing_key_is_not_believed() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("hub", &["h1"]);
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
    world.carry("hub", "clinic", "h");
    let before = unacknowledged(&world, "hub");
    // The keys are replaced while a bundle under the old ones is on its way.
    world.push("clinic", &["b1"]);
    world.cut("clinic", &[hub], "b");
    world.rekey("clinic", "hub");
    let taken = world.ingest("hub", "b");
    assert_eq!(taken.counts.new, 1, "{taken:?}");
    assert!(taken.files[0].detail.as_deref().is_some_and(|detail| detail.starts_with("Z614")), "{taken:?}");
    assert_eq!(unacknowledged(&world, "hub"), before, "its receipt was not believed");
    assert_eq!(world.after_revoke("hub", clinic), 1, "it came after keep and bears the old key");
    // With the next event the new key signs the whole history.
    world.push("clinic", &["b2"]);
    let taken = world.carry("clinic", "hub", "c");
    assert_eq!((taken.counts.new, &taken.files[0].detail), (1, &None), "{taken:?}");
    assert_eq!(world.after_revoke("hub", clinic), 0);
    assert_eq!(unacknowledged(&world, "hub"), 0, "and its receipt counts again");
}

#[test]
fn a_member_that_signs_with_its_old_key_gets_new_ones_and_goes_on() {
    let (world, _, clinic) = hub_and_clinic();
    world.push("clinic", &["b1"]); // under the old key, unknown to the authority when it signs
    world.rekey("clinic", "hub");
    assert_eq!(world.view("clinic").keyring().node(), clinic);
    assert_eq!(world.view("clinic").keyring().current().number, 2);
    world.push("clinic", &["b2"]);
    let taken = world.carry("clinic", "hub", "b");
    assert_eq!((taken.counts.new, &taken.files[0].detail), (2, &None), "{taken:?}");
    assert_eq!(world.after_revoke("hub", clinic), 0, "the new key signed the end of the history");
    // What was sealed to the old key still opens.
    world.push("hub", &["for all"]);
    world.cut("hub", &[clinic], "down");
    world.rekey("clinic", "hub");
    assert_eq!(world.view("clinic").keyring().current().number, 3);
    let taken = world.ingest("clinic", "down");
    assert!(!taken.files.is_empty() && taken.files.iter().all(|file| file.outcome == Outcome::Taken), "{taken:?}");
}

#[test]
fn a_lost_device_is_replaced_and_the_new_one_becomes_the_old_node() {
    let (world, hub, clinic) = hub_and_clinic();
    world.join("second", "hub", Policy::All);
    std::fs::rename(world.path("clinic"), world.path("lost")).unwrap();
    std::fs::rename(world.path("clinic.key"), world.path("lost.key")).unwrap();
    // The new device has no key of the old one; patients come before the courier does.
    let fresh = world.init("clinic", false);
    assert_ne!(fresh, clinic);
    world.push("clinic", &["n1", "n2"]);
    let request = world.open("clinic").request(false).unwrap();
    assert_eq!(world.open("hub").sign(&request, Policy::Own, None, false).unwrap_err().code(), Code::Z605, "the name is taken");
    let signed = world.open("hub").sign(&request, Policy::Own, Some(clinic), false).unwrap();
    assert_eq!(signed.node, clinic);
    let mut device = world.open("clinic");
    let offer = device.consider(&signed.join).unwrap();
    assert_eq!(offer.words.to_string(), signed.words.to_string());
    device.join(&offer).unwrap();
    drop(device);
    assert_eq!(world.view("clinic").keyring().node(), clinic);

    let taken = world.carry("clinic", "hub", "n");
    assert_eq!(taken.counts.new, 2, "{taken:?}");
    assert_eq!(world.payloads("hub"), ["a1", "a2", "n1", "n2"]);
    assert!(world.view("hub").log().streams().iter().all(|(stream, _)| stream.origin.node != fresh), "nobody hears of the id it had before");
    assert_eq!(world.after_revoke("hub", clinic), 0);
    // What the old device had sent comes home.
    world.carry("hub", "clinic", "n-back");
    assert_eq!(world.payloads("clinic").iter().filter(|payload| payload.starts_with('a')).count(), 2);
    // Whoever found the old device writes what nobody counts.
    world.push("lost", &["thief"]);
    world.cut("lost", &[hub], "thief");
    let taken = world.ingest("hub", "thief");
    assert!(taken.files[0].detail.as_deref().is_some_and(|detail| detail.starts_with("Z614")), "{taken:?}");
    assert_eq!(world.after_revoke("hub", clinic), 1);
    // It comes to the new device with its past, which vouches for nothing of it, and counts nowhere it goes from there (R8.3-i).
    go_between(&world, "clinic", "hub", "home");
    assert!(world.payloads("clinic").contains(&"thief".to_owned()));
    world.push("clinic", &["n3"]);
    go_between(&world, "clinic", "second", "on");
    go_between(&world, "clinic", "hub", "again");
    assert!(["hub", "second"].iter().all(|name| world.payloads(name).ends_with(&["n3".into(), "thief".into()])));
    assert_eq!(["clinic", "hub", "second"].map(|name| world.after_revoke(name, clinic)), [1; 3]);
    world.open("hub").accept(clinic, false).unwrap();
    go_between(&world, "clinic", "hub", "accepted");
    assert_eq!(["clinic", "hub"].map(|name| world.after_revoke(name, clinic)), [0; 2], "the authority alone says so");
}

/// Each takes in what the other has for it, until both have heard what the other holds.
fn go_between(world: &World, one: &str, other: &str, folder: &str) {
    for round in 0..3 {
        world.carry(one, other, &format!("{folder}-{round}-there"));
        world.carry(other, one, &format!("{folder}-{round}-back"));
    }
}

/// The device was not lost, only seen by somebody: what he writes with a copy of it is news to the clinic, which begins a new life, and signs nothing of the
/// one before with its new key.
#[test]
fn what_was_written_with_a_replaced_key_gains_nothing_from_the_clinic_that_it_comes_to() {
    let (world, hub, clinic) = hub_and_clinic();
    world.join("second", "hub", Policy::All);
    go_between(&world, "clinic", "hub", "news");
    world.image("clinic", "thief");
    std::fs::copy(world.path("clinic.key"), world.path("thief.key")).unwrap();
    world.rekey("clinic", "hub");
    world.push("thief", &["thief"]);
    world.cut("thief", &[hub], "thief");
    world.ingest("hub", "thief");
    go_between(&world, "clinic", "hub", "home");
    world.push("clinic", &["b1"]);
    go_between(&world, "clinic", "second", "on");
    go_between(&world, "clinic", "hub", "again");
    for name in ["hub", "second"] {
        assert_eq!(world.payloads(name), ["a1", "a2", "b1", "thief"], "{name}");
    }
    assert_eq!(["clinic", "hub", "second"].map(|name| world.after_revoke(name, clinic)), [1; 3]);
}

/// A thief has a copy of the clinic's device as it was before it wrote `a3`; the device itself, `lost`, was replaced. Both write on, and only `second` hears them.
fn replaced() -> (World, NodeId, NodeId) {
    let (world, _, clinic) = hub_and_clinic();
    let second = world.join("second", "hub", Policy::All);
    go_between(&world, "clinic", "hub", "news");
    world.image("clinic", "thief");
    std::fs::copy(world.path("clinic.key"), world.path("thief.key")).unwrap();
    world.push("clinic", &["a3"]);
    world.carry("clinic", "hub", "a3");
    replace_device(&world, clinic);
    (world, clinic, second)
}

/// A new device takes the clinic's place; the old one is `lost`.
fn replace_device(world: &World, clinic: NodeId) {
    std::fs::rename(world.path("clinic"), world.path("lost")).unwrap();
    std::fs::rename(world.path("clinic.key"), world.path("lost.key")).unwrap();
    world.init("clinic", false);
    let request = world.open("clinic").request(false).unwrap();
    let signed = world.open("hub").sign(&request, Policy::Own, Some(clinic), false).unwrap();
    let mut device = world.open("clinic");
    let offer = device.consider(&signed.join).unwrap();
    device.join(&offer).unwrap();
}

/// What one of them writes reaches the new device by way of `second`, who does not say that it holds it.
fn comes_home(world: &World, writer: &str, (clinic, second): (NodeId, NodeId)) {
    world.push(writer, &[writer]);
    world.cut(writer, &[second], writer);
    world.ingest("second", writer);
    world.carry("hub", "second", &format!("{writer}-news"));
    let folder = format!("{writer}-home");
    Forge::at(world, "second").only(clinic).seal(world, clinic, &folder);
    world.ingest("clinic", &folder);
}

/// R6.6-d: what the thief wrote comes to the new device before what is honest of that life does, and nobody says that he holds it. Where they parted it wrote
/// his events again, as its own.
#[test]
fn what_a_thief_wrote_in_the_life_of_a_lost_device_is_not_written_again() {
    let (world, clinic, second) = replaced();
    comes_home(&world, "thief", (clinic, second));
    go_between(&world, "clinic", "hub", "home");
    world.push("clinic", &["n1"]);
    go_between(&world, "clinic", "hub", "on");
    for name in ["clinic", "hub"] {
        assert_eq!(world.payloads(name), ["a1", "a2", "a3", "n1", "thief"], "{name}");
    }
    assert_eq!(["clinic", "hub"].map(|name| world.after_revoke(name, clinic)), [1; 2], "it is held, and counts nowhere");
}

/// R6.6-f: the same of what stands behind a hole at the new device.
#[test]
fn what_a_thief_wrote_is_not_written_again_where_it_stands_behind_a_hole() {
    let (world, hub, clinic) = hub_and_clinic();
    go_between(&world, "clinic", "hub", "news");
    world.image("clinic", "thief");
    std::fs::copy(world.path("clinic.key"), world.path("thief.key")).unwrap();
    replace_device(&world, clinic);
    go_between(&world, "clinic", "hub", "replaced");
    for evil in [&["evil1"][..], &["evil2", "evil3"]] {
        world.push("thief", evil);
        world.cut("thief", &[hub], evil[0]);
        world.ingest("hub", evil[0]);
        world.carry("hub", "clinic", &format!("{}-on", evil[0]));
    }
    assert_eq!(world.after_revoke("hub", clinic), 3);
    rot_events_frame(segments(&world, "clinic").last().unwrap(), 1);
    world.push("clinic", &["n1"]);
    assert_eq!(world.payloads("clinic"), ["a1", "a2", "n1"], "behind the hole");
    go_between(&world, "clinic", "hub", "on");
    for name in ["clinic", "hub"] {
        assert_eq!(world.payloads(name), ["a1", "a2", "evil1", "evil2", "evil3", "n1"], "{name}");
    }
    assert_eq!(["clinic", "hub"].map(|name| world.after_revoke(name, clinic)), [3; 2]);
}

/// R6.6-f: what stands behind a hole in the life that ends there is the device's own work, whatever the key it had before vouches for.
#[test]
fn what_stands_behind_a_hole_is_written_again_by_a_node_that_got_new_keys() {
    let (world, hub, clinic) = hub_and_clinic();
    world.rekey("clinic", "hub");
    world.cut("clinic", &[hub], "lost");
    for payload in ["b1", "b2"] {
        world.push("clinic", &[payload]);
    }
    rot_events_frame(segments(&world, "clinic").last().unwrap(), 1);
    go_between(&world, "clinic", "hub", "on");
    for name in ["clinic", "hub"] {
        assert_eq!(world.payloads(name), ["a1", "a2", "b2"], "{name}");
    }
    assert_eq!(world.after_revoke("hub", clinic), 0);
}

/// What is honest of it, and was not heard of before the keys were replaced, goes on its way, and the authority accepts it.
#[test]
fn what_was_not_written_again_can_be_accepted() {
    let (world, clinic, second) = replaced();
    comes_home(&world, "lost", (clinic, second));
    comes_home(&world, "thief", (clinic, second));
    go_between(&world, "clinic", "hub", "home");
    for name in ["clinic", "hub"] {
        // The hub was not heard yet when they parted here: what counts is written again then, and is shown once.
        assert_eq!(world.payloads(name), ["a1", "a2", "a3", "a3", "lost", "thief"], "{name}");
    }
    assert_eq!(["clinic", "hub"].map(|name| world.after_revoke(name, clinic)), [2; 2]);
    world.open("hub").accept(clinic, false).unwrap();
    go_between(&world, "clinic", "hub", "accepted");
    assert_eq!(["clinic", "hub"].map(|name| world.after_revoke(name, clinic)), [1; 2], "the thief's branch is another");
}

/// What the device had written itself before it got new keys is its own, whatever the keys it had then vouch for.
#[test]
fn what_a_restored_card_wrote_before_it_got_new_keys_is_written_again() {
    let (world, hub, clinic) = hub_and_clinic();
    go_between(&world, "clinic", "hub", "news");
    world.image("clinic", "image");
    world.push("clinic", &["b1"]);
    world.carry("clinic", "hub", "b1");
    world.restore("image", "clinic");
    world.push("clinic", &["c1"]);
    world.cut("clinic", &[hub], "lost"); // signed, and nobody gets it
    world.rekey("clinic", "hub");
    go_between(&world, "clinic", "hub", "home");
    for name in ["clinic", "hub"] {
        let mut held = world.payloads(name);
        held.dedup();
        assert_eq!(held, ["a1", "a2", "b1", "c1"], "{name}");
    }
    assert_eq!(world.after_revoke("hub", clinic), 0);
}

#[test]
fn the_authority_changes_its_own_keys_and_a_clinic_that_lags_follows() {
    let (world, hub, clinic) = hub_and_clinic();
    let other = world.join("other", "hub", Policy::Own);
    world.rekey("hub", "hub");
    assert_eq!(world.view("hub").keyring().current().number, 2);
    world.open("hub").set_policy(clinic, Policy::Nodes(vec![other]), false).unwrap();
    world.push("other", &["o1"]);
    world.carry("other", "hub", "o");
    // The clinic has heard of none of it: neither the other clinic nor the new keys.
    let taken = world.carry("hub", "clinic", "down");
    assert!(taken.files.iter().all(|file| file.outcome == Outcome::Taken && file.detail.is_none()), "{taken:?}");
    assert_eq!(world.payloads("clinic"), ["a1", "a2", "o1"]);
    let authority = world.view("clinic").roster().member(&hub).unwrap().current().unwrap().number;
    assert_eq!(authority, 2);
    // A clinic that lags still cuts to the old key; the hub opens it.
    let before = world.view("other").roster().member(&hub).unwrap().current().unwrap().number;
    assert_eq!(before, 1, "it has not heard");
    world.push("other", &["o2"]);
    assert_eq!(world.carry("other", "hub", "o-late").counts.new, 1);
    // A node taken in afterwards starts under the new keys.
    world.join("late", "hub", Policy::Own);
    world.push("late", &["l1"]);
    assert_eq!(world.carry("late", "hub", "late").counts.new, 1);
}

#[test]
fn a_policy_takes_effect_with_the_next_cut_and_nothing_leaks_before() {
    let (world, _, clinic) = hub_and_clinic();
    let other = world.join("other", "hub", Policy::Own);
    world.push("other", &["o1"]);
    world.carry("other", "hub", "o");
    world.push("hub", &["h1"]);
    // What it may see, what the hub writes before the cut, what the clinic holds after it.
    let steps: [(Policy, &str, &[&str]); 5] = [
        (Policy::Own, "h2", &["a1", "a2"]),
        (Policy::OwnAndHubs, "h3", &["a1", "a2", "h1", "h2", "h3"]),
        (Policy::Nodes(vec![other]), "h4", &["a1", "a2", "h1", "h2", "h3", "o1"]),
        (Policy::Own, "h5", &["a1", "a2", "h1", "h2", "h3", "o1"]),
        (Policy::All, "h6", &["a1", "a2", "h1", "h2", "h3", "h4", "h5", "h6", "o1"]),
    ];
    for (step, (policy, written, sees)) in steps.into_iter().enumerate() {
        world.push("hub", &[written]);
        world.open("hub").set_policy(clinic, policy, false).unwrap();
        world.carry("hub", "clinic", &format!("down{step}"));
        assert_eq!(world.payloads("clinic"), sees, "step {step}");
    }
}

#[test]
fn a_directed_event_reaches_its_audience_and_the_hubs_and_nobody_else() {
    let (world, hub, clinic) = hub_and_clinic();
    let other = world.join("other", "hub", Policy::OwnAndHubs);
    let third = world.join("third", "hub", Policy::Nodes(vec![clinic]));
    // The clinic must hear of the other one before it can name it.
    world.carry("hub", "clinic", "roster");
    world.push_to("clinic", Lane::Urgent, &[other], &["for other"]);
    world.push_to("hub", Lane::Routine, &[clinic, other], &["for two"]);
    world.carry("clinic", "hub", "up");
    for name in ["clinic", "other", "third"] {
        world.carry("hub", name, &format!("to-{name}"));
    }
    let hub_holds = world.payloads("hub");
    assert_eq!(hub_holds, ["a1", "a2", "for other", "for two", "for two"]);
    assert_eq!(world.payloads("other"), ["for other", "for two"]);
    assert_eq!(world.payloads("clinic"), ["a1", "a2", "for other", "for two"]);
    assert_eq!(world.payloads("third"), ["a1", "a2"]);
    assert_eq!(world.open("clinic").push_streams(Lane::Routine, &[clinic]).unwrap_err().code(), Code::Z616);
    assert_eq!(world.open("clinic").push_streams(Lane::Routine, &[NodeId([9; 8])]).unwrap_err().code(), Code::Z406);
    let _ = (hub, third);
}

#[test]
fn recipients_share_a_file_only_when_they_may_see_the_same() {
    let (world, _, clinic) = hub_and_clinic();
    let alike = [world.join("x", "hub", Policy::OwnAndHubs), world.join("y", "hub", Policy::OwnAndHubs)];
    let apart = world.join("z", "hub", Policy::Nodes(vec![clinic]));
    world.push("hub", &["h1"]);
    let cut = world.cut("hub", &[alike[0], apart, alike[1]], "many");
    let mut groups: Vec<_> = cut.files.iter().map(|file| file.recipients.clone()).collect();
    groups.sort_by_key(Vec::len);
    assert_eq!(groups, [vec![apart], alike.to_vec()], "{cut:?}");
    for (name, sees) in [("x", &["h1"][..]), ("y", &["h1"]), ("z", &["a1", "a2"])] {
        let taken = world.ingest(name, "many");
        assert_eq!(world.payloads(name), sees, "{taken:?}");
        assert_eq!(taken.count_of(|outcome| *outcome == Outcome::NotForUs), 1, "{taken:?}");
    }
}

#[test]
fn a_bundle_whose_sender_the_roster_does_not_know_waits_until_it_does() {
    let world = World::new();
    let hub = world.init("hub", true);
    let district = world.join("district", "hub", Policy::All);
    world.join("new", "hub", Policy::Own);
    world.push("new", &["n1"]);
    world.push("new", &["n2"]);
    // A bundle without the roster: its sender believes that the district has it already.
    world.cut("new", &[hub], "signed");
    crate::hostile::Forge::at(&world, "new").roster(false).seal(&world, district, "early");
    let taken = world.ingest("district", "early");
    assert_eq!(taken.files[0].outcome, Outcome::Refused(Code::Z612), "{taken:?}");
    assert_eq!(world.view("district").held().unwrap().len(), 1);
    assert_eq!(world.payloads("district"), Vec::<String>::new());
    let taken = world.carry("hub", "district", "roster");
    assert_eq!(taken.counts.new, 2, "{taken:?}");
    assert_eq!(world.payloads("district"), ["n1", "n2"]);
    assert_eq!(world.view("district").held().unwrap(), []);
}

#[test]
fn a_name_is_taken_for_ever() {
    let (world, _, clinic) = hub_and_clinic();
    world.open("hub").revoke(clinic, false).unwrap();
    let name = Name::new("clinic").unwrap();
    assert_eq!(world.view("hub").roster().by_name(&name).unwrap().node, clinic);
}
