//! Questions to a person. Nothing is ever asked when stdin is no terminal: a script gets Z108 and the flag that answers it.

use super::halt::Halt;
use bundle_format::error::Code;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use zeroize::Zeroizing;

/// Ask for a typed `yes`. `flag` is what a script would have given instead.
///
/// # Errors
/// Z108 when nobody is there to answer.
pub fn yes(question: &str, flag: &str) -> Result<bool, Halt> {
    let nobody = || Halt::new(Code::Z108, format!("give {flag}"));
    if !io::stdin().is_terminal() {
        return Err(nobody());
    }
    let mut answer = String::new();
    prompt(&format!("{question} Type yes to go on: ")).and_then(|()| io::stdin().lock().read_line(&mut answer)).map_err(|_| nobody())?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}

/// Ask for a secret; `None` when nobody is there to answer.
pub fn hidden(question: &str, read: fn() -> io::Result<Zeroizing<String>>) -> Option<Result<Zeroizing<String>, Halt>> {
    let asked = io::stdin().is_terminal().then(|| prompt(question).and_then(|()| read()))?;
    Some(asked.map_err(|error| Halt::new(Code::Z108, error.to_string())))
}

fn prompt(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{text}")?;
    stderr.flush()
}
