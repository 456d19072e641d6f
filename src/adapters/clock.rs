//! The machine's clocks.

use crate::ports::Clock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The wall clock, whatever it says, and a monotonic one counted from when it was made.
#[derive(Debug)]
pub struct OsClock {
    made: Instant,
}

impl OsClock {
    /// Starts counting.
    pub fn new() -> Self {
        Self { made: Instant::now() }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for OsClock {
    fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(); // before 1970 counts as 1970
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
