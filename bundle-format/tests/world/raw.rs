//! A second writer of bundles, which shares no code with the crate: `ciborium` values, the crates `hpke` and `aead-stream`, `ed25519-dalek`, a CRC.
//! What it writes the crate must open; what it writes wrongly, on purpose, the crate must refuse.

use super::World;
use aead_stream::EncryptorBE32;
use bundle_format::ids::Origin;
use bundle_format::range::Range;
use bundle_format::sign::SigningKey;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use ciborium::Value;
use ed25519_dalek::Signer as _;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Serializable as _};
use sha2::{Digest as _, Sha256};

pub type Map = Vec<(Value, Value)>;
pub const CONTENT_KEY: [u8; 32] = [5; 32];
pub const MAGIC: [u8; 12] = [0xd9, 0xd9, 0xf8, 0xda, 0x5a, 0x42, 0x4e, 0x31, 0x43, 0x42, 0x4f, 0x52];

struct Counting(u8);

impl TryRng for Counting {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(37);
            *byte = self.0;
        }
        Ok(())
    }
}
impl TryCryptoRng for Counting {}

pub fn uint(number: u64) -> Value {
    Value::Integer(number.into())
}

pub fn bytes(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bytes(bytes.as_ref().to_vec())
}

pub fn cbor(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).unwrap();
    out
}

pub fn map(map: Map) -> Vec<u8> {
    cbor(&Value::Map(map))
}

/// Put `value` under `key`, in place or where it belongs.
pub fn set(map: &mut Map, key: u64, value: Value) {
    unset(map, key);
    let number = |key: &Value| u64::try_from(key.as_integer().unwrap()).unwrap();
    let place = map.iter().take_while(|(other, _)| number(other) < key).count();
    map.insert(place, (uint(key), value));
}

pub fn unset(map: &mut Map, key: u64) {
    map.retain(|(other, _)| *other != uint(key));
}

/// `[hint, enc ‖ sealed content key]`, by the crate `hpke`.
pub fn recipient(public: &[u8; 32]) -> Value {
    use hpke::aead::ChaCha20Poly1305 as Aead;
    use hpke::kdf::HkdfSha256 as Kdf;
    use hpke::kem::X25519HkdfSha256 as Kem;
    let key = <Kem as hpke::Kem>::PublicKey::from_bytes(public).unwrap();
    let (enc, sealed) =
        hpke::single_shot_seal_with_rng::<Aead, Kdf, Kem>(&hpke::OpModeS::Base, &key, b"zbundle/1 seal", &CONTENT_KEY, b"", &mut Counting(3))
            .unwrap();
    let enc = enc.to_bytes();
    let hint = Sha256::new().chain_update(enc).chain_update(public).finalize();
    Value::Array(vec![bytes(&hint[..4]), bytes([enc.as_slice(), sealed.as_slice()].concat())])
}

pub fn header(world: &World) -> Map {
    let key = world.authority.verifying_key();
    vec![
        (uint(0), uint(1)),
        (uint(2), bytes(&world.domain().0[..4])),
        (uint(4), bytes(key.node_id().0)),
        (uint(6), bytes(key.as_bytes())),
        (uint(8), Value::Array(vec![recipient(&world.hub.public().0)])),
    ]
}

fn origin_fields(nodes: &[[u8; 8]], origin: &Origin) -> Vec<Value> {
    let index = |node: &[u8; 8]| uint(nodes.iter().position(|other| other == node).unwrap() as u64);
    let audience = origin.audience.map_or(Value::Null, |node| index(&node.0));
    vec![index(&origin.node.0), bytes(origin.incarnation.0), uint(origin.lane as u64), audience]
}

pub fn nodes(ranges: &[Range]) -> Vec<[u8; 8]> {
    let mut nodes: Vec<_> = ranges.iter().map(|range| range.origin.node.0).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

pub fn manifest(ranges: &[Range]) -> Map {
    vec![(uint(0), Value::Array(nodes(ranges).iter().map(bytes).collect())), (uint(1), Value::Array(vec![]))]
}

pub fn range(nodes: &[[u8; 8]], range: &Range) -> Map {
    let checkpoint = |(offset, checkpoint): &(u64, bundle_format::checkpoint::Checkpoint)| {
        Value::Array(vec![uint(*offset), Value::Array(vec![uint(checkpoint.key_number), bytes(checkpoint.signature.0)])])
    };
    let mut map = vec![
        (uint(0), Value::Array(origin_fields(nodes, &range.origin))),
        (uint(2), uint(range.first)),
        (uint(4), uint(range.count)),
        (uint(6), Value::Array(vec![uint(range.codec as u64), uint(range.raw_len as u64)])),
        (uint(8), bytes(&range.data)),
        (uint(10), Value::Array(range.checkpoints.iter().map(checkpoint).collect())),
    ];
    map.extend(range.base.map(|base| (uint(12), bytes(base.0))));
    map.extend(range.prefix.map(|(first, count)| (uint(14), Value::Array(vec![uint(first), uint(count)]))));
    map
}

/// Manifest and ranges, one after the other.
pub fn inner(ranges: &[Range]) -> Vec<u8> {
    let nodes = nodes(ranges);
    ranges.iter().fold(map(manifest(ranges)), |inner, one| [inner, map(range(&nodes, one))].concat())
}

/// The sealed chunks of `inner`, by `aead-stream`; each without its byte string's head.
pub fn chunks(header: &[u8], inner: &[u8]) -> Vec<Vec<u8>> {
    let mut key = [0; 32];
    let salt = Sha256::digest(header);
    hkdf::Hkdf::<Sha256>::from_prk(&CONTENT_KEY).unwrap().expand_multi_info(&[b"zbundle/1 chunks\0", &salt], &mut key).unwrap();
    let mut stream = EncryptorBE32::from_aead(ChaCha20Poly1305::new(&key.into()), &[0; 7].into());
    let mut parts: Vec<&[u8]> = inner.chunks(65536).collect();
    let last = parts.pop().unwrap();
    let mut sealed: Vec<Vec<u8>> = parts.into_iter().map(|part| stream.encrypt_next(part).unwrap()).collect();
    sealed.push(stream.encrypt_last(last).unwrap());
    sealed
}

pub fn body(header: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    let items = chunks.iter().map(|chunk| cbor(&bytes(chunk)));
    items.fold([MAGIC.as_slice(), header].concat(), |body, item| [body, item].concat())
}

/// `body` with a good trailer: whatever is wrong with it was meant.
pub fn signed(key: &SigningKey, body: Vec<u8>) -> Vec<u8> {
    let message = [b"zbundle/1 file\0".as_slice(), &Sha256::digest(&body)].concat();
    let signature = ed25519_dalek::SigningKey::from_bytes(&key.seed()).sign(&message).to_bytes();
    with_crc([body, vec![0x82, 0x58, 64], signature.to_vec()].concat())
}

pub fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes).to_be_bytes();
    bytes.push(0x44);
    bytes.extend(crc);
    bytes
}

/// A whole file from its clear and its inner bytes.
pub fn file(world: &World, header: Map, inner: &[u8]) -> Vec<u8> {
    let header = map(header);
    signed(&world.authority, body(&header, &chunks(&header, inner)))
}
