//! The writer's hand: frames into a buffer, the buffer onto the disk, a full segment sealed and the next one made (R10.4-d).
//!
//! A group of appends costs as many writes as it fills buffers, and one sync. A failed write or sync leaves the file's content unknown: the
//! writer is poisoned, takes nothing more, and only opening the log anew tells what is there.

use super::frame::{self, Head, Kind};
use super::heads::{
    CHECKPOINTS_MAX, ENTRIES_MAX, HEAD_ENTRY_LEN, MARK_ENTRY_LEN, StreamState, Streams, write_checkpoint, write_definition, write_head, write_mark,
};
use super::keys::{Session, SessionKey};
use super::recover::TABLES_HASH_LEN;
use super::replay::Hole;
use super::segment::{self, Segment};
use super::tables::{CheckpointRun, HEADER_LEN, MENDED, Run, Tables, Trailer, write_header};
use super::view::View;
use super::{Options, keys::DataKeys};
use crate::ports::disk::{Disk, Open, sync_or_forget};
use crate::ports::store::{Checkpointed, Finding, StoreError, Stream};
use crate::ports::{Clock, Entropy};
use bundle_format::chain::Run as Events;
use bundle_format::hlc::Hlc;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::rc::Rc;

/// The buffer is written when it holds this much.
const WRITE_LEN: usize = 128 * 1024;
/// A write below this length that grows the file takes zeros with it to the next multiple of [`PAD_LEN`], so that the next 99 writes grow
/// nothing and their sync needs no journal. Above it the zeros would cost more than they save (R10.4-c).
const PAD_BELOW: usize = 16 * 1024;
/// See [`PAD_BELOW`].
const PAD_LEN: u64 = 64 * 1024;
/// Frames between two marks: what an opening after a crash must decrypt and hash (R10.4-f).
const MARK_FRAMES: u32 = 1024;
/// Bytes between two marks, the same reason.
const MARK_LEN: u64 = 1 << 20;
/// A session that has written this much ends: what its beginning costs when it rots (R10.3-a).
const SESSION_LEN: u64 = 64 * 1024;

/// What frames are sealed in. It leans on nothing before it, so that what rots before it costs nothing in it.
struct OpenSession {
    key: SessionKey,
    offset: u64,
    /// Streams whose definition stands in it.
    defined: BTreeSet<u32>,
}

/// What only the writer has.
pub(super) struct Writer {
    pub entropy: Rc<dyn Entropy>,
    pub clock: Rc<dyn Clock>,
    pub options: Options,
    session: Option<OpenSession>,
    /// Length of the active file, padding included.
    file_len: u64,
    since_mark: (u32, u64),
    /// Written, or found, and not known to be durable.
    unsynced: bool,
    poisoned: Option<String>,
}

impl Writer {
    /// For an active segment whose file has this length.
    pub fn new(entropy: Rc<dyn Entropy>, clock: Rc<dyn Clock>, options: Options, file_len: u64, since_mark: (u32, u64)) -> Self {
        Self { entropy, clock, options, session: None, file_len, since_mark, unsynced: true, poisoned: None }
    }

    /// Refuses when a write or sync has failed.
    pub fn check(&self) -> Result<(), StoreError> {
        self.poisoned.as_ref().map_or(Ok(()), |reason| Err(StoreError::Poisoned(reason.clone())))
    }

    /// Append events at the head of a stream; a stream not known yet begins with them.
    pub fn append(&mut self, view: &mut View, stream: &Stream, run: &Events<'_>, hlc: Hlc) -> Result<(), StoreError> {
        self.rotate_if_full(view)?;
        let number = match view.streams.number(stream) {
            Some(number) => number,
            None => view.streams.add(StreamState::new(*stream, run.start())),
        };
        let state = view.streams.get(number).expect("known or just added");
        assert!(state.end == run.start(), "a run is appended at the head of its stream; callers have compared");
        let first = state.seq + 1;
        for (head, offset, len) in self.put_events(view, (Kind::Events, number, hlc), first, run.events())? {
            let stored = Run { first: head.first, count: u32::from(head.count), offset, len };
            view.active.tables_mut().add_events(number, stored, false);
        }
        let state = view.streams.get_mut(number).expect("known or just added");
        (state.end, state.seq, state.hlc, state.touched) = (run.end(), run.end().seq, hlc, true);
        Ok(())
    }

