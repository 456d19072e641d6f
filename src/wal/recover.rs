//! Opening a log: find the newest segment, the heads before it, and what a crash or rot left. Reads only; what must be mended is said, not done.
//!
//! | newest segment | then |
//! |---|---|
//! | sealed, index good | heads from its index; the next one is to be made |
//! | zeros behind the last frame | clean |
//! | no whole frame behind the last one | torn tail: the writer cuts it off and syncs |
//! | the same, but what begins there was written whole | hole, up to the end (R10.8-g) |
//! | whole frames behind damage | hole: the writer copies it aside, cuts streams back that lost events in it, seals the segment |
//! | sealing had begun, index bad | the writer cuts the index off; sealed anew by the next append |
//! | checksum good, seal bad | another key or tampering: [`StoreError::Tampered`], nothing touched |
//! | an older segment's index bad | made again in memory from its frames, said |
//! | the heads must be made so too, and frames are damaged | hole in that segment (R10.8-f) |

use super::aside::Holes;
use super::frame::{Head, Kind, Look};
use super::heads::{HEAD_ENTRY_LEN, HoleId, Streams, read_head};
use super::keys::DataKeys;
use super::replay::{Hole, Replayed, Wanted, replay};
use super::segment::{self, Cursor, Index, Segment};
use super::tables::{HEADER_LEN, Header, NO_STREAM, Tables, read_header};
use crate::ports::disk::{Disk, DiskFile, Entry, Kind as EntryKind, Open};
use crate::ports::store::{Finding, StoreError};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// SHA-256 of the tables, at the end of the last heads frame.
pub(super) const TABLES_HASH_LEN: usize = 32;

/// The folder of a log and the keys to it.
pub(super) struct Place {
    pub disk: Rc<dyn Disk>,
    pub folder: PathBuf,
    pub keys: DataKeys,
    pub holes: Holes,
}

/// The newest segment, before anything is mended.
pub(super) struct Opened {
    /// Heads at the end of the log.
    pub streams: Streams,
    /// Lowest segment there is.
    pub first: u32,
    /// The newest segment when it is not sealed.
    pub active: Option<(Segment, Replayed, Header)>,
    /// The highest number there is, 0 for none.
    pub newest: u32,
    /// Indexes made again, and holes in segments whose heads had to be.
    pub findings: Vec<Finding>,
}

/// What making heads again has found out.
#[derive(Default)]
pub(super) struct Found {
    /// Segments whose index is damaged.
    indexes: Vec<u32>,
    /// Holes in them: nothing tells any more where streams stood that lost their last events there.
    holes: Vec<(u32, Vec<Hole>)>,
}

impl Found {
    fn findings(&self, streams: &Streams) -> Vec<Finding> {
        let indexes = self.indexes.iter().map(|number| Finding::Index { segment: *number });
        let holes = self.holes.iter().flat_map(|(number, holes)| hole_findings(*number, holes, streams, |hole| !hole.known));
        indexes.chain(holes).collect()
    }
}

/// Holes of a segment as people are told of them: with the streams that go on before them.
pub(super) fn hole_findings(segment: u32, holes: &[Hole], streams: &Streams, is_told: impl Fn(&Hole) -> bool) -> Vec<Finding> {
    let cut_back = |id: HoleId| streams.numbered().filter(move |(_, state)| state.broken == Some(id)).map(|(_, state)| state.stream).collect();
    let finding =
        |(index, hole): (usize, &Hole)| Finding::Hole { segment, offset: hole.offset, bytes: hole.len, cut_back: cut_back((segment, index)) };
    holes.iter().enumerate().filter(|(_, hole)| is_told(hole)).map(finding).collect()
}

impl Place {
    /// The log in `folder`, nothing of it read yet.
    pub fn new(disk: Rc<dyn Disk>, folder: &Path, keys: &DataKeys) -> Self {
        Self { disk, folder: folder.to_owned(), keys: keys.clone(), holes: Holes::default() }
    }

