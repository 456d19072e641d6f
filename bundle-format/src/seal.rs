//! Seal: write a bundle as a stream, in constant memory.
//!
//! In: who seals, for whom, a manifest, ranges one by one. Out: the bytes of a `.zb` file, padded, signed, and their digest.
//! Invariants: nothing is written twice or sought back to; two chunks are never sealed under one nonce; the length is known before the end, so that a
//! caller can stop before a limit. Not here: which ranges (`cut`), files (`carry`), randomness (the caller's).

use crate::compress::Codec;
use crate::envelope::{self, FILE_CONTEXT, Header, MAGIC, Recipient, SEAL_INFO, Trailer};
use crate::error::Code;
use crate::hpke;
use crate::ids::{DomainId, Hash, Lane, NodeId};
use crate::limits::{
    BUNDLE_LEN_MAX, CHUNK_LEN, EXPANSION_FACTOR, EXPANSION_FLOOR, MANIFEST_LEN_MAX, MIX_FILE_RAW_LEN_MAX, RECIPIENT_COUNT_MAX, TAG_LEN,
};
use crate::manifest::{Manifest, NodeTable};
use crate::range::Range;
use crate::sign::SigningKey;
use crate::vector::Salt;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use sha2::{Digest as _, Sha256};
use std::io::Write;
use zeroize::Zeroizing;

/// A node's secret sealing key; wiped when dropped, never printed.
#[derive(Clone)]
pub struct SealingKey {
    secret: Zeroizing<[u8; 32]>,
    public: SealingPublic,
}

impl SealingKey {
    /// From 32 random bytes, clamped when used (RFC 7748 §5).
    pub fn from_bytes(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let public = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(*secret)).to_bytes();
        Self { secret, public: SealingPublic(public) }
    }

    /// The 32 bytes it was made from, for the keyring only.
    pub fn bytes(&self) -> Zeroizing<[u8; 32]> {
        self.secret.clone()
    }

    /// The public half.
    pub fn public(&self) -> SealingPublic {
        self.public
    }

    pub(crate) fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// A node's public sealing key. One of small order is refused when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingPublic(pub [u8; 32]);

impl SealingPublic {
    /// A point of small order: what is sealed to it, anyone can open. There are seven spellings of them (RFC 7748 §7), and X25519 ignores the highest bit.
    pub fn is_weak(&self) -> bool {
        let mut spelled = self.0;
        spelled[31] &= 0x7f;
        let near_prime = |low: u8| spelled[0] == low && spelled[1..31].iter().all(|byte| *byte == 0xff) && spelled[31] == 0x7f;
        let near_zero = spelled[0] <= 1 && spelled[1..].iter().all(|byte| *byte == 0);
        near_zero || ORDER_EIGHT.contains(&spelled) || (0xec..=0xee).any(near_prime)
    }
}

/// The two points of order eight, little-endian.
const ORDER_EIGHT: [[u8; 32]; 2] = [
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1,
        0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e,
        0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
];

/// Who seals, for whom, and what the outside shall say.
#[derive(Clone, Debug)]
pub struct HeaderPlan<'a> {
    /// Our domain.
    pub domain: DomainId,
    /// Our node.
    pub sender: NodeId,
    /// Our signing key.
    pub signing_key: &'a SigningKey,
    /// 1 to 64; all of them may see all of it.
    pub recipients: Vec<SealingPublic>,
    /// Seconds since 1970, if it shall be told.
    pub created: Option<u64>,
    /// The most urgent lane inside, if it shall be told.
    pub best_lane: Option<Lane>,
}

impl HeaderPlan<'_> {
    /// Length of the header it makes, for [`envelope::sealed_len`].
    pub fn header_len(&self) -> usize {
        let recipient = Recipient { hint: [0; 4], sealed_key: [0; hpke::SEALED_LEN] };
        self.header(vec![recipient; self.recipients.len()]).to_bytes().len()
    }

    fn header(&self, recipients: Vec<Recipient>) -> Header {
        Header {
            created: self.created,
            domain_hint: self.domain.hint(),
            best_lane: self.best_lane,
            sender: self.sender,
            sender_key: self.signing_key.verifying_key(),
            recipients,
        }
    }
}

