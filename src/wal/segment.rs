//! One segment being read: its bytes, its sessions, its index.

use super::frame::{self, Look};
use super::keys::{DataKeys, Session, SessionKey};
use super::tables::{self, CheckpointRun, Dir, HEADER_LEN, Run, TRAILER_LEN, Tables, Trailer};
use crate::ports::DiskFile;
use crate::ports::store::StoreError;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Bytes read at once by a walk through a segment.
const READ_LEN: usize = 128 * 1024;

/// `NNNNNNNN.seg`.
pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

/// The number in a segment's name.
pub(super) fn number(path: &Path) -> Option<u32> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let good = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| good && *number > 0)
}

/// Where a segment's index is.
pub(super) enum Index {
    /// Behind its frames, checked.
    Sealed(Trailer),
    /// Here: the active segment's, or one made from the frames because the stored one is damaged.
    Memory(Tables),
}

/// An open segment. The writer's last bytes may still be in `tail`.
pub(super) struct Segment {
    /// Its number.
    pub number: u32,
    /// Its file.
    pub file: Box<dyn DiskFile>,
    /// Where the log's frames end.
    pub end: u64,
    /// Its index.
    pub index: Index,
    /// Not yet written: what stands at `tail_offset`.
    pub tail: Vec<u8>,
    /// Where the file's own bytes end.
    pub tail_offset: u64,
    /// Only for a sealed index: the sessions table.
    sessions: Vec<Session>,
    key: RefCell<Option<(Session, Rc<SessionKey>)>>,
}

impl Segment {
    /// A segment whose index is in memory.
    pub fn in_memory(number: u32, file: Box<dyn DiskFile>, tables: Tables, end: u64) -> Self {
        let index = Index::Memory(tables);
        Self { number, file, end, index, tail: Vec::new(), tail_offset: u64::MAX, sessions: Vec::new(), key: RefCell::new(None) }
    }

    /// A sealed segment, its index checked; gives the file back when there is no good index (R10.4-g).
    pub fn sealed(number: u32, file: Box<dyn DiskFile>) -> Result<Result<Self, Box<dyn DiskFile>>, StoreError> {
        let Some(trailer) = read_trailer(number, &*file)? else { return Ok(Err(file)) };
        let mut segment = Self::in_memory(number, file, Tables::default(), u64::from(trailer.heads_offset));
        segment.index = Index::Sealed(trailer);
        let mut crc = crc32fast::Hasher::new();
        let mut sessions = Vec::new();
        let sessions_len = trailer.session_count as usize * tables::SESSION_LEN;
        let mut at = u64::from(trailer.tables_offset);
        let mut bytes = vec![0; 16 * 1024];
        while at < trailer.tables_end() {
            let len = usize::try_from(trailer.tables_end() - at).map_or(bytes.len(), |left| left.min(bytes.len()));
            segment.read_exact(&mut bytes[..len], at)?;
            crc.update(&bytes[..len]);
            sessions.extend_from_slice(&bytes[..len.min(sessions_len - sessions.len())]);
            at += len as u64;
        }
        if crc.finalize() != trailer.tables_crc {
            return Ok(Err(segment.file));
        }
        segment.sessions = sessions.as_chunks().0.iter().map(tables::read_session).collect();
        Ok(Ok(segment))
    }

    /// The index in memory; only of a segment made with one.
    pub fn tables(&self) -> &Tables {
        match &self.index {
            Index::Memory(tables) => tables,
            Index::Sealed(_) => unreachable!("asked only of the active segment"),
        }
    }

    /// See [`Self::tables`].
    pub fn tables_mut(&mut self) -> &mut Tables {
        match &mut self.index {
            Index::Memory(tables) => tables,
            Index::Sealed(_) => unreachable!("asked only of the active segment"),
        }
    }

