//! The same push again: the same event, not another one. SPEC §11.1 (R11.1-f).

use super::Node;
use super::error::NodeError;
use super::payload;
use crate::ports::projection::Projection;
use crate::ports::store::{Log as _, StoreError, Stream};
use crate::push::{Fields, Pushed};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::Hash;
use std::collections::BTreeMap;

/// What is left to do of a push that has a key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Stored before, where it counts (R8.3-h): anything else would be told as stored, and be nowhere.
    pub stored: Vec<Pushed>,
    /// Where it is not yet: everywhere, or what a power cut left out, which was never acknowledged.
    pub missing: Vec<Stream>,
}

/// An event that was stored before.
struct Stored {
    bytes: Vec<u8>,
    /// Of the whole payload, if all of it is there.
    sha256: Option<Hash>,
}

impl Node {
    /// What a push with an idempotency key to `streams` finds done. `sha256` is of its payload. `tables` are brought up to the log first, so that no
    /// loss of theirs can make a push happen twice. Without a key everything is missing.
    ///
    /// # Errors
    /// Z414 when the key was used for something else; what the log or the tables say.
    pub fn repeated(&self, tables: &mut dyn Projection, streams: &[Stream], fields: &Fields, sha256: &Hash) -> Result<Repeated, NodeError> {
        if fields.idempotency_key.is_some() {
            self.project(tables, false)?;
        }
        self.repeated_in(tables, streams, fields, sha256)
    }

    /// The same of `tables` that were brought up to the log in this turn: one of many pushes.
    ///
    /// # Errors
    /// As [`Node::repeated`].
    pub fn repeated_in(&self, tables: &mut dyn Projection, streams: &[Stream], fields: &Fields, sha256: &Hash) -> Result<Repeated, NodeError> {
        let Some(key) = &fields.idempotency_key else { return Ok(Repeated { stored: Vec::new(), missing: streams.to_vec() }) };
        let place = |stream: &Stream| (stream.origin.lane, stream.origin.audience);
        let mut found = BTreeMap::new();
        for (stream, id) in tables.pushed_as(&self.keyring.node(), key)? {
            let stored = match self.stored_as(&stream, id.seq) {
                Err(StoreError::Damaged { .. }) => continue, // it rotted: what is pushed once more is all there is of it
                stored => stored?,
            };
            let Some(stored) = stored else { continue };
            let Ok(event) = Event::from_bytes(&stored.bytes) else { continue };
            let same = is_same(fields, &event) && streams.iter().any(|wanted| place(wanted) == place(&stream)) && stored.sha256 == Some(*sha256);
            if !same {
                return Err(NodeError::refused(Code::Z414, format!("{key:?} is {}", self.naming().event(&id))));
            }
            // A repetition after a loss has the key of what it repeats; the first id is the one that was told.
            let first = found.entry(place(&stream)).or_insert((event.ext.orig.is_some(), (stream, id.seq)));
            *first = (*first).min((event.ext.orig.is_some(), (stream, id.seq)));
        }
        let stored = streams.iter().filter_map(|stream| found.get(&place(stream)).map(|(_, pushed)| *pushed)).collect();
        let missing = streams.iter().filter(|stream| !found.contains_key(&place(stream))).copied().collect();
        Ok(Repeated { stored, missing })
    }

    /// The event at `seq`, where a payload begins.
    fn stored_as(&self, stream: &Stream, seq: u64) -> Result<Option<Stored>, StoreError> {
        let Some(bytes) = self.wal.events(stream, seq)?.next()?.map(|(_, bytes)| bytes.to_vec()) else { return Ok(None) };
        let Ok(event) = Event::from_bytes(&bytes) else { return Ok(None) };
        let sha256 = payload::facts(&self.wal, stream, seq, &event)?.map(|facts| facts.sha256);
        Ok(Some(Stored { bytes, sha256 }))
    }
}

/// Base and stamp are not compared: who tries again may have seen more by then.
fn is_same(fields: &Fields, event: &Event<'_>) -> bool {
    let ext = &event.ext;
    event.kind == fields.kind
        && ext.record_key == fields.record_key.as_deref()
        && ext.content_type == fields.content_type.as_deref()
        && ext.author == fields.author.as_deref()
        && ext.op == fields.op
}
