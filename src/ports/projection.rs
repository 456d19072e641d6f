//! The log as tables: where rows of events are put, and what is asked of them. `adapters` keeps them in SQLite.
//!
//! Nothing here decides: which rows, when, and what a record's heads are is `node`'s and `project`'s.

use super::store::Stream;
use bundle_format::chain::Position;
use bundle_format::error::Code;
use bundle_format::event::Op;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Hash, Incarnation, Lane, NodeId, Origin, from_hex, hex};

/// How far one history has been projected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which.
    pub stream: Stream,
    /// Up to this event.
    pub seq: u64,
    /// The chain hash there: another past shows as another hash. `None` behind events that could not be read, as long as the head is not reached.
    pub hash: Option<Hash>,
    /// Events up to this one count; later ones stand under an ended key (R8.3-h).
    pub counted: u64,
    /// Events that rotted, and are in no row: the first and the last of each stretch, ascending.
    pub lacking: Vec<(u64, u64)>,
}

impl Place {
    /// Before the first event behind `base`.
    pub fn new(stream: Stream, base: Position, counted: u64) -> Self {
        Self { stream, seq: base.seq, hash: Some(base.hash), counted, lacking: Vec::new() }
    }

    /// Whether everything up to `end` has been projected, of the history that ends there.
    pub fn is_at(&self, end: Position) -> bool {
        (self.seq, self.hash) == (end.seq, Some(end.hash))
    }

    /// Behind one event more.
    pub fn pass(&mut self, event: &Hash) {
        let next = self.hash.map(|hash| Position { seq: self.seq, hash }.then(event).hash);
        (self.seq, self.hash) = (self.seq + 1, next);
    }

    /// Behind a stretch that cannot be read.
    pub fn pass_over(&mut self, lost: (u64, u64)) {
        self.lacking.push(lost);
        (self.seq, self.hash) = (lost.1, None);
    }

    /// A stretch that was passed when it could be read no longer can.
    pub fn lack(&mut self, lost: (u64, u64)) {
        self.lacking.push(lost);
        self.lacking.sort_unstable();
    }

    /// Whether an event from `first` to `last` could not be read.
    pub fn lacks(&self, first: u64, last: u64) -> bool {
        self.lacking.iter().any(|lost| lost.0 <= last && first <= lost.1)
    }
}

/// A whole payload as a row holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Any bytes.
    Bytes(&'a [u8]),
    /// Too large for a row, or not wanted in this file; the log has it.
    Elsewhere,
}

/// One event with its whole payload.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// In which history or branch it stands.
    pub stream: Stream,
    /// The first part's, if there are several.
    pub id: EventId,
    /// Its stamp.
    pub hlc: Hlc,
    /// Its type.
    pub kind: &'a str,
    /// Which record it is about.
    pub record_key: Option<&'a str>,
    /// What its writer had seen; `None` is left only where that is told by `orig`.
    pub base: Option<Vec<EventId>>,
    /// What it does to its record.
    pub op: Op,
    /// The event it repeats.
    pub orig: Option<EventId>,
    /// `None` is `application/json`.
    pub content_type: Option<&'a str>,
    /// Who wrote it.
    pub author: Option<&'a str>,
    /// What names its push.
    pub idempotency_key: Option<&'a str>,
    /// Bytes of the payload.
    pub len: u64,
    /// SHA-256 of the payload.
    pub sha256: Hash,
    /// The payload.
    pub content: Content<'a>,
    /// Whether it counts (R8.3-h).
    pub counts: bool,
}

/// What the fold needs to know of one event of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: EventId,
    /// The event it repeats (ext 13).
    pub orig: Option<EventId>,
    /// What its writer had seen; `None`: what stood before `orig`.
    pub base: Option<Vec<EventId>>,
    /// Its stamp.
    pub hlc: Hlc,
    /// Its type.
    pub kind: String,
    /// What it does.
    pub op: Op,
    /// SHA-256 of its payload.
    pub sha256: Hash,
    /// Who wrote it.
    pub author: Option<String>,
}

