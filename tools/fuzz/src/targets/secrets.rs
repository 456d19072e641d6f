//! What a node keeps beside its log, and what it says to join: keyring, requests, join files, small records.

use crate::domain::{DOMAIN, fixture_files};
use crate::hand::Hand;
use bundle_format::cbor::{self, Bytes};
use bundle_format::ids::{Incarnation, Lane, Name, NodeId, Origin};
use bundle_format::vector::{Salt, Tag, Told};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use zbundle::keys::{Join, Keyring, Lock, Request, Secret};
use zbundle::node::peers::{Link, Peer, Peers, Receipt};
use zbundle::node::record::Recalled;
use zbundle::node::state::State;
use zbundle::ports::clock::FakeClock;
use zbundle::ports::entropy::SeededEntropy;
use zbundle::ports::{Disk, MemoryDisk};

const KEY: [u8; 32] = [7; 32];

fn entropy() -> SeededEntropy {
    SeededEntropy(Cell::new(5))
}

fn secret() -> Secret {
    Secret::Key(KEY.into())
}

/// `body` with the checksum that the node's small files end with.
fn summed(body: &[u8]) -> Vec<u8> {
    [body, &crc32fast::hash(body).to_be_bytes()].concat()
}

/// SPEC §8.6. The first byte chooses: a file as it is, one with a right checksum, or an inside that is sealed under the right key.
pub fn keyring(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let file = match choice % 3 {
        0 => bytes.to_vec(),
        1 => summed(bytes),
        _ => sealed_keyring(bytes),
    };
    let Ok((keyring, lock)) = Keyring::from_bytes(&file, &secret(), Path::new("keyring")) else { return };
    let again = keyring.to_bytes(&lock, &entropy());
    let (reread, _) = Keyring::from_bytes(&again, &secret(), Path::new("keyring")).expect("what was read can be written");
    assert_eq!(reread.to_bytes(&lock, &entropy()), again);
    let _ = (keyring.current(), keyring.signing(), keyring.sealing_keys(), keyring.name_key());
}

/// `plain` as the inside of a keyring, under our key.
fn sealed_keyring(plain: &[u8]) -> Vec<u8> {
    let salt = [3; 32];
    let head = [&[0x85][..], &cbor::to_vec("zbundle/1 keyring"), &cbor::to_vec(&1u8), &cbor::to_vec(&[0u8]), &cbor::to_vec(&Bytes(&salt))].concat();
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(&salt), &KEY).expand(b"zbundle/1 keyring", &mut key).expect("32 bytes can be expanded");
    let sealed = ChaCha20Poly1305::new(&Key::from(key)).encrypt(&Nonce::default(), Payload { msg: plain, aad: &head }).expect("it is short");
    summed(&[head, cbor::to_vec(&Bytes(&sealed))].concat())
}

pub fn keyring_seeds() -> Vec<Vec<u8>> {
    let name = Name::new("ada").expect("a name");
    let lock = Lock::new(&secret(), &entropy());
    let mut hub = Keyring::generate_authority(name.clone(), &entropy());
    hub.prepare_rekey(&entropy());
    hub.add_data_key(&entropy());
    hub.begin_incarnation(&SeededEntropy(Cell::new(6)));
    let files = [Keyring::generate(name, &entropy()).to_bytes(&lock, &entropy()), hub.to_bytes(&lock, &entropy())];
    let mut seeds = Vec::new();
    for file in files {
        let plain = keyring_inside(&file);
        let body = &file[..file.len() - 4];
        seeds.extend([[&[0][..], &file].concat(), [&[1][..], body].concat(), [&[2][..], &plain].concat()]);
    }
    seeds
}

/// The inside of a keyring under our key.
fn keyring_inside(file: &[u8]) -> Vec<u8> {
    let value: Vec<ciborium::Value> = ciborium::from_reader(&file[..file.len() - 4]).expect("a keyring is CBOR");
    let (salt, sealed) = (value[3].as_bytes().expect("a salt"), value[4].as_bytes().expect("the inside"));
    let aad = &file[..file.len() - 4 - cbor::to_vec(&Bytes(sealed)).len()];
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(Some(salt), &KEY).expand(b"zbundle/1 keyring", &mut key).expect("32 bytes can be expanded");
    ChaCha20Poly1305::new(&Key::from(key)).decrypt(&Nonce::default(), Payload { msg: sealed, aad }).expect("it is ours")
}

