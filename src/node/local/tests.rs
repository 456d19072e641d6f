//! The serving end, against clients that say what no command says, in time that passes at once.

use super::serve::{Lines, Runner, serve_control};
use super::words::{About, Answer, Frames, Request, VERSION, write};
use crate::node::standing::Standing;
use crate::node::{Node, NodeError, Opening};
use crate::ports::local::{Asked, LocalListener, LocalStream, Nobody};
use crate::ports::{Clock, MemoryDisk, Ports, entropy::SeededEntropy};
use bundle_format::ids::Name;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

const DATA_DIR: &str = "/n";

struct NoTime;

impl Clock for NoTime {
    fn now_ms(&self) -> u64 {
        1_800_000_000_000
    }

    fn monotonic_ms(&self) -> u64 {
        0
    }
}

/// Those who ask, one after the other.
struct Door(RefCell<Vec<DuplexStream>>);

impl LocalListener for Door {
    fn accept(&self) -> Asked<'_> {
        Box::pin(async {
            let Some(stream) = self.0.borrow_mut().pop() else { return std::future::pending().await };
            let (reader, writer) = tokio::io::split(stream);
            Ok(LocalStream { reader: Box::new(reader), writer: Box::new(writer) })
        })
    }
}

struct Client {
    stream: DuplexStream,
    heard: Frames,
}

impl Client {
    async fn ask(&mut self, requests: &[Request]) {
        let mut bytes = Vec::new();
        for request in requests {
            write(&mut bytes, request).unwrap();
        }
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// `None` at the end.
    async fn hear(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.heard.next().unwrap() {
                return Some(answer);
            }
            if self.stream.read_buf(&mut self.heard.bytes).await.unwrap() == 0 {
                return None;
            }
        }
    }
}

struct Service {
    standing: Rc<Standing>,
    disk: MemoryDisk,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

/// Serve `count` clients.
fn serve(count: usize) -> (Service, Vec<Client>) {
    serve_by(count, Rc::new(|_, _| Box::pin(std::future::pending())))
}

/// The same, with this way to run a command.
fn serve_by(count: usize, runner: Runner) -> (Service, Vec<Client>) {
    let disk = MemoryDisk::new();
    let ports = Ports {
        disk: Rc::new(disk.clone()),
        clock: Rc::new(NoTime),
        entropy: Rc::new(SeededEntropy(Cell::new(1))),
        net: Rc::new(crate::ports::MemoryNetwork::default()),
        local: Rc::new(Nobody),
    };
    let secret = crate::keys::Secret::Key([7; 32].into());
    let node = Node::init(&ports, &Opening { data_dir: Path::new(DATA_DIR), secret: &secret, lock_wait_ms: 0 }, &Name::new("ada").unwrap(), true);
    let standing = Standing::new(ports, DATA_DIR.into(), secret, node.unwrap());
    let (clients, doors) =
        (0..count).map(|_| tokio::io::duplex(4096)).map(|(ours, theirs)| (Client { stream: ours, heard: Frames::default() }, theirs)).unzip();
    let (stop, stopped) = watch::channel(false);
    let served = spawn_local(serve_control(standing.clone(), Box::new(Door(RefCell::new(doors))), runner, stopped));
    (Service { standing, disk, stop, served }, clients)
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, work);
}

fn hello() -> Request {
    Request::Hello { version: VERSION }
}

fn begin() -> Request {
    Request::Begin(About { lane: "routine".into(), kind: "record".into(), ..About::default() })
}

fn push(payload: &str) -> Request {
    Request::Push { payload: payload.into() }
}

#[test]
fn requests_of_all_clients_share_syncs_and_are_answered_in_order() {
    run(async {
        let (service, clients) = serve(20);
        let before = service.disk.counts().syncs;
        let talk = |mut client: Client| {
            spawn_local(async move {
                client.ask(&[hello(), begin(), push("1"), push("2"), push("3")]).await;
                let mut told = Vec::new();
                for _ in 0..5 {
                    told.push(client.hear().await.unwrap());
                }
                let [Answer::Hello { .. }, Answer::Ready { .. }, rest @ ..] = &told[..] else { panic!("{told:?}") };
                assert!(rest.iter().all(|answer| matches!(answer, Answer::Pushed { ids } if ids.len() == 1)), "{told:?}");
                client
            })
        };
        let talks: Vec<_> = clients.into_iter().map(talk).collect();
        let mut clients = Vec::new();
        for talk in talks {
            clients.push(talk.await.unwrap());
        }
        let syncs = service.disk.counts().syncs - before;
        assert!(syncs <= 8, "60 events of 20 clients took {syncs} syncs");
        service.stop.send(true).unwrap();
        for mut client in clients {
            assert_eq!((client.hear().await, client.hear().await), (Some(Answer::Bye), None));
        }
        service.served.await.unwrap();
    });
}

