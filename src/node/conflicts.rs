//! Records in conflict: shown to a person, and settled by an event like any other, which travels back to those who wrote. SPEC §11.3.

use super::config::Disclose;
use super::error::NodeError;
use super::payload;
use super::projecting::Source;
use super::{Node, View};
use crate::ports::Ports;
use crate::ports::projection::{Folded, Projection, State, Version, id_text};
use crate::ports::store::{Log as _, Store as _, StoreError, Stream};
use crate::push::json::{fault, is_json_type};
use crate::push::{Fields, PushError, Pushed};
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::event::{Event, Op};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Hash, Lane, NodeId, hex};
use bundle_format::limits::{BASE_COUNT_MAX, PART_LEN, PAYLOAD_LEN_MAX};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// What waits for its ancestors this long is shown as a conflict all the same: they may never come (R11.1-i).
pub const WAITING_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// Keys in memory while all records that differ are told of.
const KEYS_AT_ONCE: u64 = 200;

/// One record that differs.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// Which.
    pub record_key: String,
    /// How it stands.
    pub folded: Folded,
    /// Its heads, the one displayed first: as many of them as were asked for.
    pub heads: Vec<Version>,
}

/// How a person settles a conflict.
pub enum Resolution<'a> {
    /// One of the heads is right.
    Take(EventId),
    /// This is right.
    Merge(&'a [u8]),
}

impl Conflict {
    /// Heads that were not asked for.
    pub fn more(&self) -> u64 {
        self.folded.head_count - self.heads.len() as u64
    }
}

/// How a record stands, with at most `count_max` of its heads: a key may have any number of them.
fn conflict_of(tables: &mut dyn Projection, key: &str, count_max: u64) -> Result<Option<Conflict>, NodeError> {
    let Some(folded) = tables.record(key, count_max)? else { return Ok(None) };
    let heads = tables.heads(key, count_max)?;
    Ok(Some(Conflict { record_key: key.to_owned(), folded, heads }))
}

/// A record whose heads differ since before this has waited long enough: since the stamp of the older of its two newest.
fn waited(ports: &Ports) -> Hlc {
    Hlc::default().tick(ports.clock.now_ms().saturating_sub(WAITING_MS_MAX))
}

fn count_conflicts(ports: &Ports, tables: &mut dyn Projection) -> Result<(u64, u64), NodeError> {
    let overdue = tables.count_overdue(waited(ports))?;
    Ok((tables.count_in(State::Conflict)? + overdue, tables.count_in(State::Pending)?.saturating_sub(overdue)))
}

/// Which heads a record has, all of them, in one number.
///
/// # Errors
/// What the tables say.
pub fn heads_digest(tables: &mut dyn Projection, key: &str) -> Result<Hash, NodeError> {
    let mut hasher = Sha256::new();
    tables.each_head(key, &mut |head| {
        hasher.update(id_text(&head).as_bytes());
        true
    })?;
    Ok(Hash(hasher.finalize().into()))
}

/// The same in eight hex digits, for people: who decides names by them what was shown.
///
/// # Errors
/// What the tables say.
pub fn seen(tables: &mut dyn Projection, key: &str) -> Result<String, NodeError> {
    Ok(hex(&heads_digest(tables, key)?.first::<4>()))
}

/// A content type as an event names it; `None` is `application/json`.
type Typed = Option<String>;

/// What can be shown of a version of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Its whole payload.
    Here(Vec<u8>),
    /// It has more bytes than there is room for.
    TooLong,
    /// It has rotted (R6.2-i): nobody takes it for empty, or decides without knowing that.
    Rotten,
}

impl Payload {
    /// Its bytes, if they are shown.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Here(payload) => Some(payload),
            Self::TooLong | Self::Rotten => None,
        }
    }

    /// How many these are.
    pub fn shown_len(&self) -> u64 {
        self.bytes().map_or(0, |payload| payload.len() as u64)
    }
}

