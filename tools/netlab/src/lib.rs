//! Bad links for tests: a TCP proxy that breaks connections as told, and a whole emulated 2G link.
//!
//! # The proxy, in a test
//!
//! Needs nothing but loopback. The test starts it in its own process, dials [`Proxy::address`](proxy::Proxy::address) instead of the
//! listener, and may change every fault while it runs:
//!
//! ```
//! use netlab::proxy::{Each, Ending, Faults, Proxy};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let mut faults = Faults::both_ways(|way| way.rate = Some(2875)); // bytes per second: 23 kbit/s
//! faults.up.cut_after = Each::Successive(vec![Some(15_000), Some(3_000)]); // the third connection is not cut
//! faults.ending = Ending::Reset;
//! let proxy = Proxy::start(listener.local_addr()?, faults)?;
//!
//! let dialer = TcpStream::connect(proxy.address()).await?; // and whatever is to be tested
//!
//! proxy.steer(|faults| faults.dark = true); // the signal is gone
//! proxy.steer(|faults| faults.dark = false); // and back
//! proxy.cut(Ending::BlackHole); // all that stand now
//! # drop(dialer);
//! let counts = proxy.stop(); // exact; or `proxy.counts()` on the way
//! assert!(counts.up.delivered_len <= 15_000);
//! # Ok(())
//! # }
//! ```
//!
//! Tests that are not async use [`Proxy::start_in_thread`](proxy::Proxy::start_in_thread). A connection that is reset still delivers
//! all bytes before its cut, so what arrived can be compared to the byte.
//!
//! # The proxy, as a program
//!
//! ```text
//! netlab proxy --listen 127.0.0.1:7600 --to 127.0.0.1:7601 --rate 23kbit --delay 300ms --cut-after up=15000 --for 60s
//! netlab proxy --listen 127.0.0.1:7600 --to 127.0.0.1:7601 --ending black-hole --cut-at 8s --blackout 20s:5s --until-stdin-closes
//! ```
//!
//! Stdout: `{"listening":"127.0.0.1:7600"}`, then the counts as one line of JSON at the end and at every SIGUSR1. With
//! `--until-stdin-closes`, lines on stdin steer it: `counts`, `cut reset`, `dark`, `light`, `refuse`, `admit`. It ends after `--for`, at
//! the end of stdin, and at SIGINT or SIGTERM, always with status 0 and its counts.
//!
//! # The link
//!
//! ```text
//! netlab link --rate 23kbit --delay 300ms -- ./clinic sync 10.77.0.2:7600 ::: ./hub --listen 10.77.0.2:7600
//! netlab link --rate 12kbit/23kbit --jitter 50ms --loss 1% --cut 8s:5s,30s:2s --stats link.json -- A ... ::: B ...
//! ```
//!
//! A runs in a network namespace that owns 10.77.0.1, B in one that owns 10.77.0.2. Between two TUN devices a forwarder adds, in each
//! direction, a serialised rate with a drop-tail queue, delay, jitter, loss and cuts. TCP is the kernel's own at both ends: slow start,
//! RTO back-off and the traffic of acknowledgements are real. B starts first, A `--b-wait` later; the times of `--cut` count from A's
//! start; when A has ended, B has `--linger` to end by itself. A command of one word is split like a shell line; a loop that dials again
//! is A's to write: `sh -c '…'`.
//!
//! The report, one line of JSON on stderr or in `--stats`: per direction packets, bytes, TCP payload, pure acknowledgements, SYN, FIN,
//! RST, what was sent again, lost, cut or dropped; A's and B's exit status and seconds. Exit status: A's (B's where there is no A);
//! 124 timeout, 130 signal, 125 netlab itself broke, **77 something is missing** (root, /dev/net/tun, the program `ip`): no run took
//! place, and whoever expected one has failed. A process that leaves its command's process group is not ended with it.
//!
//! `netlab selftest` measures round trip, connecting, bulk rate and a cut, and prints each beside what it should be.
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly; the ports are for what ships")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures of a link, far below 2^52")]

pub mod link;
pub mod proxy;
pub mod units;
