//! The log alone, in this process: no pipe, no process start, no transport. Ours and its yardsticks take turns within each round, so that the
//! disk's moods fall on all of them.
//!
//! In: an empty folder. Out: medians and ratios. Ingest is `Store::append` of runs whose chain was verified before, and one sync: what opening,
//! decrypting and verifying cost is in `walk`.

use crate::Failure;
use crate::clinic;
use crate::machine::{Appender, Cipher};
use crate::measure::Times;
use crate::report::{Report, Unit, thousands, time};
use bundle_format::chain::{Position, Run};
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use zbundle::adapters::os_ports;
use zbundle::ports::Ports;
use zbundle::ports::store::{Store as _, Stream};
use zbundle::push::{Fields, Pusher};
use zbundle::wal::{DataKeys, Wal};

/// Events of one run, one sync for each.
const RUN_LEN: usize = 5000;
/// Rounds of ingest.
const ROUND_COUNT: usize = 40;
/// Pushes timed at each length of the log.
const PUSH_COUNT: usize = 400;
/// What a write takes in one call, as the log does.
const WRITE_LEN: usize = 128 * 1024;
/// Events of the log at which a push is timed.
const LOG_LENS: [usize; 3] = [0, 100_000, 1_000_000];

/// A log of its own in `folder`.
fn open(ports: &Ports, folder: &Path) -> Result<Wal, Failure> {
    Ok(Wal::open(ports.disk.clone(), folder, &DataKeys::new(1, [7; 32]), ports.entropy.clone(), ports.clock.clone())?)
}

fn stream() -> Stream {
    Stream::main(Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Routine, audience: None })
}

/// Encoded events, in order.
struct Source {
    lines: Box<dyn Iterator<Item = String>>,
    seq: u64,
}

impl Source {
    fn new() -> Self {
        Self { lines: Box::new(clinic::events(3, usize::MAX)), seq: 0 }
    }

    fn take(&mut self, count: usize) -> Result<Vec<Vec<u8>>, Failure> {
        let mut events = Vec::with_capacity(count);
        for line in self.lines.by_ref().take(count) {
            self.seq += 1;
            let event = Event { hlc: Hlc((1_767_225_600_000 + self.seq * 137) << 16), kind: "record", payload: line.as_bytes(), ext: Ext::default() };
            events.push(event.to_bytes()?);
        }
        Ok(events)
    }
}

fn link(start: Position, events: &[Vec<u8>]) -> Run<'_> {
    Run::link(start, events.iter().map(Vec::as_slice).collect())
}

/// `store/push/…`: one event and its sync against a bare padded append and its sync, at several lengths of the log.
///
/// # Errors
/// The disk's.
pub fn push(scratch: &Path, report: &mut Report) -> Result<(), Failure> {
    let ports = os_ports();
    let mut wal = open(&ports, &scratch.join("log"))?;
    let mut bare = Appender::begin(scratch)?;
    let (mut source, mut end) = (Source::new(), Position::start(&stream().origin));
    let fields = Fields { kind: "record".to_owned(), ..Fields::default() };
    let mut medians = Vec::new();
    for len in LOG_LENS {
        while source.seq + (RUN_LEN as u64) <= len as u64 {
            let events = source.take(RUN_LEN)?;
            let run = link(end, &events);
            wal.append(&stream(), &run, Hlc(0), &[])?;
            wal.sync()?;
            end = run.end();
        }
        let (mut ours, mut raw) = (Times::default(), Times::default());
        let mut pusher = Pusher::new(&mut wal, ports.clock.clone(), &stream().origin.node, &[stream()]);
        for line in clinic::events(len as u64 + 5, PUSH_COUNT) {
            raw.push(bare.append()?);
            let begun = Instant::now();
            pusher.push(&fields, line.len() as u64, &mut line.as_bytes())?;
            pusher.sync()?;
            ours.push(begun.elapsed());
        }
        end = zbundle::ports::store::Log::head(&wal, &stream()).ok_or("the stream is gone")?.end;
        source.seq = end.seq;
        let (p50, bare) = (ours.percentile(50), raw.percentile(50));
        let beside = format!("p50 {} against {}, p99 {} against {}", time(p50), time(bare), time(ours.percentile(99)), time(raw.percentile(99)));
        let name = format!("store/push against bare append, log of {}", thousands(len as u64));
        medians.push(p50.as_secs_f64() / bare.as_secs_f64());
        report.at_most_beside(name, p50.as_secs_f64() / bare.as_secs_f64(), 1.2, Unit::Times, &beside);
    }
    bare.end()?;
    if let (Some(first), Some(last)) = (medians.first(), medians.last()) {
        report.at_most("store/push, longest log against empty", last / first, 1.2, Unit::Times);
    }
    Ok(())
}

