//! Why a range is not believed, or not even a range.

use crate::cbor::CborError;
use crate::compress::CompressError;
use crate::error::Code;
use crate::event::EventError;
use crate::ids::{NodeId, Origin};

/// Why a range is not believed, or not even a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// Not the deterministic map the grammar asks for.
    #[error("the range breaks the format: {0}")]
    Cbor(#[from] CborError),
    /// A file's range says nothing of the chain before it.
    #[error("the range has no base")]
    NoBase,
    /// A codec this version does not know.
    #[error("codec {0} is not known")]
    Codec(u64),
    /// More events or bytes than a range may have.
    #[error("the range claims {what} {claim}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How much.
        claim: u64,
    },
    /// The data is not what its codec and length claim.
    #[error("the range does not unpack: {0}")]
    Compress(#[from] CompressError),
    /// The history that a primed range needs is not at hand.
    #[error("the range builds on events {first} and {count} more that are not held here")]
    NoPrefix {
        /// First of them.
        first: u64,
        /// How many.
        count: u64,
    },
    /// One of its events breaks the format.
    #[error("event {seq}: {error}")]
    Event {
        /// Its position.
        seq: u64,
        /// What is wrong.
        error: EventError,
    },
    /// There are more or fewer events in it than it claims.
    #[error("the range does not hold the {count} events it claims")]
    Count {
        /// How many it claims.
        count: u64,
    },
    /// The first event's base is not the start of its history.
    #[error("the base of the first event is not the start of its history")]
    Base,
    /// The roster does not know the key a checkpoint names.
    #[error("key {key_number} of node @{node} is not known")]
    UnknownSigner {
        /// Whose.
        node: NodeId,
        /// Which.
        key_number: u64,
    },
    /// The origin did not sign this chain.
    #[error("the checkpoint at event {seq} of {origin:?} does not verify")]
    Checkpoint {
        /// Whose history.
        origin: Origin,
        /// Where.
        seq: u64,
    },
}

impl RangeError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Cbor(error) | Self::Event { error: EventError::Cbor(error), .. } if error.is_critical_key() => Code::Z223,
            Self::Codec(_) => Code::Z223,
            Self::Cbor(_) | Self::NoBase => Code::Z222,
            Self::Limit { .. } => Code::Z218,
            Self::Compress(_) => Code::Z224,
            Self::NoPrefix { .. } => Code::Z227,
            Self::Event { .. } | Self::Count { .. } => Code::Z226,
            Self::Base | Self::Checkpoint { .. } => Code::Z225,
            Self::UnknownSigner { .. } => Code::Z615,
        }
    }
}
