//! The HTTP API, end to end: the real binary in a process, its socket, and requests written by hand.
#![allow(clippy::disallowed_methods, reason = "tests use the disk, the clock and the network they are given")]

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
fn every_address_of_the_document_answers_and_every_status_is_in_it() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let document = served.get("/v1/openapi.json").json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap() {
            let status = match path.as_str() {
                "/v1/stream" => {
                    let mut line = String::new();
                    served.stream(path, None).read_line(&mut line).unwrap();
                    assert!(line.starts_with(": "), "{line}");
                    200
                }
                _ => served.send(&method.to_uppercase(), path, &[("content-type", "application/json")], b"{}").status,
            };
            assert!(status < 300 && told["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
        }
    }
    let event = &served.get("/v1/events").json()["events"][0];
    let schema = &document["components"]["schemas"]["Event"];
    assert!(schema["required"].as_array().unwrap().iter().all(|key| event.get(key.as_str().unwrap()).is_some()), "{event}");
    assert!(event.as_object().unwrap().keys().all(|key| schema["properties"].get(key).is_some()), "{event}");
    let problem = served.get("/v1/nothing").json();
    let schema = &document["components"]["schemas"]["Problem"];
    assert!(schema["required"].as_array().unwrap().iter().all(|key| problem.get(key.as_str().unwrap()).is_some()), "{problem}");
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
