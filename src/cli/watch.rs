//! `zbundle watch`: take in what comes into prepared places, until told to end.

use super::halt::Halt;
use super::object::Object;
use super::standing::Stay;
use super::{Confined, Context, Files, Finished, OsHints, Talks, bundle, confine, escape, exchange, ingest, summary, units};
use crate::carry::stick;
use crate::carry::watch::Pace;
use crate::node::naming::Naming;
use crate::node::taking::{FileReport, Outcome};
use crate::node::watching::{Answers, Watched, Watcher};
use crate::ports::hints::{Hints, NoHints};
use bundle_format::error::{Code, Exit};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// Largest file written, and how many of ours may lie in a folder: as `exchange` has them when it is told nothing else.
const MAX_SIZE: u64 = 64 << 20;
/// As [`MAX_SIZE`].
const FILES_MAX: u64 = 1000;

const EXAMPLES: &str = "\
Examples:
  zbundle watch /srv/drop
  zbundle watch /media/stick /srv/drop --json
  zbundle watch --exchange /srv/drop             answers there too: receipts, and what the others lack
  zbundle watch --once /srv/drop                 from cron: says nothing when all is well

Each folder must have been prepared once: `zbundle stick init DIR`, a shared folder with --folder. One that is not there yet is waited for. Files that
are still arriving wait; one that is damaged, forged or not ours is told once and left where it is. All other commands work beside it.
`zbundle serve --watch DIR` does the same inside a hub.";

/// Take in whatever comes into folders, until told to end
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Prepared folders or mounted sticks
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Look once, take in what is there, and end
    #[arg(long, conflicts_with = "exchange")]
    once: bool,
    #[command(flatten)]
    pace: PaceArgs,
}

/// How often, how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PaceArgs {
    /// Look at each folder at least so often
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = units::parse_duration_ms)]
    look_every: u64,
    /// Tell of a file that is not whole when it has not grown for so long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = units::parse_duration_ms)]
    stalled_after: u64,
    /// Also write there what others lack and take away what has arrived, as `zbundle exchange` does
    #[arg(long)]
    exchange: bool,
}

impl PaceArgs {
    /// How the folders are written to, when they are.
    fn answers(&self) -> Option<Answers> {
        self.exchange.then_some(Answers { max_size: MAX_SIZE, files_max: FILES_MAX })
    }

    /// As the watcher takes them.
    pub fn pace(&self) -> Pace {
        Pace { every_ms: self.look_every.max(100), stalled_s: u32::try_from(self.stalled_after / 1000).unwrap_or(u32::MAX) }
    }
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        if self.once {
            return self.look_once(context);
        }
        for folder in &self.folders {
            refuse_wrong(context, folder)?;
        }
        let confined = confine_watching(context, (&self.folders, &self.pace), Vec::new(), Talks::Here);
        let refused = |it: bool| if it { "refused by the kernel" } else { "not refused by this kernel" };
        context.console.note(&format!("writing anywhere but in its own folders is {}", refused(confined.files != Files::Not)));
        context.console.note(&format!("system calls that it does not need are {}", refused(confined.calls)));
        let standing = context.standing()?;
        context.stay(standing, async |context, stay| self.watch(context, stay).await)
    }

    async fn watch(&self, context: &mut Context, stay: &Stay) -> Result<Finished, Halt> {
        let (mut watcher, mut said) = watcher(context, stay, &self.pace, &self.folders);
        let mut tally = Tally::default();
        let stop = stay.stop.clone();
        let mut watching = std::pin::pin!(watcher.run(stop));
        loop {
            tokio::select! {
                biased;
                Some(word) = said.recv() => tally.tell(context, stay, word).await?,
                () = &mut watching => break,
            }
        }
        while let Ok(word) = said.try_recv() {
            tally.tell(context, stay, word).await?;
        }
        Ok(Finished::done(tally.summary(summary("watch"))))
    }

    /// On a lease when a process keeps the node: that may watch the same folders.
    fn look_once(&self, context: &mut Context) -> Result<Finished, Halt> {
        confine_watching(context, (&self.folders, &self.pace), Vec::new(), Talks::Here);
        let mut node = context.node()?;
        let (mut tally, pace) = (Tally::default(), self.pace.pace());
        for folder in &self.folders {
            let mut words = Vec::new();
            node.watch_once(folder, &pace, &mut |word| words.push(word));
            for word in &words {
                tally.tell_by(context, Some(&node.naming()), word)?;
            }
        }
        Ok(Finished { exit: tally.exit, summary: tally.summary(summary("watch")) })
    }
}

/// Give up what watching does not need: it writes in the data directory and what else is `written`, and in the folders only where it answers. A stick may be mounted later, so there
/// the right is to the folder it is mounted in.
pub fn confine_watching(context: &Context, (folders, pace): (&[PathBuf], &PaceArgs), mut written: Vec<PathBuf>, talks: Talks) -> Confined {
    written.push(context.data_dir());
    for folder in folders.iter().filter(|_| pace.exchange) {
        let around = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        written.extend([folder.clone(), around.unwrap_or(Path::new(".")).to_owned()]);
    }
    confine(&written, talks)
}

