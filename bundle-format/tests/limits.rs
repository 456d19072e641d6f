//! SPEC §2.4: what the page says a bound is, it is here, and no bound is left out of either.

use bundle_format::limits as ours;
use std::collections::BTreeMap;

macro_rules! limits {
    ($($name:ident)*) => {
        [$((stringify!($name), u64::try_from(ours::$name).expect("a bound is no negative number"))),*]
    };
}

/// `16 384 B`, `1 MiB + 4 KiB`, `2^32 − 1 B`, `24 h` in milliseconds, `64`.
fn number(text: &str) -> u64 {
    text.split(" + ").map(term).sum()
}

fn term(text: &str) -> u64 {
    let (digits, scale) = [(" KiB", 1 << 10), (" MiB", 1 << 20), (" h", 3_600_000), (" B", 1), ("", 1)]
        .into_iter()
        .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))
        .expect("the last unit is none");
    let digits = digits.replace(['\u{a0}', '\u{202f}', ' '], "");
    let value = match digits.strip_prefix("2^") {
        Some(power) => (1_u64 << power.strip_suffix("−1").expect("a power less one").parse::<u32>().expect("a power")) - 1,
        None => digits.parse().unwrap_or_else(|_| panic!("{text} is no number")),
    };
    value * scale
}

/// Name and value of each row; a row may have two of each.
fn told() -> BTreeMap<String, u64> {
    let page = include_str!("../../SPEC.md");
    let table = page.split("### 2.4 Limits").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section is there");
    let mut told = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let names = cells[0].trim_start_matches("| ").split(", ").map(|name| name.trim_matches('`'));
        for (name, value) in names.zip(cells[1].split(", ")) {
            assert!(told.insert(name.to_owned(), number(value)).is_none(), "{name} stands there twice");
        }
    }
    told
}

#[test]
fn the_bounds_are_those_of_the_page() {
    let here = limits! {
        BASE_COUNT_MAX BUNDLE_LEN_MAX CBOR_DEPTH_MAX CHECKPOINT_EVENT_COUNT CHECKPOINT_PART_COUNT CHECKPOINT_RAW_LEN CHUNK_LEN CLOCK_AHEAD_MS_MAX
        EVENT_LEN_MAX EXPANSION_FACTOR EXPANSION_FLOOR FIELD_LEN_MAX FORK_BRANCH_LEN_MAX HEADER_LEN_MAX HISTORY_COUNT_MAX HUB_HISTORY_COUNT_MAX INTRODUCTION_LEN_MAX LOSS_WORDS_A_DAY
        LOSS_WORDS_MAX MANIFEST_LEN_MAX
        MESSAGE_LEN_MAX MIX_FILE_RAW_LEN_MAX MIX_RAW_LEN_MAX PAGE_LEN_MAX PART_COUNT_MAX PART_LEN PAYLOAD_LEN_MAX PREFIX_LEN_MAX RANGE_DATA_LEN_MAX
        RANGE_EVENT_COUNT_MAX RANGE_ITEM_LEN_MAX RANGE_RAW_LEN_MAX RECIPIENT_COUNT_MAX RECORD_KEY_LEN_MAX SEQ_MAX TAG_LEN TYPE_LEN_MAX
        UNKNOWN_LEN_MAX ZSTD_WINDOW_LOG_MAX
    };
    let here: BTreeMap<String, u64> = here.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(here, told());
    let source = include_str!("../src/limits.rs");
    let named = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    assert_eq!(named.map(str::to_owned).collect::<std::collections::BTreeSet<_>>(), here.into_keys().collect());
}