    /// Open the newest segment and find the heads (R10.3-e).
    pub fn open(&mut self, how: Open) -> Result<Opened, StoreError> {
        let entries = self.entries()?;
        self.holes = Holes::among(&entries);
        let numbers: Vec<u32> =
            entries.iter().filter(|entry| entry.kind == EntryKind::File).filter_map(|entry| segment::number(&entry.path)).collect();
        let (first, newest) = (numbers.first().copied().unwrap_or(1), numbers.last().copied().unwrap_or(0));
        let mut found = Found::default();
        let mut opened = Opened { streams: Streams::default(), first, active: None, newest, findings: Vec::new() };
        if newest == 0 {
            return Ok(opened);
        }
        let file = self.file(newest, how)?;
        if segment::read_trailer(newest, &*file)?.is_some() {
            match Segment::sealed(newest, file)? {
                Ok(sealed) => match self.sealed_heads(&sealed)? {
                    Some(streams) => opened.streams = streams,
                    None => opened.streams = self.heads(newest, first, &mut found)?,
                },
                Err(_) => opened.streams = self.heads(newest, first, &mut found)?,
            }
        } else {
            let (segment, replayed, header, streams) = self.replayed((newest, first), file, None, Wanted::Heads, &mut found)?;
            opened.streams = streams;
            opened.active = Some((segment, replayed, header));
        }
        opened.findings = found.findings(&opened.streams);
        self.holes.note(&opened.findings);
        Ok(opened)
    }

