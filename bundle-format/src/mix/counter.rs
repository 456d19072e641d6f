//! A probability that learns: fast at first, then ever slower. SPEC §4.8.

/// The probability of a one in 24 bits, then how often it was asked, up to [`SLOWEST`].
#[derive(Clone, Copy)]
pub struct Counter(u32);

const COUNT_BITS: u32 = 8;
const CERTAIN: u32 = (1 << 24) - 1;
/// No counter becomes slower.
const SLOWEST: u32 = 254;
/// The count of one that never learns.
const FROZEN: u32 = SLOWEST + 1;

impl Counter {
    /// One that says `p` of 65536 and knows nothing.
    #[inline]
    pub const fn new(p: u16) -> Self {
        Self((p as u32) << (8 + COUNT_BITS))
    }

    /// One that says 1/2 for ever.
    pub const fn frozen() -> Self {
        Self(1 << 31 | FROZEN)
    }

    /// In 1/4096.
    #[inline]
    pub fn probability(self) -> u32 {
        self.0 >> (12 + COUNT_BITS)
    }

    /// Move towards `bit` by a part of the way: 1/1.5 at the first time, 1/(n + 1.5) after n bits, never less than at [`SLOWEST`] (R4.8-c).
    #[inline]
    pub fn learn(&mut self, bit: u32) {
        let (p, count) = (self.0 >> COUNT_BITS, self.0 & ((1 << COUNT_BITS) - 1));
        let goal = CERTAIN & bit.wrapping_neg();
        let step = ((i64::from(goal) - i64::from(p)) * i64::from(SHARE[count as usize])) >> 16;
        self.0 = p.wrapping_add(step as u32) << COUNT_BITS | (count + u32::from(count < SLOWEST));
    }
}

/// The part of the way, in 1/65536; none where a counter never learns.
const SHARE: [u16; 1 << COUNT_BITS] = {
    let mut share = [0; 1 << COUNT_BITS];
    let mut count = 0;
    while count <= SLOWEST as usize {
        share[count] = (131_072 / (2 * count + 3)) as u16;
        count += 1;
    }
    share
};
