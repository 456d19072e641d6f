//! One event of the log as text, JSON or CSV. Payloads stream: whatever their size, a few pieces of them are in memory at a time.

use super::escape::plain;
use super::halt::Halt;
use super::object::Object;
use super::units;
use crate::node::log::Shown;
use crate::node::naming::Naming;
use crate::node::payload;
use crate::ports::store::Log;
use bundle_format::chain::digest;
use bundle_format::ids::{EventId, Lane, Origin};
use data_encoding::BASE64;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Content type of an event that names none.
const CONTENT_TYPE: &str = "application/json";
/// Columns of a preview on a line of text.
const PREVIEW_COUNT: usize = 60;
/// Columns of CSV, in the order of the JSON keys.
pub const CSV_HEADER: &str = "id,node,origin,lane,seq,hlc,time,type,key,base,op,content_type,author,len,sha256,payload,payload_base64\r\n";

/// Names of histories, each looked up once.
pub struct Names<'a> {
    naming: Naming<'a>,
    /// Full form, short form, and the first position where its branches differ.
    known: BTreeMap<Origin, (String, String, Option<u64>)>,
    forks: BTreeMap<Origin, u64>,
}

impl<'a> Names<'a> {
    /// Names as the node knows them.
    pub fn new(naming: Naming<'a>, log: &dyn Log) -> Self {
        let mut forks = BTreeMap::new();
        for (stream, head) in log.streams().iter().filter(|(stream, _)| stream.branch.is_some()) {
            let first = forks.entry(stream.origin).or_insert(head.base.seq + 1);
            *first = (*first).min(head.base.seq + 1);
        }
        Self { naming, known: BTreeMap::new(), forks }
    }

    fn origin(&mut self, origin: &Origin) -> &(String, String, Option<u64>) {
        let Self { naming, known, forks } = self;
        known.entry(*origin).or_insert_with(|| (naming.origin(origin), naming.short_origin(origin), forks.get(origin).copied()))
    }

    /// Full form of an event's id.
    fn event(&mut self, id: &EventId) -> String {
        let (full, _, fork) = self.origin(&id.origin);
        format!("{full}:{}{}", id.seq, branch(id, *fork))
    }

    fn short(&mut self, id: &EventId) -> String {
        let (_, short, fork) = self.origin(&id.origin);
        format!("{short}:{}{}", id.seq, branch(id, *fork))
    }
}

/// The digest, from where an origin has forked on.
fn branch(id: &EventId, fork: Option<u64>) -> String {
    if fork.is_some_and(|first| id.seq >= first) { format!(".d{}", bundle_format::ids::hex(&id.digest)) } else { String::new() }
}

fn id(shown: &Shown<'_>) -> EventId {
    EventId::new(shown.stream.origin, shown.seq, &digest(shown.bytes))
}

/// A line to read: when, which, what, of which record, how large, and how it begins.
pub fn text(shown: &Shown<'_>, names: &mut Names<'_>) -> String {
    let time = units::date(shown.event.hlc.ms()).unwrap_or_else(|| "-".into());
    let key = shown.event.ext.record_key.unwrap_or("-");
    let preview = if shown.payload.is_text { beginning(shown.event.payload) } else { "(not text)".into() };
    let head = format!("{time}  {:<24}  {:<12}  {:<18}", names.short(&id(shown)), plain(shown.event.kind).to_string(), plain(key).to_string());
    format!("{head}  {:>8}  {preview}", units::size(shown.payload.len))
}

fn beginning(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(&payload[..payload.len().min(4 * PREVIEW_COUNT)]);
    let mut preview: String = text.chars().take(PREVIEW_COUNT).collect();
    if preview.len() < payload.len() {
        preview.pop();
        preview.push('…');
    }
    plain(&preview).to_string()
}

/// What JSON and CSV tell of an event beside its payload.
struct Facts {
    id: String,
    node: String,
    origin: String,
    time: Option<String>,
    base: Option<Vec<String>>,
    content_type: Option<String>,
}

impl Facts {
    fn of(shown: &Shown<'_>, names: &mut Names<'_>) -> Self {
        let (event, origin) = (&shown.event, &shown.stream.origin);
        let default = (origin.lane != Lane::Control).then_some(CONTENT_TYPE);
        Self {
            id: names.event(&id(shown)),
            node: names.naming.node(&origin.node),
            origin: names.origin(origin).0.clone(),
            time: units::date(event.hlc.ms()),
            base: event.ext.base.as_ref().map(|base| base.iter().map(|id| names.event(id)).collect()),
            content_type: event.ext.content_type.or(default).map(str::to_owned),
        }
    }
}

