//! Open: from the bytes of a file to events that may be believed, in three steps that only this module takes. SPEC §6.1.
//!
//! [`SealedBundle`] is whole and signed by the key it names; [`UnsealedBundle`] is for us; [`VerifiedBundle`] is of our domain, from a known sender,
//! and every event in it is what its origin signed. In: anything that reads and seeks. Out: ranges one at a time, in constant memory.
//! Invariants: nothing is decrypted before the signature is checked, nothing decompressed before the sender is known, nothing handed out before
//! everything is verified; the bytes handed out are the bytes that were signed, even if the file changes meanwhile. Not here: what to do with the
//! events (`ingest`), or whether we keep what we refuse.

use crate::cbor::{CborError, Reader};
use crate::compress::{Codec, CompressError, Decompressor};
use crate::envelope::{self, CRC_ITEM_LEN, FILE_CONTEXT, Header, HeaderError, MAGIC, SEAL_INFO, TRAILER_LEN, Trailer};
use crate::error::Code;
use crate::hpke;
use crate::ids::{DomainId, Hash, NodeId, Origin};
use crate::limits::{BUNDLE_LEN_MAX, CHUNK_LEN, HEADER_LEN_MAX, MANIFEST_LEN_MAX, RANGE_DATA_LEN_MAX, RANGE_EVENT_COUNT_MAX, TAG_LEN};
use crate::manifest::{Manifest, NodeTable};
use crate::range::{Range, RangeError, VerifiedRange};
use crate::seal::{SealingKey, raw_len_max};
use crate::trust::{History, NoHistory, Trust};
use crate::vector::Salt;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;
use std::io::{Read, Seek, SeekFrom};
use zeroize::Zeroizing;

/// Why a bundle was not opened, in the order of the checks (SPEC §6.1).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The medium refused us.
    #[error("cannot read the bundle: {0}")]
    Read(#[from] std::io::Error),
    /// No magic: never was a bundle.
    #[error("not a bundle")]
    NotABundle,
    /// It ends before its trailer.
    #[error("cut short at {len} bytes")]
    CutShort {
        /// How much there is.
        len: u64,
    },
    /// The CRC does not fit, or its place is gone.
    #[error("damaged: the checksum does not fit")]
    Damaged,
    /// The bytes under our hands are not those that were verified.
    #[error("the bundle changed while it was read")]
    Changed,
    /// The header breaks the format.
    #[error("the header breaks the format: {0}")]
    Header(HeaderError),
    /// Another version of the format.
    #[error("format version {0}")]
    Version(u64),
    /// More than a bundle may have.
    #[error("more {0} than a bundle may have")]
    Limit(&'static str),
    /// Its chunks or its trailer are not framed as the format asks: no writer does that, it is damage.
    #[error("damaged: chunk {index} or the trailer behind it is not framed as it must be")]
    Framing {
        /// From 0.
        index: u64,
    },
    /// Bytes after the trailer.
    #[error("{0} bytes after the end")]
    Trailing(u64),
    /// The checksum fits, the signature does not.
    #[error("forged: the signature is not that of the key it names")]
    Forged,
    /// Another domain.
    #[error("sealed in another domain")]
    OtherDomain,
    /// No key of ours opens it. Nobody's fault: pass it on.
    #[error("sealed for {recipients} recipient(s), none of them this node")]
    NotForUs {
        /// For how many.
        recipients: usize,
    },
    /// A chunk failed its tag: damage or forgery by who holds the content key.
    #[error("chunk {index} failed authentication")]
    Tampered {
        /// From 0.
        index: u64,
    },
    /// The inside breaks the format.
    #[error("the inside breaks the format: {0}")]
    Inner(#[from] CborError),
    /// The inside has things where they may not stand.
    #[error("the inside breaks the format: {0}")]
    Order(&'static str),
    /// The roster does not know the sender.
    #[error("sender @{sender} is not in the roster with this key")]
    UnknownSender {
        /// Who the header says.
        sender: NodeId,
    },
    /// A range is not believed.
    #[error("{origin:?} from {first}: {error}")]
    Range {
        /// Whose history.
        origin: Origin,
        /// Its first event.
        first: u64,
        /// What is wrong.
        error: RangeError,
    },
    /// A range that cannot even be read.
    #[error("{0}")]
    MalformedRange(RangeError),
}

impl OpenError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Read(_) => Code::Z201,
            Self::NotABundle => Code::Z211,
            Self::CutShort { .. } => Code::Z212,
            Self::Damaged | Self::Changed | Self::Framing { .. } => Code::Z213,
            Self::Forged => Code::Z215,
            Self::Version(_) => Code::Z216,
            Self::Header(HeaderError::Recipients(_)) | Self::Limit(_) => Code::Z218,
            Self::Trailing(_) => Code::Z219,
            Self::Tampered { .. } => Code::Z221,
            Self::Header(HeaderError::Cbor(error)) | Self::Inner(error) if error.is_critical_key() => Code::Z223,
            Self::Header(_) => Code::Z217,
            Self::Inner(_) | Self::Order(_) => Code::Z222,
            Self::NotForUs { .. } => Code::Z611,
            Self::UnknownSender { .. } => Code::Z612,
            Self::OtherDomain => Code::Z613,
            Self::Range { error, .. } | Self::MalformedRange(error) => error.code(),
        }
    }
}

