//! One peer on a link, as the node sees it: what it is told, what it is sent, what becomes of what it sends. SPEC §7.
//!
//! Each method is one step on the node and returns at once; who waits for the network between them is `hop`. What a session learns of the peer is kept in
//! its file under `peers/`, a memory like any receipt (R6.5-c).

mod meanwhile;

use super::decoding::Means;
use super::error::NodeError;
use super::kept::KeptBack;
use super::mixing::{Mixing, Speed};
use super::peers::{Peer, Receipt, Renewal};
use super::radar::Path;
use super::sending::Drafted;
use super::syncing::DAY_MS;
use super::taking::{Ingested, Tally};
use super::workshop::Workshop;
use super::{Node, known, settle};
use crate::carry::exchange::Heard;
use crate::ingest::{Applied, Verdict};
use crate::ports::store::{Log as _, Store as _, Stream};
use bundle_format::chain::Position;
use bundle_format::error::Code;
use bundle_format::ids::{Incarnation, NodeId, Origin};
use bundle_format::manifest::{Granted, Manifest};
use bundle_format::message::{self, Reason};
use bundle_format::range::{Range, RangeError};
use bundle_format::vector::{Salt, Tag, Told};
use meanwhile::Stood;
use std::collections::{BTreeMap, BTreeSet};

/// How often the peer may ask for one history again before we leave it for another day.
pub(super) const AGAIN_MAX: u8 = 3;
/// How many times as long its ranges are each time.
pub(super) const AGAIN_LONGER: usize = 4;
/// Raw bytes that make one byte on the link, until this session knows better.
const FIRST_RATIO: usize = 4;
/// Receipt numbers a process that tells many makes durable at once.
const RECEIPTS_AHEAD: u64 = 63;

/// What became of a range from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Held, up to here; acknowledged once it is durable.
    Held {
        /// Whose.
        origin: Origin,
        /// Up to where.
        seq: u64,
    },
    /// Not counted: to be sent again.
    Again {
        /// Whose.
        origin: Origin,
        /// How far we hold it.
        seq: u64,
        /// Of our chain hash there.
        tag: Tag,
        /// Why.
        reason: Reason,
    },
    /// It can never count.
    Refused(Code),
}

/// How far the peer has one of our streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    /// Acknowledged, or told.
    pub(super) held: u64,
    /// Sent.
    pub(super) sent: u64,
    /// Its history is known to be ours up to `held`.
    pub(super) ours: bool,
    /// Ranges of it go with their base and by themselves throughout: the peer holds another branch too, or said so.
    pub(super) whole: bool,
    /// How often it was asked for again, without an acknowledgement since of more than ever before.
    pub(super) again: u8,
    /// How far it was acknowledged in this session, at most.
    pub(super) acked: u64,
    /// Kept back from the peer (R6.2-k).
    pub(super) kept: bool,
}

/// What was sent and never acknowledged: of each stream, how far the peer was known to hold it and how far it was sent.
pub type Unconfirmed = BTreeMap<Stream, (u64, u64)>;

/// Events counted by lane.
pub type ByLane = [u64; 4];

/// One peer on a link.
#[derive(Debug)]
pub struct Session {
    pub(super) peer: NodeId,
    salt: Salt,
    pub(super) record: Peer,
    /// How its file stood when it was last read or written here.
    stood: Stood,
    /// Bytes on the socket that are in no file yet.
    spent: u64,
    pub(super) reach: BTreeMap<Stream, Reach>,
    pub(super) ratio: usize,
    pub(super) drafted: Option<Drafted>,
    /// What came of what the peer sent.
    pub tally: Tally,
    /// Events the peer acknowledged in this session, by lane.
    pub delivered: ByLane,
    /// Histories left for another day: the peer asked for them again and again, they are kept back, or a stretch of them is too long for a link (R7.3-i).
    pub left: BTreeSet<Stream>,
    pub(super) kept_back: KeptBack,
    unconfirmed: Unconfirmed,
    /// Our life and the number of the receipt, as our hello told them.
    told: Option<(Incarnation, u64)>,
    /// Where the other end is, for people.
    pub(super) via: String,
    renewed: bool,
    dirty: bool,
    /// What goes and comes in codec 3.
    pub mixing: Mixing,
}

