//! A real browser, and who stands between it and the server to see what it asks for.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Longer than a browser takes on a loaded machine.
const WAIT: Duration = Duration::from_mins(2);

/// Whether there is one; where every check runs there must be.
pub fn is_there() -> bool {
    let there = Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(there || std::env::var_os("CI").is_none(), "chromium is missing: cargo xtask check installs it");
    there
}

fn chromium(profile: &Path, arguments: &[&str], out: Stdio) -> Child {
    Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]) // it has the page to look at
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Run it to its end; what it printed.
pub fn ended(profile: &Path, arguments: &[&str]) -> String {
    let out = profile.with_extension("html");
    let mut child = chromium(profile, arguments, std::fs::File::create(&out).unwrap().into());
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > WAIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the browser does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(out).unwrap()
}

/// One that stays at an address; it ends with the value.
pub struct Open(Child);

impl Open {
    pub fn at(profile: &Path, address: &str) -> Self {
        Self(chromium(profile, &[address], Stdio::null()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Asked, it ends its own processes first; killed, it would leave them writing into a folder that is being removed.
        kill_process(Pid::from_raw(self.0.id().cast_signed()).unwrap(), Signal::TERM).unwrap_or(());
        let begun = Instant::now();
        while self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > WAIT {
                self.0.kill().unwrap_or(()); // it ends in this moment by itself
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A door that passes each request on to a server and tells what was asked for; it stays as long as the process.
pub struct Door {
    pub address: String,
    asked: Receiver<String>,
}

impl Door {
    pub fn before(server: &str) -> Self {
        let (server, listener) = (server.to_owned(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, (tell, asked)) = (listener.local_addr().unwrap().to_string(), channel());
        std::thread::spawn(move || {
            for stream in listener.incoming().map(Result::unwrap) {
                let (server, tell) = (server.clone(), tell.clone());
                std::thread::spawn(move || pass(&stream, &server, &tell));
            }
        });
        Self { address, asked }
    }

    /// Wait until something beginning with `line` is asked for.
    #[track_caller]
    pub fn wait_for(&self, line: &str) {
        let begun = Instant::now();
        while let Some(left) = WAIT.checked_sub(begun.elapsed()) {
            if self.asked.recv_timeout(left).is_ok_and(|asked| asked.starts_with(line)) {
                return;
            }
        }
        panic!("{line:?} was not asked for");
    }
}

/// One request without a body, as if it had come to the server itself; a connection carries no other.
fn pass(from: &TcpStream, server: &str, tell: &Sender<String>) {
    let mut to = TcpStream::connect(server).unwrap();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        match line.split_once(": ").map_or("", |(name, _)| name).to_lowercase().as_str() {
            "host" => write!(to, "host: {server}\r\nconnection: close\r\n").unwrap(),
            "connection" => {}
            "" => {
                write!(to, "{line}\r\n").unwrap();
                if line.is_empty() {
                    break;
                }
                tell.send(line).unwrap_or(()); // nobody waits any more
            }
            _ => write!(to, "{line}\r\n").unwrap(),
        }
    }
    let mut from = from;
    std::io::copy(&mut to, &mut from).unwrap_or_default(); // the browser has gone
    from.shutdown(Shutdown::Both).unwrap_or(());
}
