//! A bundle from seal to open: what was sealed is what opens, in the length that was foretold, and nothing else opens at all.

mod world;

use bundle_format::compress::Codec;
use bundle_format::envelope::{padme, sealed_len};
use bundle_format::error::Code;
use bundle_format::event::{Event, Ext, Op};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, Origin};
use bundle_format::limits::MANIFEST_LEN_MAX;
use bundle_format::manifest::Manifest;
use bundle_format::open::{OpenError, SealedBundle, VerifiedBundle};
use bundle_format::range::{Coding, Range};
use bundle_format::seal::{HeaderPlan, SealError, Sealer, SealingPublic};
use bundle_format::vector::{Tag, Told};
use proptest::prelude::*;
use std::io::{Cursor, Read, Seek, SeekFrom};
use world::{Log, World, log, raw, roster};

fn verify<'f>(world: &World, file: &'f [u8]) -> Result<VerifiedBundle<Cursor<&'f [u8]>>, OpenError> {
    SealedBundle::read(Cursor::new(file))?.unseal(&[&world.hub])?.verify(&mut world.trust())
}

fn small_bundle(world: &World) -> Vec<u8> {
    world.seal(&[world.range(&roster(), 0..2, Coding::Stored), world.range(&log(1, Lane::Urgent, 3), 0..3, Coding::Zstd)]).0
}

#[test]
fn what_was_sealed_is_what_opens() {
    let world = World::new();
    let ada = log(1, Lane::Routine, 300);
    let ranges = [world.range(&roster(), 0..2, Coding::Stored), world.range(&ada, 0..300, Coding::Zstd)];
    let (file, sealed) = world.seal(&ranges);
    let bundle = SealedBundle::read(Cursor::new(&file)).unwrap();
    assert_eq!((bundle.len(), bundle.digest()), (sealed.len, sealed.digest));
    assert_eq!(bundle.len(), file.len() as u64);
    let mut trust = world.trust();
    let mut verified = bundle.unseal(&[&world.hub]).unwrap().verify(&mut trust).unwrap();
    assert_eq!(trust.learnt, 1);
    let roster = verified.next_range().unwrap().unwrap();
    assert_eq!((roster.first(), roster.count(), roster.codec()), (1, 2, Codec::Stored));
    let events = verified.next_range().unwrap().unwrap();
    assert!(events.events().map(|(_, event)| event).eq(ada.events.iter().map(Vec::as_slice)));
    assert_eq!(events.codec(), Codec::Zstd);
    assert_eq!((events.end(), events.run().end()), (ada.position(300), ada.position(300)));
    assert_eq!(events.run_after(200).unwrap().start(), ada.position(200));
    assert_eq!(events.run_after(200).unwrap().events().len(), 100);
    assert!(events.run_after(301).is_none());
    assert_eq!(events.last_hlc(), Event::from_bytes(&ada.events[299]).unwrap().hlc);
    assert!(verified.next_range().unwrap().is_none());
    assert_eq!(verified.finish().unwrap(), world::manifest(&ranges));
}

#[test]
fn every_truncation_is_cut_short() {
    let file = small_bundle(&World::new());
    for len in 0..file.len() {
        match SealedBundle::read(Cursor::new(&file[..len])) {
            Err(OpenError::CutShort { len: said }) => assert_eq!(said, len as u64),
            other => panic!("cut at {len}: {other:?}"),
        }
    }
    let world = World::new();
    let long = world.seal(&[world.range(&log(1, Lane::Bulk, 4000), 0..4000, Coding::Stored)]).0;
    assert!(long.len() > 3 * 65_557, "three chunks");
    for len in (0..long.len()).step_by(997).chain(60_000..67_000).chain(long.len() - 300..long.len()) {
        assert_eq!(SealedBundle::read(Cursor::new(&long[..len])).unwrap_err().code(), Code::Z212, "cut at {len}");
    }
}

#[test]
fn every_flipped_byte_is_refused() {
    let world = World::new();
    let mut file = small_bundle(&world);
    let mut codes = std::collections::BTreeSet::new();
    for at in 0..file.len() {
        for mask in [0x01, 0x20, 0x80, 0xff] {
            file[at] ^= mask;
            let error = SealedBundle::read(Cursor::new(&file)).expect_err("a flipped byte was taken");
            codes.insert(error.code().as_str());
            if at > 300 {
                assert_ne!(error.code(), Code::Z215, "rot at {at} is not called forgery");
            }
            file[at] ^= mask;
        }
    }
    assert!(verify(&world, &file).is_ok());
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), ["Z211", "Z212", "Z213", "Z216", "Z217", "Z223"]);
}

