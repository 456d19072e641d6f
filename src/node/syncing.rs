//! A node that dials: until both sides have everything, again whenever the link dies, within what time and bytes allow. SPEC §7.6, §7.7.

mod again;
mod beside;
mod row;

use super::Node;
use super::error::NodeError;
use super::hop::{Hop, HopTerms, Moved};
use super::mixing::Mixed;
use super::peers::Link;
use super::session::{ByLane, Unconfirmed};
use super::standing::Standing;
use super::workshop::Workshop;
use crate::carry::exchange::Exchange;
use crate::carry::pace::Pace;
use crate::link::{Broken, Drive, Ended, LinkError, Refusal, Revoked, Secured, Terms};
use crate::ports::net::{Counted, Traffic};
use crate::ports::{Ports, entropy};
pub(super) use beside::Ways;
use beside::{Turn, Way};
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;

/// A first connection may take this long; a name with several addresses is tried within it.
const CONNECT_MS: u64 = 15_000;
/// Once the round trip is known, dialling is repeated more often than the system would by itself.
const REDIAL_MS: u64 = 4000;
/// Without any progress for this long a sync gives up: before a first connection, and after one.
const PATIENCE_MS: [u64; 2] = [20_000, 180_000];
/// Between two attempts, at most (R7.6-e).
const BACKOFF_MS_MAX: u64 = 15_000;
/// Between two attempts, at least.
const SHORTEST_WAIT_MS: u64 = 300;
/// Asked to stop, it ends by then, though our own node may be lent for longer (R7.8-f).
const STOP: Duration = Duration::from_secs(10);
/// What the peer may have on its way to us.
const WINDOW_LEN: u64 = 64 * 1024;
/// A budget below this does not pay for a handshake, two hellos and one range.
pub const BUDGET_MIN: u64 = 4_000;
/// Who waits for the next day looks at the clock this often: it may be set.
const DAY_LOOK_MS: u64 = 60_000;
/// A day, for a budget that is a day's.
pub(super) const DAY_MS: u64 = 24 * 3600 * 1000;

/// What to sync, and within which bounds.
#[derive(Clone, Debug, Default)]
pub struct SyncOrder {
    /// Where the peer listens.
    pub address: String,
    /// Who must answer there; anybody of the roster when it is not said.
    pub expected: Option<NodeId>,
    /// Bytes on the socket, both ways.
    pub budget: Option<u64>,
    /// Bytes on the socket a day, over all runs.
    pub daily_budget: Option<u64>,
    /// End by then, by the monotonic clock.
    pub deadline_ms: Option<u64>,
    /// Bytes a second to send.
    pub rate: Option<u64>,
    /// Stay, and dial again this long after the link was lost.
    pub every_ms: Option<u64>,
}

/// What happens, as it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Dialling, for the nth time.
    Dialling(u64),
    /// The handshake is done; round trip in milliseconds.
    Connected(u64),
    /// Events moved.
    Moved(Moved),
    /// The link failed; it is dialled again after so many milliseconds.
    Again(#[serde(with = "row")] Code, String, u64),
    /// Both sides have everything; the connection is kept.
    Settled,
    /// The budget of the day is used up, and is new at this time, milliseconds since 1970 by our clock.
    UsedUp(u64),
}

/// Why a sync ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncEnd {
    /// Both sides have everything (R7.7-f).
    Complete,
    /// Everything went that could go: some is too long for a link, has rotted here before anybody had it, or the peer cannot place it.
    Left,
    /// The budget was used up.
    Budget,
    /// The deadline came.
    Deadline,
    /// Somebody stopped it, here or there.
    Stopped,
    /// It could not go on.
    Failed(#[serde(with = "row")] Code, String),
}