impl From<HeaderError> for OpenError {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::Version(version) => Self::Version(version),
            other => Self::Header(other),
        }
    }
}

impl From<CompressError> for OpenError {
    fn from(error: CompressError) -> Self {
        Self::MalformedRange(error.into())
    }
}

/// An array of two. What does not begin so after a chunk must be another chunk.
const TRAILER_FIRST: u8 = 0x82;
const FULL_CHUNK: usize = CHUNK_LEN + TAG_LEN;
const CHUNK_HEAD_LEN_MAX: usize = 9;

/// A file that is whole and signed by the key it names. What everyone may know of it, with no key at all.
#[derive(Debug)]
pub struct SealedBundle<R> {
    reader: R,
    len: u64,
    header: Header,
    salt: Salt,
    body_at: u64,
    digests: ChunkDigests,
    last_len: usize,
    trailer: Trailer,
}

/// SHA-256 of the file through the end of each chunk; the last is what the trailer signs. 32 bytes per 64 KiB, so that every later pass can tell
/// each chunk is the signed one before it uses it.
#[derive(Debug)]
struct ChunkDigests(Vec<Hash>);

impl<R: Read + Seek> SealedBundle<R> {
    /// Read the whole file from its start: magic, header, framing, CRC, signature. Nothing is decrypted.
    ///
    /// # Errors
    /// [`OpenError`] up to [`OpenError::Forged`].
    pub fn read(mut reader: R) -> Result<Self, OpenError> {
        let len = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut pass = FirstPass::new(&mut reader, len);
        let Walk { header, body_at, salt, last_len, digests, trailer, crc } = pass.walk()?;
        match pass.at.cmp(&len) {
            Ordering::Less => return Err(OpenError::Trailing(len - pass.at)),
            Ordering::Greater => return Err(OpenError::Changed),
            Ordering::Equal => {}
        }
        if trailer.crc != crc {
            return Err(OpenError::Damaged);
        }
        let digest = digests.last().ok_or(OpenError::Damaged)?;
        header.sender_key.verify(FILE_CONTEXT, &digest.0, &trailer.signature).map_err(|_| OpenError::Forged)?;
        Ok(Self { reader, len, header, salt, body_at, digests: ChunkDigests(digests), last_len, trailer })
    }
}

struct Walk {
    header: Header,
    body_at: u64,
    salt: Salt,
    last_len: usize,
    digests: Vec<Hash>,
    trailer: Trailer,
    crc: u32,
}

