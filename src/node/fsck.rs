//! Read the whole log: every event of every history, its chain and its checkpoints. Repairs nothing. SPEC §10.4.

use super::View;
use super::error::NodeError;
use crate::ports::store::{Finding, Head, Log, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;
use std::collections::BTreeMap;

/// Positions whose checkpoints are in memory at a time.
const WINDOW_LEN: u64 = 64 * 1024;

/// What was read, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Checked {
    /// Histories, branches of forks counted apart.
    pub streams: u64,
    /// Events whose bytes, form and place in the chain are right.
    pub events: u64,
    /// Bytes of those events.
    pub bytes: u64,
    /// Checkpoints whose signature is right.
    pub checkpoints: u64,
    /// What is wrong: where, and how.
    pub faults: Vec<Fault>,
    /// What opening the log found.
    pub findings: Vec<Finding>,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In which history.
    pub stream: Stream,
    /// At which event.
    pub seq: u64,
    /// In plain words.
    pub what: String,
}

impl Checked {
    /// Nothing is wrong. A torn tail is no fault: a power cut leaves it.
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty() && self.findings.iter().all(|finding| matches!(finding, Finding::TornTail { .. }))
    }
}

impl View {
    /// Check the whole log. `progress` is told bytes and events read.
    ///
    /// # Errors
    /// What stops the reading altogether: another key, a disk that does not answer.
    pub fn fsck(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, NodeError> {
        let mut checked = Checked { findings: self.log.findings().to_vec(), ..Checked::default() };
        for (stream, head) in self.log.streams() {
            checked.streams += 1;
            match self.check_stream(&stream, &head, &mut checked, progress) {
                Ok(()) => {}
                Err(error @ StoreError::Damaged { .. }) => {
                    let seq = if let StoreError::Damaged { stream: Some((_, seq)), .. } = &error { *seq } else { 0 };
                    checked.faults.push(Fault { stream, seq, what: error.to_string() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(checked)
    }

    fn check_stream(&self, stream: &Stream, head: &Head, checked: &mut Checked, progress: &mut dyn FnMut(u64, u64)) -> Result<(), StoreError> {
        let mut position = head.base;
        let mut window = BTreeMap::new();
        let mut events = self.log.events(stream, position.seq + 1)?;
        while let Some((seq, bytes)) = events.next()? {
            if seq != position.seq + 1 {
                checked.faults.push(Fault { stream: *stream, seq, what: format!("event {} is missing before it", position.seq + 1) });
                return Ok(());
            }
            position = position.then(&digest(bytes));
            if Event::from_bytes(bytes).is_err() {
                checked.faults.push(Fault { stream: *stream, seq, what: "its bytes are not an event".into() });
            }
            if (seq - 1).is_multiple_of(WINDOW_LEN) || window.is_empty() && seq == head.base.seq + 1 {
                let all = self.log.checkpoints(stream, seq, seq.saturating_add(WINDOW_LEN - 1).min(head.end.seq))?;
                window = all.into_iter().map(|at| (at.position.seq, at)).collect();
            }
            if let Some(at) = window.remove(&seq) {
                match self.check_checkpoint(stream, &position, &at) {
                    Ok(()) => checked.checkpoints += 1,
                    Err(what) => checked.faults.push(Fault { stream: *stream, seq, what }),
                }
            }
            checked.events += 1;
            checked.bytes += bytes.len() as u64;
            progress(checked.bytes, checked.events);
        }
        if position != head.end {
            let what =
                format!("the chain of its events leads to {} at {}, the log says {} at {}", position.hash, position.seq, head.end.hash, head.end.seq);
            checked.faults.push(Fault { stream: *stream, seq: position.seq, what });
        }
        Ok(())
    }

    fn check_checkpoint(&self, stream: &Stream, position: &Position, at: &crate::ports::store::Checkpointed) -> Result<(), String> {
        if at.position != *position {
            return Err("its checkpoint stands on another chain hash".into());
        }
        let number = at.checkpoint.key_number;
        let key = self.roster.signer(&stream.origin.node, number).ok_or_else(|| format!("the roster has no key {number} for its checkpoint"))?;
        let verified = at.checkpoint.verify(&key, &self.roster.domain(), &stream.origin, position);
        verified.map_err(|_| "its checkpoint's signature is wrong".to_owned())
    }
}
