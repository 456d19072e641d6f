//! Heads: the versions of a record that no other version names as seen. Pure. SPEC §11.1.

use crate::ports::projection::{Folded, State, Version};
use bundle_format::event::Op;
use bundle_format::ids::{EventId, Hash, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// What makes two versions the same to people.
type Content<'a> = (&'a str, u8, &'a Hash);

fn content(version: &Version) -> Content<'_> {
    (&version.kind, version.op as u8, &version.sha256)
}

/// What `versions`, all of one record, come to. `None` when there are none. `is_held` is asked of events that versions name and that are not among them:
/// those of another record, or not counted, are not waited for.
pub fn fold(versions: &[Version], is_held: impl Fn(&EventId) -> bool) -> Option<Folded> {
    let by_id: BTreeMap<EventId, &Version> = versions.iter().map(|version| (version.id, version)).collect();
    let named = names(&by_id);
    let name = |id: &EventId| named.get(id).unwrap_or(id).to_owned();
    let (mut seen, mut waiting) = (seen_before_repetitions(&by_id, name), BTreeSet::new());
    for version in by_id.values() {
        let own = name(&version.id);
        for base in version.base.iter().flatten().map(name).filter(|base| *base != own) {
            if !by_id.contains_key(&base) && !is_held(&base) {
                waiting.insert(base);
            }
            seen.insert(base);
        }
    }
    let all: BTreeSet<EventId> = by_id.keys().map(name).collect();
    let mut heads: Vec<&Version> = all.difference(&seen).filter_map(|id| by_id.get(id).copied()).collect();
    let circular = heads.is_empty();
    if circular {
        heads = all.iter().filter_map(|id| by_id.get(id).copied()).collect(); // they name each other in a ring: none may hide another
    }
    heads.sort_by_key(|version| std::cmp::Reverse((version.hlc, version.id)));
    let winner = heads.first()?;
    let differ = heads.iter().any(|version| content(version) != content(winner));
    let state = state(differ, !waiting.is_empty(), winner.op);
    Some(Folded {
        state,
        head_count: heads.len() as u64,
        heads: heads.iter().map(|version| version.id).collect(),
        waiting: waiting.into_iter().collect(),
        circular,
    })
}

/// How a record stands whose heads `differ` or not, whose versions wait for something or not, and whose displayed head does `op` (R11.1-i).
pub fn state(differ: bool, waits: bool, op: Op) -> State {
    match (differ, waits, op) {
        (true, false, _) => State::Conflict,
        (true, true, _) => State::Pending,
        (false, _, Op::Delete) => State::Deleted,
        (false, ..) => State::Settled,
    }
}

