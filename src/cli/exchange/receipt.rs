//! The page that goes with a stick: for the courier to sign, and for the other end to compare.

use crate::cli::halt::Halt;
use crate::cli::{Context, cut, escape, files, units};
use crate::keys::Words;
use crate::node::Node;
use crate::node::exchanging::Exchanged;
use bundle_format::error::Code;
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
    let page = page(node, exchanged, &now);
    if path.as_os_str() == SCREEN {
        return context.console.line(page.trim_end());
    }
    files::write_new(&context.ports, path, page.as_bytes())
}

fn page(node: &Node, exchanged: &Exchanged, now: &str) -> String {
    let naming = node.naming();
    let marker = &exchanged.place.marker;
    let bytes: u64 = exchanged.lying.iter().map(|written| written.bytes).sum();
    let copied = if exchanged.copied.iter().all(|count| *count == 0) { "nothing new".to_owned() } else { cut::lanes(&exchanged.copied) };
    let words = Words::of_bundles(exchanged.lying.iter().map(|written| written.digest));
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
    line("Lying on", &format!("{} of this site, {}", units::count(exchanged.lying.len() as u64, "bundle"), units::size(bytes)));
    line("Check", &words.to_string());
    line("", "");
    line("Handed to", "______________________________");
    line("", "");
    line("Arrived at", "______________________________");
    page
}
