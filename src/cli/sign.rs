//! `zbundle sign`: take a node into the domain.

use super::halt::Halt;
use super::{Context, Finished};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle sign lunana.request --out lunana.join
  zbundle sign laya.request --policy all         a hub: it sees and carries everything
  zbundle sign gasa.request --rekey gasa-bhu     the same node with new keys; the old ones stop counting

Compare the six words on both screens before the join file travels.";

/// At the authority: sign a request, and write the join file that goes back
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The request
    #[arg(value_name = "REQUEST")]
    request: PathBuf,
    /// What the node may see: own; own,hub; all (makes it a hub); or names of nodes, comma between
    #[arg(long, value_name = "POLICY", default_value = "own", conflicts_with = "rekey")]
    policy: String,
    /// The member whose keys are replaced by those of the request
    #[arg(long, value_name = "NODE")]
    rekey: Option<String>,
    /// Where to write the join file [default: the request's name, ending in .join]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sign although the roster may have lost its newest events
    #[arg(long)]
    i_am_sure: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let _ = (self, context);
        Err(Halt::new(bundle_format::error::Code::Z100, "not wired"))
    }
}
