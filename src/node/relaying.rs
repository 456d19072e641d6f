//! Carry bundles for others, without any key: from prepared places into a store, and from the store to the places they have not been to. SPEC §10.12
//! (R10.12-i).
//!
//! Nothing is opened. What is taken must be whole and signed by the key it names; who that is, is not known here.

use super::cutting::whole_bundle;
use super::error::NodeError;
use super::record::{self, RecordError};
use crate::carry::drop_folder::Draft;
use crate::carry::finding::{Candidate, candidates};
use crate::carry::stick::{self, Place, PlaceId};
use crate::ports::Ports;
use crate::ports::disk::{Disk, Open};
use crate::ports::stream::{FileReader, FileWriter};
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Lane};
use bundle_format::open::SealedBundle;
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Left free on a place, as by any writer (R10.5-f).
const RESERVE: u64 = 64 * 1024;
const PIECE_LEN: usize = 64 * 1024;
/// The index of a store, and its lock.
const INDEX_NAME: &str = "index";
const LOCK_NAME: &str = "LOCK";

/// From where to where.
pub struct RelayOrder<'a> {
    /// A stick or shared folder.
    pub place: &'a Path,
    /// Where bundles wait on this machine.
    pub store: &'a Path,
    /// How many bytes of them.
    pub quota: u64,
    /// How long to wait while another process uses the store.
    pub lock_wait_ms: u64,
}

/// What was carried.
#[derive(Debug)]
pub struct Relayed {
    /// The place.
    pub place: Place,
    /// Bundles taken into the store.
    pub taken: u64,
    /// Bundles written to the place.
    pub given: u64,
    /// Bytes written to it.
    pub given_len: u64,
    /// Bundles put out of the store, so that others have room.
    pub put_out: u64,
    /// Bundles that found no room in the store.
    pub no_room: u64,
    /// Bundles that found no room in the place.
    pub left: u64,
    /// What bore a bundle's name and was not whole: left where it is.
    pub faulty: Faulty,
    /// Where nobody looked, in the place and in the store.
    pub unseen: Unseen,
    /// Bundles in the store now, and their bytes.
    pub stored: (u64, u64),
    /// What the place did not let us do.
    pub trouble: Option<NodeError>,
    /// It may be taken out (R10.12-f).
    pub safe: bool,
}

impl Relayed {
    /// Nothing was seen that cannot be carried on, and nothing was not looked at.
    pub fn is_all(&self) -> bool {
        self.faulty.is_empty() && self.unseen == Unseen::default()
    }
}

/// Files that cannot be carried on, and why.
type Faulty = Vec<(PathBuf, Code)>;

/// What lies where nobody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// Folders deeper than is looked into.
    pub deeper: usize,
    /// There is more than is looked at.
    pub more: bool,
}

impl Unseen {
    /// The file that a search has found; what it has not looked into is noted, and told in `faulty` where it has a name.
    fn file_of(&mut self, candidate: Candidate, faulty: &mut Faulty) -> Option<PathBuf> {
        match candidate {
            Candidate::File(path) => return Some(path),
            Candidate::Unreadable(path, _) => faulty.push((path, Code::Z201)),
            Candidate::TooMuch(path) => {
                faulty.push((path, Code::Z241));
                self.more = true;
            }
            Candidate::Deeper(count) => self.deeper += count,
            Candidate::NotAFile(_) => {} // nobody sends such
        }
        None
    }
}

/// One bundle in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    digest: Hash,
    lane: Lane,
    len: u64,
    /// Grows with each that is taken.
    arrival: u64,
    /// Places where it has been: from where it came, and where it was given.
    been: BTreeSet<PlaceId>,
}

impl Kept {
    /// Its file's name, in the store and on places: nothing but its content.
    fn name(&self) -> String {
        format!("{}.zb", data_encoding::BASE32_NOPAD.encode(self.digest.0.get(..16).unwrap_or_default()).to_lowercase())
    }

    fn is_passed_on(&self) -> bool {
        self.been.len() > 1
    }
}

/// Carry in both directions.
///
/// # Errors
/// What stops it before anything was done, and what the store says.
pub fn relay(ports: &Ports, order: &RelayOrder<'_>) -> Result<Relayed, NodeError> {
    let disk = &*ports.disk;
    let place = stick::recognise(disk, order.place)?;
    place.make_files(disk)?;
    disk.create_folder(order.store).map_err(|error| NodeError::writing(order.store, error))?;
    let lock = order.store.join(LOCK_NAME);
    let held = disk.lock(&lock, order.lock_wait_ms).map_err(|error| NodeError::writing(&lock, error))?;
    let _held = held.ok_or_else(|| NodeError::refused(Code::Z104, order.store.display().to_string()))?;
    let (kept, faulty, unseen) = load(disk, order.store)?;
    let relayed = Relayed {
        place: place.clone(),
        taken: 0,
        given: 0,
        given_len: 0,
        put_out: 0,
        no_room: 0,
        left: 0,
        faulty,
        unseen,
        stored: (0, 0),
        trouble: None,
        safe: false,
    };
    let mut relay = Relay { disk, order, place, kept, relayed };
    let met = relay.take()?;
    let given = relay.give(&met)?;
    Ok(relay.end(given))
}

