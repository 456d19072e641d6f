//! Who belongs: asking, signing, joining, and what the authority says later. SPEC §8.

use super::doubt::doubt;
use super::error::NodeError;
use super::{Node, appending, control, payload, settle};
use crate::cut::pieces::{PIECE_RAW_LEN, for_each_piece};
use crate::cut::sign::{Signer, sign_up_to_head};
use crate::cut::{CutError, Lack};
use crate::ingest;
use crate::keys::{Join, Joined, Keep, Member, MemberKey, Policy, Request, Roster, RosterEvent, Words};
use crate::ports::store::{Log as _, Rotten, Store as _, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::compress::Compressor;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{EventId, Lane, Name, NodeId};
use bundle_format::manifest::NodeTable;
use bundle_format::range::{Coding, Range, RangeError, VerifiedRange};

/// What signing a request gave.
#[derive(Debug)]
pub struct Signed {
    /// The join file's bytes.
    pub join: Vec<u8>,
    /// The six words, the same on the other screen.
    pub words: Words,
    /// The member's id.
    pub node: NodeId,
    /// Its name.
    pub name: Name,
    /// It was a member with these very keys already; only the file was made again.
    pub again: bool,
}

/// A request as it is read, before anybody said yes.
#[derive(Debug)]
pub struct Asked {
    /// The name it asks for, or has.
    pub name: Name,
    /// The member whose present keys it asks for: signing it once more hands out its join file again.
    pub holder: Option<NodeId>,
}

/// A join file held against this node, before anyone said yes.
#[derive(Debug)]
pub struct Offer {
    join: Join,
    /// The six words, the same on the authority's screen.
    pub words: Words,
    /// The authority's node id.
    pub authority: NodeId,
}

impl Node {
    /// The request file of this node: its first keys, or with `new_keys` keys that are to replace them. Asked twice it is the same.
    ///
    /// # Errors
    /// What the disk says; Z618 for first keys when the node has joined.
    pub fn request(&mut self, new_keys: bool) -> Result<Vec<u8>, NodeError> {
        if new_keys {
            self.keyring.prepare_rekey(&*self.ports.entropy);
            self.save_keyring()?;
        } else if self.keyring.pin().is_some() {
            return Err(NodeError::refused(Code::Z618, format!("{}; new keys are asked for with --new-keys", self.keyring.name())));
        }
        self.request_bytes(new_keys).ok_or_else(|| NodeError::refused(Code::Z100, "no keys to ask for"))
    }

    fn request_bytes(&self, new_keys: bool) -> Option<Vec<u8>> {
        let current = self.keyring.current();
        let (keys, outgoing) = if new_keys { (self.keyring.pending()?, Some(&current.signing)) } else { (current, None) };
        Some(Request::build(self.keyring.name(), self.keyring.node(), keys, outgoing))
    }

    /// At the authority: what `request` asks for. Nothing is changed.
    ///
    /// # Errors
    /// Z608 elsewhere, Z609 for what is no request.
    pub fn read_request(&self, request: &[u8]) -> Result<Asked, NodeError> {
        self.require_to_be_authority()?;
        let request = Request::read(request)?;
        Ok(Asked { holder: self.holder(&request), name: request.name })
    }

    /// The member whose present keys are those of `request`.
    fn holder(&self, request: &Request) -> Option<NodeId> {
        let has = |member: &&Member| member.current().is_some_and(|key| key.signing == request.signing);
        self.roster.members().find(has).map(|member| member.node)
    }

    /// At the authority: take the requester in, or give a member new keys (`rekey`), and make the join file that answers.
    ///
    /// # Errors
    /// Z608 elsewhere, Z610 in doubt, Z609 for what is no request, Z605 and others for what the roster refuses.
    pub fn sign(&mut self, request: &[u8], policy: Policy, rekey: Option<NodeId>, sure: bool) -> Result<Signed, NodeError> {
        self.require_to_be_authority()?;
        let read = Request::read(request);
        if !read.as_ref().is_ok_and(|request| self.stands_signed(request)) {
            self.require_authority(sure)?;
        }
        let request = read?;
        let again = self.holder(&request).filter(|holder| rekey.is_none_or(|rekey| rekey == *holder));
        let node = rekey.or(again).unwrap_or(request.node);
        match (again, rekey) {
            (Some(_), None) => self.require_policy(&node, &policy)?,
            (Some(_), Some(_)) => {}
            (None, Some(_)) => self.write_roster_event(&self.rekeying(&request, node, sure)?)?,
            (None, None) => self.write_roster_event(&self.enrolment(&request, policy)?)?,
        }
        if again.is_some() {
            self.sign_roster()?;
        }
        let name = self.roster.member(&node).map_or(request.name.clone(), |member| member.name.clone());
        let join = Join::new(&request, node, *self.roster.pin(), self.roster_ranges()?);
        Ok(Signed { words: join.words(&request), join: join.to_bytes(), node, name, again: again.is_some() })
    }

    /// Whether the keys asked for are a member's present ones, and all of the roster is signed and can be read: then nothing is signed by handing it out once
    /// more, and no doubt about what we may have lost keeps anybody from going on with what was begun.
    fn stands_signed(&self, request: &Request) -> bool {
        let roster = Stream::main(self.roster.pin().roster_origin());
        let is_signed = self.wal.head(&roster).is_some_and(|head| head.checkpoint_seq == head.end.seq);
        is_signed && self.rotten_in(&roster).is_none() && self.holder(request).is_some()
    }

    /// A member is not told a second policy by handing out its join file once more.
    fn require_policy(&self, node: &NodeId, policy: &Policy) -> Result<(), NodeError> {
        let Some(member) = self.roster.member(node).filter(|member| member.policy != *policy) else { return Ok(()) };
        let sees = member.policy.text(|node| self.naming().node(node));
        Err(NodeError::refused(Code::Z616, format!("{} is a member already and sees {sees}; `zbundle policy` changes that", member.name)))
    }

    /// New keys are given only to whom a person names (R8.5-b).
    fn enrolment(&self, request: &Request, policy: Policy) -> Result<RosterEvent, NodeError> {
        if request.key_number > 1 {
            let name = self.naming().node(&request.node);
            return Err(NodeError::refused(Code::Z616, format!("it asks for new keys of {name}; with --rekey {name} it gets them")));
        }
        let (node, name) = (request.node, request.name.to_string());
        Ok(RosterEvent::Enrol { node, name, signing: request.signing, sealing: request.sealing, policy })
    }

    fn rekeying(&self, request: &Request, node: NodeId, sure: bool) -> Result<RosterEvent, NodeError> {
        let member = self.roster.member(&node).ok_or_else(|| NodeError::refused(Code::Z406, self.naming().node(&node)))?;
        if request.key_number > 1 && request.node != node {
            let why = format!("{} asks for new keys of its own, not of {}", self.naming().node(&request.node), member.name);
            return Err(NodeError::refused(Code::Z616, why));
        }
        let is_its_own = request.node == node && member.current().is_some_and(|key| request.is_signed_by(&key.signing));
        if node == self.roster.authority() && !is_its_own {
            return Err(NodeError::refused(Code::Z616, format!("{} is the authority, and changes its keys itself", member.name)));
        }
        if !request.old_signature_fits(self.roster.signer(&node, request.key_number - 1).as_ref()) {
            return Err(NodeError::refused(Code::Z609, "its old signature is not by the key it replaces"));
        }
        if let Some((owner, _)) = self.roster.holder(&request.signing) {
            return Err(NodeError::refused(Code::Z616, why_not_rekeyed(owner, member)));
        }
        let key_number = member.next_key_number();
        Ok(RosterEvent::Rekey { node, key_number, signing: request.signing, sealing: request.sealing, keep: self.keep(&node, sure)? })
    }

    /// What stays valid of a member under a key that ends: what the authority holds of it, as far as checkpoints prove it (R8.3-j). Where the end of that has
    /// rotted here, what came later would count nowhere any more: only who is `sure` wants that, and keeps it as far as it can be read.
    fn keep(&self, node: &NodeId, sure: bool) -> Result<Vec<Keep>, NodeError> {
        let held =
            self.wal.streams().into_iter().filter(|(stream, head)| stream.origin.node == *node && stream.branch.is_none() && head.checkpoint_seq > 0);
        let mut keep = Vec::new();
        for (stream, head) in held {
            let position = match self.wal.position(&stream, head.checkpoint_seq) {
                Err(StoreError::Damaged { .. }) if sure => self.wal.checkpoint_below(&stream, head.checkpoint_seq - 1)?.map(|at| at.position),
                Err(StoreError::Damaged { .. }) => return Err(NodeError::refused(Code::Z610, self.why_not_to_the_end_of(&stream))),
                position => position?,
            };
            keep.extend(position.map(|position| Keep::new(&stream.origin, position)));
        }
        Ok(keep)
    }

    fn why_not_to_the_end_of(&self, stream: &Stream) -> String {
        let name = self.naming().origin(&stream.origin);
        format!(
            "the end of {name} has rotted here, and what stands there would count nowhere any more: run `zbundle fsck`, and exchange with who has it"
        )
    }

    /// Change what a member may see.
    ///
    /// # Errors
    /// Z608 elsewhere, Z610 in doubt; what the roster refuses.
    pub fn set_policy(&mut self, node: NodeId, policy: Policy, sure: bool) -> Result<(), NodeError> {
        self.require_authority(sure)?;
        self.write_roster_event(&RosterEvent::Policy { node, policy })
    }

    /// End a member's present key. What the authority holds of it stays valid; what comes later is kept apart.
    ///
    /// # Errors
    /// Z608 elsewhere, Z610 in doubt; what the roster refuses.
    pub fn revoke(&mut self, node: NodeId, sure: bool) -> Result<(), NodeError> {
        self.require_authority(sure)?;
        let member = self.roster.member(&node).ok_or_else(|| NodeError::refused(Code::Z406, self.naming().node(&node)))?;
        if member.is_revoked() {
            return Err(NodeError::refused(Code::Z616, format!("{} is revoked already", member.name)));
        }
        let key_number = member.next_key_number() - 1;
        self.write_roster_event(&RosterEvent::Revoke { node, key_number, keep: self.keep(&node, sure)? })
    }

    /// Accept what a member wrote under ended keys, up to what the authority holds now.
    ///
    /// # Errors
    /// Z608 elsewhere, Z610 in doubt; what the roster refuses.
    pub fn accept(&mut self, node: NodeId, sure: bool) -> Result<(), NodeError> {
        self.require_authority(sure)?;
        self.write_roster_event(&RosterEvent::Accept { node, keep: self.keep(&node, sure)? })
    }

    /// Make the branches of a forked roster one again: what each says up to the heads held now counts.
    ///
    /// # Errors
    /// Z608 elsewhere; Z616 when it has not forked.
    pub fn heal(&mut self) -> Result<(), NodeError> {
        self.require_authority(true)?; // the doubt is what is being settled
        if !self.roster.is_forked() {
            return Err(NodeError::refused(Code::Z616, "the roster has not forked; there is nothing to heal"));
        }
        for theirs in self.branches_to_heal()? {
            let Some(main) = self.wal.head(&Stream::main(self.roster.pin().roster_origin())) else { break };
            self.append_roster_event(&RosterEvent::Heal { ours: main.end, theirs })?;
        }
        Ok(())
    }

    /// The ends of the branches that a heal would name.
    pub(super) fn branches_to_heal(&self) -> Result<Vec<Position>, NodeError> {
        let main = self.wal.head(&Stream::main(self.roster.pin().roster_origin())).map(|head| head.end);
        let healed = self.healed_heads()?;
        Ok(self.roster.open_branches().iter().copied().filter(|end| Some(*end) != main && !healed.contains(end)).collect())
    }

    /// Heads of branches that a heal on the main branch names: an authority restored twice has more than one to heal.
    fn healed_heads(&self) -> Result<Vec<Position>, NodeError> {
        let mut heads = Vec::new();
        let mut events = self.wal.events(&Stream::main(self.roster.pin().roster_origin()), 1)?;
        while let Some((_, bytes)) = events.next()? {
            let event = Event::from_bytes(bytes).ok().map(|event| RosterEvent::read(event.kind, event.payload));
            if let Some(Ok(Some(RosterEvent::Heal { theirs, .. }))) = event {
                heads.push(theirs);
            }
        }
        Ok(heads)
    }

    fn require_to_be_authority(&self) -> Result<(), NodeError> {
        self.require_joined()?;
        if self.keyring.is_authority() {
            return Ok(());
        }
        Err(NodeError::refused(Code::Z608, format!("that is {}", self.naming().node(&self.roster.authority()))))
    }

    fn rotten_in(&self, stream: &Stream) -> Option<Rotten> {
        self.wal.rotten().into_iter().find(|rotten| rotten.events && rotten.stream == *stream)
    }

    fn require_authority(&self, sure: bool) -> Result<(), NodeError> {
        self.require_to_be_authority()?;
        let roster = Stream::main(self.roster.pin().roster_origin());
        if let Some(rotten) = self.rotten_in(&roster) {
            // The fold ends there, here and everywhere: who is sure would believe that something was done.
            let event = format!("{}:{}", self.naming().origin(&roster.origin), rotten.first);
            return Err(NodeError::refused(
                Code::Z610,
                format!(
                    "{event} cannot be read here, and what is signed behind it has no effect; if no member has it, put back a copy of this node's folder"
                ),
            ));
        }
        if sure {
            return Ok(());
        }
        let (peers, orphans) = (self.peers.all(&*self.ports.disk)?, self.wal.orphans(&roster)?);
        let doubt = doubt(&self.wal, &self.roster, &peers, &orphans, &self.naming())?;
        doubt.map_or(Ok(()), |why| Err(NodeError::refused(Code::Z610, why)))
    }

    /// Whether `range` goes on with our roster under a key of ours that was replaced: behind it our next signature would vouch for it (R8.4-f).
    pub(super) fn would_be_signed_over(&self, range: &VerifiedRange) -> bool {
        if !self.keyring.is_authority() || !self.roster.is_roster(&range.origin()) {
            return false;
        }
        let end = self.wal.head(&Stream::main(range.origin())).map_or(0, |head| head.end.seq);
        let counts = |seq| range.checkpoints().iter().any(|(at, by)| at.seq >= seq && self.roster.counts_under(by.key_number));
        let says = |bytes| Event::from_bytes(bytes).is_ok_and(|event| RosterEvent::is_kind(event.kind));
        range.events().any(|(seq, bytes)| seq > end && says(bytes) && !counts(seq))
    }

    pub(super) fn enrol_itself(&mut self) -> Result<(), NodeError> {
        let keys = self.keyring.current();
        let event = RosterEvent::Enrol {
            node: self.keyring.node(),
            name: self.keyring.name().to_string(),
            signing: keys.signing.verifying_key(),
            sealing: keys.sealing.public(),
            policy: Policy::All,
        };
        self.write_roster_event(&event)
    }

    fn write_roster_event(&mut self, event: &RosterEvent) -> Result<(), NodeError> {
        self.roster.check(event).map_err(|error| NodeError::refused(error.code(), error.to_string()))?;
        self.append_roster_event(event)
    }

    /// Append, sign, make durable, fold again. The roster is signed at once: it may leave in a join file right after.
    fn append_roster_event(&mut self, event: &RosterEvent) -> Result<(), NodeError> {
        let present = self.roster.member(&self.keyring.node()).and_then(|member| member.current()).map(|key| key.signing);
        if present.is_some_and(|present| present != self.keyring.current().signing.verifying_key()) {
            // Signed with the key before, it would stop the roster for everybody (R8.4-e).
            return Err(NodeError::refused(
                Code::Z616,
                "its new keys stand in the roster and are not in use yet: join with the answer to its request first",
            ));
        }
        let stream = Stream::main(self.roster.pin().roster_origin());
        let goes_on = self.wal.head(&stream).is_none_or(|head| head.end == self.roster.head());
        if !goes_on && !self.roster.is_forked() {
            return Err(NodeError::refused(
                Code::Z610,
                "its end here was signed with a replaced key, and whoever signs behind it would vouch for it",
            ));
        }
        self.be_about_to_learn()?;
        self.append_control(&stream, event.kind(), &event.payload())?;
        self.sign_roster()?;
        self.refresh_roster()?;
        self.note_learned()
    }

    /// Sign the roster up to its end. An event may stand there unsigned: the power went between the two.
    fn sign_roster(&mut self) -> Result<(), NodeError> {
        let stream = Stream::main(self.roster.pin().roster_origin());
        let (keys, domain) = (self.keyring.current(), self.roster.domain());
        sign_up_to_head(&mut self.wal, &stream, &Signer { key: &keys.signing, key_number: keys.number, domain })?;
        self.wal.sync()?;
        Ok(())
    }

    /// The roster from its first event, as ranges that prove themselves. Their one node is the authority.
    fn roster_ranges(&self) -> Result<Vec<Vec<u8>>, NodeError> {
        let origin = self.roster.pin().roster_origin();
        let nodes = NodeTable::of([origin]);
        let lack = Lack { stream: Stream::main(origin), after: 0, to: self.wal.head(&Stream::main(origin)).map_or(0, |head| head.checkpoint_seq) };
        let mut compressor = Compressor::new().map_err(RangeError::from).map_err(CutError::from)?;
        let mut ranges = Vec::new();
        for_each_piece(&self.wal, &lack, PIECE_RAW_LEN, &mut |piece| {
            let checkpoints: Vec<_> = piece.checkpoints.iter().map(|at| (at.position.seq - piece.start.seq, at.checkpoint)).collect();
            let range = Range::build(origin, &piece.run(), &checkpoints, Coding::Stored, &mut compressor)?;
            ranges.extend(range.to_bytes(&nodes));
            Ok::<_, CutError>(true)
        })?;
        Ok(ranges)
    }

    /// Hold a join file against this node: is it the answer to our request, and does it prove its roster? Nothing is changed.
    ///
    /// # Errors
    /// Z609 for what is no join file, Z606 for another's, Z618 when this node is in another domain.
    pub fn consider(&self, join: &[u8]) -> Result<Offer, NodeError> {
        let join = Join::read(join)?;
        if self.keyring.pin().is_some_and(|pin| *pin != join.pin) {
            return Err(NodeError::refused(Code::Z618, "this node is in another domain"));
        }
        let request = [true, false].into_iter().filter_map(|new_keys| self.request_bytes(new_keys)).filter_map(|bytes| Request::read(&bytes).ok());
        let request = request.into_iter().find(|request| join.answers(request).is_ok());
        let Some(request) = request else { return Err(NodeError::refused(Code::Z606, self.keyring.name().to_string())) };
        let roster = join.prove()?.0;
        join.enrols(&request, &roster)?;
        self.membership(&join, &roster)?;
        Ok(Offer { words: join.words(&request), authority: join.pin.node(), join })
    }

    /// A file that this node has joined with: its roster is taken once more, for it may have been lost with a part of the log, and nothing else is changed
    /// (R8.5-h). The authority; `None` for any other file.
    ///
    /// # Errors
    /// Z609 for what is no join file; what the disk says.
    pub fn join_again(&mut self, join: &[u8]) -> Result<Option<NodeId>, NodeError> {
        let join = Join::read(join)?;
        if self.keyring.pin() != Some(&join.pin) || self.keyring.node() != join.node {
            return Ok(None);
        }
        let (roster, ranges) = join.prove()?;
        let present = roster.member(&join.node).and_then(|member| member.current());
        let is_in_use = |key: &MemberKey| self.keyring.keys(key.number).is_some_and(|ours| ours.signing.verifying_key() == key.signing);
        if !present.is_some_and(is_in_use) {
            return Ok(None);
        }
        self.take_roster(&ranges)?;
        self.refresh_roster()?;
        self.note_learned()?;
        Ok(Some(join.pin.node()))
    }

    fn take_roster(&mut self, ranges: &[VerifiedRange]) -> Result<(), NodeError> {
        self.be_about_to_learn()?;
        for range in ranges {
            ingest::apply(&mut self.wal, range)?;
        }
        Ok(self.wal.sync()?)
    }

    /// Join: somebody has compared the words. The roster first, then our own events if we become another node, then the pin.
    ///
    /// # Errors
    /// What the disk says; nothing is changed when the file does not prove itself.
    pub fn join(&mut self, offer: &Offer) -> Result<(), NodeError> {
        let (roster, ranges) = offer.join.prove()?;
        let joined = self.membership(&offer.join, &roster)?;
        self.take_roster(&ranges)?;
        if joined.node != self.keyring.node() {
            settle::move_into(self, joined.node)?;
            self.wal.sync()?;
        }
        let signing = roster.member(&joined.node).and_then(|member| member.current()).map(|key| key.signing);
        let signing = signing.ok_or_else(|| NodeError::refused(Code::Z606, "the roster has no present key for this node"))?;
        self.keyring.join(joined, &signing)?;
        self.save_keyring()?;
        self.refresh_roster()?;
        self.note_learned()
    }

    /// What others were given under keys of ours that have ended, behind where the authority had it, counts nowhere but here: our new key signs it, and who
    /// has it already is sent nothing. One payload of each such history is written again behind it, once, so that there is something to send (R8.3-i).
    pub(super) fn write_behind_ended_keys(&mut self) -> Result<(), NodeError> {
        let is_present = |Stream { origin, branch }: &Stream| {
            branch.is_none() && self.own_origin(origin.lane, origin.audience) == *origin && !self.roster.is_roster(origin)
        };
        let own: Vec<_> = self.wal.streams().into_iter().map(|(stream, _)| stream).filter(is_present).collect();
        for stream in own {
            let written = match self.naming().counting().left_by_an_ended_key(&stream)? {
                None => Ok(()),
                Some(_) if stream.origin.lane == Lane::Control => self.note_control(&control::alive()),
                Some(kept) => self.write_one_again(&stream, kept),
            };
            match written {
                Err(NodeError::Log(StoreError::Damaged { .. })) => {} // what has rotted is answered elsewhere
                written => written?,
            }
        }
        Ok(())
    }

    /// Write a payload of `stream` that stands behind `after` again, in the same history.
    fn write_one_again(&mut self, stream: &Stream, after: u64) -> Result<(), NodeError> {
        let Some((first, count)) = payload::shortest(&self.wal, stream, after)? else { return Ok(()) };
        for seq in first..first + count {
            let Some((_, bytes)) = self.wal.events(stream, seq)?.next()?.map(|(seq, bytes)| (seq, bytes.to_vec())) else { break };
            appending::again(&mut self.wal, &*self.ports.clock, stream, &bytes, EventId::new(stream.origin, seq, &digest(&bytes)))?;
        }
        Ok(())
    }

    fn membership(&self, join: &Join, roster: &Roster) -> Result<Joined, NodeError> {
        let joined = self.keyring.joined_by(roster).filter(|joined| joined.node == join.node);
        joined.ok_or_else(|| NodeError::refused(Code::Z606, "its roster does not know this node's keys"))
    }
}

/// Why keys that are or were `owner`'s cannot take the place of `member`, and what can.
fn why_not_rekeyed(owner: &Member, member: &Member) -> String {
    let (owned, wanted) = (&owner.name, &member.name);
    if owner.node == member.node {
        return format!("these are keys that {owned} has had before; it asks for new ones with `zbundle request --new-keys`");
    }
    format!(
        "this key was signed as {owned}; to take the place of {wanted}, make a new node in another directory (`init`, `request`); what was pushed \
         there travels as {owned}"
    )
}
