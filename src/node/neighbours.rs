//! Peers and bundles as tables: what the node remembers beside its log, for SQL. SPEC §11.2.
//!
//! In: the peers' files, the ledger, the quarantine. Out: two tables that say what those say now. Invariants: a copy and never the truth; events and
//! records do not depend on it. Not here: what of it needs a person (`alarm`).

use super::error::NodeError;
use super::ledger::Ledger;
use super::status::{PeerStatus, Refused};
use super::{Node, View};
use crate::ports::projection::{BundleRow, PeerRow, Projection};

/// Refused bundles that are told; more of them are no news.
const REFUSED_COUNT_MAX: u64 = 1000;

fn peer_row(peer: &PeerStatus) -> PeerRow {
    PeerRow {
        node: peer.node,
        name: peer.name.clone(),
        heard_ms: peer.heard_ms,
        path: peer.path.name(),
        via: peer.via.clone(),
        silent_after_ms: peer.silent_after_ms,
        held: peer.held,
        lacking: peer.lacking,
        acknowledged: peer.acknowledged,
        unacknowledged: peer.unacknowledged,
        address: peer.link.address.clone(),
        settled_ms: peer.link.settled_ms,
    }
}

fn put(tables: &mut dyn Projection, peers: &[PeerStatus], ledger: &Ledger, refused: Vec<Refused>) -> Result<(), NodeError> {
    let peers: Vec<PeerRow> = peers.iter().map(peer_row).collect();
    let taken = ledger.bundles().map(|(digest, bundle)| BundleRow::Taken { digest, sender: bundle.sender, events: bundle.events });
    let refused = refused.into_iter().rev().map(|Refused { code, reason, file }| BundleRow::Refused { code, reason, file });
    let bundles: Vec<BundleRow> = taken.chain(refused).collect();
    tables.begin()?;
    tables.set_beside(&peers, &bundles)?;
    Ok(tables.commit()?)
}

impl View {
    /// Put what is remembered of peers and bundles into `tables` (R11.2-h).
    ///
    /// # Errors
    /// What the tables or the files beside the log say.
    pub fn project_beside(&self, tables: &mut dyn Projection) -> Result<(), NodeError> {
        // One of another log is emptied by the next who writes; until then it tells what came.
        let ledger = Ledger::load(&*self.ports.disk, &self.layout.ledger())?;
        put(tables, &self.peer_statuses()?, &ledger, self.refused(REFUSED_COUNT_MAX)?)
    }
}

impl Node {
    /// Put what is remembered of peers and bundles into `tables` (R11.2-h).
    ///
    /// # Errors
    /// What the tables or the files beside the log say.
    pub fn project_beside(&mut self, tables: &mut dyn Projection) -> Result<(), NodeError> {
        let (peers, refused) = (self.peer_statuses()?, self.refused(REFUSED_COUNT_MAX)?);
        put(tables, &peers, self.ledger()?, refused)
    }
}
