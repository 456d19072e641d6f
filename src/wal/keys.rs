//! The data keys of a log, and the key one writer session makes of one of them.
//!
//! Session key = HKDF-SHA-256(data key, salt = 16 random bytes, info = "zbundle/1 wal session" 00 ‖ u32be segment). It lives in one segment and one
//! writer, so a truncated tail or a restored image never meets its nonces again. Nonce = u32be segment ‖ u64be byte offset of the frame: the log
//! grows at its end alone, so no session writes one offset twice (a writer whose write failed is poisoned).

use super::frame::{HEAD_LEN, TAG_LEN};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a session's salt.
pub const SALT_LEN: usize = 16;

/// The keys a log is sealed with, by number; new sessions use the current one. Wiped when dropped.
#[derive(Clone)]
pub struct DataKeys {
    current: u32,
    keys: BTreeMap<u32, Zeroizing<[u8; 32]>>,
}

impl DataKeys {
    /// One key, the current one.
    pub fn new(id: u32, key: [u8; 32]) -> Self {
        Self { current: id, keys: BTreeMap::from([(id, Zeroizing::new(key))]) }
    }

    /// With an older key, to read what it sealed.
    #[must_use]
    pub fn with_old(mut self, id: u32, key: [u8; 32]) -> Self {
        self.keys.entry(id).or_insert(Zeroizing::new(key));
        self
    }

    /// The number of the key new sessions use.
    pub fn current(&self) -> u32 {
        self.current
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKeys(current {}, of {})", self.current, self.keys.len())
    }
}

/// Where a session begins, and what its key is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Offset of its session frame: it covers all frames from there to the next one.
    pub offset: u32,
    /// Number of the data key.
    pub key_id: u32,
    /// Random.
    pub salt: [u8; SALT_LEN],
}

/// The cipher of one session in one segment.
pub(super) struct SessionKey {
    cipher: ChaCha20Poly1305,
    segment: u32,
    #[cfg(test)]
    salt: [u8; SALT_LEN],
}

/// Salt, segment, offset.
#[cfg(test)]
type Nonces = std::collections::HashSet<([u8; SALT_LEN], u32, u64)>;

#[cfg(test)]
thread_local! {
    /// Every nonce sealed with in this thread, while a test wants to know.
    pub(super) static NONCES: std::cell::RefCell<Option<Nonces>> = const { std::cell::RefCell::new(None) };
}

impl SessionKey {
    /// `None` when that data key is not ours (R10.3-a).
    pub fn new(keys: &DataKeys, segment: u32, session: &Session) -> Option<Self> {
        let data_key = keys.keys.get(&session.key_id)?;
        let mut key = Zeroizing::new([0; 32]);
        let info = [b"zbundle/1 wal session\0".as_slice(), &segment.to_be_bytes()].concat();
        let hkdf = hkdf::Hkdf::<sha2::Sha256>::new(Some(&session.salt), data_key.as_slice());
        hkdf.expand(&info, key.as_mut_slice()).expect("HKDF gives up to 8160 bytes");
        Some(Self {
            cipher: ChaCha20Poly1305::new((&*key).into()),
            segment,
            #[cfg(test)]
            salt: session.salt,
        })
    }

    /// Seal `body` in place; `head` is the frame's head from its kind on (R10.3-b).
    pub fn seal(&self, offset: u64, head: &[u8], body: &mut [u8]) -> [u8; TAG_LEN] {
        #[cfg(test)]
        NONCES.with_borrow_mut(|nonces| {
            assert!(nonces.as_mut().is_none_or(|nonces| nonces.insert((self.salt, self.segment, offset))), "a nonce is used twice");
        });
        let tag = self.cipher.encrypt_inout_detached(&self.nonce(offset).into(), &self.aad(offset, head), body.into());
        tag.expect("a frame is far below ChaCha20's 256 GiB").into()
    }

    /// Open `body` in place; `false` when it is not what this session sealed at this place under this head.
    pub fn open(&self, offset: u64, head: &[u8], body: &mut [u8], tag: &[u8; TAG_LEN]) -> bool {
        let aad = self.aad(offset, head);
        self.cipher.decrypt_inout_detached(&self.nonce(offset).into(), &aad, body.into(), tag.into()).is_ok()
    }

    fn nonce(&self, offset: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.segment.to_be_bytes());
        nonce[4..].copy_from_slice(&offset.to_be_bytes());
        nonce
    }

    /// u32be segment ‖ u64be offset ‖ kind, stream, first seq, count, hlc as they stand in the frame.
    fn aad(&self, offset: u64, head: &[u8]) -> [u8; 12 + HEAD_LEN - 8] {
        let mut aad = [0; 12 + HEAD_LEN - 8];
        aad[..12].copy_from_slice(&self.nonce(offset));
        aad[12..].copy_from_slice(head);
        aad
    }
}
