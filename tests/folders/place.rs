//! A hub with a watched folder and a clinic that fills it.

use crate::process::{Process, wait_for};
use crate::world::{SOON, World};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a shared folder is known by.
pub const FOLDER_MARKER: &str = "zbundle 1 folder\nid: 00112233445566aa\nlabel: drop\n";
/// What a stick is known by.
pub const STICK_MARKER: &str = "zbundle 1 stick\nid: 00112233445566bb\nlabel: road\n";

pub struct Place {
    pub world: World,
    pub drop: PathBuf,
    made: std::cell::Cell<usize>,
}

impl Place {
    pub fn new() -> Self {
        let world = World::of(&["clinic"]);
        let drop = world.path("drop");
        std::fs::create_dir(&drop).unwrap();
        std::fs::write(drop.join("ZBUNDLE.TXT"), FOLDER_MARKER).unwrap();
        Self { world, drop, made: std::cell::Cell::new(0) }
    }

    /// A bundle with `count` more events of the clinic in it, in a folder of its own. It holds all the hub has not confirmed.
    pub fn bundle(&self, count: usize) -> PathBuf {
        let number = self.made.replace(self.made.get() + 1);
        let name = format!("lot{number}.ndjson");
        std::fs::write(self.world.path(&name), crate::world::records(&format!("lot{number}"), count)).unwrap();
        self.world.ok("clinic", &["push", "--ndjson", &name, "--quiet"]);
        let out = format!("out{number}");
        self.world.ok("clinic", &["cut", "--to", "hub", "--out", &out]);
        only_file(&self.world.path(out))
    }

    /// A bundle that is larger than what a second carries.
    pub fn large_bundle(&self, len: usize) -> PathBuf {
        let number = self.made.replace(self.made.get() + 1);
        std::fs::write(self.world.path("scan"), crate::world::noise(number as u64, len)).unwrap();
        self.world.ok("clinic", &["push", "--file", "scan", "--type", "scan", "--lane", "bulk"]);
        let out = format!("out{number}");
        self.world.ok("clinic", &["cut", "--to", "hub", "--out", &out]);
        only_file(&self.world.path(out))
    }

    pub fn watch(&self, more: &[&str]) -> Process {
        self.world.start("hub", &[&["watch", "drop", "--json"], more].concat())
    }

    pub fn once(&self, more: &[&str]) -> crate::process::Ended {
        self.world.run("hub", &[&["watch", "--once", "drop"], more].concat())
    }

    /// Wait until the hub has so many of the clinic's events.
    #[track_caller]
    pub fn wait_for_events(&self, count: usize) {
        wait_for(&format!("{count} events at the hub"), SOON, || (self.events() >= count).then_some(()));
        self.world.check_all("hub", "clinic", count);
    }

    /// The clinic's events at the hub; none while the hub has never heard of it.
    pub fn events(&self) -> usize {
        self.world.run("hub", &["log", "--origin", "clinic", "--format", "json"]).out.lines().count()
    }
}

/// The one bundle in a folder.
pub fn only_file(folder: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// Run a program of the system's; it must be there and do its work.
#[track_caller]
pub fn program(name: &str, arguments: &[&str]) {
    let done = Command::new(name).args(arguments).output().unwrap_or_else(|error| panic!("{name} is needed for this: {error}"));
    assert!(done.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