/// SPEC §8.5: the same bytes as a request and as a join file.
pub fn request(bytes: &[u8]) {
    if let Ok(request) = Request::read(bytes) {
        assert_eq!(request.bytes(), bytes, "a request is kept as it came: the six words are of its bytes");
        let outgoing = DOMAIN.roster.signer(&request.node, request.key_number.saturating_sub(1));
        let _ = request.old_signature_fits(outgoing.as_ref());
    }
    let Ok(join) = Join::read(bytes) else { return };
    let again = join.to_bytes();
    assert_eq!(Join::read(&again).as_ref(), Ok(&join));
    assert!(again == bytes || again.len() < bytes.len(), "one value has one spelling");
    if let Ok((roster, ranges)) = join.prove() {
        let last = ranges.last().expect("a roster has a first event").end();
        assert_eq!(roster.head(), last, "what is proved is folded to its end");
    }
}

pub fn request_seeds() -> Vec<Vec<u8>> {
    [fixture_files("requests/accept", "bin"), fixture_files("requests/reject", "bin")].concat()
}

/// SPEC §10.2: the file `state` and the files of peers. The first byte chooses which, and whether the checksum is made right.
pub fn records(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let disk = MemoryDisk::new();
    let (folder, node) = (Path::new("/n"), NodeId([1; 8]));
    disk.create_folder(folder).expect("a disk in memory takes it");
    let file = if choice / 2 % 2 == 0 { summed(bytes) } else { bytes.to_vec() };
    let path = if choice % 2 == 0 { folder.join("state") } else { folder.join(node.to_string()) };
    zbundle::ports::disk::replace(&disk, &path, &file).expect("a disk in memory takes it");
    if choice % 2 == 0 {
        let Ok(Recalled::Whole(state)) = State::recall(&disk, &path) else { return };
        state.save(&disk, &path).expect("a disk in memory takes it");
        assert!(matches!(State::recall(&disk, &path), Ok(Recalled::Whole(again)) if again == state), "it is what we wrote");
        return;
    }
    let peers = Peers::at(folder, Rc::new(FakeClock::default()));
    let Ok(mut peer) = peers.load(&disk, &node) else { return };
    peers.save(&disk, &node, &peer).expect("a disk in memory takes it");
    assert_eq!(peers.load(&disk, &node).expect("it is what we wrote"), peer);
    assert_eq!(peers.all(&disk).expect("and the only one"), [(node, peer.clone())]);
    peer.link.spend(peer.link.day, u64::MAX);
    if let Some(receipt) = peer.receipt.clone() {
        let _ = peer.renew(Receipt { incarnation: Incarnation([0xaa; 4]), number: 1, ..receipt });
    }
}

pub fn record_seeds() -> Vec<Vec<u8>> {
    let disk = MemoryDisk::new();
    let (folder, node) = (Path::new("/n"), NodeId([1; 8]));
    let origin = Origin { node, incarnation: Incarnation([7; 4]), lane: Lane::Routine, audience: Some(node) };
    let life = Incarnation([2; 4]);
    let told = Told { origin, seq: 9, tag: Tag([1; 4]) };
    let receipt = Some(Receipt { incarnation: life, number: 4, salt: Salt([8; 32]), vector: vec![told] });
    let link = Link {
        address: Some("hub:7070".into()),
        rate: Some(2900),
        round_trip_ms: 600,
        settled_ms: 9,
        day: 3,
        day_bytes: 77,
        earlier_day: Some(2),
        granted: None,
        own_speed: None,
    };
    let mut peer = Peer { receipt, retired: vec![life], sent: [origin].into(), answer_due: true, heard_ms: 5, link, ..Peer::default() };
    peer.rhythm.hear(zbundle::node::radar::Path::Link, 5, 90_000_000);
    let state = State { receipt_number: 4, open_lives: vec![life], alive_due: true, alive_ms: 9, ..State::default() };
    let peers = Peers::at(folder, Rc::new(FakeClock::default()));
    peers.save(&disk, &node, &peer).expect("a disk in memory takes it");
    peers.save(&disk, &NodeId([2; 8]), &Peer::default()).expect("a disk in memory takes it");
    state.save(&disk, &folder.join("state")).expect("a disk in memory takes it");
    let body = |name: &str| {
        let bytes = disk.bytes(&folder.join(name)).expect("it was written");
        bytes[..bytes.len() - 4].to_vec()
    };
    let peers = [node, NodeId([2; 8])].map(|node| [&[1][..], &body(&node.to_string())].concat());
    peers.into_iter().chain([[&[0][..], &body("state")].concat()]).collect()
}

/// So that a hand can make names, too.
pub fn name_from(hand: &mut Hand<'_>) -> String {
    String::from_utf8_lossy(hand.piece()).into_owned()
}
