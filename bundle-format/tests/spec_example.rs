//! The worked examples of SPEC §4.7 and §7.10: whoever follows the page byte by byte gets the file that we write, and says what we say.

use bundle_format::chain::{Run, log_id};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, Origin, hex};
use bundle_format::logs::LogTable;
use bundle_format::manifest::Manifest;
use bundle_format::message::{Hello, Message};
use bundle_format::open::SealedBundle;
use bundle_format::range::{Coding, Range};
use bundle_format::seal::{HeaderPlan, Sealer, SealingKey};
use bundle_format::sign::SigningKey;
use bundle_format::vector::{Salt, Told};
use bundle_format::{chain, chain::Position};
use sha2::{Digest as _, Sha256};

/// 32 bytes counting up from `first`.
fn counting(first: u8) -> [u8; 32] {
    std::array::from_fn(|i| first + u8::try_from(i).expect("32 fit"))
}

#[test]
fn the_worked_example_is_what_we_write() {
    let authority = SigningKey::from_seed(&counting(0x00));
    let clinic = SigningKey::from_seed(&counting(0x20));
    let hub = SealingKey::from_bytes(counting(0x40));
    let domain = authority.verifying_key().domain_id();
    let node = clinic.verifying_key().node_id();
    let incarnation = Incarnation([0x7f, 0x3a, 0x91, 0xc2]);
    let origin = Origin { node, incarnation, lane: Lane::Routine, audience: None };

    let ext = Ext { record_key: Some("Patient/BT-1"), ..Ext::default() };
    let event = Event { hlc: Hlc(1_795_219_200_000 << 16), kind: "vitals", payload: br#"{"pulse":72}"#, ext }.to_bytes().expect("a small event");
    let run = Run::link(Position::start(&origin), vec![&event]);
    let checkpoint = Checkpoint::sign(&clinic, &domain, &origin, 1, &run.end());
    assert_eq!(log_id(&origin).to_string(), "435537b208c0f9155ffcf25b3387815ae94fe030b44ac03d41039e764b4e5e47");
    assert_eq!(chain::digest(&event).to_string(), "48fa5d714250f038df4536299a6060c6657c0bc24b6f2ca47a823630cd796682");
    assert_eq!(run.end().hash.to_string(), "436dbdae9ead129ebcff989c9f16e26fc893b65e6f46739a2630a698381a1aae");

    let plan =
        HeaderPlan { domain, sender: node, signing_key: &clinic, recipients: vec![hub.public()], created: None, best_lane: Some(Lane::Routine) };
    let mut drawn = [0x60, 0x80].into_iter();
    let mut sealer =
        Sealer::new(Vec::new(), &plan, &mut |bytes| bytes.copy_from_slice(&counting(drawn.next().expect("two draws")))).expect("a usable key");
    let told = Told::new(&sealer.salt(), origin, &run.end());
    sealer.manifest(&Manifest::new(vec![told], Some((incarnation, 1)), vec![], [origin])).expect("its table is whole");
    let mut compressor = Compressor::new().expect("memory");
    sealer.range(&Range::build(origin, &run, &[(1, checkpoint)], Coding::Stored, &mut compressor).expect("stored")).expect("it fits");
    let (file, written) = sealer.finish().expect("a Vec takes every write");

    assert_eq!(written.len, 464);
    assert_eq!(hex(&Sha256::digest(&file)), "15d8d18da6b6b4905bcda21aa41ea9410b8b69e8689ca6d36712f88d936f219b");
    let found = SealedBundle::read(std::io::Cursor::new(&file)).expect("what we write we read");
    assert!(found.unseal(&[&hub]).is_ok());
}

#[test]
fn the_worked_link_is_what_we_say() {
    let (authority, clinic) = (SigningKey::from_seed(&counting(0x00)), SigningKey::from_seed(&counting(0x20)));
    let incarnation = Incarnation([0x7f, 0x3a, 0x91, 0xc2]);
    let origin = Origin { node: clinic.verifying_key().node_id(), incarnation, lane: Lane::Routine, audience: None };
    let ext = Ext { record_key: Some("Patient/BT-1"), ..Ext::default() };
    let event = Event { hlc: Hlc(1_795_219_200_000 << 16), kind: "vitals", payload: br#"{"pulse":72}"#, ext }.to_bytes().expect("a small event");
    let run = Run::link(Position::start(&origin), vec![&event]);
    let checkpoint = Checkpoint::sign(&clinic, &authority.verifying_key().domain_id(), &origin, 1, &run.end());

    let told = Told::new(&Salt(counting(0xc0)), origin, &run.end());
    let manifest = Manifest::new(vec![told], Some((incarnation, 2)), vec![], []);
    let mut numbers = LogTable::default();
    let mut said = Message::Hello(Hello { more: false, window: 65_536, take: None, manifest }).to_bytes(&numbers);
    assert_eq!(said.len(), 49);
    numbers.push(origin);
    let mut compressor = Compressor::new().expect("memory");
    let range = Range::build(origin, &run, &[(1, checkpoint)], Coding::Stored, &mut compressor).expect("stored");
    said.extend(Message::Range(Range { base: None, ..range }).to_bytes(&numbers));
    assert_eq!(said.len(), 49 + 136);
    said.extend(Message::Done(0).to_bytes(&numbers));
    assert_eq!(hex(&Sha256::digest(&said)), "32a25c727e7cf4f7a8b109fd4e1345955482f155c9e961838e8f7552756ffae0");
    assert_eq!(hex(&Message::Ack(vec![(0, 1)]).to_bytes(&numbers)), "4483020001");
}
