//! Faults, and where they can be put: strace counts the system calls of one good run, then makes one of them the last, or lets it fail.

use crate::Failure;
use crate::program::Program;
use crate::scenes::Scene;
use crate::stage::Stage;
use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

/// What changes something outside the process, or says so; between two of these it does not matter where it dies.
/// What this machine does not have is passed over (`?`).
const CHANGING: &str = "?open,?openat,?openat2,?creat,?mkdir,?mkdirat,write,writev,pwrite64,pwritev,?pwritev2,?copy_file_range,fsync,fdatasync,syncfs,\
                        truncate,ftruncate,fallocate,?fadvise64,?rename,renameat,renameat2,?unlink,unlinkat,?link,linkat,?chmod,fchmod,fchmodat,flock,close,\
                        socket,connect,bind,listen,?accept,accept4,sendto,sendmsg,recvfrom,recvmsg,shutdown,?landlock_restrict_self,exit_group";
/// What a full or failing disk refuses; also where the output goes may be a file on it.
const WRITING: &str = "write,writev,pwrite64,pwritev,?pwritev2,truncate,ftruncate,fallocate,?rename,renameat,renameat2,?mkdir,?mkdirat,?unlink,unlinkat,\
                       ?link,linkat";
const SYNCING: &str = "fsync,fdatasync,syncfs";

/// What can be done to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `kill -9`.
    Kill,
    /// One write fails: no space.
    Full,
    /// One write and all after it fail: no space.
    StaysFull,
    /// One write fails: the medium is broken there.
    WriteFails,
    /// One write and all after it fail.
    WritesKeepFailing,
    /// One sync fails.
    SyncFails,
    /// One sync and all after it fail.
    SyncKeepsFailing,
}

impl Kind {
    /// In words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Kill => "killed at a system call",
            Self::Full => "one write finds no space",
            Self::StaysFull => "no space from a write on",
            Self::WriteFails => "one write fails",
            Self::WritesKeepFailing => "all writes fail from one on",
            Self::SyncFails => "one sync fails",
            Self::SyncKeepsFailing => "all syncs fail from one on",
        }
    }

    /// Whether everything after it fails too.
    fn is_lasting(self) -> bool {
        matches!(self, Self::StaysFull | Self::WritesKeepFailing | Self::SyncKeepsFailing)
    }

    fn calls(self) -> &'static str {
        match self {
            Self::Kill => CHANGING,
            Self::Full | Self::StaysFull | Self::WriteFails | Self::WritesKeepFailing => WRITING,
            Self::SyncFails | Self::SyncKeepsFailing => SYNCING,
        }
    }
}

/// One fault at one place.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    call: String,
    nth: usize,
}

impl Fault {
    /// All of them.
    pub const KINDS: &[Kind] =
        &[Kind::Kill, Kind::Full, Kind::StaysFull, Kind::WriteFails, Kind::WritesKeepFailing, Kind::SyncFails, Kind::SyncKeepsFailing];

    /// The traced command with this fault in it.
    pub fn command(&self, program: &Program) -> Command {
        let what = match self.kind {
            Kind::Kill => "signal=KILL",
            Kind::Full | Kind::StaysFull => "error=ENOSPC",
            Kind::WriteFails | Kind::WritesKeepFailing | Kind::SyncFails | Kind::SyncKeepsFailing => "error=EIO",
        };
        let on = if self.kind.is_lasting() { "+" } else { "" };
        let what = format!("{}:{what}:when={}{on}", self.call, self.nth);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={}", self.call), "-e", &format!("inject={what}")]).arg(program.path());
        command
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} number {}", self.kind, self.call, self.nth)
    }
}

/// Every place in `scene` where a fault of this kind can stand, in the order in which a good run passes them.
///
/// # Errors
/// When strace cannot be run.
pub fn faults(program: &Program, stage: &Stage, scene: &Scene, kind: Kind) -> Result<Vec<Fault>, Failure> {
    let copy = stage.copy()?;
    let log = copy.path().join("calls");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-e", &format!("trace={}", kind.calls()), "-o"]).arg(&log).arg(program.path());
    scene.good_run(program, copy.path(), traced)?;
    let calls = std::fs::read_to_string(&log).map_err(|error| format!("strace wrote nothing: {error}"))?;
    let mut counts = BTreeMap::<(String, String), usize>::new();
    let mut faults = Vec::new();
    for line in calls.lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((call, _)) = rest.split_once('(') else { continue };
        let nth = counts.entry((thread.to_owned(), call.to_owned())).or_default();
        *nth += 1;
        // Who waits for a link wakes itself by writing to an event of the kernel, which no disk can fail.
        let wakes = line.contains("<anon_inode:") || (kind.is_lasting() && scene.is_linked() && call.starts_with("write"));
        if kind == Kind::Kill || !wakes {
            faults.push(Fault { kind, call: call.to_owned(), nth: *nth });
        }
    }
    faults.dedup_by(|a, b| a.call == b.call && a.nth == b.nth);
    Ok(faults)
}
