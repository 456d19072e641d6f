//! Keeping tables in step with the log: what is new since last time, a batch a transaction, so that a crash neither doubles nor skips. SPEC §11.2.

use super::config::{Config, Conflicts};
use super::error::NodeError;
use super::folding::Folding;
use super::payload;
use super::{Node, View, naming::Naming, rot};
use crate::keys::Roster;
use crate::ports::projection::{Content, Place, Projection, Row};
use crate::ports::store::{Finding, Head, Log, StoreError, Stream};
use bundle_format::chain::digest;
use bundle_format::event::{Event, Part};
use bundle_format::ids::{EventId, Hash, Lane, NodeId};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Events in one transaction.
const BATCH_COUNT_MAX: u64 = 2000;
/// Payload bytes in one transaction.
const BATCH_LEN_MAX: u64 = 4 << 20;
/// Larger payloads stay in the log: a row is read whole.
pub const ROW_PAYLOAD_LEN_MAX: u64 = 1 << 20;

/// What catching up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    /// Events put into the tables.
    pub events: u64,
    /// Records whose heads were worked out anew.
    pub records: u64,
    /// Events that rotted, in histories that were looked at: no row has them.
    pub lacking: u64,
    /// The tables were made from nothing.
    pub rebuilt: bool,
    /// There is more: it stopped after one transaction, as it was asked to.
    pub paused: bool,
}

/// How much is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stride {
    /// All there is.
    Whole,
    /// One transaction: others wait for the node no longer than that takes.
    Batch,
}

/// Where following one history ended.
enum Followed {
    /// At its head, or, if its chain does not lead there, somewhere else.
    End { is_head: bool },
    /// A transaction is full and done.
    Paused,
}

/// What a transaction may do with tables that stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Go on with them, or make them anew where they tell of another log.
    On,
    /// Make them anew.
    Anew,
    /// Go on with what was made anew a moment ago: where it does not lead to a head, the log is at odds with itself.
    Further,
}

/// The log, whom we trust and who we are: what tables are made from.
pub(super) struct Source<'a> {
    pub log: &'a dyn Log,
    pub roster: &'a Roster,
    pub naming: Naming<'a>,
    pub me: NodeId,
}

