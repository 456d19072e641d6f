//! For other readers of the format: the demo's roster and the hub's secret, so that they can open the bundles it left. Only ever the demo's.

use super::story::{CLINICS, HUB, Story};
use crate::cli::Context;
use crate::cli::halt::Halt;
use crate::node::NodeError;
use crate::ports::disk;
use bundle_format::ids::hex;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Write `keys-for-readers.json` into the demo's folder.
pub fn export(context: &mut Context, root: &Path) -> Result<(), Halt> {
    let path = root.join("keys-for-readers.json");
    let story = Story::new(context, root, false);
    let hub = story.view(HUB)?;
    let mut secrets = Map::new();
    for name in CLINICS.iter().chain(&[HUB]) {
        let keyring_of = story.view(name)?;
        let keyring = keyring_of.keyring();
        secrets.insert(keyring.node().to_string(), Value::String(hex(&*keyring.current().sealing.bytes())));
    }
    let roster = hub.roster();
    let member = |member: &crate::keys::Member| {
        let key =
            |key: &crate::keys::MemberKey| json!({"number": key.number, "signing": hex(key.signing.as_bytes()), "sealing": hex(&key.sealing.0)});
        json!({"node": member.node.to_string(), "name": member.name.as_str(), "keys": member.keys.iter().map(key).collect::<Vec<_>>()})
    };
    let text = json!({
        "domain": roster.domain().to_string(),
        "authority": {"node": roster.authority().to_string(), "incarnation": roster.pin().incarnation.to_string()},
        "roster": roster.members().map(member).collect::<Vec<_>>(),
        "secret_sealing_keys": secrets,
    });
    let bytes = text.to_string().into_bytes();
    let disk = story.context.ports.disk.clone();
    disk::replace(&*disk, &path, &bytes).map_err(|error| Halt::from(NodeError::writing(&path, error)))
}
