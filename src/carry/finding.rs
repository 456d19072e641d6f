//! Finding what may be a bundle in a folder somebody carried. SPEC §10.5.
//!
//! In: a folder. Out: everything in it that bears a bundle's name, as a look told it. Invariants: links are never followed, no other file system is
//! entered, and neither time nor memory grows without bound with what a hostile hand has put there. Not here: opening anything.

use crate::ports::disk::{Disk, Entry, Kind};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Folders below the named one that are searched: a stick's `zbundle/` and what a file manager may have wrapped around it.
pub const DEPTH_MAX: usize = 3;
/// So many folders are searched, those nearest first: a stick of empty folders must not hold us up (R10.11-a).
const FOLDERS_MAX: usize = 4096;
/// So many names are taken from one search: at 150 bytes each, what a small machine can spare.
const FOUND_MAX: usize = 100_000;

/// One thing found in a folder that bears a bundle's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A regular file to open.
    File(PathBuf),
    /// A folder, link, FIFO or device with a bundle's name: told, never opened.
    NotAFile(PathBuf),
    /// A folder with more in it than is searched: what was found first counts, and this is told.
    TooMuch(PathBuf),
    /// So many folders lie deeper than is searched.
    Deeper(usize),
    /// A folder that cannot be read, with what may lie in it, and why: told.
    Unreadable(PathBuf, String),
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Everything that bears a bundle's name, sorted by path.
    pub entries: Vec<Entry>,
    /// The folders that were searched, the named one first.
    pub folders: Vec<PathBuf>,
    /// There was more than is searched.
    pub too_much: bool,
    /// Folders that lie too deep to be looked into.
    pub deeper: usize,
    /// Folders that could not be read, for another reason than that a system keeps them for itself.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Everything below `folder` that bears a bundle's name; links are never followed, hidden files and operating systems' litter are passed over in
