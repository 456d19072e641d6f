//! Sticks and shared folders on their rounds: several clinics, both ways, several sticks, and nothing written twice.

use crate::rot::{say, well};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::{Lane, NodeId};
use std::path::PathBuf;
use zbundle::carry::stick::{self, Marker, PlaceId, PlaceKind};
use zbundle::keys::Policy;
use zbundle::node::NodeError;
use zbundle::node::exchanging::{ExchangeOrder, Exchanged};

pub const HUB: &str = "punakha-hub";
pub const CLINICS: [&str; 2] = ["lunana-bhu", "laya-bhu"];

/// A hub and two clinics.
pub fn domain(world: &World) -> [NodeId; 3] {
    let hub = world.init(HUB, true);
    let [first, second] = CLINICS.map(|clinic| world.join(clinic, HUB, Policy::Own));
    [hub, first, second]
}

impl World {
    /// A prepared folder, or the one prepared before.
    pub fn prepare(&self, name: &str, kind: PlaceKind) -> PathBuf {
        let id = PlaceId(std::array::from_fn(|at| name.as_bytes().get(at).copied().unwrap_or(0)));
        stick::prepare(&*self.ports().disk, &self.path(name), &Marker { id, kind, label: name.to_owned() }).unwrap();
        self.path(name)
    }

