//! Opening the file: whose it is, how it is to be used, and the tables in it, made where there are none of this version.

use crate::ports::projection::ProjectionError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension as _};
use std::time::Duration;

/// "zbdl": whose database this is (`PRAGMA application_id`).
const APPLICATION: i64 = 0x7a62_646c;
/// The tables' version (`PRAGMA user_version`); an older one is made again from the log.
const VERSION: i64 = 9;
/// How long we wait for a reader's or another writer's lock, unless told otherwise.
const BUSY: Duration = Duration::from_secs(5);
/// Pages in memory, in KiB, and the most the write-ahead file grows to before it is folded in, in pages: memory stays small whatever the log's size.
const BOUNDS: &str = "PRAGMA cache_size = -1024; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 4194304; PRAGMA temp_store = FILE;";

/// A database that is ours, with its tables, and whether their rows hold payloads.
pub(super) fn prepared(mut database: Connection, payloads: bool) -> Result<(Connection, bool), ProjectionError> {
    database.busy_timeout(BUSY)?;
    database.set_prepared_statement_cache_capacity(32);
    let number = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let objects: i64 = database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let ours = application == APPLICATION && version <= VERSION;
    if !ours && (application != 0 || version != 0 || objects != 0) {
        return Err(ProjectionError::Foreign { application, version });
    }
    database.execute_batch(BOUNDS)?;
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?; // without it a statement is planned anew for each value bound to its LIMIT
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?; // the log is the truth: a power cut may cost the last transactions, never their wholeness
    // An older version's tables go, but not what somebody has asked for.
    let had_setting = database.prepare("SELECT value FROM setting WHERE name = 'payloads'");
    let held = match had_setting.and_then(|mut setting| setting.query_row([], |row| row.get::<_, bool>(0)).optional()) {
        Err(_) if version != VERSION => None, // an empty file, or tables that had no settings
        held => held?,
    };
    let payloads = payloads || held == Some(true);
    if version != VERSION || held != Some(payloads) {
        make_tables(&mut database, payloads)?;
    }
    Ok((database, payloads))
}

/// Whatever stood there before is ours and can be made again.
fn make_tables(database: &mut Connection, payloads: bool) -> Result<(), ProjectionError> {
    let transaction = database.transaction()?;
    let names = "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY type DESC";
    let old: Vec<(String, String)> = transaction.prepare(names)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    for (kind, name) in old {
        transaction.execute_batch(&format!("DROP {kind} \"{}\"", name.replace('"', "\"\"")))?;
    }
    transaction.execute_batch(include_str!("../sqlite.sql"))?;
    transaction.execute("INSERT INTO setting VALUES ('payloads', ?1), ('whole', 0)", [payloads])?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(transaction.commit()?)
}
