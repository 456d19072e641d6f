//! `netlab selftest`: what the emulated link does, measured from its two ends, beside what follows from its figures.

use netlab::link::{self, ADDRESSES, Failure, Options, Report};
use netlab::units::{Cut, Pair};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const PORT: u16 = 7000;
/// Datagrams of the round trip, and bytes in each.
const PINGS: usize = 3;
const PING_LEN: usize = 32;
/// IPv4 and UDP header.
const UDP_HEADERS_LEN: f64 = 28.0;
/// A SYN, and its answer: IPv4 header, TCP header, 20 bytes of options.
const SYN_LEN: f64 = 60.0;
/// Later than computed a loaded machine may be, milliseconds.
const LATE_MS: f64 = 60.0;
/// Longest a probe waits for the other end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Measure all; exit 1 if a figure is out of its bounds.
pub fn run() -> Result<ExitCode, Failure> {
    let mut checks = Checks::default();
    round_trip(&mut checks)?;
    let plain = bulk(&mut checks, "2G", &Options::default(), 10_000)?;
    checks.exact("2G, payload", plain.report.a_to_b.tcp_payload_bytes, 10_000);
    checks.exact("2G, sent again", plain.report.a_to_b.retrans_segments, 0);
    let fast = Options { rate: Pair::same(2e6), delay: Pair::same(0.02), ..Options::default() };
    bulk(&mut checks, "2 Mbit/s", &fast, 1_000_000)?;
    cut(&mut checks, &plain)?;
    loss(&mut checks)?;
    Ok(checks.end())
}

fn round_trip(checks: &mut Checks) -> Result<(), Failure> {
    let options = Options::default();
    let (figures, _) = measure(&options, &["ping"], &["echo"])?;
    let wanted = 1000.0 * (options.delay.0 + options.delay.1) + 2.0 * wire_ms(UDP_HEADERS_LEN + PING_LEN as f64, options.rate.0);
    for figure in figures {
        checks.near("2G, round trip, ms", figure, wanted, LATE_MS);
    }
    Ok(())
}

/// What one transfer showed.
struct Transfer {
    done_s: f64,
    report: Report,
}

/// Connect, and send `len` bytes from A to B.
fn bulk(checks: &mut Checks, name: &str, options: &Options, len: usize) -> Result<Transfer, Failure> {
    let (figures, report) = measure(options, &["send", &len.to_string()], &["take"])?;
    let &[connect_ms, done_s] = figures.as_slice() else { return Err(Failure::Broken("the sending probe failed".to_owned())) };
    let wanted = 1000.0 * (options.delay.0 + options.delay.1) + 2.0 * wire_ms(SYN_LEN, options.rate.0);
    checks.near(&format!("{name}, connecting, ms"), connect_ms, wanted, LATE_MS);
    checks.more(&format!("{name}, payload"), report.a_to_b.tcp_payload_bytes, len as u64);
    // From the first byte's arrival on the sender is kept busy, but for slow start's first round trips.
    let span = report.a_to_b.last_delivery_s.unwrap_or_default() - report.a_to_b.first_s.unwrap_or_default();
    let rate = 8.0 * report.a_to_b.delivered_ip_bytes as f64 / (span - connect_ms / 1000.0 - options.delay.0);
    checks.within(&format!("{name}, bulk, bit/s"), rate, options.rate.0, 0.8, 1.05);
    Ok(Transfer { done_s, report })
}

/// The same transfer with a cut in its midst.
fn cut(checks: &mut Checks, plain: &Transfer) -> Result<(), Failure> {
    let cut = Cut { at: 2.0, lasts: 3.0, every: 0.0 };
    let (figures, report) = measure(&Options { cuts: vec![cut], ..Options::default() }, &["send", "10000"], &["take"])?;
    let done_s = figures.last().copied().unwrap_or_default();
    // TCP waits on after the cut until its timer, which has doubled meanwhile, tries again.
    checks.within("2G cut for 3 s, done, s", done_s, plain.done_s + cut.lasts, 0.9, 2.0);
    checks.more("2G cut for 3 s, packets cut", report.a_to_b.cut + report.b_to_a.cut, 1);
    checks.more("2G cut for 3 s, sent again", report.a_to_b.retrans_segments, 1);
    Ok(())
}

fn loss(checks: &mut Checks) -> Result<(), Failure> {
    let options = Options { rate: Pair::same(1e6), delay: Pair::same(0.02), jitter: 0.01, loss: Pair::same(0.05), ..Options::default() };
    let (_, report) = measure(&options, &["send", "200000"], &["take"])?;
    let lost = report.a_to_b.lost as f64 / report.a_to_b.packets as f64;
    checks.within("1 Mbit/s with 5 % loss, lost, %", 100.0 * lost, 5.0, 0.3, 2.0);
    checks.more("1 Mbit/s with 5 % loss, sent again", report.a_to_b.retrans_segments, 1);
    Ok(())
}