/// Lies once the bundle was verified: a stick that rots or is swapped between the two passes.
struct Turncoat {
    honest: Cursor<Vec<u8>>,
    lies_from: u64,
    /// There is nothing any more from there on.
    is_cut: bool,
    lying: std::rc::Rc<std::cell::Cell<bool>>,
}

impl Read for Turncoat {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let at = self.honest.position();
        let left = if self.is_cut && self.lying.get() { usize::try_from(self.lies_from.saturating_sub(at)).unwrap() } else { buffer.len() };
        let len = left.min(buffer.len());
        let read = self.honest.read(&mut buffer[..len])?;
        if self.lying.get() {
            for (byte, at) in buffer[..read].iter_mut().zip(at..) {
                *byte ^= u8::from(at == self.lies_from);
            }
        }
        Ok(read)
    }
}

impl Seek for Turncoat {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.honest.seek(to)
    }
}

#[test]
fn a_file_that_changes_between_the_passes_gives_nothing_more() {
    let world = World::new();
    let (file, _) = world.seal(&[world.range(&log(1, Lane::Bulk, 4000), 0..4000, Coding::Stored)]);
    for (lies_from, is_cut) in [0, 20, 70_000, 150_000].into_iter().flat_map(|from| [(from, false), (from, true)]) {
        let lying = std::rc::Rc::new(std::cell::Cell::new(false));
        let reader = Turncoat { honest: Cursor::new(file.clone()), lies_from, is_cut, lying: lying.clone() };
        let unsealed = SealedBundle::read(reader).unwrap().unseal(&[&world.hub]).unwrap();
        if lies_from == 0 {
            lying.set(true);
            assert!(matches!(unsealed.verify(&mut world.trust()), Err(OpenError::Changed)));
            continue;
        }
        let mut verified = unsealed.verify(&mut world.trust()).unwrap();
        lying.set(true);
        let first = verified.next_range();
        if lies_from > 65_557 {
            assert!(matches!(first, Err(OpenError::Changed)), "{lies_from}: {first:?}");
            assert!(matches!(verified.finish(), Err(OpenError::Changed)));
        }
    }
}

#[test]
fn what_is_not_read_a_second_time_is_still_hashed() {
    let world = World::new();
    let ranges: Vec<_> = (0..4).map(|part| world.range(&log(1, Lane::Bulk, 2000), part * 500..(part + 1) * 500, Coding::Stored)).collect();
    let (file, _) = world.seal(&ranges);
    let lying = std::rc::Rc::new(std::cell::Cell::new(false));
    let reader = Turncoat { honest: Cursor::new(file.clone()), lies_from: file.len() as u64 - 100, is_cut: false, lying: lying.clone() };
    let unsealed = SealedBundle::read(reader).unwrap().unseal(&[&world.hub]).unwrap();
    let mut verified = unsealed.verify(&mut world.trust()).unwrap();
    lying.set(true);
    assert!(verified.next_range().unwrap().is_some());
    assert!(matches!(verified.finish(), Err(OpenError::Changed)), "the manifest counts only when everything was seen again");
}

#[test]
fn a_primed_range_is_verified_with_its_history_alone_and_stands_in_no_file() {
    let world = World::new();
    let ada = log(1, Lane::Routine, 120);
    let checkpoint = world.checkpoint(&ada, 120);
    let history = ada.events[..100].concat();
    let range = Range::build_primed(ada.origin, &ada.run(100..120), &[(20, checkpoint)], (1, 100), &history).unwrap();
    assert!(range.data.len() * 2 < world.range(&ada, 100..120, Coding::Zstd).data.len(), "history helps");
    let verify = |prefix: Option<&[u8]>| range.clone().verify(range.base.unwrap(), &world.trust(), prefix);
    assert_eq!(verify(Some(&history)).unwrap().raw(), ada.events[100..].concat());
    assert_eq!(verify(None).unwrap_err().code(), Code::Z227);
    let mut other = ada.events[..100].to_vec();
    other.reverse();
    let code = verify(Some(&other.concat())).unwrap_err().code();
    assert!([Code::Z224, Code::Z225, Code::Z226].contains(&code), "wrong history is found out: {code}");

    let mut sealer = world.sealer(1);
    sealer.manifest(&world::manifest(std::slice::from_ref(&range))).unwrap();
    assert!(matches!(sealer.range(&range), Err(SealError::Primed)), "R4.4-d");
    let file = raw::file(&world, raw::header(&world), &raw::inner(std::slice::from_ref(&range)));
    assert_eq!(self::verify(&world, &file).unwrap_err().code(), Code::Z222, "R4.4-d");
}

