//! Proxy: stands between dialer and listener on TCP and breaks their connections, as told and while it runs.
//!
//! In: an address to lead to, and [`Faults`]. Out: an address to dial, and exact [`Counts`]. Invariants: bytes are never changed, and
//! what is delivered is a prefix of what was sent; memory is bounded; whoever drops the [`Proxy`] ends it with all its connections.
//! Not here: what a hostile peer would write. Loss and reordering of packets are below TCP: `link` has them.

mod counts;
mod door;
mod faults;
mod pump;

pub use counts::{Carried, Connection, Counts};
pub use faults::{BUFFER_LEN, Each, Ending, Faults, Span, Way};

use counts::{Ledger, Side};
use door::Door;
use pump::{Outcome, Pump, at, gone};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long what peers still send is dropped after an orderly cut, before their writing is answered with a reset.
const FIN_DRAIN: Duration = Duration::from_secs(1);
/// How long after a failed accept or bind it is tried again.
const DOOR_AGAIN: Duration = Duration::from_millis(20);

/// What the one who steers wants now.
#[derive(Clone)]
struct Orders {
    faults: Arc<Faults>,
    /// Connections older than this generation are cut.
    generation: u64,
    ending: Ending,
}

/// A running proxy. It ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    ledger: Arc<Ledger>,
}

impl Proxy {
    /// Start on a free port of 127.0.0.1, on the runtime this is called from; one thread is enough.
    ///
    /// # Errors
    /// The kernel's, when it gives no socket.
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(to: SocketAddr, faults: Faults) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), to, faults)
    }

    /// Start at a given address.
    ///
    /// # Errors
    /// The kernel's, when the address is taken or not ours.
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start_at(listen: SocketAddr, to: SocketAddr, faults: Faults) -> io::Result<Self> {
        let (proxy, work) = Self::prepare(listen, to, faults)?;
        tokio::spawn(work);
        Ok(proxy)
    }

    /// Start on a free port of 127.0.0.1, on a thread of its own: for tests that are not async.
    ///
    /// # Errors
    /// The kernel's, when it gives no socket or no thread.
    pub fn start_in_thread(to: SocketAddr, faults: Faults) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (proxy, work) = {
            let _entered = runtime.enter();
            Self::prepare((Ipv4Addr::LOCALHOST, 0).into(), to, faults)?
        };
        std::thread::Builder::new().name("netlab-proxy".to_owned()).spawn(move || runtime.block_on(work))?;
        Ok(proxy)
    }

    /// Where to dial.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Change the faults; connections that stand feel it at once. Cuts that lie behind come at once too.
    pub fn steer(&self, change: impl FnOnce(&mut Faults)) {
        self.orders.send_modify(|orders| change(Arc::make_mut(&mut orders.faults)));
    }

    /// Cut all connections that stand now.
    pub fn cut(&self, ending: Ending) {
        self.orders.send_modify(|orders| (orders.generation, orders.ending) = (orders.generation + 1, ending));
    }

    /// What went through so far.
    pub fn counts(&self) -> Counts {
        self.ledger.counts()
    }

    /// End it with all its connections; what went through.
    pub fn stop(self) -> Counts {
        self.counts()
    }

    fn prepare(listen: SocketAddr, to: SocketAddr, faults: Faults) -> io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let ledger = Arc::new(Ledger::new(Instant::now()));
        let door = Door::open(listen, faults.buffer_len)?;
        let address = door.address();
        let (orders, heard) = watch::channel(Orders { faults: Arc::new(faults), generation: 0, ending: Ending::Reset });
        let work = serve(door, to, Arc::clone(&ledger), heard);
        Ok((Self { address, orders, ledger }, work))
    }
}

