//! Nodes that stay, on a network in memory that a test cuts, slows down and listens to. Time stands still but for those who wait for it.

use crate::world::World;
use bundle_format::event::Event;
use bundle_format::ids::{Incarnation, Lane, NodeId};
use bundle_format::logs::LogTable;
use bundle_format::manifest::{Granted, Manifest};
use bundle_format::message::{Hello, Message, frame_len};
use bundle_format::vector::{Salt, Told};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, duplex, split};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};
use zbundle::link::{LinkError, Profile, Revoked};
use zbundle::node::local::About;
use zbundle::node::serving::{Served, Server};
use zbundle::node::standing::Standing;
use zbundle::node::syncing::{Step, SyncOrder, Synced, Syncer};
use zbundle::node::workshop::Workshop;
use zbundle::node::{Node, Opening};
use zbundle::ports::net::{Listener, Network, Stream, Waiting};
use zbundle::ports::store::Stream as Log;
use zbundle::ports::{Clock, MemoryNetwork, Ports};

/// Run `work` where time jumps to whatever is waited for next.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// `SplitMix64`: the same seed, the same luck.
pub struct Luck(pub u64);

impl Luck {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    /// Bytes that nothing can make shorter.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }
}

/// The clock of a runtime whose time stands still.
struct LabClock {
    world_ms: Rc<Cell<u64>>,
    since: Instant,
}

impl Clock for LabClock {
    fn now_ms(&self) -> u64 {
        self.world_ms.get() + self.monotonic_ms()
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(Instant::now().saturating_duration_since(self.since).as_millis()).unwrap()
    }
}

/// After how many bytes a connection dies: those the dialer sends, those it receives, or all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cut {
    pub up: Option<u64>,
    pub down: Option<u64>,
    pub both: Option<u64>,
}

/// What passed one connection.
#[derive(Debug, Default)]
pub struct Passed {
    pub up: Cell<u64>,
    pub down: Cell<u64>,
    pub up_bytes: RefCell<Vec<u8>>,
    pub down_bytes: RefCell<Vec<u8>>,
}

impl Passed {
    fn left(&self, limit: Option<u64>, passed: u64, both: Option<u64>) -> u64 {
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(passed));
        left.min(both.map_or(u64::MAX, |both| both.saturating_sub(self.up.get() + self.down.get())))
    }
}

/// A line of so many bytes a second each way, whose bytes arrive so late.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub rate: u64,
    pub delay_ms: u64,
}

#[derive(Default)]
struct Rules {
    next: VecDeque<Cut>,
    always: Cut,
    line: Option<Line>,
    records: bool,
    passed: Vec<Rc<Passed>>,
}

/// A network whose connections break where a test says so.
#[derive(Clone, Default)]
pub struct Cable {
    network: MemoryNetwork,
    rules: Rc<RefCell<Rules>>,
}

impl Cable {
    /// The next connections die so, one each.
    pub fn cut_next(&self, cut: Cut) {
        self.rules.borrow_mut().next.push_back(cut);
    }

    /// Every connection dies so.
    pub fn cut_always(&self, cut: Cut) {
        self.rules.borrow_mut().always = cut;
    }

    /// Every connection from now on is as slow as this.
    pub fn slow(&self, line: Line) {
        self.rules.borrow_mut().line = Some(line);
    }

    /// Keep the bytes that pass.
    pub fn record(&self) {
        self.rules.borrow_mut().records = true;
    }

    /// What passed the connections so far, one after the other; forgotten now.
    pub fn passed(&self) -> Vec<Rc<Passed>> {
        std::mem::take(&mut self.rules.borrow_mut().passed)
    }
}

impl Network for Cable {
    fn connect<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = self.network.connect(address).await?;
            let mut rules = self.rules.borrow_mut();
            let cut = rules.next.pop_front().unwrap_or(rules.always);
            let passed = Rc::<Passed>::default();
            rules.passed.push(passed.clone());
            let stream = if let Some(line) = rules.line { slowed(stream, line) } else { stream };
            Ok(Box::new(Wire { stream: Some(stream), cut, passed, records: rules.records }) as Stream)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> Waiting<'a, io::Result<Box<dyn Listener>>> {
        self.network.listen(address)
    }
}

/// The dialer's end of a connection.
struct Wire {
    stream: Option<Stream>,
    cut: Cut,
    passed: Rc<Passed>,
    records: bool,
}

impl Wire {
    fn break_if(&mut self, left: u64) -> io::Result<()> {
        if left == 0 {
            self.stream = None;
        }
        if self.stream.is_some() { Ok(()) } else { Err(io::ErrorKind::ConnectionReset.into()) }
    }

    fn left_up(&self) -> u64 {
        self.passed.left(self.cut.up, self.passed.up.get(), self.cut.both)
    }

