//! Watch prepared places and take in what comes. SPEC §10.11.
//!
//! In: folders, hints, time. Out: a word for each file that brought something or is refused, once; for each folder that goes away or comes back.
//! Invariants: looking changes nothing in a folder (R10.11-h); the node is held for a few files at a time, and nothing of a folder between looks;
//! whatever goes wrong with a folder or our own disk, the next look tries again (R10.11-f). Not here: when a file is due (`carry::watch`), what the
//! machine volunteers (`ports::hints`), what is written into a folder that is answered in (`node::exchanging`).

use super::exchanging::{ExchangeOrder, Exchanged};
use super::standing::Standing;
use super::taking::{FileReport, Ingested, Manner, Outcome, nearest};
use super::{Node, NodeError, settle};
use crate::carry::finding::{self, Found};
use crate::carry::stick::{self, StickError};
use crate::carry::watch::{self, Known, Look, Pace};
use crate::ports::Ports;
use crate::ports::disk::{Entry, Kind};
use crate::ports::hints::{Hint, Hints, NoHints};
use bundle_format::error::Code;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch::Receiver;

/// What is kept free on a file system of usual size; a hundredth of a large one is more.
const RESERVE: u64 = 64 << 20;
/// In one turn on the node so many files are read, or so many bytes: others wait for their turn meanwhile.
const TURN_FILES: usize = 32;
/// As [`TURN_FILES`].
const TURN_BYTES: u64 = 8 << 20;
/// Or so long: a small file may hold work for seconds (R4.4-m).
const TURN_MS: u64 = 1_000;
/// Folders of one place that give hints; the others are found by looking.
const ARMED_MAX: usize = 64;

/// One thing to tell.
#[derive(Debug)]
pub enum Watched {
    /// A file that brought something, waits for something, or is refused.
    File(FileReport),
    /// A folder cannot be read, or is none that was prepared: it is waited for.
    Away {
        /// Which.
        folder: PathBuf,
        /// The row.
        code: Code,
        /// The detail.
        why: String,
    },
    /// A folder that was away is read again.
    Back(PathBuf),
    /// So many folders in a watched one lie too deep to be looked into.
    Deeper {
        /// The watched one.
        folder: PathBuf,
        /// How many.
        count: usize,
    },
    /// Our own node or disk said no; it is tried again.
    Trouble {
        /// The row.
        code: Code,
        /// The detail.
        why: String,
    },
    /// A look has ended that took something in.
    Taken(Ingested),
    /// What others lacked was written into a folder, or could not be; what has arrived was taken away.
    Exchanged(Box<Exchanged>),
}

/// One look at a folder, on its way: so many of the entries have been judged.
struct Visit {
    entries: Vec<Entry>,
    at: usize,
    early: Vec<FileReport>,
    ingested: Ingested,
    reports: Vec<FileReport>,
    /// Some bundle for us was read: its sender may be owed a receipt.
    has_met_bundles: bool,
}

impl Node {
    /// Look at a folder once and take in what is there, from a process that does not stay.
    pub fn watch_once(&mut self, folder: &Path, pace: &Pace, tell: &mut dyn FnMut(Watched)) {
        let found = match find(&self.ports, folder) {
            Ok(found) => found,
            Err((code, why)) => return tell(Watched::Away { folder: folder.to_owned(), code, why }),
        };
        aside(folder, &found, &Aside::default(), tell);
        let mut visit = Visit::new(found.entries);
        loop {
            let done = self.watch_some(&mut visit, pace);
            visit.reports.drain(..).for_each(|report| tell(Watched::File(report)));
            match done {
                Ok(false) => {}
                Ok(true) => break,
                Err(error) => return tell(Watched::Trouble { code: error.code(), why: error.to_string() }),
            }
        }
        if visit.is_worth_telling() {
            tell(Watched::Taken(visit.ingested));
        }
    }

    /// Go on with a look until some files have been read. Returns whether it has ended.
    fn watch_some(&mut self, visit: &mut Visit, pace: &Pace) -> Result<bool, NodeError> {
        self.require_joined()?;
        self.stand_ledger()?;
        let (mut files, mut bytes, begun_ms) = (0, 0, self.ports.clock.monotonic_ms());
        while let Some(entry) = visit.entries.get(visit.at).cloned() {
            let is_long = files > 0 && self.ports.clock.monotonic_ms().saturating_sub(begun_ms) >= TURN_MS;
            if files >= TURN_FILES || bytes >= TURN_BYTES || is_long {
                return Ok(false);
            }
            let now_s = self.now_s();
            let look = self.ledger()?.look(&entry, now_s);
            if look.is_none_or(|look| watch::is_due(&look, now_s, pace)) {
                if files == 0 {
                    self.require_room()?;
                }
                files += 1;
                bytes += entry.len.min(TURN_BYTES);
                self.watch_one(&entry, look, pace, visit)?;
            }
            visit.at += 1;
        }
        self.end_visit(visit)?;
        Ok(true)
    }

