//! Records by HTTP, as the tables tell them, to whoever may know of them.

use crate::world::{self, Served, node};
use serde_json::{Value, json};

/// R11.2-g
#[test]
fn the_tables_follow_the_log_while_it_serves() {
    let dir = node();
    let index = dir.path().join("index.db");
    let served = Served::start(&dir.path(), &[]);
    let heads = || {
        let database = rusqlite::Connection::open_with_flags(&index, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        database.query_row("SELECT count(*), max(payload) FROM current", [], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    };
    let wait = |want: (u32, Option<String>)| {
        let begun = std::time::Instant::now();
        while heads().as_ref() != Some(&want) {
            assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{:?}, not {want:?}", heads());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    served.post("/v1/events?key=a", "application/json", "1");
    wait((1, None)); // no payloads in the clear until somebody asks for them
    world::zbundle(&dir.path(), &["push", "2", "--key", "b"]);
    wait((2, None));
    world::zbundle(&dir.path(), &["project"]);
    wait((2, Some("2".to_owned())));
    served.post("/v1/events?key=c", "application/json", "3");
    wait((3, Some("3".to_owned())));
    std::fs::remove_file(&index).unwrap();
    served.post("/v1/events?key=d", "application/json", "4");
    wait((4, None));
}

#[test]
fn a_record_is_told_as_it_stands_to_whoever_wrote_it() {
    let dir = world::hub();
    let served = Served::start(&dir.path(), &[]);
    let record = |key: &str| served.get(&format!("/v1/records/{key}")).json();
    assert_eq!(record("Patient/BT%201")["state"], json!("settled"));
    served.post("/v1/events?key=Patient%2FBT+1&base=none", "application/json", "{\"phone\":\"17600009\"}");
    let told = record("Patient%2FBT%201");
    assert_eq!((&told["state"], &told["head_count"]), (&json!("conflict"), &json!(2)), "{told}");
    let payloads: Vec<_> = told["heads"].as_array().unwrap().iter().map(|head| head["payload"].as_str().unwrap()).collect();
    assert_eq!(payloads, ["{\"phone\":\"17600009\"}", "{\"phone\":\"17600000\"}"]);
    let listed = served.get("/v1/conflicts").json();
    assert_eq!((&listed["count"], &listed["next"], &listed["records"][0]["key"]), (&json!(1), &Value::Null, &json!("Patient/BT 1")), "{listed}");
    assert!(listed["records"][0]["heads"][0].get("payload").is_none(), "a list tells no payloads");
    let all: Vec<String> = told["heads"].as_array().unwrap().iter().map(|head| head["id"].as_str().unwrap().replace('>', "%3E")).collect();
    served.post(&format!("/v1/events?key=Patient%2FBT+1&base={}&base={}", all[0], all[1]), "application/json", "{}");
    assert_eq!(record("Patient/BT%201")["state"], json!("settled"), "who names both as seen has settled it");
    served.post("/v1/events?key=%FF", "application/json", "{}");
    let missing = served.get("/v1/records/nobody");
    assert_eq!((missing.status, missing.json()["code"].clone()), (404, json!("Z412")));
}

#[test]
fn a_page_of_records_goes_on_behind_its_last_key() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    for key in 0..5 {
        served.post(&format!("/v1/events?key=r{key}"), "application/json", "1");
    }
    let (mut after, mut keys) = (String::new(), Vec::new());
    loop {
        let page = served.get(&format!("/v1/conflicts?state=settled&limit=2{after}")).json();
        keys.extend(page["records"].as_array().unwrap().iter().map(|record| record["key"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(keys, ["r0", "r1", "r2", "r3", "r4"]);
}

/// R11.3-c: what stands side by side by a rule is nobody's to decide, whoever is asked.
#[test]
fn versions_that_stand_side_by_side_are_counted_as_conflict_by_nobody() {
    let dir = world::node();
    for phone in ["1", "2"] {
        world::zbundle(&dir.path(), &["push", phone, "--key", "Patient/1", "--type", "vitals", "--base", "none"]);
    }
    let rule = "[[conflicts.rule]]\ntype = \"vitals\"\nhow = \"append\"\n";
    for (config, count) in [("", 1), (rule, 0), ("", 1)] {
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        let listed = world::ended(&dir.path(), &["conflicts", "list", "--check", "--json"]);
        assert!(listed.1.contains(&format!("\"open\":{count}")) && listed.0 == 17 * count, "{listed:?}");
        let status = world::ended(&dir.path(), &["status", "--check", "--json"]);
        assert!(status.1.contains(&format!("\"conflicts\":{count},\"tables\":\"in_step\"")) && status.0 == 17 * count, "{status:?}");
        let served = Served::start(&dir.path(), &[]);
        let all = served.get("/v1/conflicts").json();
        assert_eq!((all["count"].as_i64(), all["records"].as_array().unwrap().len()), (Some(i64::from(count)), usize::try_from(count).unwrap()));
        assert_eq!(served.get("/v1/status").json()["conflicts"], count);
        assert!(served.get("/metrics").text().contains(&format!("\nzbundle_conflicts {count}\n")));
        assert_eq!(served.get("/ui").text().contains("in conflict"), count > 0);
        assert_eq!(served.get("/v1/conflicts?state=appended").json()["count"], 1 - count);
    }
    std::fs::write(dir.path().join("config.toml"), "[conflict]").unwrap();
    let status = Served::start(&dir.path(), &[]).get("/v1/status").json();
    assert!(status["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "config" && alarm["code"] == "Z106"), "{status}");
}

/// R11.3-f, R11.3-g, from one data directory to another: a hub tells, and the clinic's own list, page and API tell it on.
#[test]
fn a_clinic_is_told_of_a_conflict_that_only_the_hub_sees() {
    let dir = world::hub();
    let (hub, clinic, stick) = (dir.path(), dir.path().with_file_name("clinic"), dir.path().with_file_name("stick"));
    world::zbundle(&hub, &["push", "{\"phone\":\"77112233\"}", "--key", "Patient/BT 1", "--type", "patient"]);
    let down = || {
        world::zbundle(&hub, &["conflicts", "settle"]);
        world::zbundle(&hub, &["cut", "--to", "lunana-bhu", "--out", stick.to_str().unwrap()]);
        world::zbundle(&clinic, &["ingest", stick.to_str().unwrap()]);
    };
    down();
    let listed = world::ended(&clinic, &["conflicts", "list", "--check"]);
    assert!(listed.0 == 0 && listed.1.contains("Patient/BT 1  lunana-bhu~") && listed.1.contains("1 other version, says punakha-hub"), "{listed:?}");
    let shown = world::ended(&clinic, &["conflicts", "show", "Patient/BT 1"]);
    assert!(shown.1.contains("settled") && shown.1.contains("says punakha-hub") && !shown.1.contains("77112233"), "{shown:?}");
    let served = Served::start(&clinic, &[]);
    let told = served.get("/v1/conflicts").json();
    assert_eq!(
        (&told["count"], &told["told"][0]["key"], &told["told"][0]["by"]),
        (&0.into(), &"Patient/BT 1".into(), &"punakha-hub".into()),
        "{told}"
    );
    let page = served.get("/ui");
    assert!(page.text().contains("1 record that a hub is to decide") && !page.text().contains("77112233"), "{}", page.text());
    drop(served);

    std::fs::write(hub.join("config.toml"), "[conflicts]\ndisclose = \"payload\"").unwrap();
    down();
    let shown = world::ended(&clinic, &["conflicts", "show", "Patient/BT 1"]);
    assert!(shown.1.contains("/phone: \"77112233\" | \"17600000\""), "{shown:?}");
}

/// R10.13-i: who corrects one field of a version would settle against another that the page has not shown.
#[test]
fn no_form_offers_a_version_for_changing_beside_one_that_is_not_shown() {
    let dir = world::node();
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(70_000));
    for (key, other) in [("Patient/1", "{\"note\":\"y\"}"), ("Patient/2", long.as_str())] {
        world::zbundle(&dir.path(), &["push", other, "--key", key, "--base", "none"]);
        world::zbundle(&dir.path(), &["push", "{\"note\":\"z\"}", "--key", key, "--base", "none"]);
    }
    let served = Served::start(&dir.path(), &[]);
    let page = |key: &str| served.get(&format!("/ui/record?key={key}")).text().to_owned();
    assert!(page("Patient%2F1").contains("<textarea"));
    let beside = page("Patient%2F2");
    assert!(beside.contains("too large for this page") && !beside.contains("<textarea"), "{beside}");
}

/// R11.2-k: whoever asks while the tables are being made is told that, and never that nothing is in conflict.
#[test]
fn tables_that_are_being_made_are_told_to_be_behind() {
    let dir = world::node();
    let lines = dir.path().with_file_name("lines");
    std::fs::write(&lines, "1\n".repeat(8000)).unwrap();
    world::zbundle(&dir.path(), &["push", "--key", "Patient/2", "--ndjson", lines.to_str().unwrap()]);
    for phone in ["1", "2"] {
        world::zbundle(&dir.path(), &["push", phone, "--key", "Patient/1", "--base", "none"]);
    }
    let served = Served::start(&dir.path(), &[]);
    let begun = std::time::Instant::now();
    loop {
        let metrics = served.get("/metrics").text().to_owned();
        assert!(metrics.contains("\nzbundle_conflicts 1\n") || metrics.contains("\nzbundle_tables_behind 1\n"), "{metrics}");
        let status = served.get("/v1/status").json();
        let is_alarmed = status["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "tables");
        assert_eq!(is_alarmed, status["tables"] != "in_step", "{status}");
        if status["tables"] == "in_step" {
            assert_eq!(status["conflicts"], 1);
            return;
        }
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{status}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
