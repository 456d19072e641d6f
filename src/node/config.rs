//! What a person has set for a node: `config.toml` in its data directory. SPEC §11.3.
//!
//! In: TOML. Out: rules. Invariants: a file that does not read whole sets nothing, and is refused with its line (R11.3-c). Not here: what rules do.

use super::View;
use super::error::NodeError;
use crate::ports::disk::read_small;
use bundle_format::error::Code;
use serde::Deserialize;
use std::path::PathBuf;

/// Rules are a page, not a book.
const CONFIG_LEN_MAX: usize = 64 * 1024;
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

impl Config {
    /// Read it.
    ///
    /// # Errors
    /// What is wrong and where, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| said(text, &error))?;
        for (rule, number) in config.conflicts.rules.iter().zip(1..) {
            let wrong = match (rule.how, &rule.program) {
                (How::Exec, None) => "how = \"exec\" needs a program",
                (How::Exec, Some(program)) if !program.is_absolute() => "program must be an absolute path",
                (How::Manual | How::Append | How::Lww, Some(_)) => "only how = \"exec\" has a program",
                _ if !(1..=TIMEOUT_S_MAX).contains(&rule.timeout_s) => "timeout_s is 1 to 300",
                _ => continue,
            };
            return Err(format!("[[conflicts.rule]] number {number}: {wrong}"));
        }
        Ok(config)
    }
}

/// In one line: the parser's own words draw the place over several.
fn said(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', "; ");
    let before = error.span().and_then(|span| text.get(..span.start));
    before.map_or(message.clone(), |before| format!("line {}: {message}", before.matches('\n').count() + 1))
}

impl Conflicts {
    /// The rule for a record.
    pub fn rule(&self, record_key: &str, kind: &str) -> Option<&Rule> {
        let fits = |pattern: &Option<String>, text| pattern.as_ref().is_none_or(|pattern| is_like(text, pattern));
        self.rules.iter().find(|rule| fits(&rule.key, record_key) && fits(&rule.kind, kind))
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

impl View {
    /// What a person has set; nothing without a file.
    ///
    /// # Errors
    /// Z106 with the place; when the file cannot be read.
    pub fn config(&self) -> Result<Config, NodeError> {
        let path = self.layout.config();
        let wrong = |why: String| NodeError::refused(Code::Z106, format!("{}: {why}", path.display()));
        let Some(bytes) = read_small(&*self.ports.disk, &path, CONFIG_LEN_MAX).map_err(|error| NodeError::reading(&path, error))? else {
            return Ok(Config::default());
        };
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        Config::parse(&text).map_err(wrong)
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
            ("[[conflicts.rule]]\nkey = \"*\"\nhow = \"newest\"", "line 3: unknown variant `newest`, expected one of `manual`, `append`, `lww`"),
            ("[[conflicts.rule]]\nkeys = \"*\"\nhow = \"lww\"", "`key`"),
            ("[[conflicts.rule]]\nhow = \"exec\"", "number 1"),
            ("[[conflicts.rule]]\nhow = \"exec\"\nprogram = \"decide\"", "absolute"),
            ("[[conflicts.rule]]\nhow = \"exec\"\nprogram = \"/d\"\ntimeout_s = 0", "300"),
            ("[[conflicts.rule]]\nhow = \"lww\"\nprogram = \"/d\"", "only"),
            ("conflicts = ", "line 1"),
        ] {
            let why = Config::parse(text).unwrap_err();
            assert!(why.contains(says) && !why.contains('\n'), "{text}: {why}");
        }
    }
}
