//! One integration binary: the real rooms on the real disk, in temporary folders.
#![allow(clippy::disallowed_methods, reason = "tests arrange files as people would")]

mod world;

mod authority;
mod begun;
mod beside;
mod chance;
mod claims;
mod closings;
mod conflicts;
mod damage;
mod feed;
mod fixtures;
mod folding;
mod hop;
mod hop_hostile;
mod hop_idle;
mod hop_lives;
mod hop_meanwhile;
mod hop_members;
mod hop_mixed;
mod hop_restored;
mod hop_turns;
mod hostile;
mod lab;
mod lent;
mod many;
mod members;
mod mend;
mod project;
mod rekeyed;
mod restored;
mod rot;
mod rot_own;
mod rotted;
mod settling;
mod short;
mod side_by_side;
mod stick;
mod stick_blind;
mod stick_pulled;
mod succession;
mod waiting;
mod walk;
mod watch_ledger;
