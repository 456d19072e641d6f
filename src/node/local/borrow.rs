//! Opening the node whoever keeps it: nobody, a command that will end soon, or a process that stays and lends it.

use super::line::Line;
use crate::node::layout::Layout;
use crate::node::{Node, NodeError, Opening};
use crate::ports::{Lock, Ports};
use bundle_format::error::Code;

/// A taken lock is waited for so long before the socket is looked at again.
const SLICE_MS: u64 = 50;
/// A process that stays answers within a sync or two; it is given that, however short `--lock-wait` is.
const ANSWER_MS: u64 = 1000;

/// How the node can be used.
pub enum Reached {
    /// It is open, and ours alone.
    Node(Box<Node>),
    /// By asking the process that keeps it.
    Line(Line),
}

/// Reach the node: open it, or the line to the process that keeps it.
///
/// # Errors
/// Those of [`Node::open`]; Z104 when neither the lock nor an answer came in time.
pub fn reach(ports: &Ports, opening: &Opening<'_>) -> Result<Reached, NodeError> {
    let left_ms = countdown(ports, opening.lock_wait_ms);
    let layout = Layout::new(opening.data_dir);
    let mut slice_ms = 0; // first see whether it is free, then whether somebody answers, then wait
    loop {
        let busy = match Node::open(ports, &Opening { lock_wait_ms: slice_ms, ..*opening }) {
            Err(error) if error.code() == Code::Z104 => error,
            opened => return Ok(Reached::Node(Box::new(opened?))),
        };
        if let Some(line) = Line::reach(ports, &layout, left_ms().max(ANSWER_MS))? {
            return Ok(Reached::Line(line));
        }
        slice_ms = left_ms().min(SLICE_MS);
        if slice_ms == 0 {
            return Err(busy);
        }
    }
}

/// Open the node also when a process that stays keeps it: then on a lease, which ends after the lock has been let go of.
///
/// # Errors
/// As [`reach`].
pub fn open_beside(ports: &Ports, opening: &Opening<'_>) -> Result<Node, NodeError> {
    let left_ms = countdown(ports, opening.lock_wait_ms);
    loop {
        let lock_wait_ms = left_ms();
        let line = match reach(ports, &Opening { lock_wait_ms, ..*opening })? {
            Reached::Node(node) => return Ok(*node),
            Reached::Line(line) => line,
        };
        let Some(loan) = line.lend(left_ms().max(ANSWER_MS))? else { continue }; // it ended meanwhile: the lock is free, or another's
        let lock_wait_ms = left_ms().max(ANSWER_MS);
        return Node::open_under(ports, &Opening { lock_wait_ms, ..*opening }, |lock| Box::new(Borrowed { _lock: lock, _loan: loan }));
    }
}

fn countdown(ports: &Ports, wait_ms: u64) -> impl Fn() -> u64 {
    let clock = ports.clock.clone();
    let until_ms = clock.monotonic_ms().saturating_add(wait_ms);
    move || until_ms.saturating_sub(clock.monotonic_ms())
}

/// The fields are dropped in this order: the lock is free before its owner hears of it.
struct Borrowed {
    _lock: Box<dyn Lock>,
    _loan: Box<dyn Lock>,
}

impl Lock for Borrowed {}
