//! From probabilities to bytes and back: an arithmetic coder over 32 bits. SPEC §4.8.
//!
//! Both sides keep the same interval of 32-bit numbers. Each bit cuts it in two by its probability; leading bytes that both ends agree on are sent.

/// Makes bytes.
pub struct Writer {
    low: u32,
    high: u32,
    out: Vec<u8>,
}

impl Writer {
    /// Behind what stands in `out`.
    pub fn new(out: Vec<u8>) -> Self {
        Self { low: 0, high: u32::MAX, out }
    }

    /// One bit, whose probability to be a one was `p` of 65536.
    pub fn write(&mut self, bit: u32, p: u32) {
        let middle = cut(self.low, self.high, p);
        if bit == 1 {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push((self.high >> 24) as u8);
            (self.low, self.high) = (self.low << 8, self.high << 8 | 255);
        }
    }

    /// The bytes: one more where zeros would not name a number of the interval.
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend(last_byte(self.low));
        self.out
    }
}

/// Reads what [`Writer`] made; behind its end it reads zeros.
pub struct Reader {
    low: u32,
    high: u32,
    at: u32,
    position: usize,
}

impl Reader {
    /// At the start of `data`.
    pub fn new(data: &[u8]) -> Self {
        let at = (0..4).fold(0, |at, position| at << 8 | byte(data, position));
        Self { low: 0, high: u32::MAX, at, position: 4 }
    }

    /// The next bit, whose probability to be a one is `p` of 65536.
    pub fn read(&mut self, data: &[u8], p: u32) -> u32 {
        let middle = cut(self.low, self.high, p);
        let bit = u32::from(self.at <= middle);
        if bit == 1 {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            (self.low, self.high) = (self.low << 8, self.high << 8 | 255);
            self.at = self.at << 8 | byte(data, self.position);
            self.position += 1;
        }
        bit
    }

    /// Whether `data` ends as [`Writer::finish`] would have ended it: one value, one spelling.
    pub fn is_whole(&self, data: &[u8]) -> bool {
        let sent = self.position - 4;
        data.get(sent..) == Some(last_byte(self.low).as_slice())
    }
}

fn byte(data: &[u8], position: usize) -> u32 {
    data.get(position).map_or(0, |byte| u32::from(*byte))
}

fn last_byte(low: u32) -> Vec<u8> {
    if low == 0 { Vec::new() } else { vec![(low >> 24) as u8 + 1] }
}

/// The last number that stands for a one.
fn cut(low: u32, high: u32, p: u32) -> u32 {
    low + ((u64::from(high - low) * u64::from(p)) >> 16) as u32
}
