//! Roster events in any order, by an authority that writes anything: SPEC §8.2 to §8.4.

use crate::domain::DOMAIN;
use crate::hand::Hand;
use crate::targets::secrets::name_from;
use bundle_format::chain::{Position, digest};
use bundle_format::event::{Event, Ext, Part};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, Origin};
use bundle_format::seal::SealingKey;
use bundle_format::sign::SigningKey;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use zbundle::keys::{Entry, Keep, Member, Pin, Policy, Roster, RosterEvent};

const KINDS: [&str; 8] = ["zb/enrol", "zb/rekey", "zb/revoke", "zb/policy", "zb/accept", "zb/heal", "zb/alive", "note"];
/// Of those who may be enrolled; the first is the authority.
const PEOPLE: u8 = 6;

/// Keys are slow to make.
static SIGNING: LazyLock<Vec<SigningKey>> = LazyLock::new(|| (0..4 * PEOPLE).map(|n| SigningKey::from_seed(&[n + 1; 32])).collect());
static SEALING: LazyLock<Vec<SealingKey>> = LazyLock::new(|| (0..4 * PEOPLE).map(|n| SealingKey::from_bytes([n + 1; 32])).collect());

fn pin() -> Pin {
    Pin { authority_key: SIGNING[0].verifying_key(), incarnation: Incarnation([1; 4]) }
}

/// One event of the roster lane: its type, payload, part, and the key it is checkpointed under.
struct Written {
    kind: &'static str,
    payload: Vec<u8>,
    part: Option<Part>,
    under: Option<u64>,
}

impl Written {
    fn event(&self) -> Event<'_> {
        Event { hlc: Hlc(9), kind: self.kind, payload: &self.payload, ext: Ext { part: self.part, ..Ext::default() } }
    }

    /// What the hand chooses: a sensible event, one with wrong bytes, or bytes from anywhere.
    fn by(hand: &mut Hand<'_>) -> Self {
        let kind = hand.one_of(&KINDS);
        let mut payload = sensible(kind, hand).map_or_else(|| hand.piece().to_vec(), |event| event.payload());
        match hand.byte() % 8 {
            0 => payload = hand.piece().to_vec(),
            1 => payload.truncate(hand.below(payload.len() + 1)),
            2 if !payload.is_empty() => {
                let at = hand.below(payload.len());
                payload[at] = hand.byte();
            }
            _ => {}
        }
        let part = (hand.byte().is_multiple_of(8)).then(|| Part { index: u64::from(hand.byte() % 4), count: u64::from(hand.byte() % 4) });
        let under = (hand.byte().is_multiple_of(4)).then(|| u64::from(hand.byte() % 4));
        Self { kind, payload, part, under }
    }
}

fn sensible(kind: &str, hand: &mut Hand<'_>) -> Option<RosterEvent> {
    let person = usize::from(hand.byte() % PEOPLE);
    let key = |hand: &mut Hand<'_>| person + usize::from(PEOPLE) * usize::from(hand.byte() % 4);
    let node = SIGNING[person].verifying_key().node_id();
    let keep = |hand: &mut Hand<'_>| {
        let life = Incarnation([hand.byte() % 3; 4]);
        let lane = Lane::from_number(u64::from(hand.byte() % 4)).unwrap_or_default();
        let origin = Origin { node, incarnation: life, lane, audience: None };
        let position = Position { seq: u64::from(hand.byte() % 9) + 1, hash: digest(&[hand.byte() % 3]) };
        (0..hand.byte() % 3).map(|_| Keep::new(&origin, position)).collect::<Vec<_>>()
    };
    let policy = |hand: &mut Hand<'_>| match hand.byte() % 4 {
        0 => Policy::Own,
        1 => Policy::OwnAndHubs,
        2 => Policy::All,
        _ => Policy::nodes((0..hand.byte() % 4).map(|n| SIGNING[usize::from(n)].verifying_key().node_id()).collect()),
    };
    Some(match kind {
        "zb/enrol" => {
            let key = if hand.byte().is_multiple_of(4) { key(hand) } else { person };
            let name = if hand.byte().is_multiple_of(4) { name_from(hand) } else { format!("n{person}") };
            let (signing, sealing) = (SIGNING[key].verifying_key(), SEALING[key].public());
            RosterEvent::Enrol { node, name, signing, sealing, policy: policy(hand) }
        }
        "zb/rekey" => {
            let key = key(hand);
            let (signing, sealing) = (SIGNING[key].verifying_key(), SEALING[key].public());
            RosterEvent::Rekey { node, key_number: u64::from(hand.byte() % 4), signing, sealing, keep: keep(hand) }
        }
        "zb/revoke" => RosterEvent::Revoke { node, key_number: u64::from(hand.byte() % 4), keep: keep(hand) },
        "zb/policy" => RosterEvent::Policy { node, policy: policy(hand) },
        "zb/accept" => RosterEvent::Accept { node, keep: keep(hand) },
        _ => return None,
    })
}

