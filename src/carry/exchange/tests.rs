//! The exchange against itself, with a toy node behind each end: numbers instead of events.

use super::*;
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Codec;
use bundle_format::ids::{Lane, NodeId};
use bundle_format::message::pages;
use bundle_format::sign::Signature;
use proptest::prelude::*;

mod edges;

fn origin(node: u8) -> Origin {
    Origin { node: NodeId([node; 8]), incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: None }
}

/// Events `first..=last`, as long as that many bytes.
fn range(origin: Origin, first: u64, last: u64, len: usize) -> Range {
    let checkpoints = vec![(last + 1 - first, Checkpoint { key_number: 1, signature: Signature([0; 64]) })];
    Range { origin, first, count: last + 1 - first, codec: Codec::Stored, raw_len: len, data: vec![7; len], checkpoints, base: None, prefix: None }
}

fn told(held: &BTreeMap<Origin, u64>) -> Vec<Manifest> {
    let vector = held.iter().filter(|(_, seq)| **seq > 0).map(|(origin, seq)| Told { origin: *origin, seq: *seq, tag: Tag([1; 4]) });
    pages(Manifest::new(vector.collect(), Some((Incarnation([7; 4]), 1)), Vec::new(), []))
}

fn pace() -> Pace {
    Pace::new(None, 600)
}

/// One end.
struct Toy {
    exchange: Exchange,
    held: BTreeMap<Origin, u64>,
    sent: BTreeMap<Origin, u64>,
    credited: BTreeMap<Origin, u64>,
    /// Takes it refuses before it takes one, each with an `again`.
    refuses: u32,
    /// Whether an introduction makes the peer known.
    learns: bool,
    window: u64,
    take: Option<u64>,
    /// Ranges of its own it has made.
    made: u64,
}

impl Toy {
    fn new(known: bool, speculates: bool, held: &[(u8, u64)], window: u64) -> Self {
        let held = held.iter().map(|(node, seq)| (origin(*node), *seq)).collect();
        let exchange = Exchange::new(known, if speculates { u64::MAX } else { 0 }, pace());
        let mut toy =
            Self { exchange, held, sent: BTreeMap::new(), credited: BTreeMap::new(), refuses: 0, learns: true, window, take: None, made: 0 };
        if known {
            toy.greet();
        }
        toy
    }

    fn greet(&mut self) {
        self.exchange.greet(told(&self.held), self.window, self.take);
    }

    /// What the driver does between two waits.
    fn turn(&mut self, now_ms: u64) -> Result<(), Violation> {
        while let Some(action) = self.exchange.poll_action() {
            match action {
                Action::Introduce => {
                    self.sent.clear();
                    self.exchange.introduce(Vec::new());
                    self.greet();
                }
                Action::Learn(_) => {
                    self.exchange.identified(self.learns);
                    if self.learns {
                        self.greet();
                        self.exchange.receive(&[], now_ms)?;
                    }
                }
                Action::Hear(heard) => {
                    for told in heard.vector {
                        let sent = self.sent.entry(told.origin).or_default();
                        *sent = told.seq.max(*sent);
                    }
                }
                Action::Take(range) => self.take(&range),
                Action::Credit { origin, seq } => {
                    let credited = self.credited.entry(origin).or_default();
                    *credited = seq.max(*credited);
                }
                Action::Resend { origin, seq, .. } => {
                    self.sent.insert(origin, seq);
                }
                Action::Lost(_) => {}
            }
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
            self.made += 1;
            let bound = self.exchange.pace().flight_len().min(self.exchange.window);
            let before = self.exchange.flight();
            let sent = self.exchange.send(range(origin, first, last, usize::try_from(len).unwrap().saturating_sub(180).max(1)), now_ms);
            assert!(before == 0 || before < bound, "{before} bytes were on their way, of {bound}");
            assert!(sent <= len + 20, "{sent} bytes are sent where {len} were asked for");
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
        self.sent.insert(range.origin, held.max(self.sent.get(&range.origin).copied().unwrap_or(0)));
        self.exchange.taken(&range.origin, held);
    }
}

/// Two ends and what is between them.
struct Pair {
    ends: [Toy; 2],
    wires: [VecDeque<u8>; 2],
    now_ms: u64,
}

impl Pair {
    fn of(ends: [Toy; 2]) -> Self {
        Self { ends, wires: Default::default(), now_ms: 0 }
    }

