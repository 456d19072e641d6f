//! Sizes, spans of time and dates as people write and read them. K = 1000, KiB = 1024.

use jiff::Timestamp;

pub use crate::hub::telling::{date, span};

/// `64MiB`, `300K`, `1.5GB`, `4096` → bytes.
///
/// # Errors
/// What is wrong, for the usage message.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let scale: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return Err(format!("{unit:?} is no unit of size; write 300K (1000) or 64MiB (1024)")),
    };
    scaled(number, scale)
}

/// `10m`, `90`, `1.5h`, `250ms` → milliseconds. A bare number is seconds.
///
/// # Errors
/// What is wrong, for the usage message.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let scale: u64 = match unit {
        "ms" => 1,
        "" | "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("{unit:?} is no unit of time; write 5s, 10m, 2h or 3d")),
    };
    scaled(number, scale)
}

/// `2026-11-20`, `2026-11-20T09:14`, `2026-11-20T09:14:03Z` (UTC unless it names an offset) → milliseconds since 1970.
pub fn parse_date_ms(text: &str) -> Option<u64> {
    let stamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })?;
    u64::try_from(stamp.as_millisecond()).ok()
}

/// `312 B`, `61.4 KB`: three digits, K = 1000.
pub fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes / 100 + u64::from(bytes % 100 >= 50), "KB");
    for next in ["MB", "GB", "TB"] {
        if tenths < 9995 {
            break;
        }
        (tenths, unit) = (tenths / 1000 + u64::from(tenths % 1000 >= 500), next);
    }
    if tenths >= 1000 { format!("{} {unit}", (tenths + 5) / 10) } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

/// `1 event`, `2 events`.
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `1 history`, `2 histories`.
pub fn count_of(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// `number × scale`; what is below one unit is dropped.
fn scaled(number: &str, scale: u64) -> Result<u64, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err("write a number and a unit".to_owned());
    }
    let too_large = || format!("{number} is too large");
    let tenths = format!("0{fraction}").parse::<u64>().map_err(|_| too_large())?;
    let below = u128::from(tenths) * u128::from(scale) / 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let whole = u128::from(whole.parse::<u64>().map_err(|_| too_large())?) * u128::from(scale);
    u64::try_from(whole + below).map_err(|_| too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        let cases = [("0", 0), ("4096", 4096), ("300K", 300_000), ("64MiB", 64 << 20), ("1.5 GB", 1_500_000_000), ("2kib", 2048), ("7b", 7)];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1X", "99999999999999T", "1..5K", ".5K", "NaN", "inf"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_seconds_unless_it_says_otherwise() {
        for (text, ms) in [("5", 5_000), ("0", 0), ("250ms", 250), ("10m", 600_000), ("1.5h", 5_400_000), ("3d", 259_200_000)] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        assert!(parse_duration_ms("5 weeks").is_err());
    }

    #[test]
    fn dates_are_utc_unless_they_name_an_offset() {
        for (text, ms) in [
            ("1970-01-01", Some(0)),
            ("2026-11-20T09:14:03Z", Some(1_795_166_043_000)),
            ("2026-11-20T15:14:03+06:00", Some(1_795_166_043_000)),
            ("2026-11-20 09:14", Some(1_795_166_040_000)),
            ("lunana-bhu/routine:41", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_date_ms(text), ms, "{text}");
        }
        assert_eq!(date(1_795_166_043_120).as_deref(), Some("2026-11-20T09:14:03.120Z"));
        assert_eq!(date(u64::MAX >> 16), None);
    }

    #[test]
    fn what_is_shown_keeps_three_digits() {
        let shown: Vec<_> = [0, 999, 1000, 61_400, 99_960, 999_960, 1_000_000, 3_400_000_000].map(size).into();
        assert_eq!(shown, ["0 B", "999 B", "1.0 KB", "61.4 KB", "100 KB", "1.0 MB", "1.0 MB", "3.4 GB"]);
        let spans: Vec<_> = [0, 7_400, 200_000, 7_800_000, 442_800_000].map(span).into();
        assert_eq!(spans, ["0 s", "7 s", "3 min", "2 h 10 min", "5 d 3 h"]);
    }
}
