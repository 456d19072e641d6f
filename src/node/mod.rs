//! The node: the only place where rooms meet. One data directory, one identity, one writer.
//!
//! [`Node`] holds the lock and may append; [`View`] takes none and never writes. Everything a command does is a method of one of them, in the
//! file named after it. Not here: options, words for people (`cli`).

pub mod alarm;
pub mod appending;
mod claims;
mod coding;
pub mod config;
pub mod conflicts;
pub mod control;
pub mod counting;
pub mod cutting;
mod decoding;
mod doubt;
pub mod error;
pub mod exchanging;
pub mod feed;
pub mod folding;
pub mod foretelling;
pub mod forks;
pub mod fsck;
mod healing;
pub mod held;
pub mod history;
pub mod hop;
pub mod idempotency;
pub mod inspect;
pub mod kept;
pub mod known;
pub mod layout;
pub mod ledger;
pub mod local;
pub mod log;
pub mod meeting;
pub mod members;
pub mod mixing;
pub mod naming;
pub mod neighbours;
pub mod payload;
pub mod peers;
pub mod places;
pub mod projecting;
pub mod pushing;
pub mod radar;
pub mod record;
pub mod relaying;
mod rot;
mod sampling;
mod sending;
pub mod serving;
pub mod session;
pub mod setting;
pub mod settle;
pub mod settling;
pub mod standing;
pub mod state;
pub mod status;
pub mod syncing;
pub mod taking;
pub mod told;
mod turns;
pub mod waiting;
pub mod watching;
pub mod workshop;
pub mod writer;

pub use error::NodeError;

use crate::keys::{self, Keyring, Pin, Roster, Secret};
use crate::ports::store::{Finding, Log, Store as _, StoreError, Stream};
use crate::ports::{Lock, Ports};
use crate::wal::{DataKeys, Wal, WalReader};
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::ids::{EventId, Incarnation, Lane, Name, NodeId, Origin};
use bundle_format::manifest::ForkNotice;
use control::Note;
use counting::Counting;
use layout::Layout;
use ledger::{Ledger, Mark};
use peers::{Peer, Peers};
use record::{Recalled, Rotted};
use state::State;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use writer::take_lock;

/// Where a node is and how to unlock it.
pub struct Opening<'a> {
    /// Its data directory.
    pub data_dir: &'a Path,
    /// What its keyring is wrapped with.
    pub secret: &'a Secret,
    /// How long to wait for another process that holds the lock.
    pub lock_wait_ms: u64,
}

/// A node open for writing.
pub struct Node {
    pub(crate) ports: Ports,
    pub(crate) layout: Layout,
    pub(crate) keyring: Keyring,
    pub(crate) wal: Wal,
    pub(crate) roster: Roster,
    pub(crate) peers: Peers,
    /// Boxed, for nodes travel in futures.
    pub(crate) state: Box<State>,
    /// As it stands on the disk.
    saved: Box<State>,
    /// Read when it is first asked.
    ledger: Option<Ledger>,
    /// The number of the last receipt told; `state` on the disk may be ahead of it (R6.5-b).
    pub(crate) receipt_told: u64,
    wrap: keys::Lock,
    _lock: Box<dyn Lock>,
}

/// A node open for reading, beside whoever writes.
pub struct View {
    pub(crate) ports: Ports,
    pub(crate) layout: Layout,
    pub(crate) keyring: Keyring,
    pub(crate) log: WalReader,
    pub(crate) roster: Roster,
    pub(crate) peers: Peers,
    pub(crate) state: State,
}

