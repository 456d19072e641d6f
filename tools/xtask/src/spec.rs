//! Spec: SPEC.md and the code agree about which rules, sections and codes there are.
//!
//! A rule is defined where a line begins with `- **R4.2-a` or a table row's first cell is `R4.2-a`. It is cited wherever its id
//! stands in code, tests, fixtures or tools. Rules that nothing cites must be named in `tools/xtask/uncited.txt`, and only those.

use crate::run::Failure;
use crate::tree::{Text, Tree};
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};

const SPEC: &str = "SPEC.md";
const CODES: &str = "bundle-format/src/error.rs";
const UNCITED: &str = "tools/xtask/uncited.txt";
/// Where a citation counts.
const CITING: &[&str] = &["src/", "bundle-format/", "tests/", "fixtures/", "tools/", "docs/", "README.md"];
/// This program speaks about rules without citing any.
const NOT_CITING: &str = "tools/xtask/";

/// The step.
pub fn run(tree: &Tree) -> Result<String, Failure> {
    let spec = tree.text(SPEC).ok_or_else(|| Failure(format!("{SPEC} is not there")))?;
    let mut faults = Vec::new();

    let rules = Rules::read(spec, &mut faults);
    let cited = rules.cited(&tree.texts, &mut faults);
    let uncited: BTreeSet<&str> = rules.defined.iter().map(String::as_str).filter(|rule| !cited.contains(*rule)).collect();
    compare_uncited(&uncited, tree.text(UNCITED).unwrap_or_default(), &mut faults);
    if !uncited.is_empty() {
        println!("{} rule(s) no code, test or fixture cites: {}", uncited.len(), uncited.iter().copied().collect::<Vec<_>>().join(" "));
    }

    let codes = Code::read(tree.text(CODES).unwrap_or_default());
    if codes.is_empty() {
        faults.push(format!("{CODES}: no code row was recognised"));
    }
    compare_codes(&codes, section(spec, "9"), &mut faults);

    for fault in &faults {
        println!("{fault}");
    }
    let said = format!("{} rules, {} of them cited, {} codes", rules.defined.len(), rules.defined.len() - uncited.len(), codes.len());
    if faults.is_empty() { Ok(said) } else { Err(Failure(format!("{} disagreement(s) between SPEC.md and the tree", faults.len()))) }
}

/// The rules and sections of SPEC.md.
struct Rules {
    defined: BTreeSet<String>,
    sections: BTreeSet<String>,
}

impl Rules {
    fn read(spec: &str, faults: &mut Vec<String>) -> Self {
        let definition = pattern(r"^(?:- \*\*|\|\s*(?:\*\*)?)(R\d+\.\d+-[a-z]{1,2})\b");
        let heading = pattern(r"^#+ (\d+(?:\.\d+)?)\.? ");
        let mut rules = Self { defined: BTreeSet::new(), sections: BTreeSet::new() };
        let mut current = String::new();
        for (number, line) in (1..).zip(spec.lines()) {
            if let Some(found) = heading.captures(line) {
                found[1].clone_into(&mut current);
                rules.sections.insert(current.clone());
            } else if let Some(found) = definition.captures(line) {
                let rule = &found[1];
                if !rules.defined.insert(rule.to_owned()) {
                    faults.push(format!("{SPEC}:{number}: {rule} is defined a second time"));
                }
                if rule.split_once('-').is_none_or(|(section, _)| section[1..] != current) {
                    faults.push(format!("{SPEC}:{number}: {rule} is defined in §{current}"));
                }
            }
        }
        rules
    }

    /// The rules that something cites; citations of rules and sections that do not exist are faults.
    fn cited(&self, texts: &[Text], faults: &mut Vec<String>) -> BTreeSet<String> {
        let rule = pattern(r"\bR(\d+\.\d+)-([a-z]{1,2})\b");
        let section = pattern(r"SPEC §(\d+(?:\.\d+)?)");
        let mut cited = BTreeSet::new();
        for text in texts {
            let citing = CITING.iter().any(|place| text.path.starts_with(place)) && !text.path.starts_with(NOT_CITING);
            if !citing && text.path != SPEC {
                continue;
            }
            for (number, line) in (1..).zip(text.text.lines()) {
                for found in rule.find_iter(line) {
                    if !self.defined.contains(found.as_str()) {
                        faults.push(format!("{}:{number}: cites {}, which {SPEC} does not define", text.path, found.as_str()));
                    } else if citing {
                        cited.insert(found.as_str().to_owned());
                    }
                }
                for found in section.captures_iter(line) {
                    if !self.sections.contains(&found[1]) {
                        faults.push(format!("{}:{number}: cites SPEC §{}, and there is no such section", text.path, &found[1]));
                    }
                }
            }
        }
        cited
    }
}

