//! Urgent things first, also when they come late.

use crate::process::wait_for;
use crate::world::{RATE_2G, SOON, World, figure, ms};
use netlab::proxy::Faults;
use rustix::process::Signal;
use std::time::{Duration, Instant};

pub fn what_is_urgent_passes_a_backlog() {
    let world = World::of(&["clinic"]);
    world.push("clinic", 1000, "bulk");
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(300), Some(RATE_2G))));
    let sync = world.sync("clinic", proxy.address(), &[]);
    wait_for("the middle of the backlog", SOON, || (proxy.counts().up.delivered_len > 20_000).then_some(()));
    let begun = Instant::now();
    world.ok("clinic", &["push", "haemorrhage, ward 2", "--lane", "urgent"]);
    let pushed = begun.elapsed();
    wait_for("the urgent event at the hub", SOON, || {
        (!world.ok("hub", &["log", "--lane", "urgent", "--format", "json"]).trim().is_empty()).then_some(())
    });
    let took = begun.elapsed();
    let bulk = world.ok("hub", &["log", "--lane", "bulk", "--format", "json"]).lines().count();
    figure!(
        "urgent behind a bulk backlog on 2G: {} ms to push, {} ms until the hub has it; {bulk} of 1000 bulk events there by then",
        pushed.as_millis(),
        took.as_millis()
    );
    assert!(bulk < 800, "long before the rest: {bulk} were there");
    // What is on its way, one range, a round trip: five to six seconds; two for a busy machine.
    assert!(took < Duration::from_secs(8), "{took:?}");
    sync.signal(Signal::TERM);
    sync.end(SOON).expect(0);
}
