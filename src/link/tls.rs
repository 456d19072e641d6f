//! The TLS profile: what two nodes speak below everything else, and the only thing they may. SPEC §7.
//!
//! TLS 1.3 (RFC 8446) with raw public keys (RFC 7250) both ways; X25519, ChaCha20-Poly1305, Ed25519 and nothing beside them; no names, no
//! tickets, no certificates and so no dates: a machine that woke up in 1970 is served like any other (R7.1-a, R7.1-d).

#[cfg(test)]
mod tests;

use super::error::{LinkError, explain_handshake, is_refusal_of_ours};
use bundle_format::sign::{Signature, SigningKey, VerifyingKey};
use bundle_format::vector::Salt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, CommonState, ConnectionCommon, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, PeerMisbehaved,
    SignatureScheme,
};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use zeroize::Zeroizing;

/// What the salt of a link is exported under (RFC 8446 §7.5; R7.1-e).
const SALT_LABEL: &[u8] = b"EXPORTER-zbundle 1";
/// Before the 32 bytes of a key: the `SubjectPublicKeyInfo` of Ed25519, RFC 8410 §4.
const SPKI_PREFIX: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
/// Before the 32 bytes of a seed: PKCS#8 version 1 of Ed25519, RFC 8410 §7.
const PKCS8_PREFIX: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// How long a handshake may take: 730 bytes and two round trips, on the slowest line we know some three seconds (R7.1-i).
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a peer that was refused is listened to, so that a reset does not overtake the alert that tells it why (R7.1-g).
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes a session keeps that a slow reader has not taken yet: one record.
const UNSENT_LEN_MAX: usize = 16 * 1024;
/// Longest record we write, head and tag included. A record counts whole or not at all: one of 16 KiB would hold back the range at its beginning for
/// seconds of a slow line, and never arrive on one that dies every 15 kB. A hundredth of the bytes is what that costs (R7.1-i).
const RECORD_LEN_MAX: usize = 2 * 1024;

/// Signing keys that no handshake accepts. Clones are the same set; a change counts from the next handshake on.
#[derive(Clone, Debug, Default)]
pub struct Revoked(Arc<RwLock<BTreeSet<[u8; 32]>>>);

impl Revoked {
    /// These and no others.
    pub fn set(&self, keys: impl IntoIterator<Item = VerifyingKey>) {
        let keys = keys.into_iter().map(|key| *key.as_bytes()).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn contains(&self, key: &VerifyingKey) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(key.as_bytes())
    }
}

/// Our side of every link: our key and whom we refuse. Cheap to clone.
#[derive(Clone)]
pub struct Profile {
    dialing: TlsConnector,
    answering: TlsAcceptor,
}

/// A stream that nobody else reads or changes, and who is at its other end.
#[derive(Debug)]
pub struct Secured<S> {
    /// The stream. It holds back what is written until it is flushed.
    pub stream: TlsStream<S>,
    /// The key the peer has proved. Nobody has looked yet whether it is in the roster.
    pub peer: VerifyingKey,
    /// Equal at both ends and at no other link.
    pub salt: Salt,
}

impl Profile {
    /// The profile of the node that signs with `signing`.
    ///
    /// # Errors
    /// [`LinkError::Ours`], if TLS cannot be set up.
    pub fn new(signing: &SigningKey, revoked: &Revoked) -> Result<Self, LinkError> {
        let key = Arc::new(certified_key(signing).map_err(LinkError::Ours)?);
        let verifier = Arc::new(Verifier { revoked: revoked.clone() });
        Ok(Self {
            dialing: dialing_config(&key, &verifier).map(Arc::new).map_err(LinkError::Ours)?.into(),
            answering: answering_config(key, verifier).map(Arc::new).map_err(LinkError::Ours)?.into(),
        })
    }

    /// The handshake of who dialed. The peer has not looked at our key when it is over: a refusal comes with the first read
    /// ([`super::explain`]).
    ///
    /// # Errors
    /// [`LinkError`], when the peer is not who may be spoken to, or the stream fails. A peer that was refused has been told.
    pub async fn dial<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<Secured<S>, LinkError> {
        let nobody = ServerName::IpAddress(IpAddr::from(Ipv4Addr::UNSPECIFIED).into()); // the key is the name; nothing of this is sent
        let handshake = self.dialing.connect_with(nobody, stream, |session| session.set_buffer_limit(Some(UNSENT_LEN_MAX)));
        let stream = Box::pin(finish(handshake.into_fallible())).await?; // boxed: the caller's task need not hold two streams
        let (peer, salt) = (proved_key(stream.get_ref().1)?, salt(stream.get_ref().1)?);
        Ok(Secured { stream: stream.into(), peer, salt })
    }

