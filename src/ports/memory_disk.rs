//! A disk in memory that can lose power and fail: the twin of the real one for tests and the simulator. Deterministic (R10.1-b).
//!
//! What is not synced is volatile: bytes by sectors of 512, lengths, and names in folders. [`MemoryDisk::crash`] keeps any part of it. A failed
//! sync loses what it should have stored, for good, as Linux does: a second sync that succeeds says nothing of it.

use super::disk::{Disk, DiskFile, Entry, Kind, Lock, Open, Print, SEGMENT_LEN};
use super::entropy::{Entropy as _, SeededEntropy};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a power cut tears at.
const SECTOR_LEN: usize = 512;

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writing or cutting a file. Half of the bytes are written all the same.
    Write,
    /// Syncing a file, folder or volume.
    Sync,
    /// Making, renaming or removing a file.
    Name,
    /// Reading a file.
    Read,
    /// Reading the names in a folder. It costs no power.
    List,
}

/// A fault to come.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// Which one, counted from now, from 1.
    pub nth: u64,
    /// How.
    pub error: io::ErrorKind,
    /// And all after it.
    pub sticky: bool,
}

/// How many operations there have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes and cuts.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of folders and volumes.
    pub folder_syncs: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Rc<RefCell<World>>);

#[derive(Clone, Default)]
struct World {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since their folder was synced, in order.
    name_changes: Vec<NameChange>,
    files: Vec<File>,
    locks: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    counts: Counts,
    /// Bytes all files may have together; `None` for no bound.
    space: Option<u64>,
    /// Folders where another file system begins, and its number; everything else is on number 0.
    mounts: BTreeMap<PathBuf, u64>,
    /// Operations until the power goes; `None` while it stays.
    power: Option<u64>,
    /// Syncs of files say that they stored, and store nothing.
    lies: bool,
    /// Whether a fault has struck since faults were last set.
    struck: bool,
    /// Where segments of logs end; `None` as on a real disk.
    segment_len: Option<u64>,
}

/// Copies of a disk share the bytes of files until one of them writes.
#[derive(Clone, Default)]
struct File {
    live: Rc<Vec<u8>>,
    synced: Rc<Vec<u8>>,
    dirty: BTreeSet<usize>,
    /// Changes of it so far: what other disks tell by their clocks.
    changes: u32,
}

#[derive(Clone)]
enum NameChange {
    New(PathBuf, usize),
    Renamed(PathBuf, PathBuf, usize),
    Removed(PathBuf),
}

impl MemoryDisk {
    /// Empty, with a root folder.
    pub fn new() -> Self {
        let disk = Self::default();
        disk.0.borrow_mut().folders.insert(PathBuf::from("/"));
        disk
    }

