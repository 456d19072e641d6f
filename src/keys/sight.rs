//! What a roster answers: who is who, whose signature counts, who may see what. Pure. SPEC §8.7, §8.

use super::member::{Member, MemberKey, Pin};
use super::policy::Policy;
use super::roster::{Refused, Roster};
use super::standing::{Bound, EventStanding, Standing};
use bundle_format::chain::Position;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{DomainId, Hash, Lane, Name, NodeId, Origin};
use bundle_format::limits::{HISTORY_COUNT_MAX, HUB_HISTORY_COUNT_MAX};
use bundle_format::sign::VerifyingKey;

impl Roster {
    /// What the domain is pinned to.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The domain.
    pub fn domain(&self) -> DomainId {
        self.pin.domain()
    }

    /// The authority.
    pub fn authority(&self) -> NodeId {
        self.pin.node()
    }

    /// Whether `origin` is the history this roster is folded from.
    pub fn is_roster(&self, origin: &Origin) -> bool {
        *origin == self.pin.roster_origin()
    }

    /// How far it is folded; of a forked roster, the last position both branches share.
    pub fn head(&self) -> Position {
        self.head
    }

    /// Stamp of the newest event folded: how old the roster is at least.
    pub fn updated(&self) -> Hlc {
        self.updated
    }

    /// Whether it has forked and waits for a heal: what its branches revoke counts, what they grant does not.
    pub fn is_forked(&self) -> bool {
        !self.open.is_empty()
    }

    /// The ends of the branches of a fork that waits for a heal.
    pub fn open_branches(&self) -> &[Position] {
        &self.open
    }

    /// The events that had no effect.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The member of this id, revoked or not.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// The member of this name.
    pub fn by_name(&self, name: &Name) -> Option<&Member> {
        self.members.values().find(|member| member.name == *name)
    }

    /// The node as people's screens show it: its name, or `@` and its id.
    pub fn display(&self, node: &NodeId) -> String {
        self.member(node).map_or_else(|| format!("@{node}"), |member| member.name.to_string())
    }

    /// All members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Whether the policy makes `node` a hub, revoked or not (R8.7-a).
    pub fn is_hub(&self, node: &NodeId) -> bool {
        self.member(node).is_some_and(|member| member.policy == Policy::All)
    }

    /// Histories of `node` that others take, branches among them (R6.2-j).
    pub fn history_count_max(&self, node: &NodeId) -> usize {
        if self.is_hub(node) { HUB_HISTORY_COUNT_MAX } else { HISTORY_COUNT_MAX }
    }

