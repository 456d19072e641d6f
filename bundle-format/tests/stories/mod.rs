//! The fixtures with their stories, and what a reader of bundles owes them (fixtures/README.md). The tests of the program above this crate use it
//! too, with their own roster.
#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::disallowed_methods, reason = "tests read files as people would")]

use bundle_format::error::Code;
use bundle_format::ids::{Hash, Incarnation, NodeId, Origin, from_hex, hex};
use bundle_format::manifest::Manifest;
use bundle_format::open::{OpenError, SealedBundle};
use bundle_format::range::VerifiedRange;
use bundle_format::seal::SealingKey;
use bundle_format::sign::VerifyingKey;
use bundle_format::trust::Trust;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The folder `fixtures/` of the repository.
pub static ROOT: LazyLock<PathBuf> = LazyLock::new(|| repository().join("fixtures"));
/// All rules of SPEC.md, as they are defined there: first thing in a line of a list.
static RULES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let spec = std::fs::read_to_string(repository().join("SPEC.md")).unwrap();
    let rules: BTreeSet<_> = spec.lines().filter_map(|line| line.strip_prefix("- **")?.split("**").next().map(str::to_owned)).collect();
    assert!(rules.len() > 100 && rules.contains("R6.1-a"), "SPEC.md defines its rules in another way now");
    rules
});

fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("fixtures/context.json").is_file()).expect("fixtures/ is above this crate").to_owned()
}

/// One fixture: its bytes, and what its story says of them.
pub struct Fixture<S> {
    pub name: String,
    pub bytes: Vec<u8>,
    pub story: S,
}

/// What every story says.
pub trait Story: DeserializeOwned {
    /// What it is about, or what is wrong with it.
    fn told(&self) -> &str;
    fn rules(&self) -> &[String];
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    story: String,
    rules: Vec<String>,
    keys: Names,
    events: usize,
    sender: Option<String>,
    receipt: Option<u64>,
    chunks: Option<usize>,
    notes: Option<Vec<String>>,
    #[serde(default)]
    range: Vec<Taken>,
}

/// A range, as a story tells it and as it was found.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    origin: String,
    first: u64,
    last: u64,
    h: String,
}

/// Of a bundle that must be refused, or (without keys) of something else.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    why: String,
    rules: Vec<String>,
    expect: String,
    keys: Option<Names>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

impl Story for Accepted {
    fn told(&self) -> &str {
        &self.story
    }
    fn rules(&self) -> &[String] {
        &self.rules
    }
}

impl Story for Refused {
    fn told(&self) -> &str {
        &self.why
    }
    fn rules(&self) -> &[String] {
        &self.rules
    }
}

/// All fixtures of a folder. Every file there is one half of one, none is passed over, and every story is well told.
pub fn fixtures<S: Story>(folder: &str, suffix: &str) -> Vec<Fixture<S>> {
    let folder = ROOT.join(folder);
    let names: BTreeSet<String> = names_in(&folder).into_iter().collect();
    let stems = || names.iter().filter_map(|name| name.strip_suffix(".toml"));
    let halves: BTreeSet<String> = stems().flat_map(|stem| [format!("{stem}.toml"), format!("{stem}.{suffix}")]).collect();
    assert_eq!(names, halves, "{}: each .{suffix} has its .toml, and nothing else lies here", folder.display());
    let read = |stem: &str| {
        let text = std::fs::read_to_string(folder.join(format!("{stem}.toml"))).unwrap();
        let story: S = toml::from_str(&text).unwrap_or_else(|error| panic!("{stem}.toml: {error}"));
        assert!(!story.told().is_empty(), "{stem}: nothing is told");
        assert!(!story.rules().is_empty(), "{stem}: no rule is named");
        for rule in story.rules() {
            assert!(RULES.contains(rule), "{stem}: SPEC.md has no rule {rule}");
        }
        let bytes = std::fs::read(folder.join(format!("{stem}.{suffix}"))).unwrap();
        Fixture { name: stem.to_owned(), bytes, story }
    };
    stems().map(read).collect()
}

