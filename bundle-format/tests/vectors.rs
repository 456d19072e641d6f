//! Vectors nobody here wrote. A few of each are embedded with their source; where the whole files are at hand, in `shared/vectors` beside the checkout
//! or in the folder that `ZBUNDLE_VECTORS` names, all of them are checked. Where they are not, the test says so and checks the few.
#![allow(clippy::disallowed_methods, reason = "reads files itself: it is no part of the product")]

use bundle_format::cbor::{CborError, Reader};
use bundle_format::hpke;
use bundle_format::ids::{from_hex, hex};
use bundle_format::sign::{Signature, SigningKey, VerifyingKey};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _};
use serde_json::Value;
use sha2::Sha256;
use std::path::{Path, PathBuf};

/// A vector file. A folder that is named must have it.
fn file(name: &str) -> Option<String> {
    let named = std::env::var_os("ZBUNDLE_VECTORS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let Some(folder) = named.or_else(|| beside.is_dir().then_some(beside)) else {
        println!("{name} is not at hand: only the vectors embedded here are checked");
        return None;
    };
    let path = folder.join(name);
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn json(name: &str) -> Option<Vec<Value>> {
    file(name).map(|text| serde_json::from_str(&text).unwrap())
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn verifies(key: &str, message: &[u8], signature: &str) -> bool {
    let (Some(key), Some(signature)) = (from_hex(key), from_hex(signature)) else { return false };
    VerifyingKey::new(key).is_ok_and(|key| key.verify(b"", message, &Signature(signature)).is_ok())
}

/// RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
const RFC_8032: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
];

#[test]
fn signatures_are_those_of_rfc_8032() {
    for [seed, public, message, signature] in RFC_8032 {
        let key = SigningKey::from_seed(&from_hex(seed).unwrap());
        assert_eq!(hex(key.verifying_key().as_bytes()), public);
        assert_eq!(hex(&key.sign(b"", &unhex(message)).0), signature);
        assert!(verifies(public, &unhex(message), signature));
        assert!(!verifies(public, &unhex("00"), signature));
    }
}

/// C2SP/CCTV ed25519: numbers 0 and 2 of the file, a key of small order with a signature of zeros and one of large order.
const CCTV: [[&str; 3]; 2] = [
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ed25519vectors 3",
        "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ],
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "ed25519vectors 7",
        "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56b05ba9a796274d80437afa36f1236563f2f3b0aa84cecddc3d20914615ba4fe02",
    ],
];

#[test]
fn a_strict_verifier_accepts_43_of_the_914_edge_cases() {
    for [key, message, signature] in CCTV {
        assert!(!verifies(key, message.as_bytes(), signature));
    }
    let Some(vectors) = json("cctv-ed25519vectors.json") else { return };
    let field = |vector: &Value, name: &str| vector[name].as_str().unwrap().to_owned();
    let accepted = vectors.iter().filter(|vector| verifies(&field(vector, "key"), field(vector, "msg").as_bytes(), &field(vector, "sig")));
    assert_eq!((vectors.len(), accepted.count()), (914, 43));
}

/// What the strict reader says of one item.
fn walk(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    reader.any()?;
    reader.finish()
}

/// RFC 8949 Appendix A, a few of each kind; what follows is refused, each for its reason.
const ACCEPTED: [&str; 12] = [
    "00",
    "1818",
    "1903e8",
    "1bffffffffffffffff",
    "20",
    "3903e7",
    "f4",
    "f5",
    "4401020304",
    "6449455446",
    "98190102030405060708090a0b0c0d0e0f101112131415161718181819",
    "a201020304",
];
const REFUSED: [(&str, CborError); 12] = [
    ("3bffffffffffffffff", CborError::Forbidden),
    ("c249010000000000000000", CborError::Forbidden),
    ("f90000", CborError::Forbidden),
    ("fb3ff199999999999a", CborError::Forbidden),
    ("f6", CborError::Forbidden),
    ("f7", CborError::Forbidden),
    ("f0", CborError::Forbidden),
    ("f8ff", CborError::Forbidden),
    ("c11a514b67b0", CborError::Forbidden),
    ("a26161016162820203", CborError::Shape),
    ("5f42010243030405ff", CborError::Indefinite),
    ("9fff", CborError::Indefinite),
];

