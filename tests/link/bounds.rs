//! Budget, deadline, rate, and being asked to stop.

use crate::honest::LAST_WORDS_LEN;
use crate::process::wait_for;
use crate::world::{RATE_2G, SOON, World, figure, ms};
use netlab::proxy::{Counts, Faults};
use rustix::process::Signal;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

/// Longest record of TLS that budget may be passed by.
const RECORD_LEN: u64 = 1500;

fn carried(counts: &Counts) -> u64 {
    counts.up.taken_len + counts.down.taken_len
}

pub fn a_budget_is_kept_to_the_record() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 1000, "routine");
    let hub = world.serve("hub");
    for budget in [4_000, 20_000] {
        let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(100), Some(10_000))));
        let before = world.log("hub", "clinic").len() as u64;
        let summary = world.sync("clinic", proxy.address(), &["--budget", &budget.to_string()]).end(SOON).expect(0).summary();
        assert!(!summary.is_complete() && summary.word("reason") == "budget", "{summary:?}");
        let sent = summary.number("sent");
        assert!(sent > 0, "a budget buys something: {summary:?}");
        assert_eq!(before + sent + summary.number("remaining"), 1000, "{summary:?}");
        assert_eq!(world.log("hub", "clinic").len() as u64, before + sent);
        let carried = carried(&proxy.stop());
        assert!(carried - summary.bytes() <= LAST_WORDS_LEN, "all of it is told: {carried} {summary:?}");
        figure!("budget {budget}: {carried} bytes carried, {sent} events sent");
        assert!(carried <= budget + RECORD_LEN, "{carried} bytes for a budget of {budget}");
    }
}

pub fn a_daily_budget_is_of_the_day_and_not_of_the_process() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 1000, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(50), Some(20_000))));
    world.ok("clinic", &["peer", "hub", &proxy.address().to_string()]);
    let run = || world.run("clinic", &["sync", "hub", "--budget", "20K/day", "--json"]).expect(0).summary();
    let first = run();
    assert_eq!(first.word("reason"), "budget", "{first:?}");
    let after_first = carried(&proxy.counts());
    let (second, third) = (run(), run());
    let after_third = carried(&proxy.counts());
    figure!("20 000 a day: {after_first} in the first run, {} in two more, dialled {} times", after_third - after_first, third.number("dials"));
    assert!(after_third <= 20_000 + RECORD_LEN, "{after_third}: {second:?} {third:?}");
    // What is left may pay for a handshake and for no range: it may be dialled for, and is never passed.
    assert!(third.word("reason") == "budget" && !third.is_complete() && third.number("sent") < first.number("sent") / 4, "{third:?}");
}

pub fn a_deadline_is_kept_when_the_peer_falls_silent() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 1000, "routine");
    let hub = world.serve("hub");
    // In the middle of a session.
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(100), Some(8000))));
    let sync = world.sync("clinic", proxy.address(), &["--deadline", "5s"]);
    wait_for("some bytes", SOON, || (proxy.counts().up.delivered_len > 8000).then_some(()));
    proxy.steer(|faults| faults.dark = true);
    let ended = sync.end(SOON);
    let summary = ended.summary();
    figure!("deadline 5 s, silent from the middle: {} ms, exit {:?}, {}", summary.number("took_ms"), ended.status, summary.word("reason"));
    assert!(ended.took < Duration::from_secs(8) && summary.number("took_ms") >= 4000, "{ended:?}");
    assert!(!summary.is_complete() && matches!(ended.status, Some(0 | 16)), "{ended:?}");
    assert!(summary.number("remaining") > 0 && summary.number("remaining") + summary.number("sent") == 1000, "{summary:?}");
    // While all goes well.
    proxy.steer(|faults| faults.dark = false);
    let summary = world.sync("clinic", proxy.address(), &["--deadline", "4s"]).end(SOON).expect(0).summary();
    assert!(!summary.is_complete() && summary.word("reason") == "deadline" && summary.number("remaining") > 0, "{summary:?}");
    assert!(summary.number("took_ms") <= 7000, "{summary:?}");
    // From the first packet on: the kernel takes the connection, and nobody is behind it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = world.sync("clinic", silent.local_addr().unwrap(), &["--deadline", "3s"]).end(SOON).expect(16);
    figure!("deadline 3 s, silent from the first byte: {} ms", ended.summary().number("took_ms"));
    assert!(ended.took < Duration::from_secs(6), "{ended:?}");
    assert!(!ended.summary().is_complete() && ended.summary().word("code") == "Z503", "{ended:?}");
}

