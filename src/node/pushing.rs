//! What a node gives to a push: its own histories, a place for large payloads to wait, the events that a base names.

use super::error::NodeError;
use super::local::About;
use super::log::find_event;
use super::{Node, View};
use crate::keys::Member;
use crate::keys::naming::NamingError;
use crate::ports::store::{Log as _, Stream};
use crate::push::spool::Spool;
use crate::push::{self, Fields, PushError, Pushed, Pusher, Skew};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{EventId, Lane, NodeId};
use std::rc::Rc;

/// What a push is about, understood: nodes and events are those the names stood for.
pub struct Intent {
    /// How urgent.
    pub lane: Lane,
    /// Whom it is for.
    pub audiences: Vec<NodeId>,
    /// The rest.
    pub fields: Fields,
}

impl Node {
    /// Understand what somebody beside us wants to push.
    ///
    /// # Errors
    /// Z404, Z405, Z406, Z616, before any payload is taken.
    pub fn intend(&self, about: &About) -> Result<Intent, NodeError> {
        let lane = Lane::from_name(&about.lane).filter(|lane| *lane != Lane::Control);
        let lane = lane.ok_or_else(|| NodeError::refused(Code::Z404, format!("no lane for people: {}", about.lane)))?;
        let audiences = about.audiences.iter().map(|name| self.naming().parse_node(name).map_err(|error| unnamed(&error)));
        let audiences: Vec<NodeId> = audiences.collect::<Result<_, _>>()?;
        self.refuse_revoked(&audiences)?;
        self.push_streams(lane, &audiences)?;
        let base = about.base.as_ref().map(|ids| self.base(ids, about.record_key.as_deref())).transpose()?;
        let About { kind, record_key, content_type, idempotency_key, author, .. } = about.clone();
        let fields = Fields { kind, record_key, base, content_type, idempotency_key, author, ..Fields::default() };
        fields.check()?;
        Ok(Intent { lane, audiences, fields })
    }

    /// Append payloads; their ids, one per audience. Durable only after a sync.
    ///
    /// # Errors
    /// What the log says, or the roster by now.
    pub fn append_payloads(&mut self, intent: &Intent, payloads: &[Vec<u8>]) -> Result<Vec<Vec<String>>, NodeError> {
        let streams = self.push_streams(intent.lane, &intent.audiences)?;
        let pushed = self.with_pusher(&streams, |pusher| {
            let push = |payload: &Vec<u8>| pusher.push(&intent.fields, payload.len() as u64, &mut payload.as_slice());
            let pushed: Vec<_> = payloads.iter().map(push).collect::<Result<_, _>>()?;
            pusher.flush()?;
            Ok::<_, PushError>(pushed)
        })?;
        let names: Vec<_> = streams.iter().map(|stream| self.naming().origin(&stream.origin)).collect();
        Ok(pushed.iter().map(|events| names.iter().zip(events).map(|(name, (_, seq))| format!("{name}:{seq}")).collect()).collect())
    }

    /// How people name what was pushed.
    pub fn pushed_ids(&self, events: &[Pushed]) -> Vec<String> {
        events.iter().map(|(stream, seq)| format!("{}:{seq}", self.naming().origin(&stream.origin))).collect()
    }

    /// How our clock and our stamps stand apart, if that is worth telling (Z305).
    pub fn skew(&self) -> Option<Skew> {
        let now_ms = self.ports.clock.now_ms();
        Skew::between(push::last_stamp(&self.wal, &self.keyring.node(), now_ms), now_ms)
    }

    /// Nothing travels to whoever is revoked: a person, or a program of theirs, must hear that before it is stored.
    ///
    /// # Errors
    /// Z616.
    pub fn refuse_revoked(&self, audiences: &[NodeId]) -> Result<(), NodeError> {
        let revoked = audiences.iter().find(|node| self.roster.member(node).is_some_and(Member::is_revoked));
        let why = |node| format!("{} is revoked and would never get it", self.naming().node(node));
        revoked.map_or(Ok(()), |node| Err(NodeError::refused(Code::Z616, why(node))))
    }

    /// Our streams that a push in `lane` to `audiences` goes to: the undirected one when nobody is named.
    ///
    /// # Errors
    /// Z616 for ourselves, Z406 for an id that is no member's, Z417 for a history too many.
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
        self.refuse_one_too_many(&streams)?;
        Ok(streams)
    }

    /// Others would leave it out. An eighth of what they take is for lives to come, which must write again what they have lost (R6.2-j).
    fn refuse_one_too_many(&self, streams: &[Stream]) -> Result<(), NodeError> {
        let me = self.keyring.node();
        let new = streams.iter().filter(|stream| self.wal.head(stream).is_none()).count();
        let most = self.roster.history_count_max(&me) / 8 * 7;
        if new == 0 || self.wal.count_of(&me) + new <= most {
            return Ok(());
        }
        Err(NodeError::refused(Code::Z417, format!("{most} histories, and {new} more would be begun")))
    }

    /// Push to `streams`, which [`Node::push_streams`] chose.
    pub fn with_pusher<T>(&mut self, streams: &[Stream], run: impl FnOnce(&mut Pusher<'_>) -> T) -> T {
        run(&mut Pusher::new(&mut self.wal, Rc::clone(&self.ports.clock), &self.keyring.node(), streams))
    }

    /// Where a large payload waits, sealed, until all of it is here.
    pub fn spool(&self) -> Spool {
        Spool::new(&self.ports, self.layout.root())
    }

    /// The events that a writer of this record names as seen (R11.1-b).
    ///
    /// # Errors
    /// Z405 when one is not held here, or in two branches; Z404 when it is about another record.
    pub fn base(&self, ids: &[String], record_key: Option<&str>) -> Result<Vec<EventId>, NodeError> {
        let one_of_it = |text: &String| {
            let reference = self.naming().parse_event(text).map_err(|error| unnamed(&error))?;
            let (stream, id) = one(text, &find_event(self.log(), &reference)?)?;
            let mut events = self.wal.events(&stream, id.seq)?;
            let event = events.next()?.and_then(|(_, bytes)| Event::from_bytes(bytes).ok());
            let is_of_it = record_key.is_some() && event.is_some_and(|event| event.ext.record_key == record_key);
            if is_of_it { Ok(id) } else { Err(NodeError::refused(Code::Z404, format!("base: {text} is not about the record that is written"))) }
        };
        ids.iter().map(one_of_it).collect()
    }

    /// The event that somebody names.
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
