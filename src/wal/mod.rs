//! Wal: the embedded store. Streams of events with their checkpoints, sealed, in segments that only grow.
//!
//! In: runs of events whose chain is true, and checkpoints. Out: the same bytes, in order, after any crash; heads of all streams at once.
//! Invariants: what was synced stays; an append is a frame or a torn tail, never half a frame; no nonce is used twice; opening reads at most one
//! segment and one index whatever the size of the log. Not here: what an event says (`push`, `ingest`), the lock on the directory (`node`),
//! who may see what (`cut`).
//!
//! A segment: header 64 B, frames, and once sealed heads frames, tables and a trailer. `frame`: one frame; `tables`: the index;
//! `heads`: streams and their heads; `aside`: holes; `replay` and `recover`: opening; `writer`: appending; `view` and `read`: reading; `mended`: what rotted and is here again;
//! `fsck`: verifying everything.

mod aside;
mod frame;
pub mod fsck;
mod heads;
mod keys;
mod mended;
mod read;
mod recover;
mod replay;
mod segment;
mod tables;
mod view;
mod writer;

pub use fsck::{Fault, Flaw, Verified};
pub use keys::DataKeys;

use crate::ports::disk::{Disk, DiskFile, Open, sync_or_forget};
use crate::ports::store::{Checkpointed, Events, Finding, Head, Log, Rotten, Scan, Spot, Store, StoreError, Stream};
use crate::ports::{Clock, Entropy};
use bundle_format::chain::Run;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{NodeId, Origin};
use read::{AllEvents, StreamEvents};
use recover::{Opened, Place, hole_findings};
use segment::Segment;
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use tables::{Header, Tables};
use view::View;
use writer::Writer;

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment is sealed when it reaches this length; an append may overrun it.
    pub segment_len: u64,
    /// Sync what a killed process may have left unsynced before anything of it is shown. Who opens the log only to append and sync may leave it out.
    pub sync_at_open: bool,
}

/// A log and its one writer. The caller holds the lock.
pub struct Wal {
    view: View,
    writer: Writer,
}

impl Wal {
    /// Open the log in `folder`, or begin one; mend what a crash left.
    ///
    /// # Errors
    /// [`StoreError::Tampered`] with the wrong keys, [`StoreError::Version`], [`StoreError::Damaged`] when no heads can be found, or what the disk says.
    pub fn open(disk: Rc<dyn Disk>, folder: &Path, keys: &DataKeys, entropy: Rc<dyn Entropy>, clock: Rc<dyn Clock>) -> Result<Self, StoreError> {
        let options = Options { segment_len: disk.segment_len(), sync_at_open: true };
        Self::open_with(disk, folder, keys, entropy, clock, options)
    }

    /// [`Wal::open`] with other options.
    ///
    /// # Errors
    /// See [`Wal::open`].
    pub fn open_with(
        disk: Rc<dyn Disk>,
        folder: &Path,
        keys: &DataKeys,
        entropy: Rc<dyn Entropy>,
        clock: Rc<dyn Clock>,
        options: Options,
    ) -> Result<Self, StoreError> {
        let mut place = Place::new(disk, folder, keys);
        let Opened { streams, first, active, newest, mut findings } = place.open(Open::Write)?;
        let io = |error| StoreError::Io { doing: format!("mending {newest:08}.seg"), error };
        let Some((mut active, replayed, header)) = active else {
            if newest == 0 {
                place.disk.create_folder(folder).map_err(|error| StoreError::Io { doing: format!("making {}", folder.display()), error })?;
            } else {
                sync_or_forget(&*place.file(newest, Open::Read)?).map_err(io)?; // its sealing may not have come to its end
            }
            let active = writer::create(&*place.disk, folder, newest + 1, clock.now_ms())?;
            let mut writer = Writer::new(entropy, clock, options, active.end, (0, 0));
            let found_end = sealed_end(newest);
            let mut view = View { place, streams, active, first, findings, found_end, recent: RefCell::default(), rot: RefCell::default() };
            if view.has_holes() {
                writer.close_holes(&mut view, &[])?;
            }
            return Ok(Self { view, writer });
        };
        active.tail_offset = active.end;
        let found_end = (newest, active.end);
        let mut file_len = active.file.len().map_err(io)?;
        if replayed.torn_len > 0 || replayed.sealing {
            active.file.set_len(active.end).map_err(io)?;
            sync_or_forget(&*active.file).map_err(io)?; // before any append: what was behind must not come alive (R10.8-c)
            file_len = active.end;
        }
        let empty = active.end == tables::HEADER_LEN as u64;
        if header == Header::Bad && empty {
            active = writer::begin(active.file, newest, clock.now_ms()).map_err(io)?;
            file_len = active.end;
        } else if header == Header::Bad {
            findings.push(Finding::Index { segment: newest });
        }
        if empty {
            place.disk.sync_folder(folder).map_err(io)?; // its maker may have died before it did
        }
        if replayed.torn_len > 0 && !replayed.sealing {
            findings.push(Finding::TornTail { bytes: replayed.torn_len });
        }
        findings.extend(hole_findings(newest, &replayed.holes, &streams, |_| true));
        place.holes.note(&findings);
        let mut writer = Writer::new(entropy, clock, options, file_len, replayed.since_mark);
        let mut view = View { place, streams, active, first, findings, found_end, recent: RefCell::default(), rot: RefCell::default() };
        if view.has_holes() {
            writer.close_holes(&mut view, &replayed.holes)?;
        } else if options.sync_at_open && !empty {
            writer.sync(&mut view)?;
        }
        Ok(Self { view, writer })
    }
}