#[test]
fn a_sealer_refuses_what_no_reader_would_take() {
    let world = World::new();
    let key = world::signing_key(0);
    let seal = |recipients: Vec<SealingPublic>| {
        let sender = key.verifying_key().node_id();
        let plan = HeaderPlan { domain: world.domain(), sender, signing_key: &key, recipients, created: None, best_lane: None };
        let bundle = Sealer::new(Vec::new(), &plan, &mut world::random(5))?;
        let salt = bundle.salt();
        assert_eq!(bundle.len_if_finished(), bundle_format::envelope::sealed_len(0, plan.header_len()));
        Ok::<_, SealError>(salt)
    };
    assert!(matches!(seal(vec![]), Err(SealError::RecipientCount(0))));
    assert!(matches!(seal(vec![world.hub.public(); 65]), Err(SealError::RecipientCount(65))));
    assert!(matches!(seal(vec![world.hub.public(), SealingPublic([0; 32])]), Err(SealError::WeakRecipient { index: 1 })));
    assert!(seal(vec![world.hub.public(); 64]).is_ok());
    let range = world.range(&log(1, Lane::Routine, 1), 0..1, Coding::Stored);
    let mut bundle = world.sealer(1);
    assert!(matches!(bundle.range(&range), Err(SealError::NodeTable)), "a range before the manifest");
    bundle.manifest(&world::manifest(&[])).unwrap();
    assert!(matches!(bundle.range(&range), Err(SealError::NodeTable)), "a range of a node that the manifest lacks");
    assert!(matches!(world.sealer(1).finish(), Err(SealError::NodeTable)), "no manifest");
}

/// Events of so many bytes in all.
fn of_length(raw_len: usize) -> Log {
    let event = |len: usize| Event { hlc: Hlc(1), kind: "scan", payload: &vec![7; len], ext: Ext::default() }.to_bytes().unwrap();
    let mut events = vec![event(1000); raw_len / event(1000).len() - 1];
    let left = raw_len - events.len() * event(1000).len();
    events.push(event(left - (event(1500).len() - 1500)));
    Log { events, ..log(2, Lane::Bulk, 0) }
}

/// R4.4-l, to the byte: a file may unpack to 1 MiB and 200 times its length.
#[test]
fn a_file_may_expand_as_far_as_a_reader_unpacks_and_no_further() {
    let world = World::new();
    let range = |raw_len: usize| world.range(&of_length(raw_len), 0..of_length(raw_len).events.len(), Coding::Zstd);
    let first = range(1_000_000);
    let manifest = world::manifest(&[first.clone(), first.clone()]);
    let header = world.plan().header_len();
    let fixed = manifest.to_bytes().unwrap().len() as u64 + first.wire_len(&manifest.nodes).unwrap();
    let limit = |raw_len| 200 * sealed_len(fixed + range(raw_len).wire_len(&manifest.nodes).unwrap(), header) + (1 << 20);
    // where the file does not become longer with one byte more
    let meets = |raw_len: &usize| *raw_len as u64 + 1_000_000 == limit(*raw_len) && limit(*raw_len + 1) == limit(*raw_len);
    let raw_len = (600..2500).map(|len| usize::try_from(200 * len + (1 << 20)).unwrap() - 1_000_000).find(meets).expect("lengths are rounded up");
    for (raw_len, fits) in [(raw_len, true), (raw_len + 1, false)] {
        let second = range(raw_len);
        let mut bundle = world.sealer(1);
        bundle.manifest(&manifest).unwrap();
        bundle.range(&first).unwrap();
        assert_eq!(bundle.expands_too_far(&second).unwrap(), !fits, "{raw_len}");
        match bundle.range(&second) {
            Ok(()) => assert!(fits, "{raw_len}"),
            Err(error) => assert!(!fits && matches!(error, SealError::Full), "{raw_len}: {error:?}"),
        }
        if fits {
            let (file, _) = bundle.finish().unwrap();
            let mut verified = verify(&world, &file).unwrap();
            while verified.next_range().unwrap().is_some() {}
            verified.finish().unwrap();
        }
    }
}

