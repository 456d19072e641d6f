//! Every fault of the proxy on real sockets: each claim fails where the fault does nothing.
#![allow(clippy::disallowed_methods, reason = "a test of a builder's tool talks to the machine directly")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "patterns and rates, far below 2^52")]

use netlab::proxy::{Each, Ending, Faults, Proxy, Span, Way};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Longest any end is waited for: a test whose fault does not come fails, and does not hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// A proxy in front of a listener, and both ends of connections through it.
struct Bench {
    listener: TcpListener,
    proxy: Proxy,
}

impl Bench {
    async fn new(faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap(), faults).unwrap();
        Self { listener, proxy }
    }

    /// The dialer's end and the listener's.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let (dialed, accepted) = tokio::join!(TcpStream::connect(self.proxy.address()), self.listener.accept());
        (dialed.unwrap(), accepted.unwrap().0)
    }
}

/// All that can be read, and how it ended: `None` at an orderly end.
async fn read_all(stream: &mut TcpStream) -> (Vec<u8>, Option<io::ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    (bytes, ended.err().map(|error| error.kind()))
}

/// What arrives within a time, when the end does not.
async fn read_for(stream: &mut TcpStream, time: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ended = timeout(time, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_err(), "the connection is open: {ended:?}");
    bytes
}

/// Bytes of which no two neighbouring stretches are alike.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

fn both(change: impl Fn(&mut Way)) -> Faults {
    Faults::both_ways(change)
}

