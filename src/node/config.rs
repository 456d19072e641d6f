//! What a person has set for a node: `config.toml` in its data directory. SPEC §11.3.
//!
//! In: TOML. Out: rules. Invariants: a file that does not read whole sets nothing, and is refused with its line (R11.3-c). Not here: what rules do.

use super::error::NodeError;
use super::layout::Layout;
use super::setting::{At, rule_at};
use super::{Node, View};
use crate::ports::Ports;
use crate::ports::disk::read_small;
use crate::ports::projection::State;
use bundle_format::error::Code;
use bundle_format::ids::Hash;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// Rules are a page, not a book.
pub const CONFIG_LEN_MAX: usize = 64 * 1024;
/// The longest a program may be given: the next run waits for it.
const TIMEOUT_S_MAX: u64 = 300;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Records that differ.
    pub conflicts: Conflicts,
}

/// `[conflicts]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conflicts {
    /// What writers of a version are told of the others.
    pub disclose: Disclose,
    /// The first that fits counts.
    #[serde(rename = "rule")]
    pub rules: Vec<Rule>,
}

/// What writers of a version are told of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disclose {
    /// That they are.
    #[default]
    Notice,
    /// What they say.
    Payload,
}

/// `[[conflicts.rule]]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Records whose key is like this; `*` stands for any characters.
    pub key: Option<String>,
    /// Records whose displayed version is of such a type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What is done.
    pub how: How,
    /// Of exec: what is run.
    pub program: Option<PathBuf>,
    /// Of exec: how long it may take.
    #[serde(default = "timeout_s")]
    pub timeout_s: u64,
}

fn timeout_s() -> u64 {
    10
}

impl Disclose {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Payload => "payload",
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// A person decides.
    Manual,
    /// Versions stand side by side.
    Append,
    /// The displayed version is taken.
    Lww,
    /// A program says.
    Exec,
}

impl How {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Append => "append",
            Self::Lww => "lww",
            Self::Exec => "exec",
        }
    }
}

impl Config {
    /// Read it.
    ///
    /// # Errors
    /// What is wrong and where, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| said(text, &error))?;
        for (number, rule) in config.conflicts.rules.iter().enumerate() {
            let wrong = match (rule.how, &rule.program) {
                _ if rule.key.is_none() && rule.kind.is_none() => "it names no key and no type; key = \"*\" means every record",
                (How::Exec, None) => "how = \"exec\" needs a program",
                (How::Exec, Some(program)) if !program.is_absolute() => "program must be an absolute path",
                (How::Manual | How::Append | How::Lww, Some(_)) => "only how = \"exec\" has a program",
                _ if !(1..=TIMEOUT_S_MAX).contains(&rule.timeout_s) => "timeout_s is 1 to 300",
                _ => continue,
            };
            let at = rule_at(text, number).map_or_else(String::new, |at| format!("{at}: "));
            return Err(format!("{at}[[conflicts.rule]] number {}: {wrong}", number + 1));
        }
        Ok(config)
    }
}

/// In one line: the parser's own words draw the place over several.
fn said(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', "; ");
    error.span().map_or(message.clone(), |span| format!("{}: {message}", At::of(text, span.start)))
}

impl Conflicts {
    /// The rule for a record.
    pub fn rule(&self, record_key: &str, kind: &str) -> Option<&Rule> {
        let fits = |pattern: &Option<String>, text| pattern.as_ref().is_none_or(|pattern| is_like(text, pattern));
        self.rules.iter().find(|rule| fits(&rule.key, record_key) && fits(&rule.kind, kind))
    }

    /// How a record stands of which the versions alone say `state`: a rule may let them stand side by side.
    pub fn stands(&self, state: State, record_key: &str, kind: &str) -> State {
        if state.differs() && self.how(record_key, kind) == How::Append { State::Appended } else { state }
    }

    /// A number for what of these rules [`Conflicts::stands`] depends on; 0 when nothing of them does.
    pub fn print(&self) -> i64 {
        if self.rules.iter().all(|rule| rule.how != How::Append) {
            return 0;
        }
        let mut hasher = Sha256::new();
        for Rule { key, kind, how, .. } in &self.rules {
            for pattern in [key, kind] {
                let text = pattern.as_deref().unwrap_or("*"); // what fits anything
                hasher.update((text.len() as u64).to_be_bytes());
                hasher.update(text);
            }
            hasher.update([u8::from(*how == How::Append)]);
        }
        i64::from_be_bytes(Hash(hasher.finalize().into()).first::<8>())
    }

