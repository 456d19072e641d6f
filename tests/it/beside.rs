//! Commands beside a process that stays: the real binary against a standing node in a thread of ours, or in a process that can be killed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use zbundle::adapters::os_ports;
use zbundle::keys::Secret;
use zbundle::node::local::{Line, Lines, listen, open_beside, serve_control};
use zbundle::node::standing::Standing;
use zbundle::node::{Node, Opening, layout::Layout};

/// Set for a process of ours that keeps or borrows the node in the directory it names.
const KEEP: &str = "ZBUNDLE_TEST_KEEP";
const BORROW: &str = "ZBUNDLE_TEST_BORROW";

struct Place(tempfile::TempDir);

impl Place {
    /// One node, an authority.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.ok("ada", &["init", "ada", "--authority"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, node: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zbundle"));
        command.args(arguments).arg("--data-dir").arg(self.path(node)).current_dir(self.0.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, node: &str, arguments: &[&str]) -> Output {
        self.command(node, arguments).output().unwrap()
    }

    /// Stdout of a command that succeeds.
    fn ok(&self, node: &str, arguments: &[&str]) -> String {
        let output = self.run(node, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Ids of all events of the routine lane.
    fn log(&self, node: &str) -> Vec<String> {
        let listed = self.ok(node, &["log", "--lane", "routine", "--format", "json"]);
        listed.lines().filter_map(|line| Some(line.split_once("\"id\":\"")?.1.split_once('"')?.0.to_owned())).collect()
    }

    fn payloads(&self, node: &str) -> Vec<String> {
        let listed = self.ok(node, &["log", "--lane", "routine", "--format", "json", "--payload"]);
        let events = listed.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        events.filter_map(|event| Some(event["payload"].as_str()?.to_owned())).collect()
    }

    fn keep(&self, node: &str) -> Keeper {
        let (data_dir, key_file) = (self.path(node), self.path(&format!("{node}.key")));
        let (stop, stopped) = watch::channel(false);
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || keep(&data_dir, &key_file, stopped, move || ready.send(()).unwrap()));
        is_ready.recv().unwrap();
        Keeper { stop, thread }
    }

    /// A process of this test binary; it prints a line when it is ready.
    fn process(&self, test: &str, task: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--quiet"]).env(task, self.path("ada")).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("ready")));
        Process(child)
    }
}

struct Process(Child);

impl Process {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct Keeper {
    stop: watch::Sender<bool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Keeper {
    /// End in order; how many durable commits there were.
    fn end(self) -> u64 {
        self.stop.send(true).unwrap();
        self.thread.join().unwrap()
    }
}

fn keep(data_dir: &Path, key_file: &Path, stopped: watch::Receiver<bool>, ready: impl FnOnce()) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let ports = os_ports();
        let secret = Secret::read_key_file(&*ports.disk, key_file).unwrap();
        let node = Node::open(&ports, &Opening { data_dir, secret: &secret, lock_wait_ms: 5000 }).unwrap();
        let standing = Standing::new(ports.clone(), data_dir.to_owned(), secret, node);
        let listener = listen(&ports, data_dir).unwrap();
        ready();
        let runner = Rc::new(|command: String, lines: Lines| {
            Box::pin(async move {
                for word in command.split(' ') {
                    lines.tell(word.to_owned()).await;
                }
                7_u8
            }) as std::pin::Pin<Box<dyn Future<Output = u8>>>
        });
        let changes = standing.changes();
        serve_control(standing.clone(), listener, runner, stopped).await;
        standing.close().await.unwrap();
        *changes.borrow()
    })
}

/// Not a test unless a test starts it: a process that keeps the node until it is killed.
#[test]
fn a_process_that_keeps() {
    if let Some(data_dir) = std::env::var_os(KEEP).map(PathBuf::from) {
        let (_stop, stopped) = watch::channel(false);
        keep(&data_dir, &data_dir.with_extension("key"), stopped, || println!("\nready"));
    }
}

