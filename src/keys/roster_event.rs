//! The bytes of a roster event: what the authority says about a member. SPEC §8.2.
//!
//! Each is the payload of one control event in the roster lane, a deterministic CBOR map; odd keys we do not know are skipped, even ones refused.

use super::policy::Policy;
use bundle_format::cbor::{self, Bytes, CborError, Keys, Reader};
use bundle_format::chain::Position;
use bundle_format::ids::{Hash, Incarnation, Lane, NodeId, Origin};
use bundle_format::seal::SealingPublic;
use bundle_format::sign::{SignError, VerifyingKey};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// Payload of a roster event, all parts together: a rekey that names some 1 000 histories. A fold must hold one in memory.
pub const ROSTER_EVENT_LEN_MAX: usize = 64 * 1024;

/// How far one history of a member stays valid under a key that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// In which life.
    pub incarnation: Incarnation,
    /// Which lane.
    pub lane: Lane,
    /// For whom.
    pub audience: Option<NodeId>,
    /// Up to here, on this branch.
    pub position: Position,
}

impl Keep {
    /// Keep `position` of `origin`.
    pub fn new(origin: &Origin, position: Position) -> Self {
        Self { incarnation: origin.incarnation, lane: origin.lane, audience: origin.audience, position }
    }

    /// The history it speaks of, of `node`.
    pub fn origin(&self, node: NodeId) -> Origin {
        Origin { node, incarnation: self.incarnation, lane: self.lane, audience: self.audience }
    }

    fn order(&self) -> (Incarnation, Lane, Option<NodeId>) {
        (self.incarnation, self.lane, self.audience)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_exact(5)?;
        let incarnation = Incarnation(reader.bytes_exact()?);
        let lane = Lane::from_number(reader.uint()?).ok_or(CborError::Shape)?;
        let audience = if reader.null()? { None } else { Some(NodeId(reader.bytes_exact()?)) };
        let position = Position { seq: reader.uint()?, hash: Hash(reader.bytes_exact()?) };
        Ok(Self { incarnation, lane, audience, position })
    }
}

impl Serialize for Keep {
    /// `[incarnation: bstr .size 4, lane: uint, audience: bstr .size 8 / null, seq: uint, h: bstr .size 32]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let audience = self.audience.as_ref().map(|node| Bytes(&node.0));
        (Bytes(&self.incarnation.0), self.lane as u8, audience, self.position.seq, Bytes(&self.position.hash.0)).serialize(serializer)
    }
}

/// One statement of the authority. Lists of [`Keep`] ascend by incarnation, lane, audience; [`RosterEvent::payload`] sorts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RosterEvent {
    /// A new member with its first keys.
    Enrol {
        /// Its id, the hash of `signing`.
        node: NodeId,
        /// Its name; checked by the fold.
        name: String,
        /// Its first signing key.
        signing: VerifyingKey,
        /// Its first sealing key.
        sealing: SealingPublic,
        /// What it may see.
        policy: Policy,
    },
    /// New keys for the same node.
    Rekey {
        /// Whose.
        node: NodeId,
        /// One more than its last.
        key_number: u64,
        /// Its new signing key.
        signing: VerifyingKey,
        /// Its new sealing key.
        sealing: SealingPublic,
        /// What stays valid under the outgoing key; a history not named is kept at 0.
        keep: Vec<Keep>,
    },
    /// A key is not to be trusted any more.
    Revoke {
        /// Whose.
        node: NodeId,
        /// Which key.
        key_number: u64,
        /// What stays valid under it; a history not named is kept at 0.
        keep: Vec<Keep>,
    },
    /// What a member may see from now on.
    Policy {
        /// Which member.
        node: NodeId,
        /// What it may see.
        policy: Policy,
    },
    /// Events written under an ended key are good after all.
    Accept {
        /// Whose.
        node: NodeId,
        /// Up to where; raises the bounds of all ended keys.
        keep: Vec<Keep>,
    },
    /// The two branches of a forked roster are one again: what each says up to these heads counts.
    Heal {
        /// The head this event stands on.
        ours: Position,
        /// The head of the other branch.
        theirs: Position,
    },
}

