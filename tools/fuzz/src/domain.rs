//! The domain of the fixtures, with every secret: so that what was changed behind a seal or a signature can be sealed and signed again, as a member
//! gone bad would.

use bundle_format::chain::digest;
use bundle_format::envelope::{Header, MAGIC, Recipient, salt_of};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::hpke;
use bundle_format::ids::{Incarnation, Lane, NodeId, Origin, from_hex};
use bundle_format::limits::CHUNK_LEN;
use bundle_format::manifest::Manifest;
use bundle_format::open::{OpenError, SealedBundle};
use bundle_format::seal::SealingKey;
use bundle_format::sign::{SigningKey, VerifyingKey};
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use zbundle::keys::{Pin, Roster};

/// What is signed of a file, and what a content key is sealed under (SPEC §2.2, §2.3).
const FILE_CONTEXT: &[u8] = b"zbundle/1 file\0";
const SEAL_INFO: &[u8] = b"zbundle/1 seal";

/// Who is in the fixtures.
pub struct Domain {
    pub roster: Roster,
    pub roster_events: Vec<Vec<u8>>,
    /// Everybody's sealing secrets.
    pub sealing: Vec<SealingKey>,
    /// Every signing secret, by its public key.
    signing: BTreeMap<[u8; 32], [u8; 32]>,
    hub: SealingKey,
    sender: [u8; 32],
    /// Lives of those who write.
    pub writers: Vec<Origin>,
}

/// It, read once.
pub static DOMAIN: LazyLock<Domain> = LazyLock::new(Domain::read);

/// The folder `fixtures/`.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// The bytes of every fixture in `folder` with this ending, in the order of their names.
pub fn fixture_files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(fixtures().join(folder)).expect("the folder of fixtures is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a fixture can be read")).collect()
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("the field is a text")
}

fn bytes_of<const N: usize>(value: &Value, field: &str) -> [u8; N] {
    from_hex(text_of(value, field)).expect("the field is that many bytes in hex")
}

pub fn unhex(text: &str) -> Vec<u8> {
    let text: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    text.chunks_exact(2).map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("two digits")).collect()
}

impl Domain {
    fn read() -> Self {
        let context = std::fs::read(fixtures().join("context.json")).expect("fixtures/context.json is there");
        let context: Value = serde_json::from_slice(&context).expect("it is JSON");
        let list = |field: &str| context[field].as_array().expect("the field is a list").clone();
        let authority_key = VerifyingKey::new(bytes_of(&context["authority"], "signing")).expect("the authority's key is one");
        let mut roster = Roster::new(Pin { authority_key, incarnation: Incarnation(bytes_of(&context["authority"], "incarnation")) });
        let roster_events: Vec<_> = list("roster_events").iter().map(|event| unhex(event.as_str().expect("hex"))).collect();
        for event in &roster_events {
            let position = roster.head().then(&digest(event));
            roster.apply(position, &Event::from_bytes(event).expect("an event")).expect("it takes effect");
        }
        let told = context["secret_sealing_keys"].as_object().expect("secrets by node");
        let secrets = |node: &str| {
            let secrets = told.get(node).and_then(Value::as_array).cloned().unwrap_or_default();
            secrets.iter().map(|secret| SealingKey::from_bytes(from_hex(secret.as_str().unwrap_or_default()).expect("a secret"))).collect::<Vec<_>>()
        };
        let people = People::read();
        let hub = secrets(text_of(&context["authority"], "node")).pop().expect("the hub has a key");
        let sealing = told.keys().flat_map(|node| secrets(node)).collect();
        Self { roster, roster_events, sealing, hub, sender: people.sender, signing: people.signing, writers: people.writers }
    }

    /// The key pair of a member's key, when its secret is in the fixtures.
    pub fn signing_key(&self, public: &VerifyingKey) -> Option<SigningKey> {
        self.signing.get(public.as_bytes()).map(SigningKey::from_seed)
    }
}

/// The files of `keys/`, as far as they are needed.
struct People {
    signing: BTreeMap<[u8; 32], [u8; 32]>,
    sender: [u8; 32],
    writers: Vec<Origin>,
}

impl People {
    fn read() -> Self {
        let mut people = Self { signing: BTreeMap::new(), sender: [0; 32], writers: Vec::new() };
        for bytes in fixture_files("keys", "toml") {
            let text = String::from_utf8(bytes).expect("a text");
            let fields = |name: &str| {
                let values = text.lines().filter_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
                values.map(|value| value.trim().trim_matches('"').to_owned()).collect::<Vec<_>>()
            };
            let seeds: Vec<[u8; 32]> = fields("signing_seed").iter().filter_map(|seed| from_hex(seed)).collect();
            let node = NodeId(from_hex(&fields("node")[0]).expect("a node"));
            let incarnation = Incarnation(from_hex(&fields("incarnation")[0]).expect("a life"));
            people.writers.extend([Lane::Control, Lane::Routine].map(|lane| Origin { node, incarnation, lane, audience: None }));
            people.signing.extend(seeds.iter().map(|seed| (*SigningKey::from_seed(seed).verifying_key().as_bytes(), *seed)));
            if fields("name") == ["lunana-bhu"] {
                people.sender = seeds[0];
            }
        }
        people
    }
}

