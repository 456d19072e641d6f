//! What we know of each stick and shared folder: what it is called, where it last was, what of ours lies on it. One small file each under
//! `places/`.
//!
//! A memory, not the truth: a file counts only when it is found again, whole, with the digest noted here; without this memory the next exchange
//! writes too much, never too little (R10.12-c).

use super::View;
use super::error::NodeError;
use super::record::{self, Recalled, RecordError, Rotted};
use crate::carry::stick::{FILES_NAME, Marker, Place, PlaceId, PlaceKind, read_marker};
use crate::ports::disk::{Disk, Open};
use crate::ports::store::Stream;
use crate::ports::stream::FileReader;
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Incarnation, NodeId, Origin, from_hex};
use bundle_format::open::{OpenError, SealedBundle};
use std::path::{Path, PathBuf};

/// Places remembered; beyond that the one not seen for longest is forgotten. A district has tens of sticks.
const PLACES_MAX: usize = 256;

/// A receipt, by its holder's life and its number; what a recipient had told when a file was written for it.
pub type Heard = Option<(Incarnation, u64)>;

/// One file of ours on a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name there.
    pub name: String,
    /// The name of a file with the same receipt and no ranges: tells whether our present receipt is on it.
    pub receipt_name: String,
    /// What its signature is over.
    pub digest: Hash,
    /// Its length.
    pub bytes: u64,
    /// In which run it was written.
    pub run: u64,
    /// For whom, and what each had told by then.
    pub recipients: Vec<(NodeId, Heard)>,
    /// Ranges inside: stream, first, last.
    pub ranges: Vec<(Stream, u64, u64)>,
}

impl Written {
    /// Whether every one of `nodes` can open it.
    pub fn is_for(&self, nodes: &[NodeId]) -> bool {
        nodes.iter().all(|node| self.recipients.iter().any(|(recipient, _)| recipient == node))
    }

    /// Whether `newer`, for the same recipients, holds all that this one does (R10.12-e).
    pub fn is_superseded_by(&self, newer: &Self) -> bool {
        let nodes: Vec<_> = self.recipients.iter().map(|(node, _)| *node).collect();
        let holds =
            |&(stream, first, last): &(Stream, u64, u64)| newer.ranges.iter().any(|range| range.0 == stream && range.1 <= first && last <= range.2);
        newer.run > self.run && newer.is_for(&nodes) && self.ranges.iter().all(holds)
    }
}

/// One stick or shared folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRecord {
    /// What its marker said.
    pub marker: Marker,
    /// Where it was.
    pub path: String,
    /// When, milliseconds since 1970 by our clock; display only.
    pub seen_ms: u64,
    /// How many runs wrote something there.
    pub run: u64,
    /// The last of them left something for another stick, or went on behind another one.
    pub split: bool,
    /// How many runs elsewhere went on behind it since.
    pub relied: u64,
    /// What of ours lies there.
    pub written: Vec<Written>,
}

impl PlaceRecord {
    fn new(marker: Marker) -> Self {
        Self { marker, path: String::new(), seen_ms: 0, run: 0, split: false, relied: 0, written: Vec::new() }
    }

    /// Forget every file that is not there any more, or not as we wrote it. Returns the names of those that are damaged: bundles under the name we gave,
    /// cut short or rotten, of no use to anybody (R10.12-e).
    pub fn keep_what_lies_there(&mut self, disk: &dyn Disk, place: &Place) -> Vec<String> {
        let mut damaged = Vec::new();
        self.written.retain(|written| {
            let opened = disk.open(&place.files.join(&written.name), Open::Read).and_then(FileReader::new).map_err(OpenError::from);
            match opened.and_then(SealedBundle::read) {
                Ok(bundle) => bundle.digest() == written.digest,
                Err(error) => {
                    damaged.extend(matches!(error.code(), Code::Z212 | Code::Z213).then(|| written.name.clone()));
                    false
                }
            }
        });
        damaged
    }

    /// Ranges that lie there for all of `nodes`.
    pub fn ranges_for(&self, nodes: &[NodeId]) -> Vec<(Stream, u64, u64)> {
        self.written.iter().filter(|written| written.is_for(nodes)).flat_map(|written| written.ranges.iter().copied()).collect()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let kind = u8::from(self.marker.kind == PlaceKind::Folder);
        let written: Vec<_> = self.written.iter().map(tell_written).collect();
        let head = (Bytes(&self.marker.id.0), kind, &self.marker.label, &self.path);
        cbor::to_vec(&(head, self.seen_ms, self.run, self.split, self.relied, written))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let reader = &mut Reader::new(bytes);
        reader.array_exact(6)?;
        reader.array_exact(4)?;
        let id = PlaceId(reader.bytes_exact()?);
        let kind = if reader.uint()? == 0 { PlaceKind::Stick } else { PlaceKind::Folder };
        let (label, path) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        let (seen_ms, run, split, relied) = (reader.uint()?, reader.uint()?, reader.boolean()?, reader.uint()?);
        let written = (0..reader.array()?).map(|_| read_written(reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { marker: Marker { id, kind, label }, path, seen_ms, run, split, relied, written })
    }
}

/// `[name, receipt name, digest, bytes, run, [* [node, life, number]], [* [origin, branch, first, last]]]`; no receipt is life 0, number 0.
fn tell_written(written: &Written) -> impl serde::Serialize + '_ {
    let heard = |(node, heard): &(NodeId, Heard)| {
        let (life, number) = heard.unwrap_or((Incarnation([0; 4]), 0));
        (node.0.to_vec(), life.0.to_vec(), number)
    };
    let recipients: Vec<_> = written.recipients.iter().map(heard).map(|(node, life, number)| (Owned(node), Owned(life), number)).collect();
    let range = |(stream, first, last): &(Stream, u64, u64)| {
        (stream.origin, Owned(stream.branch.map(|branch| branch.to_vec()).unwrap_or_default()), *first, *last)
    };
    let ranges: Vec<_> = written.ranges.iter().map(range).collect();
    (&written.name, &written.receipt_name, Bytes(&written.digest.0), written.bytes, written.run, recipients, ranges)
}

