//! The rules of a conversation against themselves, with a toy node behind each end: numbers instead of events. The input is the order of turns, how
//! many bytes arrive at a time, and, where it says so, what a hostile wire makes of them.

use crate::hand::Hand;
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Codec;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use bundle_format::manifest::Manifest;
use bundle_format::message::{Reason, pages};
use bundle_format::range::Range;
use bundle_format::sign::Signature;
use bundle_format::vector::{Tag, Told};
use std::collections::{BTreeMap, VecDeque};
use zbundle::carry::exchange::{Action, Exchange, Violation};
use zbundle::carry::pace::Pace;

fn origin(node: u8) -> Origin {
    Origin { node: NodeId([node; 8]), incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: None }
}

fn range(origin: Origin, first: u64, last: u64, len: usize) -> Range {
    let checkpoints = vec![(last + 1 - first, Checkpoint { key_number: 1, signature: Signature([0; 64]) })];
    Range { origin, first, count: last + 1 - first, codec: Codec::Stored, raw_len: len, data: vec![7; len], checkpoints, base: None, prefix: None }
}

/// One end and its node.
struct End {
    exchange: Exchange,
    held: BTreeMap<Origin, u64>,
    /// From where on the next range of each history begins.
    sent: BTreeMap<Origin, u64>,
    /// The furthest it ever sent.
    furthest: BTreeMap<Origin, u64>,
    refuses: u8,
    window: u64,
    now_ms: u64,
}

impl End {
    fn new(hand: &mut Hand<'_>) -> Self {
        let known = !hand.byte().is_multiple_of(4);
        let held = (1..=3).map(|node| (origin(node), u64::from(hand.byte() % 60))).collect();
        let window = [512, 4096, 65_536, u64::MAX][usize::from(hand.byte() % 4)];
        let exchange = Exchange::new(known, [0, 2048, u64::MAX][usize::from(hand.byte() % 3)], Pace::new(None, 600));
        let mut end = Self { exchange, held, sent: BTreeMap::new(), furthest: BTreeMap::new(), refuses: hand.byte() % 4, window, now_ms: 0 };
        if known {
            end.greet();
        }
        end
    }

    fn greet(&mut self) {
        let held = self.held.iter().filter(|(_, seq)| **seq > 0);
        let vector = held.map(|(origin, seq)| Told { origin: *origin, seq: *seq, tag: Tag([1; 4]) }).collect();
        self.exchange.greet(pages(Manifest::new(vector, Some((Incarnation([7; 4]), 1)), Vec::new(), [])), self.window, None);
    }

    /// What the driver does between two waits.
    fn turn(&mut self) -> Result<(), Violation> {
        self.now_ms += 10;
        while let Some(action) = self.exchange.poll_action() {
            self.act(action)?;
        }
        while let Some(len) = self.exchange.wants_range() {
            let sent = |origin: &Origin| self.sent.get(origin).copied().unwrap_or(0);
            let lack = self.held.iter().find(|(origin, held)| sent(origin) < **held).map(|(origin, held)| (*origin, sent(origin) + 1, *held));
            let Some((origin, first, held)) = lack else {
                self.exchange.nothing_more();
                break;
            };
            let last = held.min(first + 2);
            self.sent.insert(origin, last);
            let furthest = self.furthest.entry(origin).or_default();
            *furthest = last.max(*furthest);
            let len = usize::try_from(len).unwrap_or(usize::MAX).saturating_sub(180).clamp(1, 1000);
            self.exchange.send(range(origin, first, last, len), self.now_ms);
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Introduce => {
                self.sent.clear();
                self.exchange.introduce(Vec::new());
                self.greet();
            }
            Action::Learn(_) => {
                self.exchange.identified(true);
                self.greet();
                self.exchange.receive(&[], self.now_ms)?;
            }
            Action::Hear(heard) => {
                for told in heard.vector {
                    let sent = self.sent.entry(told.origin).or_default();
                    *sent = told.seq.max(*sent);
                }
            }
            Action::Take(range) => self.take(&range),
            Action::Credit { origin, seq } => {
                assert!(self.furthest.get(&origin).is_some_and(|furthest| seq <= *furthest), "credit for what was never sent");
            }
            Action::Resend { origin, seq, .. } => drop(self.sent.insert(origin, seq)),
            Action::Lost(_) => {}
        }
        Ok(())
    }

