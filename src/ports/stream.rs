//! Files as streams: `std::io` readers and writers over [`DiskFile`], buffered, so that format code never sees a disk.

use super::disk::DiskFile;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes moved at a time.
const BUFFER_LEN: usize = 64 * 1024;

/// Reads a file from front to back, and from the front again after a seek.
pub struct FileReader {
    file: Box<dyn DiskFile>,
    len: u64,
    at: u64,
    buffer: Vec<u8>,
    used: usize,
}

impl FileReader {
    /// Read `file`, which is `len` bytes long now.
    ///
    /// # Errors
    /// What the disk says when asked for the length.
    pub fn new(file: Box<dyn DiskFile>) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, len, at: 0, buffer: Vec::new(), used: 0 })
    }

    /// Length when it was opened.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.resize(BUFFER_LEN, 0);
        let read = self.file.read_at(&mut self.buffer, self.at)?;
        self.buffer.truncate(read);
        self.at += read as u64;
        self.used = 0;
        Ok(())
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.buffer.len() {
            self.refill()?;
        }
        let rest = &self.buffer[self.used..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.used += count;
        Ok(count)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let here = self.at - (self.buffer.len() - self.used) as u64;
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => here.checked_add_signed(by),
        };
        self.at = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the start of the file"))?;
        self.buffer.clear();
        self.used = 0;
        Ok(self.at)
    }
}

/// Writes a file from front to back.
pub struct FileWriter {
    file: Box<dyn DiskFile>,
    at: u64,
    buffer: Vec<u8>,
}

impl FileWriter {
    /// Write `file` from its start.
    pub fn new(file: Box<dyn DiskFile>) -> Self {
        Self { file, at: 0, buffer: Vec::with_capacity(BUFFER_LEN) }
    }

    /// Flush, sync, and give the file back.
    ///
    /// # Errors
    /// What the disk says.
    pub fn finish(mut self) -> io::Result<Box<dyn DiskFile>> {
        self.flush()?;
        self.file.sync()?;
        Ok(self.file)
    }
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_LEN {
            self.file.write_at(bytes, self.at)?;
            self.at += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.at)?;
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
