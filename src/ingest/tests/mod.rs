//! A range meets what is held: what of it is stored, known, left out, and told.

mod checkpoints;
mod forks;
mod orders;
mod rotting;

use super::Verdict;
use super::apply::{Applied, Within, apply, apply_within, judge};
use crate::ports::memory_store::MemoryStore;
use crate::ports::store::{Checkpointed, Log, Store, Stream};
use bundle_format::chain::{Position, Run, digest};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{DomainId, Incarnation, Lane, NodeId, Origin};
use bundle_format::range::{Coding, Range, VerifiedRange};
use bundle_format::sign::{SigningKey, VerifyingKey};
use bundle_format::trust::Trust;

/// The one writer of these histories.
struct Writer(SigningKey);

impl Trust for Writer {
    fn domain(&self) -> DomainId {
        self.0.verifying_key().domain_id()
    }
    fn signer(&self, _: &NodeId, _: u64) -> Option<VerifyingKey> {
        Some(self.0.verifying_key())
    }
    fn is_sender(&self, _: &NodeId, _: &VerifyingKey) -> bool {
        true
    }
    fn is_roster(&self, _: &Origin) -> bool {
        false
    }
    fn learn(&mut self, _: &VerifiedRange) {}
}

/// What the writer wrote in one of its lives, or a clone of its card did.
#[derive(Clone)]
struct History {
    origin: Origin,
    events: Vec<Vec<u8>>,
}

fn writer() -> Writer {
    Writer(SigningKey::from_seed(&[7; 32]))
}

fn event(payload: &[u8], seq: usize) -> Vec<u8> {
    Event { hlc: Hlc(seq as u64), kind: "note", payload, ext: Ext::default() }.to_bytes().unwrap()
}

impl History {
    /// Ten events in `lane`.
    fn new(lane: Lane) -> Self {
        let origin = Origin { node: writer().0.verifying_key().node_id(), incarnation: Incarnation([1; 4]), lane, audience: None };
        Self { origin, events: (1..=10).map(|seq| event(b"first", seq)).collect() }
    }

    /// The same up to the event before `at`, and others from there on.
    fn parting(&self, at: usize, words: &str) -> Self {
        let events = self.events.iter().zip(1..).map(|(same, seq)| if seq < at { same.clone() } else { event(words.as_bytes(), seq) }).collect();
        Self { origin: self.origin, events }
    }

    fn run(&self, first: usize, last: usize) -> Run<'_> {
        Run::link(self.position(first as u64 - 1), self.events[first - 1..last].iter().map(Vec::as_slice).collect())
    }

    fn position(&self, seq: u64) -> Position {
        let before = usize::try_from(seq).unwrap();
        self.events[..before].iter().fold(Position::start(&self.origin), |position, event| position.then(&digest(event)))
    }

    fn checkpoint(&self, seq: u64, key_number: u64) -> Checkpoint {
        let writer = writer();
        Checkpoint::sign(&writer.0, &writer.domain(), &self.origin, key_number, &self.position(seq))
    }

    /// Events `first` to `last`, signed where they end and at `also`, under key 1.
    fn range(&self, (first, last): (usize, usize), also: &[u64]) -> VerifiedRange {
        self.range_under(1, (first, last), also)
    }

    fn range_under(&self, key_number: u64, (first, last): (usize, usize), also: &[u64]) -> VerifiedRange {
        let seqs = also.iter().copied().chain([last as u64]);
        let checkpoints: Vec<_> = seqs.map(|seq| (seq - (first as u64 - 1), self.checkpoint(seq, key_number))).collect();
        let run = self.run(first, last);
        let range = Range::build(self.origin, &run, &checkpoints, Coding::Stored, &mut Compressor::new().unwrap()).unwrap();
        range.verify(run.start().hash, &writer(), None).unwrap()
    }

    fn main(&self) -> Stream {
        Stream::main(self.origin)
    }

    /// The branch that begins with event `at` of this history (R6.4-a).
    fn branch(&self, at: usize) -> Stream {
        Stream { origin: self.origin, branch: digest(&self.events[at - 1]).0.first_chunk().copied() }
    }
}

/// Nothing but the verdict.
fn only(verdict: Verdict) -> Applied {
    Applied { verdict, new: 0, duplicate: 0, left_out: 0, refilled: 0, mended: 0, forked: None }
}

fn append(stream: Stream, end: u64, duplicate: u64, new: u64) -> Applied {
    Applied { new, duplicate, ..only(Verdict::Append { stream, end }) }
}

