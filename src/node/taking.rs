//! Take bundles in: find, open, verify, admit, append, hold what is early, believe receipts. SPEC §6 (R6.1-h).

use super::error::NodeError;
use super::forks::held_of;
use super::held::{Held, Kept};
use super::ledger::TakenBundle;
use super::peers::{Receipt, Renewal};
use super::waiting::Waits;
use super::{Node, inspect, settle};
use crate::carry::finding::Candidate;
use crate::carry::watch::may_be_arriving;
use crate::ingest::{self, Applied, Verdict};
use crate::keys::roster::Standing;
use crate::ports::disk::{DiskFile, Open};
use crate::ports::store::Store as _;
use crate::ports::stream::FileReader;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{Lane, NodeId, Origin};
use bundle_format::manifest::ForkNotice;
use bundle_format::open::{OpenError, SealedBundle, VerifiedBundle};
use bundle_format::range::VerifiedRange;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken in, whole; maybe everything was known already.
    Taken,
    /// Taken as far as it went; the rest waits in `held/` for what is missing.
    Held,
    /// Cut short: it may still be arriving. Left where it is.
    Incomplete,
    /// Refused, with the row that says why.
    Refused(Code),
    /// Sealed for somebody else. Left where it is.
    NotForUs,
    /// Never was a bundle. Left where it is.
    Foreign(Code),
}

impl Outcome {
    /// The row it is told by; none for what was taken.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Taken => None,
            Self::Held => Some(Code::Z227),
            Self::Incomplete => Some(Code::Z212),
            Self::NotForUs => Some(Code::Z611),
            Self::Refused(code) | Self::Foreign(code) => Some(*code),
        }
    }
}

/// A stretch of an origin that must come before what we were given can count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Whose.
    pub origin: Origin,
    /// First missing.
    pub from: u64,
    /// Last missing.
    pub to: u64,
}

/// An origin that used a position twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forked {
    /// Whose.
    pub origin: Origin,
    /// Where the branches part.
    pub seq: u64,
}

/// One file's story.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// As it was named or found.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
    /// In plain words, when there is more to say than the outcome.
    pub detail: Option<String>,
    /// Who sealed it, once its signature was verified and the roster knows the key.
    pub sender: Option<NodeId>,
    /// Its length in bytes.
    pub bytes: u64,
    /// What was counted.
    pub counts: Counts,
    /// What it begins after.
    pub missing: Vec<Missing>,
    /// Forks it showed.
    pub forks: Vec<Forked>,
}

/// Events counted; events of the control lane apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Appended now. A payload in parts counts once, with its last part.
    pub new: u64,
    /// Held already, byte for byte.
    pub duplicate: u64,
    /// Control events appended now.
    pub control: u64,
    /// Left out because a branch of a fork is full or one too many, or an id is taken (R6.4-h).
    pub left_out: u64,
    /// Events that were held by number and had rotted, and are here again.
    pub mended: u64,
}

impl Counts {
    /// Add `other`.
    pub fn add(&mut self, other: &Self) {
        self.new += other.new;
        self.duplicate += other.duplicate;
        self.control += other.control;
        self.left_out += other.left_out;
        self.mended += other.mended;
    }
}

/// What came of ranges, whatever carried them here.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// What was counted.
    pub counts: Counts,
    /// What they begin after.
    pub missing: Vec<Missing>,
    /// Forks they showed.
    pub forks: Vec<Forked>,
    /// One of them was news of our own: we had lost a part of our past and go on in a new life.
    pub new_life: bool,
}

/// What one `ingest` did.
#[derive(Clone, Debug, Default)]
pub struct Ingested {
    /// Every file, in the order it was met; held files taken again stand at the end.
    pub files: Vec<FileReport>,
    /// All counts together.
    pub counts: Counts,
    /// The node found that it had lost a part of its past and goes on in a new life.
    pub new_life: bool,
    /// Peers that told a receipt from a life we had not seen.
    pub renewed_peers: Vec<NodeId>,
    /// What is still missing at the end.
    pub missing: Vec<Missing>,
    /// Events written again in the new life, because others lacked them.
    pub reappended: u64,
    /// Folders that lie too deep in a named one to be looked into.
    pub deeper: usize,
    /// Who sent bundles that had been taken before.
    known_senders: BTreeSet<NodeId>,
}

/// Who wants a file taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Somebody who named it, and who may have brought it again because he waits for an answer (R6.5-g).
    Asked,
    /// Nobody: it lies in a watched folder. Of one that may still be changing nothing is kept.
    Watched {
        /// It may still be changing.
        is_doubtful: bool,
    },
}

