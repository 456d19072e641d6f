//! One record in conflict for a person to decide: its versions side by side, and a form that works without a script.
//!
//! In: a record's key; then what a person chose. Out: HTML; an event that has seen all versions. Invariants: a decision is taken only from a form that this
//! process made, about exactly the versions that were shown (R10.13-h); every word is escaped, payloads too (R10.13-g). Not here: how it is settled
//! (`node::conflicts`).

use super::answer::{Answer, Problem, whole};
use super::differing::{differences, visible};
use super::page::{in_place, word};
use super::routes::{decode, query};
use super::server::Hub;
use super::taking::receive;
use super::telling::date;
use crate::node::NodeError;
use crate::node::conflicts::{Conflict, Payload, Resolution, heads_digest};
use crate::ports::projection::State;
use crate::push::json::value;
use bundle_format::error::Code;
use bundle_format::event::Op;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use maud::{Markup, html};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::rc::Rc;

/// Versions that are shown; who has more decides at the command line.
const HEAD_COUNT_MAX: u64 = 8;
/// Payload bytes on the page.
const PAYLOAD_LEN_MAX: u64 = 64 * 1024;
/// Places at which versions differ that are listed.
const FIELD_COUNT_MAX: usize = 200;
/// The button that takes what was written by hand.
const BY_HAND: &str = "by hand";

/// What is shown.
struct Seen {
    record: Conflict,
    /// Of each version: its id and its writer as people call them, and what can be shown of it.
    versions: Vec<(String, String, Payload)>,
    /// Which versions there are, those that have no room here too.
    digest: String,
}

/// `GET /ui/record?key=KEY`.
///
/// # Errors
/// Z412, Z433; what the log or the tables say.
pub async fn show(hub: &Rc<Hub>, request: &Request<Incoming>) -> Result<Answer, Problem> {
    let key = query(request, &["key"])?.into_iter().map(|(_, key)| key).next();
    let key = key.ok_or_else(|| Problem::new(Code::Z433, "which record: key"))?;
    hub.catch_up().await?;
    let seen = hub.standing.with(|node| {
        hub.tables.with(|tables| {
            node.project_on(tables)?;
            let record = node.record(tables, &key, HEAD_COUNT_MAX)?;
            let (mut left, mut versions) = (PAYLOAD_LEN_MAX, Vec::new());
            for head in &record.heads {
                let shown = node.shown(&head.id, left)?;
                left -= shown.shown_len();
                versions.push((node.naming().event(&head.id), node.naming().node(&head.id.origin.node), shown));
            }
            Ok(Seen { digest: heads_digest(tables, &key)?.to_string(), record, versions })
        })
    });
    let seen = seen.await?;
    hub.standing.durable().await?;
    Ok(in_place(&word(&key), false, &render(&seen, &hub.form_token)))
}

fn render(seen: &Seen, token: &str) -> Markup {
    let Seen { record, versions, digest } = seen;
    let open = record.folded.state.differs();
    let values: Vec<Option<Value>> = versions.iter().map(|(_, _, shown)| shown.bytes().and_then(value)).collect();
    let fields = differences(&values);
    html! {
        p { a href="/ui" { "All clinics" } }
        h1 { code { (word(&record.record_key)) } }
        p.quiet {
            @if open { (record.folded.head_count) " versions whose writers had not seen each other's. Whatever you decide is one more event; all versions stay." }
            @else { "Nothing to decide: " (record.folded.state.name()) "." }
        }
        @if record.folded.state == State::Appended { p.quiet { "A rule lets them stand side by side: nobody has to decide." } }
        @if record.folded.state == State::Pending { p.quiet { "Something that came before is still on its way; it may explain the difference." } }
        form method="post" action="/ui/record" {
            button disabled hidden {} // what the Enter key presses: nobody decides by it
            input type="hidden" name="token" value=(token);
            input type="hidden" name="seen" value=(digest);
            input type="hidden" name="key" value=(record.record_key);
            table {
                tr {
                    th {}
                    @for (head, (_, writer, _)) in record.heads.iter().zip(versions) {
                        th { strong { (writer) } br; (date(head.hlc.ms()).unwrap_or_else(|| "?".into())) br; (word(&head.kind))
                            @if let Some(author) = &head.author { br; "by " (word(author)) } }
                    }
                }
                @for (place, values) in fields.iter().take(FIELD_COUNT_MAX) {
                    tr { th { code { (visible(place)) } } @for value in values { td { (told(value.as_ref())) } } }
                }
                @if fields.len() > FIELD_COUNT_MAX { tr { th { "and " (fields.len() - FIELD_COUNT_MAX) " more" } } }
                @if fields.is_empty() {
                    tr { th { "all of it" } @for (head, (_, _, shown)) in record.heads.iter().zip(versions) { td { (text(head.op, shown)) } } }
                }
                @if open {
                    tr { th {} @for (id, _, shown) in versions { td { @if *shown != Payload::Rotten { button name="take" value=(id) { "This is right" } } } } }
                }
            }
            @if open {
                @if record.more() > 0 { p { "More versions than fit here: " code { "zbundle conflicts show" } } }
                p { label { "Who decides: " input name="author" required maxlength="100"; } }
                @if let Some(value) = begun_by_hand(seen, &values) {
                    details {
                        summary { "None of them: write what is right" }
                        textarea name="merged" rows="12" { (serde_json::to_string_pretty(value).unwrap_or_default()) }
                        p { button name="take" value=(BY_HAND) { "What I wrote is right" } }
                    }
                }
            }
        }
    }
}

