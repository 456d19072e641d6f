//! Exchange with a prepared place: take in what is for us, take away what has arrived, write what the others lack, prove it. SPEC §10.12.
//!
//! What was written is no fact about what arrived: nothing here advances a peer (R10.7-d). What we note of a place only tells that a range is on
//! its way already, and only as long as the file is found there again (R10.12-c).

use super::Node;
use super::cutting::{CutOrder, CutReport, Group, Target};
use super::error::NodeError;
use super::known::{self, Word};
use super::payload;
use super::places::{Heard, PlaceRecord, Places, Written};
use super::taking::{FileReport, Ingested};
use crate::carry::stick::{self, Place};
use crate::cut::plan::{behind, best_lane};
use crate::cut::write::event_counts;
use crate::cut::{CutError, Lack};
use crate::ports::disk;
use crate::ports::store::{Log as _, Stream};
use bundle_format::error::Code;
use bundle_format::ids::{Lane, NodeId};
use std::io::ErrorKind;
use std::path::Path;

/// After so many runs behind what was never confirmed everything is written again from the receipt (R10.12-c, R10.12-d).
const RUNS_MAX: u64 = 3;
/// An event of a clinic is smaller than this, cut: with less room than that for each, what is urgent goes first for everybody.
const EVENT_LEN_USUAL: u64 = 1024;

/// What to exchange.
pub struct ExchangeOrder<'a> {
    /// The place.
    pub place: &'a Path,
    /// For whom; everybody whom something may be written for when empty (R10.12-a).
    pub to: &'a [NodeId],
    /// Largest file.
    pub max_size: u64,
    /// How many files of ours may lie there.
    pub files_max: u64,
    /// Take nothing in and write nothing; only say what would be written.
    pub dry_run: bool,
}

/// What is being done, as it happens.
pub enum Step<'a> {
    /// A file was looked at.
    Took(&'a FileReport),
    /// So many more events, with so many raw bytes, of so many for these recipients.
    Wrote(u64, u64, u64),
}

/// What came of it.
#[derive(Debug)]
pub struct Exchanged {
    /// The place.
    pub place: Place,
    /// What was taken in.
    pub ingested: Ingested,
    /// Files written, or found there already; what did not fit.
    pub cut: CutReport,
    /// Payloads copied now, for whomever, each once; by lane.
    pub copied: [u64; 4],
    /// Payloads that did not fit, each once; by lane.
    pub left: [u64; 4],
    /// Files of ours taken away: they have arrived, or a newer one holds all of them.
    pub tidied: u64,
    /// Ranges copied now, each stream's joined where they touch.
    pub ranges: Vec<(Stream, u64, u64)>,
    /// Hubs whose receipts say that they have every record they may see.
    pub level: Vec<NodeId>,
    /// Files of ours that lie there now.
    pub lying: Vec<Written>,
    /// What kept it from being complete. Our data is safe whatever it is.
    pub trouble: Option<NodeError>,
    /// Everything there is on the medium, proved, and the place is still the one it was: it may be taken out (R10.12-f).
    pub safe: bool,
}

