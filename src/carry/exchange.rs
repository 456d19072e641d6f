//! The exchange: one conversation with one peer, as a state machine without I/O, the same at both ends. SPEC §7.4.
//!
//! In: messages as bytes, and what the node behind it answers. Out: bytes to send, and [`Action`]s for the node. It reads no event: it moves ranges
//! whose inside it does not know, says what was acknowledged, and keeps what is on its way within bounds. Not here: sockets and clocks (`link`), which
//! ranges (`cut`), what becomes of them (`ingest`).

use super::pace::Pace;
use bundle_format::error::Code;
use bundle_format::ids::{Incarnation, Origin};
use bundle_format::limits::{INTRODUCTION_LEN_MAX, UNKNOWN_LEN_MAX};
use bundle_format::logs::LogTable;
use bundle_format::manifest::{ForkNotice, Granted, Manifest};
use bundle_format::message::{Again, Hello, Message, MessageError, Reason, frame_len};
use bundle_format::range::Range;
use bundle_format::vector::{Tag, Told};
use std::collections::{BTreeMap, VecDeque};

/// Below this a range is not worth a place in a bound of bytes that is nearly used up.
const WORTHWHILE_LEN: u64 = 256;

/// Histories one end of a link may name: above the 50 000 that one manifest holds, and some 4 MB of memory at most.
const HISTORY_COUNT_MAX: usize = 65_536;

/// How a conversation stands (the rows of SPEC §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// We do not know the peer's key and have asked who it is; what it said before its introduction is read past.
    Asking {
        /// How many bytes of that.
        skipped: usize,
    },
    /// It has introduced itself, and the node looks whether it knows it now; what comes behind the introduction waits.
    Learning,
    /// We know its key; its hello is not whole yet.
    Greeting,
    /// Both hellos are heard.
    Open,
    /// Nothing more is said or heard.
    Closed(Ending),
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer ended it: nothing is wrong, the rest comes another time.
    PeerLater,
    /// The peer refused to go on.
    PeerRefused(Code),
    /// We ended it: nothing is wrong.
    WeLater,
    /// We refused to go on.
    WeRefused(Code),
}

/// What a peer said of itself in its hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// How far it holds which histories.
    pub vector: Vec<Told>,
    /// Its life and receipt number.
    pub receipt: Option<(Incarnation, u64)>,
    /// Forks it holds.
    pub forks: Vec<ForkNotice>,
    /// What it takes in codec 3.
    pub granted: Option<Granted>,
}

/// What the node behind the conversation is to do; in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The peer does not know us: answer with [`Exchange::introduce`], then say hello again.
    Introduce,
    /// It introduces itself: take these of the roster, then [`Exchange::identified`].
    Learn(Vec<Range>),
    /// It said all it holds.
    Hear(Heard),
    /// It sent events: then [`Exchange::taken`], once they are durable, or [`Exchange::again`].
    Take(Range),
    /// It holds this history up to here, durably.
    Credit {
        /// Whose.
        origin: Origin,
        /// How far.
        seq: u64,
    },
    /// What we sent of this history did not count; it holds it up to here.
    Resend {
        /// Whose.
        origin: Origin,
        /// How far.
        seq: u64,
        /// Of the chain hash there.
        tag: Tag,
        /// Why.
        reason: Reason,
    },
    /// It knows a higher receipt number of us, of this life, than the one we told.
    Lost(u64),
}

/// The peer broke the rules. Nothing of the message counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Bytes that are no message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message that may not stand here.
    #[error("{said} while {state}")]
    OutOfPlace {
        /// Which.
        said: &'static str,
        /// Where the conversation stood.
        state: &'static str,
    },
    /// It says it holds what was never sent to it.
    #[error("it acknowledges what it was not sent")]
    NeverSent,
    /// A page of its vector does not go on where the last one ended.
    #[error("its vector does not ascend")]
    Vector,
    /// More than it was told we take.
    #[error("it sends more than was asked for")]
    TooMuch,
    /// It never says who it is.
    #[error("it goes on talking without saying who it is")]
    Unknown,
}

impl Violation {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::Z620,
            _ => Code::Z505,
        }
    }
}

/// A range on its way.
#[derive(Clone, Copy, Debug)]
struct Flying {
    log: u64,
    last: u64,
    len: u64,
    sent_ms: u64,
}

