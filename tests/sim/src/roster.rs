//! Who belongs: members join, get new keys, are revoked, accepted, seen differently; the authority insists, and heals.

use crate::model::Verdict;
use crate::plan::Step;
use crate::station::Station;
use crate::world::{Asked, Machine, World};
use bundle_format::error::Code;
use bundle_format::ids::{Name, NodeId};
use zbundle::keys::{Policy, Request};
use zbundle::node::Node;
use zbundle::ports::MemoryDisk;

/// Members there may be.
const MEMBERS_MAX: usize = 6;
/// The authority's number among members and machines.
const AUTHORITY: usize = 0;

impl World {
    fn policy(&self, which: usize) -> Policy {
        match which % 4 {
            0 => Policy::Own,
            1 => Policy::OwnAndHubs,
            2 => Policy::All,
            _ => Policy::nodes(self.members.get(1).copied().into_iter().collect()),
        }
    }

    /// The authority does something to the roster.
    fn at_authority<T>(&mut self, step: &Step, allowed: &[Code], work: impl FnOnce(&mut Node) -> Asked<T>) -> Verdict<Option<T>> {
        if self.rotten.contains(&AUTHORITY) && !self.all_were_heard {
            return Ok(None); // who knows that a part of the roster may be lost signs nothing before everybody has been heard
        }
        // In doubt; or its roster rotted away, and comes back from the members.
        let allowed: Vec<Code> = allowed.iter().copied().chain([Code::Z610, Code::Z619]).collect();
        self.while_it_happens(AUTHORITY, None, step, &allowed, |world| world.with_node(AUTHORITY, |_, node| work(node)))
    }

