//! Bytes of a log rot: where it is written, which opening tells, or in an old part, which nobody looks at before it is read.

use crate::luck::Luck;
use crate::model::{Memory, Verdict};
use crate::world::World;
use bundle_format::error::Code;
use std::path::{Path, PathBuf};
use zbundle::ports::store::Finding;

/// How long segments are where there is more than one of them.
const SEGMENT_LENS: [u64; 3] = [1024, 2048, 4096];

/// Where the index of a sealed segment begins, as its trailer tells (SPEC §10.3); nothing when it is not sealed.
fn index_of(segment: &[u8]) -> Option<usize> {
    let trailer = segment.last_chunk::<64>()?;
    let offset = u32::from_le_bytes(*trailer[12..].first_chunk()?);
    // What says so may have rotted before.
    Some(offset as usize).filter(|offset| trailer.starts_with(b"zblogend") && *offset < segment.len())
}

/// How long the segments of a life's logs are: in one of two so short that old ones are sealed.
pub fn segment_len(seed: u64) -> Option<u64> {
    let luck = &mut Luck(seed.rotate_left(40));
    luck.once_in(2).then(|| luck.one_of(&SEGMENT_LENS))
}

/// Whether in this life what lies beside a log rots too: in one of eight, and in none of those that failed once (`stories`).
fn rots_memories(seed: u64) -> bool {
    matches!(seed % 16, 5 | 14)
}

