//! A node that listens: many peers at once, each in its own task, none able to hold up another. SPEC §7.8.

use super::Node;
use super::error::NodeError;
use super::hop::{Hop, HopTerms, Moved};
use super::standing::Standing;
use super::workshop::Workshop;
use crate::carry::exchange::Exchange;
use crate::carry::pace::Pace;
use crate::keys::roster::Standing as KeyStanding;
use crate::link::drive::{AT_ONCE, BUSY};
use crate::link::{Begun, Broken, Drive, Ended, Greeting, LinkError, Profile, Refusal, Revoked, Secured, Terms};
use crate::ports::net::{Counted, Listener, Stream, Traffic};
use crate::ports::{Clock, Ports};
use bundle_format::error::Code;
use bundle_format::ids::NodeId;
use bundle_format::logs::LogTable;
use bundle_format::message::Message;
use bundle_format::sign::VerifyingKey;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::AbortHandle;

/// Handshakes at once: each costs memory, and nobody has proved a key yet (R7.8-a).
const HANDSHAKES_MAX: usize = 64;
/// Of one address; a mobile network may put a district behind one.
const HANDSHAKES_OF_ADDRESS_MAX: usize = 32;
/// Who waits for a handshake costs a socket and little more; of one address so many may.
const WAITING_OF_ADDRESS_MAX: usize = 300;
/// … for so long.
const WAITING: Duration = Duration::from_secs(15);
/// Connections at once.
const PEERS_MAX: usize = 1000;
/// Bytes all peers together may have on their way to us (R7.8-c) …
const WINDOWS_LEN: u64 = 1024 * 1024;
/// … shared down to this for each …
const WINDOW_LEN_MIN: u64 = 4 * 1024;
/// … and never more for one.
const WINDOW_LEN_MAX: u64 = 64 * 1024;
/// When asked to stop, sessions have this long to finish what is on its way (R7.8-f).
const STOP: Duration = Duration::from_secs(8);
/// A session whose peer has dialled again has this long to end by itself.
const PART: Duration = Duration::from_secs(2);
/// After the system refused to accept, until it is asked again: there are no file descriptors, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// Refused so often in a row, it is told: one that hangs up at the door is refused once.
const DEAF_AFTER: u32 = 10;

/// Something that happened, for a log people read.
#[derive(Debug)]
pub enum Served {
    /// A session ended well.
    Ended {
        /// With whom.
        peer: NodeId,
        /// How.
        how: Ended,
        /// What it brought.
        moved: Moved,
        /// Bytes on the socket, received and sent.
        bytes: (u64, u64),
    },
    /// A session broke, or somebody was refused.
    Broken {
        /// With whom, when that is known.
        peer: Option<NodeId>,
        /// What it brought before.
        moved: Moved,
        /// From where.
        address: IpAddr,
        /// The row.
        code: Code,
        /// In words.
        why: String,
    },
    /// Nobody can be heard: the system gives no more connections. Told once, until somebody is.
    Deaf {
        /// In words.
        why: String,
    },
    /// Somebody was turned away at the door: too many at once.
    TurnedAway {
        /// From where.
        address: IpAddr,
    },
}

/// The listening side of a node.
pub struct Server {
    standing: Rc<Standing>,
    clock: Rc<dyn Clock>,
    workshop: Rc<RefCell<Workshop>>,
    profile: RefCell<Profile>,
    revoked: Revoked,
    handshakes: Rc<Semaphore>,
    doors: RefCell<BTreeMap<IpAddr, Door>>,
    sessions: RefCell<BTreeMap<u64, Running>>,
    /// Peers whose last session did not end well: the next one begins with small ranges, for a link that breaks early must get somewhere.
    broke: RefCell<BTreeSet<NodeId>>,
    last_id: Cell<u64>,
    tell: Box<dyn Fn(Served)>,
}

/// Where those of one address come in.
struct Door {
    handshakes: Rc<Semaphore>,
    /// Who has come and has not proved who it is.
    strangers: usize,
}

