//! What we know of each peer: its last receipt, which lives of it are over, what it sent us. One small file each under `peers/`.
//!
//! A peer file is a memory, not the truth: without it a cut sends too much, never too little. SPEC §6.5.

use super::radar::Rhythm;
use super::record::{self, Recalled, RecordError, Rotted};
use super::syncing::DAY_MS;
use crate::ports::clock::Clock;
use crate::ports::disk::Disk;
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::ids::{Incarnation, NodeId, Origin};
use bundle_format::manifest::Granted;
use bundle_format::vector::{Salt, Tag, Told};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A vector authenticated by its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// In which life the holder told it.
    pub incarnation: Incarnation,
    /// Grows within a life.
    pub number: u64,
    /// What its tags are salted with.
    pub salt: Salt,
    /// What the holder holds, ascending: that is how it is found again.
    pub vector: Vec<Told>,
}

/// What is remembered of the link to a peer: to begin well, and to keep within what a day may cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Where it listens, when somebody said so.
    pub address: Option<String>,
    /// Bytes a second towards it, when last measured.
    pub rate: Option<u64>,
    /// The round trip then, milliseconds.
    pub round_trip_ms: u64,
    /// When both sides last had everything, milliseconds since 1970 by our clock; display only.
    pub settled_ms: u64,
    /// The day, counted from 1970 by our clock, that `day_bytes` are of.
    pub day: u64,
    /// Bytes on the socket that day, both ways.
    pub day_bytes: u64,
    /// The latest day before `day` that the clock has told since: it was ahead once, or begins anew at each start.
    pub earlier_day: Option<u64>,
    /// What it takes in codec 3, by its last hello.
    pub granted: Option<Granted>,
    /// What our own processor did in codec 3 then, bytes a second: a process of a few seconds need not find it out again.
    pub own_speed: Option<u64>,
}

/// So much of a day's budget is spent where nobody knows how much: more than any budget, and every reader of JSON can say it.
const UNKNOWN_LEN: u64 = (1 << 53) - 1;

impl Link {
    /// Of a peer whose file has rotted: a day's budget must not be given twice (R7.6-f).
    fn forgotten_on(day: u64) -> Self {
        Self { day, day_bytes: UNKNOWN_LEN, ..Self::default() }
    }

    /// Bytes carried on `day`, where that is known.
    pub fn known_on(&self, day: u64) -> Option<u64> {
        Some(self.spent_on(day)).filter(|spent| *spent < UNKNOWN_LEN)
    }

    /// Bytes carried on `day` so far. A clock that goes back does not make a new day: nobody gets a budget twice by it, nor by a clock that begins in 1970
    /// at each start. A day that is later than any since it went back is a new one: a clock that was ahead once costs one day's budget, not all until then.
    pub fn spent_on(&self, day: u64) -> u64 {
        let is_new = day > self.day || day != self.day && self.earlier_day.is_some_and(|earlier| day > earlier);
        if is_new { 0 } else { self.day_bytes }
    }

    /// Count `bytes` of `day`.
    pub fn spend(&mut self, day: u64, bytes: u64) {
        self.day_bytes = self.spent_on(day).saturating_add(bytes);
        match day.cmp(&self.day) {
            Ordering::Greater => (self.day, self.earlier_day) = (day, None),
            Ordering::Less => self.earlier_day = self.earlier_day.max(Some(day)),
            Ordering::Equal => {}
        }
    }

    /// The first day behind `day`, which has been counted, on which nothing is spent.
    pub fn next_day(&self, day: u64) -> u64 {
        let next = self.earlier_day.filter(|_| day < self.day).unwrap_or(self.day).max(day).saturating_add(1);
        if next == self.day { next.saturating_add(1) } else { next }
    }

    fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let fields = reader.array()?;
        let address = Some(reader.text()?).filter(|address| !address.is_empty()).map(str::to_owned);
        let rate = Some(reader.uint()?).filter(|rate| *rate > 0);
        let (round_trip_ms, settled_ms) = (reader.uint()?, reader.uint()?);
        let (day, day_bytes) = (reader.uint()?, reader.uint()?);
        let (granted, own_speed) = match fields {
            6 | 7 => (None, None),
            9 | 10 => (Some(Granted { work: reader.uint()?, speed: reader.uint()? }), Some(reader.uint()?).filter(|speed| *speed > 0)),
            _ => return Err(CborError::Shape),
        };
        let earlier_day = if matches!(fields, 7 | 10) { Some(reader.uint()?) } else { None };
        Ok(Self { address, rate, round_trip_ms, settled_ms, day, day_bytes, earlier_day, granted, own_speed })
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = [self.rate.unwrap_or(0), self.round_trip_ms, self.settled_ms, self.day, self.day_bytes];
        let mixing = self.granted.map(|granted| [granted.work, granted.speed, self.own_speed.unwrap_or(0)]);
        let numbers: Vec<u64> = numbers.into_iter().chain(mixing.into_iter().flatten()).chain(self.earlier_day).collect();
        let mut array = serializer.serialize_seq(Some(1 + numbers.len()))?;
        array.serialize_element(self.address.as_deref().unwrap_or_default())?;
        numbers.iter().try_for_each(|number| array.serialize_element(number))?;
        array.end()
    }
}

/// What a new receipt does to the one we have (SPEC §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Newer: it counts from now on.
    Taken,
    /// The holder lives a new life, which we had not seen: it counts, and people are told.
    NewLife,
    /// Older than what we have, or of a life that is over.
    Ignored,
}

/// One peer (R6.5-c).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Its last receipt.
    pub receipt: Option<Receipt>,
    /// Lives of it that were replaced; their receipts never count again.
    pub retired: Vec<Incarnation>,
    /// Origins it sent us ranges of; it is told how far we hold them whatever the policy.
    pub sent: BTreeSet<Origin>,
    /// It sent ranges since we last cut for it: it is owed an answer even when we have nothing new.
    pub answer_due: bool,
    /// When we last took something from it, milliseconds since 1970 by our clock; display only.
    pub heard_ms: u64,
    /// What is remembered of the link to it.
    pub link: Link,
    /// How often it is heard.
    pub rhythm: Rhythm,
    /// By what exactly it was heard last, for people: `stick LABEL`, `folder PATH`, `line ADDRESS`; empty when that is not known. Display only.
    pub via: String,
}

/// Characters of that: a path may be longer than a line.
const VIA_LEN_MAX: usize = 200;

impl Peer {
    /// Something came from it.
    pub fn hear(&mut self, path: super::radar::Path, via: &str, now_ms: u64) {
        self.rhythm.hear(path, self.heard_ms, now_ms);
        self.hear_on(path, via, now_ms);
    }

    /// It goes on talking: no pause has ended.
    pub fn hear_on(&mut self, path: super::radar::Path, via: &str, now_ms: u64) {
        (self.heard_ms, self.rhythm.path) = (now_ms, path);
        self.via = via.chars().take(VIA_LEN_MAX).collect();
    }

    /// Lives that it has closed itself are over, whatever is remembered here of its receipts.
    pub fn retire(&mut self, lives: impl Iterator<Item = Incarnation>) {
        let mut known: BTreeSet<_> = self.retired.iter().copied().collect();
        self.retired.extend(lives.filter(|life| known.insert(*life)));
    }

    /// Let `receipt` count if it may (R6.5-d, R6.5-e).
    pub fn renew(&mut self, receipt: Receipt) -> Renewal {
        let renewal = match &self.receipt {
            _ if self.retired.contains(&receipt.incarnation) => Renewal::Ignored,
            None => Renewal::Taken,
            Some(old) if old.incarnation == receipt.incarnation && old.number >= receipt.number => Renewal::Ignored,
            Some(old) if old.incarnation == receipt.incarnation => Renewal::Taken,
            Some(old) => {
                self.retired.push(old.incarnation);
                Renewal::NewLife
            }
        };
        if renewal != Renewal::Ignored {
            self.receipt = Some(receipt);
        }
        renewal
    }

