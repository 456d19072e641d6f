//! The ledger: which bundles have been taken, by their content, and what files in watched folders looked like when they were read. SPEC §10.2, §10.11.
//!
//! In: bundles that counted whole, looks at files. Out: what need not be done again. Invariants: a cache, so losing it costs reading only, and it
//! never says "taken" of what the log does not hold: it is empty again when the log is not the one it was written beside, or ends before that place (R10.11-b). Bounded.
//! Not here: when a look may stand for a reading (`carry::watch`).

use super::error::NodeError;
use super::record;
use crate::carry::watch::{Known, Look};
use crate::ports::disk::{Disk, Entry};
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::error::Code;
use bundle_format::ids::{Hash, NodeId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A form of the file that means something else has another number; what is of another form is made anew.
const FORM: u64 = 2;
/// Bundles remembered: ten years of one a day from one clinic, or a hub's month; 60 bytes each.
const BUNDLES_MAX: usize = 8_192;
/// Looks remembered: as many as one search finds, so that junk is told once; 60 bytes each, and as many as there are files.
const LOOKS_MAX: usize = 100_000;

/// Half a SHA-256: enough to tell apart what nobody can choose freely and nobody gains by confusing.
type Key = [u8; 16];

/// A bundle that was taken whole, with nothing to tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBundle {
    /// Who sealed it.
    pub sender: NodeId,
    /// Events outside control lanes in it, counted by payload.
    pub events: u64,
    /// It had ranges, so an answer is due each time it comes (R6.5-g).
    pub has_ranges: bool,
}

/// A place in the log, and what stood right before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Segment and byte.
    pub end: (u32, u64),
    /// The last bytes before: of a log that was put back, and has grown as far again, they are others.
    pub print: [u8; 16],
}

/// What need not be done again.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Where the log ended when the last bundle was noted.
    log_end: Mark,
    /// What the verdicts on refused files depended on beside the files.
    ground: Key,
    /// By content, each with its number in the order of coming.
    bundles: BTreeMap<Key, (u64, TakenBundle)>,
    looks: BTreeMap<Key, Look>,
    next: u64,
    is_changed: bool,
}