    pub fn try_exchange(&self, at: &str, place: &str, change: impl FnOnce(&mut ExchangeOrder<'_>)) -> Result<Exchanged, NodeError> {
        let path = self.path(place);
        let mut order = ExchangeOrder { place: &path, to: &[], max_size: crate::world::MAX_SIZE, files_max: 1000, dry_run: false };
        change(&mut order);
        self.open(at).exchange(&order, &mut |_| {})
    }

    /// Exchange, and expect that it is safe to remove.
    pub fn exchange(&self, at: &str, place: &str) -> Exchanged {
        let exchanged = self.try_exchange(at, place, |_| {}).unwrap();
        assert!(exchanged.safe && exchanged.trouble.is_none(), "{:?}", exchanged.trouble);
        exchanged
    }

    /// Names of what lies in a place, with lengths.
    pub fn lying(&self, place: &str) -> Vec<(String, u64)> {
        let entries = self.ports().disk.list(&self.path(place)).unwrap();
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        entries.into_iter().map(|entry| (name(entry.path), entry.len)).filter(|(name, _)| name != stick::MARKER_NAME).collect()
    }
}

fn files(exchanged: &Exchanged) -> usize {
    exchanged.cut.files.iter().filter(|file| !file.already_there).count()
}

/// R10.2-g: by which place somebody was heard is told by its label, or by its path where it has none.
#[test]
fn a_hub_tells_by_which_place_it_heard_whom() {
    let world = World::new();
    domain(&world);
    world.prepare("Wangdue round", PlaceKind::Folder);
    world.push(CLINICS[0], &["a"]);
    world.exchange(CLINICS[0], "Wangdue round");
    world.exchange(HUB, "Wangdue round");
    world.push(CLINICS[1], &["b"]);
    world.carry(CLINICS[1], HUB, "anywhere");
    let status = world.view(HUB).status().unwrap();
    let by = |name: &str| status.peers.iter().find(|peer| peer.name == name).unwrap().heard_by().to_owned();
    assert_eq!(by(CLINICS[0]), "folder Wangdue round");
    assert_eq!(by(CLINICS[1]), format!("folder {}", world.path("anywhere").display()));
}

/// R10.12-a, R10.12-e: one stick serves a whole road, both ways, and ends as empty as it began.
#[test]
fn one_stick_serves_every_clinic_on_the_road_both_ways() {
    let world = World::new();
    let [hub, first, _] = domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1", "a2"]);
    world.push(CLINICS[1], &["b1"]);
    world.push_to(HUB, Lane::Routine, &[first], &["result for lunana"]);
    for clinic in CLINICS {
        let exchanged = world.exchange(clinic, "stick");
        assert!(exchanged.cut.files.iter().all(|file| file.recipients == [hub]), "a clinic writes for the hub alone");
        assert_eq!((files(&exchanged), exchanged.ingested.counts.new), (1, 0));
    }
    let at_hub = world.exchange(HUB, "stick");
    assert_eq!((at_hub.ingested.counts.new, files(&at_hub)), (3, 2), "an answer for each clinic");
    assert_eq!(world.payloads(HUB), ["a1", "a2", "b1", "result for lunana"]);
    assert_eq!(world.exchange(CLINICS[0], "stick").ingested.counts.new, 1);
    let second = world.exchange(CLINICS[1], "stick");
    assert_eq!((second.tidied, second.level.as_slice()), (1, &[hub][..]), "what the hub has confirmed goes");
    assert_eq!(world.payloads(CLINICS[0]), ["a1", "a2", "result for lunana"]);
    assert_eq!(world.payloads(CLINICS[1]), ["b1"]);
    for name in [HUB, CLINICS[0], CLINICS[1], HUB, CLINICS[0], CLINICS[1], HUB] {
        world.exchange(name, "stick");
    }
    assert!(world.lying("stick").len() <= 3, "a receipt each at most: {:?}", world.lying("stick"));
}

/// What people pushed counts, not the parts it travels in; with its last part it is copied.
#[test]
fn a_large_payload_is_one_record_wherever_it_is_counted() {
    let world = World::new();
    domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    let scan = "0123456789abcdef".repeat(4096);
    world.push(CLINICS[0], &[&scan, "a note"]);
    let exchanged = world.exchange(CLINICS[0], "stick");
    assert_eq!((exchanged.copied, exchanged.cut.files[0].events), ([0, 0, 2, 0], [0, 0, 2, 0]));
    assert_eq!(exchanged.ranges.iter().map(|range| range.2).collect::<Vec<_>>(), [17], "16 parts and a note");
    assert_eq!(world.exchange(HUB, "stick").ingested.counts.new, 2);
    world.push(CLINICS[1], &[&scan, "another note"]);
    let bounded = world.try_exchange(CLINICS[1], "stick", |order| order.files_max = 0).unwrap();
    assert_eq!((bounded.copied, bounded.left), ([0; 4], [0, 0, 2, 0]));
}

/// R10.12-g: E4 of every drop folder.
#[test]
fn a_run_with_nothing_new_writes_nothing_however_often_it_runs() {
    let world = World::new();
    domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1", "a2"]);
    for name in [CLINICS[0], HUB, CLINICS[1], CLINICS[0]] {
        world.exchange(name, "stick");
        let lying = world.lying("stick");
        for _ in 0..3 {
            let again = world.exchange(name, "stick");
            assert_eq!((files(&again), again.tidied, world.lying("stick")), (0, 0, lying.clone()), "{name}");
        }
    }
}

/// R10.12-g, R6.5-g: a file that still lies there asks again for an answer that lies there too; once it has been heard, nobody answers any more.
#[test]
fn an_answer_that_was_asked_for_twice_is_given_once() {
    let world = World::new();
    domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1"]);
    for (name, wrote) in [(CLINICS[0], 1), (HUB, 2), (HUB, 0), (CLINICS[0], 1), (HUB, 0), (CLINICS[0], 0)] {
        assert_eq!(files(&world.exchange(name, "stick")), wrote, "{name}");
    }
}

/// R10.12-c: what lies there is not written again, and after three runs one file takes the place of all.
#[test]
fn runs_go_on_behind_each_other_and_are_gathered_after_three() {
    let world = World::new();
    domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    let mut counts = Vec::new();
    for round in 0..5 {
        world.push(CLINICS[0], &[&format!("record {round}")]);
        let exchanged = world.exchange(CLINICS[0], "stick");
        let events: u64 = exchanged.cut.files.iter().map(|file| file.events[2]).sum();
        counts.push((events, world.lying("stick").len()));
    }
    assert_eq!(counts, [(1, 1), (1, 2), (1, 3), (4, 1), (1, 2)]);
    world.exchange(HUB, "stick");
    assert_eq!(world.payloads(HUB).len(), 5);
    assert_eq!(world.exchange(CLINICS[0], "stick").tidied, 2);
}

/// R10.12-c, R10.12-g: a file that is not there any more, or not as it was written, is written again.
#[test]
fn a_stick_that_comes_back_empty_or_damaged_costs_only_the_way() {
    for damage in ["removed", "cut short", "rotten"] {
        let world = World::new();
        domain(&world);
        let place = world.prepare("stick", PlaceKind::Folder);
        world.push(CLINICS[0], &["a1", "a2"]);
        world.exchange(CLINICS[0], "stick");
        let path = place.join(&world.lying("stick")[0].0);
        let mut bytes = std::fs::read(&path).unwrap();
        match damage {
            "removed" => std::fs::remove_file(&path).unwrap(),
            "cut short" => std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
            _ => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&path, &bytes).unwrap();
            }
        }
        assert_eq!(world.exchange(CLINICS[0], "stick").copied[2], 2, "{damage}");
        world.exchange(HUB, "stick");
        assert_eq!(world.payloads(HUB), ["a1", "a2"], "{damage}");
    }
}

