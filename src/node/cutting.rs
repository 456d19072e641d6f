//! Cut for peers into a folder: choose, sign, seal, prove, publish. SPEC §4.6, §10.5.

use super::error::NodeError;
use super::peers::Peer;
use super::session::Session;
use super::{Node, control, known, payload};
use crate::carry::drop_folder::Draft;
use crate::carry::stick::Place;
use crate::cut::name::{self, Named};
use crate::cut::write::{best_lane, event_counts, rest};
use crate::cut::{self, CutError, Fixed, Lack, Order, sign};
use crate::ports::disk::{DiskFile, Open};
use crate::ports::store::{Head, Log as _, Store as _, StoreError, Stream};
use crate::ports::stream::{FileReader, FileWriter};
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Incarnation, NodeId, Origin};
use bundle_format::limits::{BUNDLE_LEN_MAX, CHECKPOINT_RAW_LEN};
use bundle_format::manifest::{ForkNotice, Manifest};
use bundle_format::open::SealedBundle;
use bundle_format::seal::{HeaderPlan, Sealed, Sealer};
use bundle_format::vector::{Salt, Told};
use std::path::{Path, PathBuf};

/// Left free on the medium: directory entries and what others write meanwhile (R10.5-f).
const RESERVE: u64 = 64 * 1024;
/// No bundle is shorter: header, one chunk and trailer.
const BUNDLE_LEN_MIN: u64 = 256;
/// A day: how often a node shows that it lives.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// What to cut.
pub struct CutOrder<'a> {
    /// For whom.
    pub to: &'a [NodeId],
    /// Into which folder.
    pub out: &'a Path,
    /// Largest file.
    pub max_size: u64,
    /// As few bytes as can be, whatever the time it takes at both ends.
    pub small: bool,
    /// Only say what would be written.
    pub dry_run: bool,
}

/// Where a cut goes: what was asked for, and the prepared place it was asked for, if it was one.
pub(super) struct Target<'a> {
    pub(super) order: &'a CutOrder<'a>,
    /// Looked at again before each file (R10.10-e).
    pub(super) place: Option<&'a Place>,
    /// How many files may be added.
    pub(super) room: u64,
}

/// One bundle written, or found already there.
#[derive(Clone, Debug)]
pub struct CutFile {
    /// Its final name.
    pub path: PathBuf,
    /// For whom.
    pub recipients: Vec<NodeId>,
    /// Bytes.
    pub bytes: u64,
    /// Payloads per lane; control events each.
    pub events: [u64; 4],
    /// Raw bytes of those events.
    pub raw_len: u64,
    /// Ranges inside: stream, first, last.
    pub ranges: Vec<(Stream, u64, u64)>,
    /// What its signature is over.
    pub digest: Hash,
    /// It was there already, whole and with the same content.
    pub already_there: bool,
}

/// What one `cut` did.
#[derive(Clone, Debug, Default)]
pub struct CutReport {
    /// Bundles, in the order they were written.
    pub files: Vec<CutFile>,
    /// Payloads per lane that did not fit; control events each.
    pub left: [u64; 4],
    /// Recipients who have everything already and are owed no answer.
    pub level: Vec<NodeId>,
    /// The medium had no room for all of it.
    pub full: bool,
    /// Histories kept back, for each recipient that lacks them: no vector holds them, or it would leave them out (R6.2-k).
    pub kept_back: usize,
}

/// Recipients who lack the same and may see the same.
pub(super) struct Group {
    pub(super) nodes: Vec<NodeId>,
    pub(super) lacks: Vec<Lack>,
    pub(super) vector: Vec<(Stream, Head)>,
    pub(super) answer_due: bool,
    pub(super) kept_back: usize,
}

impl Node {
    /// Cut what each of `order.to` lacks. `progress` is told events and raw bytes done and the total of events.
    ///
    /// # Errors
    /// What stops the whole command; a medium that is too small for everything is a report with something left.
    pub fn cut(&mut self, order: &CutOrder<'_>, progress: &mut dyn FnMut(u64, u64, u64)) -> Result<CutReport, NodeError> {
        loop {
            let known = self.wal.rotten();
            match self.cut_once(order, progress) {
                // Cut again around what was met while reading. What is written already is found and not written twice (R10.6-b).
                Err(error) if self.answer_met(&error, &known)? => {}
                done => return done,
            }
        }
    }

