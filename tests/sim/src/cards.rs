//! What happens to machines: their cards are copied, put back and cloned, their clocks jump.

use crate::model::{Memory, Verdict};
use crate::plan::Leap;
use crate::station::{BEGIN_MS, Station};
use crate::tables::Reader;
use crate::world::{Machine, Planted, World};

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
        self.machines[at].reader = Reader::default(); // what it had read past as damage may stand whole on this one
        self.machines[at].has_unmet_rot = self.rotten.contains(&self.machines[at].station.member);
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
        let has_unmet_rot = self.rotten.contains(&station.member);
        self.machines.push(Machine { is_clone: true, has_unmet_rot, ..Machine::new(station) });
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
}
