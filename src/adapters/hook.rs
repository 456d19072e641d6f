//! Running a program that the operator named: no shell, nothing on its command line, a bounded wait.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often it is asked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Run `program` with `input` on its stdin; whether it ended well. One that takes longer than `wait` is killed. What it prints goes to our stderr.
///
/// # Errors
/// When it cannot be run, or took too long.
pub fn run_program(program: &Path, input: &[u8], wait: Duration) -> io::Result<bool> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(io::stderr()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        std::thread::spawn(move || stdin.write_all(&input).unwrap_or(())); // it may end without reading: its own affair
    }
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
