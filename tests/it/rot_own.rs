//! Own records rot that nobody gives back. What is whole behind them gets to the others, once, whatever befell the node before and whatever befalls it since.

use crate::mend::{is_routine, rot, seal};
use crate::world::World;
use zbundle::keys::Policy;

/// R6.6-m: the one that holds them was revoked. It is sent nothing and brings nothing back, and the clinic waited for it.
#[test]
fn what_only_a_revoked_member_is_known_to_hold_stops_nothing_behind_it() {
    let world = World::new();
    world.init("auth", true);
    let oldhub = world.join("oldhub", "auth", Policy::All);
    world.join("clinic", "auth", Policy::Own);
    world.carry("auth", "clinic", "members");
    for payload in ["p1", "p2", "p3", "p4"] {
        world.push("clinic", &[payload]);
    }
    world.carry("clinic", "oldhub", "there");
    world.carry("oldhub", "clinic", "and-back");
    seal(&world, "clinic");
    world.open("auth").revoke(oldhub, false).unwrap();
    world.carry("auth", "clinic", "revoked");
    rot(&world, "clinic", is_routine, &[3]);
    world.push("clinic", &["p5"]);
    for round in 0..3 {
        world.carry("clinic", "auth", &format!("up{round}"));
        world.carry("auth", "clinic", &format!("down{round}"));
    }
    assert_eq!(world.payloads("auth"), ["p1", "p2", "p4", "p5"]);
}
