//! How origins and events are written and read by people. SPEC §3.1.
//!
//! Full: `lunana-bhu~7f3a91c2/routine:41`, directed `punakha-hub~90b1c4d2/routine>lunana-bhu:7`, forked `…:41.d0123456789abcdef`. Short, without the
//! incarnation, where only one fits: `lunana-bhu/routine:41`. A node without a name in the roster is `@` and its id.

use bundle_format::error::Code;
use bundle_format::ids::{EventId, Incarnation, Lane, Name, NodeId, Origin, from_hex, hex};

/// Who is called what, and which histories there are.
pub trait Names {
    /// The node's name.
    fn name_of(&self, node: &NodeId) -> Option<&Name>;
    /// The node of this name.
    fn node_of(&self, name: &Name) -> Option<NodeId>;
    /// The lives of `node` in which a history with this lane and audience is held.
    fn incarnations(&self, node: &NodeId, lane: Lane, audience: Option<&NodeId>) -> Vec<Incarnation>;
}

/// Why a text is not the origin, node or event it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamingError {
    /// Not of the form of a node: a name, or `@` and 16 hexadecimal digits.
    #[error("{0:?} is not a node; write a name, or @ and 16 hexadecimal digits")]
    Node(String),
    /// A name nobody has.
    #[error("nobody is called {0}")]
    Nobody(Name),
    /// Not of the form of an origin.
    #[error("{0:?} is not an origin; write node~incarnation/lane or node/lane")]
    Origin(String),
    /// A short origin that no history here has.
    #[error("no history {0:?} is held here")]
    Unknown(String),
    /// A short origin that several histories here have.
    #[error("{0:?} is the short name of several histories; write its incarnation too: node~incarnation/lane")]
    Ambiguous(String),
    /// Not of the form of an event.
    #[error("{0:?} is not an event; write origin:number")]
    Event(String),
}

impl NamingError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Node(_) | Self::Nobody(_) => Code::Z406,
            Self::Origin(_) | Self::Unknown(_) | Self::Ambiguous(_) => Code::Z407,
            Self::Event(_) => Code::Z405,
        }
    }
}

/// An event as a person names it: the digest only where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef {
    /// Whose history.
    pub origin: Origin,
    /// Where in it, from 1.
    pub seq: u64,
    /// Which of two branches.
    pub digest: Option<[u8; 8]>,
}

/// The node as people write it: its name, or `@` and its id.
pub fn node(node: &NodeId, names: &dyn Names) -> String {
    names.name_of(node).map_or_else(|| format!("@{node}"), ToString::to_string)
}

/// The full form of an origin: acks, JSON and scripts use it.
pub fn origin(origin: &Origin, names: &dyn Names) -> String {
    format!("{}~{}/{}", node(&origin.node, names), origin.incarnation, lane_and_audience(origin, names))
}

/// The form for tables: short when it reads back, else full.
pub fn short_origin(origin: &Origin, names: &dyn Names) -> String {
    match names.incarnations(&origin.node, origin.lane, origin.audience.as_ref())[..] {
        [only] if only == origin.incarnation => format!("{}/{}", node(&origin.node, names), lane_and_audience(origin, names)),
        _ => self::origin(origin, names),
    }
}

fn lane_and_audience(origin: &Origin, names: &dyn Names) -> String {
    let audience = origin.audience.map(|audience| format!(">{}", node(&audience, names)));
    format!("{}{}", origin.lane.name(), audience.unwrap_or_default())
}

/// The full form of an event; with its digest when its origin has forked.
pub fn event(id: &EventId, forked: bool, names: &dyn Names) -> String {
    let digest = if forked { format!(".d{}", hex(&id.digest)) } else { String::new() };
    format!("{}:{}{digest}", origin(&id.origin, names), id.seq)
}

/// The form of an event for tables.
pub fn short_event(id: &EventId, forked: bool, names: &dyn Names) -> String {
    let digest = if forked { format!(".d{}", hex(&id.digest)) } else { String::new() };
    format!("{}:{}{digest}", short_origin(&id.origin, names), id.seq)
}

/// Read a node.
///
/// # Errors
/// [`NamingError::Node`], [`NamingError::Nobody`].
pub fn parse_node(text: &str, names: &dyn Names) -> Result<NodeId, NamingError> {
    let not_a_node = || NamingError::Node(text.to_owned());
    if let Some(id) = text.strip_prefix('@') {
        return from_hex(id).map(NodeId).ok_or_else(not_a_node);
    }
    let name = Name::new(text).map_err(|_| not_a_node())?;
    names.node_of(&name).ok_or(NamingError::Nobody(name))
}

/// Read an origin, full or short.
///
/// # Errors
/// [`NamingError`].
pub fn parse_origin(text: &str, names: &dyn Names) -> Result<Origin, NamingError> {
    let not_an_origin = || NamingError::Origin(text.to_owned());
    let (writer, history) = text.split_once('/').ok_or_else(not_an_origin)?;
    let (lane, audience) = history.split_once('>').map_or((history, None), |(lane, audience)| (lane, Some(audience)));
    let lane = Lane::from_name(lane).ok_or_else(not_an_origin)?;
    let audience = audience.map(|audience| parse_node(audience, names)).transpose()?;
    let (writer, incarnation) = match writer.split_once('~') {
        Some((writer, incarnation)) => (writer, Some(from_hex(incarnation).map(Incarnation).ok_or_else(not_an_origin)?)),
        None => (writer, None),
    };
    let node = parse_node(writer, names)?;
    let incarnation = match incarnation {
        Some(incarnation) => incarnation,
        None => match names.incarnations(&node, lane, audience.as_ref())[..] {
            [only] => only,
            [] => return Err(NamingError::Unknown(text.to_owned())),
            _ => return Err(NamingError::Ambiguous(text.to_owned())),
        },
    };
    Ok(Origin { node, incarnation, lane, audience })
}

/// Read an event, full or short.
///
/// # Errors
/// [`NamingError`].
pub fn parse_event(text: &str, names: &dyn Names) -> Result<EventRef, NamingError> {
    let not_an_event = || NamingError::Event(text.to_owned());
    let (origin, place) = text.rsplit_once(':').ok_or_else(not_an_event)?;
    let (seq, digest) = match place.split_once(".d") {
        Some((seq, digest)) => (seq, Some(from_hex(digest).ok_or_else(not_an_event)?)),
        None => (place, None),
    };
    let one_spelling = !seq.starts_with('0') && seq.bytes().all(|digit| digit.is_ascii_digit());
    let seq = seq.parse().ok().filter(|_| one_spelling).ok_or_else(not_an_event)?;
    Ok(EventRef { origin: parse_origin(origin, names)?, seq, digest })
}
