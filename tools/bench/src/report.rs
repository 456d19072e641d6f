//! The table: what was measured, beside its budget.

use crate::Failure;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

const BEGIN: &str = "<!-- bench: begin -->";
const END: &str = "<!-- bench: end -->";

/// One line of the table.
pub struct Row {
    /// `rss/ingest/100000`: what, and its size and shape.
    pub name: String,
    /// With its unit.
    pub value: String,
    /// What it may be; empty when nothing was promised.
    pub budget: String,
    /// Whether it is; none when nothing was promised or it could not be measured.
    pub kept: Option<bool>,
}

/// All lines so far; each is also printed as it comes.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// A figure with no promise about it.
    pub fn note(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.add(Row { name: name.into(), value: value.into(), budget: String::new(), kept: None });
    }

    /// A figure that must not exceed a budget.
    pub fn at_most(&mut self, name: impl Into<String>, figure: f64, budget: f64, unit: Unit) {
        self.add(Row { name: name.into(), value: unit.show(figure), budget: format!("≤ {}", unit.show(budget)), kept: Some(figure <= budget) });
    }

    /// The same, with more to say beside the figure.
    pub fn at_most_beside(&mut self, name: impl Into<String>, figure: f64, budget: f64, unit: Unit, beside: &str) {
        let value = format!("{}; {beside}", unit.show(figure));
        self.add(Row { name: name.into(), value, budget: format!("≤ {}", unit.show(budget)), kept: Some(figure <= budget) });
    }

    /// A figure that must reach a budget.
    pub fn at_least(&mut self, name: impl Into<String>, figure: f64, budget: f64, unit: Unit) {
        self.add(Row { name: name.into(), value: unit.show(figure), budget: format!("≥ {}", unit.show(budget)), kept: Some(figure >= budget) });
    }

    fn add(&mut self, row: Row) {
        println!("{}", line(&row));
        self.rows.push(row);
    }

    /// How many budgets were kept, and how many there were.
    pub fn kept(&self) -> (usize, usize) {
        let judged = self.rows.iter().filter_map(|row| row.kept);
        (judged.clone().filter(|kept| *kept).count(), judged.count())
    }

    /// The table in Markdown.
    pub fn markdown(&self, heading: &str) -> String {
        let mut text = format!("{heading}\n\n| bench | measured | budget | |\n|---|---|---|---|\n");
        for row in &self.rows {
            let _ = writeln!(text, "{}", line(row));
        }
        text
    }

    /// Put the table between the markers of a page.
    ///
    /// # Errors
    /// When the page cannot be read or written, or has no markers.
    pub fn write_into(&self, page: &Path, heading: &str) -> Result<(), Failure> {
        let text = std::fs::read_to_string(page)?;
        std::fs::write(page, between(&text, &self.markdown(heading)).ok_or_else(|| format!("{} has no `{BEGIN}` … `{END}`", page.display()))?)?;
        Ok(())
    }
}

fn between(text: &str, table: &str) -> Option<String> {
    let begin = text.find(BEGIN)? + BEGIN.len();
    let end = begin + text.get(begin..)?.find(END)?;
    Some(format!("{}\n{}\n{}", text.get(..begin)?, table.trim_end(), text.get(end..)?))
}

fn line(row: &Row) -> String {
    let verdict = match row.kept {
        Some(true) => "kept",
        Some(false) => "**missed**",
        None => "",
    };
    format!("| {} | {} | {} | {verdict} |", row.name, row.value, row.budget)
}

/// How a figure is written.
#[derive(Clone, Copy)]
pub enum Unit {
    /// `1 234 B`
    Bytes,
    /// `3.21 MB`
    Megabytes,
    /// `12.3 ms`
    Milliseconds,
    /// `52.1 B/event`
    BytesPerEvent,
    /// `1.20 ×`
    Times,
    /// `1.01 a push`
    PerPush,
    /// `3.0 round trips`
    Trips,
    /// `1.23 s`
    Seconds,
    /// `0.20 a range`
    PerRange,
    /// `3`
    Count,
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::Bytes => format!("{} B", thousands(figure as u64)),
            Self::Megabytes => format!("{:.2} MB", figure / 1e6),
            Self::Milliseconds => format!("{figure:.2} ms"),
            Self::BytesPerEvent => format!("{figure:.1} B/event"),
            Self::Times => format!("{figure:.2} ×"),
            Self::PerPush => format!("{figure:.2} a push"),
            Self::Trips => format!("{figure:.1} round trips"),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Count => format!("{figure:.0}"),
            Self::PerRange => format!("{figure:.2} a range"),
        }
    }
}

/// `1 234 567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `12.3 ms`, `4.56 s`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

/// `123 456 events/s`.
pub fn per_second(count: u64, time: Duration) -> String {
    format!("{} events/s", thousands((count as f64 / time.as_secs_f64().max(1e-9)) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_what_stands_between_the_markers() {
        let page = format!("# P\n{BEGIN}\nold\n{END}\nafter\n");
        let once = between(&page, "| new |\n");
        assert_eq!(once.as_deref(), Some(format!("# P\n{BEGIN}\n| new |\n{END}\nafter\n").as_str()));
        assert_eq!(once.as_deref().and_then(|once| between(once, "| new |")), once, "writing twice is writing once");
        assert_eq!(between("# no markers", "x"), None);
    }

    #[test]
    fn budgets_are_judged_both_ways() {
        let mut report = Report::default();
        report.at_most("a", 10.0, 10.0, Unit::Bytes);
        report.at_least("b", 0.9, 1.0, Unit::Times);
        report.note("c", "3 s");
        assert_eq!(report.kept(), (1, 2));
        assert!(report.markdown("h").contains("| b | 0.90 × | ≥ 1.00 × | **missed** |"));
    }

    #[test]
    fn figures_are_written_to_be_read() {
        assert_eq!(thousands(1_234_567), "1 234 567");
        assert_eq!(thousands(12), "12");
        assert_eq!(
            [time(Duration::from_micros(52)), time(Duration::from_millis(52)), time(Duration::from_secs(52))],
            ["52 µs", "52.0 ms", "52.00 s"]
        );
    }
}
