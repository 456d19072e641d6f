//! `zbundle sign`: take a node into the domain.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, ask, escape, files, members, summary};
use crate::keys::Policy;
use crate::node::Node;
use crate::node::members::{Asked, Signed};
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use std::path::{Path, PathBuf};

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
    /// What the node may see: own; own,hub; all (makes it a hub); or names of nodes, comma between [default: own]
    #[arg(long, value_name = "POLICY", conflicts_with = "rekey")]
    policy: Option<String>,
    /// The member whose keys are replaced by those of the request
    #[arg(long, value_name = "NODE")]
    rekey: Option<String>,
    /// Where to write the join file [default: the request's name, ending in .join]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Give the member's place also to a request that comes under another name
    #[arg(long, requires = "rekey")]
    yes: bool,
    /// Sign although the roster may have lost its newest events
    #[arg(long)]
    i_am_sure: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let request = files::read_small(&context.ports, &self.request)?;
        let mut node = context.node()?;
        let asked = node.read_request(&request)?;
        let policy = self.policy(&node, &asked)?;
        let rekey = self.rekey.as_deref().map(|name| members::node_id(&node, name)).transpose()?;
        if let Some(member) = rekey.filter(|member| asked.holder != Some(*member)) {
            self.agree(&node, &asked, &member)?;
        }
        let out = self.out.unwrap_or_else(|| self.request.with_extension("join"));
        if asked.holder.is_none() {
            files::try_new(&context.ports, &out)?; // before anything is signed
        }
        let signed = node.sign(&request, policy, rekey, self.i_am_sure)?;
        write(context, &out, &signed)?;
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

    /// What was asked for; of a member that is handed its join file once more what it has, and of a new one the least.
    fn policy(&self, node: &Node, asked: &Asked) -> Result<Policy, Halt> {
        match &self.policy {
            Some(text) => members::policy(node, text),
            None => Ok(asked.holder.and_then(|holder| node.roster().member(&holder)).map_or(Policy::Own, |member| member.policy.clone())),
        }
    }

    /// A place goes to another name only if somebody says so.
    fn agree(&self, node: &Node, asked: &Asked, member: &NodeId) -> Result<(), Halt> {
        let name = node.naming().node(member);
        if self.yes || name == asked.name.as_str() {
            return Ok(());
        }
        let question = format!("The request comes from {}. Shall it get the place of {name}, whose keys then stop counting?", asked.name);
        if ask::yes(&question, &format!("--yes to give the place of {name} to {}", asked.name))? {
            Ok(())
        } else {
            Err(Halt::new(Code::Z616, format!("{name} keeps its keys")))
        }
    }
}

/// Write the join file. Where that fails after all, the same command goes on from here.
fn write(context: &Context, out: &Path, signed: &Signed) -> Result<(), Halt> {
    files::write_new(&context.ports, out, &signed.join).map_err(|halt| match halt {
        Halt::Refused { code, why } if !signed.again => {
            Halt::new(code, format!("{why}; {} is signed, and `zbundle sign` of the same request makes its file again", signed.name))
        }
        halt => halt,
    })
}
