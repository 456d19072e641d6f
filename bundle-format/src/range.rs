//! A range: a dense run of one origin's events with the checkpoints that prove it. The unit that travels, is verified and is applied. SPEC §4.3.
//!
//! In: a run of our log, or an item of a bundle. Out: wire bytes, or a [`VerifiedRange`], which only verification makes. Not here: whether we want
//! the events (`ingest`), or which to send (`cut`).

mod error;
mod verified;

pub use error::RangeError;
pub use verified::VerifiedRange;

use crate::cbor::{Bytes, CborError, Keys, Reader};
use crate::chain::{self, Position, Run};
use crate::checkpoint::Checkpoint;
use crate::compress::{Codec, CompressError, Compressor, Decompressor, Level};
use crate::event::Event;
use crate::hlc::Hlc;
use crate::ids::{Hash, Origin};
use crate::limits::{EVENT_LEN_MAX, PREFIX_LEN_MAX, RANGE_DATA_LEN_MAX, RANGE_EVENT_COUNT_MAX, RANGE_RAW_LEN_MAX, SEQ_MAX};
use crate::logs::{Logs, WireLog};
use crate::mix;
use crate::trust::Trust;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// A range as it travels. Nothing about it is believed until [`Range::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Range {
    /// Whose history.
    pub origin: Origin,
    /// Position of its first event, from 1.
    pub first: u64,
    /// How many events: 1 to 4096.
    pub count: u64,
    /// How `data` is coded.
    pub codec: Codec,
    /// Bytes of the events, one after the other: 1 to 2^20.
    pub raw_len: usize,
    /// The events, coded.
    pub data: Vec<u8>,
    /// Offset of the event (1 to `count`, ascending) and the origin's signature over the chain there; the last stands at `count`.
    pub checkpoints: Vec<(u64, Checkpoint)>,
    /// `h_{first−1}`. Always there in files.
    pub base: Option<Hash>,
    /// First position and count of the events that a primed range was compressed against.
    pub prefix: Option<(u64, u64)>,
}

/// How a range that is being made shall be coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// As it is: the roster, so that it can be read before anything is decompressed; and what does not compress.
    Stored,
    /// With zstd at the level for its size, or as it is when that is shorter.
    Zstd,
    /// The same in a fraction of the time, for a link that takes bytes faster than they can be compressed well.
    Fast,
    /// By context mixing, by itself: the fewest bytes, at a thousand times the work.
    Mixed,
}

impl std::fmt::Debug for Range {
    /// Without its events: they are people's records and belong into no message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Range({:?} {}..={}, {:?})", self.origin, self.first, self.last(), self.codec)
    }
}

impl Range {
    /// The range of `run`, with `checkpoints` by the offset of the event they stand at (1 is the first); the last stands at the end.
    ///
    /// # Errors
    /// [`RangeError::Compress`] when there is no memory for it.
    ///
    /// # Panics
    /// When `run` is empty or longer than a range may be, or `checkpoints` do not ascend to its end: who cuts bounds every range first.
    pub fn build(
        origin: Origin,
        run: &Run<'_>,
        checkpoints: &[(u64, Checkpoint)],
        coding: Coding,
        compressor: &mut Compressor,
    ) -> Result<Self, RangeError> {
        Self::build_from(origin, run, &run.events().concat(), checkpoints, coding, compressor)
    }

    /// [`Range::build`] where the events' bytes stand one after the other in `raw` already: a range is large, and one copy less counts.
    ///
    /// # Errors
    /// As [`Range::build`].
    ///
    /// # Panics
    /// As [`Range::build`]; and when `raw` is not as long as the events.
    pub fn build_from(
        origin: Origin,
        run: &Run<'_>,
        raw: &[u8],
        checkpoints: &[(u64, Checkpoint)],
        coding: Coding,
        compressor: &mut Compressor,
    ) -> Result<Self, RangeError> {
        assert_eq!(raw.len(), run.events().iter().map(|event| event.len()).sum::<usize>(), "the bytes are the run's");
        let range = Self::stored(origin, run, raw.len(), checkpoints);
        if coding == Coding::Mixed {
            let data = mix::encode(&[], raw, mix::SLOTS_LOG_MAX)?;
            if data.len() < raw.len() {
                return Ok(Self { codec: Codec::Mixed, data, ..range });
            }
        } else if coding != Coding::Stored {
            let level = if coding == Coding::Fast { Level::FAST } else { Level::for_len(raw.len()) };
            let data = compressor.compress(raw, level)?;
            if data.len() < raw.len() {
                return Ok(Self { codec: Codec::Zstd, data, ..range });
            }
        }
        Ok(Self { data: raw.to_vec(), ..range })
    }

