//! The log as the rooms see it: streams of events with their checkpoints, read by anyone, appended by one writer.

use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::error::Code;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{NodeId, Origin};

/// One history as it is stored: an origin's, or one branch of its fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// Whose.
    pub origin: Origin,
    /// `None`: the branch that was here first. `Some`: another branch of a fork, named by the first 8 bytes of its digest at the fork point.
    pub branch: Option<[u8; 8]>,
}

impl Stream {
    /// The stream of an origin that has not forked, or the branch that was here first.
    pub fn main(origin: Origin) -> Self {
        Self { origin, branch: None }
    }
}

/// How far a stream is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Before its first stored event: `h_0` of the origin, or the fork point of a branch.
    pub base: Position,
    /// At its last event.
    pub end: Position,
    /// Its newest checkpoint; 0 when it has none.
    pub checkpoint_seq: u64,
    /// Stamp of its last event.
    pub hlc: Hlc,
}

/// A checkpoint and what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// Where.
    pub position: Position,
    /// The origin's signature over it.
    pub checkpoint: Checkpoint,
}

/// What opening a log found that its owner must know. Codes: Z301, Z304.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An unfinished write at the end was dropped (`bytes` long): never acknowledged.
    TornTail {
        /// How long it was.
        bytes: u64,
    },
    /// Damaged bytes with good ones behind them, or at the end where they were written whole (R10.8-g). A writer puts a copy of them aside; events behind
    /// them are orphans.
    Hole {
        /// Segment number.
        segment: u32,
        /// Byte offset in it.
        offset: u64,
        /// Length of the damage.
        bytes: u64,
        /// Streams with readable events behind the hole, cut back to before it.
        cut_back: Vec<Stream>,
    },
    /// The log ends before a place that it had durably reached: its newest file is gone, or a part of it.
    Short {
        /// The segment it had reached.
        segment: u32,
        /// Byte offset in that.
        offset: u64,
    },
    /// The index of a sealed segment is damaged; it was rebuilt in memory from its frames.
    Index {
        /// Segment number.
        segment: u32,
    },
}

/// A stretch of a stream that rotted, and is not here again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rotten {
    /// Of which stream.
    pub stream: Stream,
    /// First position.
    pub first: u64,
    /// Last position.
    pub last: u64,
    /// The events; else only checkpoints among them.
    pub events: bool,
}

/// Why the log did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk said no.
    #[error("{doing}: {error}")]
    Io {
        /// What we were doing, with the file's name.
        doing: String,
        /// The system's reason.
        #[source]
        error: std::io::Error,
    },
    /// A sync failed: the content of what was written is unknown; this writer takes nothing more.
    #[error("the disk failed to store the log: {0}")]
    Poisoned(String),
    /// Stored bytes fail their checksum.
    #[error("segment {segment} is damaged at byte {offset}{}", .stream.map(|(stream, seq)| format!(" ({:?}:{seq})", stream.origin)).unwrap_or_default())]
    Damaged {
        /// Segment number.
        segment: u32,
        /// Byte offset in it.
        offset: u64,
        /// Whose events, from where, when known.
        stream: Option<(Stream, u64)>,
    },
    /// Checksum good, seal bad: another key, or tampering.
    #[error("segment {segment} was sealed with another key or tampered with, at byte {offset}")]
    Tampered {
        /// Segment number.
        segment: u32,
        /// Byte offset in it.
        offset: u64,
    },
    /// The log was made by another version.
    #[error("the log is of version {0}")]
    Version(u16),
}

impl StoreError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { error, .. } if error.kind() == std::io::ErrorKind::StorageFull => Code::Z203,
            Self::Io { error, .. } if error.kind() == std::io::ErrorKind::QuotaExceeded => Code::Z203,
            Self::Io { .. } => Code::Z202,
            Self::Poisoned(_) => Code::Z303,
            Self::Damaged { .. } => Code::Z301,
            Self::Tampered { .. } => Code::Z302,
            Self::Version(_) => Code::Z105,
        }
    }
}

/// Events of one stream in order, lent one at a time.
pub trait Events {
    /// The next event's position and bytes; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] or [`StoreError::Tampered`] where the bytes are not what was stored.
    fn next(&mut self) -> Result<Option<(u64, &[u8])>, StoreError>;
    /// Go on behind the damage that the last call ended with: the first and the last position that it took. `None` when it cannot be passed.
    fn pass_over(&mut self) -> Option<(u64, u64)> {
        None
    }
}

/// An event of a [`Scan`]: in which stream, where, its bytes.
pub type Stored<'a> = (Stream, u64, &'a [u8]);

/// Where an event stands in the log itself: it never moves, and every event stored later stands behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Segment number.
    pub segment: u32,
    /// Where its frame begins, in bytes.
    pub offset: u64,
    /// Which event of the frame, from 0.
    pub index: u16,
}

