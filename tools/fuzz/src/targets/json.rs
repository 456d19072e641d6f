//! RFC 8259 by hand: whether a text is one JSON value. The product asks `serde_json`; a second opinion must not ask it again.

/// Deeper than this `serde_json` refuses, so that a stack never overflows.
const DEPTH_MAX: usize = 127;

/// Whether `text`, which is UTF-8, is one value with nothing but white space around it.
pub fn is_one(text: &[u8]) -> bool {
    let mut json = Json(text);
    json.space();
    let is_value = json.value(DEPTH_MAX).is_some();
    json.space();
    is_value && json.0.is_empty()
}

struct Json<'a>(&'a [u8]);

impl Json<'_> {
    fn space(&mut self) {
        self.run(|byte| b" \t\r\n".contains(&byte));
    }

    /// How many bytes that fit came next.
    fn run(&mut self, fits: impl Fn(u8) -> bool) -> usize {
        let len = self.0.iter().take_while(|byte| fits(**byte)).count();
        self.0 = &self.0[len..];
        len
    }

    fn eat(&mut self, word: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.0.first()? {
            b'{' => self.several(b'{', b'}', depth, |json, depth| {
                json.string()?;
                json.space();
                json.eat(b":")?;
                json.space();
                json.value(depth)
            }),
            b'[' => self.several(b'[', b']', depth, Self::value),
            b'"' => self.string(),
            b't' => self.eat(b"true"),
            b'f' => self.eat(b"false"),
            b'n' => self.eat(b"null"),
            _ => self.number(),
        }
    }

    fn several(&mut self, open: u8, close: u8, depth: usize, one: impl Fn(&mut Self, usize) -> Option<()>) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.eat(&[open])?;
        self.space();
        if self.eat(&[close]).is_some() {
            return Some(());
        }
        loop {
            one(self, depth)?;
            self.space();
            if self.eat(&[close]).is_some() {
                return Some(());
            }
            self.eat(b",")?;
            self.space();
        }
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.eat(b"-");
        if self.eat(b"0").is_none() && self.run(|byte| byte.is_ascii_digit()) == 0 {
            return None;
        }
        if self.eat(b".").is_some() && self.run(|byte| byte.is_ascii_digit()) == 0 {
            return None;
        }
        if self.eat(b"e").or_else(|| self.eat(b"E")).is_some() {
            let _ = self.eat(b"+").or_else(|| self.eat(b"-"));
            if self.run(|byte| byte.is_ascii_digit()) == 0 {
                return None;
            }
        }
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.eat(b"\"")?;
        loop {
            self.run(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
            match *self.0.first()? {
                b'"' => return self.eat(b"\""),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        self.eat(b"\\")?;
        let (kind, rest) = self.0.split_first()?;
        self.0 = rest;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = self.0.split_at_checked(4)?;
                self.0 = rest;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }
}