/// Why a bundle was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The writer said no.
    #[error("cannot write the bundle: {0}")]
    Write(#[from] std::io::Error),
    /// None, or more than 64.
    #[error("a bundle for {0} recipients")]
    RecipientCount(usize),
    /// A recipient's key that everyone could open.
    #[error("recipient {index} has an unusable sealing key")]
    WeakRecipient {
        /// From 0.
        index: usize,
    },
    /// The manifest is larger than a manifest may be.
    #[error("a manifest of {len} bytes")]
    Manifest {
        /// Its length.
        len: usize,
    },
    /// A manifest or range names a node that the manifest's table lacks, or a range comes before the manifest.
    #[error("the node table lacks a node that is named")]
    NodeTable,
    /// The range builds on events that do not stand in it (R4.4-d).
    #[error("a range with a prefix in a file")]
    Primed,
    /// The range would make the file larger than a file may be, or more than a reader unpacks.
    #[error("the bundle is full")]
    Full,
}

impl SealError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Write(error) if error.kind() == std::io::ErrorKind::StorageFull => Code::Z203,
            Self::Write(error) if error.kind() == std::io::ErrorKind::QuotaExceeded => Code::Z203,
            Self::Write(_) => Code::Z202,
            Self::Manifest { .. } | Self::Full => Code::Z218,
            Self::RecipientCount(_) | Self::WeakRecipient { .. } | Self::NodeTable | Self::Primed => Code::Z100,
        }
    }
}

/// What was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Length of the file.
    pub len: u64,
    /// What the trailer signs: SHA-256 over everything before the trailer.
    pub digest: Hash,
}

/// A bundle being written: manifest first, then ranges (the roster's before all others), then [`Sealer::finish`].
pub struct Sealer<'k, W> {
    body: Body<W>,
    signing_key: &'k SigningKey,
    header_len: usize,
    salt: Salt,
    nodes: Option<NodeTable>,
    raw_len: u64,
    /// Of that, in codec 3.
    mixed_len: u64,
}

impl<W> std::fmt::Debug for Sealer<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("inner_len", &self.body.inner_len).finish_non_exhaustive()
    }
}

impl<'k, W: Write> Sealer<'k, W> {
    /// Draw a content key, seal it for every recipient, write magic and header. `random` fills what it is given from the kernel's generator (R5.1-a).
    ///
    /// # Errors
    /// [`SealError::RecipientCount`], [`SealError::WeakRecipient`], [`SealError::Write`].
    pub fn new(out: W, plan: &HeaderPlan<'k>, random: &mut dyn FnMut(&mut [u8])) -> Result<Self, SealError> {
        let count = plan.recipients.len();
        if !(1..=RECIPIENT_COUNT_MAX).contains(&count) {
            return Err(SealError::RecipientCount(count));
        }
        let mut fresh = || {
            let mut bytes = Zeroizing::new([0; 32]);
            random(bytes.as_mut_slice());
            bytes
        };
        let content_key = fresh();
        let mut recipient = |(index, public): (usize, &SealingPublic)| {
            let sealed_key = hpke::seal(&public.0, SEAL_INFO, &content_key, &fresh()).map_err(|_| SealError::WeakRecipient { index })?;
            Ok(Recipient { hint: Recipient::hint_of(&sealed_key, &public.0), sealed_key })
        };
        let recipients = plan.recipients.iter().enumerate().map(&mut recipient).collect::<Result<Vec<_>, SealError>>()?;
        let header = plan.header(recipients).to_bytes();
        let salt = envelope::salt_of(&header);
        let mut body = Body::new(out, &envelope::chunk_key(&content_key, &salt));
        body.emit(&MAGIC)?;
        body.emit(&header)?;
        Ok(Self { body, signing_key: plan.signing_key, header_len: header.len(), salt, nodes: None, raw_len: 0, mixed_len: 0 })
    }

    /// What the tags of this file's vector are salted with.
    pub fn salt(&self) -> Salt {
        self.salt
    }

