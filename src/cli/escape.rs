//! Text from files, sticks and other nodes on a terminal: nothing in it may move the cursor, colour the screen or turn the reading direction.

use crate::hub::differing::visible;
use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};

/// `text` with control and direction characters shown as `\u{…}`; everything else as it is.
pub fn plain(text: &str) -> Plain<'_> {
    Plain(text)
}

/// See [`plain`].
pub struct Plain<'a>(&'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_unsafe(character) {
                write!(f, "\\u{{{:x}}}", character as u32)?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// The same of a text that may have lines and columns of its own.
pub fn plain_within(text: &str) -> String {
    let mut out = String::new();
    for piece in text.split_inclusive(['\t', '\r', '\n']) {
        let inside = piece.trim_end_matches(['\t', '\r', '\n']);
        out += &plain(inside).to_string();
        out += &piece[inside.len()..];
    }
    out
}

/// Text that comes in pieces, which may end within a character.
#[derive(Debug, Default)]
pub struct Whole {
    carry: Vec<u8>,
}

impl Whole {
    /// What is whole by now; the rest goes before the next piece.
    pub fn piece(&mut self, piece: &[u8]) -> String {
        self.carry.extend_from_slice(piece);
        let whole = match std::str::from_utf8(&self.carry) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.carry.split_off(whole);
        String::from_utf8_lossy(&std::mem::replace(&mut self.carry, rest)).into_owned()
    }
}

/// JSON on its way to a terminal: the same value, in which whatever nobody sees is spelled as `\u` and four digits.
pub struct JsonOut<'a, W> {
    out: &'a mut W,
    whole: Whole,
}

impl<'a, W: Write> JsonOut<'a, W> {
    /// On its way to `out`.
    pub fn new(out: &'a mut W) -> Self {
        Self { out, whole: Whole::default() }
    }
}

impl<W: Write> Write for JsonOut<'_, W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let text = self.whole.piece(piece);
        self.out.write_all(visible(&text).as_bytes())?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A path for people: as text, escaped; bytes that are no UTF-8 become U+FFFD.
pub fn plain_path(path: &std::path::Path) -> String {
    plain(&path.to_string_lossy()).to_string()
}

fn is_unsafe(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns || character == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_on_its_way_to_a_terminal_is_the_same_value_wherever_its_pieces_end() {
        let value = serde_json::json!({"a\u{200b}": "\u{1b}[2J\u{7f}\u{85}\u{9b}31m\u{202e}☃ རྒྱལ་པོ\u{a0}\u{e0041}\n\\"});
        let line = value.to_string();
        for cut in 0..=line.len() {
            let mut out = Vec::new();
            let mut json = JsonOut::new(&mut out);
            json.write_all(&line.as_bytes()[..cut]).unwrap();
            json.write_all(&line.as_bytes()[cut..]).unwrap();
            let shown = String::from_utf8(out).unwrap();
            let want = r#"{"a\u200b":"\u001b[2J\u007f\u0085\u009b31m\u202e☃ རྒྱལ་པོ\u00a0\udb40\udc41\n\\"}"#;
            assert_eq!((shown.as_str(), serde_json::from_str(&shown).ok()), (want, Some(value.clone())), "cut at {cut}");
        }
    }

    #[test]
    fn what_could_fool_a_terminal_is_shown_not_sent() {
        for (given, shown) in [
            ("lunana-bhu", "lunana-bhu"),
            ("རྒྱལ་པོ ☃", "རྒྱལ་པོ ☃"),
            ("a\nb\t\u{1b}[2J", "a\\u{a}b\\u{9}\\u{1b}[2J"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
        ] {
            assert_eq!(plain(given).to_string(), shown);
        }
    }
}