    /// What is done with a record.
    pub fn how(&self, record_key: &str, kind: &str) -> How {
        self.rule(record_key, kind).map_or(How::Manual, |rule| rule.how)
    }
}

/// Whether `text` is like `pattern`, in which `*` stands for any characters.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// What stands in `config.toml`.
pub(super) fn read(ports: &Ports, layout: &Layout) -> Result<Config, NodeError> {
    let path = layout.config();
    let wrong = |why: String| NodeError::refused(Code::Z106, format!("{}: {why}", path.display()));
    let Some(bytes) = read_small(&*ports.disk, &path, CONFIG_LEN_MAX).map_err(|error| NodeError::reading(&path, error))? else {
        return Ok(Config::default());
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
    Config::parse(&text).map_err(wrong)
}

impl View {
    /// What a person has set; nothing without a file.
    ///
    /// # Errors
    /// Z106 with the place; when the file cannot be read.
    pub fn config(&self) -> Result<Config, NodeError> {
        read(&self.ports, &self.layout)
    }
}

impl Node {
    /// As [`View::config`].
    ///
    /// # Errors
    /// The same.
    pub fn config(&self) -> Result<Config, NodeError> {
        read(&self.ports, &self.layout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let text = "[conflicts]\ndisclose = \"payload\"\n[[conflicts.rule]]\nkey = \"Appointment/*\"\nhow = \"lww\"\n\
                    [[conflicts.rule]]\ntype = \"vitals\"\nhow = \"append\"\n";
        let conflicts = Config::parse(text).unwrap().conflicts;
        assert_eq!(conflicts.disclose, Disclose::Payload);
        for (key, kind, how) in [("Appointment/1", "vitals", How::Lww), ("Patient/1", "vitals", How::Append), ("Patient/1", "name", How::Manual)] {
            assert_eq!(conflicts.how(key, kind), how, "{key} {kind}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (text, pattern, like) in [
            ("a/1", "a/*", true),
            ("a/1", "*", true),
            ("a/1", "a/1", true),
            ("a/1", "a", false),
            ("a/1/b", "a/*/b", true),
            ("a/b", "a/*/b", false),
            ("aXbXc", "*X*X*", true),
            ("aa", "a*a*a", false),
            ("", "*", true),
        ] {
            assert_eq!(is_like(text, pattern), like, "{text} like {pattern}");
        }
    }

    /// R11.3-c: nobody's rule is passed over because of a slip of the pen.
    #[test]
    fn what_is_not_understood_is_refused_and_says_where() {
        for (text, says) in [
            ("[conflict]", "expected `conflicts`"),
            (
                "[[conflicts.rule]]\nkey = \"*\"\nhow = \"newest\"",
                "line 3, column 7: unknown variant `newest`, expected one of `manual`, `append`, `lww`",
            ),
            ("[[conflicts.rule]]\nkeys = \"*\"\nhow = \"lww\"", "`key`"),
            ("[[conflicts.rule]]\nhow = \"lww\"", "line 1, column 1: [[conflicts.rule]] number 1: it names no key and no type"),
            ("[[conflicts.rule]]\nkey = \"*\"\nhow = \"exec\"", "line 1, column 1: [[conflicts.rule]] number 1"),
            ("[[conflicts.rule]]\nkey = \"*\"\nhow = \"exec\"\nprogram = \"decide\"", "absolute"),
            ("[[conflicts.rule]]\nkey = \"*\"\nhow = \"exec\"\nprogram = \"/d\"\ntimeout_s = 0", "300"),
            ("[[conflicts.rule]]\nkey = \"*\"\nhow = \"lww\"\nprogram = \"/d\"", "only"),
            ("conflicts = ", "line 1, column"),
        ] {
            let why = Config::parse(text).unwrap_err();
            assert!(why.contains(says) && !why.contains('\n'), "{text}: {why}");
        }
    }
}
