//! A member with real keys and without rules, and others at the hub's door: nothing is lost or invented, nobody else waits, each hears its code.

use crate::hostile::range_of;
use crate::lab::{Contents, Cut, Hand, Lab, Line, Serving, push, run};
use crate::world::World;
use bundle_format::chain::Position;
use bundle_format::compress::{Codec, Compressor};
use bundle_format::ids::{Hash, Incarnation, Lane, NodeId, Origin};
use bundle_format::message::{Again, Message, Reason};
use bundle_format::range::{Coding, Range};
use bundle_format::vector::{Tag, Told};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};
use zbundle::keys::Policy;
use zbundle::node::standing::Standing;
use zbundle::ports::net::Network as _;
use zbundle::ports::store::Stream;

/// A hub, a clinic that is honest, and one that is not and whose own events the hub holds.
struct Place {
    lab: Lab,
    hub: Serving,
    honest: Rc<Standing>,
    rogue: NodeId,
    life: Incarnation,
    before: Contents,
}

impl Place {
    async fn new() -> Self {
        let world = World::quick();
        world.init("hub", true);
        world.join("honest", "hub", Policy::OwnAndHubs);
        let rogue = world.join("rogue", "hub", Policy::OwnAndHubs);
        world.push("rogue", &["r1", "r2"]);
        world.push("honest", &["h1", "h2"]);
        world.push("hub", &["to all"]);
        let lab = Lab::new(world);
        let (hub, honest, rogue_node) = (lab.serve("hub").await, lab.stay("honest"), lab.stay("rogue"));
        lab.complete(&honest, "hub").await;
        lab.complete(&rogue_node, "hub").await;
        rogue_node.close().await.unwrap();
        hub.quiet().await;
        let life = lab.world.view("rogue").keyring().incarnation();
        let before = lab.contents("hub");
        Self { lab, hub, honest, rogue, life, before }
    }

    async fn hand(&self) -> Hand {
        Hand::dial(&self.lab, "rogue", "hub").await.unwrap()
    }

    /// It has said hello, truly.
    async fn greeted(&self) -> Hand {
        let mut hand = self.hand().await;
        let told = self.told(&hand);
        hand.greet(told, (self.life, 1000)).await;
        hand
    }

    /// All that the rogue holds.
    fn told(&self, hand: &Hand) -> Vec<Told> {
        let view = self.lab.world.view("rogue");
        let streams = view.log().streams();
        streams
            .iter()
            .map(|(stream, head)| Told::new(&hand.salt, stream.origin, &view.log().position(stream, head.checkpoint_seq).unwrap().unwrap()))
            .collect()
    }

    fn own(&self) -> Origin {
        Origin { node: self.rogue, incarnation: self.life, lane: Lane::Routine, audience: None }
    }

    /// A range of the rogue's own, with nothing wrong about it.
    fn range(&self) -> Range {
        range_of(&self.lab.world.view("rogue"), &Stream::main(self.own())).unwrap()
    }

    /// The honest one is served as ever, in no more than a moment, and the hub holds what it held and what that one brings.
    async fn unharmed(&mut self, story: &str) {
        let began = Instant::now();
        push(&self.honest, "routine", &[], &[story.as_bytes().to_vec()]).await;
        let synced = self.lab.complete(&self.honest, "hub").await;
        assert!((synced.delivered[2], synced.dials) == (1, 1) && began.elapsed() < Duration::from_secs(1), "{story}: {synced:?}");
        let now = self.lab.contents("hub");
        for (stream, events) in &self.before {
            assert_eq!(now[stream][..events.len()], events[..], "{story}: nothing is lost");
        }
        let count = |contents: &Contents| contents.values().map(Vec::len).sum::<usize>();
        assert_eq!(count(&now), count(&self.before) + 1, "{story}: nothing is invented");
        self.before = now;
    }
}