    fn left_down(&self) -> u64 {
        self.passed.left(self.cut.down, self.passed.down.get(), self.cut.both)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.left_down();
        self.break_if(left)?;
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(into.remaining())];
        let mut read = ReadBuf::new(&mut bytes);
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let polled = Pin::new(stream).poll_read(context, &mut read);
        let filled = read.filled();
        into.put_slice(filled);
        self.passed.down.set(self.passed.down.get() + filled.len() as u64);
        if self.records {
            self.passed.down_bytes.borrow_mut().extend_from_slice(filled);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.left_up();
        self.break_if(left)?;
        let bytes = &bytes[..usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())];
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let polled = Pin::new(stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.passed.up.set(self.passed.up.get() + count as u64);
            if self.records {
                self.passed.up_bytes.borrow_mut().extend_from_slice(&bytes[..count]);
            }
            let left = self.left_up();
            drop(self.break_if(left)); // right behind the last byte
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_shutdown(context))
    }
}

fn slowed(stream: Stream, line: Line) -> Stream {
    let (ours, theirs) = duplex(1024);
    let ((near_read, near_write), (far_read, far_write)) = (split(theirs), split(stream));
    spawn_local(relay(near_read, far_write, line));
    spawn_local(relay(far_read, near_write, line));
    Box::new(ours)
}

