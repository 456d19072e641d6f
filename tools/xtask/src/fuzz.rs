//! Fuzzing: the targets of `tools/fuzz` under libFuzzer, and the independent reader over what they found.
//!
//! In: the committed corpus. Out: for each target how much was tried; what breaks a claim lies in `target/fuzz/artifacts` and fails the command, when
//! the other targets have had their turn. New inputs collect under `target/fuzz/corpus`; `--minimise` packs the few that reach something new into the
//! tree. Memory and time are oracles too.

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
/// Longer inputs show nothing new.
const LEN_MAX: u32 = 73_728;
/// A packed corpus of this many bytes is small enough for the tree.
const PACK_LEN_MAX: usize = 64 * 1024;

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
    let (mut said, mut broken) = (Vec::new(), Vec::new());
    for target in &options.targets {
        match one(tree, &program, target, &options) {
            Ok(line) => said.push(line),
            Err(failure) => broken.push(failure.0),
        }
    }
    println!("\n{:<10} {:>12} {:>7} {:>9} {:>10} {:>10} {:>7}", "target", "executions", "edges", "inputs", "processor", "took", "kept");
    for line in said.iter().chain(&broken) {
        println!("{line}");
    }
    if broken.is_empty() { Ok(format!("{} targets, nothing broke", said.len())) } else { Err(Failure(format!("{} targets broke", broken.len()))) }
}

/// For what is written in C: gcc 12 takes a table of zstd's that lives for ever for one that goes out of scope with its function.
const C_FLAGS: &str = "-fno-sanitize-address-use-after-scope";

/// cargo-fuzz, with the flags that it takes from a nightly compiler and a stable one takes with this variable.
fn fuzz(tree: &Tree, program: &Path, verb: &str) -> Command {
    let mut fuzz = Command::new(program);
    fuzz.current_dir(&tree.root)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CFLAGS", C_FLAGS)
        .args(["fuzz", verb, "--fuzz-dir", DRIVER, "--target-dir"])
        .arg(target_dir(tree).join("fuzz"));
    fuzz
}

fn one(tree: &Tree, program: &Path, target: &str, options: &Options) -> Result<String, Failure> {
    let [found, broken, seeds] = ["corpus", "artifacts", "seeds"].map(|what| target_dir(tree).join("fuzz").join(what).join(target));
    for folder in [&found, &broken] {
        make(folder)?;
    }
    make_anew(&seeds)?;
    command(cargo(tree).args(["run", "--quiet", "--locked", "--package", "fuzz", "--example", "lay_out", "--", "seeds", target]).arg(&seeds))?;
    // Apart from the run, so that no compiler's time is taken for the fuzzer's.
    command(fuzz(tree, program, "build").arg(target))?;
    let mut fuzz_it = fuzz(tree, program, "run");
    fuzz_it.arg(target).args([&found, &seeds]).arg("--").args(bounds());
    fuzz_it.arg(format!("-max_total_time={}", options.each.as_secs())).arg("-print_final_stats=1");
    fuzz_it.arg(format!("-artifact_prefix={}/", broken.display())).args(["-verbosity=1", "-use_value_profile=0"]);
    let begun = Instant::now();
    let stats = stats_of(&mut fuzz_it, target, &broken)?;
    let took = begun.elapsed();
    let kept = if options.minimise { minimise(tree, program, target, &seeds, &found)?.to_string() } else { "-".to_owned() };
    let inputs = std::fs::read_dir(&found).map_or(0, Iterator::count);
    let (took, processor) = (seconds(took), seconds(stats.processor));
    Ok(format!("{target:<10} {:>12} {:>7} {inputs:>9} {processor:>10} {took:>10} {kept:>7}", stats.executions, stats.edges))
}

/// What one input may cost.
fn bounds() -> [String; 4] {
    let [timeout, rss, malloc] = [("timeout", TIMEOUT_S), ("rss_limit_mb", RSS_MB), ("malloc_limit_mb", MALLOC_MB)];
    [timeout, rss, malloc, ("max_len", LEN_MAX)].map(|(name, value)| format!("-{name}={value}"))
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure(format!("{} cannot be made: {error}", folder.display())))
}

/// An empty folder, whatever was there.
fn make_anew(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure(format!("{} cannot be emptied: {error}", folder.display()))),
        _ => make(folder),
    }
}

#[derive(Default)]
struct Stats {
    executions: u64,
    edges: u64,
    processor: Duration,
}

