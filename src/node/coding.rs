//! A range in codec 3 is coded between the turns of the node, piece by piece: nobody on another link waits for more than a piece of it. SPEC §7.3.

use super::decoding::PIECE_LEN;
use super::error::NodeError;
use super::hop::Hop;
use crate::cut::CutError;
use crate::cut::live::{Draft, Prefix};
use crate::ports::clock::Clock;
use bundle_format::compress::CompressError;
use bundle_format::mix::{Encoding, Learned, SLOTS_LOG_MAX};
use bundle_format::range::{Range, RangeError};

/// A range to be coded, and what is to be known before.
#[derive(Debug)]
pub(super) struct Job {
    /// The range, stored.
    range: Range,
    /// Its prefix, as the range will name it, and the bytes.
    named: Option<(u64, u64)>,
    prefix: Vec<u8>,
    /// What a range before it left, of use or not.
    learned: Option<Learned>,
}

/// A range that was coded.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) range: Range,
    /// From its prefix and its events.
    pub(super) learned: Learned,
    /// Bytes of work that it was, and how long they took.
    pub(super) work: u64,
    pub(super) busy_ms: u64,
}

impl Job {
    /// `learned` is what the drawing of the draft counted on, where its prefix brings no bytes.
    pub(super) fn new(draft: Draft, learned: Option<Learned>) -> Self {
        let (named, prefix) = match draft.prefix {
            Prefix::Nothing => (None, Vec::new()),
            Prefix::Known(first, count) => (Some((first, count)), learned.as_ref().map(|learned| learned.bytes().to_vec()).unwrap_or_default()),
            Prefix::Fresh(first, count, bytes) => (Some((first, count)), bytes),
        };
        Self { range: draft.range, named, prefix, learned }
    }

    /// All of it, in this turn: for who serves nobody else.
    ///
    /// # Errors
    /// When its lengths are beyond their bounds, which no cut is.
    pub(super) fn run_at_once(self, clock: &dyn Clock) -> Result<Coded, NodeError> {
        let Self { range, named, prefix, learned } = self;
        let mut encoding = Encoding::new(learned, &prefix, &range.data, SLOTS_LOG_MAX).map_err(beyond)?;
        let (work, began_ms) = (encoding.left() as u64, clock.monotonic_ms());
        while !encoding.go_on(usize::MAX) {}
        let busy_ms = clock.monotonic_ms().saturating_sub(began_ms);
        let (data, learned) = encoding.finish();
        Ok(Coded { range: range.mixed(data, named), learned, work, busy_ms })
    }
}

impl Hop {
    /// `job`, piece by piece.
    ///
    /// # Errors
    /// When its lengths are beyond their bounds, which no cut is.
    pub(super) async fn code(&self, job: Box<Job>) -> Result<Coded, NodeError> {
        let Job { range, named, prefix, learned } = *job;
        let mut encoding = Encoding::new(learned, &prefix, &range.data, SLOTS_LOG_MAX).map_err(beyond)?;
        let (work, mut busy_ms) = (encoding.left() as u64, 0);
        loop {
            let began_ms = self.now_ms();
            let done = encoding.go_on(PIECE_LEN);
            busy_ms += self.now_ms().saturating_sub(began_ms);
            if done {
                break;
            }
            tokio::task::yield_now().await;
        }
        let (data, learned) = encoding.finish();
        Ok(Coded { range: range.mixed(data, named), learned, work, busy_ms })
    }
}

fn beyond(error: CompressError) -> NodeError {
    CutError::from(RangeError::from(error)).into()
}