/// A folder somebody mistyped is told at once; one that is empty or not there may be the place of a stick that comes later.
pub fn refuse_wrong(context: &Context, folder: &Path) -> Result<(), Halt> {
    let disk = &*context.ports.disk;
    match stick::recognise(disk, folder) {
        Err(error) if disk.list(folder).is_ok_and(|entries| !entries.is_empty()) => Err(Halt::by(error.code(), &error)),
        _ => Ok(()),
    }
}

/// A watcher of `folders`, and where its words come out.
pub fn watcher(context: &mut Context, stay: &Stay, pace: &PaceArgs, folders: &[PathBuf]) -> (Watcher, UnboundedReceiver<Watched>) {
    let hints: Rc<dyn Hints> = match OsHints::new() {
        Ok(hints) => Rc::new(hints),
        Err(error) => {
            context.console.note(&format!("the system gives no hints of changes ({error}); folders are looked at every few seconds instead"));
            Rc::new(NoHints)
        }
    };
    let (told, said) = mpsc::unbounded_channel();
    let tell = Box::new(move |word| told.send(word).unwrap_or(())); // nobody reads any more: the end is near
    (Watcher::new(Rc::clone(&stay.standing), &context.ports, hints, pace.pace(), folders, tell).answering(pace.answers()), said)
}

/// What a watcher did.
#[derive(Debug)]
pub struct Tally {
    /// Told.
    pub files: u64,
    /// Events taken.
    pub new: u64,
    refused: u64,
    stalled: u64,
    held: u64,
    duplicate: u64,
    exit: Exit,
}

impl Default for Tally {
    fn default() -> Self {
        Self { files: 0, refused: 0, stalled: 0, held: 0, new: 0, duplicate: 0, exit: Exit::Done }
    }
}

impl Tally {
    /// Tell one word as soon as the node is there to name who it is about; without names when it cannot be had.
    pub async fn tell(&mut self, context: &mut Context, stay: &Stay, word: Watched) -> Result<(), Halt> {
        if matches!(word, Watched::File(_) | Watched::Taken(_)) {
            let mut told = None;
            let named = stay.standing.with(|node| {
                told = Some(self.tell_by(context, Some(&node.naming()), &word));
                Ok(())
            });
            if let (Ok(()), Some(told)) = (named.await, told) {
                return told;
            }
        }
        self.tell_by(context, None, &word)
    }

    fn tell_by(&mut self, context: &mut Context, naming: Option<&Naming<'_>>, word: &Watched) -> Result<(), Halt> {
        match word {
            Watched::File(file) => {
                self.count(file);
                match naming {
                    Some(naming) => ingest::tell(context, naming, file, None)?,
                    None => context.console.remark(&format!("{}  {:?}", escape::plain_path(&file.path), file.outcome)),
                }
            }
            Watched::Taken(ingested) => {
                if let Some(naming) = naming {
                    ingest::remarks(context, naming, ingested)?;
                }
            }
            Watched::Away { code, why, .. } | Watched::Trouble { code, why } => {
                self.exit = self.exit.max(code.row().exit);
                context.console.warn(*code, why)?;
            }
            Watched::Deeper { folder, count } => {
                context.console.note(&format!("{}: {}", escape::plain_path(folder), bundle::too_deep(*count)));
            }
            Watched::Exchanged(exchanged) => {
                let code = exchange::tell_watched(context, exchanged)?;
                self.exit = self.exit.max(code.map_or(Exit::Done, |code| code.row().exit));
            }
            Watched::Back(folder) => {
                let folder = escape::plain_path(folder);
                context.console.note(&format!("{folder} is there again"));
                context.console.object(Object::of("folder").with("folder", &folder).with("state", "back"))?;
            }
        }
        context.console.flush()
    }

    fn count(&mut self, file: &FileReport) {
        self.files += 1;
        self.new += file.counts.new;
        self.duplicate += file.counts.duplicate;
        let is_stalled = file.outcome == Outcome::Refused(Code::Z240);
        let is_refused = matches!(file.outcome, Outcome::Refused(_));
        self.refused += u64::from(is_refused && !is_stalled);
        self.stalled += u64::from(is_stalled);
        self.held += u64::from(file.outcome == Outcome::Held);
        if is_refused || file.outcome == Outcome::Held || !file.forks.is_empty() {
            self.exit = self.exit.max(Exit::Partial);
        }
    }

    /// With what it did.
    pub fn summary(&self, summary: Object) -> Object {
        let summary = summary.with("files", self.files).with("new", self.new).with("duplicate", self.duplicate);
        summary.with("refused", self.refused).with("held", self.held).with("stalled", self.stalled)
    }
}