impl Node {
    /// Exchange with the place of `order`.
    ///
    /// # Errors
    /// What stops it before anything was done there, and what our own log or disk says. What the place says is [`Exchanged::trouble`].
    pub fn exchange(&mut self, order: &ExchangeOrder<'_>, tell: &mut dyn FnMut(Step<'_>)) -> Result<Exchanged, NodeError> {
        self.require_joined()?;
        for node in order.to {
            self.require_recipient(node)?;
        }
        let disk = self.ports.disk.clone();
        let place = stick::recognise(&*disk, order.place)?;
        if !order.dry_run {
            place.make_files(&*disk)?;
        }
        let mut record = self.places().load(&*disk, &place.marker)?;
        let ingested = if order.dry_run { Ok(Ingested::default()) } else { self.take_from(&place, tell) };
        let damaged = record.keep_what_lies_there(&*disk, &place);
        let mut exchanged = Exchanged {
            place: place.clone(),
            ingested: Ingested::default(),
            cut: CutReport::default(),
            copied: [0; 4],
            left: [0; 4],
            tidied: 0,
            ranges: Vec::new(),
            level: Vec::new(),
            lying: Vec::new(),
            trouble: None,
            safe: false,
        };
        let written = ingested.and_then(|ingested| {
            exchanged.ingested = ingested;
            let mut writing = Writing {
                node: self,
                order,
                place: &place,
                record: &mut record,
                exchanged: &mut exchanged,
                has_written: false,
                damaged,
                copied: Vec::new(),
                left: Vec::new(),
            };
            writing.run_around_rot(tell)
        });
        let ended = if order.dry_run { Ok(()) } else { self.leave(&place, &mut record) };
        exchanged.safe = ended.is_ok() && !order.dry_run;
        for error in [written.err(), ended.err()].into_iter().flatten() {
            let trouble = trouble_of(&place, error)?;
            exchanged.safe &= !matches!(trouble.code(), Code::Z214 | Code::Z237);
            exchanged.trouble.get_or_insert(trouble);
        }
        exchanged.lying = record.written;
        Ok(exchanged)
    }

    fn take_from(&mut self, place: &Place, tell: &mut dyn FnMut(Step<'_>)) -> Result<Ingested, NodeError> {
        let disk = self.ports.disk.clone();
        let draft = place.files.join(format!(".{}.zb.part", self.draft_stem()));
        if disk.look(&draft).is_ok_and(|entry| entry.is_some()) {
            match disk.remove(&draft) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {} // it is no bundle, and stays
                Err(error) => return Err(NodeError::writing(&draft, error)),
            }
        }
        self.ingest(std::slice::from_ref(&place.root), &mut |file| tell(Step::Took(file)))
    }

    /// The last look: everything on the medium, the place still there (R10.12-f).
    fn leave(&self, place: &Place, record: &mut PlaceRecord) -> Result<(), NodeError> {
        let disk = &*self.ports.disk;
        (record.path, record.seen_ms) = (place.root.to_string_lossy().into_owned(), self.ports.clock.now_ms());
        self.places().save(disk, record)?;
        place.still_there(disk)?;
        disk.sync_volume(&place.root).map_err(|error| NodeError::writing(&place.root, error))?;
        Ok(place.still_there(disk)?)
    }

    fn places(&self) -> Places {
        Places::at(&self.layout.places(), self.rotted().clone())
    }

    /// Everybody for whom something may be written: every member but us and the revoked (R10.12-a).
    fn everybody(&self) -> Vec<NodeId> {
        let me = self.keyring.node();
        self.roster.members().filter(|member| member.node != me && !member.is_revoked()).map(|member| member.node).collect()
    }

    /// Whether this place is a way to `group`: hubs carry everything to everybody; between others only what is meant for them (R10.12-a).
    fn is_way_to(&self, group: &Group) -> bool {
        let hubs = self.roster.is_hub(&self.keyring.node()) || group.nodes.iter().any(|node| self.roster.is_hub(node));
        hubs || group.answer_due || group.lacks.iter().any(|lack| lack.stream.origin.lane != Lane::Control)
    }

    fn heard(&self, node: &NodeId) -> Result<Heard, NodeError> {
        Ok(self.peer(node)?.receipt.map(|receipt| (receipt.incarnation, receipt.number)))
    }

    /// Whether `written` has nothing left to do: all its recipients have confirmed its ranges, or heard of us since; who is revoked gets nothing (R10.12-e).
    fn has_arrived(&self, written: &Written) -> Result<bool, NodeError> {
        for (node, heard) in &written.recipients {
            if self.roster.member(node).is_none_or(crate::keys::Member::is_revoked) {
                continue;
            }
            let peer = self.peer(node)?;
            if written.ranges.is_empty() && self.heard(node)? == *heard {
                return Ok(false);
            }
            for (stream, _, last) in &written.ranges {
                if !matches!(known::word(&self.wal, &peer, stream)?, Word::Holds(seq) | Word::Ahead(seq) if seq >= *last) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// What the place, and not our own disk, did not let us do; our own faults stop the command.
fn trouble_of(place: &Place, error: NodeError) -> Result<NodeError, NodeError> {
    let of_place = match &error {
        NodeError::Publish(_) | NodeError::Stick(_) | NodeError::Cut(CutError::Seal(_)) => true,
        NodeError::Io { path, .. } => path.starts_with(&place.root),
        _ => false,
    };
    if of_place && is_denied(&error) {
        return Ok(NodeError::refused(Code::Z244, error.to_string()));
    }
    let read_only = || refused_by_medium(&error) == Some(ErrorKind::ReadOnlyFilesystem);
    match error.code() {
        _ if !of_place => Err(error),
        Code::Z214 | Code::Z203 => Ok(error),
        _ if read_only() => Ok(NodeError::refused(Code::Z234, error.to_string())),
        _ => Ok(NodeError::refused(Code::Z237, error.to_string())),
    }
}

/// The system's reason, when a place refused to be written to.
pub(super) fn refused_by_medium(error: &NodeError) -> Option<ErrorKind> {
    use crate::carry::drop_folder::PublishError;
    use bundle_format::seal::SealError;
    match error {
        NodeError::Io { error, .. }
        | NodeError::Publish(PublishError::Io { error, .. })
        | NodeError::Cut(CutError::Seal(SealError::Write(error))) => Some(error.kind()),
        NodeError::Stick(stick::StickError::ReadOnly(_)) => Some(ErrorKind::ReadOnlyFilesystem),
        _ => None,
    }
}

/// Whether a place let us do nothing because of who we are.
fn is_denied(error: &NodeError) -> bool {
    use crate::carry::drop_folder::PublishError;
    use bundle_format::seal::SealError;
    match error {
        NodeError::Io { error, .. }
        | NodeError::Publish(PublishError::Io { error, .. })
        | NodeError::Cut(CutError::Seal(SealError::Write(error)))
        | NodeError::Stick(stick::StickError::Io { error, .. }) => disk::is_denied(error),
        _ => false,
    }
}

/// One run of writing to a place.
struct Writing<'a> {
    node: &'a mut Node,
    order: &'a ExchangeOrder<'a>,
    place: &'a Place,
    record: &'a mut PlaceRecord,
    exchanged: &'a mut Exchanged,
    /// All there was to write is written and proved.
    has_written: bool,
    /// Own files that were found cut short or rotten.
    damaged: Vec<String>,
    copied: Vec<(Stream, u64, u64)>,
    left: Vec<Lack>,
}

impl Writing<'_> {
    /// What rotted and is met while reading is written around, in a second run that finds what the first one wrote.
    fn run_around_rot(&mut self, tell: &mut dyn FnMut(Step<'_>)) -> Result<(), NodeError> {
        loop {
            let known = self.node.wal.rotten();
            match self.run(tell) {
                Err(error) if self.node.answer_met(&error, &known)? => {
                    self.left.clear();
                    self.exchanged.cut.left = [0; 4];
                }
                done => return done,
            }
        }
    }

    fn run(&mut self, tell: &mut dyn FnMut(Step<'_>)) -> Result<(), NodeError> {
        if !self.order.dry_run {
            self.node.show_life()?;
        }
        self.node.sign_own_histories()?;
        self.tidy()?;
        self.record.run += 1;
        let to = if self.order.to.is_empty() { self.node.everybody() } else { self.order.to.to_vec() };
        let mut groups = self.node.groups(&to)?;
        groups.retain(|group| !self.order.to.is_empty() || self.node.is_way_to(group));
        groups.sort_by_key(|group| best_lane(&group.lacks));
        self.exchanged.level = self.level(&groups)?;
        self.exchanged.cut.kept_back = groups.iter().map(|group| group.kept_back).sum();
        let mut elsewhere = self.elsewhere()?;
        let written = self.write_all(&groups, &mut elsewhere, tell);
        self.exchanged.ranges = joined(self.copied.iter().copied());
        self.exchanged.copied = payload::count(&self.node.wal, &self.exchanged.ranges)?;
        self.exchanged.left = payload::count(&self.node.wal, &joined(self.left.iter().map(|lack| (lack.stream, lack.after + 1, lack.to))))?;
        if self.order.dry_run {
            return written;
        }
        let mut relied = false;
        for record in elsewhere.iter().filter(|(_, used)| *used).map(|(record, _)| record) {
            self.node.places().save(&*self.node.ports.disk, &PlaceRecord { relied: record.relied + 1, ..record.clone() })?;
            relied = true;
        }
        if self.record.written.iter().any(|written| written.run == self.record.run) {
            (self.record.split, self.record.relied) = (relied || !self.left.is_empty(), 0);
        } else {
            self.record.run -= 1;
        }
        written?;
        self.has_written = true;
        self.tidy()
    }

    fn write_all(&mut self, groups: &[Group], elsewhere: &mut [(PlaceRecord, bool)], tell: &mut dyn FnMut(Step<'_>)) -> Result<(), NodeError> {
        if self.is_scarce(groups)? {
            for group in groups {
                let urgent: Vec<_> = group.lacks.iter().filter(|lack| lack.stream.origin.lane <= Lane::Urgent).copied().collect();
                let urgent = Group { nodes: group.nodes.clone(), lacks: urgent, vector: group.vector.clone(), answer_due: false, kept_back: 0 };
                self.write(&urgent, elsewhere, tell)?;
            }
            self.left.clear(); // told again by the round for everything
            self.exchanged.cut.left = [0; 4];
        }
        groups.iter().try_for_each(|group| self.write(group, elsewhere, tell))
    }

    /// Whether the place may be too small for everything: then the urgent goes first for everybody (R10.12-b).
    fn is_scarce(&self, groups: &[Group]) -> Result<bool, NodeError> {
        let events: u64 = groups.iter().map(|group| event_counts(&group.lacks).iter().sum::<u64>()).sum();
        let free = self.node.ports.disk.free_space(&self.place.root).map_err(|error| NodeError::reading(&self.place.root, error))?;
        Ok(!self.order.dry_run && groups.len() > 1 && free / EVENT_LEN_USUAL <= events)
    }

    /// Write what `group` lacks and what is not on its way already.
    fn write(&mut self, group: &Group, elsewhere: &mut [(PlaceRecord, bool)], tell: &mut dyn FnMut(Step<'_>)) -> Result<(), NodeError> {
        let rest = self.not_on_its_way(group, elsewhere)?;
        let receipt_name = self.node.file_name(group, &[])?;
        let told = self.record.written.iter().any(|written| written.is_for(&group.nodes) && written.receipt_name == receipt_name);
        let cut = CutOrder { to: &group.nodes, out: &self.place.files, max_size: self.order.max_size, dry_run: self.order.dry_run, small: false };
        if rest.is_empty() && told && group.answer_due {
            return self.node.answered(group, &cut); // a file that still lies there has asked once more
        }
        if rest.is_empty() && !group.answer_due {
            return Ok(());
        }
        let room = self.order.files_max.saturating_sub(self.record.written.len() as u64);
        let target = Target { order: &cut, place: Some(self.place), room };
        let before = self.exchanged.cut.files.len();
        let left =
            self.node.cut_lacks(group, &rest, &target, &mut self.exchanged.cut, &mut |events, raw, total| tell(Step::Wrote(events, raw, total)));
        let recipients = group.nodes.iter().map(|node| Ok((*node, self.node.heard(node)?))).collect::<Result<Vec<_>, NodeError>>()?;
        for file in self.exchanged.cut.files.iter().skip(before) {
            self.copied.extend(if file.already_there { &[][..] } else { &file.ranges });
            let name = file_name(&file.path);
            self.record.written.retain(|written| written.name != name);
            let (receipt_name, recipients) = (receipt_name.clone(), recipients.clone());
            let (digest, bytes, run, ranges) = (file.digest, file.bytes, self.record.run, file.ranges.clone());
            self.record.written.push(Written { name, receipt_name, digest, bytes, run, recipients, ranges });
        }
        if !self.order.dry_run {
            self.node.places().save(&*self.node.ports.disk, self.record)?;
        }
        self.left.extend(left?);
        Ok(())
    }

    /// What of `group`'s lacks lies neither here nor, on the newest sticks of a run that was too much for one, elsewhere (R10.12-c, R10.12-d).
    fn not_on_its_way(&self, group: &Group, elsewhere: &mut [(PlaceRecord, bool)]) -> Result<Vec<Lack>, NodeError> {
        let mut ranges = self.record.ranges_for(&group.nodes);
        let here = behind(&group.lacks, &ranges);
        for (record, used) in elsewhere.iter_mut() {
            let more = self.confirmed_since(record, group)?;
            if behind(&group.lacks, &[ranges.clone(), more.clone()].concat()) != behind(&group.lacks, &ranges) {
                ranges.extend(more);
                *used = true;
            }
        }
        let rest = behind(&group.lacks, &ranges);
        Ok(if rest == here && self.is_to_be_gathered(group, &rest)? { group.lacks.clone() } else { rest })
    }

    /// What lies on another place for `group`, unless somebody of it has been heard since.
    fn confirmed_since(&self, record: &PlaceRecord, group: &Group) -> Result<Vec<(Stream, u64, u64)>, NodeError> {
        let mut ranges = Vec::new();
        for written in record.written.iter().filter(|written| written.is_for(&group.nodes)) {
            let mut silent = true;
            for (node, heard) in &written.recipients {
                silent &= !group.nodes.contains(node) || self.node.heard(node)? == *heard;
            }
            ranges.extend(if silent { &written.ranges[..] } else { &[] });
        }
        Ok(ranges)
    }

    /// Whether too many runs went on behind each other here: then one file from the receipt on takes the place of all, if there is room for it beside them.
    fn is_to_be_gathered(&self, group: &Group, rest: &[Lack]) -> Result<bool, NodeError> {
        let lying: Vec<_> = self.record.written.iter().filter(|written| written.is_for(&group.nodes) && written.run < self.record.run).collect();
        let runs: std::collections::BTreeSet<_> = lying.iter().map(|written| written.run).collect();
        let bytes: u64 = lying.iter().map(|written| written.bytes).sum();
        let root = &self.place.root;
        let free = self.node.ports.disk.free_space(root).map_err(|error| NodeError::reading(root, error))?;
        Ok(!rest.is_empty() && runs.len() as u64 >= RUNS_MAX && free / 4 > bytes)
    }

    /// Hubs that have told a receipt and lack no record.
    fn level(&self, groups: &[Group]) -> Result<Vec<NodeId>, NodeError> {
        let mut level = Vec::new();
        let lacks_none = |group: &&Group| group.kept_back == 0 && group.lacks.iter().all(|lack| lack.stream.origin.lane == Lane::Control);
        for group in groups.iter().filter(lacks_none) {
            for node in group.nodes.iter().filter(|node| self.node.roster.is_hub(node)) {
                level.extend(self.node.heard(node)?.map(|_| *node));
            }
        }
        Ok(level)
    }

    /// Places of a run that was too much for one, as long as they may be gone on behind.
    fn elsewhere(&self) -> Result<Vec<(PlaceRecord, bool)>, NodeError> {
        let all = self.node.places().all(&*self.node.ports.disk)?;
        let usable = |record: &PlaceRecord| record.marker.id != self.place.marker.id && record.split && record.relied < RUNS_MAX;
        Ok(all.into_iter().filter(usable).map(|record| (record, false)).collect())
    }

    /// Take away files of ours that have arrived, or whose content lies there in a newer one (R10.12-e).
    fn tidy(&mut self) -> Result<(), NodeError> {
        if self.order.dry_run {
            return Ok(());
        }
        let mut going = Vec::new();
        for written in &self.record.written {
            if self.record.written.iter().any(|newer| written.is_superseded_by(newer)) || self.node.has_arrived(written)? {
                going.push(written.name.clone());
            }
        }
        let lies = |name: &String| self.record.written.iter().any(|written| written.name == *name);
        let replaced = if self.has_written { std::mem::take(&mut self.damaged) } else { Vec::new() };
        going.extend(replaced.into_iter().filter(|name| !lies(name)));
        let disk = &*self.node.ports.disk;
        for name in going {
            let path = self.place.files.join(&name);
            match disk.remove(&path) {
                Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => return Ok(()), // it stays, and does no harm
                Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,        // so does one that we wrote as another user (R10.5-h)
                removed => removed.map_err(|error| NodeError::writing(&path, error))?,
            }
            self.record.written.retain(|written| written.name != name);
            self.exchanged.tidied += 1;
        }
        Ok(())
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The same, sorted, each event in it once.
fn joined(ranges: impl Iterator<Item = (Stream, u64, u64)>) -> Vec<(Stream, u64, u64)> {
    let mut joined: Vec<(Stream, u64, u64)> = Vec::new();
    let mut sorted: Vec<_> = ranges.collect();
    sorted.sort_unstable_by_key(|(stream, first, last)| (stream.origin.lane, *stream, *first, *last));
    for (stream, first, last) in sorted {
        match joined.last_mut().filter(|before| before.0 == stream && first <= before.2 + 1) {
            Some((.., end)) => *end = last.max(*end),
            None => joined.push((stream, first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::ids::{Incarnation, Origin};

    #[test]
    fn an_event_for_many_is_counted_once() {
        let stream = |lane| Stream::main(Origin { node: NodeId([1; 8]), incarnation: Incarnation([2; 4]), lane, audience: None });
        let ranges = [(Lane::Routine, 1, 5), (Lane::Urgent, 1, 1), (Lane::Routine, 1, 5), (Lane::Routine, 4, 7), (Lane::Routine, 9, 9)];
        let joined = joined(ranges.into_iter().map(|(lane, first, last)| (stream(lane), first, last)));
        assert_eq!(joined, [(stream(Lane::Urgent), 1, 1), (stream(Lane::Routine), 1, 7), (stream(Lane::Routine), 9, 9)]);
    }
}
