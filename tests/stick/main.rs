//! Real file systems, made in files: ext4, exFAT and FAT32, as they come on sticks; read-only, full, and pulled while something is written.
//!
//! Needs root, loop devices and FUSE; without root the claims say that they were not tried, but where CI is set they fail. `cargo test --test stick WORD…`
//! runs the claims whose name has one of the words; `ZBUNDLE_FAR=1` pulls ten times as often.
#![allow(clippy::disallowed_methods, reason = "tests mount, pull and fill what they are given")]

mod bed;
mod claims;
mod people;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// One thing that must hold.
struct Claim {
    name: &'static str,
    check: fn(),
}

macro_rules! claims {
    ($($name:ident,)*) => {
        const CLAIMS: &[Claim] = &[$(Claim { name: stringify!($name), check: claims::$name },)*];
    };
}

claims! {
    a_round_trip_on_every_file_system_loses_nothing_and_leaves_it_clean,
    an_empty_mount_point_gets_nothing,
    a_read_only_stick_is_taken_in_from_and_told,
    a_stick_with_any_room_left_takes_what_fits,
    a_stick_pulled_at_any_moment_is_never_called_safe,
    another_user_at_the_next_machine_reads_and_answers,
    an_image_taken_while_writing_holds_no_half_bundle,
    any_part_of_a_split_is_useful,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |claim: &&Claim| words.is_empty() || words.iter().any(|word| claim.name.contains(word.as_str()));
    let claims: Vec<&Claim> = CLAIMS.iter().filter(chosen).collect();
    if std::env::args().any(|word| word == "--list") {
        for claim in claims {
            println!("{}: test", claim.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", claims.len());
    let (begun, mut failed) = (Instant::now(), 0);
    for claim in &claims {
        let begun = Instant::now();
        let holds = catch_unwind(AssertUnwindSafe(claim.check)).is_ok();
        println!("test {} ... {} ({:.1} s)", claim.name, if holds { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
        failed += usize::from(!holds);
    }
    let (word, passed, filtered) = (if failed == 0 { "ok" } else { "FAILED" }, claims.len() - failed, CLAIMS.len() - claims.len());
    let took = begun.elapsed().as_secs_f64();
    println!("\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out; finished in {took:.2}s\n");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