impl Node {
    /// Take in every file, and what `folder`s hold. Each finished report goes to `tell` as it happens.
    ///
    /// # Errors
    /// What stops the whole command: our own log or disk, not a faulty bundle.
    pub fn ingest(&mut self, paths: &[PathBuf], tell: &mut dyn FnMut(&FileReport)) -> Result<Ingested, NodeError> {
        self.require_joined()?;
        let mut ingested = Ingested::default();
        let mut early = Vec::new();
        for path in paths {
            for candidate in inspect::bundles(&self.ports, path)? {
                let report = match candidate {
                    Candidate::File(path) => self.take_file(&path, Manner::Asked, &mut ingested)?,
                    Candidate::NotAFile(path) => FileReport::of(path, Outcome::Foreign(Code::Z229), None),
                    Candidate::TooMuch(path) => FileReport::of(path, Outcome::Refused(Code::Z241), None),
                    Candidate::Unreadable(path, why) => FileReport::of(path, Outcome::Refused(Code::Z201), Some(why)),
                    Candidate::Deeper(count) => {
                        ingested.deeper += count;
                        continue;
                    }
                };
                if report.outcome == Outcome::Held {
                    early.push(report);
                } else {
                    tell(&report);
                    ingested.note(report);
                }
            }
        }
        self.take_early(early, Manner::Asked, &mut ingested, tell)?;
        self.retry_held(&mut ingested, tell)?;
        settle::settle(self, &mut ingested)?;
        self.owe_answers(&ingested.known_senders)?;
        self.save_ledger()?;
        ingested.missing = nearest(ingested.missing);
        Ok(ingested)
    }

    /// An answer is due to these from now on: whoever sends what we had waits for one, for all we know, as the last may have been lost (R6.5-g).
    pub(super) fn owe_answers(&self, peers: &BTreeSet<NodeId>) -> Result<(), NodeError> {
        for node in peers {
            let mut peer = self.peer(node)?;
            if !peer.answer_due {
                peer.answer_due = true;
                self.peers.save(&*self.ports.disk, node, &peer)?;
            }
        }
        Ok(())
    }

    /// Files that began after a gap when they were met: another one beside them may have filled it. What still does is kept in `held/`.
    pub(super) fn take_early(
        &mut self,
        mut early: Vec<FileReport>,
        manner: Manner,
        ingested: &mut Ingested,
        tell: &mut dyn FnMut(&FileReport),
    ) -> Result<(), NodeError> {
        loop {
            early.sort_by_key(|report| report.missing.first().map(|gap| (gap.origin, gap.to)));
            let (mut waiting, mut moved) = (Vec::new(), false);
            for before in early {
                let report = self.take_file(&before.path, manner, ingested)?.after(&before);
                moved |= report.counts != before.counts || report.outcome != Outcome::Held;
                if report.outcome == Outcome::Held {
                    waiting.push(report);
                } else {
                    tell(&report);
                    ingested.note(report);
                }
            }
            early = waiting;
            if !moved {
                break;
            }
        }
        let disk = self.ports.disk.clone();
        for mut report in early {
            let until = report.missing.first().map_or(0, |gap| gap.to);
            let kept = match disk.open(&report.path, Open::Read) {
                Ok(file) => {
                    let waits = Waits::now(&self.wal, &self.roster.pin().roster_origin(), &report.missing);
                    Held::at(&self.layout.held()).keep(&*disk, &*file, until, &waits)?
                }
                Err(_) => Kept::Unreadable,
            };
            match kept {
                Kept::TooLarge { len_max } => {
                    let why = format!("it is larger than all that may be held ({len_max} bytes); bring it again after what is missing");
                    report.detail = Some(why);
                }
                Kept::Unreadable => report.outcome = Outcome::Refused(Code::Z201),
                Kept::Already | Kept::Now { .. } => {}
            }
            self.note_kept(kept)?;
            tell(&report);
            ingested.note(report);
        }
        Ok(())
    }

