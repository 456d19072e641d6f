//! The claims of a standing node, on a disk that counts and fails.

mod orders;

use super::*;
use crate::node::local::About;
use crate::node::pushing::Intent;
use crate::ports::MemoryDisk;
use crate::ports::clock::FakeClock;
use crate::ports::entropy::SeededEntropy;
use crate::ports::local::Nobody;
use crate::ports::memory_disk::{Fault, Operation};
use crate::ports::store::Finding;
use bundle_format::ids::Name;
use std::io;
use std::path::Path;
use tokio::task::{LocalSet, spawn_local};

const DATA_DIR: &str = "/n";

struct Place {
    disk: MemoryDisk,
    clock: Rc<FakeClock>,
    standing: Rc<Standing>,
}

impl Place {
    fn ports(disk: &MemoryDisk, clock: &Rc<FakeClock>, seed: u64) -> Ports {
        let entropy = Rc::new(SeededEntropy(Cell::new(seed)));
        Ports {
            disk: Rc::new(disk.clone()),
            clock: clock.clone(),
            entropy,
            net: Rc::new(crate::ports::MemoryNetwork::default()),
            local: Rc::new(Nobody),
        }
    }

    fn secret() -> Secret {
        Secret::Key([7; 32].into())
    }

    fn new() -> Self {
        let (disk, clock) = (MemoryDisk::new(), Rc::new(FakeClock(Cell::new(1_800_000_000_000))));
        let ports = Self::ports(&disk, &clock, 1);
        let opening = Opening { data_dir: Path::new(DATA_DIR), secret: &Self::secret(), lock_wait_ms: 0 };
        let node = Node::init(&ports, &opening, &Name::new("ada").unwrap(), true).unwrap();
        let standing = Standing::new(ports, DATA_DIR.into(), Self::secret(), node);
        Self { disk, clock, standing }
    }

    /// Payloads that stand in the log of a node opened on `disk`, in order.
    fn stored(disk: &MemoryDisk) -> Vec<String> {
        let ports = Self::ports(disk, &Rc::new(FakeClock(Cell::new(1_800_000_000_000))), 99);
        let node = Node::open(&ports, &Opening { data_dir: Path::new(DATA_DIR), secret: &Self::secret(), lock_wait_ms: 0 }).unwrap();
        let holes = node.findings().iter().filter(|finding| matches!(finding, Finding::Hole { .. })).count();
        assert_eq!(holes, 0, "a hole costs the node its life");
        let mut scan = node.log().scan().unwrap();
        let mut payloads = Vec::new();
        while let Some((stream, _, bytes)) = scan.next().unwrap() {
            if stream.origin.lane == bundle_format::ids::Lane::Routine {
                payloads.push(String::from_utf8(bundle_format::event::Event::from_bytes(bytes).unwrap().payload.to_vec()).unwrap());
            }
        }
        payloads
    }

    fn lock_is_free(&self) -> bool {
        self.standing.is_lock_free()
    }
}

fn push(node: &mut Node, payload: &str) -> Result<(), NodeError> {
    let about = About { lane: "routine".into(), kind: "record".into(), ..About::default() };
    let intent: Intent = node.intend(&about)?;
    node.append_payloads(&intent, &[payload.as_bytes().to_vec()]).map(drop)
}

/// Time stands still but for those who wait for it.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

fn failing(operation: Operation, error: io::ErrorKind, sticky: bool) -> Fault {
    Fault { operation, nth: 1, error, sticky }
}