    fn turn(&mut self, end: usize) {
        self.now_ms += 10;
        self.ends[end].turn(self.now_ms).unwrap();
        let said = self.ends[end].exchange.poll_output();
        self.wires[end].extend(said);
    }

    /// Up to `len` bytes of what `from` said arrive.
    fn carry(&mut self, from: usize, len: usize) {
        let len = len.min(self.wires[from].len());
        let bytes: Vec<u8> = self.wires[from].drain(..len).collect();
        self.ends[1 - from].exchange.receive(&bytes, self.now_ms).unwrap();
    }

    /// Until nobody has a word left.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            (0..2).for_each(|end| self.turn(end));
            if self.wires.iter().all(VecDeque::is_empty) {
                return;
            }
            (0..2).for_each(|end| self.carry(end, 700));
        }
        panic!("they never fall silent");
    }

    fn assert_level(&self) {
        let [a, b] = &self.ends;
        assert_eq!(a.held, b.held);
        assert!(a.exchange.is_settled() && b.exchange.is_settled(), "{:?} {:?}", a.exchange, b.exchange);
    }
}

#[test]
fn two_ends_become_level_whoever_knows_whom() {
    for (knows, speculates) in [([true, true], false), ([true, true], true), ([false, true], false), ([true, false], false), ([true, false], true)] {
        let mut pair = Pair::of([Toy::new(knows[0], speculates, &[(1, 40), (2, 3)], 65_536), Toy::new(knows[1], false, &[(2, 9), (3, 1)], 65_536)]);
        pair.settle();
        pair.assert_level();
    }
    let mut strangers = Pair::of([Toy::new(false, false, &[], 1), Toy::new(false, false, &[], 1)]);
    strangers.settle();
    assert!(strangers.ends.iter().all(|end| matches!(end.exchange.ending(), Some(Ending::WeRefused(Code::Z620) | Ending::PeerRefused(Code::Z620)))));
}

/// Found by reading: what came in one piece with an introduction was read past, and the two waited for each other.
#[test]
fn a_hello_in_one_piece_with_the_introduction_is_heard() {
    let mut pair = Pair::of([Toy::new(true, true, &[(1, 4)], 65_536), Toy::new(false, false, &[(2, 4)], 65_536)]);
    for _ in 0..20 {
        (0..2).for_each(|end| pair.turn(end));
        (0..2).for_each(|end| pair.carry(end, usize::MAX));
    }
    pair.assert_level();
}

/// Found by reading: `done`, said before the peer heard that it must send something again, was believed; the one that had asked hung up.
#[test]
fn who_asked_for_something_again_is_not_done_before_it_came() {
    let mut pair = Pair::of([Toy::new(true, false, &[(1, 9)], 65_536), Toy::new(true, false, &[], 65_536)]);
    pair.ends[1].refuses = 1;
    for _ in 0..3 {
        (0..2).for_each(|end| pair.turn(end));
        pair.carry(1, usize::MAX);
        while !pair.wires[0].is_empty() {
            pair.carry(0, 1); // byte by byte, and a turn at each
            pair.turn(1);
            assert!(!pair.ends[1].exchange.is_settled() || pair.ends[1].held == pair.ends[0].held, "it would hang up now");
        }
    }
    pair.settle();
    pair.assert_level();
}