    /// What it told of `origin`: nothing, one position, or two when it holds a fork.
    pub fn told<'a>(&'a self, origin: &'a Origin) -> impl Iterator<Item = (&'a Salt, &'a Told)> {
        self.receipt.iter().flat_map(move |receipt| {
            let from = receipt.vector.partition_point(|told| told.origin < *origin);
            let theirs = receipt.vector.iter().skip(from).take_while(move |told| told.origin == *origin);
            theirs.map(|told| (&receipt.salt, told))
        })
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let reader = &mut Reader::new(bytes);
        let fields = reader.array()?;
        let retired = (0..reader.array()?).map(|_| reader.bytes_exact().map(Incarnation)).collect::<Result<_, _>>()?;
        let sent = (0..reader.array()?).map(|_| Origin::read(reader)).collect::<Result<_, _>>()?;
        let mut peer = Self { retired, sent, answer_due: reader.boolean()?, heard_ms: reader.uint()?, ..Self::default() };
        if fields >= 8 {
            let (incarnation, number, salt) = (Incarnation(reader.bytes_exact()?), reader.uint()?, Salt(reader.bytes_exact()?));
            let mut vector = (0..reader.array()?).map(|_| read_told(reader)).collect::<Result<Vec<_>, _>>()?;
            vector.sort_unstable();
            peer.receipt = Some(Receipt { incarnation, number, salt, vector });
        }
        if matches!(fields, 5 | 6 | 7 | 9 | 10 | 11) {
            peer.link = Link::read(reader)?;
        }
        if matches!(fields, 6 | 7 | 10 | 11) {
            peer.rhythm = Rhythm::read(reader)?;
        }
        if matches!(fields, 7 | 11) {
            reader.text()?.clone_into(&mut peer.via);
        }
        reader.finish()?;
        Ok(peer)
    }
}

impl Serialize for Peer {
    /// `[retired, sent, answer due, heard, ? (incarnation, number, salt, vector), ? (link, ? (rhythm, ? via))]`: 4 to 11 items (R10.2-g).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rhythm = Some(&self.rhythm).filter(|rhythm| !rhythm.is_blank());
        let link = Some(&self.link).filter(|link| !link.is_blank() || rhythm.is_some());
        let via = Some(&self.via).filter(|via| !via.is_empty() && rhythm.is_some());
        let count =
            4 + if self.receipt.is_some() { 4 } else { 0 } + usize::from(link.is_some()) + usize::from(rhythm.is_some()) + usize::from(via.is_some());
        let mut array = serializer.serialize_seq(Some(count))?;
        array.serialize_element(&self.retired.iter().map(|life| Bytes(&life.0)).collect::<Vec<_>>())?;
        array.serialize_element(&self.sent)?;
        array.serialize_element(&self.answer_due)?;
        array.serialize_element(&self.heard_ms)?;
        if let Some(Receipt { incarnation, number, salt, vector }) = &self.receipt {
            array.serialize_element(&Bytes(&incarnation.0))?;
            array.serialize_element(number)?;
            array.serialize_element(&Bytes(&salt.0))?;
            array.serialize_element(&vector.iter().map(|told| (told.origin, told.seq, Bytes(&told.tag.0))).collect::<Vec<_>>())?;
        }
        link.iter().try_for_each(|link| array.serialize_element(link))?;
        rhythm.iter().try_for_each(|rhythm| array.serialize_element(rhythm))?;
        via.iter().try_for_each(|via| array.serialize_element(via))?;
        array.end()
    }
}

fn read_told(reader: &mut Reader<'_>) -> Result<Told, CborError> {
    reader.array_exact(3)?;
    Ok(Told { origin: Origin::read(reader)?, seq: reader.uint()?, tag: Tag(reader.bytes_exact()?) })
}

/// The folder of peer files.
pub struct Peers {
    folder: PathBuf,
    clock: Rc<dyn Clock>,
    mends: bool,
    rotted: Rotted,
}

