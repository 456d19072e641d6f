//! The streams of a log: their numbers, heads, and how frames spell them.

use super::frame::{u32_at, u64_at};
use crate::ports::store::{Checkpointed, Head, Stream};
use bundle_format::chain::Position;
use bundle_format::checkpoint::Checkpoint;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Hash, Incarnation, Lane, NodeId, Origin};
use bundle_format::sign::Signature;
use std::collections::BTreeMap;

/// A hole: its segment, and its number among those found there.
pub(super) type HoleId = (u32, usize);

/// One stream as the log knows it.
#[derive(Clone, Debug)]
pub(super) struct StreamState {
    /// What it is.
    pub stream: Stream,
    /// Before its first event.
    pub base: Position,
    /// At its last event whose chain hash is known; behind `seq` only while a segment is replayed.
    pub end: Position,
    /// Its last event.
    pub seq: u64,
    /// Its newest checkpoint, 0 for none.
    pub checkpoint_seq: u64,
    /// Stamp at its end.
    pub hlc: Hlc,
    /// The newest sealed segment that holds something of it; 0 for none.
    pub newest: u32,
    /// Touched since the last mark.
    pub touched: bool,
    /// While segments are replayed: lost events in this hole, so that what follows is void.
    pub broken: Option<HoleId>,
}

impl StreamState {
    /// Known, and empty.
    pub fn new(stream: Stream, base: Position) -> Self {
        Self { stream, base, end: base, seq: base.seq, checkpoint_seq: 0, hlc: Hlc(0), newest: 0, touched: false, broken: None }
    }

    /// As the port tells it.
    pub fn head(&self) -> Head {
        Head { base: self.base, end: self.end, checkpoint_seq: self.checkpoint_seq, hlc: self.hlc }
    }
}

/// All streams, by number and by name. Some 300 bytes each in memory; 100 000 streams are the documented ceiling.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    by_number: BTreeMap<u32, StreamState>,
    numbers: BTreeMap<Stream, u32>,
    /// The highest number seen anywhere, also in frames whose definition is lost: never given again.
    pub highest: u32,
    /// Read from the frames of a segment with holes, its heads being damaged: what comes next may not follow.
    pub holed: Option<HoleId>,
}

impl Streams {
    /// Add a stream under its number.
    pub fn define(&mut self, number: u32, state: StreamState) {
        self.highest = self.highest.max(number);
        self.numbers.insert(state.stream, number);
        self.by_number.insert(number, state);
    }

    /// Give a stream that has none the next number.
    pub fn add(&mut self, state: StreamState) -> u32 {
        self.define(self.highest + 1, state);
        self.highest
    }

    /// Number of a stream.
    pub fn number(&self, stream: &Stream) -> Option<u32> {
        self.numbers.get(stream).copied()
    }

    /// State by number.
    pub fn get(&self, number: u32) -> Option<&StreamState> {
        self.by_number.get(&number)
    }

    /// State by number.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut StreamState> {
        self.by_number.get_mut(&number)
    }

    /// As if nothing were known of damage before here.
    pub fn forget_damage(&mut self) {
        self.holed = None;
        self.by_number.values_mut().for_each(|state| state.broken = None);
    }

    /// State by name.
    pub fn by_name(&self, stream: &Stream) -> Option<&StreamState> {
        self.get(self.number(stream)?)
    }

    /// Those of one origin, sorted.
    pub fn of(&self, origin: &Origin) -> impl Iterator<Item = &StreamState> {
        let origin = *origin;
        let theirs = self.numbers.range(Stream::main(origin)..).take_while(move |(stream, _)| stream.origin == origin);
        theirs.filter_map(|(_, number)| self.get(*number))
    }

    /// How many there are of one node.
    pub fn count_of(&self, node: &NodeId) -> usize {
        let first = Origin { node: *node, incarnation: Incarnation([0; 4]), lane: Lane::Control, audience: None };
        self.numbers.range(Stream::main(first)..).take_while(|(stream, _)| stream.origin.node == *node).count()
    }

    /// All, sorted by stream.
    pub fn sorted(&self) -> impl Iterator<Item = (u32, &StreamState)> {
        self.numbers.values().filter_map(|number| Some((*number, self.get(*number)?)))
    }

    /// All, sorted by number.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &StreamState)> {
        self.by_number.iter().map(|(number, state)| (*number, state))
    }
}

/// Bytes of a stream definition: node, incarnation, lane, audience, branch, base hash (the base's seq is the frame's `first`).
pub(super) const DEFINITION_LEN: usize = 8 + 4 + 1 + 9 + 9 + 32;
/// Bytes of one head in a heads frame: number, definition, base seq, end, checkpoint seq, hlc, newest segment.
pub(super) const HEAD_ENTRY_LEN: usize = 4 + DEFINITION_LEN + 8 + 40 + 8 + 8 + 4;
/// Bytes of one head in a mark or cut-back frame: number, end, checkpoint seq, hlc.
pub(super) const MARK_ENTRY_LEN: usize = 4 + 40 + 8 + 8;
/// Bytes of one checkpoint: seq, chain hash, key number, signature.
pub(super) const CHECKPOINT_LEN: usize = 8 + 32 + 8 + 64;

/// Entries of one heads or mark frame; the rest go into further frames.
pub(super) const ENTRIES_MAX: usize = 400;
/// Checkpoints of one frame.
pub(super) const CHECKPOINTS_MAX: usize = 128;

