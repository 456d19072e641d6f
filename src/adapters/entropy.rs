//! The kernel's random numbers.

use crate::ports::Entropy;

/// `getrandom`.
#[derive(Clone, Copy, Debug)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("a kernel without random numbers cannot hold keys");
    }
}
