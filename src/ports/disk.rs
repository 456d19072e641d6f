//! The disk: files, folders and the two syncs that order anything. A power cut keeps what was synced, and any part of the rest (R10.1-a).

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where a segment of a log ends on every real disk: what opening after a crash reads at most (R10.3-e).
pub const SEGMENT_LEN: u64 = 16 << 20;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading; never follows a link, never blocks on a FIFO, refuses what is no regular file.
    Read,
    /// For reading and writing; must exist.
    Write,
    /// A new file, mode 0600; must not exist.
    New,
}

/// What a folder entry is, itself, not what it points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, FIFO, device or socket: never opened.
    Other,
}

/// One entry of a folder, or one path looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Full path.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Bytes, for a regular file.
    pub len: u64,
    /// What else the look told.
    pub print: Print,
}

/// What a look at a file tells of it beside its length. Where it differs, the file may have changed; where it does not, R10.11-c.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Print {
    /// The file system it is on.
    pub device: u64,
    /// Its number there; FAT draws these anew at each mount.
    pub inode: u64,
    /// When its bytes were last written, nanoseconds since 1970 as somebody's clock said.
    pub modified_ns: i64,
    /// When anything about it last changed, by the clock of the machine it is on; FAT keeps none and repeats `modified_ns`.
    pub changed_ns: i64,
}

/// Who may read a file that holds a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// Nobody but us and the system; or it is the system's, and one group may read it.
    Kept,
    /// It is ours, and others may read it.
    Shared,
    /// It is the system's, and more than one group may read it.
    Published,
    /// It is another user's, of this number.
    Foreign(u32),
}

impl Privacy {
    /// What is to be mended before such a file may be used.
    pub fn fault(self) -> Option<String> {
        match self {
            Self::Kept => None,
            Self::Shared => Some("others can read it; make it readable by you alone (chmod 600)".to_owned()),
            Self::Published => Some("others can read it; as it is root's, at most one group may (chmod 640)".to_owned()),
            Self::Foreign(owner) => Some(format!("it belongs to another user, of the number {owner}: run this as that user")),
        }
    }
}

/// Held while this process is the writer; released when dropped, and by the kernel when the process dies.
pub trait Lock {}

/// Files, folders, syncs, the lock. Errors are the system's own.
#[expect(clippy::missing_errors_doc, reason = "every method fails as the system call under it fails")]
pub trait Disk {
    /// Open a regular file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>>;
    /// What stands at `path`, not following links; `None` when nothing does.
    fn look(&self, path: &Path) -> io::Result<Option<Entry>>;
    /// Who may read the secret at `path`; [`Privacy::Kept`] where files have no such rights.
    fn privacy(&self, path: &Path) -> io::Result<Privacy> {
        let _ = path;
        Ok(Privacy::Kept)
    }
    /// Whose the file at `path` is, by number, where what we make beside it would be another user's; `None` also where nothing stands there.
    fn foreign_owner(&self, path: &Path) -> io::Result<Option<u32>> {
        let _ = path;
        Ok(None)
    }
    /// Whether what stands at `path`, or where a link there leads, is a file that may be run; false where nothing stands.
    fn is_program(&self, path: &Path) -> io::Result<bool> {
        Ok(self.look(path)?.is_some())
    }
    /// Entries of a folder, sorted by name, not following links.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
    /// Like [`Disk::list`], only folders and what has a name that is `wanted`: the rest, however much it is, costs no look and no memory.
    fn list_wanted(&self, folder: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
        let keep = |entry: &Entry| entry.kind == Kind::Folder || entry.path.file_name().is_some_and(wanted);
        Ok(self.list(folder)?.into_iter().filter(keep).collect())
    }
    /// Make a folder (0700) and the parents it lacks, and make their names durable.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Let anybody look into `folder` and, if `all_write`, put files there, each touching only its own (R10.5-h). File systems that keep no rights have the
    /// mount's.
    fn share_folder(&self, folder: &Path, all_write: bool) {
        let _ = (folder, all_write);
    }
    /// Give a file another name in the same folder, replacing what stood there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Remove a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Make names in `folder` durable. A file system that cannot is not an error.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Flush the whole file system that `folder` is on (`syncfs`).
    fn sync_volume(&self, folder: &Path) -> io::Result<()>;
    /// Bytes free for us on the file system of `folder`.
    fn free_space(&self, folder: &Path) -> io::Result<u64>;
    /// How large the file system of `folder` is; 0 when that is not known.
    fn volume_len(&self, folder: &Path) -> io::Result<u64> {
        let _ = folder;
        Ok(0)
    }
    /// A segment of a log on this disk is sealed when it reaches this length. Worlds of small disks say less.
    fn segment_len(&self) -> u64 {
        SEGMENT_LEN
    }
    /// Which file system `folder` is on: equal numbers, one file system. It changes when a medium is pulled or mounted.
    fn volume(&self, folder: &Path) -> io::Result<u64>;
    /// Take the lock file at `path`, waiting up to `wait_ms`; `None` when another process keeps it.
    fn lock(&self, path: &Path, wait_ms: u64) -> io::Result<Option<Box<dyn Lock>>>;
}

