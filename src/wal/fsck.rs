//! Verify everything: every checksum, every seal, every stream's chain against the heads and checkpoints, every index. Writes nothing, repairs
//! nothing, in bounded memory: one frame, and one position for each stream (R10.8-d).

use super::WalReader;
use super::frame::{self, Head, Kind, Look};
use super::heads::{CHECKPOINT_LEN, HEAD_ENTRY_LEN, MARK_ENTRY_LEN, read_checkpoint, read_head, read_mark};
use super::read::StreamEvents;
use super::recover::TABLES_HASH_LEN;
use super::segment::{Cursor, Index, Segment};
use super::tables::{HEADER_LEN, Header, MENDED, NO_STREAM, Run, Trailer, read_header};
use crate::ports::store::{Events as _, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// What is wrong at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Bytes fail their checksum.
    Damaged,
    /// Checksum good, seal bad.
    Tampered,
    /// Bytes fail their checksum, and nothing is missing for it: what stood there is here again, or nobody needs it. No fault.
    Mended,
    /// Damage found before and kept aside; what was behind it is void.
    KnownHole,
    /// Events are missing between what is before and behind.
    Missing,
    /// The chain does not lead where a head says.
    Chain,
    /// A checkpoint stands on another chain than ours.
    Checkpoint,
    /// A segment's header or index is damaged; its frames are read without it. No fault: nothing is missing for it, and segments are never changed.
    Index,
}

impl Flaw {
    /// Damage for which nothing is missing (R10.8-e).
    pub(super) fn is_harmless(self) -> bool {
        matches!(self, Self::Mended | Self::Index)
    }
}

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub flaw: Flaw,
    /// In which segment.
    pub segment: u32,
    /// At which byte of it.
    pub offset: u64,
    /// Whose events, from which position, when known.
    pub stream: Option<(Stream, u64)>,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Segments.
    pub segment_count: u64,
    /// Bytes of frames.
    pub byte_count: u64,
    /// Events whose bytes and place in the chain are good.
    pub event_count: u64,
    /// Checkpoints that stand on our chain. Their signatures are not looked at: that needs the roster.
    pub checkpoint_count: u64,
    /// Faults told, without places for which nothing is missing.
    pub fault_count: u64,
}

impl WalReader {
    /// Verify the whole log, telling each fault as it is found, and to `progress` bytes and events read.
    ///
    /// # Errors
    /// What the disk says when it cannot be read at all; damage is told, not returned.
    pub fn verify(&self, tell: &mut dyn FnMut(Fault), progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, StoreError> {
        let mut tracks = BTreeMap::new();
        for (number, state) in self.view.streams.numbered() {
            tracks.insert(number, Track { stream: state.stream, seq: state.base.seq, end: Some(state.base) });
        }
        let mut fsck = Fsck { log: self, tell, progress, tracks, verified: Verified::default() };
        for number in self.view.first..=self.view.active.number {
            fsck.segment(number)?;
        }
        fsck.heads_at_end();
        Ok(fsck.verified)
    }
}

/// One stream while its chain is followed.
struct Track {
    stream: Stream,
    seq: u64,
    /// `None` behind damage, until a mark tells the hash again.
    end: Option<Position>,
}

struct Fsck<'a> {
    log: &'a WalReader,
    tell: &'a mut dyn FnMut(Fault),
    progress: &'a mut dyn FnMut(u64, u64),
    tracks: BTreeMap<u32, Track>,
    verified: Verified,
}

