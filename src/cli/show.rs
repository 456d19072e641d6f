//! One event of the log as text, JSON or CSV. Payloads stream: whatever their size, a few pieces of them are in memory at a time.

use super::cells::{Pieces, cell};
use super::escape::{JsonOut, plain};
use super::halt::Halt;
use super::object::Object;
use super::units;
use crate::hub::telling::{Facts, Spelling, Told, open_line};
use crate::node::log::Shown;
use crate::node::payload;
use crate::ports::store::Log;
use std::io::{self, Write};

pub use crate::hub::telling::Names;

/// Columns of a preview on a line of text.
const PREVIEW_COUNT: usize = 60;
/// Columns of CSV, in the order of the JSON keys.
pub const CSV_HEADER: &str =
    "id,node,origin,lane,seq,hlc,time,type,key,base,op,content_type,author,orig,after_revoke,len,sha256,payload,payload_base64\r\n";

/// A line to read: when, which, what, of which record, how large, that it does not count, what it is again, and how it begins.
pub fn text(shown: &Shown<'_>, names: &mut Names<'_>) -> Result<String, Halt> {
    let time = units::date(shown.event.hlc.ms()).unwrap_or_else(|| "-".into());
    let key = shown.event.ext.record_key.unwrap_or("-");
    let preview = if shown.payload.is_text { beginning(shown.event.payload) } else { "(not text)".into() };
    let head = format!("{time}  {:<24}  {:<12}  {:<18}", names.short(&told(shown).id()), plain(shown.event.kind).to_string(), plain(key).to_string());
    let mark = if names.is_after_revoke(&shown.stream, shown.seq)? { "OF AN ENDED KEY, NOT USED  " } else { "" };
    let orig = shown.event.ext.orig.as_ref().map(|orig| format!("again: {}  ", names.short(orig))).unwrap_or_default();
    Ok(format!("{head}  {:>8}  {mark}{orig}{preview}", units::size(shown.payload.len)))
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

fn told<'a>(shown: &'a Shown<'_>) -> Told<'a> {
    Told { stream: &shown.stream, seq: shown.seq, bytes: shown.bytes, event: &shown.event, payload: shown.payload }
}

/// One JSON line, payload included.
pub fn json(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>, names: &mut Names<'_>) -> Result<(), Halt> {
    let spelling = Spelling::new(shown.payload.is_text);
    let line = open_line(&told(shown), names, Object::empty())? + spelling.key();
    let mut json = JsonOut::new(out);
    write(&mut json, line.as_bytes())?;
    spelled(&mut json, log, shown, spelling)?;
    write(out, b"\"}\n")
}

/// One CSV row (RFC 4180), payload included.
pub fn csv(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>, names: &mut Names<'_>) -> Result<(), Halt> {
    let (facts, event) = (Facts::of(&told(shown), names)?, &shown.event);
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
        facts.orig.unwrap_or_default(),
        if facts.after_revoke { "true".to_owned() } else { String::new() },
        shown.payload.len.to_string(),
        shown.payload.sha256.to_string(),
    ];
    let row: String = cells.iter().map(|text| cell(text) + ",").collect();
    write(out, row.as_bytes())?;
    if shown.payload.is_text {
        write(out, b"\"")?;
        let mut pieces = Pieces::default();
        stream(log, shown, |piece| pieces.piece(out, piece, shown.payload.len))?;
        write(out, b"\",\r\n")
    } else {
        write(out, b",")?;
        spelled(out, log, shown, Spelling::new(false))?;
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

fn spelled(out: &mut impl Write, log: &dyn Log, shown: &Shown<'_>, mut spelling: Spelling) -> Result<(), Halt> {
    stream(log, shown, |piece| spelling.piece(out, piece))?;
    spelling.end(out).map_err(|error| Halt::output(&error))
}