impl World {
    /// Bytes of a log rot.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn rot(&mut self, at: usize, len: usize, luck: &mut Luck) -> Verdict {
        if self.machines[at].station.member == 0 && self.has_new_authority {
            return Ok(());
        }
        let paths = self.machines[at].station.card.paths();
        if rots_memories(self.seed) && luck.once_in(2) {
            return self.rot_memory(at, &paths, luck);
        }
        let segments: Vec<_> = paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
        let Some((newest, sealed)) = segments.split_last() else { return Ok(()) };
        self.rotten.push(self.machines[at].station.member);
        if index_of(&self.machines[at].station.card.bytes(newest).unwrap_or_default()).is_some() {
            self.rot_sealed(at, (newest, sealed.last()), len, true, luck) // the power went, or a name failed, before there was a next one
        } else if sealed.is_empty() || luck.once_in(4) {
            self.rot_newest(at, newest, len, luck)
        } else {
            let which = luck.index(sealed.len());
            let one_before = which.checked_sub(1).map(|one_before| &sealed[one_before]);
            self.rot_sealed(at, (&sealed[which], one_before), len, which + 1 == sealed.len(), luck)
        }
    }

    /// A memory beside the log rots: it is made anew, and the node goes on with a stranger, or in a new life in which it finds again what it was about.
    fn rot_memory(&mut self, at: usize, paths: &[PathBuf], luck: &mut Luck) -> Verdict {
        let is_memory = |path: &&PathBuf| path.ends_with("state") || path.parent().is_some_and(|folder| folder.ends_with("peers"));
        let memories: Vec<_> = paths.iter().filter(is_memory).collect();
        if memories.is_empty() {
            return Ok(());
        }
        let path = luck.one_of(&memories);
        self.change(at, path, 1, false, luck);
        self.coverage.count("a memory beside the log rots");
        self.tell(format!("   {}: {}", self.name(at), path.display()));
        if let Err(error) = self.with_node(at, |_, _| Ok(())) {
            return Err(format!("P3: a rotten memory at {} is answered with {} {error}", self.name(at), error.code()));
        }
        if path.ends_with("state") {
            self.restored.push(self.machines[at].station.member);
        }
        self.look(at, true)
    }

    fn change(&self, at: usize, path: &Path, len: usize, before_index: bool, luck: &mut Luck) {
        let card = &self.machines[at].station.card;
        let bytes = card.bytes(path).unwrap_or_default();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let end = if before_index { index_of(&bytes).unwrap_or(used) } else { used };
        let start = luck.index(end);
        card.edit(path, |bytes| {
            for byte in bytes.iter_mut().take(end).skip(start).take(len) {
                *byte ^= 1 << luck.below(8);
            }
        });
    }

    /// What rots in a sealed segment costs nobody a life: it is not shown until it comes again, and everything else is. Its index may go with it, and all
    /// that the one before it was good for.
    fn rot_sealed(&mut self, at: usize, (path, one_before): (&Path, Option<&PathBuf>), len: usize, is_newest: bool, luck: &mut Luck) -> Verdict {
        let before = self.machines[at].memory.clone();
        self.change(at, path, len, is_newest, luck);
        if let Some(one_before) = one_before.filter(|_| luck.once_in(2)) {
            self.coverage.count("two old parts rot with their indexes");
            self.change(at, one_before, len, true, luck);
            self.change_index(at, one_before, luck);
            self.change_index(at, path, luck);
            self.machines[at].has_unmet_rot = true;
            if is_newest {
                return self.meet_rot(at, &before, len);
            }
        } else if is_newest && luck.once_in(3) {
            self.machines[at].has_unmet_rot = true;
            self.coverage.count("an old part rots with the index that tells of it");
            self.change_index(at, path, luck);
            return self.meet_rot(at, &before, len);
        }
        self.coverage.count("an old part of a log rots");
        self.machines[at].has_unmet_rot = true;
        self.look(at, true)?;
        let gone = before.whole.len().saturating_sub(self.machines[at].memory.whole.len()); // what is changed twice may be as it was
        self.tell(format!("   {}: {}, {gone} payload(s) are gone", self.name(at), path.display()));
        self.forgive();
        Ok(())
    }

    /// Somebody was told that bytes have rotted, as one command may say of rot that was never met before, and does what it said: `fsck`. From then on
    /// nothing may fail for it.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn fsck(&mut self, at: usize) -> Verdict {
        if !std::mem::take(&mut self.machines[at].has_unmet_rot) {
            return Ok(());
        }
        let name = self.name(at);
        let told = |error: zbundle::node::NodeError| format!("P4: fsck at {name}: {} {error}", error.code());
        let view = self.machines[at].station.view().map_err(told)?;
        let checked = view.fsck(&mut |_, _| {}).map_err(told)?;
        view.note_rot().map_err(told)?;
        let faults: Vec<_> = checked.faults.iter().map(|fault| format!("{:?} {}", fault.event, fault.what)).collect();
        self.tell(format!("   {name}: fsck tells of {faults:?}, {:?} mended, {:?}", checked.mended, view.rotten()));
        if checked.fault_count > 0 {
            self.coverage.count("fsck tells of rot");
        }
        Ok(())
    }

    /// Where a log is written, rot is met at opening. What is then not shown any more is said; what cannot be opened is said, and another card takes its
    /// place.
    fn rot_newest(&mut self, at: usize, path: &Path, len: usize, luck: &mut Luck) -> Verdict {
        let before = self.machines[at].memory.clone();
        self.change(at, path, len, false, luck);
        self.coverage.count("a log rots");
        self.meet_rot(at, &before, len)
    }

    fn change_index(&self, at: usize, path: &Path, luck: &mut Luck) {
        self.machines[at].station.card.edit(path, |bytes| {
            let index = index_of(bytes).unwrap_or_default();
            let place = index + luck.index(bytes.len() - index);
            bytes[place] ^= 1 << luck.below(8);
        });
    }

    /// The node is opened, and says what it has lost.
    fn meet_rot(&mut self, at: usize, before: &Memory, len: usize) -> Verdict {
        let opened = self.with_node(at, |_, node| Ok(node.findings().to_vec()));
        let findings = match opened {
            Ok(findings) => findings,
            Err(error) if matches!(error.code(), Code::Z301 | Code::Z302 | Code::Z105 | Code::Z307) => {
                self.coverage.count("a rotten log is refused");
                self.tell(format!("   {}: {} {error}; its card is replaced", self.name(at), error.code()));
                let member = self.machines[at].station.member;
                let image = self.machines[at].image.as_ref().map(zbundle::ports::MemoryDisk::image);
                let card = image.or_else(|| self.first_cards.get(member).map(zbundle::ports::MemoryDisk::image));
                return card.map_or(Ok(()), |card| self.put_card(at, card));
            }
            Err(error) => return Err(format!("P3: a rotten log at {} is answered with {} {error}", self.name(at), error.code())),
        };
        self.restored.push(self.machines[at].station.member);
        self.look(at, true)?;
        // Of an index alone nothing is missing, and an unfinished write is what nobody was promised; more than a byte may make the one of the other (R10.8-g).
        let says_so = findings.iter().any(|finding| match finding {
            Finding::Hole { .. } | Finding::Short { .. } => true,
            Finding::TornTail { .. } => len > 1,
            Finding::Index { .. } => false,
        });
        if !says_so && !before.held.is_subset(&self.machines[at].memory.held) {
            return Err(format!("P3: the log of {} has lost events, and nobody says so", self.name(at)));
        }
        self.forgive();
        Ok(())
    }
}
