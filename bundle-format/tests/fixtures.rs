//! Every fixture of `fixtures/bundles` and `fixtures/events`, written from SPEC.md by a program that shares nothing with this one. The runner walks
//! the folders, so none is forgotten.
#![allow(clippy::disallowed_methods, reason = "reads files itself: it is no part of the product")]

use bundle_format::cbor::{Keys, Reader};
use bundle_format::chain::{Position, digest};
use bundle_format::event::Event;
use bundle_format::ids::{DomainId, Hash, Lane, NodeId, Origin, from_hex};
use bundle_format::open::{OpenError, SealedBundle};
use bundle_format::range::{RangeError, VerifiedRange};
use bundle_format::seal::SealingKey;
use bundle_format::sign::VerifyingKey;
use bundle_format::trust::{NoHistory, Trust};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// The fixtures of a folder with their stories.
fn stories(name: &str, extension: &str) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {name}");
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path.with_extension("toml")).unwrap())).collect()
}

/// The values of `key = value` in a story, in their order.
fn fields<'s>(story: &'s str, key: &str) -> Vec<&'s str> {
    let value = |line: &'s str| Some(line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().trim_matches('"'));
    story.lines().filter_map(value).collect()
}

/// What every reader knows beforehand, and what the roster ranges it meets have taught it.
#[derive(Clone)]
struct Known {
    domain: DomainId,
    roster: Origin,
    head: Position,
    keys: BTreeMap<(NodeId, u64), VerifyingKey>,
    secrets: BTreeMap<NodeId, Vec<SealingKey>>,
    names: BTreeMap<String, NodeId>,
}

impl Known {
    fn read() -> Self {
        let context: Value = serde_json::from_str(&fs::read_to_string(folder("context.json")).unwrap()).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let node = |value: &Value| NodeId(from_hex(&text(value)).unwrap());
        let authority = &context["authority"];
        let incarnation = bundle_format::ids::Incarnation(from_hex(&text(&authority["incarnation"])).unwrap());
        let roster = Origin { node: node(&authority["node"]), incarnation, lane: Lane::Control, audience: None };
        let head =
            Position { seq: context["roster_head"]["seq"].as_u64().unwrap(), hash: Hash(from_hex(&text(&context["roster_head"]["h"])).unwrap()) };
        let (mut keys, mut names) = (BTreeMap::new(), BTreeMap::new());
        for member in context["roster"].as_array().unwrap() {
            names.insert(text(&member["name"]), node(&member["node"]));
            for key in member["keys"].as_array().unwrap() {
                let signing = VerifyingKey::new(from_hex(&text(&key["signing"])).unwrap()).unwrap();
                keys.insert((node(&member["node"]), key["number"].as_u64().unwrap()), signing);
            }
        }
        let secret = |value: &Value| SealingKey::from_bytes(from_hex(&text(value)).unwrap());
        let secrets = context["secret_sealing_keys"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(reader, secrets)| (NodeId(from_hex(reader).unwrap()), secrets.as_array().unwrap().iter().map(secret).collect()));
        let domain = DomainId(from_hex(&text(&context["domain"])).unwrap());
        Self { domain, roster, head, keys, secrets: secrets.collect(), names }
    }

    /// What an enrolment or a rekey says of keys; the whole fold lives above this crate.
    fn learn_event(&mut self, event: &Event<'_>) -> Option<()> {
        let enrols = event.kind == "zb/enrol";
        if !enrols && event.kind != "zb/rekey" {
            return None;
        }
        let mut reader = Reader::new(event.payload);
        let mut keys = reader.map().ok()?;
        let (mut node, mut number, mut signing) = (None, 1, None);
        while let Some(key) = keys.next(&mut reader).ok()? {
            match (key, enrols) {
                (0, _) => node = Some(NodeId(reader.bytes_exact().ok()?)),
                (2, true) => {
                    self.names.insert(reader.text().ok()?.to_owned(), node?);
                }
                (2, false) => number = reader.uint().ok()?,
                (4, _) => signing = Some(VerifyingKey::new(reader.bytes_exact().ok()?).ok()?),
                (6 | 8, _) => {
                    reader.any().ok()?;
                }
                _ => Keys::unknown(key, &mut reader).ok()?,
            }
        }
        self.keys.entry((node?, number)).or_insert(signing?);
        Some(())
    }
}

