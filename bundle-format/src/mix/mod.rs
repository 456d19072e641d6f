//! Context mixing (codec 3): half the bytes for small deltas on slow links, at a thousand times the work of zstd. SPEC §4.8.
//!
//! In: raw events, and events of the same history that both sides hold. Out: fewer bytes, and back. `reader` knows where in a record the next byte stands,
//! `model` says how likely its bits are, `coder` turns that into bytes. Both sides learn from every bit, first from the prefix, then from the events.
//! Nothing depends on the machine; tables and time are bounded by the header and the claimed length.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "whole numbers of fixed width are what makes it the same everywhere; every index is masked or bounded by how it was made"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "two arrays walked by one number are vector instructions or nothing; `zip` is a call where crates are built in parts"
)]

mod coder;
mod counter;
mod curve;
mod history;
mod memory;
mod mixer;
mod model;
mod reader;
mod repeat;

use crate::compress::CompressError;
use crate::limits::{MIX_RAW_LEN_MAX, PREFIX_LEN_MAX};
use model::Model;

/// Logarithm of the bytes of each of the eight memories: what a reader must be ready for …
pub const SLOTS_LOG_MAX: u32 = 18;
/// … and the least that is worth anything.
pub const SLOTS_LOG_MIN: u32 = 12;

/// `raw`, coded after both sides have read `prefix`; with memories of `1 << slots_log` bytes.
///
/// # Errors
/// [`CompressError::Prefix`], [`CompressError::Length`] for more than [`MIX_RAW_LEN_MAX`].
///
/// # Panics
/// When `slots_log` is outside [`SLOTS_LOG_MIN`] to [`SLOTS_LOG_MAX`]: it is a constant of the caller.
pub fn encode(prefix: &[u8], raw: &[u8], slots_log: u32) -> Result<Vec<u8>, CompressError> {
    let mut encoding = Encoding::new(None, prefix, raw, slots_log)?;
    while !encoding.go_on(usize::MAX) {}
    Ok(encoding.finish().0)
}

/// The `raw_len` bytes that `data` was made from with `prefix`. Wrong history gives wrong bytes or an error: the chain tells.
///
/// # Errors
/// [`CompressError`] when `data` is not exactly what a writer makes of so many bytes.
pub fn decode(prefix: &[u8], data: &[u8], raw_len: usize) -> Result<Vec<u8>, CompressError> {
    let mut decoding = Decoding::new(None, prefix, data, raw_len)?;
    while !decoding.go_on(usize::MAX) {}
    Ok(decoding.finish()?.0)
}

/// What was learned from some bytes. Who goes on with a prefix that begins with the same bytes need not learn them again, and comes to the same.
pub struct Learned(Box<Model>);

impl Learned {
    /// From what.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// A model for `prefix`: what is known already, if it is of these bytes, or nothing.
    fn model(learned: Option<Self>, prefix: &[u8], slots_log: u32) -> Box<Model> {
        let fits = |learned: &Self| learned.0.slots_log() == slots_log && prefix.starts_with(learned.bytes());
        learned.filter(fits).map_or_else(|| Box::new(Model::new(slots_log)), |learned| learned.0)
    }
}

impl std::fmt::Debug for Learned {
    /// Without the bytes: they are people's records.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Learned({} bytes)", self.bytes().len())
    }
}

/// A coding under way: who serves many does it piece by piece.
pub struct Encoding<'a> {
    model: Box<Model>,
    writer: coder::Writer,
    prefix: &'a [u8],
    raw: &'a [u8],
}

impl<'a> Encoding<'a> {
    /// Begin, with what was `learned` before where it is of the first bytes of `prefix`.
    ///
    /// # Errors
    /// As [`encode`].
    ///
    /// # Panics
    /// As [`encode`].
    pub fn new(learned: Option<Learned>, prefix: &'a [u8], raw: &'a [u8], slots_log: u32) -> Result<Self, CompressError> {
        assert!((SLOTS_LOG_MIN..=SLOTS_LOG_MAX).contains(&slots_log), "the size of the tables is a constant");
        check(prefix.len(), raw.len())?;
        let model = Learned::model(learned, prefix, slots_log);
        Ok(Self { model, writer: coder::Writer::new(vec![slots_log as u8]), prefix, raw })
    }

    /// Bytes of work that are left.
    pub fn left(&self) -> usize {
        self.prefix.len() + self.raw.len() - self.model.bytes().len()
    }

    /// Up to `count` bytes more, first of the prefix, which are learned, then of the events; whether that was all.
    pub fn go_on(&mut self, count: usize) -> bool {
        let left = self.left();
        let rest = left.min(count) - learn_some(&mut self.model, self.prefix, count);
        let done = self.model.bytes().len().saturating_sub(self.prefix.len());
        for bit in bits(&self.raw[done..done + rest]) {
            self.writer.write(bit, self.model.predict());
            self.model.learn(bit);
        }
        left <= count
    }