fn chunk_cipher(content_key: &[u8; 32], header: &[u8]) -> ChaCha20Poly1305 {
    let mut key = [0; 32];
    let hkdf = hkdf::Hkdf::<sha2::Sha256>::from_prk(content_key).expect("32 bytes are enough");
    hkdf.expand_multi_info(&[b"zbundle/1 chunks\0", &salt_of(header).0], &mut key).expect("32 bytes can be expanded");
    ChaCha20Poly1305::new(&Key::from(key))
}

fn chunk_nonce(index: usize, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&u32::try_from(index).expect("few chunks").to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::from(nonce)
}

fn bstr(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(&ciborium::Value::Bytes(bytes.to_vec()), &mut out).expect("a Vec takes every write");
    out
}

/// A file with any inner bytes, sealed for the hub and signed by a clinic: everything around them is right (SPEC §4.1, §5).
///
/// # Panics
/// Never: the fixtures are what they are.
pub fn seal_inner(inner: &[u8]) -> Vec<u8> {
    const CONTENT_KEY: [u8; 32] = [5; 32];
    let key = SigningKey::from_seed(&DOMAIN.sender);
    let sealed_key = hpke::seal(&DOMAIN.hub.public().0, SEAL_INFO, &CONTENT_KEY, &[9; 32]).expect("the hub's key is good");
    let header = Header {
        created: None,
        domain_hint: DOMAIN.roster.domain().hint(),
        best_lane: None,
        sender: key.verifying_key().node_id(),
        sender_key: key.verifying_key(),
        recipients: vec![Recipient { hint: Recipient::hint_of(&sealed_key, &DOMAIN.hub.public().0), sealed_key }],
    };
    let header = header.to_bytes();
    let cipher = chunk_cipher(&CONTENT_KEY, &header);
    let mut file = [&MAGIC[..], &header].concat();
    let chunks: Vec<_> = inner.chunks(CHUNK_LEN).collect();
    for (index, chunk) in chunks.iter().enumerate() {
        let nonce = chunk_nonce(index, index + 1 == chunks.len());
        file.extend(bstr(&cipher.encrypt(&nonce, *chunk).expect("a chunk is short")));
    }
    signed(file)
}

/// `body` with a good trailer by the clinic, whatever the body is.
pub fn signed(mut body: Vec<u8>) -> Vec<u8> {
    let digest: [u8; 32] = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(&body)).into();
    let signature = SigningKey::from_seed(&DOMAIN.sender).sign(FILE_CONTEXT, &digest);
    body.push(0x82);
    body.extend(bstr(&signature.0));
    let crc = crc32fast::hash(&body);
    body.extend(bstr(&crc.to_be_bytes()));
    body
}

/// The inner bytes of a good file that one of the fixtures' secrets opens.
pub fn unseal_inner(file: &[u8]) -> Option<Vec<u8>> {
    let sealed = SealedBundle::read(Cursor::new(file)).ok()?;
    let header = sealed.header().clone();
    let content_key = header.recipients.iter().find_map(|recipient| {
        let key = DOMAIN.sealing.iter().find(|key| recipient.is_for(&key.public().0))?;
        hpke::open(&key.bytes(), SEAL_INFO, &recipient.sealed_key).ok()
    })?;
    let mut rest = &file[MAGIC.len()..];
    let _: ciborium::Value = ciborium::from_reader(&mut rest).ok()?;
    let header = &file[MAGIC.len()..file.len() - rest.len()];
    let (cipher, mut inner) = (chunk_cipher(&content_key, header), Vec::new());
    for index in 0..sealed.chunk_count() {
        let ciborium::Value::Bytes(chunk) = ciborium::from_reader(&mut rest).ok()? else { return None };
        inner.extend(cipher.decrypt(&chunk_nonce(index, index + 1 == sealed.chunk_count()), &chunk[..]).ok()?);
    }
    Some(inner)
}

/// What came out of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// What its sender told.
    pub manifest: Manifest,
    /// Each range: of whom, from where, and the events' bytes.
    pub ranges: Vec<(Origin, u64, Vec<Vec<u8>>)>,
}

/// Open `file` as any of the fixtures' members may, with everything SPEC §6.1 asks for.
///
/// # Errors
/// The code of the first fault.
///
/// # Panics
/// When what was verified is not what is then handed out, or is not a history.
pub fn open_bundle(file: &[u8]) -> Result<Inside, Code> {
    let code = |error: OpenError| error.code();
    let sealed = SealedBundle::read(Cursor::new(file)).map_err(code)?;
    let unsealed = sealed.unseal(&DOMAIN.sealing.iter().collect::<Vec<_>>()).map_err(code)?;
    let mut roster = DOMAIN.roster.clone();
    let mut verified = unsealed.verify(&mut roster).map_err(code)?;
    let mut ranges = Vec::new();
    while let Some(range) = verified.next_range().expect("what was verified is handed out") {
        let events: Vec<Vec<u8>> = range.events().map(|(_, event)| event.to_vec()).collect();
        let mut position = range.start();
        for event in &events {
            Event::from_bytes(event).expect("every event handed out is one");
            position = position.then(&digest(event));
        }
        assert_eq!(position, range.end(), "the chain leads where the checkpoint stands");
        assert!(!range.checkpoints().is_empty() && range.checkpoints().iter().any(|(at, _)| *at == position), "and it is signed there");
        ranges.push((range.origin(), range.start().seq + 1, events));
    }
    let manifest = verified.finish().expect("what was verified is read to its end");
    Ok(Inside { manifest, ranges })
}
