//! The feed at a hub in whose log something rots: who goes on from a cursor is told of everything, whatever was away in between. R10.13-c.

use crate::mend::{is_routine, rot, seal};
use crate::project::{of_record, push_record};
use crate::rot::say;
use crate::world::World;
use bundle_format::ids::Lane;
use zbundle::keys::Policy;
use zbundle::node::feed::{Cursor, Step, Wanted, next};

/// How long the payloads are that a reader is told of from `cursor` on, looking at `look_max` events at a time, and where it stands then.
fn read(world: &World, mut cursor: Cursor, look_max: u32) -> (Vec<u64>, Cursor) {
    let (view, mut lens) = (world.view("hub"), Vec::new());
    loop {
        match next(view.log(), (u32::MAX, 0), cursor, &Wanted::default(), look_max).unwrap() {
            Step::Whole(whole) => {
                lens.push(whole.facts.len);
                cursor = whole.cursor;
            }
            Step::Passed(at) => cursor = at,
            Step::End(at) => return (lens, at),
        }
    }
}

/// A hub with three payloads of a clinic; the second is 25 events, of which the frames that begin at one of `firsts` rot.
fn hub(firsts: &[u64]) -> World {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    let node = world.view("lunana").keyring().node();
    for (round, len) in [20, 100_000, 30].into_iter().enumerate() {
        push_record(&world, "lunana", Lane::Routine, &of_record("Patient/1"), &vec![b'x'; len]);
        world.carry("lunana", "hub", &format!("up{round}"));
    }
    world.carry("hub", "lunana", "receipt");
    seal(&world, "hub");
    rot(&world, "hub", |origin| is_routine(origin) && origin.node == node, firsts);
    world
}

/// A reader passed the end of a payload whose beginning could not be read. When that is here again, so is the payload; and it is told of once, in however
/// small steps the reader goes.
#[test]
fn a_payload_whose_part_comes_back_is_told_of() {
    for look_max in [1, 2, 256] {
        let world = hub(&[2]); // the frame with the first parts
        let (lens, cursor) = read(&world, Cursor::default(), look_max);
        assert_eq!(lens, [20, 30]);
        assert_eq!(say(&world, "hub", &["fsck"]).exit, 19);
        world.carry("hub", "lunana", "down");
        let mended = world.carry("lunana", "hub", "again").counts.mended;
        assert!((1..25).contains(&mended), "the last parts have not rotted: {mended}");
        let (lens, cursor) = read(&world, cursor, look_max);
        assert_eq!(lens, [100_000], "looking at {look_max}");
        assert!(read(&world, cursor, look_max).0.is_empty());
    }
}
