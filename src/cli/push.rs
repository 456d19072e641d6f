//! `zbundle push`: put events into the log.

use super::console::Console;
use super::escape::plain;
use super::halt::Halt;
use super::object::Object;
use super::progress::Progress;
use super::project::own_tables;
use super::{Context, Finished, OsInput, members, schema, status, summary, units};
use crate::node::Node;
use crate::node::idempotency::Repeated;
use crate::node::local::{About, Through};
use crate::ports::store::Stream;
use crate::push::lines::{Tally, Told, push_lines};
use crate::push::schema::{Schema, Violation};
use crate::push::spool::Spool;
use crate::push::{Fields, Pushed, Skew, Taker};
use bundle_format::error::{Code, Exit};
use bundle_format::ids::{EventId, Hash, Lane};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::io::{self, Cursor, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  zbundle push '{\"bp\":\"120/80\"}' --type vitals --key Patient/BT-0042
  zbundle push --file scan.jpg --content-type image/jpeg --lane bulk
  echo -n hello | zbundle push -
  tail -f app.ndjson | zbundle push --ndjson -   one event per line, stored as they come
  zbundle push --schema vitals.json --ndjson app.ndjson     lines that do not fit are named and left out
  zbundle push --to lunana-bhu --type lab/result --file result.json

Where lines come from a pipe and none comes for a second, other commands get the node until the next one comes.

A payload is any bytes up to 16 MiB and comes out byte for byte. A line that is not JSON is named and left out; the others go on (exit 3).
A byte order mark at the very beginning of lines is passed over.
An event is safe when its id is printed, not before.";

/// Store events durably; print one id per event once it is safe on the disk
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["payload", "file", "ndjson"])))]
pub struct Args {
    /// The payload itself; - reads one payload from stdin
    #[arg(value_name = "PAYLOAD", allow_hyphen_values = false)]
    payload: Option<OsString>,
    /// A file that is one payload
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A file of JSON values, one per line, each an event; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["idempotency_key"])]
    ndjson: Option<PathBuf>,
    /// How urgent: urgent, routine or bulk
    #[arg(long, default_value = "routine", value_parser = lane)]
    lane: Lane,
    /// What kind of event; the application's own word
    #[arg(long = "type", value_name = "TYPE", default_value = "record")]
    kind: String,
    /// The record this is about, such as Patient/BT-0042
    #[arg(long)]
    key: Option<String>,
    /// An event of that record its writer had seen (several times for several; none: had seen nothing)
    #[arg(long, value_name = "ID")]
    base: Vec<String>,
    /// What the payload is [default: application/json]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Names this push, so that repeating it stores nothing new
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Who wrote it
    #[arg(long)]
    author: Option<String>,
    /// A JSON Schema that each payload must fit
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Only for this node, and the hubs that carry it there; may be given several times
    #[arg(long, value_name = "NODE")]
    to: Vec<String>,
}

