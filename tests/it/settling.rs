//! Conflicts settled by rules at a hub: nobody's version is lost, nobody is told more than he may know, and two hubs come to an end.

use crate::conflicts::{conflict, conflicts};
use crate::project::{content, of_record, push_record};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{Hash, Lane};
use zbundle::adapters::{SqliteProjection, ask_program};
use zbundle::keys::Policy;
use zbundle::node::config::Rule;
use zbundle::node::conflicts::Resolution;
use zbundle::node::settling::{NOTICE_KIND, Outcome};
use zbundle::node::told::Told;
use zbundle::ports::projection::{State, id_text};
use zbundle::push::Fields;

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
    let decisions = view.decide(&mut tables, &rules, None, &mut ask).unwrap();
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
fn a_rule_settles_at_the_hub_and_who_wrote_what_it_took_has_it_too() {
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
    let taken = (State::Settled, "{\"by\":\"gasa\"}".into(), Some("zbundle/lww".into()));
    for node in ["hub", "gasa"] {
        assert_eq!(shown(&world, node), taken, "{node}");
    }
    assert_eq!(
        shown(&world, "lunana"),
        (State::Settled, "{\"by\":\"lunana\"}".into(), None),
        "whoever writes under a key is not told what stands there"
    );
    assert!(told(&world, "lunana")[0].decided);
    let world = differing();
    settle(&world, "hub", &format!("[conflicts]\ndisclose = \"payload\"\n{LWW}"));
    world.carry("hub", "lunana", "down");
    assert_eq!(shown(&world, "lunana"), taken, "unless the hub's people want it so");
    let clinic = world.view("gasa");
    let mut tables = SqliteProjection::open(&world.path("gasa.db"), false).unwrap();
    assert_eq!(clinic.decide(&mut tables, &clinic.config().unwrap().conflicts, None, &mut ask).unwrap_err().code(), Code::Z416);
}

