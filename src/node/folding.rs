//! Working out a record's heads, one event at a time. SPEC §11.1, §11.2.
//!
//! In: rows as they are put into tables, in any order. Out: what `project::fold` says of all versions of a record together. Invariants: an event costs
//! what it names, not what its record holds, however many versions or heads that has (R11.2-i); who waits for an event is told when it comes, under
//! whatever key (R11.2-c). What has to do with repetitions is rare and is worked out from all versions, once in a batch. Not here: reading the log.

use super::config::Conflicts;
use crate::ports::projection::{Folded, Line, Projection, ProjectionError, Row, State, Version};
use crate::project::fold::{fold, state};
use std::collections::BTreeSet;

/// Keys in memory while all records that differ are looked through.
const RULED_AT_ONCE: u64 = 1000;

/// Records that a batch touched.
#[derive(Debug, Default)]
pub struct Folding {
    rules: Conflicts,
    changed: BTreeSet<String>,
    /// To be worked out from all their versions at the end.
    whole: BTreeSet<String>,
}

impl Folding {
    /// By these rules versions that differ are a conflict or stand side by side.
    pub fn by(rules: &Conflicts) -> Self {
        Self { rules: rules.clone(), ..Self::default() }
    }

    /// Put a row into the tables and let it count.
    ///
    /// # Errors
    /// What the tables say.
    pub fn put(&mut self, tables: &mut dyn Projection, row: &Row<'_>) -> Result<(), ProjectionError> {
        if !tables.put(row)? {
            self.touch(row.record_key.map(str::to_owned));
            return Ok(());
        }
        let waiters = tables.arrived(&row.id)?;
        let own = row.record_key.filter(|_| row.counts);
        for key in waiters.iter().filter(|key| Some(key.as_str()) != own) {
            self.settle(tables, key, 0)?;
        }
        let Some(key) = own else { return Ok(()) };
        self.changed.insert(key.to_owned());
        let version = Version {
            id: row.id,
            orig: row.orig,
            base: row.base.clone(),
            hlc: row.hlc,
            kind: row.kind.to_owned(),
            op: row.op,
            sha256: row.sha256,
            author: None, // nobody's heads depend on it
        };
        if self.whole.contains(key) {
            return Ok(());
        }
        let is_seen = waiters.iter().any(|waiter| waiter == key);
        if !is_seen && let Some(line) = continued(tables, key, &version)? {
            return tables.set_line(key, line, &version, self.rules.stands(state(false, false, version.op), key, &version.kind));
        }
        if tables.is_entangled(key, &version)? {
            self.whole.insert(key.to_owned());
            return Ok(());
        }
        let mut more = 0;
        for base in version.base.iter().flatten().filter(|base| **base != version.id) {
            match tables.version(key, base)? {
                Some(seen) => more -= i64::from(tables.remove_head(key, &seen)?),
                None if tables.holds(base)? => {} // another record's, or not counted
                None => tables.add_waiting(key, base)?,
            }
        }
        more += i64::from(!is_seen && tables.add_head(key, &version)?);
        self.settle(tables, key, more)
    }

    /// Work a record out from all its versions at the end: which of them count has changed, or what one of them had seen.
    pub fn touch(&mut self, keys: impl IntoIterator<Item = String>) {
        self.whole.extend(keys);
    }

    /// Work out what was put off; how many records have changed.
    ///
    /// # Errors
    /// What the tables say.
    pub fn finish(&mut self, tables: &mut dyn Projection) -> Result<u64, ProjectionError> {
        for key in std::mem::take(&mut self.whole) {
            fold_whole(tables, &self.rules, &key)?;
            self.changed.insert(key);
        }
        Ok(std::mem::take(&mut self.changed).len() as u64)
    }

    fn settle(&mut self, tables: &mut dyn Projection, key: &str, more: i64) -> Result<(), ProjectionError> {
        self.changed.insert(key.to_owned());
        self.stand(tables, key, more)
    }

    fn stand(&mut self, tables: &mut dyn Projection, key: &str, more: i64) -> Result<(), ProjectionError> {
        let Some((shown, differ)) = tables.shown(key)? else {
            self.whole.insert(key.to_owned()); // a ring
            return Ok(());
        };
        let waits = tables.waits(key)?;
        let state = self.rules.stands(state(differ, waits, shown.op), key, &shown.kind);
        tables.set_state(key, state, &shown.id, more)
    }

    /// Tell all records that differ apart by these rules, when the tables stand by others.
    ///
    /// # Errors
    /// What the tables say.
    pub fn rule(&mut self, tables: &mut dyn Projection) -> Result<(), ProjectionError> {
        let print = self.rules.print();
        if tables.ruled_by()? == print {
            return Ok(());
        }
        for state in State::ALL.into_iter().filter(|state| state.differs()) {
            let mut after: Option<String> = None;
            loop {
                let keys = tables.records_in(state, after.as_deref(), RULED_AT_ONCE)?;
                for key in &keys {
                    self.stand(tables, key, 0)?;
                }
                let Some(last) = keys.last() else { break };
                after = Some(last.clone());
            }
        }
        tables.set_ruled_by(print)
    }
}

/// The line that `version` goes on, if its record is one: that is what most events do, and they need none of what follows.
fn continued(tables: &mut dyn Projection, key: &str, version: &Version) -> Result<Option<Line>, ProjectionError> {
    let base = match (version.orig, version.base.as_deref()) {
        (None, Some([])) => None,
        (None, Some([base])) => Some(*base),
        _ => return Ok(None),
    };
    let line = tables.line(key)?;
    let goes_on = match line {
        Line::Nothing => base.is_none(),
        Line::EndsWith(head) => base == Some(head),
        Line::Tangled => false,
    };
    Ok(goes_on.then_some(line))
}

fn fold_whole(tables: &mut dyn Projection, rules: &Conflicts, key: &str) -> Result<(), ProjectionError> {
    let versions = tables.versions(key)?;
    let mut elsewhere = BTreeSet::new();
    for base in versions.iter().flat_map(|version| version.base.iter().flatten()) {
        if tables.holds(base)? {
            elsewhere.insert(*base);
        }
    }
    let none = Folded { state: State::Settled, heads: Vec::new(), head_count: 0, waiting: Vec::new(), circular: false };
    let mut folded = fold(&versions, |id| elsewhere.contains(id)).unwrap_or(none);
    if let Some(shown) = folded.heads.first().and_then(|id| versions.iter().find(|version| version.id == *id)) {
        folded.state = rules.stands(folded.state, key, &shown.kind);
    }
    let ids: BTreeSet<_> = folded.heads.iter().collect();
    let heads: Vec<&Version> = versions.iter().filter(|version| ids.contains(&version.id)).collect();
    tables.set_record(key, &folded, &heads)
}
