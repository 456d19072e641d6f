//! Watching folders, on paper: when a file is read again, when a faulty one is told, when a folder is looked at. SPEC §10.11.
//!
//! In: what looks at a file told and when, what reading it gave. Out: read it or leave it, tell it or wait. Invariants: no file is left for ever
//! because of how it looks; no verdict is told about a file that may still be changing; nothing is told twice. Not here: the looking itself (`node`).

use bundle_format::error::Code;

/// Two changes of one file that fall into one tick of its file system's clock look like one; FAT's tick is the longest, 2 s.
pub const TICK_S: u32 = 4;
/// What looks unchanged is read again after this all the same: a file system's stamps are somebody's word.
pub const READ_AGAIN_S: u32 = 24 * 3600;
/// After a hint, how long until the folder is looked at: a copier's next events usually come within this.
pub const SETTLE_MS: u64 = 200;
/// How often a folder is looked at whose changes the kernel may not see.
pub const BLIND_MS: u64 = 5_000;
/// A look at a folder may take up one part in so many of the time.
const IDLE_SHARE: u64 = 50;

/// Bounds that people may set.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// A folder is looked at at least so often.
    pub every_ms: u64,
    /// A file that is not whole and has not changed for so long is told.
    pub stalled_s: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every_ms: 60_000, stalled_s: 600 }
    }
}

/// What is known of a file from reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Not told, because it may still be arriving or changing.
    Waiting(Code),
    /// A row that has been told of it, or is not worth telling.
    Told(Code),
    /// Taken.
    Taken,
}

/// What is remembered of a file as long as it looks the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it first looked so, seconds by the wall clock.
    pub since_s: u32,
    /// When it was last read.
    pub read_s: u32,
    /// Whether that reading stands for what is there now: nothing can have changed after it and look the same (R10.11-c).
    pub trusted: bool,
    /// What the reading gave.
    pub known: Known,
}

/// Whether a file that looks as it did is read again.
pub fn is_due(look: &Look, now_s: u32, pace: &Pace) -> bool {
    let read_ago = elapsed(look.read_s, now_s);
    if !look.trusted {
        return read_ago >= TICK_S;
    }
    match look.known {
        Known::Waiting(Code::Z212) => read_ago >= pace.stalled_s,
        Known::Waiting(_) => read_ago >= settle_s(pace),
        Known::Told(_) | Known::Taken => read_ago >= READ_AGAIN_S,
    }
}

/// Whether a reading can be trusted to stand for the file: it looked the same for longer than a tick before, and still does after. `stamp_s` is the
/// younger of its stamps.
pub fn is_trusted(look_since_s: u32, stamp_s: i64, now_s: u32) -> bool {
    unchanged_s(look_since_s, stamp_s, now_s) >= TICK_S
}

/// Whether a refusal may come from a file that is not there yet: checks 1–9 of SPEC §6.1, or a file that changed between two readings.
pub fn may_be_arriving(code: Code) -> bool {
    use Code::{Z201, Z211, Z212, Z213, Z215, Z216, Z217, Z218, Z219};
    matches!(code, Z201 | Z211 | Z212 | Z213 | Z215 | Z216 | Z217 | Z218 | Z219)
}

/// Whether a faulty file is told now: one that is cut short when it has stalled, any other when it has not changed for a while (R10.11-e).
pub fn is_to_tell(code: Code, since_s: u32, stamp_s: i64, now_s: u32, pace: &Pace) -> bool {
    match code {
        Code::Z212 => elapsed(since_s, now_s) >= pace.stalled_s,
        whole if !may_be_arriving(whole) => true,
        _ => unchanged_s(since_s, stamp_s, now_s) >= settle_s(pace),
    }
}

