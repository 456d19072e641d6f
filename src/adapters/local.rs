//! Unix sockets with a name. The kernel's room for a name is 107 bytes; a longer one is reached through an open descriptor of its folder.

use super::fs::open_folder;
use crate::ports::local::{Asked, Heard, Local, LocalLine, LocalListener, LocalStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `sun_path` without the zero that ends it.
const NAME_LEN_MAX: usize = 107;
/// Bytes taken at a time.
const READ_LEN: usize = 16 * 1024;

/// The machine's sockets.
#[derive(Clone, Copy, Debug)]
pub struct OsLocal;

impl Local for OsLocal {
    /// Made beside its name and renamed, so that the name never stands for a socket that others may open or nobody hears.
    fn listen(&self, path: &Path) -> io::Result<Box<dyn LocalListener>> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let temporary = folder.join(format!(".{}.tmp", name.to_string_lossy()));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let short = Short::of(&temporary)?;
        let listener = std::os::unix::net::UnixListener::bind(&short.path)?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        fs::rename(&temporary, path)?;
        let inode = fs::symlink_metadata(path)?.ino();
        Ok(Box::new(OsListener { listener: tokio::net::UnixListener::from_std(listener)?, path: path.to_owned(), inode }))
    }

    /// Without blocking: a process that is stopped must not stop those who ask it.
    fn connect(&self, path: &Path) -> io::Result<Option<Box<dyn LocalLine>>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let short = match Short::of(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            short => short?,
        };
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(&short.path)?) {
            Ok(()) => Ok(Some(Box::new(OsLine(socket)))),
            Err(Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A path the kernel has room for, and what must stay open for it to be true.
struct Short {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= NAME_LEN_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let folder = open_folder(parent)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

struct OsListener {
    listener: tokio::net::UnixListener,
    path: PathBuf,
    inode: u64,
}

impl LocalListener for OsListener {
    fn accept(&self) -> Asked<'_> {
        Box::pin(async {
            loop {
                let (stream, _) = self.listener.accept().await?;
                let asker = stream.peer_cred()?.uid();
                if asker == 0 || asker == rustix::process::geteuid().as_raw() {
                    let (reader, writer) = stream.into_split();
                    return Ok(LocalStream { reader: Box::new(reader), writer: Box::new(writer) });
                }
            }
        })
    }
}

impl Drop for OsListener {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            fs::remove_file(&self.path).unwrap_or(()); // a name that stays is refused by the kernel and replaced by the next who listens
        }
    }
}

struct OsLine(OwnedFd);

impl OsLine {
    /// Wait until one of `flags` is true, or for `wait`.
    fn wait(&self, flags: PollFlags, wait: Option<Duration>) -> io::Result<PollFlags> {
        let until = wait.map(|wait| Instant::now() + wait);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
            let mut waited = [PollFd::from_borrowed_fd(self.0.as_fd(), flags)];
            match poll(&mut waited, left.as_ref()) {
                Ok(_) => return Ok(waited[0].revents()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What has come, without waiting; `None` when nothing has.
    fn take(&self, heard: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let before = heard.len();
        heard.resize(before + READ_LEN, 0);
        let taken = rustix::net::recv(&self.0, &mut heard[before..], RecvFlags::empty());
        let (len, taken) = match taken {
            Ok((len, _)) => (len, Ok(Some(len))),
            Err(Errno::CONNRESET) => (0, Ok(Some(0))), // it left without hearing us out
            Err(Errno::AGAIN | Errno::INTR) => (0, Ok(None)),
            Err(error) => (0, Err(error.into())),
        };
        heard.truncate(before + len);
        taken
    }
}

impl LocalLine for OsLine {
    fn say(&mut self, mut bytes: &[u8], heard: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL) {
                Ok(len) => bytes = &bytes[len..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.wait(PollFlags::IN | PollFlags::OUT, None)?.contains(PollFlags::IN) && self.take(heard)? == Some(0) {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: &mut Vec<u8>, wait_ms: Option<u64>) -> io::Result<Heard> {
        loop {
            match self.take(heard)? {
                Some(0) => return Ok(Heard::End),
                Some(_) => return Ok(Heard::More),
                None if self.wait(PollFlags::IN, wait_ms.map(Duration::from_millis))?.is_empty() => return Ok(Heard::Silence),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn within(work: impl AsyncFnOnce()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work());
    }

    #[test]
    fn a_name_of_any_length_is_heard_by_its_user_alone_and_goes_with_its_listener() {
        for depth in [1, 8] {
            within(async || {
                let dir = tempfile::tempdir().unwrap();
                let folder = (0..depth).fold(dir.path().to_owned(), |path, _| path.join("a folder whose name is long"));
                fs::create_dir_all(&folder).unwrap();
                let path = folder.join("ctl.sock");
                assert!(OsLocal.connect(&path).unwrap().is_none(), "nothing is there");
                drop(std::os::unix::net::UnixListener::bind(&Short::of(&path).unwrap().path).unwrap());
                assert!(OsLocal.connect(&path).unwrap().is_none(), "nobody is there: its process was killed");
                let listener = OsLocal.listen(&path).unwrap();
                assert_eq!(fs::symlink_metadata(&path).unwrap().mode() & 0o777, 0o600);
                let mut line = OsLocal.connect(&path).unwrap().unwrap();
                let mut stream = listener.accept().await.unwrap();
                let mut heard = Vec::new();
                assert_eq!(line.hear(&mut heard, Some(1)).unwrap(), Heard::Silence);
                line.say(b"ask", &mut heard).unwrap();
                let mut asked = [0; 3];
                stream.reader.read_exact(&mut asked).await.unwrap();
                stream.writer.write_all(&asked).await.unwrap();
                assert_eq!((line.hear(&mut heard, None).unwrap(), heard.as_slice()), (Heard::More, b"ask".as_slice()));
                drop(stream);
                assert_eq!(line.hear(&mut heard, None).unwrap(), Heard::End);
                assert!(line.say(b"again", &mut heard).is_err());
                drop(listener);
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "no name is left");
            });
        }
    }

    #[test]
    fn a_name_that_another_has_taken_since_stays() {
        within(async || {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("ctl.sock");
            let first = OsLocal.listen(&path).unwrap();
            let _second = OsLocal.listen(&path).unwrap();
            drop(first);
            assert!(OsLocal.connect(&path).unwrap().is_some());
        });
    }
}
