//! Events in by HTTP: what is stored, once, all of it or none, and what does not fit.

use crate::world::{self, Served, node};
use serde_json::json;

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

#[test]
fn of_lines_all_are_stored_or_none() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let bad = served.post("/v1/events", "application/x-ndjson", "{\"a\":1}\n\n{\"a\"}\n");
    let problem = bad.json();
    assert_eq!((bad.status, &problem["code"], &problem["error"], &problem["line"]), (400, &json!("Z431"), &json!("INVALID_JSON"), &json!(3)));
    assert_eq!(problem["detail"], "expected `:` at column 5");
    assert_eq!(bad.header("content-type"), "application/problem+json");
    assert_eq!(served.get("/v1/events").json()["events"], json!([]));
    let good = served.post("/v1/events", "application/x-ndjson", "{\"a\":1}\r\n\n[2]");
    assert_eq!((good.status, good.json()["stored"].clone(), good.json()["events"][1]["line"].clone()), (201, json!(2), json!(3)));
    let page = served.get("/v1/events").json();
    assert_eq!((&page["events"][0]["payload"], &page["events"][1]["payload"]), (&json!("{\"a\":1}"), &json!("[2]")));
}

/// R10.13-b: programs of Windows begin a text with a byte order mark. It is passed over where lines begin, and named elsewhere.
#[test]
fn a_byte_order_mark_costs_no_record() {
    let dir = node();
    let served = Served::start(&dir.path(), &[]);
    let good = served.post("/v1/events", "application/x-ndjson", "\u{feff}{\"a\":1}\n2\n");
    assert_eq!((good.status, good.json()["stored"].clone()), (201, json!(2)), "{}", good.text());
    assert_eq!(served.get("/v1/events").json()["events"][0]["payload"], json!("{\"a\":1}"));
    for (kind, body) in [("application/x-ndjson", "1\n\u{feff}2\n"), ("application/json", "\u{feff}{}")] {
        let bad = served.post("/v1/events", kind, body);
        assert_eq!((bad.status, &bad.json()["code"]), (400, &json!("Z431")), "{kind}");
        assert_eq!(bad.json()["detail"], "it begins with a byte order mark: remove it", "{kind}");
    }
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
