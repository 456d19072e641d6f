//! What peers say of our past without proof: that we have told, or written, more than we know. Pure but for the new life. SPEC R6.6-p.
//!
//! In: who says so, and on which day. Out: whether it is believed. Invariants: a peer is believed so often and no more, so its word makes no lives without
//! end; what it proves, our own signature on what we do not hold, is not asked about here.

use super::error::NodeError;
use super::naming::Naming;
use super::syncing::DAY_MS;
use super::{Node, State};
use bundle_format::cbor::{Bytes, CborError, Reader};
use bundle_format::ids::NodeId;
use bundle_format::limits::{LOSS_WORDS_A_DAY, LOSS_WORDS_MAX};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use std::collections::BTreeMap;

/// How often each peer was believed of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<NodeId, Claim>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Claim {
    /// Words believed, less those that days have given back since.
    count: u64,
    /// The day, counted from 1970 by our clock, up to which these are given back.
    day: u64,
    /// The latest day before that which the clock has told since: it was ahead once, or begins anew at each start.
    earlier_day: Option<u64>,
}

impl Claim {
    /// The same on `day`. A clock that goes back gives nothing, nor does one that comes back from there: no day gives twice.
    fn on(self, day: u64) -> Self {
        let (days, day, earlier_day) = match self.earlier_day {
            _ if day >= self.day => (day - self.day, day, None),
            Some(earlier) if day > earlier => (day - earlier, self.day, Some(day)),
            earlier => (0, self.day, earlier.or(Some(day))),
        };
        Self { count: self.count.saturating_sub(days.saturating_mul(LOSS_WORDS_A_DAY)), day, earlier_day }
    }
}

impl Claims {
    /// `peer` says so once more: whether it is believed. It counts if it is.
    pub fn believe(&mut self, peer: NodeId, day: u64) -> bool {
        let claim = self.0.get(&peer).copied().unwrap_or_default().on(day);
        let is_believed = claim.count < LOSS_WORDS_MAX;
        self.0.insert(peer, Claim { count: claim.count + u64::from(is_believed), ..claim });
        self.0.retain(|_, claim| claim.on(day).count > 0);
        is_believed
    }

    /// Who is not believed any more on `day`.
    pub fn disbelieved(&self, day: u64) -> impl Iterator<Item = NodeId> {
        self.0.iter().filter(move |(_, claim)| claim.on(day).count >= LOSS_WORDS_MAX).map(|(peer, _)| *peer)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut claims = BTreeMap::new();
        for _ in 0..reader.array()? {
            let fields = reader.array()?;
            let (peer, count, day) = (NodeId(reader.bytes_exact()?), reader.uint()?, reader.uint()?);
            let earlier_day = match fields {
                3 => None,
                4 => Some(reader.uint()?),
                _ => return Err(CborError::Shape),
            };
            claims.insert(peer, Claim { count, day, earlier_day });
        }
        Ok(Self(claims))
    }
}

impl Serialize for Claims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(peer, claim)| Row(peer, claim)))
    }
}

/// `[peer, words, day, ? earlier day]`.
struct Row<'a>(&'a NodeId, &'a Claim);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(peer, Claim { count, day, earlier_day }) = self;
        let mut array = serializer.serialize_seq(Some(3 + usize::from(earlier_day.is_some())))?;
        array.serialize_element(&Bytes(&peer.0))?;
        [*count, *day].iter().chain(earlier_day).try_for_each(|number| array.serialize_element(number))?;
        array.end()
    }
}

impl Node {
    /// `peer` says that we have lost a part of our past, and proves nothing: a new life, if it is believed. Returns whether it is.
    pub(crate) fn believe_loss(&mut self, peer: NodeId) -> Result<bool, NodeError> {
        let day = self.ports.clock.now_ms() / DAY_MS;
        let is_believed = self.state.claims.believe(peer, day);
        if is_believed {
            self.begin_new_life()?; // saves the count too
        }
        Ok(is_believed)
    }
}

/// Names of who is not believed today.
pub(super) fn disbelieved(state: &State, naming: &Naming<'_>, now_ms: u64) -> Vec<String> {
    state.claims.disbelieved(now_ms / DAY_MS).map(|peer| naming.node(&peer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIAR: NodeId = NodeId([1; 8]);
    const HONEST: NodeId = NodeId([2; 8]);

    fn believed(claims: &mut Claims, peer: NodeId, day: u64) -> u64 {
        (0..100).map(|_| u64::from(claims.believe(peer, day))).sum()
    }

    #[test]
    fn a_peer_is_believed_so_often_and_then_so_often_a_day() {
        let mut claims = Claims::default();
        // each with how often it is believed on that day
        let days = [(20_000, LOSS_WORDS_MAX), (20_000, 0), (20_001, LOSS_WORDS_A_DAY), (20_003, 2 * LOSS_WORDS_A_DAY), (30_000, LOSS_WORDS_MAX)];
        for (day, count) in days {
            assert_eq!(believed(&mut claims, LIAR, day), count, "day {day}");
        }
        assert!(claims.believe(HONEST, 30_000), "what one says costs another nothing");
        assert_eq!(claims.disbelieved(30_000).collect::<Vec<_>>(), [LIAR]);
        assert_eq!(claims.disbelieved(30_001).count(), 0);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_stops_nothing() {
        let mut claims = Claims::default();
        // It begins in 1970 at each start, goes back over midnight, was ahead and is set right, and comes to where it was.
        let days = [
            (30_000, LOSS_WORDS_MAX),
            (0, 0),
            (30_000, 0),
            (0, 0),
            (30_001, LOSS_WORDS_A_DAY),
            (30_000, 0),
            (30_001, 0),
            (20_000, 0),
            (20_001, LOSS_WORDS_A_DAY),
            (20_000, 0),
            (20_001, 0),
            (30_001, 0),
            (30_002, LOSS_WORDS_A_DAY),
        ];
        for (step, (day, count)) in days.into_iter().enumerate() {
            assert_eq!(believed(&mut claims, LIAR, day), count, "step {step}, day {day}");
            let read = Claims::read(&mut Reader::new(&bundle_format::cbor::to_vec(&claims))).unwrap();
            assert_eq!(read, claims);
        }
    }

    #[test]
    fn who_has_said_nothing_for_days_is_forgotten() {
        let mut claims = Claims::default();
        claims.believe(LIAR, 20_000);
        claims.believe(HONEST, 20_001);
        assert_eq!(claims.0.len(), 1);
    }
}
