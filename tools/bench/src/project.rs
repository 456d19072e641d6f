//! The tables made from the log, in this process: how many events a second, how far behind, and what a key with very many events costs.
//!
//! In: an empty folder. Out: rates against the same rows put into bare `SQLite` in transactions of the same size, in turns.

use crate::Failure;
use crate::clinic;
use crate::measure::Times;
use crate::report::{Report, Unit, thousands, time};
use bundle_format::ids::{Lane, Name};
use std::path::Path;
use std::time::{Duration, Instant};
use zbundle::adapters::{SqliteProjection, os_ports};
use zbundle::keys::Secret;
use zbundle::node::{Node, Opening};
use zbundle::ports::projection::Projection as _;
use zbundle::project::fold::fold;
use zbundle::push::{Fields, PushError};

/// Events of a log.
const EVENT_COUNT: usize = 50_000;
/// Single events that are followed.
const STEP_COUNT: usize = 300;
/// Rows in a transaction, as in `node::projecting`.
const BATCH_COUNT: usize = 2000;

/// How events share keys.
#[derive(Clone, Copy)]
enum Shape {
    /// Ten to a key.
    Ten,
    /// All have one, each builds on the last.
    Line,
    /// All have one, none has seen another.
    Heads,
}

impl Shape {
    fn name(self) -> &'static str {
        match self {
            Self::Ten => "ten events a key",
            Self::Line => "one key, each on the last",
            Self::Heads => "one key, every event a head",
        }
    }

    fn fields(self, at: usize) -> Fields {
        let (key, base) = match self {
            Self::Ten => (format!("Patient/{}", at / 10), None),
            Self::Line => ("Patient/1".to_owned(), None),
            Self::Heads => ("Patient/1".to_owned(), Some(Vec::new())),
        };
        Fields { kind: "record".to_owned(), record_key: Some(key), base, ..Fields::default() }
    }
}

fn push(node: &mut Node, shape: Shape, from: usize, count: usize) -> Result<(), Failure> {
    let streams = node.push_streams(Lane::Routine, &[])?;
    let lines: Vec<String> = clinic::events(from as u64 + 1, count).collect();
    node.with_pusher(&streams, |pusher| {
        for (line, at) in lines.iter().zip(from..) {
            pusher.push(&shape.fields(at), line.len() as u64, &mut line.as_bytes())?;
        }
        pusher.sync()?;
        Ok::<_, PushError>(())
    })?;
    Ok(())
}

/// Catch up a transaction at a time, as `serve` does.
fn follow(node: &Node, tables: &mut SqliteProjection) -> Result<Duration, Failure> {
    let begun = Instant::now();
    while node.project_on(tables)?.paused {}
    Ok(begun.elapsed())
}

/// The yardstick: what the rows cost alone.
fn bare(path: &Path, shape: Shape) -> Result<Duration, Failure> {
    let mut database = rusqlite::Connection::open(path)?;
    database.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-1024;
         CREATE TABLE event (id TEXT NOT NULL UNIQUE, record TEXT, type TEXT, sha256 TEXT, payload);
         CREATE INDEX event_record ON event (record, id);",
    )?;
    let lines: Vec<String> = clinic::events(1, EVENT_COUNT).collect();
    let begun = Instant::now();
    for (batch, number) in lines.chunks(BATCH_COUNT).zip(0..) {
        let transaction = database.transaction()?;
        for (line, at) in batch.iter().zip(number * BATCH_COUNT..) {
            let id = format!("@0123456789abcdef~01234567/routine:{at}.d{at:016x}");
            let key = shape.fields(at).record_key;
            transaction.prepare_cached("INSERT INTO event VALUES (?, ?, 'record', ?, ?)")?.execute((id, key, format!("{at:064x}"), line))?;
        }
        transaction.commit()?;
    }
    Ok(begun.elapsed())
}

/// `project/…`
///
/// # Errors
/// The disk's, `SQLite`'s.
pub fn project(scratch: &Path, report: &mut Report) -> Result<(), Failure> {
    let mut alone = None;
    for shape in [Shape::Ten, Shape::Line, Shape::Heads] {
        let folder = scratch.join(shape.name().replace(' ', "-"));
        std::fs::create_dir_all(&folder)?;
        let ports = os_ports();
        let secret = Secret::make_key_file(&*ports.disk, &folder.join("node.key"), &*ports.entropy)?;
        let opening = Opening { data_dir: &folder.join("node"), secret: &secret, lock_wait_ms: 0 };
        let mut node = Node::init(&ports, &opening, &Name::new("hub")?, true)?;
        push(&mut node, shape, 0, EVENT_COUNT)?;
        let rows = bare(&folder.join("bare.db"), shape)?;
        let mut tables = SqliteProjection::open(&folder.join("tables.db"), true)?;
        let took = follow(&node, &mut tables)?;
        let rate = |took: Duration| format!("{} events/s", thousands((EVENT_COUNT as f64 / took.as_secs_f64()) as u64));
        report.note(format!("project/{} events, {}", thousands(EVENT_COUNT as u64), shape.name()), rate(took));
        let times = took.as_secs_f64() / rows.as_secs_f64();
        report.note(format!("project/{}, time against bare SQLite", shape.name()), format!("{times:.2} ×; bare {}", rate(rows)));
        let mut lag = Times::default();
        for step in 0..STEP_COUNT {
            push(&mut node, shape, EVENT_COUNT + step, 1)?;
            lag.push(follow(&node, &mut tables)?);
        }
        let p50 = lag.percentile(50);
        report.note(format!("project/{}, one event more", shape.name()), format!("p50 {}, p99 {}", time(p50), time(lag.percentile(99))));
        let begun = Instant::now();
        let versions = tables.versions(if matches!(shape, Shape::Ten) { "Patient/0" } else { "Patient/1" })?;
        let heads = fold(&versions, |_| false).map_or(0, |folded| folded.heads.len());
        report
            .note(format!("project/{}, its key folded whole", shape.name()), format!("{}, {} heads", time(begun.elapsed()), thousands(heads as u64)));
        let first = *alone.get_or_insert(p50);
        report.at_most(
            format!("project/{}, one event more against ten a key", shape.name()),
            p50.as_secs_f64() / first.as_secs_f64(),
            3.0,
            Unit::Times,
        );
    }
    Ok(())
}