/// R11.3-i: a picture that was taken stays one, and what a program made of two pictures is what it is.
#[test]
fn a_resolution_is_of_the_type_of_what_it_says() {
    const JPEG: &str = "image/jpeg";
    const NOTE: &str = "text/plain";
    let script = "#!/bin/sh\ncat >/dev/null; echo '{\"merge\":{}}'\n";
    for (types, merged, by_rule, by_hand, by_program) in [
        ([Some(JPEG), None], "{}", None, None, None),
        ([None, Some(JPEG)], "{}", Some(JPEG), None, None),
        ([Some(JPEG), Some(JPEG)], "\u{ff}", Some(JPEG), Some(JPEG), None),
        ([Some(NOTE), Some(JPEG)], "both", Some(JPEG), None, None),
        ([Some("application/fhir+json"); 2], "{}", Some("application/fhir+json"), Some("application/fhir+json"), Some("application/fhir+json")),
    ] {
        for way in ["rule", "hand", "program"] {
            let world = World::new();
            world.init("hub", true);
            for (kind, payload) in types.iter().zip(["1", "2"]) {
                world.clock.set(world.clock.get() + 1000);
                let fields = Fields { content_type: kind.map(str::to_owned), base: Some(Vec::new()), ..of_record(KEY) };
                push_record(&world, "hub", Lane::Routine, &fields, payload.as_bytes());
            }
            let want = match way {
                "rule" => {
                    settle(&world, "hub", LWW);
                    by_rule
                }
                "hand" => {
                    conflicts(&world, "hub");
                    let mut tables = SqliteProjection::open(&world.path("hub.db"), false).unwrap();
                    world.open("hub").resolve(&mut tables, KEY, &Resolution::Merge(merged.as_bytes()), None).unwrap();
                    by_hand
                }
                _ => {
                    let program = world.path("program");
                    std::fs::write(&program, script).unwrap();
                    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
                    settle(&world, "hub", &format!("[[conflicts.rule]]\nkey = \"*\"\nhow = \"exec\"\nprogram = \"{}\"\n", program.display()));
                    by_program
                }
            };
            let record = conflict(&world, "hub", KEY);
            assert_eq!((record.folded.state, record.heads.len()), (State::Settled, 1), "{types:?} by {way}");
            let database = rusqlite::Connection::open(world.path("hub.db")).unwrap();
            let sql = "SELECT content_type FROM event WHERE op = 'resolve'";
            let found: String = database.query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(found, want.unwrap_or("application/json"), "{types:?} by {way}");
        }
    }
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
        format!("[[conflicts.rule]]\nkey = \"*\"\nhow = \"exec\"\nprogram = \"{}\"\n", path.display())
    };
    for (name, body) in [
        ("fails", "exit 3"),
        ("mumbles", "echo maybe"),
        ("invents", "echo '{\"take\":\"@0:1\"}'"),
        ("two", "echo '{\"leave\":true,\"merge\":1}'"),
        ("loses", "echo '{\"merge\":{\"nid\":98765432109876543210987}}'"),
        ("repeats", "echo '{\"merge\":{\"bp\":1,\"bp\":2}}'"),
        ("decides twice", "echo '{\"merge\":1,\"merge\":2}'"),
    ] {
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

/// R11.3-d: what a program merged is stored as it spelled it.
#[test]
fn what_a_program_merged_is_stored_byte_for_byte() {
    const MERGED: &str = "{ \"z\":1.50,\"a\" : [1E2, -0] }";
    let world = differing();
    let path = world.path("program");
    std::fs::write(&path, format!("#!/bin/sh\ncat >/dev/null; echo ' {{ \"merge\": {MERGED} }} '\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    settle(&world, "hub", &format!("[[conflicts.rule]]\nkey = \"*\"\nhow = \"exec\"\nprogram = \"{}\"\n", path.display()));
    let (state, payload, _) = shown(&world, "hub");
    assert_eq!((state, payload.as_str()), (State::Settled, MERGED));
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
    assert!(settle(&third, "hub", "[[conflicts.rule]]\nkey = \"*\"\nhow = \"append\"").0.is_empty());
}

pub fn told(world: &World, name: &str) -> Vec<Told> {
    let (view, mut tables) = (world.view(name), SqliteProjection::open(&world.path(&format!("{name}.db")), false).unwrap());
    view.project(&mut tables, false).unwrap();
    view.told(&mut tables).unwrap()
}

/// R11.3-g: what a clinic cannot see it is told of, until it is settled, and by nobody but a hub.
#[test]
fn a_clinic_lists_a_conflict_that_it_cannot_see_until_it_is_settled() {
    let world = differing();
    settle(&world, "hub", "");
    world.carry("hub", "lunana", "down");
    let seen = told(&world, "lunana");
    let (hub, mine) = (world.view("hub").keyring().node(), conflict(&world, "lunana", KEY).folded.heads);
    assert_eq!((seen.len(), seen[0].record_key.as_str(), seen[0].by, seen[0].others), (1, KEY, hub, 1));
    assert_eq!((&seen[0].yours, seen[0].versions.len()), (&mine, 0), "its own version, and no word of the other's");
    assert!(conflicts(&world, "lunana").is_empty() && told(&world, "hub").is_empty() && told(&world, "gasa").is_empty());

    settle(&world, "hub", "[conflicts]\ndisclose = \"payload\"");
    world.carry("hub", "lunana", "down-again");
    let seen = told(&world, "lunana");
    assert_eq!((seen.len(), seen[0].versions.len()), (1, 2), "the newest word about a record counts");
    let words: Vec<_> = seen[0].versions.iter().map(|version| String::from_utf8(version.payload.clone().unwrap()).unwrap()).collect();
    assert_eq!(words, ["{\"by\":\"gasa\"}", "{\"by\":\"lunana\"}"]);

    settle(&world, "hub", LWW);
    world.carry("hub", "lunana", "settled");
    let seen = told(&world, "lunana");
    assert!(seen.len() == 1 && seen[0].decided, "it has been decided for the other one: {seen:?}");

    // Another clinic says the same of a version that is a head: nobody believes it.
    let head = conflict(&world, "lunana", KEY).folded.heads[0];
    let lie = serde_json::json!({"key": KEY, "yours": [id_text(&head)], "others": 9}).to_string();
    let kind = Fields { kind: NOTICE_KIND.into(), ..Fields::default() };
    let (mut gasa, to) = (world.open("gasa"), world.view("lunana").keyring().node());
    let streams = gasa.push_streams(Lane::Routine, &[to]).unwrap();
    gasa.with_pusher(&streams, |pusher| {
        pusher.push(&kind, lie.len() as u64, &mut lie.as_bytes()).unwrap();
        pusher.sync().unwrap();
    });
    drop(gasa);
    world.carry("gasa", "lunana", "lie");
    assert_eq!(notices(&world, "lunana").len(), 4, "it has come");
    assert_eq!(told(&world, "lunana").iter().map(|told| told.others).collect::<Vec<_>>(), [1]);
    push_record(&world, "lunana", Lane::Routine, &of_record(KEY), b"{}");
    assert!(told(&world, "lunana").is_empty(), "its version has a successor, of which the hub will tell");
}

fn push_notices(world: &World, from: &str, to: &str, count: u64) {
    let (mut node, to) = (world.open(from), world.view(to).keyring().node());
    let streams = node.push_streams(Lane::Routine, &[to]).unwrap();
    let kind = Fields { kind: NOTICE_KIND.into(), ..Fields::default() };
    node.with_pusher(&streams, |pusher| {
        for number in 0..count {
            let notice = serde_json::json!({"key": format!("other/{number}"), "yours": [], "others": 1}).to_string();
            pusher.push(&kind, notice.len() as u64, &mut notice.as_bytes()).unwrap();
        }
        pusher.sync().unwrap();
    });
}

/// R11.3-g: a word of a hub is found behind however many that came later, of whoever is none and of the hub itself.
#[test]
fn no_number_of_later_notices_hides_one_that_is_still_so() {
    for writer in ["gasa", "hub"] {
        let world = differing();
        settle(&world, "hub", "");
        world.carry("hub", "lunana", "down");
        world.clock.set(world.clock.get() + 1000);
        push_notices(&world, writer, "lunana", 2001);
        world.carry(writer, "lunana", "many");
        assert_eq!(notices(&world, "lunana").len(), 2002);
        assert_eq!(told(&world, "lunana").iter().map(|told| told.record_key.as_str()).collect::<Vec<_>>(), [KEY], "{writer}");
    }
}

/// R11.3-c, R11.1-i: versions that stand side by side by a rule are no conflict in any table, told to nobody, and settled by nobody, until the rule goes.
#[test]
fn what_may_stand_side_by_side_does() {
    let world = differing();
    let append = "[[conflicts.rule]]\ntype = \"vitals\"\nhow = \"append\"\n";
    let stands = |config: &str| {
        let (outcomes, _) = settle(&world, "hub", config);
        let database = rusqlite::Connection::open(world.path("hub.db")).unwrap();
        let in_conflict: i64 = database.query_row("SELECT count(*) FROM conflict", [], |row| row.get(0)).unwrap();
        (conflict(&world, "hub", KEY).folded.state, conflicts(&world, "hub").len(), in_conflict, outcomes.len())
    };
    assert_eq!(stands(append), (State::Appended, 0, 0, 0));
    assert_eq!(conflict(&world, "hub", KEY).heads.len(), 2);
    assert!(notices(&world, "hub").is_empty());

    push_record(&world, "hub", Lane::Routine, &Fields { base: Some(Vec::new()), ..of_record(KEY) }, b"{}");
    assert_eq!(stands(append), (State::Appended, 0, 0, 0), "one more changes nothing");
    let mut anew = SqliteProjection::open(&world.path("anew.db"), false).unwrap();
    world.view("hub").project(&mut anew, true).unwrap();
    assert_eq!(content(&world.path("anew.db")), content(&world.path("hub.db")), "made at once or step by step");

    let first = "[[conflicts.rule]]\nkey = \"Appointment/*\"\nhow = \"manual\"\n";
    assert_eq!(stands(&format!("{first}{append}")), (State::Conflict, 1, 3, 1), "the first that fits counts");
    assert_eq!(stands(append), (State::Appended, 0, 0, 0));
    std::fs::write(world.path("hub").join("config.toml"), "[[conflicts.rule").unwrap();
    assert_eq!(conflict(&world, "hub", KEY).folded.state, State::Conflict, "what does not read sets nothing");
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
