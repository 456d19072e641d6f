//! `zbundle inspect`: what is in a bundle.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, Talks, bundle, confine, escape, summary, units};
use crate::node::View;
use crate::node::inspect::{self, Inside, Outside};
use bundle_format::compress::Codec;
use bundle_format::error::Exit;
use bundle_format::event::Event;
use bundle_format::ids::{EventId, Lane, hex};
use bundle_format::open::OpenError;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  zbundle inspect a.zb                           without any key: sender, size, signature
  zbundle inspect /media/stick --json
  zbundle --data-dir /var/lib/zbundle inspect a.zb --events

Nothing is written, neither here nor beside the file.";

/// Say what can be seen of a bundle; with the recipient's keys also what is inside
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundles, or folders of bundles
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// List the events inside (needs the recipient's data directory)
    #[arg(long)]
    events: bool,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        confine(&[], Talks::Here);
        let view = self.view(context)?;
        let (mut tally, single) = (bundle::Tally::default(), bundle::is_single(context, &self.paths));
        for path in bundle::find(context, &self.paths)? {
            let path = match path {
                Ok(path) => path,
                Err((path, code)) => {
                    tally.refuse(context, &path, code, "")?;
                    continue;
                }
            };
            match inspect::outside(&context.ports, &path, view.as_ref()) {
                Ok(outside) => {
                    tally.good += 1;
                    tell_outside(context, &path, &outside, view.as_ref())?;
                    if let Some(view) = &view {
                        self.inside(context, &path, view, &mut tally)?;
                    }
                }
                Err(error) => tally.refuse(context, &path, error.code(), &error.to_string())?,
            }
        }
        let exit = tally.exit(single);
        Ok(Finished { exit: if tally.seen() == 0 { Exit::Done } else { exit }, summary: tally.tell(summary("inspect")) })
    }

    /// The node's eyes, if there is a node: asked for by name it must open, found by default it may.
    fn view(&self, context: &Context) -> Result<Option<View>, Halt> {
        let named = self.events || context.globals.data_dir.is_some();
        match context.view() {
            Ok(view) => Ok(Some(view)),
            Err(halt) if named => Err(halt),
            Err(_) => Ok(None),
        }
    }

    fn inside(&self, context: &mut Context, path: &Path, view: &View, tally: &mut bundle::Tally) -> Result<(), Halt> {
        let naming = view.naming();
        let (mut halt, events) = (None, self.events);
        let console = &mut context.console;
        let mut show = |id: &EventId, event: &Event<'_>| {
            if events && halt.is_none() {
                let (id, key) = (naming.event(id), event.ext.record_key);
                let time = units::date(event.hlc.ms());
                let text = format!(
                    "    {}  {id}  {}  {}  {}",
                    time.as_deref().unwrap_or("-"),
                    escape::plain(event.kind),
                    escape::plain(key.unwrap_or("-")),
                    units::size(event.payload.len() as u64)
                );
                let object = || {
                    let object = Object::of("event").with("id", &id).with("time", &time).with("kind", event.kind).with("key", key);
                    object.with("bytes", event.payload.len()).with("part", event.ext.part.map(|part| [part.index, part.count]))
                };
                halt = console.result(&text, object).err();
            }
        };
        let opened = view.inside(path, &mut show);
        if let Some(halt) = halt {
            return Err(halt);
        }
        match opened {
            Ok(ranges) => ranges.iter().try_for_each(|range| tell_inside(context, range, &naming.origin(&range.origin))),
            Err(OpenError::NotForUs { .. } | OpenError::OtherDomain) => context.console.line("  inside     sealed for somebody else"),
            Err(error) => {
                tally.good -= 1;
                tally.refuse(context, path, error.code(), &error.to_string())
            }
        }
    }
}

fn tell_outside(context: &mut Context, path: &Path, outside: &Outside, view: Option<&View>) -> Result<(), Halt> {
    let name_of = |node| view.map(|view| view.naming().node(&node));
    let sender_name = outside.sender_known.filter(|known| *known).and_then(|_| name_of(outside.sender));
    let (file, key) = (escape::plain_path(path), hex(outside.signing_key.as_bytes()));
    let created = outside.created.and_then(|seconds| units::date(seconds.saturating_mul(1000)));
    let console = &mut context.console;
    if console.json() {
        let recipients: Vec<_> = outside.recipients.iter().map(|(hint, node)| (hex(hint), node.and_then(name_of))).collect();
        let recipients = recipients.iter().map(|(hint, name)| Object::empty().with("hint", hint).with_some("name", name.as_ref()));
        let object = Object::of("bundle")
            .with("file", path.to_string_lossy())
            .with("bytes", outside.len)
            .with("format", 1)
            .with("domain", hex(&outside.domain_hint));
        let object = object.with("sender", outside.sender.to_string()).with_some("sender_name", sender_name.as_ref()).with("signing_key", &key);
        let object =
            object.with("signature", "valid").with("sender_known", outside.sender_known).with("crc", "good").with_objects("recipients", recipients);
        let object = object.with("lane", outside.lane.map(Lane::name)).with("created", created).with("chunks", outside.chunk_count);
        return console.object(object.with("digest", outside.digest.to_string()));
    }
    let known = match outside.sender_known {
        Some(true) => "in the roster",
        Some(false) => "NOT IN THE ROSTER",
        None => "no roster of its domain here to check it with",
    };
    let recipients = outside.recipients.iter().map(|(hint, node)| node.and_then(name_of).unwrap_or_else(|| format!("hint {}", hex(hint))));
    console.line(&format!("{}  {}  bundle format 1", console.strong(&file), units::size(outside.len)))?;
    console.line(&format!("  from       {}@{}", sender_name.map(|name| format!("{name}  ")).unwrap_or_default(), outside.sender))?;
    console.line(&format!("  key        ed25519 {key}  ({known})"))?;
    console.line(&format!("  domain     {}", hex(&outside.domain_hint)))?;
    console.line(&format!("  for        {}", recipients.collect::<Vec<_>>().join(", ")))?;
    console.line(&format!("  made       {}", created.map_or("not told".into(), |created| format!("{created}  by the sender's clock"))))?;
    console.line(&format!("  lane       {}", outside.lane.map_or("not told", Lane::name)))?;
    let chunks = units::count(outside.chunk_count as u64, "sealed chunk");
    console.line(&format!("  whole      checksum good, signature valid under that key, {chunks}, nothing after its end"))
}

fn tell_inside(context: &mut Context, range: &Inside, origin: &str) -> Result<(), Halt> {
    let Inside { first, last, checkpoint_count, codec, .. } = range;
    let coded = if *codec == Codec::Mixed { ", coded by context mixing" } else { "" };
    let events = units::count(last - first + 1, "event");
    let checkpoints = units::count(*checkpoint_count as u64, "checkpoint");
    context.console.result(&format!("  inside     {origin}:{first}-{last}  {events}, {checkpoints} verified{coded}, chain {}", range.hash), || {
        let object = Object::of("range").with("origin", origin).with("first", first).with("last", last);
        object.with("checkpoints", checkpoint_count).with("codec", codec.name()).with("chain", range.hash.to_string())
    })
}