/// A session under way.
struct Running {
    peer: Option<NodeId>,
    stop: watch::Sender<bool>,
    /// Its connection counts as lost from then on, whatever it looks like.
    lost: Rc<Notify>,
    task: Option<AbortHandle>,
}

impl Server {
    /// A server of the node that `standing` keeps. What happens is told to `tell`.
    ///
    /// # Errors
    /// Z604 before the node has joined; TLS that cannot be set up.
    pub async fn new(
        standing: Rc<Standing>,
        ports: &Ports,
        workshop: Rc<RefCell<Workshop>>,
        tell: Box<dyn Fn(Served)>,
    ) -> Result<Rc<Self>, NodeError> {
        let revoked = Revoked::default();
        let profile = standing.with(|node| {
            node.require_joined()?;
            revoked.set(node.revoked_keys());
            node.link_profile(&revoked)
        });
        let profile = RefCell::new(profile.await?);
        let clock = Rc::clone(&ports.clock);
        let handshakes = Rc::new(Semaphore::new(HANDSHAKES_MAX));
        let (doors, sessions, broke, last_id) = (RefCell::default(), RefCell::default(), RefCell::default(), Cell::new(0));
        Ok(Rc::new(Self { standing, clock, workshop, profile, revoked, handshakes, doors, sessions, broke, last_id, tell }))
    }

