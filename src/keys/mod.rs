//! Keys: who we are, whom we trust, and the key at rest.
//!
//! In: random bytes and a place on disk for our own secrets; roster events, request and join files from others. Out: our keys, the members of
//! the domain with their standing and what each may see, names for people's screens. Invariants: nothing secret is ever printed or left readable
//! by others; a wrong key changes no byte; folding a roster never stops, whatever it holds. Not here: where the roster's bytes come from (`wal`,
//! `ingest`), who is asked for a passphrase (`cli`).

pub mod branches;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fixture_disk;
pub mod join;
pub mod keyring;
pub mod lock;
pub mod member;
pub mod naming;
pub mod policy;
mod reading;
pub mod request;
pub mod roster;
pub mod roster_event;
pub mod secrets;
mod sight;
pub mod standing;
pub mod succession;
mod trust;
pub mod words;

pub use branches::Entry;
pub use join::{Join, JoinError};
pub use keyring::{Joined, Keyring};
pub use lock::{KeysError, Lock, Secret};
pub use member::{Member, MemberKey, Pin};
pub use policy::Policy;
pub use request::{Request, RequestError};
pub use roster::{Refused, Roster, RosterError};
pub use roster_event::{Keep, RosterEvent};
pub use secrets::{DataKeys, NodeKeys};
pub use standing::{Bound, EventStanding, Standing};
pub use words::Words;
