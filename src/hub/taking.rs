//! Events in. A body is one payload, or lines of JSON each of which is one; it is read and checked whole before anything of it is stored, and the
//! answer comes after the sync that covers it (R10.13-a, R10.13-b).

use super::answer::{Answer, Problem, json};
use super::object::Object;
use super::routes::query;
use super::server::Hub;
use crate::node::idempotency::Repeated;
use crate::node::local::About;
use crate::node::pushing::Intent;
use crate::node::{Node, NodeError};
use crate::ports::projection::Projection;
use crate::ports::store::Stream;
use crate::push::spool::Spool;
use crate::push::{Fields, PushError, json as spelling};
use bundle_format::error::Code;
use bundle_format::ids::Hash;
use bundle_format::limits::PAYLOAD_LEN_MAX;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode};
use sha2::{Digest as _, Sha256};
use std::future::poll_fn;
use std::io::{self, BufRead, BufReader, Read as _};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// The content type of lines.
const LINES: &str = "application/x-ndjson";
/// The content type of a body that names none.
const JSON: &str = "application/json";
/// One line of many is held in memory; a larger payload is sent alone.
const LINE_LEN_MAX: usize = 256 * 1024;
/// Lines of one body: their ids are answered together.
const LINE_COUNT_MAX: u64 = 10_000;
/// Silence in the middle of a body after which it is given up.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// `POST /v1/events`.
///
/// # Errors
/// [`Problem`]; then nothing was stored, unless the disk failed: then it is not known.
pub async fn take(hub: &Rc<Hub>, request: Request<Incoming>) -> Result<Answer, Problem> {
    let (about, is_lines) = about(&request)?;
    let permit = hub.body()?;
    // A wrong name is told before the body is read.
    let (fields, skew) = hub.standing.with(|node| node.intend(&about).map(|intent| (intent.fields, node.skew()))).await?;
    let body = receive(hub, request.into_body()).await?;
    if is_lines {
        each_line(&body, |line, text| {
            let of_this = |problem| Problem { line: Some(line), ..problem };
            of_line(&fields, line).check().map_err(|error| of_this(NodeError::from(error).into()))?; // its key is longer than the request's
            match &hub.schema {
                _ if !spelling::is_json(text) => {
                    Err(Problem::at(Code::Z431, line, spelling::fault_in_line(text).map_err(broken)?.unwrap_or_default()))
                }
                Some(schema) => schema.check(text).map_err(|violation| of_this(violation.into())),
                None => Ok(()),
            }
        })?;
    } else if spelling::is_json_type(about.content_type.as_deref())
        && let Some(fault) = spelling::fault(body.read()).map_err(broken)?
    {
        return Err(Problem::new(Code::Z431, fault));
    } else if let Some(schema) = &hub.schema {
        schema.check_in(&body)?;
    }
    let once = about.idempotency_key.is_some();
    if once {
        hub.catch_up().await?; // so that little is left to do in the turn of the push
    }
    let stored = hub.standing.with(|node| {
        let intent = node.intend(&about)?;
        let streams = node.push_streams(intent.lane, &intent.audiences)?;
        if once {
            return hub.tables.with(|tables| take_once(node, tables, &intent, &streams, &body, is_lines));
        }
        let stored = node
            .with_pusher(&streams, |pusher| {
                let mut stored = Vec::new();
                if is_lines {
                    each_line(&body, |line, mut text| {
                        let fields = of_line(&intent.fields, line);
                        stored.push((line, pusher.push(&fields, text.len() as u64, &mut text)?));
                        Ok::<_, PushError>(())
                    })?;
                } else {
                    stored.push((0, pusher.push(&intent.fields, body.len(), &mut body.read())?));
                }
                pusher.flush()?;
                Ok::<_, PushError>(stored)
            })
            .map_err(NodeError::from)?;
        Ok(stored.into_iter().map(|(line, events)| Stored { line, ids: node.pushed_ids(&events), replayed: false }).collect::<Vec<_>>())
    });
    let stored = stored.await?;
    hub.standing.durable().await?;
    drop(permit);
    let object = if is_lines {
        let events = stored.iter().map(|stored| named(Object::empty().with("line", stored.line), stored, once));
        Object::empty().with("stored", stored.len()).with_objects("events", events)
    } else {
        stored.first().map_or_else(Object::empty, |stored| named(Object::empty(), stored, once))
    };
    Ok(json(StatusCode::CREATED, object.with_some("warning", skew.map(|_| Code::Z305.as_str()))))
}

