//! `zbundle peer`: where a member listens.

use super::halt::Halt;
use super::object::Object;
use super::{Context, Finished, members, summary};
use bundle_format::error::Code;

const EXAMPLES: &str = "\
Examples:
  zbundle peer punakha-hub hub.example.bt:7070   from now on `zbundle sync punakha-hub` dials there
  zbundle peer punakha-hub -                     forget it";

/// Remember where a member listens, so that `zbundle sync NAME` finds it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The member
    node: String,
    /// HOST:PORT; - forgets it
    address: String,
}

impl Args {
    /// Run it.
    pub fn run(self, context: &mut Context) -> Result<Finished, Halt> {
        let address = Some(self.address.as_str()).filter(|address| *address != "-");
        address.map_or(Ok(()), check_address)?;
        let node = context.node()?;
        let peer = members::node_id(&node, &self.node)?;
        node.set_peer_address(&peer, address)?;
        let name = node.naming().node(&peer);
        let text = address.map_or_else(|| format!("{name}: no address any more"), |address| format!("{name} listens at {address}"));
        context.console.result(&text, || Object::of("peer").with("name", &name).with_some("address", address))?;
        Ok(Finished::done(summary("peer").with("name", name).with_some("address", address)))
    }
}

/// HOST:PORT, as far as it can be judged without asking the network.
pub fn check_address(text: &str) -> Result<(), Halt> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_some() { Ok(()) } else { Err(Halt::new(Code::Z101, format!("{text} is no HOST:PORT"))) }
}
