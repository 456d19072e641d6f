//! The envelope: what a file shows to everyone. Magic, header, the frames of its chunks, trailer, and its length. SPEC §5.
//!
//! In: bytes of a file. Out: who sealed it, for how many, and where its parts stand. Not here: what needs a key (`seal`, `open`).

use crate::cbor::{self, Bytes, CborError, Keys, Reader};
use crate::hpke::SEALED_LEN;
use crate::ids::{DomainId, Lane, NodeId};
use crate::limits::{CHUNK_LEN, RECIPIENT_COUNT_MAX, TAG_LEN};
use crate::sign::{Signature, VerifyingKey};
use crate::vector::Salt;
use hkdf::Hkdf;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The first 12 bytes: RFC 9277's label for a CBOR sequence with our number, `55800(1514294833("BOR"))`.
pub const MAGIC: [u8; 12] = *b"\xd9\xd9\xf8\xda\x5a\x42\x4e\x31\x43\x42\x4f\x52";
/// Version of the format and of its one suite.
pub const VERSION: u64 = 1;
/// `[sig, crc]`: always the last bytes of a file.
pub const TRAILER_LEN: usize = 72;
/// What the CRC does not cover: its own byte string.
pub const CRC_ITEM_LEN: usize = 5;
/// What the trailer's signature signs is prefixed with this.
pub(crate) const FILE_CONTEXT: &[u8] = b"zbundle/1 file\0";
/// HPKE's info.
pub(crate) const SEAL_INFO: &[u8] = b"zbundle/1 seal";
const CHUNKS_INFO: &[u8] = b"zbundle/1 chunks\0";
const TRAILER_HEAD: [u8; 3] = [0x82, 0x58, 0x40];
const CRC_HEAD: u8 = 0x44;

/// Whom a file is sealed for: recognised by whoever knows the recipient's key, by nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `SHA-256(enc ‖ recipient's public sealing key)[0..4]`.
    pub hint: [u8; 4],
    /// The content key, sealed for this recipient: HPKE `enc ‖ ciphertext ‖ tag`.
    pub sealed_key: [u8; SEALED_LEN],
}

impl Recipient {
    /// The hint of a sealed key for the holder of `public` (R5.2-b).
    pub fn hint_of(sealed_key: &[u8; SEALED_LEN], public: &[u8; 32]) -> [u8; 4] {
        let enc = sealed_key.first_chunk::<32>().unwrap_or(&[0; 32]);
        first4(&Sha256::new().chain_update(enc).chain_update(public).finalize())
    }

    /// Whether this is for the holder of `public` (one false yes in 2^32).
    pub fn is_for(&self, public: &[u8; 32]) -> bool {
        self.hint == Self::hint_of(&self.sealed_key, public)
    }
}

fn first4(bytes: &[u8]) -> [u8; 4] {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// The clear part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1: when, by the sender's clock, in seconds since 1970. Advisory: never trusted.
    pub created: Option<u64>,
    /// 2: the first bytes of the domain.
    pub domain_hint: [u8; 4],
    /// 3: the most urgent lane inside, so that couriers can sort.
    pub best_lane: Option<Lane>,
    /// 4: who sealed it.
    pub sender: NodeId,
    /// 6: the key the trailer's signature verifies under. Whether it is the sender's, only a roster tells.
    pub sender_key: VerifyingKey,
    /// 8: 1 to 64.
    pub recipients: Vec<Recipient>,
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not the deterministic map the grammar asks for.
    #[error("{0}")]
    Cbor(#[from] CborError),
    /// Another version of the format.
    #[error("version {0}")]
    Version(u64),
    /// More recipients than a file may have.
    #[error("{0} recipients")]
    Recipients(usize),
    /// The sender's key is not a usable Ed25519 key.
    #[error("the sender's key is not a usable Ed25519 key")]
    WeakKey,
}

impl Header {
    /// The header's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Read the header that stands next in `reader`.
    ///
    /// # Errors
    /// [`HeaderError`]; [`CborError::Short`] when the bytes end inside it.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, HeaderError> {
        check_version(reader.clone())?;
        let mut keys = reader.map()?;
        let (mut created, mut domain_hint, mut best_lane) = (None, None, None);
        let (mut sender, mut sender_key, mut recipients) = (None, None, None);
        while let Some(key) = keys.next(reader)? {
            match key {
                0 => _ = reader.uint()?,
                1 => created = Some(reader.uint()?),
                2 => domain_hint = Some(reader.bytes_exact()?),
                3 => best_lane = Some(Lane::from_number(reader.uint()?).ok_or(CborError::Shape)?),
                4 => sender = Some(NodeId(reader.bytes_exact()?)),
                6 => sender_key = Some(reader.bytes_exact()?),
                8 => recipients = Some(read_recipients(reader)?),
                _ => Keys::unknown(key, reader)?,
            }
        }
        Ok(Self {
            created,
            domain_hint: domain_hint.ok_or(CborError::MissingKey(2))?,
            best_lane,
            sender: sender.ok_or(CborError::MissingKey(4))?,
            sender_key: VerifyingKey::new(sender_key.ok_or(CborError::MissingKey(6))?).map_err(|_| HeaderError::WeakKey)?,
            recipients: recipients.ok_or(CborError::MissingKey(8))?,
        })
    }

    /// Whether the file is of `domain`, as far as a hint can tell.
    pub fn is_of(&self, domain: &DomainId) -> bool {
        self.domain_hint == domain.hint()
    }
}

