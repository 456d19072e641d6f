//! Records in conflict: shown to a person, and settled by an event like any other, which travels back to those who wrote. SPEC §11.3.

use super::error::NodeError;
use super::payload;
use super::projecting::Source;
use super::{Node, View};
use crate::ports::projection::{Folded, Projection, State, Version};
use crate::ports::store::{StoreError, Stream};
use crate::push::{Fields, PushError, Pushed};
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::event::{Event, Op};
use bundle_format::ids::{EventId, Lane};
use bundle_format::limits::{PART_LEN, PAYLOAD_LEN_MAX};

/// What waits for its ancestors this long is shown as a conflict all the same: they may never come (R11.1-i).
pub const WAITING_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// One record that differs.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// Which.
    pub record_key: String,
    /// How it stands.
    pub folded: Folded,
    /// Its heads, the one displayed first.
    pub heads: Vec<Version>,
    /// Stamp of the older of its two newest heads, milliseconds since 1970: since when it differs.
    pub since_ms: u64,
}

/// How a person settles a conflict.
pub enum Resolution<'a> {
    /// One of the heads is right.
    Take(EventId),
    /// This is right.
    Merge(&'a [u8]),
}

fn conflict_of(tables: &mut dyn Projection, key: &str) -> Result<Option<Conflict>, NodeError> {
    let Some(folded) = tables.record(key)? else { return Ok(None) };
    let heads = tables.heads(key, u64::MAX)?;
    let since_ms = heads.get(1).map_or(0, |head| head.hlc.ms());
    Ok(Some(Conflict { record_key: key.to_owned(), folded, heads, since_ms }))
}

impl Source<'_> {
    /// The whole payload of an event, if it is not longer than `len_max`.
    pub(super) fn payload(&self, id: &EventId, len_max: u64) -> Result<Option<Vec<u8>>, NodeError> {
        for (stream, _) in self.log.streams().into_iter().filter(|(stream, _)| stream.origin == id.origin) {
            let mut events = self.log.events(&stream, id.seq)?;
            let Some((seq, bytes)) = events.next()? else { continue };
            if seq != id.seq || digest(bytes).first::<8>() != id.digest {
                continue;
            }
            let Ok(event) = Event::from_bytes(bytes) else { continue };
            let part_count = event.ext.part.map_or(1, |part| part.count);
            if part_count.saturating_mul(PART_LEN as u64) > len_max.saturating_add(PART_LEN as u64) {
                return Ok(None);
            }
            let mut whole = Vec::new();
            let all = payload::each_piece(self.log, &stream, seq, &event, |piece| {
                whole.extend_from_slice(piece);
                Ok::<_, StoreError>(())
            })?;
            return Ok(Some(whole).filter(|whole| all && whole.len() as u64 <= len_max));
        }
        Ok(None)
    }
}

impl View {
    /// Every record that differs: in conflict, and what has waited too long for what would explain it. `tables` must have caught up.
    ///
    /// # Errors
    /// What the tables say.
    pub fn conflicts(&self, tables: &mut dyn Projection) -> Result<Vec<Conflict>, NodeError> {
        let now_ms = self.ports.clock.now_ms();
        let mut all = Vec::new();
        for state in [State::Conflict, State::Pending] {
            for key in tables.records_in(state, None, u64::MAX)? {
                all.extend(conflict_of(tables, &key)?);
            }
        }
        all.retain(|conflict| conflict.folded.state == State::Conflict || conflict.since_ms.saturating_add(WAITING_MS_MAX) < now_ms);
        Ok(all)
    }

    /// How one record stands.
    ///
    /// # Errors
    /// Z412 when there is none of that key; what the tables say.
    pub fn conflict(&self, tables: &mut dyn Projection, key: &str) -> Result<Conflict, NodeError> {
        conflict_of(tables, key)?.ok_or_else(|| NodeError::refused(Code::Z412, key))
    }

