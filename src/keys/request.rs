//! The request file: a node shows its public keys and asks to be a member. SPEC §8.5.
//!
//! `["zbundle/1 request", {0: name, 2: node, 4: signing key, 6: sealing key, ? 8: key number}, signature, ? signature of the outgoing key]`,
//! both signatures over `"zbundle/1 request" 00 ‖` the map's bytes. About 220 bytes: it fits a QR code.

use super::secrets::NodeKeys;
use bundle_format::cbor::{self, Bytes, CborError, Keys, Reader};
use bundle_format::chain;
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Name, NodeId};
use bundle_format::seal::SealingPublic;
use bundle_format::sign::{Signature, SigningKey, VerifyingKey};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// A request with a long name and both signatures is 330 bytes; the rest is room for odd keys to come (R8.5-d).
pub const REQUEST_LEN_MAX: usize = 1024;
const TITLE: &str = "zbundle/1 request";
const CONTEXT: &[u8] = b"zbundle/1 request\0";

/// Why a request file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Longer than [`REQUEST_LEN_MAX`].
    #[error("longer than a request can be")]
    TooLong,
    /// Not the bytes of SPEC §8.5.
    #[error("not a request file: {0}")]
    Cbor(#[from] CborError),
    /// A signing or sealing key that is no key, or one anyone could use.
    #[error("the request holds a weak key")]
    WeakKey,
    /// The signature is not by the key it names, or a first request's node id is not of its key.
    #[error("the request's signature does not verify")]
    BadSignature,
    /// It asks for a name no node can have.
    #[error("the request asks for an impossible name")]
    BadName,
}

impl RequestError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLong | Self::Cbor(_) | Self::WeakKey | Self::BadSignature | Self::BadName => Code::Z609,
        }
    }
}

/// A request whose signature verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name it asks for, or has.
    pub name: Name,
    /// Its node id.
    pub node: NodeId,
    /// Its new signing key.
    pub signing: VerifyingKey,
    /// Its new sealing key.
    pub sealing: SealingPublic,
    /// 1 for a first request, above for new keys.
    pub key_number: u64,
    bytes: Vec<u8>,
    signed_len: (usize, usize),
    old_signature: Option<Signature>,
}

/// The signed map.
struct Asked<'a> {
    name: &'a str,
    node: NodeId,
    signing: VerifyingKey,
    sealing: SealingPublic,
    key_number: u64,
}

impl Serialize for Asked<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbered = self.key_number > 1;
        let mut map = serializer.serialize_map(Some(4 + usize::from(numbered)))?;
        map.serialize_entry(&0, self.name)?;
        map.serialize_entry(&2, &Bytes(&self.node.0))?;
        map.serialize_entry(&4, &Bytes(self.signing.as_bytes()))?;
        map.serialize_entry(&6, &Bytes(&self.sealing.0))?;
        if numbered {
            map.serialize_entry(&8, &self.key_number)?;
        }
        map.end()
    }
}

impl Request {
    /// The file that asks for `keys` to become the keys of `node`. `outgoing` is the key they replace, where it is still held.
    pub fn build(name: &Name, node: NodeId, keys: &NodeKeys, outgoing: Option<&SigningKey>) -> Vec<u8> {
        let asked =
            Asked { name: name.as_str(), node, signing: keys.signing.verifying_key(), sealing: keys.sealing.public(), key_number: keys.number };
        let map = cbor::to_vec(&asked);
        let signature = keys.signing.sign(CONTEXT, &map);
        let old = outgoing.map(|key| key.sign(CONTEXT, &map));
        let mut bytes = vec![0x83 + u8::from(old.is_some())]; // array of 3 or 4
        bytes.extend(cbor::to_vec(TITLE));
        bytes.extend(map);
        bytes.extend(cbor::to_vec(&Bytes(&signature.0)));
        if let Some(old) = old {
            bytes.extend(cbor::to_vec(&Bytes(&old.0)));
        }
        bytes
    }

    /// Read a request file and verify it under the key it shows.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        if bytes.len() > REQUEST_LEN_MAX {
            return Err(RequestError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        let count = reader.array()?;
        if !(3..=4).contains(&count) || reader.text()? != TITLE {
            return Err(CborError::Shape.into());
        }
        let map_at = reader.position();
        let (mut name, mut node, mut signing, mut sealing, mut key_number) = (None, None, None, None, None);
        let mut keys = reader.map()?;
        while let Some(key) = keys.next(&mut reader)? {
            match key {
                0 => name = Some(reader.text()?),
                2 => node = Some(NodeId(reader.bytes_exact()?)),
                4 => signing = Some(reader.bytes_exact()?),
                6 => sealing = Some(SealingPublic(reader.bytes_exact()?)),
                8 => key_number = Some(reader.uint()?).filter(|number| *number > 1),
                _ => Keys::unknown(key, &mut reader)?,
            }
            if key == 8 && key_number.is_none() {
                return Err(CborError::Shape.into()); // the first key is not numbered
            }
        }
        let map_end = reader.position();
        let signature = Signature(reader.bytes_exact()?);
        let old_signature = if count == 4 { Some(Signature(reader.bytes_exact()?)) } else { None };
        reader.finish()?;

        let signing = VerifyingKey::new(signing.ok_or(CborError::MissingKey(4))?).map_err(|_| RequestError::WeakKey)?;
        let sealing = sealing.ok_or(CborError::MissingKey(6))?;
        let node = node.ok_or(CborError::MissingKey(2))?;
        let name = name.ok_or(CborError::MissingKey(0))?;
        let request = Self {
            name: Name::new(name).map_err(|_| RequestError::BadName)?,
            node,
            signing,
            sealing,
            key_number: key_number.unwrap_or(1),
            bytes: bytes.to_vec(),
            signed_len: (map_at, map_end),
            old_signature,
        };
        if sealing.is_weak() {
            return Err(RequestError::WeakKey);
        }
        signing.verify(CONTEXT, request.signed(), &signature).map_err(|_| RequestError::BadSignature)?;
        let first = request.key_number == 1;
        if first && (node != signing.node_id() || old_signature.is_some()) { Err(RequestError::BadSignature) } else { Ok(request) }
    }

