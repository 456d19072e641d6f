//! How likely is the next bit a one? Many small memories guess; a mixer learns whom to believe. SPEC §4.8.
//!
//! In: the bits of everything so far, one after the other. Out: a probability for the next. The same bits give the same probabilities on every machine:
//! whole numbers only, and nothing else is asked. Not here: how a probability becomes bytes (`coder`).

use super::counter::Counter;
use super::curve::{Curves, EVIDENCE_MAX};
use super::history::Histories;
use super::reader::{Reader, hash};
use super::repeat::Repeat;

/// Memories of histories, each under a context of its own.
const CONTEXTS: usize = 8;
/// Guesses that are mixed: two of each memory, two of the plain counters, two of each repetition; and a constant.
const GUESSES: usize = 2 * CONTEXTS + 2 + 4 + 1;
/// Rounded up to what a processor adds at once.
const WIDTH: usize = 24;
/// What each history of each memory means.
const MEANINGS: usize = 256 * CONTEXTS;
/// Mixers, each with sets of weights chosen by something else.
const MIXERS: usize = 3;
const SETS: [usize; MIXERS] = [4 * 256, 3 * 256, 8 * 256];
/// The weight of the first guess of each memory at first, in 1/16384.
const FIRST_WEIGHT: i16 = 2250;
/// Plain counters.
const PLAIN_LOG: u32 = 14;
/// Counters of histories stop slowing down here; plain ones and those of repetitions at 255.
const SLOWEST: u32 = 1023;
/// Corrections: sets by the bits of the byte and the repetition, sets by hash; steps of evidence.
const CORRECTIONS: [usize; 2] = [1024, 1024];
const STEPS: usize = 25;

type Guesses = [i16; WIDTH];

/// 16 bytes: a check, and the histories of the 15 places a half byte can lead to.
type Slot = [u8; 16];

/// Everything that was learned.
#[derive(Clone)]
pub struct Model {
    curves: Curves,
    histories: Histories,
    reader: Reader,
    bytes: Vec<u8>,
    /// Slots of each memory, one memory after the other.
    slots: Vec<Slot>,
    contexts: [u32; CONTEXTS],
    at: [usize; CONTEXTS],
    meanings: Box<[Counter; MEANINGS]>,
    asked: [usize; CONTEXTS],
    plain: Vec<Counter>,
    plain_context: u32,
    plain_at: usize,
    repeats: [Repeat; 2],
    guesses: Guesses,
    weights: [Vec<Guesses>; MIXERS],
    chosen: [usize; MIXERS],
    mixed: [i32; MIXERS],
    last_weights: Vec<[i32; MIXERS]>,
    last: i32,
    corrections: [Vec<[u16; STEPS]>; 2],
    corrected: [usize; 2],
    /// Bits of this byte behind a leading one, and how many.
    bits: u32,
    known: u32,
    seen: u32,
}

impl Model {
    /// One that knows nothing, with `1 << slots_log` bytes for each memory.
    pub fn new(slots_log: u32) -> Self {
        let (curves, histories) = (Curves::new(), Histories::new());
        let meaning = |history| Counter::new(histories.first_guess(history));
        let mut first = [0; WIDTH];
        first.iter_mut().step_by(2).take(CONTEXTS).for_each(|weight| *weight = FIRST_WEIGHT);
        let plainly: [u16; STEPS] = std::array::from_fn(|step| curves.probability((step as i32 - 12) * 256) as u16);
        let mut model = Self {
            reader: Reader::new(),
            bytes: Vec::new(),
            slots: vec![[0; 16]; CONTEXTS << (slots_log - 4)],
            contexts: [0; CONTEXTS],
            at: [0; CONTEXTS],
            meanings: Box::new(std::array::from_fn(|asked| meaning(asked as u8))),
            asked: [0; CONTEXTS],
            plain: vec![Counter::new(32768); 1 << PLAIN_LOG],
            plain_context: 0,
            plain_at: 0,
            repeats: [Repeat::new(6, 5), Repeat::new(12, 10)],
            guesses: [0; WIDTH],
            weights: SETS.map(|sets| vec![first; sets]),
            chosen: [0; MIXERS],
            mixed: [0; MIXERS],
            last_weights: vec![[65536 / MIXERS as i32; MIXERS]; 256],
            last: 0,
            corrections: CORRECTIONS.map(|sets| vec![plainly; sets]),
            corrected: [0; 2],
            bits: 1,
            known: 0,
            seen: 0,
            curves,
            histories,
        };
        model.arrive();
        model
    }

