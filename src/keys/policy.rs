//! Policy: whose histories a member is told of. SPEC §8.7.

use bundle_format::cbor::{Bytes, CborError, Reader};
use bundle_format::ids::NodeId;
use serde::ser::{Serialize, Serializer};

/// What the roster lets a member see; deny by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Its own histories, what is directed to it, the roster, and the hubs' control lanes.
    #[default]
    Own,
    /// That, and the hubs' undirected histories.
    OwnAndHubs,
    /// Everything: a hub.
    All,
    /// As [`Policy::Own`], and the undirected histories of these nodes; ascending, at least one.
    Nodes(Vec<NodeId>),
}

impl Policy {
    /// A list of nodes, in any order.
    pub fn nodes(mut nodes: Vec<NodeId>) -> Self {
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.is_empty() { Self::Own } else { Self::Nodes(nodes) }
    }

    /// What both let a member see. Which nodes are hubs may change: what they and a list have in common is nothing.
    #[must_use]
    pub fn narrower(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, policy) | (policy, Self::All) => policy.clone(),
            (Self::OwnAndHubs, Self::OwnAndHubs) => Self::OwnAndHubs,
            (Self::Nodes(ours), Self::Nodes(theirs)) => Self::nodes(ours.iter().filter(|node| theirs.contains(node)).copied().collect()),
            _ => Self::Own,
        }
    }

    /// From what a person typed: `own`, `own,hub`, `all`, or names with commas. `node_of` knows the names.
    ///
    /// # Errors
    /// The first word that is neither.
    pub fn parse(text: &str, node_of: impl Fn(&str) -> Option<NodeId>) -> Result<Self, &str> {
        match text.trim() {
            "own" => Ok(Self::Own),
            "own,hub" => Ok(Self::OwnAndHubs),
            "all" => Ok(Self::All),
            names => names.split(',').map(str::trim).map(|name| node_of(name).ok_or(name)).collect::<Result<_, _>>().map(Self::nodes),
        }
    }

    /// As it is typed; `name_of` gives a node's name or another text for it.
    pub fn text(&self, name_of: impl Fn(&NodeId) -> String) -> String {
        match self {
            Self::Own => "own".into(),
            Self::OwnAndHubs => "own,hub".into(),
            Self::All => "all".into(),
            Self::Nodes(nodes) => nodes.iter().map(name_of).collect::<Vec<_>>().join(","),
        }
    }

    /// Read what [`Serialize`] writes.
    ///
    /// # Errors
    /// [`CborError`]; an empty list or one that does not ascend is [`CborError::Shape`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        if let Ok(number) = reader.clone().uint() {
            reader.uint()?;
            return [Self::Own, Self::OwnAndHubs, Self::All].into_iter().nth(usize::try_from(number).unwrap_or(usize::MAX)).ok_or(CborError::Shape);
        }
        let count = reader.array()?;
        let nodes = (0..count).map(|_| reader.bytes_exact().map(NodeId)).collect::<Result<Vec<_>, _>>()?;
        let ascends = nodes.windows(2).all(|pair| pair[0] < pair[1]);
        if nodes.is_empty() || !ascends { Err(CborError::Shape) } else { Ok(Self::Nodes(nodes)) }
    }
}

impl Serialize for Policy {
    /// `0 / 1 / 2 / [1* bstr .size 8]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own => serializer.serialize_u8(0),
            Self::OwnAndHubs => serializer.serialize_u8(1),
            Self::All => serializer.serialize_u8(2),
            Self::Nodes(nodes) => serializer.collect_seq(nodes.iter().map(|node| Bytes(&node.0))),
        }
    }
}