/// One conversation.
#[derive(Debug)]
pub struct Exchange {
    state: State,
    /// Histories by the numbers we gave them, and the peer did.
    ours: LogTable,
    theirs: LogTable,
    heard: Heard,
    pace: Pace,
    flying: VecDeque<Flying>,
    /// Up to where we sent each history.
    sent: BTreeMap<u64, u64>,
    window: u64,
    /// Bytes of ranges the peer still takes, and we do.
    peer_takes: Option<u64>,
    we_take: Option<u64>,
    /// Histories of the peer that we asked for again, from behind here on: what was on its way then is read past.
    asked: BTreeMap<u64, u64>,
    /// How often we asked for one again, and the peer did: what it said before it heard so is not its last word.
    agains_said: u64,
    agains_heard: u64,
    /// What became durable and is not acknowledged yet.
    owed: Vec<(u64, u64)>,
    we_said_done: bool,
    they_said_done: bool,
    introduced: bool,
    /// Bytes of ranges that may be on their way before the peer's hello.
    ahead_len: u64,
    actions: VecDeque<Action>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Exchange {
    /// A conversation begins. `known`: the roster has the peer's key (R7.4-a). `ahead_len`: bytes of ranges that may be on their way before its hello, by
    /// what is remembered of it (R7.3-j).
    pub fn new(known: bool, ahead_len: u64, pace: Pace) -> Self {
        let mut exchange = Self {
            state: if known { State::Greeting } else { State::Asking { skipped: 0 } },
            ours: LogTable::default(),
            theirs: LogTable::default(),
            heard: Heard::default(),
            pace,
            flying: VecDeque::new(),
            sent: BTreeMap::new(),
            window: u64::MAX,
            peer_takes: None,
            we_take: None,
            asked: BTreeMap::new(),
            agains_said: 0,
            agains_heard: 0,
            owed: Vec::new(),
            we_said_done: false,
            they_said_done: false,
            introduced: false,
            ahead_len,
            actions: VecDeque::new(),
            input: Vec::new(),
            output: Vec::new(),
        };
        if !known {
            exchange.say(&Message::Who);
        }
        exchange
    }

    /// Say hello: what we hold, how many bytes may be on their way to us, how many we take in all (R7.3-a). Who may be sent ranges ahead of its hello
    /// must take any number: they count as well.
    pub fn greet(&mut self, pages: Vec<Manifest>, window: u64, take: Option<u64>) {
        self.ours = LogTable::default();
        self.we_take = take;
        let count = pages.len();
        for (index, manifest) in pages.into_iter().enumerate() {
            manifest.vector.iter().for_each(|told| self.ours.push(told.origin));
            self.say(&Message::Hello(Hello { more: index + 1 < count, window, take, manifest }));
        }
    }

    /// Bytes came in: read every whole message among them.
    ///
    /// # Errors
    /// [`Violation`]; what stands before it has counted.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Violation> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut at = 0;
        let read = loop {
            let rest = input.get(at..).unwrap_or_default();
            match frame_len(rest) {
                _ if self.state == State::Learning => break Ok(()),
                Err(error) => break Err(error.into()),
                Ok(Some((_, len))) if self.is_too_long_of_a_stranger(len) => break Err(Violation::Unknown), // before it has arrived
                Ok(Some((head, len))) if rest.len() >= head + len => {
                    at += head + len;
                    if let Err(violation) = self.message(rest.get(head..head + len).unwrap_or_default(), now_ms) {
                        break Err(violation);
                    }
                }
                Ok(_) => break Ok(()),
            }
        };
        input.drain(..at);
        if !input.is_empty() {
            self.input = input; // an idle conversation keeps no buffer
        }
        read
    }

