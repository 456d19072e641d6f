//! Cut: choose what a peer lacks and fix it in one bundle.
//!
//! In: our log and what the peer's last receipt says it holds. Out: a sealed file where the caller wants it, or nothing if the peer is level.
//! Invariants: ranges are dense, end at a checkpoint and start right after what the peer holds (R4.6-a); cutting appends nothing to the log but
//! checkpoints of our own histories (R4.6-c); equal inputs give equal names (R10.6-b). Not here: encryption (`bundle_format::seal`), who may see
//! what (`keys::roster`), delivery (`carry`).

pub mod choice;
pub mod live;
pub mod name;
pub mod pieces;
pub mod plan;
pub mod share;
pub mod sign;
pub mod write;

pub use plan::{Lack, plan};
pub use write::{Fixed, Order, fix};

use crate::ports::store::StoreError;
use bundle_format::error::Code;

/// Why a cut did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// Our own log could not be read.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// The bundle could not be sealed or written where it was to go.
    #[error(transparent)]
    Seal(#[from] bundle_format::seal::SealError),
    /// There was no memory to compress with.
    #[error(transparent)]
    Range(#[from] bundle_format::range::RangeError),
    /// Checkpoints stand closer than a range may be long, so one that the log tells of has rotted.
    #[error("{origin} cannot be proved behind event {after}: its checkpoint is damaged")]
    NoCheckpoint {
        /// Whose.
        origin: String,
        /// The last one below.
        after: u64,
    },
}

impl CutError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Log(error) => error.code(),
            Self::Seal(error) => error.code(),
            Self::Range(_) => Code::Z100,
            Self::NoCheckpoint { .. } => Code::Z301,
        }
    }
}