/// What lies in a folder, sorted.
pub fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Check each fixture and complain about all that fail, not about the first only.
pub fn check_all<S>(fixtures: &[Fixture<S>], at_least: usize, check: impl Fn(&Fixture<S>) -> Result<(), String>) {
    assert!(fixtures.len() >= at_least, "only {} fixtures, where at least {at_least} must be", fixtures.len());
    let complaints: Vec<_> = fixtures.iter().filter_map(|fixture| check(fixture).err().map(|why| format!("{}: {why}", fixture.name))).collect();
    assert!(complaints.is_empty(), "{} of {} fixtures:\n{}", complaints.len(), fixtures.len(), complaints.join("\n"));
}

/// Whether `code` is the one the story expects.
pub fn check_code(story: &Refused, found: Result<(), (Code, String)>) -> Result<(), String> {
    let expected = Code::from_name(&story.expect).ok_or_else(|| format!("{} is no code", story.expect))?;
    match found {
        Err((code, _)) if code == expected => Ok(()),
        Err((code, why)) => Err(format!("{code} ({why}), not {expected}: {}", story.why)),
        Ok(()) => Err(format!("accepted, not {expected}: {}", story.why)),
    }
}

/// `context.json`: what every reader knows beforehand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    pub domain: String,
    pub authority: Authority,
    pub roster: Vec<Member>,
    pub roster_head: Head,
    pub roster_events: Vec<String>,
    secret_sealing_keys: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    pub node: String,
    pub incarnation: String,
    pub signing: String,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub node: String,
    pub name: String,
    /// A number, or a list of node ids.
    pub policy: serde_json::Value,
    pub keys: Vec<Key>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub number: u64,
    pub signing: String,
    pub sealing: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub seq: u64,
    pub h: String,
}

impl Context {
    pub fn read() -> Self {
        serde_json::from_str(&std::fs::read_to_string(ROOT.join("context.json")).unwrap()).unwrap()
    }

    pub fn authority_key(&self) -> VerifyingKey {
        VerifyingKey::new(bytes(&self.authority.signing)).unwrap()
    }

    pub fn incarnation(&self) -> Incarnation {
        Incarnation(bytes(&self.authority.incarnation))
    }

    pub fn roster_events(&self) -> Vec<Vec<u8>> {
        self.roster_events.iter().map(|event| any_hex(event)).collect()
    }

    /// What the reader called `name` unseals with.
    fn sealing_keys(&self, name: &str) -> Vec<SealingKey> {
        let member = self.roster.iter().find(|member| member.name == name).unwrap_or_else(|| panic!("no reader is called {name}"));
        self.secret_sealing_keys[&member.node].iter().map(|secret| SealingKey::from_bytes(bytes(secret))).collect()
    }
}

/// Of known length, from hex.
pub fn bytes<const N: usize>(text: &str) -> [u8; N] {
    from_hex(text).unwrap_or_else(|| panic!("not {N} bytes in hex: {text}"))
}

/// Of any length, from hex.
pub fn any_hex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes();
    assert!(digits.len().is_multiple_of(2), "an odd number of hex digits");
    digits.chunks(2).map(|pair| bytes::<1>(std::str::from_utf8(pair).unwrap())[0]).collect()
}

/// A roster as the stories speak of it.
pub trait Roll: Trust + Clone {
    /// What people call a node.
    fn name(&self, node: NodeId) -> String;
    /// Whether `key` is the present key of `node`.
    fn is_current(&self, node: NodeId, key: &VerifyingKey) -> bool;
}

/// A bundle that passed every check of SPEC §6.1, with the roster as it is after it.
struct Opened<T> {
    ranges: Vec<VerifiedRange>,
    manifest: Manifest,
    sender: NodeId,
    sender_key: VerifyingKey,
    chunk_count: usize,
    roll: T,
}

