//! `zbundle exchange --blind`: a courier that stores and passes on what it cannot read.

use super::{failure, safe_words};
use crate::carry::stick::PlaceKind;
use crate::cli::halt::Halt;
use crate::cli::object::Object;
use crate::cli::{Context, Finished, bundle, escape, summary, units};
use crate::node::relaying::{RelayOrder, relay};
use bundle_format::error::{Code, Exit};
use std::path::Path;

/// Carry both ways, and tell.
pub fn run(context: &mut Context, place: &Path, store: &Path, quota: u64) -> Result<Finished, Halt> {
    let order = RelayOrder { place, store, quota, lock_wait_ms: context.globals.lock_wait };
    let relayed = relay(&context.ports, &order)?;
    for (path, code) in &relayed.faulty {
        let file = escape::plain_path(path);
        context.console.result(&format!("{file}  {code} {}", code.row().title), || {
            Object::of("refused").with("file", path.to_string_lossy()).with("code", code.as_str())
        })?;
    }
    let (place, other, stick) = match relayed.place.marker.kind {
        PlaceKind::Stick => ("Stick", "another stick", true),
        PlaceKind::Folder => ("Folder", "another place", false),
    };
    let code = match &relayed.trouble {
        Some(trouble) => Some(trouble.code()),
        None if relayed.left > 0 => Some(Code::Z235),
        None if relayed.no_room > 0 => Some(Code::Z239),
        None => None,
    };
    let mut words = vec![format!("{} taken along, {} passed on.", units::count(relayed.taken, "bundle"), relayed.given)];
    match code {
        Some(Code::Z235) => words.push(format!("{place} is full: {} left. Use {other} for the rest.", relayed.left)),
        Some(Code::Z239) => words.push(format!("The store is full: {} left where they are.", relayed.no_room)),
        Some(code) => words.push(failure(code, place, other)),
        None => {}
    }
    words.extend(relayed.safe.then(|| safe_words(stick)));
    if let Some(code) = code {
        context.console.refuse(code, &relayed.trouble.as_ref().map(ToString::to_string).unwrap_or_default())?;
    }
    let sentence = words.join(" ");
    if !context.globals.quiet || code.is_some() || relayed.taken + relayed.given > 0 {
        context.console.line(&sentence)?;
    }
    if relayed.unseen.deeper > 0 {
        context.console.note(&bundle::too_deep(relayed.unseen.deeper));
    }
    let exit = code.map_or(if relayed.is_all() { Exit::Done } else { Exit::Partial }, |code| code.row().exit);
    let summary = summary("exchange").with("blind", true).with("safe", relayed.safe).with("sentence", &sentence);
    let summary = summary.with_some("code", code.map(Code::as_str)).with("taken", relayed.taken).with("given", relayed.given);
    let summary =
        summary.with("bytes", relayed.given_len).with("put_out", relayed.put_out).with("no_room", relayed.no_room).with("left", relayed.left);
    let summary = summary
        .with("faulty", relayed.faulty.len())
        .with("deeper", relayed.unseen.deeper)
        .with("stored", relayed.stored.0)
        .with("stored_bytes", relayed.stored.1);
    Ok(Finished { exit, summary })
}