/// The id, and all of them when there are several: one per node it is for.
fn named(object: Object, stored: &Stored, once: bool) -> Object {
    let ids = &stored.ids;
    let object = object.with_some("id", ids.first()).with_some("ids", Some(ids).filter(|ids| ids.len() > 1));
    object.with_some("replayed", once.then_some(stored.replayed))
}

/// One payload of the body, and where it stands now.
struct Stored {
    line: u64,
    ids: Vec<String>,
    /// It stood there before.
    replayed: bool,
}

/// Store what is not stored yet under its key (R11.1-f). Everything is compared before anything is stored.
fn take_once(
    node: &mut Node,
    tables: &mut dyn Projection,
    intent: &Intent,
    streams: &[Stream],
    body: &Spool,
    is_lines: bool,
) -> Result<Vec<Stored>, NodeError> {
    let mut before = Vec::new();
    node.project(tables, false)?;
    if is_lines {
        each_line(body, |line, text| {
            let fields = of_line(&intent.fields, line);
            before.push(node.repeated_in(tables, streams, &fields, &Hash(Sha256::digest(text).into()))?);
            Ok::<_, NodeError>(())
        })?;
    } else {
        before.push(node.repeated_in(tables, streams, &intent.fields, &sha256(body)?)?);
    }
    let (mut before, mut all) = (before.into_iter(), Vec::new());
    let mut store = |line: u64, fields: &Fields, len: u64, payload: &mut dyn io::Read| {
        let Repeated { mut stored, missing } = before.next().unwrap_or_else(|| Repeated { stored: Vec::new(), missing: streams.to_vec() });
        let replayed = missing.is_empty();
        if !replayed {
            stored.extend(node.with_pusher(&missing, |pusher| {
                let pushed = pusher.push(fields, len, payload)?;
                pusher.flush().map(|()| pushed)
            })?);
        }
        all.push(Stored { line, ids: node.pushed_ids(&stored), replayed });
        Ok::<_, NodeError>(())
    };
    if is_lines {
        each_line(body, |line, mut text| store(line, &of_line(&intent.fields, line), text.len() as u64, &mut text))?;
    } else {
        store(0, &intent.fields, body.len(), &mut body.read())?;
    }
    Ok(all)
}

fn sha256(body: &Spool) -> Result<Hash, NodeError> {
    let (mut sha, mut input, mut piece) = (Sha256::new(), body.read(), [0; 4096]);
    loop {
        match input.read(&mut piece).map_err(|error| NodeError::from(PushError::Spool(error)))? {
            0 => return Ok(Hash(sha.finalize().into())),
            len => sha.update(piece.get(..len).unwrap_or_default()),
        }
    }
}

/// Each line under a key of its own.
fn of_line(fields: &Fields, line: u64) -> Fields {
    let idempotency_key = fields.idempotency_key.as_ref().map(|key| format!("{key}/{line}"));
    Fields { idempotency_key, ..fields.clone() }
}

/// What the request says of the events, and whether its body is lines.
fn about(request: &Request<Incoming>) -> Result<(About, bool), Problem> {
    let mut about = About { lane: "routine".to_owned(), kind: "record".to_owned(), ..About::default() };
    for (name, value) in query(request, &["lane", "type", "key", "base", "author", "to"])? {
        match name.as_str() {
            "lane" => about.lane = value,
            "type" => about.kind = value,
            "key" => about.record_key = Some(value),
            "author" => about.author = Some(value),
            "to" => about.audiences.push(value),
            _ if value == "none" => about.base = Some(Vec::new()),
            _ => about.base.get_or_insert_default().push(value),
        }
    }
    let header = |name: &str| {
        if request.headers().get_all(name).iter().count() > 1 {
            return Err(Problem::new(Code::Z433, format!("{name} stands there twice: which one?")));
        }
        let value = request.headers().get(name).map(|value| value.to_str());
        value.transpose().map_err(|_| Problem::new(Code::Z433, format!("{name} is not ASCII"))).map(|value| value.map(str::to_owned))
    };
    about.idempotency_key = header("idempotency-key")?;
    let kind = header(CONTENT_TYPE.as_str())?;
    let is_lines = kind.as_deref().is_some_and(|kind| spelling::essence(kind) == LINES);
    about.content_type = kind.filter(|kind| !is_lines && kind != JSON); // JSON is what an event without a type is
    Ok((about, is_lines))
}

