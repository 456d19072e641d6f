//! Events out: page by page, or as a stream that waits for more. What is sent is read when the reader takes it, so a slow one costs one piece.

use super::answer::{Answer, Problem, pieces};
use super::object::Object;
use super::routes::query;
use super::server::{Hub, TAKE_WAIT};
use super::telling::{Names, Spelling, Told, open_line};
use crate::node::feed::{Cursor, Step, Wanted, Whole, next};
use crate::node::{Node, NodeError};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::Lane;
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use std::io::{self, Write as _};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Events of a page unless the reader says otherwise, and at most.
const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1000;
/// A page ends when it has become so long; a single event may be longer.
const PAGE_LEN: u64 = 1 << 20;
/// Events looked at in one turn: others wait for the node no longer than that takes.
const LOOK_MAX: u32 = 256;
/// Turns of one page, so that a filter which finds nothing does not hold its reader for long: it is told how far it came.
const PAGE_TURNS: u64 = 64;
/// Parts of a payload read in one turn: with escapes, what one piece may come to.
const PARTS: u64 = 8;
/// A comment after so long without an event: whoever is gone is noticed.
const BEAT: Duration = Duration::from_secs(15);

/// Somebody who reads.
struct Reader {
    hub: Rc<Hub>,
    cursor: Cursor,
    wanted: Wanted,
    to: mpsc::Sender<io::Result<Bytes>>,
    sent_len: u64,
}

/// Why nothing more is sent.
struct Gone;

/// `GET /v1/events`.
///
/// # Errors
/// [`Problem`].
pub async fn page(hub: &Rc<Hub>, request: &Request<Incoming>) -> Result<Answer, Problem> {
    let mut limit = LIMIT;
    let (mut reader, receiver) = Reader::begin(hub, request, &["after", "limit", "lane", "key"], |name, value| {
        if name == "limit" {
            limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))?;
        }
        Some(())
    })?;
    let first = reader.step().await?; // a refusal comes before the first byte
    tokio::task::spawn_local(async move { reader.page(first, limit).await.unwrap_or(()) });
    Ok(pieces("application/json", receiver))
}

/// `GET /v1/stream`: server-sent events (R10.13-e).
///
/// # Errors
/// [`Problem`].
pub async fn stream(hub: &Rc<Hub>, request: &Request<Incoming>) -> Result<Answer, Problem> {
    let (mut reader, receiver) = Reader::begin(hub, request, &["after", "lane", "key"], |_, _| Some(()))?;
    if let Some(last) = request.headers().get("last-event-id") {
        reader.cursor = Cursor::parse(last.to_str().unwrap_or("?"))?; // a browser that comes back says it so
    }
    let changes = hub.standing.changes(); // before the first look: what is stored between the two is told
    let first = reader.step().await?;
    tokio::task::spawn_local(async move { reader.stream(first, changes).await.unwrap_or(()) });
    Ok(pieces("text/event-stream", receiver))
}

impl Reader {
    fn begin(
        hub: &Rc<Hub>,
        request: &Request<Incoming>,
        known: &[&str],
        mut other: impl FnMut(&str, &str) -> Option<()>,
    ) -> Result<(Self, mpsc::Receiver<io::Result<Bytes>>), Problem> {
        let (to, receiver) = mpsc::channel(1);
        let mut reader = Self { hub: Rc::clone(hub), cursor: Cursor::default(), wanted: Wanted::default(), to, sent_len: 0 };
        for (name, value) in query(request, known)? {
            match name.as_str() {
                "after" => reader.cursor = Cursor::parse(&value)?,
                "key" => reader.wanted.record_key = Some(value),
                "lane" => match Lane::from_name(&value) {
                    Some(lane) => reader.wanted.lane = Some(lane),
                    None => return Err(Problem::new(Code::Z433, format!("lane {value:?}"))),
                },
                name => other(name, &value).ok_or_else(|| Problem::new(Code::Z433, format!("{name} {value:?}")))?,
            }
        }
        Ok((reader, receiver))
    }

    /// Look on, in one turn. The cursor moves.
    async fn step(&mut self) -> Result<Step, NodeError> {
        let end = || self.hub.standing.durable_end();
        let (cursor, wanted) = (self.cursor, &self.wanted);
        let step = self.hub.standing.with(|node| next(node.log(), end(), cursor, wanted, LOOK_MAX)).await?;
        self.cursor = match &step {
            Step::Whole(whole) => whole.cursor,
            Step::Passed(cursor) | Step::End(cursor) => *cursor,
        };
        Ok(step)
    }

