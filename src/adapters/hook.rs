//! Running a program that the operator named: no shell, nothing on its command line, a bounded wait.

use std::io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

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

/// A process of ours that can still run a program when we have given that up, and only that one: it was told which when it was started. It ends when it is
/// dropped here, or when we are killed: its input ends then.
pub struct Messenger {
    /// None while somebody talks with it.
    line: Option<Line>,
}

struct Line {
    to: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Messenger {
    /// Start it: our own program, with the words `tell PROGRAM`. No thread is: one that runs already keeps what its process gives up later.
    ///
    /// # Errors
    /// When no process can be started.
    pub fn start(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(["tell", "--"]).arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        Ok(Self { line: Some(Line { to, answers: BufReader::new(from).lines() }) })
    }

    /// Let the program be run with `lines` on its stdin; none of them is empty.
    ///
    /// # Errors
    /// Why it did not do its work.
    pub async fn tell(&mut self, lines: String) -> Result<(), String> {
        let gone = || "the process that runs it has gone".to_owned();
        let mut line = self.line.take().ok_or_else(gone)?;
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || {
            let said = line.tell(&lines);
            drop(tell.send((line, said))); // nobody waits any more: we are ending
        });
        let (line, said) = told.await.map_err(|_| gone())?;
        self.line = Some(line);
        said
    }
}

impl Line {
    fn tell(&mut self, lines: &str) -> Result<(), String> {
        let to = &mut self.to;
        let sent = to.write_all(lines.as_bytes()).and_then(|()| to.write_all(b"\n")).and_then(|()| to.flush());
        let answer = sent.and_then(|()| self.answers.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())));
        let answer = answer.map_err(|error| format!("the process that runs it has gone: {error}"))?;
        answer.strip_prefix("failed ").map_or(Ok(()), |why| Err(why.to_owned()))
    }
}
