//! One position used twice. SPEC §6.4.

use super::*;
use bundle_format::limits::FORK_BRANCH_LEN_MAX;

/// R6.4-a, R6.4-b: both sides are kept, whichever came first, each grows by its own, and each time the position is told.
#[test]
fn both_sides_of_a_fork_are_kept_and_grow() {
    let ours = History::new(Lane::Routine);
    let theirs = ours.parting(6, "clone");
    let mut store = MemoryStore::default();
    check(&mut store, &ours.range((1, 8), &[]), append(ours.main(), 0, 0, 8));
    check(&mut store, &theirs.range((3, 8), &[]), fork(ours.main(), 6, 3, 3));
    let branch = theirs.branch(6);
    let head = store.head(&branch).unwrap();
    assert_eq!((head.base, head.end, head.checkpoint_seq), (ours.position(5), theirs.position(8), 8));
    check(&mut store, &theirs.range((3, 8), &[]), known(6));
    check(&mut store, &theirs.range((6, 7), &[]), known(2));
    check(&mut store, &ours.range((1, 3), &[]), known(3));
    check(&mut store, &ours.range((4, 8), &[]), known(5));
    check(&mut store, &theirs.range((7, 9), &[]), append(branch, 8, 2, 1));
    check(&mut store, &theirs.range((10, 10), &[]), append(branch, 9, 0, 1));
    check(&mut store, &ours.range((5, 10), &[]), append(ours.main(), 8, 4, 2));
    assert_eq!(events_of(&store, &branch), (6..).zip(theirs.events[5..].to_vec()).collect::<Vec<_>>());
    assert_eq!(events_of(&store, &ours.main()), (1..).zip(ours.events.clone()).collect::<Vec<_>>());
}

#[test]
fn a_fork_is_found_wherever_it_lies_in_a_range() {
    let ours = History::new(Lane::Routine);
    for (at, first, last) in [(1, 1, 1), (1, 1, 9), (6, 6, 6), (6, 2, 6), (6, 6, 10), (8, 1, 8), (8, 8, 10)] {
        let (theirs, mut store) = (ours.parting(at, "clone"), MemoryStore::default());
        check(&mut store, &ours.range((1, 8), &[]), append(ours.main(), 0, 0, 8));
        let (duplicate, new) = ((at - first) as u64, (last + 1 - at) as u64);
        check(&mut store, &theirs.range((first, last), &[]), fork(ours.main(), at as u64, duplicate, new));
    }
}

/// A range that begins behind where the two part says nothing of where that is: what is before it is asked for (R6.4-e).
#[test]
fn a_range_from_the_middle_of_another_history_waits() {
    let ours = History::new(Lane::Routine);
    let theirs = ours.parting(3, "clone");
    let mut store = MemoryStore::default();
    check(&mut store, &ours.range((1, 8), &[]), append(ours.main(), 0, 0, 8));
    check(&mut store, &theirs.range((5, 9), &[]), gap(1, 4));
    check(&mut store, &theirs.range((10, 10), &[]), gap(9, 9)); // behind our end nobody can tell yet
    check(&mut store, &theirs.range((1, 9), &[]), fork(ours.main(), 3, 2, 7));
}

/// What has not parted yet goes on in one stream; a third history parts from the one it shares most with.
#[test]
fn a_history_parts_from_the_one_it_shares_most_with() {
    let ours = History::new(Lane::Routine);
    let (second, mut store) = (ours.parting(6, "second"), MemoryStore::default());
    let third = second.parting(8, "third");
    check(&mut store, &ours.range((1, 5), &[]), append(ours.main(), 0, 0, 5));
    check(&mut store, &second.range((4, 9), &[]), append(ours.main(), 5, 2, 4)); // the first to reach 6 has the stream
    check(&mut store, &ours.range((4, 8), &[]), fork(ours.main(), 6, 2, 3));
    check(&mut store, &third.range((5, 9), &[]), fork(ours.main(), 8, 3, 2));
    check(&mut store, &third.range((9, 10), &[]), append(third.branch(8), 9, 1, 1));
    check(&mut store, &ours.range((8, 9), &[]), append(ours.branch(6), 8, 1, 1));
    assert_eq!(store.streams().len(), 3);
}

