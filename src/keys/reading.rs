//! The roster as the log holds it, both branches of a fork included.

use super::branches::Entry;
use super::member::Pin;
use super::roster::Roster;
use super::succession::{Path, keep_counting};
use crate::ports::store::{Head, Log, StoreError, Stream};
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;
use bundle_format::ids::{Hash, Origin};
use std::collections::{BTreeMap, BTreeSet};

/// One event of a branch, held so that [`Entry`] can lend from it.
struct Held {
    stream: Stream,
    position: Position,
    bytes: Vec<u8>,
    key_numbers: Vec<u64>,
}

impl Roster {
    /// Fold the roster from `log`, which may be the authority's own: what that has written and not yet checkpointed counts too, on every branch. At a member
    /// events stand without a checkpoint where the power went between the two; they count while nothing else was signed in their place (R8.4-c).
    ///
    /// # Errors
    /// What the log says.
    pub fn from_log(pin: Pin, log: &dyn Log, is_authority: bool) -> Result<Self, StoreError> {
        let origin = pin.roster_origin();
        let streams: Vec<(Stream, Head)> = log.streams().into_iter().filter(|(stream, _)| stream.origin == origin).collect();
        let fork = streams.iter().filter(|(stream, _)| stream.branch.is_some()).map(|(_, head)| head.base.seq).min();
        let main = read(log, &origin, None)?;
        let shared = fork.map_or(main.len(), |fork| main.partition_point(|held| held.position.seq <= fork));
        let mut branches = vec![Branch { base: Position::start(&origin), held: &main[shared..] }];
        let mut others = Vec::new();
        for (stream, head) in streams.iter().filter(|(stream, _)| stream.branch.is_some()) {
            others.push((head.base, read(log, &origin, stream.branch)?));
        }
        branches.extend(others.iter().map(|(base, held)| Branch { base: *base, held }));
        let lines: Vec<Vec<&Held>> = branches
            .iter()
            .enumerate()
            .map(|(index, branch)| main[..shared].iter().chain(stem(&branches, index)).chain(branch.held).collect())
            .collect();
        let signed = signed(&lines);
        let mut paths: Vec<Path<'_>> = lines.iter().map(|line| entries(line, &signed)).collect();
        if !is_authority && paths.len() > 1 {
            for path in &mut paths {
                keep_signed(path, shared);
            }
        }
        let mut stored_first = |places: &[Position]| stored_first(log, &lines, places);
        let left_out = keep_counting(pin, &mut paths, is_authority, &mut stored_first)?;
        let paths = parting(&paths);
        let shared = shared_len(&paths);
        let branches: Vec<&[Entry<'_>]> = paths.iter().map(|path| &path[shared..]).collect();
        let mut roster = Self::from_branches(pin, paths.first().map_or(&[], |path| &path[..shared]), &branches);
        roster.refused.extend(left_out);
        Ok(roster)
    }
}

/// What a branch alone holds, and behind what.
struct Branch<'a> {
    base: Position,
    held: &'a [Held],
}

/// What stands on other branches between what all share and the beginning of this one. It may have parted from the first, or from another.
fn stem<'a>(branches: &[Branch<'a>], index: usize) -> Vec<&'a Held> {
    let base = branches[index].base;
    let upto = |branch: &Branch<'_>| branch.held.iter().position(|held| held.position == base).map(|at| at + 1);
    let found = branches.iter().enumerate().find_map(|(other, branch)| Some((other, upto(branch).filter(|_| other != index)?)));
    let Some((other, upto)) = found else { return Vec::new() };
    let mut stem = self::stem(branches, other);
    stem.extend(&branches[other].held[..upto]);
    stem
}

/// What nobody can be shown is no branch that anybody could heal. It stays one where it takes something away: that was proved when it came.
fn keep_signed(path: &mut Path<'_>, shared: usize) {
    let signed = path.iter().rposition(|entry| !entry.key_numbers.is_empty()).map_or(0, |last| last + 1).max(shared.min(path.len()));
    if !path[signed..].iter().any(|entry| matches!(entry.event.kind, "zb/revoke" | "zb/rekey")) {
        path.truncate(signed);
    }
}

/// By which keys each event is signed: by those of a checkpoint at or above it, on any branch that runs through it.
fn signed(lines: &[Vec<&Held>]) -> BTreeMap<Hash, BTreeSet<u64>> {
    let mut signed: BTreeMap<Hash, BTreeSet<u64>> = BTreeMap::new();
    for line in lines {
        let mut above = BTreeSet::new();
        for held in line.iter().rev() {
            above.extend(&held.key_numbers);
            signed.entry(held.position.hash).or_default().extend(&above);
        }
    }
    signed
}

