//! The clients in `tools/clients`, run as an application would, over lines that break off.

use crate::world::{self, Served};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/clients")
}

fn python(file: &str) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(clients().join(file));
    command
}

/// The TypeScript client, compiled beside its example; `None` where the machine has no Node or no compiler.
fn typescript(folder: &Path) -> Option<Command> {
    let works =
        |program| Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|ended| ended.success());
    if !works("node") || !works("tsc") {
        assert!(std::env::var_os("CI").is_none(), "node or tsc is missing: cargo xtask check installs them");
        return None;
    }
    std::fs::create_dir(folder).unwrap();
    let strict = ["--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2022,dom,dom.iterable", "--outDir"];
    let said = Command::new("tsc").args(strict).arg(folder).arg(clients().join("zbundle.ts")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    std::fs::write(folder.join("package.json"), "{\"type\":\"module\"}").unwrap();
    std::fs::copy(clients().join("example.mjs"), folder.join("example.mjs")).unwrap();
    let mut command = Command::new("node");
    command.arg(folder.join("example.mjs"));
    Some(command)
}

#[track_caller]
fn output(command: &mut Command, input: &[u8]) -> (i32, Vec<Value>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let ended = child.wait_with_output().unwrap();
    let lines = String::from_utf8(ended.stdout).unwrap();
    (ended.status.code().unwrap(), lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A line to a node that breaks off: `limit` says of each connection, by its number, after how many bytes of the answer.
fn breaking(socket: PathBuf, limit: impl Fn(usize) -> usize + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let limit = Arc::new(limit);
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (client, limit, socket) = (client.unwrap(), Arc::clone(&limit), socket.clone());
            std::thread::spawn(move || pass(&client, &socket, limit(number)));
        }
    });
    address
}

fn pass(client: &TcpStream, socket: &Path, mut left: usize) {
    let Ok(node) = UnixStream::connect(socket) else { return }; // the node is down: the client sees its connection end
    let (mut from, mut to) = (client.try_clone().unwrap(), node.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to).map_or((), drop));
    let (mut from, mut to, mut piece) = (&node, client, [0; 4096]);
    while let Ok(len @ 1..) = from.read(&mut piece) {
        // What was asked has been done by now, whether its answer arrives or not.
        let len = len.min(left);
        if to.write_all(&piece[..len]).is_err() {
            break;
        }
        left -= len;
        if left == 0 {
            break;
        }
    }
    client.shutdown(Shutdown::Both).unwrap_or(());
    node.shutdown(Shutdown::Both).unwrap_or(());
}