/// Events of all streams in the order they were stored, lent one at a time.
pub trait Scan {
    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// See [`Events::next`]; the next call goes on behind the damage.
    fn next(&mut self) -> Result<Option<Stored<'_>>, StoreError>;
    /// Where the event that was lent last stands.
    fn spot(&self) -> Spot;
    /// Whether it stands there again, after it had rotted where it was stored first.
    fn is_again(&self) -> bool {
        false
    }
}

/// A log being read. Readers beside a live writer take no lock and see only what is durable.
#[expect(clippy::missing_errors_doc, reason = "every method fails with what StoreError says of reading")]
pub trait Log {
    /// Every stream held, with its head: the version vector and more. Sorted.
    fn streams(&self) -> Vec<(Stream, Head)>;
    /// Those of one origin. A log of many histories finds them without looking through the others.
    fn branches(&self, origin: &Origin) -> Vec<(Stream, Head)> {
        self.streams().into_iter().filter(|(stream, _)| stream.origin == *origin).collect()
    }
    /// How many streams of one node are held.
    fn count_of(&self, node: &NodeId) -> usize {
        self.streams().iter().filter(|(stream, _)| stream.origin.node == *node).count()
    }
    /// One stream's head.
    fn head(&self, stream: &Stream) -> Option<Head>;
    /// Events of `stream` from position `from` on, up to its head.
    fn events(&self, stream: &Stream, from: u64) -> Result<Box<dyn Events + '_>, StoreError>;
    /// Checkpoints of `stream` at positions from `from` to `to`, both included, ascending.
    fn checkpoints(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<Checkpointed>, StoreError>;
    /// The newest checkpoint of `stream` at or below `seq`; `None` when there is none (its base counts as no checkpoint).
    fn checkpoint_below(&self, stream: &Stream, seq: u64) -> Result<Option<Checkpointed>, StoreError>;
    /// All events in the order they were stored, from the first.
    fn scan(&self) -> Result<Box<dyn Scan + '_>, StoreError> {
        self.scan_from(Spot::default())
    }
    /// The same from `spot` on. Where no event stands there, what comes first is whatever stands behind it, or damage.
    fn scan_from(&self, spot: Spot) -> Result<Box<dyn Scan + '_>, StoreError>;
    /// What opening found.
    fn findings(&self) -> &[Finding];
    /// Read `stream` from position `from` to `to`, its checkpoints too: the stretches of events that rotted, ascending.
    fn lost(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let _ = (stream, from, to);
        Ok(Vec::new())
    }
    /// What reading has found so far to have rotted and not to be here again. Sorted.
    fn rotten(&self) -> Vec<Rotten> {
        Vec::new()
    }
    /// Whether reading has found that checkpoints rotted among which one may have stood at `seq`.
    fn lacks_checkpoint(&self, stream: &Stream, seq: u64) -> bool {
        let _ = (stream, seq);
        false
    }

    /// The chain hash at `seq` of `stream`: from the newest checkpoint at or below, hashed forward. `None` outside what is held.
    fn position(&self, stream: &Stream, seq: u64) -> Result<Option<Position>, StoreError> {
        let Some(head) = self.head(stream).filter(|head| (head.base.seq..=head.end.seq).contains(&seq)) else { return Ok(None) };
        if seq == head.end.seq {
            return Ok(Some(head.end));
        }
        let mut position = self.checkpoint_below(stream, seq)?.map_or(head.base, |checkpointed| checkpointed.position);
        if position.seq < seq {
            let mut events = self.events(stream, position.seq + 1)?;
            while position.seq < seq {
                let Some((_, event)) = events.next()? else { return Ok(None) };
                position = position.then(&bundle_format::chain::digest(event));
            }
        }
        Ok(Some(position))
    }
}

/// A log with its one writer.
#[expect(clippy::missing_errors_doc, reason = "every method fails with what StoreError says of writing")]
pub trait Store: Log {
    /// Append `run` right after the head of `stream` (a branch begins anywhere), then `checkpoints`, which stand inside it or at its end.
    /// Durable only after [`Store::sync`]. `hlc` is the stamp of the run's last event.
    ///
    /// # Panics
    /// When `run` does not start at the stream's head: callers have compared already.
    fn append(&mut self, stream: &Stream, run: &Run<'_>, hlc: Hlc, checkpoints: &[Checkpointed]) -> Result<(), StoreError>;
    /// Add checkpoints to events already held (our own, signed at a cut).
    fn append_checkpoints(&mut self, stream: &Stream, checkpoints: &[Checkpointed]) -> Result<(), StoreError>;
    /// Store events again that are held by number and rotted: `events` from position `first` on, up to the head at most. They are read in the place of the
    /// damaged ones. Callers have proved them. Durable only after [`Store::sync`].
    fn mend(&mut self, stream: &Stream, first: u64, events: &[&[u8]]) -> Result<(), StoreError>;
    /// Make everything appended durable. An error poisons the writer.
    fn sync(&mut self) -> Result<(), StoreError>;
    /// Readable events behind a hole of a stream that was cut back: position and bytes, to be appended again elsewhere.
    fn orphans(&self, stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;
}
