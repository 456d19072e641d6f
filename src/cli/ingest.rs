//! `zbundle ingest`: take bundles in.

use super::halt::Halt;
use super::object::Object;
use super::progress::Progress;
use super::{Context, Finished, Talks, bundle, confine, escape, files, summary, units};
use crate::carry::finding::Candidate;
use crate::node::NodeError;
use crate::node::inspect;
use crate::node::naming::Naming;
use crate::node::taking::{FileReport, Ingested, Missing, Outcome};
use bundle_format::error::{Code, Exit};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  zbundle ingest /media/stick
  zbundle ingest a.zb b.zb
  ssh clinic cat out.zb | zbundle ingest -

Nothing is taken from a bundle that is cut short, damaged, forged or from a stranger. What comes too early is kept and taken when the gap is filled.";

/// Check bundles and take in what is new; each event exactly once
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Bundles, folders of bundles, or - for stdin
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        self.paths.iter().filter(|path| path.as_os_str() != "-").try_for_each(|path| files::must_be_there(&context.ports, path))?;
        confine(&[context.data_dir()], Talks::Here);
        let mut node = context.node()?;
        let (mut paths, mut piped) = (Vec::new(), None);
        for path in &self.paths {
            if path.as_os_str() == "-" && piped.is_none() {
                let spooled = files::spool_stdin(&context.ports, &context.data_dir())?;
                paths.push(spooled.clone());
                piped = Some(spooled);
            } else {
                paths.push(path.clone());
            }
        }
        let mut progress = Progress::start(&context.console, context.ports.clock.clone(), "taking in", total_len(context, &paths));
        let (mut bytes, mut events) = (0, 0);
        let ingested = node.ingest(&paths, &mut |file| {
            (bytes, events) = (bytes + file.bytes, events + file.counts.new);
            progress.reach(&mut context.console, bytes, events);
        });
        progress.end();
        if let Some(path) = &piped {
            context.ports.disk.remove(path).map_err(|error| Halt::from(NodeError::writing(path, error)))?;
        }
        let ingested = ingested?;
        for file in &ingested.files {
            tell(context, &node.naming(), file, piped.as_deref())?;
        }
        remarks(context, &node.naming(), &ingested)?;
        let single = bundle::is_single(context, &self.paths);
        let exit = if single { ingested.files.first().map_or(Exit::Done, exit_of_one) } else { exit_of_many(&ingested) };
        let counts = &ingested.counts;
        let refused = ingested.count_of(|outcome| matches!(outcome, Outcome::Refused(_)));
        let held = ingested.count_of(|outcome| *outcome == Outcome::Held);
        let incomplete = ingested.count_of(|outcome| *outcome == Outcome::Incomplete);
        let naming = node.naming();
        let missing: Vec<_> = ingested.missing.iter().map(|gap| missing_text(&naming, gap)).collect();
        let summary = summary("ingest").with("files", ingested.files.len()).with("new", counts.new).with("duplicate", counts.duplicate);
        let summary = summary.with("control", counts.control).with("refused", refused).with("held", held).with("missing", missing);
        let summary = summary.with("incomplete", incomplete).with("deeper", ingested.deeper);
        let cut_short = if incomplete > 0 { format!(", {incomplete} cut short") } else { String::new() };
        let text = format!("{} new, {} already here, {refused} refused, {held} held{cut_short}", counts.new, counts.duplicate);
        context.console.line(&text)?;
        Ok(Finished { exit, summary })
    }
}

/// Bytes of all bundles that will be looked at, as far as they can be told now.
fn total_len(context: &Context, paths: &[PathBuf]) -> Option<u64> {
    let bundles = paths.iter().filter_map(|path| inspect::bundles(&context.ports, path).ok()).flatten();
    let len = |candidate: Candidate| match candidate {
        Candidate::File(path) => context.ports.disk.look(&path).ok().flatten().map_or(0, |entry| entry.len),
        _ => 0,
    };
    Some(bundles.map(len).sum()).filter(|total| *total > 0)
}

fn exit_of_one(file: &FileReport) -> Exit {
    let forked = if file.forks.is_empty() { Exit::Done } else { Exit::Partial };
    file.outcome.code().map_or(forked, |code| code.row().exit)
}

/// Bundles for others and files that are not ours never count against a folder.
pub(super) fn exit_of_many(ingested: &Ingested) -> Exit {
    let against = |file: &FileReport| matches!(file.outcome, Outcome::Held | Outcome::Incomplete | Outcome::Refused(_)) || !file.forks.is_empty();
    if ingested.files.iter().any(against) || !ingested.missing.is_empty() { Exit::Partial } else { Exit::Done }
}

