//! Miri: the pure parts of bundle-format, interpreted. What goes through C or assembler (zstd) cannot be.

use crate::cargo::target_dir;
use crate::run::{Failure, run as command, works};
use crate::tree::Tree;
use std::process::Command;

/// Tests whose every path is Rust. The curves take minutes each here, so one test of each kind of signature is enough.
const TESTS: &[&str] =
    &["cbor::", "chain::", "event::", "hlc::", "ids::", "manifest::", "message::", "vector::", "envelope::", "error::", "mix::", "logs::"];

/// `cargo xtask miri`.
pub fn run(tree: &Tree, _: &[String]) -> Result<String, Failure> {
    let cargo = || {
        let mut cargo = Command::new("rustup");
        cargo.current_dir(&tree.root).args(["run", "nightly", "cargo"]);
        cargo
    };
    if !works(cargo().args(["miri", "--version"])) {
        command(Command::new("rustup").args([
            "toolchain",
            "install",
            "nightly",
            "--profile",
            "minimal",
            "--component",
            "miri",
            "--component",
            "rust-src",
        ]))?;
    }
    let mut miri = cargo();
    miri.args(["miri", "test", "--locked", "--package", "bundle-format", "--lib", "--target-dir"]).arg(target_dir(tree).join("miri"));
    miri.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4").arg("--").args(TESTS);
    command(&mut miri)?;
    Ok("no undefined behaviour in what was run".to_owned())
}