fn fork(stream: Stream, at: u64, duplicate: u64, new: u64) -> Applied {
    Applied { new, duplicate, forked: Some(at), ..only(Verdict::Fork { stream, at }) }
}

fn known(duplicate: u64) -> Applied {
    Applied { duplicate, ..only(Verdict::Duplicate) }
}

fn gap(from: u64, to: u64) -> Applied {
    only(Verdict::Gap { from, to })
}

/// Everything of a stream, by position.
fn events_of(log: &dyn Log, stream: &Stream) -> Vec<(u64, Vec<u8>)> {
    let (mut walk, mut all) = (log.events(stream, 1).unwrap(), Vec::new());
    while let Some((seq, event)) = walk.next().unwrap() {
        all.push((seq, event.to_vec()));
    }
    all
}

/// What is judged is done, and told as it was done; the log then ends where the range does, unless it left some out.
#[track_caller]
fn check(store: &mut dyn Store, range: &VerifiedRange, want: Applied) {
    let stored = |store: &dyn Store| -> usize { store.streams().iter().map(|(stream, _)| events_of(&*store, stream).len()).sum() };
    let (before, judged) = (stored(store), judge(&*store, &range.origin(), &range.run()).unwrap());
    assert_eq!(stored(store), before, "judged, not done");
    let applied = apply(store, range).unwrap();
    assert_eq!(applied, want, "{range:?}");
    assert_eq!(applied.verdict, judged, "as it was judged");
    assert_eq!((stored(store) - before) as u64, want.new, "as many as are told");
}

/// R6.2-a, R6.2-b, R6.3-a: overlap is compared and counted, what is new is appended, what comes too early is not.
#[test]
fn what_is_new_is_appended_and_what_is_known_is_counted() {
    let ours = History::new(Lane::Routine);
    let mut store = MemoryStore::default();
    check(&mut store, &ours.range((3, 4), &[]), gap(1, 2));
    assert!(store.streams().is_empty(), "nothing of it is stored");
    check(&mut store, &ours.range((1, 4), &[]), append(ours.main(), 0, 0, 4));
    check(&mut store, &ours.range((7, 8), &[]), gap(5, 6));
    check(&mut store, &ours.range((3, 6), &[]), append(ours.main(), 4, 2, 2));
    check(&mut store, &ours.range((7, 7), &[]), append(ours.main(), 6, 0, 1));
    check(&mut store, &ours.range((1, 7), &[]), known(7));
    check(&mut store, &ours.range((6, 7), &[]), known(2));
    check(&mut store, &ours.range((2, 3), &[]), known(2));
    check(&mut store, &ours.range((1, 10), &[]), append(ours.main(), 7, 7, 3));
    assert_eq!(events_of(&store, &ours.main()), (1..).zip(ours.events.clone()).collect::<Vec<_>>());
    let head = store.head(&ours.main()).unwrap();
    assert_eq!((head.end, head.hlc, head.checkpoint_seq), (ours.position(10), Hlc(10), 10));
}

/// Histories of one node never meet in another's stream, be they of another lane or another life.
#[test]
fn another_origin_is_another_history() {
    let (ours, lane, mut life) = (History::new(Lane::Routine), History::new(Lane::Urgent), History::new(Lane::Routine));
    life.origin.incarnation = Incarnation([2; 4]);
    let mut store = MemoryStore::default();
    check(&mut store, &ours.range((1, 4), &[]), append(ours.main(), 0, 0, 4));
    for other in [lane, life] {
        check(&mut store, &other.range((5, 6), &[]), gap(1, 4));
        check(&mut store, &other.range((1, 6), &[]), append(other.main(), 0, 0, 6));
    }
    assert_eq!(store.head(&ours.main()).unwrap().end, ours.position(4));
}

/// A member began 20 000 histories in 3 MB; to look through all of them for each took a hub two minutes.
#[test]
fn what_becomes_of_a_range_does_not_depend_on_how_many_other_histories_there_are() {
    let ours = History::new(Lane::Routine);
    let other = ours.parting(3, "another");
    let mut store = rotting::Rotting::default();
    for (range, new) in [(ours.range((1, 4), &[]), 4), (ours.range((1, 6), &[]), 2), (ours.range((2, 3), &[]), 0), (other.range((1, 4), &[]), 2)] {
        assert_eq!(apply(&mut store, &range).unwrap().new, new, "{range:?}");
        judge(&store, &range.origin(), &range.run()).unwrap();
    }
    assert_eq!(store.looks.get(), 0, "its own are found by its name");
}
