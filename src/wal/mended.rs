//! What rotted in sealed segments, and what of it is here again. Segments never change: events that come back are stored at the log's end, in frames
//! of their own, and read in the place of the damaged ones (SPEC §10.8, R10.8-e).
//!
//! Nobody looks for rot at opening. It is noted here when reading meets it, and forgotten when it is mended; what is noted is a memory, the log is
//! the truth.

use super::frame::{self, Kind, Look};
use super::read::StreamEvents;
use super::segment::Segment;
use super::tables::{MENDED, Run};
use super::view::View;
use crate::ports::store::{Events as _, Rotten, StoreError, Stream};
use std::collections::{BTreeMap, BTreeSet};

/// What reading has found out about rot.
#[derive(Default)]
pub(super) struct Rot {
    /// Where events are here again, in which segment, by stream number; from all indexes, once damage has been met.
    mends: Option<BTreeMap<u32, Vec<(u32, Run)>>>,
    /// Events that rotted and are not here again: disjoint, ascending.
    events: BTreeMap<Stream, Vec<(u64, u64)>>,
    /// Checkpoint frames that rotted, and whose stretch is not signed again.
    checkpoints: BTreeMap<Stream, BTreeSet<(u64, u64)>>,
}

/// What there is in the place of an event that rotted.
pub(super) enum Again {
    /// A frame that holds it, opened: all its bytes, its head, the length of its body.
    Here(Vec<u8>, frame::Head, usize),
    /// Nothing; the next event that is here again stands at this position, if any does.
    Lost(Option<u64>),
}

impl View {
    /// Event `seq` of a stream, again: only what was stored behind `after`, where it stood first.
    pub fn again(&self, number: u32, seq: u64, after: (u32, u64)) -> Result<Again, StoreError> {
        let mut next = None;
        for (at, run) in self.mends(number)?.into_iter().rev() {
            if (at, u64::from(run.offset)) <= after || run.first + u64::from(run.count) <= seq {
                continue;
            }
            let segment = self.segment(at)?;
            let mut bytes = vec![0; run.len as usize];
            if segment.read_exact(&mut bytes, u64::from(run.offset)).is_err() {
                continue;
            }
            let mut start = frame_in(&bytes, 0, number, Kind::Mended);
            while let Some((at, head, len)) = start {
                if head.first > seq {
                    next = Some(next.map_or(head.first, |next: u64| next.min(head.first)));
                    break;
                }
                if seq < head.first + u64::from(head.count) {
                    let mut found = bytes[at..at + len].to_vec();
                    let body_len = segment.open_frame(&mut found, u64::from(run.offset) + at as u64, &self.place.keys)?.len();
                    return Ok(Again::Here(found, head, body_len));
                }
                start = frame_in(&bytes, at + len, number, Kind::Mended);
            }
        }
        Ok(Again::Lost(next))
    }

    /// Up to which event of a stream what was stored again at `spot` counts (R10.8-e): a hole may have cut off the rest since, and what came instead of that
    /// is stored behind.
    pub fn again_until(&self, number: u32, spot: (u32, u64)) -> Result<u64, StoreError> {
        let Some(state) = self.streams.get(number) else { return Ok(0) };
        let mut until = state.end.seq;
        self.back(number, state, |segment, dir| {
            if segment.number < spot.0 {
                return Ok(true);
            }
            for index in 0..dir.run_count {
                let run = segment.run(dir, index)?;
                if (segment.number, u64::from(run.offset)) > spot {
                    until = until.min(run.first.saturating_sub(1));
                    break; // those behind it hold later events
                }
            }
            Ok(segment.number == spot.0)
        })?;
        Ok(until)
    }

    fn mends(&self, number: u32) -> Result<Vec<(u32, Run)>, StoreError> {
        if self.rot.borrow().mends.is_none() {
            let mut all: BTreeMap<u32, Vec<(u32, Run)>> = BTreeMap::new();
            for at in self.first..=self.active.number {
                let segment = match self.segment(at) {
                    Ok(segment) => segment,
                    Err(StoreError::Damaged { .. }) => continue, // told where it is read
                    Err(error) => return Err(error),
                };
                for (stream, run) in segment.orphans()?.into_iter().filter(|(stream, _)| stream & MENDED != 0) {
                    all.entry(stream & !MENDED).or_default().push((at, run));
                }
            }
            self.rot.borrow_mut().mends = Some(all);
        }
        Ok(self.rot.borrow().mends.as_ref().and_then(|all| all.get(&number)).cloned().unwrap_or_default())
    }

    /// Events `first` to `last` have rotted and are not here again.
    pub fn note_lost(&self, stream: &Stream, first: u64, last: u64) {
        insert(self.rot.borrow_mut().events.entry(*stream).or_default(), first, last);
    }

    /// They are here again.
    pub fn note_mended(&self, number: u32, stream: &Stream, run: Run) {
        let mut rot = self.rot.borrow_mut();
        if let Some(mends) = &mut rot.mends {
            mends.entry(number).or_default().push((self.active.number, run));
        }
        if let Some(lost) = rot.events.get_mut(stream) {
            remove(lost, run.first, run.first + u64::from(run.count) - 1);
        }
        rot.events.retain(|_, lost| !lost.is_empty());
    }

