//! A hub whose disk is full.

use crate::process::wait_for;
use crate::world::{SOON, World, figure, noise};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SCANS: usize = 16;
const SCAN_LEN: usize = 500_000;
/// A payload above 4 KiB goes in parts, each an event.
const EVENTS: u64 = (SCANS * SCAN_LEN.div_ceil(4096)) as u64;

/// A file system in memory, as large as it is told; gone when dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounted at `path`; none where this user may not.
    fn mount(path: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output().unwrap();
        if done.status.success() {
            return Some(Self(path.to_owned()));
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "this needs root, to mount a small disk: {said}");
        println!("      a full disk: NOT TRIED, this needs root to mount a small one: {said}");
        None
    }

    fn resize(&self, options: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status(); // what stays is said by whoever clears the folder
    }
}

pub fn a_full_disk_is_told_and_nothing_is_lost() {
    let world = World::of(&["clinic"]);
    // The hub's directory moves to a small disk.
    let Some(disk) = Disk::mount(&world.path("small"), "size=6m") else { return };
    assert!(Command::new("cp").arg("-a").arg(world.path("hub")).arg(world.path("small/hub")).status().unwrap().success());
    std::fs::copy(world.path("hub.key"), world.path("small/hub.key")).unwrap();
    let hub_dir = "small/hub";
    for number in 0..SCANS as u64 {
        std::fs::write(world.path("scan"), noise(number, SCAN_LEN)).unwrap();
        world.ok("clinic", &["push", "--file", "scan", "--type", "scan", "--lane", "bulk"]);
    }
    let hub = world.serve(hub_dir);
    let ended = world.sync("clinic", hub.address, &[]).end(Duration::from_mins(1));
    let summary = ended.summary();
    let (sent, left) = (summary.number("sent"), summary.number("remaining"));
    figure!("a full hub: exit {:?}, {sent} of {EVENTS} sent", ended.status);
    assert!(matches!(ended.status, Some(15 | 16)) && !summary.is_complete(), "{ended:?}");
    assert_eq!(summary.word("code"), "Z506", "{ended:?}"); // the disk is not its own
    assert!(ended.err.contains("the other side's disk is full"), "{ended:?}");
    assert!(sent > 0 && left > 0 && sent + left == EVENTS, "{summary:?}");
    assert_eq!(world.acknowledged("clinic", "hub"), sent, "status agrees");
    // Who stays does not end over it.
    let staying = world.sync("clinic", hub.address, &["--every", "2s"]);
    wait_for("it says that it goes on", SOON, || staying.warned().contains("disk is full; again in").then_some(()));
    // Nobody restarts either: there is room, and it goes on.
    disk.resize("size=64m");
    wait_for("the rest is sent", SOON, || (world.acknowledged("clinic", "hub") == EVENTS).then_some(()));
    staying.signal(Signal::TERM);
    let summary = staying.end(SOON).expect(0).summary();
    assert!(summary.number("sent") == left && summary.number("dials") > 1, "{summary:?}");
    world.check_all(hub_dir, "clinic", SCANS);
    let served = hub.end();
    assert!(served.objects("broken").iter().any(|object| object["code"] == "Z203"), "{served:?}");
    drop(disk);
}