    /// The files of the log, ascending.
    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let io = |error| StoreError::Io { doing: format!("listing {}", self.folder.display()), error };
        if self.disk.look(&self.folder).map_err(io)?.is_none() {
            return Ok(Vec::new());
        }
        self.disk.list(&self.folder).map_err(io)
    }

    /// Open a segment's file. A segment that is gone is damage.
    pub fn file(&self, number: u32, how: Open) -> Result<Box<dyn DiskFile>, StoreError> {
        self.disk.open(&segment::path(&self.folder, number), how).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Damaged { segment: number, offset: 0, stream: None },
            _ => StoreError::Io { doing: format!("opening {number:08}.seg"), error },
        })
    }

    /// A sealed segment, its index from its end, or from its frames: when it is damaged, or was made before a hole was known behind which things are void.
    pub fn sealed(&self, number: u32, first: u32) -> Result<Segment, StoreError> {
        let is_void = self.is_cut_back_later(number)?;
        let (file, frames_end) = match Segment::sealed(number, self.file(number, Open::Read)?)? {
            // Who could read its heads looked for no hole before its end.
            Ok(segment) if !is_void || self.sealed_heads(&segment)?.is_some() => return Ok(segment),
            Ok(segment) => (segment.file, Some(segment.end)),
            Err(file) => (file, None),
        };
        let wanted = if is_void { Wanted::Heads } else { Wanted::Places };
        Ok(self.replayed((number, first), file, frames_end, wanted, &mut Found::default())?.0)
    }

    /// Whether a hole in this segment or before it is answered behind it, if at all: what does not lead on from before the hole is void here (R10.8-f).
    fn is_cut_back_later(&self, number: u32) -> Result<bool, StoreError> {
        for (segment, offset) in self.holes.unanswered(number) {
            let mut answer = None;
            for at in segment..=number {
                if answer.is_none() && self.answers(at, if at == segment { offset } else { 0 })? {
                    answer = Some(at);
                }
            }
            let Some(answer) = answer else { return Ok(true) };
            self.holes.note_answer((segment, offset), answer);
        }
        Ok(false)
    }

    /// Whether a sealed segment has cut-back frames for the hole at `offset` of it, or at 0 for one of an earlier segment.
    fn answers(&self, number: u32, offset: u64) -> Result<bool, StoreError> {
        let file = match self.file(number, Open::Read) {
            Err(StoreError::Damaged { .. }) => return Ok(false),
            file => file?,
        };
        let file = match Segment::sealed(number, file)? {
            Ok(segment) => return Ok(segment.orphans()?.iter().any(|(stream, run)| *stream == NO_STREAM && u64::from(run.offset) == offset)),
            Err(file) => file,
        };
        let end = file.len().map_err(|error| StoreError::Io { doing: format!("reading {number:08}.seg"), error })?;
        let segment = Segment::in_memory(number, file, Tables::default(), end);
        let (mut cursor, mut next) = (Cursor::new(end), Some(HEADER_LEN as u64));
        while let Some(at) = next {
            next = match cursor.look(&segment, at)? {
                Look::Frame(Head { kind: Kind::CutBack, first, .. }, _) if first == offset => return Ok(true),
                Look::Frame(Head { kind: Kind::Heads, .. }, _) => None,
                Look::Frame(_, len) => Some(at + len as u64),
                _ => cursor.resync(&segment, at)?,
            };
        }
        Ok(false)
    }

    /// Heads at the end of segment `number`.
    pub fn heads(&self, number: u32, first: u32, found: &mut Found) -> Result<Streams, StoreError> {
        match Segment::sealed(number, self.file(number, Open::Read)?)? {
            Ok(sealed) => {
                if let Some(streams) = self.sealed_heads(&sealed)? {
                    return Ok(streams);
                }
                self.replayed_heads(number, first, sealed.file, Some(sealed.end), found)
            }
            Err(file) => self.replayed_heads(number, first, file, None, found),
        }
    }

    /// Heads from the frames of a segment, of which it may be known where they end. Its last events may have rotted with its heads.
    fn replayed_heads(
        &self,
        number: u32,
        first: u32,
        file: Box<dyn DiskFile>,
        frames_end: Option<u64>,
        found: &mut Found,
    ) -> Result<Streams, StoreError> {
        found.indexes.push(number);
        let (segment, replayed, _, mut streams) = self.replayed((number, first), file, frames_end, Wanted::Heads, found)?;
        let mut holes = replayed.holes;
        let torn_len = frames_end.map_or(replayed.torn_len, |end| end.saturating_sub(replayed.end));
        if torn_len > 0 && !replayed.sealing {
            holes.push(Hole { offset: replayed.end, len: torn_len, known: false });
        }
        if let Some(last) = holes.len().checked_sub(1) {
            streams.holed = Some((number, last));
            found.holes.push((number, holes));
        }
        for stream in segment.tables().streams.keys() {
            if let Some(state) = streams.get_mut(*stream) {
                state.newest = number;
            }
        }
        Ok(streams)
    }

    /// Heads from the heads frames of a sealed segment; `None` when they are damaged.
    pub fn sealed_heads(&self, segment: &Segment) -> Result<Option<Streams>, StoreError> {
        let Index::Sealed(trailer) = &segment.index else { return Ok(None) };
        let mut streams = Streams::default();
        let mut offset = u64::from(trailer.heads_offset);
        let mut cursor = Cursor::new(u64::from(trailer.tables_offset));
        loop {
            let Look::Frame(head @ Head { kind: Kind::Heads, .. }, len) = cursor.look(segment, offset)? else { return Ok(None) };
            let body = segment.open_frame(cursor.frame(segment, offset, len)?, offset, &self.keys)?;
            let heads_len = usize::from(head.count) * HEAD_ENTRY_LEN;
            let whole = heads_len + if head.first == 0 { TABLES_HASH_LEN } else { 0 };
            if body.len() != whole {
                return Ok(None);
            }
            for (number, state) in body[..heads_len].chunks_exact(HEAD_ENTRY_LEN).filter_map(read_head) {
                streams.define(number, state);
            }
            streams.highest = streams.highest.max(head.stream);
            if head.first == 0 {
                return Ok(Some(streams));
            }
            offset += len as u64;
        }
    }

    /// Read a segment frame by frame, from the heads of the one before.
    fn replayed(
        &self,
        (number, first): (u32, u32),
        file: Box<dyn DiskFile>,
        frames_end: Option<u64>,
        wanted: Wanted,
        found: &mut Found,
    ) -> Result<(Segment, Replayed, Header, Streams), StoreError> {
        let mut segment = Segment::in_memory(number, file, Tables::default(), HEADER_LEN as u64);
        let mut bytes = [0; HEADER_LEN];
        let len = segment.read(&mut bytes, 0)?;
        let header = read_header(&bytes[..len], number);
        if let Header::Version(version) = header {
            return Err(StoreError::Version(version));
        }
        let before = match if number > first { self.heads(number - 1, first, found) } else { Ok(Streams::default()) } {
            Err(StoreError::Damaged { .. }) if wanted == Wanted::Places => Streams::default(), // each session says what its numbers stand for
            before => before?,
        };
        let end = frames_end.map_or_else(|| segment.file.len().map_err(|error| segment.io("reading", error)), Ok)?;
        let mut streams = before.clone();
        let mut replayed = replay(&segment, end, &mut streams, &self.keys, &self.holes, (wanted, false))?;
        if replayed.is_none() {
            streams.clone_from(&before);
            replayed = replay(&segment, end, &mut streams, &self.keys, &self.holes, (wanted, true))?;
        }
        let mut replayed = replayed.ok_or(segment.damaged(0))?;
        // Where only places are asked for, heads that were made again before may tell less than the tables there: all of those are asked in turn.
        let any_before = (wanted == Wanted::Places && number > first).then_some(number - 1);
        for (stream, tables) in &mut replayed.tables.streams {
            tables.previous = any_before.or(before.get(*stream).map(|state| state.newest));
        }
        segment.end = replayed.end;
        segment.index = Index::Memory(replayed.tables.clone());
        Ok((segment, replayed, header, streams))
    }
}
