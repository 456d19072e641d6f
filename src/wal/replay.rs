//! Walk one segment frame by frame and learn what it says: its index, the heads at its end, holes, a torn tail. Writes nothing.
//!
//! Without damage only checksums, heads, definitions and marks are looked at, and events are opened from the last mark on: an uncleanly stopped
//! segment opens in milliseconds. With damage every frame is opened, in order.

use super::aside::Holes;
use super::frame::{self, Head, Kind, Look};
use super::heads::{ENTRIES_MAX, HoleId, MARK_ENTRY_LEN, StreamState, Streams, read_definition, read_mark};
use super::keys::DataKeys;
use super::segment::{Cursor, Segment};
use super::tables::{CheckpointRun, HEADER_LEN, MENDED, Run, Tables};
use crate::ports::store::StoreError;
use bundle_format::chain::{Position, digest};
use bundle_format::hlc::Hlc;
use bundle_format::limits::SEQ_MAX;

/// What a walk found.
pub(super) struct Replayed {
    /// The index.
    pub tables: Tables,
    /// Damage with frames behind it.
    pub holes: Vec<Hole>,
    /// Where the log's frames end.
    pub end: u64,
    /// Bytes behind the end that are no frame.
    pub torn_len: u64,
    /// Sealing had begun at the end.
    pub sealing: bool,
    /// Frames since the last mark, and their bytes.
    pub since_mark: (u32, u64),
}

/// Damaged bytes, from the end of a good frame to the beginning of the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// Where.
    pub offset: u64,
    /// How long.
    pub len: u64,
    /// Whether a cut-back frame tells of it.
    pub known: bool,
}

/// What a walk is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The heads at the segment's end: behind damage, what does not lead on from what stands before is void.
    Heads,
    /// Where things stand, in a segment behind which the heads are known: what does not lead on is read all the same (R10.8-h). The heads come out wrong.
    Places,
}

/// Walk `segment`, whose frames end before `end`, from the heads of the segment before it; `streams` become the heads at its end.
///
/// `None`: there is damage and `open_all` was not asked for; `streams` are spoilt.
///
/// # Errors
/// [`StoreError::Tampered`] for a frame our keys do not open, [`StoreError::Damaged`] for histories that do not fit together.
pub(super) fn replay(
    segment: &Segment,
    end: u64,
    streams: &mut Streams,
    keys: &DataKeys,
    aside: &Holes,
    (wanted, open_all): (Wanted, bool),
) -> Result<Option<Replayed>, StoreError> {
    let replayed = Replayed { tables: Tables::default(), holes: Vec::new(), end: HEADER_LEN as u64, torn_len: 0, sealing: false, since_mark: (0, 0) };
    if wanted == Wanted::Places {
        streams.forget_damage();
    }
    let inherited = streams.holed.or_else(|| streams.numbered().find_map(|(_, state)| state.broken));
    if inherited.is_some() && !open_all {
        return Ok(None);
    }
    let mut walk = Walk { segment, streams, keys, aside, wanted, open_all, unsure: false, inherited, mark_end: HEADER_LEN as u64, replayed };
    let mut cursor = Cursor::new(end);
    if !walk.frames(&mut cursor)? {
        return Ok(None);
    }
    if !open_all && wanted == Wanted::Heads {
        walk.events_since_mark(&mut cursor)?;
    }
    Ok(Some(walk.replayed))
}

/// What became of one frame.
enum Taken {
    Good,
    /// Checksum good, and not to be opened because its session is lost in a hole: a part of the hole.
    Unreadable,
    /// Sealing began here.
    Sealing,
}

/// What stands where no frame is.
enum Gap {
    /// Damage up to here.
    Hole(u64),
    /// So many bytes that never were a frame; 0 where the log ends cleanly.
    Torn(u64),
}

struct Walk<'a> {
    segment: &'a Segment,
    streams: &'a mut Streams,
    keys: &'a DataKeys,
    /// What was put aside of this segment before.
    aside: &'a Holes,
    wanted: Wanted,
    open_all: bool,
    /// Behind a hole, and nothing opened since: the hole may have held a session frame.
    unsure: bool,
    /// An earlier segment, whose index is lost too, has a hole.
    inherited: Option<HoleId>,
    mark_end: u64,
    replayed: Replayed,
}