impl Node {
    /// Make a node in an empty place: keys, first incarnation, log. An authority founds its domain. Returns it open.
    ///
    /// # Errors
    /// Z103 when there is one already; what the disk says.
    pub fn init(ports: &Ports, opening: &Opening<'_>, name: &Name, authority: bool) -> Result<Self, NodeError> {
        let layout = Layout::new(opening.data_dir);
        let disk = &*ports.disk;
        disk.create_folder(layout.root()).map_err(|error| NodeError::writing(layout.root(), error))?;
        let lock = take_lock(ports, &layout, opening.lock_wait_ms)?;
        if is_taken(ports, &layout)? {
            return Err(NodeError::refused(Code::Z103, layout.root().display().to_string()));
        }
        let make = if authority { Keyring::generate_authority } else { Keyring::generate };
        let keyring = make(name.clone(), &*ports.entropy);
        for folder in [layout.log(), layout.peers(), layout.held(), layout.quarantine()] {
            disk.create_folder(&folder).map_err(|error| NodeError::writing(&folder, error))?;
        }
        State::default().save(disk, &layout.state())?;
        let wrap = keys::Lock::new(opening.secret, &*ports.entropy);
        keyring.save(disk, &layout.keyring(), &wrap, &*ports.entropy)?;
        let mut node = Self::assemble(ports, layout, keyring, wrap, lock)?;
        if authority {
            node.enrol_itself()?;
        }
        node.note_durable()?;
        Ok(node)
    }

    /// Open the node in a directory for writing. Findings of the log's recovery are in [`Node::findings`]; a hole in our own history has been
    /// answered with a new life already.
    ///
    /// # Errors
    /// Z102 no node, Z104 in use, Z112 another user's, Z601–Z603 keys, Z105 another version, Z30x the log.
    pub fn open(ports: &Ports, opening: &Opening<'_>) -> Result<Self, NodeError> {
        Self::open_under(ports, opening, |lock| lock)
    }

    /// [`Node::open`] with the lock inside something that lives as long.
    fn open_under(ports: &Ports, opening: &Opening<'_>, keep: impl FnOnce(Box<dyn Lock>) -> Box<dyn Lock>) -> Result<Self, NodeError> {
        let layout = Layout::new(opening.data_dir);
        require_node(ports, &layout)?;
        let lock = keep(take_lock(ports, &layout, opening.lock_wait_ms)?);
        let (keyring, wrap) = Keyring::load(&*ports.disk, &layout.keyring(), opening.secret)?;
        let mut node = Self::assemble(ports, layout, keyring, wrap, lock)?;
        node.finish_init()?;
        node.answer_findings()?;
        node.heed_rot()?;
        Ok(node)
    }

    /// An authority whose `init` was broken off before its roster began: nothing is in its log, and it never told anybody anything.
    fn finish_init(&mut self) -> Result<(), NodeError> {
        let is_loss = |finding: &Finding| matches!(finding, Finding::Hole { .. } | Finding::Short { .. });
        let lost = self.receipt_told > 0 || !self.keyring.earlier_incarnations().is_empty() || self.wal.findings().iter().any(is_loss);
        if self.keyring.is_authority() && self.wal.streams().is_empty() && !lost { self.enrol_itself() } else { Ok(()) }
    }

    fn assemble(ports: &Ports, layout: Layout, keyring: Keyring, wrap: keys::Lock, lock: Box<dyn Lock>) -> Result<Self, NodeError> {
        let mut wal = Wal::open(ports.disk.clone(), &layout.log(), &wal_keys(&keyring), ports.entropy.clone(), ports.clock.clone())?;
        let peers = Peers::to_write(&layout.peers(), Rc::clone(&ports.clock));
        let recalled = recall_state(ports, &layout, peers.rotted())?;
        if matches!(recalled, Recalled::Rotten) {
            record::put_aside(&*ports.disk, &layout.state())?;
        }
        let roster = Roster::from_log(pin_of(&keyring), &wal, keyring.is_authority())?;
        let (state, forgotten) = state_or_found_again(recalled, Counting { log: &wal, roster: &roster, keyring: &keyring })?;
        wal.hold_against(state.log_end);
        let (receipt_told, state) = (state.receipt_number, Box::new(state));
        let saved = state.clone();
        let mut node =
            Self { ports: ports.clone(), layout, keyring, wal, roster, peers, state, saved, ledger: None, receipt_told, wrap, _lock: lock };
        if forgotten {
            node.begin_new_life()?; // which receipts we told is not known any more
        } else if node.state.open_lives.contains(&node.keyring.incarnation()) {
            node.leave_life()?; // the power went between the two writes of a new life
        }
        node.learn_missed()?;
        Ok(node)
    }

    /// What opening found in the log.
    pub fn findings(&self) -> &[Finding] {
        self.wal.findings()
    }

