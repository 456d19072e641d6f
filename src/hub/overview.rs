//! How the node stands, for programs: `/v1/status`, `/v1/peers`, and `/metrics` in the text form of Prometheus (written here: it is a dozen lines, and
//! no crate would make them shorter).

use super::answer::{Answer, Problem, json, whole};
use super::object::Object;
use super::records::counts;
use super::server::Hub;
use super::telling::date;
use crate::node::alarm::{self, Alarm, alarms};
use crate::node::status::{PeerStatus, Status, Stock};
use crate::node::{Node, NodeError};
use bundle_format::error::Code;
use hyper::StatusCode;
use std::fmt::Write as _;
use std::rc::Rc;

/// What every one of them is made of.
pub struct Overview {
    /// The node.
    pub status: Status,
    /// What needs a person.
    pub alarms: Vec<Alarm>,
    /// Records in conflict, those that have waited too long for what would explain them too.
    pub conflicts: u64,
    /// Records that wait for something that is on its way.
    pub pending: u64,
    /// Whether the two before are up to date.
    pub tables: Tables,
}

/// How the tables stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// In step with the log, or a moment behind.
    InStep,
    /// They are being made, and most rows may not be there.
    Behind,
    /// This keeps them from it.
    Failed(Code),
}

impl Tables {
    fn name(self) -> &'static str {
        match self {
            Self::InStep => "in_step",
            Self::Behind => "behind",
            Self::Failed(code) => code.as_str(),
        }
    }

    fn alarm(self) -> Option<Alarm> {
        match self {
            Self::InStep => None,
            Self::Behind => Some(alarm::tables(None)),
            Self::Failed(code) => Some(alarm::tables(Some(code))),
        }
    }
}

/// Look, in one turn. Tables that cannot be read do not hide the rest.
///
/// # Errors
/// What the log and the records beside it say.
pub async fn look(hub: &Rc<Hub>) -> Result<Overview, Problem> {
    let (status, counted) = hub.standing.with(|node| Ok((node.status()?, counted(hub, node)))).await?;
    let trouble = hub.tables.trouble().or(counted.as_ref().err().map(NodeError::code));
    let (conflicts, pending, is_whole) = counted.unwrap_or_default();
    let tables = trouble.map_or(if is_whole { Tables::InStep } else { Tables::Behind }, Tables::Failed);
    let mut alarms = alarms(&status, None);
    alarms.extend(alarm::conflicts(conflicts));
    alarms.extend(tables.alarm());
    Ok(Overview { status, alarms, conflicts, pending, tables })
}

/// Records in conflict and those that wait, as far as the tables tell, and whether these are whole.
fn counted(hub: &Hub, node: &Node) -> Result<(u64, u64, bool), NodeError> {
    let is_whole = hub.tables.with(|tables| Ok(tables.is_whole()?))?;
    let (conflicts, pending) = counts(hub, node)?;
    Ok((conflicts, pending, is_whole))
}

/// `GET /v1/status`.
///
/// # Errors
/// As [`look`].
pub async fn status(hub: &Rc<Hub>) -> Result<Answer, Problem> {
    let Overview { status, alarms, conflicts, pending, tables } = look(hub).await?;
    let stock = |stock: &Stock| Object::empty().with("count", stock.count).with("bytes", stock.bytes);
    let events: u64 = status.origins.iter().map(|origin| origin.held).sum();
    let object = Object::empty().with("name", &status.name).with("node", status.node.to_string()).with("time", date(status.now_ms));
    let object = object.with("joined", status.domain.is_some()).with("authority", status.domain.as_ref().map(|domain| &domain.authority));
    let object = object.with("members", status.domain.as_ref().map(|domain| domain.member_count)).with("events", events);
    let object = object.with("log_bytes", status.log_bytes).with_object("held", stock(&status.held));
    let object = object.with_object("unknown_sender", stock(&status.unknown)).with_object("quarantine", stock(&status.quarantine));
    let object = object.with("open_forks", status.open_forks().count()).with("damaged", status.is_damaged());
    let object = object.with("conflicts", conflicts).with("pending", pending).with("tables", tables.name());
    Ok(json(StatusCode::OK, object.with_objects("alarms", alarms.iter().map(alarm_object))))
}

fn alarm_object(alarm: &Alarm) -> Object {
    let object = Object::empty().with("kind", alarm.kind).with("about", &alarm.about).with_some("code", alarm.code.map(Code::as_str));
    object.with_some("ms", Some(alarm.ms).filter(|ms| *ms > 0))
}

