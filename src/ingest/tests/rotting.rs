//! A log of which some rotted, and what comes in its place.

use super::*;
use crate::ports::store::{Events, Finding, Head, Rotten, Scan, Spot, StoreError};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// In memory, and some of it cannot be read until it comes again.
#[derive(Default)]
pub struct Rotting {
    log: MemoryStore,
    lost: BTreeSet<(Stream, u64)>,
    lost_checkpoints: BTreeSet<(Stream, u64)>,
    /// Of these it holds a rotted one, which is not shown, and one that came again.
    again: BTreeSet<(Stream, u64)>,
    /// How often all histories were asked for.
    pub looks: Cell<u32>,
}

impl Rotting {
    pub fn lose(&mut self, stream: &Stream, seqs: RangeInclusive<u64>) {
        self.lost.extend(seqs.map(|seq| (*stream, seq)));
    }

    /// Also one that was never there.
    pub fn lose_checkpoint(&mut self, stream: &Stream, seq: u64) {
        self.lost_checkpoints.insert((*stream, seq));
    }
}

struct Walk<'a>(&'a Rotting, Stream, Box<dyn Events + 'a>);

impl Events for Walk<'_> {
    fn next(&mut self) -> Result<Option<(u64, &[u8])>, StoreError> {
        match self.2.next()? {
            Some((seq, _)) if self.0.lost.contains(&(self.1, seq)) => Err(StoreError::Damaged { segment: 1, offset: 0, stream: Some((self.1, seq)) }),
            found => Ok(found),
        }
    }
}

impl Log for Rotting {
    fn streams(&self) -> Vec<(Stream, Head)> {
        self.looks.set(self.looks.get() + 1);
        self.log.streams()
    }
    fn branches(&self, origin: &Origin) -> Vec<(Stream, Head)> {
        self.log.branches(origin)
    }
    fn head(&self, stream: &Stream) -> Option<Head> {
        self.log.head(stream)
    }
    fn events(&self, stream: &Stream, from: u64) -> Result<Box<dyn Events + '_>, StoreError> {
        Ok(Box::new(Walk(self, *stream, self.log.events(stream, from)?)))
    }
    fn count_of(&self, node: &NodeId) -> usize {
        self.log.count_of(node)
    }
    fn checkpoints(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<Checkpointed>, StoreError> {
        let mut all = self.log.checkpoints(stream, from, to)?;
        all.retain(|held| !self.lost_checkpoints.contains(&(*stream, held.position.seq)));
        all.dedup_by(|one, other| one.position == other.position && self.again.contains(&(*stream, one.position.seq)));
        Ok(all)
    }
    fn checkpoint_below(&self, stream: &Stream, seq: u64) -> Result<Option<Checkpointed>, StoreError> {
        Ok(self.checkpoints(stream, 1, seq)?.pop())
    }
    fn scan_from(&self, spot: Spot) -> Result<Box<dyn Scan + '_>, StoreError> {
        self.log.scan_from(spot)
    }
    fn findings(&self) -> &[Finding] {
        &[]
    }
    fn lost(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<(u64, u64)>, StoreError> {
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for &(_, seq) in self.lost.iter().filter(|(of, seq)| of == stream && (from..=to).contains(seq)) {
            match stretches.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => stretches.push((seq, seq)),
            }
        }
        Ok(stretches)
    }
    fn rotten(&self) -> Vec<Rotten> {
        let rotten = |events: bool| move |&(stream, seq): &(Stream, u64)| Rotten { stream, first: seq, last: seq, events };
        self.lost.iter().map(rotten(true)).chain(self.lost_checkpoints.iter().map(rotten(false))).collect()
    }
    fn lacks_checkpoint(&self, stream: &Stream, seq: u64) -> bool {
        self.lost_checkpoints.contains(&(*stream, seq))
    }
}

impl Store for Rotting {
    fn append(&mut self, stream: &Stream, run: &Run<'_>, hlc: Hlc, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        self.log.append(stream, run, hlc, checkpoints)
    }
    fn append_checkpoints(&mut self, stream: &Stream, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        for held in checkpoints.iter().map(|held| (*stream, held.position.seq)).filter(|held| self.lost_checkpoints.contains(held)) {
            self.again.insert(held);
        }
        self.lost_checkpoints.retain(|held| !self.again.contains(held));
        self.log.append_checkpoints(stream, checkpoints)
    }
    fn mend(&mut self, stream: &Stream, first: u64, events: &[&[u8]]) -> Result<(), StoreError> {
        let mut stored = self.log.events(stream, first)?;
        for (theirs, seq) in events.iter().zip(first..) {
            assert_eq!(stored.next()?, Some((seq, *theirs)), "only what was there comes in its place");
            assert!(self.lost.remove(&(*stream, seq)), "only what rotted is stored again");
        }
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        self.log.sync()
    }
    fn orphans(&self, stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.log.orphans(stream)
    }
}

