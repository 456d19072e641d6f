//! `http/…`: the door for applications. A push by HTTP beside a bare append in the same seconds, many who follow the stream, and the memory of all that.

use crate::Failure;
use crate::clinic;
use crate::machine;
use crate::measure::{Input, Times};
use crate::report::{Report, Unit, per_second, time};
use crate::walk::{Node, Zbundle};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Events held before anything is measured.
const HELD: usize = 200_000;
/// Pushes that are timed one by one; before each, a bare append: the disk has moods.
const PUSH_COUNT: usize = 500;
/// Who follows the stream at once.
const LISTENER_COUNT: usize = 50;
/// Events that each of them is told.
const TOLD_COUNT: usize = 500;
/// A hub's peak memory.
const RSS_MAX: f64 = 16e6;
/// Nothing takes longer.
const WAIT: Duration = Duration::from_mins(2);

/// A node that serves HTTP; it ends when dropped.
struct Door {
    child: Child,
    node: Node,
}

impl Door {
    fn open(node: Node) -> Result<Self, Failure> {
        let mut child = node.command(["serve", "--http"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("serve has no stdout")?).lines();
        let first = lines.next().ok_or("serve says nothing")??;
        thread::spawn(move || lines.for_each(drop));
        if first.contains("\"http\"") { Ok(Self { child, node }) } else { Err(format!("serve says {first}").into()) }
    }

    fn connect(&self) -> Result<Line, Failure> {
        line(&self.node.dir.join("http.sock"))
    }

    fn memory(&self, which: &str) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or("the kernel does not tell it")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1024.0)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM); // it may have ended
        let _ = self.child.wait();
    }
}

/// A connection that stays open.
pub type Line = BufReader<UnixStream>;

/// To the socket of a node.
///
/// # Errors
/// The system's.
pub fn line(socket: &Path) -> Result<Line, Failure> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(WAIT))?;
    Ok(BufReader::with_capacity(4096, stream))
}

/// One request; its status and body.
///
/// # Errors
/// When no answer comes.
pub fn ask(line: &mut Line, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(u16, Vec<u8>), Failure> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: zbundle\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    line.get_mut().write_all(&[head.as_bytes(), body].concat())?;
    let mut text = String::new();
    line.read_line(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| format!("no answer: {text:?}"))?;
    let (mut len, mut chunked) = (0, false);
    loop {
        text.clear();
        line.read_line(&mut text)?;
        match text.trim().to_lowercase().split_once(": ") {
            None => break,
            Some(("content-length", value)) => len = value.parse()?,
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
        }
    }
    let mut body = vec![0; len];
    line.read_exact(&mut body)?;
    while chunked {
        text.clear();
        line.read_line(&mut text)?;
        let mut piece = vec![0; usize::from_str_radix(text.trim(), 16)? + 2];
        line.read_exact(&mut piece)?;
        chunked = piece.len() > 2;
        body.extend_from_slice(&piece[..piece.len() - 2]);
    }
    Ok((status, body))
}

/// One payload, or lines of them.
///
/// # Errors
/// When it is not answered with 201.
pub fn push(line: &mut Line, kind: &str, body: &[u8]) -> Result<(), Failure> {
    match ask(line, "POST", "/v1/events?type=vitals&key=Patient%2F1", kind, body)? {
        (201, _) => Ok(()),
        (status, said) => Err(format!("{status} {}", String::from_utf8_lossy(&said)).into()),
    }
}

