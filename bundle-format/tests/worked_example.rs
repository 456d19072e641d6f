//! The file of SPEC §4.7, byte for byte: every hash there was computed without this crate.

use bundle_format::chain::{Position, Run, digest, log_id};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{Incarnation, Lane, Origin, hex};
use bundle_format::manifest::Manifest;
use bundle_format::range::{Coding, Range};
use bundle_format::seal::{HeaderPlan, Sealer, SealingKey};
use bundle_format::sign::SigningKey;
use bundle_format::vector::Told;
use sha2::{Digest as _, Sha256};

fn counting_from(first: u8) -> [u8; 32] {
    std::array::from_fn(|index| first + u8::try_from(index).unwrap())
}

#[test]
fn the_worked_example_is_what_we_seal() {
    let authority = SigningKey::from_seed(&counting_from(0x00));
    let clinic = SigningKey::from_seed(&counting_from(0x20));
    let hub = SealingKey::from_bytes(counting_from(0x40));
    let (domain, node) = (authority.verifying_key().domain_id(), clinic.verifying_key().node_id());
    assert_eq!(hex(clinic.verifying_key().as_bytes()), "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7");
    assert_eq!(hex(&hub.public().0), "79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a");
    assert_eq!(node.to_string(), "8352067c6425a01d");
    assert_eq!(domain.to_string(), "9a7025a0744e72be9a40570dddad84685f4f9991367b72688eb9493a087ff2cd");

    let incarnation = Incarnation([0x7f, 0x3a, 0x91, 0xc2]);
    let origin = Origin { node, incarnation, lane: Lane::Routine, audience: None };
    let ext = Ext { record_key: Some("Patient/BT-1"), ..Ext::default() };
    let event = Event { hlc: Hlc(1_795_219_200_000 << 16), kind: "vitals", payload: br#"{"pulse":72}"#, ext }.to_bytes().unwrap();
    let event_hex = "841b01a1fb6718000000".to_owned() + "66766974616c73" + "4c7b2270756c7365223a37327d" + "a1016c50617469656e742f42542d31";
    assert_eq!(hex(&event), event_hex);
    assert_eq!(log_id(&origin).to_string(), "435537b208c0f9155ffcf25b3387815ae94fe030b44ac03d41039e764b4e5e47");
    assert_eq!(digest(&event).to_string(), "48fa5d714250f038df4536299a6060c6657c0bc24b6f2ca47a823630cd796682");
    let run = Run::link(Position::start(&origin), vec![&event]);
    assert_eq!(run.end().hash.to_string(), "436dbdae9ead129ebcff989c9f16e26fc893b65e6f46739a2630a698381a1aae");
    let checkpoint = Checkpoint::sign(&clinic, &domain, &origin, 1, &run.end());
    let signature = "002a2ecfd8e3f77d30d3e6f92124da76ad80399e42ba9a34364b95ea1cc1eb73".to_owned()
        + "3063065e1b79bd8124737bb8e45e5edcdad18dd77320ad7d13bf1566d2266d00";
    assert_eq!(hex(&checkpoint.signature.0), signature);

    let plan =
        HeaderPlan { domain, sender: node, signing_key: &clinic, recipients: vec![hub.public()], created: None, best_lane: Some(Lane::Routine) };
    let mut secrets = [counting_from(0x60), counting_from(0x80)].into_iter();
    let mut bundle = Sealer::new(Vec::new(), &plan, &mut |bytes| bytes.copy_from_slice(&secrets.next().unwrap())).unwrap();
    assert_eq!(hex(&bundle.salt().0), "fa2ac2652cd4ec45aaec26f758cddecc521558dae9ff8b56d0a8f06d23488dac");
    let told = Told::new(&bundle.salt(), origin, &run.end());
    bundle.manifest(&Manifest::new(vec![told], Some((incarnation, 1)), vec![], [origin])).unwrap();
    let range = Range::build(origin, &run, &[(1, checkpoint)], Coding::Stored, &mut Compressor::new().unwrap()).unwrap();
    bundle.range(&range).unwrap();
    let (file, _) = bundle.finish().unwrap();
    assert_eq!(file.len(), 464);
    assert_eq!(hex(&Sha256::digest(&file)), "15d8d18da6b6b4905bcda21aa41ea9410b8b69e8689ca6d36712f88d936f219b");
}
