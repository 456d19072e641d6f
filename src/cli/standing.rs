//! Commands that stay: one thread, one runtime, one node that many tasks and other processes share.

use super::halt::Halt;
use super::{Context, asked_to_end, sync};
use crate::node::local;
use crate::node::standing::Standing;
use crate::node::workshop::Workshop;
use crate::ports::Ports;
use bundle_format::error::Code;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::watch;

/// A node that stays, and what its tasks share.
#[derive(Clone)]
pub struct Stay {
    /// The node.
    pub standing: Rc<Standing>,
    /// The world.
    pub ports: Ports,
    /// Compressing and decompressing.
    pub workshop: Rc<RefCell<Workshop>>,
    /// True once somebody asked the process to end.
    pub stop: watch::Receiver<bool>,
}

impl Context {
    /// Run `work` with the node open for as long as it takes, while other commands come to us through the control socket; then everything is made
    /// durable and the node let go.
    pub fn stay<T>(&mut self, standing: Rc<Standing>, work: impl AsyncFnOnce(&mut Self, &Stay) -> Result<T, Halt>) -> Result<T, Halt> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Halt::new(Code::Z100, format!("the runtime: {error}")))?;
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async {
            let workshop = Rc::new(RefCell::new(Workshop::new()?));
            let (ask, stop) = watch::channel(false);
            let stay = Stay { standing, ports: self.ports.clone(), workshop, stop };
            let ask = Rc::new(ask);
            let asked = Rc::clone(&ask);
            tokio::task::spawn_local(async move {
                if asked_to_end().await.is_ok() {
                    asked.send_replace(true);
                }
            });
            let control = match local::listen(&self.ports, &self.data_dir()) {
                Ok(listener) => {
                    let forwarded = stay.clone();
                    let runner: local::Runner = Rc::new(move |command, lines| Box::pin(sync::forwarded(forwarded.clone(), command, lines)));
                    let serving = local::serve_control(Rc::clone(&stay.standing), listener, runner, ask.subscribe());
                    Some(tokio::task::spawn_local(serving))
                }
                Err(error) => {
                    self.console.warn(error.code(), &format!("{error}; other commands must wait until this one ends"))?;
                    None
                }
            };
            let done = work(self, &stay).await;
            ask.send_replace(true);
            if let Some(control) = control {
                control.await.unwrap_or(()); // its panic has been told
            }
            let closed = stay.standing.close().await.map_err(Halt::from);
            done.and_then(|done| closed.map(|()| done))
        })
    }
}
