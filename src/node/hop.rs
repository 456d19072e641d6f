//! A node behind an exchange: each thing the exchange asks is one turn on the standing node. SPEC §7.4.

use super::error::NodeError;
use super::meeting::{Identity, Learned};
use super::sending::{Next, Wanted};
use super::session::{ByLane, Session, Taken, Unconfirmed};
use super::standing::{Standing, Ticket};
use super::workshop::Workshop;
use crate::carry::exchange::{Action, Exchange};
use crate::link::{Answer, Cut, Due, Greeting, Home, Refusal, Room};
use crate::ports::net::Traffic;
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use bundle_format::manifest::Granted;
use bundle_format::range::Range;
use bundle_format::sign::VerifyingKey;
use bundle_format::vector::Salt;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// After news the node waits this long for more before it looks: hundreds of sessions look at every stream.
const GATHER: Duration = Duration::from_millis(20);
/// What was learned of a peer is kept at least this often while it talks.
const SAVE_MS: u64 = 30_000;
/// A connection that stands shows that the peer is there, also where there is nothing to say: so often that is kept, which is sooner than any silence is told.
const STANDS_MS: u64 = 1_800_000;

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        Self { code: error.code(), why: error.to_string() }
    }
}

/// What a session has done so far, for people who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Moved {
    /// Events acknowledged by the peer, by lane.
    pub delivered: ByLane,
    /// Events taken in, new to us.
    pub taken: u64,
    /// Bytes a second towards the peer, when known.
    pub rate: Option<u64>,
}

impl Moved {
    /// As `session` and `exchange` stand.
    pub fn of(session: &Session, exchange: &Exchange) -> Self {
        Self { delivered: session.delivered, taken: session.tally.counts.new, rate: exchange.pace().rate() }
    }

    /// Together with what earlier connections of the same sync did.
    #[must_use]
    pub fn after(&self, before: &super::syncing::Synced) -> Self {
        let mut sum = self.clone();
        sum.delivered.iter_mut().zip(before.delivered).for_each(|(sum, more)| *sum += more);
        sum.taken += before.taken.0;
        sum
    }
}

/// What of a hop can be chosen by who makes it.
pub struct HopTerms {
    /// Only this node will do.
    pub expected: Option<NodeId>,
    /// Bytes that may be on their way to us at once.
    pub window: u64,
    /// Bytes of ranges we take in all.
    pub take: Option<u64>,
    /// Told as soon as the peer is known.
    pub known: Box<dyn FnMut(NodeId)>,
    /// Where the peer is, for people.
    pub via: String,
    /// What passes the socket.
    pub traffic: Rc<Traffic>,
}

/// The node at this end of one link.
pub struct Hop {
    standing: Rc<Standing>,
    workshop: Rc<RefCell<Workshop>>,
    key: VerifyingKey,
    salt: Salt,
    terms: HopTerms,
    session: Option<Session>,
    due: Vec<Due>,
    /// What `due` waits for: a ticket of each life of the node in which some of it was taken.
    tickets: Vec<Ticket>,
    changes: watch::Receiver<u64>,
    /// When to look, where news have come.
    look_at: Option<Instant>,
    saved_ms: u64,
    watcher: Box<dyn FnMut(&Moved)>,
    last_moved: Option<Moved>,
    has_settled: bool,
    _present: Rc<()>,
}

impl Hop {
    /// A hop to whoever has proved `key` on a link whose tags are salted with `salt`.
    pub fn new(
        standing: Rc<Standing>,
        workshop: Rc<RefCell<Workshop>>,
        (key, salt): (VerifyingKey, Salt),
        terms: HopTerms,
        watcher: Box<dyn FnMut(&Moved)>,
    ) -> Self {
        let (changes, present, saved_ms) = (standing.changes(), Rc::clone(&workshop.borrow().present), standing.now_ms());
        Self {
            standing,
            workshop,
            key,
            salt,
            terms,
            session: None,
            due: Vec::new(),
            tickets: Vec::new(),
            changes,
            look_at: None,
            saved_ms,
            watcher,
            last_moved: None,
            has_settled: false,
            _present: present,
        }
    }

