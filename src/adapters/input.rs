//! Standard input and the files a person names. Those are followed through links and read from pipes, unlike what a stick brings.

use crate::ports::Input;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

/// An open input.
#[derive(Debug)]
pub struct OsInput {
    descriptor: OwnedFd,
    file_len: Option<u64>,
}

impl OsInput {
    /// Standard input, unbuffered, so that [`Input::ready`] tells the truth.
    ///
    /// # Errors
    /// When it is closed.
    pub fn stdin() -> io::Result<Self> {
        Self::of(rustix::io::dup(rustix::stdio::stdin())?)
    }

    /// A file or pipe.
    ///
    /// # Errors
    /// What the system says; `IsADirectory` for a folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?)
    }

    fn of(descriptor: OwnedFd) -> io::Result<Self> {
        let stat = rustix::fs::fstat(&descriptor)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            FileType::RegularFile => Ok(Self { descriptor, file_len: u64::try_from(stat.st_size).ok() }),
            _ => Ok(Self { descriptor, file_len: None }),
        }
    }

    /// Length of a regular file when it was opened.
    pub fn file_len(&self) -> Option<u64> {
        self.file_len
    }
}

impl Read for OsInput {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.descriptor, bytes)?)
    }
}

impl Input for OsInput {
    fn ready(&mut self) -> bool {
        self.ready_within(0)
    }

    fn ready_within(&mut self, wait_ms: u64) -> bool {
        let mut waited = [PollFd::from_borrowed_fd(self.descriptor.as_fd(), PollFlags::IN)];
        let wait = Timespec::try_from(Duration::from_millis(wait_ms)).ok();
        // An error of poll means that read will tell what is wrong, at once.
        self.file_len.is_some() || poll(&mut waited, wait.as_ref()) != Ok(0)
    }
}
