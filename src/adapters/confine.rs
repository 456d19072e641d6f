//! Rights given up before strangers' bytes are looked at: from then on this process writes in named folders only, and runs no other program.
//!
//! By Landlock, where the kernel has it. It is a second wall: without it everything works as before. Never given back.

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use landlock::{RulesetError, path_beneath_rules};
use std::path::PathBuf;

/// How far the kernel went along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// Everything that was given up is refused from now on.
    Fully,
    /// The kernel is older and refuses a part of it.
    Partly,
    /// It has no Landlock, or it is switched off.
    Not,
}

impl Confined {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fully => "fully",
            Self::Partly => "partly",
            Self::Not => "not",
        }
    }
}

/// The rights we know how to give up: those of Linux 6.2; an older kernel knows fewer.
const KNOWN: ABI = ABI::V3;

/// Write only below `folders` from now on; read anywhere that the user may; execute nothing. A folder that is not there is not written to.
pub fn confine(folders: &[PathBuf]) -> Confined {
    match restrict(folders) {
        Ok(RulesetStatus::FullyEnforced) => Confined::Fully,
        Ok(RulesetStatus::PartiallyEnforced) => Confined::Partly,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Confined::Not, // a second wall that cannot be built leaves the first
    }
}

fn restrict(folders: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(KNOWN) & !BitFlags::from(AccessFs::Execute);
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(KNOWN))?.create()?;
    let ruleset = ruleset.add_rules(path_beneath_rules(["/"], read))?.add_rules(path_beneath_rules(folders, write))?;
    Ok(ruleset.restrict_self()?.ruleset)
}
