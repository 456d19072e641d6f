//! `zbundle exchange`: everything that is to be done with a stick, in one command, and in one sentence what came of it.

mod blind;
mod receipt;

use super::halt::Halt;
use super::object::Object;
use super::progress::Progress;
use super::{Context, Finished, Talks, confine, cut, escape, files, ingest, members, summary, units};
use crate::carry::stick::PlaceKind;
use crate::node::Node;
use crate::node::exchanging::{ExchangeOrder, Exchanged, Step};
use crate::node::taking::{FileReport, Outcome};
use bundle_format::error::{Code, Exit};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  zbundle exchange /media/stick
  zbundle exchange /media/stick --receipt paper.txt    with a page to print and sign
  zbundle exchange /srv/exchange --quiet               from cron, with a folder that something else carries
  zbundle exchange /media/stick --dry-run              only say what would be copied
  zbundle exchange /media/stick --blind --store post   a post office: carries for others what it cannot read

Takes in what is for us, writes what the others lack, takes away what has arrived, reads every copy back, and says whether the stick may be pulled.
A place is prepared once: `zbundle stick init DIR`. Safe to run again at any time: with nothing new it writes nothing.";

/// Take in, write and tidy a stick or shared folder; says when it is safe to remove
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where the stick is mounted, or a prepared folder
    #[arg(value_name = "DIR")]
    place: PathBuf,
    /// Write only for these; may be given several times [default: everybody who lacks something]
    #[arg(long, value_name = "NODE")]
    to: Vec<String>,
    /// The largest file; what is more becomes several, each useful by itself
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = units::parse_size)]
    max_size: u64,
    /// How many files of ours may lie there
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    max_files: u64,
    /// A page to print and sign; - for the screen
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Take nothing in and write nothing; say what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Carry bundles for others without any key: into the store what lies there, out of it what has not been there
    #[arg(long, requires = "store", conflicts_with_all = ["to", "receipt", "dry_run", "max_files", "max_size"])]
    blind: bool,
    /// Where bundles for others wait on this computer
    #[arg(long, value_name = "DIR", requires = "blind")]
    store: Option<PathBuf>,
    /// How much may wait there; what is urgent puts out what is less
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = units::parse_size, requires = "blind")]
    quota: u64,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        files::must_be_there(&context.ports, &self.place)?;
        if let (true, Some(store)) = (self.blind, &self.store) {
            let written = [Some(self.place.clone()), folder_of(context, &store.join("any"))];
            confine(&written.into_iter().flatten().collect::<Vec<_>>(), Talks::Here);
            return blind::run(context, &self.place, store, self.quota);
        }
        let written = [Some(context.data_dir()), Some(self.place.clone()), self.receipt.as_deref().and_then(|page| folder_of(context, page))];
        confine(&written.into_iter().flatten().collect::<Vec<_>>(), Talks::Here);
        let page = self.receipt.as_deref().filter(|_| !self.dry_run);
        if let Some(path) = page {
            receipt::refuse_taken(context, path)?; // before anything is written: it could not be told whether the stick is safe
        }
        let mut node = context.node()?;
        let to = self.to.iter().map(|name| members::node_id(&node, name)).collect::<Result<Vec<_>, _>>()?;
        let order = ExchangeOrder { place: &self.place, to: &to, max_size: self.max_size, files_max: self.max_files, dry_run: self.dry_run };
        let exchanged = exchange(context, &mut node, &order)?;
        let told = node.told_before(&exchanged.ingested.files).unwrap_or_default(); // else they are told once more
        tell(context, &node, &exchanged, &told, self.dry_run)?;
        let no_page = match page.map_or(Ok(()), |path| receipt::write(context, &node, &exchanged, path)) {
            Err(Halt::Refused { code, why }) => {
                context.console.refuse(code, &why)?; // of the page alone
                Some(code.row().exit)
            }
            written => written.map(|()| None)?,
        };
        let ended = Ended::of(&exchanged, self.dry_run);
        if let Some(code) = ended.code {
            let why = exchanged.trouble.as_ref().map_or_else(|| escape::plain_path(&self.place), ToString::to_string);
            context.console.refuse(code, &why)?;
        }
        if ended.state != State::Nothing || !context.globals.quiet {
            context.console.line(&ended.sentence)?; // cron writes no mail about nothing
        }
        let exit = match ended.code {
            Some(code) => code.row().exit,
            None if exchanged.cut.kept_back > 0 => Exit::Partial,
            None => no_page.unwrap_or_else(|| ingest::exit_of_many(&exchanged.ingested)),
        };
        Ok(Finished { exit, summary: sum_up(&exchanged, &ended, self.dry_run) })
    }
}

