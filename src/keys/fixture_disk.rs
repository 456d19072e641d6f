//! A disk just large enough for a keyring: files in a map, and whether others may read them. Names every byte it is asked to change.

use crate::ports::disk::{Disk, DiskFile, Entry, Kind, Lock, Open, Print, Privacy};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

type Files = Rc<RefCell<BTreeMap<PathBuf, Vec<u8>>>>;

#[derive(Default)]
pub struct SmallDisk {
    pub files: Files,
    /// Changes until the disk refuses one; `None` for never.
    pub changes_left: Rc<Cell<Option<u32>>>,
    pub changes: Rc<Cell<u32>>,
    pub shared_with_others: Cell<bool>,
}

impl SmallDisk {
    fn change(&self) -> io::Result<()> {
        change(&self.changes, &self.changes_left)
    }
}

fn change(changes: &Cell<u32>, left: &Cell<Option<u32>>) -> io::Result<()> {
    changes.set(changes.get() + 1);
    match left.get() {
        Some(0) => Err(ErrorKind::StorageFull.into()),
        some => {
            left.set(some.map(|left| left - 1));
            Ok(())
        }
    }
}

impl Disk for SmallDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let there = self.files.borrow().contains_key(path);
        match how {
            Open::New if there => return Err(ErrorKind::AlreadyExists.into()),
            Open::New => {
                self.change()?;
                self.files.borrow_mut().insert(path.to_owned(), Vec::new());
            }
            _ if there => {}
            _ => return Err(ErrorKind::NotFound.into()),
        }
        let (changes, changes_left) = (self.changes.clone(), self.changes_left.clone());
        Ok(Box::new(SmallFile { files: self.files.clone(), path: path.to_owned(), changes, changes_left }))
    }

    fn look(&self, path: &Path) -> io::Result<Option<Entry>> {
        let files = self.files.borrow();
        Ok(files.get(path).map(|bytes| Entry { path: path.to_owned(), kind: Kind::File, len: bytes.len() as u64, print: Print::default() }))
    }

    fn privacy(&self, _: &Path) -> io::Result<Privacy> {
        Ok(if self.shared_with_others.get() { Privacy::Shared } else { Privacy::Kept })
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        let bytes = self.files.borrow_mut().remove(from).ok_or(ErrorKind::NotFound)?;
        self.files.borrow_mut().insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.borrow_mut().remove(path);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_volume(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn volume(&self, _: &Path) -> io::Result<u64> {
        Ok(0)
    }

    fn lock(&self, _: &Path, _: u64) -> io::Result<Option<Box<dyn Lock>>> {
        Err(ErrorKind::Unsupported.into())
    }
}

struct SmallFile {
    files: Files,
    path: PathBuf,
    changes: Rc<Cell<u32>>,
    changes_left: Rc<Cell<Option<u32>>>,
}

impl DiskFile for SmallFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.files.borrow()[&self.path].len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let files = self.files.borrow();
        let rest = files[&self.path].get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        change(&self.changes, &self.changes_left)?;
        let mut files = self.files.borrow_mut();
        let file = files.get_mut(&self.path).unwrap();
        file.truncate(usize::try_from(offset).unwrap());
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        change(&self.changes, &self.changes_left)
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}
