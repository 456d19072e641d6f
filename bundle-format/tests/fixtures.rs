//! Every fixture of bundles and events, read by this crate. They were written from SPEC.md by another program (tools/vectors).
//!
//! The roster here is just enough of one for them; the program's own roster reads the same bundles in `tests/it/fixtures.rs`.

mod stories;

use bundle_format::cbor::Reader;
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;
use bundle_format::ids::{DomainId, Incarnation, Lane, NodeId, Origin, hex};
use bundle_format::range::{RangeError, VerifiedRange};
use bundle_format::seal::SealingKey;
use bundle_format::sign::{SigningKey, VerifyingKey};
use bundle_format::trust::Trust;
use serde::Deserialize;
use std::collections::BTreeMap;
use stories::{Context, Fixture, Refused, Roll, Story, any_hex, bytes, check_all, check_code, names_in};

#[test]
fn every_bundle_of_accept_opens_and_holds_what_its_story_says() {
    let (context, known) = (Context::read(), Known::read());
    check_all(&stories::fixtures("bundles/accept", "zb"), 12, |fixture| stories::check_accepted(fixture, &context, &known));
}

#[test]
fn every_bundle_of_reject_is_refused_by_its_first_fault() {
    let (context, known) = (Context::read(), Known::read());
    check_all(&stories::fixtures("bundles/reject", "zb"), 40, |fixture| stories::check_refused(fixture, &context, &known));
}

#[test]
fn every_event_of_accept_is_one() {
    check_all(&stories::fixtures::<OneEvent>("events/accept", "hex"), 8, |fixture| {
        let raw = event_bytes(fixture);
        Event::from_bytes(&raw).map_err(|error| error.to_string())?;
        let (found, told) = ((raw.len(), hex(&digest(&raw).0)), (fixture.story.length, fixture.story.digest.clone()));
        if found == told { Ok(()) } else { Err(format!("{found:?}, not {told:?}")) }
    });
}

#[test]
fn every_event_of_reject_is_refused_by_its_first_fault() {
    check_all(&stories::fixtures::<Refused>("events/reject", "hex"), 20, |fixture| {
        let raw = event_bytes(fixture);
        let read = Event::from_bytes(&raw).map(drop);
        check_code(&fixture.story, read.map_err(|error| (RangeError::Event { seq: 1, error }.code(), error.to_string())))
    });
}

#[test]
fn nothing_lies_in_the_fixtures_that_no_test_reads() {
    let folders = |of: &str| names_in(&stories::ROOT.join(of));
    assert_eq!(folders(""), ["README.md", "bundles", "clinic", "context.json", "events", "keys", "logs", "messages", "requests", "tables"]);
    for kind in ["bundles", "events", "logs", "messages", "requests"] {
        assert_eq!(folders(kind), ["accept", "reject"], "{kind}");
    }
}

#[test]
fn the_keys_are_what_they_say_and_what_the_context_says() {
    let context = Context::read();
    assert_eq!(hex(&context.authority_key().domain_id().0), context.domain);
    assert_eq!(hex(&context.authority_key().node_id().0), context.authority.node);
    let mut members = 0;
    for file in names_in(&stories::ROOT.join("keys")) {
        #[expect(clippy::disallowed_methods, reason = "tests read files as people would")]
        let person: Person = toml::from_str(&std::fs::read_to_string(stories::ROOT.join("keys").join(&file)).unwrap()).unwrap();
        assert_eq!(file, format!("{}.toml", person.name));
        assert_eq!((bytes::<4>(&person.incarnation).len(), person.key.is_empty()), (4, false));
        for (number, key) in (1..).zip(&person.key) {
            let signing = SigningKey::from_seed(&bytes(&key.signing_seed)).verifying_key();
            let sealing = SealingKey::from_bytes(bytes(&key.sealing_secret)).public();
            assert_eq!((key.number, hex(signing.as_bytes()), hex(&sealing.0)), (number, key.signing.clone(), key.sealing.clone()), "{file}");
            assert!(number > 1 || hex(&signing.node_id().0) == person.node, "{file}: an id is of the first key");
        }
        let Some(member) = context.roster.iter().find(|member| member.node == person.node) else { continue };
        let ours = person.key.into_iter().map(|key| stories::Key { number: key.number, signing: key.signing, sealing: key.sealing });
        assert_eq!(member.name, person.name);
        assert!(member.keys.iter().eq(ours.take(member.keys.len()).collect::<Vec<_>>().iter()), "{file}: other keys than in context.json");
        members += 1;
    }
    assert_eq!(members, context.roster.len());
}

/// An event's story.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneEvent {
    story: String,
    rules: Vec<String>,
    length: usize,
    digest: String,
}

impl Story for OneEvent {
    fn told(&self) -> &str {
        &self.story
    }
    fn rules(&self) -> &[String] {
        &self.rules
    }
}

fn event_bytes<S>(fixture: &Fixture<S>) -> Vec<u8> {
    any_hex(std::str::from_utf8(&fixture.bytes).unwrap())
}

