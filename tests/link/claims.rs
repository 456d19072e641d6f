//! Claims: tests that mostly wait, run several at once, the longest first; and a runner of their own, which speaks like the standard one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

/// One thing that must hold.
pub struct Claim {
    pub name: &'static str,
    pub check: fn(),
}

macro_rules! claims {
    ($($room:ident::$name:ident,)*) => {
        const CLAIMS: &[$crate::claims::Claim] =
            &[$($crate::claims::Claim { name: concat!(stringify!($room), "::", stringify!($name)), check: $room::$name },)*];
    };
}
pub(crate) use claims;

/// Run those that have one of the words of the command line in their names, `at_once` at a time.
pub fn run(all: &[Claim], at_once: usize) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let chosen = |claim: &&Claim| words.is_empty() || words.iter().any(|word| claim.name.contains(word.as_str()));
    let claims: Vec<&Claim> = all.iter().filter(chosen).collect();
    if std::env::args().any(|word| word == "--list") {
        for claim in claims {
            println!("{}: test", claim.name);
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", claims.len());
    let begun = Instant::now();
    let (waiting, failed) = (Mutex::new(claims.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            let work = || {
                while let Some(claim) = { waiting.lock().unwrap().next() } {
                    let begun = Instant::now();
                    let holds = catch_unwind(AssertUnwindSafe(claim.check)).is_ok();
                    println!("test {} ... {} ({:.1} s)", claim.name, if holds { "ok" } else { "FAILED" }, begun.elapsed().as_secs_f64());
                    if !holds {
                        failed.lock().unwrap().push(claim.name);
                    }
                }
            };
            std::thread::Builder::new().name("claim".to_owned()).spawn_scoped(scope, work).unwrap();
        }
    });
    let failed = failed.into_inner().unwrap();
    for name in &failed {
        println!("failed: {name}");
    }
    let (word, passed, filtered) = (if failed.is_empty() { "ok" } else { "FAILED" }, claims.len() - failed.len(), all.len() - claims.len());
    let took = begun.elapsed().as_secs_f64();
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; 0 measured; {filtered} filtered out; finished in {took:.2}s\n",
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
