//! What a roster answers: who is who, whose signature counts, who may see what. Pure. SPEC §7, §8.

use super::member::{Member, MemberKey, Pin};
use super::policy::Policy;
use super::roster::{Refused, Roster};
use super::standing::{Bound, EventStanding, Standing};
use bundle_format::chain::Position;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{DomainId, Hash, Lane, Name, NodeId, Origin};
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
        self.forked
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

    /// Whether the policy makes `node` a hub, revoked or not.
    pub fn is_hub(&self, node: &NodeId) -> bool {
        self.member(node).is_some_and(|member| member.policy == Policy::All)
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

    /// Whether `viewer` may be told of `origin`: the whole of SPEC §7. Deny by default; who is no member or has no present key sees nothing.
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
