//! Is this line JSON? Checked byte by byte as it streams past, in one bit of memory per open bracket, so that a line of 16 MiB costs nothing.
//!
//! The grammar is RFC 8259, UTF-8 included. Nothing is built and nothing is kept: a payload is stored as it came.

/// Checks one JSON text.
#[derive(Debug)]
pub struct Checker {
    state: State,
    /// One bit per open bracket, innermost last: whether it is an object.
    brackets: Vec<u8>,
    depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value must begin; with `true` the array that was just opened may also end.
    Value { or_end: bool },
    /// A key must begin; with `true` the object that was just opened may also end.
    Key { or_end: bool },
    /// Between key and value.
    Colon,
    /// After a value.
    After,
    /// Inside a string; a key's string is followed by a colon.
    Text { key: bool },
    /// Behind a backslash.
    Escape { key: bool },
    /// `left` digits of `\uXXXX` to come.
    Unicode { key: bool, left: u8 },
    /// `left` bytes of a UTF-8 character to come, the next between `low` and `high`.
    Tail { key: bool, left: u8, low: u8, high: u8 },
    /// The rest of `true`, `false` or `null`.
    Word(&'static [u8]),
    /// Inside a number.
    Number(Digits),
    /// Not JSON, whatever follows.
    Broken,
}

/// Where in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Digits {
    /// Whether a number may end here.
    fn complete(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }

    fn then(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Some(Self::Whole),
            (Self::Zero | Self::Whole, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::Sign),
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Some(Self::Power),
            _ => None,
        }
    }
}

impl Default for Checker {
    fn default() -> Self {
        Self { state: State::Value { or_end: false }, brackets: Vec::new(), depth: 0 }
    }
}

impl Checker {
    /// The next bytes of the text.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.state = self.step(*byte);
        }
    }

    /// Whether no continuation can make this JSON.
    pub fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Whether what was fed is one JSON value.
    pub fn is_whole(&self) -> bool {
        self.depth == 0
            && match self.state {
                State::After => true,
                State::Number(digits) => digits.complete(),
                _ => false,
            }
    }

    fn step(&mut self, byte: u8) -> State {
        match self.state {
            State::Number(digits) => match digits.then(byte) {
                Some(digits) => State::Number(digits),
                None if digits.complete() => self.after(byte),
                None => State::Broken,
            },
            State::Text { key } => text(key, byte),
            State::Escape { key } => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text { key },
                b'u' => State::Unicode { key, left: 4 },
                _ => State::Broken,
            },
            State::Unicode { key, left } if byte.is_ascii_hexdigit() => {
                if left == 1 {
                    State::Text { key }
                } else {
                    State::Unicode { key, left: left - 1 }
                }
            }
            State::Tail { key, left, low, high } if (low..=high).contains(&byte) => {
                if left == 1 {
                    State::Text { key }
                } else {
                    State::Tail { key, left: left - 1, low: 0x80, high: 0xbf }
                }
            }
            State::Word(&[expected, ref rest @ ..]) if byte == expected => {
                if rest.is_empty() {
                    State::After
                } else {
                    State::Word(rest)
                }
            }
            State::Unicode { .. } | State::Tail { .. } | State::Word(_) | State::Broken => State::Broken,
            between if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') => between,
            State::Value { or_end } => self.value(or_end, byte),
            State::Key { or_end } => match byte {
                b'"' => State::Text { key: true },
                b'}' if or_end => self.close(true),
                _ => State::Broken,
            },
            State::Colon => {
                if byte == b':' {
                    State::Value { or_end: false }
                } else {
                    State::Broken
                }
            }
            State::After => self.after(byte),
        }
    }

    fn value(&mut self, or_end: bool, byte: u8) -> State {
        match byte {
            b'{' => self.open(true),
            b'[' => self.open(false),
            b']' if or_end => self.close(false),
            b'"' => State::Text { key: false },
            b't' => State::Word(b"rue"),
            b'f' => State::Word(b"alse"),
            b'n' => State::Word(b"ull"),
            b'-' => State::Number(Digits::Minus),
            b'0' => State::Number(Digits::Zero),
            b'1'..=b'9' => State::Number(Digits::Whole),
            _ => State::Broken,
        }
    }

    /// What may follow a whole value.
    fn after(&mut self, byte: u8) -> State {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => State::After,
            b',' if self.depth > 0 => {
                if self.in_object() {
                    State::Key { or_end: false }
                } else {
                    State::Value { or_end: false }
                }
            }
            b'}' => self.close(true),
            b']' => self.close(false),
            _ => State::Broken,
        }
    }

    fn open(&mut self, object: bool) -> State {
        let (index, bit) = (self.depth / 8, 1 << (self.depth % 8));
        if index == self.brackets.len() {
            self.brackets.push(0);
        }
        if object {
            self.brackets[index] |= bit;
        } else {
            self.brackets[index] &= !bit;
        }
        self.depth += 1;
        if object { State::Key { or_end: true } } else { State::Value { or_end: true } }
    }

    fn close(&mut self, object: bool) -> State {
        if self.depth == 0 || self.in_object() != object {
            return State::Broken;
        }
        self.depth -= 1;
        State::After
    }

    fn in_object(&self) -> bool {
        let innermost = self.depth - 1;
        self.brackets[innermost / 8] & (1 << (innermost % 8)) != 0
    }
}

