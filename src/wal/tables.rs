//! The index of one segment: in memory while it is written, behind its frames when it is sealed.
//!
//! Sealed: `frame* | heads frames | sessions 24 B | dir 48 B | runs 24 B | checkpoint runs 32 B | orphans 24 B | trailer 64 B`, all entries of fixed size, little-endian, so
//! that a lookup is a binary search by pread. The CRC in the trailer covers the tables; the last heads frame holds their SHA-256 under its seal.

use super::frame::{FRAME_LEN_MAX, u32_at, u64_at};
use super::keys::Session;
use bundle_format::limits::SEQ_MAX;
use std::collections::BTreeMap;

/// The number no stream has: known holes stand under it.
pub(super) const NO_STREAM: u32 = 0;
/// Added to a stream's number in the table of void runs: events of it that are here again.
pub(super) const MENDED: u32 = 1 << 31;
/// Bytes of a segment's header.
pub(super) const HEADER_LEN: usize = 64;
/// Bytes of a segment's trailer.
pub(super) const TRAILER_LEN: usize = 64;
/// Format of segments.
pub(super) const VERSION: u16 = 1;
const HEADER_MAGIC: &[u8; 8] = b"zblog\r\n\x1a";
const TRAILER_MAGIC: &[u8; 8] = b"zblogend";
/// Frames next to each other and of one stream count as one run up to this length: one entry, one read.
pub(super) const RUN_LEN_MAX: u32 = 64 * 1024;

/// `magic 8 | version u16 | 0 u16 | segment u32 | created ms u64 | 0 … | crc32 u32`.
pub(super) fn write_header(segment: u32, created_ms: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(HEADER_MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&segment.to_le_bytes());
    header[16..24].copy_from_slice(&created_ms.to_le_bytes());
    close(&mut header);
    header
}

/// What stands in the first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// A header of this version, for this segment.
    Good,
    /// Nothing that can be read: a crash while it was made, or rot. Frames do not depend on it.
    Bad,
    /// A whole header of another version.
    Version(u16),
}

/// Read a header.
pub(super) fn read_header(bytes: &[u8], segment: u32) -> Header {
    match bytes.first_chunk::<HEADER_LEN>() {
        Some(header) if header.starts_with(HEADER_MAGIC) && closed(header) => match super::frame::u16_at(header, 8) {
            VERSION if u32_at(header, 12) == segment => Header::Good,
            VERSION => Header::Bad,
            version => Header::Version(version),
        },
        _ => Header::Bad,
    }
}

fn close(block: &mut [u8; 64]) {
    let crc = crc32fast::hash(&block[..60]);
    block[60..].copy_from_slice(&crc.to_le_bytes());
}

fn closed(block: &[u8; 64]) -> bool {
    u32_at(block, 60) == crc32fast::hash(&block[..60])
}

/// Consecutive events of one stream in adjacent frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Position of the first.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Where the first frame stands.
    pub offset: u32,
    /// Length of the frames.
    pub len: u32,
}

/// One frame of checkpoints of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CheckpointRun {
    /// Lowest position.
    pub first: u64,
    /// Highest position.
    pub last: u64,
    /// Where the frame stands.
    pub offset: u32,
    /// Its length.
    pub len: u32,
    /// How many.
    pub count: u32,
}

/// Where one stream's entries stand in the other tables, and which sealed segment before this one holds more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dir {
    /// Its number.
    pub stream: u32,
    /// Sealed segment before this one with something of it; 0 for none.
    pub previous: u32,
    /// First event here; 0 when only checkpoints are here.
    pub first: u64,
    /// Last event here.
    pub last: u64,
    /// First of its runs.
    pub run: u32,
    /// How many.
    pub run_count: u32,
    /// First of its checkpoint runs.
    pub checkpoint_run: u32,
    /// How many.
    pub checkpoint_run_count: u32,
}

/// One stream's part of [`Tables`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamTables {
    /// Sealed segment before this one, when known.
    pub previous: Option<u32>,
    /// Ascending.
    pub runs: Vec<Run>,
    /// As stored.
    pub checkpoints: Vec<CheckpointRun>,
    /// Events behind a hole: void. Under [`MENDED`], events that are here again.
    pub orphans: Vec<Run>,
}

