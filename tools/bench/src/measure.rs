//! One child process, and what it cost.
//!
//! Peak memory is the kernel's `ru_maxrss` of the only child of a process that does nothing else: the bench starts itself as
//! `bench measure OUT PROGRAM ARGS…`, and that one waits. A child's figure is never below that parent's own 2 to 3 MB, because Linux
//! counts the moment before exec; every command of zbundle is above it.

use crate::Failure;
use nix::sys::resource::{UsageWho, getrusage};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many children were measured: several may be at once.
static MEASURED: AtomicU64 = AtomicU64::new(0);

/// What goes into a child's stdin.
pub enum Input {
    /// Nothing.
    Nothing,
    /// A file.
    File(PathBuf),
    /// Lines made while it runs: a log of any length without a file.
    Lines(Box<dyn Iterator<Item = String>>),
}

/// What a child cost, and how it ended.
#[derive(Clone, Debug)]
pub struct Cost {
    /// From start to end, by the clock on the wall.
    pub wall: Duration,
    /// Processor time, own and the system's for it.
    pub cpu: Duration,
    /// Peak resident memory, bytes.
    pub rss: u64,
    /// Exit status.
    pub exit: i32,
    /// Lines on stdout.
    pub line_count: u64,
    /// The last of them: the summary, under `--json`.
    pub last_line: String,
}

impl Cost {
    /// A number of the summary line.
    pub fn number(&self, name: &str) -> Option<u64> {
        serde_json::from_str::<serde_json::Value>(&self.last_line).ok()?.get(name)?.as_u64()
    }
}

/// Run `program` and measure it. Its stdout is read and dropped but for the last line; its stderr is ours.
///
/// # Errors
/// When it cannot be started. How it ended is in [`Cost::exit`].
pub fn measure(program: &Path, args: &[OsString], input: Input, scratch: &Path) -> Result<Cost, Failure> {
    let out = scratch.join(format!("cost-{}-{}", std::process::id(), MEASURED.fetch_add(1, Ordering::Relaxed)));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("measure").arg(&out).arg(program).args(args).stdout(Stdio::piped());
    command.stdin(match &input {
        Input::Nothing => Stdio::null(),
        Input::File(path) => Stdio::from(File::open(path)?),
        Input::Lines(_) => Stdio::piped(),
    });
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take().ok_or("the child has no stdout")?;
    let reader = thread::spawn(move || last_line(stdout));
    if let (Input::Lines(lines), Some(stdin)) = (input, stdin) {
        feed(lines, stdin)?;
    }
    let status = child.wait()?;
    let (line_count, last_line) = reader.join().map_err(|_| "the child's output cannot be read")??;
    if !status.success() {
        return Err(format!("{} cannot be started", program.display()).into());
    }
    let text = std::fs::read_to_string(&out)?;
    std::fs::remove_file(&out)?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next().ok_or("a cost is missing")?.map_err(|_| "a cost is no number");
    let (wall, cpu, rss, exit) = (Duration::from_nanos(next()?), Duration::from_nanos(next()?), next()?, next()?);
    Ok(Cost { wall, cpu, rss, exit: i32::try_from(exit)?, line_count, last_line })
}

/// A child that ends early closes the pipe; how it ended says why.
fn feed(lines: impl Iterator<Item = String>, stdin: impl io::Write) -> io::Result<()> {
    let mut stdin = BufWriter::with_capacity(1 << 16, stdin);
    for line in lines {
        match writeln!(stdin, "{line}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    stdin.flush().or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
}

fn last_line(stdout: impl io::Read) -> io::Result<(u64, String)> {
    let mut reader = BufReader::with_capacity(1 << 16, stdout);
    let (mut count, mut line, mut last) = (0, Vec::new(), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        count += 1;
        std::mem::swap(&mut line, &mut last);
        line.clear();
    }
    Ok((count, String::from_utf8_lossy(&last).trim_end().to_owned()))
}

/// The measuring parent: run one command with our own stdin and stdout, write `wall cpu rss exit` to `out`.
///
/// # Errors
/// When the command cannot be started or the file not be written.
pub fn parent(out: &Path, program: &Path, args: &[OsString]) -> Result<(), Failure> {
    let begun = Instant::now();
    let status = Command::new(program).args(args).status()?;
    let wall = begun.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = |spent: nix::sys::time::TimeVal| Duration::new(spent.tv_sec().unsigned_abs(), u32::try_from(spent.tv_usec()).unwrap_or(0) * 1000);
    let cpu = time(usage.user_time()) + time(usage.system_time());
    let rss = usage.max_rss().unsigned_abs() * 1024;
    std::fs::write(out, format!("{} {} {rss} {}\n", wall.as_nanos(), cpu.as_nanos(), status.code().unwrap_or(255)))?;
    Ok(())
}

/// Times taken one by one.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// All of another's.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// The time that `percent` of them do not exceed; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50), Duration::ZERO);
        (1..=100).rev().for_each(|ms| times.push(Duration::from_millis(ms)));
        assert_eq!([0, 50, 99, 100].map(|percent| times.percentile(percent).as_millis()), [1, 51, 100, 100]);
    }

    #[test]
    fn the_last_line_is_kept_and_all_are_counted() {
        assert_eq!(last_line("a\nb\n{\"new\":3}\n".as_bytes()).ok(), Some((3, "{\"new\":3}".to_owned())));
        assert_eq!(last_line("".as_bytes()).ok(), Some((0, String::new())));
    }
}