/// Bytes that are told as such.
struct Owned(Vec<u8>);

impl serde::Serialize for Owned {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

fn read_written(reader: &mut Reader<'_>) -> Result<Written, CborError> {
    reader.array_exact(7)?;
    let (name, receipt_name) = (reader.text()?.to_owned(), reader.text()?.to_owned());
    let (digest, bytes, run) = (Hash(reader.bytes_exact()?), reader.uint()?, reader.uint()?);
    let recipients = (0..reader.array()?).map(|_| read_recipient(reader)).collect::<Result<_, _>>()?;
    let ranges = (0..reader.array()?).map(|_| read_range(reader)).collect::<Result<_, _>>()?;
    Ok(Written { name, receipt_name, digest, bytes, run, recipients, ranges })
}

fn read_recipient(reader: &mut Reader<'_>) -> Result<(NodeId, Heard), CborError> {
    reader.array_exact(3)?;
    let (node, life, number) = (NodeId(reader.bytes_exact()?), Incarnation(reader.bytes_exact()?), reader.uint()?);
    Ok((node, Some((life, number)).filter(|_| number > 0)))
}

fn read_range(reader: &mut Reader<'_>) -> Result<(Stream, u64, u64), CborError> {
    reader.array_exact(4)?;
    let origin = Origin::read(reader)?;
    let branch = match reader.bytes()? {
        [] => None,
        bytes => Some(bytes.try_into().map_err(|_| CborError::Shape)?),
    };
    Ok((Stream { origin, branch }, reader.uint()?, reader.uint()?))
}

/// The folder of what is known of places.
pub struct Places {
    folder: PathBuf,
    rotted: Rotted,
}

impl Places {
    /// They are kept in `folder`; which have rotted is noted in `rotted`.
    pub fn at(folder: &Path, rotted: Rotted) -> Self {
        Self { folder: folder.to_owned(), rotted }
    }

    fn path(&self, id: &PlaceId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// What is known of the place with this marker; a new one when nothing is, and when that has rotted, which is put aside (R10.2-j).
    ///
    /// # Errors
    /// [`RecordError`] when it is known and cannot be read.
    pub fn load(&self, disk: &dyn Disk, marker: &Marker) -> Result<PlaceRecord, RecordError> {
        let path = self.path(&marker.id);
        match self.recall(disk, &path)? {
            Recalled::Whole(known) => return Ok(PlaceRecord { marker: marker.clone(), ..known }),
            Recalled::Nothing => {}
            Recalled::Rotten => record::put_aside(disk, &path)?,
        }
        Ok(PlaceRecord::new(marker.clone()))
    }

    fn recall(&self, disk: &dyn Disk, path: &Path) -> Result<Recalled<PlaceRecord>, RecordError> {
        let recalled = record::recall(disk, path, PlaceRecord::from_bytes)?;
        if matches!(recalled, Recalled::Rotten) {
            self.rotted.note(path);
        }
        Ok(recalled)
    }

    /// Remember it.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn save(&self, disk: &dyn Disk, record: &PlaceRecord) -> Result<(), RecordError> {
        let path = self.path(&record.marker.id);
        if record::io(&path, disk.look(&path))?.is_none() {
            self.make_room(disk)?;
        }
        record::save(disk, &path, &record.to_bytes())
    }

    /// Every place of which something is known, the one seen last first.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn all(&self, disk: &dyn Disk) -> Result<Vec<PlaceRecord>, RecordError> {
        if record::io(&self.folder, disk.look(&self.folder))?.is_none() {
            return Ok(Vec::new());
        }
        let entries = record::io(&self.folder, disk.list(&self.folder))?;
        let is_record = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(from_hex::<8>).is_some();
        let mut all = Vec::new();
        for entry in entries.iter().filter(|entry| is_record(&entry.path)) {
            if let Recalled::Whole(record) = self.recall(disk, &entry.path)? {
                all.push(record);
            }
        }
        all.sort_by_key(|record| std::cmp::Reverse(record.seen_ms));
        Ok(all)
    }