    /// What an earlier connection of the same sync left on its way; see [`Session::confirm`].
    pub fn confirm(&mut self, unconfirmed: Unconfirmed) {
        if let Some(session) = &mut self.session {
            session.confirm(unconfirmed);
        }
    }

    /// The session, once the peer is known.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Whether both ends had everything at some moment.
    pub fn has_settled(&self) -> bool {
        self.has_settled
    }

    /// Who is there; `Some` with our hello when it is a member.
    ///
    /// # Errors
    /// Z614 for a key that counts no more (R7.5-h), Z620 for another member than was expected; what the node says.
    pub async fn meet(&mut self) -> Result<Option<Greeting>, Refusal> {
        let (key, salt, expected) = (self.key, self.salt, self.terms.expected);
        let met = self.standing.with(|node| {
            let peer = match node.identify(&key) {
                Identity::Unknown => return Ok(None),
                Identity::Ended(peer) => {
                    return Err(NodeError::refused(
                        Code::Z614,
                        format!("{} still uses a key that was replaced or revoked", node.naming().node(&peer)),
                    ));
                }
                Identity::Member(peer) if peer == node.keyring.node() => {
                    return Err(NodeError::refused(Code::Z616, "this is the node itself"));
                }
                Identity::Member(peer) => peer,
            };
            if let Some(expected) = expected.filter(|expected| *expected != peer) {
                let (there, wanted) = (node.naming().node(&peer), node.naming().node(&expected));
                return Err(NodeError::refused(Code::Z620, format!("{there} answers there, not {wanted}")));
            }
            let mut session = Session::begin(node, peer, salt)?;
            let pages = session.hello(node)?;
            Ok(Some((session, pages)))
        });
        let Some((mut session, mut pages)) = met.await? else { return Ok(None) };
        self.know_speed(session.record()).await;
        session.know_speed(self.workshop.borrow().speed);
        let told = self.granted().told(session.record().link.rate);
        session.mixing.grant(told.unwrap_or(Granted::USUAL), self.now_ms());
        pages.iter_mut().take(1).for_each(|page| page.granted = told);
        (self.terms.known)(session.peer());
        session.via.clone_from(&self.terms.via);
        self.session = Some(session);
        Ok(Some(Greeting { pages, window: self.terms.window, take: self.terms.take }))
    }

    /// What each of those who are here is granted.
    fn granted(&self) -> Granted {
        let workshop = self.workshop.borrow();
        workshop.speed.granted(Rc::strong_count(&workshop.present) - 1)
    }

    /// What all links of the process share.
    pub(super) fn workshop(&self) -> &Rc<RefCell<Workshop>> {
        &self.workshop
    }

    /// Milliseconds of the clock that never goes back.
    pub(super) fn now_ms(&self) -> u64 {
        self.standing.now_ms()
    }

