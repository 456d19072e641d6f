//! Bundles that were kept for later, and what each of them waits for. SPEC §6.3.
//!
//! In: what a bundle lacked when it was tried last. Out: whether to try it again, and what came of it. Invariants: to open a bundle may cost seconds, so
//! one that waits is opened again only when a history that it waits for reaches as far as it must, and stands otherwise than at the last try: whoever can fill
//! `held/` cannot keep us busy with it. What a bundle waits for is a memory beside it; without it the bundle is tried. Not here: who is put out for want of
//! room (`held`), what taking a bundle does (`taking`).

use super::error::NodeError;
use super::held::{self, Held};
use super::record::{self, RecordError};
use super::taking::{FileReport, Ingested, Manner, Missing, Outcome, nearest};
use super::{Node, View, inspect, settle};
use crate::ports::disk::Disk;
use crate::ports::store::Log;
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::error::Code;
use bundle_format::ids::{NodeId, Origin};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// Histories that one bundle waits for: of one that waits for more, these are the ones that count.
const GAPS_MAX: usize = 4_096;

/// What a bundle waits for, as it stood when it was tried last (R6.3-i).
pub(super) struct Waits {
    /// What must come before it can count, of each history the nearest; empty when it waits for the roster.
    gaps: Vec<Missing>,
    /// How the histories stood.
    print: [u8; 16],
}

impl Waits {
    /// For `gaps` to be filled, and when there are none for the roster: as it is in `log` now.
    pub(super) fn now(log: &dyn Log, roster: &Origin, gaps: &[Missing]) -> Self {
        let mut gaps = nearest(gaps.to_vec());
        gaps.truncate(GAPS_MAX);
        Self { print: print_of(log, roster, &gaps), gaps }
    }

    /// Whether another try may come to something else than the last.
    fn is_over(&self, log: &dyn Log, roster: &Origin) -> bool {
        let reaches = |gap: &Missing| end_of(log, &gap.origin) >= gap.to;
        (self.gaps.is_empty() || self.gaps.iter().any(reaches)) && print_of(log, roster, &self.gaps) != self.print
    }

    /// What is missing still.
    fn gaps_in(&self, log: &dyn Log) -> impl Iterator<Item = Missing> {
        self.gaps.iter().map(|gap| Missing { from: Some(end_of(log, &gap.origin) + 1).filter(|from| *from <= gap.to).unwrap_or(gap.from), ..*gap })
    }

    fn load(disk: &dyn Disk, bundle: &Path) -> Result<Option<Self>, NodeError> {
        match record::load(disk, &beside(bundle), Self::from_bytes) {
            Err(RecordError::Damaged { .. }) => Ok(None),
            waits => Ok(waits?),
        }
    }

    /// Put it beside `bundle`.
    ///
    /// # Errors
    /// When our own disk fails.
    pub(super) fn save(&self, disk: &dyn Disk, bundle: &Path) -> Result<(), NodeError> {
        let gaps: Vec<_> = self.gaps.iter().map(|gap| (gap.origin, gap.from, gap.to)).collect();
        Ok(record::save(disk, &beside(bundle), &cbor::to_vec(&(Bytes(&self.print), gaps)))?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let reader = &mut Reader::new(bytes);
        reader.array_exact(2)?;
        let print = reader.bytes_exact()?;
        let gap = |reader: &mut Reader<'_>| {
            reader.array_exact(3)?;
            Ok::<_, CborError>(Missing { origin: Origin::read(reader)?, from: reader.uint()?, to: reader.uint()? })
        };
        let gaps = (0..reader.array()?).map(|_| gap(reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { gaps, print })
    }
}

/// Where it is noted what a kept bundle waits for.
pub(super) fn beside(bundle: &Path) -> PathBuf {
    bundle.with_extension("waits")
}

/// A bundle that was kept for later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes.
    pub len: u64,
    /// Who it is from, if that can still be read.
    pub sender: Option<NodeId>,
    /// What must come before it can count, of each history the nearest; empty: to be known who made it.
    pub missing: Vec<Missing>,
}

