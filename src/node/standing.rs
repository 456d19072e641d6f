//! The node of a process that stays: many tasks work on it in turn, share its syncs, and lend it to other processes.
//!
//! In: work to do on the node, in the order of asking; a process that wants to open the directory itself. Out: what the work gave, and word that it
//! is durable. Invariants: one turn at a time, and no borrow of the node is held while somebody waits; nothing is told durable before the sync that
//! covers it; a node whose log failed is never used again but opened anew (R10.4-d). Not here: sockets (`local`), sessions (`link`).
//!
//! A **life** is the time between one opening of the node and its end, by a lease or a failure. A **ticket** stands for everything done so far in one
//! life: so whoever asks late, after the node was lost and opened anew, still gets the answer that is true for what he did.

use super::{Node, NodeError, Opening};
use crate::keys::Secret;
use crate::ports::Ports;
use crate::ports::store::Log as _;
use crate::wal::Wal;
use bundle_format::error::Code;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};

/// How often a lock that a borrower has not let go of is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// A node that fails is not opened more often than this: a full disk is not helped by haste.
const REOPEN_AFTER_MS: u64 = 3000;
/// Files that wait in `held/` are tried no more often than this, so that a full folder of them costs a hub little.
const HELD_AFTER_MS: u64 = 60_000;

/// The node of a process that stays.
pub struct Standing {
    ports: Ports,
    data_dir: PathBuf,
    secret: Secret,
    /// One permit, given in the order of asking: who has it may touch `home`.
    turn: Arc<Semaphore>,
    home: RefCell<Option<Node>>,
    life: RefCell<Rc<Life>>,
    /// How many works there have been.
    works: Cell<u64>,
    /// Where the log ended when the last change was told.
    told_end: Cell<(u32, u64)>,
    failure: RefCell<Option<Failure>>,
    /// When the node was last opened after a failure.
    reopened_ms: Cell<Option<u64>>,
    lent_ms: Cell<Option<u64>>,
    /// When `held/` was last tried, and where the log ended then.
    held_tried: Cell<Option<(u64, (u32, u64))>>,
    changes: watch::Sender<u64>,
}

/// One opening of the node.
#[derive(Default)]
struct Life {
    /// The last work that is durable.
    done: Cell<u64>,
    /// How it ended, when it ended badly.
    failure: RefCell<Option<Failure>>,
}

/// A failure that many are told of.
#[derive(Clone)]
struct Failure {
    code: Code,
    detail: String,
}

impl Failure {
    fn of(error: &NodeError) -> Self {
        Self { code: error.code(), detail: error.to_string() }
    }

    fn told(&self) -> NodeError {
        NodeError::refused(self.code, self.detail.clone())
    }
}

/// Everything done on the node up to one moment; see [`Standing::settled`].
#[must_use = "what was done is durable only when this is settled"]
#[derive(Clone)]
pub struct Ticket {
    life: Rc<Life>,
    work: u64,
}

impl Ticket {
    /// Whether what `earlier` stands for is durable once this one is settled: it is of the same life, and not of a later moment.
    pub fn covers(&self, earlier: &Self) -> bool {
        Rc::ptr_eq(&self.life, &earlier.life) && earlier.work <= self.work
    }

    fn answer(&self) -> Option<Result<(), NodeError>> {
        if self.work <= self.life.done.get() {
            return Some(Ok(()));
        }
        self.life.failure.borrow().as_ref().map(|failure| Err(failure.told()))
    }
}

impl Standing {
    /// Keep `node`, which is the one in `data_dir` that `secret` opens.
    pub fn new(ports: Ports, data_dir: PathBuf, secret: Secret, node: Node) -> Rc<Self> {
        let secret = secret.stretched(&node.wrap);
        let told_end = Cell::new(node.wal.end());
        Rc::new(Self {
            ports,
            data_dir,
            secret,
            turn: Arc::new(Semaphore::new(1)),
            home: RefCell::new(Some(node)),
            life: RefCell::default(),
            works: Cell::new(0),
            told_end,
            failure: RefCell::default(),
            reopened_ms: Cell::new(None),
            lent_ms: Cell::new(None),
            held_tried: Cell::new(None),
            changes: watch::Sender::new(0),
        })
    }

