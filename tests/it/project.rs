//! Tables made from the log: the same however they came about, and never ahead of or behind what they say.

use crate::conflicts::sha;
use crate::lab::Luck;
use crate::mend::{is_routine, rot, seal};
use crate::rot::say;
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::Lane;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::path::Path;
use zbundle::adapters::SqliteProjection;
use zbundle::keys::Policy;
use zbundle::node::idempotency::Repeated;
use zbundle::node::projecting::Projected;
use zbundle::ports::projection::{Projection, ProjectionError, State};
use zbundle::push::Fields;

pub fn push_record(world: &World, name: &str, lane: Lane, fields: &Fields, payload: &[u8]) -> String {
    let mut node = world.open(name);
    let streams = node.push_streams(lane, &[]).unwrap();
    let pushed = node.with_pusher(&streams, |pusher| {
        let pushed = pusher.push(fields, payload.len() as u64, &mut &*payload).unwrap();
        pusher.sync().unwrap();
        pushed
    });
    node.pushed_ids(&pushed).remove(0)
}

pub fn of_record(key: &str) -> Fields {
    Fields { kind: "vitals".into(), record_key: Some(key.into()), ..Fields::default() }
}

fn project(world: &World, name: &str, file: &str, rebuild: bool) -> Projected {
    let mut tables = SqliteProjection::open(&world.path(file), true).unwrap();
    world.view(name).project(&mut tables, rebuild).unwrap()
}

/// Every row of every table, in an order of its own.
pub fn content(path: &Path) -> Vec<(String, Vec<Value>)> {
    let database = Connection::open(path).unwrap();
    let mut all = Vec::new();
    for table in ["event", "record", "record_head", "record_waiting", "origin", "activity", "conflict", "current", "setting"] {
        let mut rows = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let count = rows.column_count();
        let read = rows.query_map([], |row| (0..count).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()).unwrap();
        let mut rows: Vec<_> = read.map(|row| (table.to_owned(), row.unwrap())).collect();
        rows.sort_by_key(|row| format!("{row:?}"));
        all.extend(rows);
    }
    all
}

fn ask<T: rusqlite::types::FromSql>(world: &World, file: &str, sql: &str) -> T {
    Connection::open(world.path(file)).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// A hub and two clinics; R11.2-b, R11.2-c, R11.2-e.
#[test]
fn tables_made_step_by_step_equal_tables_made_at_once() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    world.join("gasa", "hub", Policy::Own);
    for round in 0..4 {
        for clinic in ["lunana", "gasa"] {
            world.clock.set(world.clock.get() + 60_000);
            push_record(&world, clinic, Lane::Routine, &of_record("Patient/1"), format!("{{\"round\":{round},\"at\":\"{clinic}\"}}").as_bytes());
            push_record(&world, clinic, Lane::Urgent, &of_record(&format!("Patient/{clinic}")), &[0xff, round]);
            push_record(&world, clinic, Lane::Bulk, &Fields { kind: "scan".into(), ..Fields::default() }, &vec![round; 9000]);
            let carried = world.carry(clinic, "hub", &format!("stick-{clinic}-{round}"));
            assert!(carried.counts.new > 0);
            project(&world, "hub", "steps.db", false);
        }
    }
    assert_eq!(project(&world, "hub", "steps.db", false).events, 0, "nothing is projected twice");
    assert_eq!(project(&world, "hub", "once.db", false).events, 24);
    let steps = content(&world.path("steps.db"));
    assert_eq!(steps, content(&world.path("once.db")));
    assert!(project(&world, "hub", "steps.db", true).rebuilt);
    assert_eq!(steps, content(&world.path("steps.db")), "made anew it is the same");
    assert_eq!(ask::<i64>(&world, "steps.db", "SELECT count(*) FROM event WHERE type = 'scan' AND len = 9000 AND length(payload) = 9000"), 8);
    assert_eq!(ask::<String>(&world, "steps.db", "SELECT state FROM record WHERE record = 'Patient/1'"), "conflict");
    assert_eq!(ask::<i64>(&world, "steps.db", "SELECT max(payload ->> '$.round') FROM conflict"), 3, "JSON is asked by its fields");
    assert_eq!(ask::<i64>(&world, "steps.db", "SELECT count(*) FROM record WHERE state = 'settled'"), 2, "each clinic's own history is one line");
}