/// `http/…`.
///
/// # Errors
/// When a command or a request fails.
pub fn http(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("http")?;
    let node = place.authority("punakha-hub")?;
    node.push(Box::new(clinic::events(1, HELD)))?;
    node.run(["project"], Input::Nothing)?;
    let door = Door::open(node)?;
    let mut line = door.connect()?;
    let mut bare = machine::Appender::begin(&place.scratch)?;
    let events: Vec<String> = clinic::events(2, PUSH_COUNT).collect();
    let (mut raw, mut posts) = (Times::default(), Times::default());
    for event in &events {
        raw.push(bare.append()?);
        let begun = Instant::now();
        push(&mut line, "application/json", event.as_bytes())?;
        posts.push(begun.elapsed());
    }
    bare.end()?;
    let [p50, p99, raw50, raw99] = [posts.percentile(50), posts.percentile(99), raw.percentile(50), raw.percentile(99)];
    let beside = format!("p50 {}, p99 {}; bare append p50 {}, p99 {}", time(p50), time(p99), time(raw50), time(raw99));
    report.note("http/POST, 1 at a time", format!("{beside}; p50 {:.2} × bare", p50.as_secs_f64() / raw50.as_secs_f64()));
    streams(&door, &mut line, report)?;
    for path in ["/ui", "/metrics", "/v1/status", "/v1/conflicts", "/v1/events?limit=1000"] {
        let begun = Instant::now();
        let (status, body) = ask(&mut line, "GET", path, "-", b"")?;
        report.note(format!("http/GET {path}"), format!("{status}, {} B in {}", body.len(), time(begun.elapsed())));
    }
    let beside = format!("{} events held, tables in step, {LISTENER_COUNT} streams read; {:.1} MB at the end", HELD, door.memory("VmRSS")? / 1e6);
    report.at_most_beside("http/peak memory", door.memory("VmHWM")?, RSS_MAX, Unit::Bytes, &beside);
    Ok(())
}

/// Many follow while events come, one a request: each of them is told each event once, in order. How long after its push began.
fn streams(door: &Door, line: &mut Line, report: &mut Report) -> Result<(), Failure> {
    let (_, page) = ask(line, "GET", "/v1/status", "-", b"")?;
    let held = serde_json::from_slice::<serde_json::Value>(&page)?["events"].as_u64().ok_or("status tells no events")?;
    let after = last_cursor(line, held)?;
    let mut listeners = Vec::new();
    for _ in 0..LISTENER_COUNT {
        let mut stream = door.connect()?;
        stream.get_mut().write_all(format!("GET /v1/stream?after={after} HTTP/1.1\r\nhost: zbundle\r\n\r\n").as_bytes())?;
        let mut text = String::new();
        while !text.starts_with(": ") {
            text.clear();
            if stream.read_line(&mut text)? == 0 {
                return Err("a stream ended before it began".into());
            }
        }
        listeners.push(thread::spawn(move || {
            let ids = stream.lines().map_while(Result::ok).filter(|line| line.starts_with("id: "));
            ids.take(TOLD_COUNT).map(|id| (id, Instant::now())).collect::<Vec<_>>()
        }));
    }
    let (begun, mut pushed) = (Instant::now(), Vec::new());
    for event in clinic::events(3, TOLD_COUNT) {
        pushed.push(Instant::now());
        push(line, "application/json", event.as_bytes())?;
    }
    let (mut lag, mut first) = (Times::default(), None::<Vec<String>>);
    for listener in listeners {
        let told = listener.join().map_err(|_| "a listener failed")?;
        told.iter().zip(&pushed).for_each(|((_, at), since)| lag.push(at.saturating_duration_since(*since)));
        let ids: Vec<String> = told.into_iter().map(|(id, _)| id).collect();
        let once: BTreeSet<&String> = ids.iter().collect();
        if once.len() != TOLD_COUNT || first.get_or_insert_with(|| ids.clone()) != &ids {
            return Err(format!("a listener was told {} events, {} different ones, of {TOLD_COUNT}", ids.len(), once.len()).into());
        }
    }
    let rate = per_second((LISTENER_COUNT * TOLD_COUNT) as u64, begun.elapsed());
    let lags = format!("p50 {}, p99 {}", time(lag.percentile(50)), time(lag.percentile(99)));
    report.note(
        format!("http/stream, {LISTENER_COUNT} listeners"),
        format!("{TOLD_COUNT} events, each told once to each; {lags} after its push began; {rate} told"),
    );
    Ok(())
}

/// The end of the feed.
fn last_cursor(line: &mut Line, held: u64) -> Result<String, Failure> {
    let mut after = "0".to_owned();
    for _ in 0..=held {
        let (_, page) = ask(line, "GET", &format!("/v1/events?limit=1000&after={after}"), "-", b"")?;
        let page: serde_json::Value = serde_json::from_slice(&page)?;
        page["next"].as_str().ok_or("a page has no next")?.clone_into(&mut after);
        if page["more"] == false {
            return Ok(after);
        }
    }
    Err("the feed has no end".into())
}