async fn relay(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin + 'static, line: Line) {
    let (send, mut travelling) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    spawn_local(async move {
        while let Some((due, bytes)) = travelling.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    });
    let mut bytes = [0; 256];
    let mut free = Instant::now();
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        free = free.max(Instant::now()) + Duration::from_micros(count as u64 * 1_000_000 / line.rate);
        sleep_until(free).await;
        if send.send((free + Duration::from_millis(line.delay_ms), bytes[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// Everything one node holds, stream by stream, outside the control lanes.
pub type Contents = BTreeMap<Log, Vec<Vec<u8>>>;

/// A domain whose nodes stay and reach each other.
pub struct Lab {
    pub world: Rc<World>,
    pub cable: Cable,
    ports: Ports,
}

impl Lab {
    pub fn new(world: impl Into<Rc<World>>) -> Self {
        let world = world.into();
        let cable = Cable::default();
        let clock = LabClock { world_ms: world.clock.clone(), since: Instant::now() };
        let ports = Ports { clock: Rc::new(clock), net: Rc::new(cable.clone()), ..world.ports().clone() };
        Self { world, cable, ports }
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// A node of this name, kept open.
    pub fn stay(&self, name: &str) -> Rc<Standing> {
        let (secret, data_dir) = (self.world.secret(name), self.world.path(name));
        let node = Node::open(&self.ports, &Opening { data_dir: &data_dir, secret: &secret, lock_wait_ms: 0 }).unwrap();
        Standing::new(self.ports.clone(), data_dir, secret, node)
    }

    /// A node that listens at `NAME:1`.
    pub async fn serve(&self, name: &str) -> Serving {
        let standing = self.stay(name);
        let told = Rc::<RefCell<Vec<Served>>>::default();
        let tell = Box::new({
            let told = told.clone();
            move |served| told.borrow_mut().push(served)
        });
        let workshop = Rc::new(RefCell::new(Workshop::new().unwrap()));
        let server = Server::new(standing.clone(), &self.ports, workshop, tell).await.unwrap();
        let listener = self.ports.net.listen(&format!("{name}:1")).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = spawn_local({
            let server = server.clone();
            async move { server.listen(listener, stopped).await }
        });
        Serving { standing, server, told, stop, task }
    }

    pub async fn sync(&self, from: &Rc<Standing>, to: &str) -> Synced {
        self.sync_as(from, to, SyncOrder::default(), |_| {}).await
    }

    pub async fn sync_as(&self, from: &Rc<Standing>, to: &str, order: SyncOrder, watcher: impl Fn(Step) + 'static) -> Synced {
        let order = SyncOrder { address: format!("{to}:1"), ..order };
        let workshop = Rc::new(RefCell::new(Workshop::new().unwrap()));
        let (_stop, stopped) = watch::channel(false);
        Syncer::new(from.clone(), &self.ports, workshop, order, stopped, Rc::new(watcher)).run().await
    }

    /// Sync, and expect that both sides have everything then.
    pub async fn complete(&self, from: &Rc<Standing>, to: &str) -> Synced {
        let synced = self.sync(from, to).await;
        assert!(synced.is_complete(), "{synced:?}");
        synced
    }

    /// What `name` holds durably. Each history is dense and stands once, or this panics.
    pub fn contents(&self, name: &str) -> Contents {
        let view = self.world.view(name);
        let mut contents = Contents::new();
        let mut scan = view.log().scan().unwrap();
        while let Some((stream, seq, bytes)) = scan.next().unwrap() {
            if stream.origin.lane == Lane::Control {
                continue;
            }
            let base = view.log().head(&stream).unwrap().base.seq;
            let events = contents.entry(stream).or_default();
            events.push(bytes.to_vec());
            assert_eq!(base + events.len() as u64, seq, "{stream:?} is dense");
        }
        contents
    }
}

/// Payloads of `contents`, sorted, parts one by one.
pub fn payloads(contents: &Contents) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = contents.values().flatten().map(|bytes| Event::from_bytes(bytes).unwrap().payload.to_vec()).collect();
    all.sort();
    all
}

/// Append payloads, durably.
pub async fn push(standing: &Standing, lane: &str, to: &[&str], payloads: &[Vec<u8>]) {
    let audiences = to.iter().map(|name| (*name).to_owned()).collect();
    let about = About { lane: lane.into(), audiences, kind: "record".into(), ..About::default() };
    let pushed = standing.with(|node| {
        let intent = node.intend(&about)?;
        node.append_payloads(&intent, payloads).map(drop)
    });
    pushed.await.unwrap();
    standing.durable().await.unwrap();
}

/// A node that listens.
pub struct Serving {
    pub standing: Rc<Standing>,
    pub server: Rc<Server>,
    pub told: Rc<RefCell<Vec<Served>>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Stop, and keep the directory.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        (&mut self.task).await.unwrap();
    }

    /// Stop, and let go of the directory.
    pub async fn end(mut self) {
        self.stop().await;
        drop(self.server);
        self.standing.close().await.unwrap();
    }

    /// Codes of what broke or was refused so far; forgotten now.
    pub fn codes(&self) -> Vec<&'static str> {
        let told = std::mem::take(&mut *self.told.borrow_mut());
        told.iter().filter_map(|served| if let Served::Broken { code, .. } = served { Some(code.as_str()) } else { None }).collect()
    }

    /// Wait until no session is left.
    pub async fn quiet(&self) {
        while self.server.session_count() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// How many events of a lane of `of` the node holds.
pub async fn count(standing: &Standing, of: NodeId, lane: Lane) -> u64 {
    let counted = standing.with(|node| {
        let streams = node.log().streams();
        let of_it = streams.iter().filter(|(stream, _)| stream.origin.node == of && stream.origin.lane == lane);
        Ok(of_it.map(|(_, head)| head.end.seq - head.base.seq).sum())
    });
    counted.await.unwrap()
}

/// A member, or somebody else, who speaks by hand: with real keys and without rules.
pub struct Hand {
    stream: Box<tokio_rustls::TlsStream<Stream>>,
    pub salt: Salt,
    pub ours: LogTable,
    pub theirs: LogTable,
    input: Vec<u8>,
    /// Everything that was said to it.
    pub heard: Vec<u8>,
}

impl Hand {
    /// Dial `to` with the keys of `name`.
    pub async fn dial(lab: &Lab, name: &str, to: &str) -> Result<Self, LinkError> {
        let view = lab.world.view(name);
        let profile = Profile::new(view.keyring().signing().0, &Revoked::default()).unwrap();
        let stream = lab.cable.connect(&format!("{to}:1")).await.unwrap();
        let secured = profile.dial(stream).await?;
        let (ours, theirs) = (LogTable::default(), LogTable::default());
        Ok(Self { stream: Box::new(secured.stream), salt: secured.salt, ours, theirs, input: Vec::new(), heard: Vec::new() })
    }

    /// Say hello with this vector.
    pub async fn greet(&mut self, vector: Vec<Told>, receipt: (Incarnation, u64)) {
        self.greet_granting(vector, receipt, None).await;
    }

    /// … and take so much in codec 3.
    pub async fn greet_granting(&mut self, vector: Vec<Told>, receipt: (Incarnation, u64), granted: Option<Granted>) {
        let manifest = Manifest { granted, ..Manifest::new(vector, Some(receipt), Vec::new(), []) };
        manifest.vector.iter().for_each(|told| self.ours.push(told.origin));
        self.say(&Message::Hello(Hello { more: false, window: 65_536, take: None, manifest })).await;
    }

    pub async fn say(&mut self, message: &Message) {
        let bytes = message.to_bytes(&self.ours);
        if let Message::Range(range) = message {
            self.ours.named(range.origin);
        }
        self.say_bytes(&bytes).await;
    }

    /// Whether they left; the other end may be gone.
    pub async fn say_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// The next thing said to it; `None` when the other side has ended it.
    pub async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Ok(Some((head, len))) = frame_len(&self.input)
                && self.input.len() >= head + len
            {
                let message = Message::read(&self.input[head..head + len], &self.theirs).unwrap();
                self.input.drain(..head + len);
                match &message {
                    Message::Hello(hello) => hello.manifest.vector.iter().for_each(|told| self.theirs.push(told.origin)),
                    Message::Range(range) => self.theirs.named(range.origin),
                    _ => {}
                }
                return Some(message);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes).await {
                Ok(count @ 1..) => {
                    self.input.extend_from_slice(&bytes[..count]);
                    self.heard.extend_from_slice(&bytes[..count]);
                }
                _ => return None,
            }
        }
    }

    /// Everything that is said to it from now on, to the end.
    pub async fn hear_all(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        while let Some(message) = self.hear().await {
            all.push(message);
        }
        all
    }
}
