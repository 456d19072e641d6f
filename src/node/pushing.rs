//! Where a push goes: which of our histories, with which stamp.

use super::Node;
use super::error::NodeError;
use crate::ports::store::Stream;
use crate::push::{self, Pusher};
use bundle_format::error::Code;
use bundle_format::ids::{Lane, NodeId};

impl Node {
    /// Our streams that a push in `lane` to `audiences` goes to: the undirected one when nobody is named.
    ///
    /// # Errors
    /// Z616 for ourselves, Z406 for nobody's id when we have joined a domain.
    pub fn push_streams(&self, lane: Lane, audiences: &[NodeId]) -> Result<Vec<Stream>, NodeError> {
        let mut streams = Vec::new();
        for node in audiences {
            if *node == self.keyring.node() {
                return Err(NodeError::refused(Code::Z616, "an event cannot be directed to its own node"));
            }
            if self.roster.member(node).is_none() {
                return Err(NodeError::refused(Code::Z406, self.naming().node(node)));
            }
            let stream = Stream::main(self.own_origin(lane, Some(*node)));
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        if streams.is_empty() {
            streams.push(Stream::main(self.own_origin(lane, None)));
        }
        Ok(streams)
    }

    /// Whether the clock stands more than a day past our last stamp (Z305).
    pub fn clock_jumped(&self) -> bool {
        let now = self.ports.clock.now_ms();
        push::clock_jumped(push::last_stamp(&self.wal, &self.keyring.node(), now), now)
    }

    /// Push to `streams`, which [`Node::push_streams`] chose.
    pub fn with_pusher<T>(&mut self, streams: &[Stream], run: impl FnOnce(&mut Pusher<'_>) -> T) -> T {
        let clock = self.ports.clock.clone();
        let now = move || clock.now_ms();
        let last = push::last_stamp(&self.wal, &self.keyring.node(), now());
        run(&mut Pusher::new(&mut self.wal, &now, last, streams))
    }
}
