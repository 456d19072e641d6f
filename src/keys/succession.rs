//! Which replacement of the authority's key rules, and what each branch of the roster says that counts under it. Pure. SPEC §8.3.
//!
//! Who holds a replaced key can sign for ever, also below the event that replaced it: what he writes there looks like a branch of an honest fork. So a
//! replaced key says nothing outside the history that runs through its replacement (R8.3-l, R8.3-m).

use super::branches::{Entry, heads};
use super::member::{MemberKey, Pin};
use super::roster::{Refused, Roster, RosterError};
use super::roster_event::RosterEvent;
use bundle_format::chain::Position;
use bundle_format::ids::Hash;
use bundle_format::sign::VerifyingKey;
use std::collections::BTreeSet;

/// The roster from its first event along one branch.
pub type Path<'a> = Vec<Entry<'a>>;

/// A new key of the authority on one of the paths.
#[derive(Clone, Copy)]
struct Rekey {
    number: u64,
    key: VerifyingKey,
    position: Position,
    /// The new key has signed at it or above: nobody but its holder could.
    confirmed: bool,
}

impl Roster {
    /// Whether what a checkpoint by the authority's key `key_number` covers takes effect as the next of the roster (R8.3-l).
    pub fn counts_under(&self, key_number: u64) -> bool {
        key_number >= self.newest_number()
    }

    /// Of the authority's newest key.
    pub(super) fn newest_number(&self) -> u64 {
        newest(self).map_or(1, |key| key.number)
    }
}

fn newest(roster: &Roster) -> Option<&MemberKey> {
    roster.members.get(&roster.pin.node()).and_then(|member| member.keys.last())
}

/// Cut off each of `paths` what does not count, and give back the roster events among that. The first path may end with what the authority has written
/// itself and not yet signed, if it `is_own`. Of several positions `stored_first` tells the one that was stored first.
///
/// # Errors
/// What `stored_first` says.
pub fn keep_counting<E>(
    pin: Pin,
    paths: &mut [Path<'_>],
    is_own: bool,
    stored_first: &mut dyn FnMut(&[Position]) -> Result<Position, E>,
) -> Result<Vec<Refused>, E> {
    if !paths.iter().flatten().any(|entry| entry.event.kind == "zb/rekey") {
        return Ok(Vec::new());
    }
    let rekeys: Vec<Vec<Rekey>> = paths.iter().map(|path| rekeys(pin, path)).collect();
    let most = rekeys.iter().map(Vec::len).max().unwrap_or(0) as u64;
    let mut refused = Vec::new();
    for number in 2..2 + most {
        let held = paths.iter().zip(&rekeys).flat_map(|(path, rekeys)| rekeys.iter().filter(|rekey| stands_on(path, &rekey.position)));
        let held: Vec<Rekey> = held.filter(|rekey| rekey.number == number).copied().collect();
        let ruling = ruling(&held, stored_first)?;
        if ruling.is_empty() {
            break;
        }
        let led_to = led_to(paths, &ruling);
        let is_alone = paths.len() == 1;
        for (index, path) in paths.iter_mut().enumerate() {
            let leads_on = ruling.iter().any(|position| stands_on(path, position));
            let is_ours = is_own && index == 0 && leads_on;
            let counts = |entry: &Entry<'_>| {
                let is_unsigned = is_ours && entry.key_numbers.is_empty();
                led_to.contains(&entry.position.hash) || is_unsigned || entry.key_numbers.iter().any(|by| *by >= number)
            };
            // Other control events say nothing here. At the end of a branch they make none.
            let passes = |entry: &Entry<'_>| counts(entry) || (leads_on && !RosterEvent::is_kind(entry.event.kind));
            let mut kept = path.iter().take_while(|entry| passes(entry)).count();
            if !is_alone && !is_ours {
                kept = path[..kept].iter().rposition(counts).map_or(0, |last| last + 1);
            }
            let lost = path.drain(kept..).filter(|entry| RosterEvent::is_kind(entry.event.kind));
            refused.extend(lost.map(|entry| Refused { position: entry.position, why: RosterError::EndedKey }));
        }
    }
    refused.sort_by_key(|refused| (refused.position.seq, refused.position.hash));
    refused.dedup();
    Ok(refused)
}

