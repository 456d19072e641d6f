//! The roster as `bundle_format` asks for it while a bundle is opened.

use super::roster::Roster;
use super::roster_event::RosterEvent;
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

    /// Fold what lies right behind our head, as far as the range itself vouches for it (R8.3-l). A range that starts later or runs on another branch teaches
    /// nothing here, unless it replaces the authority's key: then we go on from there, or could not read what the new key has signed.
    fn learn(&mut self, range: &VerifiedRange) {
        if !self.is_roster(&range.origin()) {
            return;
        }
        let (head, start) = (self.head(), range.run().start());
        if !self.is_forked() && range.position(head.seq) == Some(head) {
            self.follow(range);
        } else if start.seq <= head.seq || self.open_branches().contains(&start) {
            let mut other = self.clone();
            other.go_on_from(start);
            other.follow(range);
            if !other.counts_under(self.newest_number()) {
                *self = other;
            }
        }
    }
}

impl Roster {
    fn follow(&mut self, range: &VerifiedRange) {
        let mut position = self.head();
        let known = position.seq;
        for ((seq, bytes), digest) in range.events().zip(range.digests()).skip_while(|((seq, _), _)| *seq <= known) {
            position = position.then(digest);
            let Ok(event) = Event::from_bytes(bytes) else { return };
            let mut covering = range.checkpoints().iter().filter(|(at, _)| at.seq >= seq);
            if RosterEvent::is_kind(event.kind) && !covering.any(|(_, checkpoint)| self.counts_under(checkpoint.key_number)) {
                return; // behind a rekey: what another range vouches for is learned from the log
            }
            let _ = self.apply(position, &event); // what has no effect is remembered by the fold
        }
    }
}
