//! How a node stands: what it holds, what its peers have acknowledged, what needs a person.

use super::error::NodeError;
use super::forks::Fork;
use super::held::Held;
use super::kept::Crowd;
use super::known::{self, Word};
use super::layout::Layout;
use super::naming::Naming;
use super::peers::Peers;
use super::peers::{Link, Peer};
use super::radar;
use super::state::State;
use super::syncing::DAY_MS;
use super::{Node, View};
use crate::keys::{Keyring, Refused as Void, Roster};
use crate::ports::Ports;
use crate::ports::disk::read_small;
use crate::ports::store::{Finding, Head, Log, Rotten, Store as _, StoreError, Stream};
use crate::push::{self, Skew};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};

/// A reason is a sentence and a path.
const REASON_LEN_MAX: usize = 16 * 1024;

/// A life of ours that ended by loss and is not settled yet.
#[derive(Debug)]
pub struct OpenLife {
    /// Which.
    pub life: Incarnation,
    /// Names of those who say that they hold more of it than is here; empty when the next who is met, whoever it is, settles it.
    pub awaited: Vec<String>,
}

/// All there is to say.
#[derive(Debug)]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The life it writes in.
    pub incarnation: Incarnation,
    /// Whether it has joined a domain, and which.
    pub domain: Option<DomainStatus>,
    /// Every history held.
    pub origins: Vec<OriginStatus>,
    /// Every peer it has to do with.
    pub peers: Vec<PeerStatus>,
    /// Forks, closed ones too.
    pub forks: Vec<Fork>,
    /// Bundles that begin after a gap.
    pub held: Stock,
    /// Bundles of unknown senders or signers.
    pub unknown: Stock,
    /// Bundles that were refused.
    pub quarantine: Stock,
    /// Lives that ended by loss and are not settled yet.
    pub open_lives: Vec<OpenLife>,
    /// What opening the log found.
    pub findings: Vec<Finding>,
    /// Why `config.toml` sets nothing, if it is there and does not read.
    pub config: Option<String>,
    /// What is known to have rotted and is not here again, with the names of the histories.
    pub rotten: Vec<(String, Rotten)>,
    /// Bytes of the log on the disk.
    pub log_bytes: u64,
    /// Now, milliseconds since 1970 by our clock.
    pub now_ms: u64,
    /// How our clock and our stamps stand apart, if that is worth telling.
    pub skew: Option<Skew>,
}

/// The domain as this node knows it.
#[derive(Debug)]
pub struct DomainStatus {
    /// Its authority.
    pub authority: String,
    /// How many belong to it.
    pub member_count: usize,
    /// How far its roster is known.
    pub roster_seq: u64,
    /// Stamp of the newest roster event: how old our picture is.
    pub roster_hlc: Hlc,
    /// Whether the roster has forked.
    pub forked: bool,
    /// Roster events that have no effect, as the fold met them (§8.3).
    pub void: Vec<Void>,
    /// The authority only: why it may have lost what it signed last, in words.
    pub doubt: Option<String>,
    /// Members of whom as many histories are held as others take, or too many to be told (R6.2-k).
    pub crowds: Vec<Crowd>,
    /// Members that say again and again that this node has lost records, and prove nothing (R6.6-p).
    pub disbelieved: Vec<String>,
}

/// One history.
#[derive(Debug)]
pub struct OriginStatus {
    /// Which.
    pub origin: Origin,
    /// Full form.
    pub name: String,
    /// Events held.
    pub held: u64,
    /// Its last event's stamp.
    pub hlc: Hlc,
    /// Events written under an ended key and not accepted, on whatever branch.
    pub after_revoke: u64,
}

