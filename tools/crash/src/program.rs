//! Running the program and reading what it says.

use crate::Failure;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The binary, by its full path.
pub struct Program {
    path: PathBuf,
}

/// How one run ended.
pub struct Ended {
    /// `None` when it was killed.
    pub exit: Option<i32>,
    /// Its standard output, as far as it came.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Program {
    /// # Errors
    /// When there is none.
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Run it in `folder`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, folder: &Path, args: &[&str]) -> Result<Ended, Failure> {
        ended(Command::new(&self.path).current_dir(folder).args(args))
    }

    /// Run it and expect one of `exits`.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub fn expect(&self, folder: &Path, args: &[&str], exits: &[i32]) -> Result<Ended, Failure> {
        let ended = self.run(folder, args)?;
        if ended.exit.is_some_and(|exit| exits.contains(&exit)) {
            return Ok(ended);
        }
        Err(format!("`zbundle {}` ended with {:?}: {}{}", args.join(" "), ended.exit, ended.out.trim(), ended.err.trim()))
    }

    /// Every event a node holds outside its control lanes: payload by id.
    ///
    /// # Errors
    /// When it cannot be listed, or an id stands twice.
    pub fn events(&self, folder: &Path, data_dir: &str) -> Result<BTreeMap<String, String>, Failure> {
        let listed = self.expect(folder, &["--data-dir", data_dir, "log", "--format", "json"], &[0])?;
        let mut events = BTreeMap::new();
        for line in listed.out.lines() {
            let event: Value = serde_json::from_str(line).map_err(|error| format!("`log` says {line}: {error}"))?;
            let (Some(id), Some(payload)) = (event["id"].as_str(), event["sha256"].as_str()) else { continue };
            if events.insert(id.to_owned(), payload.to_owned()).is_some() {
                return Err(format!("{id} is listed twice"));
            }
        }
        Ok(events)
    }
}

/// Run `command` to its end.
///
/// # Errors
/// When it cannot be started.
pub fn ended(command: &mut Command) -> Result<Ended, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ended { exit: output.status.code(), out: text(output.stdout), err: text(output.stderr) })
}
