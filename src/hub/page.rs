//! The page for people: one look at every clinic, red first. Made on the server, whole without a script; whatever stands in a record is text and nothing
//! else.
//!
//! In: how the node stands. Out: HTML. Invariants: every word that comes from an event, a file or another node is escaped (the template does it); the page
//! loads nothing but its own style sheet and script (R10.13-g); it is bounded whatever the node holds. Not here: looking (`overview`, `records`).

use super::answer::{Answer, Problem, pieces, whole};
use super::overview::{Overview, look};
use super::server::Hub;
use super::telling::{date, span};
use crate::node::NodeError;
use crate::node::alarm::Alarm;
use crate::node::conflicts::Conflict;
use crate::node::status::{PeerStatus, Refused};
use crate::node::told::Told;
use bundle_format::event::Op;
use bundle_format::ids::NodeId;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use maud::{DOCTYPE, Markup, html};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Nothing is loaded or run but our own two files, nothing is told to anybody else, nobody frames it.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Between two calls to show the page anew, however much comes.
const CALM: Duration = Duration::from_secs(2);
/// Times on the page grow old by themselves.
const RENEW: Duration = Duration::from_mins(1);
/// Days of the trend.
const DAY_COUNT: u64 = 14;
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Records in conflict and refused bundles that are listed; their number is always told.
const LIST_COUNT_MAX: u64 = 50;
/// Records that a hub tells of that are listed.
const LISTED_TOLD_MAX: usize = 50;
/// Versions of a record that are listed.
const HEAD_COUNT_MAX: u64 = 4;
/// Characters of a word from outside: a record's key may be as long as an event.
const WORD_LEN_MAX: usize = 120;
/// Peers on the page; who has more watches `/metrics`.
const PEER_COUNT_MAX: usize = 1000;

/// What the page shows.
struct Seen {
    overview: Overview,
    conflicts: Vec<(Conflict, Vec<String>)>,
    told: Vec<(String, Told)>,
    refused: Vec<Refused>,
    activity: BTreeMap<NodeId, BTreeMap<u64, u64>>,
}

/// `GET /ui`.
///
/// # Errors
/// What the log and the records beside it say; tables that cannot be read do not hide the rest.
pub async fn page(hub: &Rc<Hub>) -> Result<Answer, Problem> {
    let overview = look(hub).await?;
    let since_day = (overview.status.now_ms / DAY_MS).saturating_sub(DAY_COUNT - 1);
    let (refused, tables) = hub
        .standing
        .with(|node| {
            let refused = node.refused(LIST_COUNT_MAX)?;
            let tables = hub.tables.with(|tables| {
                let mut conflicts = Vec::new();
                for key in node.open_conflicts(tables, None, LIST_COUNT_MAX)? {
                    let record = node.record(tables, &key, HEAD_COUNT_MAX)?;
                    let names = record.heads.iter().map(|head| node.naming().node(&head.id.origin.node)).collect();
                    conflicts.push((record, names));
                }
                let mut activity: BTreeMap<NodeId, BTreeMap<u64, u64>> = BTreeMap::new();
                for (node, day, count) in tables.activity(since_day)? {
                    activity.entry(node).or_default().insert(day, count);
                }
                let named = |told: Told| (node.naming().node(&told.by), told);
                let told: Vec<_> = node.told(tables)?.into_iter().map(named).collect();
                Ok::<_, NodeError>((conflicts, told, activity))
            });
            Ok((refused, tables))
        })
        .await?;
    let (conflicts, told, activity) = tables.unwrap_or_default(); // why not is among the alarms
    let (count, name) = (overview.alarms.len(), overview.status.name.clone());
    let title = if count == 0 { name } else { format!("({count}) {name}") };
    Ok(in_place(&title, true, &render(&Seen { overview, conflicts, told, refused, activity })))
}

/// A page around `body`, with the headers that keep it what it is. `renewed` shows itself anew.
pub(super) fn in_place(title: &str, renewed: bool, body: &Markup) -> Answer {
    let text = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                @if renewed {
                    noscript { meta http-equiv="refresh" content="60"; }
                    script src="/ui/live.js" defer {}
                }
                title { (title) " · zbundle" }
                link rel="stylesheet" href="/ui/style.css";
            }
            body { (body) }
        }
    };
    let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", text.into_string());
    // A form that is sent without a referrer says that it comes from nowhere: so its Origin could not be held against ours.
    for (name, value) in [("content-security-policy", POLICY), ("referrer-policy", "same-origin"), ("x-frame-options", "DENY")] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// `GET /ui/live`: a call whenever the page may look different.
