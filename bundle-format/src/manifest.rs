//! The manifest: what the sender holds, told to the reader. The first item inside a bundle, and the hello of a live exchange. SPEC §4.2.

use crate::cbor::{self, Bytes, CborError, Keys, Reader};
use crate::ids::{Incarnation, Lane, NodeId, Origin};
use crate::vector::{Tag, Told};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// The nodes a manifest and its ranges speak of; they name them by place. Ascending, so that equal inputs give equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTable(Vec<NodeId>);

impl NodeTable {
    /// A table of every node that `origins` name.
    pub fn of(origins: impl IntoIterator<Item = Origin>) -> Self {
        let mut nodes: Vec<NodeId> = origins.into_iter().flat_map(|origin| [Some(origin.node), origin.audience]).flatten().collect();
        nodes.sort_unstable();
        nodes.dedup();
        Self(nodes)
    }

    /// The nodes, ascending.
    pub fn nodes(&self) -> &[NodeId] {
        &self.0
    }

    fn index(&self, node: NodeId) -> Option<u64> {
        self.0.binary_search(&node).ok().map(|index| index as u64)
    }

    fn node(&self, index: u64) -> Result<NodeId, CborError> {
        usize::try_from(index).ok().and_then(|index| self.0.get(index)).copied().ok_or(CborError::Shape)
    }

    /// `origin` as it stands on the wire; `None` when the table lacks one of its nodes.
    pub(crate) fn places(&self, origin: &Origin) -> Option<WireOrigin> {
        let audience = match origin.audience {
            None => None,
            Some(node) => Some(self.index(node)?),
        };
        Some(WireOrigin { node: self.index(origin.node)?, incarnation: origin.incarnation, lane: origin.lane, audience })
    }

    /// The four fields of an origin, wherever they stand.
    pub(crate) fn read_fields(&self, reader: &mut Reader<'_>) -> Result<Origin, CborError> {
        let node = self.node(reader.uint()?)?;
        let incarnation = Incarnation(reader.bytes_exact()?);
        let lane = Lane::from_number(reader.uint()?).ok_or(CborError::Shape)?;
        let audience = if reader.null()? { None } else { Some(self.node(reader.uint()?)?) };
        Ok(Origin { node, incarnation, lane, audience })
    }

    /// `log = [node-ix, incarnation, lane, audience-ix / null]`.
    pub(crate) fn read_log(&self, reader: &mut Reader<'_>) -> Result<Origin, CborError> {
        reader.array_exact(4)?;
        self.read_fields(reader)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let count = reader.array()?;
        let nodes = (0..count).map(|_| reader.bytes_exact().map(NodeId)).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_sorted_by(|a, b| a < b) { Ok(Self(nodes)) } else { Err(CborError::Shape) }
    }
}

/// An origin by places in a node table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireOrigin {
    node: u64,
    incarnation: Incarnation,
    lane: Lane,
    audience: Option<u64>,
}

impl Serialize for WireOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.node, Bytes(&self.incarnation.0), self.lane as u8, self.audience).serialize(serializer)
    }
}

/// The sender holds two branches of a history: the digests of its event at `seq`, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ForkNotice {
    /// Whose history.
    pub origin: Origin,
    /// Where the branches part.
    pub seq: u64,
    /// The first 8 bytes of `d_seq` of both.
    pub digests: [[u8; 8]; 2],
}

/// What an end of a link takes in codec 3. Bytes are of prefix and events together: both are work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Bytes a second that it takes.
    pub work: u64,
    /// Bytes a second that it decodes while it does.
    pub speed: u64,
}

/// Bytes a second of a link that the usual grant fills.
const RATE_USUAL: u64 = 5000;

impl Granted {
    /// What a hello without a word of it means (R7.3-l): what a small server has for a peer when it has few, so that most hellos need not say it.
    pub const USUAL: Self = Self { work: 100_000, speed: 200_000 };

    /// What a hello says of it: nothing where it is the usual, or more than that on a link of which no `rate` is known on which more were of use.
    #[must_use]
    pub fn told(self, rate: Option<u64>) -> Option<Self> {
        let less = self.work < Self::USUAL.work || self.speed < Self::USUAL.speed;
        Some(self).filter(|_| less || rate.is_some_and(|rate| rate > RATE_USUAL))
    }
}

