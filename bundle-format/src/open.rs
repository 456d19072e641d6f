//! Open: from the bytes of a file to events that may be believed, in three steps that only this module takes. SPEC §6.1.
//!
//! [`SealedBundle`] is whole and signed by the key it names; [`UnsealedBundle`] is for us; [`VerifiedBundle`] is of our domain, from a known sender,
//! and every event in it is what its origin signed. In: anything that reads and seeks. Out: ranges one at a time, in constant memory.
//! Invariants: nothing is decrypted before the signature is checked, nothing decompressed before the sender is known, nothing handed out before
//! everything is verified; the bytes handed out are the bytes that were signed, even if the file changes meanwhile. Not here: what to do with the
//! events (`ingest`), or whether we keep what we refuse.

mod error;
mod items;
mod pass;

pub use error::OpenError;

use crate::compress::Codec;
use crate::envelope::{self, FILE_CONTEXT, Header, SEAL_INFO, Trailer};
use crate::hpke;
use crate::ids::{DomainId, Hash, NodeId};
use crate::limits::{CHUNK_LEN, TAG_LEN};
use crate::manifest::Manifest;
use crate::range::VerifiedRange;
use crate::seal::SealingKey;
use crate::trust::Trust;
use crate::vector::Salt;
use items::Items;
use pass::{FirstPass, Walk};
use std::cmp::Ordering;
use std::io::{Read, Seek, SeekFrom};
use zeroize::Zeroizing;

/// What every chunk but the last holds, with its tag.
const FULL_CHUNK: usize = CHUNK_LEN + TAG_LEN;

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
    /// Read the whole file from its start: magic, header, framing, CRC, signature. Nothing is decrypted (R5.4-b).
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
    pub fn verify(mut self, trust: &mut dyn Trust) -> Result<VerifiedBundle<R>, OpenError> {
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
            let verified = items.open(range, Some(&*trust))?;
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
    /// [`OpenError::Changed`] when the file is no longer the one that was verified.
    pub fn next_range(&mut self) -> Result<Option<VerifiedRange>, OpenError> {
        let next = match self.items.range(&mut self.sealed, &self.manifest.nodes) {
            Ok(Some(range)) => self.items.open(range, None).map(Some),
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