    /// The range of `run`, compressed against `prefix`: the bytes of the `prefix_count` events right before it or further back, from `prefix_first`.
    ///
    /// # Errors
    /// [`RangeError::Compress`] when `prefix` is longer than [`PREFIX_LEN_MAX`] or there is no memory.
    ///
    /// # Panics
    /// As [`Range::build`].
    pub fn build_primed(
        origin: Origin,
        run: &Run<'_>,
        checkpoints: &[(u64, Checkpoint)],
        (prefix_first, prefix_count): (u64, u64),
        prefix: &[u8],
    ) -> Result<Self, RangeError> {
        let raw = run.events().concat();
        let range = Self::stored(origin, run, raw.len(), checkpoints);
        let data = Compressor::compress_primed(&raw, prefix, Level::PRIMED)?;
        Ok(Self { codec: Codec::Primed, data, prefix: Some((prefix_first, prefix_count)), ..range })
    }

    /// This range, which is stored, with its events in codec 3: `data`, made with `prefix` (position of its first event, and how many).
    #[must_use]
    pub fn mixed(self, data: Vec<u8>, prefix: Option<(u64, u64)>) -> Self {
        Self { codec: Codec::Mixed, data, prefix, ..self }
    }

    /// Everything but its data.
    fn stored(origin: Origin, run: &Run<'_>, raw_len: usize, checkpoints: &[(u64, Checkpoint)]) -> Self {
        let count = run.events().len() as u64;
        assert!((1..=RANGE_EVENT_COUNT_MAX).contains(&count) && raw_len <= RANGE_RAW_LEN_MAX, "who cuts bounds every range");
        assert!(offsets_ascend_to(count, checkpoints), "a range is proved to its end");
        Self {
            origin,
            first: run.start().seq + 1,
            count,
            codec: Codec::Stored,
            raw_len,
            data: Vec::new(),
            checkpoints: checkpoints.to_vec(),
            base: Some(run.start().hash),
            prefix: None,
        }
    }