/// Not a test unless a test starts it: a command that borrows the node and does not give it back.
#[test]
fn a_process_that_borrows() {
    if let Some(data_dir) = std::env::var_os(BORROW).map(PathBuf::from) {
        let ports = os_ports();
        let secret = Secret::read_key_file(&*ports.disk, &data_dir.with_extension("key")).unwrap();
        let _node = open_beside(&ports, &Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: 5000 }).unwrap();
        println!("\nready");
        std::thread::sleep(Duration::from_mins(1));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines_of(output: &Output) -> Vec<String> {
    text(&output.stdout).lines().map(str::to_owned).collect()
}

fn ndjson(name: &str, count: u32) -> String {
    let line = |number| format!(r#"{{"from":"{name}","number":{number},"note":"sixty bytes of what a clinic might write"}}"#) + "\n";
    (0..count).map(line).collect()
}

/// Feed `input` from another thread, `pause` after each line.
fn feed(child: &mut Child, input: String, pause: Duration) -> std::thread::JoinHandle<()> {
    let mut stdin = child.stdin.take().unwrap();
    std::thread::spawn(move || {
        for line in input.split_inclusive('\n') {
            if stdin.write_all(line.as_bytes()).is_err() {
                return;
            }
            std::thread::sleep(pause);
        }
    })
}

#[test]
fn every_command_works_beside_a_process_that_stays() {
    let place = Place::new();
    let alone = place.ok("ada", &["push", "alone"]);
    let keeper = place.keep("ada");
    place.ok("bob", &["init", "bob"]);
    let bob = place.keep("bob");
    place.ok("bob", &["request", "--out", "bob.request"]);
    place.ok("ada", &["sign", "bob.request", "--out", "bob.join"]);
    place.ok("bob", &["join", "bob.join", "--yes"]);
    place.ok("ada", &["policy", "bob", "all"]);
    let beside = place.ok("ada", &["push", "beside"]);
    assert_eq!(beside.trim_end(), alone.trim_end().replace(":1", ":2"), "the same form, the next number");
    std::fs::write(place.path("large"), vec![b'x'; 1 << 20]).unwrap();
    assert!(place.ok("ada", &["push", "--file", "large"]).ends_with(":3\n"));
    place.ok("ada", &["push", "directed", "--to", "bob", "--lane", "urgent"]);
    place.ok("ada", &["cut", "--to", "bob", "--out", "stick"]);
    place.ok("bob", &["ingest", "stick"]);
    place.ok("bob", &["push", "and back"]);
    place.ok("bob", &["cut", "--to", "ada", "--out", "stick2"]);
    place.ok("ada", &["ingest", "stick2"]);
    for reader in ["status", "members", "held", "fsck"] {
        place.ok("ada", &[reader]);
    }
    let events = place.payloads("ada");
    assert!(events.contains(&"beside".to_owned()) && events.contains(&"and back".to_owned()), "{events:?}");
    assert_eq!(place.log("ada").len(), place.log("bob").len());
    bob.end();
    keeper.end();
    assert!(!place.path("ada/ctl.sock").exists());
    place.ok("ada", &["push", "alone again"]);
}

/// R10.2-a: the name `LOCK` may go; who keeps the node keeps it.
#[test]
fn nobody_writes_beside_a_process_that_stays_though_its_lock_file_was_removed() {
    let place = Place::new();
    place.ok("ada", &["push", "before"]);
    let keeper = place.keep("ada");
    std::fs::remove_file(place.path("ada/LOCK")).unwrap();
    place.ok("ada", &["push", "through the one that stays"]);
    std::fs::rename(place.path("ada/ctl.sock"), place.path("ctl.sock")).unwrap();
    let refused = place.run("ada", &["push", "beside", "--lock-wait", "0s"]);
    assert_eq!(refused.status.code(), Some(11), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("Z104"));
    std::fs::rename(place.path("ctl.sock"), place.path("ada/ctl.sock")).unwrap();
    place.ok("ada", &["push", "after"]);
    keeper.end();
    assert_eq!(place.payloads("ada"), ["before", "through the one that stays", "after"]);
}

#[test]
fn a_push_is_refused_beside_as_it_is_alone() {
    let place = Place::new();
    std::fs::write(place.path("lines"), "{}\n\nnot json\n[1]\n").unwrap();
    let cases: &[&[&str]] = &[
        &["push", "x", "--to", "nobody"],
        &["push", "x", "--to", "ada"],
        &["push", "x", "--base", "nothing:1"],
        &["push", "x", "--type", "zb/enrol"],
        &["push", "x", "--key-file", "missing"],
        &["push", "--file", "missing"],
        &["push", "--ndjson", "lines"],
        &["push", "--ndjson", "lines", "--json"],
    ];
    let numbers = |output: &Output| text(&output.stdout).replace("routine:3", "routine:1").replace("routine:4", "routine:2");
    let alone: Vec<_> = cases.iter().map(|case| place.run("ada", case)).collect();
    let place = Place::new();
    std::fs::write(place.path("lines"), "{}\n\nnot json\n[1]\n").unwrap();
    let keeper = place.keep("ada");
    for (case, alone) in cases.iter().zip(alone) {
        let beside = place.run("ada", case);
        assert_eq!(beside.status.code(), alone.status.code(), "{case:?}");
        let masked = |output: &Output| numbers(output).replace(|c: char| c.is_ascii_hexdigit(), "#");
        assert_eq!(masked(&beside), masked(&alone), "{case:?}");
        let told = |output: &Output| text(&output.stderr).replace(place.0.path().to_str().unwrap(), "");
        assert_eq!(told(&beside).lines().next(), told(&alone).lines().next(), "{case:?}");
    }
    keeper.end();
}

#[test]
fn two_who_push_thousands_of_lines_at_once_share_syncs_and_get_every_id_once() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let mut clients: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            let mut child = place.command("ada", &["push", "--ndjson", "-"]).stdin(Stdio::piped()).spawn().unwrap();
            let feeder = feed(&mut child, ndjson(name, 5000), Duration::ZERO);
            (child, feeder)
        })
        .collect();
    let mut ids = BTreeSet::new();
    for (child, feeder) in clients.drain(..) {
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let acked = lines_of(&output);
        assert_eq!(acked.len(), 5000);
        let numbers: Vec<u64> = acked.iter().map(|id| id.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "acks come in the order of the lines");
        ids.extend(acked);
    }
    assert_eq!(ids.len(), 10_000, "no id twice");
    assert_eq!(place.log("ada").into_iter().collect::<BTreeSet<_>>(), ids);
    let commits = keeper.end();
    assert!(commits < 1000, "{commits} commits for 10 000 events");
}

