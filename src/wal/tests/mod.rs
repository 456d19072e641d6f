//! The store's claims. Events here are any bytes: the log does not look inside.
//!
//! What searches for a case that fails searches 1 × in everyday tests and `ZBUNDLE_SEEDS` × where that is set: `cargo xtask campaign`.

mod crash;
mod damage;
mod edges;
mod ends;
mod happy;
mod indexes;
mod mended;
mod sessions;
mod written;

use super::{DataKeys, Options, Wal, WalReader};
use crate::adapters::os_ports;
use crate::ports::clock::FakeClock;
use crate::ports::entropy::SeededEntropy;
use crate::ports::local::Nobody;
use crate::ports::store::{Checkpointed, Head, Log, Store, StoreError, Stream};
use crate::ports::{MemoryDisk, MemoryNetwork, Ports};
use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use bundle_format::sign::Signature;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// Where test logs stand.
const FOLDER: &str = "/data/log";

/// How many times as far to search as everyday tests do.
fn effort() -> u64 {
    std::env::var("ZBUNDLE_SEEDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1).max(1)
}

/// A fake world around a disk.
fn ports(disk: &MemoryDisk, seed: u64) -> Ports {
    Ports {
        disk: Rc::new(disk.clone()),
        clock: Rc::new(FakeClock::default()),
        entropy: Rc::new(SeededEntropy(Cell::new(seed))),
        net: Rc::new(MemoryNetwork::default()),
        local: Rc::new(Nobody),
    }
}

/// The log on `disk`, in segments of `segment_len`.
fn open_small(disk: &MemoryDisk, seed: u64, segment_len: u64) -> Result<Wal, StoreError> {
    open(&ports(disk, seed), Path::new(FOLDER), Options { segment_len, sync_at_open: true })
}

fn read(disk: &MemoryDisk) -> Result<WalReader, StoreError> {
    WalReader::open(Rc::new(disk.clone()), Path::new(FOLDER), &keys())
}

fn segment(number: u32) -> std::path::PathBuf {
    super::segment::path(Path::new(FOLDER), number)
}

/// The `n`-th stream.
fn stream(n: u8) -> Stream {
    let origin = Origin { node: NodeId([n; 8]), incarnation: Incarnation([n; 4]), lane: Lane::Routine, audience: None };
    Stream { origin, branch: (n > 100).then_some([n; 8]) }
}

/// Event `seq` of a stream: different everywhere, of mixed lengths.
fn event(stream: &Stream, seq: u64) -> Vec<u8> {
    let len = 20 + usize::try_from(seq * 37 % 300).unwrap();
    let mut event = [&stream.origin.node.0[..], &seq.to_be_bytes()].concat();
    event.resize(event.len() + len, u8::try_from(seq % 251).unwrap());
    event
}

fn keys() -> DataKeys {
    DataKeys::new(1, [7; 32])
}

fn small() -> Options {
    Options { segment_len: 24 * 1024, sync_at_open: true }
}

fn open(ports: &Ports, folder: &Path, options: Options) -> Result<Wal, StoreError> {
    Wal::open_with(ports.disk.clone(), folder, &keys(), ports.entropy.clone(), ports.clock.clone(), options)
}

fn head(log: &dyn Log, stream: &Stream) -> Position {
    log.head(stream).map_or(Position::start(&stream.origin), |head| head.end)
}

/// Append the next `count` events of a stream, with a checkpoint at the end if wanted.
fn push(wal: &mut Wal, stream: &Stream, count: u64, with_checkpoint: bool) -> Result<(), StoreError> {
    let start = head(wal, stream);
    let events: Vec<_> = (1..=count).map(|n| event(stream, start.seq + n)).collect();
    let run = Run::link(start, events.iter().map(Vec::as_slice).collect());
    let checkpoints = [checkpoint(run.end())];
    wal.append(stream, &run, Hlc(run.end().seq), &checkpoints[..usize::from(with_checkpoint)])
}

fn checkpoint(position: Position) -> Checkpointed {
    let mut signature = [1; 64];
    signature[..8].copy_from_slice(&position.seq.to_be_bytes());
    Checkpointed { position, checkpoint: Checkpoint { key_number: 1, signature: Signature(signature) } }
}

/// Every event of a log is the one written, in order, without gaps, chained to the head; the scan shows the same set. How many of each stream.
fn check(log: &dyn Log) -> Vec<(Stream, u64)> {
    let mut all = 0;
    let heads = log.streams();
    for (stream, head) in &heads {
        let mut position = head.base;
        let mut events = log.events(stream, 0).unwrap();
        while let Some((seq, bytes)) = events.next().unwrap() {
            assert_eq!((seq, bytes), (position.seq + 1, &*event(stream, seq)), "{stream:?}");
            position = position.then(&bundle_format::chain::digest(bytes));
        }
        assert_eq!(position, head.end, "{stream:?}");
        all += position.seq - head.base.seq;
    }
    let mut scan = log.scan().unwrap();
    while let Some((stream, seq, bytes)) = scan.next().unwrap() {
        assert_eq!(bytes, &*event(&stream, seq));
        all -= 1;
    }
    assert_eq!(all, 0, "the scan shows each event once");
    heads.iter().map(|(stream, head)| (*stream, head.end.seq)).collect()
}
