//! Link: two network namespaces, the kernel's own TCP in both, and between them a forwarder that is as bad as a 2G link.
//!
//! In: [`Options`] and one or two commands. Out: their exit status and a [`Report`] of every packet. Invariants: nothing outside the
//! two namespaces is touched; they are gone when [`run`] returns, however it returns; only process groups started here are ended.
//! Needs root, /dev/net/tun and iproute2; says which of them is missing.

mod forward;
mod pipe;
mod segments;
mod space;

pub use pipe::Tally;
pub use space::ADDRESSES;

use crate::units::{Cut, Pair};
use forward::{forward, seconds};
use pipe::{Pipe, Shape};
use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};
use serde::Serialize;
use space::Spaces;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep_until, timeout};

/// What an ended command may still do after TERM, before KILL.
const AFTER_TERM: Duration = Duration::from_secs(1);
/// How long KILL is waited for.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// The link and how long it is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bits per second, A→B and B→A; 0 is no limit.
    pub rate: Pair<f64>,
    /// Seconds one way.
    pub delay: Pair<f64>,
    /// Seconds more or less.
    pub jitter: f64,
    /// Share of packets lost.
    pub loss: Pair<f64>,
    /// Bytes each direction queues before it drops.
    pub queue_len: usize,
    /// When the link is dark.
    pub cuts: Vec<Cut>,
    /// Of both devices.
    pub mtu: u16,
    /// Bytes below IP that each packet costs of the rate.
    pub overhead_len: usize,
    /// Set inside both namespaces.
    pub sysctls: Vec<(String, String)>,
    /// Equal seeds give equal loss and jitter.
    pub seed: u64,
    /// Longest the whole may take from A's start, seconds.
    pub timeout: f64,
    /// From B's start to A's, seconds.
    pub b_wait: f64,
    /// How long B may go on after A, seconds.
    pub linger: f64,
    /// By so much the forwarder's priority is raised.
    pub nice: i32,
    /// One line for each packet goes here.
    pub trace: Option<PathBuf>,
}

impl Default for Options {
    /// A 2G link: 23 kbit/s, 600 ms there and back, 32 KiB of queue.
    fn default() -> Self {
        Self {
            rate: Pair::same(23e3),
            delay: Pair::same(0.3),
            jitter: 0.0,
            loss: Pair::same(0.0),
            queue_len: 32768,
            cuts: Vec::new(),
            mtu: 1440,
            overhead_len: 0,
            sysctls: Vec::new(),
            seed: 1,
            timeout: 600.0,
            b_wait: 0.3,
            linger: 3.0,
            nice: 5,
            trace: None,
        }
    }
}

/// Why there was no run.
#[derive(Debug)]
pub enum Failure {
    /// The machine or the user lacks something: what, and how to get it. Exit status 77.
    Missing(String),
    /// Something broke.
    Broken(String),
}

/// What happened, as the JSON report tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bits per second, A→B and B→A.
    pub rate_bps: [f64; 2],
    /// Seconds one way, A→B and B→A.
    pub delay_s: [f64; 2],
    /// Seconds more or less.
    pub jitter_s: f64,
    /// Shares lost, A→B and B→A.
    pub loss: [f64; 2],
    /// Of both devices.
    pub mtu: u16,
    /// Begin, length, and distance of each cut, seconds.
    pub cut: Vec<[f64; 3]>,
    /// As given.
    pub seed: u64,
    /// A's exit status; negative: the signal that ended it; none: it was ended from here, or there was no A.
    pub a_rc: Option<i32>,
    /// B's, likewise.
    pub b_rc: Option<i32>,
    /// When A ended, seconds after its start.
    pub a_s: Option<f64>,
    /// When B ended, seconds after A's start.
    pub b_s: Option<f64>,
    /// The timeout ended it.
    pub timed_out: bool,
    /// SIGINT, SIGTERM or SIGHUP ended it.
    pub interrupted: bool,
    /// From A to B.
    pub a_to_b: Tally,
    /// From B to A.
    pub b_to_a: Tally,
}

impl Report {
    /// A's exit status, or B's where there is no A; 124 after a timeout, 130 after a signal, 1 for a command that a signal ended.
    pub fn exit_status(&self, has_a: bool) -> u8 {
        let ended = if has_a { self.a_rc } else { self.b_rc };
        match (self.interrupted, self.timed_out, ended) {
            (true, ..) => 130,
            (_, true, _) => 124,
            (.., Some(status)) => u8::try_from(status).unwrap_or(1),
            (.., None) => 1,
        }
    }
}

/// Run `a` and `b` at the two ends; either may be empty.
///
/// # Errors
/// [`Failure::Missing`] where this machine cannot, [`Failure::Broken`] for all else. The namespaces are gone then, too.
pub fn run(options: &Options, a: &[String], b: &[String]) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken("runtime"))?;
    // From here on signals end the run in order, so that what is made is also taken away.
    let signals = runtime.block_on(async { [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal) });
    let [interrupt, terminate, hangup] = signals;
    let mut interrupt = interrupt.map_err(broken("signals"))?;
    let mut terminate = terminate.map_err(broken("signals"))?;
    let mut hangup = hangup.map_err(broken("signals"))?;
    let interrupted = async {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
    };

    let trace = options.trace.as_ref().map(|path| File::create(path).map_err(broken("trace"))).transpose()?.map(BufWriter::new);
    let (spaces, devices) = Spaces::new(options.mtu, &options.sysctls)?;
    let pipes = [0, 1].map(|at| Pipe::new(options.shape(at), options.seed.wrapping_mul(2).wrapping_add(at as u64)));
    let zero = Instant::now() + if b.is_empty() { Duration::ZERO } else { Duration::from_secs_f64(options.b_wait) };
    let stop = AtomicBool::new(false);
    let (ends, pipes) = thread::scope(|scope| {
        let forwarder = scope.spawn(|| {
            // This thread's own priority: its timing is the link's timing. Not allowed everywhere, and not needed.
            let _ = setpriority_process(None, -options.nice);
            forward(&devices, pipes, zero, trace, &stop)
        });
        let ends = runtime.block_on(supervise(options, &spaces, [a, b], zero, interrupted));
        stop.store(true, Ordering::Relaxed);
        (ends, forwarder.join())
    });
    let pipes = pipes.map_err(|_| Failure::Broken("the forwarder died".to_owned()))?.map_err(broken("device"))?;
    Ok(report(options, &ends?, &pipes))
}

