//! History that primed ranges build on, read from the log.

use crate::ports::store::{Log, StoreError, Stream};
use bundle_format::ids::Origin;
use bundle_format::limits::PREFIX_LEN_MAX;

/// The bytes of events `first .. first + count` of `origin`, one after the other; `None` when they are not held, or are more than a range may build on.
///
/// # Errors
/// When the log cannot be read.
pub fn prefix(log: &dyn Log, origin: &Origin, first: u64, count: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let mut bytes = Vec::new();
    let mut events = log.events(&Stream::main(*origin), first)?;
    for _ in 0..count {
        match events.next() {
            Ok(Some((_, event))) if bytes.len() + event.len() <= PREFIX_LEN_MAX => bytes.extend_from_slice(event),
            Ok(_) | Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bytes))
}
