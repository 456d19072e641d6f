//! Files by std and rustix. Nothing here follows a link at the end of a path, waits on a FIFO or reads a device.

use crate::ports::disk::{Disk, DiskFile, Entry, Kind, Lock, Open, Print, Privacy};
use rustix::fs::{Advice, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a taken lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// File systems that keep no rights, by their numbers in `statfs`: FAT and exFAT. Asking for a `chmod` there would ask for the impossible.
const WITHOUT_RIGHTS: [u64; 2] = [0x4d44, 0x2011_bab0];

/// The machine's file systems.
#[derive(Clone, Copy, Debug)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let flags = match how {
            Open::Read => OFlags::RDONLY,
            Open::Write => OFlags::RDWR,
            Open::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(descriptor) => File::from(descriptor),
            Err(Errno::LOOP) => return Err(not_regular()), // a link: looked at as what it is, not as what it points at
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.is_file() { Ok(Box::new(OsFile(file))) } else { Err(not_regular()) }
    }

    fn look(&self, path: &Path) -> io::Result<Option<Entry>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(entry(path.to_owned(), &metadata))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The rule databases have for key files: ours and nobody else's, or root's and at most readable by its group (that is how systemd lends a
    /// credential: its access list shows as group rights).
    fn privacy(&self, path: &Path) -> io::Result<Privacy> {
        let file_system = u64::try_from(rustix::fs::statfs(path)?.f_type);
        if file_system.is_ok_and(|number| WITHOUT_RIGHTS.contains(&number)) {
            return Ok(Privacy::Kept);
        }
        let metadata = fs::symlink_metadata(path)?;
        let others_may = |mask| metadata.mode() & mask != 0;
        Ok(match metadata.uid() {
            0 if !others_may(0o037) => Privacy::Kept,
            owner if owner == rustix::process::geteuid().as_raw() => {
                if others_may(0o077) {
                    Privacy::Shared
                } else {
                    Privacy::Kept
                }
            }
            0 => Privacy::Published,
            owner => Privacy::Foreign(owner),
        })
    }

    /// Tried where the numbers differ: on FAT, on network file systems that map users and in the folders of virtual machines a new file is not ours.
    fn foreign_owner(&self, path: &Path) -> io::Result<Option<u32>> {
        let owner = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?.uid(),
        };
        let is_ours = owner == rustix::process::geteuid().as_raw() || owner_of_new(parent(path)) == Some(owner);
        Ok((!is_ours).then_some(owner))
    }

    fn is_program(&self, path: &Path) -> io::Result<bool> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(metadata.is_file() && metadata.mode() & 0o111 != 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        looked_at(folder, &|_| true, None)
    }

    fn list_wanted(&self, folder: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<Entry>> {
        looked_at(folder, &|found| found.file_type().is_ok_and(|kind| kind.is_dir()) || wanted(&found.file_name()), Some(Kind::Other))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => self.sync_folder(parent(folder)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.parent().is_some() => {
                self.create_folder(parent(folder))?;
                DirBuilder::new().mode(0o700).create(folder)?;
                self.sync_folder(parent(folder))
            }
            Err(error) => Err(error),
        }
    }

    fn share_folder(&self, folder: &Path, all_write: bool) {
        let mode = if all_write { 0o1777 } else { 0o755 };
        if let Ok(folder) = open_folder(folder) {
            rustix::fs::fchmod(folder, Mode::from_raw_mode(mode)).unwrap_or(()); // FAT has no rights to give
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        match rustix::fs::fsync(open_folder(folder)?) {
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()), // FUSE and network file systems that cannot
            Err(error) => Err(error.into()),
        }
    }

    fn sync_volume(&self, folder: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(open_folder(folder)?)?)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        let volume = rustix::fs::fstatvfs(open_folder(folder)?)?;
        if volume.f_blocks == 0 {
            return Ok(u64::MAX); // a file system that does not know its size, as some FUSE and network ones do: not one without room
        }
        Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
    }

    fn volume_len(&self, folder: &Path) -> io::Result<u64> {
        let volume = rustix::fs::fstatvfs(open_folder(folder)?)?;
        Ok(volume.f_blocks.saturating_mul(volume.f_frsize))
    }

    fn volume(&self, folder: &Path) -> io::Result<u64> {
        Ok(fs::metadata(folder)?.dev())
    }

    fn lock(&self, path: &Path, wait_ms: u64) -> io::Result<Option<Box<dyn Lock>>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
        let deadline = Instant::now() + Duration::from_millis(wait_ms);
        if !flock(&file, deadline)? {
            return Ok(None);
        }
        // The file's name may be removed, and the next one made under it is another file. What holds the log holds its folder too.
        let folder = File::from(open_folder(parent(path))?);
        match flock(&folder, deadline) {
            Ok(false) => Ok(None),
            Err(error) if !is_beyond_folders(error) => Err(error.into()),
            Ok(true) | Err(_) => Ok(Some(Box::new(OsLock { _file: file, _folder: folder }))),
        }
    }
}

