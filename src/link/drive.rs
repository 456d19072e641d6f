//! The driver: one exchange over one stream, the same at both ends. It owns the waiting; `carry::exchange` owns the rules. SPEC §7.4, §7.6.
//!
//! In: a secured stream, an exchange, and the node behind it ([`Home`]). Out: how it ended. Dropping it at any point loses nothing: what counts is in the
//! log of one side or the other (R7.7-d). Not here: who may be talked to, dialling again (`node`).

mod allowance;

use super::error::{LinkError, explain};
use super::home::{Answer, Cut, Greeting, Home, Refusal, Room};
use crate::carry::exchange::{Action, Ending, Exchange, Violation};
use crate::ports::Clock;
use allowance::Allowance;
use bundle_format::error::{Code, Exit};
use bundle_format::limits::MESSAGE_LEN_MAX;
use bundle_format::logs::LogTable;
use bundle_format::range::Range;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Nothing happened for this long, and the time of what is on its way: the link is dead (R7.6-d).
const STALL_MS: u64 = 6000;
/// … of which no more than this counts: a rate that is wrong must not keep a dead link for hours.
const FLYING_MS_MAX: u64 = 60_000;
/// Asked to stop, what is on its way has this long to be acknowledged (R7.8-f).
const STOP_MS: u64 = 6000;
/// A node that cannot go on yet says so this often (R7.4-i).
pub const BUSY: Duration = Duration::from_secs(3);
/// What is written meanwhile is what the stream takes within this long.
pub const AT_ONCE: Duration = Duration::from_millis(100);
/// After everything is said, the last bytes may take this long to leave (R7.7-c).
const FAREWELL: Duration = Duration::from_secs(2);
/// A message that has begun must be whole by then, whatever its pieces.
const MESSAGE_MS_MAX: u64 = 120_000;
/// Who we do not know must have introduced itself by then (R7.5-d).
const INTRODUCTION_MS_MAX: u64 = 15_000;
/// While this much waits to be written, nothing more is cut: what comes up meanwhile, an acknowledgement or something urgent, would wait behind it.
const UNWRITTEN_LEN_MAX: usize = 1024;
/// While more than this waits to be written behind our hello nothing is read: what is read is answered, and who does not read the answers would fill our
/// memory with them. The longest message is no such answer: two who send each other one must not wait for each other.
const UNHEARD_LEN_MAX: usize = MESSAGE_LEN_MAX + 64 * 1024;
/// What took longer to cut goes out before more is cut: the link would stand idle meanwhile.
const CUT_MS_MAX: u64 = 10;
/// A budget may be passed by so much, for acknowledgements of what is on its way already.
const ACKNOWLEDGING_LEN: u64 = 1024;
/// Read at a time, on the stack: a task that waits for its peer keeps no buffer.
const READ_LEN: usize = 4096;

/// When to end.
#[derive(Clone)]
pub struct Terms {
    /// End once both sides are settled; otherwise stay and tell news at once (R7.8-g).
    pub once: bool,
    /// End by then, by the monotonic clock.
    pub deadline_ms: Option<u64>,
    /// Bytes the socket may carry, both ways together.
    pub budget: Option<u64>,
    /// Bytes a second we may send.
    pub rate: Option<u64>,
    /// How many bytes the socket has carried, both ways.
    pub carried: Rc<dyn Fn() -> u64>,
    /// How many of those were sent.
    pub written: Rc<dyn Fn() -> u64>,
    /// A stalled link is told as an error. A listener waits longer: who dials decides to dial again.
    pub stall_ms: u64,
    /// Whether somebody asked us to stop.
    pub stop: tokio::sync::watch::Receiver<bool>,
}

impl Terms {
    /// How long a dialler waits for a sign of life.
    pub const DIALLER_STALL_MS: u64 = STALL_MS;
    /// How long a listener does.
    pub const LISTENER_STALL_MS: u64 = 20 * STALL_MS;
}

