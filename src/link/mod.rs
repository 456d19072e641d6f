//! Link: two nodes that can reach each other over a network, and know to whom they speak. SPEC §7.
//!
//! In: a stream of bytes from `ports::net`. Out: the same stream, secret, with the proven key of who is at the other end; and the conversation on it.
//! Invariants: no byte of ours passes before the peer has proved a key; a revoked key gets no further than the handshake; every wait ends.
//! Not here: who the key belongs to and what it may see (`node`), what is said (`carry`), sockets (`adapters`).

pub mod drive;
pub mod error;
pub mod first;
pub mod home;
pub mod tls;

pub use drive::{Broken, Drive, Ended, Terms};
pub use error::{LinkError, explain};
pub use first::Begun;
pub use home::{Answer, Cut, Due, Greeting, Home, Refusal, Room};
pub use tls::{Profile, Revoked, Secured};
