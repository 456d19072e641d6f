//! How a range meets what we hold of its origin, decided on paper. Pure. SPEC §6.2.

use crate::ports::store::Stream;

/// What one of our streams has to say to a range of the same origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Which of our streams.
    pub stream: Stream,
    /// Its last position.
    pub end: u64,
    /// How the two compare.
    pub contact: Contact,
}

/// Where a range and a stream touch, and whether they agree there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// The range begins behind the stream's end, with a hole between.
    Beyond,
    /// The range ends before this branch begins.
    Before,
    /// The chain hashes differ where they first touch.
    Foreign,
    /// They agree where they first touch and at every event both have.
    Agrees,
    /// They agree up to the event before `at`, and differ there.
    Differs {
        /// Position of the first event that differs.
        at: u64,
    },
}

/// What to do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append what lies behind the end of `stream`; what lies before is held already.
    Append {
        /// The stream that grows.
        stream: Stream,
        /// Its end before.
        end: u64,
    },
    /// Everything in it is held, byte for byte.
    Duplicate,
    /// Everything in it is known by number, but some of it has rotted here, and nothing proves that it is the same.
    Unproved,
    /// Positions `from` to `to` are missing before it can be judged.
    Gap {
        /// First missing.
        from: u64,
        /// Last missing.
        to: u64,
    },
    /// The origin used position `at` twice: a branch begins there, off `stream`.
    Fork {
        /// The stream it differs from.
        stream: Stream,
        /// Position of the first event that differs.
        at: u64,
    },
}

/// The verdict on a range `first..=last` of `origin`, given every stream we hold of it.
pub fn admit(main: Stream, first: u64, last: u64, meetings: &[Meeting]) -> Verdict {
    let agreeing = meetings.iter().filter(|meeting| meeting.contact == Contact::Agrees).max_by_key(|meeting| meeting.end);
    let differing = meetings.iter().filter_map(|meeting| match meeting.contact {
        Contact::Differs { at } => Some((at, meeting.stream)),
        _ => None,
    });
    match (agreeing, differing.max_by_key(|(at, _)| *at)) {
        (Some(meeting), _) if meeting.end >= last => Verdict::Duplicate,
        (Some(meeting), None) => Verdict::Append { stream: meeting.stream, end: meeting.end },
        // A branch that ends inside the range agrees so far; another stream that goes on differs later only if it shares more.
        (Some(meeting), Some((at, _))) if at <= meeting.end + 1 => Verdict::Append { stream: meeting.stream, end: meeting.end },
        (_, Some((at, stream))) => Verdict::Fork { stream, at },
        (None, None) if first == 1 && meetings.is_empty() => Verdict::Append { stream: main, end: 0 },
        (None, None) => missing(first, meetings),
    }
}

/// What lies between the furthest stream and the range; when a stream reaches past its start and is another history, everything before it
/// (R6.4-e). An origin of which nothing came is never asked about (R6.3-e).
fn missing(first: u64, meetings: &[Meeting]) -> Verdict {
    let foreign = meetings.iter().any(|meeting| meeting.contact == Contact::Foreign);
    let end = meetings.iter().filter(|meeting| meeting.contact == Contact::Beyond).map(|meeting| meeting.end).max();
    let from = if foreign { 1 } else { end.unwrap_or(0) + 1 };
    Verdict::Gap { from, to: first.saturating_sub(1).max(from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle_format::ids::{Incarnation, Lane, NodeId, Origin};

    fn stream(branch: u8) -> Stream {
        let origin = Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None };
        Stream { origin, branch: (branch > 0).then_some([branch; 8]) }
    }

    fn check(range: (u64, u64), held: &[(u8, u64, Contact)], want: Verdict) {
        let meetings: Vec<_> = held.iter().map(|&(branch, end, contact)| Meeting { stream: stream(branch), end, contact }).collect();
        assert_eq!(admit(stream(0), range.0, range.1, &meetings), want, "{range:?} against {held:?}");
    }

    #[test]
    fn a_range_is_appended_known_early_or_a_fork() {
        use Contact::{Agrees, Before, Beyond, Differs, Foreign};
        let append = |branch, end| Verdict::Append { stream: stream(branch), end };
        let fork = |branch, at| Verdict::Fork { stream: stream(branch), at };
        check((1, 5), &[], append(0, 0));
        check((4, 5), &[], Verdict::Gap { from: 1, to: 3 });
        check((4, 9), &[(0, 5, Agrees)], append(0, 5));
        check((4, 5), &[(0, 5, Agrees)], Verdict::Duplicate);
        check((8, 9), &[(0, 5, Beyond)], Verdict::Gap { from: 6, to: 7 });
        check((4, 9), &[(0, 7, Differs { at: 6 })], fork(0, 6));
        check((4, 9), &[(0, 7, Foreign)], Verdict::Gap { from: 1, to: 3 });
        check((4, 9), &[(0, 7, Differs { at: 6 }), (1, 8, Agrees)], append(1, 8));
        check((4, 9), &[(0, 20, Differs { at: 6 }), (1, 8, Differs { at: 8 })], fork(1, 8));
        check((4, 9), &[(0, 20, Differs { at: 6 }), (1, 5, Agrees)], append(1, 5));
        check((4, 9), &[(0, 20, Differs { at: 7 }), (1, 5, Agrees)], fork(0, 7));
        check((1, 3), &[(0, 20, Agrees), (1, 8, Before)], Verdict::Duplicate);
        check((8, 9), &[(0, 5, Beyond), (1, 6, Beyond)], Verdict::Gap { from: 7, to: 7 });
    }
}
