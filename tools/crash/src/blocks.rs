//! Power cuts on a real ext4: every write that reaches the disk is noted down, and the disk is made again as it was after each of them.
//!
//! In: the binary. Out: the same table as for kills. qemu-storage-daemon shows a file system image as a file, through FUSE, and keeps a log of the writes
//! and flushes that pass (`blklogwrites`); ext4 lies on that file. A scene is played once; then for every write several disks are made: all writes up to it
//! arrived; only what was flushed did; of what was not flushed some did, whole or in part. Each is mounted, ext4 recovers, and the scene's promise is
//! checked by running the program. A kill never shows a missing sync; this does. Needs root.

use crate::program::{Ended, Program, ended};
use crate::scenes::{self, Scene};
use crate::stage::{self, Stage, files};
use crate::{Failure, Options, thinned, told};
use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// A disk keeps so much or nothing of it.
const BLOCK_LEN: usize = 4096;
/// Draws for each write.
const DRAWN: u64 = 4;

/// Scene, its name in `scenes::all`, and how often its command is run.
const PLAYED: &[(&str, usize)] = &[
    ("init", 1),
    ("push", 24),
    ("cut", 1),
    ("ingest", 1),
    ("exchange at a clinic", 1),
    ("exchange at the hub", 1),
    ("push that seals a segment", 1),
];

/// One entry of the log.
struct Entry {
    sector: u64,
    len: usize,
    /// Where its bytes lie in the log's file.
    at: u64,
    flags: u64,
}

/// What was lost when the power went.
#[derive(Clone, Copy, Debug)]
enum Lost {
    Nothing,
    Unflushed,
    /// Of the unflushed: every other write, and the second half of the last.
    Half,
    /// Of the unflushed: blocks as drawn from this number.
    Drawn(u64),
}

/// A disk: after so many entries, and what of them was lost.
type State = (usize, Lost);

/// How a run ended, and how many entries were certainly in the log when it had.
type Run = (usize, Ended);

/// Play all scenes, or those whose name begins so.
///
/// # Errors
/// When the machine cannot do it.
pub fn all(options: &Options, program: &Program) -> Result<(usize, usize), Failure> {
    let (mut states, mut broken) = (0, 0);
    for scene in scenes::all() {
        let Some((_, times)) = PLAYED.iter().find(|(name, _)| *name == scene.name) else { continue };
        if !options.wants(scene.name) {
            continue;
        }
        let begun = Instant::now();
        let record = Record::of(options, program, &scene, *times)?;
        let all = thinned(record.states(), options.states);
        let told: Vec<_> = told(&all, options.jobs, &|state| record.check(program, &scene, *state));
        let of = record.entries.len();
        let told: Vec<_> =
            told.iter().map(|((after, lost), why)| format!("  {} after write {after} of {of}, lost {lost:?}: {why}", scene.name)).collect();
        println!("{:<24} {:<28} {:>7} {:>7}   {:.0} s", scene.name, "power cut on ext4", all.len(), told.len(), begun.elapsed().as_secs_f64());
        for line in &told {
            println!("{line}");
        }
        states += all.len();
        broken += told.len();
    }
    Ok((states, broken))
}

/// A scene that was played once.
struct Record {
    folder: TempDir,
    entries: Vec<Entry>,
    runs: Vec<Run>,
    stage: Stage,
    /// Bundles on the stick at the end.
    bundles: Vec<PathBuf>,
}

