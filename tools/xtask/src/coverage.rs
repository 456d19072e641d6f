//! Coverage: lines that tests reach, room by room.

use crate::cargo::{cargo, target_dir, tool};
use crate::run::{Failure, run as command, works};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::process::Command;

const CARGO_LLVM_COV_VERSION: &str = "0.9.1";
/// Of these rooms every hundred lines at least this many.
const PERCENT_MIN: u64 = 90;
/// The rooms that keep events.
const ROOMS: &[&str] = &["bundle-format/src/", "src/wal/", "src/ingest/", "src/carry/exchange", "src/carry/pace"];

/// `cargo xtask coverage`: the tests of the rooms and those with whole nodes. Not those of the command line: they compare what the program says, and a
/// program that has given up its rights to the folder says that it cannot write there what it covered.
pub fn run(tree: &Tree, _: &[String]) -> Result<String, Failure> {
    if !works(Command::new("rustup").args(["component", "add", "llvm-tools"])) {
        println!("rustup has no llvm-tools here: cargo-llvm-cov looks for llvm-cov by itself");
    }
    tool(tree, "cargo-llvm-cov", CARGO_LLVM_COV_VERSION, &[])?;
    let report = target_dir(tree).join("coverage.lcov");
    let paths = std::env::join_paths(
        [target_dir(tree).join("tools/bin")].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let mut cover = cargo(tree);
    cover.env("PATH", paths.unwrap_or_default());
    cover.args(["llvm-cov", "--locked", "--package", "bundle-format", "--package", "zbundle", "--lib", "--test", "it", "--lcov", "--output-path"]);
    command(cover.arg(&report))?;
    let text = std::fs::read_to_string(&report).map_err(|error| Failure(format!("{} cannot be read: {error}", report.display())))?;
    told(&text, &tree.root.display().to_string())
}

/// Say each room's lines; fail when one of [`ROOMS`] has too few.
fn told(lcov: &str, root: &str) -> Result<String, Failure> {
    let mut lines: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut room = String::new();
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            room = room_of(path.strip_prefix(root).unwrap_or(path).trim_start_matches('/'));
        } else if let Some((_, hits)) = line.strip_prefix("DA:").and_then(|entry| entry.split_once(',')) {
            let (reached, all) = lines.entry(room.clone()).or_default();
            *reached += u64::from(hits != "0");
            *all += 1;
        }
    }
    let mut low: Vec<String> = ROOMS.iter().filter(|room| !lines.contains_key(**room)).map(|room| (*room).to_owned()).collect();
    for (room, (reached, all)) in &lines {
        println!("{room:<24} {reached:>6} of {all:>6} lines, {}.{} %", 100 * reached / all, 1000 * reached / all % 10);
        if ROOMS.contains(&room.as_str()) && 100 * reached < PERCENT_MIN * all {
            low.push(room.clone());
        }
    }
    if low.is_empty() { Ok(format!("every room that keeps events above {PERCENT_MIN} %")) } else { Err(Failure(format!("too few lines of {low:?}"))) }
}

fn room_of(path: &str) -> String {
    let known = ROOMS.iter().find(|room| path.starts_with(**room));
    known.map_or_else(|| path.split('/').take(2).collect::<Vec<_>>().join("/"), |room| (*room).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_with_too_few_lines_fails() {
        let report = |hits: [u64; 10]| {
            let lines: Vec<String> = hits.iter().enumerate().map(|(number, hits)| format!("DA:{number},{hits}\n")).collect();
            let lines = lines.concat();
            let others = ["bundle-format/src/event.rs", "src/ingest/apply.rs", "src/carry/exchange.rs", "src/carry/pace.rs"];
            let others = others.map(|file| format!("SF:/r/{file}\nDA:1,1\nend_of_record\n")).concat();
            format!("{others}SF:/r/src/wal/frame.rs\n{lines}end_of_record\nSF:/r/src/cli/mod.rs\nDA:1,0\nend_of_record\n")
        };
        assert!(told(&report([1, 2, 1, 1, 1, 1, 1, 1, 1, 0]), "/r").is_ok());
        assert!(told(&report([1, 2, 1, 1, 1, 1, 1, 1, 0, 0]), "/r").is_err());
        assert!(told(&report([1; 10]).replace("/src/ingest/", "/src/taken/"), "/r").is_err(), "one that is not in the report");
    }
}
