//! How much work in codec 3 an end grants, takes and does: a budget per peer, and what the processor was seen to do. SPEC §7.3 (R7.3-l).

use crate::cut::choice::{Likeness, Terms};
use bundle_format::compress::Codec;
use bundle_format::limits::PREFIX_LEN_MAX;
use bundle_format::manifest::Granted;
use bundle_format::range::Range;

/// Bytes a second, where a sample took too little time to be measured: a small server does so many.
const SPEED_ASSUMED: u64 = 400_000;
/// Of all the work a processor can do, codec 3 gets a half.
const SHARE: u64 = 2;
/// What may be used at once after a pause: the longest range, and one more that is on its way.
const BURST: u64 = 2 * crate::cut::choice::WORK_MAX;
/// A measurement shorter than this says nothing.
const MEASURABLE_MS: u64 = 20;

/// How fast this processor works in codec 3.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed(Option<u64>);

impl Speed {
    /// As it was once seen.
    pub fn known(rate: u64) -> Self {
        Self(Some(rate.max(1)))
    }

    /// What was seen, if anything.
    pub fn seen(self) -> Option<u64> {
        self.0
    }

    /// Bytes a second, prefix and events together.
    pub fn rate(self) -> u64 {
        self.0.unwrap_or(SPEED_ASSUMED)
    }

    /// `work` bytes took so long.
    pub fn learn(&mut self, work: u64, took_ms: u64) {
        if took_ms >= MEASURABLE_MS {
            let seen = work.saturating_mul(1000) / took_ms;
            // Slower is believed sooner: who shares a busy processor is not told so, and each range that was expected too soon comes too late.
            self.0 = Some(self.0.map_or(seen, |rate| if seen < rate { rate.midpoint(seen) } else { (3 * rate + seen) / 4 }));
        }
    }

    /// What one of `peers` is granted.
    pub fn granted(self, peers: usize) -> Granted {
        Granted { work: self.rate() / SHARE / peers.max(1) as u64, speed: self.rate() }
    }
}

/// Work that is allowed now: it fills with time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance {
    granted: Granted,
    used: u64,
    at_ms: u64,
}

impl Allowance {
    /// Of what was granted, from now on.
    pub fn of(granted: Granted, now_ms: u64) -> Self {
        Self { granted, used: 0, at_ms: now_ms }
    }

    /// Bytes of work.
    pub fn left(&mut self, now_ms: u64) -> u64 {
        let fresh = now_ms.saturating_sub(self.at_ms).saturating_mul(self.granted.work) / 1000;
        (self.used, self.at_ms) = (self.used.saturating_sub(fresh), now_ms.max(self.at_ms));
        if self.granted.work == 0 { 0 } else { BURST.saturating_sub(self.used) }
    }

    /// As if so much time had passed.
    pub fn wait(&mut self, ms: u64) {
        self.at_ms = self.at_ms.saturating_sub(ms);
    }

    /// Use `work`; whether there was so much. Who takes allows a burst more than who sends uses, for the two clocks do not agree.
    pub fn take(&mut self, work: u64, now_ms: u64) -> bool {
        let enough = self.granted.work > 0 && self.left(now_ms) + BURST >= work && self.used < 2 * BURST;
        if enough {
            self.used += work;
        }
        enough
    }
}

/// What was sent in codec 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mixed {
    /// Ranges.
    pub ranges: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// Bytes less than zstd would have taken, as far as can be told without trying.
    pub saved: u64,
}

impl Mixed {
    /// Together with what another connection sent.
    pub fn add(&mut self, more: Self) {
        (self.ranges, self.bytes, self.saved) = (self.ranges + more.ranges, self.bytes + more.bytes, self.saved + more.saved);
    }
}

/// Codec 3 in one session, both ways.
#[derive(Debug, Default)]
pub struct Mixing {
    /// Work the peer takes from us, and we from it.
    gives: Allowance,
    pub(super) takes: Allowance,
    likeness: Likeness,
    /// The peer took none after all.
    pub(super) refused: bool,
    /// What went.
    pub mixed: Mixed,
}

