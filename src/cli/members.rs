//! `zbundle members`: who belongs to the domain.

use super::halt::Halt;
use super::{Context, Finished};

const EXAMPLES: &str = "\
Examples:
  zbundle members
  zbundle members --json";

/// List the members of the domain
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
