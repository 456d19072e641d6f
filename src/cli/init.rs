//! `zbundle init`: make a node.

use super::halt::Halt;
use super::{Context, Finished};

const EXAMPLES: &str = "\
Examples:
  zbundle init lunana-bhu                        a clinic; it joins a domain later, and may push at once
  zbundle init punakha-hub --authority           the first node of a new domain: it signs the others in
  zbundle --data-dir /var/lib/zbundle init hub   somewhere else

The keys are unlocked by a key file that is made beside the data directory. Keep a copy of both, apart from each other.";

/// Make a node: its keys, its log, its name
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Its name: 1 to 32 of a-z, 0-9 and -
    name: String,
    /// Make it the authority of a new domain
    #[arg(long)]
    authority: bool,
    /// Lock the keys with a passphrase instead of a key file (asked in the terminal, or --passphrase-file)
    #[arg(long)]
    passphrase: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
