//! What must hold for any bytes: one plain function per way in, with an oracle that says more than "no panic".
//!
//! In: bytes from anybody. Out: nothing, or a panic that names the claim that broke. `driver/` runs each under libFuzzer for hours, `tests/burst.rs`
//! over the corpus, the fixtures and some seconds of mutants on any compiler. Invariants: the same bytes do the same; nothing touches a real disk,
//! clock or network. Not here: how inputs are found, how long and with how much memory one may run (the driver, the burst).
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly; the ports are for what ships")]

mod domain;
mod hand;
pub mod mutate;
mod targets;

pub use domain::{open_bundle, seal_inner};

use std::path::Path;

/// One way in.
#[derive(Clone, Copy)]
pub struct Target {
    /// The driver's program and the corpus folder are called so.
    pub name: &'static str,
    /// What must hold.
    pub claim: &'static str,
    /// Tries it.
    pub run: fn(&[u8]),
    /// Good inputs to begin with, made from the fixtures.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Longer inputs show nothing new.
    pub len_max: usize,
    /// Bytes that one run may hold at once. The test's own work is in it; a bomb is far above.
    pub live_max: usize,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "cbor",
        claim: "what is accepted has one spelling, which ciborium reads and writes alike",
        run: targets::format::cbor,
        seeds: targets::format::cbor_seeds,
        len_max: 4096,
        live_max: 4 << 20,
    },
    Target {
        name: "event",
        claim: "an event that is read is written back as it was, but for what is skipped",
        run: targets::format::event,
        seeds: targets::format::event_seeds,
        len_max: 16_500,
        live_max: 1 << 20,
    },
    Target {
        name: "manifest",
        claim: "a manifest that is read is written back as it was, but for what is skipped",
        run: targets::format::manifest,
        seeds: targets::format::manifest_seeds,
        len_max: 8192,
        live_max: 1 << 20,
    },
    Target {
        name: "range",
        claim: "a range unpacks to what it claims or is refused, within what it may claim",
        run: targets::format::range,
        seeds: targets::format::range_seeds,
        len_max: 32 * 1024,
        live_max: 8 << 20,
    },
    Target {
        name: "mixed",
        claim: "mixed bytes are what a writer makes of what they unpack to, or they are refused",
        run: targets::format::mixed,
        seeds: targets::format::mixed_seeds,
        len_max: 4096,
        live_max: 16 << 20,
    },
    Target {
        name: "message",
        claim: "what is heard on a link is said again in the same meaning",
        run: targets::format::message,
        seeds: targets::format::message_seeds,
        len_max: 32 * 1024,
        live_max: 8 << 20,
    },
    Target {
        name: "envelope",
        claim: "no part of a whole file is whole, and what is whole can be read twice alike",
        run: targets::bundle::envelope,
        seeds: targets::bundle::envelope_seeds,
        len_max: 72 * 1024,
        live_max: 16 << 20,
    },
    Target {
        name: "inner",
        claim: "behind a good seal every byte may be wrong, and only what its origins signed comes out",
        run: targets::bundle::inner,
        seeds: targets::bundle::inner_seeds,
        len_max: 32 * 1024,
        live_max: 16 << 20,
    },
    Target {
        name: "segment",
        claim: "a log made of any bytes opens or says why not, invents nothing, and goes on",
        run: targets::segment::segment,
        seeds: targets::segment::seeds,
        len_max: 2048,
        live_max: 16 << 20,
    },
    Target {
        name: "keyring",
        claim: "a keyring opens to what it was or is refused",
        run: targets::secrets::keyring,
        seeds: targets::secrets::keyring_seeds,
        len_max: 4096,
        live_max: 4 << 20,
    },
    Target {
        name: "request",
        claim: "requests and join files are read as they were written or refused",
        run: targets::secrets::request,
        seeds: targets::secrets::request_seeds,
        len_max: 8192,
        live_max: 4 << 20,
    },
    Target {
        name: "records",
        claim: "the node's small files are read back as they were written or refused",
        run: targets::secrets::records,
        seeds: targets::secrets::record_seeds,
        len_max: 8192,
        live_max: 8 << 20,
    },
    Target {
        name: "roster",
        claim: "no roster events, in any order, make a member of two, a key of two members, or a domain without an authority",
        run: targets::roster::roster,
        seeds: targets::roster::seeds,
        len_max: 4096,
        live_max: 4 << 20,
    },
    Target {
        name: "exchange",
        claim: "two ends become level whatever the order of their turns, and one is never talked into more than it sent",
        run: targets::exchange::exchange,
        seeds: targets::exchange::seeds,
        len_max: 4096,
        live_max: 16 << 20,
    },
    Target {
        name: "lines",
        claim: "every line of JSON becomes one payload, byte for byte, and every other is told by its number",
        run: targets::text::lines,
        seeds: targets::text::line_seeds,
        len_max: 16 * 1024,
        live_max: 8 << 20,
    },
    Target {
        name: "words",
        claim: "what a person writes is understood as it is shown again, or refused",
        run: targets::text::words,
        seeds: targets::text::word_seeds,
        len_max: 256,
        live_max: 1 << 20,
    },
    Target {
        name: "config",
        claim: "what a person set is what the first rule that fits says, or is refused whole",
        run: targets::doors::config,
        seeds: targets::doors::config_seeds,
        len_max: 1024,
        live_max: 4 << 20,
    },
    Target {
        name: "schema",
        claim: "what fits a schema is JSON within bounds, and what does not is told by a place that is there",
        run: targets::doors::schema,
        seeds: targets::doors::schema_seeds,
        len_max: 4096,
        live_max: 16 << 20,
    },
    Target {
        name: "carry",
        claim: "bundles in any order, cut short, damaged or twice, end in the same log",
        run: targets::carry::carry,
        seeds: targets::carry::seeds,
        len_max: 64,
        live_max: 48 << 20,
    },
];

/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name is in the list")
}

/// The inputs of the committed corpus of `target`, by name: what broke a claim once, a file each in `corpus/TARGET/`, and what a fuzzer found to reach
/// something that no seed reaches, packed in `corpus/TARGET.pack` as each input's length, four bytes, the least first, and its bytes.
///
/// # Errors
/// When something is there and cannot be read.
pub fn corpus(target: &Target) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut inputs = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            inputs.push((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?));
        }
        inputs.sort();
    }
    let pack = folder.with_extension("pack");
    if pack.is_file() {
        let bytes = std::fs::read(&pack)?;
        let packed = unpack(&bytes).ok_or_else(|| std::io::Error::other(format!("{} ends within an input", pack.display())))?;
        inputs.extend(packed.into_iter().enumerate().map(|(number, input)| (format!("packed-{number:03}"), input.to_vec())));
    }
    Ok(inputs)
}

fn unpack(mut pack: &[u8]) -> Option<Vec<&[u8]>> {
    let mut inputs = Vec::new();
    while !pack.is_empty() {
        let (len, rest) = pack.split_first_chunk()?;
        let (input, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        inputs.push(input);
        pack = rest;
    }
    Some(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_gives_back_its_inputs_and_is_not_read_in_part() {
        let pack = [&[2, 0, 0, 0, 7, 8][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 9]].concat();
        assert_eq!(unpack(&pack), Some(vec![&[7, 8][..], &[], &[9]]));
        assert!((1..pack.len()).filter(|len| ![6, 10].contains(len)).all(|len| unpack(&pack[..len]).is_none()));
    }
}
