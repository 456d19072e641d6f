//! What of the log is known to have rotted: remembered beside it, told to nobody as held, asked for again by what we tell. SPEC §6.2 (R6.2-i), §10.2 (R10.2-i).

use super::error::NodeError;
use super::layout::Layout;
use super::peers::Peer;
use super::taking::Ingested;
use super::writer::require_owner;
use super::{Node, View, known, record, settle};
use crate::cut::sign;
use crate::ports::disk::Disk;
use crate::ports::store::{Events, Head, Log, Rotten, Store as _, StoreError, Stream};
use bundle_format::cbor::{self, Bytes, CborError, Reader};
use bundle_format::error::Code;
use bundle_format::ids::{NodeId, Origin};
use bundle_format::limits::{RANGE_EVENT_COUNT_MAX, RANGE_RAW_LEN_MAX};
use std::collections::BTreeSet;

/// Stretches that are remembered. A card that rots more than this is replaced; what is behind them is found when they are here again.
const STRETCH_COUNT_MAX: usize = 1000;

/// Read once more what was found to have rotted: the log notes what still is.
pub(super) fn look_again(disk: &dyn Disk, layout: &Layout, log: &dyn Log) -> Result<(), NodeError> {
    for rotten in load(disk, layout).iter().filter(|rotten| log.head(&rotten.stream).is_some()) {
        log.lost(&rotten.stream, rotten.first, rotten.last)?;
    }
    Ok(())
}

/// A memory of what reading would find again: where there is none, or none that can be read, nothing is lost but time.
fn load(disk: &dyn Disk, layout: &Layout) -> Vec<Rotten> {
    record::load(disk, &layout.rotten(), from_bytes).ok().flatten().unwrap_or_default()
}

fn save(disk: &dyn Disk, layout: &Layout, mut rotten: Vec<Rotten>) -> Result<(), NodeError> {
    rotten.truncate(STRETCH_COUNT_MAX);
    let path = layout.rotten();
    if rotten == load(disk, layout) {
        return Ok(());
    }
    if rotten.is_empty() {
        return disk.remove(&path).map_err(|error| NodeError::writing(&path, error));
    }
    Ok(record::save(disk, &path, &to_bytes(&rotten))?)
}

fn to_bytes(rotten: &[Rotten]) -> Vec<u8> {
    let item = |rotten: &Rotten| (rotten.stream.origin, rotten.stream.branch, rotten.first, rotten.last, rotten.events);
    let all: Vec<_> = rotten.iter().map(item).collect();
    let all: Vec<_> =
        all.iter().map(|(origin, branch, first, last, events)| (origin, branch.as_ref().map(|name| Bytes(name)), *first, *last, *events)).collect();
    cbor::to_vec(&all)
}

fn from_bytes(bytes: &[u8]) -> Result<Vec<Rotten>, CborError> {
    let reader = &mut Reader::new(bytes);
    let all = (0..reader.array()?)
        .map(|_| {
            reader.array_exact(5)?;
            let origin = Origin::read(reader)?;
            let branch = if reader.null()? { None } else { Some(reader.bytes_exact()?) };
            Ok(Rotten { stream: Stream { origin, branch }, first: reader.uint()?, last: reader.uint()?, events: reader.boolean()? })
        })
        .collect::<Result<_, CborError>>()?;
    reader.finish()?;
    Ok(all)
}

/// A history of ours, the roster apart, which is part of no life.
fn is_own_main(node: &Node, stream: &Stream) -> bool {
    stream.origin.node == node.keyring.node() && stream.branch.is_none() && !node.roster.is_roster(&stream.origin)
}

/// The roster, at the authority.
fn is_own_roster(node: &Node, stream: &Stream) -> bool {
    stream.origin.node == node.keyring.node() && stream.branch.is_none() && node.roster.is_roster(&stream.origin)
}

