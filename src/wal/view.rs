//! What the writer and a reader share: heads in memory, everything else looked up where it is stored. One [`Log`] for both.

use super::frame::{self, Look};
use super::heads::{CHECKPOINT_LEN, StreamState, Streams, read_checkpoint};
use super::mended::Rot;
use super::recover::Place;
use super::segment::Segment;
use super::tables::Dir;
use crate::ports::store::{Checkpointed, Finding, StoreError, Stream};
use bundle_format::limits::RANGE_EVENT_COUNT_MAX;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;

/// The first and the last position of a frame of checkpoints that rotted.
type Rotted = (u64, u64);

/// A log as it stood when it was opened, and as its writer has moved it since.
pub(super) struct View {
    pub place: Place,
    pub streams: Streams,
    pub active: Segment,
    /// Lowest segment there is.
    pub first: u32,
    pub findings: Vec<Finding>,
    /// Where the log ended when it was opened, before anything was mended: segment and byte, of a sealed segment behind all of it.
    pub found_end: (u32, u64),
    /// The sealed segment looked at last.
    pub recent: RefCell<Option<Rc<Segment>>>,
    /// What reading has found of rot.
    pub rot: RefCell<Rot>,
}

/// A segment to read from.
pub(super) enum SegmentRef<'a> {
    Active(&'a Segment),
    Sealed(Rc<Segment>),
}

impl Deref for SegmentRef<'_> {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        match self {
            Self::Active(segment) => segment,
            Self::Sealed(segment) => segment,
        }
    }
}

