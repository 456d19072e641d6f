//! Every crash point of the real binary: each scene runs a command, and strace kills it at one system call after another, or lets one fail.
//!
//! In: the binary. Out: a table of states, and each state in which a promise was broken; exit 1 if any was. Invariants: each state begins from the same
//! folders, copied; a promise is checked by running the program again, as its user would, with no repair in between. kill -9 keeps the page cache: what a
//! power cut does to what was written and not synced, `blocks` shows.
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly; the ports are for what ships")]

mod blocks;
mod link;
mod program;
mod scenes;
mod stage;
mod trace;

use clap::Parser;
use program::Program;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use trace::Fault;

/// What stops a run, in words.
pub type Failure = String;

/// Kills the program at every system call, and fails every write and sync
#[derive(Parser)]
struct Options {
    /// The program
    #[arg(long)]
    zbundle: PathBuf,
    /// At most so many states of each scene and kind, spread evenly; all without it
    #[arg(long)]
    states: Option<usize>,
    /// Power cuts on a real ext4, write by write, instead of kills; needs root, qemu-storage-daemon, FUSE and loop devices
    #[arg(long)]
    blocks: bool,
    /// With `--blocks`: leave the program's syncs out, to see that what they are for would be seen to break
    #[arg(long, requires = "blocks")]
    lying: bool,
    /// So many at a time
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only scenes whose name begins so; may be given several times
    #[arg(long)]
    only: Vec<String>,
}

impl Options {
    fn wants(&self, scene: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| scene.starts_with(only.as_str()))
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(broken) => {
            println!("{broken} states broke a promise");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("crash: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<usize, Failure> {
    let program = Program::new(&options.zbundle)?;
    let (begun, mut states, mut broken) = (Instant::now(), 0, 0);
    println!("{:<24} {:<28} {:>7} {:>7}", "scene", "what is done to it", "states", "broken");
    if options.blocks {
        (states, broken) = blocks::all(options, &program)?;
    }
    for scene in scenes::all().into_iter().filter(|_| !options.blocks) {
        if !options.wants(scene.name) {
            continue;
        }
        let stage = stage::set(&program, &scene)?;
        for kind in Fault::KINDS {
            if !scene.kinds.contains(kind) {
                continue;
            }
            let faults = thinned(trace::faults(&program, &stage, &scene, *kind)?, options.states);
            let told = told(&faults, options.jobs, &|fault| scenes::play(&program, &stage, &scene, fault));
            let told: Vec<_> = told.iter().map(|(fault, why)| format!("  {} {fault}: {why}", scene.name)).collect();
            println!("{:<24} {:<28} {:>7} {:>7}", scene.name, kind.about(), faults.len(), told.len());
            for line in &told {
                println!("{line}");
            }
            states += faults.len();
            broken += told.len();
        }
    }
    println!("{states} states, {broken} broken, {:.0} s", begun.elapsed().as_secs_f64());
    if states == 0 { Err("no state was reached".to_owned()) } else { Ok(broken) }
}

/// What broke a promise, and how, in the order of `faults`: so many at a time, each in folders of its own.
fn told<'a, T: Sync>(faults: &'a [T], jobs: usize, play: &(impl Fn(&T) -> Result<(), Failure> + Sync)) -> Vec<(&'a T, Failure)> {
    let next = AtomicUsize::new(0);
    let broken = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(fault) = faults.get(index) else { break };
                    if let Err(why) = play(fault) {
                        broken.lock().unwrap_or_else(PoisonError::into_inner).insert(index, (fault, why));
                    }
                }
            });
        }
    });
    broken.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

/// At most `most` of them, the first and the last among them.
fn thinned<T: Clone>(faults: Vec<T>, most: Option<usize>) -> Vec<T> {
    let Some(most) = most.filter(|most| *most < faults.len() && *most > 1) else { return faults };
    let last = faults.len() - 1;
    (0..most).map(|index| faults[index * last / (most - 1)].clone()).collect()
}