/// What a person changes who takes none of the versions: the one displayed first. None where a version beside it is shown as it came or not at all, for it
/// says something that the form would lose (R10.13-i).
fn begun_by_hand<'a>(seen: &Seen, values: &'a [Option<Value>]) -> Option<&'a Value> {
    let mut is_kept_back = seen.record.heads.iter().zip(values).map(|(head, value)| head.op != Op::Delete && value.is_none());
    if is_kept_back.any(|kept_back| kept_back) { None } else { values.first()?.as_ref() }
}

fn told(value: Option<&Value>) -> Markup {
    html! {
        @match value {
            None => { span.quiet { "none" } }
            Some(value) => { div.value { code { (visible(&value.to_string())) } } }
        }
    }
}

fn text(op: Op, shown: &Payload) -> Markup {
    html! {
        @match shown {
            Payload::Rotten => { strong { "cannot be read here: it has rotted" } }
            _ if op == Op::Delete => { "deleted" }
            Payload::TooLong => { span.quiet { "too large for this page: " code { "zbundle conflicts show" } } }
            Payload::Here(payload) => { div.value { code { (visible(&String::from_utf8_lossy(payload))) } } }
        }
    }
}

/// `POST /ui/record`.
///
/// # Errors
/// Z441 when the form is not one of ours or the record has changed since; Z412, Z413, Z431, Z433, Z438; what the log or the tables say.
pub async fn decide(hub: &Rc<Hub>, request: Request<Incoming>) -> Result<Answer, Problem> {
    // The gate has looked at Origin. A browser that tells where a request comes from must say that it comes from here.
    let site = request.headers().get("sec-fetch-site").map(|site| site.as_bytes().to_owned());
    if site.is_some_and(|site| site != b"same-origin") {
        return Err(Problem::new(Code::Z435, "another page sent this form"));
    }
    let _permit = hub.body()?;
    let body = receive(hub, request.into_body()).await?;
    let malformed = || Problem::new(Code::Z433, "this is not the form of /ui/record");
    let form = body.in_memory().and_then(|body| std::str::from_utf8(body).ok()).and_then(pairs).ok_or_else(malformed)?;
    let field = |name: &str| form.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let token = field("token").unwrap_or_default();
    // Digests are compared: how long it takes tells nothing of the token.
    if Sha256::digest(token) != Sha256::digest(&hub.form_token) {
        return Err(Problem::new(Code::Z441, "zbundle has been started anew since"));
    }
    let (key, take) = field("key").zip(field("take")).ok_or_else(malformed)?;
    let author = field("author").map(str::trim).filter(|author| !author.is_empty()).map(str::to_owned);
    let merged = field("merged").filter(|_| take == BY_HAND);
    if let Some(merged) = merged {
        hub.schema.as_ref().map_or(Ok(()), |schema| schema.check(merged.as_bytes()))?;
    }
    hub.catch_up().await?;
    let decided = hub.standing.with(|node| {
        hub.tables.with(|tables| {
            node.project(tables, false)?;
            if field("seen") != Some(heads_digest(tables, key)?.to_string().as_str()) {
                return Err(NodeError::refused(Code::Z441, "another version has come, or somebody else has decided"));
            }
            let resolution = match merged {
                Some(merged) => Resolution::Merge(merged.as_bytes()),
                None => Resolution::Take(node.event_id(take)?),
            };
            node.resolve(tables, key, &resolution, author.clone()).map(drop)
        })
    });
    decided.await?;
    hub.standing.durable().await?;
    let mut answer = whole(StatusCode::SEE_OTHER, "text/plain", "decided\n");
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/ui"));
    Ok(answer)
}

/// The fields of a form.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').and_then(|(name, value)| decode(name, true).zip(decode(value, true))))
        .collect()
}
