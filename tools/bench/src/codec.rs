//! Codec 3 beside what else there is, on the same bytes after the same history: bytes per event, and speed on one core.
//!
//! This is the one bench that measures our code in this process: a codec is a function. What cannot take a history (xz, `PPMd`) gets it in front of the
//! events, and the length of the history alone is taken off again.

use crate::Failure;
use crate::benches::Corpus;
use crate::report::Report;
use bundle_format::compress::{Compressor, Level};
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::limits::MIX_RAW_LEN_MAX;
use bundle_format::mix::{SLOTS_LOG_MAX, decode, encode};
use std::fs;
use std::process::Command;
use std::time::Instant;

/// Events of a delta, and how many such deltas are looked at, spread over the second half of the corpus …
const DELTAS: [(usize, usize); 3] = [(1, 24), (20, 6), (1000, 1)];
/// … or in the middle of all of it, each so many behind the one before: where the study that codec 3 comes from looked.
const CLOSE: usize = 97;
const ALL: usize = 12_000;
/// History known to both sides.
const HISTORY_LEN: usize = 64 * 1024;
/// Bytes of one range on a link: a second of 2G.
const RANGE_LEN: usize = 2875;
/// Raw bytes of a range and of what is learned before it, at most; what is learned where it does not go on from the range before; the first range.
const WORK_LEN: usize = 128 * 1024;
const FRESH_LEN: usize = 32 * 1024;
const FIRST_RAW_LEN: usize = 8 * 1024;
/// Bytes for the speed.
const TIMED_LEN: usize = 256 * 1024;
const TIMED_ROUNDS: usize = 9;

/// `codec/…`.
///
/// # Errors
/// When a codec does not give back what it got, or the disk fails. Programs that are not there are left out.
pub fn codec(scratch: &std::path::Path, report: &mut Report, corpora: &[Corpus]) -> Result<(), Failure> {
    fs::create_dir_all(scratch)?;
    for corpus in corpora {
        if corpus.file.as_ref().is_some_and(|file| !file.is_file()) {
            report.note(format!("codec/{}", corpus.name), format!("not measured: {} is not there (`--data`)", corpus.name));
            continue;
        }
        let payloads: Vec<Vec<u8>> = corpus.lines(5000)?.map(String::into_bytes).collect();
        let stored = stored(&payloads, 840_000)?;
        let bare = self::stored(&payloads, 0)?;
        let all: Vec<Vec<u8>> = corpus.lines(ALL)?.map(String::into_bytes).collect();
        let all = self::stored(&all, 0)?;
        for (kind, events, spread) in [("payloads", &bare, true), ("payloads, close together", &all, false), ("as stored", &stored, true)] {
            for (count, deltas) in DELTAS {
                let middle = events.len() / 2;
                let apart = if spread { (middle - count) / deltas } else { CLOSE };
                let starts = (0..deltas).map(|nth| middle + nth * apart);
                let name = format!("codec/{}/{count}, {kind}", corpus.name);
                report.note(name, row(scratch, events, count, starts)?);
            }
        }
        report.note(format!("codec/{}/speed of codec 3", corpus.name), speed(&stored[stored.len() / 3..].concat())?);
    }
    Ok(())
}

/// Events as a log holds them, one to some minutes apart; or all at the same time: then the payloads are nearly all that there is to be told. (Codec 3 knows
/// where it is by the frame of an event: payloads without one are nothing that it is ever given.)
fn stored(payloads: &[Vec<u8>], apart_ms: u64) -> Result<Vec<Vec<u8>>, Failure> {
    let mut now_ms = 1_790_000_000_000_u64;
    let mut luck = 7_u64;
    let mut events = Vec::new();
    for payload in payloads {
        luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now_ms += if apart_ms > 0 { 60_000 + (luck >> 33) % apart_ms } else { 0 };
        let event = Event { hlc: Hlc(now_ms << 16), kind: "visit", payload, ext: Ext::default() };
        events.push(event.to_bytes()?);
    }
    Ok(events)
}

fn row(scratch: &std::path::Path, events: &[Vec<u8>], count: usize, starts: impl ExactSizeIterator<Item = usize>) -> Result<String, Failure> {
    let (mut mixed, mut whole, mut zstd, mut more) = (0, 0, 0, [Some(0), Some(0)]);
    let mut compressor = Compressor::new()?;
    let deltas = starts.len();
    for first in starts {
        let (history, delta) = (behind(events, first, HISTORY_LEN).concat(), events[first..first + count].concat());
        mixed += in_ranges(events, first, count)?;
        whole += in_one(events, first, count)?;
        zstd += if delta.len() > 128 * 1024 {
            compressor.compress(&delta, Level::LARGE)?.len().min(Compressor::compress_primed(&delta, &history, Level::PRIMED)?.len())
        } else {
            Compressor::compress_primed(&delta, &history, Level::PRIMED)?.len()
        };
        for (sum, length) in more.iter_mut().zip([xz, ppmd]) {
            let both = length(scratch, &[&history[..], &delta].concat());
            *sum = sum.zip(both).zip(length(scratch, &history)).map(|((sum, both), history)| sum + both.saturating_sub(history));
        }
    }
    let each = |bytes: usize| bytes as f64 / (deltas * count) as f64;
    let told = |bytes: Option<usize>| bytes.map_or("not there".to_owned(), |bytes| format!("{:.1}", each(bytes)));
    let ranges = if count > 100 { format!(" ({:.1} in ranges of a second of 2G)", each(mixed)) } else { String::new() };
    Ok(format!("codec 3 {:.1} B{ranges}, zstd-19 {:.1}, xz {}, PPMd {} (raw {:.0})", each(whole), each(zstd), told(more[0]), told(more[1]), {
        events.iter().map(Vec::len).sum::<usize>() as f64 / events.len() as f64
    }))
}

