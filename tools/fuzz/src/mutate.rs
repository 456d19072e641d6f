//! Mutants of an input from a seed: the same seed gives the same mutant on every machine. No match for libFuzzer, which sees what an input reaches;
//! enough to find again on every change what is easy to find.

/// A generator of small numbers (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Throws that `seed` determines.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() >> 33).unwrap_or(0).checked_rem(bound).unwrap_or(0)
    }
}

/// Bytes that stand at the edges of what CBOR and counts can say.
const EDGES: [u8; 16] = [0, 1, 0x17, 0x18, 0x1b, 0x20, 0x40, 0x5f, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xf6, 0xfb, 0xff];

/// `seed` changed in one to four places, with pieces of `other`; at most `len_max` bytes.
pub fn mutant(seed: &[u8], other: &[u8], len_max: usize, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(4) {
        change(&mut bytes, other, dice);
    }
    bytes.truncate(len_max);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len());
    let until = (at + 1 + dice.below(24)).min(bytes.len());
    match dice.below(9) {
        0..=2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        3 if at < bytes.len() => bytes[at] = EDGES[dice.below(EDGES.len())],
        4 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(if dice.below(2) == 0 { 1 } else { 255 }),
        5 => drop(bytes.drain(at..until)),
        6 => {
            let piece = bytes[at..until].to_vec();
            bytes.splice(at..at, piece);
        }
        7 => {
            let from = dice.below(other.len());
            let piece = &other[from..(from + dice.below(64)).min(other.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        8 => bytes.truncate(at),
        _ => bytes.push(EDGES[dice.below(EDGES.len())]),
    }
}
