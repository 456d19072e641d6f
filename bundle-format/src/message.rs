//! Messages: what two nodes say to each other on a link. SPEC §7.2.
//!
//! A link carries, each way, a CBOR sequence of byte strings; each holds one message, `[kind, …]`. In: bytes as they arrive, in any pieces. Out: one
//! message at a time, within [`MESSAGE_LEN_MAX`]. Not here: what a message may follow (`carry::exchange`), whether its events are wanted (`ingest`).

use crate::cbor::{self, CborError, Reader};
use crate::error::Code;
use crate::limits::{MESSAGE_LEN_MAX, SEQ_MAX};
use crate::logs::LogTable;
use crate::manifest::Manifest;
use crate::range::{Range, RangeError};
use crate::vector::Tag;

/// The only version of the exchange there is.
pub const VERSION: u64 = 1;

const HELLO: u64 = 0;
const RANGE: u64 = 1;
const ACK: u64 = 2;
const AGAIN: u64 = 3;
const DONE: u64 = 4;
const WHO: u64 = 5;
const INTRODUCTION: u64 = 6;
const BYE: u64 = 7;
const BUSY: u64 = 8;
const LOST: u64 = 9;

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 0: what I hold, and how much I take at a time.
    Hello(Hello),
    /// 1: events you lack.
    Range(Range),
    /// 2: of these histories, by your numbers, I hold everything up to here, durably. At least one.
    Ack(Vec<(u64, u64)>),
    /// 3: what you sent of this history does not count; send it once more, from here.
    Again(Again),
    /// 4: all I have for you is sent; so often had I heard [`Message::Again`] by then.
    Done(u64),
    /// 5: I do not know your key.
    Who,
    /// 6: the newest of the roster, so that you know my key, or see yours in it.
    Introduction(Vec<Range>),
    /// 7: I end this; `None` when nothing is wrong and the rest comes another time. A code of a later version reads as Z502.
    Bye(Option<Code>),
    /// 8: I live, and cannot go on yet.
    Busy,
    /// 9: you told a receipt of this number before in this life, and tell a lower one now: you have lost a part of your past.
    Lost(u64),
}

/// The first thing said, in as many pages as the vector needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Whether another page follows.
    pub more: bool,
    /// How many bytes of ranges may be on their way to me at once; one range may always be.
    pub window: u64,
    /// How many bytes of ranges I take in this session, all together.
    pub take: Option<u64>,
    /// A page of the vector, the receipt number, fork notices.
    pub manifest: Manifest,
}

/// Why a range is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// It begins behind what I hold.
    Gap = 0,
    /// It does not continue what I hold, or does not open with the history it names: send it with its base, and not primed.
    Differs = 1,
    /// I do not know who signed it: the roster first.
    Signer = 2,
}