/// The folder that a file goes to, or the nearest one above it that is there already.
fn folder_of(context: &Context, file: &Path) -> Option<PathBuf> {
    let mut folders = file.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    folders.find(|folder| context.ports.disk.look(folder).is_ok_and(|entry| entry.is_some())).map(Path::to_owned)
}

/// Do it, with a bar for each way.
fn exchange(context: &mut Context, node: &mut Node, order: &ExchangeOrder<'_>) -> Result<Exchanged, Halt> {
    let mut taking = Progress::start(&context.console, context.ports.clock.clone(), "taking in", None);
    let mut copying = Progress::start(&context.console, context.ports.clock.clone(), "copying", None);
    let (mut took, mut wrote) = ((0, 0), (0, 0));
    let exchanged = node.exchange(order, &mut |step| match step {
        Step::Took(file) => {
            took = (took.0 + file.bytes, took.1 + file.counts.new);
            taking.reach(&mut context.console, took.0, took.1);
        }
        Step::Wrote(events, raw_len, total) => {
            wrote = (wrote.0 + raw_len, wrote.1 + events);
            copying.expect(wrote.0 / wrote.1.max(1) * total.max(wrote.1)); // what is left is taken to be like what went
            copying.reach(&mut context.console, wrote.0, wrote.1);
        }
    });
    taking.end();
    copying.end();
    Ok(exchanged?)
}

/// Nothing of files that were `told` before to whoever wants to hear what is new.
fn tell(context: &mut Context, node: &Node, exchanged: &Exchanged, told: &BTreeSet<PathBuf>, dry_run: bool) -> Result<(), Halt> {
    let naming = node.naming();
    if !context.globals.json {
        let which = which(context, exchanged); // the summary has it for programs
        context.console.note(&which);
    }
    let is_old = |file: &&FileReport| context.globals.quiet && told.contains(&file.path);
    let files: Vec<_> = exchanged.ingested.files.iter().filter(|file| is_worth_a_line(file) && !is_old(file)).collect();
    for file in files {
        ingest::tell(context, &naming, file, None)?;
    }
    ingest::remarks(context, &node.naming(), &exchanged.ingested)?;
    for file in exchanged.cut.files.iter().filter(|file| !file.already_there) {
        let to: Vec<_> = file.recipients.iter().map(|node| naming.node(node)).collect();
        context.console.result(&cut::line(file, &to, dry_run), || cut::object(file, &to, dry_run))?;
    }
    remark_kept_back(context, exchanged);
    for node in exchanged.level.iter().filter(|_| !context.globals.quiet) {
        let name = naming.node(node);
        context.console.result(&format!("{name} has received everything"), || Object::of("level").with("node", &name))?;
    }
    Ok(())
}

/// Which place it was, as its marker says, and how much lies there that is not ours to open.
fn which(context: &Context, exchanged: &Exchanged) -> String {
    let marker = &exchanged.place.marker;
    let is_ours = |path: &Path| exchanged.lying.iter().any(|written| path.file_name().is_some_and(|name| *name == *written.name));
    let lies_there = |path: &Path| context.ports.disk.look(path).is_ok_and(|entry| entry.is_some());
    let sealed = exchanged.ingested.files.iter().filter(|file| file.outcome == Outcome::NotForUs);
    let others = sealed.filter(|file| !is_ours(&file.path) && lies_there(&file.path)).count() as u64;
    let carried = if others == 0 { String::new() } else { format!(", with {} for others", units::count(others, "bundle")) };
    format!("{} \"{}\"{carried}", marker.kind.name(), escape::plain(&marker.label))
}

/// What a process that watches did in a place by itself: nothing is said of nothing.
pub(super) fn tell_watched(context: &mut Context, exchanged: &Exchanged) -> Result<Option<Code>, Halt> {
    let ended = Ended::of(exchanged, false);
    if let Some(code) = ended.code {
        let why = exchanged.trouble.as_ref().map_or_else(|| ended.sentence.clone(), ToString::to_string);
        context.console.warn(code, &why)?;
    }
    remark_kept_back(context, exchanged);
    if ended.state != State::Nothing {
        let place = escape::plain_path(&exchanged.place.root);
        context.console.line(&format!("{place}: {}", ended.sentence))?;
        context.console.object(sum_up(exchanged, &ended, false).with("place", &place))?;
    }
    Ok(ended.code)
}

fn remark_kept_back(context: &mut Context, exchanged: &Exchanged) {
    if exchanged.cut.kept_back > 0 {
        context.console.remark(&cut::kept_back(exchanged.cut.kept_back));
    }
}

/// Of what was looked at, what a person wants to know: what was new, and what is not well.
fn is_worth_a_line(file: &FileReport) -> bool {
    match file.outcome {
        Outcome::Taken => file.counts.new > 0 || !file.forks.is_empty(),
        Outcome::NotForUs => false,
        _ => true,
    }
}

/// The last word of a run, as the demo says it too.
pub fn sentence(exchanged: &Exchanged) -> String {
    Ended::of(exchanged, false).sentence
}

