//! Carry: move bundles whose inside nobody here can read.
//!
//! In: a finished bundle, or a folder somebody carried. Out: a file under its final name that is proved to be on the medium, or the list of
//! files worth opening. Invariants: a final name stands only on a whole, re-read, synced file (R10.5-a); nothing we did not write is ever changed.
//! Not here: opening (`ingest`), choosing (`cut`).

pub mod drop_folder;
pub mod exchange;
pub mod finding;
pub mod pace;
pub mod stick;
pub mod watch;