    /// Take in whoever dials, until `stop`; then let the sessions finish what is on its way, and end them. Must run on a `LocalSet`.
    pub async fn listen(self: &Rc<Self>, listener: Box<dyn Listener>, mut stop: watch::Receiver<bool>) {
        let asked = async move { stop.wait_for(|stop| *stop).await.map(|_| ()) };
        let (mut asked, mut failures) = (pin!(asked), 0);
        let mut following = pin!(self.follow_roster(self.standing.changes()));
        loop {
            tokio::select! {
                biased;
                _ = &mut asked => break,
                () = &mut following => break, // the node is gone: it never is before us
                arrived = listener.accept() => match arrived {
                    Ok((stream, address)) => {
                        failures = 0;
                        self.admit(stream, address);
                    }
                    Err(error) => {
                        failures += 1;
                        if failures == DEAF_AFTER {
                            (self.tell)(Served::Deaf { why: error.to_string() });
                        }
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                },
            }
        }
        drop(listener);
        self.finish().await;
    }

    /// How many peers are there.
    pub fn session_count(&self) -> usize {
        self.sessions.borrow().len()
    }

    async fn finish(&self) {
        self.sessions.borrow().values().for_each(|running| {
            running.stop.send_replace(true);
        });
        let all_gone = async {
            while self.session_count() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(STOP, all_gone).await.is_err() {
            self.sessions.borrow().values().filter_map(|running| running.task.as_ref()).for_each(AbortHandle::abort);
        }
    }

    /// Look at the roster whenever the node has changed. While it is lent that waits, and nobody else does.
    async fn follow_roster(&self, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            self.look_at_roster().await;
        }
    }

    /// A key that was revoked since is refused from now on; a new key of our own is shown (R7.8-e).
    async fn look_at_roster(&self) {
        let revoked = &self.revoked;
        let looked = self.standing.with(|node| {
            revoked.set(node.revoked_keys());
            node.link_profile(revoked)
        });
        if let Ok(profile) = looked.await {
            self.profile.replace(profile);
        } // a node that cannot be opened tells it to every session; this is looked at again with the next change
    }

    fn admit(self: &Rc<Self>, stream: Stream, address: IpAddr) {
        let strangers = self.doors.borrow().get(&address).map_or(0, |door| door.strangers);
        let full = strangers >= WAITING_OF_ADDRESS_MAX || self.session_count() >= PEERS_MAX;
        if full {
            return (self.tell)(Served::TurnedAway { address });
        }
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let (stop, stopped) = watch::channel(false);
        let lost = Rc::new(Notify::new());
        self.sessions.borrow_mut().insert(id, Running { peer: None, stop, lost: Rc::clone(&lost), task: None });
        let stranger = Stranger::count(self, address);
        let leaving = Leaving { server: Rc::clone(self), id };
        let task = tokio::task::spawn_local(async move {
            let server = Rc::clone(&leaving.server);
            server.attend(stream, stranger, id, (stopped, lost)).await;
            drop(leaving);
        });
        if let Some(running) = self.sessions.borrow_mut().get_mut(&id) {
            running.task = Some(task.abort_handle());
        }
    }

    async fn attend(self: &Rc<Self>, stream: Stream, stranger: Stranger, id: u64, (stop, lost): (watch::Receiver<bool>, Rc<Notify>)) {
        let (address, traffic) = (stranger.address, Rc::new(Traffic::default()));
        // Who says nothing, or one byte a second, waits outside; a place is for who is ready to prove a key.
        let Ok(stream) = tokio::time::timeout(WAITING, Begun::wait(Counted::new(stream, &traffic))).await else {
            let silent = LinkError::Silent;
            return self.say_broken(None, address, silent.code(), silent.to_string());
        };
        let Ok(place) = tokio::time::timeout(WAITING, stranger.place()).await else { return (self.tell)(Served::TurnedAway { address }) };
        let profile = self.profile.borrow().clone();
        let secured = match profile.answer(stream).await {
            Ok(secured) => secured,
            Err(error) => return self.say_broken(None, address, error.code(), error.to_string()),
        };
        drop(place);
        let Secured { mut stream, peer: key, salt } = secured;
        let server = Rc::clone(self);
        let known = Box::new(move |peer| server.is_known(id, peer));
        let window = (WINDOWS_LEN / self.session_count().max(1) as u64).clamp(WINDOW_LEN_MIN, WINDOW_LEN_MAX);
        let terms = HopTerms { expected: None, window, take: None, known, via: format!("line {address}"), traffic: Rc::clone(&traffic) };
        let mut hop = Hop::new(Rc::clone(&self.standing), Rc::clone(&self.workshop), (key, salt), terms, Box::new(|_| {}));
        let met = meet(&mut hop, &mut stream, (stop.clone(), &lost)).await;
        let before = hop.session().filter(|session| self.broke.borrow_mut().insert(session.peer())); // it counts as broken until it ends
        let pace = Pace::new(before.and_then(|session| session.record().link.rate), 0);
        let mut exchange = Exchange::new(!matches!(met, Some(Ok(None))), 0, pace);
        match met {
            None => exchange.close(None),
            Some(Ok(Some(greeting))) => {
                drop(stranger);
                exchange.greet(greeting.pages, greeting.window, greeting.take);
            }
            Some(Ok(None)) => {} // it counts as a stranger until it has introduced itself
            Some(Err(Refusal { code, .. })) => exchange.close(Some(code)),
        }
        let (passed, written) = (Rc::clone(&traffic), Rc::clone(&traffic));
        let terms = Terms {
            once: false,
            deadline_ms: None,
            budget: None,
            rate: None,
            carried: Rc::new(move || passed.carried()),
            written: Rc::new(move || written.written_len.get()),
            stall_ms: Terms::LISTENER_STALL_MS,
            stop,
        };
        let ended = tokio::select! {
            ended = Drive::new(&mut stream, &mut exchange, &mut hop, &*self.clock, terms).run() => ended,
            () = lost.notified() => Err(Broken::HungUp),
        };
        let peer = hop.session().map(super::session::Session::peer);
        let (rate, now_ms) = (exchange.pace().rate(), self.clock.now_ms());
        let settled = matches!(ended, Ok(Ended::ByPeer | Ended::Settled)) && exchange.flight() == 0;
        let kept = hop.remember(|record| {
            record.link.rate = rate.or(record.link.rate);
            record.link.settled_ms = if settled { now_ms } else { record.link.settled_ms };
        });
        let kept = match kept.await {
            Ok(()) if peer.is_some() => self.standing.take_held().await,
            kept => kept,
        };
        if let Err(error) = kept {
            self.say_broken(peer, address, error.code(), error.to_string());
        }
        let moved = hop.session().map(|session| Moved::of(session, &exchange)).unwrap_or_default();
        match (ended, peer) {
            (Ok(how), Some(peer)) => {
                self.broke.borrow_mut().remove(&peer);
                (self.tell)(Served::Ended { peer, how, moved, bytes: (traffic.read_len.get(), traffic.written_len.get()) });
            }
            (Ok(_), None) => {}
            (Err(broken), peer) => (self.tell)(Served::Broken { peer, address, code: broken.code(), why: broken.to_string(), moved }),
        }
    }

    /// Whoever dials again has lost the connection before: one session a peer (R7.8-b).
    fn is_known(&self, id: u64, peer: NodeId) {
        let mut sessions = self.sessions.borrow_mut();
        for (_, older) in sessions.iter_mut().filter(|(other, running)| **other != id && running.peer == Some(peer)) {
            older.stop.send_replace(true); // if it lives still, it says goodbye
            let lost = Rc::clone(&older.lost);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(PART).await;
                lost.notify_one(); // and is told with what it brought
            });
        }
        if let Some(running) = sessions.get_mut(&id) {
            running.peer = Some(peer);
        }
    }

    fn say_broken(&self, peer: Option<NodeId>, address: IpAddr, code: Code, why: String) {
        (self.tell)(Served::Broken { peer, address, code, why, moved: Moved::default() });
    }
}

