//! What people and their programs write: lines of JSON, and words on a command line.

use crate::targets::json;
use bundle_format::hlc::Hlc;
use bundle_format::ids::{EventId, Incarnation, Lane, Name, NodeId, Origin};
use bundle_format::limits::{PART_LEN, PAYLOAD_LEN_MAX};
use std::cell::Cell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use zbundle::cli::units;
use zbundle::keys::naming::{self, Names};
use zbundle::keys::{Policy, Secret};
use zbundle::ports::clock::FakeClock;
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::local::Nobody;
use zbundle::ports::memory_store::MemoryStore;
use zbundle::ports::store::{Log as _, Stream};
use zbundle::ports::{Disk as _, Input, MemoryDisk, MemoryNetwork, Ports};
use zbundle::push::lines::{Told, push_lines};
use zbundle::push::spool::Spool;
use zbundle::push::{Fields, PushError, Pusher};

fn ports(disk: &MemoryDisk) -> Ports {
    Ports {
        disk: Rc::new(disk.clone()),
        clock: Rc::new(FakeClock::default()),
        entropy: Rc::new(SeededEntropy(Cell::new(5))),
        net: Rc::new(MemoryNetwork::default()),
        local: Rc::new(Nobody),
    }
}

/// Gives the text in pieces, and says now and then that the next would have to be waited for.
struct Slow<'a> {
    text: &'a [u8],
    piece_len: usize,
    reads: usize,
}

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        self.reads += 1;
        let len = self.piece_len.min(out.len()).min(self.text.len());
        let (piece, rest) = self.text.split_at(len);
        out[..len].copy_from_slice(piece);
        self.text = rest;
        Ok(len)
    }
}

impl Input for Slow<'_> {
    fn ready(&mut self) -> bool {
        !self.reads.is_multiple_of(3)
    }
}

/// `push --ndjson`: every line is told once, by its number, in order; what is stored is the line, byte for byte.
pub fn lines(bytes: &[u8]) {
    let Some((choice, text)) = bytes.split_first() else { return };
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("/n")).expect("a disk in memory takes it");
    let (ports, mut store) = (ports(&disk), MemoryStore::default());
    let stream = Stream::main(Origin { node: NodeId([1; 8]), incarnation: Incarnation([1; 4]), lane: Lane::Routine, audience: None });
    let fields = Fields { kind: "vitals".into(), ..Fields::default() };
    let mut input = Slow { text, piece_len: usize::from(*choice) * 16 + 1, reads: 0 };
    let mut told = Vec::new();
    let mut pusher = Pusher::new(&mut store, Rc::clone(&ports.clock), &stream.origin.node, &[stream]);
    let tally = push_lines(&mut input, &mut pusher, &fields, None, Spool::new(&ports, Path::new("/n")), |word, _| {
        told.extend(word);
        Ok::<(), PushError>(())
    });
    let tally = tally.expect("nothing fails but a line");
    drop(pusher);
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text); // a byte order mark at the beginning is no part of any line
    let (good, bad, blank) = judged(text);
    assert_eq!((tally.stored, tally.refused, tally.blank, tally.bytes), (good.len() as u64, bad.len() as u64, blank, text.len() as u64));
    let number = |told: &Told<_>| match told {
        Told::Stored { line, .. } | Told::Refused { line, .. } => *line,
    };
    assert!(told.iter().map(number).is_sorted_by(|a, b| a < b), "in the order they came");
    let refused = told.iter().filter(|told| matches!(told, Told::Refused { .. })).map(number);
    assert!(refused.eq(bad), "and each by its own number");
    assert_eq!(payloads(&store, &stream), good, "byte for byte");
}

/// Lines that are JSON, numbers of those that are not, and how many are blank: as RFC 8259 says, read by hand.
fn judged(text: &[u8]) -> (Vec<Vec<u8>>, Vec<u64>, u64) {
    let (mut good, mut bad, mut blank) = (Vec::new(), Vec::new(), 0);
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for (line, number) in lines.into_iter().zip(1..) {
        let is_json = std::str::from_utf8(line).is_ok_and(|_| json::is_one(line));
        match line {
            line if line.iter().all(|byte| b" \t\r".contains(byte)) => blank += 1,
            line if is_json && line.len() <= PAYLOAD_LEN_MAX => good.push(line.to_vec()),
            _ => bad.push(number),
        }
    }
    (good, bad, blank)
}

fn payloads(store: &MemoryStore, stream: &Stream) -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = Vec::new();
    let mut events = store.events(stream, 1).expect("memory can be read");
    while let Some((_, bytes)) = events.next().expect("memory can be read") {
        let event = bundle_format::event::Event::from_bytes(bytes).expect("what was pushed is an event");
        assert!(event.hlc > Hlc(0) && event.payload.len() <= PART_LEN);
        match event.ext.part {
            Some(part) if part.index > 0 => payloads.last_mut().expect("part 0 came before").extend(event.payload),
            _ => payloads.push(event.payload.to_vec()),
        }
    }
    payloads
}

