//! `netlab proxy`, `netlab link`, `netlab selftest`: bad links on a command line. How to use them stands in the library's front page.
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly; the ports are for what ships")]
#![allow(clippy::cast_precision_loss, reason = "figures of a link, far below 2^52")]

mod options;
mod selftest;
mod serve;

use clap::Parser as _;
use netlab::link::{self, Failure};
use options::{CommandLine, LinkOptions, Tool};
use std::fs;
use std::process::ExitCode;

/// Something is missing on this machine: no run took place.
const EXIT_MISSING: u8 = 77;
/// Netlab itself broke; the status of what it ran is another.
const EXIT_BROKEN: u8 = 125;

fn main() -> ExitCode {
    let done = match CommandLine::parse().tool {
        Tool::Proxy(options) => serve::run(&options).map(|()| ExitCode::SUCCESS).map_err(|error| Failure::Broken(error.to_string())),
        Tool::Link(options) => run_link(&options),
        Tool::Selftest => selftest::run(),
        Tool::Probe { probe } => selftest::probe(&probe).map(|()| ExitCode::SUCCESS).map_err(|error| Failure::Broken(error.to_string())),
    };
    done.unwrap_or_else(|failure| match failure {
        Failure::Missing(what) => {
            eprintln!("netlab: {what}");
            ExitCode::from(EXIT_MISSING)
        }
        Failure::Broken(what) => {
            eprintln!("netlab: {what}");
            ExitCode::from(EXIT_BROKEN)
        }
    })
}

fn run_link(options: &LinkOptions) -> Result<ExitCode, Failure> {
    let [a, b] = options.commands();
    let report = link::run(&options.link(), &a, &b)?;
    let json = serde_json::to_string(&report).map_err(|error| Failure::Broken(error.to_string()))?;
    match &options.stats {
        Some(path) => fs::write(path, json + "\n").map_err(|error| Failure::Broken(format!("{}: {error}", path.display())))?,
        None => eprintln!("{json}"),
    }
    Ok(ExitCode::from(report.exit_status(!a.is_empty())))
}
