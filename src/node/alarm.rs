//! What needs a person, out of how a node stands. Pure; the worst first.

use super::status::Status;
use crate::push::Skew;
use bundle_format::error::Code;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What kind of thing; a word that scripts switch on.
    pub kind: &'static str,
    /// Where to read on, if a code is about it.
    pub code: Option<Code>,
    /// Whom or what it is about.
    pub about: String,
    /// Milliseconds that belong to it: since when it is unheard, how far a clock is ahead; else 0.
    pub ms: u64,
}

/// A clock so far ahead is worth a person's way.
const AHEAD_MS: u64 = 3600 * 1000;

/// Everything that needs a person, by `silent_after_ms` when somebody has set one.
pub fn alarms(status: &Status, silent_after_ms: Option<u64>) -> Vec<Alarm> {
    let alarm = |kind, code, about: &str, ms| Alarm { kind, code, about: about.to_owned(), ms };
    let mut all = Vec::new();
    if status.is_damaged() {
        all.push(alarm("damaged", Some(Code::Z301), "log", 0));
    }
    if let Some(domain) = status.domain.as_ref().filter(|domain| domain.forked) {
        all.push(alarm("roster_forked", Some(Code::Z617), &domain.authority, 0));
    }
    all.extend(status.open_forks().map(|fork| alarm("fork", Some(Code::Z228), &fork.id, 0)));
    for peer in &status.peers {
        if peer.is_silent_after(status.now_ms, silent_after_ms.unwrap_or(peer.silent_after_ms)) {
            all.push(alarm("silent", None, &peer.name, status.now_ms - peer.heard_ms));
        }
    }
    for peer in status.peers.iter().filter(|peer| peer.ahead_ms > AHEAD_MS) {
        all.push(alarm("clock_ahead", None, &peer.name, peer.ahead_ms));
    }
    if let Some(Skew::Ahead(ms)) = status.skew {
        all.push(alarm("stamps_ahead", Some(Code::Z305), &status.name, ms));
    }
    for name in status.domain.iter().flat_map(|domain| &domain.disbelieved) {
        all.push(alarm("disbelieved", None, name, 0));
    }
    if let Some(why) = &status.config {
        all.push(alarm("config", Some(Code::Z106), why, 0));
    }
    if status.quarantine.count > 0 {
        all.push(alarm("quarantine", None, &status.quarantine.count.to_string(), 0));
    }
    if status.unknown.count > 0 {
        all.push(alarm("unknown_sender", None, &status.unknown.count.to_string(), 0));
    }
    all
}

/// Records in conflict, out of the tables.
pub fn conflicts(count: u64) -> Option<Alarm> {
    (count > 0).then(|| Alarm { kind: "conflicts", code: None, about: count.to_string(), ms: 0 })
}

/// The tables cannot be read, or not be brought up to the log: what is told of records may be old. Without a code they are just being made: most of it may not
/// be there.
pub fn tables(code: Option<Code>) -> Alarm {
    Alarm { kind: "tables", code, about: "index.db".to_owned(), ms: 0 }
}

/// How the node stands cannot be looked at.
pub fn unseen(code: Code, why: &str) -> Alarm {
    Alarm { kind: "damaged", code: Some(code), about: why.to_owned(), ms: 0 }
}

/// What lasts is told again after so long.
const AGAIN_MS: u64 = 24 * 3600 * 1000;
/// What has gone and comes back sooner is not new: a link that comes and goes calls nobody every minute.
const SETTLED_MS: u64 = 3600 * 1000;

/// What was told when, so that nobody is called twice for one thing. Pure.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<(&'static str, String), Times>);

/// When one thing was last told, and last there.
#[derive(Debug)]
struct Times {
    told_ms: u64,
    seen_ms: u64,
}

/// What makes two alarms the same: a stock of bundles that grows does not become another.
fn name(alarm: &Alarm) -> (&'static str, String) {
    let about = if matches!(alarm.kind, "quarantine" | "unknown_sender" | "conflicts") { String::new() } else { alarm.about.clone() };
    (alarm.kind, about)
}

impl Told {
    /// Those of `alarms` that are to be told at `now_ms`; they count as told from now on.
    pub fn due(&mut self, alarms: &[Alarm], now_ms: u64) -> Vec<Alarm> {
        let standing: BTreeSet<_> = alarms.iter().map(name).collect();
        for (_, times) in self.0.iter_mut().filter(|(name, _)| standing.contains(*name)) {
            times.seen_ms = now_ms;
        }
        self.0.retain(|_, times| now_ms < times.seen_ms.saturating_add(SETTLED_MS));
        let is_due = |alarm: &&Alarm| self.0.get(&name(alarm)).is_none_or(|times| now_ms >= times.told_ms.saturating_add(AGAIN_MS));
        let due: Vec<Alarm> = alarms.iter().filter(is_due).cloned().collect();
        self.0.extend(due.iter().map(|alarm| (name(alarm), Times { told_ms: now_ms, seen_ms: now_ms })));
        due
    }

    /// Telling these failed: they are due again.
    pub fn forget(&mut self, alarms: &[Alarm]) {
        for alarm in alarms {
            self.0.remove(&name(alarm));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R10.14-c
    #[test]
    fn a_thing_is_told_once_a_day_and_again_when_it_comes_back() {
        let alarm = |kind, about: &str| Alarm { kind, code: None, about: about.to_owned(), ms: 0 };
        let (hour, mut told) = (3600 * 1000, Told::default());
        let silent = [alarm("silent", "lunana-bhu")];
        let mut count = |alarms: &[Alarm], hours: u64| told.due(alarms, 1_000_000 + hours * hour).len();
        assert_eq!([0, 1, 23, 24, 25, 48].map(|hours| count(&silent, hours)), [1, 0, 0, 1, 0, 1], "once a day while it lasts");
        assert_eq!(count(&[alarm("silent", "laya"), silent[0].clone()], 49), 1, "another one is new");
        assert_eq!((count(&[], 49), count(&silent, 49)), (0, 0), "what comes and goes is not");
        assert_eq!((count(&[], 51), count(&silent, 52)), (0, 1), "what was gone for long is");
        assert_eq!((count(&[alarm("quarantine", "1")], 53), count(&[alarm("quarantine", "900")], 54)), (1, 0), "a stock that grows is one thing");
        told.forget(&[alarm("quarantine", "7")]);
        assert_eq!(told.due(&[alarm("quarantine", "8")], 1_000_000 + 54 * hour).len(), 1, "what could not be told is due");
    }
}
