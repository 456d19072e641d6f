//! Is this line JSON? `serde_json` reads past it and builds nothing: a payload is stored as it came.
//!
//! What it skips it does not look at as text, so UTF-8 is checked beside it. A line costs a byte per open bracket, whatever its length.

use super::utf8::Utf8;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::io::{self, BufReader, Read};

/// The byte order mark that some programs begin a text with.
pub const MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes read at a time: `serde_json` asks for single ones.
const READ_LEN: usize = 8 * 1024;

/// Whether what is of this content type is JSON, as what names none is.
pub fn is_json_type(kind: Option<&str>) -> bool {
    kind.map(essence).is_none_or(|kind| kind == "application/json" || kind.ends_with("+json"))
}

/// A content type without its parameters.
pub fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether `text` is one JSON value and nothing else but white space.
pub fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// A text without the byte order mark it may begin with: who parses JSON may pass over it (RFC 8259 §8.1), and no writer sees it.
pub fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Why a text is not one JSON value, and where; none of its words are in it.
///
/// # Errors
/// What `input` says.
pub fn fault(input: impl Read) -> io::Result<Option<String>> {
    let found = look(input)?;
    Ok(found.map(|fault| fault.to_string()))
}

/// The same of a text that is one line of many: which line it is others say.
///
/// # Errors
/// What `input` says.
pub fn fault_in_line(input: impl Read) -> io::Result<Option<String>> {
    Ok(look(input)?.map(|fault| match fault {
        Fault::Json(error) => {
            let (text, place) = (error.to_string(), format!("line {} column {}", error.line(), error.column()));
            text.strip_suffix(&place).map_or(text.clone(), |why| format!("{why}column {}", error.column()))
        }
        fault => fault.to_string(),
    }))
}

/// What keeps a text from being one JSON value.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("a text in it is not UTF-8")]
    NotUtf8,
    #[error("it begins with a byte order mark: remove it")]
    Marked,
    #[error("{0}")]
    Json(serde_json::Error),
}

fn look(input: impl Read) -> io::Result<Option<Fault>> {
    let mut watched = Watched { input, utf8: Utf8::default(), head: Vec::new() };
    match serde_json::from_reader::<_, IgnoredAny>(BufReader::with_capacity(READ_LEN, &mut watched)) {
        Ok(_) => Ok((!watched.utf8.is_whole()).then_some(Fault::NotUtf8)),
        Err(error) if error.is_io() => Err(error.into()),
        Err(_) if watched.head == MARK => Ok(Some(Fault::Marked)),
        Err(error) => Ok(Some(Fault::Json(error))),
    }
}

/// The value of a payload that is JSON, unless reading loses something of it: a number of more digits than there is room for, a name that stands twice.
pub fn value(payload: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice(payload).ok()?;
    is_all_of(payload, &value).then_some(value)
}

/// Whether `value` holds every name and every number of `text`, which is JSON.
fn is_all_of(text: &[u8], value: &Value) -> bool {
    let (mut names, mut rest) = (0, text);
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            b'"' => behind_string(behind),
            b'-' | b'0'..=b'9' => {
                let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).unwrap_or(rest.len());
                let (number, behind) = rest.split_at(end);
                if !is_kept(number) {
                    return false;
                }
                behind
            }
            b':' => {
                names += 1;
                behind
            }
            _ => behind,
        };
    }
    names == name_count(value)
}

/// What stands behind a string whose first quote has been read.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return behind,
            [b'\\', _, behind @ ..] | [_, behind @ ..] => behind,
            [] => return rest,
        }
    }
}

fn name_count(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(name_count).sum(),
        Value::Object(values) => values.len() + values.values().map(name_count).sum::<usize>(),
        _ => 0,
    }
}

/// Whether a number is the same after it was read.
fn is_kept(number: &[u8]) -> bool {
    let read = serde_json::from_slice::<Value>(number).map(|value| value.to_string());
    let decimal = std::str::from_utf8(number).ok().and_then(decimal);
    decimal.is_some() && read.is_ok_and(|read| self::decimal(&read) == decimal)
}

/// A number as its digits, without zeros at either end, and the power of ten that they stand before; zero has no digits.
fn decimal(number: &str) -> Option<(bool, String, i64)> {
    let (mantissa, power) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_negative = whole.starts_with('-');
    let all = [whole.trim_start_matches('-'), fraction].concat();
    let digits = all.trim_end_matches('0');
    let zeros = i64::try_from(all.len() - digits.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    let power = power.parse::<i64>().ok()?.checked_add(zeros)?;
    let digits = digits.trim_start_matches('0').to_owned();
    Some(if digits.is_empty() { (false, digits, 0) } else { (is_negative, digits, power) })
}

/// Lets bytes through and sees whether they are UTF-8, and how they begin.
struct Watched<R> {
    input: R,
    utf8: Utf8,
    /// The first bytes, as many as a byte order mark has.
    head: Vec<u8>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out)?;
        self.utf8.feed(&out[..read]);
        self.head.extend(out[..read].iter().take(MARK.len() - self.head.len()));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &[u8], want: bool) {
        assert_eq!((is_json(text), fault(text).unwrap().is_none()), (want, want), "{}", text.escape_ascii());
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
    fn what_is_no_json_is_told_with_its_place_and_a_mark_by_its_name() {
        let cases = [
            ("{bad", "key must be a string at line 1 column 2", "key must be a string at column 2"),
            ("{\n\"a\"}", "expected `:` at line 2 column 4", "expected `:` at column 4"),
            ("\u{feff}{}", "it begins with a byte order mark: remove it", "it begins with a byte order mark: remove it"),
        ];
        for (text, alone, in_line) in cases {
            let said = (fault(text.as_bytes()).unwrap().unwrap(), fault_in_line(text.as_bytes()).unwrap().unwrap());
            assert_eq!((said.0.as_str(), said.1.as_str()), (alone, in_line));
        }
    }

    /// R10.13-i
    #[test]
    fn what_reading_would_lose_is_no_value() {
        for text in [
            "{}",
            "-0",
            "0.10",
            "1e2",
            "1E+2",
            "100",
            "-1.50e-3",
            "12345678901234567890",
            "18446744073709551615",
            "0.1",
            "1e300",
            " {\"a\" : [1, {\"b\":2}]} ",
            r#"{"a:\\":"1:\" 12345678901234567890123","b":{"a":null}}"#,
            r#"["\u00e9",":"]"#,
            "[]",
            "true",
        ] {
            assert!(value(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "98765432109876543210987",
            "{\"a\":0.1234567890123456789}",
            "[1e400]",
            "123456789012345678901",
            r#"{"a":1,"a":2}"#,
            r#"[{"x":{"a":1,"\u0061":1}}]"#,
            "{",
            "",
            "\u{fe}",
            "1e99999999999999999999",
            "0e9223372036854775807",
            "0.01e-9223372036854775808",
        ] {
            assert_eq!(value(text.as_bytes()), None, "{text}");
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
        assert!(fault((&b"{\"a\":"[..]).chain(Broken)).is_err());
    }

    proptest! {
        #[test]
        fn strings_are_utf_8_or_refused(inner in proptest::collection::vec(0x80_u8.., 0..6)) {
            let text = [b"\"", &inner[..], b"\""].concat();
            check(&text, std::str::from_utf8(&text).is_ok());
        }
    }
}
