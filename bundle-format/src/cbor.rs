//! CBOR, one value one spelling: deterministic encoding (RFC 8949 §4.2.1) and nothing else. SPEC §2.1.
//!
//! Encoding is `ciborium`'s, driven by `serde::Serialize`; who encodes a map gives its keys in ascending order. Decoding is ours, because no
//! common decoder refuses what must be refused: long heads, indefinite lengths, unsorted or repeated keys, floats, tags, simple values other
//! than true and false, integers beyond i64 and u64, text that is not UTF-8, nesting beyond the limit, trailing bytes. Null is read only where
//! the caller asks for it.

use crate::limits::{CBOR_DEPTH_MAX, SEQ_MAX};
use serde::Serialize;

/// A byte string for encoding; serde would otherwise make an array of `&[u8]`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Encode one value. The caller's `Serialize` gives map keys in ascending order.
///
/// # Panics
/// Never for our own types: a `Vec` takes every write and none of our `Serialize` impls fails.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    #[expect(clippy::expect_used, reason = "a Vec takes every write and none of our Serialize impls fails")]
    ciborium::into_writer(value, &mut out).expect("a Vec takes every write and our types always serialise");
    out
}

/// Why bytes are not one deterministic CBOR value of the expected shape (SPEC §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("the bytes end inside an item")]
    Short,
    /// A head is longer than its value needs (R2.1-a).
    #[error("a number or length is not in its shortest form")]
    LongHead,
    /// Indefinite lengths are never written (R2.1-b).
    #[error("an indefinite length")]
    Indefinite,
    /// A float, tag, bignum, null or other simple value where none may stand (R2.1-c).
    #[error("a float, tag, null or other value that may not stand here")]
    Forbidden,
    /// Map keys must ascend strictly (R2.1-d).
    #[error("map keys do not ascend")]
    KeyOrder,
    /// Text that is not UTF-8 (R2.1-e).
    #[error("text that is not UTF-8")]
    Utf8,
    /// Nested deeper than [`CBOR_DEPTH_MAX`] (R2.1-f).
    #[error("nested too deep")]
    Depth,
    /// Bytes after the value (R2.1-g).
    #[error("bytes after the end of the value")]
    Trailing,
    /// Another type or length than the grammar has here.
    #[error("not the type or length that belongs here")]
    Shape,
    /// An even key we do not know: a reader that does not understand it must refuse (R2.1-h).
    #[error("critical key {0} is not known")]
    UnknownKey(u64),
    /// A key below 0: none is known, and all are critical (R2.1-h).
    #[error("a critical key below 0")]
    NegativeKey,
    /// A key the grammar requires is not there.
    #[error("required key {0} is missing")]
    MissingKey(u64),
}

impl CborError {
    /// Whether the bytes are well-formed but hold what this version must understand and does not.
    pub fn is_critical_key(self) -> bool {
        matches!(self, Self::UnknownKey(_) | Self::NegativeKey)
    }
}

type Result<T, E = CborError> = std::result::Result<T, E>;

const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const SIMPLE: u8 = 7;
const NULL_HEAD: u8 = 0xf6;