    /// Read one file, judge whether what it gave is to be told, and remember how it looked.
    fn watch_one(&mut self, entry: &Entry, before: Option<Look>, pace: &Pace, visit: &mut Visit) -> Result<(), NodeError> {
        let now_s = self.now_s();
        let since_s = before.map_or(now_s, |look| look.since_s);
        let stamp_s = entry.print.modified_ns.max(entry.print.changed_ns).div_euclid(1_000_000_000);
        let to_tell = |code| watch::is_to_tell(code, since_s, stamp_s, now_s, pace);
        let report = if entry.kind == Kind::File {
            self.take_file(&entry.path, Manner::Watched { is_doubtful: !to_tell(Code::Z213) }, &mut visit.ingested)?
        } else {
            FileReport::of(entry.path.clone(), Outcome::Foreign(Code::Z229), None)
        };
        let was_met = before.is_some_and(|look| matches!(look.known, Known::Taken | Known::Told(Code::Z227)));
        visit.has_met_bundles |= !was_met && matches!(report.outcome, Outcome::Taken | Outcome::Held);
        let after = self.ports.disk.look(&entry.path).ok().flatten();
        let is_same = after.is_some_and(|after| after.len == entry.len && after.print == entry.print && after.kind == entry.kind);
        let (known, report) = judge(report, is_same, to_tell);
        if is_same {
            let trusted = watch::is_trusted(since_s, stamp_s, now_s);
            self.ledger()?.note_look(entry, Look { since_s, read_s: now_s, trusted, known });
        }
        let is_told = matches!(known, Known::Told(_)) && before.is_some_and(|look| look.known == known);
        match report {
            _ if is_told => {}
            Some(report) if report.outcome == Outcome::Held => visit.early.push(report),
            Some(report) => visit.note(report),
            None => {}
        }
        Ok(())
    }

    /// What comes after the last file of a look: what was early, what waited, what we lost.
    fn end_visit(&mut self, visit: &mut Visit) -> Result<(), NodeError> {
        let mut told = Vec::new();
        let mut keep = |report: &FileReport| told.push(report.clone());
        let early = std::mem::take(&mut visit.early);
        let was_early = !early.is_empty();
        self.take_early(early, Manner::Watched { is_doubtful: false }, &mut visit.ingested, &mut keep)?;
        if visit.ingested.has_grown() || was_early {
            self.retry_held(&mut visit.ingested, &mut keep)?;
        }
        if visit.has_met_bundles || visit.ingested.has_grown() || visit.ingested.new_life {
            settle::settle(self, &mut visit.ingested)?; // a receipt alone may be the last word that a lost life waits for (R6.6-d)
        }
        visit.ingested.missing = nearest(std::mem::take(&mut visit.ingested.missing));
        visit.reports.append(&mut told);
        self.save_ledger()
    }

    /// Which of `files`, as somebody else than a watcher read them, were told as what they are before, and look the same. The others count as told from now on
    /// (R10.11-e).
    ///
    /// # Errors
    /// When the ledger, a memory of it, cannot be read or written.
    pub fn told_before(&mut self, files: &[FileReport]) -> Result<BTreeSet<PathBuf>, NodeError> {
        let (disk, now_s) = (self.ports.disk.clone(), self.now_s());
        let mut told = BTreeSet::new();
        for report in files.iter().filter(|report| report.outcome != Outcome::NotForUs) {
            let (Some(code), Some(entry)) = (report.outcome.code(), disk.look(&report.path).ok().flatten()) else { continue };
            let before = self.ledger()?.look(&entry, now_s);
            if before.is_some_and(|look| look.known == Known::Told(code)) {
                told.insert(report.path.clone());
            } else {
                let since_s = before.map_or(now_s, |look| look.since_s);
                self.ledger()?.note_look(&entry, Look { since_s, read_s: now_s, trusted: false, known: Known::Told(code) });
            }
        }
        self.save_ledger()?;
        Ok(told)
    }