/// Events that the log took in are events; one that is not any more ends its branch here.
fn entries<'a>(line: &[&'a Held], signed: &BTreeMap<Hash, BTreeSet<u64>>) -> Path<'a> {
    let numbers = |hash| signed.get(hash).into_iter().flatten().copied().collect();
    let read = |held: &&'a Held| {
        Some(Entry { position: held.position, event: Event::from_bytes(&held.bytes).ok()?, key_numbers: numbers(&held.position.hash) })
    };
    line.iter().map_while(read).collect()
}

/// The one of `places` that was stored before the others: of the first path that has one, where the log cannot tell.
fn stored_first(log: &dyn Log, lines: &[Vec<&Held>], places: &[Position]) -> Result<Position, StoreError> {
    let at = |stream, seq| lines.iter().flatten().find(|held| held.stream == stream && held.position.seq == seq).map(|held| held.position);
    let mut scan = log.scan()?;
    loop {
        match scan.next() {
            Ok(Some((stream, seq, _))) if places.iter().any(|place| place.seq == seq) => {
                if let Some(position) = at(stream, seq).filter(|position| places.contains(position)) {
                    return Ok(position);
                }
            }
            Ok(Some(_)) | Err(StoreError::Damaged { .. }) => {}
            Ok(None) => break,
            Err(error) => return Err(error),
        }
    }
    let on_a_line = lines.iter().flatten().map(|held| held.position).find(|position| places.contains(position));
    Ok(on_a_line.unwrap_or(places[0]))
}

