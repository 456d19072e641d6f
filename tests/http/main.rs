//! The HTTP API, end to end: the real binary in a process, its socket, and requests written by hand.
#![allow(clippy::disallowed_methods, reason = "tests use the disk, the clock and the network they are given")]

mod browser;
mod clients;
mod contract;
mod marked;
mod page;
mod rotten;
mod tables;
mod world;

use serde_json::{Value, json};
use std::io::BufRead as _;
use world::{Served, node};

#[test]
fn what_was_answered_201_is_there_after_a_kill() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let ids: Vec<_> =
        (0..20).map(|number| served.post("/v1/events?key=r%2F1&type=vitals", "application/json", &format!("{{\"n\":{number}}}"))).collect();
    assert!(ids.iter().all(|answer| answer.status == 201), "{ids:?}");
    served.kill();
    let served = Served::start(&dir.path(), &[]);
    let page = served.get("/v1/events").json();
    let told: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| (event["id"].clone(), event["payload"].clone())).collect();
    let want: Vec<_> = ids.iter().zip(0..).map(|(answer, number)| (answer.json()["id"].clone(), json!(format!("{{\"n\":{number}}}")))).collect();
    assert_eq!(told, want);
    assert_eq!((&page["events"][0]["key"], &page["events"][0]["type"], &page["more"]), (&json!("r/1"), &json!("vitals"), &json!(false)));
}

/// R11.1-f, by HTTP: whatever happens to the answer, the process or the index.
#[test]
fn a_request_with_a_key_can_be_sent_again_at_any_time() {
    let dir = node();
    let mut served = Served::start(&dir.path(), &[]);
    let push = |served: &Served, key: &str, kind: &str, body: &str| {
        let answer = served.send("POST", "/v1/events?key=r", &[("content-type", kind), ("idempotency-key", key)], body.as_bytes());
        (answer.status, answer.json())
    };
    let one = |served: &Served, key: &str, body: &str| push(served, key, "application/json", body);
    let (status, first) = one(&served, "form-1", "{}");
    assert_eq!((status, &first["replayed"]), (201, &json!(false)), "{first}");
    let (_, lines) = push(&served, "form-2", "application/x-ndjson", "1\n2\n");
    for round in 0..3 {
        let (status, again) = one(&served, "form-1", "{}");
        assert_eq!((status, &again["id"], &again["replayed"]), (201, &first["id"], &json!(true)), "round {round}");
        let (_, again) = push(&served, "form-2", "application/x-ndjson", "1\n2\n");
        assert_eq!((&again["events"][1]["id"], &again["events"][1]["replayed"]), (&lines["events"][1]["id"], &json!(true)), "round {round}");
        std::fs::remove_file(dir.path().join("index.db")).unwrap(); // while it is open; what SQLite keeps beside it stays
        if round > 0 {
            served.kill();
            served = Served::start(&dir.path(), &[]);
        }
    }
    let (status, other) = one(&served, "form-1", "{\"other\":1}");
    assert_eq!((status, &other["code"]), (409, &json!("Z414")));
    let (status, _) = push(&served, "form-2", "application/x-ndjson", "0\n3\n");
    assert_eq!(status, 409);
    let (_, more) = push(&served, "form-2", "application/x-ndjson", "1\n2\n3\n");
    assert_eq!([0, 1, 2].map(|line| more["events"][line]["replayed"] == json!(true)), [true, true, false]);
    assert_eq!(served.get("/v1/events").json()["events"].as_array().unwrap().len(), 4);
}

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
fn of_lines_all_are_stored_or_none() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let bad = served.post("/v1/events", "application/x-ndjson", "{\"a\":1}\n\n{\"a\"}\n");
    let problem = bad.json();
    assert_eq!((bad.status, &problem["code"], &problem["error"], &problem["line"]), (400, &json!("Z431"), &json!("INVALID_JSON"), &json!(3)));
    assert_eq!(bad.header("content-type"), "application/problem+json");
    assert_eq!(served.get("/v1/events").json()["events"], json!([]));
    let good = served.post("/v1/events", "application/x-ndjson", "{\"a\":1}\r\n\n[2]");
    assert_eq!((good.status, good.json()["stored"].clone(), good.json()["events"][1]["line"].clone()), (201, json!(2), json!(3)));
    let page = served.get("/v1/events").json();
    assert_eq!((&page["events"][0]["payload"], &page["events"][1]["payload"]), (&json!("{\"a\":1}"), &json!("[2]")));
}

