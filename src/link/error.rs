//! Why two nodes did not come to speak, and whose fault it is.

use bundle_format::error::Code;
use rustls::{AlertDescription as Alert, CertificateError, Error as TlsError, InvalidMessage};
use std::io;

/// Why a link was not made, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No connection to the peer's machine. The network's fault, or the address is wrong.
    #[error("the peer cannot be reached: {0}")]
    Dial(#[source] io::Error),
    /// The peer refuses our key: its roster says so. Ours to mend.
    #[error("the peer refuses our key: it has been replaced or revoked")]
    OurKeyRevoked,
    /// Our roster says that the peer's key counts no more.
    #[error("the peer's key has been replaced or revoked")]
    PeerKeyRevoked,
    /// Who dialed us speaks our TLS and brought no key.
    #[error("the peer showed no key")]
    NoKey,
    /// What answers or dials is no TLS at all: a browser's plain request, a login page in between, another service.
    #[error("what is at the other end does not speak TLS")]
    NotTls,
    /// TLS with certificates, of an older version, or with other ciphers.
    #[error("the peer speaks TLS, but not zbundle's: {0}")]
    OtherProfile(#[source] TlsError),
    /// Its key is no Ed25519 key, or a weak one for which anybody could sign.
    #[error("the peer's key is not usable")]
    UnusableKey,
    /// It shows a key whose secret half it does not have.
    #[error("the peer shows a key that is not its own")]
    NotItsKey,
    /// What arrives is not TLS as it must be: changed on the way, or the peer's program is faulty.
    #[error("TLS with the peer failed: {0}")]
    Violation(#[source] TlsError),
    /// The peer, or the network, was silent for too long.
    #[error("the peer took too long")]
    Silent,
    /// The stream ended or was reset in the middle.
    #[error("the connection was cut: {0}")]
    Cut(io::ErrorKind),
    /// A fault on this machine: no random bytes, or a bug.
    #[error("TLS failed on this side: {0}")]
    Ours(#[source] TlsError),
}

impl LinkError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Dial(_) => Code::Z501,
            Self::Cut(_) => Code::Z502,
            Self::Silent => Code::Z503,
            Self::NoKey | Self::NotTls | Self::OtherProfile(_) => Code::Z504,
            Self::UnusableKey | Self::NotItsKey | Self::Violation(_) => Code::Z505,
            Self::PeerKeyRevoked => Code::Z614,
            Self::OurKeyRevoked => Code::Z622,
            Self::Ours(_) => Code::Z100,
        }
    }
}

/// What an error of a secured stream means.
///
/// The dialer's handshake is over before the listener has looked at its key, so a refusal comes as an error of the dialer's first *read*:
/// who fails to write should still read, for the reason may lie there.
pub fn explain(error: &io::Error) -> LinkError {
    match (tls_error(error), error.kind()) {
        (Some(tls), _) => explain_tls(tls.clone()),
        (None, io::ErrorKind::TimedOut) => LinkError::Silent, // the system's own questions went unanswered
        (None, kind) => LinkError::Cut(kind),
    }
}

/// The same before the handshake is over, when bytes that are no TLS mean that nobody meant TLS.
pub(super) fn explain_handshake(error: &io::Error) -> LinkError {
    match tls_error(error) {
        Some(TlsError::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)) => LinkError::NotTls,
        _ => explain(error),
    }
}

/// Whether it was we who found fault, so that an alert of ours is on its way to the peer.
pub(super) fn is_refusal_of_ours(error: &io::Error) -> bool {
    tls_error(error).is_some_and(|tls| !matches!(tls, TlsError::AlertReceived(_)))
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn explain_tls(error: TlsError) -> LinkError {
    match error {
        TlsError::AlertReceived(Alert::CertificateRevoked) => LinkError::OurKeyRevoked,
        TlsError::AlertReceived(
            Alert::HandshakeFailure
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::InappropriateFallback
            | Alert::MissingExtension
            | Alert::UnsupportedExtension
            | Alert::NoApplicationProtocol
            | Alert::UnrecognisedName
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::UnknownCA
            | Alert::AccessDenied,
        )
        | TlsError::PeerIncompatible(_) => LinkError::OtherProfile(error),
        TlsError::NoCertificatesPresented => LinkError::NoKey,
        TlsError::InvalidCertificate(CertificateError::Revoked) => LinkError::PeerKeyRevoked,
        TlsError::InvalidCertificate(CertificateError::BadSignature) => LinkError::NotItsKey,
        TlsError::InvalidCertificate(_) => LinkError::UnusableKey,
        TlsError::AlertReceived(_)
        | TlsError::DecryptError
        | TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. }
        | TlsError::InvalidMessage(_)
        | TlsError::PeerMisbehaved(_)
        | TlsError::PeerSentOversizedRecord => LinkError::Violation(error),
        _ => LinkError::Ours(error),
    }
}
