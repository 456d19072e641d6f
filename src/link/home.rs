//! The node behind an exchange: what the driver asks of it, and what it answers.
//!
//! Not here: who it is (`node::hop`), when it is asked (`drive`).

use crate::carry::exchange::{Action, Exchange};
use bundle_format::error::Code;
use bundle_format::manifest::Manifest;
use bundle_format::range::Range;

/// The node behind an exchange. Each method may wait for it; none may wait for the peer.
#[expect(async_fn_in_trait, reason = "one thread: nothing here is sent to another")]
pub trait Home {
    /// Do what the exchange asks.
    async fn act(&mut self, action: Action) -> Result<Answer, Refusal>;
    /// Make everything that was taken durable; what may be acknowledged then goes to `exchange`.
    async fn durable(&mut self) -> Result<Vec<Due>, Refusal>;
    /// The next range.
    async fn cut(&mut self, room: Room) -> Result<Cut, Refusal>;
    /// Returns when there may be something new to send; an error when the peer may not be talked to any more. It may be begun again and again: what it has
    /// heard stays heard.
    async fn changed(&mut self) -> Result<(), Refusal>;
    /// Something moved: for people who watch.
    fn moved(&mut self, exchange: &Exchange);
}

/// What there is room for on the link.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// About so many bytes are wanted …
    pub len: u64,
    /// … and no more than these fit.
    pub most: u64,
    /// Bytes a second, where known.
    pub rate: Option<u64>,
}

/// What comes of cutting.
#[derive(Debug)]
pub enum Cut {
    /// The peer lacks nothing.
    Nothing,
    /// What is next cannot be as short as there is room for.
    TooLong,
    /// This.
    Range(Range),
}

/// What the node answers to an [`Action`].
#[derive(Debug)]
pub enum Answer {
    /// Nothing the peer must hear.
    Nothing,
    /// Our introduction, and our hello again.
    Introduction(Vec<Range>, Greeting),
    /// The stranger is known now: our hello; or it is not.
    Identified(Option<Greeting>),
    /// The peer has lost state: it told this receipt number before.
    Lost(u64),
    /// A range that does not count: how far we hold its history.
    Again(Due, bundle_format::vector::Tag, bundle_format::message::Reason),
}

/// Our hello.
#[derive(Debug)]
pub struct Greeting {
    /// What we hold, in pages.
    pub pages: Vec<Manifest>,
    /// Bytes that may be on their way to us at once.
    pub window: u64,
    /// Bytes we take in all.
    pub take: Option<u64>,
}

/// A history, held up to here.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// Whose.
    pub origin: bundle_format::ids::Origin,
    /// Up to where.
    pub seq: u64,
}

/// Why the node does not go on: a row of the table for the peer, and words for our own side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// The row.
    pub code: Code,
    /// What happened, for our own people.
    pub why: String,
}