    /// One file, whatever it is, opened once. Only our own log and disk can fail; a faulty bundle is an outcome.
    pub(crate) fn take_file(&mut self, path: &Path, manner: Manner, ingested: &mut Ingested) -> Result<FileReport, NodeError> {
        let disk = self.ports.disk.clone();
        let opened =
            disk.open(path, Open::Read).map(Rc::from).and_then(|file: Rc<dyn DiskFile>| Ok((FileReader::new(Box::new(file.clone()))?, file)));
        let (reader, file) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(FileReport::of(path.to_owned(), Outcome::Refused(Code::Z201), Some(error.to_string()))),
        };
        let mut report = FileReport::of(path.to_owned(), Outcome::Taken, None);
        report.bytes = reader.file_len();
        let taken = match SealedBundle::read(reader) {
            Ok(sealed) => self.take_sealed(sealed, manner, &mut report, ingested),
            Err(error) => Err(error.into()),
        };
        match taken {
            // Also a file that changed, or a stick that was pulled, between the two passes: what was verified before stays.
            Err(NodeError::Open(error)) => {
                self.wal.sync()?;
                self.note_learned()?;
                self.refuse(&*file, &error, manner, &mut report)?;
            }
            taken => taken?,
        }
        if !report.missing.is_empty() {
            report.outcome = Outcome::Held;
        }
        Ok(report)
    }

    /// A whole, signed file: one that was taken before is counted and passed by (R10.11-b), any other is opened.
    fn take_sealed(
        &mut self,
        sealed: SealedBundle<FileReader>,
        manner: Manner,
        report: &mut FileReport,
        ingested: &mut Ingested,
    ) -> Result<(), NodeError> {
        let digest = sealed.digest();
        if let Some(known) = self.ledger()?.taken(&digest) {
            report.sender = Some(known.sender);
            report.counts.duplicate = known.events;
            if manner == Manner::Asked && known.has_ranges {
                ingested.known_senders.insert(known.sender);
            }
            return Ok(());
        }
        let bundle = self.open_bundle(sealed)?;
        let has_ranges = self.take_bundle(bundle, report, ingested)?;
        if let Some(sender) = report.sender.filter(|_| report.is_plain() && !ingested.new_life) {
            let events = report.counts.new + report.counts.duplicate;
            self.ledger()?.note_taken(&digest, TakenBundle { sender, events, has_ranges });
        }
        Ok(())
    }

    fn open_bundle(&self, sealed: SealedBundle<FileReader>) -> Result<VerifiedBundle<FileReader>, OpenError> {
        sealed.check_domain(&self.roster.domain())?;
        let keys = self.keyring.sealing_keys();
        let unsealed = sealed.unseal(&keys.iter().collect::<Vec<_>>())?;
        let mut trust = self.roster.clone(); // the bundle's own roster events teach the copy
        unsealed.verify(&mut trust)
    }

    /// A bundle that is not taken: say why, keep a copy where that may help (R6.1-g).
    fn refuse(&mut self, file: &dyn DiskFile, error: &OpenError, manner: Manner, report: &mut FileReport) -> Result<(), NodeError> {
        let code = error.code();
        report.detail = Some(error.to_string());
        report.outcome = match code {
            Code::Z212 => Outcome::Incomplete,
            Code::Z611 => Outcome::NotForUs,
            Code::Z211 => Outcome::Foreign(code),
            _ => Outcome::Refused(code),
        };
        let disk = self.ports.disk.clone();
        let path = report.path.clone();
        let kept = match code {
            _ if path.starts_with(self.layout.root()) => Kept::Already,
            Code::Z612 | Code::Z615 => {
                let waits = Waits::now(&self.wal, &self.roster.pin().roster_origin(), &[]);
                Held::unknown_at(&self.layout.held_unknown()).keep(&*disk, file, 0, &waits)?
            }
            Code::Z613 | Code::Z201 => Kept::Already,
            _ if manner == (Manner::Watched { is_doubtful: true }) && may_be_arriving(code) => Kept::Already,
            _ if matches!(report.outcome, Outcome::Refused(_)) => {
                Held::quarantine_at(&self.layout.quarantine()).keep_with_reason(&*disk, file, &path, code, &error.to_string())?
            }
            _ => Kept::Already,
        };
        self.note_kept(kept)
    }

    /// What is put out must be taken again when it is met again, so nothing may say that it has been looked at (R6.3-g).
    fn note_kept(&mut self, kept: Kept) -> Result<(), NodeError> {
        if kept == (Kept::Now { put_out: true }) {
            self.ledger()?.forget_looks();
        }
        Ok(())
    }

    /// Let a verified bundle count: its events durable first, then its receipt (R6.2-d).
    /// Whether it had ranges.
    fn take_bundle(&mut self, mut bundle: VerifiedBundle<FileReader>, report: &mut FileReport, ingested: &mut Ingested) -> Result<bool, NodeError> {
        let (sender, sender_key, salt) = (bundle.sender(), bundle.sealed().header().sender_key, bundle.sealed().salt());
        report.sender = Some(sender);
        let (mut sent, mut has_ranges, mut tally) = (Vec::new(), false, Tally::default());
        let taken = (|| {
            while let Some(range) = bundle.next_range()? {
                has_ranges = true;
                let applied = self.take_range(&range, &mut tally)?;
                if applied.left_out == 0 || self.holds_any_of(&range.origin()) {
                    sent.push(range.origin());
                }
            }
            Ok::<_, NodeError>(())
        })();
        let Tally { counts, missing, forks, new_life } = tally; // also when it ended early: what was taken is taken
        report.counts.add(&counts);
        report.missing.extend(missing);
        report.forks.extend(forks);
        ingested.new_life |= new_life;
        taken?;
        self.wal.sync()?;
        self.note_learned()?;
        let manifest = bundle.finish()?;
        let current = self.roster.sender(&sender, &sender_key) == Some(Standing::Current);
        if !current {
            report.detail = Some(format!("{}: {}", Code::Z614, Code::Z614.row().title));
        }
        let receipt = manifest.receipt.filter(|_| current);
        let receipt = receipt.map(|(incarnation, number)| Receipt { incarnation, number, salt, vector: manifest.vector.clone() });
        let via = self.whereabouts(&report.path);
        self.remember_peer(sender, receipt, sent, &via, ingested)?;
        if current && self.notice_proves_loss(&manifest.forks)? {
            ingested.new_life |= self.believe_loss(sender)?;
        }
        let news = manifest.forks.iter().filter(|notice| held_of(&self.wal, &notice.origin, notice.seq).is_none());
        report.note_forks(news);
        Ok(has_ranges)
    }

    /// Let one verified range count, and what follows from it. Durable only after the caller's sync.
    pub(crate) fn take_range(&mut self, range: &VerifiedRange, tally: &mut Tally) -> Result<Applied, NodeError> {
        let origin = range.origin();
        if origin.node == self.keyring.node() {
            self.meet_own_history(range, tally)?;
        }
        self.note_unlearned(range)?;
        let heeded = if origin.lane == Lane::Control { self.heeded(&origin)? } else { Vec::new() };
        let within = ingest::Within { apart: self.would_be_signed_over(range), stream_count_max: self.stream_count_max(&origin) };
        let applied = ingest::apply_within(&mut self.wal, range, within)?;
        count(range, &applied, &mut tally.counts);
        if let Verdict::Gap { from, to } = applied.verdict {
            tally.missing.push(Missing { origin, from, to });
        }
        if let Some(seq) = applied.forked {
            tally.forks.push(Forked { origin, seq });
            self.reopen_life(&origin);
        }
        if applied.new + applied.refilled + applied.mended > 0 && origin == self.roster.pin().roster_origin() {
            self.wal.sync()?;
            self.refresh_roster()?;
        }
        if applied.new > 0 && origin.node != self.keyring.node() && origin.lane != Lane::Control {
            self.state.alive_due = true;
        }
        if applied.new + applied.refilled > 0 && origin.lane == Lane::Control {
            self.learn_closings(&origin, &heeded)?;
        }
        Ok(applied)
    }

    /// Streams of whoever writes `origin` that are held at most (R6.2-j): of ourselves all, for what others have of them is to come back.
    fn stream_count_max(&self, origin: &Origin) -> usize {
        let is_bound = origin.node != self.keyring.node() && !self.roster.is_roster(origin);
        if is_bound { self.roster.history_count_max(&origin.node) } else { usize::MAX }
    }

    /// Whether anything of `origin` is held: of what is left out whole nobody need be told how far it is (R6.5-c).
    pub(crate) fn holds_any_of(&self, origin: &Origin) -> bool {
        !self.log().branches(origin).is_empty()
    }

    /// Something of our own comes back to us. If it is news, we have lost state: a new life before the next append (R6.6-a). The roster lane
    /// is continued in place (R6.6-b, R6.2-f).
    fn meet_own_history(&mut self, range: &VerifiedRange, tally: &mut Tally) -> Result<(), NodeError> {
        let verdict = ingest::apply::judge(&self.wal, &range.origin(), &range.run())?;
        if verdict == Verdict::Duplicate {
            return Ok(());
        }
        if self.roster.is_roster(&range.origin()) {
            Ok(())
        } else if range.origin().incarnation == self.keyring.incarnation() {
            tally.new_life = true;
            self.begin_new_life()
        } else {
            Ok(())
        }
    }

    /// A life was settled by what was known then, and somebody not heard yet held another branch of it: what only we hold of it must be written again
    /// after all (R6.6-d).
    fn reopen_life(&mut self, origin: &Origin) {
        let life = origin.incarnation;
        if self.is_settled_life(origin) && !self.state.open_lives.contains(&life) {
            self.state.open_lives.push(life);
        }
    }

    /// What a file tells of its sender, and of nobody else (R6.7-d); a receipt that is ignored does not spoil the file (R6.5-f).
    fn remember_peer(
        &mut self,
        node: NodeId,
        receipt: Option<Receipt>,
        sent: Vec<Origin>,
        via: &str,
        ingested: &mut Ingested,
    ) -> Result<(), NodeError> {
        let disk = self.ports.disk.clone();
        let mut peer = self.peers.load(&*disk, &node)?;
        peer.answer_due |= !sent.is_empty();
        peer.sent.extend(sent);
        peer.hear(super::radar::Path::File, via, self.ports.clock.now_ms());
        peer.retire(self.state.closed.lives_of(node));
        if receipt.is_some_and(|receipt| peer.renew(receipt) == Renewal::NewLife) {
            ingested.renewed_peers.push(node);
        }
        self.peers.save(&*disk, &node, &peer)?;
        if self.receipt_proves_loss(&peer)? {
            ingested.new_life |= self.believe_loss(node)?;
        }
        Ok(())
    }
}