/// `GET /v1/peers`.
///
/// # Errors
/// What the log and the records beside it say.
pub async fn peers(hub: &Rc<Hub>) -> Result<Answer, Problem> {
    let status = hub.standing.with(|node| node.status()).await?;
    let peer = |peer: &PeerStatus| {
        let at = |ms: u64| Some(ms).filter(|ms| *ms > 0).and_then(date);
        let object = Object::empty().with("name", &peer.name).with("node", peer.node.to_string()).with("heard", at(peer.heard_ms));
        let object = object.with("path", (peer.heard_ms > 0).then(|| peer.path.name())).with("via", Some(&peer.via).filter(|via| !via.is_empty()));
        let object = object.with("silent", peer.is_silent(status.now_ms));
        let object = object.with("silent_after_ms", peer.silent_after_ms).with("held", peer.held).with("lacking", peer.lacking);
        let object = object.with("lag_ms", peer.lag_ms(status.now_ms));
        let object = object.with("acknowledged", peer.acknowledged).with("unacknowledged", peer.unacknowledged);
        let object = object.with("clock_ahead_ms", peer.ahead_ms).with("address", peer.link.address.as_ref());
        object.with("settled", at(peer.link.settled_ms)).with("rate", peer.link.rate).with("link_bytes_today", peer.link.today_bytes)
    };
    Ok(json(StatusCode::OK, Object::empty().with_objects("peers", status.peers.iter().map(peer))))
}

/// `GET /metrics`.
///
/// # Errors
/// As [`look`].
pub async fn metrics(hub: &Rc<Hub>) -> Result<Answer, Problem> {
    let look = look(hub).await?;
    Ok(whole(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", exposition(&look)))
}

/// A family: its name, what it means, its samples as (label or none, value).
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, help: &str, samples: impl Iterator<Item = (Option<String>, u64)>) {
        writeln!(self.0, "# HELP zbundle_{name} {help}\n# TYPE zbundle_{name} gauge").unwrap_or(()); // into memory
        for (peer, value) in samples {
            let label = peer.map(|peer| format!("{{peer=\"{}\"}}", label_value(&peer))).unwrap_or_default();
            writeln!(self.0, "zbundle_{name}{label} {value}").unwrap_or(());
        }
    }

    fn one(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, help, std::iter::once((None, value)));
    }
}

/// What may stand between the quotes of a label.
fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn exposition(Overview { status, alarms, conflicts, pending, tables }: &Overview) -> String {
    let mut page = Page(String::new());
    page.one("events", "Events held, of all histories.", status.origins.iter().map(|origin| origin.held).sum());
    page.one("log_bytes", "Bytes of the log on the disk.", status.log_bytes);
    page.one("log_damaged", "1 when a hole was found in the log.", u64::from(status.is_damaged()));
    page.one("conflicts", "Records in conflict.", *conflicts);
    page.one("records_pending", "Records that wait for an event that is on its way.", *pending);
    page.one("tables_behind", "1 when the two before are not up to date.", u64::from(*tables != Tables::InStep));
    page.one("open_forks", "Forks that nobody has closed.", status.open_forks().count() as u64);
    page.one("alarms", "Things that need a person.", alarms.len() as u64);
    for (name, stock, help) in [
        ("held", &status.held, "that wait for what is missing before them"),
        ("unknown_sender", &status.unknown, "of unknown senders"),
        ("quarantine", &status.quarantine, "that were refused"),
    ] {
        page.one(&format!("{name}_bundles"), &format!("Bundles kept {help}."), stock.count);
        page.one(&format!("{name}_bytes"), &format!("Bytes of bundles kept {help}."), stock.bytes);
    }
    let mut each = |name: &str, help: &str, value: &dyn Fn(&PeerStatus) -> Option<u64>| {
        let samples = status.peers.iter().filter_map(|peer| Some((Some(peer.name.clone()), value(peer)?)));
        page.family(name, help, samples);
    };
    let at = |ms: u64| (ms > 0).then_some(ms / 1000);
    each("peer_events", "Events of the peer that are here.", &|peer| Some(peer.held));
    each("peer_lacking_events", "Events the peer said it has of its own that are not here.", &|peer| Some(peer.lacking));
    each("peer_lag_seconds", "How old our picture of the peer is at most: what it wrote longer ago is here.", &|peer| {
        peer.lag_ms(status.now_ms).map(|lag_ms| lag_ms / 1000)
    });
    each("peer_unacknowledged_events", "Events of ours that the peer has not acknowledged.", &|peer| Some(peer.unacknowledged));
    each("peer_last_heard_timestamp_seconds", "When something last came from the peer, by our clock.", &|peer| at(peer.heard_ms));
    each("peer_last_success_timestamp_seconds", "When both sides last had everything, over a link.", &|peer| at(peer.link.settled_ms));
    each("peer_silent_after_seconds", "How long the peer may be unheard, learned from how often it is.", &|peer| Some(peer.silent_after_ms / 1000));
    each("peer_silent", "1 when the peer has been unheard for longer than that.", &|peer| Some(u64::from(peer.is_silent(status.now_ms))));
    each("peer_clock_ahead_seconds", "By how much the peer's newest stamp is ahead of the moment it was heard.", &|peer| Some(peer.ahead_ms / 1000));
    each("peer_link_bytes_today", "Bytes on the link to the peer today, both ways.", &|peer| peer.link.today_bytes);
    page.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_where_it_should() {
        let mut page = Page(String::new());
        page.family("peer_events", "Events.", [(Some("a\"b\\c\nd".to_owned()), 7), (None, 8)].into_iter());
        let want = "# HELP zbundle_peer_events Events.\n# TYPE zbundle_peer_events gauge\nzbundle_peer_events{peer=\"a\\\"b\\\\c\\nd\"} 7\nzbundle_peer_events 8\n";
        assert_eq!(page.0, want);
    }
}
