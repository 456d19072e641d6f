//! Whom to believe: weights that are chosen by where we are and learn from every bit, and a correction by what came of it before. SPEC §4.8.
//!
//! In: guesses as evidence, and what chooses the weights. Out: one probability. The loops over [`WIDTH`] numbers are written so that compilers make of them
//! the vector instructions that every processor has.

use super::curve::{Curves, EVIDENCE_MAX};
use super::model::CONTEXTS;

/// Guesses that are mixed: two of each memory, two of the plain counters, two of each repetition; and a constant.
pub const GUESSES: usize = 2 * CONTEXTS + 2 + 4 + 1;
/// Rounded up to what a processor adds at once.
pub const WIDTH: usize = 24;
/// One number for each guess.
pub type Guesses = [i16; WIDTH];

/// Mixers, each with sets of weights chosen by something else. Sets there are: 1024, 768 and 2048; the second is rounded up.
const MIXERS: usize = 3;
const SETS: usize = 4096;
const BEGIN: [usize; MIXERS] = [0, 1024, 2048];
/// The weight of the first guess of each memory at first, in 1/16384.
const FIRST_WEIGHT: i16 = 2250;
/// An error that moves no weight: this times the largest guess is below a half of 2^15. Most bits are foretold so well.
const IDLE_ERROR: i32 = 5;
const _: () = assert!(IDLE_ERROR * EVIDENCE_MAX < 0x4000, "skipping changes nothing");
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
    seen: u32,
}

impl Mixer {
    /// One that believes all memories alike.
    pub fn new(curves: &Curves) -> Self {
        let mut first = [0; WIDTH];
        first.iter_mut().step_by(2).take(CONTEXTS).for_each(|weight| *weight = FIRST_WEIGHT);
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
        }
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
    fn correct(&mut self, choice: &Choice, curves: &Curves) -> u32 {
        let mut p = 2 * curves.probability(self.last);
        let above = self.last + EVIDENCE_MAX + 1;
        let (step, part) = ((above >> 8) as usize, above & 255);
        self.corrected = [(choice.bits | choice.repeated << 8) as usize, CORRECTIONS + choice.foretold as usize];
        for set in self.corrected {
            let table = &self.corrections[set];
            let [low, high] = [step, step + 1].map(|step| i32::from(table[step % STEPS]));
            p += (low * (256 - part) + high * part) >> 8;
        }
        (p >> 2).clamp(16, 65520) as u32
    }

    /// Learn what the bit was (R4.8-m).
    #[inline]
    pub fn learn(&mut self, bit: u32, guesses: &Guesses, curves: &Curves) {
        let goal = (bit << 16) as i32;
        self.seen = (self.seen + 1).min(1 << 20);
        let pace = 5 + ((15 << 16) / (65536 + self.seen)) as i32;
        for mixer in 0..MIXERS {
            let error = ((goal - curves.probability(self.mixed[mixer])) * pace) >> 5;
            if error.abs() > IDLE_ERROR {
                teach(&mut self.weights[self.chosen[mixer]], guesses, error.clamp(-32767, 32767) as i16);
            }
        }
        let error = i64::from(goal - curves.probability(self.last));
        for (weight, mixed) in self.last_weights[self.last_chosen % 256].iter_mut().zip(self.mixed) {
            *weight += ((i64::from(mixed) * error + 0x4000) >> 15) as i32;
        }
        let goal = if bit == 1 { 65535 } else { 0 };
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
    weights.iter().zip(guesses).fold(0, |sum: i32, (weight, guess)| sum.wrapping_add(i32::from(*weight) * i32::from(*guess)))
}

/// Believe those more who were right. A guess is below 4096, so a step fits in 16 bits.
#[inline(never)]
fn teach(weights: &mut Guesses, guesses: &Guesses, error: i16) {
    for (weight, guess) in weights.iter_mut().zip(guesses) {
        *weight = weight.saturating_add(((i32::from(*guess) * i32::from(error) + 0x4000) >> 15) as i16);
    }
}