    /// Bytes at `offset`, fewer only at the end.
    pub fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let from_file = usize::try_from(self.tail_offset.saturating_sub(offset)).map_or(bytes.len(), |len| len.min(bytes.len()));
        let (in_file, in_tail) = bytes.split_at_mut(from_file);
        let mut read = 0;
        if !in_file.is_empty() {
            read = self.file.read_at(in_file, offset).map_err(|error| self.io("reading", error))?;
            if read < in_file.len() && self.tail.is_empty() {
                return Ok(read);
            }
        }
        if !in_tail.is_empty() && read == from_file {
            let at = usize::try_from((offset + read as u64).saturating_sub(self.tail_offset)).unwrap_or(usize::MAX);
            let rest = self.tail.get(at..).unwrap_or(&[]);
            let len = rest.len().min(in_tail.len());
            in_tail[..len].copy_from_slice(&rest[..len]);
            read += len;
        }
        Ok(read)
    }

    /// All of `bytes` at `offset`, or damage.
    pub fn read_exact(&self, bytes: &mut [u8], offset: u64) -> Result<(), StoreError> {
        if self.read(bytes, offset)? == bytes.len() { Ok(()) } else { Err(self.damaged(offset)) }
    }

    /// Open a frame in place.
    ///
    /// # Errors
    /// [`StoreError::Tampered`].
    pub fn open_frame<'a>(&self, frame: &'a mut [u8], offset: u64, keys: &DataKeys) -> Result<&'a mut [u8], StoreError> {
        let session = self.session_at(offset).ok_or(StoreError::Tampered { segment: self.number, offset })?;
        self.open_frame_of(&session, frame, offset, keys).ok_or(StoreError::Tampered { segment: self.number, offset })
    }

    /// Open a frame of `session` in place; `None` when that session did not seal it here.
    pub fn open_frame_of<'a>(&self, session: &Session, frame: &'a mut [u8], offset: u64, keys: &DataKeys) -> Option<&'a mut [u8]> {
        let mut cached = self.key.borrow_mut();
        if cached.as_ref().is_none_or(|(of, _)| of != session) {
            *cached = Some((*session, Rc::new(SessionKey::new(keys, self.number, session)?)));
        }
        let (_, key) = cached.as_ref()?;
        frame::open(frame, offset, key)
    }

    fn session_at(&self, offset: u64) -> Option<Session> {
        let sessions = match &self.index {
            Index::Memory(tables) => &tables.sessions,
            Index::Sealed(_) => &self.sessions,
        };
        let after = sessions.partition_point(|session| u64::from(session.offset) <= offset);
        sessions.get(after.checked_sub(1)?).copied()
    }

    /// What this segment holds of a stream.
    pub fn dir(&self, stream: u32) -> Result<Option<Dir>, StoreError> {
        match &self.index {
            Index::Memory(tables) => Ok(tables.streams.get(&stream).map(|tables| tables.dir(stream, 0, 0))),
            Index::Sealed(trailer) => {
                let (mut low, mut high) = (0, trailer.dir_count);
                while low < high {
                    let middle = low + (high - low) / 2;
                    let dir = Dir::read(&self.entry(trailer.dir_offset(), middle)?);
                    match dir.stream.cmp(&stream) {
                        std::cmp::Ordering::Equal if !dir.is_within(trailer) => return Err(self.damaged(trailer.dir_offset())),
                        std::cmp::Ordering::Equal => return Ok(Some(dir)),
                        std::cmp::Ordering::Less => low = middle + 1,
                        std::cmp::Ordering::Greater => high = middle,
                    }
                }
                Ok(None)
            }
        }
    }

    /// Run `index` of a stream.
    pub fn run(&self, dir: &Dir, index: u32) -> Result<Run, StoreError> {
        match &self.index {
            Index::Memory(tables) => Ok(tables.streams[&dir.stream].runs[index as usize]),
            Index::Sealed(trailer) => {
                let found = Run::read(&self.entry(trailer.runs_offset(), dir.run + index)?);
                found.filter(|(stream, _)| *stream == dir.stream).map(|(_, run)| run).ok_or(self.damaged(trailer.runs_offset()))
            }
        }
    }

    /// The run of a stream that holds `seq`, or the first behind it: its index.
    pub fn find_run(&self, dir: &Dir, seq: u64) -> Result<u32, StoreError> {
        let (mut low, mut high) = (0, dir.run_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let run = self.run(dir, middle)?;
            if run.first + u64::from(run.count) <= seq { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// Checkpoint run `index` of a stream.
    pub fn checkpoint_run(&self, dir: &Dir, index: u32) -> Result<CheckpointRun, StoreError> {
        match &self.index {
            Index::Memory(tables) => Ok(tables.streams[&dir.stream].checkpoints[index as usize]),
            Index::Sealed(trailer) => {
                let found = CheckpointRun::read(&self.entry(trailer.checkpoint_runs_offset(), dir.checkpoint_run + index)?);
                found.map(|(_, run)| run).ok_or(self.damaged(trailer.checkpoint_runs_offset()))
            }
        }
    }

    /// Void runs: stream number and run.
    pub fn orphans(&self) -> Result<Vec<(u32, Run)>, StoreError> {
        match &self.index {
            Index::Memory(tables) => {
                Ok(tables.streams.iter().flat_map(|(stream, tables)| tables.orphans.iter().map(|run| (*stream, *run))).collect())
            }
            Index::Sealed(trailer) => self.entries(trailer.orphans_offset(), trailer.orphan_count, Run::read),
        }
    }

    /// Runs of events that reach into the bytes from `offset` to `end`, with their streams. Slow: the whole table is looked through.
    pub fn runs_in(&self, offset: u64, end: u64) -> Result<Vec<(u32, Run)>, StoreError> {
        let reaches = |(_, run): &(u32, Run)| u64::from(run.offset) < end && offset < u64::from(run.offset + run.len);
        let all: Vec<_> = match &self.index {
            Index::Memory(tables) => tables.streams.iter().flat_map(|(stream, tables)| tables.runs.iter().map(|run| (*stream, *run))).collect(),
            Index::Sealed(trailer) => self.entries(trailer.runs_offset(), trailer.run_count, Run::read)?,
        };
        Ok(all.into_iter().filter(reaches).collect())
    }

    /// The same of checkpoint runs.
    pub fn checkpoint_runs_in(&self, offset: u64, end: u64) -> Result<Vec<(u32, CheckpointRun)>, StoreError> {
        let reaches = |(_, run): &(u32, CheckpointRun)| u64::from(run.offset) < end && offset < u64::from(run.offset + run.len);
        let all: Vec<_> = match &self.index {
            Index::Memory(tables) => {
                tables.streams.iter().flat_map(|(stream, tables)| tables.checkpoints.iter().map(|run| (*stream, *run))).collect()
            }
            Index::Sealed(trailer) => self.entries(trailer.checkpoint_runs_offset(), trailer.checkpoint_run_count, CheckpointRun::read)?,
        };
        Ok(all.into_iter().filter(reaches).collect())
    }

    /// All of a table that can be.
    fn entries<const N: usize, T>(&self, table: u64, count: u32, read: impl Fn(&[u8; N]) -> Option<T>) -> Result<Vec<T>, StoreError> {
        (0..count).filter_map(|index| self.entry(table, index).map(|entry| read(&entry)).transpose()).collect()
    }

    fn entry<const N: usize>(&self, table: u64, index: u32) -> Result<[u8; N], StoreError> {
        let mut entry = [0; N];
        self.read_exact(&mut entry, table + u64::from(index) * N as u64)?;
        Ok(entry)
    }

    /// Damage at `offset`.
    pub fn damaged(&self, offset: u64) -> StoreError {
        StoreError::Damaged { segment: self.number, offset, stream: None }
    }

    /// What the disk said.
    pub fn io(&self, doing: &str, error: io::Error) -> StoreError {
        StoreError::Io { doing: format!("{doing} {:08}.seg", self.number), error }
    }
}

/// The trailer at the end of a sealed segment; `None` when there is none.
pub(super) fn read_trailer(number: u32, file: &dyn DiskFile) -> Result<Option<Trailer>, StoreError> {
    let io = |error| StoreError::Io { doing: format!("reading {number:08}.seg"), error };
    let len = file.len().map_err(io)?;
    let mut bytes = [0; TRAILER_LEN];
    if len < (HEADER_LEN + TRAILER_LEN) as u64 || file.read_at(&mut bytes, len - TRAILER_LEN as u64).map_err(io)? < TRAILER_LEN {
        return Ok(None);
    }
    Ok(Trailer::read(&bytes, number, len))
}

/// Bytes of a run of zeros that are passed over together: the room made ahead of the log's end is looked through at every opening.
const STRIDE: usize = 64;

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    let passed = bytes.chunks_exact(STRIDE).take_while(|chunk| is_blank(chunk)).count() * STRIDE;
    bytes[passed..].iter().position(|byte| *byte != 0).map(|at| passed + at)
}

fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    let passed = bytes.rchunks_exact(STRIDE).take_while(|chunk| is_blank(chunk)).count() * STRIDE;
    bytes[..bytes.len() - passed].iter().rposition(|byte| *byte != 0)
}