/// R4.4-m, to the byte. A file of 200 KB had a reader decode 30 MB in codec 3, twice: 35 s for what takes 0.1 s in codec 1.
#[test]
fn a_reader_decodes_2_mib_of_a_file_in_codec_3_and_no_byte_more() {
    let world = World::new();
    let mebibyte = world.range(&of_length(1 << 20), 0..of_length(1 << 20).events.len(), Coding::Mixed);
    let noise = log(1, Lane::Routine, 200);
    let room = world.range(&noise, 0..200, Coding::Stored); // by R4.4-l a short file may not expand so far
    let more = world.range(&noise, 0..40, Coding::Mixed);
    assert_eq!((more.codec, mebibyte.codec), (Codec::Mixed, Codec::Mixed));
    let mut ranges = vec![room, mebibyte.clone(), mebibyte];

    let mut bundle = world.sealer(1);
    bundle.manifest(&world::manifest(&ranges)).unwrap();
    for range in &ranges {
        bundle.range(range).unwrap();
    }
    assert!(!bundle.takes_mixed(1));
    assert!(matches!(bundle.range(&more), Err(SealError::Full)));
    assert!(bundle.range(&world.range(&noise, 0..40, Coding::Zstd)).is_ok(), "in another codec");

    ranges.push(more);
    let file = raw::file(&world, raw::header(&world), &raw::inner(&ranges));
    let refused = verify(&world, &file).unwrap_err();
    assert!(matches!(refused, OpenError::Limit("raw bytes in codec 3")), "what was before it is taken: {refused:?}");
    assert_eq!(refused.code(), Code::Z218);
}

/// SPEC §2.4, to the byte: what is longer is refused before any of it is written.
#[test]
fn a_manifest_is_as_long_as_it_may_be_and_no_longer() {
    let world = World::new();
    let told = |n: u32, seq| {
        let origin = Origin { incarnation: Incarnation(n.to_be_bytes()), ..world::origin(0, Lane::Routine) };
        Told { origin, seq, tag: Tag([0; 4]) }
    };
    // each entry with a seq of two bytes makes it one byte longer
    let of = |count: u32, long: u32| Manifest::new((0..count).map(|n| told(n, if n < long { 24 } else { 1 })).collect(), None, Vec::new(), []);
    let len = |manifest: &Manifest| manifest.to_bytes().unwrap().len();
    let entry = len(&of(2, 0)) - len(&of(1, 0));
    let around = len(&of(66_000, 0)) - 66_000 * entry;
    let (count, long) = ((MANIFEST_LEN_MAX - around) / entry, (MANIFEST_LEN_MAX - around) % entry);
    let (count, long) = (u32::try_from(count).unwrap(), u32::try_from(long).unwrap());
    let (longest, too_long) = (of(count, long), of(count, long + 1));
    assert_eq!((len(&longest), len(&too_long)), (MANIFEST_LEN_MAX, MANIFEST_LEN_MAX + 1));
    let mut bundle = world.sealer(1);
    let before = bundle.len_if_finished();
    let refused = bundle.manifest(&too_long);
    assert!(matches!(refused, Err(SealError::Manifest { len }) if len == MANIFEST_LEN_MAX + 1), "{refused:?}");
    assert_eq!(bundle.len_if_finished(), before);
    bundle.manifest(&longest).unwrap();
    let (file, _) = bundle.finish().unwrap();
    assert_eq!(verify(&world, &file).unwrap().finish().unwrap(), longest);
}

