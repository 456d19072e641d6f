//! What builders run: `cargo xtask check` is all of CI, `cargo xtask STEP` is one step of it.
//!
//! In: the working tree. Out: each step's own output, a line with its time, and a table at the end; exit 1 if any step failed.
//! Invariants: a step changes nothing in the tree (tools it lacks go under `target/`); every step runs even when an earlier one
//! failed, so that one run tells everything. What takes minutes to hours has a command of its own and options: fuzzing, mutants, Miri, coverage.
//! Not here: benches (`cargo run -p bench`).
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly; the ports are for what ships")]

mod cargo;
mod coverage;
mod crash;
mod dist;
mod fuzz;
mod miri;
mod mutants;
mod run;
mod spec;
mod tidy;
mod tree;
mod vectors;

use run::{Failure, seconds};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tree::Tree;

/// One thing CI checks.
struct Step {
    name: &'static str,
    about: &'static str,
    /// A line about what was found, when there is something worth saying.
    run: fn(&Tree) -> Result<String, Failure>,
}

/// All of CI, in order.
const STEPS: &[Step] = &[
    Step { name: "fmt", about: "sources stand as rustfmt lays them out", run: cargo::fmt },
    Step { name: "clippy", about: "no warning in any target of any crate", run: cargo::clippy },
    Step { name: "tests", about: "every test of the workspace passes, none is skipped", run: cargo::tests },
    Step { name: "sim", about: "some lives of small domains on a fake world, each as promised", run: cargo::sim },
    Step { name: "points", about: "the real binary killed and failed at some of its system calls", run: crash::some },
    Step { name: "docs", about: "the documentation builds without a warning", run: cargo::docs },
    Step { name: "deny", about: "dependencies: licences, sources, banned crates", run: cargo::deny },
    Step { name: "tidy", about: "layers and house rules", run: tidy::run },
    Step { name: "spec", about: "rules, codes and sections agree between SPEC.md and the code", run: spec::run },
    Step { name: "vectors", about: "the independent reader and writer agree with ours", run: vectors::run },
];

/// What takes too long for every change: `cargo xtask campaign`, before a release or overnight.
const CAMPAIGN: Step = Step { name: "campaign", about: "the tests that search for a failing case, searching 200 times as far", run: cargo::campaign };

/// What looks deeper than CI, for as long as it is given, and needs tools that CI does not.
struct Dive {
    name: &'static str,
    about: &'static str,
    run: fn(&Tree, &[String]) -> Result<String, Failure>,
}

/// In the order of the usage.
const DIVES: &[Dive] = &[
    Dive {
        name: "fuzz",
        about: "[--short | --minutes N] [--minimise] [TARGET]…  every target under libFuzzer, 60 s each by --short",
        run: fuzz::run,
    },
    Dive {
        name: "crash",
        about: "[--blocks] [SCENE]  the real binary killed and failed at every one of its system calls; or its disk cut off after each write",
        run: crash::every,
    },
    Dive { name: "rot", about: "every bit of a log of 64 KiB flipped: told where it is, nothing lost in silence, nothing invented", run: crash::rot },
    Dive { name: "compare", about: "the Python reader and cbor2 against ours, over the corpus and mutants of the fixtures", run: fuzz::compare },
    Dive { name: "mutants", about: "[--shard k/n] [ROOM]…  change the code line by line: which change does no test notice?", run: mutants::run },
    Dive { name: "miri", about: "the pure parts of bundle-format under an interpreter that sees undefined behaviour", run: miri::run },
    Dive { name: "dist", about: "[TARGET]  the program as it is handed out: linked static, and its length against the budget", run: dist::run },
    Dive { name: "coverage", about: "lines of each room that tests reach", run: coverage::run },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((command, options)) = args.split_first() else { return usage() };
    if let Some(dive) = DIVES.iter().find(|dive| dive.name == command) {
        return dive_into(dive, options);
    }
    if !options.is_empty() {
        return usage();
    }
    let chosen: Vec<&Step> = match command.as_str() {
        "check" => STEPS.iter().collect(),
        "campaign" => vec![&CAMPAIGN],
        name => STEPS.iter().filter(|step| step.name == name).collect(),
    };
    if chosen.is_empty() {
        return usage();
    }
    match Tree::find() {
        Ok(tree) => run_all(&chosen, &tree),
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("cargo xtask check     everything CI runs, in this order:");
    for step in STEPS.iter().chain([&CAMPAIGN]) {
        eprintln!("cargo xtask {:<9} {}", step.name, step.about);
    }
    for dive in DIVES {
        eprintln!("cargo xtask {:<9} {}", dive.name, dive.about);
    }
    ExitCode::from(2)
}

fn dive_into(dive: &Dive, options: &[String]) -> ExitCode {
    let begun = Instant::now();
    match Tree::find().and_then(|tree| (dive.run)(&tree, options)) {
        Ok(said) => println!("-- {} ok in {}{}", dive.name, seconds(begun.elapsed()), after_colon(&said)),
        Err(failure) => {
            println!("-- {} FAILED after {}: {failure}", dive.name, seconds(begun.elapsed()));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run_all(steps: &[&Step], tree: &Tree) -> ExitCode {
    let begun = Instant::now();
    let mut done: Vec<(&Step, Duration, Result<String, Failure>)> = Vec::new();
    for step in steps {
        println!("\n== {}: {}", step.name, step.about);
        let step_begun = Instant::now();
        let result = (step.run)(tree);
        let took = step_begun.elapsed();
        match &result {
            Ok(said) => println!("-- {} ok in {}{}", step.name, seconds(took), after_colon(said)),
            Err(failure) => println!("-- {} FAILED after {}: {failure}", step.name, seconds(took)),
        }
        done.push((step, took, result));
    }
    let failed = done.iter().filter(|(.., result)| result.is_err()).count();
    if steps.len() > 1 {
        println!("\n== all steps");
        for (step, took, result) in &done {
            let (state, said) = match result {
                Ok(said) => ("ok", said.clone()),
                Err(failure) => ("FAILED", failure.to_string()),
            };
            println!("{:<8} {state:<6} {:>8}  {}", step.name, seconds(*took), said.lines().next().unwrap_or_default());
        }
        println!("{} of {} steps passed in {}", done.len() - failed, done.len(), seconds(begun.elapsed()));
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}
