//! Names of things: nodes, incarnations, lanes, origins, events. SPEC §3.1.

use crate::cbor::{Bytes, CborError, Reader};
use serde::ser::{Serialize, SerializeTuple as _, Serializer};
use std::fmt;

/// SHA-256 output: a digest or a chain hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Its first `N` bytes: what is short enough to show, or to tell a history from another where nobody gains by a collision.
    pub fn first<const N: usize>(&self) -> [u8; N] {
        first(&self.0)
    }
}

/// The first `N` of 32 bytes.
fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    const { assert!(N <= 32, "a SHA-256 output has no more") };
    let mut short = [0; N];
    short.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    short
}

/// A node: the first 8 bytes of SHA-256("zbundle/1 node" 00 ‖ its first signing key).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 8]);

/// 4 random bytes drawn at `init` and whenever a node has lost part of its past. Never a counter: clones would collide (R3.1-b).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 4]);

/// A domain: SHA-256("zbundle/1 domain" 00 ‖ the authority's first signing key), pinned when a node joins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub [u8; 32]);

impl DomainId {
    /// What a file shows of its domain.
    pub fn hint(&self) -> [u8; 4] {
        first(&self.0)
    }
}

/// Urgency of an origin's events; lower goes first, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lane {
    /// Roster, close and other notes of the nodes themselves; never payloads of people.
    Control = 0,
    /// Cannot wait.
    Urgent = 1,
    /// The default.
    #[default]
    Routine = 2,
    /// Large and patient.
    Bulk = 3,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Control, Self::Urgent, Self::Routine, Self::Bulk];

    /// From its number on the wire.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| *lane as u64 == number)
    }

    /// Its name on people's screens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Urgent => "urgent",
            Self::Routine => "routine",
            Self::Bulk => "bulk",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

/// One dense history: events 1, 2, 3, … of one node, incarnation, lane and audience.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Who writes it.
    pub node: NodeId,
    /// In which of its lives.
    pub incarnation: Incarnation,
    /// How urgent.
    pub lane: Lane,
    /// For whom: `None` is whoever the policy lets see it, `Some` one node and the hubs that carry it on.
    pub audience: Option<NodeId>,
}

impl Serialize for Origin {
    /// `[node: bstr .size 8, incarnation: bstr .size 4, lane: uint, audience: bstr .size 8 / null]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(4)?;
        tuple.serialize_element(&Bytes(&self.node.0))?;
        tuple.serialize_element(&Bytes(&self.incarnation.0))?;
        tuple.serialize_element(&(self.lane as u8))?;
        tuple.serialize_element(&self.audience.as_ref().map(|node| Bytes(&node.0)))?;
        tuple.end()
    }
}

impl Origin {
    /// Read the array that [`Serialize`] writes.
    ///
    /// # Errors
    /// [`CborError`] when it is not that array.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_exact(4)?;
        let node = NodeId(reader.bytes_exact()?);
        let incarnation = Incarnation(reader.bytes_exact()?);
        let lane = Lane::from_number(reader.uint()?).ok_or(CborError::Shape)?;
        let audience = if reader.null()? { None } else { Some(NodeId(reader.bytes_exact()?)) };
        Ok(Self { node, incarnation, lane, audience })
    }
}

/// One event, unambiguous even in a fork: its origin, its position, the first 8 bytes of its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Whose history.
    pub origin: Origin,
    /// Where in it, from 1.
    pub seq: u64,
    /// `d_seq[0..8]`.
    pub digest: [u8; 8],
}

impl EventId {
    /// The id of the event with digest `digest` at `seq` of `origin`.
    pub fn new(origin: Origin, seq: u64, digest: &Hash) -> Self {
        Self { origin, seq, digest: digest.first() }
    }

    /// Read the array that [`Serialize`] writes.
    ///
    /// # Errors
    /// [`CborError`] when it is not that array.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        reader.array_exact(3)?;
        Ok(Self { origin: Origin::read(reader)?, seq: reader.seq()?, digest: reader.bytes_exact()? })
    }
}

impl Serialize for EventId {
    /// `[origin, seq: uint, digest: bstr .size 8]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.origin, self.seq, Bytes(&self.digest)).serialize(serializer)
    }
}

/// A node's name for people: `[a-z0-9][a-z0-9-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text that is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 32 of a-z, 0-9 and -, and does not begin with -")]
pub struct NotAName;

impl Name {
    /// The only gate.
    ///
    /// # Errors
    /// [`NotAName`].
    pub fn new(text: &str) -> Result<Self, NotAName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (1..=32).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('-');
        if good { Ok(Self(text.to_owned())) } else { Err(NotAName) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}

/// Read `N` bytes of lower-case hexadecimal.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let half = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = half(*high)? << 4 | half(*low)?;
    }
    Some(bytes)
}

macro_rules! shown_in_hex {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }
    )*};
}
shown_in_hex!(Hash NodeId Incarnation DomainId);

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}~{}/{}", self.node, self.incarnation, self.lane.name())?;
        self.audience.map_or(Ok(()), |audience| write!(f, ">@{audience}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_event_ids_read_back_as_they_were_written() {
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([0x7f, 0x3a, 0x91, 0xc2]), lane: Lane::Routine, audience: None };
        for origin in [origin, Origin { audience: Some(NodeId([2; 8])), ..origin }] {
            let id = EventId::new(origin, 41, &Hash([9; 32]));
            let bytes = crate::cbor::to_vec(&id);
            assert_eq!(EventId::read(&mut Reader::new(&bytes)), Ok(id));
        }
        assert_eq!(format!("{origin:?}"), "@0101010101010101~7f3a91c2/routine");
    }

    #[test]
    fn undirected_stands_before_directed() {
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([0; 4]), lane: Lane::Routine, audience: None };
        assert!(origin < Origin { audience: Some(NodeId([0; 8])), ..origin });
        assert!(Origin { audience: Some(NodeId([9; 8])), ..origin } < Origin { lane: Lane::Bulk, ..origin });
    }

    #[test]
    fn names_are_what_people_can_type_anywhere() {
        for good in ["a", "0", "lunana-bhu", "x-", &"n".repeat(32)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a b", "a/b", "ä", "a.b", "..", &"n".repeat(33)] {
            assert_eq!(Name::new(bad), Err(NotAName), "{bad}");
        }
    }

    #[test]
    fn hexadecimal_is_lower_case_and_of_one_length() {
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
        assert_eq!(from_hex("00abff"), Some([0, 0xab, 0xff]));
        for bad in ["00ABFF", "00abf", "00abfff", "00ab+f", "é0abf", ""] {
            assert_eq!(from_hex::<3>(bad), None, "{bad}");
        }
    }
}