#[test]
fn a_borrower_that_is_killed_gives_the_node_back() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let borrower = place.process("beside::a_process_that_borrows", BORROW);
    let refused = place.run("ada", &["push", "x", "--lock-wait", "0s"]);
    assert_eq!(refused.status.code(), Some(11), "{}", text(&refused.stderr));
    let refused = place.run("ada", &["policy", "ada", "all", "--lock-wait", "0s"]);
    assert_eq!(refused.status.code(), Some(11), "{}", text(&refused.stderr));
    let waiting = place.command("ada", &["push", "waiting", "--lock-wait", "30s"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    borrower.kill();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    place.ok("ada", &["push", "after"]);
    keeper.end();
    assert_eq!(place.payloads("ada"), ["waiting", "after"]);
}

#[test]
fn when_the_keeping_process_is_killed_a_push_says_what_is_known_and_nothing_acknowledged_is_missing() {
    let place = Place::new();
    let keeper = place.process("beside::a_process_that_keeps", KEEP);
    let mut child = place.command("ada", &["push", "--ndjson", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let feeder = feed(&mut child, ndjson("one", 100_000), Duration::ZERO);
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acked: Vec<String> = acks.by_ref().take(50).map(Result::unwrap).collect();
    keeper.kill();
    acked.extend(acks.map(Result::unwrap));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    let status = child.wait().unwrap();
    feeder.join().unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains("error Z110") && told.contains(&format!("line {} is the last one known to be stored", acked.len())), "{told}");
    assert!(place.path("ada/ctl.sock").exists(), "nobody was there to take the name away");
    let stored: BTreeSet<_> = place.log("ada").into_iter().collect();
    assert!(acked.iter().all(|id| stored.contains(id)), "nothing acknowledged is missing");
    let next = place.ok("ada", &["push", "goes on alone beside the stale name"]);
    assert!(!stored.contains(next.trim_end()));
    let keeper = place.keep("ada");
    place.ok("ada", &["push", "and through a new one"]);
    keeper.end();
}

#[test]
fn when_the_keeping_process_ends_in_order_a_push_goes_on_by_itself_and_every_line_is_stored_once() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let mut child = place.command("ada", &["push", "--ndjson", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let feeder = feed(&mut child, ndjson("one", 20_000), Duration::ZERO);
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acked: Vec<String> = acks.by_ref().take(50).map(Result::unwrap).collect();
    let through = keeper.end();
    acked.extend(acks.map(Result::unwrap));
    assert!(child.wait().unwrap().success());
    feeder.join().unwrap();
    assert!(through > 0);
    assert_eq!(acked.len(), 20_000);
    assert_eq!(place.log("ada"), acked, "each line once, in order");
    assert_eq!(place.payloads("ada").join("\n") + "\n", ndjson("one", 20_000));
}

#[test]
fn large_lines_between_small_ones_are_written_on_a_lease_in_their_order() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let large = format!("\"{}\"\n", "x".repeat(300_000));
    let medium = format!("\"{}\"\n", "y".repeat(65_000));
    let input = [ndjson("a", 3), large.clone(), medium, ndjson("b", 2), large].concat();
    let mut child = place.command("ada", &["push", "--ndjson", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let feeder = feed(&mut child, input.clone(), Duration::ZERO);
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(lines_of(&output).len(), 8);
    keeper.end();
    assert_eq!(lines_of(&output), place.log("ada"));
    assert_eq!(place.payloads("ada").join("\n") + "\n", input);
}

/// Longer than the kernel has room for in the name of a socket.
#[test]
fn a_data_directory_may_have_a_long_path() {
    let place = Place::new();
    let node = format!("{}/ada", "a folder with a long name/".repeat(8));
    std::fs::create_dir_all(place.path(&node).parent().unwrap()).unwrap();
    place.ok(&node, &["init", "ada"]);
    let keeper = place.keep(&node);
    place.ok(&node, &["push", "x"]);
    std::fs::write(place.path("large"), vec![b'x'; 100_000]).unwrap();
    place.ok(&node, &["push", "--file", "large"]);
    assert!(keeper.end() > 0, "it went through the socket");
}

#[test]
fn a_slow_writer_gets_each_ack_at_once() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let mut child = place.command("ada", &["push", "--ndjson", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 1..=3 {
        writeln!(stdin, "{number}").unwrap();
        assert!(acks.next().unwrap().unwrap().ends_with(&format!(":{number}")));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    keeper.end();
}

#[test]
fn a_slow_or_hostile_client_delays_nobody() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let connect = || UnixStream::connect(place.path("ada/ctl.sock")).unwrap();
    let mut silent: Vec<_> = (0..8).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(&[0, 0, 0, 50, 1]).unwrap();
    let mut huge = connect();
    huge.write_all(&[0xff; 64]).unwrap();
    // One that asks without end and never listens.
    let frame = |word: &serde_json::Value| {
        let mut body = Vec::new();
        ciborium::into_writer(word, &mut body).unwrap();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    };
    let mut deaf = connect();
    deaf.set_nonblocking(true).unwrap();
    deaf.write_all(&frame(&serde_json::json!({"Hello": {"version": 1}}))).unwrap();
    let ask = frame(&serde_json::json!({"Run": {"command": "a b c d e f g h i j k l m n o p q r s t u v w x y z"}})).repeat(100);
    let mut sent = 0;
    while let Ok(len) = deaf.write(&ask[sent % ask.len()..]) {
        sent += len;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(sent < 4 << 20, "it is not read further than it listens: {sent}");
    let begun = Instant::now();
    for _ in 0..5 {
        place.ok("ada", &["push", "x"]);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut answer = Vec::new();
    huge.read_to_end(&mut answer).unwrap();
    assert!(text(&answer).contains("Refused"), "told and left: {}", text(&answer));
    silent.clear();
    keeper.end();
}

#[test]
fn a_command_given_to_the_process_that_stays_streams_its_lines_back() {
    let place = Place::new();
    let keeper = place.keep("ada");
    let ports = os_ports();
    let mut line = Line::reach(&ports, &Layout::new(&place.path("ada")), 5000).unwrap().unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        let exit = line.run("one two three".to_owned(), |line| {
            told.push(line.to_owned());
            Ok::<_, zbundle::node::NodeError>(())
        });
        assert_eq!(exit.unwrap(), Some(7));
    }
    assert_eq!(told, ["one", "two", "three", "one", "two", "three"]);
    keeper.end();
    let gone = line.run("x".to_owned(), |_| Ok::<_, zbundle::node::NodeError>(()));
    assert_eq!(gone.unwrap(), None);
}
