//! The real program on real folders: nodes of one domain, driven by the command line as a script would.

use crate::Failure;
use crate::measure::{Cost, Input, measure};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program under measure, and where its nodes live.
#[derive(Clone, Debug)]
pub struct Zbundle {
    /// The binary.
    pub program: PathBuf,
    /// A folder on the disk that is measured; emptied by every bench.
    pub scratch: PathBuf,
}

/// One data directory.
#[derive(Clone, Debug)]
pub struct Node {
    zbundle: Zbundle,
    /// Its name in the roster.
    pub name: String,
    /// Its data directory.
    pub dir: PathBuf,
}

impl Zbundle {
    /// `zbundle --version`.
    ///
    /// # Errors
    /// When the binary does not run.
    pub fn version(&self) -> Result<String, Failure> {
        let output = Command::new(&self.program).arg("--version").output().map_err(|error| format!("{}: {error}", self.program.display()))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// An empty folder of its own for one bench.
    ///
    /// # Errors
    /// The disk's.
    pub fn place(&self, name: &str) -> Result<Self, Failure> {
        let scratch = self.scratch.join(name);
        if scratch.is_dir() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir_all(&scratch)?;
        Ok(Self { program: self.program.clone(), scratch })
    }

    /// Take everything away that the benches made.
    ///
    /// # Errors
    /// The disk's.
    pub fn clear(&self) -> Result<(), Failure> {
        if self.scratch.is_dir() {
            fs::remove_dir_all(&self.scratch)?;
        }
        Ok(())
    }

    /// A domain: the authority.
    ///
    /// # Errors
    /// When `init` fails.
    pub fn authority(&self, name: &str) -> Result<Node, Failure> {
        let hub = self.node(name);
        hub.run(["init", name, "--authority"], Input::Nothing)?;
        Ok(hub)
    }

    /// A member: made, signed by `hub`, joined.
    ///
    /// # Errors
    /// When one of the commands fails.
    pub fn member(&self, name: &str, hub: &Node) -> Result<Node, Failure> {
        let node = self.node(name);
        let (request, join) = (self.scratch.join(format!("{name}.request")), self.scratch.join(format!("{name}.join")));
        node.run(["init", name], Input::Nothing)?;
        node.run(["request".into(), "--out".into(), request.clone().into_os_string()], Input::Nothing)?;
        hub.run(["sign".into(), request.into_os_string(), "--out".into(), join.clone().into_os_string()], Input::Nothing)?;
        node.run(["join".into(), join.into_os_string(), "--yes".into()], Input::Nothing)?;
        Ok(node)
    }

    /// A node that does not exist yet.
    pub fn node(&self, name: &str) -> Node {
        Node { zbundle: self.clone(), name: name.to_owned(), dir: self.scratch.join(name) }
    }
}

impl Node {
    /// The command line that does `args` on this node.
    pub fn args<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["--data-dir".into(), self.dir.clone().into_os_string(), "--json".into(), "--quiet".into()];
        all.extend(args.into_iter().map(Into::into));
        all
    }

    /// The program, to be started by hand.
    pub fn command<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.zbundle.program);
        command.args(self.args(args));
        command
    }

    /// Run a command to its end and measure it.
    ///
    /// # Errors
    /// When it ends with anything but 0, or 3: what was left over is in the summary.
    pub fn run<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>, input: Input) -> Result<Cost, Failure> {
        let args = self.args(args);
        let cost = measure(&self.zbundle.program, &args, input, &self.zbundle.scratch)?;
        if matches!(cost.exit, 0 | 3) {
            return Ok(cost);
        }
        let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        Err(format!("`zbundle {}` ended with {}: {}", words.join(" "), cost.exit, cost.last_line).into())
    }

    /// Push lines as they come.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn push(&self, lines: impl Iterator<Item = String> + 'static) -> Result<Cost, Failure> {
        self.run(["push", "--ndjson", "-"], Input::Lines(Box::new(lines)))
    }

    /// Bring what this node has to `to`, and the receipt back, by file: so that a link has nothing to remember but a receipt.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn carry(&self, to: &Self) -> Result<(), Failure> {
        for (from, to) in [(self, to), (to, self)] {
            let folder = format!("{}-to-{}", from.name, to.name);
            let (_, out) = from.cut(to, &folder)?;
            if out.is_dir() {
                to.run(["ingest".into(), out.clone().into_os_string()], Input::Nothing)?;
                fs::remove_dir_all(out)?;
            }
        }
        Ok(())
    }

    /// Cut for `to` into a folder of the scratch; returns it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn cut(&self, to: &Node, folder: &str) -> Result<(Cost, PathBuf), Failure> {
        let out = self.zbundle.scratch.join(folder);
        let cost = self.run(["cut".into(), "--to".into(), OsString::from(&to.name), "--out".into(), out.clone().into_os_string()], Input::Nothing)?;
        Ok((cost, out))
    }
}

/// Bytes of the files below a folder whose names end in `suffix`.
///
/// # Errors
/// The disk's.
pub fn len_below(folder: &Path, suffix: &str) -> Result<u64, Failure> {
    let mut len = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            len += len_below(&entry.path(), suffix)?;
        } else if entry.file_name().to_string_lossy().ends_with(suffix) {
            len += metadata.len();
        }
    }
    Ok(len)
}