/// Ours, with eight events, signed at `signed`, of which those at `lost` rotted.
fn rotted(ours: &History, signed: &[u64], lost: &[RangeInclusive<u64>]) -> Rotting {
    let mut store = Rotting::default();
    let at = |seq: &u64| Checkpointed { position: ours.position(*seq), checkpoint: ours.checkpoint(*seq, 1) };
    store.append(&ours.main(), &ours.run(1, 8), Hlc(8), &signed.iter().map(at).collect::<Vec<_>>()).unwrap();
    for seqs in lost {
        store.lose(&ours.main(), seqs.clone());
    }
    store
}

/// Check what a range of a store that rotted does, and what is still lost then.
#[track_caller]
pub fn check_rotted(store: &mut Rotting, range: &VerifiedRange, want: Applied, lost: &[(u64, u64)]) {
    let main = Stream::main(range.origin());
    let judged = judge(&*store, &range.origin(), &range.run()).unwrap();
    let applied = apply(store, range).unwrap();
    assert_eq!(applied, want, "{range:?}");
    assert!(applied.verdict == judged || applied.verdict == Verdict::Unproved, "as it was judged");
    assert_eq!(store.lost(&main, 1, 99).unwrap(), lost, "{range:?}");
}

/// R6.2-i: what rotted comes again with the range that repeats it, whatever else the range brings.
#[test]
fn what_rotted_is_stored_again_where_our_chain_proves_it() {
    let ours = History::new(Lane::Routine);
    let mended = |applied: Applied, mended: u64| Applied { mended, ..applied };
    for (lost, range, want, left) in [
        (&[3..=4][..], (1, 8), mended(known(8), 2), &[][..]),
        (&[3..=4], (4, 8), mended(known(5), 1), &[(3, 3)]),
        (&[3..=4], (1, 4), mended(known(4), 2), &[]),
        (&[3..=4, 6..=6], (1, 8), mended(known(8), 3), &[]),
        (&[3..=4], (5, 8), known(4), &[(3, 4)]),
        (&[1..=8], (1, 8), mended(known(8), 8), &[]),
        (&[7..=8], (1, 10), mended(append(ours.main(), 8, 8, 2), 2), &[]),
        (&[3..=4], (3, 10), mended(append(ours.main(), 8, 6, 2), 2), &[]),
        (&[3..=4], (9, 10), append(ours.main(), 8, 0, 2), &[(3, 4)]),
    ] {
        let mut store = rotted(&ours, &[4, 8], lost);
        check_rotted(&mut store, &ours.range(range, &[]), want, left);
        let left: BTreeSet<u64> = left.iter().flat_map(|(first, last)| *first..=*last).collect();
        let readable = (1..=8).filter(|seq| !left.contains(seq));
        for seq in readable {
            let stored = store.events(&ours.main(), seq).unwrap().next().unwrap().map(|(at, event)| (at, event.to_vec()));
            assert_eq!(stored, Some((seq, ours.events[usize::try_from(seq).unwrap() - 1].clone())));
        }
    }
}

/// What nothing of ours proves is not stored in its place, and told as such: it is known by number alone.
#[test]
fn what_nothing_proves_is_told_and_waits() {
    let ours = History::new(Lane::Routine);
    let mut store = rotted(&ours, &[2, 8], &[3..=4, 6..=6]);
    let unproved = Applied { duplicate: 4, ..only(Verdict::Unproved) };
    check_rotted(&mut store, &ours.range((1, 4), &[]), unproved, &[(3, 4), (6, 6)]);
    check_rotted(&mut store, &ours.range((1, 3), &[]), Applied { duplicate: 3, ..unproved }, &[(3, 4), (6, 6)]);
    check_rotted(&mut store, &ours.range((1, 2), &[]), known(2), &[(3, 4), (6, 6)]);
    check_rotted(&mut store, &ours.range((5, 8), &[]), Applied { mended: 1, ..known(4) }, &[(3, 4)]);
    check_rotted(&mut store, &ours.range((1, 4), &[]), Applied { mended: 2, ..known(4) }, &[]);
}

