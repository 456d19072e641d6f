//! Cut for peers into a folder: choose, sign, seal, prove, publish. SPEC §4.6, §10.5.

use super::error::NodeError;
use super::peers::Peer;
use super::{Node, control, known};
use crate::carry::drop_folder::Draft;
use crate::cut::name::{self, Named};
use crate::cut::write::{best_lane, event_counts, rest};
use crate::cut::{self, CutError, Fixed, Lack, Order, sign};
use crate::ports::disk::{DiskFile, Open};
use crate::ports::store::{Head, Log as _, Store as _, Stream};
use crate::ports::stream::{FileReader, FileWriter};
use bundle_format::chain::digest;
use bundle_format::error::Code;
use bundle_format::ids::{NodeId, Origin};
use bundle_format::limits::BUNDLE_LEN_MAX;
use bundle_format::manifest::{ForkNotice, Manifest};
use bundle_format::open::SealedBundle;
use bundle_format::seal::{HeaderPlan, Sealer};
use bundle_format::vector::{Salt, Told};
use std::path::{Path, PathBuf};

/// Left free on the medium: directory entries and what others write meanwhile (R10.5-f).
const RESERVE: u64 = 64 * 1024;
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
    /// Only say what would be written.
    pub dry_run: bool,
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
    /// Events per lane.
    pub events: [u64; 4],
    /// Raw bytes of those events.
    pub raw_len: u64,
    /// It was there already, whole and with the same content.
    pub already_there: bool,
}

/// What one `cut` did.
#[derive(Clone, Debug, Default)]
pub struct CutReport {
    /// Bundles, in the order they were written.
    pub files: Vec<CutFile>,
    /// Events per lane that did not fit.
    pub left: [u64; 4],
    /// Recipients who have everything already and are owed no answer.
    pub level: Vec<NodeId>,
}

/// Recipients who lack the same and may see the same.
struct Group {
    nodes: Vec<NodeId>,
    lacks: Vec<Lack>,
    vector: Vec<(Stream, Head)>,
    answer_due: bool,
}

impl Node {
    /// Cut what each of `order.to` lacks. `progress` is told events and raw bytes done and the total of events.
    ///
    /// # Errors
    /// What stops the whole command; a medium that is too small for everything is a report with something left.
    pub fn cut(&mut self, order: &CutOrder<'_>, progress: &mut dyn FnMut(u64, u64, u64)) -> Result<CutReport, NodeError> {
        self.require_joined()?;
        for node in order.to {
            self.require_recipient(node)?;
        }
        if !order.dry_run {
            self.show_life()?;
        }
        self.sign_own_histories()?;
        let mut report = CutReport::default();
        for group in self.groups(order.to)? {
            if group.lacks.is_empty() && !group.answer_due {
                report.level.extend(&group.nodes);
            } else {
                self.cut_group(&group, order, &mut report, progress)?;
            }
        }
        Ok(report)
    }