/// R11.2-b: a transaction that a crash cut off leaves the place where it was; so does one that was never committed.
#[test]
fn a_crash_between_rows_neither_doubles_nor_skips() {
    let world = World::new();
    world.init("lunana", true);
    world.push("lunana", &["1", "2", "3"]);
    project(&world, "lunana", "a.db", false);
    world.push("lunana", &["4", "5"]);
    {
        let mut tables = SqliteProjection::open(&world.path("a.db"), true).unwrap();
        let view = world.view("lunana");
        tables.begin().unwrap();
        tables.clear().unwrap();
        drop(view);
    } // the process ends with everything deleted and nothing committed
    assert_eq!(project(&world, "lunana", "a.db", false), Projected { events: 2, ..Projected::default() });
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM event"), 5);
}

/// R11.2-d: an old card was put back in: the tables are of a future that the log no longer has.
#[test]
fn tables_of_another_past_are_made_anew() {
    let world = World::new();
    world.init("lunana", true);
    world.push("lunana", &["1", "2"]);
    world.image("lunana", "old");
    world.push("lunana", &["3"]);
    project(&world, "lunana", "a.db", false);
    world.restore("old", "lunana");
    world.push("lunana", &["three, told otherwise", "4"]);
    assert!(project(&world, "lunana", "a.db", false).rebuilt);
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM event WHERE payload LIKE 'three%'"), 1);
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM event"), 4);
}

/// A hub that took six events of a clinic, each by a stick of its own; the last but one is longer than an event. What begins at `firsts` has rotted there.
fn rotten_at_hub(firsts: &[u64]) -> World {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    for (number, len) in (0..).zip([20, 30, 40, 50, 9000, 60]) {
        push_record(&world, "lunana", Lane::Routine, &of_record(&format!("Patient/{}", number % 2 + 1)), &vec![number; len]);
        world.carry("lunana", "hub", &format!("up{number}"));
    }
    world.carry("hub", "lunana", "receipt");
    seal(&world, "hub");
    rot(&world, "hub", is_routine, firsts);
    world
}

/// R11.2-j: one byte that rots costs its own row, and stops no other: those behind it, those to come, those of other histories.
#[test]
fn what_rotted_costs_its_own_row() {
    let world = rotten_at_hub(&[2, 5]); // the fifth is three events: with the first of them its payload is gone
    let done = project(&world, "hub", "steps.db", false);
    assert_eq!((done.events, done.lacking), (4, 4));
    assert_eq!(ask::<String>(&world, "steps.db", "SELECT lacking FROM origin WHERE lane = 'routine'"), "[[2,2],[5,7]]");
    assert_eq!(ask::<String>(&world, "steps.db", "SELECT group_concat(seq) FROM (SELECT seq FROM event ORDER BY seq)"), "1,3,4,8");
    let told = say(&world, "hub", &["project", "--to", world.path("told.db").to_str().unwrap()]);
    assert!(told.exit == 19 && told.err.contains("4 events cannot be read here, and no row has them"), "{}{}{}", told.exit, told.out, told.err);
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/1"), b"later");
    push_record(&world, "hub", Lane::Routine, &of_record("Patient/3"), b"ours");
    world.carry("lunana", "hub", "later");
    assert_eq!(project(&world, "hub", "steps.db", false), Projected { events: 2, records: 2, lacking: 4, ..Projected::default() });
    project(&world, "hub", "once.db", false);
    assert_eq!(content(&world.path("steps.db")), content(&world.path("once.db")));
}

/// What comes back becomes rows, and records are as if it had never been away.
#[test]
fn what_rotted_becomes_rows_when_it_is_here_again() {
    let world = rotten_at_hub(&[2, 5]);
    project(&world, "hub", "steps.db", false);
    assert_eq!(say(&world, "hub", &["project"]).exit, 19, "which tells others what is missing here");
    world.carry("hub", "lunana", "down");
    let again = world.carry("lunana", "hub", "again");
    assert_eq!(again.counts.mended, 4);
    let done = project(&world, "hub", "steps.db", false);
    assert_eq!((done.events, done.lacking, done.rebuilt), (6, 0, true));
    project(&world, "hub", "once.db", false);
    assert_eq!(content(&world.path("steps.db")), content(&world.path("once.db")));
    assert_eq!(project(&world, "hub", "steps.db", false), Projected::default());
    assert_eq!(say(&world, "hub", &["project"]).exit, 0);
}

