//! `netlab proxy` as scripts use it: lines in, lines of JSON out, an end of its own.
#![allow(clippy::disallowed_methods, reason = "a test of a builder's tool talks to the machine directly")]

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The program in front of a listener, and what it prints.
struct Program {
    child: Child,
    listener: TcpListener,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn new(args: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_netlab"));
        command.args(["proxy", "--to", &listener.local_addr().unwrap().to_string()]).args(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, listener, lines }
    }

    fn line(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Both ends of a connection through it.
    fn connect(&mut self) -> (TcpStream, TcpStream) {
        let address = self.line()["listening"].as_str().unwrap().to_owned();
        let dialer = TcpStream::connect(address).unwrap();
        (dialer, self.listener.accept().unwrap().0)
    }
}

#[test]
fn lines_steer_and_the_end_of_stdin_ends() {
    let mut program = Program::new(&["--until-stdin-closes", "--for", "10s"]);
    let (mut dialer, mut listener) = program.connect();
    dialer.write_all(b"hello").unwrap();
    listener.read_exact(&mut [0; 5]).unwrap();
    let mut stdin = program.child.stdin.take().unwrap();
    stdin.write_all(b"counts\ncut fin\n").unwrap();
    assert_eq!(program.line()["up"]["delivered_len"], 5);
    assert_eq!(listener.read(&mut [0]).unwrap(), 0, "cut, in order");
    drop(stdin);
    let counts = program.line();
    assert_eq!((&counts["connection_count"], &counts["connections"][0]["cut"]), (&1.into(), &"fin".into()));
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn it_ends_when_its_time_is_over() {
    let begun = Instant::now();
    let mut program = Program::new(&["--for", "200ms", "--cut-after", "up=2"]);
    let (mut dialer, mut listener) = program.connect();
    dialer.write_all(b"hello").unwrap();
    let mut heard = Vec::new();
    assert!(listener.read_to_end(&mut heard).is_err());
    assert_eq!(heard, b"he");
    assert_eq!(program.line()["up"]["delivered_len"], 2);
    assert!(program.child.wait().unwrap().success());
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}
