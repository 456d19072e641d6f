//! What the simulator has found, each as the short life that showed it.

use sim::life::live;
use sim::plan::{Act, Line, Mishap, Plan, Step};

/// A hub and a clinic.
const HUB_AND_CLINIC: usize = 0;
/// A hub, a clinic that sees only itself, and one that sees what the hub writes.
const HUB_AND_TWO: usize = 5;
const HUB: usize = 0;
const CLINIC: usize = 1;

fn as_promised(steps: Vec<(Act, Option<Mishap>)>) {
    let steps = (7..).zip(steps).map(|(luck, (act, mishap))| Step { act, mishap, luck }).collect();
    let life = live(&Plan { seed: 1, shape: HUB_AND_CLINIC, steps }, None);
    assert_eq!(life.violation, None, "{}", life.story.join("\n"));
}

/// The same steps, with another luck of the world each time: where something rots, for one.
fn as_promised_whatever_the_luck(shape: usize, acts: &[Act]) {
    for luck in 0..40 {
        let steps = acts.iter().map(|act| Step { act: act.clone(), mishap: None, luck }).collect();
        let life = live(&Plan { seed: 1, shape, steps }, None);
        assert_eq!(life.violation, None, "luck {luck}: {}", life.story.join("\n"));
    }
}

/// The same where logs have old parts, which rot too.
fn as_promised_in_short_segments(shape: usize, acts: &[Act]) {
    for seed in (0..100).filter(|seed| sim::rotting::segment_len(*seed).is_some()) {
        let steps = acts.iter().map(|act| Step { act: act.clone(), mishap: None, luck: seed }).collect();
        let life = live(&Plan { seed, shape, steps }, None);
        assert_eq!(life.violation, None, "seed {seed}: {}", life.story.join("\n"));
    }
}

fn push_at(at: usize) -> Act {
    Act::Push { at, lane: 2, to: None, lens: vec![71, 314] }
}

fn sync_with(at: usize, to: usize) -> Act {
    Act::Sync { at, to, line: Line::default(), budget: None }
}

fn sync() -> (Act, Option<Mishap>) {
    (Act::Sync { at: CLINIC, to: HUB, line: Line::default(), budget: None }, None)
}

fn push(mishap: Option<Mishap>) -> (Act, Option<Mishap>) {
    (Act::Push { at: CLINIC, lane: 2, to: None, lens: vec![71, 314] }, mishap)
}

/// A push whose sync failed was shown by the next process out of the system's cache, signed, and told to the hub as held: no medium had it, and a power
/// cut would have taken it back.
#[test]
fn what_a_failed_sync_did_not_store_is_not_told_to_anybody() {
    as_promised(vec![push(Some(Mishap::SyncFails(2))), sync(), push(None), sync()]);
    as_promised(vec![push(None), push(Some(Mishap::SyncFails(1))), sync(), push(None), sync()]);
}

/// A clinic that had written nothing was restored; the hub knew a higher receipt number; its new life began, and the old one, in which nothing was ever
/// written, stayed open for good.
#[test]
fn a_lost_life_in_which_nothing_was_written_is_settled() {
    let image = (Act::Image { at: CLINIC }, None);
    let restore = (Act::Restore { at: CLINIC }, None);
    as_promised(vec![image, sync(), sync(), restore, sync()]);
}

/// Settling waited for something to be taken in. Two who had everything already said only hello to each other, and the life stayed open.
#[test]
fn a_lost_life_is_settled_by_a_hello_when_nothing_is_left_to_send() {
    for at in 0..40 {
        let rot = Step { act: Act::Rot { at: CLINIC, len: 1 }, mishap: None, luck: at };
        let (push, sync) = (push(None).0, sync().0);
        let calm = |act: &Act| Step { act: act.clone(), mishap: None, luck: 7 };
        let steps = vec![calm(&push), calm(&push), rot, calm(&sync), calm(&sync)];
        let life = live(&Plan { seed: 1, shape: HUB_AND_CLINIC, steps }, None);
        assert_eq!(life.violation, None, "{}", life.story.join("\n"));
    }
}