/// What a sync did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Synced {
    /// How it ended.
    pub end: SyncEnd,
    /// With whom.
    #[serde(skip)]
    pub peer: Option<NodeId>,
    /// What people call it.
    pub name: Option<String>,
    /// Whether anybody proved a key there, known or not.
    pub met: bool,
    /// Events the peer acknowledged, by lane.
    pub delivered: ByLane,
    /// What the peer lacks still, by lane, when that is known.
    pub remaining: Option<ByLane>,
    /// Events taken in that were new, and those that were here already.
    pub taken: (u64, u64),
    /// Histories that forked.
    pub forks: usize,
    /// We had lost a part of our past and go on in a new life.
    pub new_life: bool,
    /// Bytes on the sockets: sent and received.
    pub bytes: (u64, u64),
    /// How often it dialled.
    pub dials: u64,
    /// How long it took.
    pub took_ms: u64,
    /// Bytes a second towards the peer, as measured.
    pub rate: Option<u64>,
    /// What went in codec 3.
    pub mixed: Mixed,
    /// Some histories were left for a bundle by file: a stretch of them is too long for a link, or the peer could not take them.
    pub left: usize,
    /// When the budget of a day is new, milliseconds since 1970 by our clock, where that is what ended it.
    pub goes_on_ms: Option<u64>,
}

impl Synced {
    /// Whether both sides have everything.
    pub fn is_complete(&self) -> bool {
        self.end == SyncEnd::Complete
    }

    /// How it ended when both said that they have no more for each other.
    fn settled(&self) -> SyncEnd {
        let has_sent_all = self.left == 0 && self.remaining.is_none_or(|remaining| remaining == [0; 4]);
        if has_sent_all { SyncEnd::Complete } else { SyncEnd::Left }
    }
}

/// One sync under way.
pub struct Syncer<'a> {
    standing: Rc<Standing>,
    ports: &'a Ports,
    workshop: Rc<RefCell<Workshop>>,
    order: SyncOrder,
    stop: watch::Receiver<bool>,
    watcher: Rc<dyn Fn(Step)>,
    way: Rc<Way>,
    /// Ours to dial.
    turn: Option<Turn>,
    /// The connection was ended for one that somebody waits for.
    gave_way: Cell<bool>,
    traffic: Rc<Traffic>,
    began_ms: u64,
    last_progress_ms: u64,
    dialled_ms: u64,
    failures: u32,
    /// The connection before this one broke.
    broke: bool,
    /// In it both sides had everything at some moment.
    settled: bool,
    /// What was on its way to the peer when the last connection ended.
    unconfirmed: Unconfirmed,
    round_trip_ms: Option<u64>,
    /// What was spent of a day's budget where nobody is known in whose file it could be counted. Boxed, for it travels in futures.
    unmet: Box<Link>,
    /// Why the last attempt failed; none once one has gone well.
    failure: Option<(Code, String)>,
    done: Synced,
}

impl<'a> Syncer<'a> {
    /// Sync the node that `standing` keeps, as `order` says, until it is done or `stop` says so.
    pub fn new(
        standing: Rc<Standing>,
        ports: &'a Ports,
        workshop: Rc<RefCell<Workshop>>,
        order: SyncOrder,
        stop: watch::Receiver<bool>,
        watcher: Rc<dyn Fn(Step)>,
    ) -> Self {
        let now_ms = ports.clock.monotonic_ms();
        let way = workshop.borrow().ways.to(&order.address);
        let done = Synced {
            end: SyncEnd::Complete,
            peer: None,
            name: None,
            met: false,
            delivered: [0; 4],
            remaining: None,
            taken: (0, 0),
            forks: 0,
            new_life: false,
            bytes: (0, 0),
            dials: 0,
            took_ms: 0,
            rate: None,
            mixed: Mixed::default(),
            left: 0,
            goes_on_ms: None,
        };
        Self {
            standing,
            ports,
            workshop,
            order,
            stop,
            watcher,
            way,
            turn: None,
            gave_way: Cell::new(false),
            traffic: Rc::default(),
            began_ms: now_ms,
            last_progress_ms: now_ms,
            dialled_ms: now_ms,
            failures: 0,
            broke: false,
            settled: false,
            unconfirmed: Unconfirmed::new(),
            round_trip_ms: None,
            unmet: Box::default(),
            failure: None,
            done,
        }
    }