    /// Cut the power: of what was not synced, any part stays. Locks are gone; files still open must not be used.
    pub fn crash(&self, seed: u64) {
        let entropy = SeededEntropy(Cell::new(seed));
        let draw = |below: u64| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            u64::from_le_bytes(bytes) % below.max(1)
        };
        let world = &mut *self.0.borrow_mut();
        let keep_of_8 = [0, 1, 4, 7, 8][usize::try_from(draw(5)).unwrap_or(0)]; // nothing, little, half, most, everything
        for change in std::mem::take(&mut world.name_changes) {
            if draw(8) < keep_of_8 {
                change.apply(&mut world.durable_names);
            }
        }
        world.names = world.durable_names.clone();
        for file in &mut world.files {
            let (synced_len, live_len) = (file.synced.len(), file.live.len());
            let between = synced_len.abs_diff(live_len) as u64;
            let len = match draw(8) {
                sort if sort < keep_of_8 => live_len,
                7 => synced_len.min(live_len) + usize::try_from(draw(between + 1)).unwrap_or(0),
                _ => synced_len,
            };
            let mut bytes = Rc::unwrap_or_clone(std::mem::take(&mut file.synced));
            bytes.resize(len, 0);
            for sector in std::mem::take(&mut file.dirty) {
                let start = sector * SECTOR_LEN;
                let end = (start + SECTOR_LEN).min(len).min(live_len);
                if draw(8) < keep_of_8 && start < end {
                    bytes[start..end].copy_from_slice(&file.live[start..end]);
                }
            }
            file.synced = Rc::new(bytes);
            file.live = Rc::clone(&file.synced);
        }
        world.locks.clear();
        world.faults.clear();
        world.power = None;
    }

    /// What would be there if the power went now and nothing unsynced were lucky: a disk of its own.
    #[must_use]
    pub fn durable(&self) -> Self {
        let world = self.0.borrow();
        world.copied(world.durable_names.clone(), |file| Rc::clone(&file.synced))
    }

    /// A copy of the whole disk as it is now, durable: an image of the card.
    #[must_use]
    pub fn image(&self) -> Self {
        let mut world = self.0.borrow().clone();
        for file in &mut world.files {
            file.synced = Rc::clone(&file.live);
            file.dirty.clear();
        }
        world.durable_names = world.names.clone();
        (world.name_changes, world.locks, world.faults) = (Vec::new(), BTreeSet::new(), Vec::new());
        Self(Rc::new(RefCell::new(world)))
    }

    /// A copy of the disk as it would be if the power went now and kept nothing that was not synced.
    #[must_use]
    pub fn image_of_synced(&self) -> Self {
        let world = self.0.borrow();
        world.copied(world.durable_names.clone(), |file| Rc::clone(&file.synced))
    }

    /// Let an operation fail.
    pub fn fail(&self, fault: Fault) {
        let world = &mut *self.0.borrow_mut();
        world.faults.push(fault);
        world.struck = false;
    }

    /// Let the power go at the `nth` operation from now, counted from 1: that one and all later ones fail, until [`MemoryDisk::crash`] says what is left.
    pub fn lose_power(&self, nth: u64) {
        let world = &mut *self.0.borrow_mut();
        world.power = Some(nth);
        world.struck = false;
    }

    /// Let syncs of files lie from now on: a card that must not be sold.
    pub fn lie(&self) {
        self.0.borrow_mut().lies = true;
    }

    /// Let logs on this disk, and on copies of it, begin a new segment so often.
    pub fn set_segment_len(&self, len: u64) {
        self.0.borrow_mut().segment_len = Some(len);
    }

    /// Whether anything has failed since a fault, a bound or a power cut was last asked for.
    pub fn has_struck(&self) -> bool {
        self.0.borrow().struck
    }

    /// Nothing fails any more, and there is room.
    pub fn heal(&self) {
        let world = &mut *self.0.borrow_mut();
        world.faults.clear();
        (world.power, world.space) = (None, None);
    }

    /// Every file there is, by path.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.borrow().names.keys().cloned().collect()
    }

    /// Whether a fault is still to come.
    pub fn has_faults_to_come(&self) -> bool {
        self.0.borrow().faults.iter().any(|fault| fault.nth > 0)
    }

    /// Let the disk be full when its files have this many bytes together.
    pub fn set_space(&self, space: Option<u64>) {
        let world = &mut *self.0.borrow_mut();
        world.space = space;
        world.struck = false;
    }

    /// Bytes all files have together.
    pub fn used(&self) -> u64 {
        self.0.borrow().used()
    }

    /// Let the file system `number` begin at `folder`; 0 is the machine's own.
    pub fn mount(&self, folder: &Path, number: u64) {
        self.0.borrow_mut().mounts.insert(folder.to_owned(), number);
    }

    /// Operations so far.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// The bytes of a file; `None` when it is not there.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.0.borrow();
        Some(world.files[*world.names.get(path)?].live.to_vec())
    }

    /// Change the bytes of a file, durably and behind everybody's back: rot, or a hand that should not be there.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn edit(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let world = &mut *self.0.borrow_mut();
        let file = &mut world.files[world.names[path]];
        change(Rc::make_mut(&mut file.live));
        file.synced = Rc::clone(&file.live);
        file.dirty.clear();
        file.changes += 1;
    }
}

