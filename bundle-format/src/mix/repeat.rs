//! The longest repetition: if the last bytes stood somewhere before, what followed there is likely to follow here. SPEC §4.8.

use super::counter::Counter;
use super::curve::Curves;

/// Places remembered by what stands before them.
const PLACE_LOG: u32 = 15;
/// A repetition is followed back no further than this to learn its length.
const LENGTH_MAX: usize = 400;
/// Longer ones are all alike.
const BUCKETS: usize = 64;

/// Follows one repetition at a time.
#[derive(Clone)]
pub struct Repeat {
    /// Bytes that must really agree.
    agreeing: usize,
    places: Vec<u32>,
    at: usize,
    len: usize,
    /// How often a repetition of this length was right; the first is for none and learns nothing.
    right: [Counter; BUCKETS],
    bucket: usize,
    /// The bits it foretells, the next one uppermost.
    bits: u8,
    /// Evidence from the length alone.
    length: i16,
}

impl Repeat {
    /// One whose bytes must agree so far.
    pub fn new(agreeing: usize) -> Self {
        let mut right = [Counter::new(32768); BUCKETS];
        right[0] = Counter::frozen();
        Self { agreeing, places: vec![0; 1 << PLACE_LOG], at: 0, len: 0, right, bucket: 0, bits: 0, length: 0 }
    }

    /// Length of the repetition; 0 when there is none.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The byte it foretells, before the first bit of it.
    #[inline]
    pub fn byte(&self) -> Option<u8> {
        (self.len > 0).then_some(self.bits)
    }

    /// After one more byte; `name` is that of the last ones.
    #[inline]
    pub fn pass(&mut self, bytes: &[u8], name: u32) {
        if self.len > 0 {
            self.at += 1;
            self.len += 1;
        }
        let place = &mut self.places[(name >> (32 - PLACE_LOG)) as usize % (1 << PLACE_LOG)];
        let candidate = std::mem::replace(place, bytes.len() as u32) as usize;
        if self.len == 0 && candidate > 0 {
            let agree = agreement(bytes, candidate);
            if agree >= self.agreeing {
                (self.at, self.len) = (candidate, agree);
            }
        }
        self.bucket = match self.len {
            len @ ..16 => len,
            len @ 16..32 => 12 + len / 4,
            len => (18 + len / 16).min(BUCKETS - 1),
        };
        self.bits = bytes.get(self.at).copied().unwrap_or_default();
        self.length = self.len.min(32) as i16 * 16;
    }

    /// What speaks for the next bit: evidence from experience, and from the length alone. Nothing where there is no repetition.
    #[inline]
    pub fn speak(&self, curves: &Curves) -> [i16; 2] {
        let evidence = curves.evidence(self.right[self.bucket % BUCKETS].probability());
        let sign = (i16::from(self.bits >> 7)).wrapping_sub(1);
        [(evidence ^ sign) - sign, (self.length ^ sign) - sign]
    }

    /// Learn what the bit was: a repetition that is wrong once is none.
    #[inline]
    pub fn learn(&mut self, bit: u32) {
        let right = u32::from(self.bits >> 7) ^ bit ^ 1;
        self.right[self.bucket % BUCKETS].learn(right);
        self.bits <<= 1;
        let still = (right as usize).wrapping_neg();
        (self.len, self.bucket, self.length) = (self.len & still, self.bucket & still, self.length & still as i16);
    }
}

/// How many bytes before `candidate` agree with the last ones.
fn agreement(bytes: &[u8], candidate: usize) -> usize {
    bytes[..candidate].iter().rev().zip(bytes.iter().rev()).take(LENGTH_MAX).take_while(|(a, b)| a == b).count()
}
