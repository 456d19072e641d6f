//! `zbundle error`: what a code means.

use super::halt::{self, Halt};
use super::object::Object;
use super::{Context, Finished, summary};
use bundle_format::error::{CODES, Code, Row};

const EXAMPLES: &str = "\
Examples:
  zbundle error Z214
  zbundle error                                  all codes";

/// Explain a code: what happened, whether the data is safe, what to do
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The code, such as Z214; without it all are listed
    code: Option<String>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let console = &mut context.console;
        let Some(name) = self.code else {
            for row in CODES {
                console.result(&format!("{}  {}", row.code, row.title), || object(row))?;
            }
            return Ok(Finished::done(summary("error").with("codes", CODES.len())));
        };
        let unknown = || Halt::new(Code::Z101, format!("{name:?} is no code of zbundle; `zbundle error` lists them"));
        let row = Code::from_name(&name.to_ascii_uppercase()).ok_or_else(unknown)?.row();
        console.result(
            &format!(
                "{} {}\n  Your data : {}\n  Do this   : {}\n  Exit      : {}",
                console.strong(row.code.as_str()),
                row.title,
                row.safe,
                row.hint,
                row.exit as u8
            ),
            || object(row),
        )?;
        Ok(Finished::done(summary("error").with("codes", 1)))
    }
}

fn object(row: &Row) -> Object {
    halt::tell_row(Object::of("code"), row)
}
