//! Conflicts settled by rules at a hub: nobody's version is lost, nobody is told more than he may know, and two hubs come to an end.

use crate::conflicts::{conflict, conflicts};
use crate::project::{of_record, push_record};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{Hash, Lane};
use zbundle::adapters::{SqliteProjection, ask_program};
use zbundle::keys::Policy;
use zbundle::node::config::Rule;
use zbundle::node::settling::{NOTICE_KIND, Outcome};
use zbundle::ports::projection::State;

const KEY: &str = "Appointment/7";
const LWW: &str = "[[conflicts.rule]]\nkey = \"Appointment/*\"\nhow = \"lww\"\n";

/// A hub and two clinics that changed one record without seeing each other.
fn differing() -> World {
    let world = World::new();
    world.init("hub", true);
    for clinic in ["lunana", "gasa"] {
        world.join(clinic, "hub", Policy::Own);
        world.clock.set(world.clock.get() + 1000);
        push_record(&world, clinic, Lane::Routine, &of_record(KEY), format!("{{\"by\":\"{clinic}\"}}").as_bytes());
        world.carry(clinic, "hub", &format!("up-{clinic}"));
    }
    world
}

fn ask(rule: &Rule, input: &[u8]) -> Result<(Vec<u8>, Hash), String> {
    let answer = ask_program(rule.program.as_deref().unwrap(), input, std::time::Duration::from_mins(1), 1 << 20);
    answer.map(|answer| (answer, Hash([7; 32]))).map_err(|error| error.to_string())
}

/// Run the rules of `config` once: what became of each conflict, and why programs failed.
fn settle(world: &World, hub: &str, config: &str) -> (Vec<Outcome>, Vec<String>) {
    std::fs::write(world.path(hub).join("config.toml"), config).unwrap();
    let mut tables = SqliteProjection::open(&world.path(&format!("{hub}.db")), false).unwrap();
    let view = world.view(hub);
    view.project(&mut tables, false).unwrap();
    let rules = view.config().unwrap().conflicts;
    let decisions = view.decide(&mut tables, &rules, &mut ask).unwrap();
    let mut node = world.open(hub);
    let failed = decisions.iter().filter_map(|decision| decision.failed.clone()).collect();
    (decisions.iter().map(|decision| node.settle_by(&mut tables, decision, rules.disclose).unwrap()).collect(), failed)
}

fn shown(world: &World, name: &str) -> (State, String, Option<String>) {
    let record = conflict(world, name, KEY);
    let payload = world.view(name).whole_payload(&record.heads[0].id).unwrap().unwrap();
    (record.folded.state, String::from_utf8(payload).unwrap(), record.heads[0].author.clone())
}

/// Payloads of the notices that a node holds.
fn notices(world: &World, name: &str) -> Vec<serde_json::Value> {
    let view = world.view(name);
    let mut all = Vec::new();
    for (stream, head) in view.log().streams() {
        let mut events = view.log().events(&stream, head.base.seq + 1).unwrap();
        while let Some((_, bytes)) = events.next().unwrap() {
            let event = Event::from_bytes(bytes).unwrap();
            if event.kind == NOTICE_KIND {
                all.push(serde_json::from_slice(event.payload).unwrap());
            }
        }
    }
    all
}

/// R11.3-c, R11.3-d
#[test]
fn a_rule_settles_at_the_hub_and_the_clinics_come_to_the_same() {
    let world = differing();
    let before = conflict(&world, "hub", KEY).folded.heads;
    assert!(matches!(settle(&world, "hub", LWW).0[..], [Outcome::Settled(_)]));
    assert!(settle(&world, "hub", LWW).0.is_empty(), "there is nothing left to do");
    for head in before {
        assert!(world.view("hub").whole_payload(&head).unwrap().is_some(), "no version is lost");
    }
    for clinic in ["lunana", "gasa"] {
        world.carry("hub", clinic, &format!("down-{clinic}"));
    }
    for node in ["hub", "lunana", "gasa"] {
        assert_eq!(shown(&world, node), (State::Settled, "{\"by\":\"gasa\"}".into(), Some("zbundle/lww".into())), "{node}");
    }
    let clinic = world.view("gasa");
    let mut tables = SqliteProjection::open(&world.path("gasa.db"), false).unwrap();
    assert_eq!(clinic.decide(&mut tables, &clinic.config().unwrap().conflicts, &mut ask).unwrap_err().code(), Code::Z416);
}

/// R11.3-e: two hubs apply one rule before they have heard of each other.
#[test]
fn two_hubs_with_one_rule_come_to_an_end() {
    let world = differing();
    world.join("second", "hub", Policy::All);
    world.carry("hub", "second", "to-second");
    for hub in ["hub", "second"] {
        world.clock.set(world.clock.get() + 1000);
        assert!(matches!(settle(&world, hub, LWW).0[..], [Outcome::Settled(_)]), "{hub}");
    }
    world.carry("hub", "second", "there");
    world.carry("second", "hub", "back");
    for hub in ["hub", "second"] {
        assert!(conflicts(&world, hub).is_empty(), "equal resolutions are no conflict");
        assert!(settle(&world, hub, LWW).0.is_empty());
        assert_eq!(shown(&world, hub).1, "{\"by\":\"gasa\"}");
    }
}