/// R11.2-j: tables that stand in the midst of a payload meet its last part when its first has rotted.
#[test]
fn a_payload_whose_first_part_rots_before_its_last_one_comes_costs_its_own_row() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/1"), b"first");
    world.carry("lunana", "hub", "first");
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/2"), &Luck(7).bytes(300_000));
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/3"), b"behind");
    let hub = world.view("hub").keyring().node();
    let files = world.cut_sized("lunana", &[hub], "parts", 150_000).files;
    assert_eq!(files.len(), 3);
    world.open("hub").ingest(&[files[0].path.clone()], &mut |_| {}).unwrap();
    assert_eq!(project(&world, "hub", "steps.db", false).events, 1, "half of it makes no row");
    seal(&world, "hub");
    rot(&world, "hub", is_routine, &[2]);
    assert_eq!(world.ingest("hub", "parts").files.len(), 3);
    let done = project(&world, "hub", "steps.db", false);
    assert!(done.events == 1 && done.lacking > 0 && !done.rebuilt, "what stands behind it has its row: {done:?}");
    project(&world, "hub", "once.db", false);
    let lacking = "SELECT lacking FROM origin WHERE lane = 'routine'";
    assert_eq!(ask::<String>(&world, "steps.db", lacking), ask::<String>(&world, "once.db", lacking));
    assert_eq!(project(&world, "hub", "steps.db", false).events, 0);

    assert_eq!(say(&world, "hub", &["project"]).exit, 19, "which tells others what is missing here");
    world.carry("hub", "lunana", "down");
    assert!(world.carry("lunana", "hub", "again").counts.mended > 0);
    assert_eq!(project(&world, "hub", "steps.db", false).events, 3);
    assert_eq!(ask::<i64>(&world, "steps.db", "SELECT len FROM event WHERE record = 'Patient/2'"), 300_000);
}

/// A hub catches up a transaction at a time: behind what rotted it goes on where it stopped, though it cannot know the chain hash there.
#[test]
fn what_rotted_is_passed_over_once_however_often_the_work_is_interrupted() {
    let world = World::new();
    world.init("hub", true);
    push_record(&world, "hub", Lane::Routine, &of_record("Patient/1"), b"first");
    for number in 0..6 {
        push_record(&world, "hub", Lane::Routine, &of_record("Patient/2"), &vec![number; 1 << 20]);
    }
    seal(&world, "hub");
    rot(&world, "hub", is_routine, &[1]);
    let view = world.view("hub");
    let mut tables = SqliteProjection::open(&world.path("steps.db"), true).unwrap();
    let mut steps = vec![view.project_on(&mut tables).unwrap()];
    while steps.last().unwrap().paused {
        drop(tables);
        tables = SqliteProjection::open(&world.path("steps.db"), true).unwrap();
        steps.push(view.project_on(&mut tables).unwrap());
    }
    let (paused, events): (Vec<bool>, Vec<u64>) = steps.iter().map(|step| (step.paused, step.events)).unzip();
    assert_eq!((paused, events, steps.iter().any(|step| step.rebuilt)), (vec![true, false], vec![4, 2], false));
    view.project(&mut SqliteProjection::open(&world.path("once.db"), true).unwrap(), false).unwrap();
    assert_eq!(content(&world.path("steps.db")), content(&world.path("once.db")));
}

/// R11.2-k: what is made a transaction at a time says so until it has once held all of the log; being a moment behind is another thing.
#[test]
fn tables_that_are_being_made_are_not_whole() {
    let world = World::new();
    world.init("hub", true);
    world.push("hub", &vec!["1"; 2100]);
    let mut tables = SqliteProjection::open(&world.path("a.db"), false).unwrap();
    let step = |tables: &mut SqliteProjection| {
        let paused = world.view("hub").project_on(tables).unwrap().paused;
        (paused, ask::<bool>(&world, "a.db", "SELECT value FROM setting WHERE name = 'whole'"))
    };
    assert_eq!([step(&mut tables), step(&mut tables)], [(true, false), (false, true)], "made");
    world.push("hub", &vec!["2"; 2100]);
    assert_eq!([step(&mut tables), step(&mut tables)], [(true, true), (false, true)], "behind");
    tables.begin().unwrap();
    tables.clear().unwrap();
    tables.commit().unwrap();
    assert_eq!([step(&mut tables), step(&mut tables), step(&mut tables)], [(true, false), (true, false), (false, true)], "made anew");
}

