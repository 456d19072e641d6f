//! How a range names the history it is of: by places in a file's node table, or, on a link, by the number that the link gave it. SPEC §4.3, §7.3.

use crate::cbor::{CborError, Reader};
use crate::ids::Origin;
use crate::manifest::{NodeTable, WireOrigin};
use serde::ser::{Serialize, Serializer};

/// What a range's key 0 is written with and read by.
pub trait Logs {
    /// `origin` as it stands on the wire; `None` where it cannot be named.
    fn wire(&self, origin: &Origin) -> Option<WireLog>;

    /// The history that stands next in `reader`.
    ///
    /// # Errors
    /// [`CborError`].
    fn read(&self, reader: &mut Reader<'_>) -> Result<Origin, CborError>;
}

/// A history as a range names it.
#[derive(Clone, Copy, Debug)]
pub struct WireLog(Form);

#[derive(Clone, Copy, Debug)]
enum Form {
    Places(WireOrigin),
    Handle(u64),
    Whole(Origin),
}

impl Serialize for WireLog {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Places(origin) => origin.serialize(serializer),
            Form::Handle(handle) => handle.serialize(serializer),
            Form::Whole(origin) => origin.serialize(serializer),
        }
    }
}

impl Logs for NodeTable {
    fn wire(&self, origin: &Origin) -> Option<WireLog> {
        self.places(origin).map(|places| WireLog(Form::Places(places)))
    }

    fn read(&self, reader: &mut Reader<'_>) -> Result<Origin, CborError> {
        self.read_log(reader)
    }
}

/// The histories one end of a link has named so far, in that order: first those of its vector, then each that it named in a range. A history is
/// named whole once and by its number, from 0, ever after (R7.3-b).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTable(Vec<Origin>);

impl LogTable {
    /// The number of `origin`; the first, where both branches of a fork were told.
    pub fn handle(&self, origin: &Origin) -> Option<u64> {
        self.0.iter().position(|named| named == origin).map(|place| place as u64)
    }

    /// The history of this number.
    pub fn origin(&self, handle: u64) -> Option<Origin> {
        usize::try_from(handle).ok().and_then(|place| self.0.get(place)).copied()
    }

    /// Give the next number to an entry of a vector.
    pub fn push(&mut self, origin: Origin) {
        self.0.push(origin);
    }

    /// `origin` was named in a range: it has a number from now on.
    pub fn named(&mut self, origin: Origin) {
        if self.handle(&origin).is_none() {
            self.0.push(origin);
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was named yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Logs for LogTable {
    fn wire(&self, origin: &Origin) -> Option<WireLog> {
        Some(WireLog(self.handle(origin).map_or(Form::Whole(*origin), Form::Handle)))
    }

    fn read(&self, reader: &mut Reader<'_>) -> Result<Origin, CborError> {
        match reader.clone().uint() {
            Ok(handle) => {
                reader.uint()?;
                self.origin(handle).ok_or(CborError::Shape)
            }
            // Named whole, though it has a number: another spelling of the same, and there must be one only (R2.1).
            Err(_) => Origin::read(reader).and_then(|origin| if self.handle(&origin).is_some() { Err(CborError::Shape) } else { Ok(origin) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;
    use crate::ids::{Incarnation, Lane, NodeId};

    fn origin(node: u8) -> Origin {
        Origin { node: NodeId([node; 8]), incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: None }
    }

    #[test]
    fn a_history_is_named_whole_once_and_by_number_after() {
        let mut table = LogTable::default();
        assert!(table.is_empty());
        table.push(origin(1));
        assert!(!table.is_empty());
        let wire = |table: &LogTable, node| cbor::to_vec(&table.wire(&origin(node)));
        let read = |table: &LogTable, bytes: &[u8]| table.read(&mut Reader::new(bytes));
        assert_eq!(wire(&table, 1), [0]);
        let whole = wire(&table, 2);
        assert_eq!(read(&table, &whole), Ok(origin(2)));
        table.named(origin(2));
        assert_eq!(wire(&table, 2), [1]);
        assert_eq!(read(&table, &[1]), Ok(origin(2)));
        assert_eq!(read(&table, &whole), Err(CborError::Shape), "one value, one spelling");
        assert_eq!(read(&table, &[2]), Err(CborError::Shape), "a number nobody gave");
        table.named(origin(2));
        assert_eq!(table.len(), 2);
    }
}
