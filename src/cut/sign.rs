//! Checkpoints of our own histories, made when a cut first crosses them: at the end, and often enough that a dying link makes progress. SPEC §3.5.

use crate::ports::store::{Checkpointed, Store, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::event::Event;
use bundle_format::ids::DomainId;
use bundle_format::limits::{CHECKPOINT_EVENT_COUNT, CHECKPOINT_PART_COUNT, CHECKPOINT_RAW_LEN};
use bundle_format::sign::SigningKey;
use std::collections::BTreeSet;

/// Checkpoints written to the log at a time, so that the first cut of a long history stays small in memory.
const BATCH: usize = 256;

/// Who signs.
pub struct Signer<'a> {
    /// The node's current key.
    pub key: &'a SigningKey,
    /// Its number.
    pub key_number: u64,
    /// Bound into every signature.
    pub domain: DomainId,
}

/// Sign what of `stream`, one of our own, has no checkpoint yet, as far as it can be read. Returns how many were added; the caller syncs.
///
/// # Errors
/// What the log says.
pub fn sign_up_to_head(store: &mut dyn Store, stream: &Stream, signer: &Signer<'_>) -> Result<u64, StoreError> {
    let mut count = 0;
    loop {
        match sign_some(store, stream, signer, CHECKPOINT_RAW_LEN)? {
            0 => return Ok(count),
            signed => count += signed,
        }
    }
}

/// Sign the next places of `stream`, a batch of them, no further apart than `raw_len` bytes: on a slow link ranges are small. Returns how many; 0 at
/// the end. The caller syncs.
///
/// # Errors
/// What the log says.
pub fn sign_some(store: &mut dyn Store, stream: &Stream, signer: &Signer<'_>, raw_len: usize) -> Result<u64, StoreError> {
    let Some(batch) = next_batch(store, stream, signer, raw_len.min(CHECKPOINT_RAW_LEN))? else { return Ok(0) };
    store.append_checkpoints(stream, &batch)?;
    Ok(batch.len() as u64)
}

/// With a new key also the head that an older key has signed (R8.3-i); never of the roster, where the outgoing key must vouch for the new one, nor of a life
/// that is over, where what came back may be the work of whoever holds the old key.
///
/// # Errors
/// What the log says.
pub fn sign_again(store: &mut dyn Store, stream: &Stream, signer: &Signer<'_>) -> Result<u64, StoreError> {
    let Some(head) = store.head(stream).filter(|head| head.checkpoint_seq > 0 && head.checkpoint_seq == head.end.seq) else { return Ok(0) };
    let at_head = store.checkpoints(stream, head.end.seq, head.end.seq)?;
    if at_head.iter().any(|at| at.checkpoint.key_number >= signer.key_number) {
        return Ok(0);
    }
    store.append_checkpoints(stream, &[checkpoint(signer, stream, head.end)])?;
    Ok(1)
}

/// Sign again where checkpoints of ours rotted, as far as reading has found that, at the distances they are signed at first (R3.5-f): one frame holds the
/// proof of more events than a range may. Returns how many; the caller syncs.
///
/// # Errors
/// What the log says.
pub fn sign_lost(store: &mut dyn Store, stream: &Stream, signer: &Signer<'_>) -> Result<u64, StoreError> {
    let mut count = 0;
    for rotten in store.rotten().into_iter().filter(|rotten| rotten.stream == *stream && !rotten.events) {
        loop {
            let batch = lost_batch(&*store, stream, signer, (rotten.first, rotten.last))?;
            if batch.is_empty() {
                break;
            }
            store.append_checkpoints(stream, &batch)?;
            count += batch.len() as u64;
        }
    }
    Ok(count)
}

/// Sign up to event `seq`, from the last checkpoint before it on, at the distances of R3.5-f, as far as it can be read. The caller syncs.
///
/// # Errors
/// What the log says.
pub fn sign_up_to(store: &mut dyn Store, stream: &Stream, signer: &Signer<'_>, seq: u64) -> Result<(), StoreError> {
    loop {
        let after = store.checkpoint_below(stream, seq)?.map_or(0, |at| at.position.seq);
        let batch = if after < seq { lost_batch(&*store, stream, signer, (after + 1, seq))? } else { Vec::new() };
        if batch.is_empty() {
            return Ok(());
        }
        store.append_checkpoints(stream, &batch)?;
    }
}

