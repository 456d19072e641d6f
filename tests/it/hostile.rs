//! A relay that lies in every way it can, with its real keys: nothing forged, altered, reordered or left out inside a history is ever taken.

use crate::world::World;
use bundle_format::chain::Run;
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Incarnation, Lane, NodeId, Origin};
use bundle_format::manifest::Manifest;
use bundle_format::range::{Coding, Range};
use bundle_format::seal::{HeaderPlan, Sealer};
use bundle_format::vector::{Tag, Told};
use std::path::PathBuf;
use zbundle::keys::Policy;
use zbundle::node::View;
use zbundle::node::taking::Outcome;
use zbundle::ports::store::Stream;

/// A bundle made by hand, with the keys and the log of a real node.
pub struct Forge {
    view: View,
    pub roster: Vec<Range>,
    pub ranges: Vec<Range>,
    vector: Vec<(Origin, u64, Tell)>,
    receipt: Option<(Incarnation, u64)>,
}

/// What a vector says of an origin.
#[derive(Clone, Copy)]
pub enum Tell {
    /// The right tag of that position.
    True(Hash),
    /// Another tag.
    Wrong,
}

impl Forge {
    /// Everything that `name` holds and can prove, in one range for each history.
    pub fn at(world: &World, name: &str) -> Self {
        let view = world.view(name);
        let (mut roster, mut ranges) = (Vec::new(), Vec::new());
        for (stream, _) in view.log().streams() {
            let list = if view.roster().is_roster(&stream.origin) { &mut roster } else { &mut ranges };
            list.extend(range_of(&view, &stream));
        }
        Self { view, roster, ranges, vector: Vec::new(), receipt: None }
    }

    /// With the roster or without it.
    pub fn roster(mut self, with: bool) -> Self {
        if !with {
            self.roster.clear();
        }
        self
    }

    /// Only this writer's histories.
    pub fn only(mut self, node: NodeId) -> Self {
        self.ranges.retain(|range| range.origin.node == node);
        self
    }

    /// Say something of an origin, and make the bundle a receipt.
    pub fn tell(mut self, origin: Origin, seq: u64, tell: Tell, receipt_number: u64) -> Self {
        self.vector.push((origin, seq, tell));
        self.receipt = Some((self.view.keyring().incarnation(), receipt_number));
        self
    }

