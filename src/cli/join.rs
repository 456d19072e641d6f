//! `zbundle join`: enter the domain that signed our request.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, ask, files, summary};
use bundle_format::error::Code;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle join lunana.join                       shows six words and asks whether both screens agree
  zbundle join lunana.join --words \"tiger river lamp seven cloud rice\"";

/// Join the domain whose authority signed our request
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The join file
    #[arg(value_name = "JOIN")]
    file: PathBuf,
    /// The six words that the authority's screen showed
    #[arg(long, conflicts_with = "yes")]
    words: Option<String>,
    /// Join without comparing the words
    #[arg(long)]
    yes: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let join = files::read_small(&context.ports, &self.file)?;
        let mut node = context.node()?;
        if let Some(authority) = node.join_again(&join)? {
            let (name, authority) = (node.name().to_string(), node.naming().node(&authority));
            let console = &mut context.console;
            console.result(&format!("{} had joined the domain of {authority} before", console.strong(&name)), || {
                Object::of("joined").with("name", &name).with("authority", &authority).with("again", true)
            })?;
            let node = node.keyring().node().to_string();
            return Ok(Finished::done(summary("join").with("name", &name).with("node", node).with("authority", authority).with("again", true)));
        }
        let offer = node.consider(&join)?;
        let words = offer.words.to_string();
        let agreed = match &self.words {
            Some(typed) => offer.words.are(typed),
            None if self.yes => true,
            None => {
                context.console.remark(&format!("six words: {words}"));
                ask::yes("Does the authority's screen show the same?", "--words or --yes")?
            }
        };
        if !agreed {
            return Err(Halt::new(Code::Z607, format!("this join file has: {words}")));
        }
        node.join(&offer)?;
        let (name, authority) = (node.name().to_string(), node.naming().node(&offer.authority));
        let console = &mut context.console;
        console.result(&format!("{} has joined the domain of {authority}", console.strong(&name)), || {
            Object::of("joined").with("name", &name).with("authority", &authority).with("words", &words)
        })?;
        Ok(Finished::done(
            summary("join").with("name", &name).with("node", node.keyring().node().to_string()).with("authority", authority).with("words", words),
        ))
    }
}