    fn signed(&self) -> &[u8] {
        &self.bytes[self.signed_len.0..self.signed_len.1]
    }

    /// Whether the holder of `key`, the outgoing one, signed it too: then the node has asked for new keys itself and has not lost the old.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        self.old_signature.is_some_and(|signature| key.verify(CONTEXT, self.signed(), &signature).is_ok())
    }

    /// Whether its old signature, when it bears one, is by `outgoing`, the key before the one it asks for.
    pub fn old_signature_fits(&self, outgoing: Option<&VerifyingKey>) -> bool {
        self.old_signature.is_none() || outgoing.is_some_and(|key| self.is_signed_by(key))
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the file: the join file names it.
    pub fn digest(&self) -> Hash {
        chain::hash(&[], &[&self.bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture::{node, secret, signing};
    use bundle_format::seal::SealingKey;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn keys(n: u8, number: u64) -> NodeKeys {
        NodeKeys { number, signing: secret(n), sealing: SealingKey::from_bytes([n; 32]) }
    }

    fn name() -> Name {
        Name::new("lunana-bhu").unwrap()
    }

    #[test]
    fn a_first_request_reads_back_and_is_small() {
        let bytes = Request::build(&name(), node(2), &keys(2, 1), None);
        let request = Request::read(&bytes).unwrap();
        assert_eq!((request.name.as_str(), request.node, request.signing, request.key_number), ("lunana-bhu", node(2), signing(2), 1));
        assert_eq!(request.bytes(), bytes);
        assert!(bytes.len() <= 200, "{} bytes", bytes.len());
    }

    #[test]
    fn new_keys_are_signed_by_the_old_one_where_it_is_held() {
        let with = Request::read(&Request::build(&name(), node(2), &keys(102, 2), Some(&secret(2)))).unwrap();
        assert_eq!((with.node, with.key_number), (node(2), 2));
        assert!(with.is_signed_by(&signing(2)) && !with.is_signed_by(&signing(3)) && !with.is_signed_by(&signing(102)));
        let without = Request::read(&Request::build(&name(), node(2), &keys(102, 2), None)).unwrap();
        assert!(!without.is_signed_by(&signing(2)));
    }

    #[test]
    fn a_first_request_speaks_for_its_own_key_only() {
        let foreign = Request::build(&name(), node(3), &keys(2, 1), None);
        assert_eq!(Request::read(&foreign), Err(RequestError::BadSignature));
        let twice = Request::build(&name(), node(2), &keys(2, 1), Some(&secret(3)));
        assert_eq!(Request::read(&twice), Err(RequestError::BadSignature));
    }

    #[test]
    fn what_is_no_request_is_refused_by_its_reason() {
        let good = Request::build(&name(), node(2), &keys(2, 1), None);
        let mut weak = good.clone();
        let at = weak.windows(32).position(|window| window == keys(2, 1).sealing.public().0).unwrap();
        weak[at..at + 32].fill(0);
        assert_eq!(Request::read(&weak), Err(RequestError::WeakKey));
        assert_eq!(Request::read(&[0; REQUEST_LEN_MAX + 1]), Err(RequestError::TooLong));
        assert_eq!(Request::read(&[good, vec![0]].concat()), Err(RequestError::Cbor(CborError::Trailing)));
        for code in [RequestError::TooLong.code(), RequestError::BadSignature.code()] {
            assert_eq!(code, Code::Z609);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_changed_request_is_refused(at in any::<proptest::sample::Index>(), flip in 1u8..=255, cut in any::<proptest::sample::Index>()) {
            static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| Request::build(&name(), node(2), &keys(102, 2), Some(&secret(2))));
            let good = &*GOOD;
            prop_assert!(Request::read(&good[..cut.index(good.len())]).is_err());
            let mut bad = good.clone();
            bad[at.index(good.len())] ^= flip;
            // The old key's signature is judged by who knows that key.
            prop_assert!(Request::read(&bad).map_or(true, |request| !request.is_signed_by(&signing(2))));
        }
    }
}
