//! A member that lies: bundles made by hand, sealed and signed with real keys, over histories that are not what their writers signed.

use crate::carrying::lay;
use crate::luck::Luck;
use crate::model::Verdict;
use crate::plan::Lie;
use crate::station::Station;
use crate::world::World;
use bundle_format::chain::Run;
use bundle_format::compress::Compressor;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::NodeId;
use bundle_format::manifest::Manifest;
use bundle_format::range::{Coding, Range};
use bundle_format::seal::{HeaderPlan, Sealer};
use bundle_format::vector::{Tag, Told};
use zbundle::node::View;
use zbundle::ports::entropy::{Entropy as _, SeededEntropy};
use zbundle::ports::store::Stream;

impl World {
    /// A member seals a lie for another.
    ///
    /// # Errors
    /// Never; for the shape of steps.
    pub fn forge(&mut self, at: usize, to: usize, stick: usize, lie: Lie, luck: &mut Luck) -> Verdict {
        if self.machines[at].station.member == to {
            return Ok(());
        }
        let Ok(view) = self.machines[at].station.durable_view() else { return Ok(()) };
        if let Some(bytes) = forged(&view, self.members[to], lie, luck) {
            let path = Station::stick(stick).join(format!("lie{}.zb", luck.below(99)));
            lay(&self.around.sticks[stick], &path, &bytes);
            self.archive.push((path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), bytes));
            self.model.liars.insert(self.machines[at].station.id);
            self.coverage.count("a lie is sealed");
        }
        Ok(())
    }
}

fn forged(view: &View, to: NodeId, lie: Lie, luck: &mut Luck) -> Option<Vec<u8>> {
    let me = view.keyring().node();
    let streams: Vec<_> = view.log().streams().into_iter().filter(|(stream, head)| stream.branch.is_none() && head.checkpoint_seq > 0).collect();
    let (roster, others): (Vec<_>, Vec<_>) = streams.into_iter().partition(|(stream, _)| view.roster().is_roster(&stream.origin));
    let foreign: Vec<_> = others.iter().filter(|(stream, _)| stream.origin.node != me).collect();
    let entropy = SeededEntropy(std::cell::Cell::new(luck.draw()));
    let plan = HeaderPlan {
        domain: view.roster().domain(),
        sender: me,
        signing_key: view.keyring().signing().0,
        recipients: vec![view.roster().member(&to)?.current()?.sealing],
        created: None,
        best_lane: None,
    };
    let mut sealer = Sealer::new(Vec::new(), &plan, &mut |bytes| entropy.fill(bytes)).ok()?;
    let mut vector = Vec::new();
    if let (Lie::WrongTag | Lie::TooMuch, Some((stream, head))) = (lie, foreign.first()) {
        let seq = if lie == Lie::TooMuch { head.checkpoint_seq + 1 + luck.below(5) } else { head.checkpoint_seq };
        vector.push(Told { origin: stream.origin, seq, tag: Tag([0xee; 4]) });
    }
    vector.sort_by_key(|told: &Told| told.origin);
    let roster: Option<Range> = roster.first().and_then(|(stream, _)| range_of(view, stream, None, luck));
    // What the other may not see is not sent: who holds it can give it to anybody, and no format can help that.
    let foreign: Vec<_> = foreign.into_iter().filter(|(stream, _)| view.roster().may_see(&to, &stream.origin)).collect();
    let target = (!foreign.is_empty()).then(|| foreign[luck.index(foreign.len())].0);
    let lied = target.and_then(|stream| range_of(view, &stream, Some(lie), luck));
    let ranges: Vec<Range> = roster.into_iter().chain(lied).collect();
    let receipt = Some((view.keyring().incarnation(), 1_000_000 + luck.below(1000)));
    sealer.manifest(&Manifest::new(vector, receipt, Vec::new(), ranges.iter().map(|range| range.origin))).ok()?;
    ranges.iter().try_for_each(|range| sealer.range(range)).ok()?;
    sealer.finish().ok().map(|(bytes, _)| bytes)
}

/// The provable part of a history as one range, with what a liar makes of it; nothing when the lie leaves nothing.
pub fn range_of(view: &View, stream: &Stream, lie: Option<Lie>, luck: &mut Luck) -> Option<Range> {
    let head = view.log().head(stream)?;
    let mut events = Vec::new();
    let mut reading = view.log().events(stream, 1).ok()?;
    while let Some((seq, bytes)) = reading.next().ok()? {
        if seq <= head.checkpoint_seq {
            events.push(bytes.to_vec());
        }
    }
    let checkpoints = view.log().checkpoints(stream, 1, head.checkpoint_seq).ok()?;
    let mut checkpoints: Vec<_> = checkpoints.iter().map(|at| (at.position.seq, at.checkpoint)).collect();
    checkpoints.sort_by_key(|(seq, _)| *seq);
    checkpoints.dedup_by_key(|(seq, _)| *seq); // who got new keys has signed some places twice
    checkpoints.last().filter(|(seq, _)| *seq == head.checkpoint_seq)?; // else it has rotted
    let run = Run::link(head.base, events.iter().map(Vec::as_slice).collect());
    let mut range = Range::build(stream.origin, &run, &checkpoints, Coding::Stored, &mut Compressor::new().ok()?).ok()?;
    let place = luck.index(events.len());
    let Some(lie) = lie else { return Some(range) };
    match lie {
        Lie::Changed => {
            let byte = events[place].len() - 1;
            events[place][byte] ^= 1;
        }
        Lie::LeftOut => drop(events.remove(place)),
        Lie::Reordered => {
            let other = luck.index(events.len());
            events.swap(place, other);
        }
        Lie::Invented => events.push(Event { hlc: Hlc(1), kind: "record", payload: b"99999999:0000", ext: Ext::default() }.to_bytes().ok()?),
        Lie::WrongTag | Lie::TooMuch => return Some(range),
    }
    range.data = events.concat();
    range.raw_len = range.data.len();
    range.count = events.len() as u64;
    range.checkpoints.retain(|(offset, _)| *offset < range.count);
    let last = checkpoints.last()?.1;
    range.checkpoints.push((range.count, last));
    (range.count > 0).then_some(range)
}
