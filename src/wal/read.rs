//! Events out of the log: one stream in order, or everything in the order it was stored. Lent one at a time, nothing allocated per event.

use super::frame::{self, Kind, Look};
use super::mended::{Again, frame_in};
use super::segment::{Cursor, Index};
use super::tables::{Dir, HEADER_LEN, MENDED, NO_STREAM, Run};
use super::view::{SegmentRef, View};
use crate::ports::store::{Events, Scan, Spot, StoreError, Stream};
use std::collections::BTreeMap;
use std::ops::Range;

/// An opened events frame in a buffer.
struct Frame {
    body: Range<usize>,
    count: u16,
    index: u16,
    /// Where the next event stands in the body.
    at: usize,
    /// Position of the next event.
    seq: u64,
}

impl Frame {
    fn new(body: Range<usize>, bytes: &[u8], head: &frame::Head) -> Option<Self> {
        let at = frame::first_event(&bytes[body.clone()], head.count)?;
        Some(Self { body, count: head.count, index: 0, at, seq: head.first })
    }

    /// Position and place of the next event in the buffer.
    fn next(&mut self, bytes: &[u8]) -> Option<(u64, Range<usize>)> {
        if self.index == self.count {
            return None;
        }
        let len = frame::event_len(&bytes[self.body.clone()], self.index);
        let start = self.body.start + self.at;
        let seq = self.seq;
        (self.index, self.at, self.seq) = (self.index + 1, self.at + len, seq + 1);
        Some((seq, start..start + len))
    }
}

/// Events of one stream. What rotted is read where it is here again.
pub(super) struct StreamEvents<'a> {
    view: &'a View,
    stream: Stream,
    number: u32,
    next: u64,
    end: u64,
    /// Segments to read, the next one last.
    plan: Vec<u32>,
    segment: Option<(SegmentRef<'a>, Dir, u32)>,
    run: Vec<u8>,
    run_offset: u64,
    at: usize,
    frame: Option<Frame>,
    /// Events that are here again, before `frame` is read on.
    again: Option<(Vec<u8>, Frame)>,
    /// Where damage was met last.
    damage: (u32, u64),
    /// The stretch that stopped the reading.
    lost: Option<(u64, u64)>,
}

/// In which buffer an event stands.
enum Buffer {
    Run,
    Again,
}

impl<'a> StreamEvents<'a> {
    /// Events from `from` to the head.
    pub fn new(view: &'a View, stream: &Stream, from: u64) -> Result<Self, StoreError> {
        let (mut plan, mut next, mut end, mut number, mut gone) = (Vec::new(), 1, 0, 0, None);
        if let Some((known, state)) = view.known(stream) {
            (number, next, end) = (known, from.max(state.base.seq + 1), state.end.seq);
            if next <= end {
                gone = view.back(number, state, |segment, dir| {
                    if dir.run_count > 0 && dir.last >= next {
                        plan.push(segment.number);
                    }
                    Ok(dir.run_count > 0 && dir.first <= next)
                })?;
            }
        }
        let (run, run_offset, at, damage) = (Vec::new(), 0, 0, (gone.unwrap_or(0), 0));
        let stream = *stream;
        Ok(Self { view, stream, number, next, end, plan, segment: None, run, run_offset, at, frame: None, again: None, damage, lost: None })
    }

    fn advance(&mut self) -> Result<Option<(u64, Buffer, Range<usize>)>, StoreError> {
        while self.next <= self.end && self.lost.is_none() {
            if let Some((bytes, frame)) = &mut self.again {
                match frame.next(bytes) {
                    Some((seq, place)) if seq == self.next => {
                        self.next += 1;
                        return Ok(Some((seq, Buffer::Again, place)));
                    }
                    Some(_) => {}
                    None => self.again = None,
                }
            } else if let Some(frame) = self.frame.as_mut().filter(|frame| frame.index < frame.count) {
                if frame.seq > self.next {
                    let behind = frame.seq;
                    self.missing(behind)?;
                } else if let Some((seq, place)) = frame.next(&self.run)
                    && seq == self.next
                {
                    self.next += 1;
                    return Ok(Some((seq, Buffer::Run, place)));
                }
            } else if self.at < self.run.len() {
                self.open_frame()?;
            } else if !self.read_run()? {
                self.missing(self.end + 1)?;
            }
        }
        Ok(None)
    }

