//! The domains that lives begin with: made once a thread, by the real rooms, and copied from then on.

use crate::station::{Around, Station};
use bundle_format::ids::{Name, NodeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use zbundle::keys::Policy;
use zbundle::node::NodeError;
use zbundle::ports::MemoryDisk;
use zbundle::wal::DataKeys;

/// Who can be there, in the order of joining. The first is the authority.
const NAMES: [&str; 5] = ["hub", "district", "lunana", "laya", "gasa"];
/// Members of each shape. Small domains are more frequent: most faults need few.
const SHAPES: [&[usize]; 8] = [&[0, 2], &[0, 2], &[0, 3], &[0, 1, 2], &[0, 1, 3], &[0, 2, 3], &[0, 1, 2, 3], &[0, 1, 2, 3, 4]];

/// One member of a domain that begins.
#[derive(Clone)]
pub struct Begun {
    /// Its name.
    pub name: &'static str,
    /// Its id.
    pub id: NodeId,
    /// Its card.
    pub card: MemoryDisk,
    /// What it may see.
    pub policy: Policy,
    /// The keys of its log.
    pub log_keys: DataKeys,
}

thread_local! {
    static MADE: RefCell<BTreeMap<usize, Vec<Begun>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The domain of a shape, on cards of its own.
///
/// # Panics
/// When the real rooms cannot found a domain on a sound disk.
pub fn domain(shape: usize, around: &Around) -> Vec<Begun> {
    MADE.with_borrow_mut(|made| {
        let begun = made.entry(shape).or_insert_with(|| found(SHAPES[shape % SHAPES.len()], around).expect("a domain is founded on a sound disk"));
        begun.iter().map(|member| Begun { card: member.card.image(), ..member.clone() }).collect()
    })
}

fn found(shape: &[usize], around: &Around) -> Result<Vec<Begun>, NodeError> {
    let mut begun: Vec<Begun> = Vec::new();
    let mut stations: Vec<Station> = Vec::new();
    for (at, which) in shape.iter().enumerate() {
        let name = NAMES[*which];
        let mut station = Station::new(name.to_owned(), at, NodeId([0; 8]), MemoryDisk::new(), 1000 + *which as u64, around);
        let mut node = station.init(&Name::new(name).expect("a name"), at == 0)?;
        station.id = node.keyring().node();
        let policy = match which {
            0 | 1 => Policy::All,
            3 => Policy::OwnAndHubs,
            4 => Policy::nodes(vec![begun[2].id]),
            _ => Policy::Own,
        };
        if let Some(hub) = stations.first() {
            let request = node.request(false)?;
            let signed = hub.open()?.sign(&request, policy.clone(), None, false)?;
            let offer = node.consider(&signed.join)?;
            node.join(&offer)?;
        }
        let (number, key) = node.keyring().data_keys().current();
        let log_keys = DataKeys::new(number, *key);
        drop(node);
        begun.push(Begun { name, id: station.id, card: station.card.clone(), policy, log_keys });
        stations.push(station);
    }
    Ok(begun)
}
