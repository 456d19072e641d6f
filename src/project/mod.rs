//! Project: what the events of a record come to.
//!
//! In: events as sets. Out: heads, states, what is waited for. Invariants: a function of the set (R11.1-d): order and repetition do not matter; nothing
//! is merged, nothing hidden. Not here: tables (`ports::projection`), reading the log (`node::projecting`), words for people.

pub mod fold;