    /// The handshake of who was dialed.
    ///
    /// # Errors
    /// [`LinkError`], when the peer is not who may be spoken to, or the stream fails. A peer that was refused has been told.
    pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Result<Secured<S>, LinkError> {
        let handshake = self.answering.accept_with(stream, |session| session.set_buffer_limit(Some(UNSENT_LEN_MAX)));
        let stream = Box::pin(finish(handshake.into_fallible())).await?;
        let (peer, salt) = (proved_key(stream.get_ref().1)?, salt(stream.get_ref().1)?);
        Ok(Secured { stream: stream.into(), peer, salt })
    }
}

/// Bring a handshake to its end in time; if we refuse the peer, let it hear so.
async fn finish<S, T>(handshake: impl Future<Output = Result<T, (io::Error, S)>>) -> Result<T, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(HANDSHAKE_TIME_MAX, handshake).await {
        Ok(Ok(secured)) => Ok(secured),
        Ok(Err((error, stream))) => {
            if is_refusal_of_ours(&error) {
                timeout(DRAIN_TIME_MAX, part(stream)).await.unwrap_or(()); // who goes on talking is cut off
            }
            Err(explain_handshake(&error))
        }
        Err(_) => Err(LinkError::Silent),
    }
}

/// Say no more and listen until the peer is silent too: to close a socket with unread bytes is to reset it, and a reset destroys what the
/// peer has not read yet.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut unheard = [0; 1024];
    if stream.shutdown().await.is_ok() {
        while matches!(stream.read(&mut unheard).await, Ok(1..)) {}
    }
}

/// The cryptography: one of each. Signatures of the handshake are ours to verify, strictly, so there are no algorithms for them.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        kx_groups: vec![ring::kx_group::X25519],
        signature_verification_algorithms: WebPkiSupportedAlgorithms { all: &[], mapping: &[] },
        ..ring::default_provider()
    })
}

fn dialing_config(key: &Arc<CertifiedKey>, verifier: &Arc<Verifier>) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(NoClock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous() // because it is ours to verify the peer: see `Verifier`
        .with_custom_certificate_verifier(Arc::<Verifier>::clone(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(key))));
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config.max_fragment_size = Some(RECORD_LEN_MAX);
    Ok(config)
}

fn answering_config(key: Arc<CertifiedKey>, verifier: Arc<Verifier>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(NoClock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_fragment_size = Some(RECORD_LEN_MAX);
    Ok(config)
}

/// Our key as TLS wants it.
fn certified_key(signing: &SigningKey) -> Result<CertifiedKey, Error> {
    let pkcs8 = Zeroizing::new([&PKCS8_PREFIX[..], &signing.seed()[..]].concat());
    let secret = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
    Ok(CertifiedKey::new(vec![spki(signing.verifying_key().as_bytes())], secret))
}

/// The 44 bytes that stand where a certificate would.
fn spki(key: &[u8; 32]) -> CertificateDer<'static> {
    [&SPKI_PREFIX[..], key].concat().into()
}

/// The key in what a peer shows; `None` when it is no usable one.
fn key_of(shown: &CertificateDer<'_>) -> Option<VerifyingKey> {
    let key = shown.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    VerifyingKey::new(key).ok()
}

/// The key a finished handshake has proved.
fn proved_key(session: &CommonState) -> Result<VerifyingKey, LinkError> {
    session.peer_certificates().and_then(<[_]>::first).and_then(key_of).ok_or(LinkError::UnusableKey)
}

fn salt<Side>(session: &ConnectionCommon<Side>) -> Result<Salt, LinkError> {
    session.export_keying_material([0; 32], SALT_LABEL, None).map(Salt).map_err(LinkError::Ours)
}

/// Tells 1970. Nothing in this profile has a date, and rustls wants to hear one all the same.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

/// Who may finish a handshake: any usable key that is proved and not revoked (R7.1-b, R7.1-c, R7.1-f). Whether it is known is asked above, where strangers can be
/// introduced.
#[derive(Debug)]
struct Verifier {
    revoked: Revoked,
}

impl Verifier {
    fn check_key(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        match key_of(shown).filter(|_| more.is_empty()) {
            None => Err(CertificateError::BadEncoding.into()),
            Some(key) if self.revoked.contains(&key) => Err(CertificateError::Revoked.into()),
            Some(_) => Ok(()),
        }
    }

    fn check_signature(message: &[u8], shown: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let key = key_of(shown).ok_or(CertificateError::BadEncoding)?;
        let signature = signed.signature().try_into().map(Signature).map_err(|_| CertificateError::BadSignature)?;
        key.verify(&[], message, &signature).map_err(|_| CertificateError::BadSignature)?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_key(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>], _now: UnixTime) -> Result<ClientCertVerified, Error> {
        self.check_key(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::check_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
