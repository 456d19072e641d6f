//! Codec 3: what goes in comes out; what no writer wrote is refused; nothing is decoded beyond what was claimed.

use bundle_format::compress::CompressError;
use bundle_format::limits::{MIX_RAW_LEN_MAX, PREFIX_LEN_MAX};
use bundle_format::mix::{Decoding, Encoding, Learned, SLOTS_LOG_MAX, SLOTS_LOG_MIN, decode, encode};
use proptest::prelude::*;

/// An event as a clinic writes it, without its keys.
fn event(number: u64) -> Vec<u8> {
    let payload = format!(
        r#"{{"id":"{:016x}","bp":"{}/{}","note":"seen at {} today"}}"#,
        number * 0x9e37_79b9,
        100 + number % 40,
        60 + number % 30,
        number % 7
    );
    let mut bytes = vec![0x83, 0x1b];
    bytes.extend((number << 16).to_be_bytes());
    bytes.extend(b"\x66vitals\x58");
    bytes.push(u8::try_from(payload.len()).unwrap());
    bytes.extend(payload.bytes());
    bytes
}

fn events(from: u64, to: u64) -> Vec<u8> {
    (from..to).flat_map(event).collect()
}

#[test]
fn a_delta_takes_a_fraction_of_its_bytes_once_the_history_is_known() {
    let (history, raw) = (events(0, 400), events(400, 420));
    let data = encode(&history, &raw, SLOTS_LOG_MAX).unwrap();
    assert_eq!(decode(&history, &data, raw.len()).unwrap(), raw);
    assert!(data.len() * 8 < raw.len(), "{} of {} bytes", data.len(), raw.len());
    let alone = encode(&[], &raw, SLOTS_LOG_MAX).unwrap();
    assert!(data.len() * 2 < alone.len(), "{} bytes, {} without the history", data.len(), alone.len());
}

#[test]
fn the_same_bytes_come_out_whatever_the_size_of_the_tables() {
    let raw = events(0, 30);
    for log in SLOTS_LOG_MIN..=SLOTS_LOG_MAX {
        let data = encode(&[], &raw, log).unwrap();
        assert_eq!(u32::from(data[0]), log, "the header names the tables");
        assert_eq!(decode(&[], &data, raw.len()).unwrap(), raw);
    }
}

/// What another processor coded is what this one codes: `cargo xtask arch` runs this where words have 32 bits.
#[test]
fn every_processor_writes_the_same() {
    let data = encode(&events(0, 400), &events(400, 420), SLOTS_LOG_MAX).unwrap();
    assert_eq!((data.len(), crc32fast::hash(&data)), (74, 3_594_230_121));
}

#[test]
fn one_value_has_one_spelling() {
    let raw = events(0, 5);
    let good = encode(&[], &raw, 14).unwrap();
    let refused = |data: &[u8], len: usize| decode(&[], data, len).unwrap_err();
    assert_eq!(refused(&[good.clone(), vec![0]].concat(), raw.len()), CompressError::Length);
    assert_eq!(refused(&good[..good.len() - 1], raw.len()), CompressError::Length);
    assert_eq!(refused(&[], 1), CompressError::Length);
    for log in [0, 11, 19, 255] {
        assert_eq!(refused(&[&[log], &good[1..]].concat(), raw.len()), CompressError::Corrupt);
    }
    for at in 1..good.len() {
        for bit in 0..8 {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            assert_ne!(decode(&[], &changed, raw.len()).ok(), Some(raw.clone()), "byte {at}, bit {bit} counts");
        }
    }
}

#[test]
fn lengths_are_bounded_before_anything_is_done() {
    let long = vec![0; PREFIX_LEN_MAX + 1];
    assert_eq!(encode(&long, b"a", 12), Err(CompressError::Prefix(long.len())));
    assert_eq!(decode(&long, &[12], 1), Err(CompressError::Prefix(long.len())));
    assert_eq!(encode(&[], &vec![0; MIX_RAW_LEN_MAX + 1], 12), Err(CompressError::Length));
    assert_eq!(decode(&[], &[12], MIX_RAW_LEN_MAX + 1), Err(CompressError::Length));
}

