//! Two writers change one record; a person decides; everybody ends with the same.

use crate::project::{of_record, push_record};
use crate::settling::told;
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{Hash, Lane, NodeId};
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

/// A hub, and two clinics that see their own alone and changed one record.
fn two_writers() -> World {
    let world = World::new();
    world.init("hub", true);
    world.join("lunana", "hub", Policy::Own);
    world.join("gasa", "hub", Policy::Own);
    for (clinic, phone) in [("lunana", "17-1"), ("gasa", "17-2")] {
        world.clock.set(world.clock.get() + 1000);
        push_record(&world, clinic, Lane::Routine, &of_record("Patient/1"), format!("{{\"phone\":\"{phone}\"}}").as_bytes());
        world.carry(clinic, "hub", &format!("up-{clinic}"));
    }
    world
}

/// How a record stands at a node: its displayed payload.
fn shown(world: &World, name: &str) -> (State, String) {
    let record = conflict(world, name, "Patient/1");
    let payload = world.view(name).whole_payload(&record.heads[0].id).unwrap().unwrap();
    (record.folded.state, String::from_utf8(payload).unwrap())
}

/// Whether anything that a node holds names an event of `writer`, or bears `word`.
fn holds_anything_of(world: &World, name: &str, writer: NodeId, word: &str) -> bool {
    let view = world.view(name);
    view.log().streams().into_iter().any(|(stream, head)| {
        let (mut events, mut found) = (view.log().events(&stream, head.base.seq + 1).unwrap(), false);
        while let Some((_, bytes)) = events.next().unwrap() {
            let event = Event::from_bytes(bytes).unwrap();
            let payload = String::from_utf8_lossy(event.payload);
            let names = event.ext.base.iter().flatten().any(|id| id.origin.node == writer) || payload.contains(&format!("@{writer}~"));
            found = found || names || payload.contains(word);
        }
        found || stream.origin.node == writer
    })
}

/// R11.3-a, R11.3-b, R11.3-g
#[test]
fn a_resolution_travels_back_to_who_may_see_it_and_the_others_are_told_that_there_is_one() {
    let world = two_writers();
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
    assert_eq!(pushed.len(), 2, "for who sees the hub's events, and for the writer of what was taken");
    drop(node);
    assert!(conflicts(&world, "hub").is_empty());
    let (lunana, gasa) = (world.view("lunana").keyring().node(), world.view("gasa").keyring().node());
    for clinic in ["lunana", "gasa"] {
        world.carry("hub", clinic, &format!("down-{clinic}"));
    }
    for node in ["hub", "lunana"] {
        assert_eq!(shown(&world, node), (State::Settled, r#"{"phone":"17-1"}"#.into()), "{node}");
    }
    let resolved = conflict(&world, "lunana", "Patient/1");
    assert_eq!((resolved.heads.len(), resolved.heads[0].author.as_deref()), (1, Some("Dr Wangmo")));
    assert_eq!(shown(&world, "gasa"), (State::Settled, r#"{"phone":"17-2"}"#.into()));
    assert!(!holds_anything_of(&world, "gasa", lunana, "17-1") && !holds_anything_of(&world, "lunana", gasa, "17-2"));
    let said = told(&world, "gasa");
    assert_eq!((said.len(), said[0].decided, said[0].others, &said[0].yours), (1, true, 1, &vec![newest]));
    assert!(told(&world, "lunana").is_empty());
    let mut node = world.open("hub");
    assert_eq!(node.resolve(&mut tables, "Patient/1", &Resolution::Merge(b"{}"), None).unwrap_err().code(), Code::Z413, "nothing is left to settle");
}

/// R11.3-b: a merge may bear anybody's words.
#[test]
fn what_was_merged_goes_to_writers_only_where_the_hubs_people_want_it() {
    for disclose in ["notice", "payload"] {
        let world = two_writers();
        let lunana = world.view("lunana").keyring().node();
        std::fs::write(world.path("hub").join("config.toml"), format!("[conflicts]\ndisclose = \"{disclose}\"")).unwrap();
        assert_eq!(conflicts(&world, "hub").len(), 1);
        let mut tables = SqliteProjection::open(&world.path("hub.db"), false).unwrap();
        let merged = Resolution::Merge(br#"{"phone":"17-1 or 17-2"}"#);
        let pushed = world.open("hub").resolve(&mut tables, "Patient/1", &merged, None).unwrap();
        world.carry("hub", "gasa", "down");
        let is_disclosed = disclose == "payload";
        assert_eq!(pushed.len(), if is_disclosed { 3 } else { 1 });
        assert_eq!(shown(&world, "gasa").1.contains("17-1 or"), is_disclosed);
        assert_eq!(holds_anything_of(&world, "gasa", lunana, "17-1"), is_disclosed);
        assert_eq!(told(&world, "gasa").len(), usize::from(!is_disclosed));
    }
}

/// R11.3-i: a file that had been cut short became the version that is shown, as JSON that no program reads, and there was no second try.
#[test]
fn a_merge_that_was_cut_short_decides_nothing() {
    for other in [None, Some("application/fhir+json")] {
        let world = World::new();
        world.init("hub", true);
        for (content_type, phone) in [(None, 1), (other, 2)] {
            let fields = Fields { base: Some(Vec::new()), content_type: content_type.map(str::to_owned), ..of_record("Patient/1") };
            push_record(&world, "hub", Lane::Routine, &fields, format!("{{\"phone\":{phone}}}").as_bytes());
        }
        assert_eq!(conflicts(&world, "hub").len(), 1);
        let mut tables = SqliteProjection::open(&world.path("hub.db"), false).unwrap();
        let mut merge = |merged: &str| world.open("hub").resolve(&mut tables, "Patient/1", &Resolution::Merge(merged.as_bytes()), None);
        for half in ["{\"phone\":3", "", "{\"phone\":3}}"] {
            assert_eq!(merge(half).unwrap_err().code(), Code::Z431, "{half} beside {other:?}");
        }
        assert_eq!(conflicts(&world, "hub").len(), 1, "nothing was stored");
        merge("{\"phone\":3}").unwrap();
        assert_eq!(shown(&world, "hub"), (State::Settled, "{\"phone\":3}".into()));
    }
}

/// R11.3-b: who is revoked is sent nothing, and holds up no decision.
#[test]
fn a_version_of_a_revoked_member_can_be_decided_on() {
    let world = two_writers();
    let gasa = world.view("gasa").keyring().node();
    let newest = conflicts(&world, "hub")[0].folded.heads[0];
    world.open("hub").revoke(gasa, false).unwrap();
    let mut tables = SqliteProjection::open(&world.path("hub.db"), false).unwrap();
    let pushed = world.open("hub").resolve(&mut tables, "Patient/1", &Resolution::Take(newest), None).unwrap();
    assert_eq!((pushed.len(), shown(&world, "hub").0), (1, State::Settled));
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
