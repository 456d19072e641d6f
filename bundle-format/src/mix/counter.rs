//! A probability that learns: fast at first, then ever slower. SPEC §4.8.

/// The probability of a one in 22 bits, then how often it was asked in 10.
#[derive(Clone, Copy)]
pub struct Counter(u32);

const COUNT_BITS: u32 = 10;
const CERTAIN: i64 = (1 << 22) - 1;

impl Counter {
    /// One that says `p` of 65536 and knows nothing.
    pub const fn new(p: u16) -> Self {
        Self((p as u32) << (6 + COUNT_BITS))
    }

    /// In 1/65536.
    pub fn probability(self) -> u32 {
        self.0 >> (6 + COUNT_BITS)
    }

    /// Move towards `bit` by a part of the way: 1/1.5 at the first time, 1/(n + 1.5) at the n-th, never less than at the `slowest` (R4.8-c).
    pub fn learn(&mut self, bit: u32, slowest: u32) {
        let (p, count) = (i64::from(self.0 >> COUNT_BITS), self.0 & ((1 << COUNT_BITS) - 1));
        let goal = if bit == 1 { CERTAIN } else { 0 };
        let p = p + (((goal - p) * i64::from(SHARE[count as usize])) >> 16);
        self.0 = (p as u32) << COUNT_BITS | (count + 1).min(slowest);
    }
}

/// The part of the way, in 1/65536.
const SHARE: [u16; 1 << COUNT_BITS] = {
    let mut share = [0; 1 << COUNT_BITS];
    let mut count = 0;
    while count < share.len() {
        share[count] = (131_072 / (2 * count + 3)) as u16;
        count += 1;
    }
    share
};