/// How it ended, for pages and scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Safe,
    Nothing,
    Partial,
    Failed,
    Planned,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Nothing => "nothing",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Planned => "planned",
        }
    }
}

struct Ended {
    state: State,
    code: Option<Code>,
    sentence: String,
}

impl Ended {
    fn of(exchanged: &Exchanged, dry_run: bool) -> Self {
        let stick = exchanged.place.marker.kind == PlaceKind::Stick;
        let (place, other) = if stick { ("Stick", "another stick") } else { ("Folder", "another place") };
        let (copied, left) = (records(&exchanged.copied), records(&exchanged.left));
        let wrote = exchanged.cut.files.iter().any(|file| !file.already_there);
        let mut words = Vec::new();
        let taken = exchanged.ingested.counts.new;
        words.extend((taken > 0).then(|| format!("{} taken in.", units::count(taken, "new record"))));
        let (state, code) = match (&exchanged.trouble, exchanged.cut.full) {
            _ if dry_run => {
                words.push(format!("{} would be copied.", units::count(copied, "new record")));
                (State::Planned, None)
            }
            (Some(trouble), _) => {
                let code = trouble.code();
                words.extend((copied > 0).then(|| format!("{} copied.", units::count(copied, "record"))));
                words.push(failure(code, place, other));
                (State::Failed, Some(code))
            }
            (None, true) => {
                let code = if exchanged.lying.is_empty() { Code::Z236 } else { Code::Z235 };
                words.push(match copied {
                    0 => format!("Nothing copied: no room. Use {other}."),
                    _ => format!("{place} is full: {copied} of {} copied. Use {other} for the rest.", copied + left),
                });
                (State::Partial, Some(code))
            }
            (None, false) if copied > 0 => {
                words.push(format!("{} copied.", units::count(copied, "new record")));
                (State::Safe, None)
            }
            (None, false) if wrote => {
                words.push("A receipt was copied.".to_owned());
                (State::Safe, None)
            }
            (None, false) if taken == 0 => {
                words.push("Nothing new.".to_owned());
                (State::Nothing, None)
            }
            (None, false) => (State::Safe, None),
        };
        if exchanged.safe {
            words.push(safe_words(stick));
        }
        Self { state, code, sentence: words.join(" ") }
    }
}

/// The last word about a place that may be taken out.
fn safe_words(stick: bool) -> String {
    if stick { "Stick is safe to remove." } else { "Everything is in the folder." }.to_owned()
}

/// What went wrong, whether the data is safe, what to do: in the words of who holds the stick.
fn failure(code: Code, place: &str, other: &str) -> String {
    match code {
        Code::Z234 => format!("{place} is read-only ({code}): nothing was copied. Records are safe on this computer. Use {other}."),
        Code::Z244 => format!("This user may not write to the {} ({code}). Records are safe on this computer. Use {other}.", place.to_lowercase()),
        Code::Z237 => format!("{place} was taken out too early or does not answer ({code}). Nothing is lost. Put it back and run it again."),
        _ => format!("Copy failed ({code}). Records are safe on this computer. Try {other}."),
    }
}

/// Records are what people push; control events are ours.
fn records(events: &[u64; 4]) -> u64 {
    events.iter().skip(1).sum()
}

fn sum_up(exchanged: &Exchanged, ended: &Ended, dry_run: bool) -> Object {
    let marker = &exchanged.place.marker;
    let written = exchanged.cut.files.iter().filter(|file| !file.already_there);
    let (files, bytes) = written.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.bytes));
    let refused = exchanged.ingested.count_of(|outcome| matches!(outcome, Outcome::Refused(_)));
    let held = exchanged.ingested.count_of(|outcome| *outcome == Outcome::Held);
    let incomplete = exchanged.ingested.count_of(|outcome| *outcome == Outcome::Incomplete);
    let summary = summary("exchange").with("state", ended.state.name()).with("safe", exchanged.safe).with("sentence", &ended.sentence);
    let summary = summary.with_some("code", ended.code.map(Code::as_str)).with("id", marker.id.to_string()).with("kind", marker.kind.name());
    let kept_back = Some(exchanged.cut.kept_back).filter(|count| *count > 0);
    let summary = summary.with("label", &marker.label).with("new", exchanged.ingested.counts.new).with_some("kept_back", kept_back);
    let summary = summary.with("duplicate", exchanged.ingested.counts.duplicate).with("refused", refused).with("held", held);
    let summary = summary
        .with("incomplete", incomplete)
        .with("deeper", exchanged.ingested.deeper)
        .with("copied", records(&exchanged.copied))
        .with("left", records(&exchanged.left));
    summary.with("files", files).with("bytes", bytes).with("tidied", exchanged.tidied).with("dry_run", dry_run)
}
