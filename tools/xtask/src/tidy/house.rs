//! What holds for every file: its length, nothing unfinished or left over, nothing that is true on one machine only.

use super::Breach;
use super::tokens::Source;
use crate::tree::Text;

/// A longer source has a second noun in it.
const LINE_COUNT_MAX: usize = 600;
/// Marks of unfinished work, spelled so that this file has none.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Where one person's machine keeps things.
const MACHINE_PATHS: &[&str] = &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Rules about text.
pub fn check_text(text: &Text, breaches: &mut Vec<Breach>) {
    let mut say = |line: usize, rule: String| breaches.push(Breach { path: text.path.clone(), line, rule });
    let line_count = text.text.lines().count();
    if (text.is_rust() || text.has_extension("py")) && line_count > LINE_COUNT_MAX {
        say(0, format!("{line_count} lines; above {LINE_COUNT_MAX} look for the second noun and split"));
    }
    for (number, line) in (1..).zip(text.text.lines()) {
        for mark in UNFINISHED {
            if has_word(line, mark) {
                say(number, format!("{mark}: unfinished work is finished, or told to those who plan"));
            }
        }
        for path in MACHINE_PATHS {
            if line.contains(path) {
                say(number, format!("`{path}…` is a path of one machine"));
            }
        }
    }
}

/// Rules about Rust.
pub fn check_source(source: &Source, breaches: &mut Vec<Breach>) {
    let mut say = |line: usize, rule: &str| breaches.push(Breach { path: source.path.clone(), line, rule: rule.to_owned() });
    for mention in &source.mentions {
        if mention.path.iter().any(|word| word == "unsafe") {
            say(mention.line, "unsafe: nothing here needs it");
        }
    }
    for (name, line) in &source.macros {
        match name.as_str() {
            "todo" | "unimplemented" => say(*line, "unfinished: this panics when it is reached"),
            "dbg" => say(*line, "dbg!: left over from a search"),
            _ => {}
        }
    }
    for (name, line) in &source.attributes {
        if name == "ignore" {
            say(*line, "an ignored test proves nothing; make it run or take it away");
        }
    }
}

fn has_word(line: &str, word: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| !is_letter(line[..at].chars().next_back()) && !is_letter(line[at + word.len()..].chars().next()))
}