impl Source<'_> {
    /// A version as it can be shown.
    fn shown(&self, id: &EventId, len_max: u64) -> Result<Payload, NodeError> {
        match self.payload(id, len_max) {
            Err(NodeError::Log(StoreError::Damaged { .. })) => Ok(Payload::Rotten),
            payload => Ok(payload?.map_or(Payload::TooLong, Payload::Here)),
        }
    }

    /// The whole payload of an event, if it is not longer than `len_max`, and has not rotted.
    pub(super) fn readable_payload(&self, id: &EventId, len_max: u64) -> Result<Option<Vec<u8>>, NodeError> {
        match self.shown(id, len_max)? {
            Payload::Here(payload) => Ok(Some(payload)),
            Payload::TooLong | Payload::Rotten => Ok(None),
        }
    }

    /// The whole payload of an event, if it is not longer than `len_max`.
    fn payload(&self, id: &EventId, len_max: u64) -> Result<Option<Vec<u8>>, NodeError> {
        let read = self.with_event(id, |stream, event| {
            let part_count = event.ext.part.map_or(1, |part| part.count);
            if part_count.saturating_mul(PART_LEN as u64) > len_max.saturating_add(PART_LEN as u64) {
                return Ok(None);
            }
            let mut whole = Vec::new();
            let all = payload::each_piece(self.log, stream, id.seq, event, |piece| {
                whole.extend_from_slice(piece);
                Ok::<_, StoreError>(())
            })?;
            Ok(Some(whole).filter(|whole| all && whole.len() as u64 <= len_max))
        });
        read.map(Option::flatten)
    }

    /// What `tell` makes of the event of that id, if it is held; of its first part, if there are several.
    fn with_event<T>(&self, id: &EventId, tell: impl FnOnce(&Stream, &Event<'_>) -> Result<T, NodeError>) -> Result<Option<T>, NodeError> {
        for (stream, _) in self.log.streams().into_iter().filter(|(stream, _)| stream.origin == id.origin) {
            let mut events = self.log.events(&stream, id.seq)?;
            let Some((seq, bytes)) = events.next()? else { continue };
            if seq != id.seq || digest(bytes).first::<8>() != id.digest {
                continue;
            }
            let Ok(event) = Event::from_bytes(bytes) else { continue };
            return tell(&stream, &event).map(Some);
        }
        Ok(None)
    }

    /// What the payload of a version is; `None` is of a version that has none, or that cannot be read here.
    fn content_type(&self, id: &EventId) -> Result<Option<Typed>, NodeError> {
        let said = |event: &Event<'_>| (event.ext.op != Op::Delete).then(|| event.ext.content_type.map(str::to_owned));
        match self.with_event(id, |_, event| Ok(said(event))) {
            Err(NodeError::Log(StoreError::Damaged { .. })) => Ok(None),
            found => found.map(Option::flatten),
        }
    }

    /// What a resolution is: where all versions are JSON, what was merged is, or it is refused (R11.3-i).
    fn resolved_type(&self, tables: &mut dyn Projection, key: &str, resolution: &Resolution<'_>) -> Result<Typed, NodeError> {
        let merged = match resolution {
            Resolution::Take(id) => return Ok(self.content_type(id)?.flatten()),
            Resolution::Merge(merged) => merged,
        };
        let (mut common, mut differ, mut are_json, mut failed) = (None::<Typed>, false, true, None);
        tables.each_head(key, &mut |head| {
            match self.content_type(&head) {
                Ok(Some(own)) => {
                    are_json &= is_json_type(own.as_deref());
                    differ |= *common.get_or_insert_with(|| own.clone()) != own;
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
            (are_json || !differ) && failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let common = common.flatten().filter(|_| !differ);
        match fault(*merged) {
            Ok(Some(fault)) if are_json && !merged.is_empty() => Err(NodeError::refused(Code::Z431, fault)), // what is empty is told as such
            Ok(None) => Ok(common.filter(|common| is_json_type(Some(common)))),
            _ => Ok(common),
        }
    }
}

impl View {
    /// Tell of every record that differs, with at most `count_max` of its heads: in conflict, and what has waited too long for what would explain it.
    /// `tables` must have caught up.
    ///
    /// # Errors
    /// What the tables say, and what `tell` does.
    pub fn each_conflict<E: From<NodeError>>(
        &self,
        tables: &mut dyn Projection,
        count_max: u64,
        mut tell: impl FnMut(Conflict) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after: Option<String> = None;
        loop {
            let keys = tables.open_conflicts(waited(&self.ports), after.as_deref(), KEYS_AT_ONCE).map_err(NodeError::from)?;
            let Some(last) = keys.last() else { return Ok(()) };
            after = Some(last.clone());
            for key in &keys {
                let Some(conflict) = conflict_of(tables, key, count_max)? else { continue };
                tell(conflict)?;
            }
        }
    }

    /// How many records are in conflict (R11.1-i), as [`View::each_conflict`] tells of them, and how many others wait for something.
    ///
    /// # Errors
    /// What the tables say.
    pub fn count_conflicts(&self, tables: &mut dyn Projection) -> Result<(u64, u64), NodeError> {
        count_conflicts(&self.ports, tables)
    }

    /// How one record stands, with at most `count_max` of its heads.
    ///
    /// # Errors
    /// Z412 when there is none of that key; what the tables say.
    pub fn conflict(&self, tables: &mut dyn Projection, key: &str, count_max: u64) -> Result<Conflict, NodeError> {
        conflict_of(tables, key, count_max)?.ok_or_else(|| NodeError::refused(Code::Z412, key))
    }

    /// The whole payload of an event, up to 16 MiB; `None` when it is not held.
    ///
    /// # Errors
    /// What the log says.
    pub fn whole_payload(&self, id: &EventId) -> Result<Option<Vec<u8>>, NodeError> {
        self.source().payload(id, PAYLOAD_LEN_MAX as u64)
    }

    /// A version as it can be shown, with no more than `len_max` bytes.
    ///
    /// # Errors
    /// What the log says.
    pub fn shown(&self, id: &EventId, len_max: u64) -> Result<Payload, NodeError> {
        self.source().shown(id, len_max)
    }
}

impl Node {
    /// How one record stands, with at most `count_max` of its heads; `tables` must have caught up.
    ///
    /// # Errors
    /// Z412 when there is none of that key; what the tables say.
    pub fn record(&self, tables: &mut dyn Projection, key: &str, count_max: u64) -> Result<Conflict, NodeError> {
        conflict_of(tables, key, count_max)?.ok_or_else(|| NodeError::refused(Code::Z412, key))
    }

    /// Keys of records in conflict (R11.1-i), sorted, behind `after`, at most `count_max`.
    ///
    /// # Errors
    /// What the tables say.
    pub fn open_conflicts(&self, tables: &mut dyn Projection, after: Option<&str>, count_max: u64) -> Result<Vec<String>, NodeError> {
        Ok(tables.open_conflicts(waited(&self.ports), after, count_max)?)
    }

    /// How many of those there are, and how many other records wait for something.
    ///
    /// # Errors
    /// What the tables say.
    pub fn count_conflicts(&self, tables: &mut dyn Projection) -> Result<(u64, u64), NodeError> {
        count_conflicts(&self.ports, tables)
    }

    /// A version as it can be shown, with no more than `len_max` bytes.
    ///
    /// # Errors
    /// What the log says.
    pub fn shown(&self, id: &EventId, len_max: u64) -> Result<Payload, NodeError> {
        self.source().shown(id, len_max)
    }

    /// Settle the record of `key`: one event that has seen all heads, durably, for all who may see what we write, and once more for each writer of a
    /// head who may not, as far as that writer may know of it (R11.3-b). More heads than one event can name are settled by several, each of which has seen
    /// the one before. `tables` must have caught up. The ids of the last ones.
    ///
    /// # Errors
    /// Z412 no such record, Z413 nothing to settle, or another event than a head was taken; Z431 nothing was merged, or no JSON where all versions are; what the log says.
    pub fn resolve(
        &mut self,
        tables: &mut dyn Projection,
        key: &str,
        resolution: &Resolution<'_>,
        author: Option<String>,
    ) -> Result<Vec<Pushed>, NodeError> {
        let conflict = conflict_of(tables, key, BASE_COUNT_MAX as u64)?.ok_or_else(|| NodeError::refused(Code::Z412, key))?;
        let (Some(shown), State::Conflict | State::Pending | State::Appended) = (conflict.heads.first(), conflict.folded.state) else {
            return Err(NodeError::refused(Code::Z413, format!("{key} is {}", conflict.folded.state.name())));
        };
        let taken;
        let (chosen, payload) = match resolution {
            Resolution::Take(id) => {
                let mut is_head = false;
                tables.each_head(key, &mut |head| {
                    is_head = head == *id;
                    !is_head
                })?;
                let version = if is_head { tables.version(key, id)? } else { None };
                taken = version.ok_or_else(|| NodeError::refused(Code::Z413, format!("{} is no head of {key}", self.naming().event(id))))?;
                let payload =
                    self.source().payload(id, PAYLOAD_LEN_MAX as u64)?.ok_or_else(|| NodeError::refused(Code::Z405, self.naming().event(id)))?;
                (&taken, payload)
            }
            Resolution::Merge(payload) => (shown, payload.to_vec()),
        };
        let op = match (resolution, chosen.op) {
            (Resolution::Take(_), Op::Delete) => Op::Delete,
            _ => Op::Resolve,
        };
        let content_type = self.source().resolved_type(tables, key, resolution)?;
        let fields = Fields { kind: chosen.kind.clone(), record_key: Some(key.to_owned()), content_type, author, op, ..Fields::default() };
        fields.check()?;
        if matches!(resolution, Resolution::Merge(_)) {
            fields.check_len(payload.len() as u64)?;
        }
        let disclose = self.config().unwrap_or_default().conflicts.disclose; // what does not read sets nothing
        let own = self.push_streams(Lane::Routine, &[])?;
        let mut resolved = self.resolve_in(tables, &own, &fields, &payload, None)?;
        let mut untold = BTreeSet::new();
        for writer in self.blind_writers(tables, key)? {
            let reader = Some(writer).filter(|_| disclose == Disclose::Notice);
            let is_disclosed = match resolution {
                Resolution::Take(id) => self.is_seen_by(reader, id),
                Resolution::Merge(_) => reader.is_none(), // anybody's words may be in it
            };
            if is_disclosed {
                let directed = self.push_streams(Lane::Routine, &[writer])?;
                resolved.extend(self.resolve_in(tables, &directed, &fields, &payload, reader)?);
            } else {
                untold.insert(writer);
            }
        }
        self.wal.sync()?;
        self.tell_decided(tables, &conflict, &untold)?;
        Ok(resolved)
    }

    /// Whether `reader` may be told of the event of that id; nobody in particular may.
    fn is_seen_by(&self, reader: Option<NodeId>, id: &EventId) -> bool {
        reader.is_none_or(|reader| self.roster.may_see(&reader, &id.origin))
    }

    fn write(&mut self, streams: &[Stream], fields: &Fields, payload: &[u8]) -> Result<Vec<Pushed>, NodeError> {
        let pushed = self.with_pusher(streams, |pusher| {
            let pushed = pusher.push(fields, payload.len() as u64, &mut &*payload)?;
            pusher.flush()?;
            Ok::<_, PushError>(pushed)
        })?;
        Ok(pushed)
    }

    /// A resolution in one history, of several events if it takes them: the last of them. Its base is what `reader` may know of the heads.
    fn resolve_in(
        &mut self,
        tables: &mut dyn Projection,
        streams: &[Stream],
        fields: &Fields,
        payload: &[u8],
        reader: Option<NodeId>,
    ) -> Result<Vec<Pushed>, NodeError> {
        let (mut base, mut last, mut failed) = (Vec::new(), Vec::new(), None);
        let key = fields.record_key.as_deref().unwrap_or_default();
        tables.each_head(key, &mut |head| {
            base.extend(self.is_seen_by(reader, &head).then_some(head));
            if base.len() == BASE_COUNT_MAX {
                let written = self.write(streams, &Fields { base: Some(std::mem::take(&mut base)), ..fields.clone() }, payload);
                match written.and_then(|pushed| Ok((self.id_of(&pushed)?, pushed))) {
                    Ok((id, pushed)) => (base, last) = (vec![id], pushed),
                    Err(error) => failed = Some(error),
                }
            }
            failed.is_none()
        })?;
        match failed {
            Some(error) => Err(error),
            None if last.is_empty() || base.len() > 1 => self.write(streams, &Fields { base: Some(base), ..fields.clone() }, payload),
            None => Ok(last),
        }
    }

    /// The id of what was just pushed.
    fn id_of(&self, pushed: &[Pushed]) -> Result<EventId, NodeError> {
        let (stream, seq) = pushed.first().ok_or_else(|| NodeError::refused(Code::Z405, "nothing was pushed"))?;
        let mut events = self.wal.events(stream, *seq)?;
        let found = events.next()?.map(|(_, bytes)| EventId::new(stream.origin, *seq, &digest(bytes)));
        found.ok_or_else(|| NodeError::refused(Code::Z405, "what was just pushed"))
    }

    /// Who wrote a head and may not see what we write for all. Who is revoked is sent nothing.
    fn blind_writers(&self, tables: &mut dyn Projection, key: &str) -> Result<BTreeSet<NodeId>, NodeError> {
        let ours = self.own_origin(Lane::Routine, None);
        let mut writers = BTreeSet::new();
        tables.each_head(key, &mut |head| {
            writers.insert(head.origin.node);
            true
        })?;
        writers.retain(|node| self.roster.member(node).is_some_and(|member| !member.is_revoked()) && !self.roster.may_see(node, &ours));
        Ok(writers)
    }
}
