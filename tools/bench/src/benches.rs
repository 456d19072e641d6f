//! The benches. Each takes an empty folder, says what it found, and judges it by the budget it has.

use crate::Failure;
use crate::clinic;
use crate::machine;
use crate::measure::{Cost, Input, Times};
use crate::report::{Report, Unit, per_second, thousands, time};
use crate::store;
use crate::walk::{Node, Zbundle, len_below};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Peak memory of any command.
const RSS_MAX: f64 = 10e6;
/// Peak memory at the largest log against the smallest.
const RSS_GROWTH_MAX: f64 = 1.3;
/// A file with one event.
const FILE_LEN_MAX: f64 = 740.0;
/// A file with 5 000.
const FILE_LEN_PER_EVENT_MAX: f64 = 66.0;
/// Any command that only opens the node, after an unclean stop.
const OPEN_MS_MAX: f64 = 50.0;
/// Acknowledged pushes that are timed one by one; before each, a bare append and a bare pipe: the disk has moods.
const PUSH_COUNT: u32 = 500;
/// Rounds in which the bytes that reach the device are counted, and pushes of each.
const PUSH_ROUND_COUNT: usize = 40;
const PUSH_ROUND_LEN: usize = 20;
/// An acknowledgement that takes longer is not coming.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Events to measure with.
#[derive(Clone)]
pub struct Corpus {
    /// For the table.
    pub name: String,
    /// NDJSON; none for our own generator.
    pub file: Option<PathBuf>,
    /// Whether the file-size budgets speak of it.
    pub judged: bool,
}

impl Corpus {
    /// Its first `count` events.
    ///
    /// # Errors
    /// The disk's.
    pub fn lines(&self, count: usize) -> Result<Box<dyn Iterator<Item = String>>, Failure> {
        match &self.file {
            None => Ok(Box::new(clinic::events(1, count))),
            Some(file) => Ok(Box::new(BufReader::new(fs::File::open(file)?).lines().map_while(Result::ok).take(count))),
        }
    }
}

/// What the machine allows; everything else is read beside it.
///
/// # Errors
/// The disk's.
pub fn machine(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("machine")?;
    report.note("machine/write, 1 MiB + fdatasync", format!("{:.0} MB/s", machine::write_rate(&place.scratch, 256 << 20)? / 1e6));
    report.note("machine/seal, 16 KiB frames, one core", format!("{:.0} MB/s", machine::seal_rate() / 1e6));
    Ok(())
}

/// `size/<corpus>/<events>`: sealed, self-contained, padded.
///
/// # Errors
/// When a command fails.
pub fn sizes(zbundle: &Zbundle, report: &mut Report, corpora: &[Corpus]) -> Result<(), Failure> {
    for corpus in corpora {
        if corpus.file.as_ref().is_some_and(|file| !file.is_file()) {
            report.note(format!("size/{}", corpus.name), format!("not measured: {} is not there (`--data`)", corpus.name));
            continue;
        }
        let place = zbundle.place("sizes")?;
        let hub = place.authority("punakha-hub")?;
        for (name, count) in [("lunana-bhu", 1), ("laya-bhu", 5000)] {
            let clinic = place.member(name, &hub)?;
            let pushed = clinic.push(corpus.lines(count)?)?;
            let (_, folder) = clinic.cut(&hub, &format!("out-{count}"))?;
            let len = len_below(&folder, ".zb")? as f64;
            let row = format!("size/{}/{}", corpus.name, thousands(count as u64));
            let acked = pushed.number("new").unwrap_or(count as u64).max(1) as f64;
            match (corpus.judged, count) {
                (true, 1) => report.at_most(row, len, FILE_LEN_MAX, Unit::Bytes),
                (true, _) => report.at_most(row, len / acked, FILE_LEN_PER_EVENT_MAX, Unit::BytesPerEvent),
                (false, _) => report.note(row, format!("{} B, {:.1} B/event", thousands(len as u64), len / acked)),
            }
        }
    }
    Ok(())
}

