//! A version of a record that has rotted in an old part of the log: the others are shown, and its place says so.

use crate::contract;
use crate::world::{Served, ended, event, node, zbundle};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const KEY: &str = "Patient/1";
/// More than half of what one part of the log holds.
const MANY_BYTES: usize = 9 << 20;
/// What a part begins with.
const HEADER_LEN: usize = 64;
/// `len` and `crc` of a frame; its kind is behind them.
const PREFIX_LEN: usize = 8;
/// The second with events is among them.
const FRAMES_LOOKED_AT: usize = 8;
const EVENTS: u8 = 1;

fn push(dir: &Path, payload: &str) {
    zbundle(dir, &["push", payload, "--key", KEY, "--base", "none"]);
}

fn first_part(dir: &Path) -> PathBuf {
    dir.join("log/00000001.seg")
}

/// One byte of the events that were stored second is another one.
pub fn rot_second(dir: &Path) {
    let path = first_part(dir);
    let mut bytes = std::fs::read(&path).unwrap();
    let mut begins = vec![HEADER_LEN];
    while let Some(at) = begins.last().copied().filter(|at| begins.len() < FRAMES_LOOKED_AT && at + PREFIX_LEN < bytes.len()) {
        begins.push(at + PREFIX_LEN + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize);
    }
    let second = begins.into_iter().filter(|at| bytes[at + PREFIX_LEN] == EVENTS).nth(1).unwrap();
    bytes[second + 40] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_version_that_rotted_is_told_as_that_and_the_other_is_shown() {
    let node = node();
    let dir = node.path();
    push(&dir, "{\"phone\":\"1\"}");
    push(&dir, "{\"phone\":\"2\"}");
    let long = dir.with_extension("long");
    std::fs::write(&long, vec![b'x'; MANY_BYTES]).unwrap();
    for _ in 0..2 {
        zbundle(&dir, &["push", "--file", long.to_str().unwrap(), "--content-type", "text/plain"]);
    }
    zbundle(&dir, &["project"]);
    rot_second(&dir);

    let served = Served::start(&dir, &[]);
    let record = served.get("/v1/records/Patient%2F1").json();
    let shown = |head: &Value| (head["rotten"].clone(), head["payload"].clone());
    let mut heads: Vec<_> = record["heads"].as_array().unwrap().iter().map(shown).collect();
    heads.sort_by_key(|(rotten, _)| rotten.is_null());
    assert_eq!(heads, [(json!(true), Value::Null), (Value::Null, json!("{\"phone\":\"1\"}"))], "{record}");
    for (path, _) in
        contract::document()["paths"].as_object().unwrap().iter().filter(|(path, told)| told.get("get").is_some() && *path != "/v1/stream")
    {
        let answer = served.get(&path.replace("{key}", "Patient%2F1")); // held against the document
        assert!(answer.status < 300, "{path}: {}", answer.text());
    }
    let (_, first) = event(&mut served.stream("/v1/stream", None));
    assert_eq!(first["payload"], "{\"phone\":\"1\"}");
    let page = served.get("/ui/record?key=Patient%2F1");
    assert!(page.text().contains("cannot be read here: it has rotted"), "{}", page.text());
    assert_eq!(page.text().matches("This is right").count(), 1, "nobody is offered what nobody can see");
    let (exit, told) = ended(&dir, &["conflicts", "show", KEY]);
    assert!(exit == 19 && told.contains("1 version cannot be read here"), "{exit}: {told}");
}