/// The index of a segment in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// Ascending by offset.
    pub sessions: Vec<Session>,
    /// By stream number.
    pub streams: BTreeMap<u32, StreamTables>,
}

impl Tables {
    /// Take note of an events frame.
    pub fn add_events(&mut self, stream: u32, run: Run, orphan: bool) {
        let tables = self.streams.entry(stream).or_default();
        let runs = if orphan { &mut tables.orphans } else { &mut tables.runs };
        match runs.last_mut() {
            Some(last)
                if last.offset + last.len == run.offset && last.first + u64::from(last.count) == run.first && last.len + run.len <= RUN_LEN_MAX =>
            {
                last.len += run.len;
                last.count += run.count;
            }
            _ => runs.push(run),
        }
    }

    /// What stands behind `seq` is void. Runs end with frames, and streams are only cut back at the end of a frame.
    pub fn cut_back(&mut self, stream: u32, seq: u64) {
        let tables = self.streams.entry(stream).or_default();
        let void = tables.runs.iter().position(|run| run.first > seq).unwrap_or(tables.runs.len());
        tables.orphans.extend(tables.runs.drain(void..));
        tables.checkpoints.retain(|run| run.last <= seq);
    }

    /// Take note of damage that cut-back frames tell of: an orphan of stream 0, which no stream has; at 0 of damage in an earlier segment.
    pub fn add_hole(&mut self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (u32::try_from(offset), u32::try_from(len)) else { return };
        let holes = &mut self.streams.entry(NO_STREAM).or_default().orphans;
        if holes.last().is_none_or(|last| last.offset != offset) {
            holes.push(Run { first: 0, count: 0, offset, len });
        }
    }

    /// The tables as bytes, in the order the trailer counts them (R10.3-d, R10.3-f).
    pub fn to_bytes(&self, trailer: &mut Trailer) -> Vec<u8> {
        let mut out = Vec::new();
        for session in &self.sessions {
            out.extend_from_slice(&session.offset.to_le_bytes());
            out.extend_from_slice(&session.key_id.to_le_bytes());
            out.extend_from_slice(&session.salt);
        }
        let (mut run, mut checkpoint_run) = (0, 0);
        for (stream, tables) in &self.streams {
            let dir = tables.dir(*stream, run, checkpoint_run);
            (run, checkpoint_run) = (run + dir.run_count, checkpoint_run + dir.checkpoint_run_count);
            dir.write(&mut out);
        }
        for (stream, tables) in &self.streams {
            tables.runs.iter().for_each(|run| run.write(*stream, &mut out));
        }
        for (stream, tables) in &self.streams {
            tables.checkpoints.iter().for_each(|run| run.write(*stream, &mut out));
        }
        let mut orphan_count = 0;
        for (stream, tables) in &self.streams {
            orphan_count += count(tables.orphans.len());
            tables.orphans.iter().for_each(|run| run.write(*stream, &mut out));
        }
        trailer.session_count = count(self.sessions.len());
        trailer.dir_count = count(self.streams.len());
        (trailer.run_count, trailer.checkpoint_run_count, trailer.orphan_count) = (run, checkpoint_run, orphan_count);
        trailer.tables_crc = crc32fast::hash(&out);
        out
    }
}

impl StreamTables {
    /// The directory entry, its runs beginning at these places.
    pub fn dir(&self, stream: u32, run: u32, checkpoint_run: u32) -> Dir {
        Dir {
            stream,
            previous: self.previous.unwrap_or(0),
            first: self.runs.first().map_or(0, |run| run.first),
            last: self.runs.last().map_or(0, |run| run.first + u64::from(run.count) - 1),
            run,
            run_count: count(self.runs.len()),
            checkpoint_run,
            checkpoint_run_count: count(self.checkpoints.len()),
        }
    }
}

/// Fixed-size entries, little-endian; `stream` first so that all tables sort alike.
impl Run {
    /// Bytes of an entry.
    pub const LEN: usize = 24;

    fn write(&self, stream: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
    }