    /// Seal it for `to`, into a folder of its own.
    pub fn seal(&self, world: &World, to: NodeId, folder: &str) -> PathBuf {
        let view = &self.view;
        let (signing_key, _) = view.keyring().signing();
        let plan = HeaderPlan {
            domain: view.roster().domain(),
            sender: view.keyring().node(),
            signing_key,
            recipients: vec![view.roster().member(&to).unwrap().current().unwrap().sealing],
            created: None,
            best_lane: None,
        };
        let mut sealer = Sealer::new(Vec::new(), &plan, &mut |bytes| world.ports().entropy.fill(bytes)).unwrap();
        let salt = sealer.salt();
        let vector = self.vector.iter().map(|&(origin, seq, tell)| match tell {
            Tell::True(hash) => Told { origin, seq, tag: Tag::of(&salt, &hash) },
            Tell::Wrong => Told { origin, seq, tag: Tag([0xee; 4]) },
        });
        let origins = self.roster.iter().chain(&self.ranges).map(|range| range.origin);
        sealer.manifest(&Manifest::new(vector.collect(), self.receipt, Vec::new(), origins)).unwrap();
        for range in self.roster.iter().chain(&self.ranges) {
            sealer.range(range).unwrap();
        }
        let (bytes, _) = sealer.finish().unwrap();
        let folder = world.path(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("forged.zb");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// All provable events of a stream as one range, with every checkpoint.
pub fn range_of(view: &View, stream: &Stream) -> Option<Range> {
    let head = view.log().head(stream)?;
    let events = events_of(view, stream, head.checkpoint_seq);
    let checkpoints = view.log().checkpoints(stream, head.base.seq + 1, head.checkpoint_seq).unwrap();
    let checkpoints: Vec<_> = checkpoints.iter().map(|at| (at.position.seq - head.base.seq, at.checkpoint)).collect();
    let run = Run::link(head.base, events.iter().map(Vec::as_slice).collect());
    (!events.is_empty()).then(|| Range::build(stream.origin, &run, &checkpoints, Coding::Stored, &mut Compressor::new().unwrap()).unwrap())
}

fn events_of(view: &View, stream: &Stream, to: u64) -> Vec<Vec<u8>> {
    let mut events = view.log().events(stream, 1).unwrap();
    let mut all = Vec::new();
    while let Some((seq, bytes)) = events.next().unwrap() {
        if seq <= to {
            all.push(bytes.to_vec());
        }
    }
    all
}

/// A national hub, a district that relays, a clinic of five events under two checkpoints, and another clinic.
struct Domain {
    world: World,
    national: NodeId,
    district: NodeId,
    clinic: NodeId,
    other: NodeId,
}

fn domain() -> Domain {
    let world = World::new();
    let national = world.init("national", true);
    let district = world.join("district", "national", Policy::All);
    let clinic = world.join("clinic", "national", Policy::Own);
    let other = world.join("other", "national", Policy::Own);
    world.push("clinic", &["c1", "c2", "c3"]);
    world.carry("clinic", "district", "c-a");
    world.push("clinic", &["c4", "c5"]);
    world.carry("clinic", "district", "c-b");
    world.push("other", &["o1", "o2", "o3", "o4", "o5"]);
    world.carry("other", "district", "o-a");
    Domain { world, national, district, clinic, other }
}

/// A lie about a history: what the relay makes of the true range, given its own signature where it needs one.
type Lie = fn(&mut Range, &Domain);

fn events(range: &Range, domain: &Domain) -> Vec<Vec<u8>> {
    events_of(&domain.world.view("district"), &Stream::main(range.origin), range.last())
}

fn put(range: &mut Range, events: &[Vec<u8>]) {
    range.data = events.concat();
    range.raw_len = range.data.len();
    range.count = events.len() as u64;
    if let Some(last) = range.checkpoints.last_mut() {
        last.0 = events.len() as u64;
    }
    range.checkpoints.dedup_by_key(|(offset, _)| *offset);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one flat table of lies, each with its story; split, it would no longer read as one claim")]
fn whatever_a_relay_does_to_a_history_is_refused_and_nothing_of_it_is_stored() {
    let lies: [(&str, Lie, Code); 14] = [
        (
            "an event in the middle is left out",
            |range, domain| {
                let mut all = events(range, domain);
                all.remove(1);
                range.checkpoints.remove(0);
                put(range, &all);
            },
            Code::Z225,
        ),
        (
            "two events change places",
            |range, domain| {
                let mut all = events(range, domain);
                all.swap(1, 2);
                put(range, &all);
            },
            Code::Z225,
        ),
        (
            "an event stands twice",
            |range, domain| {
                let mut all = events(range, domain);
                all.insert(1, all[1].clone());
                range.checkpoints.remove(0);
                put(range, &all);
            },
            Code::Z225,
        ),
        (
            "one byte of a payload is another",
            |range, _| {
                let at = range.data.windows(2).position(|pair| pair == b"c2").unwrap();
                range.data[at] ^= 1;
            },
            Code::Z225,
        ),
        (
            "the last event is left out, the signature kept",
            |range, domain| {
                let mut all = events(range, domain);
                all.pop();
                put(range, &all);
            },
            Code::Z225,
        ),
        (
            "it ends between two checkpoints",
            |range, domain| {
                let all = events(range, domain);
                let first = range.checkpoints[0];
                range.checkpoints = vec![first];
                put(range, &all[..4]);
            },
            Code::Z225,
        ),
        (
            "the relay signs in the origin's name",
            |range, domain| {
                let all = events(range, domain);
                let run = Run::link(bundle_format::chain::Position::start(&range.origin), all[..4].iter().map(Vec::as_slice).collect());
                let view = domain.world.view("district");
                let forged = Checkpoint::sign(view.keyring().signing().0, &view.roster().domain(), &range.origin, 1, &run.end());
                range.checkpoints = vec![(4, forged)];
                put(range, &all[..4]);
            },
            Code::Z225,
        ),
        (
            "the relay signs under a key number that nobody has",
            |range, domain| {
                let view = domain.world.view("district");
                let run_end = view.log().head(&Stream::main(range.origin)).unwrap().end;
                range.checkpoints = vec![(5, Checkpoint::sign(view.keyring().signing().0, &view.roster().domain(), &range.origin, 9, &run_end))];
            },
            Code::Z615,
        ),
        (
            "a signature of another position stands at the end",
            |range, _| {
                let first = range.checkpoints[0].1;
                range.checkpoints = vec![(5, first)];
            },
            Code::Z225,
        ),
        (
            "another clinic's events under this one's name",
            |range, domain| {
                let other = Stream::main(Origin { node: domain.other, ..own_origin(domain, "other", Lane::Routine) });
                put(range, &events_of(&domain.world.view("district"), &other, 5));
            },
            Code::Z225,
        ),
        (
            "half of one clinic, half of another",
            |range, domain| {
                let other = Stream::main(own_origin(domain, "other", Lane::Routine));
                let mut all = events(range, domain);
                all.truncate(3);
                all.extend(events_of(&domain.world.view("district"), &other, 5).drain(3..));
                put(range, &all);
            },
            Code::Z225,
        ),
        ("the urgent lane instead of the routine one", |range, _| range.origin.lane = Lane::Urgent, Code::Z225),
        ("directed to somebody", |range, domain| range.origin.audience = Some(domain.other), Code::Z225),
        (
            "a history that begins in the middle, as if it were the start",
            |range, domain| {
                let all = events(range, domain);
                range.checkpoints = vec![(2, range.checkpoints[1].1)];
                range.base = Some(bundle_format::chain::Position::start(&range.origin).hash);
                put(range, &all[3..]);
            },
            Code::Z225,
        ),
    ];
    let domain = domain();
    for (index, (lie, make, code)) in lies.into_iter().enumerate() {
        let mut forge = Forge::at(&domain.world, "district").only(domain.clinic);
        make(&mut forge.ranges[0], &domain);
        let folder = format!("lie{index}");
        forge.seal(&domain.world, domain.national, &folder);
        let taken = domain.world.ingest("national", &folder);
        assert_eq!(taken.files[0].outcome, Outcome::Refused(code), "{lie}: {taken:?}");
        assert_eq!(domain.world.payloads("national"), Vec::<String>::new(), "{lie}");
    }
    let honest = Forge::at(&domain.world, "district");
    honest.seal(&domain.world, domain.national, "honest");
    assert_eq!(domain.world.ingest("national", "honest").counts.new, 10, "the truth is still taken");
}

fn own_origin(domain: &Domain, name: &str, lane: Lane) -> Origin {
    let view = domain.world.view(name);
    Origin { node: view.keyring().node(), incarnation: view.keyring().incarnation(), lane, audience: None }
}

#[test]
fn whatever_a_relay_says_it_holds_costs_at_most_a_delay() {
    let domain = domain();
    let (world, clinic) = (&domain.world, own_origin(&domain, "clinic", Lane::Routine));
    world.carry("clinic", "national", "c-up");
    let at = |seq| world.view("national").log().position(&Stream::main(clinic), seq).unwrap().unwrap().hash;
    let never = Origin { incarnation: Incarnation([7; 4]), ..clinic };
    // What the district says, and how many of the clinic's events the national hub would send to it then.
    let lies = [
        ("too much", clinic, 99, Tell::True(Hash([1; 32])), 0),
        ("too little", clinic, 2, Tell::True(at(2)), 3),
        ("another history", clinic, 4, Tell::Wrong, 5),
        ("a life that never was", never, 7, Tell::Wrong, 5),
        ("the truth", clinic, 5, Tell::True(at(5)), 0),
    ];
    for (number, (lie, origin, seq, tell, sent)) in lies.into_iter().enumerate() {
        let mut forge = Forge::at(world, "district").tell(origin, seq, tell, 100 + number as u64);
        forge.ranges.clear();
        forge.seal(world, domain.national, &format!("vector{number}"));
        let taken = world.ingest("national", &format!("vector{number}"));
        assert_eq!(taken.files[0].outcome, Outcome::Taken, "{lie}: {taken:?}");
        assert!(!taken.new_life, "{lie}: it says nothing of the hub's own past");
        let cut = world.cut("national", &[domain.district], &format!("answer{number}"));
        let events: u64 = cut.files.iter().map(|file| file.events[Lane::Routine as usize]).sum();
        assert_eq!(events, sent, "{lie}: {cut:?}");
        assert_eq!(world.payloads("national"), ["c1", "c2", "c3", "c4", "c5"], "{lie}");
    }
    // And the clinic believes what the hub says, not what the district says of the hub.
    world.carry("national", "clinic", "true-receipt");
    let status = world.view("clinic").status().unwrap();
    assert!(status.peers.iter().any(|peer| peer.node == domain.national && peer.unacknowledged == 0), "{:?}", status.peers);
}

#[test]
fn a_relay_that_claims_a_clinics_unwritten_future_makes_it_start_a_new_life_and_lose_nothing() {
    let domain = domain();
    let world = &domain.world;
    let clinic = own_origin(&domain, "clinic", Lane::Routine);
    let mut forge = Forge::at(world, "district").tell(clinic, 99, Tell::Wrong, 100);
    forge.ranges.clear();
    forge.seal(world, domain.clinic, "lie");
    let taken = world.ingest("clinic", "lie");
    assert!(taken.new_life, "{taken:?}");
    world.push("clinic", &["c6"]);
    world.carry("clinic", "national", "up");
    assert_eq!(world.payloads("national"), ["c1", "c2", "c3", "c4", "c5", "c6"]);
    // The same lie again is an old receipt.
    assert!(!world.ingest("clinic", "lie").new_life);
}

#[test]
fn a_flipped_byte_or_a_missing_end_is_never_taken_and_the_good_file_still_is() {
    let world = World::quick();
    let hub = world.init("hub", true);
    world.join("clinic", "hub", Policy::Own);
    world.push("clinic", &["p1", "p2"]);
    let cut = world.cut("clinic", &[hub], "good");
    let good = std::fs::read(&cut.files[0].path).unwrap();
    std::fs::create_dir(world.path("bad")).unwrap();
    let path = world.path("bad").join("bad.zb");
    let mut node = world.open("hub");
    let mut take = |bytes: &[u8], what: String| {
        std::fs::write(&path, bytes).unwrap();
        let taken = node.ingest(std::slice::from_ref(&path), &mut |_| {}).unwrap();
        assert!(!matches!(taken.files[0].outcome, Outcome::Taken | Outcome::Held), "{what}: {taken:?}");
        assert_eq!((taken.counts.new, taken.counts.control), (0, 0), "{what}");
        taken.files[0].outcome.clone()
    };
    for at in (0..good.len()).step_by((good.len() / 320).max(1)) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        take(&bad, format!("byte {at} flipped"));
    }
    for len in 0..good.len() {
        assert_eq!(take(&good[..len], format!("cut at {len}")), Outcome::Incomplete, "cut at {len}");
    }
    let longer = [&good[..], b"\0"].concat();
    assert_eq!(take(&longer, "one byte more".into()), Outcome::Refused(Code::Z219));
    drop(node);
    assert_eq!(world.payloads("hub"), Vec::<String>::new());
    assert_eq!(world.ingest("hub", "good").counts.new, 2);
}