impl Options {
    fn shape(&self, at: usize) -> Shape {
        let of = |pair: Pair<f64>| if at == 0 { pair.0 } else { pair.1 };
        Shape {
            rate: of(self.rate),
            delay: of(self.delay),
            jitter: self.jitter,
            loss: of(self.loss),
            queue_len_max: self.queue_len,
            overhead_len: self.overhead_len,
            cuts: self.cuts.clone(),
        }
    }
}

/// One of the two commands.
#[derive(Default)]
struct End {
    child: Option<Child>,
    ended: Option<(ExitStatus, f64)>,
}

/// How it all ended.
struct Ends {
    a: End,
    b: End,
    timed_out: bool,
    interrupted: bool,
}

async fn supervise(
    options: &Options,
    spaces: &Spaces,
    [a, b]: [&[String]; 2],
    zero: Instant,
    interrupted: impl Future<Output = ()>,
) -> Result<Ends, Failure> {
    let mut ends = Ends { a: End::default(), b: End::default(), timed_out: false, interrupted: false };
    let done = play(options, spaces, [a, b], zero, &mut ends.a, &mut ends.b);
    let time_up = sleep_until((zero + Duration::from_secs_f64(options.timeout)).into());
    let outcome = tokio::select! {
        done = done => done,
        () = time_up => { ends.timed_out = true; Ok(()) }
        () = interrupted => { ends.interrupted = true; Ok(()) }
    };
    tokio::join!(ends.a.finish(), ends.b.finish());
    outcome.map(|()| ends)
}

/// B, then A; the end is A's, and B may then go on for a while.
async fn play(options: &Options, spaces: &Spaces, [a, b]: [&[String]; 2], zero: Instant, a_end: &mut End, b_end: &mut End) -> Result<(), Failure> {
    b_end.start(spaces, 1, b)?;
    sleep_until(zero.into()).await;
    a_end.start(spaces, 0, a)?;
    if a.is_empty() {
        b_end.wait(zero).await;
        return Ok(());
    }
    tokio::select! {
        () = a_end.wait(zero) => {}
        () = b_end.wait(zero) => a_end.wait(zero).await,
    }
    let _ = timeout(Duration::from_secs_f64(options.linger), b_end.wait(zero)).await; // if it is late, `finish` ends it
    Ok(())
}

impl End {
    fn start(&mut self, spaces: &Spaces, at: usize, words: &[String]) -> Result<(), Failure> {
        if words.is_empty() {
            return Ok(());
        }
        let mut command = Command::from(spaces.command(at, words));
        if at == 1 {
            command.stdin(Stdio::null()); // what is typed is for A
        }
        self.child = Some(command.process_group(0).spawn().map_err(broken("ip netns exec"))?);
        Ok(())
    }

    /// Until the command has ended; at once if there is none.
    async fn wait(&mut self, zero: Instant) {
        if let (Some(child), None) = (&mut self.child, self.ended)
            && let Ok(status) = child.wait().await
        {
            self.ended = Some((status, seconds(zero)));
        }
    }

    /// End the command's process group if the command is still there.
    async fn finish(&mut self) {
        let Some(child) = self.child.as_mut().filter(|_| self.ended.is_none()) else { return };
        for (sent, patience) in [(Signal::TERM, AFTER_TERM), (Signal::KILL, AFTER_KILL)] {
            let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else { return };
            let _ = kill_process_group(group, sent); // gone in this moment: so much the better
            if timeout(patience, child.wait()).await.is_ok() {
                return;
            }
        }
    }
}

fn report(options: &Options, ends: &Ends, pipes: &[Pipe; 2]) -> Report {
    use std::os::unix::process::ExitStatusExt as _;
    let status = |end: &End| end.ended.and_then(|(status, _)| status.code().or_else(|| status.signal().map(|signal| -signal)));
    let ended_s = |end: &End| end.ended.map(|(_, at)| round(at));
    let [a_to_b, b_to_a] = pipes.each_ref().map(|pipe| {
        let tally = pipe.tally().clone();
        Tally { first_s: tally.first_s.map(round), last_delivery_s: tally.last_delivery_s.map(round), ..tally }
    });
    Report {
        rate_bps: options.rate.into(),
        delay_s: options.delay.into(),
        jitter_s: options.jitter,
        loss: options.loss.into(),
        mtu: options.mtu,
        cut: options.cuts.iter().map(|cut| [cut.at, cut.lasts, cut.every]).collect(),
        seed: options.seed,
        a_rc: status(&ends.a),
        b_rc: status(&ends.b),
        a_s: ended_s(&ends.a),
        b_s: ended_s(&ends.b),
        timed_out: ends.timed_out,
        interrupted: ends.interrupted,
        a_to_b,
        b_to_a,
    }
}

/// To milliseconds.
fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

fn broken(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::Broken(format!("{what}: {error}"))
}
