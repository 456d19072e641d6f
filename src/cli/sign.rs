//! `zbundle sign`: take a node into the domain.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, escape, files, members, summary};
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
        let request = files::read_small(&context.ports, &self.request)?;
        let mut node = context.node()?;
        let policy = members::policy(&node, &self.policy)?;
        let rekey = self.rekey.as_deref().map(|name| members::node_id(&node, name)).transpose()?;
        let signed = node.sign(&request, policy, rekey, self.i_am_sure)?;
        let out = self.out.unwrap_or_else(|| self.request.with_extension("join"));
        files::write_new(&context.ports, &out, &signed.join)?;
        let (path, words) = (escape::plain_path(&out), signed.words.to_string());
        let console = &mut context.console;
        let did = if signed.again { "was signed before" } else { "signed" };
        console.line(&format!("{}  @{}  {did}", console.strong(signed.name.as_str()), signed.node))?;
        console.line(&format!("  wrote  {path}"))?;
        console.line(&format!("  words  {}", console.strong(&words)))?;
        console.note("the same six words must show where it joins");
        let signed = |object: Object| {
            let object = object.with("path", &path).with("name", signed.name.as_str()).with("node", signed.node.to_string());
            object.with("words", &words).with("again", signed.again)
        };
        console.object(signed(Object::of("join")))?;
        Ok(Finished::done(signed(summary("sign"))))
    }
}