/// Walks the frames of a segment from one offset to the next, a few reads at a time.
#[derive(Default)]
pub(super) struct Cursor {
    buffer: Vec<u8>,
    start: u64,
    end: u64,
    /// Nothing stands behind the buffer.
    last: bool,
}

impl Cursor {
    /// Over the bytes before `end`; beyond it is the end of the log.
    pub fn new(end: u64) -> Self {
        Self { end, ..Self::default() }
    }

    /// What stands at `offset`.
    pub fn look(&mut self, segment: &Segment, offset: u64) -> Result<Look, StoreError> {
        let mut want = frame::HEAD_LEN;
        loop {
            let bytes = self.window(segment, offset, want)?;
            match frame::look(bytes) {
                Look::Short(more) if bytes.len() >= want && want < more => want = more,
                Look::Short(_) => return Ok(Look::Bad), // it would reach behind the end
                found => return Ok(found),
            }
        }
    }

    /// The bytes of the frame of length `len` that [`Cursor::look`] found at `offset`, to be opened in place.
    pub fn frame(&mut self, segment: &Segment, offset: u64, len: usize) -> Result<&mut [u8], StoreError> {
        self.window(segment, offset, len)?;
        let at = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        self.buffer.get_mut(at..at.saturating_add(len)).ok_or(segment.damaged(offset))
    }

