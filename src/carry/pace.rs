//! How much to send at a time, learned from acknowledgements. Pure. SPEC §7.6.
//!
//! A range should take about a second of the link, so that something urgent never waits long behind it; what is on its way should last about two, so
//! that the link never stands idle while an acknowledgement travels, and little is sent again when it breaks.

/// The first range: small, for nothing is known of the link yet (R7.6-a).
const FIRST_LEN: u64 = 2 * 1024;
/// The largest range aimed at.
const RANGE_LEN_MAX: u64 = 64 * 1024;
/// On its way at once, at most, whatever the link can take: what is lost when it breaks.
const FLIGHT_LEN_MAX: u64 = 256 * 1024;
/// A range takes this long on the link …
const RANGE_MS: u64 = 1000;
/// … and everything on its way this long (R7.6-b).
const FLIGHT_MS: u64 = 2000;
/// This much may always be on its way: two seconds of 2G, which with less would stand idle before its rate is known.
const FLIGHT_LEN_MIN: u64 = 3 * FIRST_LEN;

/// A memory of so many times the rate that is seen is forgotten.
const STRANGE: u64 = 4;

/// What is known of one direction of a link.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes aimed at for the next range.
    range_len: u64,
    /// Bytes a second, once something was acknowledged.
    rate: Option<u64>,
    /// That is what another connection has seen.
    remembered: bool,
    /// … which broke, and this one may break as early.
    careful: bool,
    /// Smallest time seen between a message and its answer.
    round_trip_ms: u64,
    last_ack_ms: u64,
    /// What was acknowledged on this connection.
    acked_len: u64,
    /// What was acknowledged since `sample_ms`, while something was on its way without a pause.
    sampled: u64,
    sample_ms: u64,
}

impl Pace {
    /// A new link of which `rate` bytes a second are remembered, and whose round trip was measured while it was made.
    pub fn new(rate: Option<u64>, round_trip_ms: u64) -> Self {
        let remembered = rate.map_or(FIRST_LEN, |rate| rate.saturating_mul(RANGE_MS) / 1000);
        let range_len = remembered.clamp(FIRST_LEN, 8 * FIRST_LEN); // a memory may be of another network: not too bold
        Self { range_len, rate, remembered: rate.is_some(), careful: false, round_trip_ms, last_ack_ms: 0, acked_len: 0, sampled: 0, sample_ms: 0 }
    }

    /// The same after a connection that broke: a first range must be small enough to pass, and little is on its way before it has.
    pub fn after_a_break(rate: Option<u64>, round_trip_ms: u64) -> Self {
        Self { range_len: FIRST_LEN, careful: true, ..Self::new(rate, round_trip_ms) }
    }

    /// Bytes a second, as far as known.
    pub fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// The same as far as this connection has shown it, by as much as a first range aims at: a memory may be wrong, and what a short range shows is how long
    /// the node at the other end took.
    pub fn shown_rate(&self) -> Option<u64> {
        self.rate.filter(|_| self.acked_len >= FIRST_LEN)
    }

    /// The time from a message to its answer on a link that carries nothing else.
    pub fn round_trip_ms(&self) -> u64 {
        self.round_trip_ms
    }

    /// How long `len` bytes take, as far as known.
    pub fn time_ms(&self, len: u64) -> u64 {
        self.rate.map_or(0, |rate| len.saturating_mul(1000) / rate.max(1))
    }

    /// Bytes to aim at for the next range.
    pub fn range_len(&self) -> u64 {
        self.range_len
    }

    /// Bytes that may be on their way at once.
    pub fn flight_len(&self) -> u64 {
        let by_rate = self.rate.filter(|_| !self.careful).map_or(FLIGHT_LEN_MIN, |rate| rate.saturating_mul(FLIGHT_MS + self.round_trip_ms) / 1000);
        by_rate.max(2 * self.range_len).clamp(FLIGHT_LEN_MIN, FLIGHT_LEN_MAX)
    }

