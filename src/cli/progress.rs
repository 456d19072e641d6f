//! How far long work has come, with rate and time left: a bar on a terminal, else a line every 30 s.

use super::console::Console;
use super::units;
use crate::ports::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use std::rc::Rc;

/// Between two lines where nobody watches.
const QUIET_INTERVAL_MS: u64 = 30_000;
/// Work shorter than this shows no bar.
const PATIENCE_MS: u64 = 400;

/// One stretch of work, measured in bytes.
pub struct Progress {
    clock: Rc<dyn Clock>,
    doing: &'static str,
    total: Option<u64>,
    start_ms: u64,
    told_ms: u64,
    drawn: bool,
    told: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begin. `total` in bytes when it is known.
    pub fn start(console: &Console, clock: Rc<dyn Clock>, doing: &'static str, total: Option<u64>) -> Self {
        let now = clock.monotonic_ms();
        Self { clock, doing, total, start_ms: now, told_ms: now, drawn: console.draws_progress(), told: console.tells_progress(), bar: None }
    }

    /// The total as it is known by now.
    pub fn expect(&mut self, total: u64) {
        if self.total.is_none() {
            self.bar = None; // it was a spinner
        }
        self.total = Some(total);
        self.bar.iter().for_each(|bar| bar.set_length(total));
    }

    /// `done` bytes are behind us, in `count` events.
    pub fn reach(&mut self, console: &mut Console, done: u64, count: u64) {
        let now = self.clock.monotonic_ms();
        if self.drawn {
            if self.bar.is_none() && now - self.start_ms >= PATIENCE_MS {
                self.bar = Some(bar(self.doing, self.total));
            }
            if let Some(bar) = &self.bar {
                bar.set_position(done);
                bar.set_message(units::count(count, "event"));
            }
        } else if self.told && now - self.told_ms >= QUIET_INTERVAL_MS {
            self.told_ms = now;
            console.note(&self.line(now - self.start_ms, done, count));
        }
    }

    /// The work is over: take the bar away.
    pub fn end(self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn line(&self, spent_ms: u64, done: u64, count: u64) -> String {
        let rate = done * 1000 / spent_ms.max(1);
        let left = self.total.filter(|_| rate > 0).map(|total| units::span(total.saturating_sub(done) * 1000 / rate));
        let of = self.total.map(|total| format!(" of {}", units::size(total))).unwrap_or_default();
        let left = left.map(|left| format!(", about {left} left")).unwrap_or_default();
        format!("{}: {}{of}, {}, {}/s{left}", self.doing, units::size(done), units::count(count, "event"), units::size(rate))
    }
}

fn bar(doing: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{prefix} {bar:24} {decimal_bytes}/{decimal_total_bytes}  {msg}  {decimal_bytes_per_sec}  {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{prefix} {spinner} {decimal_bytes}  {msg}  {decimal_bytes_per_sec}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(doing);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::clock::FakeClock;

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let clock = Rc::new(FakeClock::default());
        let progress = Progress { clock, doing: "pushing", total: Some(10_000_000), start_ms: 0, told_ms: 0, drawn: false, told: true, bar: None };
        assert_eq!(progress.line(30_000, 3_000_000, 12_000), "pushing: 3.0 MB of 10.0 MB, 12000 events, 100 KB/s, about 1 min left");
    }
}
