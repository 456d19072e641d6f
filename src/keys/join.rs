//! The join file: the authority's answer to a request, with the roster that proves it. SPEC §8.5.
//!
//! `["zbundle/1 join", {0: node, 2: authority's first signing key, 4: authority's first incarnation, 6: SHA-256(request)}, [1* range]]`. It
//! needs no signature of its own: the ranges carry the authority's and prove themselves from the pin, and the six words bind request and
//! authority.

use super::member::Pin;
use super::request::Request;
use super::roster::Roster;
use super::words::Words;
use bundle_format::cbor::{self, Bytes, CborError, Keys, Reader};
use bundle_format::compress::Codec;
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Incarnation, NodeId};
use bundle_format::manifest::NodeTable;
use bundle_format::range::{Range, RangeError, VerifiedRange};
use bundle_format::sign::VerifyingKey;
use bundle_format::trust::Trust as _;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// A roster of some 20 000 events, read whole into memory.
pub const JOIN_LEN_MAX: usize = 4 << 20;
const TITLE: &str = "zbundle/1 join";

/// Why a join file is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Longer than [`JOIN_LEN_MAX`].
    #[error("longer than a join file can be")]
    TooLong,
    /// Not the bytes of SPEC §8.5.
    #[error("not a join file: {0}")]
    Cbor(#[from] CborError),
    /// The authority's key is one anyone could sign for.
    #[error("the join file holds a weak key")]
    WeakKey,
    /// What it holds of the roster is not what the authority signed.
    #[error("its roster is not proved: {0}")]
    Unproved(#[from] RangeError),
    /// A range of another history, compressed, not right behind the one before it, or under a key that was replaced.
    #[error("its ranges are not the roster from its first event on")]
    NotTheRoster,
    /// Made for another node or from another request, or its roster does not have the keys that were asked for.
    #[error("the join file answers another request")]
    ForSomebodyElse,
}

impl JoinError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::TooLong | Self::Cbor(_) | Self::WeakKey | Self::Unproved(_) | Self::NotTheRoster => Code::Z609,
            Self::ForSomebodyElse => Code::Z606,
        }
    }
}

/// A join file as read; nothing of it is believed before the words are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// The member the requester becomes: itself, or the node whose keys it replaces.
    pub node: NodeId,
    /// What to pin.
    pub pin: Pin,
    /// SHA-256 of the request it answers.
    pub request_digest: Hash,
    /// The roster from its first event, each the bytes of one range.
    pub ranges: Vec<Vec<u8>>,
}

struct Answer<'a>(&'a Join);

impl Serialize for Answer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry(&0, &Bytes(&self.0.node.0))?;
        map.serialize_entry(&2, &Bytes(self.0.pin.authority_key.as_bytes()))?;
        map.serialize_entry(&4, &Bytes(&self.0.pin.incarnation.0))?;
        map.serialize_entry(&6, &Bytes(&self.0.request_digest.0))?;
        map.end()
    }
}

