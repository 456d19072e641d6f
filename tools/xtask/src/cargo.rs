//! The steps that cargo does: fmt, clippy, tests, docs, deny.

use crate::run::{Failure, need_packages, run, run_seeing, works};
use crate::tree::Tree;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The cargo-deny that is built when none is there.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Cargo in the tree's folder.
pub fn cargo(tree: &Tree) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(&tree.root);
    command
}

/// Where cargo puts what it builds.
pub fn target_dir(tree: &Tree) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| tree.root.join("target"), |dir| tree.root.join(dir))
}

/// `cargo fmt --all --check`.
pub fn fmt(tree: &Tree) -> Result<String, Failure> {
    need_component(tree, "fmt", "rustfmt")?;
    run(cargo(tree).args(["fmt", "--all", "--check"]))?;
    Ok(String::new())
}

/// `cargo clippy`, every warning an error.
pub fn clippy(tree: &Tree) -> Result<String, Failure> {
    need_component(tree, "clippy", "clippy")?;
    run(cargo(tree).args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    Ok(String::new())
}

/// `cargo test` over everything; the closing lines of all test binaries are added up.
pub fn tests(tree: &Tree) -> Result<String, Failure> {
    if std::env::var_os("CI").is_some() {
        need_link()?;
        need_sticks()?;
        need_folders()?;
        need_browser()?;
        need_clients()?;
    }
    let mut sum = Sum::default();
    let ended = run_seeing(cargo(tree).args(["test", "--locked", "--workspace", "--no-fail-fast"]), |line| sum.add(line));
    println!("{sum}");
    match ended {
        Err(Failure(_)) if sum.failed > 0 => Err(Failure(sum.to_string())),
        Err(failure) => Err(failure),
        Ok(()) if sum.ignored > 0 => Err(Failure(format!("{sum}; a test that does not run is no test"))),
        Ok(()) => Ok(sum.to_string()),
    }
}

/// Everything, unoptimised. What the tests have built is not built again: to name one package would be to build it and much under it with other features.
pub fn build_all(tree: &Tree) -> Result<(), Failure> {
    run(cargo(tree).args(["build", "--locked", "--workspace", "--all-targets"]))
}

/// The simulator: the same lives every time, so that a change is judged alone.
pub fn sim(tree: &Tree) -> Result<String, Failure> {
    let mut last = String::new();
    let lives = ["run", "--locked", "--profile", "sim", "--package", "sim", "--", "--seeds", "10000", "--covered"];
    run_seeing(cargo(tree).args(lives), |line| line.clone_into(&mut last))?;
    Ok(last)
}

/// The searching tests of the log, far: `ZBUNDLE_SEEDS` times as far as every day, 200 where it is not set.
pub fn campaign(tree: &Tree) -> Result<String, Failure> {
    let times = std::env::var("ZBUNDLE_SEEDS").unwrap_or_else(|_| "200".to_owned());
    run(cargo(tree).args(["test", "--locked", "--profile", "quick", "--lib", "wal::"]).env("ZBUNDLE_SEEDS", times))?;
    run(cargo(tree).args(["test", "--locked", "--test", "link"]).env("ZBUNDLE_FAR", "1"))?;
    run(cargo(tree).args(["run", "--locked", "--profile", "sim", "--package", "sim", "--", "--from", "1000000", "--seeds", "1000000"]))?;
    run(cargo(tree).args(["test", "--locked", "--test", "stick"]).env("ZBUNDLE_FAR", "1"))?;
    Ok(String::new())
}

/// What the tests of the link need of the machine: programs, and the device behind an emulated line. Without them they fail where CI is set.
fn need_link() -> Result<(), Failure> {
    for (program, package) in [("ip", "iproute2"), ("mount", "mount")] {
        if !works(Command::new(program).arg("-V")) {
            need_packages(&[package], "the tests of the link make a line and a small disk")?;
        }
    }
    let folder = Path::new("/dev/net");
    if !folder.join("tun").exists() {
        println!("/dev/net/tun is not here: making it");
        // Where it cannot be made, the test that needs it says so.
        let _ = works(Command::new("mkdir").arg("-p").arg(folder)) && works(Command::new("mknod").arg(folder.join("tun")).args(["c", "10", "200"]));
    }
    Ok(())
}

/// What the tests of sticks need of the machine: the file systems that sticks have, in user space, for few kernels of such machines have them all.
fn need_sticks() -> Result<(), Failure> {
    let there = |program: &str| ["/sbin", "/usr/sbin", "/bin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
    let wanted = [
        ("mkfs.ext4", "e2fsprogs"),
        ("mkfs.exfat", "exfatprogs"),
        ("mount.exfat-fuse", "exfat-fuse"),
        ("mkfs.vfat", "dosfstools"),
        ("fusefat", "fusefat"),
        ("losetup", "mount"),
    ];
    let lacking: Vec<&str> = wanted.into_iter().filter(|(program, _)| !there(program)).map(|(_, package)| package).collect();
    if !lacking.is_empty() {
        need_packages(&lacking, "the tests of sticks make file systems and mount them")?;
    }
    if !Path::new("/dev/fuse").exists() {
        println!("/dev/fuse is not here: making it");
        // Where it cannot be made, the test that needs it says so.
        let _ = works(Command::new("mknod").arg("/dev/fuse").args(["c", "10", "229"]));
    }
    Ok(())
}

/// What the tests of watched folders run: copiers and sync programs, by the options that only tell a version.
fn need_folders() -> Result<(), Failure> {
    for (program, word, package) in [
        ("rsync", "--version", "rsync"),
        ("rclone", "version", "rclone"),
        ("syncthing", "--version", "syncthing"),
        ("gio", "version", "libglib2.0-bin"),
        ("fusermount", "--version", "fuse"),
        ("systemd-analyze", "--version", "systemd"),
    ] {
        if !works(Command::new(program).arg(word)) {
            need_packages(&[package], "the tests of watched folders run real copiers and sync programs")?;
        }
    }
    Ok(())
}

/// What the tests of the hub's page look at it with.
fn need_browser() -> Result<(), Failure> {
    if works(Command::new("chromium").arg("--version")) {
        return Ok(());
    }
    need_packages(&["chromium", "fonts-dejavu-core"], "the tests of the page show it in a browser")
}

/// What the clients for applications are run with: Python is here already, for the vectors.
fn need_clients() -> Result<(), Failure> {
    if works(Command::new("node").arg("--version")) && works(Command::new("tsc").arg("--version")) {
        return Ok(());
    }
    need_packages(&["nodejs", "node-typescript"], "the tests of the HTTP clients compile and run the TypeScript one")
}

/// `cargo doc` of our own crates, every warning an error.
pub fn docs(tree: &Tree) -> Result<String, Failure> {
    run(cargo(tree).args(["doc", "--locked", "--no-deps", "--workspace"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(String::new())
}

/// `cargo deny check`, built under `target/tools` when the machine has none.
pub fn deny(tree: &Tree) -> Result<String, Failure> {
    // Unoptimised: it runs for a second or two, and builds in half the time.
    let program = tool(tree, "cargo-deny", CARGO_DENY_VERSION, &["--debug"])?;
    run(Command::new(program).current_dir(&tree.root).args(["check", "bans", "licenses", "sources"]))?;
    Ok(String::new())
}

/// A program of cargo's: the machine's own, or one that is built under `target/tools`.
pub fn tool(tree: &Tree, name: &str, version: &str, options: &[&str]) -> Result<PathBuf, Failure> {
    let tools = target_dir(tree).join("tools");
    let own = tools.join("bin").join(name);
    for program in [PathBuf::from(name), own.clone()] {
        if works(Command::new(&program).arg("--version")) || works(Command::new(&program).args([name.trim_start_matches("cargo-"), "--version"])) {
            return Ok(program);
        }
    }
    println!("{name} is not here: building it under {}", tools.display());
    run(cargo(tree).args(["install", name, "--version", version, "--locked", "--root"]).arg(&tools).args(options))?;
    Ok(own)
}

fn need_component(tree: &Tree, subcommand: &str, component: &str) -> Result<(), Failure> {
    if works(cargo(tree).args([subcommand, "--version"])) {
        return Ok(());
    }
    if !works(Command::new("rustup").arg("--version")) {
        return Err(Failure(format!("`cargo {subcommand}` is not here: install {component} for this toolchain")));
    }
    run(Command::new("rustup").current_dir(&tree.root).args(["component", "add", component]))
}

/// What the closing lines of the test binaries say together.
#[derive(Default)]
struct Sum {
    binaries: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sum {
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        self.binaries += 1;
        for part in counts.split(['.', ';']) {
            match part.trim().split_once(' ') {
                Some((count, "passed")) => self.passed += count.parse().unwrap_or(0),
                Some((count, "failed")) => self.failed += count.parse().unwrap_or(0),
                Some((count, "ignored")) => self.ignored += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tests passed, {} failed, {} ignored, in {} binaries", self.passed, self.failed, self.ignored, self.binaries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut sum = Sum::default();
        sum.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.02s");
        sum.add("test cut::plan::tests::x ... ok");
        sum.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s");
        assert_eq!(sum.to_string(), "15 tests passed, 2 failed, 1 ignored, in 2 binaries");
    }
}