    /// Events from the next to before `behind` are not where they were stored: they are here again, or lost.
    fn missing(&mut self, behind: u64) -> Result<(), StoreError> {
        match self.view.again(self.number, self.next, self.damage)? {
            Again::Here(bytes, head, body_len) => {
                let frame = Frame::new(frame::HEAD_LEN..frame::HEAD_LEN + body_len, &bytes, &head).ok_or(self.damaged())?;
                self.again = Some((bytes, frame));
                Ok(())
            }
            Again::Lost(next) => {
                let last = next.map_or(behind, |next| next.min(behind)) - 1;
                self.view.note_lost(&self.stream, self.next, last);
                self.lost = Some((self.next, last));
                Err(self.damaged())
            }
        }
    }

    /// Open the frame at `at`, or pass over it when it ends before the next event, or is none.
    fn open_frame(&mut self) -> Result<(), StoreError> {
        self.frame = None;
        let Some((segment, ..)) = &self.segment else { return Err(self.damaged()) };
        let (head, len) = match frame::look(&self.run[self.at..]) {
            Look::Frame(head, len) if head.kind == Kind::Events && head.stream == self.number => (head, len),
            _ => {
                self.damage = (segment.number, self.run_offset + self.at as u64);
                self.at = frame_in(&self.run, self.at + 1, self.number, Kind::Events).map_or(self.run.len(), |(at, ..)| at);
                return Ok(());
            }
        };
        if head.first + u64::from(head.count) > self.next {
            let offset = self.run_offset + self.at as u64;
            let start = self.at + frame::HEAD_LEN;
            let body_len = segment.open_frame(&mut self.run[self.at..self.at + len], offset, &self.view.place.keys)?.len();
            let damaged = StoreError::Damaged { segment: segment.number, offset, stream: Some((self.stream, self.next)) };
            self.frame = Some(Frame::new(start..start + body_len, &self.run, &head).ok_or(damaged)?);
        }
        self.at += len;
        Ok(())
    }

    /// Read the next run, from the next segment when this one has no more; `false` when none has.
    fn read_run(&mut self) -> Result<bool, StoreError> {
        self.frame = None;
        if self.segment.as_ref().is_none_or(|(_, dir, index)| *index >= dir.run_count) {
            let Some(number) = self.plan.pop() else { return Ok(false) };
            let segment = self.view.segment(number)?;
            let dir = segment.dir(self.number)?.ok_or(segment.damaged(0))?;
            let index = segment.find_run(&dir, self.next)?;
            self.segment = Some((segment, dir, index));
            return Ok(true);
        }
        let Some((segment, dir, index)) = &mut self.segment else { return Ok(false) };
        let run = segment.run(dir, *index)?;
        *index += 1;
        (self.run_offset, self.at) = (u64::from(run.offset), 0);
        self.run.clear();
        self.run.resize(run.len as usize, 0);
        segment.read_exact(&mut self.run, self.run_offset)?;
        Ok(true)
    }

    fn damaged(&self) -> StoreError {
        let (segment, offset) = if self.damage.0 == 0 { (self.view.first, 0) } else { self.damage };
        StoreError::Damaged { segment, offset, stream: Some((self.stream, self.next)) }
    }
}

impl Events for StreamEvents<'_> {
    fn next(&mut self) -> Result<Option<(u64, &[u8])>, StoreError> {
        match self.advance() {
            Ok(Some((seq, Buffer::Run, place))) => Ok(Some((seq, &self.run[place]))),
            Ok(Some((seq, Buffer::Again, place))) => Ok(self.again.as_ref().map(|(bytes, _)| (seq, &bytes[place]))),
            Ok(None) => Ok(None),
            Err(error) => {
                if self.lost.is_none() {
                    self.next = self.end.saturating_add(1); // nothing behind it is in order
                }
                Err(error)
            }
        }
    }

    fn pass_over(&mut self) -> Option<(u64, u64)> {
        let (first, last) = self.lost.take()?;
        self.next = last + 1;
        Some((first, last))
    }
}

