//! What happens: a domain is made, records are pushed, carried badly, taken in, acknowledged, and carried again. Then the link (`link`).

use super::link::Actor;
use crate::cli::halt::Halt;
use crate::cli::{Context, units};
use crate::keys::{Policy, Secret};
use crate::node::cutting::{CutOrder, CutReport};
use crate::node::taking::{Ingested, Outcome};
use crate::node::{Node, NodeError, Opening, View};
use crate::ports::Ports;
use crate::ports::disk::{Open, read_small};
use crate::push::{Fields, PushError};
use bundle_format::error::Code;
use bundle_format::ids::{Lane, Name, NodeId};
use bundle_format::limits::BUNDLE_LEN_MAX;
use std::path::{Path, PathBuf};

/// A day at a clinic, invented.
const RECORDS: &str = include_str!("../../../fixtures/clinic/clinic_1000.ndjson");
/// Records each clinic pushes before the first trip; the rest before the second, but for those that wait for the link.
const FIRST: usize = 120;
/// Records of [`LINKED`] that wait for the second act; the urgent one comes on top.
pub const OVER_LINK: usize = 340;
/// Largest bundle whose copy the courier of this story makes.
const COPY_LEN_MAX: usize = 16 << 20;

pub const HUB: &str = "punakha-hub";
pub const CLINICS: [&str; 2] = ["lunana-bhu", "laya-bhu"];
/// The clinic that has a mast in sight.
pub const LINKED: &str = CLINICS[0];
/// What must not wait.
pub const URGENT: &str = r#"{"patient":"BT-0042","allergy":"penicillin","reaction":"anaphylaxis"}"#;

/// The story so far.
pub struct Story<'a> {
    pub context: &'a mut Context,
    pub root: PathBuf,
    /// Whether the second act is played.
    with_link: bool,
    bundles: u64,
    bytes: u64,
}

/// The records of one clinic, in the order it pushes them.
pub fn records_of(clinic: usize) -> Vec<&'static str> {
    let all: Vec<_> = RECORDS.lines().collect();
    let half = all.len() / CLINICS.len();
    all[clinic * half..(clinic + 1) * half].to_vec()
}

impl<'a> Story<'a> {
    pub fn new(context: &'a mut Context, root: &Path, with_link: bool) -> Self {
        Self { context, root: root.to_owned(), with_link, bundles: 0, bytes: 0 }
    }

