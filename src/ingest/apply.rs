//! Let a verified range count: compare what overlaps, append what is new. SPEC §6.2, §6.4.

use super::admit::{Contact, Meeting, Verdict, admit};
use super::rot;
use crate::ports::store::{Checkpointed, Head, Log, Store, StoreError, Stream};
use bundle_format::chain::{Position, Run, digest};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::event::Event;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Hash, Lane, Origin};
use bundle_format::limits::FORK_BRANCH_LEN_MAX;
use bundle_format::range::VerifiedRange;

/// Branches of one origin that are stored at most; of those at one fork point the two with the smallest digest are shown. An origin that
/// signs more than this is broken beyond two clones of a card.
const BRANCH_COUNT_MAX: usize = 16;

/// What became of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The verdict it was applied by.
    pub verdict: Verdict,
    /// Events appended.
    pub new: u64,
    /// Events that were held already, byte for byte.
    pub duplicate: u64,
    /// A branch that was full, or a branch or history one too many: events left out, loudly.
    pub left_out: u64,
    /// Checkpoints of events held already that were lost here, and are held again.
    pub refilled: u64,
    /// Events that were held by number and had rotted, and are here again.
    pub mended: u64,
    /// The position that two branches hold from now on, each in its own way.
    pub forked: Option<u64>,
}

/// What is not taken of a range whatever it says.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// What would go on from the history that was here first becomes a branch: who writes that history must not go on from it.
    pub apart: bool,
    /// Streams of one node that are held at most: one that would be begun beyond that is left out (R6.2-j).
    pub stream_count_max: usize,
}

/// Meet our streams of its origin and append what is new. The caller syncs before anyone is told.
///
/// # Errors
/// What the log says.
pub fn apply(store: &mut dyn Store, range: &VerifiedRange) -> Result<Applied, StoreError> {
    apply_within(store, range, Within { apart: false, stream_count_max: usize::MAX })
}

/// The same, within bounds.
///
/// # Errors
/// What the log says.
pub fn apply_within(store: &mut dyn Store, range: &VerifiedRange, within: Within) -> Result<Applied, StoreError> {
    let run = range.run();
    let meetings = meetings(&*store, &range.origin(), &run)?;
    let verdict = match admitted(&range.origin(), &run, &meetings) {
        Verdict::Append { stream, end } if within.apart && stream.branch.is_none() => Verdict::Fork { stream, at: end + 1 },
        verdict => verdict,
    };
    let count = run.events().len() as u64;
    let nothing = Applied { verdict, new: 0, duplicate: 0, left_out: 0, refilled: 0, mended: 0, forked: None };
    if matches!(verdict, Verdict::Gap { .. }) {
        return Ok(nothing);
    }
    let mended = rot::mend(store, &meetings, &run)?;
    let applied = Applied { refilled: refill_checkpoints(store, range)?, mended, ..nothing };
    let (stream, known, forked) = match verdict {
        Verdict::Duplicate if rot::is_missed(&*store, &meetings, &run)? => {
            return Ok(Applied { verdict: Verdict::Unproved, duplicate: count, ..applied });
        }
        Verdict::Duplicate | Verdict::Unproved | Verdict::Gap { .. } => return Ok(Applied { duplicate: count, ..applied }),
        Verdict::Append { stream, .. } if is_one_too_many(&*store, &stream, within) => return Ok(Applied { left_out: count, ..applied }),
        Verdict::Append { stream, end } => (stream, end.saturating_sub(run.start().seq), parting_behind(&*store, &stream, end, run.end().seq)),
        Verdict::Fork { stream, at } => {
            let known = at - run.start().seq - 1;
            match branch(&*store, &stream, &run, known).filter(|branch| !is_one_too_many(&*store, branch, within)) {
                Some(branch) => (branch, known, Some(at)),
                None => return Ok(Applied { duplicate: known, left_out: count - known, forked: Some(at), ..applied }),
            }
        }
    };
    let new = append_behind(store, &stream, range, &run, known)?;
    Ok(Applied { new, duplicate: known, left_out: count - known - new, forked, ..applied })
}

/// Whether `stream` would be begun, and its node has begun as many as are held of it.
fn is_one_too_many(log: &dyn Log, stream: &Stream, within: Within) -> bool {
    log.head(stream).is_none() && log.count_of(&stream.origin.node) >= within.stream_count_max
}

