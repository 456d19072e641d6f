//! What a sync would send, without sending it.

use super::Node;
use super::error::NodeError;
use super::session::{ByLane, Session};
use super::workshop::Workshop;
use crate::carry::pace::Pace;
use bundle_format::ids::NodeId;
use bundle_format::logs::LogTable;
use bundle_format::vector::Salt;

/// What TLS and the exchange add to a range on the link.
const RECORD_LEN: u64 = 28;

/// What a sync would send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foretold {
    /// Events, by lane.
    pub events: ByLane,
    /// Bytes on the link, by lane; handshake and hellos not counted.
    pub bytes: ByLane,
}

impl Node {
    /// Events that `peer` lacks, by lane, as far as its last word tells.
    ///
    /// # Errors
    /// What its file or the log says.
    pub fn lacking(&mut self, peer: &NodeId) -> Result<ByLane, NodeError> {
        Session::begin(self, *peer, Salt([0; 32]))?.remaining(self)
    }

    /// What a sync with `peer` would send now, as far as its last word tells: events and bytes by lane, on a link of `rate` bytes a second. Nothing is
    /// sent; own histories are signed as they would be.
    ///
    /// # Errors
    /// What the log says.
    pub fn foretell(&mut self, peer: &NodeId, workshop: &mut Workshop, rate: Option<u64>) -> Result<Foretold, NodeError> {
        let mut session = Session::begin(self, *peer, Salt([0; 32]))?;
        workshop.know_speed(session.record(), &*self.ports.clock);
        let mut foretold = Foretold { events: session.remaining(self)?, ..Foretold::default() };
        let pace = Pace::new(rate, session.record().link.round_trip_ms);
        while let Some(range) = session.next_range(self, workshop, pace.range_len(), rate)? {
            let len = range.wire_len(&LogTable::default()).unwrap_or(0) + RECORD_LEN;
            foretold.bytes[range.origin.lane as usize] += len;
            session.mixing.wait(pace.time_ms(len)); // the peer's work is granted by the second
        }
        Ok(foretold)
    }
}