    /// Write the manifest: once, before any range.
    ///
    /// # Errors
    /// [`SealError::NodeTable`] when it lacks a node that it names, [`SealError::Manifest`], [`SealError::Write`].
    pub fn manifest(&mut self, manifest: &Manifest) -> Result<(), SealError> {
        let bytes = manifest.to_bytes().ok_or(SealError::NodeTable)?;
        if bytes.len() > MANIFEST_LEN_MAX {
            return Err(SealError::Manifest { len: bytes.len() });
        }
        self.nodes = Some(manifest.nodes.clone());
        self.body.write_all(&bytes)?;
        Ok(())
    }

    /// Write one range.
    ///
    /// # Errors
    /// [`SealError::NodeTable`], [`SealError::Primed`], [`SealError::Full`] (nothing is written then), [`SealError::Write`].
    pub fn range(&mut self, range: &Range) -> Result<(), SealError> {
        if range.prefix.is_some() {
            return Err(SealError::Primed);
        }
        let len_with = self.len_with(range)?;
        let raw_len = self.raw_len.saturating_add(range.raw_len as u64);
        let is_mixed = range.codec == Codec::Mixed;
        if len_with > BUNDLE_LEN_MAX || raw_len > raw_len_max(len_with) || (is_mixed && !self.takes_mixed(range.raw_len)) {
            return Err(SealError::Full);
        }
        let nodes = self.nodes.as_ref().ok_or(SealError::NodeTable)?;
        range.write(nodes, &mut self.body).ok_or(SealError::NodeTable)??;
        self.raw_len = raw_len;
        self.mixed_len += if is_mixed { range.raw_len as u64 } else { 0 };
        Ok(())
    }

    /// Whether a reader decodes so many raw bytes more in codec 3 (R4.4-m): else code them otherwise.
    pub fn takes_mixed(&self, raw_len: usize) -> bool {
        self.mixed_len.saturating_add(raw_len as u64) <= MIX_FILE_RAW_LEN_MAX
    }

    /// Whether a file with `range` would unpack to more than a reader accepts (R4.4-l): store that range instead.
    ///
    /// # Errors
    /// [`SealError::NodeTable`].
    pub fn expands_too_far(&self, range: &Range) -> Result<bool, SealError> {
        Ok(self.raw_len.saturating_add(range.raw_len as u64) > raw_len_max(self.len_with(range)?))
    }

    /// Length of the file if it were finished now.
    pub fn len_if_finished(&self) -> u64 {
        envelope::sealed_len(self.body.inner_len, self.header_len)
    }

    /// Length of the file if it were finished after `range`.
    ///
    /// # Errors
    /// [`SealError::NodeTable`].
    pub fn len_with(&self, range: &Range) -> Result<u64, SealError> {
        let wire_len = self.nodes.as_ref().and_then(|nodes| range.wire_len(nodes)).ok_or(SealError::NodeTable)?;
        Ok(envelope::sealed_len(self.body.inner_len.saturating_add(wire_len), self.header_len))
    }

    /// Pad, seal the last chunk, sign, and give the writer back. Flushed, not synced.
    ///
    /// # Errors
    /// [`SealError::NodeTable`] when there was no manifest, [`SealError::Write`].
    pub fn finish(mut self) -> Result<(W, Sealed), SealError> {
        if self.nodes.is_none() {
            return Err(SealError::NodeTable);
        }
        if let Some(pad) = envelope::padding(self.body.inner_len, self.header_len as u64) {
            self.body.write_all(&envelope::bstr_head(pad))?;
            std::io::copy(&mut std::io::Read::take(std::io::repeat(0), pad), &mut self.body)?;
        }
        self.finish_here()
    }

    fn finish_here(mut self) -> Result<(W, Sealed), SealError> {
        self.body.seal_chunk(true)?;
        let digest = Hash(self.body.sha.clone().finalize().into());
        let signature = self.signing_key.sign(FILE_CONTEXT, &digest.0);
        self.body.emit(&Trailer::signed_part(&signature))?;
        let crc = self.body.crc.clone().finalize();
        self.body.emit(&Trailer::crc_part(crc))?;
        self.body.out.flush()?;
        Ok((self.body.out, Sealed { len: self.body.len, digest }))
    }
}