    fn take(&mut self, range: &Range) {
        let held = self.held.get(&range.origin).copied().unwrap_or(0);
        if self.refuses > 0 || range.first > held + 1 {
            self.refuses = self.refuses.saturating_sub(1);
            return self.exchange.again(&range.origin, held, Tag([1; 4]), Reason::Gap);
        }
        let held = held.max(range.last());
        self.held.insert(range.origin, held);
        let sent = self.sent.entry(range.origin).or_default();
        *sent = range.last().max(*sent);
        self.exchange.taken(&range.origin, range.last()); // never beyond what was sent (R7.4-d)
    }
}

pub fn exchange(bytes: &[u8]) {
    let mut hand = Hand::new(bytes);
    let hostile = hand.byte() % 2 == 1;
    let mut ends = [End::new(&mut hand), End::new(&mut hand)];
    let want: BTreeMap<Origin, u64> = ends[0].held.iter().map(|(origin, seq)| (*origin, ends[1].held[origin].max(*seq))).collect();
    let mut wires: [VecDeque<u8>; 2] = Default::default();
    let mut steps = 0;
    while !hand.is_empty() && steps < 600 {
        steps += 1;
        if let Err(violation) = step(&mut ends, &mut wires, &mut hand, hostile) {
            return assert!(hostile, "two honest ends keep the rules, and not: {violation}");
        }
    }
    if !hostile {
        settle(&mut ends, &mut wires, &want);
    }
}

/// One turn, or some bytes arriving, at the end the hand chooses.
fn step(ends: &mut [End; 2], wires: &mut [VecDeque<u8>; 2], hand: &mut Hand<'_>, hostile: bool) -> Result<(), Violation> {
    let choice = hand.byte();
    let at = usize::from(choice & 1);
    match choice >> 1 & 3 {
        0 => {
            ends[at].turn()?;
            wires[at].extend(ends[at].exchange.poll_output());
            assert!(wires[at].len() < 1 << 20, "what waits on the wire is bounded");
            Ok(())
        }
        1 if hostile => {
            let piece = hand.piece();
            ends[at].exchange.receive(piece, 5)
        }
        2 if hostile && !wires[1 - at].is_empty() => {
            let place = hand.below(wires[1 - at].len());
            wires[1 - at][place] ^= hand.byte();
            Ok(())
        }
        _ => carry(ends, wires, 1 - at, hand.below(2000) + 1),
    }
}

/// Up to `len` bytes of what `from` said arrive.
fn carry(ends: &mut [End; 2], wires: &mut [VecDeque<u8>; 2], from: usize, len: usize) -> Result<(), Violation> {
    let len = len.min(wires[from].len());
    let bytes: Vec<u8> = wires[from].drain(..len).collect();
    let to = &mut ends[1 - from];
    to.exchange.receive(&bytes, to.now_ms)
}

/// SPEC §7.7: two honest ends fall silent, level; two strangers part.
fn settle(ends: &mut [End; 2], wires: &mut [VecDeque<u8>; 2], want: &BTreeMap<Origin, u64>) {
    for _ in 0..5000 {
        for at in 0..2 {
            ends[at].turn().expect("two honest ends keep the rules");
            wires[at].extend(ends[at].exchange.poll_output());
        }
        if wires.iter().all(VecDeque::is_empty) {
            let apart = ends.iter().all(|end| end.exchange.ending().is_some());
            let level = ends.iter().all(|end| end.held == *want && end.exchange.is_settled());
            let helds = [0, 1].map(|at: usize| ends[at].held.values().copied().collect::<Vec<_>>());
            return assert!(apart || level, "silent, and neither level nor parted: {helds:?} {:?} {:?}", ends[0].exchange, ends[1].exchange);
        }
        for from in 0..2 {
            carry(ends, wires, from, 1500).expect("two honest ends keep the rules");
        }
    }
    panic!("they never fall silent");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for first in 0..4u8 {
        for known in [[1, 1], [0, 1], [1, 0], [0, 0]] {
            let head = [first % 2, known[0], 40, 3, 0, 2, first / 2, 1, known[1], 0, 9, 1, 1, 0, 0];
            let turns: Vec<u8> = (0..40u8).flat_map(|n| if n % 3 < 2 { vec![n % 2] } else { vec![6 + n % 2, n, 200] }).collect();
            seeds.push([&head[..], &turns].concat());
        }
    }
    seeds
}
