//! Every sealed frame that ever stood on any card: no key meets a nonce twice with different bytes (R10.3-a, R10.3-b), also when cards go back in time.

use std::collections::HashMap;
use zbundle::ports::MemoryDisk;

const HEADER_LEN: usize = 64;
/// `len` and `crc`.
const PREFIX_LEN: usize = 8;
const SESSION_KIND: u8 = 2;
const SALT_AT: usize = 31;

/// Where a frame stood, and under which session's salt.
type Nonce = ([u8; 16], u32, usize);

/// Frames seen so far.
#[derive(Default)]
pub struct Nonces(HashMap<Nonce, (u32, u32)>);

impl Nonces {
    /// Note every frame in every segment of `card`, as it stands there now, synced or not.
    ///
    /// # Errors
    /// Which nonce was used twice.
    pub fn note(&mut self, card: &MemoryDisk) -> Result<(), String> {
        for path in card.paths() {
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".seg")?.parse::<u32>().ok());
            if let (Some(number), Some(bytes)) = (number, card.bytes(&path)) {
                self.note_segment(number, &bytes)?;
            }
        }
        Ok(())
    }

    fn note_segment(&mut self, segment: u32, bytes: &[u8]) -> Result<(), String> {
        let mut at = HEADER_LEN;
        let mut salt = None;
        while let Some(head) = bytes.get(at..at + SALT_AT) {
            let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
            let (len, crc) = (word(0) as usize, word(4));
            let Some(frame) = bytes.get(at..at + PREFIX_LEN + len).filter(|_| len > 0) else { break };
            let mut sum = crc32fast::Hasher::new();
            sum.update(&frame[..4]);
            sum.update(&frame[PREFIX_LEN..]);
            if sum.finalize() != crc {
                break; // torn or rotten: not what was sealed
            }
            if head[8] == SESSION_KIND {
                salt = bytes.get(at + SALT_AT..at + SALT_AT + 16).and_then(|salt| <[u8; 16]>::try_from(salt).ok());
            }
            if let Some(salt) = salt {
                let frame = (u32::try_from(len).unwrap_or(u32::MAX), crc);
                let known = *self.0.entry((salt, segment, at)).or_insert(frame);
                if known != frame {
                    return Err(format!("nonces: segment {segment} byte {at} was sealed twice under one key"));
                }
            }
            at += PREFIX_LEN + len;
        }
        Ok(())
    }

    /// Frames seen.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