impl World {
    /// A disk of its own with these files, all of it durable; nothing is about to fail there.
    fn copied(&self, names: BTreeMap<PathBuf, usize>, bytes: impl Fn(&File) -> Rc<Vec<u8>>) -> MemoryDisk {
        let mut files = vec![File::default(); self.files.len()];
        for file in names.values() {
            let live = bytes(&self.files[*file]);
            files[*file] = File { synced: Rc::clone(&live), live, dirty: BTreeSet::new(), changes: self.files[*file].changes };
        }
        let (folders, durable_names, counts, segment_len) = (self.folders.clone(), names.clone(), self.counts, self.segment_len);
        MemoryDisk(Rc::new(RefCell::new(Self { folders, names, durable_names, files, counts, segment_len, ..Self::default() })))
    }

    fn try_to(&mut self, operation: Operation) -> io::Result<()> {
        if let Some(left) = &mut self.power {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.struck = true;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        let mut failed = None;
        for fault in self.faults.iter_mut().filter(|fault| fault.operation == operation) {
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth == 0 {
                failed = Some(fault.error);
            }
        }
        self.faults.retain(|fault| fault.sticky || fault.nth > 0);
        self.struck |= failed.is_some();
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        self.try_to(Operation::Name)?;
        change.apply(&mut self.names);
        self.name_changes.push(change);
        Ok(())
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].live.len() as u64).sum()
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::New(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Removed(path) => drop(names.remove(path)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::New(path, _) | Self::Renamed(_, path, _) | Self::Removed(path) => path,
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let world = &mut *self.0.borrow_mut();
        let file = match (world.names.get(path), how) {
            (Some(_), Open::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => *file,
            (None, Open::New) => {
                if !path.parent().is_some_and(|folder| world.folders.contains(folder)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                world.files.push(File::default());
                let file = world.files.len() - 1;
                world.change_name(NameChange::New(path.to_owned(), file))?;
                file
            }
            (None, _) if world.folders.contains(path) => return Err(io::ErrorKind::InvalidInput.into()),
            (None, _) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(MemoryFile { world: self.0.clone(), file, writable: how != Open::Read }))
    }

    fn look(&self, path: &Path) -> io::Result<Option<Entry>> {
        let world = self.0.borrow();
        if world.folders.contains(path) {
            return Ok(Some(Entry { path: path.to_owned(), kind: Kind::Folder, len: 0, print: Print::default() }));
        }
        let len = |file: &usize| world.files[*file].live.len() as u64;
        let print = |file: &usize| Print { inode: *file as u64, changed_ns: world.files[*file].changes.into(), ..Print::default() };
        Ok(world.names.get(path).map(|file| Entry { path: path.to_owned(), kind: Kind::File, len: len(file), print: print(file) }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut world = self.0.borrow_mut();
        if world.faults.iter().any(|fault| fault.operation == Operation::List) {
            world.try_to(Operation::List)?;
        }
        if !world.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &&PathBuf| path.parent() == Some(folder);
        let paths: BTreeSet<_> = world.names.keys().chain(&world.folders).filter(inside).cloned().collect();
        drop(world);
        paths.iter().filter_map(|path| self.look(path).transpose()).collect()
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        world.try_to(Operation::Name)?;
        world.folders.extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        let file = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.change_name(NameChange::Renamed(from.to_owned(), to.to_owned(), file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.change_name(NameChange::Removed(path.to_owned()))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        world.counts.folder_syncs += 1;
        world.try_to(Operation::Sync)?;
        let (ours, others) = std::mem::take(&mut world.name_changes).into_iter().partition(|change| change.path().parent() == Some(folder));
        world.name_changes = others;
        let ours: Vec<NameChange> = ours;
        for change in ours {
            change.apply(&mut world.durable_names);
        }
        Ok(())
    }

    fn sync_volume(&self, _: &Path) -> io::Result<()> {
        let world = &mut *self.0.borrow_mut();
        world.counts.folder_syncs += 1;
        world.try_to(Operation::Sync)?;
        world.files.iter_mut().for_each(File::sync);
        world.name_changes.clear();
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn free_space(&self, _: &Path) -> io::Result<u64> {
        let world = self.0.borrow();
        Ok(world.space.map_or(u64::MAX, |space| space.saturating_sub(world.used())))
    }

    fn volume(&self, folder: &Path) -> io::Result<u64> {
        let world = self.0.borrow();
        if !world.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(folder.ancestors().find_map(|above| world.mounts.get(above)).copied().unwrap_or(0))
    }

    fn segment_len(&self) -> u64 {
        self.0.borrow().segment_len.unwrap_or(SEGMENT_LEN)
    }

    fn lock(&self, path: &Path, _: u64) -> io::Result<Option<Box<dyn Lock>>> {
        let taken = !self.0.borrow_mut().locks.insert(path.to_owned());
        Ok(if taken { None } else { Some(Box::new(MemoryLock(self.0.clone(), path.to_owned()))) })
    }
}

struct MemoryLock(Rc<RefCell<World>>, PathBuf);

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.borrow_mut().locks.remove(&self.1);
    }
}

struct MemoryFile {
    world: Rc<RefCell<World>>,
    file: usize,
    writable: bool,
}

impl File {
    fn touch(&mut self, start: usize, end: usize) {
        self.changes += 1;
        self.dirty.extend(start / SECTOR_LEN..end.div_ceil(SECTOR_LEN));
    }

    fn sync(&mut self) {
        let synced = Rc::make_mut(&mut self.synced);
        synced.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            let start = sector * SECTOR_LEN;
            let end = (start + SECTOR_LEN).min(self.live.len());
            if start < end {
                synced[start..end].copy_from_slice(&self.live[start..end]);
            }
        }
    }

    fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        let live = Rc::make_mut(&mut self.live);
        if live.len() < end {
            live.resize(end, 0);
        }
        live[at..end].copy_from_slice(bytes);
        self.touch(at, end);
    }
}

impl MemoryFile {
    fn to_write(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.world.borrow().files[self.file].live.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let world = &mut *self.world.borrow_mut();
        world.counts.reads += 1;
        world.try_to(Operation::Read)?;
        let rest = world.files[self.file].live.get(place(offset)..).unwrap_or(&[]);
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        world.counts.bytes_read += len as u64;
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.to_write()?;
        let world = &mut *self.world.borrow_mut();
        world.counts.writes += 1;
        let at = place(offset);
        let held = world.files[self.file].live.len();
        let grown = (at + bytes.len()).saturating_sub(held) as u64;
        let lacking = world.space.map_or(0, |space| (world.used() + grown).saturating_sub(space).min(grown));
        let tried = world.try_to(Operation::Write);
        world.struck |= lacking > 0;
        let file = &mut world.files[self.file];
        if tried.is_err() {
            file.write(&bytes[..bytes.len() / 2], at);
            return tried;
        }
        file.write(&bytes[..bytes.len() - place(lacking)], at); // a full disk takes what fits
        if lacking > 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.to_write()?;
        let world = &mut *self.world.borrow_mut();
        world.counts.writes += 1;
        world.try_to(Operation::Write)?;
        let file = &mut world.files[self.file];
        let (old, new) = (file.live.len(), place(len));
        Rc::make_mut(&mut file.live).resize(new, 0);
        file.touch(old.min(new), old.max(new));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        world.counts.syncs += 1;
        let tried = world.try_to(Operation::Sync);
        let dark = world.power == Some(0);
        let file = &mut world.files[self.file];
        if tried.is_err() && !dark {
            file.dirty.clear(); // marked clean, and not stored
            return tried;
        }
        tried?;
        if !world.lies {
            file.sync();
        }
        Ok(())
    }

    /// What is clean is read from the medium again: after a failed sync that is not what was written.
    fn drop_cache(&self) -> io::Result<()> {
        let file = &mut self.world.borrow_mut().files[self.file];
        for (sector, bytes) in Rc::make_mut(&mut file.live).chunks_mut(SECTOR_LEN).enumerate().filter(|(sector, _)| !file.dirty.contains(sector)) {
            for (byte, at) in bytes.iter_mut().zip(sector * SECTOR_LEN..) {
                *byte = file.synced.get(at).copied().unwrap_or(0);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