    /// The whole payload of an event, up to 16 MiB; `None` when it is not held.
    ///
    /// # Errors
    /// What the log says.
    pub fn whole_payload(&self, id: &EventId) -> Result<Option<Vec<u8>>, NodeError> {
        self.source().payload(id, PAYLOAD_LEN_MAX as u64)
    }
}

impl Node {
    /// How one record stands, with at most `count_max` of its heads; `tables` must have caught up.
    ///
    /// # Errors
    /// Z412 when there is none of that key; what the tables say.
    pub fn record(&self, tables: &mut dyn Projection, key: &str, count_max: u64) -> Result<Conflict, NodeError> {
        let folded = tables.record(key)?.ok_or_else(|| NodeError::refused(Code::Z412, key))?;
        let heads = tables.heads(key, count_max)?;
        let since_ms = heads.get(1).map_or(0, |head| head.hlc.ms());
        Ok(Conflict { record_key: key.to_owned(), folded, heads, since_ms })
    }

    /// The whole payload of an event; `None` when it is not held, or longer than `len_max`.
    ///
    /// # Errors
    /// What the log says.
    pub fn payload_within(&self, id: &EventId, len_max: u64) -> Result<Option<Vec<u8>>, NodeError> {
        self.source().payload(id, len_max)
    }

    /// Settle the record of `key`: one event that has seen all heads, durably, for all who may see what we write, and once more for each writer of a
    /// head who may not (R11.3-b). `tables` must have caught up. Its ids.
    ///
    /// # Errors
    /// Z412 no such record, Z413 nothing to settle, or another event than a head was taken; what the log says.
    pub fn resolve(
        &mut self,
        tables: &mut dyn Projection,
        key: &str,
        resolution: &Resolution<'_>,
        author: Option<String>,
    ) -> Result<Vec<Pushed>, NodeError> {
        let conflict = conflict_of(tables, key)?.ok_or_else(|| NodeError::refused(Code::Z412, key))?;
        let (Some(shown), State::Conflict | State::Pending) = (conflict.heads.first(), conflict.folded.state) else {
            return Err(NodeError::refused(Code::Z413, format!("{key} is {}", conflict.folded.state.name())));
        };
        let (chosen, payload) = match resolution {
            Resolution::Take(id) => {
                let chosen = conflict.heads.iter().find(|head| head.id == *id);
                let chosen = chosen.ok_or_else(|| NodeError::refused(Code::Z413, format!("{} is no head of {key}", self.naming().event(id))))?;
                let payload =
                    self.source().payload(id, PAYLOAD_LEN_MAX as u64)?.ok_or_else(|| NodeError::refused(Code::Z405, self.naming().event(id)))?;
                (chosen, payload)
            }
            Resolution::Merge(payload) => (shown, payload.to_vec()),
        };
        let op = match (resolution, chosen.op) {
            (Resolution::Take(_), Op::Delete) => Op::Delete,
            _ => Op::Resolve,
        };
        let base = Some(conflict.folded.heads.clone());
        let fields = Fields { kind: chosen.kind.clone(), record_key: Some(key.to_owned()), base, author, op, ..Fields::default() };
        fields.check()?;
        let streams = self.resolution_streams(&conflict)?;
        let pushed = self.with_pusher(&streams, |pusher| {
            let pushed = pusher.push(&fields, payload.len() as u64, &mut payload.as_slice())?;
            pusher.sync()?;
            Ok::<_, PushError>(pushed)
        })?;
        Ok(pushed)
    }

    fn resolution_streams(&self, conflict: &Conflict) -> Result<Vec<Stream>, NodeError> {
        let mut streams = self.push_streams(Lane::Routine, &[])?;
        let ours = self.own_origin(Lane::Routine, None);
        let blind = |id: &EventId| {
            let node = id.origin.node;
            (node != self.keyring.node() && self.roster.member(&node).is_some() && !self.roster.may_see(&node, &ours)).then_some(node)
        };
        let writers: Vec<_> = conflict.folded.heads.iter().filter_map(blind).collect();
        if !writers.is_empty() {
            streams.extend(self.push_streams(Lane::Routine, &writers)?);
        }
        Ok(streams)
    }
}
