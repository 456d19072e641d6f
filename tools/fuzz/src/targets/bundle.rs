//! Whole bundles, from outside and from inside.

use crate::domain::{DOMAIN, fixture_files, open_bundle, seal_inner, signed, unseal_inner};
use bundle_format::cbor::Reader;
use bundle_format::chain::{Position, digest, log_id};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Codec;
use bundle_format::envelope::{Header, TRAILER_LEN};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::manifest::Manifest;
use bundle_format::open::SealedBundle;
use bundle_format::range::Range;
use std::io::Cursor;

/// SPEC §6.1, checks 1 to 9, then the rest. The first byte chooses whether the trailer is made right, and where a copy is cut short.
pub fn envelope(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let mended = choice % 2 == 1;
    let file = if mended { signed(bytes[..bytes.len().saturating_sub(TRAILER_LEN)].to_vec()) } else { bytes.to_vec() };
    let Ok(sealed) = SealedBundle::read(Cursor::new(&file)) else {
        return assert!(open_bundle(&file).is_err(), "what is not whole is not opened");
    };
    assert_eq!(sealed.len(), file.len() as u64);
    let header = sealed.header().to_bytes();
    assert_eq!(Header::read(&mut Reader::new(&header)).as_ref(), Ok(sealed.header()), "what it says of itself can be said again");
    let cut = file.len() * usize::from(*choice) / 256;
    let short = SealedBundle::read(Cursor::new(&file[..cut])).map(|_| ()).map_err(|error| error.code());
    assert!(matches!(short, Err(Code::Z211 | Code::Z212)), "a part of a file is cut short, {short:?} (R4.1-g)");
    let longer = SealedBundle::read(Cursor::new([&file[..], b"x"].concat())).map(|_| ()).map_err(|error| error.code());
    assert_eq!(longer, Err(Code::Z219), "nothing follows the trailer (R4.1-f)");
    assert_eq!(open_bundle(&file), open_bundle(&file), "the same bytes are read alike");
}

pub fn envelope_seeds() -> Vec<Vec<u8>> {
    let files = fixture_files("bundles/accept", "zb").into_iter().chain(fixture_files("bundles/reject", "zb"));
    let small = files.filter(|file| file.len() <= 2048);
    small.flat_map(|file| [[&[200][..], &file].concat(), [&[201][..], &file].concat()]).collect()
}

/// SPEC §6.1, checks 10 on. The first byte chooses whether chain and checkpoints are made right again, as a member gone bad would.
pub fn inner(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let resigned = if choice % 2 == 1 { resign(bytes) } else { None };
    let inner = resigned.as_deref().unwrap_or(bytes);
    if inner.is_empty() {
        return;
    }
    let Ok(inside) = open_bundle(&seal_inner(inner)) else { return };
    let mut reader = Reader::new(inner);
    let manifest = Manifest::read(&mut reader).expect("it was read inside");
    assert_eq!(manifest, inside.manifest);
    for (origin, first, events) in &inside.ranges {
        let range = Range::read(&mut reader, &manifest.nodes).expect("it was read inside");
        assert_eq!((range.origin, range.first, range.count), (*origin, *first, events.len() as u64), "in the order they stand");
    }
}

/// The same inside with every stored range's base and checkpoints as they must be, where we have the secrets.
fn resign(inner: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(inner);
    let manifest = Manifest::read(&mut reader).ok()?;
    let mut out = inner[..reader.position()].to_vec();
    while let Ok(mut range) = Range::read(&mut reader, &manifest.nodes) {
        mend(&mut range);
        out.extend(range.to_bytes(&manifest.nodes)?);
    }
    Some(out)
}

fn mend(range: &mut Range) {
    if range.codec == Codec::Stored {
        range.raw_len = range.data.len();
    }
    let base = range.base.filter(|_| range.first > 1).unwrap_or_else(|| log_id(&range.origin));
    let (mut reader, mut position, mut offset) = (Reader::new(&range.data), Position { seq: range.first - 1, hash: base }, 0);
    let mut made = Vec::new();
    while let Some((start, _)) = Some(reader.position()).zip(Event::read(&mut reader).ok()) {
        position = position.then(&digest(&range.data[start..reader.position()]));
        offset += 1;
        let signer = |number: u64| DOMAIN.signing_key(&DOMAIN.roster.signer(&range.origin.node, number)?);
        let wanted = range.checkpoints.iter().find(|(at, _)| *at == offset).map(|(_, checkpoint)| checkpoint.key_number);
        if let Some((number, key)) = wanted.and_then(|number| Some((number, signer(number)?))) {
            made.push((offset, Checkpoint::sign(&key, &DOMAIN.roster.domain(), &range.origin, number, &position)));
        }
    }
    for (at, checkpoint) in &mut range.checkpoints {
        if let Some((_, good)) = made.iter().find(|(offset, _)| offset == at) {
            *checkpoint = *good;
        }
    }
    range.base = Some(base);
}

pub fn inner_seeds() -> Vec<Vec<u8>> {
    let files = fixture_files("bundles/accept", "zb").into_iter().chain(fixture_files("bundles/reject", "zb"));
    let inners = files.filter(|file| file.len() <= 4096).filter_map(|file| unseal_inner(&file));
    inners.flat_map(|inner| [[&[0][..], &inner].concat(), [&[1][..], &inner].concat()]).collect()
}
