//! How likely is the next bit a one? Many small memories guess; a mixer learns whom to believe. SPEC §4.8.
//!
//! In: the bits of everything so far, one after the other. Out: a probability for the next. The same bits give the same probabilities on every machine:
//! whole numbers only, and nothing else is asked. Not here: whom to believe (`mixer`), how a probability becomes bytes (`coder`).
//!
//! This runs for every bit: tables have sizes that are powers of two, so that a mask proves every index, and nothing branches that need not.

use super::counter::Counter;
use super::curve::Curves;
use super::history::Histories;
use super::memory::{CONTEXTS, Memories};
use super::mixer::{Choice, GUESSES, Guesses, Mixer};
use super::reader::{Reader, hash};
use super::repeat::Repeat;

/// Plain counters.
const PLAIN_LOG: u32 = 14;
/// The two memories that know most: they also say how sure they are as a plain number.
const BY_PLACE: usize = 3;
const BY_REPETITION: usize = 4;

/// Everything that was learned.
#[derive(Clone)]
pub struct Model {
    curves: Curves,
    histories: Histories,
    reader: Reader,
    bytes: Vec<u8>,
    /// The last 16 of them, the newest lowest.
    last: u128,
    memories: Memories,
    contexts: [u32; CONTEXTS],
    /// What each history of each memory means.
    meanings: Box<[[Counter; 256]; CONTEXTS]>,
    asked: [u8; CONTEXTS],
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
        let meaning = |history| if history == 0 { Counter::frozen() } else { Counter::new(histories.first_guess(history)) };
        let mut model = Self {
            reader: Reader::new(),
            bytes: Vec::new(),
            last: 0,
            memories: Memories::new(slots_log),
            contexts: [0; CONTEXTS],
            meanings: Box::new([std::array::from_fn(|history| meaning(history as u8)); CONTEXTS]),
            asked: [0; CONTEXTS],
            plain: vec![Counter::new(32768); 1 << PLAIN_LOG],
            plain_context: 0,
            plain_at: 0,
            repeats: [Repeat::new(5), Repeat::new(10)],
            guesses: Guesses([0; GUESSES]),
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
        self.memories.slots_log()
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
        let guesses = &mut self.guesses.0;
        for index in 0..CONTEXTS {
            let asked = self.memories.history(index, node);
            self.asked[index] = asked;
            let p = self.meanings[index][usize::from(asked)].probability();
            guesses[index] = self.curves.evidence(p);
            if index == BY_PLACE || index == BY_REPETITION {
                guesses[CONTEXTS + index - BY_PLACE] = (p as i16 - 2048) >> 2;
            }
        }
        self.plain_at = (hash(self.plain_context, spread(self.bits)) >> (32 - PLAIN_LOG)) as usize;
        guesses[CONTEXTS + 2] = self.curves.evidence(self.plain[self.plain_at].probability());
        for index in 0..2 {
            let start = CONTEXTS + 3 + 2 * index;
            [guesses[start], guesses[start + 1]] = self.repeats[index].speak(&self.curves);
        }
        guesses[GUESSES - 1] = 256;
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
            let asked = self.asked[index];
            self.meanings[index][usize::from(asked)].learn(bit);
            self.memories.remember(index, node, self.histories.after(asked, bit));
        }
        self.plain[self.plain_at].learn(bit);
        for repeat in &mut self.repeats {
            repeat.learn(bit);
        }
        self.bits = self.bits << 1 | bit;
        self.known += 1;
        if self.known == 8 {
            let byte = self.bits as u8;
            (self.bits, self.known) = (1, 0);
            self.bytes.push(byte);
            self.reader.pass(byte, self.bytes.len());
            self.last = self.last << 8 | u128::from(byte);
            let (four, before, first) = (self.last as u32, (self.last >> 32) as u32, (self.last >> 64) as u32);
            self.repeats[0].pass(&self.bytes, hash(four, before & 0xffff));
            self.repeats[1].pass(&self.bytes, hash(hash(four, before), first));
            self.mixer.pass();
            self.arrive();
        } else if self.known == 4 {
            self.memories.find(&self.contexts, spread(self.bits));
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
        let before = |ahead: usize| if reader.before == 0 { 0 } else { bytes.get(reader.before + ahead).map_or(0, |byte| u32::from(*byte)) };
        let four = self.last as u32;
        let (one, two) = (four & 0xff, four & 0xffff);
        let foretold = self.repeats[0].byte().map_or(0, |byte| u32::from(byte) + 1);
        let length = self.repeats[0].len().min(31) as u32 / 4;
        let contexts = [
            two,
            four,
            hash(before(0) | before(1) << 8, two),
            hash(hash(reader.key, reader.value), reader.key_before),
            hash(foretold | length << 9, reader.key),
            hash(reader.key, reader.offset.min(60) + 1000),
            hash(reader.word, hash(reader.last_text, one)),
            hash(reader.key, one),
        ];
        for index in 0..CONTEXTS {
            self.contexts[index] = hash(contexts[index], (index as u32 + 1).wrapping_mul(0x0100_0193));
        }
        self.plain_context = hash(reader.key, hash(reader.kinds & 0o77, 7));
        self.memories.find(&self.contexts, spread(self.bits));
    }
}

fn spread(bits: u32) -> u32 {
    bits.wrapping_mul(0x2545_f491)
}