/// One peer (R10.7-d).
#[derive(Debug)]
pub struct PeerStatus {
    /// Which.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// When we last took something from it, milliseconds since 1970 by our clock; 0 when never.
    pub heard_ms: u64,
    /// By which path that came.
    pub path: radar::Path,
    /// By what exactly: `stick LABEL`, `folder PATH`, `line ADDRESS`; empty when that is not known.
    pub via: String,
    /// How long it may be unheard before it counts as silent (R10.14-a).
    pub silent_after_ms: u64,
    /// Events of its own that it said it has and that are not here.
    pub lacking: u64,
    /// Events of its own that are here.
    pub held: u64,
    /// By how much its newest stamp is ahead of the moment it was last heard, milliseconds: its clock is wrong by at least that (or ours).
    pub ahead_ms: u64,
    /// Its newest stamp here, milliseconds since 1970 by its clock; 0 when nothing of it is.
    pub newest_ms: u64,
    /// Events of ours that it has not acknowledged, and that it may see.
    pub unacknowledged: u64,
    /// Events of ours it has acknowledged.
    pub acknowledged: u64,
    /// Something came from it, and the roster is here that tells what it may see: else that nothing is lacking says nothing.
    pub is_known: bool,
    /// It is owed an answer.
    pub answer_due: bool,
    /// What is remembered of the link to it.
    pub link: LinkStatus,
}

/// The link to one peer, as it was last seen. It says nothing of what the peer holds: only acknowledgements do.
#[derive(Debug)]
pub struct LinkStatus {
    /// Where it listens, when somebody said so.
    pub address: Option<String>,
    /// When both sides last had everything, milliseconds since 1970 by our clock; 0 when never.
    pub settled_ms: u64,
    /// Bytes a second towards it, when last measured.
    pub rate: Option<u64>,
    /// The round trip then, milliseconds; 0 when never.
    pub round_trip_ms: u64,
    /// Bytes on the socket today, both ways.
    pub today_bytes: Option<u64>,
    /// Bytes of work a second that it takes in codec 3, by its last hello; `None` when it takes none.
    pub mixing: Option<u64>,
}

/// Bundles kept in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl PeerStatus {
    /// By what it was heard last, as exactly as that is known.
    pub fn heard_by(&self) -> &str {
        if self.via.is_empty() { self.path.name() } else { &self.via }
    }

    /// How old at most our picture of it is: whatever it wrote longer ago is here. When it was last heard, if all that it said it has came by then;
    /// else the newest stamp that is here, by its clock. `None` when it was never heard.
    pub fn lag_ms(&self, now_ms: u64) -> Option<u64> {
        let known_ms = if self.lacking == 0 { self.heard_ms } else { self.newest_ms.min(self.heard_ms) };
        (self.heard_ms > 0).then(|| now_ms.saturating_sub(known_ms))
    }

    /// Whether it has not been heard for longer than it may be. One that was never heard is new, not silent.
    pub fn is_silent(&self, now_ms: u64) -> bool {
        self.is_silent_after(now_ms, self.silent_after_ms)
    }

    /// The same with a bound that a person has set.
    pub fn is_silent_after(&self, now_ms: u64, bound_ms: u64) -> bool {
        self.heard_ms > 0 && now_ms.saturating_sub(self.heard_ms) > bound_ms
    }
}

/// What [`crate::ports::Store::orphans`] is for both.
type Orphans<'a> = dyn Fn(&Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError> + 'a;

/// What a node and a view have in common: all that its status is read from.
pub(super) struct Looking<'a> {
    ports: &'a Ports,
    layout: &'a Layout,
    keyring: &'a Keyring,
    log: &'a dyn Log,
    roster: &'a Roster,
    peers: &'a Peers,
    state: &'a State,
    naming: Naming<'a>,
    /// Events of a history that a hole cut off.
    orphans: Box<Orphans<'a>>,
}

impl Status {
    /// Forks that nobody has closed.
    pub fn open_forks(&self) -> impl Iterator<Item = &Fork> {
        self.forks.iter().filter(|fork| !fork.closed)
    }

    /// Events of a node, but for its notes, that were written under an ended key and are not accepted.
    pub fn after_revoke(&self, node: &NodeId) -> u64 {
        let its = |status: &&OriginStatus| status.origin.node == *node && status.origin.lane != Lane::Control;
        self.origins.iter().filter(its).map(|status| status.after_revoke).sum()
    }

    /// Whether a hole was found in the log, or its end is gone, or events of it have rotted and are not here again.
    pub fn is_damaged(&self) -> bool {
        let is_hole = |finding: &Finding| matches!(finding, Finding::Hole { .. } | Finding::Short { .. });
        self.findings.iter().any(is_hole) || self.rotten.iter().any(|(_, rotten)| rotten.events)
    }
}

