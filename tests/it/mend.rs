//! An old, sealed part of a log rots. `fsck` says what is missing, what we tell others no longer says that it is held, and it comes again from whoever has it.

use crate::damage::{change, frames, segments};
use crate::rot::{Listener, listed, log, say, well, zbundle};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::Origin;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use zbundle::keys::Policy;
use zbundle::ports::store::{Store as _, Stream};
use zbundle::wal::{DataKeys, Options, Wal};

const ALL: [&str; 6] = ["p1", "p2", "p3", "p4", "p5", "p6"];

/// A hub and a clinic that hold the same, all of it in a sealed segment of `at`.
pub fn level(at: &str) -> World {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.join("laya", "hub", Policy::Own);
    push_and_carry_all(&world);
    seal(&world, at);
    world
}

/// The clinic pushes everything, and both know that the hub has it.
fn push_and_carry_all(world: &World) {
    for payload in ALL {
        world.push("clinic", &[payload]);
    }
    for round in 0..2 {
        world.carry("clinic", "hub", &format!("before-up{round}"));
        world.carry("hub", "clinic", &format!("before-down{round}"));
    }
}

/// Seal the newest segment of a node's log, as a longer life would have.
pub fn seal(world: &World, name: &str) {
    let node = world.open(name);
    let (id, key) = node.keyring().data_keys().current();
    let keys = DataKeys::new(id, *key);
    let stream = Stream::main(node.roster().pin().roster_origin());
    drop(node);
    let (ports, folder, options) = (world.ports(), world.path(name).join("log"), Options { segment_len: 1, sync_at_open: true });
    let mut wal = Wal::open_with(ports.disk.clone(), &folder, &keys, ports.entropy.clone(), ports.clock.clone(), options).unwrap();
    wal.mend(&stream, 1, &[]).unwrap();
    wal.sync().unwrap();
}

/// Kinds of frames.
const EVENTS: u8 = 1;
const CHECKPOINTS: u8 = 4;

/// Rot the frames with events of `origin` that begin at one of `firsts`, in sealed segments.
pub fn rot(world: &World, name: &str, origin: impl Fn(&Origin) -> bool, firsts: &[u64]) {
    rot_frames(world, name, EVENTS, origin, firsts);
}

fn rot_frames(world: &World, name: &str, wanted: u8, origin: impl Fn(&Origin) -> bool, firsts: &[u64]) {
    let view = world.view(name);
    let (stream, _) = view.log().streams().into_iter().find(|(stream, _)| origin(&stream.origin)).unwrap();
    let sealed = segments(world, name).into_iter().filter(|path| std::fs::read(path).unwrap().windows(8).any(|bytes| bytes == b"zblogend"));
    let number = number_of(&view, &stream);
    let mut hit = 0;
    sealed.for_each(|path| {
        change(&path, |bytes| {
            for (at, kind) in frames(bytes) {
                let field = |from: usize, len: usize| bytes[at + from..at + from + len].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                if kind == wanted && field(9, 4) == number && firsts.contains(&field(13, 8)) {
                    bytes[at + 40] ^= 1;
                    hit += 1;
                }
            }
        });
    });
    assert_eq!(hit, firsts.len());
}

/// Streams are numbered in the order their first events were stored.
fn number_of(view: &zbundle::node::View, wanted: &Stream) -> u64 {
    let mut order = Vec::new();
    let mut scan = view.log().scan().unwrap();
    loop {
        match scan.next() {
            Ok(Some((stream, ..))) if !order.contains(&stream) => order.push(stream),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => {} // rotted before; the next call goes on behind it
        }
    }
    order.iter().position(|stream| stream == wanted).unwrap() as u64 + 1
}

fn told_missing(world: &World, name: &str) {
    let told = say(world, name, &["fsck"]);
    assert!(told.exit == 19 && told.out.contains("/routine:"), "{}{}", told.out, told.err);
    assert!(world.path(name).join("rotten").exists());
    assert_eq!(say(world, name, &["status", "--check"]).exit, 19, "{}", say(world, name, &["status", "--check"]).err);
}

fn whole(world: &World) {
    for node in ["clinic", "hub"] {
        let log = log(world, node);
        assert_eq!((log.exit, listed(&log)), (0, ALL.map(str::to_owned).to_vec()), "{node}: {}", log.err);
        let told = well(world, node, &["fsck"]);
        assert!(told.ends_with("all good\n"), "{told}");
        assert!(!world.path(node).join("rotten").exists());
        let exit = say(world, node, &["status", "--check"]).exit;
        assert!(matches!(exit, 0 | 3), "{exit}; 3: the clock of this world is ahead of the machine's");
    }
}

