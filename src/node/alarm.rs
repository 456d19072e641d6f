//! What needs a person, out of how a node stands. Pure; the worst first.

use super::status::Status;
use bundle_format::error::Code;

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
    if status.quarantine.count > 0 {
        all.push(alarm("quarantine", None, &status.quarantine.count.to_string(), 0));
    }
    if status.unknown.count > 0 {
        all.push(alarm("unknown_sender", None, &status.unknown.count.to_string(), 0));
    }
    all
}
