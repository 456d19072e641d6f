//! Up to where the events of a history count: what a key that has ended still vouches for, and what a present one has signed. SPEC §8.3.

use super::known::{parting, position};
use crate::keys::{Bound, Keyring, Member, Roster};
use crate::ports::store::{Head, Log, StoreError, Stream};
use bundle_format::chain::Position;

/// Beyond every event, and a number that tables hold.
pub(super) const ALL: u64 = u64::MAX >> 1;

/// What standing is read from: the log, whom we trust and who we are.
#[derive(Clone, Copy)]
pub struct Counting<'a> {
    pub(super) log: &'a dyn Log,
    pub(super) roster: &'a Roster,
    pub(super) keyring: &'a Keyring,
}

impl Counting<'_> {
    /// Up to where the events of `stream` count (R8.3-h): all of them unless a key of its node has ended.
    ///
    /// # Errors
    /// What the log says, but for what has rotted: that vouches for nothing.
    pub fn counted(&self, stream: &Stream) -> Result<u64, StoreError> {
        let member = self.roster.member(&stream.origin.node).filter(|member| member.keys.iter().any(|key| key.end.is_some()));
        let (Some(member), Some(head)) = (member, self.log.head(stream)) else { return Ok(ALL) };
        if self.is_signed_by_us(stream, &head) {
            return Ok(ALL);
        }
        let counted = self.kept(member, stream, &head)?;
        Ok(self.signed_now(member, stream, (counted, head.checkpoint_seq))?.unwrap_or(counted))
    }

    /// Up to where keys of ours that have ended vouch for `stream`, where no other has signed its end: behind that its events count nowhere but here until
    /// something new of ours stands behind them. `None` when nothing is to be done (R8.3-i).
    ///
    /// # Errors
    /// What the log says.
    pub(super) fn left_by_an_ended_key(&self, stream: &Stream) -> Result<Option<u64>, StoreError> {
        let member = self.roster.member(&stream.origin.node).filter(|member| member.keys.iter().any(|key| key.end.is_some()));
        let (Some(member), Some(head)) = (member, self.log.head(stream)) else { return Ok(None) };
        if head.checkpoint_seq < head.end.seq {
            return Ok(None); // the next cut signs it
        }
        let at_end = match self.log.checkpoints(stream, head.end.seq, head.end.seq) {
            Err(StoreError::Damaged { .. }) => return Ok(None), // it is signed again
            at_end => at_end?,
        };
        let is_ended = |number: u64| member.key(number).is_some_and(|key| key.end.is_some());
        if at_end.is_empty() || !at_end.iter().all(|at| is_ended(at.checkpoint.key_number)) {
            return Ok(None);
        }
        let kept = self.kept(member, stream, &head)?;
        Ok(Some(kept).filter(|kept| *kept < head.end.seq))
    }

    /// Up to where keys that have ended vouch for `stream`.
    fn kept(&self, member: &Member, stream: &Stream, head: &Head) -> Result<u64, StoreError> {
        let mut kept = head.base.seq;
        for end in member.keys.iter().filter_map(|key| key.end.as_ref()) {
            if let Bound::UpTo(keep) = end.bound(&stream.origin) {
                kept = kept.max(self.vouched(stream, head, keep)?);
            }
        }
        Ok(kept)
    }

    /// Whether our present key signs the end of `stream` at the next cut, if it has not yet: in our present life, and where nobody has signed what we wrote
    /// at the end of an earlier one. What came back of a life that is over may be the work of whoever holds a key of ours that has ended (R8.3-i).
    fn is_signed_by_us(&self, stream: &Stream, head: &Head) -> bool {
        let is_unsigned = stream.branch.is_none() && head.checkpoint_seq < head.end.seq;
        stream.origin.node == self.keyring.node() && (stream.origin.incarnation == self.keyring.incarnation() || is_unsigned)
    }

    /// Up to where a key that has ended vouches for `stream`: the branch that runs through `keep` is kept, and of another what it shares with that one
    /// (R8.3-b).
    fn vouched(&self, stream: &Stream, head: &Head, keep: Position) -> Result<u64, StoreError> {
        let leads_there = |branch: &Stream| Ok::<_, StoreError>(position(self.log, branch, keep.seq)? == Some(keep));
        if leads_there(stream)? {
            return Ok(keep.seq);
        }
        let branches: Vec<_> = self.log.streams().into_iter().filter(|(branch, _)| branch.origin == stream.origin).collect();
        let all: Vec<_> = branches.iter().map(|(branch, _)| *branch).collect();
        for other in &all {
            if leads_there(other)? {
                return Ok(parting(self.log, stream, other, &all)?.min(keep.seq));
            }
        }
        if head.end.seq >= keep.seq {
            return Ok(0);
        }
        // What is not here yet may stand behind this branch, or behind another as short: of those what they share is sure.
        let mut sure = head.end.seq;
        for (other, _) in branches.iter().filter(|(other, head)| other != stream && head.end.seq < keep.seq) {
            sure = sure.min(parting(self.log, stream, other, &all)?);
        }
        Ok(sure)
    }

    /// The newest of the positions from behind `after` to `to` that a present key of the member has signed. Looked for from the end: there it stands, as a rule.
    fn signed_now(&self, member: &Member, stream: &Stream, (after, mut to): (u64, u64)) -> Result<Option<u64>, StoreError> {
        let is_present = |number: u64| member.key(number).is_some_and(|key| key.end.is_none());
        if member.keys.iter().all(|key| key.end.is_some()) {
            return Ok(None);
        }
        let mut span = 1;
        while after < to {
            let below = to.saturating_sub(span).max(after);
            let signed = match self.log.checkpoints(stream, below + 1, to) {
                Err(StoreError::Damaged { .. }) => Vec::new(),
                signed => signed?,
            };
            if let Some(newest) = signed.iter().rev().find(|at| is_present(at.checkpoint.key_number)) {
                return Ok(Some(newest.position.seq));
            }
            (to, span) = (below, span * 16);
        }
        Ok(None)
    }
}
