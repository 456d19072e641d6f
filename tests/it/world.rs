//! A domain in a temporary folder: nodes, and folders that couriers carry between them.

use bundle_format::event::Event;
use bundle_format::ids::{Lane, Name, NodeId};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zbundle::keys::{Policy, Secret};
use zbundle::node::cutting::{CutOrder, CutReport};
use zbundle::node::taking::Ingested;
use zbundle::node::{Node, Opening, View};
use zbundle::ports::{Clock, Disk, Ports};
use zbundle::push::Fields;

/// Largest file of a cut unless a test says otherwise.
pub const MAX_SIZE: u64 = 64 << 20;

pub struct TestClock(Rc<Cell<u64>>);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.get()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.get()
    }
}

pub struct World {
    pub folder: tempfile::TempDir,
    pub clock: Rc<Cell<u64>>,
    ports: Ports,
}

impl World {
    pub fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    /// In memory where the system has a folder for that: for tests of so many files that the disk would be what is tested.
    pub fn quick() -> Self {
        Self::within(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    /// On another disk than the system's; the paths are the same.
    pub fn on(disk: Rc<dyn Disk>) -> Self {
        let world = Self::within(tempfile::tempdir().unwrap());
        disk.create_folder(world.folder.path()).unwrap();
        Self { ports: Ports { disk, ..world.ports.clone() }, ..world }
    }

    fn within(folder: tempfile::TempDir) -> Self {
        let clock = Rc::new(Cell::new(1_800_000_000_000));
        let ports = Ports { clock: Rc::new(TestClock(clock.clone())), ..zbundle::adapters::os_ports() };
        Self { folder, clock, ports }
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn secret(&self, name: &str) -> Secret {
        let path = self.path(&format!("{name}.key"));
        if self.ports.disk.look(&path).unwrap().is_some() {
            Secret::read_key_file(&*self.ports.disk, &path).unwrap()
        } else {
            Secret::make_key_file(&*self.ports.disk, &path, &*self.ports.entropy).unwrap()
        }
    }

    pub fn init(&self, name: &str, authority: bool) -> NodeId {
        let secret = self.secret(name);
        let opening = Opening { data_dir: &self.path(name), secret: &secret, lock_wait_ms: 0 };
        let node = Node::init(&self.ports, &opening, &Name::new(name).unwrap(), authority).unwrap();
        node.keyring().node()
    }

    pub fn open(&self, name: &str) -> Node {
        let secret = self.secret(name);
        // A process that another test is just starting holds every lock of this one until it has become another program.
        Node::open(&self.ports, &Opening { data_dir: &self.path(name), secret: &secret, lock_wait_ms: 30_000 }).unwrap()
    }

    pub fn view(&self, name: &str) -> View {
        View::open(&self.ports, &self.path(name), &self.secret(name)).unwrap()
    }

    /// A new node, taken into the domain of `authority`.
    pub fn join(&self, name: &str, authority: &str, policy: Policy) -> NodeId {
        self.init(name, false);
        let mut clinic = self.open(name);
        let request = clinic.request(false).unwrap();
        let signed = self.open(authority).sign(&request, policy, None, false).unwrap();
        let offer = clinic.consider(&signed.join).unwrap();
        assert_eq!(offer.words.to_string(), signed.words.to_string(), "both screens show the same words");
        clinic.join(&offer).unwrap();
        clinic.keyring().node()
    }

    pub fn push(&self, name: &str, payloads: &[&str]) {
        self.push_to(name, Lane::Routine, &[], payloads);
    }

    /// Push to somebody; to nobody in particular when `audiences` is empty.
    pub fn push_to(&self, name: &str, lane: Lane, audiences: &[NodeId], payloads: &[&str]) {
        let mut node = self.open(name);
        let streams = node.push_streams(lane, audiences).unwrap();
        let fields = Fields { kind: "record".into(), ..Fields::default() };
        node.with_pusher(&streams, |pusher| {
            for payload in payloads {
                pusher.push(&fields, payload.len() as u64, &mut payload.as_bytes()).unwrap();
            }
            pusher.sync().unwrap();
        });
    }

    /// New keys for a member that still has its old ones: asked for, signed, joined.
    pub fn rekey(&self, name: &str, authority: &str) {
        let mut node = self.open(name);
        let request = node.request(true).unwrap();
        let member = node.keyring().node();
        let signed = if name == authority {
            node.sign(&request, Policy::Own, Some(member), false)
        } else {
            self.open(authority).sign(&request, Policy::Own, Some(member), false)
        };
        let signed = signed.unwrap();
        let offer = node.consider(&signed.join).unwrap();
        node.join(&offer).unwrap();
    }

    /// Cut for one, carry, take in.
    pub fn carry(&self, from: &str, to: &str, folder: &str) -> Ingested {
        let node = self.view(to).keyring().node();
        let cut = self.cut(from, &[node], folder);
        if cut.files.is_empty() { Ingested::default() } else { self.ingest(to, folder) }
    }

    /// Payload events of `writer` that `at` holds and counts as written under an ended key.
    pub fn after_revoke(&self, at: &str, writer: NodeId) -> u64 {
        let status = self.view(at).status().unwrap();
        status
            .origins
            .iter()
            .filter(|status| status.origin.node == writer && status.origin.lane != Lane::Control)
            .map(|status| status.after_revoke)
            .sum()
    }

    pub fn cut(&self, from: &str, to: &[NodeId], folder: &str) -> CutReport {
        self.cut_sized(from, to, folder, MAX_SIZE)
    }

    pub fn cut_sized(&self, from: &str, to: &[NodeId], folder: &str, max_size: u64) -> CutReport {
        let order = CutOrder { to, out: &self.path(folder), max_size, dry_run: false, small: false };
        self.open(from).cut(&order, &mut |_, _, _| {}).unwrap()
    }

    pub fn ingest(&self, at: &str, folder: &str) -> Ingested {
        self.open(at).ingest(&[self.path(folder)], &mut |_| {}).unwrap()
    }

    /// Payloads of the routine, urgent and bulk lanes at a node, sorted.
    pub fn payloads(&self, name: &str) -> Vec<String> {
        let view = self.view(name);
        let mut scan = view.log().scan().unwrap();
        let mut all = Vec::new();
        while let Some((stream, _, bytes)) = scan.next().unwrap() {
            if stream.origin.lane != Lane::Control {
                all.push(String::from_utf8_lossy(Event::from_bytes(bytes).unwrap().payload).into_owned());
            }
        }
        all.sort();
        all
    }

    /// Copy a node's data directory, as a card image is copied.
    pub fn image(&self, name: &str, image: &str) {
        copy_folder(&self.path(name), &self.path(image));
    }

    /// Put an image back in the node's place.
    pub fn restore(&self, image: &str, name: &str) {
        std::fs::remove_dir_all(self.path(name)).unwrap();
        copy_folder(&self.path(image), &self.path(name));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