impl Looking<'_> {
    fn status(&self) -> Result<Status, NodeError> {
        let now_ms = self.ports.clock.now_ms();
        let streams = self.log.streams();
        let naming = &self.naming;
        let origin = |(stream, head): &(Stream, Head)| {
            Ok(OriginStatus {
                origin: stream.origin,
                name: naming.origin(&stream.origin),
                held: head.end.seq,
                hlc: head.hlc,
                after_revoke: self.after_revoke(&stream.origin, &streams)?,
            })
        };
        let main = streams.iter().filter(|(stream, _)| stream.branch.is_none());
        Ok(Status {
            node: self.keyring.node(),
            name: self.keyring.name().to_string(),
            incarnation: self.keyring.incarnation(),
            domain: self.domain_status(&streams)?,
            origins: main.map(origin).collect::<Result<_, NodeError>>()?,
            peers: self.peer_statuses(&streams)?,
            forks: super::forks::forks(self.log, &self.state.closed, &self.naming)?,
            held: self.stock(&Held::at(&self.layout.held()))?,
            unknown: self.stock(&Held::unknown_at(&self.layout.held_unknown()))?,
            quarantine: self.stock(&Held::quarantine_at(&self.layout.quarantine()))?,
            open_lives: self.open_lives()?,
            findings: self.log.findings().to_vec(),
            config: super::config::read(self.ports, self.layout).err().map(|error| error.to_string()),
            rotten: self.log.rotten().into_iter().map(|rotten| (self.naming.origin(&rotten.stream.origin), rotten)).collect(),
            log_bytes: self.log_bytes()?,
            now_ms,
            skew: Skew::between(push::last_stamp(self.log, &self.keyring.node(), now_ms), now_ms),
        })
    }

    fn open_lives(&self) -> Result<Vec<OpenLife>, NodeError> {
        let open = |life: &Incarnation| {
            let peers = self.peers.all(&*self.ports.disk)?;
            let awaited = super::settle::awaited(self.log, self.roster, self.keyring.node(), peers, *life)?;
            Ok(OpenLife { life: *life, awaited: awaited.iter().map(|node| self.naming.node(node)).collect() })
        };
        self.state.open_lives.iter().map(open).collect()
    }

    fn domain_status(&self, streams: &[(Stream, Head)]) -> Result<Option<DomainStatus>, NodeError> {
        let Some(pin) = self.keyring.pin() else { return Ok(None) };
        let authority = self.keyring.is_authority();
        let orphans = (self.orphans)(&Stream::main(pin.roster_origin()))?;
        let peers = if authority { self.peers.all(&*self.ports.disk)? } else { Vec::new() };
        let doubt = if authority { super::doubt::doubt(self.log, self.roster, &peers, &orphans, &self.naming)? } else { None };
        Ok(Some(DomainStatus {
            authority: self.naming.node(&pin.node()),
            member_count: self.roster.members().count(),
            roster_seq: self.roster.head().seq,
            roster_hlc: self.roster.updated(),
            forked: self.roster.is_forked(),
            void: self.roster.refused().to_vec(),
            doubt,
            crowds: super::kept::crowds(self.roster, &self.naming, streams),
            disbelieved: super::claims::disbelieved(self.state, &self.naming, self.ports.clock.now_ms()),
        }))
    }

    /// Hubs, and everybody who has sent us something.
    fn peer_statuses(&self, streams: &[(Stream, Head)]) -> Result<Vec<PeerStatus>, NodeError> {
        let known = self.peers.all(&*self.ports.disk)?;
        let me = self.keyring.node();
        let mut nodes: Vec<NodeId> =
            self.roster.hubs().map(|hub| hub.node).chain(known.iter().map(|(node, _)| *node)).filter(|node| *node != me).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let peer = |node: &NodeId| known.iter().find(|(known, _)| known == node).map(|(_, peer)| peer.clone()).unwrap_or_default();
        nodes.into_iter().map(|node| self.peer_status(node, &peer(&node), streams)).collect()
    }

    fn peer_status(&self, node: NodeId, peer: &Peer, streams: &[(Stream, Head)]) -> Result<PeerStatus, NodeError> {
        let me = self.keyring.node();
        let (mut acknowledged, mut unacknowledged) = (0, 0);
        let ours = |stream: &Stream| stream.origin.node == me && stream.branch.is_none() && stream.origin.lane != Lane::Control;
        for (stream, head) in streams.iter().filter(|(stream, _)| ours(stream) && self.roster.may_see(&node, &stream.origin)) {
            let held = match known::word(self.log, peer, stream)? {
                Word::Holds(seq) => seq,
                _ => 0,
            };
            acknowledged += held;
            unacknowledged += self.state.due_to(&stream.origin, head.end.seq).saturating_sub(held);
        }
        let name = self.naming.node(&node);
        let Link { address, rate, round_trip_ms, settled_ms, granted, .. } = peer.link.clone();
        let today_bytes = peer.link.known_on(self.ports.clock.now_ms() / DAY_MS);
        let mixing = granted.map(|granted| granted.work).filter(|work| *work > 0);
        let link = LinkStatus { address, settled_ms, rate, round_trip_ms, today_bytes, mixing };
        let (mut held, mut lacking, mut newest_ms) = (0, 0, 0);
        let its = |stream: &Stream| stream.origin.node == node && stream.branch.is_none() && stream.origin.lane != Lane::Control;
        for (stream, head) in streams.iter().filter(|(stream, _)| its(stream)) {
            held += head.end.seq;
            newest_ms = newest_ms.max(head.hlc.ms());
            lacking += peer.told(&stream.origin).map(|(_, told)| told.seq.saturating_sub(head.end.seq)).max().unwrap_or(0);
        }
        let told = peer.receipt.iter().flat_map(|receipt| &receipt.vector).filter(|told| its(&Stream::main(told.origin)));
        lacking += told.filter(|told| !streams.iter().any(|(stream, _)| *stream == Stream::main(told.origin))).map(|told| told.seq).sum::<u64>();
        let ahead_ms = if peer.heard_ms == 0 { 0 } else { newest_ms.saturating_sub(peer.heard_ms) };
        let (path, silent_after_ms) = (peer.rhythm.path, peer.rhythm.silent_after_ms());
        let heard = PeerStatus {
            path,
            via: peer.via.clone(),
            silent_after_ms,
            lacking,
            held,
            ahead_ms,
            newest_ms,
            node,
            name,
            heard_ms: peer.heard_ms,
            unacknowledged,
            acknowledged,
            is_known: peer.heard_ms > 0 && self.roster.head().seq > 0,
            answer_due: peer.answer_due,
            link,
        };
        Ok(heard)
    }

    /// Events of an origin, on whatever branch, that stand under an ended key beyond what is kept of it (R8.3-b, R8.3-h).
    fn after_revoke(&self, origin: &Origin, streams: &[(Stream, Head)]) -> Result<u64, NodeError> {
        let counting = self.naming.counting();
        let mut count = 0;
        for (stream, head) in streams.iter().filter(|(stream, _)| stream.origin == *origin) {
            count += head.end.seq.saturating_sub(counting.counted(stream)?);
        }
        Ok(count)
    }

    fn stock(&self, held: &Held) -> Result<Stock, NodeError> {
        let entries = held.entries(&*self.ports.disk)?;
        Ok(Stock { count: entries.len() as u64, bytes: entries.iter().map(|(_, len)| len).sum() })
    }

    fn log_bytes(&self) -> Result<u64, NodeError> {
        let folder = self.layout.log();
        let entries = self.ports.disk.list(&folder).map_err(|error| NodeError::reading(&folder, error))?;
        Ok(entries.iter().map(|entry| entry.len).sum())
    }
}

