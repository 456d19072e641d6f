//! The real binary, as people and scripts meet it. Each file of `transcripts/` is run line by line in an empty folder.
//!
//! `$ command` is given to `sh`; the lines below it are what must appear, stdout and stderr together; `? 3` is the exit status when it is not 0.
//! `[..]` stands for anything within a line, a last line `...` for all lines that follow. Other lines are for the reader.
#![allow(clippy::disallowed_methods, reason = "tests use the disk they are given")]

mod owners;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

#[test]
fn the_program_does_what_its_transcripts_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/transcripts");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let only = std::env::var("TRANSCRIPT").unwrap_or_default();
    let failures: String = paths.iter().filter(|path| path.to_string_lossy().contains(&only)).map(|path| play(path)).collect();
    assert!(failures.is_empty(), "{failures}");
}

struct Step<'a> {
    line: usize,
    command: &'a str,
    shown: Vec<&'a str>,
    status: i32,
}

/// Play one transcript; what differs.
fn play(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut failures = String::new();
    for step in steps(&text) {
        let (shown, status) = run(step.command, home.path());
        let lines: Vec<_> = shown.lines().collect();
        let (patterns, more) = step.shown.strip_suffix(&["..."]).map_or((&step.shown[..], false), |patterns| (patterns, true));
        let enough = lines.len() == patterns.len() || (more && lines.len() >= patterns.len());
        let same = enough && lines.iter().zip(patterns).all(|(line, pattern)| fits(line, pattern));
        if !same || status != step.status {
            let place = format!("{}:{}", path.file_name().unwrap().to_string_lossy(), step.line);
            writeln!(
                failures,
                "\n{place}: $ {}\nexpected, exit {}:\n{}\nfound, exit {status}:\n{shown}",
                step.command,
                step.status,
                step.shown.join("\n")
            )
            .unwrap();
        }
    }
    failures
}

/// A step ends at an empty line, the next command or the end.
fn steps(text: &str) -> Vec<Step<'_>> {
    let (mut steps, mut inside) = (Vec::<Step<'_>>::new(), false);
    for (index, line) in text.lines().enumerate() {
        let line = line.strip_prefix("    ").unwrap_or("");
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: index + 1, command, shown: Vec::new(), status: 0 });
            inside = true;
        } else if line.is_empty() {
            inside = false;
        } else if let (true, Some(step)) = (inside, steps.last_mut()) {
            match line.strip_prefix("? ") {
                Some(status) => step.status = status.parse().unwrap(),
                None => step.shown.push(line),
            }
        }
    }
    steps
}

fn run(command: &str, home: &Path) -> (String, i32) {
    let binary = Path::new(env!("CARGO_BIN_EXE_zbundle"));
    let search = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("exec 2>&1 </dev/null; {command}")])
        .current_dir(home)
        .env_clear()
        .env("PATH", search)
        .env("HOME", home)
        .env("TMPDIR", home)
        .output()
        .unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code().unwrap_or(-1))
}

/// `[..]` in `pattern` stands for anything.
fn fits(line: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split("[..]");
    let Some(mut rest) = pieces.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut open = false;
    for piece in pieces {
        open = true;
        let Some(at) = rest.find(piece) else { return false };
        if piece.is_empty() {
            continue;
        }
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty() || (open && pattern.ends_with("[..]"))
}

#[test]
fn a_pattern_stands_for_anything_only_where_it_says_so() {
    for (line, pattern, fit) in [
        ("abc", "abc", true),
        ("abcd", "abc", false),
        ("abc", "a[..]c", true),
        ("abcd", "a[..]c", false),
        ("abc", "a[..]", true),
        ("abc", "[..]c", true),
        ("abc", "b[..]", false),
        ("a1b2c", "a[..]b[..]c", true),
    ] {
        assert_eq!(fits(line, pattern), fit, "{line} {pattern}");
    }
}