#[test]
fn a_member_that_breaks_the_protocol_is_ended_and_harms_nobody() {
    run(async {
        let mut place = Place::new().await;
        let (own, tag) = (place.own(), Tag([7; 4]));
        let stories: Vec<(&str, Vec<Message>)> = vec![
            ("acknowledges what it was not sent", vec![Message::Ack(vec![(0, 9)])]),
            ("acknowledges a history that has no number", vec![Message::Ack(vec![(77, 1)])]),
            ("asks again for what it was not sent", vec![Message::Again(Again { log: 50, seq: 0, tag, reason: Reason::Gap })]),
            (
                "says hello twice",
                vec![Message::Hello(bundle_format::message::Hello {
                    more: false,
                    window: 1,
                    take: None,
                    manifest: bundle_format::manifest::Manifest::default(),
                })],
            ),
            ("asks who we are when it has said hello", vec![Message::Who]),
            ("introduces itself unasked", vec![Message::Introduction(Vec::new())]),
            ("is done with more than it was asked for", vec![Message::Done(1)]),
        ];
        for (story, messages) in stories {
            let mut hand = place.greeted().await;
            for message in &messages {
                hand.say(message).await;
            }
            place.unharmed(story).await;
            let last = hand.hear_all().await.pop();
            assert_eq!(last, Some(Message::Bye(Some(bundle_format::error::Code::Z505))), "{story}");
            place.hub.quiet().await;
            assert_eq!(place.hub.codes(), ["Z505"], "{story}");
        }
        let _ = own;
    });
}

#[test]
fn bytes_that_are_no_message_end_the_session_before_they_are_kept() {
    run(async {
        let mut place = Place::new().await;
        for (story, bytes) in [
            ("a message too long", &b"\x5a\x00\x01\x80\x01"[..]),
            ("a message of 4 GiB", b"\x5b\x00\x00\x00\x01\x00\x00\x00\x00"),
            ("no message", b"\xff"),
            ("a kind of no version", b"\x42\x81\x0a"),
            ("a hello of another version", b"\x4f\x86\x00\x02\xf4\x1a\x00\x01\x00\x00\xf6\xa2\x00\x80\x01\x80"),
        ] {
            let mut hand = place.greeted().await;
            hand.say_bytes(bytes).await;
            assert_eq!(hand.hear_all().await.pop(), Some(Message::Bye(Some(bundle_format::error::Code::Z505))), "{story}");
            place.hub.quiet().await;
            assert_eq!(place.hub.codes(), ["Z505"], "{story}");
            place.unharmed(story).await;
        }
    });
}

#[test]
fn who_is_silent_or_slow_in_the_middle_is_left_and_delays_nobody() {
    run(async {
        let mut place = Place::new().await;
        // Half a message, then nothing.
        let mut hand = place.greeted().await;
        let bytes = Message::Range(place.range()).to_bytes(&hand.ours);
        hand.say_bytes(&bytes[..bytes.len() / 2]).await;
        let began = Instant::now();
        place.unharmed("while it is silent").await;
        place.hub.quiet().await;
        assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
        assert_eq!(place.hub.codes(), ["Z503"]);
        // A byte a second.
        let mut hand = place.greeted().await;
        let began = Instant::now();
        let long = [&b"\x59\x40\x00"[..], &[0; 0x4000]].concat();
        for byte in long {
            if !hand.say_bytes(&[byte]).await || place.hub.server.session_count() == 0 {
                break;
            }
            sleep(Duration::from_secs(1)).await;
        }
        assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
        assert_eq!(place.hub.codes(), ["Z503"]);
        place.unharmed("after a byte a second").await;
        // No hello at all; and one who proves no key.
        let mute = place.hand().await;
        let began = Instant::now();
        place.hub.quiet().await;
        assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
        assert_eq!(place.hub.codes(), ["Z503"]);
        drop(mute);
        for (bytes, code) in [(&b"GET / HTTP/1.1\r\n\r\n"[..], "Z504"), (b"", "Z503"), (b"\x16\x03\x01", "Z503")] {
            let mut plain = place.lab.cable.connect("hub:1").await.unwrap();
            plain.write_all(bytes).await.unwrap();
            place.unharmed("while somebody stands at the door").await;
            place.hub.quiet().await;
            assert_eq!(place.hub.codes(), [code], "{bytes:?}");
        }
    });
}

