//! What a response is: whole, or a stream that is made as it is read; and refusals as problems (RFC 9457).

use super::object::Object;
use crate::node::NodeError;
use crate::push::schema::Violation;
use bundle_format::error::Code;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// What is sent.
pub enum Content {
    /// All of it.
    Whole(Option<Bytes>),
    /// Pieces, as they are made; an error breaks the response off, so that nobody takes it for whole.
    Pieces(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A response.
pub type Answer = Response<Content>;

/// A whole response.
pub fn whole(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Answer {
    answer(status, kind, Content::Whole(Some(text.into())))
}

/// One JSON object.
pub fn json(status: StatusCode, object: Object) -> Answer {
    whole(status, "application/json", object.into_line() + "\n")
}

/// A response whose content is made while it is sent.
pub fn pieces(kind: &'static str, pieces: mpsc::Receiver<io::Result<Bytes>>) -> Answer {
    answer(StatusCode::OK, kind, Content::Pieces(pieces))
}

fn answer(status: StatusCode, kind: &'static str, content: Content) -> Answer {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store")); // records of people stay in no cache
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// A refusal: its row, and what makes it concrete.
#[derive(Debug)]
pub struct Problem {
    /// The row.
    pub code: Code,
    /// What exactly.
    pub detail: String,
    /// Which line of the body, when it is one of many.
    pub line: Option<u64>,
    /// Where in the payload: a JSON pointer.
    pub pointer: Option<String>,
}

impl Problem {
    /// A refusal of the whole request.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), line: None, pointer: None }
    }

    /// Of one line of the body.
    pub fn at(code: Code, line: u64, detail: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(code, detail) }
    }

    /// As a response.
    pub fn into_answer(self) -> Answer {
        let (row, (status, error)) = (self.code.row(), class(self.code));
        let object =
            Object::empty().with("type", format!("urn:zbundle:error:{}", self.code)).with("title", row.title).with("status", status.as_u16());
        let object = object.with("detail", &self.detail).with("code", self.code.as_str()).with_some("error", error);
        let object = object.with_some("line", self.line).with_some("pointer", self.pointer).with("safe", safe(self.code)).with("hint", row.hint);
        let mut answer = whole(status, "application/problem+json", object.into_line() + "\n");
        if status == StatusCode::UNAUTHORIZED {
            // Each in a line of its own: browsers read one challenge in a line.
            for way in ["Basic realm=\"zbundle: any name, and the token as password\"", "Bearer realm=\"zbundle\""] {
                answer.headers_mut().append("www-authenticate", HeaderValue::from_static(way));
            }
        }
        answer
    }
}

impl From<Violation> for Problem {
    fn from(violation: Violation) -> Self {
        Self { pointer: Some(violation.pointer.clone()), ..Self::new(Code::Z438, violation.to_string()) }
    }
}

impl From<NodeError> for Problem {
    fn from(error: NodeError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Whether data is safe. At the command line the other lines go on; by HTTP one bad line refuses all of them (R10.13-b).
fn safe(code: Code) -> &'static str {
    if matches!(code, Code::Z402 | Code::Z403) { "Nothing was stored, no other line either." } else { code.row().safe }
}

/// Status of a refusal, and the name that clients of older exchangers switch on, where one fits.
fn class(code: Code) -> (StatusCode, Option<&'static str>) {
    match code {
        Code::Z402 | Code::Z431 => (StatusCode::BAD_REQUEST, Some("INVALID_JSON")),
        Code::Z404 | Code::Z405 | Code::Z406 | Code::Z438 | Code::Z616 => (StatusCode::UNPROCESSABLE_ENTITY, Some("SCHEMA_VIOLATION")),
        Code::Z401 | Code::Z403 => (StatusCode::PAYLOAD_TOO_LARGE, None),
        Code::Z413 | Code::Z414 | Code::Z417 | Code::Z441 => (StatusCode::CONFLICT, None),
        Code::Z430 => (StatusCode::GONE, None),
        Code::Z412 | Code::Z432 => (StatusCode::NOT_FOUND, None),
        Code::Z433 => (StatusCode::BAD_REQUEST, None),
        Code::Z434 => (StatusCode::UNAUTHORIZED, None),
        Code::Z435 => (StatusCode::MISDIRECTED_REQUEST, None),
        Code::Z436 => (StatusCode::TOO_MANY_REQUESTS, None),
        Code::Z104 | Code::Z202 | Code::Z203 | Code::Z301 | Code::Z302 | Code::Z303 | Code::Z307 => {
            (StatusCode::SERVICE_UNAVAILABLE, Some("WAL_UNAVAILABLE"))
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, Some("INTERNAL_ERROR")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_names_that_clients_switch_on_have_their_statuses() {
        for (code, status, error) in [
            (Code::Z431, 400, Some("INVALID_JSON")),
            (Code::Z404, 422, Some("SCHEMA_VIOLATION")),
            (Code::Z438, 422, Some("SCHEMA_VIOLATION")),
            (Code::Z303, 503, Some("WAL_UNAVAILABLE")),
            (Code::Z203, 503, Some("WAL_UNAVAILABLE")),
            (Code::Z100, 500, Some("INTERNAL_ERROR")),
            (Code::Z434, 401, None),
        ] {
            assert_eq!(class(code), (StatusCode::from_u16(status).unwrap(), error), "{code}");
        }
    }
}