    async fn page(&mut self, mut step: Step, limit: u64) -> Result<(), Gone> {
        self.send("{\"events\":[").await?;
        let (mut count, mut more) = (0, true);
        let turns = limit.max(PAGE_TURNS);
        for turn in 1.. {
            match step {
                Step::Whole(whole) => {
                    self.tell(if count == 0 { "" } else { "," }, &whole, "").await?;
                    count += 1;
                }
                Step::Passed(_) => {}
                Step::End(_) => {
                    more = false;
                    break;
                }
            }
            if turn == turns || count == limit || self.sent_len > PAGE_LEN {
                break; // before the next step: with it the cursor would pass over what is told to nobody
            }
            step = self.step_or_break().await?;
        }
        self.send(format!("],\"next\":\"{}\",\"more\":{more}}}\n", self.cursor)).await
    }

    async fn stream(&mut self, mut step: Step, mut changes: watch::Receiver<u64>) -> Result<(), Gone> {
        let mut stop = self.hub.stop.clone();
        self.send(": the log of this node, from where you stand\n\n").await?;
        loop {
            match step {
                Step::Whole(whole) => self.tell(&format!("id: {}\ndata: ", whole.cursor), &whole, "\n\n").await?,
                Step::Passed(_) => {}
                Step::End(_) => loop {
                    tokio::select! {
                        biased;
                        _ = stop.wait_for(|stop| *stop) => return Ok(()),
                        () = self.to.closed() => return Err(Gone),
                        changed = timeout(BEAT, changes.changed()) => match changed {
                            Ok(Ok(())) => break,
                            Ok(Err(_)) => return Ok(()),
                            Err(_) => self.send(": still here\n\n").await?,
                        },
                    }
                },
            }
            if *stop.borrow() {
                return Ok(());
            }
            changes.mark_unchanged(); // what is stored from here on is either read now or told again
            step = self.step_or_break().await?;
        }
    }

    /// What the log says in the middle of a response breaks it off: the reader comes back with its cursor.
    async fn step_or_break(&mut self) -> Result<Step, Gone> {
        match self.step().await {
            Ok(step) => Ok(step),
            Err(error) => Err(self.break_off(&error).await),
        }
    }

    async fn break_off(&mut self, error: &NodeError) -> Gone {
        self.to.send(Err(io::Error::other(error.to_string()))).await.unwrap_or(()); // gone already
        Gone
    }

    /// One event as JSON between two texts, piece by piece.
    async fn tell(&mut self, before: &str, whole: &Whole, after: &str) -> Result<(), Gone> {
        let mut spelling = Spelling::new(whole.facts.is_text);
        let mut out = before.as_bytes().to_vec();
        let (mut part, mut count) = (0, 1);
        while part < count {
            let turn = self.hub.standing.with(|node| {
                if part == 0 {
                    count = head(node, whole, &spelling, &mut out)?;
                }
                part = parts(node, whole, (part, count), &mut spelling, &mut out)?;
                Ok(())
            });
            if let Err(error) = turn.await {
                return Err(self.break_off(&error).await);
            }
            if part < count {
                self.send(std::mem::take(&mut out)).await?;
            }
        }
        spelling.end(&mut out).and_then(|()| out.write_all(b"\"}")).and_then(|()| out.write_all(after.as_bytes())).map_err(|_| Gone)?;
        self.send(out).await
    }

    async fn send(&mut self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        let bytes = bytes.into();
        self.sent_len += bytes.len() as u64;
        timeout(TAKE_WAIT, self.to.send(Ok(bytes))).await.map_err(|_| Gone)?.map_err(|_| Gone)
    }
}

fn unread() -> NodeError {
    NodeError::refused(Code::Z301, "an event that was read a moment ago")
}

/// Everything before the payload; in how many parts that comes.
fn head(node: &Node, whole: &Whole, spelling: &Spelling, out: &mut Vec<u8>) -> Result<u64, NodeError> {
    let event = Event::from_bytes(&whole.bytes).map_err(|_| unread())?;
    let told = Told { stream: &whole.stream, seq: whole.seq, bytes: &whole.bytes, event: &event, payload: whole.facts };
    let mut names = Names::new(node.naming(), node.log());
    let line = open_line(&told, &mut names, Object::empty().with("cursor", whole.cursor.to_string()))?;
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(spelling.key().as_bytes());
    Ok(event.ext.part.map_or(1, |part| part.count))
}

/// Spell some parts of the payload from `part` of `count` on; where to go on.
fn parts(node: &Node, whole: &Whole, (part, count): (u64, u64), spelling: &mut Spelling, out: &mut Vec<u8>) -> Result<u64, NodeError> {
    let mut spell = |bytes: &[u8]| {
        let event = Event::from_bytes(bytes).map_err(|_| unread())?;
        spelling.piece(out, event.payload).map_err(|_| unread()) // into memory: it does not fail
    };
    if count == 1 {
        return spell(&whole.bytes).map(|()| 1);
    }
    let mut events = node.log().events(&whole.stream, whole.seq + part)?;
    let until = count.min(part + PARTS);
    for _ in part..until {
        let (_, bytes) = events.next()?.ok_or_else(unread)?;
        spell(bytes)?;
    }
    Ok(until)
}