/// Raw bytes a file of `len` bytes may unpack to.
pub(crate) fn raw_len_max(len: u64) -> u64 {
    len.saturating_mul(EXPANSION_FACTOR).saturating_add(EXPANSION_FLOOR).min(BUNDLE_LEN_MAX)
}

/// The file's bytes on their way out: plaintext collects in `chunk`; what is full and not the last is sealed and written.
struct Body<W> {
    out: W,
    cipher: ChaCha20Poly1305,
    chunk: Vec<u8>,
    index: u32,
    inner_len: u64,
    len: u64,
    sha: Sha256,
    crc: crc32fast::Hasher,
}

impl<W: Write> Body<W> {
    fn new(out: W, key: &[u8; 32]) -> Self {
        Self {
            out,
            cipher: ChaCha20Poly1305::new(&(*key).into()),
            chunk: Vec::with_capacity(CHUNK_LEN + TAG_LEN),
            index: 0,
            inner_len: 0,
            len: 0,
            sha: Sha256::new(),
            crc: crc32fast::Hasher::new(),
        }
    }

    fn emit(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.out.write_all(bytes)?;
        self.sha.update(bytes);
        self.crc.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Seal what has gathered under the next number, which never wraps (R5.3-b).
    fn seal_chunk(&mut self, last: bool) -> std::io::Result<()> {
        let nonce = envelope::chunk_nonce(self.index, last);
        let full = || std::io::Error::other("more chunks than a file may have");
        let mut chunk = std::mem::take(&mut self.chunk);
        let tag = self.cipher.encrypt_inout_detached(&nonce.into(), b"", chunk.as_mut_slice().into()).map_err(|_| full())?;
        self.index = self.index.checked_add(1).ok_or_else(full)?;
        chunk.extend_from_slice(&tag);
        self.emit(&envelope::bstr_head(chunk.len() as u64))?;
        self.emit(&chunk)?;
        chunk.clear();
        self.chunk = chunk;
        Ok(())
    }
}

impl<W: Write> Write for Body<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.chunk.len() == CHUNK_LEN && !bytes.is_empty() {
            self.seal_chunk(false)?;
        }
        let (taken, _) = bytes.split_at_checked(CHUNK_LEN - self.chunk.len()).unwrap_or((bytes, &[]));
        self.chunk.extend_from_slice(taken);
        self.inner_len += taken.len() as u64;
        Ok(taken.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ORDER_EIGHT, SealError, SealingPublic};
    use crate::error::Code;
    use std::io::{Error, ErrorKind};
    use x25519_dalek::{PublicKey, StaticSecret};

    /// A full stick is told as one, whoever counts its bytes.
    #[test]
    fn what_a_failed_write_is_told_as() {
        for (kind, code) in [(ErrorKind::StorageFull, Code::Z203), (ErrorKind::QuotaExceeded, Code::Z203), (ErrorKind::Other, Code::Z202)] {
            assert_eq!(SealError::Write(Error::from(kind)).code(), code, "{kind:?}");
        }
    }

    /// What the table is a short form of: clamped scalars are multiples of the cofactor, so any one of them tells.
    fn is_weak_by_multiplication(key: &[u8; 32]) -> bool {
        !StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(*key)).was_contributory()
    }

    #[test]
    fn the_table_of_weak_points_says_what_multiplication_says() {
        let near_zero = (0..40).map(|low| std::iter::once(low).chain([0; 31]).collect::<Vec<_>>());
        let near_prime = (0xd0..=0xff).map(|low| std::iter::once(low).chain([0xff; 30]).chain([0x7f]).collect::<Vec<_>>());
        let near_eight = ORDER_EIGHT.iter().flat_map(|point| [point[0] - 1, point[0], point[0] + 1].map(|low| [&[low], &point[1..]].concat()));
        let mut weak = 0;
        for spelled in near_zero.chain(near_prime).chain(near_eight) {
            for high in [0, 0x80] {
                let mut key: [u8; 32] = spelled.as_slice().try_into().unwrap();
                key[31] |= high;
                let expected = is_weak_by_multiplication(&key);
                assert_eq!(SealingPublic(key).is_weak(), expected, "{key:02x?}");
                weak += u32::from(expected);
            }
        }
        assert_eq!(weak, 14, "seven points, each with and without the bit that is ignored");
    }
}
