//! Tables in one file that several programs keep: whoever reads where the others left off does what one alone would have done (R11.2-b).

use crate::conflicts::sha;
use crate::project::{content, of_record, push_record};
use crate::world::World;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Lane, NodeId};
use zbundle::adapters::SqliteProjection;
use zbundle::ports::projection::{BundleRow, Folded, Line, Notice, PeerRow, Place, Projection, ProjectionError, Row, State, Version};
use zbundle::ports::store::Stream;
use zbundle::push::Fields;

/// Tables behind each of whose transactions something happens.
struct Shared<'a> {
    tables: SqliteProjection,
    behind: Box<dyn FnMut() -> Result<(), ProjectionError> + 'a>,
}

macro_rules! pass_on {
    ($($name:ident($($argument:ident: $kind:ty),*) $(-> $gives:ty)?;)*) => {$(
        fn $name(&mut self $(, $argument: $kind)*) -> Result<pass_on!(@ $($gives)?), ProjectionError> {
            self.tables.$name($($argument),*)
        }
    )*};
    (@) => { () };
    (@ $gives:ty) => { $gives };
}

impl Projection for Shared<'_> {
    fn holds_payloads(&self) -> bool {
        self.tables.holds_payloads()
    }

    fn is_in_place(&self) -> bool {
        self.tables.is_in_place()
    }

    fn commit(&mut self) -> Result<(), ProjectionError> {
        self.tables.commit()?;
        (self.behind)()
    }

    pass_on! {
        places() -> Vec<Place>;
        begin();
        clear();
        put(row: &Row<'_>) -> bool;
        set_place(place: &Place, name: &str, node_name: &str);
        recount(stream: &Stream, counted: u64) -> Vec<String>;
        previous(stream: &Stream, fork: u64, record_key: &str, seq: u64) -> Option<EventId>;
        versions(record_key: &str) -> Vec<Version>;
        holds(id: &EventId) -> bool;
        set_record(record_key: &str, folded: &Folded, heads: &[&Version]);
        arrived(id: &EventId) -> Vec<String>;
        is_entangled(record_key: &str, version: &Version) -> bool;
        line(record_key: &str) -> Line;
        set_line(record_key: &str, before: Line, head: &Version, state: State);
        version(record_key: &str, id: &EventId) -> Option<Version>;
        add_head(record_key: &str, version: &Version) -> bool;
        remove_head(record_key: &str, version: &Version) -> bool;
        add_waiting(record_key: &str, id: &EventId);
        shown(record_key: &str) -> Option<(Version, bool)>;
        waits(record_key: &str) -> bool;
        set_state(record_key: &str, state: State, shown: &EventId, more: i64);
        record(record_key: &str, count_max: u64) -> Option<Folded>;
        each_head(record_key: &str, tell: &mut dyn FnMut(EventId) -> bool);
        heads(record_key: &str, count_max: u64) -> Vec<Version>;
        records_in(state: State, after: Option<&str>, count_max: u64) -> Vec<String>;
        open_conflicts(waited: Hlc, after: Option<&str>, count_max: u64) -> Vec<String>;
        count_overdue(waited: Hlc) -> u64;
        count_in(state: State) -> u64;
        state(record_key: &str) -> Option<State>;
        is_whole() -> bool;
        set_whole();
        notices(node: &NodeId, writers: &[NodeId], after: Option<Notice>, count_max: u64) -> Vec<Notice>;
        ruled_by() -> i64;
        set_ruled_by(print: i64);
        named_by() -> i64;
        set_named_by(print: i64);
        activity(since_day: u64) -> Vec<(NodeId, u64, u64)>;
        set_beside(peers: &[PeerRow], bundles: &[BundleRow]);
        counts() -> (u64, u64);
        pushed_as(node: &NodeId, idempotency_key: &str) -> Vec<(Stream, EventId)>;
    }
}

fn shared<'a>(world: &World, file: &str, behind: impl FnMut() -> Result<(), ProjectionError> + 'a) -> Shared<'a> {
    Shared { tables: SqliteProjection::open(&world.path(file), true).unwrap(), behind: Box::new(behind) }
}

fn keyed(number: u8) -> Fields {
    Fields { idempotency_key: Some(format!("k{number}")), ..of_record(&format!("Patient/{}", number % 3)) }
}

/// Eleven payloads of 1 MiB: four fill a transaction.
fn many() -> World {
    let world = World::quick();
    world.init("hub", true);
    (0..11).for_each(|number| drop(push_record(&world, "hub", Lane::Routine, &keyed(number), &vec![number; 1 << 20])));
    world
}

/// While one makes the tables anew, another begins to do so too, and is killed.
#[test]
fn two_who_make_the_tables_anew_at_once_leave_what_one_leaves() {
    let world = many();
    let view = world.view("hub");
    view.project(&mut shared(&world, "alone.db", || Ok(())), true).unwrap();
    let alone = content(&world.path("alone.db"));
    for (begins, lives) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)] {
        let file = format!("{begins}{lives}.db");
        let mut done = 0;
        let other = || {
            let mut left = lives;
            let killed = || {
                left -= 1;
                if left > 0 { Ok(()) } else { Err(ProjectionError::Busy("killed".into())) }
            };
            world.view("hub").project(&mut shared(&world, &file, killed), true).err().map(drop)
        };
        let first = || {
            done += 1;
            assert!(done != begins || other().is_some());
            Ok(())
        };
        view.project(&mut shared(&world, &file, first), true).unwrap();
        view.project(&mut shared(&world, &file, || Ok(())), false).unwrap();
        assert!(content(&world.path(&file)) == alone, "begins behind {begins}, commits {lives}");
        let node = world.open("hub");
        let streams = node.push_streams(Lane::Routine, &[]).unwrap();
        for number in 0..11 {
            let repeated = node.repeated(&mut shared(&world, &file, || Ok(())), &streams, &keyed(number), &sha(&vec![number; 1 << 20])).unwrap();
            assert_eq!((repeated.stored.len(), repeated.missing.len()), (1, 0), "{number}");
        }
    }
}

/// Who opened the log before others filled the tables makes nothing anew; who meets the tables of a log that was put back does.
#[test]
fn tables_ahead_of_a_reader_are_no_loss() {
    let world = many();
    world.image("hub", "image");
    let older = world.view("hub");
    (11..22).for_each(|number| drop(push_record(&world, "hub", Lane::Routine, &keyed(number), &vec![number; 1 << 20])));
    let mut tables = SqliteProjection::open(&world.path("a.db"), true).unwrap();
    world.view("hub").project(&mut tables, false).unwrap();
    let before = content(&world.path("a.db"));
    for done in [older.project(&mut tables, false).unwrap(), older.project_on(&mut tables).unwrap()] {
        assert_eq!((done.rebuilt, done.events), (false, 0));
    }
    assert!(content(&world.path("a.db")) == before);
    world.restore("image", "hub");
    assert!(world.view("hub").project(&mut tables, false).unwrap().rebuilt, "what is put back is another log");
    let count = |tables: &mut SqliteProjection| tables.counts().unwrap().0;
    assert_eq!(count(&mut tables), 11);
}
