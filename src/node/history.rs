//! History that primed ranges build on, read from the log.

use crate::ports::store::{Log, StoreError, Stream};
use bundle_format::ids::Origin;
use bundle_format::limits::PREFIX_LEN_MAX;
use bundle_format::trust::History;
use std::io;

/// Lends history out of a log.
pub struct LogHistory<'a>(pub &'a dyn Log);

impl History for LogHistory<'_> {
    fn prefix(&mut self, origin: &Origin, first: u64, count: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut events = self.0.events(&Stream::main(*origin), first).map_err(io::Error::other)?;
        for _ in 0..count {
            match events.next() {
                Ok(Some((_, event))) if bytes.len() + event.len() <= PREFIX_LEN_MAX => bytes.extend_from_slice(event),
                Ok(_) | Err(StoreError::Damaged { .. }) => return Ok(None),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(Some(bytes))
    }
}