    /// Dial until it is done. Where it is asked to stop and does not end by itself it is broken off: nothing is lost by that (R7.7-d).
    pub async fn run(mut self) -> Synced {
        let stop = self.stop.clone();
        let overdue = async {
            stopped(stop).await;
            tokio::time::sleep(STOP).await;
        };
        self.done.end = tokio::select! {
            biased;
            end = Box::pin(self.until_done()) => end,
            () = overdue => SyncEnd::Stopped,
        };
        self.done.took_ms = self.now_ms().saturating_sub(self.began_ms);
        self.done.bytes = (self.traffic.written_len.get(), self.traffic.read_len.get());
        self.done
    }

    /// Dial, until it is clear how it ends.
    async fn until_done(&mut self) -> SyncEnd {
        let end = loop {
            if let Some(end) = self.bound().await {
                if end == SyncEnd::Budget && self.outlasts_the_day().await {
                    continue;
                }
                break end;
            }
            if !self.has_its_turn().await {
                continue;
            }
            self.done.dials += 1;
            self.dialled_ms = self.now_ms();
            (self.watcher)(Step::Dialling(self.done.dials));
            let before = (self.done.delivered, self.done.taken);
            self.settled = false;
            let attempt = self.attempt().await;
            self.broke = attempt.is_err();
            self.turn = self.turn.take().filter(|_| self.order.every_ms.is_none());
            // That both had everything is as good as that something moved, but not where it ends at once, again and again.
            let stood = self.settled && self.now_ms().saturating_sub(self.dialled_ms) > BACKOFF_MS_MAX;
            if stood || (self.done.delivered, self.done.taken) != before {
                (self.last_progress_ms, self.failures) = (self.now_ms(), 0);
            }
            self.failure = attempt.as_ref().err().map(|broken| (broken.code(), broken.to_string()));
            match attempt {
                Ok(Ended::Settled) => break self.done.settled(),
                Ok(Ended::Bound) => match self.bound().await {
                    Some(SyncEnd::Budget) if self.outlasts_the_day().await => {}
                    Some(end) => break end,
                    None if self.gave_way.take() => {}
                    // Not even one range more would fit: who stays looks again later, anybody else ends.
                    None if let (Some(_), Some(every_ms)) = (self.order.daily_budget, self.order.every_ms) => self.rest(every_ms).await,
                    None if self.order.deadline_ms.is_some() => break SyncEnd::Deadline,
                    None if self.order.budget.is_some() || self.order.daily_budget.is_some() => break SyncEnd::Budget,
                    None => break SyncEnd::Stopped,
                },
                Ok(Ended::ByPeer) if self.order.every_ms.is_none() => {
                    if !self.again(Code::Z502, "the other side ended it".to_owned(), 0).await {
                        break SyncEnd::Stopped;
                    }
                }
                Ok(Ended::ByPeer) => {
                    self.again(Code::Z502, "the other side ended it".to_owned(), 0).await;
                }
                Err(broken) => {
                    let (code, why) = (broken.code(), broken.to_string());
                    let goes_on = match again::at_least_ms(&broken, self.order.every_ms) {
                        Some(at_least_ms) => self.again(code, why.clone(), at_least_ms).await,
                        None => false,
                    };
                    if !goes_on {
                        break self.bound().await.unwrap_or(SyncEnd::Failed(code, why));
                    }
                }
            }
        };
        // A deadline that comes while the link is down is no clean end.
        let mut end = match (end, self.failure.take()) {
            (SyncEnd::Deadline, Some((code, why))) => SyncEnd::Failed(code, why),
            (end, _) => end,
        };
        if end == SyncEnd::Budget
            && let Err(error) = self.look_at_the_day().await
        {
            end = SyncEnd::Failed(error.code(), error.to_string());
        }
        if let Some(peer) = self.done.peer.or(self.order.expected) {
            self.done.name = self.standing.with(|node| Ok(node.naming().node(&peer))).await.ok(); // while it cannot be opened nobody is named
        }
        end
    }

    fn now_ms(&self) -> u64 {
        self.ports.clock.monotonic_ms()
    }

    /// Whether a bound of the order is reached.
    async fn bound(&mut self) -> Option<SyncEnd> {
        if *self.stop.borrow() {
            return Some(SyncEnd::Stopped);
        }
        if self.order.deadline_ms.is_some_and(|deadline_ms| self.now_ms() >= deadline_ms) {
            return Some(SyncEnd::Deadline);
        }
        let left = self.budget_left().await;
        left.is_some_and(|left| left < BUDGET_MIN).then_some(SyncEnd::Budget)
    }