    /// Forget what was read: a live writer may have written on.
    pub fn forget(&mut self) {
        self.buffer.clear();
        self.last = false;
    }

    /// The first frame behind `offset` whose checksum fits: where it stands.
    pub fn resync(&mut self, segment: &Segment, offset: u64) -> Result<Option<u64>, StoreError> {
        let mut at = offset + 1;
        loop {
            let window = self.window(segment, at, frame::FRAME_OVERHEAD)?;
            if window.len() < frame::FRAME_OVERHEAD {
                return Ok(None);
            }
            // a frame begins with its length, at most 2 zeros before the first byte that is none: longer runs of zeros are passed over
            match first_nonzero(window) {
                None => at += (window.len() - 3) as u64,
                Some(nonzero) if nonzero > 2 => at += nonzero as u64 - 2,
                Some(_) => {
                    if matches!(self.look(segment, at)?, Look::Frame(..)) {
                        return Ok(Some(at));
                    }
                    at += 1;
                }
            }
        }
    }

    /// Whether a frame was written whole to `offset` and has rotted, no frame and no byte but zeros being behind `last`.
    pub fn was_whole(&mut self, segment: &Segment, offset: u64, last: u64) -> Result<bool, StoreError> {
        let len = usize::try_from(last + 1 - offset).unwrap_or(usize::MAX).min(frame::FRAME_LEN_MAX + 1);
        let window = self.window(segment, offset, len)?;
        Ok(frame::was_whole(&window[..len.min(window.len())], offset))
    }

    /// Where the last byte that is not zero ends, from `offset` on.
    pub fn last_nonzero(&mut self, segment: &Segment, offset: u64) -> Result<Option<u64>, StoreError> {
        let (mut at, mut last) = (offset, None);
        loop {
            let window = self.window(segment, at, 1)?;
            if window.is_empty() {
                return Ok(last);
            }
            if let Some(nonzero) = last_nonzero(window) {
                last = Some(at + nonzero as u64 + 1);
            }
            at += window.len() as u64;
        }
    }

    /// At least `want` bytes from `offset` on, fewer only at the end.
    fn window(&mut self, segment: &Segment, offset: u64, want: usize) -> Result<&[u8], StoreError> {
        let at = offset.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        let held = at.filter(|at| at + want <= self.buffer.len() || (self.last && *at <= self.buffer.len()));
        let at = if let Some(at) = held {
            at
        } else {
            let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
            let len = left.min(READ_LEN.max(want));
            self.buffer.resize(len, 0);
            let read = segment.read(&mut self.buffer, offset)?;
            self.last = read < len || len == left;
            self.buffer.truncate(read);
            self.start = offset;
            0
        };
        Ok(&self.buffer[at..])
    }
}
