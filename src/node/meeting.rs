//! Who is at the other end, before anything is told: a member, a key that ended, a stranger who may introduce itself. SPEC §7.5.

use super::Node;
use super::error::NodeError;
use super::taking::Tally;
use super::workshop::Workshop;
use crate::cut::Lack;
use crate::cut::live::{self, Made, Shape};
use crate::cut::pieces::SMALLEST;
use crate::ingest::Verdict;
use crate::keys::roster::Standing;
use crate::ports::store::{Log as _, Store as _};
use bundle_format::compress::Codec;
use bundle_format::ids::NodeId;
use bundle_format::limits::INTRODUCTION_LEN_MAX;
use bundle_format::logs::LogTable;
use bundle_format::range::Range;
use bundle_format::sign::VerifyingKey;

/// Who answers at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// This member, with its present key.
    Member(NodeId),
    /// A key that is a member's no more.
    Ended(NodeId),
    /// A key the roster does not have.
    Unknown,
}

/// What an introduction was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Something, or nothing: whether we know the stranger now is to be looked up.
    Whatever,
    /// It is of our domain, and begins behind what we hold of the roster.
    TooFarBehind,
}

impl Node {
    /// Whose key this is. Before any roster event came, the pin knows one (R7.5-g).
    pub fn identify(&self, key: &VerifyingKey) -> Identity {
        match self.roster.holder(key) {
            Some((member, Standing::Current)) => Identity::Member(member.node),
            Some((member, _)) => Identity::Ended(member.node),
            None if self.roster.pin().authority_key == *key && self.roster.head().seq == 0 => Identity::Member(self.roster.pin().node()),
            None => Identity::Unknown,
        }
    }

    /// The newest of the roster, as many whole ranges as an introduction may hold, of every branch of it: the one that knows our key may be one that
    /// the authority has lost (R7.5-c).
    ///
    /// # Errors
    /// What the log says.
    pub fn introduction(&self, workshop: &mut Workshop) -> Result<Vec<Range>, NodeError> {
        let mut ranges = std::collections::VecDeque::new();
        let mut len = 0;
        for (stream, head) in self.wal.branches(&self.roster.pin().roster_origin()) {
            let (mut after, to) = (head.base.seq, head.checkpoint_seq);
            while after < to {
                let shape = Shape { raw_len: SMALLEST, stored: true, whole: true, fast: false, mixing: None };
                let made = live::first_range(&self.wal, &Lack { stream, after, to }, shape, &mut workshop.compressor)?;
                let Some(Made::Range(range)) = made else { break };
                after = range.last();
                len += range.wire_len(&LogTable::default()).unwrap_or(0);
                ranges.push_back(range);
                while len > INTRODUCTION_LEN_MAX as u64 {
                    len -= ranges.pop_front().and_then(|range| range.wire_len(&LogTable::default())).unwrap_or(len);
                }
            }
        }
        Ok(ranges.into())
    }

    /// Take in what a stranger introduces itself with: the roster alone, and only what the authority signed (R7.5-c).
    ///
    /// # Errors
    /// What the log says; a range that proves nothing is left out.
    pub fn learn(&mut self, workshop: &mut Workshop, ranges: Vec<Range>) -> Result<Learned, NodeError> {
        let (mut tally, mut unplaced) = (Tally::default(), Vec::new());
        for range in ranges {
            let base = range.base.filter(|_| self.roster.is_roster(&range.origin) && range.codec == Codec::Stored);
            let Some(base) = base else { break };
            let Ok(verified) = range.verify_with(base, &self.roster, None, &mut workshop.decompressor) else { break };
            if matches!(self.take_range(&verified, &mut tally)?.verdict, Verdict::Gap { .. } | Verdict::Unproved) {
                unplaced.push(verified);
            }
        }
        let mut learned = Learned::Whatever;
        // What rotted here is proved by what stands behind it.
        for verified in unplaced.iter().rev() {
            if matches!(self.take_range(verified, &mut tally)?.verdict, Verdict::Gap { .. }) {
                learned = Learned::TooFarBehind;
                break;
            }
        }
        self.wal.sync()?;
        Ok(learned)
    }
}
