//! Read the whole log: every checksum, every seal, every chain, every checkpoint with its signature. Repairs nothing. SPEC §10.4.

use super::View;
use super::error::NodeError;
use crate::ports::store::{Checkpointed, Finding, Log as _, StoreError, Stream};
use crate::wal::fsck::{self, Flaw};
use std::collections::BTreeMap;

/// Positions whose checkpoints are in memory at a time.
const WINDOW_LEN: u64 = 64 * 1024;
/// Faults that are listed; the rest is only counted. A card that rots this much is replaced, not read line by line.
const FAULT_COUNT_MAX: usize = 1000;

/// What was read, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Checked {
    /// Histories, branches of forks counted apart.
    pub streams: u64,
    /// Events whose bytes and place in the chain are right.
    pub events: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Checkpoints whose signature is right.
    pub checkpoints: u64,
    /// What is wrong: where, and how. The first thousand.
    pub faults: Vec<Fault>,
    /// How much is wrong.
    pub fault_count: u64,
    /// Damaged bytes that need nobody any more, in plain words: nothing is missing for them, or what they cost was told and answered. The first thousand.
    pub mended: Vec<String>,
    /// What opening the log found.
    pub findings: Vec<Finding>,
}

/// Checkpoints of one history under one key that is not known.
struct Span {
    first: u64,
    last: u64,
    count: u64,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which event of which history, where that is known.
    pub event: Option<(Stream, u64)>,
    /// In plain words.
    pub what: String,
}

impl Checked {
    /// Nothing is missing or false. A torn tail is no fault: a power cut leaves it. Nor is a lost index, which is made again whenever it is needed.
    pub fn is_whole(&self) -> bool {
        self.fault_count == 0 && !self.findings.iter().any(|finding| matches!(finding, Finding::Hole { .. } | Finding::Short { .. }))
    }

    fn fault(&mut self, event: Option<(Stream, u64)>, what: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULT_COUNT_MAX {
            self.faults.push(Fault { event, what });
        }
    }

    fn mended(&mut self, fault: &fsck::Fault) {
        if self.mended.len() < FAULT_COUNT_MAX {
            self.mended.push(in_words(fault));
        }
    }
}