    /// Position of its last event.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.count).saturating_sub(1)
    }

    /// Its bytes, its history named as `logs` does; `None` where that cannot name it.
    pub fn to_bytes(&self, logs: &dyn Logs) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.data.len() + 200 + 80 * self.checkpoints.len());
        self.write(logs, &mut out).and_then(Result::ok)?;
        Some(out)
    }

    /// Length of [`Range::to_bytes`], without making them.
    pub fn wire_len(&self, logs: &dyn Logs) -> Option<u64> {
        struct Counter(u64);
        impl std::io::Write for Counter {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut counter = Counter(0);
        self.write(logs, &mut counter).and_then(Result::ok)?;
        Some(counter.0)
    }

    /// Write the range's bytes; `None` when `logs` cannot name its history.
    pub(crate) fn write(&self, logs: &dyn Logs, out: impl std::io::Write) -> Option<std::io::Result<()>> {
        let wire = Wire { log: logs.wire(&self.origin)?, range: self };
        let written = ciborium::into_writer(&wire, out).map_err(|error| match error {
            ciborium::ser::Error::Io(error) => error,
            ciborium::ser::Error::Value(reason) => std::io::Error::other(reason),
        });
        Some(written)
    }

    /// Read the range that stands next in `reader`: its form and its claims, nothing of its content.
    ///
    /// # Errors
    /// [`RangeError::Cbor`], [`RangeError::Limit`].
    pub fn read(reader: &mut Reader<'_>, logs: &dyn Logs) -> Result<Self, RangeError> {
        let mut keys = reader.map()?;
        let (mut origin, mut first, mut count, mut coding, mut data) = (None, None, None, None, None);
        let (mut checkpoints, mut base, mut prefix) = (None, None, None);
        while let Some(key) = keys.next(reader)? {
            match key {
                0 => origin = Some(logs.read(reader)?),
                2 => first = Some(reader.seq()?),
                4 => count = Some(limit("events", reader.uint()?, RANGE_EVENT_COUNT_MAX)?),
                6 => coding = Some(read_codec(reader)?),
                8 => data = Some(reader.bytes()?),
                10 => checkpoints = Some(read_checkpoints(reader)?),
                12 => base = Some(Hash(reader.bytes_exact()?)),
                14 => {
                    reader.array_exact(2)?;
                    prefix = Some((reader.seq()?, reader.seq()?));
                }
                _ => Keys::unknown(key, reader)?,
            }
        }
        let missing = CborError::MissingKey;
        let (codec, raw_len) = coding.ok_or(missing(6))?;
        let data = data.ok_or(missing(8))?;
        limit("bytes of data", data.len() as u64, RANGE_DATA_LEN_MAX as u64)?;
        let range = Self {
            origin: origin.ok_or(missing(0))?,
            first: first.ok_or(missing(2))?,
            count: count.ok_or(missing(4))?,
            codec,
            raw_len,
            data: data.to_vec(),
            checkpoints: checkpoints.ok_or(missing(10))?,
            base,
            prefix,
        };
        range.check()?;
        Ok(range)
    }

    /// What of the claims can be checked against each other.
    fn check(&self) -> Result<(), RangeError> {
        let positions = self.first.checked_add(self.count).is_some_and(|behind| behind - 1 <= SEQ_MAX);
        let prefix = match (self.codec, self.prefix) {
            (Codec::Primed | Codec::Mixed, Some((first, count))) => first.checked_add(count).is_some_and(|behind| behind <= self.first),
            (Codec::Primed, None) | (_, Some(_)) => false,
            (_, None) => true,
        };
        let good = positions && prefix && self.raw_len >= 1 && offsets_ascend_to(self.count, &self.checkpoints);
        if good { Ok(()) } else { Err(CborError::Shape.into()) }
    }

    /// Unpack, split, hash from `base` and check every checkpoint: the only way to a [`VerifiedRange`]. `prefix` are the bytes of the events that
    /// [`Range::prefix`] names.
    ///
    /// # Errors
    /// [`RangeError`]: the first thing that is not as the origin signed it.
    pub fn verify(self, base: Hash, trust: &dyn Trust, prefix: Option<&[u8]>) -> Result<VerifiedRange, RangeError> {
        self.verify_with(base, trust, prefix, &mut Decompressor::new()?)
    }

    /// [`Range::verify`] with a decompressor to be used again.
    ///
    /// # Errors
    /// As [`Range::verify`].
    pub fn verify_with(
        self,
        base: Hash,
        trust: &dyn Trust,
        prefix: Option<&[u8]>,
        decompressor: &mut Decompressor,
    ) -> Result<VerifiedRange, RangeError> {
        let (origin, domain) = (self.origin, trust.domain());
        let signer = |(_, checkpoint): &(Position, Checkpoint)| {
            let (node, key_number) = (origin.node, checkpoint.key_number);
            trust.signer(&node, key_number).ok_or(RangeError::UnknownSigner { node, key_number })
        };
        let unpacked = self.unpack(base, prefix, decompressor)?;
        let keys = unpacked.checkpoints.iter().map(signer).collect::<Result<Vec<_>, _>>()?;
        if unpacked.start.seq == 0 && base != chain::log_id(&origin) {
            return Err(RangeError::Base);
        }
        for ((position, checkpoint), key) in unpacked.checkpoints.iter().zip(&keys) {
            checkpoint.verify(key, &domain, &origin, position).map_err(|_| RangeError::Checkpoint { origin, seq: position.seq })?;
        }
        Ok(unpacked)
    }

    /// Everything but the signatures. For bytes that are known to be those that were verified before.
    pub(crate) fn unpack(self, base: Hash, prefix: Option<&[u8]>, decompressor: &mut Decompressor) -> Result<VerifiedRange, RangeError> {
        let raw = match (self.codec, self.prefix) {
            (Codec::Stored, _) if self.data.len() != self.raw_len => return Err(CompressError::Length.into()),
            (Codec::Stored, _) => self.data,
            (Codec::Zstd, _) => decompressor.decompress(&self.data, self.raw_len)?,
            (Codec::Primed, named) => {
                let (first, count) = named.unwrap_or_default();
                let prefix = prefix.ok_or(RangeError::NoPrefix { first, count })?;
                if prefix.len() > PREFIX_LEN_MAX {
                    return Err(RangeError::Limit { what: "bytes of prefix", claim: prefix.len() as u64 });
                }
                Decompressor::decompress_primed(&self.data, self.raw_len, prefix)?
            }
            (Codec::Mixed, named) => {
                let missing = |(first, count)| RangeError::NoPrefix { first, count };
                let prefix = named.map(|named| prefix.ok_or_else(|| missing(named))).transpose()?;
                mix::decode(prefix.unwrap_or_default(), &self.data, self.raw_len)?
            }
        };
        let start = Position { seq: self.first.saturating_sub(1), hash: base };
        let mut split = Split { ends: Vec::new(), digests: Vec::new(), position: start, hlc: Hlc(0) };
        let mut checkpoints = Vec::with_capacity(self.checkpoints.len());
        let mut reader = Reader::new(&raw);
        let mut due = self.checkpoints.into_iter().peekable();
        for offset in 1..=self.count {
            split.event(&raw, &mut reader, self.count)?;
            if let Some((_, checkpoint)) = due.next_if(|(at, _)| *at == offset) {
                checkpoints.push((split.position, checkpoint));
            }
        }
        if !reader.is_at_end() {
            return Err(RangeError::Count { count: self.count });
        }
        let Split { ends, digests, position: end, hlc } = split;
        Ok(VerifiedRange { origin: self.origin, start, end, raw, ends, digests, checkpoints, hlc, codec: self.codec })
    }
}

