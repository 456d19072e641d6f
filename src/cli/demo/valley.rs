//! A link as a valley has it, in memory: slow, far, and gone in the middle of a sentence.

use crate::ports::net::{Listener, MemoryNetwork, Network, Stream, Waiting};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes a second each way: 36 kbit/s, a good day of 2G.
pub const RATE: u64 = 4500;
/// One way.
pub const DELAY: Duration = Duration::from_millis(250);
/// So many bytes up, and the mast loses its power …
pub const CUT_AFTER: u64 = 9000;
/// … for this long.
pub const DARK: Duration = Duration::from_secs(2);
/// What moves at once: a small packet.
const PIECE_LEN: usize = 256;
/// What a direction holds before its writer must wait.
const BUFFER_LEN: usize = 8 * 1024;

/// The only way between two machines. Clones are the same way.
#[derive(Clone)]
pub struct Valley {
    network: MemoryNetwork,
    sky: Rc<Sky>,
}

struct Sky {
    dark: watch::Sender<bool>,
    carried: Cell<u64>,
    /// Told when the link dies and when it is back.
    tell: Box<dyn Fn(bool)>,
}

impl Valley {
    /// A way across `network` that fails once, after [`CUT_AFTER`] bytes; `tell` hears of it.
    pub fn across(network: &MemoryNetwork, tell: Box<dyn Fn(bool)>) -> Self {
        Self { network: network.clone(), sky: Rc::new(Sky { dark: watch::Sender::new(false), carried: Cell::new(0), tell }) }
    }

    async fn dial(&self, address: &str) -> io::Result<Stream> {
        sleep(2 * DELAY).await; // there and back
        if *self.sky.dark.borrow() {
            return Err(io::ErrorKind::HostUnreachable.into());
        }
        let (near, ours) = duplex(BUFFER_LEN);
        let (from_near, to_near) = split(near);
        let (from_far, to_far) = split(self.network.connect(address).await?);
        tokio::task::spawn_local(carry(from_near, to_far, Rc::clone(&self.sky), true));
        tokio::task::spawn_local(carry(from_far, to_near, Rc::clone(&self.sky), false));
        Ok(Box::new(ours))
    }
}

impl Network for Valley {
    fn connect<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Stream>> {
        Box::pin(self.dial(address))
    }

    fn listen<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Box<dyn Listener>>> {
        self.network.listen(address)
    }
}

/// One direction, until an end closes or the link dies; then both ends find the stream closed.
async fn carry<R, W>(mut from: ReadHalf<R>, mut to: WriteHalf<W>, sky: Rc<Sky>, up: bool)
where
    R: tokio::io::AsyncRead,
    W: tokio::io::AsyncWrite,
{
    let mut dark = sky.dark.subscribe();
    let mut flying: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut free = Instant::now(); // when the last byte taken has left
    let mut open = true;
    while open || !flying.is_empty() {
        let arrival = flying.front().map(|(arrival, _)| *arrival);
        let mut piece = [0; PIECE_LEN];
        tokio::select! {
            biased;
            _ = dark.wait_for(|dark| *dark) => return,
            () = sleep_until(arrival.unwrap_or(free)), if arrival.is_some() => {
                let Some((_, bytes)) = flying.pop_front() else { continue };
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
                if up {
                    sky.passed(bytes.len() as u64);
                }
            }
            read = async { sleep_until(free).await; from.read(&mut piece).await }, if open => match read {
                Ok(count) if count > 0 => {
                    free = free.max(Instant::now()) + Duration::from_micros(count as u64 * 1_000_000 / RATE);
                    flying.push_back((free + DELAY, piece.iter().take(count).copied().collect()));
                }
                _ => open = false,
            },
        }
    }
    to.shutdown().await.unwrap_or(()); // gone already
}

impl Sky {
    fn passed(self: &Rc<Self>, len: u64) {
        let before = self.carried.replace(self.carried.get() + len);
        if before < CUT_AFTER && CUT_AFTER <= self.carried.get() {
            self.dark.send_replace(true);
            (self.tell)(true);
            let sky = Rc::clone(self);
            tokio::task::spawn_local(async move {
                sleep(DARK).await;
                sky.dark.send_replace(false);
                (sky.tell)(false);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_valley_is_slow_and_far_and_fails_once() {
        let told = Rc::new(Cell::new(0));
        let count = Rc::clone(&told);
        let tasks = tokio::task::LocalSet::new();
        let walk = async {
            let valley = Valley::across(&MemoryNetwork::default(), Box::new(move |_| count.set(count.get() + 1)));
            let listener = valley.listen("hub:1").await.unwrap();
            for cut in [true, false] {
                let mut dialed = valley.connect("hub:1").await.unwrap();
                let (mut accepted, _) = listener.accept().await.unwrap();
                let begun = Instant::now();
                let write = async {
                    dialed.write_all(&vec![7; 10_000]).await.unwrap_or(());
                    dialed.shutdown().await.unwrap_or(());
                };
                let mut heard = Vec::new();
                tokio::join!(write, async { accepted.read_to_end(&mut heard).await.unwrap() });
                let took = begun.elapsed().as_millis();
                if cut {
                    assert!(heard.len() as u64 >= CUT_AFTER && heard.len() < 10_000, "{} bytes", heard.len());
                    assert!(valley.connect("hub:1").await.is_err(), "nobody answers in the dark");
                    sleep(DARK).await;
                } else {
                    assert_eq!(heard.len(), 10_000);
                    assert!((2470..2600).contains(&took), "10 000 bytes take 2.22 s and 0.25 s of way, not {took} ms");
                }
            }
        };
        tasks.run_until(walk).await;
        assert_eq!(told.get(), 2, "dead, and back");
    }
}
