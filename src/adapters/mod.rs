//! The only OS calls. No decisions: each function is the system call its port names, and its errors are the system's.
#![allow(clippy::disallowed_methods, reason = "this is the room where the world is asked")]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod calls;
mod clock;
mod confine;
mod entropy;
mod fs;
mod hook;
mod input;
mod local;
mod net;
mod signals;
mod sqlite;
mod terminal;
mod watch;

use crate::ports::Ports;
use crate::ports::projection::{Projection, ProjectionError};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use clock::OsClock;
pub use confine::{Confined, Files, Talks, confine};
pub use entropy::OsEntropy;
pub use fs::OsDisk;
pub use hook::{Messenger, ask_program, run_program};
pub use input::OsInput;
pub use local::OsLocal;
pub use net::OsNetwork;
pub use signals::asked_to_end;
pub use sqlite::SqliteProjection;
pub use terminal::read_hidden_line;
pub use watch::OsHints;

/// The real world.
pub fn os_ports() -> Ports {
    Ports { disk: Rc::new(OsDisk), clock: Rc::new(OsClock::new()), entropy: Rc::new(OsEntropy), net: Rc::new(OsNetwork), local: Rc::new(OsLocal) }
}

/// Tables in a SQLite file, made if it is not there. Another's lock on it is waited for as long as `patience`.
///
/// # Errors
/// [`ProjectionError`].
pub fn open_tables(path: &Path, payloads: bool, patience: Duration) -> Result<Box<dyn Projection>, ProjectionError> {
    Ok(Box::new(SqliteProjection::open(path, payloads)?.patient(patience)?))
}
