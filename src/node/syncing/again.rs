//! Whether dialling again may help, and how soon. Pure. SPEC §7.6 (R7.6-e).

use crate::link::{Broken, LinkError};
use bundle_format::error::Code;

/// How soon dialling again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hope {
    /// The link failed: as soon as it may be back.
    Soon,
    /// What stands in the way must be mended there: who stays looks again after the time it was given.
    Later,
    /// Only a person can mend it.
    None,
}

/// What `broken` leaves to hope for, for one who `stays` (`--every`) or not.
pub(super) fn hope(broken: &Broken, stays: bool) -> Hope {
    match broken {
        Broken::Link(error) if matches!(error.code(), Code::Z501 | Code::Z502 | Code::Z503) => Hope::Soon,
        Broken::HungUp | Broken::Stalled(_) => Hope::Soon,
        Broken::Refused(Code::Z506 | Code::Z104) => Hope::Soon,
        // Its disk is full, or fails: what people are told of as Z506, "try again later".
        Broken::Refused(_) if stays && broken.code() == Code::Z506 => Hope::Later,
        // A login page stands in between, or another service is there just now.
        Broken::Link(LinkError::NotTls | LinkError::OtherProfile(_)) if stays => Hope::Later,
        // The peer's key was replaced while it talked: it shows the new one next. A revoked one is refused by the handshake itself.
        Broken::Home(refusal) if stays && refusal.code == Code::Z614 => Hope::Later,
        _ => Hope::None,
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
            (cut(), Hope::Soon, Hope::Soon),
            (Broken::HungUp, Hope::Soon, Hope::Soon),
            (Broken::Stalled(6), Hope::Soon, Hope::Soon),
            (Broken::Refused(Code::Z104), Hope::Soon, Hope::Soon),
            (Broken::Refused(Code::Z203), Hope::Later, Hope::None),     // full
            (Broken::Refused(Code::Z202), Hope::Later, Hope::None),     // read-only
            (Broken::Refused(Code::Z303), Hope::Later, Hope::None),     // failing
            (Broken::Link(LinkError::NotTls), Hope::Later, Hope::None), // a login page
            (home(Code::Z614), Hope::Later, Hope::None),                // new keys at the hub
            (Broken::Link(LinkError::PeerKeyRevoked), Hope::None, Hope::None),
            (Broken::Link(LinkError::OurKeyRevoked), Hope::None, Hope::None),
            (Broken::Refused(Code::Z614), Hope::None, Hope::None),
            (Broken::Refused(Code::Z620), Hope::None, Hope::None),
            (home(Code::Z203), Hope::None, Hope::None), // our own disk: the one who looks after this node is told
        ];
        for (broken, stays, once) in cases {
            assert_eq!((hope(&broken, true), hope(&broken, false)), (stays, once), "{broken:?}");
        }
    }
}
