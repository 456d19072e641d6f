//! Seal a bundle of about 1 GiB of all but incompressible events, open it, read it a second time, and say how much memory that took.
//!
//! `cargo run --profile quick -p bundle-format --example gigabyte [MiB [DIR]]`: the file is written to DIR (default: the system's temporary
//! folder) and removed at the end. Ranges of 1 MiB alternate between stored and zstd, the costliest there are. Peak memory is `VmHWM` of
//! /proc/self/status: everything counts, libraries included.
#![allow(clippy::disallowed_methods, reason = "reads files itself: it is no part of the product")]

use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{DomainId, Incarnation, Lane, NodeId, Origin};
use bundle_format::limits::{PART_LEN, RANGE_RAW_LEN_MAX};
use bundle_format::manifest::Manifest;
use bundle_format::open::SealedBundle;
use bundle_format::range::{Coding, Range, VerifiedRange};
use bundle_format::seal::{HeaderPlan, Sealer, SealingKey};
use bundle_format::sign::{SigningKey, VerifyingKey};
use bundle_format::trust::Trust;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::Instant;

/// One member, who is the authority too.
struct Alone(VerifyingKey);

impl Trust for Alone {
    fn domain(&self) -> DomainId {
        self.0.domain_id()
    }
    fn signer(&self, node: &NodeId, _: u64) -> Option<VerifyingKey> {
        (*node == self.0.node_id()).then_some(self.0)
    }
    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool {
        (*node, *key) == (self.0.node_id(), self.0)
    }
    fn is_roster(&self, _: &Origin) -> bool {
        false
    }
    fn learn(&mut self, _: &VerifiedRange) {}
}

/// xorshift64*: noise that no compressor shortens.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            let noise = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            word.copy_from_slice(&noise[..word.len()]);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let range_count: u64 = arguments.next().map_or(Ok(1024), |text| text.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join(format!("gigabyte-{}.zb", std::process::id()));
    let told = run(range_count, &path);
    std::fs::remove_file(&path)?;
    told
}

fn run(range_count: u64, path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let key = SigningKey::from_seed(&[1; 32]);
    let reader_key = SealingKey::from_bytes([2; 32]);
    println!("start:  {} kB", peak_kb()?);
    let begun = Instant::now();
    let len = seal(range_count, &key, &reader_key, File::create(path)?)?;
    say("sealed", len, begun)?;
    let begun = Instant::now();
    let sealed = SealedBundle::read(File::open(path)?)?;
    say("read", len, begun)?;
    let begun = Instant::now();
    let mut verified = sealed.unseal(&[&reader_key])?.verify(&mut Alone(key.verifying_key()))?;
    say("verified", len, begun)?;
    let begun = Instant::now();
    let mut raw_len = 0;
    while let Some(range) = verified.next_range()? {
        raw_len += range.raw().len();
    }
    verified.finish()?;
    say("again", len, begun)?;
    println!("{range_count} ranges, {raw_len} raw bytes, file of {len} bytes; peak {} kB", peak_kb()?);
    Ok(())
}

fn say(what: &str, len: u64, begun: Instant) -> Result<(), Box<dyn Error>> {
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a speed for people")]
    let speed = len as f64 / seconds / 1e6;
    println!("{what:<8} {seconds:6.2} s {speed:6.0} MB/s  peak {} kB", peak_kb()?);
    Ok(())
}

fn seal(range_count: u64, key: &SigningKey, reader: &SealingKey, file: File) -> Result<u64, Box<dyn Error>> {
    let sender = key.verifying_key().node_id();
    let domain = key.verifying_key().domain_id();
    let origin = Origin { node: sender, incarnation: Incarnation([3; 4]), lane: Lane::Bulk, audience: None };
    let plan = HeaderPlan { domain, sender, signing_key: key, recipients: vec![reader.public()], created: None, best_lane: Some(Lane::Bulk) };
    let mut noise = Noise(7);
    let mut bundle = Sealer::new(BufWriter::new(file), &plan, &mut |bytes| noise.fill(bytes))?;
    bundle.manifest(&Manifest::new(Vec::new(), None, Vec::new(), [origin]))?;
    let mut compressor = Compressor::new()?;
    let mut position = Position::start(&origin);
    let mut payload = vec![0; PART_LEN];
    for number in 0..range_count {
        let mut raw: Vec<Vec<u8>> = Vec::new();
        let mut raw_len = 0;
        while raw_len + PART_LEN + 64 <= RANGE_RAW_LEN_MAX {
            noise.fill(&mut payload);
            payload[PART_LEN - 100..].fill(0); // just enough for zstd to be shorter than nothing
            let event = Event { hlc: Hlc(number), kind: "noise", payload: &payload, ext: Ext::default() }.to_bytes()?;
            raw_len += event.len();
            raw.push(event);
        }
        let events = Run::link(position, raw.iter().map(Vec::as_slice).collect());
        position = events.end();
        let checkpoint = Checkpoint::sign(key, &domain, &origin, 1, &position);
        let coding = if number % 2 == 0 { Coding::Stored } else { Coding::Zstd };
        bundle.range(&Range::build(origin, &events, &[(events.events().len() as u64, checkpoint)], coding, &mut compressor)?)?;
    }
    let (mut out, told) = bundle.finish()?;
    out.flush()?;
    Ok(told.len)
}

fn peak_kb() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