    /// Do `work` on the node as soon as its turn has come and the node is at home. What it appends is durable only after [`Standing::durable`], or
    /// once a [`Standing::ticket`] taken right after it is settled. Dropped before it is ready, it has done nothing.
    ///
    /// # Errors
    /// Those of `work`; those of opening when the node could not be opened anew; Z104 after [`Standing::close`].
    pub async fn with<T>(&self, work: impl FnOnce(&mut Node) -> Result<T, NodeError>) -> Result<T, NodeError> {
        let _turn = self.turn().await?;
        self.bring_home().await?;
        self.work(work)
    }

    /// Everything done until now. Taken before anything else is awaited, it covers the work just done.
    pub fn ticket(&self) -> Ticket {
        Ticket { life: Rc::clone(&self.life.borrow()), work: self.works.get() }
    }

    /// Return once everything done until now is durable. To be called right after [`Standing::with`], with no other wait between.
    ///
    /// # Errors
    /// What the disk said: then it is not known what of it is stored.
    pub async fn durable(&self) -> Result<(), NodeError> {
        let ticket = self.ticket();
        self.settled(&ticket).await
    }

    /// Return once what `ticket` stands for is durable. Many who wait share one sync (R7.8-d): whoever is ready to work gets to before it.
    ///
    /// # Errors
    /// As [`Standing::durable`].
    pub async fn settled(&self, ticket: &Ticket) -> Result<(), NodeError> {
        if let Some(answer) = ticket.answer() {
            return answer;
        }
        for _ in 0..2 {
            tokio::task::yield_now().await; // once for those who wait for their turn, once for those who wait for these
        }
        if let Some(answer) = ticket.answer() {
            return answer;
        }
        let _turn = self.turn().await?;
        ticket.answer().unwrap_or_else(|| self.commit())
    }

    /// When the log has grown since the last time: try what waits in `held/` (R6.3-c).
    ///
    /// # Errors
    /// Our own log or disk.
    pub async fn take_held(&self) -> Result<(), NodeError> {
        let (now_ms, before) = (self.now_ms(), self.held_tried.get());
        if before.is_some_and(|(tried_ms, _)| now_ms.saturating_sub(tried_ms) < HELD_AFTER_MS) {
            return Ok(());
        }
        self.with(|node| {
            if before.is_none_or(|(_, end)| end != node.wal.end()) {
                node.take_held()?;
            }
            self.held_tried.set(Some((now_ms, node.wal.end())));
            Ok(())
        })
        .await
    }

    /// Counts durable commits that brought something, and leases that came back: look again for what to send.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Where the durable part of the log ends: segment and byte. What stands behind it may still be lost, and nobody is shown it.
    pub fn durable_end(&self) -> (u32, u64) {
        self.told_end.get()
    }

