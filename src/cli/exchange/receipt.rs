//! The page that goes with a stick: for the courier to sign, and for the other end to compare.

use crate::carry::finding::Candidate;
use crate::cli::halt::Halt;
use crate::cli::{Context, cut, escape, files, units};
use crate::keys::Words;
use crate::node::exchanging::Exchanged;
use crate::node::{Node, inspect};
use bundle_format::error::Code;
use bundle_format::ids::Hash;
use std::collections::BTreeMap;
use std::path::Path;

/// Instead of a file.
const SCREEN: &str = "-";

/// A page that is there already is not written over.
pub fn refuse_taken(context: &Context, path: &Path) -> Result<(), Halt> {
    let taken = path.as_os_str() != SCREEN && context.ports.disk.look(path).is_ok_and(|there| there.is_some());
    if taken { Err(Halt::new(Code::Z109, path.to_string_lossy())) } else { Ok(()) }
}

/// Write it to `path`, or show it.
pub fn write(context: &mut Context, node: &Node, exchanged: &Exchanged, path: &Path) -> Result<(), Halt> {
    let now = units::date(context.ports.clock.now_ms()).unwrap_or_default();
    let page = page(node, exchanged, &lying(context, node, &exchanged.place.root)?, &now);
    if path.as_os_str() == SCREEN {
        return context.console.line(page.trim_end());
    }
    files::write_new(&context.ports, path, page.as_bytes())
}

/// Every bundle of this node that lies there, with its length, as `verify` finds it at the other end: under whatever name, and whether the node noted it.
fn lying(context: &Context, node: &Node, place: &Path) -> Result<BTreeMap<Hash, u64>, Halt> {
    let me = node.keyring().node();
    let mut lying = BTreeMap::new();
    for candidate in inspect::bundles(&context.ports, place)? {
        let Candidate::File(path) = candidate else { continue };
        if inspect::sender(&context.ports, &path) != Some(me) {
            continue;
        }
        let own = inspect::outside(&context.ports, &path, None).ok().filter(|own| node.roster().sender(&me, &own.signing_key).is_some());
        lying.extend(own.map(|own| (own.digest, own.len)));
    }
    Ok(lying)
}

fn page(node: &Node, exchanged: &Exchanged, lying: &BTreeMap<Hash, u64>, now: &str) -> String {
    let naming = node.naming();
    let marker = &exchanged.place.marker;
    let copied = if exchanged.copied.iter().all(|count| *count == 0) { "nothing new".to_owned() } else { cut::lanes(&exchanged.copied) };
    let words = Words::of_bundles(&lying.keys().copied().collect());
    let mut page = String::new();
    let mut line = |name: &str, value: &str| page = [&page, format!("{name:<12}{value}").trim_end(), "\n"].concat();
    line("Site", &format!("{}  (@{})", node.name(), node.keyring().node()));
    line(if marker.kind.name() == "stick" { "Stick" } else { "Folder" }, &format!("{}  (id {})", escape::plain(&marker.label), marker.id));
    line("Time", &format!("{now} by this computer's clock"));
    line("Taken in", &units::count(exchanged.ingested.counts.new, "new record"));
    line("Copied", &copied);
    for (stream, first, last) in &exchanged.ranges {
        let end = if first == last { String::new() } else { format!("-{last}") };
        line("", &format!("{}:{first}{end}", naming.origin(&stream.origin)));
    }
    line("Lying on", &format!("{} of this site, {}", units::count(lying.len() as u64, "bundle"), units::size(lying.values().sum())));
    line("Check", &words.to_string());
    line("", "");
    line("Handed to", "______________________________");
    line("", "");
    line("Arrived at", "______________________________");
    page
}
