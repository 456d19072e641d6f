//! What goes out together, and what is not kept waiting for the next.

use super::*;
use crate::carry::pace::Pace;
use crate::link::Due;
use crate::ports::clock::FakeClock;
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Codec;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};
use bundle_format::manifest::Manifest;
use bundle_format::message::pages;
use bundle_format::sign::Signature;
use bundle_format::vector::{Tag, Told};
use std::cell::{Cell, RefCell};
use std::task::Context;

const ORIGIN: Origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: None };

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Cut(usize),
    Wrote(usize),
}

type Story = Rc<RefCell<Vec<Seen>>>;

/// A peer that says no word, or this, and then this again and again; or to whom nothing can be written.
struct Peer {
    story: Story,
    says: Option<Vec<u8>>,
    again: Vec<u8>,
    is_broken: bool,
}

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(says) = self.says.take().or_else(|| Some(self.again.clone()).filter(|again| !again.is_empty())) else { return Poll::Pending };
        read.put_slice(&says);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.story.borrow_mut().push(Seen::Wrote(bytes.len()));
        Poll::Ready(if self.is_broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(bytes.len()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A node with ranges of these lengths to send, each of which takes so long to cut; the key of a peer that talks without pause has ended.
struct Sender {
    key_ended: bool,
    lens: Vec<usize>,
    cut_ms: u64,
    clock: Rc<FakeClock>,
    story: Story,
}

impl Home for Sender {
    async fn act(&mut self, _: Action) -> Result<Answer, Refusal> {
        Ok(Answer::Nothing)
    }

    async fn durable(&mut self) -> Result<Vec<Due>, Refusal> {
        Ok(Vec::new())
    }

    async fn cut(&mut self, _: Room) -> Result<Cut, Refusal> {
        let Some(len) = self.lens.pop() else { return Ok(Cut::Nothing) };
        self.clock.0.set(self.clock.0.get() + self.cut_ms);
        self.story.borrow_mut().push(Seen::Cut(len));
        let first = 10 - self.lens.len() as u64;
        let checkpoints = vec![(1, Checkpoint { key_number: 1, signature: Signature([0; 64]) })];
        let codec = Codec::Stored;
        Ok(Cut::Range(Range { origin: ORIGIN, first, count: 1, codec, raw_len: len, data: vec![7; len], checkpoints, base: None, prefix: None }))
    }

    async fn changed(&mut self) -> Result<(), Refusal> {
        if self.key_ended { Err(Refusal { code: Code::Z614, why: String::new() }) } else { std::future::pending().await }
    }

    fn moved(&mut self, _: &Exchange) {}
}

/// What a dialer does that remembers its peer, and has ranges of these lengths, each of which takes so long to cut.
async fn sent(lens: &[usize], cut_ms: u64) -> Vec<Seen> {
    let story = Story::default();
    let peer = Peer { story: Rc::clone(&story), says: None, again: Vec::new(), is_broken: false };
    assert!(driven(peer, lens, cut_ms).await.is_none(), "it waits for the peer");
    story.borrow().clone()
}

/// How it ended with `stream`; `None` when it still waits a second later.
async fn driven(mut stream: Peer, lens: &[usize], cut_ms: u64) -> Option<Result<Ended, Broken>> {
    let (story, clock) = (Rc::clone(&stream.story), Rc::new(FakeClock(Cell::new(0))));
    let mut exchange = Exchange::new(true, u64::MAX, Pace::new(Some(30_000), 600));
    let told = vec![Told { origin: ORIGIN, seq: 10, tag: Tag([1; 4]) }];
    exchange.greet(pages(Manifest::new(told, Some((Incarnation([7; 4]), 1)), Vec::new(), [])), u64::MAX, None);
    let key_ended = !stream.again.is_empty();
    let mut home = Sender { key_ended, lens: lens.iter().rev().copied().collect(), cut_ms, clock: Rc::clone(&clock), story };
    let (_asked, stop) = tokio::sync::watch::channel(false);
    let driven = Drive::new(&mut stream, &mut exchange, &mut home, &*clock, terms(stop)).run();
    tokio::time::timeout(Duration::from_secs(1), driven).await.ok()
}

/// Those of a dialer that came for one session, without bounds.
fn terms(stop: tokio::sync::watch::Receiver<bool>) -> Terms {
    let count = || Rc::new(|| 0_u64) as Rc<dyn Fn() -> u64>;
    let (carried, written, stall_ms) = (count(), count(), Terms::DIALLER_STALL_MS);
    Terms { once: true, deadline_ms: None, budget: None, rate: None, carried, written, stall_ms, stop }
}

/// The lengths that were written.
fn written(story: &[Seen]) -> Vec<usize> {
    let wrote = |seen: &Seen| if let Seen::Wrote(len) = seen { Some(*len) } else { None };
    story.iter().filter_map(wrote).collect()
}

#[tokio::test(start_paused = true)]
async fn a_long_range_goes_by_itself_and_short_ones_go_together() {
    let long = written(&sent(&[3000, 4000], 0).await);
    assert_eq!(long.len(), 4, "the hello, each range, and that there is no more: {long:?}");
    assert!(long[0] < 200 && (3000..3200).contains(&long[1]) && (4000..4200).contains(&long[2]), "{long:?}");
    let short = written(&sent(&[300, 200], 0).await);
    assert_eq!(short.len(), 1, "{short:?}");
    let mixed = written(&sent(&[200, 5000], 0).await);
    assert!(mixed[0] < 600 && (5000..5200).contains(&mixed[1]), "what is short and came first is not read with what is long: {mixed:?}");
}

#[tokio::test(start_paused = true)]
async fn what_took_long_to_cut_is_under_way_before_the_next_is_cut() {
    let slow = sent(&[300, 200], 2 * CUT_MS_MAX).await;
    let order: Vec<_> = slow.iter().map(|seen| matches!(seen, Seen::Wrote(_))).collect();
    assert_eq!(order[..4], [false, true, false, true], "{slow:?}");
}

/// A stream that failed may have taken what it was given: given once more it went twice, and the other end was told a second hello.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_written_is_not_written_again_though_there_is_something_to_read() {
    let story = Story::default();
    let mut says = Vec::new();
    let mut other = Exchange::new(true, 0, Pace::new(None, 600));
    other.greet(pages(Manifest::new(Vec::new(), Some((Incarnation([8; 4]), 1)), Vec::new(), [])), u64::MAX, None);
    says.extend(other.poll_output());
    let ended = driven(Peer { story: Rc::clone(&story), says: Some(says), again: Vec::new(), is_broken: true }, &[300], 0).await;
    assert!(matches!(ended, Some(Err(Broken::Link(_)))), "{ended:?}");
    assert_eq!(written(&story.borrow()).len(), 1, "{story:?}");
}

/// R7.4-j: what comes from such a peer is always there before any news.
#[tokio::test(start_paused = true)]
async fn news_are_heard_though_the_peer_talks_without_pause() {
    let mut other = Exchange::new(true, 0, Pace::new(None, 600));
    other.greet(pages(Manifest::new(Vec::new(), Some((Incarnation([8; 4]), 1)), Vec::new(), [])), u64::MAX, None);
    let says = Some(other.poll_output());
    other.busy();
    let again = other.poll_output();
    let ended = driven(Peer { story: Story::default(), says, again, is_broken: false }, &[], 0).await;
    assert!(matches!(&ended, Some(Err(Broken::Home(refusal))) if refusal.code == Code::Z614), "{ended:?}");
}

/// R7.6-d: at a remembered rate of three bytes a second, a range of 2 KiB had twenty minutes.
#[tokio::test(start_paused = true)]
async fn a_dead_link_is_noticed_within_a_minute_however_slow_it_is_remembered() {
    let (clock, story) = (Rc::new(FakeClock(Cell::new(0))), Story::default());
    let mut exchange = Exchange::new(true, u64::MAX, Pace::new(Some(3), 600));
    exchange.greet(pages(Manifest::new(Vec::new(), Some((Incarnation([7; 4]), 1)), Vec::new(), [])), u64::MAX, None);
    let mut home = Sender { key_ended: false, lens: vec![2048], cut_ms: 0, clock: Rc::clone(&clock), story: Rc::clone(&story) };
    let Cut::Range(range) = home.cut(Room { len: 2048, most: 2048, rate: None }).await.unwrap() else { panic!("it has one") };
    exchange.send(range, 0);
    let mut peer = Peer { story, says: None, again: Vec::new(), is_broken: false };
    let (_asked, stop) = tokio::sync::watch::channel(false);
    let mut drive = Drive::new(&mut peer, &mut exchange, &mut home, &*clock, terms(stop));
    for (silent_ms, is_alive) in [(0, true), (66_599, true), (66_600, false)] {
        drive.silent_ms = silent_ms;
        assert_eq!(drive.patience_ms().is_ok(), is_alive, "{silent_ms}");
    }
}

/// The node's work goes on to its end though the peer cannot be told any more that it does.
#[tokio::test(start_paused = true)]
async fn work_that_takes_long_is_told_of_and_is_not_broken_off_where_that_fails() {
    for (is_broken, count) in [(false, 3), (true, 1)] {
        let (story, mut out) = (Story::default(), Outgoing::default());
        let mut exchange = Exchange::new(true, 0, Pace::new(None, 600));
        exchange.greet(pages(Manifest::new(Vec::new(), Some((Incarnation([8; 4]), 1)), Vec::new(), [])), u64::MAX, None);
        let work = async {
            tokio::time::sleep(3 * BUSY + BUSY / 2).await;
            Ok("done")
        };
        let mut peer = Peer { story: Rc::clone(&story), says: None, again: Vec::new(), is_broken };
        assert_eq!(waiting(work, &mut peer, &mut exchange, &mut out).await.unwrap(), "done");
        assert_eq!(written(&story.borrow()).len(), count, "{story:?}");
        assert_eq!((out.unwritable.is_some(), out.bytes.is_empty()), (is_broken, !is_broken));
    }
}