/// Found by test: the ends of both branches became one acknowledgement, and one branch was never credited.
#[test]
fn both_branches_of_a_fork_are_acknowledged_whichever_came_first() {
    for (first, second) in [(9, 4), (4, 9)] {
        let (mut here, mut there) = (open(), open());
        there.receive(&here.poll_output(), 0).unwrap();
        let (a, b) = (range(origin(1), 2, first, 50), range(origin(1), 2, second, 50));
        here.send(a, 1);
        here.send(b, 1);
        let mut table = LogTable::default();
        table.push(origin(1));
        there.theirs = table;
        there.taken(&origin(1), first);
        there.taken(&origin(1), second);
        here.receive(&there.poll_output(), 9).unwrap();
        let credits: Vec<_> = std::iter::from_fn(|| here.poll_action()).collect();
        for seq in [first, second] {
            assert!(credits.contains(&Action::Credit { origin: origin(1), seq }), "{seq}: {credits:?}");
        }
        assert_eq!(here.flight(), 0);
    }
    // One that went out behind the acknowledged one is still on its way.
    let mut here = open();
    here.send(range(origin(1), 2, 9, 50), 1);
    here.send(range(origin(1), 2, 4, 50), 1);
    here.receive(&Message::Ack(vec![(0, 9)]).to_bytes(&LogTable::default()), 9).unwrap();
    assert!(here.flight() > 0);
}

fn bytes(message: &Message, ours: &LogTable) -> Vec<u8> {
    message.to_bytes(ours)
}

/// An end that has heard hello, with one history of each side named and a range of ours on its way.
fn open() -> Exchange {
    let mut exchange = greeting();
    let hello = Hello { more: false, window: 65_536, take: None, manifest: told(&[(origin(2), 5)].into()).remove(0) };
    exchange.receive(&bytes(&Message::Hello(hello), &LogTable::default()), 0).unwrap();
    while exchange.poll_action().is_some() {}
    exchange.send(range(origin(1), 1, 3, 100), 0);
    exchange.poll_output();
    exchange
}

fn greeting() -> Exchange {
    let mut exchange = Exchange::new(true, 0, pace());
    exchange.greet(told(&[(origin(1), 5)].into()), 65_536, None);
    exchange.poll_output();
    exchange
}

fn asking() -> Exchange {
    let mut exchange = Exchange::new(false, 0, pace());
    exchange.poll_output();
    exchange
}

fn closed() -> Exchange {
    let mut exchange = open();
    exchange.close(None);
    exchange.poll_output();
    exchange
}

/// Before the peer's hello as many bytes of ranges as were allowed, and the last range may pass that; after it as many as the link takes.
#[test]
fn ahead_of_the_hello_goes_what_is_allowed_and_no_more() {
    for (ahead_len, want) in [(0, 0), (1, 1), (u64::MAX, 3)] {
        let mut exchange = Exchange::new(true, ahead_len, pace());
        exchange.greet(told(&[(origin(1), 50)].into()), 65_536, None);
        let mut sent = 0;
        while exchange.wants_range().is_some() {
            sent += 1;
            exchange.send(range(origin(1), sent, sent, 2048), 0);
        }
        assert_eq!(sent, want, "{ahead_len} ahead");
        let hello = Hello { more: false, window: 65_536, take: None, manifest: told(&BTreeMap::new()).remove(0) };
        exchange.receive(&bytes(&Message::Hello(hello), &LogTable::default()), 0).unwrap();
        assert_eq!(exchange.wants_range().is_some(), sent < 3, "{ahead_len} ahead, after the hello");
    }
}

/// Each kind of message, once.
fn kinds() -> Vec<Message> {
    vec![
        Message::Hello(Hello { more: false, window: 65_536, take: None, manifest: told(&BTreeMap::new()).remove(0) }),
        Message::Range(range(origin(3), 1, 2, 10)),
        Message::Ack(vec![(0, 3)]),
        Message::Again(Again { log: 0, seq: 0, tag: Tag([1; 4]), reason: Reason::Gap }),
        Message::Done(0),
        Message::Who,
        Message::Introduction(Vec::new()),
        Message::Bye(None),
        Message::Busy,
        Message::Lost(3),
    ]
}

#[test]
fn every_message_stands_where_the_table_says_and_changes_nothing_elsewhere() {
    // By state, for each kind: `.` heard, `x` refused, `-` read past.
    type Begin = fn() -> Exchange;
    let table: [(Begin, &str); 4] = [(asking, "-----...--"), (greeting, ".xxxx.x..x"), (open, "x....xx..."), (closed, "----------")];
    for (begin, row) in table {
        for (message, want) in kinds().into_iter().zip(row.chars()) {
            let mut exchange = begin();
            let before = format!("{exchange:?}");
            let heard = exchange.receive(&bytes(&message, &LogTable::default()), 5);
            let state = format!("{message:?} in {:?}", begin().state);
            assert_eq!(heard.is_err(), want == 'x', "{state}: {heard:?}");
            match want {
                'x' => assert_eq!(format!("{exchange:?}"), before, "{state} is refused and changes nothing"),
                '-' => assert!(exchange.poll_action().is_none() && exchange.poll_output().is_empty(), "{state} is read past"),
                _ => assert!(message == Message::Busy || format!("{exchange:?}") != before, "{state} counts"),
            }
        }
    }
}

