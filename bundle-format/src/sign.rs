//! Who wrote it: Ed25519, always strict. SPEC §2.2.

use crate::chain;
use crate::ids::{DomainId, NodeId};
use ed25519_dalek::Signer as _;

/// A node's public signing key, known to be canonical and not of small order; kept as the point it stands for, because finding that costs as much as half a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// An Ed25519 signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// A key or signature that is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// Not a point, or one of small order: anyone could sign for it.
    #[error("not a usable Ed25519 public key")]
    WeakKey,
    /// The signature is not this key's over this message.
    #[error("the signature does not verify")]
    BadSignature,
}

impl VerifyingKey {
    /// The only gate: 32 bytes that are a canonical point of large order.
    ///
    /// # Errors
    /// [`SignError::WeakKey`].
    pub fn new(bytes: [u8; 32]) -> Result<Self, SignError> {
        match ed25519_dalek::VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() && key.to_edwards().compress().to_bytes() == bytes => Ok(Self(key)),
            _ => Err(SignError::WeakKey),
        }
    }

    /// The 32 bytes of RFC 8032.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// `Ed25519(context ‖ message)` by `verify_strict`: two nodes must never differ on a signature.
    ///
    /// # Errors
    /// [`SignError::BadSignature`].
    pub fn verify(&self, context: &[u8], message: &[u8], signature: &Signature) -> Result<(), SignError> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(&[context, message].concat(), &signature).map_err(|_| SignError::BadSignature)
    }

    /// The node id of a node whose first signing key this is (R3.1-a).
    pub fn node_id(&self) -> NodeId {
        NodeId(chain::hash(b"zbundle/1 node\0", &[self.as_bytes()]).first())
    }

    /// The domain whose authority first signed with this key.
    pub fn domain_id(&self) -> DomainId {
        DomainId(chain::hash(b"zbundle/1 domain\0", &[self.as_bytes()]).0)
    }
}

/// A node's secret signing key; wiped when dropped, never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// From the 32-byte seed of RFC 8032.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, for the keyring only.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// `Ed25519(context ‖ message)` (R2.2-c).
    pub fn sign(&self, context: &[u8], message: &[u8]) -> Signature {
        Signature(self.0.sign(&[context, message].concat()).to_bytes())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}
