//! One event as JSON, the same on the command line and by HTTP. Payloads stream: a few pieces of them are in memory at a time.

use super::object::Object;
use crate::node::naming::Naming;
use crate::node::payload::Facts as Payload;
use crate::ports::store::{Log, StoreError, Stream};
use bundle_format::chain::digest;
use bundle_format::event::Event;
use bundle_format::ids::{EventId, Lane, Origin};
use data_encoding::BASE64;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Content type of an event that names none.
const CONTENT_TYPE: &str = "application/json";
/// An event to be told: where it stands, its first part, and what is known of its payload.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// In which history.
    pub stream: &'a Stream,
    /// Where in it.
    pub seq: u64,
    /// Its bytes: the first part's, if there are several.
    pub bytes: &'a [u8],
    /// Read from them.
    pub event: &'a Event<'a>,
    /// Of the whole payload.
    pub payload: Payload,
}

impl Told<'_> {
    /// Its id.
    pub fn id(&self) -> EventId {
        EventId::new(self.stream.origin, self.seq, &digest(self.bytes))
    }
}

/// `2026-11-20T09:14:03.120Z`; `None` past the year 9999, where a broken clock may stand.
pub fn date(ms: u64) -> Option<String> {
    let stamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{stamp:.3}"))
}

/// `7 s`, `3 min`, `2 h 10 min`, `5 d 3 h`.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 if minutes % 60 == 0 => format!("{hours} h"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ if hours % 24 == 0 => format!("{days} d"),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Names of histories, each looked up once.
pub struct Names<'a> {
    naming: Naming<'a>,
    /// Full form, short form, and the first position where its branches differ.
    known: BTreeMap<Origin, (String, String, Option<u64>)>,
    forks: BTreeMap<Origin, u64>,
    /// Up to where the events of a history count.
    counted: BTreeMap<Stream, u64>,
}

impl<'a> Names<'a> {
    /// Names as the node knows them.
    pub fn new(naming: Naming<'a>, log: &dyn Log) -> Self {
        let mut forks = BTreeMap::new();
        for (stream, head) in log.streams().iter().filter(|(stream, _)| stream.branch.is_some()) {
            let first = forks.entry(stream.origin).or_insert(head.base.seq + 1);
            *first = (*first).min(head.base.seq + 1);
        }
        Self { naming, known: BTreeMap::new(), forks, counted: BTreeMap::new() }
    }

    /// Full form, short form, and from where on branches differ.
    fn origin(&mut self, origin: &Origin) -> &(String, String, Option<u64>) {
        let Self { naming, known, forks, .. } = self;
        known.entry(*origin).or_insert_with(|| (naming.origin(origin), naming.short_origin(origin), forks.get(origin).copied()))
    }

    /// Full form of an event's id.
    pub fn event(&mut self, id: &EventId) -> String {
        let (full, _, fork) = self.origin(&id.origin);
        format!("{full}:{}{}", id.seq, branch(id, *fork))
    }

    /// Short form of it.
    pub fn short(&mut self, id: &EventId) -> String {
        let (_, short, fork) = self.origin(&id.origin);
        format!("{short}:{}{}", id.seq, branch(id, *fork))
    }

    /// Whether an event was written under an ended key, beyond what is kept of it: it does not count (R8.3-h).
    ///
    /// # Errors
    /// What the log says.
    pub fn is_after_revoke(&mut self, stream: &Stream, seq: u64) -> Result<bool, StoreError> {
        if let Some(counted) = self.counted.get(stream) {
            return Ok(seq > *counted);
        }
        let counted = self.naming.counting().counted(stream)?;
        self.counted.insert(*stream, counted);
        Ok(seq > counted)
    }
}

/// The digest, from where an origin has forked on.
fn branch(id: &EventId, fork: Option<u64>) -> String {
    if fork.is_some_and(|first| id.seq >= first) { format!(".d{}", bundle_format::ids::hex(&id.digest)) } else { String::new() }
}

/// What JSON and CSV tell of an event beside its payload.
pub struct Facts {
    /// Full form of its id.
    pub id: String,
    /// Its writer's name.
    pub node: String,
    /// Full form of its history.
    pub origin: String,
    /// Its stamp as a date.
    pub time: Option<String>,
    /// What its writer had seen.
    pub base: Option<Vec<String>>,
    /// What its payload is.
    pub content_type: Option<String>,
    /// The event it was written again of.
    pub orig: Option<String>,
    /// It does not count.
    pub after_revoke: bool,
}

