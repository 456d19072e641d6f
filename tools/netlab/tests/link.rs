//! The emulated link, as the program its callers start: what it passes on, and that nothing of it stays behind.
//!
//! Where root or /dev/net/tun is missing, the claim is the other one: it says so and exits 77.
#![allow(clippy::disallowed_methods, reason = "a test of a builder's tool talks to the machine directly")]

use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn netlab(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netlab"));
    command.arg("link").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Run it; `None` where this machine cannot, and it said so.
fn run(args: &[&str]) -> Option<(Output, serde_json::Value)> {
    ended(netlab(args).spawn().unwrap())
}

fn ended(child: Child) -> Option<(Output, serde_json::Value)> {
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(spaces(id), [false, false], "the namespaces are gone");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !can() {
        assert_eq!(output.status.code(), Some(77), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        return None;
    }
    let report = serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{said}"));
    Some((output, report))
}

fn can() -> bool {
    geteuid().is_root() && Path::new("/dev/net/tun").exists()
}

fn spaces(id: u32) -> [bool; 2] {
    ["a", "b"].map(|end| Path::new(&format!("/run/netns/netlab-{id}-{end}")).exists())
}

#[test]
fn both_ends_run_and_the_exit_status_is_as() {
    let a = "sh -c 'grep -c : /proc/net/dev; exit 3'";
    let Some((output, report)) = run(&["--rate", "0", "--", a, ":::", "sh -c 'exit 4'"]) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2\n", "loopback, the link, nothing else");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((&report["a_rc"], &report["b_rc"]), (&3.into(), &4.into()));
}

#[test]
fn packets_cross_the_link_as_late_as_told() {
    // Without a listener the kernel answers with a reset: one packet there, one back.
    let dial = "bash -c 'exec 3<>/dev/tcp/10.77.0.2/9'";
    let Some((_, report)) = run(&["--rate", "0", "--delay", "200ms/300ms", "--", dial]) else { return };
    assert_eq!((&report["a_to_b"]["syn"], &report["b_to_a"]["rst"]), (&1.into(), &1.into()), "{report}");
    let a_s = report["a_s"].as_f64().unwrap();
    assert!((0.5..1.5).contains(&a_s), "{a_s}");
}

#[test]
fn a_timeout_ends_both() {
    let begun = Instant::now();
    let Some((output, report)) = run(&["--timeout", "0.3", "--", "sleep 30", ":::", "sleep 30"]) else { return };
    assert_eq!(output.status.code(), Some(124));
    assert_eq!((&report["timed_out"], &report["a_rc"]), (&true.into(), &serde_json::Value::Null));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_signal_ends_both_and_takes_the_namespaces_away() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = netlab(&["--", "sleep 30", ":::", "sleep 30"]).spawn().unwrap();
        let begun = Instant::now();
        while can() && spaces(child.id()) != [true, true] && child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the namespaces are made");
            sleep(Duration::from_millis(10));
        }
        if can() {
            sleep(Duration::from_millis(100));
            kill_process(Pid::from_child(&child), signal).unwrap();
        }
        let Some((output, report)) = ended(child) else { return };
        assert_eq!(output.status.code(), Some(130), "{report}");
    }
}

#[test]
fn a_stubborn_end_is_killed_when_the_other_is_done() {
    let stubborn = r#"sh -c 'trap "" TERM; while :; do sleep 1; done'"#;
    let Some((output, report)) = run(&["--linger", "0.1", "--", "true", ":::", stubborn]) else { return };
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(report["b_rc"], serde_json::Value::Null);
}

#[test]
fn what_is_missing_is_said_and_told_by_the_exit_status() {
    let output = netlab(&["--", "true"]).env("PATH", "/nowhere").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(77), "{said}");
    assert!(!can() || said.contains("iproute2"), "{said}");
}
