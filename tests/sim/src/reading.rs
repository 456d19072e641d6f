//! One history of a log, read from its beginning to its head, around what has rotted in it.

use crate::model::Verdict;
use bundle_format::chain::Position;
use bundle_format::ids::Hash;
use zbundle::ports::Log;
use zbundle::ports::store::{Events, Head, StoreError, Stream};

/// The reading: what comes next, and where on the chain.
pub struct Reading<'a> {
    log: &'a dyn Log,
    stream: Stream,
    head: Head,
    events: Option<Box<dyn Events + 'a>>,
    /// The position that comes next.
    next: u64,
    /// The chain behind the last event, as long as it is known: behind what rotted it is not, before the next checkpoint.
    position: Option<Position>,
    /// Chain hashes that stand ahead, once something has rotted.
    ahead: Vec<Position>,
    /// Events that cannot be read.
    pub lost: u64,
}

impl<'a> Reading<'a> {
    /// At the beginning.
    pub fn new(log: &'a dyn Log, stream: &Stream, head: &Head) -> Self {
        Self { log, stream: *stream, head: *head, events: None, next: head.base.seq + 1, position: Some(head.base), ahead: Vec::new(), lost: 0 }
    }

    /// The next event that can be read.
    ///
    /// # Errors
    /// What is wrong: it cannot be read, and nobody says that it rotted, or it is out of its order.
    pub fn read(&mut self) -> Verdict<Option<(u64, Vec<u8>)>> {
        loop {
            let mut events = match self.events.take() {
                Some(events) => events,
                None => self.log.events(&self.stream, self.next).map_err(|error| self.unreadable(&error))?,
            };
            match events.next() {
                Ok(None) => return Ok(None),
                Ok(Some((seq, _))) if seq != self.next => {
                    return Err(format!("P1: {:?} goes on at {seq} after {}", self.stream, self.next - 1));
                }
                Ok(Some((seq, bytes))) => {
                    let event = (seq, bytes.to_vec());
                    (self.events, self.next) = (Some(events), seq + 1);
                    return Ok(Some(event));
                }
                Err(StoreError::Damaged { .. }) => self.pass_over()?,
                Err(error) => return Err(self.unreadable(&error)),
            }
        }
    }

    fn unreadable(&self, error: &StoreError) -> String {
        format!("{:?} cannot be read: {error}", self.stream)
    }

    fn pass_over(&mut self) -> Verdict {
        let lost = self.log.lost(&self.stream, self.next, self.head.end.seq).map_err(|error| self.unreadable(&error))?;
        let Some((_, last)) = lost.iter().find(|(first, _)| *first == self.next) else {
            return Err(format!("P3: {:?}:{} cannot be read, and is not said to be lost: {lost:?}", self.stream, self.next));
        };
        let ahead = self.log.checkpoints(&self.stream, *last, self.head.end.seq).map_err(|error| self.unreadable(&error))?;
        self.ahead = ahead.iter().map(|at| at.position).chain([self.head.end]).collect();
        self.lost += last + 1 - self.next;
        self.next = last + 1;
        self.position = self.ahead.iter().find(|at| at.seq == *last).copied();
        Ok(())
    }

    /// Where the chain stands behind the last event, whose digest this is; nothing while that is not known.
    pub fn stands_behind(&mut self, digest: &Hash) -> Option<Position> {
        let led = self.position.map(|position| position.then(digest));
        self.position = led.or_else(|| self.ahead.iter().find(|at| at.seq + 1 == self.next).copied());
        self.position
    }

    /// All of it was read: it ends where its head says.
    ///
    /// # Errors
    /// When it does not.
    pub fn ends_at_the_head(&self) -> Verdict {
        let end = self.position.unwrap_or(self.head.end);
        if self.next == self.head.end.seq + 1 && end == self.head.end {
            return Ok(());
        }
        Err(format!("P1: {:?} ends at {}, and its head says {}", self.stream, self.next - 1, self.head.end.seq))
    }
}