impl Session {
    /// A session with `peer`; tags on it are salted with `salt`. What it holds is what its last receipt said, until its hello says more.
    ///
    /// # Errors
    /// What the peer's file or the log says.
    pub fn begin(node: &mut Node, peer: NodeId, salt: Salt) -> Result<Self, NodeError> {
        let record = node.peers.load(&*node.ports.disk, &peer)?;
        let mixing = Mixing::new(record.link.granted, node.ports.clock.monotonic_ms());
        let mut session = Self {
            peer,
            salt,
            stood: Stood::of(&record),
            record,
            spent: 0,
            reach: BTreeMap::new(),
            ratio: FIRST_RATIO,
            drafted: None,
            tally: Tally::default(),
            delivered: [0; 4],
            left: BTreeSet::new(),
            kept_back: KeptBack::default(),
            unconfirmed: Unconfirmed::new(),
            told: None,
            via: String::new(),
            renewed: false,
            dirty: false,
            mixing,
        };
        session.survey(node)?;
        Ok(session)
    }

    /// What an earlier connection left on its way: if the peer's hello shows that it arrived, it was delivered, though its acknowledgement was lost.
    pub fn confirm(&mut self, unconfirmed: Unconfirmed) {
        self.unconfirmed = unconfirmed;
    }

    /// What is on its way as this session ends.
    pub fn unconfirmed(&self) -> Unconfirmed {
        let flying = self.reach.iter().filter(|(_, reach)| reach.held < reach.sent);
        let flying: Unconfirmed = flying.map(|(stream, reach)| (*stream, (reach.held, reach.sent))).collect();
        self.unconfirmed.iter().map(|(stream, ends)| (*stream, *ends)).chain(flying).collect()
    }

    /// With whom.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether the peer's last receipt is known, so that ranges may go before its hello.
    pub fn is_remembered(&self) -> bool {
        self.record.receipt.is_some()
    }

    /// What is remembered of it.
    pub fn record(&self) -> &Peer {
        &self.record
    }

    /// Whether more is known of it than was saved.
    pub fn has_learned(&self) -> bool {
        self.dirty
    }

    /// Change what is remembered of it.
    pub fn record_mut(&mut self) -> &mut Peer {
        self.dirty = true;
        &mut self.record
    }

    /// Count bytes on the socket towards what the day may cost; they are noted with all else.
    pub fn spend(&mut self, bytes: u64) {
        self.spent = self.spent.saturating_add(bytes);
        self.dirty |= bytes > 0;
    }

    /// Our processor as it is seen to be; kept with what else is learned of the link.
    pub(super) fn know_speed(&mut self, speed: Speed) {
        self.record.link.own_speed = speed.seen();
    }

    /// Whether it told a receipt of a life we had not seen.
    pub fn is_renewed(&self) -> bool {
        self.renewed
    }

    /// How far the peer has each stream it may see, by its last word.
    fn survey(&mut self, node: &Node) -> Result<(), NodeError> {
        let streams = node.wal.streams();
        let before = std::mem::take(&mut self.reach);
        self.kept_back = node.kept_back(&self.peer, &self.record)?;
        self.left.retain(|stream| !before.get(stream).is_some_and(|reach| reach.kept)); // its hello may tell of less than it told before
        for (stream, _) in streams.iter().filter(|(stream, _)| node.may_see(&self.peer, &stream.origin)) {
            let word = known::word(&node.wal, &self.record, stream)?;
            let after = node.send_after(&self.peer, &self.record, stream, &streams)?;
            let held = match (after, word) {
                (Some(after), _) => after,
                (None, known::Word::Ahead(seq)) => seq, // should ours grow past its end while we talk
                (None, _) => u64::MAX,
            };
            let ours = matches!(word, known::Word::Holds(_) | known::Word::Silent) && stream.branch.is_none() && !self.tells_forked(&stream.origin);
            let before = before.get(stream);
            // What is on its way already is not sent again: if it does not count, the peer asks for it.
            let sent = before.filter(|before| before.sent > before.held).map_or(held, |before| before.sent.max(held));
            let (again, acked) = before.map_or((0, 0), |before| (before.again, before.acked));
            let kept = self.kept_back.has(&node.wal, &self.record, stream)?;
            self.reach.insert(*stream, Reach { held, sent, ours, whole: !ours, again, acked, kept });
        }
        Ok(())
    }

    /// Whether the peer told of two branches of `origin` (R7.3-h).
    fn tells_forked(&self, origin: &Origin) -> bool {
        self.record.receipt.as_ref().is_some_and(|receipt| receipt.vector.iter().filter(|told| told.origin == *origin).count() > 1)
    }

