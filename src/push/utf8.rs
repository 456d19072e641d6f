//! UTF-8 that arrives in pieces.

/// Whether bytes that come in pieces are UTF-8.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// The beginning of a character whose rest is in the next piece.
    carry: Vec<u8>,
    broken: bool,
}

impl Utf8 {
    /// The next bytes.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.broken {
            return;
        }
        let joined;
        let bytes = if self.carry.is_empty() {
            piece
        } else {
            joined = [&self.carry, piece].concat();
            &joined
        };
        self.carry = match std::str::from_utf8(bytes) {
            Ok(_) => Vec::new(),
            Err(error) => {
                self.broken = error.error_len().is_some();
                bytes[error.valid_up_to()..].iter().take(3).copied().collect()
            }
        };
    }

    /// Whether all bytes so far are whole characters.
    pub fn is_whole(&self) -> bool {
        !self.broken && self.carry.is_empty()
    }
}
