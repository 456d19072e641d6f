//! `zbundle held`: bundles that came too early.

use super::halt::Halt;
use super::ingest::missing_text;
use super::object::Object;
use super::{Context, Finished, escape, summary, units};
use crate::node::naming::Naming;
use crate::node::waiting::Parked;

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
        let view = context.view()?;
        let (held, naming) = (view.held()?, view.naming());
        for parked in &held {
            tell(context, &naming, parked)?;
        }
        if held.is_empty() {
            context.console.note("nothing is held");
        }
        let bytes: u64 = held.iter().map(|parked| parked.len).sum();
        Ok(Finished::done(summary("held").with("bundles", held.len()).with("bytes", bytes)))
    }
}

/// One bundle: whose it is, and what it waits for.
fn tell(context: &mut Context, naming: &Naming<'_>, parked: &Parked) -> Result<(), Halt> {
    let Parked { path, len, sender, missing } = parked;
    let sender = sender.map(|node| naming.node(&node));
    let missing: Vec<_> = missing.iter().map(|gap| missing_text(naming, gap)).collect();
    let why = if missing.is_empty() { "who made it is not known here".to_owned() } else { format!("waits for {}", missing.join(", ")) };
    let from = sender.as_ref().map(|sender| format!("  from {sender}")).unwrap_or_default();
    context.console.result(&format!("{}{from}  {}  {why}", escape::plain_path(path), units::size(*len)), || {
        let object = Object::of("held").with("file", path.to_string_lossy()).with("bytes", len).with("sender", &sender);
        object.with("why", &why).with("missing", &missing)
    })
}