    fn require_recipient(&self, node: &NodeId) -> Result<(), NodeError> {
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

    /// Once a day after foreign events, one control event: so that our own restore shows to others (R6.6-e).
    pub(crate) fn show_life(&mut self) -> Result<(), NodeError> {
        let now = self.ports.clock.now_ms();
        if self.state.alive_due && now.abs_diff(self.state.alive_ms) >= DAY_MS {
            self.note_control(&control::alive())?;
            self.state.alive_due = false;
            self.state.alive_ms = now;
            self.save_state()?;
        }
        Ok(())
    }

    /// Checkpoints for everything of ours that has none yet.
    fn sign_own_histories(&mut self) -> Result<(), NodeError> {
        let (me, domain) = (self.keyring.node(), self.roster.pin().domain());
        let keys = self.keyring.current();
        let signer = sign::Signer { key: &keys.signing, key_number: keys.number, domain };
        let own: Vec<_> = self.wal.streams().into_iter().filter(|(stream, _)| stream.origin.node == me && stream.branch.is_none()).collect();
        let mut signed = 0;
        for (stream, _) in own {
            if !self.roster.is_roster(&stream.origin) {
                signed += sign::sign_again(&mut self.wal, &stream, &signer)?;
            }
            signed += sign::sign_up_to_head(&mut self.wal, &stream, &signer)?;
        }
        if signed > 0 {
            self.wal.sync()?;
        }
        Ok(())
    }

    /// Recipients with one and the same delta share a file; who may see something else gets its own (R4.2-b, R4.6-b).
    fn groups(&self, to: &[NodeId]) -> Result<Vec<Group>, NodeError> {
        let mut groups: Vec<Group> = Vec::new();
        for node in to {
            let peer = self.peers.load(&*self.ports.disk, node)?;
            let group = Group { nodes: vec![*node], lacks: self.lacks(node, &peer)?, vector: self.told_to(node, &peer), answer_due: peer.answer_due };
            let same = |other: &&mut Group| other.lacks == group.lacks && other.vector == group.vector;
            match groups.iter_mut().find(same).filter(|other| other.nodes.len() < bundle_format::limits::RECIPIENT_COUNT_MAX) {
                Some(other) if other.nodes.contains(node) => {}
                Some(other) => {
                    other.nodes.push(*node);
                    other.answer_due |= group.answer_due;
                }
                None => groups.push(group),
            }
        }
        Ok(groups)
    }

    /// What `node` lacks, stream by stream. Of a life of ours that is over, what only we hold is not sent: it was written again (R4.6-l).
    fn lacks(&self, node: &NodeId, peer: &Peer) -> Result<Vec<Lack>, NodeError> {
        let streams = self.wal.streams();
        let mut after = std::collections::BTreeMap::new();
        for (stream, _) in streams.iter().filter(|(stream, _)| self.may_see(node, &stream.origin)) {
            after.insert(*stream, self.send_after(node, peer, stream, &streams)?);
        }
        let ours: Vec<_> = streams.iter().map(|(stream, head)| (*stream, head.base.seq, head.checkpoint_seq)).collect();
        let visible = |origin: &Origin| self.may_see(node, origin);
        Ok(cut::plan(&ours, &self.roster.pin().roster_origin(), &visible, &mut |stream| after.get(stream).copied().flatten()))
    }

    /// From where `stream` goes to `node`, as `peer` tells; `None` when nothing of it does.
    pub(crate) fn send_after(&self, node: &NodeId, peer: &Peer, stream: &Stream, streams: &[(Stream, Head)]) -> Result<Option<u64>, NodeError> {
        let settled = self.is_settled_life(&stream.origin);
        let word = known::word(&self.wal, peer, stream)?;
        if settled && stream.branch.is_none() && matches!(word, known::Word::Differs(_)) {
            return Ok(None); // what others lack of it was written again in a new life
        }
        Ok(known::send_after(&self.wal, node, peer, stream, streams)?)
    }

    /// What a member may receive: what the roster lets it see, and its own histories, should it have lost them (R8.7-d).
    pub(crate) fn may_see(&self, node: &NodeId, origin: &Origin) -> bool {
        origin.node == *node || self.roster.may_see(node, origin)
    }

    /// The vector told to `node`: what it may see, and what it sent us, as far as a checkpoint proves it (R3.6-c, R3.6-e).
    pub(crate) fn told_to(&self, node: &NodeId, peer: &Peer) -> Vec<(Stream, Head)> {
        let told = |(stream, head): &(Stream, Head)| {
            head.checkpoint_seq > head.base.seq && (self.may_see(node, &stream.origin) || peer.sent.contains(&stream.origin))
        };
        self.wal.streams().into_iter().filter(told).collect()
    }

    fn cut_group(
        &mut self,
        group: &Group,
        order: &CutOrder<'_>,
        report: &mut CutReport,
        progress: &mut dyn FnMut(u64, u64, u64),
    ) -> Result<(), NodeError> {
        let mut lacks = group.lacks.clone();
        let total: u64 = event_counts(&lacks).iter().sum();
        let all: Vec<_> = lacks.iter().map(|lack| (lack.stream, lack.after + 1, lack.to)).collect();
        if let Some(file) = self.find_existing(group, &all, order)? {
            report.files.push(file);
            return self.answered(group, order);
        }
        loop {
            let len_max = self.len_max(order)?;
            let file = self.cut_file(group, &lacks, len_max, order, &mut |events, raw| progress(events, raw, total))?;
            let Some((file, fixed)) = file else { break };
            lacks = rest(&lacks, &fixed.ranges);
            report.files.push(file);
            if lacks.is_empty() || fixed.ranges.is_empty() {
                break;
            }
        }
        for (left, count) in report.left.iter_mut().zip(event_counts(&lacks)) {
            *left += count;
        }
        self.answered(group, order)
    }

    /// The answer that was due has been written (or would have been) (R6.5-g).
    fn answered(&self, group: &Group, order: &CutOrder<'_>) -> Result<(), NodeError> {
        for node in group.nodes.iter().filter(|_| !order.dry_run) {
            let mut peer = self.peers.load(&*self.ports.disk, node)?;
            if std::mem::take(&mut peer.answer_due) {
                self.peers.save(&*self.ports.disk, node, &peer)?;
            }
        }
        Ok(())
    }

    fn len_max(&self, order: &CutOrder<'_>) -> Result<u64, NodeError> {
        let asked = order.max_size.min(BUNDLE_LEN_MAX);
        if order.dry_run {
            return Ok(asked);
        }
        let disk = &*self.ports.disk;
        let there = disk.look(order.out).map_err(|error| NodeError::writing(order.out, error))?;
        if there.is_none() {
            disk.create_folder(order.out).map_err(|error| NodeError::writing(order.out, error))?;
        }
        let free = disk.free_space(order.out).map_err(|error| NodeError::writing(order.out, error))?;
        Ok(asked.min(free.saturating_sub(RESERVE)))
    }

    /// A bundle with this very content that lies in the folder already, whole (R10.5-c).
    fn find_existing(&self, group: &Group, ranges: &[(Stream, u64, u64)], order: &CutOrder<'_>) -> Result<Option<CutFile>, NodeError> {
        let path = order.out.join(self.file_name(group, ranges));
        let disk = &*self.ports.disk;
        if disk.look(&path).map_err(|error| NodeError::reading(&path, error))?.is_none() {
            return Ok(None);
        }
        let file = disk.open(&path, Open::Read).map_err(|error| NodeError::reading(&path, error))?;
        let Some(bytes) = whole_bundle_len(file) else { return Ok(None) };
        let counts = event_counts(&group.lacks);
        Ok(Some(CutFile { path, recipients: group.nodes.clone(), bytes, events: counts, raw_len: 0, already_there: true }))
    }

    fn file_name(&self, group: &Group, ranges: &[(Stream, u64, u64)]) -> String {
        let vector: Vec<_> = group.vector.iter().map(|(stream, head)| (stream.origin, head.checkpoint_seq)).collect();
        let named = Named { recipients: &group.nodes, ranges, vector: &vector, roster_seq: self.roster.head().seq };
        name::file_name(self.keyring.data_keys().current().1, &named)
    }

    /// Write one file with as much of `lacks` as fits; `None` when not even one range does (R4.6-j).
    fn cut_file(
        &mut self,
        group: &Group,
        lacks: &[Lack],
        len_max: u64,
        order: &CutOrder<'_>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<(CutFile, Fixed)>, NodeError> {
        if order.dry_run {
            let (_, fixed) = self.fix(group, lacks, len_max, std::io::sink(), progress)?;
            let path = order.out.join(self.file_name(group, &fixed.ranges));
            return Ok(Some((cut_file(path, group, &fixed), fixed)).filter(|(_, fixed)| !fixed.ranges.is_empty() || lacks.is_empty()));
        }
        self.next_receipt_number(0)?;
        let disk = self.ports.disk.clone();
        let stem = self.file_name(group, &[]);
        let (draft, file) = Draft::begin(&*disk, order.out, stem.trim_end_matches(".zb"))?;
        let (writer, fixed) = self.fix(group, lacks, len_max, FileWriter::new(file), progress)?;
        if fixed.ranges.is_empty() && !lacks.is_empty() {
            return Ok(None);
        }
        writer.finish().map_err(|error| NodeError::writing(order.out, error))?;
        let name = self.file_name(group, &fixed.ranges);
        let path = order.out.join(&name);
        let mut cut = cut_file(path.clone(), group, &fixed);
        let there = disk.look(&path).map_err(|error| NodeError::reading(&path, error))?;
        if there.is_some() && disk.open(&path, Open::Read).is_ok_and(|file| whole_bundle_len(file).is_some()) {
            cut.already_there = true;
        } else {
            draft.publish(&name, &|file| whole_bundle_len(file) == Some(fixed.sealed.len))?;
        }
        Ok(Some((cut, fixed)))
    }

    fn fix<W: std::io::Write>(
        &self,
        group: &Group,
        lacks: &[Lack],
        len_max: u64,
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
        let order = Order { log: &self.wal, lacks, roster: &roster, manifest: &manifest, len_max };
        Ok(cut::fix(sealer, &order, progress)?)
    }

    fn manifest(&self, group: &Group, lacks: &[Lack], salt: &Salt) -> Result<Manifest, CutError> {
        let mut vector = Vec::with_capacity(group.vector.len());
        for (stream, head) in &group.vector {
            if let Some(position) = self.wal.position(stream, head.checkpoint_seq)? {
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
            if let (Some((_, bytes)), Some(theirs)) = (events.next()?, branch.branch) {
                let ours: [u8; 8] = digest(bytes).0.first_chunk().copied().unwrap_or_default();
                let mut digests = [ours, theirs];
                digests.sort_unstable();
                notices.push(ForkNotice { origin: branch.origin, seq, digests });
            }
        }
        Ok(notices)
    }
}

fn cut_file(path: PathBuf, group: &Group, fixed: &Fixed) -> CutFile {
    CutFile { path, recipients: group.nodes.clone(), bytes: fixed.sealed.len, events: fixed.events, raw_len: fixed.raw_len, already_there: false }
}

/// The length of a bundle that is whole and signed; `None` for anything else (R10.5-e).
fn whole_bundle_len(file: Box<dyn DiskFile>) -> Option<u64> {
    SealedBundle::read(FileReader::new(file).ok()?).ok().map(|bundle| bundle.len())
}