impl Record {
    fn of(options: &Options, program: &Program, scene: &Scene, times: usize) -> Result<Self, Failure> {
        let stage = stage::set(program, scene)?;
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).map_err(|error| error.to_string())?;
        let (disk, log) = (folder.path().join("disk"), folder.path().join("log"));
        make_disk(&disk, stage.path())?;
        copy(&disk, &folder.path().join("before"))?;
        let at = folder.path().join("mounted");
        let (mut runs, bundles);
        {
            let noting = Noting::start(folder.path(), &disk, &log)?;
            let mounted = Mounted::new(&noting.shown, &at)?;
            runs = Vec::new();
            for number in 0..times {
                let mut command = if options.lying { lying(program) } else { Command::new(program.path()) };
                let number = format!("number {number}");
                let arguments = if times == 1 { scene.arguments() } else { &["--data-dir=clinic", "push", &number] };
                let ended = ended(command.current_dir(&at).args(arguments))?;
                if ended.exit != Some(0) {
                    return Err(format!("{} ended with {:?}: {}", scene.name, ended.exit, ended.err));
                }
                runs.push((noted(&log)?, ended));
            }
            bundles = files(&at.join("stick"), ".zb")?.iter().filter_map(|path| Some(path.strip_prefix(&at).ok()?.to_owned())).collect();
            drop(mounted);
            drop(noting);
        }
        let entries = entries(&log)?;
        Ok(Self { folder, entries, runs, stage, bundles })
    }

    /// Each disk once: without the unflushed writes it differs only after a flush, by halves only when two are unflushed.
    fn states(&self) -> Vec<State> {
        let mut states = vec![(0, Lost::Nothing)];
        let mut open = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let after = index + 1;
            if entry.flags & FLUSH != 0 {
                open = 0;
                continue;
            }
            states.push((after, Lost::Nothing));
            open += 1;
            if open == 1 {
                states.push((after, Lost::Unflushed));
            }
            states.push((after, Lost::Half));
            states.extend((0..DRAWN).map(|seed| (after, Lost::Drawn(seed))));
        }
        states
    }

    fn make(&self, (after, lost): State, disk: &Path) -> Result<(), Failure> {
        copy(&self.folder.path().join("before"), disk)?;
        let why = |error: std::io::Error| error.to_string();
        let log = File::open(self.folder.path().join("log")).map_err(why)?;
        let image = File::options().write(true).open(disk).map_err(why)?;
        let flushed = self.entries[..after].iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |index| index + 1);
        let mut bytes = Vec::new();
        for (index, entry) in self.entries[..after].iter().enumerate() {
            let open = index >= flushed && entry.flags & FUA == 0;
            let last = index + 1 == after;
            let arrives = match lost {
                Lost::Nothing | Lost::Drawn(_) => true,
                Lost::Unflushed => !open,
                Lost::Half => !open || last || (index - flushed) % 2 == 1,
            };
            if !arrives || entry.flags & DISCARD != 0 {
                continue;
            }
            bytes.resize(entry.len, 0);
            log.read_exact_at(&mut bytes, entry.at).map_err(why)?;
            if open && last && matches!(lost, Lost::Half) {
                bytes.truncate(entry.len.div_ceil(1024) * 512); // whole sectors
            }
            for (number, block) in bytes.chunks(BLOCK_LEN).enumerate() {
                let at = number * BLOCK_LEN;
                if !open || !matches!(lost, Lost::Drawn(seed) if is_drawn(seed, index, number)) {
                    image.write_all_at(block, entry.sector * SECTOR + at as u64).map_err(why)?;
                }
            }
        }
        Ok(())
    }

    fn check(&self, program: &Program, scene: &Scene, state: State) -> Result<(), Failure> {
        let own = tempfile::tempdir_in(self.folder.path()).map_err(|error| error.to_string())?;
        let (disk, at) = (own.path().join("after"), own.path().join("mounted"));
        self.make(state, &disk)?;
        let mounted = Mounted::new(&disk, &at)?;
        let over: Vec<_> = self.runs.iter().filter(|(noted, _)| *noted <= state.0).map(|(_, ended)| ended).collect();
        let exit = if over.len() == self.runs.len() { Some(0) } else { None };
        let told = Ended { exit, out: over.iter().map(|ended| ended.out.as_str()).collect(), err: String::new() };
        let lost = self.bundles.iter().find(|bundle| !at.join(bundle).is_file());
        let checked = match lost {
            Some(bundle) if exit.is_some() => Err(format!("{} was written, and is not there", bundle.display())),
            _ => scene.check(program, &at, &told, &self.stage),
        };
        drop(mounted);
        checked
    }
}

/// Whether this block of this write is lost: half of them are, others for each seed.
fn is_drawn(seed: u64, write: usize, block: usize) -> bool {
    let mut hash = std::hash::DefaultHasher::new();
    (seed, write, block).hash(&mut hash);
    hash.finish() & 1 == 0
}

/// The program, told that its syncs were made.
fn lying(program: &Program) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync,syncfs", "-e", "inject=fsync,fdatasync,syncfs:retval=0"]);
    command.arg(program.path());
    command
}