/// `push/…`: one durable event at a time, against the same on a bare file, with the pipe's own time taken off.
///
/// # Errors
/// When a command fails.
pub fn push(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("push")?;
    let node = place.authority("lunana-bhu")?;
    let mut pipe = Talk::begin(&mut Command::new("cat"))?;
    let mut talk = Talk::begin(&mut node.command(["push", "--ndjson", "-"]))?;
    let mut bare = machine::Appender::begin(&place.scratch)?;
    talk.times(50)?;
    let (mut raw, mut piped, mut times) = (Times::default(), Times::default(), Times::default());
    for _ in 0..PUSH_COUNT {
        raw.push(bare.append()?);
        times.extend(talk.times(1)?);
        piped.extend(pipe.times(1)?);
    }
    let mut written: Option<(f64, f64)> = None;
    for _ in 0..PUSH_ROUND_COUNT {
        let ours = written_by(&place.scratch, || talk.times(PUSH_ROUND_LEN).map(|_| ()))?;
        let raw = written_by(&place.scratch, || (0..PUSH_ROUND_LEN).try_for_each(|_| Ok(bare.append().map(|_| ())?)))?;
        let least = |(a, b): (f64, f64), (c, d): (f64, f64)| (a.min(c), b.min(d));
        written = ours.zip(raw).map(|round| written.map_or(round, |so_far| least(so_far, round)));
    }
    bare.end()?;
    talk.end()?;
    let (raw, pipe) = (raw.percentile(50), piped.percentile(50));
    let push = times.percentile(50).saturating_sub(pipe);
    let [p50, p99, bare] = [times.percentile(50), times.percentile(99), raw].map(time);
    report.note("push/1 at a time", format!("p50 {p50}, p99 {p99}, of it the pipe {}; bare append p50 {bare}", time(pipe)));
    report.at_most("push/p50 against bare append", push.as_secs_f64() / raw.as_secs_f64(), 1.2, Unit::Times);
    match written {
        Some((ours, raw)) => {
            let beside = format!("a bare append {} B", thousands(raw as u64));
            report.at_most_beside("push/bytes to the device, quietest round", ours, 1.3 * 4096.0, Unit::Bytes, &beside);
        }
        None => report.note("push/bytes to the device", "not measured: the kernel does not count for this disk"),
    }
    match syncs_per_push(&node) {
        Ok(syncs) => report.at_most("push/fdatasync and fsync", syncs, 1.02, Unit::PerPush),
        Err(error) => report.note("push/fdatasync and fsync", format!("not measured: {error}")),
    }
    Ok(())
}

/// What the disk is given for each append of a round. Others write too: the least of several rounds is nearest to the truth. (A process's own
/// `write_bytes` counts whole folios, 64 KiB, not what reaches the disk.)
fn written_by(scratch: &Path, round: impl FnOnce() -> Result<(), Failure>) -> Result<Option<f64>, Failure> {
    let before = machine::device_written(scratch);
    round()?;
    let after = machine::device_written(scratch);
    Ok(after.zip(before).map(|(after, before)| (after - before) as f64 / PUSH_ROUND_LEN as f64))
}

/// Flushes of 300 pushes less those of 100, so that starting and ending are not counted.
fn syncs_per_push(node: &Node) -> Result<f64, Failure> {
    let trace = node.dir.with_extension("strace");
    let count = |pushes: usize| -> Result<f64, Failure> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=fdatasync,fsync", "-o"]).arg(&trace);
        let inner = node.command(["push", "--ndjson", "-"]);
        command.arg(inner.get_program()).args(inner.get_args());
        let mut talk = Talk::begin(&mut command)?;
        talk.times(pushes)?;
        talk.end()?;
        Ok(fs::read_to_string(&trace)?.lines().filter(|line| line.contains("sync(")).count() as f64)
    };
    Ok((count(300)? - count(100)?) / 200.0)
}

/// `store/…`: the log alone.
///
/// # Errors
/// The disk's.
pub fn store(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    store::push(&zbundle.place("store-push")?.scratch, report)?;
    store::ingest(&zbundle.place("store-ingest")?.scratch, report)?;
    zbundle.clear()
}

/// `project/…`: tables made from the log.
///
/// # Errors
/// The disk's.
pub fn project(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    crate::project::project(&zbundle.place("project")?.scratch, report)?;
    zbundle.clear()
}