/// All of a body, however large it may be.
pub(super) async fn receive(hub: &Hub, mut body: Incoming) -> Result<Spool, Problem> {
    let mut spool = Spool::new(&hub.ports, &hub.data_dir);
    loop {
        let frame = timeout(BODY_WAIT, poll_fn(|context| Pin::new(&mut body).poll_frame(context))).await;
        let frame = match frame.map_err(|_| Problem::new(Code::Z433, "the body stopped in its middle"))? {
            None => return Ok(spool),
            Some(frame) => frame.map_err(|error| Problem::new(Code::Z433, format!("the body cannot be read: {error}")))?,
        };
        let Ok(bytes) = frame.into_data() else { continue }; // trailers
        if spool.len() + bytes.len() as u64 > PAYLOAD_LEN_MAX as u64 {
            return Err(Problem::new(Code::Z401, format!("a body holds at most {PAYLOAD_LEN_MAX} bytes")));
        }
        spool.write(&bytes).map_err(|error| Problem::from(NodeError::from(PushError::Spool(error))))?;
    }
}

fn broken(error: io::Error) -> Problem {
    NodeError::from(PushError::Spool(error)).into()
}

/// Why a walk over lines ended.
trait Stops: Sized {
    fn broken(error: io::Error) -> Self;
    fn too_long(line: u64) -> Self;
    fn too_many() -> Self;
}

impl Stops for Problem {
    fn broken(error: io::Error) -> Self {
        broken(error)
    }

    fn too_long(line: u64) -> Self {
        Self::at(Code::Z403, line, format!("a line holds at most {LINE_LEN_MAX} bytes; send a larger payload alone"))
    }

    fn too_many() -> Self {
        Self::new(Code::Z401, format!("a body holds at most {LINE_COUNT_MAX} lines"))
    }
}

impl Stops for NodeError {
    fn broken(error: io::Error) -> Self {
        PushError::Spool(error).into()
    }

    fn too_long(line: u64) -> Self {
        PushError::too_long(line).into()
    }

    fn too_many() -> Self {
        PushError::too_many().into()
    }
}

impl Stops for PushError {
    fn broken(error: io::Error) -> Self {
        Self::Spool(error)
    }

    fn too_long(_: u64) -> Self {
        Self::Changed // it was shorter when it was checked
    }

    fn too_many() -> Self {
        Self::Changed
    }
}

/// Lend each line that is not blank, without its end.
fn each_line<E: Stops>(body: &Spool, mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
    let (mut input, mut text, mut count) = (BufReader::new(body.read()), Vec::new(), 0);
    for line in 1.. {
        text.clear();
        if input.by_ref().take((LINE_LEN_MAX + spelling::MARK.len()) as u64 + 2).read_until(b'\n', &mut text).map_err(E::broken)? == 0 {
            break;
        }
        let payload = text.strip_suffix(b"\n").unwrap_or(&text);
        let payload = payload.strip_suffix(b"\r").unwrap_or(payload);
        let payload = if line == 1 { spelling::unmarked(payload) } else { payload }; // as on the command line
        if payload.len() > LINE_LEN_MAX {
            return Err(E::too_long(line));
        }
        if payload.trim_ascii().is_empty() {
            continue;
        }
        count += 1;
        if count > LINE_COUNT_MAX {
            return Err(E::too_many());
        }
        visit(line, payload)?;
    }
    Ok(())
}