/// What the sender holds and knows. A receipt, once its sender is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// 0: the nodes that the rest of the bundle names by place.
    pub nodes: NodeTable,
    /// 1: how far the sender holds which histories.
    pub vector: Vec<Told>,
    /// 3: the life of the sender that says so, and its receipt number, which grows with every telling.
    pub receipt: Option<(Incarnation, u64)>,
    /// 5: forks the sender holds.
    pub forks: Vec<ForkNotice>,
    /// 9: on a link, what the sender takes in codec 3; [`Granted::USUAL`] without it (R7.3-l).
    pub granted: Option<Granted>,
}

impl Manifest {
    /// A manifest in its order, whose node table has every node of its vector, its fork notices and `ranges`, and no other.
    pub fn new(
        mut vector: Vec<Told>,
        receipt: Option<(Incarnation, u64)>,
        mut forks: Vec<ForkNotice>,
        ranges: impl IntoIterator<Item = Origin>,
    ) -> Self {
        vector.sort_unstable();
        vector.dedup();
        forks.sort_unstable();
        let told = vector.iter().map(|told| told.origin);
        let nodes = NodeTable::of(told.chain(forks.iter().map(|fork| fork.origin)).chain(ranges));
        Self { nodes, vector, receipt, forks, granted: None }
    }

    /// Its bytes; `None` when the node table lacks a node that is named.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let vector = self.vector.iter().map(|told| self.nodes.places(&told.origin).map(|origin| WireTold { origin, seq: told.seq, tag: told.tag }));
        let forks = self.forks.iter().map(|fork| Some((self.nodes.places(&fork.origin)?, fork.seq, fork.digests)));
        let (vector, forks) = (vector.collect::<Option<_>>()?, forks.collect::<Option<_>>()?);
        let wire = Wire { nodes: &self.nodes, vector, receipt: self.receipt, forks, granted: self.granted };
        Some(cbor::to_vec(&wire))
    }

    /// Read the manifest that stands next in `reader`.
    ///
    /// # Errors
    /// [`CborError`]: what breaks SPEC §4.2.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let mut keys = reader.map()?;
        let (mut nodes, mut vector) = (None, None);
        let (mut receipt, mut forks, mut granted) = (None, Vec::new(), None);
        while let Some(key) = keys.next(reader)? {
            match key {
                0 => nodes = Some(NodeTable::read(reader)?),
                1 => vector = Some(read_vector(nodes.as_ref().ok_or(CborError::MissingKey(0))?, reader)?),
                3 => {
                    reader.array_exact(2)?;
                    receipt = Some((Incarnation(reader.bytes_exact()?), reader.uint()?));
                }
                5 => forks = read_forks(nodes.as_ref().ok_or(CborError::MissingKey(0))?, reader)?,
                9 => {
                    reader.array_exact(2)?;
                    granted = Some(Granted { work: reader.uint()?, speed: reader.uint()? });
                }
                _ => Keys::unknown(key, reader)?,
            }
        }
        let nodes = nodes.ok_or(CborError::MissingKey(0))?;
        Ok(Self { nodes, vector: vector.ok_or(CborError::MissingKey(1))?, receipt, forks, granted })
    }
}

fn read_vector(nodes: &NodeTable, reader: &mut Reader<'_>) -> Result<Vec<Told>, CborError> {
    let count = reader.array()?;
    let told = |_| {
        reader.array_exact(6)?;
        let (origin, seq, tag) = (nodes.read_fields(reader)?, reader.seq()?, Tag(reader.bytes_exact()?));
        Ok(Told { origin, seq, tag })
    };
    let vector: Vec<Told> = (0..count).map(told).collect::<Result<_, _>>()?;
    if vector.is_sorted_by(|a, b| a < b) { Ok(vector) } else { Err(CborError::Shape) }
}

fn read_forks(nodes: &NodeTable, reader: &mut Reader<'_>) -> Result<Vec<ForkNotice>, CborError> {
    let count = reader.array()?;
    let notice = |_| {
        reader.array_exact(4)?;
        let (origin, seq) = (nodes.read_log(reader)?, reader.seq()?);
        let digests = [reader.bytes_exact()?, reader.bytes_exact()?];
        let [low, high] = &digests;
        if low >= high { Err(CborError::Shape) } else { Ok(ForkNotice { origin, seq, digests }) }
    };
    (0..count).map(notice).collect()
}

