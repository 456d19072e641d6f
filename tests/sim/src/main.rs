//! `cargo sim --seeds 10000`: that many lives; `cargo sim --seed 0x5eed`: one again, with its story.
#![allow(clippy::disallowed_methods, reason = "a builder's tool measures how fast it is")]

use clap::Parser;
use sim::coverage::Coverage;
use sim::life::{Life, live, shrink};
use sim::plan::Plan;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Failures that are made short and shown; more are counted.
const SHOWN_MAX: usize = 3;

/// Live through seeds on a fake world.
#[derive(Parser)]
struct Options {
    /// One seed, with its story; decimal, or hexadecimal after 0x
    #[arg(long, value_parser = number)]
    seed: Option<u64>,
    /// How many seeds
    #[arg(long, value_parser = number, default_value = "1000")]
    seeds: u64,
    /// The first of them
    #[arg(long, value_parser = number, default_value = "0")]
    from: u64,
    /// Threads; each lives one life at a time
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, usize::from))]
    threads: usize,
    /// Go on after this many failures
    #[arg(long, default_value = "3")]
    failures: u64,
    /// Fail when something that these lives should meet is met by none of them
    #[arg(long)]
    covered: bool,
    /// With --seed: tell the story also when all is well
    #[arg(long)]
    verbose: bool,
    /// With --seed: do not make the failure shorter
    #[arg(long)]
    whole: bool,
}

fn number(text: &str) -> Result<u64, String> {
    let text = text.replace('_', "");
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
    parsed.map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    sim::life::hush_panics();
    let options = Options::parse();
    match options.seed {
        Some(seed) => one(seed, &options),
        None => many(&options),
    }
}

fn one(seed: u64, options: &Options) -> ExitCode {
    let plan = Plan::of(seed);
    let life = live(&plan, None);
    if life.violation.is_some() && !options.whole {
        let short = shrink(&plan, None);
        show(&short, &live(&short, None), true);
    } else {
        show(&plan, &life, options.verbose || options.whole);
    }
    if life.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn show(plan: &Plan, life: &Life, verbose: bool) {
    if verbose {
        life.story.iter().for_each(|line| println!("{line}"));
    }
    match &life.violation {
        Some(why) => println!("seed {:#x}, {} step(s) left: {why}", plan.seed, plan.steps.len()),
        None => println!("seed {:#x}: {} steps, {} frames, digest {:016x}: all as promised", plan.seed, plan.steps.len(), life.frames, life.digest),
    }
}

fn many(options: &Options) -> ExitCode {
    let begun = Instant::now();
    let (next, failed, frames) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let coverage = Mutex::new(Coverage::default());
    let shown = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                let mut met = Coverage::default();
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= options.seeds {
                        break;
                    }
                    let plan = Plan::of(options.from + at);
                    let life = live(&plan, None);
                    met.add(&life.coverage);
                    frames.fetch_add(life.frames as u64, Ordering::Relaxed);
                    if life.violation.is_some() {
                        stop.fetch_or(failed.fetch_add(1, Ordering::Relaxed) + 1 >= options.failures, Ordering::Relaxed);
                        report(&plan, &life, &shown);
                    }
                }
                coverage.lock().expect("no thread panics while it adds").add(&met);
            });
        }
    });
    let lived = next.load(Ordering::Relaxed).min(options.seeds);
    let took = begun.elapsed().as_secs_f64();
    let coverage = coverage.into_inner().expect("no thread panics while it adds");
    coverage.0.iter().for_each(|(what, count)| println!("{count:>9}  {what}"));
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = lived as f64 / took;
    let (failed, frames) = (failed.into_inner(), frames.into_inner());
    println!("{lived} seeds from {:#x} in {took:.1} s ({rate:.1} a second), {frames} sealed frames, {failed} failure(s)", options.from);
    let unmet: Vec<_> = if options.covered { coverage.unmet() } else { Vec::new() };
    for what in &unmet {
        println!("never met: {what}");
    }
    if failed == 0 && unmet.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(plan: &Plan, life: &Life, shown: &Mutex<usize>) {
    let mut shown = shown.lock().expect("no thread panics while it reports");
    *shown += 1;
    if *shown > SHOWN_MAX {
        println!("seed {:#x}: {}", plan.seed, life.violation.as_deref().unwrap_or_default());
        return;
    }
    let short = shrink(plan, None);
    show(&short, &live(&short, None), true);
    println!("again: cargo sim --seed {:#x}\n", plan.seed);
}
