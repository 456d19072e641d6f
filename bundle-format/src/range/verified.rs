//! Events that may be believed.

use crate::chain::{Position, Run};
use crate::checkpoint::Checkpoint;
use crate::compress::Codec;
use crate::hlc::Hlc;
use crate::ids::{Hash, Origin};

/// Events that their origin signed, in order, right after a known place of its chain. Only [`Range::verify`](super::Range::verify) makes one.
#[derive(Clone)]
pub struct VerifiedRange {
    pub(super) origin: Origin,
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) raw: Vec<u8>,
    pub(super) ends: Vec<usize>,
    pub(super) digests: Vec<Hash>,
    pub(super) checkpoints: Vec<(Position, Checkpoint)>,
    pub(super) hlc: Hlc,
    pub(super) codec: Codec,
}

impl std::fmt::Debug for VerifiedRange {
    /// Without its events: they are people's records and belong into no message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedRange({:?} {}..={})", self.origin, self.first(), self.end.seq)
    }
}

impl VerifiedRange {
    /// Whose history.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Right before its first event.
    pub fn start(&self) -> Position {
        self.start
    }

    /// At its last event.
    pub fn end(&self) -> Position {
        self.end
    }

    /// Position of its first event.
    pub fn first(&self) -> u64 {
        self.start.seq.saturating_add(1)
    }

    /// How many events.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// The events' bytes, one after the other.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Each event's position and bytes.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        (0..self.ends.len()).map(|index| (self.first().saturating_add(index as u64), self.event(index)))
    }

    /// `d` of each event, in order.
    pub fn digests(&self) -> &[Hash] {
        &self.digests
    }

    /// The origin's signatures and where they stand; the last at [`VerifiedRange::end`].
    pub fn checkpoints(&self) -> &[(Position, Checkpoint)] {
        &self.checkpoints
    }

    /// Stamp of its last event.
    pub fn last_hlc(&self) -> Hlc {
        self.hlc
    }

    /// How it was coded.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The place in the chain at `seq`; `None` outside of `start ..= end`.
    pub fn position(&self, seq: u64) -> Option<Position> {
        let index = usize::try_from(seq.checked_sub(self.start.seq)?).ok()?;
        let before = self.digests.get(..index)?;
        Some(before.iter().fold(self.start, Position::then))
    }

    /// All of it, as a run.
    pub fn run(&self) -> Run<'_> {
        Run::proved(self.start, self.end, (0..self.ends.len()).map(|index| self.event(index)).collect())
    }

    /// What follows the event at `seq`; `None` outside of `start ..= end`.
    pub fn run_after(&self, seq: u64) -> Option<Run<'_>> {
        let start = self.position(seq)?;
        let skip = usize::try_from(seq - self.start.seq).ok()?;
        Some(Run::proved(start, self.end, (skip..self.ends.len()).map(|index| self.event(index)).collect()))
    }

    fn event(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|end| self.raw.get(start..*end)).unwrap_or_default()
    }
}