    /// The code, and what was learned from prefix and events together.
    ///
    /// # Panics
    /// When it has not gone on to the end.
    pub fn finish(self) -> (Vec<u8>, Learned) {
        assert_eq!(self.left(), 0, "coded to the end");
        (self.writer.finish(), Learned(self.model))
    }
}

/// A decoding under way: who serves many does it piece by piece.
pub struct Decoding<'a> {
    model: Box<Model>,
    coder: coder::Reader,
    prefix: &'a [u8],
    code: &'a [u8],
    raw_len: usize,
}

impl<'a> Decoding<'a> {
    /// Begin, with what was `learned` before where it is of the first bytes of `prefix`; nothing else is learned or decoded yet.
    ///
    /// # Errors
    /// [`CompressError`] when header or lengths are beyond their bounds.
    pub fn new(learned: Option<Learned>, prefix: &'a [u8], data: &'a [u8], raw_len: usize) -> Result<Self, CompressError> {
        check(prefix.len(), raw_len)?;
        let (slots_log, code) = data.split_first().ok_or(CompressError::Length)?;
        let slots_log = u32::from(*slots_log);
        if !(SLOTS_LOG_MIN..=SLOTS_LOG_MAX).contains(&slots_log) {
            return Err(CompressError::Corrupt);
        }
        Ok(Self { model: Learned::model(learned, prefix, slots_log), coder: coder::Reader::new(code), prefix, code, raw_len })
    }

    /// Bytes of work that are left.
    pub fn left(&self) -> usize {
        self.prefix.len() + self.raw_len - self.model.bytes().len()
    }

    /// Up to `count` bytes more, first of the prefix, which are learned, then of the code; whether that was all.
    pub fn go_on(&mut self, count: usize) -> bool {
        let left = self.left();
        let rest = left.min(count) - learn_some(&mut self.model, self.prefix, count);
        for _ in 0..8 * rest {
            let bit = self.coder.read(self.code, self.model.predict());
            self.model.learn(bit);
        }
        left <= count
    }

    /// The bytes, and what was learned from prefix and events together.
    ///
    /// # Errors
    /// [`CompressError::Length`] when the data goes on, or ends otherwise than a writer ends it.
    ///
    /// # Panics
    /// When it has not gone on to the end.
    pub fn finish(self) -> Result<(Vec<u8>, Learned), CompressError> {
        assert_eq!(self.left(), 0, "decoded to the end");
        let whole = self.coder.is_whole(self.code);
        if whole { Ok((self.model.bytes()[self.prefix.len()..].to_vec(), Learned(self.model))) } else { Err(CompressError::Length) }
    }
}

/// A little work, to see how fast a processor is: a text that is learned like that of events, where the digits never come twice alike.
pub struct Sample(Model);

/// What changes from event to event stands for zeros.
const SAMPLE_TEXT: &[u8] = br#"{"id":"00000000-0000-4000","at":"2026-00-00T00:00","temp":30.0,"note":"seen today","by":"nurse 0"},"#;

impl Sample {
    /// With tables as for a range.
    pub fn new() -> Self {
        Self(Model::new(SLOTS_LOG_MAX))
    }

    /// Learn so many bytes more.
    pub fn work(&mut self, count: usize) {
        for at in (self.0.bytes().len()..).take(count) {
            let digit = (at as u32).wrapping_mul(0x9e37_79b1) >> 29;
            let byte = SAMPLE_TEXT[at % SAMPLE_TEXT.len()];
            learn(&mut self.0, &[if byte == b'0' { byte + digit as u8 } else { byte }]);
        }
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::new()
    }
}

/// Learn up to `count` bytes of `prefix` behind those that are known; how many there were.
fn learn_some(model: &mut Model, prefix: &[u8], count: usize) -> usize {
    let unknown = prefix.get(model.bytes().len()..).unwrap_or_default();
    let now = &unknown[..unknown.len().min(count)];
    learn(model, now);
    now.len()
}

fn learn(model: &mut Model, bytes: &[u8]) {
    for bit in bits(bytes) {
        model.predict();
        model.learn(bit);
    }
}

fn bits(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| u32::from(*byte) >> shift & 1))
}

fn check(prefix_len: usize, raw_len: usize) -> Result<(), CompressError> {
    if prefix_len > PREFIX_LEN_MAX {
        return Err(CompressError::Prefix(prefix_len));
    }
    if raw_len > MIX_RAW_LEN_MAX { Err(CompressError::Length) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    /// What measures a processor does what it says, piece by piece as at once.
    #[test]
    fn a_sample_of_work_is_as_long_as_it_was_asked_for() {
        let (mut at_once, mut by_pieces) = (Sample::new(), Sample::new());
        at_once.work(500);
        for count in [1, 99, 0, 400] {
            by_pieces.work(count);
        }
        assert_eq!(at_once.0.bytes().len(), 500);
        assert_eq!(at_once.0.bytes(), by_pieces.0.bytes());
        assert!(at_once.0.bytes().starts_with(br#"{"id":""#));
        assert!((0..5).any(|at| at_once.0.bytes()[7 + at] != b'0'), "digits that never come twice alike");
    }
}