#[tokio::test]
async fn without_faults_all_bytes_pass_and_are_counted() {
    let bench = Bench::new(Faults::default()).await;
    let (mut dialer, mut listener) = bench.connect().await;
    let question = pattern(1 << 20);
    let answer = pattern(300_001);
    let asked = async {
        dialer.write_all(&question).await.unwrap();
        dialer.shutdown().await.unwrap();
        read_all(&mut dialer).await
    };
    let answered = async {
        let heard = read_all(&mut listener).await;
        listener.write_all(&answer).await.unwrap();
        drop(listener);
        heard
    };
    let (answered, asked) = tokio::join!(answered, asked);
    assert!(answered == (question, None) && asked == (answer, None), "unchanged, and half-closing works");
    sleep(ms(20)).await;
    let counts = bench.proxy.stop();
    assert_eq!((counts.connection_count, counts.open_count), (1, 0));
    assert_eq!((counts.up.taken_len, counts.up.delivered_len), (1 << 20, 1 << 20));
    assert_eq!((counts.down.taken_len, counts.down.delivered_len), (300_001, 300_001));
    assert_eq!(counts.connections[0].up, counts.up);
    let json = serde_json::to_string(&counts).unwrap();
    assert!(json.contains(r#""up":{"taken_len":1048576,"delivered_len":1048576}"#), "{json}");
}

#[tokio::test]
async fn delay_is_one_way_and_jitter_keeps_the_order() {
    let bench = Bench::new(both(|way| (way.delay, way.jitter) = (ms(150), ms(50)))).await;
    let (mut dialer, mut listener) = bench.connect().await;
    let mut sent = Vec::new();
    for at in 0..100 {
        sent.push(Instant::now());
        dialer.write_all(&[at]).await.unwrap();
        sleep(ms(1)).await;
    }
    let mut took = Vec::new();
    for at in 0..100 {
        assert_eq!(listener.read_u8().await.unwrap(), at);
        took.push(sent[usize::from(at)].elapsed());
    }
    assert!(took.iter().all(|took| (ms(100)..ms(500)).contains(took)), "{took:?}");
    let round = Instant::now();
    dialer.write_all(&[7]).await.unwrap();
    listener.read_u8().await.unwrap();
    listener.write_all(&[8]).await.unwrap();
    dialer.read_u8().await.unwrap();
    assert!((ms(200)..ms(600)).contains(&round.elapsed()), "{:?}", round.elapsed());
}

#[tokio::test]
async fn jitter_is_spread_around_the_delay() {
    let bench = Bench::new(both(|way| (way.delay, way.jitter) = (ms(100), ms(100)))).await;
    let mut took = Vec::new();
    let (mut dialer, mut listener) = bench.connect().await;
    for _ in 0..8 {
        let begun = Instant::now();
        dialer.write_all(&[7]).await.unwrap();
        listener.read_u8().await.unwrap();
        took.push(begun.elapsed());
    }
    took.sort();
    assert!(took[0] < ms(80) && took[7] > ms(120), "{took:?}");
}

#[tokio::test]
async fn the_rate_is_kept_within_a_tenth() {
    for (rate, len) in [(2_875, 2_000), (200_000, 100_000)] {
        let bench = Bench::new(both(|way| way.rate = Some(rate))).await;
        let (mut dialer, mut listener) = bench.connect().await;
        let begun = Instant::now();
        let sent = async {
            dialer.write_all(&pattern(len)).await.unwrap();
            drop(dialer);
        };
        let ((), (heard, ended)) = tokio::join!(sent, read_all(&mut listener));
        assert!(heard == pattern(len) && ended.is_none());
        let measured = len as f64 / begun.elapsed().as_secs_f64();
        assert!((0.9..1.1).contains(&(measured / rate as f64)), "{measured} B/s, wanted {rate}");
    }
}

#[tokio::test]
async fn a_drip_is_one_byte_at_a_time() {
    let bench = Bench::new(both(|way| way.drip = Some(ms(20)))).await;
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(&pattern(1000)).await.unwrap();
    let heard = read_for(&mut listener, ms(500)).await;
    assert!((15..=26).contains(&heard.len()), "{} bytes in 500 ms", heard.len());
    assert_eq!(heard, pattern(heard.len()));
}

#[tokio::test]
async fn back_pressure_reaches_the_sender() {
    let bench = Bench::new(Faults { buffer_len: 8 << 10, ..both(|way| way.rate = Some(100)) }).await;
    let (mut dialer, _listener) = bench.connect().await;
    socket2::SockRef::from(&dialer).set_send_buffer_size(8 << 10).unwrap();
    let mut written = 0;
    while let Ok(len) = timeout(ms(200), dialer.write(&[0; 1024])).await {
        written += len.unwrap();
    }
    assert!(written < 100 << 10, "{written} bytes were taken before the sender had to wait");
    assert!(bench.proxy.counts().up.taken_len <= 9 << 10, "and the proxy holds its 8 KiB of them");
}

/// `len` bytes up and as many down through `faults`; each end's view of its direction.
async fn exchange(bench: &Bench, len: usize) -> [(Vec<u8>, Option<io::ErrorKind>); 2] {
    let (dialer, listener) = bench.connect().await;
    let run = async |mut stream: TcpStream| {
        let (mut from, mut to) = stream.split();
        let sent = async { drop(to.write_all(&pattern(len)).await) };
        let mut bytes = Vec::new();
        let both = async { tokio::join!(sent, from.read_to_end(&mut bytes)) };
        let ((), ended) = timeout(PATIENCE, both).await.expect("the connection ends");
        (bytes, ended.err().map(|error| error.kind()))
    };
    let (down, up) = tokio::join!(run(dialer), run(listener));
    [up, down]
}

#[tokio::test]
async fn a_cut_after_n_bytes_delivers_n_to_every_connection() {
    for ending in [Ending::Reset, Ending::Fin] {
        let wanted = (ending == Ending::Reset).then_some(io::ErrorKind::ConnectionReset);
        let mut faults = Faults { ending, ..Faults::default() };
        faults.up.cut_after = Each::Every(15_000);
        let bench = Bench::new(faults).await;
        for round in 0..2 {
            let [(up, up_ended), (_, down_ended)] = exchange(&bench, 40_000).await;
            assert!(up == pattern(15_000), "{ending:?}, round {round}: {} bytes", up.len());
            assert_eq!([up_ended, down_ended], [wanted, wanted], "{ending:?}, round {round}");
        }
        let counts = bench.proxy.counts();
        assert_eq!(counts.up.delivered_len, 30_000);
        assert!(counts.connections.iter().all(|connection| connection.cut == Some(ending)), "{counts:?}");
    }
}

#[tokio::test]
async fn what_came_before_a_reset_is_there_however_late_it_is_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket2::SockRef::from(&listener).set_recv_buffer_size(4 << 10).unwrap();
    let bench = Bench { proxy: Proxy::start(listener.local_addr().unwrap(), Faults::default()).unwrap(), listener };
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(&pattern(30_000)).await.unwrap();
    sleep(ms(100)).await;
    // The listener's buffer is full now, and the last of these bytes wait in the proxy's own socket.
    let len = bench.proxy.counts().up.delivered_len;
    assert!((1000..30_000).contains(&len), "{len}");
    bench.proxy.steer(|faults| faults.up.cut_after = Each::Every(len));
    sleep(ms(50)).await;
    let (heard, ended) = read_all(&mut listener).await;
    assert!(heard == pattern(heard.len()) && heard.len() as u64 == len, "{} bytes, wanted {len}", heard.len());
    assert_eq!(ended, Some(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_list_of_cuts_serves_one_connection_each() {
    let mut faults = Faults::default();
    faults.down.cut_after = Each::Successive(vec![Some(1), Some(5_000), Some(0)]);
    let bench = Bench::new(faults).await;
    for after in [1, 5_000, 0] {
        let [_, (down, ended)] = exchange(&bench, 20_000).await;
        assert!(down == pattern(after), "{} bytes, wanted {after}", down.len());
        assert_eq!(ended, Some(io::ErrorKind::ConnectionReset));
    }
    let (mut dialer, mut listener) = bench.connect().await;
    listener.write_all(&pattern(20_000)).await.unwrap();
    drop(listener);
    assert!(read_all(&mut dialer).await == (pattern(20_000), None), "the fourth is not cut");
}

#[tokio::test]
async fn a_cut_counts_what_is_delivered_not_what_is_sent() {
    let mut faults = both(|way| (way.delay, way.rate) = (ms(100), Some(20_000)));
    faults.up.cut_after = Each::Every(10_000);
    let bench = Bench::new(faults).await;
    let begun = Instant::now();
    let [(up, ended), _] = exchange(&bench, 40_000).await;
    assert!(up == pattern(10_000), "{} bytes", up.len());
    assert_eq!(ended, Some(io::ErrorKind::ConnectionReset));
    assert!((ms(550)..ms(900)).contains(&begun.elapsed()), "{:?}: 500 ms of sending, 100 ms of way", begun.elapsed());
}

#[tokio::test]
async fn a_cut_at_a_time_counts_from_the_connections_begin() {
    let mut faults = Faults::default();
    faults.down.cut_at = Each::Every(ms(200));
    let bench = Bench::new(faults).await;
    for _ in 0..2 {
        sleep(ms(100)).await;
        let begun = Instant::now();
        let (mut dialer, mut listener) = bench.connect().await;
        dialer.write_all(b"before").await.unwrap();
        assert_eq!(read_all(&mut listener).await, (b"before".to_vec(), Some(io::ErrorKind::ConnectionReset)));
        assert!((ms(195)..ms(300)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_black_hole_keeps_the_connection_and_delivers_nothing() {
    let mut faults = Faults { ending: Ending::BlackHole, ..Faults::default() };
    faults.up.cut_after = Each::Every(100);
    let bench = Bench::new(faults).await;
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(&pattern(300)).await.unwrap();
    assert_eq!(read_for(&mut listener, ms(200)).await, pattern(100));
    listener.write_all(b"are you there?").await.unwrap();
    assert_eq!(read_for(&mut dialer, ms(200)).await, b"");
    drop(listener);
    assert_eq!(read_for(&mut dialer, ms(200)).await, b"", "nobody hears that the other hung up");
    assert_eq!(bench.proxy.counts().open_count, 1);
    drop(dialer);
    sleep(ms(200)).await;
    assert_eq!(bench.proxy.counts().open_count, 0, "when both are gone, nothing is held");
}

#[tokio::test]
async fn a_half_open_connection_carries_one_way() {
    let mut faults = Faults { ending: Ending::HalfOpen, ..Faults::default() };
    faults.up.cut_after = Each::Every(100);
    let bench = Bench::new(faults).await;
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(&pattern(300)).await.unwrap();
    assert_eq!(read_for(&mut listener, ms(100)).await, pattern(100));
    listener.write_all(&pattern(5000)).await.unwrap();
    assert_eq!(read_for(&mut dialer, ms(200)).await, pattern(5000));
    assert_eq!(bench.proxy.counts().connections[0].cut, Some(Ending::HalfOpen));
}

#[tokio::test]
async fn a_direction_can_be_steered_dead_and_alive() {
    let bench = Bench::new(Faults::default()).await;
    let (mut dialer, mut listener) = bench.connect().await;
    bench.proxy.steer(|faults| faults.down.dead = true);
    dialer.write_all(b"up").await.unwrap();
    assert_eq!(read_for(&mut listener, ms(100)).await, b"up");
    listener.write_all(b"down").await.unwrap();
    assert_eq!(read_for(&mut dialer, ms(150)).await, b"");
    bench.proxy.steer(|faults| faults.down.dead = false);
    assert_eq!(read_for(&mut dialer, ms(100)).await, b"down");
}

#[tokio::test]
async fn connections_are_cut_when_ordered() {
    let bench = Bench::new(Faults::default()).await;
    for (ending, wanted) in [(Ending::Reset, Some(io::ErrorKind::ConnectionReset)), (Ending::Fin, None)] {
        let (mut dialer, mut listener) = bench.connect().await;
        dialer.write_all(b"x").await.unwrap();
        listener.read_u8().await.unwrap();
        bench.proxy.cut(ending);
        assert_eq!(read_all(&mut dialer).await, (Vec::new(), wanted));
        assert_eq!(read_all(&mut listener).await, (Vec::new(), wanted));
    }
    assert_eq!(bench.proxy.counts().connection_count, 2);
}

#[tokio::test]
async fn a_peers_reset_reaches_the_other_after_the_way() {
    let bench = Bench::new(both(|way| way.delay = ms(100))).await;
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(b"x").await.unwrap();
    listener.read_u8().await.unwrap(); // a reset before that would meet the proxy still dialing
    let begun = Instant::now();
    socket2::SockRef::from(&listener).set_linger(Some(Duration::ZERO)).unwrap();
    drop(listener);
    assert_eq!(read_all(&mut dialer).await, (Vec::new(), Some(io::ErrorKind::ConnectionReset)));
    assert!((ms(95)..ms(250)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// Whether somebody answers within a time: `None` for nobody.
async fn dial(address: SocketAddr, within: Duration) -> Option<io::Result<TcpStream>> {
    timeout(within, TcpStream::connect(address)).await.ok()
}

#[tokio::test]
async fn in_a_blackout_nothing_moves_and_nobody_is_answered() {
    let blackouts = vec![Span { at: ms(200), lasts: ms(500) }];
    let bench = Bench::new(Faults { blackouts, ..Faults::default() }).await;
    let begun = Instant::now();
    let (mut dialer, mut listener) = bench.connect().await;
    sleep(ms(260).saturating_sub(begun.elapsed())).await;
    dialer.write_all(b"kept").await.unwrap();
    let (heard, dialed) = tokio::join!(read_for(&mut listener, ms(200)), dial(bench.proxy.address(), ms(200)));
    assert!(heard.is_empty() && dialed.is_none(), "{heard:?} {dialed:?}");
    assert_eq!(read_for(&mut listener, ms(400)).await, b"kept", "afterwards it goes on, as TCP would");
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(b"again").await.unwrap();
    drop(dialer);
    assert_eq!(read_all(&mut listener).await, (b"again".to_vec(), None));
    assert_eq!(bench.proxy.counts().connection_count, 2, "what the proxy does for silence is not counted");
}

#[tokio::test]
async fn a_killing_blackout_leaves_its_connections_dead() {
    let bench = Bench::new(Faults { blackout_kills: true, ..Faults::default() }).await;
    let (mut dialer, mut listener) = bench.connect().await;
    bench.proxy.steer(|faults| faults.dark = true);
    sleep(ms(50)).await;
    bench.proxy.steer(|faults| faults.dark = false);
    dialer.write_all(b"lost").await.unwrap();
    assert_eq!(read_for(&mut listener, ms(200)).await, b"");
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(b"new").await.unwrap();
    assert_eq!(read_for(&mut listener, ms(100)).await, b"new");
}

#[tokio::test]
async fn who_dials_is_refused_while_connections_go_on() {
    let bench = Bench::new(Faults::default()).await;
    let address = bench.proxy.address();
    let (mut dialer, mut listener) = bench.connect().await;
    bench.proxy.steer(|faults| faults.refusing = true);
    sleep(ms(50)).await;
    let refused = dial(address, ms(500)).await.unwrap();
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    dialer.write_all(b"on").await.unwrap();
    assert_eq!(read_for(&mut listener, ms(50)).await, b"on");
    bench.proxy.steer(|faults| (faults.refusing, faults.dark) = (false, true));
    sleep(ms(50)).await;
    assert!(dial(address, ms(100)).await.is_none(), "from refusing to dark");
    bench.proxy.steer(|faults| (faults.refusing, faults.dark) = (true, false));
    sleep(ms(50)).await;
    assert!(dial(address, ms(500)).await.unwrap().is_err(), "and back");
    bench.proxy.steer(|faults| faults.refusing = false);
    sleep(ms(50)).await;
    bench.connect().await;
}

#[tokio::test]
async fn a_new_rate_is_felt_at_once() {
    let bench = Bench::new(both(|way| way.rate = Some(100))).await;
    let (mut dialer, mut listener) = bench.connect().await;
    dialer.write_all(&pattern(20_000)).await.unwrap();
    drop(dialer);
    sleep(ms(200)).await;
    assert!((5..100).contains(&bench.proxy.counts().up.delivered_len), "{:?}", bench.proxy.counts());
    bench.proxy.steer(|faults| faults.up.rate = None);
    assert!(timeout(ms(200), read_all(&mut listener)).await.unwrap() == (pattern(20_000), None));
}

#[tokio::test]
async fn where_nobody_listens_the_dialer_hears_it() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(nobody, Faults::default()).unwrap();
    let mut dialer = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(read_all(&mut dialer).await, (Vec::new(), Some(io::ErrorKind::ConnectionReset)));
    assert_eq!(proxy.counts().undialed_count, 1);
}

#[tokio::test]
async fn a_stopped_proxy_closes_everything() {
    let bench = Bench::new(Faults::default()).await;
    let address = bench.proxy.address();
    let (mut dialer, mut listener) = bench.connect().await;
    bench.proxy.stop();
    let closed = timeout(ms(500), async { tokio::join!(read_all(&mut dialer), read_all(&mut listener)) }).await;
    assert!(closed.is_ok());
    assert!(dial(address, ms(500)).await.unwrap().is_err());
}

#[test]
fn a_proxy_serves_tests_that_are_not_async() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut faults = Faults::default();
    faults.up.cut_after = Each::Every(3);
    let proxy = Proxy::start_in_thread(listener.local_addr().unwrap(), faults).unwrap();
    let mut dialer = std::net::TcpStream::connect(proxy.address()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    dialer.write_all(b"hello").unwrap();
    let mut heard = Vec::new();
    assert_eq!(accepted.read_to_end(&mut heard).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(heard, b"hel");
    assert_eq!(proxy.stop().up.delivered_len, 3);
}