/// A strict pull reader over bytes in memory.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Read from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes consumed so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether everything was consumed.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// End of the value: nothing may follow.
    ///
    /// # Errors
    /// [`CborError::Trailing`].
    pub fn finish(&self) -> Result<()> {
        if self.is_at_end() { Ok(()) } else { Err(CborError::Trailing) }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or(CborError::Short)?;
        let taken = self.bytes.get(self.at..end).ok_or(CborError::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn peek(&self) -> Result<u8> {
        self.bytes.get(self.at).copied().ok_or(CborError::Short)
    }

    /// One head: major type and argument, in its shortest form.
    fn head(&mut self) -> Result<(u8, u64)> {
        let first = self.peek()?;
        let (major, info) = (first >> 5, first & 0x1f);
        if major == SIMPLE && info > 23 {
            return Err(CborError::Forbidden); // floats and two-byte simple values, and "break"
        }
        self.at += 1;
        let (argument, least) = match info {
            0..=23 => (u64::from(info), 0),
            24 => (be(self.take(1)?), 24),
            25 => (be(self.take(2)?), 1 << 8),
            26 => (be(self.take(4)?), 1 << 16),
            27 => (be(self.take(8)?), 1 << 32),
            31 => return Err(CborError::Indefinite),
            _ => return Err(CborError::Forbidden),
        };
        if argument < least { Err(CborError::LongHead) } else { Ok((major, argument)) }
    }

    fn expect(&mut self, major: u8) -> Result<u64> {
        let start = self.at;
        let (found, argument) = self.head()?;
        if found == major {
            return Ok(argument);
        }
        self.at = start;
        Err(if matches!(found, 6 | SIMPLE) { CborError::Forbidden } else { CborError::Shape })
    }

    fn length(&mut self, major: u8) -> Result<usize> {
        usize::try_from(self.expect(major)?).map_err(|_| CborError::Short)
    }

    /// A position in a history: 1 to 2^63 − 1.
    ///
    /// # Errors
    /// See [`Reader::uint`]; outside is [`CborError::Shape`].
    pub fn seq(&mut self) -> Result<u64> {
        let seq = self.uint()?;
        if (1..=SEQ_MAX).contains(&seq) { Ok(seq) } else { Err(CborError::Shape) }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// As every method here: what stands at this place breaks a rule of SPEC §2.1 or is of another type.
    pub fn uint(&mut self) -> Result<u64> {
        self.expect(UINT)
    }

    /// A byte string, lent.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.length(BYTES)?;
        self.take(len)
    }

    /// The head of a byte string: its length, whatever stands behind it.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn bytes_head(&mut self) -> Result<u64> {
        self.expect(BYTES)
    }

    /// A byte string of exactly `N` bytes.
    ///
    /// # Errors
    /// See [`Reader::uint`]; another length is [`CborError::Shape`].
    pub fn bytes_exact<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.bytes()?.try_into().map_err(|_| CborError::Shape)
    }

    /// A text string, lent.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn text(&mut self) -> Result<&'a str> {
        let len = self.length(TEXT)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| CborError::Utf8)
    }

    /// The head of an array: how many items follow. A count above what the remaining bytes could hold is [`CborError::Short`].
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn array(&mut self) -> Result<usize> {
        let count = self.length(ARRAY)?;
        if count > self.bytes.len() - self.at { Err(CborError::Short) } else { Ok(count) }
    }

    /// The head of an array of exactly `count` items.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn array_exact(&mut self, count: usize) -> Result<()> {
        if self.array()? == count { Ok(()) } else { Err(CborError::Shape) }
    }

    /// The head of a map with unsigned keys; the returned [`Keys`] walks it.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn map(&mut self) -> Result<Keys> {
        let left = self.length(MAP)?;
        if left > (self.bytes.len() - self.at) / 2 { Err(CborError::Short) } else { Ok(Keys { left, last: None }) }
    }

    /// The head of a map: how many entries, whether the bytes can hold them or not.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn map_head(&mut self) -> Result<u64> {
        self.expect(MAP)
    }

    /// Consume a null if one stands here.
    ///
    /// # Errors
    /// [`CborError::Short`] at the end of the bytes.
    pub fn null(&mut self) -> Result<bool> {
        let found = self.peek()? == NULL_HEAD;
        if found {
            self.at += 1;
        }
        Ok(found)
    }

    /// False or true.
    ///
    /// # Errors
    /// See [`Reader::uint`].
    pub fn boolean(&mut self) -> Result<bool> {
        match self.expect(SIMPLE)? {
            20 => Ok(false),
            21 => Ok(true),
            _ => Err(CborError::Forbidden),
        }
    }

    /// Walk one value of any allowed shape and lend its bytes.
    ///
    /// # Errors
    /// See [`Reader::uint`]. Depth counts from here.
    pub fn any(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        self.walk(CBOR_DEPTH_MAX, false)?;
        self.bytes.get(start..self.at).ok_or(CborError::Short)
    }

    /// As [`Reader::any`], for a value whose own grammar, checked elsewhere, has null in it.
    ///
    /// # Errors
    /// See [`Reader::any`].
    pub fn item(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        self.walk(CBOR_DEPTH_MAX, true)?;
        self.bytes.get(start..self.at).ok_or(CborError::Short)
    }

    fn walk(&mut self, depth: usize, nulls: bool) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or(CborError::Depth)?;
        let (major, argument) = self.head()?;
        match major {
            UINT => Ok(()),
            NEGATIVE if i64::try_from(argument).is_ok() => Ok(()),
            BYTES | TEXT => {
                let len = usize::try_from(argument).map_err(|_| CborError::Short)?;
                let body = self.take(len)?;
                if major == TEXT && std::str::from_utf8(body).is_err() { Err(CborError::Utf8) } else { Ok(()) }
            }
            ARRAY => (0..argument).try_for_each(|_| self.walk(depth, nulls)),
            MAP => self.walk_map(argument, depth, nulls),
            SIMPLE if matches!(argument, 20 | 21) || (nulls && argument == 22) => Ok(()),
            _ => Err(CborError::Forbidden),
        }
    }

    /// Integer keys, strictly ascending in the order of their bytes: 0, 1, 2 …, then −1, −2 ….
    fn walk_map(&mut self, count: u64, depth: usize, nulls: bool) -> Result<()> {
        let mut last: Option<&[u8]> = None;
        for _ in 0..count {
            let start = self.at;
            if !matches!(self.peek()? >> 5, UINT | NEGATIVE) {
                return Err(CborError::Shape);
            }
            self.walk(1, false)?;
            let key = self.bytes.get(start..self.at).ok_or(CborError::Short)?;
            if last.is_some_and(|last| last >= key) {
                return Err(CborError::KeyOrder);
            }
            last = Some(key);
            self.walk(depth, nulls)?;
        }
        Ok(())
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The keys of a map being read, strictly ascending.
#[derive(Debug)]
pub struct Keys {
    left: usize,
    last: Option<u64>,
}

impl Keys {
    /// The next key; its value stands next in `reader`. `None` after the last.
    ///
    /// # Errors
    /// [`CborError::KeyOrder`] when keys do not ascend; see [`Reader::uint`].
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<u64>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let key = match reader.head()? {
            (UINT, key) => key,
            (NEGATIVE, _) => return Err(CborError::NegativeKey),
            _ => return Err(CborError::Shape),
        };
        if self.last.is_some_and(|last| last >= key) {
            return Err(CborError::KeyOrder);
        }
        self.last = Some(key);
        Ok(Some(key))
    }

    /// What to do with a key we do not know: skip the value of an odd one, refuse an even one (R2.1-h).
    ///
    /// # Errors
    /// [`CborError::UnknownKey`] for an even key; what [`Reader::any`] finds wrong with the value of an odd one.
    pub fn unknown(key: u64, reader: &mut Reader<'_>) -> Result<()> {
        if key.is_multiple_of(2) { Err(CborError::UnknownKey(key)) } else { reader.any().map(|_| ()) }
    }
}
