//! Why a node did not do what was asked: the errors of all rooms, met in one place.

use super::appending::AppendError;
use super::record::RecordError;
use crate::carry::drop_folder::PublishError;
use crate::carry::stick::StickError;
use crate::cut::CutError;
use crate::keys::{JoinError, KeysError, RequestError};
use crate::ports::projection::ProjectionError;
use crate::ports::store::StoreError;
use crate::push::PushError;
use bundle_format::error::Code;
use bundle_format::event::EventError;
use bundle_format::open::OpenError;
use bundle_format::seal::SealError;
use std::path::PathBuf;

/// A refusal of the whole command. What concerns one file or one line of many is in the command's report instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The log.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// Keys at rest.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A request file.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A join file.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A push.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A small file beside the log.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Choosing or fixing what a peer lacks.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// Getting a bundle safely into a folder.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A bundle could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A bundle could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Fields that make no event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Tables made from the log.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// A file or folder.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Reading, or writing.
        writing: bool,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// A prepared place.
    #[error(transparent)]
    Stick(#[from] StickError),
    /// A rule of the node, with the words that make it concrete; the row says the rest.
    #[error("{detail}")]
    Refused {
        /// The row.
        code: Code,
        /// Which name, path or member.
        detail: String,
    },
}

impl NodeError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Log(error) => error.code(),
            Self::Keys(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Join(error) => error.code(),
            Self::Push(error) => error.code(),
            Self::Record(error) => error.code(),
            Self::Cut(error) => error.code(),
            Self::Publish(error) => error.code(),
            Self::Open(error) => error.code(),
            Self::Seal(error) => error.code(),
            Self::Stick(error) => error.code(),
            Self::Projection(error) => error.code(),
            Self::Event(_) => Code::Z404,
            Self::Io { error, .. } if matches!(error.kind(), StorageFull | QuotaExceeded) => Code::Z203,
            Self::Io { writing: true, .. } => Code::Z202,
            Self::Io { .. } => Code::Z201,
            Self::Refused { code, .. } => *code,
        }
    }

    /// Whether the place something was written to is full; never of the node's own disk.
    pub fn is_full_medium(&self) -> bool {
        let of_place = matches!(self, Self::Publish(_) | Self::Io { writing: true, .. } | Self::Cut(CutError::Seal(_)));
        of_place && self.code() == Code::Z203
    }

    /// A refusal by a row of the table.
    pub fn refused(code: Code, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into() }
    }

    /// Reading `path` failed.
    pub fn reading(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), writing: false, error }
    }

    /// Writing `path` failed.
    pub fn writing(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), writing: true, error }
    }
}

impl From<AppendError> for NodeError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Log(error) => Self::Log(error),
            AppendError::Event(error) => Self::Event(error),
        }
    }
}