impl View {
    fn looking(&self) -> Looking<'_> {
        let Self { ports, layout, keyring, log, roster, peers, state } = self;
        Looking { ports, layout, keyring, log, roster, peers, state, naming: self.naming(), orphans: Box::new(|stream| log.orphans(stream)) }
    }

    /// How the node stands.
    ///
    /// # Errors
    /// What the log and the records beside it say.
    pub fn status(&self) -> Result<Status, NodeError> {
        self.looking().status()
    }

    /// Every peer it has to do with.
    ///
    /// # Errors
    /// What the log and the peers' files say.
    pub fn peer_statuses(&self) -> Result<Vec<PeerStatus>, NodeError> {
        self.looking().peer_statuses(&self.log.streams())
    }

    /// The newest refused bundles, at most `count_max`, with the reasons that lie beside them (R6.3-h).
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn refused(&self, count_max: u64) -> Result<Vec<Refused>, NodeError> {
        refused(&self.ports, &self.layout, count_max)
    }
}

/// A refused bundle that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Its code.
    pub code: String,
    /// What was wrong with it.
    pub reason: String,
    /// Where it came from.
    pub file: String,
}

fn refused(ports: &Ports, layout: &Layout, count_max: u64) -> Result<Vec<Refused>, NodeError> {
    let disk = &*ports.disk;
    let kept = Held::quarantine_at(&layout.quarantine()).list(disk)?;
    let reason = |path: &std::path::PathBuf| {
        let text = read_small(disk, &path.with_extension("reason.json"), REASON_LEN_MAX).ok().flatten()?;
        let told: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let field = |name: &str| told.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        Some(Refused { code: field("code"), reason: field("reason"), file: field("file") })
    };
    Ok(kept.iter().rev().take(usize::try_from(count_max).unwrap_or(usize::MAX)).map(|path| reason(path).unwrap_or_default()).collect())
}

