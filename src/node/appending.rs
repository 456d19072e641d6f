//! Events a node writes about itself, and events it writes again. What people push goes through `push`.

use crate::ports::Clock;
use crate::ports::store::{Log, Store, StoreError, Stream};
use bundle_format::chain::{Position, Run};
use bundle_format::event::{Event, EventError, Ext, Part};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, NodeId};
use bundle_format::limits::PART_LEN;

/// The greatest stamp this node has given.
fn last_stamp(log: &dyn Log, node: &NodeId) -> Hlc {
    log.streams().iter().filter(|(stream, _)| stream.origin.node == *node).map(|(_, head)| head.hlc).max().unwrap_or_default()
}

/// Append a control event; a payload above one part's length goes as parts. Not durable before the caller's sync.
///
/// # Errors
/// What the log says; [`EventError`] for a type that is no type, as an I/O error of kind `InvalidInput` would hide it.
pub fn control(store: &mut dyn Store, clock: &dyn Clock, stream: &Stream, kind: &str, payload: &[u8]) -> Result<(), AppendError> {
    let mut hlc = last_stamp(&*store, &stream.origin.node);
    let count = payload.len().div_ceil(PART_LEN).max(1) as u64;
    let mut encoded = Vec::new();
    for index in 0..count {
        hlc = hlc.tick(clock.now_ms());
        let from = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(PART_LEN);
        let piece = payload.get(from..payload.len().min(from.saturating_add(PART_LEN))).unwrap_or_default();
        let ext = Ext { part: (count > 1).then_some(Part { index, count }), ..Ext::default() };
        encoded.push(Event { hlc, kind, payload: piece, ext }.to_bytes()?);
    }
    append(store, stream, &encoded, hlc)
}

/// Append an event of a life that is over again, as an event of `stream`: its payload and fields, a new stamp, and the id it had (ext 13) (R11.1-g).
///
/// # Errors
/// What the log says.
pub fn again(store: &mut dyn Store, clock: &dyn Clock, stream: &Stream, bytes: &[u8], was: EventId) -> Result<(), AppendError> {
    let event = Event::from_bytes(bytes)?;
    // Behind a hole stand stamps that no head knows of, and a repetition is known by being later than what it repeats.
    let hlc = last_stamp(&*store, &stream.origin.node).max(event.hlc).tick(clock.now_ms());
    let first = event.ext.part.is_none_or(|part| part.index == 0);
    let orig = event.ext.orig.or(Some(was)).filter(|_| first); // what was written again twice names where it was written first
    let ext = Ext { orig, ..event.ext.clone() };
    let bytes = Event { hlc, ext, ..event }.to_bytes()?;
    append(store, stream, &[bytes], hlc)
}

fn append(store: &mut dyn Store, stream: &Stream, encoded: &[Vec<u8>], hlc: Hlc) -> Result<(), AppendError> {
    let end = store.head(stream).map_or_else(|| Position::start(&stream.origin), |head| head.end);
    let run = Run::link(end, encoded.iter().map(Vec::as_slice).collect());
    Ok(store.append(stream, &run, hlc, &[])?)
}

/// Why an event of the node's own was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log.
    #[error(transparent)]
    Log(#[from] StoreError),
    /// Fields that make no event.
    #[error(transparent)]
    Event(#[from] EventError),
}
