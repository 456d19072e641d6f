//! Small files of the node beside its log: CBOR and a CRC-32, replaced whole. SPEC §10.2 (R10.2-c).

use crate::ports::disk::{self, Disk};
use bundle_format::cbor::CborError;
use bundle_format::error::Code;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A vector of 50 000 origins and room.
const RECORD_LEN_MAX: usize = 8 << 20;

/// Why a small file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The disk said no.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// The checksum does not fit, or the content is not what belongs there.
    #[error("{} is damaged", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Its checksum says so; else it is of a form that is not known here, of a later version perhaps.
        rotten: bool,
    },
}

/// A memory of the node, as its file is found.
#[derive(Debug)]
pub enum Recalled<T> {
    /// There is none.
    Nothing,
    /// Its bytes have rotted.
    Rotten,
    /// As it was written.
    Whole(T),
}

/// Memories of a node that were found rotten: for whoever tells people, once. Copies share what they hold.
#[derive(Clone, Debug, Default)]
pub struct Rotted(Rc<RefCell<BTreeSet<PathBuf>>>);

impl Rotted {
    /// The file at `path` has rotted.
    pub fn note(&self, path: &Path) {
        self.0.borrow_mut().insert(path.to_owned());
    }

    /// Which files, since this was asked last.
    pub fn take(&self) -> BTreeSet<PathBuf> {
        self.0.take()
    }
}

impl RecordError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { error, .. } if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Code::Z203,
            Self::Io { .. } => Code::Z202,
            Self::Damaged { .. } => Code::Z307,
        }
    }
}

/// Name the file in the system's error.
///
/// # Errors
/// The error, named.
pub fn io<T>(path: &Path, result: io::Result<T>) -> Result<T, RecordError> {
    result.map_err(|error| RecordError::Io { path: path.to_owned(), error })
}

/// Read the record at `path`; `None` when there is none (R10.2-e).
///
/// # Errors
/// [`RecordError`].
pub fn load<T>(disk: &dyn Disk, path: &Path, read: impl FnOnce(&[u8]) -> Result<T, CborError>) -> Result<Option<T>, RecordError> {
    let damaged = |rotten| RecordError::Damaged { path: path.to_owned(), rotten };
    let Some(bytes) = io(path, disk::read_small(disk, path, RECORD_LEN_MAX))? else { return Ok(None) };
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged(true))?;
    if crc32fast::hash(body).to_be_bytes() != *crc {
        return Err(damaged(true));
    }
    read(body).map(Some).map_err(|_| damaged(false))
}

/// Read the memory at `path`, which stops nobody when it has rotted (R10.2-j).
///
/// # Errors
/// [`RecordError`]; of damage, only of a form that is not known.
pub fn recall<T>(disk: &dyn Disk, path: &Path, read: impl FnOnce(&[u8]) -> Result<T, CborError>) -> Result<Recalled<T>, RecordError> {
    match load(disk, path, read) {
        Err(RecordError::Damaged { rotten: true, .. }) => Ok(Recalled::Rotten),
        Err(error) => Err(error),
        Ok(None) => Ok(Recalled::Nothing),
        Ok(Some(memory)) => Ok(Recalled::Whole(memory)),
    }
}

/// Keep a copy of what has rotted beside it, before it is made anew.
///
/// # Errors
/// [`RecordError::Io`].
pub fn put_aside(disk: &dyn Disk, path: &Path) -> Result<(), RecordError> {
    let aside = path.with_extension("damaged");
    let bytes = io(path, disk::read_small(disk, path, RECORD_LEN_MAX))?.unwrap_or_default();
    io(&aside, disk::replace(disk, &aside, &bytes))
}

/// Put `body` at `path` durably.
///
/// # Errors
/// [`RecordError::Io`].
pub fn save(disk: &dyn Disk, path: &Path, body: &[u8]) -> Result<(), RecordError> {
    if let Some(folder) = path.parent() {
        io(folder, disk.create_folder(folder))?;
    }
    let bytes = [body, &crc32fast::hash(body).to_be_bytes()].concat();
    io(path, disk::replace(disk, path, &bytes))
}
