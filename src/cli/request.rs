//! `zbundle request`: ask to be taken into a domain.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, escape, files, summary};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle request                                writes NAME.request here
  zbundle request --out /media/stick/lunana.request
  zbundle request --new-keys --out F             the same node with new keys (rotation, or after a loss)

The answer is a join file. `zbundle sign` there and `zbundle join` here show six words; they must be the same.";

/// Write a request to join a domain, for the authority to sign
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Ask for new keys for this node instead of joining
    #[arg(long)]
    new_keys: bool,
    /// Where to write it [default: NAME.request]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut node = context.node()?;
        let request = node.request(self.new_keys)?;
        let out = self.out.unwrap_or_else(|| PathBuf::from(format!("{}.request", node.name())));
        files::write_new(&context.ports, &out, &request)?;
        let path = escape::plain_path(&out);
        context.console.result(&format!("wrote {path}"), || Object::of("request").with("path", &path).with("name", node.name().as_str()))?;
        context.console.note("next: carry it to the authority; there: `zbundle sign`; then here: `zbundle join`");
        Ok(Finished::done(summary("request").with("path", path)))
    }
}
