//! One range for a link: as much of a lack as the link wants at a time, primed with what the peer holds of the same history. SPEC §7.3.

use super::CutError;
use super::choice::{Terms, mixed_prefix};
use super::pieces::{Piece, for_each_piece};
use super::plan::Lack;
use crate::ports::store::{Log, Stream};
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

/// The first range of `lack`; `None` when nothing of it is there. It may be longer than was aimed at, never longer than one stretch between
/// checkpoints where that is more than `raw_len`.
///
/// # Errors
/// What the log says.
pub fn first_range(log: &dyn Log, lack: &Lack, shape: Shape, compressor: &mut Compressor) -> Result<Option<Range>, CutError> {
    let mut found = None;
    for_each_piece(log, lack, shape.raw_len, &mut |piece| {
        found = Some(piece);
        Ok::<_, CutError>(false)
    })?;
    found.map(|piece| range_of(log, lack, &piece, shape, compressor)).transpose()
}

fn range_of(log: &dyn Log, lack: &Lack, piece: &Piece, shape: Shape, compressor: &mut Compressor) -> Result<Range, CutError> {
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
        && let Some(range) = mixed(log, lack, piece, shape, &terms)?
    {
        return Ok(range);
    }
    let prime = !shape.stored && !shape.whole && !shape.fast && piece.raw.len() <= PRIMED_RAW_LEN_MAX;
    let mut range = match prime.then(|| Prefix::before(log, &lack.stream, piece, PREFIX_LEN_MAX)).transpose()?.flatten() {
        Some(prefix) => Range::build_primed(origin, &run, &checkpoints, (prefix.first, prefix.count), &prefix.bytes)?,
        None => Range::build_from(origin, &run, &piece.raw, &checkpoints, coding, compressor)?,
    };
    if !shape.whole {
        range.base = None; // the peer's own chain hash
    }
    Ok(range)
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

/// The range in codec 3, if that is sooner there.
fn mixed(log: &dyn Log, lack: &Lack, piece: &Piece, shape: Shape, terms: &Terms) -> Result<Option<Range>, CutError> {
    let before = piece.start.seq - log.head(&lack.stream).map_or(piece.start.seq, |head| head.base.seq);
    let mean_len = piece.raw.len() / piece.ends.len().max(1);
    let history_len = if shape.whole { 0 } else { usize::try_from(before).unwrap_or(usize::MAX).saturating_mul(mean_len) };
    let Some(prefix_len) = mixed_prefix(terms, piece.raw.len(), history_len, piece.start.seq + (piece.ends.len() as u64) < terms.last) else {
        return Ok(None);
    };
    let prefix = if prefix_len > 0 { Prefix::before(log, &lack.stream, piece, prefix_len)? } else { None };
    let prefix = prefix.as_ref().map(|prefix| (prefix.first, prefix.count, prefix.bytes.as_slice()));
    let checkpoints: Vec<_> = piece.checkpoints.iter().map(|at| (at.position.seq - piece.start.seq, at.checkpoint)).collect();
    let mut range = Range::build_mixed(lack.stream.origin, &piece.run(), &checkpoints, prefix)?;
    if !shape.whole {
        range.base = None;
    }
    Ok(Some(range))
}

/// The events right before a piece, as many as a prefix may hold.
struct Prefix {
    first: u64,
    count: u64,
    bytes: Vec<u8>,
}

impl Prefix {
    fn before(log: &dyn Log, stream: &Stream, piece: &Piece, len_max: usize) -> Result<Option<Self>, CutError> {
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
        Ok((count > 0).then_some(Self { first: last + 1 - count, count, bytes }))
    }
}
