//! A node in a folder, the process that serves it, and HTTP as bytes.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const WAIT: Duration = Duration::from_mins(1);

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zbundle"));
    command.arg("--data-dir").arg(dir).arg("--key-file").arg(dir.with_extension("key"));
    command
}

/// Run a command; it must succeed.
#[track_caller]
pub fn zbundle(dir: &Path, arguments: &[&str]) {
    let ended = command(dir).args(arguments).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
}

/// Begin a command.
pub fn started(dir: &Path, arguments: &[&str]) -> Child {
    command(dir).args(arguments).stdout(Stdio::null()).spawn().unwrap()
}

/// The folder of a node; it goes with the value.
pub struct Folder {
    outer: tempfile::TempDir,
}

impl Folder {
    pub fn path(&self) -> PathBuf {
        self.outer.path().join("node")
    }
}

/// A new node that has not joined any domain.
pub fn node() -> Folder {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("node");
    zbundle(&dir, &["init", "lunana-bhu"]);
    Folder { outer }
}

/// A hub that has heard of a clinic, by a folder: the hub's folder, and beside it the clinic in `clinic`.
pub fn hub() -> Folder {
    let outer = tempfile::tempdir().unwrap();
    let at = |name: &str| outer.path().join(name);
    let (hub, clinic, stick) = (at("node"), at("clinic"), at("stick"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    zbundle(&hub, &["init", "punakha-hub", "--authority"]);
    zbundle(&clinic, &["init", "lunana-bhu"]);
    zbundle(&clinic, &["request", "--out", &path(&at("lunana.request"))]);
    zbundle(&hub, &["sign", &path(&at("lunana.request")), "--out", &path(&at("lunana.join"))]);
    zbundle(&clinic, &["join", &path(&at("lunana.join")), "--yes"]);
    zbundle(&clinic, &["push", "{\"phone\":\"17600000\"}", "--key", "Patient/BT 1", "--type", "patient"]);
    zbundle(&clinic, &["cut", "--to", "punakha-hub", "--out", &path(&stick)]);
    zbundle(&hub, &["ingest", &path(&stick)]);
    Folder { outer }
}

/// How a command ends, and what it prints.
pub fn ended(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let ended = command(dir).args(arguments).output().unwrap();
    (ended.status.code().unwrap(), String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr))
}

/// A process that serves a node through `http.sock`; killed when dropped.
pub struct Served {
    child: Child,
    socket: PathBuf,
    /// Where it listens by TCP, if it does.
    pub tcp: Option<String>,
}

impl Served {
    pub fn start(dir: &Path, more: &[&str]) -> Self {
        let mut child = command(dir).args(["serve", "--http=unix"]).args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut at = || lines.next().unwrap().unwrap().strip_prefix("HTTP at ").unwrap().to_owned();
        at();
        let tcp = more.contains(&"--http").then(|| at().strip_prefix("http://").unwrap().to_owned());
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, socket: dir.join("http.sock"), tcp }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        stream
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        request(&mut stream, method, path, &[&[("host", "zbundle"), ("connection", "close")], headers].concat(), body);
        let answer = Answer::read(stream);
        crate::contract::check(method, path, &answer);
        answer
    }

    pub fn post(&self, path: &str, kind: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", kind)], body.as_bytes())
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    /// A stream of events, behind its head.
    pub fn stream(&self, path: &str, last: Option<&str>) -> BufReader<Chunks<UnixStream>> {
        let mut stream = self.connect();
        let last = last.map(|last| ("last-event-id", last));
        request(&mut stream, "GET", path, &[("host", "zbundle")].into_iter().chain(last).collect::<Vec<_>>(), b"");
        let mut stream = BufReader::new(stream);
        let (status, _) = head(&mut stream);
        assert_eq!(status, 200);
        BufReader::new(Chunks { stream, left: 0 })
    }

    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Ask it to end; how long that took.
    pub fn end(mut self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        assert!(self.child.wait().unwrap().success());
        begun.elapsed()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap_or(()); // it ends in this moment by itself
            let _ = self.child.wait(); // it was ours to wait for, whatever it says
        }
    }
}

/// One request by TCP, headers as given.
pub fn by_tcp(address: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    request(&mut stream, "GET", path, &[headers, &[("connection", "close")]].concat(), b"");
    let answer = Answer::read(stream);
    crate::contract::check("GET", path, &answer);
    answer
}

/// A server that refuses may close while the body is still on its way: what it said counts.
fn request(stream: &mut impl Write, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    write!(stream, "{method} {path} HTTP/1.1\r\n{lines}content-length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(body).unwrap_or(());
}

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: impl Read) -> Self {
        let mut stream = BufReader::new(stream);
        let (status, headers) = head(&mut stream);
        let mut body = Vec::new();
        if headers.iter().any(|(name, _)| name == "transfer-encoding") {
            Chunks { stream, left: 0 }.read_to_end(&mut body).unwrap();
        } else {
            let len = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, len)| len.parse().unwrap());
            stream.take(len).read_to_end(&mut body).unwrap();
        }
        Self { status, headers, body }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

fn head(stream: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut lines = stream.lines().map(Result::unwrap);
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap();
    (status, lines.take_while(|line| !line.is_empty()).map(header).collect())
}

/// The body of a chunked response.
pub struct Chunks<S> {
    stream: BufReader<S>,
    left: usize,
}

impl<S: Read> Read for Chunks<S> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim(), 16).unwrap();
            if self.left == 0 {
                return Ok(0);
            }
        }
        let len = self.left.min(out.len());
        self.stream.read_exact(&mut out[..len])?;
        self.left -= len;
        if self.left == 0 {
            self.stream.read_exact(&mut [0; 2])?;
        }
        Ok(len)
    }
}

/// The next event of a stream: its id and its object.
pub fn event(stream: &mut impl BufRead) -> (String, Value) {
    let mut id = None;
    for line in stream.lines().map(Result::unwrap) {
        if let Some(text) = line.strip_prefix("id: ") {
            id = Some(text.to_owned());
        } else if let Some(text) = line.strip_prefix("data: ") {
            let event = serde_json::from_str(text).unwrap();
            crate::contract::fits("Event", &event, "GET /v1/stream");
            return (id.unwrap(), event);
        }
    }
    panic!("the stream has ended")
}