/// One open regular file.
#[expect(clippy::missing_errors_doc, reason = "every method fails as the system call under it fails")]
pub trait DiskFile {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Read at `offset`; fewer bytes only at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Write all of `bytes` at `offset`, growing the file if needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cut or grow to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Make bytes and length durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Forget the cached pages, so that the next read asks the medium.
    fn drop_cache(&self) -> io::Result<()>;
    /// Let anybody read it (R10.5-h). File systems that keep no rights have the mount's.
    fn share(&self) {}
}

/// One open file with several readers.
impl DiskFile for Rc<dyn DiskFile> {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (**self).write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        (**self).set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }

    fn drop_cache(&self) -> io::Result<()> {
        (**self).drop_cache()
    }

    fn share(&self) {
        (**self).share();
    }
}

/// Whether an error says that this user has no right to do that. A medium that fails says "not permitted" (`EPERM`) too, so that does not count.
pub fn is_denied(error: &io::Error) -> bool {
    const EACCES: i32 = 13;
    error.raw_os_error() == Some(EACCES)
}

/// Sync, and after a failure forget the cached pages: the system holds them for stored then, and whoever opens the file next, in this process or another,
/// would be shown what no medium has, and a second sync would say that it has (R10.1-b, R10.4-d).
///
/// # Errors
/// What the sync says.
pub fn sync_or_forget(file: &dyn DiskFile) -> io::Result<()> {
    file.sync().inspect_err(|_| file.drop_cache().unwrap_or(())) // the first error is the one to tell
}

/// Read a whole small file; `None` when it is not there. Longer than `len_max` is an error.
///
/// # Errors
/// What the disk says; `InvalidData` above `len_max`.
pub fn read_small(disk: &dyn Disk, path: &Path, len_max: usize) -> io::Result<Option<Vec<u8>>> {
    if disk.look(path)?.is_none() {
        return Ok(None);
    }
    let file = disk.open(path, Open::Read)?;
    let len = usize::try_from(file.len()?).ok().filter(|len| *len <= len_max);
    let mut bytes = vec![0; len.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "larger than such a file can be"))?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Put `bytes` at `path` so that a power cut leaves the old file or the new one: temporary file, fsync, rename, fsync of the folder (R10.2-d).
///
/// # Errors
/// What the disk says; the temporary file is removed then.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let temporary = folder.join(format!(".{}.tmp", name.to_string_lossy()));
    if disk.look(&temporary)?.is_some() {
        disk.remove(&temporary)?; // left by a power cut
    }
    let written = (|| {
        let file = disk.open(&temporary, Open::New)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        disk.rename(&temporary, path)?;
        disk.sync_folder(folder)
    })();
    if written.is_err() && disk.look(&temporary).is_ok_and(|entry| entry.is_some()) {
        disk.remove(&temporary).unwrap_or(()); // the first error is the one to tell
    }
    written
}