    /// Run `work` on the session and the node.
    pub(super) async fn on<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &mut super::Node, &mut Workshop) -> Result<T, NodeError>,
    ) -> Result<T, Refusal> {
        let Some(session) = &mut self.session else {
            return Err(Refusal { code: Code::Z100, why: "nobody is known to be there".to_owned() });
        };
        let workshop = &self.workshop;
        Ok(self.standing.with(|node| work(session, node, &mut workshop.borrow_mut())).await?)
    }

    /// The same, if the peer's key is good still: what comes under another is not taken, and nothing is sent.
    async fn on_good_key<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &mut super::Node, &mut Workshop) -> Result<T, NodeError>,
    ) -> Result<T, Refusal> {
        let key = self.key;
        self.on(|session, node, workshop| Self::key_is_good(node, &key).and_then(|()| work(session, node, workshop))).await
    }

    /// `due` was taken just now: it may be acknowledged once it is durable. The node may have been lost and opened anew since the one before it was taken,
    /// and then a sync of this life says nothing of that one.
    fn owe(&mut self, due: Due) {
        let ticket = self.standing.ticket();
        self.tickets.retain(|earlier| !ticket.covers(earlier));
        self.tickets.push(ticket);
        self.due.push(due);
    }

    /// A peer that we do not know has introduced itself (R7.5-f).
    async fn learn(&mut self, ranges: Vec<Range>) -> Result<Answer, Refusal> {
        let workshop = &self.workshop;
        let learned = self.standing.with(|node| node.learn(&mut workshop.borrow_mut(), ranges)).await?;
        let greeting = self.meet().await?;
        if greeting.is_none() {
            let code = if learned == Learned::TooFarBehind { Code::Z621 } else { Code::Z620 };
            return Err(Refusal { code, why: code.row().title.to_owned() });
        }
        Ok(Answer::Identified(greeting))
    }

    /// Its key must be good still: the roster may have changed meanwhile (R7.4-j).
    fn key_is_good(node: &super::Node, key: &VerifyingKey) -> Result<(), NodeError> {
        match node.identify(key) {
            Identity::Member(_) => Ok(()),
            _ => Err(NodeError::refused(Code::Z614, "its key was replaced or revoked while it talked")),
        }
    }

    /// Keep what was learned of the peer, and of the link to it.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn remember(&mut self, change: impl FnOnce(&mut super::peers::Peer)) -> Result<(), NodeError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        self.saved_ms = self.standing.now_ms();
        let traffic = &self.terms.traffic;
        let save = |node: &mut super::Node| {
            change(session.record_mut());
            session.spend(traffic.book());
            session.save(node)
        };
        self.standing.with(save).await
    }

    /// The same while it talks, if there is anything: who is killed would send again what was acknowledged long ago.
    async fn remember_now_and_then(&mut self) -> Result<(), NodeError> {
        let is_due = self.standing.now_ms().saturating_sub(self.saved_ms) >= SAVE_MS;
        if is_due && self.session().is_some_and(Session::has_learned) { self.remember(|_| {}).await } else { Ok(()) }
    }

    /// What was learned last; where that is noted, that the peer is there, though neither had anything to say for long (R10.14-a).
    async fn note_that_it_stands(&mut self) -> Result<(), Refusal> {
        if !self.session().is_some_and(Session::has_learned) {
            let heard = self.on(|session, node, _| {
                session.hear_on(node);
                Ok(())
            });
            heard.await?;
        }
        self.remember(|_| {}).await.unwrap_or(()); // it is tried again, and told at the end
        Ok(())
    }

    /// What the peer lacks still, by lane.
    ///
    /// # Errors
    /// What the log says.
    pub async fn remaining(&mut self) -> Result<ByLane, NodeError> {
        let Some(session) = &mut self.session else { return Ok([0; 4]) };
        self.standing.with(|node| session.remaining(node)).await
    }
}

impl Drop for Hop {
    /// What was learned on this link is hardly of use on another, and is as large as all else that a hub holds for it.
    fn drop(&mut self) {
        if let Ok(mut workshop) = self.workshop.try_borrow_mut() {
            workshop.forget();
        }
    }
}