/// Take the flock of what is open, by `deadline`; whether it was free by then.
fn flock(file: &File, deadline: Instant) -> rustix::io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether this is what a file system says that locks files and no folders: NFS makes of a flock a lock that asks for a descriptor to write to.
fn is_beyond_folders(error: Errno) -> bool {
    matches!(error, Errno::BADF | Errno::INVAL | Errno::ISDIR | Errno::NOLCK | Errno::NOSYS | Errno::NOTSUP)
}

/// Flocks of a file and of the folder it stands in; the kernel lets go of them when they are closed, whoever dies.
struct OsLock {
    _file: File,
    _folder: File,
}

impl Lock for OsLock {}

struct OsFile(File);

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.0.read_at(&mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn drop_cache(&self) -> io::Result<()> {
        match rustix::fs::fadvise(&self.0, 0, None, Advice::DontNeed) {
            Ok(()) | Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(()), // advice a file system may not take
            Err(error) => Err(error.into()),
        }
    }

    fn share(&self) {
        rustix::fs::fchmod(&self.0, Mode::from_raw_mode(0o644)).unwrap_or(()); // FAT has no rights to give
    }
}

pub(super) fn open_folder(folder: &Path) -> io::Result<rustix::fd::OwnedFd> {
    Ok(rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The folder that names `path`; a bare name stands in the current one.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whose a file is that we make in `folder`; `None` where we may not make one.
fn owner_of_new(folder: &Path) -> Option<u32> {
    let trial = folder.join(format!(".owner-{}.tmp", std::process::id()));
    OsDisk.open(&trial, Open::New).ok()?;
    let made = fs::symlink_metadata(&trial).ok().map(|metadata| metadata.uid());
    fs::remove_file(&trial).ok()?;
    made
}

/// Entries of a folder that are `wanted`, sorted; what nobody wants is not looked at. What cannot be looked at is `unseen`, or an error.
fn looked_at(folder: &Path, wanted: &dyn Fn(&fs::DirEntry) -> bool, unseen: Option<Kind>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for found in fs::read_dir(folder)? {
        let found = found?;
        if !wanted(&found) {
            continue;
        }
        let path = found.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) => entries.push(entry(path, &metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // gone since: as if never seen
            Err(error) => {
                let kind = unseen.ok_or(error)?; // one bad entry of a damaged stick hides nothing beside it
                entries.push(Entry { path, kind, len: 0, print: Print::default() });
            }
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn entry(path: PathBuf, metadata: &fs::Metadata) -> Entry {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Folder,
        _ => Kind::Other,
    };
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    let print = Print {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    };
    Entry { path, kind, len: if kind == Kind::File { metadata.len() } else { 0 }, print }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::disk::{read_small, replace};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn only_regular_files_are_opened_and_nothing_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("plain"), b"abc").unwrap();
        symlink(at("plain"), at("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for name in ["link", "fifo", "."] {
            assert_eq!(OsDisk.open(&at(name), Open::Read).err().unwrap().kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        let mut bytes = [0; 8];
        assert_eq!(OsDisk.open(&at("plain"), Open::Read).unwrap().read_at(&mut bytes, 1).unwrap(), 2);
        let kinds: Vec<_> = OsDisk.list(dir.path()).unwrap().into_iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [Kind::Other, Kind::Other, Kind::File]);
    }

    /// On a damaged FAT a look at an entry fails; here its path is longer than a path may be.
    #[test]
    fn an_entry_that_cannot_be_looked_at_hides_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut deep = dir.path().to_owned();
        while deep.as_os_str().len() < 3900 {
            deep.push("d".repeat(100));
            fs::create_dir(&deep).unwrap();
        }
        let long = format!("{}.zb", "n".repeat(240));
        let inside = open_folder(&deep).unwrap();
        for name in ["b.zb", long.as_str()] {
            rustix::fs::openat(&inside, name, OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        }
        let found: Vec<_> = OsDisk.list_wanted(&deep, &|_| true).unwrap().into_iter().map(|entry| (entry.path, entry.kind)).collect();
        assert_eq!(found, [(deep.join("b.zb"), Kind::File), (deep.join(&long), Kind::Other)]);
        assert!(OsDisk.list(&deep).is_err(), "of our own folders nothing is passed over");
    }

    /// R10.2-b.
    #[test]
    fn what_we_make_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        OsDisk.create_folder(&folder).unwrap();
        OsDisk.create_folder(&folder).unwrap();
        replace(&OsDisk, &folder.join("f"), b"one").unwrap();
        replace(&OsDisk, &folder.join("f"), b"two").unwrap();
        assert_eq!(read_small(&OsDisk, &folder.join("f"), 9).unwrap().unwrap(), b"two");
        assert_eq!(OsDisk.list(&folder).unwrap().len(), 1, "no temporary file stays");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("f"))), (0o700, 0o600));
        OsDisk.sync_volume(&folder).unwrap();
        assert!(OsDisk.free_space(&folder).unwrap() > 0);
    }

    /// R10.5-h.
    #[test]
    fn what_travels_is_for_anybody_to_carry_and_for_nobody_else_to_take_away() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("zbundle"), dir.path().join("zbundle/a.zb"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        OsDisk.create_folder(&folder).unwrap();
        OsDisk.open(&file, Open::New).unwrap().share();
        OsDisk.share_folder(&folder, true);
        assert_eq!((mode(&folder), mode(&file)), (0o1777, 0o644), "whatever the umask");
        OsDisk.share_folder(&folder, false);
        assert_eq!(mode(&folder), 0o755);
    }

    #[test]
    fn a_file_others_may_read_is_not_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, b"secret").unwrap();
        let is_root = rustix::process::geteuid().is_root(); // whose files a group may read
        for (mode, private) in [(0o600, true), (0o400, true), (0o640, is_root), (0o604, false), (0o620, false), (0o644, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(OsDisk.privacy(&path).unwrap(), if private { Privacy::Kept } else { Privacy::Shared }, "{mode:o}");
        }
    }

    /// R10.2-k.
    #[test]
    fn what_is_ours_or_is_not_there_has_no_foreign_owner_and_no_trial_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keyring");
        assert_eq!(OsDisk.foreign_owner(&path).unwrap(), None);
        fs::write(&path, b"keys").unwrap();
        assert_eq!(OsDisk.foreign_owner(&path).unwrap(), None);
        assert_eq!(owner_of_new(dir.path()), Some(rustix::process::geteuid().as_raw()));
        assert_eq!(OsDisk.list(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = OsDisk.lock(&path, 0).unwrap();
        assert!(held.is_some());
        assert!(OsDisk.lock(&path, 50).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        assert!(OsDisk.lock(&path, 50).unwrap().is_none(), "whatever becomes of its name");
        drop(held);
        assert!(OsDisk.lock(&path, 0).unwrap().is_some());
    }
}