pub fn who_is_asked_to_stop_says_so() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 1000, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(100), Some(8000))));
    let sync = world.sync("clinic", proxy.address(), &[]);
    wait_for("some bytes", SOON, || (proxy.counts().up.delivered_len > 8000).then_some(()));
    sync.signal(Signal::TERM);
    let asked = std::time::Instant::now();
    let summary = sync.end(SOON).expect(0).summary();
    figure!("asked to stop: over {} ms later", asked.elapsed().as_millis());
    assert!(asked.elapsed() < Duration::from_secs(10), "{summary:?}");
    assert!(!summary.is_complete() && summary.word("reason") == "stopped", "{summary:?}");
    assert_eq!(summary.number("sent") + summary.number("remaining"), 1000, "{summary:?}");
    assert_eq!(world.log("hub", "clinic").len() as u64, summary.number("sent"), "what was on its way was acknowledged");
}

pub fn a_rate_is_kept() {
    const RATE: u64 = 3000;
    let world = World::of(&["clinic"]);
    world.push("clinic", 800, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| way.delay = ms(50)));
    let sync = world.sync("clinic", proxy.address(), &["--rate", &RATE.to_string()]);
    wait_for("the beginning", SOON, || (proxy.counts().up.taken_len > 5000).then_some(()));
    let begin = proxy.counts();
    sleep(Duration::from_secs(6));
    let end = proxy.counts();
    let measured = (end.up.taken_len - begin.up.taken_len) * 1000 / (end.elapsed_ms - begin.elapsed_ms);
    figure!("--rate {RATE}: {measured} bytes a second");
    assert!((RATE * 85 / 100..=RATE * 103 / 100).contains(&measured), "{measured} bytes a second");
    sync.signal(Signal::TERM);
    sync.end(SOON).expect(0);
}

/// R7.6-g: what waited for the rate was written out first, a byte in each record.
pub fn a_deadline_is_kept_at_a_slow_rate() {
    const RATE: u64 = 400;
    let world = World::of(&["clinic"]);
    world.push("clinic", 300, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| way.delay = ms(50)));
    let ended = world.sync("clinic", proxy.address(), &["--deadline", "6s", "--rate", &RATE.to_string()]).end(SOON).expect(0);
    let (summary, sent) = (ended.summary(), proxy.stop().up.taken_len);
    figure!("deadline 6 s at {RATE} bytes a second: {} ms, {sent} bytes, {} events", summary.number("took_ms"), summary.number("sent"));
    assert!(ended.took < Duration::from_secs(8), "{ended:?}");
    assert!(!summary.is_complete() && summary.word("reason") == "deadline", "{summary:?}");
    assert!(sent <= RATE * 7 + 1000, "{sent} bytes, with a handshake, in 6 s at {RATE}");
    let summary = world.sync("clinic", hub.address, &["--deadline", "15s", "--rate", &RATE.to_string()]).end(SOON).expect(0).summary();
    assert!(summary.number("sent") > 0 && summary.number("took_ms") < 17_000, "what goes through by then is sent: {summary:?}");
    let refused = world.run("clinic", &["sync", "hub", "--rate", "20"]).expect(2);
    assert!(refused.err.contains("at least 100"), "{refused:?}");
}

pub fn a_dry_run_tells_what_the_run_then_sends() {
    let world = World::of(&["clinic"]);
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(100), Some(RATE_2G))));
    world.ok("clinic", &["peer", "hub", &proxy.address().to_string()]);
    world.push("clinic", 100, "routine");
    world.run("clinic", &["sync", "hub", "--json"]).expect(0);
    std::fs::write(world.path("more"), crate::world::records("later", 300)).unwrap();
    world.ok("clinic", &["push", "--ndjson", "more", "--quiet"]);
    wait_for("the end of the first", SOON, || (proxy.counts().open_count == 0).then_some(()));
    let before = proxy.counts();
    let told = world.run("clinic", &["sync", "hub", "--dry-run", "--json"]).expect(0).summary();
    assert_eq!(carried(&proxy.counts()), carried(&before), "a dry run sends nothing");
    let done = world.run("clinic", &["sync", "hub", "--json"]).expect(0).summary();
    let (foretold, sent) = (told.number("bytes"), done.number("bytes_sent"));
    figure!(
        "dry run: {foretold} bytes foretold, {sent} sent ({} received); {} ms foretold, {} ms",
        done.number("bytes_received"),
        told.number("took_ms"),
        done.number("took_ms")
    );
    assert_eq!((told.number("events"), done.number("sent")), (300, 300));
    assert!(foretold.abs_diff(sent) * 10 <= sent, "{foretold} foretold, {sent} sent: {told:?} {done:?}");
}