/// Count a range's events: by payload, a run of parts with its last; the control lane apart.
fn count(range: &VerifiedRange, applied: &Applied, counts: &mut Counts) {
    let run = range.run();
    let known = usize::try_from(applied.duplicate).unwrap_or(usize::MAX);
    let new = usize::try_from(applied.new).unwrap_or(usize::MAX);
    let whole = |event: &&&[u8]| Event::from_bytes(event).is_ok_and(|event| event.ends_payload());
    let payloads = |skip: usize, take: usize| run.events().iter().skip(skip).take(take).filter(whole).count() as u64;
    counts.left_out += applied.left_out;
    counts.mended += applied.mended;
    if range.origin().lane == Lane::Control {
        counts.control += applied.new;
    } else {
        counts.duplicate += payloads(0, known);
        counts.new += payloads(known, new);
    }
}

/// Of each origin only the nearest gap: what lies behind it may be waiting here already.
pub(super) fn nearest(mut missing: Vec<Missing>) -> Vec<Missing> {
    missing.sort_unstable_by_key(|gap| (gap.origin, gap.to));
    missing.dedup_by_key(|gap| gap.origin);
    missing
}

impl FileReport {
    /// Forks the sender holds and told us of, that we have not met ourselves: those were told when they came, and `status` shows them until they are closed
    /// (R6.4-a).
    fn note_forks<'a>(&mut self, notices: impl Iterator<Item = &'a ForkNotice>) {
        for notice in notices {
            let forked = Forked { origin: notice.origin, seq: notice.seq };
            if !self.forks.contains(&forked) {
                self.forks.push(forked);
            }
        }
    }

    /// Taken whole, and nothing to tell but counts.
    fn is_plain(&self) -> bool {
        self.outcome == Outcome::Taken && self.detail.is_none() && self.forks.is_empty() && self.missing.is_empty() && self.counts.left_out == 0
    }

    /// It brought or showed something that was not here.
    pub(super) fn is_news(&self) -> bool {
        !self.is_plain() || self.counts.new + self.counts.control + self.counts.mended > 0
    }

    /// The same file after an earlier try that appended a part of it.
    fn after(mut self, before: &Self) -> Self {
        let Counts { new, control, left_out, mended, .. } = self.counts;
        let was = &before.counts;
        let (new, control, left_out, mended) = (was.new + new, was.control + control, was.left_out + left_out, was.mended + mended);
        self.counts = Counts { new, control, left_out, mended, duplicate: was.duplicate };
        // a branch that the earlier try took in is no news to this one
        let known = std::mem::replace(&mut self.forks, before.forks.clone());
        self.forks.extend(known.into_iter().filter(|fork| !before.forks.contains(fork)));
        self
    }

    pub(super) fn of(path: PathBuf, outcome: Outcome, detail: Option<String>) -> Self {
        Self { path, outcome, detail, sender: None, bytes: 0, counts: Counts::default(), missing: Vec::new(), forks: Vec::new() }
    }
}

impl Ingested {
    pub(super) fn note(&mut self, report: FileReport) {
        self.counts.add(&report.counts);
        self.missing.extend(&report.missing);
        self.files.push(report);
    }

    /// Something was appended.
    pub fn has_grown(&self) -> bool {
        self.counts.new > 0 || self.counts.control > 0
    }

    /// Files by outcome.
    pub fn count_of(&self, of: impl Fn(&Outcome) -> bool) -> u64 {
        self.files.iter().filter(|file| of(&file.outcome)).count() as u64
    }
}
