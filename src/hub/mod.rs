//! Hub: applications, monitors and people who come by HTTP to a node that stays.
//!
//! In: requests of our own user through a socket with a name, or by loopback TCP with a token. Out: events taken and told, how things stand.
//! Invariants: 201 only after the sync that covers it (R10.13-a); a reader of the feed misses nothing (R10.13-c); whatever is asked at once, memory
//! stays bounded. Not here: options and listening (`cli`), what a node can do (`node`).
//!
//! `gate`: who may ask; `routes`: which address means what; `taking`: events in; `feed`: events out; `tables`: the projection, kept in step; `records`,
//! `overview`: how records and the node stand; `page`: the same for people; `desk`: a conflict for a
//! person to decide; `answer`: what a response is.

pub mod answer;
pub mod desk;
pub mod differing;
pub mod feed;
pub mod gate;
pub mod object;
pub mod overview;
pub mod page;
mod patience;
pub mod records;
pub mod routes;
pub mod server;
pub mod tables;
pub mod taking;
pub mod telling;

pub use gate::Gate;
pub use server::{Hub, Line};