    /// Verdicts on what was not taken stand on the roster, our keys and this program (R10.11-d).
    fn stand_ledger(&mut self) -> Result<(), NodeError> {
        let roster = crate::ports::store::Stream::main(self.roster.pin().roster_origin());
        let known = self.log().head(&roster).map_or(0, |head| head.end.seq);
        let ground = format!("{}/{known}/{}/{}", env!("CARGO_PKG_VERSION"), self.keyring.sealing_keys().len(), self.roster.domain());
        self.ledger()?.stand_on(ground.as_bytes());
        Ok(())
    }

    fn require_room(&self) -> Result<(), NodeError> {
        let root = self.layout.root();
        let free = self.ports.disk.free_space(root).map_err(|error| NodeError::reading(root, error))?;
        let reserve = reserve(self.ports.disk.volume_len(root).map_err(|error| NodeError::reading(root, error))?);
        if free >= reserve { Ok(()) } else { Err(NodeError::refused(Code::Z242, format!("{} MiB free, {} kept", free >> 20, reserve >> 20))) }
    }

    fn now_s(&self) -> u32 {
        u32::try_from(self.ports.clock.now_ms() / 1000).unwrap_or(u32::MAX)
    }
}

/// Nothing is taken while a file system of this length, the data directory's, has less free (R10.11-g): pushes and the log's own upkeep come first. On a
/// small one 64 MiB would be all of it.
fn reserve(volume_len: u64) -> u64 {
    let most = if volume_len == 0 { RESERVE } else { volume_len / 8 };
    RESERVE.max(volume_len / 100).min(most)
}

/// What is remembered of a reading, and the report if it is to be told now. A file that changed meanwhile is judged when it is read again.
fn judge(mut report: FileReport, is_same: bool, to_tell: impl Fn(Code) -> bool) -> (Known, Option<FileReport>) {
    match report.outcome {
        Outcome::Taken => (Known::Taken, Some(report).filter(FileReport::is_news)),
        Outcome::Held => (Known::Told(Code::Z227), Some(report)),
        Outcome::NotForUs => (Known::Told(Code::Z611), None), // also our own, on their way: a shared folder is full of such
        Outcome::Incomplete if is_same && to_tell(Code::Z212) => {
            report.outcome = Outcome::Refused(Code::Z240);
            (Known::Told(Code::Z240), Some(report))
        }
        Outcome::Incomplete => (Known::Waiting(Code::Z212), None),
        Outcome::Foreign(Code::Z229) => (Known::Told(Code::Z229), Some(report)),
        Outcome::Refused(code) | Outcome::Foreign(code) if is_same && to_tell(code) => (Known::Told(code), Some(report)),
        Outcome::Refused(code) | Outcome::Foreign(code) => (Known::Waiting(code), None),
    }
}

impl Visit {
    fn new(entries: Vec<Entry>) -> Self {
        Self { entries, at: 0, early: Vec::new(), ingested: Ingested::default(), reports: Vec::new(), has_met_bundles: false }
    }

    fn is_worth_telling(&self) -> bool {
        self.ingested.has_grown() || self.ingested.new_life || self.ingested.reappended > 0 || !self.ingested.missing.is_empty()
    }

    fn note(&mut self, report: FileReport) {
        self.ingested.counts.add(&report.counts); // not the report itself: a hostile folder has a hundred thousand
        self.ingested.missing.extend(&report.missing);
        self.reports.push(report);
    }
}

/// How much is written into watched folders: as of [`ExchangeOrder`].
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Largest file.
    pub max_size: u64,
    /// How many files of ours may lie in each.
    pub files_max: u64,
}

/// A watched folder.
struct Folder {
    path: PathBuf,
    /// When it is looked at again.
    due_ms: u64,
    /// How long the last look took.
    took_ms: u64,
    /// What has been told of it, while it cannot be read.
    away: Option<Code>,
    aside: Aside,
    /// Something may have to be written there.
    owes: bool,
    /// When that was last seen to.
    exchanged_ms: Option<u64>,
}

/// Watches folders for a process that stays.
pub struct Watcher {
    standing: Rc<Standing>,
    ports: Ports,
    hints: Rc<dyn Hints>,
    pace: Pace,
    folders: Vec<Folder>,
    /// How what others lack is written into the folders, when it is.
    answers: Option<Answers>,
    /// What of our own node or disk has been told, until a look succeeds.
    trouble: Option<Code>,
    tell: Box<dyn FnMut(Watched)>,
}

