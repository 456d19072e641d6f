//! `zbundle stick`: prepare sticks and shared folders, and know where they were.

use super::halt::{Halt, halts_on};
use super::object::Object;
use super::{Context, Finished, escape, summary, units};
use crate::carry::stick::{self, Marker, PlaceId, PlaceKind, StickError};
use crate::ports::entropy;
use bundle_format::error::Code;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  zbundle stick init /media/stick --label ZB-07        once for each stick
  zbundle stick init /srv/exchange --folder            a shared folder that something else carries
  zbundle stick list

What stands on the stick in clear is its id and the label; choose a label that tells a finder nothing. A stick serves everybody on its road, both ways.";

halts_on!(StickError);

/// Prepare sticks and shared folders for `exchange`; list where they were
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Prepare a stick once; needs no node and changes nothing else on it
    Init {
        /// Where the stick is mounted
        #[arg(value_name = "DIR")]
        place: PathBuf,
        /// A shared folder instead of a stick: it may lie on this computer's own disk, and is made if it is not there
        #[arg(long)]
        folder: bool,
        /// What people call it [default: ZB- and four signs of its id]
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Where each stick was last seen, and what of ours lies on it (the default)
    List,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        match self.action {
            Some(Action::Init { place, folder, label }) => init(context, &place, folder, label),
            Some(Action::List) | None => list(context),
        }
    }
}

fn init(context: &mut Context, at: &std::path::Path, folder: bool, label: Option<String>) -> Result<Finished, Halt> {
    let id = PlaceId(entropy::random(&*context.ports.entropy));
    let label = label.unwrap_or_else(|| format!("ZB-{}", id.to_string().get(..4).unwrap_or_default().to_uppercase()));
    if !stick::is_label(&label) {
        return Err(Halt::new(Code::Z101, format!("a label is one line of 1 to {} bytes", stick::LABEL_LEN_MAX)));
    }
    let kind = if folder { PlaceKind::Folder } else { PlaceKind::Stick };
    let place = stick::prepare(&*context.ports.disk, at, &Marker { id, kind, label })?;
    let Marker { id, kind, label } = &place.marker;
    let text = format!("{} \"{}\" is prepared; use it with `zbundle exchange {}`", kind.name(), escape::plain(label), escape::plain_path(at));
    let object = |kind_of: &str| Object::of(kind_of).with("id", id.to_string()).with("kind", kind.name()).with("label", label);
    context.console.result(&text, || object("stick"))?;
    Ok(Finished::done(summary("stick").with("id", id.to_string()).with("label", label)))
}

fn list(context: &mut Context) -> Result<Finished, Halt> {
    let places = context.view()?.places()?;
    for place in &places {
        let (label, path) = (escape::plain(&place.marker.label).to_string(), escape::plain(&place.path));
        let seen = units::date(place.seen_ms).unwrap_or_default();
        let bytes: u64 = place.written.iter().map(|written| written.bytes).sum();
        let lying = units::count(place.written.len() as u64, "bundle");
        let line = format!("{label:<16}  {:<6}  last at {path}, {seen}; of ours {lying}, {}", place.marker.kind.name(), units::size(bytes));
        context.console.result(&line, || {
            let object =
                Object::of("stick").with("id", place.marker.id.to_string()).with("kind", place.marker.kind.name()).with("label", &place.marker.label);
            object.with("path", &place.path).with("seen", &seen).with("bundles", place.written.len()).with("bytes", bytes)
        })?;
    }
    if places.is_empty() {
        context.console.note("no stick or folder has been exchanged with yet");
    }
    Ok(Finished::done(summary("stick").with("sticks", places.len())))
}
