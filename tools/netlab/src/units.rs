//! Numbers as people write them on a command line: `23kbit`, `300ms`, `1%`, `12kbit/23kbit`, `8s:5s/20s`.

/// Two values: from A to B, and from B to A.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<T>(pub T, pub T);

impl<T: Copy> Pair<T> {
    /// The same both ways.
    pub const fn same(value: T) -> Self {
        Self(value, value)
    }
}

impl<T> From<Pair<T>> for [T; 2] {
    fn from(Pair(there, back): Pair<T>) -> Self {
        [there, back]
    }
}

/// A stretch of darkness, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Its begin.
    pub at: f64,
    /// How long it lasts.
    pub lasts: f64,
    /// It comes again, each so long after the last; 0 for never.
    pub every: f64,
}

impl Cut {
    /// Whether it is dark at a time.
    pub fn holds(&self, at: f64) -> bool {
        let since = at - self.at;
        since >= 0.0 && if self.every > 0.0 { since % self.every < self.lasts } else { since < self.lasts }
    }
}

/// Bits per second: `23kbit`, `2mbit`, `9600`.
///
/// # Errors
/// A sentence for the one who typed it; so do all functions here.
pub fn rate(text: &str) -> Result<f64, String> {
    number(text, &[("kbit", 1e3), ("mbit", 1e6), ("kbps", 1e3), ("mbps", 1e6), ("bit", 1.0), ("bps", 1.0), ("", 1.0)])
}

/// Bytes per second: `2875`, or as bits with their unit, `23kbit`.
///
/// # Errors
/// When it is neither, or less than a byte.
pub fn byte_rate(text: &str) -> Result<u64, String> {
    let bytes = number(text, &[("kbit", 125.0), ("mbit", 125e3), ("bit", 0.125), ("", 1.0)])?;
    if bytes >= 1.0 { Ok(bytes as u64) } else { Err(format!("`{text}` is less than a byte per second")) }
}

/// Seconds: `300ms`, `5s`; a bare number is milliseconds.
///
/// # Errors
/// When it is no number with one of these units.
pub fn seconds(text: &str) -> Result<f64, String> {
    number(text, &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("", 1e-3)])
}

/// A share: `1%` or `0.01`.
///
/// # Errors
/// When it is not between none and all.
pub fn share(text: &str) -> Result<f64, String> {
    let share = number(text, &[("%", 0.01), ("", 1.0)])?;
    if share <= 1.0 { Ok(share) } else { Err(format!("`{text}` is more than all")) }
}

/// One value for both ways, or `A->B/B->A`.
///
/// # Errors
/// Those of `one`.
pub fn pair<T: Copy>(text: &str, one: impl Fn(&str) -> Result<T, String>) -> Result<Pair<T>, String> {
    match text.split_once('/') {
        Some((there, back)) => Ok(Pair(one(there)?, one(back)?)),
        None => one(text).map(Pair::same),
    }
}

/// `8s:5s` is one cut at 8 s that lasts 5 s, `8s:5s/20s` comes again every 20 s.
///
/// # Errors
/// When a part is missing or no time.
pub fn cut(text: &str) -> Result<Cut, String> {
    let (body, every) = text.split_once('/').map_or((text, None), |(body, every)| (body, Some(every)));
    let (at, lasts) = body.split_once(':').ok_or_else(|| format!("`{text}` is no BEGIN:LENGTH"))?;
    Ok(Cut { at: seconds(at)?, lasts: seconds(lasts)?, every: every.map_or(Ok(0.0), seconds)? })
}

fn number(text: &str, units: &[(&str, f64)]) -> Result<f64, String> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = (&text[..at], text[at..].trim().to_ascii_lowercase());
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (digits.parse::<f64>(), factor) {
        (Ok(number), Some(factor)) => Ok(number * factor),
        _ => Err(format!("`{text}` is no number with one of these units: {}", units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(pair("23kbit", rate), Ok(Pair(23e3, 23e3)));
        assert_eq!(pair("12kbit/2Mbit", rate), Ok(Pair(12e3, 2e6)));
        assert_eq!([seconds("300ms"), seconds("1.5 s"), seconds("20")], [Ok(0.3), Ok(1.5), Ok(0.02)]);
        assert_eq!([share("1%"), share("0.5")], [Ok(0.01), Ok(0.5)]);
        assert_eq!([byte_rate("2875"), byte_rate("23kbit")], [Ok(2875), Ok(2875)]);
        for wrong in ["", "ms", "3 parsecs", "-1s", "1.2.3s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert!(share("101%").is_err() && byte_rate("4bit").is_err() && cut("8s").is_err());
    }

    #[test]
    fn a_cut_holds_from_its_begin_until_its_end() {
        let once = cut("8s:5s").unwrap();
        assert_eq!([7.99, 8.0, 12.99, 13.0, 28.0].map(|at| once.holds(at)), [false, true, true, false, false]);
        let again = cut("8s:5s/20s").unwrap();
        assert_eq!([-12.0, 8.0, 27.9, 28.0, 33.0].map(|at| again.holds(at)), [false, true, false, true, false]);
    }
}