    /// Everything a clinic has pushed by the end, in the order of its histories: urgent first.
    pub fn pushed_at(&self, clinic: usize) -> Vec<&'static str> {
        let urgent = (self.with_link && CLINICS[clinic] == LINKED).then_some(URGENT);
        urgent.into_iter().chain(records_of(clinic)).collect()
    }

    /// Records of a clinic that go by stick.
    fn by_stick(&self, clinic: usize) -> usize {
        let all = records_of(clinic).len();
        if self.with_link && CLINICS[clinic] == LINKED { all - OVER_LINK } else { all }
    }

    /// Bundles cut, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        (self.bundles, self.bytes)
    }

    pub fn tell(&mut self) -> Result<(), Halt> {
        let hub = self.found_domain()?;
        self.say("\nFirst trip")?;
        for (clinic, name) in CLINICS.iter().enumerate() {
            self.push(name, &records_of(clinic)[..FIRST])?;
            self.cut(name, hub, "stick-1")?;
        }
        self.carry_badly("stick-1")?;
        self.ingest(HUB, "stick-1")?;
        self.say("\nThe stick goes back")?;
        for name in CLINICS {
            let clinic = self.node(name)?.keyring().node();
            self.cut(HUB, clinic, "stick-1-back")?;
        }
        for name in CLINICS {
            self.ingest(name, "stick-1-back")?;
            self.standing(name)?;
        }
        self.say("\nSecond trip: only what the hub has not acknowledged")?;
        for (clinic, name) in CLINICS.iter().enumerate() {
            self.push(name, &records_of(clinic)[FIRST..self.by_stick(clinic)])?;
            self.cut(name, hub, "stick-2")?;
        }
        self.ingest(HUB, "stick-2")?;
        for name in CLINICS {
            let clinic = self.node(name)?.keyring().node();
            self.cut(HUB, clinic, "stick-2-back")?;
            self.ingest(name, "stick-2-back")?;
            self.standing(name)?;
        }
        Ok(())
    }

    /// The clinic with a mast in sight pushes the rest, for the second act.
    pub fn push_rest(&mut self) -> Result<(), Halt> {
        self.push(LINKED, &records_of(0)[self.by_stick(0)..])
    }

    /// One line, told at once.
    pub fn say(&mut self, text: &str) -> Result<(), Halt> {
        self.context.console.line(text)?;
        self.context.console.flush()
    }

    /// One node, for the second act.
    pub fn actor(&self, name: &str) -> Result<Actor, Halt> {
        Ok(Actor { node: self.node(name)?, data_dir: self.root.join(name), secret: self.secret(name)? })
    }

    fn found_domain(&mut self) -> Result<NodeId, Halt> {
        let hub = self.init(HUB, true)?;
        self.say(&format!("{HUB}: the hub, and the authority of a new domain"))?;
        for name in CLINICS {
            self.init(name, false)?;
            let mut clinic = self.node(name)?;
            let request = clinic.request(false)?;
            let signed = self.node(HUB)?.sign(&request, Policy::Own, None, false)?;
            let offer = clinic.consider(&signed.join)?;
            if offer.words.to_string() != signed.words.to_string() {
                return Err(Halt::new(Code::Z607, "the two screens show different words"));
            }
            clinic.join(&offer)?;
            let (asked, answered) = (request.len(), signed.join.len());
            self.say(&format!("{name}: asked with {asked} B, joined with {answered} B; both screens say \"{}\"", offer.words))?;
        }
        Ok(hub)
    }

    fn init(&mut self, name: &str, authority: bool) -> Result<NodeId, Halt> {
        let ports = self.ports();
        let (data_dir, key_file) = (self.root.join(name), self.root.join(format!("{name}.key")));
        ports.disk.create_folder(&self.root).map_err(|error| NodeError::writing(&self.root, error))?;
        let secret = Secret::make_key_file(&*ports.disk, &key_file, &*ports.entropy)?;
        let parsed = Name::new(name).map_err(|error| Halt::new(Code::Z107, error.to_string()))?;
        let node = Node::init(&ports, &Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: 0 }, &parsed, authority)?;
        Ok(node.keyring().node())
    }

    fn ports(&self) -> Ports {
        self.context.ports.clone()
    }

    fn secret(&self, name: &str) -> Result<Secret, Halt> {
        Ok(Secret::read_key_file(&*self.context.ports.disk, &self.root.join(format!("{name}.key")))?)
    }

    fn node(&self, name: &str) -> Result<Node, Halt> {
        let secret = self.secret(name)?;
        Ok(Node::open(&self.ports(), &Opening { data_dir: &self.root.join(name), secret: &secret, lock_wait_ms: 0 })?)
    }

    /// One node, for reading.
    pub fn view(&self, name: &str) -> Result<View, Halt> {
        Ok(View::open(&self.ports(), &self.root.join(name), &self.secret(name)?)?)
    }

    fn push(&mut self, name: &str, records: &[&str]) -> Result<(), Halt> {
        let mut node = self.node(name)?;
        let streams = node.push_streams(Lane::Routine, &[])?;
        let fields = Fields { kind: "record".to_owned(), ..Fields::default() };
        node.with_pusher(&streams, |pusher| {
            for record in records {
                pusher.push(&fields, record.len() as u64, &mut record.as_bytes())?;
            }
            pusher.sync()
        })
        .map_err(|error: PushError| Halt::from(error))?;
        let bytes: usize = records.iter().map(|record| record.len()).sum();
        self.say(&format!("{name}: pushed {} records, {}, all on the disk", records.len(), units::size(bytes as u64)))
    }

    fn cut(&mut self, from: &str, to: NodeId, folder: &str) -> Result<CutReport, Halt> {
        let order = CutOrder { to: &[to], out: &self.root.join(folder), max_size: BUNDLE_LEN_MAX, dry_run: false };
        let mut node = self.node(from)?;
        let report = node.cut(&order, &mut |_, _, _| {})?;
        for file in &report.files {
            let records: u64 = file.events[1..].iter().sum();
            self.bundles += 1;
            self.bytes += file.bytes;
            let what = match records {
                0 => "a receipt".to_owned(),
                _ => format!("{records} records ({} as pushed)", units::size(file.raw_len)),
            };
            let to = node.naming().node(&to);
            self.say(&format!("{from}: cut {what} for {to}: {}, sealed, signed, read back", units::size(file.bytes)))?;
        }
        Ok(report)
    }

    /// The courier's luck: the first bundle is cut short, a second one is copied under another name.
    fn carry_badly(&mut self, folder: &str) -> Result<(), Halt> {
        let folder = self.root.join(folder);
        let disk = self.ports().disk;
        let failed = |error| Halt::from(NodeError::writing(&folder, error));
        let largest_first = disk.list(&folder).map_err(failed)?;
        let [first, second, ..] = largest_first.as_slice() else { return Err(Halt::new(Code::Z100, "two bundles were cut, fewer are here")) };
        disk.open(&first.path, Open::Write).and_then(|file| file.set_len(first.len * 6 / 10).and_then(|()| file.sync())).map_err(failed)?;
        let bytes = read_small(&*disk, &second.path, COPY_LEN_MAX).map_err(failed)?.unwrap_or_default();
        let copy = folder.join("copy of a bundle (1).zb");
        disk.open(&copy, Open::New).and_then(|file| file.write_at(&bytes, 0).and_then(|()| file.sync())).map_err(failed)?;
        self.say(&format!(
            "courier: pulls the stick too early, one bundle ends at {} of {}; the other is copied twice",
            first.len * 6 / 10,
            units::size(first.len)
        ))
    }

    fn ingest(&mut self, at: &str, folder: &str) -> Result<Ingested, Halt> {
        let mut node = self.node(at)?;
        let ingested = node.ingest(&[self.root.join(folder)], &mut |_| {})?;
        for file in &ingested.files {
            let from = file.sender.map(|sender| format!(" of {}", node.naming().node(&sender))).unwrap_or_default();
            let line = match &file.outcome {
                Outcome::Taken if file.counts.new + file.counts.duplicate == 0 => format!("{at}: took in the receipt{from}"),
                Outcome::Taken => format!("{at}: took in a bundle{from}: {} new, {} already here", file.counts.new, file.counts.duplicate),
                Outcome::Incomplete => format!("{at}: a bundle is cut short ({}); nothing of it counts", Code::Z212),
                Outcome::NotForUs => continue,
                other => format!("{at}: {other:?} {}", file.detail.clone().unwrap_or_default()),
            };
            self.say(&line)?;
        }
        Ok(ingested)
    }

    /// What a clinic may say now.
    fn standing(&mut self, name: &str) -> Result<(), Halt> {
        let status = self.view(name)?.status()?;
        for peer in &status.peers {
            let line = format!("{name}: {} has acknowledged {} records, {} not yet", peer.name, peer.acknowledged, peer.unacknowledged);
            self.say(&line)?;
        }
        Ok(())
    }
}