/// An ext4 with a copy of `from` on it.
fn make_disk(disk: &Path, from: &Path) -> Result<(), Failure> {
    let large = std::fs::metadata(from.join("clinic/log/00000001.seg")).is_ok_and(|file| file.len() > 8 << 20);
    let file = File::create(disk).map_err(|error| error.to_string())?;
    file.set_len(if large { 128 << 20 } else { 40 << 20 }).map_err(|error| error.to_string())?;
    let options = ["-q", "-F", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d"];
    done(Command::new("mkfs.ext4").args(options).arg(from).arg(disk))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    done(Command::new("cp").arg("--sparse=always").arg(from).arg(to))
}

fn done(command: &mut Command) -> Result<(), Failure> {
    let ended = ended(command)?;
    if ended.exit == Some(0) { Ok(()) } else { Err(format!("{command:?}: {}", ended.err.trim())) }
}

/// A mounted disk; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(disk: &Path, at: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        done(Command::new("mount").args(["-t", "ext4", "-o", "loop,data=ordered"]).arg(disk).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(why) = done(Command::new("umount").arg(&self.0)) {
            eprintln!("crash: {why}");
        }
    }
}

/// The process that notes writes down, and the file it shows.
struct Noting {
    daemon: Child,
    shown: PathBuf,
}

impl Noting {
    fn start(folder: &Path, disk: &Path, log: &Path) -> Result<Self, Failure> {
        let shown = folder.join("shown");
        File::create(&shown).map_err(|error| error.to_string())?;
        File::create(log).and_then(|file| file.set_len(256 << 20)).map_err(|error| error.to_string())?;
        let mut command = Command::new("qemu-storage-daemon");
        for (name, path) in [("disk", disk), ("log", log)] {
            command.arg("--blockdev").arg(format!("driver=file,node-name={name},filename={}", path.display()));
        }
        command.args(["--blockdev", "driver=blklogwrites,node-name=noting,file=disk,log=log,log-sector-size=512"]);
        command.arg("--export").arg(format!("type=fuse,id=shown,node-name=noting,mountpoint={},writable=on", shown.display()));
        let daemon = command.stdin(Stdio::null()).spawn().map_err(|error| format!("qemu-storage-daemon: {error}"))?;
        let mut noting = Self { daemon, shown };
        let len = std::fs::metadata(disk).map_err(|error| error.to_string())?.len();
        let patience = Instant::now() + Duration::from_mins(1);
        while std::fs::metadata(&noting.shown).map_or(0, |file| file.len()) != len {
            if noting.daemon.try_wait().is_ok_and(|ended| ended.is_some()) || Instant::now() > patience {
                return Err("qemu-storage-daemon does not show the disk".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(noting)
    }
}

impl Drop for Noting {
    fn drop(&mut self) {
        // In order: what it has noted is then in the log.
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap_or(()); // it may be gone already
        }
        drop(self.daemon.wait());
    }
}

/// How many entries the log's head counts: it does so at each flush.
fn noted(log: &Path) -> Result<usize, Failure> {
    let log = File::open(log).map_err(|error| error.to_string())?;
    number(&log, 16).and_then(|count| usize::try_from(count).map_err(|error| error.to_string()))
}

fn number(log: &File, at: u64) -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    log.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
    Ok(u64::from_le_bytes(bytes))
}

/// The log, in the format of the kernel's `dm-log-writes`: a head, then each entry's numbers in one sector, and its bytes.
fn entries(log: &Path) -> Result<Vec<Entry>, Failure> {
    let count = noted(log)?;
    let log = File::open(log).map_err(|error| error.to_string())?;
    let mut at = SECTOR;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (sector, sectors, flags) = (number(&log, at)?, number(&log, at + 8)?, number(&log, at + 16)?);
        let len = if flags & DISCARD == 0 { sectors * SECTOR } else { 0 };
        let len_in_memory = usize::try_from(len).map_err(|error| error.to_string())?;
        let write = Entry { sector, len: len_in_memory, at: at + SECTOR, flags };
        at += SECTOR + len;
        // A flush that comes with a write is before the write.
        if flags & FLUSH != 0 && len > 0 {
            entries.push(Entry { sector: 0, len: 0, at: 0, flags: FLUSH });
            entries.push(Entry { flags: flags & !FLUSH, ..write });
        } else {
            entries.push(write);
        }
    }
    let written: BTreeSet<u64> = entries.iter().filter(|entry| entry.len > 0).map(|entry| entry.sector).collect();
    if written.is_empty() { Err("nothing was written".to_owned()) } else { Ok(entries) }
}