/// Who decides is told which version cannot be read, and can decide all the same.
#[test]
fn a_version_that_rotted_is_shown_as_that() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/1"), b"{\"bp\":1}");
    world.carry("lunana", "hub", "up");
    let ours = push_record(&world, "hub", Lane::Routine, &of_record("Patient/1"), b"{\"bp\":2}");
    assert_eq!(say(&world, "hub", &["project"]).exit, 0);
    seal(&world, "hub");
    let lunana = world.view("lunana").keyring().node();
    rot(&world, "hub", |origin| is_routine(origin) && origin.node == lunana, &[1]);
    let shown = say(&world, "hub", &["conflicts", "show", "Patient/1"]);
    assert!(shown.exit == 19 && shown.out.matches("cannot be read here: it has rotted").count() == 1, "{}{}{}", shown.exit, shown.out, shown.err);
    let settled = say(&world, "hub", &["conflicts", "resolve", "Patient/1", "--take", &ours]);
    assert_eq!(settled.exit, 0, "{}{}", settled.out, settled.err);
    assert_eq!(say(&world, "hub", &["conflicts", "show", "Patient/1"]).exit, 0, "what was decided can be read");
}

/// R11.1-f: what its key names has rotted: what is pushed once more is stored, and it is that from then on.
#[test]
fn a_push_that_rotted_is_stored_when_it_comes_again() {
    let world = World::new();
    world.init("lunana", true);
    let fields = Fields { idempotency_key: Some("form-881".into()), ..of_record("Patient/1") };
    push_record(&world, "lunana", Lane::Routine, &fields, b"{}");
    project(&world, "lunana", "data.db", false);
    seal(&world, "lunana");
    rot(&world, "lunana", is_routine, &[1]);
    let repeated = |world: &World| {
        let node = world.open("lunana");
        let streams = node.push_streams(Lane::Routine, &[]).unwrap();
        let mut tables = SqliteProjection::open(&world.path("data.db"), false).unwrap();
        (node.repeated(&mut tables, &streams, &fields, &sha(b"{}")).unwrap(), streams)
    };
    let (first, streams) = repeated(&world);
    assert_eq!(first, Repeated { stored: vec![], missing: streams });
    push_record(&world, "lunana", Lane::Routine, &fields, b"{}");
    assert_eq!(repeated(&world).0.missing, []);
}

/// R8.3-h: what was written under a revoked key is a row, and makes no record.
#[test]
fn events_after_revoke_make_no_record_until_they_are_accepted() {
    let world = World::new();
    world.init("hub", true);
    let lunana = world.join("lunana", "hub", Policy::Own);
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/1"), b"before");
    world.carry("lunana", "hub", "s1");
    project(&world, "hub", "a.db", false);
    world.open("hub").revoke(lunana, false).unwrap();
    push_record(&world, "lunana", Lane::Routine, &of_record("Patient/1"), b"after");
    world.carry("lunana", "hub", "s2");
    project(&world, "hub", "a.db", false);
    let shown = "SELECT payload FROM current WHERE record = 'Patient/1'";
    assert_eq!((ask::<String>(&world, "a.db", shown).as_str(), ask::<i64>(&world, "a.db", "SELECT count(*) FROM event")), ("before", 2));
    world.open("hub").accept(lunana, false).unwrap();
    project(&world, "hub", "a.db", false);
    assert_eq!(ask::<String>(&world, "a.db", shown), "after");
    project(&world, "hub", "b.db", false);
    assert_eq!(content(&world.path("a.db")), content(&world.path("b.db")));
}