impl Node {
    fn looking(&self) -> Looking<'_> {
        let Self { ports, layout, keyring, wal: log, roster, peers, state, .. } = self;
        Looking { ports, layout, keyring, log, roster, peers, state, naming: self.naming(), orphans: Box::new(|stream| log.orphans(stream)) }
    }

    /// The newest refused bundles, at most `count_max`, with the reasons that lie beside them (R6.3-h).
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn refused(&self, count_max: u64) -> Result<Vec<Refused>, NodeError> {
        refused(&self.ports, &self.layout, count_max)
    }

    /// How the node stands. A peer that was heard while our clock was ahead counts from now on as heard now.
    ///
    /// # Errors
    /// What the log and the records beside it say.
    pub fn status(&self) -> Result<Status, NodeError> {
        let status = self.looking().status()?;
        if self.heard_too_late(&status)? { self.looking().status() } else { Ok(status) }
    }

    /// Peers that were heard at a time that is still to come would not be silent until then (R10.14-a): they are noted as heard now. Whether there were any.
    /// A clock that is before what the authority has signed is wrong itself, such as one that begins in 1970 at each start: by it nobody is noted.
    fn heard_too_late(&self, status: &Status) -> Result<bool, NodeError> {
        let is_behind = status.domain.as_ref().is_some_and(|domain| domain.roster_hlc.ms() > status.now_ms);
        let late: Vec<_> = status.peers.iter().filter(|peer| peer.heard_ms > status.now_ms && !is_behind).collect();
        for PeerStatus { node, .. } in &late {
            let peer = Peer { heard_ms: status.now_ms, ..self.peer(node)? };
            self.peers.save(&*self.ports.disk, node, &peer)?;
        }
        Ok(!late.is_empty())
    }

    /// Every peer it has to do with.
    ///
    /// # Errors
    /// What the log and the peers' files say.
    pub fn peer_statuses(&self) -> Result<Vec<PeerStatus>, NodeError> {
        self.looking().peer_statuses(&self.wal.streams())
    }

    /// Throw away the bundles kept for later; where they lie still, they are taken again (R6.3-g). Returns how many.
    ///
    /// # Errors
    /// When our own disk fails.
    pub fn drop_held(&mut self) -> Result<u64, NodeError> {
        let disk = self.ports.disk.clone();
        self.ledger()?.forget_looks();
        self.save_ledger()?;
        let early = Held::at(&self.layout.held()).drop_all(&*disk)?;
        Ok(early + Held::unknown_at(&self.layout.held_unknown()).drop_all(&*disk)?)
    }
}