#[test]
fn appendix_a_of_rfc_8949_is_judged_by_our_rules() {
    for item in ACCEPTED {
        assert_eq!(walk(&unhex(item)), Ok(()), "{item}");
    }
    for (item, reason) in REFUSED {
        assert_eq!(walk(&unhex(item)), Err(reason), "{item}");
    }
    let Some(items) = json("rfc8949-appendix-a.json") else { return };
    let accepted = items.iter().filter(|item| walk(&unhex(item["hex"].as_str().unwrap())).is_ok()).count();
    assert_eq!((items.len(), accepted), (82, 32));
}

/// RFC 5869 A.1: pseudorandom key, info, output.
const RFC_5869: [&str; 3] = [
    "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
    "f0f1f2f3f4f5f6f7f8f9",
    "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
];

fn expand(prk: &str, info: &str, len: usize) -> String {
    let mut okm = vec![0; len];
    hkdf::Hkdf::<Sha256>::from_prk(&unhex(prk)).unwrap().expand(&unhex(info), &mut okm).unwrap();
    hex(&okm)
}

#[test]
fn expanding_is_that_of_rfc_5869() {
    let [prk, info, okm] = RFC_5869;
    assert_eq!(expand(prk, info, 42), okm);
    let Some(text) = file("rfc-5869-HKDF-SHA256.txt") else { return };
    let field = |line: &str, name: &str| Some(line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim().to_owned());
    let (mut info, mut prk, mut count) = (String::new(), String::new(), 0);
    for line in text.lines() {
        info = field(line, "info").unwrap_or(info);
        prk = field(line, "PRK").unwrap_or(prk);
        if let Some(okm) = field(line, "OKM") {
            assert_eq!(expand(&prk, &info, okm.len() / 2), okm);
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}

/// RFC 9180 A.2.1: info, ephemeral secret, recipient's public and secret key, `enc`, key and base nonce of the context.
const RFC_9180: [&str; 7] = [
    "4f6465206f6e2061204772656369616e2055726e",
    "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
    "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
    "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
    "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
    "ad2744de8e17f4ebba575b3f5f5a8fa1f69c2a07f6e7500bc60ca6e3e3ec1c91",
    "5c4d98150661b848853b547f",
];

/// What we seal under the vector's secrets opens under the vector's key and nonce, and the recipient's secret opens it.
fn seals_as_told([info, ephemeral, public, secret, enc, key, nonce]: [&str; 7]) {
    let (info, plain) = (unhex(info), [7; hpke::PLAIN_LEN]);
    let sealed = hpke::seal(&from_hex(public).unwrap(), &info, &plain, &from_hex(ephemeral).unwrap()).unwrap();
    let (told_enc, body) = sealed.split_at(hpke::ENC_LEN);
    assert_eq!(hex(told_enc), enc);
    let cipher = ChaCha20Poly1305::new(&from_hex::<32>(key).unwrap().into());
    let (body, tag) = body.split_at(hpke::PLAIN_LEN);
    let (mut opened, tag) = (body.to_vec(), <[u8; 16]>::try_from(tag).unwrap());
    cipher.decrypt_inout_detached(&from_hex::<12>(nonce).unwrap().into(), b"", opened.as_mut_slice().into(), &tag.into()).unwrap();
    assert_eq!(opened, plain);
    assert_eq!(*hpke::open(&from_hex(secret).unwrap(), &info, &sealed).unwrap(), plain);
}

#[test]
fn a_key_is_sealed_under_the_context_of_rfc_9180() {
    seals_as_told(RFC_9180);
    let Some(suites) = json("rfc9180-x25519-sha256-chacha20poly1305.json") else { return };
    let ours: Vec<_> =
        suites.iter().filter(|suite| suite["mode"] == 0 && suite["kem_id"] == 32 && suite["kdf_id"] == 1 && suite["aead_id"] == 3).collect();
    for suite in &ours {
        seals_as_told(["info", "skEm", "pkRm", "skRm", "enc", "key", "base_nonce"].map(|field| suite[field].as_str().unwrap()));
    }
    assert!(!ours.is_empty(), "mode Base of our suite is among them");
}
