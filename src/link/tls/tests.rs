//! The profile's claims: whom it lets through, what each side is told, and how many bytes it costs. Waits pass in no time, but on real sockets.

use super::*;
use crate::link::explain;
use crate::ports::net::{Counted, Traffic};
use bundle_format::error::{Code, Exit};
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::io::{DuplexStream, ReadBuf, ReadHalf, WriteHalf, copy, duplex, split};

/// A socket's worth of bytes in flight.
const IN_FLIGHT_LEN: usize = 64 * 1024;

type Outcome<S = DuplexStream> = Result<Secured<S>, LinkError>;

fn ada() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn hub() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn profile(signing: &SigningKey) -> Profile {
    Profile::new(signing, &Revoked::default()).unwrap()
}

/// The profile of who refuses `whom`.
fn refusing(signing: &SigningKey, whom: &SigningKey) -> Profile {
    let revoked = Revoked::default();
    revoked.set([whom.verifying_key()]);
    Profile::new(signing, &revoked).unwrap()
}

/// Both ends of one handshake.
async fn meet(dialer: &Profile, listener: &Profile) -> (Outcome, Outcome) {
    let (near, far) = duplex(IN_FLIGHT_LEN);
    tokio::join!(dialer.dial(near), listener.answer(far))
}

/// What the dialer's first read says, after a handshake that seemed to succeed.
async fn first_read(dialed: Outcome) -> LinkError {
    let mut stream = dialed.unwrap().stream;
    explain(&stream.read_u8().await.unwrap_err())
}

/// What a listener says of bytes that are no handshake of ours, and what it answers.
async fn answer_to(bytes: &[u8]) -> (LinkError, Vec<u8>) {
    let (mut near, far) = duplex(IN_FLIGHT_LEN);
    let mut heard = Vec::new();
    let stranger = async {
        near.write_all(bytes).await.unwrap();
        near.read_to_end(&mut heard).await.unwrap();
        drop(near);
    };
    let listener = profile(&hub());
    let ((), answered) = tokio::join!(stranger, listener.answer(far));
    (answered.unwrap_err(), heard)
}

/// A dialer that shows `shown` and signs with its own key.
fn dialer_showing(shown: CertificateDer<'static>) -> Profile {
    let honest = certified_key(&SigningKey::from_seed(&[66; 32])).unwrap();
    let key = Arc::new(CertifiedKey::new(vec![shown], honest.key));
    let verifier = Arc::new(Verifier { revoked: Revoked::default() });
    Profile {
        dialing: Arc::new(dialing_config(&key, &verifier).unwrap()).into(),
        answering: Arc::new(answering_config(key, verifier).unwrap()).into(),
    }
}

/// A dialer with a configuration that is not ours.
fn dialer_with(change: impl FnOnce(&mut ClientConfig)) -> Profile {
    let key = Arc::new(certified_key(&ada()).unwrap());
    let mut config = dialing_config(&key, &Arc::new(Verifier { revoked: Revoked::default() })).unwrap();
    change(&mut config);
    Profile { dialing: Arc::new(config).into(), ..profile(&ada()) }
}