    fn cut_once(&mut self, order: &CutOrder<'_>, progress: &mut dyn FnMut(u64, u64, u64)) -> Result<CutReport, NodeError> {
        self.require_joined()?;
        for node in order.to {
            self.require_recipient(node)?;
        }
        if !order.dry_run {
            self.show_life()?;
        }
        self.sign_own_histories()?;
        let mut report = CutReport::default();
        let target = Target { order, place: None, room: u64::MAX };
        for group in self.groups(order.to)? {
            report.kept_back += group.kept_back;
            if group.lacks.is_empty() && !group.answer_due {
                report.level.extend(group.nodes.iter().filter(|_| group.kept_back == 0));
            } else {
                self.cut_lacks(&group, &group.lacks, &target, &mut report, progress)?;
            }
        }
        Ok(report)
    }

    pub(super) fn require_recipient(&self, node: &NodeId) -> Result<(), NodeError> {
        let name = self.naming().node(node);
        if *node == self.keyring.node() {
            return Err(NodeError::refused(Code::Z616, format!("{name} is this node; it has everything it has")));
        }
        match self.roster.member(node) {
            None => Err(NodeError::refused(Code::Z406, name)),
            Some(member) if member.is_revoked() => Err(NodeError::refused(Code::Z616, format!("{name} has been revoked; nothing is cut for it"))),
            Some(_) => Ok(()),
        }
    }

    /// What is written before others are told anything: what lets old work count behind new keys (R8.3-i), and once a day after foreign events one control
    /// event, so that our own restore shows to others (R6.6-e).
    pub(crate) fn show_life(&mut self) -> Result<(), NodeError> {
        self.write_behind_ended_keys()?;
        let now = self.ports.clock.now_ms();
        if self.state.alive_due && now.abs_diff(self.state.alive_ms) >= DAY_MS {
            self.note_control(&control::alive())?;
            if self.keyring.is_authority() {
                self.refresh_roster()?; // its control lane is the roster: one event longer now, in names too (R10.6-b)
            }
            self.state.alive_due = false;
            self.state.alive_ms = now;
            self.save_state()?;
        }
        Ok(())
    }

    /// Checkpoints for everything of ours that has none yet, and can be read.
    pub(super) fn sign_own_histories(&mut self) -> Result<(), NodeError> {
        let known = self.wal.rotten();
        self.sign_readable()?;
        if self.note_new(&known)? {
            self.sign_lost()?;
            if self.leave_rotten_life()? {
                self.sign_readable()?;
            }
        }
        Ok(())
    }

    fn sign_readable(&mut self) -> Result<(), NodeError> {
        let (me, domain) = (self.keyring.node(), self.roster.pin().domain());
        let keys = self.keyring.current();
        let signer = sign::Signer { key: &keys.signing, key_number: keys.number, domain };
        let own: Vec<_> = self.wal.streams().into_iter().filter(|(stream, _)| stream.origin.node == me && stream.branch.is_none()).collect();
        let mut signed = 0;
        for (stream, _) in own {
            if self.keyring.incarnation() == stream.origin.incarnation && !self.roster.is_roster(&stream.origin) {
                signed += sign::sign_again(&mut self.wal, &stream, &signer)?;
            }
            signed += sign::sign_up_to_head(&mut self.wal, &stream, &signer)?;
        }
        if signed > 0 {
            self.wal.sync()?;
        }
        Ok(())
    }

    /// Whether our present key may sign between what was signed before in a history of ours: in our present life, and where all of it counts without that.
    pub(super) fn may_sign_within(&self, stream: &Stream) -> Result<bool, NodeError> {
        let signed = self.wal.head(stream).map_or(0, |head| head.checkpoint_seq);
        Ok(signed <= self.naming().counting().counted(stream)?)
    }

    /// Recipients with one and the same delta share a file; who may see something else gets its own (R4.2-b, R4.6-b).
    pub(super) fn groups(&self, to: &[NodeId]) -> Result<Vec<Group>, NodeError> {
        let mut groups: Vec<Group> = Vec::new();
        for node in to {
            let peer = self.peers.load(&*self.ports.disk, node)?;
            let answer_due = peer.answer_due || self.asks_again(node, &peer)?;
            let (lacks, kept_back) = self.lacks(node, &peer)?;
            let group = Group { nodes: vec![*node], lacks, vector: self.told_to(node, &peer)?, answer_due, kept_back };
            let same = |other: &&mut Group| other.lacks == group.lacks && other.vector == group.vector;
            match groups.iter_mut().find(same).filter(|other| other.nodes.len() < bundle_format::limits::RECIPIENT_COUNT_MAX) {
                Some(other) if other.nodes.contains(node) => {}
                Some(other) => {
                    other.nodes.push(*node);
                    other.answer_due |= group.answer_due;
                    other.kept_back += group.kept_back;
                }
                None => groups.push(group),
            }
        }
        Ok(groups)
    }