    /// Store events again that rotted.
    pub fn mend(&mut self, view: &mut View, stream: &Stream, first: u64, events: &[&[u8]]) -> Result<(), StoreError> {
        self.rotate_if_full(view)?;
        let number = view.streams.number(stream).expect("only what is held can have rotted");
        let state = view.streams.get(number).expect("has a number");
        assert!(first > state.base.seq && first + events.len() as u64 - 1 <= state.seq, "only what is held can have rotted");
        for (head, offset, len) in self.put_events(view, (Kind::Mended, number, Hlc(0)), first, events)? {
            let stored = Run { first: head.first, count: u32::from(head.count), offset, len };
            view.active.tables_mut().add_events(number | MENDED, stored, true);
            view.note_mended(number, stream, stored);
        }
        Ok(())
    }

    /// Frames of events from position `first` on: head, place and length of each.
    fn put_events(
        &mut self,
        view: &mut View,
        (kind, stream, hlc): (Kind, u32, Hlc),
        mut first: u64,
        events: &[&[u8]],
    ) -> Result<Vec<(Head, u32, u32)>, StoreError> {
        let mut rest = events;
        let mut stored = Vec::new();
        while !rest.is_empty() {
            let mut len = 0;
            let fits = |event: &&&[u8]| {
                len += event.len();
                len <= frame::FRAME_EVENTS_LEN
            };
            let count = rest.iter().take_while(fits).count().clamp(1, 4096);
            let (events, later) = rest.split_at(count.min(rest.len()));
            let head = Head { kind, stream, first, count: narrow(events.len()), hlc: hlc.0 };
            let (offset, frame_len) = self.put(view, &head, |body| {
                for event in events {
                    body.extend_from_slice(&narrow(event.len()).to_le_bytes());
                }
                for event in events {
                    body.extend_from_slice(event);
                }
            })?;
            stored.push((head, offset, frame_len));
            first += events.len() as u64;
            rest = later;
        }
        Ok(stored)
    }

    /// Add checkpoints to events held.
    pub fn append_checkpoints(&mut self, view: &mut View, stream: &Stream, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        for checkpoints in checkpoints.chunks(CHECKPOINTS_MAX) {
            self.rotate_if_full(view)?;
            let number = view.streams.number(stream).expect("checkpoints stand on events held");
            let seqs = || checkpoints.iter().map(|checkpointed| checkpointed.position.seq);
            let (first, last) = (seqs().min().unwrap_or(0), seqs().max().unwrap_or(0));
            let state = view.streams.get_mut(number).expect("has a number");
            assert!(first >= state.base.seq && last <= state.seq, "checkpoints stand on events held");
            state.checkpoint_seq = state.checkpoint_seq.max(last);
            state.touched = true;
            let head = Head { kind: Kind::Checkpoints, stream: number, first, count: narrow(checkpoints.len()), hlc: last };
            let (offset, len) = self.put(view, &head, |body| checkpoints.iter().for_each(|one| write_checkpoint(body, one)))?;
            let stored = CheckpointRun { first, last, offset, len, count: u32::from(head.count) };
            view.active.tables_mut().streams.entry(number).or_default().checkpoints.push(stored);
            view.note_checkpoints(stream)?;
        }
        Ok(())
    }