/// A lane that is open to people (R3.2-i).
fn lane(text: &str) -> Result<Lane, String> {
    let lane = Lane::from_name(text).filter(|lane| *lane != Lane::Control);
    lane.ok_or_else(|| "urgent, routine or bulk; the control lane is the nodes' own".to_owned())
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let mut fields = Fields {
            kind: self.kind.clone(),
            record_key: self.key.clone(),
            base: None,
            content_type: self.content_type.clone(),
            idempotency_key: self.idempotency_key.clone(),
            author: self.author.clone(),
            ..Fields::default()
        };
        fields.check()?;
        let schema = schema::read(context, self.schema.as_deref())?;
        let mut source = self.source()?;
        // Whether a key was used before is looked up and answered by whoever has the node: so a push with a key borrows it.
        let through = if self.idempotency_key.is_some() { None } else { context.through(self.about())? };
        if let Some(through) = through {
            return by_way(context, through, &fields, &mut source, schema.as_ref());
        }
        let mut node = context.node()?;
        if source.may_pause() {
            let own = context.through_own(node, self.about())?;
            return by_way(context, own, &fields, &mut source, schema.as_ref());
        }
        fields.base = self.base(&node)?;
        fields.check()?;
        let naming = Naming::of(&node, self.lane, &self.to)?;
        let spool = node.spool();
        if let (Some(_), Source::Whole(input)) = (&self.idempotency_key, &mut source) {
            return once(context, &mut node, &naming, &fields, input, schema.as_ref(), spool);
        }
        node.with_pusher(&naming.streams, |pusher| {
            warn_of_clock(context, pusher.skew())?;
            take(context, pusher, &fields, &|event| naming.id(event), &mut source, schema.as_ref(), spool)
        })
    }

    /// What we were told, for the process that keeps the node to understand.
    fn about(&self) -> About {
        let base = match self.base.as_slice() {
            [] => None,
            [word] if word == "none" => Some(Vec::new()),
            ids => Some(ids.to_vec()),
        };
        About {
            lane: self.lane.name().to_owned(),
            audiences: self.to.clone(),
            kind: self.kind.clone(),
            record_key: self.key.clone(),
            base,
            content_type: self.content_type.clone(),
            idempotency_key: self.idempotency_key.clone(),
            author: self.author.clone(),
        }
    }

    /// What is pushed, opened before the node is: a file that is not there must not wait for a lock.
    fn source(&self) -> Result<Source, Halt> {
        match (&self.payload, &self.file, &self.ndjson) {
            (_, _, Some(path)) if path.as_os_str() == "-" => Ok(Source::Lines(stdin()?)),
            (_, _, Some(path)) => Ok(Source::Lines(open(path)?)),
            (_, Some(path), _) => Ok(Source::Whole(Box::new(open(path)?))),
            (Some(dash), ..) if dash == "-" => Ok(Source::Whole(Box::new(stdin()?))),
            (payload, ..) => Ok(Source::Whole(Box::new(Cursor::new(payload.clone().unwrap_or_default().into_vec())))),
        }
    }

    fn base(&self, node: &Node) -> Result<Option<Vec<EventId>>, Halt> {
        match self.base.as_slice() {
            [] => Ok(None),
            [word] if word == "none" => Ok(Some(Vec::new())),
            ids => Ok(Some(node.base(ids, self.key.as_deref())?)),
        }
    }
}

enum Source {
    Whole(Box<dyn Read>),
    Lines(OsInput),
}

impl Source {
    /// Whether lines come when somebody else likes: until then others work with the node.
    fn may_pause(&self) -> bool {
        matches!(self, Self::Lines(input) if input.file_len().is_none())
    }
}

/// How acks name the histories pushed to.
struct Naming {
    streams: Vec<Stream>,
    names: Vec<String>,
}

impl Naming {
    fn of(node: &Node, lane: Lane, to: &[String]) -> Result<Self, Halt> {
        let audiences = to.iter().map(|name| members::node_id(node, name)).collect::<Result<Vec<_>, _>>()?;
        node.refuse_revoked(&audiences)?;
        let streams = node.push_streams(lane, &audiences)?;
        let names = streams.iter().map(|stream| node.naming().origin(&stream.origin)).collect();
        Ok(Self { streams, names })
    }

    fn id(&self, (stream, seq): &Pushed) -> String {
        let name = self.streams.iter().zip(&self.names).find(|(own, _)| *own == stream).map_or("", |(_, name)| name);
        format!("{name}:{seq}")
    }
}

/// Push by way of whoever keeps the node.
fn by_way(context: &mut Context, mut through: Through, fields: &Fields, source: &mut Source, schema: Option<&Schema>) -> Result<Finished, Halt> {
    warn_of_clock(context, through.skew())?;
    let spool = Spool::new(&context.ports, &context.data_dir());
    take(context, &mut through, fields, &|id: &String| id.clone(), source, schema, spool)
}

