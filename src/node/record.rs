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
/// Behind it.
const CRC_LEN: usize = 4;

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
    let bytes = match disk::read_small(disk, path, RECORD_LEN_MAX) {
        Err(error) if is_too_long(&error) => return Err(damaged(true)),
        bytes => io(path, bytes)?,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    let (body, crc) = bytes.split_last_chunk::<CRC_LEN>().ok_or_else(|| damaged(true))?;
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

/// What [`disk::read_small`] says of a file that is longer.
fn is_too_long(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Keep a copy of what has rotted beside it, before it is made anew; what is too long for a copy is itself put there.
///
/// # Errors
/// [`RecordError::Io`].
pub fn put_aside(disk: &dyn Disk, path: &Path) -> Result<(), RecordError> {
    let aside = path.with_extension("damaged");
    match disk::read_small(disk, path, RECORD_LEN_MAX) {
        Err(error) if is_too_long(&error) => io(path, disk.rename(path, &aside)),
        bytes => io(&aside, disk::replace(disk, &aside, &io(path, bytes)?.unwrap_or_default())),
    }
}

/// Put `body` at `path` durably.
///
/// # Errors
/// [`RecordError::Io`], also for what could not be read again.
pub fn save(disk: &dyn Disk, path: &Path, body: &[u8]) -> Result<(), RecordError> {
    if body.len() > RECORD_LEN_MAX - CRC_LEN {
        return io(path, Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than such a file can be")));
    }
    if let Some(folder) = path.parent() {
        io(folder, disk.create_folder(folder))?;
    }
    let bytes = [body, &crc32fast::hash(body).to_be_bytes()].concat();
    io(path, disk::replace(disk, path, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::MemoryDisk;
    use bundle_format::cbor::Reader;

    /// R10.2-j: it was written, and then no command could read it.
    #[test]
    fn what_could_not_be_read_again_is_not_written_and_what_is_too_long_has_rotted() {
        let (disk, path) = (MemoryDisk::new(), Path::new("/node/state"));
        let mut body = vec![0; RECORD_LEN_MAX - CRC_LEN];
        save(&disk, path, &body).unwrap();
        assert!(matches!(recall(&disk, path, |_| Ok(())), Ok(Recalled::Whole(()))));
        body.push(0);
        assert_eq!(save(&disk, path, &body).unwrap_err().code(), Code::Z202);
        assert_eq!(disk.bytes(path).unwrap().len(), RECORD_LEN_MAX, "what was there stays");
        disk.edit(path, |bytes| bytes.push(0));
        assert!(matches!(recall(&disk, path, |bytes| Reader::new(bytes).finish()), Ok(Recalled::Rotten)));
        put_aside(&disk, path).unwrap();
        assert_eq!((disk.bytes(path), disk.bytes(Path::new("/node/state.damaged")).unwrap().len()), (None, RECORD_LEN_MAX + 1));
    }
}
