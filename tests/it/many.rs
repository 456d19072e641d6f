//! A member that begins histories without end, with its real keys: others take so many of them, and no vector grows beyond its bounds (R6.2-j).

use crate::hostile::Forge;
use crate::lab::{Lab, run};
use crate::world::World;
use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::error::Code;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use bundle_format::limits::HISTORY_COUNT_MAX;
use bundle_format::range::{Coding, Range};
use bundle_format::vector::Salt;
use std::ops::Range as Numbers;
use std::rc::Rc;
use zbundle::keys::Policy;
use zbundle::node::kept::Crowd;
use zbundle::node::session::Session;
use zbundle::node::syncing::SyncEnd;
use zbundle::node::workshop::Workshop;
use zbundle::ports::store::Stream;

/// Two hubs, and a clinic with one record that both hold.
fn domain() -> (World, NodeId, NodeId, NodeId) {
    let world = World::quick();
    let hub = world.init("hub", true);
    let district = world.join("district", "hub", Policy::All);
    let rogue = world.join("rogue", "hub", Policy::Own);
    world.push("rogue", &["r1"]);
    world.carry("rogue", "hub", "first");
    world.carry("hub", "district", "first-on");
    (world, hub, district, rogue)
}

/// Histories of one event each, of lives that never were.
fn histories(world: &World, writer: &str, numbers: Numbers<usize>) -> Vec<Range> {
    let view = world.view(writer);
    let (keys, domain, node) = (view.keyring().current(), view.roster().domain(), view.keyring().node());
    let own = Origin { node, incarnation: view.keyring().incarnation(), lane: Lane::Routine, audience: None };
    let event = view.log().events(&Stream::main(own), 1).unwrap().next().unwrap().unwrap().1.to_vec();
    let compressor = &mut Compressor::new().unwrap();
    let mut range = |number: usize| {
        let origin = Origin { incarnation: Incarnation(u32::try_from(number).unwrap().to_be_bytes()), ..own };
        let run = Run::link(Position::start(&origin), vec![event.as_slice()]);
        let checkpoint = Checkpoint::sign(&keys.signing, &domain, &origin, keys.number, &run.end());
        Range::build(origin, &run, &[(1, checkpoint)], Coding::Stored, compressor).unwrap()
    };
    numbers.map(&mut range).collect()
}

/// A file with those of the rogue, by `from`, for `to`.
fn bring(world: &World, (from, numbers): (&str, Numbers<usize>), (name, to): (&str, NodeId), folder: &str) -> u64 {
    bring_of(world, ("rogue", from, numbers), (name, to), folder)
}

fn bring_of(world: &World, (writer, from, numbers): (&str, &str, Numbers<usize>), (name, to): (&str, NodeId), folder: &str) -> u64 {
    let mut forge = Forge::at(world, from).roster(false);
    forge.ranges = histories(world, writer, numbers);
    forge.seal(world, to, folder);
    world.ingest(name, folder).counts.left_out
}

fn count_of(world: &World, name: &str, rogue: NodeId) -> usize {
    world.view(name).log().count_of(&rogue)
}

#[test]
fn of_histories_without_end_so_many_are_taken_and_a_hub_goes_on_to_cut_for_a_hub() {
    let (world, hub, district, rogue) = domain();
    let held = count_of(&world, "hub", rogue);
    for round in 0..2 {
        let left_out = bring(&world, ("rogue", 0..HISTORY_COUNT_MAX), ("hub", hub), &format!("many{round}"));
        assert_eq!((left_out, count_of(&world, "hub", rogue)), (held as u64, HISTORY_COUNT_MAX), "round {round}");
    }
    let sent = world.open("hub").peer(&rogue).unwrap().sent.len();
    assert!(sent <= HISTORY_COUNT_MAX, "what is not held is not remembered: {sent}");
    world.push("rogue", &["r2"]);
    assert_eq!(world.carry("rogue", "hub", "grown").counts.new, 1, "what had begun goes on");
    assert_eq!(world.carry("hub", "district", "on").counts.left_out, 0);
    assert_eq!(count_of(&world, "district", rogue), HISTORY_COUNT_MAX);
    // Its own node, which gets all of them back, begins no more of them.
    assert_eq!(bring(&world, ("hub", 0..HISTORY_COUNT_MAX), ("rogue", rogue), "back"), 0);
    let node = world.open("rogue");
    assert_eq!(node.push_streams(Lane::Urgent, &[]).unwrap_err().code(), Code::Z417);
    assert_eq!(node.push_streams(Lane::Routine, &[hub]).unwrap_err().code(), Code::Z417);
    node.push_streams(Lane::Routine, &[]).unwrap();
    drop(node);
    world.push("district", &["another is not touched"]);
    assert_eq!(world.carry("district", "hub", "other").counts.new, 1, "{district}");
}