/// Whoever has the card of a revoked node, as it was some days before, goes on from there: what he writes stands below the kept position, and beside what was
/// kept. It counts nowhere, whichever of the two came first (R8.3-b).
#[test]
fn what_a_thief_writes_beside_what_was_kept_does_not_count() {
    let world = World::new();
    let hub = world.init("hub", true);
    let lunana = world.join("lunana", "hub", Policy::Own);
    let second = world.join("second", "hub", Policy::All);
    let write = |name: &str, record: &str, payload: &[u8]| push_record(&world, name, Lane::Routine, &of_record(record), payload);
    write("lunana", "Patient/1", b"first");
    world.carry("lunana", "hub", "s1");
    world.carry("hub", "lunana", "s1-back"); // it hears of the second hub
    world.carry("hub", "second", "to-second");
    world.image("lunana", "thief");
    std::fs::copy(world.path("lunana.key"), world.path("thief.key")).unwrap();
    write("lunana", "Patient/1", b"second");
    write("lunana", "Patient/2", b"third");
    world.carry("lunana", "hub", "s2");
    world.open("hub").revoke(lunana, false).unwrap();

    write("thief", "Patient/1", b"forged");
    for (to, name) in [(hub, "hub"), (second, "second")] {
        world.cut("thief", &[to], &format!("forged-{name}"));
        assert_eq!(world.ingest(name, &format!("forged-{name}")).counts.new, 1, "stored, and shown as what it is");
    }
    let shown = |name: &str| {
        let file = format!("{name}.db");
        project(&world, name, &file, false);
        let counting = ask::<i64>(&world, &file, "SELECT count(*) FROM event WHERE counts");
        (ask::<String>(&world, &file, "SELECT payload FROM current WHERE record = 'Patient/1'"), counting)
    };
    assert_eq!((shown("hub"), world.after_revoke("hub", lunana)), (("second".into(), 3), 1));
    assert_eq!(shown("second").0, "forged", "it has heard of nothing yet");
    world.carry("hub", "second", "news");
    assert_eq!((shown("second"), world.after_revoke("second", lunana)), (("second".into(), 3), 1));
    // Behind the kept position on his branch it is no better.
    for payload in [b"more", b"much"] {
        write("thief", "Patient/1", payload);
    }
    world.cut("thief", &[second], "more");
    assert_eq!(world.ingest("second", "more").counts.new, 2);
    assert_eq!((shown("second"), world.after_revoke("second", lunana)), (("second".into(), 3), 3));
}

