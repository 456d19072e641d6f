//! Tidy: what rustc and clippy cannot see. Which room names which (STYLE's "who may name whom"), and the house rules of every file.
//!
//! In: the text of the tree. Out: breaches, each with file, line and the rule in a sentence. Pure: nothing here reads a disk.

mod house;
mod layers;
mod tokens;

use crate::run::Failure;
use crate::tree::{Text, Tree};
use std::fmt;
use tokens::Source;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which file.
    pub path: String,
    /// Which line, counted from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong, and what is right.
    pub rule: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.rule),
            line => write!(f, "{}:{line}: {}", self.path, self.rule),
        }
    }
}

/// The step.
pub fn run(tree: &Tree) -> Result<String, Failure> {
    let breaches = breaches(&tree.texts);
    for breach in &breaches {
        println!("{breach}");
    }
    if breaches.is_empty() {
        Ok(format!("{} files", tree.texts.len()))
    } else {
        Err(Failure(format!("{} breach(es) of the house rules", breaches.len())))
    }
}

fn breaches(texts: &[Text]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut sources = Vec::new();
    for text in texts {
        house::check_text(text, &mut breaches);
        if text.is_rust() {
            match Source::read(text) {
                Ok(source) => sources.push(source),
                Err(breach) => breaches.push(breach),
            }
        }
    }
    for source in &sources {
        house::check_source(source, &mut breaches);
    }
    layers::check(&sources, &mut breaches);
    breaches.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said about one file of the product.
    fn said(path: &str, text: &str) -> Vec<String> {
        let texts = [Text { path: path.to_owned(), text: text.to_owned() }];
        breaches(&texts).into_iter().map(|breach| breach.rule).collect()
    }

    fn check_clean(path: &str, text: &str) {
        assert_eq!(said(path, text), Vec::<String>::new(), "{path}: {text}");
    }

    fn check_refused(path: &str, text: &str, word: &str) {
        let said = said(path, text);
        assert!(said.len() == 1 && said[0].contains(word), "{path}: {text}: {said:?}");
    }

    #[test]
    fn a_room_names_rooms_to_its_left() {
        check_clean("src/cut/plan.rs", "use crate::{keys::roster::Roster, ports::store::Log};");
        check_clean("src/cut/plan.rs", "use super::name; use self::deep::Thing; use bundle_format::open::X;");
        check_clean("src/node/taking.rs", "fn f() { crate::wal::open(); crate::carry::drop_folder::sweep(); }");
        check_clean("src/cli/mod.rs", "use crate::node; fn main() { let ports = crate::adapters::os_ports(); }");
        check_clean("src/adapters/fs.rs", "use crate::ports::disk::Disk;");
        check_clean("src/main.rs", "fn main() -> std::process::ExitCode { zbundle::cli::main() }");
        check_clean("tests/it/main.rs", "use zbundle::{wal, cut};");
    }

    #[test]
    fn a_room_to_the_right_or_on_the_same_floor_is_refused() {
        check_refused("src/cut/plan.rs", "use crate::wal::Wal;", "own floor");
        check_refused("src/push.rs", "fn f() { let w = super::wal::Wal::open(); }", "own floor");
        check_refused("src/ingest/mod.rs", "mod tests { use super::super::wal; }", "own floor");
        check_refused("src/ports/disk.rs", "use crate::{ports::clock::Clock, keys};", "to its right");
        check_refused("src/keys/mod.rs", "pub use crate::node::layout as l;", "to its right");
        check_refused("src/wal/mod.rs", "fn f() { assert!(crate::cli::x()); }", "to its right");
        check_refused("src/shelf/mod.rs", "pub struct Shelf;", "no room");
    }

    #[test]
    fn adapters_are_named_once_and_only_by_cli() {
        check_refused("src/node/mod.rs", "use crate::adapters;", "only `cli`");
        check_clean("src/wal/tests/mod.rs", "use crate::adapters::os_ports;");
        check_clean("src/push/lines.rs", "mod tests { fn f() { crate::adapters::os_ports(); } }");
        check_clean("src/cli/mod.rs", "use crate::adapters::{OsInput, os_ports};");
        check_refused("src/cli/mod.rs", "fn a() { crate::adapters::os_ports(); }\nfn b() { crate::adapters::os_ports(); }", "one line");
        check_refused("src/adapters/fs.rs", "use crate::wal::Wal;", "only ports");
    }

    #[test]
    fn carry_cannot_read_what_it_carries() {
        check_clean("src/carry/mod.rs", "use bundle_format::envelope::Header; use crate::ports::disk::Disk;");
        check_refused("src/carry/mod.rs", "use bundle_format::{error::Code, open::SealedBundle};", "never opens");
        check_refused("src/carry/mod.rs", "use crate::keys::Keyring;", "only ports");
    }

    #[test]
    fn the_format_is_pure_and_the_crate_root_is_a_list() {
        check_clean("bundle-format/src/open.rs", "use std::io::Read;");
        check_refused("bundle-format/src/open.rs", "use std::{io, fs::File};", "pure");
        check_refused("bundle-format/src/hlc.rs", "fn f() { std::time::SystemTime::now(); }", "pure");
        check_clean("src/lib.rs", "//! Door.\n#![doc = include_str!(\"A.md\")]\n/// A room.\npub mod cli;\nmod wal;");
        check_refused("src/lib.rs", "pub mod cli; pub use cli::main;", "mod` lines");
        check_refused("src/main.rs", "fn main() { zbundle::node::run() }", "only `cli`");
    }

    #[test]
    fn house_rules() {
        check_clean("src/push.rs", "/// unsafe and dbg! in prose, `todo!()` too\nfn f() -> &'static str { \"unsafe\" }");
        check_refused("src/push.rs", "fn f() { unsafe { g() } }", "unsafe");
        check_refused("bundle-format/src/ids.rs", "fn f() { todo!() }", "unfinished");
        check_refused("tools/bench/src/main.rs", "fn f() { dbg!(1); }", "left over");
        check_refused("tests/it/main.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}", "ignored");
        check_refused("src/push.rs", concat!("// TO", "DO: more\nfn f() {}"), "unfinished");
        check_refused("docs/x.md", concat!("see /wo", "rk/main/x"), "one machine");
        check_refused("src/push.rs", &"fn f() {}\n".repeat(601), "600");
        check_refused("src/push.rs", "fn f( {", "cannot be read");
    }
}