impl Facts {
    /// Of one event.
    ///
    /// # Errors
    /// What the log says.
    pub fn of(told: &Told<'_>, names: &mut Names<'_>) -> Result<Self, StoreError> {
        let (event, origin) = (told.event, &told.stream.origin);
        let default = (origin.lane != Lane::Control).then_some(CONTENT_TYPE);
        Ok(Self {
            id: names.event(&told.id()),
            node: names.naming.node(&origin.node),
            origin: names.origin(origin).0.clone(),
            time: date(event.hlc.ms()),
            base: event.ext.base.as_ref().map(|base| base.iter().map(|id| names.event(id)).collect()),
            content_type: event.ext.content_type.or(default).map(str::to_owned),
            orig: event.ext.orig.as_ref().map(|orig| names.event(orig)),
            after_revoke: names.is_after_revoke(told.stream, told.seq)?,
        })
    }
}

/// Everything but the payload: an object that is not closed yet.
///
/// # Errors
/// What the log says.
pub fn open_line(told: &Told<'_>, names: &mut Names<'_>, object: Object) -> Result<String, StoreError> {
    let (facts, event) = (Facts::of(told, names)?, told.event);
    let object = object
        .with("id", facts.id)
        .with("node", facts.node)
        .with("origin", facts.origin)
        .with("lane", told.stream.origin.lane.name())
        .with("seq", told.seq)
        .with("hlc", event.hlc.0)
        .with("time", facts.time)
        .with("type", event.kind)
        .with("key", event.ext.record_key)
        .with("base", facts.base)
        .with("op", event.ext.op.name())
        .with("content_type", facts.content_type)
        .with("author", event.ext.author)
        .with_some("orig", facts.orig)
        .with_some("after_revoke", facts.after_revoke.then_some(true))
        .with("len", told.payload.len)
        .with("sha256", told.payload.sha256.to_string());
    Ok(object.into_open_line())
}

/// Spells a payload as the last value of an open object, piece by piece.
#[derive(Debug)]
pub struct Spelling {
    is_text: bool,
    /// Three bytes make four digits, so what is left of one piece goes before the next.
    carry: Vec<u8>,
}

impl Spelling {
    /// Text is escaped, anything else becomes base64.
    pub fn new(is_text: bool) -> Self {
        Self { is_text, carry: Vec::new() }
    }

    /// The key it stands behind in an open object, and the opening quote.
    pub fn key(&self) -> &'static str {
        if self.is_text { ",\"payload\":\"" } else { ",\"payload_base64\":\"" }
    }

    /// The next piece.
    ///
    /// # Errors
    /// What `out` says.
    pub fn piece(&mut self, out: &mut impl Write, piece: &[u8]) -> io::Result<()> {
        if self.is_text {
            return json_escaped(out, piece);
        }
        self.carry.extend_from_slice(piece);
        let whole = self.carry.len() / 3 * 3;
        out.write_all(BASE64.encode(&self.carry[..whole]).as_bytes())?;
        self.carry.drain(..whole);
        Ok(())
    }

    /// What is left after the last piece. The quote and the brace are whoever's who opened them.
    ///
    /// # Errors
    /// What `out` says.
    pub fn end(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(BASE64.encode(&self.carry).as_bytes())
    }
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

/// `piece` with some of its bytes spelled otherwise.
///
/// # Errors
/// What `out` says.
pub fn escaped(out: &mut impl Write, piece: &[u8], escape: impl Fn(u8) -> Option<String>) -> io::Result<()> {
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
    fn bytes_that_are_no_text_read_back_whatever_the_pieces() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in [1, 2, 3, 7, 256] {
            let mut spelling = Spelling::new(false);
            let mut out = format!("{{\"len\":256{}", spelling.key()).into_bytes();
            bytes.chunks(len).for_each(|piece| spelling.piece(&mut out, piece).unwrap());
            spelling.end(&mut out).unwrap();
            out.extend_from_slice(b"\"}");
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(BASE64.decode(value["payload_base64"].as_str().unwrap().as_bytes()).unwrap(), bytes);
        }
    }
}