/// What becomes of a true range in a liar's hand.
type Lie = fn(&mut Range);

#[test]
fn a_range_that_lies_is_asked_for_again_or_ends_the_session() {
    let lies: [(&str, Lie, &str); 9] = [
        ("nothing wrong", |_| {}, "ack"),
        ("a bad checkpoint", |range| range.checkpoints[0].1.signature.0[9] ^= 1, "Z225"),
        (
            "a bad checkpoint, without base",
            |range| {
                range.checkpoints[0].1.signature.0[9] ^= 1;
                range.base = None;
            },
            "again",
        ),
        ("a wrong base", |range| range.base = Some(Hash([1; 32])), "Z225"),
        (
            "a changed event",
            |range| {
                let at = range.data.len() - 1;
                range.data[at] ^= 1;
            },
            "Z225",
        ),
        ("another's name", |range| range.origin.node = NodeId([9; 8]), "again"),
        ("a lane that has nothing", |range| (range.origin.lane, range.base) = (Lane::Bulk, None), "again"),
        ("a history of which the beginning is missing", |range| (range.first, range.base) = (5, None), "again"),
        (
            "a prefix that nobody holds",
            |range| (range.first, range.base, range.codec, range.prefix) = (2, None, Codec::Primed, Some((1, 1))),
            "again",
        ),
    ];
    run(async {
        let mut place = Place::new().await;
        for (lie, make, want) in lies {
            let mut hand = place.greeted().await;
            let mut range = place.range();
            make(&mut range);
            hand.say(&Message::Range(range)).await;
            let heard = loop {
                match hand.hear().await {
                    Some(Message::Ack(_)) => break "ack",
                    Some(Message::Again(_)) => break "again",
                    Some(Message::Bye(code)) => break code.map_or("bye", |code| code.as_str()),
                    Some(_) => {}
                    None => panic!("{lie}: nothing was said"),
                }
            };
            assert_eq!(heard, want, "{lie}");
            place.unharmed(lie).await;
            drop(hand);
            place.hub.quiet().await;
            place.hub.codes();
        }
        // The roster, compressed: nothing of it is unpacked.
        let view = place.lab.world.view("hub");
        let stream = Stream::main(view.roster().pin().roster_origin());
        let stored = range_of(&view, &stream).unwrap();
        let data = Compressor::new().unwrap().compress(&stored.data, bundle_format::compress::Level::FAST).unwrap();
        let mut hand = place.greeted().await;
        hand.say(&Message::Range(Range { codec: Codec::Zstd, data, ..stored })).await;
        assert_eq!(hand.hear_all().await.pop(), Some(Message::Bye(Some(bundle_format::error::Code::Z222))));
        place.unharmed("a compressed roster").await;
        let _ = (Coding::Stored, Position::start(&place.own()));
    });
}

/// R7.6-d: each range was answered with a few bytes. The hub read on and kept them all, and each read was a sign of life.
#[test]
fn who_never_reads_what_is_answered_is_not_listened_to_and_left() {
    const COUNT: usize = 250;
    run(async {
        let mut place = Place::new().await;
        let mut hand = place.greeted().await;
        let mut range = place.range();
        (range.origin.lane, range.first, range.base) = (Lane::Bulk, 1, None);
        (range.data, range.raw_len) = (vec![0xff], 1);
        hand.say(&Message::Range(range.clone())).await;
        let hundred = Message::Range(range).to_bytes(&hand.ours).repeat(100);
        let (began, mut said) = (Instant::now(), 0);
        while said < COUNT && hand.say_bytes(&hundred).await {
            said += 1;
        }
        place.hub.quiet().await;
        assert!(said < COUNT, "the answers to 25 000 ranges wait in its memory");
        assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
        assert_eq!(place.hub.codes(), ["Z503"]);
        place.unharmed("after it").await;
    });
}

