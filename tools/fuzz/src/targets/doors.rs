//! What stands at a node's doors: the rules that a person wrote for it, and the schema that payloads must fit.

use crate::targets::json;
use std::cell::RefCell;
use zbundle::node::config::{Config, How};
use zbundle::push::schema::{CHECKED_LEN_MAX, Schema};

/// `config.toml`: what is read sets what its first fitting rule says, judged by a second matcher; what is not is told with a reason.
pub fn config(bytes: &[u8]) {
    pattern(bytes);
    let text = String::from_utf8_lossy(bytes);
    match Config::parse(&text) {
        Err(why) => assert!(!why.is_empty(), "a person is told what is wrong"),
        Ok(config) => {
            let rules = &config.conflicts.rules;
            for (key, kind) in [("Patient/BT-0042", "vitals"), ("", ""), ("a*a", "a"), (&text[..text.floor_char_boundary(40)], "vitals")] {
                let fits = |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|pattern| is_like(text.as_bytes(), pattern.as_bytes()));
                let first = rules.iter().find(|rule| fits(&rule.key, key) && fits(&rule.kind, kind));
                assert_eq!(config.conflicts.how(key, kind), first.map_or(How::Manual, |rule| rule.how));
            }
            assert!(rules.iter().all(|rule| (rule.how == How::Exec) == rule.program.as_ref().is_some_and(|program| program.is_absolute())));
        }
    }
}

/// Words of few letters, so that they often fit: a rule's pattern, and the key of a record.
fn pattern(bytes: &[u8]) {
    let few = &bytes[..bytes.len().min(24)];
    let (left, right) = few.split_at(few.len() / 2);
    let word = |bytes: &[u8], letters: &[u8]| bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect::<String>();
    let (pattern, key) = (word(left, b"ab*"), word(right, b"ab"));
    let text = format!("[[conflicts.rule]]\nkey = \"{pattern}\"\nhow = \"lww\"\n");
    let config = Config::parse(&text).expect("a rule of ours");
    let fits = config.conflicts.how(&key, "vitals") == How::Lww;
    assert_eq!(fits, is_like(key.as_bytes(), pattern.as_bytes()), "{key} like {pattern}");
}

/// `*` stands for any bytes: by going back, as one does by hand.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut want, mut star) = (0, 0, None);
    while at < text.len() {
        match (pattern.get(want), star) {
            (Some(b'*'), _) => {
                star = Some((want, at));
                want += 1;
            }
            (Some(byte), _) if *byte == text[at] => (at, want) = (at + 1, want + 1),
            (_, Some((star_at, taken))) => {
                star = Some((star_at, taken + 1));
                (at, want) = (taken + 1, star_at + 1);
            }
            _ => return false,
        }
    }
    pattern[want..].iter().all(|byte| *byte == b'*')
}

pub fn config_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "[conflicts]\ndisclose = \"payload\"\n",
        "[[conflicts.rule]]\nkey = \"Patient/*\"\nhow = \"lww\"\n[[conflicts.rule]]\nhow = \"append\"\n",
        "[[conflicts.rule]]\ntype = \"vitals\"\nhow = \"exec\"\nprogram = \"/usr/bin/decide\"\ntimeout_s = 30\n",
        "[[conflicts.rule]]\nkey = \"a**a*\"\ntype = \"*\"\nhow = \"manual\"\n",
        "conflicts = 1\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Schemas with most of what a schema can say, one of them without an end.
const SCHEMAS: [&str; 3] = [
    r#"{"type":"object","required":["bp"],"properties":{"bp":{"type":"string","pattern":"^[0-9]+/[0-9]+$"},"at":{"format":"date-time"}},"additionalProperties":false}"#,
    r##"{"$ref":"#/$defs/tree","$defs":{"tree":{"type":["object","array","null"],"items":{"$ref":"#/$defs/tree"},"additionalProperties":{"$ref":"#/$defs/tree"}}}}"##,
    r##"{"anyOf":[{"type":"array","uniqueItems":true,"contains":{"const":1.5}},{"type":"number","multipleOf":0.01},{"enum":["a",{"b":[1]}]},{"$ref":"#"}]}"##,
];

thread_local! {
    static COMPILED: RefCell<Vec<Schema>> = const { RefCell::new(Vec::new()) };
}

/// `--schema`: what fits is one JSON value within the bounds; what does not is told by a place that is in it, or by none.
pub fn schema(bytes: &[u8]) {
    let Some((choice, payload)) = bytes.split_first() else { return };
    COMPILED.with_borrow_mut(|compiled| {
        if compiled.is_empty() {
            compiled.extend(SCHEMAS.iter().map(|text| Schema::compile(text.as_bytes()).expect("a schema of ours")));
        }
        let said = compiled[usize::from(*choice) % SCHEMAS.len()].check(payload);
        let is_json = std::str::from_utf8(payload).is_ok() && json::is_one(payload) && payload.len() <= CHECKED_LEN_MAX;
        match said {
            Ok(()) => assert!(is_json, "what is no JSON fits nothing"),
            Err(violation) => {
                assert!(!violation.why.is_empty());
                if let Ok(value) = serde_json::from_slice::<serde_json::Value>(payload)
                    && violation.pointer.chars().count() < 100
                {
                    assert!(value.pointer(&violation.pointer).is_some(), "{violation}");
                }
            }
        }
    });
}

pub fn schema_seeds() -> Vec<Vec<u8>> {
    let payloads: [&[u8]; 8] = [
        b"{\"bp\":\"120/80\"}",
        b"{\"bp\":\"120/80\",\"at\":\"2026-11-20T09:14:03+06:00\"}",
        b"{\"bp\":1,\"a/b\":2,\"~\":3}",
        b"[[[{\"a\":[null]}],[]]]",
        b"[1.5,1,{\"b\":[1]}]",
        b"0.07",
        b"{\"b\":\n[1,}",
        b"\"a\"",
    ];
    payloads.iter().zip(0..).map(|(payload, choice)| [&[choice % 3][..], payload].concat()).collect()
}