/// libFuzzer speaks on stderr; a shell joins the two, and tells at the end what its children cost.
fn stats_of(fuzz_it: &mut Command, target: &str, broken: &Path) -> Result<Stats, Failure> {
    let mut joined = Command::new("sh");
    joined.args(["-c", r#""$0" "$@" 2>&1; ended=$?; times; exit $ended"#]).arg(fuzz_it.get_program()).args(fuzz_it.get_args());
    joined.env("RUSTC_BOOTSTRAP", "1").env("CFLAGS", C_FLAGS).current_dir(fuzz_it.get_current_dir().unwrap_or(Path::new(".")));
    let mut stats = Stats::default();
    let ended = run_seeing(&mut joined, |line| {
        let number = |word: &str| line.split_once(word).and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        stats.edges = number("cov: ").unwrap_or(stats.edges);
        stats.executions = number("stat::number_of_executed_units:").unwrap_or(stats.executions);
        stats.processor = times(line).unwrap_or(stats.processor);
    });
    ended.map_err(|failure| Failure(format!("{target} broke a claim; what did it lies in {} ({failure})", broken.display())))?;
    Ok(stats)
}

/// A line of the shell's `times`, as in `1m2.5s 0m0.25s`: the processor's time for the program and for the system, together.
fn times(line: &str) -> Option<Duration> {
    let one = |word: &str| {
        let (minutes, seconds) = word.strip_suffix('s')?.split_once('m')?;
        Some(Duration::from_mins(minutes.parse().ok()?) + Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?)
    };
    let (user, system) = line.split_once(' ')?;
    Some(one(user)? + one(system)?)
}

/// Pack what reaches edges that no seed reaches, the shortest first, as much as the tree should hold: how many inputs that is.
fn minimise(tree: &Tree, program: &Path, target: &str, seeds: &Path, found: &Path) -> Result<usize, Failure> {
    let told = |error: std::io::Error| Failure(format!("the corpus of {target} cannot be packed: {error}"));
    let merged = target_dir(tree).join("fuzz/merged").join(target);
    make_anew(&merged)?;
    // What every run makes again from the fixtures need not be kept: libFuzzer adds to the first folder what the first folder lacks.
    let mut made = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(seeds).map_err(told)? {
        let entry = entry.map_err(told)?;
        if entry.file_name().to_string_lossy().starts_with("seed-") {
            std::fs::copy(entry.path(), merged.join(entry.file_name())).map_err(told)?;
            made.insert(entry.file_name());
        }
    }
    let mut merge = fuzz(tree, program, "run");
    merge.arg(target).args([&merged, &found.to_path_buf(), &seeds.to_path_buf()]).arg("--").args(bounds());
    command(merge.args(["-set_cover_merge=1", "-use_counters=0", "-verbosity=0"]))?;
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(&merged).map_err(told)? {
        let entry = entry.map_err(told)?;
        if !made.contains(&entry.file_name()) {
            inputs.push(std::fs::read(entry.path()).map_err(told)?);
        }
    }
    inputs.sort_by(|one, other| (one.len(), one).cmp(&(other.len(), other)));
    let (mut pack, mut count) = (Vec::new(), 0);
    for input in &inputs {
        if pack.len() + 4 + input.len() > PACK_LEN_MAX {
            break;
        }
        pack.extend(u32::try_from(input.len()).unwrap_or(u32::MAX).to_le_bytes());
        pack.extend(input);
        count += 1;
    }
    make(&tree.root.join(CORPUS))?;
    std::fs::write(tree.root.join(CORPUS).join(target).with_extension("pack"), pack).map_err(told)?;
    Ok(count)
}

/// `cargo xtask compare`: what ours says of many inputs, and the second implementation, line by line.
pub fn compare(tree: &Tree, _: &[String]) -> Result<String, Failure> {
    let python = crate::vectors::environment(tree)?;
    let laid = target_dir(tree).join("fuzz/compare");
    make_anew(&laid)?;
    command(cargo(tree).args(["run", "--quiet", "--locked", "--package", "fuzz", "--example", "lay_out", "--", "compare", "all"]).arg(&laid))?;
    let mut last = String::new();
    run_seeing(Command::new(python).current_dir(&tree.root).arg("tools/vectors/compare.py").arg(&laid), |line| line.clone_into(&mut last))?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_says_of_its_children_is_read() {
        assert_eq!(times("1m2.500000s 0m0.250000s"), Some(Duration::from_millis(62_750)));
        assert_eq!(times("#12 NEW cov: 5"), None);
    }
}