/// Milliseconds that a packet takes at a rate.
fn wire_ms(len: f64, rate: f64) -> f64 {
    1000.0 * 8.0 * len / rate
}

/// Run two probes; the figures A wrote, and the link's report.
fn measure(options: &Options, a: &[&str], b: &[&str]) -> Result<(Vec<f64>, Report), Failure> {
    let broken = |error: io::Error| Failure::Broken(error.to_string());
    let own = std::env::current_exe().map_err(broken)?.to_string_lossy().into_owned();
    let out = std::env::temp_dir().join(format!("netlab-selftest-{}", std::process::id())).to_string_lossy().into_owned();
    let words = |probe: &[&str]| [own.as_str(), "probe", out.as_str()].iter().chain(probe).map(ToString::to_string).collect::<Vec<_>>();
    let report = link::run(&Options { timeout: 60.0, ..options.clone() }, &words(a), &words(b));
    let text = fs::read_to_string(&out);
    let _ = fs::remove_file(&out); // absent where the probe failed
    let report = report?;
    if (report.a_rc, report.b_rc) != (Some(0), Some(0)) {
        return Err(Failure::Broken(format!("the probes {a:?} and {b:?} ended with {:?} and {:?}", report.a_rc, report.b_rc)));
    }
    let figures = text.map_err(broken)?.split_whitespace().map(str::parse).collect::<Result<_, _>>();
    Ok((figures.map_err(|error| Failure::Broken(format!("a figure is no number: {error}")))?, report))
}

/// One end's part: the file for its figures, what to do, and how much.
pub fn probe(words: &[String]) -> io::Result<()> {
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [out, "ping"] => ping(Path::new(out)),
        [_, "echo"] => echo(),
        [out, "send", len] => send(Path::new(out), len.parse().map_err(io::Error::other)?),
        [_, "take"] => take(),
        _ => Err(io::Error::other(format!("{words:?} is no probe"))),
    }
}

fn ping(out: &Path) -> io::Result<()> {
    let socket = UdpSocket::bind((ADDRESSES[0], 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut figures = Vec::new();
    for _ in 0..PINGS {
        let begun = Instant::now();
        socket.send_to(&[0; PING_LEN], (ADDRESSES[1], PORT))?;
        socket.recv(&mut [0; PING_LEN])?;
        figures.push((begun.elapsed().as_secs_f64() * 1000.0).to_string());
    }
    fs::write(out, figures.join(" "))
}

fn echo() -> io::Result<()> {
    let socket = UdpSocket::bind((ADDRESSES[1], PORT))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..PINGS {
        let (_, from) = socket.recv_from(&mut [0; PING_LEN])?;
        socket.send_to(&[0; PING_LEN], from)?;
    }
    Ok(())
}

fn send(out: &Path, len: usize) -> io::Result<()> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect((ADDRESSES[1], PORT))?;
    let connect_ms = begun.elapsed().as_secs_f64() * 1000.0;
    stream.write_all(&vec![0; len])?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new())?;
    fs::write(out, format!("{connect_ms} {}", begun.elapsed().as_secs_f64()))
}

fn take() -> io::Result<()> {
    let (mut stream, _) = TcpListener::bind((ADDRESSES[1], PORT))?.accept()?;
    io::copy(&mut stream, &mut io::sink())?;
    stream.write_all(b"ok")
}

/// Figures beside what they should be.
#[derive(Default)]
struct Checks {
    count: usize,
    failed_count: usize,
}

impl Checks {
    fn near(&mut self, name: &str, measured: f64, wanted: f64, late: f64) {
        let bounds = format!("computed {wanted:.1}, at most {late:.0} later");
        self.line(name, &format!("{measured:.1}"), &bounds, wanted - 1.0 <= measured && measured <= wanted + late);
    }

    fn within(&mut self, name: &str, measured: f64, wanted: f64, low: f64, high: f64) {
        let bounds = format!("computed {wanted:.1}, times {low} to {high}");
        self.line(name, &format!("{measured:.1}"), &bounds, wanted * low <= measured && measured <= wanted * high);
    }

    fn exact(&mut self, name: &str, measured: u64, wanted: u64) {
        self.line(name, &measured.to_string(), &format!("computed {wanted}"), measured == wanted);
    }

    fn more(&mut self, name: &str, measured: u64, least: u64) {
        self.line(name, &measured.to_string(), &format!("at least {least}"), measured >= least);
    }

    fn line(&mut self, name: &str, measured: &str, bounds: &str, holds: bool) {
        self.count += 1;
        self.failed_count += usize::from(!holds);
        println!("{name:<36} {measured:>12}   {bounds:<36} {}", if holds { "ok" } else { "OFF" });
    }

    fn end(&self) -> ExitCode {
        println!("{} passed, {} failed", self.count - self.failed_count, self.failed_count);
        if self.failed_count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
