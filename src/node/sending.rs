//! What of ours the peer gets next: the most urgent that it lacks, as much as the link takes at a time, signed where it is ours to sign. SPEC §7.3, §7.6.
//!
//! A range in codec 3 is not made in one step, for others must have their turn while it is coded (`coding`): the step that finds it hands out what is to be
//! done, and the next one after that goes on from there.

use super::Node;
use super::coding::{Coded, Job};
use super::error::NodeError;
use super::session::{AGAIN_LONGER, AGAIN_MAX, Reach, Session};
use super::workshop::Workshop;
use crate::cut::live::{self, Made, Shape};
use crate::cut::pieces::SMALLEST;
use crate::cut::{self, CutError, Lack, sign};
use crate::keys::keyring::Keyring;
use crate::keys::roster::Roster;
use crate::link::Room;
use crate::ports::store::{Log as _, Store as _, Stream};
use bundle_format::limits::{CHECKPOINT_RAW_LEN, MESSAGE_LEN_MAX};
use bundle_format::logs::LogTable;
use bundle_format::range::Range;

/// A stretch between two checkpoints of ours is not longer than this on a link: on one that dies every 15 kB one each way must pass, beside a handshake
/// and two hellos. Two of 8 KiB, on their way at once, never did.
const STRETCH_LEN_MAX: usize = 5 * 1024;
/// Raw bytes for each byte on the link, at most.
const RATIO_MAX: usize = 64;
/// How often a range is made anew because it came out too long.
const TRIES: usize = 5;
/// Above this many bytes a second compressing well takes longer than sending.
const FAST_RATE: u64 = 500_000;

/// What goes next.
#[derive(Debug)]
pub(super) enum Next {
    /// The peer lacks nothing.
    Nothing,
    /// What is next cannot be made as short as there is room for.
    TooLong,
    /// This.
    Range(Range),
    /// What this is made into; to be told by [`Session::coded`], and then asked again.
    Job(Box<Job>),
}

/// What a link wants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// What there is room for on it.
    pub(super) room: Room,
    /// Whether a model may be had: while a range is decoded, what goes meanwhile goes by zstd.
    pub(super) may_mix: bool,
}

/// A range that is being coded: how far its making had come.
#[derive(Debug)]
pub(super) struct Drafted {
    stream: Stream,
    after: u64,
    whole: bool,
    /// Bytes it was aimed at, and how many tries that was.
    raw_len: usize,
    tried: usize,
    /// What became of it.
    coded: Option<Range>,
}

impl Session {
    /// The next range for the peer, of about `len` bytes on a link of `rate` bytes a second: the most urgent first. `None` when it lacks nothing.
    ///
    /// # Errors
    /// What the log says.
    pub fn next_range(&mut self, node: &mut Node, workshop: &mut Workshop, len: u64, rate: Option<u64>) -> Result<Option<Range>, NodeError> {
        loop {
            match self.next(node, workshop, Wanted { room: Room { len, most: u64::MAX, rate }, may_mix: true })? {
                Next::Nothing | Next::TooLong => return Ok(None),
                Next::Range(range) => return Ok(Some(range)),
                Next::Job(job) => self.coded(workshop, job.run_at_once(&*node.ports.clock)?),
            }
        }
    }

