//! Compression of one range: one zstd frame, bounded both ways. SPEC §4.4.
//!
//! In: raw events. Out: a magicless frame that states its content size, and back. Contexts are kept between ranges, because making one costs more than
//! compressing a small range with it; a primed range needs its own, because a context may not outlive the prefix it refers to.

use crate::limits::{PREFIX_LEN_MAX, ZSTD_WINDOW_LOG_MAX};
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, FrameFormat, InBuffer, OutBuffer, ResetDirective, Strategy};

/// How the data of a range is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// As it is.
    Stored = 0,
    /// One zstd frame.
    Zstd = 1,
    /// One zstd frame against a prefix of the same history, which the reader must hold.
    Primed = 2,
    /// By context mixing, against a prefix or not.
    Mixed = 3,
}

impl Codec {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Zstd => "zstd",
            Self::Primed => "zstd-primed",
            Self::Mixed => "mixed",
        }
    }

    /// From its number on the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Stored, Self::Zstd, Self::Primed, Self::Mixed].into_iter().find(|codec| *codec as u64 == number)
    }
}

/// How hard to try, and how far back to look: chosen by size, never left to zstd, so that memory stays bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// zstd's compression level: what `tables` does not say.
    pub level: i32,
    /// Logarithm of the window; zstd makes it smaller for small inputs.
    pub window_log: u32,
    /// Other tables than the level's own.
    pub tables: Option<Tables>,
}

/// The tables of a search by binary trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Whether every way to put the matches together is weighed (`ZSTD_btultra`), or the next few (`ZSTD_btlazy2`).
    pub thorough: bool,
    /// Logarithm of the hash table's entries, 4 bytes each.
    pub hash_log: u32,
    /// Logarithm of the trees' entries, 4 bytes each.
    pub chain_log: u32,
    /// Logarithm of the attempts for each match.
    pub search_log: u32,
    /// Shortest match looked for.
    pub min_match: u32,
}

impl Level {
    /// Up to this many raw bytes the best level stays below 3 MiB of memory.
    pub const SMALL_LEN: usize = 64 * 1024;
    /// For ranges up to [`Level::SMALL_LEN`].
    pub const SMALL: Self = Self { level: 19, window_log: 17, tables: None };
    /// For larger ones: level 13 with tables of 2 MiB, matches from 6 bytes on. Measured on 1 MiB of clinic events and of FHIR resources, bytes per
    /// event: 63.9 and 61.5; level 6 with this window takes 3 MiB for 68.4 and 63.6 in a third of the time, level 19 with a window that fits 5 MiB
    /// for 60.8 and 66.3 in nine times the time.
    pub const LARGE: Self =
        Self { level: 13, window_log: 19, tables: Some(Tables { thorough: false, hash_log: 17, chain_log: 18, search_log: 5, min_match: 6 }) };
    /// For ranges against a prefix: the bytes of level 19 with its own tables, in 2.2 MiB instead of 4.8 (measured on clinic events with 128 KiB of
    /// prefix: 80.2 bytes for 1, 61.3 an event for 20, 59.0 for 100, both).
    pub const PRIMED: Self =
        Self { level: 19, window_log: 18, tables: Some(Tables { thorough: true, hash_log: 17, chain_log: 18, search_log: 6, min_match: 3 }) };

    /// Where time matters more than bytes.
    pub const FAST: Self = Self { level: 1, window_log: 17, tables: None };

    /// The level for a range of `raw_len` bytes.
    pub fn for_len(raw_len: usize) -> Self {
        if raw_len <= Self::SMALL_LEN { Self::SMALL } else { Self::LARGE }
    }
}

/// A frame that is not what it claims, or a range that cannot be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The window is larger than a reader must hold (R4.4-h).
    #[error("a window above 2^20 bytes")]
    Window,
    /// zstd cannot make sense of it.
    #[error("the frame is corrupt")]
    Corrupt,
    /// The frame ends early, or goes on beyond its claim, or bytes follow it.
    #[error("the frame is not as long as it claims")]
    Length,
    /// The prefix is longer than [`PREFIX_LEN_MAX`].
    #[error("a prefix of {0} bytes")]
    Prefix(usize),
    /// zstd has no memory.
    #[error("no memory to compress with")]
    Memory,
}

