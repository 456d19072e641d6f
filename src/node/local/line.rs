//! The end of a command: it asks the process that keeps the node, and waits.

use super::words::{About, Answer, Frames, Request, VERSION, write};
use crate::node::NodeError;
use crate::node::layout::Layout;
use crate::ports::local::{Heard, LocalLine};
use crate::ports::{Lock, Ports};
use crate::push::Skew;
use bundle_format::error::Code;
use std::io;

/// Requests are sent when so much of them waits.
const SEND_LEN: usize = 32 * 1024;

/// A conversation with the process that keeps the node.
pub struct Line {
    end: Box<dyn LocalLine>,
    unsent: Vec<u8>,
    heard: Frames,
}

/// What was heard.
pub(super) enum Said {
    /// An answer.
    Answer(Answer),
    /// The other end is gone and has not said `Bye`.
    Gone,
    /// Nothing in the time given.
    Nothing,
}

impl Line {
    /// Reach the process that keeps the node at `layout`; `None` when nobody answers in time.
    ///
    /// # Errors
    /// Z104 when it answers in another version's words.
    pub fn reach(ports: &Ports, layout: &Layout, wait_ms: u64) -> Result<Option<Self>, NodeError> {
        let path = layout.control();
        let Some(end) = ports.local.connect(&path).map_err(|error| NodeError::reading(&path, error))? else { return Ok(None) };
        let mut line = Self { end, unsent: Vec::new(), heard: Frames::default() };
        line.ask(&Request::Hello { version: VERSION });
        match line.answer(Some(wait_ms))? {
            Said::Answer(Answer::Hello { version: VERSION }) => Ok(Some(line)),
            Said::Answer(Answer::Hello { version }) => Err(NodeError::refused(
                Code::Z104,
                format!("the process that keeps the node is of another version: it speaks {version}, we {VERSION}"),
            )),
            Said::Answer(Answer::Bye) | Said::Gone | Said::Nothing => Ok(None),
            Said::Answer(answer) => Err(unexpected(&answer)),
        }
    }

    /// Say once what is true of the payloads that follow. How clock and stamps stand apart; `None` when the process has gone meanwhile.
    ///
    /// # Errors
    /// Its refusal; Z104 when it does not answer in time, because somebody else has borrowed the node.
    pub fn begin(&mut self, about: &About, wait_ms: Option<u64>) -> Result<Option<Option<Skew>>, NodeError> {
        let mut sized = Vec::new();
        write(&mut sized, &Request::Begin(about.clone())).map_err(|_| NodeError::refused(Code::Z404, "the fields are too long together"))?;
        self.unsent.append(&mut sized);
        match self.answer(wait_ms)? {
            Said::Answer(Answer::Ready { skew }) => Ok(Some(skew)),
            Said::Answer(Answer::Bye) | Said::Gone => Ok(None),
            Said::Nothing => Err(NodeError::refused(Code::Z104, "the process that keeps the node has lent it to another")),
            Said::Answer(answer) => Err(unexpected(&answer)),
        }
    }

    /// Borrow the directory: the lock is ours to take until what is returned is dropped. `None` when the process has gone meanwhile.
    ///
    /// # Errors
    /// As [`Line::begin`].
    pub fn lend(mut self, wait_ms: u64) -> Result<Option<Box<dyn Lock>>, NodeError> {
        self.ask(&Request::Lend);
        match self.answer(Some(wait_ms))? {
            Said::Answer(Answer::Lent) => Ok(Some(Box::new(Loan(self)))),
            Said::Answer(Answer::Bye) | Said::Gone => Ok(None),
            Said::Nothing => Err(NodeError::refused(Code::Z104, "the process that keeps the node has lent it to another")),
            Said::Answer(answer) => Err(unexpected(&answer)),
        }
    }

    /// Let the process that keeps the node run `command`; its exit status. `None` when it ended before the command did.
    ///
    /// # Errors
    /// Its refusal, or that of `tell`.
    pub fn run<E: From<NodeError>>(&mut self, command: String, mut tell: impl FnMut(&str) -> Result<(), E>) -> Result<Option<u8>, E> {
        self.ask(&Request::Run { command });
        loop {
            match self.answer(None)? {
                Said::Answer(Answer::Line(line)) => tell(&line)?,
                Said::Answer(Answer::Exit(exit)) => return Ok(Some(exit)),
                Said::Answer(Answer::Bye) | Said::Gone | Said::Nothing => return Ok(None),
                Said::Answer(answer) => return Err(unexpected(&answer).into()),
            }
        }
    }

    /// Send `payload`, or let it wait for others that go with it. It is answered in its turn, or with the end of the line.
    pub(super) fn push(&mut self, payload: Vec<u8>) -> Vec<u8> {
        let request = Request::Push { payload };
        self.ask(&request);
        if self.unsent.len() >= SEND_LEN {
            self.send();
        }
        match request {
            Request::Push { payload } => payload,
            _ => Vec::new(),
        }
    }

    fn ask(&mut self, request: &Request) {
        write(&mut self.unsent, request).expect("what may be long is measured before");
    }

    /// An end that is gone is seen when its answers are read: its last words count.
    fn send(&mut self) {
        self.end.say(&self.unsent, &mut self.heard.bytes).unwrap_or(());
        self.unsent.clear();
        self.unsent.shrink_to(2 * SEND_LEN);
    }

    /// The next answer, after sending what waits.
    pub(super) fn answer(&mut self, wait_ms: Option<u64>) -> Result<Said, NodeError> {
        self.send();
        loop {
            if let Some(answer) = self.heard.next().map_err(|malformed| foreign(&malformed.to_string()))? {
                return Ok(Said::Answer(answer));
            }
            match self.end.hear(&mut self.heard.bytes, wait_ms) {
                Ok(Heard::More) => {}
                Ok(Heard::Silence) => return Ok(Said::Nothing),
                Ok(Heard::End) => return Ok(Said::Gone),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(Said::Gone),
                Err(error) => return Err(foreign(&error.to_string())),
            }
        }
    }
}

/// An answer that is none to what was asked: mostly a refusal.
pub(super) fn unexpected(answer: &Answer) -> NodeError {
    match answer {
        Answer::Refused { code, detail } => NodeError::refused(Code::from_name(code).unwrap_or(Code::Z100), detail.clone()),
        answer => foreign(&format!("it answers {answer:?}")),
    }
}

fn foreign(why: &str) -> NodeError {
    NodeError::refused(Code::Z100, format!("speaking with the process that keeps the node: {why}"))
}

/// A line kept open as long as the directory is ours.
struct Loan(Line);

impl Lock for Loan {}

impl Drop for Loan {
    fn drop(&mut self) {
        self.0.ask(&Request::Returned);
        self.0.send(); // who is not there any more needs no telling
    }
}