impl View {
    /// Bytes the log's files have.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn log_len(&self) -> Result<u64, NodeError> {
        let folder = self.layout.log();
        let entries = self.ports.disk.list(&folder).map_err(|error| NodeError::reading(&folder, error))?;
        Ok(entries.iter().map(|entry| entry.len).sum())
    }

    /// Check the whole log. `progress` is told bytes and events read.
    ///
    /// # Errors
    /// What stops the reading altogether: a disk that does not answer, a file beside the log of a form that is not known.
    pub fn fsck(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, NodeError> {
        let mut checked = Checked { findings: self.log.findings().to_vec(), ..Checked::default() };
        let findings = checked.findings.clone();
        let was_told = |fault: &fsck::Fault| findings.iter().any(|finding| is_told(finding, fault)); // what opening said is not said again
        let is_answered = self.state.holes_answered >= self.log.holes_aside();
        let verified = self.log.verify(
            &mut |fault| match fault.flaw {
                _ if was_told(&fault) => {}
                Flaw::Mended | Flaw::Index => checked.mended(&fault),
                Flaw::KnownHole if is_answered => checked.mended(&fault),
                _ => checked.fault(fault.stream, in_words(&fault)),
            },
            progress,
        )?;
        self.lost_in_holes(&mut checked)?;
        if self.keyring.pin().is_some() && self.roster.head().seq == 0 {
            checked.fault(
                None,
                "the roster of its domain is not in the log: the log, or a file of it, is gone; join again with the same file".to_owned(),
            );
        }
        self.peers.all(&*self.ports.disk)?; // which of these has rotted is noted
        self.places()?;
        checked.events = verified.event_count;
        checked.bytes = verified.byte_count;
        for (stream, head) in self.log.streams() {
            checked.streams += 1;
            let (mut from, mut unknown) = (head.base.seq + 1, BTreeMap::new());
            while from <= head.end.seq {
                let to = head.end.seq.min(from.saturating_add(WINDOW_LEN - 1));
                match self.log.checkpoints(&stream, from, to) {
                    Ok(window) => window.iter().for_each(|at| self.check_signature(&stream, at, &mut checked, &mut unknown)),
                    Err(StoreError::Damaged { .. } | StoreError::Tampered { .. }) => {} // told by the walk over the frames
                    Err(error) => return Err(error.into()),
                }
                from = to + 1;
            }
            for (number, span) in unknown {
                checked.fault(Some((stream, span.first)), self.tell_unknown(number, &span));
            }
        }
        Ok(checked)
    }

    /// Which events a hole cost, as far as what is around it tells.
    fn lost_in_holes(&self, checked: &mut Checked) -> Result<(), NodeError> {
        for finding in checked.findings.clone() {
            let Finding::Hole { cut_back, .. } = finding else { continue };
            for stream in cut_back {
                let lost = self.log.head(&stream).map_or(0, |head| head.end.seq) + 1;
                let Some((first, last)) = self.log.orphan_span(&stream, lost - 1)? else { continue };
                let until = if first > lost + 1 { format!(" to {}", first - 1) } else { String::new() };
                checked.fault(Some((stream, lost)), format!("lies{until} in the damage; {first} to {last} behind it are readable"));
            }
        }
        Ok(())
    }

    /// Hold a checkpoint against the key that it names; one whose key is `unknown` here is put to the others.
    fn check_signature(&self, stream: &Stream, at: &Checkpointed, checked: &mut Checked, unknown: &mut BTreeMap<u64, Span>) {
        let number = at.checkpoint.key_number;
        let verified = self.roster.signer(&stream.origin.node, number).map(|key| {
            let (domain, origin) = (self.roster.domain(), &stream.origin);
            at.checkpoint.verify(&key, &domain, origin, &at.position)
        });
        match verified {
            Some(Ok(())) => checked.checkpoints += 1,
            Some(Err(_)) => checked.fault(Some((*stream, at.position.seq)), "its checkpoint's signature is wrong".to_owned()),
            None => {
                let seq = at.position.seq;
                let span = unknown.entry(number).or_insert(Span { first: seq, last: seq, count: 0 });
                (span.last, span.count) = (span.last.max(seq), span.count + 1);
            }
        }
    }

    /// What it means that the roster has no key `number`, and what to do.
    fn tell_unknown(&self, number: u64, span: &Span) -> String {
        let from = if self.keyring.is_authority() { "any member" } else { "the authority" };
        let Span { last, count, .. } = span;
        format!("signed under key {number} up to {last} (checkpoints: {count}): our roster is older than that; take in a bundle from {from}")
    }
}

fn in_words(fault: &fsck::Fault) -> String {
    let what = match fault.flaw {
        Flaw::Damaged => "the bytes are damaged",
        Flaw::Tampered => "sealed with another key, or tampered with",
        Flaw::Mended => "the bytes are damaged; nothing is missing for it",
        Flaw::KnownHole => "damage that was found before and kept aside",
        Flaw::Missing => "events are missing here",
        Flaw::Chain => "the chain of events does not lead where the log says",
        Flaw::Checkpoint => "a checkpoint stands on another chain",
        Flaw::Index => "the header or index is damaged; nothing is missing for it",
    };
    format!("log/{:08}.seg at byte {}: {what}", fault.segment, fault.offset)
}

/// Whether `fault` is what opening found, and tells of no event that opening does not know of.
fn is_told(finding: &Finding, fault: &fsck::Fault) -> bool {
    match finding {
        Finding::Hole { segment, offset, .. } => fault.stream.is_none() && (fault.segment, fault.offset) == (*segment, *offset),
        Finding::Index { segment } => fault.flaw == Flaw::Index && fault.segment == *segment,
        Finding::TornTail { .. } | Finding::Short { .. } => false,
    }
}