impl Join {
    /// The answer to `request`, which makes its sender the member `node`. Each of `ranges` is one encoded range.
    pub fn new(request: &Request, node: NodeId, pin: Pin, ranges: Vec<Vec<u8>>) -> Self {
        Self { node, pin, request_digest: request.digest(), ranges }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x83]; // array of 3
        bytes.extend(cbor::to_vec(TITLE));
        bytes.extend(cbor::to_vec(&Answer(self)));
        bytes.extend(array_head(self.ranges.len()));
        self.ranges.iter().for_each(|range| bytes.extend_from_slice(range));
        bytes
    }

    /// Read a join file.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn read(bytes: &[u8]) -> Result<Self, JoinError> {
        if bytes.len() > JOIN_LEN_MAX {
            return Err(JoinError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        reader.array_exact(3)?;
        if reader.text()? != TITLE {
            return Err(CborError::Shape.into());
        }
        let (mut node, mut authority_key, mut incarnation, mut request_digest) = (None, None, None, None);
        let mut keys = reader.map()?;
        while let Some(key) = keys.next(&mut reader)? {
            match key {
                0 => node = Some(NodeId(reader.bytes_exact()?)),
                2 => authority_key = Some(reader.bytes_exact()?),
                4 => incarnation = Some(Incarnation(reader.bytes_exact()?)),
                6 => request_digest = Some(Hash(reader.bytes_exact()?)),
                _ => Keys::unknown(key, &mut reader)?,
            }
        }
        let count = reader.array()?;
        if count == 0 {
            return Err(CborError::Shape.into());
        }
        let mut ranges = Vec::new(); // grows with the bytes, not with the count they claim
        for _ in 0..count {
            ranges.push(reader.item()?.to_vec());
        }
        reader.finish()?;
        let authority_key = VerifyingKey::new(authority_key.ok_or(CborError::MissingKey(2))?).map_err(|_| JoinError::WeakKey)?;
        Ok(Self {
            node: node.ok_or(CborError::MissingKey(0))?,
            pin: Pin { authority_key, incarnation: incarnation.ok_or(CborError::MissingKey(4))? },
            request_digest: request_digest.ok_or(CborError::MissingKey(6))?,
            ranges,
        })
    }

    /// Whether it answers this request of ours. A first request may be answered with another node's id (a rekey of a lost node).
    ///
    /// # Errors
    /// [`JoinError::ForSomebodyElse`].
    pub fn answers(&self, request: &Request) -> Result<(), JoinError> {
        let asked_for_itself = request.key_number == 1 || self.node == request.node;
        if self.request_digest == request.digest() && asked_for_itself { Ok(()) } else { Err(JoinError::ForSomebodyElse) }
    }

    /// The roster that the file's ranges prove under its own pin, and they, verified: all of it from its first event, without a gap (R8.5-e).
    ///
    /// # Errors
    /// [`JoinError::Unproved`], [`JoinError::NotTheRoster`].
    pub fn prove(&self) -> Result<(Roster, Vec<VerifiedRange>), JoinError> {
        let origin = self.pin.roster_origin();
        let nodes = NodeTable::of([origin]);
        let mut roster = Roster::new(self.pin);
        let mut ranges = Vec::new();
        for bytes in &self.ranges {
            let reader = &mut Reader::new(bytes);
            let range = Range::read(reader, &nodes)?;
            reader.finish()?;
            let head = roster.head();
            let follows = range.first == head.seq + 1 && range.base == Some(head.hash);
            if range.origin != origin || range.codec != Codec::Stored || !follows {
                return Err(JoinError::NotTheRoster);
            }
            let verified = range.verify(head.hash, &roster, None)?;
            roster.learn(&verified);
            if roster.head() != verified.run().end() {
                return Err(JoinError::NotTheRoster); // a replaced key signed it
            }
            ranges.push(verified);
        }
        Ok((roster, ranges))
    }

    /// Whether `roster` has the keys of `request`, these and no others, as the present keys of the member that the file says.
    ///
    /// # Errors
    /// [`JoinError::ForSomebodyElse`].
    pub fn enrols(&self, request: &Request, roster: &Roster) -> Result<(), JoinError> {
        let current = roster.member(&self.node).and_then(|member| member.current());
        let ours = current.is_some_and(|key| key.signing == request.signing && key.sealing == request.sealing);
        if ours { Ok(()) } else { Err(JoinError::ForSomebodyElse) }
    }

    /// The words to compare with the authority's screen.
    pub fn words(&self, request: &Request) -> Words {
        Words::of(request.bytes(), &self.pin.authority_key)
    }
}

/// The head of an array of `count` items: `cbor::to_vec` of as many one-byte items, without them.
fn array_head(count: usize) -> Vec<u8> {
    let mut head = cbor::to_vec(&vec![0u8; count]);
    head.truncate(head.len() - count);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture::{node, pin, secret};
    use crate::keys::secrets::NodeKeys;
    use bundle_format::ids::Name;
    use bundle_format::seal::SealingKey;

    fn request(n: u8, number: u64) -> Request {
        let keys = NodeKeys { number, signing: secret(n), sealing: SealingKey::from_bytes([n; 32]) };
        Request::read(&Request::build(&Name::new("two").unwrap(), node(2), &keys, None)).unwrap()
    }

    #[test]
    fn a_join_file_carries_its_ranges_untouched() {
        let ranges = [cbor::to_vec(&(1, "any", [true])), cbor::to_vec(&Bytes(&[7; 300]))];
        for count in [1, 2, 24, 300] {
            let ranges: Vec<_> = ranges.iter().cycle().take(count).cloned().collect();
            let join = Join::new(&request(2, 1), node(2), pin(), ranges);
            let bytes = join.to_bytes();
            assert_eq!(Join::read(&bytes).as_ref(), Ok(&join));
            assert!((0..bytes.len()).step_by(7).all(|cut| Join::read(&bytes[..cut]).is_err()));
        }
        assert!(Join::read(&Join::new(&request(2, 1), node(2), pin(), vec![]).to_bytes()).is_err(), "it must prove itself");
    }

    #[test]
    fn a_join_file_answers_one_request_of_one_node() {
        let join = |node| Join::new(&request(2, 1), node, pin(), vec![vec![0]]);
        assert_eq!(join(node(2)).answers(&request(2, 1)), Ok(()));
        assert_eq!(join(node(3)).answers(&request(2, 1)), Ok(()), "new keys for a lost node");
        assert_eq!(join(node(2)).answers(&request(102, 2)), Err(JoinError::ForSomebodyElse));
        let rekeyed = Join::new(&request(102, 2), node(3), pin(), vec![vec![0]]);
        assert_eq!(rekeyed.answers(&request(102, 2)), Err(JoinError::ForSomebodyElse), "it asked as the member it is");
    }

    #[test]
    fn the_words_bind_request_and_authority() {
        let mut other = Join::new(&request(2, 1), node(2), pin(), vec![vec![0]]);
        let words = other.words(&request(2, 1));
        assert_ne!(other.words(&request(102, 2)), words);
        other.pin.authority_key = crate::keys::fixture::signing(9);
        assert_ne!(other.words(&request(2, 1)), words);
    }
}
