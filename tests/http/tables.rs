//! Tables in a file, and a process that is killed while it fills them.

use crate::world;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::{Duration, Instant};

/// Six transactions.
const EVENT_COUNT: i64 = 12_000;

fn events(path: &Path) -> i64 {
    let Ok(database) = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY) else { return 0 };
    database.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap_or(0)
}

/// The same, where nobody is at work: tables that cannot be read are a fault.
fn events_for_sure(path: &Path) -> i64 {
    let database = Connection::open(path).unwrap(); // it may have to recover them
    let made: i64 = database.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'event'", [], |row| row.get(0)).unwrap();
    if made == 0 { 0 } else { database.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap() }
}

/// All rows of all tables, in an order of their own.
fn content(path: &Path) -> Vec<Vec<Value>> {
    let database = Connection::open(path).unwrap();
    let mut all = Vec::new();
    for table in ["event", "record", "record_head", "record_waiting", "origin", "activity", "current", "setting"] {
        let mut rows = database.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let count = rows.column_count();
        let read = rows.query_map([], |row| (0..count).map(|column| row.get(column)).collect()).unwrap();
        all.extend(read.map(Result::unwrap));
    }
    all
}

/// R11.2-b, by SIGKILL: wherever it hits, the next run goes on, and the tables are those of a run that nobody disturbed.
#[test]
fn a_process_killed_while_it_projects_neither_doubles_nor_skips() {
    let dir = world::node();
    let (lines, at) = (dir.path().with_file_name("lines"), |name: &str| dir.path().with_file_name(name));
    std::fs::write(&lines, (0..EVENT_COUNT).map(|number| format!("{{\"n\":{number}}}")).collect::<Vec<_>>().join("\n")).unwrap();
    world::zbundle(&dir.path(), &["push", "--key", "Patient/1", "--ndjson", lines.to_str().unwrap()]);
    let (mut kills, mut held) = (Vec::new(), 0);
    let begun = Instant::now();
    for run in 0.. {
        let path = at(&format!("{}.db", if kills.is_empty() { run } else { 99 })); // from the first kill on it is one file
        let mut child = world::started(&dir.path(), &["project", "--to", path.to_str().unwrap()]);
        while child.try_wait().unwrap().is_none() && events(&path) <= held {
            assert!(begun.elapsed() < Duration::from_mins(3), "{kills:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap_or(()); // it may have ended
        child.wait().unwrap();
        held = if path.exists() { events_for_sure(&path) } else { 0 };
        if held < EVENT_COUNT {
            if kills.is_empty() {
                for beside in ["", "-wal", "-shm"] {
                    std::fs::rename(at(&format!("{run}.db{beside}")), at(&format!("99.db{beside}"))).unwrap_or(()); // not all are there
                }
            }
            kills.push(held);
        } else if kills.is_empty() {
            held = 0; // it was faster than we were: again
        } else {
            break;
        }
    }
    world::zbundle(&dir.path(), &["project", "--to", at("99.db").to_str().unwrap()]);
    world::zbundle(&dir.path(), &["project", "--to", at("whole.db").to_str().unwrap()]);
    assert!(kills.iter().all(|held| held % 2000 == 0), "a transaction is there whole or not at all: {kills:?}");
    assert!(content(&at("99.db")) == content(&at("whole.db")), "killed at {kills:?}");
    assert_eq!(events(&at("99.db")), EVENT_COUNT);
}

/// A second connection of one process let go of what the first one had locked: whoever came and went from outside then took the write-ahead file away.
#[test]
fn tables_opened_twice_in_one_process_stay_locked() {
    use zbundle::adapters::SqliteProjection;
    use zbundle::ports::projection::Projection as _;
    let dir = world::node();
    world::zbundle(&dir.path(), &["push", "1", "--key", "Patient/1"]);
    let path = dir.path().with_file_name("a.db");
    let to = path.to_str().unwrap();
    world::zbundle(&dir.path(), &["project", "--to", to]);
    let mut first = SqliteProjection::open(&path, true).unwrap();
    assert_eq!(first.counts().unwrap().0, 1);
    drop(SqliteProjection::open(&path, true).unwrap());
    world::zbundle(&dir.path(), &["push", "2", "--key", "Patient/2"]);
    world::zbundle(&dir.path(), &["project", "--to", to]);
    assert!(path.with_file_name("a.db-wal").exists(), "somebody still has it open");
    assert_eq!(first.counts().unwrap().0, 2);
}
