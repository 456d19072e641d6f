//! Rights given up before strangers' bytes are looked at: from then on this process writes in named folders only, runs no other program, and makes no system
//! call that only who took it over would want.
//!
//! By Landlock and seccomp, where the kernel has them. They are a second wall: without them everything works as before. Never given back.

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use landlock::{RulesetError, path_beneath_rules};
use std::path::PathBuf;

/// How far the kernel went along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// Writing elsewhere, and programs.
    pub files: Files,
    /// Whether system calls that nobody needs are refused.
    pub calls: bool,
}

/// How far writing elsewhere is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Everything that was given up is refused from now on.
    Fully,
    /// The kernel is older and refuses a part of it.
    Partly,
    /// It has no Landlock, or it is switched off.
    Not,
}

impl Files {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fully => "fully",
            Self::Partly => "partly",
            Self::Not => "not",
        }
    }
}

/// Whom a process may talk with from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talks {
    /// Nobody but processes of this machine.
    Here,
    /// Who calls, and whom it calls, by IP.
    ByNetwork,
}

/// The rights we know how to give up: those of Linux 6.2; an older kernel knows fewer.
const KNOWN: ABI = ABI::V3;

/// Write only below `folders` from now on; read anywhere that the user may; execute nothing; talk with nobody but whom `talks` names. A folder that is not
/// there is not written to.
pub fn confine(folders: &[PathBuf], talks: Talks) -> Confined {
    let files = match restrict(folders) {
        Ok(RulesetStatus::FullyEnforced) => Files::Fully,
        Ok(RulesetStatus::PartiallyEnforced) => Files::Partly,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Files::Not, // a second wall that cannot be built leaves the first
    };
    Confined { files, calls: refuse_calls(talks) }
}

fn restrict(folders: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(KNOWN))?.create()?;
    let ruleset = ruleset.add_rules(path_beneath_rules(["/"], read))?.add_rules(path_beneath_rules(folders, write))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
fn refuse_calls(talks: Talks) -> bool {
    super::calls::refuse(talks).is_ok()
}

/// The crate writes filters for no other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn refuse_calls(_: Talks) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    use std::io::ErrorKind;
    use std::net::UdpSocket;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;
    use std::{fs, thread};

    /// What becomes of `work` in a thread of its own that has given up its rights: only that thread has.
    fn confined<T: Send>(folder: &std::path::Path, talks: Talks, work: impl FnOnce(Confined) -> T + Send) -> T {
        thread::scope(|scope| scope.spawn(|| work(confine(&[folder.to_owned()], talks))).join().unwrap())
    }

    #[test]
    fn who_gave_up_its_rights_writes_in_its_folder_only_and_starts_nothing() {
        let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        confined(mine.path(), Talks::Here, |how_far| {
            fs::write(mine.path().join("a"), "ours").unwrap();
            assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "reading is not narrowed");
            let elsewhere = fs::write(other.path().join("a"), "not ours").map_err(|error| error.kind());
            match how_far.files {
                Files::Not => assert_eq!(elsewhere, Ok(()), "what is said not to be refused is not"),
                Files::Fully | Files::Partly => assert_eq!(elsewhere, Err(ErrorKind::PermissionDenied)),
            }
            if how_far != (Confined { files: Files::Not, calls: false }) {
                assert_eq!(Command::new("true").spawn().unwrap_err().kind(), ErrorKind::PermissionDenied);
            }
        });
        Command::new("true").status().expect("nobody else gave up anything");
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
    #[test]
    fn who_talks_with_nobody_by_network_makes_no_socket_for_it() {
        let folder = tempfile::tempdir().unwrap();
        for (talks, by_network) in [(Talks::Here, Err(ErrorKind::PermissionDenied)), (Talks::ByNetwork, Ok(()))] {
            confined(folder.path(), talks, |how_far| {
                assert!(how_far.calls, "each Linux since 3.17 has this filter");
                UnixDatagram::unbound().expect("who keeps the node is asked for it");
                assert_eq!(UdpSocket::bind("127.0.0.1:0").map(drop).map_err(|error| error.kind()), by_network, "{talks:?}");
                let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
                assert_eq!(pidfd_getfd(&this, 1, PidfdGetfdFlags::empty()).err(), Some(Errno::PERM), "no look into processes, not even this one");
                thread::spawn(|| ()).join().expect("threads are started as before");
            });
        }
    }
}
