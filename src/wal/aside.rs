//! The holes of a log: damage that was put aside, as a copy of its bytes `NNNNNNNN.hole-OFFSET` beside the segment (R10.8-a), and what opening has found
//! and nobody has put aside yet. What a session sealed whose beginning lies in one is a part of it.

use super::segment::Segment;
use super::{frame, segment};
use crate::ports::disk::{Disk, Entry, replace};
use crate::ports::store::{Finding, StoreError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

/// By segment and offset.
#[derive(Default)]
pub(super) struct Holes(RefCell<BTreeMap<(u32, u64), Hole>>);

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Hole {
    /// Bytes.
    pub len: u64,
    /// Put aside: what it cost is settled.
    pub is_kept: bool,
    /// The segment with the cut-back frames that answer it, when looked up: its own, or a later one (R10.8-f).
    answer: Option<u32>,
}

impl Holes {
    /// Those whose copies lie among the files of a log's folder.
    pub fn among(entries: &[Entry]) -> Self {
        let kept = entries.iter().filter_map(|entry| Some((place(&entry.path)?, Hole { len: entry.len, is_kept: true, answer: None })));
        Self(RefCell::new(kept.collect()))
    }

    /// Those that opening has found.
    pub fn note(&self, findings: &[Finding]) {
        for finding in findings {
            if let Finding::Hole { segment, offset, bytes, .. } = finding {
                self.0.borrow_mut().entry((*segment, *offset)).or_insert(Hole { len: *bytes, is_kept: false, answer: None });
            }
        }
    }

    /// The hole that begins at this place.
    pub fn at(&self, segment: u32, offset: u64) -> Option<Hole> {
        self.0.borrow().get(&(segment, offset)).copied()
    }

    /// Those that begin before the end of a segment, and of which it is not known that something up to there answers them.
    pub fn unanswered(&self, number: u32) -> Vec<(u32, u64)> {
        let holes = self.0.borrow();
        let open = holes.range(..=(number, u64::MAX)).filter(|(_, hole)| hole.answer.is_none_or(|answer| answer > number));
        open.map(|(place, _)| *place).collect()
    }

    /// What answers one was found.
    pub fn note_answer(&self, place: (u32, u64), answer: u32) {
        if let Some(hole) = self.0.borrow_mut().get_mut(&place) {
            hole.answer = Some(answer);
        }
    }

    /// Put a copy of damaged bytes aside.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep(&self, disk: &dyn Disk, folder: &Path, segment: &Segment, (offset, len): (u64, u64)) -> Result<(), StoreError> {
        let path = folder.join(format!("{:08}.hole-{offset}", segment.number));
        let io = |error| StoreError::Io { doing: format!("writing {}", path.display()), error };
        if disk.look(&path).map_err(io)?.is_none() {
            // else it was kept by an earlier opening that did not come to its end
            let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(frame::FRAME_LEN_MAX * 128)];
            let read = segment.read(&mut bytes, offset)?;
            replace(disk, &path, &bytes[..read]).map_err(io)?;
        }
        self.0.borrow_mut().insert((segment.number, offset), Hole { len, is_kept: true, answer: None });
        Ok(())
    }

    /// How many were put aside since the log began.
    pub fn kept_count(&self) -> u64 {
        self.0.borrow().values().filter(|hole| hole.is_kept).count() as u64
    }
}

/// Segment and offset in the name of a copy.
fn place(path: &Path) -> Option<(u32, u64)> {
    let offset = path.extension()?.to_str()?.strip_prefix("hole-")?.parse().ok()?;
    Some((segment::number(&path.with_extension("seg"))?, offset))
}