fn warn_of_clock(context: &mut Context, skew: Option<Skew>) -> Result<(), Halt> {
    match skew {
        None => Ok(()),
        Some(Skew::Jumped) => context.console.warn(Code::Z305, "it stands more than a day past the last event of this node"),
        Some(Skew::Ahead(ms)) => context.console.warn(Code::Z305, &status::stamps_ahead(ms)),
    }
}

fn ack(console: &mut Console, id: &str, line: Option<u64>) -> Result<(), Halt> {
    console.result(id, || Object::of("ack").with("id", id).with_some("line", line))
}

/// Push what `source` has to `taker`; `id` is how an event of its is called.
fn take<T: Taker>(
    context: &mut Context,
    taker: &mut T,
    fields: &Fields,
    id: &dyn Fn(&T::Event) -> String,
    source: &mut Source,
    schema: Option<&Schema>,
    spool: Spool,
) -> Result<Finished, Halt> {
    match source {
        Source::Whole(input) => whole(context, taker, fields, id, input, schema, spool),
        Source::Lines(input) => lines(context, taker, fields, id, input, schema, spool),
    }
}

fn whole<T: Taker>(
    context: &mut Context,
    taker: &mut T,
    fields: &Fields,
    id: &dyn Fn(&T::Event) -> String,
    input: &mut dyn Read,
    schema: Option<&Schema>,
    mut spool: Spool,
) -> Result<Finished, Halt> {
    spool.fill(input)?;
    fields.check_len(spool.len())?;
    must_fit(schema, &spool)?;
    taker.take(fields, spool.len(), &mut spool.read())?;
    let mut events = Vec::new();
    taker.settle(&mut |stored| events.extend(stored))?;
    let ids: Vec<_> = events.iter().map(id).collect();
    tell(&mut context.console, &ids, |id| Object::of("ack").with("id", id))?;
    Ok(Finished::done(summary("push").with("stored", events.len()).with("bytes", spool.len())))
}

/// Tell what is stored. Where nobody can be told, stderr is: who hears of a failure and of no id would push it again.
fn tell(console: &mut Console, ids: &[String], object: impl Fn(&String) -> Object) -> Result<(), Halt> {
    let told = ids.iter().try_for_each(|id| console.result(id, || object(id))).and_then(|()| console.flush());
    if matches!(told, Err(Halt::Refused { .. })) {
        console.remark(&format!("it is stored, as {}: do not push it again", ids.join(", ")));
    }
    told
}

/// A push with a key: what was stored under it before is told again, and not stored again (R11.1-f).
fn once(
    context: &mut Context,
    node: &mut Node,
    naming: &Naming,
    fields: &Fields,
    input: &mut dyn Read,
    schema: Option<&Schema>,
    mut spool: Spool,
) -> Result<Finished, Halt> {
    spool.fill(input)?;
    fields.check_len(spool.len())?;
    must_fit(schema, &spool)?;
    let mut sha = Sha256::new();
    io::copy(&mut spool.read(), &mut HashInto(&mut sha)).map_err(|error| Halt::new(Code::Z202, error.to_string()))?;
    let mut tables = own_tables(context)?;
    let Repeated { mut stored, missing } = node.repeated(&mut *tables, &naming.streams, fields, &Hash(sha.finalize().into()))?;
    let replayed = missing.is_empty();
    let before = stored.len();
    if !replayed {
        stored.extend(node.with_pusher(&missing, |pusher| {
            warn_of_clock(context, pusher.skew())?;
            let pushed = pusher.push(fields, spool.len(), &mut spool.read())?;
            pusher.sync()?;
            Ok::<_, Halt>(pushed)
        })?);
    }
    tell(&mut context.console, &node.pushed_ids(&stored), |id| Object::of("ack").with("id", id).with("replayed", replayed))?;
    Ok(Finished::done(summary("push").with("stored", stored.len() - before).with("replayed", before).with("bytes", spool.len())))
}