    /// The budget of a day is used up: when it is new, and, where nobody was talked to, what waits until then.
    async fn look_at_the_day(&mut self) -> Result<(), NodeError> {
        if self.order.daily_budget.is_none() {
            return Ok(());
        }
        let Some(peer) = self.order.expected.or(self.done.peer) else {
            let day = self.ports.clock.now_ms() / DAY_MS;
            self.unmet.spend(day, self.traffic.book());
            self.done.goes_on_ms = Some(self.unmet.next_day(day).saturating_mul(DAY_MS));
            return Ok(());
        };
        let traffic = Rc::clone(&self.traffic);
        self.done.goes_on_ms = Some(self.standing.with(|node| node.budget_is_new_ms(&peer, &traffic)).await?);
        if self.done.remaining.is_none() {
            self.done.remaining = Some(self.standing.with(|node| node.lacking(&peer)).await?);
        }
        Ok(())
    }

    /// Who stays waits for the next day where the budget of this one is used up; false for who does not, and where it cannot be looked at: that is told as it
    /// ends.
    async fn outlasts_the_day(&mut self) -> bool {
        if self.order.every_ms.is_none() || self.order.daily_budget.is_none() {
            return false;
        }
        if self.look_at_the_day().await.is_err() {
            return false;
        }
        if let Some(goes_on_ms) = self.done.goes_on_ms.take() {
            (self.watcher)(Step::UsedUp(goes_on_ms));
        }
        while !*self.stop.borrow() && self.budget_left().await.is_some_and(|left| left < BUDGET_MIN) {
            if self.left_ms() == 0 {
                break;
            }
            self.rest(DAY_LOOK_MS).await;
            if self.look_at_the_day().await.is_err() {
                return false;
            }
        }
        self.done.goes_on_ms = None;
        self.last_progress_ms = self.now_ms();
        true
    }

    /// Bytes that may still pass, of this run's budget and of the day's.
    async fn budget_left(&mut self) -> Option<u64> {
        let of_run = self.order.budget.map(|budget| budget.saturating_sub(self.traffic.carried()));
        let (day, fresh) = (self.ports.clock.now_ms() / DAY_MS, self.traffic.unbooked());
        let of_day = match (self.order.daily_budget, self.order.expected.or(self.done.peer)) {
            (Some(budget), Some(peer)) => {
                let spent = self.standing.with(|node| Ok(node.peer(&peer)?.link.spent_on(day))).await.unwrap_or(u64::MAX); // unknown is spent
                Some(budget.saturating_sub(spent.saturating_add(fresh)))
            }
            (Some(budget), None) => Some(budget.saturating_sub(self.unmet.spent_on(day).saturating_add(fresh))),
            (None, _) => None,
        };
        [of_run, of_day].into_iter().flatten().min()
    }

    /// Wait before dialling again, so long at least; false when it is no use.
    async fn again(&mut self, code: Code, why: String, at_least_ms: u64) -> bool {
        let now_ms = self.now_ms();
        let patience_ms = PATIENCE_MS[usize::from(self.round_trip_ms.is_some())];
        let patience_left_ms =
            if self.order.every_ms.is_some() { u64::MAX } else { patience_ms.saturating_sub(now_ms.saturating_sub(self.last_progress_ms)) };
        if patience_left_ms == 0 {
            return false;
        }
        let wait_ms = self.backoff_ms(now_ms).max(at_least_ms).min(patience_left_ms); // the last attempt is made when it is over
        self.failures += 1;
        (self.watcher)(Step::Again(code, why, wait_ms.min(self.left_ms())));
        self.rest(wait_ms).await;
        true
    }

    /// Until the deadline.
    fn left_ms(&self) -> u64 {
        self.order.deadline_ms.map_or(u64::MAX, |deadline_ms| deadline_ms.saturating_sub(self.now_ms()))
    }

