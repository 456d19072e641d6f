//! The program as it is handed out: one file that needs nothing of the machine it runs on, as small as it gets, and laid out so that what works every day
//! lies together.
//!
//! A page of a program that is read brings fifteen neighbours with it, into memory and from a slow card. So the program is linked twice: the first one is
//! watched at its daily work, and in the second the functions that were seen stand side by side.

mod order;

use crate::cargo::{cargo, target_dir};
use crate::run::{Failure, need_packages, run as command, works};
use crate::tree::Tree;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the budget of docs/performance.md allows.
const BUDGET_LEN: u64 = 8_000_000;
/// Linked static; the table of relocations packed (a twentieth of its length, and all of it is read at each start).
const FLAGS: &str = "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs";
/// Equal functions once, where nothing can tell them apart: for the linker that comes with Rust on x86-64, others do not know it.
const FLAGS_LLD: &str = "-C link-arg=-Wl,--icf=safe";

/// `cargo xtask dist [TARGET]`.
pub fn run(tree: &Tree, options: &[String]) -> Result<String, Failure> {
    let host = host()?;
    let target = options.first().map_or(host.as_str(), String::as_str);
    // What cannot run here cannot be watched, and only the linker that comes with Rust lays functions out by a list.
    let program = if target == host && has_lld(target) {
        for (program, package) in [("valgrind", "valgrind"), ("nm", "binutils")] {
            if !works(Command::new(program).arg("--version")) {
                need_packages(&[package], &format!("{program} is not there"))?;
            }
        }
        let unordered = build(tree, target, &["-C", "strip=none"])?;
        let list = target_dir(tree).join("dist/order.txt");
        let seen = order::of(&unordered)?;
        std::fs::write(&list, seen.join("\n")).map_err(|error| Failure(format!("{} cannot be written: {error}", list.display())))?;
        println!("{} functions are seen at daily work", seen.len());
        let ordered = format!("link-arg=-Wl,--symbol-ordering-file={},--no-warn-symbol-ordering", list.display());
        build(tree, target, &["-C", &ordered])?
    } else {
        build(tree, target, &[])?
    };
    let len = std::fs::metadata(&program).map_err(|error| Failure(format!("the program that was built is not there: {error}")))?.len();
    let kept = if len <= BUDGET_LEN { "kept" } else { "not kept" };
    Ok(format!("{} has {len} bytes; the budget of {BUDGET_LEN} is {kept}", program.strip_prefix(&tree.root).unwrap_or(&program).display()))
}

fn has_lld(target: &str) -> bool {
    target == "x86_64-unknown-linux-gnu"
}

/// Build it, with options for its last link. The target is named also when it is this machine: what runs while building is then not linked by these rules.
fn build(tree: &Tree, target: &str, link: &[&str]) -> Result<PathBuf, Failure> {
    let folder = target_dir(tree).join("dist");
    let flags = if has_lld(target) { format!("{FLAGS} {FLAGS_LLD}") } else { FLAGS.to_owned() };
    let mut build = cargo(tree);
    build.args(["rustc", "--locked", "--release", "--package", "zbundle", "--bin", "zbundle", "--target", target, "--target-dir"]).arg(&folder);
    command(build.arg("--").args(link).env("RUSTFLAGS", flags))?;
    Ok(Path::new(&folder).join(target).join("release/zbundle"))
}

/// The target this machine builds for by itself.
fn host() -> Result<String, Failure> {
    let output = Command::new("rustc").arg("-vV").output().map_err(|error| Failure(format!("rustc does not start: {error}")))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or(Failure("rustc -vV names no host".to_owned()))
}
