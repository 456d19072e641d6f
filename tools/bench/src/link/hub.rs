//! A node that serves, as a child process; and what passes a proxy before it.

use crate::Failure;
use crate::measure::{Cost, Input};
use crate::walk::Node;
use netlab::proxy::{Faults, Proxy};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A listener says where it listens within this time.
const START: Duration = Duration::from_secs(20);
/// Connections end, and their last bytes arrive, within this time.
const QUIET: Duration = Duration::from_secs(10);

/// A running `zbundle serve`.
pub struct Hub {
    child: Child,
    pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Hub {
    /// Serve `node` on a free port of loopback.
    pub fn serve(node: &Node) -> Result<Self, Failure> {
        Self::start(node.command(["serve", "--listen", "127.0.0.1:0"]))
    }

    /// The same with HTTP beside it, at `http.sock` in its data directory.
    pub fn serve_all(node: &Node) -> Result<Self, Failure> {
        Self::start(node.command(["serve", "--listen", "127.0.0.1:0", "--http"]))
    }

    /// The same under strace, which writes the syncs it sees to `trace`, with the paths of their files.
    pub fn traced(node: &Node, trace: &std::path::Path) -> Result<Self, Failure> {
        let inner = node.command(["serve", "--listen", "127.0.0.1:0"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-y", "-e", "trace=fdatasync,fsync", "-o"]).arg(trace);
        command.arg(inner.get_program()).args(inner.get_args());
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let pid = child.id();
        let stdout = child.stdout.take().ok_or("the hub has no stdout")?;
        let (sender, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str::<serde_json::Value>(&line).unwrap_or_default();
                if value["type"] == "listening" {
                    let _ = sender.send(value["address"].as_str().map(str::to_owned)); // read once; later ones are nobody's
                }
            }
        });
        let address = told.recv_timeout(START).map_err(|_| "the hub does not say where it listens")?;
        let address = address.ok_or("the hub's address is no text")?.parse()?;
        Ok(Self { child, pid, address })
    }

    /// Its peak memory so far.
    pub fn rss_max(&self) -> Result<u64, Failure> {
        self.memory("VmHWM:")
    }

    /// What of its memory now is of files: the program itself, mostly, which is longer in a build that is not handed out.
    pub fn rss_of_files(&self) -> Result<u64, Failure> {
        self.memory("RssFile:")
    }

    fn memory(&self, which: &str) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix(which)).ok_or_else(|| format!("the kernel does not tell {which}"))?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
    }

    /// End it as an administrator would.
    pub fn stop(mut self) -> Result<(), Failure> {
        self.terminate()?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the hub ended with {status}").into()) }
    }

    fn terminate(&self) -> Result<(), Failure> {
        // strace passes no signals on: its child is told.
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).unwrap_or_default();
        let inner = children.split_whitespace().next().map(str::parse::<i32>).transpose()?;
        Ok(kill(Pid::from_raw(inner.unwrap_or(self.pid.cast_signed())), Signal::SIGTERM)?)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.terminate(); // it may end in this moment
            let _ = self.child.wait();
        }
    }
}

/// What one sync cost on the wire.
#[derive(Clone, Debug)]
pub struct Flight {
    /// Bytes towards the hub.
    pub up: u64,
    /// Bytes from it.
    pub down: u64,
    /// From dialling to the end, by the program's own clock.
    pub took: Duration,
}

impl Flight {
    /// Both ways.
    pub fn len(&self) -> u64 {
        self.up + self.down
    }
}

/// A way to a hub that counts.
pub struct Way {
    proxy: Proxy,
}

impl Way {
    /// To `hub`, with these faults.
    pub fn to(hub: &Hub, faults: Faults) -> Result<Self, Failure> {
        Ok(Self { proxy: Proxy::start_in_thread(hub.address, faults)? })
    }

    /// Where to dial.
    pub fn address(&self) -> String {
        self.proxy.address().to_string()
    }

    /// Bytes so far, up and down.
    pub fn counted(&self) -> (u64, u64) {
        let counts = self.proxy.counts();
        (counts.up.taken_len, counts.down.taken_len)
    }

    /// One sync of `clinic`, to its end.
    pub fn sync(&self, clinic: &Node) -> Result<Flight, Failure> {
        let before = self.counted();
        let cost = clinic.run(["sync", &self.address()], Input::Nothing)?;
        let since = Instant::now();
        while self.proxy.counts().open_count > 0 && since.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(10));
        }
        let after = self.counted();
        let (up, down) = (after.0 - before.0, after.1 - before.1);
        let told = (number(&cost, "bytes_sent")?, number(&cost, "bytes_received")?);
        // Who ends a conversation does not wait for the other's goodbye: so much may come after it has counted.
        if told.0 != up || !(down.saturating_sub(64)..=down).contains(&told.1) {
            return Err(format!("the proxy counted {up} and {down} bytes, the program says {} and {}", told.0, told.1).into());
        }
        Ok(Flight { up, down, took: Duration::from_millis(number(&cost, "took_ms")?) })
    }
}

/// A number of a summary that must be there.
pub fn number(cost: &Cost, name: &str) -> Result<u64, Failure> {
    cost.number(name).ok_or_else(|| format!("the summary has no {name}: {}", cost.last_line).into())
}
