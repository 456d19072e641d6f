//! A range in codec 3 is decoded between the turns of the node, piece by piece: nobody on another link waits for more than a piece of it. SPEC §7.3.

use super::error::NodeError;
use super::hop::Hop;
use super::session::{Session, Taken};
use super::turns::{PIECE_LEN, between_turns};
use super::workshop::Workshop;
use super::{Node, history, known};
use crate::link::Refusal;
use crate::ports::store::{Log as _, Stream};
use bundle_format::chain::Position;
use bundle_format::compress::{Codec, CompressError};
use bundle_format::error::Code;
use bundle_format::ids::Hash;
use bundle_format::message::Reason;
use bundle_format::mix::{Decoding, Learned};
use bundle_format::range::{Range, RangeError};
use std::rc::Rc;

impl Hop {
    /// `range` as it can be taken, or what is to be said of it at once. Only one range is decoded at a time, in the order they came: a model takes memory.
    pub(super) async fn decode(&mut self, range: Range) -> Result<Result<Range, Taken>, Refusal> {
        if range.codec != Codec::Mixed {
            return Ok(Ok(range));
        }
        let gate = Rc::clone(&self.workshop().borrow().model);
        let Ok(_alone) = gate.acquire().await else { return Ok(Ok(range)) }; // nobody closes it
        let may = |session: &mut Session, node: &mut Node, workshop: &mut Workshop| {
            Ok(session.may_decode(node, &range)?.map(|prefix| (prefix, workshop.take_learned())))
        };
        let (prefix, learned) = match self.on(may).await? {
            Ok(means) => means,
            Err(taken) => return Ok(Err(taken)),
        };
        let mut spent = (0, 0);
        let decoded = self.decode_between_turns(&range, &prefix, learned, &mut spent).await;
        self.on(|session, node, workshop| {
            workshop.speed.learn(spent.0, spent.1);
            session.know_speed(workshop.speed);
            match decoded {
                Ok((data, learned)) => {
                    workshop.keep_taken(learned);
                    Ok(Ok(Range { codec: Codec::Stored, data, ..range }))
                }
                Err(error) => session.unreadable(node, &range, &RangeError::from(error)).map(Err),
            }
        })
        .await
    }

    /// The events of `range`, and what was learned by them. `work` and `busy_ms`: how many bytes were worked on, and how long that took by itself, without
    /// what others did meanwhile.
    async fn decode_between_turns(
        &self,
        range: &Range,
        prefix: &[u8],
        learned: Option<Learned>,
        (work, busy_ms): &mut (u64, u64),
    ) -> Result<(Vec<u8>, Learned), CompressError> {
        let mut decoding = Decoding::new(learned, prefix, &range.data, range.raw_len)?;
        *work = decoding.left() as u64;
        *busy_ms = between_turns(|| self.now_ms(), || decoding.go_on(PIECE_LEN)).await;
        decoding.finish()
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

/// What a range is read by.
pub(super) struct Means {
    /// The chain hash before it.
    pub(super) base: Hash,
    /// The events that its codec refers to.
    pub(super) prefix: Option<Vec<u8>>,
}

impl Session {
    /// What a range can be taken by, or why it cannot: its base, and the events its codec refers to.
    pub(super) fn means(&self, node: &Node, range: &Range) -> Result<Result<Means, Taken>, NodeError> {
        let origin = range.origin;
        if node.roster.is_roster(&origin) && range.codec != Codec::Stored {
            return Ok(Err(Taken::Refused(Code::Z222))); // R4.4-e
        }
        let forked = || node.wal.branches(&origin).iter().any(|(stream, _)| stream.branch.is_some());
        let before = range.first - 1;
        let base = match range.base {
            Some(base) => base,
            None if forked() => return self.again(node, &origin, Reason::Differs).map(Err),
            None if before == 0 => Position::start(&origin).hash,
            None => match known::position(&node.wal, &Stream::main(origin), before)? {
                Some(position) => position.hash,
                None => return self.again(node, &origin, Reason::Gap).map(Err),
            },
        };
        let prefix = match range.prefix.filter(|_| range.codec != Codec::Stored) {
            None => None,
            Some((first, count)) => match history::prefix(&node.wal, &origin, first, count)? {
                None => return self.again(node, &origin, Reason::Differs).map(Err),
                some => some,
            },
        };
        Ok(Ok(Means { base, prefix }))
    }
}