/// How an exchange ended that did not break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was said and acknowledged, both ways.
    Settled,
    /// A bound of ours was reached: budget, deadline, or somebody asked us to stop.
    Bound,
    /// The peer ended it: nothing is wrong, the rest comes another time; or it hung up.
    ByPeer,
}

/// Why an exchange broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The stream, or who is at its other end.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The peer hung up in the middle.
    #[error("the other side hung up")]
    HungUp,
    /// No sign of life.
    #[error("no sign of life for {0} s")]
    Stalled(u64),
    /// The peer broke the rules.
    #[error("the other side broke the rules: {0}")]
    Violation(#[from] Violation),
    /// The peer refused.
    #[error("{}", refused_by_peer(*.0))]
    Refused(Code),
    /// Our own node cannot go on.
    #[error(transparent)]
    Home(#[from] Refusal),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Link(explain(&error))
    }
}

impl Broken {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Link(error) => error.code(),
            Self::HungUp => Code::Z502,
            Self::Stalled(_) => Code::Z503,
            Self::Violation(violation) => violation.code(),
            Self::Refused(Code::Z614) => Code::Z622, // what the peer says of its sender is said of us here (R7.1-f)
            // What is wrong with us keeps its code; what is wrong with the peer's own machine does not concern ours.
            Self::Refused(code) => match code.row().exit {
                Exit::NotTrusted | Exit::Damaged | Exit::Link => *code,
                _ => Code::Z506,
            },
            Self::Home(refusal) => refusal.code,
        }
    }
}

/// A refusal as the one who was refused must understand it.
fn refused_by_peer(code: Code) -> String {
    match code {
        Code::Z620 => "the other side does not know this node's key: its roster lacks it".to_owned(),
        Code::Z621 => "the other side's roster is too old to know this node".to_owned(),
        Code::Z614 => "the other side refuses our key: it has been replaced or revoked".to_owned(),
        Code::Z505 => "the other side says that we broke the protocol".to_owned(),
        Code::Z203 => "the other side's disk is full".to_owned(),
        code => format!("the other side cannot go on: {}", code.row().title),
    }
}

/// One exchange under way.
pub struct Drive<'a, S, H> {
    stream: &'a mut S,
    exchange: &'a mut Exchange,
    home: &'a mut H,
    clock: &'a dyn Clock,
    terms: Terms,
    out: Outgoing,
    began_ms: u64,
    /// So long nothing moved while something was due and we listened: an idle link is silent for days, and so is one whose own node is away.
    silent_ms: u64,
    message_began_ms: Option<u64>,
    /// What the rate lets through.
    allowance: Option<Allowance>,
    bounded: bool,
    stopping: bool,
}

/// What waits to be written, and what came of writing.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// Where in them the last range begins, if that is long: it goes by itself.
    range_at: usize,
    /// How many of them were said before both hellos were heard: as many as the peer asked for, and no more come.
    greeting_len: usize,
    /// Written since the stream was last known to hold nothing back, and what the socket had taken then.
    unflushed: (u64, u64),
    /// Writing failed: nothing is written any more, for what the stream took before it said so would go twice.
    unwritable: Option<io::Error>,
}

impl Outgoing {
    fn wrote(&mut self, len: usize) {
        self.bytes.drain(..len);
        self.range_at = self.range_at.saturating_sub(len);
        self.greeting_len = self.greeting_len.saturating_sub(len);
        self.unflushed.0 += len as u64;
    }

    /// What the stream takes at once. That it fails is for whoever waits for the stream next.
    async fn write_now<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) {
        use tokio::io::AsyncWriteExt as _;
        if self.unwritable.is_some() || self.bytes.is_empty() {
            return;
        }
        match tokio::time::timeout(AT_ONCE, stream.write(&self.bytes)).await {
            Ok(Ok(len)) => self.wrote(len),
            Ok(Err(error)) => self.unwritable = Some(error),
            Err(_) => {}
        }
    }
}