#[test]
fn what_is_not_answered_before_bye_was_not_taken() {
    run(async {
        let (service, mut clients) = serve(1);
        let client = &mut clients[0];
        client.ask(&[hello(), begin(), push("taken")]).await;
        for _ in 0..3 {
            client.hear().await.unwrap();
        }
        let lease = service.standing.lend().await.unwrap(); // so that the next one waits
        client.ask(&[push("not taken")]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        service.stop.send(true).unwrap();
        assert_eq!((client.hear().await, client.hear().await), (Some(Answer::Bye), None));
        service.served.await.unwrap();
        drop(lease);
        let count = service.standing.with(|node| Ok(node.log().streams().iter().map(|(_, head)| head.end.seq).max())).await.unwrap();
        assert_eq!(count, Some(1));
    });
}

#[test]
fn a_lease_that_nobody_uses_or_whose_borrower_is_gone_ends() {
    run(async {
        let (service, mut clients) = serve(3);
        let work = async || service.standing.with(|node| Ok(node.name().to_string())).await.map_err(|error: NodeError| error.to_string());
        for client in &mut clients {
            client.ask(&[hello()]).await;
            client.hear().await.unwrap();
        }
        let mut waiting = clients.pop().unwrap();
        for (index, client) in clients.iter_mut().enumerate() {
            client.ask(&[Request::Lend]).await;
            assert_eq!(client.hear().await, Some(Answer::Lent));
            if index == 0 {
                // Whoever waits for the next lease and gives up is forgotten.
                waiting.ask(&[Request::Lend]).await;
                waiting.stream.shutdown().await.unwrap();
            } else {
                client.ask(&[Request::Returned]).await;
            }
            let begun = tokio::time::Instant::now();
            work().await.unwrap();
            assert_eq!(begun.elapsed() >= Duration::from_secs(10), index == 0, "only one that is silent is waited for");
        }
    });
}

#[test]
fn who_says_what_nobody_says_is_told_and_left() {
    let cases: [&[Request]; 6] = [
        &[begin()],
        &[hello(), hello()],
        &[hello(), Request::Returned],
        &[hello(), push("without a beginning")],
        &[hello(), Request::Lend, begin()],
        &[hello(), begin(), Request::Push { payload: vec![0; 65 * 1024] }],
    ];
    for case in cases {
        run(async {
            let (service, mut clients) = serve(2);
            let (client, other) = clients.split_at_mut(1);
            client[0].ask(case).await;
            let mut last = None;
            while let Some(answer) = client[0].hear().await {
                last = Some(answer);
            }
            assert!(matches!(last, Some(Answer::Refused { .. })), "{case:?}: {last:?}");
            other[0].ask(&[hello(), begin(), push("x")]).await;
            for _ in 0..3 {
                assert!(!matches!(other[0].hear().await, None | Some(Answer::Refused { .. })));
            }
            drop(service);
        });
    }
}

#[test]
fn a_place_without_sockets_is_told() {
    let ports = Ports { local: Rc::new(Nobody), ..crate::adapters::os_ports() };
    let error = super::listen(&ports, Path::new("/n")).err().unwrap();
    assert_eq!((error.code(), error.to_string().starts_with("/n/ctl.sock: ")), (bundle_format::error::Code::Z202, true), "{error}");
}

#[test]
fn who_says_nothing_goes_and_who_asks_wrongly_is_refused_and_may_ask_again() {
    run(async {
        let (_service, mut clients) = serve(2);
        let wrong = |lane: &str, kind: &str, to: &[&str]| {
            let audiences = to.iter().map(|&name| name.to_owned()).collect();
            Request::Begin(About { lane: lane.into(), kind: kind.into(), audiences, ..About::default() })
        };
        let client = &mut clients[1];
        client.ask(&[hello(), wrong("control", "x", &[]), wrong("bulk", "zb/enrol", &[]), wrong("bulk", "x", &["nobody"]), begin(), push("x")]).await;
        client.hear().await.unwrap();
        for expected in ["Z404", "Z404", "Z406"] {
            assert!(matches!(client.hear().await, Some(Answer::Refused { code, .. }) if code == expected), "{expected}");
        }
        assert!(matches!(client.hear().await, Some(Answer::Ready { .. })));
        assert!(matches!(client.hear().await, Some(Answer::Pushed { .. })));
        assert_eq!(clients[0].hear().await, None, "after five seconds");
    });
}

/// A terminal that stood still, by SIGSTOP or ^S, stopped the sync that it had asked for, and all who waited for what that held.
#[test]
fn a_command_goes_on_where_nobody_reads_what_it_tells() {
    run(async {
        let done = Rc::new(Cell::new(0));
        let count = Rc::clone(&done);
        let runner: Runner = Rc::new(move |_, lines: Lines| {
            let count = Rc::clone(&count);
            Box::pin(async move {
                let telling = async { while lines.tell("x".repeat(1000)).await {} };
                let working = async {
                    for _ in 0..100 {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        count.set(count.get() + 1);
                    }
                };
                tokio::select! {
                    () = working => 0,
                    () = telling => 1,
                }
            })
        });
        let (_service, mut clients) = serve_by(1, runner);
        clients[0].ask(&[hello(), Request::Run { command: "sync".into() }]).await;
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(done.get(), 100);
        let mut last = None;
        while !matches!(last, Some(Answer::Exit(_))) {
            last = Some(clients[0].hear().await.unwrap());
        }
        assert_eq!(last, Some(Answer::Exit(0)), "once it reads, it hears how that ended");
    });
}