/// How a record stands (R11.1-i).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// One version, or several that say the same.
    Settled,
    /// Several, and an event that one of them builds on is not here yet: no conflict, as far as we can know.
    Pending,
    /// Several that differ.
    Conflict,
    /// Several that differ, and a rule says that they stand side by side (R11.3-c): nobody has to decide.
    Appended,
    /// It is gone.
    Deleted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Settled, Self::Pending, Self::Conflict, Self::Appended, Self::Deleted];

    /// Its name in tables and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Pending => "pending",
            Self::Conflict => "conflict",
            Self::Appended => "appended",
            Self::Deleted => "deleted",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether versions of the record differ, whatever is to be done about it.
    pub fn differs(self) -> bool {
        matches!(self, Self::Pending | Self::Conflict | Self::Appended)
    }
}

/// What the versions of a record come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// How it stands.
    pub state: State,
    /// Versions that no other names as seen; the one displayed first (R11.1-e). As many of them as were asked for.
    pub heads: Vec<EventId>,
    /// How many there are.
    pub head_count: u64,
    /// Events that versions build on and that are not held here.
    pub waiting: Vec<EventId>,
    /// Versions name each other in a ring, so all of them are heads.
    pub circular: bool,
}

/// Whether the versions of a record follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// No version of it that counts is held.
    Nothing,
    /// They do: this one is its only head, and nothing is waited for.
    EndsWith(EventId),
    /// They do not, or some are repetitions.
    Tangled,
}

/// One peer, as the node remembers it beside its log. Times are milliseconds since 1970 by our clock, 0 when never.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerRow {
    /// Which.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// When something last came from it.
    pub heard_ms: u64,
    /// By which path that came.
    pub path: &'static str,
    /// By what exactly, when that is known.
    pub via: String,
    /// How long it may be unheard before it counts as silent.
    pub silent_after_ms: u64,
    /// Events of its own that are here.
    pub held: u64,
    /// Events of its own that it said it has and that are not here.
    pub lacking: u64,
    /// Events of ours that it has acknowledged.
    pub acknowledged: u64,
    /// Events of ours that it may see and has not acknowledged.
    pub unacknowledged: u64,
    /// Where it listens, when somebody said so.
    pub address: Option<String>,
    /// When the link last had everything on both sides.
    pub settled_ms: u64,
}

/// An event that tells of a conflict, and its stamp.
pub type Notice = (EventId, Hlc);

/// One bundle that came in a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BundleRow {
    /// It was taken whole.
    Taken {
        /// Half the SHA-256 of what its signature is over.
        digest: [u8; 16],
        /// Who sealed it.
        sender: NodeId,
        /// Payloads in it, without the nodes' own notes.
        events: u64,
    },
    /// It was refused, and a copy is kept.
    Refused {
        /// Its code.
        code: String,
        /// What was wrong with it.
        reason: String,
        /// Where it came from.
        file: String,
    },
}

/// Why the tables did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// SQLite said no.
    #[error("{0}")]
    Database(String),
    /// The file is in use, longer than we wait.
    #[error("another program is writing to it: {0}")]
    Busy(String),
    /// There is no space.
    #[error("{0}")]
    Full(String),
    /// A row is not what was put there.
    #[error("a row of {0} is not what zbundle wrote")]
    Damaged(&'static str),
    /// The file is a database that is not ours, or of a later version.
    #[error("it is a database of something else, or of a later version (application {application:#x}, version {version})")]
    Foreign {
        /// What the file says it belongs to.
        application: i64,
        /// … and its version.
        version: i64,
    },
}

impl ProjectionError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Full(_) => Code::Z203,
            Self::Busy(_) => Code::Z104,
            Self::Foreign { .. } => Code::Z411,
            Self::Database(_) | Self::Damaged(_) => Code::Z410,
        }
    }
}