impl Fsck<'_> {
    fn fault(&mut self, flaw: Flaw, segment: u32, offset: u64, stream: Option<(Stream, u64)>) {
        self.verified.fault_count += u64::from(!flaw.is_harmless());
        (self.tell)(Fault { flaw, segment, offset, stream });
    }

    fn segment(&mut self, number: u32) -> Result<(), StoreError> {
        let log = self.log;
        let segment = match log.view.segment(number) {
            Ok(segment) => segment,
            Err(StoreError::Damaged { offset, stream, .. }) => {
                self.fault(Flaw::Damaged, number, offset, stream);
                return Ok(());
            }
            Err(StoreError::Tampered { offset, .. }) => {
                self.fault(Flaw::Tampered, number, offset, None);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let is_active = number == log.view.active.number;
        if is_active && segment.end == HEADER_LEN as u64 && segment.file.is_empty().unwrap_or(true) {
            return Ok(()); // not made yet
        }
        self.verified.segment_count += 1;
        let mut header = [0; HEADER_LEN];
        let len = segment.read(&mut header, 0)?;
        let rebuilt = matches!(segment.index, Index::Memory(_)) && !is_active;
        if read_header(&header[..len], number) != Header::Good || rebuilt {
            self.fault(Flaw::Index, number, 0, None);
        }
        let mut orphans = segment.orphans()?;
        orphans.retain(|(stream, _)| stream & MENDED == 0);
        let mut cursor = Cursor::new(segment.end);
        let (mut offset, mut unsure) = (HEADER_LEN as u64, false);
        while offset < segment.end {
            let void = |(_, run): &&(u32, Run)| (u64::from(run.offset)..u64::from(run.offset + run.len)).contains(&offset);
            if let Some((stream, run)) = orphans.iter().find(void) {
                if *stream == NO_STREAM {
                    self.fault(Flaw::KnownHole, number, offset, None);
                }
                offset = u64::from(run.offset + run.len);
            } else if let Look::Frame(head, len) = cursor.look(&segment, offset)? {
                match segment.open_frame(cursor.frame(&segment, offset, len)?, offset, &log.view.place.keys) {
                    Ok(body) => {
                        unsure = false;
                        self.frame(&head, body, number, offset);
                    }
                    Err(_) => self.fault(if unsure { Flaw::Damaged } else { Flaw::Tampered }, number, offset, None),
                }
                offset += len as u64;
                (self.progress)(self.verified.byte_count + offset, self.verified.event_count);
            } else if let Some(behind) = self.hole(number, offset) {
                offset = behind;
            } else {
                let behind = cursor.resync(&segment, offset)?.unwrap_or(segment.end);
                let lost = log.view.lost_in(&segment, offset, behind)?;
                let is_known = matches!(segment.index, Index::Sealed(_)); // what stood there; else it may have been the beginning of a session
                unsure = !is_known;
                self.fault(if is_known && lost.is_none() { Flaw::Mended } else { Flaw::Damaged }, number, offset, lost);
                offset = behind;
            }
        }
        self.verified.byte_count += segment.end;
        match &segment.index {
            Index::Sealed(trailer) => self.sealed(&segment, trailer),
            Index::Memory(_) => {
                self.hole(number, segment.end); // that reached to the end of the frames, and took heads with it
                Ok(())
            }
        }
    }

    /// Where a hole ends that is known to be at `offset`, put aside or found by opening, which tells what it cost. It is told here.
    fn hole(&mut self, number: u32, offset: u64) -> Option<u64> {
        let hole = self.log.view.place.holes.at(number, offset)?;
        self.fault(if hole.is_kept { Flaw::KnownHole } else { Flaw::Damaged }, number, offset, None);
        Some(offset + hole.len.max(1))
    }

    fn frame(&mut self, head: &Head, body: &[u8], segment: u32, offset: u64) {
        match head.kind {
            Kind::Events => self.events(head, body, segment, offset),
            Kind::Checkpoints => self.checkpoints(head, body, segment, offset),
            Kind::Mark | Kind::CutBack => {
                for mark in body.chunks_exact(MARK_ENTRY_LEN).filter_map(read_mark) {
                    self.told(mark.number, mark.end, segment, offset);
                }
            }
            Kind::Mended => {
                if frame::first_event(body, head.count).is_none() {
                    self.fault(Flaw::Tampered, segment, offset, None);
                }
            }
            Kind::Session | Kind::Stream | Kind::Heads => {}
        }
    }

    /// Follow a stream up to `to` through events that are not where they were stored first.
    fn bridge(&mut self, number: u32, to: u64) {
        let Some(track) = self.tracks.get_mut(&number).filter(|track| track.seq < to) else { return };
        let Ok(mut events) = StreamEvents::new(&self.log.view, &track.stream, track.seq + 1) else { return };
        while track.seq < to {
            let Ok(Some((_, bytes))) = events.next() else { return };
            track.end = track.end.map(|end| end.then(&digest(bytes)));
            track.seq += 1;
            self.verified.event_count += 1;
        }
    }

    fn events(&mut self, head: &Head, body: &[u8], segment: u32, offset: u64) {
        self.bridge(head.stream, head.first.saturating_sub(1));
        let Some(track) = self.tracks.get_mut(&head.stream) else { return self.fault(Flaw::Missing, segment, offset, None) };
        let (stream, missing) = (track.stream, track.seq + 1);
        let Some(mut at) = frame::first_event(body, head.count) else { return self.fault(Flaw::Tampered, segment, offset, Some((stream, missing))) };
        if head.first != missing {
            track.end = None;
        }
        for index in 0..head.count {
            let len = frame::event_len(body, index);
            track.end = track.end.map(|end| end.then(&digest(&body[at..at + len])));
            at += len;
        }
        track.seq = head.first + u64::from(head.count) - 1;
        self.verified.event_count += u64::from(head.count);
        if head.first != missing {
            self.fault(Flaw::Missing, segment, offset, Some((stream, missing)));
        }
    }

    /// A head as a frame tells it.
    fn told(&mut self, number: u32, end: Position, segment: u32, offset: u64) {
        self.bridge(number, end.seq);
        let Some(track) = self.tracks.get_mut(&number) else { return };
        let (stream, missing) = (track.stream, track.seq + 1);
        let (seq_fits, hash_fits) = (track.seq == end.seq, track.end.is_none_or(|ours| ours == end));
        (track.seq, track.end) = (end.seq, Some(end));
        if !seq_fits {
            self.fault(Flaw::Missing, segment, offset, Some((stream, missing)));
        } else if !hash_fits {
            self.fault(Flaw::Chain, segment, offset, Some((stream, end.seq)));
        }
    }

    fn checkpoints(&mut self, head: &Head, body: &[u8], segment: u32, offset: u64) {
        let Some(track) = self.tracks.get(&head.stream) else { return };
        let (stream, end) = (track.stream, track.end);
        let mut anchor = None;
        for checkpointed in body.chunks_exact(CHECKPOINT_LEN).filter_map(read_checkpoint) {
            let position = checkpointed.position;
            let ours = match end {
                Some(end) if end.seq == position.seq => Some(end),
                _ => self.position(&stream, position.seq, anchor).unwrap_or(None), // damage on the way is told where it is
            };
            match ours {
                Some(ours) if ours != position => self.fault(Flaw::Checkpoint, segment, offset, Some((stream, position.seq))),
                _ => self.verified.checkpoint_count += 1,
            }
            anchor = ours.or(anchor);
        }
    }

    /// Our chain at `seq`, hashed on from `anchor` when that is below, else from the checkpoint before.
    fn position(&self, stream: &Stream, seq: u64, anchor: Option<Position>) -> Result<Option<Position>, StoreError> {
        let view = &self.log.view;
        let Some((_, state)) = view.known(stream) else { return Ok(None) };
        let mut at = match anchor.filter(|anchor| anchor.seq <= seq) {
            Some(anchor) => anchor,
            None if seq <= state.base.seq => state.base,
            None => view.checkpoint_below(stream, seq - 1)?.map_or(state.base, |checkpointed| checkpointed.position),
        };
        let mut events = StreamEvents::new(view, stream, at.seq + 1)?;
        while at.seq < seq {
            let Some((_, event)) = events.next()? else { return Ok(None) };
            at = at.then(&digest(event));
        }
        Ok(Some(at))
    }

    /// The heads frames and tables of a sealed segment.
    fn sealed(&mut self, segment: &Segment, trailer: &Trailer) -> Result<(), StoreError> {
        let number = segment.number;
        let mut offset = u64::from(trailer.heads_offset);
        let mut cursor = Cursor::new(u64::from(trailer.tables_offset));
        let mut hash = None;
        while hash.is_none() {
            let Look::Frame(head @ Head { kind: Kind::Heads, .. }, len) = cursor.look(segment, offset)? else {
                self.fault(Flaw::Index, number, offset, None);
                return Ok(());
            };
            let Ok(body) = segment.open_frame(cursor.frame(segment, offset, len)?, offset, &self.log.view.place.keys) else {
                self.fault(Flaw::Tampered, number, offset, None);
                return Ok(());
            };
            let (entries, rest) = body.split_at_checked(usize::from(head.count) * HEAD_ENTRY_LEN).unwrap_or((body, &mut []));
            for (stream, state) in entries.chunks_exact(HEAD_ENTRY_LEN).filter_map(read_head) {
                self.told(stream, state.end, number, offset);
            }
            offset += len as u64;
            if head.first == 0 {
                hash = rest.first_chunk::<TABLES_HASH_LEN>().copied().or(Some([0; TABLES_HASH_LEN]));
            }
        }
        let mut sha = Sha256::new();
        let mut bytes = vec![0; 64 * 1024];
        let (mut at, end) = (u64::from(trailer.tables_offset), trailer.tables_end());
        while at < end {
            let len = usize::try_from(end - at).map_or(bytes.len(), |left| left.min(bytes.len()));
            segment.read_exact(&mut bytes[..len], at)?;
            sha.update(&bytes[..len]);
            at += len as u64;
        }
        if hash != Some(sha.finalize().into()) {
            // Rot does not keep the checksum: opening has held the tables against that.
            self.fault(Flaw::Tampered, number, u64::from(trailer.tables_offset), None);
        }
        Ok(())
    }

    /// What opening said against what was found.
    fn heads_at_end(&mut self) {
        let view = &self.log.view;
        for (number, state) in view.streams.numbered() {
            self.told(number, state.end, view.active.number, view.active.end);
        }
    }
}
