//! Pump: one direction of one connection, from the sender's socket through queue and air to the receiver's.
//!
//! In: what the sender writes. Out: the same bytes in the same order, late, slow or no more. Invariants: what is held is bounded, so
//! that back-pressure reaches the sender; a cut after N delivers N bytes and not one more. Not here: how a cut ends the connection.

use super::Orders;
use super::counts::{Ledger, Side};
use super::faults::{Ending, Faults, Way, Weather};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::future;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// How often a socket is asked again for what it wakes nobody for.
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// How often a socket nobody reads from is asked whether its peer is gone.
const ASK_GONE: Duration = Duration::from_millis(50);
/// Most bytes read at once.
const READ_LEN_MAX: usize = 4096;

/// How a direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The sender finished, and the receiver knows.
    Finished,
    /// The receiver takes no more.
    Broken,
    /// The sender's reset arrived.
    Reset,
    /// It is time for the cut.
    Cut(Ending),
}

/// What is on the air.
enum Piece {
    Bytes(Vec<u8>),
    Finish,
    Reset,
}

/// One direction at work.
pub(super) struct Pump<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    side: Side,
    index: u64,
    begun: Instant,
    ledger: Arc<Ledger>,
    orders: watch::Receiver<Orders>,
    jitter: fastrand::Rng,
    queue: VecDeque<u8>,
    /// What comes after the queue: how the sender ended.
    end: Option<Piece>,
    /// Nothing more is read.
    ended: bool,
    flight: VecDeque<(Instant, Piece)>,
    flight_len: usize,
    busy_until: Instant,
    delivered_len: u64,
    /// A half-open cut or a killing blackout met this direction: silent for good.
    silenced: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn new([from, to]: [&'a TcpStream; 2], side: Side, index: u64, ledger: Arc<Ledger>, orders: watch::Receiver<Orders>) -> Self {
        let begun = Instant::now();
        let seed = orders.borrow().faults.seed ^ index << 1 ^ u64::from(side == Side::Up);
        Self {
            from,
            to,
            side,
            index,
            begun,
            ledger,
            orders,
            jitter: fastrand::Rng::with_seed(seed),
            queue: VecDeque::new(),
            end: None,
            ended: false,
            flight: VecDeque::new(),
            flight_len: 0,
            busy_until: begun,
            delivered_len: 0,
            silenced: false,
        }
    }

    /// Carry until this direction ends.
    pub(super) async fn run(mut self) -> Outcome {
        loop {
            if self.silenced {
                gone(self.from).await;
                return Outcome::Finished;
            }
            let faults = Arc::clone(&self.orders.borrow_and_update().faults);
            let way = if self.side == Side::Up { &faults.up } else { &faults.down };
            let now = Instant::now();
            if self.is_cut(way, now) {
                // What was delivered must be out of our socket's buffer, or a reset would throw it away.
                sent(self.to).await;
                if faults.ending != Ending::HalfOpen {
                    return Outcome::Cut(faults.ending);
                }
                self.ledger.cut(self.index, Ending::HalfOpen);
                self.silenced = true;
                continue;
            }
            let (weather, weather_change) = faults.weather(now - self.ledger.begun());
            self.silenced = weather == Weather::Dark && faults.blackout_kills;
            let silent = weather == Weather::Dark || way.dead;
            let mut wake = earliest(weather_change.map(|at| self.ledger.begun() + at), way.cut_at.of(self.index).map(|at| self.begun + at));
            let mut blocked = false;
            if silent {
                self.busy_until = self.busy_until.max(now);
            } else {
                self.launch(way, faults.buffer_len, now);
                match self.land(way, now) {
                    Landing::Nothing => {}
                    Landing::Some => continue,
                    Landing::Blocked => blocked = true,
                    Landing::Last(outcome) => return outcome,
                }
                let launching = (!self.queue.is_empty() && self.flight_len < way.flight_len_max(faults.buffer_len)).then_some(self.busy_until);
                let landing = self.flight.front().filter(|_| !blocked).map(|(due, _)| *due);
                wake = earliest(wake, earliest(launching, landing));
            }
            let hungry = !silent && !self.ended && self.queue.len() < faults.buffer_len;
            tokio::select! {
                changed = self.orders.changed() => if changed.is_err() { future::pending().await },
                () = at(wake) => {}
                _ = self.to.writable(), if blocked => {}
                _ = self.from.readable(), if hungry => self.read(&faults),
            }
        }
    }

    /// Whether the time, or the number of bytes, of this connection's cut has come.
    fn is_cut(&self, way: &Way, now: Instant) -> bool {
        let late = way.cut_at.of(self.index).is_some_and(|at| self.begun + at <= now);
        late || way.cut_after.of(self.index).is_some_and(|after| after <= self.delivered_len)
    }

    /// Socket to queue.
    fn read(&mut self, faults: &Faults) {
        let mut bytes = [0; READ_LEN_MAX];
        let room = faults.buffer_len.saturating_sub(self.queue.len()).min(READ_LEN_MAX);
        if self.queue.is_empty() {
            self.busy_until = self.busy_until.max(Instant::now()); // the way stood idle: it owes no time
        }
        match self.from.try_read(&mut bytes[..room]) {
            Ok(0) => (self.end, self.ended) = (Some(Piece::Finish), true),
            Ok(len) => {
                self.queue.extend(&bytes[..len]);
                self.ledger.taken(self.index, self.side, len);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => (self.end, self.ended) = (Some(Piece::Reset), true),
        }
    }

    /// Queue to air, as fast as the rate allows.
    fn launch(&mut self, way: &Way, buffer_len: usize, now: Instant) {
        while self.busy_until <= now {
            let piece = if self.queue.is_empty() {
                let Some(end) = self.end.take() else { return };
                end
            } else if self.flight_len >= way.flight_len_max(buffer_len) {
                self.busy_until = now;
                return;
            } else {
                let len = way.piece_len().min(self.queue.len());
                self.busy_until += way.busy(len);
                self.flight_len += len;
                Piece::Bytes(self.queue.drain(..len).collect())
            };
            let spread = way.jitter.mul_f64(2.0 * self.jitter.f64());
            let due = (self.busy_until + way.delay + spread).checked_sub(way.jitter).unwrap_or(now);
            self.flight.push_back((due, piece)); // whoever is due earlier waits for those before it
        }
    }

    /// Air to socket, what is due.
    fn land(&mut self, way: &Way, now: Instant) -> Landing {
        let Some((due, piece)) = self.flight.front_mut() else { return Landing::Nothing };
        if *due > now {
            return Landing::Nothing;
        }
        let bytes = match piece {
            Piece::Reset => return Landing::Last(Outcome::Reset),
            Piece::Finish => {
                let told = socket2::SockRef::from(self.to).shutdown(Shutdown::Write);
                return Landing::Last(if told.is_ok() { Outcome::Finished } else { Outcome::Broken });
            }
            Piece::Bytes(bytes) => bytes,
        };
        let before_cut = way.cut_after.of(self.index).map_or(u64::MAX, |after| after.saturating_sub(self.delivered_len));
        let len_max = bytes.len().min(usize::try_from(before_cut).unwrap_or(usize::MAX));
        match self.to.try_write(&bytes[..len_max]) {
            Ok(len) => {
                bytes.drain(..len);
                if bytes.is_empty() {
                    self.flight.pop_front();
                }
                self.flight_len -= len;
                self.delivered_len += len as u64;
                self.ledger.delivered(self.index, self.side, len);
                Landing::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Landing::Blocked,
            Err(_) => Landing::Last(Outcome::Broken),
        }
    }
}

/// What became of the piece that was due.
enum Landing {
    Nothing,
    Some,
    Blocked,
    Last(Outcome),
}

/// When the socket's peer has closed its side, though nobody reads.
pub(super) async fn gone(stream: &TcpStream) {
    while !stream.ready(Interest::READABLE).await.is_ok_and(Ready::is_read_closed) {
        sleep(ASK_GONE).await;
    }
}

/// When all that was written is sent. `TCP_NOTSENT_LOWAT` is 1 on our sockets, so writable means just that; and tokio remembers an
/// older answer, so the kernel itself is asked.
async fn sent(stream: &TcpStream) {
    let any = PollFlags::OUT | PollFlags::ERR | PollFlags::HUP;
    loop {
        let mut fds = [PollFd::new(stream, PollFlags::OUT)];
        let asked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if asked.is_err() || fds[0].revents().intersects(any) {
            return;
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Sleep until then; for ever if there is no then.
pub(super) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => future::pending().await,
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}
