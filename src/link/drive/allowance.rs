//! How much a rate lets through: bytes of the socket, heads of records counted (R7.6-g).

/// What a record of TLS has beside its content: head, type and tag (RFC 8446 §5.2).
const RECORD_EXTRA_LEN: u64 = 22;
/// Longest content of a record of ours; `link::tls` bounds the record.
const RECORD_CONTENT_LEN: u64 = 2 * 1024 - RECORD_EXTRA_LEN;
/// Shortest piece of something longer that is worth a record of its own.
const PIECE_LEN: std::ops::RangeInclusive<u64> = 64..=512;

/// A vessel that fills with what the socket takes and empties at the rate; a second's worth fits in.
#[derive(Debug)]
pub struct Allowance {
    /// Bytes a second.
    rate: u64,
    /// What is in it, in thousandths of a byte.
    level: u64,
    counted_ms: u64,
    /// How many bytes the socket had taken then.
    written: u64,
}

impl Allowance {
    /// Empty.
    pub fn new(rate: u64, now_ms: u64, written: u64) -> Self {
        Self { rate: rate.max(*PIECE_LEN.start() + RECORD_EXTRA_LEN), level: 0, counted_ms: now_ms, written }
    }

    /// How many of `len` bytes may be written now: all of them, a piece that is worth a record, or none.
    pub fn of(&mut self, len: usize, now_ms: u64, written: u64) -> usize {
        let drained = self.rate.saturating_mul(now_ms.saturating_sub(self.counted_ms));
        self.level = self.level.saturating_sub(drained).saturating_add(1000 * written.saturating_sub(self.written));
        (self.counted_ms, self.written) = (now_ms, written);
        let piece = content_len(self.rate.saturating_sub(self.level.div_ceil(1000)));
        let least = (self.rate / 5).clamp(*PIECE_LEN.start(), *PIECE_LEN.end()).min(len as u64);
        if piece < least { 0 } else { usize::try_from(piece).unwrap_or(usize::MAX).min(len) }
    }

    /// How many bytes go through in so long.
    pub fn in_time(&self, ms: u64) -> u64 {
        content_len(self.rate.saturating_mul(ms) / 1000)
    }
}

/// How much content makes `len` bytes of records.
fn content_len(len: u64) -> u64 {
    let (records, rest) = (len / (RECORD_CONTENT_LEN + RECORD_EXTRA_LEN), len % (RECORD_CONTENT_LEN + RECORD_EXTRA_LEN));
    records * RECORD_CONTENT_LEN + rest.saturating_sub(RECORD_EXTRA_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes the socket takes in ten seconds, looked at every `every_ms`, and the shortest record's content but for the last.
    fn ten_seconds(rate: u64, every_ms: u64) -> (u64, u64) {
        let mut allowance = Allowance::new(rate, 0, 0);
        let (mut written, mut shortest) = (0, u64::MAX);
        for now_ms in (1000..11_000).step_by(usize::try_from(every_ms).unwrap()) {
            let len = allowance.of(1 << 20, now_ms, written) as u64;
            if len > 0 {
                written += len + RECORD_EXTRA_LEN * len.div_ceil(RECORD_CONTENT_LEN);
                shortest = shortest.min(len);
            }
        }
        (written, shortest)
    }

    /// R7.6-g.
    #[test]
    fn a_rate_counts_what_the_socket_takes_and_makes_no_records_of_a_few_bytes() {
        for (rate, every_ms) in [(100, 1), (500, 1), (500, 200), (2_875, 1), (2_875, 200), (100_000, 7), (100_000, 200)] {
            let (written, shortest) = ten_seconds(rate, every_ms);
            let expected = 11 * rate; // the first second's worth is there at once
            assert!(written <= expected && written * 100 >= expected * 88, "{written} of {expected} at {rate}, every {every_ms} ms");
            assert!(shortest >= (rate / 5).clamp(64, 512), "{shortest} at {rate}, every {every_ms} ms");
        }
    }

    #[test]
    fn what_is_short_goes_whole_and_what_went_beside_is_counted() {
        let mut allowance = Allowance::new(1000, 0, 0);
        assert_eq!(allowance.of(10, 0, 0), 10);
        assert_eq!(allowance.of(10, 0, 5000), 0, "the last words before a wait are not held back, and are owed");
        assert_eq!((allowance.of(10, 4000, 5000), allowance.of(10, 4100, 5000)), (0, 10));
    }
}
