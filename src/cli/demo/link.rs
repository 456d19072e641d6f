//! The second act: the rest of one clinic's records goes over a 2G link that dies in the middle, told as it happens.

use super::story::{HUB, LINKED, OVER_LINK, Story, URGENT};
use super::valley::{self, Valley};
use crate::cli::halt::Halt;
use crate::cli::units;
use crate::keys::Secret;
use crate::node::hop::Moved;
use crate::node::serving::Server;
use crate::node::standing::Standing;
use crate::node::syncing::{Step, SyncEnd, SyncOrder, Synced, Syncer};
use crate::node::workshop::Workshop;
use crate::node::{Node, NodeError};
use crate::ports::net::MemoryNetwork;
use crate::ports::{Clock, Ports};
use crate::push::{Fields, PushError};
use bundle_format::error::Code;
use bundle_format::ids::{Lane, Origin};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Where the hub listens, in the valley.
const ADDRESS: &str = "hub:7070";
/// However slow the machine: the act ends.
const DEADLINE_MS: u64 = 60_000;

/// What this act came to.
#[derive(Debug, Default)]
pub struct LinkTotals {
    /// Bytes on the wire, both ways, every handshake and everything sent twice included.
    pub bytes: u64,
    /// How often the clinic dialled.
    pub dials: u64,
}

enum Happened {
    Step(Step),
    Cut,
    Back,
    Ended(Box<Synced>),
}

/// A node, its keys, and where both came from.
pub struct Actor {
    pub node: Node,
    pub data_dir: PathBuf,
    pub secret: Secret,
}

/// Play it.
pub fn play(story: &mut Story<'_>) -> Result<LinkTotals, Halt> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Halt::new(Code::Z100, format!("the runtime: {error}")))?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, act(story))
}

async fn act(story: &mut Story<'_>) -> Result<LinkTotals, Halt> {
    let (hub, clinic) = (story.actor(HUB)?, story.actor(LINKED)?);
    let hub_id = hub.node.keyring().node();
    let origin = clinic.node.push_streams(Lane::Routine, &[])?.first().map(|stream| stream.origin);
    let origin = origin.ok_or_else(|| Halt::new(Code::Z100, "a push goes nowhere"))?;
    let (told, mut happened) = mpsc::unbounded_channel();
    let tell = |told: &mpsc::UnboundedSender<Happened>| {
        let told = told.clone();
        move |what| told.send(what).unwrap_or(()) // nobody reads any more: the act is over
    };
    let network = MemoryNetwork::default();
    let of_sky = tell(&told);
    let valley = Valley::across(&network, Box::new(move |dark| of_sky(if dark { Happened::Cut } else { Happened::Back })));
    let workshop = Rc::new(RefCell::new(Workshop::new()?));
    let (stop, stopped) = watch::channel(false);

    let ports = Ports { net: Rc::new(network), ..story.context.ports.clone() };
    let hub = Standing::new(ports.clone(), hub.data_dir, hub.secret, hub.node);
    let server = Server::new(Rc::clone(&hub), &ports, Rc::clone(&workshop), Box::new(|_| {})).await?;
    let listener = ports.net.listen(ADDRESS).await.map_err(|error| Halt::new(Code::Z501, error.to_string()))?;
    let serving = tokio::task::spawn_local({
        let stop = stopped.clone();
        async move { server.listen(listener, stop).await }
    });

    let ports = Ports { net: Rc::new(valley), ..ports };
    let clinic = Standing::new(ports.clone(), clinic.data_dir, clinic.secret, clinic.node);
    let order = SyncOrder {
        address: ADDRESS.to_owned(),
        expected: Some(hub_id),
        deadline_ms: Some(ports.clock.monotonic_ms() + DEADLINE_MS),
        ..SyncOrder::default()
    };
    let of_syncer = tell(&told);
    let watcher: Rc<dyn Fn(Step)> = {
        let tell = tell(&told);
        Rc::new(move |step| tell(Happened::Step(step)))
    };
    let (standing, total) = (Rc::clone(&clinic), OVER_LINK as u64);
    tokio::task::spawn_local(async move {
        let synced = Syncer::new(standing, &ports, workshop, order, stopped, watcher).run().await;
        of_syncer(Happened::Ended(Box::new(synced)));
    });
    let mut teller = Teller {
        began_ms: story.context.ports.clock.monotonic_ms(),
        clock: Rc::clone(&story.context.ports.clock),
        origin,
        by_stick: held(&hub, &origin).await?,
        total,
        acknowledged: 0,
        urgent_ms: None,
        urgent_done: false,
        died: false,
    };
    let synced = loop {
        match happened.recv().await.ok_or_else(|| Halt::new(Code::Z100, "nobody tells the act any more"))? {
            Happened::Ended(synced) => break synced,
            what => teller.tell(story, &hub, &clinic, what).await?,
        }
    };
    stop.send_replace(true);
    serving.await.unwrap_or(()); // its panic has been told
    clinic.close().await?;
    hub.close().await?;
    if let SyncEnd::Failed(code, why) = &synced.end {
        return Err(Halt::new(*code, why.clone()));
    }
    let (sent, left) = (teller.acknowledged + u64::from(teller.urgent_done), synced.remaining.map_or(0, |left| left.iter().sum::<u64>()));
    let (bytes, took) = (synced.bytes.0 + synced.bytes.1, Duration::from_millis(synced.took_ms).as_secs_f64());
    story.say(&format!(
        "{LINKED}: {HUB} has {sent} of these records, {left} not yet; {} over the link, handshakes and what went twice included, {} dials, {took:.1} s",
        units::size(bytes),
        synced.dials
    ))?;
    Ok(LinkTotals { bytes, dials: synced.dials })
}

