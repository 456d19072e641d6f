//! A hub and a clinic with the real binary, and what they say.

use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_zbundle");

pub struct People {
    pub folder: tempfile::TempDir,
    pushed: u64,
    /// Nodes that other users keep, with the program as those may run it.
    users: BTreeMap<String, u32>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub summary: Value,
    pub said: String,
}

impl Ended {
    pub fn number(&self, key: &str) -> u64 {
        self.summary[key].as_u64().unwrap_or_else(|| panic!("no {key}: {self:?}"))
    }

    pub fn is_safe(&self) -> bool {
        self.summary["safe"] == true
    }

    fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
        let summary = out.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        Self { status: output.status.code(), summary, said: format!("{out}{err}") }
    }
}

impl People {
    pub fn new() -> Self {
        let people = Self { folder: tempfile::tempdir().unwrap(), pushed: 0, users: BTreeMap::new() };
        people.ok("hub", &["init", "punakha-hub", "--authority"]);
        people.ok("clinic", &["init", "lunana-bhu"]);
        people.ok("clinic", &["request", "--out", "clinic.request"]);
        people.ok("hub", &["sign", "clinic.request", "--out", "clinic.join"]);
        people.ok("clinic", &["join", "clinic.join", "--yes"]);
        people
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn start(&self, node: &str, args: &[&str]) -> Child {
        let user = self.users.get(node);
        let mut command = Command::new(user.map_or(PathBuf::from(PROGRAM), |_| self.path().join("zbundle")));
        user.map(|user| command.uid(*user).gid(*user));
        command.current_dir(self.path()).args(["--data-dir", node, "--json", "--quiet"]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// From now on `node` is another user's, on the machine of that user.
    pub fn move_to_user(&mut self, node: &str, user: u32) {
        std::fs::copy(PROGRAM, self.path().join("zbundle")).unwrap();
        std::fs::set_permissions(self.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let owner = format!("{user}:{user}");
        let (directory, key) = (self.path().join(node), self.path().join(format!("{node}.key")));
        crate::bed::run("chown", &["-R", &owner, directory.to_str().unwrap(), key.to_str().unwrap()]);
        self.users.insert(node.to_owned(), user);
    }

    pub fn run(&self, node: &str, args: &[&str]) -> Ended {
        Ended::of(self.start(node, args))
    }

    pub fn ok(&self, node: &str, args: &[&str]) -> Ended {
        let ended = self.run(node, args);
        assert_eq!(ended.status, Some(0), "{node} {args:?}: {ended:?}");
        ended
    }

    pub fn end(child: Child) -> Ended {
        Ended::of(child)
    }

    /// So many more records, of bytes that do not compress.
    pub fn push(&mut self, count: u64, len: usize) {
        use std::fmt::Write as _;
        let mut lines = String::new();
        for _ in 0..count {
            self.pushed += 1;
            writeln!(lines, "{{\"record\":{},\"scan\":\"{}\"}}", self.pushed, noise(self.pushed, len)).unwrap();
        }
        let path = self.path().join("records.ndjson");
        std::fs::write(&path, lines).unwrap();
        self.ok("clinic", &["push", "--ndjson", path.to_str().unwrap()]);
    }

    /// Every record pushed so far is at the hub, once.
    pub fn assert_all_arrived(&self, what: &str) {
        let log = self.run("hub", &["log", "--payload"]).said;
        let mut numbers: Vec<u64> = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|line| match &line["payload"] {
                Value::String(text) => serde_json::from_str::<Value>(text).ok()?["record"].as_u64(),
                payload => payload["record"].as_u64(),
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=self.pushed).collect::<Vec<_>>(), "{what}");
    }

    /// Bundles below `folder`, and those that are not whole.
    pub fn bundles(&self, folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let names = std::fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>()).unwrap_or_default();
        let bundle = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "zb");
        let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
        let whole = |path: &PathBuf| self.run("nobody", &["verify", path.to_str().unwrap()]).status == Some(0);
        names.into_iter().filter(|path| bundle(path) && !hidden(path)).partition(whole)
    }
}

/// Hexadecimal that no compressor makes shorter than half.
fn noise(seed: u64, len: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let digit = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        char::from_digit(u32::try_from(*state >> 60).unwrap(), 16).unwrap()
    };
    (0..len).map(|_| digit(&mut state)).collect()
}
