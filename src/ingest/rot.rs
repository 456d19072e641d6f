//! A range that meets a stretch of ours that rotted: do both tell one history, and what of it may be stored again. SPEC §6.2 (R6.2-i).

use super::admit::{Contact, Meeting};
use crate::ports::store::{Head, Log, Store, StoreError, Stream};
use bundle_format::chain::{Position, Run, digest};

/// How `run` and a stream of ours touch where ours cannot be read throughout. A chain hash of ours that the run leads to proves every event before it;
/// behind the last of these events are compared where they are readable, and the range's own signature covers the rest.
pub fn contact(log: &dyn Log, stream: &Stream, head: &Head, run: &Run<'_>) -> Result<Contact, StoreError> {
    let first_touch = run.start().seq.max(head.base.seq);
    let until = run.end().seq.min(head.end.seq);
    let mut known: Vec<Position> = log.checkpoints(stream, first_touch, until)?.iter().map(|at| at.position).collect();
    known.extend([head.base, head.end].into_iter().filter(|at| (first_touch..=until).contains(&at.seq)));
    if let Ok(start) = log.position(stream, first_touch) {
        known.extend(start);
    }
    known.sort_unstable_by_key(|at| at.seq);
    known.dedup();
    let mut positions = std::iter::once(run.start()).chain(run.events().iter().scan(run.start(), |at, event| {
        *at = at.then(&digest(event));
        Some(*at)
    }));
    let proved = known.iter().take_while(|ours| positions.find(|theirs| theirs.seq == ours.seq).as_ref() == Some(*ours)).last().map(|at| at.seq);
    let parts = known.last().map(|at| at.seq) != proved;
    let Some(proved) = proved else { return Ok(Contact::Foreign) };
    let lost = log.lost(stream, proved + 1, until)?;
    let mut from = proved + 1;
    for (first, last) in lost.iter().copied().chain([(until + 1, until + 1)]) {
        if from < first {
            let mut stored = log.events(stream, from)?;
            for (theirs, seq) in run.events().iter().zip(run.start().seq + 1..).filter(|(_, seq)| (from..first).contains(seq)) {
                match stored.next()? {
                    Some((_, ours)) if ours == *theirs => {}
                    _ => return Ok(Contact::Differs { at: seq }),
                }
            }
        }
        from = last + 1;
    }
    Ok(if parts { Contact::Foreign } else { Contact::Agrees }) // where they part lies in the damage
}

/// Store again what rotted here and `run` brings. Returns how many events.
pub fn mend(store: &mut dyn Store, meetings: &[Meeting], run: &Run<'_>) -> Result<u64, StoreError> {
    let mut mended = 0;
    for meeting in meetings {
        let stream = meeting.stream;
        let until = match meeting.contact {
            Contact::Agrees => meeting.end.min(run.end().seq),
            Contact::Differs { at } => at - 1,
            Contact::Beyond | Contact::Before | Contact::Foreign => continue,
        };
        if !store.rotten().iter().any(|rotten| rotten.events && rotten.stream == stream) {
            continue;
        }
        let start = run.start().seq;
        let first = start.max(store.head(&stream).map_or(start, |head| head.base.seq)) + 1;
        for (first, last) in store.lost(&stream, first, until)? {
            let place = |seq: u64| usize::try_from(seq - start).unwrap_or(usize::MAX);
            let Some(events) = run.events().get(place(first) - 1..place(last)) else { continue };
            store.mend(&stream, first, events)?;
            mended += events.len() as u64;
        }
    }
    Ok(mended)
}
