//! What was promised, in plain maps: what people pushed and were told is safe, what each machine has shown, who was ever allowed to see what.
//!
//! The model knows nothing of bundles, sessions or segments. It is told what people saw, and says what must be true of what they see later.

use crate::reading::Reading;
use bundle_format::chain::digest;
use bundle_format::event::Event;
use bundle_format::ids::{Hash, Lane, NodeId, Origin};
use bundle_format::vector::Tag;
use std::collections::{BTreeMap, BTreeSet};
use zbundle::keys::Policy;
use zbundle::node::peers::Peer;
use zbundle::ports::Log;

/// What is wrong, in a sentence; nothing when all is well.
pub type Verdict<T = ()> = Result<T, String>;

/// Bytes of one part of a payload.
pub const PART_LEN: usize = 4096;

/// `number:part`.
const LABEL_LEN: usize = 13;

/// An event as a log shows it: whose, where, and the first bytes of its digest.
pub type Seen = (Origin, u64, [u8; 8]);

/// One payload somebody pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// Whose.
    pub node: NodeId,
    /// In which lane.
    pub lane: Lane,
    /// For whom alone.
    pub audience: Option<NodeId>,
    /// How long.
    pub len: usize,
    /// Where, once somebody was told that it is safe.
    pub told: Option<(Origin, u64)>,
}

/// What one machine shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Every event, control lanes too.
    pub held: BTreeSet<Seen>,
    /// Payloads of which every part is there.
    pub whole: BTreeSet<usize>,
    /// Events that stood there and cannot be read.
    pub rotten: u64,
    /// Histories of which it ever held both branches: rot may take one, and what brings it back need not say so again.
    pub forks: BTreeSet<Origin>,
    /// Events that no signature is there for: nobody can be shown them.
    pub unproved: BTreeSet<Seen>,
}

/// All that was promised.
#[derive(Default)]
pub struct Model {
    /// Payloads, by number.
    pub pushed: Vec<Pushed>,
    /// Payloads that must not be lost any more.
    pub promised: BTreeSet<usize>,
    /// Where a payload was written first.
    first: BTreeMap<usize, Seen>,
    /// What every event holds: payload and part.
    written: BTreeMap<Seen, (usize, usize)>,
    /// Positions each node ever held durably, whichever of its machines.
    positions: BTreeMap<NodeId, BTreeMap<(Origin, u64), BTreeSet<Hash>>>,
    /// Policies that each member ever had.
    granted: BTreeMap<NodeId, Vec<Policy>>,
    /// Members that lied with their own keys: what they tell of themselves is worth nothing.
    pub liars: BTreeSet<NodeId>,
}

/// The bytes of a payload: each part says which it is, so that none can stand in another's place.
pub fn payload(number: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    for part in 0..len.div_ceil(PART_LEN).max(1) {
        let part_len = (len - part * PART_LEN).min(PART_LEN);
        let label = format!("{number:08}:{part:04}");
        bytes.extend(label.bytes().cycle().take(part_len));
    }
    bytes
}

fn label(payload: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(payload.get(..LABEL_LEN)?).ok()?;
    let (number, part) = text.split_once(':')?;
    Some((number.parse().ok()?, part.parse().ok()?))
}

impl Model {
    /// Somebody begins to push. Returns the payload's number.
    pub fn push(&mut self, node: NodeId, lane: Lane, audience: Option<NodeId>, len: usize) -> usize {
        // Every part must have room for its label.
        let len = if len % PART_LEN < LABEL_LEN { len + LABEL_LEN } else { len };
        self.pushed.push(Pushed { node, lane, audience, len, told: None });
        self.pushed.len() - 1
    }

    /// Somebody was told that it is safe.
    pub fn told(&mut self, number: usize, origin: Origin, seq: u64) {
        self.pushed[number].told = Some((origin, seq));
        self.promised.insert(number);
    }

    /// A member may see this from now on; what it was allowed before it may have received already.
    pub fn grant(&mut self, node: NodeId, policy: &Policy) {
        let granted = self.granted.entry(node).or_default();
        if !granted.contains(policy) {
            granted.push(policy.clone());
        }
    }

    fn was_hub(&self, node: &NodeId) -> bool {
        self.granted.get(node).is_some_and(|policies| policies.contains(&Policy::All))
    }

    /// Whether `node` could ever have been sent a payload of `origin`: the table of SPEC §8.7, written down a second time.
    pub fn may_hold(&self, node: &NodeId, origin: &Origin) -> bool {
        if origin.node == *node {
            return true;
        }
        let policies = self.granted.get(node).map_or(&[][..], Vec::as_slice);
        policies.iter().any(|policy| match (origin.audience, policy) {
            (_, Policy::All) => true,
            (Some(audience), _) => audience == *node,
            (None, Policy::Own) => false,
            (None, Policy::OwnAndHubs) => self.was_hub(&origin.node),
            (None, Policy::Nodes(nodes)) => nodes.contains(&origin.node),
        })
    }

