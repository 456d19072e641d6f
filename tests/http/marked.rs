//! What is told of an event beside what its writer wrote: that it does not count, and that it was told before under another id.

use crate::rotten::rot_second;
use crate::world::{self, Served, ended, event, node, zbundle};
use serde_json::{Value, json};
use std::process::Command;

/// The marks of each event, behind its payload.
fn marks(events: &[Value], mark: &str) -> Vec<(String, Value)> {
    events.iter().map(|event| (event["payload"].as_str().unwrap().to_owned(), event[mark].clone())).collect()
}

fn feed(served: &Served) -> Vec<Value> {
    served.get("/v1/events").json()["events"].as_array().unwrap().clone()
}

/// R8.3-h, where programs and people read it.
#[test]
fn what_was_written_under_an_ended_key_is_marked_wherever_it_is_told() {
    let dir = world::hub();
    let (clinic, stick) = (dir.path().with_file_name("clinic"), dir.path().with_file_name("late"));
    let stick = stick.to_str().unwrap();
    zbundle(&dir.path(), &["revoke", "lunana-bhu"]);
    zbundle(&clinic, &["push", "{\"phone\":\"forged\"}", "--key", "Patient/BT 1"]);
    zbundle(&clinic, &["cut", "--to", "punakha-hub", "--out", stick]);
    ended(&dir.path(), &["ingest", stick]);

    let (_, json_lines) = ended(&dir.path(), &["log", "--format", "json"]);
    let logged: Vec<Value> = json_lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let wanted = [("{\"phone\":\"17600000\"}".to_owned(), Value::Null), ("{\"phone\":\"forged\"}".to_owned(), json!(true))];
    assert_eq!(marks(&logged, "after_revoke"), wanted, "log as JSON");
    let (_, csv) = ended(&dir.path(), &["log", "--format", "csv"]);
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "after_revoke").expect("a column");
    let cells = |line: &str| line.split(',').nth(column).unwrap().to_owned();
    assert_eq!(csv.lines().skip(1).map(cells).collect::<Vec<_>>(), ["", "true"], "log as a table");
    let (_, text) = ended(&dir.path(), &["log"]);
    assert_eq!(text.lines().map(|line| line.contains("OF AN ENDED KEY, NOT USED")).collect::<Vec<_>>(), [false, true], "log to read: {text}");

    let served = Served::start(&dir.path(), &[]);
    assert_eq!(marks(&feed(&served), "after_revoke"), wanted, "feed");
    let mut stream = served.stream("/v1/stream", None);
    assert_eq!(marks(&[event(&mut stream).1, event(&mut stream).1], "after_revoke"), wanted, "stream");
    assert!(served.get("/ui").text().contains("1 of an ended key, not used"), "page: {}", served.get("/ui").text());
    zbundle(&dir.path(), &["accept", "lunana-bhu"]);
    assert_eq!(marks(&feed(&served), "after_revoke")[1].1, Value::Null, "the authority has accepted it");
}

/// R11.1-g: behind a hole a node writes again what it can still read, and who had read it before knows it by the id it had.
#[test]
fn what_was_written_again_names_the_event_it_was() {
    let node = node();
    let dir = node.path();
    for payload in ["1", "2", "3", "4"] {
        zbundle(&dir, &["push", payload]);
    }
    let copy = dir.with_file_name("copy");
    assert!(Command::new("cp").arg("-r").args([&dir, &copy]).status().unwrap().success());
    std::fs::copy(dir.with_extension("key"), copy.with_extension("key")).unwrap();
    let before = feed(&Served::start(&copy, &[]));
    rot_second(&dir);
    ended(&dir, &["push", "5"]);

    let served = Served::start(&dir, &[]);
    let (was_3, was_4) = (before[2]["id"].clone(), before[3]["id"].clone());
    let wanted = [("1", Value::Null), ("3", was_3.clone()), ("4", was_4), ("5", Value::Null)].map(|(payload, orig)| (payload.to_owned(), orig));
    assert_eq!(marks(&feed(&served), "orig"), wanted);
    let (_, csv) = ended(&dir, &["log", "--format", "csv"]);
    let column = csv.lines().next().unwrap().split(',').position(|name| name == "orig").expect("a column");
    assert_eq!(csv.lines().nth(2).unwrap().split(',').nth(column), was_3.as_str());
    let (_, text) = ended(&dir, &["log"]);
    assert_eq!(text.lines().map(|line| line.contains("again: ")).collect::<Vec<_>>(), [false, true, true, false], "{text}");
}
