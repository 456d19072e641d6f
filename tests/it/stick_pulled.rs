//! Sticks that are full, read-only, or pulled at every step: nothing is lost, "safe" is never said falsely, the next run completes.

use crate::lab::Luck;
use crate::stick::{CLINICS, HUB, domain};
use crate::world::World;
use bundle_format::error::Code;
use bundle_format::ids::{Lane, hex};
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use zbundle::carry::stick::PlaceKind;
use zbundle::node::exchanging::{ExchangeOrder, Exchanged};
use zbundle::ports::MemoryDisk;
use zbundle::ports::disk::{Disk, DiskFile, Entry, Lock, Open};
use zbundle::ports::memory_disk::{Fault, Operation};

/// A machine's disk and the sticks that are put into it: everything below a folder whose name begins with `stick`.
#[derive(Clone, Default)]
struct Machine {
    own: MemoryDisk,
    stick: MemoryDisk,
}

impl Machine {
    fn side(&self, path: &Path) -> &MemoryDisk {
        let on_stick = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("stick"));
        if on_stick { &self.stick } else { &self.own }
    }

    /// A domain, a prepared stick with a file of the other clinic on it, and what the first clinic has to say.
    fn with_stick() -> (Self, World) {
        let machine = Self::default();
        let world = World::on(Rc::new(machine.clone()));
        domain(&world);
        machine.stick.mount(&world.path("stick"), 9);
        machine.stick.create_folder(&world.path("stick")).unwrap();
        world.prepare("stick", PlaceKind::Stick);
        world.push(CLINICS[1], &["b1"]);
        world.exchange(CLINICS[1], "stick");
        (machine, world)
    }

    fn fail(&self, operation: Operation, nth: u64, error: io::ErrorKind, sticky: bool) {
        self.stick.fail(Fault { operation, nth, error, sticky });
    }
}

impl Disk for Machine {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        self.side(path).open(path, how)
    }
    fn look(&self, path: &Path) -> io::Result<Option<Entry>> {
        self.side(path).look(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.side(folder).list(folder)
    }
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.side(folder).create_folder(folder)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.side(from).rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.side(path).remove(path)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.side(folder).sync_folder(folder)
    }
    fn sync_volume(&self, folder: &Path) -> io::Result<()> {
        self.side(folder).sync_volume(folder)
    }
    fn free_space(&self, folder: &Path) -> io::Result<u64> {
        self.side(folder).free_space(folder)
    }
    fn volume(&self, folder: &Path) -> io::Result<u64> {
        if folder == Path::new("/") { Ok(0) } else { self.side(folder).volume(folder) }
    }
    fn lock(&self, path: &Path, wait_ms: u64) -> io::Result<Option<Box<dyn Lock>>> {
        self.own.lock(path, wait_ms)
    }
}

/// Records that no compressor makes much smaller.
fn records(count: usize) -> Vec<String> {
    let mut luck = Luck(7);
    (0..count).map(|at| format!("{{\"record\":{at},\"note\":\"{}\"}}", hex(&luck.bytes(60)))).collect()
}

fn push(world: &World, payloads: &[String]) {
    world.push(CLINICS[0], &payloads.iter().map(String::as_str).collect::<Vec<_>>());
}

/// What the hub ends with when the stick comes to it as it is, and then once more after a last good run.
fn arrives_in_the_end(world: &World, wanted: usize, what: &str) {
    world.exchange(CLINICS[0], "stick");
    world.exchange(HUB, "stick");
    assert_eq!(world.payloads(HUB).len(), wanted, "{what}");
}

