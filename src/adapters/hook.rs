//! Running a program that the operator named: no shell, nothing on its command line, a bounded wait.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How often it is asked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Run `program` with `input` on its stdin; whether it ended well. One that takes longer than `wait` is killed. What it prints goes to our stderr.
///
/// # Errors
/// When it cannot be run, or took too long.
pub fn run_program(program: &Path, input: &[u8], wait: Duration) -> io::Result<bool> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(io::stderr()).spawn()?;
    feed(&mut child, input);
    ended_well(&mut child, wait)
}

/// Run `program` with `input` on its stdin: what it wrote to its stdout, at most `len_max` bytes. What it says on stderr goes to ours.
///
/// # Errors
/// When it cannot be run, took too long and was killed, ended badly, or wrote more.
pub fn ask_program(program: &Path, input: &[u8], wait: Duration, len_max: u64) -> io::Result<Vec<u8>> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    feed(&mut child, input);
    let (told, answer) = mpsc::channel();
    let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(len_max + 1).read_to_end(&mut bytes);
        told.send(read.map(|_| bytes)).unwrap_or(()); // nobody waits any more
    });
    if !ended_well(&mut child, wait)? {
        return Err(io::Error::other("it ended with an error"));
    }
    // What it left running may keep its stdout open: that is not waited for.
    let answer = answer.recv_timeout(wait).map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "it ended and its output did not"))??;
    if answer.len() as u64 > len_max { Err(io::Error::other("it answered more than it may")) } else { Ok(answer) }
}

fn feed(child: &mut Child, input: &[u8]) {
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        std::thread::spawn(move || stdin.write_all(&input).unwrap_or(())); // it may end without reading: its own affair
    }
}

fn ended_well(child: &mut Child, wait: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if begun.elapsed() > wait {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long and was ended"));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