    /// The hubs with a present key: they see and carry everything.
    pub fn hubs(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| member.policy == Policy::All && !member.is_revoked())
    }

    /// The signing key of this number, present or ended. The pinned key is known before any event.
    pub fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        match self.member(node) {
            Some(member) => member.key(key_number).map(|key| key.signing),
            None => (*node == self.pin.node() && key_number == 1).then_some(self.pin.authority_key),
        }
    }

    /// What `key` is worth as the key of `node` that signs files and answers on links; `None` when it never was its key.
    pub fn sender(&self, node: &NodeId, key: &VerifyingKey) -> Option<Standing> {
        match self.member(node) {
            Some(member) => member.keys.iter().find(|known| known.signing == *key).map(MemberKey::standing),
            None => (*node == self.pin.node() && *key == self.pin.authority_key).then_some(Standing::Current),
        }
    }

    /// The node whose key this is or was, with what it is worth now.
    pub fn holder(&self, key: &VerifyingKey) -> Option<(&Member, Standing)> {
        self.members().find_map(|member| Some((member, self.sender(&member.node, key)?)))
    }

    /// How far `node`'s key of this number vouches for `origin`.
    pub fn bound(&self, origin: &Origin, key_number: u64) -> Bound {
        let Some(member) = self.member(&origin.node) else {
            return if self.signer(&origin.node, key_number).is_some() { Bound::Open } else { Bound::Nothing };
        };
        match member.key(key_number) {
            Some(key) => key.end.as_ref().map_or(Bound::Open, |end| end.bound(origin)),
            None => Bound::Nothing,
        }
    }

    /// Whether the event at `seq` of `origin`, covered by a checkpoint of its key `key_number`, counts. `hash_at` is the chain hash at a
    /// position of the same branch, `None` beyond its head. An event under several checkpoints counts if one of them makes it count.
    pub fn standing(&self, origin: &Origin, seq: u64, key_number: u64, hash_at: impl FnOnce(u64) -> Option<Hash>) -> EventStanding {
        self.bound(origin, key_number).judge(seq, hash_at)
    }

    /// Whether `viewer` may be told of `origin`: the whole of SPEC §8.7. Deny by default; who is no member or has no present key sees nothing.
    /// (R8.7-b, R8.7-c)
    pub fn may_see(&self, viewer: &NodeId, origin: &Origin) -> bool {
        let Some(member) = self.member(viewer).filter(|member| !member.is_revoked()) else { return false };
        let undirected = origin.audience.is_none();
        let own = origin.node == *viewer || origin.audience == Some(*viewer);
        let common = self.is_roster(origin) || (undirected && origin.lane == Lane::Control && self.is_hub(&origin.node));
        own || common
            || match &member.policy {
                Policy::All => true,
                Policy::Own => false,
                Policy::OwnAndHubs => undirected && self.is_hub(&origin.node),
                Policy::Nodes(nodes) => undirected && nodes.binary_search(&origin.node).is_ok(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture::{Written, at, enrol, found, keep, node, origin, rekey, revoke, signing, written};
    use crate::keys::roster_event::RosterEvent;

    /// Who writes, in which lane, for whom.
    type History = (u8, Lane, Option<u8>);
    /// Position and branch.
    type Place = (u64, u8);

    const HUB: u8 = 1;
    const OWN: u8 = 2;
    const OWN_HUB: u8 = 3;
    const LIST: u8 = 4; // sees node 2
    const SECOND_HUB: u8 = 5;
    const REVOKED_HUB: u8 = 6;
    const STRANGER: u8 = 7;

    fn domain() -> Roster {
        let list = Policy::nodes(vec![node(OWN)]);
        let enrolled = [
            found(),
            enrol(OWN, "own", Policy::Own),
            enrol(OWN_HUB, "own-hub", Policy::OwnAndHubs),
            enrol(LIST, "list", list),
            enrol(SECOND_HUB, "second", Policy::All),
            enrol(REVOKED_HUB, "gone", Policy::All),
            revoke(REVOKED_HUB, 1, vec![]),
        ];
        written(&enrolled).roster()
    }

    #[test]
    fn everyone_sees_what_its_policy_says_and_nothing_else() {
        use Lane::{Control, Routine};
        // (writer, lane, for whom), who may see it
        let table: &[(History, &[u8])] = &[
            ((HUB, Control, None), &[HUB, OWN, OWN_HUB, LIST, SECOND_HUB]),
            ((SECOND_HUB, Control, None), &[HUB, OWN, OWN_HUB, LIST, SECOND_HUB]),
            ((SECOND_HUB, Control, Some(OWN)), &[HUB, OWN, SECOND_HUB]),
            ((HUB, Routine, None), &[HUB, OWN_HUB, SECOND_HUB]),
            ((HUB, Routine, Some(OWN)), &[HUB, OWN, SECOND_HUB]),
            ((HUB, Routine, Some(OWN_HUB)), &[HUB, OWN_HUB, SECOND_HUB]),
            ((OWN, Routine, None), &[HUB, OWN, LIST, SECOND_HUB]),
            ((OWN, Control, None), &[HUB, OWN, LIST, SECOND_HUB]),
            ((OWN, Routine, Some(OWN_HUB)), &[HUB, OWN, OWN_HUB, SECOND_HUB]),
            ((LIST, Routine, None), &[HUB, LIST, SECOND_HUB]),
            ((REVOKED_HUB, Routine, None), &[HUB, OWN_HUB, SECOND_HUB]),
            ((STRANGER, Routine, None), &[HUB, SECOND_HUB]),
        ];
        let roster = domain();
        for ((writer, lane, audience), viewers) in table {
            for viewer in [HUB, OWN, OWN_HUB, LIST, SECOND_HUB, REVOKED_HUB, STRANGER] {
                let sees = roster.may_see(&node(viewer), &origin(*writer, *lane, *audience));
                assert_eq!(sees, viewers.contains(&viewer), "node {viewer}, origin of {writer} {lane:?} for {audience:?}");
            }
        }
        assert_eq!(roster.hubs().count(), 2, "a revoked hub is nobody to seal for");
    }

    #[test]
    fn a_key_is_current_then_outgoing_or_revoked_and_known_for_ever() {
        let (rekeyed, revoked) = (rekey(2, 2, 102, vec![]), revoke(2, 1, vec![]));
        let cases: &[(&[RosterEvent], u8, Option<Standing>)] = &[
            (&[], 2, Some(Standing::Current)),
            (&[], 102, None),
            (std::slice::from_ref(&rekeyed), 2, Some(Standing::Outgoing)),
            (std::slice::from_ref(&rekeyed), 102, Some(Standing::Current)),
            (std::slice::from_ref(&revoked), 2, Some(Standing::Revoked)),
            (&[revoked.clone(), rekeyed.clone()], 2, Some(Standing::Revoked)),
            (&[revoked.clone(), rekeyed.clone()], 102, Some(Standing::Current)),
            (&[rekeyed.clone(), revoked.clone()], 2, Some(Standing::Revoked)),
        ];
        for (then, key, standing) in cases {
            let roster = then.iter().fold(written(&[found(), enrol(2, "own", Policy::Own)]), Written::then).roster();
            assert_eq!(roster.sender(&node(2), &signing(*key)), *standing, "{then:?}");
            assert_eq!(roster.sender(&node(1), &signing(*key)), None, "a key is good for its own node only");
            assert_eq!(roster.signer(&node(2), 1), Some(signing(2)));
        }
    }

    #[test]
    fn before_its_first_event_a_roster_knows_the_pinned_key_and_nobody() {
        let roster = Roster::new(crate::keys::fixture::pin());
        assert_eq!(roster.signer(&node(1), 1), Some(signing(1)));
        assert_eq!((roster.signer(&node(1), 2), roster.signer(&node(2), 1)), (None, None));
        assert!(!roster.may_see(&node(1), &origin(1, Lane::Control, None)));
    }

    #[test]
    fn an_ended_key_vouches_for_what_is_kept_on_the_branch_it_is_kept_on() {
        let kept = |branch| keep(2, Lane::Routine, 10, branch);
        let accept = |seq, branch| RosterEvent::Accept { node: node(2), keep: vec![keep(2, Lane::Routine, seq, branch)] };
        // after which events, which key, which position on which branch, good?
        let cases: &[(&[RosterEvent], u64, Place, bool)] = &[
            (&[], 1, (99, 0), true),
            (&[], 2, (1, 0), false),
            (&[revoke(2, 1, vec![])], 1, (1, 0), false),
            (&[revoke(2, 1, vec![kept(7)])], 1, (1, 7), true),
            (&[revoke(2, 1, vec![kept(7)])], 1, (10, 7), true),
            (&[revoke(2, 1, vec![kept(7)])], 1, (10, 8), false),
            (&[revoke(2, 1, vec![kept(7)])], 1, (1, 8), false),
            (&[revoke(2, 1, vec![kept(7)])], 1, (11, 7), false),
            (&[revoke(2, 1, vec![kept(7)]), accept(11, 7)], 1, (11, 7), true),
            (&[revoke(2, 1, vec![kept(7)]), accept(9, 7)], 1, (10, 7), true),
            (&[revoke(2, 1, vec![kept(7)]), accept(10, 8)], 1, (10, 8), true),
            (&[revoke(2, 1, vec![]), accept(3, 7)], 1, (3, 7), true),
            (&[rekey(2, 2, 102, vec![kept(7)])], 1, (11, 7), false),
            (&[rekey(2, 2, 102, vec![kept(7)])], 2, (11, 7), true),
            (&[rekey(2, 2, 102, vec![kept(7)]), revoke(2, 1, vec![keep(2, Lane::Routine, 5, 7)])], 1, (6, 7), false),
            (&[revoke(2, 1, vec![keep(2, Lane::Routine, 5, 7)]), rekey(2, 2, 102, vec![kept(7)])], 1, (6, 7), false),
        ];
        for (then, key, (seq, branch), good) in cases {
            let roster = then.iter().fold(written(&[found(), enrol(2, "own", Policy::Own)]), Written::then).roster();
            assert!(roster.refused().is_empty(), "{:?}", roster.refused());
            let standing = roster.standing(&origin(2, Lane::Routine, None), *seq, *key, |seq| Some(at(seq, *branch).hash));
            assert_eq!(standing == EventStanding::Good, *good, "{then:?} key {key} at {seq} on {branch}");
        }
    }
}
