//! Conflicts that a hub has told this node of, which cannot see them itself. SPEC §11.3 (R11.3-f, R11.3-g).
//!
//! In: notices as they stand in the log. Out: those that are still so, one for a record. Invariants: only a hub is believed, and only about versions of ours
//! that are still heads here; what is shown of others' versions is what the notice holds. Not here: writing notices (`settling`).

use super::error::NodeError;
use super::projecting::Source;
use super::{Node, View};
use crate::ports::projection::{Projection, State, parse_id};
use bundle_format::event::Op;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, NodeId};
use data_encoding::BASE64;
use serde_json::Value;
use std::collections::BTreeSet;

/// Notices that are looked for at a time.
const NOTICES_AT_ONCE: u64 = 1000;
/// A notice holds 64 KiB of payloads, spelled as JSON.
const NOTICE_LEN_MAX: u64 = 1 << 20;
/// Own heads of a record among which the notice's are looked for.
const HEAD_COUNT_MAX: u64 = 100;

/// A record of which a hub says that it differs.
#[derive(Clone, Debug)]
pub struct Told {
    /// Which.
    pub record_key: String,
    /// Who says so.
    pub by: NodeId,
    /// When it was said, by that node's clock.
    pub hlc: Hlc,
    /// Versions of this node that are a part of it, and heads here still.
    pub yours: Vec<EventId>,
    /// How many others there are.
    pub others: u64,
    /// It has been decided, and not for what this node sees.
    pub decided: bool,
    /// All versions with what they say, where the hub's people want that.
    pub versions: Vec<Disclosed>,
}

/// A version as a notice shows it.
#[derive(Clone, Debug)]
pub struct Disclosed {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub kind: String,
    /// What it does: `put`, `delete` or `resolve`.
    pub op: Op,
    /// Its payload, if there was room; JSON comes back as the same value, not always as the same bytes.
    pub payload: Option<Vec<u8>>,
}

impl Source<'_> {
    /// What hubs tell, the newest first.
    fn told(&self, tables: &mut dyn Projection) -> Result<Vec<Told>, NodeError> {
        let hubs: Vec<NodeId> = self.roster.members().map(|member| member.node).filter(|node| self.roster.is_hub(node)).collect();
        let (mut keys, mut all, mut last) = (BTreeSet::new(), Vec::new(), None);
        loop {
            let notices = tables.notices(&self.me, &hubs, last, NOTICES_AT_ONCE)?;
            last = notices.last().copied();
            if last.is_none() {
                return Ok(all);
            }
            for (id, hlc) in notices {
                let Some(told) = self.readable_payload(&id, NOTICE_LEN_MAX)?.and_then(|payload| read(&payload, &id, hlc)) else { continue };
                if keys.insert(told.record_key.clone()) {
                    all.extend(still_so(tables, told)?);
                } // otherwise it is an older word about the same record
            }
        }
    }
}

/// What is told, as far as it is so here: a version of ours that is no head any more has been settled, or has a successor of which the hub will tell.
fn still_so(tables: &mut dyn Projection, told: Told) -> Result<Option<Told>, NodeError> {
    let heads = tables.heads(&told.record_key, HEAD_COUNT_MAX)?;
    let yours: Vec<EventId> = told.yours.iter().copied().filter(|id| heads.iter().any(|head| head.id == *id)).collect();
    let differs = tables.state(&told.record_key)?.is_some_and(State::differs);
    Ok((!yours.is_empty() && !differs).then_some(Told { yours, ..told }))
}

/// A notice; `None` when it is not what R11.3-f says.
fn read(payload: &[u8], id: &EventId, hlc: Hlc) -> Option<Told> {
    let told: Value = serde_json::from_slice(payload).ok()?;
    let yours = told.get("yours")?.as_array()?.iter().map(|id| parse_id(id.as_str()?)).collect::<Option<_>>()?;
    let versions = told.get("heads").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Some(Told {
        record_key: told.get("key")?.as_str()?.to_owned(),
        by: id.origin.node,
        hlc,
        yours,
        others: told.get("others")?.as_u64()?,
        decided: told.get("decided").is_some_and(|decided| *decided == Value::Bool(true)),
        versions: versions.iter().map(version).collect::<Option<_>>()?,
    })
}

fn version(told: &Value) -> Option<Disclosed> {
    let text = |name: &str| told.get(name).and_then(Value::as_str);
    let bytes = || text("payload_base64").and_then(|text| BASE64.decode(text.as_bytes()).ok());
    Some(Disclosed {
        id: parse_id(text("id")?)?,
        kind: text("type")?.to_owned(),
        op: [Op::Put, Op::Delete, Op::Resolve].into_iter().find(|op| Some(op.name()) == text("op"))?,
        payload: told.get("payload").map(|value| value.to_string().into_bytes()).or_else(bytes),
    })
}

impl View {
    /// Records of which a hub says that they differ; here they have one version, or several that say the same. `tables` must have caught up.
    ///
    /// # Errors
    /// What the log or the tables say.
    pub fn told(&self, tables: &mut dyn Projection) -> Result<Vec<Told>, NodeError> {
        self.source().told(tables)
    }
}

impl Node {
    /// As [`View::told`].
    ///
    /// # Errors
    /// The same.
    pub fn told(&self, tables: &mut dyn Projection) -> Result<Vec<Told>, NodeError> {
        self.source().told(tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::ids::{Incarnation, Lane, Origin};

    #[test]
    fn a_notice_that_is_none_is_passed_over() {
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Routine, audience: None };
        let id = EventId { origin, seq: 1, digest: [3; 8] };
        let text = crate::ports::projection::id_text(&id);
        let good = format!(r#"{{"key":"k","yours":["{text}"],"others":1,"heads":[{{"id":"{text}","type":"t","op":"put","payload":{{"a":1}}}}]}}"#);
        let told = read(good.as_bytes(), &id, Hlc(0)).unwrap();
        assert_eq!((told.yours, told.versions[0].payload.as_deref()), (vec![id], Some(&br#"{"a":1}"#[..])));
        for (from, to) in [("\"key\"", "\"k\""), ("@0", "@x"), ("\"put\"", "\"eat\""), (":1,\"heads", ":-1,\"heads"), ("{", "[")] {
            assert!(read(good.replacen(from, to, 1).as_bytes(), &id, Hlc(0)).is_none(), "{from}");
        }
    }
}