/// silence (R10.5-d).
///
/// # Errors
/// When `folder` itself cannot be read; a folder below it that cannot is told and passed by.
pub fn search(disk: &dyn Disk, folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let device = disk.look(folder)?.ok_or(io::ErrorKind::NotFound)?.print.device;
    let mut level = vec![folder.to_owned()];
    for depth in 0..=DEPTH_MAX {
        let mut below = Vec::new();
        for inner in level {
            if found.folders.len() == FOLDERS_MAX {
                found.too_much = true;
                break;
            }
            let listed = match disk.list_wanted(&inner, &is_candidate) {
                Err(error) if depth > 0 => {
                    let is_told = error.kind() != io::ErrorKind::NotFound && !is_the_systems(&inner);
                    found.unreadable.extend(is_told.then(|| (inner, error.to_string())));
                    continue;
                }
                listed => listed?,
            };
            found.folders.push(inner);
            for entry in listed {
                let name = entry.path.file_name().unwrap_or_default();
                if is_candidate(name) {
                    found.entries.push(entry);
                } else if entry.kind == Kind::Folder && entry.print.device == device && !is_hidden(name) {
                    below.push(entry.path);
                }
            }
            if found.entries.len() > FOUND_MAX {
                found.entries.truncate(FOUND_MAX);
                found.too_much = true;
                break;
            }
        }
        level = below;
    }
    found.deeper = if found.too_much { 0 } else { level.len() };
    found.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// [`search`], as a list of what to do with each.
///
/// # Errors
/// As [`search`].
pub fn candidates(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<Candidate>> {
    let found = search(disk, folder)?;
    let each = |entry: Entry| if entry.kind == Kind::File { Candidate::File(entry.path) } else { Candidate::NotAFile(entry.path) };
    let mut candidates: Vec<_> = found.entries.into_iter().map(each).collect();
    candidates.extend(found.unreadable.into_iter().map(|(folder, why)| Candidate::Unreadable(folder, why)));
    candidates.extend(found.too_much.then(|| Candidate::TooMuch(folder.to_owned())));
    candidates.extend((found.deeper > 0).then_some(Candidate::Deeper(found.deeper)));
    Ok(candidates)
}

fn is_candidate(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    !is_hidden(name) && bytes.len().checked_sub(3).and_then(|at| bytes.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(b".zb"))
}

/// What systems make on each volume and let nobody look into.
fn is_the_systems(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == "lost+found" || name == "System Volume Information" || name == "$RECYCLE.BIN")
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::MemoryDisk;
    use crate::ports::disk::Open;
    use crate::ports::memory_disk::{Fault, Operation};

    fn check(names: &[&str], want: &[&str]) {
        let disk = MemoryDisk::default();
        for name in names {
            let path = Path::new("/d").join(name);
            disk.create_folder(path.parent().unwrap()).unwrap();
            disk.open(&path, Open::New).unwrap();
        }
        let found = search(&disk, Path::new("/d")).unwrap();
        let deep = |name: &&&str| name.split('/').count() > DEPTH_MAX + 1;
        assert_eq!(found.deeper, names.iter().filter(deep).count(), "each is in a folder of its own");
        let found: Vec<_> = found.entries.iter().map(|entry| entry.path.strip_prefix("/d").unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(found, want);
    }

    /// R10.5-d.
    #[test]
    fn only_names_of_bundles_are_candidates_and_litter_is_not() {
        check(
            &["a.zb", "b.ZB", "x (1).zb", "x.sync-conflict-20261125-ABCDEF.zb"],
            &["a.zb", "b.ZB", "x (1).zb", "x.sync-conflict-20261125-ABCDEF.zb"],
        );
        check(&["._a.zb", ".a.zb.part", ".a.zb.aBJUSF", ".syncthing.a.zb.tmp", "a.zb.part", "a.zb~", "azb", "zb", "Thumbs.db"], &[]);
        check(&[".stversions/a.zb", ".Trashes/501/a.zb", ".zbp/a.zb", "zbundle/a.zb", "1/2/3/a.zb", "1/2/3/4/a.zb"], &["1/2/3/a.zb", "zbundle/a.zb"]);
    }

    /// What a clinic dropped into a folder that this user may not read, or that lies on a bad part of a stick, was "nothing new".
    #[test]
    fn a_folder_that_cannot_be_read_is_told_but_not_one_that_a_system_keeps_for_itself() {
        for (name, error, is_told) in [
            ("clinic", io::ErrorKind::PermissionDenied, true),
            ("clinic", io::ErrorKind::Other, true),
            ("clinic", io::ErrorKind::NotFound, false),
            ("lost+found", io::ErrorKind::PermissionDenied, false),
            ("System Volume Information", io::ErrorKind::PermissionDenied, false),
        ] {
            let (disk, folder) = (MemoryDisk::default(), Path::new("/d").join(name));
            disk.create_folder(&folder).unwrap();
            disk.open(Path::new("/d/z.zb"), Open::New).unwrap();
            disk.fail(Fault { operation: Operation::List, nth: 2, error, sticky: false });
            let told = is_told.then(|| Candidate::Unreadable(folder, io::Error::from(error).to_string()));
            let want: Vec<_> = std::iter::once(Candidate::File("/d/z.zb".into())).chain(told).collect();
            assert_eq!(candidates(&disk, Path::new("/d")).unwrap(), want, "{name} {error:?}");
        }
    }

    /// R10.11-a.
    #[test]
    fn a_stick_of_folders_is_searched_so_far_and_that_is_told() {
        let disk = MemoryDisk::default();
        for number in 0..70 {
            for inner in 0..70 {
                disk.create_folder(Path::new(&format!("/d/{number}/{inner}"))).unwrap();
            }
        }
        disk.open(Path::new("/d/here.zb"), Open::New).unwrap();
        let found = search(&disk, Path::new("/d")).unwrap();
        assert!(found.too_much && found.entries.len() == 1 && found.folders.len() == FOLDERS_MAX, "{} folders", found.folders.len());
        let last = candidates(&disk, Path::new("/d")).unwrap().pop();
        assert_eq!(last, Some(Candidate::TooMuch("/d".into())));
    }
}