fn open<T: Roll>(bundle: &[u8], keys: &[SealingKey], roll: &T) -> Result<Opened<T>, OpenError> {
    let sealed = SealedBundle::read(Cursor::new(bundle))?;
    sealed.check_domain(&roll.domain())?;
    let mut roll = roll.clone();
    let mut verified = sealed.unseal(&keys.iter().collect::<Vec<_>>())?.verify(&mut roll)?;
    let mut ranges = Vec::new();
    while let Some(range) = verified.next_range()? {
        ranges.push(range);
    }
    let (sender, sender_key, chunk_count) = (verified.sender(), verified.sealed().header().sender_key, verified.sealed().chunk_count());
    Ok(Opened { ranges, manifest: verified.finish()?, sender, sender_key, chunk_count, roll })
}

/// It opens for each of its readers and holds what its story says.
pub fn check_accepted<T: Roll>(fixture: &Fixture<Accepted>, context: &Context, roll: &T) -> Result<(), String> {
    let story = &fixture.story;
    for reader in story.keys.all() {
        let opened = open(&fixture.bytes, &context.sealing_keys(reader), roll).map_err(|error| format!("{} ({error})", error.code()))?;
        let name = |node: NodeId| opened.roll.name(node);
        same("ranges", &opened.ranges.iter().map(|range| taken(range, &name)).collect(), &story.range)?;
        same("events", &opened.ranges.iter().map(VerifiedRange::count).sum(), &story.events)?;
        told("sender", &name(opened.sender), story.sender.as_ref())?;
        told("receipt", &opened.manifest.receipt.map(|(_, number)| number), story.receipt.map(Some).as_ref())?;
        told("chunks", &opened.chunk_count, story.chunks.as_ref())?;
        let notes = if opened.roll.is_current(opened.sender, &opened.sender_key) { vec![] } else { vec![Code::Z614.to_string()] };
        told("notes", &notes, story.notes.as_ref())?;
    }
    Ok(())
}

/// It is refused to each of its readers with the code of its first fault.
pub fn check_refused<T: Roll>(fixture: &Fixture<Refused>, context: &Context, roll: &T) -> Result<(), String> {
    let readers = fixture.story.keys.as_ref().ok_or("no reader is named")?;
    readers.all().iter().try_for_each(|reader| {
        let opened = open(&fixture.bytes, &context.sealing_keys(reader), roll);
        check_code(&fixture.story, opened.map(drop).map_err(|error| (error.code(), error.to_string())))
    })
}

/// A range that was found, as a story tells one.
pub fn taken(range: &VerifiedRange, name: &dyn Fn(NodeId) -> String) -> Taken {
    Taken { origin: spell(&range.origin(), name), first: range.first(), last: range.end().seq, h: hex(&range.end().hash.0) }
}

/// An origin as R3.1-f writes it.
fn spell(origin: &Origin, name: &dyn Fn(NodeId) -> String) -> String {
    let audience = origin.audience.map_or(String::new(), |node| format!(">{}", name(node)));
    format!("{}~{}/{}{audience}", name(origin.node), hex(&origin.incarnation.0), origin.lane.name())
}

pub fn same<V: PartialEq + std::fmt::Debug>(what: &str, found: &V, told: &V) -> Result<(), String> {
    if found == told { Ok(()) } else { Err(format!("{what}: {found:?}, not {told:?}")) }
}

fn told<V: PartialEq + std::fmt::Debug>(what: &str, found: &V, told: Option<&V>) -> Result<(), String> {
    told.map_or(Ok(()), |told| same(what, found, told))
}

/// The roster's chain hash at its head, as `context.json` tells it.
pub fn told_head(context: &Context) -> (u64, Hash) {
    (context.roster_head.seq, Hash(bytes(&context.roster_head.h)))
}
