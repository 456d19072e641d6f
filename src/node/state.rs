//! What a node must remember beside its log: the number of its last receipt, the lives it has not settled yet, what settled forks.

use super::claims::Claims;
use super::counting::Counting;
use super::error::NodeError;
use super::forks::Closed;
use super::record::{self, Recalled, RecordError};
use crate::ports::disk::Disk;
use crate::ports::store::{StoreError, Stream};
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::ids::{Incarnation, Origin};
use std::path::Path;

/// The file `state`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Number of the last receipt told in the current life; written before the receipt leaves (R6.5-b).
    pub receipt_number: u64,
    /// Lives that ended by loss and whose histories are not yet closed.
    pub open_lives: Vec<Incarnation>,
    /// Foreign events came in since our last control event (`zb/alive` is due once a day).
    pub alive_due: bool,
    /// When we last wrote `zb/alive`, milliseconds since 1970 by our clock.
    pub alive_ms: u64,
    /// Forks that were settled, as the control events we hold say.
    pub closed: Closed,
    /// Own histories of ended lives, and behind which event what they held was written again (R6.6-d).
    pub repeated: Vec<(Origin, u64)>,
    /// How many holes of the log are known to be answered (R6.6-f). None in a file of an earlier version: to answer them again costs a life and no record.
    pub holes_answered: u64,
    /// How far the log had durably reached, segment and byte, when that was last noted: who finds it shorter has lost what stood there (R10.8-i).
    pub log_end: (u32, u64),
    /// Own histories of ended lives, and how far this node had written each when that life ended. Of a life that is told the routine lane is named always. What
    /// came of it since may be another's work (R6.6-d).
    pub written: Vec<(Origin, u64)>,
    /// Who said that we have lost a part of our past, and was believed (R6.6-p).
    pub claims: Claims,
    /// The log may hold what closes histories, or says which keys have ended, and was not learned from: the power may have gone in between (R6.2-n).
    pub unlearned: bool,
}

impl State {
    fn to_bytes(&self) -> Vec<u8> {
        let lives: Vec<_> = self.open_lives.iter().map(|life| Bytes(&life.0)).collect();
        let Self { closed, repeated, holes_answered, log_end, written, claims, unlearned, .. } = self;
        let (number, alive_due, alive_ms) = (self.receipt_number, self.alive_due, self.alive_ms);
        let forks: Vec<_> = closed.forks.iter().map(|((origin, seq), held)| (origin, seq, held)).collect();
        cbor::to_vec(&(number, lives, alive_due, alive_ms, &closed.origins, forks, repeated, holes_answered, log_end, written, claims, unlearned))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let reader = &mut Reader::new(bytes);
        let count = reader.array()?;
        let receipt_number = reader.uint()?;
        let open_lives = (0..reader.array()?).map(|_| reader.bytes_exact().map(Incarnation)).collect::<Result<_, _>>()?;
        let (alive_due, alive_ms) = (reader.boolean()?, reader.uint()?);
        let origins = (0..reader.array()?).map(|_| read_origin(reader)).collect::<Result<_, _>>()?;
        let mut closed = Closed { origins, ..Closed::default() };
        for _ in 0..reader.array()? {
            let (origin, seq, held) = read_fork(reader)?;
            closed.close_fork(&origin, seq, held);
        }
        let repeated = (0..reader.array()?).map(|_| read_origin(reader)).collect::<Result<_, _>>()?;
        let holes_answered = match count {
            7 => 0,
            8..=12 => reader.uint()?,
            _ => return Err(CborError::Shape),
        };
        let log_end = if count >= 9 { read_place(reader)? } else { (0, 0) };
        let written_count = if count >= 10 { reader.array()? } else { 0 };
        let written = (0..written_count).map(|_| read_origin(reader)).collect::<Result<_, _>>()?;
        let claims = if count >= 11 { Claims::read(reader)? } else { Claims::default() };
        let unlearned = if count == 12 { reader.boolean()? } else { true }; // an earlier version did not say
        let state = Self { receipt_number, open_lives, alive_due, alive_ms, closed, repeated, holes_answered, log_end, written, claims, unlearned };
        reader.finish()?;
        Ok(state)
    }

