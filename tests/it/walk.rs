//! The walk by folder: from a hand at a clinic to the hub's log, and back as a receipt.

use crate::world::World;
use bundle_format::compress::Codec;
use bundle_format::error::Code;
use bundle_format::ids::Lane;
use zbundle::keys::Policy;
use zbundle::node::cutting::CutOrder;
use zbundle::node::taking::Outcome;

fn hub_and_clinic() -> (World, bundle_format::ids::NodeId, bundle_format::ids::NodeId) {
    let world = World::new();
    let hub = world.init("hub", true);
    let clinic = world.join("clinic", "hub", Policy::Own);
    (world, hub, clinic)
}

#[test]
fn what_a_clinic_pushed_reaches_the_hub_once_and_a_receipt_comes_back() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["one", "two", "three"]);
    let cut = world.cut("clinic", &[hub], "stick");
    assert_eq!(cut.files.len(), 1);
    let taken = world.ingest("hub", "stick");
    assert_eq!((taken.counts.new, taken.counts.duplicate), (3, 0), "{taken:?}");
    assert_eq!(world.payloads("hub"), ["one", "three", "two"]);

    let again = world.ingest("hub", "stick");
    assert_eq!((again.counts.new, again.counts.duplicate), (0, 3), "{again:?}");

    world.cut("hub", &[clinic], "back");
    let receipt = world.ingest("clinic", "back");
    assert_eq!(receipt.counts.new, 0, "{receipt:?}");
    let status = world.view("clinic").status().unwrap();
    assert_eq!((status.peers[0].acknowledged, status.peers[0].unacknowledged), (3, 0));

    world.push("clinic", &["four"]);
    let cut = world.cut("clinic", &[hub], "second");
    assert_eq!(cut.files[0].events[2], 1, "only the delta travels: {cut:?}");
    assert_eq!(world.ingest("hub", "second").counts.new, 1);
}

