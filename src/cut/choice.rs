//! Which codec gets a range durable soonest: bytes cost time on the link, context mixing costs time at both ends. Pure. SPEC §7.3 (R7.3-l).

use bundle_format::limits::PREFIX_LEN_MAX;

/// Bytes that codec 3 makes of each raw byte, in thousandths, by how many raw bytes it has read before: measured on clinic events and FHIR resources.
const MIXED: [(u64, u64); 5] = [(1024, 480), (4096, 260), (16 * 1024, 180), (48 * 1024, 140), (u64::MAX, 120)];
/// … and zstd with a prefix, which reads its 128 KiB in no time.
const PRIMED: u64 = 210;
/// To prime zstd takes about as long as this many bytes of codec 3 (64 KiB of prefix at level 19: 20 ms).
const PRIME_WORK: u64 = 10_000;
/// Histories to learn from that are tried, shortest first: more helps ever less.
const PREFIXES: [usize; 5] = [2048, 8 * 1024, 16 * 1024, 32 * 1024, 64 * 1024];
/// No range takes more work than this, whoever decodes it …
pub const WORK_MAX: u64 = 128 * 1024;
/// … nor more than this of a second of the one who does, should it have to learn all of the prefix: others in codec 3 wait for it.
const BUSY_MAX_MS: u64 = 667;
/// Of the time that a range is on the link, this part may be spent on the next beside it: the rest is for a processor that has
/// become slower than it was seen to be.
const HIDDEN_MAX: u64 = 4;
/// A ratio of what was foretold, in thousandths.
const AS_FORETOLD: u64 = 1000;

/// What codec 3 would cost and save on this link.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bytes a second on the link.
    pub rate: u64,
    /// Bytes a second, prefix and events together, that we code in codec 3.
    pub own_speed: u64,
    /// … and the peer decodes.
    pub peer_speed: u64,
    /// How many the peer takes now.
    pub allowance: u64,
    /// Something is on its way still: the link is busy while we code.
    pub flying: bool,
    /// The last event that the peer lacks of this history: while it decodes what goes before, the next comes.
    pub last: u64,
    /// What both ends have learned of this history by the range that went before.
    pub known: Option<Known>,
    /// How this session's events compress, against what is usual.
    pub likeness: Likeness,
}

impl Terms {
    /// These, where so much is known from the range before.
    #[must_use]
    pub fn knowing(self, known: Option<Known>) -> Self {
        Self { known, ..self }
    }
}

/// What was learned of a history, and need not be learned again by who goes on right behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Position of the first event that was learned …
    pub first: u64,
    /// … and of the last.
    pub last: u64,
    /// Bytes of them.
    pub len: usize,
}

/// What codec 3 should know before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// So many bytes of history, or a little less, which are learned now.
    Fresh(usize),
    /// What is known already, and goes right up to the first event.
    Known,
}

/// How what was sent compressed, in thousandths of what was foretold.
#[derive(Clone, Copy, Debug)]
pub struct Likeness(u64);

impl Default for Likeness {
    fn default() -> Self {
        Self(AS_FORETOLD)
    }
}

impl Likeness {
    /// `raw_len` bytes became `len`, in codec 3 behind so many bytes of prefix, or by zstd.
    pub fn learn(&mut self, raw_len: usize, len: usize, mixed_behind: Option<usize>) {
        let foretold = mixed_behind.map_or_else(|| primed_len(raw_len as u64), |prefix_len| mixed_len(prefix_len as u64, raw_len as u64));
        let seen = (len as u64).saturating_mul(1000) / foretold.max(1);
        self.0 = (3 * self.0 + seen.min(20 * AS_FORETOLD)) / 4;
    }

    /// Bytes that zstd would have made of `raw_len`.
    pub fn primed_len(self, raw_len: usize) -> u64 {
        self.of(primed_len(raw_len as u64), raw_len as u64)
    }