impl View {
    /// Segment `number`.
    pub fn segment(&self, number: u32) -> Result<SegmentRef<'_>, StoreError> {
        if number == self.active.number {
            return Ok(SegmentRef::Active(&self.active));
        }
        let mut recent = self.recent.borrow_mut();
        match recent.as_ref() {
            Some(segment) if segment.number == number => Ok(SegmentRef::Sealed(segment.clone())),
            _ => {
                let segment = Rc::new(self.place.sealed(number, self.first)?);
                *recent = Some(segment.clone());
                Ok(SegmentRef::Sealed(segment))
            }
        }
    }

    /// The segments that hold something of a stream, newest first, with its entry in each, until `enough`. Returns the oldest that cannot be read at all.
    pub fn back(
        &self,
        number: u32,
        state: &StreamState,
        mut visit: impl FnMut(&Segment, &Dir) -> Result<bool, StoreError>,
    ) -> Result<Option<u32>, StoreError> {
        let mut at = if self.active.tables().streams.contains_key(&number) { self.active.number } else { state.newest };
        let mut gone = None;
        while at >= self.first {
            let entry = match self.segment(at) {
                Ok(segment) => segment.dir(number)?.map(|dir| (segment, dir)),
                Err(StoreError::Damaged { .. }) => {
                    gone = Some(at);
                    None
                }
                Err(error) => return Err(error),
            };
            let Some((segment, dir)) = entry else {
                at -= 1; // its index rotted with all that it told of: one of those before is the next, if any is
                continue;
            };
            if visit(&segment, &dir)? {
                return Ok(gone);
            }
            let previous = if at == self.active.number { state.newest } else { dir.previous };
            if previous >= at {
                return Err(segment.damaged(0));
            }
            at = previous;
        }
        Ok(gone)
    }

    /// Checkpoints between two positions, ascending. What rotted is passed over and noted, unless it is here again.
    pub fn checkpoints(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<Checkpointed>, StoreError> {
        let (found, rotten) = self.readable_checkpoints(stream, from, to)?;
        for (first, last) in rotten {
            if !self.is_signed_again(stream, first, last)? {
                self.note_lost_checkpoints(stream, first, last);
            }
        }
        Ok(found)
    }

    /// Whether there are checkpoints in the place of those from `first` to `last`: one at the end, and none further behind the one before it than a range
    /// may be long, for what stands between could be proved to nobody (R6.2-i).
    pub fn is_signed_again(&self, stream: &Stream, first: u64, last: u64) -> Result<bool, StoreError> {
        let Some((_, state)) = self.known(stream) else { return Ok(false) };
        let before = first.saturating_sub(RANGE_EVENT_COUNT_MAX).max(state.base.seq);
        let (found, _) = self.readable_checkpoints(stream, before, last)?;
        let mut at = before;
        for Checkpointed { position, .. } in found {
            if position.seq >= first && position.seq - at > RANGE_EVENT_COUNT_MAX {
                return Ok(false);
            }
            at = position.seq;
        }
        Ok(at == last)
    }

    /// Checkpoints between two positions that can be read, ascending; and the first and last position of each frame of them that rotted.
    fn readable_checkpoints(&self, stream: &Stream, from: u64, to: u64) -> Result<(Vec<Checkpointed>, Vec<Rotted>), StoreError> {
        let Some((number, state)) = self.known(stream) else { return Ok((Vec::new(), Vec::new())) };
        let (mut found, mut rotten) = (Vec::new(), Vec::new());
        self.back(number, state, |segment, dir| {
            for index in 0..dir.checkpoint_run_count {
                let run = segment.checkpoint_run(dir, index)?;
                if run.first <= to && run.last >= from {
                    match self.read_checkpoints(segment, u64::from(run.offset), run.len as usize) {
                        Ok(read) => found.extend(read),
                        Err(StoreError::Damaged { .. }) => rotten.push((run.first, run.last)),
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(dir.run_count > 0 && dir.first <= from) // a checkpoint is never stored before its event
        })?;
        let newest = (state.checkpoint_seq, state.checkpoint_seq); // where even the index has rotted, only the heads tell of it
        let is_asked = state.checkpoint_seq > state.base.seq && (from..=to).contains(&state.checkpoint_seq);
        let is_found = found.iter().any(|checkpointed: &Checkpointed| checkpointed.position.seq == state.checkpoint_seq);
        rotten.extend((is_asked && !is_found).then_some(newest));
        found.retain(|checkpointed| (from..=to).contains(&checkpointed.position.seq));
        found.sort_by_key(|checkpointed: &Checkpointed| (checkpointed.position.seq, checkpointed.checkpoint.key_number));
        found.dedup();
        Ok((found, rotten))
    }

    /// The newest checkpoint at or below a position.
    pub fn checkpoint_below(&self, stream: &Stream, seq: u64) -> Result<Option<Checkpointed>, StoreError> {
        let Some((number, state)) = self.known(stream) else { return Ok(None) };
        let (mut best, mut rotten): (Option<Checkpointed>, _) = (None, Vec::new());
        self.back(number, state, |segment, dir| {
            for index in (0..dir.checkpoint_run_count).rev() {
                let run = segment.checkpoint_run(dir, index)?;
                let better = |best: &Option<Checkpointed>| best.is_none_or(|best| best.position.seq < run.last.min(seq));
                if run.first <= seq && better(&best) {
                    let read = match self.read_checkpoints(segment, u64::from(run.offset), run.len as usize) {
                        Ok(read) => read,
                        Err(StoreError::Damaged { .. }) => {
                            rotten.push((run.first, run.last));
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    let below = read.into_iter().filter(|checkpointed| checkpointed.position.seq <= seq);
                    best = best.into_iter().chain(below).max_by_key(|checkpointed| checkpointed.position.seq);
                }
            }
            let older_may_hold_better = best.is_none_or(|best| dir.run_count == 0 || best.position.seq < dir.first);
            Ok(!older_may_hold_better)
        })?;
        for (first, last) in rotten {
            self.checkpoints(stream, first, last)?; // notes it if it is not here again
        }
        Ok(best)
    }

    /// A frame of checkpoints.
    pub fn read_checkpoints(&self, segment: &Segment, offset: u64, len: usize) -> Result<Vec<Checkpointed>, StoreError> {
        let mut bytes = vec![0; len.min(frame::FRAME_LEN_MAX)];
        segment.read_exact(&mut bytes, offset)?;
        let Look::Frame(_, len) = frame::look(&bytes) else { return Err(segment.damaged(offset)) };
        let body = segment.open_frame(&mut bytes[..len], offset, &self.place.keys)?;
        Ok(body.chunks_exact(CHECKPOINT_LEN).filter_map(read_checkpoint).collect())
    }

    /// Whether opening found holes, or streams that lost events in one.
    pub fn has_holes(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding, Finding::Hole { .. }))
            || self.streams.numbered().any(|(_, state)| state.broken.is_some())
    }

    /// The log had durably reached `place` once. Damage at its end is told as such already.
    pub fn hold_against(&mut self, place: (u32, u64)) {
        if self.found_end < place && !self.has_holes() {
            self.findings.push(Finding::Short { segment: place.0, offset: place.1 });
        }
    }

    /// Number and state of a stream.
    pub fn known(&self, stream: &Stream) -> Option<(u32, &StreamState)> {
        let number = self.streams.number(stream)?;
        Some((number, self.streams.get(number)?))
    }
}
