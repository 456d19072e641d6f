//! Fuzzing: the targets of `tools/fuzz` under libFuzzer, and the independent reader over what they found.
//!
//! In: the committed corpus. Out: for each target how much was tried; what breaks a claim lies in `target/fuzz/artifacts` and fails the command. New
//! inputs collect under `target/fuzz/corpus`; `--minimise` brings the few that reach something new into the tree. Memory and time are oracles too.

use crate::cargo::{cargo, target_dir, tool};
use crate::run::{Failure, run as command, run_seeing, seconds};
use crate::tree::Tree;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// The crate that cargo-fuzz builds.
const DRIVER: &str = "tools/fuzz/driver";
const CORPUS: &str = "tools/fuzz/corpus";
/// One input may take this long, under a sanitiser and beside other work.
const TIMEOUT_S: u32 = 20;
/// The whole process, and one allocation. The sanitiser's own shadow is in the first.
const RSS_MB: u32 = 1024;
const MALLOC_MB: u32 = 64;
/// A corpus of this many bytes is small enough for the tree.
const CORPUS_FILE_COUNT_MAX: usize = 60;
const CORPUS_FILE_LEN_MAX: u64 = 4096;

struct Options {
    each: Duration,
    minimise: bool,
    targets: Vec<String>,
}

impl Options {
    fn read(tree: &Tree, words: &[String]) -> Result<Self, Failure> {
        let all = targets(tree)?;
        let mut options = Self { each: Duration::from_mins(1), minimise: false, targets: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--short" => options.each = Duration::from_mins(1),
                "--minutes" => {
                    let minutes: Option<u64> = words.next().and_then(|minutes| minutes.parse().ok());
                    options.each = Duration::from_mins(minutes.ok_or_else(|| Failure("--minutes wants a number".to_owned()))?);
                }
                "--minimise" => options.minimise = true,
                name if all.iter().any(|target| target == name) => options.targets.push(name.to_owned()),
                other => return Err(Failure(format!("{other} is no target; there are {}", all.join(", ")))),
            }
        }
        if options.targets.is_empty() {
            options.targets = all;
        }
        Ok(options)
    }
}

/// The programs of the driver.
fn targets(tree: &Tree) -> Result<Vec<String>, Failure> {
    let manifest = tree.text(&format!("{DRIVER}/Cargo.toml")).ok_or_else(|| Failure(format!("{DRIVER}/Cargo.toml is not there")))?;
    let behind = manifest.split("[[bin]]").skip(1);
    Ok(behind.filter_map(|bin| Some(bin.split_once("name = \"")?.1.split_once('"')?.0.to_owned())).collect())
}

/// `cargo xtask fuzz`.
pub fn run(tree: &Tree, words: &[String]) -> Result<String, Failure> {
    let options = Options::read(tree, words)?;
    let program = tool(tree, "cargo-fuzz", CARGO_FUZZ_VERSION, &[])?;
    let mut said = Vec::new();
    for target in &options.targets {
        said.push(one(tree, &program, target, &options)?);
    }
    println!("\n{:<10} {:>12} {:>7} {:>9} {:>8}", "target", "executions", "edges", "inputs", "took");
    for line in &said {
        println!("{line}");
    }
    Ok(format!("{} targets, nothing broke", said.len()))
}

/// cargo-fuzz, with the flags that it takes from a nightly compiler and a stable one takes with this variable.
fn fuzz(tree: &Tree, program: &Path, verb: &str) -> Command {
    let mut fuzz = Command::new(program);
    fuzz.current_dir(&tree.root)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["fuzz", verb, "--fuzz-dir", DRIVER, "--target-dir"])
        .arg(target_dir(tree).join("fuzz"));
    fuzz
}