struct WireTold {
    origin: WireOrigin,
    seq: u64,
    tag: Tag,
}

impl Serialize for WireTold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WireOrigin { node, incarnation, lane, audience } = &self.origin;
        (node, Bytes(&incarnation.0), *lane as u8, audience, self.seq, Bytes(&self.tag.0)).serialize(serializer)
    }
}

struct Wire<'a> {
    nodes: &'a NodeTable,
    vector: Vec<WireTold>,
    receipt: Option<(Incarnation, u64)>,
    forks: Vec<(WireOrigin, u64, [[u8; 8]; 2])>,
    granted: Option<Granted>,
}

impl Serialize for Wire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let count = 2 + usize::from(self.receipt.is_some()) + usize::from(!self.forks.is_empty()) + usize::from(self.granted.is_some());
        let mut map = serializer.serialize_map(Some(count))?;
        map.serialize_entry(&0, &self.nodes.0.iter().map(|node| Bytes(&node.0)).collect::<Vec<_>>())?;
        map.serialize_entry(&1, &self.vector)?;
        if let Some((incarnation, number)) = &self.receipt {
            map.serialize_entry(&3, &(Bytes(&incarnation.0), number))?;
        }
        if !self.forks.is_empty() {
            let forks: Vec<_> = self.forks.iter().map(|(log, seq, [low, high])| (log, seq, Bytes(low), Bytes(high))).collect();
            map.serialize_entry(&5, &forks)?;
        }
        if let Some(Granted { work, speed }) = self.granted {
            map.serialize_entry(&9, &(work, speed))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Position;
    use crate::ids::Hash;
    use crate::limits::MANIFEST_LEN_MAX;
    use crate::vector::Salt;

    fn origin(number: u16, audience: Option<u16>) -> Origin {
        let node = |number: u16| NodeId([0, 0, 0, 0, 0, 0, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
        Origin { node: node(number), incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: audience.map(node) }
    }

    fn told(origin: Origin, seq: u64) -> Told {
        Told::new(&Salt([1; 32]), origin, &Position { seq, hash: Hash([2; 32]) })
    }

    #[test]
    fn a_hello_on_a_thin_line_says_only_a_grant_below_the_usual() {
        let usual = Granted::USUAL;
        let granted = |work, speed| Granted { work, speed }.told(Some(2_875));
        assert_eq!((usual.told(None), granted(usual.work + 1, 2 * usual.speed)), (None, None), "an idle sync has no byte for it");
        assert!(usual.told(Some(30_000)).is_some(), "a faster link could do with more");
        for less in [(usual.work - 1, usual.speed), (usual.work, usual.speed - 1), (0, 0)] {
            assert_eq!(granted(less.0, less.1), Some(Granted { work: less.0, speed: less.1 }));
        }
    }

    #[test]
    fn a_manifest_reads_back_in_its_order() {
        let vector = vec![told(origin(5, Some(9)), 7), told(origin(5, None), 3), told(origin(1, None), 9), told(origin(1, None), 2)];
        let forks = vec![ForkNotice { origin: origin(1, None), seq: 2, digests: [[1; 8], [2; 8]] }];
        let granted = Some(Granted { work: 50_000, speed: 200_000 });
        let manifest = Manifest { granted, ..Manifest::new(vector, Some((Incarnation([7; 4]), 12)), forks, [origin(3, None)]) };
        assert_eq!(manifest.nodes.nodes().len(), 4, "1, 3, 5 and 9, each once");
        assert!(manifest.vector.is_sorted_by_key(|told| (told.origin, told.seq)), "both branches of a fork, the shorter first");
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::read(&mut Reader::new(&bytes)), Ok(manifest));
        let lacking = Manifest { nodes: NodeTable::of([]), ..Manifest::new(vec![told(origin(1, None), 1)], None, vec![], []) };
        assert_eq!(lacking.to_bytes(), None);
    }

    #[test]
    fn a_vector_of_30_000_origins_fits() {
        let count = if cfg!(miri) { 100 } else { 30_000 }; // an interpreter takes a millisecond for each tag
        let vector = (0..count).map(|number| told(origin(number, None), 1_000_000)).collect();
        assert!(Manifest::new(vector, None, vec![], []).to_bytes().unwrap().len() < MANIFEST_LEN_MAX);
    }
}