/// Spell a definition.
pub(super) fn write_definition(out: &mut Vec<u8>, stream: &Stream, base: &Hash) {
    let optional = |out: &mut Vec<u8>, bytes: Option<[u8; 8]>| {
        out.push(u8::from(bytes.is_some()));
        out.extend_from_slice(&bytes.unwrap_or_default());
    };
    out.extend_from_slice(&stream.origin.node.0);
    out.extend_from_slice(&stream.origin.incarnation.0);
    out.push(stream.origin.lane as u8);
    optional(out, stream.origin.audience.map(|node| node.0));
    optional(out, stream.branch);
    out.extend_from_slice(&base.0);
}

/// Read a definition; `None` when it is none.
pub(super) fn read_definition(bytes: &[u8]) -> Option<(Stream, Hash)> {
    let bytes: &[u8; DEFINITION_LEN] = bytes.try_into().ok()?;
    let optional = |at: usize| match bytes[at] {
        0 => Some(None),
        1 => Some(Some(array(bytes, at + 1))),
        _ => None,
    };
    let origin = Origin {
        node: NodeId(array(bytes, 0)),
        incarnation: Incarnation(array(bytes, 8)),
        lane: Lane::from_number(u64::from(bytes[12]))?,
        audience: optional(13)?.map(NodeId),
    };
    Some((Stream { origin, branch: optional(22)? }, Hash(array(bytes, 31))))
}

/// Spell one entry of a heads frame.
pub(super) fn write_head(out: &mut Vec<u8>, number: u32, state: &StreamState) {
    out.extend_from_slice(&number.to_le_bytes());
    write_definition(out, &state.stream, &state.base.hash);
    out.extend_from_slice(&state.base.seq.to_le_bytes());
    write_end(out, state);
    out.extend_from_slice(&state.newest.to_le_bytes());
}

/// Read one entry of a heads frame.
pub(super) fn read_head(bytes: &[u8]) -> Option<(u32, StreamState)> {
    let bytes: &[u8; HEAD_ENTRY_LEN] = bytes.try_into().ok()?;
    let (stream, hash) = read_definition(&bytes[4..4 + DEFINITION_LEN])?;
    let rest = &bytes[4 + DEFINITION_LEN..];
    let mut state = StreamState::new(stream, Position { seq: u64_at(rest, 0), hash });
    read_end(&rest[8..], &mut state);
    state.newest = u32_at(rest, 8 + 56);
    Some((u32_at(bytes, 0), state))
}

/// Spell one entry of a mark or cut-back frame.
pub(super) fn write_mark(out: &mut Vec<u8>, number: u32, state: &StreamState) {
    out.extend_from_slice(&number.to_le_bytes());
    write_end(out, state);
}

/// What a mark or cut-back frame says of one stream.
pub(super) struct Mark {
    /// Which.
    pub number: u32,
    /// At its last event.
    pub end: Position,
    /// Its newest checkpoint.
    pub checkpoint_seq: u64,
    /// Stamp at its end.
    pub hlc: Hlc,
}

/// Read one entry of a mark or cut-back frame.
pub(super) fn read_mark(bytes: &[u8]) -> Option<Mark> {
    let bytes: &[u8; MARK_ENTRY_LEN] = bytes.try_into().ok()?;
    let end = Position { seq: u64_at(bytes, 4), hash: Hash(array(bytes, 12)) };
    Some(Mark { number: u32_at(bytes, 0), end, checkpoint_seq: u64_at(bytes, 44), hlc: Hlc(u64_at(bytes, 52)) })
}

fn write_end(out: &mut Vec<u8>, state: &StreamState) {
    out.extend_from_slice(&state.end.seq.to_le_bytes());
    out.extend_from_slice(&state.end.hash.0);
    out.extend_from_slice(&state.checkpoint_seq.to_le_bytes());
    out.extend_from_slice(&state.hlc.0.to_le_bytes());
}

fn read_end(bytes: &[u8], state: &mut StreamState) {
    state.end = Position { seq: u64_at(bytes, 0), hash: Hash(array(bytes, 8)) };
    state.seq = state.end.seq;
    state.checkpoint_seq = u64_at(bytes, 40);
    state.hlc = Hlc(u64_at(bytes, 48));
}

/// Spell one checkpoint.
pub(super) fn write_checkpoint(out: &mut Vec<u8>, checkpointed: &Checkpointed) {
    out.extend_from_slice(&checkpointed.position.seq.to_le_bytes());
    out.extend_from_slice(&checkpointed.position.hash.0);
    out.extend_from_slice(&checkpointed.checkpoint.key_number.to_le_bytes());
    out.extend_from_slice(&checkpointed.checkpoint.signature.0);
}

/// Read one checkpoint.
pub(super) fn read_checkpoint(bytes: &[u8]) -> Option<Checkpointed> {
    let bytes: &[u8; CHECKPOINT_LEN] = bytes.try_into().ok()?;
    let position = Position { seq: u64_at(bytes, 0), hash: Hash(array(bytes, 8)) };
    let checkpoint = Checkpoint { key_number: u64_at(bytes, 40), signature: Signature(array(bytes, 48)) };
    Some(Checkpointed { position, checkpoint })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the entry's length was checked")
}