/// The power went between the authority's signing of its own new keys and its taking them up. What it signed next bore the key before, which stops the
/// roster for everybody.
#[test]
fn an_authority_whose_new_keys_are_not_in_use_yet_signs_nothing() {
    for nth in 1..6 {
        let rekey = (Act::Rekey { at: HUB }, Some(Mishap::SyncFails(nth)));
        as_promised(vec![rekey, (Act::Enrol { policy: 1 }, None), sync(), push(None), sync()]);
    }
}

/// Where a checkpoint rotted and the events before it did not, the hub could pass them on to nobody; they came again each time, and were not looked at.
#[test]
fn a_checkpoint_that_rotted_comes_back_with_events_that_are_held() {
    let sync = || sync_with(CLINIC, HUB);
    let rot = |at| Act::Rot { at, len: 1 };
    as_promised_whatever_the_luck(HUB_AND_CLINIC, &[push_at(CLINIC), sync(), push_at(CLINIC), sync(), rot(HUB)]);
    as_promised_whatever_the_luck(HUB_AND_CLINIC, &[Act::Rekey { at: HUB }, push_at(CLINIC), sync(), push_at(HUB), sync(), rot(CLINIC)]);
}

/// What a held file waited for came over a link, and nobody tried the file again.
#[test]
fn what_a_held_file_waits_for_may_come_over_a_link() {
    let cut = Act::Cut { at: CLINIC, to: HUB, stick: 0, max_size: 64 << 20 };
    let ingest = Act::Ingest { at: HUB, stick: 0 };
    let (image, restore) = (Act::Image { at: HUB }, Act::Restore { at: HUB });
    let steps = [image, push_at(CLINIC), sync_with(CLINIC, HUB), push_at(CLINIC), cut, restore, ingest, sync_with(CLINIC, HUB)];
    as_promised(steps.into_iter().map(|act| (act, None)).collect());
}

/// An authority restored twice had two branches beside its own; healing took the same one every time.
#[test]
fn every_branch_of_a_roster_is_healed() {
    let restore = || (Act::Restore { at: HUB }, None);
    let enrol = || (Act::Enrol { policy: 0 }, None);
    as_promised(vec![(Act::Image { at: HUB }, None), enrol(), restore(), enrol(), restore(), enrol()]);
}

/// A lost life was settled by what the first peer told. The next held another branch of it, and what only we held of ours reached nobody any more. Two
/// things keep that from happening now: the life is settled again, and a branch that was not written again is sent like any other.
#[test]
fn a_settled_life_is_settled_again_when_a_branch_of_it_comes_late() {
    const READER: usize = 2;
    let (image, restore) = (Act::Image { at: HUB }, Act::Restore { at: HUB });
    let steps =
        [image, push_at(HUB), sync_with(READER, HUB), sync_with(HUB, CLINIC), restore, push_at(HUB), sync_with(CLINIC, HUB), sync_with(READER, HUB)];
    as_promised_whatever_the_luck(HUB_AND_TWO, &steps);
}

/// A hub held both branches of a clinic, which therefore wrote none of its own again; then the hub lost one, and was never sent it again.
#[test]
fn a_branch_that_was_held_once_is_sent_to_who_has_lost_it() {
    let sync = || sync_with(CLINIC, HUB);
    let (image, restore) = (Act::Image { at: HUB }, Act::Restore { at: HUB });
    let rot = Act::Rot { at: CLINIC, len: 700 };
    as_promised_whatever_the_luck(HUB_AND_CLINIC, &[push_at(CLINIC), sync(), sync(), image, rot, push_at(CLINIC), sync(), restore]);
}

/// A clinic's new keys stood on a branch of the roster that the restored hub had lost. The clinic introduced itself with the other branch alone.
#[test]
fn who_introduces_itself_shows_every_branch_of_the_roster() {
    let (image, restore) = (Act::Image { at: HUB }, || Act::Restore { at: HUB });
    let cut = Act::Cut { at: HUB, to: CLINIC, stick: 0, max_size: 64 << 20 }; // the hub's roster goes on: the two branches part there
    let steps = [image, push_at(CLINIC), sync_with(CLINIC, HUB), cut, sync_with(HUB, CLINIC), restore(), Act::Rekey { at: CLINIC }, restore()];
    as_promised(steps.into_iter().map(|act| (act, None)).collect());
}

