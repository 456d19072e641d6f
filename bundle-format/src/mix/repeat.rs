//! The longest repetition: if the last bytes stood somewhere before, what followed there is likely to follow here. SPEC §4.8.

use super::counter::Counter;
use super::curve::Curves;
use super::reader::hash;

/// Places remembered by what stands before them.
const PLACE_LOG: u32 = 15;
/// A repetition is followed back no further than this to learn its length.
const LENGTH_MAX: usize = 400;
/// Longer ones are all alike.
const BUCKETS: usize = 64;

/// Follows one repetition at a time.
#[derive(Clone)]
pub struct Repeat {
    /// Bytes that name a place.
    named_by: usize,
    /// Bytes that must really agree.
    agreeing: usize,
    places: Vec<u32>,
    at: usize,
    len: usize,
    /// How often a repetition of this length was right.
    right: [Counter; BUCKETS],
    /// The bit it foretells.
    foretold: Option<u32>,
}

impl Repeat {
    /// One that looks for `named_by` bytes.
    pub fn new(named_by: usize, agreeing: usize) -> Self {
        let right = [Counter::new(32768); BUCKETS];
        Self { named_by, agreeing, places: vec![0; 1 << PLACE_LOG], at: 0, len: 0, right, foretold: None }
    }

    /// Length of the repetition; 0 when there is none.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The byte it foretells.
    pub fn byte(&self, bytes: &[u8]) -> Option<u8> {
        bytes.get(self.at).copied().filter(|_| self.len > 0)
    }

    /// After one more byte.
    pub fn pass(&mut self, bytes: &[u8]) {
        let count = bytes.len();
        if self.len > 0 {
            self.at += 1;
            self.len += 1;
        }
        if count < self.named_by {
            return;
        }
        let name = bytes[count - self.named_by..].iter().fold(0, |name, byte| hash(name, u32::from(*byte)));
        let place = &mut self.places[(name >> (32 - PLACE_LOG)) as usize];
        let candidate = std::mem::replace(place, count as u32) as usize;
        if self.len == 0 && candidate > 0 {
            let agree = bytes[..candidate].iter().rev().zip(bytes.iter().rev()).take(LENGTH_MAX).take_while(|(a, b)| a == b).count();
            if agree >= self.agreeing {
                (self.at, self.len) = (candidate, agree);
            }
        }
    }

    /// What speaks for the next bit, where `bits` (behind a leading one) of the byte are known: evidence from experience, and from the length alone.
    pub fn speak(&mut self, bytes: &[u8], bits: u32, known: u32, curves: &Curves) -> [i16; 2] {
        self.foretold = None;
        let Some(byte) = self.byte(bytes) else { return [0; 2] };
        let byte = u32::from(byte) | 256;
        if byte >> (8 - known) != bits {
            self.len = 0;
            return [0; 2];
        }
        let bit = byte >> (7 - known) & 1;
        self.foretold = Some(bit);
        let evidence = curves.evidence(self.right[self.bucket()].probability() >> 4);
        let length = self.len.min(32) as i16 * 16;
        if bit == 1 { [evidence, length] } else { [-evidence, -length] }
    }

    /// Learn what the bit was.
    pub fn learn(&mut self, bit: u32) {
        if let Some(foretold) = self.foretold {
            let right = u32::from(foretold == bit);
            self.right[self.bucket()].learn(right, 255);
            if right == 0 {
                self.len = 0;
            }
        }
    }

    fn bucket(&self) -> usize {
        match self.len {
            len @ ..16 => len,
            len @ 16..32 => 12 + len / 4,
            len => (18 + len / 16).min(BUCKETS - 1),
        }
    }
}