    /// Our hello: what we hold, all of it durable, and a new receipt number (R7.3-a, R6.5-b).
    ///
    /// # Errors
    /// What the log or the file `state` says.
    pub fn hello(&mut self, node: &mut Node) -> Result<Vec<Manifest>, NodeError> {
        node.show_life()?;
        node.heed_rot()?;
        node.wal.sync()?;
        let told = node.told_to(&self.peer, &self.record)?;
        let mut vector = Vec::with_capacity(told.len());
        for (stream, head) in &told {
            if let Some(position) = known::position(&node.wal, stream, head.checkpoint_seq)? {
                vector.push(Told::new(&self.salt, stream.origin, &position));
            }
        }
        let number = node.next_receipt_number(RECEIPTS_AHEAD)?;
        self.told = Some((node.keyring.incarnation(), number));
        let forks = node.fork_notices(&told)?;
        Ok(message::pages(Manifest::new(vector, Some((node.keyring.incarnation(), number)), forks, [])))
    }

    /// The peer's hello. `Some(n)`: it has lost state, for it told receipt n before (R7.4-f).
    ///
    /// # Errors
    /// What the log or a file beside it says.
    pub fn hear(&mut self, node: &mut Node, heard: Heard) -> Result<Option<u64>, NodeError> {
        let Heard { mut vector, receipt, forks, granted } = heard;
        vector.sort_unstable(); // page by page it came, what is urgent first
        let granted = granted.unwrap_or(Granted::USUAL);
        self.record.link.granted = Some(granted);
        self.mixing.hear(granted, node.ports.clock.monotonic_ms());
        let mut lost = None;
        if let Some((incarnation, number)) = receipt {
            let told = Receipt { incarnation, number, salt: self.salt, vector };
            let before = self.record.receipt.as_ref().filter(|before| before.incarnation == incarnation).map(|before| before.number);
            self.record.retire(node.state.closed.lives_of(self.peer));
            let retired = self.record.retired.contains(&incarnation);
            lost = before.filter(|before| *before >= number).or_else(|| retired.then_some(u64::MAX));
            // On a link the word of now counts, whatever was told before (R7.4-g).
            if self.record.renew(told.clone()) == Renewal::NewLife {
                self.renewed = true;
            }
            self.record.receipt = Some(told);
        }
        self.record.answer_due = false; // every session is an answer (R7.4-k)
        self.record.hear(Path::Link, &self.via, node.ports.clock.now_ms());
        self.dirty = true;
        if node.receipt_proves_loss(&self.record)? || node.notice_proves_loss(&forks)? {
            self.save(node)?; // what is to be fetched back is in it
            self.lose(node)?;
        }
        self.settle(node)?; // it may be the last word that was waited for, though it sends nothing
        self.survey(node)?;
        for (stream, (held, sent)) in std::mem::take(&mut self.unconfirmed) {
            if let Some(reach) = self.reach.get(&stream).filter(|reach| reach.ours && reach.held != u64::MAX) {
                self.delivered[stream.origin.lane as usize] += reach.held.min(sent).saturating_sub(held);
            }
        }
        Ok(lost)
    }

    /// The peer is there: it sent something, or its connection stands (R10.14-a).
    pub fn hear_on(&mut self, node: &Node) {
        self.record.hear_on(Path::Link, &self.via, node.ports.clock.now_ms());
        self.dirty = true;
    }

    /// The peer knew receipt `number` of ours already (R7.4-f). What others of our sessions told, or will tell, only came to it in another order; what
    /// this one told nobody else can have: another card did. And what nobody here told yet, too.
    pub fn is_loss(&self, node: &Node, number: u64) -> bool {
        number > node.receipt_told || self.told.is_some_and(|(_, told)| told == number)
    }

    /// The peer says that we have lost a part of our past: if it is believed, a new life before the next append (R6.6-a, R6.6-p).
    ///
    /// # Errors
    /// What the files beside the log say.
    pub fn lose(&mut self, node: &mut Node) -> Result<(), NodeError> {
        if self.told.is_some_and(|(life, _)| life != node.keyring.incarnation()) {
            return Ok(()); // of the life that this peer was told of, it is known already
        }
        self.tally.new_life |= node.believe_loss(self.peer)?;
        Ok(())
    }

    /// What the peer lacks still, in events by lane: not acknowledged yet. Of others' histories what is proved here: the rest is theirs to send.
    ///
    /// # Errors
    /// What the log says.
    pub fn remaining(&mut self, node: &Node) -> Result<ByLane, NodeError> {
        self.lacks(node)?; // learns streams that are new
        let mut remaining = [0; 4];
        for (stream, head) in node.wal.streams() {
            if let Some(reach) = self.reach.get(&stream).filter(|_| node.may_see(&self.peer, &stream.origin)) {
                let due = if Self::is_signed_here(node, &stream) { node.state.due_to(&stream.origin, head.end.seq) } else { head.checkpoint_seq };
                remaining[stream.origin.lane as usize] += due.saturating_sub(reach.held.max(head.base.seq));
            }
        }
        Ok(remaining)
    }

