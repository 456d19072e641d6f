//! Who may ask, and what is answered: as the document says, and in words where it is wrong.

use crate::contract;
use crate::world::{self, Served, node};
use serde_json::json;
use std::io::BufRead as _;

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
        assert!(code != "Z431" || answer.json()["detail"] == "EOF while parsing an object at line 1 column 1", "{}", answer.text());
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