    /// Wait so long, but not beyond the deadline, nor where somebody stops it.
    async fn rest(&self, wait_ms: u64) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms.min(self.left_ms()))) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// How long to wait before the next attempt: what doubles with each failure, between half and all of it, so that a district whose power comes back
    /// does not dial at once. An attempt that waited for an answer in vain has waited already: it is the link that is down, and it may be back any moment.
    fn backoff_ms(&self, now_ms: u64) -> u64 {
        let silent_ms = now_ms.saturating_sub(self.last_progress_ms);
        let tried_ms = now_ms.saturating_sub(self.dialled_ms);
        let longest_ms = self.order.every_ms.unwrap_or(BACKOFF_MS_MAX).max(500);
        let doubled_ms = 500_u64.saturating_mul(1 << self.failures.min(16)).min(longest_ms);
        let backoff_ms = match self.order.every_ms {
            Some(every_ms) if silent_ms > PATIENCE_MS[1] => every_ms,
            _ if tried_ms >= REDIAL_MS - 500 => return 0,
            _ => doubled_ms,
        };
        let part = u64::from(u16::from_le_bytes(entropy::random(&*self.ports.entropy)));
        (backoff_ms / 2 + backoff_ms / 2 * part / u64::from(u16::MAX)).max(SHORTEST_WAIT_MS)
    }

    /// One connection, from the first packet to the last.
    async fn attempt(&mut self) -> Result<Ended, Broken> {
        let dialled_ms = self.now_ms();
        let connect_ms = self.round_trip_ms.map_or(CONNECT_MS, |round_trip_ms| REDIAL_MS.max(3 * round_trip_ms));
        let left_ms = self.order.deadline_ms.map_or(u64::MAX, |deadline_ms| deadline_ms.saturating_sub(dialled_ms));
        let within = |ms: u64| Duration::from_millis(ms.min(left_ms).max(1));
        let dialled = tokio::time::timeout(within(connect_ms), self.ports.net.connect(&self.order.address));
        let stream = tokio::select! {
            dialled = dialled => dialled.map_err(|_| LinkError::Dial(std::io::ErrorKind::TimedOut.into()))?.map_err(LinkError::Dial)?,
            () = self.is_called_away() => return Ok(Ended::Bound),
        };
        let connected_ms = self.now_ms();
        let profile = self.standing.with(|node| {
            node.require_joined()?;
            let revoked = Revoked::default();
            revoked.set(node.revoked_keys());
            node.link_profile(&revoked)
        });
        let profile = profile.await.map_err(Refusal::from)?;
        let shook = tokio::time::timeout(within(u64::MAX), profile.dial(Counted::new(stream, &self.traffic)));
        let Secured { stream, peer, salt } = shook.await.map_err(|_| LinkError::Silent)??;
        // Each takes one; either may have lost a packet.
        let round_trip_ms = (connected_ms - dialled_ms).min(self.now_ms().saturating_sub(connected_ms));
        self.round_trip_ms = Some(round_trip_ms);
        self.done.met = true;
        (self.watcher)(Step::Connected(round_trip_ms));
        self.converse(stream, (peer, salt), round_trip_ms).await
    }

    async fn converse<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
        &mut self,
        mut stream: S,
        key: (bundle_format::sign::VerifyingKey, bundle_format::vector::Salt),
        round_trip_ms: u64,
    ) -> Result<Ended, Broken> {
        let budget = self.budget_left().await;
        let (watcher, before) = (Rc::clone(&self.watcher), self.done.clone());
        let tell = Box::new(move |moved: &Moved| watcher(Step::Moved(moved.after(&before))));
        let terms = HopTerms {
            expected: self.order.expected,
            window: WINDOW_LEN,
            take: budget,
            known: Box::new(|_| {}),
            via: format!("line {}", self.order.address),
            traffic: Rc::clone(&self.traffic),
        };
        let mut hop = Hop::new(Rc::clone(&self.standing), Rc::clone(&self.workshop), key, terms, tell);
        let met = hop.meet().await;
        hop.confirm(std::mem::take(&mut self.unconfirmed));
        let session = hop.session();
        let rate = session.and_then(|session| session.record().link.rate);
        let pace = if self.broke { Pace::after_a_break(rate, round_trip_ms) } else { Pace::new(rate, round_trip_ms) };
        let ahead_len = match session {
            // What was on its way when the link broke may have arrived: its hello tells. Until it comes one short range goes, should that have been lost.
            Some(session) if session.is_remembered() && self.broke => 1,
            Some(session) if session.is_remembered() => u64::MAX,
            _ => 0,
        };
        let mut exchange = Exchange::new(!matches!(met, Ok(None)), ahead_len, pace);
        let refusal = met.as_ref().err().cloned();
        match met {
            Ok(Some(greeting)) => exchange.greet(greeting.pages, greeting.window, greeting.take),
            Ok(None) => {}
            Err(Refusal { code, .. }) => exchange.close(Some(code)), // the peer is told before our own side is
        }
        let (passed, base, written) = (Rc::clone(&self.traffic), self.traffic.carried(), Rc::clone(&self.traffic));
        let (ask, stop) = watch::channel(false);
        let asking = async {
            self.is_called_away().await;
            ask.send_replace(true);
            std::future::pending::<()>().await;
        };
        let terms = Terms {
            once: self.order.every_ms.is_none(),
            deadline_ms: self.order.deadline_ms,
            budget,
            rate: self.order.rate,
            carried: Rc::new(move || passed.carried().saturating_sub(base)),
            written: Rc::new(move || written.written_len.get()),
            stall_ms: Terms::DIALLER_STALL_MS,
            stop,
        };
        let ended = tokio::select! {
            ended = Drive::new(&mut stream, &mut exchange, &mut hop, &*self.ports.clock, terms).run() => ended,
            () = asking => Ok(Ended::Bound), // it never says so: the drive ends
        };
        self.settled = hop.has_settled();
        if let Some(refusal) = refusal {
            return Err(refusal.into());
        }
        let kept = self.account(&mut hop, &exchange, round_trip_ms, &ended).await;
        ended.and_then(|ended| kept.map(|()| ended).map_err(|error| Refusal::from(error).into()))
    }

    /// What this connection brought, and what it teaches about the next.
    async fn account(&mut self, hop: &mut Hop, exchange: &Exchange, round_trip_ms: u64, ended: &Result<Ended, Broken>) -> Result<(), NodeError> {
        let Some(session) = hop.session() else { return Ok(()) };
        self.done.peer = Some(session.peer());
        for (sum, more) in self.done.delivered.iter_mut().zip(session.delivered) {
            *sum += more;
        }
        self.unconfirmed = session.unconfirmed();
        self.done.mixed.add(session.mixing.mixed);
        let tally = &session.tally;
        self.done.taken.0 += tally.counts.new;
        self.done.taken.1 += tally.counts.duplicate;
        self.done.forks += tally.forks.len();
        self.done.new_life |= tally.new_life;
        self.done.left = session.left.len();
        self.done.rate = exchange.pace().rate().or(self.done.rate);
        self.done.remaining = Some(hop.remaining().await?);
        let (now_ms, rate, settled) = (self.ports.clock.now_ms(), self.done.rate, matches!(ended, Ok(Ended::Settled)));
        hop.remember(|record| {
            record.link.rate = rate.or(record.link.rate);
            record.link.round_trip_ms = round_trip_ms;
            record.link.settled_ms = if settled { now_ms } else { record.link.settled_ms };
        })
        .await?;
        self.standing.take_held().await
    }
}

impl Node {
    /// When the budget of a day is new of which nothing is left today. That today was is noted: once it is past, a clock that was ahead holds nothing up. So
    /// is what attempts have cost that came to no session: it is of today, and not of every day that comes.
    fn budget_is_new_ms(&self, peer: &NodeId, traffic: &Traffic) -> Result<u64, NodeError> {
        let (mut known, day) = (self.peer(peer)?, self.ports.clock.now_ms() / DAY_MS);
        let before = known.link.clone();
        known.link.spend(day, traffic.unbooked());
        if known.link != before {
            self.peers.save(&*self.ports.disk, peer, &known)?;
        }
        traffic.book();
        Ok(known.link.next_day(day).saturating_mul(DAY_MS))
    }
}

/// Returns when somebody asks for an end; who cannot be asked any more never does.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
