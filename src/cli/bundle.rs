//! Bundles named by people, one or a folder full: finding them, counting good and bad ones, and how a command about them exits.

use super::halt::Halt;
use super::object::Object;
use super::{Context, escape, files, units};
use crate::carry::finding::{Candidate, DEPTH_MAX};
use crate::node::inspect;
use crate::ports::disk::Kind;
use bundle_format::error::{Code, Exit};
use std::path::{Path, PathBuf};

/// A bundle to open, or what bears a bundle's name and is none.
pub type Found = Result<PathBuf, (PathBuf, Code)>;

/// Everything that `paths` name or hold.
pub fn find(context: &mut Context, paths: &[PathBuf]) -> Result<Vec<Found>, Halt> {
    let mut found = Vec::new();
    for path in paths {
        files::must_be_there(&context.ports, path)?;
        found.extend(inspect::bundles(&context.ports, path)?.into_iter().filter_map(|candidate| match candidate {
            Candidate::File(path) => Some(Ok(path)),
            Candidate::NotAFile(path) => Some(Err(inspect::not_a_file(&path))),
            Candidate::TooMuch(path) => Some(Err((path, Code::Z241))),
            Candidate::Unreadable(path, _) => Some(Err((path, Code::Z201))),
            Candidate::Deeper(count) => {
                context.console.note(&too_deep(count));
                None
            }
        }));
    }
    Ok(found)
}

/// That bundles may lie where nobody looks.
pub fn too_deep(count: usize) -> String {
    format!("{} deeper than {DEPTH_MAX} below the one that was named: not looked into", units::count(count as u64, "folder"))
}

/// Whether one file was named, and no folder: then its reason is the exit status.
pub fn is_single(context: &Context, paths: &[PathBuf]) -> bool {
    let folder = |path: &PathBuf| context.ports.disk.look(path).is_ok_and(|entry| entry.is_some_and(|entry| entry.kind == Kind::Folder));
    matches!(paths, [only] if !folder(only))
}

/// Good and bad ones.
#[derive(Debug, Default)]
pub struct Tally {
    /// Whole and signed.
    pub good: u64,
    /// Why the others are not.
    bad: Vec<Code>,
}

impl Tally {
    /// Name one that is not good.
    pub fn refuse(&mut self, context: &mut Context, path: &Path, code: Code, why: &str) -> Result<(), Halt> {
        self.bad.push(code);
        let (file, title) = (escape::plain_path(path), code.row().title);
        let why_told = if why.is_empty() || title.contains(why) { String::new() } else { format!(": {}", escape::plain(why)) };
        context.console.result(&format!("{file}  {code} {title}{why_told}"), || {
            Object::of("refused")
                .with("file", path.to_string_lossy())
                .with("good", false)
                .with("code", code.as_str())
                .with("title", title)
                .with("why", why)
        })
    }

    /// How many were looked at.
    pub fn seen(&self) -> u64 {
        self.good + self.bad.len() as u64
    }

    /// A single one exits with its reason; of many, a bundle that is bad says 14 and what never was one says nothing.
    pub fn exit(&self, single: bool) -> Exit {
        let mut exits = self.bad.iter().map(|code| code.row().exit);
        match self.bad.as_slice() {
            [] => Exit::Done,
            [only] if single && self.good == 0 => only.row().exit,
            _ => exits.find(|exit| *exit == Exit::Damaged).or_else(|| exits.find(|exit| *exit == Exit::Internal)).unwrap_or(Exit::Done),
        }
    }

    /// The last line for people.
    pub fn line(&self) -> String {
        format!("{} good, {} not", units::count(self.good, "bundle"), self.bad.len())
    }

    /// The same in a summary.
    pub fn tell(&self, summary: Object) -> Object {
        summary.with("good", self.good).with("bad", self.bad.len())
    }
}
