//! The roster as the log holds it, both branches of a fork included.

use super::branches::Entry;
use super::member::Pin;
use super::roster::Roster;
use crate::ports::store::{Head, Log, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;
use bundle_format::ids::Origin;

/// One event of a branch, held so that [`Entry`] can lend from it.
struct Held {
    position: Position,
    bytes: Vec<u8>,
    key_numbers: Vec<u64>,
}

impl Roster {
    /// Fold the roster from `log`. What the authority has written and not yet checkpointed counts too: only its own log holds such events.
    ///
    /// # Errors
    /// What the log says.
    pub fn from_log(pin: Pin, log: &dyn Log) -> Result<Self, StoreError> {
        let origin = pin.roster_origin();
        let streams: Vec<(Stream, Head)> = log.streams().into_iter().filter(|(stream, _)| stream.origin == origin).collect();
        let fork = streams.iter().filter(|(stream, _)| stream.branch.is_some()).map(|(_, head)| head.base.seq).min();
        let main = read(log, &origin, None)?;
        let shared = fork.map_or(main.len(), |fork| main.partition_point(|held| held.position.seq <= fork));
        let mut branches = vec![main[shared..].iter().collect::<Vec<_>>()];
        let mut others = Vec::new();
        for (stream, head) in streams.iter().filter(|(stream, _)| stream.branch.is_some()) {
            others.push((head.base.seq, read(log, &origin, stream.branch)?));
        }
        for (base, other) in &others {
            let before = main[shared..].iter().take_while(|held| held.position.seq <= *base);
            branches.push(before.chain(other).collect());
        }
        let common: Vec<Entry<'_>> = entries(&main[..shared]);
        let branches: Vec<Vec<Entry<'_>>> = branches.into_iter().map(entries).collect();
        let branches: Vec<&[Entry<'_>]> = branches.iter().map(Vec::as_slice).collect();
        Ok(Self::from_branches(pin, &common, &branches))
    }
}

/// Events that the log took in are events; one that is not any more ends its branch here.
fn entries<'a>(held: impl IntoIterator<Item = &'a Held>) -> Vec<Entry<'a>> {
    let read =
        |held: &'a Held| Some(Entry { position: held.position, event: Event::from_bytes(&held.bytes).ok()?, key_numbers: held.key_numbers.clone() });
    held.into_iter().map_while(read).collect()
}

fn read(log: &dyn Log, origin: &Origin, branch: Option<[u8; 8]>) -> Result<Vec<Held>, StoreError> {
    let stream = Stream { origin: *origin, branch };
    let Some(head) = log.head(&stream) else { return Ok(Vec::new()) };
    let checkpoints = log.checkpoints(&stream, head.base.seq, head.end.seq)?;
    let mut position = head.base;
    let mut all = Vec::new();
    let mut events = log.events(&stream, head.base.seq + 1)?;
    loop {
        let bytes = match events.next() {
            Ok(Some((_, bytes))) => bytes,
            Ok(None) | Err(StoreError::Damaged { .. }) => break, // as far as it can be read; the rest comes again (R6.2-i)
            Err(error) => return Err(error),
        };
        position = position.then(&digest(bytes));
        let covering = checkpoints.iter().filter(|at| at.position.seq >= position.seq).map(|at| at.checkpoint.key_number);
        let mut key_numbers: Vec<u64> = covering.collect();
        key_numbers.sort_unstable();
        key_numbers.dedup();
        all.push(Held { position, bytes: bytes.to_vec(), key_numbers });
    }
    Ok(all)
}