/// `walk/…/<events>`: a clinic with a log of this size, all of it carried to a hub; every command's time and peak memory.
///
/// # Errors
/// When a command fails.
pub fn walk(zbundle: &Zbundle, report: &mut Report, sizes: &[usize]) -> Result<(), Failure> {
    let mut peaks: Vec<(usize, Vec<(&'static str, u64)>)> = Vec::new();
    for &size in sizes {
        let place = zbundle.place("walk")?;
        let hub = place.authority("punakha-hub")?;
        let clinic = place.member("lunana-bhu", &hub)?;
        let mut costs: Vec<(&'static str, Cost)> = Vec::new();
        costs.push(("init", place.node("another").run(["init", "another"], Input::Nothing)?));
        costs.push(("push", clinic.push(clinic::events(1, size))?));
        report.note(format!("walk/stored/{size}"), format!("{:.1} B/event", len_below(&clinic.dir.join("log"), "")? as f64 / size as f64));
        costs.push(("push one", clinic.run(["push", "{\"bp\":\"120/80\"}"], Input::Nothing)?));
        let (cut, folder) = clinic.cut(&hub, "out")?;
        costs.push(("cut", cut));
        report.note(format!("walk/carried/{size}"), format!("{:.1} B/event", len_below(&folder, ".zb")? as f64 / size as f64));
        for command in ["verify", "inspect"] {
            costs.push((command, clinic.run([command.into(), folder.clone().into_os_string()], Input::Nothing)?));
        }
        costs.push(("ingest", hub.run(["ingest".into(), folder.clone().into_os_string()], Input::Nothing)?));
        costs.push(("ingest again", hub.run(["ingest".into(), folder.into_os_string()], Input::Nothing)?));
        let (receipt, back) = hub.cut(&clinic, "back")?;
        costs.push(("cut receipt", receipt));
        costs.push(("ingest receipt", clinic.run(["ingest".into(), back.into_os_string()], Input::Nothing)?));
        costs.push(("log json", hub.run(["log", "--format", "json"], Input::Nothing)?));
        costs.push(("log urgent", hub.run(["log", "--lane", "urgent"], Input::Nothing)?));
        costs.push(("fsck", hub.run(["fsck"], Input::Nothing)?));
        stop_uncleanly(&clinic)?;
        let opens = (0..5).map(|_| clinic.run(["status"], Input::Nothing)).collect::<Result<Vec<Cost>, Failure>>()?;
        let open = opens.into_iter().min_by_key(|cost| cost.wall).ok_or("no status ran")?;
        report.at_most(format!("open/after kill/{size}"), open.wall.as_secs_f64() * 1e3, OPEN_MS_MAX, Unit::Milliseconds);
        costs.push(("status", open));
        for (name, cost) in &costs {
            let took = if cost.wall > Duration::from_millis(200) { format!(" ({})", per_second(size as u64, cost.wall)) } else { String::new() };
            report.at_most_beside(format!("rss/{name}/{size}"), cost.rss as f64, RSS_MAX, Unit::Megabytes, &format!("{}{took}", time(cost.wall)));
        }
        peaks.push((size, costs.into_iter().map(|(name, cost)| (name, cost.rss)).collect()));
    }
    if let (Some((small, first)), Some((large, last))) = (peaks.first(), peaks.last())
        && small < large
    {
        for ((name, before), (_, after)) in first.iter().zip(last) {
            report.at_most(format!("growth/{name}/{small} to {large}"), *after as f64 / *before as f64, RSS_GROWTH_MAX, Unit::Times);
        }
    }
    Ok(())
}

/// A push that is killed between two acknowledgements.
fn stop_uncleanly(node: &Node) -> Result<(), Failure> {
    let mut talk = Talk::begin(&mut node.command(["push", "--ndjson", "-"]))?;
    talk.times(200)?;
    talk.child.kill()?;
    talk.child.wait()?;
    Ok(())
}

/// A conversation with a child that answers every line with a line.
struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    events: Box<dyn Iterator<Item = String>>,
}

impl Talk {
    fn begin(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("the child has no stdout")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break; // nobody listens any more
                }
            }
        });
        Ok(Self { stdin: child.stdin.take(), child, answers, events: Box::new(clinic::events(9, usize::MAX)) })
    }

    /// From the first byte of a line to its answer, `count` times.
    fn times(&mut self, count: usize) -> Result<Times, Failure> {
        let mut times = Times::default();
        let stdin = self.stdin.as_mut().ok_or("the child's stdin is closed")?;
        for event in self.events.by_ref().take(count) {
            let line = event + "\n";
            let begun = Instant::now();
            stdin.write_all(line.as_bytes())?;
            self.answers.recv_timeout(ACK_TIMEOUT).map_err(|_| "no acknowledgement came for a line that was sent alone")?;
            times.push(begun.elapsed());
        }
        Ok(times)
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.stdin = None;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the child ended with {status}").into()) }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stdin = None;
        // Already ended when all went well; otherwise it must not outlive the bench.
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!("bench: a child could not be waited for");
        }
    }
}
