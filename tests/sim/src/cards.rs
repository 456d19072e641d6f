//! What happens to machines: their cards are copied, put back and cloned, their clocks jump, their bytes rot.

use crate::luck::Luck;
use crate::model::{Memory, Verdict};
use crate::plan::Leap;
use crate::station::{BEGIN_MS, Station};
use crate::world::{Machine, Planted, World};
use bundle_format::error::Code;

/// Machines there may be beside the members'.
const CLONES_MAX: usize = 2;
const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

impl World {
    /// A card is copied.
    ///
    /// # Errors
    /// Never; for the shape of steps.
    pub fn image(&mut self, at: usize) -> Verdict {
        let machine = &mut self.machines[at];
        machine.image = Some(machine.station.card.image());
        machine.luck_then = machine.station.entropy.0.get();
        Ok(())
    }

    /// The image goes back in its machine.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn restore(&mut self, at: usize) -> Verdict {
        let at = self.imaged(at);
        let Some(image) = self.machines[at].image.as_ref().map(zbundle::ports::MemoryDisk::image) else { return Ok(()) };
        self.coverage.count("an image is put back");
        if self.planted == Some(Planted::LuckRestored) {
            self.machines[at].station.entropy.0.set(self.machines[at].luck_then);
        }
        self.put_card(at, image)
    }

    /// The first machine from this one on that has an image; this one when none has.
    fn imaged(&self, at: usize) -> usize {
        let count = self.machines.len();
        (0..count).map(|by| (at + by) % count).find(|at| self.machines[*at].image.is_some()).unwrap_or(at)
    }

    /// Another card in a machine: what it showed before it need not show any more.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn put_card(&mut self, at: usize, card: zbundle::ports::MemoryDisk) -> Verdict {
        self.restored.push(self.machines[at].station.member);
        self.machines[at].station.card = card;
        self.machines[at].memory = Memory::default();
        self.look(at, true)?;
        self.forgive();
        Ok(())
    }

    /// The image goes in a second machine.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn clone_machine(&mut self, at: usize, luck: u64) -> Verdict {
        let at = self.imaged(at);
        let clones = self.machines.iter().filter(|machine| machine.is_clone).count();
        let original = &self.machines[at];
        let Some(image) = original.image.as_ref().filter(|_| clones < CLONES_MAX && !original.is_clone) else { return Ok(()) };
        let station = &original.station;
        let name = format!("{}-twin{}", station.name, clones + 1);
        self.restored.push(station.member);
        let station = Station::new(name, station.member, station.id, image.image(), luck, &self.around);
        self.machines.push(Machine { station, memory: Memory::default(), image: None, luck_then: 0, is_clone: true, seen: None });
        self.coverage.count("a machine is cloned");
        self.look(self.machines.len() - 1, true)
    }

    /// A clone is switched off for ever.
    ///
    /// # Errors
    /// Never; for the shape of steps.
    pub fn dismiss(&mut self) -> Verdict {
        if self.machines.last().is_some_and(|machine| machine.is_clone) {
            self.machines.pop();
            self.forgive();
        }
        Ok(())
    }

    /// A clock jumps.
    ///
    /// # Errors
    /// Never; for the shape of steps.
    pub fn clock(&mut self, at: usize, leap: Leap) -> Verdict {
        let zero_ms = &self.machines[at].station.zero_ms;
        zero_ms.set(match leap {
            Leap::Epoch => 0,
            Leap::Ahead => zero_ms.get() + 2 * DAY_MS,
            Leap::FarAhead => BEGIN_MS + 3650 * DAY_MS,
            Leap::Back => zero_ms.get().saturating_sub(HOUR_MS),
            Leap::Right => BEGIN_MS,
        });
        Ok(())
    }

    /// Bytes of a log rot. What is then not shown any more is said; what cannot be opened is said, and another card takes its place.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn rot(&mut self, at: usize, len: usize, luck: &mut Luck) -> Verdict {
        if self.machines[at].station.member == 0 && self.has_new_authority {
            return Ok(());
        }
        let card = self.machines[at].station.card.clone();
        let segments: Vec<_> = card.paths().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
        let Some(path) = segments.last() else { return Ok(()) };
        let end = card.bytes(path).unwrap_or_default().iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let start = luck.index(end);
        card.edit(path, |bytes| {
            for byte in bytes.iter_mut().take(end).skip(start).take(len) {
                *byte ^= 1 << luck.below(8);
            }
        });
        self.coverage.count("a log rots");
        self.rotten.push(self.machines[at].station.member);
        let before = self.machines[at].memory.clone();
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
        if findings.is_empty() && !before.held.is_subset(&self.machines[at].memory.held) {
            return Err(format!("P3: the log of {} has lost events, and nobody says so", self.name(at)));
        }
        self.forgive();
        Ok(())
    }
}