    /// The peer holds `origin` up to `seq`, durably: it said so.
    ///
    /// # Errors
    /// What the log says.
    pub fn credit(&mut self, node: &Node, origin: &Origin, seq: u64) -> Result<(), NodeError> {
        let fits = |(stream, reach): &(&Stream, &mut Reach)| stream.origin == *origin && reach.held < seq && seq <= reach.sent;
        let Some((stream, reach)) = self.reach.iter_mut().find(fits) else { return Ok(()) };
        self.delivered[origin.lane as usize] += seq - reach.held;
        (reach.held, reach.ours) = (seq, !reach.whole);
        if seq > reach.acked {
            (reach.acked, reach.again) = (seq, 0); // what is acknowledged a second time gets nobody on (R7.4-e)
        }
        let stream = *stream;
        if let (Some(receipt), Some(position)) = (&mut self.record.receipt, known::position(&node.wal, &stream, seq)?) {
            let told = Told::new(&receipt.salt, *origin, &position);
            let other = told_beside(node, &stream, receipt)?;
            receipt.vector.retain(|old| old.origin != *origin || other.contains(old));
            receipt.vector.push(told);
            receipt.vector.sort_unstable();
        }
        self.hear_on(node);
        Ok(())
    }

    /// The peer asks for `origin` again: it holds it up to `seq`, with this tag there.
    ///
    /// # Errors
    /// What the log says.
    pub fn resend(&mut self, node: &mut Node, origin: &Origin, seq: u64, tag: Tag, reason: Reason) -> Result<(), NodeError> {
        let streams = node.wal.streams();
        let told = Told { origin: *origin, seq, tag };
        if let Some(receipt) = &mut self.record.receipt {
            let branch = branch_of(node, &self.salt, &told)?;
            let other = branch.map(|branch| told_beside(node, &branch, receipt)).transpose()?.unwrap_or_default();
            receipt.vector.retain(|old| old.origin != *origin || other.contains(old));
            if seq > 0 {
                receipt.vector.push(Told { tag: retag(node, &self.salt, &receipt.salt, &told)?, ..told });
                receipt.vector.sort_unstable();
            }
        }
        for (stream, head) in streams.iter().filter(|(stream, _)| stream.origin == *origin) {
            let after = node.send_after(&self.peer, &self.record, stream, &streams)?.unwrap_or(head.base.seq);
            let Some(reach) = self.reach.get_mut(stream) else { continue };
            reach.again = reach.again.saturating_add(1);
            reach.whole |= reason == Reason::Differs;
            self.mixing.refused |= reason == Reason::Differs && self.mixing.mixed.ranges > 0; // perhaps it was too much work
            (reach.held, reach.sent, reach.ours) = (after, after, false);
            if reach.again > AGAIN_MAX {
                self.leave(*stream);
                if reason == Reason::Gap {
                    settle::write_unplaced_again(node, stream, after)?;
                }
            }
        }
        self.dirty = true;
        Ok(())
    }

    /// A range from the peer: verified, admitted, appended; durable after the next sync (R7.4-c). What came in codec 3 was decoded before (`decoding`).
    ///
    /// # Errors
    /// What our own log or the files beside it say.
    pub fn take(&mut self, node: &mut Node, workshop: &mut Workshop, range: Range) -> Result<Taken, NodeError> {
        let origin = range.origin;
        let Means { base, prefix } = match self.means(node, &range)? {
            Ok(means) => means,
            Err(taken) => return Ok(taken),
        };
        let whole = range.base.is_some() && range.prefix.is_none();
        let verified = match range.verify_with(base, &node.roster, prefix.as_deref(), &mut workshop.decompressor) {
            Ok(verified) => verified,
            Err(RangeError::UnknownSigner { .. }) => return self.again(node, &origin, Reason::Signer),
            Err(_) if !whole => return self.again(node, &origin, Reason::Differs),
            Err(error) => return Ok(Taken::Refused(error.code())),
        };
        let end = verified.end();
        let Applied { verdict, duplicate, left_out, .. } = node.take_range(&verified, &mut self.tally)?;
        if left_out == 0 || node.holds_any_of(&origin) {
            self.record.sent.insert(origin);
        }
        self.hear_on(node);
        match verdict {
            Verdict::Gap { .. } => {
                self.tally.missing.pop(); // it is asked for, not missing
                return self.again(node, &origin, Reason::Gap);
            }
            Verdict::Unproved => return self.again(node, &origin, Reason::Gap), // not held, so not acknowledged
            Verdict::Append { stream, .. } | Verdict::Fork { stream, .. } if left_out > 0 => {
                let held = verified.run().start().seq + duplicate;
                return self.again_on(node, &stream, held, Reason::Gap); // nor is what a full branch left out
            }
            _ => {}
        }
        self.holds(node, &origin, end)?;
        Ok(Taken::Held { origin, seq: end.seq })
    }