impl Watcher {
    /// Watch `folders`; each word goes to `tell`.
    pub fn new(standing: Rc<Standing>, ports: &Ports, hints: Rc<dyn Hints>, pace: Pace, folders: &[PathBuf], tell: Box<dyn FnMut(Watched)>) -> Self {
        let folder = |path: &PathBuf| Folder {
            path: path.clone(),
            due_ms: 0,
            took_ms: 0,
            away: None,
            aside: Aside::default(),
            owes: true,
            exchanged_ms: None,
        };
        Self { answers: None, standing, ports: ports.clone(), hints, pace, folders: folders.iter().map(folder).collect(), trouble: None, tell }
    }

    /// Write into the folders what others lack, too, whenever something has come or been pushed.
    #[must_use]
    pub fn answering(self, answers: Option<Answers>) -> Self {
        Self { answers, ..self }
    }

    /// Watch until `stop` says so.
    pub async fn run(&mut self, mut stop: Receiver<bool>) {
        let mut changes = self.standing.changes();
        while !*stop.borrow() {
            let now_ms = self.standing.now_ms();
            for number in 0..self.folders.len() {
                if self.folders[number].due_ms <= now_ms && !*stop.borrow() {
                    self.look_at(number).await;
                }
            }
            for number in 0..self.folders.len() {
                if self.answer_due_ms(number).is_some_and(|due_ms| due_ms <= now_ms) && !*stop.borrow() {
                    self.answer(number).await;
                }
            }
            let due_ms = (0..self.folders.len()).map(|number| self.folders[number].due_ms.min(self.answer_due_ms(number).unwrap_or(u64::MAX)));
            let due_ms = due_ms.min().unwrap_or(u64::MAX);
            let wait = Duration::from_millis(due_ms.saturating_sub(self.standing.now_ms()));
            let hints = Rc::clone(&self.hints);
            tokio::select! {
                changed = stop.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
                Ok(()) = changes.changed(), if self.answers.is_some() => self.owe(),
                hint = hints.next() => match hint {
                    Ok(hint) => self.hurry(hint),
                    Err(_) => self.hints = Rc::new(NoHints), // nothing is volunteered any more; looking is the truth
                },
            }
        }
    }

    /// Something is new here: others may lack it (R10.11-i).
    fn owe(&mut self) {
        self.folders.iter_mut().for_each(|folder| folder.owes = true);
    }

    /// When a folder is written to: at once, but not oftener than it is looked at without hints, and only while it is there.
    fn answer_due_ms(&self, number: usize) -> Option<u64> {
        let folder = &self.folders[number];
        let is_due = self.answers.is_some() && folder.owes && folder.away.is_none();
        is_due.then(|| folder.exchanged_ms.map_or(0, |last_ms| last_ms + self.pace.every_ms))
    }