impl View {
    /// The bundles kept for later: early ones, then those of unknown senders.
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub fn held(&self) -> Result<Vec<Parked>, NodeError> {
        let disk = &*self.ports.disk;
        let mut entries = Held::at(&self.layout.held()).entries(disk)?;
        entries.extend(Held::unknown_at(&self.layout.held_unknown()).entries(disk)?);
        let parked = |(path, len): (PathBuf, u64)| {
            let missing = Waits::load(disk, &path)?.map(|waits| waits.gaps_in(self.log()).collect()).unwrap_or_default();
            Ok(Parked { sender: inspect::sender(&self.ports, &path), path, len, missing })
        };
        entries.into_iter().map(parked).collect()
    }
}

fn end_of(log: &dyn Log, origin: &Origin) -> u64 {
    log.branches(origin).iter().map(|(_, head)| head.end.seq).max().unwrap_or(0)
}

/// All that the verdict on a range of these histories depends on beside the range: how far each branch goes, what of it cannot be read, and this program.
fn print_of(log: &dyn Log, roster: &Origin, gaps: &[Missing]) -> [u8; 16] {
    let roster = Some(roster).filter(|_| gaps.is_empty());
    let rotten = log.rotten();
    let mut sha = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
    for origin in gaps.iter().map(|gap| &gap.origin).chain(roster) {
        for (stream, head) in log.branches(origin) {
            sha.update(stream.branch.unwrap_or_default());
            sha.update(head.end.seq.to_be_bytes());
            sha.update(head.end.hash.0);
        }
        for lost in rotten.iter().filter(|lost| lost.stream.origin == *origin) {
            sha.update(lost.first.to_be_bytes());
            sha.update(lost.last.to_be_bytes());
        }
    }
    let mut print = [0; 16];
    print.copy_from_slice(&sha.finalize()[..16]);
    print
}

impl Node {
    /// What came over a link may be what files in `held/` wait for (R6.3-c).
    ///
    /// # Errors
    /// Our own log or disk.
    pub(super) fn take_held(&mut self) -> Result<(), NodeError> {
        let disk = self.ports.disk.clone();
        let mut waiting = 0;
        for folder in self.waiting_folders() {
            waiting += folder.list(&*disk)?.len();
        }
        if waiting == 0 {
            return Ok(());
        }
        let mut ingested = Ingested::default();
        self.retry_held(&mut ingested, &mut |_| {})?;
        settle::settle(self, &mut ingested)?;
        self.save_ledger()
    }

    /// What waited may fit now; again and again until nothing moves (R6.3-c).
    pub(super) fn retry_held(&mut self, ingested: &mut Ingested, tell: &mut dyn FnMut(&FileReport)) -> Result<(), NodeError> {
        let disk = self.ports.disk.clone();
        loop {
            let mut moved = false;
            ingested.missing.clear();
            for folder in self.waiting_folders() {
                for path in folder.list(&*disk)? {
                    moved |= self.retry_one(&path, ingested, tell)?;
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    /// Try one bundle again if it may come to something else than the last time. Whether it did.
    fn retry_one(&mut self, path: &Path, ingested: &mut Ingested, tell: &mut dyn FnMut(&FileReport)) -> Result<bool, NodeError> {
        let disk = self.ports.disk.clone();
        let roster = self.roster.pin().roster_origin();
        if let Some(waits) = Waits::load(&*disk, path)?.filter(|waits| !waits.is_over(&self.wal, &roster)) {
            ingested.missing.extend(waits.gaps_in(&self.wal));
            return Ok(false);
        }
        let report = self.take_file(path, Manner::Watched { is_doubtful: true }, ingested)?;
        let counts = &report.counts;
        let has_grown = counts.new + counts.control + counts.mended > 0;
        match report.outcome {
            Outcome::Taken => {
                held::put_out(&*disk, path)?;
                tell(&report);
                ingested.note(report);
                return Ok(true);
            }
            Outcome::Held => {
                ingested.counts.add(&report.counts);
                ingested.missing.extend(&report.missing);
            }
            Outcome::Refused(Code::Z201) => return Ok(false), // the disk, this time
            _ => {}
        }
        if !has_grown {
            Waits::now(&self.wal, &roster, &report.missing).save(&*disk, path)?; // what it brought may be what its earlier ranges waited for
        }
        Ok(has_grown)
    }

    fn waiting_folders(&self) -> [Held; 2] {
        [Held::unknown_at(&self.layout.held_unknown()), Held::at(&self.layout.held())]
    }
}