    /// A range of `len` bytes, sent at `sent_ms`, was acknowledged.
    pub fn acked(&mut self, len: u64, sent_ms: u64, now_ms: u64) {
        let flown_ms = now_ms.saturating_sub(sent_ms);
        self.round_trip_ms = self.round_trip_ms.min(flown_ms); // a first packet that was lost made it look longer than it is
        // What was sent while the one before was still on its way took the link from that one's acknowledgement on.
        let alone = self.last_ack_ms <= sent_ms;
        let began_ms = if alone { sent_ms + self.round_trip_ms.min(flown_ms / 4 * 3) } else { self.last_ack_ms };
        if alone {
            (self.sampled, self.sample_ms) = (0, began_ms);
        }
        self.sampled += len;
        let took_ms = now_ms.saturating_sub(self.sample_ms).max(1);
        let seen = self.sampled.saturating_mul(1000) / took_ms;
        // A memory that is far off is of another network. It rises at once and falls slowly: where both directions are full, acknowledgements wait behind data, and who took that for a slower link
        // would send less, and so find it slower still.
        self.rate = Some(match self.rate {
            Some(rate) if self.remembered && seen < rate / STRANGE => seen,
            Some(rate) if seen < rate => (7 * rate.min(u64::MAX / 8) + seen) / 8,
            Some(rate) => rate.midpoint(seen),
            None => seen,
        });
        self.rate = self.rate.map(|rate| rate.max(1));
        (self.remembered, self.careful) = (false, false);
        self.last_ack_ms = now_ms;
        self.acked_len = self.acked_len.saturating_add(len);
        if self.sampled > 4 * self.flight_len() {
            (self.sampled, self.sample_ms) = (0, now_ms); // a long memory would not see the link change
        }
        let goal = self.rate.map_or(self.range_len, |rate| rate.saturating_mul(RANGE_MS) / 1000).clamp(FIRST_LEN, RANGE_LEN_MAX);
        self.range_len = goal.min(2 * self.range_len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Send ranges over a line of `rate` bytes a second with `round_trip_ms`, as many at once as may be; the pace at the end.
    fn on_a_line(rate: u64, round_trip_ms: u64, ranges: usize) -> Pace {
        let mut pace = Pace::new(None, round_trip_ms);
        let (mut now_ms, mut line_free_ms) = (0, 0_u64);
        let mut flying = std::collections::VecDeque::<(u64, u64, u64)>::new();
        for _ in 0..ranges {
            while flying.iter().map(|(len, ..)| *len).sum::<u64>() + pace.range_len() <= pace.flight_len() || flying.is_empty() {
                let len = pace.range_len();
                line_free_ms = line_free_ms.max(now_ms) + len * 1000 / rate;
                flying.push_back((len, now_ms, line_free_ms + round_trip_ms));
            }
            let (len, sent_ms, acked_ms) = flying.pop_front().unwrap();
            now_ms = acked_ms;
            pace.acked(len, sent_ms, now_ms);
        }
        pace
    }

    /// Rate, next range, what may be on its way, round trip.
    fn figures(pace: &Pace) -> (Option<u64>, u64, u64, u64) {
        (pace.rate(), pace.range_len(), pace.flight_len(), pace.round_trip_ms())
    }

    /// What each acknowledgement teaches, worked out by hand from R7.6-a to R7.6-c.
    #[test]
    fn the_figures_are_those_of_the_page() {
        for (remembered, begins) in
            [(None, (2048, 6144)), (Some(8000), (8000, 20_800)), (Some(1), (2048, 6144)), (Some(1_000_000), (16_384, 262_144))]
        {
            let pace = Pace::new(remembered, 600);
            assert_eq!(figures(&pace), (remembered, begins.0, begins.1, 600));
        }
        let mut pace = Pace::new(None, 600);
        for ((len, sent_ms, now_ms), rate, range_len, flight_len) in [
            ((2048, 0, 1600), 2048, 2048, 6144),          // a second, after the round trip
            ((4096, 1700, 2800), 5120, 4096, 13_312),     // 8192 seen; twice as long at most
            ((4096, 2850, 3650), 12_800, 8192, 33_280),   // 20 480 seen, for three quarters of its flight are no work of the line's
            ((4096, 2900, 4250), 12_480, 12_480, 32_448), // both together 10 240
        ] {
            pace.acked(len, sent_ms, now_ms);
            assert_eq!(figures(&pace), (Some(rate), range_len, flight_len, 600), "{now_ms}");
        }
        assert_eq!((pace.time_ms(6240), Pace::new(None, 600).time_ms(6240)), (500, 0));
        let mut lost_packet = Pace::new(None, 3200);
        lost_packet.acked(2048, 0, 1312);
        assert_eq!(figures(&lost_packet), (Some(6243), 4096, 20_676, 1312));
        lost_packet.acked(0, 1400, 100_000);
        assert_eq!(lost_packet.rate(), Some(5462));
        let mut nothing = Pace::new(None, 600);
        nothing.acked(0, 0, 1600);
        assert_eq!((nothing.rate(), nothing.time_ms(3)), (Some(1), 3000));
    }

    /// A memory of four times what is seen and more is forgotten, once.
    #[test]
    fn a_memory_is_strange_from_four_times_on() {
        for (len, rate) in [(2000, 7250), (1999, 1999)] {
            let mut pace = Pace::new(Some(8000), 600);
            pace.acked(len, 0, 1600);
            assert_eq!(pace.rate(), Some(rate));
        }
        let mut pace = Pace::new(Some(8000), 600);
        pace.acked(2000, 0, 1600);
        pace.acked(100, 1600, 3200);
        assert_eq!(pace.rate(), Some(6356), "it is no memory any more");
        let mut broke = Pace::after_a_break(Some(8000), 600);
        assert_eq!(figures(&broke), (Some(8000), 2048, 6144, 600));
        broke.acked(8000, 0, 1600);
        assert_eq!(figures(&broke), (Some(8000), 4096, 20_800, 600), "the first range has passed");
    }

    /// R7.6-g: a short range that waited for a busy node showed three bytes a second, and nothing had time any more.
    #[test]
    fn a_rate_is_shown_by_as_much_as_a_first_range() {
        for remembered in [None, Some(3), Some(30_000)] {
            let mut pace = Pace::new(remembered, 600);
            assert_eq!(pace.shown_rate(), None, "{remembered:?}");
            pace.acked(48, 0, 16_600);
            assert_eq!((pace.rate(), pace.shown_rate()), (Some(3), None), "{remembered:?}");
            pace.acked(2000, 16_600, 18_200);
            assert_eq!(pace.shown_rate(), pace.rate(), "{remembered:?}");
        }
    }

    /// What is on its way without a pause is measured together, until it is four times what may be on its way.
    #[test]
    fn a_long_stream_is_measured_in_stretches() {
        for (ranges, rate) in [(12, 2029), (13, 1920)] {
            let mut pace = Pace::new(None, 600);
            (0..ranges).for_each(|nth| pace.acked(2048, nth, 1600 + 1000 * nth));
            assert_eq!(pace.rate(), Some(2048));
            pace.acked(2048, 500, 1600 + 1000 * (ranges - 1) + 2000);
            assert_eq!(pace.rate(), Some(rate), "a range that took two seconds, behind {ranges}");
        }
    }

    #[test]
    fn a_range_takes_about_a_second_of_the_link() {
        for (rate, round_trip_ms) in [(2875, 600), (2875, 50), (8000, 1200), (30_000, 600), (60_000, 3000)] {
            let pace = on_a_line(rate, round_trip_ms, 150);
            let seen = pace.rate().unwrap();
            assert!((rate * 7 / 10..=rate * 13 / 10).contains(&seen), "{rate} B/s, {round_trip_ms} ms: {seen}");
            let second = rate.clamp(FIRST_LEN, RANGE_LEN_MAX);
            assert!((second * 7 / 10..=second * 13 / 10).contains(&pace.range_len()), "{rate}: {}", pace.range_len());
            assert!(pace.flight_len() >= rate * round_trip_ms / 1000, "the link is never idle");
        }
    }

    #[test]
    fn a_round_trip_that_was_taken_too_long_does_not_make_a_slow_link_look_fast() {
        let mut pace = Pace::new(None, 3200); // the first packet was lost
        pace.acked(2048, 0, 600 + 712);
        assert!(pace.rate().unwrap() < 8000, "{:?}", pace.rate());
        pace.acked(2048, 0, 600 + 1424);
        assert!(pace.rate().unwrap() < 6000, "{:?}", pace.rate());
        (2..12).for_each(|nth| pace.acked(2048, 600 + 712 * nth - 1424, 600 + 712 * (nth + 1)));
        assert!((2000..4500).contains(&pace.rate().unwrap()), "{:?}", pace.rate());
    }

    #[test]
    fn a_memory_of_another_network_is_forgotten_and_a_good_one_is_not() {
        for (remembered, want) in [(2_000_000, 2000..4500), (8000, 5000..8000)] {
            let mut pace = Pace::new(Some(remembered), 600);
            pace.acked(2048, 0, 600 + 712); // 2G
            assert!(want.contains(&pace.rate().unwrap()), "{remembered}: {:?}", pace.rate());
        }
        let broke = Pace::after_a_break(Some(30_000), 600);
        assert_eq!((broke.range_len(), broke.rate()), (FIRST_LEN, Some(30_000)));
        assert_eq!(broke.flight_len(), Pace::new(None, 600).flight_len());
    }

    #[test]
    fn a_fast_link_is_used_and_a_first_range_is_small() {
        let pace = on_a_line(10_000_000, 1, 60);
        assert_eq!((pace.range_len(), pace.flight_len()), (65_536, 262_144));
        assert_eq!(Pace::new(None, 600).range_len(), FIRST_LEN);
        assert!(Pace::new(Some(u64::MAX), 600).range_len() <= 8 * FIRST_LEN);
    }
}