/// How long a range will be is known before it is written, however its history is named.
#[test]
fn a_range_is_as_long_as_it_says_and_packed_as_it_was_asked_for() {
    let world = World::new();
    let ada = log(1, Lane::Routine, 60);
    let stored = world.range(&ada, 0..60, Coding::Stored);
    for (coding, codec) in [(Coding::Stored, Codec::Stored), (Coding::Fast, Codec::Zstd), (Coding::Zstd, Codec::Zstd), (Coding::Mixed, Codec::Mixed)]
    {
        let range = world.range(&ada, 0..60, coding);
        let manifest = world::manifest(std::slice::from_ref(&range));
        let bytes = range.to_bytes(&manifest.nodes).unwrap();
        assert_eq!((range.codec, range.wire_len(&manifest.nodes)), (codec, Some(bytes.len() as u64)), "{coding:?}");
        assert!(range.data.len() < stored.data.len() || coding == Coding::Stored, "{coding:?}");
        let (file, _) = world.seal(std::slice::from_ref(&range));
        let mut verified = verify(&world, &file).unwrap();
        let opened = verified.next_range().unwrap().unwrap();
        assert!(opened.codec() == codec && opened.events().map(|(_, event)| event).eq(ada.events.iter().map(Vec::as_slice)), "{coding:?}");
        let other = world::manifest(&[]);
        assert_eq!((range.wire_len(&other.nodes), range.to_bytes(&other.nodes)), (None, None), "a table that lacks its node");
    }
    let long = log(1, Lane::Routine, 3000);
    let [fast, dense] = [Coding::Fast, Coding::Zstd].map(|coding| world.range(&long, 0..3000, coding).data.len());
    assert!(fast > dense, "{fast} and {dense} bytes: who is in a hurry packs less");
}

#[test]
fn one_event_for_one_recipient_is_small() {
    let world = World::new();
    let (file, _) = world.seal(&[world.range(&log(1, Lane::Routine, 1), 0..1, Coding::Zstd)]);
    assert!(file.len() <= 740, "{}", file.len());
}

/// Any events that may be, in a log of node 1.
fn any_log() -> impl Strategy<Value = Log> {
    let text = || proptest::option::of("[a-zé/]{1,40}");
    let payload = prop_oneof![3 => proptest::collection::vec(any::<u8>(), 0..60), 1 => proptest::collection::vec(any::<u8>(), 0..4097)];
    let op = prop_oneof![Just(Op::Put), Just(Op::Delete), Just(Op::Resolve)];
    let event = (any::<u64>(), "[a-z/]{1,20}", payload, text(), text(), op).prop_map(|(hlc, kind, payload, record_key, author, op)| {
        let ext = Ext { record_key: record_key.as_deref(), author: author.as_deref(), op, ..Ext::default() };
        Event { hlc: Hlc(hlc), kind: &kind, payload: &payload, ext }.to_bytes().unwrap()
    });
    (proptest::collection::vec(event, 1..120), 0usize..4).prop_map(|(events, lane)| Log { events, ..log(1, Lane::ALL[lane], 0) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_ranges_come_back_as_they_were(log in any_log(), cut in 0usize..120, stored: bool, seed: u64, big in 0usize..3) {
        let world = World::new();
        let coding = if stored { Coding::Stored } else { Coding::Zstd };
        let cut = cut % log.events.len();
        let bulk = world::bulk(big * 700);
        let mut ranges = vec![world.range(&roster(), 0..2, Coding::Stored)];
        if cut > 0 {
            ranges.push(world.range(&log, 0..cut, coding));
        }
        ranges.push(world.range(&log, cut..log.events.len(), coding));
        if big > 0 {
            ranges.push(world.range(&bulk, 0..bulk.events.len(), Coding::Stored));
        }
        let (file, sealed) = world.seal_with(seed, &ranges);
        prop_assert_eq!(padme(sealed.len), sealed.len);
        let mut verified = verify(&world, &file).unwrap();
        for range in &ranges {
            let back = verified.next_range().unwrap().unwrap();
            let log = [&log, &bulk, &roster()].into_iter().find(|log| log.origin == range.origin).unwrap().events.clone();
            let first = usize::try_from(range.first).unwrap() - 1;
            prop_assert_eq!(back.raw(), log[first..first + back.count()].concat());
            prop_assert_eq!(back.checkpoints().last().map(|(position, _)| *position), Some(back.end()));
        }
        prop_assert!(verified.next_range().unwrap().is_none());
        prop_assert_eq!(verified.finish().unwrap(), world::manifest(&ranges));
        let (header, inner) = raw::read(&world, &file);
        prop_assert!(header.is_map());
        let bare = ranges.iter().fold(world::manifest(&ranges).to_bytes().unwrap(), |inner, range| {
            [inner, range.to_bytes(&world::manifest(&ranges).nodes).unwrap()].concat()
        });
        prop_assert_eq!(&inner[..bare.len()], bare);
    }
}