impl Peers {
    /// Peer files live in `folder`; they are only read.
    pub fn at(folder: &Path, clock: Rc<dyn Clock>) -> Self {
        Self { folder: folder.to_owned(), clock, mends: false, rotted: Rotted::default() }
    }

    /// The same for the one process that writes: what it finds rotten it makes anew.
    pub fn to_write(folder: &Path, clock: Rc<dyn Clock>) -> Self {
        Self { mends: true, ..Self::at(folder, clock) }
    }

    /// Which were found rotten.
    pub fn rotted(&self) -> &Rotted {
        &self.rotted
    }

    fn path(&self, node: &NodeId) -> PathBuf {
        self.folder.join(node.to_string())
    }

    /// What we know of `node`; a stranger when there is no file, and one who is owed an answer when its file has rotted (R10.2-j).
    ///
    /// # Errors
    /// [`RecordError`] when the file is there and cannot be read.
    pub fn load(&self, disk: &dyn Disk, node: &NodeId) -> Result<Peer, RecordError> {
        let path = self.path(node);
        match record::recall(disk, &path, Peer::from_bytes)? {
            Recalled::Whole(peer) => return Ok(peer),
            Recalled::Nothing => return Ok(Peer::default()),
            Recalled::Rotten => self.rotted.note(&path),
        }
        let link = Link::forgotten_on(self.clock.now_ms() / DAY_MS);
        let forgotten = Peer { answer_due: true, link, ..Peer::default() };
        if self.mends {
            record::put_aside(disk, &path)?;
            self.save(disk, node, &forgotten)?;
        }
        Ok(forgotten)
    }

    /// Remember `peer`.
    ///
    /// # Errors
    /// [`RecordError`] when it cannot be written.
    pub fn save(&self, disk: &dyn Disk, node: &NodeId, peer: &Peer) -> Result<(), RecordError> {
        record::save(disk, &self.path(node), &cbor::to_vec(peer))
    }

    /// Every peer we have a file of.
    ///
    /// # Errors
    /// [`RecordError`] when the folder or a file cannot be read.
    pub fn all(&self, disk: &dyn Disk) -> Result<Vec<(NodeId, Peer)>, RecordError> {
        if record::io(&self.folder, disk.look(&self.folder))?.is_none() {
            return Ok(Vec::new());
        }
        let entries = record::io(&self.folder, disk.list(&self.folder))?;
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).and_then(bundle_format::ids::from_hex).map(NodeId);
        entries.iter().filter_map(|entry| name(&entry.path)).map(|node| Ok((node, self.load(disk, &node)?))).collect()
    }
}