#[test]
fn a_small_file_holds_the_same_in_fewer_bytes_and_opens_like_any_other() {
    let (world, hub, _) = hub_and_clinic();
    let visits: Vec<_> = (0..60_u32)
        .map(|n| format!(r#"{{"visit":{n},"id":"{:08x}","bp":"{}/{}","note":"seen today"}}"#, n.wrapping_mul(0x9e37_79b9), 100 + n % 40, 60 + n % 30))
        .collect();
    world.push("clinic", &visits.iter().map(String::as_str).collect::<Vec<_>>());
    let cut = |folder: &str, small| {
        let order = CutOrder { to: &[hub], out: &world.path(folder), max_size: crate::world::MAX_SIZE, small, dry_run: false };
        world.open("clinic").cut(&order, &mut |_, _, _| {}).unwrap().files
    };
    let (usual, small) = (cut("usual", false), cut("small", true));
    assert_eq!(small[0].events, usual[0].events);
    assert!(small[0].bytes * 5 < usual[0].bytes * 4, "{} of {} bytes", small[0].bytes, usual[0].bytes);

    let codec = |file: &zbundle::node::cutting::CutFile| {
        let ranges = world.view("hub").inside(&file.path, &mut |_, _| {}).unwrap();
        ranges.iter().filter(|range| range.origin.lane == Lane::Routine).map(|range| range.codec).collect::<Vec<_>>()
    };
    assert_eq!((codec(&usual[0]), codec(&small[0])), (vec![Codec::Zstd], vec![Codec::Mixed]), "R4.4-d: by itself, without a prefix");
    assert_eq!(world.ingest("hub", "small").counts.new, 60);
    assert_eq!(world.payloads("hub").len(), 60);
    assert_eq!(world.ingest("hub", "usual").counts.new, 0, "one content, two spellings");
}

/// R4.4-m: what is more than a reader decodes in codec 3 goes in another, into the same file.
#[test]
fn a_small_file_of_much_is_one_that_every_reader_takes() {
    let (world, hub, _) = hub_and_clinic();
    let pages: Vec<_> = (0..3).map(|n| "a page of notes, ".repeat(60_000) + &n.to_string()).collect();
    world.push("clinic", &pages.iter().map(String::as_str).collect::<Vec<_>>());
    let order = CutOrder { to: &[hub], out: &world.path("small"), max_size: crate::world::MAX_SIZE, small: true, dry_run: false };
    let cut = world.open("clinic").cut(&order, &mut |_, _, _| {}).unwrap();
    let ranges = world.view("hub").inside(&cut.files[0].path, &mut |_, _| {}).unwrap();
    let count = |codec| ranges.iter().filter(|range| range.codec == codec).count();
    assert!(cut.files.len() == 1 && count(Codec::Mixed) >= 2 && count(Codec::Zstd) >= 1, "{ranges:?}");
    assert_eq!(world.ingest("hub", "small").counts.new, 3);
}

#[test]
fn nothing_new_writes_nothing_and_two_settled_nodes_fall_silent() {
    let (world, hub, clinic) = hub_and_clinic();
    world.push("clinic", &["one"]);
    let first = world.cut("clinic", &[hub], "stick");
    let second = world.cut("clinic", &[hub], "stick");
    assert!(second.files.iter().all(|file| file.already_there), "{second:?}");
    assert_eq!(first.files[0].path, second.files[0].path);
    world.ingest("hub", "stick");
    world.cut("hub", &[clinic], "back");
    world.ingest("clinic", "back");
    for round in 0..4 {
        let out = format!("round{round}");
        let clinic_cut = world.cut("clinic", &[hub], &out);
        if !clinic_cut.files.is_empty() {
            world.ingest("hub", &out);
        }
        let back = format!("back{round}");
        let hub_cut = world.cut("hub", &[clinic], &back);
        if !hub_cut.files.is_empty() {
            world.ingest("clinic", &back);
        }
        if round >= 2 {
            assert!(clinic_cut.files.is_empty() && hub_cut.files.is_empty(), "round {round}: {clinic_cut:?} {hub_cut:?}");
        }
    }
}

#[test]
fn a_bundle_that_comes_early_is_held_and_taken_when_the_gap_is_filled() {
    let (world, hub, _) = hub_and_clinic();
    world.push("clinic", &["one", "two"]);
    world.cut("clinic", &[hub], "first");
    // The clinic hears from nobody, so a later cut begins at the start again; a small size makes the second file begin late.
    let long: Vec<String> = (0..4000).map(|n| format!("{n:05}{}", blob(n, 300))).collect();
    world.push("clinic", &long.iter().map(String::as_str).collect::<Vec<_>>());
    let cut = world.cut_sized("clinic", &[hub], "parts", 300_000);
    assert!(cut.files.len() > 1, "{cut:?}");
    std::fs::create_dir(world.path("late")).unwrap();
    for file in &cut.files[1..] {
        std::fs::rename(&file.path, world.path("late").join(file.path.file_name().unwrap())).unwrap();
    }
    let early = world.ingest("hub", "late");
    assert!(early.files.iter().any(|file| file.outcome == Outcome::Held), "{early:?}");
    assert_eq!(early.missing.len(), 1);
    let filled = world.ingest("hub", "parts");
    assert!(filled.missing.is_empty(), "{filled:?}");
    assert_eq!(world.payloads("hub").len(), 4002);
    assert_eq!(world.view("hub").held().unwrap(), []);
}

/// R4.6-j: 500 records of 60 bytes have two checkpoints when they are signed as usual, and 256 of them are more than 8 KiB.
#[test]
fn a_file_may_be_smaller_than_what_stands_before_a_checkpoint() {
    let (world, hub, _) = hub_and_clinic();
    let records: Vec<String> = (0..500).map(|n| blob(n, 60)).collect();
    world.push("clinic", &records.iter().map(String::as_str).collect::<Vec<_>>());
    let cut = world.cut_sized("clinic", &[hub], "parts", 8 * 1024);
    assert!(!cut.full && cut.files.iter().all(|file| file.bytes <= 8 * 1024), "{cut:?}");
    world.ingest("hub", "parts");
    assert_eq!(world.payloads("hub").len(), 500);
}

/// Text that does not compress.
pub fn blob(seed: usize, len: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + state.to_be_bytes()[3] % 90)
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn three_hops_prove_the_origin_without_trusting_the_relay() {
    let world = World::new();
    let national = world.init("national", true);
    let district = world.join("district", "national", Policy::All);
    world.join("clinic", "national", Policy::Own);
    world.push("clinic", &["far"]);
    world.cut("clinic", &[district], "a");
    // The district has never heard of the clinic: the roster events ride in the clinic's own bundle.
    let taken = world.ingest("district", "a");
    assert_eq!(taken.counts.new, 1, "{taken:?}");
    world.cut("district", &[national], "b");
    let taken = world.ingest("national", "b");
    assert_eq!(taken.counts.new, 1, "{taken:?}");
    assert_eq!(world.payloads("national"), ["far"]);
}

#[test]
fn a_clinic_never_receives_another_clinics_events() {
    let (world, hub, clinic) = hub_and_clinic();
    let other = world.join("other", "hub", Policy::Own);
    world.push("clinic", &["secret"]);
    world.cut("clinic", &[hub], "a");
    world.ingest("hub", "a");
    world.push("hub", &["hub's own"]);
    world.cut("hub", &[other, clinic], "b");
    world.ingest("other", "b");
    assert_eq!(world.payloads("other"), Vec::<String>::new());
    assert_eq!(world.payloads("clinic"), ["secret"]);
}

#[test]
fn a_bundle_of_a_stranger_and_of_another_domain_is_refused() {
    let (world, hub, _) = hub_and_clinic();
    world.init("elsewhere", true);
    world.join("foreign", "elsewhere", Policy::Own);
    world.push("foreign", &["x"]);
    let elsewhere = world.view("elsewhere").keyring().node();
    world.cut("foreign", &[elsewhere], "a");
    let taken = world.ingest("hub", "a");
    assert_eq!(taken.files[0].outcome, Outcome::Refused(Code::Z613), "{taken:?}");
    let _ = hub;
}