/// A range that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Of which history, by the number of the one it goes to.
    pub log: u64,
    /// How far I hold it; 0 for nothing.
    pub seq: u64,
    /// Of the chain hash there, salted as in the vector.
    pub tag: Tag,
    /// Why.
    pub reason: Reason,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not the CBOR of SPEC §7.2.
    #[error("a message breaks the format: {0}")]
    Cbor(#[from] CborError),
    /// A range that claims what it may not.
    #[error("a range breaks the format: {0}")]
    Range(#[from] RangeError),
    /// Longer than [`MESSAGE_LEN_MAX`].
    #[error("a message of {0} bytes")]
    Length(u64),
    /// A kind this version does not know.
    #[error("a message of kind {0}")]
    Kind(u64),
    /// Another version of the exchange.
    #[error("version {0} of the exchange")]
    Version(u64),
}

/// The length of the message at the start of `bytes`, its head included; `None` while that cannot be told.
///
/// # Errors
/// [`MessageError::Cbor`], [`MessageError::Length`]: as soon as the head says so, before the message is there.
pub fn frame_len(bytes: &[u8]) -> Result<Option<(usize, usize)>, MessageError> {
    let mut reader = Reader::new(bytes);
    match reader.bytes_head() {
        Ok(len) if len > MESSAGE_LEN_MAX as u64 => Err(MessageError::Length(len)),
        Ok(len) => Ok(usize::try_from(len).ok().map(|len| (reader.position(), len))),
        Err(CborError::Short) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Message {
    /// Read one message without its head. `logs` are the numbers of the one it comes from, which range and introduction may name.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn read(bytes: &[u8], logs: &LogTable) -> Result<Self, MessageError> {
        let reader = &mut Reader::new(bytes);
        let items = reader.array()?;
        let kind = reader.uint()?;
        let exactly = |count: usize| if items == count { Ok(()) } else { Err(CborError::Shape) };
        let message = match kind {
            HELLO => Self::Hello(read_hello(reader, items)?),
            RANGE => {
                exactly(2)?;
                Self::Range(Range::read(reader, logs)?)
            }
            ACK => {
                if items < 3 || items.is_multiple_of(2) {
                    return Err(CborError::Shape.into());
                }
                Self::Ack((1..items).step_by(2).map(|_| Ok((reader.uint()?, reader.seq()?))).collect::<Result<_, CborError>>()?)
            }
            AGAIN => {
                exactly(5)?;
                let (log, seq, tag) = (reader.uint()?, reader.uint()?, Tag(reader.bytes_exact()?));
                if seq > SEQ_MAX {
                    return Err(CborError::Shape.into());
                }
                let reason = [Reason::Gap, Reason::Differs, Reason::Signer];
                let number = reader.uint()?;
                let reason = reason.into_iter().find(|reason| *reason as u64 == number).ok_or(CborError::Shape)?;
                Self::Again(Again { log, seq, tag, reason })
            }
            INTRODUCTION => {
                exactly(2)?;
                let unnamed = LogTable::default(); // it comes before any hello: nothing has a number yet
                Self::Introduction((0..reader.array()?).map(|_| Range::read(reader, &unnamed)).collect::<Result<_, _>>()?)
            }
            BYE => {
                exactly(2)?;
                Self::Bye(if reader.null()? { None } else { Some(Code::from_name(reader.text()?).unwrap_or(Code::Z502)) })
            }
            LOST => {
                exactly(2)?;
                Self::Lost(reader.uint()?)
            }
            DONE if items == 2 => match reader.uint()? {
                0 => return Err(CborError::Shape.into()), // which has another spelling
                heard => Self::Done(heard),
            },
            DONE | WHO | BUSY => {
                exactly(1)?;
                match kind {
                    DONE => Self::Done(0),
                    WHO => Self::Who,
                    _ => Self::Busy,
                }
            }
            unknown => return Err(MessageError::Kind(unknown)),
        };
        reader.finish()?;
        Ok(message)
    }

    /// Its bytes with their head, as they go on the link. `logs` are our own numbers.
    ///
    /// # Panics
    /// When it is longer than [`MESSAGE_LEN_MAX`], or a manifest names a node that its table lacks: who makes one bounds it first.
    #[must_use]
    pub fn to_bytes(&self, logs: &LogTable) -> Vec<u8> {
        let body = self.body(logs);
        assert!(body.len() <= MESSAGE_LEN_MAX, "a message of {} bytes", body.len());
        cbor::to_vec(&cbor::Bytes(&body))
    }

    fn body(&self, logs: &LogTable) -> Vec<u8> {
        match self {
            Self::Hello(hello) => {
                let head = cbor::to_vec(&(HELLO, VERSION, hello.more, hello.window, hello.take));
                #[expect(clippy::expect_used, reason = "Manifest::new makes a table of every node it names")]
                let manifest = hello.manifest.to_bytes().expect("the table names every node");
                joined(6, &head, &manifest)
            }
            Self::Range(range) => joined(2, &cbor::to_vec(&(RANGE,)), &wire(range, logs)),
            Self::Ack(ends) => {
                let flat: Vec<u64> = std::iter::once(ACK).chain(ends.iter().flat_map(|(log, seq)| [*log, *seq])).collect();
                cbor::to_vec(&flat)
            }
            Self::Again(Again { log, seq, tag, reason }) => cbor::to_vec(&(AGAIN, log, seq, cbor::Bytes(&tag.0), *reason as u64)),
            Self::Introduction(ranges) => {
                let unnamed = LogTable::default();
                let ranges: Vec<u8> = ranges.iter().flat_map(|range| wire(range, &unnamed)).collect();
                let count = self.introduced();
                joined(2, &cbor::to_vec(&(INTRODUCTION,)), &joined(count, &[0x80], &ranges))
            }
            Self::Bye(code) => cbor::to_vec(&(BYE, code.map(Code::as_str))),
            Self::Lost(number) => cbor::to_vec(&(LOST, number)),
            Self::Done(0) => cbor::to_vec(&(DONE,)),
            Self::Done(heard) => cbor::to_vec(&(DONE, heard)),
            Self::Who => cbor::to_vec(&(WHO,)),
            Self::Busy => cbor::to_vec(&(BUSY,)),
        }
    }

    fn introduced(&self) -> usize {
        if let Self::Introduction(ranges) = self { ranges.len() } else { 0 }
    }
}

/// An array of `count` items: those of the array `head`, then `rest`, which are items already.
fn joined(count: usize, head: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut bytes = array_head(count);
    bytes.extend_from_slice(head.get(1..).unwrap_or_default()); // arrays of fewer than 24 items have a head of one byte
    bytes.extend_from_slice(rest);
    bytes
}

/// The shortest head of an array.
fn array_head(count: usize) -> Vec<u8> {
    let mut head = cbor::to_vec(&(count as u64));
    if let Some(first) = head.first_mut() {
        *first |= 0x80;
    }
    head
}

fn wire(range: &Range, logs: &LogTable) -> Vec<u8> {
    range.to_bytes(logs).unwrap_or_default() // a table of a link names every history
}

/// The version is judged first: another one may have other items (R7.2-d).
fn read_hello(reader: &mut Reader<'_>, items: usize) -> Result<Hello, MessageError> {
    let version = reader.uint()?;
    if version != VERSION {
        return Err(MessageError::Version(version));
    }
    if items != 6 {
        return Err(CborError::Shape.into());
    }
    let (more, window) = (reader.boolean()?, reader.uint()?);
    let take = if reader.null()? { None } else { Some(reader.uint()?) };
    Ok(Hello { more, window, take, manifest: Manifest::read(reader)? })
}

/// A vector of any length as pages of some [`PAGE_LEN_MAX`](crate::limits::PAGE_LEN_MAX) bytes; fork notices go with them. The receipt number stands
/// on the first.
pub fn pages(manifest: Manifest) -> Vec<Manifest> {
    /// An entry with both of its nodes in the table.
    const ENTRY_LEN_MAX: usize = 48;
    let per_page = crate::limits::PAGE_LEN_MAX / ENTRY_LEN_MAX;
    let Manifest { vector, receipt, forks, granted, .. } = manifest;
    let page = |from: usize| {
        let vector = vector.iter().skip(from).take(per_page).copied().collect();
        let forks = forks.iter().skip(from).take(per_page).copied().collect();
        Manifest { granted: granted.filter(|_| from == 0), ..Manifest::new(vector, receipt.filter(|_| from == 0), forks, []) }
    };
    (0..vector.len().max(forks.len()).max(1)).step_by(per_page).map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Position;
    use crate::ids::{Hash, Incarnation, Lane, NodeId, Origin};
    use crate::limits::PAGE_LEN_MAX;
    use crate::manifest::Granted;
    use crate::vector::{Salt, Told};

    fn told(node: u8) -> Told {
        let origin = Origin { node: NodeId([node; 8]), incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: None };
        Told::new(&Salt([1; 32]), origin, &Position { seq: 300, hash: Hash([2; 32]) })
    }

    fn hello(vector: Vec<Told>) -> Message {
        let manifest = Manifest::new(vector, Some((Incarnation([7; 4]), 12)), Vec::new(), []);
        Message::Hello(Hello { more: false, window: 65_536, take: None, manifest })
    }

    fn read(framed: &[u8]) -> Result<Message, MessageError> {
        let (head, len) = frame_len(framed).unwrap().unwrap();
        assert_eq!(framed.len(), head + len);
        Message::read(&framed[head..], &LogTable::default())
    }

    #[test]
    fn what_is_said_is_heard() {
        let again = Again { log: 3, seq: 0, tag: Tag([9; 4]), reason: Reason::Signer };
        let messages = [
            hello(vec![told(1), told(2)]),
            Message::Ack(vec![(0, 7), (9, 1 << 40)]),
            Message::Again(again),
            Message::Again(Again { seq: SEQ_MAX, ..again }),
            Message::Done(0),
            Message::Done(1),
            Message::Who,
            Message::Introduction(Vec::new()),
            Message::Bye(None),
            Message::Bye(Some(Code::Z203)),
            Message::Busy,
            Message::Lost(77),
        ];
        for message in messages {
            let bytes = message.to_bytes(&LogTable::default());
            assert_eq!(read(&bytes), Ok(message.clone()), "{message:?}");
            for end in 0..bytes.len() {
                let whole = frame_len(&bytes[..end]).unwrap().is_some_and(|(head, len)| head + len <= end);
                assert!(!whole, "a message that has not arrived is not read");
            }
        }
    }

    #[test]
    fn what_breaks_the_format_is_refused() {
        let body = |hex: &str| -> Vec<u8> { (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect() };
        for (hex, why) in [
            ("80", "no kind"),
            ("810a", "an unknown kind"),
            ("8104ff", "bytes behind it"),
            ("8102", "an ack of nothing"),
            ("830200f6", "an ack up to null"),
            ("83020000", "an ack up to 0"),
            ("8302001b8000000000000000", "an ack beyond any position"),
            ("82020a", "half a pair"),
            ("850300004400000000", "an item missing"),
            ("8503000044000000000a", "an unknown reason"),
            ("8503001b8000000000000000440000000000", "held beyond any position"),
            ("8207f5", "a reason that is no text"),
            ("820400", "done after nothing, spelled out"),
            ("81188104", "a long head"),
            ("9f04ff", "an indefinite length"),
            ("860002f4001a00010000f6a2008001", "another version"),
            ("820600", "an introduction that is no list"),
            ("8204f6", "more than is said with it"),
        ] {
            assert!(Message::read(&body(hex), &LogTable::default()).is_err(), "{why}");
        }
        assert_eq!(frame_len(&body("5a00018001")), Err(MessageError::Length(98_305)), "before it has arrived");
        assert!(frame_len(&body("5900ff")).is_err(), "a long head");
        assert!(frame_len(&body("8104")).is_err(), "not a byte string");
    }

    #[test]
    fn a_long_vector_goes_in_pages() {
        let vector: Vec<_> = (0..200).map(told).collect();
        let granted = Some(Granted { work: 5, speed: 7 });
        let pages = pages(Manifest { granted, ..Manifest::new(vector.clone(), Some((Incarnation([7; 4]), 12)), Vec::new(), []) });
        assert!(pages.len() > 5);
        assert!(pages.iter().all(|page| page.to_bytes().unwrap().len() <= PAGE_LEN_MAX));
        assert_eq!(pages.iter().flat_map(|page| page.vector.clone()).collect::<Vec<_>>(), vector);
        assert!(pages[0].receipt.is_some() && pages[1].receipt.is_none());
        assert!(pages[0].granted == granted && pages[1].granted.is_none());
    }
}