    /// Let another process have the directory. It waits its turn like any work; everything done is durable and the lock is free when it returns.
    ///
    /// # Errors
    /// What the disk says when what was done cannot be made durable; Z104 after [`Standing::close`].
    pub async fn lend(self: &Rc<Self>) -> Result<Lease, NodeError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.map_err(|_| closed())?;
        if self.home.borrow().is_some() {
            self.commit()?;
            self.end_life(None);
        }
        self.lent_ms.set(Some(self.ports.clock.monotonic_ms()));
        Ok(Lease { standing: Rc::clone(self), turn: Some(turn) })
    }

    /// Milliseconds by the monotonic clock.
    pub fn now_ms(&self) -> u64 {
        self.ports.clock.monotonic_ms()
    }

    /// How long the node has been away on a lease.
    pub fn lent_for_ms(&self) -> Option<u64> {
        self.lent_ms.get().map(|since| self.ports.clock.monotonic_ms().saturating_sub(since))
    }

    /// Whether nobody keeps the directory's lock: a borrower who has died or never came to use its lease.
    pub fn is_lock_free(&self) -> bool {
        let layout = super::layout::Layout::new(&self.data_dir);
        self.ports.disk.lock(&layout.lock(), 0).is_ok_and(|lock| lock.is_some())
    }

    /// Make everything durable and let go of the directory. Who asks for a turn later is refused.
    ///
    /// # Errors
    /// As [`Standing::durable`].
    pub async fn close(&self) -> Result<(), NodeError> {
        let turn = self.turn().await?;
        let committed = if self.home.borrow().is_some() { self.commit() } else { Ok(()) };
        self.end_life(None);
        self.turn.close();
        drop(turn);
        committed
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, NodeError> {
        self.turn.acquire().await.map_err(|_| closed())
    }

    /// The node is at home when this returns. Whoever calls has the turn.
    async fn bring_home(&self) -> Result<(), NodeError> {
        if self.home.borrow().is_some() {
            return Ok(());
        }
        let failure = self.failure.borrow().clone();
        if let Some(failure) = failure {
            let now_ms = self.ports.clock.monotonic_ms();
            if self.reopened_ms.get().is_some_and(|last| now_ms.saturating_sub(last) < REOPEN_AFTER_MS) {
                return Err(failure.told());
            }
            self.reopened_ms.set(Some(now_ms));
            let log = super::layout::Layout::new(&self.data_dir).log();
            Wal::forget_cached(&*self.ports.disk, &log).map_err(|error| NodeError::reading(&log, error))?;
        }
        loop {
            match Node::open(&self.ports, &Opening { data_dir: &self.data_dir, secret: &self.secret, lock_wait_ms: 0 }) {
                Ok(node) => {
                    self.told_end.set(node.wal.end());
                    *self.home.borrow_mut() = Some(node);
                    *self.failure.borrow_mut() = None;
                    return Ok(());
                }
                Err(error) if error.code() == Code::Z104 => tokio::time::sleep(LOCK_RETRY).await,
                Err(error) => {
                    *self.failure.borrow_mut() = Some(Failure::of(&error));
                    return Err(error);
                }
            }
        }
    }

    fn work<T>(&self, work: impl FnOnce(&mut Node) -> Result<T, NodeError>) -> Result<T, NodeError> {
        let (done, poisoned) = {
            let mut home = self.home.borrow_mut();
            let node = home.as_mut().expect("brought home before, and the turn is ours since");
            self.works.set(self.works.get() + 1);
            let known = node.wal.rotten();
            let done = work(node);
            let done = node.note_new(&known).and(done);
            (done, node.wal.poison())
        };
        match (&done, poisoned) {
            (Err(error), Some(_)) => self.end_life(Some(Failure::of(error))),
            (Ok(_), Some(poison)) => self.end_life(Some(Failure::of(&NodeError::from(poison)))),
            // It stopped half-way at a disk that works again or a file that does not: what it changed in memory is not what a new opening would find.
            (Err(error), None) if matches!(error.code(), Code::Z202 | Code::Z203 | Code::Z307) && self.commit().is_ok() => self.end_life(None),
            _ => {}
        }
        done
    }

    /// Make everything done durable, with one sync. Whoever calls has the turn, and the node is at home.
    fn commit(&self) -> Result<(), NodeError> {
        let committed = {
            let mut home = self.home.borrow_mut();
            let node = home.as_mut().expect("a life that has not ended has its node at home");
            crate::ports::Store::sync(&mut node.wal).map_err(NodeError::from).and_then(|()| node.note_durable())
        };
        match committed {
            Ok(end) => {
                self.life.borrow().done.set(self.works.get());
                if self.told_end.replace(end) != end {
                    self.changes.send_modify(|count| *count += 1);
                }
                Ok(())
            }
            Err(error) => {
                self.end_life(Some(Failure::of(&error)));
                Err(error)
            }
        }
    }

    fn end_life(&self, failure: Option<Failure>) {
        let next = Life { done: Cell::new(self.works.get()), ..Life::default() }; // it owes nothing for the works of others
        let life = self.life.replace(Rc::new(next));
        life.failure.borrow_mut().clone_from(&failure);
        *self.failure.borrow_mut() = failure;
        drop(self.home.borrow_mut().take());
    }
}

fn closed() -> NodeError {
    NodeError::refused(Code::Z104, "the process that keeps the node is ending")
}

/// The directory is another's until this is dropped.
#[must_use = "the node comes home when this is dropped"]
pub struct Lease {
    standing: Rc<Standing>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.standing.lent_ms.set(None);
        drop(self.turn.take());
        self.standing.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests;