    /// The log ends at `end`, durably. Noted where that is worth a write: of another segment, or twice as much of it (R10.8-i).
    pub fn reach(&mut self, end: (u32, u64)) {
        if end.0 > self.log_end.0 || end.0 == self.log_end.0 && end.1 / 2 >= self.log_end.1 {
            self.log_end = end;
        }
    }

    /// How far a history of ours that ends at `end` is to get to others: what was written again in a later life is not under its old numbers, nor what
    /// stands behind the place where a life was closed.
    pub fn due_to(&self, origin: &Origin, end: u64) -> u64 {
        if self.open_lives.contains(&origin.incarnation) {
            return end;
        }
        let repeated = self.repeated.iter().filter(|(of, _)| of == origin).map(|(_, seq)| *seq).max();
        repeated.or_else(|| self.closed.end_of(origin)).map_or(end, |last| end.min(last))
    }

    /// What that history held was written again behind `behind`; not any more, where that is nothing.
    pub fn note_repeated(&mut self, origin: &Origin, behind: Option<u64>) {
        self.repeated.retain(|(of, _)| of != origin);
        self.repeated.extend(behind.map(|behind| (*origin, behind)));
    }

    /// How far this node had written a history of its own when that life ended; `None` when it is not known of that life.
    pub fn written_to(&self, origin: &Origin) -> Option<u64> {
        let is_told = self.written.iter().any(|(of, _)| of.incarnation == origin.incarnation);
        is_told.then(|| self.written.iter().find(|(of, _)| of == origin).map_or(0, |(_, seq)| *seq))
    }

    /// How far this node heeds what `stream`, a control history, says is closed: as far as its events count, and in what it wrote itself (R6.2-l).
    ///
    /// # Errors
    /// What the log says.
    pub fn heeds_to(&self, counting: Counting<'_>, stream: &Stream) -> Result<u64, StoreError> {
        let own = self.written_to(&stream.origin).filter(|_| stream.branch.is_none());
        Ok(counting.counted(stream)?.max(own.unwrap_or(0)))
    }

    /// What is found again of it in the log and the keyring where the file is gone or has rotted. Which lives were settled is not known any more: all that
    /// have ended are open, and are settled as they were, for what stands in the log already is neither closed nor written a second time.
    ///
    /// # Errors
    /// What the log says.
    pub fn found_again(counting: Counting<'_>) -> Result<Self, NodeError> {
        let open_lives = counting.keyring.earlier_incarnations().to_vec();
        let closed = Closed::default().found_again(counting, &Self::default())?;
        Ok(Self { open_lives, alive_due: true, closed, ..Self::default() })
    }

    /// Read the file.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn recall(disk: &dyn Disk, path: &Path) -> Result<Recalled<Self>, RecordError> {
        record::recall(disk, path, Self::from_bytes)
    }

    /// Write the file durably.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn save(&self, disk: &dyn Disk, path: &Path) -> Result<(), RecordError> {
        record::save(disk, path, &self.to_bytes())
    }
}

fn read_place(reader: &mut Reader<'_>) -> Result<(u32, u64), CborError> {
    reader.array_exact(2)?;
    let segment = u32::try_from(reader.uint()?).map_err(|_| CborError::Shape)?;
    Ok((segment, reader.uint()?))
}

fn read_origin(reader: &mut Reader<'_>) -> Result<(Origin, u64), CborError> {
    reader.array_exact(2)?;
    Ok((Origin::read(reader)?, reader.uint()?))
}

fn read_fork(reader: &mut Reader<'_>) -> Result<(Origin, u64, u64), CborError> {
    reader.array_exact(3)?;
    Ok((Origin::read(reader)?, reader.uint()?, reader.uint()?))
}