pub fn line_seeds() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 8] = [
        b"{}\n[]\n",
        b"{\"bp\":\"120/80\"}\r\n\n  \t\n{\"a\":[1,-0.5e+10,true,null,\"\\u00e9\\n\"]}",
        b"{\"a\":}\n{\"b\":1}\nnot json\n\"\\ud800\"\n",
        b"\xef\xbb\xbf{}\n\xff\n\"\xe2\x98\x83\"\n",
        b"[[[[[[[[[[[[]]]]]]]]]]]]\n1E400\n01\n1.\n-\n",
        b"\0\n{}\0\n {} \n",
        b"\n\n\n",
        b"{\"a\":1}{\"b\":2}\n",
    ];
    let long = [&b"\xff{\"scan\":\""[..], &[b'x'; 9000], b"\"}\n{}\n"].concat();
    texts.iter().flat_map(|text| [[&[0][..], text].concat(), [&[40][..], text].concat()]).chain([long]).collect()
}

/// Two nodes with names, one with two lives, and one without a name.
struct Book(Name, Name);

impl Names for Book {
    fn name_of(&self, node: &NodeId) -> Option<&Name> {
        match node.0 {
            [1, 1, 1, 1, 1, 1, 1, 1] => Some(&self.0),
            [2, 2, 2, 2, 2, 2, 2, 2] => Some(&self.1),
            _ => None,
        }
    }

    fn node_of(&self, name: &Name) -> Option<NodeId> {
        [(&self.0, 1), (&self.1, 2)].into_iter().find(|(other, _)| *other == name).map(|(_, node)| NodeId([node; 8]))
    }

    fn incarnations(&self, node: &NodeId, lane: Lane, _: Option<&NodeId>) -> Vec<Incarnation> {
        match (node.0[7], lane) {
            (1, Lane::Routine) => vec![Incarnation([7; 4])],
            (2, Lane::Routine) => vec![Incarnation([1; 4]), Incarnation([2; 4])],
            _ => Vec::new(),
        }
    }
}

/// Names, origins, events, sizes, spans, dates, policies, key files: what is understood is shown so that it is understood again.
pub fn words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.as_ref();
    let book = Book(Name::new("lunana-bhu").expect("a name"), Name::new("punakha-hub").expect("a name"));
    if let Ok(node) = naming::parse_node(text, &book) {
        let named = book.name_of(&node).is_some() && !text.starts_with('@');
        assert!(naming::node(&node, &book) == text || !named);
        assert_eq!(naming::parse_node(&naming::node(&node, &book), &book), Ok(node));
    }
    if let Ok(origin) = naming::parse_origin(text, &book) {
        assert_eq!(naming::parse_origin(&naming::origin(&origin, &book), &book), Ok(origin));
        assert_eq!(naming::parse_origin(&naming::short_origin(&origin, &book), &book), Ok(origin));
    }
    if let Ok(event) = naming::parse_event(text, &book) {
        let id = EventId { origin: event.origin, seq: event.seq, digest: event.digest.unwrap_or([0; 8]) };
        let shown = naming::event(&id, event.digest.is_some(), &book);
        assert_eq!(naming::parse_event(&shown, &book), Ok(event));
    }
    if let Ok(name) = Name::new(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(size) = units::parse_size(text) {
        assert_eq!(units::parse_size(&size.to_string()), Ok(size));
        assert!(!units::size(size).is_empty());
    }
    if let Ok(ms) = units::parse_duration_ms(text) {
        assert_eq!(units::parse_duration_ms(&format!("{ms}ms")), Ok(ms));
        assert!(!units::span(ms).is_empty());
    }
    if let Some(ms) = units::parse_date_ms(text) {
        let shown = units::date(ms).expect("what was read can be shown");
        assert_eq!(units::parse_date_ms(&shown), Some(ms));
    }
    let node_of = |text: &str| naming::parse_node(text, &book).ok();
    if let Ok(policy) = Policy::parse(text, node_of) {
        let shown = policy.text(|node| naming::node(node, &book));
        assert_eq!(Policy::parse(&shown, node_of), Ok(policy));
    }
    key_file(bytes);
}

fn key_file(bytes: &[u8]) {
    let (disk, path) = (MemoryDisk::new(), Path::new("/k/node.key"));
    disk.create_folder(Path::new("/k")).expect("a disk in memory takes it");
    zbundle::ports::disk::replace(&disk, path, bytes).expect("a disk in memory takes it");
    if let Ok(Secret::Key(key)) = Secret::read_key_file(&disk, path) {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains(&bundle_format::ids::hex(&*key)), "a key stands in its file as it is");
    }
}

pub fn word_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "lunana-bhu",
        "@0101010101010101",
        "@0303030303030303~01020304/bulk>lunana-bhu:7.d0123456789abcdef",
        "lunana-bhu/routine:41",
        "punakha-hub~01010101/routine>@0101010101010101",
        "64MiB",
        "1.5 GB",
        "18446744073709551615",
        "250ms",
        "1.5h",
        "2026-11-20T09:14:03+06:00",
        "1970-01-01",
        "own,hub",
        "all",
        "lunana-bhu,@0303030303030303",
        "# mine\nzbundle-key-1 abababababababababababababababababababababababababababababababab\n",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
