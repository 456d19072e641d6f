//! The projection in SQLite: one file, opened by any program that reads SQLite. SPEC §11.2.

use crate::ports::projection::{
    BundleRow, Content, Folded, Line, Notice, PeerRow, Place, Projection, ProjectionError, Row, State, Version, id_text, origin_text, parse_id,
};
use crate::ports::store::Stream;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Hash, NodeId, from_hex, hex};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod also;
mod opening;
mod rows;

use opening::prepared;
use rows::{
    OVERDUE, VERSION_COLUMNS, branch_text, content, id, ids_text, parse_stretches, rank, signed, stream, stretches_text, time, unsigned, version,
};

/// Days of `activity`.
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Tables in a file.
pub struct SqliteProjection {
    database: Connection,
    payloads: bool,
    /// Events of this transaction by node and day: thousands of rows touch a few of `activity`.
    days: BTreeMap<(NodeId, u64), u64>,
    /// Path, device and inode of the file that was opened.
    file: Option<(PathBuf, u64, u64)>,
}

impl From<rusqlite::Error> for ProjectionError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy(error.to_string()),
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            Some(ErrorCode::NotADatabase) => Self::Foreign { application: 0, version: 0 },
            _ => Self::Database(error.to_string()),
        }
    }
}

impl SqliteProjection {
    /// Open or make the tables in `path`. Rows hold payloads when `payloads` says so, or did when they were made: what lacks them is made again.
    /// Readable by its owner alone; never another program's database.
    ///
    /// # Errors
    /// [`ProjectionError`]; [`ProjectionError::Foreign`] leaves the file untouched.
    pub fn open(path: &Path, payloads: bool) -> Result<Self, ProjectionError> {
        let refused = |error: std::io::Error| ProjectionError::Database(format!("{}: {error}", path.display()));
        if !path.exists() {
            for beside in ["-wal", "-shm"] {
                let mut left = path.as_os_str().to_owned();
                left.push(beside);
                std::fs::remove_file(left).unwrap_or(()); // of a file that was thrown away: SQLite would put it into the new one
            }
            // Never opened by us when it is there: closing it would let go of the locks that another connection of this process holds on it (POSIX),
            // and who closes it next in another process would take itself for the last and throw the write-ahead file away.
            let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            made.map(drop).or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(refused(error)) })?;
        }
        let file = std::fs::metadata(path).map_err(refused)?;
        let (database, payloads) = prepared(Connection::open(path)?, payloads)?;
        Ok(Self { database, payloads, days: BTreeMap::new(), file: Some((path.to_owned(), file.dev(), file.ino())) })
    }

    /// Tables without payloads that are gone when this is dropped.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub fn in_memory() -> Result<Self, ProjectionError> {
        let (database, payloads) = prepared(Connection::open_in_memory()?, false)?;
        Ok(Self { database, payloads, days: BTreeMap::new(), file: None })
    }

    /// Wait for a lock no longer than `patience`.
    ///
    /// # Errors
    /// [`ProjectionError`].
    pub fn patient(self, patience: Duration) -> Result<Self, ProjectionError> {
        self.database.busy_timeout(patience)?;
        Ok(self)
    }

    fn run(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, ProjectionError> {
        Ok(self.database.prepare_cached(sql)?.execute(values)?)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl rusqlite::Params,
        mut read: impl FnMut(&rusqlite::Row<'_>) -> Result<T, ProjectionError>,
    ) -> Result<Vec<T>, ProjectionError> {
        let mut statement = self.database.prepare_cached(sql)?;
        let mut rows = statement.query(values)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }
}

impl SqliteProjection {
    /// By what something was last made.
    fn print(&self, name: &str) -> Result<Option<i64>, ProjectionError> {
        Ok(self.database.prepare_cached("SELECT value FROM setting WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?)
    }

    fn set_print(&self, name: &str, print: i64) -> Result<(), ProjectionError> {
        self.run("INSERT OR REPLACE INTO setting VALUES (?1, ?2)", params![name, print]).map(|_| ())
    }

    fn put_peer(&self, peer: &PeerRow) -> Result<(), ProjectionError> {
        let at = |ms: u64| (ms > 0).then(|| signed(ms));
        self.run(
            "INSERT INTO peer VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                hex(&peer.node.0),
                peer.name,
                at(peer.heard_ms),
                (peer.heard_ms > 0).then_some(peer.path),
                signed(peer.silent_after_ms),
                signed(peer.held),
                signed(peer.lacking),
                signed(peer.acknowledged),
                signed(peer.unacknowledged),
                peer.address,
                at(peer.settled_ms),
                Some(&peer.via).filter(|via| !via.is_empty()),
            ],
        )
        .map(|_| ())
    }

    fn put_bundle(&self, number: i64, bundle: &BundleRow) -> Result<(), ProjectionError> {
        match bundle {
            BundleRow::Taken { digest, sender, events } => self.run(
                "INSERT INTO bundle (number, state, node, events, digest) VALUES (?1, 'taken', ?2, ?3, ?4)",
                params![number, hex(&sender.0), signed(*events), hex(digest)],
            ),
            BundleRow::Refused { code, reason, file } => self.run(
                "INSERT INTO bundle (number, state, code, reason, file) VALUES (?1, 'refused', ?2, ?3, ?4)",
                params![number, code, reason, file],
            ),
        }
        .map(|_| ())
    }
}

/// Tells rows that have changed from those that stand there; a stranger gains nothing by making two equal.
fn print_of<T: std::hash::Hash>(rows: &[T]) -> i64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    rows.hash(&mut hasher);
    hasher.finish().cast_signed()
}

impl Projection for SqliteProjection {
    fn holds_payloads(&self) -> bool {
        self.payloads
    }

    fn is_in_place(&self) -> bool {
        let is_same = |(path, dev, ino): &(PathBuf, u64, u64)| std::fs::metadata(path).is_ok_and(|file| (file.dev(), file.ino()) == (*dev, *ino));
        self.file.as_ref().is_none_or(is_same)
    }

    fn places(&mut self) -> Result<Vec<Place>, ProjectionError> {
        self.all("SELECT origin, branch, seq, hash, counted, lacking FROM origin", [], |row| {
            let damaged = || ProjectionError::Damaged("origin");
            let hash: Option<Vec<u8>> = row.get(3)?;
            let hash = hash.map(|hash| hash.try_into().map(Hash).map_err(|_| damaged())).transpose()?;
            let lacking = parse_stretches(&row.get::<_, String>(5)?).ok_or_else(damaged)?;
            Ok(Place { stream: stream(row, 0, 1)?, seq: unsigned(row.get(2)?), hash, counted: unsigned(row.get(4)?), lacking })
        })
    }

    fn begin(&mut self) -> Result<(), ProjectionError> {
        if !self.database.is_autocommit() {
            self.database.execute_batch("ROLLBACK")?;
        }
        self.database.execute_batch("BEGIN IMMEDIATE")?;
        self.days.clear();
        // Another process may have made the tables anew since, with payloads.
        self.payloads = self.database.prepare_cached("SELECT value FROM setting WHERE name = 'payloads'")?.query_row([], |row| row.get(0))?;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), ProjectionError> {
        for ((node, day), count) in std::mem::take(&mut self.days) {
            self.run(
                "INSERT INTO activity VALUES (?1, ?2, ?3) ON CONFLICT (node, day) DO UPDATE SET events = events + excluded.events",
                params![hex(&node.0), signed(day), signed(count)],
            )?;
        }
        Ok(self.database.execute_batch("COMMIT")?)
    }

    fn is_whole(&mut self) -> Result<bool, ProjectionError> {
        Ok(self.print("whole")? == Some(1))
    }

    fn set_whole(&mut self) -> Result<(), ProjectionError> {
        self.set_print("whole", 1)
    }

    fn clear(&mut self) -> Result<(), ProjectionError> {
        Ok(self.database.execute_batch(
            "DELETE FROM event; DELETE FROM event_also; DELETE FROM record; DELETE FROM record_head; DELETE FROM record_waiting; DELETE FROM origin;
             DELETE FROM activity; INSERT OR REPLACE INTO setting VALUES ('whole', 0);",
        )?)
    }

    fn set_beside(&mut self, peers: &[PeerRow], bundles: &[BundleRow]) -> Result<(), ProjectionError> {
        for (table, print) in [("peer", print_of(peers)), ("bundle", print_of(bundles))] {
            if self.print(table)? == Some(print) {
                continue;
            }
            self.database.execute_batch(&format!("DELETE FROM {table}"))?;
            match table {
                "peer" => peers.iter().try_for_each(|peer| self.put_peer(peer))?,
                _ => bundles.iter().zip(0i64..).try_for_each(|(bundle, number)| self.put_bundle(number, bundle))?,
            }
            self.set_print(table, print)?;
        }
        Ok(())
    }

    fn put(&mut self, row: &Row<'_>) -> Result<bool, ProjectionError> {
        let payload = match row.content {
            Content::Text(text) => ValueRef::Text(text.as_bytes()),
            Content::Bytes(bytes) => ValueRef::Blob(bytes),
            Content::Elsewhere => ValueRef::Null,
        };
        let put = self.run(
            "INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19) ON CONFLICT (id) DO NOTHING",
            params![
                id_text(&row.id),
                origin_text(&row.stream.origin),
                branch_text(&row.stream),
                signed(row.id.seq),
                row.stream.origin.lane.name(),
                signed(row.hlc.0),
                time(row.hlc),
                row.kind,
                row.record_key,
                row.base.as_deref().map(ids_text),
                row.op.name(),
                row.orig.as_ref().map(id_text),
                row.content_type.unwrap_or("application/json"),
                row.author,
                row.idempotency_key,
                signed(row.len),
                hex(&row.sha256.0),
                rusqlite::types::ToSqlOutput::Borrowed(payload),
                row.counts,
            ],
        )?;
        if put == 0 {
            also::put(self, row)?;
            return Ok(false);
        }
        *self.days.entry((row.id.origin.node, row.hlc.ms() / DAY_MS)).or_default() += 1;
        Ok(true)
    }

    fn set_place(&mut self, place: &Place, name: &str, node_name: &str) -> Result<(), ProjectionError> {
        let Place { stream, seq, hash, counted, lacking } = place;
        self.run(
            // Most have not moved: then nothing is written.
            "INSERT INTO origin VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (origin, branch) DO UPDATE SET name = excluded.name,
             node = excluded.node, seq = excluded.seq, hash = excluded.hash, counted = excluded.counted, lacking = excluded.lacking
             WHERE (name, node, seq, hash, counted, lacking)
             IS NOT (excluded.name, excluded.node, excluded.seq, excluded.hash, excluded.counted, excluded.lacking)",
            params![
                origin_text(&stream.origin),
                branch_text(stream),
                name,
                node_name,
                stream.origin.lane.name(),
                signed(*seq),
                hash.as_ref().map(|hash| hash.0.as_slice()),
                signed(*counted),
                stretches_text(lacking)
            ],
        )
        .map(|_| ())
    }

    fn recount(&mut self, stream: &Stream, counted: u64) -> Result<Vec<String>, ProjectionError> {
        let (origin, branch) = (origin_text(&stream.origin), branch_text(stream));
        // An id begins with its origin.
        let (from, to) = (format!("{origin}:"), format!("{origin};"));
        let here = "(branch = ?3 OR id IN (SELECT id FROM event_also WHERE id >= ?1 AND id < ?2 AND branch = ?3))";
        let counts = "coalesce((SELECT max(p.counts) FROM event_also p WHERE p.id = event.id), seq <= ?4)";
        let wrong = format!("id >= ?1 AND id < ?2 AND {here} AND counts <> {counts}");
        let values = params![from, to, branch, signed(counted)];
        self.run(also::RECOUNT, values)?;
        let touched = format!("SELECT DISTINCT record FROM event WHERE {wrong} AND record IS NOT NULL");
        let touched = self.all(&touched, values, |row| Ok(row.get(0)?))?;
        self.run(&format!("UPDATE event SET counts = {counts} WHERE {wrong}"), values)?;
        Ok(touched)
    }

    fn previous(&mut self, stream: &Stream, fork: u64, record_key: &str, seq: u64) -> Result<Option<EventId>, ProjectionError> {
        let origin = origin_text(&stream.origin);
        let on = |branch: &str, seq: u64| {
            self.all(also::PREVIOUS, params![record_key, origin, branch, signed(seq)], |row| id(row, 0)).map(|mut ids| ids.pop())
        };
        match (on(&branch_text(stream), seq)?, stream.branch) {
            (None, Some(_)) => on("", fork + 1),
            (found, _) => Ok(found),
        }
    }

    fn versions(&mut self, record_key: &str) -> Result<Vec<Version>, ProjectionError> {
        let sql = format!("SELECT {VERSION_COLUMNS} FROM event WHERE record = ?1 AND counts");
        self.all(&sql, [record_key], version)
    }

    fn heads(&mut self, record_key: &str, count_max: u64) -> Result<Vec<Version>, ProjectionError> {
        let sql = format!("SELECT {VERSION_COLUMNS} FROM record_head h JOIN event e USING (id) WHERE h.record = ?1 ORDER BY h.rank DESC LIMIT ?2");
        self.all(&sql, params![record_key, i64::try_from(count_max).unwrap_or(i64::MAX)], version)
    }

    fn holds(&mut self, id: &EventId) -> Result<bool, ProjectionError> {
        Ok(!self.all("SELECT 1 FROM event WHERE id = ?1", [id_text(id)], |_| Ok(()))?.is_empty())
    }

    fn set_record(&mut self, record_key: &str, folded: &Folded, heads: &[&Version]) -> Result<(), ProjectionError> {
        self.run("DELETE FROM record_head WHERE record = ?1", [record_key])?;
        self.run("DELETE FROM record_waiting WHERE record = ?1", [record_key])?;
        let Some(shown) = folded.heads.first() else {
            return self.run("DELETE FROM record WHERE record = ?1", [record_key]).map(|_| ());
        };
        let count = signed(folded.heads.len() as u64);
        self.run(
            "INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4, ?5)",
            params![record_key, folded.state.name(), id_text(shown), count, folded.circular],
        )?;
        for head in heads {
            self.add_head(record_key, head)?;
        }
        folded.waiting.iter().try_for_each(|id| self.add_waiting(record_key, id))
    }

    fn arrived(&mut self, id: &EventId) -> Result<Vec<String>, ProjectionError> {
        let waited = self.all("SELECT record FROM record_waiting WHERE id = ?1", [id_text(id)], |row| Ok(row.get(0)?))?;
        if !waited.is_empty() {
            self.run("DELETE FROM record_waiting WHERE id = ?1", [id_text(id)])?;
        }
        Ok(waited)
    }

    fn is_entangled(&mut self, record_key: &str, version: &Version) -> Result<bool, ProjectionError> {
        let is_there = |sql: &str, values: &[&dyn rusqlite::ToSql]| Ok::<_, ProjectionError>(self.database.prepare_cached(sql)?.exists(values)?);
        if version.orig.is_some() || is_there("SELECT 1 FROM record WHERE record = ?1 AND circular", &[&record_key])? {
            return Ok(true);
        }
        if !is_there("SELECT 1 FROM event WHERE record = ?1 AND orig IS NOT NULL", &[&record_key])? {
            return Ok(false);
        }
        let origin = origin_text(&version.id.origin);
        let repeats = "SELECT 1 FROM event WHERE record = ?1 AND orig IS NOT NULL AND orig >= ?2 AND orig < ?3";
        let stray = "SELECT 1 FROM event WHERE record = ?1 AND origin = ?2 AND orig IS NOT NULL AND base IS NULL AND substr(orig, 1, 17) <> substr(id, 1, 17)";
        if is_there(repeats, &[&record_key, &format!("{origin}:"), &format!("{origin};")])? || is_there(stray, &[&record_key, &origin])? {
            return Ok(true);
        }
        for base in version.base.iter().flatten() {
            let base = id_text(base);
            let repeated = "SELECT 1 FROM event WHERE record = ?1 AND orig IS NOT NULL AND orig = ?2";
            if is_there("SELECT 1 FROM event WHERE id = ?1 AND orig IS NOT NULL", &[&base])? || is_there(repeated, &[&record_key, &base])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn line(&mut self, record_key: &str) -> Result<Line, ProjectionError> {
        // Repetitions that do not count make no record, and may count one day.
        let sql = "SELECT (SELECT CASE WHEN head_count = 1 AND NOT circular THEN shown ELSE '' END FROM record WHERE record = ?1),
                   EXISTS (SELECT 1 FROM record_waiting WHERE record = ?1) OR EXISTS (SELECT 1 FROM event WHERE record = ?1 AND orig IS NOT NULL)";
        let (shown, tangled): (Option<String>, bool) =
            self.database.prepare_cached(sql)?.query_row([record_key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        match shown {
            _ if tangled => Ok(Line::Tangled),
            None => Ok(Line::Nothing),
            Some(shown) if shown.is_empty() => Ok(Line::Tangled),
            Some(shown) => parse_id(&shown).map(Line::EndsWith).ok_or(ProjectionError::Damaged("record")),
        }
    }

    fn set_line(&mut self, record_key: &str, before: Line, head: &Version, state: State) -> Result<(), ProjectionError> {
        let (of_head, of_record) = match before {
            Line::Nothing => ("INSERT INTO record_head VALUES (?1, ?2, ?3, ?4)", "INSERT INTO record VALUES (?1, ?2, ?3, 1, 0)"),
            _ => (
                "UPDATE record_head SET rank = ?2, id = ?3, content = ?4 WHERE record = ?1",
                "UPDATE record SET state = ?2, shown = ?3 WHERE record = ?1",
            ),
        };
        let id = id_text(&head.id);
        self.run(of_head, params![record_key, rank(head), id, content(head)])?;
        self.run(of_record, params![record_key, state.name(), id]).map(|_| ())
    }

    fn version(&mut self, record_key: &str, id: &EventId) -> Result<Option<Version>, ProjectionError> {
        let sql = format!("SELECT {VERSION_COLUMNS} FROM event WHERE id = ?1 AND record = ?2 AND counts");
        Ok(self.all(&sql, [&id_text(id), record_key], version)?.pop())
    }

    fn add_head(&mut self, record_key: &str, head: &Version) -> Result<bool, ProjectionError> {
        let sql = "INSERT OR IGNORE INTO record_head VALUES (?1, ?2, ?3, ?4)";
        Ok(self.run(sql, params![record_key, rank(head), id_text(&head.id), content(head)])? > 0)
    }

    fn remove_head(&mut self, record_key: &str, head: &Version) -> Result<bool, ProjectionError> {
        Ok(self.run("DELETE FROM record_head WHERE record = ?1 AND rank = ?2", params![record_key, rank(head)])? > 0)
    }

    fn add_waiting(&mut self, record_key: &str, id: &EventId) -> Result<(), ProjectionError> {
        self.run("INSERT OR IGNORE INTO record_waiting VALUES (?1, ?2)", params![id_text(id), record_key]).map(|_| ())
    }

    fn shown(&mut self, record_key: &str) -> Result<Option<(Version, bool)>, ProjectionError> {
        let Some(shown) = self.heads(record_key, 1)?.pop() else { return Ok(None) };
        let ends = "SELECT (SELECT min(content) FROM record_head WHERE record = ?1) <> (SELECT max(content) FROM record_head WHERE record = ?1)";
        let differ = self.database.prepare_cached(ends)?.query_row([record_key], |row| row.get(0))?;
        Ok(Some((shown, differ)))
    }

    fn waits(&mut self, record_key: &str) -> Result<bool, ProjectionError> {
        Ok(self.database.prepare_cached("SELECT 1 FROM record_waiting WHERE record = ?1")?.exists([record_key])?)
    }

    fn set_state(&mut self, record_key: &str, state: State, shown: &EventId, more: i64) -> Result<(), ProjectionError> {
        self.run(
            "INSERT INTO record VALUES (?1, ?2, ?3, ?4, 0)
             ON CONFLICT (record) DO UPDATE SET state = excluded.state, shown = excluded.shown, head_count = head_count + excluded.head_count",
            params![record_key, state.name(), id_text(shown), more],
        )
        .map(|_| ())
    }

    fn record(&mut self, record_key: &str, count_max: u64) -> Result<Option<Folded>, ProjectionError> {
        let damaged = || ProjectionError::Damaged("record");
        let mut found = self.all("SELECT state, circular, head_count FROM record WHERE record = ?1", [record_key], |row| {
            let state: String = row.get(0)?;
            Ok((State::from_name(&state).ok_or_else(damaged)?, row.get(1)?, unsigned(row.get(2)?)))
        })?;
        let Some((state, circular, head_count)) = found.pop() else { return Ok(None) };
        let most = i64::try_from(count_max).unwrap_or(i64::MAX);
        let heads = "SELECT id FROM record_head WHERE record = ?1 ORDER BY rank DESC LIMIT ?2";
        let heads = self.all(heads, params![record_key, most], |row| id(row, 0))?;
        let mut waiting = self.all("SELECT id FROM record_waiting WHERE record = ?1 LIMIT ?2", params![record_key, most], |row| id(row, 0))?;
        waiting.sort_unstable();
        Ok(Some(Folded { state, heads, head_count, waiting, circular }))
    }

    fn each_head(&mut self, record_key: &str, tell: &mut dyn FnMut(EventId) -> bool) -> Result<(), ProjectionError> {
        let mut statement = self.database.prepare_cached("SELECT id FROM record_head WHERE record = ?1 ORDER BY rank DESC")?;
        let mut rows = statement.query([record_key])?;
        while let Some(row) = rows.next()? {
            if !tell(id(row, 0)?) {
                break;
            }
        }
        Ok(())
    }

    fn records_in(&mut self, state: State, after: Option<&str>, count_max: u64) -> Result<Vec<String>, ProjectionError> {
        let sql = "SELECT record FROM record WHERE state = ?1 AND (?2 IS NULL OR record > ?2) ORDER BY record LIMIT ?3";
        self.all(sql, params![state.name(), after, i64::try_from(count_max).unwrap_or(i64::MAX)], |row| Ok(row.get(0)?))
    }

    fn open_conflicts(&mut self, waited: Hlc, after: Option<&str>, count_max: u64) -> Result<Vec<String>, ProjectionError> {
        let sql = format!(
            "SELECT record FROM record WHERE state = 'conflict' AND (?2 IS NULL OR record > ?2) UNION ALL
             SELECT record FROM record r WHERE state = 'pending' AND (?2 IS NULL OR record > ?2) AND {OVERDUE} ORDER BY record LIMIT ?3"
        );
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        self.all(&sql, params![waited.0.to_be_bytes(), after, count_max], |row| Ok(row.get(0)?))
    }

    fn count_overdue(&mut self, waited: Hlc) -> Result<u64, ProjectionError> {
        let sql = format!("SELECT count(*) FROM record r WHERE state = 'pending' AND {OVERDUE}");
        Ok(self.database.prepare_cached(&sql)?.query_row([waited.0.to_be_bytes()], |row| Ok(unsigned(row.get(0)?)))?)
    }

    fn count_in(&mut self, state: State) -> Result<u64, ProjectionError> {
        let sql = "SELECT count(*) FROM record WHERE state = ?1";
        Ok(self.database.prepare_cached(sql)?.query_row([state.name()], |row| Ok(unsigned(row.get(0)?)))?)
    }

    fn state(&mut self, record_key: &str) -> Result<Option<State>, ProjectionError> {
        let mut found = self.all("SELECT state FROM record WHERE record = ?1", [record_key], |row| {
            let state: String = row.get(0)?;
            State::from_name(&state).ok_or(ProjectionError::Damaged("record"))
        })?;
        Ok(found.pop())
    }

    fn notices(&mut self, node: &NodeId, writers: &[NodeId], after: Option<Notice>, count_max: u64) -> Result<Vec<Notice>, ProjectionError> {
        let sql = "SELECT id, hlc FROM event WHERE type = 'zbundle.conflict' AND counts AND substr(origin, -18) = ?1
                   AND instr(?2, substr(origin, 1, 17)) AND (hlc, id) < (?3, ?4) ORDER BY hlc DESC, id DESC LIMIT ?5";
        let (to, by) = (format!(">@{}", hex(&node.0)), writers.iter().flat_map(|writer| ["@".to_owned(), hex(&writer.0)]).collect::<String>());
        let (hlc, before) = after.map_or((i64::MAX, "~".to_owned()), |(id, hlc)| (signed(hlc.0), id_text(&id))); // ids begin with @
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        self.all(sql, params![to, by, hlc, before, count_max], |row| Ok((id(row, 0)?, Hlc(unsigned(row.get(1)?)))))
    }

    fn ruled_by(&mut self) -> Result<i64, ProjectionError> {
        Ok(self.print("rules")?.unwrap_or(0))
    }

    fn set_ruled_by(&mut self, print: i64) -> Result<(), ProjectionError> {
        self.set_print("rules", print)
    }

    fn named_by(&mut self) -> Result<i64, ProjectionError> {
        Ok(self.print("names")?.unwrap_or(0))
    }

    fn set_named_by(&mut self, print: i64) -> Result<(), ProjectionError> {
        self.set_print("names", print)
    }

    fn activity(&mut self, since_day: u64) -> Result<Vec<(NodeId, u64, u64)>, ProjectionError> {
        let damaged = || ProjectionError::Damaged("activity");
        self.all("SELECT node, day, events FROM activity WHERE day >= ?1 ORDER BY node, day", [signed(since_day)], |row| {
            let node: String = row.get(0)?;
            Ok((NodeId(from_hex(&node).ok_or_else(damaged)?), unsigned(row.get(1)?), unsigned(row.get(2)?)))
        })
    }

    fn counts(&mut self) -> Result<(u64, u64), ProjectionError> {
        let sql = "SELECT (SELECT count(*) FROM event), (SELECT count(*) FROM record)";
        Ok(self.database.query_row(sql, [], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?)
    }

    fn pushed_as(&mut self, node: &NodeId, idempotency_key: &str) -> Result<Vec<(Stream, EventId)>, ProjectionError> {
        let sql = "SELECT origin, branch, id FROM event WHERE idempotency_key = ?1 AND counts AND id >= ?2 AND id < ?3 ORDER BY id";
        let from = format!("@{}~", hex(&node.0));
        let to = format!("@{}\u{7f}", hex(&node.0));
        self.all(sql, params![idempotency_key, from, to], |row| Ok((stream(row, 0, 1)?, id(row, 2)?)))
    }
}
