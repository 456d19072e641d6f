//! The ledger: a stick that comes again costs little, and nothing is ever passed by that the log does not hold.

use crate::rot::well;
use crate::walk::blob;
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use zbundle::carry::stick::PlaceKind;
use zbundle::carry::watch::{Known, Look, Pace, READ_AGAIN_S, is_due};
use zbundle::keys::Policy;
use zbundle::node::ledger::Ledger;
use zbundle::node::taking::Outcome;

pub fn hub_and_clinic() -> (World, NodeId, NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    (world, hub, clinic)
}

/// R10.11-b, R6.5-g: what was taken is known by its content, under any name; it is told as before, and its sender is owed an answer again.
#[test]
fn a_bundle_that_comes_again_is_known_under_any_name_and_its_sender_is_answered_again() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["one", "two"]);
    let cut = world.cut("clinic", &[hub], "stick");
    let first = world.ingest("hub", "stick");
    world.cut("hub", &[clinic], "back");
    assert!(!world.open("hub").peer(&clinic).unwrap().answer_due);
    std::fs::rename(&cut.files[0].path, world.path("stick/x (1).ZB")).unwrap();
    let again = world.ingest("hub", "stick");
    assert_eq!((again.counts.new, again.counts.duplicate, again.files.len()), (0, 2, 1), "{again:?}");
    assert_eq!((again.files[0].sender, &again.files[0].outcome), (first.files[0].sender, &Outcome::Taken));
    assert!(world.open("hub").peer(&clinic).unwrap().answer_due, "the answer may have been lost on its way");
}

