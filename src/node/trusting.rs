//! What opening a bundle asks of us: the roster says who may sign, the log lends history. Both read only.

use crate::keys::Roster;
use crate::ports::store::{Log, Stream};
use bundle_format::chain::digest;
use bundle_format::event::Event;
use bundle_format::ids::{DomainId, NodeId, Origin};
use bundle_format::limits::PREFIX_LEN_MAX;
use bundle_format::range::VerifiedRange;
use bundle_format::sign::VerifyingKey;
use bundle_format::trust::{History, Trust};
use std::io;

/// A copy of the roster that a bundle may teach before anything of it counts.
pub struct RosterTrust {
    roster: Roster,
}

impl RosterTrust {
    /// Start from what we know.
    pub fn new(roster: &Roster) -> Self {
        Self { roster: roster.clone() }
    }

    /// The roster as it was taught.
    pub fn into_roster(self) -> Roster {
        self.roster
    }
}

impl Trust for RosterTrust {
    fn domain(&self) -> DomainId {
        self.roster.domain()
    }

    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        self.roster.signer(node, key_number)
    }

    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool {
        self.roster.sender(node, key).is_some()
    }

    fn is_roster(&self, origin: &Origin) -> bool {
        self.roster.is_roster(origin)
    }

    /// Events right behind what we know; another branch or an early range teaches nothing here and is judged when it is applied.
    fn learn(&mut self, range: &VerifiedRange) {
        let run = range.run();
        let mut position = run.start();
        let mut continues = position == self.roster.head();
        for bytes in run.events() {
            position = position.then(&digest(bytes));
            if continues {
                if let Ok(event) = Event::from_bytes(bytes) {
                    let _ = self.roster.apply(position, &event); // what has no effect is remembered by the fold
                }
            }
            continues |= position == self.roster.head();
        }
    }
}

/// History that primed ranges build on, read from the log.
pub struct LogHistory<'a>(pub &'a dyn Log);

impl History for LogHistory<'_> {
    fn prefix(&mut self, origin: &Origin, first: u64, count: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut events = self.0.events(&Stream::main(*origin), first).map_err(io::Error::other)?;
        for _ in 0..count {
            match events.next().map_err(io::Error::other)? {
                Some((_, event)) if bytes.len() + event.len() <= PREFIX_LEN_MAX => bytes.extend_from_slice(event),
                _ => return Ok(None),
            }
        }
        Ok(Some(bytes))
    }
}
