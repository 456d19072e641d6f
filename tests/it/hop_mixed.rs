//! A thin line gets the fewest bytes, a fast one the least work (R7.3-l).

use crate::hostile::range_of;
use crate::lab::{Hand, Lab, Line, Luck, count, push, run};
use crate::world::World;
use bundle_format::cbor::Reader;
use bundle_format::compress::{Codec, Decompressor};
use bundle_format::event::Event;
use bundle_format::ids::{Lane, NodeId, Origin};
use bundle_format::manifest::Granted;
use bundle_format::message::{Again, Message, Reason};
use bundle_format::mix;
use bundle_format::range::Range;
use bundle_format::vector::Tag;
use std::time::Duration;
use tokio::time::sleep;
use zbundle::keys::Policy;
use zbundle::ports::store::Stream;

/// Visits as a clinic writes them.
fn visits(from: u32, to: u32) -> Vec<Vec<u8>> {
    let visit = |n: u32| {
        let id = n.wrapping_mul(0x9e37_79b9);
        format!(r#"{{"visit":{n},"id":"{id:08x}","bp":"{}/{}","note":"seen at {} today","by":"nurse {}"}}"#, 100 + n % 40, 60 + n % 30, n % 7, n % 3)
    };
    (from..to).map(|n| visit(n).into_bytes()).collect()
}

fn hub_and_clinic() -> (Lab, NodeId) {
    let world = World::quick();
    world.init("hub", true);
    let clinic_id = world.join("clinic", "hub", Policy::Own);
    (Lab::new(world), clinic_id)
}

#[test]
fn on_a_thin_line_codec_3_is_chosen() {
    run(async {
        let (lab, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.cable.slow(Line { rate: 1200, delay_ms: 300 });
        push(&clinic, "routine", &[], &visits(0, 500)).await;
        let synced = lab.complete(&clinic, "hub").await;
        assert!(synced.mixed.ranges > 0 && synced.mixed.saved > 0, "{synced:?}");
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 500);
    });
}

#[test]
fn on_a_fast_line_it_is_not() {
    run(async {
        let (lab, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        push(&clinic, "routine", &[], &visits(0, 500)).await;
        let synced = lab.complete(&clinic, "hub").await;
        assert_eq!(synced.mixed.ranges, 0, "{synced:?}");
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 500);
    });
}

/// What is noise costs the same in any codec, and codec 3 costs a thousand times the work.
#[test]
fn noise_is_not_worked_on_however_thin_the_line() {
    run(async {
        let (lab, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.cable.slow(Line { rate: 1200, delay_ms: 300 });
        let mut luck = Luck(3);
        let noise: Vec<_> = (0..30).map(|_| luck.bytes(1000)).collect();
        push(&clinic, "routine", &[], &noise).await;
        let synced = lab.complete(&clinic, "hub").await;
        assert_eq!(synced.mixed.ranges, 0, "{synced:?}");
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 30);
    });
}

/// A clinic's hand takes what the hub has for it at 1200 bytes a second; the codecs of what came, by the first event inside. Refused once, in the
/// way of R7.3-l, if it is to be.
async fn taken_by_hand(granted: Option<Granted>, refuse: bool) -> Vec<(u64, Codec)> {
    ranges_by_hand(granted, refuse, &visits(0, 1500)).await.iter().map(|range| (range.first, range.codec)).collect()
}

/// The ranges themselves.
async fn ranges_by_hand(granted: Option<Granted>, refuse: bool, events: &[Vec<u8>]) -> Vec<Range> {
    let (lab, clinic_id) = hub_and_clinic();
    let hub = lab.serve("hub").await;
    push(&hub.standing, "routine", &["clinic"], events).await;
    let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
    let life = lab.world.view("clinic").keyring().incarnation();
    hand.greet_granting(Vec::new(), (life, 1), granted).await;
    let (mut came, mut next, mut again) = (Vec::new(), 1, 0);
    while let Some(message) = hand.hear().await {
        let range = match message {
            Message::Range(range) => range,
            Message::Done(heard) if heard == again => break,
            _ => continue,
        };
        let log = hand.theirs.handle(&range.origin).unwrap();
        sleep(Duration::from_millis(range.data.len() as u64 * 1000 / 1200)).await;
        if range.origin.audience != Some(clinic_id) {
            hand.say(&Message::Ack(vec![(log, range.last())])).await;
            continue;
        }
        came.push(range.clone());
        if refuse && again == 0 && range.codec == Codec::Mixed {
            (again, next) = (1, 1);
            hand.say(&Message::Again(Again { log, seq: 0, tag: Tag([0; 4]), reason: Reason::Differs })).await;
        } else if range.first == next {
            next = range.last() + 1;
            hand.say(&Message::Ack(vec![(log, range.last())])).await;
        }
    }
    assert_eq!(next, 1 + events.len() as u64, "all of it came: {came:?}");
    came
}

/// What stands before a range is learned once as long as ranges follow each other, and what they are made into is what it would be anyway (R4.8-n).
#[test]
fn a_range_goes_on_from_what_the_one_before_has_taught() {
    run(async {
        let mut luck = Luck(11);
        let mut signed = |visit: &Vec<u8>| {
            let signature = luck.bytes(24).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            format!(r#"{{"signature":"{signature}",{}"#, &String::from_utf8_lossy(visit)[1..]).into_bytes()
        };
        let events: Vec<_> = visits(0, 900).iter().map(&mut signed).collect(); // some tens to a range
        let came = ranges_by_hand(Some(Granted { work: 200_000, speed: 400_000 }), false, &events).await;
        let (mut raw, mut gone_on): (Vec<(u64, Vec<u8>)>, usize) = (Vec::new(), 0);
        for (index, range) in came.iter().enumerate() {
            let (first, count) = range.prefix.unwrap_or((range.first, 0));
            let before: Vec<_> = raw.iter().filter(|(seq, _)| (first..first + count).contains(seq)).flat_map(|(_, event)| event.clone()).collect();
            let bytes = match range.codec {
                Codec::Mixed => mix::decode(&before, &range.data, range.raw_len).unwrap(),
                Codec::Primed => Decompressor::decompress_primed(&range.data, range.raw_len, &before).unwrap(),
                Codec::Zstd => Decompressor::new().unwrap().decompress(&range.data, range.raw_len).unwrap(),
                Codec::Stored => range.data.clone(),
            };
            let mut reader = Reader::new(&bytes);
            for seq in range.first..=range.last() {
                let start = reader.position();
                Event::read(&mut reader).unwrap();
                raw.push((seq, bytes[start..reader.position()].to_vec()));
            }
            let goes_on = index > 0
                && came[index - 1].codec == Codec::Mixed
                && first == came[index - 1].prefix.map_or(came[index - 1].first, |(first, _)| first);
            gone_on += usize::from(range.codec == Codec::Mixed && goes_on && first + count == range.first);
        }
        let mixed = came.iter().filter(|range| range.codec == Codec::Mixed).count();
        assert!(gone_on * 2 > mixed && mixed > 4, "{gone_on} of {mixed} go on: {came:?}");
    });
}

#[test]
fn who_grants_nothing_gets_nothing_in_codec_3() {
    run(async {
        for some in [None, Some(Granted { work: 200_000, speed: 400_000 })] {
            let came = taken_by_hand(some, false).await;
            assert!(came.iter().any(|(_, codec)| *codec == Codec::Mixed), "what is not said is as usual: {came:?}");
        }
        let came = taken_by_hand(Some(Granted { work: 0, speed: 400_000 }), false).await;
        assert!(came.iter().all(|(_, codec)| *codec != Codec::Mixed), "{came:?}");
    });
}

#[test]
fn who_refused_a_range_in_codec_3_gets_it_and_all_others_by_zstd() {
    run(async {
        let came = taken_by_hand(Some(Granted { work: 200_000, speed: 400_000 }), true).await;
        let again = came.iter().rposition(|(first, _)| *first == 1).unwrap();
        assert!(came[..again].iter().any(|(_, codec)| *codec == Codec::Mixed), "{came:?}");
        assert!(came[again..].iter().all(|(_, codec)| *codec != Codec::Mixed), "{came:?}");
    });
}

/// A clinic that sends the same range in codec 3 without end has used up its grant soon; in another codec it is taken all the same.
#[test]
fn a_grant_that_is_used_up_is_refused_and_other_codecs_are_taken() {
    run(async {
        let (lab, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        push(&clinic, "routine", &[], &visits(0, 200)).await;
        clinic.close().await.unwrap();
        let hub_id = lab.world.view("hub").keyring().node();
        lab.world.cut("clinic", &[hub_id], "never-carried"); // signs what was pushed
        let view = lab.world.view("clinic");
        let life = view.keyring().incarnation();
        let origin = Origin { node: clinic_id, incarnation: life, lane: Lane::Routine, audience: None };
        let stored = range_of(&view, &Stream::main(origin)).unwrap();
        let mixed = Range { codec: Codec::Mixed, data: mix::encode(&[], &stored.data, mix::SLOTS_LOG_MAX).unwrap(), ..stored.clone() };
        drop(view);
        let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
        hand.greet(Vec::new(), (life, 1)).await;
        let mut taken = 0;
        let refusal = loop {
            hand.say(&Message::Range(mixed.clone())).await;
            match answer(&mut hand).await {
                Message::Ack(_) => taken += mixed.raw_len,
                other => break other,
            }
            assert!(taken < 2 << 20, "nobody grants so much");
        };
        assert!(matches!(&refusal, Message::Again(again) if again.reason == Reason::Differs), "{refusal:?}");
        assert!(taken >= 256 * 1024, "what may run ahead is taken: {taken}");
        hand.say(&Message::Range(stored)).await;
        assert!(matches!(answer(&mut hand).await, Message::Ack(_)));
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 200);
    });
}

/// The answer to a range.
async fn answer(hand: &mut Hand) -> Message {
    loop {
        match hand.hear().await {
            Some(answer @ (Message::Ack(_) | Message::Again(_) | Message::Bye(_))) => break answer,
            Some(_) => {}
            None => panic!("the hub has left"),
        }
    }
}
