//! Talk between processes of one user on one machine: a socket with a name in a folder of theirs.
//!
//! Who stays listens and never blocks; who asks is a command that has nothing else to do, so its end waits.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};

/// Listens and asks.
#[expect(clippy::missing_errors_doc, reason = "every method fails as the system call under it fails")]
pub trait Local {
    /// Listen at `path`, for our own user alone, in the place of whatever stood there: the caller keeps the lock that says it may. Called inside
    /// the runtime that will accept. The name goes when the listener is dropped, unless another has taken it since.
    fn listen(&self, path: &Path) -> io::Result<Box<dyn LocalListener>>;
    /// Speak to whoever listens at `path`; `None` when nobody does, or nobody has room for us.
    fn connect(&self, path: &Path) -> io::Result<Option<Box<dyn LocalLine>>>;
}

/// Somebody who asked, to come.
pub type Asked<'a> = Pin<Box<dyn Future<Output = io::Result<LocalStream>> + 'a>>;

/// A name at which we listen.
pub trait LocalListener {
    /// The next one who asks; never another user.
    fn accept(&self) -> Asked<'_>;
}

/// The listening end of one conversation.
pub struct LocalStream {
    /// What they say.
    pub reader: Box<dyn AsyncRead + Unpin>,
    /// What we say.
    pub writer: Box<dyn AsyncWrite + Unpin>,
}

/// What waiting brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Bytes.
    More,
    /// Nothing more will come.
    End,
    /// Nothing, in the time given.
    Silence,
}

/// The asking end of one conversation; it ends when dropped.
#[expect(clippy::missing_errors_doc, reason = "every method fails as the system call under it fails")]
pub trait LocalLine {
    /// Say all of `bytes`. What comes meanwhile is added to `heard`, so that two who speak at once never wait for each other.
    fn say(&mut self, bytes: &[u8], heard: &mut Vec<u8>) -> io::Result<()>;
    /// Wait for more, up to `wait_ms`; `None` is as long as it takes.
    fn hear(&mut self, heard: &mut Vec<u8>, wait_ms: Option<u64>) -> io::Result<Heard>;
}

/// A machine on which nobody listens: for tests.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Local for Nobody {
    fn listen(&self, _: &Path) -> io::Result<Box<dyn LocalListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect(&self, _: &Path) -> io::Result<Option<Box<dyn LocalLine>>> {
        Ok(None)
    }
}
