//! A member that gets new keys while it goes on working: what it sent under the old ones, after the authority had signed, counts everywhere (R8.3-i).

use crate::conflicts::{conflict, sha};
use crate::lab::{Lab, run};
use crate::project::{of_record, push_record};
use crate::world::World;
use bundle_format::ids::{Lane, NodeId};
use zbundle::adapters::SqliteProjection;
use zbundle::keys::Policy;
use zbundle::node::NodeError;
use zbundle::node::idempotency::Repeated;
use zbundle::ports::projection::State;
use zbundle::push::Fields;

const PART_LEN: usize = bundle_format::limits::PART_LEN;

/// An authority, a district that hears of the clinic from it, and the clinic.
fn domain() -> (World, NodeId, NodeId) {
    let world = World::quick();
    let hub = world.init("hub", true);
    world.join("district", "hub", Policy::All);
    let clinic = world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["a1"]);
    world.carry("clinic", "hub", "a");
    world.carry("hub", "district", "a-on");
    (world, hub, clinic)
}

/// The clinic asks and the authority signs; the answer takes a while, and the clinic does not wait.
fn rekey_around(world: &World, meanwhile: impl FnOnce()) {
    let request = world.open("clinic").request(true).unwrap();
    let member = world.view("clinic").keyring().node();
    let signed = world.open("hub").sign(&request, Policy::Own, Some(member), false).unwrap();
    meanwhile();
    let mut node = world.open("clinic");
    let offer = node.consider(&signed.join).unwrap();
    node.join(&offer).unwrap();
}

fn unused(world: &World, clinic: NodeId) -> [u64; 3] {
    ["clinic", "hub", "district"].map(|name| world.after_revoke(name, clinic))
}

#[test]
fn what_is_sent_between_request_and_join_counts_everywhere_afterwards() {
    let (world, hub, clinic) = domain();
    let large = "x".repeat(2 * PART_LEN + 1);
    rekey_around(&world, || {
        world.push("clinic", &["b1", &large]);
        world.push_to("clinic", Lane::Urgent, &[], &["b2"]);
        world.push_to("clinic", Lane::Routine, &[hub], &[&large]);
        world.carry("clinic", "hub", "b");
        world.carry("hub", "district", "b-on");
    });
    assert_eq!(unused(&world, clinic)[1], 8, "four and one, and three of a payload for the hub alone");
    for round in 0..2 {
        world.carry("hub", "clinic", &format!("down{round}"));
        world.carry("clinic", "hub", &format!("up{round}"));
        world.carry("hub", "district", &format!("on{round}"));
    }
    assert_eq!(unused(&world, clinic), [0; 3]);
    let told = world.payloads("hub").into_iter().filter(|payload| payload.len() == 2).collect::<Vec<_>>();
    assert_eq!(told, ["a1", "b1", "b1", "b2", "b2"], "a short one of each history stands there twice");
    world.carry("clinic", "hub", "last");
    assert!(world.cut("clinic", &[hub], "again").files.is_empty(), "and then they are silent");
    assert_eq!(world.payloads("clinic"), world.payloads("hub"));
}

#[test]
fn what_nobody_has_yet_is_not_written_again() {
    let (world, hub, clinic) = domain();
    rekey_around(&world, || world.push("clinic", &["b1"]));
    world.carry("clinic", "hub", "b");
    assert_eq!(world.payloads("hub"), ["a1", "b1"]);
    assert_eq!(unused(&world, clinic)[..2], [0; 2]);
    world.carry("hub", "clinic", "down");
    world.carry("clinic", "hub", "c");
    assert_eq!(world.payloads("hub"), ["a1", "b1"]);
    assert!(world.cut("clinic", &[hub], "again").files.is_empty());
}

#[test]
fn it_counts_after_a_session_too() {
    run(async {
        let (world, _, clinic) = domain();
        rekey_around(&world, || {
            world.push("clinic", &["b1"]);
            world.carry("clinic", "hub", "b");
        });
        assert_eq!(world.after_revoke("hub", clinic), 1);
        let lab = Lab::new(world);
        let (hub, node) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.complete(&node, "hub").await;
        hub.quiet().await;
        assert_eq!(lab.world.view("hub").status().unwrap().origins.iter().map(|origin| origin.after_revoke).sum::<u64>(), 0);
    });
}

/// The clinic's work goes on on a spare with keys of its own; what its old device had pushed under an idempotency key counts nowhere, here or at the hub.
fn taken_over() -> (World, NodeId, Fields) {
    let (world, _, clinic) = domain();
    world.image("clinic", "spare");
    std::fs::copy(world.path("clinic.key"), world.path("spare.key")).unwrap();
    let fields = Fields { idempotency_key: Some("visit-7".into()), ..of_record("P7") };
    push_record(&world, "clinic", Lane::Routine, &fields, b"{\"bp\":7}");
    let hub = world.view("hub").keyring().node();
    world.cut("clinic", &[hub], "old");
    world.rekey("spare", "hub");
    world.ingest("hub", "old");
    world.carry("spare", "hub", "hello");
    world.carry("hub", "spare", "back");
    assert_eq!(["spare", "hub"].map(|name| world.after_revoke(name, clinic)), [1; 2]);
    (world, clinic, fields)
}

fn repeated(world: &World, name: &str, fields: &Fields, payload: &[u8]) -> Result<Repeated, NodeError> {
    let node = world.open(name);
    let mut tables = SqliteProjection::open(&world.path(&format!("{name}.db")), false).unwrap();
    node.repeated(&mut tables, &node.push_streams(Lane::Routine, &[]).unwrap(), fields, &sha(payload))
}

/// R11.1-f: who tries again what counts nowhere is not told that it is stored.
#[test]
fn a_push_that_counts_nowhere_is_stored_when_it_comes_again() {
    let (world, clinic, fields) = taken_over();
    let first = repeated(&world, "spare", &fields, b"{\"bp\":7}").unwrap();
    assert_eq!((first.stored.len(), first.missing.len()), (0, 1));
    push_record(&world, "spare", Lane::Routine, &fields, b"{\"bp\":7}");
    assert_eq!(repeated(&world, "spare", &fields, b"{\"bp\":7}").unwrap().missing, [], "and that one counts");
    world.carry("spare", "hub", "again");
    for name in ["spare", "hub"] {
        let record = conflict(&world, name, "P7");
        assert_eq!((record.folded.state, record.folded.head_count), (State::Settled, 1), "{name}");
    }
    world.open("hub").accept(clinic, false).unwrap();
    let record = conflict(&world, "hub", "P7");
    assert_eq!((record.folded.state, record.folded.head_count), (State::Settled, 2), "it says the same twice, and that is no conflict");
}

/// Whoever has the replaced key uses up keys of pushes to come: nothing of the clinic's is refused for that.
#[test]
fn a_thief_takes_nobodys_idempotency_key() {
    let (world, _, fields) = taken_over();
    assert_eq!(repeated(&world, "spare", &fields, b"{\"bp\":8}").unwrap().missing.len(), 1);
}
