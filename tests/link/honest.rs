//! What is told is so.

use crate::process::wait_for;
use crate::world::{SOON, World, figure, ms};
use netlab::proxy::Faults;
use rustix::process::Signal;
use std::thread::sleep;
use std::time::Duration;

/// What may cross the link behind the word that ended the exchange, and is read by nobody: a `done` said again, and the goodbye of TLS.
pub const LAST_WORDS_LEN: u64 = 64;

/// The hub stops anywhere, between taking and acknowledging too, and is killed: "sent" is what it has, never more.
pub fn a_hub_killed_before_it_acknowledges_has_not_been_told_as_reached() {
    std::thread::scope(|scope| {
        for seed in 0..3_u64 {
            scope.spawn(move || stop_and_kill(3000 + 9000 * seed));
        }
    });
}

fn stop_and_kill(after_len: u64) {
    let world = World::of(&["clinic"]);
    world.push("clinic", 1000, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(30), Some(12_000))));
    let sync = world.sync("clinic", proxy.address(), &["--deadline", "16s"]);
    wait_for("some bytes", SOON, || (proxy.counts().up.delivered_len > after_len).then_some(()));
    hub.process.signal(Signal::STOP);
    sleep(ms(800));
    hub.process.kill();
    let ended = sync.end(SOON).expect(16);
    let summary = ended.summary();
    assert!(!summary.is_complete() && summary.word("reason") == "failed", "{summary:?}");
    assert!(summary.word("code").starts_with("Z50") && ended.err.contains(summary.word("code")), "{ended:?}");
    let (sent, there) = (summary.number("sent"), world.log("hub", "clinic").len() as u64);
    figure!("hub killed after {after_len} bytes: told as sent {sent}, the hub has {there}");
    assert!(sent <= there, "told as sent {sent}, the hub has {there}");
    assert!(world.acknowledged("clinic", "hub") <= there, "status agrees");
    assert_eq!(world.acknowledged("clinic", "hub"), sent, "what was told is remembered");
    assert_eq!(summary.number("sent") + summary.number("remaining"), 1000, "{summary:?}");
}

/// On a link that nobody cuts what we count is what the wire carried.
pub fn every_byte_of_the_socket_is_told() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 400, "routine");
    world.ok("hub", &["push", "an answer", "--to", "clinic"]);
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| way.delay = Duration::from_millis(40)));
    let ended = world.sync("clinic", proxy.address(), &[]).end(SOON).expect(0);
    let summary = ended.summary();
    let served = hub.end();
    let counts = proxy.stop();
    assert_eq!(summary.number("bytes_sent"), counts.up.taken_len, "sent");
    // Each closes when all is said; it need not read the last words of the other.
    assert!(counts.down.delivered_len - summary.number("bytes_received") <= LAST_WORDS_LEN, "received: {summary:?} {:?}", counts.down);
    let session = &served.objects("session")[0];
    let hub_counted = ["bytes_in", "bytes_out"].map(|field| session[field].as_u64().unwrap());
    assert!(counts.up.delivered_len - hub_counted[0] <= LAST_WORDS_LEN, "the hub's own figure: {session} {:?}", counts.up);
    assert_eq!(hub_counted[1], counts.down.taken_len, "the hub's own figure");
    assert_eq!((summary.number("sent"), summary.number("new")), (400, 1), "{summary:?}");
}
