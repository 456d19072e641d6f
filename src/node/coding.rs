//! A range in codec 3 is coded between the turns of the node, piece by piece: nobody on another link waits for more than a piece of it. SPEC §7.3.

use super::error::NodeError;
use super::turns::{PIECE_LEN, between_turns};
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

    /// The same piece by piece, others having their turn in between.
    ///
    /// # Errors
    /// As above.
    pub(super) async fn run_between_turns(self, now_ms: impl Fn() -> u64) -> Result<Coded, NodeError> {
        let Self { range, named, prefix, learned } = self;
        let mut encoding = Encoding::new(learned, &prefix, &range.data, SLOTS_LOG_MAX).map_err(beyond)?;
        let work = encoding.left() as u64;
        let busy_ms = between_turns(now_ms, || encoding.go_on(PIECE_LEN)).await;
        let (data, learned) = encoding.finish();
        Ok(Coded { range: range.mixed(data, named), learned, work, busy_ms })
    }
}

fn beyond(error: CompressError) -> NodeError {
    CutError::from(RangeError::from(error)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::turns::tests::turns_during;
    use crate::ports::clock::FakeClock;
    use bundle_format::compress::Codec;
    use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};

    /// Events of a patient, 20 pieces of them, behind 10 pieces that are to be learned.
    fn job() -> Job {
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Routine, audience: None };
        let text: Vec<u8> =
            (0_u32..).flat_map(|n| format!(r#"{{"visit":{n},"bp":"{}/80"}}"#, 100 + n % 40).into_bytes()).take(30 * PIECE_LEN).collect();
        let (prefix, data) = (text[..10 * PIECE_LEN].to_vec(), text[10 * PIECE_LEN..].to_vec());
        let range = Range {
            origin,
            first: 11,
            count: 20,
            codec: Codec::Stored,
            raw_len: data.len(),
            data,
            checkpoints: Vec::new(),
            base: None,
            prefix: None,
        };
        Job::new(Draft { range, prefix: Prefix::Fresh(1, 10, prefix) }, None)
    }

    #[tokio::test]
    async fn while_a_range_is_coded_others_have_a_turn_after_each_piece_and_its_bytes_are_the_same() {
        let (coded, turns) = turns_during(job().run_between_turns(|| 0)).await;
        let (coded, at_once) = (coded.unwrap(), job().run_at_once(&FakeClock::default()).unwrap());
        assert_eq!(turns, 29, "the prefix is work too");
        assert_eq!((coded.work, coded.range.codec), (30 * PIECE_LEN as u64, Codec::Mixed));
        assert!(coded.range.data == at_once.range.data, "whoever was interrupted codes the same");
    }
}
