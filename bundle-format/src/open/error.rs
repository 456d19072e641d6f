//! Why a bundle was not opened, and whose fault that is.

use crate::cbor::CborError;
use crate::compress::CompressError;
use crate::envelope::HeaderError;
use crate::error::Code;
use crate::ids::{NodeId, Origin};
use crate::range::RangeError;

/// Why a bundle was not opened, in the order of the checks (SPEC §6.1).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The medium refused us.
    #[error("cannot read the bundle: {0}")]
    Read(#[from] std::io::Error),
    /// No magic: never was a bundle.
    #[error("not a bundle")]
    NotABundle,
    /// It ends before its trailer.
    #[error("cut short at {len} bytes")]
    CutShort {
        /// How much there is.
        len: u64,
    },
    /// The CRC does not fit, or its place is gone.
    #[error("damaged: the checksum does not fit")]
    Damaged,
    /// The bytes under our hands are not those that were verified.
    #[error("the bundle changed while it was read")]
    Changed,
    /// The header breaks the format.
    #[error("the header breaks the format: {0}")]
    Header(HeaderError),
    /// Another version of the format.
    #[error("format version {0}")]
    Version(u64),
    /// More than a bundle may have.
    #[error("more {0} than a bundle may have")]
    Limit(&'static str),
    /// Its chunks or its trailer are not framed as the format asks: no writer does that, it is damage.
    #[error("damaged: chunk {index} or the trailer behind it is not framed as it must be")]
    Framing {
        /// From 0.
        index: u64,
    },
    /// Bytes after the trailer.
    #[error("{0} bytes after the end")]
    Trailing(u64),
    /// The checksum fits, the signature does not.
    #[error("forged: the signature is not that of the key it names")]
    Forged,
    /// Another domain.
    #[error("sealed in another domain")]
    OtherDomain,
    /// No key of ours opens it. Nobody's fault: pass it on.
    #[error("sealed for {recipients} recipient(s), none of them this node")]
    NotForUs {
        /// For how many.
        recipients: usize,
    },
    /// A chunk failed its tag: damage or forgery by who holds the content key.
    #[error("chunk {index} failed authentication")]
    Tampered {
        /// From 0.
        index: u64,
    },
    /// The inside breaks the format.
    #[error("the inside breaks the format: {0}")]
    Inner(#[from] CborError),
    /// The inside has things where they may not stand.
    #[error("the inside breaks the format: {0}")]
    Order(&'static str),
    /// The roster does not know the sender.
    #[error("sender @{sender} is not in the roster with this key")]
    UnknownSender {
        /// Who the header says.
        sender: NodeId,
    },
    /// A range is not believed.
    #[error("{origin:?} from {first}: {error}")]
    Range {
        /// Whose history.
        origin: Origin,
        /// Its first event.
        first: u64,
        /// What is wrong.
        error: RangeError,
    },
    /// A range that cannot even be read.
    #[error("{0}")]
    MalformedRange(RangeError),
}

impl OpenError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Read(_) => Code::Z201,
            Self::NotABundle => Code::Z211,
            Self::CutShort { .. } => Code::Z212,
            Self::Damaged | Self::Changed | Self::Framing { .. } => Code::Z213,
            Self::Forged => Code::Z215,
            Self::Version(_) => Code::Z216,
            Self::Header(HeaderError::Recipients(_)) | Self::Limit(_) => Code::Z218,
            Self::Trailing(_) => Code::Z219,
            Self::Tampered { .. } => Code::Z221,
            Self::Header(HeaderError::Cbor(error)) | Self::Inner(error) if error.is_critical_key() => Code::Z223,
            Self::Header(_) => Code::Z217,
            Self::Inner(_) | Self::Order(_) => Code::Z222,
            Self::NotForUs { .. } => Code::Z611,
            Self::UnknownSender { .. } => Code::Z612,
            Self::OtherDomain => Code::Z613,
            Self::Range { error, .. } | Self::MalformedRange(error) => error.code(),
        }
    }
}

impl From<HeaderError> for OpenError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Version(version) => Self::Version(version),
            other => Self::Header(other),
        }
    }
}

impl From<CompressError> for OpenError {
    fn from(error: CompressError) -> Self {
        Self::MalformedRange(error.into())
    }
}

impl OpenError {
    pub(super) fn from_range(error: RangeError) -> Self {
        match error {
            RangeError::Cbor(error) => Self::Inner(error),
            other => Self::MalformedRange(other),
        }
    }

    pub(super) fn is_short(&self) -> bool {
        matches!(self, Self::Inner(CborError::Short))
    }
}