impl Wal {
    /// How many holes were put aside since the log began.
    pub fn holes_aside(&self) -> u64 {
        self.view.place.holes.kept_count()
    }

    /// See [`WalReader::hold_against`].
    pub fn hold_against(&mut self, place: (u32, u64)) {
        self.view.hold_against(place);
    }

    /// What every append says once a write or sync has failed: nothing more is taken, and only opening anew tells what is there.
    pub fn poison(&self) -> Option<StoreError> {
        self.writer.check().err()
    }

    /// Where the next frame goes: segment and byte. It moves with every append.
    pub fn end(&self) -> (u32, u64) {
        (self.view.active.number, self.view.active.end)
    }

    /// What tells this log from any other that reaches as far: the last bytes before `end`, a seal under a key that no other log had there. `None` where it
    /// does not reach so far.
    ///
    /// # Errors
    /// What the disk says.
    pub fn print_before(&self, (segment, offset): (u32, u64)) -> Result<Option<[u8; 16]>, StoreError> {
        let mut print = [0; 16];
        let Some(from) = offset.checked_sub(print.len() as u64).filter(|_| (segment, offset) <= self.end()) else { return Ok(None) };
        match self.view.segment(segment).and_then(|segment| segment.read_exact(&mut print, from)) {
            Ok(()) => Ok(Some(print)),
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(StoreError::Damaged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Let the next opening read what the medium holds and not what memory says it should: after a failed sync the two differ, and the system
    /// does not tell a second time.
    ///
    /// # Errors
    /// What the disk says.
    pub fn forget_cached(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
        let entries = disk.list(folder)?;
        let segments = entries.iter().filter(|entry| entry.path.extension().is_some_and(|extension| extension == "seg"));
        for entry in segments.rev().take(2) {
            disk.open(&entry.path, Open::Read)?.drop_cache()?;
        }
        Ok(())
    }
}

impl Store for Wal {
    fn append(&mut self, stream: &Stream, run: &Run<'_>, hlc: Hlc, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        if !run.events().is_empty() {
            self.writer.append(&mut self.view, stream, run, hlc)?;
        }
        self.writer.append_checkpoints(&mut self.view, stream, checkpoints)
    }

    fn append_checkpoints(&mut self, stream: &Stream, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        self.writer.append_checkpoints(&mut self.view, stream, checkpoints)
    }

    fn mend(&mut self, stream: &Stream, first: u64, events: &[&[u8]]) -> Result<(), StoreError> {
        self.writer.mend(&mut self.view, stream, first, events)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.writer.sync(&mut self.view)
    }

    fn orphans(&self, stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.view.orphans(stream)
    }
}

/// A log being read, also while another process writes it. Takes no lock, writes nothing, shows only what is durable.
pub struct WalReader {
    view: View,
}

impl WalReader {
    /// Open the log in `folder` as it stands now.
    ///
    /// # Errors
    /// See [`Wal::open`].
    pub fn open(disk: Rc<dyn Disk>, folder: &Path, keys: &DataKeys) -> Result<Self, StoreError> {
        let mut place = Place::new(disk, folder, keys);
        let Opened { streams, first, active, newest, mut findings } = place.open(Open::Read)?;
        let found_end = active.as_ref().map_or_else(|| sealed_end(newest), |(active, ..)| (newest, active.end));
        let active = match active {
            Some((active, replayed, _)) => {
                // the writer may have been killed before its sync: what is shown must stay
                sync_or_forget(&*active.file).map_err(|error| active.io("syncing", error))?;
                findings.extend(hole_findings(newest, &replayed.holes, &streams, |_| true));
                place.holes.note(&findings);
                active
            }
            None => Segment::in_memory(newest + 1, Box::new(NoFile), Tables::default(), tables::HEADER_LEN as u64),
        };
        Ok(Self { view: View { place, streams, active, first, findings, found_end, recent: RefCell::default(), rot: RefCell::default() } })
    }

    /// Somebody remembers that the log had durably reached `place`, segment and byte: [`Finding::Short`] when it did not when it was opened.
    pub fn hold_against(&mut self, place: (u32, u64)) {
        self.view.hold_against(place);
    }

    /// See [`Store::orphans`].
    ///
    /// # Errors
    /// See [`Store::orphans`].
    pub fn orphans(&self, stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.view.orphans(stream)
    }

    /// How many holes were put aside since the log began.
    pub fn holes_aside(&self) -> u64 {
        self.view.place.holes.kept_count()
    }

    /// The first and the last position of `stream` behind `after` that are readable behind a hole.
    ///
    /// # Errors
    /// What the disk says.
    pub fn orphan_span(&self, stream: &Stream, after: u64) -> Result<Option<(u64, u64)>, StoreError> {
        self.view.orphan_span(stream, after)
    }
}

/// Where a log ends whose newest segment, if there is any, is sealed.
fn sealed_end(newest: u32) -> (u32, u64) {
    if newest == 0 { (0, 0) } else { (newest, u64::MAX) }
}

/// The active segment of a log that has none.
struct NoFile;

impl DiskFile for NoFile {
    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! log_by_view {
    ($($name:ident)*) => {$(
        impl Log for $name {
            fn streams(&self) -> Vec<(Stream, Head)> {
                self.view.streams.sorted().map(|(_, state)| (state.stream, state.head())).collect()
            }

            fn branches(&self, origin: &Origin) -> Vec<(Stream, Head)> {
                self.view.streams.of(origin).map(|state| (state.stream, state.head())).collect()
            }

            fn count_of(&self, node: &NodeId) -> usize {
                self.view.streams.count_of(node)
            }

            fn head(&self, stream: &Stream) -> Option<Head> {
                self.view.streams.by_name(stream).map(heads::StreamState::head)
            }

            fn events(&self, stream: &Stream, from: u64) -> Result<Box<dyn Events + '_>, StoreError> {
                Ok(Box::new(StreamEvents::new(&self.view, stream, from)?))
            }

            fn checkpoints(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<Checkpointed>, StoreError> {
                self.view.checkpoints(stream, from, to)
            }

            fn checkpoint_below(&self, stream: &Stream, seq: u64) -> Result<Option<Checkpointed>, StoreError> {
                self.view.checkpoint_below(stream, seq)
            }

            fn scan_from(&self, spot: Spot) -> Result<Box<dyn Scan + '_>, StoreError> {
                Ok(Box::new(AllEvents::new(&self.view, spot)))
            }

            fn findings(&self) -> &[Finding] {
                &self.view.findings
            }

            fn lost(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<(u64, u64)>, StoreError> {
                self.view.lost(stream, from, to)
            }

            fn rotten(&self) -> Vec<Rotten> {
                self.view.rotten()
            }

            fn lacks_checkpoint(&self, stream: &Stream, seq: u64) -> bool {
                self.view.lacks_checkpoint(stream, seq)
            }
        }
    )*};
}
log_by_view!(Wal WalReader);

#[cfg(test)]
mod tests;
