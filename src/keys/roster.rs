//! The roster: who belongs to the domain, folded from the authority's first control lane. Pure. SPEC §8.
//!
//! The lane is append-only and carries other control events too, so the fold never stops: what makes no sense where it stands is remembered as
//! refused and has no effect. Equal events in equal order give equal rosters.

use super::member::{Member, MemberKey, Pin};
use super::policy::Policy;
use super::roster_event::{Keep, ROSTER_EVENT_LEN_MAX, ReadError, RosterEvent};
use super::standing::KeyEnd;
pub use super::standing::Standing;
use bundle_format::chain::Position;
use bundle_format::error::Code;
use bundle_format::event::{Event, Part};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Name, NodeId};
use bundle_format::seal::SealingPublic;
use bundle_format::sign::VerifyingKey;
use std::collections::BTreeMap;

/// Why a roster event has no effect, or would have none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// Not the bytes of SPEC §8.2, or a weak signing key.
    #[error(transparent)]
    Malformed(#[from] ReadError),
    /// All parts together exceed [`ROSTER_EVENT_LEN_MAX`].
    #[error("a roster event of more than {ROSTER_EVENT_LEN_MAX} bytes")]
    TooLong,
    /// The first roster event must be the authority's own enrolment.
    #[error("the roster does not begin with its authority")]
    NotFounded,
    /// A name no node can have.
    #[error("{0:?} is not a node name")]
    BadName(String),
    /// Another node has the name.
    #[error("the name {0} is taken")]
    NameTaken(Name),
    /// The node is a member already.
    #[error("{0} is a member already")]
    Enrolled(NodeId),
    /// The node id is not the hash of the first signing key.
    #[error("the node id does not belong to the signing key")]
    ForeignId,
    /// Nobody of that id.
    #[error("{0} is not a member")]
    UnknownNode(NodeId),
    /// No key of that number, or not the next one.
    #[error("key number {found} does not fit; the newest key is {newest}")]
    KeyNumber {
        /// What the event says.
        found: u64,
        /// The member's newest.
        newest: u64,
    },
    /// A sealing key anyone could open for.
    #[error("the sealing key is weak")]
    WeakSealingKey,
    /// Some member has or had this key.
    #[error("the key is in use already")]
    KeyInUse,
    /// The authority sees everything and cannot revoke its present key.
    #[error("the authority cannot do that to itself")]
    Authority,
    /// No key of the member has ended: nothing to accept.
    #[error("no key of {0} has ended")]
    NothingEnded(NodeId),
    /// A heal that does not stand on the head it names.
    #[error("a heal names another head than the one it stands on")]
    HealElsewhere,
    /// Signed with a key of the authority that was replaced before, or on a branch that does not lead to where it was. Left out by `succession`.
    #[error("written under an ended key of the authority")]
    EndedKey,
    /// Not the event after the last one folded; nothing changed.
    #[error("roster event {found} does not follow {head}")]
    OutOfOrder {
        /// What was given.
        found: u64,
        /// What was folded last.
        head: u64,
    },
    /// The roster has forked: fold its branches instead.
    #[error("the roster has forked")]
    Forked,
}

impl RosterError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::BadName(_) => Code::Z107,
            Self::NameTaken(_) => Code::Z605,
            Self::UnknownNode(_) => Code::Z406,
            Self::Forked => Code::Z617,
            Self::Enrolled(_) => Code::Z618,
            Self::Authority | Self::NothingEnded(_) | Self::KeyNumber { .. } | Self::KeyInUse | Self::ForeignId | Self::WeakSealingKey => Code::Z616,
            Self::Malformed(_) | Self::TooLong | Self::NotFounded | Self::HealElsewhere | Self::EndedKey | Self::OutOfOrder { .. } => Code::Z619,
        }
    }
}

/// An event of the roster lane that had no effect, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it stands; its last part if it has several.
    pub position: Position,
    /// Why.
    pub why: RosterError,
}

/// The members of a domain as of one position of its roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    pub(super) pin: Pin,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) head: Position,
    pub(super) updated: Hlc,
    pub(super) refused: Vec<Refused>,
    /// Ends of the branches of a fork that waits for a heal; else empty.
    pub(super) open: Vec<Position>,
    parts: Option<Parts>,
}