    fn make_room(&self, disk: &dyn Disk) -> Result<(), RecordError> {
        for forgotten in self.all(disk)?.iter().skip(PLACES_MAX - 1) {
            let path = self.path(&forgotten.marker.id);
            record::io(&path, disk.remove(&path))?;
        }
        Ok(())
    }
}

impl View {
    /// Every stick and shared folder this node has exchanged with, the one seen last first.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn places(&self) -> Result<Vec<PlaceRecord>, NodeError> {
        Ok(Places::at(&self.layout.places(), self.rotted().clone()).all(&*self.ports.disk)?)
    }
}

impl super::Node {
    /// What a file lay on, as people call it: a prepared place by its label, another folder by its path. Nothing for one that waited here.
    pub(super) fn whereabouts(&self, file: &Path) -> String {
        let Some(folder) = file.parent().filter(|folder| !folder.starts_with(self.layout.root())) else { return String::new() };
        let root = if folder.file_name().is_some_and(|name| name == FILES_NAME) { folder.parent() } else { None };
        let marker = |folder: &Path| read_marker(&*self.ports.disk, folder).ok().flatten();
        match root.and_then(marker).or_else(|| marker(folder)) {
            Some(marker) => format!("{} {}", marker.kind.name(), marker.label),
            None => format!("folder {}", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory_disk::MemoryDisk;
    use bundle_format::ids::Lane;

    fn stream(branch: Option<[u8; 8]>) -> Stream {
        Stream { origin: Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Urgent, audience: None }, branch }
    }

    fn written(run: u64, node: u8, last: u64) -> Written {
        let recipients = vec![(NodeId([node; 8]), Some((Incarnation([3; 4]), 7))), (NodeId([9; 8]), None)];
        let ranges = vec![(stream(None), 1, last), (stream(Some([5; 8])), 4, 4)];
        Written { name: "a.zb".into(), receipt_name: "b.zb".into(), digest: Hash([4; 32]), bytes: 700, run, recipients, ranges }
    }

    fn record(id: u8, seen_ms: u64) -> PlaceRecord {
        let marker = Marker { id: PlaceId([id; 8]), kind: PlaceKind::Stick, label: "ZB-07".into() };
        let written = vec![written(2, 8, 9)];
        PlaceRecord { path: "/media/stick".into(), seen_ms, run: 2, split: true, relied: 1, written, ..PlaceRecord::new(marker) }
    }

    #[test]
    fn a_place_reads_back_as_it_was_written() {
        let (disk, places) = (MemoryDisk::new(), Places::at(Path::new("/node/places"), Rotted::default()));
        assert!(places.all(&disk).unwrap().is_empty());
        places.save(&disk, &record(1, 5)).unwrap();
        places.save(&disk, &record(2, 6)).unwrap();
        assert_eq!(places.all(&disk).unwrap(), [record(2, 6), record(1, 5)]);
        assert_eq!(places.load(&disk, &record(1, 0).marker).unwrap(), record(1, 5));
    }

    /// R10.2-j.
    #[test]
    fn what_is_known_of_a_place_may_rot() {
        let (disk, places) = (MemoryDisk::new(), Places::at(Path::new("/node/places"), Rotted::default()));
        places.save(&disk, &record(1, 5)).unwrap();
        places.save(&disk, &record(2, 6)).unwrap();
        let path = places.path(&record(1, 0).marker.id);
        disk.edit(&path, |bytes| bytes[0] ^= 1);
        let rotten = disk.bytes(&path);
        assert_eq!(places.all(&disk).unwrap(), [record(2, 6)]);
        assert_eq!(places.load(&disk, &record(1, 0).marker).unwrap(), PlaceRecord::new(record(1, 0).marker));
        assert_eq!((disk.bytes(&path.with_extension("damaged")), places.rotted.take().len()), (rotten, 1));
        places.save(&disk, &record(1, 7)).unwrap();
        assert_eq!(places.all(&disk).unwrap(), [record(1, 7), record(2, 6)]);
    }

    #[test]
    fn the_place_not_seen_for_longest_is_forgotten_first() {
        let (disk, places) = (MemoryDisk::new(), Places::at(Path::new("/node/places"), Rotted::default()));
        for at in 0..=u64::try_from(PLACES_MAX).unwrap() {
            let mut record = record(0, 1000 - at);
            record.marker.id = PlaceId(at.to_be_bytes());
            places.save(&disk, &record).unwrap();
        }
        let all = places.all(&disk).unwrap();
        assert_eq!((all.len(), all[0].seen_ms), (PLACES_MAX, 1000));
    }

    /// R10.12-e.
    #[test]
    fn a_file_is_superseded_by_a_later_one_for_the_same_people_that_holds_all_of_it() {
        let old = written(1, 8, 9);
        for (run, node, last, want) in [(2, 8, 9, true), (2, 8, 12, true), (2, 8, 8, false), (2, 7, 12, false), (1, 8, 12, false)] {
            assert_eq!(old.is_superseded_by(&written(run, node, last)), want, "run {run} node {node} last {last}");
        }
    }
}