struct Relay<'a> {
    disk: &'a dyn Disk,
    order: &'a RelayOrder<'a>,
    place: Place,
    kept: Vec<Kept>,
    relayed: Relayed,
}

impl Relay<'_> {
    /// Take what is whole and not here yet; returns all that lies there whole.
    fn take(&mut self) -> Result<BTreeSet<Hash>, NodeError> {
        let mut met = BTreeSet::new();
        let mut found = Vec::new();
        for candidate in candidates(self.disk, &self.place.root).map_err(|error| NodeError::reading(&self.place.root, error))? {
            let Some(path) = self.relayed.unseen.file_of(candidate, &mut self.relayed.faulty) else { continue };
            let opened = self.disk.open(&path, Open::Read).and_then(FileReader::new).map_err(Into::into).and_then(SealedBundle::read);
            match opened {
                Ok(bundle) => found.push((bundle.header().best_lane.unwrap_or(Lane::Routine), path, bundle.digest(), bundle.len())),
                Err(error) if error.code() == Code::Z211 => {}
                Err(error) => self.relayed.faulty.push((path, error.code())),
            }
        }
        found.sort_by_key(|(lane, ..)| *lane);
        for (lane, path, digest, len) in found {
            met.insert(digest);
            let known = self.kept.iter().position(|kept| kept.digest == digest);
            if let Some(kept) = known.and_then(|at| self.kept.get_mut(at)) {
                kept.been.insert(self.place.marker.id);
            } else if self.make_room(lane, len)? {
                self.keep(lane, path, digest, len)?;
            } else {
                self.relayed.no_room += 1;
            }
        }
        self.save()?;
        Ok(met)
    }

    fn keep(&mut self, lane: Lane, path: PathBuf, digest: Hash, len: u64) -> Result<(), NodeError> {
        let arrival = self.kept.iter().map(|kept| kept.arrival + 1).max().unwrap_or(0);
        let kept = Kept { digest, lane, len, arrival, been: BTreeSet::from([self.place.marker.id]) };
        if copy(self.disk, &path, self.order.store, &kept)? {
            self.kept.push(kept);
            self.relayed.taken += 1;
        } else {
            self.relayed.faulty.push((path, Code::Z213)); // it changed under us
        }
        Ok(())
    }

    /// Put out what has been passed on, then what is less urgent, the oldest first, until `len` more fit.
    fn make_room(&mut self, lane: Lane, len: u64) -> Result<bool, NodeError> {
        loop {
            let used: u64 = self.kept.iter().map(|kept| kept.len).sum();
            if used.saturating_add(len) <= self.order.quota {
                return Ok(true);
            }
            let goes = |kept: &&Kept| len <= self.order.quota && (kept.is_passed_on() || kept.lane > lane);
            let order = |kept: &&Kept| (!kept.is_passed_on(), std::cmp::Reverse(kept.lane), kept.arrival);
            let Some(out) = self.kept.iter().filter(goes).min_by_key(order).cloned() else { return Ok(false) };
            let path = self.order.store.join(out.name());
            self.disk.remove(&path).map_err(|error| NodeError::writing(&path, error))?;
            self.kept.retain(|kept| *kept != out);
            self.relayed.put_out += 1;
        }
    }

    /// Write to the place what has not been there, the urgent first. What the place says is returned, what the store says fails.
    fn give(&mut self, met: &BTreeSet<Hash>) -> Result<Option<NodeError>, NodeError> {
        self.kept.sort_by_key(|kept| (kept.lane, kept.arrival));
        let here = self.place.marker.id;
        for at in 0..self.kept.len() {
            let Some(kept) = self.kept.get(at).filter(|kept| !kept.been.contains(&here) && !met.contains(&kept.digest)).cloned() else { continue };
            if let Err(error) = self.place.still_there(self.disk) {
                return Ok(Some(error.into()));
            }
            let free = self.disk.free_space(&self.place.root).map_err(|error| NodeError::reading(&self.place.root, error))?;
            if free.saturating_sub(RESERVE) < kept.len {
                self.relayed.left += 1;
                continue;
            }
            match copy(self.disk, &self.order.store.join(kept.name()), &self.place.files, &kept) {
                Ok(true) => {
                    (self.relayed.given, self.relayed.given_len) = (self.relayed.given + 1, self.relayed.given_len + kept.len);
                    if let Some(kept) = self.kept.get_mut(at) {
                        kept.been.insert(here);
                    }
                    self.save()?;
                }
                Ok(false) => return Err(NodeError::refused(Code::Z213, self.order.store.join(kept.name()).display().to_string())),
                Err(error) if error.is_full_medium() => self.relayed.left += 1,
                Err(error) => return Ok(Some(error)),
            }
        }
        Ok(None)
    }

    fn end(mut self, trouble: Option<NodeError>) -> Relayed {
        let synced = self.disk.sync_volume(&self.place.root).map_err(|error| NodeError::writing(&self.place.root, error));
        let there = synced.and_then(|()| Ok(self.place.still_there(self.disk)?));
        let failed = |error: NodeError| match super::exchanging::refused_by_medium(&error) {
            Some(std::io::ErrorKind::ReadOnlyFilesystem) => NodeError::refused(Code::Z234, error.to_string()),
            _ if error.code() == Code::Z214 => error,
            _ => NodeError::refused(Code::Z237, error.to_string()),
        };
        self.relayed.safe = there.is_ok()
            && trouble.as_ref().is_none_or(|error| super::exchanging::refused_by_medium(error) == Some(std::io::ErrorKind::ReadOnlyFilesystem));
        self.relayed.trouble = trouble.or(there.err()).map(failed);
        self.relayed.stored = (self.kept.len() as u64, self.kept.iter().map(|kept| kept.len).sum());
        self.relayed
    }

    fn save(&self) -> Result<(), RecordError> {
        record::save(self.disk, &self.order.store.join(INDEX_NAME), &to_bytes(&self.kept))
    }
}

