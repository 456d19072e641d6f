//! X25519 keys that open what is sealed for a node.

use std::fmt;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// A node's secret sealing key; wiped when dropped, never printed.
#[derive(Clone)]
pub struct SealingKey(StaticSecret);

impl SealingKey {
    /// From 32 random bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(StaticSecret::from(*bytes))
    }

    /// The public half.
    pub fn public(&self) -> SealingPublic {
        SealingPublic(PublicKey::from(&self.0).to_bytes())
    }

    /// The 32 bytes, for the keyring only.
    pub fn bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

/// What others seal to: a u-coordinate of RFC 7748.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealingPublic(pub [u8; 32]);

impl SealingPublic {
    /// A point of small order: whatever is sealed to it, anyone can open. All multiples of the cofactor send it to zero, so any scalar tells.
    pub fn is_weak(&self) -> bool {
        !StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(self.0)).was_contributory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_small_order_are_weak_and_real_keys_are_not() {
        let order_eight = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1,
            0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
        ];
        let one = std::array::from_fn(|i| u8::from(i == 0));
        for weak in [[0; 32], one, order_eight] {
            assert!(SealingPublic(weak).is_weak(), "{weak:02x?}");
        }
        assert!(!SealingKey::from_bytes(&[7; 32]).public().is_weak());
        assert_eq!(format!("{:?}", SealingKey::from_bytes(&[7; 32])), "SealingKey(…)");
    }
}
