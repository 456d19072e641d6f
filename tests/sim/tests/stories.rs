//! What the simulator has found, each as the short life that showed it.

use sim::life::live;
use sim::plan::{Act, Line, Mishap, Plan, Step};

/// A hub and a clinic.
const HUB_AND_CLINIC: usize = 0;
const HUB: usize = 0;
const CLINIC: usize = 1;

fn as_promised(steps: Vec<(Act, Option<Mishap>)>) {
    let steps = steps.into_iter().map(|(act, mishap)| Step { act, mishap, luck: 7 }).collect();
    let life = live(&Plan { seed: 1, shape: HUB_AND_CLINIC, steps }, None);
    assert_eq!(life.violation, None, "{}", life.story.join("\n"));
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
