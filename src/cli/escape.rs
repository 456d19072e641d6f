//! Text from files, sticks and other nodes on a terminal: nothing in it may move the cursor, colour the screen or turn the reading direction.

use std::fmt::{self, Display, Write as _};

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