impl Trust for Known {
    fn domain(&self) -> DomainId {
        self.domain
    }
    fn signer(&self, node: &NodeId, key_number: u64) -> Option<VerifyingKey> {
        self.keys.get(&(*node, key_number)).copied()
    }
    fn is_sender(&self, node: &NodeId, key: &VerifyingKey) -> bool {
        self.keys.iter().any(|((other, _), known)| other == node && known == key)
    }
    fn is_roster(&self, origin: &Origin) -> bool {
        *origin == self.roster
    }
    fn learn(&mut self, range: &VerifiedRange) {
        let Some(run) = range.run_after(self.head.seq).filter(|run| run.start() == self.head) else { return };
        for event in run.events() {
            self.learn_event(&Event::from_bytes(event).unwrap());
        }
        self.head = run.end();
    }
}

/// Open `path` as `reader`: every range's place and end, and the roster as it is then known.
fn open(path: &Path, reader: &str) -> Result<(Vec<VerifiedRange>, Known), OpenError> {
    let mut known = Known::read();
    let sealed = SealedBundle::read(File::open(path)?)?;
    sealed.check_domain(&known.domain)?;
    let node = known.names[reader];
    let secrets = known.secrets[&node].clone();
    let mut verified = sealed.unseal(&secrets.iter().collect::<Vec<_>>())?.verify(&mut known, &mut NoHistory)?;
    let mut ranges = Vec::new();
    while let Some(range) = verified.next_range()? {
        ranges.push(range);
    }
    verified.finish()?;
    Ok((ranges, known))
}

#[test]
fn every_accepted_bundle_opens_as_its_story_tells() {
    for (path, story) in stories("bundles/accept", "zb") {
        let keys = fields(&story, "keys")[0].trim_matches(['[', ']']);
        for reader in keys.split(',').map(|name| name.trim().trim_matches('"')) {
            let (ranges, known) = open(&path, reader).unwrap_or_else(|error| panic!("{}: {} {error}", path.display(), error.code()));
            let name = |node: NodeId| known.names.iter().find(|(_, other)| **other == node).map_or(format!("@{node}"), |(name, _)| name.clone());
            let shown = |origin: &Origin| {
                let audience = origin.audience.map_or(String::new(), |node| format!(">{}", name(node)));
                format!("{}~{}/{}{audience}", name(origin.node), origin.incarnation, origin.lane.name())
            };
            let found: Vec<_> = ranges.iter().map(|range| (shown(&range.origin()), range.end().hash.to_string())).collect();
            let told: Vec<_> =
                fields(&story, "origin").into_iter().zip(fields(&story, "h")).map(|(origin, h)| (origin.to_owned(), h.to_owned())).collect();
            assert_eq!(found, told, "{}", path.display());
            let told = |key: &str| -> Vec<u64> { fields(&story, key).into_iter().map(|number| number.parse().unwrap()).collect() };
            assert_eq!(ranges.iter().map(VerifiedRange::first).collect::<Vec<_>>(), told("first"), "{}", path.display());
            assert_eq!(ranges.iter().map(|range| range.end().seq).collect::<Vec<_>>(), told("last"), "{}", path.display());
            assert_eq!(vec![ranges.iter().map(|range| range.count() as u64).sum::<u64>()], told("events"), "{}", path.display());
        }
    }
}

#[test]
fn every_rejected_bundle_is_refused_with_its_code() {
    let mut wrong = Vec::new();
    for (path, story) in stories("bundles/reject", "zb") {
        let found = open(&path, fields(&story, "keys")[0]);
        let code = found.as_ref().map_or_else(|error| error.code().as_str(), |_| "taken");
        if code != fields(&story, "expect")[0] {
            wrong.push(format!(
                "{}: {code}, not {}: {found:?}",
                path.display(),
                fields(&story, "expect")[0],
                found = found.map(|(ranges, _)| ranges)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn unhex(text: &str) -> Vec<u8> {
    text.trim().as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn every_event_is_judged_as_its_story_tells() {
    for (path, story) in stories("events/accept", "hex") {
        let bytes = unhex(&fs::read_to_string(&path).unwrap());
        let event = Event::from_bytes(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(fields(&story, "digest"), [digest(&bytes).to_string()], "{}", path.display());
        let again = event.to_bytes().unwrap();
        if again.len() == bytes.len() {
            assert_eq!(again, bytes, "{}: one event, one spelling, unless it has keys we do not know", path.display());
        }
    }
    for (path, story) in stories("events/reject", "hex") {
        let error = Event::from_bytes(&unhex(&fs::read_to_string(&path).unwrap())).expect_err(&path.display().to_string());
        let code = RangeError::Event { seq: 1, error }.code();
        assert_eq!(fields(&story, "expect"), [code.as_str()], "{}: {error}", path.display());
    }
}
