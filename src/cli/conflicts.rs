//! `zbundle conflicts`: records that differ, side by side, and what a person decides.

use super::console::Console;
use super::escape::{plain, plain_path};
use super::halt::Halt;
use super::object::Object;
use super::project::own_tables;
use super::{Context, Finished, OsInput, summary, units};
use crate::hub::differing::{differences, visible};
use crate::node::conflicts::{Conflict, Payload, Resolution, seen};
use crate::node::told::Told;
use crate::node::{Node, View};
use crate::ports::projection::{Projection, State, Version};
use crate::push::json::value;
use bundle_format::error::{Code, Exit};
use bundle_format::event::Op;
use bundle_format::ids::EventId;
use bundle_format::limits::PAYLOAD_LEN_MAX;
use serde_json::Value;
use std::io::Read as _;
use std::path::PathBuf;

/// Heads of each record of the list; how many there are is told.
const LISTED_HEAD_COUNT_MAX: u64 = 8;
/// Heads that are shown of one record.
const SHOWN_HEAD_COUNT_MAX: u64 = 100;
/// Payload bytes of one record that are compared; beyond that its versions are named only.
const COMPARED_LEN_MAX: u64 = 4 << 20;
/// Columns of a value in a table of differences.
const VALUE_COUNT: usize = 40;
/// Columns of a version that cannot be compared.
const RAW_COUNT: usize = 4000;
const EXAMPLES: &str = "\
Examples:
  zbundle conflicts list
  zbundle conflicts show Patient/BT-0042
  zbundle conflicts resolve Patient/BT-0042 --take lunana-bhu/routine:18 --author 'Dr Wangmo' --seen 1f0a9c3e
  zbundle conflicts resolve Patient/BT-0042 --merge corrected.json

Two writers who had not seen each other changed the same record. Both versions are kept, whatever is decided; until then the newer one is displayed.
A resolution closes all versions that are here, also one that came after you looked; with --seen and the digits that `show` names it is refused then.
It is an event: it goes to those who may see what this node writes, and to the writer of the version that was taken. A writer who may not see
that version is told that it has been decided, not how, unless `disclose = \"payload\"` stands in config.toml.
`settle` does at a hub what the rules in config.toml say, and tells the writers of what is left; run it from a timer (docs/sql.md).";

/// Records that two writers changed without seeing each other
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// All open conflicts
    List {
        /// Exit with 17 when there is one
        #[arg(long)]
        check: bool,
    },
    /// One record: its versions and where they differ
    Show {
        /// Which
        key: String,
    },
    /// Decide by the rules in config.toml; tell the writers of what is left
    Settle {
        /// Write nothing: only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Decide: one event that has seen all versions
    #[command(group(clap::ArgGroup::new("result").required(true).args(["take", "merge"])))]
    Resolve {
        /// Which
        key: String,
        /// This version is right
        #[arg(long, value_name = "ID")]
        take: Option<String>,
        /// What this file holds is right; - is stdin
        #[arg(long, value_name = "FILE")]
        merge: Option<PathBuf>,
        /// Who decides
        #[arg(long)]
        author: Option<String>,
        /// Only if its versions are still those that `show` showed: the digits that it names
        #[arg(long, value_name = "DIGITS")]
        seen: Option<String>,
    },
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        match self.action {
            Action::List { check } => list(context, check),
            Action::Show { key } => show(context, &key),
            Action::Settle { dry_run } => super::settle::run(context, dry_run),
            Action::Resolve { key, take, merge, author, seen } => resolve(context, &key, take.as_deref(), merge, author, seen.as_deref()),
        }
    }
}

fn open(context: &mut Context) -> Result<(View, Box<dyn Projection>), Halt> {
    let view = context.view()?;
    context.tell_damage(&view)?;
    view.config()?; // whoever looks at conflicts is told that a rule is not understood
    let mut index = own_tables(context)?;
    view.project(&mut *index, false)?;
    Ok((view, index))
}

fn list(context: &mut Context, check: bool) -> Result<Finished, Halt> {
    let (view, mut tables) = open(context)?;
    let mut open = 0u64;
    view.each_conflict(&mut *tables, LISTED_HEAD_COUNT_MAX, |conflict| {
        open += 1;
        let mut heads: Vec<String> = conflict.heads.iter().map(|head| title(&view, head)).collect();
        heads.extend(Some(conflict.more()).filter(|more| *more > 0).map(|more| format!("and {more} more")));
        let waits = if conflict.folded.state == State::Pending { "  (something in between has not come)" } else { "" };
        context.console.result(&format!("{}  {}{waits}", plain(&conflict.record_key), heads.join(" | ")), || object(&view, &conflict))
    })?;
    let told = view.told(&mut *tables)?;
    for told in &told {
        let yours: Vec<String> = told.yours.iter().map(|id| view.naming().event(id)).collect();
        context
            .console
            .result(&format!("{}  {} | {}", plain(&told.record_key), yours.join(" | "), others(&view, told)), || told_object(&view, told))?;
    }
    let exit = if check && open > 0 { Exit::Conflict } else { Exit::Done };
    Ok(Finished { exit, summary: summary("conflicts").with("open", open).with("told", told.len()) })
}

