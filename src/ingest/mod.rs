//! Ingest: open → verify → admit → append, one rule for every path. SPEC §6.
//!
//! In: verified ranges (`bundle_format::open` makes them, nothing else can). Out: events in the log, and a verdict people can read.
//! Invariants: overlap is compared by digest, never skipped by number (R6.2-a); nothing stored is ever overwritten; a stream grows only
//! behind a checkpoint that verified (R6.2-c); a crash between any two steps is a harmless replay. Not here: files and folders (`node`).

pub mod admit;
pub mod apply;
mod rot;
#[cfg(test)]
mod tests;

pub use admit::{Meeting, Verdict, admit};
pub use apply::{Applied, Within, apply, apply_within};