impl Ledger {
    /// Read it; an empty one when there is none, and when it is damaged or of another form (R10.2-h). Whether its log is still there: [`Ledger::log_end`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn load(disk: &dyn Disk, path: &Path) -> Result<Self, NodeError> {
        let ledger = match record::load(disk, path, Self::from_bytes) {
            Err(record::RecordError::Damaged { .. }) => None,
            ledger => ledger?,
        };
        Ok(ledger.unwrap_or_default())
    }

    /// Where the log ended when it was written.
    pub fn log_end(&self) -> Mark {
        self.log_end
    }

    /// Write it if it has changed. What it notes must be durable in the log.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save(&mut self, disk: &dyn Disk, path: &Path, log_end: Mark) -> Result<(), NodeError> {
        if self.is_changed {
            self.log_end = log_end;
            record::save(disk, path, &self.to_bytes())?;
            self.is_changed = false;
        }
        Ok(())
    }

    /// Whether a bundle was taken whole, by what its signature is over.
    pub fn taken(&self, digest: &Hash) -> Option<TakenBundle> {
        self.bundles.get(&half(&digest.0)).map(|(_, bundle)| *bundle)
    }

    /// Bundles that were taken, in the order of coming.
    pub fn bundles(&self) -> impl Iterator<Item = ([u8; 16], TakenBundle)> {
        let mut order: Vec<_> = self.bundles.iter().map(|(key, (number, bundle))| (*number, *key, *bundle)).collect();
        order.sort_unstable_by_key(|(number, ..)| *number);
        order.into_iter().map(|(_, key, bundle)| (key, bundle))
    }

    /// A bundle was taken whole. Beyond the bound the one that came first is forgotten.
    pub fn note_taken(&mut self, digest: &Hash, bundle: TakenBundle) {
        if self.bundles.len() >= BUNDLES_MAX
            && let Some(first) = self.bundles.iter().min_by_key(|(_, (number, _))| *number).map(|(key, _)| *key)
        {
            self.bundles.remove(&first);
        }
        self.bundles.insert(half(&digest.0), (self.next, bundle));
        self.next += 1;
        self.is_changed = true;
    }

    /// What is remembered of a file as it looks now. What a clock of the future wrote begins anew, once: else the count would never run (R10.11-d).
    pub fn look(&mut self, entry: &Entry, now_s: u32) -> Option<Look> {
        let look = self.looks.get_mut(&key_of(entry))?;
        let begun = Look { since_s: look.since_s.min(now_s), read_s: look.read_s.min(now_s), ..*look };
        self.is_changed |= begun != *look;
        *look = begun;
        Some(begun)
    }

    /// A file looks so, and what reading it gave. Beyond the bound what was read longest ago is forgotten.
    pub fn note_look(&mut self, entry: &Entry, look: Look) {
        let key = key_of(entry);
        if self.looks.len() >= LOOKS_MAX && !self.looks.contains_key(&key) {
            self.forget_oldest_looks();
        }
        self.looks.insert(key, look);
        self.is_changed = true;
    }

    /// An eighth at once, so that a full ledger is not searched for each file.
    fn forget_oldest_looks(&mut self) {
        let mut read: Vec<u32> = self.looks.values().map(|look| look.read_s).collect();
        let (_, bound, _) = read.select_nth_unstable(LOOKS_MAX / 8);
        let bound = *bound;
        let mut room = LOOKS_MAX / 8;
        self.looks.retain(|_, look| {
            let goes = look.read_s <= bound && room > 0;
            room -= usize::from(goes);
            !goes
        });
    }

    /// Verdicts on files that were not taken stood on `ground`: roster, keys, program. When it has moved they are judged again (R10.11-d).
    pub fn stand_on(&mut self, ground: &[u8]) {
        let ground = half(&Sha256::digest(ground));
        if self.ground != ground {
            self.looks.retain(|_, look| look.known == Known::Taken);
            self.ground = ground;
            self.is_changed = true;
        }
    }

    /// Something kept for later was put out for want of room: every file is read again when it is looked at (R6.3-g).
    pub fn forget_looks(&mut self) {
        self.is_changed |= !self.looks.is_empty();
        self.looks.clear();
    }

    /// The log does not hold any more what it held.
    pub fn clear(&mut self) {
        *self = Self { is_changed: true, ..Self::default() };
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut order: Vec<_> = self.bundles.iter().collect();
        order.sort_unstable_by_key(|(_, (number, _))| *number);
        let bundles: Vec<_> =
            order.iter().map(|(key, (_, bundle))| (Bytes(*key), Bytes(&bundle.sender.0), bundle.events, bundle.has_ranges)).collect();
        let looks = self.looks.iter().map(|(key, look)| (Bytes(key), look.since_s, look.read_s, look.trusted, known_to_number(look.known)));
        let looks: Vec<_> = looks.collect();
        let Mark { end: (segment, offset), print } = self.log_end;
        cbor::to_vec(&(FORM, segment, offset, Bytes(&print), Bytes(&self.ground), bundles, looks))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let reader = &mut Reader::new(bytes);
        reader.array_exact(7)?;
        let form = reader.uint()?;
        if form != FORM {
            return Ok(Self::default());
        }
        let segment = u32::try_from(reader.uint()?).unwrap_or(u32::MAX);
        let log_end = Mark { end: (segment, reader.uint()?), print: reader.bytes_exact()? };
        let mut ledger = Self { log_end, ground: reader.bytes_exact()?, ..Self::default() };
        for number in 0..reader.array()? as u64 {
            reader.array_exact(4)?;
            let key = reader.bytes_exact()?;
            let bundle = TakenBundle { sender: NodeId(reader.bytes_exact()?), events: reader.uint()?, has_ranges: reader.boolean()? };
            ledger.bundles.insert(key, (number, bundle));
            ledger.next = number + 1;
        }
        for _ in 0..reader.array()? {
            reader.array_exact(5)?;
            let key = reader.bytes_exact()?;
            let seconds = |reader: &mut Reader<'_>| Ok::<_, CborError>(u32::try_from(reader.uint()?).unwrap_or(u32::MAX));
            let (since_s, read_s, trusted) = (seconds(reader)?, seconds(reader)?, reader.boolean()?);
            if let Some(known) = known_from_number(reader.uint()?) {
                ledger.looks.insert(key, Look { since_s, read_s, trusted, known });
            }
        }
        reader.finish()?;
        Ok(ledger)
    }
}

/// 0 taken; 1000 + row waiting; 2000 + row told.
fn known_to_number(known: Known) -> u64 {
    let number = |code: Code| code.as_str()[1..].parse::<u64>().unwrap_or(0);
    match known {
        Known::Taken => 0,
        Known::Waiting(code) => 1000 + number(code),
        Known::Told(code) => 2000 + number(code),
    }
}

fn known_from_number(number: u64) -> Option<Known> {
    let code = |row: u64| Code::from_name(&format!("Z{row}"));
    match number {
        0 => Some(Known::Taken),
        1000..2000 => code(number - 1000).map(Known::Waiting),
        _ => code(number.checked_sub(2000)?).map(Known::Told),
    }
}

/// A file as it looks: where it is, and all that a look tells.
fn key_of(entry: &Entry) -> Key {
    let mut sha = Sha256::new();
    sha.update(entry.path.as_os_str().as_bytes());
    let print = &entry.print;
    for number in [entry.len, print.device, print.inode, print.modified_ns.cast_unsigned(), print.changed_ns.cast_unsigned()] {
        sha.update(number.to_be_bytes());
    }
    half(&sha.finalize())
}

fn half(digest: &[u8]) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}
