//! How origins and events are written and read by people. SPEC §3.1 (R11.1-h).
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

/// The form for tables: short when it reads back, else full (R3.1-g).
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Nodes 1 and 2 have names; node 1 has lived twice.
    struct Small(Vec<(NodeId, Name)>, Vec<Origin>);

    impl Names for Small {
        fn name_of(&self, node: &NodeId) -> Option<&Name> {
            self.0.iter().find(|(known, _)| known == node).map(|(_, name)| name)
        }

        fn node_of(&self, name: &Name) -> Option<NodeId> {
            self.0.iter().find(|(_, known)| known == name).map(|(node, _)| *node)
        }

        fn incarnations(&self, node: &NodeId, lane: Lane, audience: Option<&NodeId>) -> Vec<Incarnation> {
            let fits = |origin: &&Origin| origin.node == *node && origin.lane == lane && origin.audience.as_ref() == audience;
            self.1.iter().filter(fits).map(|origin| origin.incarnation).collect()
        }
    }

    fn of(n: u8, incarnation: [u8; 4], lane: Lane, audience: Option<u8>) -> Origin {
        Origin { node: NodeId([n; 8]), incarnation: Incarnation(incarnation), lane, audience: audience.map(|n| NodeId([n; 8])) }
    }

    const FIRST: [u8; 4] = [0x7f, 0x3a, 0x91, 0xc2];
    const SECOND: [u8; 4] = [0x90, 0xb1, 0xc4, 0xd2];

    fn small() -> Small {
        let name = |text| Name::new(text).unwrap();
        let origins = vec![
            of(1, FIRST, Lane::Routine, None),
            of(1, SECOND, Lane::Routine, None),
            of(1, SECOND, Lane::Urgent, None),
            of(2, SECOND, Lane::Routine, Some(1)),
            of(3, FIRST, Lane::Bulk, None),
        ];
        Small(vec![(NodeId([1; 8]), name("lunana-bhu")), (NodeId([2; 8]), name("punakha-hub"))], origins)
    }

    #[test]
    fn origins_have_a_full_form_and_a_short_one_where_it_is_unique() {
        let cases = [
            (of(1, FIRST, Lane::Routine, None), "lunana-bhu~7f3a91c2/routine", "lunana-bhu~7f3a91c2/routine"),
            (of(1, SECOND, Lane::Urgent, None), "lunana-bhu~90b1c4d2/urgent", "lunana-bhu/urgent"),
            (of(2, SECOND, Lane::Routine, Some(1)), "punakha-hub~90b1c4d2/routine>lunana-bhu", "punakha-hub/routine>lunana-bhu"),
            (of(3, FIRST, Lane::Bulk, None), "@0303030303030303~7f3a91c2/bulk", "@0303030303030303/bulk"),
            (of(1, FIRST, Lane::Urgent, None), "lunana-bhu~7f3a91c2/urgent", "lunana-bhu~7f3a91c2/urgent"),
            (of(2, FIRST, Lane::Bulk, Some(9)), "punakha-hub~7f3a91c2/bulk>@0909090909090909", "punakha-hub~7f3a91c2/bulk>@0909090909090909"),
        ];
        for (named, full, short) in cases {
            assert_eq!((origin(&named, &small()).as_str(), short_origin(&named, &small()).as_str()), (full, short));
            assert_eq!(parse_origin(full, &small()), Ok(named));
            assert_eq!(parse_origin(short, &small()), Ok(named));
        }
    }

    #[test]
    fn events_are_origin_and_number_and_the_digest_after_a_fork() {
        let id = EventId { origin: of(1, FIRST, Lane::Routine, None), seq: 41, digest: [0xab; 8] };
        assert_eq!(event(&id, false, &small()), "lunana-bhu~7f3a91c2/routine:41");
        assert_eq!(event(&id, true, &small()), "lunana-bhu~7f3a91c2/routine:41.dabababababababab");
        let forked = EventRef { origin: id.origin, seq: 41, digest: Some([0xab; 8]) };
        assert_eq!(parse_event(&event(&id, true, &small()), &small()), Ok(forked));
        assert_eq!(parse_event(&event(&id, false, &small()), &small()), Ok(EventRef { digest: None, ..forked }));
        let directed = EventRef { origin: of(2, SECOND, Lane::Routine, Some(1)), seq: 7, digest: None };
        assert_eq!(parse_event("punakha-hub/routine>lunana-bhu:7", &small()), Ok(directed));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_code() {
        let cases = [
            ("lunana-bhu/routine:41", Code::Z407), // two lives
            ("lunana-bhu/bulk:41", Code::Z407),    // none
            ("lunana-bhu/fast:41", Code::Z407),
            ("lunana-bhu~7F3A91C2/routine:41", Code::Z407),
            ("lunana-bhu~7f3a/routine:41", Code::Z407),
            ("lunana-bhu:41", Code::Z407),
            ("nobody/urgent:41", Code::Z406),
            ("@0303/bulk:41", Code::Z406),
            ("punakha-hub/routine>:41", Code::Z406),
            ("lunana-bhu/urgent", Code::Z405),
            ("lunana-bhu/urgent:", Code::Z405),
            ("lunana-bhu/urgent:0", Code::Z405),
            ("lunana-bhu/urgent:041", Code::Z405),
            ("lunana-bhu/urgent:+41", Code::Z405),
            ("lunana-bhu/urgent:18446744073709551616", Code::Z405),
            ("lunana-bhu/urgent:41.dab", Code::Z405),
            ("", Code::Z405),
        ];
        for (text, code) in cases {
            assert_eq!(parse_event(text, &small()).map_err(|error| error.code()), Err(code), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_event_reads_back(n in 0u8..5, incarnation: [u8; 4], lane in 0u64..4, audience in proptest::option::of(0u8..5), seq in 1u64.., digest: [u8; 8], forked: bool) {
            let id = EventId { origin: of(n, incarnation, Lane::from_number(lane).unwrap(), audience), seq, digest };
            let read = EventRef { origin: id.origin, seq, digest: forked.then_some(digest) };
            prop_assert_eq!(parse_event(&event(&id, forked, &small()), &small()), Ok(read));
            prop_assert_eq!(parse_event(&short_event(&id, forked, &small()), &small()), Ok(read));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-c@~/>:.d0-9é-]{0,40}") {
            let _ = parse_event(&text, &small());
        }
    }
}