/// The version comes first and is judged first, whatever else stands there or does not: a later one may change every other rule (R4.1-c).
fn check_version(mut reader: Reader<'_>) -> Result<(), HeaderError> {
    if reader.map_head()? == 0 || reader.uint()? != 0 {
        return Err(CborError::MissingKey(0).into());
    }
    match reader.uint()? {
        VERSION => Ok(()),
        other => Err(HeaderError::Version(other)),
    }
}

fn read_recipients(reader: &mut Reader<'_>) -> Result<Vec<Recipient>, HeaderError> {
    let count = match reader.array()? {
        0 => return Err(CborError::Shape.into()),
        count if count > RECIPIENT_COUNT_MAX => return Err(HeaderError::Recipients(count)),
        count => count,
    };
    let recipient = |_| {
        reader.array_exact(2)?;
        Ok(Recipient { hint: reader.bytes_exact()?, sealed_key: reader.bytes_exact()? })
    };
    (0..count).map(recipient).collect()
}

impl Serialize for Recipient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Bytes(&self.hint), Bytes(&self.sealed_key)).serialize(serializer)
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = 5 + usize::from(self.created.is_some()) + usize::from(self.best_lane.is_some());
        let mut map = serializer.serialize_map(Some(count))?;
        map.serialize_entry(&0, &VERSION)?;
        self.created.iter().try_for_each(|created| map.serialize_entry(&1, created))?;
        map.serialize_entry(&2, &Bytes(&self.domain_hint))?;
        self.best_lane.iter().try_for_each(|lane| map.serialize_entry(&3, &(*lane as u8)))?;
        map.serialize_entry(&4, &Bytes(&self.sender.0))?;
        map.serialize_entry(&6, &Bytes(self.sender_key.as_bytes()))?;
        map.serialize_entry(&8, &self.recipients)?;
        map.end()
    }
}

/// `SHA-256(header)`: salts the tags of the manifest's vector and binds the chunk key to the header.
pub fn salt_of(header: &[u8]) -> Salt {
    Salt(Sha256::digest(header).into())
}

/// `HKDF-Expand(content key, "zbundle/1 chunks" 00 ‖ SHA-256(header), 32)`: any change of the header changes the key (R5.1-b).
pub(crate) fn chunk_key(content_key: &[u8; 32], salt: &Salt) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "32 bytes are a possible PRK and a possible output of HKDF-SHA256 (RFC 5869 §2.3)")]
    Hkdf::<Sha256>::from_prk(content_key)
        .expect("32 bytes are enough of a PRK")
        .expand_multi_info(&[CHUNKS_INFO, &salt.0], key.as_mut_slice())
        .expect("32 bytes can be expanded");
    key
}