/// Copy one bundle, proved at its new place; `false` when the source is not, or not any more, that bundle.
fn copy(disk: &dyn Disk, from: &Path, to: &Path, kept: &Kept) -> Result<bool, NodeError> {
    let reading = |error| NodeError::reading(from, error);
    let mut reader = FileReader::new(disk.open(from, Open::Read).map_err(reading)?).map_err(reading)?;
    let (draft, file) = Draft::begin(disk, to, "relay")?;
    let mut writer = FileWriter::new(file);
    let mut piece = vec![0; PIECE_LEN];
    loop {
        match reader.read(&mut piece).map_err(reading)? {
            0 => break,
            len => writer.write_all(piece.get(..len).unwrap_or_default()).map_err(|error| NodeError::writing(to, error))?,
        }
    }
    writer.finish().map_err(|error| NodeError::writing(to, error))?;
    let same = |file| whole_bundle(file).is_some_and(|sealed| sealed.digest == kept.digest);
    if disk.open(from, Open::Read).ok().is_none_or(|file| !same(file)) {
        return Ok(false);
    }
    draft.publish(&kept.name(), &same)?;
    Ok(true)
}

/// What is in a store: its index, as far as files bear it out; what the index does not know is read. And what lies there and cannot be carried on.
fn load(disk: &dyn Disk, store: &Path) -> Result<(Vec<Kept>, Faulty, Unseen), NodeError> {
    let mut kept = match record::load(disk, &store.join(INDEX_NAME), from_bytes) {
        Ok(kept) => kept.unwrap_or_default(),
        Err(RecordError::Damaged { .. }) => Vec::new(), // read again from the files
        Err(error) => return Err(error.into()),
    };
    let (mut there, mut faulty, mut unseen) = (BTreeSet::new(), Vec::new(), Unseen::default());
    for candidate in candidates(disk, store).map_err(|error| NodeError::reading(store, error))? {
        let Some(path) = unseen.file_of(candidate, &mut faulty) else { continue };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !kept.iter().any(|kept| kept.name() == name) {
            let bundle = match disk.open(&path, Open::Read).and_then(FileReader::new).map_err(Into::into).and_then(SealedBundle::read) {
                Ok(bundle) => bundle,
                Err(error) => {
                    faulty.push((path, error.code()));
                    continue;
                }
            };
            let (lane, arrival) = (bundle.header().best_lane.unwrap_or(Lane::Routine), kept.iter().map(|kept| kept.arrival + 1).max().unwrap_or(0));
            kept.push(Kept { digest: bundle.digest(), lane, len: bundle.len(), arrival, been: BTreeSet::new() });
        }
        there.insert(name);
    }
    if !unseen.more {
        kept.retain(|kept| there.contains(&kept.name()));
    }
    Ok((kept, faulty, unseen))
}

/// `[* [digest, lane, length, arrival, [* place]]]`.
fn to_bytes(kept: &[Kept]) -> Vec<u8> {
    let tell = |kept: &'_ Kept| {
        let been: Vec<_> = kept.been.iter().map(|place| Bytes(place.0.as_slice())).collect();
        cbor::to_vec(&(Bytes(kept.digest.0.as_slice()), kept.lane as u8, kept.len, kept.arrival, been))
    };
    let items: Vec<_> = kept.iter().map(tell).collect();
    cbor::to_vec(&items.iter().map(|item| Bytes(item.as_slice())).collect::<Vec<_>>())
}

fn from_bytes(bytes: &[u8]) -> Result<Vec<Kept>, CborError> {
    let reader = &mut Reader::new(bytes);
    let kept = (0..reader.array()?).map(|_| read_kept(reader.bytes()?)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(kept)
}

fn read_kept(bytes: &[u8]) -> Result<Kept, CborError> {
    let reader = &mut Reader::new(bytes);
    reader.array_exact(5)?;
    let (digest, lane) = (Hash(reader.bytes_exact()?), Lane::from_number(reader.uint()?).ok_or(CborError::Shape)?);
    let (len, arrival) = (reader.uint()?, reader.uint()?);
    let been = (0..reader.array()?).map(|_| reader.bytes_exact().map(PlaceId)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(Kept { digest, lane, len, arrival, been })
}
