//! A bundle from seal to open, and every way it can be wrong.

mod world;

use bundle_format::compress::Codec;
use bundle_format::ids::Lane;
use bundle_format::open::SealedBundle;
use bundle_format::range::Coding;
use bundle_format::trust::NoHistory;
use std::io::Cursor;
use world::World;

#[test]
fn what_was_sealed_is_what_opens() {
    let world = World::new();
    let ada = world::log(1, Lane::Routine, 300);
    let ranges = [world.range(&world::roster(), 0..2, Coding::Stored), world.range(&ada, 0..300, Coding::Zstd)];
    let (file, sealed) = world.seal(&ranges);
    let bundle = SealedBundle::read(Cursor::new(&file)).unwrap();
    assert_eq!((bundle.len(), bundle.digest()), (sealed.len, sealed.digest));
    assert_eq!(bundle.len(), file.len() as u64);
    let mut trust = world.trust();
    let mut verified = bundle.unseal(&[&world.hub]).unwrap().verify(&mut trust, &mut NoHistory).unwrap();
    assert_eq!(trust.learnt, 1);
    let roster = verified.next_range().unwrap().unwrap();
    assert_eq!((roster.first(), roster.count(), roster.codec()), (1, 2, Codec::Stored));
    let events = verified.next_range().unwrap().unwrap();
    assert!(events.events().map(|(_, event)| event).eq(ada.events.iter().map(Vec::as_slice)));
    assert_eq!(events.end(), ada.position(300));
    assert_eq!(events.run_after(200).unwrap().start(), ada.position(200));
    assert!(verified.next_range().unwrap().is_none());
    assert_eq!(verified.finish().unwrap(), world::manifest(&ranges));
}
