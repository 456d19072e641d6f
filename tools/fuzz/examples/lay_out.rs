//! Lays inputs out in a folder: `lay_out seeds TARGET DIR` the seeds of a target and its corpus, one a file; `lay_out compare all DIR` what the second implementation
//! shall judge too, with our own judgement: `cbor.tsv`, `events.tsv` and `bundles.tsv`, each a line of hex or a file's name, a tab, and what we say.
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly")]

use bundle_format::cbor::Reader;
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::hex;
use bundle_format::range::RangeError;
use fuzz::mutate::{Dice, mutant};
use fuzz::{Target, corpus, open_bundle, seal_inner, target};
use std::fmt::Write as _;
use std::path::Path;

/// Mutants for each comparison.
const MUTANTS: u64 = 3000;

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, name, folder] = &words[..] else { return Err(std::io::Error::other("lay_out seeds TARGET DIR | lay_out compare all DIR")) };
    let folder = Path::new(folder);
    if what == "seeds" {
        for (number, seed) in (target(name).seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:03}")), seed)?;
        }
        for (name, input) in corpus(target(name))? {
            std::fs::write(folder.join(format!("kept-{name}")), input)?;
        }
        return Ok(());
    }
    std::fs::write(folder.join("cbor.tsv"), lines(&inputs(target("cbor"))?, |bytes| verdict_of_cbor(bytes).to_owned()))?;
    std::fs::write(folder.join("events.tsv"), lines(&inputs(target("event"))?, verdict_of_event))?;
    bundles(folder)
}

/// Corpus, seeds and mutants.
fn inputs(target: &Target) -> std::io::Result<Vec<Vec<u8>>> {
    let mut inputs = (target.seeds)();
    inputs.extend(corpus(target)?.into_iter().map(|(_, bytes)| bytes));
    let parents = inputs.clone();
    for number in 0..MUTANTS {
        let mut dice = Dice::new(number + 1_000_000);
        let (parent, other) = (&parents[dice.below(parents.len())], &parents[dice.below(parents.len())]);
        inputs.push(mutant(parent, other, target.len_max.min(8192), &mut dice));
    }
    Ok(inputs)
}

fn lines(inputs: &[Vec<u8>], judge: impl Fn(&[u8]) -> String) -> String {
    inputs.iter().fold(String::new(), |mut text, bytes| {
        let _ = writeln!(text, "{}\t{}", hex(bytes), judge(bytes)); // writing into a String cannot fail
        text
    })
}

fn verdict_of_cbor(bytes: &[u8]) -> &'static str {
    let mut reader = Reader::new(bytes);
    if reader.any().is_ok() && reader.is_at_end() { "ok" } else { "no" }
}

fn verdict_of_event(bytes: &[u8]) -> String {
    let read = Event::from_bytes(bytes).map_err(|error| RangeError::Event { seq: 1, error }.code());
    said(read.map(|_| 1))
}

fn said(judged: Result<usize, Code>) -> String {
    judged.map_or_else(|code| code.to_string(), |events| format!("ok {events}"))
}

/// Whole files: mutants of files, and mutants of insides sealed anew.
fn bundles(folder: &Path) -> std::io::Result<()> {
    let mut told = String::new();
    let mut number = 0;
    let mut write = |file: &[u8]| {
        number += 1;
        let name = format!("{number:05}.zb");
        let judged = open_bundle(file).map(|inside| inside.ranges.iter().map(|(.., events)| events.len()).sum());
        let _ = writeln!(told, "{name}\t{}", said(judged)); // writing into a String cannot fail
        std::fs::write(folder.join(name), file)
    };
    for input in inputs(target("envelope"))?.iter().filter(|input| !input.is_empty()) {
        write(&input[1..])?;
    }
    for input in inputs(target("inner"))?.iter().filter(|input| input.len() > 1) {
        write(&seal_inner(&input[1..]))?;
    }
    std::fs::write(folder.join("bundles.tsv"), told)
}