/// R10.12-e: a file of ours that the way has spoiled does not lie there for ever.
#[test]
fn an_own_file_that_was_cut_short_is_written_anew_and_taken_away() {
    let world = World::new();
    domain(&world);
    let place = world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1"]);
    world.exchange(CLINICS[0], "stick");
    let path = place.join(&world.lying("stick")[0].0);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    world.push(CLINICS[0], &["a2"]);
    let exchanged = world.exchange(CLINICS[0], "stick");
    assert_eq!((exchanged.copied[2], exchanged.tidied, path.exists()), (2, 1, false));
    world.exchange(HUB, "stick");
    assert_eq!(world.payloads(HUB), ["a1", "a2"]);
}

/// R10.12-e: only own files go, and only as they were written.
#[test]
fn nobody_elses_file_is_touched() {
    let world = World::new();
    domain(&world);
    let place = world.prepare("stick", PlaceKind::Folder);
    std::fs::write(place.join("holiday.jpg"), b"not ours").unwrap();
    std::fs::create_dir(place.join("music.zb")).unwrap();
    world.push(CLINICS[0], &["a1"]);
    world.exchange(CLINICS[0], "stick");
    let own = world.lying("stick").into_iter().find(|(name, _)| name.len() == 29).unwrap().0;
    world.exchange(HUB, "stick");
    std::fs::write(place.join(&own), b"somebody wrote this").unwrap();
    world.exchange(CLINICS[0], "stick");
    assert_eq!(std::fs::read(place.join(&own)).unwrap(), b"somebody wrote this", "it is not what we wrote");
    assert_eq!(std::fs::read(place.join("holiday.jpg")).unwrap(), b"not ours");
    assert!(place.join("music.zb").is_dir());
}

/// R10.12-c: a restored card knows nothing of what it wrote; it writes too much, never too little.
#[test]
fn a_node_without_memory_of_a_place_writes_from_the_receipt() {
    let world = World::new();
    domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1"]);
    world.exchange(CLINICS[0], "stick");
    std::fs::remove_dir_all(world.path(CLINICS[0]).join("places")).unwrap();
    let again = world.exchange(CLINICS[0], "stick");
    assert_eq!((files(&again), again.lying.len()), (0, 1), "the same content has the same name: found, noted again");
    std::fs::remove_dir_all(world.path(CLINICS[0]).join("places")).unwrap();
    world.push(CLINICS[0], &["a2"]);
    assert_eq!(world.exchange(CLINICS[0], "stick").copied[2], 2, "what is in the old file is not known");
    world.exchange(HUB, "stick");
    assert_eq!(world.payloads(HUB), ["a1", "a2"]);
}

#[test]
fn a_dry_run_says_what_would_be_copied_and_changes_nothing() {
    let world = World::new();
    domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1", "a2"]);
    let planned = world.try_exchange(CLINICS[0], "stick", |order| order.dry_run = true).unwrap();
    assert_eq!((planned.copied[2], planned.safe, world.lying("stick").len()), (2, false, 0));
    assert_eq!(world.exchange(CLINICS[0], "stick").copied[2], 2);
    assert_eq!(world.try_exchange(CLINICS[0], "stick", |order| order.dry_run = true).unwrap().copied[2], 0);
}

#[test]
fn a_bound_on_files_is_kept_and_what_is_left_is_said() {
    let world = World::new();
    let [hub, ..] = domain(&world);
    world.prepare("stick", PlaceKind::Folder);
    world.push(CLINICS[0], &["a1"]);
    world.exchange(CLINICS[0], "stick");
    world.push(CLINICS[0], &["a2", "a3"]);
    let bounded = world.try_exchange(CLINICS[0], "stick", |order| order.files_max = 1).unwrap();
    assert_eq!((bounded.cut.full, bounded.left[2], world.lying("stick").len()), (true, 2, 1));
    let path = world.path("stick");
    let order = ExchangeOrder { place: &path, to: &[hub], max_size: crate::world::MAX_SIZE, files_max: 1000, dry_run: false };
    let named = world.open(CLINICS[0]).exchange(&order, &mut |_| {}).unwrap();
    assert_eq!(named.copied[2], 2);
}

