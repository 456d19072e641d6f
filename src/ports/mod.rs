//! What the world does for us, as traits: disk, clock, entropy, store. Each has a plain in-memory twin for tests and the simulator.
//!
//! Nothing here decides anything. The real ones live in `adapters` (and `wal`, which implements [`store::Store`]).

pub mod clock;
pub mod disk;
pub mod entropy;
pub mod store;

pub use clock::Clock;
pub use disk::{Disk, DiskFile};
pub use entropy::Entropy;
pub use store::{Log, Store};