/// All events; what is here again stands where it was stored again.
pub(super) struct AllEvents<'a> {
    view: &'a View,
    /// The segment to open next.
    number: u32,
    segment: Option<SegmentRef<'a>>,
    orphans: Vec<(u32, Run)>,
    cursor: Cursor,
    offset: u64,
    /// Where the frame that is read begins.
    frame_offset: u64,
    /// Where to begin.
    from: Spot,
    bytes: Vec<u8>,
    stream: Option<Stream>,
    frame: Option<Frame>,
    /// What the frame holds is there again.
    is_again: bool,
    /// Up to which event that counts, of each stream of which something is again in this segment.
    again_until: BTreeMap<u32, u64>,
    /// The last event of the frame that counts.
    until: u64,
    /// Behind damage of which no index tells what stood there, and nothing opened since: it may have held the beginning of a session.
    unsure: bool,
}

impl<'a> AllEvents<'a> {
    /// From the event at `from` on.
    pub fn new(view: &'a View, from: Spot) -> Self {
        let (cursor, orphans, bytes) = (Cursor::default(), Vec::new(), Vec::new());
        let number = from.segment.max(view.first);
        Self {
            view,
            number,
            segment: None,
            orphans,
            cursor,
            offset: 0,
            frame_offset: 0,
            from,
            bytes,
            stream: None,
            frame: None,
            is_again: false,
            again_until: BTreeMap::new(),
            until: u64::MAX,
            unsure: false,
        }
    }

    fn advance(&mut self) -> Result<Option<(Stream, u64, Range<usize>)>, StoreError> {
        loop {
            if let (Some(frame), Some(stream)) = (&mut self.frame, self.stream) {
                if let Some((seq, place)) = frame.next(&self.bytes).filter(|(seq, _)| *seq <= self.until) {
                    return Ok(Some((stream, seq, place)));
                }
                self.frame = None;
            }
            let ended = self.segment.as_ref().is_none_or(|segment| self.offset >= segment.end);
            if !ended {
                self.next_frame()?;
            } else if self.number <= self.view.active.number {
                self.next_segment()?;
            } else {
                return Ok(None);
            }
        }
    }

    fn next_segment(&mut self) -> Result<(), StoreError> {
        let number = self.number;
        (self.number, self.segment) = (number + 1, None);
        let segment = self.view.segment(number)?;
        self.orphans = segment.orphans()?;
        self.orphans.retain(|(stream, _)| stream & MENDED == 0);
        let begin = if number == self.from.segment { self.from.offset } else { 0 };
        (self.cursor, self.offset) = (Cursor::new(segment.end), begin.max(HEADER_LEN as u64));
        self.segment = Some(segment);
        self.again_until.clear();
        self.unsure = false;
        Ok(())
    }

