//! HPKE (RFC 9180) Base mode, one suite, one message: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305. SPEC §5.2.
//!
//! In: a recipient's public key, or our secret one, and 32 bytes. Out: `enc ‖ ciphertext ‖ tag`. By hand because it is short, so that the whole of
//! what seals a file can be read here; RFC 9180's own vectors and the crate `hpke` judge it in the tests.

use crate::limits::TAG_LEN;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Length of `enc`, the ephemeral public key.
pub const ENC_LEN: usize = 32;
/// Length of what is sealed: one content key.
pub const PLAIN_LEN: usize = 32;
/// `enc ‖ ciphertext ‖ tag`.
pub const SEALED_LEN: usize = ENC_LEN + PLAIN_LEN + TAG_LEN;

const VERSION: &[u8] = b"HPKE-v1";
const KEM_SUITE: &[u8] = b"KEM\x00\x20";
const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";
const BASE_MODE: u8 = 0;

/// What was sealed cannot be had, or cannot be sealed: a key of small order, or a tag that fails. Which of them helps nobody but an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key cannot be sealed or opened")]
pub struct HpkeError;

/// The AEAD key and base nonce of one context; sequence number 0 is the only one we use.
struct Context {
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; 12],
}

/// `SealBase(pkR, info, aad = "", plain)` with the given ephemeral secret, which must be fresh and random. RFC 9180 §6.1.
///
/// # Errors
/// [`HpkeError`] when `recipient` is a point of small order: everyone could open the result.
pub fn seal(recipient: &[u8; 32], info: &[u8], plain: &[u8; PLAIN_LEN], ephemeral: &[u8; 32]) -> Result<[u8; SEALED_LEN], HpkeError> {
    let secret = StaticSecret::from(*ephemeral);
    let enc = PublicKey::from(&secret).to_bytes();
    let context = Context::agree(&secret, recipient, &enc, recipient, info)?;
    let mut body = *plain;
    let tag = context.cipher().encrypt_inout_detached(&context.nonce.into(), b"", body.as_mut_slice().into()).map_err(|_| HpkeError)?;
    let mut sealed = [0; SEALED_LEN];
    let parts = enc.iter().chain(&body).chain(tag.iter());
    sealed.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
    Ok(sealed)
}

/// `OpenBase(enc, skR, info, aad = "", ct)`. RFC 9180 §6.1.
///
/// # Errors
/// [`HpkeError`] when `enc` is of small order or the tag does not match.
pub fn open(secret: &[u8; 32], info: &[u8], sealed: &[u8; SEALED_LEN]) -> Result<Zeroizing<[u8; PLAIN_LEN]>, HpkeError> {
    let (enc, rest) = sealed.split_first_chunk::<ENC_LEN>().ok_or(HpkeError)?;
    let (body, tag) = rest.split_first_chunk::<PLAIN_LEN>().ok_or(HpkeError)?;
    let tag: [u8; TAG_LEN] = tag.try_into().map_err(|_| HpkeError)?;
    let secret = StaticSecret::from(*secret);
    let own = PublicKey::from(&secret).to_bytes();
    let context = Context::agree(&secret, enc, enc, &own, info)?;
    let mut plain = Zeroizing::new(*body);
    context.cipher().decrypt_inout_detached(&context.nonce.into(), b"", plain.as_mut_slice().into(), &tag.into()).map_err(|_| HpkeError)?;
    Ok(plain)
}

impl Context {
    /// Diffie-Hellman with `theirs`, then `ExtractAndExpand` (§4.1) and `KeySchedule` (§5.1).
    fn agree(secret: &StaticSecret, theirs: &[u8; 32], enc: &[u8; 32], recipient: &[u8; 32], info: &[u8]) -> Result<Self, HpkeError> {
        let dh = secret.diffie_hellman(&PublicKey::from(*theirs));
        if !dh.was_contributory() {
            return Err(HpkeError);
        }
        let eae_prk = labeled_extract(b"", KEM_SUITE, b"eae_prk", dh.as_bytes());
        let mut shared = Zeroizing::new([0; 32]);
        labeled_expand(&eae_prk, KEM_SUITE, b"shared_secret", &[enc, recipient], shared.as_mut_slice())?;

        let psk_id_hash = labeled_extract(b"", SUITE, b"psk_id_hash", b"");
        let info_hash = labeled_extract(b"", SUITE, b"info_hash", info);
        let schedule: [&[u8]; 3] = [&[BASE_MODE], &*psk_id_hash, &*info_hash];
        let secret = labeled_extract(shared.as_slice(), SUITE, b"secret", b"");
        let mut context = Self { key: Zeroizing::new([0; 32]), nonce: [0; 12] };
        labeled_expand(&secret, SUITE, b"key", &schedule, context.key.as_mut_slice())?;
        labeled_expand(&secret, SUITE, b"base_nonce", &schedule, &mut context.nonce)?;
        Ok(context)
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&(*self.key).into())
    }
}