impl Home for Hop {
    async fn act(&mut self, action: Action) -> Result<Answer, Refusal> {
        match action {
            Action::Introduce => {
                let workshop = Rc::clone(&self.workshop);
                let ranges = self.standing.with(|node| node.introduction(&mut workshop.borrow_mut())).await?;
                let greeting = self.meet().await?;
                let unknown = || Refusal { code: Code::Z620, why: Code::Z620.row().title.to_owned() };
                Ok(Answer::Introduction(ranges, greeting.ok_or_else(unknown)?))
            }
            Action::Learn(ranges) => self.learn(ranges).await,
            Action::Hear(heard) => {
                let lost = self.on(|session, node, _| session.hear(node, heard)).await?;
                Ok(lost.map_or(Answer::Nothing, Answer::Lost))
            }
            Action::Take(range) => {
                let taken = match self.decode(range).await? {
                    Ok(range) => self.on_good_key(|session, node, workshop| session.take(node, workshop, range)).await?,
                    Err(taken) => taken,
                };
                match taken {
                    Taken::Held { origin, seq } => {
                        self.owe(Due { origin, seq });
                        Ok(Answer::Nothing)
                    }
                    Taken::Again { origin, seq, tag, reason } => {
                        self.standing.durable().await?; // it tells how far we hold that history, and the peer goes by it
                        Ok(Answer::Again(Due { origin, seq }, tag, reason))
                    }
                    Taken::Refused(code) => Err(Refusal { code, why: format!("a range of it: {}", code.row().title) }),
                }
            }
            Action::Credit { origin, seq } => {
                self.on(|session, node, _| session.credit(node, &origin, seq)).await?;
                self.remember_now_and_then().await.unwrap_or(()); // what is sent needs no room here; at the end it is tried again, and told
                Ok(Answer::Nothing)
            }
            Action::Resend { origin, seq, tag, reason } => {
                self.on(|session, node, _| session.resend(node, &origin, seq, tag, reason)).await?;
                Ok(Answer::Nothing)
            }
            Action::Lost(number) => {
                let lose = |session: &mut Session, node: &mut super::Node| session.lose(node).and_then(|()| session.settle(node)).map(drop);
                self.on(|session, node, _| if session.is_loss(node, number) { lose(session, node) } else { Ok(()) }).await?;
                Ok(Answer::Nothing)
            }
        }
    }

    async fn durable(&mut self) -> Result<Vec<Due>, Refusal> {
        for ticket in std::mem::take(&mut self.tickets) {
            self.standing.settled(&ticket).await?;
        }
        self.remember_now_and_then().await?;
        self.on(|session, node, _| session.settle(node)).await?;
        Ok(std::mem::take(&mut self.due))
    }

    async fn cut(&mut self, room: Room) -> Result<Cut, Refusal> {
        let gate = Rc::clone(&self.workshop.borrow().model);
        let alone = gate.try_acquire().ok();
        loop {
            let may_mix = alone.is_some();
            let next = self.on_good_key(|session, node, workshop| session.next(node, workshop, Wanted { room, may_mix }));
            match next.await? {
                Next::Nothing => return Ok(Cut::Nothing),
                Next::TooLong => return Ok(Cut::TooLong),
                Next::Range(range) => return Ok(Cut::Range(range)),
                Next::Job(job) => {
                    let coded = job.run_between_turns(|| self.now_ms()).await?;
                    let told = |session: &mut Session, _: &mut super::Node, workshop: &mut Workshop| {
                        session.coded(workshop, coded);
                        Ok(())
                    };
                    self.on(told).await?;
                }
            }
        }
    }

    async fn changed(&mut self) -> Result<(), Refusal> {
        let look_at = if let Some(look_at) = self.look_at {
            look_at
        } else {
            // What was acknowledged last is not to wait for the end of a connection that may stand for days.
            let pause_ms = if self.session().is_some_and(Session::has_learned) { SAVE_MS } else { STANDS_MS };
            let noted_ms = pause_ms.saturating_sub(self.now_ms().saturating_sub(self.saved_ms));
            tokio::select! {
                biased;
                changed = self.changes.changed() => if changed.is_err() {
                    return std::future::pending().await; // nobody changes anything any more
                },
                () = sleep(Duration::from_millis(noted_ms)) => return self.note_that_it_stands().await,
            }
            *self.look_at.insert(Instant::now() + GATHER)
        };
        sleep_until(look_at).await;
        self.changes.mark_unchanged();
        let key = self.key;
        self.standing.with(|node| Self::key_is_good(node, &key)).await?; // also where there is nothing to take and nothing to send
        self.look_at = None;
        Ok(())
    }

    fn moved(&mut self, exchange: &Exchange) {
        self.has_settled |= exchange.is_settled();
        let Some(session) = &self.session else { return };
        let moved = Moved::of(session, exchange);
        if self.last_moved.as_ref() != Some(&moved) {
            (self.watcher)(&moved);
            self.last_moved = Some(moved);
        }
    }
}
