//! Whether dialling again may help, and how soon. Pure. SPEC §7.6 (R7.6-e).

use crate::link::{Broken, LinkError};
use bundle_format::error::Code;

/// How long to wait at least before dialling again, for one who stays (`--every`) with so many milliseconds between; `None` where only a person can mend it.
pub(super) fn at_least_ms(broken: &Broken, every_ms: Option<u64>) -> Option<u64> {
    match broken {
        Broken::Link(error) if matches!(error.code(), Code::Z501 | Code::Z502 | Code::Z503) => Some(0),
        Broken::HungUp | Broken::Stalled(_) | Broken::Refused(Code::Z506 | Code::Z104) => Some(0),
        // Its disk is full, or fails: what people are told of as Z506, "try again later".
        Broken::Refused(_) if broken.code() == Code::Z506 => every_ms,
        // A login page stands in between, or another service is there just now.
        Broken::Link(LinkError::NotTls | LinkError::OtherProfile(_)) => every_ms,
        // The peer's key was replaced while it talked: it shows the new one next. A revoked one is refused by the handshake itself.
        Broken::Home(refusal) if refusal.code == Code::Z614 => every_ms,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Refusal;

    /// A hub whose disk was full for a minute ended every clinic's `sync --every`, for good.
    #[test]
    fn who_stays_waits_out_what_the_other_side_can_mend() {
        let home = |code: Code| Broken::Home(Refusal { code, why: String::new() });
        let cut = || Broken::Link(LinkError::Cut(std::io::ErrorKind::ConnectionReset));
        let cases = [
            (cut(), Some(0), Some(0)),
            (Broken::HungUp, Some(0), Some(0)),
            (Broken::Stalled(6), Some(0), Some(0)),
            (Broken::Refused(Code::Z104), Some(0), Some(0)),
            (Broken::Refused(Code::Z203), Some(900_000), None),     // full
            (Broken::Refused(Code::Z202), Some(900_000), None),     // read-only
            (Broken::Refused(Code::Z303), Some(900_000), None),     // failing
            (Broken::Link(LinkError::NotTls), Some(900_000), None), // a login page
            (home(Code::Z614), Some(900_000), None),                // new keys at the hub
            (Broken::Link(LinkError::PeerKeyRevoked), None, None),
            (Broken::Link(LinkError::OurKeyRevoked), None, None),
            (Broken::Refused(Code::Z614), None, None),
            (Broken::Refused(Code::Z620), None, None),
            (home(Code::Z203), None, None), // our own disk: the one who looks after this node is told
        ];
        for (broken, stays, once) in cases {
            assert_eq!((at_least_ms(&broken, Some(900_000)), at_least_ms(&broken, None)), (stays, once), "{broken:?}");
        }
    }
}