impl Mixing {
    /// With a peer that granted so much when it was last heard.
    pub fn new(granted: Option<Granted>, now_ms: u64) -> Self {
        Self { gives: Allowance::of(granted.unwrap_or_default(), now_ms), ..Self::default() }
    }

    /// What the peer's hello grants.
    pub fn hear(&mut self, granted: Granted, now_ms: u64) {
        if self.gives.granted != granted {
            self.gives = Allowance::of(granted, now_ms);
        }
    }

    /// Take so much from the peer.
    pub fn grant(&mut self, granted: Granted, now_ms: u64) {
        self.takes = Allowance::of(granted, now_ms);
    }

    /// What it would cost on a link of `rate`; `None` when the peer does not take it (R7.3-l). `flying`: something is on its way; `last`: the last event
    /// that is to go.
    pub fn terms(&mut self, rate: Option<u64>, speed: Speed, (flying, last): (bool, u64), now_ms: u64) -> Option<Terms> {
        let rate = rate.filter(|_| !self.refused)?;
        let allowance = self.gives.left(now_ms);
        let (own_speed, peer_speed) = (speed.rate(), self.gives.granted.speed);
        (allowance > 0).then_some(Terms { rate, own_speed, peer_speed, allowance, flying, last, known: None, likeness: self.likeness })
    }

    /// As if something had been on its way for so long.
    pub fn wait(&mut self, ms: u64) {
        self.gives.wait(ms);
    }

    /// What `range`, which goes now, says of its like; and what it takes of the peer's time.
    pub fn sent(&mut self, range: &Range, now_ms: u64) {
        let (len, behind) = (range.data.len(), prefix_len(range));
        match range.codec {
            Codec::Stored => {}
            Codec::Zstd | Codec::Primed => self.likeness.learn(range.raw_len, len, None),
            Codec::Mixed => {
                self.gives.take((behind + range.raw_len) as u64, now_ms);
                self.likeness.learn(range.raw_len, len, Some(behind));
                let saved = self.likeness.primed_len(range.raw_len).saturating_sub(len as u64);
                self.mixed.add(Mixed { ranges: 1, bytes: len as u64, saved });
            }
        }
    }
}

/// About how many bytes of prefix a range has: its events are taken to be like those inside.
fn prefix_len(range: &Range) -> usize {
    let count = range.prefix.map_or(0, |(_, count)| usize::try_from(count).unwrap_or(usize::MAX));
    let mean_len = range.raw_len / usize::try_from(range.count).unwrap_or(usize::MAX).max(1);
    count.saturating_mul(mean_len).min(PREFIX_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_by_the_second_is_there_again_when_some_have_passed() {
        let mut allowance = Allowance::of(Granted { work: 1000, speed: 2000 }, 10_000);
        assert!(allowance.take(BURST, 10_000) && allowance.left(10_000) == 0);
        allowance.wait(5000);
        assert_eq!(allowance.left(10_000), 5000);
    }

    #[test]
    fn a_peer_gets_what_was_granted_and_no_more() {
        let mut allowance = Allowance::of(Granted { work: 1000, speed: 4000 }, 0);
        assert_eq!(allowance.left(0), BURST);
        let mut taken = 0;
        while allowance.take(10_000, 0) {
            taken += 10_000;
        }
        assert!((BURST..=3 * BURST).contains(&taken), "{taken}");
        assert!(!allowance.take(10_000, 1), "a moment is not enough");
        assert!(allowance.take(10_000, 10 * BURST), "time is");
        assert!(!Allowance::default().take(1, 1 << 40), "nothing was granted");
    }

    #[test]
    fn all_peers_together_get_half_of_the_processor() {
        let mut speed = Speed::default();
        speed.learn(1 << 20, 1);
        assert_eq!(speed.rate(), SPEED_ASSUMED, "too short to tell");
        speed.learn(500_000, 1000);
        for peers in [1, 3, 50, 400] {
            let granted = speed.granted(peers);
            assert!(granted.work * peers as u64 <= 250_000 && granted.speed == 500_000, "{peers}: {granted:?}");
        }
    }
}