    /// Make everything appended durable.
    pub fn sync(&mut self, view: &mut View) -> Result<(), StoreError> {
        self.mark_if_due(view)?;
        self.flush(view)?;
        if self.unsynced {
            let synced = sync_or_forget(&*view.active.file);
            synced.map_err(|error| self.poison(&view.active, "syncing", error))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Put damaged bytes aside, write where the streams that lost events go on, and seal: the next opening meets no hole.
    pub fn close_holes(&mut self, view: &mut View, holes: &[Hole]) -> Result<(), StoreError> {
        for finding in &view.findings {
            if let Finding::Hole { segment, offset, bytes, .. } = finding {
                let segment = view.segment(*segment)?;
                view.place.holes.keep(&*view.place.disk, &view.place.folder, &segment, (*offset, *bytes))?;
            }
        }
        view.recent.take(); // an index that does not know of the hole is not believed any more
        let broken: Vec<u32> = view.streams.numbered().filter(|(_, state)| state.broken.is_some()).map(|(number, _)| number).collect();
        let is_older = |finding: &Finding| matches!(finding, Finding::Hole { segment, .. } if *segment != view.active.number);
        let older = view.findings.iter().any(is_older) || holes.is_empty() && !broken.is_empty();
        let news = holes.iter().any(|hole| !hole.known) || !broken.is_empty();
        for hole in holes.iter().filter(|hole| news && !hole.known).chain(older.then_some(&NO_HOLE)) {
            for numbers in broken.chunks(ENTRIES_MAX).chain(broken.is_empty().then_some(&broken[..])) {
                let head = Head { kind: Kind::CutBack, stream: 0, first: hole.offset, count: narrow(numbers.len()), hlc: hole.len };
                let body = entries(&view.streams, numbers, MARK_ENTRY_LEN, write_mark);
                self.put(view, &head, |out| out.extend_from_slice(&body))?;
            }
            view.active.tables_mut().add_hole(hole.offset, hole.len);
        }
        for number in broken {
            if let Some(state) = view.streams.get_mut(number) {
                state.broken = None;
                let seq = state.seq;
                view.active.tables_mut().cut_back(number, seq);
            }
        }
        self.sync(view)?;
        self.rotate(view)
    }

    /// A frame into the buffer, behind its stream's definition: where it will stand, and its length.
    fn put(&mut self, view: &mut View, head: &Head, body: impl FnOnce(&mut Vec<u8>)) -> Result<(u32, u32), StoreError> {
        self.check()?;
        self.begin_session(view)?;
        if matches!(head.kind, Kind::Events | Kind::Checkpoints | Kind::Mended) {
            self.define(view, head.stream)?;
        }
        self.seal(view, head, body)
    }

    /// Say in this session what a number stands for.
    fn define(&mut self, view: &mut View, number: u32) -> Result<(), StoreError> {
        if !self.session.as_mut().is_some_and(|session| session.defined.insert(number)) {
            return Ok(());
        }
        let StreamState { stream, base, .. } = *view.streams.get(number).expect("a frame is of a stream that has a number");
        let head = Head { kind: Kind::Stream, stream: number, first: base.seq, count: 0, hlc: 0 };
        self.seal(view, &head, |body| write_definition(body, &stream, &base.hash)).map(drop)
    }

    /// Seal a frame into the buffer: where it will stand, and its length.
    fn seal(&mut self, view: &mut View, head: &Head, body: impl FnOnce(&mut Vec<u8>)) -> Result<(u32, u32), StoreError> {
        let Some(OpenSession { key, .. }) = &self.session else { return Err(StoreError::Poisoned("no session".to_owned())) };
        let before = view.active.tail.len();
        let offset = view.active.end;
        frame::write(&mut view.active.tail, offset, head, key, body);
        let len = view.active.tail.len() - before;
        view.active.end += len as u64;
        self.since_mark = (self.since_mark.0 + 1, self.since_mark.1 + len as u64);
        if view.active.tail.len() >= WRITE_LEN {
            self.flush(view)?;
        }
        Ok((at(offset), u32::try_from(len).expect("a frame is bounded")))
    }

    fn begin_session(&mut self, view: &mut View) -> Result<(), StoreError> {
        let offset = view.active.end;
        if self.session.as_ref().is_some_and(|session| offset - session.offset < SESSION_LEN) {
            return Ok(());
        }
        let keys: &DataKeys = &view.place.keys;
        let salt = crate::ports::entropy::random(&*self.entropy);
        let session = Session { offset: at(offset), key_id: keys.current(), salt };
        let Some(key) = SessionKey::new(keys, view.active.number, &session) else {
            return Err(StoreError::Tampered { segment: view.active.number, offset });
        };
        let before = view.active.tail.len();
        frame::write_session(&mut view.active.tail, &session, &key);
        view.active.end += (view.active.tail.len() - before) as u64;
        view.active.tables_mut().sessions.push(session);
        self.session = Some(OpenSession { key, offset, defined: BTreeSet::new() });
        Ok(())
    }

    fn mark_if_due(&mut self, view: &mut View) -> Result<(), StoreError> {
        if self.since_mark.0 < MARK_FRAMES && self.since_mark.1 < MARK_LEN {
            return Ok(());
        }
        let touched: Vec<u32> = view.streams.numbered().filter(|(_, state)| state.touched).map(|(number, _)| number).collect();
        let mut following = touched.len().div_ceil(ENTRIES_MAX);
        for numbers in touched.chunks(ENTRIES_MAX) {
            following -= 1;
            let head = Head { kind: Kind::Mark, stream: 0, first: following as u64, count: narrow(numbers.len()), hlc: 0 };
            let body = entries(&view.streams, numbers, MARK_ENTRY_LEN, write_mark);
            self.put(view, &head, |out| out.extend_from_slice(&body))?;
        }
        for number in &touched {
            view.streams.get_mut(*number).expect("listed above").touched = false;
        }
        self.since_mark = (0, 0);
        Ok(())
    }

    /// Write what is buffered.
    fn flush(&mut self, view: &mut View) -> Result<(), StoreError> {
        self.check()?;
        let active = &mut view.active;
        if active.tail.is_empty() {
            return Ok(());
        }
        let len = active.tail.len();
        let end = active.tail_offset + len as u64;
        if end > self.file_len && len < PAD_BELOW {
            let padding = end.next_multiple_of(PAD_LEN) - end;
            active.tail.resize(len + usize::try_from(padding).expect("below 64 KiB"), 0);
        }
        let written = active.file.write_at(&active.tail, active.tail_offset);
        self.file_len = self.file_len.max(active.tail_offset + active.tail.len() as u64);
        if let Err(error) = written {
            take_back(active);
            return Err(self.poison(active, "writing", error));
        }
        active.tail.clear();
        active.tail_offset = end;
        self.unsynced = true;
        Ok(())
    }

    fn rotate_if_full(&mut self, view: &mut View) -> Result<(), StoreError> {
        self.check()?;
        self.mark_if_due(view)?;
        if view.active.end >= self.options.segment_len { self.rotate(view) } else { Ok(()) }
    }

    /// Seal the active segment: its data durable first, then its index, then the next segment (R10.4-e).
    fn rotate(&mut self, view: &mut View) -> Result<(), StoreError> {
        self.begin_session(view)?;
        self.flush(view)?;
        let synced = sync_or_forget(&*view.active.file);
        synced.map_err(|error| self.poison(&view.active, "syncing", error))?;
        let number = view.active.number;
        let Some(OpenSession { key, .. }) = self.session.take() else { return Ok(()) };
        let active = &mut view.active;
        let mut trailer = Trailer { segment: number, heads_offset: at(active.end), ..Trailer::default() };
        for (stream, tables) in &mut active.tables_mut().streams {
            if let Some(state) = view.streams.get_mut(*stream) {
                tables.previous = Some(state.newest);
                (state.newest, state.touched) = (number, false);
            }
        }
        let tables = active.tables().to_bytes(&mut trailer);
        let numbers: Vec<u32> = view.streams.numbered().map(|(number, _)| number).collect();
        let mut following = numbers.len().div_ceil(ENTRIES_MAX).max(1);
        for numbers in numbers.chunks(ENTRIES_MAX).chain(numbers.is_empty().then_some(&numbers[..])) {
            following -= 1;
            let stream = view.streams.highest;
            let head = Head { kind: Kind::Heads, stream, first: following as u64, count: narrow(numbers.len()), hlc: 0 };
            let body = entries(&view.streams, numbers, HEAD_ENTRY_LEN, write_head);
            let before = active.tail.len();
            frame::write(&mut active.tail, active.end, &head, &key, |out| {
                out.extend_from_slice(&body);
                if following == 0 {
                    out.extend_from_slice(&<[u8; TABLES_HASH_LEN]>::from(Sha256::digest(&tables)));
                }
            });
            active.end += (active.tail.len() - before) as u64;
        }
        trailer.tables_offset = at(active.end);
        let heads_offset = u64::from(trailer.heads_offset);
        let sealed = (|| {
            active.file.set_len(heads_offset)?;
            active.file.write_at(&active.tail, heads_offset)?;
            let tables_offset = heads_offset + active.tail.len() as u64;
            active.file.write_at(&tables, tables_offset)?;
            active.file.write_at(&trailer.to_bytes(), tables_offset + tables.len() as u64)?;
            sync_or_forget(&*active.file)
        })();
        sealed.map_err(|error| self.poison(&view.active, "sealing", error))?;
        let next = create(&*view.place.disk, &view.place.folder, number + 1, self.clock.now_ms());
        view.active = next.inspect_err(|error| self.poisoned = Some(error.to_string()))?;
        (self.file_len, self.since_mark, self.unsynced) = (HEADER_LEN as u64, (0, 0), false);
        Ok(())
    }

    fn poison(&mut self, segment: &Segment, doing: &str, error: io::Error) -> StoreError {
        self.poisoned = Some(error.to_string());
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if doing == "syncing" && !full { StoreError::Poisoned(error.to_string()) } else { segment.io(doing, error) }
    }
}

/// Cut off what a failed write has left, which may be whole frames: who is told that nothing was stored pushes again, and should not find it twice. Where this
/// fails too, they stay, and opening the log finds them.
fn take_back(active: &Segment) {
    active.file.set_len(active.tail_offset).and_then(|()| sync_or_forget(&*active.file)).unwrap_or(());
}

/// Stands in a cut-back frame for damage in an earlier segment.
const NO_HOLE: Hole = Hole { offset: 0, len: 0, known: false };

/// Make an empty segment, its name durable.
pub(super) fn create(disk: &dyn Disk, folder: &Path, number: u32, created_ms: u64) -> Result<Segment, StoreError> {
    let io = |error| StoreError::Io { doing: format!("making {number:08}.seg"), error };
    let file = disk.open(&segment::path(folder, number), Open::New).map_err(io)?;
    begin(file, number, created_ms).and_then(|segment| disk.sync_folder(folder).map(|()| segment)).map_err(io)
}

/// Write the header of an empty segment's file.
pub(super) fn begin(file: Box<dyn crate::ports::DiskFile>, number: u32, created_ms: u64) -> io::Result<Segment> {
    file.write_at(&write_header(number, created_ms), 0)?;
    sync_or_forget(&*file)?;
    let mut segment = Segment::in_memory(number, file, Tables::default(), HEADER_LEN as u64);
    segment.tail_offset = segment.end;
    Ok(segment)
}

fn entries(streams: &Streams, numbers: &[u32], entry_len: usize, write: fn(&mut Vec<u8>, u32, &StreamState)) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * entry_len);
    for number in numbers {
        write(&mut out, *number, streams.get(*number).expect("numbers come from the streams"));
    }
    out
}

fn narrow(count: usize) -> u16 {
    u16::try_from(count).expect("frames and events are bounded far below 65 536")
}

fn at(offset: u64) -> u32 {
    u32::try_from(offset).expect("a segment is rotated long before 4 GiB")
}
