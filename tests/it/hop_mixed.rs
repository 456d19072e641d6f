//! A thin line gets the fewest bytes, a fast one the least work (R7.3-l).

use crate::lab::{Lab, Line, count, push, run};
use crate::world::World;
use bundle_format::ids::{Lane, NodeId};
use zbundle::keys::Policy;

/// Visits as a clinic writes them.
fn visits(from: u32, to: u32) -> Vec<Vec<u8>> {
    let visit = |n: u32| {
        let id = n.wrapping_mul(0x9e37_79b9);
        format!(r#"{{"visit":{n},"id":"{id:08x}","bp":"{}/{}","note":"seen at {} today","by":"nurse {}"}}"#, 100 + n % 40, 60 + n % 30, n % 7, n % 3)
    };
    (from..to).map(|n| visit(n).into_bytes()).collect()
}

fn hub_and_clinic() -> (Lab, NodeId) {
    let world = World::quick();
    world.init("hub", true);
    let clinic_id = world.join("clinic", "hub", Policy::Own);
    (Lab::new(world), clinic_id)
}

#[test]
fn on_a_thin_line_codec_3_is_chosen() {
    run(async {
        let (lab, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        lab.cable.slow(Line { rate: 1200, delay_ms: 300 });
        push(&clinic, "routine", &[], &visits(0, 500)).await;
        let synced = lab.complete(&clinic, "hub").await;
        assert!(synced.mixed.ranges > 0 && synced.mixed.saved > 0, "{synced:?}");
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 500);
    });
}

#[test]
fn on_a_fast_line_it_is_not() {
    run(async {
        let (lab, clinic_id) = hub_and_clinic();
        let (hub, clinic) = (lab.serve("hub").await, lab.stay("clinic"));
        push(&clinic, "routine", &[], &visits(0, 500)).await;
        let synced = lab.complete(&clinic, "hub").await;
        assert_eq!(synced.mixed.ranges, 0, "{synced:?}");
        assert_eq!(count(&hub.standing, clinic_id, Lane::Routine).await, 500);
    });
}