/// One byte of a string that begins a character.
fn text(key: bool, byte: u8) -> State {
    let tail = |left, low, high| State::Tail { key, left, low, high };
    match byte {
        b'"' => {
            if key {
                State::Colon
            } else {
                State::After
            }
        }
        b'\\' => State::Escape { key },
        0x20..=0x7f => State::Text { key },
        0xc2..=0xdf => tail(1, 0x80, 0xbf),
        0xe0 => tail(2, 0xa0, 0xbf),
        0xed => tail(2, 0x80, 0x9f),
        0xe1..=0xef => tail(2, 0x80, 0xbf),
        0xf0 => tail(3, 0x90, 0xbf),
        0xf1..=0xf3 => tail(3, 0x80, 0xbf),
        0xf4 => tail(3, 0x80, 0x8f),
        _ => State::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_json(text: &[u8]) -> bool {
        let mut checker = Checker::default();
        checker.feed(text);
        checker.is_whole()
    }

    /// The oracle, `serde_json`; it does not look at UTF-8 in what it skips.
    fn serde_says(text: &[u8]) -> bool {
        std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    }

    #[test]
    fn a_line_is_json_or_it_is_not() {
        let good = ["{}", "[]", "0", "-0.5e+10", "\"\"", " null\r", "true", "{\"a\":[1,{\"b\":\"\\u00e9\\n☃\"}],\"c\":-1}", "[[],[[]]]", "1E400"];
        let bad = [
            "",
            " ",
            "{",
            "]",
            "01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "tru",
            "truee",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "[1}",
            "1 2",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "'a'",
            "\u{feff}{}",
            "NaN",
            "{}{}",
            "[,1]",
            "[1 2]",
            "\"abc",
        ];
        for text in good {
            assert!(is_json(text.as_bytes()) && serde_says(text.as_bytes()), "{text}");
        }
        for text in bad {
            assert!(!is_json(text.as_bytes()) && !serde_says(text.as_bytes()), "{text}");
        }
        assert!(!is_json(b"\"\xff\"") && !is_json(b"\"\xc0\x80\"") && !is_json(b"\"\xed\xa0\x80\""), "strings are UTF-8");
    }

    #[test]
    fn depth_costs_a_bit() {
        let mut checker = Checker::default();
        checker.feed(&vec![b'['; 1 << 20]);
        assert_eq!(checker.brackets.len(), 1 << 17);
        checker.feed(&vec![b']'; 1 << 20]);
        assert!(checker.is_whole());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn the_oracle_agrees(pieces in proptest::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", "\\u00", "0", "12", "-", ".", "e", "+", "true", "nul", "l", " ", "\n", "é", "\u{10ffff}", "\u{7f}", "\u{1}",
        ]), 0..9)) {
            let text = pieces.concat();
            prop_assert_eq!(is_json(text.as_bytes()), serde_says(text.as_bytes()), "{}", text);
        }

        #[test]
        fn strings_are_utf_8_or_refused(inner in proptest::collection::vec(0x80_u8.., 0..6)) {
            let text = [b"\"", &inner[..], b"\""].concat();
            prop_assert_eq!(is_json(&text), std::str::from_utf8(&text).is_ok());
        }
    }
}