pub fn is_routine(origin: &Origin) -> bool {
    origin.lane == bundle_format::ids::Lane::Routine
}

/// R6.2-i, by files: the hub's copy of a clinic's history.
#[test]
fn a_bundle_brings_back_what_rotted_of_a_foreign_history() {
    let world = level("hub");
    rot(&world, "hub", is_routine, &[1]); // all six stand in one frame
    told_missing(&world, "hub");
    assert_eq!(world.carry("hub", "clinic", "down").files.len(), 1, "the clinic lacks nothing, and hears what is missing here");
    let again = world.carry("clinic", "hub", "up");
    assert_eq!((again.counts.new, again.counts.duplicate, again.counts.mended), (0, 6, 6));
    drop(world.open("hub"));
    whole(&world);
}

/// R6.2-i: a history of our own comes back too, and nothing of its numbering is lost for that: the life goes on.
#[test]
fn what_rotted_of_our_own_history_comes_back_without_a_new_life() {
    let world = level("clinic");
    let life = world.open("clinic").keyring().incarnation();
    rot(&world, "clinic", is_routine, &[2, 3, 6]);
    told_missing(&world, "clinic");
    world.push("clinic", &["p6"]); // pushing goes on
    world.carry("clinic", "hub", "up");
    let again = world.carry("hub", "clinic", "down");
    assert_eq!((again.counts.mended, again.new_life), (3, false));
    assert_eq!(world.open("clinic").keyring().incarnation(), life);
    whole(&world);
}

/// The roster is read when a node opens: it opens with what it can read of it, and gets the rest.
#[test]
fn a_member_whose_roster_rotted_opens_and_gets_it_back() {
    let world = level("clinic");
    let seq = world.view("clinic").roster().head().seq;
    let roster = world.view("clinic").roster().pin().roster_origin();
    rot(&world, "clinic", |origin| *origin == roster, &[3]);
    assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
    assert_eq!(world.view("clinic").roster().head().seq, 2);
    world.carry("clinic", "hub", "up");
    world.carry("hub", "clinic", "down");
    drop(world.open("clinic"));
    assert_eq!(world.view("clinic").roster().head().seq, seq);
    whole(&world);
}

/// A clinic that has sent nothing yet, and the third of six payloads is not readable any more.
fn rotted_unsent() -> World {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    for payload in ALL {
        world.push("clinic", &[payload]);
    }
    seal(&world, "clinic");
    rot(&world, "clinic", is_routine, &[3]);
    world
}

/// The hub has all that can be had, each of it once, and nothing else; at the clinic one payload is missing, and it goes on saying so.
fn lost_only_the_third(world: &World) {
    let rest = ["later", "p1", "p2", "p4", "p5", "p6"].map(str::to_owned);
    let log = log(world, "hub");
    assert_eq!((log.exit, listed(&log)), (0, rest.to_vec()), "{}", log.err);
    assert_eq!(world.payloads("hub"), rest, "once each");
    let told = say(world, "clinic", &["fsck"]);
    assert!(told.exit == 19 && told.out.contains("/routine:3"), "{}{}", told.out, told.err);
    assert_eq!(say(world, "clinic", &["status", "--check"]).exit, 19);
}

/// R6.6-m: what rots before anybody has it costs itself alone. What stands behind it gets there, and what comes later.
#[test]
fn what_rotted_before_anybody_had_it_stops_nothing_behind_it() {
    let world = rotted_unsent();
    let life = world.open("clinic").keyring().incarnation();
    world.carry("clinic", "hub", "up"); // nobody has looked for it
    assert_ne!(world.open("clinic").keyring().incarnation(), life);
    assert_eq!(world.payloads("hub"), ["p1", "p2", "p4", "p5", "p6"]);
    world.push("clinic", &["later"]);
    for round in 0..2 {
        world.carry("hub", "clinic", &format!("down{round}"));
        world.carry("clinic", "hub", &format!("up{round}"));
    }
    lost_only_the_third(&world);
    assert!(world.view("clinic").open_lives().is_empty());
}