/// A file brought a branch of ours and could not be taken whole; the second try, in the same run, met that branch as known and nobody was told of it.
#[test]
fn a_fork_in_a_file_that_waits_is_told() {
    const DISTRICT: usize = 1;
    let cut = Act::Cut { at: HUB, to: DISTRICT, stick: 0, max_size: 2048 };
    let sync = Act::Sync { at: DISTRICT, to: HUB, line: Line { cuts: vec![(None, Some(700))], ..Line::default() }, budget: None };
    let (image, twin) = (Act::Image { at: DISTRICT }, Act::Clone { at: DISTRICT });
    let steps = [image, push_at(DISTRICT), push_at(DISTRICT), sync, cut, twin, push_at(3), Act::Ingest { at: 3, stick: 0 }];
    as_promised_whatever_the_luck(3, &steps);
}

/// The rot took the definition of a stream of ours with everything in it: nothing here told that there ever was one.
#[test]
fn a_stream_whose_name_rotted_as_well_comes_back() {
    let rot = |at, len| Act::Rot { at, len };
    let steps = [
        Act::Insist { at: CLINIC, policy: 1 },
        sync_with(CLINIC, HUB),
        push_at(HUB),
        sync_with(CLINIC, HUB),
        rot(CLINIC, 1),
        Act::Push { at: HUB, lane: 1, to: None, lens: vec![58, 41, 133] },
        rot(HUB, 700),
    ];
    as_promised_whatever_the_luck(HUB_AND_CLINIC, &steps);
}

fn push_long(at: usize) -> Act {
    Act::Push { at, lane: 2, to: None, lens: vec![361, 10_855] }
}

/// What nobody had yet rotted in an old part of its log: every cut, exchange and sync failed from then on, and what stood behind it got to nobody.
#[test]
fn what_rots_before_anybody_has_it_stops_nothing_else() {
    for len in [1, 16, 700] {
        let rot = Act::Rot { at: CLINIC, len };
        as_promised_in_short_segments(HUB_AND_CLINIC, &[push_long(CLINIC), push_at(CLINIC), rot, push_at(CLINIC)]);
    }
}

/// It was signed in one piece with what stood before it, which no signature proved any more.
#[test]
fn what_stands_before_the_rot_is_signed_again() {
    let cut = Act::Cut { at: HUB, to: CLINIC, stick: 0, max_size: 64 << 20 };
    let sync = sync_with(2, HUB);
    as_promised_in_short_segments(HUB_AND_TWO, &[push_at(HUB), push_long(HUB), cut, Act::Rot { at: HUB, len: 1 }, sync]);
}

/// A peer held more than had rotted, and the last signature before what it lacked stood in front of the rot: no way led from there to where it lacked.
#[test]
fn who_holds_more_than_has_rotted_waits_until_it_is_here_again() {
    let exchange = |at| Act::Exchange { at, stick: 1, max_size: 64 << 20 };
    let (on, home) = (exchange(CLINIC), exchange(HUB));
    let back = exchange(CLINIC);
    let rot = |len| Act::Rot { at: CLINIC, len };
    as_promised_in_short_segments(HUB_AND_CLINIC, &[push_long(CLINIC), on, push_at(CLINIC), home, back, rot(16), push_long(CLINIC), rot(1)]);
}

/// What stood behind a hole, and was written again, rotted: `status` failed for it.
#[test]
fn what_was_written_again_may_rot_where_it_stood_first() {
    let rot = || Act::Rot { at: CLINIC, len: 700 };
    let steps = [Act::Enrol { policy: 2 }, push_at(CLINIC), sync_with(CLINIC, HUB), rot(), push_at(CLINIC), rot(), rot()];
    as_promised_in_short_segments(HUB_AND_CLINIC, &steps);
}