    fn of(self, foretold: u64, raw_len: u64) -> u64 {
        (foretold.saturating_mul(self.0) / 1000).min(raw_len)
    }
}

/// What codec 3 should know before `raw_len` bytes of events of which `history_len` stand before them; `None`: zstd is sooner. `more`: it is not the last
/// range.
///
/// What counts is when the last range is durable. In a stream of them the link never rests, and work beside it costs nothing as long as it takes less
/// than a part of the time that the range is on the link. What is known from the range before costs no work; the peer, which may have had to forget it for
/// another's sake, is never asked for more than it can do in time even so.
pub fn mixed_behind(terms: &Terms, raw_len: usize, history_len: usize, more: bool) -> Option<Behind> {
    let raw = raw_len as u64;
    let micros = |work: u64, speed: u64| work.saturating_mul(1_000_000) / speed.max(1);
    let cost = |work: u64, len: u64| {
        let on_link = micros(len, terms.rate);
        let beside = |hidden: bool| if hidden { on_link / HIDDEN_MAX } else { 0 };
        let own = micros(work, terms.own_speed).saturating_sub(beside(terms.flying));
        own + micros(work, terms.peer_speed).saturating_sub(beside(more)) + on_link
    };
    let most = terms.allowance.min(WORK_MAX).min(terms.peer_speed.saturating_mul(BUSY_MAX_MS) / 1000);
    let fits = |prefix: usize| (prefix + raw_len) as u64 <= most;
    let len = |prefix: usize| terms.likeness.of(mixed_len(prefix as u64, raw), raw);
    let fresh = std::iter::once(0).chain(PREFIXES).filter(|prefix| *prefix == 0 || *prefix / 2 < history_len).map(|prefix| prefix.min(history_len));
    let fresh = fresh.filter(|prefix| fits(*prefix)).map(|prefix| (cost((prefix + raw_len) as u64, len(prefix)), len(prefix), Behind::Fresh(prefix)));
    let known = terms.known.map(|known| known.len).filter(|known| *known <= PREFIX_LEN_MAX && fits(*known));
    let known = known.map(|known| (cost(raw, len(known)), len(known), Behind::Known));
    let (cost, len, behind) = known.into_iter().chain(fresh).min_by_key(|(cost, ..)| *cost)?;
    let on_link = micros(terms.likeness.primed_len(raw_len), terms.rate);
    let zstd = micros(PRIME_WORK, terms.own_speed).saturating_sub(if terms.flying { on_link / HIDDEN_MAX } else { 0 }) + on_link;
    let is_shorter = len < terms.likeness.primed_len(raw_len); // noise is as long either way
    (is_shorter && cost < zstd).then_some(behind)
}

/// Bytes that codec 3 usually makes of `raw` behind `prefix`.
fn mixed_len(prefix: u64, raw: u64) -> u64 {
    let (mut at, mut len) = (prefix, 0);
    for (until, density) in MIXED {
        let here = until.min(prefix + raw).saturating_sub(at);
        len += here * density;
        at += here;
    }
    len / 1000 + 1
}