#[test]
fn whatever_a_member_says_it_holds_costs_at_most_a_delay() {
    run(async {
        // What it says of the hub's own history; whether the hub sends it; whether it believes it has lost its past.
        for (story, ahead, lies, sends, lost) in [
            ("the truth", Some(0), false, false, false),
            ("nothing", None, false, true, false),
            ("another history", Some(0), true, true, true),
            ("more than there is", Some(9), true, false, true),
        ] {
            let mut place = Place::new().await; // a hub in a new life would be another story
            let hub = place.lab.world.view("hub");
            let hub_life = hub.keyring().incarnation();
            let of_hub = Origin { node: hub.keyring().node(), incarnation: hub_life, lane: Lane::Routine, audience: None };
            let head = hub.log().head(&Stream::main(of_hub)).unwrap().end;
            drop(hub);
            let hash = if lies { Hash([7; 32]) } else { head.hash };
            let mut hand = place.hand().await;
            let mut told: Vec<_> = place.told(&hand).into_iter().filter(|told| told.origin != of_hub).collect();
            if let Some(ahead) = ahead {
                let seq = head.seq + ahead;
                told.push(Told { origin: of_hub, seq, tag: Tag::of(&hand.salt, &hash) });
            }
            hand.greet(told, (place.life, 2000)).await;
            hand.say(&Message::Done(0)).await;
            let mut sent = false;
            loop {
                match hand.hear().await.expect("it is not ended for this") {
                    Message::Range(range) => sent |= range.origin == of_hub,
                    Message::Done(_) => break,
                    _ => {}
                }
            }
            assert_eq!(sent, sends, "{story}");
            let life = place.hub.standing.with(|node| Ok(node.keyring().incarnation())).await.unwrap();
            assert_eq!(life != hub_life, lost, "{story}");
            drop(hand);
            place.hub.quiet().await;
            place.hub.codes();
            place.unharmed(story).await;
        }
    });
}

#[test]
fn a_session_that_is_played_again_is_no_session() {
    run(async {
        let mut place = Place::new().await;
        place.lab.cable.record();
        place.lab.cable.passed();
        place.unharmed("recorded").await;
        let recorded = place.lab.cable.passed().remove(0).up_bytes.borrow().clone();
        for len in [recorded.len(), recorded.len() / 2, 300] {
            let mut plain = place.lab.cable.connect("hub:1").await.unwrap();
            drop(plain.write_all(&recorded[..len]).await);
            place.unharmed("while it is played").await;
            drop(plain);
            place.hub.quiet().await;
            let codes = place.hub.codes();
            assert!(codes.len() == 1 && matches!(codes[0], "Z502" | "Z503" | "Z505"), "{codes:?}");
        }
    });
}

#[test]
fn thirty_who_come_at_once_on_slow_lines_are_all_served() {
    run(async {
        let world = World::quick();
        world.init("hub", true);
        let names: Vec<_> = (0..30).map(|number| format!("clinic-{number}")).collect();
        for name in &names {
            world.join(name, "hub", Policy::Own);
            world.push(name, &["p1", "p2", "p3"]);
        }
        let lab = Rc::new(Lab::new(world));
        lab.cable.slow(Line { rate: 2875, delay_ms: 300 });
        let hub = lab.serve("hub").await;
        let mut tasks = Vec::new();
        for name in names {
            let lab = lab.clone();
            tasks.push(tokio::task::spawn_local(async move {
                let clinic = lab.stay(&name);
                let synced = lab.complete(&clinic, "hub").await;
                assert_eq!(synced.delivered[2], 3);
                clinic.close().await.unwrap();
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        hub.end().await;
        assert_eq!(lab.world.payloads("hub").len(), 90);
        let _ = Cut::default();
    });
}
