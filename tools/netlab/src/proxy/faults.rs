//! What can be wrong with a connection, as values. Pure: nothing here opens a socket or reads a clock.

use serde::Serialize;
use std::time::Duration;

/// What one direction holds unless told otherwise: 32 KiB, as the buffers of 2G base stations do (11 s at 23 kbit/s).
pub const BUFFER_LEN: usize = 32 << 10;
/// Longest piece that moves at once: what a TCP segment carries on a 2G link.
const PIECE_LEN_MAX: usize = 1388;

/// Everything that is wrong with the way between dialer and listener. The default is nothing: bytes are forwarded and counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// From the dialer to the listener.
    pub up: Way,
    /// From the listener to the dialer.
    pub down: Way,
    /// How a cut ([`Way::cut_after`], [`Way::cut_at`]) ends its connection.
    pub ending: Ending,
    /// When the way is dark, counted from the proxy's start: no byte moves, and who dials is not answered (the SYN is dropped).
    pub blackouts: Vec<Span>,
    /// Dark from now on, until steered otherwise.
    pub dark: bool,
    /// A blackout kills the connections it meets: they stay dark when it is over. Otherwise they go on, as TCP does that sends again.
    pub blackout_kills: bool,
    /// When nobody listens, counted from the proxy's start: who dials is refused (RST); connections that stand go on.
    pub refusals: Vec<Span>,
    /// Refusing from now on, until steered otherwise.
    pub refusing: bool,
    /// Bytes one direction holds before its sender must wait; as many again may be under way, and more where rate × delay is more.
    /// The kernel's receive buffers are set to this when the proxy starts. Without a rate, a delay lets `buffer_len / delay` through.
    pub buffer_len: usize,
    /// Equal seeds give equal jitter.
    pub seed: u64,
}

/// What is wrong in one direction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Way {
    /// How long a byte takes.
    pub delay: Duration,
    /// How much longer or shorter, evenly spread; the order of bytes is kept.
    pub jitter: Duration,
    /// Bytes per second; `None` is no limit.
    pub rate: Option<u64>,
    /// One byte, then this long nothing.
    pub drip: Option<Duration>,
    /// The connection is cut when exactly so many bytes have been delivered in this direction.
    pub cut_after: Each<u64>,
    /// The connection is cut so long after it began.
    pub cut_at: Each<Duration>,
    /// Nothing moves in this direction, until steered otherwise.
    pub dead: bool,
}

/// A value for every connection, or for one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Each<T> {
    /// For none.
    #[default]
    None,
    /// For every connection anew.
    Every(T),
    /// For the first, the second, …; those after the last have none.
    Successive(Vec<Option<T>>),
}

/// How a cut ends a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// RST to both.
    #[default]
    Reset,
    /// FIN to both, as if each had heard the other finish; what they still send is dropped, for a second.
    Fin,
    /// Nothing moves any more, both sides stay open.
    BlackHole,
    /// The direction that was cut falls silent, the other goes on. Ordered by [`Proxy::cut`](super::Proxy::cut), which names none, both do.
    HalfOpen,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
}

/// What the way is like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Clear,
    Dark,
    Refusing,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            up: Way::default(),
            down: Way::default(),
            ending: Ending::default(),
            blackouts: Vec::new(),
            dark: false,
            blackout_kills: false,
            refusals: Vec::new(),
            refusing: false,
            buffer_len: BUFFER_LEN,
            seed: 1,
        }
    }
}

impl Faults {
    /// The same fault both ways: `Faults::both_ways(|way| way.rate = Some(2875))`.
    pub fn both_ways(change: impl Fn(&mut Way)) -> Self {
        let mut faults = Self::default();
        change(&mut faults.up);
        change(&mut faults.down);
        faults
    }

    /// The weather so long after the proxy's start, and when it may change by itself.
    pub(super) fn weather(&self, since: Duration) -> (Weather, Option<Duration>) {
        let within = |spans: &[Span]| spans.iter().any(|span| span.at <= since && since < span.at.saturating_add(span.lasts));
        let weather = match () {
            () if self.dark || within(&self.blackouts) => Weather::Dark,
            () if self.refusing || within(&self.refusals) => Weather::Refusing,
            () => Weather::Clear,
        };
        let edges = self.blackouts.iter().chain(&self.refusals).flat_map(|span| [span.at, span.at.saturating_add(span.lasts)]);
        (weather, edges.filter(|edge| *edge > since).min())
    }
}

impl Way {
    /// Longest piece that moves at once: a byte for a drip, else what takes 20 ms at the rate, so that slow ways flow and do not jerk.
    pub(super) fn piece_len(&self) -> usize {
        match (self.drip, self.rate) {
            (Some(_), _) => 1,
            (None, Some(rate)) => usize::try_from(rate / 50).unwrap_or(usize::MAX).clamp(1, PIECE_LEN_MAX),
            (None, None) => PIECE_LEN_MAX,
        }
    }

    /// How long the way is busy with a piece.
    pub(super) fn busy(&self, len: usize) -> Duration {
        let sending = self.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(len as f64 / rate.max(1) as f64));
        sending.max(self.drip.unwrap_or_default())
    }

    /// How many bytes may be under way.
    pub(super) fn flight_len_max(&self, buffer_len: usize) -> usize {
        let on_air = self.rate.map_or(0.0, |rate| rate as f64 * (self.delay + self.jitter).as_secs_f64());
        buffer_len.saturating_add(on_air as usize)
    }
}

impl<T: Clone> Each<T> {
    /// The value for one connection, counted from 0.
    pub fn of(&self, connection: u64) -> Option<T> {
        match self {
            Self::None => None,
            Self::Every(value) => Some(value.clone()),
            Self::Successive(values) => values.get(usize::try_from(connection).ok()?).cloned().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_list_serves_one_connection_each() {
        let cuts = Each::Successive(vec![Some(3), None, Some(5)]);
        assert_eq!([0, 1, 2, 3].map(|index| cuts.of(index)), [Some(3), None, Some(5), None]);
        assert_eq!(Each::Every(7).of(99), Some(7));
        assert_eq!(Each::<u64>::None.of(0), None);
    }

    #[test]
    fn the_weather_changes_at_the_edges_of_its_spans() {
        let mut faults = Faults { blackouts: vec![Span { at: ms(100), lasts: ms(50) }], ..Faults::default() };
        faults.refusals = vec![Span { at: ms(140), lasts: ms(20) }];
        let check = |since, weather, next| assert_eq!(faults.weather(ms(since)), (weather, next), "{since} ms");
        check(0, Weather::Clear, Some(ms(100)));
        check(100, Weather::Dark, Some(ms(140)));
        check(149, Weather::Dark, Some(ms(150)));
        check(150, Weather::Refusing, Some(ms(160)));
        check(160, Weather::Clear, None);
    }

    #[test]
    fn pieces_are_short_where_the_way_is_slow() {
        let way = |rate, drip| Way { rate, drip, ..Way::default() };
        assert_eq!(way(None, None).piece_len(), PIECE_LEN_MAX);
        assert_eq!(way(Some(2875), None).piece_len(), 57);
        assert_eq!(way(Some(10), None).piece_len(), 1);
        assert_eq!(way(Some(1 << 40), None).piece_len(), PIECE_LEN_MAX);
        assert_eq!(way(Some(2875), Some(ms(5))).piece_len(), 1);
        assert_eq!(way(Some(1000), None).busy(20), ms(20));
        assert_eq!(way(Some(1000), Some(ms(50))).busy(1), ms(50));
    }
}
