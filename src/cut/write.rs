//! Fix lacks in one sealed bundle, as many as fit.

use super::CutError;
use super::pieces::{PIECE_RAW_LEN, Piece, SMALLEST, for_each_piece};
use super::plan::Lack;
use crate::ports::store::{Log, Stream};
use bundle_format::compress::Compressor;
use bundle_format::event::Event;
use bundle_format::ids::Lane;
use bundle_format::manifest::Manifest;
use bundle_format::range::{Coding, Range, RangeError};
use bundle_format::seal::{Sealed, Sealer};
use bundle_format::vector::Salt;
use std::io::Write;

/// What goes into the file and how far.
pub struct Order<'a> {
    /// The log it is read from.
    pub log: &'a dyn Log,
    /// What the recipients lack, in the order it goes.
    pub lacks: &'a [Lack],
    /// The roster's lane: stored, not compressed, so that it can be read before anything is unpacked.
    pub roster: &'a bundle_format::ids::Origin,
    /// The manifest, made once the salt is known.
    pub manifest: &'a dyn Fn(&Salt) -> Result<Manifest, CutError>,
    /// Largest file, padding included.
    pub len_max: u64,
    /// As few bytes as can be, whatever the time it takes at both ends: in codec 3, as far as a file may (R4.4-m).
    pub small: bool,
}

/// What stands in a finished file.
#[derive(Debug)]
pub struct Fixed {
    /// Length and digest.
    pub sealed: Sealed,
    /// Ranges inside: stream, first, last. Adjacent ones joined.
    pub ranges: Vec<(Stream, u64, u64)>,
    /// Payloads per lane, a run of parts with its last; control events each.
    pub events: [u64; 4],
    /// Raw bytes of the events.
    pub raw_len: u64,
    /// Whether every lack is in it; otherwise the rest begins right behind `ranges`.
    pub complete: bool,
}

/// Write manifest and ranges through `sealer`, stopping before a range that would pass `len_max`.
///
/// # Errors
/// [`CutError`]: our log, or the place it is written to.
pub fn fix<'o, W: Write>(mut sealer: Sealer<'o, W>, order: &'o Order<'o>, progress: &mut dyn FnMut(u64, u64)) -> Result<(W, Fixed), CutError> {
    let salt = sealer.salt();
    sealer.manifest(&(order.manifest)(&salt)?)?;
    let mut compressor = Compressor::new().map_err(RangeError::from)?;
    let mut writing = Writing { sealer: &mut sealer, order, compressor: &mut compressor, progress, ranges: Vec::new(), events: [0; 4], raw_len: 0 };
    let mut complete = true;
    for lack in order.lacks {
        complete = writing.take_all(lack, PIECE_RAW_LEN)?;
        if !complete {
            // The file is nearly full: what is left of it is filled checkpoint by checkpoint.
            if let Some(lack) = rest(&[*lack], &writing.ranges).first() {
                writing.take_all(lack, SMALLEST)?;
            }
            break;
        }
    }
    let Writing { ranges, events, raw_len, .. } = writing;
    let (out, sealed) = sealer.finish()?;
    Ok((out, Fixed { sealed, ranges, events, raw_len, complete }))
}

struct Writing<'a, 'o, W: Write> {
    sealer: &'a mut Sealer<'o, W>,
    order: &'a Order<'o>,
    compressor: &'a mut Compressor,
    progress: &'a mut dyn FnMut(u64, u64),
    ranges: Vec<(Stream, u64, u64)>,
    events: [u64; 4],
    raw_len: u64,
}

impl<W: Write> Writing<'_, '_, W> {
    /// Whether all of `lack` fitted.
    fn take_all(&mut self, lack: &Lack, raw_len: usize) -> Result<bool, CutError> {
        let mut fits = true;
        for_each_piece(self.order.log, lack, raw_len, &mut |piece| {
            fits = self.take(lack, &piece)?;
            Ok::<_, CutError>(fits)
        })?;
        Ok(fits)
    }

    /// Whether the piece fitted (R4.6-m).
    fn take(&mut self, lack: &Lack, piece: &Piece) -> Result<bool, CutError> {
        let origin = lack.stream.origin;
        let coding = match self.order.small {
            _ if origin == *self.order.roster => Coding::Stored,
            true if self.sealer.takes_mixed(piece.raw.len()) => Coding::Mixed,
            _ => Coding::Zstd,
        };
        let checkpoints: Vec<_> = piece.checkpoints.iter().map(|at| (at.position.seq - piece.start.seq, at.checkpoint)).collect();
        let run = piece.run();
        let mut range = Range::build_from(origin, &run, &piece.raw, &checkpoints, coding, self.compressor)?;
        if self.sealer.expands_too_far(&range)? {
            range = Range::build_from(origin, &run, &piece.raw, &checkpoints, Coding::Stored, self.compressor)?; // as if it were a bomb
        }
        if self.sealer.len_with(&range)? > self.order.len_max {
            return Ok(false);
        }
        self.sealer.range(&range)?;
        match self.ranges.last_mut().filter(|(stream, ..)| *stream == lack.stream) {
            Some((_, _, last)) => *last = piece.last(),
            None => self.ranges.push((lack.stream, piece.start.seq + 1, piece.last())),
        }
        let ends = |bytes: &&&[u8]| origin.lane == Lane::Control || Event::from_bytes(bytes).is_ok_and(|event| event.ends_payload());
        self.events[origin.lane as usize] += run.events().iter().filter(ends).count() as u64;
        self.raw_len += range.raw_len as u64;
        (self.progress)(range.count, range.raw_len as u64);
        Ok(true)
    }
}

/// What of `lacks` is left after `ranges` went out.
pub fn rest(lacks: &[Lack], ranges: &[(Stream, u64, u64)]) -> Vec<Lack> {
    let sent = |lack: &Lack| ranges.iter().filter(|(stream, ..)| *stream == lack.stream).map(|(_, _, last)| *last).max();
    let left = lacks.iter().map(|lack| Lack { after: sent(lack).unwrap_or(lack.after), ..*lack });
    left.filter(|lack| lack.after < lack.to).collect()
}

/// Events in `lacks`, per lane.
pub fn event_counts(lacks: &[Lack]) -> [u64; 4] {
    lacks.iter().fold([0; 4], |mut counts, lack| {
        counts[lack.stream.origin.lane as usize] += lack.to - lack.after;
        counts
    })
}

/// The most urgent lane of `lacks`; what a courier sorts by. Control when there is nothing but a receipt.
pub fn best_lane(lacks: &[Lack]) -> Lane {
    super::plan::best_lane(lacks).unwrap_or(Lane::Control)
}