#[test]
fn another_programs_database_is_not_touched() {
    let world = World::new();
    let path = world.path("theirs.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE patients (name TEXT)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let refused = SqliteProjection::open(&path, true).err().unwrap();
    assert_eq!(refused.code(), Code::Z411);
    std::fs::write(world.path("letter.db"), "Dear colleague, ".repeat(100)).unwrap();
    assert!(matches!(SqliteProjection::open(&world.path("letter.db"), true), Err(ProjectionError::Foreign { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

/// The index of a data directory holds no payload unless somebody asked for one; asking makes it anew, and it stays (R11.2-f).
#[test]
fn payloads_are_in_the_clear_only_where_somebody_asked() {
    let world = World::new();
    world.init("lunana", true);
    world.push("lunana", &["secret"]);
    let open = |payloads| SqliteProjection::open(&world.path("a.db"), payloads).unwrap();
    world.view("lunana").project(&mut open(false), false).unwrap();
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM event WHERE payload IS NULL"), 1);
    world.view("lunana").project(&mut open(true), false).unwrap();
    world.view("lunana").project(&mut open(false), false).unwrap();
    assert_eq!(ask::<String>(&world, "a.db", "SELECT payload FROM event"), "secret");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(world.path("a.db")).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "for its owner's eyes");
}

/// An index that an earlier program left is made anew, and holds what somebody asked of that one; a later program's is not touched.
#[test]
fn an_index_of_an_earlier_version_is_made_anew_and_keeps_what_was_asked() {
    let world = World::new();
    world.init("lunana", true);
    world.push("lunana", &["secret"]);
    Connection::open(world.path("a.db")).unwrap().execute_batch(include_str!("../../fixtures/tables/4.sql")).unwrap();
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM conflict WHERE payload ->> '$.bp' LIKE '1%'"), 2, "somebody else's, of old");
    let mut tables = SqliteProjection::open(&world.path("a.db"), false).unwrap();
    let done = world.view("lunana").project(&mut tables, false).unwrap();
    assert_eq!((done.events, ask::<String>(&world, "a.db", "SELECT payload FROM event").as_str()), (1, "secret"));
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM record"), 0, "nothing of the old ones is left");
    drop(tables);
    project(&world, "lunana", "new.db", false);
    assert_eq!(content(&world.path("a.db")), content(&world.path("new.db")));
    let version: i64 = ask(&world, "a.db", "SELECT user_version FROM pragma_user_version");
    Connection::open(world.path("a.db")).unwrap().pragma_update(None, "user_version", version + 1).unwrap();
    assert_eq!(SqliteProjection::open(&world.path("a.db"), false).err().unwrap().code(), Code::Z411);
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM event"), 1);
}

/// Histories that have not moved are passed over, as long as nobody is called otherwise.
#[test]
fn a_history_that_rests_is_not_written_again_until_names_change() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    world.push("lunana", &["1"]);
    world.carry("lunana", "hub", "s1");
    project(&world, "hub", "a.db", false);
    let name = |like: &str| ask::<i64>(&world, "a.db", &format!("SELECT count(*) FROM origin WHERE name LIKE '{like}'"));
    assert_eq!(name("lunana~%"), 1);
    Connection::open(world.path("a.db")).unwrap().execute_batch("UPDATE origin SET name = 'an old name'").unwrap();
    project(&world, "hub", "a.db", false);
    assert_eq!(name("an old name"), 1, "nothing has moved and nobody is called otherwise");
    world.join("gasa", "hub", Policy::Own);
    project(&world, "hub", "a.db", false);
    assert_eq!((name("lunana~%"), name("an old name")), (1, 0), "the roster has changed");
}

/// R11.2-h
#[test]
fn peers_and_bundles_are_tables_too_and_say_what_is_remembered_now() {
    let world = World::new();
    world.init("hub", true);
    let lunana = world.join("lunana", "hub", Policy::Own);
    world.push("lunana", &["1", "2"]);
    world.carry("lunana", "hub", "s1");
    let look = |rebuild| {
        let mut tables = SqliteProjection::open(&world.path("a.db"), false).unwrap();
        let view = world.view("hub");
        view.project(&mut tables, rebuild).unwrap();
        view.project_beside(&mut tables).unwrap();
    };
    look(false);
    let peer = "SELECT name || ' ' || held || ' ' || path || ' ' || (heard = 1800000000000) FROM peer";
    assert_eq!(ask::<String>(&world, "a.db", peer), "lunana 2 file 1");
    let bundle = format!("SELECT events FROM bundle WHERE state = 'taken' AND length(digest) = 32 AND node = '{lunana}'");
    assert_eq!(ask::<i64>(&world, "a.db", &bundle), 2);
    world.push("lunana", &["3"]);
    world.carry("lunana", "hub", "s3");
    look(false);
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT sum(events) FROM bundle WHERE state = 'taken'"), 5, "no receipt went back: all came again");
    look(true);
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT held FROM peer"), 3, "made anew it is there too");
    assert_eq!(ask::<i64>(&world, "a.db", "SELECT count(*) FROM bundle WHERE state = 'taken'"), 2);
}

#[test]
fn states_have_names_that_read_back() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.name()), Some(state));
    }
}

/// What the manual and the help tell people to ask with `sqlite3`.
fn samples(world: &World) -> Vec<String> {
    let texts = [include_str!("../../docs/sql.md").to_owned(), crate::rot::well(world, "hub", &["project", "--help"])];
    let commands = texts.iter().flat_map(|text| text.split("sqlite3 ").skip(1));
    commands.filter_map(|command| command.split('"').nth(1)).map(str::to_owned).collect()
}

/// What names no type counts as JSON, whatever was pushed: one half text of one member ended the report of everybody.
#[test]
fn a_payload_that_is_not_json_spoils_no_report() {
    let world = World::new();
    world.init("hub", true);
    let large = "x".repeat(2 << 20).into_bytes();
    let half = b"{\"bp\":".as_slice();
    for (key, payload) in [("a", half), ("b", br#"{"bp":"120/80"}"#), ("c", b"\xff\x00"), ("d", &large), ("e", br#"{"bp":"90/60"}"#)] {
        push_record(&world, "hub", Lane::Routine, &of_record(key), payload);
    }
    project(&world, "hub", "report.db", false);
    let samples = samples(&world);
    assert_eq!(samples.len(), 2, "{samples:?}");
    let database = Connection::open(world.path("report.db")).unwrap();
    for sql in samples {
        let mut rows = database.prepare(&sql).unwrap();
        let read = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let mut read: Vec<(String, Option<String>)> = read.map(Result::unwrap).collect();
        read.sort();
        let want = [("a", None), ("b", Some("120/80")), ("c", None), ("d", None), ("e", Some("90/60"))];
        assert_eq!(read, want.map(|(key, bp)| (key.to_owned(), bp.map(str::to_owned))), "{sql}");
    }
}
