//! Every target over its corpus, its seeds and a burst of mutants that a seed determines: what a fuzzer finds again in seconds. Time and live memory
//! of each input are judged too. `ZBUNDLE_SEEDS` times as many mutants where that is set.
#![allow(clippy::disallowed_methods, reason = "tests look at the real clock")]

use fuzz::mutate::{Dice, mutant};
use fuzz::{TARGETS, Target, corpus, target};
use peak_alloc::PeakAlloc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One at a time: memory is counted for the whole process.
static TURN: Mutex<()> = Mutex::new(());

/// No input may take longer, on a machine that does other things too. All take milliseconds; what is slow is slow by far.
const TIME_MAX: Duration = Duration::from_secs(5);

fn tried(target: &Target, bytes: &[u8], whence: &str) {
    MEMORY.reset_peak_usage();
    let (before, begun) = (MEMORY.current_usage(), Instant::now());
    (target.run)(bytes);
    let (held, took) = (MEMORY.peak_usage().saturating_sub(before), begun.elapsed());
    assert!(took < TIME_MAX, "{}: {whence} took {took:?}", target.name);
    assert!(held <= target.live_max, "{}: {whence} held {held} bytes at once; {} is the most", target.name, target.live_max);
}

fn burst(name: &str, mutants: u64) {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let target = target(name);
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "a target has something to begin with");
    for seed in &seeds {
        (target.run)(seed); // what is made once is made now, and counts for no input
    }
    let corpus = corpus(target).expect("the corpus can be read");
    for (file, bytes) in &corpus {
        tried(target, bytes, file);
    }
    seeds.iter().enumerate().for_each(|(at, seed)| tried(target, seed, &format!("seed {at}")));
    let parents: Vec<&[u8]> = seeds.iter().chain(corpus.iter().map(|(_, bytes)| bytes)).map(Vec::as_slice).collect();
    let times = std::env::var("ZBUNDLE_SEEDS").ok().and_then(|times| times.parse().ok()).unwrap_or(1u64);
    for number in 0..mutants * times {
        let mut dice = Dice::new(number);
        let (parent, other) = (parents[dice.below(parents.len())], parents[dice.below(parents.len())]);
        let bytes = mutant(parent, other, target.len_max, &mut dice);
        tried(target, &bytes, &format!("mutant {number}: {}", bundle_format::ids::hex(&bytes)));
    }
}

macro_rules! bursts {
    ($($claim:ident: $name:literal, $mutants:literal;)*) => {
        $(#[test] fn $claim() { burst($name, $mutants) })*

        #[test]
        fn every_target_has_its_burst() {
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), [$($name),*]);
        }
    };
}

bursts! {
    any_cbor_has_one_spelling: "cbor", 20_000;
    any_event_is_written_as_it_was_read: "event", 20_000;
    any_manifest_is_written_as_it_was_read: "manifest", 20_000;
    any_range_unpacks_to_what_it_claims: "range", 4000;
    any_mixed_bytes_are_what_a_writer_makes: "mixed", 1000;
    any_message_is_heard_as_it_was_said: "message", 10_000;
    no_part_of_a_file_is_whole: "envelope", 2000;
    any_inside_gives_only_what_was_signed: "inner", 2000;
    any_log_opens_or_says_why_not_and_goes_on: "segment", 1500;
    any_keyring_opens_or_is_refused: "keyring", 4000;
    any_request_is_read_or_refused: "request", 4000;
    any_small_file_is_read_or_refused: "records", 6000;
    any_roster_keeps_its_rules: "roster", 1000;
    any_conversation_keeps_its_rules: "exchange", 1500;
    any_lines_are_told_by_their_numbers: "lines", 4000;
    any_words_are_understood_as_they_are_shown: "words", 10_000;
    any_rules_are_kept_or_refused_whole: "config", 6000;
    any_payload_is_held_against_a_schema: "schema", 6000;
    bundles_in_any_order_end_in_the_same_log: "carry", 100;
}
