//! The proof: what stands at the hub is what the clinics pushed, byte for byte, each record once, in order, none missing.

use super::story::{CLINICS, HUB, Story};
use crate::cli::Context;
use crate::cli::halt::Halt;
use crate::node::NodeError;
use crate::ports::store::{Log, Stream};
use bundle_format::event::Event;
use bundle_format::ids::{Lane, NodeId};

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Records pushed at the clinics.
    pub pushed: u64,
    /// Records at the hub.
    pub at_hub: u64,
    /// Of those, byte-identical to what was pushed, at its place.
    pub identical: u64,
    /// Pushed and not at the hub.
    pub missing: u64,
    /// At the hub more than once.
    pub twice: u64,
}

impl Verdict {
    /// Whether the promise was kept.
    pub fn holds(&self) -> bool {
        self.missing == 0 && self.twice == 0 && self.identical == self.pushed && self.at_hub == self.pushed && self.pushed > 0
    }
}

/// Hold the hub's log against what was pushed.
pub fn prove(story: &Story<'_>) -> Result<Verdict, Halt> {
    let hub = story.view(HUB)?;
    let mut verdict = Verdict::default();
    for (clinic, name) in CLINICS.iter().enumerate() {
        let node = story.view(name)?.keyring().node();
        let held = payloads_of(hub.log(), node).map_err(NodeError::from)?;
        let pushed = story.pushed_at(clinic);
        verdict.pushed += pushed.len() as u64;
        verdict.at_hub += held.len() as u64;
        verdict.identical += held.iter().zip(&pushed).filter(|(held, pushed)| held.as_slice() == pushed.as_bytes()).count() as u64;
        verdict.missing += pushed.iter().filter(|record| !held.iter().any(|held| held == record.as_bytes())).count() as u64;
        let mut sorted = held.clone();
        sorted.sort_unstable();
        verdict.twice += sorted.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    }
    Ok(verdict)
}

fn payloads_of(log: &dyn Log, node: NodeId) -> Result<Vec<Vec<u8>>, crate::ports::store::StoreError> {
    let streams = log.streams();
    let wanted = |stream: &&Stream| stream.origin.node == node && stream.origin.lane != Lane::Control;
    let mut payloads = Vec::new();
    for stream in streams.iter().map(|(stream, _)| stream).filter(wanted) {
        let mut events = log.events(stream, 1)?;
        while let Some((_, bytes)) = events.next()? {
            payloads.extend(Event::from_bytes(bytes).map(|event| event.payload.to_vec()));
        }
    }
    Ok(payloads)
}

/// Say it.
pub fn tell(context: &mut Context, verdict: &Verdict) -> Result<(), Halt> {
    let Verdict { pushed, at_hub, identical, missing, twice } = verdict;
    context.console.line("\nThe proof, read from the hub's log")?;
    context.console.line(&format!(
        "pushed at the clinics {pushed}, at the hub {at_hub}: {identical} byte-identical and in order, {missing} missing, {twice} twice"
    ))
}
