//! Compressing and decompressing, one of each for all sessions of a process.

use super::coding::Coded;
use super::error::NodeError;
use super::mixing::Speed;
use super::peers::Peer;
use crate::cut::CutError;
use crate::cut::choice::Known;
use crate::ports::clock::Clock;
use crate::ports::store::Stream;
use bundle_format::compress::{Compressor, Decompressor};
use bundle_format::ids::Origin;
use bundle_format::limits::PREFIX_LEN_MAX;
use bundle_format::mix::{self, Learned};
use bundle_format::range::{Range, RangeError};
use std::rc::Rc;
use tokio::sync::Semaphore;

/// Bytes of one piece of a sample of codec 3: some milliseconds of a small server.
const SAMPLE_LEN: usize = 4 * 1024;
/// So many pieces at most …
const SAMPLE_PIECES: usize = 4;
/// … or two, where they take longer than this.
const SAMPLE_MS: u64 = 40;
/// A piece that takes less says nothing, by a clock of milliseconds.
const MEASURABLE_MS: u64 = 3;

/// What was learned by a range, for the next.
#[derive(Debug)]
struct Kept {
    learned: Learned,
    /// Of which history, where we coded it from our log.
    of: Option<(Origin, Known)>,
}

/// Compressing and decompressing, shared by all sessions of a process: contexts are large and sessions many.
#[derive(Debug)]
pub struct Workshop {
    pub(super) compressor: Compressor,
    pub(super) decompressor: Decompressor,
    /// What this processor does in codec 3.
    pub(super) speed: Speed,
    /// Who has it may hold a model: there is never more than one, whoever sends or takes ranges meanwhile.
    pub(super) model: Rc<Semaphore>,
    /// What the last range in codec 3 left: who goes on right behind it has a third of the work. One for all, as there is one model; it is never asked
    /// whose bytes they are, but whether they are the same.
    kept: Option<Kept>,
    /// Everybody on a link of this process has one in hand: so many share the processor.
    pub(super) present: Rc<()>,
}

impl Workshop {
    /// A new one; takes memory at its first use.
    ///
    /// # Errors
    /// [`NodeError`] when there is none.
    pub fn new() -> Result<Self, NodeError> {
        let none = |error| NodeError::from(CutError::from(RangeError::from(error)));
        Ok(Self {
            compressor: Compressor::new().map_err(none)?,
            decompressor: Decompressor::new().map_err(none)?,
            speed: Speed::default(),
            model: Rc::new(Semaphore::new(1)),
            kept: None,
            present: Rc::default(),
        })
    }

    /// On a processor that does so many bytes a second in codec 3, prefix and events together; nothing is sampled.
    #[must_use]
    pub fn at_speed(self, rate: u64) -> Self {
        Self { speed: Speed::known(rate), ..self }
    }

    /// What is known of `stream` from the last range that we coded.
    pub(super) fn known(&self, stream: &Stream) -> Option<Known> {
        let (origin, known) = self.kept.as_ref()?.of?;
        (stream.branch.is_none() && stream.origin == origin).then_some(known)
    }

    /// What was learned last, to go on with.
    pub(super) fn take_learned(&mut self) -> Option<Learned> {
        self.kept.take().map(|kept| kept.learned)
    }

    /// What was learned from a range of a peer.
    pub(super) fn keep_taken(&mut self, learned: Learned) {
        self.keep(Kept { learned, of: None });
    }

    /// A range that we coded.
    pub(super) fn take_coded(&mut self, coded: Coded) -> Range {
        let Coded { range, learned, work, busy_ms } = coded;
        self.speed.learn(work, busy_ms);
        let first = range.prefix.map_or(range.first, |(first, _)| first);
        let known = Known { first, last: range.last(), len: learned.bytes().len() };
        self.keep(Kept { learned, of: Some((range.origin, known)) });
        range
    }

    fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept).filter(|kept| kept.learned.bytes().len() <= PREFIX_LEN_MAX);
    }

    /// Nobody goes on with what was learned: its memory is free again.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// How fast this processor is, before anything is judged by it: as it was when we last talked with `peer`; else a sample is coded now, as much as
    /// takes long enough to be told, and no more than a range of some events.
    pub(super) fn know_speed(&mut self, peer: &Peer, clock: &dyn Clock) {
        if self.speed.seen().is_none() {
            self.speed = peer.link.own_speed.map_or_else(|| Self::seen_now(clock), Speed::known);
        }
    }

    /// The fastest of some pieces: whoever was interrupted in one is not slow.
    fn seen_now(clock: &dyn Clock) -> Speed {
        let mut sample = mix::Sample::new();
        let (mut fastest_ms, mut all_ms) = (u64::MAX, 0);
        for pieces in 1..=SAMPLE_PIECES {
            let began_ms = clock.monotonic_ms();
            sample.work(SAMPLE_LEN);
            let took_ms = clock.monotonic_ms().saturating_sub(began_ms);
            (fastest_ms, all_ms) = (fastest_ms.min(took_ms), all_ms + took_ms);
            if pieces > 1 && all_ms > SAMPLE_MS {
                break;
            }
        }
        // Who does a piece in hardly any time is at least as fast as is assumed: known, so that nobody samples again.
        Speed::known(if fastest_ms < MEASURABLE_MS { Speed::default().rate() } else { SAMPLE_LEN as u64 * 1000 / fastest_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::peers::Link;
    use std::cell::Cell;

    /// A processor so slow that each look at the clock is 100 ms after the one before.
    #[derive(Default)]
    struct Slow(Cell<u64>);

    impl Clock for Slow {
        fn now_ms(&self) -> u64 {
            self.monotonic_ms()
        }

        fn monotonic_ms(&self) -> u64 {
            self.0.set(self.0.get() + 100);
            self.0.get()
        }
    }

    #[test]
    fn a_slow_processor_is_known_before_its_first_range_and_a_second_process_need_not_look() {
        let (mut workshop, clock, stranger) = (Workshop::new().unwrap(), Slow::default(), Peer::default());
        workshop.know_speed(&stranger, &clock);
        assert_eq!(workshop.speed.seen(), Some(10 * SAMPLE_LEN as u64), "one piece in a tenth of a second");
        let known = Peer { link: Link { own_speed: workshop.speed.seen(), ..Link::default() }, ..Peer::default() };
        let (mut second, looked) = (Workshop::new().unwrap(), clock.0.get());
        second.know_speed(&known, &clock);
        assert_eq!((second.speed.seen(), clock.0.get()), (workshop.speed.seen(), looked));
    }

    #[test]
    fn who_does_the_sample_in_no_time_is_taken_to_be_as_fast_as_a_small_server() {
        let mut workshop = Workshop::new().unwrap();
        workshop.know_speed(&Peer::default(), &crate::ports::clock::FakeClock::default());
        assert_eq!(workshop.speed.seen(), Some(Speed::default().rate()), "and is not sampled again");
    }
}
