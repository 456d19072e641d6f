//! What a machine sees as its disk: its card, and every stick there is, each of which fails by itself.

use std::io;
use std::path::Path;
use std::rc::Rc;
use zbundle::ports::disk::{Entry, Open};
use zbundle::ports::{Disk, DiskFile, Lock, MemoryDisk};

/// Where sticks are mounted.
pub const STICKS: &str = "/stick";

/// The card at `/`, stick N at `/stick/N`.
#[derive(Clone)]
pub struct Mounts {
    /// The machine's own.
    pub card: MemoryDisk,
    /// Everybody's.
    pub sticks: Rc<Vec<MemoryDisk>>,
}

impl Mounts {
    fn of(&self, path: &Path) -> &MemoryDisk {
        let number = path.strip_prefix(STICKS).ok().and_then(|inside| inside.iter().next()).and_then(|name| name.to_str()?.parse::<usize>().ok());
        number.and_then(|number| self.sticks.get(number)).unwrap_or(&self.card)
    }
}

impl Disk for Mounts {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.of(path).open(path, how)
    }

    fn look(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.of(path).look(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.of(folder).list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.of(folder).create_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.of(from).rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.of(path).remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.of(folder).sync_folder(folder)
    }

    fn sync_volume(&self, folder: &Path) -> io::Result<()> {
        self.of(folder).sync_volume(folder)
    }

    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.of(folder).free_space(folder)
    }

    fn volume(&self, folder: &Path) -> io::Result<u64> {
        let disk = self.of(folder);
        disk.volume(folder)?; // whether it is there
        Ok(self.sticks.iter().position(|stick| std::ptr::eq(stick, disk)).map_or(0, |stick| stick as u64 + 1))
    }

    fn segment_len(&self) -> u64 {
        self.card.segment_len()
    }

    fn lock(&self, path: &Path, wait_ms: u64) -> io::Result<Option<Box<dyn Lock>>> {
        self.of(path).lock(path, wait_ms)
    }
}
