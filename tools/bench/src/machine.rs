//! What this machine allows: the yardsticks that budgets are ratios of.

use crate::Failure;
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What one event takes in the log, about: the yardstick append writes as much.
const RECORD_LEN: u64 = 356;
/// How far a small append extends the file with zeros, so that the next ones change no size.
const PAD_LEN: u64 = 64 * 1024;

/// Processor, cores, system.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model.to_owned()));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let system = Command::new("uname").arg("-sr").output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{}, {cores} cores, {}", model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()), system.unwrap_or_default())
}

/// Bytes a second, written in 1 MiB pieces with an fdatasync after each.
///
/// # Errors
/// The disk's.
pub fn write_rate(scratch: &Path, len: u64) -> Result<f64, Failure> {
    let path = scratch.join("raw");
    let mut file = File::create(&path)?;
    let piece = vec![0xa5; 1 << 20];
    let begun = Instant::now();
    for _ in 0..len >> 20 {
        file.write_all(&piece)?;
        file.sync_data()?;
    }
    let rate = len as f64 / begun.elapsed().as_secs_f64();
    fs::remove_file(path)?;
    Ok(rate)
}

/// Appends one record and fdatasync, as cheaply as a file system lets anybody: zeros are written ahead.
pub struct Appender {
    path: PathBuf,
    file: File,
    at: u64,
    end: u64,
}

impl Appender {
    /// A new file.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin(scratch: &Path) -> io::Result<Self> {
        let path = scratch.join("raw-append");
        Ok(Self { file: File::create(&path)?, path, at: 0, end: 0 })
    }

    /// One record, and how long it took to be durable.
    ///
    /// # Errors
    /// The disk's.
    pub fn append(&mut self) -> io::Result<Duration> {
        let mut piece = vec![0x5a; RECORD_LEN as usize];
        if self.at + RECORD_LEN > self.end {
            self.end = (self.at + RECORD_LEN).next_multiple_of(PAD_LEN);
            piece.resize((self.end - self.at) as usize, 0);
        }
        let begun = Instant::now();
        self.file.write_all_at(&piece, self.at)?;
        self.file.sync_data()?;
        self.at += RECORD_LEN;
        Ok(begun.elapsed())
    }

    /// Remove the file.
    ///
    /// # Errors
    /// The disk's.
    pub fn end(self) -> io::Result<()> {
        fs::remove_file(self.path)
    }
}

/// Bytes that the disk under `folder` has been given so far, by anybody; none where the kernel does not count them.
pub fn device_written(folder: &Path) -> Option<u64> {
    let device = fs::metadata(folder).ok()?.dev();
    let (major, minor) = ((device >> 32 & 0xffff_f000) | (device >> 8 & 0xfff), (device >> 12 & 0xffff_ff00) | (device & 0xff));
    let disks = fs::read_to_string("/proc/diskstats").ok()?;
    let numbers = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let disk = disks.lines().map(numbers).find(|disk| disk.first() == Some(&major.to_string()) && disk.get(1) == Some(&minor.to_string()))?;
    disk.get(9)?.parse::<u64>().ok().map(|sectors| sectors * 512)
}

/// The bare cipher: ChaCha20-Poly1305, a new nonce for each frame.
pub struct Cipher {
    cipher: ChaCha20Poly1305,
    sealed: u64,
}

impl Default for Cipher {
    fn default() -> Self {
        Self::new()
    }
}

impl Cipher {
    /// With some key.
    pub fn new() -> Self {
        Self { cipher: ChaCha20Poly1305::new(&Key::from([7; 32])), sealed: 0 }
    }

    /// Seal one frame in place; the tag is made and dropped.
    pub fn seal(&mut self, frame: &mut [u8]) {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.sealed.to_le_bytes());
        self.sealed += u64::from(self.cipher.encrypt_inout_detached(&Nonce::from(nonce), b"", frame.into()).is_ok());
    }
}

/// Bytes a second that ChaCha20-Poly1305 seals in 16 KiB frames on one core.
pub fn seal_rate() -> f64 {
    let mut cipher = Cipher::new();
    let mut frame = vec![0x33; 16 * 1024];
    let (begun, mut sealed) = (Instant::now(), 0_u64);
    while begun.elapsed() < Duration::from_millis(500) {
        cipher.seal(&mut frame);
        sealed += frame.len() as u64;
    }
    sealed as f64 / begun.elapsed().as_secs_f64()
}