    /// Who sent it has it: of a fork, the branch it is on and not the other.
    fn holds(&mut self, node: &Node, origin: &Origin, end: Position) -> Result<(), NodeError> {
        for (stream, _) in &node.wal.branches(origin) {
            if known::position(&node.wal, stream, end.seq)? == Some(end) {
                let main = stream.branch.is_none();
                let new = Reach { held: end.seq, sent: end.seq, ours: main, whole: !main, again: 0, acked: 0, kept: false };
                let reach = self.reach.entry(*stream).or_insert(new);
                (reach.held, reach.sent) = (reach.held.max(end.seq), reach.sent.max(end.seq));
            }
        }
        Ok(())
    }

    pub(super) fn again(&self, node: &Node, origin: &Origin, reason: Reason) -> Result<Taken, NodeError> {
        self.again_on(node, &Stream::main(*origin), u64::MAX, reason)
    }

    /// The same of one branch, of which no more than up to `most` is the peer's.
    fn again_on(&self, node: &Node, branch: &Stream, most: u64, reason: Reason) -> Result<Taken, NodeError> {
        let origin = branch.origin;
        let held = node.sound_streams()?.iter().find(|(stream, _)| stream == branch).map_or(0, |(_, head)| head.checkpoint_seq.min(most));
        let position = known::position(&node.wal, branch, held)?.unwrap_or(Position::start(&origin));
        Ok(Taken::Again { origin, seq: position.seq, tag: Tag::of(&self.salt, &position.hash), reason })
    }

    /// After a hello or a sync: lives we lost are settled as far as this peer helps (R6.6-d). Returns how many events were written again.
    ///
    /// # Errors
    /// What the log says.
    pub fn settle(&mut self, node: &mut Node) -> Result<u64, NodeError> {
        if node.state.open_lives.is_empty() {
            return Ok(0);
        }
        self.save(node)?; // settling asks every peer's file what it holds
        let mut ingested = Ingested::default();
        settle::settle(node, &mut ingested)?;
        Ok(ingested.reappended)
    }

    /// Remember the peer as it is known now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&mut self, node: &Node) -> Result<(), NodeError> {
        if std::mem::take(&mut self.dirty) {
            let noted = node.peers.load(&*node.ports.disk, &self.peer)?;
            meanwhile::take_in(&mut self.record, noted, self.stood);
            if self.spent > 0 {
                self.record.link.spend(node.ports.clock.now_ms() / DAY_MS, self.spent);
            }
            node.peers.save(&*node.ports.disk, &self.peer, &self.record)?;
            (self.stood, self.spent) = (Stood::of(&self.record), 0);
        }
        Ok(())
    }
}

/// What a receipt tells of other branches than this one of ours: a word on one takes back nothing of another.
fn told_beside(node: &Node, branch: &Stream, receipt: &Receipt) -> Result<Vec<Told>, NodeError> {
    let mut beside = Vec::new();
    for old in receipt.vector.iter().filter(|old| old.origin == branch.origin) {
        if matches!(known::compare(&node.wal, branch, &receipt.salt, old)?, known::Word::Differs(_)) {
            beside.push(*old);
        }
    }
    Ok(beside)
}

/// The stream of ours that is the same up to a told position.
fn branch_of(node: &Node, salt: &Salt, told: &Told) -> Result<Option<Stream>, NodeError> {
    if told.seq == 0 {
        return Ok(None);
    }
    for (stream, _) in &node.wal.branches(&told.origin) {
        if matches!(known::compare(&node.wal, stream, salt, told)?, known::Word::Holds(_)) {
            return Ok(Some(*stream));
        }
    }
    Ok(None)
}

/// A told position with the tag it would have under another salt: ours where the histories are the same, and no tag at all where they differ.
fn retag(node: &Node, from: &Salt, to: &Salt, told: &Told) -> Result<Tag, NodeError> {
    for (stream, _) in &node.wal.branches(&told.origin) {
        if let Some(position) = known::position(&node.wal, stream, told.seq)?.filter(|position| Tag::of(from, &position.hash) == told.tag) {
            return Ok(Tag::of(to, &position.hash));
        }
    }
    Ok(told.tag)
}
