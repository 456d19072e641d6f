//! The roster as `bundle_format` asks for it while a bundle is opened.

use super::roster::Roster;
use super::standing::EventStanding;
use bundle_format::chain::Position;
use bundle_format::event::Event;
use bundle_format::ids::{DomainId, NodeId, Origin};
use bundle_format::range::VerifiedRange;
use bundle_format::sign::VerifyingKey;
use bundle_format::trust::Trust;

impl Trust for Roster {
    fn domain(&self) -> DomainId {
        self.domain()
    }

    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        self.signer(node, key_number)
    }

    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool {
        self.sender(node, key).is_some()
    }

    fn is_roster(&self, origin: &Origin) -> bool {
        self.is_roster(origin)
    }

    /// Fold what lies right behind our head; a range that starts later or runs on another branch teaches nothing here.
    fn learn(&mut self, range: &VerifiedRange) {
        let head = self.head();
        if !self.is_roster(&range.origin()) || range.position(head.seq) != Some(head) {
            return;
        }
        let mut position = head;
        let behind = range.events().zip(range.digests()).skip_while(|((seq, _), _)| *seq <= head.seq);
        for ((seq, bytes), digest) in behind {
            position = position.then(digest);
            let Ok(event) = Event::from_bytes(bytes) else { return };
            let covering = range.checkpoints().iter().filter(|(at, _)| at.seq >= seq).map(|(_, checkpoint)| checkpoint.key_number);
            // What has no effect is remembered by the fold.
            let _ = match self.best_key(&position, covering) {
                Some(number) => self.apply_under(position, &event, number),
                None => return, // a verified range ends with a checkpoint
            };
        }
    }
}

impl Roster {
    /// Of the authority's keys that cover the roster event at `position`, one under which it counts here and now; else any; `None` of none.
    pub(super) fn best_key(&self, position: &Position, covering: impl Iterator<Item = u64>) -> Option<u64> {
        let origin = self.pin().roster_origin();
        let mut any = None;
        for number in covering {
            if self.standing(&origin, position.seq, number, |_| None) == EventStanding::Good {
                return Some(number);
            }
            any = Some(number);
        }
        any
    }
}
