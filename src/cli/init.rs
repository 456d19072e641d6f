//! `zbundle init`: make a node.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, escape, summary};
use crate::node::layout::Layout;
use crate::node::{Node, NodeError, Opening, require_node};
use bundle_format::error::Code;
use bundle_format::ids::Name;

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
        let name = Name::new(&self.name).map_err(|error| Halt::new(Code::Z107, format!("{:?}: {error}", self.name)))?;
        context.refuse_homeless()?;
        let data_dir = context.data_dir();
        refuse_second(context, &Layout::new(&data_dir))?;
        let disk = &*context.ports.disk;
        disk.create_folder(&data_dir).map_err(|error| Halt::from(NodeError::writing(&data_dir, error)))?;
        let secret = context.new_secret(self.passphrase)?;
        let opening = Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: context.globals.lock_wait };
        let node = Node::init(&context.ports, &opening, &name, self.authority)?;
        let (id, domain) = (node.keyring().node().to_string(), node.keyring().pin().map(|pin| pin.domain().to_string()));
        let by_key_file = context.globals.passphrase_file.is_none() && !self.passphrase;
        let key_file = by_key_file.then(|| escape::plain_path(&context.key_file()));
        let console = &mut context.console;
        console.line(&format!("{}  @{id}", console.strong(name.as_str())))?;
        console.line(&format!("  data      {}", escape::plain_path(&data_dir)))?;
        match &key_file {
            Some(path) => console.line(&format!("  key file  {path}   (keep a copy apart from the data; without it nothing can be read)"))?,
            None => console.line("  locked by the passphrase; without it nothing can be read")?,
        }
        match &domain {
            Some(domain) => console.line(&format!("  authority of the new domain {}", &domain[..16]))?,
            None => console.note("next: `zbundle request` asks to be taken into a domain; events may be pushed at once"),
        }
        let summary = summary("init").with("name", name.as_str()).with("node", id).with_some("domain", domain);
        console.object(Object::of("node").with("name", name.as_str()).with("data_dir", data_dir.to_string_lossy()).with("key_file", &key_file))?;
        Ok(Finished::done(summary.with("data_dir", data_dir.to_string_lossy()).with("key_file", key_file)))
    }
}

/// Before a key file is made: there must be no node here.
fn refuse_second(context: &Context, layout: &Layout) -> Result<(), Halt> {
    match require_node(&context.ports, layout) {
        Ok(()) => Err(Halt::new(Code::Z103, layout.root().to_string_lossy())),
        Err(error) if error.code() == Code::Z102 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