fn must_fit(schema: Option<&Schema>, spool: &Spool) -> Result<(), Halt> {
    let fits = schema.map_or(Ok(()), |schema| schema.check_in(spool));
    fits.map_err(|violation| Halt::new(Code::Z438, violation.to_string()))
}

struct HashInto<'a>(&'a mut Sha256);

impl io::Write for HashInto<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines<T: Taker>(
    context: &mut Context,
    taker: &mut T,
    fields: &Fields,
    id: &dyn Fn(&T::Event) -> String,
    input: &mut OsInput,
    schema: Option<&Schema>,
    spool: Spool,
) -> Result<Finished, Halt> {
    let mut progress = Progress::start(&context.console, context.ports.clock.clone(), "pushing", input.file_len());
    let console = &mut context.console;
    let (mut last, mut known) = (0, 0_u64);
    let ended = push_lines(input, taker, fields, schema, spool, |told, tally| {
        let Some(told) = told else {
            progress.reach(console, tally.bytes, tally.stored);
            return console.flush();
        };
        match told {
            Told::Stored { line, events } => {
                (last, known) = (line, known + 1);
                events.iter().try_for_each(|event| ack(console, &id(event), Some(line)))
            }
            Told::Refused { line, code, violation, fault, len } => refused(console, line, code, violation.as_ref(), fault.as_deref(), len),
        }
    });
    progress.end();
    let tally = match ended {
        Ok(tally) => tally,
        Err(Halt::PipeClosed) => {
            context.console.note(&format!("nobody reads the acks any more; lines after {last} may be stored or not"));
            return Ok(Finished { exit: Exit::Partial, summary: summary("push") });
        }
        Err(Halt::Refused { code, why }) => {
            // Behind it are some that were written before the disk, or the process that keeps the node, failed.
            context.console.remark(&format!("line {last} is the last one known to be stored"));
            if code == Code::Z111 {
                return Err(Halt::new(code, why)); // no summary either
            }
            context.console.refuse(code, &why)?;
            let summary = summary("push").with("code", code.as_str()).with("stored", known).with("last_line", last);
            return Ok(Finished { exit: code.row().exit, summary });
        }
    };
    let Tally { stored, refused, blank, bytes } = tally;
    let mut words = vec![format!("{} stored", units::count(stored, "event"))];
    words.extend((refused > 0).then(|| format!("{} refused", units::count(refused, "line"))));
    words.extend((blank > 0).then(|| format!("{} skipped", units::count(blank, "blank line"))));
    context.console.note(&words.join(", "));
    let exit = if refused > 0 { Exit::Partial } else { Exit::Done };
    Ok(Finished { exit, summary: summary("push").with("stored", stored).with("refused", refused).with("blank", blank).with("bytes", bytes) })
}

/// A line that was left out: named on stderr, or as an object.
fn refused(console: &mut Console, line: u64, code: Code, violation: Option<&Violation>, fault: Option<&str>, len: u64) -> Result<(), Halt> {
    let title = code.row().title;
    if console.json() {
        let object = Object::of("refused").with("line", line).with("code", code.as_str()).with("title", title).with("bytes", len);
        let object = object.with_some("pointer", violation.map(|violation| &violation.pointer));
        return console.object(object.with_some("why", violation.map(|violation| violation.why.as_str()).or(fault)));
    }
    let why = violation.map(Violation::to_string).or(fault.map(str::to_owned)).map(|why| format!(": {}", plain(&why))).unwrap_or_default();
    console.remark(&format!("line {line} refused: {code} {title}{why} ({})", units::size(len)));
    Ok(())
}

fn stdin() -> Result<OsInput, Halt> {
    OsInput::stdin().map_err(|error| Halt::new(Code::Z201, format!("standard input: {error}")))
}

fn open(path: &Path) -> Result<OsInput, Halt> {
    OsInput::open(path).map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::IsADirectory => Code::Z229,
            io::ErrorKind::NotFound => Code::Z245,
            _ => Code::Z201,
        };
        Halt::new(code, format!("{}: {error}", path.to_string_lossy()))
    })
}
