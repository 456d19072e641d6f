//! Exchanging with sticks that were prepared, and watching them.

use crate::disk::Mounts;
use crate::model::{Memory, Verdict};
use crate::plan::Step;
use crate::station::Station;
use crate::world::{Planted, World};
use bundle_format::error::Code;
use std::rc::Rc;
use zbundle::carry::stick::{self, Marker, PlaceId, PlaceKind};
use zbundle::carry::watch::Pace;
use zbundle::node::exchanging::{ExchangeOrder, Exchanged};
use zbundle::node::taking::{FileReport, Ingested};
use zbundle::node::watching::Watched;
use zbundle::ports::{Disk as _, MemoryDisk};

/// Files of one machine that may lie on a stick.
const FILES_MAX: u64 = 1000;

impl World {
    /// Somebody writes a marker on a stick that has none. One that is damaged stays as it is: a person would look at the stick first.
    fn prepare_stick(&mut self, number: usize) {
        let disk = Mounts { card: MemoryDisk::new(), sticks: Rc::clone(&self.around.sticks) };
        let folder = Station::stick(number);
        if disk.look(&folder.join(stick::MARKER_NAME)).is_ok_and(|marker| marker.is_some()) {
            return;
        }
        self.prepared += 1;
        let marker = Marker { id: PlaceId(self.prepared.to_be_bytes()), kind: PlaceKind::Stick, label: format!("ZB-{number:02}") };
        if stick::prepare(&disk, &folder, &marker).is_ok() {
            self.coverage.count("a stick is prepared");
        }
    }

