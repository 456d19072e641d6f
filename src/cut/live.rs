//! One range for a link: as much of a lack as the link wants at a time, primed with what the peer holds of the same history. SPEC §7.3.

use super::CutError;
use super::choice::{Behind, Terms, mixed_behind};
use super::pieces::{Piece, for_each_piece};
use super::plan::Lack;
use crate::ports::store::{Log, StoreError, Stream};
use bundle_format::compress::{Compressor, Level};
use bundle_format::limits::PREFIX_LEN_MAX;
use bundle_format::range::{Coding, Range, RangeError};
use std::collections::VecDeque;

/// Above this a range finds most of what it repeats in itself, and a prefix costs more time than it saves bytes.
const PRIMED_RAW_LEN_MAX: usize = 128 * 1024;

/// From so many bytes on, events that repeat anything show it by themselves: what is shorter may repeat only what stands before it.
const SAMPLE_LEN_MIN: usize = 512;

/// How one range shall be made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Raw bytes aimed at; a range ends at the first checkpoint at or behind them.
    pub raw_len: usize,
    /// The roster: as it is, so that it can be read by who does not trust us yet (R4.4-e).
    pub stored: bool,
    /// With its base, and by itself: the peer's history is not known to be ours.
    pub whole: bool,
    /// The link is faster than we can compress well.
    pub fast: bool,
    /// What codec 3 would cost, where the peer takes it.
    pub mixing: Option<Terms>,
}

/// A range on its way from the log to the link.
#[derive(Debug)]
pub enum Made {
    /// As it goes.
    Range(Range),
    /// To be coded in codec 3: that takes time, and others have their turn meanwhile.
    Draft(Draft),
}

/// A range that is to be coded in codec 3.
#[derive(Debug)]
pub struct Draft {
    /// The range, stored.
    pub range: Range,
    /// What comes before it.
    pub prefix: Prefix,
}

/// Events that stand right before a range.
pub enum Prefix {
    /// None: what stands there is not the peer's, or too much work.
    Nothing,
    /// From this position, so many that are known already.
    Known(u64, u64),
    /// From this position, so many, which are these bytes.
    Fresh(u64, u64, Vec<u8>),
}

/// The first range of `lack`; `None` when nothing of it is there. It may be longer than was aimed at, never longer than one stretch between
/// checkpoints where that is more than `raw_len`.
///
/// # Errors
/// What the log says.
pub fn first_range(log: &dyn Log, lack: &Lack, shape: Shape, compressor: &mut Compressor) -> Result<Option<Made>, CutError> {
    let mut found = None;
    for_each_piece(log, lack, shape.raw_len, &mut |piece| {
        found = Some(piece);
        Ok::<_, CutError>(false)
    })?;
    found.map(|piece| range_of(log, lack, &piece, shape, compressor)).transpose()
}

fn range_of(log: &dyn Log, lack: &Lack, piece: &Piece, shape: Shape, compressor: &mut Compressor) -> Result<Made, CutError> {
    let origin = lack.stream.origin;
    let checkpoints: Vec<_> = piece.checkpoints.iter().map(|at| (at.position.seq - piece.start.seq, at.checkpoint)).collect();
    let run = piece.run();
    let coding = if shape.stored {
        Coding::Stored
    } else if shape.fast {
        Coding::Fast
    } else {
        Coding::Zstd
    };
    if let Some(terms) = shape.mixing.filter(|_| !shape.stored && !shape.fast)
        && repeats(&piece.raw, compressor)?
        && let Some(prefix) = mixed(log, lack, piece, shape, &terms)?
    {
        let mut range = Range::build_from(origin, &run, &piece.raw, &checkpoints, Coding::Stored, compressor)?;
        if !shape.whole {
            range.base = None;
        }
        return Ok(Made::Draft(Draft { range, prefix }));
    }
    let prime = !shape.stored && !shape.whole && !shape.fast && piece.raw.len() <= PRIMED_RAW_LEN_MAX;
    let mut range = match prime.then(|| before_piece(log, &lack.stream, piece, PREFIX_LEN_MAX)).transpose()?.flatten() {
        Some((first, count, bytes)) => Range::build_primed(origin, &run, &checkpoints, (first, count), &bytes)?,
        None => Range::build_from(origin, &run, &piece.raw, &checkpoints, coding, compressor)?,
    };
    if !shape.whole {
        range.base = None; // the peer's own chain hash
    }
    Ok(Made::Range(range))
}

