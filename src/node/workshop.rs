//! Compressing and decompressing, one of each for all sessions of a process.

use super::error::NodeError;
use super::mixing::Speed;
use crate::cut::CutError;
use bundle_format::compress::{Compressor, Decompressor};
use bundle_format::range::RangeError;

/// Compressing and decompressing, shared by all sessions of a process: contexts are large and sessions many.
#[derive(Debug)]
pub struct Workshop {
    pub(super) compressor: Compressor,
    pub(super) decompressor: Decompressor,
    /// What this processor does in codec 3. A model lives while its range is coded: there is never more than one.
    pub(super) speed: Speed,
}

impl Workshop {
    /// A new one; takes memory at its first use.
    ///
    /// # Errors
    /// [`NodeError`] when there is none.
    pub fn new() -> Result<Self, NodeError> {
        let none = |error| NodeError::from(CutError::from(RangeError::from(error)));
        Ok(Self { compressor: Compressor::new().map_err(none)?, decompressor: Decompressor::new().map_err(none)?, speed: Speed::default() })
    }
}