/// The key of a line is that of the request with the line's number: what is too long as that is told before the first line is stored.
#[test]
fn a_key_that_only_becomes_too_long_behind_some_lines_stores_none_of_them() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let mut cursor = json!("0");
    for (key_len, lines) in (195..=200).flat_map(|key_len| [9, 10, 99, 100].map(|lines| (key_len, lines))) {
        let key = format!("{lines}{}", "k".repeat(key_len - lines.to_string().len()));
        let body = "7\n".repeat(lines);
        let headers = [("content-type", "application/x-ndjson"), ("idempotency-key", &key)];
        let answer = served.send("POST", "/v1/events", &headers, body.as_bytes());
        let fits = key_len + 1 + lines.to_string().len() <= 200;
        assert_eq!(answer.status, if fits { 201 } else { 422 }, "{key_len} {lines}: {}", answer.text());
        let page = served.get(&format!("/v1/events?limit=1000&after={}", cursor.as_str().unwrap())).json();
        assert_eq!(page["events"].as_array().unwrap().len(), if fits { lines } else { 0 }, "{key_len} {lines}");
        cursor = page["next"].clone();
    }
}

/// One page looks at so many events and no further. What it has not told comes with the next one, wherever it stands.
#[test]
fn a_reader_with_a_filter_is_told_each_event_that_it_wants() {
    const PAGE_LOOKS: usize = 64 * 256;
    let dir = node();
    let lines = dir.path().with_extension("ndjson");
    std::fs::write(&lines, "0\n".repeat(PAGE_LOOKS)).unwrap();
    world::zbundle(&dir.path(), &["push", "--ndjson", lines.to_str().unwrap()]);
    let served = Served::start(&dir.path(), &[]);
    for number in 1..=20 {
        served.post("/v1/events", "application/json", "0");
        served.post("/v1/events?key=Patient%2F7", "application/json", &number.to_string());
    }
    let (mut told, mut cursor, mut more) = (Vec::new(), json!("0"), json!(true));
    while more == json!(true) {
        let page = served.get(&format!("/v1/events?key=Patient%2F7&limit=10&after={}", cursor.as_str().unwrap())).json();
        told.extend(page["events"].as_array().unwrap().iter().map(|event| event["payload"].as_str().unwrap().to_owned()));
        (cursor, more) = (page["next"].clone(), page["more"].clone());
    }
    assert_eq!(told, (1..=20).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_cursor_goes_on_over_restarts_and_beside_other_commands() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let mut told = Vec::new();
    let mut cursor = "0".to_owned();
    for number in 0..30 {
        if number % 2 == 0 {
            served.post("/v1/events", "application/json", &number.to_string());
        } else {
            world::zbundle(&dir.path(), &["push", &number.to_string()]);
        }
        if number % 3 == 0 {
            cursor = read_on(&served, &cursor, &mut told);
        }
    }
    served.kill();
    let served = Served::start(&dir.path(), &[]);
    served.post("/v1/events", "application/json", "30");
    read_on(&served, &cursor, &mut told);
    assert_eq!(told, (0..31).map(|number| number.to_string()).collect::<Vec<_>>());
}

fn read_on(served: &Served, cursor: &str, told: &mut Vec<String>) -> String {
    let mut cursor = cursor.to_owned();
    loop {
        let page = served.get(&format!("/v1/events?limit=2&after={cursor}")).json();
        told.extend(page["events"].as_array().unwrap().iter().map(|event| event["payload"].as_str().unwrap().to_owned()));
        page["next"].as_str().unwrap().clone_into(&mut cursor);
        if page["more"] == json!(false) {
            return cursor;
        }
    }
}

#[test]
fn a_cursor_of_another_log_is_refused_not_answered_with_a_gap() {
    let (ours, theirs) = (node(), node());
    let (ours, theirs) = (Served::start(&ours.path(), &[]), Served::start(&theirs.path(), &[]));
    ours.post("/v1/events", "application/json", "1");
    theirs.post("/v1/events", "application/json", "2");
    let foreign = theirs.get("/v1/events").json()["next"].as_str().unwrap().to_owned();
    for cursor in [&foreign, "1.65.0.00000000", "9.64.0.00000000", "1.99999999.0.00000000"] {
        let refused = ours.get(&format!("/v1/events?after={cursor}"));
        assert_eq!((refused.status, refused.json()["code"].clone()), (410, json!("Z430")), "{cursor}");
    }
}

#[test]
fn a_stream_goes_on_where_its_reader_was_with_no_gap_and_no_repeat() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let (mut last, mut told) = (None, Vec::new());
    for round in 0..4 {
        let mut stream = served.stream("/v1/stream", last.as_deref());
        for number in 0..5 {
            served.post("/v1/events", "application/json", &(round * 5 + number).to_string());
        }
        // the last two of a round are left to the next reader
        while told.len() < round * 5 + 3 {
            let (id, event) = world::event(&mut stream);
            told.push(event["payload"].as_str().unwrap().to_owned());
            last = Some(id);
        }
    }
    assert_eq!(told, (0..18).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_large_payload_comes_back_byte_for_byte_as_page_and_as_stream() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let payload: Vec<u8> = (0..3_000_001_u32).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect();
    assert_eq!(served.send("POST", "/v1/events?lane=bulk", &[("content-type", "image/png")], &payload).status, 201);
    let check = |event: &Value| {
        let decoded = data_encoding::BASE64.decode(event["payload_base64"].as_str().unwrap().as_bytes()).unwrap();
        assert!(decoded == payload, "other bytes");
        assert_eq!((&event["content_type"], &event["lane"], &event["len"]), (&json!("image/png"), &json!("bulk"), &json!(payload.len())));
    };
    check(&served.get("/v1/events").json()["events"][0]);
    check(&world::event(&mut served.stream("/v1/stream", None)).1);
    assert_eq!(served.send("POST", "/v1/events", &[("content-type", "x/y")], &vec![0; (16 << 20) + 1]).status, 413);
    assert!(served.peak_memory() < 24 << 20, "{}", served.peak_memory());
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    for (method, path, kind, body, status, code) in [
        ("POST", "/v1/events", "application/json", "{", 400, "Z431"),
        ("POST", "/v1/events", "application/fhir+json; charset=utf-8", "{", 400, "Z431"),
        ("POST", "/v1/events?lane=control", "application/json", "{}", 422, "Z404"),
        ("POST", "/v1/events?type=zb/enrol", "application/json", "{}", 422, "Z404"),
        ("POST", "/v1/events?to=nobody", "application/json", "{}", 422, "Z406"),
        ("POST", "/v1/events?base=x", "application/json", "{}", 422, "Z405"),
        ("POST", "/v1/events?lnae=urgent", "application/json", "{}", 400, "Z433"),
        ("GET", "/v1/events?limit=0", "x/y", "", 400, "Z433"),
        ("GET", "/v1/stream?lane=slow", "x/y", "", 400, "Z433"),
        ("GET", "/v1/nothing", "x/y", "", 404, "Z432"),
        ("DELETE", "/v1/events", "x/y", "", 404, "Z432"),
    ] {
        let answer = served.send(method, path, &[("content-type", kind)], body.as_bytes());
        assert_eq!((answer.status, answer.json()["code"].clone()), (status, json!(code)), "{method} {path}");
    }
    assert_eq!(served.get("/v1/events").json()["events"], json!([]));
    assert_eq!(served.post("/v1/events", "text/plain", "no { JSON").status, 201);
}

#[test]
fn by_tcp_the_token_and_the_host_are_asked_for() {
    let dir = node();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let address = served.tcp.clone().unwrap();
    let token = std::fs::read_to_string(dir.path().join("http.token")).unwrap();
    let right = format!("Bearer {}", token.trim());
    let ask = |path: &str, headers: &[(&str, &str)]| world::by_tcp(&address, path, headers).status;
    assert_eq!(ask("/v1/events", &[("host", &address), ("authorization", &right)]), 200);
    assert_eq!(ask("/v1/events", &[("host", &address)]), 401);
    assert_eq!(ask("/healthz", &[("host", &address)]), 200);
    assert_eq!(ask("/v1/events", &[("host", "evil.example"), ("authorization", &right)]), 421);
    assert_eq!(ask("/v1/events", &[("host", &address), ("authorization", &right), ("origin", "http://evil.example")]), 421);
}

#[test]
fn every_address_of_the_document_answers_as_it_says() {
    let dir = world::hub();
    let served = Served::start(&dir.path(), &[]);
    served.post("/v1/events?key=Patient%2FBT%201&base=none", "application/json", "{\"phone\":\"17600009\"}");
    let document = served.get("/v1/openapi.json").json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap() {
            if path == "/v1/stream" {
                let mut line = String::new();
                served.stream(path, None).read_line(&mut line).unwrap();
                assert!(line.starts_with(": "), "{line}");
                continue;
            }
            let asked = path.replace("{key}", "Patient/BT%201");
            let answer = served.send(&method.to_uppercase(), &asked, &[("content-type", "application/json")], b"{}");
            assert!(answer.status < 300, "{method} {path}: {}", answer.status); // what it says was held against the document already
            assert!(!told["responses"][answer.status.to_string()].is_null(), "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(document, *contract::document());
    assert_eq!(served.get("/v1/nothing").status, 404);
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

#[test]
fn metrics_are_lines_that_prometheus_reads() {
    let dir = world::hub();
    let served = Served::start(&dir.path(), &[]);
    let told = served.get("/metrics");
    assert!(told.header("content-type").starts_with("text/plain; version=0.0.4"));
    let documented = include_str!("../../docs/http-api.md");
    let (mut family, mut known) = ("", std::collections::BTreeSet::new());
    for line in told.text().lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").map(|line| line.split_once(' ').unwrap()) {
            assert!(known.insert(name) && help.ends_with('.') && !help.contains('\\'), "each family once, with words: {line}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && documented.contains(&format!("`{name}`")), "{name}");
            family = name;
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            assert_eq!(told, format!("{family} gauge"), "right behind its words");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let label = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let peer = label.strip_prefix("{peer=\"").map(|label| label.strip_suffix("\"}").unwrap());
            assert!(label.is_empty() || peer.is_some_and(|peer| !peer.contains(['"', '\\', '\n'])), "{line}");
            value.parse::<u64>().unwrap();
        }
    }
    assert_eq!(known.len(), documented.matches("`zbundle_").count(), "the document knows no others");
    let lag = |served: &Served| -> u64 {
        let told = served.get("/metrics");
        told.text()
            .lines()
            .find_map(|line| line.strip_prefix("zbundle_peer_lag_seconds{peer=\"lunana-bhu\"} ").map(str::to_owned))
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(lag(&served) < 3600, "everything it said it has came just now");
    assert!(served.get("/v1/peers").json()["peers"][0]["lag_ms"].as_u64().unwrap() < 3_600_000);
    for line in ["zbundle_conflicts 0", "zbundle_peer_events{peer=\"lunana-bhu\"} 1", "zbundle_peer_silent{peer=\"lunana-bhu\"} 0"] {
        assert!(told.text().lines().any(|told| told == line), "{line} in {}", told.text());
    }
}

/// R10.14-b
#[test]
fn a_program_is_told_of_a_silent_peer_and_only_then() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = world::hub();
    let program = dir.path().with_file_name("tell.sh");
    let heard = dir.path().with_file_name("told");
    std::fs::write(&program, format!("#!/bin/sh\nexec cat > '{}'\n", heard.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let check = |silent_after: &[&str], program: &str| world::ended(&dir.path(), &[&["status", "--check", "--exec", program], silent_after].concat());
    let (status, _) = check(&[], program.to_str().unwrap());
    assert_eq!((status, heard.exists()), (0, false), "nobody is silent yet");
    let (status, _) = check(&["--silent-after", "0s"], program.to_str().unwrap());
    let told: Value = serde_json::from_slice(&std::fs::read(&heard).unwrap()).unwrap();
    assert_eq!((status, &told["kind"], &told["about"]), (18, &json!("silent"), &json!("lunana-bhu")));
    let (status, said) = check(&["--silent-after", "0s"], "/nobody/is/here");
    assert!(status == 18 && said.contains("Z440"), "{status} {said}");
}

/// What a person finds who asks by hand; the refusals of docs/http-api.md that no other test meets.
#[test]
fn whoever_asks_by_hand_is_answered_as_the_document_says() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!((served.send("HEAD", path, &[], b"").status, served.get(path).status), (200, 200), "who watches a process may ask for no body");
    }
    let post = |headers: &[(&str, &str)], path: &str, body: &[u8]| {
        let answer = served.send("POST", path, headers, body);
        (answer.status, answer.json()["code"].as_str().map(str::to_owned), answer.json()["safe"].as_str().map(str::to_owned))
    };
    let refused = |headers: &[(&str, &str)], path: &str, body: &[u8], status: u16, code: &str| {
        let (told, told_code, safe) = post(headers, path, body);
        assert_eq!((told, told_code.as_deref()), (status, Some(code)), "{path}");
        assert!(safe.is_some_and(|safe| safe.starts_with("Nothing was") && !safe.contains("go on")), "{path}: by HTTP a bad line refuses all");
    };
    let lines = [("content-type", "application/x-ndjson")];
    refused(&lines, "/v1/events", format!("1\n\"{}\"\n", "x".repeat(300_000)).as_bytes(), 413, "Z403");
    refused(&lines, "/v1/events", "1\n".repeat(10_001).as_bytes(), 413, "Z401");
    refused(&[("idempotency-key", "a"), ("idempotency-key", "b")], "/v1/events", b"1", 400, "Z433");
    refused(&[("idempotency-key", "")], "/v1/events", b"1", 422, "Z404");
    for (name, len) in [("key", 201), ("type", 129), ("author", 201)] {
        refused(&[], &format!("/v1/events?{name}={}", "x".repeat(len)), b"1", 422, "Z404");
        assert_eq!(post(&[], &format!("/v1/events?{name}={}", "x".repeat(len - 1)), b"1").0, 201, "{name} up to {}", len - 1);
    }
    refused(&[], "/v1/events?lane=control", b"1", 422, "Z404");
    refused(&[], "/v1/events?key=r&base=nobody", b"1", 422, "Z405");
    refused(&[], "/v1/events?to=nobody", b"1", 422, "Z406");
    refused(&[], "/v1/events?kye=r", b"1", 400, "Z433");
    assert_eq!(served.get("/v1/events").json()["events"].as_array().unwrap().len(), 3, "what was refused was not stored");
    for (path, status, code) in [
        ("/v1/events?limit=0", 400, "Z433"),
        ("/v1/events?limit=1001", 400, "Z433"),
        ("/v1/events?after=rubbish", 410, "Z430"),
        ("/v1/conflicts?state=none", 400, "Z433"),
        ("/v1/records/nobody", 404, "Z412"),
        ("/v2/events", 404, "Z432"),
    ] {
        let answer = served.get(path);
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{path}");
    }
    let foreign = served.send("GET", "/v1/stream", &[("last-event-id", "1.64.0.deadbeef")], b"");
    assert_eq!((foreign.status, &foreign.json()["code"]), (410, &json!("Z430")), "a stream of another log does not begin");
}

#[test]
fn it_ends_in_order_with_readers_connected() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let mut stream = served.stream("/v1/stream", None);
    served.post("/v1/events", "application/json", "1");
    world::event(&mut stream);
    let took = served.end();
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
    assert!(!dir.path().join("http.sock").exists(), "no name is left");
}

/// R10.15-a
#[test]
fn a_payload_that_does_not_fit_the_schema_is_refused_at_push_and_taken_from_others() {
    let dir = world::hub();
    let file = dir.path().with_file_name("schema.json");
    std::fs::write(&file, "{\"type\":\"object\",\"properties\":{\"bp\":{\"items\":{\"maximum\":300}}},\"required\":[\"bp\"]}").unwrap();
    let file = file.to_str().unwrap();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0", "--schema", file]);
    let said = |kind: &str, body: &str| {
        let answer = served.post("/v1/events", kind, body);
        (answer.status, answer.json())
    };
    let (status, problem) = said("application/json", "{\"bp\":[120,777]}");
    assert_eq!((status, &problem["error"], &problem["code"]), (422, &json!("SCHEMA_VIOLATION"), &json!("Z438")), "{problem}");
    assert_eq!((&problem["pointer"], &problem["detail"]), (&json!("/bp/1"), &json!("/bp/1 is more than 300")));
    let (status, problem) = said("application/x-ndjson", "{\"bp\":[1]}\n\n{\"bp\":[2]}\n{}\n");
    assert_eq!((status, &problem["line"], &problem["pointer"], &problem["detail"]), (422, &json!(4), &json!(""), &json!("the payload lacks bp")));
    assert_eq!(said("text/plain", "no JSON at all").0, 422, "another content type is no way around it");
    let huge = format!("{{\"bp\":[],\"note\":\"{}\"}}", "x".repeat(300_000));
    assert_eq!(said("application/json", &huge).1["code"], json!("Z438"));
    let held = |served: &Served| served.get("/v1/events?lane=routine").json()["events"].as_array().unwrap().len();
    assert_eq!(held(&served), 1, "nothing of it was stored: only what the clinic had sent before");
    assert_eq!(said("application/x-ndjson", "{\"bp\":[1]}\n{\"bp\":[2]}\n").0, 201);
    // What others send fits nobody's schema but their own.
    let (clinic, stick) = (dir.path().with_file_name("clinic"), dir.path().with_file_name("stick 2"));
    world::zbundle(&clinic, &["push", "[\"fits no schema\"]"]);
    world::zbundle(&clinic, &["cut", "--to", "punakha-hub", "--out", stick.to_str().unwrap()]);
    world::zbundle(&dir.path(), &["ingest", stick.to_str().unwrap()]);
    assert_eq!(held(&served), 4);
    // The same at the command line, where the other lines go on.
    let lines = dir.path().with_file_name("lines");
    std::fs::write(&lines, "{\"bp\":[5]}\n{\"bp\":[\"x\",900]}\n{\"bp\":[6]}\n").unwrap();
    let (exit, told) = world::ended(&clinic, &["push", "--schema", file, "--ndjson", lines.to_str().unwrap()]);
    assert!(exit == 3 && told.contains("line 2 refused: Z438 the payload does not fit the schema: /bp/1 is more than 300"), "{exit} {told}");
    let (exit, told) = world::ended(&clinic, &["push", "--schema", file, "{}"]);
    assert!(exit == 2 && told.contains("Z438") && told.contains("the payload lacks bp"), "{exit} {told}");
    std::fs::write(dir.path().with_file_name("bad"), "{\"$ref\":\"file:///etc/passwd\"}").unwrap();
    let (exit, told) = world::ended(&clinic, &["push", "--schema", dir.path().with_file_name("bad").to_str().unwrap(), "{}"]);
    assert!(exit == 2 && told.contains("Z439"), "{exit} {told}");
}

/// R10.14-b, R10.14-c: by a process that was started before programs were given up; one that fails is tried again.
#[test]
fn a_hub_tells_a_program_by_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = world::hub();
    let at = |name: &str| dir.path().with_file_name(name);
    let (program, heard) = (at("tell.sh"), at("told"));
    // The first time it fails.
    std::fs::write(&program, format!("#!/bin/sh\ncat >> '{0}'\ntest -e '{0}.again' || {{ touch '{0}.again'; exit 1; }}\n", heard.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let served = Served::start(&dir.path(), &["--alarm", program.to_str().unwrap(), "--alarm-every", "100ms"]);
    assert_eq!(served.get("/healthz").status, 200);
    let bundle =
        std::fs::read_dir(at("stick")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "zb"));
    let mut bytes = std::fs::read(bundle.unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(at("bad.zb"), bytes).unwrap();
    world::ended(&dir.path(), &["ingest", at("bad.zb").to_str().unwrap()]);
    let begun = std::time::Instant::now();
    let told = || std::fs::read_to_string(&heard).unwrap_or_default();
    while told().lines().count() < 2 {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{}", told());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    for line in told().lines() {
        let alarm: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&alarm["kind"], &alarm["about"]), (&json!("quarantine"), &json!("1")));
    }
    // A record in conflict is told as well, and what was told before is not told with it.
    served.post("/v1/events?key=Patient%2FBT+1&base=none", "application/json", "{\"phone\":\"17600009\"}");
    while told().lines().count() < 3 {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{}", told());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let alarm: Value = serde_json::from_str(told().lines().last().unwrap()).unwrap();
    assert_eq!((&alarm["kind"], &alarm["about"]), (&json!("conflicts"), &json!("1")));
    served.end();
    assert_eq!(told().lines().count(), 3, "once it has been told, it is not told again");
    let (exit, said) = world::ended(&dir.path(), &["serve", "--http", "--alarm", "/nowhere/at/all"]);
    assert!(exit == 1 && said.contains("Z440"), "{exit} {said}");
}