#[test]
fn what_may_stand_but_not_say_that_is_refused_and_changes_nothing() {
    let again = |log| Message::Again(Again { log, seq: 0, tag: Tag([1; 4]), reason: Reason::Gap });
    for (story, message, want) in [
        ("an acknowledgement beyond what was sent", Message::Ack(vec![(0, 4)]), Violation::NeverSent),
        ("one good and one bad acknowledgement", Message::Ack(vec![(0, 3), (0, 4)]), Violation::NeverSent),
        ("an acknowledgement of a number nobody gave", Message::Ack(vec![(1, 1)]), Violation::NeverSent),
        ("again of a number nobody gave", again(1), Violation::NeverSent),
        ("done after more than was asked for", Message::Done(1), Violation::NeverSent),
    ] {
        let mut exchange = open();
        let before = format!("{exchange:?}");
        assert_eq!(exchange.receive(&bytes(&message, &LogTable::default()), 5), Err(want), "{story}");
        assert_eq!(format!("{exchange:?}"), before, "{story}");
    }
    // A handle that the table of the sender has and ours has not.
    let mut theirs = LogTable::default();
    (4..9).for_each(|node| theirs.push(origin(node)));
    let read = open().receive(&bytes(&Message::Range(range(origin(8), 1, 1, 1)), &theirs), 5);
    assert!(matches!(read, Err(Violation::Message(_))), "{read:?}");
    // Who is asked once.
    let mut exchange = greeting();
    let who = bytes(&Message::Who, &LogTable::default());
    exchange.receive(&who, 0).unwrap();
    assert!(matches!(exchange.receive(&who, 0), Err(Violation::OutOfPlace { .. })));
}

fn page(more: bool, nodes: impl IntoIterator<Item = u8>) -> Vec<u8> {
    let held = nodes.into_iter().map(|node| (origin(node), 1)).collect();
    bytes(&Message::Hello(Hello { more, window: 1000, take: None, manifest: told(&held).remove(0) }), &LogTable::default())
}

#[test]
fn a_vector_ascends_over_its_pages() {
    for (first, second, good) in [(1, 2, true), (2, 2, false), (3, 2, false)] {
        let mut exchange = greeting();
        exchange.receive(&page(true, [first]), 0).unwrap();
        assert!(exchange.poll_action().is_none(), "half a hello is no hello");
        assert_eq!(exchange.receive(&page(false, [second]), 0).is_ok(), good, "{first} {second}");
        assert_eq!(exchange.is_open(), good);
    }
    assert_eq!(greeting().receive(&page(true, []), 0), Err(Violation::Vector), "a page of nothing, and another, for ever");
}

#[test]
fn a_peer_names_so_many_histories_and_no_more() {
    let mut exchange = greeting();
    let mut named = 0_u32;
    let refused = loop {
        let vector = (named..named + 1000).map(|number| {
            let node = NodeId(u64::from(number).to_be_bytes());
            Told { origin: Origin { node, ..origin(0) }, seq: 1, tag: Tag([0; 4]) }
        });
        let manifest = Manifest::new(vector.collect(), None, Vec::new(), []);
        let hello = Message::Hello(Hello { more: true, window: 1, take: None, manifest });
        if let Err(violation) = exchange.receive(&bytes(&hello, &LogTable::default()), 0) {
            break violation;
        }
        named += 1000;
    };
    assert_eq!((refused, named), (Violation::TooMuch, 65_000));
    let mut exchange = open();
    let mut refused = None;
    for number in 0..70_000_u64 {
        let node = NodeId((number << 8).to_be_bytes());
        let range = Message::Range(range(Origin { node, ..origin(0) }, 1, 1, 1));
        // The table is a list: past a few thousand names each look is slow, so the rest are put there at once.
        if number == 1000 {
            (0..64_000_u64).for_each(|fill| exchange.theirs.push(Origin { node: NodeId((fill << 8 | 1).to_be_bytes()), ..origin(0) }));
        }
        if let Err(violation) = exchange.receive(&bytes(&range, &LogTable::default()), 0) {
            refused = Some(violation);
            break;
        }
        while exchange.poll_action().is_some() {}
    }
    assert_eq!((refused, exchange.theirs.len()), (Some(Violation::TooMuch), HISTORY_COUNT_MAX));
}

