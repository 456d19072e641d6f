//! A node and the users of its machine. Files are given to another user, so these need root: elsewhere they say that they were not tried, but fail where CI
//! is set.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const ROOT: u32 = 0;
/// Whose the node is.
const USER: u32 = 65_534;

/// A folder with a hub `n` of another user's, whose key file only root and that user's group can read, as docs and packaging have it.
struct Machine(tempfile::TempDir);

impl Machine {
    /// None where this user may not give files away.
    fn new() -> Option<Self> {
        let machine = Self(tempfile::tempdir().unwrap());
        if machine.0.path().metadata().unwrap().uid() != ROOT {
            assert!(std::env::var_os("CI").is_none(), "this needs root, to give files to another user");
            println!("NOT TRIED: this needs root, to give files to another user");
            return None;
        }
        std::fs::set_permissions(machine.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_zbundle"), machine.path("zbundle")).unwrap();
        for args in [&["init", "hub", "--authority"][..], &["push", "{\"a\":1}", "--key", "a"]] {
            let done = machine.run(ROOT, args);
            assert!(done.status.success(), "root's own node: {done:?}");
        }
        machine.files().into_keys().for_each(|path| chown(path, Some(USER), Some(USER)).unwrap());
        machine.lend_key(ROOT, 0o640);
        Some(machine)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn lend_key(&self, owner: u32, mode: u32) {
        chown(self.path("n.key"), Some(owner), Some(USER)).unwrap();
        std::fs::set_permissions(self.path("n.key"), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn command(&self, user: u32, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("zbundle"));
        command.uid(user).gid(user).current_dir(self.0.path()).args(["--data-dir", "n"]).args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, user: u32, args: &[&str]) -> Output {
        let mut command = self.command(user, args);
        when_it_may_run(|| command.output())
    }

    /// Everything in the data directory, itself too, and whose it is.
    fn files(&self) -> BTreeMap<PathBuf, u32> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.path("n")]);
        while let Some(folder) = folders.pop() {
            found.insert(folder.clone(), folder.metadata().unwrap().uid());
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let metadata = path.symlink_metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path, metadata.uid());
                }
            }
        }
        found
    }

    #[track_caller]
    fn assert_all_the_users(&self, what: &str) {
        let foreign: Vec<_> = self.files().into_iter().filter(|(_, owner)| *owner != USER).collect();
        assert!(foreign.is_empty(), "{what}: {foreign:?}");
    }
}

/// A process that another test is just starting holds our copy of the program open for writing until it has become another program.
fn when_it_may_run<T>(mut start: impl FnMut() -> std::io::Result<T>) -> T {
    loop {
        match start() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::sleep(Duration::from_millis(20)),
            started => return started.unwrap(),
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// R10.2-k: a `cut` typed as root on a hub's machine, and the hub could write nothing from then on.
#[test]
fn root_writes_nothing_into_the_node_of_another_user() {
    let Some(machine) = Machine::new() else { return };
    // Root may use a key file that only root can read, and so gets past the key.
    machine.lend_key(ROOT, 0o600);
    let before = machine.files();
    let writing: [&[&str]; 8] = [
        &["push", "x"],
        &["push", "{}", "--key", "a", "--idempotency-key", "1"],
        &["cut", "--to", "hub", "--out", "out"],
        &["request"],
        &["held", "drop"],
        &["conflicts", "list"],
        &["project"],
        &["serve", "--listen", "127.0.0.1:0"],
    ];
    for args in writing {
        let done = machine.run(ROOT, args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {}", said(&done));
        assert!(said(&done).contains("error Z112") && said(&done).contains("-u '#65534'"), "{args:?}: {}", said(&done));
        assert_eq!(machine.files(), before, "{args:?}");
    }
    for args in [&["status"][..], &["log"], &["members"], &["fsck"], &["project", "--to", "tables.db"]] {
        let done = machine.run(ROOT, args);
        assert!(done.status.success() && !said(&done).contains("Z112"), "who writes nothing may look: {args:?}: {}", said(&done));
        assert_eq!(machine.files(), before, "{args:?}");
    }
    machine.lend_key(ROOT, 0o640);
    let done = machine.run(USER, &["push", "x"]);
    assert!(done.status.success(), "its user goes on: {}", said(&done));
}

/// R8.6-d: who did what was said, `chmod 600` and then `chown`, locked the service out.
#[test]
fn a_key_file_of_another_user_is_told_from_one_that_others_can_read() {
    let Some(machine) = Machine::new() else { return };
    std::fs::write(machine.path("words"), "a passphrase\n").unwrap();
    let cases = [
        (USER, 0o600, ROOT, "it belongs to another user, of the number 65534: run this as that user"),
        (USER, 0o644, ROOT, "it belongs to another user, of the number 65534: run this as that user"),
        (USER, 0o640, USER, "others can read it; make it readable by you alone (chmod 600)"),
        (ROOT, 0o644, USER, "others can read it; as it is root's, at most one group may (chmod 640)"),
        (ROOT, 0o644, ROOT, "others can read it; make it readable by you alone (chmod 600)"),
    ];
    for (owner, mode, user, why) in cases {
        machine.lend_key(owner, mode);
        chown(machine.path("words"), Some(owner), Some(USER)).unwrap();
        std::fs::set_permissions(machine.path("words"), PermissionsExt::from_mode(mode)).unwrap();
        for args in [&["status"][..], &["--passphrase-file", "words", "status"]] {
            let done = machine.run(user, args);
            assert_eq!(done.status.code(), Some(12), "{args:?}: {}", said(&done));
            assert!(said(&done).contains(why), "{owner} {mode:o}, run by {user}, {args:?}: {}", said(&done));
            assert_eq!(said(&done).contains("chmod"), why.contains("chmod"), "{}", said(&done));
        }
    }
    machine.lend_key(ROOT, 0o640);
    for user in [ROOT, USER] {
        let done = machine.run(user, &["status"]);
        assert!(done.status.success(), "root's, lent to a group, is good for both: {}", said(&done));
    }
}

#[test]
fn who_may_not_read_a_node_hears_that_it_is_another_users() {
    let Some(machine) = Machine::new() else { return };
    let done = machine.run(USER - 1, &["status"]);
    assert!(said(&done).contains("error Z201") && said(&done).contains("Permission denied"), "{}", said(&done));
    assert!(said(&done).contains("where permission is denied it is another user's"), "{}", said(&done));
}

/// What goes through the socket is written by whose node it is.
#[test]
fn root_may_push_through_the_process_that_keeps_the_node() {
    let Some(machine) = Machine::new() else { return };
    machine.run(USER, &["project"]);
    let mut serve = machine.command(USER, &["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = when_it_may_run(|| serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn());
    let begun = Instant::now();
    while !machine.path("n/ctl.sock").exists() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    machine.lend_key(ROOT, 0o600);
    let (pushed, refused, looked) = (machine.run(ROOT, &["push", "x"]), machine.run(ROOT, &["held", "drop"]), machine.run(ROOT, &["status"]));
    machine.assert_all_the_users("while it is served");
    machine.lend_key(ROOT, 0o640);
    let after = machine.run(USER, &["push", "y"]);
    serve.kill().unwrap();
    serve.wait().unwrap();
    assert!(pushed.status.success(), "{}", said(&pushed));
    assert!(said(&refused).contains("error Z112"), "{}", said(&refused));
    assert!(looked.status.success(), "tables that are there are looked at: {}", said(&looked));
    assert!(after.status.success(), "the hub still takes what comes: {}", said(&after));
    machine.assert_all_the_users("at the end");
}
