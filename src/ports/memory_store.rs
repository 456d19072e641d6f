//! The log's plain twin: everything in memory, in the order it came. For tests and the simulator.

use super::store::{Checkpointed, Events, Finding, Head, Log, Scan, Spot, Store, StoreError, Stream};
use bundle_format::chain::{Position, Run};
use bundle_format::hlc::Hlc;
use bundle_format::ids::Origin;
use std::collections::BTreeMap;

/// A log without a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    stored: Vec<(Stream, u64, Vec<u8>)>,
    heads: BTreeMap<Stream, Head>,
    checkpoints: BTreeMap<Stream, Vec<Checkpointed>>,
    /// How many events each sync made durable.
    pub syncs: Vec<usize>,
    unsynced: usize,
}

impl Log for MemoryStore {
    fn streams(&self) -> Vec<(Stream, Head)> {
        self.heads.iter().map(|(stream, head)| (*stream, *head)).collect()
    }

    fn branches(&self, origin: &Origin) -> Vec<(Stream, Head)> {
        let theirs = self.heads.range(Stream::main(*origin)..).take_while(|(stream, _)| stream.origin == *origin);
        theirs.map(|(stream, head)| (*stream, *head)).collect()
    }

    fn head(&self, stream: &Stream) -> Option<Head> {
        self.heads.get(stream).copied()
    }

    fn events(&self, stream: &Stream, from: u64) -> Result<Box<dyn Events + '_>, StoreError> {
        let stream = *stream;
        let wanted = move |stored: &&(Stream, u64, Vec<u8>)| stored.0 == stream && stored.1 >= from;
        Ok(Box::new(Walk(Box::new(self.stored.iter().filter(wanted)))))
    }

    fn checkpoints(&self, stream: &Stream, from: u64, to: u64) -> Result<Vec<Checkpointed>, StoreError> {
        let all = self.checkpoints.get(stream).map_or(&[][..], Vec::as_slice);
        Ok(all.iter().filter(|checkpointed| (from..=to).contains(&checkpointed.position.seq)).copied().collect())
    }

    fn checkpoint_below(&self, stream: &Stream, seq: u64) -> Result<Option<Checkpointed>, StoreError> {
        Ok(self.checkpoints(stream, 1, seq)?.pop())
    }

    fn scan_from(&self, spot: Spot) -> Result<Box<dyn Scan + '_>, StoreError> {
        Ok(Box::new(WalkAll { stored: &self.stored, next: usize::try_from(spot.offset).unwrap_or(usize::MAX) }))
    }

    fn findings(&self) -> &[Finding] {
        &[]
    }
}

struct Walk<'a>(Box<dyn Iterator<Item = &'a (Stream, u64, Vec<u8>)> + 'a>);

impl Events for Walk<'_> {
    fn next(&mut self) -> Result<Option<(u64, &[u8])>, StoreError> {
        match self.0.next() {
            Some((_, seq, event)) => Ok(Some((*seq, event))),
            None => Ok(None),
        }
    }
}

/// Everything from one place on; an event's offset is its place.
struct WalkAll<'a> {
    stored: &'a [(Stream, u64, Vec<u8>)],
    next: usize,
}

impl Scan for WalkAll<'_> {
    fn next(&mut self) -> Result<Option<(Stream, u64, &[u8])>, StoreError> {
        let found = self.stored.get(self.next).map(|(stream, seq, event)| (*stream, *seq, event.as_slice()));
        self.next += usize::from(found.is_some());
        Ok(found)
    }

    fn spot(&self) -> Spot {
        Spot { segment: 0, offset: self.next.saturating_sub(1) as u64, index: 0 }
    }
}

impl Store for MemoryStore {
    fn append(&mut self, stream: &Stream, run: &Run<'_>, hlc: Hlc, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        let start = Position::start(&stream.origin);
        let fresh = Head { base: if stream.branch.is_some() { run.start() } else { start }, end: run.start(), checkpoint_seq: 0, hlc };
        let head = self.heads.entry(*stream).or_insert(fresh);
        assert_eq!(head.end, run.start(), "callers have compared already");
        (head.end, head.hlc) = (run.end(), hlc);
        let events = run.events().iter().zip(run.start().seq + 1..);
        self.stored.extend(events.map(|(event, seq)| (*stream, seq, event.to_vec())));
        self.unsynced += run.events().len();
        self.append_checkpoints(stream, checkpoints)
    }

    fn append_checkpoints(&mut self, stream: &Stream, checkpoints: &[Checkpointed]) -> Result<(), StoreError> {
        let all = self.checkpoints.entry(*stream).or_default();
        all.extend(checkpoints);
        all.sort_by_key(|checkpointed| checkpointed.position.seq);
        if let (Some(head), Some(newest)) = (self.heads.get_mut(stream), all.last()) {
            head.checkpoint_seq = newest.position.seq;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.syncs.push(std::mem::take(&mut self.unsynced));
        Ok(())
    }

    fn mend(&mut self, _stream: &Stream, _first: u64, _events: &[&[u8]]) -> Result<(), StoreError> {
        Ok(()) // nothing rots in memory
    }

    fn orphans(&self, _stream: &Stream) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }
}