    /// A frame with checkpoints from `first` to `last` has rotted.
    pub fn note_lost_checkpoints(&self, stream: &Stream, first: u64, last: u64) {
        self.rot.borrow_mut().checkpoints.entry(*stream).or_default().insert((first, last));
    }

    /// Checkpoints were stored: what is signed again by them is not lost any more.
    pub fn note_checkpoints(&self, stream: &Stream) -> Result<(), StoreError> {
        let lost = self.rot.borrow().checkpoints.get(stream).cloned().unwrap_or_default();
        for (first, last) in lost {
            if self.is_signed_again(stream, first, last)? {
                self.rot.borrow_mut().checkpoints.entry(*stream).or_default().remove(&(first, last));
            }
        }
        self.rot.borrow_mut().checkpoints.retain(|_, lost| !lost.is_empty());
        Ok(())
    }

    /// See [`crate::ports::store::Log::rotten`].
    pub fn rotten(&self) -> Vec<Rotten> {
        let rot = self.rot.borrow();
        let stretch = |stream: &Stream, &(first, last): &(u64, u64), events| Rotten { stream: *stream, first, last, events };
        let events = rot.events.iter().flat_map(|(stream, lost)| lost.iter().map(|lost| stretch(stream, lost, true)));
        let checkpoints = rot.checkpoints.iter().flat_map(|(stream, lost)| lost.iter().map(|lost| stretch(stream, lost, false)));
        let mut all: Vec<_> = events.chain(checkpoints).collect();
        all.sort_unstable();
        all
    }

    /// See [`crate::ports::store::Log::lacks_checkpoint`].
    pub fn lacks_checkpoint(&self, stream: &Stream, seq: u64) -> bool {
        self.rot.borrow().checkpoints.get(stream).is_some_and(|lost| lost.iter().any(|(first, last)| (*first..=*last).contains(&seq)))
    }

    /// See [`crate::ports::store::Log::lost`].
    pub fn lost(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut lost = Vec::new();
        self.checkpoints(stream, from, to)?;
        let mut events = StreamEvents::new(self, stream, from)?;
        loop {
            match events.next() {
                Ok(Some((seq, _))) if seq < to => {}
                Ok(_) => return Ok(lost),
                Err(error @ StoreError::Damaged { .. }) => match events.pass_over() {
                    Some((first, last)) if first <= to => insert(&mut lost, first, last.min(to)),
                    Some(_) => return Ok(lost),
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }

    /// What damage from `offset` to `end` of a sealed segment costs: the first event or checkpoint of a stream that stood there and is nowhere else.
    pub fn lost_in(&self, segment: &Segment, offset: u64, end: u64) -> Result<Option<(Stream, u64)>, StoreError> {
        let name = |number: u32| self.streams.get(number).map(|state| state.stream);
        let again = segment.orphans()?.into_iter().filter(|(number, run)| {
            number & MENDED != 0 && u64::from(run.offset) < end && offset < u64::from(run.offset + run.len) // here again, and rotted again
        });
        for (number, run) in segment.runs_in(offset, end)?.into_iter().chain(again) {
            let Some(stream) = name(number & !MENDED) else { continue };
            if let Some((first, _)) = self.lost(&stream, run.first, run.first + u64::from(run.count) - 1)?.first() {
                return Ok(Some((stream, *first)));
            }
        }
        for (number, run) in segment.checkpoint_runs_in(offset, end)? {
            let Some(stream) = name(number) else { continue };
            self.checkpoints(&stream, run.first, run.last)?;
            if self.rot.borrow().checkpoints.get(&stream).is_some_and(|lost| lost.contains(&(run.first, run.last))) {
                return Ok(Some((stream, run.last)));
            }
        }
        Ok(None)
    }
}

/// The first whole frame of a stream in `bytes` from `from` on: where it stands, its head and length.
pub(super) fn frame_in(bytes: &[u8], from: usize, number: u32, kind: Kind) -> Option<(usize, frame::Head, usize)> {
    (from..bytes.len().saturating_sub(frame::FRAME_OVERHEAD - 1)).find_map(|at| match frame::look(&bytes[at..]) {
        Look::Frame(head, len) if head.kind == kind && head.stream == number => Some((at, head, len)),
        _ => None,
    })
}

/// Add a stretch, joined with what it touches.
fn insert(stretches: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    let (mut from, mut to) = (first, last);
    stretches.retain(|&(first, last)| {
        let apart = last + 1 < from || to + 1 < first;
        if !apart {
            (from, to) = (from.min(first), to.max(last));
        }
        apart
    });
    stretches.push((from, to));
    stretches.sort_unstable();
}

/// Take a stretch out.
fn remove(stretches: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    let rest = |&(from, to): &(u64, u64)| [(from, to.min(first - 1)), (from.max(last + 1), to)].into_iter().filter(|(from, to)| from <= to);
    *stretches = stretches.iter().flat_map(rest).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_and_part() {
        let mut all = Vec::new();
        for (first, last) in [(9, 9), (1, 2), (5, 6), (3, 4), (20, 30)] {
            insert(&mut all, first, last);
        }
        assert_eq!(all, [(1, 6), (9, 9), (20, 30)]);
        remove(&mut all, 2, 3);
        remove(&mut all, 9, 22);
        assert_eq!(all, [(1, 1), (4, 6), (23, 30)]);
        remove(&mut all, 1, 40);
        assert!(all.is_empty());
    }
}
