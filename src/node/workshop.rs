//! What all sessions of a process share: compressing and decompressing, one of each, and turns to dial.

use super::coding::Coded;
use super::error::NodeError;
use super::mixing::Speed;
use super::syncing::Ways;
use crate::cut::CutError;
use crate::cut::choice::Known;
use crate::ports::store::Stream;
use bundle_format::compress::{Compressor, Decompressor};
use bundle_format::ids::Origin;
use bundle_format::limits::PREFIX_LEN_MAX;
use bundle_format::mix::Learned;
use bundle_format::range::{Range, RangeError};
use std::rc::Rc;
use tokio::sync::Semaphore;

/// What was learned by a range, for the next.
#[derive(Debug)]
struct Kept {
    learned: Learned,
    /// Of which history, where we coded it from our log.
    of: Option<(Origin, Known)>,
}

/// What all sessions of a process share: compressing and decompressing, for contexts are large and sessions many, and the ways to those they dial.
#[derive(Debug)]
pub struct Workshop {
    pub(super) compressor: Compressor,
    pub(super) decompressor: Decompressor,
    /// What this processor does in codec 3.
    pub(super) speed: Speed,
    /// Who has it may hold a model: there is never more than one, whoever sends or takes ranges meanwhile.
    pub(super) model: Rc<Semaphore>,
    /// What the last range in codec 3 left: who goes on right behind it has a third of the work. One for all, as there is one model; it is never asked
    /// whose bytes they are, but whether they are the same.
    kept: Option<Kept>,
    /// Everybody on a link of this process has one in hand: so many share the processor.
    pub(super) present: Rc<()>,
    /// Who of this process dials where.
    pub(super) ways: Ways,
}

impl Workshop {
    /// A new one; takes memory at its first use.
    ///
    /// # Errors
    /// [`NodeError`] when there is none.
    pub fn new() -> Result<Self, NodeError> {
        let none = |error| NodeError::from(CutError::from(RangeError::from(error)));
        Ok(Self {
            compressor: Compressor::new().map_err(none)?,
            decompressor: Decompressor::new().map_err(none)?,
            speed: Speed::default(),
            model: Rc::new(Semaphore::new(1)),
            kept: None,
            present: Rc::default(),
            ways: Ways::default(),
        })
    }

    /// On a processor that does so many bytes a second in codec 3, prefix and events together; nothing is sampled.
    #[must_use]
    pub fn at_speed(self, rate: u64) -> Self {
        Self { speed: Speed::known(rate), ..self }
    }

    /// What is known of `stream` from the last range that we coded.
    pub(super) fn known(&self, stream: &Stream) -> Option<Known> {
        let (origin, known) = self.kept.as_ref()?.of?;
        (stream.branch.is_none() && stream.origin == origin).then_some(known)
    }

    /// What was learned last, to go on with.
    pub(super) fn take_learned(&mut self) -> Option<Learned> {
        self.kept.take().map(|kept| kept.learned)
    }

    /// What was learned from a range of a peer.
    pub(super) fn keep_taken(&mut self, learned: Learned) {
        self.keep(Kept { learned, of: None });
    }

    /// A range that we coded.
    pub(super) fn take_coded(&mut self, coded: Coded) -> Range {
        let Coded { range, learned, work, busy_ms } = coded;
        self.speed.learn(work, busy_ms);
        let first = range.prefix.map_or(range.first, |(first, _)| first);
        let known = Known { first, last: range.last(), len: learned.bytes().len() };
        self.keep(Kept { learned, of: Some((range.origin, known)) });
        range
    }

    fn keep(&mut self, kept: Kept) {
        self.kept = Some(kept).filter(|kept| kept.learned.bytes().len() <= PREFIX_LEN_MAX);
    }

    /// Nobody goes on with what was learned: its memory is free again.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }
}
