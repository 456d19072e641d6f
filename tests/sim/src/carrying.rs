//! Cutting, taking in, and what couriers do between.

use crate::luck::Luck;
use crate::model::Verdict;
use crate::plan::{Deed, Step};
use crate::station::Station;
use crate::world::World;
use bundle_format::error::Code;
use std::path::{Path, PathBuf};
use zbundle::node::cutting::CutOrder;
use zbundle::node::taking::{Ingested, Outcome};
use zbundle::ports::disk::{Disk as _, Open};

impl World {
    /// A bundle for one member is cut onto a stick.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn cut(&mut self, at: usize, to: usize, stick: usize, max_size: u64, step: &Step) -> Verdict {
        if self.machines[at].station.member == to {
            return Ok(());
        }
        let (to_id, out) = (self.members[to], Station::stick(stick));
        let report = self.while_it_happens(at, Some(stick), step, &[Code::Z406, Code::Z616, Code::Z203], |world| {
            world.with_node(at, |_, node| {
                let revoked = node.roster().member(&to_id).is_some_and(zbundle::keys::Member::is_revoked);
                let report = node.cut(&CutOrder { to: &[to_id], out: &out, max_size, dry_run: false, small: false }, &mut |_, _, _| {})?;
                Ok((report, revoked))
            })
        })?;
        let Some((report, revoked)) = report else { return Ok(()) };
        if revoked && !report.files.is_empty() {
            return Err(format!("policy: {} cut for {}, whom it knows to be revoked", self.name(at), self.names[to]));
        }
        let events: Vec<_> = report.files.iter().map(|file| file.events).collect();
        self.tell(format!("   {} cut {events:?} for {}, left {:?}", self.name(at), self.names[to], report.left));
        if !report.files.is_empty() {
            self.carried.insert(stick, to);
        }
        for file in &report.files {
            self.coverage.count(if file.already_there { "a bundle was there already" } else { "a bundle is cut" });
            let disk = self.around.sticks[stick].durable();
            let Some(bytes) = disk.bytes(&file.path) else {
                return Err(format!(
                    "P1: {} said {} is written, and it would not outlive the pulling of the stick",
                    self.name(at),
                    file.path.display()
                ));
            };
            if bytes.len() as u64 != file.bytes {
                return Err(format!("P1: {} said {} has {} bytes; it has {}", self.name(at), file.path.display(), file.bytes, bytes.len()));
            }
            let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.archive.push((name, bytes));
        }
        Ok(())
    }

    /// A stick is taken in.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn ingest(&mut self, at: usize, stick: usize, step: &Step) -> Verdict {
        self.take_in(at, stick, step).map(drop)
    }

    /// [`World::ingest`], with what it did; nothing when it failed.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn take_in(&mut self, at: usize, stick: usize, step: &Step) -> Verdict<Option<Ingested>> {
        let folder = Station::stick(stick);
        let before = self.machines[at].memory.clone();
        let taken = self.while_it_happens(at, Some(stick), step, &[], |world| world.with_node(at, |_, node| node.ingest(&[folder], &mut |_| {})))?;
        let Some(taken) = taken else { return Ok(None) };
        let told = format!(
            "   {} took {:?} from {} file(s){}, missing {:?}, written again {}{}",
            self.name(at),
            taken.counts,
            taken.files.len(),
            taken.files.iter().filter(|file| file.outcome != Outcome::Taken).fold(String::new(), |all, file| format!("{all} {:?}", file.outcome)),
            taken.missing.iter().map(|gap| (gap.origin, gap.from, gap.to)).collect::<Vec<_>>(),
            taken.reappended,
            if taken.new_life { ", in a new life" } else { "" }
        );
        self.tell(told);
        for file in &taken.files {
            self.coverage.count(match &file.outcome {
                Outcome::Taken => "a bundle is taken",
                Outcome::Held => "a bundle is held",
                Outcome::Incomplete => "a bundle is incomplete",
                Outcome::Refused(Code::Z612 | Code::Z615) => "a stranger's bundle waits",
                Outcome::Refused(_) => "a bundle is refused",
                Outcome::NotForUs => "a bundle is not for us",
                Outcome::Foreign(_) => "a file is no bundle",
            });
        }
        self.count_taken(&taken);
        self.check_taken(at, &before, &taken.files)?;
        Ok(Some(taken))
    }

    /// Count what a taking brought.
    pub fn count_taken(&mut self, taken: &Ingested) {
        for (happened, what) in [
            (taken.new_life, "a new life begins"),
            (taken.reappended > 0, "events are written again"),
            (!taken.renewed_peers.is_empty(), "a peer's new life is met"),
            (!taken.missing.is_empty(), "a gap is named"),
            (taken.counts.left_out > 0, "a full branch leaves out"),
            (taken.counts.duplicate > 0, "duplicates are met"),
        ] {
            if happened {
                self.coverage.count(what);
            }
        }
    }

    /// What couriers do to what they carry.
    ///
    /// # Errors
    /// Never; for the shape of steps.
    pub fn courier(&mut self, stick: usize, deed: Deed, luck: &mut Luck) -> Verdict {
        let disk = self.around.sticks[stick].clone();
        let files: Vec<PathBuf> = disk.paths();
        let from_archive = || (!self.archive.is_empty()).then_some(());
        match deed {
            Deed::Yank => {
                disk.crash(luck.draw());
                return Ok(());
            }
            Deed::LastYear => {
                if from_archive().is_some() {
                    let (name, bytes) = self.archive[luck.index(self.archive.len())].clone();
                    lay(&disk, &Station::stick(stick).join(name), &bytes);
                }
                return Ok(());
            }
            Deed::Rubbish => {
                let bytes: Vec<u8> = (0..luck.below(300)).map(|_| u8::try_from(luck.below(256)).unwrap_or(0)).collect();
                lay(&disk, &Station::stick(stick).join(format!("rubbish{}.zb", luck.below(9))), &bytes);
                return Ok(());
            }
            _ => {}
        }
        if files.is_empty() {
            return Ok(());
        }
        let path = &files[luck.index(files.len())];
        let bytes = disk.bytes(path).unwrap_or_default();
        match deed {
            Deed::Lose => disk.remove(path).unwrap_or_default(),
            Deed::Truncate => disk.edit(path, |bytes| bytes.truncate(luck.index(bytes.len()))),
            Deed::Flip if !bytes.is_empty() => disk.edit(path, |bytes| {
                let at = luck.index(bytes.len());
                bytes[at] ^= 1 << luck.below(8);
            }),
            Deed::Twice => lay(&disk, &path.with_file_name(format!("copy{}.zb", luck.below(9))), &bytes),
            Deed::Swap => {
                let other = luck.index(self.around.sticks.len());
                let name = path.file_name().map(PathBuf::from).unwrap_or_default();
                disk.remove(path).unwrap_or_default();
                lay(&self.around.sticks[other], &Station::stick(other).join(name), &bytes);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Put a file somewhere, whatever stood there, durably.
pub fn lay(disk: &zbundle::ports::MemoryDisk, path: &Path, bytes: &[u8]) {
    if disk.bytes(path).is_none() && disk.open(path, Open::New).is_err() {
        return; // there is no room even for a name
    }
    disk.edit(path, |there| bytes.clone_into(there));
    let folder = path.parent().unwrap_or(Path::new("/"));
    disk.sync_folder(folder).unwrap_or_default();
}
