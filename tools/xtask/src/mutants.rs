//! Mutants: cargo-mutants changes one thing after another in the rooms that keep events, and the tests nearest to it must notice.

use crate::cargo::{target_dir, tool};
use crate::run::Failure;
use crate::tree::Tree;
use std::process::Command;

const CARGO_MUTANTS_VERSION: &str = "26.0.0";

/// A room, its files, and the tests that are its own.
struct Room {
    name: &'static str,
    files: &'static [&'static str],
    /// What is built for each mutant: the fewer, the more mutants an hour.
    targets: &'static [&'static str],
    tests: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room { name: "bundle-format", files: &["bundle-format/src/**"], targets: &[], tests: &["--package", "bundle-format"] },
    Room { name: "wal", files: &["src/wal/**"], targets: &["--lib"], tests: &["--package", "zbundle", "wal::"] },
    Room { name: "ingest", files: &["src/ingest/**"], targets: &["--lib", "--test=it"], tests: &["--package", "zbundle"] },
    Room {
        name: "exchange",
        files: &["src/carry/exchange.rs", "src/carry/pace.rs"],
        targets: &["--lib"],
        tests: &["--package", "zbundle", "carry::"],
    },
];

/// `cargo xtask mutants [--shard k/n] [ROOM]…`. The tests are as many as every day, but each a little shorter.
pub fn run(tree: &Tree, words: &[String]) -> Result<String, Failure> {
    let mut shard = None;
    let mut rooms: Vec<&Room> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--shard" => shard = Some(words.next().ok_or_else(|| Failure("--shard wants k/n".to_owned()))?),
            name => rooms.push(ROOMS.iter().find(|room| room.name == name).ok_or_else(|| Failure(format!("{name} is not among the rooms")))?),
        }
    }
    if rooms.is_empty() {
        rooms = ROOMS.iter().collect();
    }
    let program = tool(tree, "cargo-mutants", CARGO_MUTANTS_VERSION, &[])?;
    let mut missed = Vec::new();
    for room in rooms {
        let out = target_dir(tree).join("mutants").join(room.name);
        std::fs::create_dir_all(&out).map_err(|error| Failure(format!("{} cannot be made: {error}", out.display())))?;
        let mut mutants = Command::new(&program);
        // A stable compiler's tests take the word to stop at the first failure only so: most mutants are noticed by the first tests that reach them.
        mutants.current_dir(&tree.root).env("PROPTEST_CASES", "64").env("RUSTC_BOOTSTRAP", "1");
        mutants.args(["mutants", "--workspace", "--timeout", "420", "--colors", "never", "--jobs", "2"]);
        mutants.args(["--sharding", "round-robin", "--output"]).arg(&out);
        mutants.args(room.files.iter().flat_map(|files| ["--file", *files]));
        mutants.args(room.targets.iter().map(|target| format!("--cargo-arg={target}")));
        mutants.args(shard.into_iter().flat_map(|shard| ["--shard", shard.as_str()]));
        mutants.arg("--").args(room.tests).args(["--", "-Zunstable-options", "--fail-fast"]);
        // It ends with 2 when a mutant survives; the list tells which.
        // Any other status but 3, for one that never ended, says that nothing was tried.
        let ended = mutants.status().map_err(|error| Failure(format!("cargo-mutants cannot be run: {error}")))?;
        if !matches!(ended.code(), Some(0 | 2 | 3)) {
            return Err(Failure(format!("{}: cargo-mutants ended with {ended}", room.name)));
        }
        let survivors = std::fs::read_to_string(out.join("mutants.out/missed.txt")).map_err(|error| Failure(format!("{}: {error}", room.name)))?;
        missed.extend(survivors.lines().map(str::to_owned));
    }
    for line in &missed {
        println!("no test noticed: {line}");
    }
    Ok(format!("{} mutants survived; the counts stand above, room by room", missed.len()))
}
