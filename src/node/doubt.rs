//! Whether the authority may have lost what it signed last: then it signs nothing, unless somebody is sure. SPEC §8.4.

use super::error::NodeError;
use super::naming::Naming;
use super::peers::Peer;
use super::settle::{is_revoked, who_tells_more};
use crate::keys::Roster;
use crate::ports::store::{Log, Stream};
use bundle_format::ids::NodeId;

/// Why the roster may have lost its newest events, in words; nothing when there is no doubt: nothing of it is here, events of it lie behind a hole, `orphans`, and it does not reach
/// so far yet, some rotted, somebody's receipt is ahead of it or differs from it, or it has forked (R8.4-a, R8.4-b).
pub fn doubt(
    log: &dyn Log,
    roster: &Roster,
    peers: &[(NodeId, Peer)],
    orphans: &[(u64, Vec<u8>)],
    naming: &Naming<'_>,
) -> Result<Option<String>, NodeError> {
    let origin = roster.pin().roster_origin();
    let end = log.head(&Stream::main(origin)).map_or(0, |head| head.end.seq);
    if end == 0 {
        return Ok(Some("nothing of the roster is here any more".to_owned()));
    }
    if orphans.iter().any(|(seq, _)| *seq > end) {
        return Ok(Some("a part of the roster lies behind damage, and is not here again".to_owned()));
    }
    if let Some(rotten) = log.rotten().into_iter().find(|rotten| rotten.events && rotten.stream.origin == origin) {
        return Ok(Some(format!("{}:{} cannot be read here", naming.origin(&origin), rotten.first)));
    }
    // Who is revoked was told nothing since: its receipt knows no more than this roster does, or it is a lie, and nobody else is to be held up by it.
    let who = who_tells_more(log, peers, &[origin])?;
    let who: Vec<String> = who.iter().filter(|node| !is_revoked(roster, node)).map(|node| naming.node(node)).collect();
    if !who.is_empty() {
        return Ok(Some(format!("the receipt of {} is ahead of this roster, or differs from it", who.join(", "))));
    }
    Ok(roster.is_forked().then(|| "the roster has forked".to_owned()))
}
