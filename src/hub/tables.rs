//! The tables of this node (SPEC §11.2), open as long as the process stays and kept in step with the log, a transaction in each turn on the node.

use super::server::Hub;
use crate::node::NodeError;
use crate::ports::projection::{Projection, ProjectionError};
use bundle_format::error::Code;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at a busy log: what came meanwhile shares a transaction.
const PAUSE: Duration = Duration::from_millis(20);
/// After the tables or the log failed, until they are tried again.
const AGAIN: Duration = Duration::from_secs(3);

/// Between two looks at what the node remembers beside its log: peers and bundles.
const BESIDE: Duration = Duration::from_secs(10);

/// How the tables are opened.
pub type Opener = Box<dyn Fn() -> Result<Box<dyn Projection>, ProjectionError>>;

/// Tables that are opened when they are first needed, and anew after a failure or when their file has gone.
pub struct Tables {
    open: Opener,
    kept: RefCell<Option<Box<dyn Projection>>>,
    trouble: Cell<Option<Code>>,
}

impl Tables {
    /// Opened by `open`.
    pub fn new(open: Opener) -> Self {
        Self { open, kept: RefCell::new(None), trouble: Cell::new(None) }
    }

    /// Work with them. Nothing is awaited meanwhile.
    ///
    /// # Errors
    /// Those of `work`, and of opening.
    pub fn with<T>(&self, work: impl FnOnce(&mut dyn Projection) -> Result<T, NodeError>) -> Result<T, NodeError> {
        let mut kept = self.kept.borrow_mut();
        let tables = match kept.take().filter(|tables| tables.is_in_place()) {
            Some(tables) => tables,
            None => (self.open)()?,
        };
        let tables = kept.insert(tables);
        let done = work(&mut **tables);
        if done.is_err() {
            *kept = None; // whatever it was in the middle of is undone
        }
        done
    }

    /// Why they are not in step with the log, if they are not and cannot be brought there.
    pub fn trouble(&self) -> Option<Code> {
        self.trouble.get()
    }
}

impl Hub {
    /// Bring the tables up to the log. Others have their turns in between.
    ///
    /// # Errors
    /// What the log or the tables say.
    pub async fn catch_up(&self) -> Result<(), NodeError> {
        while self.standing.with(|node| self.tables.with(|tables| node.project_on(tables))).await?.paused {}
        Ok(())
    }

    /// Keep the tables in step with the log, until told to stop.
    pub async fn keep_up(self: Rc<Self>) {
        let (mut changes, mut stop, mut looked) = (self.standing.changes(), self.stop.clone(), None::<Instant>);
        loop {
            changes.mark_unchanged(); // what is stored from here on is either seen now or told again
            let mut ended = self.catch_up().await;
            if ended.is_ok() && looked.is_none_or(|looked| looked.elapsed() >= BESIDE) {
                ended = self.standing.with(|node| self.tables.with(|tables| node.project_beside(tables))).await;
                looked = Some(Instant::now());
            }
            let failed = ended.is_err();
            self.tables.trouble.set(ended.err().map(|error| error.code()));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(AGAIN), if failed => {}
                () = sleep(BESIDE), if !failed => {}
                changed = changes.changed(), if !failed => if changed.is_err() { return },
            }
            sleep(PAUSE).await;
        }
    }
}