impl Walk<'_> {
    /// All frames; `false` when there is damage and only the quick look was asked for.
    fn frames(&mut self, cursor: &mut Cursor) -> Result<bool, StoreError> {
        let mut offset = HEADER_LEN as u64;
        loop {
            if let Look::Frame(head, len) = cursor.look(self.segment, offset)? {
                let frame_end = offset + len as u64;
                match self.take(&head, cursor.frame(self.segment, offset, len)?, offset)? {
                    Taken::Good => {
                        self.replayed.end = frame_end;
                        self.replayed.since_mark.0 += 1;
                        self.replayed.since_mark.1 += len as u64;
                        if head.kind == Kind::Mark && head.first == 0 {
                            self.mark_end = frame_end;
                            self.replayed.since_mark = (0, 0);
                        }
                    }
                    Taken::Unreadable => {
                        self.hole(offset, frame_end);
                        self.replayed.end = frame_end;
                    }
                    Taken::Sealing => {
                        self.replayed.sealing = true;
                        self.replayed.end = offset; // also behind a hole, which must not be cut off with the index
                        return Ok(true);
                    }
                }
                offset = frame_end;
            } else {
                let gap = self.gap(cursor, offset)?;
                cursor.forget();
                if matches!(cursor.look(self.segment, offset)?, Look::Frame(..)) {
                    continue; // a live writer was at it
                }
                match gap {
                    Gap::Torn(len) => {
                        self.replayed.torn_len = len;
                        return Ok(true);
                    }
                    Gap::Hole(_) if !self.open_all => return Ok(false),
                    Gap::Hole(end) => {
                        self.hole(offset, end);
                        self.replayed.end = end;
                        self.unsure = true;
                        offset = end;
                    }
                }
            }
        }
    }

    fn gap(&self, cursor: &mut Cursor, offset: u64) -> Result<Gap, StoreError> {
        if let Some(next) = cursor.resync(self.segment, offset)? {
            return Ok(Gap::Hole(next));
        }
        let Some(last) = cursor.last_nonzero(self.segment, offset)? else { return Ok(Gap::Torn(0)) };
        // no whole frame follows: what has rotted at the log's end takes with it what stands behind it
        let was_whole = cursor.was_whole(self.segment, offset, last)?;
        Ok(if was_whole { Gap::Hole(last) } else { Gap::Torn(last - offset) })
    }

    /// Damage from `start` to `end`. Where it has grown, what was put aside stays a hole of its own, which its cut-back frames name.
    fn hole(&mut self, start: u64, end: u64) {
        let kept = |offset: u64| self.aside.at(self.segment.number, offset).filter(|hole| hole.is_kept);
        if let Some(hole) = self.replayed.holes.last_mut()
            && hole.offset + hole.len == start
            && kept(hole.offset).is_none_or(|kept| kept.len != hole.len)
        {
            hole.len = end - hole.offset;
            return;
        }
        let middle = kept(start).map(|hole| start + hole.len).filter(|middle| *middle < end);
        let places = [start].into_iter().chain(middle).zip(middle.into_iter().chain([end]));
        self.replayed.holes.extend(places.map(|(start, end)| Hole { offset: start, len: end - start, known: false }));
    }

    fn damage_before(&self) -> Option<HoleId> {
        self.replayed.holes.len().checked_sub(1).map(|last| (self.segment.number, last)).or(self.inherited)
    }

    /// Where a frame stands is looked at before its seal, which a quick look opens of few (R10.3-h).
    fn take(&mut self, head: &Head, frame: &mut [u8], offset: u64) -> Result<Taken, StoreError> {
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let at = u32::try_from(offset).map_err(|_| self.segment.damaged(offset))?;
        match head.kind {
            Kind::Session => return self.take_session(head, frame, offset),
            Kind::Heads => return Ok(Taken::Sealing),
            Kind::Events if !self.open_all => {
                let run = Run { first: head.first, count: u32::from(head.count), offset: at, len };
                return self.take_events(head, run, None);
            }
            Kind::Checkpoints if !self.open_all => return Ok(self.take_checkpoints(head, at, len)),
            Kind::Mended if !self.open_all => return self.take_mended(head, at, len),
            _ => {}
        }
        let Some(session) = self.replayed.tables.sessions.last() else { return self.unopened(offset) };
        let Some(body) = self.segment.open_frame_of(session, frame, offset, self.keys) else { return self.unopened(offset) };
        self.unsure = false;
        match head.kind {
            Kind::Stream => self.take_definition(head, body, offset),
            Kind::Mark => self.take_mark(head, body, offset),
            Kind::CutBack => self.take_cut_back(head, body, offset),
            Kind::Checkpoints => Ok(self.take_checkpoints(head, at, len)),
            Kind::Events => {
                let run = Run { first: head.first, count: u32::from(head.count), offset: at, len };
                self.take_events(head, run, Some(body))
            }
            Kind::Mended => self.take_mended(head, at, len),
            Kind::Session | Kind::Heads => unreachable!("answered above"),
        }
    }

    /// A frame that no session opens: lost with its session in a hole, or somebody else's.
    fn unopened(&self, offset: u64) -> Result<Taken, StoreError> {
        if self.unsure { Ok(Taken::Unreadable) } else { Err(StoreError::Tampered { segment: self.segment.number, offset }) }
    }

    fn take_session(&mut self, head: &Head, frame: &mut [u8], offset: u64) -> Result<Taken, StoreError> {
        let tampered = StoreError::Tampered { segment: self.segment.number, offset };
        let Some(session) = frame::read_session(frame, head, offset) else { return Err(tampered) };
        let first = self.replayed.tables.sessions.is_empty(); // the key is proved before anything else is believed
        if (first || self.open_all) && self.segment.open_frame_of(&session, frame, offset, self.keys).is_none() {
            return Err(tampered);
        }
        self.unsure = false;
        self.replayed.tables.sessions.push(session);
        Ok(Taken::Good)
    }

    /// Each session says again which streams it writes to.
    fn take_definition(&mut self, head: &Head, body: &[u8], offset: u64) -> Result<Taken, StoreError> {
        let damaged = self.segment.damaged(offset);
        let Some((stream, hash)) = read_definition(body) else { return Err(damaged) };
        let base = Position { seq: head.first, hash };
        match (self.streams.get(head.stream), self.streams.number(&stream)) {
            (None, None) => self.streams.define(head.stream, StreamState::new(stream, base)),
            (Some(known), Some(_)) if (known.stream, known.base) == (stream, base) => {}
            _ => return Err(damaged),
        }
        Ok(Taken::Good)
    }

    fn take_events(&mut self, head: &Head, run: Run, body: Option<&[u8]>) -> Result<Taken, StoreError> {
        let damage = self.damage_before();
        let offset = u64::from(run.offset);
        if self.wanted == Wanted::Places {
            return Ok(self.place_events(head, run));
        }
        let Some(state) = self.streams.get_mut(head.stream) else {
            self.streams.highest = self.streams.highest.max(head.stream);
            return if damage.is_some() { Ok(Taken::Unreadable) } else { Err(self.segment.damaged(offset)) };
        };
        if state.broken.is_none() && head.first != state.seq + 1 {
            if damage.is_none() {
                return Err(StoreError::Damaged { segment: self.segment.number, offset, stream: Some((state.stream, head.first)) });
            }
            state.broken = damage;
        }
        if state.broken.is_none() {
            if let Some(body) = body {
                state.end = chained(state.end, body, head).ok_or(self.segment.damaged(offset))?;
            }
            state.seq += u64::from(head.count);
            state.hlc = Hlc(head.hlc);
            state.touched = true;
        }
        self.replayed.tables.add_events(head.stream, run, state.broken.is_some());
        Ok(Taken::Good)
    }

    /// Where events stand, whatever rotted before them: also what their stream's number stands for, which a later segment tells.
    fn place_events(&mut self, head: &Head, run: Run) -> Taken {
        if !is_place(head) {
            return Taken::Good;
        }
        let mut is_void = false;
        if let Some(state) = self.streams.get_mut(head.stream) {
            is_void = head.first <= state.seq;
            state.seq = state.seq.max(head.first + u64::from(head.count) - 1);
        }
        self.replayed.tables.add_events(head.stream, run, is_void);
        Taken::Good
    }

    fn take_checkpoints(&mut self, head: &Head, offset: u32, len: u32) -> Taken {
        if head.first > head.hlc {
            return Taken::Good; // a place that cannot be, and that no table may tell of
        }
        if self.wanted == Wanted::Heads {
            let Some(state) = self.streams.get_mut(head.stream) else { return Taken::Unreadable };
            if state.broken.is_some() || head.hlc > state.seq {
                return Taken::Good;
            }
            state.checkpoint_seq = state.checkpoint_seq.max(head.hlc);
            state.touched = true;
        }
        let run = CheckpointRun { first: head.first, last: head.hlc, offset, len, count: u32::from(head.count) };
        self.replayed.tables.streams.entry(head.stream).or_default().checkpoints.push(run);
        Taken::Good
    }

    /// What is here again moves no head. Behind a hole it may be of events that went with it: they come again with the rest.
    fn take_mended(&mut self, head: &Head, offset: u32, len: u32) -> Result<Taken, StoreError> {
        let count = u32::from(head.count);
        let is_held = |state: &StreamState| state.base.seq < head.first && head.first + u64::from(count) - 1 <= state.seq;
        let held = is_place(head) && (self.wanted == Wanted::Places || self.streams.get(head.stream).is_some_and(is_held));
        if held {
            self.replayed.tables.add_events(head.stream | MENDED, Run { first: head.first, count, offset, len }, true);
        } else if self.damage_before().is_none() && self.wanted == Wanted::Heads {
            return Err(self.segment.damaged(u64::from(offset)));
        }
        Ok(Taken::Good)
    }

    fn take_mark(&mut self, head: &Head, body: &[u8], offset: u64) -> Result<Taken, StoreError> {
        let damage = self.damage_before();
        if body.len() != usize::from(head.count) * MARK_ENTRY_LEN || usize::from(head.count) > ENTRIES_MAX {
            return Err(self.segment.damaged(offset));
        }
        for mark in body.chunks_exact(MARK_ENTRY_LEN).filter_map(read_mark) {
            let Some(state) = self.streams.get_mut(mark.number) else { continue };
            if state.broken.is_some() || self.wanted == Wanted::Places {
                continue;
            }
            if mark.end.seq == state.seq && (!self.open_all || mark.end.hash == state.end.hash) {
                state.end = mark.end;
                state.touched = false;
            } else if damage.is_some() {
                state.broken = damage; // its newest events were in the hole
            } else {
                return Err(StoreError::Damaged { segment: self.segment.number, offset, stream: Some((state.stream, mark.end.seq)) });
            }
        }
        Ok(Taken::Good)
    }

    fn take_cut_back(&mut self, head: &Head, body: &[u8], offset: u64) -> Result<Taken, StoreError> {
        if body.len() != usize::from(head.count) * MARK_ENTRY_LEN {
            return Err(self.segment.damaged(offset));
        }
        for mark in body.chunks_exact(MARK_ENTRY_LEN).filter_map(read_mark) {
            let Some(state) = self.streams.get_mut(mark.number) else { continue };
            (state.end, state.seq, state.checkpoint_seq, state.hlc) = (mark.end, mark.end.seq, mark.checkpoint_seq, mark.hlc);
            state.broken = None;
            state.touched = true;
            self.replayed.tables.cut_back(mark.number, mark.end.seq);
        }
        for hole in self.replayed.holes.iter_mut().filter(|hole| (hole.offset, hole.len) == (head.first, head.hlc)) {
            hole.known = true;
            self.replayed.tables.add_hole(hole.offset, hole.len);
        }
        Ok(Taken::Good)
    }

    /// The quick look's second half: chain the events behind the last mark.
    fn events_since_mark(&mut self, cursor: &mut Cursor) -> Result<(), StoreError> {
        let sessions = &self.replayed.tables.sessions;
        let mut session = sessions.partition_point(|session| u64::from(session.offset) < self.mark_end);
        let mut offset = self.mark_end;
        cursor.forget();
        while offset < self.replayed.end {
            let tampered = StoreError::Tampered { segment: self.segment.number, offset };
            let Look::Frame(head, len) = cursor.look(self.segment, offset)? else { return Err(self.segment.damaged(offset)) };
            if head.kind == Kind::Session {
                session += 1;
            }
            if matches!(head.kind, Kind::Session | Kind::Events) {
                let frame = cursor.frame(self.segment, offset, len)?;
                let of = session.checked_sub(1).and_then(|session| sessions.get(session)).ok_or(self.segment.damaged(offset))?;
                let body = self.segment.open_frame_of(of, frame, offset, self.keys).ok_or(tampered)?;
                if head.kind == Kind::Events {
                    let state = self.streams.get_mut(head.stream).ok_or(self.segment.damaged(offset))?;
                    state.end = chained(state.end, body, &head).ok_or(self.segment.damaged(offset))?;
                }
            }
            offset += len as u64;
        }
        match self.streams.numbered().find(|(_, state)| state.end.seq != state.seq) {
            Some((_, state)) => Err(StoreError::Damaged { segment: self.segment.number, offset, stream: Some((state.stream, state.seq)) }),
            None => Ok(()),
        }
    }
}

/// Whether events can stand where a head says, which no seal was asked about yet.
fn is_place(head: &Head) -> bool {
    head.count > 0 && (1..=SEQ_MAX - u64::from(head.count)).contains(&head.first)
}

/// `end` after the events of a frame; `None` when they do not follow or their lengths do not fit.
fn chained(end: Position, body: &[u8], head: &Head) -> Option<Position> {
    let mut at = frame::first_event(body, head.count).filter(|_| head.first == end.seq + 1)?;
    Some((0..head.count).fold(end, |position, index| {
        let len = frame::event_len(body, index);
        let event = &body[at..at + len];
        at += len;
        position.then(&digest(event))
    }))
}
