//! A card rots. The real binary tells which file, byte and events it hit, goes on, and gets back what others hold; and an authority whose roster
//! has a hole signs nothing over it.

use crate::damage::{change, frames, rot_events_frame, segments};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::Lane;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use zbundle::adapters::os_ports;
use zbundle::keys::Policy;
use zbundle::ports::store::Stream;

/// What a command said, and its exit status.
pub struct Said {
    pub out: String,
    pub err: String,
    pub exit: i32,
}

/// A world on whose nodes the real binary finds the time that it is: stamps ahead of its clock are an alarm.
fn of_today() -> World {
    let world = World::new();
    world.clock.set(os_ports().clock.now_ms());
    world
}

pub fn zbundle(world: &World, node: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zbundle"));
    command.args(arguments).arg("--data-dir").arg(world.path(node)).current_dir(world.folder.path()).env_clear().stdin(Stdio::null());
    command
}

pub fn say(world: &World, node: &str, arguments: &[&str]) -> Said {
    let output = zbundle(world, node, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { out: text(&output.stdout), err: text(&output.stderr), exit: output.status.code().unwrap() }
}

pub fn well(world: &World, node: &str, arguments: &[&str]) -> String {
    let said = say(world, node, arguments);
    assert_eq!(said.exit, 0, "{arguments:?}: {}{}", said.out, said.err);
    said.out
}

/// The payloads that `log` lists, different ones, sorted.
pub fn listed(said: &Said) -> Vec<String> {
    let objects = said.out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut all: Vec<String> = objects.filter_map(|object| Some(object["payload"].as_str()?.to_owned())).collect();
    all.sort();
    all.dedup();
    all
}

pub fn log(world: &World, node: &str) -> Said {
    say(world, node, &["log", "--format", "json"])
}

/// A hub, and a clinic whose first six events the hub holds and whose last two nobody else does; the fourth rots.
fn rotten() -> World {
    let world = of_today();
    let hub = world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    for payload in ["p1", "p2", "p3", "p4", "p5", "p6"] {
        world.push("clinic", &[payload]);
    }
    world.cut("clinic", &[hub], "up");
    world.ingest("hub", "up");
    for payload in ["p7", "p8"] {
        world.push("clinic", &[payload]);
    }
    rot_events_frame(segments(&world, "clinic").last().unwrap(), 4);
    world
}

const ALL: [&str; 8] = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"];

/// R10.8-d, exit 19: the file, the byte, the events; and nothing is changed by looking.
#[test]
fn fsck_names_the_file_the_byte_and_the_events_that_rot_hit() {
    let world = rotten();
    let path = segments(&world, "clinic").pop().unwrap();
    let before = std::fs::read(&path).unwrap();
    for _ in 0..2 {
        let told = say(&world, "clinic", &["fsck"]);
        assert_eq!(told.exit, 19, "{}", told.out);
        let lines: Vec<_> = told.out.lines().collect();
        assert!(lines[0].starts_with("log/00000001.seg at byte ") && lines[0].ends_with(" damaged bytes"), "{lines:?}");
        assert!(lines[1].starts_with("clinic~") && lines[1].ends_with("/routine:4: lies in the damage; 5 to 8 behind it are readable"), "{lines:?}");
        assert!(lines[2].ends_with("DAMAGED") && lines.len() == 3, "{lines:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let log = log(&world, "clinic");
        assert_eq!(listed(&log), ALL[..3], "what stands before it is shown all the same");
        assert_eq!((log.exit, log.err.matches("warning Z301").count()), (19, 1), "and that it is not all: {}", log.err);
        for command in [&["project"][..], &["conflicts", "list"]] {
            let told = say(&world, "clinic", command);
            assert_eq!((told.exit, told.err.matches("warning Z301").count()), (0, 1), "{command:?}: {}", told.err);
        }
    }
}

/// Nobody repairs anything: the next command writes what is readable behind the hole again, and the hub sends back what lay in it.
#[test]
fn a_bundle_from_the_hub_refills_what_rotted() {
    let world = rotten();
    well(&world, "clinic", &["push", "p9"]);
    assert_eq!(listed(&log(&world, "clinic")), ["p1", "p2", "p3", "p5", "p6", "p7", "p8", "p9"]);
    for round in 0..2 {
        let (up, down) = (format!("up{round}"), format!("down{round}"));
        well(&world, "clinic", &["cut", "--to", "hub", "--out", &up]);
        well(&world, "hub", &["ingest", &up]);
        well(&world, "hub", &["cut", "--to", "clinic", "--out", &down]);
        well(&world, "clinic", &["ingest", &down]);
    }
    refilled(&world, &[&ALL[..], &["p9"]].concat());
}

pub struct Listener(pub Child);

impl Drop for Listener {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

#[test]
fn a_sync_with_the_hub_refills_what_rotted() {
    let world = rotten();
    let mut hub = zbundle(&world, "hub", &["serve", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(hub.stdout.take().unwrap()).lines();
    let hub = Listener(hub);
    let address = lines.find_map(|line| serde_json::from_str::<serde_json::Value>(&line.ok()?).ok()?["address"].as_str().map(str::to_owned)).unwrap();
    for _ in 0..2 {
        well(&world, "clinic", &["sync", &address]);
    }
    drop(hub);
    refilled(&world, &ALL);
}

/// Both hold everything, nothing is in doubt, and the damage is still told by `fsck`, as what needs nobody any more: it ended with 19 for ever (R10.8-d).
fn refilled(world: &World, all: &[&str]) {
    for node in ["clinic", "hub"] {
        let log = log(world, node);
        assert_eq!((log.exit, listed(&log)), (0, all.iter().map(|payload| (*payload).to_owned()).collect()), "{node}: {}", log.err);
    }
    assert_eq!(say(world, "clinic", &["status", "--check"]).exit, 0);
    assert!(world.view("clinic").open_lives().is_empty());
    let told = say(world, "clinic", &["fsck"]);
    assert!(told.exit == 0 && told.out.contains("found before and kept aside") && told.out.ends_with("all good\n"), "{}", told.out);
    assert_eq!(well(world, "hub", &["fsck"]).lines().filter(|line| line.ends_with("all good")).count(), 1);
}

/// A young history behind one rotten run of a sealed segment: `log` stopped at the damage and left everything behind it out.
#[test]
fn what_stands_behind_rot_in_a_sealed_segment_is_listed() {
    let world = World::new();
    world.init("ada", true);
    let push = |payload: &str| drop(well(&world, "ada", &["push", "--key", "k", payload]));
    for payload in ["p1", "p2", "p3"] {
        push(payload);
    }
    for len in [15_000_000, 3_000_000] {
        std::fs::write(world.path("large"), vec![7; len]).unwrap();
        well(&world, "ada", &["push", "--file", "large"]);
    }
    push("p4");
    let segments = segments(&world, "ada");
    assert_eq!(segments.len(), 2);
    change(&segments[0], |bytes| {
        let events: Vec<_> = frames(bytes).into_iter().filter(|(_, kind)| *kind == 1).collect();
        bytes[events[2].0 + 40] ^= 1; // the roster's first, p1, p2
    });
    let told = say(&world, "ada", &["log", "--key", "k", "--format", "json"]);
    assert_eq!((told.exit, told.err.matches("warning Z301").count()), (19, 1), "{}", told.err);
    assert_eq!(listed(&told), ["p1", "p3", "p4"], "all but the one that rotted");
}

/// R8.4-a: the roster's newest events lie behind a hole. What would be signed now would stand beside what was signed before.
#[test]
fn an_authority_refuses_to_sign_over_a_hole_in_its_roster() {
    let world = World::new();
    world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    let laya = world.join("laya", "hub", Policy::Own);
    let signed = world.view("hub").log().head(&Stream::main(world.view("hub").roster().pin().roster_origin())).unwrap().end.seq;
    assert_eq!(signed, 3);
    rot_events_frame(segments(&world, "hub").last().unwrap(), 1); // the clinic's enrolment; Laya's behind it is readable
    for _ in 0..2 {
        assert_eq!(world.open("hub").set_policy(clinic, Policy::All, false).unwrap_err().code(), Code::Z610);
        assert_eq!(world.open("hub").revoke(laya, false).unwrap_err().code(), Code::Z610);
    }
    world.init("gasa", false);
    std::fs::write(world.path("gasa.request"), world.open("gasa").request(false).unwrap()).unwrap();
    let refused = say(&world, "hub", &["sign", "gasa.request"]);
    assert!(refused.exit == 13 && refused.err.contains("Z610"), "{}", refused.err);
    assert!(say(&world, "hub", &["status"]).err.contains("Z610"));
    world.push("laya", &["l1"]);
    for round in 0..3 {
        world.carry("laya", "hub", &format!("up{round}"));
        let node = world.open("hub");
        assert!(node.log().streams().iter().all(|(stream, _)| stream.origin.lane != Lane::Control || stream.branch.is_none()), "no fork");
    }
}

/// As many bytes as seal a segment, in two payloads.
fn seal_a_segment(world: &World) {
    for len in [15_000_000, 3_000_000] {
        std::fs::write(world.path("large"), vec![7; len]).unwrap();
        well(world, "clinic", &["push", "--file", "large", "--lane", "bulk"]);
    }
}

/// R10.8-e. The index of a sealed segment rots: nothing is missing for it, now and when the segment has become an old one. `fsck` ended with 19 for ever,
/// though nobody can give an index back.
#[test]
fn a_rotten_index_is_told_and_is_no_fault() {
    let world = of_today();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["p1", "p2"]);
    seal_a_segment(&world);
    change(&segments(&world, "clinic")[0], |bytes| *bytes.last_mut().unwrap() ^= 1);
    let told = well(&world, "clinic", &["fsck"]);
    assert_eq!(told.matches("its index is damaged; nothing is missing for it").count(), 1, "{told}");
    seal_a_segment(&world);
    assert_eq!(segments(&world, "clinic").len(), 3);
    let told = well(&world, "clinic", &["fsck"]);
    assert_eq!(told.matches("the header or index is damaged; nothing is missing for it").count(), 1, "{told}");
    assert!(told.contains("log/00000001.seg at byte 0") && told.ends_with("all good\n"), "{told}");
    assert!(well(&world, "clinic", &["fsck", "--json"]).contains("\"whole\":true"));
    assert_eq!(say(&world, "clinic", &["status", "--check"]).exit, 0);
    assert_eq!(listed(&log(&world, "clinic")).into_iter().filter(|payload| payload.len() < 10).collect::<Vec<_>>(), ["p1", "p2"]);
}

/// An event rots in the newest sealed segment, and with it the index that told how far its history went. Both stood in one old file, and opening said
/// only that an index was damaged: what stood behind the event was void, and the next push took a number that was given away already.
#[test]
fn what_rots_with_the_index_that_told_of_it_costs_itself_alone() {
    let world = World::new();
    let hub = world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["p1", "p2", "p3"]);
    for payload in ["p4", "p5", "p6"] {
        world.push("clinic", &[payload]);
    }
    seal_a_segment(&world);
    world.push("clinic", &["p7"]);
    let segments = segments(&world, "clinic");
    assert_eq!(segments.len(), 2);
    change(&segments[0], |bytes| {
        let events: Vec<_> = frames(bytes).into_iter().filter(|(_, kind)| *kind == 1).collect();
        bytes[events[3].0 + 40] ^= 1; // the roster's, p1 to p3, p4, p5
        *bytes.last_mut().unwrap() ^= 1;
    });
    let told = say(&world, "clinic", &["fsck"]);
    assert!(told.exit == 19 && told.out.contains("/routine:5: lies in the damage; 6 to 7 behind it are readable"), "{}", told.out);
    let before = world.view("clinic").keyring().incarnation();
    well(&world, "clinic", &["push", "p8"]);
    assert_ne!(world.view("clinic").keyring().incarnation(), before, "no number is given away twice");
    world.cut("clinic", &[hub], "up");
    world.ingest("hub", "up");
    for node in ["clinic", "hub"] {
        let short: Vec<_> = listed(&log(&world, node)).into_iter().filter(|payload| payload.len() < 10).collect();
        assert_eq!(short, ["p1", "p2", "p3", "p4", "p6", "p7", "p8"], "{node}");
        assert!(world.view(node).log().streams().iter().all(|(stream, _)| stream.branch.is_none()), "{node}: no fork");
    }
    well(&world, "hub", &["fsck"]);
}
