//! Events out by HTTP: pages, cursors and streams, with no gap and no repeat.

use crate::world::{self, Served, node};
use serde_json::{Value, json};

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
