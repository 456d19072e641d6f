//! `link/…`: the live link. Bytes and round trips through a proxy that counts and delays; seconds on an emulated 2G link; a hub that hundreds dial at once.
//!
//! Bytes are those of TCP payload, both ways, counted outside of the program; what its own summary says must agree. Histories are carried by file
//! beforehand, so that a sync begins with a receipt and knows nothing of the link, as after a visit by stick.

mod air;
mod bytes;
mod crowd;
mod full;
mod hub;

pub use air::air;
pub use bytes::bytes;
pub use crowd::{crowd, pull};
pub use full::full;

/// A sync that finds both sides level: 730 B of mutual handshake with raw keys, two hellos, two goodbyes.
const IDLE_LEN_MAX: f64 = 1000.0;
/// One event from dialling to its durable acknowledgement: the above, one range with its checkpoint, one acknowledgement.
const ONE_LEN_MAX: f64 = 1300.0;
/// TCP, TLS, and the event behind the client's Finished.
const ONE_TRIPS_MAX: f64 = 3.0;
/// One event on a connection that stands, and its acknowledgement: no handshake, no hello.
const WARM_LEN_MAX: f64 = 250.0;
/// … in one round trip.
const WARM_TRIPS_MAX: f64 = 1.0;
/// 5 000 events, everything that passed counted: what the file format takes.
const PER_EVENT_MAX: f64 = 66.0;
/// … by codec 3, in ranges of a second of 2G each, on a processor that has time for it.
const PER_EVENT_2G_MAX: f64 = 45.0;
/// The line: what physics takes for the very bytes sent. Above it is our own waiting.
const LINE_MAX: f64 = 1.05;
/// After a cut: two seconds of redialling and of what was on its way (DESIGN §14), on top of the cut itself; and the handshake again.
const CUT_COST_S_MAX: f64 = 2.0;
/// A hub with 250 clinics at once, 1 000 000 events held: a small virtual machine.
const HUB_RSS_MAX: f64 = 16e6;

/// Bytes a second of the 2G link: 23 kbit/s.
const RATE_2G: u64 = 2875;
/// Milliseconds one way.
const DELAY_MS: u64 = 300;
/// Events that a history has before: a compressor's prefix has something to begin with.
const HISTORY_COUNT: usize = 2000;
