//! Crash points: the real binary, killed at its system calls and failed at its writes (`tools/crash`).

use crate::cargo::{build_all, cargo, target_dir};
use crate::run::{Failure, need_packages, run as command, run_seeing, works};
use crate::tree::Tree;
use std::process::Command;

/// The first and the last state of each scene and kind: two to three minutes.
pub fn some(tree: &Tree) -> Result<String, Failure> {
    points(tree, &["--states", "2"])
}

/// Every state there is, of every scene or of those that are named.
pub fn every(tree: &Tree, scenes: &[String]) -> Result<String, Failure> {
    let blocks = scenes.iter().any(|word| word == "--blocks");
    if blocks && !works(Command::new("qemu-storage-daemon").arg("--version")) {
        need_packages(&["qemu-utils"], "writes to a disk are noted down by qemu-storage-daemon")?;
    }
    let words: Vec<&str> = scenes.iter().flat_map(|word| if word.starts_with("--") { vec![word.as_str()] } else { vec!["--only", word] }).collect();
    points(tree, &words)
}

/// Every bit of a log of 64 KiB flipped: told where it is, or harmless; the rest readable, nothing invented.
pub fn rot(tree: &Tree, _: &[String]) -> Result<String, Failure> {
    let claim = "wal::tests::damage::every_flipped_bit_of_64_kib";
    let test = ["test", "--locked", "--profile", "quick", "--package", "zbundle", "--lib", claim, "--", "--nocapture"];
    let mut has_run = false;
    run_seeing(cargo(tree).args(test).env("ZBUNDLE_SEEDS", "20000"), |line| has_run |= line.starts_with("test result: ok. 1 passed"))?;
    if !has_run {
        return Err(Failure(format!("there is no test {claim}")));
    }
    Ok("nothing was lost in silence, and nothing invented".to_owned())
}

fn points(tree: &Tree, more: &[&str]) -> Result<String, Failure> {
    if !works(Command::new("strace").arg("--version")) {
        need_packages(&["strace"], "system calls are counted and failed by strace")?;
    }
    build_all(tree)?;
    let programs = target_dir(tree).join("debug");
    command(Command::new(programs.join("crash")).arg("--zbundle").arg(programs.join("zbundle")).args(more))?;
    Ok("every state kept its promises".to_owned())
}