/// R10.12-f, R10.12-g: pulled at every write, sync, name and read; what was not synced is lost in part.
#[test]
fn a_stick_pulled_at_any_step_is_never_called_safe_and_the_next_run_completes() {
    let mut pulled = 0;
    for operation in [Operation::Write, Operation::Sync, Operation::Name, Operation::Read] {
        for nth in 1.. {
            let (machine, world) = Machine::with_stick();
            push(&world, &records(900));
            machine.fail(operation, nth, io::ErrorKind::NotConnected, true);
            let ran = world.try_exchange(CLINICS[0], "stick", |_| {});
            let unharmed = machine.stick_is_unharmed();
            machine.stick.heal();
            machine.stick.crash(nth);
            match &ran {
                Ok(exchanged) if exchanged.safe => {
                    assert_lies_there(&world, exchanged);
                    if unharmed {
                        break;
                    }
                }
                Ok(exchanged) => {
                    let trouble = exchanged.trouble.as_ref().expect("what is not safe has a reason");
                    assert!(matches!(trouble.code(), Code::Z237 | Code::Z214), "{operation:?} {nth}: {trouble}");
                    pulled += 1;
                }
                Err(error) => {
                    assert!(matches!(error.code(), Code::Z201 | Code::Z237 | Code::Z233), "{operation:?} {nth}: {error}");
                    pulled += 1;
                }
            }
            arrives_in_the_end(&world, 901, &format!("{operation:?} {nth}"));
        }
    }
    assert!(pulled > 12, "only {pulled} steps were pulled at");
}

impl Machine {
    /// Whether the fault that was set has not come.
    fn stick_is_unharmed(&self) -> bool {
        self.stick.has_faults_to_come()
    }
}

/// What was called safe is there, whole, whatever happened to the rest.
fn assert_lies_there(world: &World, exchanged: &Exchanged) {
    for file in &exchanged.cut.files {
        assert!(zbundle::node::inspect::outside(world.ports(), &file.path, None).is_ok(), "{}", file.path.display());
    }
}

/// R10.12-b, R10.12-d: every size of stick from nothing to enough.
#[test]
fn a_stick_of_any_size_takes_what_fits_and_several_carry_the_rest() {
    let payloads = records(400);
    let mut seen = (0, 0);
    for kilobytes in (0..44).step_by(3) {
        let (machine, world) = Machine::with_stick();
        push(&world, &payloads);
        let used: u64 = 2048; // marker and the other clinic's file
        machine.stick.set_space(Some(used + 64 * 1024 + kilobytes * 1024));
        let first = world.try_exchange(CLINICS[0], "stick", |_| {}).unwrap();
        assert!(first.safe && first.trouble.is_none(), "{kilobytes} KB: {:?}", first.trouble);
        assert_eq!(first.copied[2] + first.left[2], 400, "{kilobytes} KB");
        assert_eq!(first.cut.full, first.left[2] > 0);
        assert_lies_there(&world, &first);
        if first.left[2] > 0 {
            seen.0 += 1;
            let again = world.try_exchange(CLINICS[0], "stick", |_| {}).unwrap();
            assert_eq!(again.left[2], 400 - first.copied[2] - again.copied[2], "{kilobytes} KB: the same stick again");
            machine.stick.set_space(None);
            machine.stick.mount(&world.path("stick-2"), 10);
            machine.stick.create_folder(&world.path("stick-2")).unwrap();
            world.prepare("stick-2", PlaceKind::Stick);
            let second = world.exchange(CLINICS[0], "stick-2");
            assert_eq!(second.copied[2], 400 - first.copied[2] - again.copied[2], "{kilobytes} KB: another stick takes the rest, and only that");
            for stick in ["stick-2", "stick"] {
                world.exchange(HUB, stick); // in the wrong order
            }
        } else {
            seen.1 += 1;
            machine.stick.set_space(None);
            world.exchange(HUB, "stick");
        }
        assert_eq!(world.payloads(HUB).len(), 401, "{kilobytes} KB");
    }
    assert!(seen.0 >= 3 && seen.1 >= 3, "{seen:?}");
}

/// R10.12-b: one clinic's long history does not take the room of another one's allergy.
#[test]
fn on_a_small_stick_what_is_urgent_goes_first_for_everybody() {
    let (machine, world) = Machine::with_stick();
    world.exchange(HUB, "stick");
    let [first, second] = CLINICS.map(|clinic| world.view(clinic).keyring().node());
    let history = records(900);
    world.push_to(HUB, Lane::Routine, &[first], &history.iter().map(String::as_str).collect::<Vec<_>>());
    for clinic in [first, second] {
        world.push_to(HUB, Lane::Urgent, &[clinic], &["an allergy"]);
    }
    let used: u64 = world.lying("stick/zbundle").iter().map(|(_, len)| len).sum();
    machine.stick.set_space(Some(used + (64 + 40) * 1024));
    let exchanged = world.try_exchange(HUB, "stick", |_| {}).unwrap();
    assert!(exchanged.cut.full && exchanged.safe, "{:?}", exchanged.trouble);
    assert_eq!((exchanged.copied[1], exchanged.left[1]), (2, 0), "both allergies");
    assert!(exchanged.left[2] > 0 && exchanged.copied[2] + exchanged.left[2] == 900);
    machine.stick.set_space(None);
    for clinic in CLINICS {
        world.exchange(clinic, "stick");
        assert!(world.payloads(clinic).contains(&"an allergy".to_owned()), "{clinic}");
    }
}

