//! What is kept back from a peer though it may see it and lacks it: what no vector holds, and what the peer would leave out. SPEC R6.2-j, R6.2-k.

use super::Node;
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
    /// Neither told nor sent, to nobody.
    beyond: BTreeSet<Stream>,
    /// Of these it takes no more histories than it has.
    filled: BTreeSet<NodeId>,
    /// Always taken.
    roster: Option<Origin>,
}

impl KeptBack {
    /// Whether `stream` is kept back from the peer of this record.
    pub(super) fn has(&self, log: &dyn Log, peer: &Peer, stream: &Stream) -> Result<bool, StoreError> {
        if self.beyond.contains(stream) {
            return Ok(true);
        }
        let is_filled = self.filled.contains(&stream.origin.node) && self.roster != Some(stream.origin);
        Ok(is_filled && matches!(known::word(log, peer, stream)?, Word::Silent | Word::Differs(_)))
    }
}

impl Node {
    /// What is kept back from `node`, which told what stands in `peer`. Its own histories it takes all.
    pub(super) fn kept_back(&self, node: &NodeId, peer: &Peer, streams: &[(Stream, Head)]) -> KeptBack {
        let mut filled = known::filled(peer, &|writer| self.roster.history_count_max(writer));
        filled.remove(node);
        KeptBack { beyond: beyond_vector(&self.roster, streams), filled, roster: Some(self.roster.pin().roster_origin()) }
    }
}

/// Which of `streams` are told and sent to nobody, for no vector holds all of them.
pub(super) fn beyond_vector(roster: &Roster, streams: &[(Stream, Head)]) -> BTreeSet<Stream> {
    share::kept_back(streams, &roster.pin().roster_origin(), &|writer| roster.history_count_max(writer))
}

/// A member that has begun as many histories as others take of it, or more than a vector has room for.
#[derive(Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Its name.
    pub name: String,
    /// Histories of it that are held here.
    pub histories: usize,
    /// How many of these are told and sent to nobody.
    pub kept_back: usize,
}

/// Those of whom so much is held.
pub(super) fn crowds(roster: &Roster, naming: &Naming<'_>, streams: &[(Stream, Head)]) -> Vec<Crowd> {
    let beyond = beyond_vector(roster, streams);
    let mut counts: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
    for (stream, _) in streams {
        let (histories, kept_back) = counts.entry(stream.origin.node).or_default();
        *histories += 1;
        *kept_back += usize::from(beyond.contains(stream));
    }
    counts.retain(|node, (histories, kept_back)| *kept_back > 0 || *histories >= roster.history_count_max(node));
    let crowd =
        |(node, (histories, kept_back)): (&NodeId, &(usize, usize))| Crowd { name: naming.node(node), histories: *histories, kept_back: *kept_back };
    counts.iter().map(crowd).collect()
}