#[test]
fn no_more_is_taken_than_was_said_and_no_more_is_sent() {
    let mut exchange = Exchange::new(true, 0, pace());
    exchange.greet(told(&BTreeMap::new()), 65_536, Some(1000));
    exchange.receive(&page(false, []), 0).unwrap();
    let mut sender = LogTable::default();
    let first = bytes(&Message::Range(range(origin(1), 1, 1, 1100)), &sender);
    sender.named(origin(1));
    exchange.receive(&first, 0).unwrap();
    let second = bytes(&Message::Range(range(origin(1), 2, 2, 10)), &sender);
    assert_eq!(exchange.receive(&second, 0), Err(Violation::TooMuch));
    // An honest end that waits for the hello never comes so far.
    for take in [0, 300, 1000, 5000, 20_000] {
        let mut pair = Pair::of([Toy::new(true, false, &[(1, 400)], 65_536), Toy::new(true, false, &[], 65_536)]);
        let mut fresh = Exchange::new(true, 0, pace());
        std::mem::swap(&mut fresh, &mut pair.ends[1].exchange);
        pair.ends[1].take = Some(take);
        pair.ends[1].greet();
        pair.settle();
        assert!(pair.ends[1].held.get(&origin(1)).is_none_or(|held| *held < 400), "{take}");
    }
}

#[test]
fn a_stranger_is_not_listened_to_for_long() {
    let mut exchange = asking();
    let hello = page(false, 0..20);
    let mut said = 0;
    let refused = loop {
        if let Err(violation) = exchange.receive(&hello, 0) {
            break violation;
        }
        said += hello.len();
        assert!(said <= UNKNOWN_LEN_MAX + hello.len());
    };
    assert_eq!((refused, Violation::Unknown.code()), (Violation::Unknown, Code::Z620));
    let long = [&b"\x5a\x00\x01\x10\x00"[..], &[0; 100]].concat();
    assert_eq!(asking().receive(&long, 0), Err(Violation::Unknown), "before it has arrived");
    let noise = |len: usize| [&b"\x59"[..], &u16::try_from(len).unwrap().to_be_bytes(), &vec![0; len]].concat();
    let mut exchange = asking();
    exchange.receive(&[noise(UNKNOWN_LEN_MAX / 2), noise(UNKNOWN_LEN_MAX / 2)].concat(), 0).unwrap();
    assert_eq!(exchange.receive(&page(false, [1]), 0), Err(Violation::Unknown), "not a byte more");
    let roster = Message::Introduction((0..5).map(|_| range(origin(1), 1, 1, 2000)).collect());
    assert_eq!(asking().receive(&bytes(&roster, &LogTable::default()), 0), Err(Violation::TooMuch));
    let introduction = |len| bytes(&Message::Introduction(vec![range(origin(1), 1, 1, len)]), &LogTable::default());
    let most = INTRODUCTION_LEN_MAX + 16 + 3; // its kind and the heads of two arrays, and around all that a head of three bytes
    let longest = most - (introduction(1000).len() - 1000);
    assert_eq!(introduction(longest).len(), most);
    asking().receive(&introduction(longest), 0).unwrap();
    assert_eq!(asking().receive(&introduction(longest + 1), 0), Err(Violation::TooMuch));
    // One introduction; what comes behind it waits until it is known whether it counts.
    let mut exchange = asking();
    let introduction = bytes(&Message::Introduction(Vec::new()), &LogTable::default());
    exchange.receive(&introduction.repeat(2), 0).unwrap();
    assert_eq!((exchange.poll_action(), exchange.poll_action()), (Some(Action::Learn(Vec::new())), None));
    exchange.identified(true);
    assert!(exchange.receive(&[], 0).is_err(), "the second one is out of place");
    let mut exchange = asking();
    exchange.receive(&introduction, 0).unwrap();
    exchange.identified(false);
    assert_eq!(exchange.ending(), Some(Ending::WeRefused(Code::Z620)));
}

