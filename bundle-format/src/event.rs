//! One event: encoded once at its origin, stored, hashed and carried as those bytes. SPEC §3.2 (R3.2-b).
//!
//! `event = [hlc: uint, type: tstr, payload: bstr, ? ext: {+ uint => any}]`, at most [`EVENT_LEN_MAX`] bytes.

use crate::cbor::{self, Bytes, CborError, Keys, Reader};
use crate::hlc::Hlc;
use crate::ids::EventId;
use crate::limits::{BASE_COUNT_MAX, EVENT_LEN_MAX, FIELD_LEN_MAX, PART_COUNT_MAX, PART_LEN, RECORD_KEY_LEN_MAX, TYPE_LEN_MAX};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

/// What a write does to its record (R11.1-c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A new version.
    #[default]
    Put = 0,
    /// The record is gone.
    Delete = 1,
    /// One version made of several heads.
    Resolve = 2,
}

impl Op {
    /// From its number on the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Put, Self::Delete, Self::Resolve].into_iter().find(|op| *op as u64 == number)
    }

    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Resolve => "resolve",
        }
    }
}

/// Which piece of a payload above [`PART_LEN`] this event carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 0.
    pub index: u64,
    /// At least 2.
    pub count: u64,
}

/// What an event may say beyond time, type and payload. All absent by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ext<'a> {
    /// 1: the record this is about (R11.1-a).
    pub record_key: Option<&'a str>,
    /// 2: a piece of a larger payload. Critical: who does not know parts must not show one as a whole.
    pub part: Option<Part>,
    /// 3: what the writer had seen of the record; absent means its own previous event of that record in this origin; empty means nothing (R11.1-b).
    pub base: Option<Vec<EventId>>,
    /// 5: what happens to the record; absent means put.
    pub op: Op,
    /// 7: absent means `application/json`.
    pub content_type: Option<&'a str>,
    /// 9: the same key and content push the same event only once (R11.1-f).
    pub idempotency_key: Option<&'a str>,
    /// 11: the person who wrote it.
    pub author: Option<&'a str>,
    /// 13: this event re-appends that one, written in a life of the node that lost its future.
    pub orig: Option<EventId>,
}

/// One event, lending its text and payload from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When, by the origin's hybrid clock.
    pub hlc: Hlc,
    /// What kind; the application's word.
    pub kind: &'a str,
    /// The application's bytes, never looked into.
    pub payload: &'a [u8],
    /// What else it says.
    pub ext: Ext<'a>,
}

/// Why bytes or fields are not an event (SPEC §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Not CBOR of the event's shape.
    #[error("not an event: {0}")]
    Cbor(#[from] CborError),
    /// More than [`EVENT_LEN_MAX`] bytes.
    #[error("an event of {len} bytes; {EVENT_LEN_MAX} is the most")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// A field is empty or longer than its limit.
    #[error("the {field} is empty or too long; {max} is the most")]
    Field {
        /// Which.
        field: &'static str,
        /// Bytes, or ids of a base.
        max: usize,
    },
    /// A part that breaks R3.2-e: index, count, length or ext.
    #[error("a part that breaks the rules of parts")]
    Part,
}

impl<'a> Event<'a> {
    /// The event's bytes: what is stored, hashed and carried.
    ///
    /// # Errors
    /// [`EventError::Field`], [`EventError::Part`] or [`EventError::TooLong`] when it would not read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EventError> {
        self.check()?;
        let bytes = cbor::to_vec(self);
        if bytes.len() > EVENT_LEN_MAX { Err(EventError::TooLong { len: bytes.len() }) } else { Ok(bytes) }
    }

    /// Read one event that fills `bytes` exactly.
    ///
    /// # Errors
    /// [`EventError`]: what breaks SPEC §3.2.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, EventError> {
        let mut reader = Reader::new(bytes);
        let event = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(event)
    }

    /// Read the next event of a run.
    ///
    /// # Errors
    /// [`EventError`]: what breaks SPEC §3.2.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, EventError> {
        let start = reader.position();
        let count = reader.array()?;
        if !(3..=4).contains(&count) {
            return Err(CborError::Shape.into());
        }
        let (hlc, kind, payload) = (Hlc(reader.uint()?), reader.text()?, reader.bytes()?);
        let ext = if count == 4 { Ext::read(reader)? } else { Ext::default() };
        let event = Self { hlc, kind, payload, ext };
        let len = reader.position() - start;
        if len > EVENT_LEN_MAX {
            return Err(EventError::TooLong { len });
        }
        event.check()?;
        Ok(event)
    }

    /// Whether a payload ends with this event: it is whole, or the last part of one. What people call a record is counted so.
    pub fn ends_payload(&self) -> bool {
        self.ext.part.is_none_or(|part| part.index + 1 == part.count)
    }

    fn check(&self) -> Result<(), EventError> {
        field("type", Some(self.kind), TYPE_LEN_MAX)?;
        field("record key", self.ext.record_key, RECORD_KEY_LEN_MAX)?;
        field("content type", self.ext.content_type, FIELD_LEN_MAX)?;
        field("idempotency key", self.ext.idempotency_key, FIELD_LEN_MAX)?;
        field("author", self.ext.author, FIELD_LEN_MAX)?;
        if self.ext.base.as_ref().is_some_and(|base| base.len() > BASE_COUNT_MAX) {
            return Err(EventError::Field { field: "base", max: BASE_COUNT_MAX });
        }
        self.check_part()
    }

    /// R3.2-e: parts are full but the last; only part 0 says more than its place; a whole stays below one part's length.
    fn check_part(&self) -> Result<(), EventError> {
        let Some(Part { index, count }) = self.ext.part else {
            return if self.payload.len() <= PART_LEN { Ok(()) } else { Err(EventError::Part) };
        };
        let in_bounds = (2..=PART_COUNT_MAX).contains(&count) && index < count;
        let full = self.payload.len() == PART_LEN;
        let length_fits = full || (index + 1 == count && (1..PART_LEN).contains(&self.payload.len()));
        let only_place = self.ext == Ext { part: self.ext.part, ..Ext::default() };
        if in_bounds && length_fits && (index == 0 || only_place) { Ok(()) } else { Err(EventError::Part) }
    }
}

