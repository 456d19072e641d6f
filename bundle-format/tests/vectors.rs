//! Vectors nobody here wrote. A few of each are embedded with their source; with `ZBUNDLE_VECTORS` naming the folder that holds the whole files,
//! all of them are checked.
#![allow(clippy::disallowed_methods, reason = "reads files itself: it is no part of the product")]

use bundle_format::cbor::{CborError, Reader};
use bundle_format::ids::{from_hex, hex};
use bundle_format::sign::{Signature, SigningKey, VerifyingKey};
use serde_json::Value;
use sha2::Sha256;

/// A vector file, when its folder is named.
fn file(name: &str) -> Option<String> {
    let folder = std::env::var_os("ZBUNDLE_VECTORS")?;
    let path = std::path::Path::new(&folder).join(name);
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