/// Walks the frames of a file, hashing as it goes. Looks ahead by at most one header.
struct FirstPass<'r, R> {
    reader: &'r mut R,
    len: u64,
    /// Bytes consumed and hashed.
    at: u64,
    ahead: Vec<u8>,
    sha: Sha256,
    crc: crc32fast::Hasher,
}

impl<'r, R: Read> FirstPass<'r, R> {
    fn new(reader: &'r mut R, len: u64) -> Self {
        Self { reader, len, at: 0, ahead: Vec::new(), sha: Sha256::new(), crc: crc32fast::Hasher::new() }
    }

    fn walk(&mut self) -> Result<Walk, OpenError> {
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
        let Ok(bytes) = <&[u8; TRAILER_LEN]>::try_from(found) else { return Err(self.cut_short()) };
        let trailer = Trailer::from_bytes(bytes).ok_or(OpenError::Framing { index })?;
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

impl<R> SealedBundle<R> {
    /// What the file says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Length of the file.
    #[expect(clippy::len_without_is_empty, reason = "no bundle is empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// How many sealed chunks.
    pub fn chunk_count(&self) -> usize {
        self.digests.0.len()
    }

    /// Plaintext bytes inside, padding included.
    pub fn inner_len(&self) -> u64 {
        let full = (self.chunk_count() as u64).saturating_sub(1);
        full * CHUNK_LEN as u64 + (self.last_len - TAG_LEN) as u64
    }

    /// What the trailer signs: SHA-256 over everything before it. Names the bundle, whatever its file is called.
    pub fn digest(&self) -> Hash {
        self.digests.0.last().copied().unwrap_or(Hash([0; 32]))
    }

    /// What the tags of the vector inside are salted with.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// Signature and CRC, both found good.
    pub fn trailer(&self) -> &Trailer {
        &self.trailer
    }

    /// Whether it is of `domain`, as far as its hint can tell.
    ///
    /// # Errors
    /// [`OpenError::OtherDomain`].
    pub fn check_domain(&self, domain: &DomainId) -> Result<(), OpenError> {
        if self.header.is_of(domain) { Ok(()) } else { Err(OpenError::OtherDomain) }
    }

    /// Give the reader back.
    pub fn into_reader(self) -> R {
        self.reader
    }

    /// Open the content key with whichever of `keys` it was sealed for.
    ///
    /// # Errors
    /// [`OpenError::NotForUs`]; a hint that is ours by chance and opens nothing counts for nothing.
    pub fn unseal(self, keys: &[&SealingKey]) -> Result<UnsealedBundle<R>, OpenError> {
        for key in keys {
            for recipient in self.header.recipients.iter().filter(|recipient| recipient.is_for(&key.public().0)) {
                if let Ok(content_key) = hpke::open(key.secret(), SEAL_INFO, &recipient.sealed_key) {
                    let key = envelope::chunk_key(&content_key, &self.salt);
                    return Ok(UnsealedBundle { sealed: self, key });
                }
            }
        }
        Err(OpenError::NotForUs { recipients: self.header.recipients.len() })
    }
}

/// A bundle we hold the key of. Its inside is not looked at yet.
pub struct UnsealedBundle<R> {
    sealed: SealedBundle<R>,
    key: Zeroizing<[u8; 32]>,
}

impl<R> std::fmt::Debug for UnsealedBundle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UnsealedBundle").field("header", &self.sealed.header).finish_non_exhaustive()
    }
}

impl<R: Read + Seek> UnsealedBundle<R> {
    /// What everyone may know of it.
    pub fn sealed(&self) -> &SealedBundle<R> {
        &self.sealed
    }