    /// What `node` lacks, stream by stream, and how many it lacks that are kept back (R6.2-k). Of a life of ours that is over, what only we hold is not
    /// sent: it was written again (R4.6-l).
    fn lacks(&self, node: &NodeId, peer: &Peer) -> Result<(Vec<Lack>, usize), NodeError> {
        let streams = self.wal.streams();
        let (mut after, kept_back, mut kept) = (std::collections::BTreeMap::new(), self.kept_back(node, peer)?, 0);
        for (stream, head) in streams.iter().filter(|(stream, _)| self.may_see(node, &stream.origin)) {
            let lacks = self.send_after(node, peer, stream, &streams)?.filter(|after| *after < head.checkpoint_seq);
            let is_kept = lacks.is_some() && kept_back.has(&self.wal, peer, stream)?;
            kept += usize::from(is_kept);
            after.insert(*stream, lacks.filter(|_| !is_kept));
        }
        let mut ours = Vec::with_capacity(streams.len());
        for (stream, head) in &streams {
            let sent = after.get(stream).copied().flatten().unwrap_or(u64::MAX);
            ours.push((*stream, head.base.seq, self.readable_to(stream, sent, head.checkpoint_seq)?));
        }
        let visible = |origin: &Origin| self.may_see(node, origin);
        Ok((cut::plan(&ours, &self.roster.pin().roster_origin(), &visible, &mut |stream| after.get(stream).copied().flatten()), kept))
    }

    /// From where `stream` goes to `node`, as `peer` tells; `None` when nothing of it does.
    pub(crate) fn send_after(&self, node: &NodeId, peer: &Peer, stream: &Stream, streams: &[(Stream, Head)]) -> Result<Option<u64>, NodeError> {
        let word = known::word(&self.wal, peer, stream)?;
        if matches!(word, known::Word::Differs(_)) && self.is_repeated(stream, streams) || self.was_unplaced(stream, word, streams) {
            return Ok(None);
        }
        Ok(known::send_after(&self.wal, node, peer, stream)?)
    }

    /// Whether all that this branch of a settled life alone holds was written again in a new one (R4.6-l). What somebody held then was not, and he may
    /// have lost it since.
    fn is_repeated(&self, stream: &Stream, streams: &[(Stream, Head)]) -> bool {
        let branches = streams.iter().filter(|(other, _)| other.origin == stream.origin && other.branch.is_some());
        let fork = branches.map(|(_, head)| head.base.seq).min();
        let behind = self.state.repeated.iter().find(|(origin, _)| *origin == stream.origin).map(|(_, behind)| *behind);
        let is_whole = fork.zip(behind).is_some_and(|(fork, behind)| behind <= fork);
        stream.branch.is_none() && is_whole && self.is_settled_life(&stream.origin)
    }

    /// Whether a life of ours is over and what it held goes on its way in a later one.
    pub(crate) fn was_written_again(&self, origin: &Origin) -> bool {
        self.is_settled_life(origin) && self.state.repeated.iter().any(|(repeated, _)| repeated == origin)
    }

    /// Whether what `stream` goes on with, behind what a peer holds, was written again because some peer could not place it (R6.6-n).
    fn was_unplaced(&self, stream: &Stream, word: known::Word, streams: &[(Stream, Head)]) -> bool {
        let Some((_, behind)) = self.state.repeated.iter().find(|(origin, _)| *origin == stream.origin) else { return false };
        let has_parted = streams.iter().any(|(other, _)| other.origin == stream.origin && other.branch.is_some());
        let held = match word {
            known::Word::Silent => 0,
            known::Word::Holds(held) => held,
            known::Word::Ahead(_) | known::Word::Differs(_) => return false,
        };
        !has_parted && held >= *behind && self.is_settled_life(&stream.origin)
    }

    /// What a member may receive: what the roster lets it see, and its own histories, should it have lost them (R8.7-d).
    pub(crate) fn may_see(&self, node: &NodeId, origin: &Origin) -> bool {
        origin.node == *node || self.roster.may_see(node, origin)
    }

