//! Scenes of two processes: one listens, one dials, over loopback.

use crate::Failure;
use crate::program::{Ended, Program, ended};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The exit status of a panic.
pub const PANICKED: i32 = 101;

/// A process that listens; killed when dropped, so that none outlives its scene.
struct Listener {
    child: Child,
    address: Option<String>,
}

impl Listener {
    /// Start `command` as the hub's listener in `at`; without an address when it ends before it says one.
    fn start(mut command: Command, at: &Path) -> Result<Self, Failure> {
        command.current_dir(at).process_group(0).args(["--data-dir=hub", "serve", "--listen", "127.0.0.1:0", "--json", "--lock-wait", "10s"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
        let out = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(out).lines();
        let address = lines.find_map(|line| serde_json::from_str::<serde_json::Value>(&line.ok()?).ok()?["address"].as_str().map(str::to_owned));
        std::thread::spawn(move || lines.for_each(drop)); // it must not wait for somebody to read
        Ok(Self { child, address })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The whole group: a tracer that is killed lets go of what it traced.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process_group(group, Signal::KILL).unwrap_or(()); // it may be gone already
        }
        drop(self.child.wait());
    }
}

/// Dial a good listener by `traced`.
///
/// # Errors
/// When the listener does not come up.
pub fn dial(program: &Program, at: &Path, mut traced: Command) -> Result<Ended, Failure> {
    let listener = Listener::start(Command::new(program.path()), at)?;
    let address = listener.address.as_deref().ok_or("the listener does not come up")?;
    ended(traced.current_dir(at).args(["--data-dir=clinic", "sync", address, "--json", "--deadline", "5s"]))
}

/// Let `traced` listen, dial it once, and kill it. How the dialer ended, if there was somebody to dial.
///
/// # Errors
/// When the dialer cannot be run, or one of the two ended as no program should.
pub fn listen(program: &Program, at: &Path, traced: Command) -> Result<Option<Ended>, Failure> {
    let mut listener = Listener::start(traced, at)?;
    let mut dialer = None;
    if let Some(address) = &listener.address {
        let ended = program.run(at, &["--data-dir=clinic", "sync", address, "--json", "--deadline", "3s"])?;
        if !matches!(ended.exit, Some(0 | 16)) {
            return Err(format!("the dialer ended with {:?}: {}{}", ended.exit, ended.out.trim(), ended.err.trim()));
        }
        dialer = Some(ended);
    }
    match listener.child.try_wait().map_err(|error| error.to_string())?.and_then(|status| status.code()) {
        Some(PANICKED) => Err("the listener panicked".to_owned()),
        _ => Ok(dialer),
    }
}

/// Both without a fault: everything arrives.
///
/// # Errors
/// When it does not.
pub fn complete(program: &Program, at: &Path) -> Result<(), Failure> {
    let ended = dial(program, at, Command::new(program.path()))?;
    if ended.exit == Some(0) && ended.out.contains("\"complete\":true") {
        Ok(())
    } else {
        Err(format!("the next sync ended with {:?}: {}{}", ended.exit, ended.out, ended.err))
    }
}
