//! The inside of a bundle, item by item: manifest, ranges, pad.

use super::{FULL_CHUNK, OpenError, SealedBundle};
use crate::cbor::{CborError, Reader};
use crate::compress::{Codec, Decompressor};
use crate::envelope;
use crate::limits::{MANIFEST_LEN_MAX, MIX_FILE_RAW_LEN_MAX, RANGE_ITEM_LEN_MAX, TAG_LEN};
use crate::manifest::{Manifest, NodeTable};
use crate::range::{Range, RangeError, VerifiedRange};
use crate::seal::raw_len_max;
use crate::trust::Trust;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Seek, SeekFrom};

/// Walks the items inside a bundle, decrypting chunk by chunk. At most one item and one chunk are in memory.
pub(super) struct Items {
    cipher: ChaCha20Poly1305,
    /// The chunk to be read next.
    index: usize,
    sha: Sha256,
    /// Plaintext not consumed yet, from `start` on.
    plain: Vec<u8>,
    start: usize,
    raw_left: u64,
    /// Of that, in codec 3.
    mixed_left: u64,
    decompressor: Decompressor,
}

impl std::fmt::Debug for Items {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Items {
    pub(super) fn start<R: Read + Seek>(sealed: &mut SealedBundle<R>, key: &[u8; 32]) -> Result<Self, OpenError> {
        let mut items = Self {
            cipher: ChaCha20Poly1305::new(&(*key).into()),
            index: 0,
            sha: Sha256::new(),
            plain: Vec::new(),
            start: 0,
            raw_left: 0,
            mixed_left: 0,
            decompressor: Decompressor::new()?,
        };
        items.rewind(sealed)?;
        Ok(items)
    }

    /// Back to the first item, keeping buffers and contexts. Magic and header are hashed again with the chunks.
    pub(super) fn rewind<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>) -> Result<(), OpenError> {
        sealed.reader.seek(SeekFrom::Start(0))?;
        let mut before = Vec::new();
        (&mut sealed.reader).take(sealed.body_at).read_to_end(&mut before)?;
        self.sha = Sha256::new().chain_update(&before);
        self.plain.clear();
        (self.index, self.start) = (0, 0);
        (self.raw_left, self.mixed_left) = (raw_len_max(sealed.len), MIX_FILE_RAW_LEN_MAX);
        Ok(())
    }

    /// Decrypt one more chunk behind what is left; `false` when there is none.
    fn fill<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>) -> Result<bool, OpenError> {
        let Some(signed) = sealed.digests.0.get(self.index) else { return Ok(false) };
        let last = self.index + 1 == sealed.digests.0.len();
        let len = if last { sealed.last_len } else { FULL_CHUNK };
        let mut head = envelope::bstr_head(len as u64);
        self.plain.drain(..self.start);
        self.start = 0;
        let kept = self.plain.len();
        self.plain.resize(kept + len, 0);
        let Some(chunk) = self.plain.get_mut(kept..) else { return Ok(false) };
        let read = sealed.reader.read_exact(&mut head).and_then(|()| sealed.reader.read_exact(chunk));
        read.map_err(|error| if error.kind() == std::io::ErrorKind::UnexpectedEof { OpenError::Changed } else { error.into() })?;
        self.sha.update(&head);
        self.sha.update(&*chunk);
        if self.sha.clone().finalize()[..] != signed.0 {
            return Err(OpenError::Changed);
        }
        let tampered = OpenError::Tampered { index: self.index as u64 };
        let nonce = u32::try_from(self.index).map(|index| envelope::chunk_nonce(index, last)).map_err(|_| OpenError::Limit("chunks"))?;
        let Some((body, tag)) = chunk.split_last_chunk_mut::<TAG_LEN>() else { return Err(tampered) };
        self.cipher.decrypt_inout_detached(&nonce.into(), b"", body.into(), &(*tag).into()).map_err(|_| tampered)?;
        self.plain.truncate(kept + len - TAG_LEN);
        self.index += 1;
        Ok(true)
    }

    fn left(&self) -> &[u8] {
        self.plain.get(self.start..).unwrap_or_default()
    }

    /// Parse the item that comes next, decrypting as much as it needs.
    fn item<R: Read + Seek, T>(
        &mut self,
        sealed: &mut SealedBundle<R>,
        (what, len_max): (&'static str, usize),
        parse: impl Fn(&mut Reader<'_>) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        loop {
            let mut reader = Reader::new(self.left());
            match parse(&mut reader) {
                Ok(_) if reader.position() > len_max => return Err(OpenError::Limit(what)),
                Ok(item) => {
                    self.start += reader.position();
                    return Ok(item);
                }
                Err(error) if error.is_short() => {
                    if self.left().len() > len_max {
                        return Err(OpenError::Limit(what));
                    }
                    if !self.fill(sealed)? {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn manifest<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>) -> Result<Manifest, OpenError> {
        self.item(sealed, ("bytes in a manifest", MANIFEST_LEN_MAX), |reader| Ok(Manifest::read(reader)?))
    }

    /// The next range; after the last one, what follows must be nothing or the pad.
    pub(super) fn range<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>, nodes: &NodeTable) -> Result<Option<Range>, OpenError> {
        if self.left().is_empty() && !self.fill(sealed)? {
            return Ok(None);
        }
        if self.left().first().is_some_and(|byte| byte >> 5 == 2) {
            return self.pad(sealed).map(|()| None);
        }
        let read = |reader: &mut Reader<'_>| Range::read(reader, nodes).map_err(OpenError::from_range);
        let range = self.item(sealed, ("bytes in a range", RANGE_ITEM_LEN_MAX), read)?;
        if range.prefix.is_some() {
            return Err(OpenError::Order("a range with a prefix: a file opens without the log"));
        }
        Ok(Some(range))
    }

    /// Zeros to the end, as many as the pad says.
    fn pad<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>) -> Result<(), OpenError> {
        let mut due = self.item(sealed, ("bytes in a pad", usize::MAX), |reader| Ok(reader.bytes_head()?))?;
        loop {
            if self.left().iter().any(|byte| *byte != 0) {
                return Err(OpenError::Order("a pad that is not zeros, or something behind it"));
            }
            due = due.checked_sub(self.left().len() as u64).ok_or(OpenError::Order("something behind the pad"))?;
            self.start = self.plain.len();
            if !self.fill(sealed)? {
                break;
            }
        }
        if due == 0 { Ok(()) } else { Err(CborError::Short.into()) }
    }

    /// Unpack `range` and, when `trust` is given, check its signatures. Without, its bytes are known to be those that were checked.
    pub(super) fn open(&mut self, range: Range, trust: Option<&dyn Trust>) -> Result<VerifiedRange, OpenError> {
        let (origin, first) = (range.origin, range.first);
        self.raw_left = self.raw_left.checked_sub(range.raw_len as u64).ok_or(OpenError::Limit("raw bytes"))?;
        if range.codec == Codec::Mixed {
            self.mixed_left = self.mixed_left.checked_sub(range.raw_len as u64).ok_or(OpenError::Limit("raw bytes in codec 3"))?;
        }
        let opened = range.base.ok_or(RangeError::NoBase).and_then(|base| match trust {
            Some(trust) => range.verify_with(base, trust, None, &mut self.decompressor),
            None => range.unpack(base, None, &mut self.decompressor),
        });
        opened.map_err(|error| OpenError::Range { origin, first, error })
    }
}