fn stands_on(path: &[Entry<'_>], position: &Position) -> bool {
    index_of(path, position).is_some()
}

fn index_of(path: &[Entry<'_>], position: &Position) -> Option<usize> {
    let first = path.first()?.position.seq;
    let index = usize::try_from(position.seq.checked_sub(first)?).ok()?;
    path.get(index).is_some_and(|entry| entry.position == *position).then_some(index)
}

/// The rekeys of the authority that take effect on `path`.
fn rekeys(pin: Pin, path: &[Entry<'_>]) -> Vec<Rekey> {
    let mut roster = Roster::new(pin);
    let mut found = Vec::new();
    for entry in path {
        let before = roster.newest_number();
        if roster.apply(entry.position, &entry.event).is_err() {
            continue; // what has no effect replaces nothing
        }
        if let Some(key) = newest(&roster).filter(|key| key.number > before) {
            let confirmed = entry.key_numbers.iter().any(|by| *by >= key.number);
            found.push(Rekey { number: key.number, key: key.signing, position: entry.position, confirmed });
        }
    }
    found
}

/// Where the authority's key was replaced: of rival keys the one that was stored first rules. An authority that was put back may have signed the same new
/// key twice: then both places hold, once the key itself has signed there. Anybody with the old key could name it.
fn ruling<E>(rekeys: &[Rekey], stored_first: &mut dyn FnMut(&[Position]) -> Result<Position, E>) -> Result<Vec<Position>, E> {
    let Some(some) = rekeys.first().copied() else { return Ok(Vec::new()) };
    let key = if rekeys.iter().all(|rekey| rekey.key == some.key) {
        some.key
    } else {
        let first = stored_first(&places(rekeys.iter()))?;
        rekeys.iter().find(|rekey| rekey.position == first).map_or(some.key, |rekey| rekey.key)
    };
    let same: Vec<&Rekey> = rekeys.iter().filter(|rekey| rekey.key == key).collect();
    let confirmed = places(same.iter().copied().filter(|rekey| rekey.confirmed));
    if !confirmed.is_empty() {
        return Ok(confirmed);
    }
    match &places(same.into_iter())[..] {
        [one] => Ok(vec![*one]),
        several => Ok(vec![stored_first(several)?]),
    }
}

fn places<'a>(rekeys: impl Iterator<Item = &'a Rekey>) -> Vec<Position> {
    let mut places: Vec<Position> = rekeys.map(|rekey| rekey.position).collect();
    places.sort_unstable_by_key(|position| (position.seq, position.hash));
    places.dedup();
    places
}

/// The events that lead to the `ruling` rekeys: those before them, and what a heal among these names.
fn led_to(paths: &[Path<'_>], ruling: &[Position]) -> BTreeSet<Hash> {
    let mut known = BTreeSet::new();
    let mut ends = ruling.to_vec();
    while let Some(end) = ends.pop() {
        let Some((path, at)) = paths.iter().find_map(|path| Some((path, index_of(path, &end)?))) else { continue };
        for entry in &path[..=at] {
            if known.insert(entry.position.hash) {
                ends.extend(heads(entry).map(|(_, theirs)| theirs));
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Written, enrol, found, pin, rekey, written};
    use super::super::policy::Policy;
    use super::*;
    use bundle_format::chain::digest;

    fn common() -> Written {
        written(&[found(), enrol(2, "two", Policy::Own), enrol(3, "three", Policy::All)])
    }

    fn path<'a>(lane: &'a Written, checkpoints: &[(u64, u64)]) -> Path<'a> {
        let numbers = |seq| checkpoints.iter().filter(|(at, _)| *at >= seq).map(|(_, number)| *number).collect();
        lane.entries().into_iter().map(|entry| Entry { key_numbers: numbers(entry.position.seq), ..entry }).collect()
    }

    /// What is left of each lane, whose checkpoints are told as (position, key number); the lane `first` was stored first.
    fn check(lanes: &[(&Written, &[(u64, u64)])], first: usize, want: &[usize]) {
        check_at(false, lanes, first, want);
    }

    /// The same, at the authority if the first lane `is_own`.
    fn check_at(is_own: bool, lanes: &[(&Written, &[(u64, u64)])], first: usize, want: &[usize]) {
        let mut paths: Vec<Path<'_>> = lanes.iter().map(|(lane, signed)| path(lane, signed)).collect();
        let whole = paths.clone();
        let mut stored_first = |places: &[Position]| -> Result<Position, ()> {
            let mut order = whole[first..=first].iter().chain(&whole).flatten().map(|entry| entry.position);
            order.find(|position| places.contains(position)).ok_or(())
        };
        let refused = keep_counting(pin(), &mut paths, is_own, &mut stored_first).unwrap();
        assert_eq!(paths.iter().map(Vec::len).collect::<Vec<_>>(), want);
        let left_out = lanes.iter().zip(want).flat_map(|((lane, _), kept)| &lane.0[*kept..]);
        assert_eq!(refused.is_empty(), left_out.filter(|(_, kind, _)| RosterEvent::is_kind(kind)).count() == 0, "{want:?}");
    }

    #[test]
    fn a_replaced_key_says_nothing_outside_the_history_that_runs_through_its_replacement() {
        let theirs = common().then(&enrol(66, "evil", Policy::All));
        let ours = common().then(&rekey(1, 2, 101, vec![])).then(&enrol(4, "four", Policy::Own));
        check(&[(&common(), &[(3, 1)]), (&theirs, &[(4, 1)])], 0, &[3, 4]); // nothing is replaced
        check(&[(&ours, &[(4, 1), (5, 2)]), (&theirs, &[(4, 1)])], 0, &[5, 3]);
        check(&[(&theirs, &[(4, 1)]), (&ours, &[(4, 1), (5, 2)])], 0, &[3, 5]);
        check(&[(&ours, &[(4, 1), (5, 1)])], 0, &[4]);
        let alive = Written([&ours.0[..4], &[(ours.0[3].0.then(&digest(b"")), "zb/alive", vec![])]].concat());
        check(&[(&alive, &[(5, 1)])], 0, &[5]); // an authority that does not use its new key yet
        check(&[(&alive, &[(5, 1)]), (&ours, &[(4, 1), (5, 2)])], 0, &[4, 5]); // and it makes no branch
        check(&[(&alive.then(&enrol(66, "evil", Policy::All)), &[(6, 1)])], 0, &[5]);
        check(&[(&ours, &[(4, 1), (5, 1)]), (&theirs, &[(4, 2)])], 0, &[4, 4]); // what the new key signs counts wherever it stands
    }

    #[test]
    fn what_the_authority_has_not_signed_yet_counts_with_itself_and_nowhere_else() {
        let ours = common().then(&rekey(1, 2, 101, vec![])).then(&enrol(4, "four", Policy::Own));
        let theirs = common().then(&enrol(66, "evil", Policy::All));
        check_at(true, &[(&ours, &[(4, 1)])], 0, &[5]);
        check_at(false, &[(&ours, &[(4, 1)])], 0, &[4]);
        check_at(true, &[(&ours, &[(4, 1)]), (&theirs, &[(3, 1)])], 0, &[5, 3]);
        check_at(true, &[(&theirs, &[(4, 1)]), (&ours, &[(4, 1)])], 1, &[3, 4]);
        check_at(true, &[(&theirs, &[(3, 1)]), (&ours, &[(4, 1)])], 1, &[3, 4]); // our main history does not lead there
    }

    #[test]
    fn what_was_healed_before_the_replacement_stays_and_what_is_healed_behind_it_does_not_count() {
        let theirs = common().then(&enrol(5, "five", Policy::Own));
        let heal = |ours: &Written| RosterEvent::Heal { ours: ours.head(), theirs: theirs.head() };
        let before = common().then(&enrol(4, "four", Policy::Own));
        let before = before.clone().then(&heal(&before)).then(&rekey(1, 2, 101, vec![]));
        check(&[(&before, &[(6, 1)]), (&theirs, &[(4, 1)])], 0, &[6, 4]);
        let behind = common().then(&rekey(1, 2, 101, vec![]));
        let behind = behind.clone().then(&heal(&behind)).then(&rekey(1, 3, 102, vec![]));
        check(&[(&behind, &[(4, 1), (6, 2)]), (&theirs, &[(4, 1)])], 0, &[6, 3]);
        check(&[(&theirs, &[(4, 1)]), (&behind, &[(4, 1), (6, 2)])], 0, &[3, 6]);
    }

    #[test]
    fn of_rival_replacements_the_first_rules_and_of_equal_ones_those_that_the_new_key_has_signed() {
        let ours = common().then(&rekey(1, 2, 101, vec![]));
        let rival = common().then(&enrol(66, "evil", Policy::All)).then(&rekey(1, 2, 102, vec![]));
        check(&[(&ours, &[(4, 1)]), (&rival, &[(5, 1)])], 0, &[4, 3]);
        check(&[(&ours, &[(4, 1)]), (&rival, &[(5, 1)])], 1, &[3, 5]);
        let same = common().then(&enrol(66, "evil", Policy::All)).then(&rekey(1, 2, 101, vec![]));
        check(&[(&ours, &[(4, 1)]), (&same, &[(5, 1)])], 1, &[3, 5]); // nobody has seen the new key yet
        check(&[(&ours, &[(4, 1), (4, 2)]), (&same, &[(5, 1)])], 1, &[4, 3]);
        check(&[(&ours, &[(4, 1), (4, 2)]), (&same, &[(5, 1), (5, 2)])], 1, &[4, 5]); // an authority that was put back signed it twice
        let weak = common().then(&rekey(1, 2, 2, vec![])); // the key is in use: it replaces nothing
        check(&[(&ours, &[(4, 1)]), (&weak, &[(4, 1)])], 1, &[4, 3]);
    }
}
