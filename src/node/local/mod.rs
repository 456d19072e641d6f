//! Beside a process that stays: how other commands reach the node it keeps, through a socket in the data directory.
//!
//! In: what a command wants of the node. Out: payloads taken and acknowledged by the process that keeps the node, or its word that we may open the
//! directory ourselves meanwhile (R10.9-c). Invariants: there are never two writers, for the flock alone says who writes and all words here only
//! arrange who takes it (R10.9-a); an ack comes after the sync that covers it (R10.9-b); what was sent and not answered before `Bye` was not taken
//! (R10.9-d). Not here: system calls (`ports::local`), options and words for people (`cli`).
//!
//! `words`: what is said, and its frames; `serve`: the end of the process that stays; `line`: the end of a command; `borrow`: opening the node
//! whoever keeps it; `through`: a push by way of the other process.

mod borrow;
mod line;
mod serve;
mod through;
mod words;

pub use borrow::{Reached, open_beside, reach};
pub use line::Line;
pub use serve::{Lines, Runner, listen, serve_control};
pub use through::Through;
pub use words::About;

#[cfg(test)]
mod tests;