/// Consecutive parts of one roster event, not all here yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    next: Part,
    kind: String,
    payload: Vec<u8>,
    too_long: bool,
}

impl Roster {
    /// Before the first roster event of the pinned domain.
    pub fn new(pin: Pin) -> Self {
        let head = Position::start(&pin.roster_origin());
        Self { pin, members: BTreeMap::new(), head, updated: Hlc(0), refused: Vec::new(), open: Vec::new(), parts: None }
    }

    /// Fold the next event of the roster lane, ours or covered by a key under which it counts ([`Roster::counts_under`]). Other control events pass without
    /// effect.
    ///
    /// # Errors
    /// Why it has no effect. It is folded all the same and remembered in [`Roster::refused`]; only [`RosterError::OutOfOrder`] and
    /// [`RosterError::Forked`] leave the roster as it was.
    pub fn apply(&mut self, position: Position, event: &Event<'_>) -> Result<(), RosterError> {
        self.fold(position, event).map(|_| ())
    }

    /// [`Roster::apply`]; whose policy it says, if that is what it does.
    pub(super) fn fold(&mut self, position: Position, event: &Event<'_>) -> Result<Option<NodeId>, RosterError> {
        if self.is_forked() {
            return Err(RosterError::Forked);
        }
        if self.head.seq.checked_add(1) != Some(position.seq) {
            return Err(RosterError::OutOfOrder { found: position.seq, head: self.head.seq });
        }
        let judged = self.judge(event);
        self.head = position;
        self.updated = self.updated.max(event.hlc);
        let roster_event = judged.inspect_err(|why| self.refused.push(Refused { position, why: why.clone() }))?;
        let policy_of = match &roster_event {
            Some(RosterEvent::Policy { node, .. }) => Some(*node),
            _ => None,
        };
        if let Some(roster_event) = roster_event {
            self.commit(roster_event, position);
        }
        Ok(policy_of)
    }

    /// The roster event that is whole with `event` and makes sense here; `None` when it is none, or not whole yet.
    fn judge(&mut self, event: &Event<'_>) -> Result<Option<RosterEvent>, RosterError> {
        let parts = self.parts.take(); // a run that does not go on now is void
        if !RosterEvent::is_kind(event.kind) {
            return Ok(None);
        }
        let read = match event.ext.part {
            None => RosterEvent::read(event.kind, event.payload)?,
            Some(part) => match Parts::gather(parts, event.kind, part, event.payload) {
                Gathered::Whole(payload) => RosterEvent::read(event.kind, &payload)?,
                Gathered::TooLong => return Err(RosterError::TooLong),
                Gathered::Unfinished(parts) => {
                    self.parts = Some(parts);
                    None
                }
                Gathered::Void => None,
            },
        };
        if let Some(roster_event) = &read {
            self.check(roster_event)?;
        }
        Ok(read)
    }

