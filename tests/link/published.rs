//! Links as others have published and we have met them: far, thin, and cut in the middle.

use crate::process::{Summary, wait_for};
use crate::world::{SOON, World, figure, ms, noise};
use netlab::proxy::{Counts, Each, Ending, Faults};
use std::time::Duration;

/// 600 ms one way, 100 ms of jitter, 30 KB/s, and no connection for five seconds in the middle of 5 000 events.
pub fn the_neighbours_link_with_a_cut_in_its_middle_brings_5000_of_5000_once() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 5000, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| {
        (way.delay, way.jitter, way.rate) = (ms(600), ms(100), Some(30_000));
    }));
    let sync = world.sync("clinic", proxy.address(), &[]);
    wait_for("half of it", SOON, || (proxy.counts().up.delivered_len > 150_000).then_some(()));
    proxy.steer(|faults| (faults.dark, faults.blackout_kills) = (true, true));
    std::thread::sleep(Duration::from_secs(5));
    proxy.steer(|faults| faults.dark = false);
    let ended = sync.end(Duration::from_mins(2)).expect(0);
    let summary = ended.summary();
    assert!(summary.is_complete() && summary.number("dials") >= 2, "{summary:?}");
    assert_eq!((summary.number("sent"), summary.number("remaining")), (5000, 0), "{summary:?}");
    world.check_all("hub", "clinic", 5000);
    let served = hub.end();
    let duplicates = 5000_u64.abs_diff(served.summary().number("new"));
    assert_eq!(duplicates, 0, "{served:?}");
    let counts = proxy.stop();
    check_bytes(&summary, &counts, 64 * 1024);
    let bytes = summary.bytes();
    let seconds = summary.number("took_ms") / 1000;
    figure!("the neighbour's link: {bytes} bytes in {} dials, {:.1} an event; {seconds} s", summary.number("dials"), bytes as f64 / 5000.0);
}

/// What we tell of bytes is what the socket took and gave. A connection that died may have taken what nobody read.
#[track_caller]
fn check_bytes(summary: &Summary, counts: &Counts, unread_len_max: u64) {
    let (sent, received) = (summary.number("bytes_sent"), summary.number("bytes_received"));
    assert!((counts.up.taken_len..=counts.up.taken_len + unread_len_max).contains(&sent), "sent {sent}: {:?}", counts.up);
    assert!(
        received <= counts.down.delivered_len && received + unread_len_max >= counts.down.delivered_len,
        "received {received}: {:?}",
        counts.down
    );
}

pub fn any_round_trip_up_to_three_seconds_will_do() {
    const ROUND_TRIPS_MS: [u64; 6] = [0, 50, 300, 600, 1200, 3000];
    let names: Vec<String> = ROUND_TRIPS_MS.iter().map(|round_trip_ms| format!("at-{round_trip_ms}")).collect();
    let world = World::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        world.push(name, 20, "routine");
    }
    let hub = world.serve("hub");
    let running: Vec<_> = ROUND_TRIPS_MS
        .iter()
        .zip(&names)
        .map(|(round_trip_ms, name)| {
            let proxy = hub.behind(Faults::both_ways(|way| way.delay = ms(round_trip_ms / 2)));
            (*round_trip_ms, name, world.sync(name, proxy.address(), &[]), proxy)
        })
        .collect();
    for (round_trip_ms, name, sync, proxy) in running {
        let ended = sync.end(Duration::from_secs(90)).expect(0);
        let summary = ended.summary();
        assert!(summary.is_complete() && summary.number("sent") == 20, "{summary:?}");
        assert_eq!(summary.number("dials"), 1, "{round_trip_ms} ms: {summary:?}");
        world.check_all("hub", name, 20);
        let took_ms = summary.number("took_ms");
        let trips = if round_trip_ms == 0 { 0.0 } else { took_ms as f64 / round_trip_ms as f64 };
        // Connecting, the handshake, the hellos and the events, their acknowledgement, the goodbye; a busy machine adds seconds, never trips.
        assert!(took_ms < 7 * round_trip_ms + 8000, "{round_trip_ms} ms: {summary:?}");
        figure!("round trip {round_trip_ms} ms: {took_ms} ms, {trips:.1} round trips, {} bytes", summary.bytes());
        drop(proxy);
    }
}

/// `ZBUNDLE_FAR=1`, as `cargo xtask campaign` sets it: the same claims with more of everything.
fn is_far() -> bool {
    std::env::var_os("ZBUNDLE_FAR").is_some()
}

/// A gateway that lets 15 000 bytes through and no more, then the next connection the same.
pub fn a_link_that_dies_after_every_15_000_bytes_carries_everything() {
    let scan_len = if is_far() { 2_000_000 } else { 400_000 };
    let world = World::of(&["clinic"]);
    std::fs::write(world.path("scan"), noise(3, scan_len)).unwrap();
    world.push("clinic", 500, "routine");
    world.ok("clinic", &["push", "--file", "scan", "--lane", "bulk", "--type", "scan"]);
    let hub = world.serve("hub");
    let mut faults = Faults::both_ways(|way| (way.delay, way.rate) = (ms(10), Some(100_000)));
    (faults.up.cut_after, faults.down.cut_after, faults.ending) = (Each::Every(15_000), Each::Every(15_000), Ending::Reset);
    let proxy = hub.behind(faults);
    let events = 500 + scan_len.div_ceil(4096) as u64; // a payload above 4 KiB goes in parts
    let summary = world.sync("clinic", proxy.address(), &[]).end(Duration::from_secs(if is_far() { 600 } else { 140 })).expect(0).summary();
    assert!(summary.is_complete() && summary.number("sent") == events, "{summary:?}");
    world.check_all("hub", "clinic", 501);
    let (dials, carried) = (summary.number("dials"), proxy.counts().up.delivered_len);
    let again = carried as f64 / scan_len as f64;
    figure!("15 000 bytes a connection: {dials} dials, {carried} bytes up, {again:.2} times the scan; {} s", summary.number("took_ms") / 1000);
    assert!(again < 2.5, "each connection brings a good part of what it carries: {summary:?}");
}