/// The paths that part: one that another goes on from is no branch of its own.
fn parting<'a, 'b>(paths: &'a [Path<'b>]) -> Vec<&'a [Entry<'b>]> {
    let places = |path: &[Entry<'_>]| path.iter().map(|entry| entry.position).collect::<Vec<_>>();
    let told: Vec<Vec<Position>> = paths.iter().map(|path| places(path)).collect();
    let goes_on = |at: usize| {
        told.iter().enumerate().any(|(other, path)| other != at && path.starts_with(&told[at]) && (path.len() > told[at].len() || other < at))
    };
    (0..paths.len()).filter(|at| !goes_on(*at)).map(|at| &paths[at][..]).collect()
}

fn shared_len(paths: &[&[Entry<'_>]]) -> usize {
    let Some((first, rest)) = paths.split_first() else { return 0 };
    let shared = |path: &&[Entry<'_>]| first.iter().zip(*path).take_while(|(ours, theirs)| ours.position == theirs.position).count();
    rest.iter().map(shared).min().unwrap_or(first.len())
}

fn read(log: &dyn Log, origin: &Origin, branch: Option<[u8; 8]>) -> Result<Vec<Held>, StoreError> {
    let stream = Stream { origin: *origin, branch };
    let Some(head) = log.head(&stream) else { return Ok(Vec::new()) };
    let checkpoints = log.checkpoints(&stream, head.base.seq, head.end.seq)?;
    let mut position = head.base;
    let mut all = Vec::new();
    let mut events = log.events(&stream, head.base.seq + 1)?;
    loop {
        let bytes = match events.next() {
            Ok(Some((_, bytes))) => bytes,
            Ok(None) | Err(StoreError::Damaged { .. }) => break, // as far as it can be read; the rest comes again (R6.2-i)
            Err(error) => return Err(error),
        };
        position = position.then(&digest(bytes));
        let covering = checkpoints.iter().filter(|at| at.position.seq >= position.seq).map(|at| at.checkpoint.key_number);
        let mut key_numbers: Vec<u64> = covering.collect();
        key_numbers.sort_unstable();
        key_numbers.dedup();
        all.push(Held { stream, position, bytes: bytes.to_vec(), key_numbers });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{enrol, found, node, pin, plain, rekey, revoke};
    use super::super::policy::Policy;
    use super::super::roster_event::RosterEvent;
    use super::*;
    use crate::ports::memory_store::MemoryStore;
    use crate::ports::store::{Checkpointed, Store as _};
    use bundle_format::chain::Run;
    use bundle_format::checkpoint::Checkpoint;
    use bundle_format::hlc::Hlc;
    use bundle_format::sign::Signature;

    type Bytes = Vec<Vec<u8>>;

    fn bytes(events: &[RosterEvent]) -> Bytes {
        events.iter().map(|event| plain(event.kind(), &event.payload()).to_bytes().unwrap()).collect()
    }

    fn end(history: &[Vec<u8>]) -> Position {
        history.iter().fold(Position::start(&pin().roster_origin()), |position, event| position.then(&digest(event)))
    }

    /// Histories in the order they came; each parts from one before it.
    fn log(histories: &[&Bytes]) -> MemoryStore {
        let mut store = MemoryStore::default();
        for (index, history) in histories.iter().enumerate() {
            let common = |other: &&Bytes| history.iter().zip(*other).take_while(|(a, b)| a == b).count();
            let base = histories[..index].iter().map(common).max().unwrap_or(0);
            let run = Run::link(end(&history[..base]), history[base..].iter().map(Vec::as_slice).collect());
            let branch = (index > 0).then(|| [u8::try_from(index).unwrap(); 8]);
            store.append(&Stream { origin: pin().roster_origin(), branch }, &run, Hlc(1), &[]).unwrap();
        }
        store
    }

    #[test]
    fn in_whatever_order_its_branches_came_the_roster_is_the_same() {
        let common = [found(), enrol(2, "two", Policy::Own), enrol(3, "three", Policy::All)];
        let first = [&common[..], &[rekey(2, 2, 102, vec![])]].concat();
        let stem = [&common[..], &[revoke(3, 1, vec![])]].concat();
        let third = bytes(&[&stem[..], &[rekey(3, 2, 103, vec![])]].concat());
        let heal = |own: &[RosterEvent], other: &Bytes| RosterEvent::Heal { ours: end(&bytes(own)), theirs: end(other) };
        let open = [&stem[..], &[enrol(4, "four", Policy::Own)]].concat();
        let one = [&open[..], &[heal(&open, &bytes(&first))]].concat();
        let whole = [&one[..], &[heal(&one, &third)]].concat();
        for (second, forked) in [(&open, true), (&one, true), (&whole, false)] {
            let (first, second) = (bytes(&first), bytes(second));
            let orders = [
                [&first, &second, &third],
                [&first, &third, &second],
                [&second, &first, &third],
                [&second, &third, &first],
                [&third, &second, &first],
            ];
            let rosters = orders.map(|order| Roster::from_log(pin(), &log(&order), true).unwrap());
            assert_eq!(rosters[0].is_forked(), forked);
            for (order, roster) in rosters.iter().enumerate() {
                assert_eq!(*roster, rosters[0], "order {order} of {} events", second.len());
            }
        }
    }

    /// The power went between an event of a branch and its checkpoint, and nobody else has that branch (R8.4-c).
    #[test]
    fn a_branch_that_cannot_be_shown_to_anybody_is_no_fork_at_a_member() {
        let common = [found(), enrol(2, "two", Policy::Own)];
        let unsigned = bytes(&[&common[..], &[enrol(3, "three", Policy::Own)]].concat());
        let other = bytes(&[&common[..], &[enrol(4, "four", Policy::Own)]].concat());
        let mut store = log(&[&unsigned, &other]);
        let signed = |position| Checkpointed { position, checkpoint: Checkpoint { key_number: 1, signature: Signature([0; 64]) } };
        let branch = Stream { origin: pin().roster_origin(), branch: Some([1; 8]) };
        store.append_checkpoints(&branch, &[signed(end(&other))]).unwrap();
        let roster = Roster::from_log(pin(), &store, false).unwrap();
        assert!(!roster.is_forked() && roster.member(&node(4)).is_some() && roster.member(&node(3)).is_none());
        assert!(Roster::from_log(pin(), &store, true).unwrap().is_forked(), "what the authority wrote itself counts as it stands");
        store.append_checkpoints(&Stream::main(pin().roster_origin()), &[signed(end(&unsigned))]).unwrap();
        assert!(Roster::from_log(pin(), &store, false).unwrap().is_forked());
        let revoked = bytes(&[&common[..], &[revoke(2, 1, vec![])]].concat());
        let mut store = log(&[&revoked, &other]);
        store.append_checkpoints(&branch, &[signed(end(&other))]).unwrap();
        let roster = Roster::from_log(pin(), &store, false).unwrap();
        assert!(roster.is_forked() && roster.member(&node(2)).unwrap().is_revoked(), "what it takes away counts");
    }
}
