//! Bundles kept for later: early ones, ones of strangers, refused ones. Bounded; what is put out is forgotten, so that it is taken again.
//! (R6.3-f, R10.7-c)

use super::error::NodeError;
use super::waiting::{self, Waits};
use crate::ports::disk::{self, Disk, DiskFile, Kind, Open};
use bundle_format::error::Code;
use bundle_format::ids::hex;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Verified bundles that begin after a gap.
const EARLY_LEN_MAX: u64 = 256 << 20;
/// Bundles whose sender or signer is unknown.
const UNKNOWN_LEN_MAX: u64 = 16 << 20;
/// Refused bundles.
const QUARANTINE_LEN_MAX: u64 = 64 << 20;

/// A bounded folder of bundles, named by what decides who goes first when it is full.
pub struct Held {
    folder: PathBuf,
    len_max: u64,
    order: Order,
}

/// What keeping a copy came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A copy is there already, or none is wanted.
    Already,
    /// Copied now.
    Now {
        /// Others were put out for it.
        put_out: bool,
    },
    /// It cannot be read any more: a stick was pulled.
    Unreadable,
    /// Larger than all that may be kept.
    TooLarge {
        /// The bound.
        len_max: u64,
    },
}

/// Who goes first when there is no room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// What waits for the furthest position.
    Furthest,
    /// What came first.
    Oldest,
}

impl Held {
    /// The folder of bundles that begin after a gap.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), len_max: EARLY_LEN_MAX, order: Order::Furthest }
    }

    /// The folder of bundles whose sender or signer is unknown (R6.3-d).
    pub fn unknown_at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), len_max: UNKNOWN_LEN_MAX, order: Order::Oldest }
    }

    /// The folder of refused bundles.
    pub fn quarantine_at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), len_max: QUARANTINE_LEN_MAX, order: Order::Oldest }
    }

    /// Keep a copy of `source`, and what it waits for, beside it (R6.3-i). `rank` is the position it waits for, or for strangers and refused ones
    /// nothing: they are numbered as they come (R6.3-a).
    ///
    /// # Errors
    /// When our own disk fails.
    pub(super) fn keep(&self, disk: &dyn Disk, source: &dyn DiskFile, rank: u64, waits: &Waits) -> Result<Kept, NodeError> {
        let (kept, copy) = self.keep_named(disk, source, rank)?;
        copy.map_or(Ok(()), |path| waits.save(disk, &path))?;
        Ok(kept)
    }

    /// Keep a copy, and where the one made now is.
    fn keep_named(&self, disk: &dyn Disk, source: &dyn DiskFile, rank: u64) -> Result<(Kept, Option<PathBuf>), NodeError> {
        if source.len().is_ok_and(|len| len > self.len_max) {
            return Ok((Kept::TooLarge { len_max: self.len_max }, None));
        }
        let Ok((len, digest)) = read_through(source, &mut |_, _| Ok(())) else { return Ok((Kept::Unreadable, None)) };
        let kept = self.list(disk)?;
        if kept.iter().any(|path| path.to_string_lossy().ends_with(&format!("-{digest}.zb"))) {
            return Ok((Kept::Already, None));
        }
        let rank = if self.order == Order::Oldest { kept.last().map_or(0, |path| rank_of(path) + 1) } else { rank };
        let name = format!("{rank:016x}-{digest}.zb");
        let put_out = self.make_room(disk, len)?;
        Ok((Kept::Now { put_out }, Some(self.copy(disk, source, &name)?)))
    }

    /// Keep a copy of a refused bundle, and why, beside it (R6.3-h).
    ///
    /// # Errors
    /// When our own disk fails.
    pub fn keep_with_reason(&self, disk: &dyn Disk, source: &dyn DiskFile, from: &Path, code: Code, reason: &str) -> Result<Kept, NodeError> {
        let (kept, copy) = self.keep_named(disk, source, 0)?;
        if let Some(path) = copy.map(|path| path.with_extension("reason.json")) {
            let text = serde_json::json!({ "code": code.as_str(), "reason": reason, "file": from.to_string_lossy() }).to_string();
            disk::replace(disk, &path, text.as_bytes()).map_err(|error| NodeError::writing(&path, error))?;
        }
        Ok(kept)
    }

    /// Every bundle kept, nearest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self, disk: &dyn Disk) -> Result<Vec<PathBuf>, NodeError> {
        Ok(self.entries(disk)?.into_iter().map(|(path, _)| path).collect())
    }

    /// Every bundle kept, with its length.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn entries(&self, disk: &dyn Disk) -> Result<Vec<(PathBuf, u64)>, NodeError> {
        let fail = |error| NodeError::reading(&self.folder, error);
        if disk.look(&self.folder).map_err(fail)?.is_none() {
            return Ok(Vec::new());
        }
        let entries = disk.list(&self.folder).map_err(fail)?;
        let is_bundle = |path: &Path| path.extension().is_some_and(|extension| extension == "zb");
        Ok(entries.into_iter().filter(|entry| entry.kind == Kind::File && is_bundle(&entry.path)).map(|entry| (entry.path, entry.len)).collect())
    }

    /// Remove everything kept. Returns how many bundles.
    ///
    /// # Errors
    /// When our own disk fails.
    pub fn drop_all(&self, disk: &dyn Disk) -> Result<u64, NodeError> {
        let paths = self.list(disk)?;
        for path in &paths {
            remove(disk, path)?;
        }
        Ok(paths.len() as u64)
    }

    /// Put out what goes first until `len` fits; its digest goes with it, so it is taken again when it comes again (R6.3-g).
    fn make_room(&self, disk: &dyn Disk, len: u64) -> Result<bool, NodeError> {
        let mut entries = self.entries(disk)?;
        let before = entries.len();
        let mut used: u64 = entries.iter().map(|(_, len)| len).sum();
        while used + len > self.len_max {
            let first = if self.order == Order::Oldest { 0 } else { entries.len().saturating_sub(1) };
            if entries.is_empty() {
                break;
            }
            let (path, freed) = entries.remove(first);
            remove(disk, &path)?;
            used -= freed;
        }
        Ok(entries.len() < before)
    }

    fn copy(&self, disk: &dyn Disk, source: &dyn DiskFile, name: &str) -> Result<PathBuf, NodeError> {
        let target = self.folder.join(name);
        let temporary = self.folder.join(format!(".{name}.part"));
        let copied = (|| {
            disk.create_folder(&self.folder)?;
            if disk.look(&temporary)?.is_some() {
                disk.remove(&temporary)?;
            }
            let copy = disk.open(&temporary, Open::New)?;
            read_through(source, &mut |bytes, at| copy.write_at(bytes, at))?;
            copy.sync()?;
            disk.rename(&temporary, &target)?;
            disk.sync_folder(&self.folder)
        })();
        copied.map(|()| target.clone()).map_err(|error| NodeError::writing(&target, error))
    }
}

