//! Our strict reader against `ciborium`, which is lenient: whatever we accept it decodes and writes again as the same bytes; whatever it writes of
//! what may be said, we accept; and whatever is one value has one spelling.

use bundle_format::cbor::{CborError, Reader};
use bundle_format::limits::CBOR_DEPTH_MAX;
use ciborium::Value;
use proptest::prelude::*;

fn written(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).unwrap();
    out
}

fn walk(bytes: &[u8]) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes);
    assert_eq!(reader.any()?, &bytes[..reader.position()], "what is lent is what was walked");
    reader.finish()
}

/// Integers that fit u64 or i64, around the places where heads change their length.
fn integer() -> impl Strategy<Value = i128> {
    let edge = proptest::sample::select(vec![0i128, 23, 24, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, (1 << 64) - 1]);
    prop_oneof![
        edge.clone(),
        edge.prop_map(|number| -1 - number.min((1 << 63) - 1)),
        any::<u64>().prop_map(i128::from),
        any::<i64>().prop_map(i128::from)
    ]
}

/// The order of keys by their bytes: 0, 1, 2 …, then −1, −2 ….
fn rank(key: i128) -> (bool, i128) {
    (key < 0, key.abs())
}

/// A value that may be said, at most 8 levels deep.
fn allowed() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        integer().prop_map(|number| Value::Integer(number.try_into().unwrap())),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ".{0,40}".prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(u32::try_from(CBOR_DEPTH_MAX).unwrap() - 1, 60, 8, |inner| {
        let array = proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array);
        let map = proptest::collection::vec((integer(), inner), 0..8).prop_map(|mut entries| {
            entries.sort_by_key(|(key, _)| rank(*key));
            entries.dedup_by_key(|(key, _)| *key);
            Value::Map(entries.into_iter().map(|(key, value)| (Value::Integer(key.try_into().unwrap()), value)).collect())
        });
        prop_oneof![array, map]
    })
}

/// One spelling: what we accept, ciborium reads whole and writes again the same.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    if walk(bytes).is_ok() {
        let mut rest = bytes;
        let value: Value = ciborium::from_reader(&mut rest).map_err(|error| TestCaseError::fail(format!("ciborium refuses {bytes:x?}: {error}")))?;
        prop_assert!(rest.is_empty());
        prop_assert_eq!(written(&value), bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_may_be_said_is_accepted_as_ciborium_writes_it(value in allowed()) {
        prop_assert_eq!(walk(&written(&value)), Ok(()));
    }

    #[test]
    fn what_is_accepted_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        agrees(&bytes)?;
    }

    #[test]
    fn a_good_value_with_one_byte_changed_still_has_one_spelling(value in allowed(), at: proptest::sample::Index, byte: u8) {
        let mut bytes = written(&value);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agrees(&bytes)?;
    }

    #[test]
    fn a_good_value_cut_anywhere_is_short(value in allowed(), at: proptest::sample::Index) {
        let bytes = written(&value);
        let cut = &bytes[..at.index(bytes.len())];
        let found = walk(cut);
        prop_assert!(matches!(found, Err(CborError::Short | CborError::Utf8)), "{:?}", found);
    }
}

#[test]
fn every_input_of_up_to_three_bytes_has_one_spelling() {
    for length in 0..=3 {
        for number in 0u32..1 << (8 * length) {
            agrees(&number.to_be_bytes()[4 - length..]).unwrap();
        }
    }
}

#[test]
fn each_rule_has_its_own_refusal() {
    let deep = |levels: usize| [vec![0x81; levels - 1], vec![0]].concat();
    for (bytes, expected) in [
        (vec![], Err(CborError::Short)),
        (vec![0x18, 23], Err(CborError::LongHead)),
        (vec![0x19, 0, 255], Err(CborError::LongHead)),
        (vec![0x1a, 0, 0, 255, 255], Err(CborError::LongHead)),
        (vec![0x1b, 0, 0, 0, 0, 255, 255, 255, 255], Err(CborError::LongHead)),
        (vec![0x1c], Err(CborError::Forbidden)),
        (vec![0x58, 5, 1], Err(CborError::LongHead)),
        (vec![0x42, 1], Err(CborError::Short)),
        (vec![0x5b, 255, 255, 255, 255, 255, 255, 255, 255], Err(CborError::Short)),
        (vec![0x9b, 255, 255, 255, 255, 255, 255, 255, 255], Err(CborError::Short)),
        (vec![0x61, 0xff], Err(CborError::Utf8)),
        (vec![0xbf, 0xff], Err(CborError::Indefinite)),
        (vec![0xa2, 1, 1, 0, 0], Err(CborError::KeyOrder)),
        (vec![0xa2, 1, 1, 1, 1], Err(CborError::KeyOrder)),
        (vec![0xa2, 0x20, 1, 0, 1], Err(CborError::KeyOrder)),
        (vec![0xa2, 0, 1, 0x20, 1], Ok(())),
        (vec![0xa1, 0x61, b'k', 1], Err(CborError::Shape)),
        (vec![0, 0], Err(CborError::Trailing)),
        (deep(CBOR_DEPTH_MAX), Ok(())),
        (deep(CBOR_DEPTH_MAX + 1), Err(CborError::Depth)),
        (vec![0x81; 100_000], Err(CborError::Depth)),
    ] {
        assert_eq!(walk(&bytes), expected, "{:x?}", &bytes[..bytes.len().min(20)]);
    }
}

/// A count is held against what is left, not against all there is.
#[test]
fn an_array_of_more_items_than_bytes_are_left_is_cut_short() {
    let mut reader = Reader::new(&[0x01, 0x01, 0x84, 0x01, 0x01, 0x01]);
    assert_eq!((reader.uint(), reader.uint()), (Ok(1), Ok(1)));
    assert_eq!(reader.clone().array(), Err(CborError::Short));
    let mut reader = Reader::new(&[0x01, 0x01, 0x83, 0x01, 0x01, 0x01]);
    assert_eq!((reader.uint(), reader.uint(), reader.array()), (Ok(1), Ok(1), Ok(3)));
}
