//! Bytes that come in from a person or a program: a file they name, or standard input.

use std::io::Read;

/// An input read from front to back.
pub trait Input: Read {
    /// Whether the next read returns at once, be it with the end. A file always does.
    fn ready(&mut self) -> bool;
    /// The same within so long.
    fn ready_within(&mut self, _wait_ms: u64) -> bool {
        self.ready()
    }
}

impl Input for &[u8] {
    fn ready(&mut self) -> bool {
        true
    }
}
