//! A payload whose length is not known until its end: in memory while it is small, then in a nameless file under a key that dies with us (R10.2-f).

use super::PushError;
use crate::ports::disk::{DiskFile, Open};
use crate::ports::{Ports, entropy};
use bundle_format::ids::hex;
use bundle_format::limits::{PAYLOAD_LEN_MAX, TAG_LEN};
use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What may wait in memory: nearly every payload, and a small part of the 10 MB that a node may use.
const MEMORY_LEN_MAX: usize = 256 * 1024;
/// Plain bytes of one sealed chunk of the file.
const CHUNK_LEN: usize = 64 * 1024;

/// Bytes written once and read any number of times.
pub struct Spool {
    ports: Ports,
    folder: PathBuf,
    len: u64,
    /// Everything, or what follows the last whole chunk of the file.
    memory: Vec<u8>,
    file: Option<Spilled>,
}

struct Spilled {
    file: Box<dyn DiskFile>,
    seal: ChaCha20Poly1305,
    chunk_count: u32,
}

impl Spool {
    /// Empty. `folder` takes the file when one is needed.
    pub fn new(ports: &Ports, folder: &Path) -> Self {
        Self { ports: ports.clone(), folder: folder.to_owned(), len: 0, memory: Vec::new(), file: None }
    }

    /// Bytes in it.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Empty it. Memory above the ordinary goes back.
    pub fn clear(&mut self) {
        self.len = 0;
        self.memory.clear();
        self.memory.shrink_to(CHUNK_LEN);
        self.file = None;
    }

    /// Add `bytes`.
    ///
    /// # Errors
    /// What the disk says, when the file is needed.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + bytes.len() > MEMORY_LEN_MAX {
            self.file = Some(Spilled::create(&self.ports, &self.folder)?);
        }
        self.memory.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            let whole = self.memory.len() / CHUNK_LEN * CHUNK_LEN;
            for chunk in self.memory[..whole].chunks_mut(CHUNK_LEN) {
                file.append(chunk)?;
            }
            self.memory.drain(..whole);
            self.memory.shrink_to(2 * CHUNK_LEN);
        }
        Ok(())
    }

    /// Add everything `input` has.
    ///
    /// # Errors
    /// [`PushError::Input`], [`PushError::Spool`], and [`PushError::TooLarge`] as soon as it is more than a payload may be.
    pub fn fill(&mut self, input: &mut dyn Read) -> Result<(), PushError> {
        let mut buffer = vec![0; CHUNK_LEN];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PushError::Input(error)),
            };
            if self.len + read as u64 > PAYLOAD_LEN_MAX as u64 {
                return Err(PushError::TooLarge { len: None });
            }
            self.write(&buffer[..read]).map_err(PushError::Spool)?;
        }
    }

    /// All of it, when it is in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        self.file.is_none().then_some(&self.memory)
    }

    /// Read it from the front.
    pub fn read(&self) -> SpoolReader<'_> {
        SpoolReader { spool: self, next: 0, plain: Vec::new(), used: 0 }
    }
}

impl Spilled {
    /// The file has no name as soon as it is open, so nothing of it outlives us.
    fn create(ports: &Ports, folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".spool-{}.tmp", hex(&entropy::random::<8>(&*ports.entropy))));
        let file = ports.disk.open(&path, Open::New)?;
        ports.disk.remove(&path)?;
        let key: [u8; 32] = entropy::random(&*ports.entropy);
        Ok(Self { file, seal: ChaCha20Poly1305::new(&Key::from(key)), chunk_count: 0 })
    }

    fn append(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        let tag = self.seal.encrypt_inout_detached(&nonce(self.chunk_count), b"", chunk.into()).map_err(|_| io::Error::other("sealing failed"))?;
        let offset = offset(self.chunk_count);
        self.file.write_at(chunk, offset)?;
        self.file.write_at(&tag, offset + CHUNK_LEN as u64)?;
        self.chunk_count += 1;
        Ok(())
    }

    fn chunk(&self, index: u32, plain: &mut Vec<u8>) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the spool file does not read back");
        plain.resize(CHUNK_LEN + TAG_LEN, 0);
        if self.file.read_at(plain, offset(index))? != plain.len() {
            return Err(damaged());
        }
        let (chunk, tag) = plain.split_at_mut(CHUNK_LEN);
        let tag = Tag::try_from(&*tag).map_err(|_| damaged())?;
        self.seal.decrypt_inout_detached(&nonce(index), b"", chunk.into(), &tag).map_err(|_| damaged())?;
        plain.truncate(CHUNK_LEN);
        Ok(())
    }
}

fn offset(index: u32) -> u64 {
    u64::from(index) * (CHUNK_LEN + TAG_LEN) as u64
}

/// The key is fresh for every file, so the chunk's number is nonce enough.
fn nonce(index: u32) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[..4].copy_from_slice(&index.to_be_bytes());
    nonce
}

/// See [`Spool::read`].
pub struct SpoolReader<'a> {
    spool: &'a Spool,
    next: u32,
    plain: Vec<u8>,
    used: usize,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.used == self.plain.len() {
            let chunk_count = self.spool.file.as_ref().map_or(0, |file| file.chunk_count);
            match &self.spool.file {
                Some(file) if self.next < chunk_count => file.chunk(self.next, &mut self.plain)?,
                _ if self.next == chunk_count => self.plain.clone_from(&self.spool.memory),
                _ => return Ok(0),
            }
            self.next += 1;
            self.used = 0;
        }
        let rest = &self.plain[self.used..];
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.used += count;
        Ok(count)
    }
}
