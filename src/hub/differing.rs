//! Where versions of a record differ, and how a person sees it. Pure.
//!
//! In: values of payloads (`push::json::value`). Out: places at which they differ; texts in which what differs looks different (R10.13-i). Not here: where
//! they are shown.

use serde_json::Value;
use std::collections::BTreeSet;

/// `text` with all that nobody sees, or sees as something else, as in a JSON string: `\u200b`.
pub fn visible(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned(); // most of what is told, by far
    }
    let mut out = String::new();
    for character in text.chars() {
        if is_invisible(character) {
            out.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(character);
        }
    }
    out
}

/// Controls, spaces that are none of the keyboard's, what joins, fills, turns the reading direction, or only tags.
fn is_invisible(character: char) -> bool {
    let space = character.is_whitespace() && character != ' ';
    let unseen = matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    character.is_control() || space || unseen
}

/// JSON pointers (RFC 6901) at which the versions differ, with each version's value there. Empty unless all of them are JSON.
pub fn differences(versions: &[Option<Value>]) -> Vec<(String, Vec<Option<Value>>)> {
    let Some(all) = versions.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let mut found = Vec::new();
    compare(String::new(), &all.into_iter().map(Some).collect::<Vec<_>>(), &mut found);
    found
}

fn compare(path: String, values: &[Option<&Value>], found: &mut Vec<(String, Vec<Option<Value>>)>) {
    if values.windows(2).all(|pair| pair[0] == pair[1]) {
        return;
    }
    let objects: Option<Vec<_>> = values.iter().map(|value| value.and_then(Value::as_object)).collect();
    let Some(objects) = objects else {
        found.push((path, values.iter().map(|value| value.cloned()).collect()));
        return;
    };
    let keys: BTreeSet<&String> = objects.iter().flat_map(|object| object.keys()).collect();
    for key in keys {
        let inside: Vec<_> = objects.iter().map(|object| object.get(key)).collect();
        compare(format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), &inside, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_differ_are_named_by_pointers() {
        for (versions, paths) in [
            (vec![json!({"a": 1}), json!({"a": 1})], vec![]),
            (vec![json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3})], vec!["/b"]),
            (vec![json!({"a": {"x/y": 1}}), json!({"a": {}})], vec!["/a/x~1y"]),
            (vec![json!([1]), json!({"a": 1})], vec![""]),
            (vec![json!({"a": null}), json!({})], vec!["/a"]),
            (vec![json!({"a": 1}), json!({"a": 1}), json!({"a": 2})], vec!["/a"]),
        ] {
            let found: Vec<_> = differences(&versions.iter().cloned().map(Some).collect::<Vec<_>>()).into_iter().map(|(path, _)| path).collect();
            assert_eq!(found, paths, "{versions:?}");
        }
        assert!(differences(&[Some(json!(1)), None]).is_empty());
    }

    #[test]
    fn what_nobody_sees_is_spelled() {
        for (text, shown) in [
            ("17 60", "17 60"),
            ("རྒྱལ་པོ ☃ né", "རྒྱལ་པོ ☃ né"),
            ("17\u{200b}60\u{a0}", "17\\u200b60\\u00a0"),
            ("\u{202e}a\n", "\\u202ea\\u000a"),
            ("a\u{e0041}", "a\\udb40\\udc41"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }
}