    /// One message; one arm per row of the table in SPEC §7.4. A refused one changes nothing.
    fn message(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Violation> {
        if let State::Asking { skipped } = self.state {
            return self.message_of_a_stranger(bytes, skipped);
        }
        match (self.state, Message::read(bytes, &self.theirs)?) {
            (State::Closed(_), _) | (_, Message::Busy) => {}
            (_, Message::Bye(code)) => self.state = State::Closed(code.map_or(Ending::PeerLater, Ending::PeerRefused)),
            (State::Greeting, Message::Who) if !self.introduced => {
                self.introduced = true;
                self.forget_what_was_sent();
                self.actions.push_back(Action::Introduce);
            }
            (State::Greeting, Message::Hello(hello)) => self.hello(hello)?,
            (State::Open, Message::Range(range)) => self.range(range, bytes.len() as u64)?,
            (State::Open, Message::Ack(ends)) => self.ack(&ends, now_ms)?,
            (State::Open, Message::Again(again)) => self.asked_again(again)?,
            (State::Open, Message::Done(answered)) => self.done(answered)?,
            (State::Open, Message::Lost(number)) => self.actions.push_back(Action::Lost(number)),
            (state, message) => return Err(Violation::OutOfPlace { said: name(&message), state: state.name() }),
        }
        Ok(())
    }

    /// Who we do not know is listened to for its introduction alone (R7.5-b).
    fn message_of_a_stranger(&mut self, bytes: &[u8], skipped: usize) -> Result<(), Violation> {
        /// Around the ranges of an introduction: its kind, and the heads of two arrays.
        const INTRODUCTION_HEADS_LEN: usize = 16;
        match Message::read(bytes, &LogTable::default()) {
            Ok(Message::Introduction(_)) if bytes.len() > INTRODUCTION_LEN_MAX + INTRODUCTION_HEADS_LEN => return Err(Violation::TooMuch),
            Ok(Message::Introduction(ranges)) => {
                self.state = State::Learning;
                self.actions.push_back(Action::Learn(ranges));
            }
            Ok(Message::Bye(code)) => self.state = State::Closed(code.map_or(Ending::PeerLater, Ending::PeerRefused)),
            Ok(Message::Who) => self.close(Some(Code::Z620)), // two strangers
            _ => self.state = State::Asking { skipped: skipped + bytes.len() },
        }
        Ok(())
    }

    fn is_too_long_of_a_stranger(&self, len: usize) -> bool {
        if let State::Asking { skipped } = self.state { skipped + len > UNKNOWN_LEN_MAX } else { false }
    }

    fn hello(&mut self, hello: Hello) -> Result<(), Violation> {
        let Hello { more, window, take, manifest } = hello;
        let joins = self.heard.vector.last().zip(manifest.vector.first()).is_none_or(|(last, first)| last < first);
        if !joins || (more && manifest.vector.is_empty()) {
            return Err(Violation::Vector);
        }
        if self.theirs.len() + manifest.vector.len() > HISTORY_COUNT_MAX || self.heard.forks.len() + manifest.forks.len() > HISTORY_COUNT_MAX {
            return Err(Violation::TooMuch);
        }
        manifest.vector.iter().for_each(|told| self.theirs.push(told.origin));
        self.window = window;
        self.peer_takes = take.map(|take| take.saturating_sub(self.flight())); // what went before its hello is of it
        self.heard.vector.extend(manifest.vector);
        self.heard.receipt = self.heard.receipt.or(manifest.receipt);
        self.heard.granted = self.heard.granted.or(manifest.granted);
        self.heard.forks.extend(manifest.forks);
        if !more {
            self.state = State::Open;
            self.actions.push_back(Action::Hear(std::mem::take(&mut self.heard)));
        }
        Ok(())
    }

    fn range(&mut self, range: Range, len: u64) -> Result<(), Violation> {
        if self.we_take.is_some_and(|left| left == 0) {
            return Err(Violation::TooMuch);
        }
        if self.theirs.len() >= HISTORY_COUNT_MAX && self.theirs.handle(&range.origin).is_none() {
            return Err(Violation::TooMuch);
        }
        self.we_take = self.we_take.map(|left| left.saturating_sub(len));
        self.theirs.named(range.origin);
        self.they_said_done = false;
        let log = self.theirs.handle(&range.origin).unwrap_or_default();
        if self.asked.get(&log).is_some_and(|seq| range.first > seq + 1) {
            return Ok(()); // it was on its way when we asked
        }
        self.asked.remove(&log);
        self.actions.push_back(Action::Take(range));
        Ok(())
    }

    fn ack(&mut self, ends: &[(u64, u64)], now_ms: u64) -> Result<(), Violation> {
        if !ends.iter().all(|(log, seq)| self.was_sent(*log, *seq)) {
            return Err(Violation::NeverSent);
        }
        for (log, seq) in ends {
            self.land(*log, *seq, now_ms);
        }
        Ok(())
    }

    /// The range that ends at `seq` has arrived, and what went before it of the same history: the peer takes them in order. One that went behind it and
    /// ends earlier, of the other branch of a fork, has not.
    fn land(&mut self, log: u64, seq: u64, now_ms: u64) {
        let last = self.flying.iter().position(|flying| flying.log == log && flying.last == seq);
        let landed = |place: usize, flying: &Flying| flying.log == log && last.map_or(flying.last <= seq, |last| place <= last);
        let (landed, flying): (Vec<_>, Vec<_>) = self.flying.drain(..).enumerate().partition(|(place, flying)| landed(*place, flying));
        self.flying = flying.into_iter().map(|(_, flying)| flying).collect();
        let mut ends = Vec::with_capacity(1);
        for (_, Flying { last, len, sent_ms, .. }) in landed {
            self.pace.acked(len, sent_ms, now_ms);
            ends.push(last); // each by itself: they may be of two branches
        }
        if last.is_none() {
            ends.push(seq);
        }
        if let Some(origin) = self.ours.origin(log) {
            self.actions.extend(ends.into_iter().map(|seq| Action::Credit { origin, seq }));
        }
    }

    /// All it has for us is sent, if it had heard of everything we asked for again when it said so.
    fn done(&mut self, answered: u64) -> Result<(), Violation> {
        if answered > self.agains_said {
            return Err(Violation::NeverSent);
        }
        if answered == self.agains_said {
            self.they_said_done = true;
            self.asked.clear(); // what was on its way has arrived
        }
        Ok(())
    }

    fn asked_again(&mut self, again: Again) -> Result<(), Violation> {
        let Again { log, seq, tag, reason } = again;
        let Some(origin) = self.ours.origin(log).filter(|_| self.sent.contains_key(&log)) else { return Err(Violation::NeverSent) };
        self.agains_heard += 1;
        self.flying.retain(|flying| flying.log != log); // what was sent stays sent: an acknowledgement of it may be on its way, or another of these
        self.we_said_done = false;
        self.actions.push_back(Action::Resend { origin, seq, tag, reason });
        Ok(())
    }

    /// The next thing the node must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What goes on the link now; empty when there is nothing. Acknowledgements that are owed are in it.
    pub fn poll_output(&mut self) -> Vec<u8> {
        if !self.owed.is_empty() && matches!(self.state, State::Open) {
            let ends = std::mem::take(&mut self.owed);
            self.say(&Message::Ack(ends));
        }
        std::mem::take(&mut self.output)
    }

    /// How long a range may be now, in bytes on the link; `None` when none may be sent.
    pub fn wants_range(&self) -> Option<u64> {
        let ahead_len = match self.state {
            State::Greeting if !self.ours.is_empty() => self.ahead_len,
            State::Open => u64::MAX,
            State::Greeting | State::Asking { .. } | State::Learning | State::Closed(_) => 0,
        };
        let (flight, bound) = (self.flight(), self.pace.flight_len().min(self.window));
        // Two at a time, so that the link does not stand idle while an acknowledgement travels.
        let len = self.pace.range_len().min(self.peer_takes.unwrap_or(u64::MAX)).min((self.window / 2).max(WORTHWHILE_LEN));
        let room = flight < ahead_len && (flight == 0 || flight < bound);
        (room && len >= WORTHWHILE_LEN).then_some(len)
    }

    /// Send `range`. Returns how many bytes it is on the link.
    pub fn send(&mut self, range: Range, now_ms: u64) -> u64 {
        let (origin, last) = (range.origin, range.last());
        let before = self.output.len();
        self.say(&Message::Range(range));
        let len = (self.output.len() - before) as u64;
        self.ours.named(origin);
        let log = self.ours.handle(&origin).unwrap_or_default();
        self.peer_takes = self.peer_takes.map(|left| left.saturating_sub(len));
        self.flying.push_back(Flying { log, last, len, sent_ms: now_ms });
        self.sent.entry(log).and_modify(|sent| *sent = last.max(*sent)).or_insert(last);
        self.we_said_done = false;
        len
    }

    /// There is nothing more to send as things stand.
    pub fn nothing_more(&mut self) {
        if !self.we_said_done && matches!(self.state, State::Greeting | State::Open) {
            self.we_said_done = true;
            self.say(&Message::Done(self.agains_heard));
        }
    }

    /// Events of `origin` up to `seq` are durable here.
    pub fn taken(&mut self, origin: &Origin, seq: u64) {
        if let Some(log) = self.theirs.handle(origin) {
            // A later position stands for what came before it. An earlier one after it is of the other branch of a fork, and told by itself.
            self.owed.retain(|(other, end)| *other != log || *end > seq);
            self.owed.push((log, seq));
        }
    }

    /// Ask for a history again: we hold it up to `seq`.
    pub fn again(&mut self, origin: &Origin, seq: u64, tag: Tag, reason: Reason) {
        let Some(log) = self.theirs.handle(origin) else { return };
        self.asked.insert(log, seq);
        self.agains_said += 1;
        self.they_said_done = false;
        self.say(&Message::Again(Again { log, seq, tag, reason }));
    }

    /// Tell the peer that it has lost a part of its past.
    pub fn tell_lost(&mut self, number: u64) {
        self.say(&Message::Lost(number));
    }

    /// Tell the peer that we live and cannot go on yet.
    pub fn busy(&mut self) {
        if !matches!(self.state, State::Closed(_)) {
            self.say(&Message::Busy);
        }
    }

    /// Answer a peer that does not know us.
    pub fn introduce(&mut self, ranges: Vec<Range>) {
        self.say(&Message::Introduction(ranges));
    }

    /// Whether the roster has the stranger's key now. If so, [`Exchange::greet`] follows, and [`Exchange::receive`], for more may have come already.
    pub fn identified(&mut self, known: bool) {
        if known {
            self.state = State::Greeting;
        } else {
            self.close(Some(Code::Z620));
        }
    }

    /// End it, and say why; `None` when nothing is wrong.
    pub fn close(&mut self, code: Option<Code>) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.say(&Message::Bye(code));
        self.state = State::Closed(code.map_or(Ending::WeLater, Ending::WeRefused));
    }