/// STREAM: 7 zero bytes ‖ u32be(index) ‖ last flag, so that chunks cannot change places, go missing or be added.
pub(crate) fn chunk_nonce(index: u32, last: bool) -> [u8; 12] {
    let [a, b, c, d] = index.to_be_bytes();
    [0, 0, 0, 0, 0, 0, 0, a, b, c, d, u8::from(last)]
}

/// The last item of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Ed25519 by the sender over the digest of everything before the trailer.
    pub signature: Signature,
    /// CRC-32 over everything before its own byte string: tells rot from forgery without a key.
    pub crc: u32,
}

impl Trailer {
    /// The part the CRC covers: all but the last [`CRC_ITEM_LEN`] bytes.
    pub(crate) fn signed_part(signature: &Signature) -> Vec<u8> {
        [&TRAILER_HEAD, signature.0.as_slice()].concat()
    }

    /// The part the CRC does not cover.
    pub(crate) fn crc_part(crc: u32) -> [u8; CRC_ITEM_LEN] {
        let [a, b, c, d] = crc.to_be_bytes();
        [CRC_HEAD, a, b, c, d]
    }

    /// Whether `bytes`, of which more may be missing, can be what a trailer begins with (R6.1-a).
    pub(crate) fn can_begin_with(bytes: &[u8]) -> bool {
        let agree = |at: usize, wanted: &[u8]| bytes.iter().skip(at).zip(wanted).all(|(byte, wanted)| byte == wanted);
        agree(0, &TRAILER_HEAD) && agree(TRAILER_LEN - CRC_ITEM_LEN, &[CRC_HEAD])
    }

    /// From the last bytes of a file; `None` when they have not a trailer's shape.
    pub fn from_bytes(bytes: &[u8; TRAILER_LEN]) -> Option<Self> {
        let rest = bytes.strip_prefix(&TRAILER_HEAD)?;
        let (signature, rest) = rest.split_first_chunk()?;
        let [CRC_HEAD, crc @ ..] = rest else { return None };
        Some(Self { signature: Signature(*signature), crc: u32::from_be_bytes(crc.try_into().ok()?) })
    }
}

/// Length of a byte string's head.
pub(crate) const fn bstr_head_len(len: u64) -> u64 {
    match len {
        0..24 => 1,
        24..0x100 => 2,
        0x100..0x1_0000 => 3,
        0x1_0000..0x1_0000_0000 => 5,
        _ => 9,
    }
}

/// A byte string's head, shortest form.
pub(crate) fn bstr_head(len: u64) -> Vec<u8> {
    let bytes = len.to_be_bytes();
    let width = usize::try_from(bstr_head_len(len)).unwrap_or(9) - 1;
    let low = bytes.get(8 - width..).unwrap_or_default();
    match width {
        0 => vec![0x40 | u8::try_from(len).unwrap_or(0)],
        1 => [&[0x58], low].concat(),
        2 => [&[0x59], low].concat(),
        4 => [&[0x5a], low].concat(),
        _ => [&[0x5b], low].concat(),
    }
}

const CHUNK: u64 = CHUNK_LEN as u64;
const TAG: u64 = TAG_LEN as u64;

/// Bytes of one chunk with `plain` bytes in it.
pub(crate) const fn chunk_len(plain: u64) -> u64 {
    bstr_head_len(plain + TAG) + plain + TAG
}

/// Length of a file with `inner` plaintext bytes (at least 1), padding not added (R4.5-c).
pub(crate) fn bare_len(inner: u64, header: u64) -> u64 {
    let full = inner.saturating_sub(1) / CHUNK;
    MAGIC.len() as u64 + header + full * chunk_len(CHUNK) + chunk_len(inner - full * CHUNK) + TRAILER_LEN as u64
}

/// Padmé (Nikitin et al., PETS 2019): the next length whose low bits are zero, so that a length tells at most O(log log len) bits; ≤ 12 % more.
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let low_bits = exponent - (exponent.ilog2() + 1);
    let mask = (1u64 << low_bits) - 1;
    len.saturating_add(mask) & !mask
}