impl Source<'_> {
    /// One transaction, begun already: bring `tables` nearer to the log as it stands (R11.2-b). What they say in it is all that is known of them: others
    /// may have filled or emptied them before.
    fn step(&self, tables: &mut dyn Projection, rules: &Conflicts, way: Way) -> Result<Projected, NodeError> {
        let goes_on = way != Way::Anew && self.holds_all_of(tables)? && !self.has_more_to_read(&places(tables)?)?;
        if goes_on && let Some(done) = self.advance(tables, rules, false)? {
            return Ok(done);
        }
        let done = if goes_on && way == Way::Further { None } else { self.advance(tables, rules, true)? };
        done.ok_or_else(|| {
            NodeError::refused(bundle_format::error::Code::Z301, "the chain of a history does not lead to its head; `zbundle fsck` tells more")
        })
    }

    /// Whether the log holds everything that the tables know of.
    fn holds_all_of(&self, tables: &mut dyn Projection) -> Result<bool, NodeError> {
        Ok(continues(&places(tables)?, &self.streams()))
    }

    /// Every history that has rows.
    fn streams(&self) -> Vec<(Stream, Head)> {
        self.log.streams().into_iter().filter(|(stream, _)| stream.origin.lane != Lane::Control).collect()
    }

    /// Project what is new. `None`, and nothing done, when a history turns out to be another than the one projected before: its chain does not lead to
    /// its head.
    fn advance(&self, tables: &mut dyn Projection, rules: &Conflicts, anew: bool) -> Result<Option<Projected>, NodeError> {
        let mut batch = Batch { done: Projected { rebuilt: anew, ..Projected::default() }, folding: Folding::by(rules), count: 0, len: 0 };
        if anew {
            tables.clear()?;
        }
        batch.folding.rule(tables)?;
        let places = places(tables)?;
        let names = self.names();
        let renamed = tables.named_by()? != names;
        let counting = self.naming.counting();
        for (stream, head) in &self.streams() {
            let counted = counting.counted(stream)?;
            let held = places.get(stream);
            let place = held.cloned().unwrap_or_else(|| Place::new(*stream, head.base, counted));
            if place.counted != counted {
                batch.folding.touch(tables.recount(stream, counted)?);
            }
            batch.done.lacking += place.lacking.iter().map(|(first, last)| last + 1 - first).sum::<u64>();
            if !renamed && held.is_some_and(|held| held.counted == counted && held.is_at(head.end)) {
                continue; // a hub holds hundreds of histories, of which few have moved
            }
            match self.follow(tables, &mut batch, Place { counted, ..place }, head)? {
                Followed::Paused => return Ok(Some(Projected { paused: true, ..batch.done })),
                Followed::End { is_head: true } => {}
                Followed::End { is_head: false } => {
                    tables.begin()?; // undone
                    return Ok(None);
                }
            }
        }
        if renamed {
            tables.set_named_by(names)?;
        }
        batch.fold(tables)?;
        if !tables.is_whole()? {
            tables.set_whole()?;
        }
        tables.commit()?;
        Ok(Some(batch.done))
    }

    /// Whether something that rotted when it was to be projected is here again. Its history is projected anew: what builds on it may be told otherwise.
    fn has_more_to_read(&self, places: &BTreeMap<Stream, Place>) -> Result<bool, NodeError> {
        for place in places.values() {
            for lost in &place.lacking {
                if !rot::is_still_lost(self.log, &place.stream, *lost)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A number for what everybody is called.
    fn names(&self) -> i64 {
        let mut hasher = Sha256::new();
        let ours = (self.me, self.naming.node(&self.me));
        for (node, name) in self.roster.members().map(|member| (member.node, member.name.to_string())).chain([ours]) {
            hasher.update(node.0);
            hasher.update(name);
            hasher.update([0]);
        }
        hasher.finalize().first_chunk().copied().map_or(0, i64::from_be_bytes)
    }

    /// Project one history from `place` to its head. What rotted is passed over: rows are made of the rest (R11.2-j).
    fn follow(&self, tables: &mut dyn Projection, batch: &mut Batch, mut place: Place, head: &Head) -> Result<Followed, NodeError> {
        let (name, node_name) = (self.naming.origin(&place.stream.origin), self.naming.node(&place.stream.origin.node));
        let mut events = self.log.events(&place.stream, place.seq + 1)?;
        loop {
            match events.next() {
                Ok(Some((seq, bytes))) => {
                    let digest = digest(bytes);
                    place.pass(&digest);
                    // Stored events have been read once before they were let in; what does not read now is damage the checksum missed.
                    if let Ok(event) = Event::from_bytes(bytes) {
                        let first = seq - event.ext.part.map_or(0, |part| part.index.min(seq - 1));
                        if let Err(error) = self.put(tables, batch, &place, head, &(seq, event, digest)) {
                            for lost in self.lost_since(&place.stream, first, seq, error)? {
                                place.lack(lost);
                                batch.done.lacking += lost.1 + 1 - lost.0;
                            }
                        }
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let lost = rot::pass_over(self.log, &place.stream, &mut *events, error)?;
                    place.pass_over(lost);
                    batch.done.lacking += lost.1 + 1 - lost.0;
                }
            }
            if batch.is_full() {
                tables.set_place(&place, &name, &node_name)?;
                batch.fold(tables)?;
                tables.commit()?;
                return Ok(Followed::Paused);
            }
        }
        if place.hash.is_none() && place.seq == head.end.seq {
            place.hash = Some(head.end.hash); // what cannot be read cannot be hashed: the log's word for it
        }
        tables.set_place(&place, &name, &node_name)?;
        Ok(Followed::End { is_head: place.is_at(head.end) })
    }

    /// The stretches for which a payload from `first` to `last` was not put: its first parts were passed, and rotted before its last one came.
    fn lost_since(&self, stream: &Stream, first: u64, last: u64, error: NodeError) -> Result<Vec<(u64, u64)>, NodeError> {
        let NodeError::Log(StoreError::Damaged { .. }) = error else { return Err(error) };
        let lost = self.log.lost(stream, first, last)?;
        if lost.is_empty() { Err(error) } else { Ok(lost) } // a card that reads now so and now so
    }

    /// Put the event that ends at a place: of a payload in parts that is the last one, so that a row is always whole and a void run makes none (R3.2-f).
    fn put(
        &self,
        tables: &mut dyn Projection,
        batch: &mut Batch,
        place: &Place,
        head: &Head,
        (seq, event, digest): &(u64, Event<'_>, Hash),
    ) -> Result<(), NodeError> {
        let Some(Part { index, count }) = event.ext.part else { return self.put_whole(tables, batch, place, head, *seq, event, digest) };
        if index + 1 < count || *seq < count {
            return Ok(());
        }
        let first_seq = seq - index;
        // The first parts of a payload whose branch leaves another in its midst stand there.
        let stream = if first_seq > head.base.seq { place.stream } else { return Ok(()) };
        if place.lacks(first_seq, *seq) {
            return Ok(());
        }
        let mut events = self.log.events(&stream, first_seq)?;
        let Some((_, bytes)) = events.next()? else { return Ok(()) };
        let first = bytes.to_vec();
        let Ok(event) = Event::from_bytes(&first) else { return Ok(()) };
        if event.ext.part != Some(Part { index: 0, count }) {
            return Ok(());
        }
        let digest = bundle_format::chain::digest(&first);
        self.put_whole(tables, batch, place, head, first_seq, &event, &digest)
    }

    #[expect(clippy::too_many_arguments, reason = "a place in the log and what stands there")]
    fn put_whole(
        &self,
        tables: &mut dyn Projection,
        batch: &mut Batch,
        place: &Place,
        head: &Head,
        seq: u64,
        event: &Event<'_>,
        digest: &Hash,
    ) -> Result<(), NodeError> {
        let stream = place.stream;
        let Some(facts) = payload::facts(self.log, &stream, seq, event)? else { return Ok(()) };
        let mut whole = Vec::new();
        let wanted = tables.holds_payloads() && facts.len <= ROW_PAYLOAD_LEN_MAX;
        if wanted {
            payload::each_piece(self.log, &stream, seq, event, |piece| {
                whole.extend_from_slice(piece);
                Ok::<_, NodeError>(())
            })?;
        }
        let content = match (wanted, facts.is_text, std::str::from_utf8(&whole)) {
            (false, ..) => Content::Elsewhere,
            (true, true, Ok(text)) if !text.contains('\0') => Content::Text(text), // SQLite's text functions stop at a NUL
            _ => Content::Bytes(&whole),
        };
        let ext = &event.ext;
        let base = match (&ext.base, ext.record_key, ext.orig) {
            (Some(base), ..) => Some(base.clone()),
            (None, Some(key), None) => Some(tables.previous(&stream, head.base.seq, key, seq)?.into_iter().collect()),
            _ => None,
        };
        let row = Row {
            stream,
            id: EventId::new(stream.origin, seq, digest),
            hlc: event.hlc,
            kind: event.kind,
            record_key: ext.record_key,
            base,
            op: ext.op,
            orig: ext.orig,
            content_type: ext.content_type,
            author: ext.author,
            idempotency_key: ext.idempotency_key,
            len: facts.len,
            sha256: facts.sha256,
            content,
            counts: seq <= place.counted,
        };
        batch.folding.put(tables, &row)?;
        batch.count += 1;
        batch.len += if wanted { facts.len } else { 0 };
        batch.done.events += 1;
        Ok(())
    }
}

fn places(tables: &mut dyn Projection) -> Result<BTreeMap<Stream, Place>, NodeError> {
    Ok(tables.places()?.into_iter().map(|place| (place.stream, place)).collect())
}

/// One transaction after the other.
fn each_step(rebuild: bool, stride: Stride, mut step: impl FnMut(Way) -> Result<Projected, NodeError>) -> Result<Projected, NodeError> {
    let mut done = step(if rebuild { Way::Anew } else { Way::On })?;
    while done.paused && stride == Stride::Whole {
        let more = step(if done.rebuilt { Way::Further } else { Way::On })?;
        done = Projected { events: done.events + more.events, records: done.records + more.records, rebuilt: done.rebuilt || more.rebuilt, ..more };
    }
    Ok(done)
}

/// Whether the log holds everything that the tables know of.
fn continues(places: &BTreeMap<Stream, Place>, streams: &[(Stream, Head)]) -> bool {
    let fits = |(stream, head): &&(Stream, Head)| places.get(stream).is_some_and(|place| place.seq < head.end.seq || place.is_at(head.end));
    streams.iter().filter(fits).count() == places.len()
}

struct Batch {
    done: Projected,
    folding: Folding,
    count: u64,
    len: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.count >= BATCH_COUNT_MAX || self.len >= BATCH_LEN_MAX
    }

    /// Work out what is left of the records that this batch touched.
    fn fold(&mut self, tables: &mut dyn Projection) -> Result<(), NodeError> {
        self.done.records += self.folding.finish(tables)?;
        (self.count, self.len) = (0, 0);
        Ok(())
    }
}

/// A file that does not read sets nothing, and holds nothing up: whoever asks about rules is told, and until then what differs counts as a conflict.
fn rules_of(config: Result<Config, NodeError>) -> Conflicts {
    config.unwrap_or_default().conflicts
}

impl View {
    pub(super) fn source(&self) -> Source<'_> {
        Source { log: &self.log, roster: &self.roster, naming: self.naming(), me: self.keyring.node() }
    }

    /// Bring `tables` up to the log; with `rebuild`, from nothing.
    ///
    /// # Errors
    /// What the log or the tables say; then the tables stand where a batch ended.
    pub fn project(&self, tables: &mut dyn Projection, rebuild: bool) -> Result<Projected, NodeError> {
        self.catch_up(tables, rebuild, Stride::Whole)
    }

    /// One step of [`View::project`], a transaction long; [`Projected::paused`] says whether there is more.
    ///
    /// # Errors
    /// As [`View::project`].
    pub fn project_on(&self, tables: &mut dyn Projection) -> Result<Projected, NodeError> {
        self.catch_up(tables, false, Stride::Batch)
    }

    fn catch_up(&self, tables: &mut dyn Projection, rebuild: bool, stride: Stride) -> Result<Projected, NodeError> {
        let rules = rules_of(self.config());
        let short = self.findings().iter().any(|finding| matches!(finding, Finding::Short { .. }));
        if short && !rebuild {
            let why = "the end of the log is gone, and these tables may hold what stood there: copy them first";
            return Err(NodeError::refused(bundle_format::error::Code::Z301, why));
        }
        each_step(rebuild, stride, |way| {
            tables.begin()?;
            if way == Way::Anew || self.source().holds_all_of(tables)? {
                return self.source().step(tables, &rules, way);
            }
            // Others read the log later than we did, and filled the tables. As long as we hold these nobody does, and who reads the log now lacks nothing
            // of what is in them, unless the log was put back.
            let (log, roster) = self.read_again()?;
            let naming = Naming { keyring: &self.keyring, roster: &roster, log: &log };
            Source { log: &log, roster: &roster, naming, me: self.keyring.node() }.step(tables, &rules, way)
        })
    }
}

impl Node {
    pub(super) fn source(&self) -> Source<'_> {
        Source { log: &self.wal, roster: &self.roster, naming: self.naming(), me: self.keyring.node() }
    }

    /// Bring `tables` up to the log; with `rebuild`, from nothing.
    ///
    /// # Errors
    /// What the log or the tables say; then the tables stand where a batch ended.
    pub fn project(&self, tables: &mut dyn Projection, rebuild: bool) -> Result<Projected, NodeError> {
        self.catch_up(tables, rebuild, Stride::Whole)
    }

    /// One step of that, a transaction long; [`Projected::paused`] says whether there is more.
    ///
    /// # Errors
    /// As [`Node::project`].
    pub fn project_on(&self, tables: &mut dyn Projection) -> Result<Projected, NodeError> {
        self.catch_up(tables, false, Stride::Batch)
    }

    fn catch_up(&self, tables: &mut dyn Projection, rebuild: bool, stride: Stride) -> Result<Projected, NodeError> {
        let rules = rules_of(self.config());
        each_step(rebuild, stride, |way| {
            tables.begin()?;
            self.source().step(tables, &rules, way)
        })
    }
}
