//! What a node gives to a push: its own histories, a place for large payloads to wait, the events that a base names.

use super::error::NodeError;
use super::log::find_event;
use super::{Node, View};
use crate::keys::naming::NamingError;
use crate::ports::store::Stream;
use crate::push::Pusher;
use crate::push::spool::Spool;
use bundle_format::error::Code;
use bundle_format::ids::{EventId, Lane, NodeId};
use std::rc::Rc;

impl Node {
    /// Our streams that a push in `lane` to `audiences` goes to: the undirected one when nobody is named.
    ///
    /// # Errors
    /// Z616 for ourselves, Z406 for an id that is no member's.
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

    /// Push to `streams`, which [`Node::push_streams`] chose.
    pub fn with_pusher<T>(&mut self, streams: &[Stream], run: impl FnOnce(&mut Pusher<'_>) -> T) -> T {
        run(&mut Pusher::new(&mut self.wal, Rc::clone(&self.ports.clock), &self.keyring.node(), streams))
    }

    /// Where a large payload waits, sealed, until all of it is here.
    pub fn spool(&self) -> Spool {
        Spool::new(&self.ports, self.layout.root())
    }

    /// The event a writer names as seen.
    ///
    /// # Errors
    /// Z405 when it is not held here, or in two branches.
    pub fn event_id(&self, text: &str) -> Result<EventId, NodeError> {
        let reference = self.naming().parse_event(text).map_err(|error| unnamed(&error))?;
        Ok(one(text, &find_event(self.log(), &reference)?)?.1)
    }
}

impl View {
    /// The event a reader names, and where it stands.
    ///
    /// # Errors
    /// Z405 when it is not held here, or in two branches.
    pub fn event(&self, text: &str) -> Result<(Stream, EventId), NodeError> {
        let reference = self.naming().parse_event(text).map_err(|error| unnamed(&error))?;
        one(text, &find_event(self.log(), &reference)?)
    }
}

fn unnamed(error: &NamingError) -> NodeError {
    NodeError::refused(error.code(), error.to_string())
}

fn one(text: &str, found: &[(Stream, EventId)]) -> Result<(Stream, EventId), NodeError> {
    match found {
        [only] => Ok(*only),
        [] => Err(NodeError::refused(Code::Z405, format!("{text} is not held here"))),
        _ => {
            Err(NodeError::refused(Code::Z405, format!("{text} stands in both branches of a fork; add .d and its digest, as `zbundle log` shows it")))
        }
    }
}
