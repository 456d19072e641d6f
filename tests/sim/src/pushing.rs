//! Pushing: what somebody was told to be safe, and what an application tries again that was told nothing.

use crate::model::{PART_LEN, Verdict, payload};
use crate::plan::{Act, Step};
use crate::tables::record_of;
use crate::world::{Asked, Planted, World};
use bundle_format::chain::hash;
use bundle_format::error::Code;
use bundle_format::ids::{Lane, NodeId, Origin};
use zbundle::adapters::SqliteProjection;
use zbundle::node::idempotency::Repeated;
use zbundle::node::{Node, NodeError};
use zbundle::push::{Fields, PushError};

/// A payload and where it stands.
type Told = (usize, Origin, u64);

/// In which lane, and for whom alone.
#[derive(Clone, Copy)]
struct Place {
    lane: Lane,
    to: Option<NodeId>,
}

impl World {
    /// Somebody pushes payloads and is told that they are safe. Where machines have tables pushes have keys, and who is told nothing tries again.
    ///
    /// # Errors
    /// What is not as it was promised.
    pub fn push(&mut self, at: usize, lane: u64, to: Option<usize>, lens: &[usize], step: &Step) -> Verdict {
        let node = self.machines[at].station.id;
        let to = to.map(|to| self.members[self.member(to)]).filter(|to| *to != node);
        let place = Place { lane: Lane::from_number(lane).unwrap_or(Lane::Routine), to };
        let (mut told, mut numbers) = (Vec::new(), Vec::new());
        let pushed = self.while_it_happens(at, None, step, &[Code::Z406], |world| {
            world.with_node(at, |world, node| {
                let streams = node.push_streams(place.lane, place.to.as_slice())?;
                numbers = lens.iter().map(|len| world.model.push(node.keyring().node(), place.lane, place.to, *len)).collect();
                node.with_pusher(&streams, |pusher| {
                    for number in &numbers {
                        let (fields, bytes) = world.intent(*number);
                        let places = pusher.push(&fields, bytes.len() as u64, &mut bytes.as_slice())?;
                        told.extend(places.iter().map(|(stream, seq)| (*number, stream.origin, *seq)));
                    }
                    if world.planted == Some(Planted::Invention) {
                        pusher.push(&Fields { kind: "record".into(), ..Fields::default() }, 13, &mut b"99999999:0000".as_slice())?;
                    }
                    pusher.sync()
                })
                .map_err(PushError::into)
            })
        })?;
        match pushed {
            Some(()) => self.were_pushed(at, place, told),
            None if self.has_tables() => self.push_again(at, place, &numbers),
            None => Ok(()),
        }
    }

    /// The same push again, by its key: it stands once, wherever the first try was broken off. A payload in parts is given up.
    fn push_again(&mut self, at: usize, place: Place, numbers: &[usize]) -> Verdict {
        let calm = Step { act: Act::Heal, mishap: None, luck: 0 };
        let numbers: Vec<usize> = numbers.iter().copied().filter(|number| self.model.pushed[*number].len <= PART_LEN).collect();
        let mut tables = match self.machines[at].tables.take() {
            Some(tables) => tables,
            None => SqliteProjection::in_memory().map_err(|error| format!("P4: no tables: {error}"))?,
        };
        let pushed = self.while_it_happens(at, None, &calm, &[Code::Z406], |world| {
            world.with_node(at, |world, node| {
                let mut told = Vec::new();
                for number in &numbers {
                    told.extend(world.push_once(node, &mut tables, place, *number)?);
                }
                Ok(told)
            })
        })?;
        self.machines[at].tables = Some(tables);
        pushed.map_or(Ok(()), |told| self.were_pushed(at, place, told))
    }

    fn push_once(&mut self, node: &mut Node, tables: &mut SqliteProjection, place: Place, number: usize) -> Asked<Vec<Told>> {
        let (fields, bytes) = self.intent(number);
        let streams = node.push_streams(place.lane, place.to.as_slice())?;
        let Repeated { mut stored, missing } = node.repeated(tables, &streams, &fields, &hash(&[], &[&bytes]))?;
        self.coverage.count(if missing.is_empty() { "a push tried again was there" } else { "a push tried again is stored" });
        if !missing.is_empty() {
            let pushed = node.with_pusher(&missing, |pusher| {
                let pushed = pusher.push(&fields, bytes.len() as u64, &mut bytes.as_slice())?;
                pusher.sync().map(|()| pushed)
            });
            stored.extend(pushed.map_err(NodeError::from)?);
        }
        Ok(stored.iter().map(|(stream, seq)| (number, stream.origin, *seq)).collect())
    }

    /// What is pushed as the payload of this number.
    fn intent(&self, number: usize) -> (Fields, Vec<u8>) {
        let (record_key, idempotency_key) = if self.has_tables() { (Some(record_of(number)), Some(format!("push {number}"))) } else { (None, None) };
        (Fields { kind: "record".into(), record_key, idempotency_key, ..Fields::default() }, payload(number, self.model.pushed[number].len))
    }

    fn were_pushed(&mut self, at: usize, place: Place, mut told: Vec<Told>) -> Verdict {
        if self.planted == Some(Planted::FalsePromise) {
            let number = self.model.push(self.machines[at].station.id, place.lane, place.to, 20);
            let origin = told.first().map(|(_, origin, _)| *origin);
            told.extend(origin.map(|origin| (number, origin, 99)));
        }
        let numbers: Vec<_> = told.iter().map(|(number, ..)| *number).collect();
        for (number, origin, seq) in told {
            self.model.told(number, origin, seq);
        }
        self.tell(format!("   {} pushed {numbers:?}", self.name(at)));
        self.look(at, false)?;
        let shown = &self.machines[at].memory.whole;
        match numbers.iter().find(|number| !shown.contains(number)) {
            Some(number) => Err(format!("P1: {} was told that payload {number} is safe, and it would not outlive a power cut", self.name(at))),
            None => Ok(()),
        }
    }
}