/// R6.4-d: an origin that signs more branches than two clones of a card ever would costs no more of our disk, and what is left out is told.
#[test]
fn more_branches_than_anybody_needs_are_left_out_and_told() {
    let ours = History::new(Lane::Routine);
    let mut store = MemoryStore::default();
    check(&mut store, &ours.range((1, 8), &[]), append(ours.main(), 0, 0, 8));
    for number in 1..=18 {
        let range = ours.parting(6, &format!("clone {number}")).range((3, 8), &[]);
        let verdict = judge(&store, &range.origin(), &range.run()).unwrap(); // they differ from all at the same place: from which is no matter
        assert!(matches!(verdict, Verdict::Fork { at: 6, .. }), "{verdict:?}");
        let (new, left_out) = if number <= 16 { (3, 0) } else { (0, 3) };
        check(&mut store, &range, Applied { verdict, left_out, ..fork(ours.main(), 6, 3, new) });
    }
    check(&mut store, &ours.parting(6, "clone 16").range((3, 8), &[]), known(6));
    check(&mut store, &ours.parting(6, "clone 16").range((8, 9), &[]), append(ours.parting(6, "clone 16").branch(6), 8, 1, 1));
    assert_eq!(store.streams().len(), 17);
}

/// A branch has the name of its first event: where two would have one name, the second is left out and told, and nothing is mixed.
#[test]
fn two_branches_of_one_name_are_not_mixed() {
    let ours = History::new(Lane::Routine);
    let (theirs, mut store) = (ours.parting(6, "clone"), MemoryStore::default());
    let mut later = ours.clone();
    later.events[6] = theirs.events[5].clone(); // the same event, one position later
    check(&mut store, &ours.range((1, 8), &[]), append(ours.main(), 0, 0, 8));
    check(&mut store, &theirs.range((3, 8), &[]), fork(ours.main(), 6, 3, 3));
    check(&mut store, &later.range((3, 8), &[]), Applied { left_out: 2, ..fork(ours.main(), 7, 4, 0) });
    assert_eq!(events_of(&store, &theirs.branch(6)), (6..).zip(theirs.events[5..8].to_vec()).collect::<Vec<_>>());
}

/// Two events whose digests, and so their ids at one position, begin alike: c43979ddd8a5af67. Five thousand million hashes, twelve minutes of one processor.
pub(super) fn alike() -> [Vec<u8>; 2] {
    let event = |payload: &[u8]| Event { hlc: Hlc((1_800_000_000_000 << 16) | 7), kind: "note", payload, ext: Ext::default() }.to_bytes().unwrap();
    [event(b"9e1969066958988b"), event(b"a7f29e49c6dbc7cf")]
}

impl History {
    /// The same, but for its sixth event.
    pub(super) fn with_sixth(&self, event: &[u8]) -> Self {
        let mut other = self.clone();
        other.events[5] = event.to_vec();
        other
    }
}

/// R6.4-h: of two events that would have one id the one that came first is held, wherever they would stand: at the fork, behind it, on either side, or on a
/// branch of a branch. A notice that told both had equal digests, and whoever got it refused the whole file.
#[test]
fn no_two_events_have_one_id() {
    let [first, second] = alike();
    assert_ne!(digest(&first), digest(&second));
    assert_eq!(digest(&first).0[..8], digest(&second).0[..8]);
    for [first, second] in [[&first, &second], [&second, &first]] {
        let ours = History::new(Lane::Routine).with_sixth(first);
        let left_out = |count: u64, applied: Applied| Applied { left_out: count, ..applied };
        let [at_it, before_it, another] =
            [(6, "at it"), (4, "before it"), (5, "another")].map(|(at, words)| ours.parting(at, words).with_sixth(second));

        let mut store = MemoryStore::default();
        check(&mut store, &ours.range((1, 8), &[]), append(ours.main(), 0, 0, 8));
        check(&mut store, &at_it.range((3, 8), &[]), left_out(3, fork(ours.main(), 6, 3, 0)));
        check(&mut store, &before_it.range((1, 5), &[]), fork(ours.main(), 4, 3, 2));
        check(&mut store, &before_it.range((4, 7), &[]), left_out(2, append(before_it.branch(4), 5, 2, 0)));
        check(&mut store, &another.range((1, 7), &[]), left_out(3, fork(ours.main(), 5, 4, 0)));
        assert_eq!(events_of(&store, &before_it.branch(4)), (4..).zip(before_it.events[3..5].to_vec()).collect::<Vec<_>>());

        let mut store = MemoryStore::default();
        let unlike = ours.parting(5, "unlike");
        check(&mut store, &ours.range((1, 4), &[]), append(ours.main(), 0, 0, 4));
        check(&mut store, &unlike.range((5, 5), &[]), append(ours.main(), 4, 0, 1));
        check(&mut store, &ours.range((5, 8), &[]), fork(ours.main(), 5, 0, 4));
        check(&mut store, &unlike.with_sixth(second).range((6, 9), &[]), left_out(4, append(ours.main(), 5, 0, 0)));
        check(&mut store, &unlike.range((6, 9), &[]), append(ours.main(), 5, 0, 4)); // others go on there
        check(&mut store, &unlike.with_sixth(second).range((5, 9), &[]), left_out(4, fork(ours.main(), 6, 1, 0)));
        check(&mut store, &before_it.range((1, 5), &[]), fork(ours.main(), 4, 3, 2));
        check(&mut store, &before_it.with_sixth(first).range((6, 9), &[]), append(before_it.branch(4), 5, 0, 4)); // the same one stands twice
        assert_eq!(store.streams().len(), 3);
    }
}

