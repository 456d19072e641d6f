//! Checkpoint: an origin's signature over (position, chain hash). What a receiver's vector stands on. SPEC §3.5.

use crate::cbor::{self, Bytes, CborError, Reader};
use crate::chain::Position;
use crate::ids::{DomainId, Origin};
use crate::sign::{SignError, Signature, SigningKey, VerifyingKey};
use serde::ser::{Serialize, SerializeTuple as _, Serializer};

const CONTEXT: &[u8] = b"zbundle/1 cp\0";

/// `[key number, signature]`, 68 bytes on the wire for key numbers below 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which of the node's keys signed: 1 at enrolment, one more with each rekey.
    pub key_number: u64,
    /// Over [`Checkpoint::message`].
    pub signature: Signature,
}

impl Checkpoint {
    /// `cbor([domain, node, incarnation, lane, audience, key number, seq, h_seq])`.
    pub fn message(domain: &DomainId, origin: &Origin, key_number: u64, position: &Position) -> Vec<u8> {
        cbor::to_vec(&(
            Bytes(&domain.0),
            Bytes(&origin.node.0),
            Bytes(&origin.incarnation.0),
            origin.lane as u8,
            origin.audience.as_ref().map(|node| Bytes(&node.0)),
            key_number,
            position.seq,
            Bytes(&position.hash.0),
        ))
    }

    /// Sign `position` of our own `origin`.
    pub fn sign(key: &SigningKey, domain: &DomainId, origin: &Origin, key_number: u64, position: &Position) -> Self {
        let message = Self::message(domain, origin, key_number, position);
        Self { key_number, signature: key.sign(CONTEXT, &message) }
    }

    /// Whether `key`, the origin's key of this number, signed `position`.
    ///
    /// # Errors
    /// [`SignError::BadSignature`].
    pub fn verify(&self, key: &VerifyingKey, domain: &DomainId, origin: &Origin, position: &Position) -> Result<(), SignError> {
        key.verify(CONTEXT, &Self::message(domain, origin, self.key_number, position), &self.signature)
    }

    /// Read the array that [`Serialize`] writes.
    ///
    /// # Errors
    /// [`CborError`] when it is not that array.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_exact(2)?;
        Ok(Self { key_number: reader.uint()?, signature: Signature(reader.bytes_exact()?) })
    }
}

impl Serialize for Checkpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&self.key_number)?;
        tuple.serialize_element(&Bytes(&self.signature.0))?;
        tuple.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, Lane, NodeId};

    #[test]
    fn a_checkpoint_holds_for_one_domain_origin_key_number_and_position_alone() {
        let key = SigningKey::from_seed(&[1; 32]);
        let domain = key.verifying_key().domain_id();
        let origin = Origin { node: key.verifying_key().node_id(), incarnation: Incarnation([2; 4]), lane: Lane::Urgent, audience: None };
        let position = Position::start(&origin).then(&crate::chain::digest(b"event"));
        let checkpoint = Checkpoint::sign(&key, &domain, &origin, 1, &position);
        let verify = |checkpoint: Checkpoint, domain, origin, position| checkpoint.verify(&key.verifying_key(), &domain, &origin, &position);
        assert_eq!(verify(checkpoint, domain, origin, position), Ok(()));
        let bad = Err(SignError::BadSignature);
        assert_eq!(verify(checkpoint, DomainId([0; 32]), origin, position), bad);
        assert_eq!(verify(checkpoint, domain, Origin { audience: Some(NodeId([0; 8])), ..origin }, position), bad);
        assert_eq!(verify(checkpoint, domain, Origin { lane: Lane::Bulk, ..origin }, position), bad);
        assert_eq!(verify(checkpoint, domain, origin, Position { seq: 2, ..position }), bad);
        assert_eq!(verify(checkpoint, domain, origin, Position::start(&origin)), bad);
        assert_eq!(verify(Checkpoint { key_number: 2, ..checkpoint }, domain, origin, position), bad);
        assert_eq!(Checkpoint::read(&mut Reader::new(&cbor::to_vec(&checkpoint))), Ok(checkpoint));
        assert_eq!(cbor::to_vec(&checkpoint).len(), 68);
    }
}