/// `LabeledExtract(salt, label, ikm)`, RFC 9180 §4.
fn labeled_extract(salt: &[u8], suite: &[u8], label: &[u8], ikm: &[u8]) -> Zeroizing<[u8; 32]> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes keys of every length");
    for part in [VERSION, suite, label, ikm] {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// `LabeledExpand(prk, label, info, L)`, RFC 9180 §4.
fn labeled_expand(prk: &[u8; 32], suite: &[u8], label: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), HpkeError> {
    let len = u16::try_from(out.len()).map_err(|_| HpkeError)?.to_be_bytes();
    let parts: Vec<&[u8]> = [&len, VERSION, suite, label].into_iter().chain(info.iter().copied()).collect();
    Hkdf::<Sha256>::from_prk(prk).map_err(|_| HpkeError)?.expand_multi_info(&parts, out).map_err(|_| HpkeError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{from_hex, hex};

    /// RFC 9180 A.2.1 (mode Base).
    const INFO: &[u8] = b"Ode on a Grecian Urn";
    const EPHEMERAL: &str = "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600";
    const ENC: &str = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    const RECIPIENT_SECRET: &str = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
    const RECIPIENT: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
    const KEY: &str = "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91";
    const BASE_NONCE: &str = "5c4d98150661b848853b547f";
    const AAD: &[u8] = b"Count-0";
    const PLAIN: &[u8] = b"Beauty is truth, truth beauty";
    const CIPHERTEXT: &str = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";

    #[test]
    fn both_ends_derive_what_rfc_9180_does() {
        let recipient = from_hex(RECIPIENT).unwrap();
        let sender = StaticSecret::from(from_hex::<32>(EPHEMERAL).unwrap());
        let enc = PublicKey::from(&sender).to_bytes();
        assert_eq!(hex(&enc), ENC);
        let theirs = Context::agree(&sender, &recipient, &enc, &recipient, INFO).unwrap();
        let receiver = StaticSecret::from(from_hex::<32>(RECIPIENT_SECRET).unwrap());
        let ours = Context::agree(&receiver, &enc, &enc, &recipient, INFO).unwrap();
        for context in [theirs, ours] {
            assert_eq!((hex(&*context.key), hex(&context.nonce)), (KEY.to_owned(), BASE_NONCE.to_owned()));
            let mut sealed = PLAIN.to_vec();
            let tag = context.cipher().encrypt_inout_detached(&context.nonce.into(), AAD, sealed.as_mut_slice().into()).unwrap();
            assert_eq!(hex(&sealed) + &hex(&tag), CIPHERTEXT);
        }
    }

    #[test]
    fn only_the_recipient_opens() {
        let (secret, plain) = (from_hex(RECIPIENT_SECRET).unwrap(), [7; PLAIN_LEN]);
        let mut sealed = seal(&from_hex(RECIPIENT).unwrap(), b"i", &plain, &[9; 32]).unwrap();
        assert_eq!(*open(&secret, b"i", &sealed).unwrap(), plain);
        assert_eq!(open(&secret, b"j", &sealed), Err(HpkeError));
        assert_eq!(open(&[1; 32], b"i", &sealed), Err(HpkeError));
        for at in 0..SEALED_LEN {
            sealed[at] ^= 1;
            assert_eq!(open(&secret, b"i", &sealed), Err(HpkeError), "byte {at}");
            sealed[at] ^= 1;
        }
    }

    #[test]
    fn points_of_small_order_are_refused() {
        let one = std::array::from_fn(|index| u8::from(index == 0));
        for weak in [[0; 32], one] {
            assert_eq!(seal(&weak, b"", &[0; PLAIN_LEN], &[9; 32]), Err(HpkeError));
            let mut sealed = [0; SEALED_LEN];
            sealed[..ENC_LEN].copy_from_slice(&weak);
            assert_eq!(open(&[9; 32], b"", &sealed), Err(HpkeError));
        }
    }
}
