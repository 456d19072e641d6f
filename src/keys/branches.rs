//! A forked roster: what its branches take away counts, what they grant waits for a heal. Pure. SPEC §8.4.
//!
//! The authority was restored from an old image and went on: two branches, both signed. Revocations and bounds of all branches apply; members
//! and policies stand as in the common prefix; a new key counts when the branches do not disagree about it. A heal on one branch names its own
//! head and the other's; then everything up to both counts, the healed branch first.

use super::member::{Member, MemberKey, Pin};
use super::roster::{Refused, Roster};
use super::roster_event::RosterEvent;
use super::standing::KeyEnd;
use bundle_format::chain::Position;
use bundle_format::event::Event;

/// One event of the roster lane with its place.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its place on its branch.
    pub position: Position,
    /// The event.
    pub event: Event<'a>,
    /// Which of the authority's keys covers it; `None` for our own, not yet checkpointed.
    pub key_number: Option<u64>,
}

impl Roster {
    /// The roster of `common`, then of `branches`, each of which goes on right after it. With one branch or none this is the plain fold. The order of
    /// the branches does not matter.
    pub fn from_branches(pin: Pin, common: &[Entry<'_>], branches: &[&[Entry<'_>]]) -> Self {
        let mut roster = Self::new(pin);
        roster.fold_all(common);
        let mut branches: Vec<&[Entry<'_>]> = branches.iter().copied().filter(|branch| !branch.is_empty()).collect();
        branches.sort_by_key(|branch| branch.first().map(|entry| entry.position.hash));
        roster.fold_branches(branches);
        roster
    }

    fn fold_all(&mut self, entries: &[Entry<'_>]) {
        for entry in entries {
            // What has no effect is remembered by the fold.
            let _ = match entry.key_number {
                Some(number) => self.apply_under(entry.position, &entry.event, number),
                None => self.apply(entry.position, &entry.event),
            };
        }
    }

    fn fold_branches(&mut self, mut branches: Vec<&[Entry<'_>]>) {
        while branches.len() > 1 {
            let Some(healed) = find_heal(self.head, &branches) else { return self.fork(&branches) };
            let (ours, theirs) = (branches[healed.ours], branches[healed.theirs]);
            self.join(ours, theirs, &healed);
            branches[healed.ours] = &ours[healed.heal_at + 1..];
            branches[healed.theirs] = &theirs[healed.until..];
            if branches[healed.theirs].is_empty() {
                branches.remove(healed.theirs); // else somebody still writes on the closed branch: a fork again
            }
        }
        for branch in branches {
            self.fold_all(branch);
        }
    }

    /// Fold both branches up to the heads a heal names, then the heal. Positions repeat on the second branch.
    fn join(&mut self, ours: &[Entry<'_>], theirs: &[Entry<'_>], healed: &Healed) {
        self.fold_all(&ours[..healed.heal_at]);
        let head = self.head;
        self.stand_before(theirs);
        self.fold_all(&theirs[..healed.until]);
        self.stand_at(head);
        self.fold_all(&ours[healed.heal_at..=healed.heal_at]);
    }

    fn stand_before(&mut self, branch: &[Entry<'_>]) {
        if let Some(first) = branch.first() {
            self.stand_at(Position { seq: first.position.seq.saturating_sub(1), ..self.head });
        }
    }

    /// Restrictions of all branches, grants of the common prefix.
    fn fork(&mut self, branches: &[&[Entry<'_>]]) {
        let folded: Vec<Self> = branches.iter().map(|branch| self.continued(branch)).collect();
        for member in self.members.values_mut() {
            let tellings: Vec<&Member> = folded.iter().filter_map(|roster| roster.members.get(&member.node)).collect();
            member.keys = merged_keys(&member.keys, &tellings);
        }
        let known = self.refused.len();
        for roster in &folded {
            let new = roster.refused.get(known..).unwrap_or_default();
            self.refused.extend_from_slice(new);
            self.updated = self.updated.max(roster.updated);
        }
        self.refused.sort_by_key(|Refused { position, .. }| (position.seq, position.hash));
        self.forked = true;
    }

    fn continued(&self, branch: &[Entry<'_>]) -> Self {
        let mut roster = self.clone();
        roster.stand_before(branch);
        roster.fold_all(branch);
        roster
    }
}

/// Keys as all tellings agree, ends as any telling has them.
fn merged_keys(common: &[MemberKey], tellings: &[&Member]) -> Vec<MemberKey> {
    let longest = tellings.iter().map(|member| member.keys.len()).max().unwrap_or(0);
    let mut merged = Vec::with_capacity(longest);
    for index in 0..longest {
        let told: Vec<&MemberKey> = tellings.iter().filter_map(|member| member.keys.get(index)).collect();
        let Some((first, rest)) = told.split_first() else { break };
        if rest.iter().any(|key| (key.signing, key.sealing) != (first.signing, first.sealing)) {
            break;
        }
        let ends = told.iter().filter_map(|key| key.end.as_ref());
        let end = ends.fold(None, |all: Option<KeyEnd>, end| Some(all.map_or_else(|| end.clone(), |all| all.narrowed(end))));
        merged.push(MemberKey { end, ..(*first).clone() });
    }
    debug_assert!(merged.len() >= common.len(), "a branch only adds keys");
    merged
}

/// A heal on branch `ours` at index `heal_at`, naming the event before index `until` of branch `theirs`.
struct Healed {
    ours: usize,
    heal_at: usize,
    theirs: usize,
    until: usize,
}

fn find_heal(head: Position, branches: &[&[Entry<'_>]]) -> Option<Healed> {
    branches.iter().enumerate().find_map(|(ours, branch)| {
        branch.iter().enumerate().find_map(|(heal_at, entry)| {
            let Ok(Some(RosterEvent::Heal { ours: own_head, theirs: other_head })) = RosterEvent::read(entry.event.kind, entry.event.payload) else {
                return None;
            };
            let stands_on = heal_at.checked_sub(1).map_or(head, |before| branch[before].position) == own_head;
            let mut others = branches.iter().enumerate().filter(|(index, _)| *index != ours);
            let (theirs, until) = others.find_map(|(theirs, other)| {
                let at = other.iter().position(|entry| entry.position == other_head)?;
                Some((theirs, at + 1))
            })?;
            stands_on.then_some(Healed { ours, heal_at, theirs, until })
        })
    })
}
