//! `serve --alarm PROGRAM`: looks how the node stands, and lets a program be run when something new needs a person.

use super::escape::plain_path;
use super::halt::Halt;
use super::standing::Stay;
use super::{Context, Messenger, open_tables, status};
use crate::node::alarm::{self, Alarm, Told, alarms};
use crate::node::layout::Layout;
use crate::node::{Node, NodeError};
use crate::ports::clock::Clock;
use crate::ports::disk::Disk;
use bundle_format::error::Code;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

/// How long everybody waits while another program writes into the tables.
const PATIENCE: Duration = Duration::from_millis(100);

/// The program, and how often it is looked whether there is something to tell it.
pub struct Teller {
    messenger: Messenger,
    program: PathBuf,
    every: Duration,
    index: PathBuf,
    disk: Rc<dyn Disk>,
    clock: Rc<dyn Clock>,
}

/// What it was told, and why not.
pub struct Word {
    alarms: Vec<Alarm>,
    failed: Option<String>,
}

impl Teller {
    /// For `program`, which must be a file; called while programs may still be run.
    pub fn start(context: &Context, program: &Path, every_ms: u64) -> Result<Self, Halt> {
        let failed = |why: String| Halt::new(Code::Z440, format!("{}: {why}", plain_path(program)));
        if context.ports.disk.look(program).map_err(|error| failed(error.to_string()))?.is_none() {
            return Err(failed("it is not there".to_owned()));
        }
        let messenger = Messenger::start(program).map_err(|error| failed(error.to_string()))?;
        let (index, disk, clock) = (Layout::new(&context.data_dir()).index(), context.ports.disk.clone(), context.ports.clock.clone());
        Ok(Self { messenger, program: program.to_owned(), every: Duration::from_millis(every_ms.max(100)), index, disk, clock })
    }

    /// The program.
    pub fn program(&self) -> PathBuf {
        self.program.clone()
    }

    /// Everything that needs a person, and what time it is.
    fn look(&self, node: &Node) -> Result<(Vec<Alarm>, u64), NodeError> {
        let status = node.status()?;
        let mut all = alarms(&status, None);
        match self.conflicts(node) {
            Ok(count) => all.extend(alarm::conflicts(count)),
            Err(error) if error.code() == Code::Z104 => {} // somebody writes into the tables just now: at the next look
            Err(error) => all.push(alarm::tables(error.code())),
        }
        Ok((all, status.now_ms))
    }

    /// Records in conflict, as far as the tables tell; where nobody has made any, none is made. With `--http` they are in step already.
    fn conflicts(&self, node: &Node) -> Result<u64, NodeError> {
        if !self.disk.look(&self.index).is_ok_and(|found| found.is_some()) {
            return Ok(0);
        }
        let mut tables = open_tables(&self.index, false, PATIENCE)?;
        node.project_on(&mut *tables)?;
        Ok(node.count_conflicts(&mut *tables)?.0)
    }

    /// Look and tell, until told to stop.
    pub async fn watch(mut self, stay: Stay, words: UnboundedSender<Word>) {
        let (mut stop, mut told) = (stay.stop.clone(), Told::default());
        loop {
            let due = match stay.standing.with(|node| self.look(node)).await {
                Ok((alarms, now_ms)) => told.due(&alarms, now_ms),
                Err(error) if error.code() == Code::Z104 => Vec::new(), // it is lent, or at its end
                Err(error) => told.due(&[alarm::unseen(error.code(), &error.to_string())], self.clock.now_ms()),
            };
            if !due.is_empty() {
                let lines = due.iter().map(|alarm| status::object(alarm).into_line() + "\n").collect();
                let said = tokio::select! {
                    biased;
                    _ = stop.wait_for(|stop| *stop) => return,
                    said = self.messenger.tell(lines) => said,
                };
                if said.is_err() {
                    told.forget(&due);
                }
                words.send(Word { alarms: due, failed: said.err() }).unwrap_or(()); // nobody reads any more: the end is near
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(self.every) => {}
            }
        }
    }
}

impl Word {
    /// Record it: each alarm is a result of `serve`, a failure a warning.
    pub fn tell(self, context: &mut Context, program: &Path) -> Result<(), Halt> {
        for alarm in &self.alarms {
            let text = format!("alarm: {} {}", alarm.kind, alarm.about);
            context.console.result(&text, || status::object(alarm).with("told", self.failed.is_none()))?;
        }
        if let Some(why) = &self.failed {
            context.console.warn(Code::Z440, &format!("{}: {why}; it is tried again", plain_path(program)))?;
        }
        context.console.flush()
    }
}
