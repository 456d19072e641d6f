//! The first pass: the frames of a file from its first byte to its last, hashed as they go by. Needs no key and decrypts nothing.

use super::{FULL_CHUNK, OpenError};
use crate::cbor::{CborError, Reader};
use crate::envelope::{self, CRC_ITEM_LEN, Header, HeaderError, MAGIC, TRAILER_LEN, Trailer};
use crate::ids::Hash;
use crate::limits::{BUNDLE_LEN_MAX, HEADER_LEN_MAX, TAG_LEN};
use crate::vector::Salt;
use sha2::{Digest as _, Sha256};
use std::io::Read;

/// An array of two. What does not begin so after a chunk must be another chunk.
const TRAILER_FIRST: u8 = 0x82;
const CHUNK_HEAD_LEN_MAX: usize = 9;

/// What the first pass found.
pub(super) struct Walk {
    pub(super) header: Header,
    pub(super) body_at: u64,
    pub(super) salt: Salt,
    pub(super) last_len: usize,
    pub(super) digests: Vec<Hash>,
    pub(super) trailer: Trailer,
    pub(super) crc: u32,
}

/// Walks the frames of a file, hashing as it goes. Looks ahead by at most one header.
pub(super) struct FirstPass<'r, R> {
    reader: &'r mut R,
    len: u64,
    /// Bytes consumed and hashed.
    pub(super) at: u64,
    ahead: Vec<u8>,
    sha: Sha256,
    crc: crc32fast::Hasher,
}

impl<'r, R: Read> FirstPass<'r, R> {
    pub(super) fn new(reader: &'r mut R, len: u64) -> Self {
        Self { reader, len, at: 0, ahead: Vec::new(), sha: Sha256::new(), crc: crc32fast::Hasher::new() }
    }

    pub(super) fn walk(&mut self) -> Result<Walk, OpenError> {
        self.magic()?;
        if self.len > BUNDLE_LEN_MAX {
            return Err(OpenError::Limit("bytes"));
        }
        let (header, salt) = self.header()?;
        let body_at = self.at;
        let mut digests = Vec::new();
        let mut last_len = FULL_CHUNK;
        loop {
            let index = digests.len() as u64;
            let head = self.look(CHUNK_HEAD_LEN_MAX)?;
            match head.first() {
                None => return Err(self.cut_short()),
                Some(&TRAILER_FIRST) if index > 0 => break,
                Some(_) if last_len == FULL_CHUNK => {}
                Some(_) => return Err(OpenError::Framing { index }), // only the last chunk may be shorter
            }
            last_len = self.chunk(index)?;
            digests.push(Hash(self.sha.clone().finalize().into()));
        }
        let (trailer, crc) = self.trailer(digests.len() as u64)?;
        Ok(Walk { header, body_at, salt, last_len, digests, trailer, crc })
    }

    fn cut_short(&self) -> OpenError {
        OpenError::CutShort { len: self.len }
    }

    /// Up to `count` bytes that come next, fewer only at the end of the file.
    fn look(&mut self, count: usize) -> Result<&[u8], OpenError> {
        let missing = count.saturating_sub(self.ahead.len());
        if missing > 0 {
            (&mut *self.reader).take(missing as u64).read_to_end(&mut self.ahead)?;
        }
        Ok(self.ahead.get(..count).unwrap_or(&self.ahead))
    }

    /// Consume `count` bytes that were looked at.
    fn consume(&mut self, count: usize) {
        let taken = self.ahead.get(..count).unwrap_or_default();
        self.sha.update(taken);
        self.crc.update(taken);
        self.at += taken.len() as u64;
        self.ahead.drain(..count.min(self.ahead.len()));
    }

    fn magic(&mut self) -> Result<(), OpenError> {
        let found = self.look(MAGIC.len())?;
        if found == MAGIC {
            self.consume(MAGIC.len());
            return Ok(());
        }
        Err(if MAGIC.starts_with(found) { self.cut_short() } else { OpenError::NotABundle })
    }

    fn header(&mut self) -> Result<(Header, Salt), OpenError> {
        let found = self.look(HEADER_LEN_MAX)?;
        let (all_there, mut reader) = (found.len() == HEADER_LEN_MAX, Reader::new(found));
        match Header::read(&mut reader) {
            Ok(header) => {
                let len = reader.position();
                let salt = envelope::salt_of(found.get(..len).unwrap_or_default());
                self.consume(len);
                Ok((header, salt))
            }
            Err(HeaderError::Cbor(CborError::Short)) if all_there => Err(OpenError::Limit("header")),
            Err(HeaderError::Cbor(CborError::Short)) => Err(self.cut_short()),
            Err(error) => Err(error.into()),
        }
    }

    /// One chunk; its length with the tag.
    fn chunk(&mut self, index: u64) -> Result<usize, OpenError> {
        let len = self.len;
        let head = self.look(CHUNK_HEAD_LEN_MAX)?;
        let (head_len, chunk_len) = match bstr_head(head) {
            Ok(parsed) => parsed,
            Err(CborError::Short) => return Err(OpenError::CutShort { len }),
            Err(_) => return Err(OpenError::Framing { index }),
        };
        let possible = |len: &usize| (TAG_LEN + 1..=FULL_CHUNK).contains(len);
        let chunk_len = usize::try_from(chunk_len).ok().filter(possible).ok_or(OpenError::Framing { index })?;
        self.consume(head_len);
        if self.look(chunk_len)?.len() < chunk_len {
            return Err(self.cut_short());
        }
        self.consume(chunk_len);
        Ok(chunk_len)
    }

    fn trailer(&mut self, index: u64) -> Result<(Trailer, u32), OpenError> {
        let found = self.look(TRAILER_LEN)?;
        if !Trailer::can_begin_with(found) {
            return Err(OpenError::Framing { index });
        }
        let Some(trailer) = found.first_chunk().and_then(Trailer::from_bytes) else { return Err(self.cut_short()) };
        self.consume(TRAILER_LEN - CRC_ITEM_LEN);
        let crc = self.crc.clone().finalize();
        self.consume(CRC_ITEM_LEN);
        Ok((trailer, crc))
    }
}

/// Length of a byte string's head, and of its content.
fn bstr_head(bytes: &[u8]) -> Result<(usize, u64), CborError> {
    let mut reader = Reader::new(bytes);
    let len = reader.bytes_head()?;
    Ok((reader.position(), len))
}
