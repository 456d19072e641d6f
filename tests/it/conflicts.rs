//! Two writers change one record; a person decides; everybody ends with the same.

use crate::project::{of_record, push_record};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Lane};
use sha2::{Digest as _, Sha256};
use zbundle::adapters::SqliteProjection;
use zbundle::keys::Policy;
use zbundle::node::NodeError;
use zbundle::node::conflicts::{Conflict, Resolution, WAITING_MS_MAX};
use zbundle::node::idempotency::Repeated;
use zbundle::ports::projection::State;
use zbundle::push::Fields;

pub fn conflicts(world: &World, name: &str) -> Vec<Conflict> {
    let (view, mut tables) = (world.view(name), SqliteProjection::open(&world.path(&format!("{name}.db")), false).unwrap());
    view.project(&mut tables, false).unwrap();
    let mut all = Vec::new();
    view.each_conflict(&mut tables, u64::MAX, |conflict| {
        all.push(conflict);
        Ok::<_, NodeError>(())
    })
    .unwrap();
    all
}

/// In conflict, and on the way.
fn counted(world: &World, name: &str) -> (u64, u64) {
    let mut tables = SqliteProjection::open(&world.path(&format!("{name}.db")), false).unwrap();
    world.view(name).count_conflicts(&mut tables).unwrap()
}

pub fn conflict(world: &World, name: &str, key: &str) -> Conflict {
    let (view, mut tables) = (world.view(name), SqliteProjection::open(&world.path(&format!("{name}.db")), false).unwrap());
    view.project(&mut tables, false).unwrap();
    view.conflict(&mut tables, key, u64::MAX).unwrap()
}

/// R11.3-a, R11.3-b
#[test]
fn a_resolution_travels_back_to_both_writers_and_settles_the_record_everywhere() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    world.join("gasa", "hub", Policy::Own);
    for (clinic, phone) in [("lunana", "17-1"), ("gasa", "17-2")] {
        world.clock.set(world.clock.get() + 1000);
        push_record(&world, clinic, Lane::Routine, &of_record("Patient/1"), format!("{{\"phone\":\"{phone}\"}}").as_bytes());
        world.carry(clinic, "hub", &format!("up-{clinic}"));
    }
    let open = conflicts(&world, "hub");
    assert_eq!((open.len(), open[0].heads.len(), open[0].folded.state), (1, 2, State::Conflict));
    let newest = open[0].folded.heads[0];
    assert_eq!(world.view("hub").whole_payload(&newest).unwrap().unwrap(), br#"{"phone":"17-2"}"#);

    let older = open[0].folded.heads[1];
    let mut node = world.open("hub");
    let mut tables = SqliteProjection::open(&world.path("hub.db"), false).unwrap();
    let strange = Resolution::Take(bundle_format::ids::EventId { seq: 99, ..older });
    assert_eq!(node.resolve(&mut tables, "Patient/1", &strange, None).unwrap_err().code(), Code::Z413);
    assert_eq!(node.resolve(&mut tables, "Patient/2", &Resolution::Take(older), None).unwrap_err().code(), Code::Z412);
    let pushed = node.resolve(&mut tables, "Patient/1", &Resolution::Take(older), Some("Dr Wangmo".into())).unwrap();
    assert_eq!(pushed.len(), 3, "for who sees the hub's events, and for each of the two who do not");
    drop(node);
    assert!(conflicts(&world, "hub").is_empty());
    for clinic in ["lunana", "gasa"] {
        world.carry("hub", clinic, &format!("down-{clinic}"));
        let settled = conflict(&world, clinic, "Patient/1");
        assert_eq!((settled.folded.state, settled.heads.len()), (State::Settled, 1), "{clinic}");
        let payload = world.view(clinic).whole_payload(&settled.folded.heads[0]).unwrap().unwrap();
        assert_eq!(payload, br#"{"phone":"17-1"}"#, "{clinic}");
    }
    let mut node = world.open("hub");
    assert_eq!(node.resolve(&mut tables, "Patient/1", &Resolution::Merge(b"{}"), None).unwrap_err().code(), Code::Z413, "nothing is left to settle");
}

/// R11.3-h: a program that never says what it has seen makes a head with each push; more than one event can name. All that reads them reads some.
#[test]
fn a_record_of_very_many_heads_is_shown_in_part_and_settled_whole() {
    const COUNT: u64 = 150;
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    for number in 0..COUNT {
        let fields = Fields { base: Some(Vec::new()), ..of_record("Patient/1") };
        push_record(&world, "lunana", Lane::Routine, &fields, number.to_string().as_bytes());
    }
    world.carry("lunana", "hub", "up");
    let all = conflict(&world, "hub", "Patient/1");
    let view = world.view("hub");
    let mut tables = SqliteProjection::open(&world.path("hub.db"), false).unwrap();
    let some = view.conflict(&mut tables, "Patient/1", 8).unwrap();
    assert_eq!((some.heads.len(), some.folded.heads.len(), some.folded.head_count, some.more()), (8, 8, COUNT, COUNT - 8));
    assert_eq!(some.folded.heads, all.folded.heads[..8], "the first of all");
    drop(view);

    let oldest = *all.folded.heads.last().unwrap();
    let pushed = world.open("hub").resolve(&mut tables, "Patient/1", &Resolution::Take(oldest), None).unwrap();
    assert_eq!(pushed.len(), 2, "the last word for who sees the hub's events, and for the writer");
    world.carry("hub", "lunana", "down");
    for node in ["hub", "lunana"] {
        let settled = conflict(&world, node, "Patient/1");
        let payload = world.view(node).whole_payload(&settled.folded.heads[0]).unwrap().unwrap();
        assert_eq!((settled.folded.state, payload), (State::Settled, b"0".to_vec()), "{node}: {:?}", settled.folded);
    }
}

/// R11.1-i: the urgent lane came first, with a version that builds on one still on its way.
#[test]
fn what_is_on_its_way_is_shown_as_a_conflict_only_after_a_week() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    let first = push_record(&world, "lunana", Lane::Urgent, &of_record("Patient/1"), b"1");
    world.carry("lunana", "hub", "s1");
    let base = vec![world.open("lunana").event_id(&first).unwrap()];
    let noise: Vec<u8> = (0u32..32 * 1024).flat_map(|block| Sha256::digest(block.to_be_bytes())).collect();
    let second = push_record(&world, "lunana", Lane::Bulk, &Fields { base: Some(base), ..of_record("Patient/1") }, &noise);
    let base = vec![world.open("lunana").event_id(&second).unwrap()];
    push_record(&world, "lunana", Lane::Urgent, &Fields { base: Some(base.clone()), ..of_record("Patient/1") }, b"3");
    let hub = world.view("hub").keyring().node();
    let cut = world.cut_sized("lunana", &[hub], "s2", 64 * 1024); // the most urgent is in the first of many files; the others are lost
    assert!(cut.files.len() > 1);
    world.open("hub").ingest(&[cut.files[0].path.clone()], &mut |_| {}).unwrap();
    let waiting = conflict(&world, "hub", "Patient/1").folded;
    assert_eq!((waiting.state, waiting.heads.len(), &waiting.waiting), (State::Pending, 2, &base));
    assert!(conflicts(&world, "hub").is_empty());
    assert_eq!(counted(&world, "hub"), (0, 1));
    world.clock.set(world.clock.get() + WAITING_MS_MAX + 1000);
    assert_eq!(conflicts(&world, "hub").len(), 1);
    assert_eq!(counted(&world, "hub"), (1, 0), "who counts them, for status, page or alarm, counts what is listed");
    world.carry("lunana", "hub", "s3");
    assert_eq!(conflict(&world, "hub", "Patient/1").folded.state, State::Settled);
    assert!(conflicts(&world, "hub").is_empty());
}