/// Accept until the [`Proxy`] is dropped; the connections end with it.
async fn serve(mut door: Door, to: SocketAddr, ledger: Arc<Ledger>, mut orders: watch::Receiver<Orders>) {
    let mut connections = JoinSet::new();
    loop {
        let (weather, change) = orders.borrow_and_update().faults.weather(ledger.begun().elapsed());
        let suits = door.suit(weather).await;
        let next = change.map(|since| ledger.begun() + since).into_iter().chain(suits.is_err().then(|| Instant::now() + DOOR_AGAIN)).min();
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            () = at(next) => {}
            Some(_) = connections.join_next() => {}
            dialer = door.accept() => match dialer {
                Ok(dialer) => drop(connections.spawn(connect(dialer, to, Arc::clone(&ledger), orders.clone()))),
                Err(_) => sleep(DOOR_AGAIN).await,
            },
        }
    }
}

/// One connection, from accept to close.
async fn connect(dialer: TcpStream, to: SocketAddr, ledger: Arc<Ledger>, orders: watch::Receiver<Orders>) {
    let index = ledger.begin();
    let buffer_len = orders.borrow().faults.buffer_len;
    if let Ok(listener) = dial(to, buffer_len).await {
        prepare(&dialer);
        prepare(&listener);
        carry(&dialer, &listener, index, &ledger, orders).await;
    } else {
        ledger.undialed();
        reset(&dialer);
    }
    ledger.end(index);
}

async fn dial(to: SocketAddr, buffer_len: usize) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_recv_buffer_size(u32::try_from(buffer_len).unwrap_or(u32::MAX))?;
    socket.connect(to).await
}

/// Bytes leave when they are written, and no more are written than the receiver's window takes.
fn prepare(stream: &TcpStream) {
    // Either fails where the peer is gone already; the pump will see that.
    let _ = stream.set_nodelay(true);
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(1);
}

async fn carry(dialer: &TcpStream, listener: &TcpStream, index: u64, ledger: &Arc<Ledger>, mut orders: watch::Receiver<Orders>) {
    let up = Pump::new([dialer, listener], Side::Up, index, Arc::clone(ledger), orders.clone()).run();
    let down = Pump::new([listener, dialer], Side::Down, index, Arc::clone(ledger), orders.clone()).run();
    let generation = orders.borrow().generation;
    let ordered = async {
        let ending = orders.wait_for(|orders| orders.generation > generation).await.ok().map(|orders| orders.ending);
        match ending {
            Some(ending) => ending,
            None => std::future::pending().await, // the proxy was dropped: so is this, in a moment
        }
    };
    tokio::pin!(up, down);
    let (mut up_end, mut down_end) = (None, None);
    tokio::pin!(ordered);
    while up_end.is_none() || down_end.is_none() {
        let outcome = tokio::select! {
            ending = &mut ordered => Outcome::Cut(ending),
            outcome = &mut up, if up_end.is_none() => *up_end.insert(outcome),
            outcome = &mut down, if down_end.is_none() => *down_end.insert(outcome),
        };
        match outcome {
            Outcome::Finished | Outcome::Broken => {}
            Outcome::Reset => break,
            Outcome::Cut(ending) => {
                ledger.cut(index, ending);
                return end(dialer, listener, ending).await;
            }
        }
    }
    if [up_end, down_end] != [Some(Outcome::Finished), Some(Outcome::Finished)] {
        reset(dialer);
        reset(listener);
    }
}

/// Do what a cut does.
async fn end(dialer: &TcpStream, listener: &TcpStream, ending: Ending) {
    match ending {
        Ending::Reset => {
            reset(dialer);
            reset(listener);
        }
        Ending::Fin => {
            for stream in [dialer, listener] {
                let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Write); // fails where the peer is gone already
            }
            let _ = timeout(FIN_DRAIN, async { tokio::join!(drain(dialer), drain(listener)) }).await;
        }
        Ending::BlackHole | Ending::HalfOpen => {
            tokio::join!(gone(dialer), gone(listener));
        }
    }
}

/// Read and drop until the peer finishes.
async fn drain(stream: &TcpStream) {
    let mut bytes = [0; 1024];
    loop {
        match stream.try_read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if stream.readable().await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// The peer gets RST when the socket is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger(); // fails where the peer is gone already
}
