//! Whoever talks with strangers has given up what it does not need, as far as it says so.

use crate::process::{Process, wait_for};
use crate::world::World;
use std::collections::BTreeSet;
use std::time::Duration;

/// A number of what the kernel says of each thread of a process: one alone that kept its rights is as good as all.
fn statuses(process: &Process, name: &str) -> BTreeSet<Option<u64>> {
    let threads = std::fs::read_dir(format!("/proc/{}/task", process.id())).into_iter().flatten();
    let number = |status: String| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok()).map(number).collect()
}

pub fn a_server_and_who_dials_it_have_given_up_what_they_do_not_need() {
    let world = World::of(&["clinic"]);
    // By a name, so that names are resolved behind the wall too; with a program that it may still run, by way of another process.
    let hub = world.serve_at("hub", "localhost:0", &["--alarm", "/bin/true"]);
    let said = hub.process.said();
    let listening: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let filtered = listening["filtered"].as_bool().unwrap();
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) {
        assert!(filtered, "{listening}");
    }
    let filter = BTreeSet::from([Some(u64::from(filtered) * 2)]); // SECCOMP_MODE_FILTER
    assert_eq!((statuses(&hub.process, "Seccomp:"), statuses(&hub.process, "NoNewPrivs:")), (filter.clone(), BTreeSet::from([Some(1)])));
    let clinic = world.start("clinic", &["sync", &format!("localhost:{}", hub.address.port()), "--every", "60s", "--json"]);
    wait_for("the wall of a sync", Duration::from_secs(20), || (statuses(&clinic, "Seccomp:") == filter).then_some(()));
    world.push("clinic", 3, "urgent");
    wait_for("its events", Duration::from_secs(30), || (world.log("hub", "clinic").len() == 3).then_some(()));
    assert_eq!(statuses(&hub.process, "Seccomp:"), filter, "nor has any that it started since");
    clinic.kill();
    hub.end();
}