#[test]
fn who_serves_many_works_piece_by_piece() {
    let (prefix, raw) = (events(0, 11), events(11, 40));
    let whole = (prefix.len() + raw.len()).div_ceil(100);
    let mut encoding = Encoding::new(None, &prefix, &raw, 14).unwrap();
    let coded_in = 1 + std::iter::from_fn(|| (!encoding.go_on(100)).then_some(())).count();
    let (data, _) = encoding.finish();
    assert_eq!(data, encode(&prefix, &raw, 14).unwrap(), "pieces change nothing");
    let mut decoding = Decoding::new(None, &prefix, &data, raw.len()).unwrap();
    let decoded_in = 1 + std::iter::from_fn(|| (!decoding.go_on(100)).then_some(())).count();
    assert_eq!((coded_in, decoded_in), (whole, whole), "the history takes its time too");
    assert_eq!(decoding.finish().unwrap().0, raw);
}

/// Three ranges, one behind the other: what was learned of the first two is learned once, and the third is what it would be anyway.
#[test]
fn what_was_learned_need_not_be_learned_again() {
    let (first, second, third) = (events(0, 40), events(40, 60), events(60, 90));
    let both = [&first[..], &second].concat();
    let (mut learned, mut taken): (Option<Learned>, Option<Learned>) = (None, None);
    for (prefix, raw, fresh) in [(&first, &second, first.len() + second.len()), (&both, &third, third.len())] {
        let mut encoding = Encoding::new(learned.take(), prefix, raw, 14).unwrap();
        assert_eq!(encoding.left(), fresh);
        while !encoding.go_on(1000) {}
        let (data, after) = encoding.finish();
        assert_eq!(data, encode(prefix, raw, 14).unwrap(), "a peer that learned nothing yet reads it as well");
        let mut decoding = Decoding::new(taken.take(), prefix, &data, raw.len()).unwrap();
        assert_eq!(decoding.left(), fresh);
        while !decoding.go_on(1000) {}
        let (back, after_taking) = decoding.finish().unwrap();
        assert_eq!((&back, after_taking.bytes()), (raw, after.bytes()));
        (learned, taken) = (Some(after), Some(after_taking));
    }
    let other = events(1, 91);
    let encoding = Encoding::new(learned, &other, &third, 14).unwrap();
    assert_eq!(encoding.left(), other.len() + third.len(), "what is of other bytes, or of tables of another size, is of no use");
    assert_eq!(Encoding::new(taken, &[both, third].concat(), &[], 15).unwrap().left(), first.len() + second.len() + events(60, 90).len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_come_back(prefix in prop::collection::vec(any::<u8>(), 0..600), raw in prop::collection::vec(any::<u8>(), 0..600), log in 12_u32..=14) {
        let data = encode(&prefix, &raw, log).unwrap();
        prop_assert!(data.len() <= raw.len() + raw.len() / 8 + 8, "what nothing can foretell grows little: {} of {}", data.len(), raw.len());
        prop_assert_eq!(decode(&prefix, &data, raw.len()).unwrap(), raw);
    }

    #[test]
    fn text_that_is_nearly_json_comes_back(words in prop::collection::vec(r#"[\[\]{}":,\\a-c0-3 ]{0,9}|"[a-d]{1,5}":|\{"|"\}"#, 0..80)) {
        let raw = [b"\x59\x02\x00".as_slice(), words.concat().as_bytes()].concat();
        let data = encode(&[], &raw, 12).unwrap();
        prop_assert_eq!(decode(&[], &data, raw.len()).unwrap(), raw);
    }

    #[test]
    fn hostile_bytes_are_refused_or_decode_to_what_they_claim(mut data in prop::collection::vec(any::<u8>(), 1..200), raw_len in 0_usize..3000) {
        data[0] = 12 + data[0] % 3;
        if let Ok(raw) = decode(&[], &data, raw_len) {
            prop_assert_eq!(raw.len(), raw_len);
            prop_assert_eq!(encode(&[], &raw, u32::from(data[0])).unwrap(), data, "one value, one spelling");
        }
    }
}