    /// Whether `event` would take effect as the next of the roster; whoever is about to sign it asks first (R8.3-d).
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, event: &RosterEvent) -> Result<(), RosterError> {
        if self.members.is_empty() {
            return self.check_founding(event);
        }
        let member = |node: &NodeId| self.members.get(node).ok_or(RosterError::UnknownNode(*node));
        match event {
            RosterEvent::Enrol { node, name, signing, sealing, .. } => {
                let name = Name::new(name).map_err(|_| RosterError::BadName(name.clone()))?;
                if self.members.contains_key(node) {
                    return Err(RosterError::Enrolled(*node));
                }
                if signing.node_id() != *node {
                    return Err(RosterError::ForeignId);
                }
                if self.by_name(&name).is_some() {
                    return Err(RosterError::NameTaken(name));
                }
                self.check_keys(*node, signing, sealing)
            }
            RosterEvent::Rekey { node, key_number, signing, sealing, .. } => {
                let member = member(node)?;
                if *key_number != member.next_key_number() {
                    return Err(RosterError::KeyNumber { found: *key_number, newest: member.keys.len() as u64 });
                }
                self.check_keys(*node, signing, sealing)
            }
            RosterEvent::Revoke { node, key_number, .. } => {
                let member = member(node)?;
                let newest = member.keys.len() as u64;
                let key = member.key(*key_number).ok_or(RosterError::KeyNumber { found: *key_number, newest })?;
                if *node == self.pin.node() && key.number == newest { Err(RosterError::Authority) } else { Ok(()) }
            }
            RosterEvent::Policy { node, .. } => {
                member(node)?;
                if *node == self.pin.node() { Err(RosterError::Authority) } else { Ok(()) }
            }
            RosterEvent::Accept { node, .. } => {
                let ended = member(node)?.keys.iter().any(|key| key.end.is_some());
                if ended { Ok(()) } else { Err(RosterError::NothingEnded(*node)) }
            }
            RosterEvent::Heal { ours, .. } => {
                if *ours == self.head {
                    Ok(())
                } else {
                    Err(RosterError::HealElsewhere)
                }
            }
        }
    }

    fn check_founding(&self, event: &RosterEvent) -> Result<(), RosterError> {
        match event {
            RosterEvent::Enrol { node, name, signing, sealing, policy: Policy::All }
                if *node == self.pin.node() && *signing == self.pin.authority_key =>
            {
                Name::new(name).map_err(|_| RosterError::BadName(name.clone()))?;
                if sealing.is_weak() { Err(RosterError::WeakSealingKey) } else { Ok(()) }
            }
            _ => Err(RosterError::NotFounded),
        }
    }

    /// A signing key is new to the domain; a sealing key is strong and nobody else's.
    fn check_keys(&self, node: NodeId, signing: &VerifyingKey, sealing: &SealingPublic) -> Result<(), RosterError> {
        if sealing.is_weak() {
            return Err(RosterError::WeakSealingKey);
        }
        let mut keys = self.members.values().flat_map(|member| member.keys.iter().map(move |key| (member.node, key)));
        let in_use = keys.any(|(owner, key)| key.signing == *signing || (owner != node && key.sealing == *sealing));
        if in_use { Err(RosterError::KeyInUse) } else { Ok(()) }
    }

    /// Go on behind `position`, whatever was folded last: the second branch of a fork repeats positions.
    pub(super) fn stand_at(&mut self, position: Position) {
        self.head = position;
        self.parts = None;
    }

    /// Go on on another branch; who is known stays known.
    pub(super) fn go_on_from(&mut self, position: Position) {
        self.open.clear();
        self.stand_at(position);
    }

    /// Take in what [`Roster::check`] has passed.
    fn commit(&mut self, event: RosterEvent, position: Position) {
        let roster_origin = self.pin.roster_origin();
        match event {
            RosterEvent::Enrol { node, name, signing, sealing, policy } => {
                let Ok(name) = Name::new(&name) else { return };
                let keys = vec![MemberKey { number: 1, signing, sealing, end: None }];
                self.members.insert(node, Member { node, name, policy, keys, enrolled: position.seq });
            }
            RosterEvent::Rekey { node, key_number, signing, sealing, mut keep } => {
                if node == roster_origin.node {
                    // The rekey itself stands in the roster and cannot name its own hash: it is the last the outgoing key may say there.
                    keep.retain(|keep| keep.origin(node) != roster_origin);
                    keep.push(Keep::new(&roster_origin, position));
                }
                let Some(member) = self.members.get_mut(&node) else { return };
                if let Some(outgoing) = member.keys.last_mut() {
                    end(outgoing, KeyEnd::new(false, &keep));
                }
                member.keys.push(MemberKey { number: key_number, signing, sealing, end: None });
            }
            RosterEvent::Revoke { node, key_number, keep } => {
                let keys = self.members.get_mut(&node).map(|member| &mut member.keys);
                if let Some(key) = keys.and_then(|keys| keys.iter_mut().find(|key| key.number == key_number)) {
                    end(key, KeyEnd::new(true, &keep));
                }
            }
            RosterEvent::Policy { node, policy } => {
                if let Some(member) = self.members.get_mut(&node) {
                    member.policy = policy;
                }
            }
            RosterEvent::Accept { node, keep } => {
                let keys = self.members.get_mut(&node).into_iter().flat_map(|member| &mut member.keys);
                keys.filter_map(|key| key.end.as_mut()).for_each(|end| end.raise(&keep));
            }
            RosterEvent::Heal { .. } => {} // its effect is in `branches`: a roster folded from one branch has nothing to join
        }
    }
}