/// Says what happens, and pushes the urgent record when the link is back.
struct Teller {
    clock: Rc<dyn Clock>,
    began_ms: u64,
    /// Whose records these are.
    origin: Origin,
    by_stick: u64,
    total: u64,
    acknowledged: u64,
    urgent_ms: Option<u64>,
    urgent_done: bool,
    died: bool,
}

impl Teller {
    fn seconds_since(&self, ms: u64) -> f64 {
        Duration::from_millis(self.clock.monotonic_ms().saturating_sub(ms)).as_secs_f64()
    }

    async fn tell(&mut self, story: &mut Story<'_>, hub: &Standing, clinic: &Standing, what: Happened) -> Result<(), Halt> {
        let at = self.seconds_since(self.began_ms);
        let text = match what {
            Happened::Step(Step::Connected(ms)) if self.died => {
                // What had arrived when its acknowledgement was lost: the hello that comes now says so.
                let held = held(hub, &self.origin).await?.saturating_sub(self.by_stick);
                self.acknowledged = held;
                let again = format!("connected again, round trip {ms} ms; the hub says hello and what it holds: {held}; goes on right behind");
                story.say(&format!("{at:>6.1} s  {again}"))?;
                return self.alarm(story, clinic).await;
            }
            Happened::Step(Step::Connected(ms)) => format!("connected, round trip {ms} ms"),
            Happened::Step(Step::Again(_, why, wait_ms)) => format!("{why}; dials again in {:.1} s", Duration::from_millis(wait_ms).as_secs_f64()),
            Happened::Step(Step::Moved(moved)) => return self.moved(story, &moved),
            Happened::Step(Step::Dialling(_) | Step::Settled | Step::UsedUp(_)) | Happened::Ended(_) => return Ok(()),
            Happened::Cut => {
                self.died = true;
                format!("THE LINK DIES, in the middle of a range; {} records are acknowledged, so they count", self.acknowledged)
            }
            Happened::Back => format!("the mast has power again, after {}", units::span(u64::try_from(valley::DARK.as_millis()).unwrap_or(0))),
        };
        story.say(&format!("{at:>6.1} s  {text}"))
    }

    fn moved(&mut self, story: &mut Story<'_>, moved: &Moved) -> Result<(), Halt> {
        let at = self.seconds_since(self.began_ms);
        let acknowledged = moved.delivered[Lane::Routine as usize].max(self.acknowledged);
        if moved.delivered[Lane::Urgent as usize] > 0 && !self.urgent_done {
            self.urgent_done = true;
            let waited = self.urgent_ms.map_or(0.0, |since_ms| self.seconds_since(since_ms));
            let behind = self.total.saturating_sub(acknowledged);
            story.say(&format!("{at:>6.1} s  the urgent record is at the hub, {waited:.1} s after it was pushed; {behind} others come behind it"))?;
        }
        if acknowledged > self.acknowledged {
            self.acknowledged = acknowledged;
            story.say(&format!("{at:>6.1} s  acknowledged {acknowledged} of {}", self.total))?;
        }
        Ok(())
    }

    /// Something happens at the clinic that must not wait.
    async fn alarm(&mut self, story: &mut Story<'_>, clinic: &Standing) -> Result<(), Halt> {
        if self.urgent_ms.is_some() {
            return Ok(());
        }
        let at = self.seconds_since(self.began_ms);
        self.urgent_ms = Some(self.clock.monotonic_ms());
        clinic.with(push_urgent).await?;
        clinic.durable().await?;
        story.say(&format!("{at:>6.1} s  pushed meanwhile, urgent: {URGENT}"))
    }
}

/// How far a node has a history.
async fn held(node: &Standing, origin: &Origin) -> Result<u64, Halt> {
    let held = node.with(|node| Ok(node.log().streams().iter().find(|(stream, _)| stream.origin == *origin).map_or(0, |(_, head)| head.end.seq)));
    Ok(held.await?)
}

fn push_urgent(node: &mut Node) -> Result<(), NodeError> {
    let streams = node.push_streams(Lane::Urgent, &[])?;
    let fields = Fields { kind: "alert".to_owned(), ..Fields::default() };
    let pushed = node.with_pusher(&streams, |pusher| {
        pusher.push(&fields, URGENT.len() as u64, &mut URGENT.as_bytes())?;
        pusher.flush()
    });
    pushed.map_err(|error: PushError| error.into())
}
