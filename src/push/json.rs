//! Is this line JSON? `serde_json` reads past it and builds nothing: a payload is stored as it came.
//!
//! What it skips it does not look at as text, so UTF-8 is checked beside it. A line costs a byte per open bracket, whatever its length.

use super::utf8::Utf8;
use serde::de::IgnoredAny;
use std::io::{self, BufReader, Read};

/// Bytes read at a time: `serde_json` asks for single ones.
const READ_LEN: usize = 8 * 1024;

/// Whether `text` is one JSON value and nothing else but white space.
pub fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The same of a text that is too long for memory.
///
/// # Errors
/// What `input` says.
pub fn reads_as_json(input: impl Read) -> io::Result<bool> {
    let mut watched = Watched { input, utf8: Utf8::default() };
    match serde_json::from_reader::<_, IgnoredAny>(BufReader::with_capacity(READ_LEN, &mut watched)) {
        Ok(_) => Ok(watched.utf8.is_whole()),
        Err(error) if error.is_io() => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Lets bytes through and sees whether they are UTF-8.
struct Watched<R> {
    input: R,
    utf8: Utf8,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.utf8.feed(&out[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &[u8], want: bool) {
        assert_eq!((is_json(text), reads_as_json(text).unwrap()), (want, want), "{}", text.escape_ascii());
    }

    #[test]
    fn a_line_is_json_or_it_is_not() {
        for text in ["{}", "[]", "0", "-0.5e+10", "\"\"", " null\r", "true", "{\"a\":[1,{\"b\":\"\\u00e9\\n☃\"}],\"c\":-1}", "[[],[[]]]", "1E400"] {
            check(text.as_bytes(), true);
        }
        let nothing = ["", " ", "\u{feff}{}"];
        let unfinished = ["{", "1.", "-", "1e", "tru", "{\"a\"}", "{\"a\":}", "\"abc"];
        let misspelled =
            ["]", "01", ".5", "+1", "truee", "{a:1}", "[1,]", "{\"a\":1,}", "[1}", "\"\n\"", "\"\\x\"", "\"\\u12g4\"", "'a'", "NaN", "[,1]", "[1 2]"];
        let more_than_one = ["1 2", "{}{}", "{} x"];
        for text in nothing.iter().chain(&unfinished).chain(&misspelled).chain(&more_than_one) {
            check(text.as_bytes(), false);
        }
        for text in [b"\"\xff\"".as_slice(), b"\"\xc0\x80\"", b"\"\xed\xa0\x80\"", b"{\"\xff\":1}", b"1 \xc3"] {
            check(text, false); // strings are UTF-8
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let depth = 1 << 20;
        let text = [vec![b'['; depth], vec![b']'; depth]].concat();
        check(&text, true);
        check(&text[1..], false);
    }

    #[test]
    fn a_fault_of_the_disk_is_no_fault_of_the_line() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        assert!(reads_as_json((&b"{\"a\":"[..]).chain(Broken)).is_err());
    }

    proptest! {
        #[test]
        fn strings_are_utf_8_or_refused(inner in proptest::collection::vec(0x80_u8.., 0..6)) {
            let text = [b"\"", &inner[..], b"\""].concat();
            check(&text, std::str::from_utf8(&text).is_ok());
        }
    }
}