/// A file of `keys/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    node: String,
    incarnation: String,
    key: Vec<SecretKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretKey {
    number: u64,
    signing_seed: String,
    signing: String,
    sealing_secret: String,
    sealing: String,
}

/// Who is enrolled, under which keys: what opening a bundle asks of a roster (SPEC §8.3), and no more.
#[derive(Clone)]
struct Known {
    authority: VerifyingKey,
    head: Position,
    origin: Origin,
    members: BTreeMap<NodeId, Enrolled>,
}

#[derive(Clone)]
struct Enrolled {
    name: String,
    keys: Vec<VerifyingKey>,
    revoked: bool,
}

impl Known {
    fn read() -> Self {
        let context = Context::read();
        let origin = roster_origin(&context.authority_key(), context.incarnation());
        let mut known = Self { authority: context.authority_key(), head: Position::start(&origin), origin, members: BTreeMap::new() };
        context.roster_events().iter().for_each(|event| known.take(event));
        assert_eq!((known.head.seq, known.head.hash), stories::told_head(&context));
        known
    }

    /// Number of the authority's newest key.
    fn newest_key(&self) -> u64 {
        self.members.get(&self.origin.node).map_or(1, |member| member.keys.len() as u64)
    }

    /// Behind a rekey of the authority what its newest key vouches for, and no more (R8.3-l).
    fn follow(&mut self, range: &VerifiedRange) {
        let known = self.head.seq;
        for (seq, event) in range.events().filter(|(seq, _)| *seq > known) {
            let mut covering = range.checkpoints().iter().filter(|(at, _)| at.seq >= seq);
            let counts = covering.any(|(_, checkpoint)| checkpoint.key_number >= self.newest_key());
            if ROSTER_KINDS.contains(&Event::from_bytes(event).unwrap().kind) && !counts {
                return;
            }
            self.take(event);
        }
    }

    fn take(&mut self, event: &[u8]) {
        self.head = self.head.then(&digest(event));
        let event = Event::from_bytes(event).unwrap();
        let field = |number: u64| {
            let mut reader = Reader::new(event.payload);
            let mut keys = reader.map().unwrap();
            while let Some(key) = keys.next(&mut reader).unwrap() {
                let item = reader.item().unwrap();
                if key == number {
                    return item;
                }
            }
            panic!("{} without key {number}", event.kind)
        };
        if !["zb/enrol", "zb/rekey", "zb/revoke"].contains(&event.kind) {
            return;
        }
        let node = NodeId(Reader::new(field(0)).bytes_exact().unwrap());
        let signing = || VerifyingKey::new(Reader::new(field(4)).bytes_exact().unwrap()).unwrap();
        match (event.kind, self.members.get_mut(&node)) {
            ("zb/enrol", None) => {
                let keys = vec![signing()];
                let name = Reader::new(field(2)).text().unwrap().to_owned();
                self.members.insert(node, Enrolled { name, keys, revoked: false });
            }
            ("zb/rekey", Some(member)) => {
                member.keys.push(signing());
                member.revoked = false;
            }
            ("zb/revoke", Some(member)) => member.revoked = true,
            _ => {} // void
        }
    }
}

/// Types of roster events (SPEC §8.2).
const ROSTER_KINDS: [&str; 6] = ["zb/enrol", "zb/rekey", "zb/revoke", "zb/policy", "zb/accept", "zb/heal"];

fn roster_origin(authority: &VerifyingKey, incarnation: Incarnation) -> Origin {
    Origin { node: authority.node_id(), incarnation, lane: Lane::Control, audience: None }
}

impl Trust for Known {
    fn domain(&self) -> DomainId {
        self.authority.domain_id()
    }
    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        let index = usize::try_from(key_number).ok()?.checked_sub(1)?;
        self.members.get(node)?.keys.get(index).copied()
    }
    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool {
        self.members.get(node).is_some_and(|member| member.keys.contains(key))
    }
    fn is_roster(&self, origin: &Origin) -> bool {
        *origin == self.origin
    }
    /// One that parts from what is known teaches nothing, unless the authority is rekeyed in it (R6.1-e).
    fn learn(&mut self, range: &VerifiedRange) {
        let start = range.run().start();
        if range.position(self.head.seq) == Some(self.head) {
            self.follow(range);
        } else if start.seq <= self.head.seq {
            let mut other = Self { head: start, ..self.clone() };
            other.follow(range);
            if other.newest_key() > self.newest_key() {
                *self = other;
            }
        }
    }
}

impl Roll for Known {
    fn name(&self, node: NodeId) -> String {
        self.members.get(&node).map_or_else(|| format!("@{}", hex(&node.0)), |member| member.name.clone())
    }
    fn is_current(&self, node: NodeId, key: &VerifyingKey) -> bool {
        self.members.get(&node).is_some_and(|member| !member.revoked && member.keys.last() == Some(key))
    }
}