/// R6.6-m: what stands before the rot went to nobody else while somebody was known to hold all of it, who may have lost it since.
#[test]
fn what_stands_before_rot_that_one_hub_is_known_to_hold_goes_to_the_others() {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.join("district", "hub", Policy::All);
    world.carry("hub", "clinic", "members");
    for payload in ["p1", "p2", "p3", "p4"] {
        world.push("clinic", &[payload]);
    }
    world.carry("clinic", "district", "there");
    world.carry("district", "clinic", "and-back");
    seal(&world, "clinic");
    rot(&world, "clinic", is_routine, &[3]);
    assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
    world.carry("clinic", "hub", "up");
    assert_eq!(world.payloads("hub"), ["p1", "p2"]);
    world.carry("district", "hub", "the-rest");
    assert_eq!(world.payloads("hub"), ["p1", "p2", "p3", "p4"]);
}

/// R3.5-f, R6.6-m: the same behind more than one range holds, and found by `fsck` first, as the page for people says. It was signed in one go, which no range can
/// hold: every cut panicked, or was refused for ever.
#[test]
fn what_stands_before_rot_that_fsck_found_goes_however_much_it_is() {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &vec!["p"; MANY]);
    world.push("clinic", &["lost"]);
    world.push("clinic", &["behind"]);
    seal(&world, "clinic");
    rot(&world, "clinic", is_routine, &[MANY as u64 + 1]);
    assert_eq!(say(&world, "clinic", &["fsck"]).exit, 19);
    world.push_to("clinic", bundle_format::ids::Lane::Urgent, &[], &["urgent"]);
    world.carry("clinic", "hub", "up");
    assert_eq!(counts(&world, "hub"), (MANY, 1));
    assert!(world.payloads("hub").contains(&"behind".to_owned()));
}