    /// A stick is exchanged with.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn exchange(&mut self, at: usize, stick: usize, max_size: u64, step: &Step) -> Verdict<Option<Exchanged>> {
        self.prepare_stick(stick);
        let (place, before) = (Station::stick(stick), self.machines[at].memory.clone());
        let order = ExchangeOrder { place: &place, to: &[], max_size, files_max: FILES_MAX, dry_run: false };
        let done = self.while_it_happens(at, Some(stick), step, &[Code::Z406, Code::Z233], |world| {
            world.with_node(at, |_, node| {
                let exchanged = node.exchange(&order, &mut |_| {})?;
                let revoked = exchanged.cut.files.iter().flat_map(|file| &file.recipients);
                let revoked = revoked.into_iter().any(|to| node.roster().member(to).is_some_and(zbundle::keys::Member::is_revoked));
                Ok((exchanged, revoked))
            })
        })?;
        let Some((exchanged, revoked)) = done else { return Ok(None) };
        if revoked {
            return Err(format!("policy: {} wrote for somebody it knows to be revoked", self.name(at)));
        }
        self.tell_exchanged(at, &exchanged);
        if exchanged.trouble.as_ref().is_some_and(|trouble| trouble.code() == Code::Z301) && self.machines[at].has_unmet_rot {
            self.coverage.count("rot is met");
            self.fsck(at)?;
        } else if let (Some(trouble), None) = (&exchanged.trouble, step.mishap) {
            return Err(format!("P4: exchange at {}: {} {trouble}, and nothing is wrong there", self.name(at), trouble.code()));
        }
        self.check_safe(at, stick, &exchanged)?;
        self.remember_files(stick, &exchanged, step);
        self.check_taken(at, &before, &exchanged.ingested.files)?;
        self.count_taken(&exchanged.ingested);
        Ok(Some(exchanged))
    }

    fn tell_exchanged(&mut self, at: usize, exchanged: &Exchanged) {
        self.tell(format!(
            "   {} took {:?} from {} file(s), copied {:?}, left {:?}, tidied {}, {} of ours lie there{}{}",
            self.name(at),
            exchanged.ingested.counts,
            exchanged.ingested.files.len(),
            exchanged.copied,
            exchanged.left,
            exchanged.tidied,
            exchanged.lying.len(),
            if exchanged.safe { ", safe" } else { "" },
            exchanged.trouble.as_ref().map_or_else(String::new, |trouble| format!(", {} {trouble}", trouble.code())),
        ));
        for (happened, what) in [
            (exchanged.safe, "a stick is said to be safe"),
            (exchanged.tidied > 0, "what has arrived is taken away"),
            (exchanged.trouble.is_some(), "an exchange is not complete"),
            (!exchanged.level.is_empty(), "a hub is said to have everything"),
        ] {
            if happened {
                self.coverage.count(what);
            }
        }
    }

    /// "Safe" was said: then whoever pulls the stick now has every file of ours, whole.
    fn check_safe(&self, at: usize, stick: usize, exchanged: &Exchanged) -> Verdict {
        let durable = self.around.sticks[stick].durable();
        let is_whole = |name: &str, len: u64| durable.bytes(&exchanged.place.files.join(name)).is_some_and(|bytes| bytes.len() as u64 == len);
        match exchanged.lying.iter().find(|written| exchanged.safe && !is_whole(&written.name, written.bytes)) {
            Some(written) => {
                Err(format!("P1: {} said that stick {stick} is safe, and {} would not outlive its pulling", self.name(at), written.name))
            }
            None => Ok(()),
        }
    }

    fn remember_files(&mut self, stick: usize, exchanged: &Exchanged, step: &Step) {
        for file in exchanged.cut.files.iter().filter(|file| !file.already_there) {
            let bytes = self.around.sticks[stick].bytes(&file.path).unwrap_or_default();
            let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            self.archive.push((name, bytes));
        }
        let recipients: Vec<_> = exchanged.cut.files.iter().flat_map(|file| &file.recipients).collect();
        let one = usize::try_from(step.luck % 64).ok().and_then(|luck| recipients.get(luck % recipients.len().max(1)));
        if let Some(member) = one.and_then(|id| self.members.iter().position(|member| member == *id)) {
            self.carried.insert(stick, member);
        }
    }

    /// A stick is looked at once by a machine that watches it. Returns whether it brought something.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn watch(&mut self, at: usize, stick: usize, step: &Step) -> Verdict<bool> {
        self.prepare_stick(stick);
        let (folder, before) = (Station::stick(stick), self.machines[at].memory.clone());
        let done = self.while_it_happens(at, Some(stick), step, &[], |world| {
            world.with_node(at, |_, node| {
                let mut told = Vec::new();
                node.watch_once(&folder, &Pace::default(), &mut |one| told.push(one));
                Ok(told)
            })
        })?;
        let (mut reports, mut news, mut struck): (Vec<FileReport>, bool, bool) = (Vec::new(), false, false);
        for one in done.unwrap_or_default() {
            match one {
                Watched::File(report) => reports.push(report),
                Watched::Away { code: Code::Z301, .. } | Watched::Trouble { code: Code::Z301, .. } if self.machines[at].has_unmet_rot => {
                    self.coverage.count("rot is met");
                    self.fsck(at)?;
                }
                Watched::Away { code: Code::Z233, .. } | Watched::Trouble { code: Code::Z406, .. } => {}
                Watched::Away { code, why, .. } | Watched::Trouble { code, why } if step.mishap.is_none() => {
                    return Err(format!("P4: watch at {}: {code} {why}, and nothing is wrong there", self.name(at)));
                }
                Watched::Away { .. } | Watched::Trouble { .. } => struck = true,
                Watched::Taken(taken) => {
                    news = taken.counts.new + taken.counts.control > 0 || taken.new_life;
                    self.tell(format!("   {} watched, and took {:?}", self.name(at), taken.counts));
                    self.coverage.count("a watched stick brings something");
                    self.count_taken(&taken);
                }
                _ => {}
            }
        }
        if !struck {
            self.check_taken(at, &before, &reports)?; // else what it was about to tell is told by status
        }
        Ok(news)
    }

    /// Everybody brings one stick to the authority, which answers on it, and everybody watches it afterwards. Returns what somebody had to say.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn meet_by_place(&mut self, authority: usize, calm: &Step) -> Verdict<Option<String>> {
        let mut talked = None;
        self.calm();
        for at in (1..self.machines.len()).chain([authority]) {
            let exchanged = self.exchange(at, 0, 64 << 20, calm)?;
            let brings = |taken: &Ingested| taken.counts.new + taken.counts.control > 0 || taken.new_life;
            if exchanged.is_some_and(|exchanged| brings(&exchanged.ingested)) {
                talked = Some(format!("a stick brings {} something new", self.name(at)));
            }
        }
        self.around.ticker.pass(10_000);
        for at in 1..self.machines.len() {
            if self.watch(at, 0, calm)? {
                talked = Some(format!("a watched stick brings {} something new", self.name(at)));
            }
        }
        Ok(talked)
    }

    /// What was shown before is shown still, and who took in both branches of a fork said so.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn check_taken(&mut self, at: usize, before: &Memory, files: &[FileReport]) -> Verdict {
        self.look(at, false)?;
        for origin in self.machines[at].memory.forks.difference(&before.forks) {
            self.coverage.count("a fork is seen");
            let silent = self.planted == Some(Planted::SilentForks);
            if silent || !files.iter().any(|file| file.forks.iter().any(|fork| fork.origin == *origin)) {
                return Err(format!("forks: {} took in both branches of {origin:?} and did not say so", self.name(at)));
            }
        }
        Ok(())
    }
}