    /// All bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The probability that the next bit is a one: 16 to 65520 of 65536.
    pub fn predict(&mut self) -> u32 {
        self.guess();
        self.choose();
        let mut sum = 0;
        for mixer in 0..MIXERS {
            let weights = &self.weights[mixer][self.chosen[mixer]];
            let mixed = (weigh(weights, &self.guesses) >> 14).clamp(-EVIDENCE_MAX, EVIDENCE_MAX);
            self.mixed[mixer] = mixed;
            sum += i64::from(self.last_weights[self.bits as usize][mixer]) * i64::from(mixed);
        }
        self.last = ((sum >> 16) as i32).clamp(-EVIDENCE_MAX, EVIDENCE_MAX);
        self.correct()
    }

    /// What each memory says (R4.8-j).
    fn guess(&mut self) {
        let node = self.node();
        for index in 0..CONTEXTS {
            let history = self.slots[self.at[index]][node];
            let asked = (index * 256 + usize::from(history)) % MEANINGS;
            self.asked[index] = asked;
            let p = self.meanings[asked].probability() >> 4;
            let guess = if history == 0 { [0; 2] } else { [self.curves.evidence(p), (p as i16 - 2048) >> 2] };
            [self.guesses[2 * index], self.guesses[2 * index + 1]] = guess;
        }
        self.plain_at = (hash(self.plain_context, spread(self.bits)) >> (32 - PLAIN_LOG)) as usize;
        let plain = self.plain[self.plain_at];
        let p = plain.probability() >> 4;
        let guess = if plain.is_new() { [0; 2] } else { [self.curves.evidence(p), (p as i16 - 2048) >> 1] };
        [self.guesses[2 * CONTEXTS], self.guesses[2 * CONTEXTS + 1]] = guess;
        for (index, repeat) in self.repeats.iter_mut().enumerate() {
            let guess = repeat.speak(&self.bytes, self.bits, self.known, &self.curves);
            let start = 2 * CONTEXTS + 2 + 2 * index;
            [self.guesses[start], self.guesses[start + 1]] = guess;
        }
        self.guesses[GUESSES - 1] = 256;
    }

    /// Which weights count here (R4.8-k).
    fn choose(&mut self) {
        let key = self.reader.key;
        let repeated = self.repeated();
        self.chosen = [
            self.bits as usize | repeated << 8,
            ((key ^ key >> 8) & 255) as usize * 3 + repeated.min(2),
            (self.reader.kinds & 255) as usize * 8 + self.known as usize,
        ];
    }

    /// None, short, long, very long.
    fn repeated(&self) -> usize {
        match self.repeats[0].len() {
            0 => 0,
            1..16 => 1,
            16..32 => 2,
            _ => 3,
        }
    }

    /// Correct by what came of it when it was said before (R4.8-l).
    fn correct(&mut self) -> u32 {
        let mut p = 2 * self.curves.probability(self.last);
        let above = self.last + EVIDENCE_MAX + 1;
        let (step, part) = ((above >> 8) as usize, above & 255);
        self.corrected = [self.bits as usize | self.repeated() << 8, (hash(self.contexts[0], self.bits) >> 22) as usize];
        for (table, set) in self.corrections.iter().zip(self.corrected) {
            let [low, high] = [step, step + 1].map(|step| i32::from(table[set][step]));
            p += (low * (256 - part) + high * part) >> 8;
        }
        (p >> 2).clamp(16, 65520) as u32
    }

    /// Learn what the bit was (R4.8-m).
    pub fn learn(&mut self, bit: u32) {
        self.learn_mixing(bit);
        let node = self.node();
        for index in 0..CONTEXTS {
            self.meanings[self.asked[index]].learn(bit, SLOWEST);
            let history = &mut self.slots[self.at[index]][node];
            *history = self.histories.after(*history, bit);
        }
        self.plain[self.plain_at].learn(bit, 255);
        self.repeats.iter_mut().for_each(|repeat| repeat.learn(bit));
        self.bits = self.bits << 1 | bit;
        self.known += 1;
        if self.known == 8 {
            let byte = self.bits as u8;
            (self.bits, self.known) = (1, 0);
            self.bytes.push(byte);
            self.reader.pass(byte, self.bytes.len());
            self.repeats.iter_mut().for_each(|repeat| repeat.pass(&self.bytes));
            self.arrive();
        } else if self.known == 4 {
            self.find_slots();
        }
    }