/// A program decides: what it is shown, what it may answer, and that its failure costs nothing. R11.3-d, R11.3-e.
#[test]
fn a_program_decides_and_its_failure_leaves_the_record_as_it_is() {
    let world = differing();
    world.join("second", "hub", Policy::All);
    world.carry("hub", "second", "to-second");
    let script = |name: &str, body: &str| {
        let path = world.path(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        format!("[[conflicts.rule]]\nhow = \"exec\"\nprogram = \"{}\"\n", path.display())
    };
    for (name, body) in
        [("fails", "exit 3"), ("mumbles", "echo maybe"), ("invents", "echo '{\"take\":\"@0:1\"}'"), ("two", "echo '{\"leave\":true,\"merge\":1}'")]
    {
        let (outcomes, failed) = settle(&world, "hub", &script(name, body));
        assert!(matches!(outcomes[..], [Outcome::Left(_)]) && failed.len() == 1, "{name}: {outcomes:?}");
        assert_eq!(conflicts(&world, "hub").len(), 1, "{name}");
    }
    let merges = |who: &str| format!("grep -q '\"by\":\"lunana\"' && echo '{{\"merge\":{{\"by\":\"{who}\"}}}}'");
    assert!(matches!(settle(&world, "hub", &script("one", &merges("one"))).0[..], [Outcome::Settled(_)]));
    assert_eq!(shown(&world, "hub"), (State::Settled, "{\"by\":\"one\"}".into(), Some("zbundle/exec:0707070707070707".into())));

    let other = script("other", &merges("other"));
    assert!(matches!(settle(&world, "second", &other).0[..], [Outcome::Settled(_)]));
    world.carry("hub", "second", "there");
    world.carry("second", "hub", "back");
    for hub in ["hub", "second"] {
        let (outcomes, failed) = settle(&world, hub, &other);
        assert!(matches!(outcomes[..], [Outcome::Left(_)]) && failed.is_empty(), "{hub}: programs that contradict each other are left to a person");
    }
}

/// R11.3-f
#[test]
fn writers_are_told_once_and_nothing_of_each_others_words() {
    let world = differing();
    assert!(matches!(settle(&world, "hub", "").0[..], [Outcome::Left(2)]));
    assert!(matches!(settle(&world, "hub", "").0[..], [Outcome::Left(0)]), "each set of versions is told once");
    for (clinic, other) in [("lunana", "gasa"), ("gasa", "lunana")] {
        world.carry("hub", clinic, &format!("down-{clinic}"));
        let told = notices(&world, clinic);
        assert_eq!((told.len(), told[0]["key"].as_str(), told[0]["others"].as_u64()), (1, Some(KEY), Some(1)), "{clinic}");
        let (me, them) = (world.view(clinic).keyring().node(), world.view(other).keyring().node());
        let text = told[0].to_string();
        assert!(
            told[0]["yours"][0].as_str().unwrap().contains(&me.to_string()) && !text.contains(&them.to_string()) && !text.contains("\"by\""),
            "{text}"
        );
        assert_eq!(conflict(&world, clinic, KEY).folded.state, State::Settled, "here there is one version still");
    }
    settle(&world, "hub", "[conflicts]\ndisclose = \"payload\"");
    world.carry("hub", "lunana", "down-again");
    assert!(
        notices(&world, "lunana").iter().any(|told| told["heads"].to_string().contains("{\"by\":\"gasa\"}")),
        "unless the hub's people want it so"
    );
    let third = World::new();
    third.init("hub", true);
    assert!(settle(&third, "hub", "[[conflicts.rule]]\nhow = \"append\"").0.is_empty());
}

/// Versions that stand side by side by a rule are told to nobody, and settled by nobody.
#[test]
fn what_may_stand_side_by_side_does() {
    let world = differing();
    assert!(matches!(settle(&world, "hub", "[[conflicts.rule]]\ntype = \"vitals\"\nhow = \"append\"").0[..], [Outcome::Left(0)]));
    assert_eq!(conflict(&world, "hub", KEY).heads.len(), 2);
    assert!(notices(&world, "hub").is_empty());
}

/// R11.3-c: a slip of the pen changes nothing and is told with its place.
#[test]
fn a_broken_configuration_is_refused_whole() {
    let world = differing();
    std::fs::write(world.path("hub").join("config.toml"), format!("{LWW}[[conflicts.rule]]\nhow = \"newest\"\n")).unwrap();
    let refused = world.view("hub").config().unwrap_err();
    assert!(refused.code() == Code::Z106 && refused.to_string().contains("newest"), "{refused}");
    assert_eq!(conflicts(&world, "hub").len(), 1);
}
