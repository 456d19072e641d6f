//! Many events from one stream of lines (NDJSON): acknowledged in the order they came, one sync for as many as had come.
//!
//! A batch is synced when it is large, or when the next read would wait: so a slow writer gets its ack at once and a fast one shares the flush.
//! Where nothing comes for a second, the taker lets go of what others may need.
//! A byte order mark at the very beginning is passed over: no writer sees it, and the record behind it would be lost each time.
//! Memory does not grow with the length of a line: above 256 KiB it waits in a spool file, above a payload's limit it is read past.

use super::json::{MARK, fault_in_line, is_json, unmarked};
use super::schema::{Schema, Violation};
use super::spool::Spool;
use super::{Fields, PushError, Taker};
use crate::ports::Input;
use bundle_format::error::Code;
use bundle_format::limits::PAYLOAD_LEN_MAX;
use std::collections::VecDeque;
use std::io::{self, Read};

/// Lines in one batch at most: acks wait no longer than this.
const BATCH_LINE_COUNT_MAX: usize = 4096;
/// Bytes of events in one batch at most.
const BATCH_LEN_MAX: u64 = 1 << 20;
/// After so long without a byte nobody else is kept from the node.
const REST_MS: u64 = 1000;
/// Bytes asked of the input at a time: what a pipe holds.
const READ_LEN: usize = 64 * 1024;

/// What became of one line.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<E> {
    /// Durable: its event in each stream.
    Stored {
        /// From 1, blank lines counted.
        line: u64,
        /// One per audience.
        events: Vec<E>,
    },
    /// Not stored.
    Refused {
        /// From 1, blank lines counted.
        line: u64,
        /// Z402, Z403 or Z438.
        code: Code,
        /// With Z438: where and why.
        violation: Option<Violation>,
        /// With Z402: why, and in which column.
        fault: Option<String>,
        /// Bytes in the line, without its newline.
        len: u64,
    },
}

/// Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines stored.
    pub stored: u64,
    /// Lines refused.
    pub refused: u64,
    /// Blank lines skipped.
    pub blank: u64,
    /// Bytes read, without a byte order mark at the beginning.
    pub bytes: u64,
}

/// Push every line of `input` that fits `schema`, if there is one. `tell` is called in the order of the lines, for stored ones only after the sync; `reached` after each batch.
///
/// # Errors
/// [`PushError`] from input or log, after telling what is durable; or what `tell` ends it with: then the rest is not read.
pub fn push_lines<T: Taker, E: From<PushError>>(
    input: &mut dyn Input,
    taker: &mut T,
    fields: &Fields,
    schema: Option<&Schema>,
    spool: Spool,
    mut tell: impl FnMut(Option<Told<T::Event>>, &Tally) -> Result<(), E>,
) -> Result<Tally, E> {
    fields.check()?;
    let input = &mut Unmarked { input, begun: false };
    let mut lines = Lines { taker, fields, schema, line: Line::new(spool), number: 0, waiting: VecDeque::new(), tally: Tally::default() };
    let mut buffer = vec![0; READ_LEN];
    loop {
        if !lines.waiting.is_empty() && !input.ready() {
            lines.commit(&mut tell)?;
        }
        if !input.ready_within(REST_MS) {
            lines.taker.rest();
        }
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                lines.commit(&mut tell)?;
                return Err(PushError::Input(error).into());
            }
        };
        lines.tally.bytes += read as u64;
        let mut rest = &buffer[..read];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            lines.line.feed(&rest[..end])?;
            lines.end_or_tell(&mut tell)?;
            rest = &rest[end + 1..];
            if lines.waiting.len() >= BATCH_LINE_COUNT_MAX || lines.taker.unsettled_len() >= BATCH_LEN_MAX {
                lines.commit(&mut tell)?;
            }
        }
        lines.line.feed(rest)?;
    }
    if lines.line.len > 0 {
        lines.end_or_tell(&mut tell)?;
    }
    lines.commit(&mut tell)?;
    Ok(lines.tally)
}

