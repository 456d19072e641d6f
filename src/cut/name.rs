//! The name of a bundle's file: opaque to a finder, the same for the same content, so that a second run finds its work done. SPEC §10.6 (R10.6-c).

use crate::ports::store::Stream;
use bundle_format::cbor::{self, Bytes};
use bundle_format::ids::{Incarnation, NodeId, Origin};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What the name is made of.
pub struct Named<'a> {
    /// For whom.
    pub recipients: &'a [NodeId],
    /// Which ranges: stream, first, last, and the beginning of the chain hash there: a card that was put back gives old numbers to new events.
    pub ranges: &'a [(Stream, u64, u64, [u8; 8])],
    /// The vector that rides along, without tags.
    pub vector: &'a [(Origin, u64)],
    /// How far the roster is known.
    pub roster_seq: u64,
    /// In which life: what the one before told is not told any more.
    pub incarnation: Incarnation,
}

/// `[a-z2-7]{26}.zb`: base32 of 16 bytes of HMAC(HKDF(data key, "zbundle/1 name"), …) (R10.6-a).
///
/// # Panics
/// Never: HMAC takes keys of any length and 32 bytes of HKDF output are within its bound.
pub fn file_name(data_key: &[u8; 32], named: &Named<'_>) -> String {
    let mut key = [0; 32];
    Hkdf::<Sha256>::from_prk(data_key)
        .and_then(|hkdf| hkdf.expand(b"zbundle/1 name", &mut key).map_err(|_| hkdf::InvalidPrkLength))
        .expect("32 in, 32 out");
    let recipients: Vec<_> = named.recipients.iter().map(|node| Bytes(&node.0)).collect();
    let branch = |stream: &Stream| stream.branch.unwrap_or_default();
    let ranges: Vec<_> = named.ranges.iter().map(|(stream, first, last, chain)| (stream.origin, branch(stream), first, last, chain)).collect();
    let ranges: Vec<_> = ranges.iter().map(|(origin, branch, first, last, chain)| (origin, Bytes(branch), first, last, Bytes(*chain))).collect();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any key length");
    mac.update(&cbor::to_vec(&(recipients, ranges, named.vector, named.roster_seq, Bytes(&named.incarnation.0))));
    let digest = mac.finalize().into_bytes();
    format!("{}.zb", data_encoding::BASE32_NOPAD.encode(&digest[..16]).to_lowercase())
}

/// Whether a file is named as one of ours could be.
pub fn is_bundle_name(name: &str) -> bool {
    let stem = name.strip_suffix(".zb").unwrap_or("");
    stem.len() == 26 && stem.bytes().all(|byte| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::ids::Lane;

    #[test]
    fn equal_content_has_one_name_and_any_difference_another() {
        let name = |key: u8, recipient: u8, roster_seq, life: u8| {
            let (recipients, incarnation) = (&[NodeId([recipient; 8])], Incarnation([life; 4]));
            file_name(&[key; 32], &Named { recipients, ranges: &[], vector: &[], roster_seq, incarnation })
        };
        assert_eq!(name(1, 1, 1, 1), name(1, 1, 1, 1));
        assert!(is_bundle_name(&name(1, 1, 1, 1)));
        let others = [name(2, 1, 1, 1), name(1, 2, 1, 1), name(1, 1, 2, 1), name(1, 1, 1, 2)];
        assert!(others.iter().all(|other| *other != name(1, 1, 1, 1)));
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };
        let with = |chain: u8| {
            let ranges = &[(Stream::main(origin), 1, 2, [chain; 8])];
            file_name(&[1; 32], &Named { recipients: &[], ranges, vector: &[], roster_seq: 1, incarnation: Incarnation([1; 4]) })
        };
        assert_ne!(with(1), with(2), "other events under the same numbers");
    }
}