/// What a hub says of versions that this node does not see.
fn others(view: &View, told: &Told) -> String {
    let when = units::date(told.hlc.ms()).unwrap_or_else(|| "-".into());
    let noun = if told.others == 1 { "other version" } else { "other versions" };
    let stands = if told.decided { "it has been decided there, and how is not for this node to see" } else { "it is decided there" };
    format!("{} {noun}, says {} {when}; {stands}", told.others, view.naming().node(&told.by))
}

fn told_object(view: &View, told: &Told) -> Object {
    let yours: Vec<String> = told.yours.iter().map(|id| view.naming().event(id)).collect();
    let object = Object::of("told").with("key", &told.record_key).with("by", view.naming().node(&told.by)).with("time", units::date(told.hlc.ms()));
    object.with("yours", yours).with("others", told.others).with("decided", told.decided).with("disclosed", told.versions.len())
}

fn title(view: &View, head: &Version) -> String {
    let when = units::date(head.hlc.ms()).unwrap_or_else(|| "-".into());
    let gone = if head.op == Op::Delete { " deleted" } else { "" };
    let author = head.author.as_ref().map(|author| format!(" by {}", plain(author))).unwrap_or_default();
    format!("{} {when}{author}{gone}", view.naming().event(&head.id))
}

fn object(view: &View, conflict: &Conflict) -> Object {
    let naming = view.naming();
    let heads = conflict.heads.iter().map(|head| {
        let object = Object::empty().with("id", naming.event(&head.id)).with("time", units::date(head.hlc.ms())).with("event_type", &head.kind);
        object.with("op", head.op.name()).with("author", head.author.as_deref()).with("sha256", head.sha256.to_string())
    });
    let waiting: Vec<String> = conflict.folded.waiting.iter().map(|id| naming.event(id)).collect();
    let object = Object::of("record").with("key", &conflict.record_key).with("state", conflict.folded.state.name());
    object.with("head_count", conflict.folded.head_count).with_objects("heads", heads).with("waiting", waiting)
}

fn show(context: &mut Context, key: &str) -> Result<Finished, Halt> {
    let (view, mut tables) = open(context)?;
    let seen = seen(&mut *tables, key)?; // before they are read: of a version that comes meanwhile nobody says that it was shown
    let conflict = view.conflict(&mut *tables, key, SHOWN_HEAD_COUNT_MAX)?;
    let seen = Some(seen).filter(|_| conflict.folded.state.differs());
    let console = &mut context.console;
    let said = seen.as_ref().map(|seen| format!("  (seen {seen})")).unwrap_or_default();
    console.result(&format!("{}  {}{said}", plain(key), conflict.folded.state.name()), || object(&view, &conflict).with_some("seen", seen))?;
    let (mut values, mut left, mut rotten, mut uncompared) = (Vec::new(), COMPARED_LEN_MAX, 0, conflict.more());
    for (head, place) in conflict.heads.iter().zip(1..) {
        console.line(&format!("  {place}  {}", title(&view, head)))?;
        let version = view.shown(&head.id, left)?;
        left -= version.shown_len();
        let read = version.bytes().and_then(value);
        match &version {
            Payload::Rotten => {
                rotten += 1;
                console.line("     cannot be read here: it has rotted")?;
            }
            Payload::TooLong => {
                uncompared += 1;
                tell_long(console, key, &head.id, &view)?;
            }
            Payload::Here(payload) if read.is_none() => tell_raw(console, head, payload, &view)?,
            Payload::Here(_) => {}
        }
        values.push(read);
    }
    if conflict.more() > 0 {
        console.line(&format!("  and {} more, which are not compared", conflict.more()))?;
    }
    for id in &conflict.folded.waiting {
        console.line(&format!("  waits for {}", view.naming().event(id)))?;
    }
    let said = view.told(&mut *tables)?.into_iter().find(|told| told.record_key == key);
    if let Some(told) = &said {
        console.result(&format!("  {}", others(&view, told)), || told_object(&view, told))?;
        if !told.versions.is_empty() {
            values.clear(); // the hub shows all of them, ours too
        }
        for (version, place) in told.versions.iter().zip(1..) {
            let gone = if version.op == Op::Delete { " deleted" } else { "" };
            console.line(&format!("  {place}  {}{gone}", view.naming().event(&version.id)))?;
            values.push(version.payload.as_deref().and_then(value));
        }
    }
    let different = differences(&values);
    for (path, versions) in &different {
        console.result(&format!("  {}: {}", visible(path), told(versions).join(" | ")), || {
            Object::of("field").with("path", path).with("values", versions)
        })?;
    }
    if rotten > 0 {
        console.warn(Code::Z301, &format!("{} cannot be read here and may come back from who has it", units::count(rotten, "version")))?;
    }
    let summary = summary("conflicts").with("state", conflict.folded.state.name()).with("told", said.is_some()).with("fields", different.len());
    let summary = summary.with("uncompared", uncompared).with("rotten", rotten);
    Ok(Finished { exit: if rotten == 0 { Exit::Done } else { Exit::LogDamaged }, summary })
}

