//! A hub that many dial at once, not all of them well-meaning.

use crate::process::wait_for;
use crate::world::{SOON, World, figure, ms};
use bundle_format::sign::SigningKey;
use netlab::proxy::Faults;
use rustix::process::Signal;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use zbundle::link::{Profile, Revoked};

/// Whatever happens, a hub fits beside everything else on a small machine: what it takes beside the pages of its program, of which a build without
/// optimisation has three times those of the one that ships. That one's whole budget is measured by the benches.
const MEMORY_MAX: u64 = 10 << 20;

fn named(prefix: &str, count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{prefix}-{number}")).collect()
}

/// Join them, and give each so many events; the hub signs one after the other, all else goes on at once.
fn clinics(world: &World, names: &[String], events: usize) {
    let share = names.len().div_ceil(4);
    std::thread::scope(|scope| {
        for names in names.chunks(share) {
            scope.spawn(move || {
                for name in names {
                    world.ok(name, &["init", name]);
                    world.ok(name, &["request", "--out", &format!("{name}.request")]);
                    world.push(name, events, "routine");
                }
            });
        }
    });
    for name in names {
        world.ok("hub", &["sign", &format!("{name}.request"), "--out", &format!("{name}.join")]);
    }
    std::thread::scope(|scope| {
        for names in names.chunks(share) {
            scope.spawn(move || names.iter().for_each(|name| drop(world.ok(name, &["join", &format!("{name}.join"), "--yes"]))));
        }
    });
}

/// All of them at once; how long until the last is done.
#[track_caller]
fn all_sync(world: &World, names: &[String], events: usize) {
    let hub = world.serve("hub");
    let begun = Instant::now();
    let running: Vec<_> = names.iter().map(|name| (name, world.sync(name, hub.address, &[]))).collect();
    for (name, sync) in running {
        let summary = sync.end(Duration::from_mins(2)).expect(0).summary();
        assert!(summary.is_complete() && summary.number("sent") == events as u64, "{name}: {summary:?}");
    }
    let took = begun.elapsed();
    let memory = hub.process.peak_memory();
    figure!("{} clinics, {events} events each: {} ms, the hub held {} KB", names.len(), took.as_millis(), memory / 1024);
    for name in names {
        world.check_all("hub", name, events);
    }
    let served = hub.end();
    assert_eq!(served.summary().number("new"), (names.len() * events) as u64, "{served:?}");
    assert!(memory < MEMORY_MAX, "{memory} bytes");
}

pub fn five_clinics_of_a_thousand_events_each_at_once() {
    let (world, names) = (World::of(&[]), named("clinic", 5));
    clinics(&world, &names, 1000);
    all_sync(&world, &names, 1000);
}

pub fn sixty_clinics_at_once() {
    let (world, names) = (World::of(&[]), named("clinic", 60));
    clinics(&world, &names, 10);
    all_sync(&world, &names, 10);
}

/// Three hundred who mean no good, from eight addresses, for as long as the hub lets them.
pub fn a_hostile_crowd_holds_up_nobody() {
    let world = World::of(&["one", "two"]);
    world.push("one", 200, "routine");
    world.push("two", 200, "routine");
    let hub = world.serve("hub");
    let address = hub.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    let crowd = std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { () = crowd(address) => {}, _ = is_over => {} }
        });
    });
    std::thread::sleep(ms(1000));
    let begun = Instant::now();
    let running = ["one", "two"].map(|name| (name, world.sync(name, hub.address, &[])));
    for (name, sync) in running {
        let summary = sync.end(SOON).expect(0).summary();
        assert!(summary.is_complete() && summary.number("sent") == 200, "{name}: {summary:?}");
        figure!("{name}, in a hostile crowd: {} ms, {} dials", summary.number("took_ms"), summary.number("dials"));
    }
    let took = begun.elapsed();
    world.check_all("hub", "one", 200);
    world.check_all("hub", "two", 200);
    let memory = hub.process.peak_memory();
    figure!("280 hostile connections: two clinics in {} ms, the hub held {} KB", took.as_millis(), memory / 1024);
    drop(over);
    crowd.join().unwrap();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert!(memory < MEMORY_MAX, "{memory} bytes");
    hub.end();
}

/// 200 that say nothing, 50 that drip, 20 that speak HTTP, 10 that finish TLS with a key of nobody; whoever is thrown out comes again.
async fn crowd(hub: SocketAddr) {
    let mut all = JoinSet::new();
    for number in 0..280_u64 {
        let host = u8::try_from(2 + number % 8).unwrap();
        all.spawn(async move {
            loop {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(([127, 0, 0, host], 0).into()).unwrap();
                if let Ok(stream) = socket.connect(hub).await {
                    misbehave(number, stream).await;
                }
                tokio::time::sleep(ms(500)).await;
            }
        });
    }
    while all.join_next().await.is_some() {}
}

async fn misbehave(number: u64, mut stream: TcpStream) {
    let mut heard = [0; 256];
    match number {
        0..200 => while stream.read(&mut heard).await.is_ok_and(|len| len > 0) {},
        200..250 => {
            // A ClientHello that never comes to its end.
            for byte in [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3].into_iter().chain(std::iter::repeat(7)) {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        250..270 => {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap_or(());
            while stream.read(&mut heard).await.is_ok_and(|len| len > 0) {}
        }
        _ => {
            let nobody = SigningKey::from_seed(&[u8::try_from(number % 251).unwrap(); 32]);
            let profile = Profile::new(&nobody, &Revoked::default()).unwrap();
            if let Ok(mut secured) = profile.dial(stream).await {
                while secured.stream.read(&mut heard).await.is_ok_and(|len| len > 0) {}
            }
        }
    }
}

/// Asked to end while clinics send: what is on its way is finished and acknowledged, and it is over within ten seconds.
pub fn a_hub_asked_to_end_ends_its_sessions_in_order() {
    const EVENTS: usize = 600;
    let (world, names) = (World::of(&[]), named("clinic", 3));
    clinics(&world, &names, EVENTS);
    let hub = world.serve("hub");
    let proxy = hub.behind(Faults::both_ways(|way| (way.delay, way.rate) = (ms(200), Some(6000))));
    let running: Vec<_> = names.iter().map(|name| (name, world.sync(name, proxy.address(), &["--deadline", "14s"]))).collect();
    wait_for("all in the middle", SOON, || {
        let counts = proxy.counts();
        (counts.connections.len() == 3 && counts.connections.iter().all(|connection| connection.up.delivered_len > 8000)).then_some(())
    });
    let asked = Instant::now();
    hub.process.signal(Signal::TERM);
    let served = hub.process.end(Duration::from_secs(20)).expect(0);
    let took = asked.elapsed();
    figure!("a hub with three sessions asked to end: {} ms; {}", took.as_millis(), served.summary().0);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(served.objects("session").len(), 3, "each ended in order: {served:?}");
    for (name, sync) in running {
        let summary = sync.end(SOON).summary();
        let there = world.log("hub", name).len() as u64;
        assert!(there > 0 && summary.number("sent") == there, "{name}: all that it has it acknowledged, {there}: {summary:?}");
        assert!(!summary.is_complete(), "{summary:?}");
    }
}
