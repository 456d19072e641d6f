//! A range that meets a stretch of ours that rotted: do both tell one history, and what of it may be stored again. SPEC §6.2 (R6.2-i).

use super::admit::{Contact, Meeting};
use super::apply::takes_an_id;
use crate::ports::store::{Head, Log, Store, StoreError, Stream};
use bundle_format::chain::{Position, Run, digest};

/// Checkpoints are looked for in steps of so many events.
const STEP: u64 = 256;

/// How `run` and a stream of ours touch where ours cannot be read throughout: as far as [`proved`] goes, and behind that by the events that are
/// readable. Where they part in what is not, the run is a branch from the last event that is surely of both.
pub fn contact(log: &dyn Log, stream: &Stream, head: &Head, run: &Run<'_>) -> Result<Contact, StoreError> {
    let until = run.end().seq.min(head.end.seq);
    let Proof { proved: Some(proved), parts } = proved(log, stream, head, run)? else { return Ok(Contact::Foreign) };
    let parted = Contact::Differs { at: proved + 1 };
    let mut from = proved + 1;
    for (first, last) in log.lost(stream, from, until)?.into_iter().chain([(until + 1, until + 1)]) {
        if from < first {
            let mut stored = log.events(stream, from)?;
            for (theirs, seq) in run.events().iter().zip(run.start().seq + 1..).filter(|(_, seq)| (from..first).contains(seq)) {
                match stored.next()? {
                    Some((_, ours)) if ours == *theirs => {}
                    _ if from == proved + 1 => return Ok(Contact::Differs { at: seq }),
                    _ => return Ok(parted), // perhaps in what was lost before
                }
            }
        }
        from = last + 1;
    }
    Ok(if parts { parted } else { Contact::Agrees })
}

/// What chain hashes of ours say of a run.
#[derive(Debug, PartialEq, Eq)]
struct Proof {
    /// The last position where the run is on our chain for certain: all of it up to there is ours.
    proved: Option<u64>,
    /// Behind that, it is not on our chain any more.
    parts: bool,
}

/// How far `run` is on our chain: up to the last of our chain hashes that it leads to. Behind its end our own events lead on to the next of them, as far as
/// they can be read: so what rotted is proved wherever a range of it ends.
fn proved(log: &dyn Log, stream: &Stream, head: &Head, run: &Run<'_>) -> Result<Proof, StoreError> {
    let first_touch = run.start().seq.max(head.base.seq);
    let until = run.end().seq.min(head.end.seq);
    let mut known: Vec<Position> = log.checkpoints(stream, first_touch, until)?.iter().map(|at| at.position).collect();
    known.extend([head.base, head.end].into_iter().filter(|at| (first_touch..=until).contains(&at.seq)));
    match log.position(stream, first_touch) {
        Err(StoreError::Damaged { .. }) => {}
        start => known.extend(start?),
    }
    known.sort_unstable_by_key(|at| at.seq);
    known.dedup();
    let mut theirs = std::iter::once(run.start()).chain(run.events().iter().scan(run.start(), |at, event| {
        *at = at.then(&digest(event));
        Some(*at)
    }));
    let led_to = known.iter().take_while(|ours| theirs.find(|theirs| theirs.seq == ours.seq).as_ref() == Some(*ours)).last().map(|at| at.seq);
    let parts = known.last().map(|at| at.seq) != led_to;
    match leads_on(log, stream, head, run.end())? {
        Some(true) if !parts => Ok(Proof { proved: Some(run.end().seq), parts }),
        Some(false) => Ok(Proof { proved: led_to, parts: true }),
        _ => Ok(Proof { proved: led_to, parts }),
    }
}