enum Happened {
    Read(Vec<u8>),
    HungUp,
    Wrote,
    Changed,
    Stop,
    Time,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin, H: Home> Drive<'a, S, H> {
    /// Begin.
    pub fn new(stream: &'a mut S, exchange: &'a mut Exchange, home: &'a mut H, clock: &'a dyn Clock, terms: Terms) -> Self {
        let now_ms = clock.monotonic_ms();
        let allowance = terms.rate.map(|rate| Allowance::new(rate, now_ms, (terms.written)()));
        Self {
            stream,
            exchange,
            home,
            clock,
            terms,
            out: Outgoing::default(),
            began_ms: now_ms,
            silent_ms: 0,
            message_began_ms: None,
            allowance,
            bounded: false,
            stopping: false,
        }
    }

    /// Go on until it ends.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn run(mut self) -> Result<Ended, Broken> {
        let ended = self.talk().await;
        if let Err(Broken::Home(refusal)) = &ended {
            self.exchange.close(Some(refusal.code));
        }
        if let Err(Broken::Violation(violation)) = &ended {
            self.exchange.close(Some(violation.code())); // R7.2-f
        }
        self.farewell(&ended).await;
        ended
    }

    async fn talk(&mut self) -> Result<Ended, Broken> {
        loop {
            self.answer().await?;
            self.fill().await?;
            self.out.bytes.extend(self.exchange.poll_output());
            if !self.exchange.is_open() {
                self.out.greeting_len = self.out.bytes.len();
            }
            self.home.moved(self.exchange);
            if (self.out.bytes.is_empty() || self.is_late())
                && let Some(ended) = self.ended()?
            {
                return Ok(ended);
            }
            let happened = match self.wait().await {
                // What was said counts for more than that the link is gone by now.
                Err(_) if self.exchange.ending().is_some() => Happened::HungUp,
                happened => happened?,
            };
            match happened {
                Happened::Read(bytes) => {
                    let now_ms = self.clock.monotonic_ms();
                    self.exchange.receive(&bytes, now_ms)?;
                    self.message_began_ms = if self.exchange.is_mid_message() { self.message_began_ms.or(Some(now_ms)) } else { None };
                }
                Happened::HungUp => return self.hung_up(),
                Happened::Stop => self.stop(),
                Happened::Wrote | Happened::Changed | Happened::Time => {}
            }
        }
    }

    /// What the exchange asks of the node, then one sync for all that was taken.
    async fn answer(&mut self) -> Result<(), Broken> {
        let mut took = false;
        while let Some(action) = self.exchange.poll_action() {
            took |= matches!(action, Action::Take(_));
            let answer = waiting(self.home.act(action), self.stream, self.exchange, &mut self.out).await?;
            match answer {
                Answer::Nothing => {}
                Answer::Introduction(ranges, greeting) => {
                    self.exchange.introduce(ranges);
                    self.greet(greeting);
                }
                Answer::Identified(greeting) => {
                    self.exchange.identified(greeting.is_some());
                    if let Some(greeting) = greeting {
                        self.greet(greeting);
                        self.exchange.receive(&[], self.clock.monotonic_ms())?; // its hello may have come with the introduction
                    }
                }
                Answer::Lost(number) => self.exchange.tell_lost(number),
                Answer::Again(due, tag, reason) => self.exchange.again(&due.origin, due.seq, tag, reason),
            }
        }
        if took {
            for due in waiting(self.home.durable(), self.stream, self.exchange, &mut self.out).await? {
                self.exchange.taken(&due.origin, due.seq);
            }
        }
        Ok(())
    }

    fn greet(&mut self, greeting: Greeting) {
        self.exchange.greet(greeting.pages, greeting.window, greeting.take);
    }

    /// As many ranges as may be on their way.
    async fn fill(&mut self) -> Result<(), Broken> {
        while self.out.unflushed.0 == 0
            && self.out.bytes.len() < UNWRITTEN_LEN_MAX
            && let Some(len) = self.exchange.wants_range()
        {
            let Some(room) = self.room(len) else { return Ok(()) };
            let began_ms = self.clock.monotonic_ms();
            match waiting(self.home.cut(room), self.stream, self.exchange, &mut self.out).await? {
                Cut::Nothing => {
                    self.exchange.nothing_more();
                    return Ok(());
                }
                Cut::TooLong => {
                    self.bounded = true;
                    return Ok(());
                }
                Cut::Range(range) if self.fits_no_more(&range) => {
                    self.bounded = true;
                    return Ok(());
                }
                Cut::Range(range) => {
                    self.out.bytes.extend(self.exchange.poll_output());
                    let len = self.exchange.send(range, self.clock.monotonic_ms());
                    self.out.range_at = if len > UNWRITTEN_LEN_MAX as u64 { self.out.bytes.len() } else { 0 };
                    self.out.bytes.extend(self.exchange.poll_output());
                }
            }
            if self.clock.monotonic_ms().saturating_sub(began_ms) > CUT_MS_MAX {
                return Ok(());
            }
        }
        if self.exchange.peer_is_full() {
            self.exchange.nothing_more();
        }
        Ok(())
    }

    /// Room for a range of `len` bytes, or for as much as budget and deadline leave; `None` when they leave none (R7.6-f, R7.6-g).
    fn room(&mut self, len: u64) -> Option<Room> {
        /// A shorter range is not worth its checkpoint.
        const SHORTEST: u64 = 256;
        let most = self.most();
        let len = len.min(most);
        self.bounded |= len < SHORTEST;
        (!self.bounded).then_some(Room { len, most, rate: self.exchange.pace().rate() })
    }

    /// Bytes that the budget leaves, and that are acknowledged before the deadline.
    fn most(&self) -> u64 {
        let Some(deadline_ms) = self.terms.deadline_ms else { return self.budget_left() };
        let pace = self.exchange.pace();
        let left_ms = deadline_ms.saturating_sub(self.clock.monotonic_ms()).saturating_sub(pace.round_trip_ms());
        if left_ms == 0 {
            return 0;
        }
        let by_pace = pace.shown_rate().map_or(u64::MAX, |rate| (rate.saturating_mul(left_ms) / 1000).saturating_sub(self.exchange.flight()));
        let by_rate = self.allowance.as_ref().map(|allowance| allowance.in_time(left_ms).saturating_sub(self.out.bytes.len() as u64));
        self.budget_left().min(by_pace).min(by_rate.unwrap_or(u64::MAX))
    }

    /// Bytes that may still be cut, those that wait already counted.
    fn budget_left(&self) -> u64 {
        /// Acknowledgements, record heads and the farewell still have to fit.
        const RESERVE: u64 = 400;
        let (written, before) = self.out.unflushed;
        let held_back = || written.saturating_sub((self.terms.written)().saturating_sub(before)); // in the stream, not on the socket yet
        let spent = || (self.terms.carried)() + held_back() + self.out.bytes.len() as u64 + RESERVE;
        self.terms.budget.map_or(u64::MAX, |budget| budget.saturating_sub(spent()))
    }

    /// Whether there is no room left for a range: while it was cut something else was said, or time went by.
    fn fits_no_more(&self, range: &Range) -> bool {
        let most = self.most();
        most < u64::MAX && range.wire_len(&LogTable::default()).is_none_or(|len| len > most)
    }

    /// Begin nothing any more, and end soon, whatever the peer does.
    fn stop(&mut self) {
        let by_ms = self.clock.monotonic_ms() + STOP_MS;
        (self.bounded, self.stopping) = (true, true);
        self.terms.deadline_ms = Some(self.terms.deadline_ms.map_or(by_ms, |deadline_ms| deadline_ms.min(by_ms)));
    }

    fn is_late(&self) -> bool {
        self.terms.deadline_ms.is_some_and(|deadline_ms| self.clock.monotonic_ms() >= deadline_ms)
    }

    fn ended(&mut self) -> Result<Option<Ended>, Broken> {
        match self.exchange.ending() {
            Some(Ending::PeerLater) => return Ok(Some(Ended::ByPeer)),
            Some(Ending::PeerRefused(code)) => return Err(Broken::Refused(code)),
            Some(Ending::WeLater) => return Ok(Some(Ended::Bound)),
            Some(Ending::WeRefused(code)) => return Err(Refusal { code, why: code.row().title.to_owned() }.into()),
            None => {}
        }
        // What is on its way crosses the link anyway: it is worth the few bytes of its acknowledgement, without which it would be sent again.
        let left = self.terms.budget.map(|budget| (budget + ACKNOWLEDGING_LEN).saturating_sub((self.terms.carried)()));
        let spent = left.is_some_and(|left| left == 0 || (left <= ACKNOWLEDGING_LEN && self.exchange.flight() == 0));
        if self.is_late() || spent || (self.bounded && self.exchange.flight() == 0) {
            self.exchange.close(None); // the farewell says so
            return Ok(Some(Ended::Bound));
        }
        Ok((self.terms.once && self.exchange.is_settled()).then_some(Ended::Settled))
    }

    fn hung_up(&mut self) -> Result<Ended, Broken> {
        if let Some(ended) = self.ended()?.filter(|_| self.exchange.ending().is_some()) {
            return Ok(ended);
        }
        // R7.7-a
        let nothing_open = self.exchange.is_open() && !self.exchange.is_waiting() && self.out.bytes.is_empty() && !self.exchange.is_mid_message();
        if nothing_open { Ok(Ended::ByPeer) } else { Err(Broken::HungUp) }
    }

    /// Until a byte moves, the node has news, or it is time to look again.
    async fn wait(&mut self) -> Result<Happened, Broken> {
        let sleep_ms = self.patience_ms()?;
        let (began_ms, is_due) = (self.clock.monotonic_ms(), self.is_due());
        let may_write = self.may_write();
        let Outgoing { bytes, greeting_len, unflushed, unwritable, .. } = &mut self.out;
        let out = bytes.get(..may_write).unwrap_or_default();
        let unheard = bytes.len() - *greeting_len > UNHEARD_LEN_MAX;
        let (stream, written) = (&mut *self.stream, Rc::clone(&self.terms.written));
        let moved = poll_fn(move |context| {
            // Only a stream that holds nothing back is given more: it would hold back acknowledgements behind whole ranges.
            let flushed = if unwritable.is_some() { Poll::Pending } else { Pin::new(&mut *stream).poll_flush(context) };
            match flushed {
                Poll::Ready(Ok(())) if unflushed.0 > 0 => {
                    *unflushed = (0, written());
                    return Poll::Ready(Ok((Happened::Wrote, 0)));
                }
                Poll::Ready(Ok(())) if !out.is_empty() => match Pin::new(&mut *stream).poll_write(context, out) {
                    Poll::Ready(Ok(count)) => return Poll::Ready(Ok((Happened::Wrote, count))),
                    Poll::Ready(Err(error)) => *unwritable = Some(error),
                    Poll::Pending => {}
                },
                Poll::Ready(Err(error)) => *unwritable = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if unheard {
                return unwritable.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            }
            let mut chunk = [0; READ_LEN];
            let mut read = ReadBuf::new(&mut chunk);
            match Pin::new(&mut *stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Ok((Happened::HungUp, 0))),
                Poll::Ready(Ok(())) => Poll::Ready(Ok((Happened::Read(read.filled().to_vec()), 0))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)), // the peer's reason, where writing failed because of it
                Poll::Pending => unwritable.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error))),
            }
        });
        let mut stop = self.terms.stop.clone();
        let open = self.exchange.is_open();
        let (happened, wrote) = tokio::select! {
            biased;
            // Before the stream: a peer that talks without pause would be all that is ever heard.
            _ = stop.wait_for(|stop| *stop), if !self.stopping => (Happened::Stop, 0),
            changed = self.home.changed(), if open => { changed?; (Happened::Changed, 0) }
            moved = moved => moved?,
            () = tokio::time::sleep(Duration::from_millis(sleep_ms)) => (Happened::Time, 0),
        };
        self.out.wrote(wrote);
        let is_silent = is_due && !matches!(happened, Happened::Read(_) | Happened::Wrote);
        self.silent_ms = if is_silent { self.silent_ms + self.clock.monotonic_ms().saturating_sub(began_ms) } else { 0 };
        Ok(happened)
    }

    /// Whether something is to be heard from the peer, or said to it.
    fn is_due(&self) -> bool {
        self.exchange.is_waiting() || !self.out.bytes.is_empty()
    }

    /// How long nothing may happen before we look again; an error when nothing happened for too long.
    fn patience_ms(&self) -> Result<u64, Broken> {
        const LOOK_AGAIN_MS: u64 = 60_000;
        let now_ms = self.clock.monotonic_ms();
        let pace = self.exchange.pace();
        let mut wait_ms = LOOK_AGAIN_MS;
        if self.is_due() {
            let flying_ms = (2 * pace.time_ms(self.exchange.longest_flying())).min(FLYING_MS_MAX);
            let allowed_ms = self.terms.stall_ms + pace.round_trip_ms() + flying_ms;
            if self.silent_ms >= allowed_ms {
                return Err(Broken::Stalled(self.silent_ms / 1000));
            }
            wait_ms = wait_ms.min(allowed_ms - self.silent_ms);
        }
        if self.exchange.is_asking() {
            let asked_ms = now_ms.saturating_sub(self.began_ms);
            if asked_ms >= INTRODUCTION_MS_MAX {
                return Err(Broken::Violation(Violation::Unknown));
            }
            wait_ms = wait_ms.min(INTRODUCTION_MS_MAX - asked_ms);
        }
        if self.message_began_ms.is_some_and(|began_ms| now_ms.saturating_sub(began_ms) > MESSAGE_MS_MAX) {
            return Err(Broken::Stalled(MESSAGE_MS_MAX / 1000));
        }
        if let Some(deadline_ms) = self.terms.deadline_ms {
            wait_ms = wait_ms.min(deadline_ms.saturating_sub(now_ms));
        }
        if self.terms.rate.is_some() && !self.out.bytes.is_empty() {
            wait_ms = wait_ms.min(200); // the allowance grows
        }
        Ok(wait_ms.max(1))
    }

    /// How many bytes may be written now: all, or what the rate allows.
    fn may_write(&mut self) -> usize {
        // What is written at once becomes one record, and a record is read only when all of it is there: in one with a long range behind it, an
        // acknowledgement or something urgent would be read with that; and a range in two would be read with the one behind it.
        let len = if (1..self.out.bytes.len()).contains(&self.out.range_at) { self.out.range_at } else { self.out.bytes.len() };
        let (now_ms, written) = (self.clock.monotonic_ms(), (self.terms.written)());
        self.allowance.as_mut().map_or(len, |allowance| allowance.of(len, now_ms, written))
    }

    /// The last words, as far as the peer still listens.
    async fn farewell(&mut self, ended: &Result<Ended, Broken>) {
        self.out.bytes.extend(self.exchange.poll_output());
        let broken = matches!(ended, Err(Broken::Link(_) | Broken::HungUp | Broken::Stalled(_)));
        if broken || self.out.unwritable.is_some() {
            return;
        }
        let out = std::mem::take(&mut self.out.bytes);
        let stream = &mut *self.stream;
        let said = async {
            use tokio::io::AsyncWriteExt as _;
            stream.write_all(&out).await?;
            stream.flush().await?;
            stream.shutdown().await // TLS says that this is the end, and not a cut
        };
        // Whoever does not hear it finds the link closed: nothing that counts is in it.
        drop(tokio::time::timeout(FAREWELL, said).await);
    }
}

/// Wait for the node; while that takes long, tell the peer that we live.
async fn waiting<S: AsyncWrite + Unpin, T>(
    work: impl Future<Output = Result<T, Refusal>>,
    stream: &mut S,
    exchange: &mut Exchange,
    out: &mut Outgoing,
) -> Result<T, Broken> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done?),
            () = tokio::time::sleep(BUSY) => {
                exchange.busy();
                out.bytes.extend(exchange.poll_output());
                out.write_now(stream).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
