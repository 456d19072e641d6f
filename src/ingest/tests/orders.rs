//! Whatever comes first: in the end the same is held.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Everything held, wherever it is held.
fn all_of(store: &dyn Store) -> BTreeSet<(u64, Vec<u8>)> {
    store.streams().iter().flat_map(|(stream, _)| events_of(&*store, stream)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Ranges of four histories of one origin, in any order, again and again until none of them waits: each event is held, once, each was told as new,
    /// once, and each history can be read from its beginning to its end.
    #[test]
    fn in_whatever_order_all_that_was_signed_is_held_once(
        parts in (2..=9_usize, 2..=9_usize, 2..=9_usize),
        mut ranges in proptest::collection::vec((0..4_usize, 1..=10_usize, 1..=10_usize), 1..24),
    ) {
        let first = History::new(Lane::Routine);
        let second = first.parting(parts.0, "second");
        let all = [second.parting(parts.1, "third"), first.parting(parts.2, "fourth"), second, first];
        ranges.extend((0..4).map(|history| (history, 1, 10)));
        let mut store = MemoryStore::default();
        let mut told = 0;
        while !ranges.is_empty() {
            let before = ranges.len();
            let mut waiting = Vec::new();
            for (history, one, other) in ranges {
                let range = all[history].range((one.min(other), one.max(other)), &[]);
                let applied = apply(&mut store, &range).unwrap();
                prop_assert_eq!(applied.left_out, 0);
                told += applied.new;
                if matches!(applied.verdict, Verdict::Gap { .. }) {
                    waiting.push((history, one, other));
                } else {
                    prop_assert_eq!(applied.new + applied.duplicate, range.count() as u64);
                }
            }
            prop_assert!(waiting.len() < before, "a whole history waits for nothing");
            ranges = waiting;
        }
        let signed: BTreeSet<_> = all.iter().flat_map(|history| (1..).zip(history.events.clone())).collect();
        prop_assert_eq!(all_of(&store), signed.clone());
        prop_assert_eq!(told, signed.len() as u64, "each once");
        for history in &all {
            let whole = history.range((1, 10), &[]);
            prop_assert_eq!(apply(&mut store, &whole).unwrap().duplicate, 10);
            prop_assert!(store.streams().iter().any(|(_, head)| head.end == history.position(10)));
        }
    }
}