    /// What a log shows, held against everything that was ever written: nothing invented, nothing altered, nothing twice, nothing out of order, nothing
    /// that `node` may not see.
    ///
    /// # Errors
    /// What is wrong.
    pub fn look(&mut self, node: NodeId, log: &dyn Log) -> Verdict<Memory> {
        let mut memory = Memory::default();
        let mut parts: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (stream, head) in log.streams() {
            let origin = stream.origin;
            let mut reading = Reading::new(log, &stream, &head);
            while let Some((seq, bytes)) = reading.read()? {
                let digest = digest(&bytes);
                let seen = (origin, seq, digest.0.first_chunk().copied().unwrap_or_default());
                memory.held.insert(seen);
                if seq > head.checkpoint_seq {
                    memory.unproved.insert(seen);
                }
                if let Some(position) = reading.stands_behind(&digest) {
                    self.positions.entry(node).or_default().entry((origin, seq)).or_default().insert(position.hash);
                }
                if origin.lane != Lane::Control {
                    let (number, part) = self.event(&seen, &bytes)?;
                    if !self.may_hold(&node, &origin) {
                        return Err(format!("policy: payload {number} of {origin:?} reached {node:?}, who may not see it"));
                    }
                    parts.entry(number).or_default().insert(part);
                }
            }
            memory.rotten += reading.lost;
            reading.ends_at_the_head()?;
        }
        memory.whole = parts
            .into_iter()
            .filter(|(number, parts)| parts.len() == self.pushed[*number].len.div_ceil(PART_LEN))
            .map(|(number, _)| number)
            .collect();
        Ok(memory)
    }

    fn event(&mut self, seen: &Seen, bytes: &[u8]) -> Verdict<(usize, usize)> {
        if let Some(known) = self.written.get(seen) {
            return Ok(*known);
        }
        let (origin, seq, _) = seen;
        let event = Event::from_bytes(bytes).map_err(|error| format!("P2: {origin:?}:{seq} is no event: {error}"))?;
        let (number, part) = label(event.payload).ok_or_else(|| format!("P2: {origin:?}:{seq} was pushed by nobody"))?;
        let Some(pushed) = self.pushed.get(number) else {
            return Err(format!("P2: {origin:?}:{seq} says it is payload {number}, which nobody pushed"));
        };
        if (origin.node, origin.lane, origin.audience) != (pushed.node, pushed.lane, pushed.audience) {
            return Err(format!("P2: payload {number} stands in {origin:?}, and was pushed as {pushed:?}"));
        }
        let expected = payload(number, pushed.len);
        let from = (part * PART_LEN).min(expected.len());
        if event.payload != &expected[from..expected.len().min(from + PART_LEN)] {
            return Err(format!("P1: part {part} of payload {number} in {origin:?}:{seq} is not what was pushed"));
        }
        match event.ext.orig {
            Some(orig) => {
                let was = self.written.get(&(orig.origin, orig.seq, orig.digest));
                if was != Some(&(number, part)) && was.is_some() {
                    return Err(format!("P2: {origin:?}:{seq} says it repeats {orig:?}, which is another payload"));
                }
            }
            None if part == 0 => {
                let first = *self.first.entry(number).or_insert(*seen);
                if first != *seen {
                    return Err(format!("P1: payload {number} stands at {first:?} and at {seen:?}, and neither says that it repeats the other"));
                }
                if pushed.told.is_some_and(|told| told != (*origin, *seq)) {
                    return Err(format!("P1: payload {number} was said to be {:?}, and is {origin:?}:{seq}", pushed.told));
                }
            }
            None => {}
        }
        self.written.insert(*seen, (number, part));
        Ok((number, part))
    }

    /// Which payload an event holds, or a part of.
    pub fn payload_in(&self, seen: &Seen) -> Option<usize> {
        self.written.get(seen).map(|(number, _)| *number)
    }

    /// Whether what `by` has told us of itself was ever true: no receipt is ahead of what it held durably.
    ///
    /// # Errors
    /// What is wrong.
    pub fn receipt(&self, by: NodeId, peer: &Peer) -> Verdict {
        let Some(receipt) = peer.receipt.as_ref().filter(|_| !self.liars.contains(&by)) else { return Ok(()) };
        for told in &receipt.vector {
            let held = self.positions.get(&by).and_then(|positions| positions.get(&(told.origin, told.seq)));
            if !held.is_some_and(|hashes| hashes.iter().any(|hash| Tag::of(&receipt.salt, hash) == told.tag)) {
                return Err(format!("receipts: {by:?} is believed to hold {:?} up to {}, and never held that durably", told.origin, told.seq));
            }
        }
        Ok(())
    }

    /// Histories that use a position twice.
    pub fn forked(memory: &Memory) -> BTreeSet<Origin> {
        let mut forked = BTreeSet::new();
        let mut last: Option<&Seen> = None;
        for seen in &memory.held {
            if last.is_some_and(|last| (last.0, last.1) == (seen.0, seen.1)) {
                forked.insert(seen.0);
            }
            last = Some(seen);
        }
        forked
    }
}
