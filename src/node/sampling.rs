//! How fast this processor is in codec 3, before anything is judged by it: as it was when we last talked with this peer; else a sample is coded, as much as
//! takes long enough to be told, and no more than a range of some events. SPEC §7.3 (R7.3-l).

use super::hop::Hop;
use super::mixing::Speed;
use super::peers::Peer;
use super::turns::between_turns;
use super::workshop::Workshop;
use crate::ports::clock::Clock;
use bundle_format::mix;
use std::rc::Rc;

/// Bytes of one piece of a sample: some milliseconds of a small server.
const SAMPLE_LEN: usize = 4 * 1024;
/// So many pieces at most …
const SAMPLE_PIECES: usize = 4;
/// … or two, where they take longer than this.
const SAMPLE_MS: u64 = 40;
/// A piece that takes less says nothing, by a clock of milliseconds.
const MEASURABLE_MS: u64 = 3;

/// A sample that is being coded.
struct Sampling {
    sample: mix::Sample,
    pieces: usize,
    fastest_ms: u64,
    all_ms: u64,
}

impl Sampling {
    fn new() -> Self {
        Self { sample: mix::Sample::new(), pieces: 0, fastest_ms: u64::MAX, all_ms: 0 }
    }

    /// One piece more; whether it was the last.
    fn go_on(&mut self, now_ms: impl Fn() -> u64) -> bool {
        let began_ms = now_ms();
        self.sample.work(SAMPLE_LEN);
        let took_ms = now_ms().saturating_sub(began_ms);
        (self.pieces, self.fastest_ms, self.all_ms) = (self.pieces + 1, self.fastest_ms.min(took_ms), self.all_ms + took_ms);
        self.pieces == SAMPLE_PIECES || self.pieces > 1 && self.all_ms > SAMPLE_MS
    }

    /// All of it, in this turn.
    fn at_once(mut self, now_ms: impl Fn() -> u64) -> Speed {
        while !self.go_on(&now_ms) {}
        self.speed()
    }

    /// The same piece by piece, others having their turn in between.
    async fn between_turns(mut self, now_ms: impl Fn() -> u64) -> Speed {
        between_turns(&now_ms, || self.go_on(&now_ms)).await;
        self.speed()
    }

    /// By the fastest piece: whoever was interrupted in one is not slow. Who does a piece in hardly any time is at least as fast as is assumed: known, so
    /// that nobody samples again.
    fn speed(&self) -> Speed {
        Speed::known(if self.fastest_ms < MEASURABLE_MS { Speed::default().rate() } else { SAMPLE_LEN as u64 * 1000 / self.fastest_ms })
    }
}

impl Workshop {
    /// Sampled at once, where nothing is known: for who serves nobody else.
    pub(super) fn know_speed(&mut self, peer: &Peer, clock: &dyn Clock) {
        if !self.remembers_speed(peer) {
            self.speed = Sampling::new().at_once(|| clock.monotonic_ms());
        }
    }

    /// Whether it is known, here or from when `peer` was last talked with.
    fn remembers_speed(&mut self, peer: &Peer) -> bool {
        if self.speed.seen().is_none() {
            self.speed = peer.link.own_speed.map_or_else(Speed::default, Speed::known);
        }
        self.speed.seen().is_some()
    }
}

impl Hop {
    /// The same between the turns of the node: nobody on another link waits for more than a piece. Only one samples, as only one codes.
    pub(super) async fn know_speed(&self, peer: &Peer) {
        let workshop = self.workshop();
        if workshop.borrow_mut().remembers_speed(peer) {
            return;
        }
        let gate = Rc::clone(&workshop.borrow().model);
        let Ok(_alone) = gate.acquire().await else { return }; // nobody closes it
        if workshop.borrow().speed.seen().is_some() {
            return; // another link has sampled while we waited
        }
        let speed = Box::pin(Sampling::new().between_turns(|| self.now_ms())).await; // a model is large, and this is done once
        workshop.borrow_mut().speed = speed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::peers::Link;
    use crate::node::turns::tests::turns_during;
    use std::cell::Cell;

    /// A clock that is `step_ms` later each time somebody looks.
    fn clock(step_ms: u64) -> impl Fn() -> u64 {
        let now_ms = Cell::new(0);
        move || {
            now_ms.set(now_ms.get() + step_ms);
            now_ms.get()
        }
    }

    #[test]
    fn a_slow_processor_is_known_by_two_pieces_and_one_that_takes_no_time_is_taken_for_a_small_server() {
        assert_eq!(Sampling::new().at_once(clock(100)).seen(), Some(10 * SAMPLE_LEN as u64), "one piece in a tenth of a second");
        assert_eq!(Sampling::new().at_once(clock(0)).seen(), Some(Speed::default().rate()), "known, so that nobody samples again");
    }

    #[test]
    fn what_was_known_when_a_peer_was_last_talked_with_is_not_sampled_again() {
        let own_speed = Some(123_456);
        let peer = Peer { link: Link { own_speed, ..Link::default() }, ..Peer::default() };
        let mut workshop = Workshop::new().unwrap();
        assert!(!workshop.remembers_speed(&Peer::default()));
        assert!(workshop.remembers_speed(&peer));
        assert_eq!(workshop.speed.seen(), own_speed);
    }

    #[tokio::test]
    async fn while_a_processor_is_sampled_others_have_a_turn_after_each_piece_and_the_speed_is_the_same() {
        for (step_ms, pieces) in [(100, 2), (15, 3), (1, SAMPLE_PIECES)] {
            let (speed, turns) = turns_during(Sampling::new().between_turns(clock(step_ms))).await;
            assert_eq!(turns, pieces - 1, "{step_ms} ms");
            assert_eq!(speed.seen(), Sampling::new().at_once(clock(step_ms)).seen(), "{step_ms} ms");
        }
    }
}
