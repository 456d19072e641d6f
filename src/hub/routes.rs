//! Which address means what.

use super::answer::{Answer, Problem, whole};
use super::server::Hub;
use super::{desk, feed, overview, page, records, taking};
use bundle_format::error::Code;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use std::rc::Rc;

/// The API as a document machines read; it holds what `docs/http-api.md` tells.
const OPENAPI: &str = include_str!("openapi.json");

/// Behind it stands a record key, each character that is none of an address spelled as `%41`.
const RECORDS: &str = "/v1/records/";

/// Answer one request.
///
/// # Errors
/// [`Problem`].
pub async fn answer(hub: &Rc<Hub>, request: Request<Incoming>) -> Result<Answer, Problem> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => Ok(whole(StatusCode::OK, "text/plain", "ok\n")),
        (&Method::GET | &Method::HEAD, "/readyz") => ready(hub).await,
        (&Method::GET, "/v1/openapi.json") => Ok(whole(StatusCode::OK, "application/json", OPENAPI)),
        (&Method::POST, "/v1/events") => taking::take(hub, request).await,
        (&Method::GET, "/v1/events") => feed::page(hub, &request).await,
        (&Method::GET, "/v1/stream") => feed::stream(hub, &request).await,
        (&Method::GET, "/v1/conflicts") => records::conflicts(hub, &request).await,
        (&Method::GET, "/v1/status") => overview::status(hub).await,
        (&Method::GET, "/v1/peers") => overview::peers(hub).await,
        (&Method::GET, "/ui") => page::page(hub).await,
        (&Method::GET, "/ui/style.css") => Ok(page::style()),
        (&Method::GET, "/ui/live.js") => Ok(page::script()),
        (&Method::GET, "/ui/live") => Ok(page::live(hub)),
        (&Method::GET, "/ui/record") => desk::show(hub, &request).await,
        (&Method::POST, "/ui/record") => desk::decide(hub, request).await,
        (&Method::GET, "/metrics") => overview::metrics(hub).await,
        (&Method::GET, path) if path.starts_with(RECORDS) => records::record(hub, &request, path.strip_prefix(RECORDS).unwrap_or_default()).await,
        (method, path) => Err(Problem::new(Code::Z432, format!("{method} {path}"))),
    }
}

/// Whether the log can be written to: asked of the disk.
async fn ready(hub: &Rc<Hub>) -> Result<Answer, Problem> {
    hub.standing.with(|_| Ok(())).await?;
    hub.standing.durable().await?;
    Ok(whole(StatusCode::OK, "text/plain", "ready\n"))
}

/// The query of an address, decoded; names that `known` lacks are refused, so that a misspelled one is never taken for none.
///
/// # Errors
/// Z433.
pub fn query(request: &Request<Incoming>, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let pairs = request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name, true).zip(decode(value, true)).filter(|(name, _)| known.contains(&name.as_str()));
            decoded.ok_or_else(|| Problem::new(Code::Z433, format!("query {pair:?}; known here: {}", known.join(", "))))
        })
        .collect()
}

/// `%41+b` → `A b`, or `A+b` outside of a query; `None` when it is not spelled right or no UTF-8.
pub fn decode(text: &str, is_query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                bytes.push(digit(high)? * 16 + digit(low)?);
                rest = behind;
            }
            (b'%', _) => return None,
            (b'+', _) if is_query => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_or_refused() {
        for (text, want) in [
            ("", Some("")),
            ("Patient%2FBT-0042", Some("Patient/BT-0042")),
            ("a+b%20c", Some("a b c")),
            ("%e2%98%83", Some("☃")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(text, true).as_deref(), want, "{text}");
        }
    }
}