/// The first position of another branch that `stream`, whose `end` rot has put back to where that branch parts or before, holds again.
fn parting_behind(log: &dyn Log, stream: &Stream, end: u64, new_end: u64) -> Option<u64> {
    let others = log.branches(&stream.origin).into_iter().filter(|(other, _)| other != stream && other.branch.is_some());
    others.map(|(_, head)| head.base.seq).filter(|base| (end..new_end).contains(base)).min().map(|base| base + 1)
}

/// Events may be held whose checkpoint was lost with a torn or damaged part of the log: we do not tell them (R6.5-a), so they come again, and bring it.
/// In control lanes also one that stands before others: it may be the only one whose key we know, where the authority has new keys since.
fn refill_checkpoints(store: &mut dyn Store, range: &VerifiedRange) -> Result<u64, StoreError> {
    let mut refilled = 0;
    for (stream, head) in store.branches(&range.origin()) {
        let mut lost = Vec::new();
        for &(position, checkpoint) in range.checkpoints().iter().filter(|(position, _)| position.seq <= head.end.seq) {
            let may_be_lost = stream.origin.lane == Lane::Control || store.lacks_checkpoint(&stream, position.seq);
            let is_lost = position.seq > head.checkpoint_seq || (may_be_lost && !is_held(&*store, &stream, position, &checkpoint)?);
            let stands_here = |ours: Result<Option<Position>, StoreError>| match ours {
                Err(StoreError::Damaged { .. }) => Ok(false), // another stretch before it rotted, and must come first
                ours => ours.map(|ours| ours == Some(position)),
            };
            if is_lost && stands_here(store.position(&stream, position.seq))? {
                lost.push(Checkpointed { position, checkpoint });
            }
        }
        if !lost.is_empty() {
            store.append_checkpoints(&stream, &lost)?;
            refilled += lost.len() as u64;
        }
    }
    Ok(refilled)
}

fn is_held(log: &dyn Log, stream: &Stream, position: Position, checkpoint: &Checkpoint) -> Result<bool, StoreError> {
    let held = log.checkpoints(stream, position.seq, position.seq)?;
    Ok(held.iter().any(|held| held.checkpoint.key_number == checkpoint.key_number))
}

/// What `apply` would do, without doing it.
///
/// # Errors
/// What the log says.
pub fn judge(log: &dyn Log, origin: &Origin, run: &Run<'_>) -> Result<Verdict, StoreError> {
    Ok(admitted(origin, run, &meetings(log, origin, run)?))
}

fn admitted(origin: &Origin, run: &Run<'_>, meetings: &[Meeting]) -> Verdict {
    admit(Stream::main(*origin), run.start().seq + 1, run.end().seq, meetings)
}

fn meetings(log: &dyn Log, origin: &Origin, run: &Run<'_>) -> Result<Vec<Meeting>, StoreError> {
    let mut meetings = Vec::new();
    for (stream, head) in log.branches(origin) {
        let contact = match contact(log, &stream, &head, run) {
            Err(StoreError::Damaged { .. }) => rot::contact(log, &stream, &head, run)?,
            contact => contact?,
        };
        meetings.push(Meeting { stream, end: head.end.seq, contact });
    }
    Ok(meetings)
}

fn contact(log: &dyn Log, stream: &Stream, head: &Head, run: &Run<'_>) -> Result<Contact, StoreError> {
    let first_touch = run.start().seq.max(head.base.seq);
    if first_touch > head.end.seq {
        return Ok(Contact::Beyond);
    }
    if first_touch >= run.end().seq {
        return Ok(Contact::Before);
    }
    let ours = log.position(stream, first_touch)?;
    if ours != Some(position_in(run, first_touch)) {
        return Ok(Contact::Foreign);
    }
    let skip = usize::try_from(first_touch - run.start().seq).unwrap_or(usize::MAX);
    let mut stored = log.events(stream, first_touch + 1)?;
    for theirs in run.events().iter().skip(skip) {
        match stored.next()? {
            None => break,
            Some((_, ours)) if ours == *theirs => {}
            Some((at, _)) => return Ok(Contact::Differs { at }),
        }
    }
    Ok(Contact::Agrees)
}

/// The chain position at `seq` inside `run`.
fn position_in(run: &Run<'_>, seq: u64) -> Position {
    let count = usize::try_from(seq - run.start().seq).unwrap_or(usize::MAX);
    run.events().iter().take(count).fold(run.start(), |position, event| position.then(&digest(event)))
}

