//! What is told of an event beside what its writer wrote: that it does not count.

use crate::world::{self, Served, ended, event, zbundle};
use serde_json::{Value, json};

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
    assert_eq!(text.lines().map(|line| line.contains("AFTER-REVOKE")).collect::<Vec<_>>(), [false, true], "log to read: {text}");

    let served = Served::start(&dir.path(), &[]);
    assert_eq!(marks(&feed(&served), "after_revoke"), wanted, "feed");
    let mut stream = served.stream("/v1/stream", None);
    assert_eq!(marks(&[event(&mut stream).1, event(&mut stream).1], "after_revoke"), wanted, "stream");
    assert!(served.get("/ui").text().contains("1 after revoke"), "page: {}", served.get("/ui").text());
    zbundle(&dir.path(), &["accept", "lunana-bhu"]);
    assert_eq!(marks(&feed(&served), "after_revoke")[1].1, Value::Null, "the authority has accepted it");
}
