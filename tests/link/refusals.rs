//! Refusals are told in one sentence to whoever sits at either side.

use crate::process::Ended;
use crate::world::{Server, World};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// What a refusal looks like at the side that dialled.
#[track_caller]
fn check_told(ended: &Ended, status: i32, code: &str, words: &str) {
    assert_eq!(ended.status, Some(status), "{ended:?}");
    let summary = ended.summary();
    assert!(!summary.is_complete() && summary.word("code") == code && summary.word("reason") == "failed", "{ended:?}");
    assert!(ended.err.contains(&format!("error {code}")) && ended.err.contains(words), "{words}: {}", ended.err);
}

/// … and at the side that was dialled: one line, with the row and words.
#[track_caller]
fn check_shown(server: Server, code: &str, words: &str) {
    let ended = server.end();
    let broken = ended.objects("broken");
    let found = broken.iter().any(|object| object["code"] == code && object["why"].as_str().unwrap().contains(words));
    assert!(found, "{code} {words}: {}", ended.out);
    assert!(broken.iter().all(|object| !object["why"].as_str().unwrap().contains('\n')), "{}", ended.out);
}

pub fn a_revoked_clinic_is_told_on_both_sides() {
    let world = World::of(&["clinic"]);
    let hub = world.serve("hub");
    let sync = || world.run("clinic", &["sync", &hub.address.to_string(), "--json"]);
    sync().expect(0);
    world.push("clinic", 3, "routine");
    world.ok("hub", &["revoke", "clinic"]); // while it serves
    let ended = sync();
    assert_eq!(world.log("hub", "clinic").len(), 0, "nothing is taken from it");
    check_told(&ended, 13, "Z622", "refuses our key");
    assert!(ended.took < Duration::from_secs(10), "no use in dialling again: {ended:?}");
    check_shown(hub, "Z614", "revoked");
}

pub fn a_stranger_is_told_on_both_sides() {
    let (world, elsewhere) = (World::of(&[]), World::of(&["stranger"]));
    elsewhere.push("stranger", 3, "routine");
    let hub = world.serve("hub");
    let ended = elsewhere.run("stranger", &["sync", &hub.address.to_string(), "--json"]);
    check_told(&ended, 13, "Z620", "roster");
    check_shown(hub, "Z620", "roster");
}

pub fn who_does_not_speak_our_tls_is_told() {
    let world = World::of(&["clinic"]);
    // A browser comes to us.
    let hub = world.serve("hub");
    let mut browser = TcpStream::connect(hub.address).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").unwrap();
    browser.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut answer = Vec::new();
    let _ = browser.read_to_end(&mut answer); // it may be reset
    assert!(answer.len() < 64, "a stranger learns nothing: {answer:?}");
    // We come to a web server.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        let (mut dialler, _) = web.accept().unwrap();
        assert!(dialler.read(&mut [0; 4096]).unwrap() > 0);
        dialler.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let ended = world.run("clinic", &["sync", &address.to_string(), "--json"]);
    serving.join().unwrap();
    check_told(&ended, 16, "Z504", "does not speak TLS");
    // And to ourselves.
    let ended = world.run("hub", &["sync", &hub.address.to_string(), "--json"]);
    check_told(&ended, 13, "Z616", "the node itself");
    check_shown(hub, "Z504", "does not speak TLS");
}

pub fn nobody_there_is_told() {
    let world = World::of(&["clinic"]);
    let ended = world.run("clinic", &["sync", &world.nobody().to_string(), "--json", "--deadline", "4s"]);
    check_told(&ended, 16, "Z501", "cannot be reached");
    assert_eq!(ended.summary().bytes(), 0);
    assert!(ended.summary().number("dials") > 1, "it tried again: {ended:?}");
    let ended = world.run("clinic", &["sync", "no-such-host.invalid:7070", "--json", "--deadline", "3s"]);
    check_told(&ended, 16, "Z501", "cannot be reached");
}

pub fn an_address_must_be_known_and_options_possible() {
    let world = World::of(&["clinic"]);
    let cases: &[(&[&str], i32, &str)] = &[
        (&["sync", "hub"], 2, "no address of hub is known: `zbundle peer hub HOST:PORT`"),
        (&["sync", "nobody"], 2, "nobody"),
        (&["sync", "hub:port"], 2, "is no HOST:PORT"),
        (&["sync", ":7070"], 2, "is no HOST:PORT"),
        (&["sync", "hub:7070", "--budget", "1K"], 2, "the handshake and one range take some 4 KB"),
        (&["sync", "hub:7070", "--budget", "1M/week"], 2, "no unit"),
        (&["sync", "hub:7070", "--dry-run", "--every", "1m"], 2, "cannot be used with"),
        (&["sync", "hub:7070", "--dry-run"], 2, "name the member"),
        (&["peer", "hub", "7070"], 2, "is no HOST:PORT"),
        (&["peer", "nobody", "hub:7070"], 2, "no member of that name"),
        (&["serve"], 2, "--listen"),
        (&["serve", "--listen", "nowhere"], 2, "is no HOST:PORT"),
        (&["serve", "--listen", "192.0.2.1:7070"], 16, "cannot listen at 192.0.2.1:7070"),
    ];
    for (arguments, status, words) in cases {
        let ended = world.run("clinic", arguments);
        assert!(ended.status == Some(*status) && ended.err.contains(words), "{arguments:?}, {status} {words}: {ended:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
    }
    let taken = world.serve("hub");
    let ended = world.run("clinic", &["serve", "--listen", &taken.address.to_string()]);
    assert!(ended.status == Some(16) && ended.err.contains("cannot listen"), "{ended:?}");
    let before_joining = World::of(&[]);
    before_joining.ok("alone", &["init", "alone"]);
    let ended = before_joining.run("alone", &["serve", "--listen", "127.0.0.1:0"]);
    assert!(ended.status == Some(13) && ended.err.contains("Z604"), "{ended:?}");
}