/// R10.10-c: nothing is taken in from, or written to, what nobody has prepared.
#[test]
fn an_unprepared_place_is_refused_and_left_as_it_is() {
    let world = World::new();
    domain(&world);
    world.push(CLINICS[0], &["a1"]);
    std::fs::create_dir(world.path("empty")).unwrap();
    for place in ["empty", "nowhere"] {
        let refused = world.try_exchange(CLINICS[0], place, |_| {}).unwrap_err();
        assert_eq!(refused.code(), if place == "empty" { Code::Z231 } else { Code::Z201 });
    }
    assert_eq!(std::fs::read_dir(world.path("empty")).unwrap().count(), 0);
    assert!(!world.path("nowhere").exists());
}

/// What the courier's page says lies there, how much of it and the words, and what `verify` says of the same writer.
fn page_and_verify(world: &World, page: &str) -> [(String, String); 2] {
    well(world, CLINICS[0], &["exchange", "round", "--receipt", page]);
    let page = std::fs::read_to_string(world.path(page)).unwrap();
    let line = |name: &str| page.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let count = line("Lying on").split(" of this site").next().unwrap().to_owned();
    let writer = format!("check @{}  ", world.view(CLINICS[0]).keyring().node());
    let verified = well(world, CLINICS[0], &["verify", "round"]);
    let said = verified.lines().find_map(|line| line.strip_prefix(&*writer)).and_then(|line| line.split_once(": "));
    [(count, line("Check")), said.map(|(count, words)| (count.to_owned(), words.to_owned())).unwrap()]
}

/// R10.12-h: a desktop's copy beside the file made the six words of the page and those of `verify` differ, as if something had been taken from the stick.
#[test]
fn a_copy_of_a_file_changes_no_words() {
    let world = World::new();
    world.clock.set(zbundle::adapters::os_ports().clock.now_ms());
    domain(&world);
    let round = world.prepare("round", PlaceKind::Folder);
    world.push(CLINICS[0], &["a"]);
    let [page, verified] = page_and_verify(&world, "first");
    assert_eq!((&page, &*page.0), (&verified, "1 bundle"));
    let name = world.lying("round").remove(0).0;
    std::fs::copy(round.join(&name), round.join(format!("Copy of {name} (1).zb"))).unwrap();
    assert_eq!(page_and_verify(&world, "second"), [page.clone(), page.clone()], "what lies there is the same");
    world.exchange(HUB, "round");
    let [page, verified] = page_and_verify(&world, "third");
    assert_eq!(page, verified, "what has arrived was taken away, and its copy, which nobody noted, was not");
    assert_eq!(world.lying("round").iter().filter(|(lying, _)| *lying == name).count(), 0);
}

/// R10.11-e: cron sent a letter about the same useless file after each run.
#[test]
fn what_is_no_bundle_is_told_once_to_whoever_wants_quiet() {
    let world = World::new();
    world.clock.set(zbundle::adapters::os_ports().clock.now_ms());
    domain(&world);
    let round = world.prepare("round", PlaceKind::Folder);
    world.exchange(CLINICS[0], "round");
    std::fs::write(round.join("empty.zb"), "").unwrap();
    std::fs::write(round.join("junk.zb"), "a letter").unwrap();
    let exchange = |quiet: &[&str]| {
        let said = say(&world, CLINICS[0], &[&["exchange", "round"], quiet].concat());
        assert_eq!(said.exit, 3, "one is cut short: {}", said.err);
        let told = ["empty.zb", "junk.zb"].map(|name| said.out.contains(name));
        (told, said.out.len() + said.err.len())
    };
    assert_eq!(exchange(&["--quiet"]).0, [true, true]);
    assert_eq!(exchange(&["--quiet"]), ([false, false], 0), "nothing is new");
    assert_eq!(exchange(&[]).0, [true, true], "who looks himself is shown all");
    std::fs::write(round.join("junk.zb"), "another letter").unwrap();
    assert_eq!(exchange(&["--quiet"]).0, [false, true]);
}
