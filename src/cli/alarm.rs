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

    /// Everything that needs a person.
    fn look(&self, node: &Node) -> Result<Vec<Alarm>, NodeError> {
        let status = node.status()?;
        let mut all = alarms(&status, None);
        match self.conflicts(node) {
            Ok((count, is_whole)) => {
                all.extend(alarm::conflicts(count));
                all.extend((!is_whole).then(|| alarm::tables(None)));
            }
            Err(error) if error.code() == Code::Z104 => {} // somebody writes into the tables just now: at the next look
            Err(error) => all.push(alarm::tables(Some(error.code()))),
        }
        Ok(all)
    }

    /// Records in conflict, as far as the tables tell, and whether these are whole; where nobody has made any, none is made. With `--http` they are in step
    /// already.
    fn conflicts(&self, node: &Node) -> Result<(u64, bool), NodeError> {
        if !self.disk.look(&self.index).is_ok_and(|found| found.is_some()) {
            return Ok((0, true));
        }
        let mut tables = open_tables(&self.index, false, PATIENCE)?;
        node.project_on(&mut *tables)?;
        Ok((node.count_conflicts(&mut *tables)?.0, tables.is_whole()?))
    }

    /// Look and tell, until told to stop.
    pub async fn watch(mut self, stay: Stay, words: UnboundedSender<Word>) {
        let (mut stop, mut told) = (stay.stop.clone(), Told::default());
        loop {
            let looked = stay.standing.with(|node| self.look(node)).await;
            let due = due(&mut told, looked, &*self.clock);
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

/// What is to be told of what was seen. By the clock that nobody sets: what was told while the other one was ahead would be told for as long.
fn due(told: &mut Told, looked: Result<Vec<Alarm>, NodeError>, clock: &dyn Clock) -> Vec<Alarm> {
    match looked {
        Ok(alarms) => told.due(&alarms, clock.monotonic_ms()),
        Err(error) if error.code() == Code::Z104 => Vec::new(), // it is lent, or at its end
        Err(error) => told.due(&[alarm::unseen(error.code(), &error.to_string())], clock.monotonic_ms()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const HOUR_MS: u64 = 3600 * 1000;

    /// A clock that is set: it was a year ahead until the process had run for an hour.
    struct SetClock(Cell<u64>);

    impl Clock for SetClock {
        fn now_ms(&self) -> u64 {
            let ahead_ms = if self.0.get() < HOUR_MS { 365 * 24 * HOUR_MS } else { 0 };
            1_800_000_000_000 + ahead_ms + self.0.get()
        }

        fn monotonic_ms(&self) -> u64 {
            self.0.get()
        }
    }

    /// R10.14-c: what was told while the clock was ahead was not told again until that date, and nothing else that had its name.
    #[test]
    fn a_clock_that_was_ahead_silences_no_alarm() {
        let (clock, mut told) = (SetClock(Cell::new(0)), Told::default());
        let count = [0, 2, 25, 49].map(|hours| {
            clock.0.set(hours * HOUR_MS);
            due(&mut told, Ok(vec![Alarm { kind: "silent", code: None, about: "laya".to_owned(), ms: 0 }]), &clock).len()
        });
        assert_eq!(count, [1, 0, 1, 1], "once a day while it lasts");
    }
}
