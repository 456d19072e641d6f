//! What holds, setting by setting, and where it was set: `config.toml` read a second time for its places. Pure. SPEC §11.3.
//!
//! In: a text that has been read, and what it came to. Out: every setting with its value and its line, defaults without one. Not here: what settings mean
//! (`config`).

use super::config::{Config, How, Rule};
use serde_json::{Value, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in a text, for people: lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Which line.
    pub line: usize,
    /// Which character of it.
    pub column: usize,
}

impl At {
    /// Where byte `offset` of `text` stands; a place inside a character counts as its beginning.
    pub fn of(text: &str, offset: usize) -> Self {
        let offset = (0..=offset.min(text.len())).rev().find(|offset| text.is_char_boundary(*offset)).unwrap_or(0);
        let before = text.get(..offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "line {}, column {}", self.line, self.column)
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name as in the file; of rules with their number, counted from 1.
    pub name: String,
    /// What holds.
    pub value: Value,
    /// Where the file says so; `None`: it does not.
    pub at: Option<At>,
}

/// Everything that holds: `config` is what `text` was read as, so it can be read again, for its places.
pub fn settings(text: &str, config: &Config) -> Vec<Setting> {
    let parsed = DeTable::parse(text).ok();
    let conflicts = parsed.as_ref().and_then(|whole| value(whole.get_ref(), "conflicts")).and_then(DeValue::as_table);
    let mut all = vec![setting(text, conflicts, "conflicts.", "disclose", Some(json!(config.conflicts.disclose.name())))];
    for (number, rule) in config.conflicts.rules.iter().enumerate() {
        let place = rules(conflicts, number).and_then(|rule| rule.get_ref().as_table());
        let prefix = format!("conflicts.rule[{}].", number + 1);
        all.extend(fields(rule).into_iter().map(|(name, value)| setting(text, place, &prefix, name, value)));
    }
    all.retain(|setting| setting.value != Value::Null);
    all
}

/// Where a rule begins, counted from 0; nowhere in a text that is not understood, which is told with a place of its own.
pub fn rule_at(text: &str, number: usize) -> Option<At> {
    let whole = DeTable::parse(text).ok()?;
    let conflicts = value(whole.get_ref(), "conflicts")?.as_table()?;
    Some(At::of(text, rules(Some(conflicts), number)?.span().start))
}

/// What a rule has; what does not concern it is left out.
fn fields(rule: &Rule) -> Vec<(&'static str, Option<Value>)> {
    let pattern = |pattern: &Option<String>| Some(json!(pattern.as_deref().unwrap_or("*")));
    let is_exec = rule.how == How::Exec;
    vec![
        ("key", pattern(&rule.key)),
        ("type", pattern(&rule.kind)),
        ("how", Some(json!(rule.how.name()))),
        ("program", rule.program.as_ref().map(|program| json!(program.to_string_lossy()))),
        ("timeout_s", is_exec.then(|| json!(rule.timeout_s))),
    ]
}

fn setting(text: &str, table: Option<&DeTable<'_>>, prefix: &str, name: &str, value: Option<Value>) -> Setting {
    let at = table.and_then(|table| table.iter().find(|(key, _)| *key.get_ref() == name)).map(|(key, _)| At::of(text, key.span().start));
    Setting { name: format!("{prefix}{name}"), value: value.unwrap_or(Value::Null), at }
}

fn value<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<&'a DeValue<'i>> {
    table.iter().find(|(key, _)| *key.get_ref() == name).map(|(_, value)| value.get_ref())
}

fn rules<'a, 'i>(conflicts: Option<&'a DeTable<'i>>, number: usize) -> Option<&'a Spanned<DeValue<'i>>> {
    value(conflicts?, "rule")?.as_array()?.get(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_value_and_the_place_that_set_it() {
        let text = "# ours\n[conflicts]\nrule = [{ how = \"lww\", key = \"A/*\" },\n  { type = \"é\", how = \"exec\", program = \"/d\" }]\n";
        let told: Vec<_> = settings(text, &Config::parse(text).unwrap())
            .into_iter()
            .map(|Setting { name, value, at }| format!("{name} {value} {}", at.map_or("default".into(), |at| format!("{}:{}", at.line, at.column))))
            .collect();
        assert_eq!(
            told,
            [
                "conflicts.disclose \"notice\" default",
                "conflicts.rule[1].key \"A/*\" 3:24",
                "conflicts.rule[1].type \"*\" default",
                "conflicts.rule[1].how \"lww\" 3:11",
                "conflicts.rule[2].key \"*\" default",
                "conflicts.rule[2].type \"é\" 4:5",
                "conflicts.rule[2].how \"exec\" 4:17",
                "conflicts.rule[2].program \"/d\" 4:31",
                "conflicts.rule[2].timeout_s 10 default",
            ]
        );
        assert_eq!(settings("", &Config::default()).len(), 1, "without a file the defaults hold");
        assert_eq!(At::of("é\nab", 1), At { line: 1, column: 1 }, "inside a character");
    }
}