/// A key ends once; whatever is said about it later can only narrow what it leaves, until the authority accepts more.
fn end(key: &mut MemberKey, new: KeyEnd) {
    key.end = Some(match key.end.take() {
        Some(old) => old.narrowed(&new),
        None => new,
    });
}

enum Gathered {
    Whole(Vec<u8>),
    Unfinished(Parts),
    TooLong,
    Void,
}

impl Parts {
    fn gather(parts: Option<Self>, kind: &str, part: Part, payload: &[u8]) -> Gathered {
        let begun = match parts {
            _ if part.index == 0 => Self { next: part, kind: kind.to_owned(), payload: Vec::new(), too_long: false },
            Some(parts) if parts.next == part && parts.kind == kind => parts,
            _ => return Gathered::Void,
        };
        let Self { next, kind, payload: mut gathered, mut too_long } = begun;
        too_long |= gathered.len() + payload.len() > ROSTER_EVENT_LEN_MAX;
        if !too_long {
            gathered.extend_from_slice(payload);
        }
        match next.index + 1 == next.count {
            true if too_long => Gathered::TooLong,
            true => Gathered::Whole(gathered),
            false => Gathered::Unfinished(Self { next: Part { index: next.index + 1, ..next }, kind, payload: gathered, too_long }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture::{Written, at, enrol, found, keep, node, origin, pin, plain, rekey, revoke, sealing, signing, written};
    use crate::keys::standing::EventStanding;
    use bundle_format::event::Ext;
    use bundle_format::ids::Lane;
    use bundle_format::limits::PART_LEN;
    use proptest::prelude::*;

    fn two() -> Written {
        written(&[found(), enrol(2, "two", Policy::Own), enrol(3, "three", Policy::Own)])
    }

    #[test]
    fn an_event_that_makes_no_sense_has_no_effect_and_stops_nothing() {
        use RosterError::{
            Authority, BadName, Enrolled, ForeignId, HealElsewhere, KeyInUse, KeyNumber, NameTaken, NothingEnded, UnknownNode, WeakSealingKey,
        };
        let name = |text| Name::new(text).unwrap();
        let weak =
            RosterEvent::Enrol { node: node(9), name: "nine".into(), signing: signing(9), sealing: SealingPublic([0; 32]), policy: Policy::Own };
        let foreign = RosterEvent::Enrol { node: node(8), name: "nine".into(), signing: signing(9), sealing: sealing(9), policy: Policy::Own };
        let borrowed = RosterEvent::Enrol { node: node(9), name: "nine".into(), signing: signing(9), sealing: sealing(2), policy: Policy::Own };
        let head = two().head();
        let cases = [
            (enrol(2, "again", Policy::Own), Enrolled(node(2))),
            (enrol(9, "two", Policy::Own), NameTaken(name("two"))),
            (enrol(9, "Nine", Policy::Own), BadName("Nine".into())),
            (weak, WeakSealingKey),
            (foreign, ForeignId),
            (borrowed, KeyInUse),
            (rekey(9, 2, 109, vec![]), UnknownNode(node(9))),
            (rekey(2, 1, 102, vec![]), KeyNumber { found: 1, newest: 1 }),
            (rekey(2, 3, 102, vec![]), KeyNumber { found: 3, newest: 1 }),
            (rekey(2, 2, 3, vec![]), KeyInUse),
            (rekey(2, 2, 2, vec![]), KeyInUse),
            (revoke(9, 1, vec![]), UnknownNode(node(9))),
            (revoke(2, 0, vec![]), KeyNumber { found: 0, newest: 1 }),
            (revoke(2, 2, vec![]), KeyNumber { found: 2, newest: 1 }),
            (revoke(1, 1, vec![]), Authority),
            (RosterEvent::Policy { node: node(1), policy: Policy::Own }, Authority),
            (RosterEvent::Policy { node: node(9), policy: Policy::Own }, UnknownNode(node(9))),
            (RosterEvent::Accept { node: node(2), keep: vec![] }, NothingEnded(node(2))),
            (RosterEvent::Heal { ours: at(3, 9), theirs: head }, HealElsewhere),
        ];
        for (event, why) in cases {
            assert_eq!(two().roster().check(&event), Err(why.clone()), "asked before signing: {event:?}");
            let (roster, answers) = two().then(&event).then(&enrol(4, "four", Policy::Own)).fold();
            assert_eq!(answers[3], Err(why.clone()), "{event:?}");
            assert_eq!(roster.refused().len(), 1, "{event:?}");
            assert!(roster.member(&node(4)).is_some(), "the fold goes on behind {event:?}");
            let without = two().roster();
            assert!(without.members().all(|member| roster.member(&member.node) == Some(member)), "{event:?} changed a member");
        }
    }

    #[test]
    fn a_roster_begins_with_its_own_authority() {
        let founder = |node, key, policy| RosterEvent::Enrol { node, name: "hub".into(), signing: signing(key), sealing: sealing(1), policy };
        for (first, why) in [
            (enrol(2, "two", Policy::All), RosterError::NotFounded),
            (founder(node(1), 1, Policy::Own), RosterError::NotFounded),
            (founder(node(1), 2, Policy::All), RosterError::NotFounded),
            (founder(node(2), 1, Policy::All), RosterError::NotFounded),
            (rekey(1, 2, 101, vec![]), RosterError::NotFounded),
        ] {
            let (roster, answers) = written(std::slice::from_ref(&first)).fold();
            assert_eq!(answers, [Err(why)], "{first:?}");
            assert_eq!(roster.members().count(), 0);
        }
        assert!(written(&[found()]).roster().is_hub(&node(1)));
    }

    #[test]
    fn malformed_bytes_are_refused_and_other_control_events_pass() {
        let mut roster = two().roster();
        let mut refused = 0;
        for (kind, payload, counts) in [
            ("zb/enrol", &b""[..], true),
            ("zb/enrol", b"\xa0", true),
            ("zb/revoke", b"\xa3\x00\x48\0\0\0\0\0\0\0\0\x02\x01\x08\x80\x00", true), // a byte too many
            ("zb/policy", b"\xa3\x00\x48\0\0\0\0\0\0\0\0\x04\x00\x08\x00", true),     // an even key of a later version
            ("zb/policy", b"\xa2\x00\x48\0\0\0\0\0\0\0\0\x08\x03", true),             // a policy of a later version
            ("zb/heal", b"\xbf\xff", true),
            ("zb/alive", b"\xa0", false),
            ("zb/later", b"\xff", false),
            ("vitals", b"", false),
        ] {
            let position = roster.head().then(&bundle_format::chain::digest(payload));
            let answer = roster.apply(position, &plain(kind, payload));
            refused += usize::from(counts);
            assert_eq!(matches!(answer, Err(RosterError::Malformed(_))), counts, "{kind} {payload:02x?}: {answer:?}");
            assert_eq!((roster.head(), roster.refused().len()), (position, refused));
        }
    }

    #[test]
    fn events_are_folded_in_order_and_once() {
        let lane = two();
        let entries = lane.entries();
        let mut roster = lane.roster();
        let before = roster.clone();
        for (index, found) in [(0, 1), (2, 3)] {
            assert_eq!(roster.apply(entries[index].position, &entries[index].event), Err(RosterError::OutOfOrder { found, head: 3 }));
        }
        assert_eq!(roster, before);
    }

    /// Split a payload as push does and fold the parts, dropping or repeating some.
    fn fold_parts(payload: &[u8], send: impl Fn(usize) -> Vec<usize>) -> Roster {
        let pieces: Vec<&[u8]> = payload.chunks(PART_LEN).collect();
        let mut roster = two().then(&revoke(2, 1, vec![])).roster();
        for index in send(pieces.len()) {
            let part = Some(Part { index: index as u64, count: pieces.len() as u64 });
            let event = Event { ext: Ext { part, ..Ext::default() }, ..plain("zb/accept", pieces[index]) };
            let position = roster.head().then(&bundle_format::chain::digest(pieces[index]));
            let _ = roster.apply(position, &event);
        }
        roster
    }

    #[test]
    fn a_long_event_comes_in_parts_and_counts_when_whole() {
        let lives =
            |count: u32| (0..count).map(|i| Keep { incarnation: bundle_format::ids::Incarnation(i.to_be_bytes()), ..keep(2, Lane::Routine, 5, 7) });
        let payload = |count| RosterEvent::Accept { node: node(2), keep: lives(count).collect() }.payload();
        let accepted = |roster: &Roster| {
            let origin =
                bundle_format::ids::Origin { incarnation: bundle_format::ids::Incarnation(7u32.to_be_bytes()), ..origin(2, Lane::Routine, None) };
            roster.standing(&origin, 5, 1, |_| None) == EventStanding::Good
        };
        let long = payload(300);
        let whole = fold_parts(&long, |count| (0..count).collect());
        assert!(accepted(&whole) && whole.refused().is_empty());
        assert!(!accepted(&fold_parts(&long, |count| (0..count - 1).collect())), "not whole yet");
        assert!(!accepted(&fold_parts(&long, |count| [0].into_iter().chain(2..count).collect())), "a broken run is void");
        assert!(accepted(&fold_parts(&long, |count| (0..2).chain(0..count).collect())), "begun anew after a crash");
        let huge = fold_parts(&payload(2000), |count| (0..count).collect());
        assert!(!accepted(&huge));
        assert!(matches!(huge.refused(), [Refused { why: RosterError::TooLong, .. }]));
    }

    #[test]
    fn behind_a_rekey_of_the_authority_the_new_key_alone_goes_on_writing_the_roster() {
        let named = Keep::new(&pin().roster_origin(), at(999, 9));
        let roster = two().then(&rekey(1, 2, 101, vec![named])).roster();
        assert_eq!([0, 1, 2, 3].map(|number| roster.counts_under(number)), [false, false, true, true]);
        assert_eq!(roster.standing(&pin().roster_origin(), 5, 1, |_| None), EventStanding::AfterRevoke, "whatever its keep says of the roster");
    }

    fn any_event() -> impl Strategy<Value = RosterEvent> {
        let who = 2u8..6; // a rekey of the authority remembers its own position, which depends on what was refused before
        let keeps = proptest::collection::vec((1u8..4, 0u64..20, 0u8..3).prop_map(|(n, seq, branch)| keep(n, Lane::Routine, seq, branch)), 0..3);
        let policy = prop_oneof![
            Just(Policy::Own),
            Just(Policy::OwnAndHubs),
            Just(Policy::All),
            proptest::collection::vec(1u8..5, 1..3).prop_map(|nodes| Policy::nodes(nodes.into_iter().map(node).collect())),
        ];
        prop_oneof![
            (who.clone(), "[a-c]{1,2}", policy.clone()).prop_map(|(n, name, policy)| enrol(n, &name, policy)),
            (who.clone(), 1u64..4, 1u8..9, keeps.clone()).prop_map(|(n, number, new, keep)| rekey(n, number, new, keep)),
            (who.clone(), 0u64..4, keeps.clone()).prop_map(|(n, number, keep)| revoke(n, number, keep)),
            (who.clone(), policy).prop_map(|(n, policy)| RosterEvent::Policy { node: node(n), policy }),
            (who, keeps).prop_map(|(n, keep)| RosterEvent::Accept { node: node(n), keep }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn equal_events_give_equal_rosters_and_refused_ones_change_nothing(events in proptest::collection::vec(any_event(), 0..20)) {
            let all = written(&[found()]);
            let lane = events.iter().fold(all, Written::then);
            let (roster, answers) = lane.fold();
            prop_assert_eq!(&roster, &lane.roster());
            let good: Vec<_> = std::iter::once(found()).chain(events.into_iter().zip(&answers[1..]).filter(|(_, answer)| answer.is_ok()).map(|(event, _)| event)).collect();
            let alone = written(&good).roster();
            prop_assert!(alone.refused().is_empty());
            // Only positions of enrolments differ when refused events are left out.
            let shown = |roster: &Roster| roster.members().map(|member| Member { enrolled: 0, ..member.clone() }).collect::<Vec<_>>();
            prop_assert_eq!(shown(&roster), shown(&alone));
            for member in roster.members() {
                prop_assert!(member.keys.iter().zip(1..).all(|(key, number)| key.number == number));
                prop_assert!(member.keys.iter().rev().skip(1).all(|key| key.end.is_some()), "only the newest key can be current");
            }
        }

        #[test]
        fn no_bytes_can_stop_the_fold(kind in "zb/(enrol|rekey|revoke|policy|accept|heal)", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut roster = two().roster();
            let position = roster.head().then(&bundle_format::chain::digest(&bytes));
            prop_assert!(roster.apply(position, &plain(&kind, &bytes)).is_err());
            prop_assert_eq!(roster.head(), position);
        }
    }
}
