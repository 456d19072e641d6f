//! What the machine volunteers about its folders: that something may have changed. A hint may come late, twice, or never; looking is the truth.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;

/// What may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something in the watched folder of this number.
    In(usize),
    /// Anything: hints were lost, or something was mounted or unmounted.
    Anywhere,
}

/// The next hint, to come; dropped before it is ready, it has taken none away.
pub type NextHint<'a> = Pin<Box<dyn Future<Output = io::Result<Hint>> + 'a>>;

/// Gives hints.
#[expect(clippy::missing_errors_doc, reason = "every method fails as the system call under it fails")]
pub trait Hints {
    /// Give hints about `folder` itself, not what is below it, from now on; `true` when it was not known before. Nothing of the folder is kept open:
    /// it can be unmounted, and is forgotten then. Called inside the runtime that waits for hints.
    fn arm(&self, number: usize, folder: &Path) -> io::Result<bool>;
    /// The next hint.
    fn next(&self) -> NextHint<'_>;
    /// Whether others may change `folder` without the kernel seeing it: it is another machine's, or behind another program.
    fn is_blind(&self, folder: &Path) -> io::Result<bool>;
}

/// A machine that volunteers nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoHints;

impl Hints for NoHints {
    fn arm(&self, _: usize, _: &Path) -> io::Result<bool> {
        Ok(false)
    }

    fn next(&self) -> NextHint<'_> {
        Box::pin(std::future::pending())
    }

    fn is_blind(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }
}