/// Who is there. While the node is lent, or its disk is slow, the peer hears that we live (R7.4-i); `None` where it does not any more, or we are to end.
async fn meet(
    hop: &mut Hop,
    stream: &mut (impl AsyncWrite + Unpin),
    (mut stop, lost): (watch::Receiver<bool>, &Notify),
) -> Option<Result<Option<Greeting>, Refusal>> {
    let mut met = pin!(hop.meet());
    loop {
        tokio::select! {
            biased;
            met = &mut met => return Some(met),
            _ = stop.wait_for(|stop| *stop) => return None,
            () = lost.notified() => return None,
            () = tokio::time::sleep(BUSY) => tokio::time::timeout(AT_ONCE, say_busy(stream)).await.unwrap_or(Ok(())).ok()?,
        }
    }
}

async fn say_busy(stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    stream.write_all(&Message::Busy.to_bytes(&LogTable::default())).await?;
    stream.flush().await
}

/// One who has not proved who it is, until dropped.
struct Stranger {
    server: Rc<Server>,
    address: IpAddr,
    door: Rc<Semaphore>,
}

impl Stranger {
    fn count(server: &Rc<Server>, address: IpAddr) -> Self {
        let mut doors = server.doors.borrow_mut();
        let fresh = || Door { handshakes: Rc::new(Semaphore::new(HANDSHAKES_OF_ADDRESS_MAX)), strangers: 0 };
        let door = doors.entry(address).or_insert_with(fresh);
        door.strangers += 1;
        Self { server: Rc::clone(server), address, door: Rc::clone(&door.handshakes) }
    }

    /// Wait for a turn to shake hands: among those of its address, then among all.
    async fn place(&self) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        Some((self.door.acquire().await.ok()?, self.server.handshakes.acquire().await.ok()?)) // neither is ever closed
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut doors = self.server.doors.borrow_mut();
        if let Some(door) = doors.get_mut(&self.address) {
            door.strangers -= 1;
            if door.strangers == 0 {
                doors.remove(&self.address);
            }
        }
    }
}

/// Takes a session off the list when it ends, however it does.
struct Leaving {
    server: Rc<Server>,
    id: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.server.sessions.borrow_mut().remove(&self.id);
    }
}

impl Node {
    /// Keys that no handshake accepts.
    pub fn revoked_keys(&self) -> Vec<VerifyingKey> {
        let keys = self.roster.members().flat_map(|member| &member.keys);
        keys.filter(|key| key.standing() == KeyStanding::Revoked).map(|key| key.signing).collect()
    }

    /// Our side of a link.
    ///
    /// # Errors
    /// TLS that cannot be set up.
    pub fn link_profile(&self, revoked: &Revoked) -> Result<Profile, NodeError> {
        Profile::new(&self.keyring.current().signing, revoked).map_err(|error| NodeError::refused(error.code(), error.to_string()))
    }
}