pub fn sha(payload: &[u8]) -> Hash {
    Hash(Sha256::digest(payload).into())
}

/// R11.1-f, R11.2-a
#[test]
fn a_key_pushes_once_whatever_happens_to_the_index() {
    let world = World::new();
    world.init("lunana", true);
    let fields = Fields { idempotency_key: Some("form-881".into()), ..of_record("Patient/1") };
    push_record(&world, "lunana", Lane::Routine, &fields, b"{}");
    for restart in 0..3 {
        let node = world.open("lunana");
        let streams = node.push_streams(Lane::Routine, &[]).unwrap();
        let path = world.path("index.db");
        if restart == 1 {
            std::fs::remove_file(&path).unwrap();
        }
        let mut tables = SqliteProjection::open(&path, false).unwrap();
        let repeated = node.repeated(&mut tables, &streams, &fields, &sha(b"{}")).unwrap();
        assert_eq!(repeated, Repeated { stored: vec![(streams[0], 1)], missing: vec![] });
        for (fields, payload) in [(fields.clone(), &b"[]"[..]), (Fields { kind: "other".into(), ..fields.clone() }, b"{}")] {
            assert_eq!(node.repeated(&mut tables, &streams, &fields, &sha(payload)).unwrap_err().code(), Code::Z414);
        }
        let urgent = node.push_streams(Lane::Urgent, &[]).unwrap();
        assert_eq!(node.repeated(&mut tables, &urgent, &fields, &sha(b"{}")).unwrap_err().code(), Code::Z414, "another lane is another push");
        let new = Fields { idempotency_key: Some("form-882".into()), ..fields.clone() };
        assert_eq!(node.repeated(&mut tables, &streams, &new, &sha(b"{}")).unwrap().missing, streams);
    }
}

/// A key is its node's own: another's same word names another push.
#[test]
fn a_key_of_another_node_is_another_key() {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    let fields = Fields { idempotency_key: Some("1".into()), ..of_record("Patient/1") };
    push_record(&world, "lunana", Lane::Routine, &fields, b"{}");
    world.carry("lunana", "hub", "s");
    let node = world.open("hub");
    let streams = node.push_streams(Lane::Routine, &[]).unwrap();
    let mut tables = SqliteProjection::open(&world.path("index.db"), false).unwrap();
    assert_eq!(node.repeated(&mut tables, &streams, &fields, &sha(b"{}")).unwrap().missing, streams);
}