/// An input without the byte order mark that it may begin with.
struct Unmarked<'a> {
    input: &'a mut dyn Input,
    begun: bool,
}

impl Read for Unmarked<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.begun {
            return self.input.read(out);
        }
        let mut len = 0;
        // What may be a mark is waited for: it is no line that anybody expects an answer to.
        while len < MARK.len() && MARK.starts_with(&out[..len]) {
            match self.input.read(&mut out[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.begun = true;
        let rest = unmarked(&out[..len]).len();
        out.copy_within(len - rest..len, 0);
        if rest == 0 && len > 0 { self.input.read(out) } else { Ok(rest) }
    }
}

impl Input for Unmarked<'_> {
    fn ready(&mut self) -> bool {
        self.input.ready()
    }

    fn ready_within(&mut self, wait_ms: u64) -> bool {
        self.input.ready_within(wait_ms)
    }
}

struct Lines<'p, T> {
    taker: &'p mut T,
    fields: &'p Fields,
    schema: Option<&'p Schema>,
    line: Line,
    number: u64,
    waiting: VecDeque<Waiting>,
    tally: Tally,
}

/// A line that waits to be told, because those before it do.
enum Waiting {
    Taken { line: u64 },
    Refused { line: u64, code: Code, violation: Option<Violation>, fault: Option<String>, len: u64 },
}

impl<T: Taker> Lines<'_, T> {
    /// The line is complete.
    fn end(&mut self) -> Result<(), PushError> {
        self.number += 1;
        let (line, len) = (self.number, self.line.len);
        match self.line.verdict(self.schema)? {
            Verdict::Blank => self.tally.blank += 1,
            Verdict::Overlong => self.waiting.push_back(Waiting::Refused { line, code: Code::Z403, violation: None, fault: None, len }),
            Verdict::NotJson(why) => self.waiting.push_back(Waiting::Refused { line, code: Code::Z402, violation: None, fault: Some(why), len }),
            Verdict::Unfit(violation) => {
                self.waiting.push_back(Waiting::Refused { line, code: Code::Z438, violation: Some(violation), fault: None, len });
            }
            Verdict::Good => {
                let spool = &self.line.spool;
                match spool.in_memory() {
                    Some(mut bytes) => self.taker.take(self.fields, len, &mut bytes)?,
                    None => self.taker.take(self.fields, len, &mut spool.read())?,
                }
                self.waiting.push_back(Waiting::Taken { line });
            }
        }
        self.line.clear();
        Ok(())
    }

    /// [`Lines::end`]; when it fails, what came before this line is told first.
    fn end_or_tell<E: From<PushError>>(&mut self, tell: &mut impl FnMut(Option<Told<T::Event>>, &Tally) -> Result<(), E>) -> Result<(), E> {
        self.end().map_err(|error| {
            drop(self.commit(tell)); // the first error is the one to tell
            error.into()
        })
    }

    /// Make what waits durable, then tell it. What a failure left durable is told before the failure is.
    fn commit<E: From<PushError>>(&mut self, tell: &mut impl FnMut(Option<Told<T::Event>>, &Tally) -> Result<(), E>) -> Result<(), E> {
        let mut stored = VecDeque::new();
        let settled = self.taker.settle(&mut |events| stored.push_back(events));
        while let Some(waiting) = self.waiting.pop_front() {
            let told = match waiting {
                Waiting::Refused { line, code, violation, fault, len } => {
                    self.tally.refused += 1;
                    Told::Refused { line, code, violation, fault, len }
                }
                Waiting::Taken { line } => {
                    let Some(events) = stored.pop_front() else { break };
                    self.tally.stored += 1;
                    Told::Stored { line, events }
                }
            };
            tell(Some(told), &self.tally)?;
        }
        settled?;
        tell(None, &self.tally)
    }
}