/// Under which id each version goes that repeats another, and each event that only repetitions are held of (R11.1-g). A repetition is believed only
/// of the same node and with the same content: nobody can make another's words vanish, or change its own behind our back.
fn names(by_id: &BTreeMap<EventId, &Version>) -> BTreeMap<EventId, EventId> {
    let mut names = BTreeMap::new();
    let mut firsts: BTreeMap<(EventId, Content<'_>), EventId> = BTreeMap::new();
    for (id, version) in by_id {
        let Some(orig) = version.orig.filter(|orig| orig.origin.node == id.origin.node && orig != id) else { continue };
        match by_id.get(&orig) {
            Some(first) if content(first) == content(version) => names.insert(*id, orig),
            Some(_) => None,
            None => {
                let first = *firsts.entry((orig, content(version))).or_insert(*id);
                names.entry(orig).or_insert(first);
                names.insert(*id, first)
            }
        };
    }
    names
}

/// What the writers of repetitions that do not say it had seen: of each what its node had written last before the original (R11.1-b). All that stand at one
/// place had seen the same, and are looked at together: a record may have as many of either as somebody likes.
fn seen_before_repetitions(by_id: &BTreeMap<EventId, &Version>, name: impl Fn(&EventId) -> EventId) -> BTreeSet<EventId> {
    let mut places: BTreeMap<(Origin, u64), BTreeSet<EventId>> = BTreeMap::new();
    for (id, version) in by_id {
        places.entry(place(version)).or_default().insert(name(id));
    }
    let mut followers: BTreeMap<(Origin, u64), BTreeSet<EventId>> = BTreeMap::new();
    for (id, version) in by_id.iter().filter(|(_, version)| version.base.is_none()) {
        let own = place(version);
        if let Some((before, _)) = places.range((own.0, 0)..own).next_back() {
            followers.entry(*before).or_default().insert(name(id));
        }
    }
    let mut seen = BTreeSet::new();
    for (before, followers) in &followers {
        let by_another = |id: &&EventId| followers.iter().any(|follower| follower != *id); // nobody has seen itself
        seen.extend(places.get(before).into_iter().flatten().filter(by_another));
    }
    seen
}

/// Where a version stands in the history of its node: a repetition where the original does.
fn place(version: &Version) -> (Origin, u64) {
    let EventId { origin, seq, .. } = version.orig.filter(|orig| orig.origin.node == version.id.origin.node).unwrap_or(version.id);
    (origin, seq)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::hlc::Hlc;
    use bundle_format::ids::{Incarnation, Lane, NodeId};
    use proptest::prelude::*;

    fn id(node: u8, seq: u64) -> EventId {
        let origin = Origin { node: NodeId([node; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };
        EventId { origin, seq, digest: [7; 8] }
    }

    fn in_life(life: u8, id: EventId) -> EventId {
        EventId { origin: Origin { incarnation: Incarnation([life; 4]), ..id.origin }, ..id }
    }

    fn version(id: EventId, base: &[EventId], content: u8) -> Version {
        let hlc = Hlc(id.seq << 16);
        Version { id, orig: None, base: Some(base.to_vec()), hlc, kind: "t".into(), op: Op::Put, sha256: Hash([content; 32]), author: None }
    }

    fn check(versions: &[Version], state: State, heads: &[EventId]) {
        let folded = fold(versions, |_| false).unwrap();
        assert_eq!((folded.state, folded.heads.as_slice()), (state, heads), "{versions:?}");
    }

    #[test]
    fn heads_are_what_nobody_has_seen() {
        let (a, b, c) = (id(1, 1), id(2, 2), id(3, 3));
        let deleted = |version| Version { op: Op::Delete, ..version };
        check(&[version(a, &[], 1)], State::Settled, &[a]);
        check(&[version(a, &[], 1), version(b, &[a], 2)], State::Settled, &[b]);
        check(&[version(a, &[], 1), version(b, &[], 2)], State::Conflict, &[b, a]);
        check(&[version(a, &[], 1), version(b, &[], 1)], State::Settled, &[b, a]);
        check(&[version(a, &[], 1), version(b, &[], 2), version(c, &[a, b], 3)], State::Settled, &[c]);
        check(&[version(a, &[], 1), deleted(version(b, &[a], 2))], State::Deleted, &[b]);
        check(&[version(a, &[], 1), version(b, &[a], 2), deleted(version(c, &[a], 3))], State::Conflict, &[c, b]);
        assert_eq!(fold(&[], |_| false), None);
    }

    #[test]
    fn what_is_on_its_way_is_no_conflict() {
        let (a, missing, c) = (id(1, 1), id(2, 2), id(3, 3));
        let versions = [version(a, &[], 1), version(c, &[missing], 3)];
        check(&versions, State::Pending, &[c, a]);
        assert_eq!(fold(&versions, |_| false).unwrap().waiting, [missing]);
        assert_eq!(fold(&versions, |held| *held == missing).unwrap().state, State::Conflict, "what is held and does not count is not waited for");
        check(&[versions[0].clone(), version(missing, &[a], 2), versions[1].clone()], State::Settled, &[c]);
    }

    #[test]
    fn a_repetition_is_the_event_it_repeats() {
        let (first, lost, other) = (id(1, 1), id(1, 2), id(2, 9));
        let again = |life, of: EventId, content| {
            let repeated = in_life(life, EventId { seq: 1, ..of });
            Version { id: repeated, orig: Some(of), base: None, ..version(of, &[], content) }
        };
        let (v1, v2) = (version(first, &[], 1), version(lost, &[first], 2));
        check(&[v1.clone(), again(2, lost, 2)], State::Settled, &[again(2, lost, 2).id]);
        check(&[v1.clone(), v2.clone(), again(2, lost, 2)], State::Settled, &[lost]);
        check(&[v1.clone(), again(2, lost, 2), version(other, &[lost], 3)], State::Settled, &[other]);
        check(&[v1.clone(), v2.clone(), version(other, &[again(2, lost, 2).id], 3), again(2, lost, 2)], State::Settled, &[other]);
        check(&[again(2, lost, 2), again(3, lost, 2)], State::Settled, &[again(2, lost, 2).id]);
        check(&[v1, v2, again(2, lost, 5)], State::Conflict, &[again(2, lost, 5).id, lost].map(|id| id)); // another content is another version
        let forged = Version { orig: Some(first), ..version(other, &[], 1) };
        check(&[version(first, &[], 1), Version { sha256: Hash([9; 32]), ..forged }], State::Conflict, &[other, first]);
    }

    /// R11.1-b, worked out version by version as that rule is written, before one record of 30 000 repetitions took three minutes so.
    fn seen_one_by_one(by_id: &BTreeMap<EventId, &Version>, name: impl Fn(&EventId) -> EventId) -> BTreeSet<EventId> {
        let bases = |version: &Version| {
            let own = place(version);
            let earlier = by_id.values().map(|other| (place(other), other.id)).filter(|(at, _)| at.0 == own.0 && at.1 < own.1);
            let last = earlier.clone().map(|(at, _)| at.1).max();
            earlier.filter(|(at, _)| Some(at.1) == last).map(|(_, id)| name(&id)).filter(|id| *id != name(&version.id)).collect::<Vec<_>>()
        };
        by_id.values().filter(|version| version.base.is_none()).flat_map(|version| bases(version)).collect()
    }

    /// Many that repeat what stood at few places, and as many that repeat what stood behind: each has seen all of the others.
    #[test]
    fn a_record_of_many_repetitions_is_worked_out_in_the_time_of_its_length() {
        let repetition = |number: u64| {
            let repeated = EventId { seq: 1 + number % 2, digest: number.to_be_bytes(), ..id(1, 1) };
            Version { orig: Some(repeated), base: None, ..version(in_life(2, id(1, number + 1)), &[], 1) }
        };
        let versions: Vec<_> = (0..20_000).map(repetition).collect();
        assert_eq!(fold(&versions, |_| false).unwrap().head_count, 10_000, "those that stand behind");
        let by_id: BTreeMap<EventId, &Version> = versions.iter().map(|version| (version.id, version)).collect();
        let asked = std::cell::Cell::new(0);
        let name = |id: &EventId| {
            asked.set(asked.get() + 1);
            *id
        };
        assert_eq!(seen_before_repetitions(&by_id, name).len(), 10_000, "those that stand before");
        assert!(asked.get() <= 2 * versions.len(), "{} times for {} versions", asked.get(), versions.len());
    }

    /// A history of three sites that see each other's writes now and then.
    fn histories() -> impl Strategy<Value = Vec<Version>> {
        proptest::collection::vec((1u8..4, any::<u16>(), 0u8..3), 1..14).prop_map(|writes| {
            let mut versions: Vec<Version> = Vec::new();
            for (index, (node, sees, content)) in writes.into_iter().enumerate() {
                let base: Vec<_> = versions.iter().enumerate().filter(|(at, _)| sees >> at & 1 == 1).map(|(_, seen)| seen.id).collect();
                versions.push(version(id(node, index as u64 + 1), &base, content));
            }
            versions
        })
    }

    proptest! {
        /// R11.1-b, R11.1-g
        #[test]
        fn repetitions_are_looked_at_together_as_one_by_one(events in proptest::collection::vec((1u8..3, 1u8..4, 1u64..6, 0u8..2, any::<Option<(u8, u64)>>()), 1..12)) {
            let versions: Vec<_> = events.iter().map(|&(node, life, seq, content, orig)| {
                let orig = orig.map(|(digest, seq)| EventId { digest: [digest % 3; 8], ..in_life(1, id(node, 1 + seq % 5)) });
                let base = orig.is_none().then(Vec::new);
                Version { orig, base, ..version(in_life(life, EventId { digest: [content; 8], ..id(node, seq) }), &[], content) }
            }).collect();
            let by_id: BTreeMap<EventId, &Version> = versions.iter().map(|version| (version.id, version)).collect();
            let named = names(&by_id);
            let name = |id: &EventId| named.get(id).unwrap_or(id).to_owned();
            prop_assert_eq!(seen_before_repetitions(&by_id, name), seen_one_by_one(&by_id, name));
        }

        /// R11.1-d
        #[test]
        fn any_order_and_any_repetition_come_to_the_same(versions in histories(), seed in any::<u64>()) {
            let folded = fold(&versions, |_| false);
            let mut shuffled: Vec<_> = versions.iter().chain(&versions).cloned().collect();
            let mut state = seed | 1;
            for at in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
            }
            prop_assert_eq!(fold(&shuffled, |_| false), folded);
        }

        /// Whatever part of the events is here, no head is one that somebody here has seen, and a conflict is never told while something is missing.
        #[test]
        fn a_part_of_the_events_never_cries_wolf(versions in histories(), kept in any::<u16>()) {
            let here: Vec<_> = versions.iter().enumerate().filter(|(at, _)| kept >> at & 1 == 1).map(|(_, version)| version.clone()).collect();
            if let Some(folded) = fold(&here, |_| false) {
                for head in &folded.heads {
                    prop_assert!(!here.iter().any(|version| version.base.as_ref().unwrap().contains(head)));
                }
                let missing = here.iter().any(|version| version.base.iter().flatten().any(|base| !here.iter().any(|held| held.id == *base)));
                prop_assert!(folded.state != State::Conflict || !missing);
            }
        }
    }
}
