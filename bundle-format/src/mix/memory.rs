//! Where histories are kept: eight small memories, each under a context of its own. SPEC §4.8.
//!
//! A memory has slots of 16 bytes, a check and the histories of the 15 places a half byte can lead to. The two slots a context may have lie side by side in
//! one line of the processor's cache, and which of them it is, is reckoned without a branch.

use super::reader::hash;

/// Memories.
pub const CONTEXTS: usize = 8;

/// Two slots.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Pair([[u8; 16]; 2]);

/// All memories, one after the other, and the slot of each that belongs to this half byte.
#[derive(Clone)]
pub struct Memories {
    pairs: Vec<Pair>,
    pair: [usize; CONTEXTS],
    /// Which of the pair.
    side: [usize; CONTEXTS],
    /// The slots as they were found: no place of a slot is asked twice in a half byte.
    found: [[u8; 16]; CONTEXTS],
}

impl Memories {
    /// Empty, of `1 << slots_log` bytes each.
    pub fn new(slots_log: u32) -> Self {
        let pairs = vec![Pair([[0; 16]; 2]); CONTEXTS << (slots_log - 5)];
        Self { pairs, pair: [0; CONTEXTS], side: [0; CONTEXTS], found: [[0; 16]; CONTEXTS] }
    }

    /// Logarithm of the bytes of each.
    pub fn slots_log(&self) -> u32 {
        (self.pairs.len() / CONTEXTS).ilog2() + 5
    }

    /// The history at `node`, 1 to 15, of the slot in memory `index`.
    #[inline]
    pub fn history(&self, index: usize, node: usize) -> u8 {
        self.found[index][node % 16]
    }

    /// What it is from now on.
    #[inline]
    pub fn remember(&mut self, index: usize, node: usize, history: u8) {
        self.pairs[self.pair[index]].0[self.side[index] % 2][node % 16] = history;
    }

    /// At a new half byte: the slot of each memory; the emptier of two is given up where neither is ours (R4.8-f).
    #[inline]
    #[expect(clippy::needless_bitwise_bool, reason = "a branch that nobody can foretell costs more than both questions")]
    pub fn find(&mut self, contexts: &[u32; CONTEXTS], bits: u32) {
        let each = self.pairs.len() / CONTEXTS;
        for index in 0..CONTEXTS {
            let name = hash(contexts[index], bits).wrapping_mul(0x85eb_ca6b);
            let check = ((name >> 24) as u8).max(1);
            let at = index * each + (name as usize >> 5 & (each - 1));
            let pair = &mut self.pairs[at].0;
            let near = name as usize >> 4 & 1;
            let far = near ^ 1;
            let (near_is, far_is) = (pair[near][0] == check, pair[far][0] == check);
            let side = near ^ usize::from(!near_is & (far_is | (pair[far][1] < pair[near][1])));
            let kept = u8::from(near_is | far_is).wrapping_neg();
            let slot = &mut pair[side];
            for place in slot.iter_mut() {
                *place &= kept;
            }
            slot[0] = check;
            (self.found[index], self.pair[index], self.side[index]) = (*slot, at, side);
        }
    }
}