impl super::Node {
    /// Remember where a member listens, or forget it.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn set_peer_address(&self, node: &NodeId, address: Option<&str>) -> Result<(), super::NodeError> {
        let mut peer = self.peer(node)?;
        peer.link.address = address.map(str::to_owned);
        Ok(self.peers.save(&*self.ports.disk, node, &peer)?)
    }

    /// Who was said to listen at `address`.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn peer_at(&self, address: &str) -> Result<Option<NodeId>, super::NodeError> {
        let all = self.peers.all(&*self.ports.disk)?;
        Ok(all.into_iter().find(|(_, peer)| peer.link.address.as_deref() == Some(address)).map(|(node, _)| node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::ids::Lane;

    const ORIGIN: Origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };

    fn receipt(life: u8, number: u64) -> Receipt {
        Receipt { incarnation: Incarnation([life; 4]), number, salt: Salt([7; 32]), vector: Vec::new() }
    }

    #[test]
    fn a_receipt_counts_when_it_is_newer_or_of_a_life_never_seen() {
        let mut peer = Peer::default();
        let steps = [
            ((1, 5), Renewal::Taken),
            ((1, 4), Renewal::Ignored),
            ((1, 5), Renewal::Ignored),
            ((1, 6), Renewal::Taken),
            ((2, 1), Renewal::NewLife),
            ((1, 9), Renewal::Ignored),
            ((2, 2), Renewal::Taken),
        ];
        for ((life, number), want) in steps {
            assert_eq!(peer.renew(receipt(life, number)), want, "life {life} number {number}");
        }
    }

    #[test]
    fn what_was_told_of_a_history_is_found_among_what_was_told_of_others() {
        let told = |life: u8, seq| Told { origin: Origin { incarnation: Incarnation([life; 4]), ..ORIGIN }, seq, tag: Tag([0; 4]) };
        let vector = vec![told(1, 5), told(2, 7), told(2, 9), told(4, 1)];
        let mut peer = Peer::default();
        peer.renew(Receipt { vector: vector.clone(), ..receipt(1, 1) });
        for life in 0..6 {
            let found: Vec<_> = peer.told(&told(life, 1).origin).map(|(_, told)| *told).collect();
            assert_eq!(found, vector.iter().filter(|told| told.origin.incarnation.0 == [life; 4]).copied().collect::<Vec<_>>(), "of {life}");
        }
    }

    #[test]
    fn a_peer_reads_back_as_it_was_written() {
        let mut peer = Peer { answer_due: true, heard_ms: 9, retired: vec![Incarnation([3; 4])], ..Peer::default() };
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        peer.hear(crate::node::radar::Path::Link, "line 10.0.0.5", 10);
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        peer.renew(receipt(1, 5));
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        peer.link = Link {
            address: Some("hub.example:7070".to_owned()),
            rate: Some(2875),
            round_trip_ms: 640,
            settled_ms: 1,
            day: 20_000,
            day_bytes: 7,
            earlier_day: None,
            granted: None,
            own_speed: None,
        };
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        peer.link.granted = Some(Granted { work: 60_000, speed: 240_000 });
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        peer.link.earlier_day = Some(9);
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        peer.link.granted = None;
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        (peer.link.granted, peer.link.earlier_day) = (Some(Granted { work: 60_000, speed: 240_000 }), None);
        peer.link.own_speed = Some(90_000);
        assert_eq!(Peer::from_bytes(&cbor::to_vec(&peer)).unwrap(), peer);
        assert_eq!((peer.link.spent_on(20_000), peer.link.spent_on(20_001), peer.link.spent_on(3)), (7, 0, 7), "no day comes twice");
    }

    /// A sync while the clock was ahead took the budget of every day until that date.
    #[test]
    fn a_clock_that_was_ahead_costs_one_day_and_one_that_begins_in_1970_gains_none() {
        let spent = |days: &[u64]| {
            let mut link = Link::default();
            days.iter().map(|day| (link.spent_on(*day), link.spend(*day, 1)).0).collect::<Vec<_>>()
        };
        for days in [&[20_000, 20_000][..], &[30_000, 20_000], &[30_000, 20_000, 29_999], &[20_000, 0], &[20_000, 5, 3], &[9, 5, 8]] {
            let (mut link, mut next) = (Link::default(), 0);
            for day in days {
                link.spend(*day, 1);
                next = link.next_day(*day);
                assert_eq!((link.spent_on(next), link.spent_on(*day).min(1)), (0, 1), "{days:?}: {link:?}");
            }
            let last = days[days.len() - 1];
            assert!((last + 1..next).all(|day| link.spent_on(day) > 0), "{days:?}: none before {next}");
        }
        assert_eq!(spent(&[20_000, 20_000, 20_001]), [0, 1, 0]);
        assert_eq!(spent(&[30_000, 20_000, 20_000, 20_001, 20_001, 20_002]), [0, 1, 2, 0, 1, 0], "it was ahead, and was set right");
        assert_eq!(spent(&[30_000, 20_000, 20_001, 30_000, 30_001]), [0, 1, 0, 1, 0], "and the day it told has come");
        assert_eq!(spent(&[20_000, 0, 20_000, 0, 20_000, 20_001]), [0, 1, 2, 3, 4, 0], "it has none, and is told the time later at each start");
        assert_eq!(spent(&[0, 0, 0, 1, 0, 1]), [0, 1, 2, 0, 1, 2], "nobody ever tells it");
        assert_eq!(spent(&[20_000, 0, 1, 0, 1, 20_000]), [0, 1, 0, 1, 2, 3]);
    }
}