    fn next_frame(&mut self) -> Result<(), StoreError> {
        let Some(segment) = &self.segment else { return Ok(()) };
        let offset = self.offset;
        let void = |(_, run): &&(u32, Run)| (u64::from(run.offset)..u64::from(run.offset + run.len)).contains(&offset);
        if let Some((_, run)) = self.orphans.iter().find(void) {
            self.offset = u64::from(run.offset + run.len);
            return Ok(());
        }
        let Look::Frame(head, len) = self.cursor.look(segment, offset)? else {
            if let Some(hole) = self.view.place.holes.at(segment.number, offset) {
                self.offset = offset + hole.len.max(1);
                return if hole.is_kept { Ok(()) } else { Err(segment.damaged(offset)) };
            }
            self.offset = self.cursor.resync(segment, offset)?.unwrap_or(segment.end);
            let is_indexed = matches!(segment.index, Index::Sealed(_));
            self.unsure = !is_indexed;
            let is_whole = is_indexed && self.view.lost_in(segment, offset, self.offset)?.is_none();
            return if is_whole { Ok(()) } else { Err(segment.damaged(offset)) };
        };
        (self.frame_offset, self.offset) = (offset, offset + len as u64);
        if !matches!(head.kind, Kind::Events | Kind::Mended) {
            self.unsure &= head.kind != Kind::Session;
            return Ok(());
        }
        self.is_again = head.kind == Kind::Mended;
        self.until = u64::MAX;
        if self.is_again {
            let until = self.again_until.get(&head.stream).copied();
            self.until = until.map_or_else(|| self.view.again_until(head.stream, (segment.number, offset)), Ok)?;
            self.again_until.insert(head.stream, self.until);
        }
        self.stream = self.view.streams.get(head.stream).map(|state| state.stream);
        let stream = self.stream.ok_or(segment.damaged(offset))?;
        self.bytes.clear();
        self.bytes.extend_from_slice(self.cursor.frame(segment, offset, len)?);
        let damaged = StoreError::Damaged { segment: segment.number, offset, stream: Some((stream, head.first)) };
        let body_len = match segment.open_frame(&mut self.bytes, offset, &self.view.place.keys) {
            Err(StoreError::Tampered { .. }) if self.unsure => return Err(damaged), // a part of the damage before it
            body => body?.len(),
        };
        self.unsure = false;
        let body = frame::HEAD_LEN..frame::HEAD_LEN + body_len;
        let mut frame = Frame::new(body, &self.bytes, &head).ok_or(damaged)?;
        if (segment.number, offset) == (self.from.segment, self.from.offset) {
            while frame.index < self.from.index && frame.next(&self.bytes).is_some() {}
        }
        self.frame = Some(frame);
        Ok(())
    }
}

impl Scan for AllEvents<'_> {
    fn next(&mut self) -> Result<Option<(Stream, u64, &[u8])>, StoreError> {
        Ok(self.advance()?.map(|(stream, seq, place)| (stream, seq, &self.bytes[place])))
    }

    fn spot(&self) -> Spot {
        let segment = self.segment.as_ref().map_or(0, |segment| segment.number);
        let index = self.frame.as_ref().map_or(0, |frame| frame.index.saturating_sub(1));
        Spot { segment, offset: self.frame_offset, index }
    }

    fn is_again(&self) -> bool {
        self.is_again
    }
}

impl View {
    /// The first and the last position behind `after` that are readable behind a hole, without their events.
    pub fn orphan_span(&self, stream: &Stream, after: u64) -> Result<Option<(u64, u64)>, StoreError> {
        let mut span: Option<(u64, u64)> = None;
        let Some((number, _)) = self.known(stream).filter(|(number, _)| *number != NO_STREAM) else { return Ok(span) };
        for at in self.first..=self.active.number {
            for (_, run) in self.segment(at)?.orphans()?.into_iter().filter(|(of, run)| *of == number && run.first > after) {
                let last = run.first + u64::from(run.count).saturating_sub(1);
                span = Some(span.map_or((run.first, last), |(first, end)| (first.min(run.first), end.max(last))));
            }
        }
        Ok(span)
    }

    /// Events of a stream that a hole cut it off from.
    pub fn orphans(&self, stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        let Some((number, _)) = self.known(stream).filter(|(number, _)| *number != NO_STREAM) else { return Ok(found) };
        for at in self.first..=self.active.number {
            let segment = self.segment(at)?;
            for (_, run) in segment.orphans()?.into_iter().filter(|(of, _)| *of == number) {
                let mut bytes = vec![0; run.len as usize];
                let run_offset = u64::from(run.offset);
                segment.read_exact(&mut bytes, run_offset)?;
                let mut next = frame_in(&bytes, 0, number, Kind::Events);
                while let Some((start, head, len)) = next {
                    let offset = run_offset + start as u64;
                    let body_len = segment.open_frame(&mut bytes[start..start + len], offset, &self.place.keys)?.len();
                    let body = start + frame::HEAD_LEN..start + frame::HEAD_LEN + body_len;
                    let mut frame = Frame::new(body, &bytes, &head).ok_or(segment.damaged(offset))?;
                    while let Some((seq, place)) = frame.next(&bytes) {
                        found.push((seq, bytes[place].to_vec()));
                    }
                    next = frame_in(&bytes, start + len, number, Kind::Events); // what has rotted since is passed over
                }
            }
        }
        Ok(found)
    }
}