pub fn live(hub: &Rc<Hub>) -> Answer {
    let (to, receiver) = mpsc::channel(1);
    let (mut changes, mut stop) = (hub.standing.changes(), hub.stop.clone());
    tokio::task::spawn_local(async move {
        let mut text = ": it is said here when something has come\n\n";
        while timeout(RENEW, to.send(Ok(Bytes::from_static(text.as_bytes())))).await.is_ok_and(|sent| sent.is_ok()) {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = to.closed() => return,
                changed = timeout(RENEW, changes.changed()) => if changed.is_ok_and(|changed| changed.is_err()) { return },
            }
            sleep(CALM).await; // what comes meanwhile is shown with it
            changes.mark_unchanged();
            text = "data: look\n\n";
        }
    });
    pieces("text/event-stream", receiver)
}

/// `GET /ui/live.js`.
pub fn script() -> Answer {
    whole(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("live.js"))
}

/// `GET /ui/style.css`.
pub fn style() -> Answer {
    whole(StatusCode::OK, "text/css; charset=utf-8", include_str!("page.css"))
}

fn render(seen: &Seen) -> Markup {
    let Overview { status, alarms, conflicts, pending, .. } = &seen.overview;
    let mut peers: Vec<&PeerStatus> = status.peers.iter().collect();
    peers.sort_by_key(|peer| (std::cmp::Reverse(state(peer, status.now_ms).0), peer.name.clone()));
    html! {
                h1 { (status.name) }
                p.quiet {
                    (date(status.now_ms).unwrap_or_default()) " · "
                    @if let Some(domain) = &status.domain { "domain of " (domain.authority) ", " (domain.member_count) " members · " }
                    @else { "not joined yet · " }
                    (status.origins.iter().map(|origin| origin.held).sum::<u64>()) " events held, " (status.log_bytes / 1_000_000) " MB"
                }
                @if alarms.is_empty() {
                    p.well { "Nothing needs a person." }
                } @else {
                    ul.alarms { @for alarm in alarms { li { (told(alarm)) } } }
                }
                h2 { "Clinics and hubs" }
                table {
                    tr { th { "State" } th { "Name" } th { "Last heard" } th.number { "Here" } th.number { "Lacking" } th.number { "To send" } th { "14 days" } }
                    @for peer in peers.iter().take(PEER_COUNT_MAX) { (row(seen, peer)) }
                }
                @if peers.is_empty() { p.quiet { "No other node has been heard of." } }
                @if *conflicts > 0 {
                    h2 { (counted(*conflicts, "record")) " in conflict" }
                    p.quiet { "Two writers had not seen each other's change. Both are kept until somebody decides." }
                    table {
                        tr { th { "Record" } th { "Versions, the one displayed first" } }
                        @for (record, names) in &seen.conflicts { (conflict(record, names)) }
                    }
                }
                @if !seen.told.is_empty() {
                    h2 { (counted(seen.told.len() as u64, "record")) " that a hub is to decide" }
                    p.quiet { "Another node changed the same record. What it wrote is not told here; the decision comes back if it is this node's version." }
                    table {
                        tr { th { "Record" } th { "What is told" } }
                        @for (by, told) in seen.told.iter().take(LISTED_TOLD_MAX) {
                            tr { td { code { (word(&told.record_key)) } } td { (counted(told.others, "other version")) ", says " (by) ", " (date(told.hlc.ms()).unwrap_or_default())
                                @if told.decided { "; it has been decided there" } } }
                        }
                    }
                }
                @if *pending > 0 { p.quiet { (counted(*pending, "record")) " on the way: something that came before is still missing." } }
                @if !seen.refused.is_empty() {
                    h2 { (counted(status.quarantine.count, "bundle")) " in quarantine" }
                    table {
                        tr { th { "Code" } th { "Why" } th { "File" } }
                        @for refused in &seen.refused { tr { td { code { (word(&refused.code)) } } td { (word(&refused.reason)) } td { (word(&refused.file)) } } }
                    }
                    p.quiet { "What to do about a code: " code { "zbundle error CODE" } }
                }
    }
}

/// How bad, and in a word.
fn state(peer: &PeerStatus, now_ms: u64) -> (u8, &'static str) {
    match () {
        () if peer.is_silent(now_ms) => (3, "SILENT"),
        () if peer.lacking > 0 || peer.unacknowledged > 0 => (2, "behind"),
        () if peer.heard_ms == 0 => (1, "never heard"),
        () if !peer.is_known => (1, "unknown"),
        () => (0, "up to date"),
    }
}