    fn learn_mixing(&mut self, bit: u32) {
        let goal = (bit << 16) as i32;
        self.seen = (self.seen + 1).min(1 << 20);
        let pace = 5 + (15 << 16) / (65536 + self.seen as i32);
        for mixer in 0..MIXERS {
            let error = ((goal - self.curves.probability(self.mixed[mixer])) * pace) >> 5;
            let weights = &mut self.weights[mixer][self.chosen[mixer]];
            teach(weights, &self.guesses, error.clamp(-32767, 32767) as i16);
        }
        let error = i64::from(goal - self.curves.probability(self.last));
        for (weight, mixed) in self.last_weights[self.bits as usize].iter_mut().zip(self.mixed) {
            *weight += ((i64::from(mixed) * error + 0x4000) >> 15) as i32;
        }
        let goal = if bit == 1 { 65535 } else { 0 };
        let above = self.last + EVIDENCE_MAX + 1;
        let nearest = ((above + 128) >> 8) as usize;
        for (table, set) in self.corrections.iter_mut().zip(self.corrected) {
            let said = i32::from(table[set][nearest]);
            table[set][nearest] = (said + ((goal - said) >> 5)) as u16;
        }
    }

    /// Where the half byte so far leads in a slot.
    fn node(&self) -> usize {
        let half = self.known & 3;
        ((1 << half) | (self.bits & ((1 << half) - 1))) as usize
    }

    /// At a new byte: what stands around it (R4.8-i).
    fn arrive(&mut self) {
        let (reader, bytes) = (&self.reader, &self.bytes);
        let back = |distance: usize| bytes.len().checked_sub(distance).map_or(0, |at| u32::from(bytes[at]));
        let before = |ahead: usize| if reader.before == 0 { 0 } else { bytes.get(reader.before + ahead).map_or(0, |byte| u32::from(*byte)) };
        let two = back(1) | back(2) << 8;
        let four = two | back(3) << 16 | back(4) << 24;
        let foretold = self.repeats[0].byte(bytes).map_or(0, |byte| u32::from(byte) + 1);
        let length = self.repeats[0].len().min(31) as u32 / 4;
        let contexts = [
            two,
            four,
            hash(reader.word, back(1)),
            hash(hash(reader.key, reader.value), reader.key_before),
            hash(hash(reader.key, before(0) | before(1) << 8), back(1) | reader.offset.min(40) << 8),
            hash(reader.key, reader.offset.min(60) + 1000),
            hash(reader.word, hash(reader.last_text, back(1))),
            hash(foretold | length << 9, back(1)),
        ];
        self.contexts = std::array::from_fn(|index| hash(contexts[index], (index as u32 + 1).wrapping_mul(0x0100_0193)));
        self.plain_context = hash(reader.key, hash(reader.kinds & 0o77, 7));
        self.find_slots();
    }

    /// At a new half byte: the slot of each memory; the older or emptier of two is given up where neither is ours (R4.8-f).
    fn find_slots(&mut self) {
        let each = self.slots.len() / CONTEXTS;
        let bits = spread(self.bits);
        for index in 0..CONTEXTS {
            let name = hash(self.contexts[index], bits).wrapping_mul(0x85eb_ca6b);
            let check = ((name >> 24) as u8).max(1);
            let near = index * each + (name as usize >> 4 & (each - 1));
            let far = near ^ 1;
            self.at[index] = if self.slots[near][0] == check {
                near
            } else if self.slots[far][0] == check {
                far
            } else {
                let given_up = if self.slots[near][1] <= self.slots[far][1] { near } else { far };
                self.slots[given_up] = [0; 16];
                self.slots[given_up][0] = check;
                given_up
            };
        }
    }
}

fn spread(bits: u32) -> u32 {
    bits.wrapping_mul(0x2545_f491)
}

/// Σ weight × guess, in 1/16384 of evidence. Sums wrap, as they do everywhere.
fn weigh(weights: &Guesses, guesses: &Guesses) -> i32 {
    weights.iter().zip(guesses).fold(0, |sum: i32, (weight, guess)| sum.wrapping_add(i32::from(*weight) * i32::from(*guess)))
}

/// Believe those more who were right.
fn teach(weights: &mut Guesses, guesses: &Guesses, error: i16) {
    for (weight, guess) in weights.iter_mut().zip(guesses) {
        *weight = weight.saturating_add(((i32::from(*guess) * i32::from(error) + 0x4000) >> 15) as i16);
    }
}