    /// Read an entry: stream and run. `None` when there can be no such run: a checksum that fits need not be ours.
    pub fn read(entry: &[u8; Self::LEN]) -> Option<(u32, Self)> {
        let stream = u32_at(entry, 0);
        let run = Self { count: u32_at(entry, 4), first: u64_at(entry, 8), offset: u32_at(entry, 16), len: u32_at(entry, 20) };
        let holds_events = || run.first > 0 && run.count > 0 && run.len as usize <= FRAME_LEN_MAX && run.first <= SEQ_MAX - u64::from(run.count);
        let is_possible = run.offset.checked_add(run.len).is_some() && (stream == NO_STREAM || holds_events());
        is_possible.then_some((stream, run))
    }
}

impl CheckpointRun {
    /// Bytes of an entry.
    pub const LEN: usize = 32;

    fn write(&self, stream: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&stream.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.len.to_le_bytes());
    }

    /// Read an entry: stream and run. `None` when there can be no such run.
    pub fn read(entry: &[u8; Self::LEN]) -> Option<(u32, Self)> {
        let [count, offset, len] = [4, 24, 28].map(|at| u32_at(entry, at));
        let run = Self { count, first: u64_at(entry, 8), last: u64_at(entry, 16), offset, len };
        let is_possible = offset.checked_add(len).is_some() && len as usize <= FRAME_LEN_MAX && run.first <= run.last && run.last <= SEQ_MAX;
        is_possible.then_some((u32_at(entry, 0), run))
    }
}

impl Dir {
    /// Bytes of an entry; the last 8 are 0.
    pub const LEN: usize = 48;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        for number in [self.run, self.run_count, self.checkpoint_run, self.checkpoint_run_count, 0, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Read an entry.
    pub fn read(entry: &[u8; Self::LEN]) -> Self {
        Self {
            stream: u32_at(entry, 0),
            previous: u32_at(entry, 4),
            first: u64_at(entry, 8),
            last: u64_at(entry, 16),
            run: u32_at(entry, 24),
            run_count: u32_at(entry, 28),
            checkpoint_run: u32_at(entry, 32),
            checkpoint_run_count: u32_at(entry, 36),
        }
    }

    /// Whether its entries stand in the tables that `trailer` counts: a checksum that fits need not be ours.
    pub fn is_within(&self, trailer: &Trailer) -> bool {
        let within = |first: u32, count: u32, all: u32| first.checked_add(count).is_some_and(|end| end <= all);
        within(self.run, self.run_count, trailer.run_count)
            && within(self.checkpoint_run, self.checkpoint_run_count, trailer.checkpoint_run_count)
            && self.last <= SEQ_MAX
    }
}

/// Bytes of a session's entry: offset, key number, salt.
pub(super) const SESSION_LEN: usize = 24;

/// Read a session's entry.
pub(super) fn read_session(entry: &[u8; SESSION_LEN]) -> Session {
    Session { offset: u32_at(entry, 0), key_id: u32_at(entry, 4), salt: entry[8..].try_into().expect("16 bytes") }
}

/// The last bytes of a sealed segment:
/// `magic 8 | segment | heads offset | tables offset | tables crc | counts: sessions, dir, runs, checkpoint runs, orphans | 0 … | crc32`, each u32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Its number.
    pub segment: u32,
    /// Where the heads frames begin and the log's frames end.
    pub heads_offset: u32,
    /// Where the tables begin.
    pub tables_offset: u32,
    /// Over all tables.
    pub tables_crc: u32,
    /// Entries of each table.
    pub session_count: u32,
    /// See above.
    pub dir_count: u32,
    /// See above.
    pub run_count: u32,
    /// See above.
    pub checkpoint_run_count: u32,
    /// See above.
    pub orphan_count: u32,
}

impl Trailer {
    /// As bytes.
    pub fn to_bytes(self) -> [u8; TRAILER_LEN] {
        let mut trailer = [0; TRAILER_LEN];
        trailer[..8].copy_from_slice(TRAILER_MAGIC);
        for (place, number) in trailer[8..].chunks_exact_mut(4).zip(self.numbers()) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        close(&mut trailer);
        trailer
    }