/// A version that is too long to be compared: where it can be read.
fn tell_long(console: &mut Console, key: &str, id: &EventId, view: &View) -> Result<(), Halt> {
    let object = || Object::of("long").with("id", view.naming().event(id));
    console.result(&format!("     too long to be compared here: zbundle log --key '{}' --payload", plain(key)), object)
}

/// A version that cannot be compared place by place, as it is.
fn tell_raw(console: &mut Console, head: &Version, payload: &[u8], view: &View) -> Result<(), Halt> {
    let text = std::str::from_utf8(payload).ok();
    let line = text.map_or_else(|| "(not text)".to_owned(), |text| shortened(&visible(text), 0, RAW_COUNT));
    console.result(&format!("     {line}"), || Object::of("raw").with("id", view.naming().event(&head.id)).with("payload", text))
}

/// Values of one place on a line of text, from where they differ.
fn told(values: &[Option<Value>]) -> Vec<String> {
    let texts: Vec<String> =
        values.iter().map(|value| value.as_ref().map_or_else(|| "(none)".to_owned(), |value| visible(&value.to_string()))).collect();
    let alike = |text: &String| text.chars().zip(texts[0].chars()).take_while(|(one, other)| one == other).count();
    let alike = texts.iter().skip(1).map(alike).min().unwrap_or(0);
    let from = if texts.iter().all(|text| text.chars().count() <= VALUE_COUNT) { 0 } else { alike.saturating_sub(VALUE_COUNT / 4) };
    texts.iter().map(|text| shortened(text, from, VALUE_COUNT)).collect()
}

/// At most `count` characters of a text, behind the first `from`.
fn shortened(text: &str, from: usize, count: usize) -> String {
    let short: String = text.chars().skip(from).take(count).collect();
    let [before, behind] = [from > 0, text.chars().nth(from + count).is_some()].map(|cut| if cut { "…" } else { "" });
    [before, &short, behind].concat()
}

/// The versions that a decision closes: whoever has not looked since the last of them came learns of it.
fn tell_closed(console: &mut Console, node: &Node, record: &Conflict) -> Result<(), Halt> {
    let ids: Vec<String> = record.heads.iter().map(|head| node.naming().event(&head.id)).collect();
    let more = if record.more() > 0 { format!(" and {} more", record.more()) } else { String::new() };
    console.note(&format!("{} closed: {}{more}", units::count(record.folded.head_count, "version"), ids.join(", ")));
    ids.iter().try_for_each(|id| console.object(Object::of("closed").with("id", id)))
}

fn resolve(
    context: &mut Context,
    key: &str,
    take: Option<&str>,
    merge: Option<PathBuf>,
    author: Option<String>,
    shown: Option<&str>,
) -> Result<Finished, Halt> {
    let merged = merge.map(|path| read(&path)).transpose()?;
    let mut node = context.node()?;
    let mut index = own_tables(context)?;
    node.project(&mut *index, false)?;
    let taken: Option<EventId> = take.map(|text| node.event_id(text)).transpose()?;
    let resolution = match (taken, &merged) {
        (Some(id), _) => Resolution::Take(id),
        (None, merged) => Resolution::Merge(merged.as_deref().unwrap_or_default()),
    };
    let record = node.record(&mut *index, key, SHOWN_HEAD_COUNT_MAX)?;
    if let Some(shown) = shown
        && !seen(&mut *index, key)?.eq_ignore_ascii_case(shown)
    {
        return Err(Halt::new(Code::Z441, "another version has come, or somebody else has decided"));
    }
    let pushed = node.resolve(&mut *index, key, &resolution, author)?;
    tell_closed(&mut context.console, &node, &record)?;
    for id in node.pushed_ids(&pushed) {
        context.console.result(&id, || Object::of("ack").with("id", &id))?;
    }
    Ok(Finished::done(summary("conflicts").with("stored", pushed.len())))
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Halt> {
    let failed = |error: std::io::Error| Halt::new(Code::Z201, format!("{}: {error}", plain_path(path)));
    let input = if path.as_os_str() == "-" { OsInput::stdin() } else { OsInput::open(path) };
    let mut bytes = Vec::new();
    input.map_err(failed)?.take(PAYLOAD_LEN_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > PAYLOAD_LEN_MAX { Err(Halt::new(Code::Z401, plain_path(path))) } else { Ok(bytes) }
}