fn primed_len(raw: u64) -> u64 {
    raw * PRIMED / 1000 + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link of `rate` bytes a second between two ends that code `speed`.
    fn terms(rate: u64, speed: u64) -> Terms {
        Terms { rate, own_speed: speed, peer_speed: speed, allowance: u64::MAX, flying: false, last: 0, known: None, likeness: Likeness::default() }
    }

    /// How long a prefix is learned, if codec 3 is chosen.
    fn mixed_prefix(terms: &Terms, raw_len: usize, history_len: usize, more: bool) -> Option<usize> {
        match mixed_behind(terms, raw_len, history_len, more)? {
            Behind::Fresh(prefix_len) => Some(prefix_len),
            Behind::Known => terms.known.map(|known| known.len),
        }
    }

    #[test]
    fn a_thin_line_is_worth_the_work_and_a_fast_one_is_not() {
        for raw_len in [10_000, 20_000, 40_000] {
            assert!(mixed_prefix(&terms(2_875, 500_000), raw_len, 1 << 20, false).is_some(), "2G, {raw_len}");
            assert_eq!(mixed_prefix(&terms(1_000_000, 500_000), raw_len, 1 << 20, false), None, "8 Mbit/s, {raw_len}");
        }
        assert_eq!(mixed_prefix(&terms(2_875, 10_000), 20_000, 1 << 20, false), None, "a processor slower than the line gains");
    }

    #[test]
    fn the_slower_the_line_the_more_is_learned_first() {
        let prefix = |rate| mixed_prefix(&terms(rate, 500_000), 6_000, 1 << 20, false).unwrap_or(0);
        let prefixes: Vec<_> = [12_000, 6_000, 3_000, 1_500, 100].map(prefix).into();
        assert!(prefixes.is_sorted(), "{prefixes:?}");
        assert!(prefixes[0] < prefixes[4], "{prefixes:?}");
        assert_eq!(mixed_prefix(&terms(100, 500_000), 6_000, 5_000, false), Some(5_000), "no more than there is");
    }

    #[test]
    fn in_a_stream_the_work_is_beside_the_link_and_more_is_learned() {
        let alone = mixed_prefix(&terms(2_875, 300_000), 20_000, 1 << 20, false).unwrap_or(0);
        let stream = Terms { flying: true, ..terms(2_875, 300_000) };
        assert!(mixed_prefix(&stream, 20_000, 1 << 20, true) > Some(alone), "more than {alone}");
        let slow = Terms { flying: true, ..terms(2_875, 15_000) };
        assert_eq!(mixed_prefix(&slow, 20_000, 1 << 20, true), None, "a processor that is slower than the link is not hidden by it");
    }

    #[test]
    fn what_the_peer_does_not_take_is_not_sent() {
        let few = Terms { allowance: 12_500, ..terms(100, 500_000) };
        assert!(mixed_prefix(&few, 4_000, 1 << 20, false).is_some_and(|prefix| prefix + 4_000 <= 12_500));
        assert_eq!(mixed_prefix(&few, 12_501, 1 << 20, false), None);
        let much = mixed_prefix(&terms(100, 500_000), usize::try_from(WORK_MAX).unwrap() + 1, 1 << 20, false);
        assert_eq!(much, None, "nobody is kept waiting for so long");
        let slow = Terms { peer_speed: 60_000, ..terms(100, 500_000) };
        assert!(mixed_prefix(&slow, 4_000, 1 << 20, false).is_some_and(|prefix| prefix + 4_000 <= 41_000), "a small board decodes less at a time");
    }

    #[test]
    fn what_is_known_is_gone_on_with_until_the_peer_might_take_too_long_for_it() {
        let behind = |len, speed| {
            let known = Some(Known { first: 1, last: 9, len });
            mixed_behind(&Terms { flying: true, known, ..terms(2_875, speed) }, 20_000, 1 << 20, true)
        };
        assert_eq!(behind(40_000, 200_000), Some(Behind::Known), "no work, and more than would be learned afresh");
        assert_eq!(behind(100_000, 200_000), Some(Behind::Known));
        assert!(matches!(behind(120_000, 200_000), Some(Behind::Fresh(_))), "too much work for one range, for a peer that has forgotten it");
        assert_eq!(behind(30_000, 80_000), Some(Behind::Known));
        assert_ne!(behind(40_000, 80_000), Some(Behind::Known), "and for a slow one sooner");
        assert!(matches!(behind(500, 500_000), Some(Behind::Fresh(_))), "too little is known");
    }

    #[test]
    fn what_does_not_compress_is_not_worked_on() {
        let mut likeness = Likeness::default();
        (0..12).for_each(|_| likeness.learn(6_000, 6_000, None));
        assert_eq!(mixed_behind(&Terms { likeness, ..terms(2_875, 500_000) }, 6_000, 0, false), None);
    }
}
