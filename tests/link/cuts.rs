//! Connections and processes that end anywhere.

use crate::world::{SOON, World, chance, figure, ms};
use netlab::proxy::{Each, Ending, Faults};
use std::thread::sleep;
use std::time::Duration;

pub fn whatever_way_it_is_cut_nothing_is_lost_and_nothing_comes_twice() {
    const EVENTS: usize = 300;
    // A connection that is silent costs the time until that is noticed.
    let endings = [("reset", Ending::Reset, 12), ("fin", Ending::Fin, 12), ("black-hole", Ending::BlackHole, 3), ("half-open", Ending::HalfOpen, 3)];
    let world = World::of(&endings.map(|(name, ..)| name));
    let hub = world.serve("hub");
    let running: Vec<_> = (1..)
        .zip(endings)
        .map(|(seed, (name, ending, cuts))| {
            world.push(name, EVENTS, "routine");
            let mut next = chance(seed);
            let mut faults = Faults::both_ways(|way| (way.delay, way.rate) = (ms(20), Some(30_000)));
            faults.up.cut_after = Each::Successive((0..cuts).map(|_| Some(next(1..9000))).collect());
            faults.down.cut_after = Each::Successive((0..cuts).map(|nth| (nth % 3 == 2).then(|| next(1..900))).collect());
            faults.ending = ending;
            let proxy = hub.behind(faults);
            (name, world.sync(name, proxy.address(), &[]), proxy)
        })
        .collect();
    for (name, sync, proxy) in running {
        let summary = sync.end(Duration::from_mins(2)).expect(0).summary();
        assert!(summary.is_complete() && summary.number("sent") == EVENTS as u64, "{name}: {summary:?}");
        world.check_all("hub", name, EVENTS);
        let cut = proxy.counts().connections.iter().filter(|connection| connection.cut.is_some()).count();
        assert!(cut >= 2, "{name}: the link was cut {cut} times: {:?}", proxy.counts());
        let (dials, seconds) = (summary.number("dials"), summary.number("took_ms") / 1000);
        figure!("cut by {name}: {cut} cuts, {dials} dials, {} bytes up, {seconds} s", proxy.counts().up.delivered_len);
    }
    let new = hub.end().summary().number("new");
    assert_eq!(new, 4 * EVENTS as u64, "nothing counts twice");
}

pub fn a_clinic_killed_again_and_again_gets_on() {
    const EVENTS: usize = 2000;
    let world = World::of(&["clinic"]);
    world.push("clinic", EVENTS, "routine");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(50), Some(15_000))));
    let mut next = chance(7);
    let mut kills = 0;
    let mut before = 0;
    let ended = loop {
        let mut sync = world.sync("clinic", proxy.address(), &[]);
        sleep(ms(next(700..1800)));
        if sync.is_over() || kills >= 12 {
            break sync.end(SOON);
        }
        sync.kill();
        kills += 1;
        let acknowledged = world.acknowledged("clinic", "hub");
        assert!(acknowledged >= before, "what was acknowledged stays so: {acknowledged} after {before}");
        before = acknowledged;
    };
    let summary = ended.expect(0).summary();
    assert!(summary.is_complete(), "{summary:?}");
    world.check_all("hub", "clinic", EVENTS);
    assert_eq!(world.acknowledged("clinic", "hub"), EVENTS as u64);
    let carried = proxy.counts().up.delivered_len;
    figure!("sync killed {kills} times: {carried} bytes up in all, {:.1} an event", carried as f64 / EVENTS as f64);
    assert!(kills >= 3, "it was killed {kills} times only");
    // Alone the events take some 140 KB; each kill may cost two seconds of the link, a handshake and a range.
    assert!(carried < 170_000 + kills * 36_000, "each run goes on where the last one was: {carried}");
}

pub fn a_hub_killed_again_and_again_is_dialled_again() {
    const EVENTS: usize = 1000;
    let world = World::of(&["clinic"]);
    world.push("clinic", EVENTS, "routine");
    let mut hub = world.serve("hub");
    let address = hub.address.to_string();
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(50), Some(15_000))));
    let mut sync = world.sync("clinic", proxy.address(), &[]);
    let mut next = chance(9);
    let mut kills = 0;
    while kills < 6 {
        sleep(ms(next(700..1500)));
        if sync.is_over() {
            break;
        }
        hub.process.kill();
        kills += 1;
        sleep(ms(next(10..400)));
        hub = world.serve_at("hub", &address, &[]);
    }
    let summary = sync.end(Duration::from_secs(90)).expect(0).summary();
    assert!(summary.is_complete() && summary.number("sent") == EVENTS as u64, "{summary:?}");
    assert!(kills >= 2, "it was killed {kills} times only");
    world.check_all("hub", "clinic", EVENTS);
    hub.end();
    let (dials, carried) = (summary.number("dials"), proxy.counts().up.delivered_len);
    figure!("serve killed {kills} times: {dials} dials, {carried} bytes up, {} s", summary.number("took_ms") / 1000);
    assert!(carried < 90_000 + kills * 36_000, "what the hub had it has: {carried}");
}
