//! Bundles that came early wait in `held/`, and are not opened again before what they wait for has come.

use crate::hostile::Forge;
use crate::world::World;
use bundle_format::chain::Run;
use bundle_format::compress::Compressor;
use bundle_format::ids::{Lane, NodeId, Origin};
use bundle_format::range::{Coding, Range};
use zbundle::keys::Policy;
use zbundle::node::View;
use zbundle::node::taking::Outcome;
use zbundle::ports::store::Stream;

/// Events behind `after` up to `to`, where a checkpoint stands, of what `view` holds.
fn part(view: &View, origin: Origin, after: u64, to: u64) -> Range {
    let stream = Stream::main(origin);
    let (mut events, mut stored) = (Vec::new(), view.log().events(&stream, after + 1).unwrap());
    while let Some((seq, event)) = stored.next().unwrap().filter(|(seq, _)| *seq <= to) {
        assert_eq!(seq, after + 1 + events.len() as u64);
        events.push(event.to_vec());
    }
    let start = view.log().position(&stream, after).unwrap().unwrap();
    let checkpoints = view.log().checkpoints(&stream, after + 1, to).unwrap();
    let checkpoints: Vec<_> = checkpoints.iter().map(|at| (at.position.seq - after, at.checkpoint)).collect();
    let run = Run::link(start, events.iter().map(Vec::as_slice).collect());
    Range::build(origin, &run, &checkpoints, Coding::Stored, &mut Compressor::new().unwrap()).unwrap()
}

/// A hub, and a clinic that signed its routine records 1, 2 and 3 each by itself; the hub has what is urgent.
fn hub_and_clinic() -> (World, NodeId, Origin) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.push_to("clinic", Lane::Urgent, &[], &["urgent"]);
    world.carry("clinic", "hub", "urgent");
    for record in ["one", "two", "three"] {
        world.push("clinic", &[record]);
        world.cut("clinic", &[hub], record);
    }
    let streams = world.view("clinic").log().streams();
    let routine = streams.iter().map(|(stream, _)| stream.origin).find(|origin| origin.node == clinic && origin.lane == Lane::Routine);
    (world, hub, routine.unwrap())
}

/// R6.3-c, R6.3-i. Each small thing that came in had every bundle opened again that waits: with some made to be slow a hub did nothing else.
#[test]
fn a_bundle_that_waits_is_opened_again_when_what_it_waits_for_has_come() {
    let (world, hub, routine) = hub_and_clinic();
    world.join("other", "hub", Policy::Own);
    let forged = |after: u64, to: u64, folder: &str| {
        let mut forge = Forge::at(&world, "clinic");
        forge.ranges.retain(|range| range.origin.lane == Lane::Urgent); // what the hub has: counted each time the file is opened
        forge.ranges.push(part(&world.view("clinic"), routine, after, to));
        forge.seal(&world, hub, folder);
    };
    forged(2, 3, "third");
    let early = world.ingest("hub", "third");
    assert_eq!((&early.files[0].outcome, early.missing[0].from, early.missing[0].to), (&Outcome::Held, 1, 2), "{early:?}");

    world.push("other", &["something else"]);
    let came = world.carry("other", "hub", "elsewhere");
    assert_eq!((came.counts.new, came.counts.duplicate), (1, 0), "the bundle that waits was opened: {came:?}");
    assert_eq!((came.missing.len(), came.missing[0].from, came.missing[0].to), (1, 1, 2), "it is told all the same");

    forged(0, 1, "first");
    let came = world.ingest("hub", "first");
    assert_eq!((came.counts.new, came.counts.duplicate), (1, 1), "what has come does not reach as far: {came:?}");
    assert_eq!((came.missing.len(), came.missing[0].from, came.missing[0].to), (1, 2, 2));

    forged(1, 2, "second");
    let came = world.ingest("hub", "second");
    assert_eq!((came.counts.new, came.missing.len()), (2, 0), "{came:?}");
    assert!(world.payloads("hub").contains(&"three".to_owned()));
    let left: Vec<_> =
        std::fs::read_dir(world.path("hub").join("held")).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

/// Without the memory beside it, or with one that rotted, a bundle that waits is tried.
#[test]
fn a_bundle_whose_note_is_lost_is_tried() {
    let (world, hub, routine) = hub_and_clinic();
    let mut forge = Forge::at(&world, "clinic");
    forge.ranges = vec![part(&world.view("clinic"), routine, 2, 3)];
    forge.seal(&world, hub, "third");
    world.ingest("hub", "third");
    let bundle = world.view("hub").held().unwrap()[0].path.clone();
    let note = bundle.with_extension("waits");
    let before = std::fs::read(&note).unwrap();
    for damage in [Vec::new(), before[1..].to_vec()] {
        std::fs::write(&note, damage).unwrap();
        world.ingest("hub", "third");
        assert_eq!(std::fs::read(&note).unwrap(), before, "it was tried, and is noted again");
    }
    std::fs::remove_file(&note).unwrap();
    let came = world.ingest("hub", "two");
    assert_eq!((came.counts.new, world.view("hub").held().unwrap().len()), (3, 0), "{came:?}");
}
