//! Where things lie in a data directory. SPEC §10.2.

use std::path::{Path, PathBuf};

/// The paths of one node.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The node in `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The data directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The lock of the one writer.
    pub fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    /// Where the process that keeps the node hears the others.
    pub fn control(&self) -> PathBuf {
        self.root.join("ctl.sock")
    }

    /// Where applications of our user are heard, unless another place is named.
    pub fn http(&self) -> PathBuf {
        self.root.join("http.sock")
    }

    /// What whoever comes by TCP must show.
    pub fn http_token(&self) -> PathBuf {
        self.root.join("http.token")
    }

    /// The node's secrets, wrapped.
    pub fn keyring(&self) -> PathBuf {
        self.root.join("keyring")
    }

    /// What the node remembers beside its log.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Which bundles were taken and what watched files looked like: a cache.
    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// What of the log is known to have rotted.
    pub fn rotten(&self) -> PathBuf {
        self.root.join("rotten")
    }

    /// The log as tables.
    pub fn index(&self) -> PathBuf {
        self.root.join("index.db")
    }

    /// What a person has set.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Segments.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// One small file per peer.
    pub fn peers(&self) -> PathBuf {
        self.root.join("peers")
    }

    /// One small file per stick or shared folder that was exchanged with.
    pub fn places(&self) -> PathBuf {
        self.root.join("places")
    }

    /// Verified bundles that begin after a gap.
    pub fn held(&self) -> PathBuf {
        self.root.join("held")
    }

    /// Bundles whose sender or signer we do not know yet.
    pub fn held_unknown(&self) -> PathBuf {
        self.held().join("unknown")
    }

    /// Bundles that were refused, with the reason.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The key file that goes with this directory unless another is named: beside it, never inside.
    pub fn default_key_file(&self) -> PathBuf {
        let mut name = self.root.file_name().unwrap_or_default().to_owned();
        name.push(".key");
        self.root.with_file_name(name)
    }
}
