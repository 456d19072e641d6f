//! Which functions a program enters at its daily work, as callgrind sees them.

use crate::run::{Failure, run as command};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// What a node does all day, the longest-lived first: `{drop}` is a folder it was given. Each ends by itself or is told to.
const DAYS: &[&[&str]] = &[&["watch", "{drop}"], &["watch", "{drop}", "--once"], &["push", "{file}"], &["exchange", "{drop}"], &["status"], &["log"]];
/// What there must be before.
const BEFORE: &[&[&str]] = &[&["init", "clinic", "--authority"], &["stick", "init", "{drop}", "--folder", "--label", "drop"], &["push", "{file}"]];
/// A watcher is told to end after so long; under callgrind it has begun to wait by then.
const WATCHED_SECONDS: &str = "15";

/// The names of the functions that `program` enters, those of the longest-lived work first. Its symbols must be in it.
pub fn of(program: &Path) -> Result<Vec<String>, Failure> {
    let folder = std::env::temp_dir().join(format!("zbundle-dist-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("drop")).map_err(|error| Failure(format!("{} cannot be made: {error}", folder.display())))?;
    let seen = watched(program, &folder);
    std::fs::remove_dir_all(&folder).map_err(|error| Failure(format!("{} cannot be removed: {error}", folder.display())))?;
    seen
}

fn watched(program: &Path, folder: &Path) -> Result<Vec<String>, Failure> {
    std::fs::write(folder.join("events"), "{\"id\": 1, \"pulse\": 72}\n").map_err(|error| Failure(error.to_string()))?;
    for words in BEFORE {
        command(Command::new(program).args(spelled(words, folder)).current_dir(folder))?;
    }
    let symbols = Symbols::of(program)?;
    let (mut known, mut order) = (BTreeSet::new(), Vec::new());
    for words in DAYS {
        let told = folder.join("callgrind.out");
        let mut traced = Command::new("timeout");
        traced.args(["--signal=TERM", WATCHED_SECONDS, "valgrind", "--quiet", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no"]);
        traced.arg(format!("--callgrind-out-file={}", told.display())).arg(program).args(spelled(words, folder)).current_dir(folder);
        // A watcher that was told to end is ended by the signal, or by itself: what it entered is written either way.
        command(&mut traced).or_else(|failure| if told.is_file() { Ok(()) } else { Err(failure) })?;
        let text = std::fs::read_to_string(&told).map_err(|error| Failure(format!("callgrind wrote nothing: {error}")))?;
        let mut entered: Vec<usize> = text.lines().filter_map(address).filter_map(|at| symbols.holding(at)).collect();
        entered.sort_unstable();
        entered.dedup();
        order.extend(entered.into_iter().filter(|index| known.insert(*index)).map(|index| symbols.0[index].2.clone()));
        std::fs::remove_file(&told).map_err(|error| Failure(error.to_string()))?;
    }
    if order.is_empty() { Err(Failure("callgrind saw no function of the program".to_owned())) } else { Ok(order) }
}

fn spelled(words: &[&str], folder: &Path) -> Vec<String> {
    let word = |word: &&str| word.replace("{drop}", "drop").replace("{file}", "events");
    let mut spelled: Vec<String> = words.iter().map(word).collect();
    spelled.extend(["--data-dir".to_owned(), folder.join("node").to_string_lossy().into_owned()]);
    spelled
}

/// The address of a line of costs: `0x2ab300 0 12`.
fn address(line: &str) -> Option<u64> {
    u64::from_str_radix(line.strip_prefix("0x")?.split(' ').next()?, 16).ok()
}

/// Functions by address: where, how long, what name.
struct Symbols(Vec<(u64, u64, String)>);

impl Symbols {
    fn of(program: &Path) -> Result<Self, Failure> {
        let output = Command::new("nm").args(["--print-size", "--defined-only"]).arg(program).output();
        let output = output.map_err(|error| Failure(format!("nm does not start: {error}")))?;
        let read = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [at, len, kind, name] = words[..] else { return None };
            let is_code = kind.starts_with(['t', 'T', 'w', 'W']);
            Some((u64::from_str_radix(at, 16).ok()?, u64::from_str_radix(len, 16).ok()?, name.to_owned())).filter(|_| is_code)
        };
        let mut symbols: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().filter_map(read).collect();
        symbols.sort();
        if symbols.is_empty() { Err(Failure("the program has no symbols".to_owned())) } else { Ok(Self(symbols)) }
    }

    fn holding(&self, address: u64) -> Option<usize> {
        let index = self.0.partition_point(|(at, ..)| *at <= address).checked_sub(1)?;
        let (at, len, _) = &self.0[index];
        (address < at + len).then_some(index)
    }
}