/// One signature of the roster rotted, a newer one proved as much, and nobody else had kept it: the authority asked for it for ever.
#[test]
fn a_signature_that_nobody_misses_is_not_asked_for() {
    let policy = |policy| Act::Policy { at: CLINIC, policy };
    let rot = Act::Rot { at: HUB, len: 1 };
    as_promised_in_short_segments(HUB_AND_TWO, &[policy(1), policy(2), policy(0), push_at(HUB), rot, sync_with(CLINIC, HUB)]);
}

/// What was left whole by a hole was closed and not written again, for it goes on its way; then it rotted before anybody had it, and what stood behind it
/// waited for ever.
#[test]
fn what_rots_in_a_settled_life_stops_nothing_behind_it() {
    let rot = |len| Act::Rot { at: CLINIC, len };
    let push = |lens: &[usize]| Act::Push { at: CLINIC, lane: 2, to: None, lens: lens.to_vec() };
    as_promised_in_short_segments(HUB_AND_CLINIC, &[push(&[4575, 249]), push(&[195, 335, 291]), rot(16), rot(16), sync_with(HUB, CLINIC)]);
}

/// A clinic's card was put back, and where its two histories part had rotted at the hub: that could not place the second.
#[test]
fn two_histories_that_part_in_what_rotted_are_both_held() {
    let push = |lens: &[usize]| Act::Push { at: CLINIC, lane: 2, to: None, lens: lens.to_vec() };
    let (image, restore, rot) = (Act::Image { at: CLINIC }, Act::Restore { at: CLINIC }, Act::Rot { at: HUB, len: 16 });
    let steps = [image, push(&[306, 311, 257, 328]), sync_with(CLINIC, HUB), push_at(HUB), rot, restore, push(&[2832, 248, 170])];
    as_promised_in_short_segments(HUB_AND_CLINIC, &steps);
}

/// The signature of what somebody was to be given had rotted: the cut was refused as if the program were wrong.
#[test]
fn a_signature_that_rotted_stops_no_exchange() {
    let push = |at, lane, lens: &[usize]| Act::Push { at, lane, to: None, lens: lens.to_vec() };
    let exchange = |at| Act::Exchange { at, stick: 1, max_size: 64 << 20 };
    let rot = Act::Rot { at: CLINIC, len: 700 };
    let steps =
        [push(CLINIC, 2, &[118, 378]), push(HUB, 1, &[399, 836]), push(HUB, 1, &[306]), exchange(HUB), exchange(CLINIC), rot, exchange(CLINIC)];
    as_promised_in_short_segments(HUB_AND_CLINIC, &steps);
}

/// All that a member knew of the order had rotted. Who introduces itself brings it in pieces, each proved by the next one: the first of them seemed to be of
/// nobody's, and the member knew nobody for good.
#[test]
fn a_roster_that_rotted_whole_comes_back_piece_by_piece() {
    let exchange = |at| Act::Exchange { at, stick: 2, max_size: 64 << 20 };
    let rot = Act::Rot { at: CLINIC, len: 700 };
    let steps = [push_at(CLINIC), exchange(CLINIC), push_long(CLINIC), Act::Rekey { at: CLINIC }, rot, exchange(HUB), exchange(2)];
    as_promised_in_short_segments(HUB_AND_TWO, &steps);
}

/// Lives that failed once, whole: what they showed is told in docs/proof.md, and no shorter one shows it as surely.
#[test]
fn lives_that_failed_once_go_as_promised() {
    for seed in [
        0x5c, 0x17573, 0x1b4ab, 0x1d94f, 0x22842, 0x2419a, 0x24242, 0x25c62, 0x2f0af, 0x321d0, 0x32af7, 0x35344, 0x3620f, 0x3deb6, 0x3f7d3, 0x526d1,
        0x59946, 0x6837d, 0x76ab9, 0x79a90, 0x7ee46, 0xa0321, 0xc0ab6, 0xd38c4, 0xe67f9,
    ] {
        let life = live(&Plan::of(seed), None);
        assert_eq!(life.violation, None, "seed {seed:#x}: {}", life.story.join("\n"));
    }
}