/// A compressor to be used for many ranges.
pub struct Compressor(CCtx<'static>);

impl Compressor {
    /// A new one. Takes memory at its first use.
    ///
    /// # Errors
    /// [`CompressError::Memory`].
    pub fn new() -> Result<Self, CompressError> {
        CCtx::try_create().map(Self).ok_or(CompressError::Memory)
    }

    /// `raw` as one frame.
    ///
    /// # Errors
    /// [`CompressError::Memory`].
    pub fn compress(&mut self, raw: &[u8], level: Level) -> Result<Vec<u8>, CompressError> {
        compress_in(&mut self.0, raw, level)
    }

    /// `raw` as one frame against `prefix`.
    ///
    /// # Errors
    /// [`CompressError::Prefix`], [`CompressError::Memory`].
    pub fn compress_primed(raw: &[u8], prefix: &[u8], level: Level) -> Result<Vec<u8>, CompressError> {
        if prefix.len() > PREFIX_LEN_MAX {
            return Err(CompressError::Prefix(prefix.len()));
        }
        let mut context = CCtx::try_create().ok_or(CompressError::Memory)?;
        set_level(&mut context, level)?;
        context.ref_prefix(prefix).map_err(|_| CompressError::Memory)?;
        frame(&mut context, raw)
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

fn compress_in(context: &mut CCtx<'_>, raw: &[u8], level: Level) -> Result<Vec<u8>, CompressError> {
    context.reset(ResetDirective::SessionAndParameters).map_err(|_| CompressError::Memory)?;
    set_level(context, level)?;
    frame(context, raw)
}

fn set_level(context: &mut CCtx<'_>, level: Level) -> Result<(), CompressError> {
    let parameters = [
        CParameter::CompressionLevel(level.level),
        CParameter::WindowLog(level.window_log),
        CParameter::Format(FrameFormat::Magicless),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
        CParameter::DictIdFlag(false),
    ];
    let tables = level.tables.map(|tables| {
        [
            CParameter::Strategy(if tables.thorough { Strategy::ZSTD_btultra } else { Strategy::ZSTD_btlazy2 }),
            CParameter::HashLog(tables.hash_log),
            CParameter::ChainLog(tables.chain_log),
            CParameter::SearchLog(tables.search_log),
            CParameter::MinMatch(tables.min_match),
            CParameter::TargetLength(if tables.thorough { 256 } else { 32 }),
        ]
    });
    let mut parameters = parameters.into_iter().chain(tables.into_iter().flatten());
    parameters.try_for_each(|parameter| context.set_parameter(parameter).map(|_| ())).map_err(|_| CompressError::Memory)
}

fn frame(context: &mut CCtx<'_>, raw: &[u8]) -> Result<Vec<u8>, CompressError> {
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    context.compress2(&mut out, raw).map_err(|_| CompressError::Memory)?;
    Ok(out)
}

/// A decompressor to be used for many ranges.
pub struct Decompressor(DCtx<'static>);

impl Decompressor {
    /// A new one. Takes memory at its first use.
    ///
    /// # Errors
    /// [`CompressError::Memory`].
    pub fn new() -> Result<Self, CompressError> {
        DCtx::try_create().map(Self).ok_or(CompressError::Memory)
    }

    /// The `raw_len` bytes of one frame that fills `data` exactly.
    ///
    /// # Errors
    /// [`CompressError`] when the frame is anything else than it claims.
    pub fn decompress(&mut self, data: &[u8], raw_len: usize) -> Result<Vec<u8>, CompressError> {
        check_window(data)?;
        self.0.reset(ResetDirective::SessionAndParameters).map_err(|_| CompressError::Memory)?;
        unframe(&mut self.0, data, raw_len)
    }

    /// The `raw_len` bytes of one frame made against `prefix`. Wrong history can give wrong bytes without an error: only the chain tells.
    ///
    /// # Errors
    /// [`CompressError`] when the frame is anything else than it claims.
    pub fn decompress_primed(data: &[u8], raw_len: usize, prefix: &[u8]) -> Result<Vec<u8>, CompressError> {
        check_window(data)?;
        if prefix.len() > PREFIX_LEN_MAX {
            return Err(CompressError::Prefix(prefix.len()));
        }
        let mut context = DCtx::try_create().ok_or(CompressError::Memory)?;
        context.ref_prefix(prefix).map_err(|_| CompressError::Memory)?;
        unframe(&mut context, data, raw_len)
    }
}

impl std::fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decompressor")
    }
}

/// Streaming, because zstd's one-shot call ignores the window limit and swallows several frames; into exactly the room that was claimed.
fn unframe(context: &mut DCtx<'_>, data: &[u8], raw_len: usize) -> Result<Vec<u8>, CompressError> {
    let parameters = [DParameter::Format(FrameFormat::Magicless), DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)];
    parameters.into_iter().try_for_each(|parameter| context.set_parameter(parameter).map(|_| ())).map_err(|_| CompressError::Memory)?;
    let mut raw = Vec::with_capacity(raw_len);
    let mut output = OutBuffer::around(&mut raw);
    let mut input = InBuffer::around(data);
    loop {
        let before = (input.pos(), output.pos());
        let left = context.decompress_stream(&mut output, &mut input).map_err(|_| CompressError::Corrupt)?;
        if left == 0 {
            break;
        }
        if before == (input.pos(), output.pos()) {
            return Err(CompressError::Length);
        }
    }
    let whole = input.pos() == data.len() && output.pos() == raw_len;
    if whole { Ok(raw) } else { Err(CompressError::Length) }
}

/// The window a frame asks for (RFC 8878 §3.1.1.1.2). zstd checks it only where it must allocate one; two readers must not differ on a frame.
fn check_window(data: &[u8]) -> Result<(), CompressError> {
    const SINGLE_SEGMENT: u8 = 0x20; // no window: the content itself, which is bounded by the claim
    let descriptor = data.first().ok_or(CompressError::Length)?;
    if descriptor & SINGLE_SEGMENT != 0 {
        return Ok(());
    }
    let window = data.get(1).ok_or(CompressError::Length)?;
    let base = 1u64 << (10 + (window >> 3));
    let size = base + base / 8 * u64::from(window & 7);
    if size > 1 << ZSTD_WINDOW_LOG_MAX { Err(CompressError::Window) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RANGE_RAW_LEN_MAX;

    fn text(len: usize) -> Vec<u8> {
        (0..)
            .flat_map(|number: u64| format!("patient {} temp {}.{};", number * 7919 % 1000, 35 + number % 6, number % 10).into_bytes())
            .take(len)
            .collect()
    }

    #[test]
    fn contexts_stay_within_their_memory() {
        for (raw_len, most) in [(1000, 200), (Level::SMALL_LEN, 3 << 10), (Level::SMALL_LEN + 1, 2 << 10), (RANGE_RAW_LEN_MAX, 2 << 10)] {
            let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::new().unwrap());
            let raw = text(raw_len);
            let frame = compressor.compress(&raw, Level::for_len(raw_len)).unwrap();
            assert_eq!(decompressor.decompress(&frame, raw_len).unwrap(), raw);
            let used = compressor.0.sizeof() >> 10;
            assert!(used <= most, "{raw_len} bytes take {used} KiB to compress");
            let used = decompressor.0.sizeof() >> 10;
            assert!(used <= 200, "{raw_len} bytes take {used} KiB to decompress");
        }
    }

    #[test]
    fn a_primed_range_takes_little_memory_and_few_bytes() {
        let (history, raw) = (text(PREFIX_LEN_MAX), text(PREFIX_LEN_MAX + 5000).split_off(PREFIX_LEN_MAX));
        let mut context = CCtx::create();
        set_level(&mut context, Level::PRIMED).unwrap();
        context.ref_prefix(&history).unwrap();
        let ours = frame(&mut context, &raw).unwrap().len();
        assert!(context.sizeof() >> 10 <= 2500, "{} KiB", context.sizeof() >> 10);
        let mut context = CCtx::create();
        set_level(&mut context, Level { tables: None, ..Level::PRIMED }).unwrap();
        context.ref_prefix(&history).unwrap();
        let own = frame(&mut context, &raw).unwrap().len();
        assert!(ours <= own + own / 50, "{ours} bytes, {own} with the level's own tables");
    }

    #[test]
    fn a_context_forgets_what_it_did_before() {
        let mut compressor = Compressor::new().unwrap();
        let once = compressor.compress(&text(5000), Level::SMALL).unwrap();
        compressor.compress(&text(200_000), Level::LARGE).unwrap();
        assert_eq!(compressor.compress(&text(5000), Level::SMALL).unwrap(), once, "equal inputs give equal frames");
        let mut decompressor = Decompressor::new().unwrap();
        assert!(decompressor.decompress(&once[..once.len() / 2], 5000).is_err());
        assert_eq!(decompressor.decompress(&once, 5000).unwrap(), text(5000));
    }

    #[test]
    fn a_prefix_is_bounded() {
        let raw = text(1000);
        let history = text(PREFIX_LEN_MAX);
        let frame = Compressor::compress_primed(&raw, &history, Level::SMALL).unwrap();
        assert!(frame.len() < 100, "{}", frame.len());
        assert_eq!(Decompressor::decompress_primed(&frame, 1000, &history).unwrap(), raw);
        let long = text(PREFIX_LEN_MAX + 1);
        assert_eq!(Compressor::compress_primed(&raw, &long, Level::SMALL), Err(CompressError::Prefix(PREFIX_LEN_MAX + 1)));
        assert_eq!(Decompressor::decompress_primed(&frame, 1000, &long), Err(CompressError::Prefix(PREFIX_LEN_MAX + 1)));
    }
}