#[test]
fn what_was_on_its_way_when_we_asked_again_is_read_past() {
    let mut exchange = open();
    let mut sender = LogTable::default();
    sender.push(origin(2));
    let say = |first, last| bytes(&Message::Range(range(origin(2), first, last, 10)), &sender);
    exchange.again(&origin(2), 5, Tag([1; 4]), Reason::Differs);
    exchange.receive(&[say(8, 9), say(10, 12)].concat(), 0).unwrap();
    assert_eq!(exchange.poll_action(), None);
    exchange.receive(&bytes(&Message::Done(0), &sender), 0).unwrap();
    assert!(exchange.is_waiting() && !exchange.is_settled(), "it was said before it heard us");
    exchange.receive(&[say(6, 9), say(10, 12)].concat(), 0).unwrap();
    let mut taken = std::iter::from_fn(|| exchange.poll_action());
    assert!(matches!((taken.next(), taken.next()), (Some(Action::Take(a)), Some(Action::Take(b))) if (a.first, b.first) == (6, 10)));
}

#[test]
fn whoever_ends_it_both_know_how() {
    for code in [None, Some(Code::Z203)] {
        let (mut here, mut there) = (open(), open());
        here.close(code);
        there.receive(&here.poll_output(), 0).unwrap();
        assert_eq!(here.ending(), Some(code.map_or(Ending::WeLater, Ending::WeRefused)));
        assert_eq!(there.ending(), Some(code.map_or(Ending::PeerLater, Ending::PeerRefused)));
        here.close(Some(Code::Z100));
        here.busy();
        here.nothing_more();
        assert!(here.poll_output().is_empty(), "nothing is said after the end");
        assert_eq!(here.wants_range(), None);
    }
}

#[derive(Clone, Debug)]
enum Luck {
    Turn(usize),
    Carry(usize, usize),
    Push(usize, u8, u64),
    Refuse(usize),
}

fn any_luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        3 => (0..2_usize).prop_map(Luck::Turn),
        6 => (0..2_usize, prop_oneof![1..10_usize, 1..6000_usize]).prop_map(|(end, len)| Luck::Carry(end, len)),
        1 => (0..2_usize, 0..3_u8, 1..30_u64).prop_map(|(end, lane, count)| Luck::Push(end, lane, count)),
        1 => (0..2_usize).prop_map(Luck::Refuse),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_pieces_pushes_and_refusals_both_ends_get_everything(
        luck in prop::collection::vec(any_luck(), 0..200),
        windows in (300..70_000_u64, 300..70_000_u64),
        strangers in 0..3_u8,
        speculates in any::<bool>(),
    ) {
        // Each end writes histories of its own: 10, 11, 12 and 20, 21, 22.
        let mut pair = Pair::of([
            Toy::new(strangers != 1, speculates, &[(10, 5), (11, 40)], windows.0),
            Toy::new(strangers != 2, false, &[(20, 3)], windows.1),
        ]);
        for luck in luck {
            match luck {
                Luck::Turn(end) => pair.turn(end),
                Luck::Carry(from, len) => pair.carry(from, len),
                Luck::Push(end, lane, count) => *pair.ends[end].held.entry(origin([10, 20][end] + lane)).or_default() += count,
                Luck::Refuse(end) => pair.ends[end].refuses += 1,
            }
        }
        pair.settle();
        pair.assert_level();
        let credited = |end: &Toy, from: u8| end.held.iter().filter(|(origin, _)| origin.node.0[0] / 10 == from / 10).all(|(origin, held)| end.credited.get(origin) == Some(held));
        prop_assert!(credited(&pair.ends[0], 10) && credited(&pair.ends[1], 20), "each knows that the other has it");
    }
}
