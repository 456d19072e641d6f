//! How often what happened: a simulator that never meets a fork proves nothing about forks.

use crate::plan::{Act, Mishap};
use std::collections::BTreeMap;
use zbundle::ports::store::Finding;

/// What some thousand lives must meet.
const EXPECTED: &[&str] = &[
    "a budget ends a session",
    "a bundle is held",
    "a bundle is incomplete",
    "a bundle is not for us",
    "a bundle is refused",
    "a bundle was there already",
    "a fork is held",
    "a fork is seen",
    "a fork is seen on a link",
    "a gap is named",
    "a hub is said to have everything",
    "a hole is found",
    "a key is refused on a link",
    "a lie is sealed",
    "a lie is told on a line",
    "a log rots",
    "a memory beside the log rots",
    "a machine is cloned",
    "a member has new keys",
    "a member is revoked",
    "a member joins",
    "a new life begins",
    "a new life begins on a link",
    "a peer's new life is met",
    "a push tried again is stored",
    "a push tried again was there",
    "a policy changes",
    "a roster is healed",
    "a session is cut",
    "a session settles",
    "a stick is prepared",
    "a stick is said to be safe",
    "a stranger's bundle waits",
    "a torn tail is cut off",
    "a watched stick brings something",
    "an ended key is accepted",
    "an old part of a log rots",
    "an old part rots with the index that tells of it",
    "two old parts rot with their indexes",
    "an exchange is not complete",
    "an image is put back",
    "an index is made again",
    "duplicates are met",
    "fsck tells of rot",
    "tables are made anew",
    "tables lack what rotted",
    "what rotted is here again",
    "what has arrived is taken away",
    "fault: a card is full",
    "fault: a name fails",
    "fault: a read fails",
    "fault: a stick is full",
    "fault: a stick is pulled",
    "fault: a sync fails",
    "fault: a write fails",
    "fault: power cut",
];

/// Counts, by what.
#[derive(Clone, Debug, Default)]
pub struct Coverage(pub BTreeMap<&'static str, u64>);

impl Coverage {
    /// It happened.
    pub fn count(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// Add another's.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    /// What lives should meet and these did not.
    pub fn unmet(&self) -> Vec<&'static str> {
        EXPECTED.iter().copied().filter(|what| !self.0.contains_key(what)).collect()
    }

    /// Opening a log found this.
    pub fn found(&mut self, finding: &Finding) {
        self.count(match finding {
            Finding::TornTail { .. } => "a torn tail is cut off",
            Finding::Hole { .. } => "a hole is found",
            Finding::Index { .. } => "an index is made again",
            Finding::Short { .. } => "the end of a log is gone",
        });
    }
}

impl Act {
    /// What is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Push { .. } => "step: push",
            Self::Cut { .. } => "step: cut",
            Self::Ingest { .. } => "step: ingest",
            Self::Exchange { .. } => "step: exchange",
            Self::Watch { .. } => "step: watch",
            Self::Sync { .. } => "step: sync",
            Self::Courier { .. } => "step: courier",
            Self::Image { .. } => "step: image",
            Self::Restore { .. } => "step: restore",
            Self::Clone { .. } => "step: clone",
            Self::Dismiss => "step: dismiss",
            Self::Clock { .. } => "step: clock",
            Self::Rot { .. } => "step: rot",
            Self::Enrol { .. } => "step: enrol",
            Self::Rekey { .. } => "step: rekey",
            Self::Revoke { .. } => "step: revoke",
            Self::Accept { .. } => "step: accept",
            Self::Policy { .. } => "step: policy",
            Self::Insist { .. } => "step: insist",
            Self::Heal => "step: heal",
            Self::Forge { .. } => "step: forge",
            Self::Speak { .. } => "step: speak",
        }
    }
}

impl Mishap {
    /// What is counted when it strikes.
    pub fn name(self) -> &'static str {
        match self {
            Self::PowerCut(_) => "fault: power cut",
            Self::SyncFails(_) => "fault: a sync fails",
            Self::WriteFails(_) => "fault: a write fails",
            Self::NameFails(_) => "fault: a name fails",
            Self::ReadFails(_) => "fault: a read fails",
            Self::CardFull(_) => "fault: a card is full",
            Self::StickFull(_) => "fault: a stick is full",
            Self::StickPulled(_) => "fault: a stick is pulled",
        }
    }
}
