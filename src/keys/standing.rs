//! Standing: what a key, and what was written under it, is worth now. SPEC §8.3.

use super::roster_event::Keep;
use bundle_format::chain::Position;
use bundle_format::ids::{Hash, Incarnation, Lane, NodeId, Origin};
use std::collections::BTreeMap;

/// What a member's key is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its present key.
    Current,
    /// Replaced by a newer one; who still holds it is told so.
    Outgoing,
    /// Not to be trusted.
    Revoked,
}

/// Whether an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStanding {
    /// Covered by a key that vouches for it.
    Good,
    /// Written beyond what is kept of an ended key: stored, shown as such, not counted until the authority accepts it.
    AfterRevoke,
}

/// How far a key vouches for one history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A present key: everything.
    Open,
    /// An ended key: up to this position, on the branch that runs through it.
    UpTo(Position),
    /// Nothing: an ended key whose `keep` does not name this history, or no key of the roster.
    Nothing,
}

impl Bound {
    /// The standing of the event at `seq` of a history, or of one branch of its fork, whose chain hash at a position is `hash_at`
    /// (`None` beyond its head: nothing there speaks against the branch).
    pub fn judge(&self, seq: u64, hash_at: impl FnOnce(u64) -> Option<Hash>) -> EventStanding {
        let good = match self {
            Self::Open => true,
            Self::Nothing => false,
            Self::UpTo(keep) => seq <= keep.seq && hash_at(keep.seq).is_none_or(|hash| hash == keep.hash),
        };
        if good { EventStanding::Good } else { EventStanding::AfterRevoke }
    }
}

type History = (Incarnation, Lane, Option<NodeId>);

fn history(origin: &Origin) -> History {
    (origin.incarnation, origin.lane, origin.audience)
}

/// How a key ended: replaced or revoked, and what stays valid under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEnd {
    /// Revoked, not only replaced.
    pub revoked: bool,
    keep: BTreeMap<History, Position>,
}

impl KeyEnd {
    /// An end with these bounds; at most one for each history.
    pub fn new(revoked: bool, keep: &[Keep]) -> Self {
        let keep = keep.iter().filter(|keep| keep.position.seq > 0).map(|keep| ((keep.incarnation, keep.lane, keep.audience), keep.position));
        Self { revoked, keep: keep.collect() }
    }

    /// How far the ended key vouches for `origin`.
    pub fn bound(&self, origin: &Origin) -> Bound {
        self.keep.get(&history(origin)).map_or(Bound::Nothing, |position| Bound::UpTo(*position))
    }

    /// Both ends hold: revoked if either says so, kept where both keep, the lower position. Two branches at the same position: neither is kept.
    /// (R8.3-k)
    #[must_use]
    pub fn narrowed(&self, other: &Self) -> Self {
        let both = self.keep.iter().filter_map(|(history, ours)| {
            let theirs = other.keep.get(history)?;
            let kept = match ours.seq.cmp(&theirs.seq) {
                std::cmp::Ordering::Less => Some(*ours),
                std::cmp::Ordering::Greater => Some(*theirs),
                std::cmp::Ordering::Equal => (ours.hash == theirs.hash).then_some(*ours),
            };
            kept.map(|kept| (*history, kept))
        });
        Self { revoked: self.revoked || other.revoked, keep: both.collect() }
    }

    /// Keep at least this much: what the authority accepts later stands in place of a lower bound (R8.3-k).
    pub fn raise(&mut self, keep: &[Keep]) {
        for keep in keep.iter().filter(|keep| keep.position.seq > 0) {
            let bound = self.keep.entry((keep.incarnation, keep.lane, keep.audience)).or_insert(keep.position);
            if keep.position.seq >= bound.seq {
                *bound = keep.position;
            }
        }
    }
}
