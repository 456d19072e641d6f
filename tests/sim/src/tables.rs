//! The log as applications see it: tables, caught up with from time to time, and held at the end against tables made at once; and a reader of the feed, who
//! goes on from its cursor.

use crate::model::Verdict;
use crate::world::World;
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::ids::EventId;
use std::collections::BTreeSet;
use zbundle::adapters::SqliteProjection;
use zbundle::node::View;
use zbundle::node::feed::{Cursor, Step, Wanted, next};
use zbundle::node::log::{Filter, each_event};
use zbundle::ports::projection::{Folded, Projection, ProjectionError, State};
use zbundle::ports::store::StoreError;

/// Events that a reader of the feed looks at in one step: so few that steps end anywhere.
const LOOK_MAX: u32 = 3;
/// More records than anybody pushes in a life.
const RECORDS_MAX: u64 = 1000;

/// Whether the machines of a life have tables: in one of four, for they take time.
pub fn are_kept(seed: u64) -> bool {
    seed % 4 == 1
}

/// Which record a payload is of.
pub fn record_of(number: usize) -> String {
    format!("Patient/{}", number % 3)
}

impl World {
    /// The tables of a machine catch up with its log.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn project(&mut self, at: usize) -> Verdict {
        if !self.has_tables() {
            return Ok(());
        }
        let name = self.name(at);
        let told = |error: String| format!("P4: the tables of {name} do not catch up: {error}");
        let machine = &mut self.machines[at];
        let view = machine.station.durable_view().map_err(|error| told(error.to_string()))?;
        let mut tables = match machine.tables.take() {
            Some(tables) => tables,
            None => SqliteProjection::in_memory().map_err(|error| told(error.to_string()))?,
        };
        let status = view.status().map_err(|error| format!("P4: status at {name} fails: {} {error}", error.code()))?;
        if machine.memory.rotten > 0 && !machine.has_unmet_rot && !status.is_damaged() {
            return Err(format!("P3: {} events rotted at {name}, and status does not say so", machine.memory.rotten));
        }
        let done = view.project(&mut tables, false).map_err(|error| told(format!("{} {error}", error.code())))?;
        let shown = shown(&view)?;
        hold(&shown, &mut tables, machine.memory.rotten > 0).map_err(|why| format!("{why}, at {name}"))?;
        machine.reader.read_on(&view).map_err(|why| format!("{why}, at {name}"))?;
        if let Some(id) = shown.difference(&machine.reader.told).next() {
            return Err(format!("P1: {id:?} is shown by the log of {name}, and who reads its feed was not told of it"));
        }
        machine.tables = Some(tables);
        if done.lacking > 0 {
            self.coverage.count("tables lack what rotted");
        }
        if done.rebuilt {
            self.coverage.count("tables are made anew");
        }
        Ok(())
    }

    /// What the tables have become step by step is what they are when they are made at once.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn project_at_once(&mut self, at: usize) -> Verdict {
        self.project(at)?;
        let name = self.name(at);
        let told = |error: String| format!("P4: tables of {name} cannot be made: {error}");
        let machine = &mut self.machines[at];
        let Some(tables) = machine.tables.as_mut().filter(|_| machine.memory.rotten == 0) else { return Ok(()) };
        let mut anew = SqliteProjection::in_memory().map_err(|error| told(error.to_string()))?;
        let view = machine.station.durable_view().map_err(|error| told(error.to_string()))?;
        view.project(&mut anew, false).map_err(|error| told(format!("{} {error}", error.code())))?;
        let [steps, once] = [records(tables), records(&mut anew)].map(|records| records.map_err(|error| told(error.to_string())));
        let (steps, once) = (steps?, once?);
        if steps != once {
            return Err(format!("P2: tables of {name} that grew step by step say {steps:?}, made at once {once:?}"));
        }
        Ok(())
    }
}

/// Who reads a feed.
#[derive(Default)]
pub struct Reader {
    cursor: Cursor,
    told: BTreeSet<EventId>,
}

impl Reader {
    /// Everything from the cursor to the end; from the beginning where the log is another one.
    fn read_on(&mut self, view: &View) -> Verdict {
        loop {
            match next(view.log(), (u32::MAX, 0), self.cursor, &Wanted::default(), LOOK_MAX) {
                Ok(Step::Whole(whole)) => {
                    self.told.insert(EventId::new(whole.stream.origin, whole.seq, &digest(&whole.bytes)));
                    self.cursor = whole.cursor;
                }
                Ok(Step::Passed(at)) => self.cursor = at,
                Ok(Step::End(at)) => {
                    self.cursor = at;
                    return Ok(());
                }
                Err(error) if error.code() == Code::Z430 && self.cursor != Cursor::default() => *self = Self::default(),
                Err(error) => return Err(format!("P4: the feed ends with {} {error}", error.code())),
            }
        }
    }
}

/// Each payload that the log shows whole: once.
fn shown(view: &View) -> Verdict<BTreeSet<EventId>> {
    let (mut shown, mut twice) = (BTreeSet::new(), None);
    let read = each_event(view.log(), &Filter::default(), |payload| {
        let id = EventId::new(payload.stream.origin, payload.seq, &digest(payload.bytes));
        if !shown.insert(id) {
            twice = Some(id);
        }
        Ok::<_, StoreError>(())
    });
    read.map_err(|error| format!("P4: the log is not listed: {error}"))?;
    twice.map_or(Ok(shown), |id| Err(format!("P2: {id:?} is shown twice by the log")))
}

/// Each of them is a row, and nothing else is, unless it has rotted since.
fn hold(shown: &BTreeSet<EventId>, tables: &mut SqliteProjection, is_rotten: bool) -> Verdict {
    let told = |error: ProjectionError| format!("P4: tables are not read: {error}");
    let (rows, _) = tables.counts().map_err(told)?;
    for id in shown {
        if !tables.holds(id).map_err(told)? {
            return Err(format!("P1: {id:?} is shown by the log and is in no row"));
        }
    }
    let shown_count = shown.len() as u64;
    if rows == shown_count || is_rotten && rows > shown_count { Ok(()) } else { Err(format!("P2: {rows} rows for {} payloads", shown.len())) }
}

/// Every record, how it stands.
fn records(tables: &mut SqliteProjection) -> Result<Vec<(String, Option<Folded>)>, ProjectionError> {
    let mut all = Vec::new();
    for state in State::ALL {
        for key in tables.records_in(state, None, RECORDS_MAX)? {
            let folded = tables.record(&key, RECORDS_MAX)?;
            all.push((key, folded));
        }
    }
    Ok(all)
}
