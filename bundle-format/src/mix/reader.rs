//! Where in a record the next byte stands: in which item of an event, under which JSON key, how far into a value. SPEC §4.8.
//!
//! It follows CBOR item by item and, inside a byte string that begins like JSON, the text. It believes nothing: any bytes lead to some place, the same
//! at both ends. Not here: what follows from the place (`model`).

/// Places remembered: where the value of a key began last.
const PLACE_LOG: u32 = 12;
/// JSON deeper than this forgets its outermost keys.
const DEPTH: usize = 16;

/// Two numbers mixed into one.
pub fn hash(a: u32, b: u32) -> u32 {
    let x = (a ^ b.rotate_left(15)).wrapping_mul(0x9e37_79b1);
    x ^ (x >> 15)
}

/// The place.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "SPEC tells the reader by these; each is a question of its own")]
pub struct Reader {
    /// Items still to come in this event.
    pending: u64,
    /// Bytes left of a string.
    string_left: u64,
    major: u8,
    argument: u64,
    argument_left: u8,
    /// Items since the event began.
    item: u32,
    is_json: bool,
    at_first: bool,
    in_text: bool,
    escaped: bool,
    depth: [u32; DEPTH],
    level: usize,
    text: u32,
    last: Vec<u32>,
    /// The key or item that the next byte belongs to.
    pub key: u32,
    /// The key before.
    pub key_before: u32,
    /// The value so far.
    pub value: u32,
    /// Bytes of the value so far.
    pub offset: u32,
    /// The word so far; 0 between words.
    pub word: u32,
    /// The last whole JSON string.
    pub last_text: u32,
    /// Kinds of the last bytes, three bits each.
    pub kinds: u32,
    /// Where the byte stands that stood here in the last value of this key, and counts on; 0 when there is none.
    pub before: usize,
}

impl Reader {
    /// At the start.
    pub fn new() -> Self {
        Self {
            pending: 0,
            string_left: 0,
            major: 0,
            argument: 0,
            argument_left: 0,
            item: 0,
            is_json: false,
            at_first: false,
            in_text: false,
            escaped: false,
            depth: [0; DEPTH],
            level: 0,
            text: 0,
            last: vec![0; 1 << PLACE_LOG],
            key: 0,
            key_before: 0,
            value: 0,
            offset: 0,
            word: 0,
            last_text: 0,
            kinds: 0,
            before: 0,
        }
    }

    /// Past `byte`, the `count`-th of all.
    pub fn pass(&mut self, byte: u8, count: usize) {
        self.kinds = self.kinds << 3 | kind(byte);
        self.word = if byte.is_ascii_alphabetic() { hash(self.word, u32::from(byte | 32)) } else { 0 };
        if self.before > 0 && self.before + 1 < count {
            self.before += 1;
        }
        if self.string_left > 0 {
            self.string_left -= 1;
            self.within(byte, count);
            if self.string_left == 0 {
                self.item_ends(count);
            }
        } else if self.argument_left > 0 {
            self.argument = self.argument << 8 | u64::from(byte);
            self.argument_left -= 1;
            self.go_on(byte);
            if self.argument_left == 0 {
                self.headed(count);
            }
        } else {
            self.head(byte, count);
        }
    }

    fn go_on(&mut self, byte: u8) {
        self.value = hash(self.value, u32::from(byte));
        self.offset += 1;
    }

    fn head(&mut self, byte: u8, count: usize) {
        if self.pending == 0 {
            (self.pending, self.item) = (1, 0);
        }
        self.major = byte >> 5;
        self.go_on(byte);
        match byte & 31 {
            long @ 24..=27 => (self.argument, self.argument_left) = (0, 1 << (long - 24)),
            short => {
                self.argument = if short < 24 { u64::from(short) } else { 0 };
                self.headed(count);
            }
        }
    }

    fn headed(&mut self, count: usize) {
        self.pending -= 1;
        match self.major {
            2 | 3 if self.argument > 0 => {
                self.string_left = self.argument;
                (self.at_first, self.is_json) = (true, false);
                (self.value, self.offset) = (hash(u32::from(self.major), 11), 0);
                return;
            }
            4 => self.pending = self.pending.saturating_add(self.argument),
            5 => self.pending = self.pending.saturating_add(self.argument.saturating_mul(2)),
            _ => {}
        }
        self.item_ends(count);
    }

    fn item_ends(&mut self, count: usize) {
        self.item = if self.pending == 0 { 0 } else { self.item.wrapping_add(1) };
        (self.is_json, self.in_text, self.level, self.key_before) = (false, false, 0, 0);
        self.arrive(hash(self.item, 0xcb), count);
        self.value = 6;
    }

    /// The value of `key` begins with the next byte.
    fn arrive(&mut self, key: u32, count: usize) {
        (self.key, self.offset, self.value) = (key, 0, 1);
        let place = &mut self.last[(key >> (32 - PLACE_LOG)) as usize];
        self.before = *place as usize;
        *place = count as u32;
    }

    fn within(&mut self, byte: u8, count: usize) {
        if self.at_first {
            (self.at_first, self.in_text, self.escaped, self.level) = (false, false, false, 0);
            self.is_json = self.major == 2 && matches!(byte, b'{' | b'[');
        }
        if !self.is_json {
            self.go_on(byte);
        } else if self.in_text {
            self.within_text(byte);
        } else {
            self.within_json(byte, count);
        }
    }

    fn within_text(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                (self.in_text, self.last_text) = (false, self.text);
                self.go_on(byte);
                return;
            }
            _ => {}
        }
        self.text = hash(self.text, u32::from(byte));
        self.go_on(byte);
    }

    fn within_json(&mut self, byte: u8, count: usize) {
        match byte {
            b'"' => {
                (self.in_text, self.text) = (true, 0);
                self.value = hash(self.value, 34);
            }
            b':' => {
                self.key_before = self.key;
                let above = if self.level > 0 { self.depth[(self.level - 1) % DEPTH] } else { 0 };
                self.arrive(hash(self.last_text, above), count);
            }
            b'{' | b'[' => {
                self.depth[self.level % DEPTH] = self.key;
                self.level += 1;
                (self.value, self.offset) = (2, 0);
            }
            b'}' | b']' => {
                if self.level > 0 {
                    self.level -= 1;
                    self.key = self.depth[self.level % DEPTH];
                }
                (self.value, self.offset) = (3, 0);
            }
            b',' => (self.value, self.offset) = (4, 0),
            _ => self.go_on(byte),
        }
    }
}

fn kind(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => 1,
        b'a'..=b'f' => 2,
        b'g'..=b'z' => 3,
        b'A'..=b'Z' => 4,
        b'"' => 5,
        b'-' | b'.' | b':' | b'/' => 6,
        b' ' => 7,
        _ => 0,
    }
}