#[tokio::test(start_paused = true)]
async fn both_ends_learn_whose_key_the_other_holds_and_share_a_salt() {
    let (dialed, answered) = meet(&profile(&ada()), &profile(&hub())).await;
    let (dialed, answered) = (dialed.unwrap(), answered.unwrap());
    assert_eq!((dialed.peer, answered.peer), (hub().verifying_key(), ada().verifying_key()));
    assert_eq!(dialed.salt, answered.salt);
    let (again, _) = meet(&profile(&ada()), &profile(&hub())).await;
    assert_ne!(dialed.salt, again.unwrap().salt, "another link, another salt");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_is_379_bytes_up_and_351_down_and_a_write_costs_22_more_than_it_says() {
    let (near, far) = duplex(IN_FLIGHT_LEN);
    let (up, down) = (Rc::new(Traffic::default()), Rc::new(Traffic::default()));
    let (dialer, listener) = (profile(&ada()), profile(&hub()));
    let (dialed, answered) = tokio::join!(dialer.dial(Counted::new(near, &up)), listener.answer(Counted::new(far, &down)));
    let (mut dialed, mut answered) = (dialed.unwrap().stream, answered.unwrap().stream);
    assert_eq!((up.written_len.get(), up.read_len.get()), (379, 351));
    assert_eq!((down.read_len.get(), down.written_len.get()), (379, 351));

    dialed.write_all(&[0; 100]).await.unwrap();
    dialed.flush().await.unwrap();
    answered.read_exact(&mut [0; 100]).await.unwrap();
    answered.write_all(&[0; 2]).await.unwrap();
    answered.flush().await.unwrap();
    dialed.read_exact(&mut [0; 2]).await.unwrap();
    assert_eq!((up.written_len.get(), up.read_len.get()), (379 + 122, 351 + 24));

    dialed.shutdown().await.unwrap();
    assert_eq!(up.written_len.get(), 379 + 122 + 24, "and a goodbye 24");
    assert_eq!(answered.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_dialer_is_refused_and_told() {
    let (dialed, answered) = meet(&profile(&ada()), &refusing(&hub(), &ada())).await;
    assert!(matches!(answered, Err(LinkError::PeerKeyRevoked)), "{answered:?}");
    let told = first_read(dialed).await;
    assert!(matches!(told, LinkError::OurKeyRevoked), "{told:?}");
    assert_eq!((told.code(), told.code().row().exit), (Code::Z622, Exit::NotTrusted));
}

#[tokio::test]
async fn a_revoked_dialer_is_told_behind_whatever_it_wrote_in_the_meantime() {
    let network = crate::adapters::os_ports().net; // real sockets: what is at stake is a reset that overtakes the alert
    let listener = network.listen("127.0.0.1:0").await.unwrap();
    let address = listener.address().unwrap();
    for _ in 0..20 {
        let revoked = async {
            let mut dialed = profile(&ada()).dial(network.connect(&address).await.unwrap()).await.unwrap().stream;
            dialed.write_all(&vec![0; 60_000]).await.unwrap();
            dialed.flush().await.unwrap();
            explain(&dialed.read_u8().await.unwrap_err())
        };
        let refuser = refusing(&hub(), &ada());
        let answer = async { refuser.answer(listener.accept().await.unwrap().0).await.map(drop) };
        let (told, answered) = tokio::join!(revoked, answer);
        assert!(matches!((&told, &answered), (LinkError::OurKeyRevoked, Err(LinkError::PeerKeyRevoked))), "{told:?} {answered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_dialer_may_finish_what_it_was_saying() {
    let (near, far) = duplex(4 * 1024); // so that most of it is said after the refusal
    let said = async {
        let mut dialed = profile(&ada()).dial(near).await.unwrap().stream;
        dialed.write_all(&vec![0; 60_000]).await.unwrap();
        dialed.flush().await.unwrap();
        explain(&dialed.read_u8().await.unwrap_err())
    };
    let refuser = refusing(&hub(), &ada());
    let (told, answered) = tokio::join!(said, refuser.answer(far));
    assert!(matches!((&told, &answered), (LinkError::OurKeyRevoked, Err(LinkError::PeerKeyRevoked))), "{told:?} {answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_listener_is_refused_and_told() {
    let (dialed, answered) = meet(&refusing(&ada(), &hub()), &profile(&hub())).await;
    assert!(matches!(dialed, Err(LinkError::PeerKeyRevoked)), "{dialed:?}");
    assert!(matches!(answered, Err(LinkError::OurKeyRevoked)), "{answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_counts_from_the_next_handshake_on_and_can_be_taken_back() {
    let revoked = Revoked::default();
    let (dialer, listener) = (profile(&ada()), Profile::new(&hub(), &revoked).unwrap());
    assert!(meet(&dialer, &listener).await.1.is_ok());
    revoked.set([ada().verifying_key()]);
    assert!(meet(&dialer, &listener).await.1.is_err());
    revoked.set([SigningKey::from_seed(&[9; 32]).verifying_key()]);
    assert!(meet(&dialer, &listener).await.1.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dialer_without_a_key_is_refused() {
    let keyless = dialer_with(|config| config.client_auth_cert_resolver = Arc::new(Shows { key: None, raw: true }));
    let (dialed, answered) = meet(&keyless, &profile(&hub())).await;
    assert!(matches!(answered, Err(LinkError::NoKey)), "{answered:?}");
    let told = first_read(dialed).await;
    assert!(matches!(told, LinkError::OtherProfile(Error::AlertReceived(_))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_wants_certificates_is_refused_on_either_side() {
    let with_certificate = dialer_with(|config| config.client_auth_cert_resolver = Arc::new(Shows { key: None, raw: false }));
    let (dialed, answered) = meet(&with_certificate, &profile(&hub())).await;
    assert!(matches!((&dialed, &answered), (Err(LinkError::OtherProfile(_)), Err(LinkError::OtherProfile(_)))), "{dialed:?} {answered:?}");

    let key = Arc::new(certified_key(&hub()).unwrap());
    let mut config = answering_config(Arc::clone(&key), Arc::new(Verifier { revoked: Revoked::default() })).unwrap();
    config.cert_resolver = Arc::new(Shows { key: Some(key), raw: false });
    let with_certificate = Profile { answering: Arc::new(config).into(), ..profile(&hub()) };
    let (dialed, answered) = meet(&profile(&ada()), &with_certificate).await;
    assert!(matches!((&dialed, &answered), (Err(LinkError::OtherProfile(_)), Err(LinkError::OtherProfile(_)))), "{dialed:?} {answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_asks_for_no_key_is_refused() {
    let config = ServerConfig::builder_with_details(provider(), Arc::new(NoClock))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(Arc::new(NoClientAuth))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified_key(&hub()).unwrap()))));
    let careless = Profile { answering: Arc::new(config).into(), ..profile(&hub()) };
    let (dialed, _) = meet(&profile(&ada()), &careless).await;
    assert!(matches!(dialed, Err(LinkError::OtherProfile(_))), "{dialed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plain_request_is_refused_and_answered_with_an_alert() {
    let (refused, heard) = answer_to(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n").await;
    assert!(matches!(refused, LinkError::NotTls), "{refused:?}");
    assert_eq!(refused.code(), Code::Z504);
    assert_eq!(heard.first(), Some(&21), "a TLS alert: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_plain_answer_is_told_from_tls() {
    let (near, mut far) = duplex(IN_FLIGHT_LEN);
    let login_page = async {
        far.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n").await.unwrap();
        far.read_to_end(&mut Vec::new()).await.unwrap();
        drop(far);
    };
    let dialer = profile(&ada());
    let (dialed, ()) = tokio::join!(dialer.dial(near), login_page);
    assert!(matches!(dialed, Err(LinkError::NotTls)), "{dialed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hello_of_tls_1_2_alone_is_refused() {
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x2f], &[1, 0], &[0, 8, 0, 13, 0, 4, 0, 2, 8, 7]].concat();
    let hello = [&[1, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat();
    let record = [&[22, 3, 1, 0, u8::try_from(hello.len()).unwrap()][..], &hello].concat();
    let (refused, heard) = answer_to(&record).await;
    assert!(matches!(refused, LinkError::OtherProfile(Error::PeerIncompatible(_))), "{refused:?}");
    assert_eq!(heard.first(), Some(&21), "a TLS alert: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn who_shows_a_key_that_is_not_its_own_is_refused_on_either_side() {
    let impostor = dialer_showing(spki(ada().verifying_key().as_bytes()));
    let (_, answered) = meet(&impostor, &profile(&hub())).await;
    assert!(matches!(answered, Err(LinkError::NotItsKey)), "{answered:?}");
    let (dialed, answered) = meet(&profile(&hub()), &impostor).await;
    assert!(matches!((&dialed, &answered), (Err(LinkError::NotItsKey), Err(LinkError::Violation(_)))), "{dialed:?} {answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_for_which_anybody_could_sign_and_what_is_no_key_are_refused() {
    let identity = [&[1][..], &[0; 31]].concat().try_into().unwrap();
    for shown in [spki(&identity), spki(&[0; 32]), CertificateDer::from(vec![0x30; 44]), CertificateDer::from(spki(&[3; 32])[..43].to_vec())] {
        let weak = dialer_showing(shown.clone());
        let (_, answered) = meet(&weak, &profile(&hub())).await;
        assert!(matches!(answered, Err(LinkError::UnusableKey)), "{shown:?}: {answered:?}");
        let (dialed, _) = meet(&profile(&ada()), &weak).await;
        assert!(matches!(dialed, Err(LinkError::UnusableKey)), "{shown:?}: {dialed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_may_arrive_byte_by_byte() {
    let (near, far) = duplex(IN_FLIGHT_LEN);
    let (dialer, listener) = (profile(&ada()), profile(&hub()));
    let (dialed, answered) = tokio::join!(dialer.dial(Trickle(near)), listener.answer(Trickle(far)));
    assert_eq!(dialed.unwrap().salt, answered.unwrap().salt);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_cut_at_any_byte_is_told_as_cut() {
    for (up_len, down_len) in [(0, 351), (1, 351), (185, 351), (186, 351), (378, 351), (379, 0), (379, 1), (379, 350)] {
        let ((near, dialed_end), (far, answered_end)) = (duplex(IN_FLIGHT_LEN), duplex(IN_FLIGHT_LEN));
        let ((from_dialer, to_dialer), (from_listener, to_listener)) = (split(dialed_end), split(answered_end));
        let (dialer, listener) = (profile(&ada()), profile(&hub()));
        let (up, down) = (pass_on(from_dialer, to_listener, up_len), pass_on(from_listener, to_dialer, down_len));
        let (dialed, answered, (), ()) = tokio::join!(dialer.dial(near), listener.answer(far), up, down);
        let sufferer = if up_len < 379 { answered } else { dialed };
        assert!(matches!(sufferer, Err(LinkError::Cut(_))), "{up_len} up, {down_len} down: {sufferer:?}");
    }
}

/// The first `len` bytes of one direction, and then its end.
async fn pass_on(from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, len: u64) {
    copy(&mut from.take(len), &mut to).await.unwrap_or(0);
    to.shutdown().await.unwrap_or(()); // who reads no more has been told enough
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_given_up() {
    let (_near, far) = duplex(IN_FLIGHT_LEN);
    let answered = profile(&hub()).answer(far).await;
    assert!(matches!(answered, Err(LinkError::Silent)), "{answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_that_goes_on_talking_is_cut_off() {
    let (mut near, far) = duplex(IN_FLIGHT_LEN);
    let talker = async {
        while near.write_all(b"GET / HTTP/1.1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let listener = profile(&hub());
    let begun = tokio::time::Instant::now();
    let ((), answered) = tokio::join!(talker, listener.answer(far));
    assert!(matches!(answered, Err(LinkError::NotTls)), "{answered:?}");
    assert!((DRAIN_TIME_MAX..HANDSHAKE_TIME_MAX).contains(&begun.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_on_the_way_is_no_peer_without_tls() {
    let (near, far) = duplex(IN_FLIGHT_LEN);
    let (dialer, listener) = (profile(&ada()), profile(&hub()));
    let (dialed, answered) = tokio::join!(dialer.dial(near), listener.answer(far));
    let (mut dialed, mut answered) = (dialed.unwrap().stream, answered.unwrap().stream);
    dialed.get_mut().0.write_all(&[23, 3, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let broken = explain(&answered.read_u8().await.unwrap_err());
    assert!(matches!(broken, LinkError::Violation(Error::DecryptError)), "{broken:?}");
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_goodbye_is_a_cut() {
    // R7.1-h
    let (dialed, answered) = meet(&profile(&ada()), &profile(&hub())).await;
    drop(dialed);
    let cut = explain(&answered.unwrap().stream.read(&mut [0; 1]).await.unwrap_err());
    assert!(matches!(cut, LinkError::Cut(io::ErrorKind::UnexpectedEof)), "{cut:?}");
}

#[test]
fn no_handshake_asks_what_time_it_is() {
    let profile = profile(&ada());
    let epoch = Some(UnixTime::since_unix_epoch(Duration::ZERO));
    assert_eq!(profile.dialing.config().time_provider.current_time(), epoch);
    assert_eq!(profile.answering.config().time_provider.current_time(), epoch);
}

#[test]
fn a_task_in_a_handshake_holds_no_more_than_its_stream() {
    let profile = profile(&ada());
    let (near, far) = (Box::new(duplex(1).0), Box::new(duplex(1).0));
    assert!(size_of_val(&profile.dial(near)) <= 64, "{}", size_of_val(&profile.dial(far)));
}

/// Shows something or nothing, as a dialer or a listener, and calls it a raw key or a certificate.
#[derive(Debug)]
struct Shows {
    key: Option<Arc<CertifiedKey>>,
    raw: bool,
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.key.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.clone()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// A stream that gives one byte at a time.
struct Trickle(DuplexStream);

impl AsyncRead for Trickle {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        let polled = Pin::new(&mut self.0).poll_read(context, &mut one);
        into.put_slice(one.filled());
        polled
    }
}

impl AsyncWrite for Trickle {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
