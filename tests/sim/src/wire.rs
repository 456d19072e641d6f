//! The network: connections that break where the plan says, slow down, or stay half open; in time that jumps to whatever is waited for next.

use crate::plan::Line;
use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex, split};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};
use zbundle::ports::net::{Listener, Network, Stream, Waiting};
use zbundle::ports::{Clock, MemoryNetwork};

/// Time for everybody: still outside sessions, and jumping inside.
#[derive(Default)]
pub struct Ticker {
    before_ms: Cell<u64>,
    since: Cell<Option<Instant>>,
}

impl Ticker {
    /// A session begins; called inside its runtime.
    pub fn start(&self) {
        self.since.set(Some(Instant::now()));
    }

    /// It is over. Returns how long it took.
    pub fn stop(&self) -> u64 {
        let took_ms = self.since.take().map_or(0, |since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.pass(took_ms);
        took_ms
    }

    /// Time goes by.
    pub fn pass(&self, ms: u64) {
        self.before_ms.set(self.before_ms.get() + ms);
    }

    fn now_ms(&self) -> u64 {
        let inside = self.since.get().map_or(0, |since| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.before_ms.get() + inside
    }
}

/// The clock of one machine: everybody's time, and how wrong it is.
#[derive(Clone)]
pub struct WrongClock {
    /// Everybody's.
    pub ticker: Rc<Ticker>,
    /// Its own zero, milliseconds since 1970.
    pub zero_ms: Rc<Cell<u64>>,
}

impl Clock for WrongClock {
    fn now_ms(&self) -> u64 {
        self.zero_ms.get() + self.ticker.now_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        self.ticker.now_ms()
    }
}

/// The network, with what the line of the present session does.
#[derive(Clone, Default)]
pub struct Cable {
    network: MemoryNetwork,
    line: Rc<RefCell<Line>>,
    /// Ends of connections that broke without a word.
    silent: Rc<RefCell<Vec<Stream>>>,
    /// Connections that broke.
    pub broken: Rc<Cell<u64>>,
}

impl Cable {
    /// What the line does from now on; its last cut comes first.
    pub fn set(&self, line: &Line) {
        *self.line.borrow_mut() = line.clone();
        self.broken.set(0);
    }

    /// Half-open connections are given up.
    pub fn clear(&self) {
        drop(std::mem::take(&mut *self.silent.borrow_mut()));
    }
}

impl Network for Cable {
    fn connect<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = self.network.connect(address).await?;
            let mut line = self.line.borrow_mut();
            let (up, down) = line.cuts.pop().unwrap_or_default();
            let stream = match line.slow {
                Some((rate, delay_ms)) => slowed(stream, rate, delay_ms),
                None => stream,
            };
            Ok(Box::new(Wire { stream: Some(stream), up: up.unwrap_or(u64::MAX), down: down.unwrap_or(u64::MAX), cable: self.clone() }) as Stream)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Box<dyn Listener>>> {
        self.network.listen(address)
    }
}

/// The dialer's end of a connection, and the bytes it still carries each way.
struct Wire {
    stream: Option<Stream>,
    up: u64,
    down: u64,
    cable: Cable,
}

impl Wire {
    fn break_if(&mut self, left: u64) -> io::Result<()> {
        if left == 0
            && let Some(stream) = self.stream.take()
        {
            self.cable.broken.set(self.cable.broken.get() + 1);
            if self.cable.line.borrow().half_open {
                self.cable.silent.borrow_mut().push(stream);
            }
        }
        if self.stream.is_some() { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.down;
        self.break_if(left)?;
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(into.remaining())];
        let mut read = ReadBuf::new(&mut bytes);
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let polled = Pin::new(stream).poll_read(context, &mut read);
        let filled = read.filled();
        into.put_slice(filled);
        self.down -= if self.down == u64::MAX { 0 } else { filled.len() as u64 };
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.up;
        self.break_if(left)?;
        let bytes = &bytes[..usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())];
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let polled = Pin::new(stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = polled
            && self.up != u64::MAX
        {
            self.up -= count as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_shutdown(context))
    }
}

fn slowed(stream: Stream, rate: u64, delay_ms: u64) -> Stream {
    let (ours, theirs) = duplex(1024);
    let ((near_read, near_write), (far_read, far_write)) = (split(theirs), split(stream));
    spawn_local(relay(near_read, far_write, rate, delay_ms));
    spawn_local(relay(far_read, near_write, rate, delay_ms));
    Box::new(ours)
}

async fn relay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin + 'static, rate: u64, delay_ms: u64) {
    let (send, mut travelling) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    spawn_local(async move {
        while let Some((due, bytes)) = travelling.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    });
    let mut bytes = [0; 1024];
    let mut free = Instant::now();
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        free = free.max(Instant::now()) + Duration::from_micros(count as u64 * 1_000_000 / rate);
        sleep_until(free).await;
        if send.send((free + Duration::from_millis(delay_ms), bytes[..count].to_vec())).is_err() {
            return;
        }
    }
}
