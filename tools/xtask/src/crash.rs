//! Crash points: the real binary, killed at its system calls and failed at its writes (`tools/crash`).

use crate::cargo::{cargo, target_dir};
use crate::run::{Failure, need_packages, run as command, works};
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
    let mut named: Vec<&str> = scenes.iter().filter(|word| *word != "--blocks").flat_map(|scene| ["--only", scene]).collect();
    named.extend(blocks.then_some("--blocks"));
    points(tree, &named)
}

fn points(tree: &Tree, more: &[&str]) -> Result<String, Failure> {
    if !works(Command::new("strace").arg("--version")) {
        need_packages(&["strace"], "system calls are counted and failed by strace")?;
    }
    command(cargo(tree).args(["build", "--locked", "--package", "zbundle", "--package", "crash", "--bins"]))?;
    let programs = target_dir(tree).join("debug");
    command(Command::new(programs.join("crash")).arg("--zbundle").arg(programs.join("zbundle")).args(more))?;
    Ok("every state kept its promises".to_owned())
}
