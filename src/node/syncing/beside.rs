//! Who dials an address beside whom, in one process: one at a time. SPEC §7.8 (R7.8-b).
//!
//! A listener takes whoever dials again for one who has lost the connection before, and drops that. So a sync that stays and one that a person waits for
//! would throw each other out, and each would send again what was on its way. In: who wants to dial. Out: turns, in the order of asking. Invariants: who
//! stays has a turn for one connection, and is asked to end it when somebody waits who does not stay; that one has its turn to its end.

use super::{Syncer, stopped};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The addresses that a process dials.
#[derive(Debug, Default)]
pub(in crate::node) struct Ways(RefCell<BTreeMap<String, Rc<Way>>>);

impl Ways {
    /// The way to `address`.
    pub(super) fn to(&self, address: &str) -> Rc<Way> {
        let mut ways = self.0.borrow_mut();
        ways.retain(|_, way| Rc::strong_count(way) > 1);
        Rc::clone(ways.entry(address.to_owned()).or_default())
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Way {
    turn: Arc<Semaphore>,
    /// How many wait who do not stay.
    awaited: watch::Sender<usize>,
}

/// Who has it may dial.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Default for Way {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), awaited: watch::Sender::new(0) }
    }
}

impl Way {
    /// A turn, for one who `stays` or not. Dropped before it is ready, it was not asked for.
    pub(super) async fn turn(&self, stays: bool) -> Turn {
        let _awaited = (!stays).then(|| Awaited::count(&self.awaited));
        loop {
            if let Ok(permit) = Arc::clone(&self.turn).acquire_owned().await
                && !(stays && *self.awaited.borrow() > 0)
            {
                return Turn { _permit: permit };
            }
        }
    }

    /// Until somebody waits who does not stay.
    pub(super) async fn awaited(&self) {
        if self.awaited.subscribe().wait_for(|count| *count > 0).await.is_err() {
            std::future::pending::<()>().await; // nobody can wait any more
        }
    }
}

impl Syncer<'_> {
    /// Wait until nobody else of this process dials there, which costs no patience; false where it is to end before.
    pub(super) async fn has_its_turn(&mut self) -> bool {
        let waits_ms = self.now_ms();
        if self.turn.is_none() {
            self.turn = tokio::select! {
                biased;
                turn = self.way.turn(self.order.every_ms.is_some()) => Some(turn),
                () = self.is_stopped() => None,
                () = tokio::time::sleep(Duration::from_millis(self.left_ms())) => None,
            };
            self.gave_way.set(false);
            self.last_progress_ms += self.now_ms() - waits_ms;
        }
        self.turn.is_some()
    }

    /// Until somebody says that it is to end.
    async fn is_stopped(&self) {
        stopped(self.stop.clone()).await;
    }

    /// Until the connection is to be ended, as somebody says, or for one that somebody waits for.
    pub(super) async fn is_called_away(&self) {
        tokio::select! {
            () = self.is_stopped() => {}
            () = self.way.awaited(), if self.order.every_ms.is_some() => self.gave_way.set(true),
        }
    }
}

/// One who waits and does not stay, until dropped.
struct Awaited<'a>(&'a watch::Sender<usize>);

impl<'a> Awaited<'a> {
    fn count(awaited: &'a watch::Sender<usize>) -> Self {
        awaited.send_modify(|count| *count += 1);
        Self(awaited)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
