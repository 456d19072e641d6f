//! The silence radar: when a peer that used to be heard counts as silent. Pure. SPEC §10.14.
//!
//! In: the moments it was heard. Out: its longest pauses, day by day, and from them how long it may be unheard. Invariants: small and bounded; a pause
//! is never learned twice. Not here: what is done about it (`cli`, `hub`).

use super::syncing::DAY_MS;
use bundle_format::cbor::{CborError, Reader};
use serde::ser::{Serialize, Serializer};

/// Days on which it was heard that are remembered: half a year of a stick a week, a month of a link.
const DAYS_MAX: usize = 28;
/// Pauses that must be known before anything is learned from them.
const PAUSES_MIN: usize = 3;
/// Until then.
pub const UNLEARNED_MS: u64 = 7 * DAY_MS;
/// Nobody is called silent sooner: a power cut and a reboot are no alarm.
const SILENT_AFTER_MS_MIN: u64 = 3600 * 1000;
/// Nor later, whatever was learned in a bad season.
const SILENT_AFTER_MS_MAX: u64 = 60 * DAY_MS;

/// By which path something came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// In a file: a stick or a folder.
    #[default]
    File,
    /// Over a link.
    Link,
}

impl Path {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Link => "link",
        }
    }
}

/// One day on which a peer was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day {
    /// Counted from 1970 by our clock.
    number: u64,
    /// The longest pause that ended on it, milliseconds.
    pause_ms: u64,
    /// How often it was heard.
    count: u64,
}

/// How a peer has been heard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rhythm {
    /// By which path last.
    pub path: Path,
    days: Vec<Day>,
}

impl Rhythm {
    /// It was heard at `now_ms`, and before that at `before_ms` (0: never). A clock that went back teaches nothing.
    pub fn hear(&mut self, path: Path, before_ms: u64, now_ms: u64) {
        self.path = path;
        let pause_ms = if before_ms == 0 { 0 } else { now_ms.saturating_sub(before_ms) };
        match self.days.last_mut() {
            Some(last) if last.number >= now_ms / DAY_MS => {
                last.pause_ms = last.pause_ms.max(pause_ms);
                last.count += 1;
            }
            _ => self.days.push(Day { number: now_ms / DAY_MS, pause_ms, count: 1 }),
        }
        let surplus = self.days.len().saturating_sub(DAYS_MAX);
        self.days.drain(..surplus);
    }

    /// How long it may be unheard before it counts as silent: twice the longest pause of a day that it has come back from, one outlier left out (R10.14-a).
    pub fn silent_after_ms(&self) -> u64 {
        let mut pauses: Vec<u64> = self.days.iter().map(|day| day.pause_ms).filter(|pause_ms| *pause_ms > 0).collect();
        pauses.sort_unstable_by(|one, other| other.cmp(one));
        let usual = pauses.get(usize::from(pauses.len() > PAUSES_MIN)).filter(|_| pauses.len() >= PAUSES_MIN);
        usual.map_or(UNLEARNED_MS, |pause_ms| (pause_ms * 2).clamp(SILENT_AFTER_MS_MIN, SILENT_AFTER_MS_MAX))
    }

    /// Whether nothing was ever heard.
    pub fn is_blank(&self) -> bool {
        self.days.is_empty()
    }

    /// # Errors
    /// [`CborError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let count = reader.array()?;
        let path = if reader.uint()? == 0 { Path::File } else { Path::Link };
        let day = |reader: &mut Reader<'_>| {
            reader.array_exact(3)?;
            Ok(Day { number: reader.uint()?, pause_ms: reader.uint()?, count: reader.uint()? })
        };
        Ok(Self { path, days: (1..count).map(|_| day(reader)).collect::<Result<_, CborError>>()? })
    }
}

impl Serialize for Rhythm {
    /// `[path, *[day, longest pause, times heard]]` (R10.2-g).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;
        let mut array = serializer.serialize_seq(Some(1 + self.days.len()))?;
        array.serialize_element(&(self.path as u64))?;
        for Day { number, pause_ms, count } in &self.days {
            array.serialize_element(&(number, pause_ms, count))?;
        }
        array.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3600 * 1000;

    /// Heard at these hours: silent after how many?
    fn check(hours: &[u64], want_hours: u64) {
        let (mut rhythm, mut before_ms) = (Rhythm::default(), 0);
        for hour in hours {
            let now_ms = 1_000 * DAY_MS + hour * HOUR_MS;
            rhythm.hear(Path::Link, before_ms, now_ms);
            before_ms = now_ms;
        }
        assert_eq!(rhythm.silent_after_ms() / HOUR_MS, want_hours, "{hours:?}");
    }

    /// R10.14-a
    #[test]
    fn the_radar_learns_how_often_a_peer_is_heard() {
        check(&[], 7 * 24);
        check(&[0, 24], 7 * 24); // one pause is no rhythm
        check(&(0..10).map(|day| day * 24).collect::<Vec<_>>(), 48); // a link a day
        check(&(0..10).map(|week| week * 24 * 7).collect::<Vec<_>>(), 14 * 24); // a stick a week
        let by_day: Vec<u64> = (0..10).flat_map(|day| (8..18).map(move |hour| day * 24 + hour)).collect();
        check(&by_day, 30); // every hour by day: a night of 15 hours is no silence
        let mut broken: Vec<u64> = (0..10).map(|day| day * 24).collect();
        broken.extend((40..44).map(|day| day * 24));
        check(&broken, 48); // one outage of a month is not learned
        check(&(0..5).map(|month| month * 24 * 40).collect::<Vec<_>>(), 60 * 24); // bounded
    }

    #[test]
    fn a_clock_that_goes_back_teaches_nothing_and_memory_is_bounded() {
        let mut rhythm = Rhythm::default();
        rhythm.hear(Path::File, 0, 900 * DAY_MS);
        rhythm.hear(Path::File, 900 * DAY_MS, DAY_MS);
        assert_eq!(rhythm.days.len(), 1);
        for day in 901..1_000 {
            rhythm.hear(Path::Link, (day - 1) * DAY_MS, day * DAY_MS);
        }
        assert_eq!(rhythm.days.len(), DAYS_MAX);
        let bytes = bundle_format::cbor::to_vec(&rhythm);
        assert_eq!(Rhythm::read(&mut Reader::new(&bytes)).unwrap(), rhythm);
        assert!(bytes.len() < 512, "{}", bytes.len());
    }
}
