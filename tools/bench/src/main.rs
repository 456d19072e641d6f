//! `cargo run -p bench --profile quick -- all`: the budgets, measured on the real program.
#![allow(clippy::disallowed_methods, reason = "measuring is asking the machine; the ports are for what ships")]

use bench::benches::{self, Corpus};
use bench::report::Report;
use bench::walk::Zbundle;
use bench::{Failure, clinic, codec, http, link, machine, measure, stick};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Measures zbundle: the real program as child processes, beside what the machine allows
#[derive(Parser)]
struct CommandLine {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Everything
    All(Options),
    /// Lengths of bundles with 1 and with 5 000 events
    Sizes(Options),
    /// One durable event at a time
    Push(Options),
    /// The log alone, in one process: push beside a bare append, ingest beside SQLite, disk and cipher
    Store(Options),
    /// Tables made from the log, beside bare SQLite; a key with very many events
    Project(Options),
    /// Whole logs of growing size: time and peak memory of every command
    Walk(Options),
    /// A stick's round with `exchange`, beside NNCP (Debian package nncp)
    Stick(Options),
    /// The live link: bytes, an emulated 2G link (needs root and /dev/net/tun), hundreds of clinics at once
    Link {
        #[command(flatten)]
        options: Options,
        /// Only these parts
        #[arg(long, value_name = "PART,…", value_delimiter = ',', default_value = "bytes,air,crowd,pull,full")]
        parts: Vec<String>,
    },
    /// HTTP: pushes beside a bare append, many who follow, memory with everything on
    Http(Options),
    /// Codec 3 beside zstd, xz and `PPMd` (xz and 7z, where they are there): bytes and speed
    Codec(Options),
    /// Print invented clinic events, one JSON object a line
    Clinic {
        /// Which clinic
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many
        #[arg(long, default_value_t = 1000)]
        events: usize,
    },
    /// Run one program and write what it cost (the bench calls this itself)
    #[command(hide = true)]
    Measure {
        out: PathBuf,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

#[derive(Args)]
struct Options {
    /// The zbundle to measure [default: one is built with --release]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Lengths of the logs, ascending
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "5000,100000")]
    events: Vec<usize>,
    /// An empty folder on the disk to measure [default: target/bench-scratch]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Where `clinic_small.ndjson` and `fhir.ndjson` lie, which are not ours to copy [default: target/bench-data]
    #[arg(long, value_name = "DIR", env = "ZBUNDLE_BENCH_DATA")]
    data: Option<PathBuf>,
    /// Put the table into docs/performance.md
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    let done = match CommandLine::parse().bench {
        Bench::All(options) => {
            let all = ["machine", "sizes", "push", "store", "project", "walk", "stick", "bytes", "air", "crowd", "pull", "full", "http", "codec"];
            run(&options, &all)
        }
        Bench::Http(options) => run(&options, &["machine", "http"]),
        Bench::Codec(options) => run(&options, &["codec"]),
        Bench::Sizes(options) => run(&options, &["sizes"]),
        Bench::Push(options) => run(&options, &["machine", "push"]),
        Bench::Store(options) => run(&options, &["machine", "store"]),
        Bench::Project(options) => run(&options, &["machine", "project"]),
        Bench::Walk(options) => run(&options, &["machine", "walk"]),
        Bench::Stick(options) => run(&options, &["machine", "stick"]),
        Bench::Link { options, parts } => run(&options, &parts.iter().map(String::as_str).collect::<Vec<_>>()),
        Bench::Clinic { seed, events } => print_clinic(seed, events).map(|()| ExitCode::SUCCESS),
        Bench::Measure { out, program, args } => measure::parent(&out, &program, &args).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("bench: {failure}");
        ExitCode::FAILURE
    })
}

fn print_clinic(seed: u64, events: usize) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    for event in clinic::events(seed, events) {
        writeln!(out, "{event}")?;
    }
    Ok(out.flush()?)
}

/// Exit 1 when a budget was missed or a bench failed.
fn run(options: &Options, wanted: &[&str]) -> Result<ExitCode, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("the project's folder is gone")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    let program = match &options.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => build(root, &target)?,
    };
    let scratch = options.scratch.clone().unwrap_or_else(|| target.join("bench-scratch"));
    let zbundle = Zbundle { program, scratch };
    let heading = format!("{}; {}; {}", zbundle.version()?, machine::describe(), today());
    println!("{heading}\n");
    if cfg!(debug_assertions) {
        eprintln!("bench: this bench is not optimised, so the cipher's yardstick is far too low; use --profile quick");
    }
    let mut report = Report::default();
    let mut whole = true;
    let corpora = corpora(&options.data.clone().unwrap_or_else(|| root.join("target/bench-data")));
    for bench in wanted {
        let ended = match *bench {
            "machine" => benches::machine(&zbundle, &mut report),
            "sizes" => benches::sizes(&zbundle, &mut report, &corpora),
            "push" => benches::push(&zbundle, &mut report),
            "store" => benches::store(&zbundle, &mut report),
            "project" => benches::project(&zbundle, &mut report),
            "walk" => benches::walk(&zbundle, &mut report, &options.events),
            "stick" => stick::round(&zbundle, &mut report, &corpora),
            "bytes" => link::bytes(&zbundle, &mut report, &corpora),
            "http" => http::http(&zbundle, &mut report),
            "air" => link::air(&zbundle, &mut report),
            "crowd" => link::crowd(&zbundle, &mut report),
            "pull" => link::pull(&zbundle, &mut report),
            "full" => link::full(&zbundle, &mut report),
            "codec" => codec::codec(&zbundle.scratch, &mut report, &corpora),
            other => Err(format!("there is no bench called {other}").into()),
        };
        if let Err(failure) = ended {
            eprintln!("bench: {bench}: {failure}");
            report.note(*bench, "not measured to its end: it failed");
            whole = false;
        }
    }
    if options.write {
        report.write_into(&root.join("docs/performance.md"), &heading)?;
    }
    let (kept, judged) = report.kept();
    println!("\n{kept} of {judged} budgets kept");
    Ok(if whole && kept == judged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Our own events, and third-party ones where they lie in `data`; those are read there and never copied.
fn corpora(data: &Path) -> Vec<Corpus> {
    let beside = |name: &str| data.join(name);
    vec![
        Corpus { name: "clinic".to_owned(), file: None, judged: true },
        Corpus { name: "clinic_small".to_owned(), file: Some(beside("clinic_small.ndjson")), judged: true },
        Corpus { name: "fhir".to_owned(), file: Some(beside("fhir.ndjson")), judged: false },
    ]
}

fn build(root: &Path, target: &Path) -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let status = Command::new(cargo).current_dir(root).args(["build", "--release", "--package", "zbundle"]).status()?;
    if status.success() { Ok(target.join("release/zbundle")) } else { Err("zbundle does not build".into()) }
}

fn today() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
