//! A range in codec 3 is decoded between the turns of the node, piece by piece: nobody on another link waits for more than a piece of it. SPEC §7.3.

use super::Node;
use super::error::NodeError;
use super::hop::Hop;
use super::session::{Session, Taken};
use crate::link::Refusal;
use bundle_format::compress::{Codec, CompressError};
use bundle_format::message::Reason;
use bundle_format::mix::Decoding;
use bundle_format::range::{Range, RangeError};
use std::rc::Rc;

/// Bytes of work after which others have their turn: some milliseconds.
const PIECE_LEN: usize = 2048;

impl Hop {
    /// `range` as it can be taken, or what is to be said of it at once. Only one range is decoded at a time, in the order they came: a model takes memory.
    pub(super) async fn decode(&mut self, range: Range) -> Result<Result<Range, Taken>, Refusal> {
        if range.codec != Codec::Mixed {
            return Ok(Ok(range));
        }
        let gate = Rc::clone(&self.workshop().borrow().model);
        let Ok(_alone) = gate.acquire().await else { return Ok(Ok(range)) }; // nobody closes it
        let prefix = match self.on(|session, node, _| session.may_decode(node, &range)).await? {
            Ok(prefix) => prefix,
            Err(taken) => return Ok(Err(taken)),
        };
        let mut busy_ms = 0;
        let decoded = self.decode_between_turns(&range, &prefix, &mut busy_ms).await;
        let work = (prefix.len() + range.raw_len) as u64;
        self.on(|session, node, workshop| {
            workshop.speed.learn(work, busy_ms);
            session.know_speed(workshop.speed);
            match decoded {
                Ok(data) => Ok(Ok(Range { codec: Codec::Stored, data, ..range })),
                Err(error) => session.unreadable(node, &range, &RangeError::from(error)).map(Err),
            }
        })
        .await
    }

    /// The events of `range`; `busy_ms`: how long this took by itself, without what others did meanwhile.
    async fn decode_between_turns(&self, range: &Range, prefix: &[u8], busy_ms: &mut u64) -> Result<Vec<u8>, CompressError> {
        let mut decoding = Decoding::new(prefix, &range.data, range.raw_len)?;
        loop {
            let began_ms = self.now_ms();
            let done = decoding.go_on(PIECE_LEN);
            *busy_ms += self.now_ms().saturating_sub(began_ms);
            if done {
                return decoding.finish();
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Session {
    /// Before a range in codec 3 is decoded: the events to learn from, if it is to be decoded at all. What it costs is taken off what the peer was granted.
    ///
    /// # Errors
    /// What our own log says.
    pub(super) fn may_decode(&mut self, node: &Node, range: &Range) -> Result<Result<Vec<u8>, Taken>, NodeError> {
        let prefix = match self.means(node, range)? {
            Ok(means) => means.prefix.unwrap_or_default(),
            Err(taken) => return Ok(Err(taken)),
        };
        let granted = self.mixing.takes.take((prefix.len() + range.raw_len) as u64, node.ports.clock.monotonic_ms());
        if granted { Ok(Ok(prefix)) } else { self.again(node, &range.origin, Reason::Differs).map(Err) }
    }

    /// What becomes of a range that cannot be what its origin signed, or that we hold otherwise: told in full it may count still.
    pub(super) fn unreadable(&self, node: &Node, range: &Range, error: &RangeError) -> Result<Taken, NodeError> {
        let whole = range.base.is_some() && range.prefix.is_none();
        if whole { Ok(Taken::Refused(error.code())) } else { self.again(node, &range.origin, Reason::Differs) }
    }
}