/// Both ways: nothing uncited is missing in the list, nothing in the list is cited or gone.
fn compare_uncited(uncited: &BTreeSet<&str>, list: &str, faults: &mut Vec<String>) {
    let listed: BTreeSet<&str> = list.lines().filter_map(|line| line.split('#').next()?.split_whitespace().next()).collect();
    for rule in uncited.difference(&listed) {
        faults.push(format!("{UNCITED}: nothing cites {rule}; cite it in the test or code that keeps it, or list it here with the reason"));
    }
    for rule in listed.difference(uncited) {
        faults.push(format!("{UNCITED}: {rule} is cited now, or no longer a rule; take it off the list"));
    }
}

/// One row of the table of codes.
struct Code {
    name: String,
    title: String,
}

impl Code {
    fn read(source: &str) -> Vec<Self> {
        let row = pattern(r#"^\s*(Z\d{3}) [A-Za-z]+ "([^"]*)" "[^"]*" "[^"]*";"#);
        source.lines().filter_map(|line| row.captures(line)).map(|found| Self { name: found[1].to_owned(), title: found[2].to_owned() }).collect()
    }
}

/// Every code of the program is a row of SPEC §9 with its title, and SPEC §9 has no other.
fn compare_codes(codes: &[Code], spec: &str, faults: &mut Vec<String>) {
    let name = pattern(r"^Z\d{3}$");
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in spec.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches(['*', '`']).to_owned()).collect();
        if let Some(code) = cells.first().filter(|cell| name.is_match(cell)) {
            rows.insert(code.clone(), cells);
        }
    }
    for code in codes {
        match rows.remove(&code.name) {
            None => faults.push(format!("{SPEC} §9: {} ({}) has no row", code.name, code.title)),
            Some(cells) if !cells.contains(&code.title) => {
                faults.push(format!("{SPEC} §9: the title of {} is `{}` in {CODES}, here the row says {cells:?}", code.name, code.title));
            }
            Some(_) => {}
        }
    }
    faults.extend(rows.keys().map(|name| format!("{SPEC} §9: {name} is no code of the program")));
}

/// The text of one `## N.` section.
fn section<'a>(spec: &'a str, number: &str) -> &'a str {
    let Some(start) = spec.find(&format!("\n## {number}. ")) else { return "" };
    let rest = &spec[start + 1..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

fn pattern(source: &str) -> Regex {
    Regex::new(source).expect("the patterns of this file are constants and compile")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC_TEXT: &str = "# t\n## 2. Two\n### 2.1 One\n- **R2.1-a** x\n- **R2.1-b** see R2.1-a\n\n## 9. Codes\n| code | title |\n|---|---|\n| `Z211` | this is not a bundle |\n| Z300 | gone |\n## 10. Disk\n";

    fn text(path: &str, text: &str) -> Text {
        Text { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn rules_are_found_where_they_are_defined() {
        let mut faults = Vec::new();
        let rules =
            Rules::read("## 3. T\n### 3.1 T\n- **R3.1-a** x\n| R3.1-b | y |\n|**R3.1-c**| z |\n- **R3.1-a** again\n- **R4.1-a** lost", &mut faults);
        assert_eq!(rules.defined.len(), 4);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn citations_of_nothing_are_faults_and_spec_does_not_cite_itself() {
        let mut faults = Vec::new();
        let rules = Rules::read(SPEC_TEXT, &mut faults);
        let texts =
            [text("src/push.rs", "// R2.1-b, R2.1-z, SPEC §2.1, SPEC §2.7"), text(SPEC, SPEC_TEXT), text("tools/xtask/src/spec.rs", "R7.7-a")];
        assert_eq!(rules.cited(&texts, &mut faults), BTreeSet::from(["R2.1-b".to_owned()]));
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn the_uncited_list_is_exact() {
        let mut faults = Vec::new();
        compare_uncited(&BTreeSet::from(["R2.1-a", "R2.1-b"]), "# why\nR2.1-a  # a promise to couriers\nR9.9-a\n", &mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn codes_have_the_same_titles() {
        let codes = Code::read("    Z211 Usage \"this is not a bundle\" \"It.\" \"do\";\n    Z212 Damaged \"cut short\" \"a\" \"b\";");
        let mut faults = Vec::new();
        compare_codes(&codes, section(SPEC_TEXT, "9"), &mut faults);
        assert_eq!(faults.len(), 2, "one without a row, one row without a code: {faults:?}");
    }
}
