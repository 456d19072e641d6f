//! What went through the proxy: exact, per connection and in all.

use super::faults::Ending;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Of so many connections, the latest, each is told by itself; older ones are in the sums only.
const TOLD_MAX: usize = 1000;

/// What went through so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Since the proxy's start.
    pub elapsed_ms: u64,
    /// Connections accepted so far.
    pub connection_count: u64,
    /// Of these, how many are still held: forwarded, black-holed or half-open.
    pub open_count: u64,
    /// Connections that ended at once, because nobody listened where the proxy leads.
    pub undialed_count: u64,
    /// From dialers to the listener, all connections.
    pub up: Carried,
    /// From the listener to dialers, all connections.
    pub down: Carried,
    /// The latest connections, oldest first, at most 1000.
    pub connections: VecDeque<Connection>,
}

/// Bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Taken from the sender.
    pub taken_len: u64,
    /// Given to the receiver.
    pub delivered_len: u64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Counted from 0.
    pub index: u64,
    /// Accepted, since the proxy's start.
    pub begun_ms: u64,
    /// Both sockets closed, since the proxy's start.
    pub ended_ms: Option<u64>,
    /// The cut that met it.
    pub cut: Option<Ending>,
    /// From the dialer to the listener.
    pub up: Carried,
    /// From the listener to the dialer.
    pub down: Carried,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Up,
    Down,
}

/// Where connections write what they carried.
pub(super) struct Ledger {
    begun: Instant,
    counts: Mutex<Counts>,
}

impl Ledger {
    pub(super) fn new(begun: Instant) -> Self {
        let nothing = Carried::default();
        let counts =
            Counts { elapsed_ms: 0, connection_count: 0, open_count: 0, undialed_count: 0, up: nothing, down: nothing, connections: VecDeque::new() };
        Self { begun, counts: Mutex::new(counts) }
    }

    /// When the proxy started.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.lock().clone();
        counts.elapsed_ms = self.elapsed_ms();
        counts
    }

    /// A connection was accepted; its number.
    pub(super) fn begin(&self) -> u64 {
        let begun_ms = self.elapsed_ms();
        let mut counts = self.lock();
        let index = counts.connection_count;
        counts.connection_count += 1;
        counts.open_count += 1;
        if counts.connections.len() == TOLD_MAX {
            counts.connections.pop_front();
        }
        let nothing = Carried::default();
        counts.connections.push_back(Connection { index, begun_ms, ended_ms: None, cut: None, up: nothing, down: nothing });
        index
    }

    pub(super) fn taken(&self, index: u64, side: Side, len: usize) {
        self.carried(index, side, |carried| carried.taken_len += len as u64);
    }

    pub(super) fn delivered(&self, index: u64, side: Side, len: usize) {
        self.carried(index, side, |carried| carried.delivered_len += len as u64);
    }

    pub(super) fn cut(&self, index: u64, ending: Ending) {
        if let Some(connection) = told(&mut self.lock(), index) {
            connection.cut = Some(ending);
        }
    }

    pub(super) fn undialed(&self) {
        self.lock().undialed_count += 1;
    }

    pub(super) fn end(&self, index: u64) {
        let ended_ms = self.elapsed_ms();
        let mut counts = self.lock();
        counts.open_count -= 1;
        if let Some(connection) = told(&mut counts, index) {
            connection.ended_ms = Some(ended_ms);
        }
    }

    fn carried(&self, index: u64, side: Side, add: impl Fn(&mut Carried)) {
        let mut counts = self.lock();
        add(if side == Side::Up { &mut counts.up } else { &mut counts.down });
        if let Some(connection) = told(&mut counts, index) {
            add(if side == Side::Up { &mut connection.up } else { &mut connection.down });
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's own line, unless it is too old to be told.
fn told(counts: &mut Counts, index: u64) -> Option<&mut Connection> {
    let oldest = counts.connections.front()?.index;
    counts.connections.get_mut(usize::try_from(index.checked_sub(oldest)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_connections_are_in_the_sums_only() {
        let ledger = Ledger::new(Instant::now());
        for _ in 0..=TOLD_MAX {
            let index = ledger.begin();
            ledger.taken(index, Side::Up, 3);
        }
        ledger.delivered(0, Side::Up, 2);
        ledger.end(0);
        let counts = ledger.counts();
        assert_eq!((counts.connections.len(), counts.connections[0].index), (TOLD_MAX, 1));
        assert_eq!(counts.up, Carried { taken_len: 3 * (TOLD_MAX as u64 + 1), delivered_len: 2 });
        assert_eq!(counts.open_count, TOLD_MAX as u64);
    }
}