/// R10.12-d: the first stick of two never arrives.
#[test]
fn a_lost_stick_of_several_costs_three_trips_at_most() {
    let (machine, world) = Machine::with_stick();
    push(&world, &records(1500));
    machine.stick.set_space(Some(2048 + 64 * 1024 + 90 * 1024));
    let first = world.try_exchange(CLINICS[0], "stick", |_| {}).unwrap();
    assert!(first.copied[2] > 0 && first.left[2] > 0);
    machine.stick.set_space(None);
    let mut copied = Vec::new();
    for trip in 0..4 {
        let name = format!("stick-{trip}");
        machine.stick.mount(&world.path(&name), 20 + trip);
        machine.stick.create_folder(&world.path(&name)).unwrap();
        world.prepare(&name, PlaceKind::Stick);
        copied.push(world.exchange(CLINICS[0], &name).copied[2]);
    }
    let rest = 1500 - first.copied[2];
    assert_eq!(copied, [rest, 0, 0, 1500], "behind the lost stick and what went on behind it, three times; then from the receipt");
    world.exchange(HUB, "stick-3");
    assert_eq!(world.payloads(HUB).len(), 1500, "all of it, but for the other clinic's file on the lost stick");
}

/// R10.12-g: the lock switch of a stick is set.
#[test]
fn a_read_only_stick_is_taken_in_from_and_said_to_be_read_only() {
    let (machine, world) = Machine::with_stick();
    world.exchange(HUB, "stick");
    world.exchange(CLINICS[1], "stick");
    for operation in [Operation::Write, Operation::Name] {
        machine.fail(operation, 1, io::ErrorKind::ReadOnlyFilesystem, true);
    }
    let idle = world.exchange(CLINICS[1], "stick");
    assert!(!idle.ingested.files.is_empty() && idle.safe, "nothing to write: nothing to complain of");
    push(&world, &records(3));
    let refused = world.try_exchange(CLINICS[0], "stick", |_| {}).unwrap();
    assert_eq!(refused.trouble.unwrap().code(), Code::Z234);
    assert!(refused.safe, "a stick nobody wrote to may be pulled");
    machine.stick.heal();
    arrives_in_the_end(&world, 4, "read-only");
}

/// R10.10-e: found by killing the process of a real file system. Behind a stick that is gone its mount point is an empty folder of the machine's own disk;
/// the folder for bundles was made there, and the next stick could not be mounted on it.
#[test]
fn nothing_is_made_where_a_stick_was_pulled() {
    let (machine, world) = Machine::with_stick();
    push(&world, &records(40));
    let pulled = Rc::new(Cell::new(false));
    let path = world.path("stick");
    let mut node = world.open(CLINICS[0]);
    let order = ExchangeOrder { place: &path, to: &[], max_size: crate::world::MAX_SIZE, files_max: 1000, dry_run: false };
    let ran = node.exchange(&order, &mut |_| {
        if !pulled.replace(true) {
            for entry in machine.stick.list(&path.join("zbundle")).unwrap().iter().chain(&machine.stick.list(&path).unwrap()) {
                machine.stick.remove(&entry.path).unwrap_or(()); // the folder itself stays in this world: nothing can be removed but files
            }
            machine.stick.mount(&path, 0);
        }
    });
    assert!(pulled.get());
    let trouble = ran.unwrap().trouble.unwrap();
    assert_eq!(trouble.code(), Code::Z237, "{trouble}");
    assert!(machine.stick.list(&path.join("zbundle")).unwrap().is_empty(), "no file, no temporary");
}