    /// [`Session::next_range`], up to where there is something to be coded.
    ///
    /// # Errors
    /// What the log says.
    pub(super) fn next(&mut self, node: &mut Node, workshop: &mut Workshop, link: Wanted) -> Result<Next, NodeError> {
        let [wanted, most] = [link.room.len, link.room.most].map(|len| usize::try_from(len).unwrap_or(usize::MAX));
        let wanted = wanted.min(MESSAGE_LEN_MAX);
        let fast = link.room.rate.is_some_and(|rate| rate > FAST_RATE);
        loop {
            let known = node.wal.rotten();
            let Some(lack) = self.lacks(node)?.into_iter().next() else { return Ok(Next::Nothing) };
            let stored = node.roster.is_roster(&lack.stream.origin);
            // What rotted there is proved by what stands behind it (R7.4-e).
            let again = self.reach.get(&lack.stream).map_or(0, |reach| reach.again.min(AGAIN_MAX));
            let wanted = wanted.saturating_mul(AGAIN_LONGER.pow(u32::from(again))).min(MESSAGE_LEN_MAX);
            let raw_len = if stored { wanted } else { wanted.saturating_mul(self.ratio) };
            let last = lack.to;
            let Some(lack) = Self::provable(node, lack, raw_len)? else { return Ok(Next::Nothing) };
            let flying = self.reach.values().any(|reach| reach.held < reach.sent);
            let reach = self.reach.get(&lack.stream).copied();
            let terms = self.mixing.terms(link.room.rate.filter(|_| link.may_mix), workshop.speed, (flying, last), node.ports.clock.monotonic_ms());
            let mixing = terms.map(|terms| terms.knowing(workshop.known(&lack.stream)));
            let shape = Shape { raw_len, stored, whole: !reach.is_some_and(|reach| reach.ours), fast, mixing };
            node.wal.sync()?; // a cut never reaches beyond what is durable (R4.6-f)
            let made = match self.range_that_fits(node, workshop, &lack, shape, (wanted.min(most), most)) {
                Err(NodeError::Cut(CutError::NoCheckpoint { .. })) => {
                    if node.note_new(&known)? {
                        node.sign_lost()?;
                        continue; // as far as it can be proved
                    }
                    Next::Nothing
                }
                made => made?,
            };
            match made {
                Next::Range(range) => {
                    if let Some(reach) = self.reach.get_mut(&lack.stream) {
                        reach.sent = range.last();
                    }
                    self.mixing.sent(&range, node.ports.clock.monotonic_ms());
                    self.know_speed(workshop.speed);
                    if !stored {
                        // Events that repeat the one before say little of what comes: a range that is aimed at too boldly is coded twice.
                        self.ratio = (range.raw_len / range.data.len().max(1)).clamp(1, RATIO_MAX.min(2 * self.ratio));
                    }
                    return Ok(Next::Range(range));
                }
                Next::Job(_) | Next::TooLong => return Ok(made),
                Next::Nothing => self.leave(lack.stream),
            }
        }
    }

    /// What became of what was to be coded.
    pub(super) fn coded(&mut self, workshop: &mut Workshop, coded: Coded) {
        let range = workshop.take_coded(coded);
        if let Some(drafted) = self.drafted.as_mut().filter(|drafted| drafted.after + 1 == range.first && drafted.stream.origin == range.origin) {
            drafted.coded = Some(range);
        }
    }

    /// The first range of `lack`, of about `wanted` bytes on the link if its checkpoints stand close enough; where they do not and the history is
    /// ours, they do afterwards. Nothing when even the shortest is too long for a message; too long when it is longer than `most`.
    fn range_that_fits(
        &mut self,
        node: &mut Node,
        workshop: &mut Workshop,
        lack: &Lack,
        mut shape: Shape,
        (wanted, most): (usize, usize),
    ) -> Result<Next, NodeError> {
        let signs = Self::is_signed_here(node, &lack.stream) && node.may_sign_within(&lack.stream)?;
        let (mut fitting, mut is_too_long, mut coded, mut begun) = (None, false, None, 0);
        if let Some(drafted) = self.drafted.take_if(|on| on.stream == lack.stream && on.after == lack.after && on.whole == shape.whole) {
            (shape.raw_len, coded, begun) = (drafted.raw_len, drafted.coded, drafted.tried);
        }
        for tried in begun..TRIES {
            let made = match coded.take() {
                Some(range) => Some(Made::Range(range)),
                None => live::first_range(&node.wal, lack, shape, &mut workshop.compressor)?,
            };
            let range = match made {
                None => break,
                Some(Made::Range(range)) => range,
                Some(Made::Draft(draft)) => {
                    let Lack { stream, after, .. } = *lack;
                    self.drafted = Some(Drafted { stream, after, whole: shape.whole, raw_len: shape.raw_len, tried, coded: None });
                    return Ok(Next::Job(Box::new(Job::new(draft, workshop.take_learned()))));
                }
            };
            let len = range.wire_len(&LogTable::default()).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
            let (raw_len, count, stretches) = (range.raw_len, range.count, range.checkpoints.len());
            fitting = Some(range).filter(|_| len + 16 <= MESSAGE_LEN_MAX);
            is_too_long = len > most;
            if len <= wanted.saturating_add(wanted / 2).min(most) {
                break;
            }
            if stretches > 1 {
                // The last try is one stretch.
                shape.raw_len = if tried + 2 < TRIES { shorter(raw_len, stretches, len, wanted) } else { SMALLEST };
            } else if signs && count > 1 && len > STRETCH_LEN_MAX.min(most) {
                let apart = raw_len.saturating_mul(STRETCH_LEN_MAX.min(most - most / 4)) / len; // its checkpoint takes some of it
                if sign::sign_between(&mut node.wal, &lack.stream, &Self::signer(&node.keyring, &node.roster), lack.after, apart)? == 0 {
                    break;
                }
                node.wal.sync()?;
                shape.raw_len = SMALLEST;
            } else {
                break;
            }
        }
        Ok(fitting.map_or(Next::Nothing, |range| if is_too_long { Next::TooLong } else { Next::Range(range) }))
    }