/// One JSON line, payload included.
pub fn json(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>, names: &mut Names<'_>) -> Result<(), Halt> {
    let (facts, event) = (Facts::of(shown, names), &shown.event);
    let line = Object::empty()
        .with("id", facts.id)
        .with("node", facts.node)
        .with("origin", facts.origin)
        .with("lane", shown.stream.origin.lane.name())
        .with("seq", shown.seq)
        .with("hlc", event.hlc.0)
        .with("time", facts.time)
        .with("type", event.kind)
        .with("key", event.ext.record_key)
        .with("base", facts.base)
        .with("op", event.ext.op.name())
        .with("content_type", facts.content_type)
        .with("author", event.ext.author)
        .with("len", shown.payload.len)
        .with("sha256", shown.payload.sha256.to_string())
        .into_open_line();
    write(out, line.as_bytes())?;
    if shown.payload.is_text {
        write(out, b",\"payload\":\"")?;
        stream(log, shown, |piece| json_escaped(out, piece))?;
    } else {
        write(out, b",\"payload_base64\":\"")?;
        base64(out, log, shown)?;
    }
    write(out, b"\"}\n")
}

/// One CSV row (RFC 4180), payload included.
pub fn csv(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>, names: &mut Names<'_>) -> Result<(), Halt> {
    let (facts, event) = (Facts::of(shown, names), &shown.event);
    let cells = [
        facts.id,
        facts.node,
        facts.origin,
        shown.stream.origin.lane.name().to_owned(),
        shown.seq.to_string(),
        event.hlc.0.to_string(),
        facts.time.unwrap_or_default(),
        event.kind.to_owned(),
        event.ext.record_key.unwrap_or_default().to_owned(),
        facts.base.map(|base| base.join(" ")).unwrap_or_default(),
        event.ext.op.name().to_owned(),
        facts.content_type.unwrap_or_default(),
        event.ext.author.unwrap_or_default().to_owned(),
        shown.payload.len.to_string(),
        shown.payload.sha256.to_string(),
    ];
    let row: String = cells.iter().map(|cell| csv_cell(cell) + ",").collect();
    write(out, row.as_bytes())?;
    if shown.payload.is_text {
        write(out, b"\"")?;
        stream(log, shown, |piece| csv_escaped(out, piece))?;
        write(out, b"\",\r\n")
    } else {
        write(out, b",")?;
        base64(out, log, shown)?;
        write(out, b"\r\n")
    }
}

/// The payload itself; its last byte, to know whether a newline must follow.
pub fn payload(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>) -> Result<Option<u8>, Halt> {
    let mut last = None;
    stream(log, shown, |piece| {
        last = piece.last().copied().or(last);
        out.write_all(piece)
    })?;
    Ok(last)
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<(), Halt> {
    out.write_all(bytes).map_err(|error| Halt::output(&error))
}

fn stream(log: &dyn Log, shown: &Shown<'_>, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Halt> {
    let take = |piece: &[u8]| write(piece).map_err(|error| Halt::output(&error));
    payload::each_piece(log, &shown.stream, shown.seq, &shown.event, take).map(|_| ())
}

/// Three bytes make four digits, so what is left of one piece goes before the next.
fn base64(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>) -> Result<(), Halt> {
    let mut carry = Vec::new();
    stream(log, shown, |piece| {
        carry.extend_from_slice(piece);
        let whole = carry.len() / 3 * 3;
        out.write_all(BASE64.encode(&carry[..whole]).as_bytes())?;
        carry.drain(..whole);
        Ok(())
    })?;
    write(out, BASE64.encode(&carry).as_bytes())
}

/// The inside of a JSON string. `piece` may end within a character: only single bytes are looked at.
fn json_escaped(out: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    escaped(out, piece, |byte| match byte {
        b'"' => Some("\\\"".to_owned()),
        b'\\' => Some("\\\\".to_owned()),
        b'\n' => Some("\\n".to_owned()),
        b'\r' => Some("\\r".to_owned()),
        b'\t' => Some("\\t".to_owned()),
        0..0x20 | 0x7f => Some(format!("\\u{byte:04x}")),
        _ => None,
    })
}

fn csv_escaped(out: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    escaped(out, piece, |byte| (byte == b'"').then(|| "\"\"".to_owned()))
}

fn escaped(out: &mut impl Write, piece: &[u8], escape: impl Fn(u8) -> Option<String>) -> io::Result<()> {
    let mut plain_from = 0;
    for (at, byte) in piece.iter().enumerate() {
        if let Some(escape) = escape(*byte) {
            out.write_all(&piece[plain_from..at])?;
            out.write_all(escape.as_bytes())?;
            plain_from = at + 1;
        }
    }
    out.write_all(&piece[plain_from..])
}

fn csv_cell(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streamed_string_reads_back() {
        let text = "a\"b\\c\n\r\t\u{1}\u{7f}☃{}";
        for cut in 0..text.len() {
            let mut out = b"\"".to_vec();
            json_escaped(&mut out, &text.as_bytes()[..cut]).unwrap();
            json_escaped(&mut out, &text.as_bytes()[cut..]).unwrap();
            out.push(b'"');
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn a_cell_is_quoted_when_it_must_be() {
        for (text, cell) in [("a", "a"), ("", ""), ("a,b", "\"a,b\""), ("say \"hi\"", "\"say \"\"hi\"\"\""), ("a\nb", "\"a\nb\"")] {
            assert_eq!(csv_cell(text), cell);
        }
    }
}