/// R10.2-h: the ledger is a cache. Without it, damaged, or of another form, files are read anew and the outcome is the same.
#[test]
fn losing_the_ledger_costs_reading_only() {
    let (world, hub, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    world.cut("clinic", &[hub], "stick");
    world.ingest("hub", "stick");
    let ledger = world.path("hub/ledger");
    let written = std::fs::read(&ledger).unwrap();
    let flipped = [&written[..5], &[written[5] ^ 1], &written[6..]].concat();
    for content in [None, Some(&b""[..]), Some(&written[..written.len() / 2]), Some(&flipped)] {
        match content {
            None => std::fs::remove_file(&ledger).unwrap(),
            Some(bytes) => std::fs::write(&ledger, bytes).unwrap(),
        }
        let again = world.ingest("hub", "stick");
        assert_eq!((again.counts.new, again.counts.duplicate), (0, 1), "{content:?}");
    }
    assert_eq!(std::fs::read(&ledger).unwrap().len(), written.len(), "made anew");
}

/// R10.11-b: a card is restored from an image in part, so that the log ends before what the ledger says was taken.
#[test]
fn a_ledger_that_knows_more_than_the_log_holds_is_not_believed() {
    let (world, hub, _) = hub_and_clinic();
    world.image("hub", "image");
    world.push("clinic", &["one"]);
    world.cut("clinic", &[hub], "stick");
    assert_eq!(world.ingest("hub", "stick").counts.new, 1);
    let ledger = std::fs::read(world.path("hub/ledger")).unwrap();
    world.restore("image", "hub");
    std::fs::write(world.path("hub/ledger"), ledger).unwrap();
    assert_eq!(world.ingest("hub", "stick").counts.new, 1, "taken again, for it is not there");
    assert_eq!(world.payloads("hub"), ["one"]);
}

/// The same where the log has grown past that place again before anybody asks the ledger (R10.11-b).
#[test]
fn a_ledger_of_another_log_is_not_believed_however_long_that_has_grown() {
    let (world, hub, _) = hub_and_clinic();
    world.image("hub", "image");
    world.push("clinic", &["one", "two"]);
    world.cut("clinic", &[hub], "stick");
    assert_eq!(world.ingest("hub", "stick").counts.new, 2);
    let ledger = std::fs::read(world.path("hub/ledger")).unwrap();
    world.restore("image", "hub");
    std::fs::write(world.path("hub/ledger"), ledger).unwrap();
    (0..15).for_each(|number| world.push("hub", &[&format!("a push of the hub, number {number}")]));
    assert_eq!(world.ingest("hub", "stick").counts.new, 2, "taken again, for it is not there");
    assert_eq!(world.payloads("hub").len(), 17);
}

/// R10.11-b: the ledger goes on counting when the log has grown, and when the segment it was written in is sealed.
#[test]
fn a_ledger_of_this_log_is_believed_however_long_that_has_grown() {
    let (world, hub, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    world.cut("clinic", &[hub], "stick");
    world.ingest("hub", "stick");
    let taken = std::fs::read(world.path("hub/ledger")).unwrap();
    world.push("hub", &["ours"]);
    crate::mend::seal(&world, "hub");
    world.push("hub", &["and more"]);
    assert_eq!(world.ingest("hub", "stick").counts.duplicate, 1);
    assert_eq!(std::fs::read(world.path("hub/ledger")).unwrap(), taken, "nothing was noted anew");
}

/// R10.11-d: a clock that was ahead for a while keeps no file from being read again.
#[test]
fn what_a_clock_of_the_future_noted_is_due_a_day_after_it_was_put_right() {
    let world = World::new();
    let disk = &world.ports().disk;
    std::fs::write(world.path("a.zb"), "").unwrap();
    let entry = disk.look(&world.path("a.zb")).unwrap().unwrap();
    let (now_s, pace) = (1_800_000_000, Pace::default());
    let ahead_s = now_s + 400 * READ_AGAIN_S;
    let mut ledger = Ledger::default();
    ledger.note_look(&entry, Look { since_s: ahead_s, read_s: ahead_s, trusted: true, known: Known::Told(Code::Z213) });
    assert!(!is_due(&ledger.look(&entry, now_s).unwrap(), now_s, &pace), "the count begins now");
    let day_later_s = now_s + READ_AGAIN_S;
    assert!(is_due(&ledger.look(&entry, day_later_s).unwrap(), day_later_s, &pace));
}

/// R6.3-g: what is put out of `held/` by hand is taken again where it lies.
#[test]
fn what_was_held_and_dropped_is_taken_again_from_its_folder() {
    let (world, hub, _) = hub_and_clinic();
    let long: Vec<String> = (0..4000).map(|number| format!("{number:05}{}", blob(number, 300))).collect();
    world.push("clinic", &long.iter().map(String::as_str).collect::<Vec<_>>());
    let cut = world.cut_sized("clinic", &[hub], "parts", 300_000);
    assert!(cut.files.len() > 1, "{cut:?}");
    let late = world.prepare("late", PlaceKind::Folder);
    for file in &cut.files[1..] {
        std::fs::rename(&file.path, late.join(file.path.file_name().unwrap())).unwrap();
    }
    let watch = || {
        world.clock.set(world.clock.get() + 120_000);
        world.open("hub").watch_once(&late, &Pace::default(), &mut |_| {});
    };
    watch();
    assert!(!world.view("hub").held().unwrap().is_empty());
    well(&world, "hub", &["held", "drop"]);
    assert_eq!(world.view("hub").held().unwrap(), []);
    world.ingest("hub", "parts");
    watch();
    assert_eq!(world.payloads("hub").len(), 4000);
}

/// A bundle that was refused is copied into quarantine once, and its reason is written once.
#[test]
fn a_refused_bundle_that_comes_again_is_not_copied_again() {
    let (world, hub, _) = hub_and_clinic();
    world.push("clinic", &["one"]);
    let cut = world.cut("clinic", &[hub], "stick");
    let mut bytes = std::fs::read(&cut.files[0].path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&cut.files[0].path, &bytes).unwrap();
    world.ingest("hub", "stick");
    let kept = || {
        let mut all: Vec<_> = std::fs::read_dir(world.path("hub/quarantine")).unwrap().map(|entry| entry.unwrap()).collect();
        all.sort_by_key(std::fs::DirEntry::file_name);
        all.iter().map(|entry| (entry.file_name(), entry.metadata().unwrap().modified().unwrap())).collect::<Vec<_>>()
    };
    let before = kept();
    assert_eq!(before.len(), 2, "the bundle, and why");
    world.ingest("hub", "stick");
    assert_eq!(kept(), before);
}
