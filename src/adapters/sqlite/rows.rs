//! How events, versions and stamps are spelled in the columns of the tables, and read back.

use crate::ports::projection::{ProjectionError, Version, id_text, parse_id, parse_origin};
use crate::ports::store::Stream;
use bundle_format::event::Op;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Hash, from_hex, hex};

pub(super) fn branch_text(stream: &Stream) -> String {
    stream.branch.map(|branch| hex(&branch)).unwrap_or_default()
}

pub(super) fn ids_text(ids: &[EventId]) -> String {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{}\"", id_text(id))).collect();
    format!("[{}]", quoted.join(","))
}

pub(super) fn parse_ids(text: &str) -> Option<Vec<EventId>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.split(',').filter(|quoted| !quoted.is_empty()).map(|quoted| parse_id(quoted.strip_prefix('"')?.strip_suffix('"')?)).collect()
}

/// `[[4,6],[9,9]]`, as SQLite's own functions read it.
pub(super) fn stretches_text(stretches: &[(u64, u64)]) -> String {
    serde_json::json!(stretches).to_string()
}

pub(super) fn parse_stretches(text: &str) -> Option<Vec<(u64, u64)>> {
    serde_json::from_str(text).ok()
}

pub(super) fn id(row: &rusqlite::Row<'_>, column: usize) -> Result<EventId, ProjectionError> {
    let text: String = row.get(column)?;
    parse_id(&text).ok_or(ProjectionError::Damaged("event"))
}

pub(super) fn stream(row: &rusqlite::Row<'_>, origin: usize, branch: usize) -> Result<Stream, ProjectionError> {
    let (origin, branch): (String, String) = (row.get(origin)?, row.get(branch)?);
    let damaged = || ProjectionError::Damaged("origin");
    let branch = if branch.is_empty() { None } else { Some(from_hex(&branch).ok_or_else(damaged)?) };
    Ok(Stream { origin: parse_origin(&origin).ok_or_else(damaged)?, branch })
}

/// What [`version`] reads.
pub(super) const VERSION_COLUMNS: &str = "id, orig, base, hlc, type, op, sha256, author";

pub(super) fn version(row: &rusqlite::Row<'_>) -> Result<Version, ProjectionError> {
    let damaged = || ProjectionError::Damaged("event");
    let (orig, base): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
    let (op, sha256): (String, String) = (row.get(5)?, row.get(6)?);
    Ok(Version {
        id: id(row, 0)?,
        orig: orig.map(|text| parse_id(&text).ok_or_else(damaged)).transpose()?,
        base: base.map(|text| parse_ids(&text).ok_or_else(damaged)).transpose()?,
        hlc: Hlc(unsigned(row.get(3)?)),
        kind: row.get(4)?,
        op: [Op::Put, Op::Delete, Op::Resolve].into_iter().find(|known| known.name() == op).ok_or_else(damaged)?,
        sha256: Hash(from_hex(&sha256).ok_or_else(damaged)?),
        author: row.get(7)?,
    })
}

/// Bytes in the order in which heads are displayed (R11.1-e).
pub(super) fn rank(version: &Version) -> Vec<u8> {
    let EventId { origin, seq, digest } = &version.id;
    let mut rank = Vec::with_capacity(48);
    rank.extend_from_slice(&version.hlc.0.to_be_bytes());
    rank.extend_from_slice(&origin.node.0);
    rank.extend_from_slice(&origin.incarnation.0);
    rank.push(origin.lane as u8);
    rank.push(u8::from(origin.audience.is_some()));
    rank.extend(origin.audience.iter().flat_map(|node| node.0));
    rank.extend_from_slice(&seq.to_be_bytes());
    rank.extend_from_slice(digest);
    rank
}

/// Both of the two newest heads of a record `r` are stamped before `?1`: a rank begins with its stamp.
pub(super) const OVERDUE: &str = "(SELECT rank FROM record_head h WHERE h.record = r.record ORDER BY rank DESC LIMIT 1 OFFSET 1) < ?1";

/// What makes two heads the same to people.
pub(super) fn content(version: &Version) -> Vec<u8> {
    [&[version.op as u8][..], &version.sha256.0, version.kind.as_bytes()].concat()
}

/// Numbers are stored with their sign turned over where SQLite has no unsigned ones; none of ours reaches that far but stamps, which keep their bits.
#[expect(clippy::cast_possible_wrap, reason = "bits are kept and read back the same way")]
pub(super) fn signed(number: u64) -> i64 {
    number as i64
}

#[expect(clippy::cast_sign_loss, reason = "the other direction of `signed`")]
pub(super) fn unsigned(number: i64) -> u64 {
    number as u64
}

pub(super) fn time(hlc: Hlc) -> Option<String> {
    jiff::Timestamp::from_millisecond(i64::try_from(hlc.ms()).ok()?).ok().map(|time| format!("{time:.3}"))
}
