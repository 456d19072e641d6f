//! What the world does for us, as traits: disk, clock, entropy, network, other processes, store. Each has a plain in-memory twin for tests and the
//! simulator.
//!
//! Nothing here decides anything. The real ones live in `adapters` (and `wal`, which implements [`store::Store`]).

pub mod clock;
pub mod disk;
pub mod entropy;
pub mod hints;
pub mod input;
pub mod local;
pub mod memory_disk;
pub mod memory_store;
pub mod net;
pub mod projection;
pub mod store;
pub mod stream;

use std::rc::Rc;

pub use clock::Clock;
pub use disk::{Disk, DiskFile, Lock};
pub use entropy::Entropy;
pub use hints::Hints;
pub use input::Input;
pub use local::Local;
pub use memory_disk::MemoryDisk;
pub use net::{MemoryNetwork, Network};
pub use store::{Log, Store};

/// The whole world, handed to the rooms by whoever starts them.
#[derive(Clone)]
pub struct Ports {
    /// Files and folders.
    pub disk: Rc<dyn Disk>,
    /// The wall clock.
    pub clock: Rc<dyn Clock>,
    /// Random bytes.
    pub entropy: Rc<dyn Entropy>,
    /// Streams to other machines.
    pub net: Rc<dyn Network>,
    /// Other processes of our user.
    pub local: Rc<dyn Local>,
}