fn field(field: &'static str, text: Option<&str>, max: usize) -> Result<(), EventError> {
    match text {
        Some(text) if text.is_empty() || text.len() > max => Err(EventError::Field { field, max }),
        _ => Ok(()),
    }
}

impl<'a> Ext<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, EventError> {
        let mut ext = Self::default();
        let mut keys = reader.map()?;
        let mut count = 0;
        while let Some(key) = keys.next(reader)? {
            count += 1;
            match key {
                1 => ext.record_key = Some(reader.text()?),
                2 => {
                    reader.array_exact(2)?;
                    ext.part = Some(Part { index: reader.uint()?, count: reader.uint()? });
                }
                3 => {
                    let ids = reader.array()?;
                    ext.base = Some((0..ids).map(|_| EventId::read(reader)).collect::<Result<_, _>>()?);
                }
                5 => ext.op = Op::from_number(reader.uint()?).filter(|op| *op != Op::Put).ok_or(CborError::Shape)?,
                7 => ext.content_type = Some(reader.text()?),
                9 => ext.idempotency_key = Some(reader.text()?),
                11 => ext.author = Some(reader.text()?),
                13 => ext.orig = Some(EventId::read(reader)?),
                _ => Keys::unknown(key, reader)?,
            }
        }
        if count == 0 { Err(CborError::Shape.into()) } else { Ok(ext) }
    }
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let has_ext = self.ext != Ext::default();
        let mut seq = serializer.serialize_seq(Some(3 + usize::from(has_ext)))?;
        seq.serialize_element(&self.hlc.0)?;
        seq.serialize_element(self.kind)?;
        seq.serialize_element(&Bytes(self.payload))?;
        if has_ext {
            seq.serialize_element(&self.ext)?;
        }
        seq.end()
    }
}

impl Serialize for Ext<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let op = (self.op != Op::Put).then_some(self.op as u8);
        let count = [
            self.record_key.is_some(),
            self.part.is_some(),
            self.base.is_some(),
            op.is_some(),
            self.content_type.is_some(),
            self.idempotency_key.is_some(),
            self.author.is_some(),
            self.orig.is_some(),
        ];
        let mut map = serializer.serialize_map(Some(count.into_iter().filter(|there| *there).count()))?;
        self.record_key.iter().try_for_each(|key| map.serialize_entry(&1, key))?;
        self.part.iter().try_for_each(|part| map.serialize_entry(&2, &(part.index, part.count)))?;
        self.base.iter().try_for_each(|base| map.serialize_entry(&3, base))?;
        op.iter().try_for_each(|op| map.serialize_entry(&5, op))?;
        self.content_type.iter().try_for_each(|text| map.serialize_entry(&7, text))?;
        self.idempotency_key.iter().try_for_each(|text| map.serialize_entry(&9, text))?;
        self.author.iter().try_for_each(|text| map.serialize_entry(&11, text))?;
        self.orig.iter().try_for_each(|orig| map.serialize_entry(&13, orig))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let ext = Ext { record_key: Some("Patient/BT-1"), op: Op::Delete, author: Some("hw-7"), base: Some(vec![]), ..Ext::default() };
        let event = Event { hlc: Hlc(7 << 16), kind: "vitals", payload: b"{}", ext };
        assert_eq!(Event::from_bytes(&event.to_bytes().unwrap()).unwrap(), event);
    }

    /// R3.2-e.
    #[test]
    fn a_part_has_its_place_and_is_full_but_for_the_last() {
        // each with its place, how many there are, and its length
        let good = [(0, 2, PART_LEN), (1, 2, PART_LEN), (1, 2, 1), (PART_COUNT_MAX - 1, PART_COUNT_MAX, PART_LEN)];
        let bad = [
            (0, 0, PART_LEN),
            (0, 1, PART_LEN),
            (2, 2, PART_LEN),
            (3, 2, PART_LEN),
            (1, 2, 0),
            (1, 2, PART_LEN + 1),
            (0, 2, PART_LEN - 1),
            (0, PART_COUNT_MAX + 1, PART_LEN),
        ];
        for (is_good, cases) in [(true, &good[..]), (false, &bad)] {
            for &(index, count, len) in cases {
                let ext = Ext { part: Some(Part { index, count }), ..Ext::default() };
                let payload = vec![7; len];
                let part = Event { hlc: Hlc(1), kind: "scan", payload: &payload, ext };
                let written = part.to_bytes();
                assert!(!is_good || part.ends_payload() == (index + 1 == count), "part {index} of {count}");
                assert_eq!(written.is_ok(), is_good, "part {index} of {count}, {len} bytes: {written:?}");
            }
        }
    }
}
