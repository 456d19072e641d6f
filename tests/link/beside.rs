//! A hub that serves is a node like any other: commands beside it, and a hub above it.

use crate::world::{World, figure, records};
use std::time::Instant;

pub fn every_command_works_beside_a_server_and_events_go_three_hops_both_ways() {
    let world = World::of(&["district", "clinic"]);
    world.ok("hub", &["policy", "district", "all"]);
    let national = world.serve("hub");
    let district = world.serve("district");
    world.ok("district", &["peer", "hub", &national.address.to_string()]);
    world.ok("clinic", &["peer", "district", &district.address.to_string()]);
    world.push("clinic", 100, "routine");
    // The way up: the clinic to its district, and the district, while it serves, to the nation.
    let begun = Instant::now();
    world.run("district", &["sync", "hub", "--json"]).expect(0); // its roster
    let up = world.run("clinic", &["sync", "district", "--json"]).expect(0).summary();
    assert!(up.is_complete() && up.number("sent") == 100, "{up:?}");
    std::fs::write(world.path("day"), records("district", 2000)).unwrap();
    world.ok("district", &["push", "--ndjson", "day", "--quiet"]);
    world.ok("district", &["push", "one by itself"]);
    let forwarded = world.run("district", &["sync", "hub", "--json"]).expect(0);
    assert!(forwarded.err.contains("through the process that keeps the node"), "{forwarded:?}");
    let up = forwarded.summary();
    assert!(up.is_complete() && up.number("remaining") == 0, "{up:?}");
    world.check_all("hub", "clinic", 100);
    world.check_all("hub", "district", 2001);
    // The way down: what is for the clinic, from the nation.
    world.ok("hub", &["push", "result of sample 17", "--to", "clinic"]);
    world.ok("hub", &["push", "another", "--to", "clinic", "--lane", "urgent"]);
    let down = world.run("district", &["sync", "hub", "--json"]).expect(0).summary();
    assert_eq!(down.number("new"), 2, "{down:?}");
    let down = world.run("clinic", &["sync", "district", "--json"]).expect(0).summary();
    assert!(down.number("new") >= 2, "{down:?}");
    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    assert_eq!(sorted(world.log("clinic", "hub")), sorted(world.log("hub", "hub")));
    // Other commands, on the directory of the one that serves.
    world.ok("district", &["cut", "--to", "hub", "--out", "stick"]);
    world.ok("clinic", &["push", "by stick"]);
    world.ok("clinic", &["cut", "--to", "district", "--out", "stick2"]);
    world.ok("district", &["ingest", "stick2"]);
    for reader in ["status", "members", "held", "log"] {
        world.ok("district", &[reader]);
    }
    world.check_all("district", "clinic", 101);
    figure!("three hops up and down beside two servers: {} ms", begun.elapsed().as_millis());
    assert_eq!(district.end().summary().number("refused"), 0);
    assert_eq!(national.end().summary().number("refused"), 0);
}
