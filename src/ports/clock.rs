//! The wall clock. A Pi boots in 1970 and jumps when the network comes; nothing but display and stamps may depend on it.

use std::cell::Cell;

/// Tells the time.
pub trait Clock {
    /// Milliseconds since 1970 by the wall clock; whatever it says.
    fn now_ms(&self) -> u64;
    /// Milliseconds since some moment, never going back: for waits and rates.
    fn monotonic_ms(&self) -> u64;
}

/// A clock that stands where it is put.
#[derive(Debug, Default)]
pub struct FakeClock(pub Cell<u64>);

impl Clock for FakeClock {
    fn now_ms(&self) -> u64 {
        self.0.get()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.get()
    }
}