    /// Which memories beside the log were found rotten.
    pub fn rotted(&self) -> &Rotted {
        self.peers.rotted()
    }

    /// What we remember of a peer.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn peer(&self, node: &NodeId) -> Result<Peer, NodeError> {
        Ok(self.peers.load(&*self.ports.disk, node)?)
    }

    /// Our own name.
    pub fn name(&self) -> &Name {
        self.keyring.name()
    }

    /// Who we are.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whom we trust.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The log, for reading.
    pub fn log(&self) -> &dyn Log {
        &self.wal
    }

    /// A hole cut some of our streams back, or may have taken one whole, with its definition, so that nothing here knows it any more; a log that is shorter
    /// than it was has done the same. Foreign ones are asked
    /// for again by our next vector; our own are lost state: a new life, and what was readable behind the hole is written again (R6.6-f). Done when `state`
    /// says so: the log has put the hole aside by now, and would not tell of it a second time.
    fn answer_findings(&mut self) -> Result<(), NodeError> {
        if self.wal.findings().iter().any(|finding| !matches!(finding, Finding::Index { .. })) {
            self.ledger()?.clear(); // what it says was taken may be gone (R10.11-b)
            self.save_ledger()?;
        }
        let aside = self.wal.holes_aside();
        let is_short = self.wal.findings().iter().any(|finding| matches!(finding, Finding::Short { .. }));
        if is_short {
            self.state.log_end = self.wal.end(); // in one write with the life that ends
        }
        if is_short || aside > self.state.holes_answered || self.wal.findings().iter().any(|finding| matches!(finding, Finding::Hole { .. })) {
            self.begin_new_life()?;
            for (stream, _) in self.wal.streams() {
                self.rescue_orphans(&stream)?;
            }
            self.wal.sync()?;
        }
        self.state.holes_answered = aside;
        self.note_durable()?;
        Ok(())
    }

    fn rescue_orphans(&mut self, stream: &Stream) -> Result<(), NodeError> {
        let origin = stream.origin;
        if origin.node != self.keyring.node() || origin.lane == Lane::Control {
            return Ok(());
        }
        let (mut orphans, last) = (self.wal.orphans(stream)?, settle::ours_to(self, stream)?);
        orphans.retain(|(seq, _)| *seq <= last);
        if orphans.is_empty() {
            return Ok(());
        }
        let mut repeats = settle::Repeats::of(self, &origin)?.among(&orphans); // another process may have been broken off at this
        let target = Stream::main(Origin { incarnation: self.keyring.incarnation(), ..origin });
        for (seq, bytes) in orphans {
            let id = EventId::new(origin, seq, &digest(&bytes));
            if repeats.are_due(id, &bytes) {
                appending::again(&mut self.wal, &*self.ports.clock, &target, &bytes, id)?;
            }
        }
        Ok(())
    }

    /// Freeze the present incarnation durably and draw a new one: nothing is ever written twice under one number (R6.6-a, R3.5-d, R6.6-g).
    pub(crate) fn begin_new_life(&mut self) -> Result<(), NodeError> {
        let old = self.keyring.incarnation();
        self.ledger()?.clear();
        self.save_ledger()?;
        self.state.open_lives.push(old);
        self.note_written(old)?;
        (self.state.receipt_number, self.receipt_told) = (0, 0);
        self.save_state()?;
        self.leave_life()?;
        // What was told in the old life is not known to be so any more, and who has nothing to send hears nothing else (R6.5-g).
        let mut heard: BTreeSet<_> = self.peers.all(&*self.ports.disk)?.into_iter().map(|(peer, _)| peer).collect();
        heard.extend(self.writers()); // heard too, perhaps, by a card that was put back to before
        self.owe_answers(&heard)
    }

    /// What stands in a life as it ends, or behind a hole in it, is our own work: nobody else's was stored in it, for that ends it (R6.6-d).
    fn note_written(&mut self, life: Incarnation) -> Result<(), NodeError> {
        let me = self.keyring.node();
        let own = |stream: &Stream| stream.branch.is_none() && (stream.origin.node, stream.origin.incarnation) == (me, life);
        self.state.written.retain(|(origin, _)| origin.incarnation != life);
        for (stream, head) in self.wal.streams().into_iter().filter(|(stream, _)| own(stream)) {
            let behind = self.wal.orphans(&stream)?.last().map_or(0, |(seq, _)| *seq);
            self.state.written.push((stream.origin, head.end.seq.max(behind)));
        }
        self.state.written.push((Origin { node: me, incarnation: life, lane: Lane::Routine, audience: None }, 0)); // so that the life is told
        Ok(())
    }

    /// Every member whose records we may see.
    fn writers(&self) -> impl Iterator<Item = NodeId> {
        let (me, incarnation) = (self.keyring.node(), Incarnation([0; 4]));
        let members = self.roster.members().filter(move |member| member.node != me && !member.is_revoked()).map(|member| member.node);
        members.filter(move |node| self.roster.may_see(&me, &Origin { node: *node, incarnation, lane: Lane::Routine, audience: None }))
    }

    /// A number for a receipt that is about to be told, durable before it is (R6.5-b). A process that tells many takes `ahead` more at once; those it
    /// does not use are never told.
    pub(crate) fn next_receipt_number(&mut self, ahead: u64) -> Result<u64, NodeError> {
        self.receipt_told += 1;
        if self.receipt_told > self.state.receipt_number {
            self.state.receipt_number = self.receipt_told + ahead;
            self.save_state()?;
        }
        Ok(self.receipt_told)
    }

    fn leave_life(&mut self) -> Result<(), NodeError> {
        self.keyring.begin_incarnation(&*self.ports.entropy);
        self.save_keyring()
    }

    /// All that was appended is durable. Returns where it ends.
    fn note_durable(&mut self) -> Result<(u32, u64), NodeError> {
        let end = self.wal.end();
        self.state.reach(end);
        self.note_learned()?;
        Ok(end)
    }

    /// Write the file `state` if it has changed.
    pub(crate) fn save_state(&mut self) -> Result<(), NodeError> {
        if self.state != self.saved {
            self.state.save(&*self.ports.disk, &self.layout.state())?;
            self.saved.clone_from(&self.state);
        }
        Ok(())
    }

    /// What need not be taken in again.
    pub(crate) fn ledger(&mut self) -> Result<&mut Ledger, NodeError> {
        let ledger = match self.ledger.take() {
            Some(ledger) => ledger,
            None => self.load_ledger()?,
        };
        Ok(self.ledger.insert(ledger))
    }

    /// An empty one where the log is not the one it was written beside (R10.11-b).
    fn load_ledger(&self) -> Result<Ledger, NodeError> {
        let ledger = Ledger::load(&*self.ports.disk, &self.layout.ledger())?;
        let Mark { end, print } = ledger.log_end();
        Ok(if self.wal.print_before(end)? == Some(print) { ledger } else { Ledger::default() })
    }

    /// Write the ledger if it has changed, after what it notes is durable. Where there is no room for it there is none: a cache must not keep a node from
    /// opening, and an old one must not be believed.
    pub(crate) fn save_ledger(&mut self) -> Result<(), NodeError> {
        let (end, path, disk) = (self.wal.end(), self.layout.ledger(), self.ports.disk.clone());
        let print = self.wal.print_before(end)?.unwrap_or_default();
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        if ledger.save(&*disk, &path, Mark { end, print }).is_ok() {
            return Ok(());
        }
        let gone = || if disk.look(&path)?.is_some() { disk.remove(&path).and_then(|()| disk.sync_folder(self.layout.root())) } else { Ok(()) };
        gone().map_err(|error| NodeError::writing(&path, error))
    }

    pub(crate) fn save_keyring(&self) -> Result<(), NodeError> {
        Ok(self.keyring.save(&*self.ports.disk, &self.layout.keyring(), &self.wrap, &*self.ports.entropy)?)
    }

    pub(crate) fn refresh_roster(&mut self) -> Result<(), NodeError> {
        let roster = Roster::from_log(pin_of(&self.keyring), &self.wal, self.keyring.is_authority())?;
        let before = std::mem::replace(&mut self.roster, roster);
        self.weigh_closings(&before)
    }

    /// Write one event into our own control lane, durably.
    pub(crate) fn note_control(&mut self, note: &Note) -> Result<(), NodeError> {
        let origin = self.own_origin(Lane::Control, None);
        self.append_control(&Stream::main(origin), note.kind, &note.payload)
    }

    pub(crate) fn append_control(&mut self, stream: &Stream, kind: &str, payload: &[u8]) -> Result<(), NodeError> {
        appending::control(&mut self.wal, &*self.ports.clock, stream, kind, payload)?;
        self.wal.sync()?;
        Ok(())
    }

    pub(crate) fn own_origin(&self, lane: Lane, audience: Option<NodeId>) -> Origin {
        Origin { node: self.keyring.node(), incarnation: self.keyring.incarnation(), lane, audience }
    }

    /// Whether `origin` is ours, of a life that ended by loss and whose remains have been written again (R6.6-d).
    pub(crate) fn is_settled_life(&self, origin: &Origin) -> bool {
        let ours_no_more = origin.node == self.keyring.node() && origin.incarnation != self.keyring.incarnation();
        ours_no_more && !self.state.open_lives.contains(&origin.incarnation) && !self.roster.is_roster(origin)
    }

    pub(crate) fn require_joined(&self) -> Result<(), NodeError> {
        if self.keyring.pin().is_some() { Ok(()) } else { Err(NodeError::refused(Code::Z604, self.keyring.name().to_string())) }
    }

    /// Whether a peer's receipt tells of our present life what our log cannot confirm.
    pub(crate) fn receipt_proves_loss(&self, peer: &Peer) -> Result<bool, NodeError> {
        // A restored authority would repeat the numbers of its receipts, and nobody would believe them, or send the roster back (R8.4-b).
        let restored = self.keyring.is_authority() && self.state.open_lives.is_empty();
        if restored && !known::holds_all_told(&self.wal, peer, &self.roster.pin().roster_origin())? {
            return Ok(true);
        }
        let told = peer.receipt.iter().flat_map(|receipt| receipt.vector.iter().map(|told| told.origin));
        let mut own: Vec<Origin> = told.filter(|origin| self.is_present_life(origin)).collect();
        own.dedup();
        for origin in own {
            if known::proves_loss(&self.wal, peer, &origin)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_present_life(&self, origin: &Origin) -> bool {
        origin.node == self.keyring.node() && origin.incarnation == self.keyring.incarnation() && !self.roster.is_roster(origin)
    }

    /// Whether a fork notice names our present life with a digest that is not ours (sign S4 of SPEC §6.6).
    pub(crate) fn notice_proves_loss(&self, notices: &[ForkNotice]) -> Result<bool, NodeError> {
        for notice in notices.iter().filter(|notice| self.is_present_life(&notice.origin)) {
            let mut events = self.wal.events(&Stream::main(notice.origin), notice.seq)?;
            let ours = match events.next() {
                Err(StoreError::Damaged { .. }) => None, // of two digests one at most was ours
                ours => ours?.map(|(_, bytes)| digest(bytes).0),
            };
            let foreign = |theirs: &[u8; 8]| ours.is_none_or(|ours| ours[..8] != *theirs);
            if notice.digests.iter().any(foreign) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl View {
    /// Lives of ours that ended by loss and are not settled yet.
    pub fn open_lives(&self) -> &[Incarnation] {
        &self.state.open_lives
    }

    /// Open the node in a directory for reading.
    ///
    /// # Errors
    /// As [`Node::open`], but never Z104.
    pub fn open(ports: &Ports, data_dir: &Path, secret: &Secret) -> Result<Self, NodeError> {
        let layout = Layout::new(data_dir);
        require_node(ports, &layout)?;
        let (keyring, _) = Keyring::load(&*ports.disk, &layout.keyring(), secret)?;
        let peers = Peers::at(&layout.peers(), Rc::clone(&ports.clock));
        let recalled = recall_state(ports, &layout, peers.rotted())?; // before the log, which only grows
        let mut log = WalReader::open(ports.disk.clone(), &layout.log(), &wal_keys(&keyring))?;
        let roster = Roster::from_log(pin_of(&keyring), &log, keyring.is_authority())?;
        let (state, _) = state_or_found_again(recalled, Counting { log: &log, roster: &roster, keyring: &keyring })?;
        log.hold_against(state.log_end);
        rot::look_again(&*ports.disk, &layout, &log)?;
        Ok(Self { ports: ports.clone(), layout, keyring, log, roster, peers, state })
    }

    /// Which memories beside the log were found rotten.
    pub fn rotted(&self) -> &Rotted {
        self.peers.rotted()
    }

    /// The log as it is by now, and whom it lets us trust.
    fn read_again(&self) -> Result<(WalReader, Roster), NodeError> {
        let log = WalReader::open(self.ports.disk.clone(), &self.layout.log(), &wal_keys(&self.keyring))?;
        let roster = Roster::from_log(pin_of(&self.keyring), &log, self.keyring.is_authority())?;
        Ok((log, roster))
    }

    /// Who we are.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whom we trust.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The log.
    pub fn log(&self) -> &dyn Log {
        &self.log
    }

    /// What opening found in the log.
    pub fn findings(&self) -> &[Finding] {
        self.log.findings()
    }
}

/// The file `state`; that it has rotted is noted.
fn recall_state(ports: &Ports, layout: &Layout, rotted: &Rotted) -> Result<Recalled<State>, NodeError> {
    let recalled = State::recall(&*ports.disk, &layout.state())?;
    if matches!(recalled, Recalled::Rotten) {
        rotted.note(&layout.state());
    }
    Ok(recalled)
}

/// What a node must remember, or what is found again of it; and whether it was forgotten.
fn state_or_found_again(recalled: Recalled<State>, counting: Counting<'_>) -> Result<(State, bool), NodeError> {
    match recalled {
        Recalled::Whole(state) => Ok((state, false)),
        Recalled::Nothing | Recalled::Rotten => Ok((State::found_again(counting)?, true)),
    }
}

/// The pin of the domain; before a node has joined, of a domain that nobody else is in.
fn pin_of(keyring: &Keyring) -> Pin {
    let alone = || Pin { authority_key: keyring.current().signing.verifying_key(), incarnation: Incarnation([0; 4]) };
    keyring.pin().copied().unwrap_or_else(alone)
}

fn wal_keys(keyring: &Keyring) -> DataKeys {
    let (id, key) = keyring.data_keys().current();
    (1..id).fold(DataKeys::new(id, *key), |keys, old| match keyring.data_keys().get(old) {
        Some(key) => keys.with_old(old, *key),
        None => keys,
    })
}

fn exists(ports: &Ports, path: &Path) -> Result<bool, NodeError> {
    Ok(ports.disk.look(path).map_err(|error| NodeError::reading(path, error))?.is_some())
}

/// Whether a node is here, or was. Empty folders are what an `init` that was broken off leaves; a log without its keyring is somebody's records.
///
/// # Errors
/// When the disk fails.
pub fn is_taken(ports: &Ports, layout: &Layout) -> Result<bool, NodeError> {
    let log = layout.log();
    let has_log = || ports.disk.list(&log).map(|entries| !entries.is_empty()).map_err(|error| NodeError::reading(&log, error));
    Ok(exists(ports, &layout.keyring())? || (exists(ports, &log)? && has_log()?))
}

/// That there is a node.
///
/// # Errors
/// Z102 where nothing is, Z623 where there is a log that nobody has the keys of any more.
pub fn require_node(ports: &Ports, layout: &Layout) -> Result<(), NodeError> {
    if exists(ports, &layout.keyring())? {
        return Ok(());
    }
    let code = if is_taken(ports, layout)? { Code::Z623 } else { Code::Z102 };
    Err(NodeError::refused(code, layout.root().display().to_string()))
}

impl Node {
    /// Names for people.
    pub fn naming(&self) -> naming::Naming<'_> {
        naming::Naming { keyring: &self.keyring, roster: &self.roster, log: &self.wal }
    }
}

impl View {
    /// Names for people.
    pub fn naming(&self) -> naming::Naming<'_> {
        naming::Naming { keyring: &self.keyring, roster: &self.roster, log: &self.log }
    }
}