pub(super) fn missing_text(naming: &Naming<'_>, gap: &Missing) -> String {
    let origin = naming.origin(&gap.origin);
    if gap.from == gap.to { format!("{origin}:{}", gap.from) } else { format!("{origin}:{}-{}", gap.from, gap.to) }
}

/// One file's line.
pub(super) fn tell(context: &mut Context, naming: &Naming<'_>, file: &FileReport, piped: Option<&Path>) -> Result<(), Halt> {
    let path = if Some(file.path.as_path()) == piped { Path::new("-") } else { &file.path };
    let name = escape::plain_path(path);
    let code = file.outcome.code();
    let (outcome, said) = match &file.outcome {
        Outcome::Taken => ("taken", None),
        Outcome::Held => ("held", code),
        Outcome::Incomplete => ("incomplete", code),
        Outcome::NotForUs => ("not_for_us", code),
        Outcome::Refused(Code::Z240) => ("stalled", code),
        Outcome::Refused(_) => ("refused", code),
        Outcome::Foreign(_) => ("foreign", code),
    };
    let sender = file.sender.map(|node| naming.node(&node));
    let (new, duplicate, control) = (file.counts.new, file.counts.duplicate, file.counts.control);
    let missing: Vec<_> = file.missing.iter().map(|gap| missing_text(naming, gap)).collect();
    let forks: Vec<_> = file.forks.iter().map(|fork| format!("{}:{}", naming.origin(&fork.origin), fork.seq)).collect();
    let from = sender.as_ref().map(|sender| format!("  from {sender}")).unwrap_or_default();
    let counts = format!("{}: {new} new, {duplicate} already here", units::count(new + duplicate, "event"));
    let mut words = vec![match (said, &file.outcome) {
        (None, _) => counts,
        (Some(code), Outcome::Held) => format!("held {code}; {counts}"),
        (Some(code), Outcome::NotForUs) => format!("for another place, leave it on the stick ({code})"),
        (Some(code), _) => format!("{} {code} {}", outcome.replace('_', " "), code.row().title),
    }];
    let mended = file.counts.mended;
    words.extend((mended > 0).then(|| format!("{} that had rotted here again", units::count(mended, "event"))));
    words.extend(file.detail.as_ref().map(|detail| escape::plain(detail).to_string()));
    words.extend(missing.iter().map(|gap| format!("missing {gap}")));
    words.extend(forks.iter().map(|fork| format!("FORK at {fork}")));
    let row = code.map(Code::row);
    let advice = row.filter(|_| matches!(file.outcome, Outcome::Refused(_))).map(|row| format!(". {} Do this: {}", row.safe, row.hint));
    context.console.result(&format!("{name}{from}  {}{}", words.join("; "), advice.unwrap_or_default()), || {
        let object = Object::of("file").with("file", path.to_string_lossy()).with("outcome", outcome).with_some("code", code.map(Code::as_str));
        let object =
            object.with_some("title", row.map(|row| row.title)).with_some("safe", row.map(|row| row.safe)).with_some("hint", row.map(|row| row.hint));
        let object = object.with_some("detail", file.detail.as_ref()).with_some("sender", sender.as_ref()).with("bytes", file.bytes);
        object
            .with("new", new)
            .with("duplicate", duplicate)
            .with("control", control)
            .with("mended", mended)
            .with("missing", &missing)
            .with("forks", &forks)
    })
}

/// What a person should know beside the files.
pub(super) fn remarks(context: &mut Context, naming: &Naming<'_>, ingested: &Ingested) -> Result<(), Halt> {
    if ingested.new_life {
        let why = format!("{} written again", units::count(ingested.reappended, "event"));
        context.console.warn(Code::Z306, &why)?;
    }
    for peer in &ingested.renewed_peers {
        context
            .console
            .note(&format!("{} lost some records and starts a new number series: its card or image was replaced or restored", naming.node(peer)));
    }
    if ingested.counts.left_out > 0 {
        context.console.note(&format!(
            "{} left out: a branch of a fork is full or one too many, its ids are taken, or a member has begun too many histories",
            units::count(ingested.counts.left_out, "event")
        ));
    }
    if ingested.deeper > 0 {
        context.console.note(&bundle::too_deep(ingested.deeper));
    }
    Ok(())
}
