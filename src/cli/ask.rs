//! Questions to a person. Nothing is ever asked when stdin is no terminal: a script gets Z108 and the flag that answers it.

use super::halt::Halt;
use bundle_format::error::Code;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

/// Ask for a typed `yes`. `flag` is what a script would have given instead.
///
/// # Errors
/// Z108 when nobody is there to answer.
pub fn yes(question: &str, flag: &str) -> Result<bool, Halt> {
    Ok(line(&format!("{question} Type yes to go on: "), flag)?.trim().eq_ignore_ascii_case("yes"))
}

fn line(prompt: &str, flag: &str) -> Result<String, Halt> {
    if !io::stdin().is_terminal() {
        return Err(Halt::new(Code::Z108, format!("give {flag}")));
    }
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    write!(stderr, "{prompt}")
        .and_then(|()| stderr.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|_| Halt::new(Code::Z108, format!("give {flag}")))?;
    Ok(answer)
}
