//! Hints from inotify and from the kernel's list of mounts.
//!
//! Asked of the kernel itself and not through a crate: those know no word for an unmount, keep a thread, and pass a lost queue on as one event of
//! many. A watch keeps no descriptor in the folder, so it never stands in the way of an unmount.

use crate::ports::hints::{Hint, Hints, NextHint};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{Mode, OFlags};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What any of the ways to bring a file ends with, the start of a new one, and the end of the folder itself. Not MODIFY: a large copy would give
/// thousands, and each of these ends with a CLOSE.
const WANTED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// File systems on which others write without our kernel seeing it, by their numbers in `statfs`: NFS, SMB of both generations, CIFS, FUSE, 9p, AFS,
/// Ceph, Coda, GFS2, Lustre, OCFS2, virtiofs (which is FUSE).
const BLIND: [u64; 12] = [
    0x6969,
    0x517b,
    0xfe53_4d42,
    0xff53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x5346_414f,
    0x00c3_6400,
    0x7375_7245,
    0x0116_1970,
    0x0bd0_0bd0,
    0x7461_636f,
];
/// Room for some hundred events at a time.
const BUFFER_LEN: usize = 8 * 1024;

/// The machine's hints.
pub struct OsHints {
    events: AsyncFd<OwnedFd>,
    /// `/proc/self/mountinfo`, which is ready with priority when it has changed.
    mounts: Option<AsyncFd<OwnedFd>>,
    watched: RefCell<BTreeMap<i32, usize>>,
    waiting: RefCell<VecDeque<Hint>>,
}

impl OsHints {
    /// Inside the runtime that waits for the hints.
    ///
    /// # Errors
    /// When the system's limit on such queues is reached.
    #[expect(
        deprecated,
        reason = "the caller must see to it that the descriptor stays what it is; an `OwnedFd` does, and what replaces this is unsafe"
    )]
    pub fn new() -> io::Result<Self> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let events = AsyncFd::with_interest(queue, Interest::READABLE)?;
        let mounts = rustix::fs::open("/proc/self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        let mounts = mounts.and_then(|mounts| AsyncFd::with_interest(mounts, Interest::PRIORITY).ok()); // without it the next look finds them
        Ok(Self { events, mounts, watched: RefCell::default(), waiting: RefCell::default() })
    }

    /// Take what the kernel has queued.
    fn read(&self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_LEN];
        let mut reader = Reader::new(self.events.get_ref(), &mut buffer);
        let (mut watched, mut waiting) = (self.watched.borrow_mut(), self.waiting.borrow_mut());
        let mut say = |hint| {
            if !waiting.contains(&hint) {
                waiting.push_back(hint);
            }
        };
        loop {
            let event = reader.next()?;
            let (number, what) = (event.wd(), event.events());
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                say(Hint::Anywhere);
            } else if let Some(folder) = watched.get(&number) {
                say(Hint::In(*folder));
            }
            if what.contains(ReadFlags::IGNORED) {
                watched.remove(&number);
            }
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }

    async fn heard(&self) -> io::Result<Hint> {
        loop {
            if let Some(hint) = self.waiting.borrow_mut().pop_front() {
                return Ok(hint);
            }
            let mut ready = self.events.readable().await?;
            match self.read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                read => read?,
            }
        }
    }

    async fn mounted(&self) -> io::Result<Hint> {
        let Some(mounts) = &self.mounts else { return std::future::pending().await };
        mounts.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(Hint::Anywhere)
    }
}

impl Hints for OsHints {
    fn arm(&self, number: usize, folder: &Path) -> io::Result<bool> {
        let watch = inotify::add_watch(self.events.get_ref(), folder, WANTED)?;
        Ok(self.watched.borrow_mut().insert(watch, number) != Some(number))
    }

    fn next(&self) -> NextHint<'_> {
        Box::pin(async {
            tokio::select! {
                hint = self.heard() => hint,
                hint = self.mounted() => hint,
            }
        })
    }

    fn is_blind(&self, folder: &Path) -> io::Result<bool> {
        let number = u64::try_from(rustix::fs::statfs(folder)?.f_type);
        Ok(number.is_ok_and(|number| BLIND.contains(&(number & 0xffff_ffff))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    async fn soon(hints: &OsHints) -> Option<Hint> {
        tokio::time::timeout(Duration::from_secs(2), hints.next()).await.ok().map(Result::unwrap)
    }

    /// Every way in which copiers finish a file, and each of them in the folder it was in.
    #[test]
    fn each_way_to_bring_a_file_gives_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("1"), dir.path().join("2"));
        fs::create_dir(&first).unwrap();
        fs::create_dir(&second).unwrap();
        fs::write(dir.path().join("x"), b"x").unwrap();
        run(async {
            let hints = OsHints::new().unwrap();
            assert!(hints.arm(1, &first).unwrap() && hints.arm(2, &second).unwrap());
            assert!(!hints.arm(1, &first).unwrap(), "known");
            fs::hard_link(dir.path().join("x"), first.join("linked")).unwrap();
            assert_eq!(soon(&hints).await, Some(Hint::In(1)));
            fs::rename(dir.path().join("x"), second.join("moved")).unwrap();
            assert_eq!(soon(&hints).await, Some(Hint::In(2)));
            fs::write(first.join("written"), b"x").unwrap();
            assert_eq!(soon(&hints).await, Some(Hint::In(1)));
        });
    }

    #[test]
    fn a_folder_that_goes_is_hinted_at_and_can_be_armed_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("1");
        fs::create_dir(&folder).unwrap();
        run(async {
            let hints = OsHints::new().unwrap();
            hints.arm(7, &folder).unwrap();
            fs::remove_dir(&folder).unwrap();
            assert_eq!(soon(&hints).await, Some(Hint::In(7)));
            fs::create_dir(&folder).unwrap();
            assert!(hints.arm(7, &folder).unwrap());
        });
    }
}