pub fn roster(bytes: &[u8]) {
    let mut hand = Hand::new(bytes);
    let fork_at = usize::from(hand.byte() % 8);
    let mut written = Vec::new();
    while !hand.is_empty() && written.len() < 64 {
        written.push(Written::by(&mut hand));
    }
    for written in &written {
        payload_has_one_spelling(written.kind, &written.payload);
    }
    let mut roster = Roster::new(pin());
    for written in &written {
        let (before, position) = (roster.clone(), roster.head().then(&digest(&written.payload)));
        if written.under.is_some_and(|number| !roster.counts_under(number)) {
            continue; // it waits
        }
        let applied = roster.apply(position, &written.event());
        assert_eq!(roster.head(), position, "what has no effect is folded all the same");
        if applied.is_err() {
            assert!(before.members().eq(roster.members()), "what is refused changes no member");
            assert_eq!(roster.refused().len(), before.refused().len() + 1);
        }
        is_a_roster(&roster);
        assert!(roster.members().count() >= before.members().count(), "nobody is forgotten");
    }
    branches_in_any_order(&written, fork_at);
}

fn payload_has_one_spelling(kind: &str, payload: &[u8]) {
    let Ok(Some(event)) = RosterEvent::read(kind, payload) else { return };
    let again = event.payload();
    assert_eq!(RosterEvent::read(event.kind(), &again).as_ref(), Ok(&Some(event.clone())), "{kind}");
    assert!(again == payload || again.len() < payload.len(), "{kind}: one value has one spelling");
}

/// What always holds of a roster.
fn is_a_roster(roster: &Roster) {
    let members: Vec<&Member> = roster.members().collect();
    let names: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
    let keys: Vec<_> = members.iter().flat_map(|member| &member.keys).collect();
    let unique: BTreeSet<_> = keys.iter().map(|key| *key.signing.as_bytes()).collect();
    assert_eq!((names.len(), unique.len()), (members.len(), keys.len()), "a name has one node, a key one holder");
    assert!(members.is_empty() || roster.is_hub(&roster.authority()), "a domain has its authority");
    for member in members {
        assert_eq!(member.keys[0].signing.node_id(), member.node, "an id is of the first key (R3.1-a)");
        assert!(member.keys.iter().zip(1..).all(|(key, number)| key.number == number));
        assert_eq!(roster.by_name(&member.name).map(|found| found.node), Some(member.node));
        let own = Origin { node: member.node, incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };
        assert_eq!(roster.may_see(&member.node, &own), !member.is_revoked(), "who has a key in force sees what is its own, and nobody else (R8.7-b)");
    }
}

/// A fork of the roster: which branch came first changes nothing (SPEC §8.4).
fn branches_in_any_order(written: &[Written], fork_at: usize) {
    let at = fork_at.min(written.len());
    let (common, rest) = written.split_at(at);
    let (left, right) = rest.split_at(rest.len() / 2);
    if left.first().zip(right.first()).is_some_and(|(left, right)| left.payload == right.payload) {
        return; // they do not part here
    }
    let entries = |written: &'_ [Written], from: Position| {
        let mut position = from;
        let entry = |written: &Written| {
            position = position.then(&digest(&written.payload));
            (position, written.under.into_iter().collect::<Vec<_>>())
        };
        written.iter().map(entry).collect::<Vec<_>>()
    };
    let places = entries(common, Position::start(&pin().roster_origin()));
    let fork = places.last().map_or(Position::start(&pin().roster_origin()), |(position, _)| *position);
    let common = told(common, places);
    let (left, right) = (told(left, entries(left, fork)), told(right, entries(right, fork)));
    let one = Roster::from_branches(pin(), &common, &[&left, &right]);
    let other = Roster::from_branches(pin(), &common, &[&right, &left]);
    assert_eq!(one, other, "the order of the branches does not matter");
    is_a_roster(&one);
}

fn told(written: &[Written], places: Vec<(Position, Vec<u64>)>) -> Vec<Entry<'_>> {
    written.iter().zip(places).map(|(written, (position, key_numbers))| Entry { position, event: written.event(), key_numbers }).collect()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let founding = vec![0, 0, 0, 1, 1, 2, 7, 1, 1];
    let mut seeds = vec![founding.clone()];
    for kind in 0..6u8 {
        let more = [kind, 1, 1, 1, 0, 7, 1, 1, kind, 1, 2, 1, 1, 7, 1, 1, 2, 1, 1, 1, 2, 5, 1, 2, 7, 1, 1];
        seeds.push([&founding[..], &[0, 1, 1, 1, 0, 7, 1, 1], &more].concat());
    }
    seeds.extend(DOMAIN.roster_events.iter().map(|event| [&[1, 0, 0][..], event].concat()));
    seeds
}