/// Whether there is anything in `raw` to be foretold: noise (pictures, what was sealed or compressed before) stays as long as it is in any codec, and
/// zstd at its fastest tells for a thousandth of the work of codec 3.
fn repeats(raw: &[u8], compressor: &mut Compressor) -> Result<bool, CutError> {
    if raw.len() < SAMPLE_LEN_MIN {
        return Ok(true);
    }
    let sample = compressor.compress(raw, Level::FAST).map_err(RangeError::from)?;
    Ok(sample.len() < raw.len() / 16 * 15)
}

/// If the range is sooner there in codec 3: what comes before it.
fn mixed(log: &dyn Log, lack: &Lack, piece: &Piece, shape: Shape, terms: &Terms) -> Result<Option<Prefix>, CutError> {
    let before = piece.start.seq - log.head(&lack.stream).map_or(piece.start.seq, |head| head.base.seq);
    let mean_len = piece.raw.len() / piece.ends.len().max(1);
    let history_len = if shape.whole { 0 } else { usize::try_from(before).unwrap_or(usize::MAX).saturating_mul(mean_len) };
    let known = terms.known.filter(|known| !shape.whole && known.last == piece.start.seq);
    let behind = mixed_behind(&Terms { known, ..*terms }, piece.raw.len(), history_len, piece.last() < terms.last);
    Ok(match (behind, known) {
        (None, _) => None,
        (Some(Behind::Known), Some(known)) => Some(Prefix::Known(known.first, known.last + 1 - known.first)),
        (Some(Behind::Fresh(len)), _) if len > 0 => {
            let fresh = before_piece(log, &lack.stream, piece, len)?;
            Some(fresh.map_or(Prefix::Nothing, |(first, count, bytes)| Prefix::Fresh(first, count, bytes)))
        }
        _ => Some(Prefix::Nothing),
    })
}

/// The events right before a piece, as many as fit in `len_max`: the position of the first, how many, and their bytes. Where one of them has rotted there
/// are none: they only save bytes.
fn before_piece(log: &dyn Log, stream: &Stream, piece: &Piece, len_max: usize) -> Result<Option<(u64, u64, Vec<u8>)>, CutError> {
    match readable_before(log, stream, piece, len_max) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        before => Ok(before?),
    }
}

fn readable_before(log: &dyn Log, stream: &Stream, piece: &Piece, len_max: usize) -> Result<Option<(u64, u64, Vec<u8>)>, StoreError> {
    let last = piece.start.seq;
    let base = log.head(stream).map_or(last, |head| head.base.seq);
    // A guess that is seldom short: half as many again as fit if they are as long as those of the piece.
    let mean_len = (piece.raw.len() / piece.ends.len().max(1)).max(1);
    let guess = (len_max / mean_len * 3 / 2) as u64;
    let from = last.saturating_sub(guess).max(base) + 1;
    if from > last {
        return Ok(None);
    }
    let (mut lens, mut bytes, mut start) = (VecDeque::new(), Vec::new(), 0);
    let mut events = log.events(stream, from)?;
    for _ in from..=last {
        let Some((_, event)) = events.next()? else { return Ok(None) };
        bytes.extend_from_slice(event);
        lens.push_back(event.len());
        while bytes.len() - start > len_max {
            start += lens.pop_front().unwrap_or(0);
        }
        if start > len_max {
            bytes.drain(..std::mem::take(&mut start));
        }
    }
    bytes.drain(..start);
    let count = lens.len() as u64;
    Ok((count > 0).then_some((last + 1 - count, count, bytes)))
}

impl std::fmt::Debug for Prefix {
    /// Without its events: they are people's records.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Known(first, count) => write!(f, "Known({first}, {count})"),
            Self::Fresh(first, count, _) => write!(f, "Fresh({first}, {count})"),
        }
    }
}