    /// A new machine joins.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn enrol(&mut self, which: usize, step: &Step) -> Verdict {
        if self.members.len() >= MEMBERS_MAX {
            return Ok(());
        }
        let (name, policy) = (format!("new{}", self.names.len()), self.policy(which));
        let mut station = Station::new(name.clone(), self.members.len(), NodeId([0; 8]), MemoryDisk::new(), step.luck, &self.around);
        let valid = Name::new(&name).map_err(|error| format!("a name: {error:?}"))?;
        let fail = |error: zbundle::node::NodeError| format!("P4: a new machine cannot join: {} {error}", error.code());
        let mut node = station.init(&valid, false).map_err(fail)?;
        station.id = node.keyring().node();
        let request = node.request(false).map_err(fail)?;
        let signed = self.at_authority(step, &[Code::Z605, Code::Z616], |hub| hub.sign(&request, policy.clone(), None, false))?;
        // What was signed may stand in the roster though nobody was told so.
        self.model.grant(station.id, &policy);
        let Some(signed) = signed else { return Ok(()) };
        let offer = node.consider(&signed.join).map_err(fail)?;
        node.join(&offer).map_err(fail)?;
        drop(node);
        self.coverage.count("a member joins");
        self.first_cards.push(station.card.image());
        self.members.push(station.id);
        self.names.push(name);
        let member = self.members.len() - 1;
        let place = self.machines.iter().position(|machine| machine.is_clone).unwrap_or(self.machines.len());
        self.machines.insert(place, Machine::new(station));
        debug_assert_eq!(self.machines[place].station.member, member, "members' machines stand in the order of members");
        Ok(())
    }

    /// A member asks for new keys, and gets them.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn rekey(&mut self, at: usize, step: &Step) -> Verdict {
        if self.machines[at].is_clone && self.machines[at].station.member == AUTHORITY {
            return Ok(()); // keys that only a copy of the authority has, and that the authority signs, are lost with the copy, and the domain with them
        }
        let member = self.machines[at].station.member;
        if (member == AUTHORITY || self.rekeyed.contains(&member)) && self.restored.contains(&AUTHORITY) {
            return Ok(()); // who lost keys of members must hear them before it gives others: else neither knows the other (docs/operations.md)
        }
        self.go_on_with_rekey(at, step)
    }

    /// [`World::rekey`], whoever it is: to go on with what was begun is always right.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn go_on_with_rekey(&mut self, at: usize, step: &Step) -> Verdict {
        let calm = Step { mishap: None, ..step.clone() };
        let request = self.while_it_happens(at, None, &calm, &[], |world| world.with_node(at, |_, node| node.request(true)))?;
        let Some(request) = request else { return Ok(()) };
        let (member, id) = (self.machines[at].station.member, self.machines[at].station.id);
        self.rekeyed.push(member);
        let allowed = [Code::Z609, Code::Z605, Code::Z606, Code::Z616, Code::Z618, Code::Z406];
        // Where a card is older than its keys, a person at the authority says which member it is; copies of a card get no keys otherwise.
        let is_sure = self.revoked.contains(&member) || self.restored.contains(&member);
        let signed = self.at_authority(step, &allowed, |hub| {
            let rekey = (is_sure || has_keys_of(hub, &id, &request)).then_some(id);
            hub.sign(&request, Policy::Own, rekey, false)
        })?;
        if member == AUTHORITY {
            // An authority whose newest keys are lost with its card is lost: people keep copies of these.
            self.machines[AUTHORITY].image = None;
            self.has_new_authority = true;
        }
        let Some(signed) = signed else { return Ok(()) };
        let joined = self.while_it_happens(at, None, &calm, &[Code::Z606, Code::Z609], |world| {
            world.with_node(at, |_, node| {
                let offer = node.consider(&signed.join)?;
                node.join(&offer)
            })
        })?;
        if joined.is_some() {
            self.coverage.count("a member has new keys");
            self.first_cards[member] = self.machines[at].station.card.image();
        }
        Ok(())
    }

    /// A member's key ends.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn revoke(&mut self, member: usize, step: &Step) -> Verdict {
        if member == AUTHORITY {
            return Ok(());
        }
        let node = self.members[member];
        self.revoked.push(member); // also when it fails: it may stand in the roster all the same
        let revoked = self.at_authority(step, &[Code::Z406, Code::Z616], |hub| hub.revoke(node, false))?;
        if revoked.is_some() {
            self.coverage.count("a member is revoked");
        }
        Ok(())
    }

    /// What an ended key wrote counts.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn accept(&mut self, member: usize, step: &Step) -> Verdict {
        let node = self.members[member];
        let accepted = self.at_authority(step, &[Code::Z605, Code::Z406, Code::Z616, Code::Z612], |hub| hub.accept(node, false))?;
        if accepted.is_some() {
            self.coverage.count("an ended key is accepted");
        }
        Ok(())
    }

    /// What a member sees changes; with `sure`, although the authority is in doubt.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn set_policy(&mut self, member: usize, which: usize, sure: bool, step: &Step) -> Verdict {
        if member == AUTHORITY {
            return Ok(());
        }
        let (node, policy) = (self.members[member], self.policy(which));
        self.model.grant(node, &policy);
        self.has_changed_policies = true;
        let set = self.at_authority(step, &[Code::Z406, Code::Z605, Code::Z616], |hub| hub.set_policy(node, policy.clone(), sure))?;
        if set.is_some() {
            self.coverage.count("a policy changes");
        }
        Ok(())
    }

    /// A forked roster becomes one.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn heal(&mut self, step: &Step) -> Verdict {
        let healed = self.at_authority(step, &[Code::Z616, Code::Z605], Node::heal)?;
        if healed.is_some() {
            self.coverage.count("a roster is healed");
        }
        Ok(())
    }
}

/// Whether the authority sees by the request alone that `id` asks: it is signed with that member's present keys, or asks for these.
fn has_keys_of(hub: &Node, id: &NodeId, request: &[u8]) -> bool {
    let Ok(request) = Request::read(request) else { return false };
    let current = hub.roster().member(id).and_then(|member| member.current());
    current.is_some_and(|key| key.signing == request.signing || (request.is_signed_by(&key.signing) && request.key_number == key.number + 1))
}
