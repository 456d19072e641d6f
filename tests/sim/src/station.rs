//! One machine: a card, a clock, luck of its own, and the node on the card.

use crate::carrying::lay;
use crate::disk::Mounts;
use crate::wire::{Cable, Ticker, WrongClock};
use bundle_format::ids::{Name, NodeId};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zbundle::keys::Secret;
use zbundle::node::{Node, NodeError, Opening, View};
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::local::Nobody;
use zbundle::ports::{MemoryDisk, Ports};
use zbundle::wal::{DataKeys, WalReader};

/// Where the node is on its card.
pub const NODE: &str = "/node";
const KEY: &str = "/node.key";
/// When the world begins: late in 2026.
pub const BEGIN_MS: u64 = 1_795_000_000_000;

/// What all machines share.
#[derive(Clone)]
pub struct Around {
    /// Sticks, by number.
    pub sticks: Rc<Vec<MemoryDisk>>,
    /// Time.
    pub ticker: Rc<Ticker>,
    /// The network.
    pub cable: Cable,
}

/// One machine.
pub struct Station {
    /// What people call the machine.
    pub name: String,
    /// Which member it is.
    pub member: usize,
    /// Its id.
    pub id: NodeId,
    /// Its card.
    pub card: MemoryDisk,
    /// How wrong its clock is.
    pub zero_ms: Rc<Cell<u64>>,
    /// Where its random bytes come from.
    pub entropy: Rc<SeededEntropy>,
    /// The keys of its log, once they were read: they never change.
    pub log_keys: RefCell<Option<DataKeys>>,
    /// The key file, on a medium that never fails.
    key_file: RefCell<Option<MemoryDisk>>,
    around: Around,
}

impl Station {
    /// A machine with this card, which holds a node already or will.
    pub fn new(name: String, member: usize, id: NodeId, card: MemoryDisk, luck: u64, around: &Around) -> Self {
        let (zero_ms, entropy) = (Rc::new(Cell::new(BEGIN_MS)), Rc::new(SeededEntropy(Cell::new(luck))));
        Self { name, member, id, card, zero_ms, entropy, log_keys: RefCell::default(), key_file: RefCell::default(), around: around.clone() }
    }

    /// The world as this machine sees it.
    pub fn ports(&self) -> Ports {
        self.ports_on(&self.card)
    }

    fn ports_on(&self, card: &MemoryDisk) -> Ports {
        Ports {
            disk: Rc::new(Mounts { card: card.clone(), sticks: Rc::clone(&self.around.sticks) }),
            clock: Rc::new(WrongClock { ticker: Rc::clone(&self.around.ticker), zero_ms: Rc::clone(&self.zero_ms) }),
            entropy: Rc::clone(&self.entropy) as Rc<_>,
            net: Rc::new(self.around.cable.clone()),
            local: Rc::new(Nobody),
        }
    }

    /// What unlocks the node.
    ///
    /// # Panics
    /// Never: the key file is made with the machine, and no fault is planned while it is read.
    pub fn secret(&self) -> Secret {
        let mut medium = self.key_file.borrow_mut();
        let medium = medium.get_or_insert_with(|| {
            let copy = MemoryDisk::new();
            lay(&copy, Path::new(KEY), &self.card.bytes(Path::new(KEY)).expect("the key file was made with the machine"));
            copy
        });
        Secret::read_key_file(medium, Path::new(KEY)).expect("what was made as a key file is one")
    }

    /// Make the node.
    ///
    /// # Errors
    /// What the node says.
    pub fn init(&self, name: &Name, authority: bool) -> Result<Node, NodeError> {
        let ports = self.ports();
        let secret = Secret::make_key_file(&*ports.disk, Path::new(KEY), &*ports.entropy)?;
        ports.disk.sync_folder(Path::new("/")).map_err(|error| NodeError::writing(Path::new("/"), error))?;
        Node::init(&ports, &Opening { data_dir: Path::new(NODE), secret: &secret, lock_wait_ms: 0 }, name, authority)
    }

    /// Open the node for writing.
    ///
    /// # Errors
    /// What the node says.
    pub fn open(&self) -> Result<Node, NodeError> {
        Node::open(&self.ports(), &Opening { data_dir: Path::new(NODE), secret: &self.secret(), lock_wait_ms: 0 })
    }

    /// The node as a reader finds it now.
    ///
    /// # Errors
    /// What the node says.
    pub fn view(&self) -> Result<View, NodeError> {
        View::open(&self.ports(), Path::new(NODE), &self.secret())
    }

    /// What a reader would find if the power went now and nothing unsynced were lucky.
    ///
    /// # Errors
    /// What the node says.
    pub fn durable_view(&self) -> Result<View, NodeError> {
        View::open(&self.ports_on(&self.card.durable()), Path::new(NODE), &self.secret())
    }

    /// The log as a reader would find it on this card, which is a durable copy; without the node around it, whose keys take long to unwrap.
    ///
    /// # Errors
    /// What the node says.
    pub fn log_on(&self, card: &MemoryDisk) -> Result<WalReader, NodeError> {
        let mut keys = self.log_keys.borrow_mut();
        let keys = match &mut *keys {
            Some(keys) => keys,
            none => {
                let view = self.durable_view()?;
                let (id, key) = view.keyring().data_keys().current();
                none.insert(DataKeys::new(id, *key))
            }
        };
        Ok(WalReader::open(Rc::new(card.clone()), &Path::new(NODE).join("log"), keys)?)
    }

    /// The folder of a stick, as it is mounted here.
    pub fn stick(number: usize) -> PathBuf {
        PathBuf::from(format!("{}/{number}", crate::disk::STICKS))
    }
}
