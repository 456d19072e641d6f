//! Running other programs: what is run is said first, what goes wrong is said in a sentence.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Why a step failed, for a person.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `12.3 s`.
pub fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// The command as one would type it.
pub fn spelled(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let mut words = vec![program.rsplit('/').next().unwrap_or(&program).to_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Run it with our own stdout and stderr.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    println!("$ {}", spelled(command));
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(Failure(format!("`{}` ended with {status}", spelled(command)))) }
}

/// Run it, show its stdout as it comes, and hand every line to `see` as well.
pub fn run_seeing(command: &mut Command, mut see: impl FnMut(&str)) -> Result<(), Failure> {
    println!("$ {}", spelled(command));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| not_started(command, &error))?;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(|error| Failure(format!("the output of `{}` cannot be read: {error}", spelled(command))))?
            > 0
        {
            let text = String::from_utf8_lossy(&line);
            print!("{text}");
            see(text.trim_end());
            line.clear();
        }
    }
    let status = child.wait().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(Failure(format!("`{}` ended with {status}", spelled(command)))) }
}

/// Whether it starts and succeeds; says nothing.
pub fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn not_started(command: &Command, error: &std::io::Error) -> Failure {
    Failure(format!("`{}` cannot be started: {error}", spelled(command)))
}

/// On a throw-away machine (`CI=true`, root, apt): install packages by name. Elsewhere the person is told what to type.
pub fn need_packages(packages: &[&str], why: &str) -> Result<(), Failure> {
    let list = packages.join(" ");
    let may = std::env::var_os("CI").is_some() && is_root() && works(Command::new("apt-get").arg("--version"));
    if !may {
        return Err(Failure(format!("{why}: run `apt-get install {list}` (or your system's packages of those names)")));
    }
    println!("{why}: installing {list}");
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get").args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
