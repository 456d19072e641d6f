//! A log that ends before a place it had durably reached: its newest file is gone, or emptied (R10.8-i). No number is given a second time.

use crate::damage::segments;
use crate::mend::seal;
use crate::rot::say;
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::{Incarnation, NodeId};
use std::path::Path;
use zbundle::adapters::SqliteProjection;
use zbundle::keys::Policy;
use zbundle::node::{Node, View};
use zbundle::ports::projection::Projection as _;
use zbundle::ports::store::Finding;

fn life(node: &Node) -> Incarnation {
    node.keyring().incarnation()
}

fn is_told(view: &View) -> bool {
    view.findings().iter().any(|finding| matches!(finding, Finding::Short { .. }))
}

/// A hub that holds two records of a clinic, and the file by which that joined.
fn domain() -> (World, NodeId, Vec<u8>) {
    let world = World::new();
    world.init("hub", true);
    world.init("clinic", false);
    let mut clinic = world.open("clinic");
    let request = clinic.request(false).unwrap();
    let signed = world.open("hub").sign(&request, Policy::All, None, false).unwrap();
    clinic.join(&clinic.consider(&signed.join).unwrap()).unwrap();
    let node = clinic.keyring().node();
    drop(clinic);
    world.push("clinic", &["a1", "a2"]);
    world.carry("clinic", "hub", "up");
    (world, node, signed.join)
}

/// `fsck` said "0 events, all good", the next push took the numbers of the first records again, and `project` emptied the tables.
#[test]
fn a_log_whose_only_file_is_gone_is_told_and_the_node_goes_on_in_a_new_life() {
    for lose in [
        (|path| std::fs::remove_file(path)) as fn(&Path) -> std::io::Result<()>,
        |path| std::fs::write(path, []),
        |path| std::fs::remove_dir_all(path.parent().unwrap()),
    ] {
        let (world, _, join) = domain();
        let mut tables = SqliteProjection::open(&world.path("index.db"), true).unwrap();
        world.view("clinic").project(&mut tables, false).unwrap();
        let before = life(&world.open("clinic"));
        lose(&segments(&world, "clinic")[0]).unwrap();

        let view = world.view("clinic");
        assert!(is_told(&view) && !view.fsck(&mut |_, _| {}).unwrap().is_whole());
        assert_eq!(view.project(&mut tables, false).unwrap_err().code(), Code::Z301, "they may be all there is");
        assert_eq!(tables.counts().unwrap().0, 2);

        let mut node = world.open("clinic");
        assert!(node.findings().iter().any(|finding| matches!(finding, Finding::Short { .. })));
        assert_ne!(life(&node), before, "what comes now is not numbered as what was");
        node.join(&node.consider(&join).unwrap()).unwrap();
        drop(node);
        world.push("clinic", &["b1"]);
        assert!(!is_told(&world.view("clinic")), "answered once");
        for round in 0..4 {
            world.carry("clinic", "hub", &format!("up{round}"));
            world.carry("hub", "clinic", &format!("down{round}"));
        }
        assert_eq!((world.payloads("clinic"), world.payloads("hub").len()), (vec!["a1".to_owned(), "a2".to_owned(), "b1".to_owned()], 3));
        assert_eq!(world.view("hub").forks().unwrap(), []);
    }
}

#[test]
fn a_log_without_the_roster_of_its_domain_is_no_good_one_whatever_is_remembered() {
    let (world, _, _) = domain();
    std::fs::remove_file(&segments(&world, "clinic")[0]).unwrap();
    std::fs::remove_file(world.path("clinic").join("state")).unwrap();
    assert!(!world.view("clinic").fsck(&mut |_, _| {}).unwrap().is_whole());
    let before = world.view("clinic").keyring().incarnation();
    assert_ne!(life(&world.open("clinic")), before);
}

/// It enrolled itself a second time, under the first number of its roster.
#[test]
fn an_authority_that_has_lost_its_log_does_not_found_its_domain_again() {
    let (world, clinic, _) = domain();
    std::fs::remove_file(&segments(&world, "hub")[0]).unwrap();
    for _ in 0..2 {
        let mut hub = world.open("hub");
        assert_eq!((hub.roster().head().seq, hub.log().streams().len()), (0, 0));
        assert_eq!(hub.revoke(clinic, false).unwrap_err().code(), Code::Z610);
    }
}

#[test]
fn what_is_empty_or_only_torn_is_not_short() {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::All);
    world.push("clinic", &["a1"]);
    let before = (life(&world.open("clinic")), life(&world.open("hub")));
    let newest = segments(&world, "clinic").pop().unwrap();
    let len = std::fs::read(&newest).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::OpenOptions::new().write(true).open(&newest).unwrap().set_len(len as u64 - 5).unwrap(); // in the record that was pushed last
    assert_eq!((life(&world.open("clinic")), life(&world.open("hub"))), before);
}

/// Of what was signed under a key that only the lost file knew `fsck` said the same about each checkpoint, a thousand times, and not what to do.
#[test]
fn what_an_older_roster_cannot_verify_is_one_line_a_history_with_what_to_do() {
    let (world, _, _) = domain();
    world.clock.set(zbundle::adapters::os_ports().clock.now_ms());
    let hub = world.view("hub").keyring().node();
    world.push("clinic", &["record"; 1000]);
    seal(&world, "clinic");
    for _ in 0..2 {
        world.rekey("clinic", "hub");
    }
    std::fs::remove_file(segments(&world, "clinic").last().unwrap()).unwrap();
    world.cut("clinic", &[hub], "up");
    let said = say(&world, "clinic", &["fsck"]);
    let lines: Vec<_> = said.out.lines().filter(|line| line.contains("key 3")).collect();
    let routine: Vec<_> = lines.iter().filter(|line| line.contains("/routine:")).collect();
    assert_eq!((said.exit, routine.len()), (19, 1), "{}", said.out);
    assert!(
        routine[0].contains("/routine:258: signed under key 3 up to 1002 (checkpoints: 4)") && routine[0].contains("a bundle from the authority"),
        "{lines:?}"
    );
}
