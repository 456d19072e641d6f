//! The folders a scene begins with: a hub, a clinic that has joined it, events in its log, and what the scene needs besides.

use crate::Failure;
use crate::program::Program;
use crate::scenes::Scene;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder to copy from.
pub struct Stage {
    folder: TempDir,
    /// Contents, by SHA-256, that the clinic holds.
    pub held: BTreeSet<String>,
}

impl Stage {
    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A copy of it, which removes itself.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn copy(&self) -> Result<TempDir, Failure> {
        let copy = tempfile::tempdir().map_err(|error| error.to_string())?;
        let status = Command::new("cp").args(["-a", "-T"]).arg(self.folder.path()).arg(copy.path()).status();
        match status {
            Ok(status) if status.success() => Ok(copy),
            other => Err(format!("the stage cannot be copied: {other:?}")),
        }
    }
}

/// Set the stage of `scene`.
///
/// # Errors
/// When a command of it fails.
pub fn set(program: &Program, scene: &Scene) -> Result<Stage, Failure> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let at = folder.path();
    let say = |args: &[&str]| program.expect(at, args, &[0]);
    say(&["--data-dir", "hub", "init", "hub", "--authority"])?;
    say(&["--data-dir", "clinic", "init", "clinic"])?;
    say(&["--data-dir", "clinic", "request", "--out", "clinic.request"])?;
    say(&["--data-dir", "hub", "sign", "clinic.request", "--out", "clinic.join"])?;
    if scene.joined {
        say(&["--data-dir", "clinic", "join", "clinic.join", "--yes"])?;
    }
    std::fs::write(at.join("before.ndjson"), lines("before", 20)).map_err(|error| error.to_string())?;
    std::fs::write(at.join("more.ndjson"), lines("more", 12)).map_err(|error| error.to_string())?;
    std::fs::write(at.join("large"), large(700_000)).map_err(|error| error.to_string())?;
    say(&["--data-dir", "clinic", "push", "--ndjson", "before.ndjson"])?;
    (scene.set)(program, at)?;
    let held = program.events(at, "clinic")?.into_values().collect();
    Ok(Stage { folder, held })
}

/// `count` events, each different.
fn lines(name: &str, count: usize) -> String {
    let line = |number| format!("{{\"from\":\"{name}\",\"number\":{number},\"note\":\"{:0>400}\"}}\n", number * 7919);
    (0..count).map(line).collect::<Vec<_>>().concat()
}

/// Bytes that do not compress well: a large payload in many parts.
fn large(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}

/// Every file with this ending in `folder`.
///
/// # Errors
/// When it cannot be read.
pub fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let mut found: Vec<_> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    Ok(found)
}