fn limit(what: &'static str, claim: u64, max: u64) -> Result<u64, RangeError> {
    if claim > max { Err(RangeError::Limit { what, claim }) } else { Ok(claim) }
}

fn read_codec(reader: &mut Reader<'_>) -> Result<(Codec, usize), RangeError> {
    reader.array_exact(2)?;
    let number = reader.uint()?;
    let codec = Codec::from_number(number).ok_or(RangeError::Codec(number))?;
    let raw_len = limit("raw bytes", reader.uint()?, RANGE_RAW_LEN_MAX as u64)?;
    Ok((codec, usize::try_from(raw_len).map_err(|_| CborError::Shape)?))
}

fn read_checkpoints(reader: &mut Reader<'_>) -> Result<Vec<(u64, Checkpoint)>, CborError> {
    let count = reader.array()?;
    let checkpoint = |_| {
        reader.array_exact(2)?;
        Ok((reader.uint()?, Checkpoint::read(reader)?))
    };
    (0..count).map(checkpoint).collect()
}

fn offsets_ascend_to(count: u64, checkpoints: &[(u64, Checkpoint)]) -> bool {
    let from_one = checkpoints.first().is_some_and(|(offset, _)| *offset >= 1);
    let ascend = checkpoints.is_sorted_by(|(a, _), (b, _)| a < b);
    from_one && ascend && checkpoints.last().is_some_and(|(offset, _)| *offset == count)
}

struct Split {
    ends: Vec<usize>,
    digests: Vec<Hash>,
    position: Position,
    hlc: Hlc,
}

impl Split {
    fn event<'a>(&mut self, raw: &'a [u8], reader: &mut Reader<'a>, count: u64) -> Result<(), RangeError> {
        if reader.is_at_end() {
            return Err(RangeError::Count { count });
        }
        let start = reader.position();
        let seq = self.position.seq.saturating_add(1);
        let event = Event::read(reader).map_err(|error| RangeError::Event { seq, error })?;
        let bytes = raw.get(start..reader.position()).unwrap_or_default();
        let digest = chain::digest(bytes);
        self.position = self.position.then(&digest);
        self.hlc = event.hlc;
        self.ends.push(reader.position());
        self.digests.push(digest);
        Ok(())
    }
}

const _: () = assert!(EVENT_LEN_MAX <= RANGE_RAW_LEN_MAX, "every event fits into a range");

struct Wire<'a> {
    log: WireLog,
    range: &'a Range,
}

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Range { first, count, codec, raw_len, data, checkpoints, base, prefix, .. } = self.range;
        let optional = usize::from(base.is_some()) + usize::from(prefix.is_some());
        let mut map = serializer.serialize_map(Some(6 + optional))?;
        map.serialize_entry(&0, &self.log)?;
        map.serialize_entry(&2, first)?;
        map.serialize_entry(&4, count)?;
        map.serialize_entry(&6, &(*codec as u8, raw_len))?;
        map.serialize_entry(&8, &Bytes(data))?;
        map.serialize_entry(&10, checkpoints)?;
        base.iter().try_for_each(|base| map.serialize_entry(&12, &Bytes(&base.0)))?;
        prefix.iter().try_for_each(|prefix| map.serialize_entry(&14, prefix))?;
        map.end()
    }
}
