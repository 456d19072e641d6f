//! The network: streams of bytes between two machines. Nothing here knows who is at the other end, or keeps what passes secret.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, duplex};
use tokio::sync::{Mutex, mpsc};

/// One stream of bytes, both ways.
pub trait Wire: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin + ?Sized> Wire for S {}

/// A stream, whoever brought it.
pub type Stream = Box<dyn Wire>;

/// What is awaited on this thread alone: the link lives on one.
pub type Waiting<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Dials and listens. Errors are the system's own.
pub trait Network {
    /// Dial `address`, `host:port`. May wait for as long as each address of a name takes to prove dead: bound it.
    fn connect<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Stream>>;
    /// Listen at `address`, `host:port`; port 0 takes any free one.
    fn listen<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Box<dyn Listener>>>;
}

/// Takes in those who dial; stops when dropped.
pub trait Listener {
    /// The next one, and where it came from.
    fn accept(&self) -> Waiting<'_, io::Result<(Stream, IpAddr)>>;
    /// Where it listens, with the port it really got.
    ///
    /// # Errors
    /// What the system says.
    fn address(&self) -> io::Result<String>;
}

/// Bytes that passed one socket, both ways.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes read from it.
    pub read_len: Cell<u64>,
    /// Bytes it took for writing.
    pub written_len: Cell<u64>,
    /// How many of all are in the books of some day already.
    booked_len: Cell<u64>,
}

impl Traffic {
    /// Bytes both ways.
    pub fn carried(&self) -> u64 {
        self.read_len.get() + self.written_len.get()
    }

    /// Those that are in no books yet.
    pub fn unbooked(&self) -> u64 {
        self.carried() - self.booked_len.get()
    }

    /// The same, which are in them now.
    pub fn book(&self) -> u64 {
        let unbooked = self.unbooked();
        self.booked_len.set(self.carried());
        unbooked
    }
}

/// A stream that counts what passes: the bytes we report are those on the socket, whatever lies above it.
#[derive(Debug)]
pub struct Counted<S> {
    stream: S,
    traffic: Rc<Traffic>,
}

impl<S> Counted<S> {
    /// Count in `traffic` what passes `stream`. Several streams may share one count.
    pub fn new(stream: S, traffic: &Rc<Traffic>) -> Self {
        Self { stream, traffic: Rc::clone(traffic) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, into);
        add(&self.traffic.read_len, into.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            add(&self.traffic.written_len, written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        if let Poll::Ready(Ok(written)) = polled {
            add(&self.traffic.written_len, written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn add(count: &Cell<u64>, len: usize) {
    count.set(count.get() + len as u64);
}

/// What one direction of a stream in memory holds before its writer must wait: about what a socket does.
const IN_FLIGHT_LEN: usize = 64 * 1024;

/// A network in memory. Clones are the same network. Names are not resolved: who dials `hub:1` reaches who listens at `hub:1`.
#[derive(Clone, Debug)]
pub struct MemoryNetwork {
    listening: Rc<RefCell<BTreeMap<String, mpsc::UnboundedSender<Arrival>>>>,
    source: IpAddr,
}

/// Our end of what somebody dialed, and where they are.
type Arrival = (tokio::io::DuplexStream, IpAddr);

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self { listening: Rc::default(), source: Ipv4Addr::LOCALHOST.into() }
    }
}

impl MemoryNetwork {
    /// The same network, seen from the machine at `source`.
    #[must_use]
    pub fn seen_from(&self, source: IpAddr) -> Self {
        Self { listening: Rc::clone(&self.listening), source }
    }

    fn dial(&self, address: &str) -> io::Result<Stream> {
        let (ours, theirs) = duplex(IN_FLIGHT_LEN);
        let listening = self.listening.borrow();
        let listener = listening.get(address).ok_or(io::ErrorKind::ConnectionRefused)?;
        listener.send((theirs, self.source)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(ours))
    }

    fn open(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let mut listening = self.listening.borrow_mut();
        listening.retain(|_, listener| !listener.is_closed());
        let address = match address.strip_suffix(":0") {
            Some(host) => {
                (1..=u16::MAX).map(|port| format!("{host}:{port}")).find(|free| !listening.contains_key(free)).ok_or(io::ErrorKind::AddrInUse)?
            }
            None if listening.contains_key(address) => return Err(io::ErrorKind::AddrInUse.into()),
            None => address.to_owned(),
        };
        let (sender, arrivals) = mpsc::unbounded_channel();
        listening.insert(address.clone(), sender);
        Ok(Box::new(MemoryListener { address, arrivals: Mutex::new(arrivals) }))
    }
}

impl Network for MemoryNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Stream>> {
        Box::pin(async { self.dial(address) })
    }

    fn listen<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async { self.open(address) })
    }
}

struct MemoryListener {
    address: String,
    arrivals: Mutex<mpsc::UnboundedReceiver<Arrival>>,
}

impl Listener for MemoryListener {
    fn accept(&self) -> Waiting<'_, io::Result<(Stream, IpAddr)>> {
        Box::pin(async {
            match self.arrivals.lock().await.recv().await {
                Some((stream, source)) => Ok((Box::new(stream) as Stream, source)),
                None => std::future::pending().await, // the network itself is gone: nobody will ever dial
            }
        })
    }

    fn address(&self) -> io::Result<String> {
        Ok(self.address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn who_dials_an_address_reaches_who_listens_there() {
        let network = MemoryNetwork::default();
        let listener = network.listen("hub:0").await.unwrap();
        let address = listener.address().unwrap();
        let far: IpAddr = [10, 0, 0, 7].into();
        let mut dialed = network.seen_from(far).connect(&address).await.unwrap();
        let (mut accepted, source) = listener.accept().await.unwrap();
        dialed.write_all(b"namaste").await.unwrap();
        drop(dialed);
        let mut heard = Vec::new();
        accepted.read_to_end(&mut heard).await.unwrap();
        assert_eq!((heard.as_slice(), source), (b"namaste".as_slice(), far));
    }

    #[tokio::test]
    async fn an_address_has_one_listener_and_is_free_when_that_is_dropped() {
        let network = MemoryNetwork::default();
        let kind = |error: io::Error| error.kind();
        assert_eq!(network.connect("hub:1").await.err().map(kind), Some(io::ErrorKind::ConnectionRefused));
        let listener = network.listen("hub:1").await.unwrap();
        assert_eq!(network.listen("hub:1").await.err().map(kind), Some(io::ErrorKind::AddrInUse));
        assert_eq!(network.listen("hub:0").await.unwrap().address().unwrap(), "hub:2");
        drop(listener);
        assert_eq!(network.connect("hub:1").await.err().map(kind), Some(io::ErrorKind::ConnectionRefused));
        network.listen("hub:1").await.unwrap();
    }

    #[tokio::test]
    async fn every_byte_is_counted_once() {
        let (ours, theirs) = duplex(5); // so that most writes are short
        let (near, far) = (Rc::new(Traffic::default()), Rc::new(Traffic::default()));
        let (mut ours, mut theirs) = (Counted::new(ours, &near), Counted::new(theirs, &far));
        let mut heard = Vec::new();
        let write = async {
            ours.write_all(&[7; 1000]).await.unwrap();
            ours.shutdown().await.unwrap();
        };
        tokio::join!(write, async { theirs.read_to_end(&mut heard).await.unwrap() });
        assert_eq!(heard.len(), 1000);
        assert_eq!((near.read_len.get(), near.written_len.get(), far.read_len.get(), far.written_len.get()), (0, 1000, 1000, 0));
    }
}