    /// Whether the history is ours to sign; the roster is signed where it is written.
    pub(super) fn is_signed_here(node: &Node, stream: &Stream) -> bool {
        stream.origin.node == node.keyring.node() && stream.branch.is_none() && !node.roster.is_roster(&stream.origin)
    }

    pub(super) fn signer<'a>(keyring: &'a Keyring, roster: &Roster) -> sign::Signer<'a> {
        let keys = keyring.current();
        sign::Signer { key: &keys.signing, key_number: keys.number, domain: roster.pin().domain() }
    }

    /// What the peer lacks and was not sent yet, in the order it goes (R7.3-k, R7.6-c). Own histories to their end: they are signed when they are cut.
    pub(super) fn lacks(&mut self, node: &Node) -> Result<Vec<Lack>, NodeError> {
        let streams = node.wal.streams();
        let mut ours = Vec::new();
        for (stream, head) in &streams {
            if !node.may_see(&self.peer, &stream.origin) {
                continue;
            }
            if !self.reach.contains_key(stream) {
                let after = node.send_after(&self.peer, &self.record, stream, &streams)?.unwrap_or(u64::MAX);
                let ours = stream.branch.is_none();
                let kept = self.kept_back.has(&node.wal, &self.record, stream)?;
                let reach = Reach { held: after, sent: after, ours, whole: !ours, again: 0, acked: 0, kept };
                self.reach.insert(*stream, reach);
            }
            let to = if Self::is_signed_here(node, stream) && !node.was_written_again(&stream.origin) { head.end.seq } else { head.checkpoint_seq };
            let to = node.readable_to(stream, self.reach.get(stream).map_or(u64::MAX, |reach| reach.sent), to)?;
            if self.reach.get(stream).is_some_and(|reach| reach.kept && reach.sent < to) {
                self.leave(*stream);
            }
            ours.push((*stream, head.base.seq, to));
        }
        let left = |stream: &Stream| self.left.contains(stream);
        let mut known = |stream: &Stream| self.reach.get(stream).filter(|_| !left(stream)).map(|reach| reach.sent);
        Ok(cut::plan(&ours, &node.roster.pin().roster_origin(), &|_| true, &mut known))
    }

    /// The lack as far as a checkpoint proves it; of our own histories a batch is signed, at distances that fit the link.
    fn provable(node: &mut Node, lack: Lack, raw_len: usize) -> Result<Option<Lack>, NodeError> {
        let head = node.wal.head(&lack.stream);
        let mut proved = head.map_or(0, |head| head.checkpoint_seq);
        if Self::is_signed_here(node, &lack.stream) {
            let signer = Self::signer(&node.keyring, &node.roster);
            let is_present = lack.stream.origin.incarnation == node.keyring.incarnation();
            let mut signed = if is_present { sign::sign_again(&mut node.wal, &lack.stream, &signer)? } else { 0 };
            if proved <= lack.after {
                signed += sign::sign_some(&mut node.wal, &lack.stream, &signer, raw_len.clamp(CHECKPOINT_RAW_LEN / 8, CHECKPOINT_RAW_LEN))?;
            }
            if signed > 0 {
                proved = node.wal.head(&lack.stream).map_or(0, |head| head.checkpoint_seq);
            }
        }
        let lack = Lack { to: lack.to.min(proved), ..lack };
        Ok((lack.after < lack.to).then_some(lack))
    }

    pub(super) fn leave(&mut self, stream: Stream) {
        self.left.insert(stream);
    }
}

/// What to aim at after a range of so many stretches that came out as `len` where `wanted` was: it compresses worse than what went before, so as much less,
/// and at least one stretch less, for a range ends at the first checkpoint at or behind its aim.
fn shorter(raw_len: usize, stretches: usize, len: usize, wanted: usize) -> usize {
    let stretch = raw_len / stretches.max(1);
    (raw_len.saturating_mul(wanted) / len.max(1)).min(stretch * stretches.saturating_sub(2) + stretch / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_was_too_long_is_made_again_at_least_one_stretch_shorter() {
        const STRETCH: usize = 13_000;
        for stretches in 2..9 {
            for (len, wanted) in [(3148, 2048), (3148, 3000), (60_000, 2048)] {
                let aim = shorter(stretches * STRETCH, stretches, len, wanted);
                let again = aim.div_ceil(STRETCH).max(1);
                assert!(again < stretches, "{stretches} stretches, {len} B for {wanted}: {again} again");
            }
        }
        assert_eq!(shorter(90_000, 9, 9000, 3000), 30_000, "as much less as it compresses worse");
    }
}