    /// Read the trailer of segment `segment`, a file of `file_len` bytes; `None` when this is no sealed segment's.
    pub fn read(bytes: &[u8; TRAILER_LEN], segment: u32, file_len: u64) -> Option<Self> {
        let number = |index: usize| u32_at(bytes, 8 + index * 4);
        let trailer = Self {
            segment: number(0),
            heads_offset: number(1),
            tables_offset: number(2),
            tables_crc: number(3),
            session_count: number(4),
            dir_count: number(5),
            run_count: number(6),
            checkpoint_run_count: number(7),
            orphan_count: number(8),
        };
        let fits = trailer.heads_offset < trailer.tables_offset && trailer.file_len() == file_len;
        (bytes.starts_with(TRAILER_MAGIC) && closed(bytes) && trailer.segment == segment && fits).then_some(trailer)
    }

    /// Where the directory begins.
    pub fn dir_offset(&self) -> u64 {
        u64::from(self.tables_offset) + u64::from(self.session_count) * SESSION_LEN as u64
    }

    /// Where the runs begin.
    pub fn runs_offset(&self) -> u64 {
        self.dir_offset() + u64::from(self.dir_count) * Dir::LEN as u64
    }

    /// Where the checkpoint runs begin.
    pub fn checkpoint_runs_offset(&self) -> u64 {
        self.runs_offset() + u64::from(self.run_count) * Run::LEN as u64
    }

    /// Where the orphans begin.
    pub fn orphans_offset(&self) -> u64 {
        self.checkpoint_runs_offset() + u64::from(self.checkpoint_run_count) * CheckpointRun::LEN as u64
    }

    /// Where the tables end.
    pub fn tables_end(&self) -> u64 {
        self.orphans_offset() + u64::from(self.orphan_count) * Run::LEN as u64
    }

    fn file_len(&self) -> u64 {
        self.tables_end() + TRAILER_LEN as u64
    }

    fn numbers(self) -> [u32; 9] {
        [
            self.segment,
            self.heads_offset,
            self.tables_offset,
            self.tables_crc,
            self.session_count,
            self.dir_count,
            self.run_count,
            self.checkpoint_run_count,
            self.orphan_count,
        ]
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a segment is at most 4 GiB, so no table reaches 2^32 entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, count: u32, offset: u32, len: u32) -> Run {
        Run { first, count, offset, len }
    }

    /// R10.3-d: one entry and one read for frames side by side, up to 64 KiB of them.
    #[test]
    fn frames_side_by_side_are_one_run() {
        let mut tables = Tables::default();
        for (frame, is_void) in [
            (run(1, 3, 64, 1000), false),
            (run(4, 2, 1064, 500), false),
            (run(6, 1, 1600, 100), false),     // something stands between them
            (run(9, 1, 1700, 100), false),     // two events are missing between them
            (run(10, 5, 1800, 65_436), false), // 64 KiB with the one before
            (run(15, 1, 67_236, 100), false),
            (run(16, 1, 67_336, 65_436), false),
            (run(17, 1, 132_772, 1), false), // one byte more
            (run(20, 2, 132_773, 10), true),
            (run(22, 2, 132_783, 10), true),
        ] {
            tables.add_events(7, frame, is_void);
        }
        let stream = &tables.streams[&7];
        let joined = [run(1, 5, 64, 1500), run(6, 1, 1600, 100), run(9, 6, 1700, 65_536), run(15, 2, 67_236, 65_536), run(17, 1, 132_772, 1)];
        assert_eq!(stream.runs, joined);
        assert_eq!(stream.orphans, [run(20, 4, 132_773, 20)]);
        let dir = Dir { stream: 7, previous: 0, first: 1, last: 17, run: 3, run_count: 5, checkpoint_run: 9, checkpoint_run_count: 0 };
        assert_eq!(stream.dir(7, 3, 9), dir);
        tables.cut_back(7, 8);
        let stream = &tables.streams[&7];
        assert_eq!((&stream.runs[..], stream.orphans.len(), stream.dir(7, 0, 0).last), (&joined[..2], 4, 6));
    }

