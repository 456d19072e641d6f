//! A forked roster: what its branches take away counts, what they grant waits for a heal. Pure. SPEC §8.4.
//!
//! The authority was restored from an old image and went on: two branches, both signed. Revocations and bounds of all branches apply; members
//! stand as in the common prefix, and see what all branches let them see; a new key counts when the branches do not disagree about it. A heal on one branch names its own
//! head and the other's; then everything up to both counts, the healed branch first.

use super::member::{Member, MemberKey, Pin};
use super::policy::Policy;
use super::roster::{Refused, Roster};
use super::roster_event::RosterEvent;
use super::standing::KeyEnd;
use bundle_format::chain::Position;
use bundle_format::event::Event;
use bundle_format::ids::{Hash, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// One event of the roster lane with its place.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Its place on its branch.
    pub position: Position,
    /// The event.
    pub event: Event<'a>,
    /// Numbers of the authority's keys with a checkpoint at or above it; empty for our own, not yet checkpointed.
    pub key_numbers: Vec<u64>,
}

impl Roster {
    /// The roster of `common`, then of `branches`, each of which goes on right after it. With one branch or none this is the plain fold. The order of
    /// the branches does not matter. Whether an event counts under the keys that signed it is not asked here (`succession`).
    pub fn from_branches(pin: Pin, common: &[Entry<'_>], branches: &[&[Entry<'_>]]) -> Self {
        let mut roster = Self::new(pin);
        roster.fold_all(common);
        let mut branches: Vec<&[Entry<'_>]> = branches.iter().copied().filter(|branch| !branch.is_empty()).collect();
        branches.sort_by_cached_key(|branch| branch.iter().map(|entry| entry.position.hash).collect::<Vec<_>>());
        roster.fold_branches(branches);
        roster
    }

    /// Whose policies it says.
    fn fold_all(&mut self, entries: &[Entry<'_>]) -> BTreeSet<NodeId> {
        // What has no effect is remembered by the fold.
        entries.iter().filter_map(|entry| self.fold(entry.position, &entry.event).ok().flatten()).collect()
    }

    fn fold_branches(&mut self, mut branches: Vec<&[Entry<'_>]>) {
        let (mut folded, mut said) = (BTreeSet::new(), BTreeSet::new());
        while branches.len() > 1 {
            let Some(healed) = find_heal(self.head, &branches) else { return self.fork(&branches) };
            let (ours, theirs) = (branches[healed.ours], branches[healed.theirs]);
            folded.extend(ours[..=healed.heal_at].iter().map(|entry| entry.position.hash));
            self.join(&ours[..=healed.heal_at], behind(&theirs[..healed.until], &folded), &mut said);
            folded.extend(theirs[..healed.until].iter().map(|entry| entry.position.hash));
            // What is left of the closed branch, if somebody still writes on it, is a fork again; so is what parts from either.
            let left = branches.into_iter().enumerate().map(|(index, branch)| (index == healed.ours, behind(branch, &folded)));
            branches = left.filter(|(is_ours, branch)| *is_ours || !branch.is_empty()).map(|(_, branch)| branch).collect();
        }
        for branch in branches {
            self.fold_all(branch);
        }
    }

    /// Fold a branch up to the heal it ends with, the other one up to the head that names, then the heal. Positions repeat on the second branch. Of two
    /// policies that both say, the narrower holds; `said` is whose policies were said since the first parting.
    fn join(&mut self, ours: &[Entry<'_>], theirs: &[Entry<'_>], said: &mut BTreeSet<NodeId>) {
        let Some((heal, ours)) = ours.split_last() else { return };
        said.extend(self.fold_all(ours));
        let head = self.head;
        let before = self.policies(said);
        self.stand_before(theirs);
        let theirs_said = self.fold_all(theirs);
        for (node, policy) in before.iter().filter(|(node, _)| theirs_said.contains(node)) {
            self.narrow(node, policy);
        }
        said.extend(theirs_said);
        self.stand_at(head);
        self.fold_all(std::slice::from_ref(heal));
    }

    fn policies(&self, of: &BTreeSet<NodeId>) -> BTreeMap<NodeId, Policy> {
        of.iter().filter_map(|node| Some((*node, self.members.get(node)?.policy.clone()))).collect()
    }

    fn narrow(&mut self, node: &NodeId, by: &Policy) {
        if let Some(member) = self.members.get_mut(node) {
            member.policy = member.policy.narrower(by);
        }
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
            member.policy = tellings.iter().fold(member.policy.clone(), |policy, telling| policy.narrower(&telling.policy));
        }
        let known = self.refused.len();
        for roster in &folded {
            let new = roster.refused.get(known..).unwrap_or_default();
            self.refused.extend_from_slice(new);
            self.updated = self.updated.max(roster.updated);
        }
        self.refused.sort_by_key(|Refused { position, .. }| (position.seq, position.hash));
        self.open = branches.iter().filter_map(|branch| branch.last()).map(|last| last.position).collect();
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

/// What of a branch is not folded yet: branches that part late share their beginning.
fn behind<'a, 'b>(branch: &'a [Entry<'b>], folded: &BTreeSet<Hash>) -> &'a [Entry<'b>] {
    let known = branch.iter().take_while(|entry| folded.contains(&entry.position.hash)).count();
    &branch[known..]
}

/// The heads a heal names: of its own branch, and of the other.
pub(super) fn heads(entry: &Entry<'_>) -> Option<(Position, Position)> {
    match RosterEvent::read(entry.event.kind, entry.event.payload) {
        Ok(Some(RosterEvent::Heal { ours, theirs })) => Some((ours, theirs)),
        _ => None,
    }
}

/// The heal right behind the head it names, on one of the branches (R8.4-d). Where an authority was put back and has healed twice, the heal that another
/// branch has healed away is not it.
fn find_heal(head: Position, branches: &[&[Entry<'_>]]) -> Option<Healed> {
    let others = |index: usize| branches.iter().enumerate().filter(move |(other, _)| *other != index);
    let is_healed_away = |ours: usize, from: &[Entry<'_>]| {
        let named = |branch: &[Entry<'_>]| branch.iter().filter_map(heads).any(|(_, theirs)| from.iter().any(|entry| entry.position == theirs));
        others(ours).any(|(_, other)| named(other))
    };
    branches.iter().enumerate().find_map(|(ours, branch)| {
        branch.iter().enumerate().find_map(|(heal_at, entry)| {
            let (own_head, other_head) = heads(entry)?;
            let stands_on = heal_at.checked_sub(1).map_or(head, |before| branch[before].position) == own_head;
            let (theirs, until) = others(ours).find_map(|(theirs, other)| {
                let at = other.iter().position(|entry| entry.position == other_head)?;
                Some((theirs, at + 1))
            })?;
            (stands_on && !is_healed_away(ours, &branch[heal_at..])).then_some(Healed { ours, heal_at, theirs, until })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture::{Written, enrol, found, keep, node, origin, pin, rekey, revoke, signing, written};
    use crate::keys::standing::{EventStanding, Standing};
    use bundle_format::ids::Lane;

    fn common() -> Written {
        written(&[found(), enrol(2, "two", Policy::Own), enrol(3, "three", Policy::All)])
    }

    /// The lanes share `common()`; fold what is behind it as branches, in both orders.
    fn forked(lanes: &[Written]) -> Roster {
        let shared = common();
        let entries: Vec<_> = lanes.iter().map(Written::entries).collect();
        let mut branches: Vec<&[Entry<'_>]> = entries.iter().map(|entries| &entries[3..]).collect();
        let roster = Roster::from_branches(pin(), &shared.entries(), &branches);
        branches.reverse();
        assert_eq!(roster, Roster::from_branches(pin(), &shared.entries(), &branches), "the order of branches matters");
        roster
    }

    #[test]
    fn one_branch_or_none_is_the_plain_fold() {
        let lane = common().then(&revoke(2, 1, vec![])).then(&enrol(4, "four", Policy::Own));
        assert_eq!(forked(std::slice::from_ref(&lane)), lane.roster());
        assert_eq!(forked(&[lane.clone(), common()]), lane.roster());
    }

    #[test]
    fn a_fork_takes_from_all_branches_and_grants_from_none() {
        let ours = common().then(&enrol(4, "four", Policy::All)).then(&revoke(2, 1, vec![keep(2, Lane::Routine, 10, 1)]));
        let policy = RosterEvent::Policy { node: node(2), policy: Policy::All };
        let theirs = common().then(&policy).then(&revoke(2, 1, vec![keep(2, Lane::Routine, 7, 1), keep(2, Lane::Bulk, 9, 1)]));
        let roster = forked(&[ours, theirs]);
        assert!(roster.is_forked());
        assert!(roster.member(&node(4)).is_none(), "enrolled on one branch only");
        assert_eq!(roster.member(&node(2)).map(|member| &member.policy), Some(&Policy::Own), "policy of the common prefix");
        assert_eq!(roster.sender(&node(2), &signing(2)), Some(Standing::Revoked));
        let good = |lane, seq| roster.standing(&origin(2, lane, None), seq, 1, |_| None) == EventStanding::Good;
        assert!(good(Lane::Routine, 7) && !good(Lane::Routine, 8), "the lower bound");
        assert!(!good(Lane::Bulk, 1), "kept by one branch only");
        let before = forked(&[common().then(&revoke(2, 1, vec![])), common().then(&enrol(4, "four", Policy::Own))]);
        assert_eq!(before.sender(&node(2), &signing(2)), Some(Standing::Revoked), "revoked by one branch only");
    }

    /// A fork must not give back what one of its branches has taken, neither while it is open nor when it is healed.
    #[test]
    fn where_branches_differ_about_a_policy_the_one_that_sees_less_holds() {
        let say = |lane: Written, policy: &Policy| lane.then(&RosterEvent::Policy { node: node(3), policy: policy.clone() });
        let seen = |roster: &Roster| roster.member(&node(3)).map(|member| member.policy.clone()).unwrap();
        let list = |of: &[u8]| Policy::nodes(of.iter().copied().map(node).collect());
        let (all, hubs, own) = (Policy::All, Policy::OwnAndHubs, Policy::Own);
        for (ours, theirs, want) in [
            (&all, &own, &own),
            (&hubs, &all, &hubs),
            (&hubs, &hubs, &hubs),
            (&list(&[1, 2]), &list(&[2, 3]), &list(&[2])),
            (&list(&[1, 2]), &hubs, &own),
            (&list(&[1]), &all, &list(&[1])),
        ] {
            for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
                let (ours, theirs) = (say(common(), ours), say(common(), theirs));
                assert_eq!(&seen(&forked(&[ours.clone(), theirs.clone()])), want, "open");
                let heal = RosterEvent::Heal { ours: ours.head(), theirs: theirs.head() };
                assert_eq!(&seen(&forked(&[ours.clone().then(&heal), theirs.clone()])), want, "healed");
                let later = say(ours.then(&heal), &all);
                assert_eq!(seen(&forked(&[later, theirs])), all, "what is said behind the heal holds");
            }
        }
        let narrowed = say(common(), &own);
        let silent = common().then(&enrol(4, "four", Policy::Own));
        assert_eq!(seen(&forked(&[narrowed.clone(), silent.clone()])), own, "narrowed by one branch only");
        let heal = RosterEvent::Heal { ours: silent.head(), theirs: narrowed.head() };
        assert_eq!(seen(&forked(&[silent.then(&heal), narrowed])), own);
    }

    #[test]
    fn a_new_key_counts_unless_the_branches_disagree_about_it() {
        let one = forked(&[common().then(&rekey(2, 2, 102, vec![])), common().then(&enrol(4, "four", Policy::Own))]);
        assert_eq!(one.sender(&node(2), &signing(102)), Some(Standing::Current));
        assert_eq!(one.sender(&node(2), &signing(2)), Some(Standing::Outgoing));
        let two = forked(&[common().then(&rekey(2, 2, 102, vec![])), common().then(&rekey(2, 2, 103, vec![]))]);
        assert_eq!((two.sender(&node(2), &signing(102)), two.sender(&node(2), &signing(103))), (None, None));
        assert!(two.member(&node(2)).unwrap().is_revoked());
    }

    #[test]
    fn a_heal_makes_one_roster_of_both_branches() {
        let theirs = common().then(&enrol(5, "taken", Policy::Own)).then(&enrol(6, "six", Policy::Own));
        let ours = common().then(&enrol(4, "taken", Policy::Own));
        let heal = RosterEvent::Heal { ours: ours.head(), theirs: theirs.head() };
        let healed = ours.then(&heal).then(&enrol(7, "seven", Policy::Own));
        let roster = forked(&[healed.clone(), theirs.clone()]);
        assert!(!roster.is_forked());
        let members: Vec<_> = [4, 5, 6, 7].map(|n| roster.member(&node(n)).is_some()).into();
        assert_eq!(members, [true, false, true, true], "the healed branch came first, so its name stands");
        assert_eq!(roster.head(), healed.head());
        assert_eq!(roster.refused().len(), 1);

        let stubborn = forked(&[healed.clone(), theirs.clone().then(&revoke(3, 1, vec![])).then(&enrol(8, "eight", Policy::All))]);
        assert!(stubborn.is_forked(), "somebody still writes on the closed branch");
        assert!(stubborn.member(&node(6)).is_some() && stubborn.member(&node(8)).is_none());
        assert_eq!(stubborn.sender(&node(3), &signing(3)), Some(Standing::Revoked));

        let wrong = RosterEvent::Heal { ours: common().head(), theirs: theirs.head() };
        let not_healed = forked(&[common().then(&enrol(4, "four", Policy::Own)).then(&wrong), theirs]);
        assert!(not_healed.is_forked(), "a heal must stand on the head it names");
    }

    /// The authority was put back behind its own heal, went on and healed again, then healed what it had lost.
    #[test]
    fn who_healed_twice_has_one_roster_in_whatever_order_its_branches_came() {
        let policy = |policy| RosterEvent::Policy { node: node(2), policy };
        let heal = |ours: &Written, theirs: &Written| RosterEvent::Heal { ours: ours.head(), theirs: theirs.head() };
        let theirs = common().then(&enrol(5, "five", Policy::Own));
        let stem = common().then(&policy(Policy::All)).then(&policy(Policy::OwnAndHubs));
        let lost = stem.clone().then(&heal(&stem, &theirs));
        let ours = stem.then(&enrol(4, "four", Policy::Own)).then(&policy(Policy::Own));
        let healed = ours.clone().then(&heal(&ours, &theirs));
        let whole = healed.clone().then(&heal(&healed, &lost));
        let rosters = [[0, 1, 2], [1, 2, 0], [2, 0, 1]].map(|order| forked(&order.map(|index| [&theirs, &lost, &whole][index].clone())));
        for roster in &rosters {
            assert_eq!(roster, &rosters[0]);
            assert!(!roster.is_forked() && roster.member(&node(4)).is_some() && roster.member(&node(5)).is_some());
            assert_eq!(roster.member(&node(2)).unwrap().policy, Policy::Own, "what both share is not done again behind what came later");
        }
    }

    #[test]
    fn a_healed_roster_alone_is_the_plain_fold_of_its_branch() {
        let theirs = common().then(&enrol(5, "five", Policy::Own));
        let ours = common().then(&enrol(4, "four", Policy::Own));
        let healed = ours.clone().then(&RosterEvent::Heal { ours: ours.head(), theirs: theirs.head() });
        let (roster, answers) = healed.fold();
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(roster.members().count(), 4);
    }
}