/// The line being read.
struct Line {
    spool: Spool,
    len: u64,
    blank: bool,
}

enum Verdict {
    Blank,
    Good,
    Overlong,
    NotJson(String),
    Unfit(Violation),
}

impl Line {
    fn new(spool: Spool) -> Self {
        Self { spool, len: 0, blank: true }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), PushError> {
        self.len += bytes.len() as u64;
        self.blank &= bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
        if self.is_overlong() {
            self.spool.clear(); // nothing of it will be stored; only its end is looked for
            return Ok(());
        }
        self.spool.write(bytes).map_err(PushError::Spool)
    }

    fn is_overlong(&self) -> bool {
        self.len > PAYLOAD_LEN_MAX as u64
    }

    fn verdict(&self, schema: Option<&Schema>) -> Result<Verdict, PushError> {
        if self.blank {
            return Ok(Verdict::Blank);
        }
        if self.is_overlong() {
            return Ok(Verdict::Overlong);
        }
        let fault = match self.spool.in_memory() {
            Some(bytes) if is_json(bytes) => Ok(None),
            _ => fault_in_line(self.spool.read()),
        };
        let fits = schema.map_or(Ok(()), |schema| schema.check_in(&self.spool));
        Ok(match (fault.map_err(PushError::Spool)?, fits) {
            (Some(why), _) => Verdict::NotJson(why),
            (None, Ok(())) => Verdict::Good,
            (None, Err(violation)) => Verdict::Unfit(violation),
        })
    }