/// Ranges of `writer` that a session of `name` has for `peer`, and how many histories it leaves.
fn ranges_for(world: &World, (name, writer): (&str, NodeId), peer: NodeId) -> (usize, usize) {
    let mut node = world.open(name);
    let (mut session, mut workshop) = (Session::begin(&mut node, peer, Salt([5; 32])).unwrap(), Workshop::new().unwrap());
    let mut count = 0;
    while let Some(range) = session.next_range(&mut node, &mut workshop, 1 << 20, None).unwrap() {
        count += usize::from(range.origin.node == writer);
    }
    (count, session.left.len())
}

#[test]
fn a_link_between_hubs_that_hold_others_of_such_histories_ends() {
    let (world, hub, district, rogue) = domain();
    bring(&world, ("rogue", 10_000..10_003), ("district", district), "other");
    bring(&world, ("rogue", 0..HISTORY_COUNT_MAX), ("hub", hub), "many");
    assert_eq!(world.carry("hub", "district", "on").counts.left_out, 3);
    // The three that the hub would leave out are not sent to it, and it is told (R6.2-k).
    let cut = world.cut("district", &[hub], "back");
    let of_rogue = cut.files.iter().flat_map(|file| &file.ranges).filter(|(stream, ..)| stream.origin.node == rogue).count();
    assert_eq!((of_rogue, cut.kept_back), (0, 3));
    let crowd = Crowd { name: "rogue".to_owned(), histories: HISTORY_COUNT_MAX };
    assert_eq!(world.view("district").status().unwrap().domain.unwrap().crowds, [crowd]);
    assert_eq!(ranges_for(&world, ("district", rogue), hub), (0, 3));
    let world = Rc::new(world);
    run(async {
        let lab = Lab::new(world.clone());
        let (serving, standing) = (lab.serve("hub").await, lab.stay("district"));
        for round in 0..2 {
            let synced = lab.sync(&standing, "hub").await;
            serving.quiet().await;
            assert!(matches!(synced.end, SyncEnd::Left) && synced.left == 3, "round {round}: {synced:?}");
        }
        serving.end().await;
        standing.close().await.unwrap();
    });
    for name in ["hub", "district"] {
        assert_eq!(count_of(&world, name, rogue), HISTORY_COUNT_MAX, "{name}");
    }
}

/// No file and no hello holds a vector of all that they began: hubs that held it could not meet any more (R6.2-k).
#[test]
fn a_dozen_members_that_lie_together_keep_no_hubs_apart() {
    let (world, hub, district, _) = domain();
    let names: Vec<String> = (0..18).map(|number| format!("rogue{number}")).collect();
    for name in &names {
        world.join(name, "hub", Policy::Own);
        world.push(name, &["r1"]);
        let world = &world;
        bring_of(world, (name, name, 0..HISTORY_COUNT_MAX), ("hub", hub), &format!("many-{name}"));
    }
    world.push("hub", &["by file"]);
    let cut = world.cut("hub", &[district], "on");
    let crowds = world.view("hub").status().unwrap().domain.unwrap().crowds;
    assert!(crowds.len() == names.len() && cut.kept_back > 0, "{} of {crowds:?}", cut.kept_back);
    // One of them is told of all its own, also where it sees the others: a card that was put back would not find itself out otherwise.
    let [own, others @ ..] = &names.iter().map(|name| world.view(name).keyring().node()).collect::<Vec<_>>()[..] else { panic!("there are some") };
    for policy in [Policy::Own, Policy::nodes(others.to_vec())] {
        let mut node = world.open("hub");
        node.set_policy(*own, policy.clone(), false).unwrap();
        let told: Vec<_> =
            Session::begin(&mut node, *own, Salt([5; 32])).unwrap().hello(&mut node).unwrap().into_iter().flat_map(|page| page.vector).collect();
        let count = |node: &NodeId| told.iter().filter(|told| told.origin.node == *node).count();
        assert_eq!(count(own), HISTORY_COUNT_MAX, "{policy:?}");
        let most = if policy == Policy::Own { 0 } else { HISTORY_COUNT_MAX - 1 };
        assert!(others.iter().all(|other| (most.min(1)..=most).contains(&count(other))), "{policy:?}");
    }
    world.ingest("district", "on");
    assert!(world.payloads("district").contains(&"by file".to_owned()));
    world.push("district", &["back"]);
    world.push("hub", &["by link"]);
    let world = Rc::new(world);
    run(async {
        let lab = Lab::new(world.clone());
        let (serving, standing) = (lab.serve("hub").await, lab.stay("district"));
        let synced = lab.sync(&standing, "hub").await;
        serving.quiet().await;
        assert!(matches!(synced.end, SyncEnd::Complete | SyncEnd::Left), "{synced:?}");
        serving.end().await;
        standing.close().await.unwrap();
    });
    assert!(world.payloads("hub").contains(&"back".to_owned()) && world.payloads("district").contains(&"by link".to_owned()));
}
