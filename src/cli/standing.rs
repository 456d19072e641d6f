//! Commands that stay: one thread, one runtime, one node that many tasks and other processes share.

use super::halt::Halt;
use super::{Context, asked_to_end};
use crate::node::NodeError;
use crate::node::session::Workshop;
use crate::node::standing::Standing;
use bundle_format::error::Code;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::watch;

/// A node that stays, and what its tasks share.
pub struct Stay {
    /// The node.
    pub standing: Rc<Standing>,
    /// Compressing and decompressing.
    pub workshop: Rc<RefCell<Workshop>>,
    /// True once somebody asked the process to end.
    pub stop: watch::Receiver<bool>,
}

impl Context {
    /// Run `work` with the node open for as long as it takes; then everything is made durable and the node let go.
    pub fn stay<T>(&mut self, work: impl AsyncFnOnce(&mut Self, &Stay) -> Result<T, Halt>) -> Result<T, Halt> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Halt::new(Code::Z100, format!("the runtime: {error}")))?;
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async {
            let standing = self.standing()?;
            let workshop = Rc::new(RefCell::new(Workshop::new()?));
            let (ask, stop) = watch::channel(false);
            tokio::task::spawn_local(async move {
                if asked_to_end().await.is_ok() {
                    ask.send_replace(true);
                }
                std::future::pending::<()>().await; // who waits for a stop must not take our end for one
            });
            let stay = Stay { standing, workshop, stop };
            let done = work(self, &stay).await;
            let closed = stay.standing.close().await.map_err(|error: NodeError| Halt::from(error));
            done.and_then(|done| closed.map(|()| done))
        })
    }
}
