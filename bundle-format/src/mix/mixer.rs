//! Whom to believe: weights that are chosen by where we are and learn from every bit, and a correction by what came of it before. SPEC §4.8.
//!
//! In: guesses as evidence, and what chooses the weights. Out: one probability. The loops over [`GUESSES`] numbers are written so that compilers make of them
//! the vector instructions that every processor has.

use super::curve::{Curves, EVIDENCE_MAX};
use super::memory::CONTEXTS;

/// Guesses that are mixed: one of each memory, one more of two of them, one of the plain counters, two of each repetition; and a constant. It is what a
/// processor adds up in two steps, and half a line of its cache.
pub const GUESSES: usize = CONTEXTS + 2 + 1 + 4 + 1;
const _: () = assert!(GUESSES == 16, "sums over 16 numbers become vector instructions, others do not");
/// One number for each guess.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub struct Guesses(pub [i16; GUESSES]);

/// Mixers, each with sets of weights chosen by something else. Sets there are: 1024, 768 and 2048; the second is rounded up.
const MIXERS: usize = 3;
const SETS: usize = 4096;
const BEGIN: [usize; MIXERS] = [0, 1024, 2048];
/// The weight of the first guess of each memory at first, in 1/16384.
const FIRST_WEIGHT: i16 = 2250;
/// How far weights move in the end, and how much farther at first; in 1/32.
const PACE: i32 = 7;
const HASTE: i32 = 20;
/// Corrections: sets of each of both tables; steps of evidence, rounded up.
const CORRECTIONS: usize = 1024;
const STEPS: usize = 32;

/// What chooses the weights.
pub struct Choice {
    /// Bits of this byte behind a leading one …
    pub bits: u32,
    /// … and how many.
    pub known: u32,
    /// 0 to 3: how long the repetition is.
    pub repeated: u32,
    /// The key or item the byte belongs to.
    pub key: u32,
    /// Kinds of the last bytes.
    pub kinds: u32,
    /// 10 bits that name what the repetition foretells for this key, and the bits of this byte.
    pub foretold: u32,
}

/// The weights.
#[derive(Clone)]
pub struct Mixer {
    weights: Vec<Guesses>,
    chosen: [usize; MIXERS],
    mixed: [i32; MIXERS],
    last_weights: Box<[[i32; MIXERS]; 256]>,
    last_chosen: usize,
    last: i32,
    corrections: Vec<[u16; STEPS]>,
    corrected: [usize; 2],
    /// Bytes so far, as far as they count.
    seen: i32,
    pace: i32,
}

impl Mixer {
    /// One that believes all memories alike.
    pub fn new(curves: &Curves) -> Self {
        let mut first = Guesses([0; GUESSES]);
        first.0.iter_mut().take(CONTEXTS).for_each(|weight| *weight = FIRST_WEIGHT);
        let plainly = std::array::from_fn(|step| curves.probability(((step as i32 - 12) * 256).clamp(-EVIDENCE_MAX, EVIDENCE_MAX)) as u16);
        Self {
            weights: vec![first; SETS],
            chosen: [0; MIXERS],
            mixed: [0; MIXERS],
            last_weights: Box::new([[65536 / MIXERS as i32; MIXERS]; 256]),
            last_chosen: 0,
            last: 0,
            corrections: vec![plainly; 2 * CORRECTIONS],
            corrected: [0; 2],
            seen: 0,
            pace: PACE + HASTE,
        }
    }

    /// After one more byte: weights move ever slower (R4.8-m).
    pub fn pass(&mut self) {
        self.seen = (self.seen + 1).min(1 << 17);
        self.pace = PACE + (HASTE << 13) / ((1 << 13) + self.seen);
    }

    /// The probability of a one (R4.8-k).
    #[inline]
    pub fn mix(&mut self, guesses: &Guesses, choice: &Choice, curves: &Curves) -> u32 {
        let Choice { bits, known, repeated, key, kinds, .. } = *choice;
        let sets = [bits | repeated << 8, ((key ^ key >> 8) & 255) * 3 + repeated.min(2), (kinds & 255) * 8 + known];
        self.last_chosen = bits as usize;
        let last_weights = &self.last_weights[self.last_chosen % 256];
        let mut sum = 0;
        for mixer in 0..MIXERS {
            let chosen = BEGIN[mixer] + sets[mixer] as usize;
            let mixed = (weigh(&self.weights[chosen], guesses) >> 14).clamp(-EVIDENCE_MAX, EVIDENCE_MAX);
            (self.chosen[mixer], self.mixed[mixer]) = (chosen, mixed);
            sum += i64::from(last_weights[mixer]) * i64::from(mixed);
        }
        self.last = ((sum >> 16) as i32).clamp(-EVIDENCE_MAX, EVIDENCE_MAX);
        self.correct(choice, curves)
    }

    /// Correct by what came of it when it was said before (R4.8-l).
    #[inline]
    fn correct(&mut self, choice: &Choice, curves: &Curves) -> u32 {
        let above = (self.last + EVIDENCE_MAX + 1) as usize;
        let (step, part) = (above >> 8, above as u32 & 255);
        self.corrected = [(choice.bits | choice.repeated << 8) as usize, CORRECTIONS + choice.foretold as usize];
        let mut p = 2 * curves.probability(self.last) as u32;
        for set in self.corrected {
            let table = &self.corrections[set];
            let (low, high) = (u32::from(table[step % STEPS]), u32::from(table[(step + 1) % STEPS]));
            p += (low * (256 - part) + high * part) >> 8;
        }
        (p >> 2).clamp(16, 65520)
    }

    /// Learn what the bit was (R4.8-m).
    #[inline]
    pub fn learn(&mut self, bit: u32, guesses: &Guesses, curves: &Curves) {
        let goal = (bit << 16) as i32;
        for mixer in 0..MIXERS {
            let error = ((goal - curves.probability(self.mixed[mixer])) * self.pace) >> 5;
            teach(&mut self.weights[self.chosen[mixer]], guesses, error.clamp(-32767, 32767) as i16);
        }
        let error = goal - curves.probability(self.last);
        let weights = &mut self.last_weights[self.last_chosen % 256];
        for mixer in 0..MIXERS {
            weights[mixer] += (self.mixed[mixer] * error + 0x4000) >> 15;
        }
        let goal = 65535 & (bit as i32).wrapping_neg();
        let nearest = ((self.last + EVIDENCE_MAX + 1 + 128) >> 8) as usize;
        for set in self.corrected {
            let said = &mut self.corrections[set][nearest % STEPS];
            *said = (i32::from(*said) + ((goal - i32::from(*said)) >> 5)) as u16;
        }
    }
}

/// Σ weight × guess, in 1/16384 of evidence. Sums wrap, as they do everywhere; so any order is the same. Not inlined: alone it becomes vector instructions.
#[inline(never)]
fn weigh(weights: &Guesses, guesses: &Guesses) -> i32 {
    let mut sum = 0_i32;
    for at in 0..GUESSES {
        sum = sum.wrapping_add(i32::from(weights.0[at]) * i32::from(guesses.0[at]));
    }
    sum
}

/// Believe those more who were right. Four guesses fit in 16 bits, and so does a step: the upper halves of products are all that is needed, and half of the
/// last place of them rounds.
#[inline]
fn teach(weights: &mut Guesses, guesses: &Guesses, error: i16) {
    for at in 0..GUESSES {
        let step = ((i32::from(guesses.0[at] << 2) * i32::from(error)) >> 16) as i16;
        weights.0[at] = weights.0[at].saturating_add((step + 1) >> 1);
    }
}