/// Remove a bundle that has nothing left to give, durably: one that came back would be counted as waiting until the next try.
///
/// # Errors
/// When our own disk fails.
pub(super) fn put_out(disk: &dyn Disk, path: &Path) -> Result<(), NodeError> {
    remove(disk, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder)).map_err(|error| NodeError::writing(path, error))
}

/// A bundle, and what stands beside it: the reason, or what it waits for.
fn remove(disk: &dyn Disk, path: &Path) -> Result<(), NodeError> {
    disk.remove(path).map_err(|error| NodeError::writing(path, error))?;
    for note in [path.with_extension("reason.json"), waiting::beside(path)] {
        if let Ok(Some(_)) = disk.look(&note) {
            disk.remove(&note).map_err(|error| NodeError::writing(&note, error))?;
        }
    }
    Ok(())
}

/// The number its name begins with.
fn rank_of(path: &Path) -> u64 {
    let digits = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.get(..16));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Read a file in pieces; its length and the first 16 bytes of its SHA-256 in hexadecimal.
fn read_through(file: &dyn DiskFile, take: &mut dyn FnMut(&[u8], u64) -> io::Result<()>) -> io::Result<(u64, String)> {
    let mut buffer = vec![0; 64 * 1024];
    let (mut at, mut sha) = (0, Sha256::new());
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok((at, hex(&sha.finalize()[..16])));
        }
        sha.update(&buffer[..read]);
        take(&buffer[..read], at)?;
        at += read as u64;
    }
}
