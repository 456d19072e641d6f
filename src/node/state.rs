//! What a node must remember beside its log: the number of its last receipt, the lives it has not settled yet, what settled forks.

use super::forks::Closed;
use super::record::{self, RecordError};
use crate::ports::disk::Disk;
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
    /// How many holes of the log were answered (R6.6-f); not known from a file of an earlier version: then all that were put aside.
    pub holes_answered: Option<u64>,
}

impl State {
    fn to_bytes(&self) -> Vec<u8> {
        let lives: Vec<_> = self.open_lives.iter().map(|life| Bytes(&life.0)).collect();
        let Self { receipt_number, alive_due, alive_ms, closed: Closed { origins, forks }, repeated, .. } = self;
        match self.holes_answered {
            Some(holes) => cbor::to_vec(&(receipt_number, lives, alive_due, alive_ms, origins, forks, repeated, holes)),
            None => cbor::to_vec(&(receipt_number, lives, alive_due, alive_ms, origins, forks, repeated)), // else none would be said to be answered
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let reader = &mut Reader::new(bytes);
        let count = reader.array()?;
        let receipt_number = reader.uint()?;
        let open_lives = (0..reader.array()?).map(|_| reader.bytes_exact().map(Incarnation)).collect::<Result<_, _>>()?;
        let (alive_due, alive_ms) = (reader.boolean()?, reader.uint()?);
        let origins = (0..reader.array()?).map(|_| read_origin(reader)).collect::<Result<_, _>>()?;
        let forks = (0..reader.array()?).map(|_| read_fork(reader)).collect::<Result<_, _>>()?;
        let repeated = (0..reader.array()?).map(|_| read_origin(reader)).collect::<Result<_, _>>()?;
        let holes_answered = match count {
            7 => None,
            8 => Some(reader.uint()?),
            _ => return Err(CborError::Shape),
        };
        let state = Self { receipt_number, open_lives, alive_due, alive_ms, closed: Closed { origins, forks }, repeated, holes_answered };
        reader.finish()?;
        Ok(state)
    }

    /// How far a history of ours that ends at `end` is to get to others: what was written again in a later life is not under its old numbers, nor what
    /// stands behind the place where a life was closed.
    pub fn due_to(&self, origin: &Origin, end: u64) -> u64 {
        if self.open_lives.contains(&origin.incarnation) {
            return end;
        }
        let last = |told: &[(Origin, u64)]| told.iter().filter(|(of, _)| of == origin).map(|(_, seq)| *seq).max();
        last(&self.repeated).or_else(|| last(&self.closed.origins)).map_or(end, |last| end.min(last))
    }

    /// Read the file; `None` when there is none.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn load(disk: &dyn Disk, path: &Path) -> Result<Option<Self>, RecordError> {
        record::load(disk, path, Self::from_bytes)
    }

    /// Write the file durably.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn save(&self, disk: &dyn Disk, path: &Path) -> Result<(), RecordError> {
        record::save(disk, path, &self.to_bytes())
    }
}

fn read_origin(reader: &mut Reader<'_>) -> Result<(Origin, u64), CborError> {
    reader.array_exact(2)?;
    Ok((Origin::read(reader)?, reader.uint()?))
}

fn read_fork(reader: &mut Reader<'_>) -> Result<(Origin, u64, u64), CborError> {
    reader.array_exact(3)?;
    Ok((Origin::read(reader)?, reader.uint()?, reader.uint()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::MemoryDisk;

    /// R6.6-f. Who begins a new life before the holes were counted saves what an earlier version left: none were said to be answered by that, and the next
    /// opening began another life for nothing.
    #[test]
    fn what_is_not_known_of_holes_is_not_said_to_be_none() {
        let (disk, path) = (MemoryDisk::new(), Path::new("/state"));
        for holes_answered in [None, Some(0), Some(3)] {
            let state = State { receipt_number: 4, open_lives: vec![Incarnation([2; 4])], holes_answered, ..State::default() };
            state.save(&disk, path).unwrap();
            assert_eq!(State::load(&disk, path).unwrap(), Some(state));
        }
    }
}
