//! How likely is the next bit a one? Many small memories guess; a mixer learns whom to believe. SPEC §4.8.
//!
//! In: the bits of everything so far, one after the other. Out: a probability for the next. The same bits give the same probabilities on every machine:
//! whole numbers only, and nothing else is asked. Not here: whom to believe (`mixer`), how a probability becomes bytes (`coder`).
//!
//! This runs for every bit: tables have sizes that are powers of two, so that a mask proves every index, and nothing branches that need not.

use super::counter::Counter;
use super::curve::Curves;
use super::history::Histories;
use super::mixer::{Choice, GUESSES, Guesses, Mixer, WIDTH};
use super::reader::{Reader, hash};
use super::repeat::Repeat;

/// Memories of histories, each under a context of its own.
pub const CONTEXTS: usize = 8;
/// What each history of each memory means.
const MEANINGS: usize = 256 * CONTEXTS;
/// Plain counters.
const PLAIN_LOG: u32 = 14;
/// Counters of histories stop slowing down here; plain ones and those of repetitions at 255.
const SLOWEST: u32 = 1023;

/// 16 bytes: a check, and the histories of the 15 places a half byte can lead to.
type Slot = [u8; 16];

/// Everything that was learned.
#[derive(Clone)]
pub struct Model {
    curves: Curves,
    histories: Histories,
    reader: Reader,
    bytes: Vec<u8>,
    /// Slots of each memory, one memory after the other; those of this half byte are in `held`, and come back when it ends.
    slots: Vec<Slot>,
    held: [Slot; CONTEXTS],
    at: [usize; CONTEXTS],
    contexts: [u32; CONTEXTS],
    meanings: Box<[Counter; MEANINGS]>,
    asked: [usize; CONTEXTS],
    plain: Vec<Counter>,
    plain_context: u32,
    plain_at: usize,
    repeats: [Repeat; 2],
    guesses: Guesses,
    mixer: Mixer,
    /// Bits of this byte behind a leading one, and how many.
    bits: u32,
    known: u32,
}

impl Model {
    /// One that knows nothing, with `1 << slots_log` bytes for each memory.
    pub fn new(slots_log: u32) -> Self {
        let (curves, histories) = (Curves::new(), Histories::new());
        let meaning = |history| Counter::new(if history == 0 { 32768 } else { histories.first_guess(history) });
        let each = 1 << (slots_log - 4);
        let mut model = Self {
            reader: Reader::new(),
            bytes: Vec::new(),
            slots: vec![[0; 16]; CONTEXTS * each],
            held: [[0; 16]; CONTEXTS],
            at: std::array::from_fn(|index| index * each),
            contexts: [0; CONTEXTS],
            meanings: Box::new(std::array::from_fn(|asked| meaning(asked as u8))),
            asked: [0; CONTEXTS],
            plain: vec![Counter::new(32768); 1 << PLAIN_LOG],
            plain_context: 0,
            plain_at: 0,
            repeats: [Repeat::new(6, 5), Repeat::new(12, 10)],
            guesses: [0; WIDTH],
            mixer: Mixer::new(&curves),
            bits: 1,
            known: 0,
            curves,
            histories,
        };
        model.arrive();
        model
    }

    /// Logarithm of the bytes of each memory.
    pub fn slots_log(&self) -> u32 {
        (self.slots.len() / CONTEXTS).ilog2() + 4
    }

    /// All bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The probability that the next bit is a one: 16 to 65520 of 65536.
    #[inline]
    pub fn predict(&mut self) -> u32 {
        self.guess();
        let choice = Choice {
            bits: self.bits,
            known: self.known,
            repeated: self.repeated(),
            key: self.reader.key,
            kinds: self.reader.kinds,
            foretold: hash(self.contexts[4], self.bits) >> 22,
        };
        self.mixer.mix(&self.guesses, &choice, &self.curves)
    }

    /// What each memory says (R4.8-j). Who knows nothing says 1/2, which is no evidence: a history of nothing, as its counter never learns; a plain counter
    /// that never learned.
    fn guess(&mut self) {
        let node = self.node();
        for index in 0..CONTEXTS {
            let asked = index * 256 + usize::from(self.held[index][node]);
            self.asked[index] = asked;
            let p = self.meanings[asked % MEANINGS].probability() >> 4;
            self.guesses[2 * index] = self.curves.evidence(p);
            self.guesses[2 * index + 1] = (p as i16 - 2048) >> 2;
        }
        self.plain_at = (hash(self.plain_context, spread(self.bits)) >> (32 - PLAIN_LOG)) as usize;
        let p = self.plain[self.plain_at].probability() >> 4;
        self.guesses[2 * CONTEXTS] = self.curves.evidence(p);
        self.guesses[2 * CONTEXTS + 1] = (p as i16 - 2048) >> 1;
        for (index, repeat) in self.repeats.iter_mut().enumerate() {
            let guess = repeat.speak(&self.bytes, self.bits, self.known, &self.curves);
            let start = 2 * CONTEXTS + 2 + 2 * index;
            [self.guesses[start], self.guesses[start + 1]] = guess;
        }
        self.guesses[GUESSES - 1] = 256;
    }

    /// None, short, long, very long.
    fn repeated(&self) -> u32 {
        let len = self.repeats[0].len();
        u32::from(len > 0) + u32::from(len >= 16) + u32::from(len >= 32)
    }

    /// Learn what the bit was (R4.8-m).
    #[inline]
    pub fn learn(&mut self, bit: u32) {
        self.mixer.learn(bit, &self.guesses, &self.curves);
        let node = self.node();
        for index in 0..CONTEXTS {
            self.meanings[self.asked[index] % MEANINGS].learn(bit, SLOWEST);
            self.meanings[index * 256] = Counter::new(32768); // nothing seen never means anything
            let history = &mut self.held[index][node];
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

    /// Where the half byte so far leads in a slot.
    fn node(&self) -> usize {
        let half = self.known & 3;
        (((1 << half) | (self.bits & ((1 << half) - 1))) & 15) as usize
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
            hash(before(0) | before(1) << 8, two),
            hash(hash(reader.key, reader.value), reader.key_before),
            hash(foretold | length << 9, reader.key),
            hash(reader.key, reader.offset.min(60) + 1000),
            hash(reader.word, hash(reader.last_text, back(1))),
            hash(reader.key, back(1)),
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
            self.slots[self.at[index]] = self.held[index];
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
            self.held[index] = self.slots[self.at[index]];
        }
    }
}

fn spread(bits: u32) -> u32 {
    bits.wrapping_mul(0x2545_f491)
}
