//! From options to an open node: which directory, which key, who waits for whom.

use super::halt::{Halt, halts_on};
use super::{Context, ask, escape, read_hidden_line, units};
use crate::keys::{Keyring, KeysError, Secret};
use crate::node::layout::Layout;
use crate::node::local::{self, About, Reached, Through, open_beside};
use crate::node::record::Rotted;
use crate::node::standing::Standing;
use crate::node::{Node, NodeError, Opening, View, require_node};
use crate::ports::store::Finding;
use crate::ports::{Ports, disk};
use bundle_format::error::Code;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A passphrase is typed or written on the first line of a small file.
const PASSPHRASE_FILE_LEN_MAX: usize = 4096;

halts_on!(NodeError, KeysError, crate::push::PushError);

impl Context {
    /// The node's directory.
    pub fn data_dir(&self) -> PathBuf {
        self.globals.data_dir.clone().or_else(home).unwrap_or_else(|| PathBuf::from("zbundle"))
    }

    /// Nobody's home is the folder in which a command happens to be run: a stick, perhaps.
    pub fn refuse_homeless(&self) -> Result<(), Halt> {
        let known = self.globals.data_dir.is_some() || home().is_some();
        if known { Ok(()) } else { Err(Halt::new(Code::Z101, "HOME is not set: name the node's directory with --data-dir")) }
    }

    /// The key file: named, or beside the data directory.
    pub fn key_file(&self) -> PathBuf {
        self.globals.key_file.clone().unwrap_or_else(|| Secret::default_key_file(&self.data_dir()))
    }

    /// Open the node for writing, on a lease when a process stays and keeps it, and say what opening found.
    pub fn node(&mut self) -> Result<Node, Halt> {
        let (data_dir, secret) = (self.data_dir(), self.unlocking()?.secret()?);
        let opening = Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: self.globals.lock_wait };
        let node = open_beside(&self.ports, &opening)?;
        self.tell_findings(&node)?;
        Ok(node)
    }

    /// Open the node for writing, to stay: it is ours alone, and other processes come to us.
    pub fn standing(&mut self) -> Result<Rc<Standing>, Halt> {
        let (data_dir, secret) = (self.data_dir(), self.unlocking()?.secret()?);
        let opening = Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: self.globals.lock_wait };
        let node = Node::open(&self.ports, &opening)?;
        self.tell_findings(&node)?;
        Ok(Standing::new(self.ports.clone(), data_dir, secret, node))
    }

    /// The node, or the line to the process that keeps it.
    pub fn reach(&mut self) -> Result<(Reached, Secret), Halt> {
        let (data_dir, secret) = (self.data_dir(), self.unlocking()?.secret()?);
        let reached = local::reach(&self.ports, &Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: self.globals.lock_wait })?;
        if let Reached::Node(node) = &reached {
            self.tell_findings(node)?;
        }
        Ok((reached, secret))
    }

    fn tell_findings(&mut self, node: &Node) -> Result<(), Halt> {
        self.rotted.borrow_mut().push(node.rotted().clone());
        for finding in node.findings() {
            match finding {
                Finding::TornTail { bytes } => self.console.warn(Code::Z304, &format!("{bytes} bytes"))?,
                Finding::Hole { segment, offset, bytes, .. } => self.console.warn(Code::Z301, &place(*segment, *offset, *bytes))?,
                Finding::Short { segment, offset } => self.console.warn(Code::Z301, &short(*segment, *offset))?,
                Finding::Index { segment } => self.console.warn(Code::Z301, &format!("the index of segment {segment}; it was rebuilt in memory"))?,
            }
        }
        self.tell_rotted()
    }

    /// Open the node for reading.
    pub fn view(&self) -> Result<View, Halt> {
        let view = View::open(&self.ports, &self.data_dir(), &self.unlocking()?.secret()?)?;
        self.rotted.borrow_mut().push(view.rotted().clone());
        Ok(view)
    }

    /// Say which memories beside the log have rotted, and what that costs.
    pub fn tell_rotted(&mut self) -> Result<(), Halt> {
        let found: BTreeSet<PathBuf> = self.rotted.borrow().iter().flat_map(Rotted::take).collect();
        for path in found {
            let cost = if path.ends_with("state") {
                "a new number series begins, and forks that were closed by hand are shown again"
            } else if path.parent().is_some_and(|folder| folder.ends_with("places")) {
                "what lies on that stick or folder may be written there twice"
            } else {
                "what that member has is asked again, its address must be told again, and a day's budget counts as spent today"
            };
            self.console.warn(Code::Z308, &format!("{}; {cost}", escape::plain_path(&path)))?;
        }
        Ok(())
    }

    /// Say of a log that is read what damage nobody has answered yet: what lies in it is not shown, nor what stands behind it. How many places.
    pub fn tell_damage(&mut self, view: &View) -> Result<u64, Halt> {
        let mut count = 0;
        for finding in view.findings() {
            let text = match finding {
                Finding::Hole { segment, offset, bytes, .. } => {
                    format!("{}; later records appear after the next push", place(*segment, *offset, *bytes))
                }
                Finding::Short { segment, offset } => short(*segment, *offset),
                Finding::TornTail { .. } | Finding::Index { .. } => continue,
            };
            self.console.warn(Code::Z301, &text)?;
            count += 1;
        }
        Ok(count)
    }

    /// Leave what reading has found of rot for the next exchange, which asks for it.
    pub fn note_rot(&mut self, view: &View) -> Result<(), Halt> {
        match view.note_rot() {
            Err(error) => self.console.warn(error.code(), &format!("what is missing could not be noted for the next exchange: {error}")),
            Ok(()) => Ok(()),
        }
    }

    /// A push by way of the process that keeps the node, if one does. Its keys are not needed for that, but a name that was given must be right.
    pub fn through(&self, about: About) -> Result<Option<Through>, Halt> {
        for path in self.globals.key_file.iter().chain(&self.globals.passphrase_file) {
            let look = self.ports.disk.look(path).map_err(|error| Halt::from(NodeError::reading(path, error)))?;
            if look.is_none() {
                return Err(Halt::new(Code::Z602, format!("no key file at {}", escape::plain_path(path))));
            }
        }
        Ok(Through::begin(&self.ports, self.data_dir(), self.globals.lock_wait, about, self.asks_secret()?)?)
    }

    /// A push to `node`, which is let go of whenever nothing comes.
    pub fn through_own(&self, node: Node, about: About) -> Result<Through, Halt> {
        Ok(Through::on(&self.ports, self.data_dir(), self.globals.lock_wait, about, self.asks_secret()?, node)?)
    }

    fn asks_secret(&self) -> Result<Box<dyn Fn() -> Result<Secret, NodeError>>, Halt> {
        let unlocking = self.unlocking()?;
        Ok(Box::new(move || unlocking.secret().map_err(Halt::into_refusal)))
    }

    fn unlocking(&self) -> Result<Unlocking, Halt> {
        self.refuse_homeless()?;
        let passphrase_file = self.globals.passphrase_file.clone();
        Ok(Unlocking { ports: self.ports.clone(), data_dir: self.data_dir(), key_file: self.key_file(), passphrase_file })
    }

    /// What will lock the keyring of a new node: a passphrase, or a key file, made if it is not there.
    pub fn new_secret(&self, passphrase: bool) -> Result<Secret, Halt> {
        if let Some(path) = &self.globals.passphrase_file {
            return passphrase_from(&self.ports, path);
        }
        if !passphrase {
            return Ok(Secret::make_key_file(&*self.ports.disk, &self.key_file(), &*self.ports.entropy)?);
        }
        let ask = |prompt| typed(prompt).unwrap_or_else(|| Err(Halt::new(Code::Z108, "give --passphrase-file")));
        let (Secret::Passphrase(first), Secret::Passphrase(second)) = (ask("New passphrase: ")?, ask("Once more: ")?) else {
            return Err(Halt::new(Code::Z100, "a passphrase was asked for"));
        };
        if first != second {
            return Err(Halt::new(Code::Z603, "the two passphrases differ"));
        }
        Ok(Secret::Passphrase(first))
    }
}