/// Tables made from the log. What is put between [`Projection::begin`] and [`Projection::commit`] is there whole or not at all.
#[expect(clippy::missing_errors_doc, reason = "every method fails with what ProjectionError says")]
pub trait Projection {
    /// Whether rows hold payloads.
    fn holds_payloads(&self) -> bool;
    /// Whether the file that was opened is still the one at its place: somebody may have thrown it away.
    fn is_in_place(&self) -> bool;
    /// How far each history has been projected, sorted.
    fn places(&mut self) -> Result<Vec<Place>, ProjectionError>;
    /// Begin a transaction; one left open is undone first.
    fn begin(&mut self) -> Result<(), ProjectionError>;
    /// End it.
    fn commit(&mut self) -> Result<(), ProjectionError>;
    /// Whether they have held all of the log since they were made, or made anew.
    fn is_whole(&mut self) -> Result<bool, ProjectionError>;
    /// They hold all of it now. Inside the transaction.
    fn set_whole(&mut self) -> Result<(), ProjectionError>;
    /// Forget everything, inside the transaction; then they are not whole.
    fn clear(&mut self) -> Result<(), ProjectionError>;
    /// One event. `false`: it has a row, for it stands on another branch too (R6.4-h); what its record comes to may be another.
    fn put(&mut self, row: &Row<'_>) -> Result<bool, ProjectionError>;
    /// How far a history has come, and what people call it.
    fn set_place(&mut self, place: &Place, name: &str, node_name: &str) -> Result<(), ProjectionError>;
    /// Events of `stream` above `counted` count no more, the others do; the records that this touches.
    fn recount(&mut self, stream: &Stream, counted: u64) -> Result<Vec<String>, ProjectionError>;
    /// The last event of a record in `stream` below `seq`; if there is none, in the main branch up to `fork`.
    fn previous(&mut self, stream: &Stream, fork: u64, record_key: &str, seq: u64) -> Result<Option<EventId>, ProjectionError>;
    /// Events of a record that count.
    fn versions(&mut self, record_key: &str) -> Result<Vec<Version>, ProjectionError>;
    /// Whether an event is held, counted or not.
    fn holds(&mut self, id: &EventId) -> Result<bool, ProjectionError>;
    /// What a record has come to, worked out from all its versions; `heads` are those of `folded`. Without heads it is no record.
    fn set_record(&mut self, record_key: &str, folded: &Folded, heads: &[&Version]) -> Result<(), ProjectionError>;
    /// An event is here: nothing waits for it any more. The records that did.
    fn arrived(&mut self, id: &EventId) -> Result<Vec<String>, ProjectionError>;
    /// Whether a new version of a record has to do with repetitions (R11.1-g), or the record with a ring: then only all its versions together tell its heads.
    fn is_entangled(&mut self, record_key: &str, version: &Version) -> Result<bool, ProjectionError>;
    /// Whether a record is one line: then a version that has seen its end does nothing but take that one's place.
    fn line(&mut self, record_key: &str) -> Result<Line, ProjectionError>;
    /// A version is the only head of a record that was a line until now, or nothing.
    fn set_line(&mut self, record_key: &str, before: Line, head: &Version, state: State) -> Result<(), ProjectionError>;
    /// A version of a record that counts.
    fn version(&mut self, record_key: &str, id: &EventId) -> Result<Option<Version>, ProjectionError>;
    /// A record has one head more; whether that is new.
    fn add_head(&mut self, record_key: &str, version: &Version) -> Result<bool, ProjectionError>;
    /// A version is no head of a record; whether it was one.
    fn remove_head(&mut self, record_key: &str, version: &Version) -> Result<bool, ProjectionError>;
    /// A record waits for an event.
    fn add_waiting(&mut self, record_key: &str, id: &EventId) -> Result<(), ProjectionError>;
    /// The head of a record that is displayed, and whether another differs from it; `None` without heads.
    fn shown(&mut self, record_key: &str) -> Result<Option<(Version, bool)>, ProjectionError>;
    /// Whether a record waits for an event.
    fn waits(&mut self, record_key: &str) -> Result<bool, ProjectionError>;
    /// What a record has come to, when its heads and what it waits for stand already; it has `more` heads than before.
    fn set_state(&mut self, record_key: &str, state: State, shown: &EventId, more: i64) -> Result<(), ProjectionError>;
    /// What a record has come to, with at most `count_max` of its heads and of what it waits for.
    fn record(&mut self, record_key: &str, count_max: u64) -> Result<Option<Folded>, ProjectionError>;
    /// Every head of a record, the one displayed first, one at a time, until told that it is enough.
    fn each_head(&mut self, record_key: &str, tell: &mut dyn FnMut(EventId) -> bool) -> Result<(), ProjectionError>;
    /// The heads of a record, the one displayed first, at most `count_max`.
    fn heads(&mut self, record_key: &str, count_max: u64) -> Result<Vec<Version>, ProjectionError>;
    /// Keys of records in a state, sorted, behind `after`, at most `count_max`.
    fn records_in(&mut self, state: State, after: Option<&str>, count_max: u64) -> Result<Vec<String>, ProjectionError>;
    /// Keys of records in conflict, and of those pending whose two newest heads are both stamped before `waited`; sorted, behind `after`, at most
    /// `count_max`.
    fn open_conflicts(&mut self, waited: Hlc, after: Option<&str>, count_max: u64) -> Result<Vec<String>, ProjectionError>;
    /// How many of those are pending.
    fn count_overdue(&mut self, waited: Hlc) -> Result<u64, ProjectionError>;
    /// How many records are in a state.
    fn count_in(&mut self, state: State) -> Result<u64, ProjectionError>;
    /// How a record stands; `None` when there is none.
    fn state(&mut self, record_key: &str) -> Result<Option<State>, ProjectionError>;
    /// Events that count, tell of conflicts (R11.3-f), are directed to a node and written by one of `writers`: the newest first, those that stand behind
    /// `after` in this order, at most `count_max`.
    fn notices(&mut self, node: &NodeId, writers: &[NodeId], after: Option<Notice>, count_max: u64) -> Result<Vec<Notice>, ProjectionError>;
    /// By which rules records that differ were told apart; 0 before any were.
    fn ruled_by(&mut self) -> Result<i64, ProjectionError>;
    /// They are these now. Inside the transaction.
    fn set_ruled_by(&mut self, print: i64) -> Result<(), ProjectionError>;
    /// By which names histories are called; 0 before any were.
    fn named_by(&mut self) -> Result<i64, ProjectionError>;
    /// They are these now. Inside the transaction.
    fn set_named_by(&mut self, print: i64) -> Result<(), ProjectionError>;
    /// How many events each node wrote on each day from `since_day` on, counted from 1970 by its own clock.
    fn activity(&mut self, since_day: u64) -> Result<Vec<(NodeId, u64, u64)>, ProjectionError>;
    /// What the node remembers beside its log: all of it, in the order given. Nothing is written when it is what stands there. Inside the transaction.
    fn set_beside(&mut self, peers: &[PeerRow], bundles: &[BundleRow]) -> Result<(), ProjectionError>;
    /// How many events and records there are.
    fn counts(&mut self) -> Result<(u64, u64), ProjectionError>;
    /// Where events with an idempotency key stand, of one node, sorted; those that count.
    fn pushed_as(&mut self, node: &NodeId, idempotency_key: &str) -> Result<Vec<(Stream, EventId)>, ProjectionError>;
}

/// An origin in tables: R3.1-f as for a node without a name, so that it never changes.
pub fn origin_text(origin: &Origin) -> String {
    let mut text = ["@", &hex(&origin.node.0), "~", &hex(&origin.incarnation.0), "/", origin.lane.name()].concat();
    if let Some(node) = origin.audience {
        text.push_str(">@");
        text.push_str(&hex(&node.0));
    }
    text
}

/// An event id in tables: [`origin_text`], `:SEQ.dDIGEST`.
pub fn id_text(id: &EventId) -> String {
    [&origin_text(&id.origin), ":", &id.seq.to_string(), ".d", &hex(&id.digest)].concat()
}

/// Read what [`origin_text`] wrote.
pub fn parse_origin(text: &str) -> Option<Origin> {
    let (node, rest) = text.strip_prefix('@')?.split_once('~')?;
    let (incarnation, rest) = rest.split_once('/')?;
    let (lane, audience) = rest.split_once(">@").map_or((rest, None), |(lane, audience)| (lane, Some(audience)));
    let audience = match audience {
        Some(text) => Some(NodeId(from_hex(text)?)),
        None => None,
    };
    Some(Origin { node: NodeId(from_hex(node)?), incarnation: Incarnation(from_hex(incarnation)?), lane: Lane::from_name(lane)?, audience })
}

/// Read what [`id_text`] wrote.
pub fn parse_id(text: &str) -> Option<EventId> {
    let (origin, place) = text.rsplit_once(':')?;
    let (seq, digest) = place.split_once(".d")?;
    Some(EventId { origin: parse_origin(origin)?, seq: seq.parse().ok()?, digest: from_hex(digest)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_table_reads_back() {
        for audience in [None, Some(NodeId([0xab; 8]))] {
            let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane: Lane::Urgent, audience };
            let id = EventId { origin, seq: 41, digest: [3; 8] };
            assert_eq!(parse_id(&id_text(&id)), Some(id), "{}", id_text(&id));
        }
        for text in ["", "@", "@00~00/urgent:1.d00", "lunana~00000000/urgent:1"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
