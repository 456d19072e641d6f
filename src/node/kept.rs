//! What is kept back from a peer though it may see it and lacks it: what no vector holds, and what the peer would leave out. SPEC R6.2-j, R6.2-k.

use super::Node;
use super::error::NodeError;
use super::known::{self, Word};
use super::naming::Naming;
use super::peers::Peer;
use crate::cut::share;
use crate::keys::Roster;
use crate::ports::store::{Head, Log, StoreError, Stream};
use bundle_format::ids::{NodeId, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// What is kept back from one peer. Nothing, as long as nobody begins histories without end.
#[derive(Debug, Default)]
pub(super) struct KeptBack {
    /// It is not told of these either.
    beyond: BTreeSet<Stream>,
    /// Of these it takes no more histories than it has.
    filled: BTreeSet<NodeId>,
    /// Always taken.
    roster: Option<Origin>,
}

impl KeptBack {
    /// Whether `stream` is kept back from the peer of this record. One that has more of it than we do gets nothing of it but a branch, which it would leave out.
    pub(super) fn has(&self, log: &dyn Log, peer: &Peer, stream: &Stream) -> Result<bool, StoreError> {
        if self.beyond.contains(stream) {
            return Ok(true);
        }
        let is_filled = self.filled.contains(&stream.origin.node) && self.roster != Some(stream.origin);
        Ok(is_filled && !matches!(known::word(log, peer, stream)?, Word::Holds(_)))
    }
}

impl Node {
    /// What is kept back from `node`, which told what stands in `peer`. Its own histories it takes all.
    pub(super) fn kept_back(&self, node: &NodeId, peer: &Peer) -> Result<KeptBack, NodeError> {
        let mut filled = known::filled(peer, &|writer| self.roster.history_count_max(writer));
        filled.remove(node);
        let beyond = self.beyond_vector(node, &self.tellable(node, peer)?);
        Ok(KeptBack { beyond, filled, roster: Some(self.roster.pin().roster_origin()) })
    }

    /// Which of what `node` may be told no vector holds beside the rest; never its own, for by what it is told of that it sees what it has lost.
    pub(super) fn beyond_vector(&self, node: &NodeId, tellable: &[(Stream, Head)]) -> BTreeSet<Stream> {
        let is_due = |stream: &Stream| stream.origin.node == *node || self.roster.is_roster(&stream.origin);
        share::kept_back(tellable, &|writer| self.roster.history_count_max(writer), &is_due)
    }
}

/// A member that has begun as many histories as others take of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Its name.
    pub name: String,
    /// Histories of it that are held here.
    pub histories: usize,
}

/// Those of whom so much is held.
pub(super) fn crowds(roster: &Roster, naming: &Naming<'_>, streams: &[(Stream, Head)]) -> Vec<Crowd> {
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (stream, _) in streams {
        *counts.entry(stream.origin.node).or_default() += 1;
    }
    counts.retain(|node, histories| *histories >= roster.history_count_max(node));
    counts.iter().map(|(node, histories)| Crowd { name: naming.node(node), histories: *histories }).collect()
}