    /// The vector told to `node`: what it may be told, as far as a vector holds that (R6.2-k).
    pub(crate) fn told_to(&self, node: &NodeId, peer: &Peer) -> Result<Vec<(Stream, Head)>, NodeError> {
        let mut told = self.tellable(node, peer)?;
        let beyond = self.beyond_vector(node, &told);
        told.retain(|(stream, _)| !beyond.contains(stream));
        Ok(told)
    }

    /// What `node` may be told: what it may see, and what it sent us, as far as a checkpoint proves it (R3.6-c, R3.6-e).
    pub(super) fn tellable(&self, node: &NodeId, peer: &Peer) -> Result<Vec<(Stream, Head)>, NodeError> {
        let may_hear = |(stream, head): &(Stream, Head)| {
            head.checkpoint_seq > head.base.seq && (self.may_see(node, &stream.origin) || peer.sent.contains(&stream.origin))
        };
        Ok(self.sound_streams()?.into_iter().filter(may_hear).collect())
    }

    /// Write `lacks` for `group`, file by file, as many as there is room for; what is left is returned, and counted in `report`.
    pub(super) fn cut_lacks(
        &mut self,
        group: &Group,
        lacks: &[Lack],
        target: &Target<'_>,
        report: &mut CutReport,
        progress: &mut dyn FnMut(u64, u64, u64),
    ) -> Result<Vec<Lack>, NodeError> {
        let mut lacks = lacks.to_vec();
        let total: u64 = event_counts(&lacks).iter().sum();
        if let Some(file) = self.find_existing(group, &lacks, target.order)? {
            report.files.push(file);
            self.answered(group, target.order)?;
            return Ok(Vec::new());
        }
        let mut added = 0;
        loop {
            let file =
                if added < target.room { self.cut_fitting(group, &lacks, target, &mut |events, raw| progress(events, raw, total))? } else { None };
            let Some((file, fixed)) = file else {
                report.full = true;
                break;
            };
            lacks = rest(&lacks, &fixed.ranges);
            added += u64::from(!file.already_there);
            report.files.push(file);
            if lacks.is_empty() || fixed.ranges.is_empty() {
                break;
            }
        }
        let behind: Vec<_> = lacks.iter().map(|lack| (lack.stream, lack.after + 1, lack.to)).collect();
        for (left, count) in report.left.iter_mut().zip(payload::count(&self.wal, &behind)?) {
            *left += count;
        }
        if added > 0 {
            self.answered(group, target.order)?;
        }
        Ok(lacks)
    }