/// The same on a link, twice: the first session sends what stands before it.
#[test]
fn what_rotted_before_anybody_had_it_stops_no_sync() {
    let world = rotted_unsent();
    world.push("clinic", &["later"]);
    let (hub, address) = serve(&world, "hub");
    let said = [(); 4].map(|()| say(&world, "clinic", &["sync", &address, "--json"]));
    drop(hub);
    for said in &said {
        let complete = said.out.lines().last().unwrap().contains(r#""complete":true,"reason":"complete""#);
        assert_eq!(said.exit == 0, complete, "{} {}", said.exit, said.out);
    }
    assert_eq!(said[3].exit, 0, "{}{}", said[3].out, said[3].err);
    lost_only_the_third(&world);
}

fn serve(world: &World, name: &str) -> (Listener, String) {
    let mut hub = zbundle(world, name, &["serve", "--listen", "127.0.0.1:0", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(hub.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| serde_json::from_str::<serde_json::Value>(&line.ok()?).ok()?["address"].as_str().map(str::to_owned));
    std::thread::spawn(move || lines.for_each(drop)); // a hub whose words nobody reads ends
    (Listener(hub), address.unwrap())
}

/// R6.2-i, by a link, for both ends: what is heard while they talk is enough.
#[test]
fn one_sync_brings_back_what_rotted_at_either_end() {
    for at in ["clinic", "hub"] {
        let world = level(at);
        rot(&world, at, is_routine, if at == "hub" { &[1] } else { &[1, 4] });
        told_missing(&world, at);
        let (hub, address) = serve(&world, "hub");
        well(&world, "clinic", &["sync", &address]);
        drop(hub);
        drop(world.open(at));
        whole(&world);
    }
}

/// A cut that meets rot nobody has looked for goes around it, and what it tells asks for it.
#[test]
fn rot_that_nobody_looked_for_is_found_by_cutting() {
    let world = level("hub");
    let laya = world.join("gasa", "hub", Policy::All);
    rot(&world, "hub", is_routine, &[1]);
    let there: Vec<PathBuf> = world.cut("hub", &[laya], "to-gasa").files.into_iter().map(|file| file.path).collect();
    assert!(!there.is_empty() && world.path("hub").join("rotten").exists());
    world.carry("hub", "clinic", "down");
    assert_eq!(world.carry("clinic", "hub", "up").counts.mended, 6);
    drop(world.open("hub"));
    whole(&world);
    world.carry("hub", "gasa", "to-gasa-again");
    assert_eq!(world.payloads("gasa"), ALL);
}

/// R6.2-i: a health assistant who knows of nothing but sticks and syncs is not stopped by rot that nobody has looked for.
#[test]
fn rot_that_nobody_looked_for_stops_no_exchange() {
    let world = level("hub");
    world.join("gasa", "hub", Policy::All);
    rot(&world, "hub", is_routine, &[1]);
    std::fs::create_dir(world.path("stick")).unwrap();
    let stick = world.path("stick").to_string_lossy().into_owned();
    well(&world, "hub", &["stick", "init", &stick, "--folder", "--label", "road"]);
    for node in ["hub", "clinic", "hub", "gasa"] {
        well(&world, node, &["exchange", &stick]);
    }
    drop(world.open("hub"));
    whole(&world);
    assert_eq!(world.payloads("gasa"), ALL);
}

/// R6.2-i, on a link: a command that meets it says so and remembers it; the next one goes around it and brings it back.
#[test]
fn rot_that_nobody_looked_for_stops_one_sync_at_most() {
    let world = level("hub");
    world.join("gasa", "hub", Policy::All);
    rot(&world, "hub", is_routine, &[1]);
    let (gasa, at_gasa) = serve(&world, "gasa");
    let (clinic, at_clinic) = serve(&world, "clinic");
    let first = say(&world, "hub", &["sync", &at_gasa]);
    assert!(first.exit == 19 && first.err.contains("Z301"), "{}: {}", first.exit, first.err);
    for (address, exit) in [(&at_gasa, 3), (&at_clinic, 0), (&at_gasa, 0)] {
        let said = say(&world, "hub", &["sync", address]);
        assert_eq!(said.exit, exit, "{}{}", said.out, said.err); // what is missing is still to be sent, until it is here again
    }
    drop((gasa, clinic));
    drop(world.open("hub"));
    whole(&world);
    assert_eq!(world.payloads("gasa"), ALL);
}

/// R6.2-i, R6.6-n: a hub's copy of a clinic's history rotted, and the clinic's card was put back and wrote others under the same numbers. Nothing proves to
/// the hub whether they are the same, so it says of none that it holds it; the clinic writes them again.
#[test]
fn what_nothing_proves_is_not_acknowledged_and_comes_under_other_numbers() {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.image("clinic", "image");
    for payload in ALL {
        world.push("clinic", &[payload]);
    }
    let (hub, address) = serve(&world, "hub");
    for _ in 0..2 {
        well(&world, "clinic", &["sync", &address]); // the hub is killed: at the second it had noted the first
    }
    drop(hub);
    seal(&world, "hub");
    rot(&world, "hub", is_routine, &[1]);
    told_missing(&world, "hub");
    world.restore("image", "clinic");
    for payload in ["q1", "q2"] {
        world.push("clinic", &[payload]);
    }
    let (hub, address) = serve(&world, "hub");
    say(&world, "clinic", &["sync", &address]); // is told that its card is an old one
    drop(hub);
    let unacknowledged = || world.view("clinic").status().unwrap().peers[0].unacknowledged;
    assert!(unacknowledged() > 0 || listed(&log(&world, "hub")).len() == 2, "the clinic takes for safe what the hub does not hold");
    let (hub, address) = serve(&world, "hub");
    say(&world, "clinic", &["sync", &address]); // the hub cannot place it
    well(&world, "clinic", &["sync", &address]);
    drop(hub);
    let log = log(&world, "hub");
    assert_eq!((listed(&log), unacknowledged()), (vec!["q1".to_owned(), "q2".to_owned()], 0), "{}", log.err);
    well(&world, "hub", &["status"]);
}

/// What stands before the events that are sent is read only to make them shorter: where that has rotted, they go as they are.
#[test]
fn rot_before_what_is_sent_stops_no_sync() {
    let world = level("clinic");
    rot(&world, "clinic", is_routine, &[4]);
    told_missing(&world, "clinic");
    world.push("clinic", &["p7"]);
    let (hub, address) = serve(&world, "hub");
    well(&world, "clinic", &["sync", &address]);
    drop(hub);
    assert!(world.payloads("hub").contains(&"p7".to_owned()));
}

/// R8.4-a: an authority does not sign over what it cannot read of its roster; a member gives it back.
#[test]
fn an_authority_does_not_sign_over_rot_in_its_roster() {
    let world = level("hub");
    let (roster, clinic) = (world.view("hub").roster().pin().roster_origin(), world.view("clinic").keyring().node());
    rot(&world, "hub", |origin| *origin == roster, &[3]);
    let refused = world.open("hub").set_policy(clinic, Policy::All, false).unwrap_err();
    assert_eq!(refused.code(), Code::Z610);
    world.carry("hub", "clinic", "down");
    world.carry("clinic", "hub", "up");
    world.open("hub").set_policy(clinic, Policy::All, false).unwrap();
    whole(&world);
}

/// R8.4-a: what an authority signs behind rot in its roster has no effect, at itself or anywhere. Who is sure is not told that it was done; with a copy of
/// the node's folder from before it goes on.
#[test]
fn an_authority_that_is_sure_signs_nothing_behind_rot_in_its_roster() {
    let world = level("clinic");
    let (roster, clinic) = (world.view("hub").roster().pin().roster_origin(), world.view("clinic").keyring().node());
    world.image("hub", "copy");
    let head = world.view("hub").roster().head();
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap(); // nobody else has it
    seal(&world, "hub");
    rot(&world, "hub", |origin| *origin == roster, &[head.seq + 1]);
    let held = |world: &World| world.view("hub").log().head(&Stream::main(roster)).unwrap().end;
    let before = held(&world);
    for sure in [false, true] {
        let refused = world.open("hub").revoke(clinic, sure).unwrap_err();
        assert!(refused.code() == Code::Z610 && refused.to_string().contains("cannot be read here"), "{refused}");
    }
    assert_eq!(held(&world), before);
    world.restore("copy", "hub");
    world.carry("clinic", "hub", "up");
    world.open("hub").set_policy(clinic, Policy::OwnAndHubs, false).unwrap();
    world.carry("hub", "clinic", "down");
    assert_eq!(world.view("clinic").roster().member(&clinic).unwrap().policy, Policy::OwnAndHubs);
}

/// R6.2-i: the words that rotted the authority says again, with the key that said them, where nobody else may have them. Else who had not heard of the newest
/// member yet would not until the next change of the roster.
#[test]
fn an_authority_signs_again_what_it_had_signed_of_its_roster() {
    let world = World::new();
    world.init("hub", true);
    world.join("district", "hub", Policy::All);
    world.join("lunana", "hub", Policy::Own);
    seal(&world, "hub");
    let head = world.view("hub").roster().head();
    assert!(world.view("district").roster().head().seq < head.seq, "district has not heard of lunana");
    let roster = world.view("hub").roster().pin().roster_origin();
    rot_frames(&world, "hub", CHECKPOINTS, |origin| *origin == roster, &[head.seq]);
    assert_eq!(say(&world, "hub", &["fsck"]).exit, 19);
    world.carry("hub", "district", "down");
    assert_eq!(world.view("district").roster().head(), head);
    assert!(well(&world, "hub", &["fsck"]).ends_with("all good\n"));
}

/// R6.6-o: what was written again behind rot rots too, before anybody had it. What it repeated can still be read, and that goes.
#[test]
fn what_was_written_again_and_rots_too_is_written_again_from_where_it_stood_first() {
    let world = rotted_unsent();
    say(&world, "clinic", &["fsck"]);
    let first = world.view("clinic").keyring().incarnation();
    world.cut("clinic", &[world.view("hub").keyring().node()], "lost-on-the-way");
    let second = world.view("clinic").keyring().incarnation();
    assert_ne!(first, second, "a life ended by rot");
    seal(&world, "clinic");
    rot(&world, "clinic", |origin| is_routine(origin) && origin.incarnation == second, &[2]);
    say(&world, "clinic", &["fsck"]);
    world.carry("clinic", "hub", "up0");
    world.carry("hub", "clinic", "down0");
    world.carry("clinic", "hub", "up1");
    let log = log(&world, "hub");
    let mut got = listed(&log);
    got.sort();
    assert_eq!(got, ["p1", "p2", "p4", "p5", "p6"].map(str::to_owned));
}

/// R6.6-m: the hub had held it all, and its card was put back since.
#[test]
fn what_rotted_after_a_hub_had_held_it_stops_nothing_when_the_hub_loses_it() {
    let world = World::new();
    world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.image("hub", "old");
    push_and_carry_all(&world);
    seal(&world, "clinic");
    rot(&world, "clinic", is_routine, &[3]);
    say(&world, "clinic", &["fsck"]);
    world.restore("old", "hub");
    for _ in 0..3 {
        let (hub, address) = serve(&world, "hub");
        say(&world, "clinic", &["sync", &address]);
        drop(hub);
    }
    let mut got = world.payloads("hub");
    got.sort();
    assert_eq!(got, ["p1", "p2", "p4", "p5", "p6"]);
}

/// A hub with ten thousand events of a clinic's, signed in one go, and an urgent one that only the clinic has.
fn many(at: &str) -> World {
    let world = World::new();
    let hub = world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.join("gasa", "hub", Policy::All);
    world.push("clinic", &vec!["p"; MANY]);
    let sent = world.cut("clinic", &[hub], "before");
    assert_eq!(sent.files.len(), 1);
    if at == "hub" {
        world.ingest("hub", "before");
    }
    seal(&world, at);
    world.push_to("clinic", bundle_format::ids::Lane::Urgent, &[], &["urgent"]);
    world
}

const MANY: usize = 10_000;

/// How many of the many, and of the urgent one, `name` has.
fn counts(world: &World, name: &str) -> (usize, usize) {
    let held = world.payloads(name);
    (held.iter().filter(|held| *held == "p").count(), held.iter().filter(|held| *held == "urgent").count())
}

/// R6.2-i, R3.5-f: a frame of checkpoints proves more events than a range may hold. One byte of it stopped every cut and sync for good, of all lanes.
#[test]
fn checkpoints_of_our_own_that_rotted_are_all_signed_again() {
    for by_link in [false, true] {
        let world = many("clinic");
        rot_frames(&world, "clinic", CHECKPOINTS, is_routine, &[256]);
        if by_link {
            let (hub, address) = serve(&world, "hub");
            well(&world, "clinic", &["sync", &address]);
            drop(hub);
        } else {
            world.carry("clinic", "hub", "up");
        }
        assert_eq!(counts(&world, "hub"), (MANY, 1));
        drop(world.open("clinic"));
        assert!(!world.path("clinic").join("rotten").exists());
    }
}

/// R6.2-i: what a hub cannot prove to a second one any more ends there and nothing else does, and comes again from who signed it.
#[test]
fn checkpoints_that_rotted_at_a_hub_stop_no_other_history_and_come_again() {
    for by_link in [false, true] {
        let world = many("hub");
        rot_frames(&world, "hub", CHECKPOINTS, is_routine, &[4352]); // those of the second range
        let send = |name: &str| match by_link {
            true => {
                let (listening, address) = serve(&world, name);
                let said = say(&world, if name == "hub" { "clinic" } else { "hub" }, &["sync", &address]);
                drop(listening);
                assert!(said.exit == 0 || said.exit == 3, "{}{}", said.out, said.err);
            }
            false if name == "hub" => drop(world.carry("clinic", "hub", &format!("up{}", counts(&world, "gasa").0))),
            false => drop(world.carry("hub", name, &format!("on{}", counts(&world, "gasa").0))),
        };
        // The clinic's urgent one, while nobody knows of the rot.
        world.push_to("hub", bundle_format::ids::Lane::Urgent, &[], &["urgent"]);
        send("gasa");
        assert_eq!(counts(&world, "gasa"), (4096, 1), "by link: {by_link}");
        world.carry("hub", "clinic", "down");
        send("hub");
        send("gasa");
        assert_eq!(counts(&world, "gasa"), (MANY, 2), "by link: {by_link}");
        drop(world.open("hub"));
        assert!(!world.path("hub").join("rotten").exists());
    }
}

/// R8.3-j: what stands where the authority cannot read would count nowhere once its key has ended, and nobody was told.
#[test]
fn a_key_does_not_end_over_what_cannot_be_read_unless_somebody_is_sure() {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    for payload in ["a1", "a2"] {
        world.push("hub", &[payload]);
        world.cut("hub", &[clinic], payload);
    }
    world.push("hub", &["a3"]);
    seal(&world, "hub");
    rot_frames(&world, "hub", CHECKPOINTS, is_routine, &[2]);
    rot(&world, "hub", is_routine, &[2]);
    let mut node = world.open("hub");
    let request = node.request(true).unwrap();
    let refused = node.sign(&request, Policy::Own, Some(hub), false).unwrap_err();
    assert!(refused.code() == Code::Z610 && refused.to_string().contains("/routine"), "{refused}");
    node.sign(&request, Policy::Own, Some(hub), true).unwrap();
}