/// Ten events whose second half has this many bytes in all.
fn long(history: &History, len: usize) -> History {
    let mut long = history.clone();
    let whole = len / 5;
    for (index, event_len) in (5..10).zip([whole, whole, whole, whole, len - 4 * whole]) {
        let overhead = event(&[0; 3000], index).len() - 3000;
        long.events[index] = event(&vec![b'x'; event_len - overhead], index);
    }
    long
}

/// R6.4-c: each side of a fork grows to 16 MiB behind where they part, not a byte further; what is before it does not count.
#[test]
fn a_branch_grows_to_its_bound_and_not_a_byte_further() {
    const TAIL_LEN: usize = 5 * 4000;
    let limit = usize::try_from(FORK_BRANCH_LEN_MAX).unwrap();
    let filler = vec![b'f'; 65_000];
    for (side_is_branch, over) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        let mut store = MemoryStore::default();
        let ours = History::new(Lane::Routine);
        let theirs = ours.parting(6, "clone");
        check(&mut store, &ours.range((1, 7), &[]), append(ours.main(), 0, 0, 7));
        check(&mut store, &theirs.range((6, 7), &[]), fork(ours.main(), 6, 0, 2));
        let (stream, side) = if side_is_branch { (theirs.branch(6), &theirs) } else { (ours.main(), &ours) };
        // Grown to where five long events more just fit.
        let held_len: usize = side.events[5..7].iter().map(Vec::len).sum();
        let mut left = limit - held_len - TAIL_LEN;
        let mut grown = side.clone();
        grown.events.truncate(7);
        while left > 0 {
            let len = left.min(filler.len());
            grown.events.push(filler[..len].to_vec());
            left -= len;
        }
        let count = grown.events.len();
        store.append(&stream, &grown.run(8, count), Hlc(8), &[]).unwrap();
        grown.events.extend(long(side, TAIL_LEN + over).events[5..].iter().cloned());
        let want = append(stream, count as u64, 0, if over == 0 { 5 } else { 0 });
        check(&mut store, &grown.range((count + 1, count + 5), &[]), Applied { left_out: if over == 0 { 0 } else { 5 }, ..want });
    }
}

/// R6.2-j: of one node so many streams are held, and what would begin one more is left out and told. What is held goes on.
#[test]
fn histories_and_branches_beyond_the_bound_are_left_out() {
    let ours = History::new(Lane::Routine);
    let mut store = MemoryStore::default();
    let within = Within { apart: false, stream_count_max: 2 };
    let mut taken = |range: &VerifiedRange| {
        let applied = apply_within(&mut store, range, within).unwrap();
        (applied.new, applied.left_out)
    };
    assert_eq!(taken(&ours.range((1, 8), &[])), (8, 0));
    assert_eq!(taken(&ours.parting(6, "clone").range((3, 8), &[])), (3, 0));
    assert_eq!(taken(&ours.parting(6, "another").range((3, 8), &[])), (0, 3), "a branch");
    assert_eq!(taken(&History::new(Lane::Urgent).range((1, 4), &[])), (0, 4), "a history");
    assert_eq!(taken(&ours.range((8, 9), &[])), (1, 0));
    assert_eq!(store.streams().len(), 2);
}