    /// One file, smaller and smaller while the medium has less room than it said it had; `None` when it has none (R4.6-j).
    fn cut_fitting(
        &mut self,
        group: &Group,
        lacks: &[Lack],
        target: &Target<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<(CutFile, Fixed)>, NodeError> {
        let mut len_max = self.len_max(target)?;
        let mut apart = CHECKPOINT_RAW_LEN / 2;
        loop {
            match self.cut_file(group, lacks, len_max, target, progress) {
                Err(error) if error.is_full_medium() && len_max > BUNDLE_LEN_MIN => len_max = (len_max / 2).min(BUNDLE_LEN_MAX),
                Err(error) if error.is_full_medium() => return Ok(None),
                Ok(None) if !target.order.dry_run && self.sign_closer(lacks, apart)? => apart /= 2,
                cut => return cut,
            }
        }
    }

    /// What goes first is signed more densely when it is ours: up to its first checkpoint it is more than a file may hold (R4.6-j). Whether it was.
    fn sign_closer(&mut self, lacks: &[Lack], apart: usize) -> Result<bool, NodeError> {
        let Some(Lack { stream, after, .. }) = lacks.first().filter(|lack| Session::is_signed_here(self, &lack.stream)) else { return Ok(false) };
        let signed = sign::sign_between(&mut self.wal, stream, &Session::signer(&self.keyring, &self.roster), *after, apart)?;
        self.wal.sync()?;
        Ok(signed > 0)
    }

    /// The answer that was due has been written (or would have been) (R6.5-g).
    pub(super) fn answered(&self, group: &Group, order: &CutOrder<'_>) -> Result<(), NodeError> {
        for node in group.nodes.iter().filter(|_| !order.dry_run) {
            let mut peer = self.peers.load(&*self.ports.disk, node)?;
            if std::mem::take(&mut peer.answer_due) {
                self.peers.save(&*self.ports.disk, node, &peer)?;
            }
        }
        Ok(())
    }

    fn len_max(&self, target: &Target<'_>) -> Result<u64, NodeError> {
        let order = target.order;
        let asked = order.max_size.min(BUNDLE_LEN_MAX);
        if order.dry_run {
            return Ok(asked);
        }
        let disk = &*self.ports.disk;
        let there = disk.look(order.out).map_err(|error| NodeError::writing(order.out, error))?;
        if there.is_none() && target.place.is_none() {
            disk.create_folder(order.out).map_err(|error| NodeError::writing(order.out, error))?;
        }
        let free = disk.free_space(order.out).map_err(|error| NodeError::writing(order.out, error))?;
        Ok(asked.min(free.saturating_sub(RESERVE)))
    }

    /// A bundle with this very content that lies in the folder already, whole (R10.5-c).
    fn find_existing(&self, group: &Group, lacks: &[Lack], order: &CutOrder<'_>) -> Result<Option<CutFile>, NodeError> {
        let ranges: Vec<_> = lacks.iter().map(|lack| (lack.stream, lack.after + 1, lack.to)).collect();
        let path = order.out.join(self.file_name(group, &ranges)?);
        let disk = &*self.ports.disk;
        if disk.look(&path).map_err(|error| NodeError::reading(&path, error))?.is_none() {
            return Ok(None);
        }
        let file = disk.open(&path, Open::Read).map_err(|error| NodeError::reading(&path, error))?;
        let Some(Sealed { len, digest }) = whole_bundle(file) else { return Ok(None) };
        let (recipients, events) = (group.nodes.clone(), payload::count(&self.wal, &ranges)?);
        Ok(Some(CutFile { path, recipients, bytes: len, events, raw_len: 0, ranges, digest, already_there: true }))
    }

    /// The name of a file with `ranges`; without any, of one that only tells what we hold.
    ///
    /// # Errors
    /// What the log says.
    pub(super) fn file_name(&self, group: &Group, ranges: &[(Stream, u64, u64)]) -> Result<String, NodeError> {
        let mut chained = Vec::new();
        for &(stream, first, last) in ranges {
            let at = known::position(&self.wal, &stream, last)?; // nothing where it has rotted: then no file is made either
            let chain = at.and_then(|at| at.hash.0.first_chunk().copied()).unwrap_or_default();
            chained.push((stream, first, last, chain));
        }
        let vector: Vec<_> = group.vector.iter().map(|(stream, head)| (stream.origin, head.checkpoint_seq)).collect();
        let (roster_seq, incarnation) = (self.roster.head().seq, self.keyring.incarnation());
        let named = Named { recipients: &group.nodes, ranges: &chained, vector: &vector, roster_seq, incarnation };
        Ok(name::file_name(self.keyring.data_keys().current().1, &named))
    }

    /// Write one file with as much of `lacks` as fits; `None` when not even one range does (R4.6-j).
    fn cut_file(
        &mut self,
        group: &Group,
        lacks: &[Lack],
        len_max: u64,
        target: &Target<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<(CutFile, Fixed)>, NodeError> {
        let order = target.order;
        if order.dry_run {
            let (_, fixed) = self.fix(group, lacks, (len_max, order.small), std::io::sink(), progress)?;
            let path = order.out.join(self.file_name(group, &fixed.ranges)?);
            return Ok(Some((cut_file(path, group, &fixed), fixed)).filter(|(_, fixed)| !fixed.ranges.is_empty() || lacks.is_empty()));
        }
        self.next_receipt_number(0)?;
        let disk = self.ports.disk.clone();
        if let Some(place) = target.place {
            place.still_there(&*disk)?;
        }
        let (draft, file) = Draft::begin(&*disk, order.out, &self.draft_stem())?;
        let (writer, fixed) = self.fix(group, lacks, (len_max, order.small), FileWriter::new(file), progress)?;
        if fixed.ranges.is_empty() && !lacks.is_empty() {
            return Ok(None);
        }
        writer.finish().map_err(|error| NodeError::writing(order.out, error))?;
        let name = self.file_name(group, &fixed.ranges)?;
        let path = order.out.join(&name);
        let mut cut = cut_file(path.clone(), group, &fixed);
        let there = disk.look(&path).map_err(|error| NodeError::reading(&path, error))?;
        let same = there.and_then(|_| disk.open(&path, Open::Read).ok()).and_then(whole_bundle);
        if let Some(Sealed { len, digest }) = same {
            (cut.already_there, cut.bytes, cut.digest) = (true, len, digest);
        } else {
            draft.publish(&name, &|file| whole_bundle(file).is_some_and(|sealed| sealed.digest == fixed.sealed.digest))?;
        }
        Ok(Some((cut, fixed)))
    }

    /// Under which name this node's next file is written: always the same one, so that what a power cut left is found and swept (R10.5-f).
    pub(super) fn draft_stem(&self) -> String {
        let nothing = Named { recipients: &[], ranges: &[], vector: &[], roster_seq: 0, incarnation: Incarnation([0; 4]) };
        name::file_name(self.keyring.data_keys().current().1, &nothing).trim_end_matches(".zb").to_owned()
    }

    fn fix<W: std::io::Write>(
        &self,
        group: &Group,
        lacks: &[Lack],
        (len_max, small): (u64, bool),
        out: W,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(W, Fixed), NodeError> {
        let recipients: Vec<_> = group.nodes.iter().filter_map(|node| self.roster.member(node)?.current()).map(|key| key.sealing).collect();
        let plan = HeaderPlan {
            domain: self.roster.pin().domain(),
            sender: self.keyring.node(),
            signing_key: &self.keyring.current().signing,
            recipients,
            created: Some(self.ports.clock.now_ms() / 1000),
            best_lane: Some(best_lane(lacks)),
        };
        let entropy = self.ports.entropy.clone();
        let sealer = Sealer::new(out, &plan, &mut |bytes| entropy.fill(bytes)).map_err(CutError::from)?;
        let manifest = |salt: &Salt| self.manifest(group, lacks, salt);
        let roster = self.roster.pin().roster_origin();
        let order = Order { log: &self.wal, lacks, roster: &roster, manifest: &manifest, len_max, small };
        Ok(cut::fix(sealer, &order, progress)?)
    }

    fn manifest(&self, group: &Group, lacks: &[Lack], salt: &Salt) -> Result<Manifest, CutError> {
        let mut vector = Vec::with_capacity(group.vector.len());
        for (stream, head) in &group.vector {
            if let Some(position) = known::position(&self.wal, stream, head.checkpoint_seq)? {
                vector.push(Told::new(salt, stream.origin, &position));
            }
        }
        let receipt = Some((self.keyring.incarnation(), self.receipt_told));
        let forks = self.fork_notices(&group.vector)?;
        Ok(Manifest::new(vector, receipt, forks, lacks.iter().map(|lack| lack.stream.origin)))
    }

    /// Forks among the streams a peer is told of: at the first position where the branches differ, both digests (R3.6-d, R6.4-f).
    pub(crate) fn fork_notices(&self, told: &[(Stream, Head)]) -> Result<Vec<ForkNotice>, CutError> {
        let mut notices = Vec::new();
        for (branch, head) in told.iter().filter(|(stream, _)| stream.branch.is_some()) {
            let seq = head.base.seq + 1;
            let mut events = self.wal.events(&Stream::main(branch.origin), seq)?;
            let first = match events.next() {
                Err(StoreError::Damaged { .. }) => continue, // said again when it is here again
                first => first?,
            };
            if let (Some((_, bytes)), Some(theirs)) = (first, branch.branch) {
                let ours: [u8; 8] = digest(bytes).0.first_chunk().copied().unwrap_or_default();
                let mut digests = [ours, theirs];
                digests.sort_unstable();
                // A branch of a branch may begin with what stands on the first one too (R6.4-h): with one digest there is nothing to tell.
                notices.extend((ours != theirs).then_some(ForkNotice { origin: branch.origin, seq, digests }));
            }
        }
        Ok(notices)
    }
}

fn cut_file(path: PathBuf, group: &Group, fixed: &Fixed) -> CutFile {
    let (recipients, ranges, digest) = (group.nodes.clone(), fixed.ranges.clone(), fixed.sealed.digest);
    CutFile { path, recipients, bytes: fixed.sealed.len, events: fixed.events, raw_len: fixed.raw_len, ranges, digest, already_there: false }
}

/// Length and digest of a bundle that is whole and signed; `None` for anything else (R10.5-e).
pub(super) fn whole_bundle(file: Box<dyn DiskFile>) -> Option<Sealed> {
    let bundle = SealedBundle::read(FileReader::new(file).ok()?).ok()?;
    Some(Sealed { len: bundle.len(), digest: bundle.digest() })
}