/// A program that follows the stream; killed when dropped.
struct Follower {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Follower {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn payload(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()["payload"].as_str().unwrap().to_owned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.child.kill().unwrap_or(()); // it ended by itself: its output has told
        let _ = self.child.wait(); // it was ours to wait for, whatever it says
    }
}

/// Push under a key: to an address, the key, the payload.
type Push<'a> = dyn Fn(&str, &str, &str) -> (i32, Vec<Value>) + 'a;

/// What every client can: `push KEY` stores once whatever becomes of the answers, `follow` misses and repeats nothing, and TCP wants the token.
fn does_its_work(served: &Served, dir: &Path, client: &dyn Fn(&str) -> Command, push: &Push<'_>) {
    // Every second answer is lost, and every stream breaks off after three events or so.
    let address = breaking(dir.join("http.sock"), |number| if number % 2 == 0 { 0 } else { 2000 });
    let (exit, first) = push(&address, "form-1", "{\"n\":0}");
    assert_eq!((exit, &first[0]["replayed"]), (0, &json!(true)), "its first answer was lost: {first:?}");
    let (_, again) = push(&address, "form-1", "{\"n\":0}");
    assert_eq!(again[0]["id"], first[0]["id"]);
    assert_eq!(push(&address, "form-1", "{\"n\":1}").0, 3, "a key used for another content is refused, not tried again");
    for number in 1..8 {
        served.post("/v1/events", "application/json", &format!("{{\"n\":{number}}}"));
    }
    let behind = served.get("/v1/events?limit=3").json()["next"].as_str().unwrap().to_owned();
    let mut follower = Follower::start(client(&address).args(["follow", &behind]));
    let mut told: Vec<_> = (3..8).map(|_| follower.payload()).collect();
    for number in 8..16 {
        served.post("/v1/events", "application/json", &format!("{{\"n\":{number}}}"));
        told.push(follower.payload());
    }
    assert_eq!(told, (3..16).map(|number| format!("{{\"n\":{number}}}")).collect::<Vec<_>>());
    // By the node's own door, TCP with the token.
    let tcp = format!("http://{}", served.tcp.as_ref().unwrap());
    assert_eq!(output(client(&tcp).arg("events"), b"").0, 3, "no token");
    let token = std::fs::read_to_string(dir.join("http.token")).unwrap();
    let (exit, all) = output(client(&tcp).arg("events").env("ZBUNDLE_TOKEN", token.trim()), b"");
    assert_eq!((exit, all.len()), (0, 16));
    assert_eq!((&all[0]["key"], &all[0]["author"]), (&json!("r"), &json!("a b")));
}

#[test]
fn the_python_client_loses_and_doubles_nothing_over_a_line_that_breaks() {
    let dir = world::node();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let client = |address: &str| {
        let mut command = python("zbundle.py");
        command.arg(address);
        command
    };
    let push = |address: &str, key: &str, body: &str| output(client(address).args(["push", key, "key=r", "author=a b"]), body.as_bytes());
    does_its_work(&served, &dir.path(), &client, &push);
    // By the node's own door, its socket.
    let socket = format!("unix:{}", dir.path().join("http.sock").display());
    let (exit, said) = push(&socket, "form-1", "{\"n\":0}");
    assert_eq!((exit, &said[0]["replayed"]), (0, &json!(true)));
}

#[test]
fn the_typescript_client_loses_and_doubles_nothing_over_a_line_that_breaks() {
    let dir = world::node();
    let Some(compiled) = typescript(&dir.path().with_file_name("compiled")) else { return };
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let client = |address: &str| {
        let mut command = Command::new("node");
        command.args(compiled.get_args()).arg(address);
        command
    };
    let push = |address: &str, key: &str, body: &str| output(client(address).args(["push", key, body]), b"");
    does_its_work(&served, &dir.path(), &client, &push);
}

/// Until `is` is true of what `ask` says.
#[track_caller]
fn wait<T: std::fmt::Debug>(ask: impl Fn() -> T, is: impl Fn(&T) -> bool) {
    let begun = std::time::Instant::now();
    loop {
        let said = ask();
        if is(&said) {
            return;
        }
        assert!(begun.elapsed() < std::time::Duration::from_mins(2), "still {said:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The moments at which an outbox can go wrong: the row is pushed and not noted, the answer is lost, the node dies. Each is brought about, not hoped for.
#[test]
fn an_outbox_is_drained_exactly_once_whatever_is_killed() {
    let dir = world::node();
    let (socket, file) = (dir.path().join("http.sock"), dir.path().with_file_name("app.db"));
    let schema = python("outbox.py").arg("schema").output().unwrap();
    let database = rusqlite::Connection::open(&file).unwrap();
    database.execute_batch(std::str::from_utf8(&schema.stdout).unwrap()).unwrap();
    database.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
    let drain = |address: &str| {
        let mut command = python("outbox.py");
        command.args(["drain".as_ref(), file.as_os_str(), address.as_ref()]);
        command
    };
    let noted = || database.query_row("SELECT count(event_id) FROM zb_outbox", [], |row| row.get::<_, u32>(0)).unwrap();
    let logged = |served: &Served| served.get("/v1/events").json()["events"].as_array().unwrap().len();
    let mut served = Served::start(&dir.path(), &[]);
    for round in 0..3_u32 {
        for number in 0..4 {
            let payload = format!("{{\"row\":{}}}", round * 4 + number);
            database.execute("INSERT INTO zb_outbox (key, payload) VALUES ('r', ?)", [payload]).unwrap();
        }
        // It is killed between the node's answer and its note: while we write to the table, it cannot.
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut killed = drain(&format!("unix:{}", socket.display())).spawn().unwrap();
        wait(|| logged(&served), |count| *count == round as usize * 4 + 1);
        killed.kill().unwrap();
        killed.wait().unwrap();
        database.execute_batch("ROLLBACK").unwrap();
        assert_eq!(noted(), round * 4);
        // Another goes on; every second answer to it is lost, and the node is killed in the middle.
        let address = breaking(socket.clone(), |number| if number % 2 == 0 { 0 } else { usize::MAX });
        let mut child = drain(&address).spawn().unwrap();
        wait(noted, |count| *count > round * 4);
        served.kill();
        served = Served::start(&dir.path(), &[]);
        assert!(child.wait().unwrap().success());
        assert_eq!(noted(), round * 4 + 4);
    }
    let rows: Vec<(String, String)> = database
        .prepare("SELECT event_id, payload FROM zb_outbox ORDER BY number")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let page = served.get("/v1/events").json();
    let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    let events: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| (text(event, "id"), text(event, "payload"))).collect();
    assert_eq!(events, rows, "each row once, in its order, under the id that its row names");
    // What the node refuses holds up no other.
    database.execute_batch("INSERT INTO zb_outbox (payload) VALUES ('{'), ('{}')").unwrap();
    assert_eq!(drain(&format!("unix:{}", socket.display())).status().unwrap().code(), Some(3));
    let refused: String = database.query_row("SELECT refused FROM zb_outbox WHERE number = 13", [], |row| row.get(0)).unwrap();
    assert!(refused.contains("Z431") && noted() == 13, "{refused}");
}
