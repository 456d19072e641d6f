//! `zbundle join`: enter the domain that signed our request.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle join lunana.join                       shows six words and asks whether both screens agree
  zbundle join lunana.join --words \"tiger river lamp seven cloud rice\"";

/// Join the domain whose authority signed our request
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The join file
    #[arg(value_name = "JOIN")]
    file: PathBuf,
    /// The six words that the authority's screen showed
    #[arg(long, conflicts_with = "yes")]
    words: Option<String>,
    /// Join without comparing the words
    #[arg(long)]
    yes: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