    /// Decrypt and verify everything, keep nothing but the manifest. Leading ranges of the roster teach `trust`, which is best a copy: it has learnt
    /// them even when a later check fails.
    ///
    /// # Errors
    /// [`OpenError`], in the order of SPEC §6.1.
    pub fn verify(mut self, trust: &mut dyn Trust, history: &mut dyn History) -> Result<VerifiedBundle<R>, OpenError> {
        let sealed = &mut self.sealed;
        sealed.check_domain(&trust.domain())?;
        let mut items = Items::start(sealed, &self.key)?;
        let manifest = items.manifest(sealed)?;
        let mut sender_known = false;
        while let Some(range) = items.range(sealed, &manifest.nodes)? {
            let is_roster = trust.is_roster(&range.origin);
            match (is_roster, sender_known) {
                (true, true) => return Err(OpenError::Order("a range of the roster behind another")),
                (true, false) if range.codec != Codec::Stored => return Err(OpenError::Order("a compressed range of the roster")),
                (true, false) | (false, true) => {}
                (false, false) => {
                    check_sender(&sealed.header, trust)?;
                    sender_known = true;
                }
            }
            let verified = items.open(range, Some(&*trust), history)?;
            if is_roster {
                trust.learn(&verified);
            }
        }
        check_sender(&sealed.header, trust)?;
        items.rewind(sealed)?;
        items.manifest(sealed)?;
        Ok(VerifiedBundle { sealed: self.sealed, manifest, items, broken: false })
    }
}

fn check_sender(header: &Header, trust: &dyn Trust) -> Result<(), OpenError> {
    let sender = header.sender;
    if trust.is_sender(&sender, &header.sender_key) { Ok(()) } else { Err(OpenError::UnknownSender { sender }) }
}

/// A bundle in which everything is as it must be. Its ranges are read a second time, one by one.
#[derive(Debug)]
pub struct VerifiedBundle<R> {
    sealed: SealedBundle<R>,
    manifest: Manifest,
    items: Items,
    broken: bool,
}

impl<R: Read + Seek> VerifiedBundle<R> {
    /// What everyone may know of it.
    pub fn sealed(&self) -> &SealedBundle<R> {
        &self.sealed
    }

    /// Who sealed it.
    pub fn sender(&self) -> NodeId {
        self.sealed.header.sender
    }

    /// What the sender holds. It counts as a receipt only once [`VerifiedBundle::finish`] has given it back.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The next range, the roster's first; `None` after the last.
    ///
    /// # Errors
    /// [`OpenError::Changed`] when the file is no longer the one that was verified; [`OpenError::Range`] for a primed range.
    pub fn next_range(&mut self) -> Result<Option<VerifiedRange>, OpenError> {
        self.next_range_with(&mut NoHistory)
    }

    /// [`VerifiedBundle::next_range`] with the history that primed ranges build on.
    ///
    /// # Errors
    /// As [`VerifiedBundle::next_range`].
    pub fn next_range_with(&mut self, history: &mut dyn History) -> Result<Option<VerifiedRange>, OpenError> {
        let next = match self.items.range(&mut self.sealed, &self.manifest.nodes) {
            Ok(Some(range)) => self.items.open(range, None, history).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        self.broken |= next.is_err();
        next
    }

    /// Read what is left, and give the manifest once every byte that was signed has been seen again.
    ///
    /// # Errors
    /// [`OpenError::Changed`]; also when an earlier range could not be had.
    pub fn finish(mut self) -> Result<Manifest, OpenError> {
        if self.broken {
            return Err(OpenError::Changed);
        }
        while self.items.range(&mut self.sealed, &self.manifest.nodes)?.is_some() {}
        Ok(self.manifest)
    }
}

/// Walks the items inside a bundle, decrypting chunk by chunk. At most one item and one chunk are in memory.
struct Items {
    cipher: ChaCha20Poly1305,
    /// The chunk to be read next.
    index: usize,
    sha: Sha256,
    /// Plaintext not consumed yet, from `start` on.
    plain: Vec<u8>,
    start: usize,
    raw_left: u64,
    decompressor: Decompressor,
}

impl std::fmt::Debug for Items {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").field("index", &self.index).finish_non_exhaustive()
    }
}

