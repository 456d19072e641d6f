//! Read a lack from the log in pieces that each make one range: dense, ending at a checkpoint, within the bounds, under one key of the origin (so
//! that no roster range vouches for the key it introduces, R8.3-g). SPEC §4.6 (R4.6-f).

use super::CutError;
use super::plan::Lack;
use crate::ports::store::{Checkpointed, Log};
use bundle_format::chain::{Position, Run};
use bundle_format::limits::{CHECKPOINT_RAW_LEN, EVENT_LEN_MAX, RANGE_EVENT_COUNT_MAX, RANGE_RAW_LEN_MAX};

/// Raw bytes a piece aims at: as much as a range may hold, less what may stand up to the next checkpoint. Half of it makes a file of 5 000 clinic
/// events 2 % longer, one of FHIR resources 15 %.
pub const PIECE_RAW_LEN: usize = RANGE_RAW_LEN_MAX - CHECKPOINT_RAW_LEN;
/// Pieces that end at every checkpoint: for the last bytes of a file that is nearly full.
pub const SMALLEST: usize = 0;

/// Events of one stream between two provable positions.
pub struct Piece {
    /// Right before its first event.
    pub start: Position,
    /// The events' bytes, one after the other.
    pub raw: Vec<u8>,
    /// Where each ends in `raw`.
    pub ends: Vec<usize>,
    /// Checkpoints inside, the last at its end.
    pub checkpoints: Vec<Checkpointed>,
}

impl Piece {
    /// The events and where they lead.
    pub fn run(&self) -> Run<'_> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        Run::link(self.start, starts.zip(&self.ends).map(|(start, end)| &self.raw[start..*end]).collect())
    }

    /// Position of the last event.
    pub fn last(&self) -> u64 {
        self.start.seq + self.ends.len() as u64
    }

    fn new(start: Position) -> Self {
        Self { start, raw: Vec::new(), ends: Vec::new(), checkpoints: Vec::new() }
    }

    /// Room for all its bytes at its first event: a buffer that doubles leaves holes as large as itself in the heap, and one that is made before the
    /// last piece is gone is a second one.
    fn push(&mut self, event: &[u8], raw_len: usize) {
        if self.raw.capacity() == 0 {
            self.raw.reserve_exact(raw_len + CHECKPOINT_RAW_LEN + EVENT_LEN_MAX);
        }
        self.raw.extend_from_slice(event);
        self.ends.push(self.raw.len());
    }
}

/// Hand every piece of `lack`, of at least `raw_len` bytes where there are so many, to `take`, in order, until it says stop (`false`).
/// Memory: one piece.
///
/// # Errors
/// What the log says; what `take` says.
pub fn for_each_piece<E: From<CutError>>(
    log: &dyn Log,
    lack: &Lack,
    raw_len: usize,
    take: &mut dyn FnMut(Piece) -> Result<bool, E>,
) -> Result<(), E> {
    let Some(start) = log.position(&lack.stream, lack.after).map_err(CutError::from)? else { return Ok(()) };
    let mut piece = Piece::new(start);
    let mut events = log.events(&lack.stream, lack.after + 1).map_err(CutError::from)?;
    let mut window: std::collections::VecDeque<Checkpointed> = std::collections::VecDeque::new();
    let mut at = lack.after;
    let mut provable = 0; // events of the piece up to its newest checkpoint
    while at < lack.to {
        if window.is_empty() {
            let until = lack.to.min(at + RANGE_EVENT_COUNT_MAX);
            let from = at + 1;
            let mut found = log.checkpoints(&lack.stream, from, until).map_err(CutError::from)?;
            found.dedup_by(|later, kept| later.position == kept.position && newer(later, kept));
            window.extend(found);
        }
        let Some(next) = window.front().copied() else { return Err(unproved(lack, at).into()) };
        while at < next.position.seq {
            let Some((seq, event)) = events.next().map_err(CutError::from)? else { return Ok(()) };
            at = seq;
            piece.push(event, raw_len);
        }
        window.pop_front();
        let new_key = piece.checkpoints.last().is_some_and(|last| last.checkpoint.key_number != next.checkpoint.key_number);
        let too_long = new_key || piece.raw.len() > RANGE_RAW_LEN_MAX || piece.ends.len() as u64 > RANGE_EVENT_COUNT_MAX;
        if too_long && provable > 0 {
            let rest = split_off(&mut piece, provable);
            if !take(std::mem::replace(&mut piece, rest))? {
                return Ok(());
            }
        }
        if piece.checkpoints.is_empty() && piece.raw.len() > RANGE_RAW_LEN_MAX {
            return Err(unproved(lack, piece.start.seq).into());
        }
        piece.checkpoints.push(next);
        provable = piece.ends.len();
        let full = piece.raw.len() >= raw_len || piece.ends.len() as u64 >= RANGE_EVENT_COUNT_MAX;
        if full || at == lack.to {
            provable = 0;
            if !take(std::mem::replace(&mut piece, Piece::new(next.position)))? {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn unproved(lack: &Lack, after: u64) -> CutError {
    CutError::NoCheckpoint { origin: format!("{:?}", lack.stream.origin), after }
}

/// Where several checkpoints stand at one position the newest key's travels (R4.3-d).
fn newer(later: &Checkpointed, kept: &mut Checkpointed) -> bool {
    if later.checkpoint.key_number > kept.checkpoint.key_number {
        *kept = *later;
    }
    true
}

/// Take everything behind the first `count` events off `piece`; it ends at its newest checkpoint then.
fn split_off(piece: &mut Piece, count: usize) -> Piece {
    let cut = piece.ends[count - 1];
    let start = piece.checkpoints.last().map_or(piece.start, |checkpointed| checkpointed.position);
    let rest = Piece {
        start,
        raw: piece.raw.split_off(cut),
        ends: piece.ends.split_off(count).into_iter().map(|end| end - cut).collect(),
        checkpoints: Vec::new(),
    };
    debug_assert_eq!(start.seq, piece.start.seq + count as u64, "a piece is split at its newest checkpoint");
    rest
}
