//! A push by way of the process that keeps the node, or by opening it for as long as payloads come. When that process ends in order, the push goes on by
//! itself; when it is killed, what it had not answered is told as unknown.

use super::borrow::{Reached, open_beside, reach};
use super::line::{Line, Said, unexpected};
use super::words::{About, Answer, PAYLOAD_LEN_MAX};
use crate::keys::{Lock, Secret};
use crate::node::pushing::Intent;
use crate::node::{Node, NodeError, Opening};
use crate::ports::Ports;
use crate::push::{Fields, PushError, Skew, Taker};
use bundle_format::error::Code;
use std::collections::VecDeque;
use std::io::Read;
use std::path::PathBuf;

/// Who let go of the node for others waits for them, however short `--lock-wait` is: what comes meanwhile is not lost for it.
const WAIT_AGAIN_MS: u64 = 24 * 3600 * 1000;

/// Takes payloads, whoever keeps the node.
pub struct Through {
    ports: Ports,
    data_dir: PathBuf,
    lock_wait_ms: u64,
    /// Asked for only when the node must be opened after all.
    secret: Box<dyn Fn() -> Result<Secret, NodeError>>,
    about: About,
    /// Of the node that was let go of: nobody types a passphrase again for the next line.
    lock: Option<Lock>,
    /// None while nothing comes.
    reached: Option<Reached>,
    skew: Option<Skew>,
    /// Sent and not answered, in order: should the other process end, they are pushed again.
    unanswered: VecDeque<Vec<u8>>,
    unanswered_len: u64,
    /// Answered, and not yet told.
    stored: Vec<Vec<String>>,
}

impl Through {
    /// Begin a push of `about` if a process that stays keeps the node in `data_dir`; `None` when none does.
    ///
    /// # Errors
    /// What that process refuses; Z104 when the node is lent to another for longer than `lock_wait_ms`.
    pub fn begin(
        ports: &Ports,
        data_dir: PathBuf,
        lock_wait_ms: u64,
        about: About,
        secret: Box<dyn Fn() -> Result<Secret, NodeError>>,
    ) -> Result<Option<Self>, NodeError> {
        let layout = crate::node::layout::Layout::new(&data_dir);
        let wait_ms = lock_wait_ms.max(1000);
        let Some(mut line) = Line::reach(ports, &layout, wait_ms)? else { return Ok(None) };
        let Some(skew) = line.begin(&about, Some(wait_ms))? else { return Ok(None) };
        Ok(Some(Self::by(ports, data_dir, lock_wait_ms, about, secret, (Reached::Line(line), skew))))
    }

    /// Begin a push of `about` on the node itself, which is let go of whenever nothing comes.
    ///
    /// # Errors
    /// What the node refuses.
    pub fn on(
        ports: &Ports,
        data_dir: PathBuf,
        lock_wait_ms: u64,
        about: About,
        secret: Box<dyn Fn() -> Result<Secret, NodeError>>,
        node: Node,
    ) -> Result<Self, NodeError> {
        node.intend(&about)?;
        let skew = node.skew();
        Ok(Self::by(ports, data_dir, lock_wait_ms, about, secret, (Reached::Node(Box::new(node)), skew)))
    }

    fn by(
        ports: &Ports,
        data_dir: PathBuf,
        lock_wait_ms: u64,
        about: About,
        secret: Box<dyn Fn() -> Result<Secret, NodeError>>,
        (reached, skew): (Reached, Option<Skew>),
    ) -> Self {
        let (ports, reached, unanswered, stored) = (ports.clone(), Some(reached), VecDeque::new(), Vec::new());
        Self { ports, data_dir, lock_wait_ms, secret, about, lock: None, reached, skew, unanswered, unanswered_len: 0, stored }
    }

    /// How the clock and the node's stamps stood apart when we began, if that is worth telling (Z305).
    pub fn skew(&self) -> Option<Skew> {
        self.skew
    }

    /// Settle what is unanswered; ids go to `stored`.
    fn resolve(&mut self) -> Result<(), NodeError> {
        while !self.unanswered.is_empty() {
            match &mut self.reached {
                None => self.reach_again()?,
                Some(Reached::Node(node)) => {
                    let intent = node.intend(&self.about)?;
                    let pushed = push_durably(node, &intent, self.unanswered.make_contiguous())?;
                    self.stored.extend(pushed);
                    self.unanswered.clear();
                }
                Some(Reached::Line(line)) => match line.answer(None)? {
                    Said::Answer(Answer::Pushed { ids }) => {
                        self.stored.push(ids);
                        self.unanswered.pop_front();
                    }
                    Said::Answer(Answer::Bye) => self.reach_again()?,
                    Said::Gone | Said::Nothing => {
                        let count = self.unanswered.len();
                        return Err(NodeError::refused(
                            Code::Z110,
                            format!("{count} that it had been sent and had not answered may be stored or not"),
                        ));
                    }
                    Said::Answer(answer) => return Err(unexpected(&answer)),
                },
            }
        }
        self.unanswered_len = 0;
        Ok(())
    }