fn row(seen: &Seen, peer: &PeerStatus) -> Markup {
    let now_ms = seen.overview.status.now_ms;
    let (badness, state) = state(peer, now_ms);
    let after_revoke = seen.overview.status.after_revoke(&peer.node);
    let class = ["good", "quiet", "wait", "bad"].get(usize::from(badness)).copied().unwrap_or_default();
    html! {
        tr {
            td { span.state.(class) { (state) } }
            td { (peer.name) @if peer.ahead_ms > DAY_MS / 24 { p.quiet { "clock " (span(peer.ahead_ms)) " ahead" } } }
            td {
                @if peer.heard_ms > 0 {
                    (span(now_ms.saturating_sub(peer.heard_ms))) " ago by " (word(peer.heard_by()))
                    p.quiet { "silent after " (span(peer.silent_after_ms)) }
                } @else { "never" }
            }
            td.number { (peer.held) @if after_revoke > 0 { p.quiet { (after_revoke) " of an ended key, not used" } } }
            td.number {
                (peer.lacking)
                @if let Some(lag_ms) = peer.lag_ms(now_ms).filter(|_| peer.lacking > 0) { p.quiet { "here up to " (span(lag_ms)) " ago" } }
            }
            td.number { (peer.unacknowledged) }
            td { (trend(seen, peer)) }
        }
    }
}

/// A bar a day, the highest of this peer as high as the picture; days are the writer's.
fn trend(seen: &Seen, peer: &PeerStatus) -> Markup {
    let last = seen.overview.status.now_ms / DAY_MS;
    let days = seen.activity.get(&peer.node);
    let count = |day: u64| days.and_then(|days| days.get(&day)).copied().unwrap_or(0);
    let days: Vec<u64> = (0..DAY_COUNT).map(|back| last.saturating_sub(DAY_COUNT - 1 - back)).collect();
    let highest = days.iter().map(|day| count(*day)).max().unwrap_or(0);
    let all: u64 = days.iter().map(|day| count(*day)).sum();
    let height = |day: u64| (count(day) * 28).div_ceil(highest.max(1));
    html! {
        svg viewBox="0 0 140 30" role="img" aria-label={ (all) " events in 14 days" } {
            line x1="0" y1="29.5" x2="140" y2="29.5" {}
            @for (place, day) in days.iter().enumerate() {
                rect x=(place * 10 + 1) y=(29 - height(*day)) width="8" height=(height(*day)) { title { (count(*day)) } }
            }
        }
    }
}

fn conflict(record: &Conflict, names: &[String]) -> Markup {
    html! {
        tr {
            td { a href={ "/ui/record?key=" (spelled(&record.record_key)) } { code { (word(&record.record_key)) } } }
            td {
                @for (head, name) in record.heads.iter().zip(names) {
                    p {
                        (name) " · " (date(head.hlc.ms()).unwrap_or_else(|| "?".into())) " · " (word(&head.kind))
                        @if head.op == Op::Delete { " · deleted" }
                        @if let Some(author) = &head.author { " · by " (word(author)) }
                    }
                }
                @if record.more() > 0 { p.quiet { "and " (record.more()) " more" } }
            }
        }
    }
}

/// An alarm in words.
fn told(alarm: &Alarm) -> Markup {
    let about = word(&alarm.about);
    html! {
        @match alarm.kind {
            "silent" => { strong { (about) } " has been silent for " (span(alarm.ms)) ". Call them." }
            "clock_ahead" => { strong { (about) } ": its clock is at least " (span(alarm.ms)) " ahead, or ours is behind." }
            "stamps_ahead" => { strong { "The stamps of this node" } " run " (span(alarm.ms)) " ahead of its clock. Set the clock." }
            "disbelieved" => { strong { (about) } " says again and again that this node has lost records, and shows none. Is a copy of its card at work? If not, ask their people." }
            "fork" => { strong { "Fork" } " " (about) ": one history was written twice. Both are kept." }
            "roster_forked" => { strong { "The roster has forked." } " The authority must heal it." }
            "damaged" => { strong { "The log is damaged." } " See " code { "zbundle fsck" } "." }
            "quarantine" => { strong { "Refused bundles: " (about) } ", kept in quarantine." }
            "unknown_sender" => { strong { "Bundles of unknown senders: " (about) } ". Are they to be members?" }
            "config" => { strong { "config.toml sets nothing:" } " it does not read. " (about) }
            "conflicts" => { strong { "Records in conflict: " (about) } ". Somebody must decide." }
            _ => { strong { "The tables" } " are not up to date; conflicts and trends may be old." }
        }
        @if let Some(code) = alarm.code { " " code { (code.as_str()) } }
    }
}

fn counted(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A word as a part of an address.
fn spelled(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A word from outside, short enough; what turns the reading direction or controls anything is shown as what it is.
pub(super) fn word(text: &str) -> String {
    words(text, WORD_LEN_MAX)
}

/// The same, up to `len_max` characters.
pub(super) fn words(text: &str, len_max: usize) -> String {
    let mut out = String::new();
    for character in text.chars().take(len_max) {
        let turns =
            matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns || character == '\u{feff}' {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    if text.chars().nth(len_max).is_some() { out + "…" } else { out }
}
