//! A domain in a temporary folder: a hub that serves, clinics that sync, bad links between them.

use crate::process::{Ended, Process, wait_for};
use netlab::proxy::{Faults, Proxy};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Longest that anything local may take on a busy machine.
pub const SOON: Duration = Duration::from_mins(1);

/// A 2G link's bytes a second.
pub const RATE_2G: u64 = 2875;

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How many worlds there are.
static WORLDS: AtomicU8 = AtomicU8::new(1);

pub struct World {
    folder: tempfile::TempDir,
    /// This world's own of 127.0.0.0/8: a port that a killed hub leaves is not taken by another world's hub at once.
    host: IpAddr,
}

impl World {
    /// An authority, `hub`, and members.
    pub fn of(clinics: &[&str]) -> Self {
        // In memory where the system has a folder for that: what these claims are about is the link.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let host = Ipv4Addr::new(127, 77, 0, WORLDS.fetch_add(1, Ordering::Relaxed)).into();
        let world = Self { folder, host };
        world.ok("hub", &["init", "hub", "--authority"]);
        for name in clinics {
            world.join(name);
        }
        world
    }

    /// A new node joins, and may see what is everybody's.
    pub fn join(&self, name: &str) {
        self.ok(name, &["init", name]);
        self.take_in(name, "hub");
    }

    /// `authority` signs what `name` asks for.
    pub fn take_in(&self, name: &str, authority: &str) {
        let (request, join) = (format!("{name}.request"), format!("{name}.join"));
        self.ok(name, &["request", "--out", &request]);
        self.ok(authority, &["sign", &request, "--out", &join]);
        self.ok(name, &["join", &join, "--yes"]);
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zbundle"));
        command.args(arguments).arg("--data-dir").arg(self.path(node)).current_dir(self.folder.path()).env_clear();
        command
    }

    pub fn start(&self, node: &str, arguments: &[&str]) -> Process {
        Process::start(&mut self.command(node, arguments))
    }

    pub fn run(&self, node: &str, arguments: &[&str]) -> Ended {
        self.start(node, arguments).end(SOON)
    }

    /// Stdout of a command that succeeds.
    #[track_caller]
    pub fn ok(&self, node: &str, arguments: &[&str]) -> String {
        let ended = self.run(node, arguments);
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        ended.out
    }

    /// Push so many of a clinic's records.
    pub fn push(&self, node: &str, count: usize, lane: &str) {
        let name = format!("{node}.{lane}.ndjson");
        std::fs::write(self.path(&name), records(node, count)).unwrap();
        self.ok(node, &["push", "--ndjson", &name, "--lane", lane, "--quiet"]);
    }

    /// An address of this world at which nobody listens.
    pub fn nobody(&self) -> SocketAddr {
        TcpListener::bind((self.host, 0)).unwrap().local_addr().unwrap() // it is free again at once
    }

    pub fn serve(&self, node: &str) -> Server {
        self.serve_at(node, &SocketAddr::new(self.host, 0).to_string(), &[])
    }

    pub fn serve_at(&self, node: &str, address: &str, more: &[&str]) -> Server {
        let process = self.start(node, &[&["serve", "--listen", address, "--json", "--lock-wait", "30s"], more].concat());
        let address = wait_for("listening", SOON, || {
            let said = process.said();
            let listening = serde_json::from_str::<serde_json::Value>(said.lines().next()?).ok()?;
            Some(listening["address"].as_str().unwrap().parse().unwrap())
        });
        Server { process, address }
    }

    pub fn sync(&self, node: &str, address: SocketAddr, more: &[&str]) -> Process {
        self.start(node, &[&["sync", &address.to_string(), "--json"], more].concat())
    }

    /// What `node` holds of `origin`: a line of JSON for each event, with its payload.
    pub fn log(&self, node: &str, origin: &str) -> Vec<String> {
        self.ok(node, &["log", "--origin", origin, "--format", "json", "--payload"]).lines().map(str::to_owned).collect()
    }

    /// Each of `count` events of `origin` is at `node` once, as it is at its origin.
    #[track_caller]
    pub fn check_all(&self, node: &str, origin: &str, count: usize) {
        let (pushed, there) = (self.log(origin, origin), self.log(node, origin));
        check_once(&there);
        assert_eq!(pushed.len(), count, "pushed at {origin}");
        assert_eq!(there.len(), count, "at {node} of {origin}");
        assert!(pushed.iter().collect::<BTreeSet<_>>() == there.iter().collect::<BTreeSet<_>>(), "the events of {origin} differ at {node}");
    }

    /// How many of our events `of` says that `peer` has.
    pub fn acknowledged(&self, of: &str, peer: &str) -> u64 {
        let said = self.ok(of, &["status", "--json"]);
        let objects = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        objects.filter(|object| object["type"] == "peer" && object["name"] == peer).find_map(|object| object["acknowledged"].as_u64()).unwrap_or(0)
    }
}

/// No event stands there twice.
#[track_caller]
pub fn check_once(lines: &[String]) {
    let ids: BTreeSet<_> = lines.iter().map(|line| line.split_once("\"id\":\"").unwrap().1.split_once('"').unwrap().0).collect();
    assert_eq!(ids.len(), lines.len(), "an event stands there twice");
}

/// A clinic's day, again and again, never the same: one JSON object a line.
pub fn records(clinic: &str, count: usize) -> String {
    let day = include_str!("../../fixtures/clinic/clinic_1000.ndjson");
    let mut text = String::new();
    for (number, line) in day.lines().cycle().take(count).enumerate() {
        let (id, rest) = line.split_at(r#"{"id":"f893a2ee-fb32-455e-b1c1-8690ee42c90b"#.len());
        let shift = u32::try_from(number / 1000).unwrap();
        let digit = |c: char| c.to_digit(16).map_or(c, |digit| char::from_digit((digit + shift) % 16, 16).unwrap());
        let id: String = id.char_indices().map(|(at, c)| if at < 7 { c } else { digit(c) }).collect();
        writeln!(text, r#"{id}{},"at":"{clinic}"}}"#, rest.strip_suffix('}').unwrap()).unwrap();
    }
    text
}

/// A node that serves.
pub struct Server {
    pub process: Process,
    pub address: SocketAddr,
}

impl Server {
    /// A bad way to it.
    pub fn behind(&self, faults: Faults) -> Proxy {
        Proxy::start_in_thread(self.address, faults).unwrap()
    }

    /// Ended in order.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.process.signal(Signal::TERM);
        self.process.end(Duration::from_secs(15)).expect(0)
    }
}

/// Numbers that look random and are the same in every run.
pub fn chance(seed: u64) -> impl FnMut(std::ops::Range<u64>) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |range| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        range.start + state % (range.end - range.start)
    }
}

/// Bytes that nothing compresses.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut next = chance(seed);
    (0..len).map(|_| u8::try_from(next(0..1 << 40) >> 32).unwrap()).collect()
}

/// A figure, for people who read the run.
macro_rules! figure {
    ($($what:tt)*) => { println!("      {}", format!($($what)*)) };
}
pub(crate) use figure;
