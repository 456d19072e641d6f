//! A hub whose disk fails while others talk to it: what it acknowledges is stored, whatever else it has lost (R10.4-a).

use crate::hostile::range_of;
use crate::lab::{Hand, Lab, count, run};
use crate::world::World;
use bundle_format::compress::Codec;
use bundle_format::error::Code;
use bundle_format::ids::{Lane, Origin};
use bundle_format::message::Message;
use bundle_format::mix;
use bundle_format::range::Range;
use std::io;
use std::rc::Rc;
use tokio::task::{spawn_local, yield_now};
use zbundle::keys::Policy;
use zbundle::node::Node;
use zbundle::node::local::About;
use zbundle::ports::MemoryDisk;
use zbundle::ports::memory_disk::{Fault, Operation};
use zbundle::ports::store::Stream;

/// Two ranges come together, and the second is decoded between the turns of the node. Meanwhile another's sync fails, and what was taken of the first is
/// gone; the second is taken by the node that was opened anew, and its sync is good.
#[test]
fn what_a_failed_sync_has_lost_is_not_acknowledged_with_what_comes_behind_it() {
    run(async {
        let disk = MemoryDisk::new();
        let world = World::on(Rc::new(disk.clone()));
        let hub_id = world.init("hub", true);
        let clinic_id = world.join("clinic", "hub", Policy::Own);
        world.push_to("clinic", Lane::Urgent, &[], &["fever"]);
        let visits: Vec<_> = (0..12).map(|number| format!("visit {number}: well ").repeat(240)).collect();
        world.push("clinic", &visits.iter().map(String::as_str).collect::<Vec<_>>());
        world.cut("clinic", &[hub_id], "never-carried"); // signs what was pushed
        let lab = Lab::new(world);
        let hub = lab.serve("hub").await;
        let view = lab.world.view("clinic");
        let life = view.keyring().incarnation();
        let range = |lane| range_of(&view, &Stream::main(Origin { node: clinic_id, incarnation: life, lane, audience: None })).unwrap();
        let (urgent, stored) = (range(Lane::Urgent), range(Lane::Routine));
        let mixed = Range { codec: Codec::Mixed, data: mix::encode(&[], &stored.data, mix::SLOTS_LOG_MAX).unwrap(), ..stored };
        let mut hand = Hand::dial(&lab, "clinic", "hub").await.unwrap();
        hand.greet(Vec::new(), (life, 1000)).await;
        let another = spawn_local({
            let (standing, disk) = (hub.standing.clone(), disk.clone());
            async move {
                while count(&standing, clinic_id, Lane::Urgent).await == 0 {
                    yield_now().await;
                }
                assert_eq!(count(&standing, clinic_id, Lane::Routine).await, 0, "it is in the middle of it");
                disk.fail(Fault { operation: Operation::Sync, nth: 1, error: io::ErrorKind::Other, sticky: false });
                standing.with(push).await.unwrap();
                assert_eq!(standing.durable().await.unwrap_err().code(), Code::Z303);
            }
        });
        let mut bytes = Vec::new();
        for range in [urgent, mixed] {
            let origin = range.origin;
            bytes.extend(Message::Range(range).to_bytes(&hand.ours));
            hand.ours.named(origin);
        }
        assert!(bytes.len() < 2000, "both are read at once: {}", bytes.len());
        hand.say_bytes(&bytes).await;
        let heard = hand.hear_all().await;
        another.await.unwrap();
        assert!(!heard.iter().any(|message| matches!(message, Message::Ack(_))), "{heard:?}");
        assert_eq!(heard.last(), Some(&Message::Bye(Some(Code::Z303))), "{heard:?}");
        hub.quiet().await;
        drop(view);
        let clinic = lab.stay("clinic");
        lab.complete(&clinic, "hub").await;
        let held = (count(&hub.standing, clinic_id, Lane::Urgent).await, count(&hub.standing, clinic_id, Lane::Routine).await);
        assert_eq!(held, (1, 12), "nothing was taken for delivered that was not");
    });
}

fn push(node: &mut Node) -> Result<(), zbundle::node::NodeError> {
    let intent = node.intend(&About { lane: "routine".into(), kind: "record".into(), ..About::default() })?;
    node.append_payloads(&intent, &[b"of the hub".to_vec()]).map(drop)
}