/// Where a node lives when nobody says.
fn home() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let share = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    share.map(|share| share.join("zbundle"))
}

/// What is missing at the end of a log.
pub fn short(segment: u32, offset: u64) -> String {
    format!("log/{segment:08}.seg is gone, or ends before byte {offset}, which it had reached: what stood there is missing here")
}

/// Where a hole is, in plain words.
fn place(segment: u32, offset: u64, bytes: u64) -> String {
    format!("segment {segment}, {} at byte {offset}", units::size(bytes))
}

/// What opening the keyring takes, by itself: a push by way of another process needs it late or never.
struct Unlocking {
    ports: Ports,
    data_dir: PathBuf,
    key_file: PathBuf,
    passphrase_file: Option<PathBuf>,
}

impl Unlocking {
    /// What opens the keyring. No node is told before a missing key is.
    fn secret(&self) -> Result<Secret, Halt> {
        let layout = Layout::new(&self.data_dir);
        require_node(&self.ports, &layout)?;
        let (disk, keyring) = (&*self.ports.disk, layout.keyring());
        match &self.passphrase_file {
            Some(path) => passphrase_from(&self.ports, path),
            None if Keyring::wants_passphrase(disk, &keyring) == Some(true) => match typed("Passphrase: ") {
                Some(secret) => secret,
                None => Err(Halt::new(Code::Z601, "this node is kept by a passphrase; give --passphrase-file")),
            },
            None => Ok(Secret::read_key_file(disk, &self.key_file)?),
        }
    }
}

fn passphrase_from(ports: &Ports, path: &Path) -> Result<Secret, Halt> {
    let name = escape::plain_path(path);
    let bytes = disk::read_small(&*ports.disk, path, PASSPHRASE_FILE_LEN_MAX);
    let bytes = bytes.map_err(|error| Halt::new(Code::Z603, format!("{name}: {error}")))?;
    let bytes = zeroize::Zeroizing::new(bytes.ok_or_else(|| Halt::new(Code::Z602, name.clone()))?);
    let privacy = ports.disk.privacy(path).map_err(|error| Halt::new(Code::Z603, format!("{name}: {error}")))?;
    if let Some(fault) = privacy.fault() {
        return Err(Halt::new(Code::Z603, format!("{name}: {fault}")));
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(Secret::passphrase(line.strip_suffix(b"\r").unwrap_or(line).to_vec())?)
}

/// A passphrase typed unseen; `None` when nobody is there to type it.
fn typed(prompt: &str) -> Option<Result<Secret, Halt>> {
    let line = ask::hidden(prompt, read_hidden_line)?;
    Some(line.and_then(|line| Ok(Secret::passphrase(line.as_bytes().to_vec())?)))
}
