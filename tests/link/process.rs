//! A process of ours: what it says is read as it comes, and it ends with the value that holds it.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

/// How often a thing that must come is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// Wait until `there` finds it; the claim fails when it takes longer than `within`.
pub fn wait_for<T>(what: &str, within: Duration, mut there: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(begun.elapsed() < within, "{what}: not within {within:?}");
        sleep(LOOK);
    }
}

/// A process that runs; killed when dropped.
pub struct Process {
    child: Child,
    spelled: String,
    begun: Instant,
    out: Reader,
    err: Reader,
}

/// How a process ended, and all it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; none when a signal ended it.
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
    pub took: Duration,
}

struct Reader {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    fn of(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let into = Arc::clone(&text);
        let read = move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Some(len) = stream.read(&mut chunk).ok().filter(|len| *len > 0) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..len]));
            }
        };
        Self { text, thread: Some(std::thread::spawn(read)) }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn all(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.so_far()
    }
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Reader::of(child.stdout.take().unwrap()), Reader::of(child.stderr.take().unwrap()));
        Self { child, spelled: words.join(" "), begun: Instant::now(), out, err }
    }

    /// What it has said on stdout.
    pub fn said(&self) -> String {
        self.out.so_far()
    }

    /// What it has said on stderr.
    pub fn warned(&self) -> String {
        self.err.so_far()
    }

    pub fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(id, signal).unwrap_or(()); // it has ended already: whoever asks how sees that
    }

    pub fn kill(mut self) -> Ended {
        self.signal(Signal::KILL);
        self.ended()
    }

    /// Its end, by itself.
    pub fn end(mut self, within: Duration) -> Ended {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > within {
                self.signal(Signal::KILL);
                let ended = self.ended();
                panic!("`{}` did not end within {within:?}: {ended:?}", self.spelled);
            }
            sleep(LOOK);
        }
        self.ended()
    }

    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What the system calls it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Most memory it ever held beside the pages of its program, bytes.
    pub fn peak_memory(&self) -> u64 {
        self.peak_memory_so_far().unwrap()
    }

    /// As [`Process::peak_memory`]; none once it has ended.
    pub fn peak_memory_so_far(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Some(bytes("VmHWM:")?.saturating_sub(bytes("RssFile:")?))
    }

    fn ended(&mut self) -> Ended {
        let status = self.child.wait().unwrap().code();
        let took = self.begun.elapsed();
        Ended { status, out: self.out.all(), err: self.err.all(), took }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap_or(()); // it ends in this moment by itself
            let _ = self.child.wait(); // it was ours to wait for, whatever it says
        }
    }
}

impl Ended {
    /// It must have ended so.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self:?}");
        self
    }

    /// Objects of a type, as `--json` prints them.
    pub fn objects(&self, of: &str) -> Vec<Value> {
        self.out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|object| object["type"] == of).collect()
    }

    #[track_caller]
    pub fn summary(&self) -> Summary {
        Summary(self.objects("summary").pop().unwrap_or_else(|| panic!("no summary: {self:?}")))
    }
}

/// The last object of a command.
#[derive(Debug)]
pub struct Summary(pub Value);

impl Summary {
    #[track_caller]
    pub fn number(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap_or_else(|| panic!("{field}: {}", self.0))
    }

    #[track_caller]
    pub fn word(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("{field}: {}", self.0))
    }

    /// Bytes on the socket, both ways.
    pub fn bytes(&self) -> u64 {
        self.number("bytes_sent") + self.number("bytes_received")
    }

    #[track_caller]
    pub fn is_complete(&self) -> bool {
        self.0["complete"].as_bool().unwrap_or_else(|| panic!("complete: {}", self.0))
    }
}
