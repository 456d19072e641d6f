//! Two machines on a line: the real dialer, the real listener, and TLS between them.

use crate::model::Verdict;
use crate::plan::{Line, Step};
use crate::station::NODE;
use crate::world::{Asked, World};
use bundle_format::error::Code;
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use zbundle::node::serving::{Served, Server};
use zbundle::node::standing::Standing;
use zbundle::node::syncing::{SyncEnd, SyncOrder, Synced, Syncer};
use zbundle::ports::Ports;

/// A sync of a plan ends by then, in the time of the world.
const DEADLINE_MS: u64 = 90_000;
/// What a listener may need to see that its peer has gone.
const QUIET: Duration = Duration::from_secs(200);

impl World {
    /// One machine dials another.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn sync(&mut self, at: usize, to: usize, line: &Line, budget: Option<u64>, step: &Step) -> Verdict {
        self.meet(at, to, line, budget, step).map(drop)
    }

    /// [`World::sync`], with what it did; nothing when it could not begin.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn meet(&mut self, at: usize, to: usize, line: &Line, budget: Option<u64>, step: &Step) -> Verdict<Option<Synced>> {
        if self.machines[at].station.member == self.machines[to].station.member {
            return Ok(None);
        }
        // What goes wrong goes wrong at one of the two.
        let unlucky = if step.luck.is_multiple_of(2) { at } else { to };
        let allowed = if [at, to].iter().any(|at| self.machines[*at].has_unmet_rot) { &[Code::Z301][..] } else { &[] };
        let met = self.while_it_happens(unlucky, None, step, allowed, |world| world.on_the_line(at, to, line, budget))?;
        let Some((synced, broken)) = met else {
            self.fsck(at)?;
            self.fsck(to)?;
            return Ok(None);
        };
        let end = match &synced.end {
            SyncEnd::Failed(code, why) => format!("{code} {why}"),
            end => format!("{end:?}"),
        };
        self.tell(format!(
            "   {} and {}: {end}; delivered {:?}, taken {:?}, forks {}, dials {}, left {}{}",
            self.name(at),
            self.name(to),
            synced.delivered,
            synced.taken,
            synced.forks,
            synced.dials,
            synced.left,
            if synced.new_life { ", in a new life" } else { "" }
        ));
        for (happened, what) in [
            (broken > 0, "a session is cut"),
            (synced.is_complete(), "a session settles"),
            (matches!(synced.end, SyncEnd::Budget), "a budget ends a session"),
            (synced.new_life, "a new life begins on a link"),
            (synced.forks > 0, "a fork is seen on a link"),
            (matches!(synced.end, SyncEnd::Failed(Code::Z614 | Code::Z622 | Code::Z620 | Code::Z621, _)), "a key is refused on a link"),
        ] {
            if happened {
                self.coverage.count(what);
            }
        }
        Ok(Some(synced))
    }

    fn on_the_line(&mut self, at: usize, to: usize, line: &Line, budget: Option<u64>) -> Asked<(Synced, u64)> {
        let address = format!("{}:1", self.machines[to].station.name);
        let (dialer, cable) = (&self.machines[at].station, self.around.cable.clone());
        cable.set(line);
        let synced = self.while_listening(to, &address, async || {
            let node = dialer.open()?;
            let standing = Standing::new(dialer.ports(), PathBuf::from(NODE), dialer.secret(), node);
            let ports = dialer.ports();
            let deadline_ms = Some(ports.clock.monotonic_ms() + DEADLINE_MS);
            let order = SyncOrder { address: address.clone(), budget, deadline_ms, ..SyncOrder::default() };
            let (_stop, stopped) = watch::channel(false);
            let synced = Syncer::new(Rc::clone(&standing), &ports, Rc::clone(&self.workshop), order, stopped, Rc::new(|_| {})).run().await;
            standing.close().await.unwrap_or_default(); // its disk may have failed, which the dialer has said already
            Ok(synced)
        });
        synced?.map(|synced| (synced, cable.broken.get()))
    }

    /// Let `work` happen in the time of the world while a machine listens at `address`.
    ///
    /// # Errors
    /// When it cannot begin to listen.
    pub fn while_listening<T>(&self, to: usize, address: &str, work: impl AsyncFnOnce() -> T) -> Asked<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without a network needs nothing of the system");
        let (listener, cable, ticker) = (&self.machines[to].station, &self.around.cable, &self.around.ticker);
        LocalSet::new().block_on(&runtime, async {
            ticker.start();
            let begun = Serving::begin(listener, &self.workshop, address).await;
            let done = match begun {
                Ok(served) => {
                    let done = work().await;
                    cable.clear();
                    served.end().await;
                    Ok(done)
                }
                Err(error) => Err(error),
            };
            cable.clear();
            ticker.stop();
            done
        })
    }
}

/// A machine that listens.
struct Serving {
    standing: Rc<Standing>,
    server: Rc<Server>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Serving {
    async fn begin(station: &crate::station::Station, workshop: &Rc<RefCell<zbundle::node::workshop::Workshop>>, address: &str) -> Asked<Self> {
        let ports: Ports = station.ports();
        let standing = Standing::new(ports.clone(), PathBuf::from(NODE), station.secret(), station.open()?);
        let server = Server::new(Rc::clone(&standing), &ports, Rc::clone(workshop), Box::new(|_: Served| {})).await?;
        let listener = ports.net.listen(address).await.map_err(|error| zbundle::node::NodeError::reading(std::path::Path::new(address), error))?;
        let (stop, stopped) = watch::channel(false);
        let task = spawn_local({
            let server = Rc::clone(&server);
            async move { server.listen(listener, stopped).await }
        });
        Ok(Self { standing, server, stop, task })
    }

    async fn end(self) {
        let quiet = async {
            while self.server.session_count() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(QUIET, quiet).await.unwrap_or_default();
        self.stop.send_replace(true);
        self.task.await.unwrap_or_default();
        drop(self.server);
        self.standing.close().await.unwrap_or_default(); // its disk may have failed
    }
}
