//! Compression of one range: one zstd frame, bounded both ways. SPEC §4.4.
//!
//! In: raw events. Out: a magicless frame that states its content size, and back. Contexts are kept between ranges, because making one costs more than
//! compressing a small range with it; a primed range needs its own, because a context may not outlive the prefix it refers to.

use crate::limits::{PREFIX_LEN_MAX, RANGE_RAW_LEN_MAX, ZSTD_WINDOW_LOG_MAX};
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, FrameFormat, InBuffer, OutBuffer, ResetDirective};

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
}

impl Codec {
    /// From its number on the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Stored, Self::Zstd, Self::Primed].into_iter().find(|codec| *codec as u64 == number)
    }
}

/// How hard to try, and how far back to look: chosen by size, never left to zstd, so that memory stays bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// zstd's compression level.
    pub level: i32,
    /// Logarithm of the window; zstd makes it smaller for small inputs.
    pub window_log: u32,
}

impl Level {
    /// Up to this many raw bytes the best level stays below 3 MiB of memory.
    pub const SMALL_LEN: usize = 64 * 1024;
    /// For ranges up to [`Level::SMALL_LEN`].
    pub const SMALL: Self = Self { level: 19, window_log: 17 };
    /// For larger ones: a seventh of the time, within 4 MiB of memory.
    pub const LARGE: Self = Self { level: 6, window_log: 19 };

    /// The level for a range of `raw_len` bytes.
    pub fn for_len(raw_len: usize) -> Self {
        if raw_len <= Self::SMALL_LEN { Self::SMALL } else { Self::LARGE }
    }
}

/// A frame that is not what it claims, or a range that cannot be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The frame's head breaks R4.4: checksum, dictionary, no content size, another size than claimed, or a window beyond 2^20.
    #[error("the frame's head breaks the format")]
    Head,
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
    parameters.into_iter().try_for_each(|parameter| context.set_parameter(parameter).map(|_| ())).map_err(|_| CompressError::Memory)
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
        check_head(data, raw_len)?;
        self.0.reset(ResetDirective::SessionAndParameters).map_err(|_| CompressError::Memory)?;
        unframe(&mut self.0, data, raw_len)
    }

    /// The `raw_len` bytes of one frame made against `prefix`. Wrong history can give wrong bytes without an error: only the chain tells.
    ///
    /// # Errors
    /// [`CompressError`] when the frame is anything else than it claims.
    pub fn decompress_primed(data: &[u8], raw_len: usize, prefix: &[u8]) -> Result<Vec<u8>, CompressError> {
        check_head(data, raw_len)?;
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

/// RFC 8878 §3.1.1.1, and what we ask beyond: no checksum, no dictionary, a content size that is the claim, a window of at most 2^20.
fn check_head(data: &[u8], raw_len: usize) -> Result<(), CompressError> {
    const CHECKSUM: u8 = 0x04;
    const RESERVED: u8 = 0x08;
    const DICTIONARY: u8 = 0x03;
    const SINGLE_SEGMENT: u8 = 0x20;
    if raw_len > RANGE_RAW_LEN_MAX {
        return Err(CompressError::Head);
    }
    let (&descriptor, mut rest) = data.split_first().ok_or(CompressError::Head)?;
    if descriptor & (CHECKSUM | RESERVED | DICTIONARY) != 0 {
        return Err(CompressError::Head);
    }
    if descriptor & SINGLE_SEGMENT == 0 {
        let (&window, after) = rest.split_first().ok_or(CompressError::Head)?;
        let base = 1u64 << (10 + (window >> 3));
        let size = base + base / 8 * u64::from(window & 7);
        if size > 1 << ZSTD_WINDOW_LOG_MAX {
            return Err(CompressError::Head);
        }
        rest = after;
    }
    let (width, offset) = match (descriptor >> 6, descriptor & SINGLE_SEGMENT) {
        (0, 0) => return Err(CompressError::Head),
        (0, _) => (1, 0),
        (1, _) => (2, 256),
        (2, _) => (4, 0),
        _ => (8, 0),
    };
    let field = rest.get(..width).ok_or(CompressError::Head)?;
    let size = field.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)).checked_add(offset);
    if size == Some(raw_len as u64) { Ok(()) } else { Err(CompressError::Head) }
}
