//! Crash points: the real binary, killed at its system calls and failed at its writes (`tools/crash`).

use crate::cargo::{cargo, target_dir};
use crate::run::{Failure, need_packages, run as command, works};
use crate::tree::Tree;
use std::process::Command;

/// A few states of each scene, first and last among them: under two minutes.
pub fn some(tree: &Tree) -> Result<String, Failure> {
    points(tree, &["--states", "5"])
}

/// Every state there is, of every scene or of those that are named.
pub fn every(tree: &Tree, scenes: &[String]) -> Result<String, Failure> {
    let named: Vec<&str> = scenes.iter().flat_map(|scene| ["--only", scene]).collect();
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