    /// Every entry reads back as it was written, where the trailer says that it stands.
    #[test]
    fn tables_read_back() {
        let sessions = vec![Session { offset: 64, key_id: 2, salt: [5; 16] }, Session { offset: 900, key_id: 3, salt: [6; 16] }];
        let mut tables = Tables { sessions, ..Tables::default() };
        for stream in [3, 8] {
            tables.add_events(stream, run(10 * u64::from(stream), 4, 100 * stream, 50), false);
            tables.add_events(stream, run(10 * u64::from(stream) + 9, 2, 100 * stream + 60, 30), false);
            tables.add_events(stream | MENDED, run(7, 1, 100 * stream + 90, 9), true);
            let signed = CheckpointRun { first: 1, last: u64::from(stream), offset: 5000 + stream, len: 159, count: 2 };
            tables.streams.entry(stream).or_default().checkpoints.push(signed);
            tables.streams.entry(stream).or_default().previous = Some(stream - 1);
        }
        tables.add_hole(4000, 77);
        let mut trailer = Trailer { segment: 9, heads_offset: 6000, tables_offset: 7000, ..Trailer::default() };
        let bytes = tables.to_bytes(&mut trailer);
        assert_eq!(trailer.tables_end(), 7000 + bytes.len() as u64);
        let entry = |offset: u64, index: usize, len: usize| &bytes[usize::try_from(offset).unwrap() - 7000 + index * len..][..len];
        for (index, session) in tables.sessions.iter().enumerate() {
            assert_eq!(read_session(entry(7000, index, SESSION_LEN).try_into().unwrap()), *session);
        }
        let (mut run_index, mut checkpoint_index, mut void_index) = (0, 0, 0);
        for (index, (number, stream)) in tables.streams.iter().enumerate() {
            let dir = Dir::read(entry(trailer.dir_offset(), index, Dir::LEN).try_into().unwrap());
            assert_eq!(dir, stream.dir(*number, run_index, checkpoint_index));
            for run in &stream.runs {
                assert_eq!(Run::read(entry(trailer.runs_offset(), run_index as usize, Run::LEN).try_into().unwrap()), Some((*number, *run)));
                run_index += 1;
            }
            for signed in &stream.checkpoints {
                let read =
                    CheckpointRun::read(entry(trailer.checkpoint_runs_offset(), checkpoint_index as usize, CheckpointRun::LEN).try_into().unwrap());
                assert_eq!(read, Some((*number, *signed)));
                checkpoint_index += 1;
            }
            for run in &stream.orphans {
                assert_eq!(Run::read(entry(trailer.orphans_offset(), void_index, Run::LEN).try_into().unwrap()), Some((*number, *run)));
                void_index += 1;
            }
        }
        assert_eq!((run_index, checkpoint_index, void_index), (4, 2, 3));
        let file_len = trailer.tables_end() + TRAILER_LEN as u64;
        assert_eq!(Trailer::read(&trailer.to_bytes(), 9, file_len), Some(trailer));
        for (segment, file_len) in [(8, file_len), (9, file_len - 1), (9, file_len + 1)] {
            assert_eq!(Trailer::read(&trailer.to_bytes(), segment, file_len), None);
        }
        for at in 0..TRAILER_LEN {
            let mut other = trailer.to_bytes();
            other[at] ^= 1;
            assert_eq!(Trailer::read(&other, 9, file_len), None, "byte {at}");
        }
        let upside_down = Trailer { heads_offset: 7000, ..trailer };
        assert_eq!(Trailer::read(&upside_down.to_bytes(), 9, file_len), None, "heads stand before tables");
    }

    #[test]
    fn a_header_is_of_its_segment_and_version() {
        let header = write_header(5, 1_700_000_000_000);
        assert_eq!((read_header(&header, 5), read_header(&header, 6), read_header(&header[..63], 5)), (Header::Good, Header::Bad, Header::Bad));
        for at in 0..HEADER_LEN {
            let mut other = header;
            other[at] ^= 1;
            assert_eq!(read_header(&other, 5), Header::Bad, "byte {at}");
        }
        let mut later = header;
        later[8] = 2;
        close(&mut later);
        assert_eq!(read_header(&later, 5), Header::Version(2));
    }
}