fn one(tree: &Tree, program: &Path, target: &str, options: &Options) -> Result<String, Failure> {
    let found = target_dir(tree).join("fuzz/corpus").join(target);
    let broken = target_dir(tree).join("fuzz/artifacts").join(target);
    let kept = tree.root.join(CORPUS).join(target);
    let seeds = target_dir(tree).join("fuzz/seeds").join(target);
    for folder in [&found, &broken, &kept, &seeds] {
        std::fs::create_dir_all(folder).map_err(|error| Failure(format!("{} cannot be made: {error}", folder.display())))?;
    }
    command(cargo(tree).args(["run", "--quiet", "--locked", "--package", "fuzz", "--example", "lay_out", "--", "seeds", target]).arg(&seeds))?;
    let mut fuzz_it = fuzz(tree, program, "run");
    fuzz_it.arg(target).args([&found, &kept, &seeds]).arg("--");
    fuzz_it.arg(format!("-max_total_time={}", options.each.as_secs())).arg(format!("-timeout={TIMEOUT_S}"));
    fuzz_it.arg(format!("-rss_limit_mb={RSS_MB}")).arg(format!("-malloc_limit_mb={MALLOC_MB}")).arg("-print_final_stats=1");
    fuzz_it.arg(format!("-artifact_prefix={}/", broken.display())).arg("-max_len=73728").args(["-verbosity=1", "-use_value_profile=0"]);
    let begun = Instant::now();
    let stats = stats_of(&mut fuzz_it, target, &broken)?;
    if options.minimise {
        minimise(&found, &kept)?;
    }
    let inputs = std::fs::read_dir(&found).map_or(0, Iterator::count);
    Ok(format!("{target:<10} {:>12} {:>7} {inputs:>9} {:>8}", stats.executions, stats.edges, seconds(begun.elapsed())))
}

#[derive(Default)]
struct Stats {
    executions: u64,
    edges: u64,
}

/// libFuzzer speaks on stderr; a shell joins the two.
fn stats_of(fuzz_it: &mut Command, target: &str, broken: &Path) -> Result<Stats, Failure> {
    let mut joined = Command::new("sh");
    joined.args(["-c", r#"exec "$0" "$@" 2>&1"#]).arg(fuzz_it.get_program()).args(fuzz_it.get_args()).env("RUSTC_BOOTSTRAP", "1");
    joined.current_dir(fuzz_it.get_current_dir().unwrap_or(Path::new(".")));
    let mut stats = Stats::default();
    let ended = run_seeing(&mut joined, |line| {
        let number = |word: &str| line.split_once(word).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        stats.edges = number("cov: ").unwrap_or(stats.edges);
        stats.executions = number("stat::number_of_executed_units:").unwrap_or(stats.executions);
    });
    ended.map_err(|failure| Failure(format!("{target} broke a claim; what did it lies in {} ({failure})", broken.display())))?;
    Ok(stats)
}

/// The shortest of what was found, as many as the tree should hold: libFuzzer keeps an input only when it reaches what none before it did.
fn minimise(found: &Path, kept: &Path) -> Result<(), Failure> {
    let told = |error: std::io::Error| Failure(format!("{} cannot be minimised: {error}", found.display()));
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(found).map_err(told)? {
        let entry = entry.map_err(told)?;
        inputs.push((entry.metadata().map_err(told)?.len(), entry.path()));
    }
    inputs.sort();
    for (_, path) in inputs.into_iter().filter(|(len, _)| *len <= CORPUS_FILE_LEN_MAX).take(CORPUS_FILE_COUNT_MAX) {
        if let Some(name) = path.file_name() {
            std::fs::copy(&path, kept.join(name)).map_err(told)?;
        }
    }
    Ok(())
}

/// `cargo xtask compare`: what ours says of many inputs, and the second implementation, line by line.
pub fn compare(tree: &Tree, _: &[String]) -> Result<String, Failure> {
    let python = crate::vectors::environment(tree)?;
    let laid = target_dir(tree).join("fuzz/compare");
    if laid.exists() {
        std::fs::remove_dir_all(&laid).map_err(|error| Failure(format!("{} cannot be emptied: {error}", laid.display())))?;
    }
    std::fs::create_dir_all(&laid).map_err(|error| Failure(format!("{} cannot be made: {error}", laid.display())))?;
    command(cargo(tree).args(["run", "--quiet", "--locked", "--package", "fuzz", "--example", "lay_out", "--", "compare", "all"]).arg(&laid))?;
    let mut last = String::new();
    run_seeing(Command::new(python).current_dir(&tree.root).arg("tools/vectors/compare.py").arg(&laid), |line| line.clone_into(&mut last))?;
    Ok(last)
}
