//! What others noted of a peer while a session with it ran: a person its address, a stick what it brought, another session what it learned.
//!
//! Pure. In: what the session knows, the peer's file as it stands, and what the session last knew of that. Out: both in one. Invariants: nothing that came
//! meanwhile is taken back; what this session was told stays what counts where nothing came (R7.4-g).

use crate::node::peers::Peer;
use bundle_format::ids::Incarnation;

/// How the peer's file stood when the session last read or wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stood {
    receipt: Option<(Incarnation, u64)>,
    heard_ms: u64,
    answer_due: bool,
}

impl Stood {
    pub(super) fn of(peer: &Peer) -> Self {
        let receipt = peer.receipt.as_ref().map(|receipt| (receipt.incarnation, receipt.number));
        Self { receipt, heard_ms: peer.heard_ms, answer_due: peer.answer_due }
    }
}

/// Bring into `record` what `noted`, the file as it is now, has that it had not as it stood.
pub(super) fn take_in(record: &mut Peer, noted: Peer, stood: Stood) {
    let stands = Stood::of(&noted);
    let was_heard = stands.heard_ms != stood.heard_ms;
    record.link.address = noted.link.address;
    // What others spent is in the file alone: this session has kept its own apart.
    (record.link.day, record.link.day_bytes, record.link.earlier_day) = (noted.link.day, noted.link.day_bytes, noted.link.earlier_day);
    record.sent.extend(noted.sent);
    record.retire(noted.retired.into_iter());
    if stands.answer_due != stood.answer_due || stands.answer_due && was_heard {
        record.answer_due = stands.answer_due; // a file came behind our hello, which says nothing of it; or its answer has been written
    }
    if let Some(receipt) = noted.receipt.filter(|_| stands.receipt != stood.receipt) {
        record.renew(receipt);
    }
    if was_heard && noted.heard_ms > record.heard_ms {
        (record.heard_ms, record.via, record.rhythm) = (noted.heard_ms, noted.via, noted.rhythm);
    }
}
