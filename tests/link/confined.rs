//! Whoever talks with strangers has given up what it does not need, as far as it says so.

use crate::process::{Process, wait_for};
use crate::world::World;
use std::time::Duration;

/// A number of what the kernel says of a process.
fn status(process: &Process, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

pub fn a_server_and_who_dials_it_have_given_up_what_they_do_not_need() {
    let world = World::of(&["clinic"]);
    let hub = world.serve_at("hub", "localhost:0");
    let said = hub.process.said();
    let listening: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let filtered = listening["filtered"].as_bool().unwrap();
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) {
        assert!(filtered, "{listening}");
    }
    let filter = u64::from(filtered) * 2; // SECCOMP_MODE_FILTER
    assert_eq!((status(&hub.process, "Seccomp:"), status(&hub.process, "NoNewPrivs:")), (Some(filter), Some(1)));
    // By a name, so that names are resolved behind the wall too.
    let clinic = world.start("clinic", &["sync", &format!("localhost:{}", hub.address.port()), "--every", "60s", "--json"]);
    wait_for("the wall of a sync", Duration::from_secs(20), || status(&clinic, "Seccomp:").filter(|mode| *mode == filter));
    world.push("clinic", 3, "urgent");
    wait_for("its events", Duration::from_secs(30), || (world.log("hub", "clinic").len() == 3).then_some(()));
    clinic.kill();
    hub.end();
}