#[test]
fn many_who_append_at_once_share_a_sync_and_none_is_answered_before_it() {
    run(async {
        let place = Place::new();
        let mut changes = place.standing.changes();
        changes.mark_unchanged();
        let before = place.disk.counts().syncs;
        let mut tasks = Vec::new();
        for number in 0..100 {
            let (standing, disk) = (place.standing.clone(), place.disk.clone());
            tasks.push(spawn_local(async move {
                for round in 0..10 {
                    let payload = format!("{number}.{round}");
                    standing.with(|node| push(node, &payload)).await.unwrap();
                    standing.durable().await.unwrap();
                    if number % 9 == 0 {
                        let cut = disk.image_of_synced();
                        assert!(Place::stored(&cut).contains(&payload), "the power goes right after the answer");
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let syncs = place.disk.counts().syncs - before;
        assert!(syncs <= 30, "1000 events in rounds of 100 took {syncs} syncs");
        assert!(changes.has_changed().unwrap());
        place.standing.close().await.unwrap();
        assert_eq!(Place::stored(&place.disk).len(), 1000);
    });
}

#[test]
fn durable_without_news_costs_nothing_and_tells_nobody() {
    run(async {
        let place = Place::new();
        place.standing.durable().await.unwrap();
        let (before, mut changes) = (place.disk.counts().syncs, place.standing.changes());
        changes.mark_unchanged();
        place.standing.with(|node| Ok(node.name().clone())).await.unwrap();
        place.standing.durable().await.unwrap();
        assert_eq!((place.disk.counts().syncs, changes.has_changed().unwrap()), (before, false));
    });
}

#[test]
fn a_failed_sync_is_told_to_all_who_wait_and_the_node_is_opened_anew() {
    for (operation, error, code) in [
        (Operation::Sync, io::ErrorKind::Other, Code::Z303),
        (Operation::Write, io::ErrorKind::Other, Code::Z202),
        (Operation::Write, io::ErrorKind::StorageFull, Code::Z203),
    ] {
        run(async {
            let place = Place::new();
            let standing = &place.standing;
            standing.with(|node| push(node, "before")).await.unwrap();
            standing.durable().await.unwrap();
            place.disk.fail(failing(operation, error, false));
            let mut waiting = Vec::new();
            for number in 0..5 {
                let standing = standing.clone();
                waiting.push(spawn_local(async move {
                    standing.with(|node| push(node, &format!("lost {number} {}", "x".repeat(2000)))).await?;
                    standing.durable().await
                }));
            }
            for task in waiting {
                assert_eq!(task.await.unwrap().unwrap_err().code(), code, "{operation:?}");
            }
            standing.with(|node| push(node, "after")).await.unwrap();
            standing.durable().await.unwrap();
            let cut = place.disk.image_of_synced();
            let stored = Place::stored(&cut);
            let acknowledged: Vec<_> = stored.iter().filter(|payload| !payload.starts_with("lost")).collect();
            assert_eq!(acknowledged, ["before", "after"], "{operation:?}: {stored:?}");
        });
    }
}

#[test]
fn a_ticket_of_a_life_that_failed_fails_however_late_it_is_shown() {
    run(async {
        let place = Place::new();
        let standing = &place.standing;
        standing.with(|node| push(node, "one")).await.unwrap();
        let good = standing.ticket();
        standing.durable().await.unwrap();
        standing.with(|node| push(node, "two")).await.unwrap();
        let lost = standing.ticket();
        place.disk.fail(failing(Operation::Sync, io::ErrorKind::Other, false));
        standing.durable().await.unwrap_err();
        standing.with(|node| push(node, "three")).await.unwrap();
        standing.durable().await.unwrap();
        assert!(standing.settled(&good).await.is_ok());
        assert_eq!(standing.settled(&lost).await.unwrap_err().code(), Code::Z303);
    });
}

#[test]
fn a_disk_that_goes_on_failing_is_asked_only_every_few_seconds() {
    run(async {
        let place = Place::new();
        let standing = &place.standing;
        place.disk.fail(failing(Operation::Sync, io::ErrorKind::StorageFull, true));
        let failed = async || {
            standing.with(|node| push(node, "x")).await?;
            standing.durable().await
        };
        assert_eq!(failed().await.unwrap_err().code(), Code::Z203);
        assert!(failed().await.is_err(), "opened once more at once");
        let before = place.disk.counts();
        for _ in 0..10 {
            assert_eq!(failed().await.unwrap_err().code(), Code::Z203);
        }
        assert_eq!(place.disk.counts(), before, "and then left alone");
        place.disk.heal();
        assert!(failed().await.is_err(), "not yet");
        place.clock.0.set(place.clock.0.get() + REOPEN_AFTER_MS);
        failed().await.unwrap();
    });
}

#[test]
fn a_lease_frees_the_lock_with_everything_durable_and_work_goes_on_when_it_ends() {
    run(async {
        let place = Place::new();
        let standing = &place.standing;
        standing.with(|node| push(node, "ours")).await.unwrap();
        let ticket = standing.ticket();
        let mut changes = standing.changes();
        let lease = standing.lend().await.unwrap();
        assert!(place.lock_is_free() && standing.lent_for_ms().is_some());
        standing.settled(&ticket).await.unwrap();
        let waiting = spawn_local({
            let standing = standing.clone();
            async move { standing.with(|node| push(node, "ours again")).await }
        });
        let ports = Place::ports(&place.disk, &place.clock, 5);
        let opening = Opening { data_dir: Path::new(DATA_DIR), secret: &Place::secret(), lock_wait_ms: 0 };
        let mut theirs = Node::open(&ports, &opening).unwrap();
        push(&mut theirs, "theirs").unwrap();
        crate::ports::Store::sync(&mut theirs.wal).unwrap();
        changes.mark_unchanged();
        drop(lease); // killed: its lock stays for a moment
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        drop(theirs);
        standing.durable().await.unwrap(); // nothing of ours is owed, wherever the node is
        waiting.await.unwrap().unwrap();
        assert!(changes.has_changed().unwrap());
        standing.close().await.unwrap();
        assert_eq!(Place::stored(&place.disk), ["ours", "theirs", "ours again"]);
    });
}

#[test]
fn leases_and_works_take_turns_in_the_order_they_asked() {
    run(async {
        let place = Place::new();
        let told = Rc::new(RefCell::new(String::new()));
        let mut tasks = Vec::new();
        for (number, kind) in "wlwwllwlw".chars().enumerate() {
            let (standing, told) = (place.standing.clone(), told.clone());
            tasks.push(spawn_local(async move {
                if kind == 'w' {
                    let work = |_: &mut Node| {
                        told.borrow_mut().push('w');
                        Ok(())
                    };
                    standing.with(work).await.unwrap();
                } else {
                    let lease = standing.lend().await.unwrap();
                    told.borrow_mut().push('l');
                    tokio::time::sleep(Duration::from_millis(number as u64)).await;
                    drop(lease);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(told.borrow().as_str(), "wlwwllwlw");
        place.standing.close().await.unwrap();
        assert!(place.lock_is_free());
        assert_eq!(place.standing.with(|_| Ok(())).await.unwrap_err().code(), Code::Z104);
        assert!(place.standing.lend().await.is_err());
    });
}

#[test]
fn whoever_stops_waiting_for_a_turn_has_done_nothing_and_holds_nobody_up() {
    run(async {
        let place = Place::new();
        let lease = place.standing.lend().await.unwrap();
        let impatient =
            tokio::time::timeout(Duration::from_secs(1), place.standing.with(|_| -> Result<(), NodeError> { panic!("its turn never came") }));
        assert!(impatient.await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(1), place.standing.lend()).await.is_err());
        drop(lease);
        place.standing.with(|node| push(node, "x")).await.unwrap();
    });
}