/// Sign more densely up to the first checkpoint behind `after`, no further apart than `raw_len` bytes: what stands between compresses badly. Returns how
/// many; 0 when each event there has its own. The caller syncs.
///
/// # Errors
/// What the log says.
pub fn sign_between(store: &mut dyn Store, stream: &Stream, signer: &Signer<'_>, after: u64, raw_len: usize) -> Result<u64, StoreError> {
    let Some(head) = store.head(stream) else { return Ok(0) };
    let Some(mut position) = store.position(stream, after)? else { return Ok(0) };
    let until = store.checkpoints(stream, after + 1, head.checkpoint_seq)?.first().map_or(after, |next| next.position.seq);
    let (mut between, mut len) = (Vec::new(), 0);
    let mut events = store.events(stream, after + 1)?;
    while let Some((seq, event)) = events.next()?.filter(|(seq, _)| *seq < until) {
        if len > 0 && len + event.len() > raw_len {
            between.push(checkpoint(signer, stream, position));
            len = 0;
        }
        len += event.len();
        position = position.then(&digest(event));
        debug_assert_eq!(position.seq, seq, "a history has no holes");
        if len >= raw_len {
            between.push(checkpoint(signer, stream, position));
            len = 0;
        }
    }
    drop(events);
    if between.is_empty() && until > after + 1 && len > 0 {
        between.push(checkpoint(signer, stream, position)); // all but the last event
    }
    store.append_checkpoints(stream, &between)?;
    Ok(between.len() as u64)
}

fn next_batch(store: &dyn Store, stream: &Stream, signer: &Signer<'_>, raw_len: usize) -> Result<Option<Vec<Checkpointed>>, StoreError> {
    let Some(head) = store.head(stream).filter(|head| head.checkpoint_seq.max(head.base.seq) < head.end.seq) else { return Ok(None) };
    let position = match store.position(stream, head.checkpoint_seq.max(head.base.seq)) {
        Ok(Some(position)) => position,
        Ok(None) | Err(StoreError::Damaged { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let batch = walk(store, stream, signer, &Stretch { start: position, to: head.end.seq, raw_len, signed: &BTreeSet::new() })?;
    Ok(Some(batch).filter(|batch| !batch.is_empty()))
}

/// The next of those that are to stand from `first` to `last`; nothing when all are there, or cannot be.
fn lost_batch(store: &dyn Store, stream: &Stream, signer: &Signer<'_>, (first, last): (u64, u64)) -> Result<Vec<Checkpointed>, StoreError> {
    let Some(head) = store.head(stream).filter(|head| last <= head.end.seq) else { return Ok(Vec::new()) };
    let below = store.checkpoint_below(stream, first.saturating_sub(1))?.map(|at| at.position);
    let start = below.filter(|below| below.seq > head.base.seq).unwrap_or(head.base);
    let signed = store.checkpoints(stream, start.seq + 1, last)?.iter().map(|at| at.position.seq).collect();
    walk(store, stream, signer, &Stretch { start, to: last, raw_len: CHECKPOINT_RAW_LEN, signed: &signed })
}

/// Events of a history between two places.
struct Stretch<'a> {
    /// Right before them.
    start: Position,
    /// The last.
    to: u64,
    /// Checkpoints stand no further apart than this.
    raw_len: usize,
    /// Where they stand already.
    signed: &'a BTreeSet<u64>,
}

/// Checkpoints at the places of R3.5-f where none are, a batch of them.
fn walk(store: &dyn Store, stream: &Stream, signer: &Signer<'_>, stretch: &Stretch<'_>) -> Result<Vec<Checkpointed>, StoreError> {
    let mut position = stretch.start;
    let mut pace = Pace::default();
    let mut batch = Vec::new();
    let mut events = store.events(stream, position.seq + 1)?;
    while position.seq < stretch.to && batch.len() < BATCH {
        match events.next() {
            Ok(Some((_, event))) => {
                position = position.then(&digest(event));
                let is_due = pace.crosses(event, stretch.raw_len) || position.seq == stretch.to;
                let is_signed = stretch.signed.contains(&position.seq);
                if is_due && !is_signed {
                    batch.push(checkpoint(signer, stream, position));
                }
                if is_due || is_signed {
                    pace = Pace::default();
                }
            }
            Ok(None) => break,
            // Nothing can be signed behind what rotted, for nobody could be shown it; what stands before it can.
            Err(StoreError::Damaged { .. }) => {
                batch.extend((pace.events > 0).then(|| checkpoint(signer, stream, position)));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(batch)
}

fn checkpoint(signer: &Signer<'_>, stream: &Stream, position: Position) -> Checkpointed {
    let checkpoint = Checkpoint::sign(signer.key, &signer.domain, &stream.origin, signer.key_number, &position);
    Checkpointed { position, checkpoint }
}

/// Distance since the last checkpoint.
#[derive(Default)]
struct Pace {
    events: u64,
    raw_len: usize,
    parts: u64,
}

impl Pace {
    /// Count one more event; whether a checkpoint is due behind it.
    fn crosses(&mut self, event: &[u8], raw_len: usize) -> bool {
        self.events += 1;
        self.raw_len += event.len();
        self.parts += u64::from(Event::from_bytes(event).is_ok_and(|event| event.ext.part.is_some()));
        self.events >= CHECKPOINT_EVENT_COUNT || self.raw_len >= raw_len || self.parts >= CHECKPOINT_PART_COUNT
    }
}
