//! The roster as our log holds it: folded from the authority's first control lane, both branches when it has forked. SPEC §8.4.

use super::error::NodeError;
use crate::ingest::apply::streams_of;
use crate::keys::branches::Entry;
use crate::keys::{Pin, Roster};
use crate::ports::store::{Log, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;

/// An event with its place and the number of the key that covers it.
type Stored = (Position, Vec<u8>, Option<u64>);

/// The roster of the pinned domain as of what the log holds.
///
/// # Errors
/// What the log says.
pub fn fold(log: &dyn Log, pin: &Pin) -> Result<Roster, NodeError> {
    let origin = pin.roster_origin();
    let streams = streams_of(log, &origin);
    if streams.iter().all(|(stream, _)| stream.branch.is_none()) {
        let mut roster = Roster::new(*pin);
        for_each(log, &Stream::main(origin), 1, &mut |entry| {
            // What has no effect is remembered by the fold.
            let _ = match entry.key_number {
                Some(number) => roster.apply_under(entry.position, &entry.event, number),
                None => roster.apply(entry.position, &entry.event),
            };
        })?;
        return Ok(roster);
    }
    fold_branches(log, pin, &streams)
}

fn fold_branches(log: &dyn Log, pin: &Pin, streams: &[(Stream, crate::ports::store::Head)]) -> Result<Roster, NodeError> {
    let fork = streams.iter().filter(|(stream, _)| stream.branch.is_some()).map(|(_, head)| head.base.seq).min().unwrap_or(0);
    let mut bytes: Vec<Vec<Stored>> = Vec::new();
    let mut common: Vec<Stored> = Vec::new();
    for (stream, _) in streams {
        let mut branch = Vec::new();
        for_each_bytes(log, stream, 1, &mut |position, event, key_number| {
            let to = if stream.branch.is_none() && position.seq <= fork { &mut common } else { &mut branch };
            to.push((position, event.to_vec(), key_number));
        })?;
        bytes.push(branch);
    }
    let common = entries(&common);
    let branches: Vec<_> = bytes.iter().map(|branch| entries(branch)).collect();
    let branches: Vec<&[Entry<'_>]> = branches.iter().map(Vec::as_slice).collect();
    Ok(Roster::from_branches(*pin, &common, &branches))
}

fn entries<'a>(stored: &'a [Stored]) -> Vec<Entry<'a>> {
    let entry = |(position, bytes, key_number): &'a Stored| Some(Entry { position: *position, event: Event::from_bytes(bytes).ok()?, key_number: *key_number });
    stored.iter().filter_map(entry).collect()
}

fn for_each(log: &dyn Log, stream: &Stream, from: u64, take: &mut dyn FnMut(&Entry<'_>)) -> Result<(), StoreError> {
    for_each_bytes(log, stream, from, &mut |position, bytes, key_number| {
        if let Ok(event) = Event::from_bytes(bytes) {
            take(&Entry { position, event, key_number });
        }
    })
}

/// Every event of a stream with its place and the number of the key whose checkpoint covers it first.
fn for_each_bytes(log: &dyn Log, stream: &Stream, from: u64, take: &mut dyn FnMut(Position, &[u8], Option<u64>)) -> Result<(), StoreError> {
    let Some(head) = log.head(stream) else { return Ok(()) };
    let checkpoints = log.checkpoints(stream, from, head.end.seq)?;
    let mut checkpoints = checkpoints.iter().peekable();
    let mut position = head.base;
    let mut events = log.events(stream, head.base.seq.max(from - 1) + 1)?;
    while let Some((_, bytes)) = events.next()? {
        position = position.then(&digest(bytes));
        while checkpoints.next_if(|at| at.position.seq < position.seq).is_some() {}
        take(position, bytes, checkpoints.peek().map(|at| at.checkpoint.key_number));
    }
    Ok(())
}
