//! Records as they stand, and those that differ. What is told has been made durable first; the tables are brought up to the log, so that whoever pushed
//! reads what he wrote.

use super::answer::{Answer, Problem, json};
use super::object::Object;
use super::routes::{decode, query};
use super::server::Hub;
use super::telling::date;
use crate::node::conflicts::{Conflict, Payload};
use crate::node::told::Told;
use crate::node::{Node, NodeError};
use crate::ports::projection::{State, Version};
use bundle_format::error::Code;
use data_encoding::BASE64;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use std::rc::Rc;

/// Heads of one record that are told; `head_count` says how many there are.
const HEAD_COUNT_MAX: u64 = 100;
/// Payload bytes in one response; what has no room is fetched from `/v1/events`.
const PAYLOAD_LEN_MAX: u64 = 1 << 20;
/// Heads of each record of a list.
const LISTED_HEAD_COUNT_MAX: u64 = 8;
/// Records of a list, unless told otherwise and at most.
const LIMIT: u64 = 100;
/// As [`LIMIT`].
const LIMIT_MAX: u64 = 1000;

/// `GET /v1/records/{key}`.
///
/// # Errors
/// Z412, Z433; what the log or the tables say.
pub async fn record(hub: &Rc<Hub>, request: &Request<Incoming>, spelled: &str) -> Result<Answer, Problem> {
    query(request, &[])?;
    let key = decode(spelled, false).ok_or_else(|| Problem::new(Code::Z433, format!("{spelled:?} is not spelled right")))?;
    hub.catch_up().await?;
    let told = hub.standing.with(|node| {
        hub.tables.with(|tables| {
            node.project_on(tables)?;
            let record = node.record(tables, &key, HEAD_COUNT_MAX)?;
            let (mut left, mut heads) = (PAYLOAD_LEN_MAX, Vec::new());
            for head in &record.heads {
                let shown = node.shown(&head.id, left)?;
                left -= shown.shown_len();
                heads.push(with_payload(version(node, head), shown));
            }
            Ok(about(node, &record).with_objects("heads", heads.into_iter()))
        })
    });
    let told = told.await?;
    hub.standing.durable().await?;
    Ok(json(StatusCode::OK, told))
}

/// `GET /v1/conflicts`.
///
/// # Errors
/// Z433; what the log or the tables say.
pub async fn conflicts(hub: &Rc<Hub>, request: &Request<Incoming>) -> Result<Answer, Problem> {
    let (mut state, mut after, mut limit) = (State::Conflict, None, LIMIT);
    for (name, value) in query(request, &["state", "after", "limit"])? {
        let understood = match name.as_str() {
            "state" => State::from_name(&value).map(|named| state = named),
            "limit" => value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).map(|number| limit = number),
            _ => {
                after = Some(value.clone());
                Some(())
            }
        };
        understood.ok_or_else(|| Problem::new(Code::Z433, format!("{name} {value:?}")))?;
    }
    hub.catch_up().await?;
    let told = hub.standing.with(|node| {
        hub.tables.with(|tables| {
            node.project_on(tables)?;
            let keys = match state {
                State::Conflict => node.open_conflicts(tables, after.as_deref(), limit + 1)?,
                state => tables.records_in(state, after.as_deref(), limit + 1)?,
            };
            let more = keys.len() as u64 > limit;
            let mut all = Vec::new();
            for key in keys.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
                let record = node.record(tables, key, LISTED_HEAD_COUNT_MAX)?;
                all.push(about(node, &record).with_objects("heads", record.heads.iter().map(|head| version(node, head))));
            }
            let next = keys.get(all.len().saturating_sub(1)).filter(|_| more);
            let count = if state == State::Conflict { node.count_conflicts(tables)?.0 } else { tables.count_in(state)? };
            let told = Object::empty().with("count", count).with("next", next);
            let told = told.with_objects("records", all.into_iter());
            if state != State::Conflict || after.is_some() {
                return Ok(told);
            }
            Ok(told.with_objects("told", node.told(tables)?.iter().map(|told| said(node, told))))
        })
    });
    let told = told.await?;
    hub.standing.durable().await?;
    Ok(json(StatusCode::OK, told))
}

/// What a hub says of a record whose other versions are not here; what it discloses of them stands in its event.
fn said(node: &Node, told: &Told) -> Object {
    let yours: Vec<String> = told.yours.iter().map(|id| node.naming().event(id)).collect();
    let object = Object::empty().with("key", &told.record_key).with("by", node.naming().node(&told.by)).with("time", date(told.hlc.ms()));
    object.with("yours", yours).with("others", told.others).with("decided", told.decided).with("disclosed", told.versions.len())
}

fn about(node: &Node, record: &Conflict) -> Object {
    let waiting: Vec<String> = record.folded.waiting.iter().map(|id| node.naming().event(id)).collect();
    let object = Object::empty().with("key", &record.record_key).with("state", record.folded.state.name());
    object.with("head_count", record.folded.head_count).with("waiting", waiting)
}

fn version(node: &Node, head: &Version) -> Object {
    let object = Object::empty().with("id", node.naming().event(&head.id)).with("node", node.naming().node(&head.id.origin.node));
    let object = object.with("time", date(head.hlc.ms())).with("type", &head.kind).with("op", head.op.name());
    object.with("author", head.author.as_deref()).with("sha256", head.sha256.to_string())
}

fn with_payload(object: Object, shown: Payload) -> Object {
    match shown {
        Payload::TooLong => object,
        Payload::Rotten => object.with("rotten", true),
        Payload::Here(payload) => match String::from_utf8(payload) {
            Ok(text) => object.with("payload", text),
            Err(bytes) => object.with("payload_base64", BASE64.encode(bytes.as_bytes())),
        },
    }
}

/// How many records are in conflict, and how many wait.
pub(super) fn counts(hub: &Hub, node: &Node) -> Result<(u64, u64), NodeError> {
    hub.tables.with(|tables| node.count_conflicts(tables))
}