/// Milliseconds until a folder is looked at again without a hint, when the last look took `took_ms`. Where changes may be unseen it is oftener.
pub fn wait_ms(pace: &Pace, is_blind: bool, took_ms: u64) -> u64 {
    let every_ms = if is_blind { pace.every_ms.min(BLIND_MS) } else { pace.every_ms };
    every_ms.max(took_ms.saturating_mul(IDLE_SHARE))
}

/// Milliseconds from a hint to the look: copiers of many files give many hints.
pub fn settle_ms(took_ms: u64) -> u64 {
    SETTLE_MS.max(took_ms.saturating_mul(4))
}

/// How many whole seconds a file has certainly not changed, as far as we saw it or its stamps say: between 1.9 s and 2.1 s lies no second. A stamp of
/// the future says nothing.
fn unchanged_s(since_s: u32, stamp_s: i64, now_s: u32) -> u32 {
    let by_stamp = u32::try_from(i64::from(now_s).saturating_sub(stamp_s)).unwrap_or(0);
    elapsed(since_s, now_s).max(by_stamp).saturating_sub(1)
}

fn settle_s(pace: &Pace) -> u32 {
    u32::try_from(pace.every_ms.div_ceil(1000)).unwrap_or(u32::MAX).clamp(1, pace.stalled_s.max(1))
}

/// A clock that went back says nothing; the ledger lets the count begin anew then.
fn elapsed(since_s: u32, now_s: u32) -> u32 {
    now_s.saturating_sub(since_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { every_ms: 60_000, stalled_s: 600 };

    fn due(read_s: u32, trusted: bool, known: Known, now_s: u32) -> bool {
        is_due(&Look { since_s: 0, read_s, trusted, known }, now_s, &PACE)
    }

    /// R10.11-c: git's "racily clean", with FAT's clock.
    #[test]
    fn what_was_read_within_a_tick_of_its_last_change_is_read_again() {
        assert!(!is_trusted(100, 100, 101));
        assert!(!is_trusted(100, 100, 104) && is_trusted(100, 100, 105), "seen unchanged for longer than a tick");
        assert!(is_trusted(100, 50, 100), "its stamps are old");
        assert!(!is_trusted(100, 9_000_000_000, 101), "a stamp of the future proves nothing");
        assert!(!due(100, false, Known::Taken, 103) && due(100, false, Known::Taken, 104));
    }

    /// R10.11-d.
    #[test]
    fn nothing_is_left_for_ever_because_of_how_it_looks() {
        for known in [Known::Taken, Known::Told(Code::Z213), Known::Waiting(Code::Z213), Known::Waiting(Code::Z212)] {
            assert!(!due(1000, true, known, 1010), "{known:?}");
            assert!(due(1000, true, known, 1000 + READ_AGAIN_S), "{known:?}");
        }
    }

    /// R10.11-e.
    #[test]
    fn no_verdict_is_told_of_a_file_that_may_still_be_changing() {
        let told = |code, since_s, stamp_s, now_s| is_to_tell(code, since_s, stamp_s, now_s, &PACE);
        assert!(!told(Code::Z213, 1000, 1000, 1060) && told(Code::Z213, 1000, 1000, 1061));
        assert!(told(Code::Z213, 1000, 10, 1000), "unchanged for long by its stamps");
        assert!(!told(Code::Z212, 1000, 10, 1599) && told(Code::Z212, 1000, 10, 1600), "an old date says nothing about arriving");
    }

    #[test]
    fn a_clock_that_went_back_begins_anew_and_tells_nothing_early() {
        assert!(!is_to_tell(Code::Z212, 5000, 5000, 100, &PACE));
        assert!(!is_trusted(5000, 5000, 100));
    }

    #[test]
    fn looking_takes_little_of_the_time() {
        assert_eq!(wait_ms(&PACE, false, 10), 60_000);
        assert_eq!(wait_ms(&PACE, true, 10), BLIND_MS);
        assert_eq!(wait_ms(&PACE, true, 1000), 50_000, "a slow share is not asked all the time");
    }
}
