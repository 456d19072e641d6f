//! `zbundle tell`: what `serve --alarm` starts before it gives up running programs. It reads nothing but what its parent says, and runs one program.

use super::halt::Halt;
use super::status::run_hook;
use super::{Context, Finished, OsInput, summary};
use bundle_format::error::Code;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle serve --http --alarm /usr/local/bin/tell-me     starts `zbundle tell` itself

Lines come on stdin, an empty one ends a message; the program is run with the message on its stdin, and `done` or `failed WHY` is said on stdout.";

/// Run one program for a process that may not
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which
    program: PathBuf,
}

impl Args {
    /// Run it, until stdin ends.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let failed = |error: std::io::Error| Halt::new(Code::Z201, format!("standard input: {error}"));
        let mut message = String::new();
        for line in BufReader::new(OsInput::stdin().map_err(failed)?).lines() {
            let line = line.map_err(failed)?;
            if !line.is_empty() {
                message.push_str(&line);
                message.push('\n');
                continue;
            }
            let said = match run_hook(&self.program, &message) {
                Ok(()) => "done".to_owned(),
                Err(why) => format!("failed {}", why.replace('\n', " ")),
            };
            message.clear();
            context.console.line(&said)?;
            context.console.flush()?;
        }
        Ok(Finished::done(summary("tell")))
    }
}
