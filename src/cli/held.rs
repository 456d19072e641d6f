//! `zbundle held`: bundles that came too early.

use super::halt::Halt;
use super::{Context, Finished};

const EXAMPLES: &str = "\
Examples:
  zbundle held list                              what waits, and for what
  zbundle held drop NAME                         let one go; it is taken again when it comes again
  zbundle held drop --all";

/// Bundles that came too early and wait for what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What waits, and for what (the default)
    List,
    /// Let bundles go
    Drop {
        /// Which, as `zbundle held list` names them
        #[arg(required_unless_present = "all", value_name = "NAME")]
        names: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
