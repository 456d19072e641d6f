//! A sync that a person asks for beside one that stays, in one process and to one hub (R7.8-b).

use crate::lab::{Lab, Line, Luck, Serving, count, push, run};
use crate::world::World;
use bundle_format::ids::{Lane, NodeId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use zbundle::keys::Policy;
use zbundle::node::standing::Standing;
use zbundle::node::syncing::{SyncEnd, SyncOrder, Synced, Syncer};
use zbundle::node::workshop::Workshop;

const COUNT: u64 = 175;

/// A clinic that keeps its node, its hub behind a thin line, and what all syncs of its process share.
struct Clinic {
    lab: Lab,
    id: NodeId,
    hub: Serving,
    standing: Rc<Standing>,
    workshop: Rc<RefCell<Workshop>>,
}

impl Clinic {
    async fn new() -> Self {
        let world = World::quick();
        world.init("hub", true);
        let id = world.join("clinic", "hub", Policy::Own);
        let lab = Lab::new(world);
        let (hub, standing) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.complete(&standing, "hub").await;
        hub.quiet().await;
        lab.cable.passed();
        lab.cable.slow(Line { rate: 4000, delay_ms: 300 });
        let workshop = Rc::new(RefCell::new(Workshop::new().unwrap()));
        Self { lab, id, hub, standing, workshop }
    }

    async fn push(&self) {
        push(&self.standing, "routine", &[], &(0..COUNT).map(|seed| Luck(seed).bytes(150)).collect::<Vec<_>>()).await;
    }

    async fn sync(&self, order: SyncOrder, stopped: watch::Receiver<bool>) -> Synced {
        let order = SyncOrder { address: "hub:1".to_owned(), ..order };
        let (standing, workshop) = (Rc::clone(&self.standing), Rc::clone(&self.workshop));
        Syncer::new(standing, self.lab.ports(), workshop, order, stopped, Rc::new(|_| {})).run().await
    }

    async fn held(&self, lane: Lane) -> u64 {
        count(&self.hub.standing, self.id, lane).await
    }

    /// What passed the line so far.
    fn carried(&self) -> u64 {
        self.lab.cable.passed().iter().map(|passed| passed.up.get() + passed.down.get()).sum()
    }
}

/// Its hub took each for one that had lost the other: nine dials each in 15 s, 102 KB for what takes 30.
#[test]
fn a_sync_beside_one_that_stays_costs_little_and_hands_back() {
    run(async {
        let (_stop, stopped) = watch::channel(false);
        let alone = Clinic::new().await;
        alone.push().await;
        assert!(alone.sync(SyncOrder::default(), stopped.clone()).await.is_complete());
        let alone = alone.carried();

        let clinic = Clinic::new().await;
        clinic.push().await;
        let staying = clinic.sync(SyncOrder { every_ms: Some(900_000), ..SyncOrder::default() }, stopped.clone());
        let script = async {
            sleep(Duration::from_secs(3)).await;
            assert!((1..COUNT).contains(&clinic.held(Lane::Routine).await), "it is in the middle of it");
            let asked = clinic.sync(SyncOrder::default(), stopped.clone()).await;
            assert!(asked.is_complete() && asked.dials == 1 && clinic.held(Lane::Routine).await == COUNT, "{asked:?}");
            sleep(Duration::from_secs(3)).await;
            let carried = clinic.carried();
            assert!(carried * 10 < alone * 13, "{carried} bytes, {alone} alone");
            push(&clinic.standing, "urgent", &[], &[b"now".to_vec()]).await;
            sleep(Duration::from_secs(2)).await;
            assert_eq!(clinic.held(Lane::Urgent).await, 1, "who stays is connected again");
        };
        tokio::select! {
            ended = staying => panic!("it stays: {ended:?}"),
            () = script => {}
        }
    });
}

/// Who waits for its turn ends when it is told to, and by its deadline; two that stay take none from each other.
#[test]
fn who_waits_for_a_turn_ends_in_time() {
    run(async {
        let (_go_on, goes_on) = watch::channel(false);
        let clinic = Clinic::new().await;
        let stays = || SyncOrder { every_ms: Some(900_000), ..SyncOrder::default() };
        let (stop, stopped) = watch::channel(false);
        let ended = Rc::new(Cell::new(false));
        let script = async {
            sleep(Duration::from_secs(10)).await;
            let deadline_ms = Some(clinic.lab.ports().clock.monotonic_ms() + 5000);
            let second = clinic.sync(SyncOrder { deadline_ms, ..stays() }, goes_on.clone()).await;
            assert!(second.end == SyncEnd::Deadline && second.dials == 0, "{second:?}");
            let third = async {
                let third = clinic.sync(stays(), stopped).await;
                assert!(third.end == SyncEnd::Stopped && third.dials == 0, "{third:?}");
                ended.set(true);
            };
            tokio::join!(third, async {
                sleep(Duration::from_secs(5)).await;
                stop.send_replace(true);
            });
            assert!(ended.get());
        };
        tokio::select! {
            ended = clinic.sync(stays(), goes_on.clone()) => panic!("it stays: {ended:?}"),
            () = script => {}
        }
    });
}
