//! Cells of CSV (RFC 4180), for spreadsheets and for people who look at them on a terminal.
//!
//! In: text that anybody may have written. Out: cells. Invariants: no cell is a formula, or moves a cursor; nothing else is changed. Who needs every byte
//! reads JSON, or the payload alone. Not here: which cells a row has (`show`).

use super::escape::{Whole, plain_within};
use std::io::{self, Write};

/// A cell, quoted when it must be.
pub fn cell(text: &str) -> String {
    let inside = [guard(text, true), &plain_within(text)].concat();
    if inside.contains([',', ';', '"', '\t', '\r', '\n']) { format!("\"{}\"", inside.replace('"', "\"\"")) } else { inside }
}

/// What stands before a text so that no spreadsheet takes it for a formula. `is_whole`: there is no more of it.
fn guard(text: &str, is_whole: bool) -> &'static str {
    let is_number = || is_whole && text.parse::<f64>().is_ok();
    match text.chars().next() {
        Some('=' | '@' | '\t' | '\r') => "'",
        Some('+' | '-') if !is_number() => "'",
        _ => "",
    }
}

/// The inside of a quoted cell whose text comes in pieces, which may end within a character.
#[derive(Debug, Default)]
pub struct Pieces {
    whole: Whole,
    is_begun: bool,
}

impl Pieces {
    /// The next piece of a text of `len` bytes.
    ///
    /// # Errors
    /// What `out` says.
    pub fn piece(&mut self, out: &mut impl Write, piece: &[u8], len: u64) -> io::Result<()> {
        let text = self.whole.piece(piece);
        if !self.is_begun {
            out.write_all(guard(&text, text.len() as u64 == len).as_bytes())?;
            self.is_begun = true;
        }
        out.write_all(plain_within(&text).replace('"', "\"\"").as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_when_it_must_be() {
        for (text, cell) in [("a", "a"), ("", ""), ("a,b", "\"a,b\""), ("say \"hi\"", "\"say \"\"hi\"\"\""), ("a\nb", "\"a\nb\""), ("a;b", "\"a;b\"")]
        {
            assert_eq!(super::cell(text), cell);
        }
    }

    #[test]
    fn no_cell_is_a_formula_or_moves_the_cursor() {
        for (text, shown) in [
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2+3", "'-2+3"),
            ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
            ("-5", "-5"),
            ("-1.5e+3", "-1.5e+3"),
            ("\t=1", "'\t=1"),
            ("\u{1b}[2J☃\u{9b}31m\u{202e}", "\\u{1b}[2J☃\\u{9b}31m\\u{202e}"),
            ("{\n\t\"a\": 1\r\n}", "{\n\t\"\"a\"\": 1\r\n}"),
            ("", ""),
        ] {
            for cut in 0..=text.len() {
                let (mut pieces, mut out) = (Pieces::default(), Vec::new());
                if cut >= 7 || cut == text.len() {
                    pieces.piece(&mut out, &text.as_bytes()[..cut], text.len() as u64).unwrap();
                    pieces.piece(&mut out, &text.as_bytes()[cut..], text.len() as u64).unwrap();
                    assert_eq!(String::from_utf8(out).unwrap(), shown, "{text:?} cut at {cut}");
                }
            }
            assert_eq!(cell(text).trim_matches('"'), shown.trim_matches('"'), "{text:?}");
        }
    }
}
