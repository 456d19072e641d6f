//! `zbundle held`: bundles that came too early.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, escape, summary, units};

const EXAMPLES: &str = "\
Examples:
  zbundle held list
  zbundle held drop                              let them go; each is taken again when it comes again";

/// Bundles that came too early and wait for what is missing
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What waits (the default)
    List,
    /// Let them go; each is taken again when it comes again
    Drop,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        if let Some(Action::Drop) = self.action {
            let count = context.node()?.drop_held()?;
            context.console.line(&format!("{} dropped", units::count(count, "bundle")))?;
            return Ok(Finished::done(summary("held").with("dropped", count)));
        }
        let held = context.view()?.held()?;
        for (path, bytes) in &held {
            let path = escape::plain_path(path);
            context.console.result(&format!("{path}  {}", units::size(*bytes)), || Object::of("held").with("file", &path).with("bytes", bytes))?;
        }
        if held.is_empty() {
            context.console.note("nothing is held");
        }
        let bytes: u64 = held.iter().map(|(_, bytes)| bytes).sum();
        Ok(Finished::done(summary("held").with("bundles", held.len()).with("bytes", bytes)))
    }
}
