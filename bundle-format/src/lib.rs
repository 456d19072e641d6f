//! The words and bytes of zbundle: whatever another node must agree with. No files, sockets, clocks, randomness of its own, threads or logging.
//!
//! The words come first (`ids`, `hlc`, `event`, `chain`, `checkpoint`, `vector`, `range`, `manifest`), then the onion from the inside out
//! (`cbor`, `sign`, `compress`, `envelope`, `seal`, `open`), then what binds them all (`limits`, `error`). SPEC.md tells every byte.

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod cbor;
pub mod chain;
pub mod checkpoint;
pub mod compress;
pub mod envelope;
pub mod error;
pub mod event;
pub mod hlc;
pub mod hpke;
pub mod ids;
pub mod limits;
pub mod logs;
pub mod manifest;
pub mod message;
pub mod mix;
pub mod open;
pub mod range;
pub mod seal;
pub mod sign;
pub mod trust;
pub mod vector;