/// A range item: data, a checkpoint of every event, and 4 KiB for the rest and for keys to come (R4.4-l).
const RANGE_ITEM_LEN_MAX: usize = RANGE_DATA_LEN_MAX + 4096 + CHECKPOINT_ITEM_LEN_MAX * 4096;
/// `[offset, [key number, signature]]`: heads of 1, 1 and 2 bytes, 3 for the offset, 9 for the number, 64 of signature.
const CHECKPOINT_ITEM_LEN_MAX: usize = 80;
const _: () = assert!(RANGE_EVENT_COUNT_MAX == 4096 && RANGE_DATA_LEN_MAX == (1 << 20) + 4096, "R4.4-l tells the sum as a number");

impl Items {
    fn start<R: Read + Seek>(sealed: &mut SealedBundle<R>, key: &[u8; 32]) -> Result<Self, OpenError> {
        let mut items = Self {
            cipher: ChaCha20Poly1305::new(&(*key).into()),
            index: 0,
            sha: Sha256::new(),
            plain: Vec::new(),
            start: 0,
            raw_left: 0,
            decompressor: Decompressor::new()?,
        };
        items.rewind(sealed)?;
        Ok(items)
    }

    /// Back to the first item, keeping buffers and contexts. Magic and header are hashed again with the chunks.
    fn rewind<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>) -> Result<(), OpenError> {
        sealed.reader.seek(SeekFrom::Start(0))?;
        let mut before = Vec::new();
        (&mut sealed.reader).take(sealed.body_at).read_to_end(&mut before)?;
        self.sha = Sha256::new().chain_update(&before);
        self.plain.clear();
        (self.index, self.start, self.raw_left) = (0, 0, raw_len_max(sealed.len));
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

    fn manifest<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>) -> Result<Manifest, OpenError> {
        self.item(sealed, ("bytes in a manifest", MANIFEST_LEN_MAX), |reader| Ok(Manifest::read(reader)?))
    }

    /// The next range; after the last one, what follows must be nothing or the pad.
    fn range<R: Read + Seek>(&mut self, sealed: &mut SealedBundle<R>, nodes: &NodeTable) -> Result<Option<Range>, OpenError> {
        if self.left().is_empty() && !self.fill(sealed)? {
            return Ok(None);
        }
        if self.left().first().is_some_and(|byte| byte >> 5 == 2) {
            return self.pad(sealed).map(|()| None);
        }
        let read = |reader: &mut Reader<'_>| Range::read(reader, nodes).map_err(OpenError::from_range);
        self.item(sealed, ("bytes in a range", RANGE_ITEM_LEN_MAX), read).map(Some)
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
    fn open(&mut self, range: Range, trust: Option<&dyn Trust>, history: &mut dyn History) -> Result<VerifiedRange, OpenError> {
        let (origin, first) = (range.origin, range.first);
        self.raw_left = self.raw_left.checked_sub(range.raw_len as u64).ok_or(OpenError::Limit("raw bytes"))?;
        let prefix = match range.prefix {
            None => None,
            Some((first, count)) => history.prefix(&origin, first, count)?,
        };
        let opened = range.base.ok_or(RangeError::NoBase).and_then(|base| match trust {
            Some(trust) => range.verify_with(base, trust, prefix.as_deref(), &mut self.decompressor),
            None => range.unpack(base, prefix.as_deref(), &mut self.decompressor),
        });
        opened.map_err(|error| OpenError::Range { origin, first, error })
    }
}

impl OpenError {
    fn from_range(error: RangeError) -> Self {
        match error {
            RangeError::Cbor(error) => Self::Inner(error),
            other => Self::MalformedRange(other),
        }
    }

    fn is_short(&self) -> bool {
        matches!(self, Self::Inner(CborError::Short))
    }
}
