//! What happens: a domain is made, records are pushed, carried badly, taken in, acknowledged, and carried again. Then the link (`link`).

use super::link::Actor;
use crate::carry::stick::{self, Marker, PlaceId, PlaceKind};
use crate::cli::halt::Halt;
use crate::cli::{Context, units};
use crate::keys::{Policy, Secret};
use crate::node::exchanging::ExchangeOrder;
use crate::node::taking::{Ingested, Outcome};
use crate::node::{Node, NodeError, Opening, View};
use crate::ports::disk::{Open, read_small};
use crate::ports::{Ports, entropy};
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
/// Where the stick is.
const STICK: &str = "stick";
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
        self.found_domain()?;
        self.prepare_stick()?;
        self.say("\nFirst trip: one stick, both clinics")?;
        for (clinic, name) in CLINICS.iter().enumerate() {
            self.push(name, &records_of(clinic)[..FIRST])?;
            self.exchange(name)?;
        }
        self.carry_badly()?;
        self.exchange(HUB)?;
        self.say("\nThe stick goes back, and out again: only what the hub has not confirmed")?;
        for (clinic, name) in CLINICS.iter().enumerate() {
            self.push(name, &records_of(clinic)[FIRST..self.by_stick(clinic)])?;
            self.exchange(name)?;
            self.standing(name)?;
        }
        self.exchange(HUB)?;
        self.say("\nAnd back once more")?;
        for name in CLINICS {
            self.exchange(name)?;
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

    fn found_domain(&mut self) -> Result<(), Halt> {
        self.init(HUB, true)?;
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
        Ok(())
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

    fn prepare_stick(&mut self) -> Result<(), Halt> {
        let ports = self.ports();
        // A folder stands for the stick: a real one would have to be mounted.
        let marker = Marker { id: PlaceId(entropy::random(&*ports.entropy)), kind: PlaceKind::Folder, label: "ZB-07".to_owned() };
        stick::prepare(&*ports.disk, &self.root.join(STICK), &marker)?;
        self.say(&format!("the stick is prepared: {} says whose it is not, and whom to bring it to", stick::MARKER_NAME))
    }

    /// The one command: what it took in, what it wrote, and its last word.
    fn exchange(&mut self, at: &str) -> Result<(), Halt> {
        let mut node = self.node(at)?;
        let place = self.root.join(STICK);
        let order = ExchangeOrder { place: &place, to: &[], max_size: BUNDLE_LEN_MAX, files_max: u64::MAX, dry_run: false };
        let exchanged = node.exchange(&order, &mut |_| {})?;
        self.tell_taken(at, &node, &exchanged.ingested)?;
        for file in exchanged.cut.files.iter().filter(|file| !file.already_there) {
            let records: u64 = file.events[1..].iter().sum();
            self.bundles += 1;
            self.bytes += file.bytes;
            let what = match records {
                0 => "a receipt".to_owned(),
                _ => format!("{records} records ({} as pushed)", units::size(file.raw_len)),
            };
            let to: Vec<_> = file.recipients.iter().map(|node_id| node.naming().node(node_id)).collect();
            self.say(&format!("{at}: wrote {what} for {}: {}, sealed, signed, read back", to.join(", "), units::size(file.bytes)))?;
        }
        if exchanged.tidied > 0 {
            self.say(&format!("{at}: took away {} that had arrived", units::count(exchanged.tidied, "bundle")))?;
        }
        self.say(&format!("{at}: {}", crate::cli::exchange::sentence(&exchanged)))
    }

    /// The courier's luck: the first bundle is cut short, a second one is copied under another name.
    fn carry_badly(&mut self) -> Result<(), Halt> {
        let folder = self.root.join(STICK);
        let disk = self.ports().disk;
        let failed = |error| Halt::from(NodeError::writing(&folder, error));
        let is_bundle = |path: &Path| path.extension().is_some_and(|extension| extension == "zb");
        let bundles: Vec<_> = disk.list(&folder).map_err(failed)?.into_iter().filter(|entry| is_bundle(&entry.path)).collect();
        let [first, second, ..] = bundles.as_slice() else { return Err(Halt::new(Code::Z100, "two bundles were cut, fewer are here")) };
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

    fn tell_taken(&mut self, at: &str, node: &Node, ingested: &Ingested) -> Result<(), Halt> {
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
        Ok(())
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