    /// How it ended; `None` while it goes on.
    pub fn ending(&self) -> Option<Ending> {
        if let State::Closed(ending) = self.state { Some(ending) } else { None }
    }

    /// Whether we have asked who the peer is and do not know yet.
    pub fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { .. } | State::Learning)
    }

    /// Whether both hellos are heard.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether both ends have said and acknowledged everything they have for each other.
    pub fn is_settled(&self) -> bool {
        self.is_open() && self.we_said_done && self.they_said_done && self.flying.is_empty() && self.owed.is_empty() && self.actions.is_empty()
    }

    /// Whether a message has begun to arrive and is not whole.
    pub fn is_mid_message(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether the peer takes no more in this session.
    pub fn peer_is_full(&self) -> bool {
        self.peer_takes.is_some_and(|left| left < WORTHWHILE_LEN)
    }

    /// Whether the peer owes us something: its hello, an acknowledgement, the rest of what it has for us.
    pub fn is_waiting(&self) -> bool {
        !self.flying.is_empty() || !self.is_open() || !self.they_said_done
    }

    /// Bytes of ranges on their way to the peer.
    pub fn flight(&self) -> u64 {
        self.flying.iter().map(|flying| flying.len).sum()
    }

    /// The longest range on its way.
    pub fn longest_flying(&self) -> u64 {
        self.flying.iter().map(|flying| flying.len).max().unwrap_or(0)
    }

    /// What was learned of the link.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    fn was_sent(&self, log: u64, seq: u64) -> bool {
        self.sent.get(&log).is_some_and(|sent| seq <= *sent)
    }

    fn forget_what_was_sent(&mut self) {
        self.flying.clear();
        self.sent.clear();
        self.output.clear();
        self.we_said_done = false;
        self.ours = LogTable::default();
    }

    fn say(&mut self, message: &Message) {
        self.output.extend(message.to_bytes(&self.ours));
    }
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Asking { .. } => "we asked who it is",
            Self::Learning => "its introduction is looked at",
            Self::Greeting => "its hello is due",
            Self::Open => "the exchange is open",
            Self::Closed(_) => "the exchange is closed",
        }
    }
}

fn name(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Range(_) => "a range",
        Message::Ack(_) => "an acknowledgement",
        Message::Again(_) => "a range is asked for again",
        Message::Done(_) => "done",
        Message::Who => "who",
        Message::Introduction(_) => "an introduction",
        Message::Bye(_) => "bye",
        Message::Busy => "busy",
        Message::Lost(_) => "lost state",
    }
}

#[cfg(test)]
mod tests;