/// Nor does a branch that begins behind it, whole as it is.
#[test]
fn a_branch_behind_what_rotted_proves_nothing_of_it() {
    let ours = History::new(Lane::Routine);
    let theirs = ours.parting(6, "clone");
    let mut store = rotted(&ours, &[2, 8], &[]);
    apply(&mut store, &theirs.range((1, 8), &[])).unwrap();
    store.lose(&ours.main(), 3..=4);
    store.lose(&ours.main(), 7..=7);
    let unproved = Applied { duplicate: 4, ..only(Verdict::Unproved) };
    check_rotted(&mut store, &ours.range((1, 4), &[]), unproved, &[(3, 4), (7, 7)]);
}

/// The next chain hash of ours may stand far behind.
#[test]
fn what_rotted_is_proved_by_a_signature_however_far_behind() {
    let mut ours = History::new(Lane::Routine);
    ours.events = (1..=700).map(|seq| event(b"a long history", seq)).collect();
    for (signed, lost, mended) in [(256, 650, 2), (300, 650, 2), (700, 650, 0), (517, 518, 2), (518, 517, 0)] {
        let mut store = Rotting::default();
        let at = |seq: u64| Checkpointed { position: ours.position(seq), checkpoint: ours.checkpoint(seq, 1) };
        store.append(&ours.main(), &ours.run(1, 700), Hlc(700), &[at(2), at(signed)]).unwrap();
        store.lose(&ours.main(), 3..=4);
        store.lose(&ours.main(), lost..=lost);
        assert_eq!(apply(&mut store, &ours.range((1, 4), &[])).unwrap().mended, mended, "signed at {signed}, lost at {lost}");
    }
}

/// Another history that parts in what rotted is a branch, from the last event that is surely of both; nothing of it comes in our events' place.
#[test]
fn another_history_is_not_taken_for_what_rotted() {
    let ours = History::new(Lane::Routine);
    let theirs = ours.parting(4, "clone");
    let mut store = rotted(&ours, &[2, 8], &[3..=4]);
    check_rotted(&mut store, &theirs.range((1, 8), &[]), fork(ours.main(), 3, 2, 6), &[(3, 4)]);
    check_rotted(&mut store, &ours.range((1, 8), &[]), Applied { mended: 2, ..known(8) }, &[]);
    check_rotted(&mut store, &theirs.range((1, 8), &[]), known(8), &[]);
}

/// A hub may hold of a fork the branch that is whole, and the one that rotted.
#[test]
fn a_branch_that_is_whole_proves_nothing_of_the_other() {
    let ours = History::new(Lane::Routine);
    let theirs = ours.parting(6, "clone");
    let mut store = rotted(&ours, &[8], &[]);
    apply(&mut store, &theirs.range((1, 8), &[])).unwrap();
    store.lose(&ours.main(), 7..=7);
    store.lose(&theirs.branch(6), 8..=8);
    check_rotted(&mut store, &theirs.range((6, 8), &[]), Applied { mended: 1, ..known(3) }, &[(7, 7)]);
    assert!(store.lost(&theirs.branch(6), 1, 99).unwrap().is_empty());
    check_rotted(&mut store, &ours.range((6, 8), &[]), Applied { mended: 1, ..known(3) }, &[]);
}

/// R6.4-h: while it could not be read another event took its id; it does not come back beside that one.
#[test]
fn what_rotted_is_not_stored_again_beside_another_of_its_id() {
    let [first, second] = super::forks::alike();
    let ours = History::new(Lane::Routine).with_sixth(&first);
    let theirs = ours.with_sixth(&second);
    let mut store = rotted(&ours, &[5, 8], &[6..=6]);
    check_rotted(&mut store, &theirs.range((1, 8), &[]), fork(ours.main(), 6, 5, 3), &[(6, 6)]);
    check_rotted(&mut store, &ours.range((1, 8), &[]), Applied { duplicate: 8, ..only(Verdict::Unproved) }, &[(6, 6)]);
    let mut store = rotted(&ours, &[5, 8], &[]);
    check_rotted(&mut store, &ours.parting(5, "clone").range((1, 5), &[]), fork(ours.main(), 5, 4, 1), &[]);
    store.lose(&ours.main(), 5..=5);
    let grown = ours.parting(5, "clone").with_sixth(&second).range((6, 8), &[]);
    check_rotted(&mut store, &grown, Applied { left_out: 3, ..append(ours.parting(5, "clone").branch(5), 5, 0, 0) }, &[(5, 5)]);
}