/// Why a payload is no roster event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not the bytes of SPEC §8.2.
    #[error("not a roster event: {0}")]
    Cbor(#[from] CborError),
    /// A signing key anyone could sign for.
    #[error(transparent)]
    Key(#[from] SignError),
}

impl RosterEvent {
    /// The type of its control event.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Enrol { .. } => "zb/enrol",
            Self::Rekey { .. } => "zb/rekey",
            Self::Revoke { .. } => "zb/revoke",
            Self::Policy { .. } => "zb/policy",
            Self::Accept { .. } => "zb/accept",
            Self::Heal { .. } => "zb/heal",
        }
    }

    /// Whether events of this type speak about the roster.
    pub fn is_kind(kind: &str) -> bool {
        matches!(kind, "zb/enrol" | "zb/rekey" | "zb/revoke" | "zb/policy" | "zb/accept" | "zb/heal")
    }

    /// The payload of its control event.
    pub fn payload(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// The member it speaks about; none for a heal.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Enrol { node, .. }
            | Self::Rekey { node, .. }
            | Self::Revoke { node, .. }
            | Self::Policy { node, .. }
            | Self::Accept { node, .. } => Some(*node),
            Self::Heal { .. } => None,
        }
    }

    /// Read the payload of a control event; `None` when its type does not speak about the roster.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(kind: &str, payload: &[u8]) -> Result<Option<Self>, ReadError> {
        if !Self::is_kind(kind) {
            return Ok(None);
        }
        let mut fields = Fields::read(kind, payload)?;
        let mut node = || fields.node.take().ok_or(CborError::MissingKey(0));
        Ok(Some(match kind {
            "zb/enrol" => Self::Enrol {
                node: node()?,
                name: fields.name.ok_or(CborError::MissingKey(2))?,
                signing: VerifyingKey::new(fields.signing.ok_or(CborError::MissingKey(4))?)?,
                sealing: SealingPublic(fields.sealing.ok_or(CborError::MissingKey(6))?),
                policy: fields.policy.ok_or(CborError::MissingKey(8))?,
            },
            "zb/rekey" => Self::Rekey {
                node: node()?,
                key_number: fields.key_number.ok_or(CborError::MissingKey(2))?,
                signing: VerifyingKey::new(fields.signing.ok_or(CborError::MissingKey(4))?)?,
                sealing: SealingPublic(fields.sealing.ok_or(CborError::MissingKey(6))?),
                keep: fields.keep.ok_or(CborError::MissingKey(8))?,
            },
            "zb/revoke" => Self::Revoke {
                node: node()?,
                key_number: fields.key_number.ok_or(CborError::MissingKey(2))?,
                keep: fields.keep.ok_or(CborError::MissingKey(8))?,
            },
            "zb/policy" => Self::Policy { node: node()?, policy: fields.policy.ok_or(CborError::MissingKey(8))? },
            "zb/accept" => Self::Accept { node: node()?, keep: fields.keep.ok_or(CborError::MissingKey(8))? },
            _ => Self::Heal { ours: fields.ours.ok_or(CborError::MissingKey(0))?, theirs: fields.theirs.ok_or(CborError::MissingKey(2))? },
        }))
    }
}

/// What the maps of all roster events may hold.
#[derive(Default)]
struct Fields {
    node: Option<NodeId>,
    name: Option<String>,
    key_number: Option<u64>,
    signing: Option<[u8; 32]>,
    sealing: Option<[u8; 32]>,
    policy: Option<Policy>,
    keep: Option<Vec<Keep>>,
    ours: Option<Position>,
    theirs: Option<Position>,
}

impl Fields {
    fn read(kind: &str, payload: &[u8]) -> Result<Self, CborError> {
        let mut fields = Self::default();
        let mut reader = Reader::new(payload);
        let reader = &mut reader;
        let mut keys = reader.map()?;
        while let Some(key) = keys.next(reader)? {
            match (key, kind) {
                (0, "zb/heal") => fields.ours = Some(read_head(reader)?),
                (2, "zb/heal") => fields.theirs = Some(read_head(reader)?),
                (0, _) => fields.node = Some(NodeId(reader.bytes_exact()?)),
                (2, "zb/enrol") => fields.name = Some(reader.text()?.to_owned()),
                (2, "zb/rekey" | "zb/revoke") => fields.key_number = Some(reader.uint()?),
                (4, "zb/enrol" | "zb/rekey") => fields.signing = Some(reader.bytes_exact()?),
                (6, "zb/enrol" | "zb/rekey") => fields.sealing = Some(reader.bytes_exact()?),
                (8, "zb/enrol" | "zb/policy") => fields.policy = Some(Policy::read(reader)?),
                (8, "zb/rekey" | "zb/revoke" | "zb/accept") => fields.keep = Some(read_keep(reader)?),
                _ => Keys::unknown(key, reader)?,
            }
        }
        reader.finish()?;
        Ok(fields)
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<Position, CborError> {
    reader.array_exact(2)?;
    Ok(Position { seq: reader.uint()?, hash: Hash(reader.bytes_exact()?) })
}

fn read_keep(reader: &mut Reader<'_>) -> Result<Vec<Keep>, CborError> {
    let count = reader.array()?;
    let mut keep = Vec::<Keep>::new(); // grows with the bytes, not with the count they claim
    for _ in 0..count {
        let next = Keep::read(reader)?;
        if keep.last().is_some_and(|last| last.order() >= next.order()) {
            return Err(CborError::KeyOrder);
        }
        keep.push(next);
    }
    Ok(keep)
}

/// A list of [`Keep`] in its one spelling.
struct Sorted<'a>(&'a [Keep]);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sorted: Vec<_> = self.0.to_vec();
        sorted.sort_unstable_by_key(Keep::order);
        sorted.dedup_by_key(|keep| keep.order());
        serializer.collect_seq(sorted)
    }
}

