//! What the simulator says of itself: it is the same life twice, it sees what it should see, and it makes failures short.

use sim::life::{live, shrink};
use sim::plan::Plan;
use sim::world::Planted;

/// Some lives in which nothing is planted.
const SOUND: std::ops::Range<u64> = 0..12;
/// A planted fault shows within so many lives.
const WITHIN: u64 = 300;

#[test]
fn sound_lives_go_as_promised_and_are_the_same_when_lived_again() {
    for seed in SOUND {
        let plan = Plan::of(seed);
        let (first, second) = (live(&plan, None), live(&plan, None));
        assert_eq!(first.violation, None, "seed {seed:#x}");
        assert_eq!(first.story, second.story, "seed {seed:#x}");
        assert_eq!(first.digest, second.digest, "seed {seed:#x}");
    }
}

fn seen_within(planted: Planted, begins: &str) {
    let found = (0..WITHIN).find_map(|seed| live(&Plan::of(seed), Some(planted)).violation.map(|why| (seed, why)));
    let Some((_, why)) = found else { panic!("{planted:?} was not seen in {WITHIN} lives") };
    assert!(why.starts_with(begins), "{planted:?} was seen as: {why}");
}

#[test]
fn cards_that_lie_about_syncing_are_seen() {
    seen_within(Planted::LyingCards, "P"); // as events lost, or as files of the node that a power cut has made unreadable
}

#[test]
fn a_promise_nobody_kept_is_seen() {
    seen_within(Planted::FalsePromise, "P1");
}

#[test]
fn an_event_nobody_pushed_is_seen() {
    seen_within(Planted::Invention, "P2");
}

#[test]
fn an_event_that_a_log_forgets_is_seen() {
    seen_within(Planted::LostEvent, "P1");
}

#[test]
fn a_policy_that_is_not_kept_is_seen() {
    seen_within(Planted::NoPolicy, "policy");
}

#[test]
fn a_fork_that_nobody_tells_of_is_seen() {
    seen_within(Planted::SilentForks, "forks");
}

#[test]
fn a_nonce_used_twice_is_seen() {
    seen_within(Planted::LuckRestored, "nonces");
}

#[test]
fn a_failure_is_made_short_and_stays_the_same_failure() {
    let long = Plan::of(5);
    let planted = Some(Planted::Invention);
    let short = shrink(&long, planted);
    assert!(live(&short, planted).violation.is_some());
    assert!(short.steps.len() <= 1, "{:?}", short.steps);
}