/// The stream a fork's new branch goes to; `None` when the origin has too many branches already (R6.4-d).
fn branch(log: &dyn Log, from: &Stream, run: &Run<'_>, known: u64) -> Option<Stream> {
    let first = run.events().get(usize::try_from(known).unwrap_or(usize::MAX));
    let name = first.and_then(|event| digest(event).0.first_chunk::<8>().copied());
    let branch = name.map(|name| Stream { origin: from.origin, branch: Some(name) });
    let full = log.branches(&from.origin).len() > BRANCH_COUNT_MAX;
    branch.filter(|branch| !full && log.head(branch).is_none())
}

/// Append the events behind the first `known` of `run` to `stream`, with the checkpoints that stand there. Returns how many (R6.2-b).
fn append_behind(store: &mut dyn Store, stream: &Stream, range: &VerifiedRange, run: &Run<'_>, known: u64) -> Result<u64, StoreError> {
    let start = position_in(run, run.start().seq + known);
    let events: Vec<_> = run.events().iter().skip(usize::try_from(known).unwrap_or(usize::MAX)).copied().collect();
    if is_full(&*store, stream, &events)? || takes_an_id(&*store, stream, start.seq + 1, &events)? {
        return Ok(0);
    }
    let hlc = events.last().and_then(|event| Event::from_bytes(event).ok()).map_or(Hlc(0), |event| event.hlc);
    let behind = Run::link(start, events);
    let checkpoints: Vec<_> = range
        .checkpoints()
        .iter()
        .filter(|(position, _)| position.seq > start.seq)
        .map(|&(position, checkpoint)| Checkpointed { position, checkpoint })
        .collect();
    store.append(stream, &behind, hlc, &checkpoints)?;
    Ok(behind.events().len() as u64)
}

/// Whether a forked origin's branch has reached its bound: each grows to 16 MiB past the fork point, then stops (R6.4-c).
fn is_full(log: &dyn Log, stream: &Stream, more: &[&[u8]]) -> Result<bool, StoreError> {
    let branches = log.branches(&stream.origin);
    let Some(fork_seq) = branches.iter().filter(|(other, _)| other.branch.is_some()).map(|(_, head)| head.base.seq).min() else {
        return Ok(false);
    };
    let from = log.head(stream).map_or(0, |head| head.base.seq.max(fork_seq));
    let mut len: u64 = more.iter().map(|event| event.len() as u64).sum();
    if log.head(stream).is_some() {
        let mut events = log.events(stream, from + 1)?;
        while let Some((_, event)) = events.next()? {
            len += event.len() as u64;
        }
    }
    Ok(len > FORK_BRANCH_LEN_MAX)
}

/// Whether one of `events`, of which the first would stand at `first` of `stream`, has the id of another event that stands there on another branch: two
/// digests that begin alike cost who signs both some minutes (R6.4-h). What has rotted has no id that could be compared.
pub(super) fn takes_an_id(log: &dyn Log, stream: &Stream, first: u64, events: &[&[u8]]) -> Result<bool, StoreError> {
    let id = |digest: &Hash| digest.0.first_chunk::<8>().copied();
    for (other, head) in log.branches(&stream.origin).into_iter().filter(|(other, _)| other != stream) {
        let mut from = first.max(head.base.seq + 1);
        let to = (first + events.len() as u64).min(head.end.seq + 1);
        while from < to {
            let mut stored = log.events(&other, from)?;
            for theirs in events.iter().skip(usize::try_from(from - first).unwrap_or(usize::MAX)) {
                match stored.next() {
                    Ok(Some((_, ours))) if ours != *theirs && id(&digest(ours)) == id(&digest(theirs)) => return Ok(true),
                    Ok(Some(_)) => from += 1,
                    Ok(None) => from = to,
                    Err(StoreError::Damaged { .. }) => {
                        from = log.lost(&other, from, to)?.first().map_or(to, |(_, last)| last + 1);
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory_store::MemoryStore;
    use bundle_format::ids::{Incarnation, NodeId};

    /// R6.4-a: of a fork the side that was here first may rot, and come again.
    #[test]
    fn who_reaches_again_what_another_branch_holds_parts_from_it() {
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };
        let (main, branch) = (Stream::main(origin), Stream { origin, branch: Some([9; 8]) });
        let mut store = MemoryStore::default();
        let base = Run::link(Position::start(&origin), vec![b"a", b"b"]).end();
        store.append(&branch, &Run::link(base, vec![b"x"]), Hlc(1), &[]).unwrap();
        for (end, new_end, want) in [(0, 2, None), (0, 3, Some(3)), (2, 3, Some(3)), (3, 9, None)] {
            assert_eq!(parting_behind(&store, &main, end, new_end), want, "from {end} to {new_end}");
        }
        assert_eq!(parting_behind(&store, &branch, 2, 3), None, "nobody parts from himself");
    }
}