impl Serialize for RosterEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = match self {
            Self::Enrol { .. } | Self::Rekey { .. } => 5,
            Self::Revoke { .. } => 3,
            Self::Policy { .. } | Self::Accept { .. } | Self::Heal { .. } => 2,
        };
        let mut map = serializer.serialize_map(Some(count))?;
        if let Some(node) = self.node() {
            map.serialize_entry(&0, &Bytes(&node.0))?;
        }
        match self {
            Self::Enrol { name, signing, sealing, policy, .. } => {
                map.serialize_entry(&2, name)?;
                map.serialize_entry(&4, &Bytes(signing.as_bytes()))?;
                map.serialize_entry(&6, &Bytes(&sealing.0))?;
                map.serialize_entry(&8, policy)?;
            }
            Self::Rekey { key_number, signing, sealing, keep, .. } => {
                map.serialize_entry(&2, key_number)?;
                map.serialize_entry(&4, &Bytes(signing.as_bytes()))?;
                map.serialize_entry(&6, &Bytes(&sealing.0))?;
                map.serialize_entry(&8, &Sorted(keep))?;
            }
            Self::Revoke { key_number, keep, .. } => {
                map.serialize_entry(&2, key_number)?;
                map.serialize_entry(&8, &Sorted(keep))?;
            }
            Self::Policy { policy, .. } => map.serialize_entry(&8, policy)?,
            Self::Accept { keep, .. } => map.serialize_entry(&8, &Sorted(keep))?,
            Self::Heal { ours, theirs } => {
                map.serialize_entry(&0, &(ours.seq, Bytes(&ours.hash.0)))?;
                map.serialize_entry(&2, &(theirs.seq, Bytes(&theirs.hash.0)))?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture::{at, enrol, keep, node, rekey, revoke};

    #[test]
    fn every_event_reads_back_and_one_spelling_is_all_there_is() {
        let keeps = vec![keep(3, Lane::Bulk, 9, 1), keep(2, Lane::Urgent, 300, 2)];
        let events = [
            enrol(2, "two", Policy::nodes(vec![node(3), node(1), node(3)])),
            rekey(2, 2, 102, keeps.clone()),
            revoke(2, 1, keeps.clone()),
            RosterEvent::Policy { node: node(2), policy: Policy::OwnAndHubs },
            RosterEvent::Accept { node: node(2), keep: keeps },
            RosterEvent::Heal { ours: at(4, 1), theirs: at(5, 2) },
        ];
        for event in events {
            let payload = event.payload();
            let read = RosterEvent::read(event.kind(), &payload).unwrap().unwrap();
            assert_eq!(read.payload(), payload);
            assert_eq!((read.kind(), read.node()), (event.kind(), event.node()));
            assert!((0..payload.len()).all(|cut| RosterEvent::read(event.kind(), &payload[..cut]).is_err()), "cut short: {event:?}");
        }
    }

    #[test]
    fn lists_must_ascend() {
        let twice = cbor::to_vec(&[keep(2, Lane::Bulk, 1, 1), keep(2, Lane::Bulk, 2, 1)]);
        assert_eq!(read_keep(&mut Reader::new(&twice)), Err(CborError::KeyOrder));
        let descending = cbor::to_vec(&[keep(3, Lane::Bulk, 1, 1), keep(2, Lane::Bulk, 2, 1)]);
        assert_eq!(read_keep(&mut Reader::new(&descending)), Err(CborError::KeyOrder));
    }
}