/// `store/ingest/…`: verified runs into the log, against `SQLite`, the bare disk and the bare cipher on the same bytes.
///
/// # Errors
/// The disk's, `SQLite`'s.
pub fn ingest(scratch: &Path, report: &mut Report) -> Result<(), Failure> {
    let ports = os_ports();
    let mut wal = open(&ports, &scratch.join("log"))?;
    let mut plain = Sqlite::open(&scratch.join("plain.db"), None)?;
    let mut sealed = Sqlite::open(&scratch.join("sealed.db"), Some(Cipher::new()))?;
    let raw = File::create(scratch.join("raw"))?;
    let (mut source, mut end, mut raw_end) = (Source::new(), Position::start(&stream().origin), 0);
    let mut all: [Vec<Duration>; 5] = Default::default();
    let mut len = 0;
    for round in 0..=ROUND_COUNT {
        let events = source.take(RUN_LEN)?;
        let run = link(end, &events);
        let bytes = events.concat();
        let first = end.seq + 1;
        let mut times = [Duration::ZERO; 5];
        for step in 0..5 {
            let which = (round + step) % 5; // each goes first as often as any other: who comes after a flush finds a busy disk
            let (mut scratch, mut cipher_alone) = (if which == 4 { bytes.clone() } else { Vec::new() }, Cipher::new());
            times[which] = timed(|| match which {
                0 => {
                    wal.append(&stream(), &run, Hlc(0), &[])?;
                    Ok(wal.sync()?)
                }
                1 => plain.append(first, &events),
                2 => sealed.append(first, &events),
                3 => {
                    for piece in bytes.chunks(WRITE_LEN) {
                        raw.write_all_at(piece, raw_end)?;
                        raw_end += piece.len() as u64;
                    }
                    Ok(raw.sync_data()?)
                }
                _ => {
                    scratch.chunks_mut(16 * 1024).for_each(|frame| cipher_alone.seal(frame));
                    Ok(())
                }
            })?;
        }
        end = run.end();
        if round > 0 {
            len += bytes.len(); // the first round warms everything up
            all.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        }
    }
    let [ours, plain, sealed, disk, aead] = all.map(|times| {
        let mut times = times;
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    });
    let mb = len as f64 / ROUND_COUNT as f64 / 1e6;
    let rate = |seconds: f64| format!("{} events/s, {:.0} MB/s", thousands((RUN_LEN as f64 / seconds) as u64), mb / seconds);
    report.note(format!("store/ingest, median of {ROUND_COUNT} runs of {RUN_LEN}"), rate(ours));
    report.note("store/bare write in 128 KiB + fdatasync of the same bytes", rate(disk));
    report.note("store/cipher alone on the same bytes", rate(aead));
    report.at_least("store/ingest against SQLite FULL, rows sealed as ours are", sealed / ours, 1.6, Unit::Times);
    report.at_least("store/ingest against SQLite FULL, rows in clear", plain / ours, 1.6, Unit::Times);
    report.at_least("store/ingest against min(disk, cipher)", disk.max(aead) / ours, 0.7, Unit::Times);
    report.note("store/ingest against disk and cipher one after the other", format!("{:.2} ×", (disk + aead) / ours));
    let log: u64 = fs::read_dir(scratch.join("log"))?.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum();
    report.note("store/ingest, bytes stored per event", format!("{:.1} B of {:.1} B", log as f64 / source.seq as f64, mb * 1e6 / RUN_LEN as f64));
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed())
}

/// The yardstick: what one would otherwise take.
struct Sqlite {
    database: rusqlite::Connection,
    cipher: Option<Cipher>,
}

impl Sqlite {
    fn open(path: &Path, cipher: Option<Cipher>) -> Result<Self, Failure> {
        let database = rusqlite::Connection::open(path)?;
        database.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-1024;
             CREATE TABLE event (stream INTEGER, seq INTEGER, body BLOB, PRIMARY KEY (stream, seq)) WITHOUT ROWID;",
        )?;
        Ok(Self { database, cipher })
    }

    fn append(&mut self, first: u64, events: &[Vec<u8>]) -> Result<(), Failure> {
        let batch = self.database.transaction()?;
        {
            let mut insert = batch.prepare_cached("INSERT INTO event VALUES (1, ?, ?)")?;
            for (seq, event) in (first..).zip(events) {
                match &mut self.cipher {
                    None => insert.execute((seq.cast_signed(), event.as_slice()))?,
                    Some(cipher) => {
                        let mut body = event.clone();
                        cipher.seal(&mut body);
                        insert.execute((seq.cast_signed(), body.as_slice()))?
                    }
                };
            }
        }
        Ok(batch.commit()?)
    }
}