/// Whether our events behind `end` lead from it to the next chain hash of ours; `None` when that cannot be read.
fn leads_on(log: &dyn Log, stream: &Stream, head: &Head, end: Position) -> Result<Option<bool>, StoreError> {
    if end.seq < head.base.seq || end.seq >= head.end.seq {
        return Ok(None);
    }
    let mut goal = None;
    let mut from = end.seq;
    while goal.is_none() && from <= head.end.seq {
        goal = log.checkpoints(stream, from, from + STEP)?.first().map(|at| at.position);
        from += STEP + 1;
    }
    let goal = goal.unwrap_or(head.end);
    let mut at = end;
    let mut events = log.events(stream, end.seq + 1)?;
    while at.seq < goal.seq {
        match events.next() {
            Ok(Some((_, event))) => at = at.then(&digest(event)),
            Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(at == goal))
}

/// Store again what rotted here and `run` brings, as far as our own chain proves that it is the same. Returns how many events.
pub fn mend(store: &mut dyn Store, meetings: &[Meeting], run: &Run<'_>) -> Result<u64, StoreError> {
    let mut mended = 0;
    for meeting in meetings {
        let stream = meeting.stream;
        if matches!(meeting.contact, Contact::Beyond | Contact::Before)
            || !store.rotten().iter().any(|rotten| rotten.events && rotten.stream == stream)
        {
            continue;
        }
        let Some(head) = store.head(&stream) else { continue };
        let Some(proved) = proved(&*store, &stream, &head, run)?.proved else { continue };
        let start = run.start().seq;
        for (first, last) in store.lost(&stream, start.max(head.base.seq) + 1, proved)? {
            let place = |seq: u64| usize::try_from(seq - start).unwrap_or(usize::MAX);
            let Some(events) = run.events().get(place(first) - 1..place(last)) else { continue };
            if takes_an_id(&*store, &stream, first, events)? {
                continue; // the other came while this could not be read
            }
            store.mend(&stream, first, events)?;
            mended += events.len() as u64;
        }
    }
    Ok(mended)
}

/// Whether some of what `run` repeats has rotted here, and is still missing on every stream it agrees with.
pub fn is_missed(store: &dyn Store, meetings: &[Meeting], run: &Run<'_>) -> Result<bool, StoreError> {
    let rotten = store.rotten();
    for meeting in meetings.iter().filter(|meeting| meeting.contact == Contact::Agrees && meeting.end >= run.end().seq) {
        let is_whole = !rotten.iter().any(|rotten| rotten.events && rotten.stream == meeting.stream);
        if is_whole || store.lost(&meeting.stream, run.start().seq + 1, run.end().seq)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::store::{Checkpointed, Events, Finding, Scan, Spot};
    use bundle_format::checkpoint::Checkpoint;
    use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
    use bundle_format::sign::Signature;

    const ORIGIN: Origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };

    /// Eight events, with checkpoints at these places, and some that cannot be read.
    struct Rotted {
        events: Vec<Vec<u8>>,
        checkpoints: Vec<u64>,
        lost: Vec<(u64, u64)>,
    }

    /// Eight events that are ours before `differs`.
    fn events(differs: usize) -> Vec<Vec<u8>> {
        (1..=8).map(|seq| vec![u8::from(seq >= differs), u8::try_from(seq).unwrap()]).collect()
    }

    fn run(events: &[Vec<u8>], first: usize, last: usize) -> Run<'_> {
        let start = Run::link(Position::start(&ORIGIN), events[..first - 1].iter().map(Vec::as_slice).collect()).end();
        Run::link(start, events[first - 1..last].iter().map(Vec::as_slice).collect())
    }

    struct Walk<'a>(&'a Rotted, u64);

    impl Events for Walk<'_> {
        fn next(&mut self) -> Result<Option<(u64, &[u8])>, StoreError> {
            let seq = self.1;
            if self.0.lost.iter().any(|(first, last)| (*first..=*last).contains(&seq)) {
                return Err(StoreError::Damaged { segment: 1, offset: 0, stream: None });
            }
            self.1 += 1;
            Ok(usize::try_from(seq).ok().and_then(|seq| self.0.events.get(seq - 1)).map(|event| (seq, event.as_slice())))
        }
    }

    impl Log for Rotted {
        fn streams(&self) -> Vec<(Stream, Head)> {
            Vec::new()
        }
        fn head(&self, _: &Stream) -> Option<Head> {
            let (base, end) = (Position::start(&ORIGIN), run(&self.events, 1, 8).end());
            Some(Head { base, end, checkpoint_seq: 8, hlc: bundle_format::hlc::Hlc(0) })
        }
        fn events(&self, _: &Stream, from: u64) -> Result<Box<dyn Events + '_>, StoreError> {
            Ok(Box::new(Walk(self, from)))
        }
        fn checkpoints(&self, _: &Stream, from: u64, to: u64) -> Result<Vec<Checkpointed>, StoreError> {
            let checkpoint = Checkpoint { key_number: 0, signature: Signature([0; 64]) };
            let at = |seq: &u64| Checkpointed { position: run(&self.events, 1, usize::try_from(*seq).unwrap()).end(), checkpoint };
            Ok(self.checkpoints.iter().filter(|seq| (from..=to).contains(seq)).map(at).collect())
        }
        fn checkpoint_below(&self, stream: &Stream, seq: u64) -> Result<Option<Checkpointed>, StoreError> {
            Ok(self.checkpoints(stream, 1, seq)?.pop())
        }
        fn scan_from(&self, _: Spot) -> Result<Box<dyn Scan + '_>, StoreError> {
            unreachable!("nobody scans here")
        }
        fn findings(&self) -> &[Finding] {
            &[]
        }
        fn lost(&self, _: &Stream, from: u64, to: u64) -> Result<Vec<(u64, u64)>, StoreError> {
            let cut = |(first, last): &(u64, u64)| (*first.max(&from), *last.min(&to));
            Ok(self.lost.iter().map(cut).filter(|(first, last)| first <= last).collect())
        }
    }

    /// R6.2-i: what is not proved by our own chain is not stored in the place of what rotted, whoever signed it.
    #[test]
    fn only_what_our_chain_proves_is_taken_for_what_rotted() {
        use Contact::{Agrees, Differs};
        let far = &[2, 6][..];
        let one = &[(3, 4)][..];
        let two = &[(3, 4), (6, 6)][..];
        let (behind, apart) = (&[(6, 6)][..], &[(3, 4), (7, 8)][..]);
        for (checkpoints, lost, differs, (first, last), want, proved_to) in [
            (far, one, 99, (1, 8), Agrees, 8),
            (far, one, 99, (1, 4), Agrees, 4), // by our own events behind it
            (far, one, 99, (3, 4), Agrees, 4),
            (&[2], one, 99, (1, 4), Agrees, 4),           // as far as the head
            (far, two, 99, (1, 4), Agrees, 2),            // not proved yet: nothing is stored, and it comes again
            (far, two, 99, (5, 8), Agrees, 8),            // then this is, and the other can be
            (far, one, 3, (1, 4), Differs { at: 3 }, 2),  // another branch, which parts in what rotted
            (far, one, 4, (1, 8), Differs { at: 3 }, 2),  // and is seen to differ behind it
            (&[2], one, 4, (1, 8), Differs { at: 3 }, 2), // where no checkpoint tells
            (&[2], two, 4, (1, 5), Differs { at: 3 }, 2), // nor our chain
            (far, one, 7, (1, 8), Differs { at: 7 }, 6),
            (&[2], behind, 5, (1, 8), Differs { at: 5 }, 2), // in what is readable before it: there, and not from where it is proved
            (&[2], apart, 6, (1, 6), Differs { at: 3 }, 2),  // the last event alone tells
            (far, apart, 99, (3, 4), Agrees, 4),             // as far as a checkpoint before the next that is lost
        ] {
            let (log, theirs) = (Rotted { events: events(99), checkpoints: checkpoints.to_vec(), lost: lost.to_vec() }, events(differs));
            let (stream, run) = (Stream::main(ORIGIN), run(&theirs, first, last));
            let head = log.head(&stream).unwrap();
            let why = format!("{first} to {last}, checkpoints {checkpoints:?}, lost {lost:?}, theirs from {differs}");
            assert_eq!(contact(&log, &stream, &head, &run).unwrap(), want, "{why}");
            assert_eq!(proved(&log, &stream, &head, &run).unwrap().proved, Some(proved_to), "{why}");
        }
    }
}
