//! Hybrid logical clock: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16. SPEC §3.3.
//!
//! It serves display and tie-breaks; never identity, dedupe, expiry or trust.

/// One stamp. Grows along an origin whatever the wall clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The stamp after `self` at wall clock `now_ms`: `max(now_ms << 16, self + 1)`.
    #[must_use]
    pub fn tick(self, now_ms: u64) -> Self {
        Self((now_ms.min(u64::MAX >> 16) << 16).max(self.0.saturating_add(1)))
    }

    /// The wall-clock part, milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_steps_back_never_takes_the_stamps_back() {
        let first = Hlc(0).tick(2_000);
        let second = first.tick(1_000);
        assert!(second > first);
        assert_eq!(second.ms(), 2_000);
        assert_eq!(second.tick(3_000).ms(), 3_000);
    }
}