    fn clear(&mut self) {
        self.spool.clear();
        self.len = 0;
        self.blank = true;
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test looks at the folder as a person would")]
mod tests {
    use super::super::Pusher;
    use super::super::tests::{clock, fields, stream};
    use super::*;
    use crate::ports::memory_store::MemoryStore;
    use crate::ports::store::Log as _;
    use bundle_format::ids::NodeId;

    /// Gives `pieces` one read at a time; between them it says that it would wait.
    struct Slow<'a>(Vec<&'a [u8]>);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let mut piece = self.0.remove(0);
            let read = piece.read(out)?;
            if !piece.is_empty() {
                self.0.insert(0, piece);
            }
            Ok(read)
        }
    }

    impl Input for Slow<'_> {
        fn ready(&mut self) -> bool {
            false
        }
    }

    fn push(input: &mut dyn Input) -> (String, Tally, MemoryStore) {
        push_by(None, input)
    }

    fn push_by(schema: Option<&Schema>, input: &mut dyn Input) -> (String, Tally, MemoryStore) {
        let mut store = MemoryStore::default();
        let mut told_so_far = Vec::new();
        let folder = tempfile::tempdir().unwrap();
        let ports = crate::adapters::os_ports();
        let mut pusher = Pusher::new(&mut store, clock(), &NodeId([1; 8]), &[stream(None)]);
        let spool = Spool::new(&ports, folder.path());
        let tally = push_lines(input, &mut pusher, &fields(), schema, spool, |told, _| {
            match told {
                Some(Told::Stored { line, events }) => told_so_far.push(format!("{line}={}", events[0].1)),
                Some(Told::Refused { line, code, .. }) => told_so_far.push(format!("{line}:{code}")),
                None => {}
            }
            Ok::<_, PushError>(())
        });
        assert!(ports.disk.list(folder.path()).unwrap().is_empty(), "no spool file is left");
        (told_so_far.join(" "), tally.unwrap(), store)
    }

    #[test]
    fn each_line_is_an_event_or_is_named() {
        let cases: [(&[u8], &str, u64); 13] = [
            (b"", "", 0),
            (b"{}\n[1]\n", "1=1 2=2", 0),
            (b"{}\n[1]", "1=1 2=2", 0),
            (b"\n  \r\n{}\n\t\n", "3=1", 3),
            (b"{}\r\n1", "1=1 2=2", 0),
            (b"{}\n{\"a\":\n{}\n", "1=1 2:Z402 3=2", 0),
            (b"\xef\xbb\xbf{}\n2\n", "1=1 2=2", 0),
            (b"\xef\xbb\xbf", "", 0),
            (b"\xef\xbb\xbf\n\xef\xbb\xbf2\n3", "2:Z402 3=1", 1),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}\n2\n", "1:Z402 2=1", 0),
            (b"\xef\xbb\n2\n", "1:Z402 2=1", 0),
            (b"\"\xff\"\n2\n", "1:Z402 2=1", 0),
            (b"{} {}\n", "1:Z402", 0),
        ];
        for (input, story, blank) in cases {
            let (told, tally, _) = push(&mut &*input);
            assert_eq!((told.as_str(), tally.blank), (story, blank), "{}", input.escape_ascii());
            assert_eq!(tally.bytes, unmarked(input).len() as u64);
        }
    }

    #[test]
    fn a_mark_that_comes_in_pieces_is_passed_over_and_nobody_waits_for_one() {
        let (told, _, store) = push(&mut Slow(vec![b"\xef", b"\xbb\xbf", b"1\n", b"2\n"]));
        assert_eq!(told, "1=1 2=2");
        let mut events = store.events(&stream(None), 1).unwrap();
        assert_eq!(bundle_format::event::Event::from_bytes(events.next().unwrap().unwrap().1).unwrap().payload, b"1");
        drop(events);
        assert_eq!(push(&mut Slow(vec![b"1\n", b"2\n"])).2.syncs, [1, 1], "a short line is stored as it comes");
    }

    #[test]
    fn lines_that_do_not_fit_the_schema_are_named_and_the_others_go_on() {
        let schema = Schema::compile(b"{\"type\":\"object\"}").unwrap();
        assert_eq!(push_by(Some(&schema), &mut &b"{}\n[]\n{\n{}\n"[..]).0, "1=1 2:Z438 3:Z402 4=2");
    }

    #[test]
    fn lines_are_kept_byte_for_byte_without_their_newline() {
        let (_, _, store) = push(&mut &b" {\"a\" : 1}\r\n2\n"[..]);
        let mut events = store.events(&stream(None), 1).unwrap();
        let (_, event) = events.next().unwrap().unwrap();
        assert_eq!(bundle_format::event::Event::from_bytes(event).unwrap().payload, b" {\"a\" : 1}\r");
    }

    #[test]
    fn what_has_come_shares_a_sync_and_nobody_waits_for_more() {
        let (told, _, store) = push(&mut Slow(vec![b"1\n2\n3", b"\n4\n", b"5\n"]));
        assert_eq!(told, "1=1 2=2 3=3 4=4 5=5");
        assert_eq!(store.syncs, [2, 2, 1]);
        let many = b"1\n".repeat(10_000);
        assert_eq!(push(&mut &many[..]).2.syncs.len(), 3, "4096 lines a batch when they come fast");
    }

    #[test]
    fn a_line_as_long_as_a_payload_is_stored_and_a_longer_one_is_read_past() {
        for (len, end, story) in [(2 << 20, b'"', "1=1 2=513"), (2 << 20, b'x', "1:Z402 2=1"), (PAYLOAD_LEN_MAX + 1, b'"', "1:Z403 2=1")] {
            let line = [b"\"", vec![b'x'; len - 2].as_slice(), &[end], b"\n2\n"].concat();
            let (told, _, store) = push(&mut &line[..]);
            assert_eq!(told, story, "{len}");
            if story.starts_with("1=1") {
                let mut payload = Vec::new();
                let mut events = store.events(&stream(None), 1).unwrap();
                while let Some((_, event)) = events.next().unwrap() {
                    payload.extend_from_slice(bundle_format::event::Event::from_bytes(event).unwrap().payload);
                }
                assert!(payload == line[..len].iter().chain(b"2").copied().collect::<Vec<u8>>());
            }
        }
    }
}
