//! The secrets a keyring holds: key pairs of the node, keys of its data at rest. Wiped when dropped, never printed.

use crate::ports::entropy::{Entropy, random};
use bundle_format::cbor::{Bytes, CborError, Reader};
use bundle_format::seal::SealingKey;
use bundle_format::sign::SigningKey;
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::Zeroizing;

/// A signing and a sealing key with their number in the roster.
#[derive(Debug)]
pub struct NodeKeys {
    /// 1 at enrolment, one more with each rekey.
    pub number: u64,
    /// Signs.
    pub signing: SigningKey,
    /// Opens what is sealed for us.
    pub sealing: SealingKey,
}

impl NodeKeys {
    /// A new pair (R8.1-a).
    pub fn generate(number: u64, entropy: &dyn Entropy) -> Self {
        let signing = Zeroizing::new(random::<32>(entropy));
        let sealing = Zeroizing::new(random::<32>(entropy));
        Self { number, signing: SigningKey::from_seed(&signing), sealing: SealingKey::from_bytes(*sealing) }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_exact(3)?;
        let number = reader.uint()?;
        let signing = Zeroizing::new(reader.bytes_exact()?);
        let sealing = Zeroizing::new(reader.bytes_exact()?);
        Ok(Self { number, signing: SigningKey::from_seed(&signing), sealing: SealingKey::from_bytes(*sealing) })
    }
}

impl Serialize for NodeKeys {
    /// `[number: uint, signing seed: bstr .size 32, sealing key: bstr .size 32]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.number, Bytes(&*self.signing.seed()), Bytes(&*self.sealing.bytes())).serialize(serializer)
    }
}

/// Keys of the data at rest, by id. Old ones stay for what they wrote; the newest writes.
#[derive(Clone, Default)]
pub struct DataKeys(BTreeMap<u32, Zeroizing<[u8; 32]>>);

impl DataKeys {
    /// One new key with id 1.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut keys = Self::default();
        keys.add(entropy);
        keys
    }

    /// A new key; it writes from now on.
    pub fn add(&mut self, entropy: &dyn Entropy) -> u32 {
        let id = self.0.last_key_value().map_or(1, |(id, _)| id + 1);
        self.0.insert(id, Zeroizing::new(random(entropy)));
        id
    }

    pub(super) fn insert(&mut self, id: u32, key: Zeroizing<[u8; 32]>) {
        self.0.insert(id, key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of this id.
    pub fn get(&self, id: u32) -> Option<&[u8; 32]> {
        self.0.get(&id).map(|key| &**key)
    }

    /// The key that writes, with its id.
    ///
    /// # Panics
    /// Never: a keyring without a data key is not read.
    pub fn current(&self) -> (u32, &[u8; 32]) {
        let (id, key) = self.0.last_key_value().expect("generate makes one and read refuses none");
        (*id, key)
    }
}

impl fmt::Debug for DataKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataKeys").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

impl Serialize for DataKeys {
    /// `[+ [id: uint, key: bstr .size 32]]`, ascending.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(id, key)| (id, Bytes(&**key))))
    }
}
