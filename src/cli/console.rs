//! The person, or the script, in front of us. stdout carries the result and nothing else; stderr carries progress, notes and refusals.
//!
//! With `--json` stdout is one object per line and the last is always the summary. Nothing in them moves the cursor of a terminal.

use super::escape::{JsonOut, plain};
use super::halt::{self, Halt};
use super::object::Object;
use bundle_format::error::{Code, Exit};
use clap::ValueEnum;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal that wants it.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where words go.
pub struct Console {
    stdout: BufWriter<Stdout>,
    json: bool,
    quiet: bool,
    colors: Colors,
}

/// Which of our streams take colours.
struct Colors {
    stdout: bool,
    stderr: bool,
}

impl Console {
    /// Speak as the global options say.
    pub fn new(json: bool, quiet: bool, color: Color) -> Self {
        let unwanted =
            std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !unwanted,
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let colors = Colors { stdout: !json && wanted(stdout.is_terminal()), stderr: wanted(stderr.is_terminal()) };
        Self { stdout: BufWriter::with_capacity(32 * 1024, stdout), json, quiet, colors }
    }

    /// Whether results are JSON lines.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Whether progress is drawn: somebody watches, and did not ask for quiet.
    pub fn draws_progress(&self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// Whether progress is told at all.
    pub fn tells_progress(&self) -> bool {
        !self.quiet
    }

    /// One result: a line of text, or the object in its place with `--json`.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn result(&mut self, text: &str, object: impl FnOnce() -> Object) -> Result<(), Halt> {
        if self.json { self.object(object()) } else { self.line(text) }
    }

    /// A line of the result for people; nothing with `--json`.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn line(&mut self, text: &str) -> Result<(), Halt> {
        if self.json {
            return Ok(());
        }
        self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.write_all(b"\n")).map_err(|error| Halt::output(&error))
    }

    /// An object of the result; nothing without `--json`.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn object(&mut self, object: Object) -> Result<(), Halt> {
        if !self.json {
            return Ok(());
        }
        let mut json = JsonOut::new(&mut self.stdout);
        json.write_all(object.into_line().as_bytes()).and_then(|()| self.stdout.write_all(b"\n")).map_err(|error| Halt::output(&error))
    }

    /// stdout itself, for results that stream.
    pub fn stdout(&mut self) -> &mut impl Write {
        &mut self.stdout
    }

    /// Let go of what is buffered: acks must not wait in memory.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn flush(&mut self) -> Result<(), Halt> {
        self.stdout.flush().map_err(|error| Halt::output(&error))
    }

    /// Bold, if the result is shown on a terminal with colours.
    pub fn strong(&self, text: &str) -> String {
        if self.colors.stdout { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A word about what is going on, on stderr; not when quiet. It must be escaped already.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            self.remark(text);
        }
    }

    /// A word that matters even when quiet, on stderr, behind the results told so far. It must be escaped already.
    pub fn remark(&mut self, text: &str) {
        self.flush().unwrap_or(()); // told again when the next result is written
        say(text);
    }

    /// Something to look at that stops nothing: told even when quiet, and as an object with `--json`.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn warn(&mut self, code: Code, why: &str) -> Result<(), Halt> {
        let why_told = if why.is_empty() { String::new() } else { format!(": {}", plain(why)) };
        self.remark(&format!("{} {}{why_told}", self.paint("33", &format!("warning {code}:")), code.row().title));
        self.object(Object::of("warning").with("code", code.as_str()).with("title", code.row().title).with("why", why))
    }

    /// A refusal, on stderr in full and with `--json` as an object too.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn refuse(&mut self, code: Code, why: &str) -> Result<(), Halt> {
        let text = halt::to_text(code, why, |head| self.paint("1;31", head));
        self.remark(&text);
        self.object(halt::to_object(code, why))
    }

    /// The last word with `--json`.
    ///
    /// # Errors
    /// [`Halt`] when stdout is gone or full.
    pub fn summary(&mut self, summary: Object, exit: Exit) -> Result<(), Halt> {
        self.object(summary.with("exit", exit as u8))?;
        self.flush()
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colors.stderr { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A line to stderr. When even that is gone, the exit status still tells.
fn say(text: &str) {
    io::stderr().lock().write_all(format!("{text}\n").as_bytes()).unwrap_or(()); // one write, so that lines of two programs stay lines
}