/// The last events before `first` that are no longer than `len` together. Whole ones, as a range names them: codec 3 reads from the first byte on where in an
/// event it stands, and from the middle of one it would not find into the next.
fn behind(events: &[Vec<u8>], first: usize, len: usize) -> &[Vec<u8>] {
    &events[first - fitting(events[..first].iter().rev(), len)..first]
}

/// How many of these events fit into `len` bytes.
fn fitting<'a>(events: impl Iterator<Item = &'a Vec<u8>>, len: usize) -> usize {
    let mut sum = 0;
    let fits = |event: &&Vec<u8>| {
        sum += event.len();
        sum <= len
    };
    events.take_while(fits).count()
}

/// In ranges of about [`RANGE_LEN`], each going on from what the one before has taught until that is too much; as a link does it.
fn in_ranges(events: &[Vec<u8>], first: usize, count: usize) -> Result<usize, Failure> {
    let (mut at, end, mut len) = (first, first + count, 0);
    let (mut raw_len, mut learned) = (FIRST_RAW_LEN, None);
    while at < end {
        let raw = events[at..at + fitting(events[at..end].iter(), raw_len).max(1)].to_vec();
        let known = learned.map(|start: usize| events[start..at].concat()).filter(|known| known.len() + raw.concat().len() <= WORK_LEN);
        let prefix = known.unwrap_or_else(|| {
            let fresh = behind(events, at, FRESH_LEN);
            learned = Some(at - fresh.len());
            fresh.concat()
        });
        at += raw.len();
        let raw = raw.concat();
        let coded = coded(&prefix, &raw)?;
        len += coded;
        raw_len = raw.len() / coded.max(1) * RANGE_LEN;
    }
    Ok(len)
}

/// In one range, or as few as hold so much.
fn in_one(events: &[Vec<u8>], first: usize, count: usize) -> Result<usize, Failure> {
    let (mut at, end, mut len) = (first, first + count, 0);
    while at < end {
        let raw = &events[at..at + fitting(events[at..end].iter(), MIX_RAW_LEN_MAX)];
        len += coded(&behind(events, at, HISTORY_LEN).concat(), &raw.concat())?;
        at += raw.len();
    }
    Ok(len)
}

/// How many bytes codec 3 makes of `raw`, which come back.
fn coded(prefix: &[u8], raw: &[u8]) -> Result<usize, Failure> {
    let data = encode(prefix, raw, SLOTS_LOG_MAX)?;
    if decode(prefix, &data, raw.len())? == raw { Ok(data.len()) } else { Err("codec 3 does not give back what it got".into()) }
}

fn xz(scratch: &std::path::Path, bytes: &[u8]) -> Option<usize> {
    let file = scratch.join("codec.bin");
    fs::write(&file, bytes).ok()?;
    let output = Command::new("xz").args(["--format=raw", "--lzma2=preset=9e", "--stdout"]).arg(&file).output().ok()?;
    output.status.success().then_some(output.stdout.len())
}

fn ppmd(scratch: &std::path::Path, bytes: &[u8]) -> Option<usize> {
    let (file, archive) = (scratch.join("codec.bin"), scratch.join("codec.7z"));
    fs::write(&file, bytes).ok()?;
    let _ = fs::remove_file(&archive);
    let pack = |program| Command::new(program).args(["a", "-m0=PPMd:o=6:mem=16m"]).args([&archive, &file]).output().ok();
    let output = ["7z", "7zz"].into_iter().find_map(pack)?; // its package has had two names
    output.status.success().then(|| fs::metadata(&archive).ok().and_then(|about| usize::try_from(about.len()).ok()))?
}

/// Raw bytes a second, without a history, with what a fresh model costs; which is told by itself too. Others may have the machine: the middle of some
/// rounds, and the slowest.
fn speed(events: &[u8]) -> Result<String, Failure> {
    let mut raw = events.to_vec();
    raw.truncate(TIMED_LEN.min(MIX_RAW_LEN_MAX));
    let rate = |began: Instant| raw.len() as f64 / began.elapsed().as_secs_f64() / 1e3;
    let (mut there, mut back) = (Vec::new(), Vec::new());
    for _ in 0..TIMED_ROUNDS {
        let began = Instant::now();
        let data = encode(&[], &raw, SLOTS_LOG_MAX)?;
        there.push(rate(began));
        let began = Instant::now();
        decode(&[], &data, raw.len())?;
        back.push(rate(began));
    }
    let began = Instant::now();
    encode(&[], &[], SLOTS_LOG_MAX)?;
    let fresh_ms = began.elapsed().as_secs_f64() * 1e3;
    let told = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        format!("{:.0} KB/s (slowest {:.0})", rates[rates.len() / 2], rates[0])
    };
    Ok(format!("{} there, {} back, on one core, of it {fresh_ms:.1} ms for a fresh model", told(&mut there), told(&mut back)))
}