    /// Write what others lack into one folder. What went wrong there is told; what went wrong here is tried again.
    async fn answer(&mut self, number: usize) {
        let Some(Answers { max_size, files_max }) = self.answers else { return };
        let place = self.folders[number].path.clone();
        self.folders[number].exchanged_ms = Some(self.standing.now_ms());
        let order = ExchangeOrder { place: &place, to: &[], max_size, files_max, dry_run: false };
        let exchanged = self.standing.with(|node| node.exchange(&order, &mut |_| {})).await;
        let exchanged = match exchanged {
            Ok(exchanged) => self.standing.durable().await.map(|()| exchanged),
            Err(error) => Err(error),
        };
        match exchanged {
            Ok(mut exchanged) => {
                self.folders[number].owes = exchanged.trouble.is_some();
                let came = std::mem::take(&mut exchanged.ingested.files).into_iter().filter(|file| file.outcome == Outcome::Taken && file.is_news());
                came.for_each(|file| (self.tell)(Watched::File(file)));
                (self.tell)(Watched::Exchanged(Box::new(exchanged)));
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Our own node or disk said no. Told once until something succeeds.
    fn complain(&mut self, error: &NodeError) {
        let code = error.code();
        if self.trouble.replace(code) != Some(code) {
            (self.tell)(Watched::Trouble { code, why: error.to_string() });
        }
    }

    /// A hint makes a look due soon; one that is due sooner stays so.
    fn hurry(&mut self, hint: Hint) {
        let now_ms = self.standing.now_ms();
        for (number, folder) in self.folders.iter_mut().enumerate() {
            if hint == Hint::Anywhere || hint == Hint::In(number) {
                folder.due_ms = folder.due_ms.min(now_ms + watch::settle_ms(folder.took_ms));
            }
        }
    }

    async fn look_at(&mut self, number: usize) {
        let begun_ms = self.standing.now_ms();
        let path = self.folders[number].path.clone();
        let mut again_soon = false;
        match self.find(number, &path) {
            Ok((found, is_new)) => {
                again_soon = is_new;
                if self.folders[number].away.take().is_some() {
                    (self.tell)(Watched::Back(path.clone()));
                }
                self.folders[number].aside = aside(&path, &found, &self.folders[number].aside, &mut self.tell);
                self.visit(found.entries).await;
            }
            Err((code, why)) => {
                if self.folders[number].away.replace(code) != Some(code) {
                    (self.tell)(Watched::Away { folder: path.clone(), code, why });
                }
            }
        }
        let is_blind = self.folders[number].away.is_some() || self.hints.is_blind(&path).unwrap_or(true);
        let now_ms = self.standing.now_ms();
        let folder = &mut self.folders[number];
        folder.took_ms = now_ms - begun_ms;
        let wait_ms = if again_soon { watch::settle_ms(folder.took_ms) } else { watch::wait_ms(&self.pace, is_blind, folder.took_ms) };
        folder.due_ms = now_ms + wait_ms;
    }

    /// What is in a folder, if it is one that was prepared, and whether a folder in it gives hints that gave none before.
    fn find(&self, number: usize, path: &Path) -> Result<(Found, bool), (Code, String)> {
        let armed = self.hints.arm(number, path); // before the look, so that nothing comes between
        let found = find(&self.ports, path)?;
        let mut is_new = false;
        if armed.is_ok() {
            for folder in found.folders.iter().skip(1).take(ARMED_MAX) {
                is_new |= self.hints.arm(number, folder).unwrap_or(false); // without hints the next look finds what is there
            }
        }
        Ok((found, is_new))
    }

    /// Judge what was found, some files in each turn on the node.
    async fn visit(&mut self, entries: Vec<Entry>) {
        let mut visit = Visit::new(entries);
        let pace = self.pace;
        loop {
            let done = self.standing.with(|node| node.watch_some(&mut visit, &pace)).await;
            let done = match done {
                Ok(done) => self.standing.durable().await.map(|()| done),
                Err(error) => Err(error),
            };
            for report in visit.reports.drain(..) {
                (self.tell)(Watched::File(report));
            }
            match done {
                Ok(false) => tokio::task::yield_now().await,
                Ok(true) => {
                    self.trouble = None;
                    break;
                }
                Err(error) => {
                    self.complain(&error);
                    break;
                }
            }
        }
        if visit.has_met_bundles {
            self.owe();
        }
        if visit.is_worth_telling() {
            (self.tell)(Watched::Taken(visit.ingested));
        }
    }
}

/// What of a folder is not looked at.
#[derive(Default)]
struct Aside {
    too_much: bool,
    deeper: usize,
    unreadable: Vec<(PathBuf, String)>,
}

/// Tell what of `folder` is not looked at and was not `told`; returns what it is now.
fn aside(folder: &Path, found: &Found, told: &Aside, tell: &mut dyn FnMut(Watched)) -> Aside {
    let refused = |path: &Path, code, why| Watched::File(FileReport::of(path.to_owned(), Outcome::Refused(code), why));
    if found.too_much && !told.too_much {
        tell(refused(folder, Code::Z241, None));
    }
    if found.deeper > 0 && found.deeper != told.deeper {
        tell(Watched::Deeper { folder: folder.to_owned(), count: found.deeper });
    }
    for (path, why) in found.unreadable.iter().filter(|folder| !told.unreadable.contains(folder)) {
        tell(refused(path, Code::Z201, Some(why.clone())));
    }
    Aside { too_much: found.too_much, deeper: found.deeper, unreadable: found.unreadable.clone() }
}

/// What lies in a folder, if it is one that was prepared and is there.
fn find(ports: &Ports, folder: &Path) -> Result<Found, (Code, String)> {
    stick::recognise(&*ports.disk, folder).map_err(|error| (away_code(&error), error.to_string()))?;
    finding::search(&*ports.disk, folder).map_err(|error| (Code::Z201, format!("{}: {error}", folder.display())))
}

/// A place that is not there is told as that, whatever the system calls it.
fn away_code(error: &StickError) -> Code {
    match error {
        StickError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => Code::Z243,
        error => error.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R10.11-g.
    #[test]
    fn a_hundredth_is_kept_free_and_never_more_than_an_eighth() {
        let mib = |count: u64| count << 20;
        for (volume, kept) in [(0, 64), (80, 10), (512, 64), (4096, 64), (32_000, 320), (1_000_000, 10_000)] {
            assert_eq!(reserve(mib(volume)), mib(kept), "of {volume} MiB");
        }
    }
}
