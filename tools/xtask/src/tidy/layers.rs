//! Who may name whom.

use super::Breach;
use super::tokens::{Mention, Source};

/// The product's rooms, left to right. A room names only rooms to its left, never one on its own floor.
const FLOORS: &[&[&str]] = &[&["ports"], &["keys"], &["wal", "push", "cut", "carry", "ingest", "project"], &["link"], &["node"], &["hub"], &["cli"]];
/// The room that talks to the machine: beside the floors, named by `cli` alone.
const ADAPTERS: &str = "adapters";
/// Of std, what bundle-format does without.
const WORLDLY: &[&str] = &["fs", "net", "time", "thread", "process", "env"];

/// Check all files.
pub fn check(sources: &[Source], breaches: &mut Vec<Breach>) {
    let mut adapters_named: Option<(&str, usize)> = None;
    for source in sources {
        let mut say = |line: usize, rule: String| breaches.push(Breach { path: source.path.clone(), line, rule });
        if let Some(inside) = source.path.strip_prefix("src/") {
            match room_of(inside) {
                Place::Root => check_root(source, &mut say),
                Place::Program => check_program(source, &mut say),
                Place::Unknown(name) => say(0, format!("`{name}` is no room of the house; rooms and floors stand in tools/xtask/src/tidy/layers.rs")),
                Place::Room(room) => {
                    for mention in &source.mentions {
                        let Some(named) = named_room(mention) else { continue };
                        if named == ADAPTERS && is_test(mention) {
                            continue; // a test may run on the machine's own disk; what ships may not know it
                        }
                        if let Some(rule) = refusal(room, named) {
                            say(mention.line, rule);
                        }
                        if named == ADAPTERS && room == "cli" {
                            let here = (source.path.as_str(), mention.line);
                            if *adapters_named.get_or_insert(here) != here {
                                say(
                                    mention.line,
                                    "`cli` names `adapters` in one line, in one file; the others take what they need from there (`super::`)"
                                        .to_owned(),
                                );
                            }
                        }
                    }
                    if room == "carry" {
                        check_carry(source, &mut say);
                    }
                }
            }
        } else if source.path.starts_with("bundle-format/src/") {
            check_format(source, &mut say);
        }
    }
}

enum Place<'a> {
    Root,
    Program,
    Room(&'a str),
    Unknown(&'a str),
}

fn room_of(inside: &str) -> Place<'_> {
    let name = inside.split_once('/').map_or_else(|| inside.trim_end_matches(".rs"), |(folder, _)| folder);
    match name {
        "lib" => Place::Root,
        "main" => Place::Program,
        room if room == ADAPTERS || floor(room).is_some() => Place::Room(room),
        unknown => Place::Unknown(unknown),
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

/// Whether it stands in a module of tests.
fn is_test(mention: &Mention) -> bool {
    mention.module.iter().any(|module| module == "tests")
}

/// The room a path leads into, if it leads into one from outside.
fn named_room(mention: &Mention) -> Option<&str> {
    let room = *mention.rooted()?.first()?;
    (room == ADAPTERS || floor(room).is_some()).then_some(room)
}

fn refusal(room: &str, named: &str) -> Option<String> {
    if room == named || (room == "cli" && named == ADAPTERS) {
        return None;
    }
    if named == ADAPTERS {
        return Some(format!("`{room}` names `adapters`; only `cli` does, the others reach the world through `ports`"));
    }
    if matches!(room, ADAPTERS | "carry") {
        return (named != "ports").then(|| format!("`{room}` names `{named}`; of our rooms it knows only ports"));
    }
    match floor(named).cmp(&floor(room)) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(format!("`{room}` names `{named}`, a room on its own floor; let `node` introduce them")),
        std::cmp::Ordering::Greater => Some(format!("`{room}` names `{named}`, a room to its right")),
    }
}

fn check_carry(source: &Source, say: &mut impl FnMut(usize, String)) {
    for mention in &source.mentions {
        if mention.path.first().is_some_and(|first| first == "bundle_format") && mention.path.get(1).is_some_and(|second| second == "open") {
            say(mention.line, "`carry` moves bytes it cannot read: it never opens a bundle (bundle_format::open)".to_owned());
        }
    }
}

fn check_root(source: &Source, say: &mut impl FnMut(usize, String)) {
    for (word, line) in &source.items {
        if word != "mod" {
            say(*line, format!("src/lib.rs is only its `mod` lines; `{word}` belongs in a room"));
        }
    }
}

fn check_program(source: &Source, say: &mut impl FnMut(usize, String)) {
    for mention in &source.mentions {
        if mention.path.first().is_some_and(|first| first == "zbundle") && mention.path.get(1).is_none_or(|room| room != "cli") {
            say(mention.line, "src/main.rs names only `cli`".to_owned());
        }
    }
}

fn check_format(source: &Source, say: &mut impl FnMut(usize, String)) {
    for mention in &source.mentions {
        let from_std = mention.path.first().is_some_and(|first| matches!(first.as_str(), "std" | "core"));
        if let (true, Some(part)) = (from_std, mention.path.get(1).filter(|part| WORLDLY.contains(&part.as_str()))) {
            say(mention.line, format!("bundle-format is pure: no files, sockets, clocks or threads, so no `std::{part}`"));
        }
    }
}