/// How a file with `inner` bytes is padded: `None` when its length is a Padmé length already, else the length of the pad's content.
pub(crate) fn padding(inner: u64, header: u64) -> Option<u64> {
    let bare = bare_len(inner, header);
    let mut target = padme(bare);
    if target == bare {
        return None;
    }
    loop {
        if let Some(pad) = pad_reaching(target, inner, header) {
            return Some(pad);
        }
        target = padme(target + 1);
    }
}

/// The pad that makes the file exactly `target` long, if one does: heads of byte strings leave a few lengths out.
fn pad_reaching(target: u64, inner: u64, header: u64) -> Option<u64> {
    let (mut low, mut high) = (inner + 1, target); // a file is longer than what it holds
    while low < high {
        let middle = low.midpoint(high);
        if bare_len(middle, header) < target { low = middle + 1 } else { high = middle }
    }
    let item = low - inner;
    let fits = |head: &u64| item.checked_sub(*head).is_some_and(|pad| bstr_head_len(pad) == *head);
    (bare_len(low, header) == target).then(|| [1, 2, 3, 5, 9].into_iter().find(fits).map(|head| item - head))?
}

/// Length of a finished file with `inner` plaintext bytes (manifest and ranges) and a header of `header` bytes: padding, tags, trailer and all.
pub fn sealed_len(inner: u64, header: usize) -> u64 {
    let header = header as u64;
    let pad = padding(inner, header).map_or(0, |pad| bstr_head_len(pad) + pad);
    bare_len(inner + pad, header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padme_length_is_its_own_and_at_most_an_eighth_more() {
        for (len, padded) in [(0, 0), (1, 1), (2, 2), (9, 10), (460, 464), (1000, 1024), (1 << 20, 1 << 20), ((1 << 20) + 1, (1 << 20) + (1 << 15))] {
            assert_eq!(padme(len), padded, "{len}");
        }
        for len in (1..5000).chain([1 << 16, (1 << 31) + 12_345, (1 << 32) - 1]) {
            assert!((len..=len + len / 8).contains(&padme(len)) && padme(padme(len)) == padme(len), "{len}");
        }
    }

    /// Length of an inner sequence with `inner` bytes before a pad of `pad` zeros.
    fn with_pad(inner: u64, pad: u64) -> u64 {
        inner + bstr_head_len(pad) + pad
    }

    #[test]
    fn a_file_has_the_next_padme_length_that_a_pad_can_reach() {
        let header = 158;
        let (short, long) = if cfg!(miri) { (1..60, 0..0) } else { (1..700, 65_000..66_200) }; // an interpreter takes hours for all of them
        for inner in short.chain(long).chain([131_060, 131_072, 131_073, 1_000_000].into_iter().filter(|_| !cfg!(miri))) {
            let found = sealed_len(inner, header);
            assert_eq!(padme(found), found, "{inner}");
            let reachable = |len: u64| bare_len(inner, 158) == len || (0..=len).any(|pad| bare_len(with_pad(inner, pad), 158) == len);
            let skipped = (bare_len(inner, 158)..found).filter(|len| padme(*len) == *len);
            let most_looked_at = if inner < 700 { usize::MAX } else { 3 };
            assert!(!skipped.take(most_looked_at).any(reachable), "{inner}: a shorter one would do");
        }
    }

    #[test]
    fn heads_are_as_long_as_they_say() {
        for len in [0, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32] {
            assert_eq!(bstr_head(len).len() as u64, bstr_head_len(len));
            assert_eq!(Reader::new(&bstr_head(len)).bytes_head(), Ok(len));
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let sender_key = crate::sign::SigningKey::from_seed(&[1; 32]).verifying_key();
        let recipient = Recipient { hint: [1; 4], sealed_key: [2; SEALED_LEN] };
        for (created, best_lane, count) in [(None, None, 1), (Some(1_700_000_000), Some(Lane::Urgent), 64)] {
            let recipients = vec![recipient; count];
            let header = Header { created, domain_hint: [3; 4], best_lane, sender: sender_key.node_id(), sender_key, recipients };
            let bytes = header.to_bytes();
            assert!(bytes.len() <= crate::limits::HEADER_LEN_MAX);
            assert_eq!(Header::read(&mut Reader::new(&bytes)), Ok(header));
        }
    }
}
