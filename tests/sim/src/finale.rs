//! The end of a life: nothing goes wrong any more, everybody meets everybody, by stick and by line, until nobody has anything to say. Then everything
//! that was promised must be where it was promised, and everybody must hold the same.

use crate::model::{Memory, Seen, Verdict};
use crate::plan::{Act, Line, Step};
use crate::station::Station;
use crate::world::World;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use std::collections::BTreeSet;
use zbundle::keys::Policy;
use zbundle::node::syncing::SyncEnd;
use zbundle::node::taking::Ingested;
use zbundle::ports::disk::Disk as _;

/// Two who are well fall silent long before.
const ROUNDS_MAX: usize = 24;
/// Where the authority is among members and machines.
const AUTHORITY: usize = 0;

/// What the authority's roster says at the end, and of which histories it misses a part.
struct Order {
    policies: Vec<Option<Policy>>,
    rotted: BTreeSet<Origin>,
}

impl World {
    /// Meet until all is quiet, and hold everything against what was promised.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn finish(&mut self) -> Verdict {
        self.tell("the end: everybody meets everybody");
        while self.machines.last().is_some_and(|machine| machine.is_clone) {
            self.dismiss()?;
        }
        self.calm();
        for at in 0..self.machines.len() {
            self.project(at)?;
            self.fsck(at)?;
        }
        let calm = Step { act: Act::Heal, mishap: None, luck: 0 };
        for at in 0..self.machines.len() {
            if self.rekeyed.contains(&at) && self.has_old_keys(at)? {
                self.go_on_with_rekey(at, &calm)?; // somebody was interrupted between signing and joining, and goes on
            }
        }
        let (mut silent, mut why) = (0, None);
        for round in 0..ROUNDS_MAX {
            self.around.ticker.pass(3_600_000);
            self.all_were_heard = round >= 2;
            for at in (0..self.machines.len()).filter(|_| round == 2) {
                if self.has_old_keys(at)? && self.order()?.policies[at].is_some() {
                    self.go_on_with_rekey(at, &calm)?; // rot took the authority's word for its keys, and nobody else had it
                }
            }
            if self.is_forked()? {
                self.heal(&calm)?;
                silent = 0;
                why = Some("the roster is forked".to_owned());
            }
            let talked = match (round + self.turn()) % 4 {
                0 | 2 => self.meet_by_line(&calm)?,
                1 => self.meet_by_stick(&calm)?,
                _ => self.meet_by_place(AUTHORITY, &calm)?,
            };
            self.look_at_all()?;
            for at in 0..self.machines.len() {
                self.project(at)?;
            }
            silent = if talked.is_some() { 0 } else { silent + 1 };
            why = talked.or(why);
            if silent >= 2 && round >= 2 {
                return self.judge();
            }
        }
        let order = self.machines[AUTHORITY].station.durable_view().map_err(|error| format!("P4: the authority does not open: {error}"))?;
        if self.missing_at(AUTHORITY)?.contains(&order.roster().pin().roster_origin()) {
            self.tell("the authority has lost a part of the order that nobody can give back: people put back a copy of its card");
            return Ok(());
        }
        Err(format!("P6: {ROUNDS_MAX} rounds, and they still talk: {}", why.unwrap_or_default()))
    }

    /// All sticks are empty, and nothing goes wrong with them.
    pub fn calm(&mut self) {
        for (number, stick) in self.around.sticks.iter().enumerate() {
            stick.heal();
            for path in stick.paths() {
                stick.remove(&path).unwrap_or_default();
            }
            stick.sync_folder(&Station::stick(number)).unwrap_or_default();
        }
    }

    fn is_forked(&self) -> Verdict<bool> {
        let view = self.machines[AUTHORITY].station.durable_view().map_err(|error| format!("P4: the authority does not open: {error}"))?;
        Ok(view.roster().is_forked())
    }

    fn order(&self) -> Verdict<Order> {
        let view = self.machines[AUTHORITY].station.durable_view().map_err(|error| format!("P4: the authority does not open: {error}"))?;
        let policy = |id: &NodeId| view.roster().member(id).filter(|member| !member.is_revoked()).map(|member| member.policy.clone());
        Ok(Order { policies: self.members.iter().map(policy).collect(), rotted: self.missing_at(AUTHORITY)? })
    }

    /// Histories of which a card knows that events, or signatures, are missing.
    fn missing_at(&self, at: usize) -> Verdict<BTreeSet<Origin>> {
        let view = self.machines[at].station.durable_view().map_err(|error| format!("P4: {} does not open: {error}", self.name(at)))?;
        Ok(view.rotten().into_iter().map(|rotten| rotten.stream.origin).collect())
    }

    /// Everybody dials the authority. Returns what somebody had to say, if anybody had.
    fn meet_by_line(&mut self, calm: &Step) -> Verdict<Option<String>> {
        let mut talked = None;
        for at in 1..self.machines.len() {
            // Where one history rotted at both, what is left of it at one proves nothing to the other, who asks for it again each time.
            // The same where the authority, a hole in its log behind it, signed over what rotted later.
            let in_vain = self.rotten.contains(&AUTHORITY) && (self.rotten.contains(&at) || self.restored.contains(&AUTHORITY));
            let id = self.members[at];
            // So does who brings what somebody wrote whom rot took from the authority's roster, for good where nobody else had that signed.
            let waits = self.restored.contains(&at) && self.missing_at(AUTHORITY)?.iter().any(|origin| origin.node == id);
            let waits = waits || self.has_lost_a_member()?;
            let held = |world: &Self| [at, AUTHORITY].map(|at| world.machines[at].memory.held.len());
            let before = held(self);
            if let Some(synced) = self.meet(at, AUTHORITY, &Line::default(), None, calm)? {
                self.look_at_all()?;
                let has_settled = matches!(synced.end, SyncEnd::Complete | SyncEnd::Left) && synced.left == 0;
                if ((in_vain && has_settled) || waits) && held(self) == before && !synced.new_life {
                    continue;
                }
                // What has rotted here for good is still to be sent, and each sync says so.
                let has_done_all = synced.is_complete() || has_settled && !self.missing_at(at)?.is_empty();
                if !has_done_all && self.order()?.policies[at].is_some() && !self.has_old_keys(at)? {
                    talked = Some(format!("a session of {} does not settle", self.name(at)));
                }
                if synced.delivered.iter().sum::<u64>() + synced.taken.0 > 0 || synced.new_life {
                    talked = Some(format!("a session of {} brings something new", self.name(at)));
                }
            }
        }
        Ok(talked)
    }

    /// Everybody brings a stick to the authority, and takes one home. Returns what somebody had to say, if anybody had.
    fn meet_by_stick(&mut self, calm: &Step) -> Verdict<Option<String>> {
        let mut talked = None;
        for at in 1..self.machines.len() {
            for (from, to) in [(at, AUTHORITY), (AUTHORITY, at)] {
                self.calm();
                let before = self.archive.len();
                self.cut(from, to, 0, 64 << 20, calm)?;
                if self.archive.len() > before {
                    let taken = self.take_in(to, 0, calm)?;
                    // What only a revoked member could give back is lacked for ever: it is not told so.
                    let in_vain = self.order()?.policies[from].is_none();
                    let lacks = |taken: &Ingested| !taken.missing.is_empty() && !in_vain;
                    if taken.is_some_and(|taken| taken.counts.new + taken.counts.control > 0 || taken.new_life || lacks(&taken)) {
                        talked = Some(format!("a stick from {} to {} brings something new", self.name(from), self.name(to)));
                    }
                }
            }
        }
        Ok(talked)
    }

    /// Whether a member's new keys never reached it: it must ask again, which is a person's doing.
    fn has_old_keys(&self, at: usize) -> Verdict<bool> {
        if !self.rekeyed.contains(&at) && !self.revoked.contains(&at) {
            return Ok(false);
        }
        let hub = self.machines[AUTHORITY].station.durable_view().map_err(|error| format!("P4: the authority does not open: {error}"))?;
        let view = self.machines[at].station.durable_view().map_err(|error| format!("P4: {} does not open: {error}", self.name(at)))?;
        let current = hub.roster().member(&self.members[at]).and_then(|member| member.current()).map(|key| key.signing);
        Ok(current != Some(view.keyring().current().signing.verifying_key()))
    }

    fn judge(&mut self) -> Verdict {
        for at in 0..self.machines.len() {
            self.project_at_once(at)?;
        }
        let order = self.order()?;
        let has_revoked = order.policies.iter().any(Option::is_none);
        let hubs: BTreeSet<NodeId> =
            self.members.iter().zip(&order.policies).filter(|(_, policy)| **policy == Some(Policy::All)).map(|(id, _)| *id).collect();
        let whole = self.machines[AUTHORITY].memory.clone();
        let excused = |number: &&usize| {
            let of = Some(self.model.pushed[**number].node);
            let writer = self.members.iter().position(|id| Some(*id) == of);
            // Who is revoked is sent nothing: a past it lost does not come back to it, what it wrote on another branch cannot be placed, and it does not hear
            // what the authority has lost.
            // Whose roster rotted before it heard of its end cannot tell who the authority is, and is told nothing.
            let lost = |writer: &usize| self.restored.contains(writer) || self.restored.contains(&AUTHORITY) || self.rotten.contains(writer);
            if writer.is_some_and(|writer| order.policies[writer].is_none() && lost(&writer)) {
                return true;
            }
            // Nor does it hear what rotted at the authority, or what that had before its card was put back, or that it lied about what it holds, so it does
            // not bring it back. And what rotted at its reader too may have lost the signature that would prove it.
            let holds = |at: &usize| self.machines[*at].memory.whole.contains(*number);
            let has_lied = self.model.liars.contains(&self.members[AUTHORITY]);
            let gave_up = has_lied || [&self.rotten, &self.restored].iter().any(|list| list.contains(&AUTHORITY));
            let cannot_prove = |at: usize| self.rotten.contains(&at) && self.rotten.contains(&AUTHORITY);
            // Who got new keys, then an old card, or the authority did, and lost by rot that it is a member, cannot ask for keys again: it holds what it
            // holds until the authority has revoked it and lets it join anew, which people decide.
            let is_old = |at: usize| self.restored.contains(&at) || self.restored.contains(&AUTHORITY);
            let is_shut_out = |at: usize| self.rotten.contains(&at) && is_old(at) && self.rekeyed.contains(&at);
            // Whose signature rotted at everybody who holds it, and whose writer lost it, nobody can prove.
            let lost_its_word = |at: usize| self.missing_at(at).is_ok_and(|missing| missing.iter().any(|origin| Some(origin.node) == of));
            // Nor what its writer lost with its card, or by rot, and whoever had begun to take it in holds without it, because a write failed then.
            let has_lost = writer.is_some_and(|writer| self.restored.contains(&writer) || self.rotten.contains(&writer));
            let has_no_word = |at: usize| (has_lost || self.rotten.contains(&at)) && self.unproved_at(at).contains(*number);
            // What was written under numbers whose first events rotted at the authority, and are lost with the writer's old card, can be told from those when
            // more is written than rotted; until then it stays where it is, and is counted as not sent.
            let waits =
                |at: usize| self.restored.contains(&at) && self.model.pushed[**number].told.is_some_and(|(origin, _)| order.rotted.contains(&origin));
            if writer.is_some_and(|writer| waits(writer) && holds(&writer)) {
                return true;
            }
            let is_unsigned = |at: usize| writer != Some(at) && (lost_its_word(at) || has_no_word(at));
            let mut holders = (1..self.machines.len()).filter(holds).peekable();
            if holders.peek().is_some() && (holders.clone().all(is_shut_out) || holders.clone().all(is_unsigned)) {
                return true;
            }
            gave_up && holders.all(|at| order.policies[at].is_none() || cannot_prove(at))
        };
        let lacking: Vec<_> = self.model.promised.iter().filter(|number| !whole.whole.contains(number)).filter(|number| !excused(number)).collect();
        if !lacking.is_empty() {
            return Err(format!("P1: the authority lacks {lacking:?}, which somebody was told are safe and nobody lost"));
        }
        for at in 1..self.machines.len() {
            let Some(policy) = &order.policies[at] else { continue };
            let id = self.members[at];
            if self.model.liars.contains(&id) || self.has_old_keys(at)? {
                continue;
            }
            let checks = |origin: &Origin| self.can_be_checked(&order, origin);
            let sees = |origin: &Origin| origin.lane != Lane::Control && origin.node != id && sees(policy, &hubs, &id, origin) && checks(origin);
            let memory = &self.machines[at].memory;
            // What the authority alone held of a life it lost it wrote again, and tells in its new life only (R4.6-l).
            let told_again = |seen: &Seen| {
                seen.0.node == self.members[AUTHORITY] && self.model.payload_in(seen).is_some_and(|number| memory.whole.contains(&number))
            };
            // What rotted here, and behind that at its writer, who lost the signature that would lead to ours with it, proves nothing to us (docs/proof.md).
            let missing = self.missing_at(at)?;
            let proves_nothing = |seen: &Seen| missing.contains(&seen.0) && self.has_its_writer_lost_anything(seen);
            let is_due = |seen: &Seen| !told_again(seen) && !proves_nothing(seen) && self.can_be_proved(&order, &whole, seen);
            let lacks = |seen: &&Seen| sees(&seen.0) && !memory.held.contains(*seen) && is_due(seen);
            if let Some(lacks) = whole.held.iter().find(lacks) {
                return Err(format!("P6: {} lacks {lacks:?}, which the authority holds and it may see", self.name(at)));
            }
            // What its writer lost, and the authority holds unsigned, or the signature of which rotted there, it can show to nobody. Of a life that is over, and
            // rotted at its writer to its end, nothing proves to the writer what others have of it.
            let present = self.machines[at]
                .station
                .durable_view()
                .map_err(|error| format!("P4: {} does not open: {error}", self.name(at)))?
                .keyring()
                .incarnation();
            let cannot_tell = self.missing_at(at)?.iter().any(|origin| origin.node == id && origin.incarnation != present);
            let has_lost = self.rotten.contains(&at) || (self.restored.contains(&at) && self.rotten.contains(&AUTHORITY));
            let unproved = whole.held.iter().filter(|seen| !self.can_be_proved(&order, &whole, seen));
            let unproved: BTreeSet<_> = unproved.filter_map(|seen| self.model.payload_in(seen)).collect();
            let is_lost = |number: &usize| (has_lost && cannot_tell) || (self.has_lost_anything(at) && unproved.contains(number));
            let lacks = |number: &&usize| self.model.pushed[**number].node == id && !memory.whole.contains(number) && !is_lost(number);
            if let Some(number) = whole.whole.iter().find(lacks) {
                return Err(format!("P6: {} lacks its own payload {number}, which the authority holds", self.name(at)));
            }
            self.is_settled(at)?;
            if *policy == Policy::All {
                self.is_level(at, &whole, memory, &order)?;
            }
        }
        // What only a revoked member could give back is waited for in vain.
        if self.model.liars.contains(&self.members[AUTHORITY]) || has_revoked { Ok(()) } else { self.is_settled(AUTHORITY) }
    }

    /// Where rot took the authority's word for somebody, and nobody else had it, nobody can check what that member wrote.
    fn can_be_checked(&self, order: &Order, origin: &Origin) -> bool {
        let is_member = self.members.iter().zip(&order.policies).any(|(id, policy)| *id == origin.node && policy.is_some());
        is_member || !self.rotten.contains(&AUTHORITY)
    }

    /// Whether rot took a member from the authority's roster.
    fn has_lost_a_member(&self) -> Verdict<bool> {
        let is_lost = |(member, policy): (usize, &Option<Policy>)| policy.is_none() && !self.revoked.contains(&member);
        Ok(self.rotten.contains(&AUTHORITY) && self.order()?.policies.iter().enumerate().any(is_lost))
    }

    /// Payloads of which a part is there without a signature.
    fn unproved_at(&self, at: usize) -> BTreeSet<usize> {
        self.machines[at].memory.unproved.iter().filter_map(|seen| self.model.payload_in(seen)).collect()
    }

    fn has_lost_anything(&self, at: usize) -> bool {
        self.rotten.contains(&at) || self.restored.contains(&at)
    }

    fn has_its_writer_lost_anything(&self, seen: &Seen) -> bool {
        self.members.iter().position(|id| *id == seen.0.node).is_some_and(|writer| self.has_lost_anything(writer))
    }

    /// What stands at the authority unsigned, or behind what rotted, and whose writer lost it, proves nothing to anybody else: also where the power went while it
    /// was taken in, and the only card that had it was a copy that is gone.
    fn can_be_proved(&self, order: &Order, authority: &Memory, seen: &Seen) -> bool {
        let is_signed = !authority.unproved.contains(seen);
        (is_signed || (self.rotten.is_empty() && self.restored.is_empty())) && !order.rotted.contains(&seen.0)
    }

    /// What a hub holds of others is what the authority holds of them.
    fn is_level(&self, at: usize, authority: &Memory, hub: &Memory, order: &Order) -> Verdict {
        // What rotted at its writer and, in part, at this hub, proves nothing to the authority.
        let missing = self.missing_at(at)?;
        let proves = |seen: &Seen| !self.has_its_writer_lost_anything(seen) || !(missing.contains(&seen.0) || hub.unproved.contains(seen));
        let others = |seen: &&Seen| {
            let is_others = seen.0.node != self.members[AUTHORITY] && seen.0.node != self.members[at];
            is_others && self.can_be_checked(order, &seen.0) && self.can_be_proved(order, authority, seen) && proves(seen)
        };
        let (here, there): (BTreeSet<_>, BTreeSet<_>) = (hub.held.iter().filter(others).collect(), authority.held.iter().filter(others).collect());
        match here.symmetric_difference(&there).next() {
            Some(one) => {
                let (holds, lacks) = if here.contains(one) { (at, AUTHORITY) } else { (AUTHORITY, at) };
                Err(format!("P6: {} holds {one:?}, and {} does not", self.name(holds), self.name(lacks)))
            }
            None => Ok(()),
        }
    }

    /// No life is open, nothing waits, nothing is in doubt.
    fn is_settled(&self, at: usize) -> Verdict {
        let name = self.name(at);
        let missing = self.missing_at(at)?;
        let view = self.machines[at].station.durable_view().map_err(|error| format!("P4: {name} does not open: {error}"))?;
        // An authority waits for a roster that somebody told of, and that rotted at both; a writer for what it cannot tell from what rotted there.
        let both = self.rotten.contains(&AUTHORITY) && self.rotten.iter().any(|member| *member != AUTHORITY);
        let misses = |life: &Incarnation| self.restored.contains(&at) && missing.iter().any(|origin| origin.incarnation == *life);
        // What another member told that it holds, and rotted there since, is waited for until they meet.
        let told_and_lost = self.rotten.contains(&at) && self.rotten.iter().any(|other| ![at, AUTHORITY].contains(other));
        let waits_in_vain =
            (at == AUTHORITY && both) || told_and_lost || self.waits_for_unaware(at, view.open_lives())? || view.open_lives().iter().all(misses);
        if !view.open_lives().is_empty() && !waits_in_vain && self.model.liars.is_empty() {
            return Err(format!("P6: a lost life of {name} is not settled"));
        }
        // A roster event that lost its signature here, and everything at the authority, is still believed, and cannot be shown to it.
        let roster = view.roster().pin().roster_origin();
        let keeps_unproved = self.rotten.contains(&AUTHORITY) && self.machines[at].memory.unproved.iter().any(|seen| seen.0 == roster);
        if view.roster().is_forked() && !keeps_unproved {
            let branches = [at, AUTHORITY].map(|at| self.branches(at, &roster));
            return Err(format!("P6: the roster is healed, and {name} does not know: {branches:?}"));
        }
        let status = view.status().map_err(|error| format!("status at {name}: {error}"))?;
        // What rotted and nobody else had is in doubt until a person is sure.
        let excused = !self.model.liars.is_empty() || self.rotten.contains(&AUTHORITY);
        if status.domain.is_some_and(|domain| domain.doubt.is_some()) && !excused {
            return Err(format!("P6: the roster at {name} is still in doubt"));
        }
        // What went with the authority's card, or rotted there, and went with this one, nobody has any more; what a new policy hides nobody sends again. A person drops what
        // waits for it.
        let gave_up = [&self.rotten, &self.restored].iter().any(|list| list.contains(&AUTHORITY));
        let in_vain = self.restored.contains(&at) && (gave_up || self.has_changed_policies);
        if status.held.count > 0 && !in_vain {
            return Err(format!("P6: {} bundle(s) are still held at {name}", status.held.count));
        }
        Ok(())
    }

    /// Where the branches of a history begin and end at a machine, and how far they are signed.
    fn branches(&self, at: usize, origin: &Origin) -> Vec<(u64, u64, u64, Option<[u8; 8]>)> {
        let view = self.machines[at].station.durable_view();
        let all = view.map(|view| view.log().streams()).unwrap_or_default();
        let of = all.into_iter().filter(|(stream, _)| stream.origin == *origin);
        of.map(|(stream, head)| (head.base.seq, head.end.seq, head.checkpoint_seq, stream.branch)).collect()
    }

    /// Whether some member told `at` that it holds something of these lives, was put back since to before, and does not know that it ever did: only a line
    /// between the two would show it, and not everybody meets everybody by line.
    fn waits_for_unaware(&self, at: usize, lives: &[Incarnation]) -> Verdict<bool> {
        for (node, peer) in self.peers_of(at)? {
            let Some(member) = self.members.iter().position(|id| *id == node).filter(|member| *member != AUTHORITY) else { continue };
            let Some(receipt) = peer.receipt.filter(|_| self.restored.contains(&member)) else { continue };
            let told = receipt.vector.iter().any(|told| told.origin.node == self.members[at] && lives.contains(&told.origin.incarnation));
            let there = self.machines[member].station.durable_view().map_err(|error| format!("P4: {} does not open: {error}", self.name(member)))?;
            let knows_us = self.peers_of(member)?.iter().any(|(node, _)| *node == self.members[at]);
            if told && (there.keyring().incarnation() == receipt.incarnation || !knows_us) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The table of SPEC §8.7 for one policy.
fn sees(policy: &Policy, hubs: &BTreeSet<NodeId>, id: &NodeId, origin: &Origin) -> bool {
    match (origin.audience, policy) {
        (_, Policy::All) => true,
        (Some(audience), _) => audience == *id,
        (None, Policy::Own) => false,
        (None, Policy::OwnAndHubs) => hubs.contains(&origin.node),
        (None, Policy::Nodes(nodes)) => nodes.contains(&origin.node),
    }
}