    /// The process has ended in order, or payloads come again: open the node, or go on with the one that keeps it now. Either way what was not answered is pushed there.
    fn reach_again(&mut self) -> Result<(), NodeError> {
        let mut secret = self.lock.as_ref().and_then(Lock::stretched).map_or_else(&self.secret, Ok)?;
        loop {
            let opening = Opening { data_dir: &self.data_dir, secret: &secret, lock_wait_ms: self.lock_wait_ms };
            let reached = match reach(&self.ports, &opening) {
                Err(error) if error.code() == Code::Z601 && self.lock.take().is_some() => {
                    secret = (self.secret)()?; // there is another passphrase by now
                    continue;
                }
                reached => reached?,
            };
            match reached {
                Reached::Line(mut line) => {
                    if line.begin(&self.about, Some(self.lock_wait_ms.max(1000)))?.is_none() {
                        continue;
                    }
                    for payload in &mut self.unanswered {
                        *payload = line.push(std::mem::take(payload));
                    }
                    self.reached = Some(Reached::Line(line));
                }
                node @ Reached::Node(_) => self.reached = Some(node),
            }
            return Ok(());
        }
    }

    /// A payload too large to be sent: written by ourselves, on a lease when the node is not ours.
    fn push_large(&mut self, fields: &Fields, len: u64, payload: &mut dyn Read) -> Result<(), PushError> {
        if self.reached.is_none() {
            self.reach_again().map_err(kept)?;
        }
        let mut borrowed;
        let node = match &mut self.reached {
            Some(Reached::Node(node)) => &mut **node,
            Some(Reached::Line(_)) | None => {
                let secret = (self.secret)().map_err(kept)?;
                let opening = Opening { data_dir: &self.data_dir, secret: &secret, lock_wait_ms: self.lock_wait_ms };
                borrowed = open_beside(&self.ports, &opening).map_err(kept)?;
                &mut borrowed
            }
        };
        let intent = node.intend(&self.about).map_err(kept)?;
        let streams = node.push_streams(intent.lane, &intent.audiences).map_err(kept)?;
        let fields = Fields { base: intent.fields.base, ..fields.clone() };
        let pushed = node.with_pusher(&streams, |pusher| {
            let pushed = pusher.push(&fields, len, payload)?;
            pusher.sync()?;
            Ok::<_, PushError>(pushed)
        })?;
        self.stored.push(node.pushed_ids(&pushed));
        Ok(())
    }
}

fn push_durably(node: &mut Node, intent: &Intent, payloads: &[Vec<u8>]) -> Result<Vec<Vec<String>>, NodeError> {
    let pushed = node.append_payloads(intent, payloads)?;
    crate::ports::Store::sync(&mut node.wal)?;
    Ok(pushed)
}

#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
fn kept(error: NodeError) -> PushError {
    PushError::Kept { code: error.code(), detail: error.to_string() }
}

impl Taker for Through {
    type Event = String;

    fn take(&mut self, fields: &Fields, len: u64, payload: &mut dyn Read) -> Result<(), PushError> {
        if len > PAYLOAD_LEN_MAX as u64 {
            self.resolve().map_err(kept)?;
            self.push_large(fields, len, payload)?;
            self.unanswered_len += len; // it waits to be told
            return Ok(());
        }
        let mut bytes = Vec::new();
        payload.take(len).read_to_end(&mut bytes).map_err(PushError::Input)?;
        if (bytes.len() as u64) < len {
            return Err(PushError::Changed);
        }
        self.unanswered_len += len;
        if let Some(Reached::Line(line)) = &mut self.reached {
            bytes = line.push(bytes);
        }
        self.unanswered.push_back(bytes);
        Ok(())
    }

    fn unsettled_len(&self) -> u64 {
        self.unanswered_len
    }

    fn settle(&mut self, stored: &mut dyn FnMut(Vec<String>)) -> Result<(), PushError> {
        let resolved = self.resolve();
        self.unanswered_len = 0;
        self.stored.drain(..).for_each(stored);
        resolved.map_err(kept)
    }

    fn rest(&mut self) {
        if let Some(Reached::Node(node)) = &self.reached {
            self.lock = Some(node.wrap.clone());
            self.reached = None;
            self.lock_wait_ms = self.lock_wait_ms.max(WAIT_AGAIN_MS);
        }
    }
}
