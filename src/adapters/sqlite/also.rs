//! An event that stands on several branches of its history is one event and has one row (R6.4-h); here is where else it stands.

use super::rows::{branch_text, ids_text, parse_ids, signed};
use super::{ProjectionError, Row, SqliteProjection, id_text};
use crate::ports::projection::origin_text;
use rusqlite::params;
use std::collections::BTreeSet;

/// The newest event of record `?1` that stands in history `?2` on branch `?3` before position `?4`.
pub(super) const PREVIOUS: &str = "
    SELECT * FROM (SELECT id, seq FROM event WHERE record = ?1 AND origin = ?2 AND branch = ?3 AND seq < ?4 ORDER BY seq DESC LIMIT 1) UNION ALL
    SELECT * FROM (SELECT id, seq FROM event_also WHERE record = ?1 AND origin = ?2 AND branch = ?3 AND seq < ?4 ORDER BY seq DESC LIMIT 1)
    ORDER BY seq DESC LIMIT 1";

/// Of the ids from `?1` to `?2` those that stand on branch `?3` count there up to `?4`.
pub(super) const RECOUNT: &str = "UPDATE event_also SET counts = (seq <= ?4) WHERE id >= ?1 AND id < ?2 AND branch = ?3";

/// An event that has a row stands on this branch too: it counts where it counts on any, its writer had seen what stood before it on each, and the row names
/// the first branch. A payload in parts that begins like another, and goes on otherwise, has the same id: the one that was put first is shown.
pub(super) fn put(tables: &SqliteProjection, row: &Row<'_>) -> Result<(), ProjectionError> {
    let (id, branch) = (id_text(&row.id), branch_text(&row.stream));
    let mut before: Option<BTreeSet<_>> = row.base.clone().map(|base| base.into_iter().collect());
    for base in tables.all("SELECT base FROM event WHERE id = ?1 AND base IS NOT NULL", [&id], |row| Ok(row.get::<_, String>(0)?))? {
        before.get_or_insert_default().extend(parse_ids(&base).ok_or(ProjectionError::Damaged("event"))?);
    }
    tables.run("INSERT OR IGNORE INTO event_also SELECT id, origin, branch, record, seq, counts FROM event WHERE id = ?1", [&id])?;
    let origin = origin_text(&row.stream.origin);
    let place = params![id, origin, branch, row.record_key, signed(row.id.seq), row.counts];
    tables.run("INSERT INTO event_also VALUES (?1, ?2, ?3, ?4, ?5, ?6)", place)?;
    let before = before.map(|before| ids_text(&before.into_iter().collect::<Vec<_>>()));
    let sql = "UPDATE event SET branch = min(branch, ?2), counts = max(counts, ?3), base = ?4 WHERE id = ?1";
    tables.run(sql, params![id, branch, row.counts, before]).map(|_| ())
}
