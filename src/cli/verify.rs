//! `zbundle verify`: is a bundle whole and signed.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, Talks, bundle, confine, escape, summary, units};
use crate::keys::Words;
use crate::node::inspect;
use bundle_format::error::Exit;
use bundle_format::ids::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle verify a.zb && echo good
  zbundle verify /media/stick

The six words are those of the page that goes with a stick: equal words, and nothing was taken from it on the way.
Exit 0 when all are good, 14 when one is cut short, damaged or forged, 2 when a file never was a bundle.";

/// Check that bundles are whole and signed; needs no key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundles, or folders of bundles
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        confine(&[], Talks::Here);
        let mut senders = BTreeMap::<_, BTreeSet<Hash>>::new();
        let (mut tally, single) = (bundle::Tally::default(), bundle::is_single(context, &self.paths));
        for path in bundle::find(context, &self.paths)? {
            let path = match path {
                Ok(path) => path,
                Err((path, code)) => {
                    tally.refuse(context, &path, code, "")?;
                    continue;
                }
            };
            match inspect::outside(&context.ports, &path, None) {
                Ok(outside) => {
                    tally.good += 1;
                    senders.entry(outside.sender).or_default().insert(outside.digest);
                    let name = escape::plain_path(&path);
                    let key = bundle_format::ids::hex(outside.signing_key.as_bytes());
                    context.console.result(&format!("{name}  good  {}  signed by @{}", units::size(outside.len), outside.sender), || {
                        Object::of("bundle")
                            .with("file", path.to_string_lossy())
                            .with("good", true)
                            .with("bytes", outside.len)
                            .with("sender", outside.sender.to_string())
                            .with("signing_key", key)
                    })?;
                }
                Err(error) => tally.refuse(context, &path, error.code(), &error.to_string())?,
            }
        }
        for (sender, digests) in senders {
            let (bundles, words) = (units::count(digests.len() as u64, "bundle"), Words::of_bundles(&digests).to_string());
            context.console.result(&format!("check @{sender}  {bundles}: {words}"), || {
                Object::of("check").with("sender", sender.to_string()).with("words", &words) // as on the courier's page (R10.12-h)
            })?;
        }
        let exit = tally.exit(single);
        context.console.line(&tally.line())?;
        Ok(Finished { exit: if tally.seen() == 0 { Exit::Done } else { exit }, summary: tally.tell(summary("verify")) })
    }
}