/// Every event of `stream` behind `after` that can be read, up to the first for which `visit` answers `false`.
pub(super) fn each_readable(log: &dyn Log, stream: &Stream, after: u64, visit: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<(), NodeError> {
    let mut events = log.events(stream, after + 1)?;
    loop {
        match events.next() {
            Ok(Some((seq, bytes))) if visit(seq, bytes) => {}
            Ok(_) => return Ok(()),
            Err(error) => _ = pass_over(log, stream, &mut *events, error)?,
        }
    }
}

/// Go on behind `error`, if it was damage that is lost whenever it is read: the first and the last position of it.
pub(super) fn pass_over(log: &dyn Log, stream: &Stream, events: &mut dyn Events, error: StoreError) -> Result<(u64, u64), StoreError> {
    let Some((first, last)) = events.pass_over() else { return Err(error) };
    // A card that reads now so and now so: nothing behind is passed over for that.
    if log.lost(stream, first, last)? == [(first, last)] { Ok((first, last)) } else { Err(error) }
}

/// Whether `lost` of a stream, which could not be read when somebody passed over it, still cannot be.
pub(super) fn is_still_lost(log: &dyn Log, stream: &Stream, lost: (u64, u64)) -> Result<bool, StoreError> {
    let covers = |rotten: &Rotten| rotten.events && rotten.stream == *stream && rotten.first <= lost.0 && lost.1 <= rotten.last;
    Ok(log.rotten().iter().any(covers) || log.lost(stream, lost.0, lost.1)? == [lost])
}

impl View {
    /// What has rotted and is not here again, as far as is known.
    pub fn rotten(&self) -> Vec<Rotten> {
        self.log.rotten()
    }

    /// Leave what reading has found for whoever writes next, beside what was known and still holds. The only thing a reader writes (R10.2-a).
    ///
    /// # Errors
    /// Z112 where this is another user's node; what the disk says.
    pub fn note_rot(&self) -> Result<(), NodeError> {
        let disk = &*self.ports.disk;
        look_again(disk, &self.layout, &self.log)?;
        if self.log.rotten() != load(disk, &self.layout) {
            require_owner(&self.ports, &self.layout)?;
        }
        save(disk, &self.layout, self.log.rotten())
    }
}

impl Node {
    /// Take note of what somebody has found since, and forget what is here again.
    pub(crate) fn heed_rot(&mut self) -> Result<(), NodeError> {
        look_again(&*self.ports.disk, &self.layout, &self.wal)?;
        self.sign_lost()?;
        if !self.missed()?.is_empty() {
            self.ledger()?.clear(); // a bundle that was taken may be what brings it back (R10.11-b)
            self.save_ledger()?;
        }
        self.save_rot()?;
        self.leave_rotten_life().map(drop)
    }

    /// Checkpoints of our own that rotted are made again. Those of the roster only with the key that made them: a newer one must not vouch for what stands
    /// before it, nor for what may be another's in a life that is over (R8.3-i). Else they come from whom it was told to.
    pub(super) fn sign_lost(&mut self) -> Result<(), NodeError> {
        let (keys, domain) = (self.keyring.current(), self.roster.pin().domain());
        let signer = sign::Signer { key: &keys.signing, key_number: keys.number, domain };
        let streams: BTreeSet<Stream> = self.wal.rotten().into_iter().filter(|rotten| !rotten.events).map(|rotten| rotten.stream).collect();
        let may_sign = |stream: &Stream| is_own_main(self, stream) || (is_own_roster(self, stream) && keys.number == 1);
        let own: Vec<_> = streams.into_iter().filter(may_sign).collect();
        let mut signed = 0;
        for stream in own {
            if !self.may_sign_within(&stream)? {
                continue;
            }
            signed += sign::sign_lost(&mut self.wal, &stream, &signer)?;
        }
        if signed > 0 {
            self.wal.sync()?;
        }
        Ok(())
    }

    /// Remember what was met since `known` was what had rotted: whether there is any.
    pub(super) fn note_new(&self, known: &[Rotten]) -> Result<bool, NodeError> {
        let is_new = self.wal.rotten() != known;
        if is_new {
            self.save_rot()?;
        }
        Ok(is_new)
    }

    /// Sign our own histories as far as they can be read: a checkpoint further on proves nothing any more.
    pub(super) fn sign_before_rot(&mut self) -> Result<(), NodeError> {
        let (keys, domain) = (self.keyring.current(), self.roster.pin().domain());
        let signer = sign::Signer { key: &keys.signing, key_number: keys.number, domain };
        let own: Vec<_> = self.wal.rotten().into_iter().filter(|rotten| rotten.events && is_own_main(self, &rotten.stream)).collect();
        for rotten in own {
            if !self.may_sign_within(&rotten.stream)? {
                continue;
            }
            sign::sign_up_to(&mut self.wal, &rotten.stream, &signer, rotten.first - 1)?;
        }
        Ok(self.wal.sync()?)
    }

    /// `error` came when `known` was what had rotted. When it was met just now it is answered, so that the next try goes around it: whether it was.
    pub(super) fn answer_met(&mut self, error: &NodeError, known: &[Rotten]) -> Result<bool, NodeError> {
        let is_new = error.code() == Code::Z301 && self.note_new(known)?;
        if is_new {
            self.sign_lost()?;
            self.leave_rotten_life()?;
        }
        Ok(is_new)
    }

    /// What rotted of our own histories, and no peer is known to hold whole, comes again from nobody, and without it nobody takes what stands behind it. So
    /// the life that goes on ends, as behind a hole, one that was settled is open again, and what is readable is written again in a new one (R6.6-m).
    /// Whether there was any of it. What stands before the rot is signed in any case: who is known to hold all of it may have lost it since, or meet nobody.
    pub(super) fn leave_rotten_life(&mut self) -> Result<bool, NodeError> {
        let mut peers = self.peers.all(&*self.ports.disk)?;
        peers.retain(|(peer, _)| !settle::is_revoked(&self.roster, peer)); // who is sent nothing brings nothing back
        let own: Vec<_> = self.wal.rotten().into_iter().filter(|rotten| rotten.events && is_own_main(self, &rotten.stream)).collect();
        let (mut is_left, has_rotten) = (false, !own.is_empty());
        for rotten in own {
            let (origin, life) = (rotten.stream.origin, rotten.stream.origin.incarnation);
            if known::held_by_any(&self.wal, &peers, &rotten.stream)? >= rotten.last || self.is_closed_before(&origin, rotten.last) {
                continue;
            }
            if life == self.keyring.incarnation() {
                self.begin_new_life()?;
            } else if self.is_settled_life(&origin) {
                self.state.open_lives.push(life);
            }
            is_left = true;
        }
        if has_rotten {
            self.sign_before_rot()?;
        }
        if is_left {
            settle::settle(self, &mut Ingested::default())?;
        }
        Ok(is_left)
    }

    /// Whether we have said already that a history of ours ends before that event, or wrote again what stands behind it, or behind where it parted.
    fn is_closed_before(&self, origin: &Origin, seq: u64) -> bool {
        let is_closed = self.state.closed.origins.iter().any(|(closed, at)| closed == origin && *at < seq);
        is_closed || settle::was_written_again_behind(self, origin, seq.saturating_sub(1))
    }

    fn save_rot(&self) -> Result<(), NodeError> {
        save(&*self.ports.disk, &self.layout, self.wal.rotten())
    }

    /// What rotted and is missed. A checkpoint by itself is not while a newer one is here, which proves as much; nor may anybody else have kept it.
    fn missed(&self) -> Result<Vec<Rotten>, NodeError> {
        let mut missed = Vec::new();
        for rotten in self.wal.rotten() {
            let is_one_checkpoint = !rotten.events && rotten.first == rotten.last;
            let newest = if is_one_checkpoint { self.wal.checkpoint_below(&rotten.stream, u64::MAX)? } else { None };
            if newest.is_none_or(|newest| newest.position.seq <= rotten.last) {
                missed.push(rotten);
            }
        }
        Ok(missed)
    }

    /// All streams as far as nothing is missing below: what rotted is not told as held, so it comes again (R6.2-i).
    pub(crate) fn sound_streams(&self) -> Result<Vec<(Stream, Head)>, NodeError> {
        let mut streams = self.wal.streams();
        for Rotten { stream, first, .. } in self.missed()? {
            let Some((_, head)) = streams.iter_mut().find(|(of, head)| *of == stream && first <= head.checkpoint_seq) else { continue };
            let below = self.wal.checkpoint_below(&stream, first.saturating_sub(1))?;
            head.checkpoint_seq = below.map_or(head.base.seq, |at| at.position.seq.max(head.base.seq));
        }
        Ok(streams)
    }

    /// Whether what rotted here may come from `node`: then it is to hear from us, though it lacks nothing.
    pub(crate) fn asks_again(&self, node: &NodeId, peer: &Peer) -> Result<bool, NodeError> {
        let may_have = |origin: &Origin| self.may_see(node, origin) || peer.sent.contains(origin);
        Ok(self.missed()?.iter().any(|rotten| may_have(&rotten.stream.origin)))
    }

    /// How far of `to` a stream can be read and proved from behind `after`.
    pub(crate) fn readable_to(&self, stream: &Stream, after: u64, to: u64) -> Result<u64, NodeError> {
        let rotten: Vec<_> = self.wal.rotten().into_iter().filter(|rotten| rotten.stream == *stream).collect();
        if rotten.is_empty() || after >= to {
            return Ok(to);
        }
        if known::position(&self.wal, stream, after)?.is_none() {
            return Ok(after.min(to));
        }
        let rotten: Vec<_> = rotten.into_iter().filter(|rotten| rotten.last > after).collect();
        if rotten.is_empty() {
            return Ok(to);
        }
        let to = rotten.iter().filter(|rotten| rotten.events).map(|rotten| rotten.first.saturating_sub(1)).chain([to]).min().unwrap_or(to);
        let unsigned: Vec<_> = rotten.iter().filter(|rotten| !rotten.events && rotten.first <= to).collect();
        if !unsigned.is_empty() {
            return self.provable_to(stream, after, to, &unsigned);
        }
        let proved = self.wal.checkpoint_below(stream, to)?.map_or(0, |at| at.position.seq);
        Ok(proved.max(after))
    }

    /// The same where checkpoints are missing: up to where the next one stands further away than a range may be long.
    fn provable_to(&self, stream: &Stream, after: u64, to: u64, unsigned: &[&Rotten]) -> Result<u64, NodeError> {
        let mut at = after;
        loop {
            let found = self.wal.checkpoints(stream, at + 1, to.min(at + RANGE_EVENT_COUNT_MAX))?;
            if found.is_empty() {
                return Ok(at);
            }
            for next in found.iter().map(|found| found.position.seq) {
                let is_over_lost = unsigned.iter().any(|lost| lost.first < next && lost.last > at);
                if is_over_lost && !self.fits_a_range(stream, at, next)? {
                    return Ok(at);
                }
                at = next;
            }
        }
    }

    /// Whether the events from behind `after` to `to` are not longer than a range may be.
    fn fits_a_range(&self, stream: &Stream, after: u64, to: u64) -> Result<bool, NodeError> {
        let (mut len, mut events) = (0, self.wal.events(stream, after + 1)?);
        while len <= RANGE_RAW_LEN_MAX {
            match events.next()? {
                Some((seq, event)) if seq <= to => len += event.len(),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}
